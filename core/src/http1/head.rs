//! Heads: the first line and the fields of a message, as spans over the caller's buffer.
//!
//! httparse reads the lines. It takes several things that RFC 9112 forbids or leaves to taste, and every one of them
//! has split a proxy from the server behind it somewhere, so on top of it:
//!
//! | httparse 1.10 takes | here |
//! |---|---|
//! | lines that end in a bare LF | every LF follows a CR, and every CR comes before an LF |
//! | any number of empty lines before the first | at most two before a request, none before a response |
//! | any target without spaces and controls | visible ASCII, origin or absolute form, bounded |
//! | any or no Host, or several | exactly one, well-formed, and the target's own (HTTP/1.0 may have none) |
//! | methods of any length | at most [`METHOD_BYTES_MAX`] |
//! | statuses from 000 | from 100 |
//!
//! Names that aren't tokens, space before the colon, folded lines, NUL and other control bytes it refuses by itself; `core/tests/http1.rs` holds it to that. Bytes of 0x80 and above in values are opaque and pass, as RFC 9110
//! section 5.5 wants it: what goes on to anybody is a short list of fields, written afresh.
//!
//! How long the body is, is not decided here: see [`framing`](super::framing).

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::block::{WIDE, WideBlock};
use crate::fault::Kind;
use crate::http1::target::{Authority, Target};
use crate::http1::{Message, is_token, list_holds};
use crate::limits::{HEAD_FIELDS_CEILING, Limits, METHOD_BYTES_MAX};

/// Empty lines before a request that are skipped. RFC 9112 section 2.2 asks for at least one, since old clients send
/// one behind a body that its length does not count.
const BLANK_LINES_MAX: u32 = 2;

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Any token; whether it is allowed is the path's business. CONNECT never gets here, for its target is refused.
    pub method: http::Method,
    /// 1.0 or 1.1.
    pub version: Version,
    /// Bytes of the buffer that the head takes, from its beginning (skipped empty lines included) to the end of the
    /// blank line. The body starts there.
    pub len: usize,
    /// Whether the client wants to go on with this connection. Never so in HTTP/1.0: we don't do its keep-alive.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub expects_continue: bool,
    path: Span,
    query: Option<Span>,
}

/// The head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// 100 to 999. The reason phrase is for nobody (RFC 9112 section 4) and not kept.
    pub status: u16,
    /// 1.0 or 1.1.
    pub version: Version,
    /// Bytes of the buffer that the head takes. The body starts there.
    pub len: usize,
    /// Whether the vendor lets us go on with this connection; [`framing`](super::framing) has the last word.
    pub keep_alive: bool,
}

/// HTTP versions that are spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: one request per connection, no chunks, no 1xx.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How far the search for the end of a head has come. It belongs to the connection and makes reading a head that
/// arrives in a thousand pieces as cheap as one that arrives in one: each byte is looked at once, and httparse runs
/// once, when the head is whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search {
    /// Where the first line starts, behind the empty lines that were skipped.
    start: usize,
    blank_lines: u32,
    /// Where the line starts whose end is looked for.
    line: usize,
    /// Bytes before this hold no end of a line that is still to be found.
    seen: usize,
    /// From the first line, once it is whole.
    version: Option<Version>,
}

/// A part of the buffer that a head was parsed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

/// The fields of one head, in its order, as spans over the buffer. Made to be used again for the next head: it only
/// allocates when a head has more fields than any before.
#[derive(Debug, Default)]
pub struct Fields {
    all: Vec<Field>,
    /// First field of each [`Known`] name, as an index into `all` plus one; 0 is none.
    first: [u16; Known::COUNT],
    /// One bit per [`Known`] name that came more than once.
    repeated: u16,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
}

/// The names that the gateway itself looks at, recognised while the head is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// `Host`.
    Host,
    /// `Expect`.
    Expect,
    /// `X-Api-Key`.
    ApiKey,
    /// `Connection`.
    Connection,
    /// `Content-Type`.
    ContentType,
    /// `X-Request-Id`.
    RequestId,
    /// `Authorization`.
    Authorization,
    /// `Content-Length`.
    ContentLength,
    /// `Content-Encoding`.
    ContentEncoding,
    /// `Transfer-Encoding`.
    TransferEncoding,
}

/// A field that may stand once came several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

