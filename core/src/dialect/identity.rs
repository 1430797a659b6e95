//! What an OpenAI answer says while it passes as it is.
//!
//! Nothing here changes a byte or stops an answer: whatever isn't as expected is not noted, and passes. A whole answer
//! is read with [`json::Watch`](crate::json::Watch), and its `usage` with [`usage`](super::usage).

use std::borrow::Cow;

use super::openai;
use crate::json::{Kind, Scratch, Value, scan};
use crate::sse::Event;
use crate::tally::Usage;

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
    /// The model as the vendor names it; Azure's first chunk names none.
    pub model: Option<Cow<'a, str>>,
    /// The vendor says that it failed. Groq and OpenRouter do so under a status of 200.
    pub error: bool,
    /// It is `[DONE]`.
    pub done: bool,
}

/// Looks at the events of one stream after another; its memory is used again.
#[derive(Debug, Default)]
pub struct Onlooker {
    scratch: Scratch,
}

/// The fields of a delta that are the answer itself. OpenAI's are documented; `reasoning_content` is DeepSeek's word,
/// also of xAI and Mistral's hosts, `reasoning` that of OpenRouter and Groq.
const CONTENT: [&str; 7] =
    ["content", "reasoning_content", "reasoning", "tool_calls", "refusal", "function_call", "audio"];

impl Onlooker {
    /// Looks at one event. A comment, or what is not a JSON object, says nothing.
    pub fn look<'e>(&mut self, event: &'e Event<'_>) -> Seen<'e> {
        event.data.as_deref().map_or_else(Seen::default, |data| self.look_at(data))
    }

    fn look_at<'a>(&mut self, data: &'a [u8]) -> Seen<'a> {
        if data.trim_ascii() == b"[DONE]" {
            return Seen { done: true, ..Seen::default() };
        }
        let Ok(chunk) = scan(data, &mut self.scratch) else { return Seen::default() };
        let mut seen = Seen::default();
        let mut no_choices = false;
        for field in chunk.fields() {
            let value = Value::at(data, field.value);
            match Value::at(data, field.name).to_str().as_deref() {
                Some("choices") => {
                    no_choices = field.kind == Kind::Array && is_blank(value);
                    seen.content = value.items().any(|choice| choice.get("delta").is_some_and(brings_content));
                }
                Some("usage") => seen.usage = openai::read_usage(value).or(seen.usage),
                // Groq says it here, whether or not it was asked.
                Some("x_groq") => seen.usage = seen.usage.or_else(|| openai::read_usage(value.get("usage")?)),
                Some("model") => seen.model = value.to_str().filter(|model| !model.is_empty()),
                Some("error") => seen.error = !value.is_null(),
                Some(_) | None => {}
            }
        }
        seen.usage_chunk = no_choices && chunk.get("usage").is_some_and(|usage| usage.kind() == Kind::Object);
        seen
    }
}

fn brings_content(delta: Value<'_>) -> bool {
    delta.fields().any(|(name, value)| CONTENT.iter().any(|content| name.is(content)) && !is_blank(value))
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
        (r#"{"choices":[{"delta":{"cont\u0065nt":"Hi"}}]}"#, true),
        // Azure's first chunk.
        (r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[]}"#, false),
        (r#"{"choices":null}"#, false),
        (r#"{"choices":"content"}"#, false),
        (r#"{"object":"x","delta":{"content":"Hi"}}"#, false),
        ("nonsense", false),
        ("", false),
    ];

    #[test]
    fn only_a_piece_of_the_answer_is_content() {
        let mut onlooker = Onlooker::default();
        for (data, content) in CONTENT_CASES {
            assert_eq!(onlooker.look_at(data.as_bytes()).content, *content, "{data}");
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
        let mut onlooker = Onlooker::default();
        for (data, has_usage, chunk) in cases {
            let seen = onlooker.look_at(data.as_bytes());
            assert_eq!((seen.usage.is_some(), seen.usage_chunk), (has_usage, chunk), "{data}");
            assert!(seen.usage.is_none_or(|usage| usage.total_tokens == 3), "{data}");
        }
    }

    #[test]
    fn the_model_the_end_and_errors_are_seen() {
        let mut onlooker = Onlooker::default();
        assert_eq!(onlooker.look_at(br#"{"model":"gpt-4o-2024","choices":[]}"#).model.as_deref(), Some("gpt-4o-2024"));
        assert_eq!(onlooker.look_at(br#"{"model":"meta\/llama"}"#).model.as_deref(), Some("meta/llama"));
        assert_eq!(onlooker.look_at(br#"{"model":""}"#).model, None);
        assert_eq!(onlooker.look_at(br#"{"model":7}"#).model, None);
        for (data, done, error) in [
            ("[DONE]", true, false),
            (" [DONE] ", true, false),
            ("[DONE", false, false),
            (r#"{"error":{"message":"no","code":429}}"#, false, true),
            (r#"{"error":"no"}"#, false, true),
            (r#"{"error":null,"choices":[]}"#, false, false),
        ] {
            let seen = onlooker.look_at(data.as_bytes());
            assert_eq!((seen.done, seen.error), (done, error), "{data}");
        }
    }
}
