//! What an answer says while it passes as it is.
//!
//! Nothing here changes a byte or stops an answer: whatever isn't as expected is not noted, and passes. A whole answer
//! is read with [`json::Watch`](crate::json::Watch), and its `usage` with [`usage`](super::usage).

use std::borrow::Cow;

use super::anthropic::{self, Counts};
use super::{Dialect, openai};
use crate::json::{Cursor, Kind, Scratch, Value, scan};
use crate::sse::Event;
use crate::tally::{Usage, UsageSource};

/// Looks at the events of one stream that passes as it is.
#[derive(Clone, Debug)]
pub struct Look {
    vendor: Dialect,
    /// What Anthropic has said of usage: each event says only a part of it.
    counts: Counts,
    usage: Option<Usage>,
    source: UsageSource,
    /// The choices of OpenAI that have begun, and those that have finished, a bit for each index.
    begun: u128,
    finished: u128,
    ended: bool,
    /// What OpenAI's last chunk said before its choices, bracket included. Every chunk of a stream says the same there, and
    /// is then looked at from there on.
    beginning: Vec<u8>,
}

/// Longest beginning that is remembered; OpenAI's has some 200 bytes.
const BEGINNING_BYTES_MAX: usize = 1_024;

/// What one event of a stream says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen<'a> {
    /// It brings a piece of the answer: text, reasoning, a refusal, a tool call or sound. A role alone doesn't count,
    /// nor does Azure's blank first chunk.
    pub content: bool,
    /// It says what the answer costs. The last one of a stream counts.
    pub usage: Option<Usage>,
    /// It brings usage and no choices: what a vendor sends when `stream_options.include_usage` is set, and what is to
    /// be removed if we set it.
    pub usage_chunk: bool,
    /// The model as the vendor names it, unless the chunk before has said the same; Azure's first chunk names none.
    pub model: Option<Cow<'a, str>>,
    /// The vendor says that it failed, under a status of 200; with its word for it, which may be empty.
    pub error: Option<Cow<'a, str>>,
    /// It is the dialect's last event: `[DONE]`, or `message_stop`.
    pub done: bool,
}

/// The fields of OpenAI's delta that are the answer itself, as they stand in a text. OpenAI's are documented;
/// `reasoning_content` is DeepSeek's word, also of xAI, `reasoning` that of OpenRouter and Groq.
const CONTENT: [&[u8]; 7] = [
    b"\"content\"",
    b"\"reasoning_content\"",
    b"\"reasoning\"",
    b"\"tool_calls\"",
    b"\"refusal\"",
    b"\"function_call\"",
    b"\"audio\"",
];

/// The fields of Anthropic's deltas and blocks that are the answer itself. A tool call is one from its beginning on, and
/// a signature is none.
const PIECES: [&[u8]; 5] = [b"\"text\"", b"\"thinking\"", b"\"partial_json\"", b"\"data\"", b"\"name\""];

impl Look {
    /// At a stream in the language of `vendor`.
    pub const fn new(vendor: Dialect) -> Self {
        Self {
            vendor,
            counts: Counts::NONE,
            usage: None,
            source: UsageSource::None,
            begun: 0,
            finished: 0,
            ended: false,
            beginning: Vec::new(),
        }
    }

    /// Looks at the next event. A comment, or what is not a JSON object, says nothing.
    ///
    /// The text is walked without being checked first: whatever it is, it passes, and the check would take longer than
    /// all the rest. Names are compared as they are written, since no vendor escapes a name.
    pub fn at<'e>(&mut self, event: &'e Event<'_>) -> Seen<'e> {
        let Some(data) = event.data.as_deref() else { return Seen::default() };
        let data = data.trim_ascii();
        let seen = match self.vendor {
            Dialect::OpenAi => self.at_chunk(data),
            Dialect::Anthropic => self.at_event(data),
        };
        self.ended |= seen.done || seen.error.is_some();
        self.usage = seen.usage.or(self.usage);
        seen
    }

    /// Whether the stream has come to its end. One that stops before is torn, even if its connection was closed in order.
    /// Vendors that speak OpenAI's language don't all send `[DONE]`: every choice that has begun must then have its
    /// `finish_reason`. A vendor's own error is an end too.
    pub const fn is_finished(&self) -> bool {
        self.ended || (self.begun != 0 && self.begun == self.finished)
    }

    /// What the vendor has said of usage up to now: `Partial` until it has said why it stopped.
    pub fn usage(&self) -> (Usage, UsageSource) {
        (self.usage.unwrap_or_default(), self.source)
    }

