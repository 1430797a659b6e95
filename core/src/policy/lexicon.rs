//! What the filter knows: terms by class, some with a grade in a category, read from `data/lexicon.rot13`.
//!
//! A class is what a term does in a sentence (a group of people, a verb of contempt, a denial…) and means nothing by
//! itself; the [`model`](super::model) learns what classes mean together. A grade is for terms that say by themselves
//! what they say. Classes named `safe` and `benignsex` hold phrases in which other terms are harmless ("kill a process").
//!
//! The file is a list of sections, `[class, forms and grades]` over terms between commas. Form `n` adds plurals, `v` the
//! forms of a verb.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::collections::BTreeMap;

use super::category::{CATEGORIES, Category, Severity};
use super::normalise::Sentence;
use super::words::{ENDINGS, Words};
use crate::limits::POLICY_SENTENCE_WORDS;

const DATA: &str = include_str!("data/lexicon.rot13");

/// Classes, as a set of bits.
pub(super) type Classes = u64;

/// Words of a sentence, as a set of bits.
pub(super) type Span = u64;

const _: () = assert!(POLICY_SENTENCE_WORDS <= 64, "a sentence's words are bits of a Span");

/// All terms, compiled.
#[derive(Debug)]
pub(super) struct Lexicon {
    automaton: AhoCorasick,
    entries: Box<[Entry]>,
    pub(super) words: Words,
    names: Box<[Box<str>]>,
    /// Those in which other terms are harmless.
    harmless: Classes,
    /// Those that tell something with any other in the same sentence.
    pub(super) telling: Classes,
    /// Those without one of which a sentence is nothing of a category, whatever its other words are.
    evidence: [Classes; CATEGORIES],
    /// Those that are evidence only where a person is spoken of: `die` is a German article, `execute` a shell's.
    unsure: Classes,
    person: Classes,
    /// That of "themselves", which is evidence only where something is done to them.
    oneself: Classes,
    done: Classes,
}

/// What there must be of each category, in their order.
const EVIDENCE: [&[&str]; CATEGORIES] = [
    &["group", "identity", "slur", "supremacy", "exclude"],
    &[
        "insult",
        "derog",
        "dehuman",
        "hateverb",
        "harass",
        "harassword",
        "threat",
        "violent",
        "death",
        "profane",
        "violentsoft",
        "deathword",
    ],
    &["violent", "violence", "violenceword", "weapon", "gore", "threat", "death", "violentsoft"],
    &["selfharm", "selfharmword", "despair", "self", "death", "deathword"],
    &["sexual", "sexword", "sexmild", "minorsex", "nonconsent"],
];

const UNSURE: [&str; 5] = ["violentsoft", "deathword", "profane", "derog", "despair"];
/// What may be done to oneself.
const DONE: [&str; 10] = [
    "violent",
    "violentsoft",
    "violence",
    "selfharm",
    "selfharmword",
    "death",
    "deathword",
    "despair",
    "gore",
    "weapon",
];
const PERSON: [&str; 9] = ["you", "me", "them", "they", "group", "minor", "othergroup", "insult", "identity"];

/// Classes that tell something together with another, however far it is.
const TELLING: [&str; 22] = [
    "violentsoft",
    "deathword",
    "supremacy",
    "excluding",
    "group",
    "identity",
    "derog",
    "dehuman",
    "insult",
    "hateverb",
    "violent",
    "death",
    "exclude",
    "slur",
    "weapon",
    "gore",
    "minor",
    "nonconsent",
    "despair",
    "counter",
    "fiction",
    "help",
];

/// A term.
#[derive(Clone, Debug, Default)]
struct Entry {
    classes: Classes,
    grades: [Severity; CATEGORIES],
    words: usize,
    /// Whether an ending may follow, and which.
    endings: Endings,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Endings {
    #[default]
    None,
    Plural,
    All,
}

/// A term found in a sentence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    /// What it does.
    pub(super) classes: Classes,
    /// Where it stands.
    pub(super) span: Span,
    /// How bad it is by itself, by category.
    pub(super) grades: [Severity; CATEGORIES],
}

impl Hit {
    /// The first of its words.
    pub(super) const fn first(&self) -> usize {
        self.span.trailing_zeros() as usize
    }

    /// The last of its words.
    pub(super) const fn last(&self) -> usize {
        63 - self.span.leading_zeros() as usize
    }
}

impl Lexicon {
    /// Reads our own file.
    pub(super) fn new() -> Self {
        Self::read(&shifted(DATA))
    }

