//! A client that asks many questions and checks every answer to its end.
//!
//! Closed loop: each of its connections asks the next question when the last is answered. Connections are kept alive.
//! It runs on a thread of its own and hands out answers as they come, so that whoever reads them can do something else
//! meanwhile, such as changing what is asked, while questions go on.
//!
//! Deliberately absent: a rate. What a stalled server does to a rate can't be seen from here.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use crossbeam::channel::{Receiver, Sender, unbounded};
use http::Method;
use kt_core::dialect::{self, Dialect, Look};
use kt_core::fault::Kind;
use kt_core::http1::body::BodyReader;
use kt_core::http1::framing;
use kt_core::http1::head::{Fields, Known, ResponseHead, Search};
use kt_core::http1::write;
use kt_core::json::{Scratch, Value, escape_into, scan};
use kt_core::limits::{KIB, Limits};
use kt_core::sse::{self, Splitter};
use kt_proxy::deadline::{Wait, Watch};
use kt_proxy::rt;
use kt_proxy::wire::{Patience, Wire};
use kt_proxy::worker::Held;

use crate::stage;

/// How often the thread looks whether all connections have ended.
const END_LOOK: Duration = Duration::from_millis(2);

/// What is asked: chat completions, as OpenAI's clients ask for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Questions {
    /// Who is asked.
    pub address: SocketAddr,
    /// The key to show, if one is asked for.
    pub key: Option<String>,
    /// What to name as `model`.
    pub model: String,
    /// What to say, in turn. Without any, nothing is asked.
    pub prompts: Vec<String>,
    /// How many questions in all.
    pub count: u64,
    /// How many at a time.
    pub concurrency: u64,
    /// Share of them whose answer is to be streamed, evenly spread; from 0 to 1.
    pub streamed: f64,
    /// How long an answer may take.
    pub patience: Duration,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Place of the question, from 0.
    pub nth: u64,
    /// Whether it asked for a stream.
    pub streamed: bool,
    /// HTTP status, once a head has come.
    pub status: Option<u16>,
    /// The gateway's word for the arm that answered.
    pub arm: Option<Box<str>>,
    /// From the question to the last byte, or to the flaw. A new connection's making counts.
    pub latency: Duration,
    /// From the question to the first content of a stream.
    pub first_token: Option<Duration>,
    /// `usage.total_tokens`, 0 if the answer doesn't say.
    pub tokens: u64,
    /// Why it isn't a whole answer; none if it is, whatever its status.
    pub flaw: Option<Flaw>,
}

/// Why there is no whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// There is no connection, or the question could not be sent.
    Unreachable(String),
    /// It took longer than the client's patience.
    TooSlow,
    /// What came is not HTTP, or not what was asked for.
    Garbled(String),
    /// It ended before its end.
    Torn(&'static str),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "not reachable: {why}"),
            Self::TooSlow => f.write_str("not answered in time"),
            Self::Garbled(why) => write!(f, "not understood: {why}"),
            Self::Torn(where_) => write!(f, "torn: {where_}"),
        }
    }
}

impl Answer {
    /// Whether it is whole and a success.
    pub fn is_good(&self) -> bool {
        self.flaw.is_none() && self.status == Some(200)
    }
}

/// Questions under way: gives the answers in the order they come. Dropping it asks no further.
#[derive(Debug)]
pub struct Asking {
    answers: Receiver<Answer>,
}

impl Asking {
    /// Waits for the next answer for at most `patience`.
    ///
    /// # Errors
    ///
    /// Whether there is none yet or none any more.
    pub fn next_within(&mut self, patience: Duration) -> Result<Answer, NoAnswer> {
        self.answers.recv_timeout(patience).map_err(|error| match error.is_timeout() {
            true => NoAnswer::Yet,
            false => NoAnswer::Left,
        })
    }
}

/// Why [`Asking::next_within`] has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// None came in time.
    Yet,
    /// All have come.
    Left,
}

impl Iterator for Asking {
    type Item = Answer;

    fn next(&mut self) -> Option<Answer> {
        self.answers.recv().ok()
    }
}

