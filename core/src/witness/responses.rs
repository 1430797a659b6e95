//! OpenAI's responses while they pass as they are (platform.openai.com/docs/api-reference/responses-streaming, read in
//! November 2026). Only what the decision log wants is read.

use std::borrow::Cow;

use crate::json::{Kind, Span, Value};
use crate::sse::Event;
use crate::tally::Usage;

/// Looks at the events of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    usage: Option<Usage>,
}

/// What one event says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen<'a> {
    /// It brings a piece of the answer.
    pub(super) content: bool,
    /// The model as the vendor names it.
    pub(super) model: Option<Cow<'a, str>>,
    /// The vendor says that it failed.
    pub(super) failed: bool,
    /// It is the last event.
    pub(super) done: bool,
}

impl Look {
    /// Looks at the next event. As with chat completions, the text is walked without being checked first.
    pub(super) fn at<'e>(&mut self, event: &'e Event<'_>) -> Seen<'e> {
        let data = event.data.as_deref().unwrap_or_default().trim_ascii();
        let mut seen = Seen::default();
        let mut kind: &[u8] = b"";
        let mut has_delta = false;
        for (name, value) in Value::at(data, Span::new(0, data.len())).fields() {
            match name.raw() {
                b"\"type\"" => kind = value.raw(),
                b"\"delta\"" => has_delta = value.kind() == Kind::String && value.raw().len() > 2,
                b"\"response\"" => {
                    seen.model = value.get("model").and_then(Value::to_str).filter(|model| !model.is_empty());
                    self.usage = value.get("usage").and_then(read_usage).or(self.usage);
                }
                // Fields of the event that aren't wanted: numbers, indices, whole items.
                _ => {}
            }
        }
        // Text, reasoning, refusals, arguments of calls, sound: the type of each ends so.
        seen.content = has_delta && kind.ends_with(b".delta\"");
        seen.failed = matches!(kind, b"\"error\"" | b"\"response.failed\"");
        seen.done = matches!(kind, b"\"response.completed\"" | b"\"response.incomplete\"") || data == b"[DONE]";
        seen
    }

    /// What the vendor has said of usage.
    pub(super) const fn usage(&self) -> Option<Usage> {
        self.usage
    }
}

/// Reads a `usage` object; none if it isn't one.
pub(super) fn read_usage(object: Value<'_>) -> Option<Usage> {
    let count = |path: &[&str]| object.path(path).and_then(Value::to_u64);
    let prompt_tokens = count(&["input_tokens"])?;
    let completion_tokens = count(&["output_tokens"]).unwrap_or_default();
    Some(Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: count(&["total_tokens"]).unwrap_or(prompt_tokens.saturating_add(completion_tokens)),
        cached_tokens: count(&["input_tokens_details", "cached_tokens"]).unwrap_or_default(),
        cache_write_tokens: 0,
        cache_write_1h_tokens: 0,
        reasoning_tokens: count(&["output_tokens_details", "reasoning_tokens"]).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Scratch, scan};
    use crate::sse::events;

    #[test]
    fn an_event_is_known_by_its_type() {
        // Event, content, failed, done.
        let cases = [
            (r#"{"type":"response.output_text.delta","delta":"Hi","logprobs":[]}"#, true, false, false),
            (r#"{"delta":"{\"a","type":"response.function_call_arguments.delta"}"#, true, false, false),
            (r#"{"type":"response.reasoning_summary_text.delta","delta":"hm"}"#, true, false, false),
            (r#"{"type":"response.output_text.delta","delta":""}"#, false, false, false),
            (r#"{"type":"response.output_text.done","text":"Hi"}"#, false, false, false),
            (r#"{"type":"response.failed","response":{"error":{"code":"server_error"}}}"#, false, true, false),
            (r#"{"type":"error","code":null,"message":"no","param":null}"#, false, true, false),
            (r#"{"type":"response.incomplete","response":{}}"#, false, false, true),
            (r#"{"type":"response.completed","response":{}}"#, false, false, true),
            ("[DONE]", false, false, true),
            ("nonsense", false, false, false),
            ("", false, false, false),
        ];
        for (data, content, failed, done) in cases {
            let text = format!("event: x\ndata: {data}\n\n");
            let event = events(text.as_bytes()).next().unwrap();
            let seen = Look::default().at(&event);
            assert_eq!((seen.content, seen.failed, seen.done), (content, failed, done), "{data}");
        }
    }

    #[test]
    fn every_count_is_read() {
        let text = br#"{"input_tokens":36,"input_tokens_details":{"cached_tokens":30},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}"#;
        let wanted = Usage {
            prompt_tokens: 36,
            completion_tokens: 87,
            total_tokens: 123,
            cached_tokens: 30,
            cache_write_tokens: 0,
            cache_write_1h_tokens: 0,
            reasoning_tokens: 64,
        };
        assert_eq!(read_usage(scan(text, &mut Scratch::default()).unwrap().value()), Some(wanted));
    }
}
