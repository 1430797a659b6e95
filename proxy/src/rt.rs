//! The thin wall around monoio: what is allowed of it, and nothing else. No other file of this floor names monoio.
//!
//! monoio 0.2.4 is pinned, and has sharp edges. The rules this wall keeps, so that nobody else has to know them:
//!
//! * A read or write that has started owns its buffer until the kernel is done, and is never dropped half-way: a read
//!   lives in its [`Socket`] across polls, a write is awaited to its end. To stop either, end the socket.
//! * Nothing is accepted by an operation that waits: a listener is polled, and then asked for what is there, so no accepted
//!   descriptor leaks with a future that is dropped.
//! * Names are never resolved here: [`connect`] takes an address.
//! * Tasks don't wake themselves (a self-waking task starves every timer and socket of its core).
//! * A panic of a task is caught at its root; it would unwind the whole core otherwise.
//! * A runtime is never dropped while operations are in flight; cores end with the process.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use kt_core::config::plan::Driver;
use kt_core::limits::{BUFFER_BYTES, SMALL_READ_BYTES};
use monoio::buf::{IoBuf, SliceMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::{TcpStream, UnixStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};
use socket2::{Domain, SockAddr, SockRef, Type};

use crate::buffers;
use crate::clock;
use crate::deadline::Descriptor;
use crate::listen::Listening;

/// Submission queue entries of a core's ring. More than the operations one core starts between two enters.
const RING_ENTRIES: u32 = 4_096;

/// How many connections a ring accepts before others have their turn. (On epoll a listener is ready for as long as its
/// queue holds some, as it always was: 4,096 take some twenty milliseconds.)
const ACCEPTS_IN_A_ROW: u32 = 32;

/// How a core really talks to the kernel, chosen from what the operator asked for and what the kernel allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// io_uring with `SINGLE_ISSUER | DEFER_TASKRUN` (Linux 6.1): completions run when the core asks for them.
    RingDeferred,
    /// io_uring with `COOP_TASKRUN` (Linux 5.19): no interrupt for a completion.
    RingCooperative,
    /// io_uring without flags.
    RingPlain,
    /// epoll.
    Epoll,
}

impl Engine {
    const RINGS: [Self; 3] = [Self::RingDeferred, Self::RingCooperative, Self::RingPlain];

    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RingDeferred => "io_uring (DEFER_TASKRUN)",
            Self::RingCooperative => "io_uring (COOP_TASKRUN)",
            Self::RingPlain => "io_uring",
            Self::Epoll => "epoll",
        }
    }

    /// Probes the kernel: the best engine for `driver`, and why it isn't a better one.
    ///
    /// # Errors
    ///
    /// When io_uring was asked for by name and the kernel refuses it: what it said.
    pub fn choose(driver: Driver) -> Result<(Self, String), String> {
        if driver == Driver::Epoll {
            return Ok((Self::Epoll, "as configured".to_owned()));
        }
        let mut refusal = String::new();
        for engine in Self::RINGS {
            match engine.ring().build(RING_ENTRIES) {
                Ok(_) if refusal.is_empty() => return Ok((engine, "the best this kernel offers".to_owned())),
                Ok(_) => return Ok((engine, format!("this kernel refuses more: {refusal}"))),
                Err(error) => refusal = error.to_string(),
            }
        }
        match driver {
            Driver::IoUring => Err(format!("io_uring was asked for, but the kernel refuses it: {refusal}")),
            Driver::Auto | Driver::Epoll => Ok((Self::Epoll, format!("the kernel refuses io_uring: {refusal}"))),
        }
    }

    fn ring(self) -> io_uring::Builder {
        let mut ring = io_uring::IoUring::builder();
        match self {
            Self::RingDeferred => ring.setup_single_issuer().setup_defer_taskrun().setup_submit_all(),
            Self::RingCooperative => ring.setup_coop_taskrun().setup_submit_all(),
            Self::RingPlain | Self::Epoll => &mut ring,
        };
        ring
    }
}

/// Runs `main` to its end on this thread. The runtime is leaked, not dropped: operations may still be in flight.
///
/// # Errors
///
/// When the ring or the epoll instance can't be made.
pub fn run<F: Future>(engine: Engine, main: impl FnOnce() -> F) -> io::Result<F::Output> {
    if engine == Engine::Epoll {
        let runtime = RuntimeBuilder::<LegacyDriver>::new().with_entries(RING_ENTRIES).enable_timer().build()?;
        return Ok(Box::leak(Box::new(runtime)).block_on(async { rooted(main()).await }));
    }
    let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).uring_builder(engine.ring());
    Ok(Box::leak(Box::new(builder.enable_timer().build()?)).block_on(async { rooted(main()).await }))
}

