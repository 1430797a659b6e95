//! The single words that the filter knows, and how a word in disguise is held against them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::limits::POLICY_WORD_BYTES_MAX;

/// Words by their bytes. They are our own few thousand, so no hash has to withstand anybody.
type Map<T> = HashMap<Box<[u8]>, T, BuildHasherDefault<Fnv>>;

/// FNV-1a, which is quick for some ten bytes.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// What is known of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It is part of what is looked for, or very common.
    Plain,
    /// By itself it is something that is looked for, at least at `medium`.
    Severe,
}

/// All known words.
#[derive(Debug, Default)]
pub(super) struct Words {
    known: Map<Known>,
    /// Severe words by their length, for those of which single letters are hidden.
    severe: Vec<Vec<Box<[u8]>>>,
    /// By what is left of them when every run of a letter is one letter: only those where that is no known word.
    squeezed: Map<Box<[u8]>>,
}

/// Longest word that segments are looked for in.
const SEGMENTED_BYTES_MAX: usize = 48;
/// Longest known word that is a segment.
const SEGMENT_BYTES_MAX: usize = 16;
/// Most segments.
pub(super) const SEGMENTS_MAX: usize = 12;

impl Words {
    /// Adds a word; `severe` says whether it is looked for by itself.
    pub(super) fn add(&mut self, word: &[u8], severe: bool) {
        let known = self.known.entry(word.into()).or_insert(Known::Plain);
        if severe && *known == Known::Plain {
            *known = Known::Severe;
            if self.severe.len() <= word.len() {
                self.severe.resize_with(word.len() + 1, Vec::new);
            }
            self.severe[word.len()].push(word.into());
        }
    }

    /// To be called when all words are added.
    pub(super) fn complete(&mut self) {
        let severe = self.known.iter().filter(|(_, known)| **known == Known::Severe);
        for (word, _) in severe {
            let mut short = word.to_vec();
            short.dedup();
            if short.len() >= 3 && !self.known.contains_key(&*short) {
                // Of two words with the same squeezed form the smaller one stays, so that the order is no matter.
                let kept = self.squeezed.entry(short.into()).or_insert_with(|| word.clone());
                if *word < *kept {
                    kept.clone_from(word);
                }
            }
        }
    }

    /// Whether it is looked for by itself.
    pub(super) fn is_severe(&self, word: &[u8]) -> bool {
        self.known.get(word) == Some(&Known::Severe)
    }

    /// Whether it is a word that is known.
    pub(super) fn is_known(&self, word: &[u8]) -> bool {
        self.known.contains_key(word)
    }

    /// Writes the known word that `word` is a disguise of, if it is one.
    pub(super) fn undress(&self, word: &[u8], out: &mut Vec<u8>) -> bool {
        // "900k" and "da9055" are numbers with a letter or two, "b00b5" is a word.
        let letters = word.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
        let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
        if digits > letters + usize::from(letters > 1) {
            return false;
        }
        for one in [b'i', b'l'] {
            out.clear();
            out.extend(word.iter().map(|&byte| letter_for(byte, one)));
            if self.settle(out) {
                return true;
            }
            if !word.iter().any(|byte| matches!(byte, b'1' | b'!' | b'|')) {
                break;
            }
        }
        self.fill_in(word, out)
    }

    /// Whether a number in base 16 is a word all the same: a long one that is known, as "0ff1c3".
    pub(super) fn is_spelled(&self, word: &[u8], out: &mut Vec<u8>) -> bool {
        word.len() >= 6 && !word.iter().all(u8::is_ascii_digit) && self.undress(word, out)
    }

