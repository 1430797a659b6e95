//! Going through a text from its beginning to its end, once, and into what is of interest on the way.
//!
//! For what passes by as it is: strings aren't looked into, and what isn't JSON ends the walk early. A [`Value`] reads past
//! what lies within it each time it is asked; here each byte is read once, however deep it lies.
//!
//! Where strings begin and end, and where brackets stand outside of them, is found for 64 bytes at a time: whatever is
//! passed over is never gone through byte by byte.

use super::{Span, Value};
use crate::block::{WIDE, WideBlock};

/// A place in a text, before a value or behind one.
#[derive(Clone, Debug)]
pub struct Cursor<'t> {
    tokens: Tokens<'t>,
    /// Behind what was taken.
    at: usize,
    /// The next token; the text's length behind the last one.
    next: usize,
    /// Whether a value was taken last, so that a comma has to come before the next one.
    is_behind_value: bool,
    is_lost: bool,
}

/// The quotes around strings and the brackets outside of them, as far as they haven't been handed out.
#[derive(Clone, Debug)]
struct Tokens<'t> {
    text: &'t [u8],
    /// Where the block begins that is being looked at.
    base: usize,
    /// Its tokens, and which of them are brackets.
    marks: u64,
    brackets: u64,
    /// All ones if the next block begins within a string.
    in_string: u64,
    /// Whether the next block's first byte is escaped.
    escaped: bool,
}

impl<'t> Cursor<'t> {
    /// Before the value that `text` is.
    pub fn new(text: &'t [u8]) -> Self {
        Self::at(text, 0)
    }

    /// Within an object or array, behind the opening bracket that ends at `at`.
    pub fn at(text: &'t [u8], at: usize) -> Self {
        let mut tokens = Tokens { text, base: at, marks: 0, brackets: 0, in_string: 0, escaped: false };
        tokens.load();
        let next = tokens.next();
        Self { tokens, at, next, is_behind_value: false, is_lost: false }
    }

    /// How much of the text was taken: where [`Self::at`] takes up the walk again behind an opening bracket.
    pub const fn taken(&self) -> usize {
        self.at
    }

    /// Enters the value that comes next if it begins with `open`, a bracket of either kind. It is left by [`Self::field`]
    /// or [`Self::item`] at its end.
    #[inline(always)]
    pub fn enter(&mut self, open: u8) -> bool {
        let enters = self.peek() == Some(open);
        if enters {
            self.take_token();
            self.is_behind_value = false;
        }
        enters
    }

    /// The name of the next field of the object that was entered, quotes included. The cursor is before its value then,
    /// which has to be entered or taken; none behind the object's end.
    #[inline(always)]
    pub fn field(&mut self) -> Option<&'t [u8]> {
        let next = self.peek_behind_comma();
        if next == Some(b'"') {
            let name = self.string();
            if self.peek() == Some(b':') {
                self.at += 1;
                return name;
            }
        } else if next == Some(b'}') {
            self.take_token();
            self.is_behind_value = true;
            return None;
        }
        self.lose();
        None
    }

    /// Whether the array that was entered has another item. The cursor is before it then, and it has to be entered or
    /// taken; else it is behind the array's end.
    #[inline(always)]
    pub fn item(&mut self) -> bool {
        match self.peek_behind_comma() {
            Some(b']') => {
                self.take_token();
                self.is_behind_value = true;
                false
            }
            Some(_) => true,
            None => {
                self.lose();
                false
            }
        }
    }

    /// Takes the value that comes next, whole. Of what is none, all that is left.
    #[inline(always)]
    pub fn value(&mut self) -> Value<'t> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'"') => {
                self.string();
            }
            Some(b'{' | b'[') => {
                self.next = self.tokens.behind_nested();
                self.take_token();
            }
            Some(b'-' | b'0'..=b'9' | b'a'..=b'z') => {
                let text = self.text();
                self.at += 1;
                while text.get(self.at).is_some_and(|byte| !ends_bare(byte)) {
                    self.at += 1;
                }
            }
            Some(_) | None => self.lose(),
        }
        self.is_behind_value = true;
        Value::at(self.text(), Span::new(start, self.at))
    }

    /// Whether the walk has ended where the text was no JSON, or ended too early.
    pub const fn is_lost(&self) -> bool {
        self.is_lost
    }

    const fn text(&self) -> &'t [u8] {
        self.tokens.text
    }

    /// The first byte of what comes next.
    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        let text = self.tokens.text;
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(self.at) {
            self.at += 1;
        }
        text.get(self.at).copied()
    }

    /// The same of what comes behind a comma, which the first field and the first item have not; nothing where the comma
    /// is missing.
    #[inline(always)]
    fn peek_behind_comma(&mut self) -> Option<u8> {
        let first = self.peek()?;
        match (self.is_behind_value, first) {
            (false, _) | (true, b'}' | b']') => Some(first),
            (true, b',') => {
                self.at += 1;
                self.is_behind_value = false;
                self.peek()
            }
            (true, _) => None,
        }
    }

    /// Takes the string that begins here, quotes included.
    #[inline(always)]
    fn string(&mut self) -> Option<&'t [u8]> {
        let start = self.at;
        // Within a string there are no tokens, so the next one is its end.
        self.next = self.tokens.next();
        self.take_token();
        self.text().get(start..self.at)
    }

    /// Takes all up to the next token, and that.
    #[inline(always)]
    fn take_token(&mut self) {
        if self.next == self.text().len() {
            return self.lose();
        }
        self.at = self.next + 1;
        self.next = self.tokens.next();
    }

    /// Ends the walk: there is nothing more.
    #[cold]
    fn lose(&mut self) {
        let end = self.text().len();
        (self.at, self.next, self.is_lost) = (end, end, true);
        self.tokens.end();
    }
}

