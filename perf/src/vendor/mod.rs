//! Simulated vendors: on loopback, in their own language, with a real vendor's latencies.
//!
//! A [`Vendor`] is one listener on a thread of its own. It insists on what the real one insists on (its key, and of
//! Anthropic the version and `max_tokens`), answers whole or streamed, and now and then, if it is told to, with an error.
//! All it draws by chance comes from a seed. It doesn't know what it is asked by: a gateway, a test or curl.
//!
//! Deliberately absent: tools, images, caches; more than one choice; a limit on what it takes in.

mod anthropic;
mod door;
mod openai;
pub mod quick;
mod script;

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use kt_core::dialect::{self, Dialect};
use kt_core::http1::head::Known;
use kt_core::http1::write;
use kt_core::limits::{KIB, Limits};
use kt_proxy::client::{Client, Next, Request};
use kt_proxy::listen::Listening;
use kt_proxy::rt::{self, Bell, BellPull, Either, Listener, Socket};
use kt_proxy::wire::Wire;

use crate::stage;
use door::Door;
pub use script::LogNormal;
use script::{Refusal, Script, Wish};

/// What a rate-limited client is told to wait, in seconds.
const RETRY_AFTER_SECONDS: u64 = 1;

/// What a vendor is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The language it speaks, and with it its paths and its ways.
    pub dialect: Dialect,
    /// The one key it takes.
    pub key: String,
    /// What all chance comes from.
    pub seed: u64,
    /// From the request to the first token, in milliseconds.
    pub first_token_ms: LogNormal,
    /// From each token to the next, in milliseconds.
    pub token_gap_ms: f64,
    /// Length of an answer, in tokens; at least one.
    pub answer_tokens: LogNormal,
    /// Share of requests that fail, half of them with 429 and half with 500; from 0 to 1.
    pub error_rate: f64,
}

/// A vendor that runs. It stops when it is dropped.
#[derive(Debug)]
pub struct Vendor {
    address: SocketAddr,
    counters: Arc<Counters>,
    bell: BellPull,
    thread: Option<JoinHandle<()>>,
}

/// What a vendor has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections taken in.
    pub connections: u64,
    /// Requests read whole.
    pub requests: u64,
    /// Of those, answers that were streams.
    pub streams: u64,
    /// Of those, refused: the client's fault, or drawn by chance.
    pub refusals: u64,
    /// Of those, left by the client before the answer was whole.
    pub abandoned: u64,
    /// Tokens of all answers that went out whole, prompts included.
    pub tokens: u64,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
    streams: AtomicU64,
    refusals: AtomicU64,
    abandoned: AtomicU64,
    tokens: AtomicU64,
}

/// What the tasks of a vendor's thread share.
struct House {
    settings: Settings,
    limits: Limits,
    door: Rc<Door>,
    counters: Arc<Counters>,
    /// Requests up to now: the place of the next one in the sequence of draws.
    drawn: Cell<u64>,
}

/// The client has gone.
struct Gone;

impl Settings {
    /// A vendor like OpenAI: first token after 180 ms, a hundred tokens a second, short answers.
    pub fn openai(seed: u64) -> Self {
        Self {
            dialect: Dialect::OpenAi,
            key: "sk-simulated-openai".to_owned(),
            seed,
            first_token_ms: LogNormal { median: 180.0, sigma: 0.35 },
            token_gap_ms: 10.0,
            answer_tokens: LogNormal { median: 40.0, sigma: 0.4 },
            error_rate: 0.0,
        }
    }

    /// A vendor like Anthropic: first token after 260 ms, eighty tokens a second, somewhat longer answers.
    pub fn anthropic(seed: u64) -> Self {
        Self {
            dialect: Dialect::Anthropic,
            key: "sk-ant-simulated".to_owned(),
            seed,
            first_token_ms: LogNormal { median: 260.0, sigma: 0.35 },
            token_gap_ms: 12.5,
            answer_tokens: LogNormal { median: 50.0, sigma: 0.4 },
            error_rate: 0.0,
        }
    }

    /// The same, so many times faster.
    #[must_use]
    pub fn faster(mut self, times: f64) -> Self {
        self.first_token_ms.median /= times;
        self.token_gap_ms /= times;
        self
    }
}

