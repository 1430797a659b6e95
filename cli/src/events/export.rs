//! `kt events export`: the decisions of a window of time, as JSON lines, CSV or Parquet.
//!
//! JSON is what the log says, byte for byte. The other two have one column per field, those of nested objects with the
//! object's name in front (`assignment_method`); lists stand as JSON text.

mod parquet;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use kt_core::json::{Kind, Object, Scratch, Value, scan};
use kt_proxy::ledger::reader::{Lines, Log, Which};
use kt_proxy::state::StateDir;

use super::filter::{Filter, Sieve, Window};
use super::unix_now_ns;
use crate::args::StateArgs;
use crate::exit::Exit;

/// Write the decisions of a window of time to a file, for other programs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kt events export --since 7d --format parquet --output week.parquet")]
pub(crate) struct ExportArgs {
    /// What is written.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,

    /// From when to when.
    #[command(flatten)]
    window: Window,

    /// Which ones.
    #[command(flatten)]
    filter: Filter,

    /// Where to; stdout if not said.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The log's own records too.
    #[arg(long)]
    all: bool,

    /// Where the gateway keeps its state.
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One object a line, as it is stored.
    Json,
    /// RFC 4180, with a header.
    Csv,
    /// Apache Parquet, compressed with zstd.
    Parquet,
}

/// A column: its name, where its value lies, and what it is.
#[derive(Clone, Copy, Debug)]
struct Column {
    name: &'static str,
    path: &'static [&'static str],
    content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Text,
    Integer,
    Number,
    Flag,
    /// An RFC 3339 text; in Parquet a timestamp.
    Moment,
    /// Anything, as JSON.
    Json,
}

macro_rules! columns {
    ($( $name:literal = $($step:literal).+ : $content:ident; )*) => {
        const COLUMNS: &[Column] =
            &[ $( Column { name: $name, path: &[$($step),+], content: Content::$content }, )* ];
    };
}

columns! {
    "event_type" = "event_type": Text;
    "id" = "id": Text;
    "log_epoch" = "log_epoch": Integer;
    "seq" = "seq": Integer;
    "timestamp" = "timestamp": Moment;
    "ended_at" = "ended_at": Moment;
    "request_id" = "request_id": Text;
    "upstream_request_id" = "upstream_request_id": Text;
    "client" = "client": Text;
    "endpoint" = "endpoint": Text;
    "model_group" = "model_group": Text;
    "arm" = "arm": Text;
    "target_id" = "target_id": Text;
    "provider" = "provider": Text;
    "model" = "model": Text;
    "upstream_model" = "upstream_model": Text;
    "weight" = "weight": Integer;
    "assignment_method" = "assignment"."method": Text;
    "assignment_slot" = "assignment"."slot": Integer;
    "assignment_unit_hash" = "assignment"."unit_hash": Text;
    "assignment_propensity" = "assignment"."propensity": Number;
    "assignment_epoch" = "assignment"."epoch": Text;
    "config_version" = "config_version": Text;
    "translation" = "translation": Json;
    "stream" = "stream": Flag;
    "status" = "status": Integer;
    "error_side" = "error"."side": Text;
    "error_kind" = "error"."kind": Text;
    "error_phase" = "error"."phase": Text;
    "usage_prompt_tokens" = "usage"."prompt_tokens": Integer;
    "usage_completion_tokens" = "usage"."completion_tokens": Integer;
    "usage_total_tokens" = "usage"."total_tokens": Integer;
    "usage_cached_tokens" = "usage"."cached_tokens": Integer;
    "usage_cache_write_tokens" = "usage"."cache_write_tokens": Integer;
    "usage_reasoning_tokens" = "usage"."reasoning_tokens": Integer;
    "tokens" = "tokens": Integer;
    "usage_source" = "usage_source": Text;
    "cache_write_1h_tokens" = "cache_write_1h_tokens": Integer;
    "cost_picousd" = "cost_picousd": Integer;
    "cost_usd" = "cost_usd": Number;
    "cost_source" = "cost_source": Text;
    "price_version" = "price_version": Text;
    "latency_ms" = "latency_ms": Number;
    "ttft_ms" = "ttft_ms": Number;
    "upstream_ms" = "upstream_ms": Number;
    "connect_ms" = "connect_ms": Number;
    "client_wait_ms" = "client_wait_ms": Number;
    "gateway_overhead_us" = "gateway_overhead_us": Number;
    "gaps_n" = "gaps"."n": Integer;
    "gaps_mean_us" = "gaps"."mean_us": Number;
    "gaps_p99_us" = "gaps"."p99_us": Number;
    "gaps_max_us" = "gaps"."max_us": Number;
    "attempts" = "attempts": Integer;
    "attempt_list" = "attempt_list": Json;
    "retry_count" = "retry_count": Integer;
    "policies" = "policies": Json;
    "verdict" = "verdict": Text;
    "request_body" = "request_body": Text;
    "response_body" = "response_body": Text;
    "cut" = "cut": Flag;
    "unconfirmed" = "unconfirmed": Flag;
    "core" = "core": Integer;
}

