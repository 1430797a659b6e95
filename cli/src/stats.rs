//! `kt stats`: a running gateway's numbers, merged over its cores: for people, as JSON, or as histograms for
//! HdrHistogram's own tools.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use simd_json::BorrowedValue;
use simd_json::prelude::*;

use crate::args::StatsArgs;
use crate::control;
use crate::exit::Exit;
use crate::hdr;
use crate::table::{self, Align};

const QUANTILES: [&str; 5] = ["p50", "p90", "p99", "p999", "max"];
/// What is shown, its key, and how its numbers are printed.
type Shown = (&'static str, &'static str, fn(u64) -> String);

const MEASURES: [Shown; 6] = [
    ("latency", "latency_ns", table::duration),
    ("ttft", "ttft_ns", table::duration),
    ("gap", "gap_ns", table::duration),
    ("tokens/s", "tokens_per_1000s", thousandths),
    ("connect", "connect_ns", table::duration),
    ("overhead", "overhead_ns", table::duration),
];

/// Prints a row per arm and measure, or the gateway's JSON as it is, or writes the histograms to a file.
pub(crate) fn print(args: &StatsArgs) -> anyhow::Result<Exit> {
    if let Some(file) = &args.hdr {
        return write_hdr(args, file);
    }
    let path = args.minutes.map_or_else(|| "/stats".to_owned(), |minutes| format!("/stats?minutes={minutes}"));
    let mut body = ask(args, &path)?;
    let mut out = io::stdout().lock();
    if args.json {
        out.write_all(&body)?;
        return Ok(Exit::Done);
    }
    let stats = simd_json::to_borrowed_value(&mut body).context("the gateway's answer is not JSON")?;
    let mut rows = Vec::new();
    for arm in stats.get_array("arms").into_iter().flatten() {
        rows.extend(MEASURES.iter().filter_map(|measure| row(arm, arm, "ok", measure)));
        if let Some(failures) = arm.get("failures") {
            rows.extend(MEASURES.iter().filter_map(|measure| row(arm, failures, "failed", measure)));
        }
    }
    if rows.is_empty() {
        writeln!(out, "No request has drawn an arm yet.")?;
        return Ok(Exit::Done);
    }
    let mut head =
        vec![("GROUP", Align::Left), ("ARM", Align::Left), ("MEASURE", Align::Left), ("OUTCOME", Align::Left)];
    head.extend(["COUNT", "ERRORS", "P50", "P90", "P99", "P99.9", "MAX"].map(|name| (name, Align::Right)));
    table::print(&mut out, &head, &rows)?;
    Ok(Exit::Done)
}

fn ask(args: &StatsArgs, path: &str) -> anyhow::Result<Vec<u8>> {
    let answer = control::ask(&args.gateway, "GET", path)?;
    if answer.status != 200 {
        bail!("the gateway answered {}", answer.status);
    }
    Ok(answer.body)
}

/// None where nothing was measured, as a time to first token without streams.
fn row(
    arm: &BorrowedValue<'_>,
    ended: &BorrowedValue<'_>,
    outcome: &str,
    &(measure, key, show): &Shown,
) -> Option<Vec<String>> {
    let quantiles = ended.get(key)?;
    let count = quantiles.get_u64("count")?;
    if count == 0 && (measure != "latency" || outcome != "ok") {
        return None;
    }
    let mut row = vec![
        arm.get_str("group")?.to_owned(),
        arm.get_str("arm")?.to_owned(),
        measure.to_owned(),
        outcome.to_owned(),
        count.to_string(),
        arm.get_u64("errors")?.to_string(),
    ];
    for quantile in QUANTILES {
        row.push(show(quantiles.get_u64(quantile)?));
    }
    Some(row)
}

/// Tokens per thousand seconds as tokens per second.
fn thousandths(value: u64) -> String {
    format!("{:.1}", value as f64 / 1e3)
}

fn write_hdr(args: &StatsArgs, file: &Path) -> anyhow::Result<Exit> {
    let mut body = ask(args, "/histograms")?;
    let answer = simd_json::to_borrowed_value(&mut body).context("the gateway's answer is not JSON")?;
    let histograms = read_histograms(&answer).context("the gateway's answer is not understood")?;
    let number = |key| answer.get_u64(key).unwrap_or_default();
    let span = hdr::Span { start_unix_ns: number("start_unix_ns"), length_ns: number("uptime_ns") };
    let say = || format!("cannot write {}", file.display());
    let mut out = BufWriter::new(File::create(file).with_context(say)?);
    hdr::write_log(&mut out, span, &histograms).with_context(say)?;
    out.flush().with_context(say)?;
    Ok(Exit::Done)
}

/// Each histogram with its tag: `group/arm/outcome/measure`. A tag ends at a comma, so a name's commas become
/// semicolons.
fn read_histograms(answer: &BorrowedValue<'_>) -> Option<Vec<(String, Histogram<u64>)>> {
    let mut histograms = Vec::new();
    for one in answer.get_array("histograms")? {
        let names = ["group", "arm", "outcome", "measure"].map(|key| one.get_str(key).unwrap_or_default());
        let mut histogram = Histogram::new(3).ok()?;
        for cell in one.get_array("cells")? {
            let [value, count] = cell.as_array()?.as_slice() else { return None };
            histogram.record_n(value.as_u64()?, count.as_u64()?).ok()?;
        }
        histograms.push((names.join("/").replace([',', '\n', '\r'], ";"), histogram));
    }
    Some(histograms)
}