/// What the connections share.
struct Asker {
    questions: Questions,
    limits: Limits,
    watch: Rc<Watch>,
    asked: Cell<u64>,
    open: Cell<u64>,
    answers: Sender<Answer>,
}

/// Starts to ask.
///
/// # Errors
///
/// The system's, when there can be no thread or runtime.
pub fn start(questions: Questions) -> io::Result<Asking> {
    let (say, answers) = unbounded();
    stage::start("kt-ask", move |_engine| {
        let asker = Asker {
            questions,
            limits: Limits::default(),
            watch: Rc::default(),
            asked: Cell::new(0),
            open: Cell::new(0),
            answers: say,
        };
        Ok(ask_all(Rc::new(asker)))
    })?;
    Ok(Asking { answers })
}

async fn ask_all(asker: Rc<Asker>) {
    for _ in 0..asker.questions.concurrency.min(asker.questions.count) {
        let asker = Rc::clone(&asker);
        let connection = async move {
            let _held = Held::new(&asker.open);
            asker.ask_in_turn().await;
        };
        // The panic hook has said where; its question's answer is missing.
        rt::spawn(connection, |_| {});
    }
    // Each task has begun by the time this one runs again.
    loop {
        rt::sleep(END_LOOK).await;
        if asker.open.get() == 0 {
            return;
        }
    }
}

impl Asker {
    /// One connection's questions.
    async fn ask_in_turn(&self) {
        let mut kept = None;
        while let Some(nth) = self.next_question() {
            let (answer, wire) = self.ask(nth, kept.take()).await;
            kept = wire;
            if self.answers.send(answer).is_err() {
                break;
            }
        }
        if let Some(wire) = kept {
            wire.close().await;
        }
    }

    fn next_question(&self) -> Option<u64> {
        let nth = self.asked.get();
        let more = nth < self.questions.count && !self.questions.prompts.is_empty();
        more.then(|| self.asked.replace(nth + 1))
    }

    /// Asks over `kept`, or over a new connection; gives it back if it can be used again.
    async fn ask(&self, nth: u64, kept: Option<Wire>) -> (Answer, Option<Wire>) {
        let asked = Instant::now();
        let mut answer = Answer {
            nth,
            streamed: self.is_streamed(nth),
            status: None,
            arm: None,
            latency: Duration::ZERO,
            first_token: None,
            tokens: 0,
            flaw: None,
        };
        let connected = match kept {
            Some(wire) => Ok(wire),
            None => rt::connect(self.questions.address, self.questions.patience)
                .await
                .map(|socket| Wire::plain(socket, &self.watch)),
        };
        let mut wire = match connected {
            Ok(wire) => wire,
            Err(error) => {
                answer.flaw = Some(Flaw::Unreachable(error.to_string()));
                answer.latency = asked.elapsed();
                return (answer, None);
            }
        };
        let exchanged = self.exchange(&mut wire, &mut answer, asked).await;
        answer.latency = asked.elapsed();
        let overdue = wire.deadline().fired().is_some();
        wire.deadline().clear();
        match exchanged {
            // What was overdue has been shut down, however well it ended.
            Ok(Reuse::Yes) if !overdue => return (answer, Some(wire)),
            Ok(Reuse::Yes | Reuse::No) => {}
            Err(_) if overdue => answer.flaw = Some(Flaw::TooSlow),
            Err(flaw) => answer.flaw = Some(flaw),
        }
        wire.close().await;
        (answer, None)
    }

    /// Spread evenly: with a share of a third, every third.
    fn is_streamed(&self, nth: u64) -> bool {
        let streamed_before = |n: u64| (n as f64 * self.questions.streamed) as u64;
        streamed_before(nth + 1) > streamed_before(nth)
    }