impl Column {
    /// Its value in a record; none where it is null or not there.
    fn of<'t>(&self, record: &Object<'t, '_>) -> Option<Value<'t>> {
        let value = record.get(self.path[0])?;
        value.path(&self.path[1..]).filter(|value| !value.is_null())
    }
}

/// Runs `kt events export`.
pub(super) fn run(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let dir = StateDir::locate(args.state.state_dir.as_deref())?.events();
    let now_ns = unix_now_ns();
    let which = if args.all { Which::All } else { Which::Decisions };
    let unreadable = || format!("can't read the log in {}", dir.display());
    let lines = Log::new(dir.clone()).since(args.window.since_ns(now_ns).unwrap_or(0), which);
    let records = Records {
        lines: lines.with_context(unreadable)?,
        sieve: Sieve::new(args.filter.clone(), args.window.until_ns(now_ns)),
    };
    let out: Box<dyn Write + Send> = match &args.output {
        Some(path) => Box::new(File::create(path).with_context(|| format!("can't write {}", path.display()))?),
        None => Box::new(io::stdout()),
    };
    let out = BufWriter::new(out);
    match args.format {
        Format::Json => write_json(records, out),
        Format::Csv => write_csv(records, out),
        Format::Parquet => parquet::write(records, out),
    }?;
    Ok(Exit::Done.into())
}

/// The records that are wanted.
struct Records {
    lines: Lines,
    sieve: Sieve,
}

impl Records {
    fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        while let Some(line) = self.lines.next_line().context("can't read the log")? {
            if self.sieve.wants(line) {
                return Ok(Some(line.to_vec()));
            }
        }
        Ok(None)
    }
}

fn write_json(mut records: Records, mut out: impl Write) -> anyhow::Result<()> {
    while let Some(mut line) = records.next()? {
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(out.flush()?)
}

fn write_csv(mut records: Records, mut out: impl Write) -> anyhow::Result<()> {
    let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    write!(out, "{}\r\n", names.join(","))?;
    let mut scratch = Scratch::default();
    while let Some(line) = records.next()? {
        let record = scan(&line, &mut scratch).map_err(|_| anyhow::anyhow!("a line of the log is damaged"))?;
        for (nth, column) in COLUMNS.iter().enumerate() {
            if nth > 0 {
                out.write_all(b",")?;
            }
            if let Some(value) = column.of(&record) {
                write_cell(value, &mut out)?;
            }
        }
        out.write_all(b"\r\n")?;
    }
    Ok(out.flush()?)
}

/// A text by its characters, everything else by its JSON; in quotes where it has to be.
fn write_cell(value: Value<'_>, out: &mut impl Write) -> io::Result<()> {
    let text = match value.kind() {
        Kind::String => value.to_str().unwrap_or_default(),
        Kind::Object | Kind::Array | Kind::Number | Kind::Bool | Kind::Null => String::from_utf8_lossy(value.raw()),
    };
    if text.contains([',', '"', '\r', '\n']) {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        out.write_all(text.as_bytes())
    }
}
