//! Finding weights: logistic regression per category, by AdaGrad, over a fixed number of rounds in an order drawn from a
//! seed.

use std::collections::HashSet;

use fastrand::Rng;
use kt_core::policy::model::{BUCKET_BITS, Features, Model};
use kt_core::policy::{CATEGORIES, Knowledge};

use super::sample::{Labels, Sample};

/// How the learning goes; found by trying on the part kept aside of an earlier grammar, and left alone since.
const ROUNDS: usize = 6;
const RATE: f32 = 0.25;
const DECAY: f32 = 2e-5;
/// Safe text outnumbers the rest in the world, and a false alarm is noticed more.
const SAFE_WEIGHT: f32 = 1.6;
/// A document's sentence counts less than one that was written for it: there are so many.
const DOCUMENT_WEIGHT: f32 = 0.5;
const SEED: u64 = 11;

/// A text as its features, with how much each counts.
struct Row {
    features: Vec<(u32, f32)>,
    /// Without a term of a category there is nothing to learn of it.
    evidence: [bool; CATEGORIES],
    labels: Labels,
    weight: f32,
}

/// Learns from the samples that aren't kept aside, and from every sentence of `documents`, of which nothing is harmful.
pub fn learn(
    samples: &[Sample],
    documents: &[String],
    known: &Knowledge,
) -> (Vec<[f32; CATEGORIES]>, [f32; CATEGORIES]) {
    let learned = samples.iter().filter(|sample| !sample.aside);
    let mut rows: Vec<Row> = learned.map(|sample| row(sample, known)).collect();
    let balance = balance(&rows);
    rows.extend(rows_of(documents, known));
    let buckets = 1 << BUCKET_BITS;
    let mut weights = vec![[0.0_f32; CATEGORIES]; buckets];
    let mut squares = vec![[1e-3_f32; CATEGORIES]; buckets];
    let mut biases = [-1.0_f32; CATEGORIES];
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut rng = Rng::with_seed(SEED);
    for _ in 0..ROUNDS {
        rng.shuffle(&mut order);
        for &nth in &order {
            let row = &rows[nth];
            let mut sums = biases;
            for &(bucket, share) in &row.features {
                for (sum, weight) in sums.iter_mut().zip(weights[bucket as usize]) {
                    *sum += weight * share;
                }
            }
            for (category, label) in row.labels.iter().enumerate() {
                let Some(label) = label.filter(|_| row.evidence[category]) else { continue };
                let wanted = f32::from(u8::from(label));
                let share_of_label = if label { balance[category] } else { SAFE_WEIGHT };
                let error = (1.0 / (1.0 + (-sums[category]).exp()) - wanted) * row.weight * share_of_label;
                biases[category] -= 0.01 * error;
                for &(bucket, share) in &row.features {
                    let weight = &mut weights[bucket as usize][category];
                    let slope = error * share + DECAY * *weight;
                    let square = &mut squares[bucket as usize][category];
                    *square += slope * slope;
                    *weight -= RATE * slope / square.sqrt().max(0.3);
                }
            }
        }
    }
    (weights, biases)
}

/// How much more a positive sample counts, so that rare categories are learned too; at most eight times.
fn balance(rows: &[Row]) -> [f32; CATEGORIES] {
    std::array::from_fn(|category| {
        let count = |label| rows.iter().filter(|row| row.labels[category] == Some(label)).count() as f32;
        (count(false) / count(true).max(1.0) * 0.5).clamp(1.0, 8.0)
    })
}

fn row(sample: &Sample, known: &Knowledge) -> Row {
    let (mut features, mut evidence) = (Vec::new(), [false; CATEGORIES]);
    known.features(&sample.text, &mut |read: &Features| {
        for (all, own) in evidence.iter_mut().zip(read.evidence) {
            *all |= own;
        }
        features.extend(weighed(read));
    });
    Row { features, evidence, labels: sample.labels, weight: sample.weight }
}

