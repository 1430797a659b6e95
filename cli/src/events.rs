//! `kt events`: the decision log, for people and for programs.

mod check;
pub(crate) mod compare;
mod export;
mod filter;
mod show;

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fmt};

use anyhow::Context;
use check::{StatsArgs, VerifyArgs};
use clap::{Args, Subcommand, ValueEnum};
use export::ExportArgs;
use filter::{Filter, Sieve, Window};
use kt_core::event::is_decision;
use kt_proxy::ledger::reader::{Lines, Log, Which};
use kt_proxy::state::StateDir;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use show::Colour;
use signal_hook::consts::SIGINT;
use simd_json::BorrowedValue;

/// Read the decision log.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(subcommand)]
    command: EventsCommand,
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    Tail(TailArgs),
    Export(ExportArgs),
    Verify(VerifyArgs),
    Stats(StatsArgs),
    Compare(compare::CompareArgs),
    Plan(compare::PlanArgs),
}

/// Print decisions as they are made, until Ctrl-C; or the last ones; or those of a window of time.
///
/// With --last, --since or --until it prints what there is and exits; --follow goes on from there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    kt events tail\n  \
    kt events tail --last 20 --format json | jq -r .model | sort | uniq -c | sort -rn\n  \
    kt events tail --since 1h --errors --format detailed")]
pub(crate) struct TailArgs {
    /// Print the last N decisions, oldest first, and exit.
    #[arg(long, value_name = "N")]
    last: Option<u64>,

    /// From when to when.
    #[command(flatten)]
    window: Window,

    /// Print at most N, and exit then.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Go on with what comes.
    #[arg(long, short, conflicts_with_all = ["last", "until"])]
    follow: bool,

    /// Which ones.
    #[command(flatten)]
    filter: Filter,

    /// How a decision is printed. JSON is one object a line, as it is stored.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// The log's own records too: which config was in force, and what is missing. Among text they go to stderr.
    #[arg(long)]
    all: bool,

    /// Where the gateway keeps its state.
    #[arg(long, value_name = "DIR", env = "KEEPTRUSTS_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line for people.
    Text,
    /// One object a line for programs.
    Json,
    /// A block for people: policies, assignment, tokens, and where the time went.
    Detailed,
}

/// How often a follower looks for something new. A batch is written within 3 ms of its first answer, and 20 are
/// promised from the answer to here.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Runs `kt events …`.
///
/// # Errors
/// One line that says what is wrong.
pub(crate) fn run(args: &EventsArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        EventsCommand::Tail(args) => tail(args),
        EventsCommand::Export(args) => export::run(args),
        EventsCommand::Verify(args) => check::run_verify(args),
        EventsCommand::Stats(args) => check::run_stats(args),
        EventsCommand::Compare(args) => Ok(compare::run(args)?.into()),
        EventsCommand::Plan(args) => Ok(compare::plan(args)?.into()),
    }
}

fn tail(args: &TailArgs) -> anyhow::Result<ExitCode> {
    let interrupted = interrupted()?;
    let dir = StateDir::locate(args.state_dir.as_deref())?.events();
    let log = Log::new(dir.clone());
    let which = if args.all { Which::All } else { Which::Decisions };
    let now_ns = unix_now_ns();
    let (since_ns, until_ns) = (args.window.since_ns(now_ns), args.window.until_ns(now_ns));
    let mut page = Page {
        format: if args.json { Format::Json } else { args.format },
        colour: Colour::of(io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none()),
        sieve: Sieve::new(args.filter.clone(), until_ns),
        left: args.limit.unwrap_or(u64::MAX),
        out: io::stdout().lock(),
        err: io::stderr(),
        text: String::new(),
    };
    let wanted = |error| unreadable(&dir, error);
    let end = match (args.last, since_ns) {
        // What is filtered can't be counted from the end.
        (Some(count), None) if page.sieve.is_open() => {
            page.print(&mut log.last(count, which).map_err(wanted)?, &interrupted)
        }
        (Some(count), _) => {
            page.print_last(&mut log.since(since_ns.unwrap_or(0), which).map_err(wanted)?, count, &interrupted)
        }
        (None, None) if until_ns.is_none() => {
            let mut lines = log.follow(which).map_err(wanted)?;
            page.follow(&log, &mut lines, &dir, &interrupted)
        }
        (None, _) => {
            let mut lines = log.since(since_ns.unwrap_or(0), which).map_err(wanted)?;
            if args.follow {
                page.follow(&log, &mut lines, &dir, &interrupted)
            } else {
                page.print(&mut lines, &interrupted)
            }
        }
    };
    match end {
        Ok(()) | Err(End::Asked) => Ok(ExitCode::SUCCESS),
        Err(End::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(End::Output(error)) => Err(error).context("can't write the events"),
        Err(End::Log(error)) => Err(unreadable(&dir, error)),
    }
}

/// The wall clock, ns since 1970.
fn unix_now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

fn unreadable(dir: &Path, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("can't read the log in {}", dir.display()))
}

