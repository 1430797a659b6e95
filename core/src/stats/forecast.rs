//! How many requests an experiment needs, from what it has measured up to now.

use super::experiment::{Experiment, Row};
use super::measure::Measure;
use super::report::{Options, Table, series, what_decides};

/// What it takes to see a difference in one measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The group.
    pub group: String,
    /// The measure.
    pub measure: Measure,
    /// The arm that the forecast is made from; none if the group has none.
    pub baseline: Option<String>,
    /// Requests per arm; none if that can't be foreseen.
    pub requests: Option<u64>,
    /// How many of the baseline's requests tell as much as an independent one.
    pub dependence: f64,
    /// Each arm that gets requests.
    pub arms: Vec<PlannedArm>,
}

/// What an arm has, and at which rate it gets more.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedArm {
    /// Its name.
    pub name: String,
    /// Requests that have the measure.
    pub requests: u64,
    /// Of those, so many a day, over the experiment's time; none before its first minute is over.
    pub per_day: Option<f64>,
}

const DAY_US: f64 = 86_400e6;
const MINUTE_US: i64 = 60_000_000;

/// Plans for `measure`, or the experiment's primary one, from the endpoint and method that most requests have.
pub fn planned(
    experiment: &Experiment,
    options: &Options,
    measure: Option<Measure>,
    detect: f64,
    power: f64,
) -> Planned {
    let run = experiment.run.or(experiment.runs.len().checked_sub(1)).and_then(|run| experiment.runs.get(run));
    let (primary, margin, _) = what_decides(run.and_then(|run| run.primary.as_deref()), run.and_then(|run| run.margin));
    let measure = measure.unwrap_or(primary);
    let rows = most_alike(&experiment.rows);
    let of_arm = |at: usize| -> Vec<&Row> { rows.iter().copied().filter(|row| usize::from(row.arm) == at).collect() };
    let drawn: Vec<usize> = (0..experiment.arms.len())
        .filter(|at| experiment.arms[*at].weight > 0.0 || rows.iter().any(|row| usize::from(row.arm) == *at))
        .collect();
    let table = Table::new(primary, options);
    let rules = table.rules(measure, drawn.len().saturating_sub(1), margin);
    let times = || rows.iter().map(|row| row.at_us);
    let lasted = times().max().unwrap_or(0) - times().min().unwrap_or(0);
    let arms = drawn.iter().map(|at| {
        let requests = series(&of_arm(*at), measure).values.len() as u64;
        let per_day = (lasted >= MINUTE_US).then(|| requests as f64 / lasted as f64 * DAY_US);
        PlannedArm { name: experiment.arms[*at].name.clone(), requests, per_day }
    });
    let arms = arms.collect();
    let baseline = drawn.first().map(|at| series(&of_arm(*at), measure).sum_up(measure, &rules));
    Planned {
        group: experiment.group.clone(),
        measure,
        baseline: drawn.first().map(|at| experiment.arms[*at].name.clone()),
        requests: baseline
            .as_ref()
            .filter(|summary| summary.n > 0)
            .and_then(|summary| summary.requests_to_see(detect, power, &rules)),
        dependence: baseline.map_or(1.0, |summary| summary.effect.factor),
        arms,
    }
}

/// The requests of the most frequent endpoint and method.
fn most_alike(rows: &[Row]) -> Vec<&Row> {
    let mut counts: Vec<((u16, u16), usize)> = Vec::new();
    for row in rows {
        let key = (row.endpoint, row.method);
        match counts.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count += 1,
            None => counts.push((key, 1)),
        }
    }
    let most = counts.iter().max_by_key(|(_, count)| *count).map(|(key, _)| *key);
    rows.iter().filter(|row| Some((row.endpoint, row.method)) == most).collect()
}
