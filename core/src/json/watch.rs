//! Picking a few top-level fields out of one document that passes by in pieces.
//!
//! Tolerant where [`scan`](super::scan) is strict: the document is a vendor's answer that goes to the client as it is,
//! whatever it is. What isn't JSON is not captured, and what is captured is checked by whoever reads it.

use super::cursor::ends_bare;
use super::escape::plain_len;
use super::{Cursor, Span, Value};

/// Watches one document for the raw values of chosen top-level fields.
///
/// Memory is bounded by the number of fields times the capture bound. Where a document has a field twice the last
/// one counts, as for most readers.
#[derive(Clone, Debug)]
pub struct Watch {
    names: &'static [&'static str],
    capture_max: usize,
    captures: Vec<Capture>,
    /// The name that is being read, opening quote included, cut after [`NAME_BYTES_MAX`].
    name: Vec<u8>,
    state: State,
}

#[derive(Clone, Debug, Default)]
struct Capture {
    raw: Vec<u8>,
    state: CaptureState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CaptureState {
    /// Not seen, not whole yet, or larger than the bound.
    #[default]
    None,
    /// Being read.
    Open,
    /// Read to its end.
    Whole,
}

/// Where the watch is in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the object, where blank lines may stand.
    Before,
    /// Where a name begins, or the object ends.
    Field,
    /// In a name.
    Name { escaped: bool },
    /// Between a name and its colon.
    Colon { wanted: Option<usize> },
    /// Between a colon and a value.
    Value { wanted: Option<usize> },
    /// In a string that is a value or part of one.
    String { wanted: Option<usize>, depth: u32, escaped: bool },
    /// In an object or array that is a value, outside of its strings.
    Nested { wanted: Option<usize>, depth: u32 },
    /// In a number or a word.
    Bare { wanted: Option<usize> },
    /// After a value.
    After,
    /// The object has ended.
    Done,
    /// This is not a JSON object.
    Lost,
}

/// Longest spelling of a name that is compared. Every name we watch fits, each character spelled `\uXXXX`.
const NAME_BYTES_MAX: usize = 128;

