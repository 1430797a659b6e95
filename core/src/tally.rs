//! Tokens of one exchange, as the vendor counts them.
//!
//! Money is counted in [`cost`](crate::cost).

use crate::json::Value;

/// Tokens used by one exchange. Zero where nothing is known; never "unknown" per field, see [`UsageSource`].
///
/// The names are OpenAI's. For a vendor that counts cached input apart (Anthropic), `prompt_tokens` is the whole
/// input: fresh, read from cache and written to cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All tokens of the input.
    pub prompt_tokens: u64,
    /// All tokens of the output, reasoning included.
    pub completion_tokens: u64,
    /// What the vendor says the total is; their sum where it says nothing.
    pub total_tokens: u64,
    /// Part of `prompt_tokens` that was read from a cache.
    pub cached_tokens: u64,
    /// Part of `prompt_tokens` that was written to a cache.
    pub cache_write_tokens: u64,
    /// Part of `cache_write_tokens` that stays in the cache for an hour; the rest does for five minutes.
    pub cache_write_1h_tokens: u64,
    /// Part of `completion_tokens` that was spent on reasoning.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// What an answer that was cut off has cost at least, of what the vendor had said of it until then; or one of which
    /// the vendor says nothing.
    ///
    /// `content_events` is how many events of its stream brought a piece of the answer: each piece is at least one token,
    /// for vendors send none before it is whole. `prompt_words` is [`words`] of the request. Nothing is lowered, so a
    /// vendor's own count of what was written to a cache stays; where the vendor had said nothing, what comes of it is an
    /// estimate.
    #[must_use]
    pub fn at_least(self, source: UsageSource, prompt_words: u64, content_events: u64) -> (Self, UsageSource) {
        if source == UsageSource::Provider || content_events == 0 {
            return (self, source);
        }
        let mut usage = self;
        // A vendor that has counted the prompt has counted it rightly.
        if usage.prompt_tokens == 0 {
            usage.prompt_tokens = prompt_words;
        }
        usage.completion_tokens = usage.completion_tokens.max(content_events);
        usage.total_tokens = usage.total_tokens.max(usage.prompt_tokens.saturating_add(usage.completion_tokens));
        let source = if source == UsageSource::None { UsageSource::Estimated } else { source };
        (usage, source)
    }
}

/// How many words there are in the strings beneath `value`, a request's messages for example: runs of what is not white
/// space. No tokenizer in use joins two words in one token, so it is a lower bound of the tokens.
pub fn words(value: Value<'_>) -> u64 {
    value.strings().filter_map(Value::to_str).map(|text| text.split_ascii_whitespace().count() as u64).sum()
}

/// Where a [`Usage`] comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageSource {
    /// The vendor's final word.
    Provider,
    /// What the vendor had said when the answer was cut off, raised to what had come of it by then.
    Partial,
    /// The answer was cut off before the vendor had said anything, or was translated and the vendor says nothing of it at
    /// all: a lower bound that we counted, see [`Usage::at_least`].
    Estimated,
    /// Nothing is known; every count is zero.
    #[default]
    None,
}

impl UsageSource {
    /// The word in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Partial => "partial",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Scratch, scan};

    const SAID: Usage = Usage {
        prompt_tokens: 25,
        completion_tokens: 1,
        total_tokens: 26,
        cached_tokens: 7,
        cache_write_tokens: 0,
        cache_write_1h_tokens: 0,
        reasoning_tokens: 0,
    };

    #[test]
    fn what_was_cut_off_is_never_counted_as_nothing() {
        let nothing = Usage::default();
        let counted = Usage { prompt_tokens: 9, completion_tokens: 40, total_tokens: 49, ..nothing };
        let raised = Usage { completion_tokens: 40, total_tokens: 65, ..SAID };
        // Said, source, events of content, and what comes of it.
        let cases = [
            (nothing, UsageSource::None, 0, nothing, UsageSource::None),
            (nothing, UsageSource::None, 40, counted, UsageSource::Estimated),
            (SAID, UsageSource::Partial, 1, SAID, UsageSource::Partial),
            (SAID, UsageSource::Partial, 40, raised, UsageSource::Partial),
            (SAID, UsageSource::Provider, 40, SAID, UsageSource::Provider),
        ];
        for (said, source, events, usage, wanted) in cases {
            assert_eq!(said.at_least(source, 9, events), (usage, wanted), "{said:?} {source:?} {events}");
        }
    }

    #[test]
    fn words_are_counted_in_values_and_not_in_names() {
        let text = br#"{"messages":[{"role":"user","content":"one  two\nthree\t"},{"content":[{"text":"four"}]}]}"#;
        let mut scratch = Scratch::default();
        let body = scan(text, &mut scratch).unwrap();
        assert_eq!(words(body.get("messages").unwrap()), 5);
    }
}
