//! From text to sentences of plain words, in one pass and over any cut of the text.
//!
//! What a reader sees through is taken off here: case, other Unicode forms and lookalikes, marks, invisible characters,
//! HTML entities, the escapes of JSON within a text, digits and signs in the place of letters, drawn-out letters, letters
//! set apart by spaces or marks.
//! The plain word costs nothing for that: only a word that looks dressed up is held against the words that the filter
//! knows ([`Words`]), and stays as it is if it is none of them.
//!
//! A text may come in pieces, cut anywhere: what comes out is the same. Nothing is allocated once the buffers have grown.

use super::fold::{Folded, fold};
use super::words::{SEGMENTS_MAX, Words};
use crate::limits::{POLICY_SENTENCE_OVERLAP, POLICY_SENTENCE_WORDS, POLICY_WORD_BYTES_MAX};

/// A sentence, or a stretch of one that is too long: plain words, each behind a space.
#[derive(Debug, Default)]
pub(super) struct Sentence {
    /// The words.
    pub(super) text: Vec<u8>,
    /// Where they are in `text`.
    pub(super) words: Vec<Word>,
    /// Whether it is the one before, read in another way.
    pub(super) again: bool,
    /// The word that is two at the border of two parts: both may be meant.
    border: Option<u32>,
}

/// A word of a [`Sentence`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    /// Its first byte.
    pub(super) start: u32,
    /// The byte after its last.
    pub(super) end: u32,
    /// Whether it stands in quotation marks.
    pub(super) quoted: bool,
    /// What is between it and the word before it.
    gap: Gap,
}

/// Reads a text, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Reader {
    sentence: Sentence,
    /// The word being read, folded to lower case; signs that may stand for letters are themselves.
    word: Vec<u8>,
    /// The same as written, in case that it isn't Latin.
    written: Vec<u8>,
    shape: Shape,
    /// An HTML entity being read, from behind the `&`, or an escape, from the `\` on.
    entity: Option<Entity>,
    gap: Gap,
    quoted: bool,
    /// A mark was read that ends the sentence if a space follows.
    stopped: bool,
    /// Line ends since the last word.
    lines: u8,
    /// How many words of one letter are last in the sentence.
    singles: usize,
    candidate: Vec<u8>,
}

/// Longest word that is looked for across marks.
const GLUED_BYTES_MAX: usize = 16;

/// What stands between the last word and the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    /// An underscore, as in names of program text.
    Underscore,
    /// Other marks without a space.
    Marks,
    #[default]
    Space,
    /// More than one.
    Spaces,
    /// The border of two parts.
    Part,
}

/// What a word is made of.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    /// Plain or folded Latin letters.
    latin: bool,
    /// Letters of other scripts that look Latin.
    lookalike: bool,
    /// Letters that don't.
    letter: bool,
    digit: bool,
    /// Signs that may stand for letters.
    sign: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entity {
    bytes: [u8; 8],
    len: usize,
    /// Whether it's an escape of JSON: `\n`, `\t`, `\r`, or `\u` and four digits.
    is_escape: bool,
}

/// What comes of a further byte of an escape.
enum Escaped {
    /// There is more of it.
    Open,
    /// It stands for this.
    Is(char),
}

/// What an ASCII byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Byte {
    Letter,
    Digit,
    /// May stand for a letter inside of a word.
    Sign,
    Apostrophe,
    Space,
    Line,
    Stop,
    Quote,
    Ampersand,
    Backslash,
    Underscore,
    Other,
}

const BYTES: [Byte; 128] = {
    let mut table = [Byte::Other; 128];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => Byte::Letter,
            b'0'..=b'9' => Byte::Digit,
            b'@' | b'$' | b'!' | b'|' | b'+' | b'*' => Byte::Sign,
            b'\'' | b'`' => Byte::Apostrophe,
            b' ' | b'\t' => Byte::Space,
            b'\n' | b'\r' => Byte::Line,
            b'.' | b'?' => Byte::Stop,
            b'"' => Byte::Quote,
            b'&' => Byte::Ampersand,
            b'\\' => Byte::Backslash,
            b'_' => Byte::Underscore,
            _ => Byte::Other,
        };
        byte += 1;
    }
    table
};

impl Reader {
    /// Reads on. `done` is called with each sentence that has become whole.
    pub(super) fn push(&mut self, text: &str, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte.is_ascii_alphabetic() && self.entity.is_none() {
                let letters = bytes[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
                self.letters(&bytes[at..at + letters], words, done);
                at += letters;
            } else if byte < 128 {
                at += 1;
                if self.entity.is_some() {
                    self.entity_byte(byte, words, done);
                } else {
                    self.ascii(byte, words, done);
                }
            } else if let Some(c) = text[at..].chars().next() {
                at += c.len_utf8();
                self.give_up_entity(words, done);
                self.character(c, words, done);
            }
        }
    }

