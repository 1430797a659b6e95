//! The values of one measure: a histogram that is made when the first of them comes, and their exact sum.

use std::cell::Cell;

use hdrhistogram::Histogram;
use kt_core::limits::HISTOGRAMS_MAX;

/// Longer is recorded as this: an hour. A rate of tokens above this many a second, times a thousand, too.
const LARGEST: u64 = 3_600_000_000_000;

/// What is measured of an arm's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Request read whole → last byte of the answer handed over.
    Latency,
    /// Request read whole → first content; streams only.
    Ttft,
    /// From one content event of a stream to the next, as read from the vendor.
    Gap,
    /// Output tokens per second, times a thousand: of a stream between its first and its last content, of another
    /// answer while the vendor was at it.
    TokenRate,
    /// Name, TCP and TLS, where a connection was made.
    Connect,
    /// The gateway's own share of the latency.
    Overhead,
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 6] = [Self::Latency, Self::Ttft, Self::Gap, Self::TokenRate, Self::Connect, Self::Overhead];

    /// Its key in `GET /stats`, which says the unit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency_ns",
            Self::Ttft => "ttft_ns",
            Self::Gap => "gap_ns",
            Self::TokenRate => "tokens_per_1000s",
            Self::Connect => "connect_ns",
            Self::Overhead => "overhead_ns",
        }
    }
}

/// Values of one measure: their distribution, and their exact sum.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    histogram: Option<Box<Histogram<u64>>>,
    sum: u128,
}

impl Distribution {
    /// The histogram, once there was a value.
    pub fn histogram(&self) -> Option<&Histogram<u64>> {
        self.histogram.as_deref()
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.len())
    }

    /// Their sum.
    pub const fn sum(&self) -> u128 {
        self.sum
    }

    pub(super) fn record(&mut self, value: u64, made: &Made) {
        if self.histogram.is_none() {
            if !made.one_more() {
                return;
            }
            self.histogram = Some(Box::new(empty()));
        }
        let value = value.min(LARGEST);
        self.sum += u128::from(value);
        if let Some(histogram) = &mut self.histogram {
            histogram.record(value).expect("an auto-resizing histogram takes any value");
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        if let Some(theirs) = &other.histogram {
            let mine = self.histogram.get_or_insert_with(|| Box::new(empty()));
            mine.add(&**theirs).expect("an auto-resizing histogram takes in any other");
        }
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are within what the crate allows")
}

/// How many histograms a core has made, and how many values found none.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Histograms.
    pub(super) histograms: Cell<usize>,
    /// Values.
    pub(super) unmeasured: Cell<u64>,
}

impl Made {
    fn one_more(&self) -> bool {
        let room = self.histograms.get() < HISTOGRAMS_MAX;
        let count = if room { self.histograms.get() + 1 } else { HISTOGRAMS_MAX };
        self.histograms.set(count);
        if !room {
            self.unmeasured.set(self.unmeasured.get() + 1);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(values: impl IntoIterator<Item = u64>) -> Distribution {
        let (mut distribution, made) = (Distribution::default(), Made::default());
        values.into_iter().for_each(|value| distribution.record(value, &made));
        distribution
    }

    #[test]
    fn cores_merged_are_as_one_histogram() {
        let value = |n: u64| 1_000 + n * n * 37;
        let one = filled((0..10_000).map(value));
        let mut merged = Distribution::default();
        for core in 0..2 {
            merged.add(&filled((0..10_000).filter(|n| n % 2 == core).map(value)));
        }
        assert_eq!(merged.histogram(), one.histogram());
        assert_eq!(merged.sum(), one.sum());
    }

    #[test]
    fn quantiles_of_ten_million_log_normal_values_are_within_a_thousandth() {
        let mut rng = fastrand::Rng::with_seed(5);
        // Box and Muller; around 300 ms with a sigma of 1.5, so from tens of µs to some minutes.
        let mut value = || {
            let (u, v) = (1.0 - rng.f64(), rng.f64());
            let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
            (300e6 * (1.5 * normal).exp()) as u64
        };
        let count =
            if cfg!(debug_assertions) && std::env::var_os("KT_LONG").is_none() { 1_000_000 } else { 10_000_000 };
        let mut values: Vec<u64> = (0..count).map(|_| value()).collect();
        let distribution = filled(values.iter().copied());
        values.sort_unstable();
        for quantile in [0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999] {
            let rank = ((quantile * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1].min(LARGEST) as f64;
            let shown = distribution.histogram().expect("it is filled").value_at_quantile(quantile) as f64;
            assert!((shown - exact).abs() <= exact * 0.001, "quantile {quantile} is {exact}, shown as {shown}");
        }
    }

    #[test]
    fn more_than_an_hour_is_an_hour() {
        let histogram = filled([u64::MAX]);
        let histogram = histogram.histogram().expect("it has a value");
        assert_eq!(histogram.len(), 1);
        assert!(histogram.max() <= LARGEST * 1_001 / 1_000);
    }

    #[test]
    fn a_core_makes_no_more_histograms_than_it_may() {
        let made = Made::default();
        let mut distributions: Vec<Distribution> = vec![Distribution::default(); HISTOGRAMS_MAX + 2];
        for distribution in &mut distributions {
            distribution.record(1, &made);
        }
        assert_eq!(distributions.iter().filter(|distribution| distribution.count() == 1).count(), HISTOGRAMS_MAX);
        assert_eq!(made.unmeasured.get(), 2);
        distributions[0].record(1, &made);
        assert_eq!(distributions[0].count(), 2, "one that is there goes on");
    }
}
