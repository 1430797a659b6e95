//! All arms of an experiment in all measures: what they measured, how they compare, and what forbids to say so.

use super::alarm::{Alarm, alarms};
use super::dependence::Assume;
use super::evidence::Looks;
use super::experiment::{ArmOf, By, Experiment, Row};
use super::interval::Interval;
use super::judge::{Judgement, REQUESTS_MIN, Rules, Series, Summary, Verdict};
use super::measure::{Measure, Unit};

/// Chance that any verdict of a report is false, over all looks.
pub const ALPHA: f64 = 0.05;
/// Chance with which a plan sees what it is made for.
pub const POWER: f64 = 0.8;

/// How to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The arm that the others are compared with; the first, if none.
    pub baseline: Option<String>,
    /// One look at the end instead of any number.
    pub looks: Looks,
    /// What is taken to be alike.
    pub assume: Assume,
    /// Requests were left out that an experiment has: those before a moment.
    pub since: bool,
    /// What requests are told apart by.
    pub by: Option<By>,
    /// The largest values there can be, of means whose bound is known.
    pub bounds: Vec<(Measure, f64)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            baseline: None,
            looks: Looks::Any,
            assume: Assume::Dependence,
            since: false,
            by: None,
            bounds: Vec::new(),
        }
    }
}

/// What requests of a report have in common: they are never compared with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stratum {
    /// The path that was asked.
    pub endpoint: String,
    /// How the arm came about.
    pub method: String,
    /// What they are told apart by, and its value.
    pub by: Option<(&'static str, String)>,
}

/// A comparison of all arms.
#[derive(Clone, Debug)]
pub struct Report {
    /// The group.
    pub group: String,
    /// What the experiment is, hashed; of several, the last.
    pub epoch: String,
    /// Which run of the group it is, from 1; none of all thrown together.
    pub run: Option<usize>,
    /// How many runs the log has.
    pub runs: usize,
    /// What the requests have in common.
    pub stratum: Stratum,
    /// First and last request, µs since 1970.
    pub window_us: Option<(i64, i64)>,
    /// The measure that decides.
    pub primary: Measure,
    /// The smallest difference in it that matters.
    pub margin: f64,
    /// How often it may be looked at.
    pub looks: Looks,
    /// Fewest requests of an arm before there is a verdict.
    pub requests_min: usize,
    /// The arm that the others are compared with.
    pub baseline: Option<String>,
    /// Each arm.
    pub arms: Vec<ArmReport>,
    /// Each other arm with the baseline, in each measure; the primary one first.
    pub comparisons: Vec<Comparison>,
    /// What is wrong with the data, or may be.
    pub alarms: Vec<Alarm>,
    /// Why this is a look around and no test.
    pub exploratory: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// Requests by who served them in the end; empty if nobody stood in.
    pub as_served: Vec<Served>,
}

/// An arm's numbers.
#[derive(Clone, Debug)]
pub struct ArmReport {
    /// What the config says.
    pub arm: ArmOf,
    /// Requests that it was assigned.
    pub requests: u64,
    /// Of all requests.
    pub share: f64,
    /// What the weights say that it should be.
    pub share_due: f64,
    /// Of those, failed or left.
    pub errors: u64,
    /// Each measure.
    pub measures: Vec<(Measure, Measured)>,
    /// Mean latency of what didn't fail, milliseconds: a description, for failures are left out.
    pub mean_latency_ms: Option<f64>,
    /// Tokens of input and output, where known.
    pub tokens: (u64, u64),
    /// What it cost.
    pub cost: Cost,
    /// Latencies in rising order, for pictures.
    pub latencies_ms: Vec<f64>,
    /// Requests in each of [`SPANS`] equal spans of the window.
    pub over_time: Vec<u64>,
}

/// How many spans of time a report tells apart.
pub const SPANS: usize = 48;

/// What is known of one measure of one arm.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Requests that have it.
    pub n: usize,
    /// Value and bounds, for all looks at 95 %, each by itself.
    pub interval: Interval,
}

