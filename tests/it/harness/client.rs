//! A client that writes bytes and reads answers with a reader of its own, so that a torn answer is told from a whole one
//! and a reset from a close.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, HandshakeKind};

use super::json::{Json, json};
use super::{Conduit, Gateway, OPENAI_TOKENS, PATIENCE};

/// A client's connection.
pub(crate) struct Client {
    stream: Conduit,
    inbox: Vec<u8>,
}

/// How an answer came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As its framing says; the connection may be used again unless the answer says otherwise.
    Whole,
    /// By the end of the connection, as an answer says that has no framing. Whole too, as far as one can see.
    Closed,
    /// Not: the connection was closed before, or, with TLS, without saying so.
    Torn,
    /// Not: the connection was reset before.
    Reset,
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in their order.
    pub(crate) fields: Vec<(String, String)>,
    /// Chunks joined.
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

/// The bytes of a request with these further fields, each `name: value`. `body` is none for one that can't have any.
pub(crate) fn request(line: &str, fields: &[&str], body: Option<&[u8]>) -> Vec<u8> {
    let mut out = format!("{line} HTTP/1.1\r\nHost: gateway.test\r\n");
    for field in fields {
        out.push_str(field);
        out.push_str("\r\n");
    }
    if let Some(body) = body {
        out.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    out.push_str("\r\n");
    [out.as_bytes(), body.unwrap_or_default()].concat()
}

/// The messages of a small chat completion, as a field of its body.
pub(crate) const MESSAGES: &str = r#""messages":[{"role":"user","content":"Hello"}]"#;

/// A chat completion with this body.
pub(crate) fn post(body: impl AsRef<[u8]>) -> Vec<u8> {
    request("POST /v1/chat/completions", &[], Some(body.as_ref()))
}

/// A small chat completion for a group or model.
pub(crate) fn chat(model: &str) -> Vec<u8> {
    chat_of(model, "")
}

/// The same with further fields of the body, as `,"stream":true`.
pub(crate) fn chat_of(model: &str, fields: &str) -> Vec<u8> {
    post(format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hello"}}]{fields}}}"#))
}

/// Asks what the gateway refuses by itself: checks the refusal's form, and that the connection ends in order behind it.
#[track_caller]
pub(crate) fn refuses(gateway: &Gateway, asked: &[u8], status: u16, code: &str, retry: bool) -> Answer {
    let mut client = gateway.client();
    let answer = client.ask(asked);
    let shown = String::from_utf8_lossy(&asked[..asked.len().min(300)]).into_owned();
    assert_eq!(answer.error(status), code, "{shown}");
    assert_eq!(answer.field("connection"), Some("close"), "{shown}");
    assert_eq!(answer.field("x-should-retry"), (!retry).then_some("false"), "{shown}");
    assert!(client.is_closed(), "closed in order: {shown}");
    answer
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self { stream: Conduit::Plain(tcp(address)), inbox: Vec::new() }
    }

    /// Connects to a Unix socket. It goes by the type of a TCP stream: what is done with one here is the same.
    pub(crate) fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the gateway takes connections");
        let stream = TcpStream::from(OwnedFd::from(stream));
        stream.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
        Self { stream: Conduit::Plain(stream), inbox: Vec::new() }
    }

    /// Connects and shakes hands with who has to be `localhost`.
    ///
    /// # Errors
    /// Why the handshake failed.
    pub(crate) fn connect_tls(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let stream = Conduit::to_server(tcp(address), "localhost", config)?;
        Ok(Self { stream, inbox: Vec::new() })
    }

    /// Connects from an address of its own choice.
    pub(crate) fn connect_from(from: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("all of 127/8 is ours");
        socket.connect(&address.into()).expect("the gateway takes connections");
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
        Self { stream: Conduit::Plain(stream), inbox: Vec::new() }
    }

    /// How hands were shaken in TLS.
    pub(crate) fn handshake(&self) -> Option<HandshakeKind> {
        self.stream.handshake()
    }

    /// The certificate that the gateway has shown.
    pub(crate) fn shown(&self) -> Option<CertificateDer<'static>> {
        self.stream.shown()
    }

    /// Connects with a small receive buffer, as whoever reads slowly has.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4 * 1024).expect("a small one is always to be had");
        socket.connect(&address.into()).expect("the gateway takes connections");
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
        Self { stream: Conduit::Plain(stream), inbox: Vec::new() }
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the gateway reads");
    }

    /// Asks and waits for the answer.
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes);
        self.answer()
    }

    /// Reads the next answer to its end.
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("POST")
    }

    /// As [`Self::answer`], where it depends on the method whether there is a body.
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        let head_len = loop {
            if let Some(at) = find(&self.inbox, b"\r\n\r\n") {
                break at + 4;
            }
            match self.fill() {
                Ok(1..) => {}
                end => panic!("no answer: {end:?} after {:?}", String::from_utf8_lossy(&self.inbox)),
            }
        };
        let body = self.inbox.split_off(head_len);
        let head = String::from_utf8(std::mem::replace(&mut self.inbox, body)).expect("an ASCII head");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {head}"));
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let mut answer = Answer { status, fields, body: Vec::new(), end: End::Whole };
        answer.end = if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            End::Whole
        } else if answer.field("transfer-encoding") == Some("chunked") {
            assert_eq!(answer.field("content-length"), None, "two framings: {head}");
            self.read_chunks(&mut answer.body)
        } else if let Some(length) = answer.field("content-length").map(|length| length.parse().expect("a length")) {
            self.read_length(length, &mut answer.body)
        } else {
            self.read_to_end(&mut answer.body)
        };
        answer
    }

    /// Sends one thing after another, each when the one before has been answered, and then no more; all answers until the
    /// connection ends, which it has to.
    pub(crate) fn play(mut self, steps: &[Vec<u8>]) -> Vec<Answer> {
        let mut answers = Vec::new();
        for (number, step) in (1..).zip(steps) {
            // Whoever has been refused may find the connection closed.
            let _ = self.stream.write_all(step);
            if number == steps.len() {
                let _ = self.stream.end_writing();
            }
            while let Some(answer) = self.next_answer() {
                answers.push(answer);
                if number < steps.len() {
                    break;
                }
            }
        }
        answers
    }

    /// The next answer, none at the end.
    fn next_answer(&mut self) -> Option<Answer> {
        while find(&self.inbox, b"\r\n\r\n").is_none() {
            match self.fill() {
                Ok(1..) => {}
                Ok(0) => return None,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("neither answered nor closed: {error}"),
            }
        }
        Some(self.answer())
    }

    /// Waits until `text` has come, and leaves it to be read with its answer.
    pub(crate) fn wait_for(&mut self, text: &str) {
        while find(&self.inbox, text.as_bytes()).is_none() {
            match self.fill() {
                Ok(1..) => {}
                end => panic!("{text:?} never came: {end:?} after {:?}", String::from_utf8_lossy(&self.inbox)),
            }
        }
    }

    /// Whether nothing has come, not even the end.
    pub(crate) fn has_nothing(&mut self) -> bool {
        let tcp = self.stream.tcp();
        tcp.set_nonblocking(true).expect("it is TCP");
        let peeked = tcp.peek(&mut [0]);
        tcp.set_nonblocking(false).expect("it is TCP");
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends bytes, if the gateway still takes them.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Reads a few bytes of whatever comes and throws them away; false at the end.
    pub(crate) fn sip(&mut self) -> bool {
        self.stream.read(&mut [0; 1024]).is_ok_and(|came| came > 0)
    }

    /// Waits for the end of the connection, behind the last answer: whether it was closed in order.
    pub(crate) fn is_closed(&mut self) -> bool {
        assert!(self.inbox.is_empty(), "bytes behind the answer: {:?}", String::from_utf8_lossy(&self.inbox));
        match self.fill() {
            Ok(0) => true,
            Ok(_) => panic!("bytes behind the answer: {:?}", String::from_utf8_lossy(&self.inbox)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }

    /// Says that no more requests will come.
    pub(crate) fn half_close(&mut self) {
        self.stream.end_writing().expect("it is open");
    }

    /// Goes, with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(self.stream.tcp()).set_linger(Some(Duration::ZERO)).expect("it is TCP");
    }

    fn read_length(&mut self, length: usize, body: &mut Vec<u8>) -> End {
        while self.inbox.len() < length {
            if let Some(end) = self.fill_or_end() {
                body.append(&mut self.inbox);
                return end;
            }
        }
        let behind = self.inbox.split_off(length);
        body.append(&mut self.inbox);
        self.inbox = behind;
        End::Whole
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> End {
        loop {
            let line_len = loop {
                if let Some(at) = find(&self.inbox, b"\r\n") {
                    break at;
                }
                if let Some(end) = self.fill_or_end() {
                    return end;
                }
            };
            let line = std::str::from_utf8(&self.inbox[..line_len]).expect("an ASCII chunk size");
            let size = usize::from_str_radix(line, 16).unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
            self.inbox.drain(..line_len + 2);
            match self.read_length(size, body) {
                End::Whole => {}
                torn => return torn,
            }
            let mut line_end = Vec::new();
            match self.read_length(2, &mut line_end) {
                End::Whole => assert_eq!(line_end, b"\r\n", "a chunk ends with its line"),
                torn => return torn,
            }
            if size == 0 {
                return End::Whole;
            }
        }
    }

    fn read_to_end(&mut self, body: &mut Vec<u8>) -> End {
        let end = loop {
            match self.fill_or_end() {
                Some(End::Torn) => break End::Closed,
                Some(end) => break end,
                None => {}
            }
        };
        body.append(&mut self.inbox);
        end
    }

    fn fill_or_end(&mut self) -> Option<End> {
        match self.fill() {
            Ok(0) => Some(End::Torn),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(End::Torn),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Some(End::Reset),
            Err(error) => panic!("the answer stops: {error} after {:?}", String::from_utf8_lossy(&self.inbox)),
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut room = [0; 16 * 1024];
        // A read with a timeout is interrupted when the process has been stopped and goes on.
        let came = loop {
            match self.stream.read(&mut room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                end => break end?,
            }
        };
        self.inbox.extend_from_slice(&room[..came]);
        Ok(came)
    }
}

impl Answer {
    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} stands twice: {self:?}");
        value
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Json {
        json(&self.body)
    }

    /// The data of each event of a streamed body.
    pub(crate) fn events(&self) -> Vec<String> {
        assert_eq!(
            self.field("content-type").map(|kind| kind.starts_with("text/event-stream")),
            Some(true),
            "{self:?}"
        );
        self.text().lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
    }

    /// Checks that it is whole, and of this status.
    #[track_caller]
    pub(crate) fn whole(self, status: u16) -> Self {
        assert_eq!((self.status, self.end), (status, End::Whole), "{self:?}");
        self
    }

    /// Checks that it is a whole chat completion with all tokens of the simulated vendor, `tokens`.
    #[track_caller]
    pub(crate) fn completion(self, tokens: u64) -> Json {
        let body = self.whole(200).json();
        assert_eq!(body.text("object"), "chat.completion", "{body:?}");
        assert_eq!(body.count("usage.total_tokens"), tokens, "{body:?}");
        assert!(!body.text("choices.0.message.content").is_empty(), "{body:?}");
        body
    }

    /// As [`Self::completion`] of the simulated OpenAI.
    #[track_caller]
    pub(crate) fn openai_completion(self) -> Json {
        self.completion(OPENAI_TOKENS)
    }

    /// Checks that it is an error in OpenAI's form, in an answer of this status; its `code`.
    #[track_caller]
    pub(crate) fn error(&self, status: u16) -> String {
        assert_eq!((self.status, self.end), (status, End::Whole), "{self:?}");
        assert_eq!(self.field("content-type"), Some("application/json"), "{self:?}");
        let body = self.json();
        assert_eq!(body.names(), ["error"]);
        assert_eq!(body.at("error").names(), ["code", "message", "param", "type"]);
        assert!(!body.text("error.message").is_empty() && !body.text("error.type").is_empty(), "{body:?}");
        if body.is_null("error.code") { String::new() } else { body.text("error.code") }
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} ({:?})", self.status, self.end)?;
        for (name, value) in &self.fields {
            writeln!(f, "{name}: {value}")?;
        }
        let shown = &self.body[..self.body.len().min(4 * 1024)];
        write!(f, "\n{}", String::from_utf8_lossy(shown))
    }
}

fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the gateway takes connections");
    stream.set_nodelay(true).expect("it is TCP");
    stream.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("it isn't zero");
    stream
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
