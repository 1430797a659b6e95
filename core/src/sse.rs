//! Event streams (WHATWG HTML, section 9.2 "Server-sent events"): bytes to events, across any split.
//!
//! A [`Splitter`] says how much of a growing buffer is whole events, which is what may pass on. [`events`] takes such
//! a piece apart without copying. Nothing is lost on the way: the raw bytes of all events are the bytes that came,
//! comments and stray blank lines included, so that a relay can leave one event out and pass on the others as they are.
//!
//! `id` and `retry` are not read: no vendor's stream can be resumed.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Finds the end of whole events in a buffer that grows, and looks at no byte twice.
///
/// An event ends with a blank line; lines end with LF, CR LF or CR, in any mixture. A blank line that ends with CR at
/// the very end of the buffer is undecided, since the LF that follows would belong to it; it waits for one more byte,
/// or for [`Splitter::at_end`]. Events that end with LF LF or CR LF CR LF, which are all in practice, never wait.
#[derive(Clone, Debug, Default)]
pub struct Splitter {
    /// Bytes at the front of the buffer that were looked at.
    scanned: usize,
    place: Place,
}

/// What stands before the next byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The end of a line, or nothing.
    #[default]
    LineStart,
    /// A part of a line.
    InLine,
    /// The CR that ends a line, be it a blank one; an LF may belong to it.
    AfterCr { blank: bool },
}

/// One event: all up to and including a blank line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'b> {
    /// Its bytes, blank line included.
    pub raw: &'b [u8],
    /// The value of `event`; none where it is empty or missing, which means `message`.
    pub event: Option<&'b [u8]>,
    /// The values of `data`, joined by LF, borrowed when there is one. None without a `data` line, as with comments:
    /// clients see no event then.
    pub data: Option<Cow<'b, [u8]>>,
}

/// The whole events at the front of some bytes.
#[derive(Clone, Debug)]
pub struct Events<'b> {
    bytes: &'b [u8],
    splitter: Splitter,
}

impl Splitter {
    /// At the start of a stream.
    pub const fn new() -> Self {
        Self { scanned: 0, place: Place::LineStart }
    }

    /// How many bytes at the front of `buffer` are whole events; 0 if the first is still incomplete.
    ///
    /// The buffer is what the last call was given, less the whole events it told of, plus what has come since.
    pub fn advance(&mut self, buffer: &[u8]) -> usize {
        let mut whole = 0;
        while let Some(end) = self.next_end(buffer) {
            whole = end;
        }
        self.scanned -= whole;
        whole
    }

    /// Length of the incomplete event at the end of the buffer. The bound on it is the caller's.
    pub const fn pending(&self) -> usize {
        self.scanned
    }

    /// How many of the pending bytes are a whole event if nothing more comes: all of them or none.
    pub const fn at_end(&self) -> usize {
        match self.place {
            Place::AfterCr { blank: true } => self.scanned,
            Place::AfterCr { blank: false } | Place::LineStart | Place::InLine => 0,
        }
    }

    /// Looks on to the end of the next event, or to the end of the buffer.
    fn next_end(&mut self, buffer: &[u8]) -> Option<usize> {
        while let Some(&byte) = buffer.get(self.scanned) {
            match self.place {
                Place::LineStart => match byte {
                    b'\n' => {
                        self.scanned += 1;
                        return Some(self.scanned);
                    }
                    b'\r' => {
                        self.scanned += 1;
                        self.place = Place::AfterCr { blank: true };
                    }
                    _ => self.place = Place::InLine,
                },
                Place::InLine => match memchr2(b'\n', b'\r', &buffer[self.scanned..]) {
                    Some(len) => {
                        self.scanned += len + 1;
                        let feed = buffer[self.scanned - 1] == b'\n';
                        self.place = if feed { Place::LineStart } else { Place::AfterCr { blank: false } };
                    }
                    None => self.scanned = buffer.len(),
                },
                Place::AfterCr { blank } => {
                    self.scanned += usize::from(byte == b'\n');
                    self.place = Place::LineStart;
                    if blank {
                        return Some(self.scanned);
                    }
                }
            }
        }
        None
    }
}

/// The events in `bytes`, which are what a [`Splitter`] said is whole. An incomplete one at the end is left out.
pub const fn events(bytes: &[u8]) -> Events<'_> {
    Events { bytes, splitter: Splitter::new() }
}

impl<'b> Iterator for Events<'b> {
    type Item = Event<'b>;

    fn next(&mut self) -> Option<Event<'b>> {
        let end = self.splitter.next_end(self.bytes).or_else(|| match self.splitter.at_end() {
            0 => None,
            end => Some(end),
        })?;
        let (raw, rest) = self.bytes.split_at(end);
        *self = events(rest);
        Some(Event::read(raw))
    }
}

