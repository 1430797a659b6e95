//! What the words of a sentence mean together: one linear model per category over hashed features, eight bits a weight.
//!
//! A sentence's features are the classes of its terms (each, pairs near each other in order, pairs anywhere, three in a
//! row), what stands beside them, and the plain words between: each, pairs, and runs of four letters. The weights are
//! learned by the lab (`kt-lab`, `filter train`) and lie in `data/model.bin`; data, licence, figures and date are in
//! `data/model.md` beside it. Scores are calibrated so that 0.5 is where `medium` begins.

use super::category::CATEGORIES;
use super::lexicon::{Classes, Hit, Lexicon};
use super::normalise::Sentence;

const DATA: &[u8] = include_bytes!("data/model.bin");

/// Weights are found by this many bits of a feature's hash.
pub const BUCKET_BITS: u32 = 17;
const MAGIC: &[u8; 4] = b"ktf1";
/// Magic, then a scale and a bias per category.
const HEAD_BYTES: usize = 4 + 2 * 4 * CATEGORIES;

/// How far to the right another class is a neighbour, words.
const NEAR: usize = 8;

/// The weights of all categories.
#[derive(Debug)]
pub struct Model {
    scales: [f32; CATEGORIES],
    biases: [f32; CATEGORIES],
    /// A bucket's weights of all categories lie together.
    weights: Box<[[i8; CATEGORIES]]>,
}

/// What a sentence adds to each category's score, before the bias.
pub type Sums = [f32; CATEGORIES];

/// A feature's bucket.
pub type Bucket = u32;

/// The features of one sentence.
#[derive(Clone, Debug, Default)]
pub struct Features {
    /// Of the terms and what stands beside them; see [`Self::term_share`].
    pub terms: Vec<Bucket>,
    /// Of the other words; each counts one over the root of how many there are.
    pub words: Vec<Bucket>,
    /// Whether there is a term of each category, without which its score is no matter.
    pub evidence: [bool; CATEGORIES],
    /// Whether it is no speech but a table, a list of names or program text: long, and few words of it are known. Of English
    /// prose half are.
    pub is_listing: bool,
    /// Classes in the order of the text, each with its word.
    order: Vec<(u8, u8)>,
    /// The class that a word is told by, where it has one.
    marked: Vec<u8>,
}

/// From how many words on a sentence may be a listing.
const LISTING_WORDS: usize = 16;
/// How many features of terms a crowded sentence has; each of more of them counts less.
const TERMS_FULL: f32 = 64.0;

/// No class.
const NONE: u8 = u8::MAX;

/// Kinds of features, so that equal hashes of different kinds differ.
#[derive(Clone, Copy)]
enum Kind {
    Class = 1,
    Quoted,
    Pair,
    Together,
    Three,
    Before,
    Behind,
    Word,
    Words,
    Letters,
    Known,
    Odd,
}

impl Features {
    /// Reads the features of a sentence.
    pub(super) fn read(&mut self, sentence: &Sentence, hits: &[Hit], lexicon: &Lexicon) {
        self.terms.clear();
        self.words.clear();
        self.order.clear();
        self.marked.clear();
        self.marked.resize(sentence.words.len(), NONE);
        let mut present: Classes = 0;
        let mut quoted: Classes = 0;
        for hit in hits {
            present |= hit.classes;
            let first = hit.first();
            if sentence.words.get(first).is_some_and(|word| word.quoted) {
                quoted |= hit.classes;
            }
            for class in each(hit.classes) {
                // Words of a sentence are at most 64.
                self.order.push((first as u8, class));
                for marked in &mut self.marked[first..=hit.last()] {
                    *marked = (*marked).min(class);
                }
            }
        }
        self.is_listing = false;
        self.evidence = lexicon.evidence(present);
        if !self.evidence.contains(&true) {
            return;
        }
        for class in each(present) {
            self.terms.push(bucket(Kind::Class, &[u32::from(class)]));
        }
        for class in each(quoted) {
            self.terms.push(bucket(Kind::Quoted, &[u32::from(class)]));
        }
        self.pairs(present, lexicon);
        self.beside(sentence);
        self.prose(sentence, lexicon);
        self.plain_words(sentence);
    }

