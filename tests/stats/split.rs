//! Whether the arms got the shares that their weights say.

use kt_core::stats::evidence::against_split;

use crate::play::{count, rounds};

const UNITS: u64 = 20_000;
/// The alarm's: a false one in a hundred experiments, over all looks.
const ALPHA: f64 = 0.01;

/// Share of experiments in which `alarm` goes off at any look, with units that get the first arm by this chance.
fn alarms(chance: f64, rounds: u64, alarm: impl Fn(f64, f64) -> bool + Sync) -> f64 {
    let alarmed = count(rounds, |dice| {
        let mut counts = [0.0, 0.0];
        (1..=UNITS).any(|unit| {
            counts[usize::from(dice.f64() >= chance)] += 1.0;
            unit % 100 == 0 && alarm(counts[0], counts[1])
        })
    });
    let share = alarmed as f64 / rounds as f64;
    eprintln!("{chance}: an alarm in {alarmed} of {rounds} ({:.2} %)", 1e2 * share);
    share
}

fn mixture(a: f64, b: f64) -> bool {
    against_split(&[a, b], &[0.5, 0.5]) > -ALPHA.ln()
}

#[test]
fn a_wrong_split_is_found() {
    assert!(alarms(0.52, rounds(2_000, 100), mixture) >= 0.9);
}

#[test]
fn a_right_split_raises_no_alarm() {
    assert!(alarms(0.5, rounds(5_000, 300), mixture) <= 0.01);
}

#[test]
fn broken_a_chi_squared_test_at_every_look() {
    // 6.635 is its critical value at 1 %.
    let fixed = |a: f64, b: f64| (a - b) * (a - b) / (a + b) > 6.635;
    assert!(alarms(0.5, rounds(5_000, 300), fixed) > 0.01);
}

#[test]
fn broken_an_alarm_that_never_goes_off() {
    assert!(alarms(0.52, rounds(2_000, 100), |_, _| false) < 0.9);
}
