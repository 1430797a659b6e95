//! Bounds that hold at all looks at once: the share of experiments in which they miss at any look is at most what was
//! said, plus three standard errors of this very count.

use fastrand::Rng;
use kt_core::stats::evidence::Looks;
use kt_core::stats::judge::{REQUESTS_MIN, Rules, Series};
use kt_core::stats::measure::Measure;

use crate::draw::Times;
use crate::play::{RULES, count, full, rounds};

const ALPHA: f64 = 0.05;
const TIMES: [Times; 4] = [Times::LogNormal(0.8), Times::LogNormal(2.0), Times::Bimodal, Times::Pareto(2.1)];

fn rules() -> Rules {
    Rules { alpha: ALPHA, ..RULES }
}

/// When to look, from `first` requests on: more and more rarely, as an interval changes.
fn looks(first: usize) -> Vec<usize> {
    let (last, step) = if full() { (20_000, 1.1) } else { (4_000, 1.5) };
    let mut at = first as f64;
    let mut looks = Vec::new();
    while at <= f64::from(last) {
        looks.push(at as usize);
        at = (at * step).max(at + 1.0);
    }
    looks
}

/// Share of experiments in which the bounds of one arm miss `truth` at any look.
fn misses(
    name: &str,
    measure: Measure,
    rules: Rules,
    first: usize,
    truth: f64,
    draw: impl Fn(&mut Rng) -> f64 + Sync,
) -> f64 {
    let rounds = rounds(1_000, 100);
    let missed = count(rounds, |dice| {
        let mut series = Series::default();
        looks(first).into_iter().any(|look| {
            series.values.extend((series.values.len()..look).map(|_| draw(dice)));
            !series.sum_up(measure, &rules).bounds(&rules).holds(truth)
        })
    });
    let share = missed as f64 / rounds as f64;
    eprintln!("{name} {measure}: missed in {missed} of {rounds} ({:.2} %)", 1e2 * share);
    share
}

/// Three standard errors of a share of [`ALPHA`].
fn allowed() -> f64 {
    ALPHA + 3.0 * (ALPHA * (1.0 - ALPHA) / rounds(1_000, 100) as f64).sqrt()
}

fn measure(name: &str) -> Measure {
    name.parse().expect("a measure")
}

#[test]
fn quantiles_of_any_distribution() {
    for times in TIMES {
        for (name, p) in [("latency:p50", 0.5), ("latency:p99", 0.99)] {
            let share =
                misses(&format!("{times:?}"), measure(name), rules(), 100, times.quantile(p), |dice| times.draw(dice));
            assert!(share <= allowed());
        }
    }
}

#[test]
fn quantiles_of_rounded_times_with_failures() {
    // Ten values, and a tenth of requests failed: ties everywhere.
    let draw = |dice: &mut Rng| if dice.f64() < 0.1 { f64::INFINITY } else { f64::from(dice.u8(1..=10)) };
    for (name, truth) in [("latency:p50", 6.0), ("latency:p99", f64::INFINITY)] {
        assert!(misses("rounded", measure(name), rules(), 100, truth, draw) <= allowed());
    }
}

#[test]
fn rates_however_small() {
    for rate in [0.001, 0.005, 0.02, 0.2] {
        let draw = |dice: &mut Rng| f64::from(u8::from(dice.f64() < rate));
        assert!(misses(&format!("rate {rate}"), Measure::ErrorRate, rules(), 100, rate, draw) <= allowed());
    }
}

#[test]
fn means_with_a_known_bound() {
    // What is beyond the bound doesn't happen: times end at a deadline, tokens at their maximum.
    const BOUND: f64 = 5_000.0;
    for times in TIMES {
        let draw = |dice: &mut Rng| times.draw(dice).min(BOUND);
        // No closed form for what was cut off: a million draws, off by less than a hundredth of the bounds' width.
        let mut dice = Rng::with_seed(7);
        let draws = if full() { 10_000_000 } else { 300_000 };
        let truth = (0..draws).map(|_| draw(&mut dice)).sum::<f64>() / f64::from(draws);
        let bounded = Rules { bound: Some(BOUND), ..rules() };
        assert!(misses(&format!("{times:?}, bounded"), Measure::TokensOut, bounded, 100, truth, draw) <= allowed());
    }
}