impl Vendor {
    /// Starts a vendor on a free port of loopback; it answers when this returns.
    ///
    /// # Errors
    ///
    /// The system's, when there can be no socket, thread or runtime.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (bell, inner) = rt::bell()?;
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        let thread = stage::start("kt-vendor", move |engine| {
            let listener = Rc::new(Listener::new(Listening::Tcp(listener), engine)?);
            let bell = Bell::hang(inner, engine)?;
            let house = Rc::new(House::new(settings, shared));
            let door = Rc::clone(&house.door);
            Ok(door.keep(listener, bell, move |socket| receive(Rc::clone(&house), socket)))
        })?;
        Ok(Self { address, counters, bell, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has counted up to now.
    pub fn counts(&self) -> Counts {
        let Counters { connections, requests, streams, refusals, abandoned, tokens } = &*self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            connections: read(connections),
            requests: read(requests),
            streams: read(streams),
            refusals: read(refusals),
            abandoned: read(abandoned),
            tokens: read(tokens),
        }
    }

    /// Takes in no more connections, ends those that idle, and waits up to two seconds for answers under way. Gives what
    /// it has counted in all: a client has an answer a moment before the vendor counts it.
    pub fn stop(mut self) -> Counts {
        self.end();
        self.counts()
    }

    fn end(&mut self) {
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic has been reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.end();
    }
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

async fn receive(house: Rc<House>, socket: Socket) {
    count(&house.counters.connections, 1);
    let mut client = Client::new(Wire::plain(socket, &house.door.watch));
    // However it went, the connection ends here.
    let _ = serve(&house, &mut client).await;
    client.close().await;
}

async fn serve(house: &House, client: &mut Client) -> Result<(), Gone> {
    while let Next::Request(mut request) = client.next(&house.limits).await {
        client.read_body(&mut request, &house.limits).await.map_err(|_| Gone)?;
        let began = Instant::now();
        count(&house.counters.requests, 1);
        let answered = answer(house, client, &request, began).await;
        if answered.is_err() {
            count(&house.counters.abandoned, 1);
        }
        answered?;
        if !request.head.keep_alive || house.door.is_closing() {
            break;
        }
    }
    Ok(())
}

async fn answer(house: &House, client: &mut Client, request: &Request, began: Instant) -> Result<(), Gone> {
    let nth = house.drawn.replace(house.drawn.get() + 1);
    let wish = check(&house.settings, request);
    let script = wish.and_then(|wish| Script::draw(&house.settings, nth, &wish).map(|script| (wish, script)));
    match script {
        Ok((wish, script)) if wish.stream => {
            count(&house.counters.streams, 1);
            stream(house, client, &wish, &script, nth, began).await?;
            count(&house.counters.tokens, script.prompt_tokens + script.answer_tokens());
        }
        Ok((wish, script)) => {
            wait_until(began + script.end(), client).await?;
            let mut body = Vec::with_capacity(KIB);
            house.language().write_whole(&mut body, &wish, &script);
            let message = house.whole_message(200, &script.token, nth, began, &body);
            send(house, client, message).await?;
            count(&house.counters.tokens, script.prompt_tokens + script.answer_tokens());
        }
        Err(refusal) => {
            count(&house.counters.refusals, 1);
            let mut body = Vec::new();
            house.language().write_refusal(&mut body, refusal);
            let message = house.whole_message(refusal.status(), &format!("refused{nth:017}"), nth, began, &body);
            send(house, client, message).await?;
        }
    }
    Ok(())
}

/// What the real vendor checks, in its order.
fn check(settings: &Settings, request: &Request) -> Result<Wish, Refusal> {
    if request.path() != dialect::path(settings.dialect).as_bytes() || request.head.method.as_str() != "POST" {
        return Err(Refusal::NoSuchPath);
    }
    let credential = dialect::credential(settings.dialect);
    let (field, wants_version) = match settings.dialect {
        Dialect::OpenAi => (Known::Authorization, false),
        Dialect::Anthropic => (Known::ApiKey, true),
    };
    let key = request.field(field).and_then(|value| value.strip_prefix(credential.prefix.as_bytes()));
    if key != Some(settings.key.as_bytes()) {
        return Err(Refusal::WrongKey);
    }
    let names_version = || request.end_to_end().any(|(name, _)| name.eq_ignore_ascii_case(b"anthropic-version"));
    if wants_version && !names_version() {
        return Err(Refusal::Missing("anthropic-version"));
    }
    let wish = Wish::read(request.body())?;
    match (settings.dialect, wish.tokens_max) {
        (Dialect::Anthropic, None) => Err(Refusal::Missing("max_tokens")),
        (Dialect::Anthropic, Some(_)) | (Dialect::OpenAi, _) => Ok(wish),
    }
}

/// Sends a stream by its script's schedule: what is due goes out in one write.
async fn stream(
    house: &House,
    client: &mut Client,
    wish: &Wish,
    script: &Script,
    nth: u64,
    began: Instant,
) -> Result<(), Gone> {
    let language = house.language();
    wait_until(began + script.opening, client).await?;
    let mut out = house.head(200, "text/event-stream; charset=utf-8", &script.token, nth, began);
    write::field(&mut out, "cache-control", "no-cache");
    write::field(&mut out, "transfer-encoding", "chunked");
    write::end(&mut out);
    let mut events = Vec::with_capacity(KIB);
    language.write_opening(&mut events, wish, script);
    write::chunk(&mut out, &events);
    out = send(house, client, out).await?;

    let mut sent = 0;
    while sent < script.pieces.len() {
        wait_until(began + script.due(sent), client).await?;
        let due = script.pieces_due(began.elapsed());
        events.clear();
        for piece in &script.pieces[sent..due] {
            language.write_piece(&mut events, wish, script, piece);
        }
        sent = due;
        if sent == script.pieces.len() {
            language.write_closing(&mut events, wish, script);
        }
        write::chunk(&mut out, &events);
        if sent == script.pieces.len() {
            out.extend_from_slice(write::LAST_CHUNK);
        }
        out = send(house, client, out).await?;
    }
    Ok(())
}

/// Waits, unless the client leaves first.
async fn wait_until(due: Instant, client: &mut Client) -> Result<(), Gone> {
    match rt::race(client.gone(), rt::sleep(due.saturating_duration_since(Instant::now()))).await {
        Either::Left(()) => Err(Gone),
        Either::Right(()) => Ok(()),
    }
}

async fn send(house: &House, client: &mut Client, bytes: Vec<u8>) -> Result<Vec<u8>, Gone> {
    let (sent, bytes) = client.send(bytes, &house.limits).await;
    sent.map_err(|_| Gone)?;
    Ok(bytes)
}

impl House {
    fn new(settings: Settings, counters: Arc<Counters>) -> Self {
        Self { settings, limits: Limits::default(), door: Rc::default(), counters, drawn: Cell::new(0) }
    }

    fn language(&self) -> Language {
        Language(self.settings.dialect)
    }

    /// A head without what frames the body, and without its end.
    fn head(&self, status: u16, content_type: &str, token: &str, nth: u64, began: Instant) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 * KIB);
        write::status_line(&mut out, status);
        write::field(&mut out, "content-type", content_type);
        let after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.language().write_fields(&mut out, token, after_ms, nth);
        if status == 429 {
            write::number_field(&mut out, "retry-after", RETRY_AFTER_SECONDS);
        }
        out
    }