/// Starts a task on this core. A panic in it is handed to `on_panic` and ends that task alone.
pub fn spawn(task: impl Future<Output = ()> + 'static, on_panic: impl FnOnce(Box<dyn Any + Send>) + 'static) {
    let task = rooted(task);
    drop(monoio::spawn(async move {
        if let Err(panic) = caught(pin!(task)).await {
            on_panic(panic);
        }
    }));
}

/// The root of a task: whenever that goes on, whatever it has waited for has taken its time.
fn rooted<T>(task: impl Future<Output = T>) -> impl Future<Output = T> {
    // Boxed, since each hand that a future passes through by value keeps room for all of it: three times what a
    // connection needs.
    let mut task = Box::pin(task);
    poll_fn(move |cx| {
        clock::time_has_passed();
        task.as_mut().poll(cx)
    })
}

/// Runs a future, turning its panic into an error. The future is not polled again after it panicked.
pub async fn caught<T>(mut task: Pin<&mut impl Future<Output = T>>) -> Result<T, Box<dyn Any + Send>> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Lets everything else of this core have its turn, in the middle of a long piece of work. A task that wakes itself would
/// be run again before all others (R4), so this waits for the next tick of the timers, one to two milliseconds.
pub async fn give_way() {
    sleep(Duration::from_millis(1)).await;
}

/// Sleeps for at least `duration`; the wheel has ticks of a millisecond and rounds up.
pub async fn sleep(duration: Duration) {
    // Boxed: a timer is 700 bytes large, of each connection too that never sleeps.
    Box::pin(monoio::time::sleep(duration)).await;
}

/// What came first.
#[derive(Debug)]
pub enum Either<A, B> {
    /// The first future.
    Left(A),
    /// The second future.
    Right(B),
}

/// Waits for the first of two futures and drops the other, so neither may own a buffer: both are polls of state that
/// lives elsewhere (a [`Socket`]'s read, a bell), a sleep or a connect. The left one is looked at first.
pub async fn race<A, B>(left: impl Future<Output = A>, right: impl Future<Output = B>) -> Either<A, B> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|cx| {
        if let Poll::Ready(value) = left.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(value));
        }
        right.as_mut().poll(cx).map(Either::Right)
    })
    .await
}

type Reading = Pin<Box<dyn Future<Output = (OwnedReadHalf<TcpStream>, io::Result<usize>, Vec<u8>)>>>;

enum Inflow {
    Idle(OwnedReadHalf<TcpStream>),
    Reading(Reading),
    /// Only while one state turns into the next.
    Turning,
}

/// A connected socket with the bytes read from it.
///
/// A read that has started stays here until it is done, whether or not anybody is still polling for it: waiting for
/// bytes can be given up at any time without losing any.
pub struct Socket {
    // First, so that the descriptor is forgotten before the halves that own it are dropped.
    descriptor: Retiring,
    inflow: Inflow,
    /// Empty while a read is under way: its buffer is the kernel's.
    bytes: Vec<u8>,
    outflow: OwnedWriteHalf<TcpStream>,
}