    /// Finds a known word in one whose letters may be drawn out or which is inflected.
    fn settle(&self, word: &mut Vec<u8>) -> bool {
        if self.is_known_inflected(word) {
            return true;
        }
        let drawn_out = word.windows(3).any(|three| three[0] == three[1] && three[1] == three[2]);
        if !drawn_out {
            return false;
        }
        // "shooot" is "shoot" rather than "shot"; "baaall" is "ball"; else the one that squeezes to the same.
        let (mut room, mut other_room) = ([0; ROOM], [0; ROOM]);
        let drawn = copied(word, &mut room);
        word.clear();
        for run in drawn.chunk_by(|one, other| one == other) {
            word.extend_from_slice(&run[..run.len().min(2)]);
        }
        // "tooo" is "to" all the same.
        let is_short = word.len() <= 3 && !self.is_severe(word);
        if !is_short && self.is_known_inflected(word) {
            return true;
        }
        let twice = copied(word, &mut other_room);
        word.clear();
        for run in drawn.chunk_by(|one, other| one == other) {
            word.extend_from_slice(if run.len() > 2 { &run[..1] } else { run });
        }
        if self.is_known_inflected(word) {
            return true;
        }
        word.clear();
        word.extend_from_slice(twice);
        if self.is_known_inflected(word) {
            return true;
        }
        word.dedup();
        if self.is_known_inflected(word) {
            return true;
        }
        for ending in [0, 1, 2, 3] {
            let Some(stem) = word.len().checked_sub(ending) else { break };
            if !ENDINGS.contains(&&word[stem..]) {
                continue;
            }
            if let Some(known) = self.squeezed.get(&word[..stem]) {
                let mut room = [0; ROOM];
                let behind = copied(&word[stem..], &mut room);
                word.clear();
                word.extend_from_slice(known);
                word.extend_from_slice(behind);
                return true;
            }
        }
        word.clear();
        word.extend_from_slice(twice);
        // Not known, but no longer drawn out either.
        word.iter().all(u8::is_ascii_lowercase)
    }

    /// Whether it is one that is known, or one that is looked for with an ending.
    pub(super) fn is_known_inflected(&self, word: &[u8]) -> bool {
        self.is_known(word)
            || ENDINGS.iter().any(|ending| word.strip_suffix(*ending).is_some_and(|w| self.is_severe(w)))
    }

    /// A word with single letters starred out.
    fn fill_in(&self, word: &[u8], out: &mut Vec<u8>) -> bool {
        let hidden = word.iter().filter(|byte| **byte == b'*').count();
        if hidden == 0 || hidden + 2 > word.len() || !word[0].is_ascii_lowercase() {
            return false;
        }
        let Some(severe) = self.severe.get(word.len()) else { return false };
        let fits = |known: &[u8]| known.iter().zip(word).all(|(a, b)| *b == b'*' || *a == letter_for(*b, b'i'));
        let Some(known) = severe.iter().find(|known| fits(known)) else { return false };
        out.clear();
        out.extend_from_slice(known);
        true
    }

    /// The lengths of the known words that `joined` is made of, the fewest of them; zeros fill the rest.
    pub(super) fn segment(&self, joined: &[u8]) -> Option<[u8; SEGMENTS_MAX]> {
        if joined.len() > SEGMENTED_BYTES_MAX {
            return None;
        }
        // Fewest words up to each place, and the length of the last of them.
        let mut best = [(u8::MAX, 0_u8); SEGMENTED_BYTES_MAX + 1];
        best[0] = (0, 0);
        for end in 1..=joined.len() {
            for start in end.saturating_sub(SEGMENT_BYTES_MAX)..end {
                let (count, _) = best[start];
                let better = count != u8::MAX && count + 1 < best[end].0;
                if better && (end - start > 1 || matches!(joined[start], b'i' | b'u' | b'a')) {
                    let word = &joined[start..end];
                    if self.is_known_inflected(word) {
                        // At most SEGMENT_BYTES_MAX.
                        best[end] = (count + 1, (end - start) as u8);
                    }
                }
            }
        }
        let count = usize::from(best[joined.len()].0);
        if joined.is_empty() || count > SEGMENTS_MAX {
            return None;
        }
        let mut lengths = [0; SEGMENTS_MAX];
        let mut end = joined.len();
        for nth in (0..count).rev() {
            lengths[nth] = best[end].1;
            end -= usize::from(best[end].1);
        }
        Some(lengths)
    }
}

/// Room for the longest word: the last character of one that is cut may have four bytes.
const ROOM: usize = POLICY_WORD_BYTES_MAX + 4;

/// A word aside, without taking memory.
fn copied<'r>(word: &[u8], room: &'r mut [u8; ROOM]) -> &'r [u8] {
    let length = word.len().min(ROOM);
    room[..length].copy_from_slice(&word[..length]);
    &room[..length]
}

/// Endings that leave a word what it is.
pub(super) const ENDINGS: [&[u8]; 7] = [b"", b"s", b"z", b"es", b"ed", b"er", b"ing"];

/// What a digit or sign stands for inside of a word; `one` is what a stroke is.
const fn letter_for(byte: u8, one: u8) -> u8 {
    match byte {
        b'0' => b'o',
        b'1' | b'!' | b'|' => one,
        b'3' => b'e',
        b'4' | b'@' => b'a',
        b'5' | b'$' => b's',
        b'7' | b'+' => b't',
        b'8' => b'b',
        b'9' => b'g',
        _ => byte,
    }
}