    fn at_chunk<'e>(&mut self, data: &'e [u8]) -> Seen<'e> {
        let mut seen = Seen { done: data == b"[DONE]", ..Seen::default() };
        let mut no_choices = false;
        let mut has_usage = false;
        let begins_alike = !self.beginning.is_empty() && data.starts_with(&self.beginning);
        let mut cursor = Cursor::at(data, if begins_alike { self.beginning.len() } else { 0 });
        if begins_alike {
            no_choices = self.at_choices(&mut cursor, &mut seen);
        } else if !cursor.enter(b'{') {
            return seen;
        }
        while let Some(name) = cursor.field() {
            match name {
                b"\"choices\"" if cursor.enter(b'[') => {
                    if !has_usage && seen.usage.is_none() && seen.error.is_none() {
                        self.remember(&data[..cursor.taken()]);
                    }
                    no_choices = self.at_choices(&mut cursor, &mut seen);
                    continue;
                }
                _ => {}
            }
            let value = cursor.value();
            match name {
                b"\"usage\"" if value.kind() == Kind::Object => {
                    has_usage = true;
                    seen.usage = openai::read_usage(value);
                }
                // Groq says it here, whether or not it was asked.
                b"\"x_groq\"" if !has_usage => seen.usage = value.get("usage").and_then(openai::read_usage),
                b"\"model\"" => seen.model = value.to_str().filter(|model| !model.is_empty()),
                b"\"error\"" if !value.is_null() => seen.error = Some(openai::error_word(value)),
                _ => {}
            }
        }
        if seen.usage.is_some() {
            self.source = UsageSource::Provider;
        }
        // An event that may be left out has to be what it seems.
        seen.usage_chunk = no_choices && has_usage && scan(data, &mut Scratch::default()).is_ok();
        seen
    }

    fn remember(&mut self, beginning: &[u8]) {
        self.beginning.clear();
        if beginning.len() <= BEGINNING_BYTES_MAX {
            self.beginning.extend_from_slice(beginning);
        }
    }

    /// Looks at the choices of a chunk; whether there are none.
    fn at_choices(&mut self, cursor: &mut Cursor<'_>, seen: &mut Seen<'_>) -> bool {
        let mut no_choices = true;
        while cursor.item() {
            no_choices = false;
            seen.content |= self.at_choice(cursor);
        }
        no_choices
    }

    /// Whether the choice that comes next brings a piece of the answer.
    fn at_choice(&mut self, cursor: &mut Cursor<'_>) -> bool {
        let (mut content, mut ends, mut bit) = (false, false, 1);
        if !cursor.enter(b'{') {
            cursor.value();
            self.begun |= bit;
            return false;
        }
        while let Some(name) = cursor.field() {
            if name == b"\"delta\"" && cursor.enter(b'{') {
                while let Some(name) = cursor.field() {
                    content |= !is_blank(cursor.value()) && CONTENT.contains(&name);
                }
                continue;
            }
            let value = cursor.value();
            match name {
                b"\"index\"" => bit = value.to_u64().and_then(|nth| 1_u128.checked_shl(nth as u32)).unwrap_or(1),
                // Of legacy completions, which have no delta.
                b"\"text\"" => content |= !is_blank(value),
                b"\"finish_reason\"" => ends = value.kind() == Kind::String,
                _ => {}
            }
        }
        self.begun |= bit;
        if ends {
            self.finished |= bit;
        }
        content
    }

    fn at_event<'e>(&mut self, data: &'e [u8]) -> Seen<'e> {
        let mut seen = Seen::default();
        let mut cursor = Cursor::new(data);
        if !cursor.enter(b'{') {
            return seen;
        }
        while let Some(name) = cursor.field() {
            if matches!(name, b"\"delta\"" | b"\"content_block\"") && cursor.enter(b'{') {
                while let Some(name) = cursor.field() {
                    let value = cursor.value();
                    seen.content |= !is_blank(value) && PIECES.contains(&name);
                    if name == b"\"stop_reason\"" && value.kind() == Kind::String {
                        self.source = UsageSource::Provider;
                    }
                }
                continue;
            }
            let value = cursor.value();
            match name {
                b"\"type\"" => seen.done = value.raw() == b"\"message_stop\"",
                b"\"message\"" => {
                    seen.model = value.get("model").and_then(Value::to_str).filter(|model| !model.is_empty());
                    seen.usage = value.get("usage").and_then(|usage| self.count(usage));
                }
                b"\"usage\"" => seen.usage = self.count(value),
                b"\"error\"" if !value.is_null() => seen.error = Some(anthropic::error_word(value)),
                _ => {}
            }
        }
        seen
    }

    fn count(&mut self, usage: Value<'_>) -> Option<Usage> {
        if usage.kind() != Kind::Object {
            return None;
        }
        self.counts.read(Some(usage));
        if self.source == UsageSource::None {
            self.source = UsageSource::Partial;
        }
        Some(self.counts.usage())
    }
}

