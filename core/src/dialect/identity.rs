//! What an OpenAI answer says while it passes as it is.
//!
//! Nothing here changes a byte or stops an answer: whatever isn't as expected is not noted, and passes. A whole answer
//! is read with [`json::Watch`](crate::json::Watch), and its `usage` with [`usage`](super::usage).

use std::borrow::Cow;

use super::openai;
use crate::json::{Kind, Scratch, Span, Value, scan};
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

/// The fields of a delta that are the answer itself, as they stand in a text. OpenAI's are documented;
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

/// Looks at one event of a stream. A comment, or what is not a JSON object, says nothing.
///
/// The text is walked without being checked first: whatever it is, it passes, and the check would take longer than all
/// the rest. Names are compared as they are written, since no vendor escapes a name.
pub fn look<'e>(event: &'e Event<'_>) -> Seen<'e> {
    event.data.as_deref().map_or_else(Seen::default, look_at)
}

fn look_at(data: &[u8]) -> Seen<'_> {
    let data = data.trim_ascii();
    let mut seen = Seen { done: data == b"[DONE]", ..Seen::default() };
    let mut no_choices = false;
    let mut has_usage = false;
    for (name, value) in Value::at(data, Span::new(0, data.len())).fields() {
        match name.raw() {
            b"\"choices\"" => {
                no_choices = value.kind() == Kind::Array && is_blank(value);
                seen.content = value.items().any(brings_content);
            }
            b"\"usage\"" if value.kind() == Kind::Object => {
                has_usage = true;
                seen.usage = openai::read_usage(value);
            }
            // Groq says it here, whether or not it was asked.
            b"\"x_groq\"" if !has_usage => seen.usage = value.get("usage").and_then(openai::read_usage),
            b"\"model\"" => seen.model = value.to_str().filter(|model| !model.is_empty()),
            b"\"error\"" => seen.error = !value.is_null(),
            _ => {}
        }
    }
    // An event that may be left out has to be what it seems.
    seen.usage_chunk = no_choices && has_usage && scan(data, &mut Scratch::default()).is_ok();
    seen
}

/// The delta of a choice, once per event.
fn brings_content(choice: Value<'_>) -> bool {
    let mut fields = choice.fields();
    let delta = fields.find(|(name, _)| name.raw() == b"\"delta\"");
    delta
        .is_some_and(|(_, delta)| delta.fields().any(|(name, value)| CONTENT.contains(&name.raw()) && !is_blank(value)))
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
        let seen: Vec<_> = events.iter().map(look).collect();
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
            assert_eq!((seen.done, seen.error), (done, error), "{data}");
        }
    }
}