thread_local! {
    /// Sockets of this core: made here and not dropped yet.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// How many sockets this core has open, both sides together; each is a descriptor.
pub fn open_sockets() -> usize {
    OPEN.get()
}

/// A descriptor that is retired with its owner.
struct Retiring(Rc<Descriptor>);

impl Socket {
    fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::new(stream))
    }

    /// A Unix socket, through the type of a TCP stream: receiving, sending and shutting down are the same operations on
    /// either, and nothing else is done with one.
    fn unix(stream: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(TcpStream::from_std(stream.into())?))
    }

    fn new(stream: TcpStream) -> Self {
        OPEN.set(OPEN.get() + 1);
        let descriptor = Retiring(Rc::new(Descriptor::of_open_socket(stream.as_raw_fd())));
        let (inflow, outflow) = stream.into_split();
        Self { descriptor, inflow: Inflow::Idle(inflow), bytes: Vec::new(), outflow }
    }

    /// The descriptor, for whoever has to end this socket from outside.
    pub fn descriptor(&self) -> &Rc<Descriptor> {
        &self.descriptor.0
    }

    /// What has been read and not taken. Empty while a read is under way.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether a read is under way, so that [`Self::bytes`] can't be seen.
    pub fn is_reading(&self) -> bool {
        matches!(self.inflow, Inflow::Reading(_))
    }

    /// Reads once, behind what is there. Ready with the number of bytes that came, 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.reads().poll_fill(cx)
    }

    /// Its reading side alone.
    pub fn reads(&mut self) -> Reads<'_> {
        Reads { inflow: &mut self.inflow, bytes: &mut self.bytes }
    }

    /// Writes some of `bytes[range]`; gives the buffer back with how much went. To be awaited to its end.
    pub async fn write(&mut self, bytes: Vec<u8>, range: Range<usize>) -> (io::Result<usize>, Vec<u8>) {
        let (result, slice) = self.outflow.write(bytes.slice(range)).await;
        (result, slice.into_inner())
    }

    /// As [`Self::write`], and lets `meanwhile` read for as long as it takes.
    pub async fn write_while(
        &mut self,
        bytes: Vec<u8>,
        range: Range<usize>,
        mut meanwhile: impl FnMut(&mut Reads<'_>, &mut Context<'_>),
    ) -> (io::Result<usize>, Vec<u8>) {
        let Self { inflow, bytes: read, outflow, .. } = self;
        let mut reads = Reads { inflow, bytes: read };
        let mut writing = pin!(outflow.write(bytes.slice(range)));
        let (result, slice) = poll_fn(|cx| {
            let written = writing.as_mut().poll(cx);
            if written.is_pending() {
                meanwhile(&mut reads, cx);
            }
            written
        })
        .await;
        (result, slice.into_inner())
    }

    /// Sends a few last bytes, if the kernel has room for them now. Not while a write is under way.
    pub fn try_send(&self, bytes: &[u8]) {
        self.descriptor.0.try_send(bytes);
    }

    /// Tells the other side that nothing more will come.
    pub fn half_close(&self) {
        self.descriptor.0.shut_down(Shutdown::Write);
    }

    /// Gives the socket up: ends both directions if a read is still under way, waits until its buffer is home, and
    /// closes it.
    pub async fn close(mut self) {
        self.end_read(Shutdown::Both).await;
    }

    /// As [`Self::close`], but by a reset, so that the other side can't take what it got for the whole. No FIN goes out
    /// before it: only our own reading ends.
    pub async fn abort(mut self) {
        self.descriptor.0.linger_zero();
        self.end_read(Shutdown::Read).await;
        let Self { descriptor, inflow, bytes: _, outflow } = self;
        drop(descriptor);
        match inflow {
            // By itself the writing half shuts its direction down when it is dropped, which would be a FIN.
            Inflow::Idle(half) => drop(half.reunite(outflow)),
            Inflow::Reading(_) | Inflow::Turning => unreachable!("the read has ended above"),
        }
    }

    async fn end_read(&mut self, how: Shutdown) {
        if self.is_reading() {
            self.descriptor.0.shut_down(how);
            // Whatever the last read brings has no reader any more.
            let _ = poll_fn(|cx| self.poll_fill(cx)).await;
        }
    }
}

/// The reading side of a [`Socket`], for whoever reads while something is being written.
pub struct Reads<'s> {
    inflow: &'s mut Inflow,
    bytes: &'s mut Vec<u8>,
}

impl Reads<'_> {
    /// As [`Socket::bytes`].
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        self.bytes
    }

    /// As [`Socket::poll_fill`].
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            match std::mem::replace(self.inflow, Inflow::Turning) {
                Inflow::Idle(mut half) => {
                    let mut bytes = std::mem::take(self.bytes);
                    if bytes.capacity() == 0 {
                        bytes = buffers::with_room(BUFFER_BYTES);
                    }
                    let room = bytes.capacity() - bytes.len();
                    // Whoever collects something large has made room for just that.
                    if room == 0 || (room < SMALL_READ_BYTES && bytes.len() < 16 * BUFFER_BYTES) {
                        bytes.reserve(BUFFER_BYTES.max(bytes.len()));
                    }
                    *self.inflow = Inflow::Reading(Box::pin(async move {
                        let (begin, end) = (bytes.len(), bytes.capacity());
                        let (result, slice) = half.read(SliceMut::new(bytes, begin, end)).await;
                        (half, result, slice.into_inner())
                    }));
                }
                Inflow::Reading(mut reading) => {
                    let Poll::Ready((half, result, bytes)) = reading.as_mut().poll(cx) else {
                        *self.inflow = Inflow::Reading(reading);
                        return Poll::Pending;
                    };
                    *self.inflow = Inflow::Idle(half);
                    *self.bytes = bytes;
                    return Poll::Ready(result);
                }
                Inflow::Turning => unreachable!("every turn above puts a state back before it returns"),
            }
        }
    }
}

