//! Every text of a JSON value, in slices: string values in the order of the body, unescaped on the way.

use std::ops::Range;

use super::content::{Knowledge, Scan};
use crate::json::{Strings, Value, plain_len, unescape};
use crate::limits::POLICY_SLICE_BYTES;

/// The texts of a value.
#[derive(Debug, Default)]
pub(super) struct Texts<'a> {
    body: &'a [u8],
    strings: Option<Strings<'a>>,
    /// What is left of the string being read, as it stands between the quotes.
    rest: &'a [u8],
}

/// Names of fields whose values say how a text is to be taken, and are none.
const STRUCTURE: [&[u8]; 8] =
    [b"type", b"role", b"id", b"tool_call_id", b"tool_use_id", b"call_id", b"model", b"media_type"];

impl<'a> Texts<'a> {
    /// Those of `value`, which lies in `body`.
    pub(super) fn of(body: &'a [u8], value: Value<'a>) -> Self {
        Self { body, strings: Some(value.strings()), rest: b"" }
    }

    /// Reads on for a slice; whether everything has been read.
    pub(super) fn advance(&mut self, known: &Knowledge, scan: &mut Scan) -> bool {
        let mut budget = POLICY_SLICE_BYTES;
        loop {
            if self.rest.is_empty() && !self.next_string(known, scan) {
                return true;
            }
            let taken = push_some(self.rest, budget, known, scan);
            self.rest = &self.rest[taken..];
            budget = budget.saturating_sub(taken.max(1));
            if budget == 0 {
                return false;
            }
        }
    }

    /// Goes to the next string that is text; whether there is one.
    fn next_string(&mut self, known: &Knowledge, scan: &mut Scan) -> bool {
        let Some(strings) = &mut self.strings else { return false };
        for string in strings {
            let [b'"', inside @ .., b'"'] = string.raw() else { continue };
            let name = name_before(self.body, string.span().start as usize);
            if !is_said(name, inside) {
                // One word, apart from the text around it: it cannot say much, but it shall not hide a slur.
                scan.aside(inside, known);
                if name == b"role" {
                    scan.break_off(known);
                }
            } else if !is_encoded(inside) {
                scan.part(known);
                self.rest = inside;
                if !inside.is_empty() {
                    return true;
                }
            }
        }
        false
    }
}

/// Whether a value is text, and doesn't only say how text is to be taken.
pub(super) fn is_said(name: &[u8], inside: &[u8]) -> bool {
    !(STRUCTURE.contains(&name) && is_word(inside))
}

/// Every string value at or beneath `value`, which lies in `body`: the name of its field, and what stands between its
/// quotes.
pub(super) fn each_string<'a>(body: &'a [u8], value: Value<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    value.strings().filter_map(move |string| {
        let [b'"', inside @ .., b'"'] = string.raw() else { return None };
        Some((name_before(body, string.span().start as usize), inside))
    })
}

/// Calls `say` with what `inside` stands for, in pieces, and with the bytes of it that say so.
pub(super) fn push_all(inside: &[u8], say: &mut impl FnMut(&str, Range<usize>)) {
    let mut at = 0;
    while at < inside.len() {
        let end = at + plain_len(&inside[at..]);
        say(std::str::from_utf8(&inside[at..end]).unwrap_or_default(), at..end);
        at = end;
        if at < inside.len() {
            let (c, len) = character(&inside[at..]);
            say(c.encode_utf8(&mut [0; 4]), at..at + len);
            at += len;
        }
    }
}

/// What isn't plain at the start of `inside`: an escape, or what no checked string has, which stands for nothing.
fn character(inside: &[u8]) -> (char, usize) {
    let len = match inside {
        [b'\\', b'u', ..] => 6,
        [b'\\', ..] => 2,
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    unescape(inside).unwrap_or((char::REPLACEMENT_CHARACTER, len.min(inside.len())))
}

/// Pushes what `inside` stands for, up to about `budget` bytes of it; how many bytes of it were read.
fn push_some(inside: &[u8], budget: usize, known: &Knowledge, scan: &mut Scan) -> usize {
    let mut at = 0;
    while at < inside.len() && at < budget {
        let plain = plain_len(&inside[at..]);
        let mut end = at + plain.min(budget);
        while inside.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end += 1;
        }
        // A checked text is UTF-8, and cut at a character.
        scan.push(std::str::from_utf8(&inside[at..end]).unwrap_or_default(), known);
        at = end;
        if inside.get(at) == Some(&b'\\') {
            let (c, len) = character(&inside[at..]);
            scan.push(c.encode_utf8(&mut [0; 4]), known);
            at += len;
        } else if end == at && plain == 0 {
            // No checked string has a quote or a control in it.
            at += 1;
        }
    }
    at
}

/// The name of the field whose value starts at `start`; nothing where it is none, or has escapes.
fn name_before(body: &[u8], start: usize) -> &[u8] {
    let before = body.get(..start).unwrap_or_default().trim_ascii_end();
    let Some(name) = before.strip_suffix(b":").map(<[u8]>::trim_ascii_end).and_then(|name| name.strip_suffix(b"\""))
    else {
        return b"";
    };
    memchr::memrchr(b'"', name).map_or(b"", |quote| &name[quote + 1..])
}

/// Whether a value is a single short word.
fn is_word(inside: &[u8]) -> bool {
    inside.len() <= 64 && !inside.iter().any(|byte| byte.is_ascii_whitespace() || *byte == b'\\')
}

/// Whether a value is an image or a file in base64, which nobody reads as text.
pub(super) fn is_encoded(inside: &[u8]) -> bool {
    let data = match inside.strip_prefix(b"data:") {
        Some(_) => memchr::memmem::find(&inside[..inside.len().min(128)], b";base64,").map(|at| &inside[at + 8..]),
        None => (inside.len() >= 512).then_some(inside),
    };
    data.is_some_and(|data| data.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)))
}
