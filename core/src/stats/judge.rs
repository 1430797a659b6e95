//! From two arms' values of one measure to a verdict.

use std::fmt;

use super::dependence::{Assume, Effect, design_effect};
use super::evidence::Looks;
use super::interval::Interval;
use super::mean::{self, Moments};
use super::measure::{Measure, Unit};
use super::plan::{self, Aim};
use super::quantile::{self, Sorted};
use super::rate::{self, Counted};

/// Fewest requests per arm, of those that have the measure, before there is a verdict. Slow episodes are told from the
/// sums of at least sixteen batches, so that of two thousand requests a batch has up to 125: an episode of some hundred
/// requests then fills batches of its own and shows. Before that, episodes look like differences.
pub const REQUESTS_MIN: usize = 2_000;

/// One arm's values of one measure, in the order of the requests.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Milliseconds, infinite of a request that failed; 1 and 0 of a rate; dollars; tokens.
    pub values: Vec<f64>,
    /// Each request's cluster, a number from 0 on; none where requests are their own.
    pub clusters: Option<Vec<u32>>,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Chance of a false verdict, on this measure and pair of arms.
    pub alpha: f64,
    /// How often it is looked at.
    pub looks: Looks,
    /// What is taken to be alike.
    pub assume: Assume,
    /// The smallest difference that matters: a share of a ratio, the difference itself of a rate.
    pub margin: f64,
    /// Fewest requests per arm.
    pub requests_min: usize,
    /// The largest value there can be, of a mean whose bound is known.
    pub bound: Option<f64>,
}

/// A measure of an arm, ready to be compared.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Requests that have the measure.
    pub n: usize,
    /// How much they depend on each other.
    pub effect: Effect,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    Quantile(Sorted, f64),
    Rate(Counted),
    Mean(Moments),
    /// By batches of the arm's own, see [`Effect::batches`].
    Bounded(Vec<f64>, f64),
}

/// What can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A time is shorter than the baseline's.
    Faster,
    /// A time is longer.
    Slower,
    /// A rate, cost or count is higher.
    Higher,
    /// A rate, cost or count is lower.
    Lower,
    /// There is no difference beyond the margin.
    NoDifference,
    /// None of these can be said yet.
    NotEnoughData,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// Arm divided by baseline, or arm minus baseline.
    pub interval: Interval,
    /// What follows from it.
    pub verdict: Verdict,
    /// How the bounds came about.
    pub method: Method,
}

/// How bounds came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    kind: Kind,
    looks: Looks,
    units: Units,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Quantile,
    Rate,
    Mean,
    Bounded,
}

/// What counts as one observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Units {
    Requests,
    Clusters,
    Batches,
}

impl Series {
    /// Summed up as `measure` says.
    pub fn sum_up(&self, measure: Measure, rules: &Rules) -> Summary {
        let n = self.values.len();
        let clusters = self.clusters.as_deref();
        let effect_of = |residuals: &[f64]| design_effect(residuals, clusters, rules.assume);
        let centred = |values: Vec<f64>| {
            let mean = values.iter().sum::<f64>() / n.max(1) as f64;
            values.into_iter().map(|value| value - mean).collect::<Vec<f64>>()
        };
        if let Some(p) = measure.quantile() {
            let sorted = Sorted::new(self.values.clone(), 1.0);
            let centre = sorted.quantile(p).unwrap_or(0.0);
            let below = self.values.iter().map(|value| if *value <= centre { 1.0 } else { 0.0 });
            let effect = effect_of(&centred(below.collect()));
            return Summary { n, effect, values: Values::Quantile(sorted.with_effect(effect.factor), p) };
        }
        let effect = effect_of(&centred(self.values.clone()));
        let values = match (measure.unit(), rules.bound) {
            (Unit::Difference, _) => {
                let hits = self.values.iter().sum::<f64>();
                Values::Rate(Counted { hits: hits / effect.factor, of: n as f64 / effect.factor })
            }
            (Unit::Ratio, Some(bound)) if self.clusters.is_none() && rules.looks == Looks::Any => {
                let len = effect.batches.map_or(1, |batches| n.div_ceil(batches));
                let means = self.values.chunks(len).map(|batch| batch.iter().sum::<f64>() / batch.len() as f64);
                Values::Bounded(means.collect(), bound)
            }
            (Unit::Ratio, _) => Values::Mean(Moments::of(&self.values, effect.factor)),
        };
        Summary { n, effect, values }
    }
}

impl Summary {
    /// What is known of this arm by itself.
    pub fn bounds(&self, rules: &Rules) -> Interval {
        match &self.values {
            Values::Quantile(sorted, p) => sorted.bounds(*p, rules.alpha, rules.looks),
            Values::Rate(counted) => counted.bounds(rules.alpha, rules.looks),
            Values::Mean(moments) => {
                let interval = moments.bounds(rules.alpha, rules.looks);
                Interval { low: interval.low.max(0.0), ..interval }
            }
            Values::Bounded(values, bound) => mean::bounded(values.iter().copied(), *bound, rules.alpha)
                .unwrap_or(Interval::unknown(0.0, f64::INFINITY)),
        }
    }

