//! Deadlines are data: a connection stores until when it may wait and for what, and one sweeper per core acts on it.
//!
//! What is past due gets its reason remembered and its socket shut down. The pending operation then completes, its
//! buffer comes home, and the caller finds the reason. So no operation is ever cut short by dropping its future, and
//! arming or moving a deadline is a store into a cell.
//!
//! The price is resolution: a deadline fires up to one sweep late, never early. While only idle connections are armed a
//! sweep comes twice a second; while a request is in flight, ten times. While nothing is armed there is none.
//!
//! One `unsafe` of this crate is here: borrowing the descriptor of a socket that is known to be open.

use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use kt_core::fault::{Kind, Phase};
use rustix::net::{SendFlags, send};
use socket2::SockRef;

/// Time between sweeps while a request is in flight.
const SWEEP_BUSY: Duration = Duration::from_millis(100);
/// Time between sweeps while only idle connections wait.
const SWEEP_IDLE: Duration = Duration::from_millis(500);

/// What a connection waits for, and so what it is when it takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A kept-alive client's next request. Its end is no fault.
    NextRequest,
    /// An idle vendor connection in the pool. Its end is no fault.
    Pooled,
    /// The rest of an early answer's request, to be thrown away. Its end is no fault.
    Leftover,
    /// A client's part of the TLS handshake. Its end is no request's fault.
    Handshake,
    /// The client's head.
    Head,
    /// More of the client's body.
    Body,
    /// The client's taking of its answer.
    Reader,
    /// The vendor's part of the TLS handshake.
    Tls,
    /// The vendor's taking of the request.
    Send,
    /// The vendor's first byte.
    FirstByte,
    /// More of the vendor's answer.
    Idle,
    /// The end of the whole exchange.
    Total,
    /// The end of a drain; nobody waits for it, it comes.
    Drain,
}

impl Wait {
    /// The fault of having waited too long; `None` where that is none.
    pub const fn fault(self) -> Option<(Kind, Phase)> {
        match self {
            Self::NextRequest | Self::Pooled | Self::Leftover | Self::Handshake => None,
            Self::Head => Some((Kind::HeadTooSlow, Phase::Head)),
            Self::Body => Some((Kind::BodyTooSlow, Phase::Body)),
            Self::Reader => Some((Kind::ClientTooSlow, Phase::Stream)),
            Self::Tls => Some((Kind::ConnectTooSlow, Phase::Tls)),
            Self::Send => Some((Kind::SendTooSlow, Phase::Send)),
            Self::FirstByte => Some((Kind::FirstByteTooSlow, Phase::FirstByte)),
            Self::Idle => Some((Kind::IdleTooLong, Phase::Idle)),
            Self::Total => Some((Kind::TotalTooLong, Phase::Total)),
            Self::Drain => Some((Kind::Draining, Phase::Total)),
        }
    }

    /// Which directions end. A client that is slow to ask can still be told so, and one that idles that it is the end.
    const fn ends(self) -> Shutdown {
        match self {
            Self::NextRequest | Self::Head | Self::Body => Shutdown::Read,
            Self::Pooled
            | Self::Leftover
            | Self::Handshake
            | Self::Reader
            | Self::Tls
            | Self::Send
            | Self::FirstByte
            | Self::Idle
            | Self::Total
            | Self::Drain => Shutdown::Both,
        }
    }

    const fn is_idle(self) -> bool {
        matches!(self, Self::NextRequest | Self::Pooled)
    }
}

/// The descriptor of a socket that may have been closed since.
#[derive(Debug)]
pub struct Descriptor(Cell<Option<RawFd>>);

impl Descriptor {
    /// To be called by the owner of an open socket alone, which calls [`Self::retire`] before it closes.
    pub(crate) const fn of_open_socket(fd: RawFd) -> Self {
        Self(Cell::new(Some(fd)))
    }

    /// Forgets the descriptor; its owner is about to close it.
    pub(crate) fn retire(&self) {
        self.0.set(None);
    }

    /// Ends one or both directions. Nothing happens to a socket that has been closed.
    pub(crate) fn shut_down(&self, how: Shutdown) {
        // An error says that the other side has gone already, which is all that was wanted.
        self.borrowed(|socket| drop(socket.shutdown(how)));
    }

