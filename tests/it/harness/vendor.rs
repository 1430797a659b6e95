//! A simulated vendor: it notes every request to the byte, and answers by a script.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{HandshakeKind, ServerConfig};
use socket2::SockRef;

use super::{Conduit, PATIENCE, chunked, eventually, pause};

const UNPOISONED: &str = "no thread panics while it holds this";

/// One thing that a vendor does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends an event, as a chunk, that says its number and how many microseconds after `since` it was sent.
    #[allow(dead_code, reason = "only the timing tests have it sent")]
    Tell { number: usize, since: Instant },
    /// Is slow.
    Pause(Duration),
    /// Goes on when the test opens the gate.
    Wait(Gate),
    /// Closes the connection in order.
    Close,
    /// Closes it without saying so in TLS, as whoever cuts the wire does.
    Cut,
    /// Ends it by a reset.
    Reset,
    /// Says no more, and waits until the other side has gone.
    Hang,
    /// Of a vendor that is [hasty](Vendor::hasty): reads the body.
    ReadBody,
}

/// What a vendor does with one request. At its end it waits for the next one on the same connection.
pub(crate) type Script = Vec<Step>;

/// Something that the test lets happen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Request line and fields, the blank line included.
    pub(crate) head: Vec<u8>,
    /// What came by `content-length`, the only framing that the gateway uses.
    pub(crate) body: Vec<u8>,
}

/// The vendor. Its connections end with it.
pub(crate) struct Vendor {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Box<dyn Fn(&Received) -> Script + Send + Sync>,
    seen: Mutex<Seen>,
    tls: Option<Arc<ServerConfig>>,
    is_hasty: AtomicBool,
    is_forgetting: AtomicBool,
    sent_bytes: AtomicUsize,
    ended: AtomicBool,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Received>,
    /// Of each request's connection.
    handshakes: Vec<Option<HandshakeKind>>,
    /// One for each connection there was; none for one that has ended.
    connections: Vec<Option<TcpStream>>,
}

/// Whether a connection can take another request.
enum Then {
    Next,
    End,
}

impl Gate {
    /// Lets whoever waits go on, from now on.
    pub(crate) fn open(&self) {
        *self.0.0.lock().expect(UNPOISONED) = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let waited = self.0.1.wait_timeout_while(self.0.0.lock().expect(UNPOISONED), PATIENCE, |open| !*open);
        let timed_out = waited.expect(UNPOISONED).1.timed_out();
        assert!(!timed_out, "a vendor's gate was never opened");
    }
}

impl Received {
    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.text().lines().next().unwrap_or_default()
    }

    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields().into_iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All fields in their order.
    pub(crate) fn fields(&self) -> Vec<(&str, &str)> {
        self.text().lines().skip(1).filter_map(|line| line.split_once(':')).map(|(n, v)| (n, v.trim())).collect()
    }

    /// The body, which is UTF-8.
    pub(crate) fn body(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the gateway sends UTF-8")
    }

    /// Whether the client wants a stream.
    pub(crate) fn wants_stream(&self) -> bool {
        self.body().contains("\"stream\":true")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.head).expect("the gateway sends ASCII fields")
    }
}

impl Vendor {
    /// Answers each request as `answer` says.
    pub(crate) fn start(answer: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Self {
        Self::listen(None, answer)
    }

    /// The same over TLS.
    pub(crate) fn start_tls(
        config: ServerConfig,
        answer: impl Fn(&Received) -> Script + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(Arc::new(config)), answer)
    }

    fn listen(tls: Option<Arc<ServerConfig>>, answer: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            seen: Mutex::default(),
            tls,
            is_hasty: AtomicBool::new(false),
            is_forgetting: AtomicBool::new(false),
            sent_bytes: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Answers the first request with the first script, and so on; a request beyond the last one ends the test.
    pub(crate) fn queue(scripts: impl IntoIterator<Item = Script>) -> Self {
        let scripts = Mutex::new(scripts.into_iter().collect::<VecDeque<_>>());
        Self::start(move |request| {
            let next = scripts.lock().expect(UNPOISONED).pop_front();
            next.unwrap_or_else(|| panic!("the vendor was asked once too often: {request:?}"))
        })
    }

    /// Makes it answer as soon as it has a head, and leave the body unread; one request a connection.
    pub(crate) fn hasty(self) -> Self {
        self.shared.is_hasty.store(true, Ordering::SeqCst);
        self
    }

    /// Makes it note no request: for more of them than can be kept.
    pub(crate) fn forgetting(self) -> Self {
        self.shared.is_forgetting.store(true, Ordering::SeqCst);
        self
    }

    /// Answers every request with these bytes.
    pub(crate) fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_| vec![Step::Send(bytes.clone())])
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `base_url` is to say.
    pub(crate) fn url(&self) -> String {
        match self.shared.tls {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    /// How hands were shaken on the connection of each request.
    pub(crate) fn handshakes(&self) -> Vec<Option<HandshakeKind>> {
        self.shared.seen().handshakes.clone()
    }

    /// What it has been asked so far.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.shared.seen().requests.clone()
    }

    /// The one request that it has been asked.
    pub(crate) fn request(&self) -> Received {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "one request should have come: {requests:?}");
        requests[0].clone()
    }