    fn pairs(&mut self, present: Classes, lexicon: &Lexicon) {
        for (nth, &(at, class)) in self.order.iter().enumerate() {
            let behind = self.order[nth + 1..].iter().take_while(|(other, _)| usize::from(other - at) <= NEAR);
            let mut before: Option<(u8, u8)> = None;
            for &(other_at, other) in behind {
                if other_at == at {
                    continue;
                }
                self.terms.push(bucket(Kind::Pair, &[u32::from(class), u32::from(other)]));
                if let Some((middle_at, middle)) = before
                    && middle_at < other_at
                {
                    self.terms.push(bucket(Kind::Three, &[u32::from(class), u32::from(middle), u32::from(other)]));
                    break;
                }
                before = before.or(Some((other_at, other)));
            }
        }
        let telling = present & lexicon.telling;
        for class in each(telling) {
            // Each pair once, whatever its order.
            for other in each(present & !((2 << class) - 1)) {
                self.terms.push(bucket(Kind::Together, &[u32::from(class), u32::from(other)]));
            }
        }
    }

    fn beside(&mut self, sentence: &Sentence) {
        for &(at, class) in &self.order {
            let at = usize::from(at);
            let before = at.checked_sub(1).map_or(0, |before| self.said(sentence, before));
            let behind = if at + 1 < sentence.words.len() { self.said(sentence, at + 1) } else { 0 };
            self.terms.push(bucket(Kind::Before, &[u32::from(class), before]));
            self.terms.push(bucket(Kind::Behind, &[u32::from(class), behind]));
        }
    }

    /// How much of the sentence are words that everybody knows, and how much are numbers and single letters: of a table or
    /// of program text little and much.
    fn prose(&mut self, sentence: &Sentence, lexicon: &Lexicon) {
        let all = sentence.words.len();
        let count = |is: &dyn Fn(&[u8]) -> bool| sentence.words.iter().filter(|word| is(sentence.of(**word))).count();
        let known = count(&|word| lexicon.words.is_known(word));
        let odd = count(&|word| word.len() == 1 || word.iter().any(u8::is_ascii_digit));
        self.is_listing = all >= LISTING_WORDS && (known * 4 < all || odd * 2 > all);
        // At most 48 words.
        let (size, eighth) = (all.ilog2(), |part: usize| (part * 8 / all) as u32);
        self.terms.push(bucket(Kind::Known, &[size, eighth(known)]));
        self.terms.push(bucket(Kind::Odd, &[size, eighth(odd)]));
    }

    fn plain_words(&mut self, sentence: &Sentence) {
        let mut before = 0;
        for (nth, &word) in sentence.words.iter().enumerate() {
            let said = self.said(sentence, nth);
            self.words.push(bucket(Kind::Words, &[before, said]));
            before = said;
            if self.marked[nth] != NONE {
                continue;
            }
            self.words.push(bucket(Kind::Word, &[said]));
            let letters = sentence.of(word);
            if letters.len() >= 5 {
                let fours = letters.windows(4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]));
                self.words.extend(fours.map(|four| bucket(Kind::Letters, &[four])));
            }
        }
    }

    /// A word, by its class if it has one.
    fn said(&self, sentence: &Sentence, nth: usize) -> u32 {
        match self.marked[nth] {
            NONE => sentence.of(sentence.words[nth]).iter().fold(0x811c_9dc5, |hash: u32, byte| {
                // FNV-1a.
                (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
            }),
            class => u32::from(class) + 1,
        }
    }

    /// How much each of [`Self::terms`] counts: in a list of hundreds together no more than in a crowded sentence.
    pub fn term_share(&self) -> f32 {
        // At most some thousand: exact.
        (TERMS_FULL / self.terms.len().max(1) as f32).min(1.0)
    }

    /// How much each of [`Self::words`] counts.
    pub fn word_share(&self) -> f32 {
        // At most some hundred: exact.
        1.0 / (self.words.len().max(1) as f32).sqrt()
    }
}

