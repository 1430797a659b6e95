//! `kt events compare` and `kt events plan`: what the log says of an experiment, and how much more of it is wanted.

mod chart;
mod json;
mod page;
mod text;
mod words;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use kt_core::stats::decision::unix_us;
use kt_core::stats::dependence::Assume;
use kt_core::stats::evidence::Looks;
use kt_core::stats::experiment::{By, Epoch, Experiment, Gather, Select};
use kt_core::stats::forecast::{Planned, PlannedArm, planned};
use kt_core::stats::measure::Measure;
use kt_core::stats::report::{Options, Report, reports};
use kt_proxy::ledger::reader::{Log, Which};
use kt_proxy::state::StateDir;

use crate::args::{GatewayArgs, StateArgs};
use crate::table::{self, Align};
use crate::{control, exit::Exit};

/// Say which arm of an experiment is faster, cheaper or fails less; or that it can't be known yet.
///
/// Bounds hold however often you look. Exits with 0 whatever the verdict.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    kt events compare\n  \
    kt events compare --group quality-ab-test --html report.html\n  \
    kt events compare --json | jq '.comparisons[] | select(.primary)'")]
pub(crate) struct CompareArgs {
    /// Of this group only [default: every group of the log].
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// Which run of the experiment: the last, the one of this number, or all of them thrown together.
    #[arg(long, value_name = "last|N|all", default_value = "last", value_parser = epoch)]
    epoch: Epoch,

    /// Compare with this arm [default: the group's first].
    #[arg(long, value_name = "ARM")]
    baseline: Option<String>,

    /// Only requests since then: 30m, 24h, 7d, or a moment as 2026-11-22T10:36:46Z. Exploratory.
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<i64>,

    /// Apart by this. Exploratory.
    #[arg(long, value_enum)]
    by: Option<ByArg>,

    /// Bounds for this one look at a time that was fixed beforehand: narrower, and wrong if you look again.
    #[arg(long)]
    fixed: bool,

    /// Take requests to be independent, and judge however few there are.
    #[arg(long)]
    assume_independent: bool,

    /// The largest value that a mean's values can have, as tokens_out=4096 or cost=0.25 (dollars): its bounds then hold
    /// for any distribution.
    #[arg(long = "bound", value_name = "MEASURE=MAX", value_parser = bound)]
    bounds: Vec<(Measure, f64)>,

    /// Print one JSON object for each report.
    #[arg(long)]
    json: bool,

    /// Write a page with pictures to this file too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    #[command(flatten)]
    state: StateArgs,
}

/// Say how many requests, and how many days, each arm needs until a difference shows.
///
/// Worked out from what the log has of the experiment up to now.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kt events plan --detect 10% --measure ttft:p50")]
pub(crate) struct PlanArgs {
    /// The difference: 10% of the baseline's value, or of an error rate the points themselves.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    detect: f64,

    /// What is measured [default: the experiment's primary measure].
    #[arg(long, value_name = "MEASURE")]
    measure: Option<Measure>,

    /// How likely the difference is to be seen by then.
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "80%")]
    power: f64,

    /// Of this group only [default: every group of the log].
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// From this run of the experiment.
    #[arg(long, value_name = "last|N|all", default_value = "last", value_parser = epoch)]
    epoch: Epoch,

    /// For one look at the end.
    #[arg(long)]
    fixed: bool,

    /// Take requests to be independent.
    #[arg(long)]
    assume_independent: bool,

    /// Print one JSON object for each group.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    state: StateArgs,
}

/// `--by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ByArg {
    /// Who asked.
    Client,
    /// Streams and whole answers.
    Stream,
    /// The UTC day.
    Day,
    /// The UTC hour.
    Hour,
}

