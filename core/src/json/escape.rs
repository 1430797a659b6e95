//! Strings: what has to be escaped, and what an escape stands for (RFC 8259 section 7).

use std::borrow::Cow;

use crate::block::{self, Block, Marks};

/// Appends `text` as a JSON string, quotes included, each character in its shortest form: only the quote, the
/// backslash and what lies below U+0020 are escaped.
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let plain = plain_len(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some((&byte, after)) = rest[plain..].split_first() else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            control => {
                let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(control & 15)]);
            }
        }
        rest = after;
    }
    out.push(b'"');
}

/// How many bytes at the start of `bytes` stand for themselves in a string: up to a quote, a backslash or a control.
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    block::before(bytes, special)
}

/// The quotes, backslashes and controls.
#[inline(always)]
pub(super) fn special(block: Block) -> Marks {
    block.equal(b'"').or(block.equal(b'\\')).or(block.at_most(0x1f))
}

/// Reads the escape at the start of `bytes`, its backslash included: the character, and how many bytes say so.
///
/// # Errors
/// What is wrong with it, said to whoever wrote it.
pub(crate) fn unescape(bytes: &[u8]) -> Result<(char, usize), &'static str> {
    let simple = match bytes.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unescape_utf16(bytes),
        Some(_) => return Err("unknown escape in a string"),
        None => return Err(ENDS_IN_STRING),
    };
    Ok((simple, 2))
}

/// What is wrong with a text that ends before a string does.
pub(super) const ENDS_IN_STRING: &str = "the text ends within a string";

/// Reads `\uXXXX`, or the two of them that make a surrogate pair.
fn unescape_utf16(bytes: &[u8]) -> Result<(char, usize), &'static str> {
    const LONE: &str = "lone surrogate in a string";
    let unit = four_digits(bytes)?;
    match unit {
        0xd800..0xdc00 => {
            if !bytes.get(6..).is_some_and(|rest| rest.starts_with(b"\\u")) {
                return Err(LONE);
            }
            match four_digits(&bytes[6..])? {
                low @ 0xdc00..0xe000 => {
                    let scalar = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                    Ok((char::from_u32(scalar).ok_or(LONE)?, 12))
                }
                _ => Err(LONE),
            }
        }
        _ => Ok((char::from_u32(unit).ok_or(LONE)?, 6)),
    }
}

/// The number after the `\u` that `bytes` starts with.
fn four_digits(bytes: &[u8]) -> Result<u32, &'static str> {
    let digits = bytes.get(2..6).ok_or(ENDS_IN_STRING)?;
    digits.iter().try_fold(0, |number, &byte| {
        let digit = char::from(byte).to_digit(16).ok_or("\\u without four hexadecimal digits")?;
        Ok(number << 4 | digit)
    })
}

/// The bytes that the inside of a string stands for, one by one, without memory for them.
///
/// A broken escape, which no checked text has, stands for U+FFFD.
#[derive(Clone, Debug)]
pub(super) struct Unescaped<'t> {
    rest: &'t [u8],
    character: [u8; 4],
    given: u8,
    len: u8,
}

impl<'t> Unescaped<'t> {
    /// Of the bytes between the quotes.
    pub(super) const fn new(inside: &'t [u8]) -> Self {
        Self { rest: inside, character: [0; 4], given: 0, len: 0 }
    }
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.given == self.len {
            let (&first, after) = self.rest.split_first()?;
            if first != b'\\' {
                self.rest = after;
                return Some(first);
            }
            let (character, len) = unescape(self.rest).unwrap_or((char::REPLACEMENT_CHARACTER, 1));
            self.rest = &self.rest[len..];
            self.len = character.encode_utf8(&mut self.character).len() as u8;
            self.given = 0;
        }
        let byte = self.character[usize::from(self.given)];
        self.given += 1;
        Some(byte)
    }
}

/// What the inside of a string stands for; borrowed where it has no escapes.
pub(super) fn unescaped(inside: &[u8]) -> Cow<'_, str> {
    let Some(mut backslash) = memchr::memchr(b'\\', inside) else {
        return std::str::from_utf8(inside).map_or_else(|_| String::from_utf8_lossy(inside), Cow::Borrowed);
    };
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    loop {
        let (plain, escape) = rest.split_at(backslash);
        text.push_str(&String::from_utf8_lossy(plain));
        if escape.is_empty() {
            return Cow::Owned(text);
        }
        let (character, len) = unescape(escape).unwrap_or((char::REPLACEMENT_CHARACTER, 1));
        text.push(character);
        rest = &escape[len..];
        backslash = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape_into(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_has_to_be_escaped_is_and_shortly() {
        let cases = [
            ("", r#""""#),
            ("gpt-4o", r#""gpt-4o""#),
            ("a/b é 😀 \u{7f}\u{2028}", "\"a/b é 😀 \u{7f}\u{2028}\""),
            ("\"\\\u{8}\t\n\u{c}\r", r#""\"\\\b\t\n\f\r""#),
            ("\0\u{1}\u{b}\u{1b}\u{1f}", r#""\u0000\u0001\u000b\u001b\u001f""#),
            ("12345678\"2345678\n", r#""12345678\"2345678\n""#),
        ];
        for (text, wanted) in cases {
            assert_eq!(escaped(text), wanted);
        }
    }

    #[test]
    fn the_plain_bytes_end_at_the_first_special_one_wherever_it_stands() {
        for len in 0..300 {
            for special in [None, Some(b'"'), Some(b'\\'), Some(0), Some(0x1f)] {
                let mut bytes = vec![b'a'; len];
                bytes.extend(special);
                bytes.extend("é\u{7f} \"\n".bytes());
                let wanted = if special.is_some() { len } else { len + "é\u{7f} ".len() };
                assert_eq!(plain_len(&bytes), wanted, "{special:?}");
                assert_eq!(plain_len(&bytes[..wanted]), wanted, "{special:?}");
            }
        }
    }

    #[test]
    fn what_was_escaped_is_read_back() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let text: String = (0..rng.usize(..40))
                .map(|_| rng.choice(['"', '\\', '\n', '\0', 'a', 'é', '😀', '\u{1f}']).unwrap())
                .collect();
            let literal = escaped(&text);
            let inside = &literal.as_bytes()[1..literal.len() - 1];
            assert_eq!(unescaped(inside), text);
            assert!(Unescaped::new(inside).eq(text.bytes()));
        }
    }

    #[test]
    fn a_broken_escape_is_a_replacement_character() {
        for (inside, wanted) in [("a\\", "a\u{fffd}"), ("\\x", "\u{fffd}x"), ("\\ud800.", "\u{fffd}ud800.")] {
            assert_eq!(unescaped(inside.as_bytes()), wanted);
            assert!(Unescaped::new(inside.as_bytes()).eq(wanted.bytes()), "{inside}");
        }
    }
}