impl RequestHead {
    /// Reads a request head at the start of `buf`. `None` means that it isn't whole yet: call again with the same
    /// bytes and more behind them, and the same `search`. After any other result `search` is as new.
    ///
    /// # Errors
    /// The client's fault, as soon as it is certain; the connection can't be used any further.
    pub fn parse(buf: &[u8], search: &mut Search, fields: &mut Fields, limits: &Limits) -> Result<Option<Self>, Kind> {
        let Some((range, version)) = search.find(buf, Message::Request, limits)? else { return Ok(None) };
        let head = &buf[range.clone()];

        let mut slots = [const { MaybeUninit::uninit() }; HEAD_FIELDS_CEILING];
        let slots = &mut slots[..limits.head_fields_max.min(HEAD_FIELDS_CEILING)];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(head, slots).map_err(|error| blame(head, error))?;
        let (Some(method), Some(target)) = (request.method, request.path) else { return Err(Kind::MalformedHead) };
        if parsed != httparse::Status::Complete(head.len()) || method.len() > METHOD_BYTES_MAX {
            return Err(Kind::MalformedHead);
        }
        let method = http::Method::from_bytes(method.as_bytes()).map_err(|_| Kind::MalformedHead)?;
        let target = Target::parse(target.as_bytes())?;
        if method == http::Method::CONNECT {
            // Whatever its target looks like: only the authority form is CONNECT's (RFC 9112 section 3.2.3).
            return Err(Kind::MalformedTarget);
        }
        fields.fill(buf, request.headers);
        check_host(fields.sole(buf, Known::Host), version, target.authority.as_ref())?;
        Ok(Some(Self {
            method,
            version,
            len: range.end,
            keep_alive: keeps_alive(version, fields, buf),
            expects_continue: version == Version::Http11
                && fields.first(buf, Known::Expect).is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue")),
            path: Span::of_part(buf, target.path),
            query: target.query.map(|query| Span::of_part(buf, query)),
        }))
    }

    /// The target's path, without the query; `/` where an absolute target has none.
    pub fn path<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        match self.path.of(buf) {
            [] => b"/",
            path => path,
        }
    }

    /// What stands behind the target's question mark, if it has one.
    pub fn query<'a>(&self, buf: &'a [u8]) -> Option<&'a [u8]> {
        self.query.map(|query| query.of(buf))
    }
}

impl ResponseHead {
    /// Reads a response head at the start of `buf`; otherwise as [`RequestHead::parse`].
    ///
    /// # Errors
    /// [`Kind::AnswerHeadMalformed`], whatever is wrong with it.
    pub fn parse(buf: &[u8], search: &mut Search, fields: &mut Fields, limits: &Limits) -> Result<Option<Self>, Kind> {
        let found = search.find(buf, Message::Response, limits).map_err(|_| Kind::AnswerHeadMalformed)?;
        let Some((range, version)) = found else { return Ok(None) };
        let head = &buf[range.clone()];

        let mut slots = [const { MaybeUninit::uninit() }; HEAD_FIELDS_CEILING];
        let slots = &mut slots[..limits.head_fields_max.min(HEAD_FIELDS_CEILING)];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, head, slots)
            .map_err(|_| Kind::AnswerHeadMalformed)?;
        let status = response.code.filter(|&status| status >= 100).ok_or(Kind::AnswerHeadMalformed)?;
        if parsed != httparse::Status::Complete(head.len()) {
            return Err(Kind::AnswerHeadMalformed);
        }
        fields.fill(buf, response.headers);
        Ok(Some(Self { status, version, len: range.end, keep_alive: keeps_alive(version, fields, buf) }))
    }
}

impl Search {
    /// Looks for the blank line, from where the last call stopped; gives the head's place and version. Refuses on its
    /// way what would otherwise be waited for in vain: bare CR or LF, a first line of another protocol, too large a head.
    fn find(&mut self, buf: &[u8], message: Message, limits: &Limits) -> Result<Option<(Range<usize>, Version)>, Kind> {
        // Spans are 32 bits wide.
        let bytes_max = limits.head_bytes_max.min(u32::MAX as usize / 2);
        let is_fresh = self.seen == 0 && self.start == 0;
        if is_fresh && let Some((line, end)) = whole_head(&buf[..buf.len().min(bytes_max)]) {
            check_beginning(line, message)?;
            return Ok(Some((0..end, version_of(line, message)?)));
        }
        let found = self.advance(buf, message, bytes_max);
        if !matches!(found, Ok(None)) {
            *self = Self::default();
        }
        found
    }

