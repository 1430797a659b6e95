//! A true difference is found, and in time.

use kt_core::stats::judge::{Rules, Series, Verdict};
use kt_core::stats::measure::Measure;

use crate::play::{Arm, Course, Independent, RULES, count, first_difference, full, rounds};

/// Four times what a test with a fixed horizon takes for a tenth of the median.
const IN_TIME: usize = 4 * 1_740;

/// Share of experiments that end with the right verdict by so many requests per arm; the arm is `ratio` times slower.
fn power(ratio: f64, requests: usize, rules: Rules) -> f64 {
    let rounds = rounds(1_000, 60);
    let course = Course { every: if full() { 100 } else { 580 }, requests };
    let right = count(rounds, |dice| {
        let (mut arm, mut baseline) = (Independent(300.0 * ratio), Independent(300.0));
        let verdict = first_difference(&mut [&mut arm, &mut baseline], course, &[(Measure::DEFAULT, rules)], dice);
        verdict == Some(if ratio > 1.0 { Verdict::Slower } else { Verdict::Faster })
    });
    let share = right as f64 / rounds as f64;
    eprintln!("ratio {ratio:.3}, {requests} requests per arm: {right} of {rounds} ({:.1} %)", 1e2 * share);
    share
}

#[test]
fn a_tenth_of_the_median_is_seen_in_time() {
    assert!(power(1.1, IN_TIME, RULES) >= 0.8);
    assert!(power(1.0 / 1.1, IN_TIME, RULES) >= 0.8);
}

#[test]
fn broken_never_enough_data() {
    let broken = Rules { requests_min: usize::MAX, ..RULES };
    assert!(power(1.1, IN_TIME, broken) < 0.8);
}

/// Requests per arm that a pilot of the baseline plans for.
fn planned(detect: f64) -> usize {
    let mut dice = fastrand::Rng::with_seed(11);
    let mut pilot = Independent(300.0);
    let values = (0..20_000).map(|_| pilot.next(&mut dice).0).collect();
    let summary = Series { values, clusters: None }.sum_up(Measure::DEFAULT, &rules());
    summary.requests_to_see(detect, 0.8, &rules()).expect("it can be planned") as usize
}

/// A plan's own: whatever is seen at all may be said.
fn rules() -> Rules {
    Rules { requests_min: 1, ..RULES }
}

#[test]
fn a_plan_reaches_its_power_and_wastes_little() {
    for detect in [0.1, 0.2] {
        let requests = planned(detect);
        // A whole number of looks.
        let looks = |requests: usize| requests.div_ceil(290) * 290;
        assert!(power(1.0 + detect, looks(requests), rules()) >= 0.8, "{requests} are too few");
        assert!(power(1.0 + detect, looks(requests * 2 / 3), rules()) < 0.8, "{requests} are more than half too many");
    }
}

#[test]
fn broken_a_plan_for_one_look_does_not_reach_its_power() {
    assert!(power(1.1, 1_740, rules()) < 0.8);
}
