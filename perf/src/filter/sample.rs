//! Texts with what they are: sentences made from a grammar, and tweets that people have judged.
//!
//! Of both a fifth is kept aside from learning: whole templates of the grammar, so that what is measured are
//! constructions that were never seen, and every fifth tweet.

use std::collections::BTreeMap;

use fastrand::Rng;
use kt_core::policy::{CATEGORIES, Category, Knowledge};

/// What a text is, by category; none is not known.
pub type Labels = [Option<bool>; CATEGORIES];

/// One text.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The text.
    pub text: String,
    /// What it is.
    pub labels: Labels,
    /// How much it counts in learning.
    pub weight: f32,
    /// Whether it is kept aside.
    pub aside: bool,
}

/// What grows from the grammar per template.
const PER_TEMPLATE: usize = 90;
/// Every such template or tweet is kept aside.
const ASIDE_EVERY: usize = 5;
/// A tweet's weight: labels of a crowd, of one time and place, that know one category only.
const TWEET_WEIGHT: f32 = 0.3;

/// Sentences made from `grammar`; see its head for the form.
///
/// # Panics
///
/// If the grammar names a class or a category that there isn't: it is part of the repository.
pub fn from_grammar(grammar: &str, seed: u64) -> Vec<Sample> {
    let terms = Knowledge::terms_by_class();
    let mut rng = Rng::with_seed(seed);
    let mut labels = Labels::default();
    let mut samples = Vec::new();
    let mut nth = 0;
    for line in grammar.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix("= ") {
            labels = labels_of(head);
            continue;
        }
        nth += 1;
        let aside = nth % ASIDE_EVERY == 0;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..PER_TEMPLATE {
            let mut text = String::new();
            expand(line, &terms, &mut rng, &mut text);
            if seen.insert(text.clone()) {
                samples.push(Sample { text, labels, weight: 1.0, aside });
            }
        }
    }
    samples
}

fn labels_of(head: &str) -> Labels {
    let mut labels = [Some(false); CATEGORIES];
    for word in head.split(' ').filter(|word| *word != "safe") {
        let (category, label) = word.strip_prefix('?').map_or((word, Some(true)), |open| (open, None));
        labels[Category::parse(category).expect("a category") as usize] = label;
    }
    labels
}

/// Appends what a template may stand for.
fn expand(template: &str, terms: &BTreeMap<String, Vec<String>>, rng: &mut Rng, out: &mut String) {
    let mut rest = template;
    while let Some(at) = rest.find(['{', '(', '[']) {
        out.push_str(&rest[..at]);
        let open = rest.as_bytes()[at];
        let len = closing(&rest[at..]);
        let inside = &rest[at + 1..at + len - 1];
        match open {
            b'{' if inside == "name" => out.push_str(rng.choice(["Tom", "Anna", "Sam", "Maria"]).unwrap_or("Tom")),
            b'{' => {
                let class = terms.get(inside).unwrap_or_else(|| panic!("a class of the lexicon: {inside}"));
                out.push_str(rng.choice(class).expect("no class is empty"));
            }
            b'(' => {
                let branches = branches(inside);
                expand(rng.choice(branches).unwrap_or_default(), terms, rng, out);
            }
            _ if rng.bool() => {
                let branches = branches(inside);
                expand(rng.choice(branches).unwrap_or_default(), terms, rng, out);
            }
            _ => {
                // Nothing, and no double space either.
                if out.ends_with(' ') && rest[at + len..].starts_with(' ') {
                    out.pop();
                }
            }
        }
        rest = &rest[at + len..];
    }
    out.push_str(rest);
}

/// Length of the bracket that `text` starts with, its end included.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    panic!("a bracket without its end: {text}");
}

fn branches(inside: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            b'|' if depth == 0 => {
                found.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&inside[start..]);
    found
}

/// Tweets of Davidson et al. 2017 (MIT), as their CSV has them: class 0 is hate, 1 offensive, 2 neither.
///
/// Whether what is offensive is hate is where the crowd and others differ most, so it is left open; of the other
/// categories nothing is known.
pub fn from_davidson(csv: &str) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (nth, record) in records(csv).into_iter().skip(1).enumerate() {
        let [.., class, text] = record.as_slice() else { continue };
        let hate = match class.as_str() {
            "0" => Some(true),
            "1" => None,
            "2" => Some(false),
            _ => continue,
        };
        let mut labels = Labels::default();
        labels[Category::Hate as usize] = hate;
        if class == "2" {
            labels[Category::Harassment as usize] = Some(false);
        }
        let text = text.split(' ').filter(|word| !word.starts_with('@') && !word.starts_with("http"));
        let text = text.collect::<Vec<_>>().join(" ");
        samples.push(Sample { text, labels, weight: TWEET_WEIGHT, aside: nth % ASIDE_EVERY == 0 });
    }
    samples
}

/// Harmless text, sentence by sentence: what is known of it is that it is none of it.
pub fn harmless(text: &str) -> Vec<Sample> {
    let lines = text.lines().map(str::trim).filter(|line| line.len() >= 20);
    lines
        .enumerate()
        .map(|(nth, line)| Sample {
            text: line.to_owned(),
            labels: [Some(false); CATEGORIES],
            weight: 0.5,
            aside: nth % ASIDE_EVERY == 0,
        })
        .collect()
}

/// The records of a CSV (RFC 4180).
pub fn records(csv: &str) -> Vec<Vec<String>> {
    let (mut all, mut record, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = csv.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                all.push(std::mem::take(&mut record));
            }
            '\r' if !quoted => {}
            _ => field.push(c),
        }
    }
    if !record.is_empty() || !field.is_empty() {
        record.push(field);
        all.push(record);
    }
    all
}