impl Drop for Retiring {
    fn drop(&mut self) {
        self.0.retire();
        OPEN.set(OPEN.get() - 1);
    }
}

/// Connects within `limit`. The future owns no buffer and may be dropped.
///
/// # Errors
///
/// The kernel's, or `TimedOut`.
#[allow(clippy::disallowed_methods)] // A connect owns no buffer: this is the one future that may be dropped.
pub async fn connect(address: SocketAddr, limit: Duration) -> io::Result<Socket> {
    match monoio::time::timeout(limit, TcpStream::connect_addr(address)).await {
        Ok(stream) => Socket::tcp(stream?),
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// As [`connect`], to a Unix socket. One whose queue is full is asked again every millisecond.
///
/// # Errors
///
/// The kernel's, or `TimedOut`.
pub async fn connect_unix(path: &Path, limit: Duration) -> io::Result<Socket> {
    let place = SockAddr::unix(path)?;
    let due = Instant::now() + limit;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // It stays so: a ring waits on such a socket as on any other, and epoll wants it.
    socket.set_nonblocking(true)?;
    loop {
        match socket.connect(&place) {
            Ok(()) => return Socket::unix(socket.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < due => {
                sleep(Duration::from_millis(1)).await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
}

/// A connection that has been accepted and belongs to no core yet: it may be taken to another.
#[derive(Debug)]
pub struct Arrival {
    stream: OwnedFd,
    /// Where it comes from, if that is an address of the network.
    pub peer: Option<IpAddr>,
    engine: Engine,
}

impl Arrival {
    /// Opens it on this core.
    ///
    /// # Errors
    ///
    /// The kernel's, when it can't be registered, or has gone already.
    pub fn open(self) -> io::Result<Socket> {
        SockRef::from(&self.stream).set_nonblocking(self.engine == Engine::Epoll)?;
        match self.peer {
            Some(_) => Socket::tcp(TcpStream::from_std(self.stream.into())?),
            None => Socket::unix(self.stream),
        }
    }
}

/// Where a core's connections come from: a TCP listener of its own, or a Unix socket that other cores take from as well.
/// Of those, whoever is woken first takes the next one; the others find nothing, and wait on.
pub struct Listener {
    /// The same socket, as the runtime polls descriptors.
    poll: monoio::net::UnixListener,
    queue: Listening,
    stopped: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
    /// Connections accepted in a row without letting others have their turn.
    in_a_row: Cell<u32>,
    engine: Engine,
}

impl Listener {
    /// Takes over a listening socket.
    ///
    /// # Errors
    ///
    /// The kernel's, when the socket can't be registered or cloned.
    pub fn new(listening: Listening, engine: Engine) -> io::Result<Self> {
        let same = match &listening {
            Listening::Tcp(listener) => OwnedFd::from(listener.try_clone()?),
            Listening::Unix(listener) => OwnedFd::from(listener.try_clone()?),
        };
        SockRef::from(&same).set_nonblocking(true)?;
        Ok(Self {
            // Polling is the same for any descriptor, and nothing else is done with this one.
            poll: monoio::net::UnixListener::from_std(same.into())?,
            queue: listening,
            stopped: Cell::new(false),
            waiting: RefCell::default(),
            in_a_row: Cell::new(0),
            engine,
        })
    }

    /// Waits for a connection; `None` once [`Self::stop`] was called. May be given up: nothing is accepted but at once.
    ///
    /// # Errors
    ///
    /// The kernel's; running out of descriptors is one.
    pub async fn accept(&self) -> io::Result<Option<Arrival>> {
        while !self.stopped.get() {
            if self.in_a_row.get() < ACCEPTS_IN_A_ROW {
                match self.accept_now() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    accepted => {
                        self.in_a_row.set(self.in_a_row.get() + 1);
                        return accepted.map(Some);
                    }
                }
            }
            self.in_a_row.set(0);
            let mut readable = pin!(self.poll.readable(false));
            poll_fn(|cx| {
                if self.stopped.get() {
                    return Poll::Ready(Ok(()));
                }
                *self.waiting.borrow_mut() = Some(cx.waker().clone());
                readable.as_mut().poll(cx)
            })
            .await?;
        }
        Ok(None)
    }

    fn accept_now(&self) -> io::Result<Arrival> {
        let engine = self.engine;
        match &self.queue {
            Listening::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                Ok(Arrival { stream: stream.into(), peer: Some(peer.ip()), engine })
            }
            Listening::Unix(listener) => Ok(Arrival { stream: listener.accept()?.0.into(), peer: None, engine }),
        }
    }

    /// Ends a pending [`Self::accept`]; what is queued can still be had by [`Self::accept_queued`].
    pub fn stop(&self) {
        self.stopped.set(true);
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// A connection that was queued when accepting stopped, without waiting.
    pub fn accept_queued(&self) -> Option<Arrival> {
        self.accept_now().ok()
    }

    /// Takes in no more: whoever connects from now on is refused by the kernel, and doesn't wait in a queue that nobody
    /// empties. Linux takes a listening socket that is shut down for reading out of service, while its descriptor lives.
    /// A Unix socket is out of reach as soon as its file has gone.
    pub fn close(&self) {
        if let Listening::Tcp(listener) = &self.queue {
            // An error says that it doesn't listen any more, which is all that was wanted.
            drop(SockRef::from(listener).shutdown(Shutdown::Read));
        }
    }
}

/// The end of a bell that other threads pull: each pull wakes the core that waits at [`Bell::rung`].
#[derive(Clone, Debug)]
pub struct BellPull(Arc<StdUnixStream>);

impl BellPull {
    /// Wakes the core. Never blocks: a full pipe means that the bell is ringing already.
    pub fn ring(&self) {
        // Full: it rings already. Closed: the core has ended, and whoever waits for an answer learns it there.
        let _ = (&*self.0).write(&[1]);
    }
}

/// A core's doorbell: a pending read, so that a waiting core is woken by the kernel and not by a tick.
pub struct Bell {
    stream: UnixStream,
    scratch: Vec<u8>,
}

/// Makes a doorbell on any thread; [`Bell::hang`] takes its inner end to the core's own.
///
/// # Errors
///
/// The kernel's, when no socket pair can be made.
pub fn bell() -> io::Result<(BellPull, StdUnixStream)> {
    let (outer, inner) = StdUnixStream::pair()?;
    outer.set_nonblocking(true)?;
    Ok((BellPull(Arc::new(outer)), inner))
}

impl Bell {
    /// Hangs the bell on this core.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn hang(inner: StdUnixStream, engine: Engine) -> io::Result<Self> {
        inner.set_nonblocking(engine == Engine::Epoll)?;
        Ok(Self { stream: UnixStream::from_std(inner)?, scratch: Vec::with_capacity(64) })
    }

    /// Waits until somebody rings; several rings may be one. To be awaited to its end.
    ///
    /// # Errors
    ///
    /// The kernel's; `UnexpectedEof` when nobody can ring any more.
    pub async fn rung(&mut self) -> io::Result<()> {
        let (result, scratch) = self.stream.read(std::mem::take(&mut self.scratch)).await;
        self.scratch = scratch;
        match result {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A timer with the kernel's own resolution, for whoever paces to less than the milliseconds of [`sleep`]. One per core
/// is enough: whoever has several times to keep sorts them.
pub struct Alarm {
    timer: OwnedFd,
    /// The same timer, as the runtime polls descriptors: through the type of a stream, which is never read or written.
    poll: UnixStream,
}

impl Alarm {
    /// An alarm of this core, not set yet.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let poll = UnixStream::from_std(StdUnixStream::from(timer.try_clone()?))?;
        Ok(Self { timer, poll })
    }

    /// Sets it to a time of `CLOCK_MONOTONIC` in nanoseconds, at once if that is past. Replaces what was set before, also
    /// for whoever waits already.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn set(&self, at_ns: u64) -> io::Result<()> {
        const SECOND: u64 = 1_000_000_000;
        // All zeros would turn it off.
        let at_ns = at_ns.max(1);
        let whole = i64::try_from(at_ns / SECOND).unwrap_or(i64::MAX);
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: whole, tv_nsec: (at_ns % SECOND) as i64 },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }

    /// Waits until it goes off. Owns no buffer and may be given up.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub async fn rung(&self) -> io::Result<()> {
        self.poll.readable(false).await?;
        match rustix::io::read(&self.timer, &mut [0; 8]) {
            // Set anew since it went off: that is a ring all the same, and whoever waits looks at the clock.
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
