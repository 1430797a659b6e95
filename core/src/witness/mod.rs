//! What an answer says while it passes as it is, at whichever endpoint: whether an event brings a piece of it, what it
//! cost, which model made it, and whether it came to its end.
//!
//! A witness changes no byte and stops nothing. Of an event that isn't as expected nothing is noted.

mod responses;

use crate::dialect::{self, Look};
use crate::endpoint::Endpoint;
use crate::json::{Scratch, scan};
use crate::sse::Event;
use crate::tally::{Usage, UsageSource};

/// Stands beside one stream.
#[derive(Debug)]
pub struct Witness {
    gaze: Gaze,
    end: End,
    model: Option<Box<str>>,
}

/// What is looked for.
#[derive(Debug)]
enum Gaze {
    /// The pieces of a conversation or a text.
    Conversation(Look),
    /// The pieces of a response.
    Response(responses::Look),
    /// Nothing: no answer of this endpoint is a stream, so that whatever comes is no more than that.
    Nothing,
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There has to be more. A stream that stops here is torn, even if its connection was closed in order.
    Open,
    /// The model has stopped. More may follow, and needn't: not every vendor has a last event.
    Stopped,
    /// The last event was seen.
    Over,
    /// The vendor has said that it failed. Nothing else has to follow.
    Failed,
}

/// What one event was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// It brought a piece of the answer.
    pub content: bool,
    /// It is the usage chunk of a chat completion and nothing else.
    pub usage_chunk: bool,
}

impl Witness {
    /// Beside a stream that answers a request to `endpoint`.
    pub fn of(endpoint: Endpoint) -> Self {
        let (gaze, end) = match endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Messages => {
                (Gaze::Conversation(Look::new(endpoint.dialect())), End::Open)
            }
            Endpoint::Responses => (Gaze::Response(responses::Look::default()), End::Open),
            Endpoint::Embeddings | Endpoint::CountTokens => (Gaze::Nothing, End::Stopped),
        };
        Self { gaze, end, model: None }
    }

    /// Sees the next event.
    pub fn see(&mut self, event: &Event<'_>) -> Sight {
        let (sight, model, failed, done) = match &mut self.gaze {
            Gaze::Conversation(look) => {
                let seen = look.at(event);
                let sight = Sight { content: seen.content, usage_chunk: seen.usage_chunk };
                (sight, seen.model, seen.error.is_some(), seen.done)
            }
            Gaze::Response(look) => {
                let seen = look.at(event);
                (Sight { content: seen.content, usage_chunk: false }, seen.model, seen.failed, seen.done)
            }
            Gaze::Nothing => return Sight::default(),
        };
        if self.model.is_none() {
            self.model = model.map(Into::into);
        }
        self.end = match self.end {
            End::Failed => End::Failed,
            _ if failed => End::Failed,
            End::Over => End::Over,
            _ if done => End::Over,
            End::Open | End::Stopped if self.has_stopped() => End::Stopped,
            End::Open | End::Stopped => End::Open,
        };
        sight
    }

    fn has_stopped(&self) -> bool {
        match &self.gaze {
            Gaze::Conversation(look) => look.is_finished(),
            Gaze::Response(_) => false,
            Gaze::Nothing => true,
        }
    }

    /// How far the stream has come.
    pub const fn end(&self) -> End {
        self.end
    }

    /// The model as the vendor names it, once it has.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// What the vendor has said of usage up to now.
    pub fn usage(&self) -> (Usage, UsageSource) {
        match &self.gaze {
            Gaze::Conversation(look) => look.usage(),
            Gaze::Response(look) => match look.usage() {
                Some(usage) => (usage, UsageSource::Provider),
                None => (Usage::default(), UsageSource::None),
            },
            Gaze::Nothing => (Usage::default(), UsageSource::None),
        }
    }
}

