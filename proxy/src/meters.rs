//! How fast and how often: the histograms of one core, and their sum over all cores when somebody asks.
//!
//! Every successful request is counted, none is sampled. An arm's histograms are HDR with three significant digits, in
//! nanoseconds; they are made when its first request ends and grow with the values they hold. A core's numbers belong to
//! its thread: a reader gets a copy.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use hdrhistogram::Histogram;
use kt_core::event::Event;

/// Longer is recorded as this: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// One arm's numbers on one core.
#[derive(Clone, Debug)]
pub struct ArmMeters {
    /// Answers that came whole and well (below 400).
    pub successes: u64,
    /// All others.
    pub errors: u64,
    /// Request read whole → last byte of the answer handed over; successes only.
    pub latency: Histogram<u64>,
    /// Request read whole → first content; streamed successes only.
    pub ttft: Histogram<u64>,
    /// The gateway's own share of the latency; successes only.
    pub overhead: Histogram<u64>,
}

impl Default for ArmMeters {
    fn default() -> Self {
        let empty = || Histogram::new(3).expect("three digits are within what the crate allows");
        Self { successes: 0, errors: 0, latency: empty(), ttft: empty(), overhead: empty() }
    }
}

impl ArmMeters {
    /// Counts one ended request.
    pub fn count(&mut self, event: &Event) {
        if event.error.is_some() || event.status >= 400 {
            self.errors += 1;
            return;
        }
        self.successes += 1;
        record(&mut self.latency, event.latency_ns);
        record(&mut self.overhead, event.overhead_ns);
        if let Some(ttft) = event.ttft_ns {
            record(&mut self.ttft, ttft);
        }
    }

    /// Adds another core's numbers of the same arm.
    pub fn add(&mut self, other: &Self) {
        self.successes += other.successes;
        self.errors += other.errors;
        for (mine, theirs) in
            [(&mut self.latency, &other.latency), (&mut self.ttft, &other.ttft), (&mut self.overhead, &other.overhead)]
        {
            mine.add(theirs).expect("an auto-resizing histogram takes in any other");
        }
    }
}

fn record(histogram: &mut Histogram<u64>, ns: u64) {
    histogram.record(ns.min(LONGEST_NS)).expect("an auto-resizing histogram takes any value");
}

/// Group, arm and model by name: what outlives a reload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArmKey {
    /// The group's name.
    pub group: Box<str>,
    /// The arm's name.
    pub arm: Box<str>,
    /// Its model, as configured.
    pub model: Box<str>,
}

/// One arm's numbers, shared by the plans that have the arm.
pub type SharedMeters = Rc<RefCell<ArmMeters>>;

/// Every arm's numbers on one core.
#[derive(Debug, Default)]
pub struct Meters {
    arms: RefCell<BTreeMap<ArmKey, SharedMeters>>,
}

impl Meters {
    /// The numbers of one arm, made empty if there were none.
    pub fn of(&self, key: ArmKey) -> SharedMeters {
        Rc::clone(self.arms.borrow_mut().entry(key).or_default())
    }

    /// A copy of all numbers.
    pub fn copy(&self) -> BTreeMap<ArmKey, ArmMeters> {
        self.arms.borrow().iter().map(|(key, meters)| (key.clone(), meters.borrow().clone())).collect()
    }
}

/// What one core answers when asked for its numbers.
#[derive(Debug)]
pub struct Reading {
    /// Which core.
    pub core: u32,
    /// Its arms.
    pub arms: BTreeMap<ArmKey, ArmMeters>,
    /// Counters and gauges.
    pub counts: Counts,
}

/// Counters (since start) and gauges (now) of one core.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Client connections, now.
    pub connections: u64,
    /// Requests in flight, now.
    pub in_flight: u64,
    /// Idle vendor connections, now.
    pub idle_upstreams: u64,
    /// Connections closed at once because their address had as many as it may, since start.
    pub turned_away: u64,
    /// TLS handshakes of clients that failed, since start; of those who spoke no TLS where there is, and TLS where there
    /// isn't, too.
    pub failed_handshakes: u64,
    /// Requests to model endpoints, since start.
    pub admitted: u64,
    /// Heads that could not be parsed, since start.
    pub refused_heads: u64,
    /// Requests to other paths or with a wrong method, since start.
    pub others: u64,
    /// Requests shed because the log had no room, since start.
    pub shed: u64,
    /// Panics caught, since start. Each is a bug of ours.
    pub panics: u64,
}

impl Counts {
    /// Adds another core's.
    pub fn add(&mut self, other: &Self) {
        let Self {
            connections,
            in_flight,
            idle_upstreams,
            turned_away,
            failed_handshakes,
            admitted,
            refused_heads,
            others,
            shed,
            panics,
        } = other;
        self.connections += connections;
        self.in_flight += in_flight;
        self.idle_upstreams += idle_upstreams;
        self.turned_away += turned_away;
        self.failed_handshakes += failed_handshakes;
        self.admitted += admitted;
        self.refused_heads += refused_heads;
        self.others += others;
        self.shed += shed;
        self.panics += panics;
    }
}

/// All cores' numbers as one.
pub fn merge(readings: impl IntoIterator<Item = Reading>) -> (BTreeMap<ArmKey, ArmMeters>, Counts) {
    let mut arms: BTreeMap<ArmKey, ArmMeters> = BTreeMap::new();
    let mut counts = Counts::default();
    for reading in readings {
        counts.add(&reading.counts);
        for (key, meters) in reading.arms {
            arms.entry(key).or_default().add(&meters);
        }
    }
    (arms, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_merged_are_as_one_histogram() {
        let mut one = ArmMeters::default();
        let mut cores = [ArmMeters::default(), ArmMeters::default()];
        for n in 0..10_000_u64 {
            let ns = 1_000 + n * n * 37;
            record(&mut one.latency, ns);
            record(&mut cores[n as usize % 2].latency, ns);
        }
        let mut merged = ArmMeters::default();
        cores.iter().for_each(|core| merged.add(core));
        assert_eq!(merged.latency, one.latency);
    }

    #[test]
    fn a_quantile_is_within_a_thousandth() {
        let mut histogram = ArmMeters::default().latency;
        for ns in 1..=1_000_000_u64 {
            record(&mut histogram, ns * 100);
        }
        for (quantile, exact) in [(0.5, 50_000_000.0), (0.99, 99_000_000.0), (0.999, 99_900_000.0)] {
            let error = (histogram.value_at_quantile(quantile) as f64 - exact).abs() / exact;
            assert!(error <= 0.001, "quantile {quantile} is off by {error}");
        }
    }

    #[test]
    fn more_than_an_hour_is_an_hour() {
        let mut histogram = ArmMeters::default().latency;
        record(&mut histogram, u64::MAX);
        assert_eq!(histogram.len(), 1);
        assert!(histogram.max() <= LONGEST_NS * 1_001 / 1_000);
    }
}
