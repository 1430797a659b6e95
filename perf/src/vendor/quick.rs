//! A vendor that costs next to nothing: its answers are written once, when it starts, and what differs from one to the
//! next is a [`Stamp`](crate::stamp::Stamp) in their text.
//!
//! It is for measuring what stands before it. Latency is fixed or drawn; events of a stream go out by an absolute
//! schedule; it can be told to freeze now and then, to see whether a measurement notices. It speaks either vendor's
//! language, by the same code as the simulation that insists on what a real one insists on; this one takes any key, and
//! of a request it reads only its number and whether a stream is wanted.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fastrand::Rng;
use kt_core::dialect::{self, Dialect};
use kt_core::http1::write;
use kt_core::limits::{KIB, Limits};
use kt_proxy::client::{Client, Next};
use kt_proxy::listen::Listening;
use kt_proxy::rt::{self, Bell, BellPull, Either, Engine, Listener, Socket};
use kt_proxy::tls::Session;
use kt_proxy::wire::Wire;
use memchr::memmem;
use rustls::ServerConfig;

use super::door::Door;
use super::script::{self, Script};
use super::{Gone, Language, LogNormal};
use crate::clock::{now_ns, ns};
use crate::pace::Pacer;
use crate::stage;
use crate::stamp::{Ask, STAMP_BYTES, Stamp, Wish};

/// What stands in an answer's text where the stamp will be; as long as that.
const BLANK: &str = "kt-stamp:0000000000000000000000000000000000000000000000000000000000000000;";
/// Where a request says that it wants a stream: near the front or near the end, a prompt lies between.
const LOOK_BYTES: usize = 2 * KIB;
/// What a vendor says to whoever asks if it is there, or which models it has: some gateways do when they start.
const PRESENT: &[u8] = br#"{"object":"list","status":"ok","model_path":"gpt-4o-mini","data":[{"id":"gpt-4o-mini","object":"model","created":1755097541,"owned_by":"lab"}]}"#;

/// How long it thinks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delay {
    /// Always as long.
    Fixed(Duration),
    /// Drawn each time, in milliseconds.
    Drawn(LogNormal),
}

/// How it freezes: at the end of each `every` it is silent for `length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// From the beginning of one freeze to that of the next.
    pub every: Duration,
    /// How long each lasts.
    pub length: Duration,
}

/// What a quick vendor is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The language it speaks.
    pub dialect: Dialect,
    /// From the request to the answer, or to the first event of a stream.
    pub delay: Delay,
    /// Content events of a stream.
    pub events: usize,
    /// From each event to the next.
    pub gap: Duration,
    /// Length of a whole answer's text in bytes, a stamp's at least.
    pub text_bytes: usize,
    /// Whether it freezes.
    pub freeze: Option<Freeze>,
    /// Seed of what is drawn.
    pub seed: u64,
    /// What its clients are shown; `None` for plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Default for Settings {
    /// OpenAI's language, no delay, an answer of about 1 KiB, a stream of a hundred events at once.
    fn default() -> Self {
        Self {
            dialect: Dialect::OpenAi,
            delay: Delay::Fixed(Duration::ZERO),
            events: 100,
            gap: Duration::ZERO,
            text_bytes: 320,
            freeze: None,
            seed: 1,
            tls: None,
        }
    }
}

/// A quick vendor on a thread of its own. It stops when it is dropped.
#[derive(Debug)]
pub struct QuickVendor {
    address: SocketAddr,
    bell: BellPull,
    thread: Option<JoinHandle<()>>,
}

