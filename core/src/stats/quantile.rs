//! Bounds of a quantile, and of the ratio between two arms' quantiles.
//!
//! They are read off the sorted values, so they assume nothing of the distribution. A request that failed has an
//! infinite value: it is slower than any that didn't, by nobody knows how much.

use super::evidence::{Below, Looks, against_quantile};
use super::interval::Interval;

/// What one arm measured, sorted, and how many independent requests each request is worth.
#[derive(Clone, Debug)]
pub struct Sorted {
    values: Vec<f64>,
    /// One over the design effect.
    worth: f64,
}

/// The values that are held possible for a quantile, each with the evidence against it.
struct Candidates {
    /// Rising.
    values: Vec<f64>,
    evidence: Vec<f64>,
}

impl Sorted {
    /// Of values in any order; none may be NaN. `effect` is the design effect, at least 1.
    pub fn new(mut values: Vec<f64>, effect: f64) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self { values, worth: 1.0 / effect }
    }

    /// The same values, of requests that depend on each other more or less.
    #[must_use]
    pub fn with_effect(mut self, effect: f64) -> Self {
        self.worth = 1.0 / effect;
        self
    }

    /// In rising order.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The smallest value that at least a share `p` of all is not above; none of none, and infinite among failures.
    pub fn quantile(&self, p: f64) -> Option<f64> {
        // What is off by the rounding of p alone is not a rank more.
        let rank = (p * self.values.len() as f64 - 1e-9).ceil().max(1.0) as usize;
        self.values.get(rank - 1).copied()
    }

    /// What is known of the quantile `p` of an arm by itself.
    pub fn bounds(&self, p: f64, alpha: f64, looks: Looks) -> Interval {
        let possible = self.candidates(p, looks.threshold(alpha), looks);
        Interval {
            estimate: self.quantile(p).filter(|value| value.is_finite()),
            low: possible.values.first().copied().unwrap_or(0.0),
            high: possible.values.last().copied().unwrap_or(f64::INFINITY),
        }
    }

    /// The greatest value that is not infinite; zero if there is none.
    fn greatest(&self) -> f64 {
        let finite = self.values.partition_point(|value| value.is_finite());
        finite.checked_sub(1).map_or(0.0, |at| self.values[at])
    }

    /// How many lie below `value`.
    fn below(&self, value: f64) -> Below {
        Below {
            less: self.worth * self.values.partition_point(|v| *v < value) as f64,
            at_most: self.worth * self.values.partition_point(|v| *v <= value) as f64,
            of: self.worth * self.values.len() as f64,
        }
    }

    /// How far below zero the evidence of this arm can be: so much more may there be of the other one.
    fn spare(&self, p: f64, looks: Looks) -> f64 {
        let of = self.worth * self.values.len() as f64;
        let even = against_quantile(Below { less: p * of, at_most: p * of, of }, p, looks);
        let centre = self.quantile(p).map_or(0.0, |centre| against_quantile(self.below(centre), p, looks));
        -even.min(centre).min(0.0)
    }

    /// Every value that has been seen and is held possible, and zero or infinity where what has not been seen is.
    fn candidates(&self, p: f64, threshold: f64, looks: Looks) -> Candidates {
        let Some(centre) = self.quantile(p) else { return Candidates::all() };
        let against = |value: f64| against_quantile(self.below(value), p, looks);
        let len = self.values.len();
        let rank = self.values.partition_point(|v| *v < centre);
        // Evidence grows to both sides, so each end is found by halving.
        let first = partition(0, rank, |at| against(self.values[at]) >= threshold);
        let last = partition(rank + 1, len, |at| against(self.values[at]) < threshold);
        let mut found = Candidates { values: Vec::new(), evidence: Vec::new() };
        let mut add = |value: f64| {
            if found.values.last() != Some(&value) {
                found.values.push(value);
                found.evidence.push(against(value));
            }
        };
        if first == 0 && against(0.0) < threshold {
            add(0.0);
        }
        self.values[first..last].iter().for_each(|value| add(*value));
        if last == len && against(f64::INFINITY) < threshold {
            add(f64::INFINITY);
        }
        found
    }
}

impl Candidates {
    fn all() -> Self {
        Self { values: vec![0.0, f64::INFINITY], evidence: vec![0.0, 0.0] }
    }

    /// Where there is least evidence.
    fn centre(&self) -> usize {
        let least = self.evidence.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        least.map_or(0, |(at, _)| at)
    }
}

/// The first of `from..to` for which `before` doesn't hold; it holds for none behind that one.
fn partition(from: usize, to: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut from, mut to) = (from, to);
    while from < to {
        let middle = from + (to - from) / 2;
        if before(middle) { from = middle + 1 } else { to = middle }
    }
    from
}