    /// The verdict hangs on the bytes and never on how they were split: lines are judged in order, each when its LF is
    /// there, and the first one's beginning at once.
    fn advance(
        &mut self,
        buf: &[u8],
        message: Message,
        bytes_max: usize,
    ) -> Result<Option<(Range<usize>, Version)>, Kind> {
        loop {
            let end_max = self.start + bytes_max;
            let window = &buf[..buf.len().min(end_max)];
            if self.version.is_none() {
                check_beginning(&window[self.start..], message)?;
            }
            let at = memchr::memchr2(b'\r', b'\n', &window[self.seen..]).map_or(window.len(), |at| self.seen + at);
            let (line, end) = match &window[at..] {
                [b'\r', b'\n', ..] => (&window[self.line..at], at + 2),
                [] | [b'\r'] if window.len() == end_max => return Err(Kind::HeadTooLarge),
                [] | [b'\r'] => {
                    self.seen = at;
                    return Ok(None);
                }
                [_, ..] => return Err(Kind::BareLineEnd),
            };
            (self.line, self.seen) = (end, end);
            match (self.version, line.is_empty()) {
                (None, true) if self.blank_lines < BLANK_LINES_MAX => {
                    self.blank_lines += 1;
                    self.start = end;
                }
                (None, true) => return Err(Kind::MalformedHead),
                (None, false) => self.version = Some(version_of(line, message)?),
                (Some(_), false) => {}
                (Some(version), true) => return Ok(Some((self.start..end, version))),
            }
        }
    }
}

/// The usual head, all there and without a fault in its line ends: its first line, which isn't empty, and where its
/// blank line ends. None for any other, whose lines are then to be judged one by one.
fn whole_head(buf: &[u8]) -> Option<(&[u8], usize)> {
    // Of the bytes before: whether the last one is a CR, and the bits of the last two LFs.
    let (mut open_cr, mut last_lfs) = (0, 0);
    let mut line = None;
    for start in (0..buf.len()).step_by(WIDE) {
        let block = WideBlock::at_start_of(&buf[start..]);
        let (cr, lf) = (block.bits(|block| block.equal(b'\r')), block.bits(|block| block.equal(b'\n')));
        // Behind each CR an LF has to stand, and nowhere else.
        if lf != (cr << 1 | open_cr) {
            return None;
        }
        if lf != 0 && line.is_none() {
            let at = start + lf.trailing_zeros() as usize;
            line = Some(&buf[..at - 1]).filter(|line| !line.is_empty());
            line?;
        }
        let blank = lf & (lf << 2 | last_lfs);
        if blank != 0 {
            return Some((line?, start + blank.trailing_zeros() as usize + 1));
        }
        (open_cr, last_lfs) = (cr >> (WIDE - 1), lf >> (WIDE - 2));
    }
    None
}

/// Tells another protocol by its first bytes, so that nobody waits for the end of a line that will never come.
fn check_beginning(bytes: &[u8], message: Message) -> Result<(), Kind> {
    const STATUS_LINE: &[u8] = b"HTTP/1.";
    match (message, bytes) {
        // The end of a line; whether it is a good one is seen to there.
        (Message::Request, [] | [b'\r' | b'\n', ..]) => Ok(()),
        (Message::Request, [first, ..]) if is_token(*first) => Ok(()),
        (Message::Response, _) if bytes.iter().zip(STATUS_LINE).all(|(byte, wanted)| byte == wanted) => Ok(()),
        (Message::Request | Message::Response, _) => Err(Kind::MalformedHead),
    }
}

/// The version that a whole first line names.
fn version_of(line: &[u8], message: Message) -> Result<Version, Kind> {
    let word = match message {
        Message::Request => line.rsplit(|&b| b == b' ').next(),
        Message::Response => line.split(|&b| b == b' ').next(),
    };
    match word {
        Some(b"HTTP/1.1") => Ok(Version::Http11),
        Some(b"HTTP/1.0") => Ok(Version::Http10),
        // RFC 9113 section 3.4: what an HTTP/2 client says first, whether or not it was told that we speak it.
        Some(b"HTTP/2.0") if line == b"PRI * HTTP/2.0" => Err(Kind::Http2Preface),
        Some(word) if word.starts_with(b"HTTP/") => Err(Kind::UnknownVersion),
        Some(_) | None => Err(Kind::MalformedHead),
    }
}

