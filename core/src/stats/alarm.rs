//! What can be wrong with the data of an experiment, and is said before any verdict.

use super::evidence::{against_chance, against_split};
use super::experiment::{ArmOf, Experiment, Row};
use super::report::{ArmReport, Comparison, Stratum};

/// Chance of a false alarm, over all looks.
const ALPHA: f64 = 0.01;

/// Something is wrong, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What.
    pub kind: AlarmKind,
    /// In words.
    pub message: String,
    /// Whether there can be no verdict.
    pub blocks_verdict: bool,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// The arms didn't get the shares that their weights say.
    SampleRatio,
    /// Requests that drew an arm have no decision.
    MissingSlots,
    /// Requests near in time are alike.
    Dependence,
    /// Different experiments are thrown together.
    EpochsMixed,
    /// The log misses records, or counts requests without one.
    LogGaps,
    /// The arms don't fail equally often.
    FailuresDiffer,
    /// The clients' libraries don't repeat requests of all arms equally often.
    RetriesDiffer,
    /// Requests were served by another arm than the assigned one.
    FailedOver,
    /// The arms were not drawn by chance.
    NotRandomised,
}

impl AlarmKind {
    /// The word in `--json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SampleRatio => "sample_ratio",
            Self::MissingSlots => "missing_slots",
            Self::Dependence => "dependence",
            Self::EpochsMixed => "epochs_mixed",
            Self::LogGaps => "log_gaps",
            Self::FailuresDiffer => "failures_differ",
            Self::RetriesDiffer => "retries_differ",
            Self::FailedOver => "failed_over",
            Self::NotRandomised => "not_randomised",
        }
    }

    /// Whether there can be no verdict: what was measured is not what was assigned by chance.
    pub const fn blocks_verdict(self) -> bool {
        match self {
            Self::SampleRatio | Self::MissingSlots | Self::NotRandomised => true,
            Self::Dependence
            | Self::EpochsMixed
            | Self::LogGaps
            | Self::FailuresDiffer
            | Self::RetriesDiffer
            | Self::FailedOver => false,
        }
    }
}

/// All alarms of a report.
pub(super) fn alarms(
    experiment: &Experiment,
    stratum: &Stratum,
    rows: &[&Row],
    arms: &[ArmReport],
    comparisons: &[Comparison],
) -> Vec<Alarm> {
    let mut found = Vec::new();
    let mut raise = |kind: AlarmKind, message: Option<String>| {
        found.extend(message.map(|message| Alarm { kind, message, blocks_verdict: kind.blocks_verdict() }));
    };
    raise(AlarmKind::NotRandomised, not_randomised(stratum));
    raise(AlarmKind::SampleRatio, sample_ratio(experiment, stratum));
    raise(AlarmKind::MissingSlots, missing_slots(experiment));
    raise(AlarmKind::Dependence, dependence(comparisons));
    raise(AlarmKind::EpochsMixed, epochs_mixed(experiment));
    raise(AlarmKind::LogGaps, log_gaps(experiment));
    let failures: Vec<u64> = arms.iter().map(|arm| arm.errors).collect();
    let differ = |counts: &[u64], what: &str| {
        differs(counts, arms).then(|| {
            let parts = arms.iter().zip(counts);
            let parts = parts.map(|(arm, count)| format!("{} {count} of {}", arm.arm.name, arm.requests));
            format!("{what}: {}", parts.collect::<Vec<_>>().join(", "))
        })
    };
    raise(
        AlarmKind::FailuresDiffer,
        differ(&failures, "the arms don't fail equally often, so their successes are not alike"),
    );
    let mut retried = vec![0; arms.len()];
    let mut failed_over = 0_u64;
    for row in rows {
        retried[usize::from(row.arm)] += u64::from(row.retried);
        failed_over += u64::from(row.served.is_some());
    }
    raise(
        AlarmKind::RetriesDiffer,
        differ(&retried, "clients' libraries repeat requests of one arm more often, and each repetition counts"),
    );
    raise(
        AlarmKind::FailedOver,
        (failed_over > 0).then(|| {
            format!("{failed_over} requests were served by another arm than the assigned one, with which they count")
        }),
    );
    found
}

fn not_randomised(stratum: &Stratum) -> Option<String> {
    let by_chance = matches!(&*stratum.method, "block" | "hash" | "");
    (!by_chance).then(|| format!("arms were assigned by {}, not by chance: there can be no verdict", stratum.method))
}