/// Whether there is nothing in a string, a list or an object; other values hold no content.
fn is_blank(value: Value<'_>) -> bool {
    match value.kind() {
        Kind::String => value.raw().len() <= 2,
        Kind::Array => value.items().next().is_none(),
        Kind::Object => value.fields().next().is_none(),
        Kind::Number | Kind::Bool | Kind::Null => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_at(data: &[u8]) -> Seen<'_> {
        Look::new(Dialect::OpenAi).at_chunk(data.trim_ascii())
    }

    /// An event's data; whether it brings content.
    const CONTENT_CASES: &[(&str, bool)] = &[
        (r#"{"choices":[{"index":0,"delta":{"content":"Hi"}}]}"#, true),
        (r#"{"choices":[{"delta":{"role":"assistant","content":"","refusal":null}}]}"#, false),
        (r#"{"choices":[{"delta":{"role":"assistant"}}]}"#, false),
        (r#"{"choices":[{"delta":{"content":null}}]}"#, false),
        (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, false),
        (r#"{"choices":[{"delta":{}},{"delta":{"content":"second"}}]}"#, true),
        (r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#, true),
        (r#"{"choices":[{"delta":{"reasoning":"hm","content":""}}]}"#, true),
        (r#"{"choices":[{"delta":{"refusal":"no"}}]}"#, true),
        (r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#, true),
        (r#"{"choices":[{"delta":{"tool_calls":[]}}]}"#, false),
        (r#"{"choices":[{"delta":{"function_call":{"name":"f"}}}]}"#, true),
        (r#"{"choices":[{"delta":{"audio":{"data":"x"}}}]}"#, true),
        (r#"{"choices":[{"delta":{"content":[{"type":"text","text":"Hi"}]}}]}"#, true),
        // Azure's first chunk.
        (r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[]}"#, false),
        (r#"{"choices":null}"#, false),
        (r#"{"choices":"content"}"#, false),
        (r#"{"object":"x","delta":{"content":"Hi"}}"#, false),
        ("nonsense", false),
        ("", false),
    ];

    #[test]
    fn a_comment_says_nothing() {
        let stream = b": OPENROUTER PROCESSING\n\ndata: {\"model\":\"m\"}\n\n";
        let events: Vec<_> = crate::sse::events(stream).collect();
        let mut look = Look::new(Dialect::OpenAi);
        let seen: Vec<_> = events.iter().map(|event| look.at(event)).collect();
        assert_eq!(seen[0], Seen::default());
        assert_eq!(seen[1].model.as_deref(), Some("m"));
    }

    #[test]
    fn a_chunk_that_is_not_json_is_never_one_to_leave_out() {
        let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}"#;
        assert!(look_at(format!(r#"{{"choices":[],{usage}}}"#).as_bytes()).usage_chunk);
        for broken in ["", "}}", ",}", "} x"] {
            assert!(!look_at(format!(r#"{{"choices":[],{usage}{broken}"#).as_bytes()).usage_chunk, "{broken}");
        }
    }

    #[test]
    fn only_a_piece_of_the_answer_is_content() {
        for (data, content) in CONTENT_CASES {
            assert_eq!(look_at(data.as_bytes()).content, *content, "{data}");
        }
    }

    #[test]
    fn a_usage_chunk_has_usage_and_no_choices() {
        let usage = r#"{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}"#;
        // Event, whether it says usage, whether it is the usage chunk.
        let cases = [
            (format!(r#"{{"choices":[],"usage":{usage}}}"#), true, true),
            (format!(r#"{{"usage":{usage},"choices":[ ]}}"#), true, true),
            (format!(r#"{{"choices":[{{"delta":{{}}}}],"usage":{usage}}}"#), true, false),
            (format!(r#"{{"usage":{usage}}}"#), true, false),
            (format!(r#"{{"choices":null,"usage":{usage}}}"#), true, false),
            (r#"{"choices":[],"usage":null}"#.to_owned(), false, false),
            (r#"{"choices":[]}"#.to_owned(), false, false),
            (r#"{"choices":[{"delta":{"content":"a"}}],"usage":null}"#.to_owned(), false, false),
            (format!(r#"{{"choices":[{{"delta":{{}}}}],"x_groq":{{"usage":{usage}}}}}"#), true, false),
            (format!(r#"{{"choices":[],"x_groq":{{"usage":{usage}}},"usage":{usage}}}"#), true, true),
            (r#"{"choices":[],"x_groq":{"id":"req"}}"#.to_owned(), false, false),
        ];
        for (data, has_usage, chunk) in cases {
            let seen = look_at(data.as_bytes());
            assert_eq!((seen.usage.is_some(), seen.usage_chunk), (has_usage, chunk), "{data}");
            assert!(seen.usage.is_none_or(|usage| usage.total_tokens == 3), "{data}");
        }
    }

    #[test]
    fn the_model_the_end_and_errors_are_seen() {
        assert_eq!(look_at(br#"{"model":"gpt-4o-2024","choices":[]}"#).model.as_deref(), Some("gpt-4o-2024"));
        assert_eq!(look_at(br#"{"model":"meta\/llama"}"#).model.as_deref(), Some("meta/llama"));
        assert_eq!(look_at(br#"{"model":""}"#).model, None);
        assert_eq!(look_at(br#"{"model":7}"#).model, None);
        for (data, done, error) in [
            ("[DONE]", true, false),
            (" [DONE] ", true, false),
            ("[DONE", false, false),
            (r#"{"error":{"message":"no","code":429}}"#, false, true),
            (r#"{"error":"no"}"#, false, true),
            (r#"{"error":null,"choices":[]}"#, false, false),
        ] {
            let seen = look_at(data.as_bytes());
            assert_eq!((seen.done, seen.error.is_some()), (done, error), "{data}");
        }
    }

    fn events(vendor: Dialect, data: &[&str]) -> (Look, Vec<Seen<'static>>) {
        let mut look = Look::new(vendor);
        let seen = data.iter().map(|data| {
            let event = Event { raw: b"", event: None, data: Some(data.as_bytes().into()) };
            let Seen { content, usage, usage_chunk, model, error, done } = look.at(&event);
            let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
            Seen { content, usage, usage_chunk, model: owned(model), error: owned(error), done }
        });
        let seen = seen.collect();
        (look, seen)
    }

    #[test]
    fn a_stream_of_anthropic_is_seen_as_it_passes() {
        let stream = [
            r#"{"type":"message_start","message":{"model":"claude-y","content":[],"usage":{"input_tokens":10,"cache_read_input_tokens":7,"output_tokens":1}}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":15}}"#,
            r#"{"type":"message_stop"}"#,
        ];
        let (look, seen) = events(Dialect::Anthropic, &stream);
        let content: Vec<bool> = seen.iter().map(|seen| seen.content).collect();
        assert_eq!(content, [false, false, false, true, false, true, false, true, false, false]);
        assert_eq!(seen[0].model.as_deref(), Some("claude-y"));
        let (usage, source) = look.usage();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens), (17, 15, 7));
        assert_eq!((source, look.is_finished()), (UsageSource::Provider, true));
        for cut in 1..stream.len() {
            let (look, _) = events(Dialect::Anthropic, &stream[..cut]);
            assert!(!look.is_finished(), "after {cut}");
            let wanted = if cut < 9 { UsageSource::Partial } else { UsageSource::Provider };
            assert_eq!(look.usage().1, wanted, "after {cut}");
        }
    }

    #[test]
    fn the_end_of_a_stream_is_known_in_either_language() {
        use Dialect::{Anthropic, OpenAi};
        let piece = r#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#;
        let other = r#"{"choices":[{"index":1,"delta":{"content":"Hi"},"finish_reason":null}]}"#;
        let stop = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let stop_other = r#"{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"#;
        let cases: [(Dialect, &[&str], bool); 10] = [
            (OpenAi, &[], false),
            (OpenAi, &[piece], false),
            (OpenAi, &[piece, stop], true),
            (OpenAi, &[piece, "[DONE]"], true),
            (OpenAi, &[piece, other, stop], false),
            (OpenAi, &[piece, other, stop, stop_other], true),
            (OpenAi, &[piece, r#"{"error":{"message":"no","code":429}}"#], true),
            (OpenAi, &[r#"{"choices":[{"index":900,"delta":{}}]}"#], false),
            (Anthropic, &[r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#], true),
            (Anthropic, &["[DONE]"], false),
        ];
        for (vendor, stream, finished) in cases {
            assert_eq!(events(vendor, stream).0.is_finished(), finished, "{stream:?}");
        }
    }

    #[test]
    fn an_error_is_named_by_the_vendors_word() {
        let cases = [
            (Dialect::OpenAi, r#"{"error":{"message":"no","type":"server_error","code":"oops"}}"#, "oops"),
            (Dialect::OpenAi, r#"{"error":{"message":"no","type":"server_error","code":null}}"#, "server_error"),
            (Dialect::OpenAi, r#"{"error":{"message":"no","code":502}}"#, "502"),
            (Dialect::OpenAi, r#"{"error":"no"}"#, ""),
            (Dialect::Anthropic, r#"{"type":"error","error":{"type":"overloaded_error"}}"#, "overloaded_error"),
        ];
        for (vendor, data, word) in cases {
            assert_eq!(events(vendor, &[data]).1[0].error.as_deref(), Some(word), "{data}");
        }
    }
}