fn each(mut classes: Classes) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let class = classes.trailing_zeros();
        classes &= classes.wrapping_sub(1);
        // Below 64.
        (class < 64).then_some(class as u8)
    })
}

fn bucket(kind: Kind, parts: &[u32]) -> Bucket {
    let mut hash = (kind as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for &part in parts {
        hash = (hash ^ u64::from(part)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    (hash & ((1 << BUCKET_BITS) - 1)) as Bucket
}

impl Model {
    /// Our own weights.
    ///
    /// # Panics
    ///
    /// If the file that was built in is none; a test reads it.
    pub fn new() -> Self {
        Self::read(DATA).expect("the weights that are built in")
    }

    /// Reads weights as [`Self::write`] writes them; none if they are something else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (head, weights) = bytes.strip_prefix(MAGIC)?.split_at_checked(HEAD_BYTES - MAGIC.len())?;
        let mut floats = head.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let scales = std::array::from_fn(|_| floats.next().unwrap_or_default());
        let biases = std::array::from_fn(|_| floats.next().unwrap_or_default());
        let (weights, rest) = weights.as_chunks::<CATEGORIES>();
        let whole = rest.is_empty() && weights.len() == 1 << BUCKET_BITS;
        whole.then(|| Self { scales, biases, weights: weights.iter().map(|five| five.map(u8::cast_signed)).collect() })
    }

    /// Makes eight-bit weights of those learned: `weights[bucket][category]`.
    pub fn quantised(weights: &[[f32; CATEGORIES]], biases: [f32; CATEGORIES]) -> Self {
        let mut scales = [1.0_f32; CATEGORIES];
        for (category, scale) in scales.iter_mut().enumerate() {
            let largest = weights.iter().map(|each| each[category].abs()).fold(0.0, f32::max);
            *scale = (largest / 127.0).max(f32::MIN_POSITIVE);
        }
        let eight_bits = |each: &[f32; CATEGORIES]| std::array::from_fn(|c| (each[c] / scales[c]).round() as i8);
        Self { scales, biases, weights: weights.iter().map(eight_bits).collect() }
    }

    /// The file's bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.scales.iter().chain(&self.biases).flat_map(|float| float.to_le_bytes()));
        out.extend(self.weights.iter().flatten().map(|weight| weight.cast_unsigned()));
        out
    }

    /// What a sentence adds.
    pub fn sums(&self, features: &Features) -> Sums {
        let terms = self.add(&features.terms);
        let words = self.add(&features.words);
        let (term_share, word_share) = (features.term_share(), features.word_share());
        // Sums of some hundred bytes: exact.
        std::array::from_fn(|c| self.scales[c] * (terms[c] as f32 * term_share + words[c] as f32 * word_share))
    }

    fn add(&self, buckets: &[Bucket]) -> [i32; CATEGORIES] {
        let mut sums = [0; CATEGORIES];
        for &bucket in buckets {
            for (sum, weight) in sums.iter_mut().zip(self.weights[bucket as usize]) {
                *sum += i32::from(weight);
            }
        }
        sums
    }

    /// A score from 0 to 1 for what sentences add together.
    pub fn score(&self, sums: &Sums, category: usize) -> f32 {
        1.0 / (1.0 + (-(sums[category] + self.biases[category])).exp())
    }

    /// The same before it is pressed between 0 and 1.
    pub fn logit(&self, sums: &Sums, category: usize) -> f32 {
        sums[category] + self.biases[category]
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}
