//! What requests are drawn from.

use fastrand::Rng;

/// A standard normal draw, by Box and Muller.
pub(crate) fn normal(dice: &mut Rng) -> f64 {
    (-2.0 * (1.0 - dice.f64()).ln()).sqrt() * (std::f64::consts::TAU * dice.f64()).cos()
}

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Times {
    /// Log-normal around 300 with this standard deviation of the logarithm.
    LogNormal(f64),
    /// Seven in ten around 100, the others around 900; both log-normal with 0.2.
    Bimodal,
    /// Pareto from 100 on with this exponent. Below 2 it has no variance.
    Pareto(f64),
}

impl Times {
    pub(crate) fn draw(self, dice: &mut Rng) -> f64 {
        match self {
            Self::LogNormal(sigma) => 300.0 * (sigma * normal(dice)).exp(),
            Self::Bimodal => {
                let centre = if dice.f64() < 0.7 { 100.0 } else { 900.0 };
                centre * (0.2 * normal(dice)).exp()
            }
            Self::Pareto(exponent) => 100.0 * (1.0 - dice.f64()).powf(-1.0 / exponent),
        }
    }

    /// The value below which a share `p` lies, worked out from the formula; of the bimodal one by halving.
    pub(crate) fn quantile(self, p: f64) -> f64 {
        use kt_core::stats::special::{normal_cdf, normal_quantile};
        match self {
            Self::LogNormal(sigma) => 300.0 * (sigma * normal_quantile(p)).exp(),
            Self::Pareto(exponent) => 100.0 * (1.0 - p).powf(-1.0 / exponent),
            Self::Bimodal => {
                let below =
                    |x: f64| 0.7 * normal_cdf((x / 100.0).ln() / 0.2) + 0.3 * normal_cdf((x / 900.0).ln() / 0.2);
                let (mut low, mut high) = (1.0, 1e5);
                for _ in 0..100 {
                    let middle = 0.5 * (low + high);
                    if below(middle) < p { low = middle } else { high = middle }
                }
                high
            }
        }
    }

    pub(crate) fn mean(self) -> f64 {
        match self {
            Self::LogNormal(sigma) => 300.0 * (0.5 * sigma * sigma).exp(),
            Self::Bimodal => (0.7 * 100.0 + 0.3 * 900.0) * (0.5_f64 * 0.04).exp(),
            Self::Pareto(exponent) => 100.0 * exponent / (exponent - 1.0),
        }
    }
}
