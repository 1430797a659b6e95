//! What the client wants: read once from the body of its request, as places in the body and not as a copy of it.
//!
//! Only what this gateway decides by is read; whether the rest makes sense is the vendor's to say. A body that goes to a
//! vendor of the same language is not printed again: [`Edits`] replaces or inserts at most two pieces, and every
//! other byte stays as the client wrote it.

use std::borrow::Cow;

use crate::config::plan::StreamUsage;
use crate::endpoint::Endpoint;
use crate::fault::{Fault, Kind, Phase};
use crate::json::{self, Span, Value, escape_into};
use crate::limits::MODEL_BYTES_MAX;

/// One request, as its body says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Where it was asked.
    pub endpoint: Endpoint,
    /// The group or model that is asked for, unescaped; never empty, at most [`MODEL_BYTES_MAX`] bytes.
    pub model: Box<str>,
    /// Where the `model` value is, quotes included.
    pub model_span: Span,
    /// Whether the answer shall be a stream. Absent and null mean no; so does anything where no answer is one.
    pub stream: bool,
    /// What the client says of `stream_options`.
    pub stream_options: StreamOptions,
    /// Where the values of [`Endpoint::inputs`] are, in that order; empty where the body doesn't have one.
    inputs: [Span; INPUTS_MAX],
    /// Where the body's object is, braces included.
    pub body: Span,
}

/// Most fields that hold an endpoint's input.
const INPUTS_MAX: usize = 3;

/// What the client says of `stream_options`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOptions {
    /// Nothing.
    Absent,
    /// Something that is no object, `null` for one. The vendor may judge it.
    Opaque,
    /// An object that doesn't say `include_usage`.
    Object {
        /// Where it is, braces included.
        span: Span,
        /// Whether it is empty, so that a member in it needs no comma.
        empty: bool,
    },
    /// An object that says `include_usage`; whether what it says is `true`.
    IncludeUsage(bool),
}

/// What is changed in a body on its way to a vendor of the same language: nothing, or one or two splices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// The new text of all splices, one after the other.
    text: Vec<u8>,
    /// In the order of the body, not overlapping. One that isn't needed is empty and stands at the start.
    splices: [Splice; 2],
    asked_for_usage: bool,
}

/// New text in place of a span, which may be empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Splice {
    /// What is left out of the body.
    span: Span,
    /// What comes in its place, of [`Edits::text`].
    text: Span,
}

/// A piece of an edited body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'e> {
    /// A stretch of the body as the client wrote it.
    Body(Span),
    /// New text.
    Text(&'e [u8]),
}

impl Piece<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Body(span) => span.len(),
            Self::Text(text) => text.len(),
        }
    }

    /// Its bytes; `body` is the one that was read.
    pub fn of<'a>(&'a self, body: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Body(span) => span.of(body),
            Self::Text(text) => text,
        }
    }
}

const MODEL_WANTED: &str = "model must be a non-empty string";
const MODEL_TOO_LONG: &str = "model must not be longer than 256 bytes";
const STREAM_WANTED: &str = "stream must be a boolean";
const MESSAGES_WANTED: &str = "messages must be an array";

/// Reads the body of a request to `endpoint`.
///
/// # Errors
/// What [`json::scan`] refuses; [`Kind::InvalidField`] if `model` is no string of 1 to [`MODEL_BYTES_MAX`] bytes,
/// `stream` neither boolean nor null, or the `messages` of a conversation no array. All in [`Phase::Body`].
pub fn read(endpoint: Endpoint, body: &[u8], scratch: &mut json::Scratch) -> Result<Ask, Fault> {
    let object = json::scan(body, scratch)?;
    let model = object.get("model").ok_or_else(|| invalid(MODEL_WANTED))?;
    let name = model.to_str().filter(|name| !name.is_empty()).ok_or_else(|| invalid(MODEL_WANTED))?;
    if name.len() > MODEL_BYTES_MAX {
        return Err(invalid(MODEL_TOO_LONG));
    }
    let stream = match object.get("stream").filter(|stream| !stream.is_null() && endpoint.streams()) {
        Some(stream) => stream.to_bool().ok_or_else(|| invalid(STREAM_WANTED))?,
        None => false,
    };
    let mut inputs = [Span::default(); INPUTS_MAX];
    for (place, name) in inputs.iter_mut().zip(endpoint.inputs()) {
        let input = object.find(name);
        if *name == "messages" && input.is_none_or(|messages| messages.kind != json::Kind::Array) {
            return Err(invalid(MESSAGES_WANTED));
        }
        *place = input.map_or_else(Span::default, |input| input.value);
    }
    Ok(Ask {
        endpoint,
        model: name.into(),
        model_span: model.span(),
        stream,
        stream_options: object.get("stream_options").map_or(StreamOptions::Absent, StreamOptions::read),
        inputs,
        body: object.span(),
    })
}