    async fn exchange(&self, wire: &mut Wire, answer: &mut Answer, asked: Instant) -> Result<Reuse, Flaw> {
        let question = self.question(answer.nth, answer.streamed);
        let whole = 0..question.len();
        let limit = self.questions.patience;
        let patience = Patience { wait: Wait::Send, headway: limit, whole: limit };
        let (sent, _) = wire.send(question, whole, patience).await;
        sent.map_err(|error| Flaw::Unreachable(error.to_string()))?;
        wire.deadline().set(Wait::Total, asked + self.questions.patience);
        let (head, fields, bytes) = self.read_head(wire).await?;
        answer.status = Some(head.status);
        let arm = fields.find(&bytes, "x-kt-arm");
        answer.arm = arm.map(|arm| String::from_utf8_lossy(arm).into());
        let framing = framing::of_response(&Method::POST, &head, &fields, &bytes).map_err(garbled)?;
        let is_stream =
            fields.first(&bytes, Known::ContentType).is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        let mut body = Body::new(BodyReader::response(framing.body));
        body.take_read(wire)?;
        match (is_stream, head.status) {
            (true, _) => read_stream(wire, &mut body, answer, asked).await?,
            (false, 200) if answer.streamed => return Err(Flaw::Garbled("not a stream".to_owned())),
            (false, status) => {
                while !body.ended {
                    body.fill(wire).await?;
                }
                answer.tokens = total_tokens(&body.payload, status)?;
            }
        }
        let reusable = framing.reusable && !body.overrun;
        Ok(if reusable { Reuse::Yes } else { Reuse::No })
    }

    /// The head, its fields, and its bytes; what follows it stays in the inbox.
    async fn read_head(&self, wire: &mut Wire) -> Result<(ResponseHead, Fields, Vec<u8>), Flaw> {
        let (mut search, mut fields) = (Search::default(), Fields::default());
        loop {
            match wire.fill().await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(Flaw::Torn("the connection ended before the answer's head")),
            }
            let inbox = wire.inbox();
            if let Some(head) = ResponseHead::parse(inbox, &mut search, &mut fields, &self.limits).map_err(garbled)? {
                let rest = inbox.split_off(head.len);
                return Ok((head, fields, std::mem::replace(inbox, rest)));
            }
        }
    }

    fn question(&self, nth: u64, streamed: bool) -> Vec<u8> {
        let Questions { address, key, model, prompts, .. } = &self.questions;
        let mut body = Vec::with_capacity(KIB);
        body.extend_from_slice(b"{\"model\":");
        escape_into(&mut body, model);
        body.extend_from_slice(b",\"messages\":[{\"role\":\"user\",\"content\":");
        escape_into(&mut body, &prompts[(nth % prompts.len() as u64) as usize]);
        body.extend_from_slice(b"}]");
        if streamed {
            body.extend_from_slice(b",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
        }
        body.push(b'}');

        let mut out = Vec::with_capacity(2 * KIB);
        write::request_line(&mut out, &Method::POST, "", dialect::path(Dialect::OpenAi));
        write::field(&mut out, "host", address.to_string());
        if let Some(key) = key {
            write::field(&mut out, "authorization", format!("Bearer {key}"));
        }
        write::field(&mut out, "content-type", "application/json");
        write::number_field(&mut out, "content-length", body.len() as u64);
        write::end(&mut out);
        out.extend_from_slice(&body);
        out
    }
}

/// Whether a connection can be used again.
enum Reuse {
    Yes,
    No,
}

/// The body of an answer, as far as it has come.
struct Body {
    reader: BodyReader,
    payload: Vec<u8>,
    ended: bool,
    /// More came than belongs to it.
    overrun: bool,
}

impl Body {
    fn new(reader: BodyReader) -> Self {
        Self { reader, payload: Vec::new(), ended: false, overrun: false }
    }

    /// Takes what has been read already.
    fn take_read(&mut self, wire: &mut Wire) -> Result<(), Flaw> {
        let inbox = wire.inbox();
        let end = self.reader.collect(inbox, 0, &mut self.payload).map_err(garbled)?;
        self.ended = end.is_some();
        self.overrun = end.is_some_and(|end| end < inbox.len());
        inbox.clear();
        Ok(())
    }