impl Tokens<'_> {
    /// Where the next token stands; the text's length behind the last one.
    #[inline(always)]
    fn next(&mut self) -> usize {
        while self.marks == 0 {
            if !self.load_next() {
                return self.text.len();
            }
        }
        let at = self.base + self.marks.trailing_zeros() as usize;
        self.marks &= self.marks - 1;
        at
    }

    /// Hands out the closing bracket that belongs to the opening one which was handed out last, and leaves out whatever is
    /// between; the text's length if there is none.
    fn behind_nested(&mut self) -> usize {
        let mut depth = 1_usize;
        loop {
            let mut brackets = self.brackets & self.marks;
            while brackets != 0 {
                let bit = brackets.trailing_zeros();
                brackets &= brackets - 1;
                let at = self.base + bit as usize;
                // Of the four brackets the opening ones have this bit.
                depth = if self.text[at] & 2 != 0 { depth + 1 } else { depth - 1 };
                if depth == 0 {
                    self.marks &= !1 << bit;
                    return at;
                }
            }
            if !self.load_next() {
                return self.text.len();
            }
        }
    }

    /// Goes on to the next block; false if there is none. Apart from [`Self::next`], which is called ten times as often.
    #[inline(never)]
    fn load_next(&mut self) -> bool {
        if self.text.len() - self.base <= WIDE {
            self.end();
            return false;
        }
        self.base += WIDE;
        self.load();
        true
    }

    const fn end(&mut self) {
        self.base = self.text.len();
        self.marks = 0;
    }

    /// Finds the tokens of the block at `base`.
    #[inline(always)]
    fn load(&mut self) {
        let block = WideBlock::at_start_of(&self.text[self.base..]);
        let brackets = block.bits(|block| block.equal_lowered(b'{').or(block.equal_lowered(b'}')));
        let backslashes = block.bits(|block| block.equal(b'\\'));
        let mut quotes = block.bits(|block| block.equal(b'"'));
        if backslashes != 0 || self.escaped {
            quotes = self.unescaped(quotes, backslashes);
        }
        // Each bit is the parity of the quotes up to it: set from a string's first quote to before its last.
        let mut inside = quotes;
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        inside ^= self.in_string;
        self.in_string = (inside.cast_signed() >> 63).cast_unsigned();
        self.brackets = brackets & !inside;
        self.marks = quotes | self.brackets;
    }

    /// The quotes of the block that no backslash makes a part of their string.
    fn unescaped(&mut self, quotes: u64, backslashes: u64) -> u64 {
        let mut is_inside = self.in_string != 0;
        let mut ends = 0;
        let mut rest = (quotes | backslashes) & !u64::from(std::mem::take(&mut self.escaped));
        while rest != 0 {
            let bit = rest & rest.wrapping_neg();
            rest ^= bit;
            if quotes & bit != 0 {
                is_inside = !is_inside;
                ends |= bit;
            } else if is_inside {
                // Whatever comes next, be it in the next block.
                self.escaped = bit << 1 == 0;
                rest &= !(bit << 1);
            }
        }
        ends
    }
}

/// Whether a byte is no part of a number or a word.
pub(super) const fn ends_bare(byte: &u8) -> bool {
    !matches!(byte, b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
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

    #[test]
    fn escapes_and_blocks_meet_at_every_place() {
        for blanks in 0..140 {
            for backslashes in 0..6 {
                let (pad, run) = (" ".repeat(blanks), "\\".repeat(2 * backslashes));
                let text = format!(r#"{{{pad}"a{run}\"]":["x{run}",{{"y":"}}{run}\"{{"}}],"b":true{pad}}}"#);
                let mut cursor = Cursor::new(text.as_bytes());
                assert!(cursor.enter(b'{'));
                assert_eq!(cursor.field(), Some(format!(r#""a{run}\"]""#).as_bytes()), "{text}");
                assert_eq!(cursor.value().raw(), format!(r#"["x{run}",{{"y":"}}{run}\"{{"}}]"#).as_bytes(), "{text}");
                assert_eq!(cursor.field(), Some(&b"\"b\""[..]), "{text}");
                assert_eq!(cursor.value().raw(), b"true", "{text}");
                assert_eq!((cursor.field(), cursor.is_lost()), (None, false), "{text}");
            }
        }
    }
}
