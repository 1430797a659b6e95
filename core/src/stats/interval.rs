//! An estimate and the bounds that it has.

/// What is known of a number. Bounds may be infinite, or zero of a ratio: then nothing is known on that side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The best guess; none where there is none, as of a quantile that lies among the failures.
    pub estimate: Option<f64>,
    /// Not below this.
    pub low: f64,
    /// Not above this.
    pub high: f64,
}

impl Interval {
    /// Nothing is known of a number from `low` to `high`.
    pub const fn unknown(low: f64, high: f64) -> Self {
        Self { estimate: None, low, high }
    }

    /// Whether `value` is among what is held possible.
    pub fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// The quotient of two numbers that are not below zero, each within its own bounds.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        let quotient = |a: f64, b: f64| if b > 0.0 && b.is_finite() { Some(a / b) } else { None };
        Self {
            estimate: self.estimate.zip(other.estimate).and_then(|(a, b)| quotient(a, b)),
            low: quotient(self.low, other.high).unwrap_or(0.0),
            high: quotient(self.high, other.low).unwrap_or(f64::INFINITY),
        }
    }
}
