//! Least latency: of two arms drawn by chance, the one that has been answering faster.
//!
//! Each core keeps, per arm, a peak-sensitive moving average of how long answers take: one that takes longer than the
//! average becomes the average at once, and a faster one only pulls it down with time. What it has in flight multiplies
//! it. Two arms are compared and not all, so that not everybody runs to the same one between two answers. This is what
//! Finagle made known as peak EWMA with power of two choices.
//!
//! Nothing is shared by cores: each has its own opinion, from the answers that it has seen. How long is counted to the
//! first content of a streamed answer and to the end of another. An arm that fails fast isn't fast: a failure counts as
//! [`FAILURE_NS`]. Weights say nothing here but that 0 is never drawn.

use std::borrow::Borrow;
use std::cell::Cell;

use crate::config::plan::Group;
use crate::event::Event;
use crate::fault::Side;

/// In this time an average moves two thirds of the way to what is seen now. Long enough to hold some answers of a
/// model, which take seconds; short enough that an arm that was slow once is tried again within a minute.
const MEMORY_NS: f64 = 10e9;
/// What a failed answer counts as, at least: longer than most answers take.
const FAILURE_NS: u64 = 30_000_000_000;

/// How one arm has been answering on one core.
#[derive(Debug, Default)]
pub struct Load {
    average_ns: Cell<f64>,
    /// When the average was last worked out.
    at: Cell<u64>,
    in_flight: Cell<u64>,
}

/// How a request ended, as far as its arm is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, in this time.
    Answered(u64),
    /// It was not; the arm's fault, after this time.
    Failed(u64),
    /// Nothing can be learned: the client left, or was wrong.
    Nothing,
}

impl Outcome {
    /// How a request ended, by its event. An arm is at fault for what is no fault of the client's: it could not be
    /// reached, failed, or refused us.
    pub fn of(event: &Event) -> Self {
        let took = event.ttft_ns.unwrap_or(event.latency_ns);
        match (event.error, event.status) {
            (Some((kind, _)), _) if kind.side() == Side::Client => Self::Nothing,
            (Some(_), _) | (None, 401 | 403 | 408 | 429 | 500..) => Self::Failed(took),
            (None, 400..500) => Self::Nothing,
            (None, _) => Self::Answered(took),
        }
    }
}

impl Load {
    /// A request goes to the arm. Each is to be [`ended`](Self::ended) once.
    pub fn begun(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// A request to the arm has ended.
    pub fn ended(&self, outcome: Outcome, now: u64) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        let seen = match outcome {
            Outcome::Answered(ns) => ns,
            Outcome::Failed(ns) => ns.max(FAILURE_NS),
            Outcome::Nothing => return,
        };
        // Exact up to 104 days.
        let seen = seen as f64;
        let kept = self.kept(now);
        let average = self.average_ns.get();
        self.average_ns.set(if seen > average { seen } else { average * kept + seen * (1.0 - kept) });
        self.at.set(now);
    }

    /// How much of the average is left after the time since it was worked out.
    fn kept(&self, now: u64) -> f64 {
        (-(now.saturating_sub(self.at.get()) as f64) / MEMORY_NS).exp()
    }

    /// What another request is expected to cost here. An average that isn't refreshed fades, so an arm that nobody asks
    /// is asked again some time; one of which nothing is known is tried, but not by everybody at once.
    fn cost(&self, now: u64) -> f64 {
        let (average, in_flight) = (self.average_ns.get(), self.in_flight.get() as f64);
        if average == 0.0 && in_flight > 0.0 {
            return f64::MAX / 1e9 + in_flight;
        }
        average * self.kept(now) * (in_flight + 1.0)
    }
}

