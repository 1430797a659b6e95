//! Going through a text from its beginning to its end, once, and into what is of interest on the way.
//!
//! For what passes by as it is: nothing is checked, and what isn't JSON ends the walk early. A [`Value`] reads past what
//! lies within it each time it is asked; here each byte is read once, however deep it lies.

use super::escape::plain_len;
use super::{Span, Value};

/// A place in a text, before a value or behind one.
#[derive(Clone, Debug)]
pub struct Cursor<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Cursor<'t> {
    /// Before the value that `text` is.
    pub const fn new(text: &'t [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Enters the value that comes next if it begins with `open`, a bracket of either kind. It is left by [`Self::field`]
    /// or [`Self::item`] at its end.
    pub fn enter(&mut self, open: u8) -> bool {
        let enters = self.peek() == Some(open);
        self.at += usize::from(enters);
        enters
    }

    /// The name of the next field of the object that was entered, quotes included. The cursor is before its value then,
    /// which has to be entered or taken; none behind the object's end.
    pub fn field(&mut self) -> Option<&'t [u8]> {
        while self.peek()? == b',' {
            self.at += 1;
        }
        let start = self.at;
        let Some(end) = behind_string(self.text, start) else {
            // The object's end, or no JSON.
            self.at = if self.peek() == Some(b'}') { start + 1 } else { self.text.len() };
            return None;
        };
        self.at = end;
        if self.peek() == Some(b':') {
            self.at += 1;
        }
        Some(&self.text[start..end])
    }

    /// Whether the array that was entered has another item. The cursor is before it then, and it has to be entered or
    /// taken; else it is behind the array's end.
    pub fn item(&mut self) -> bool {
        while self.peek() == Some(b',') {
            self.at += 1;
        }
        match self.peek() {
            Some(b']') => {
                self.at += 1;
                false
            }
            Some(_) => true,
            None => false,
        }
    }

    /// Takes the value that comes next, whole. Of what is none, all that is left.
    pub fn value(&mut self) -> Value<'t> {
        let start = behind_blanks(self.text, self.at);
        self.at = behind_value(self.text, start).unwrap_or(self.text.len());
        Value::at(self.text, Span::new(start, self.at))
    }

    /// The first byte of what comes next.
    fn peek(&mut self) -> Option<u8> {
        self.at = behind_blanks(self.text, self.at);
        self.text.get(self.at).copied()
    }
}

/// Where the next byte stands that isn't blank, from `at` on.
pub(super) fn behind_blanks(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Where the string ends that begins at `at`; none if none begins there, or it isn't whole.
pub(super) fn behind_string(bytes: &[u8], at: usize) -> Option<usize> {
    let inside = bytes.get(at..)?.strip_prefix(b"\"")?;
    match string_run(inside, false) {
        (len, RunEnd::Quote) => Some(at + 1 + len),
        (_, RunEnd::Bytes { .. }) => None,
    }
}

/// Where the value ends that begins at `at`; none if it isn't whole, or is none.
pub(super) fn behind_value(bytes: &[u8], mut at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => behind_string(bytes, at),
        b'{' | b'[' => {
            let mut depth = 0_usize;
            loop {
                match bytes.get(at)? {
                    b'"' => at = behind_string(bytes, at)? - 1,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' if depth == 1 => return Some(at + 1),
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
            }
        }
        b'-' | b'0'..=b'9' | b'a'..=b'z' => Some(at + bytes[at..].iter().position(ends_bare)?),
        _ => None,
    }
}

/// Whether a byte is no part of a number or a word.
pub(super) const fn ends_bare(byte: &u8) -> bool {
    !matches!(byte, b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

/// How a run of a string's bytes ends.
pub(super) enum RunEnd {
    /// With the string's closing quote, which belongs to it.
    Quote,
    /// With the bytes; whether the next one is escaped.
    Bytes { escaped: bool },
}

/// The run of a string at the start of `bytes`, and how it ends.
pub(super) fn string_run(bytes: &[u8], escaped: bool) -> (usize, RunEnd) {
    let mut at = usize::from(escaped);
    loop {
        at += plain_len(&bytes[at..]);
        match bytes.get(at) {
            None => return (bytes.len(), RunEnd::Bytes { escaped: false }),
            Some(b'"') => return (at + 1, RunEnd::Quote),
            Some(b'\\') if at + 1 == bytes.len() => return (bytes.len(), RunEnd::Bytes { escaped: true }),
            Some(b'\\') => at += 2,
            // A control character has no business here, and is none of ours.
            Some(_) => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything a cursor finds that enters whatever it can: names, and values that are neither object nor array.
    fn walk(cursor: &mut Cursor<'_>, found: &mut Vec<String>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if cursor.enter(b'{') {
            while let Some(name) = cursor.field() {
                found.push(text(name));
                walk(cursor, found);
            }
        } else if cursor.enter(b'[') {
            while cursor.item() {
                walk(cursor, found);
            }
        } else {
            found.push(text(cursor.value().raw()));
        }
    }

    #[test]
    fn every_value_is_met_once_and_in_order() {
        let cases: &[(&str, &[&str])] = &[
            ("{}", &[]),
            ("[]", &[]),
            (
                r#" {"a" : 1 , "b":[2,"x]",{"c":null}],"d":{}} "#,
                &["\"a\"", "1", "\"b\"", "2", "\"x]\"", "\"c\"", "null", "\"d\""],
            ),
            (r#"{"a\"b":"c\\","d":-1.5e3}"#, &[r#""a\"b""#, r#""c\\""#, "\"d\"", "-1.5e3"]),
            (r#"[[["x"]],[]]"#, &["\"x\""]),
        ];
        for (text, expected) in cases {
            let mut found = Vec::new();
            walk(&mut Cursor::new(text.as_bytes()), &mut found);
            assert_eq!(found, *expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_json_ends_the_walk() {
        for text in [
            "",
            "{",
            "[",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":}",
            "[}",
            "{]",
            "{1:2}",
            "[,,",
            "\"",
            "{\"a\":[{\"b\":\"",
            "]",
            "{,,}}",
        ] {
            let mut found = Vec::new();
            let mut cursor = Cursor::new(text.as_bytes());
            walk(&mut cursor, &mut found);
            assert!(found.len() <= text.len() + 1, "{text}: {found:?}");
        }
    }

    #[test]
    fn a_value_is_passed_over_whole() {
        let mut cursor = Cursor::new(br#"{"a":{"b":[1,"}"]},"c":2}"#);
        assert!(cursor.enter(b'{'));
        assert_eq!(cursor.field(), Some(&b"\"a\""[..]));
        assert_eq!(cursor.value().raw(), br#"{"b":[1,"}"]}"#);
        assert_eq!(cursor.field(), Some(&b"\"c\""[..]));
        assert!(!cursor.enter(b'{'));
        assert_eq!(cursor.value().raw(), b"2");
        assert_eq!(cursor.field(), None);
    }
}
