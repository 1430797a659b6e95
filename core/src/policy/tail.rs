//! The end of what a lane of a streamed answer has said, as far as an address, a number or a key may go on in it.
//!
//! What is found must not depend on how a stream is cut: "4111 1111 1111 1111" is a card's number until another digit
//! follows. So a text is *open* from the first place on that something which isn't whole may have begun at, and what is
//! found there waits. In prose that is the last word; the longest pattern bounds it.

use std::ops::Range;

use super::pii::{self, Kind};
use super::text::push_all;
use crate::limits::POLICY_HELD_BYTES;

/// The end of a text.
#[derive(Debug, Default)]
pub(super) struct Tail {
    text: String,
    /// For each byte of `text`, which bytes of the stream say it; only where something is taken out.
    places: Vec<(usize, usize)>,
    /// How much of `text` is settled, and kept only because what follows is read in its light.
    settled: usize,
    nesting: Nesting,
}

/// One policy's kinds, and its place in the chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'p> {
    /// The policy's place.
    pub(super) nth: usize,
    /// What it looks for.
    pub(super) kinds: &'p [Kind],
    /// Whether it takes it out.
    pub(super) redacts: bool,
}

/// What was found, once it is settled.
#[derive(Debug)]
pub(super) struct Hit<'t> {
    /// Whose it is.
    pub(super) nth: usize,
    /// What it is.
    pub(super) kind: Kind,
    /// Whether it is taken out.
    pub(super) redacts: bool,
    /// What stands for it then.
    pub(super) mask: &'static str,
    /// Where its bytes are in the stream, if that was to be known.
    pub(super) places: &'t [(usize, usize)],
}

/// Bytes that are kept before what is open: a number is looked at with two bytes before it.
const CONTEXT_BYTES: usize = 8;

/// Longest pattern with spaces in it, the head of a private key: `-----BEGIN`, a label of 64 bytes and five more.
const SPACED_BYTES_MAX: usize = 96;

impl Tail {
    /// Reads on. `at` is where `inside` starts in the stream, if that is to be known.
    pub(super) fn say(&mut self, inside: &[u8], at: Option<usize>) {
        let Self { text, places, .. } = self;
        push_all(inside, &mut |piece, range| {
            text.push_str(piece);
            let Some(at) = at else { return };
            if range.len() == piece.len() {
                places.extend(range.map(|byte| (at + byte, at + byte + 1)));
            } else {
                places.resize(text.len(), (at + range.start, at + range.end));
            }
        });
    }

    /// Calls `found` with what has become settled; all of it, if the text `ends`.
    pub(super) fn settle(&mut self, searches: &[Search<'_>], ends: bool, found: &mut impl FnMut(Hit<'_>)) {
        let mut open = if ends { self.text.len() } else { open_from(self.text.as_bytes()) };
        let mut hits: Vec<(&Search<'_>, Kind, Range<usize>)> = Vec::new();
        for search in searches {
            pii::find(&self.text, search.kinds, &mut |kind, range| {
                let range = range.start.max(self.settled)..range.end;
                // What one policy has found first, the next one doesn't see.
                let is_taken = hits
                    .iter()
                    .any(|(taken, _, other)| taken.redacts && range.start < other.end && other.start < range.end);
                if range.is_empty() || is_taken {
                    return;
                }
                // A private key is one from its head on; nobody waits for its end.
                if range.end > open && kind != Kind::PrivateKey {
                    open = open.min(range.start);
                } else {
                    hits.push((search, kind, range));
                }
            });
        }
        hits.retain(|(_, kind, range)| range.end <= open || *kind == Kind::PrivateKey);
        hits.sort_by_key(|(_, _, range)| range.start);
        let mut read = self.settled;
        for (search, kind, range) in hits {
            self.nesting.read(&self.text.as_bytes()[read.min(range.start)..range.start]);
            let is_bare = self.nesting.is_bare(self.text.as_bytes().get(range.end));
            read = range.end.max(read);
            let mask = if is_bare { kind.bare_mask() } else { kind.mask() };
            let places = self.places.get(range).unwrap_or_default();
            found(Hit { nth: search.nth, kind, redacts: search.redacts, mask, places });
        }
        if read < open {
            self.nesting.read(&self.text.as_bytes()[read..open]);
        }
        self.forget(open, ends);
    }

    /// Where in the stream the first byte lies that isn't settled.
    pub(super) fn open_place(&self) -> Option<usize> {
        self.places.get(self.settled).map(|(start, _)| *start)
    }

    fn forget(&mut self, open: usize, ends: bool) {
        let cut = if ends { open } else { self.text.floor_char_boundary(open.saturating_sub(CONTEXT_BYTES)) };
        self.text.drain(..cut);
        self.places.drain(..cut.min(self.places.len()));
        self.settled = open - cut;
        if ends {
            self.nesting = Nesting::default();
        }
    }
}

/// From where on something may have begun that goes on behind the end.
///
/// Nothing that is looked for has other bytes in it than these, and a space only between groups of digits and capitals.
fn open_from(text: &[u8]) -> usize {
    let bound = text.len().saturating_sub(POLICY_HELD_BYTES);
    let spaced = text.len().saturating_sub(SPACED_BYTES_MAX);
    let is_group = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase() || b"()-".contains(&byte);
    let mut open = text.len();
    while open > bound {
        let byte = text[open - 1];
        let goes_on = match byte {
            b' ' => {
                let before = open.checked_sub(2).is_some_and(|before| is_group(text[before]));
                open > spaced && before && text.get(open).is_none_or(|after| is_group(*after))
            }
            _ => byte.is_ascii_alphanumeric() || b"._%+-@()".contains(&byte),
        };
        if !goes_on {
            return open;
        }
        open -= 1;
    }
    open
}

/// Whether a text is JSON, as what a tool is given is, and what stands around a number in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nesting {
    is_json: Option<bool>,
    in_string: bool,
    is_escaped: bool,
    /// The last byte that is no space.
    last: u8,
}