/// Over all endpoints, for the arm is drawn without regard to them; apart by method, for units and requests are drawn
/// differently; units at their first appearance.
fn sample_ratio(experiment: &Experiment, stratum: &Stratum) -> Option<String> {
    let method = experiment.names.methods.iter().position(|method| *method == stratum.method)?;
    let drawn = |row: &&Row| usize::from(row.method) == method && (row.cluster.is_none() || row.first_of_unit);
    if !matches!(&*stratum.method, "block" | "hash") {
        return None;
    }
    let mut evidence = 0.0;
    let mut worst = None;
    for (at, run) in experiment.runs.iter().enumerate() {
        let of_run = || experiment.rows.iter().filter(drawn).filter(|row| usize::from(row.run) == at);
        let arms: &[_] = if run.arms.is_empty() { &experiment.arms } else { &run.arms };
        let weights: f64 = arms.iter().map(|arm| arm.weight).sum();
        if weights <= 0.0 || of_run().next().is_none() {
            continue;
        }
        let mut counts = vec![0.0; experiment.arms.len()];
        of_run().for_each(|row| counts[usize::from(row.arm)] += 1.0);
        // A block has whole slots; a unit is drawn by the weight itself.
        let chance = |arm: &ArmOf| match arm.propensity {
            Some(propensity) if stratum.method == "block" => propensity,
            Some(_) | None => arm.weight / weights,
        };
        let due = |name: &str| arms.iter().find(|arm| arm.name == name).map_or(0.0, chance);
        let shares: Vec<f64> = experiment.arms.iter().map(|arm| due(&arm.name)).collect();
        evidence += against_split(&counts, &shares);
        let total: f64 = counts.iter().sum();
        let off = |at: &usize| (counts[*at] - total * shares[*at]).abs();
        worst = (0..counts.len()).max_by(|a, b| off(a).total_cmp(&off(b))).map(|at| {
            format!("{} of {} is {}, due were {:.0}", counts[at], total, experiment.arms[at].name, total * shares[at])
        });
    }
    let what = if stratum.method == "hash" { "units" } else { "requests" };
    (evidence > -ALPHA.ln())
        .then(|| format!("the split of {what} is not what the weights say: {}", worst.unwrap_or_default()))
}

fn missing_slots(experiment: &Experiment) -> Option<String> {
    // What `gap` and `lost` records count is accounted for.
    let missing = experiment.gaps.slots.saturating_sub(experiment.gaps.counted);
    (missing > 0).then(|| format!("{missing} requests drew an arm and have no decision in the log"))
}

fn dependence(comparisons: &[Comparison]) -> Option<String> {
    let most = comparisons.iter().filter_map(|comparison| comparison.dependence).max_by(|a, b| a.0.total_cmp(&b.0));
    let (factor, batches) = most?;
    Some(format!(
        "requests near in time are alike (slow episodes?): {batches} batches of consecutive requests became the units, \
         and {factor:.1} requests tell as much as an independent one"
    ))
}

fn epochs_mixed(experiment: &Experiment) -> Option<String> {
    let mut runs: Vec<u16> = experiment.rows.iter().map(|row| row.run).collect();
    runs.dedup();
    runs.sort_unstable();
    runs.dedup();
    (runs.len() > 1).then(|| format!("{} different experiments are thrown together", runs.len()))
}

fn log_gaps(experiment: &Experiment) -> Option<String> {
    let gaps = experiment.gaps;
    let parts = [
        (gaps.counted, "requests have no decision, as gap or lost records say"),
        (gaps.records, "records are missing by their numbers"),
        (gaps.damaged, "lines can't be read"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Whether some arm has more of what is counted than its share of the requests. Each one that is counted fell to an arm
/// by chance, in proportion to the requests.
fn differs(counts: &[u64], arms: &[ArmReport]) -> bool {
    let requests: u64 = arms.iter().map(|arm| arm.requests).sum();
    let counted: u64 = counts.iter().sum();
    let tests = arms.iter().filter(|arm| arm.requests > 0).count() as f64;
    arms.iter().zip(counts).filter(|(arm, _)| 0 < arm.requests && arm.requests < requests).any(|(arm, count)| {
        let share = arm.requests as f64 / requests as f64;
        against_chance(*count as f64, counted as f64, share) > (tests / ALPHA).ln()
    })
}
