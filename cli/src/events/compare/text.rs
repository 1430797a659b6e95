//! A report for people: two aligned tables per arm, alarms, then what can be said.

use std::io::{self, Write};

use kt_core::stats::experiment::moment;
use kt_core::stats::measure::Measure;
use kt_core::stats::report::{ArmReport, Report};

use super::words;
use crate::table::{self, Align};

/// Longest line of running text.
const WIDTH: usize = 100;

/// Prints it.
pub(super) fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    head(report, out)?;
    if report.arms.is_empty() {
        return writeln!(out, "No request has drawn an arm yet.");
    }
    writeln!(out)?;
    counts(report, out)?;
    writeln!(out)?;
    times(report, out)?;
    as_served(report, out)?;
    alarms(report, out)?;
    comparisons(report, out)?;
    foot(report, out)
}

fn head(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let requests: u64 = report.arms.iter().map(|arm| arm.requests).sum();
    let epoch = match report.run {
        Some(run) => format!("epoch {run} of {} ({})", report.runs, report.epoch),
        None => format!("all {} epochs", report.runs),
    };
    let mut parts = vec![report.group.clone(), epoch];
    parts.extend(
        [&report.stratum.endpoint, &report.stratum.method].map(String::clone).into_iter().filter(|s| !s.is_empty()),
    );
    parts.extend(report.stratum.by.as_ref().map(|(by, label)| format!("{by} {label}")));
    writeln!(out, "{}", parts.join(" · "))?;
    match report.window_us {
        Some((from, to)) => writeln!(out, "{} requests, {} to {}", table::count(requests), moment(from), moment(to)),
        None => writeln!(out, "0 requests"),
    }
}

fn counts(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let row = |arm: &ArmReport| {
        let per_request = arm.measures.iter().find(|(measure, _)| *measure == Measure::Cost);
        vec![
            arm.arm.name.clone(),
            table::count(arm.requests),
            format!("{:.1}%", 1e2 * arm.share),
            format!("{:.1}%", 1e2 * arm.share_due),
            format!("{} ({:.2}%)", table::count(arm.errors), 1e2 * arm.errors as f64 / arm.requests.max(1) as f64),
            table::count(arm.tokens.0),
            table::count(arm.tokens.1),
            words::value(Measure::Cost, per_request.and_then(|(_, measured)| measured.interval.estimate)),
            words::cost(&arm.cost),
        ]
    };
    let mut head = vec![("ARM", Align::Left)];
    head.extend(
        ["REQUESTS", "SHARE", "WEIGHT", "ERRORS", "TOKENS IN", "OUT", "COST/REQUEST", "COST"]
            .map(|name| (name, Align::Right)),
    );
    table::print(out, &head, &report.arms.iter().map(row).collect::<Vec<_>>())
}

fn times(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let columns: Vec<Measure> = Measure::ALL.into_iter().filter(|measure| measure.is_time()).collect();
    let row = |arm: &ArmReport| {
        let cell = |column: &Measure| {
            let found = arm.measures.iter().find(|(measure, _)| measure == column);
            words::value(*column, found.and_then(|(_, measured)| measured.interval.estimate))
        };
        let mut row = vec![arm.arm.name.clone()];
        row.extend(columns.iter().map(cell));
        row.push(words::value(Measure::DEFAULT, arm.mean_latency_ms));
        row
    };
    let mut head = vec![("ARM", Align::Left)];
    head.extend(
        ["LATENCY P50", "P90", "P99", "TTFT P50", "P90", "P99", "GAP MEAN", "LARGEST", "MEAN LATENCY*"]
            .map(|name| (name, Align::Right)),
    );
    table::print(out, &head, &report.arms.iter().map(row).collect::<Vec<_>>())?;
    writeln!(out, "* of successes, a description; all else counts a failure as infinitely slow.")
}

fn as_served(report: &Report, out: &mut impl Write) -> io::Result<()> {
    if report.as_served.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nAs served, whoever was assigned:")?;
    let rows: Vec<Vec<String>> = (report.as_served.iter())
        .map(|served| {
            vec![served.by.clone(), table::count(served.requests), words::value(Measure::DEFAULT, served.latency_ms)]
        })
        .collect();
    table::print(out, &[("BY", Align::Left), ("REQUESTS", Align::Right), ("LATENCY P50", Align::Right)], &rows)
}

fn alarms(report: &Report, out: &mut impl Write) -> io::Result<()> {
    if report.alarms.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    for alarm in &report.alarms {
        let forbids = if alarm.blocks_verdict { " (forbids a verdict)" } else { "" };
        paragraph(out, "! ", &format!("{}{forbids}: {}", alarm.kind.as_str(), alarm.message))?;
    }
    Ok(())
}

fn comparisons(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let Some(baseline) = report.baseline.as_ref().filter(|_| !report.comparisons.is_empty()) else {
        return writeln!(out, "\nThere is nothing to compare: the group has one arm.");
    };
    writeln!(out, "\nCompared with {baseline}{}:", if report.exploratory.is_empty() { "" } else { ", exploratory" })?;
    let blocked = report.alarms.iter().any(|alarm| alarm.blocks_verdict);
    let rows: Vec<Vec<String>> = (report.comparisons.iter())
        .map(|comparison| {
            vec![
                format!("{}{}", if comparison.primary { "> " } else { "  " }, comparison.measure),
                comparison.arm.clone(),
                words::estimate(comparison),
                words::bounds(comparison),
                words::verdict(comparison, blocked),
            ]
        })
        .collect();
    let head = [
        ("  MEASURE", Align::Left),
        ("ARM", Align::Left),
        ("RATIO", Align::Right),
        ("BOUNDS", Align::Right),
        ("VERDICT", Align::Left),
    ];
    table::print(out, &head, &rows)
}

fn foot(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    for reason in &report.exploratory {
        paragraph(out, "  ", &format!("Exploratory: {reason}."))?;
    }
    for note in &report.notes {
        paragraph(out, "  ", &format!("Note: {note}."))?;
    }
    for line in words::guarantee(report) {
        paragraph(out, "  ", &line)?;
    }
    Ok(())
}

/// Text in lines of [`WIDTH`], the first one behind `mark`, the others below it.
fn paragraph(out: &mut impl Write, mark: &str, text: &str) -> io::Result<()> {
    let mut line = mark.to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() >= WIDTH && line.trim() != mark.trim() {
            writeln!(out, "{line}")?;
            line = " ".repeat(mark.len());
        }
        if line.len() > mark.len() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{line}")
}
