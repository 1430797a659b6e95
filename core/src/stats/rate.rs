//! Bounds of a share of requests, as of those that failed, and of the difference between two arms' shares.

use super::evidence::{Looks, against_rate};
use super::interval::Interval;

/// How many of how many; fractions where requests depend on each other, see [`evidence`](super::evidence).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    /// Those that are counted.
    pub hits: f64,
    /// All.
    pub of: f64,
}

/// Steps of a search by halving or by thirds: more than enough for all digits that matter.
const STEPS: u32 = 60;

impl Counted {
    /// With the worth of requests that have this design effect.
    pub fn new(hits: u64, of: u64, effect: f64) -> Self {
        Self { hits: hits as f64 / effect, of: of as f64 / effect }
    }

    /// The share; none of none.
    pub fn share(&self) -> Option<f64> {
        (self.of > 0.0).then(|| self.hits / self.of)
    }

    /// What is known of one arm's share.
    pub fn bounds(&self, alpha: f64, looks: Looks) -> Interval {
        let threshold = looks.threshold(alpha);
        let possible = |p: f64| against_rate(self.hits, self.of, p, looks) < threshold;
        let Some(share) = self.share() else { return Interval::unknown(0.0, 1.0) };
        let low = if possible(0.0) { 0.0 } else { edge(share, 0.0, possible) };
        let high = if possible(1.0) { 1.0 } else { edge(share, 1.0, possible) };
        Interval { estimate: Some(share), low, high }
    }
}

/// What is known of `arm`'s share minus `baseline`'s: a difference is possible if there is any pair of shares that far
/// apart against which both arms together have too little evidence.
pub fn difference(arm: Counted, baseline: Counted, alpha: f64, looks: Looks) -> Interval {
    let threshold = looks.threshold(alpha);
    let (Some(a), Some(b)) = (arm.share(), baseline.share()) else { return Interval::unknown(-1.0, 1.0) };
    let possible = |apart: f64| least_evidence(arm, baseline, apart, looks) < threshold;
    let low = if possible(-1.0) { -1.0 } else { edge(a - b, -1.0, possible) };
    let high = if possible(1.0) { 1.0 } else { edge(a - b, 1.0, possible) };
    Interval { estimate: Some(a - b), low, high }
}

/// The least evidence against a pair of shares with this difference. It is convex in the baseline's share, and the pair
/// lies between the arms' own shares.
fn least_evidence(arm: Counted, baseline: Counted, apart: f64, looks: Looks) -> f64 {
    let against = |share: f64| {
        against_rate(arm.hits, arm.of, (share + apart).clamp(0.0, 1.0), looks)
            + against_rate(baseline.hits, baseline.of, share, looks)
    };
    let shares = (arm.share().unwrap_or(0.0) - apart, baseline.share().unwrap_or(0.0));
    let allowed = ((-apart).max(0.0), (1.0 - apart).min(1.0));
    let mut low = shares.0.min(shares.1).clamp(allowed.0, allowed.1);
    let mut high = shares.0.max(shares.1).clamp(allowed.0, allowed.1);
    for _ in 0..STEPS {
        let (left, right) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if against(left) <= against(right) { high = right } else { low = left }
    }
    against(0.5 * (low + high))
}

/// Where possible ends, from `inside` towards `outside`.
fn edge(inside: f64, outside: f64, possible: impl Fn(f64) -> bool) -> f64 {
    let (mut inside, mut outside) = (inside, outside);
    for _ in 0..STEPS {
        let middle = 0.5 * (inside + outside);
        if possible(middle) { inside = middle } else { outside = middle }
    }
    // What is known to be impossible: the bound is never too tight by a step.
    outside
}
