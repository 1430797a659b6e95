//! What is known of the vendors' models, as far as a translation depends on it: data, not code.
//!
//! Claude's names carry their version, before the family's name or behind it (`claude-3-7-sonnet-20250219`,
//! `claude-sonnet-4-5-20250929`, `claude-opus-5`), and what a model takes depends on the version alone. Sources, read in
//! November 2026: docs.anthropic.com/en/docs/about-claude/models, …/build-with-claude/extended-thinking,
//! …/adaptive-thinking, …/effort, …/structured-outputs, and the notes on migrating to Opus 4.7;
//! platform.openai.com/docs/guides/reasoning and …/structured-outputs. A name that says no version is treated as the
//! plainest model that thinks: nothing newer is asked of it.

use super::chat::Effort;

/// What a model of Anthropic takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claude {
    /// How it is told to think.
    pub(super) thinking: ClaudeThinking,
    /// Whether it can be held to a JSON schema, answers and strict tools alike.
    pub(super) structured: bool,
    /// Which sampling parameters it takes.
    pub(super) sampling: Sampling,
}

/// How a model of Anthropic is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaudeThinking {
    /// It doesn't think.
    None,
    /// By a number of tokens.
    Budget,
    /// By an effort; it sees to the tokens itself.
    Adaptive {
        /// Whether it knows an effort between high and max.
        knows_xhigh: bool,
    },
}

/// Which sampling parameters a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampling {
    /// All of them.
    Any,
    /// `temperature` or `top_p`, not both.
    One,
    /// None.
    None,
}

/// From which version on, as major and minor, a model of Anthropic is what. The last line that applies counts.
const CLAUDES: [((u32, u32), Claude); 5] = [
    ((0, 0), Claude { thinking: ClaudeThinking::None, structured: false, sampling: Sampling::Any }),
    ((3, 7), Claude { thinking: ClaudeThinking::Budget, structured: false, sampling: Sampling::Any }),
    ((4, 1), Claude { thinking: ClaudeThinking::Budget, structured: false, sampling: Sampling::One }),
    ((4, 5), Claude { thinking: ClaudeThinking::Budget, structured: true, sampling: Sampling::One }),
    (
        (4, 6),
        Claude { thinking: ClaudeThinking::Adaptive { knows_xhigh: false }, structured: true, sampling: Sampling::One },
    ),
];

/// The newest line: from Opus 4.7 on.
const CLAUDE_4_7: Claude =
    Claude { thinking: ClaudeThinking::Adaptive { knows_xhigh: true }, structured: true, sampling: Sampling::None };

/// A model whose name says no version.
const CLAUDE_UNKNOWN: Claude = Claude { thinking: ClaudeThinking::Budget, structured: false, sampling: Sampling::Any };

/// What the model of this name takes.
pub(super) fn claude(model: &str) -> Claude {
    match version(model) {
        None => CLAUDE_UNKNOWN,
        Some(version) if version >= (4, 7) => CLAUDE_4_7,
        Some(version) => {
            let lines = CLAUDES.iter().rev();
            lines
                .map(|(from, claude)| (*from, *claude))
                .find(|(from, _)| version >= *from)
                .map_or(CLAUDES[0].1, |(_, claude)| claude)
        }
    }
}

/// The version that a name of Claude says: its first number, and the one behind it if there is one. A date is none.
fn version(model: &str) -> Option<(u32, u32)> {
    const DATE_DIGITS: usize = 6;
    let (_, rest) = model.split_once("claude-")?;
    let mut words = rest.split(['-', '.', '@', ':']);
    let number = |word: &str| word.parse().ok().filter(|_| word.len() < DATE_DIGITS);
    let major = words.by_ref().find_map(number)?;
    Some((major, words.next().and_then(number).unwrap_or(0)))
}

/// What a model of OpenAI takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gpt {
    /// Whether it thinks before it answers, and can be told how hard. It then takes no sampling parameters.
    pub(super) reasons: bool,
    /// Whether it can be held to a JSON schema.
    pub(super) structured: bool,
}

/// What names of OpenAI's models begin with, and what those models are. The first line that applies counts.
const GPTS: [(&str, Gpt); 12] = [
    ("o1-preview", Gpt { reasons: true, structured: false }),
    ("o1-mini", Gpt { reasons: true, structured: false }),
    ("o1", Gpt { reasons: true, structured: true }),
    ("o3", Gpt { reasons: true, structured: true }),
    ("o4", Gpt { reasons: true, structured: true }),
    ("gpt-5-chat", Gpt { reasons: false, structured: true }),
    ("gpt-5", Gpt { reasons: true, structured: true }),
    ("gpt-3.5", Gpt { reasons: false, structured: false }),
    ("gpt-4o-2024-05-13", Gpt { reasons: false, structured: false }),
    ("gpt-4o", Gpt { reasons: false, structured: true }),
    ("gpt-4.", Gpt { reasons: false, structured: true }),
    ("gpt-4", Gpt { reasons: false, structured: false }),
];