/// Dollars, in pico.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Of requests whose usage the vendor has said.
    pub known_picousd: u128,
    /// How many those are.
    pub known: u64,
    /// Of requests whose usage was estimated.
    pub estimated_picousd: u128,
    /// How many those are.
    pub estimated: u64,
    /// Requests whose cost is not known.
    pub unknown: u64,
}

/// An arm compared with the baseline in a measure.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// In what.
    pub measure: Measure,
    /// Which.
    pub arm: String,
    /// With which.
    pub baseline: String,
    /// Bounds, verdict and method; the verdict of a report whose alarms forbid one is that there is not enough data.
    pub judgement: Judgement,
    /// Chance that the bounds miss, at any look.
    pub alpha: f64,
    /// The smallest difference that matters.
    pub margin: f64,
    /// Whether it is the one that decides.
    pub primary: bool,
    /// How many requests tell as much as one, and of how many batches, if requests near in time are alike.
    pub dependence: Option<(f64, usize)>,
    /// How many more requests per arm it takes, and to see which difference; when that can be foreseen.
    pub needs: Option<Needs>,
}

/// What is missing for a verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Needs {
    /// More requests per arm.
    pub requests: u64,
    /// The difference that they show.
    pub detect: f64,
}

/// Requests that one arm or target answered in the end, whoever they were assigned to.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// Arm or target.
    pub by: String,
    /// How many.
    pub requests: u64,
    /// Their median latency, milliseconds.
    pub latency_ms: Option<f64>,
}

/// Reports on everything that must not be thrown together, most requests first. There is one even if there are no
/// requests yet.
pub fn reports(experiment: &Experiment, options: &Options) -> Vec<Report> {
    // By endpoint, method and label.
    type Key = (u16, u16, u16);
    let mut strata: Vec<(Key, Vec<&Row>)> = Vec::new();
    for row in &experiment.rows {
        let key = (row.endpoint, row.method, row.label);
        match strata.iter_mut().find(|(known, _)| *known == key) {
            Some((_, rows)) => rows.push(row),
            None => strata.push((key, vec![row])),
        }
    }
    strata.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
    let name = |names: &[String], at: u16| names.get(usize::from(at)).cloned().unwrap_or_default();
    let names = &experiment.names;
    let mut reports: Vec<Report> = Vec::new();
    for ((endpoint, method, label), rows) in strata {
        let stratum = Stratum {
            endpoint: name(&names.endpoints, endpoint),
            method: name(&names.methods, method),
            by: options.by.map(|by| (by.as_str(), name(&names.labels, label))),
        };
        reports.push(report(experiment, options, stratum, &rows));
    }
    if reports.is_empty() {
        let stratum = Stratum { endpoint: String::new(), method: String::new(), by: None };
        reports.push(report(experiment, options, stratum, &[]));
    }
    reports
}

