//! Bounds of a mean, and of the ratio between two arms' means.
//!
//! With a known bound of the values they hold for any distribution ([`bounded`]). Without one nothing can hold for any:
//! one request in a million could cost a million. Then they hold as the number of requests grows ([`Moments`]), and say
//! so. How large that number has to be hangs on the tails: while few large values make up the variance, the largest are
//! yet to come, and there are no bounds.

use super::evidence::{Looks, normal_bound};
use super::interval::Interval;

/// Fewest values of equal size that would spread a mean as much as these do, before it has bounds. In simulations of two to
/// twenty thousand requests, bounds of 95 % at every look missed log-normal means with σ 2 in 14 % of experiments without
/// this, in 6 % from 30 on, and in 1 % from 50 on; for σ 0.8 it is more from the first thousand on.
const PEERS_MIN: f64 = 40.0;

/// Mean and spread of one arm's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// How many values.
    pub n: f64,
    /// Their mean.
    pub mean: f64,
    /// Variance of the mean, design effect included.
    pub variance: f64,
    /// How many independent requests they are worth.
    pub worth: f64,
    /// How many independent values of equal size would spread it as much: the number of requests divided by their
    /// kurtosis.
    pub peers: f64,
}

impl Moments {
    /// Of values that have this design effect.
    pub fn of(values: &[f64], effect: f64) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n.max(1.0);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let fourths: f64 = values.iter().map(|value| (value - mean).powi(4)).sum();
        // Equal values are all alike.
        let peers = if fourths > 0.0 { squares.powi(2) / fourths } else { f64::INFINITY };
        let variance = effect * squares / (n * (n - 1.0).max(1.0)).max(1.0);
        Self { n, mean, variance, worth: n / effect, peers: peers / effect }
    }

    /// What is known of one arm's mean, for many requests.
    pub fn bounds(&self, alpha: f64, looks: Looks) -> Interval {
        if self.n < 2.0 {
            return Interval::unknown(0.0, f64::INFINITY);
        }
        if self.peers < PEERS_MIN {
            return Interval { estimate: Some(self.mean), low: 0.0, high: f64::INFINITY };
        }
        let reach = normal_bound(looks.threshold(alpha), self.worth, looks) * self.variance.sqrt();
        Interval { estimate: Some(self.mean), low: self.mean - reach, high: self.mean + reach }
    }
}

/// What is known of `arm`'s mean divided by `baseline`'s, for many requests: every ratio r for which the mean of one
/// minus r times that of the other is not too far from zero (Fieller 1954). Means are of values not below zero.
pub fn ratio(arm: &Moments, baseline: &Moments, alpha: f64, looks: Looks) -> Interval {
    if arm.n < 2.0 || baseline.n < 2.0 || baseline.mean <= 0.0 {
        return Interval::unknown(0.0, f64::INFINITY);
    }
    let square = normal_bound(looks.threshold(alpha), arm.worth + baseline.worth, looks).powi(2);
    // (b² - k·var b) r² - 2ab r + (a² - k·var a) <= 0
    let leading = baseline.mean.powi(2) - square * baseline.variance;
    let middle = arm.mean * baseline.mean;
    let constant = arm.mean.powi(2) - square * arm.variance;
    let root = (middle * middle - leading * constant).max(0.0).sqrt();
    let estimate = Some(arm.mean / baseline.mean);
    // The divisor may be zero, or nearly: there is no upper bound.
    if leading <= 0.0 || arm.peers.min(baseline.peers) < PEERS_MIN {
        return Interval { estimate, low: 0.0, high: f64::INFINITY };
    }
    Interval { estimate, low: ((middle - root) / leading).max(0.0), high: (middle + root) / leading }
}

/// What is known of the mean of values from 0 to `max`, taken in their order: the empirical-Bernstein confidence
/// sequence of Waudby-Smith and Ramdas (2024, theorem 2), exact for any distribution within these bounds and any number
/// of looks. None if a value lies outside.
pub fn bounded(values: impl Iterator<Item = f64>, max: f64, alpha: f64) -> Option<Interval> {
    // Their truncation of λ: the closer to 1, the quicker it learns from early values.
    const LAMBDA_MAX: f64 = 0.5;
    let level = (2.0 / alpha).ln();
    let (mut n, mut sum, mut squares) = (0.0_f64, 0.0, 0.0);
    let (mut weights, mut weighted, mut spread) = (0.0, 0.0, 0.0);
    for value in values {
        let x = value / max;
        if !(0.0..=1.0).contains(&x) {
            return None;
        }
        // What was known before this value: a mean that begins at one half, a variance that begins at one quarter.
        let mean = (0.5 + sum) / (n + 1.0);
        let variance = (0.25 + squares) / (n + 1.0);
        n += 1.0;
        let lambda = (2.0 * level / (variance * n * (n + 1.0).ln())).sqrt().min(LAMBDA_MAX);
        weights += lambda;
        weighted += lambda * x;
        spread += (x - mean).powi(2) * (-(-lambda).ln_1p() - lambda);
        sum += x;
        squares += (x - (0.5 + sum) / (n + 1.0)).powi(2);
    }
    if n == 0.0 {
        return Some(Interval::unknown(0.0, max));
    }
    let (centre, reach) = (weighted / weights, (level + spread) / weights);
    let low = (max * (centre - reach)).max(0.0);
    let high = (max * (centre + reach)).min(max);
    Some(Interval { estimate: Some(max * sum / n), low, high })
}