    /// Waits for more, if there is more to come.
    async fn fill(&mut self, wire: &mut Wire) -> Result<(), Flaw> {
        match wire.fill().await {
            Ok(1..) => self.take_read(wire),
            Ok(0) => {
                self.ended = true;
                self.reader.close().map_err(|_| Flaw::Torn("the connection ended within the answer"))
            }
            Err(_) => Err(Flaw::Torn("the connection broke within the answer")),
        }
    }
}

async fn read_stream(wire: &mut Wire, body: &mut Body, answer: &mut Answer, asked: Instant) -> Result<(), Flaw> {
    let (mut splitter, mut look, mut done) = (Splitter::new(), Look::new(Dialect::OpenAi), false);
    loop {
        let whole = splitter.advance(&body.payload);
        for event in sse::events(&body.payload[..whole]) {
            let seen = look.at(&event);
            if seen.content && answer.first_token.is_none() {
                answer.first_token = Some(asked.elapsed());
            }
            if let Some(usage) = seen.usage {
                answer.tokens = usage.total_tokens;
            }
            if seen.error.is_some() {
                return Err(Flaw::Torn("the stream says that it failed"));
            }
            done |= seen.done;
        }
        body.payload.drain(..whole);
        if body.ended {
            return if done { Ok(()) } else { Err(Flaw::Torn("the stream ended without [DONE]")) };
        }
        body.fill(wire).await?;
    }
}

/// What a whole answer says it costs; an error costs nothing.
fn total_tokens(payload: &[u8], status: u16) -> Result<u64, Flaw> {
    let mut scratch = Scratch::default();
    let body = scan(payload, &mut scratch).map_err(|_| Flaw::Garbled("the body is not JSON".to_owned()))?;
    match (body.value().path(&["usage", "total_tokens"]).and_then(Value::to_u64), status) {
        (Some(tokens), _) => Ok(tokens),
        (None, 200) => Err(Flaw::Garbled("an answer without usage".to_owned())),
        (None, _) => Ok(0),
    }
}