const fn invalid(detail: &'static str) -> Fault {
    Fault { kind: Kind::InvalidField, phase: Phase::Body, detail: Some(Cow::Borrowed(detail)) }
}

impl StreamOptions {
    fn read(value: Value<'_>) -> Self {
        if value.kind() != json::Kind::Object {
            return Self::Opaque;
        }
        match value.get("include_usage") {
            Some(include_usage) => Self::IncludeUsage(include_usage.to_bool() == Some(true)),
            None => Self::Object { span: value.span(), empty: value.fields().next().is_none() },
        }
    }
}

impl Ask {
    /// What is said to the model: the values that hold it, in `body`, which is the one that was read.
    pub fn inputs<'b>(&self, body: &'b [u8]) -> impl Iterator<Item = Value<'b>> {
        self.inputs.into_iter().filter(|span| span.len() > 0).map(|span| Value::at(body, span))
    }

    /// Whether the client wants a usage chunk at the end of its stream.
    pub fn wants_usage(&self) -> bool {
        self.stream && self.stream_options == StreamOptions::IncludeUsage(true)
    }

    /// What has to change in the body for a vendor of the same language: the model becomes `model`, and the usage of a
    /// chat completion is asked for where `stream_usage` says so and the client streams and has left it open. What is
    /// right already stays.
    pub fn edits(&self, model: &str, stream_usage: StreamUsage) -> Edits {
        let mut edits = Edits::default();
        if *self.model != *model {
            edits.splices[0] = edits.splice(self.model_span, |text| escape_into(text, model));
        }
        let chats = self.endpoint == Endpoint::ChatCompletions;
        if chats && self.stream && stream_usage == StreamUsage::Ask {
            let inserted: Option<(u32, &[u8])> = match self.stream_options {
                StreamOptions::Absent => Some((self.model_span.end, b",\"stream_options\":{\"include_usage\":true}")),
                StreamOptions::Object { span, empty: true } => Some((span.start + 1, b"\"include_usage\":true")),
                StreamOptions::Object { span, empty: false } => Some((span.start + 1, b"\"include_usage\":true,")),
                StreamOptions::Opaque | StreamOptions::IncludeUsage(_) => None,
            };
            if let Some((at, member)) = inserted {
                edits.splices[1] = edits.splice(Span { start: at, end: at }, |text| text.extend_from_slice(member));
                edits.asked_for_usage = true;
            }
        }
        edits.splices.sort_by_key(|splice| splice.span.start);
        edits
    }
}

impl Edits {
    /// Whether the body stays as it is.
    pub const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether these edits ask for usage, which the client has not: the usage chunk must not reach it then.
    pub const fn asked_for_usage(&self) -> bool {
        self.asked_for_usage
    }

    /// Length of a body of `body_len` bytes after these edits.
    pub fn len_after(&self, body_len: usize) -> usize {
        let removed: usize = self.splices.iter().map(|splice| splice.span.len()).sum();
        body_len + self.text.len() - removed
    }