/// Reads the `usage` object of a whole answer, as [`Watch`](crate::json::Watch) captured it; none if it isn't one.
pub fn usage(endpoint: Endpoint, object: &[u8]) -> Option<Usage> {
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Embeddings | Endpoint::Messages => {
            dialect::usage(endpoint.dialect(), object)
        }
        Endpoint::Responses => responses::read_usage(scan(object, &mut Scratch::default()).ok()?.value()),
        // What it says isn't what it costs: counting is free.
        Endpoint::CountTokens => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::events;

    /// Sees a whole stream; the number of its pieces of content, and the witness.
    fn seen(endpoint: Endpoint, stream: &str) -> (usize, Witness) {
        let mut witness = Witness::of(endpoint);
        let content = events(stream.as_bytes()).filter(|event| witness.see(event).content).count();
        (content, witness)
    }

    fn stream(events: &[&str]) -> String {
        events.iter().map(|data| format!("data: {data}\n\n")).collect()
    }

    const CHAT: [&str; 4] = [
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"model":"m-1"}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"Hi"}}],"model":"m-1"}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"model":"m-1"}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#,
    ];
    const TEXT: [&str; 2] =
        [r#"{"choices":[{"index":0,"text":"Hi"}]}"#, r#"{"choices":[{"index":0,"text":"","finish_reason":"length"}]}"#];
    const MESSAGE: [&str; 4] = [
        r#"{"type":"message_start","message":{"model":"c-1","usage":{"input_tokens":3,"output_tokens":1}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    const RESPONSE: [&str; 3] = [
        r#"{"type":"response.created","response":{"model":"r-1","usage":null}}"#,
        r#"{"type":"response.output_text.delta","delta":"Hi"}"#,
        r#"{"type":"response.completed","response":{"model":"r-1","usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}}"#,
    ];

    #[test]
    fn a_stream_is_at_its_end_when_it_says_so() {
        let error = r#"{"error":{"message":"no"}}"#;
        let failed = r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#;
        // Endpoint, its events, how far they have come.
        let cases = [
            (Endpoint::ChatCompletions, stream(&CHAT[..2]), End::Open),
            (Endpoint::ChatCompletions, stream(&CHAT[..3]), End::Stopped),
            (Endpoint::ChatCompletions, stream(&CHAT), End::Stopped),
            (Endpoint::ChatCompletions, stream(&[CHAT[2], "[DONE]"]), End::Over),
            (Endpoint::ChatCompletions, stream(&[CHAT[0], error]), End::Failed),
            (Endpoint::ChatCompletions, stream(&[error, "[DONE]"]), End::Failed),
            (Endpoint::ChatCompletions, ": nothing yet\n\n".to_owned(), End::Open),
            (Endpoint::Completions, stream(&TEXT[..1]), End::Open),
            (Endpoint::Completions, stream(&TEXT), End::Stopped),
            (Endpoint::Completions, stream(&[TEXT[1], "[DONE]"]), End::Over),
            (Endpoint::Messages, stream(&MESSAGE[..2]), End::Open),
            (Endpoint::Messages, stream(&MESSAGE[..3]), End::Open),
            (Endpoint::Messages, stream(&MESSAGE), End::Over),
            (Endpoint::Messages, stream(&[MESSAGE[0], failed]), End::Failed),
            (Endpoint::Responses, stream(&RESPONSE[..2]), End::Open),
            (Endpoint::Responses, stream(&RESPONSE), End::Over),
            (Endpoint::Responses, stream(&[RESPONSE[0], failed]), End::Failed),
            (Endpoint::Embeddings, stream(&["anything"]), End::Stopped),
            (Endpoint::CountTokens, String::new(), End::Stopped),
        ];
        for (endpoint, stream, end) in cases {
            assert_eq!(seen(endpoint, &stream).1.end(), end, "{endpoint:?}: {stream}");
        }
    }

    #[test]
    fn content_usage_and_model_are_seen_wherever_they_stand() {
        let said = Usage { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7, ..Usage::default() };
        let cases = [
            (Endpoint::ChatCompletions, stream(&CHAT), Some("m-1"), said, UsageSource::Provider),
            (Endpoint::Completions, stream(&TEXT), None, Usage::default(), UsageSource::None),
            (Endpoint::Messages, stream(&MESSAGE), Some("c-1"), said, UsageSource::Provider),
            (Endpoint::Responses, stream(&RESPONSE), Some("r-1"), said, UsageSource::Provider),
        ];
        for (endpoint, stream, model, usage, source) in cases {
            let (content, witness) = seen(endpoint, &stream);
            assert_eq!((content, witness.model(), witness.usage()), (1, model, (usage, source)), "{endpoint:?}");
        }
    }

    #[test]
    fn usage_is_read_in_the_words_of_each_endpoint() {
        let openai = br#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}"#;
        let embedding = br#"{"prompt_tokens":7,"total_tokens":7}"#;
        let anthropic = br#"{"input_tokens":3,"output_tokens":4}"#;
        let total = |endpoint, object: &[u8]| usage(endpoint, object).map(|usage| usage.total_tokens);
        assert_eq!(total(Endpoint::ChatCompletions, openai), Some(7));
        assert_eq!(total(Endpoint::Completions, openai), Some(7));
        assert_eq!(total(Endpoint::Embeddings, embedding), Some(7));
        assert_eq!(total(Endpoint::Messages, anthropic), Some(7));
        assert_eq!(total(Endpoint::Responses, anthropic), Some(7));
        assert_eq!(total(Endpoint::CountTokens, anthropic), None);
        for broken in [&b"null"[..], b"7", b"{", b"{}", b""] {
            assert_eq!(Endpoint::ALL.map(|endpoint| usage(endpoint, broken)), [None; 6]);
        }
    }
}