/// A model of OpenAI that isn't listed: a newer one.
const GPT_UNKNOWN: Gpt = Gpt { reasons: false, structured: true };

/// What the model of this name takes, at OpenAI. A fine-tuned one is what it was made of.
pub(super) fn gpt(model: &str) -> Gpt {
    let model = model.strip_prefix("ft:").unwrap_or(model);
    GPTS.iter().find(|(prefix, _)| model.starts_with(prefix)).map_or(GPT_UNKNOWN, |(_, gpt)| *gpt)
}

/// How many tokens an effort is worth to a model that is told to think by a number of them, least effort first. Ours: the
/// vendors name none. The highest leaves room for an answer within the 32,000 tokens that Opus 4 may say at most.
const EFFORT_BUDGETS: [(Effort, u64); 6] = [
    (Effort::Minimal, 1_024),
    (Effort::Low, 2_048),
    (Effort::Medium, 8_192),
    (Effort::High, 16_384),
    (Effort::ExtraHigh, 24_576),
    (Effort::Max, 24_576),
];

/// Tokens to think with, for an effort.
pub(super) fn budget_of(effort: Effort) -> u64 {
    EFFORT_BUDGETS.iter().find(|(each, _)| *each == effort).map_or(0, |(_, tokens)| *tokens)
}

/// The effort for a number of tokens: of those that every model that reasons knows, the highest that is worth no more.
pub(super) fn effort_of(tokens: u64) -> Effort {
    match tokens {
        ..8_192 => Effort::Low,
        8_192..16_384 => Effort::Medium,
        16_384.. => Effort::High,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_wherever_the_name_says_it() {
        let cases = [
            ("claude-3-7-sonnet-20250219", Some((3, 7))),
            ("claude-3-haiku-20240307", Some((3, 0))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("claude-opus-4-1-20250805", Some((4, 1))),
            ("claude-haiku-4-5", Some((4, 5))),
            ("claude-opus-5", Some((5, 0))),
            ("claude-fable-5-2", Some((5, 2))),
            ("anthropic/claude-sonnet-4.5", Some((4, 5))),
            ("us.anthropic.claude-opus-4-6-v1:0", Some((4, 6))),
            ("claude-2.1", Some((2, 1))),
            ("claude-instant-1.2", Some((1, 2))),
            ("claude-mythos-preview", None),
            ("claude-x", None),
            ("my-model", None),
        ];
        for (model, wanted) in cases {
            assert_eq!(version(model), wanted, "{model}");
        }
    }

    #[test]
    fn an_effort_that_was_made_tokens_is_made_that_effort_again() {
        for effort in [Effort::Low, Effort::Medium, Effort::High] {
            assert_eq!(effort_of(budget_of(effort)), effort);
        }
        assert_eq!((effort_of(1_024), effort_of(64_000)), (Effort::Low, Effort::High));
    }

    #[test]
    fn what_a_model_takes_follows_from_its_name() {
        use ClaudeThinking::{Adaptive, Budget};
        let cases = [
            ("claude-3-5-haiku-20241022", ClaudeThinking::None, false, Sampling::Any),
            ("claude-3-7-sonnet-latest", Budget, false, Sampling::Any),
            ("claude-sonnet-4-20250514", Budget, false, Sampling::Any),
            ("claude-opus-4-1", Budget, false, Sampling::One),
            ("claude-haiku-4-5-20251001", Budget, true, Sampling::One),
            ("claude-sonnet-4-6", Adaptive { knows_xhigh: false }, true, Sampling::One),
            ("claude-opus-4-7", Adaptive { knows_xhigh: true }, true, Sampling::None),
            ("claude-haiku-5-5", Adaptive { knows_xhigh: true }, true, Sampling::None),
            ("a-proxy's-name", Budget, false, Sampling::Any),
        ];
        for (model, thinking, structured, sampling) in cases {
            assert_eq!(claude(model), Claude { thinking, structured, sampling }, "{model}");
        }
        let cases = [
            ("gpt-4o", false, true),
            ("gpt-4-turbo", false, false),
            ("gpt-4.1-mini", false, true),
            ("gpt-3.5-turbo", false, false),
            ("o3-mini", true, true),
            ("gpt-5.1", true, true),
            ("gpt-5-chat-latest", false, true),
            ("ft:gpt-4o-mini-2024-07-18:org::id", false, true),
            ("gpt-9", false, true),
        ];
        for (model, reasons, structured) in cases {
            assert_eq!(gpt(model), Gpt { reasons, structured }, "{model}");
        }
    }
}