    /// Waits until `count` requests have come.
    pub(crate) fn wait_for_requests(&self, count: usize) {
        eventually("a vendor's requests", || (self.shared.seen().requests.len() >= count).then_some(()));
    }

    /// How many connections have been made to it.
    pub(crate) fn connections(&self) -> usize {
        self.shared.seen().connections.len()
    }

    /// How much it has sent, as far as the kernel took it.
    pub(crate) fn sent_bytes(&self) -> usize {
        self.shared.sent_bytes.load(Ordering::Relaxed)
    }

    /// Waits until none of its connections is open any more.
    pub(crate) fn wait_until_left(&self) {
        self.wait_until_left_but(0);
    }

    /// Waits until at most so many of them are.
    pub(crate) fn wait_until_left_but(&self, most: usize) {
        eventually("a vendor to be left", || (self.open_connections() <= most).then_some(()));
    }

    /// How many of its connections are open.
    pub(crate) fn open_connections(&self) -> usize {
        self.shared.seen().connections.iter().flatten().count()
    }

    /// Closes the connections that idle, as vendors do, and waits for nobody to notice.
    pub(crate) fn close_idle(&self) {
        for connection in self.shared.seen().connections.iter().flatten() {
            // One that has ended meanwhile needs no closing.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.close_idle();
        // Wakes the accept loop; one that has ended anyway needs no waking.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect(UNPOISONED)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(twin) = stream.try_clone() else { continue };
        let number = {
            let mut seen = shared.seen();
            seen.connections.push(Some(twin));
            seen.connections.len() - 1
        };
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let stream = match &shared.tls {
                Some(config) => Conduit::of_client(stream, config),
                None => Conduit::Plain(stream),
            };
            // A connection that breaks is what many scenarios are about.
            let _ = serve(stream, &shared);
            shared.seen().connections[number] = None;
        });
    }
}

fn serve(mut stream: Conduit, shared: &Shared) -> io::Result<()> {
    stream.tcp().set_nodelay(true)?;
    let mut inbox = Vec::new();
    let is_hasty = shared.is_hasty.load(Ordering::SeqCst);
    while let Some(mut request) = read_head(&mut stream, &mut inbox)? {
        if !is_hasty {
            read_body(&mut stream, &mut inbox, &mut request)?;
        }
        let script = {
            // Noted before it is answered, so whoever has the answer finds the request.
            if !shared.is_forgetting.load(Ordering::SeqCst) {
                let mut seen = shared.seen();
                seen.requests.push(request.clone());
                seen.handshakes.push(stream.handshake());
            }
            (shared.answer)(&request)
        };
        for step in script {
            match step {
                Step::ReadBody => read_body(&mut stream, &mut inbox, &mut request)?,
                step => {
                    if let Then::End = act(&mut stream, step, shared)? {
                        return Ok(());
                    }
                }
            }
        }
        if is_hasty {
            return Ok(());
        }
    }
    Ok(())
}

fn act(stream: &mut Conduit, step: Step, shared: &Shared) -> io::Result<Then> {
    match step {
        Step::Send(bytes) => {
            stream.write_all(&bytes)?;
            shared.sent_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        }
        Step::Tell { number, since } => {
            stream.write_all(&chunked(format!("data: #{number} {}\n\n", since.elapsed().as_micros())))?;
        }
        Step::Pause(time) => pause(time),
        Step::Wait(gate) => gate.pass(),
        Step::Close => {
            stream.end_writing()?;
            stream.tcp().shutdown(Shutdown::Both)?;
            return Ok(Then::End);
        }
        Step::Cut => {
            stream.tcp().shutdown(Shutdown::Both)?;
            return Ok(Then::End);
        }
        Step::Reset => {
            SockRef::from(stream.tcp()).set_linger(Some(Duration::ZERO))?;
            return Ok(Then::End);
        }
        Step::Hang => {
            while stream.read(&mut [0; 1024])? > 0 {}
            return Ok(Then::End);
        }
        Step::ReadBody => unreachable!("whoever has the request reads it"),
    }
    Ok(Then::Next)
}

/// The next request's head, or none when the other side has closed before it began.
fn read_head(stream: &mut Conduit, inbox: &mut Vec<u8>) -> io::Result<Option<Received>> {
    let head_len = loop {
        if let Some(at) = inbox.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if fill(stream, inbox)? == 0 {
            return Ok(None);
        }
    };
    let body = inbox.split_off(head_len);
    let head = std::mem::replace(inbox, body);
    Ok(Some(Received { head, body: Vec::new() }))
}

fn read_body(stream: &mut Conduit, inbox: &mut Vec<u8>, request: &mut Received) -> io::Result<()> {
    let length = request.field("content-length").map_or(0, |length| length.parse().expect("a content-length"));
    while inbox.len() < length {
        if fill(stream, inbox)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let behind = inbox.split_off(length);
    request.body = std::mem::replace(inbox, behind);
    Ok(())
}

fn fill(stream: &mut Conduit, inbox: &mut Vec<u8>) -> io::Result<usize> {
    let mut room = [0; 16 * 1024];
    let came = stream.read(&mut room)?;
    inbox.extend_from_slice(&room[..came]);
    Ok(came)
}