impl Nesting {
    /// Reads on.
    pub(super) fn read(&mut self, text: &[u8]) {
        for &byte in text.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            let is_json = *self.is_json.get_or_insert(matches!(byte, b'{' | b'['));
            if !is_json {
                return;
            }
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ => {}
            }
            self.last = byte;
        }
    }

    /// Whether what stands here, before `next`, is a value of that JSON by itself: a number, in whose place a string has to
    /// have its quotes.
    pub(super) fn is_bare(&self, next: Option<&u8>) -> bool {
        let ends = next.is_none_or(|next| next.is_ascii_whitespace() || b",]}".contains(next));
        self.is_json == Some(true) && !self.in_string && b":[,".contains(&self.last) && ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_open_where_something_may_go_on() {
        // Texts, with a stroke where they are open.
        let cases = [
            "Hello there, |",
            "Hello |the",
            "Hello |jane@exam",
            "Hello |",
            "call |+49 30 1",
            "call |+49 30 ",
            "call |(030) ",
            "pay |DE89 3704 T",
            "pay DE89 3704 To |now",
            "4111 1111 1111 1111 |now",
            "x\n|-----BEGIN RSA PRI",
            "é|",
            "é|a",
            "|",
        ];
        for case in cases {
            let open = case.find('|').unwrap();
            assert_eq!(open_from(case.replace('|', "").as_bytes()), open, "{case}");
        }
        let long = "x".repeat(2 * POLICY_HELD_BYTES);
        assert_eq!(open_from(long.as_bytes()), POLICY_HELD_BYTES);
        let spaced = "ABCD ".repeat(100);
        assert!(open_from(spaced.as_bytes()) >= 500 - SPACED_BYTES_MAX - 5);
    }

    #[test]
    fn what_is_found_does_not_depend_on_the_cut() {
        let texts = [
            "mail jane.doe@example.co.uk, or call +49 30 1234567 now. Pay DE89 3704 0044 0532 0130 00 TODAY",
            "4111 1111 1111 1111 and 4111 1111 1111 1111 2 but not 41111111111111112",
            "-- AKIAIOSFODNN7EXAMPLE (030) 123-4567 555-123-4567 a@b.io",
            "{\"n\": 4111111111111111, \"é\": \"4111111111111111\"}",
        ];
        for text in texts {
            let all = |cuts: &[usize]| {
                let (mut tail, mut found) = (Tail::default(), Vec::new());
                let searches = [Search { nth: 0, kinds: &Kind::ALL, redacts: true }];
                let mut before = 0;
                for &cut in cuts.iter().chain([&text.len()]) {
                    tail.say(&text.replace('"', "'").as_bytes()[before..cut], Some(before));
                    before = cut;
                    tail.settle(&searches, false, &mut |hit| found.push((hit.kind.as_str(), hit.places.to_vec())));
                }
                tail.settle(&searches, true, &mut |hit| found.push((hit.kind.as_str(), hit.places.to_vec())));
                found
            };
            let whole = all(&[]);
            assert!(!whole.is_empty());
            let places: Vec<usize> = (1..text.len()).filter(|&at| text.is_char_boundary(at)).collect();
            assert_eq!(all(&places), whole, "byte by byte");
            places.iter().for_each(|&cut| assert_eq!(all(&[cut]), whole, "{cut}"));
        }
    }

    #[test]
    fn a_bare_number_of_nested_json_is_told_from_one_in_a_string() {
        // A text up to a number, what follows it, and whether it's a value of its own.
        let cases = [
            ("{\"card\":", "}", true),
            ("{\"card\": ", ",", true),
            ("[1, ", "]", true),
            ("{\"card\":\"", "\"}", false),
            ("{\"a\":\"b\\\"\",\"c\":", "}", true),
            ("card:", ",", false),
            ("[1] ", ",", false),
        ];
        for (before, next, wanted) in cases {
            let mut nesting = Nesting::default();
            before.bytes().for_each(|byte| nesting.read(&[byte]));
            assert_eq!(nesting.is_bare(next.as_bytes().first()), wanted, "{before}");
        }
    }
}
