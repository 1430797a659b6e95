//! The last hour, minute by minute: one ring per process, and sparse.
//!
//! Each core collects the minute that it is in, and hands it over when the first request of another minute ends;
//! nothing ticks. What is kept of a minute is a few counts and two small distributions per arm that was asked, a pair
//! of numbers for each bucket that holds anything: so a gateway that is idle keeps nothing. A bucket is a 64th of an
//! octave wide, so a quantile is within 0.8 % of the exact one.
//!
//! Bounds: [`MINUTES`] minutes of each core, of each minute at most [`MINUTE_ARMS_MAX`] arms, the others together as
//! one, and of each distribution at most 2,688 buckets of 8 bytes. An arm that is as varied as an arm of a model is
//! fills some hundred of them: about 3 KiB per arm and busy minute, 200 KiB an hour.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::queue::ArrayQueue;
use kt_core::limits::MINUTE_ARMS_MAX;

use crate::meters::ArmKey;

/// Minutes that are kept.
pub const MINUTES: u64 = 60;
const MINUTE_NS: u64 = 60_000_000_000;
/// Buckets of an octave, as a power of two.
const FINE: u32 = 6;

/// What one minute brought on one core.
#[derive(Clone, Debug, Default)]
pub struct Minute {
    /// Which one, since the process started.
    pub number: u64,
    /// By arm.
    pub arms: BTreeMap<Arc<ArmKey>, MinuteArm>,
}

/// What one minute brought to one arm.
#[derive(Clone, Debug, Default)]
pub struct MinuteArm {
    /// Answers that came whole and well.
    pub successes: u64,
    /// All others.
    pub failures: u64,
    /// Tokens of the output.
    pub tokens_out: u64,
    /// Of successes.
    pub latency: Sparse,
    /// Of streamed successes.
    pub ttft: Sparse,
}

impl Minute {
    /// Which minute a moment lies in.
    pub const fn number_of(ns: u64) -> u64 {
        ns / MINUTE_NS
    }

    /// Of what each arm brought in it. Those that brought nothing are left out, and beyond a bound they count as one.
    pub fn of<'k>(number: u64, arms: impl Iterator<Item = (&'k Arc<ArmKey>, MinuteArm)>) -> Self {
        let mut minute = Self { number, arms: BTreeMap::new() };
        for (key, arm) in arms.filter(|(_, arm)| arm.successes + arm.failures > 0) {
            match minute.arms.len() < MINUTE_ARMS_MAX {
                true => drop(minute.arms.insert(Arc::clone(key), arm)),
                false => minute.arms.entry(Arc::new(others())).or_default().add(&arm),
            }
        }
        minute
    }
}

/// Whom arms beyond the bound are counted as.
fn others() -> ArmKey {
    ArmKey { group: "(others)".into(), arm: "(others)".into(), provider: "", model: "".into() }
}

impl MinuteArm {
    /// Counts one request.
    pub fn count(&mut self, success: bool, latency_ns: u64, ttft_ns: Option<u64>, tokens_out: u64) {
        self.tokens_out = self.tokens_out.saturating_add(tokens_out);
        if !success {
            self.failures += 1;
            return;
        }
        self.successes += 1;
        self.latency.record(latency_ns);
        if let Some(ttft_ns) = ttft_ns {
            self.ttft.record(ttft_ns);
        }
    }

    fn add(&mut self, other: &Self) {
        let Self { successes, failures, tokens_out, latency, ttft } = other;
        self.successes += successes;
        self.failures += failures;
        self.tokens_out = self.tokens_out.saturating_add(*tokens_out);
        self.latency.add(latency);
        self.ttft.add(ttft);
    }
}

/// A distribution that takes room only for what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    /// Bucket and count, in the order of buckets.
    cells: Vec<(u16, u32)>,
}

impl Sparse {
    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.add_cell(bucket_of(value), 1);
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.cells.iter().map(|&(_, count)| u64::from(count)).sum()
    }

    /// The value below which this share of the values lie, to the middle of its bucket; 0 of none.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((share * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for &(bucket, count) in &self.cells {
            seen += u64::from(count);
            if seen >= rank {
                return middle_of(bucket);
            }
        }
        0
    }

    fn add(&mut self, other: &Self) {
        for &(bucket, count) in &other.cells {
            self.add_cell(bucket, count);
        }
    }

    fn add_cell(&mut self, bucket: u16, count: u32) {
        match self.cells.binary_search_by_key(&bucket, |&(bucket, _)| bucket) {
            Ok(at) => self.cells[at].1 = self.cells[at].1.saturating_add(count),
            Err(at) => self.cells.insert(at, (bucket, count)),
        }
    }
}

/// Below 64 each value has its own; above, the octave and the six bits behind the first.
fn bucket_of(value: u64) -> u16 {
    if value < 1 << FINE {
        return value as u16;
    }
    let octave = value.ilog2();
    let fine = value >> (octave - FINE) & ((1 << FINE) - 1);
    // At most 63: the largest is (63 - 5) * 64 + 63.
    ((octave - FINE + 1) << FINE) as u16 + fine as u16
}

