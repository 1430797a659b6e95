//! Connections played to the parsers of `core/src/http1`, without a socket, as client.rs and upstream.rs of the proxy
//! would: what a test says about a connection, a fuzz target says about any bytes.

#![allow(unreachable_pub, reason = "to a test it is a module of its own, to the fuzz targets one of their library")]

use kt_core::fault::Kind;
use kt_core::http1::body::BodyReader;
use kt_core::http1::framing::{self, ResponseBody};
use kt_core::http1::head::{Fields, RequestHead, ResponseHead, Search};
use kt_core::limits::Limits;

/// What came of one side's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind a whole message.
    Whole,
    /// Within a message.
    More,
    /// Refused.
    Refused(Kind),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: http::Method,
    /// Bytes that aren't visible ASCII are escaped, here and in the two below.
    pub path: String,
    pub query: Option<String>,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A client's connection, as a server sees it.
pub struct Client<'a> {
    limits: &'a Limits,
    buf: Vec<u8>,
    search: Search,
    fields: Fields,
    /// That of the last of `requests`, if it isn't whole.
    body: Option<BodyReader>,
    requests: Vec<Request>,
    /// How many of `requests` are whole.
    whole: usize,
    /// The client has said that it is done.
    last: bool,
}

impl<'a> Client<'a> {
    /// Plays a connection, each item one read, until something is refused.
    pub fn serve<'b>(reads: impl IntoIterator<Item = &'b [u8]>, limits: &'a Limits) -> (Vec<Request>, End) {
        let mut client = Client {
            limits,
            buf: Vec::new(),
            search: Search::default(),
            fields: Fields::default(),
            body: None,
            requests: Vec::new(),
            whole: 0,
            last: false,
        };
        let refused = reads.into_iter().try_for_each(|read| client.read(read)).err();
        let inside = client.body.is_some() || client.whole == 0 || !(client.last || client.buf.is_empty());
        client.requests.truncate(client.whole);
        (client.requests, refused.map_or(if inside { End::More } else { End::Whole }, End::Refused))
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), Kind> {
        self.buf.extend_from_slice(bytes);
        while match self.body.take() {
            Some(body) => self.go_on(body)?,
            None => !self.last && !self.buf.is_empty() && self.begin()?,
        } {}
        Ok(())
    }

    /// Reads a head; false if it isn't whole.
    fn begin(&mut self) -> Result<bool, Kind> {
        let parsed = RequestHead::parse(&self.buf, &mut self.search, &mut self.fields, self.limits)?;
        let Some(head) = parsed else { return Ok(false) };
        let body = framing::of_request(&head, &self.fields, &self.buf, self.limits)?;
        self.body = Some(BodyReader::request(body, self.limits));
        self.requests.push(Request {
            path: escaped(head.path(&self.buf)),
            query: head.query(&self.buf).map(escaped),
            fields: self.fields.iter(&self.buf).map(|(name, value)| (escaped(name), escaped(value))).collect(),
            body: Vec::new(),
            method: head.method,
        });
        self.last = !head.keep_alive;
        self.buf.drain(..head.len);
        Ok(true)
    }

    /// Reads a body; false if it isn't whole.
    fn go_on(&mut self, mut body: BodyReader) -> Result<bool, Kind> {
        let into = &mut self.requests.last_mut().expect("a body belongs to a request").body;
        let end = body.collect(&self.buf, 0, into)?;
        self.buf.drain(..end.unwrap_or(self.buf.len()));
        self.body = end.is_none().then_some(body);
        self.whole += usize::from(end.is_some());
        Ok(end.is_some())
    }
}

pub fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Plays a vendor's answer to a GET; gives its payload, whether the connection may be used again, and the end.
pub fn answer<'b>(reads: impl IntoIterator<Item = &'b [u8]>) -> (Vec<u8>, bool, End) {
    let (mut search, mut fields, limits) = (Search::default(), Fields::default(), Limits::default());
    let (mut buf, mut payload, mut reusable) = (Vec::new(), Vec::new(), false);
    let mut body: Option<BodyReader> = None;
    let mut whole = false;
    let mut read = |bytes: &[u8]| -> Result<(), Kind> {
        buf.extend_from_slice(bytes);
        while body.is_none() {
            let Some(head) = ResponseHead::parse(&buf, &mut search, &mut fields, &limits)? else { return Ok(()) };
            let framing = framing::of_response(&http::Method::GET, &head, &fields, &buf)?;
            buf.drain(..head.len);
            if head.status >= 200 {
                reusable = framing.reusable;
                body = Some(BodyReader::response(framing.body));
            } else {
                assert_eq!(framing.body, ResponseBody::None);
            }
        }
        let end = body.as_mut().expect("it has just been made").collect(&buf, 0, &mut payload)?;
        whole = end.is_some();
        buf.drain(..end.unwrap_or(buf.len()));
        // What nobody asked for: the vendor is not where we think it is.
        reusable &= !whole || buf.is_empty();
        Ok(())
    };
    let refused = reads.into_iter().try_for_each(&mut read).err();
    (payload, whole && reusable, refused.map_or(if whole { End::Whole } else { End::More }, End::Refused))
}

/// A line of a file of cases: the number of the line, the verdict that it must get, and its bytes.
pub type Case = (usize, &'static str, Vec<u8>);

/// What a client may send, of `core/src/cases/http1`.
pub fn request_cases() -> impl Iterator<Item = Case> {
    cases(include_str!("../../src/cases/http1/requests.txt"), r"<post>Transfer-Encoding: chunked\r\n\r\n")
}

/// What a vendor may send, of `core/src/cases/http1`.
pub fn answer_cases() -> impl Iterator<Item = Case> {
    cases(include_str!("../../src/cases/http1/responses.txt"), r"<ok>Transfer-Encoding: chunked\r\n\r\n")
}

fn cases(file: &'static str, chunked: &'static str) -> impl Iterator<Item = Case> {
    let lines = file.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(move |(index, line)| {
        let (verdict, text) = line.split_once(' ').unwrap_or((line, ""));
        (index + 1, verdict, unescape(&text.trim_start().replace("<chunked>", chunked)))
    })
}

/// The bytes that a text of the case files stands for.
pub fn unescape(text: &str) -> Vec<u8> {
    let text = text
        .replace("<get>", r"GET / HTTP/1.1\r\nHost: a\r\n")
        .replace("<post>", r"POST / HTTP/1.1\r\nHost: a\r\n")
        .replace("<ok>", r"HTTP/1.1 200 OK\r\n");
    let (mut bytes, mut rest) = (Vec::new(), text.chars());
    while let Some(char) = rest.next() {
        let escape = (char == '\\').then(|| rest.next().expect("a backslash has a second half"));
        match escape {
            None => bytes.extend_from_slice(char.to_string().as_bytes()),
            Some('r') => bytes.push(b'\r'),
            Some('n') => bytes.push(b'\n'),
            Some('t') => bytes.push(b'\t'),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                bytes.push(u8::from_str_radix(&digits, 16).expect("two hex digits"));
            }
            Some(other) => panic!("unknown escape {other:?}"),
        }
    }
    bytes
}
