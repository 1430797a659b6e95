//! The vendors' languages, and what passes between client and vendor.

/// A vendor's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Chat completions, as OpenAI speaks them.
    OpenAi,
    /// Messages, as Anthropic speaks them.
    Anthropic,
}
