//! Finding and taking out personal data in a JSON text: in its strings, names and numbers, and nothing else of it changes.

use super::pii::{self, Kind};
use super::tail::Nesting;
use super::text::{Piece, Pieces, push_all};
use crate::json::Value;

/// What was found in a JSON text.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The kind found first.
    pub(super) kind: Option<Kind>,
    /// The text without it, if there was any.
    pub(super) redacted: Option<Vec<u8>>,
}

/// Numbers that are none of somebody's.
const NUMBERS: [&[u8]; 1] = [b"seed"];

/// Looks for `kinds` in every string at or beneath `value`, which lies in `body`, in every name and in every number.
pub(super) fn read(body: &[u8], value: Value<'_>, kinds: &[Kind]) -> Found {
    let mut reading = Reading { body, kinds, ..Reading::default() };
    for piece in Pieces::of(body, value) {
        match piece {
            Piece::Text { at, inside, .. } => reading.text(at, inside),
            Piece::Name { at, inside } => reading.name(at, inside),
            Piece::Number { name, at, raw } if !NUMBERS.contains(&name) => reading.number(at, raw),
            Piece::Number { .. } => {}
        }
    }
    let mut found = reading.found;
    if found.kind.is_some() {
        reading.out.extend_from_slice(&body[reading.copied..]);
        found.redacted = Some(reading.out);
    }
    found
}

#[derive(Debug, Default)]
struct Reading<'a> {
    body: &'a [u8],
    kinds: &'a [Kind],
    found: Found,
    /// What a string stands for.
    text: String,
    places: Vec<u32>,
    out: Vec<u8>,
    /// How much of the body is in `out`, or was taken out.
    copied: usize,
    /// How many names something was taken out of.
    names: usize,
}

impl Reading<'_> {
    fn text(&mut self, at: usize, inside: &[u8]) {
        let Self { body, kinds, found, text, places, out, copied, .. } = self;
        decode(inside, text, places);
        let (mut nesting, mut read) = (Nesting::default(), 0);
        pii::find(text, kinds, &mut |kind, range| {
            found.kind.get_or_insert(kind);
            nesting.read(&text.as_bytes()[read..range.start]);
            let is_bare = nesting.is_bare(text.as_bytes().get(range.end));
            read = range.end;
            out.extend_from_slice(&body[*copied..at + places[range.start] as usize]);
            out.extend_from_slice(if is_bare { kind.bare_mask() } else { kind.mask() }.as_bytes());
            *copied = at + places[range.end] as usize;
        });
    }

    /// The second name that something is taken out of says so, and so on: two of one object must not become one.
    fn name(&mut self, at: usize, inside: &[u8]) {
        let before = self.out.len();
        self.text(at, inside);
        if self.out.len() > before {
            self.names += 1;
            if self.names > 1 {
                self.out.extend_from_slice(&self.body[self.copied..at + inside.len()]);
                self.copied = at + inside.len();
                self.out.extend_from_slice(format!(" {}", self.names).as_bytes());
            }
        }
    }

    /// Only a card's number is one; in its place stands a string.
    fn number(&mut self, at: usize, raw: &[u8]) {
        let Self { body, kinds, found, out, copied, .. } = self;
        pii::find(std::str::from_utf8(raw).unwrap_or_default(), kinds, &mut |kind, range| {
            if range == (0..raw.len()) {
                found.kind.get_or_insert(kind);
                out.extend_from_slice(&body[*copied..at]);
                out.extend_from_slice(format!("\"{}\"", kind.mask()).as_bytes());
                *copied = at + raw.len();
            }
        });
    }
}

/// What a string stands for, and for each byte of that and its end the place in `inside` that says so.
fn decode(inside: &[u8], text: &mut String, places: &mut Vec<u32>) {
    text.clear();
    places.clear();
    push_all(inside, &mut |piece, range| {
        text.push_str(piece);
        // A text of JSON is shorter than 4 GiB, as its spans are.
        if range.len() == piece.len() {
            places.extend(range.map(|place| place as u32));
        } else {
            places.resize(text.len(), range.start as u32);
        }
    });
    places.push(inside.len() as u32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Span;

    #[test]
    fn only_what_was_found_changes() {
        let cases = [
            (
                r#"{"a" : "write to a@b.io\n", "b":["x", {"c":"\u0061@b\u002eio"}], "n":1e0 }"#,
                Some(r#"{"a" : "write to [REDACTED:email]\n", "b":["x", {"c":"[REDACTED:email]"}], "n":1e0 }"#),
            ),
            (r#"["{\"to\":\"a@b.io\"}"]"#, Some(r#"["{\"to\":\"[REDACTED:email]\"}"]"#)),
            (r#"{"a@b.io":"x","b":{"c@b.io":1}}"#, Some(r#"{"[REDACTED:email]":"x","b":{"[REDACTED:email] 2":1}}"#)),
            (
                r#"{"n":4111111111111111,"m":[4111111111111111 ],"seed":4111111111111111}"#,
                Some(r#"{"n":"[REDACTED:card]","m":["[REDACTED:card]" ],"seed":4111111111111111}"#),
            ),
            (r#"{"n":4111111111111111.5,"m":-4111111111111111,"o":4111111111111112,"p":4e9}"#, None),
            (
                r#"["{\"n\": 4111111111111111, \"s\":\"4111111111111111\"}"]"#,
                Some(r#"["{\"n\": \"[REDACTED:card]\", \"s\":\"[REDACTED:card]\"}"]"#),
            ),
            (r#"["\ud83da@b.io"]"#, Some(r#"["\ud83d[REDACTED:email]"]"#)),
            (r#"["é ü a@b.io 😀"]"#, Some(r#"["é ü [REDACTED:email] 😀"]"#)),
        ];
        for (body, wanted) in cases {
            let value = Value::at(body.as_bytes(), Span::new(0, body.len()));
            let found = read(body.as_bytes(), value, &Kind::ALL);
            assert_eq!(found.redacted.map(|out| String::from_utf8(out).unwrap()).as_deref(), wanted, "{body}");
        }
    }
}
