//! The filter against what it replaces, on texts that nothing was learned from: per category and threshold precision,
//! recall and F1, beside a list of bad words and a plain TF-IDF model that learned from the same texts.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use fastrand::Rng;
use kt_core::json::{Scratch, Span, Value, scan};
use kt_core::policy::{CATEGORIES, Category, Findings, Knowledge, Threshold};

use super::sample::Sample;

/// How often something was right and wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    hits: f64,
    false_alarms: f64,
    misses: f64,
    passes: f64,
}

impl Tally {
    /// Counts one text: what it is, and what was said of it.
    pub fn count(&mut self, is: bool, said: bool) {
        *match (is, said) {
            (true, true) => &mut self.hits,
            (false, true) => &mut self.false_alarms,
            (true, false) => &mut self.misses,
            (false, false) => &mut self.passes,
        } += 1.0;
    }

    /// Of what was said to be, how much is.
    pub fn precision(&self) -> f64 {
        self.hits / (self.hits + self.false_alarms).max(1.0)
    }

    /// Of what is, how much was said to be.
    pub fn recall(&self) -> f64 {
        self.hits / (self.hits + self.misses).max(1.0)
    }

    /// Their harmonic mean.
    pub fn f1(&self) -> f64 {
        2.0 * self.hits / (2.0 * self.hits + self.false_alarms + self.misses).max(1.0)
    }

    /// Of what isn't, how much was said to be.
    pub fn false_alarm_rate(&self) -> f64 {
        self.false_alarms / (self.false_alarms + self.passes).max(1.0)
    }

    fn row(&self, out: &mut String, name: &str) {
        // Writing to a String doesn't fail.
        let _ = writeln!(
            out,
            "| {name} | {:.2} | {:.2} | {:.2} | {:.1} % |",
            self.precision(),
            self.recall(),
            self.f1(),
            self.false_alarm_rate() * 100.0
        );
    }
}

/// The area under the curve of precision over recall: the mean of the precisions at every hit, best score first.
pub fn average_precision(mut scored: Vec<(f32, bool)>) -> f64 {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut hits, mut sum) = (0.0, 0.0);
    for (nth, (_, is)) in scored.iter().enumerate() {
        if *is {
            hits += 1.0;
            sum += hits / (nth as f64 + 1.0);
        }
    }
    sum / hits.max(1.0)
}

/// A Markdown table over the samples kept aside. `lists` are word lists by name, one word a line.
pub fn table(samples: &[Sample], known: &Knowledge, lists: &[(String, String)]) -> String {
    let aside: Vec<&Sample> = samples.iter().filter(|sample| sample.aside).collect();
    let findings: Vec<Findings> = aside.iter().map(|sample| known.findings(&sample.text)).collect();
    let plain = TfIdf::learn(samples);
    let mut out = String::from("| category | precision | recall | F1 | false alarms |\n|---|---|---|---|---|\n");
    for category in Category::ALL {
        let nth = category as usize;
        let labelled = || aside.iter().zip(&findings).filter_map(|(s, found)| Some((s, found[nth], s.labels[nth]?)));
        for threshold in Threshold::ALL {
            let mut tally = Tally::default();
            labelled().for_each(|(_, found, is)| tally.count(is, threshold.counts(found.severity)));
            tally.row(&mut out, &format!("{} at {}", category.as_str(), threshold.as_str()));
        }
        let mut of_plain = Tally::default();
        labelled().for_each(|(sample, _, is)| of_plain.count(is, plain.logit(&sample.text, nth) > 0.0));
        of_plain.row(&mut out, &format!("{}, TF-IDF", category.as_str()));
        for (name, list) in lists {
            let words: HashSet<&str> = list.lines().collect();
            let mut of_list = Tally::default();
            let says = |text: &str| words_of(text).iter().any(|word| words.contains(&**word));
            labelled().for_each(|(sample, _, is)| of_list.count(is, says(&sample.text)));
            of_list.row(&mut out, &format!("{}, {name}", category.as_str()));
        }
        let precision = average_precision(labelled().map(|(_, found, is)| (found.score, is)).collect());
        // Writing to a String doesn't fail.
        let _ = writeln!(out, "| {}, average precision | {precision:.3} | | | |", category.as_str());
    }
    out
}

/// A prompt that somebody else has judged.
#[derive(Clone, Debug)]
pub struct Prompt {
    text: String,
    group: String,
    is_harmful: bool,
}

/// Reads prompts, one JSON object a line: `text`, `group` and `label.unsafe`. Those without a text are left out.
///
/// # Errors
///
/// Which line is no JSON.
pub fn read_prompts(lines: &str) -> Result<Vec<Prompt>, String> {
    let mut prompts = Vec::new();
    let mut scratch = Scratch::default();
    for (nth, line) in lines.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        scan(line.as_bytes(), &mut scratch).map_err(|_fault| format!("line {} is no JSON", nth + 1))?;
        let span = Span { start: 0, end: u32::try_from(line.len()).map_err(|error| error.to_string())? };
        let prompt = Value::at(line.as_bytes(), span);
        let text = |name: &str| Some(prompt.get(name)?.to_str()?.into_owned());
        let is_harmful = prompt.path(&["label", "unsafe"]).and_then(Value::to_bool);
        if let (Some(text), Some(group), Some(is_harmful)) = (text("text"), text("group"), is_harmful) {
            prompts.push(Prompt { text, group, is_harmful });
        }
    }
    Ok(prompts)
}