    /// The text goes on in another part: the next word may be the rest of the last one.
    pub(super) fn part(&mut self, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        self.give_up_entity(words, done);
        self.end_word(words, done);
        self.gap = Gap::Part;
    }

    /// The text ends.
    pub(super) fn finish(&mut self, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        self.give_up_entity(words, done);
        self.end_word(words, done);
        self.end_sentence(words, done);
        self.gap = Gap::Space;
    }

    fn ascii(&mut self, byte: u8, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        match BYTES[usize::from(byte & 127)] {
            Byte::Letter => self.latin(byte | 0x20, words, done),
            Byte::Digit => {
                self.shape.digit = true;
                self.letter(byte, words, done);
            }
            Byte::Sign => {
                self.shape.sign = true;
                self.letter(byte, words, done);
            }
            // Left out, so that "don't" is "dont"; around a word it says nothing.
            Byte::Apostrophe => {}
            Byte::Space => {
                self.end_word(words, done);
                self.space(words, done);
            }
            Byte::Line => {
                self.end_word(words, done);
                self.lines += u8::from(byte == b'\n' && self.lines < 2);
                if self.lines == 2 {
                    self.stopped = true;
                }
                self.space(words, done);
            }
            Byte::Stop => {
                self.end_word(words, done);
                self.stopped = true;
                self.mark();
            }
            Byte::Quote => {
                self.end_word(words, done);
                self.quoted = !self.quoted;
                self.mark();
            }
            Byte::Ampersand => self.entity = Some(Entity::default()),
            // What a tool is given is JSON within a text, with escapes of its own.
            Byte::Backslash => self.entity = Some(Entity::escape()),
            Byte::Underscore => {
                self.end_word(words, done);
                // "spi_cs" is no word in disguise.
                self.gap = Gap::Underscore;
            }
            Byte::Other => {
                self.end_word(words, done);
                self.mark();
            }
        }
    }

    fn character(&mut self, c: char, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        match fold(c) {
            Folded::Nothing | Folded::Apostrophe => {}
            Folded::Latin(letter) if letter.is_ascii_digit() => self.ascii(letter, words, done),
            Folded::Latin(letter) => self.latin(letter, words, done),
            Folded::Lookalike(letter) => self.lookalike(c, letter, words, done),
            Folded::Letter => {
                self.shape.letter = true;
                let mut lower = [0; 4];
                let lower = c.to_lowercase().next().unwrap_or(c).encode_utf8(&mut lower);
                self.begin_written();
                self.word.extend_from_slice(lower.as_bytes());
                self.written.extend_from_slice(lower.as_bytes());
                self.end_long_word(words, done);
            }
            Folded::Space => self.ascii(b' ', words, done),
            Folded::Quote => self.ascii(b'"', words, done),
            Folded::Stop => {
                // Scripts with such marks set no space behind them.
                self.ascii(b'.', words, done);
                self.space(words, done);
            }
            Folded::Other => self.ascii(b',', words, done),
        }
    }

    fn lookalike(&mut self, c: char, looks_like: u8, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        let mut lower = [0; 4];
        let lower = c.to_lowercase().next().unwrap_or(c).encode_utf8(&mut lower);
        self.begin_written();
        self.shape.lookalike = true;
        self.word.push(looks_like);
        self.written.extend_from_slice(lower.as_bytes());
        self.end_long_word(words, done);
    }

    /// A run of plain letters: what most text is.
    fn letters(&mut self, run: &[u8], words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        if self.word.len() + run.len() >= POLICY_WORD_BYTES_MAX {
            run.iter().for_each(|letter| self.latin(letter | 0x20, words, done));
            return;
        }
        self.shape.latin = true;
        self.word.extend(run.iter().map(|letter| letter | 0x20));
        if self.shape.lookalike || self.shape.letter {
            self.written.extend(run.iter().map(|letter| letter | 0x20));
        }
    }

    fn latin(&mut self, letter: u8, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        self.shape.latin = true;
        self.letter(letter, words, done);
    }

    fn letter(&mut self, letter: u8, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        self.word.push(letter);
        if self.shape.lookalike || self.shape.letter {
            self.written.push(letter);
        }
        self.end_long_word(words, done);
    }

    /// From the first letter of another script on, what is written is remembered.
    fn begin_written(&mut self) {
        if self.written.is_empty() {
            self.written.extend_from_slice(&self.word);
        }
    }