/// Prints a report for everything that must not be thrown together.
///
/// # Errors
/// There is no log, it can't be read, or the page can't be written.
pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<Exit> {
    let by = args.by.map(|by| match by {
        ByArg::Client => By::Client,
        ByArg::Stream => By::Stream,
        ByArg::Day => By::Day,
        ByArg::Hour => By::Hour,
    });
    let select = Select { group: args.group.clone(), epoch: args.epoch, since_us: args.since, by };
    let options = Options {
        baseline: args.baseline.clone(),
        since: args.since.is_some(),
        by,
        bounds: args.bounds.clone(),
        ..options(args.fixed, args.assume_independent)
    };
    let experiments = gather(select, &args.state)?;
    if let Some(baseline) = &args.baseline {
        let known = experiments.iter().flat_map(|experiment| &experiment.arms).any(|arm| arm.name == *baseline);
        if !known {
            bail!("no arm is called {baseline:?}{}", names_of_arms(&experiments));
        }
    }
    let reports: Vec<Report> = experiments.iter().flat_map(|experiment| reports(experiment, &options)).collect();
    if let Some(file) = &args.html {
        fs::write(file, page::page(&reports)).with_context(|| format!("can't write {}", file.display()))?;
    }
    let mut out = io::stdout().lock();
    for (nth, report) in reports.iter().enumerate() {
        if args.json {
            out.write_all(json::object(report).as_bytes())?;
            continue;
        }
        if nth > 0 {
            writeln!(out)?;
        }
        text::print(report, &mut out)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Prints what each arm needs.
///
/// # Errors
/// As [`run`]; or nothing can be planned from what there is.
pub(crate) fn plan(args: &PlanArgs) -> anyhow::Result<Exit> {
    let select = Select { group: args.group.clone(), epoch: args.epoch, since_us: None, by: None };
    let options = options(args.fixed, args.assume_independent);
    let mut out = io::stdout().lock();
    for experiment in gather(select, &args.state)? {
        let planned = planned(&experiment, &options, args.measure, args.detect, args.power);
        if args.json {
            out.write_all(json::plan(&planned, args.detect, args.power).as_bytes())?;
        } else {
            print_plan(&planned, args, &mut out)?;
        }
    }
    Ok(Exit::Done)
}

fn print_plan(planned: &Planned, args: &PlanArgs, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{} of {}, to see {} with a chance of {:.0} %:",
        planned.measure,
        planned.group,
        words::amount(planned.measure, args.detect),
        1e2 * args.power
    )?;
    let Some(requests) = planned.requests else {
        return writeln!(
            out,
            "It can't be foreseen yet: too few requests of {} have this measure.",
            planned.baseline.as_deref().unwrap_or("any arm")
        );
    };
    let row = |arm: &PlannedArm| {
        let more = requests.saturating_sub(arm.requests);
        let days = match more {
            0 => "0".to_owned(),
            _ => arm.per_day.map_or_else(|| "?".to_owned(), |rate| format!("{:.1}", more as f64 / rate)),
        };
        let rate = arm.per_day.map_or_else(|| "?".to_owned(), |rate| table::count(rate.round() as u64));
        vec![arm.name.clone(), table::count(requests), table::count(arm.requests), table::count(more), rate, days]
    };
    let mut head = vec![("ARM", Align::Left)];
    head.extend(["NEEDS", "HAS", "MORE", "A DAY", "DAYS"].map(|name| (name, Align::Right)));
    table::print(out, &head, &planned.arms.iter().map(row).collect::<Vec<_>>())?;
    if planned.dependence > 1.05 {
        writeln!(out, "{:.1} requests tell as much as an independent one.", planned.dependence)?;
    }
    Ok(())
}

fn options(fixed: bool, assume_independent: bool) -> Options {
    Options {
        looks: if fixed { Looks::One } else { Looks::Any },
        assume: if assume_independent { Assume::Independence } else { Assume::Dependence },
        ..Options::default()
    }
}

/// Reads the whole log.
fn gather(select: Select, state: &StateArgs) -> anyhow::Result<Vec<Experiment>> {
    let dir = StateDir::locate(state.state_dir.as_deref())?;
    let log = Log::new(dir.events());
    let unreadable = || format!("can't read the log in {}", dir.events().display());
    if !log.exists().with_context(unreadable)? {
        bail!("there is no log in {}; a gateway writes it, or name its --state-dir", dir.events().display());
    }
    // While the gateway runs, answers may be under way.
    let gateway = GatewayArgs { state: state.clone(), admin: None };
    let serving = control::ask(&gateway, "GET", "/health").is_ok();
    let group = select.group.clone();
    let mut gather = Gather::new(select);
    let mut lines = log.since(0, Which::All).with_context(unreadable)?;
    while let Some(line) = lines.next_line().with_context(unreadable)? {
        gather.line(line);
    }
    let experiments = gather.finish(serving);
    if experiments.is_empty() {
        match group {
            Some(group) => {
                bail!("the log in {} has no group {group:?}, or not this epoch of it", dir.events().display())
            }
            None => bail!("the log in {} has no model group, or not this epoch of one", dir.events().display()),
        }
    }
    Ok(experiments)
}

fn names_of_arms(experiments: &[Experiment]) -> String {
    let names: Vec<&str> =
        experiments.iter().flat_map(|experiment| &experiment.arms).map(|arm| arm.name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) }
}