/// The arm for a request, an index into the group's arms. `loads` are the arms', in order; `dice` was drawn by chance.
///
/// # Panics
/// If no arm has a weight, or an arm has no load.
pub(super) fn choose(group: &Group, loads: &[impl Borrow<Load>], dice: u64, now: u64) -> usize {
    let able = || (0..group.arms.len()).filter(|&arm| group.arms[arm].weight > 0);
    // Far below 2^32: a config file has 1 MiB.
    let count = able().count() as u64;
    let nth = |n: u64| able().nth(n as usize).expect("there are so many");
    if count == 1 {
        return nth(0);
    }
    let first = (dice >> 32) % count;
    let second = (first + 1 + (dice & 0xffff_ffff) % (count - 1)) % count;
    let (first, second) = (nth(first), nth(second));
    if loads[second].borrow().cost(now) < loads[first].borrow().cost(now) { second } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests::group;

    const MS: u64 = 1_000_000;

    /// Plays requests one after another; arm `n` takes `latency_ms[n]` each. Returns how often each was chosen.
    fn play(latency_ms: &[u64], weights: &[u32], fails: Option<usize>) -> Vec<usize> {
        let group = group("g", weights, 1);
        let loads: Vec<Load> = weights.iter().map(|_| Load::default()).collect();
        let mut rng = fastrand::Rng::with_seed(11);
        let (mut now, mut chosen) = (0, vec![0; weights.len()]);
        for _ in 0..3_000 {
            let arm = choose(&group, &loads, rng.u64(..), now);
            loads[arm].begun();
            chosen[arm] += 1;
            now += latency_ms[arm] * MS;
            let took = latency_ms[arm] * MS;
            loads[arm].ended(if fails == Some(arm) { Outcome::Failed(took) } else { Outcome::Answered(took) }, now);
        }
        chosen
    }

    #[test]
    fn the_faster_of_two_gets_nearly_all() {
        let chosen = play(&[20, 60], &[1, 1], None);
        assert!(chosen[0] > 2_800, "{chosen:?}");
        assert!(chosen[1] > 0, "the slower one is asked again now and then: {chosen:?}");
    }

    #[test]
    fn the_slowest_of_several_gets_least_and_a_weight_of_zero_none() {
        let chosen = play(&[30, 10, 90, 10], &[1, 1, 1, 0], None);
        assert!(chosen[1] > chosen[0] && chosen[0] > chosen[2] && chosen[3] == 0, "{chosen:?}");
    }

    #[test]
    fn an_arm_that_fails_fast_is_not_fast() {
        let chosen = play(&[1, 400], &[1, 1], Some(0));
        assert!(chosen[1] > 2_900, "{chosen:?}");
    }

    #[test]
    fn what_is_in_flight_counts() {
        let group = group("g", &[1, 1], 1);
        let loads = [Load::default(), Load::default()];
        for load in &loads {
            load.begun();
            load.ended(Outcome::Answered(100 * MS), 1);
        }
        let mut rng = fastrand::Rng::with_seed(3);
        let mut chosen = [0_u32; 2];
        for _ in 0..1_000 {
            let arm = choose(&group, &loads, rng.u64(..), 1);
            loads[arm].begun();
            chosen[arm] += 1;
        }
        assert!(chosen[0].abs_diff(chosen[1]) <= 1, "{chosen:?}");
    }

    #[test]
    fn a_slow_answer_is_believed_at_once_and_a_fast_one_with_time() {
        let load = Load::default();
        load.ended(Outcome::Answered(100 * MS), 0);
        load.ended(Outcome::Answered(900 * MS), 0);
        assert_eq!(load.cost(0), 900e6);
        load.ended(Outcome::Answered(100 * MS), 0);
        assert_eq!(load.cost(0), 900e6, "no time has passed");
        load.ended(Outcome::Nothing, 60_000 * MS);
        load.ended(Outcome::Answered(100 * MS), 60_000 * MS);
        assert!((100e6..110e6).contains(&load.cost(60_000 * MS)), "{}", load.cost(60_000 * MS));
    }

    #[test]
    fn nobody_is_ended_more_often_than_begun() {
        let load = Load::default();
        load.ended(Outcome::Nothing, 0);
        load.begun();
        assert_eq!(load.in_flight.get(), 1);
    }
}