    /// A word beyond any measure is cut: keys, hashes and scripts without spaces.
    fn end_long_word(&mut self, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        if self.word.len() >= POLICY_WORD_BYTES_MAX {
            self.end_word(words, done);
        }
    }

    fn space(&mut self, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        self.gap = if matches!(self.gap, Gap::Space | Gap::Spaces) { Gap::Spaces } else { Gap::Space };
        // "k. i. l. l." is no four sentences, and neither is "e. g.".
        if self.stopped && self.singles == 0 {
            self.end_sentence(words, done);
        }
        self.stopped = false;
    }

    fn mark(&mut self) {
        self.gap = Gap::Marks;
    }

    fn end_word(&mut self, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        if self.word.is_empty() {
            return;
        }
        self.lines = 0;
        let shape = std::mem::take(&mut self.shape);
        let mut word = std::mem::take(&mut self.word);
        let plain = !(shape.lookalike || shape.letter || shape.digit || shape.sign || is_drawn_out(&word));
        if plain {
            self.add(&word, words, done);
        } else {
            self.undress(&mut word, shape, words, done);
        }
        word.clear();
        self.word = word;
        self.written.clear();
    }

    /// A word that may be another one in disguise.
    fn undress(&mut self, word: &mut Vec<u8>, shape: Shape, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        let ends = word.iter().rev().take_while(|byte| is_sign(**byte));
        let ending = ends.clone().count();
        let exclaims = ends.into_iter().any(|&byte| byte == b'!');
        // A word of signs alone is nothing, and what is left of "stop!!" is plain.
        word.truncate(word.len() - ending);
        self.written.truncate(self.written.len().saturating_sub(ending));
        let mut candidate = std::mem::take(&mut self.candidate);
        if !word.is_empty() {
            if shape.letter || (shape.lookalike && !shape.latin) {
                let known = !shape.letter && words.undress(word, &mut candidate);
                let written = std::mem::take(&mut self.written);
                // "сор" is a Russian word until it's one that we look for.
                self.add(if known { &candidate } else { &written }, words, done);
                self.written = written;
            } else if shape.digit && is_number(word) && !is_drawn_out(word) && !words.is_spelled(word, &mut candidate) {
                // "1f00d" and "2024" are numbers.
                self.add(word, words, done);
            } else if words.undress(word, &mut candidate) {
                self.add(&candidate, words, done);
            } else {
                for part in word.split(|byte| is_sign(*byte)).filter(|part| !part.is_empty()) {
                    self.add(part, words, done);
                    self.gap = Gap::Marks;
                }
            }
        }
        self.candidate = candidate;
        if ending > 0 {
            self.mark();
        }
        self.stopped |= exclaims;
    }

    /// Adds a word to the sentence.
    fn add(&mut self, word: &[u8], words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        if word.len() > 1 {
            self.join_singles(words);
        }
        let gap = std::mem::replace(&mut self.gap, Gap::Marks);
        self.stopped = false;
        self.sentence.push(word, self.quoted, gap);
        self.singles = if word.len() == 1 && word[0].is_ascii_alphabetic() { self.singles + 1 } else { 0 };
        match gap {
            Gap::Underscore | Gap::Space | Gap::Spaces => {}
            Gap::Marks if self.singles > 0 => {}
            Gap::Marks => self.join_glued(words),
            Gap::Part => self.join_parts(words),
        }
        if self.sentence.words.len() >= POLICY_SENTENCE_WORDS {
            self.join_singles(words);
            done(&mut self.sentence);
            self.sentence.keep_last(POLICY_SENTENCE_OVERLAP);
        }
    }

    fn end_sentence(&mut self, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        self.join_singles(words);
        if !self.sentence.words.is_empty() {
            done(&mut self.sentence);
            if self.sentence.join_border() {
                done(&mut self.sentence);
            }
        }
        self.sentence.clear();
        self.quoted = false;
        self.stopped = false;
    }

    /// "h a t e" is a word.
    fn join_singles(&mut self, words: &Words) {
        let singles = std::mem::take(&mut self.singles);
        if singles < 3 {
            return;
        }
        let mut joined = std::mem::take(&mut self.candidate);
        joined.clear();
        let first = self.sentence.words.len() - singles;
        joined.extend(self.sentence.words[first..].iter().map(|word| self.sentence.text[word.start as usize]));
        if let Some(lengths) = self.chunks(first, &joined, words).or_else(|| words.segment(&joined)) {
            let quoted = self.sentence.words[first].quoted;
            self.sentence.truncate(first);
            let mut rest = &joined[..];
            for &length in lengths.iter().take_while(|length| **length > 0) {
                let (word, behind) = rest.split_at(usize::from(length));
                self.sentence.push(word, quoted, Gap::Space);
                rest = behind;
            }
        }
        self.candidate = joined;
    }