fn report(experiment: &Experiment, options: &Options, stratum: Stratum, rows: &[&Row]) -> Report {
    let run = experiment.run.or(experiment.runs.len().checked_sub(1)).and_then(|run| experiment.runs.get(run));
    let (primary, margin, mut notes) =
        what_decides(run.and_then(|run| run.primary.as_deref()), run.and_then(|run| run.margin));
    let window_us = rows.first().zip(rows.last()).map(|_| {
        let times = || rows.iter().map(|row| row.at_us);
        (times().min().unwrap_or(0), times().max().unwrap_or(0))
    });
    let mut by_arm: Vec<Vec<&Row>> = vec![Vec::new(); experiment.arms.len()];
    for row in rows {
        by_arm[usize::from(row.arm)].push(row);
    }
    let weights: f64 = experiment.arms.iter().map(|arm| arm.weight).sum();
    let table = Table::new(primary, options);
    let summaries: Vec<Vec<Summary>> = by_arm.iter().map(|rows| table.sum_up(rows)).collect();
    let arms: Vec<ArmReport> = (experiment.arms.iter().zip(&by_arm).zip(&summaries))
        .map(|((arm, of_arm), summaries)| {
            let mut report = arm_report(arm, of_arm, rows.len(), weights, window_us);
            report.measures = table.measured(summaries);
            report
        })
        .collect();

    let drawn: Vec<usize> = (0..arms.len()).filter(|at| arms[*at].arm.weight > 0.0 || arms[*at].requests > 0).collect();
    let chosen = options.baseline.as_ref().and_then(|name| drawn.iter().find(|at| arms[**at].arm.name == *name));
    let baseline = chosen.or(drawn.first()).copied();
    let others: Vec<usize> = drawn.iter().copied().filter(|at| Some(*at) != baseline).collect();
    let mut comparisons = Vec::new();
    for measure in &table.measures {
        let (Some(with), rules) = (baseline, table.rules(*measure, others.len(), margin)) else { break };
        let of = |arm: usize| table.measures.iter().position(|known| known == measure).map(|at| &summaries[arm][at]);
        for other in &others {
            let (Some(arm), Some(base)) = (of(*other), of(with)) else { continue };
            let judgement = arm.against(base, *measure, &rules);
            comparisons.push(Comparison {
                measure: *measure,
                arm: arms[*other].arm.name.clone(),
                baseline: arms[with].arm.name.clone(),
                judgement,
                alpha: rules.alpha,
                margin: rules.margin,
                primary: *measure == primary,
                dependence: [arm.effect, base.effect]
                    .into_iter()
                    .filter_map(|effect| Some((effect.factor, effect.batches?)))
                    .max_by(|a, b| a.0.total_cmp(&b.0)),
                needs: needs(base, arm.n.min(base.n), &judgement, &rules),
            });
        }
    }

    let mut exploratory = Vec::new();
    if options.since {
        exploratory.push("--since leaves out the experiment's beginning".to_owned());
    }
    if let Some(by) = options.by {
        exploratory.push(format!("--by {} looks at parts of it", by.as_str()));
    }
    if chosen.is_some() && chosen != drawn.first() {
        exploratory.push("--baseline is another than the experiment's first arm".to_owned());
    }
    if experiment.run.is_none() && experiment.runs.len() > 1 {
        exploratory.push("--epoch all throws different experiments together".to_owned());
    }
    if options.assume == Assume::Independence {
        notes.push("requests are taken to be independent (--assume-independent)".to_owned());
    }
    if experiment.under_way > 0 {
        notes.push(format!(
            "{} requests wait for others that began before them and have not ended",
            experiment.under_way
        ));
    }
    if experiment.beyond > 0 {
        notes.push(format!("the experiment's last {} requests are beyond what is compared", experiment.beyond));
    }
    let alarms = alarms(experiment, &stratum, rows, &arms, &comparisons);
    if alarms.iter().any(|alarm| alarm.blocks_verdict) {
        for comparison in &mut comparisons {
            comparison.judgement.verdict = Verdict::NotEnoughData;
            comparison.needs = None;
        }
    }
    Report {
        group: experiment.group.clone(),
        epoch: run.map_or_else(String::new, |run| run.epoch.clone()),
        run: experiment.run.map(|run| run + 1),
        runs: experiment.runs.len(),
        stratum,
        window_us,
        primary,
        margin,
        looks: options.looks,
        requests_min: table.requests_min,
        baseline: baseline.map(|at| arms[at].arm.name.clone()),
        as_served: as_served(experiment, rows),
        arms,
        comparisons,
        alarms,
        exploratory,
        notes,
    }
}