impl Watch {
    /// Watches for these fields, each up to `capture_max` bytes of raw value; a larger value is not captured.
    pub fn new(names: &'static [&'static str], capture_max: usize) -> Self {
        Self {
            names,
            capture_max,
            captures: vec![Capture::default(); names.len()],
            name: Vec::with_capacity(NAME_BYTES_MAX),
            state: State::Before,
        }
    }

    /// Forgets the document, to watch another one with the same memory.
    pub fn reset(&mut self) {
        for capture in &mut self.captures {
            capture.drop_value();
        }
        self.name.clear();
        self.state = State::Before;
    }

    /// The document goes on with these bytes; any split will do.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state == State::Before && self.take_whole(bytes).is_some() {
            self.state = State::Done;
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.step(rest);
            rest = &rest[taken..];
            if matches!(self.state, State::Done | State::Lost) {
                return;
            }
        }
    }

    /// The raw value of a field, once it has passed whole; none for a name that isn't watched.
    pub fn captured(&self, name: &str) -> Option<&[u8]> {
        let nth = self.names.iter().position(|each| *each == name)?;
        let capture = &self.captures[nth];
        (capture.state == CaptureState::Whole).then_some(&capture.raw)
    }

    /// Whether the document's object has ended.
    pub fn is_complete(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the document if all of it is there; none otherwise, and whatever isn't as expected is left to
    /// [`Self::step`].
    fn take_whole(&mut self, bytes: &[u8]) -> Option<()> {
        pass_over(bytes, |name, value| {
            if let Some(nth) = self.names.iter().position(|wanted| name.is(wanted)) {
                self.captures[nth].drop_value();
                self.captures[nth].state = CaptureState::Open;
                self.keep(Some(nth), value.raw());
                self.captures[nth].close();
            }
        })
    }

    /// Takes some of the bytes: one of punctuation, or a run within a value. None only at a change of state.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let byte = bytes[0];
        let blank = matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        match self.state {
            State::Before | State::Field | State::Colon { .. } | State::Value { .. } | State::After if blank => 1,
            State::Before => self.turn(if byte == b'{' { State::Field } else { State::Lost }),
            State::Field => match byte {
                b'"' => {
                    self.name.clear();
                    self.name.push(byte);
                    self.turn(State::Name { escaped: false })
                }
                b'}' => self.turn(State::Done),
                _ => self.turn(State::Lost),
            },
            State::Name { escaped } => self.read_name(bytes, escaped),
            State::Colon { wanted } => self.turn(if byte == b':' { State::Value { wanted } } else { State::Lost }),
            State::Value { wanted } => self.start_value(byte, wanted),
            State::String { wanted, depth, escaped } => self.read_string(bytes, wanted, depth, escaped),
            State::Nested { wanted, depth } => self.read_nested(bytes, wanted, depth),
            State::Bare { wanted } => self.read_bare(bytes, wanted),
            State::After => match byte {
                b',' => self.turn(State::Field),
                b'}' => self.turn(State::Done),
                _ => self.turn(State::Lost),
            },
            State::Done | State::Lost => bytes.len(),
        }
    }

    /// One byte leads to the next state.
    const fn turn(&mut self, state: State) -> usize {
        self.state = state;
        1
    }

    fn read_name(&mut self, bytes: &[u8], escaped: bool) -> usize {
        let (len, end) = string_run(bytes, escaped);
        let room = NAME_BYTES_MAX - self.name.len();
        self.name.extend_from_slice(&bytes[..len.min(room)]);
        self.state = match end {
            RunEnd::Quote => {
                let name = Value::at(&self.name, Span::new(0, self.name.len()));
                State::Colon { wanted: self.names.iter().position(|wanted| name.is(wanted)) }
            }
            RunEnd::Bytes { escaped } => State::Name { escaped },
        };
        len
    }

    /// Opens the capture; takes the first byte unless it belongs to a number or a word, which are read as a run.
    fn start_value(&mut self, byte: u8, wanted: Option<usize>) -> usize {
        if let Some(nth) = wanted {
            self.captures[nth].drop_value();
            self.captures[nth].state = CaptureState::Open;
        }
        let state = match byte {
            b'"' => State::String { wanted, depth: 0, escaped: false },
            b'{' | b'[' => State::Nested { wanted, depth: 1 },
            b'-' | b'0'..=b'9' | b'a'..=b'z' => {
                self.state = State::Bare { wanted };
                return 0;
            }
            _ => State::Lost,
        };
        self.keep(wanted, &[byte]);
        self.turn(state)
    }

    fn read_string(&mut self, bytes: &[u8], wanted: Option<usize>, depth: u32, escaped: bool) -> usize {
        let (len, end) = string_run(bytes, escaped);
        self.keep(wanted, &bytes[..len]);
        match end {
            RunEnd::Bytes { escaped } => self.state = State::String { wanted, depth, escaped },
            RunEnd::Quote if depth == 0 => self.end_value(wanted),
            RunEnd::Quote => self.state = State::Nested { wanted, depth },
        }
        len
    }

    /// All of the value that is there, its strings included.
    fn read_nested(&mut self, bytes: &[u8], wanted: Option<usize>, mut depth: u32) -> usize {
        let mut at = 0;
        self.state = loop {
            let Some(byte) = bytes.get(at) else { break State::Nested { wanted, depth } };
            at += 1;
            match byte {
                b'"' => {
                    let (len, end) = string_run(&bytes[at..], false);
                    at += len;
                    if let RunEnd::Bytes { escaped } = end {
                        break State::String { wanted, depth, escaped };
                    }
                }
                b'{' | b'[' => depth = depth.saturating_add(1),
                b'}' | b']' if depth == 1 => {
                    self.keep(wanted, &bytes[..at]);
                    self.end_value(wanted);
                    return at;
                }
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        };
        self.keep(wanted, bytes);
        at
    }

    fn read_bare(&mut self, bytes: &[u8], wanted: Option<usize>) -> usize {
        let len = bytes.iter().position(ends_bare);
        self.keep(wanted, &bytes[..len.unwrap_or(bytes.len())]);
        if len.is_some() {
            self.end_value(wanted);
        }
        len.unwrap_or(bytes.len())
    }

    fn keep(&mut self, wanted: Option<usize>, bytes: &[u8]) {
        let Some(nth) = wanted else { return };
        let capture = &mut self.captures[nth];
        if capture.state != CaptureState::Open {
            return;
        }
        if capture.raw.len() + bytes.len() > self.capture_max {
            capture.drop_value();
        } else {
            capture.raw.extend_from_slice(bytes);
        }
    }

    fn end_value(&mut self, wanted: Option<usize>) {
        if let Some(nth) = wanted {
            self.captures[nth].close();
        }
        self.state = State::After;
    }
}

