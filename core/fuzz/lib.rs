//! What the targets share: see `targets/`, one file per question, and `seeds.rs` for what they start from.
//!
//! Where a target asks whether a split matters, the first byte of its input is the size of the pieces that the rest
//! comes in.

#[path = "../tests/http1/play.rs"]
pub mod play;

use kt_core::json::{Scratch, scan};
use kt_core::limits::Limits;

/// The text, and the pieces that it comes in.
pub fn pieces(input: &[u8]) -> Option<(&[u8], impl Iterator<Item = &[u8]>)> {
    let (&size, text) = input.split_first()?;
    Some((text, text.chunks(usize::from(size).max(1))))
}

/// Bounds that short inputs reach.
pub fn tight() -> Limits {
    Limits { head_bytes_max: 280, head_fields_max: 8, body_bytes_max: 1_000, ..Limits::default() }
}

/// Whether `text` is a JSON object, to us and to simd-json.
pub fn is_object(text: &[u8]) -> bool {
    scan(text, &mut Scratch::default()).is_ok() && simd_json::to_tape(&mut text.to_vec()).is_ok()
}