/// Set by the first Ctrl-C, which lets the line at hand be finished. The second one ends the process where it stands,
/// should the reader of our output be stuck.
fn interrupted() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register_conditional_shutdown(SIGINT, 0, Arc::clone(&interrupted))
        .and_then(|_| signal_hook::flag::register(SIGINT, Arc::clone(&interrupted)))
        .context("can't wait for Ctrl-C")?;
    Ok(interrupted)
}

/// Why printing ends before the log does.
#[derive(Debug)]
enum End {
    /// Ctrl-C, or nobody reads our output any more, or it was as much as was asked for.
    Asked,
    /// The log can't be read.
    Log(io::Error),
    /// The output can't be written.
    Output(io::Error),
}

/// What records are printed on.
struct Page<O, E> {
    format: Format,
    colour: Colour,
    sieve: Sieve,
    /// How many may still be printed.
    left: u64,
    out: O,
    err: E,
    /// The record at hand, so that it goes out in one write.
    text: String,
}

impl<O: Write + rustix::fd::AsFd, E: Write> Page<O, E> {
    fn follow(&mut self, log: &Log, lines: &mut Lines, dir: &Path, interrupted: &AtomicBool) -> Result<(), End> {
        if !log.exists().map_err(End::Log)? {
            writeln!(self.err, "Waiting for a log in {}", dir.display()).map_err(End::Output)?;
        }
        loop {
            self.print(lines, interrupted)?;
            let mut out = [PollFd::new(&self.out, PollFlags::empty())];
            // Nothing is polled for but what is always told: that a pipe has no reader any more. A signal ends it too.
            if poll(&mut out, Some(&LOOK_AGAIN)).is_ok_and(|ready| ready > 0) {
                return Err(End::Asked);
            }
        }
    }
}