/// The values of these top-level fields in a document that is there whole, as most answers are; none if it isn't, or is
/// no JSON object, which [`Watch`] then says in its own way. The same machine as a watch without states to come back to,
/// at a third of the instructions, and without memory.
pub fn pick<'t, const N: usize>(document: &'t [u8], names: [&str; N]) -> Option<[Option<Value<'t>>; N]> {
    let mut picked = [None; N];
    pass_over(document, |name, value| {
        if let Some(nth) = names.iter().position(|wanted| name.is(wanted)) {
            picked[nth] = Some(value);
        }
    })?;
    Some(picked)
}

/// Shows each top-level field to `see`, its name and its value; none if it is no whole object.
fn pass_over<'t>(document: &'t [u8], mut see: impl FnMut(Value<'t>, Value<'t>)) -> Option<()> {
    let mut cursor = Cursor::new(document);
    if !cursor.enter(b'{') {
        return None;
    }
    while let Some(name) = cursor.field() {
        let value = cursor.value();
        if !cursor.is_lost() {
            see(Value::at(name, Span::new(0, name.len())), value);
        }
    }
    (!cursor.is_lost()).then_some(())
}

/// How a run of a string's bytes ends.
enum RunEnd {
    /// With the string's closing quote, which belongs to it.
    Quote,
    /// With the bytes; whether the next one is escaped.
    Bytes { escaped: bool },
}

/// The run of a string at the start of `bytes`, and how it ends.
fn string_run(bytes: &[u8], escaped: bool) -> (usize, RunEnd) {
    let mut at = usize::from(escaped);
    loop {
        at += plain_len(&bytes[at..]);
        match bytes.get(at) {
            None => return (bytes.len(), RunEnd::Bytes { escaped: false }),
            Some(b'"') => return (at + 1, RunEnd::Quote),
            Some(b'\\') if at + 1 == bytes.len() => return (bytes.len(), RunEnd::Bytes { escaped: true }),
            Some(b'\\') => at += 2,
            // A control character has no business here, and is none of ours.
            Some(_) => at += 1,
        }
    }
}

impl Capture {
    /// The value has ended; one that was larger than the bound stays away.
    fn close(&mut self) {
        if self.state == CaptureState::Open {
            self.state = CaptureState::Whole;
        }
    }

    fn drop_value(&mut self) {
        self.raw.clear();
        self.state = CaptureState::None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["usage", "model", "error"];

    /// What a watch has captured of `text` that comes in `pieces`, and whether the object has ended.
    fn watch<'p>(watch: &mut Watch, pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<Option<String>>, bool) {
        watch.reset();
        pieces.into_iter().for_each(|piece| watch.push(piece));
        let text = |name: &&str| watch.captured(name).map(|raw| String::from_utf8_lossy(raw).into_owned());
        (NAMES.iter().map(text).collect(), watch.is_complete())
    }

    #[test]
    fn what_is_picked_from_a_whole_document_is_what_a_watch_captures() {
        for (text, captured, is_complete) in CASES {
            let picked = pick(text.as_bytes(), ["usage", "model", "error"]);
            let Some(picked) = picked else { continue };
            assert!(is_complete, "{text}");
            // A watch leaves out what is longer than its bound.
            let picked = picked.map(|value| value.map(Value::raw).filter(|raw| raw.len() <= 40));
            assert_eq!(picked.map(|raw| raw.map(|raw| std::str::from_utf8(raw).unwrap())), *captured, "{text}");
        }
        assert!(pick(b"{\"usage\":1}", ["usage"]).is_some_and(|[usage]| usage.is_some()));
        for not_whole in ["", "{", "{\"usage\":{}", "[1]", "{\"usage\" 1}"] {
            assert!(pick(not_whole.as_bytes(), ["usage"]).is_none(), "{not_whole}");
        }
    }