    /// The lengths of the words of "h a t e  t h e m" and "h.a.t.e t.h.e.m": what is wider apart than the rest ends one.
    fn chunks(&self, first: usize, joined: &[u8], words: &Words) -> Option<[u8; SEGMENTS_MAX]> {
        let gaps = || self.sentence.words[first + 1..].iter().map(|word| word.gap);
        let widest = gaps().max().filter(|widest| gaps().any(|gap| gap != *widest))?;
        let mut lengths = [0; SEGMENTS_MAX];
        let mut count = 0;
        *lengths.first_mut()? = 1;
        for gap in gaps() {
            count += usize::from(gap == widest);
            *lengths.get_mut(count)? += 1;
        }
        let mut rest = joined;
        let mut is_word = |length: u8| {
            let word;
            (word, rest) = rest.split_at(usize::from(length));
            (word.len() > 1 || b"aiu".contains(&word[0])) && words.is_known_inflected(word)
        };
        lengths[..=count].iter().all(|&length| is_word(length)).then_some(lengths)
    }

    /// "ha-te" is a word that we look for.
    fn join_glued(&mut self, words: &Words) {
        let all = &self.sentence.words;
        let glued = all.iter().rev().take(3).take_while(|word| word.gap == Gap::Marks).count();
        let mut joined = std::mem::take(&mut self.candidate);
        for back in (1..=glued).rev() {
            let Some(first) = self.sentence.words.len().checked_sub(back + 1) else { continue };
            joined.clear();
            for word in &self.sentence.words[first..] {
                joined.extend_from_slice(self.sentence.of(*word));
            }
            // Longer ones have no need of a mark to be cut.
            if joined.len() <= GLUED_BYTES_MAX && words.is_severe(&joined) {
                self.sentence.replace_from(first, &joined);
                break;
            }
        }
        self.candidate = joined;
    }

    /// A word may begin in one part and end in the next.
    fn join_parts(&mut self, words: &Words) {
        let Some(first) = self.sentence.words.len().checked_sub(2) else { return };
        let (begin, end) = (self.sentence.words[first], self.sentence.words[first + 1]);
        let (begin, end) = (self.sentence.of(begin), self.sentence.of(end));
        let mut joined = std::mem::take(&mut self.candidate);
        joined.clear();
        joined.extend_from_slice(begin);
        joined.extend_from_slice(end);
        let is_word = |word: &[u8]| words.is_known(word) && (word.len() > 1 || b"aiu".contains(&word[0]));
        let are_words = is_word(begin) && is_word(end);
        if words.is_severe(&joined) || (words.is_known(&joined) && !are_words) {
            self.sentence.replace_from(first, &joined);
        } else if words.is_known(&joined) {
            // At most as many as a sentence has words.
            self.sentence.border = Some(first as u32);
        }
        self.candidate = joined;
    }

    fn entity_byte(&mut self, byte: u8, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        let Some(mut entity) = self.entity.take() else { return };
        if entity.is_escape {
            match entity.escaped(byte) {
                Some(Escaped::Open) => self.entity = Some(entity),
                Some(Escaped::Is(c)) if c.is_ascii() => self.ascii(c as u8, words, done),
                Some(Escaped::Is(c)) => self.character(c, words, done),
                None => {
                    self.entity = Some(entity);
                    self.give_up_entity(words, done);
                    self.ascii(byte, words, done);
                }
            }
            return;
        }
        if byte == b';' {
            match entity.character() {
                Some(c) if c.is_ascii() => return self.ascii(c as u8, words, done),
                Some(c) => return self.character(c, words, done),
                None => {}
            }
        } else if (byte.is_ascii_alphanumeric() || byte == b'#') && entity.len < entity.bytes.len() {
            entity.bytes[entity.len] = byte;
            entity.len += 1;
            self.entity = Some(entity);
            return;
        }
        self.entity = Some(entity);
        self.give_up_entity(words, done);
        self.ascii(byte, words, done);
    }

    /// It was none: its bytes are text.
    fn give_up_entity(&mut self, words: &Words, done: &mut impl FnMut(&mut Sentence)) {
        let Some(entity) = self.entity.take() else { return };
        self.ascii(b',', words, done);
        for &byte in &entity.bytes[..entity.len] {
            self.ascii(byte, words, done);
        }
    }
}

