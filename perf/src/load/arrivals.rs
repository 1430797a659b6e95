//! When requests are meant to go out: numbers and chance, no clock.

use std::time::Duration;

use fastrand::Rng;

use crate::clock::ns;

/// When requests go out.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// Each connection asks again when it is answered.
    Closed,
    /// So many a second, evenly.
    Constant {
        /// Requests a second.
        rate: f64,
    },
    /// So many a second on average, each independent of the others, as from many users.
    Poisson {
        /// Requests a second.
        rate: f64,
        /// What chance comes from.
        seed: u64,
    },
    /// At these times from the start, again from the beginning when they are used up. In order.
    Trace {
        /// Times.
        times: Vec<Duration>,
    },
}

/// The times at which requests are meant to go out, from the start, in nanoseconds.
pub(super) struct Arrivals {
    pattern: Pattern,
    nth: u64,
    at_ns: f64,
    dice: Rng,
}

impl Pattern {
    /// Requests a second that are meant, where there is such a number.
    pub fn rate(&self) -> Option<f64> {
        match self {
            Self::Closed => None,
            Self::Constant { rate } | Self::Poisson { rate, .. } => Some(*rate),
            Self::Trace { times } => times.last().map(|last| times.len() as f64 / last.as_secs_f64()),
        }
    }
}

impl Arrivals {
    pub(super) fn new(pattern: Pattern) -> Self {
        let seed = if let Pattern::Poisson { seed, .. } = pattern { seed } else { 0 };
        Self { pattern, nth: 0, at_ns: 0.0, dice: Rng::with_seed(seed) }
    }
}

impl Iterator for Arrivals {
    type Item = u64;

    /// None for the closed loop, in which nothing is meant, and for an empty trace.
    fn next(&mut self) -> Option<u64> {
        let nth = self.nth;
        self.nth += 1;
        match &self.pattern {
            Pattern::Closed => None,
            // Counted from the start, so that nothing adds up.
            Pattern::Constant { rate } => Some((nth as f64 * 1e9 / rate) as u64),
            Pattern::Poisson { rate, .. } => {
                self.at_ns -= (1.0 - self.dice.f64()).ln() * 1e9 / rate;
                Some(self.at_ns as u64)
            }
            Pattern::Trace { times } => {
                let count = times.len() as u64;
                let round = nth.checked_div(count)?;
                Some(ns(*times.last()?) * round + ns(times[(nth % count) as usize]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_constant_does_not_drift() {
        let times: Vec<u64> = Arrivals::new(Pattern::Constant { rate: 3.0 }).take(3_001).collect();
        assert_eq!((times[0], times[1], times[3], times[3_000]), (0, 333_333_333, 1_000_000_000, 1_000_000_000_000));
    }

    #[test]
    fn poisson_is_random_with_the_right_mean_and_spread_and_repeats_by_its_seed() {
        let draw = |seed| Arrivals::new(Pattern::Poisson { rate: 1_000.0, seed }).take(100_000).collect::<Vec<u64>>();
        let times = draw(1);
        assert_eq!(times, draw(1));
        assert_ne!(times, draw(2));
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // An exponential distribution's standard deviation is its mean.
        assert!((0.99..1.01).contains(&mean) && (0.97..1.03).contains(&variance.sqrt()), "{mean} {variance}");
    }

    #[test]
    fn a_trace_begins_again() {
        let ms = Duration::from_millis;
        let times = Arrivals::new(Pattern::Trace { times: vec![ms(1), ms(4), ms(10)] });
        assert_eq!(times.take(5).map(|at| at / 1_000_000).collect::<Vec<_>>(), [1, 4, 10, 11, 14]);
        for none in [Pattern::Closed, Pattern::Trace { times: Vec::new() }] {
            assert_eq!(Arrivals::new(none).next(), None);
        }
    }
}
