//! Where in a JSON text one is, so that a complaint can name the field: `messages[2].content[0].type`.
//!
//! A path is a chain on the stack and is spelled out only when something is wrong: walking costs nothing.

use std::fmt;

use crate::fault::{Fault, Kind, Phase};

/// One step of the way, with the way that leads to it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    /// The whole text.
    Root,
    /// A field of an object.
    Field(&'a Path<'a>, &'a str),
    /// An item of a list, from 0.
    Item(&'a Path<'a>, usize),
}

/// Longest key or value of a client that is repeated in a complaint. Real field names are shorter.
const SHOWN_BYTES_MAX: usize = 64;

impl<'a> Path<'a> {
    /// The field `key` of the object here.
    pub(super) const fn field(&'a self, key: &'a str) -> Self {
        Self::Field(self, key)
    }

    /// The item `index` of the list here.
    pub(super) const fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }

    /// The client's body has something else here than `want`.
    pub(super) fn invalid(&self, want: &str) -> Fault {
        Fault::with(Kind::InvalidField, Phase::Body, format!("{self} must be {want}"))
    }

    /// What the client's body has here can't be said to the vendor.
    pub(super) fn refused(&self, why: impl fmt::Display) -> Fault {
        Fault::with(Kind::NotExpressible, Phase::Body, format!("{self} {why}"))
    }

    /// The vendor's answer has something here that we don't know.
    pub(super) fn strange(&self, why: impl fmt::Display) -> Fault {
        Fault::with(Kind::AnswerNotUnderstood, Phase::Stream, format!("{self} {why}"))
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the body"),
            Self::Field(Path::Root, key) => f.write_str(shown(key)),
            Self::Field(parent, key) => write!(f, "{parent}.{}", shown(key)),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A key or an enumerated value as it may stand in a complaint: a plain short word as it is, anything else (which could
/// be a piece of a prompt in the wrong place) as an ellipsis.
pub(super) fn shown(word: &str) -> &str {
    let plain = !word.is_empty()
        && word.len() <= SHOWN_BYTES_MAX
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if plain { word } else { "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_people_write_it() {
        let root = Path::Root;
        let messages = root.field("messages");
        let message = messages.item(2);
        let content = message.field("content");
        let part = content.item(0);
        assert_eq!(part.field("type").to_string(), "messages[2].content[0].type");
        assert_eq!(root.to_string(), "the body");
    }

    #[test]
    fn a_key_that_could_be_text_is_not_repeated() {
        let long = "x".repeat(SHOWN_BYTES_MAX + 1);
        for key in ["my secret", "a\"b", "", "ü", long.as_str()] {
            assert_eq!(Path::Root.field(key).to_string(), "…");
        }
        assert_eq!(Path::Root.field("top_p").to_string(), "top_p");
    }
}