    fn read(text: &str) -> Self {
        let mut names: Vec<Box<str>> = Vec::new();
        // In order, so that every build gives the same automaton.
        let mut terms: BTreeMap<String, Entry> = BTreeMap::new();
        let mut words = Words::default();
        let mut section = Section::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(head) = line.strip_prefix('[') {
                section = Section::read(head.trim_end_matches(']'), &mut names);
                continue;
            }
            for term in line.split(',').filter_map(plain) {
                for form in section.forms(&term) {
                    if !section.is_common {
                        let entry = terms.entry(form.clone()).or_default();
                        entry.classes |= section.classes;
                        entry.words = form.split(' ').count();
                        for (grade, own) in entry.grades.iter_mut().zip(section.grades) {
                            *grade = (*grade).max(own);
                        }
                    }
                    for word in form.split(' ') {
                        words.add(word.as_bytes(), false);
                    }
                }
            }
        }
        let harmless = class_of(&names, "safe") | class_of(&names, "benignsex");
        for (term, entry) in &mut terms {
            let worst = entry.grades.iter().copied().max().unwrap_or_default();
            let severe = worst >= Severity::Medium && entry.classes & harmless == 0;
            if severe && entry.words == 1 && term.len() >= 3 {
                words.add(term.as_bytes(), true);
            }
            entry.endings = match worst {
                Severity::High if severe && term.len() > 4 => Endings::All,
                Severity::High | Severity::Medium if severe => Endings::Plural,
                _ => Endings::None,
            };
        }
        words.complete();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            // Behind a space, so that nothing is begun within a word.
            .build(terms.keys().map(|term| format!(" {term}")))
            .expect("our own few thousand short terms are far below the automaton's limits");
        let entries = terms.into_values().collect();
        let all_of = |wanted: &[&str]| wanted.iter().fold(0, |all, name| all | class_of(&names, name));
        let (telling, evidence) = (all_of(&TELLING), EVIDENCE.map(all_of));
        let (unsure, person) = (all_of(&UNSURE), all_of(&PERSON));
        let (oneself, done) = (class_of(&names, "self"), all_of(&DONE));
        let names = names.into();
        Self { automaton, entries, words, names, harmless, telling, evidence, unsure, person, oneself, done }
    }

    /// How many classes there are.
    pub(super) fn classes(&self) -> usize {
        self.names.len()
    }

    /// The name of a class.
    pub(super) fn name(&self, class: usize) -> &str {
        self.names.get(class).map_or("", |name| name)
    }

    /// A class by its name; none has no bit set.
    pub(super) fn class(&self, name: &str) -> Classes {
        class_of(&self.names, name)
    }

    /// Of which categories classes are evidence.
    pub(super) fn evidence(&self, present: Classes) -> [bool; CATEGORIES] {
        let sure = if present & self.person == 0 { present & !self.unsure } else { present };
        let sure = if present & self.done == 0 { sure & !self.oneself } else { sure };
        self.evidence.map(|classes| classes & sure != 0)
    }

    /// Finds the terms of a sentence; those that are harmless where they stand are left out, and a class counts once
    /// for words that are part of a longer term of the same class.
    pub(super) fn find(&self, sentence: &Sentence, hits: &mut Vec<Hit>) {
        hits.clear();
        let mut at = 0;
        let mut harmless: Span = 0;
        for found in self.automaton.find_overlapping_iter(&sentence.text) {
            let end = found.end();
            while sentence.words.get(at).is_some_and(|word| (word.end as usize) < end) {
                at += 1;
            }
            let Some(word) = sentence.words.get(at) else { continue };
            let entry = &self.entries[found.pattern().as_usize()];
            let behind = &sentence.text[end..word.end as usize];
            let ends = match entry.endings {
                Endings::None => behind.is_empty(),
                Endings::Plural => matches!(behind, b"" | b"s" | b"z"),
                Endings::All => ENDINGS.contains(&behind),
            };
            let Some(first) = (at + 1).checked_sub(entry.words).filter(|_| ends) else { continue };
            let span = bits(first, at);
            if entry.classes & self.harmless != 0 {
                harmless |= span;
            }
            hits.push(Hit { classes: entry.classes, span, grades: entry.grades });
        }
        hits.retain(|hit| hit.classes & self.harmless != 0 || hit.span & !harmless != 0);
        for shorter in 0..hits.len() {
            let mut classes = hits[shorter].classes;
            for longer in &*hits {
                let within = hits[shorter].span & !longer.span == 0 && hits[shorter].span != longer.span;
                classes &= if within { !longer.classes } else { Classes::MAX };
            }
            hits[shorter].classes = classes;
        }
        hits.sort_by_key(|hit| (hit.first(), hit.last()));
    }
}

/// The terms of every class, in all their forms, in the order of the file; common words are no class.
pub(super) fn terms_by_class() -> BTreeMap<String, Vec<String>> {
    let (mut names, mut section) = (Vec::new(), Section::default());
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut class = String::new();
    for line in shifted(DATA).lines().filter(|line| !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix('[') {
            section = Section::read(head.trim_end_matches(']'), &mut names);
            class = head.split([' ', ']']).next().unwrap_or_default().to_owned();
        } else if !section.is_common {
            let terms = found.entry(class.clone()).or_default();
            terms.extend(line.split(',').filter_map(plain).flat_map(|term| section.forms(&term)));
        }
    }
    found
}