impl<O: Write, E: Write> Page<O, E> {
    /// Prints the lines that there are.
    fn print(&mut self, lines: &mut Lines, interrupted: &AtomicBool) -> Result<(), End> {
        loop {
            if interrupted.load(Ordering::Relaxed) {
                return Err(End::Asked);
            }
            if self.left == 0 {
                return Err(End::Asked);
            }
            match lines.next_line() {
                Ok(Some(line)) if !self.sieve.wants(line) => {}
                Ok(Some(line)) => {
                    self.left -= 1;
                    self.print_line(line).map_err(End::Output)?;
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(End::Log(error)),
            }
        }
    }

    /// Prints the last `count` of the lines that there are and are wanted.
    fn print_last(&mut self, lines: &mut Lines, count: u64, interrupted: &AtomicBool) -> Result<(), End> {
        let mut last = VecDeque::new();
        while let Some(line) = lines.next_line().map_err(End::Log)? {
            if interrupted.load(Ordering::Relaxed) {
                return Err(End::Asked);
            }
            if self.sieve.wants(line) {
                last.push_back(line.to_vec());
                if last.len() as u64 > count {
                    last.pop_front();
                }
            }
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        last.iter().take(most).try_for_each(|line| self.print_line(line)).map_err(End::Output)
    }

    fn print_line(&mut self, line: &[u8]) -> io::Result<()> {
        match self.format {
            Format::Text => self.print_shown(line, show::text),
            Format::Detailed => self.print_shown(line, show::detailed),
            Format::Json => {
                self.out.write_all(&[line, b"\n"].concat())?;
                self.out.flush()
            }
        }
    }

    fn print_shown(&mut self, line: &[u8], show: fn(&BorrowedValue<'_>, Colour, &mut String)) -> io::Result<()> {
        self.text.clear();
        let mut parsed = line.to_vec();
        let Ok(record) = simd_json::to_borrowed_value(&mut parsed) else {
            return writeln!(self.err, "A line of the log is damaged: {}", show::Plain(&String::from_utf8_lossy(line)));
        };
        if !is_decision(line) {
            show::own_record(&record, &mut self.text);
            return self.err.write_all(self.text.as_bytes());
        }
        show(&record, self.colour, &mut self.text);
        self.out.write_all(self.text.as_bytes())?;
        self.out.flush()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Detailed => "detailed",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LOG: &str = concat!(
        r#"{"event_type":"config","id":"evt_1","log_epoch":1,"seq":1,"timestamp":"2026-11-22T10:36:46.123456Z","config_version":"1-9f","model_groups":[{"name":"ab"}]}"#,
        "\n",
        r#"{"event_type":"decision","id":"evt_2","seq":2,"timestamp":"2026-11-22T10:36:47.123456Z","model":"gpt-4o","tokens":142,"latency_ms":285.123,"policies":[]}"#,
        "\n",
        r#"{"event_type":"decision","id":"evt_3","seq":3,"timestamp""#,
        "\n",
        r#"{"event_type":"gap","id":"evt_4","log_epoch":1,"seq":4,"timestamp":"2026-11-22T10:36:49.123456Z","count":12,"reason":"log_full"}"#,
        "\n",
    );

    #[test]
    fn decisions_go_to_stdout_and_all_else_to_stderr() {
        check(
            Format::Text,
            Which::All,
            "[2026-11-22T10:36:47.123Z] REQUEST id=evt_2 policy=- action=- result=- model=gpt-4o tokens=142 latency=285ms\n",
            concat!(
                "[2026-11-22T10:36:46.123Z] CONFIG id=evt_1 config_version=1-9f model_groups=1\n",
                "A line of the log is damaged: {\"event_type\":\"decision\",\"id\":\"evt_3\",\"seq\":3,\"timestamp\"\n",
                "[2026-11-22T10:36:49.123Z] GAP id=evt_4 count=12 reason=log_full\n",
            ),
        );
    }

    #[test]
    fn json_is_what_the_log_says() {
        check(Format::Json, Which::All, LOG, "");
        let decisions: String = LOG.split_inclusive('\n').filter(|line| is_decision(line.as_bytes())).collect();
        check(Format::Json, Which::Decisions, &decisions, "");
    }

    #[test]
    fn ctrl_c_ends_between_two_lines() {
        let dir = log();
        let mut lines = Log::new(dir.path().into()).last(4, Which::All).unwrap();
        let end = page(Format::Json).print(&mut lines, &AtomicBool::new(true));
        assert!(matches!(end, Err(End::Asked)));
    }

    fn check(format: Format, which: Which, out: &str, err: &str) {
        let dir = log();
        let mut lines = Log::new(dir.path().into()).last(4, which).unwrap();
        let mut page = page(format);
        page.print(&mut lines, &AtomicBool::new(false)).unwrap();
        assert_eq!(String::from_utf8(page.out).unwrap(), out);
        assert_eq!(String::from_utf8(page.err).unwrap(), err);
    }

    fn log() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("events-00000001-0000000000000001.jsonl"), LOG).unwrap();
        dir
    }

    fn page(format: Format) -> Page<Vec<u8>, Vec<u8>> {
        Page {
            format,
            colour: Colour::Off,
            sieve: Sieve::new(Filter::default(), None),
            left: u64::MAX,
            out: Vec::new(),
            err: Vec::new(),
            text: String::new(),
        }
    }
}