fn epoch(text: &str) -> Result<Epoch, String> {
    match text {
        "last" => Ok(Epoch::Last),
        "all" => Ok(Epoch::All),
        number => match number.parse() {
            Ok(nth) if nth > 0 => Ok(Epoch::Nth(nth)),
            Ok(_) | Err(_) => Err("last, all, or the number of a run from 1 on".to_owned()),
        },
    }
}

/// Into µs since 1970.
fn since(text: &str) -> Result<i64, String> {
    let wrong = || "a time ago as 30m, 24h or 7d, or a moment as 2026-11-22T10:36:46Z".to_owned();
    if let Some(moment) = unix_us(text) {
        return Ok(moment);
    }
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    Ok(now.as_micros() as i64 - i64::from(count) * seconds * 1_000_000)
}

/// `10%`, or `0.1`, into a share between 0 and 1.
fn percent(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 1e2),
        None => text.parse::<f64>(),
    };
    match number {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        Ok(_) | Err(_) => Err("a percentage between 0% and 100%, as 10%".to_owned()),
    }
}

fn bound(text: &str) -> Result<(Measure, f64), String> {
    let (measure, max) = text.split_once('=').ok_or("a measure and its largest value, as tokens_out=4096")?;
    let measure: Measure = measure.parse().map_err(|error| format!("{error}"))?;
    if !matches!(measure, Measure::Cost | Measure::TokensOut) {
        return Err(format!("{measure} needs no bound: cost and tokens_out are means"));
    }
    match max.parse::<f64>() {
        Ok(max) if max > 0.0 && max.is_finite() => Ok((measure, max)),
        Ok(_) | Err(_) => Err(format!("{max:?} is no number above zero")),
    }
}

/// What the demo shows of its own traffic: the last epoch of a log, requests taken to be independent, as simulated ones
/// are.
///
/// # Errors
/// The log can't be read.
pub(crate) fn demo(state: &Path, out: &mut impl Write) -> anyhow::Result<Vec<Report>> {
    let state = StateArgs { state_dir: Some(state.to_owned()) };
    let experiments = gather(Select::default(), &state)?;
    let reports: Vec<Report> =
        experiments.iter().flat_map(|experiment| reports(experiment, &options(false, true))).collect();
    for report in &reports {
        text::print(report, out)?;
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        assert_eq!(epoch("last"), Ok(Epoch::Last));
        assert_eq!(epoch("3"), Ok(Epoch::Nth(3)));
        assert!(epoch("0").is_err() && epoch("first").is_err());
        assert_eq!(percent("10%"), Ok(0.1));
        assert_eq!(percent("0.025"), Ok(0.025));
        assert!(percent("0%").is_err() && percent("100%").is_err() && percent("ten").is_err());
        assert_eq!(bound("tokens_out=4096"), Ok((Measure::TokensOut, 4096.0)));
        assert!(bound("latency:p50=3").is_err() && bound("cost").is_err() && bound("cost=-1").is_err());
        assert_eq!(since("1970-01-01T00:00:01Z"), Ok(1_000_000));
        assert!(since("1h").unwrap() > since("2h").unwrap());
        assert!(since("").is_err() && since("h").is_err() && since("7w").is_err() && since("ä").is_err());
    }
}