/// Features with how much each counts.
fn weighed(features: &Features) -> impl Iterator<Item = (u32, f32)> {
    let (term, word) = (features.term_share(), features.word_share());
    let terms = features.terms.iter().map(move |bucket| (*bucket, term));
    terms.chain(features.words.iter().map(move |bucket| (*bucket, word)))
}

/// The sentences of `documents` in which there is a term of a category, each once.
fn rows_of(documents: &[String], known: &Knowledge) -> Vec<Row> {
    let (mut rows, mut seen) = (Vec::new(), HashSet::new());
    for document in documents {
        known.features(document, &mut |read: &Features| {
            if !read.evidence.contains(&true) || !seen.insert((read.terms.clone(), read.words.clone())) {
                return;
            }
            rows.push(Row {
                features: weighed(read).collect(),
                evidence: read.evidence,
                labels: [Some(false); CATEGORIES],
                weight: DOCUMENT_WEIGHT,
            });
        });
    }
    rows
}

/// Moves the biases so that a score of 0.5 is what `medium` shall be: the best F1 over the samples, among the places
/// where at most `false_alarms` of the safe ones are caught.
pub fn calibrate(model: &Model, samples: &[Sample], known: &Knowledge, false_alarms: f32) -> [f32; CATEGORIES] {
    let scored: Vec<([f32; CATEGORIES], &Sample)> =
        samples.iter().map(|sample| (logits(model, sample, known), sample)).collect();
    std::array::from_fn(|category| {
        let labelled = scored.iter().filter_map(|(logits, sample)| Some((logits[category], sample.labels[category]?)));
        let mut labelled: Vec<(f32, bool)> = labelled.collect();
        labelled.sort_by(|a, b| b.0.total_cmp(&a.0));
        let positive = labelled.iter().filter(|(_, label)| *label).count() as f32;
        let negative = labelled.len() as f32 - positive;
        let (mut right, mut wrong, mut best) = (0.0, 0.0, (0.0, 0.0));
        for &(logit, label) in &labelled {
            if label {
                right += 1.0
            } else {
                wrong += 1.0
            }
            let f1 = 2.0 * right / (right + wrong + positive);
            if wrong <= false_alarms * negative && f1 > best.0 {
                best = (f1, logit);
            }
        }
        (-best.1).clamp(-4.0, 1.0)
    })
}

/// The logits of a text: of its worst sentence, as the filter takes them.
pub fn logits(model: &Model, sample: &Sample, known: &Knowledge) -> [f32; CATEGORIES] {
    worst(sample, known, &|features| model.sums(features), &|sums, category| model.logit(sums, category))
}

/// The same by weights before they are made eight bits each.
pub fn logits_of(
    weights: &[[f32; CATEGORIES]],
    biases: &[f32; CATEGORIES],
    sample: &Sample,
    known: &Knowledge,
) -> [f32; CATEGORIES] {
    let sums = |features: &Features| {
        let sum =
            |buckets: &[u32], category: usize| buckets.iter().map(|b| weights[*b as usize][category]).sum::<f32>();
        let (term, word) = (features.term_share(), features.word_share());
        std::array::from_fn(|category| term * sum(&features.terms, category) + word * sum(&features.words, category))
    };
    worst(sample, known, &sums, &|sums, category| sums[category] + biases[category])
}

fn worst(
    sample: &Sample,
    known: &Knowledge,
    sums: &dyn Fn(&Features) -> [f32; CATEGORIES],
    logit: &dyn Fn(&[f32; CATEGORIES], usize) -> f32,
) -> [f32; CATEGORIES] {
    let (mut before, mut had) = ([0.0_f32; CATEGORIES], [false; CATEGORIES]);
    let mut worst = [f32::MIN; CATEGORIES];
    known.features(&sample.text, &mut |features| {
        let own = sums(features);
        let both = std::array::from_fn(|c| own[c] + before[c].max(0.0));
        for (category, worst) in worst.iter_mut().enumerate() {
            if features.evidence.contains(&true) && (features.evidence[category] || had[category]) {
                *worst = worst.max(logit(&both, category));
            }
        }
        (before, had) = (own, features.evidence);
    });
    worst
}