fn garbled(kind: Kind) -> Flaw {
    Flaw::Garbled(kind.message().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::vendor::{LogNormal, Settings, Vendor};

    fn questions(address: SocketAddr) -> Questions {
        Questions {
            address,
            key: Some("sk-simulated-openai".to_owned()),
            model: "gpt-4o".to_owned(),
            prompts: vec!["Hello?".to_owned(), "And now?".to_owned()],
            count: 1,
            concurrency: 1,
            streamed: 0.0,
            patience: Duration::from_secs(2),
        }
    }

    #[test]
    fn every_question_is_answered_once_and_connections_are_kept() {
        let vendor = Vendor::start(Settings::openai(1).faster(50.0)).unwrap();
        let asked = Questions { count: 60, concurrency: 4, streamed: 0.3, ..questions(vendor.address()) };
        let mut answers: Vec<Answer> = start(asked).unwrap().collect();
        answers.sort_by_key(|answer| answer.nth);
        assert!(answers.iter().map(|answer| answer.nth).eq(0..60));
        for answer in &answers {
            assert!(answer.is_good() && answer.tokens > 0, "{answer:?}");
            assert_eq!(answer.first_token.is_some(), answer.streamed, "{answer:?}");
        }
        assert_eq!(answers.iter().filter(|answer| answer.streamed).count(), 18);
        let counts = vendor.stop();
        assert_eq!((counts.requests, counts.streams, counts.connections, counts.abandoned), (60, 18, 4, 0));
        assert_eq!(counts.tokens, answers.iter().map(|answer| answer.tokens).sum::<u64>());
    }

    #[test]
    fn an_error_is_an_answer_and_no_flaw() {
        let vendor = Vendor::start(Settings { error_rate: 1.0, ..Settings::openai(1) }).unwrap();
        for answer in start(Questions { count: 4, streamed: 0.5, ..questions(vendor.address()) }).unwrap() {
            assert!(matches!(answer.status, Some(429 | 500)) && answer.flaw.is_none(), "{answer:?}");
            assert!(!answer.is_good());
        }
    }

    #[test]
    fn no_token_of_a_stream_comes_early() {
        let settings = Settings {
            first_token_ms: LogNormal { median: 60.0, sigma: 0.0 },
            token_gap_ms: 5.0,
            answer_tokens: LogNormal { median: 30.0, sigma: 0.0 },
            ..Settings::openai(1)
        };
        let vendor = Vendor::start(settings).unwrap();
        let answer = start(Questions { streamed: 1.0, ..questions(vendor.address()) }).unwrap().next().unwrap();
        let (first, last) = (answer.first_token.unwrap(), answer.latency);
        // Never early; how late is this machine's business.
        assert!(first >= Duration::from_millis(60), "{answer:?}");
        assert!(last >= Duration::from_millis(60 + 29 * 5), "{answer:?}");
    }

    #[test]
    fn what_is_no_whole_answer_is_told() {
        const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 36\r\n\r\n";
        let whole = |body: &str| format!("{WHOLE}{body:36}");
        let chunk = |data: &str| format!("{:x}\r\n{data}\r\n", data.len());
        let hello = chunk("data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n");
        let failed = chunk("data: {\"error\":{\"message\":\"sorry\"}}\n\n");
        let done = chunk("data: [DONE]\n\n");
        let garbled = |why: &str| Some(Flaw::Garbled(why.to_owned()));
        let ended = Some(Flaw::Torn("the connection ended within the answer"));
        let cases = [
            (1.0, [STREAM, &hello, &done, "0\r\n\r\n"].concat(), None),
            (1.0, [STREAM, &hello].concat(), ended.clone()),
            (1.0, [STREAM, &hello, &done].concat(), ended.clone()),
            (1.0, [STREAM, &hello, &failed].concat(), Some(Flaw::Torn("the stream says that it failed"))),
            (1.0, [STREAM, &hello, "0\r\n\r\n"].concat(), Some(Flaw::Torn("the stream ended without [DONE]"))),
            (1.0, whole("{\"usage\":{\"total_tokens\":7}}"), garbled("not a stream")),
            (0.0, whole("{\"usage\":{\"total_tokens\":7}}"), None),
            (0.0, [WHOLE, "{\"usage\":"].concat(), ended),
            (0.0, whole("{\"usage\":null}"), garbled("an answer without usage")),
            (0.0, whole("{\"usage\":"), garbled("the body is not JSON")),
            (0.0, String::new(), Some(Flaw::Torn("the connection ended before the answer's head"))),
            (0.0, "SSH-2.0\r\n\r\n".to_owned(), garbled("The vendor's answer is not valid HTTP")),
        ];
        for (streamed, bytes, flaw) in cases {
            let answer = answer_to(streamed, bytes.clone());
            assert_eq!(answer.flaw, flaw, "{bytes}");
        }
    }

    /// Asks a server that says `bytes` and closes.
    fn answer_to(streamed: f64, bytes: String) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let asked = Questions { streamed, ..questions(listener.local_addr().unwrap()) };
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 4096];
            assert_ne!(stream.read(&mut question).unwrap(), 0);
            stream.write_all(bytes.as_bytes()).unwrap();
        });
        let answer = start(asked).unwrap().next().unwrap();
        server.join().unwrap();
        answer
    }

    #[test]
    fn patience_ends_and_nobody_there_is_told() {
        let vendor = Vendor::start(Settings::openai(1)).unwrap();
        let asked = Questions { patience: Duration::from_millis(50), ..questions(vendor.address()) };
        assert_eq!(start(asked.clone()).unwrap().next().unwrap().flaw, Some(Flaw::TooSlow));
        vendor.stop();
        assert!(matches!(start(asked).unwrap().next().unwrap().flaw, Some(Flaw::Unreachable(_))));
    }

    #[test]
    fn an_answer_can_be_waited_for_in_turns() {
        let vendor = Vendor::start(Settings::openai(1).faster(2.0)).unwrap();
        let mut asking = start(questions(vendor.address())).unwrap();
        assert_eq!(asking.next_within(Duration::from_millis(1)), Err(NoAnswer::Yet));
        assert!(asking.next_within(Duration::from_secs(5)).unwrap().is_good());
        assert_eq!(asking.next_within(Duration::from_secs(5)), Err(NoAnswer::Left));
    }
}
