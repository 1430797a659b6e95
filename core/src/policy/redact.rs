//! Finding and taking out personal data in a JSON text: in its string values, and nothing else of it changes.

use super::pii::{self, Kind};
use super::tail::Nesting;
use super::text::push_all;
use crate::json::Value;

/// What was found in a JSON text.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The kind found first.
    pub(super) kind: Option<Kind>,
    /// The text without it, if there was any.
    pub(super) redacted: Option<Vec<u8>>,
}

/// Looks for `kinds` in every string value at or beneath `value`, which lies in `body`.
pub(super) fn read(body: &[u8], value: Value<'_>, kinds: &[Kind]) -> Found {
    let mut found = Found::default();
    let (mut text, mut places) = (String::new(), Vec::new());
    let mut out = Vec::new();
    let mut copied = 0;
    for string in value.strings() {
        let [b'"', inside @ .., b'"'] = string.raw() else { continue };
        let start = string.span().start as usize + 1;
        decode(inside, &mut text, &mut places);
        let (mut nesting, mut read) = (Nesting::default(), 0);
        pii::find(&text, kinds, &mut |kind, range| {
            found.kind.get_or_insert(kind);
            nesting.read(&text.as_bytes()[read..range.start]);
            let is_bare = nesting.is_bare(text.as_bytes().get(range.end));
            read = range.end;
            out.extend_from_slice(&body[copied..start + places[range.start] as usize]);
            out.extend_from_slice(if is_bare { kind.bare_mask() } else { kind.mask() }.as_bytes());
            copied = start + places[range.end] as usize;
        });
    }
    if found.kind.is_some() {
        out.extend_from_slice(&body[copied..]);
        found.redacted = Some(out);
    }
    found
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
            (r#"{"a@b.io":"a name stays"}"#, None),
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