fn middle_of(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let (octaves, fine) = (bucket >> FINE, bucket & ((1 << FINE) - 1));
    if octaves == 0 {
        return fine;
    }
    let width = 1_u64 << (octaves - 1);
    ((1 << FINE) + fine) * width + width / 2
}

/// The minutes that are over. Cores put in without waiting for anybody, and what nobody takes out is replaced by what
/// is newer.
#[derive(Debug)]
pub struct Minutes {
    inbox: ArrayQueue<Minute>,
    /// What readers have taken out of the inbox. No core ever locks it.
    kept: Mutex<Vec<Minute>>,
}

impl Minutes {
    /// For so many cores.
    pub fn new(cores: usize) -> Arc<Self> {
        let room = cores.max(1) * (MINUTES as usize + 1);
        Arc::new(Self { inbox: ArrayQueue::new(room), kept: Mutex::default() })
    }

    /// Takes a minute that is over.
    pub fn keep(&self, over: Minute) {
        // What it replaces is of more than an hour ago.
        drop(self.inbox.force_push(over));
    }

    /// What the last `minutes` brought, the one of `now_ns` included; `current` are the minutes that are not over yet.
    pub fn last(&self, minutes: u64, now_ns: u64, current: &[Minute]) -> BTreeMap<Arc<ArmKey>, MinuteArm> {
        let number = Minute::number_of(now_ns);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(std::iter::from_fn(|| self.inbox.pop()));
        kept.retain(|minute| minute.number + MINUTES > number);
        let mut sum: BTreeMap<Arc<ArmKey>, MinuteArm> = BTreeMap::new();
        for minute in kept.iter().chain(current).filter(|minute| minute.number + minutes > number) {
            for (key, arm) in &minute.arms {
                sum.entry(Arc::clone(key)).or_default().add(arm);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Arc<ArmKey> {
        Arc::new(ArmKey { group: "g".into(), arm: "a".into(), provider: "openai", model: "m".into() })
    }

    fn minute(number: u64, values: &[u64]) -> Minute {
        let mut arm = MinuteArm::default();
        values.iter().for_each(|&value| arm.count(true, value, None, 1));
        Minute { number, arms: [(key(), arm)].into() }
    }

    #[test]
    fn a_bucket_is_never_further_off_than_a_hundred_and_twentieth() {
        for value in
            (0..100_000).chain((0..40).flat_map(|octave| [1 << octave, (1 << octave) * 3 / 2, (2 << octave) - 1]))
        {
            let shown = middle_of(bucket_of(value));
            assert!(shown.abs_diff(value) as f64 <= value as f64 / 120.0, "{value} is shown as {shown}");
        }
        assert!(bucket_of(u64::MAX) < 64 * 64);
        assert!((0..1_u64 << 20).map(bucket_of).is_sorted());
    }

    #[test]
    fn an_hour_is_kept_and_no_more_whether_anybody_looks_or_not() {
        let minutes = Minutes::new(1);
        for number in 0..200 {
            minutes.keep(minute(number, &[1_000_000]));
        }
        let now = 200 * MINUTE_NS;
        let successes = |last| minutes.last(last, now, &[]).get(&key()).map_or(0, |arm| arm.successes);
        assert_eq!(successes(60), 59, "the minute that is has brought nothing yet");
        assert_eq!(successes(1), 0);
        assert_eq!(successes(2), 1);
        minutes.keep(minute(200, &[1]));
        assert_eq!(successes(1), 1);
        assert_eq!(minutes.last(60, now + 60 * MINUTE_NS, &[]).len(), 0);
    }

    #[test]
    fn what_is_not_over_yet_counts_too() {
        let minutes = Minutes::new(2);
        minutes.keep(minute(7, &[100, 200]));
        let sum = minutes.last(5, 9 * MINUTE_NS, &[minute(9, &[300]), minute(9, &[400])]);
        let arm = &sum[&key()];
        assert_eq!((arm.successes, arm.tokens_out, arm.latency.count()), (4, 4, 4));
        assert!((198..=202).contains(&arm.latency.quantile(0.5)), "{}", arm.latency.quantile(0.5));
    }

    #[test]
    fn arms_beyond_the_bound_count_as_one_and_idle_ones_not_at_all() {
        let keys: Vec<Arc<ArmKey>> = (0..MINUTE_ARMS_MAX + 20)
            .map(|arm| Arc::new(ArmKey { arm: format!("{arm:04}").into(), ..ArmKey::clone(&key()) }))
            .collect();
        let arm = |at: usize| {
            let mut arm = MinuteArm::default();
            // Every second one of the first twenty brings nothing.
            if at >= 20 || at.is_multiple_of(2) {
                arm.count(true, 1_000, None, 1);
            }
            arm
        };
        let minute = Minute::of(3, keys.iter().enumerate().map(|(at, key)| (key, arm(at))));
        assert_eq!(minute.arms.len(), MINUTE_ARMS_MAX + 1);
        assert_eq!(minute.arms[&others()].successes, 10);
    }
}