/// What httparse means, in our words. Only broken heads come here.
#[cold]
fn blame(head: &[u8], error: httparse::Error) -> Kind {
    match error {
        httparse::Error::HeaderName => Kind::MalformedFieldName,
        httparse::Error::HeaderValue => Kind::MalformedFieldValue,
        httparse::Error::TooManyHeaders => Kind::HeadTooLarge,
        // The first line ends in a version, so one that is missing or not the end means a space in the target.
        httparse::Error::Version | httparse::Error::NewLine => Kind::MalformedTarget,
        httparse::Error::Token if head.iter().find(|&&b| !is_token(b)) == Some(&b' ') => Kind::MalformedTarget,
        httparse::Error::Token | httparse::Error::Status => Kind::MalformedHead,
    }
}

/// RFC 9112 section 3.2: one well-formed Host, and the target's own if the target names one.
fn check_host(
    host: Result<Option<&[u8]>, Repeated>,
    version: Version,
    target: Option<&Authority<'_>>,
) -> Result<(), Kind> {
    let host = match (host, version) {
        (Ok(Some(host)), _) => Authority::parse(host).ok_or(Kind::MalformedHost)?,
        (Ok(None), Version::Http10) => return Ok(()),
        (Ok(None), Version::Http11) | (Err(Repeated), _) => return Err(Kind::MalformedHost),
    };
    match target {
        Some(target) if !target.agrees_with(&host) => Err(Kind::MalformedHost),
        Some(_) | None => Ok(()),
    }
}

/// RFC 9112 section 9.3, less HTTP/1.0's keep-alive, which proxies in between are known to get wrong.
fn keeps_alive(version: Version, fields: &Fields, buf: &[u8]) -> bool {
    version == Version::Http11 && !fields.every(buf, Known::Connection).any(|list| list_holds(list, b"close"))
}

impl Span {
    /// The bytes, of the buffer that was parsed or of one with the same bytes at the same place.
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.start as usize..self.end as usize]
    }

    /// Where `part`, which is a part of `buf`, stands in it.
    fn of_part(buf: &[u8], part: &[u8]) -> Self {
        if part.is_empty() {
            return Self::default();
        }
        let start = part.as_ptr().addr() - buf.as_ptr().addr();
        // Not cut off: `Search` refuses heads that don't fit into 32 bits.
        Self { start: start as u32, end: (start + part.len()) as u32 }
    }
}

impl Fields {
    /// How many fields the head has.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether the head has no fields.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All fields in their order, as (name, value); names as they were written, values without space around them.
    pub fn iter<'a>(&'a self, buf: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.all.iter().map(|field| (field.name.of(buf), field.value.of(buf)))
    }

    /// The value of the first field with this name.
    pub fn first<'a>(&self, buf: &'a [u8], known: Known) -> Option<&'a [u8]> {
        let index = self.first[known as usize].checked_sub(1)?;
        Some(self.all[usize::from(index)].value.of(buf))
    }

    /// The value of the only field with this name.
    ///
    /// # Errors
    /// [`Repeated`] if there are several, equal or not.
    pub fn sole<'a>(&self, buf: &'a [u8], known: Known) -> Result<Option<&'a [u8]>, Repeated> {
        if self.repeated & known.bit() != 0 { Err(Repeated) } else { Ok(self.first(buf, known)) }
    }

    /// The values of all fields with this name, in their order. Walks the fields only if there are several.
    pub fn every<'a>(&'a self, buf: &'a [u8], known: Known) -> impl Iterator<Item = &'a [u8]> {
        let fields = match usize::from(self.first[known as usize]).checked_sub(1) {
            None => &[],
            Some(first) if self.repeated & known.bit() == 0 => &self.all[first..=first],
            Some(first) => &self.all[first..],
        };
        let named = fields.iter().filter(move |field| Known::of(field.name.of(buf)) == Some(known));
        named.map(|field| field.value.of(buf))
    }

    /// The value of the first field with any other name; `name` in any case. Walks all fields.
    pub fn find<'a>(&self, buf: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let named = |field: &&Field| field.name.of(buf).eq_ignore_ascii_case(name.as_bytes());
        self.all.iter().find(named).map(|field| field.value.of(buf))
    }

    fn fill(&mut self, buf: &[u8], headers: &[httparse::Header<'_>]) {
        self.all.clear();
        self.all.reserve(headers.len());
        self.first = [0; Known::COUNT];
        self.repeated = 0;
        for header in headers {
            let name = header.name.as_bytes();
            self.all.push(Field { name: Span::of_part(buf, name), value: Span::of_part(buf, header.value) });
            let Some(known) = Known::of(name) else { continue };
            match &mut self.first[known as usize] {
                // Not cut off: there are at most HEAD_FIELDS_CEILING.
                first @ 0 => *first = self.all.len() as u16,
                _ => self.repeated |= known.bit(),
            }
        }
    }
}

