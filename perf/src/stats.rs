//! How sure a number is: intervals by the bootstrap, from rounds that were measured side by side.
//!
//! A round holds what both candidates did within the same minute, so what disturbs a machine for longer disturbs both.
//! Rounds are drawn again with replacement, and of a round its samples: what differs from round to round is in the
//! interval, and with few rounds it is wide, as it should be.

use fastrand::Rng;

/// Drawn sets of rounds. More change the interval's third digit.
const DRAWS: usize = 2_000;
/// What chance comes from: the same measurement gives the same interval.
const SEED: u64 = 0x6b74;

/// A number and what it may be, 95 times of 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The number itself.
    pub value: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The median; not a number of none.
pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// A quantile, by the nearest rank between neighbours; not a number of none.
pub fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(below), sorted.get(above)) {
        (Some(below), Some(above)) => below + (above - below) * place.fract(),
        _ => f64::NAN,
    }
}

/// The median over all rounds, with its interval. `None` without a sample.
pub fn of_rounds(rounds: &[Vec<f64>]) -> Option<Interval> {
    let pairs: Vec<(&[f64], &[f64])> = rounds.iter().map(|round| (round.as_slice(), &[1.0][..])).collect();
    interval(&pairs, |samples, _| median(samples))
}

/// The ratio of the medians of two candidates measured in the same rounds, with its interval. Rounds that lack either are
/// left out; `None` without a round.
pub fn ratio(one: &[Vec<f64>], other: &[Vec<f64>]) -> Option<Interval> {
    let pairs: Vec<(&[f64], &[f64])> = one.iter().zip(other).map(|(one, other)| (&one[..], &other[..])).collect();
    interval(&pairs, |one, other| median(one) / median(other))
}

/// The median of differences between pairs, with its interval. `None` without a pair.
pub fn difference(pairs: &[f64]) -> Option<Interval> {
    // A quantile's own interval needs no drawing: by the normal approximation of the binomial, half of the pairs give or
    // take this many lie below the median.
    if pairs.is_empty() {
        return None;
    }
    let spread = 0.98 / (pairs.len() as f64).sqrt();
    Some(Interval {
        value: median(pairs),
        low: quantile(pairs, (0.5 - spread).max(0.0)),
        high: quantile(pairs, (0.5 + spread).min(1.0)),
    })
}

fn interval(rounds: &[(&[f64], &[f64])], statistic: impl Fn(&[f64], &[f64]) -> f64) -> Option<Interval> {
    let rounds: Vec<_> = rounds.iter().filter(|(one, other)| !one.is_empty() && !other.is_empty()).collect();
    if rounds.is_empty() {
        return None;
    }
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for (a, b) in &rounds {
        one.extend_from_slice(a);
        other.extend_from_slice(b);
    }
    let value = statistic(&one, &other);
    let mut dice = Rng::with_seed(SEED);
    let mut drawn: Vec<f64> = (0..DRAWS)
        .map(|_| {
            one.clear();
            other.clear();
            for _ in 0..rounds.len() {
                let (a, b) = rounds[dice.usize(..rounds.len())];
                one.extend((0..a.len()).map(|_| a[dice.usize(..a.len())]));
                other.extend((0..b.len()).map(|_| b[dice.usize(..b.len())]));
            }
            statistic(&one, &other)
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    Some(Interval { value, low: quantile(&drawn, 0.025), high: quantile(&drawn, 0.975) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of a candidate that costs `cost`, on a machine whose speed changes from round to round.
    fn rounds(cost: f64, seed: u64) -> Vec<Vec<f64>> {
        let mut machine = Rng::with_seed(9);
        let mut own = Rng::with_seed(seed);
        let mut round = || {
            let speed = 1.0 + 0.5 * machine.f64();
            (0..6).map(|_| cost * speed * (1.0 + 0.04 * (own.f64() - 0.5))).collect()
        };
        (0..8).map(|_| round()).collect()
    }

    #[test]
    fn a_ratio_is_found_though_the_machine_changes() {
        let ratio = ratio(&rounds(12.0, 1), &rounds(10.0, 2)).unwrap();
        assert!((ratio.value - 1.2).abs() < 0.03 && ratio.low < ratio.value && ratio.value < ratio.high, "{ratio:?}");
    }

    #[test]
    fn intervals_hold_what_they_promise() {
        // The same thing measured twice: one is in the interval about as often as it says.
        let held = (0..100).filter(|&seed| {
            let same = ratio(&rounds(10.0, seed), &rounds(10.0, seed + 1_000)).unwrap();
            same.low <= 1.0 && 1.0 <= same.high
        });
        assert!(held.count() >= 85);
    }

    #[test]
    fn nothing_measured_is_nothing_known() {
        assert_eq!(of_rounds(&[Vec::new()]), None);
        assert_eq!(ratio(&[vec![1.0]], &[Vec::new()]), None);
        assert_eq!(difference(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(&[1.0, 2.0], 0.5), 1.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_difference_of_pairs_is_narrower_than_what_they_differ_among_each_other() {
        let mut dice = Rng::with_seed(4);
        let pairs: Vec<f64> = (0..2_000).map(|_| 50.0 + 100.0 * (dice.f64() - 0.5)).collect();
        let difference = difference(&pairs).unwrap();
        assert!(difference.low > 45.0 && difference.high < 55.0 && difference.low < 50.0, "{difference:?}");
    }
}
