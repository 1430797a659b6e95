//! A text held against what the filter knows: a score, a severity and a cause per category.
//!
//! [`Knowledge`] is what is known, shared by all policies of a plan; a [`Scan`] reads one text, in pieces cut anywhere.
//! Each sentence is scored by the model, alone and with the one before it, and by the grades of its terms; the worst
//! counts. The further a sentence is from the start the more it takes, since among thousands of harmless sentences one
//! or the other looks like something.

use std::collections::BTreeMap;

use super::category::{CATEGORIES, Category, Severity};
use super::lexicon::{Classes, Hit, Lexicon, severe_terms, terms_by_class};
use super::model::{Features, Model, Sums};
use super::normalise::{Reader, Sentence};

/// What is looked for, compiled: the lexicon and the models.
#[derive(Debug)]
pub struct Knowledge {
    lexicon: Lexicon,
    model: Model,
    classes: Named,
}

/// Classes by which a term's context is told.
#[derive(Clone, Copy, Debug)]
struct Named {
    slur: Classes,
    negate: Classes,
    counter: Classes,
    help: Classes,
    fiction: Classes,
}

/// A term of the lexicon in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term<'k> {
    /// Its class.
    pub class: &'k str,
    /// Its first and its last word, counted from 0.
    pub words: (usize, usize),
}

/// What was found in one category.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Finding {
    /// From 0 to 1.
    pub score: f32,
    /// What the score means.
    pub severity: Severity,
    /// Whether a term of the lexicon says it, and not the model.
    pub by_term: bool,
}

/// What was found in a text, by category.
pub type Findings = [Finding; CATEGORIES];

/// Reads a text and keeps the worst of it. Used again and again, it allocates nothing.
#[derive(Debug, Default)]
pub struct Scan {
    reader: Reader,
    /// For words that stand between the parts of a text.
    aside: Reader,
    judge: Judge,
}

/// What a sentence says, for the next one.
#[derive(Clone, Copy, Debug, Default)]
struct Context {
    sums: Sums,
    evidence: [bool; CATEGORIES],
}

#[derive(Debug, Default)]
struct Judge {
    hits: Vec<Hit>,
    features: Features,
    /// Of the sentence before.
    before: Context,
    /// Of the one before that, for a sentence that is read again.
    earlier: Context,
    sentences: u32,
    findings: Findings,
}

/// How much more a sentence takes, in logits, each time the text before it has become e times as long…
const DISTANCE_WEIGHT: f32 = 0.8;
/// …counted from this many sentences.
const DISTANCE_FROM: f32 = 5.0;
/// How much more what is no speech takes, in logits.
const LISTING_WEIGHT: f32 = 4.0;
/// Below this logit of the model a term is a mere mention: at once, if it's of medium grade…
const MENTION_BELOW: f32 = -2.4;
/// …and if it's of the worst, below this one in the first sentence of a text, whatever is around it…
const SEVERE_BELOW: f32 = -12.0;
/// …and so much more each time the text has become e times as long, up to the former.
const SEVERE_WEIGHT: f32 = 3.0;

impl Knowledge {
    /// Reads what is built in; takes some milliseconds.
    pub fn new() -> Self {
        Self::with_model(Model::new())
    }

    /// With other weights than those built in.
    pub fn with_model(model: Model) -> Self {
        let lexicon = Lexicon::new();
        let classes = Named {
            slur: lexicon.class("slur"),
            negate: lexicon.class("negate"),
            counter: lexicon.class("counter"),
            help: lexicon.class("help"),
            fiction: lexicon.class("fiction"),
        };
        Self { lexicon, model, classes }
    }

    /// Calls `read` with the features of each sentence of a text. For the lab, which learns from them.
    pub fn features(&self, text: &str, read: &mut dyn FnMut(&Features)) {
        let (mut reader, mut hits, mut features) = (Reader::default(), Vec::new(), Features::default());
        let mut done = |sentence: &mut Sentence| {
            self.lexicon.find(sentence, &mut hits);
            features.read(sentence, &hits, &self.lexicon);
            read(&features);
        };
        reader.push(text, &self.lexicon.words, &mut done);
        reader.finish(&self.lexicon.words, &mut done);
    }

