//! `kt stats`: a running gateway's histograms, merged over its cores.

use std::io::{self, Write};

use anyhow::{Context, bail};
use simd_json::BorrowedValue;
use simd_json::prelude::*;

use crate::args::StatsArgs;
use crate::control;
use crate::exit::Exit;
use crate::table::{self, Align};

const QUANTILES: [&str; 5] = ["p50", "p90", "p99", "p999", "max"];

/// Prints a row per arm and measure, or the gateway's JSON as it is.
pub(crate) fn print(args: &StatsArgs) -> anyhow::Result<Exit> {
    let mut answer = control::ask(&args.gateway, "GET", "/stats")?;
    if answer.status != 200 {
        bail!("the gateway answered {}", answer.status);
    }
    let mut out = io::stdout().lock();
    if args.json {
        out.write_all(&answer.body)?;
        return Ok(Exit::Done);
    }
    let stats = simd_json::to_borrowed_value(&mut answer.body).context("the gateway's answer is not JSON")?;
    let mut rows = Vec::new();
    for arm in stats.get_array("arms").into_iter().flatten() {
        for (measure, key) in [("latency", "latency_ns"), ("ttft", "ttft_ns"), ("overhead", "overhead_ns")] {
            if let Some(row) = row(arm, measure, key) {
                rows.push(row);
            }
        }
    }
    if rows.is_empty() {
        writeln!(out, "No request has drawn an arm yet.")?;
        return Ok(Exit::Done);
    }
    let mut head = vec![("GROUP", Align::Left), ("ARM", Align::Left), ("MEASURE", Align::Left)];
    head.extend(["COUNT", "ERRORS", "P50", "P90", "P99", "P99.9", "MAX"].map(|name| (name, Align::Right)));
    table::print(&mut out, &head, &rows)?;
    Ok(Exit::Done)
}

/// None where nothing was measured, as a time to first token without streams.
fn row(arm: &BorrowedValue<'_>, measure: &str, key: &str) -> Option<Vec<String>> {
    let quantiles = arm.get(key)?;
    let count = quantiles.get_u64("count")?;
    if count == 0 && measure != "latency" {
        return None;
    }
    let mut row = vec![
        arm.get_str("group")?.to_owned(),
        arm.get_str("arm")?.to_owned(),
        measure.to_owned(),
        count.to_string(),
        arm.get_u64("errors")?.to_string(),
    ];
    for quantile in QUANTILES {
        row.push(table::duration(quantiles.get_u64(quantile)?));
    }
    Some(row)
}