/// A Markdown table: how many of the prompts of each group are flagged, whatever the category.
pub fn table_of_prompts(name: &str, prompts: &[Prompt], known: &Knowledge) -> String {
    let mut groups: BTreeMap<(bool, &str), [usize; 4]> = BTreeMap::new();
    for prompt in prompts {
        let findings = known.findings(&prompt.text);
        for group in [&*prompt.group, "all of them"] {
            let counts = groups.entry((prompt.is_harmful, group)).or_default();
            counts[0] += 1;
            for (count, threshold) in counts[1..].iter_mut().zip(Threshold::ALL) {
                *count += usize::from(findings.iter().any(|finding| threshold.counts(finding.severity)));
            }
        }
    }
    let mut out = format!("| {name} | prompts | low | medium | high |\n|---|---|---|---|---|\n");
    for ((is_harmful, group), [all, low, medium, high]) in groups {
        let what = if is_harmful { "harmful" } else { "safe" };
        let share = |count: usize| count as f64 * 100.0 / all as f64;
        // Writing to a String doesn't fail.
        let _ = writeln!(
            out,
            "| {what}, {group} | {all} | {:.1} % | {:.1} % | {:.1} % |",
            share(low),
            share(medium),
            share(high)
        );
    }
    out
}

/// Documents of so many KiB are cut from the texts of others.
const SIZES_KIB: [usize; 3] = [8, 100, 400];
/// Of the texts that are put into documents, at most so many of a category, spread over all.
const BURIED_MAX: usize = 400;

/// A Markdown table: how many documents of 8, 100 and 400 KiB, cut from harmless texts, are flagged at `medium` in any
/// category; and behind it the first sentences that are.
pub fn table_of_documents(name: &str, texts: &str, known: &Knowledge) -> String {
    let mut out = format!("| {name} | documents | low | medium | high |\n|---|---|---|---|---|\n");
    let mut causes = Vec::new();
    for kib in SIZES_KIB {
        let all = documents(texts, kib);
        let found: Vec<Findings> = all.iter().map(|document| known.findings(document)).collect();
        let share = |threshold: Threshold| {
            let is_flagged = |findings: &&Findings| findings.iter().any(|finding| threshold.counts(finding.severity));
            found.iter().filter(is_flagged).count() as f64 * 100.0 / all.len().max(1) as f64
        };
        let [low, medium, high] = Threshold::ALL.map(share);
        // Writing to a String doesn't fail.
        let _ = writeln!(out, "| {kib} KiB | {} | {low:.1} % | {medium:.2} % | {high:.2} % |", all.len());
        for (document, findings) in all.iter().zip(&found) {
            for category in Category::ALL.into_iter().filter(|category| is_flagged(findings, *category)) {
                let cause =
                    document.split_inclusive(['.', '\n']).find(|part| is_flagged(&known.findings(part), category));
                causes.extend(cause.map(|cause| format!("{}: {}", category.as_str(), cause.trim())));
            }
        }
    }
    for cause in causes.iter().take(40) {
        // Writing to a String doesn't fail.
        let _ = writeln!(out, "    {cause}");
    }
    out
}

/// A Markdown table: texts kept aside that are severe by themselves, in the middle of harmless documents: how many are
/// still flagged in their category at `medium`, one by itself and three in a row.
pub fn table_of_buried(samples: &[Sample], texts: &str, known: &Knowledge) -> String {
    let mut out =
        String::from("| category | texts | in 8 KiB, one / three | in 100 KiB | in 400 KiB |\n|---|---|---|---|---|\n");
    for category in Category::ALL {
        let is_severe = |sample: &&Sample| {
            let is = sample.aside && sample.labels[category as usize] == Some(true);
            is && Threshold::High.counts(known.findings(&sample.text)[category as usize].severity)
        };
        let severe: Vec<&Sample> = samples.iter().filter(is_severe).collect();
        let severe: Vec<&Sample> = severe.iter().step_by(severe.len().div_ceil(BURIED_MAX).max(1)).copied().collect();
        // Writing to a String doesn't fail.
        let _ = write!(out, "| {} | {}", category.as_str(), severe.len());
        for kib in SIZES_KIB {
            let mut harmless = documents(texts, kib);
            harmless.truncate(BURIED_MAX);
            harmless.retain(|document| !is_flagged(&known.findings(document), category));
            let found = |count: usize| {
                let is_found = |nth: &usize| {
                    let document = harmless[nth % harmless.len()];
                    let middle = document.floor_char_boundary(document.len() / 2);
                    let middle = document[..middle].rfind('\n').map_or(middle, |end| end + 1);
                    let (before, behind) = document.split_at(middle);
                    let mut text = format!("{before}\n\n");
                    for other in 0..count {
                        text.push_str(&severe[(nth + other) % severe.len()].text);
                        text.push_str(".\n");
                    }
                    text.push('\n');
                    is_flagged(&known.findings(&(text + behind)), category)
                };
                let all = (0..severe.len()).filter(|_| !harmless.is_empty());
                all.clone().filter(is_found).count() as f64 / all.count().max(1) as f64
            };
            let (one, three) = (found(1), found(3));
            // Writing to a String doesn't fail.
            let _ = write!(out, " | {one:.2} / {three:.2}");
        }
        out.push_str(" |\n");
    }
    out
}