    /// Calls `say` with each sentence as it is read, and its terms.
    pub fn terms(&self, text: &str, say: &mut dyn FnMut(&str, &[Term<'_>])) {
        let (mut reader, mut hits) = (Reader::default(), Vec::new());
        let mut done = |sentence: &mut Sentence| {
            self.lexicon.find(sentence, &mut hits);
            let mut named = Vec::new();
            for hit in &hits {
                let classes = (0..self.lexicon.classes()).filter(|class| hit.classes >> class & 1 == 1);
                let words = (hit.first(), hit.last());
                named.extend(classes.map(|class| Term { class: self.lexicon.name(class), words }));
            }
            say(String::from_utf8_lossy(&sentence.text).trim_start(), &named);
        };
        reader.push(text, &self.lexicon.words, &mut done);
        reader.finish(&self.lexicon.words, &mut done);
    }

    /// The lexicon's terms by class, in all their forms. For the lab, which makes sentences of them.
    pub fn terms_by_class() -> BTreeMap<String, Vec<String>> {
        terms_by_class()
    }

    /// The lexicon's terms that are of the worst grade by themselves, with its category. For tests of disguises.
    pub fn severe_terms() -> Vec<(String, Category)> {
        severe_terms()
    }

    /// What is found in a text. For few texts; see [`Scan`] for many.
    pub fn findings(&self, text: &str) -> Findings {
        let mut scan = Scan::default();
        scan.push(text, self);
        scan.finish(self)
    }
}

impl Default for Knowledge {
    fn default() -> Self {
        Self::new()
    }
}

impl Scan {
    /// Reads on.
    pub fn push(&mut self, text: &str, known: &Knowledge) {
        let Self { reader, judge, .. } = self;
        reader.push(text, &known.lexicon.words, &mut |sentence| judge.sentence(sentence, known));
    }

    /// What follows is another part of the same text: a word may go on in it.
    pub fn part(&mut self, known: &Knowledge) {
        let Self { reader, judge, .. } = self;
        reader.part(&known.lexicon.words, &mut |sentence| judge.sentence(sentence, known));
    }

    /// Reads one word that is no part of the text around it.
    pub(super) fn aside(&mut self, word: &[u8], known: &Knowledge) {
        let Self { aside, judge, .. } = self;
        aside.push(std::str::from_utf8(word).unwrap_or_default(), &known.lexicon.words, &mut |_| {});
        aside.finish(&known.lexicon.words, &mut |sentence| judge.word(sentence, known));
    }

    /// What follows is another text, judged together with this one.
    pub fn break_off(&mut self, known: &Knowledge) {
        let Self { reader, judge, .. } = self;
        reader.finish(&known.lexicon.words, &mut |sentence| judge.sentence(sentence, known));
        judge.before = Context::default();
    }

    /// What has been found in the sentences that are whole.
    pub const fn so_far(&self) -> &Findings {
        &self.judge.findings
    }

    /// Ends the text; the scan is ready for another one.
    pub fn finish(&mut self, known: &Knowledge) -> Findings {
        self.break_off(known);
        self.judge.sentences = 0;
        std::mem::take(&mut self.judge.findings)
    }
}

impl Judge {
    fn sentence(&mut self, sentence: &mut Sentence, known: &Knowledge) {
        known.lexicon.find(sentence, &mut self.hits);
        self.features.read(sentence, &self.hits, &known.lexicon);
        let own = known.model.sums(&self.features);
        let is_read = self.features.evidence.contains(&true);
        let before = if sentence.again { self.earlier } else { self.before };
        self.sentences += u32::from(!sentence.again);
        // Of texts of up to 4 GiB: exact enough.
        let length = (self.sentences as f32).max(1.0).ln();
        let listing = if self.features.is_listing { LISTING_WEIGHT } else { 0.0 };
        let distance = DISTANCE_WEIGHT * (length - DISTANCE_FROM.ln()).max(0.0) + listing;
        let severe_below = (SEVERE_BELOW + SEVERE_WEIGHT * length).min(MENTION_BELOW);
        for category in Category::ALL {
            let nth = category as usize;
            let mut sums = Sums::default();
            sums[nth] = own[nth] + before.sums[nth].max(0.0) - distance;
            // Of a sentence without a term nothing is known but what the one before it has been judged for.
            let has_evidence = is_read && (self.features.evidence[nth] || before.evidence[nth]);
            let logit = if has_evidence { known.model.logit(&sums, nth) } else { f32::NEG_INFINITY };
            self.found(nth, 1.0 / (1.0 + (-logit).exp()), false);
            let grade = self.grade(sentence, known, nth, logit, severe_below);
            self.found(nth, grade.least_score(), true);
        }
        self.earlier = before;
        self.before = Context { sums: own, evidence: self.features.evidence };
    }

    /// A word that is no sentence: only what it says by itself counts.
    fn word(&mut self, sentence: &Sentence, known: &Knowledge) {
        known.lexicon.find(sentence, &mut self.hits);
        for category in Category::ALL {
            let nth = category as usize;
            let worst = self.hits.iter().map(|hit| hit.grades[nth]).max().unwrap_or_default();
            self.found(nth, if worst == Severity::High { worst.least_score() } else { 0.0 }, true);
        }
    }

    fn found(&mut self, category: usize, score: f32, by_term: bool) {
        let finding = &mut self.findings[category];
        if score > finding.score {
            *finding = Finding { score, severity: Severity::of(score), by_term };
        }
    }

    /// The worst grade of the sentence's terms, eased by what stands around them. A term of the worst grade needs a logit
    /// of the model that is not below `severe_below`.
    fn grade(
        &self,
        sentence: &Sentence,
        known: &Knowledge,
        category: usize,
        logit: f32,
        severe_below: f32,
    ) -> Severity {
        let classes = &known.classes;
        let has = |class: Classes| self.hits.iter().any(|hit| hit.classes & class != 0);
        let mut worst = Severity::None;
        for hit in &self.hits {
            let mut grade = hit.grades[category];
            let is_quoted = sentence.words.get(hit.first()).is_some_and(|word| word.quoted);
            let is_denied = self.hits.iter().any(|other| {
                other.classes & classes.negate != 0 && other.last() < hit.first() && hit.first() - other.last() <= 3
            });
            let is_told_of = has(classes.help | classes.fiction) || (has(classes.counter) && is_quoted);
            let is_slur = hit.classes & classes.slur != 0;
            if (is_denied || is_told_of) && (is_quoted || !is_slur) {
                grade = grade.eased();
            }
            let needed = match grade {
                Severity::High => severe_below,
                Severity::Medium => MENTION_BELOW,
                Severity::None | Severity::Low => f32::NEG_INFINITY,
            };
            if logit < needed {
                grade = Severity::Low;
            }
            worst = worst.max(grade);
        }
        worst
    }
}