/// Whether it has three equal letters in a row.
fn is_drawn_out(word: &[u8]) -> bool {
    word.windows(3).any(|three| three[0] == three[1] && three[1] == three[2])
}

/// Whether it is a number, or part of one in base 16: up to five letters and digits that begin with a letter may as well be
/// a word.
fn is_number(word: &[u8]) -> bool {
    let may_be_word = word.len() <= 5 && word[0].is_ascii_alphabetic();
    word.iter().all(u8::is_ascii_hexdigit) && !may_be_word
}

const fn is_sign(byte: u8) -> bool {
    matches!(byte, b'@' | b'$' | b'!' | b'|' | b'+' | b'*')
}

impl Entity {
    fn escape() -> Self {
        Self { is_escape: true, ..Self::default() }
    }

    /// Reads on; none if it's no escape.
    fn escaped(&mut self, byte: u8) -> Option<Escaped> {
        match (self.len, byte) {
            (0, b'n') => return Some(Escaped::Is('\n')),
            (0, b't' | b'r') => return Some(Escaped::Is(' ')),
            (0, b'u') => {}
            (1..=4, _) if byte.is_ascii_hexdigit() => {}
            _ => return None,
        }
        self.bytes[self.len] = byte;
        self.len += 1;
        if self.len < 5 {
            return Some(Escaped::Open);
        }
        let code = u32::from_str_radix(std::str::from_utf8(&self.bytes[1..5]).ok()?, 16).ok()?;
        // Half of a pair stands for nothing that looks like a letter.
        Some(Escaped::Is(char::from_u32(code).filter(|c| !matches!(c, '&' | '\\')).unwrap_or(',')))
    }

    /// The character that it stands for (HTML, "Named character references", those that dress words up).
    fn character(self) -> Option<char> {
        let name = std::str::from_utf8(&self.bytes[..self.len]).ok()?;
        match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            "nbsp" => Some(' '),
            "shy" | "zwj" | "zwnj" => Some('\u{200b}'),
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                char::from_u32(code.ok()?).filter(|c| *c != '&')
            }
        }
    }
}

impl Sentence {
    /// A word's bytes.
    pub(super) fn of(&self, word: Word) -> &[u8] {
        &self.text[word.start as usize..word.end as usize]
    }

    fn push(&mut self, word: &[u8], quoted: bool, gap: Gap) {
        self.text.push(b' ');
        // Both bounds of a sentence are far below 2^32.
        let start = self.text.len() as u32;
        self.text.extend_from_slice(word);
        self.words.push(Word { start, end: self.text.len() as u32, quoted, gap });
    }

    /// Puts one word in the place of those from the `first`-th on.
    fn replace_from(&mut self, first: usize, word: &[u8]) {
        let Word { quoted, gap, .. } = self.words[first];
        self.truncate(first);
        self.push(word, quoted, gap);
    }

    /// Leaves the words before the `first`-th.
    fn truncate(&mut self, first: usize) {
        let end = self.words.get(first).map_or(self.text.len(), |word| (word.start as usize).saturating_sub(1));
        self.text.truncate(end);
        self.words.truncate(first);
        // Words that are put together anew are told by other places.
        self.border = self.border.filter(|border| (*border as usize) + 1 < first);
    }

    /// Leaves the last `count` words.
    fn keep_last(&mut self, count: usize) {
        let first = self.words.len().saturating_sub(count);
        let Some(&Word { start, .. }) = self.words.get(first) else { return };
        let start = start.saturating_sub(1);
        self.border = None;
        self.text.drain(..start as usize);
        self.words.drain(..first);
        for word in &mut self.words {
            word.start -= start;
            word.end -= start;
        }
    }

    /// Makes one word of the two at the border of two parts, where both readings are possible; whether they are.
    fn join_border(&mut self) -> bool {
        let Some(first) = self.border.take().map(|first| first as usize) else { return false };
        let (Some(one), Some(other)) = (self.words.get(first), self.words.get(first + 1)) else { return false };
        // The space between them goes.
        let (gone, end) = (other.start as usize - 1, other.end - 1);
        let (start, quoted, gap) = (one.start, one.quoted, one.gap);
        self.text.remove(gone);
        self.words.remove(first + 1);
        self.words[first] = Word { start, end, quoted, gap };
        for word in &mut self.words[first + 1..] {
            word.start -= 1;
            word.end -= 1;
        }
        self.again = true;
        true
    }

    fn clear(&mut self) {
        self.text.clear();
        self.words.clear();
        self.border = None;
        self.again = false;
    }
}