    /// Sends what the kernel has room for at once.
    pub(crate) fn try_send(&self, bytes: &[u8]) {
        self.borrowed(|socket| {
            // Whoever takes nothing any more, or has gone, misses what it would not have read.
            let _ = send(&*socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        });
    }

    /// Makes the close to come a reset.
    pub(crate) fn linger_zero(&self) {
        // As above: there is nothing left to reset.
        self.borrowed(|socket| drop(socket.set_linger(Some(Duration::ZERO))));
    }

    #[allow(unsafe_code)] // Named in lib.rs.
    fn borrowed(&self, act: impl FnOnce(SockRef<'_>)) {
        let Some(fd) = self.0.get() else { return };
        // SAFETY: `fd` is open for the whole of this borrow. It is stored by `of_open_socket`, whose only caller is
        // `rt::Socket::new`, and taken out by `retire` when the socket's first field goes, before the halves that own the
        // descriptor do. The descriptor is closed only when those halves and every operation in flight are gone. All of
        // this happens on one thread (the cell isn't `Sync`), and `act` can't reach the socket to drop it meanwhile.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        act(SockRef::from(&borrowed));
    }
}

/// One connection's deadline. Off until it is set; gone with its owner.
#[derive(Debug)]
pub struct Deadline {
    slot: Rc<Slot>,
    watch: Rc<Watch>,
}

#[derive(Debug)]
struct Slot {
    due: Cell<Option<(Instant, Wait)>>,
    fired: Cell<Option<Wait>>,
    descriptor: Rc<Descriptor>,
    retired: Cell<bool>,
}

impl Deadline {
    /// Waits for `wait` until `due`. Replaces what was set before.
    pub fn set(&self, wait: Wait, due: Instant) {
        self.slot.due.set(Some((due, wait)));
        self.watch.arm();
    }

    /// Waits for nothing.
    pub fn clear(&self) {
        self.slot.due.set(None);
    }

    /// What was waited for too long, if anything was: the socket has been shut down since.
    pub fn fired(&self) -> Option<Wait> {
        self.slot.fired.get()
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.slot.retired.set(true);
    }
}

/// All deadlines of a core.
#[derive(Debug, Default)]
pub struct Watch {
    slots: RefCell<Vec<Rc<Slot>>>,
    sweeping: Cell<bool>,
}

impl Watch {
    /// A deadline for the socket behind `descriptor`, not set yet.
    pub fn deadline(self: &Rc<Self>, descriptor: &Rc<Descriptor>) -> Deadline {
        let slot = Rc::new(Slot {
            due: Cell::new(None),
            fired: Cell::new(None),
            descriptor: Rc::clone(descriptor),
            retired: Cell::new(false),
        });
        self.slots.borrow_mut().push(Rc::clone(&slot));
        Deadline { slot, watch: Rc::clone(self) }
    }

    /// Brings what idles, or is about to be read, to its end by `due`: the start of a drain.
    pub fn hurry(self: &Rc<Self>, due: Instant) {
        for slot in self.slots.borrow().iter() {
            match slot.due.get() {
                Some((_, wait @ (Wait::NextRequest | Wait::Pooled))) => slot.due.set(Some((Instant::now(), wait))),
                Some((then, wait @ (Wait::Handshake | Wait::Head))) => slot.due.set(Some((then.min(due), wait))),
                Some(_) | None => {}
            }
        }
        self.arm();
    }

    /// Cuts off whatever is waited for. Connections that wait for nothing themselves, as a client's whose vendor is
    /// waited for, stay, so that they can be told.
    pub fn cut_all(&self) {
        for slot in self.slots.borrow().iter() {
            if slot.due.take().is_some() {
                slot.fired.set(Some(Wait::Drain));
                slot.descriptor.shut_down(Wait::Drain.ends());
            }
        }
    }

    fn arm(self: &Rc<Self>) {
        if !self.sweeping.replace(true) {
            let watch = Rc::clone(self);
            crate::rt::spawn(async move { watch.sweep_while_armed().await }, |_| {
                unreachable!("a sweep takes no foreign code along that could panic")
            });
        }
    }

    async fn sweep_while_armed(&self) {
        loop {
            let pause = match self.sweep(Instant::now()) {
                Armed::Nothing => break,
                Armed::IdleOnly => SWEEP_IDLE,
                Armed::Busy => SWEEP_BUSY,
            };
            crate::rt::sleep(pause).await;
        }
        self.sweeping.set(false);
    }

    fn sweep(&self, now: Instant) -> Armed {
        let mut armed = Armed::Nothing;
        self.slots.borrow_mut().retain(|slot| {
            if slot.retired.get() {
                return false;
            }
            match slot.due.get() {
                None => {}
                Some((due, wait)) if due <= now => {
                    slot.due.set(None);
                    slot.fired.set(Some(wait));
                    slot.descriptor.shut_down(wait.ends());
                }
                Some((_, wait)) if wait.is_idle() => armed = armed.max(Armed::IdleOnly),
                Some(_) => armed = Armed::Busy,
            }
            true
        });
        armed
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Armed {
    Nothing,
    IdleOnly,
    Busy,
}
