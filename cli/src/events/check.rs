//! `kt events verify` and `kt events stats`: whether the log is what was written, and what there is of it.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use kt_core::event::write_rfc3339;
use kt_core::json::escape_into;
use kt_proxy::ledger::verify::{Report, hex, verify};
use kt_proxy::state::StateDir;

use crate::args::StateArgs;
use crate::exit::Exit;

/// Hold every byte of the log against its indexes; exit 1 if anything was changed, lost or swapped.
///
/// It prints the head of the chain: kept elsewhere, it shows later that nothing before it has been rewritten. The gateway
/// may be running.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kt events verify | tee -a /mnt/elsewhere/heads.txt")]
pub(crate) struct VerifyArgs {
    /// One JSON object.
    #[arg(long)]
    json: bool,

    /// Where the gateway keeps its state.
    #[command(flatten)]
    state: StateArgs,
}

/// Show what there is of the log: segments, sizes, span, gaps and losses.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kt events stats --json | jq '{decisions, gaps, lost}'")]
pub(crate) struct StatsArgs {
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,

    /// Where the gateway keeps its state.
    #[command(flatten)]
    state: StateArgs,
}

/// Runs `kt events verify`.
pub(crate) fn run_verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let report = read(&args.state)?;
    let mut out = io::stdout().lock();
    if args.json {
        out.write_all(&to_json(&report))?;
    } else {
        for damage in &report.damage {
            let byte = damage.byte.map_or_else(String::new, |byte| format!(" at byte {byte}"));
            writeln!(io::stderr(), "{}{byte}: {}", damage.file, damage.what)?;
        }
        let (segments, records) = (report.segments.len(), report.records);
        match report.head {
            Some((log_epoch, seq, chain)) if report.damage.is_empty() => {
                writeln!(out, "✓ {records} record(s) in {segments} segment(s) are as they were written")?;
                writeln!(out, "{} requests are counted in gaps, {} were lost to crashes", report.gaps, report.lost)?;
                writeln!(out, "head {log_epoch}-{seq} {}", hex(&chain))?;
            }
            None if report.damage.is_empty() => writeln!(out, "There is no record to verify")?,
            _ => writeln!(out, "✗ {} damaged place(s)", report.damage.len())?,
        }
    }
    Ok(if report.damage.is_empty() { Exit::Done } else { Exit::Error }.into())
}

/// Runs `kt events stats`.
pub(crate) fn run_stats(args: &StatsArgs) -> anyhow::Result<ExitCode> {
    let report = read(&args.state)?;
    let mut out = io::stdout().lock();
    if args.json {
        out.write_all(&to_json(&report))?;
        return Ok(Exit::Done.into());
    }
    writeln!(out, "{:<42} {:>14} {:>14} {:>10}  from … to", "segment", "bytes", "on disk", "records")?;
    for it in &report.segments {
        let span = it.span_ns.map_or_else(String::new, |(from, to)| format!("{} … {}", moment(from), moment(to)));
        let records = (it.last_seq + 1).saturating_sub(it.first_seq);
        writeln!(out, "{:<42} {:>14} {:>14} {records:>10}  {span}", it.segment, it.bytes, it.file_bytes)?;
    }
    for (name, count) in [
        ("decisions", report.decisions),
        ("the log's own records", report.records - report.decisions),
        ("requests counted in gaps", report.gaps),
        ("requests lost to crashes", report.lost),
        ("bytes set aside as torn", report.torn_bytes),
        ("segments removed by retention", report.removed),
        ("damaged places (see kt events verify)", report.damage.len() as u64),
    ] {
        writeln!(out, "{name:<42} {count:>14}")?;
    }
    Ok(Exit::Done.into())
}

fn read(state: &StateArgs) -> anyhow::Result<Report> {
    let dir = StateDir::locate(state.state_dir.as_deref())?.events();
    verify(&dir).with_context(|| format!("can't read the log in {}", dir.display()))
}

fn moment(unix_ns: u64) -> String {
    let mut text = Vec::new();
    write_rfc3339(unix_ns, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

fn to_json(report: &Report) -> Vec<u8> {
    let Report { damage, segments, records, decisions, gaps, lost, torn_bytes, removed, head } = report;
    let mut out = format!(
        "{{\"ok\":{},\"records\":{records},\"decisions\":{decisions},\"gaps\":{gaps},\"lost\":{lost},\
         \"torn_bytes\":{torn_bytes},\"removed_segments\":{removed},\"head\":",
        damage.is_empty()
    )
    .into_bytes();
    match head {
        Some((log_epoch, seq, chain)) => {
            let chain = hex(chain);
            out.extend(format!("{{\"log_epoch\":{log_epoch},\"seq\":{seq},\"chain\":\"{chain}\"}}").into_bytes());
        }
        None => out.extend(b"null"),
    }
    out.extend(b",\"damage\":[");
    for (nth, damage) in damage.iter().enumerate() {
        out.extend(if nth > 0 { &b",{\"file\":"[..] } else { b"{\"file\":" });
        escape_into(&mut out, &damage.file);
        let byte = damage.byte.map_or_else(|| "null".to_owned(), |byte| byte.to_string());
        out.extend(format!(",\"byte\":{byte},\"what\":").into_bytes());
        escape_into(&mut out, &damage.what);
        out.push(b'}');
    }
    out.extend(b"],\"segments\":[");
    for (nth, it) in segments.iter().enumerate() {
        let comma = if nth > 0 { "," } else { "" };
        let (from, to) = it.span_ns.map_or((None, None), |(from, to)| (Some(moment(from)), Some(moment(to))));
        let text = |text: Option<String>| text.map_or_else(|| "null".to_owned(), |text| format!("\"{text}\""));
        out.extend(
            format!(
                "{comma}{{\"segment\":\"{}\",\"bytes\":{},\"file_bytes\":{},\"first_seq\":{},\"last_seq\":{},\
                 \"from\":{},\"to\":{},\"packed\":{}}}",
                it.segment,
                it.bytes,
                it.file_bytes,
                it.first_seq,
                it.last_seq,
                text(from),
                text(to),
                it.packed
            )
            .into_bytes(),
        );
    }
    out.extend(b"]}\n");
    out
}