    /// How this arm compares with `baseline` in the same measure.
    pub fn against(&self, baseline: &Self, measure: Measure, rules: &Rules) -> Judgement {
        let (alpha, looks) = (rules.alpha, rules.looks);
        let interval = match (&self.values, &baseline.values) {
            (Values::Quantile(arm, p), Values::Quantile(baseline, _)) => {
                quantile::ratio(arm, baseline, *p, alpha, looks)
            }
            (Values::Rate(arm), Values::Rate(baseline)) => rate::difference(*arm, *baseline, alpha, looks),
            (Values::Mean(arm), Values::Mean(baseline)) => mean::ratio(arm, baseline, alpha, looks),
            // Each arm's bounds hold with half of the chance, so their quotient does with all of it.
            (Values::Bounded(..), Values::Bounded(..)) => {
                let half = Rules { alpha: 0.5 * alpha, ..*rules };
                self.bounds(&half).over(&baseline.bounds(&half))
            }
            _ => Interval::unknown(f64::NEG_INFINITY, f64::INFINITY),
        };
        let enough = self.n.min(baseline.n) >= rules.requests_min;
        let verdict = if enough { verdict(&interval, measure, rules.margin) } else { Verdict::NotEnoughData };
        let units = match (self.effect, baseline.effect) {
            (arm, baseline) if arm.batches.or(baseline.batches).is_some() => Units::Batches,
            (arm, baseline) if arm.factor > 1.0 || baseline.factor > 1.0 => Units::Clusters,
            _ => Units::Requests,
        };
        let kind = match &self.values {
            Values::Quantile(..) => Kind::Quantile,
            Values::Rate(_) => Kind::Rate,
            Values::Mean(_) => Kind::Mean,
            Values::Bounded(..) => Kind::Bounded,
        };
        Judgement { interval, verdict, method: Method { kind, looks, units } }
    }

    /// How many requests per arm it takes to see a difference of `detect` from an arm like this one; none if that can't
    /// be foreseen.
    pub fn requests_to_see(&self, detect: f64, power: f64, rules: &Rules) -> Option<u64> {
        let aim = Aim { detect, alpha: rules.alpha, power, looks: rules.looks };
        let effect = self.effect.factor;
        let requests = match &self.values {
            Values::Quantile(sorted, p) => plan::for_quantile(sorted, *p, effect, &aim),
            Values::Rate(counted) => plan::for_rate(*counted, effect, &aim),
            Values::Mean(moments) => plan::for_mean(moments, effect, &aim),
            Values::Bounded(values, _) => plan::for_mean(&Moments::of(values, 1.0), effect, &aim),
        }?;
        Some(requests.ceil().max(rules.requests_min as f64) as u64)
    }
}

/// Within the margin there is no difference that matters, even if there is one; else a difference is one that the
/// interval leaves no doubt of.
fn verdict(interval: &Interval, measure: Measure, margin: f64) -> Verdict {
    let (none, least, most) = match measure.unit() {
        // A tenth more and a tenth less are one difference seen from two sides: the least ratio is one over the most.
        Unit::Ratio => (1.0, 1.0 / (1.0 + margin), 1.0 + margin),
        Unit::Difference => (0.0, -margin, margin),
    };
    let less = if measure.is_time() { Verdict::Faster } else { Verdict::Lower };
    let more = if measure.is_time() { Verdict::Slower } else { Verdict::Higher };
    match interval {
        Interval { low, high, .. } if least <= *low && *high <= most => Verdict::NoDifference,
        Interval { high, .. } if *high < none => less,
        Interval { low, .. } if *low > none => more,
        Interval { .. } => Verdict::NotEnoughData,
    }
}

impl Verdict {
    /// The word in `--json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Higher => "higher",
            Self::Lower => "lower",
            Self::NoDifference => "no_difference",
            Self::NotEnoughData => "not_enough_data",
        }
    }

    /// Whether it says that there is a difference.
    pub const fn is_difference(self) -> bool {
        match self {
            Self::Faster | Self::Slower | Self::Higher | Self::Lower => true,
            Self::NoDifference | Self::NotEnoughData => false,
        }
    }
}

impl Method {
    /// Whether the bounds hold for any distribution and number of requests, if requests are independent.
    pub fn is_exact(self) -> bool {
        self.looks == Looks::Any && self.units == Units::Requests && self.kind != Kind::Mean
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.kind, self.looks) {
            (Kind::Quantile, Looks::Any) => "sequential quantile bounds (Howard, Ramdas 2022)",
            (Kind::Rate, Looks::Any) => "beta-binomial mixture",
            (Kind::Mean, Looks::Any) => "asymptotic confidence sequence (Waudby-Smith et al. 2024)",
            (Kind::Bounded, _) => "empirical-Bernstein confidence sequence (Waudby-Smith, Ramdas 2024)",
            (Kind::Quantile, Looks::One) => "fixed-horizon quantile test, normal",
            (Kind::Rate, Looks::One) => "fixed-horizon likelihood ratio",
            (Kind::Mean, Looks::One) => "fixed-horizon ratio of means (Fieller)",
        })?;
        f.write_str(match self.units {
            Units::Requests => "",
            Units::Clusters => ", by clusters: asymptotic",
            Units::Batches => ", by batches: asymptotic",
        })?;
        f.write_str(if self.looks == Looks::One { ", valid for one look" } else { "" })
    }
}