    fn whole_message(&self, status: u16, token: &str, nth: u64, began: Instant, body: &[u8]) -> Vec<u8> {
        let mut out = self.head(status, "application/json", token, nth, began);
        write::number_field(&mut out, "content-length", body.len() as u64);
        write::end(&mut out);
        out.extend_from_slice(body);
        out
    }
}

impl Refusal {
    const fn status(self) -> u16 {
        match self {
            Self::NoSuchPath => 404,
            Self::WrongKey => 401,
            Self::Missing(_) | Self::NotJson => 400,
            Self::RateLimited => 429,
            Self::Broken => 500,
        }
    }
}

/// A dialect as it is written by a vendor.
#[derive(Clone, Copy)]
struct Language(Dialect);

/// Each function of both dialects' files, chosen by the dialect.
macro_rules! speak {
    ($( fn $name:ident($( $arg:ident: $type:ty ),*); )*) => {
        impl Language {
            $( fn $name(self, out: &mut Vec<u8>, $( $arg: $type ),*) {
                match self.0 {
                    Dialect::OpenAi => openai::$name(out, $( $arg ),*),
                    Dialect::Anthropic => anthropic::$name(out, $( $arg ),*),
                }
            } )*
        }
    };
}

speak! {
    fn write_fields(token: &str, after_ms: u64, nth: u64);
    fn write_refusal(refusal: Refusal);
    fn write_whole(wish: &Wish, script: &Script);
    fn write_opening(wish: &Wish, script: &Script);
    fn write_piece(wish: &Wish, script: &Script, piece: &str);
    fn write_closing(wish: &Wish, script: &Script);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    const QUESTION: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hello, you!!"}]}"#;
    const TO_ANTHROPIC: &str = r#"{"model":"claude","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    const OPENAI_KEY: &str = "authorization: Bearer sk-simulated-openai\r\n";
    const ANTHROPIC_KEY: &str = "X-Api-Key: sk-ant-simulated\r\nanthropic-version: 2023-06-01\r\n";

    fn quick(settings: Settings) -> Vendor {
        Vendor::start(settings.faster(100.0)).unwrap()
    }

    /// Asks over a connection of its own, which the vendor is to close behind the answer.
    fn ask(vendor: &Vendor, path: &str, fields: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(vendor.address()).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: a\r\n{fields}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn ask_openai(vendor: &Vendor, body: &str) -> String {
        ask(vendor, "/v1/chat/completions", OPENAI_KEY, body)
    }

    fn ask_anthropic(vendor: &Vendor, body: &str) -> String {
        ask(vendor, "/v1/messages", ANTHROPIC_KEY, body)
    }

    fn body(answer: &str) -> &str {
        answer.split_once("\r\n\r\n").expect("a head ends").1
    }

    fn assert_in_order(text: &str, parts: &[&str]) {
        let mut rest = text;
        for part in parts {
            rest = rest.split_once(part).unwrap_or_else(|| panic!("{part:?} is missing, or too early, in {text}")).1;
        }
    }

    #[test]
    fn two_vendors_of_one_seed_give_the_same_answers() {
        let streamed = QUESTION.replace("{\"model\"", "{\"stream\":true,\"model\"");
        let answers = |seed| {
            let vendor = quick(Settings::openai(seed));
            let whole = [0; 3].map(|_| body(&ask_openai(&vendor, QUESTION)).to_owned());
            // How many events go out in one chunk is the clock's business.
            let stream = ask_openai(&vendor, &streamed);
            let events: String = stream.lines().filter(|line| line.starts_with("data")).collect();
            (whole, events)
        };
        assert_eq!(answers(5), answers(5));
        assert_ne!(answers(5), answers(6));
    }

    #[test]
    fn openai_answers_whole() {
        let answer = ask_openai(&quick(Settings::openai(1)), QUESTION);
        let head =
            ["HTTP/1.1 200 OK\r\n", "x-request-id: req_", "openai-processing-ms: ", "x-ratelimit-limit-requests: "];
        assert_in_order(&answer, &head);
        assert_in_order(
            body(&answer),
            &[
                "{\"id\":\"chatcmpl-",
                "\"model\":\"gpt-4o-2024-08-06\"",
                "\"role\":\"assistant\",\"content\":\" ",
                "\"finish_reason\":\"stop\"",
                "\"usage\":{\"prompt_tokens\":7,",
            ],
        );
    }

    #[test]
    fn openai_tells_the_usage_of_a_stream_when_asked() {
        let vendor = quick(Settings::openai(1));
        let streamed = QUESTION.replace("{\"model\"", "{\"stream\":true,\"model\"");
        let silent = ask_openai(&vendor, &streamed);
        assert_in_order(
            &silent,
            &[
                "text/event-stream",
                "\"delta\":{\"role\":\"assistant\",\"content\":\"\"",
                "\"delta\":{\"content\":\" ",
                "\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}",
                "data: [DONE]\n\n\r\n0\r\n\r\n",
            ],
        );
        assert!(!silent.contains("usage"), "{silent}");
        let asked = streamed.replace("{\"stream\"", "{\"stream_options\":{\"include_usage\":true},\"stream\"");
        assert_in_order(
            &ask_openai(&vendor, &asked),
            &[
                "\"finish_reason\":null}],\"usage\":null}",
                "\"finish_reason\":\"stop\"}],\"usage\":null}",
                "\"choices\":[],\"usage\":{\"prompt_tokens\":7,",
                "data: [DONE]",
            ],
        );
    }

    #[test]
    fn anthropic_answers_whole_and_streamed() {
        let vendor = quick(Settings::anthropic(1));
        let whole = ask_anthropic(&vendor, TO_ANTHROPIC);
        assert_in_order(&whole, &["HTTP/1.1 200 OK\r\n", "request-id: req_"]);
        let ends =
            ["\"type\":\"message\"", "\"stop_reason\":\"max_tokens\"", "\"input_tokens\":5,", "\"output_tokens\":9,"];
        assert_in_order(body(&whole), &ends);
        let streamed = ask_anthropic(&vendor, &TO_ANTHROPIC.replace("{\"model\"", "{\"stream\":true,\"model\""));
        assert_in_order(
            &streamed,
            &[
                "event: message_start\n",
                "\"input_tokens\":5,",
                "\"output_tokens\":1,",
                "event: content_block_start\n",
                "event: ping\n",
                "event: content_block_delta\n",
                "event: content_block_stop\n",
                "event: message_delta\n",
                "\"stop_reason\":\"max_tokens\"",
                "\"output_tokens\":9}",
                "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n\r\n0\r\n\r\n",
            ],
        );
        assert_eq!(streamed.matches("event: content_block_delta").count(), 9);
    }

    #[test]
    fn a_vendor_insists_on_what_the_real_one_insists_on() {
        let (openai, anthropic) = (quick(Settings::openai(1)), quick(Settings::anthropic(1)));
        let (chat, messages) = ("/v1/chat/completions", "/v1/messages");
        let no_version = "x-api-key: sk-ant-simulated\r\n";
        let no_maximum = &TO_ANTHROPIC.replace("\"max_tokens\":9,", "");
        let cases = [
            (&openai, messages, OPENAI_KEY, QUESTION, "404", "unknown_url"),
            (&openai, chat, "", QUESTION, "401", "invalid_api_key"),
            (&openai, chat, "authorization: Bearer sk-other\r\n", QUESTION, "401", "invalid_api_key"),
            (&openai, chat, OPENAI_KEY, "{", "400", "could not parse"),
            (&openai, chat, OPENAI_KEY, "{}", "400", "Missing required parameter: 'model'."),
            (&anthropic, chat, ANTHROPIC_KEY, TO_ANTHROPIC, "404", "not_found_error"),
            (&anthropic, messages, OPENAI_KEY, TO_ANTHROPIC, "401", "authentication_error"),
            (&anthropic, messages, no_version, TO_ANTHROPIC, "400", "anthropic-version: Field required"),
            (&anthropic, messages, ANTHROPIC_KEY, no_maximum, "400", "max_tokens: Field required"),
        ];
        for (vendor, path, fields, question, status, says) in cases {
            assert_in_order(&ask(vendor, path, fields, question), &["HTTP/1.1 ", status, "\"error\"", says]);
        }
        assert_eq!(openai.counts().refusals + anthropic.counts().refusals, cases.len() as u64);
    }

    #[test]
    fn errors_on_demand_are_the_vendors_own() {
        let cases = [
            (Settings::openai(1), "rate_limit_exceeded", "server_error"),
            (Settings::anthropic(1), "rate_limit_error", "api_error"),
        ];
        for (settings, limited, broken) in cases {
            let vendor = quick(Settings { error_rate: 1.0, ..settings.clone() });
            let answers: Vec<String> = (0..12)
                .map(|_| match settings.dialect {
                    Dialect::OpenAi => ask_openai(&vendor, QUESTION),
                    Dialect::Anthropic => ask_anthropic(&vendor, TO_ANTHROPIC),
                })
                .collect();
            let find = |status: &str| answers.iter().find(|answer| answer.contains(status)).expect("one in two");
            assert_in_order(find("HTTP/1.1 429 "), &["retry-after: 1\r\n", limited]);
            assert_in_order(find("HTTP/1.1 500 "), &[broken]);
            assert_eq!((vendor.counts().refusals, vendor.counts().tokens), (12, 0));
        }
    }

    #[test]
    fn a_client_that_leaves_is_seen_at_once() {
        let vendor = Vendor::start(Settings::openai(1).faster(0.05)).unwrap();
        let mut stream = TcpStream::connect(vendor.address()).unwrap();
        let length = QUESTION.len();
        let head =
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{OPENAI_KEY}content-length: {length}\r\n\r\n");
        stream.write_all([&head, QUESTION].concat().as_bytes()).unwrap();
        let wait_for = |what: &str, is: fn(&Counts) -> u64| {
            let due = Instant::now() + Duration::from_secs(2);
            while is(&vendor.counts()) == 0 {
                assert!(Instant::now() < due, "{what}: {:?}", vendor.counts());
                std::thread::yield_now();
            }
        };
        wait_for("the request is read", |counts| counts.requests);
        drop(stream);
        wait_for("the client has gone", |counts| counts.abandoned);
    }

    #[test]
    fn a_stopped_vendor_takes_no_connection_and_frees_its_port() {
        let vendor = quick(Settings::openai(1));
        let address = vendor.address();
        // Kept alive and idle: it must not hold the stop up for long.
        let idle = TcpStream::connect(address).unwrap();
        let began = Instant::now();
        vendor.stop();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(TcpStream::connect(address).is_err());
        drop(idle);
        TcpListener::bind(address).unwrap();
    }
}