/// The terms that are of the worst grade by themselves, with its category, in the order of the file.
pub(super) fn severe_terms() -> Vec<(String, Category)> {
    let (mut names, mut section) = (Vec::new(), Section::default());
    let mut found = Vec::new();
    for line in shifted(DATA).lines().filter(|line| !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix('[') {
            section = Section::read(head.trim_end_matches(']'), &mut names);
        }
        let is_severe = |category: &Category| section.grades[*category as usize] == Severity::High;
        if let Some(category) = Category::ALL.into_iter().find(is_severe).filter(|_| !line.starts_with('[')) {
            found.extend(line.split(',').filter_map(plain).map(|term| (term, category)));
        }
    }
    found
}

/// The words from `first` to `last`.
const fn bits(first: usize, last: usize) -> Span {
    (Span::MAX >> (63 - last)) & (Span::MAX << first)
}

fn class_of(names: &[Box<str>], name: &str) -> Classes {
    names.iter().position(|each| **each == *name).map_or(0, |class| 1 << class)
}

/// The text with every letter shifted by thirteen places.
fn shifted(text: &str) -> String {
    let shift = |c: char| match c {
        'a'..='z' => char::from((c as u8 - b'a' + 13) % 26 + b'a'),
        'A'..='Z' => char::from((c as u8 - b'A' + 13) % 26 + b'A'),
        _ => c,
    };
    text.lines()
        .flat_map(|line| {
            let plain = line.starts_with('#');
            line.chars().map(move |c| if plain { c } else { shift(c) }).chain(std::iter::once('\n'))
        })
        .collect()
}

/// A term as the [`normalise`](super::normalise) writes it: lower case, no apostrophes, single spaces for all else.
fn plain(term: &str) -> Option<String> {
    let letters = term.chars().filter(|c| *c != '\'').map(|c| if c.is_alphanumeric() { c } else { ' ' });
    let spaced: String = letters.flat_map(char::to_lowercase).collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[derive(Default)]
struct Section {
    classes: Classes,
    grades: [Severity; CATEGORIES],
    is_noun: bool,
    is_verb: bool,
    /// Common words, which are known and mean nothing.
    is_common: bool,
}

impl Section {
    fn read(head: &str, names: &mut Vec<Box<str>>) -> Self {
        let mut section = Self::default();
        let mut words = head.split(' ');
        let name = words.next().unwrap_or_default();
        section.is_common = name == "word";
        if !section.is_common && class_of(names, name) == 0 {
            names.push(name.into());
        }
        section.classes = class_of(names, name);
        for word in words {
            match word.split_once(':') {
                None => {
                    section.is_noun |= word == "n";
                    section.is_verb |= word == "v";
                }
                Some((category, grade)) => {
                    let grade = match grade {
                        "1" => Severity::Low,
                        "2" => Severity::Medium,
                        _ => Severity::High,
                    };
                    if let Some(category) = Category::parse(category) {
                        section.grades[category as usize] = grade;
                    }
                }
            }
        }
        section
    }

    fn forms(&self, term: &str) -> Vec<String> {
        let mut forms = vec![term.to_owned()];
        if self.is_noun {
            forms.push(plural(term));
        }
        if self.is_verb {
            let (verb, rest) = term.split_once(' ').map_or((term, ""), |(verb, _)| (verb, &term[verb.len()..]));
            forms.extend(verb_forms(verb).map(|form| form + rest));
        }
        forms
    }
}

fn plural(noun: &str) -> String {
    if let Some(stem) = noun.strip_suffix("man") {
        return format!("{stem}men");
    }
    if let Some(stem) = noun.strip_suffix("person") {
        return format!("{stem}people");
    }
    let vowel_before_y = |stem: &str| stem.ends_with(['a', 'e', 'o', 'u']);
    match noun.strip_suffix('y').filter(|stem| !vowel_before_y(stem)) {
        Some(stem) => format!("{stem}ies"),
        None if noun.ends_with(['s', 'x', 'z']) || noun.ends_with("ch") || noun.ends_with("sh") => format!("{noun}es"),
        None => format!("{noun}s"),
    }
}

/// The forms of a regular verb; a short stem with a single vowel doubles its last letter.
fn verb_forms(verb: &str) -> [String; 3] {
    let third = plural(verb);
    if let Some(stem) = verb.strip_suffix('e') {
        return [third, format!("{stem}ing"), format!("{verb}d")];
    }
    if let Some(stem) = verb.strip_suffix('y').filter(|_| third.ends_with("ies")) {
        return [third, format!("{verb}ing"), format!("{stem}ied")];
    }
    let is_vowel = |byte: u8| b"aeiou".contains(&byte);
    let doubled = match verb.as_bytes() {
        [.., before, vowel, last] => {
            verb.len() <= 4 && is_vowel(*vowel) && !is_vowel(*before) && !b"aeiouwxy".contains(last)
        }
        _ => false,
    };
    let last = if doubled { &verb[verb.len() - 1..] } else { "" };
    [third, format!("{verb}{last}ing"), format!("{verb}{last}ed")]
}