    /// The body after these edits, in one to five pieces, none of them empty. `body_len` is the length of the body that
    /// was read.
    pub fn pieces(&self, body_len: usize) -> impl Iterator<Item = Piece<'_>> {
        let [one, two] = self.splices;
        let pieces = [
            Piece::Body(Span { start: 0, end: one.span.start }),
            Piece::Text(one.text.of(&self.text)),
            Piece::Body(Span { start: one.span.end, end: two.span.start }),
            Piece::Text(two.text.of(&self.text)),
            Piece::Body(Span::new(two.span.end as usize, body_len)),
        ];
        pieces.into_iter().filter(|piece| piece.len() > 0)
    }

    /// A splice over `span` with the text that `write` appends.
    fn splice(&mut self, span: Span, write: impl FnOnce(&mut Vec<u8>)) -> Splice {
        let start = self.text.len();
        write(&mut self.text);
        Splice { span, text: Span::new(start, self.text.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_chat(body: &[u8]) -> Result<Ask, Fault> {
        read(Endpoint::ChatCompletions, body, &mut json::Scratch::default())
    }

    fn ask(body: &str) -> Ask {
        read_chat(body.as_bytes()).unwrap_or_else(|fault| panic!("{body}: {fault:?}"))
    }

    /// The body after `edits`, and the body before them made from it again.
    fn apply(edits: &Edits, body: &str) -> String {
        let after: Vec<u8> = edits.pieces(body.len()).flat_map(|piece| piece.of(body.as_bytes()).to_vec()).collect();
        assert_eq!(after.len(), edits.len_after(body.len()), "{body}");
        assert_eq!(undo(edits, &after, body.as_bytes()), body.as_bytes(), "{body}");
        assert_eq!(edits.is_empty(), after == body.as_bytes());
        String::from_utf8(after).unwrap()
    }

    /// Takes the new text out of `after` and puts back what stood there.
    fn undo(edits: &Edits, after: &[u8], body: &[u8]) -> Vec<u8> {
        let mut undone = Vec::new();
        let mut rest = after;
        for splice in edits.splices {
            let same = splice.span.start as usize - undone.len();
            undone.extend_from_slice(&rest[..same]);
            undone.extend_from_slice(splice.span.of(body));
            rest = rest[same..].strip_prefix(splice.text.of(&edits.text)).expect("the new text");
        }
        [&undone, rest].concat()
    }

    #[test]
    fn an_ask_says_where_things_are() {
        let body = r#" {"messages":[{"role":"user","content":"hi"}],"model" : "gpt\u002d4o","stream":true,"n":1} "#;
        let ask = ask(body);
        assert_eq!(&*ask.model, "gpt-4o");
        assert_eq!(ask.model_span.of(body.as_bytes()), br#""gpt\u002d4o""#);
        let inputs: Vec<_> = ask.inputs(body.as_bytes()).map(Value::raw).collect();
        assert_eq!(inputs, [br#"[{"role":"user","content":"hi"}]"#]);
        assert_eq!(ask.body.of(body.as_bytes()), body.trim().as_bytes());
        assert_eq!((ask.stream, ask.stream_options), (true, StreamOptions::Absent));
    }

    #[test]
    fn stream_and_its_options_are_told_apart() {
        use StreamOptions::{Absent, IncludeUsage, Object, Opaque};
        let object = |start, end, empty| Object { span: Span { start, end }, empty };
        // What comes after model and messages, whether it streams, its options, and whether the client wants usage.
        let cases = [
            ("", false, Absent, false),
            (r#","stream":null"#, false, Absent, false),
            (r#","stream":false"#, false, Absent, false),
            (r#","stream":true"#, true, Absent, false),
            (r#","stream":true,"stream_options":null"#, true, Opaque, false),
            (r#","stream":true,"stream_options":[]"#, true, Opaque, false),
            (r#","stream":true,"stream_options":{}"#, true, object(58, 60, true), false),
            (r#","stream":true,"stream_options":{ }"#, true, object(58, 61, true), false),
            (r#","stream":true,"stream_options":{"x":1}"#, true, object(58, 65, false), false),
            (r#","stream":true,"stream_options":{"include_usage":true}"#, true, IncludeUsage(true), true),
            (r#","stream":true,"stream_options":{"include_\u0075sage":true}"#, true, IncludeUsage(true), true),
            (r#","stream":true,"stream_options":{"include_usage":false}"#, true, IncludeUsage(false), false),
            (r#","stream":true,"stream_options":{"include_usage":null}"#, true, IncludeUsage(false), false),
            (r#","stream":false,"stream_options":{"include_usage":true}"#, false, IncludeUsage(true), false),
        ];
        for (more, stream, options, wants_usage) in cases {
            let ask = ask(&format!(r#"{{"model":"m","messages":[]{more}}}"#));
            assert_eq!((ask.stream, ask.stream_options, ask.wants_usage()), (stream, options, wants_usage), "{more}");
        }
    }

    #[test]
    fn what_we_decide_by_must_be_there_and_right() {
        let long = format!(r#"{{"model":"{}","messages":[]}}"#, "é".repeat(MODEL_BYTES_MAX / 2) + "x");
        let cases = [
            (r#"{"messages":[]}"#, MODEL_WANTED),
            (r#"{"model":null,"messages":[]}"#, MODEL_WANTED),
            (r#"{"model":1,"messages":[]}"#, MODEL_WANTED),
            (r#"{"model":["m"],"messages":[]}"#, MODEL_WANTED),
            (r#"{"model":"","messages":[]}"#, MODEL_WANTED),
            (r#"{"Model":"m","messages":[]}"#, MODEL_WANTED),
            (long.as_str(), MODEL_TOO_LONG),
            (r#"{"model":"m"}"#, MESSAGES_WANTED),
            (r#"{"model":"m","messages":null}"#, MESSAGES_WANTED),
            (r#"{"model":"m","messages":{}}"#, MESSAGES_WANTED),
            (r#"{"model":"m","messages":"hi"}"#, MESSAGES_WANTED),
            (r#"{"model":"m","messages":[],"stream":"true"}"#, STREAM_WANTED),
            (r#"{"model":"m","messages":[],"stream":1}"#, STREAM_WANTED),
            (r#"{"model":"m","messages":[],"stream":{}}"#, STREAM_WANTED),
        ];
        for (body, detail) in cases {
            let fault = read_chat(body.as_bytes()).expect_err(body);
            assert_eq!(fault, Fault::with(Kind::InvalidField, Phase::Body, detail), "{body}");
        }
        assert_eq!(ask(&long.replace('x', "")).model.len(), MODEL_BYTES_MAX);
        assert!(MODEL_TOO_LONG.contains(&MODEL_BYTES_MAX.to_string()));
        let fault = read_chat(br#"{"model":"m","messages":[{"a":1,"a":2}]}"#);
        assert_eq!(fault.map_err(|fault| fault.kind), Err(Kind::DuplicateKey));
    }

    #[test]
    fn each_endpoint_has_its_own_input() {
        use Endpoint::{ChatCompletions, Completions, CountTokens, Embeddings, Messages, Responses};
        let all = r#"{"stream":true,"input":"I","messages":["M"],"system":"S","prompt":"P","suffix":"X","instructions":[7],"model":"m"}"#;
        // Endpoint, whether it streams, its input.
        let cases = [
            (ChatCompletions, true, &[r#"["M"]"#][..]),
            (Messages, true, &[r#""S""#, r#"["M"]"#]),
            (CountTokens, false, &[r#""S""#, r#"["M"]"#]),
            (Completions, true, &[r#""P""#, r#""X""#]),
            (Embeddings, false, &[r#""I""#]),
            (Responses, true, &["[7]", r#""I""#, r#""P""#]),
        ];
        for (endpoint, stream, wanted) in cases {
            assert!(endpoint.inputs().len() <= INPUTS_MAX, "{endpoint:?}");
            let read = |body: &str| read(endpoint, body.as_bytes(), &mut json::Scratch::default());
            let ask = read(all).unwrap();
            let inputs: Vec<_> = ask.inputs(all.as_bytes()).map(Value::raw).collect();
            assert_eq!(inputs, wanted.iter().map(|input| input.as_bytes()).collect::<Vec<_>>(), "{endpoint:?}");
            assert_eq!(ask.stream, stream, "{endpoint:?}");
            // Only the model changes, but for a chat's usage.
            let asks_for_usage = ask.edits("m", StreamUsage::Ask).asked_for_usage();
            assert_eq!(asks_for_usage, endpoint == ChatCompletions, "{endpoint:?}");
            // What isn't there is the vendor's to miss, but for messages.
            let bare = read(r#"{"model":"m","stream":null}"#);
            assert_eq!(bare.is_err(), endpoint.inputs().contains(&"messages"), "{endpoint:?}");
            assert_eq!(read(r#"{"model":"m","messages":[],"stream":1}"#).is_err(), stream, "{endpoint:?}");
        }
    }

    #[test]
    fn edits_change_the_model_and_ask_for_usage_and_nothing_else() {
        use StreamUsage::{Ask, Leave};
        let cases = [
            // Only the model, in whatever place and spacing.
            (r#"{"model":"g","messages":[]}"#, Ask, r#"{"model":"gpt-4o","messages":[]}"#),
            (
                "{\n  \"messages\" : [],\r\n\t\"model\"  :\"g\" , \"x\":1e0}",
                Leave,
                "{\n  \"messages\" : [],\r\n\t\"model\"  :\"gpt-4o\" , \"x\":1e0}",
            ),
            (r#"{"\u006dodel":"\u0067","messages":[]}"#, Leave, r#"{"\u006dodel":"gpt-4o","messages":[]}"#),
            // Nothing, as all is right already.
            (r#"{"model":"gpt\u002d4o","messages":[]}"#, Ask, r#"{"model":"gpt\u002d4o","messages":[]}"#),
            (
                r#"{"model":"gpt-4o","messages":[],"stream":true}"#,
                Leave,
                r#"{"model":"gpt-4o","messages":[],"stream":true}"#,
            ),
            // Usage is asked for: a member, or a member of the member.
            (
                r#"{"stream":true,"model":"g","messages":[]}"#,
                Ask,
                r#"{"stream":true,"model":"gpt-4o","stream_options":{"include_usage":true},"messages":[]}"#,
            ),
            (
                r#"{"messages":[],"stream":true,"model":"gpt-4o" }"#,
                Ask,
                r#"{"messages":[],"stream":true,"model":"gpt-4o","stream_options":{"include_usage":true} }"#,
            ),
            (
                r#"{"stream":true,"stream_options":{ },"model":"g","messages":[]}"#,
                Ask,
                r#"{"stream":true,"stream_options":{"include_usage":true },"model":"gpt-4o","messages":[]}"#,
            ),
            (
                r#"{"model":"g","messages":[],"stream_options": { "x":[] },"stream":true}"#,
                Ask,
                r#"{"model":"gpt-4o","messages":[],"stream_options": {"include_usage":true, "x":[] },"stream":true}"#,
            ),
            // The client has said something, or doesn't stream.
            (
                r#"{"model":"g","messages":[],"stream":true,"stream_options":null}"#,
                Ask,
                r#"{"model":"gpt-4o","messages":[],"stream":true,"stream_options":null}"#,
            ),
            (
                r#"{"model":"g","messages":[],"stream":true,"stream_options":{"include_usage":false}}"#,
                Ask,
                r#"{"model":"gpt-4o","messages":[],"stream":true,"stream_options":{"include_usage":false}}"#,
            ),
            (
                r#"{"model":"g","messages":[],"stream":false}"#,
                Ask,
                r#"{"model":"gpt-4o","messages":[],"stream":false}"#,
            ),
        ];
        for (body, stream_usage, wanted) in cases {
            let before = ask(body);
            let edits = before.edits("gpt-4o", stream_usage);
            let after = apply(&edits, body);
            assert_eq!(after, wanted);
            let read_again = ask(&after);
            assert_eq!(&*read_again.model, "gpt-4o");
            assert_eq!(edits.asked_for_usage(), !before.wants_usage() && read_again.wants_usage(), "{body}");
            assert!(read_again.edits("gpt-4o", stream_usage).is_empty(), "edits are made once: {body}");
        }
    }

    #[test]
    fn undoing_the_edits_gives_the_body_back_in_any_order_and_spacing() {
        let mut rng = fastrand::Rng::with_seed(3);
        let options =
            ["{}", "{ }", "null", "{\"x\":{}}", "{\"include_usage\":true}", "{\"y\":1,\"include_usage\":false}"];
        for _ in 0..3_000 {
            let space = |rng: &mut fastrand::Rng| " ".repeat(rng.usize(..3)) + if rng.bool() { "\n" } else { "" };
            let model = *rng.choice(["gpt-4o", "quality-ab-test", "m\\u00e9\\\"", "é😀"].iter()).unwrap();
            let mut fields = vec![
                format!("\"model\":{}\"{model}\"", space(&mut rng)),
                "\"messages\":[{\"role\":\"user\",\"content\":\"\\\"model\\\":\\\"x\\\"\"}]".to_owned(),
                format!("\"unknown\":{}[1,{{\"model\":\"no\"}}]", space(&mut rng)),
            ];
            if rng.bool() {
                fields.push(format!("\"stream\"{}:{}", space(&mut rng), rng.bool()));
            }
            if rng.bool() {
                fields.push(format!("\"stream_options\":{}", rng.choice(options).unwrap()));
            }
            rng.shuffle(&mut fields);
            let body =
                format!("{}{{{}{}}}", space(&mut rng), fields.join(&format!("{},", space(&mut rng))), space(&mut rng));
            let stream_usage = if rng.bool() { StreamUsage::Ask } else { StreamUsage::Leave };
            let edits = ask(&body).edits("a \"quoted\"\nmodel", stream_usage);
            let after = ask(&apply(&edits, &body));
            assert_eq!(&*after.model, "a \"quoted\"\nmodel");
            assert!(edits.pieces(body.len()).count() <= 5);
        }
    }
}