/// The primary measure and its margin, by the config or by default.
pub(super) fn what_decides(primary: Option<&str>, margin: Option<f64>) -> (Measure, f64, Vec<String>) {
    let mut notes = Vec::new();
    let measure = match primary.map(str::parse) {
        Some(Ok(measure)) => measure,
        None => Measure::DEFAULT,
        Some(Err(_)) => {
            let name = primary.unwrap_or_default();
            notes.push(format!("the log's primary measure {name:?} is not one: {} decides", Measure::DEFAULT));
            Measure::DEFAULT
        }
    };
    let margin = margin.filter(|margin| *margin > 0.0 && *margin < 1.0);
    (measure, margin.unwrap_or(measure.default_margin()), notes)
}

/// What is compared, and at which level.
pub(super) struct Table<'a> {
    options: &'a Options,
    primary: Measure,
    /// The primary one first.
    measures: Vec<Measure>,
    requests_min: usize,
}

impl<'a> Table<'a> {
    pub(super) fn new(primary: Measure, options: &'a Options) -> Self {
        let requests_min = if options.assume == Assume::Independence { 0 } else { REQUESTS_MIN };
        let others = Measure::ALL.into_iter().filter(|measure| *measure != primary);
        Self { options, primary, measures: std::iter::once(primary).chain(others).collect(), requests_min }
    }

    /// Half of the chance for the primary measure, the other half shared by all others; each by all arms.
    pub(super) fn rules(&self, measure: Measure, arms: usize, margin: f64) -> Rules {
        let share = if measure == self.primary { 1.0 } else { self.measures.len() as f64 - 1.0 };
        Rules {
            alpha: 0.5 * ALPHA / share / arms.max(1) as f64,
            margin: if measure == self.primary { margin } else { measure.default_margin() },
            ..self.rules_of_one(measure)
        }
    }

    /// Of one arm by itself.
    fn rules_of_one(&self, measure: Measure) -> Rules {
        let bound = self.options.bounds.iter().find(|(bounded, _)| *bounded == measure);
        Rules {
            alpha: ALPHA,
            looks: self.options.looks,
            assume: self.options.assume,
            margin: measure.default_margin(),
            requests_min: self.requests_min,
            bound: bound.map(|(_, bound)| *bound),
        }
    }

    fn sum_up(&self, rows: &[&Row]) -> Vec<Summary> {
        self.measures
            .iter()
            .map(|measure| series(rows, *measure).sum_up(*measure, &self.rules_of_one(*measure)))
            .collect()
    }

    fn measured(&self, summaries: &[Summary]) -> Vec<(Measure, Measured)> {
        let measured = |(measure, summary): (&Measure, &Summary)| {
            (*measure, Measured { n: summary.n, interval: summary.bounds(&self.rules_of_one(*measure)) })
        };
        self.measures.iter().zip(summaries).map(measured).collect()
    }
}

/// The values of a measure, of those requests that have it.
pub(super) fn series(rows: &[&Row], measure: Measure) -> Series {
    let value = |row: &Row| match measure {
        Measure::Latency(_) => f64::from(row.latency_ms),
        Measure::Ttft(_) => f64::from(row.ttft_ms),
        Measure::GapMean => f64::from(row.gap_mean_ms),
        Measure::GapMax => f64::from(row.gap_max_ms),
        Measure::ErrorRate => f64::from(u8::from(row.failed)),
        Measure::Cost if row.estimated => f64::NAN,
        Measure::Cost => row.cost_picousd / 1e12,
        Measure::TokensOut if row.estimated => f64::NAN,
        Measure::TokensOut => f64::from(row.tokens_out),
    };
    let having = || rows.iter().filter(|row| !value(row).is_nan());
    // The method is the same for all rows of a report, so either all have a cluster or none.
    let clusters: Vec<u32> = having().filter_map(|row| row.cluster).collect();
    let values: Vec<f64> = having().map(|row| value(row)).collect();
    Series { clusters: (clusters.len() == values.len()).then_some(clusters), values }
}