/// What is known of the quantile `p` of `arm`, divided by that of `baseline`.
///
/// A ratio is possible if there is any pair of values with that ratio against which both arms together have too little
/// evidence (the A/B test of Howard and Ramdas 2022, section 5). That is narrower than dividing two intervals: both
/// ends at once would be a rare coincidence.
///
/// Where many values are equal, there is far less than no evidence in an arm, which would excuse any in the other. So a
/// tenth of the chance of an error is kept for each arm by itself.
pub fn ratio(arm: &Sorted, baseline: &Sorted, p: f64, alpha: f64, looks: Looks) -> Interval {
    let (threshold, alone) = match looks {
        Looks::Any => (looks.threshold(0.8 * alpha), looks.threshold(0.1 * alpha)),
        // There is never less than none.
        Looks::One => (looks.threshold(alpha), f64::INFINITY),
    };
    let of_arm = arm.candidates(p, alone.min(threshold + baseline.spare(p, looks)), looks);
    let of_baseline = baseline.candidates(p, alone.min(threshold + arm.spare(p, looks)), looks);
    let estimate = arm.quantile(p).zip(baseline.quantile(p));
    let estimate = estimate.filter(|(a, b)| a.is_finite() && b.is_finite() && *b > 0.0);
    // What is infinite is beyond all that was seen, so whatever is known of that is known of it.
    let beyond = arm.greatest().max(baseline.greatest());
    Interval {
        estimate: estimate.map(|(a, b)| a / b),
        low: least_ratio(&of_arm, &of_baseline, threshold, beyond),
        high: 1.0 / least_ratio(&of_baseline, &of_arm, threshold, beyond),
    }
}

/// The least quotient of a candidate above and one below whose evidence adds up to less than `threshold`; `beyond` stands
/// for an infinite dividend. Zero if nothing is known.
fn least_ratio(above: &Candidates, below: &Candidates, threshold: f64, beyond: f64) -> f64 {
    let mut least = f64::INFINITY;
    // The greater the divisor, the more evidence there is against it, and the less may there be against the dividend.
    let mut at = 0;
    let centre = above.centre();
    for (divisor, evidence) in below.values.iter().zip(&below.evidence).skip(below.centre()) {
        while at < centre && above.evidence[at] + evidence >= threshold {
            at += 1;
        }
        if above.evidence[at] + evidence >= threshold {
            break;
        }
        let quotient = match above.values[at] / divisor {
            // Of two zeros, or two infinities: nothing is known.
            unknown if unknown.is_nan() => 0.0,
            endless if endless.is_infinite() => beyond / divisor,
            known => known,
        };
        least = least.min(quotient);
    }
    if least.is_finite() { least } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(failures: usize) -> Sorted {
        let seen = (0..4_000 - failures).map(|at| 100.0 + at as f64 / 10.0);
        Sorted::new(seen.chain(std::iter::repeat_n(f64::INFINITY, failures)).collect(), 1.0)
    }

    #[test]
    fn an_arm_whose_quantile_is_a_failure_is_slower_than_all_that_was_seen() {
        let (failing, sound) = (sorted(1_200), sorted(0));
        let slower = ratio(&failing, &sound, 0.9, 0.05, Looks::Any);
        assert_eq!((slower.estimate, slower.high), (None, f64::INFINITY));
        assert!(slower.low > 1.0 && slower.low.is_finite(), "{slower:?}");
        let faster = ratio(&sound, &failing, 0.9, 0.05, Looks::Any);
        assert!(faster.low == 0.0 && faster.high < 1.0, "{faster:?}");
        let both = ratio(&failing, &failing, 0.9, 0.05, Looks::Any);
        assert_eq!((both.low, both.high), (0.0, f64::INFINITY));
        assert!(ratio(&failing, &sound, 0.5, 0.05, Looks::Any).holds(1.0));
    }

    #[test]
    fn equal_values_in_one_arm_excuse_nothing_in_the_other() {
        let all_but_failures = |value| (0..4_000).map(move |at| if at % 100 == 0 { f64::INFINITY } else { value });
        let (nine, ten) =
            (Sorted::new(all_but_failures(9.0).collect(), 1.0), Sorted::new(all_but_failures(10.0).collect(), 1.0));
        let bounds = ratio(&nine, &ten, 0.5, 0.05, Looks::Any);
        assert!((bounds.low - 0.9).abs() < 1e-12 && (bounds.high - 0.9).abs() < 1e-12, "{bounds:?}");
    }

    #[test]
    fn nothing_is_known_of_nothing() {
        let (none, some) = (Sorted::new(Vec::new(), 1.0), sorted(0));
        assert_eq!(none.bounds(0.5, 0.05, Looks::Any), Interval::unknown(0.0, f64::INFINITY));
        assert_eq!(ratio(&none, &some, 0.5, 0.05, Looks::Any).estimate, None);
        assert_eq!(ratio(&none, &some, 0.5, 0.05, Looks::Any).low, 0.0);
        let one = Sorted::new(vec![5.0], 1.0).bounds(0.5, 0.05, Looks::Any);
        assert_eq!((one.estimate, one.low, one.high), (Some(5.0), 0.0, f64::INFINITY));
    }

    #[test]
    fn the_bounds_of_equal_values_are_that_value() {
        let flat = Sorted::new(vec![7.0; 5_000], 1.0);
        let bounds = flat.bounds(0.5, 0.05, Looks::Any);
        assert_eq!((bounds.low, bounds.high), (7.0, 7.0));
        let same = ratio(&flat, &flat, 0.99, 0.05, Looks::Any);
        assert_eq!((same.low, same.high), (1.0, 1.0));
    }
}
