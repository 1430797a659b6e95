//! How strongly counts speak against a hypothesis, in nats, so that looking often does no harm.
//!
//! Each function is the logarithm of a process that starts at 1, is never negative, and can't be expected to grow as
//! long as the hypothesis holds. By Ville's inequality it ever reaches 1/α with a chance of at most α, whenever and
//! however often one looks. What stays below ln(1/α) is therefore a confidence set for all times at once (Howard,
//! Ramdas, McAuliffe, Sekhon 2021). Processes of independent arms multiply, so their logarithms add.
//!
//! Counts may be fractions: where requests are not independent, they are divided by the design effect
//! ([`dependence`](super::dependence)), and the guarantee becomes an approximation.

use super::special::{beta_cdf, ln_beta, normal_quantile};

/// What a mixture over a proportion weighs, in requests: it is narrowest at some hundreds to some thousands of them, and
/// costs little before and after.
pub const PRIOR_REQUESTS: f64 = 100.0;
/// The same for sums that are taken to be normal. They are looked at only after thousands.
pub const PRIOR_REQUESTS_NORMAL: f64 = 500.0;
/// The same for the split between arms.
pub const PRIOR_REQUESTS_SPLIT: f64 = 500.0;

/// How often the result may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// As often as one likes.
    Any,
    /// Once, at a time that was fixed beforehand.
    One,
}

impl Looks {
    /// The evidence at which a hypothesis is given up, when that may be wrong with a chance of `alpha`.
    pub fn threshold(self, alpha: f64) -> f64 {
        match self {
            Self::Any => -alpha.ln(),
            // Half of chi-squared with one degree of freedom, whose root is normal.
            Self::One => 0.5 * normal_quantile(0.5 * alpha).powi(2),
        }
    }
}

/// How many of a number of requests lie below a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Below {
    /// Less than the value.
    pub less: f64,
    /// Less or equal.
    pub at_most: f64,
    /// Of so many.
    pub of: f64,
}

/// Evidence that a value is not the quantile `p` of what was counted: the sequential quantile bound of Howard and Ramdas
/// (2022, section 3), a beta-binomial mixture. The part that says "less than a share `p` lies at or below it" counts ties
/// in, the other part leaves them out; so it holds for any distribution, rounded times and failures included.
pub fn against_quantile(below: Below, p: f64, looks: Looks) -> f64 {
    match looks {
        Looks::Any => {
            let (a, b) = (PRIOR_REQUESTS * p, PRIOR_REQUESTS * (1.0 - p));
            let mixed = |count: f64| {
                let rest = below.of - count;
                ln_beta(a + count, b + rest) - ln_beta(a, b) - count * p.ln() - rest * (-p).ln_1p()
            };
            // Each part's share of the mixture; the upper one from the other end, for it may be tiny and yet matter.
            let lower = beta_cdf(a + below.at_most, b + below.of - below.at_most, p);
            let upper = beta_cdf(b + below.of - below.less, a + below.less, 1.0 - p);
            ln_sum(mixed(below.at_most) + lower.ln(), mixed(below.less) + upper.ln())
        }
        Looks::One => {
            let expected = below.of * p;
            let off = expected - expected.clamp(below.less, below.at_most);
            0.5 * off * off / (expected * (1.0 - p)).max(f64::MIN_POSITIVE)
        }
    }
}

/// Evidence that `hits` of `of` don't come from a rate of `p`: the mixture of all rates by Jeffreys' prior (Krichevsky
/// and Trofimov 1981), exact however small the rate is.
pub fn against_rate(hits: f64, of: f64, p: f64, looks: Looks) -> f64 {
    let times_ln = |count: f64, x: f64| if count == 0.0 { 0.0 } else { count * x.ln() };
    let here = times_ln(hits, p) + times_ln(of - hits, 1.0 - p);
    match looks {
        Looks::Any => ln_beta(0.5 + hits, 0.5 + of - hits) - ln_beta(0.5, 0.5) - here,
        // Half the likelihood ratio is chi-squared (Wilks 1938).
        Looks::One => match of {
            0.0 => 0.0,
            _ => times_ln(hits, hits / of) + times_ln(of - hits, 1.0 - hits / of) - here,
        },
    }
}

/// Evidence in a sum that is `deviations` standard deviations away from what it should be, after so many requests: the
/// normal mixture (Robbins 1970); with an estimated variance it is the asymptotic confidence sequence of Waudby-Smith,
/// Arbour, Sinha, Kennedy and Ramdas (2024, theorem 2.2).
pub fn against_normal(deviations: f64, requests: f64, looks: Looks) -> f64 {
    let square = 0.5 * deviations * deviations;
    match looks {
        Looks::Any => {
            let whole = requests + PRIOR_REQUESTS_NORMAL;
            square * requests / whole - 0.5 * (whole / PRIOR_REQUESTS_NORMAL).ln()
        }
        Looks::One => square,
    }
}

/// The most standard deviations that [`against_normal`] lets pass below `threshold`.
pub fn normal_bound(threshold: f64, requests: f64, looks: Looks) -> f64 {
    match looks {
        Looks::Any => {
            let whole = requests + PRIOR_REQUESTS_NORMAL;
            (2.0 * (threshold + 0.5 * (whole / PRIOR_REQUESTS_NORMAL).ln()) * whole / requests).sqrt()
        }
        Looks::One => (2.0 * threshold).sqrt(),
    }
}

/// Evidence that `counts` were not drawn with the chances `shares`, which sum to 1: the Dirichlet-multinomial mixture of
/// Lindon and Malek (2022). Always for any number of looks.
pub fn against_split(counts: &[f64], shares: &[f64]) -> f64 {
    use super::special::ln_gamma;
    let total: f64 = counts.iter().sum();
    let mut evidence = ln_gamma(PRIOR_REQUESTS_SPLIT) - ln_gamma(PRIOR_REQUESTS_SPLIT + total);
    for (&count, &share) in counts.iter().zip(shares) {
        if share > 0.0 {
            let prior = PRIOR_REQUESTS_SPLIT * share;
            evidence += ln_gamma(prior + count) - ln_gamma(prior) - count * share.ln();
        } else if count > 0.0 {
            return f64::INFINITY;
        }
    }
    evidence
}

/// Evidence that `hits` of `of` don't come from a chance of `p`, which is known: the beta-binomial mixture around it.
pub fn against_chance(hits: f64, of: f64, p: f64) -> f64 {
    against_split(&[hits, of - hits], &[p, 1.0 - p])
}

/// ln(eˣ + eʸ).
fn ln_sum(x: f64, y: f64) -> f64 {
    let (low, high) = if x < y { (x, y) } else { (y, x) };
    if high == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}