impl Known {
    const COUNT: usize = Self::TransferEncoding as usize + 1;

    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Expect => "expect",
            Self::ApiKey => "x-api-key",
            Self::Connection => "connection",
            Self::ContentType => "content-type",
            Self::RequestId => "x-request-id",
            Self::Authorization => "authorization",
            Self::ContentLength => "content-length",
            Self::ContentEncoding => "content-encoding",
            Self::TransferEncoding => "transfer-encoding",
        }
    }

    /// Recognises a name, in any case; a token, as every name that was parsed. Length first: most names are told apart
    /// by it and never compared, and a comparison of a known length is one of whole words (3,400 instructions a request
    /// were spent here byte by byte, and 600 are now).
    fn of(name: &[u8]) -> Option<Self> {
        match name.len() {
            4 => Self::Host.if_called::<4>(name),
            6 => Self::Expect.if_called::<6>(name),
            9 => Self::ApiKey.if_called::<9>(name),
            10 => Self::Connection.if_called::<10>(name),
            12 => Self::ContentType.if_called::<12>(name).or_else(|| Self::RequestId.if_called::<12>(name)),
            13 => Self::Authorization.if_called::<13>(name),
            14 => Self::ContentLength.if_called::<14>(name),
            16 => Self::ContentEncoding.if_called::<16>(name),
            17 => Self::TransferEncoding.if_called::<17>(name),
            _ => None,
        }
    }

    fn if_called<const N: usize>(self, name: &[u8]) -> Option<Self> {
        let mut lower: [u8; N] = name.try_into().ok()?;
        // In a token this bit makes a letter lower case, leaves `-` and digits alone, and makes nothing else one of them.
        lower.iter_mut().for_each(|byte| *byte |= 0x20);
        (lower == self.as_str().as_bytes()).then_some(self)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &[u8], limits: &Limits) -> (Result<Option<RequestHead>, Kind>, Fields) {
        let mut fields = Fields::default();
        (RequestHead::parse(text, &mut Search::default(), &mut fields, limits), fields)
    }

    #[test]
    fn a_head_says_what_was_asked_and_where_it_stands() {
        let text = b"\r\nPOST /v1/models?a=b HTTP/1.1\r\nHost: a\r\nX-API-Key:  k \r\nExpect: 100-Continue\r\n\r\nbody";
        let (head, fields) = request(text, &Limits::default());
        let head = head.expect("well-formed").expect("whole");
        assert_eq!(
            (head.method.as_str(), head.path(text), head.query(text)),
            ("POST", &b"/v1/models"[..], Some(&b"a=b"[..]))
        );
        assert_eq!((head.version, head.keep_alive, head.expects_continue), (Version::Http11, true, true));
        assert_eq!(&text[head.len..], b"body");
        assert_eq!(fields.first(text, Known::ApiKey), Some(&b"k"[..]));

        let text = b"GET http://a HTTP/1.0\r\nExpect: 100-continue\r\nConnection: keep-alive\r\n\r\n";
        let (head, _) = request(text, &Limits::default());
        let head = head.expect("well-formed").expect("whole");
        assert_eq!((head.path(text), head.query(text)), (&b"/"[..], None));
        assert_eq!((head.version, head.keep_alive, head.expects_continue), (Version::Http10, false, false));
    }

    #[test]
    fn fields_are_found_by_name_in_any_case() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\nX-B: 1\r\nconnection: x\r\nx-b: 2\r\nCONNECTION: y\r\nContent-Typ: z\r\n\r\n";
        let (_, fields) = request(text, &Limits::default());
        assert_eq!((fields.len(), fields.is_empty()), (6, false));
        assert_eq!(fields.find(text, "X-b"), Some(&b"1"[..]));
        assert_eq!(fields.find(text, "x-c"), None);
        assert_eq!(fields.first(text, Known::Connection), Some(&b"x"[..]));
        assert_eq!(fields.sole(text, Known::Connection), Err(Repeated));
        assert_eq!(fields.sole(text, Known::Host), Ok(Some(&b"a"[..])));
        assert_eq!(fields.sole(text, Known::ContentType), Ok(None));
        assert!(fields.every(text, Known::Connection).eq([b"x", b"y"]));
        assert!(fields.every(text, Known::ContentType).eq([b""; 0]));
        assert_eq!(fields.iter(text).last(), Some((&b"Content-Typ"[..], &b"z"[..])));
    }

    #[test]
    fn every_known_name_is_recognised() {
        let mut known = 0;
        let words = ["host", "expect", "x-api-key", "connection", "content-type", "x-request-id", "authorization"];
        for word in words.into_iter().chain(["content-length", "content-encoding", "transfer-encoding"]) {
            assert_eq!(Known::of(word.to_ascii_uppercase().as_bytes()).map(Known::as_str), Some(word));
            assert_eq!(Known::of(&word.as_bytes()[1..]), None);
            known += 1;
        }
        assert_eq!(known, Known::COUNT);
    }

    #[test]
    fn fields_of_one_head_are_not_those_of_the_next() {
        let (mut search, mut fields, limits) = (Search::default(), Fields::default(), Limits::default());
        let first = b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n";
        assert_eq!(RequestHead::parse(first, &mut search, &mut fields, &limits), Err(Kind::MalformedHost));
        let next = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n";
        assert!(RequestHead::parse(next, &mut search, &mut fields, &limits).is_ok_and(|head| head.is_some()));
        assert_eq!(fields.len(), 1);
        assert_eq!(fields.sole(next, Known::Host), Ok(Some(&b"b"[..])));
    }

    #[test]
    fn a_head_may_be_as_large_as_its_limit_and_no_larger() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let verdict = |text: &[u8], head_bytes_max| {
            let limits = Limits { head_bytes_max, ..Limits::default() };
            request(text, &limits).0.map(|head| head.is_some())
        };
        assert_eq!(verdict(text, text.len()), Ok(true));
        assert_eq!(verdict(text, text.len() - 1), Err(Kind::HeadTooLarge));
        assert_eq!(verdict(&text[..text.len() - 1], text.len()), Ok(false));
        assert_eq!(verdict(&text[..text.len() - 1], text.len() - 1), Err(Kind::HeadTooLarge));
        // Empty lines before it don't count.
        assert_eq!(verdict(&[b"\r\n", &text[..]].concat(), text.len()), Ok(true));
        let limits = Limits { head_bytes_max: 20, ..Limits::default() };
        let text = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let head = ResponseHead::parse(text, &mut Search::default(), &mut Fields::default(), &limits);
        assert_eq!(head, Err(Kind::AnswerHeadMalformed));
    }

    #[test]
    fn a_head_may_have_as_many_fields_as_its_limit_and_no_more() {
        let verdict = |count: usize, head_fields_max| {
            let limits = Limits { head_fields_max, ..Limits::default() };
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
            let (head, fields) = request(text.as_bytes(), &limits);
            head.map(|head| (head.is_some(), fields.len()))
        };
        assert_eq!(verdict(100, 100), Ok((true, 100)));
        assert_eq!(verdict(101, 100), Err(Kind::HeadTooLarge));
        assert_eq!(verdict(HEAD_FIELDS_CEILING, usize::MAX), Ok((true, HEAD_FIELDS_CEILING)));
        assert_eq!(verdict(HEAD_FIELDS_CEILING + 1, usize::MAX), Err(Kind::HeadTooLarge));
        assert_eq!(verdict(1, 0), Err(Kind::HeadTooLarge));
    }

    #[test]
    fn targets_and_methods_have_their_bounds() {
        use crate::limits::TARGET_BYTES_MAX;
        let verdict = |method: usize, target: usize| {
            let text = format!("{} /{} HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(method), "t".repeat(target - 1));
            request(text.as_bytes(), &Limits::default()).0.map(|head| head.is_some())
        };
        assert_eq!(verdict(METHOD_BYTES_MAX, TARGET_BYTES_MAX), Ok(true));
        assert_eq!(verdict(METHOD_BYTES_MAX + 1, 1), Err(Kind::MalformedHead));
        assert_eq!(verdict(1, TARGET_BYTES_MAX + 1), Err(Kind::MalformedTarget));
    }

    #[test]
    fn a_head_in_many_pieces_is_searched_once() {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(60_000));
        let (mut search, mut fields, limits) = (Search::default(), Fields::default(), Limits::default());
        for len in 1..text.len() {
            assert_eq!(RequestHead::parse(&text.as_bytes()[..len], &mut search, &mut fields, &limits), Ok(None));
            // But for a CR, which is looked at again with what follows it.
            assert!(search.seen + 1 >= len);
        }
        let head = RequestHead::parse(text.as_bytes(), &mut search, &mut fields, &limits).expect("well-formed");
        assert_eq!(head.map(|head| head.len), Some(text.len()));
        assert_eq!(search.seen, 0);
    }
}