#[test]
fn means_without_a_bound_after_many_requests() {
    // Asymptotic, and labelled so; where the tails are heavy there are no bounds until they are filled.
    for times in TIMES {
        let first = REQUESTS_MIN;
        let share = misses(&format!("{times:?}, mean"), Measure::TokensOut, rules(), first, times.mean(), |dice| {
            times.draw(dice)
        });
        assert!(share <= allowed());
    }
}

#[test]
fn means_of_light_tails_have_bounds_from_the_first_verdict_on() {
    let rounds = rounds(1_000, 100);
    let bounded = count(rounds, |dice| {
        let mut series = Series::default();
        series.values.extend((0..REQUESTS_MIN).map(|_| Times::LogNormal(0.8).draw(dice)));
        series.sum_up(Measure::TokensOut, &rules()).bounds(&rules()).high.is_finite()
    });
    eprintln!("LogNormal(0.8), mean: bounds after {REQUESTS_MIN} in {bounded} of {rounds}");
    assert!(10 * bounded >= 7 * rounds);
}

#[test]
fn differences_between_arms() {
    for times in TIMES {
        ratio_holds(
            &format!("{times:?}"),
            measure("latency:p50"),
            1.0,
            |dice| times.draw(dice),
            |dice| times.draw(dice),
        );
        ratio_holds(
            &format!("{times:?}"),
            measure("latency:p90"),
            1.1,
            |dice| 1.1 * times.draw(dice),
            |dice| times.draw(dice),
        );
    }
    for (a, b) in [(0.001, 0.001), (0.005, 0.02), (0.2, 0.2)] {
        let draw = |rate: f64| move |dice: &mut Rng| f64::from(u8::from(dice.f64() < rate));
        ratio_holds(&format!("rates {a} and {b}"), Measure::ErrorRate, a - b, draw(a), draw(b));
    }
}

/// Fewer than of one arm: there are more cases, and each takes four times as long.
fn ratio_holds(
    name: &str,
    measure: Measure,
    truth: f64,
    a: impl Fn(&mut Rng) -> f64 + Sync,
    b: impl Fn(&mut Rng) -> f64 + Sync,
) {
    let rounds = rounds(500, 30);
    let rules = rules();
    let missed = count(rounds, |dice| {
        let mut arms = [Series::default(), Series::default()];
        looks(200).into_iter().any(|look| {
            for _ in arms[0].values.len()..look {
                arms[0].values.push(a(dice));
                arms[1].values.push(b(dice));
            }
            let [arm, baseline] = arms.each_ref().map(|arm| arm.sum_up(measure, &rules));
            !arm.against(&baseline, measure, &rules).interval.holds(truth)
        })
    });
    let share = missed as f64 / rounds as f64;
    eprintln!("{name} {measure}, arm and baseline: missed in {missed} of {rounds} ({:.2} %)", 1e2 * share);
    assert!(share <= ALPHA + 3.0 * (ALPHA * (1.0 - ALPHA) / rounds as f64).sqrt());
}

#[test]
fn broken_bounds_for_one_look_only() {
    let broken = Rules { looks: Looks::One, ..rules() };
    let times = Times::LogNormal(0.8);
    let share = misses("one look", measure("latency:p50"), broken, 100, times.quantile(0.5), |dice| times.draw(dice));
    assert!(share > allowed());
}

#[test]
fn broken_rates_by_a_normal_approximation() {
    // What the mixture of rates is for: an asymptotic sequence breaks near zero.
    let draw = |dice: &mut Rng| f64::from(u8::from(dice.f64() < 0.001));
    let share = misses("rate 0.001, normal", Measure::TokensOut, rules(), 100, 0.001, draw);
    assert!(share > allowed());
}
