//! Every text of a JSON value, in slices: strings in the order of the body, unescaped on the way, names and values.

use std::ops::Range;

use super::content::{Knowledge, Scan};
use crate::json::{Value, plain_len, unescape};
use crate::limits::POLICY_SLICE_BYTES;

/// The texts of a value.
#[derive(Debug, Default)]
pub(super) struct Texts<'a> {
    pieces: Option<Pieces<'a>>,
    /// What is left of the string being read, as it stands between the quotes.
    rest: &'a [u8],
}

/// Names of fields whose values say how a text is to be taken, and are none.
const STRUCTURE: [&[u8]; 8] =
    [b"type", b"role", b"id", b"tool_call_id", b"tool_use_id", b"call_id", b"model", b"media_type"];

impl<'a> Texts<'a> {
    /// Those of `value`, which lies in `body`.
    pub(super) fn of(body: &'a [u8], value: Value<'_>) -> Self {
        Self { pieces: Some(Pieces::of(body, value)), rest: b"" }
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
        let Some(pieces) = &mut self.pieces else { return false };
        for piece in pieces {
            let inside = match piece {
                Piece::Number { .. } => continue,
                Piece::Name { inside, .. } if is_word(inside) => {
                    scan.aside(inside, known);
                    continue;
                }
                Piece::Text { name, inside, .. } if !is_said(name, inside) => {
                    // One word, apart from the text around it: it cannot say much, but it shall not hide a slur.
                    scan.aside(inside, known);
                    if name == b"role" {
                        scan.break_off(known);
                    }
                    continue;
                }
                Piece::Name { inside, .. } | Piece::Text { inside, .. } => inside,
            };
            if !is_encoded(inside) {
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

/// What may say something in a JSON text. `at` is where `inside` or `raw` starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// What stands between the quotes of a name.
    Name {
        /// Its first byte's place.
        at: usize,
        /// The name.
        inside: &'a [u8],
    },
    /// What stands between the quotes of a string.
    Text {
        /// The name of its field; nothing for an item of an array.
        name: &'a [u8],
        /// Its first byte's place.
        at: usize,
        /// The string.
        inside: &'a [u8],
    },
    /// A number.
    Number {
        /// The name of its field; nothing for an item of an array.
        name: &'a [u8],
        /// Its first byte's place.
        at: usize,
        /// As it is spelled.
        raw: &'a [u8],
    },
}

/// Goes through a checked JSON text, whatever its nesting; an unchecked one does no harm.
#[derive(Clone, Debug)]
pub(super) struct Pieces<'a> {
    body: &'a [u8],
    at: usize,
    end: usize,
    name: &'a [u8],
}

impl<'a> Pieces<'a> {
    /// Those of `value`, which lies in `body`.
    pub(super) fn of(body: &'a [u8], value: Value<'_>) -> Self {
        let span = value.span();
        Self { body, at: span.start as usize, end: body.len().min(span.end as usize), name: b"" }
    }

    fn string(&mut self) -> Piece<'a> {
        let at = self.at + 1;
        let rest = &self.body[at..self.end];
        let mut len = 0;
        while len < rest.len() {
            len += plain_len(&rest[len..]);
            match rest.get(len) {
                Some(b'\\') => len += 2,
                Some(b'"') | None => break,
                Some(_) => len += 1,
            }
        }
        let inside = &rest[..len.min(rest.len())];
        self.at = (at + len + 1).min(self.end);
        let name = std::mem::take(&mut self.name);
        let behind = self.body[self.at..self.end].iter().find(|byte| !byte.is_ascii_whitespace());
        if behind == Some(&b':') {
            self.name = inside;
            return Piece::Name { at, inside };
        }
        Piece::Text { name, at, inside }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        while self.at < self.end {
            match self.body[self.at] {
                b'"' => return Some(self.string()),
                b'-' | b'0'..=b'9' => {
                    let rest = &self.body[self.at..self.end];
                    let is_number = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                    let raw = &rest[..rest.iter().take_while(is_number).count()];
                    let at = self.at;
                    self.at += raw.len();
                    return Some(Piece::Number { name: std::mem::take(&mut self.name), at, raw });
                }
                b'{' | b'[' | b',' => self.name = b"",
                _ => {}
            }
            self.at += 1;
        }
        None
    }
}

/// Whether a value is text, and doesn't only say how text is to be taken.
pub(super) fn is_said(name: &[u8], inside: &[u8]) -> bool {
    !(STRUCTURE.contains(&name) && is_word(inside))
}

/// Every string value at or beneath `value`, which lies in `body`: the name of its field, and what stands between its
/// quotes.
pub(super) fn each_string<'a>(body: &'a [u8], value: Value<'_>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    Pieces::of(body, value).filter_map(|piece| match piece {
        Piece::Text { name, inside, .. } => Some((name, inside)),
        Piece::Name { .. } | Piece::Number { .. } => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Span;

    #[test]
    fn names_texts_and_numbers_come_in_the_order_of_the_body() {
        let body = r#"{"a":"b\"c", "d\"" : [ -1.5e3, "e", {"f" :{}, "g":12}, true,null], "h":"i" } "#;
        let pieces = Pieces::of(body.as_bytes(), Value::at(body.as_bytes(), Span::new(0, body.len())));
        let mut said = Vec::new();
        for piece in pieces {
            let (kind, name, at, inside): (_, &[u8], _, _) = match piece {
                Piece::Name { at, inside } => ('n', b"", at, inside),
                Piece::Text { name, at, inside } => ('t', name, at, inside),
                Piece::Number { name, at, raw } => ('#', name, at, raw),
            };
            assert_eq!(&body.as_bytes()[at..at + inside.len()], inside);
            said.push(format!("{kind} {} {}", String::from_utf8_lossy(name), String::from_utf8_lossy(inside)));
        }
        let wanted = "n  a,t a b\\\"c,n  d\\\",#  -1.5e3,t  e,n  f,n  g,# g 12,n  h,t h i";
        assert_eq!(said.join(","), wanted);
    }

    #[test]
    fn what_is_no_json_does_no_harm() {
        for broken in ["", "\"", "{\"a", "{\"a\\", "[1", "{\"a\":", "\"a\" :", "-", "[[[[", "\"\u{1}\"", "{\"é"] {
            Pieces::of(broken.as_bytes(), Value::at(broken.as_bytes(), Span::new(0, broken.len()))).count();
        }
    }
}
