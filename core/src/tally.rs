//! Tokens of one exchange, as the vendor counts them.
//!
//! Money is not counted here yet: a price is a decision of the config.

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
    /// Part of `completion_tokens` that was spent on reasoning.
    pub reasoning_tokens: u64,
}

/// Where a [`Usage`] comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageSource {
    /// The vendor's final word.
    Provider,
    /// What the vendor had said when the answer was cut off.
    Partial,
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
            Self::None => "none",
        }
    }
}