fn is_flagged(findings: &Findings, category: Category) -> bool {
    Threshold::Medium.counts(findings[category as usize].severity)
}

/// Documents of so many KiB.
fn documents(mut texts: &str, kib: usize) -> Vec<&str> {
    let mut all = Vec::new();
    while texts.len() >= kib << 10 {
        let (document, behind) = texts.split_at(texts.floor_char_boundary(kib << 10));
        all.push(document);
        texts = behind;
    }
    all
}

fn words_of(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// Words and pairs of words, weighed by how rare they are: what one would write in an afternoon.
struct TfIdf {
    rarity: Vec<f32>,
    weights: Vec<[f32; CATEGORIES]>,
    biases: [f32; CATEGORIES],
}

const PLAIN_BUCKETS: usize = 1 << 18;

impl TfIdf {
    fn learn(samples: &[Sample]) -> Self {
        let learned: Vec<&Sample> = samples.iter().filter(|sample| !sample.aside).collect();
        let mut seen_in = vec![0.0_f32; PLAIN_BUCKETS];
        for sample in &learned {
            let buckets: HashSet<usize> = buckets(&sample.text).into_iter().collect();
            buckets.into_iter().for_each(|bucket| seen_in[bucket] += 1.0);
        }
        let rarity = seen_in.iter().map(|seen| ((learned.len() as f32 + 1.0) / (seen + 1.0)).ln() + 1.0).collect();
        let mut model = Self { rarity, weights: vec![[0.0; CATEGORIES]; PLAIN_BUCKETS], biases: [0.0; CATEGORIES] };
        let mut order: Vec<usize> = (0..learned.len()).collect();
        let mut rng = Rng::with_seed(5);
        for round in 0..4 {
            rng.shuffle(&mut order);
            let rate = 0.5 / (1.0 + round as f32);
            for &nth in &order {
                let sample = learned[nth];
                let features = model.features(&sample.text);
                for (category, label) in sample.labels.iter().enumerate() {
                    let Some(label) = label else { continue };
                    let error = 1.0 / (1.0 + (-model.sum(&features, category)).exp()) - f32::from(u8::from(*label));
                    model.biases[category] -= rate * 0.1 * error;
                    for &(bucket, value) in &features {
                        model.weights[bucket][category] -= rate * error * value;
                    }
                }
            }
        }
        model
    }

    fn features(&self, text: &str) -> Vec<(usize, f32)> {
        let buckets = buckets(text);
        let norm = buckets.iter().map(|bucket| self.rarity[*bucket].powi(2)).sum::<f32>().sqrt().max(1.0);
        buckets.into_iter().map(|bucket| (bucket, self.rarity[bucket] / norm)).collect()
    }

    fn sum(&self, features: &[(usize, f32)], category: usize) -> f32 {
        let sum: f32 = features.iter().map(|(bucket, value)| self.weights[*bucket][category] * value).sum();
        sum + self.biases[category]
    }

    fn logit(&self, text: &str, category: usize) -> f32 {
        self.sum(&self.features(text), category)
    }
}

fn buckets(text: &str) -> Vec<usize> {
    let words = words_of(text);
    let pairs = words.windows(2).map(|pair| pair.join(" "));
    words.iter().cloned().chain(pairs).map(|term| hash(&term) % PLAIN_BUCKETS).collect()
}

fn hash(text: &str) -> usize {
    // FNV-1a.
    text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
        as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_rates() {
        let mut tally = Tally::default();
        [(true, true), (true, true), (true, false), (false, true), (false, false), (false, false), (false, false)]
            .into_iter()
            .for_each(|(is, said)| tally.count(is, said));
        assert_eq!((tally.precision() * 3.0).round(), 2.0);
        assert_eq!((tally.recall() * 3.0).round(), 2.0);
        assert_eq!(tally.false_alarm_rate(), 0.25);
    }

    #[test]
    fn the_average_precision_of_a_perfect_order_is_one_and_of_a_late_hit_less() {
        assert_eq!(average_precision(vec![(0.9, true), (0.8, true), (0.1, false)]), 1.0);
        assert_eq!(average_precision(vec![(0.9, false), (0.8, true)]), 0.5);
    }
}
