//! How many requests it takes to see a difference.
//!
//! Worked out from what an arm has measured up to now: how steep its distribution is at the quantile, how often it
//! fails, how much its values vary, and how much its requests depend on each other.

use super::evidence::{Looks, PRIOR_REQUESTS, normal_bound};
use super::mean::Moments;
use super::quantile::Sorted;
use super::rate::Counted;
use super::special::normal_quantile;

/// What is to be seen, and how surely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aim {
    /// The difference, as a share of the baseline's value: 0.1 is ten percent more. Of a rate, the difference itself.
    pub detect: f64,
    /// Chance of a false verdict.
    pub alpha: f64,
    /// Chance of the right one.
    pub power: f64,
    /// How often one looks.
    pub looks: Looks,
}

/// No plan goes beyond a billion requests per arm: nobody waits for them.
pub const REQUESTS_MAX: f64 = 1e9;

/// Requests per arm until the quantile `p` of two arms like this one, a ratio of 1 + `detect` apart, are told from each
/// other; none if that can't be foreseen, as from too few values.
pub fn for_quantile(arm: &Sorted, p: f64, effect: f64, aim: &Aim) -> Option<f64> {
    // Of fewer, the distribution around the quantile is a guess.
    const BEYOND_MIN: f64 = 10.0;
    if arm.values().len() as f64 * p.min(1.0 - p) < BEYOND_MIN {
        return None;
    }
    let centre = arm.quantile(p).filter(|value| value.is_finite() && *value > 0.0)?;
    let root = (1.0 + aim.detect).sqrt();
    let share = |value: f64| arm.values().partition_point(|v| *v <= value) as f64 / arm.values().len() as f64;
    // The two arms part in the middle: half the difference each.
    let apart = 0.5 * (share(centre * root) - share(centre / root));
    let per_root = apart / (p * (1.0 - p)).sqrt();
    (per_root > 0.0).then(|| {
        effect
            * smallest(|worth| {
                let of_arm = 0.5 * (1.0 + worth / PRIOR_REQUESTS).ln();
                seen(2.0, per_root, worth, of_arm, worth / (worth + PRIOR_REQUESTS), aim)
            })
    })
}

/// Requests per arm until rates that are `detect` apart are told from each other.
pub fn for_rate(arm: Counted, effect: f64, aim: &Aim) -> Option<f64> {
    // A rate that was never seen is at most about one in so many.
    let rate = (arm.hits + 0.5) / (arm.of + 1.0) + 0.5 * aim.detect;
    let per_root = 0.5 * aim.detect / (rate * (1.0 - rate)).max(1e-9).sqrt();
    (aim.detect > 0.0).then(|| {
        effect
            * smallest(|worth| {
                // What Jeffreys' prior costs: half the logarithm of the requests' information.
                let of_arm = 0.5 * (worth * std::f64::consts::PI / 2.0).max(1.0).ln();
                seen(2.0, per_root, worth, of_arm, 1.0, aim)
            })
    })
}

/// Requests per arm until means that are a ratio of 1 + `detect` apart are told from each other.
pub fn for_mean(arm: &Moments, effect: f64, aim: &Aim) -> Option<f64> {
    if arm.n < 2.0 || arm.mean <= 0.0 || arm.variance <= 0.0 {
        return None;
    }
    // The variance of one independent value, and of the difference of two.
    let one = arm.variance * arm.worth;
    let per_root = aim.detect * arm.mean / (one * (1.0 + (1.0 + aim.detect).powi(2))).sqrt();
    let threshold = aim.looks.threshold(aim.alpha);
    let enough = |worth: f64| {
        per_root * worth.sqrt() >= normal_bound(threshold, 2.0 * worth, aim.looks) + normal_quantile(aim.power)
    };
    Some(effect * smallest(enough))
}

/// Whether arms that part by `per_root` standard deviations per root of a request are seen to do so, after `worth`
/// requests each.
fn seen(arms: f64, per_root: f64, worth: f64, cost_of_arm: f64, kept: f64, aim: &Aim) -> bool {
    let needed = match aim.looks {
        Looks::Any => (2.0 * (aim.looks.threshold(aim.alpha) + arms * cost_of_arm) / kept).sqrt(),
        Looks::One => (2.0 * aim.looks.threshold(aim.alpha)).sqrt(),
    };
    per_root * (arms * worth).sqrt() >= needed + normal_quantile(aim.power)
}

/// The smallest number for which `enough` holds, to a thousandth.
fn smallest(enough: impl Fn(f64) -> bool) -> f64 {
    let mut high = 16.0;
    while !enough(high) {
        if high >= REQUESTS_MAX {
            return REQUESTS_MAX;
        }
        high *= 2.0;
    }
    let mut low = 0.5 * high;
    while high - low > 1e-3 * high {
        let middle = 0.5 * (low + high);
        if enough(middle) { high = middle } else { low = middle }
    }
    high
}