impl<'b> Event<'b> {
    /// Reads the lines of one event. Its blank line may be missing, as at the end of a stream that breaks off.
    ///
    /// A byte order mark before the first line is skipped, though only the stream's first event may have one.
    pub fn read(raw: &'b [u8]) -> Self {
        let mut read = Self { raw, event: None, data: None };
        let mut rest = raw.strip_prefix("\u{feff}".as_bytes()).unwrap_or(raw);
        while !rest.is_empty() {
            let len = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            read.line(&rest[..len]);
            rest = rest.get(len + 1..).unwrap_or_default();
        }
        read
    }

    /// One line without its end. A CR LF comes as a line and an empty one, which means nothing within an event.
    fn line(&mut self, line: &'b [u8]) {
        let (name, value) = match memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => match &mut self.data {
                None => self.data = Some(Cow::Borrowed(value)),
                Some(data) => {
                    let data = data.to_mut();
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            },
            b"event" => self.event = (!value.is_empty()).then_some(value),
            _ => {}
        }
    }
}

/// Appends an event. Each line of `data` gets a `data` line of its own; what follows a line end in `event`, which no
/// event's name has, is left out.
pub fn write_event(out: &mut Vec<u8>, event: Option<&str>, data: &[u8]) {
    if let Some(event) = event {
        let name = event.split(['\n', '\r']).next().unwrap_or_default();
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    let mut rest = data;
    loop {
        let len = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, end) = rest.split_at(len);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
        rest = match end {
            [] => break,
            [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
        };
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Event and data.
    type Seen = (Option<&'static str>, Option<&'static str>);

    /// The same of an event that was read.
    type Read = (Option<Vec<u8>>, Option<Vec<u8>>);

    /// Streams with LF line ends, the events in them, and what is left over.
    const CASES: &[(&str, &[Seen], &str)] = &[
        ("", &[], ""),
        ("data: a\n\n", &[(None, Some("a"))], ""),
        ("data:a\n\ndata:  b\n\n", &[(None, Some("a")), (None, Some(" b"))], ""),
        ("event: ping\ndata: {}\n\n", &[(Some("ping"), Some("{}"))], ""),
        ("data: {}\nevent: ping\n\n", &[(Some("ping"), Some("{}"))], ""),
        ("event: a\nevent: b\ndata\n\n", &[(Some("b"), Some(""))], ""),
        ("event: a\nevent:\ndata:\n\n", &[(None, Some(""))], ""),
        ("data: a\ndata: b\ndata\ndata:c\n\n", &[(None, Some("a\nb\n\nc"))], ""),
        (": OPENROUTER PROCESSING\n\ndata: a\n\n", &[(None, None), (None, Some("a"))], ""),
        (": ping\ndata: a\n: pong\n\n", &[(None, Some("a"))], ""),
        ("\n\ndata: a\n\n\n", &[(None, None), (None, None), (None, Some("a")), (None, None)], ""),
        ("id: 1\nretry: 2\nfoo: bar\ndatum: x\nDATA: y\n data: z\n:data: a\n\n", &[(None, None)], ""),
        ("data: a:b: c\n\n", &[(None, Some("a:b: c"))], ""),
        ("\u{feff}data: a\n\ndata: b\n\n", &[(None, Some("a")), (None, Some("b"))], ""),
        ("data: é😀\n\n", &[(None, Some("é😀"))], ""),
        ("data: a\n\ndata: b\n", &[(None, Some("a"))], "data: b\n"),
        ("data: a\n\ndata: b", &[(None, Some("a"))], "data: b"),
        ("data: a", &[], "data: a"),
    ];

    /// Feeds the pieces to a splitter, and reads the events of each whole piece as soon as it is whole.
    fn read<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<Read>, Vec<u8>) {
        let (mut splitter, mut buffer, mut seen) = (Splitter::new(), Vec::new(), Vec::new());
        let mut take = |buffer: &mut Vec<u8>, whole: usize| {
            let mut raw = Vec::new();
            for event in events(&buffer[..whole]) {
                raw.extend_from_slice(event.raw);
                seen.push((event.event.map(<[u8]>::to_vec), event.data.map(Cow::into_owned)));
            }
            assert_eq!(raw, buffer[..whole], "the raw events are the bytes that came");
            buffer.drain(..whole);
        };
        for piece in pieces {
            buffer.extend_from_slice(piece);
            let whole = splitter.advance(&buffer);
            take(&mut buffer, whole);
            assert_eq!(splitter.pending(), buffer.len());
        }
        take(&mut buffer, splitter.at_end());
        (seen, buffer)
    }

    /// Gives each line an end of its own; but no LF to a blank line after a CR, as the two would be one end.
    fn mixed_ends(text: &str, rng: &mut fastrand::Rng) -> String {
        text.split_inclusive('\n').fold(String::new(), |mixed, line| {
            let after_cr = line == "\n" && mixed.ends_with('\r');
            let end = rng.choice(if after_cr { &["\r", "\r\n"][..] } else { &["\n", "\r", "\r\n"] }).unwrap();
            mixed + &line.replace('\n', end)
        })
    }

    #[test]
    fn any_split_and_any_line_ends_give_the_same_events() {
        let mut rng = fastrand::Rng::with_seed(9);
        for (text, seen, rest) in CASES {
            let mut texts = vec![text.to_string(), text.replace('\n', "\r\n"), text.replace('\n', "\r")];
            texts.extend((0..20).map(|_| mixed_ends(text, &mut rng)));
            for text in texts {
                let bytes = text.as_bytes();
                let owned = |text: &Option<&str>| text.map(|text| text.as_bytes().to_vec());
                let wanted: Vec<_> = seen.iter().map(|(event, data)| (owned(event), owned(data))).collect();
                let check = |what: &str, read: (Vec<_>, Vec<u8>)| {
                    assert_eq!(read.0, wanted, "{what}: {text:?}");
                    let left = String::from_utf8(read.1).unwrap().replace("\r\n", "\n").replace('\r', "\n");
                    assert_eq!(left, *rest, "{what}: {text:?}");
                };
                check("whole", read([bytes]));
                check("byte by byte", read(bytes.chunks(1)));
                for cut in 0..=bytes.len() {
                    check("cut", read([&bytes[..cut], &bytes[cut..]]));
                }
            }
        }
    }

    #[test]
    fn an_event_passes_on_with_its_last_byte() {
        // Pieces, and how many bytes are whole events after each.
        let cases: [(&[&str], &[usize]); 8] = [
            (&["data: a\n", "\n"], &[0, 9]),
            (&["data: a\n\n"], &[9]),
            (&["data: a\r\n\r\n"], &[11]),
            (&["data: a\r\n\r", "\n"], &[0, 11]),
            (&["data: a\r", "\n", "\r", "\n", "data"], &[0, 0, 0, 11, 0]),
            (&["data: a\r\r", "data: b"], &[0, 9]),
            (&["data: a\n\r", "\ndata: b\n\n"], &[0, 19]),
            (&["data: a\n\ndata: b\n\ndat", "a: c\n", "\n\n"], &[18, 0, 10]),
        ];
        for (pieces, wholes) in cases {
            let (mut splitter, mut buffer) = (Splitter::new(), String::new());
            for (piece, whole) in pieces.iter().zip(wholes) {
                buffer.push_str(piece);
                assert_eq!(splitter.advance(buffer.as_bytes()), *whole, "{piece:?} of {pieces:?}");
                buffer.drain(..whole);
            }
        }
    }

    #[test]
    fn a_single_data_line_is_not_copied() {
        let borrowed = |text: &'static [u8]| matches!(Event::read(text).data, Some(Cow::Borrowed(_)));
        assert!(borrowed(b"event: a\r\ndata: {\"b\":1}\r\n\r\n"));
        assert!(!borrowed(b"data: a\ndata: b\n\n"));
    }

    #[test]
    fn the_rest_of_a_broken_stream_can_be_read() {
        let event = Event::read(b"event: a\ndata: b\ndata: [DO");
        assert_eq!((event.event, event.data.as_deref()), (Some(&b"a"[..]), Some(&b"b\n[DO"[..])));
    }

    #[test]
    fn what_was_written_is_read_back() {
        let cases: [(Option<&str>, &[u8], &[u8]); 6] = [
            (None, b"[DONE]", b"data: [DONE]\n\n"),
            (Some("ping"), b"{}", b"event: ping\ndata: {}\n\n"),
            (None, b"", b"data: \n\n"),
            (None, b" a", b"data:  a\n\n"),
            (None, b"a\nb\n", b"data: a\ndata: b\ndata: \n\n"),
            (Some("a\ndata: b"), b"a\r\nb\rc", b"event: a\ndata: a\ndata: b\ndata: c\n\n"),
        ];
        for (event, data, written) in cases {
            let mut out = Vec::new();
            write_event(&mut out, event, data);
            assert_eq!(out, written);
            let read: Vec<_> = events(&out).collect();
            let data = String::from_utf8_lossy(data).replace("\r\n", "\n").replace('\r', "\n");
            assert_eq!(read.len(), 1);
            assert_eq!(read[0].data.as_deref(), Some(data.as_bytes()));
            assert_eq!(read[0].event, event.map(|name| &name.as_bytes()[..name.find('\n').unwrap_or(name.len())]));
        }
    }
}
