//! Experiments, played request by request and looked at again and again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fastrand::Rng;
use kt_core::stats::dependence::Assume;
use kt_core::stats::evidence::Looks;
use kt_core::stats::judge::{REQUESTS_MIN, Rules, Series, Verdict};
use kt_core::stats::measure::Measure;

use crate::draw::normal;

/// What `kt events compare` gives the primary measure of two arms.
pub(crate) const RULES: Rules = Rules {
    alpha: 0.025,
    looks: Looks::Any,
    assume: Assume::Dependence,
    margin: 0.05,
    requests_min: REQUESTS_MIN,
    bound: None,
};

/// Whether everything is to be run.
pub(crate) fn full() -> bool {
    std::env::var("KT_STATS").is_ok_and(|how| how == "full")
}

/// How often something is played: in full, or enough to tell right from wrong.
pub(crate) fn rounds(all: u64, few: u64) -> u64 {
    if full() { all } else { few }
}

/// In how many of `rounds` games, each with a seed of its own, `plays` says yes.
pub(crate) fn count(rounds: u64, plays: impl Fn(&mut Rng) -> bool + Sync) -> u64 {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(2);
    thread::scope(|scope| {
        let play = || {
            let mut yes = 0;
            loop {
                let round = next.fetch_add(1, Ordering::Relaxed) as u64;
                if round >= rounds {
                    return yes;
                }
                yes += u64::from(plays(&mut Rng::with_seed(0x5eed_0000 + round)));
            }
        };
        let players: Vec<_> = (0..threads).map(|_| scope.spawn(play)).collect();
        players.into_iter().map(|player| player.join().expect("a game ends")).sum()
    })
}

/// An arm's requests, without end.
pub(crate) trait Arm {
    /// The next request's time, and its unit if it has one.
    fn next(&mut self, dice: &mut Rng) -> (f64, Option<u32>);
}

/// Independent requests: log-normal, σ 0.8, around this median.
pub(crate) struct Independent(pub(crate) f64);

impl Arm for Independent {
    fn next(&mut self, dice: &mut Rng) -> (f64, Option<u32>) {
        (self.0 * (0.8 * normal(dice)).exp(), None)
    }
}

/// Requests of sticky units of geometric size, with an intra-class correlation of 0.2 of the logarithm. Some units are
/// under way at a time, so that their requests interleave.
pub(crate) struct Sticky {
    mean_size: f64,
    /// Number and level of the units under way.
    under_way: Vec<(u32, f64)>,
    begun: u32,
    at_a_time: usize,
}

impl Sticky {
    pub(crate) fn new(mean_size: f64, at_a_time: usize) -> Self {
        Self { mean_size, under_way: Vec::new(), begun: 0, at_a_time }
    }
}

impl Arm for Sticky {
    fn next(&mut self, dice: &mut Rng) -> (f64, Option<u32>) {
        const CORRELATION: f64 = 0.2;
        while self.under_way.len() < self.at_a_time {
            self.under_way.push((self.begun, CORRELATION.sqrt() * normal(dice)));
            self.begun += 1;
        }
        let at = dice.usize(..self.under_way.len());
        let (unit, level) = self.under_way[at];
        if dice.f64() < 1.0 / self.mean_size {
            self.under_way.swap_remove(at);
        }
        let own = (1.0 - CORRELATION).sqrt() * normal(dice);
        (300.0 * (0.8 * (level + own)).exp(), Some(unit))
    }
}

/// Requests with slow episodes: twice as slow, `len` requests long, a tenth of the time.
pub(crate) struct Episodes {
    len: u32,
    left: u32,
}

impl Episodes {
    pub(crate) fn new(len: u32) -> Self {
        Self { len, left: 0 }
    }
}

impl Arm for Episodes {
    fn next(&mut self, dice: &mut Rng) -> (f64, Option<u32>) {
        let slow = self.left > 0;
        if slow {
            self.left -= 1;
        } else if dice.f64() < 1.0 / (9.0 * f64::from(self.len)) {
            self.left = self.len;
        }
        (300.0 * if slow { 2.0 } else { 1.0 } * (0.8 * normal(dice)).exp(), None)
    }
}

/// How an experiment goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    /// Requests of both arms between two looks.
    pub(crate) every: usize,
    /// Requests per arm at the end.
    pub(crate) requests: usize,
}

/// Plays two arms in turn, and looks at the median every so often. Ends with the first verdict that says there is a
/// difference.
pub(crate) fn first_difference(
    arms: &mut [&mut dyn Arm; 2],
    course: Course,
    measures: &[(Measure, Rules)],
    dice: &mut Rng,
) -> Option<Verdict> {
    let mut series = [Series::default(), Series::default()];
    for so_far in 1..=course.requests {
        for (arm, series) in arms.iter_mut().zip(&mut series) {
            let (time, unit) = arm.next(dice);
            series.values.push(time);
            if let Some(unit) = unit {
                series.clusters.get_or_insert_default().push(unit);
            }
        }
        if 2 * so_far % course.every != 0 {
            continue;
        }
        for (measure, rules) in measures {
            if so_far < rules.requests_min {
                continue;
            }
            let [arm, baseline] = series.each_ref().map(|series| series.sum_up(*measure, rules));
            let verdict = arm.against(&baseline, *measure, rules).verdict;
            if verdict.is_difference() {
                return Some(verdict);
            }
        }
    }
    None
}
