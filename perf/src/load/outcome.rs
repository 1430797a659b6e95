//! What came of a load: distributions, failures by their reason, and what the load itself was like.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cpu::Used;

/// Longest time that is told apart, an hour, in nanoseconds.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Share of its core from which on a load may be what limits a run.
const BUSY: f64 = 0.85;
/// How late a request may go out before that is worth a word.
const LATE_NS: u64 = 1_000_000;

/// Times in nanoseconds, to three digits.
#[derive(Clone, Debug)]
pub struct Hist(Histogram<u64>);

impl Default for Hist {
    fn default() -> Self {
        Self(
            Histogram::new_with_bounds(1, LONGEST_NS, 3)
                .expect("the bounds are in order, and three digits are allowed"),
        )
    }
}

impl Hist {
    /// Counts one.
    pub fn add(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value that a share `quantile` of them doesn't exceed; 0 of none.
    pub fn at(&self, quantile: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(quantile) }
    }

    /// The largest.
    pub fn max(&self) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.max() }
    }

    /// The mean; 0 of none.
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// Takes the others in.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// The distribution as HdrHistogram's own tools print and plot it, in milliseconds.
    pub fn hgrm(&self) -> String {
        let mut text =
            format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
        for step in self.0.iter_quantiles(5) {
            let (value, quantile) = (step.value_iterated_to() as f64 / 1e6, step.quantile_iterated_to());
            let count = self.0.count_between(0, step.value_iterated_to());
            text += &match quantile < 1.0 {
                true => format!("{value:>12.3} {quantile:>2.12} {count:>10} {:>14.2}\n", 1.0 / (1.0 - quantile)),
                false => format!("{value:>12.3} {quantile:>2.12} {count:>10}\n"),
            };
        }
        let (mean, deviation) = (self.0.mean() / 1e6, self.0.stdev() / 1e6);
        text += &format!("#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]\n");
        let (max, count) = (self.max() as f64 / 1e6, self.count());
        text += &format!("#[Max     = {max:>12.3}, Total count    = {count:>12}]\n");
        text += "#[Buckets =           32, SubBuckets     =         2048]\n";
        text
    }
}

/// What came of a load at one target. Times count those requests alone that were meant to go out after the warm-up.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From the moment at which a request was meant to go out to the end of its answer.
    pub latency: Hist,
    /// The same to a stream's first content.
    pub first: Hist,
    /// Between content events of a stream.
    pub gap: Hist,
    /// Of an answer with stamps: its latency from when it really went out, less what the vendor had it. For a stream up
    /// to its first event.
    pub between: Hist,
    /// Of an event with a stamp: from its going out at the vendor to its coming here.
    pub transit: Hist,
    /// By how much the gap before an event was longer here than at the vendor; 0 where it was shorter.
    pub added_gap: Hist,
    /// How much later than meant a request went out.
    pub lateness: Hist,
    /// Latency of each request by its place in the sequence, in nanoseconds, for pairs of targets; failures are left out.
    pub by_place: Vec<(u64, u64)>,
    /// Answers that passed the check.
    pub answered: u64,
    /// Content events in them.
    pub events: u64,
    /// The others, by what was wrong.
    pub failed: BTreeMap<String, u64>,
    /// Requests for which all connections were taken when they were meant to go out.
    pub queued: u64,
    /// Requests a second that were meant; `None` in the closed loop.
    pub meant_rate: Option<f64>,
    /// Time that counts.
    pub measured: Duration,
    /// What the load's thread used in that time, the vendor's beside it included.
    pub own: Used,
}

/// Whether to believe it.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The load was not what limited the run.
    Sound,
    /// It may have been; each sentence says in what.
    Doubtful(Vec<String>),
}

impl Outcome {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        if self.measured.is_zero() { 0.0 } else { self.answered as f64 / self.measured.as_secs_f64() }
    }

    /// Requests that got no answer that passed.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Share of a core that the load used.
    pub fn busy(&self) -> f64 {
        if self.measured.is_zero() { 0.0 } else { self.own.cpu_ns as f64 / self.measured.as_nanos() as f64 }
    }

    /// Whether the load was the bottleneck.
    pub fn verdict(&self) -> Verdict {
        let mut doubts = Vec::new();
        let (busy, waited) = (self.busy(), self.own.waited_ns as f64 / self.measured.as_nanos().max(1) as f64);
        if busy > BUSY {
            doubts.push(format!("the load used {:.0} % of its core: the target may be able to do more", busy * 100.0));
        }
        if waited > 0.2 {
            doubts.push(format!("the load had to wait for a core {:.0} % of the time: others use it", waited * 100.0));
        }
        let (late, median) = (self.lateness.at(0.99), self.latency.at(0.5));
        if self.meant_rate.is_some() && late > LATE_NS.max(median / 10) {
            doubts.push(format!(
                "1 % of the requests went out more than {:.1} ms late, by the load's own fault",
                late as f64 / 1e6
            ));
        }
        if self.queued > self.answered / 100 {
            let share = self.queued as f64 * 100.0 / (self.queued + self.answered).max(1) as f64;
            doubts.push(format!("for {share:.0} % of the requests all connections were taken: allow more, or the target is beyond its limit"));
        }
        if let Some(meant) = self.meant_rate
            && self.rate() < 0.98 * meant
        {
            doubts.push(format!("{:.0} a second were meant, {:.0} were answered", meant, self.rate()));
        }
        if doubts.is_empty() { Verdict::Sound } else { Verdict::Doubtful(doubts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hgrm_file_ends_with_all_of_them() {
        let mut hist = Hist::default();
        (1..=1_000).for_each(|ms| hist.add(ms * 1_000_000));
        let text = hist.hgrm();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(' ') && !line.contains("Value")).collect();
        assert!(rows[0].trim_start().starts_with("1.0"), "{text}");
        assert!(rows.last().is_some_and(|row| row.contains("1.000000000000") && row.ends_with("1000")), "{text}");
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }

    #[test]
    fn a_load_that_was_the_limit_says_so() {
        let sound = Outcome { answered: 100, measured: Duration::from_secs(1), ..Outcome::default() };
        assert_eq!(sound.verdict(), Verdict::Sound);
        let busy = Used { cpu_ns: 990_000_000, ..Used::default() };
        let starved = Used { waited_ns: 500_000_000, ..Used::default() };
        let mut late = Hist::default();
        late.add(50_000_000);
        let cases = [
            (Outcome { own: busy, ..sound.clone() }, "99 % of its core"),
            (Outcome { own: starved, ..sound.clone() }, "50 % of the time"),
            (Outcome { lateness: late, meant_rate: Some(100.0), ..sound.clone() }, "50.0 ms late"),
            (Outcome { queued: 100, ..sound.clone() }, "50 % of the requests all connections were taken"),
            (Outcome { meant_rate: Some(200.0), ..sound }, "200 a second were meant, 100 were answered"),
        ];
        for (outcome, says) in cases {
            let Verdict::Doubtful(doubts) = outcome.verdict() else { panic!("no doubt about {says}") };
            assert!(doubts.len() == 1 && doubts[0].contains(says), "{doubts:?}");
        }
    }
}