fn arm_report(arm: &ArmOf, rows: &[&Row], all: usize, weights: f64, window_us: Option<(i64, i64)>) -> ArmReport {
    let mut cost = Cost::default();
    let (mut input, mut output) = (0.0, 0.0);
    let mut over_time = vec![0; SPANS];
    for row in rows {
        let picousd = row.cost_picousd;
        match (picousd.is_nan(), row.estimated) {
            (true, _) => cost.unknown += 1,
            (false, false) => (cost.known, cost.known_picousd) = (cost.known + 1, cost.known_picousd + picousd as u128),
            (false, true) => {
                (cost.estimated, cost.estimated_picousd) =
                    (cost.estimated + 1, cost.estimated_picousd + picousd as u128);
            }
        }
        input += if row.tokens_in.is_nan() { 0.0 } else { f64::from(row.tokens_in) };
        output += if row.tokens_out.is_nan() { 0.0 } else { f64::from(row.tokens_out) };
        if let Some((from, to)) = window_us {
            let span = (row.at_us - from) as f64 / (to - from).max(1) as f64 * SPANS as f64;
            over_time[(span as usize).min(SPANS - 1)] += 1;
        }
    }
    let mut latencies_ms: Vec<f64> = rows.iter().map(|row| f64::from(row.latency_ms)).collect();
    latencies_ms.sort_unstable_by(f64::total_cmp);
    let whole: Vec<f64> = latencies_ms.iter().copied().filter(|latency| latency.is_finite()).collect();
    ArmReport {
        arm: arm.clone(),
        requests: rows.len() as u64,
        share: rows.len() as f64 / all.max(1) as f64,
        share_due: if weights > 0.0 { arm.weight / weights } else { 0.0 },
        errors: rows.iter().filter(|row| row.failed).count() as u64,
        measures: Vec::new(),
        mean_latency_ms: (!whole.is_empty()).then(|| whole.iter().sum::<f64>() / whole.len() as f64),
        tokens: (input as u64, output as u64),
        cost,
        latencies_ms,
        over_time,
    }
}

/// Twice the margin, the margin itself, or less: whatever takes more requests than there are.
fn needs(baseline: &Summary, n: usize, judgement: &Judgement, rules: &Rules) -> Option<Needs> {
    if judgement.verdict != Verdict::NotEnoughData {
        return None;
    }
    [2.0, 1.0, 0.5, 0.2].into_iter().find_map(|times| {
        let detect = times * rules.margin;
        let in_all = baseline.requests_to_see(detect, POWER, rules)?;
        let more = in_all.saturating_sub(n as u64);
        (more > 0).then_some(Needs { requests: more, detect })
    })
}

fn as_served(experiment: &Experiment, rows: &[&Row]) -> Vec<Served> {
    if rows.iter().all(|row| row.served.is_none()) {
        return Vec::new();
    }
    let mut servers: Vec<(String, Vec<f32>)> = Vec::new();
    for row in rows {
        let arm = &experiment.arms[usize::from(row.arm)];
        let name = match row.served.and_then(|at| experiment.names.servers.get(usize::from(at))) {
            // A target that is an arm's own counts with that arm.
            Some(server) => match experiment.arms.iter().find(|arm| arm.target_id == *server) {
                Some(arm) => &arm.name,
                None => server,
            },
            None => &arm.name,
        };
        match servers.iter_mut().find(|(known, _)| known == name) {
            Some((_, latencies)) => latencies.push(row.latency_ms),
            None => servers.push((name.clone(), vec![row.latency_ms])),
        }
    }
    servers
        .into_iter()
        .map(|(by, mut latencies)| {
            latencies.sort_unstable_by(f32::total_cmp);
            let median = latencies.get(latencies.len().div_ceil(2).saturating_sub(1)).copied();
            let latency_ms = median.filter(|median| median.is_finite()).map(f64::from);
            Served { by, requests: latencies.len() as u64, latency_ms }
        })
        .collect()
}

impl Comparison {
    /// The word in `--json`.
    pub const fn unit(&self) -> &'static str {
        match self.measure.unit() {
            Unit::Ratio => "ratio",
            Unit::Difference => "difference",
        }
    }
}