    /// Document, what is captured of usage, model and error, and whether the object has ended.
    const CASES: &[(&str, [Option<&str>; 3], bool)] = &[
        ("", [None; 3], false),
        ("{}", [None; 3], true),
        (r#"{"model":"gpt-4o"}"#, [None, Some("\"gpt-4o\""), None], true),
        (
            r#" { "model" : "a\"}b\\" , "usage" : {"a":[1,{"b":"}]"}]} } trailing"#,
            [Some(r#"{"a":[1,{"b":"}]"}]}"#), Some(r#""a\"}b\\""#), None],
            true,
        ),
        ("\n\n   \r\n\n{\"usage\":12,\"error\":null}", [Some("12"), None, Some("null")], true),
        ("{\"usage\":-1.5e+3 ,\"error\":false}", [Some("-1.5e+3"), None, Some("false")], true),
        (r#"{"id":"x","choices":[{"model":"no","usage":{}}],"model":"yes"}"#, [None, Some("\"yes\""), None], true),
        (r#"{"mod\u0065l":"a"}"#, [None, Some("\"a\""), None], true),
        (r#"{"model":"a","model":"b"}"#, [None, Some("\"b\""), None], true),
        (r#"{"models":"a","mode":"b","":"c","\"model":"d"}"#, [None; 3], true),
        // As large as the bound of 40 bytes, and larger by one.
        (
            r#"{"usage":"12345678901234567890123456789012345678","model":"123456789012345678901234567890123456789"}"#,
            [Some(r#""12345678901234567890123456789012345678""#), None, None],
            true,
        ),
        (r#"{"model":"a","model":"123456789012345678901234567890123456789"}"#, [None; 3], true),
        // Cut off: what was whole counts.
        (r#"{"model":"a","usage":{"#, [None, Some("\"a\""), None], false),
        (r#"{"usage":12"#, [None; 3], false),
        // Not JSON, or not an object.
        ("[{\"model\":\"a\"}]", [None; 3], false),
        ("<html>{\"model\":\"a\"}</html>", [None; 3], false),
        ("\"model\"", [None; 3], false),
        ("{model:1}", [None; 3], false),
        ("{\"a\":}{\"model\":1}", [None; 3], false),
        ("{\"a\":1 2,\"model\":1}", [None; 3], false),
        ("{\"model\":\"a\"]", [None, Some("\"a\""), None], false),
        ("{\"model\":\"a\" \"usage\":1}", [None, Some("\"a\""), None], false),
    ];

    #[test]
    fn any_split_gives_the_same_captures() {
        let mut watched = Watch::new(NAMES, 40);
        for (text, captures, complete) in CASES {
            let wanted = (captures.iter().map(|raw| raw.map(str::to_owned)).collect::<Vec<_>>(), *complete);
            let bytes = text.as_bytes();
            assert_eq!(watch(&mut watched, [bytes]), wanted, "whole: {text}");
            assert_eq!(watch(&mut watched, bytes.chunks(1)), wanted, "byte by byte: {text}");
            for cut in 0..=bytes.len() {
                let (one, two) = bytes.split_at(cut);
                assert_eq!(watch(&mut watched, [one, two]), wanted, "cut at {cut}: {text}");
            }
        }
    }

    #[test]
    fn whatever_passes_is_cut_at_any_place_alike() {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut watched = Watch::new(NAMES, 16);
        for _ in 0..20_000 {
            let text: Vec<u8> =
                (0..rng.usize(..40)).map(|_| *rng.choice(b"{}[]:,\"\\ 1ael\x00\xff").unwrap()).collect();
            let text = [b"{\"model\":", text.as_slice()].concat();
            let whole = watch(&mut watched, [text.as_slice()]);
            assert_eq!(watch(&mut watched, text.chunks(1 + rng.usize(..3))), whole, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_name_beyond_all_bounds_takes_no_memory() {
        let mut watched = Watch::new(NAMES, 40);
        watched.push(b"{\"");
        for _ in 0..1_000 {
            watched.push(&[b'a'; 1_000]);
        }
        watched.push(b"\":1,\"model\":2}");
        assert_eq!((watched.captured("model"), watched.is_complete()), (Some(&b"2"[..]), true));
        assert_eq!(watched.name.capacity(), NAME_BYTES_MAX);
        assert_eq!(watched.captured("not watched"), None);
    }
}
