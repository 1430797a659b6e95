//! Where things are in a JSON text (RFC 8259).
//!
//! [`scan`] checks a whole text, strictly, and says where the fields of its top-level object lie. [`Value`] walks
//! on from there, on demand, in a text that was checked. [`escape_into`] prints a string. [`Watch`] picks single
//! fields out of an answer that passes by in pieces, and leaves the judging to whoever reads them; a [`Cursor`] goes
//! through one that is there as a whole.
//!
//! Nothing here builds a tree, copies a value or prints a number again: who passes a body on with one field changed
//! needs to know where that field is, and everything else stays as the client wrote it.
//!
//! What is refused beyond the grammar, since a vendor might read it in another way than we do: a key that an object
//! has twice (two readers may take different ones, and a policy would judge the wrong one), a lone surrogate (it is
//! no character, so no two libraries agree on its replacement), a byte order mark, nesting beyond
//! [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX). Numbers may have any size: they are passed on, not computed.

mod cursor;
#[cfg(test)]
mod differential;
mod escape;
mod scan;
mod value;
mod watch;

pub use cursor::Cursor;
pub use escape::escape_into;
pub(crate) use escape::{plain_len, unescape};
pub use scan::{Field, JsonFault, Object, Problem, Scratch, scan};
pub use value::{Fields, Items, Strings, Value};
pub use watch::{Watch, pick};

/// A piece of a text, from the byte `start` to before the byte `end`. Texts are shorter than 4 GiB.
///
/// The span of a string or of a field's name has its quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset of the byte after the last.
    pub end: u32,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number of any size.
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

impl Span {
    /// Both offsets come out of a text that [`scan`] took, or are cut to 32 bits.
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// Length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "only the span of an insertion is empty, and nobody asks")]
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// The bytes of `text` that lie here; none where the span lies outside of the text.
    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}
