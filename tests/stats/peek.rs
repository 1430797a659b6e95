//! Identical arms, looked at after every hundred requests: false verdicts in at most five of a hundred experiments.

use kt_core::stats::dependence::Assume;
use kt_core::stats::evidence::Looks;
use kt_core::stats::judge::Rules;
use kt_core::stats::measure::Measure;

use crate::play::{Arm, Course, Episodes, Independent, RULES, Sticky, count, first_difference, full, rounds};

/// Up to six thousand requests per arm: eighty looks once there are enough for a verdict.
const COURSE: Course = Course { every: 100, requests: 6_000 };
/// The same with fewer looks, where not everything is run.
const SHORT: Course = Course { every: 1_000, requests: 5_000 };

const MEDIAN: [Measure; 1] = [Measure::DEFAULT];
/// What is compared beside it, of times that are not streamed.
const ALL: [&str; 3] = ["latency:p50", "latency:p90", "latency:p99"];

fn arms(world: &str) -> [Box<dyn Arm>; 2] {
    let arm = || -> Box<dyn Arm> {
        match world {
            "independent" => Box::new(Independent(300.0)),
            "sticky" => Box::new(Sticky::new(20.0, 30)),
            "sticky, one at a time" => Box::new(Sticky::new(20.0, 1)),
            "episodes" => Box::new(Episodes::new(300)),
            _ => panic!("no such world: {world}"),
        }
    };
    [arm(), arm()]
}

/// Share of experiments in `world` that end with a false verdict.
fn false_verdicts(world: &str, measures: &[(Measure, Rules)]) -> f64 {
    // Three measures take three times as long.
    let rounds = rounds(if measures.len() > 1 { 500 } else { 2_000 }, 80);
    let course = if full() { COURSE } else { SHORT };
    let wrong = count(rounds, |dice| {
        let [mut a, mut b] = arms(world);
        first_difference(&mut [&mut *a, &mut *b], course, measures, dice).is_some()
    });
    let share = wrong as f64 / rounds as f64;
    eprintln!("{world}: {wrong} of {rounds} false ({:.2} %)", 1e2 * share);
    share
}

fn median(rules: Rules) -> Vec<(Measure, Rules)> {
    MEDIAN.iter().map(|measure| (*measure, rules)).collect()
}

#[test]
fn independent_requests() {
    assert!(false_verdicts("independent", &median(RULES)) <= 0.05);
}

#[test]
fn independent_requests_in_several_measures() {
    // As compare shares the chance: half for the primary measure, the rest for ten others.
    let share = |(nth, name): (usize, &&str)| {
        let alpha = if nth == 0 { 0.025 } else { 0.0025 };
        (name.parse().expect("a measure"), Rules { alpha, ..RULES })
    };
    let measures: Vec<_> = ALL.iter().enumerate().map(share).collect();
    assert!(false_verdicts("independent", &measures) <= 0.05);
}

#[test]
fn sticky_units() {
    assert!(false_verdicts("sticky", &median(RULES)) <= 0.05);
}

#[test]
fn sticky_units_one_at_a_time() {
    assert!(false_verdicts("sticky, one at a time", &median(RULES)) <= 0.05);
}

#[test]
fn slow_episodes() {
    assert!(false_verdicts("episodes", &median(RULES)) <= 0.05);
}

#[test]
fn broken_fixed_intervals_while_peeking() {
    let broken = Rules { looks: Looks::One, alpha: 0.05, requests_min: 500, ..RULES };
    assert!(false_verdicts("independent", &median(broken)) > 0.05);
}

#[test]
fn broken_no_correction_for_several_measures() {
    // Each of three at the whole chance, which at one look each would already be more than is said.
    let broken = Rules { looks: Looks::One, alpha: 0.05, ..RULES };
    let measures: Vec<_> = ALL.iter().map(|name| (name.parse().expect("a measure"), broken)).collect();
    assert!(false_verdicts("independent", &measures) > 0.05);
}

#[test]
fn broken_no_clusters() {
    let broken = Rules { assume: Assume::Independence, ..RULES };
    assert!(false_verdicts("sticky", &median(broken)) > 0.05);
}

#[test]
fn broken_no_batches() {
    let broken = Rules { assume: Assume::Clusters, ..RULES };
    assert!(false_verdicts("episodes", &median(broken)) > 0.05);
}