impl QuickVendor {
    /// Starts it on `listener`; it answers when this returns.
    ///
    /// # Errors
    ///
    /// The system's, when there can be no thread or runtime.
    pub fn start(listener: TcpListener, settings: Settings) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (bell, inner) = rt::bell()?;
        let thread = stage::start("kt-vendor", move |engine| {
            let listener = Rc::new(Listener::new(Listening::Tcp(listener), engine)?);
            let bell = Bell::hang(inner, engine)?;
            let quick = Rc::new(Quick::new(&settings, Pacer::start()?));
            let door = Rc::clone(&quick.door);
            Ok(door.keep(listener, bell, move |socket| receive(Rc::clone(&quick), socket)))
        })?;
        Ok(Self { address, bell, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for QuickVendor {
    fn drop(&mut self) {
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// A vendor on the thread that opened it.
pub(crate) struct Opened(Rc<Door>);

impl Opened {
    /// Closes the connections that wait for a request. It takes up to half a second.
    pub(crate) fn close_idle(&self) {
        self.0.watch.hurry(Instant::now());
    }
}

/// Opens a vendor on the calling thread's runtime, for as long as that runs: beside a load it costs no thread's switch.
///
/// # Errors
///
/// The kernel's, when the listener can't be registered.
pub(crate) fn open(listener: TcpListener, settings: &Settings, engine: Engine, pacer: Rc<Pacer>) -> io::Result<Opened> {
    let listener = Rc::new(Listener::new(Listening::Tcp(listener), engine)?);
    let quick = Rc::new(Quick::new(settings, pacer));
    let door = Rc::clone(&quick.door);
    rt::spawn(Rc::clone(&door).accept(listener, move |socket| receive(Rc::clone(&quick), socket)), |_| {
        unreachable!("accepting takes no foreign code along that could panic")
    });
    Ok(Opened(door))
}

/// The whole answer to a request, as bytes around its stamp, without the head: what a gateway that changes nothing
/// passes on.
pub fn whole_body(settings: &Settings) -> (Vec<u8>, Vec<u8>) {
    let whole = Print::new(settings).body;
    (whole.before, whole.after)
}

/// Bytes around a stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamped {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Stamped {
    /// Takes `bytes` apart at the blank.
    fn new(bytes: &[u8]) -> Self {
        let at =
            memmem::find(bytes, BLANK.as_bytes()).expect("the blank was written as text without anything to escape");
        Self { before: bytes[..at].to_vec(), after: bytes[at + STAMP_BYTES..].to_vec() }
    }

    fn write(&self, out: &mut Vec<u8>, stamp: Stamp) {
        out.extend_from_slice(&self.before);
        stamp.write(out);
        out.extend_from_slice(&self.after);
    }
}

/// All it ever says.
struct Print {
    /// A whole answer's body.
    body: Stamped,
    /// The same with its head.
    whole: Stamped,
    /// A stream's head and the events before the first piece.
    opening: Vec<u8>,
    /// The chunk of a piece.
    piece: Stamped,
    /// The last chunks, without usage and with it.
    closing: [Vec<u8>; 2],
    /// To a request that asks for anything but an answer.
    present: Vec<u8>,
}

impl Print {
    fn new(settings: &Settings) -> Self {
        const FILLER: &str = " and so on";
        let language = Language(settings.dialect);
        let fillers = settings.text_bytes.saturating_sub(STAMP_BYTES).div_ceil(FILLER.len());
        let mut script = Script::printed("0123456789abcdefghijklmn", std::iter::once(BLANK));
        let mut wish = script::Wish::printed("gpt-4o-mini");
        let head = |kind: &str| {
            let mut out = Vec::with_capacity(2 * KIB);
            write::status_line(&mut out, 200);
            write::field(&mut out, "content-type", kind);
            language.write_fields(&mut out, &script.token, 1, 0);
            out
        };

        let mut opening = head("text/event-stream; charset=utf-8");
        write::field(&mut opening, "transfer-encoding", "chunked");
        write::end(&mut opening);
        let mut whole = head("application/json");
        let mut events = Vec::new();
        language.write_opening(&mut events, &wish, &script);
        write::chunk(&mut opening, &events);
        let mut piece = Vec::new();
        events.clear();
        language.write_piece(&mut events, &wish, &script, BLANK);
        write::chunk(&mut piece, &events);
        let closing = [false, true].map(|usage_chunk| {
            wish.usage_chunk = usage_chunk;
            let (mut out, mut events) = (Vec::new(), Vec::new());
            language.write_closing(&mut events, &wish, &script);
            write::chunk(&mut out, &events);
            out.extend_from_slice(write::LAST_CHUNK);
            out
        });

        script = Script::printed(&script.token, std::iter::once(BLANK).chain(std::iter::repeat_n(FILLER, fillers)));
        let mut body = Vec::new();
        language.write_whole(&mut body, &wish, &script);
        write::number_field(&mut whole, "content-length", body.len() as u64);
        write::end(&mut whole);
        whole.extend_from_slice(&body);
        let mut present = Vec::new();
        write::status_line(&mut present, 200);
        write::field(&mut present, "content-type", "application/json");
        write::number_field(&mut present, "content-length", PRESENT.len() as u64);
        write::end(&mut present);
        present.extend_from_slice(PRESENT);
        Self {
            body: Stamped::new(&body),
            whole: Stamped::new(&whole),
            opening,
            piece: Stamped::new(&piece),
            closing,
            present,
        }
    }
}

/// How an answer comes.
#[derive(Clone, Copy)]
struct Course {
    delay_ns: u64,
    events: usize,
    gap_ns: u64,
}

/// What the connections share.
struct Quick {
    print: Print,
    path: &'static str,
    delay: Delay,
    events: usize,
    gap_ns: u64,
    freeze: Option<Freeze>,
    opened_ns: u64,
    dice: RefCell<Rng>,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
    door: Rc<Door>,
    pacer: Rc<Pacer>,
}

impl Quick {
    fn new(settings: &Settings, pacer: Rc<Pacer>) -> Self {
        Self {
            print: Print::new(settings),
            path: dialect::path(settings.dialect),
            delay: settings.delay,
            events: settings.events,
            gap_ns: ns(settings.gap),
            freeze: settings.freeze,
            opened_ns: now_ns(),
            dice: RefCell::new(Rng::with_seed(settings.seed)),
            tls: settings.tls.clone(),
            // Whoever is held while others are measured finds its connections as it left them.
            limits: Limits { keep_alive_ms: 3_600_000, ..Limits::default() },
            door: Rc::default(),
            pacer,
        }
    }

    /// How an answer comes: as the request wishes, or else as the settings say.
    fn course(&self, wish: Option<Wish>) -> Course {
        if let Some(Wish { delay_us, events, gap_us }) = wish {
            let ns = |us: u64| us.saturating_mul(1_000);
            return Course {
                delay_ns: ns(delay_us),
                events: usize::try_from(events).unwrap_or(usize::MAX),
                gap_ns: ns(gap_us),
            };
        }
        let delay_ns = match self.delay {
            Delay::Fixed(delay) => ns(delay),
            Delay::Drawn(drawn) => (drawn.draw(&mut self.dice.borrow_mut()) * 1e6) as u64,
        };
        Course { delay_ns, events: self.events, gap_ns: self.gap_ns }
    }

    /// When what is due at `due_ns` can go out: then, or when the freeze ends that it falls into.
    fn thawed(&self, due_ns: u64) -> u64 {
        let Some(Freeze { every, length }) = self.freeze else { return due_ns };
        let (every, length) = (ns(every).max(1), ns(length));
        let phase = due_ns.saturating_sub(self.opened_ns) % every;
        if phase + length >= every { due_ns + (every - phase) } else { due_ns }
    }

    /// Waits, unless the client leaves first.
    async fn wait_until(&self, due_ns: u64, client: &mut Client) -> Result<(), Gone> {
        let due_ns = self.thawed(due_ns);
        if due_ns <= now_ns() {
            return Ok(());
        }
        match rt::race(client.gone(), self.pacer.until(due_ns)).await {
            Either::Left(()) => Err(Gone),
            Either::Right(()) => Ok(()),
        }
    }

    async fn send(&self, client: &mut Client, bytes: Vec<u8>) -> Result<Vec<u8>, Gone> {
        let (sent, mut bytes) = client.send(bytes, &self.limits).await;
        sent.map_err(|_| Gone)?;
        bytes.clear();
        Ok(bytes)
    }

    async fn answer_whole(
        &self,
        client: &mut Client,
        mut stamp: Stamp,
        course: Course,
        mut out: Vec<u8>,
    ) -> Result<Vec<u8>, Gone> {
        self.wait_until(stamp.received_ns.saturating_add(course.delay_ns), client).await?;
        stamp.sent_ns = now_ns();
        self.print.whole.write(&mut out, stamp);
        self.send(client, out).await
    }

    /// What is due goes out in one write; what is late delays nothing behind it.
    async fn stream(
        &self,
        client: &mut Client,
        mut stamp: Stamp,
        Course { delay_ns, events, gap_ns }: Course,
        wants_usage: bool,
        mut out: Vec<u8>,
    ) -> Result<Vec<u8>, Gone> {
        let first_ns = stamp.received_ns.saturating_add(delay_ns);
        out.extend_from_slice(&self.print.opening);
        let mut sent = 0;
        loop {
            self.wait_until(first_ns.saturating_add(gap_ns.saturating_mul(sent as u64)), client).await?;
            stamp.sent_ns = now_ns();
            let late_ns = stamp.sent_ns.saturating_sub(first_ns);
            let due = late_ns.checked_div(gap_ns).map_or(events, |gaps| events.min(gaps as usize + 1));
            for nth in sent..due {
                self.print.piece.write(&mut out, Stamp { nth: nth as u64, ..stamp });
            }
            sent = due;
            if sent == events {
                out.extend_from_slice(&self.print.closing[usize::from(wants_usage)]);
                return self.send(client, out).await;
            }
            out = self.send(client, out).await?;
        }
    }
}

async fn receive(quick: Rc<Quick>, socket: Socket) {
    let mut wire = Wire::plain(socket, &quick.door.watch);
    if let Some(config) = &quick.tls {
        let Ok(session) = Session::of_client(config) else { return wire.close().await };
        let shaken;
        (shaken, wire) = wire.handshake(session).await;
        if shaken.is_err() {
            return wire.close().await;
        }
    }
    let mut client = Client::new(wire);
    // However it went, the connection ends here.
    let _ = serve(&quick, &mut client).await;
    client.close().await;
}

async fn serve(quick: &Quick, client: &mut Client) -> Result<(), Gone> {
    let mut out = Vec::new();
    while let Next::Request(mut request) = client.next(&quick.limits).await {
        client.read_body(&mut request, &quick.limits).await.map_err(|_| Gone)?;
        let received_ns = now_ns();
        let body = request.body();
        let ask = Ask::read(body).unwrap_or(Ask { number: 0, wish: None });
        let stamp = Stamp { ask: ask.number, nth: 0, received_ns, sent_ns: 0 };
        let course = quick.course(ask.wish);
        out = match (request.path() == quick.path.as_bytes(), says(body, b"\"stream\"")) {
            (false, _) => {
                out.extend_from_slice(&quick.print.present);
                quick.send(client, out).await?
            }
            (true, true) => quick.stream(client, stamp, course, says(body, b"\"include_usage\""), out).await?,
            (true, false) => quick.answer_whole(client, stamp, course, out).await?,
        };
        if !request.head.keep_alive || quick.door.is_closing() {
            break;
        }
    }
    Ok(())
}

/// Whether a body says `name` and `true` behind it. A quoted name within a text has a backslash in it, so it is a name.
fn says(body: &[u8], name: &[u8]) -> bool {
    let is_true = |part: &[u8]| {
        let at = memmem::find(part, name)?;
        let value = part[at + name.len()..].iter().find(|byte| !matches!(byte, b':' | b' ' | b'\n' | b'\r' | b'\t'));
        Some(value == Some(&b't'))
    };
    let front = &body[..body.len().min(LOOK_BYTES)];
    let back = &body[body.len() - front.len()..];
    is_true(front).or_else(|| is_true(back)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_is_as_long_as_a_stamp() {
        assert_eq!(BLANK.len(), STAMP_BYTES);
        assert!(Stamp::find(BLANK.as_bytes()).is_some());
    }

    #[test]
    fn what_is_printed_is_what_the_language_says() {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            let print = Print::new(&Settings { dialect, ..Settings::default() });
            let mut whole = Vec::new();
            print.whole.write(&mut whole, Stamp { ask: 1, nth: 0, received_ns: 2, sent_ns: 3 });
            let body = [&print.body.before[..], BLANK.as_bytes(), &print.body.after].concat();
            assert!((600..1_300).contains(&body.len()), "{dialect:?}: {}", body.len());
            assert!(memmem::find(&whole, format!("content-length: {}\r\n\r\n", body.len()).as_bytes()).is_some());
            let usage = print.closing.each_ref().map(|closing| memmem::find(closing, b"_tokens\":").is_some());
            assert_eq!(usage, [dialect == Dialect::Anthropic, true]);
        }
    }

    #[test]
    fn a_stream_is_seen_where_it_is_asked_for() {
        let long = "x".repeat(3 * LOOK_BYTES);
        let cases = [
            (r#"{"stream":true}"#.to_owned(), true),
            (r#"{"stream": true}"#.to_owned(), true),
            (r#"{"stream":false}"#.to_owned(), false),
            (format!(r#"{{"a":"{long}","stream" : true}}"#), true),
            (format!(r#"{{"stream":true,"a":"{long}"}}"#), true),
            (r#"{"a":"\"stream\":true"}"#.to_owned(), false),
            (r#"{"stream""#.to_owned(), false),
            (String::new(), false),
        ];
        for (body, streams) in cases {
            assert_eq!(says(body.as_bytes(), b"\"stream\""), streams, "{body}");
        }
    }
}
