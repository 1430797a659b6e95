//! `kt-lab`: the lab's parts from the command line, each by itself, and the comparison that uses them all.

mod compare;

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use kt_core::dialect::{self, Dialect};
use kt_lab::cpu::{Usage, resident_bytes};
use kt_lab::load::{Check, Load, Outcome, Pattern, Question, Target, Verdict, authority};
use kt_lab::rig::Rig;
use kt_lab::vendor::LogNormal;
use kt_lab::vendor::quick::{Delay, QuickVendor, Settings, whole_body};
use kt_lab::{cores, pump};
use kt_proxy::listen::Address;

use compare::{CompareArgs, InstallArgs};

/// Measures gateways, and what stands around them.
#[derive(Debug, Parser)]
#[command(name = "kt-lab", version, max_term_width = 100)]
enum Args {
    /// Forward bytes and do nothing else, until killed.
    Pump(PumpArgs),
    /// Answer as a vendor, until killed.
    Vendor(VendorArgs),
    /// Ask, check every answer, and say what came of it.
    Load(LoadArgs),
    /// Measure all gateways that are installed, side by side.
    Compare(CompareArgs),
    /// Install the peers that aren't there yet.
    Install(InstallArgs),
}

#[derive(Debug, clap::Args)]
struct PumpArgs {
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to forward to.
    #[arg(long, value_name = "HOST:PORT")]
    to: SocketAddr,
}

#[derive(Debug, clap::Args)]
struct VendorArgs {
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What it answers.
    #[command(flatten)]
    answers: AnswerArgs,
}

#[derive(Clone, Debug, clap::Args)]
struct AnswerArgs {
    /// Speak Anthropic's language instead of OpenAI's.
    #[arg(long)]
    anthropic: bool,
    /// Time to the answer or to its first event, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    delay_ms: f64,
    /// Draw it, with this standard deviation of its logarithm, and `--delay-ms` as the median.
    #[arg(long, value_name = "S")]
    sigma: Option<f64>,
    /// Content events of a stream.
    #[arg(long, value_name = "N", default_value_t = 100)]
    events: usize,
    /// Time between them, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    gap_ms: f64,
}

#[derive(Debug, clap::Args)]
struct LoadArgs {
    /// Who is asked, at HOST:PORT or unix:/PATH. Without it, a vendor beside the load.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<Address>,
    /// Where the vendor beside the load listens: a gateway forwards to it.
    #[arg(long, value_name = "HOST:PORT")]
    vendor: Option<SocketAddr>,
    /// What that vendor answers.
    #[command(flatten)]
    answers: AnswerArgs,
    /// The path.
    #[arg(long, default_value = "/v1/chat/completions")]
    path: String,
    /// What to name as model.
    #[arg(long, default_value = "gpt-4o-mini")]
    model: String,
    /// A field for each request; may be repeated.
    #[arg(long, value_name = "NAME: VALUE")]
    field: Vec<String>,
    /// Requests a second at times drawn by chance; without it each connection asks when it is answered.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Connections.
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,
    /// Length of a request's body.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    body: usize,
    /// Ask for streams.
    #[arg(long)]
    stream: bool,
    /// Seconds that count.
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    warm_up: f64,
    /// A process whose CPU time and memory is told, with its threads and children; may be repeated.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Insist on the vendor's very bytes, not on its stamp alone.
    #[arg(long)]
    exact: bool,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has gone, as `head` does: that is an end, not an error.
        Err(error) if error.chain().any(is_closed_pipe) => ExitCode::SUCCESS,
        Err(error) => {
            // With the reader of stderr gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn run(args: Args) -> anyhow::Result<()> {
    match args {
        Args::Pump(args) => {
            kt_lab::raise_open_files()?;
            let listener = kt_lab::listen(args.listen).context("cannot listen")?;
            writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
            Ok(pump::run(&listener, args.to)?)
        }
        Args::Vendor(args) => {
            kt_lab::raise_open_files()?;
            let listener = kt_lab::listen(args.listen).context("cannot listen")?;
            let vendor = QuickVendor::start(listener, args.answers.settings())?;
            writeln!(io::stdout(), "listening on {}", vendor.address())?;
            loop {
                thread::park();
            }
        }
        Args::Load(args) => ask(&args),
        Args::Compare(args) => compare::run(&args),
        Args::Install(args) => compare::install(&args),
    }
}

impl AnswerArgs {
    fn settings(&self) -> Settings {
        let delay = match self.sigma {
            None => Delay::Fixed(Duration::from_secs_f64(self.delay_ms / 1e3)),
            Some(sigma) => Delay::Drawn(LogNormal { median: self.delay_ms, sigma }),
        };
        Settings {
            dialect: if self.anthropic { Dialect::Anthropic } else { Dialect::OpenAi },
            delay,
            events: self.events,
            gap: Duration::from_secs_f64(self.gap_ms / 1e3),
            ..Settings::default()
        }
    }
}

fn ask(args: &LoadArgs) -> anyhow::Result<()> {
    kt_lab::raise_open_files()?;
    let settings = args.answers.settings();
    let vendor = args.vendor.or_else(|| args.to.is_none().then_some(SocketAddr::from(([127, 0, 0, 1], 0))));
    let rig = Rig::start(vendor.map(|address| (address, settings.clone())).into_iter().collect(), cores::allowed()?)?;
    let beside = || rig.vendors().first().copied().map(Address::Ip);
    let address = args.to.clone().or_else(beside).context("nobody to ask")?;
    let fields = args.field.iter().map(|field| field.split_once(':').context("a field is NAME: VALUE"));
    let fields = fields.map(|field| field.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())));
    let path = match settings.dialect {
        Dialect::Anthropic if args.to.is_none() => dialect::path(Dialect::Anthropic).to_owned(),
        _ => args.path.clone(),
    };
    let target = Target {
        authority: authority(&address),
        address,
        path,
        fields: fields.collect::<anyhow::Result<_>>()?,
        tls: None,
        model: args.model.clone(),
        dialect: settings.dialect,
    };
    let events = settings.events as u64;
    let (before, after) = whole_body(&settings);
    let load = Load {
        targets: vec![target],
        pattern: args.rate.map_or(Pattern::Closed, |rate| Pattern::Poisson { rate, seed: 1 }),
        connections: args.connections,
        keep_alive: true,
        warm_up: Duration::from_secs_f64(args.warm_up),
        duration: Duration::from_secs_f64(args.seconds),
        patience: Duration::from_secs(60),
        question: Question::of_bytes(args.body, args.stream),
        check: if args.exact { Check::Exact { events, before, after } } else { Check::Stamped { events } },
    };
    let loading = rig.load(load);
    pause(args.warm_up);
    let read = || args.pid.iter().map(|&pid| Usage::of_tree(pid)).collect::<Result<Vec<_>, _>>();
    let count = || {
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        (read(&loading.progress().answered), read(&loading.progress().events))
    };
    let (usages, (answered, events)) = (read()?, count());
    pause(args.seconds);
    let (later, (answered_later, events_later)) = (read()?, count());
    let (answered, events) = (answered_later - answered, events_later - events);
    let outcomes = loading.wait(Duration::from_secs(90)).context("the load has not ended")?;
    let mut out = io::stdout().lock();
    print(&outcomes[0], &mut out)?;
    for (pid, (before, after)) in args.pid.iter().zip(usages.iter().zip(&later)) {
        let used = after.since(before);
        let resident = resident_bytes(*pid)? as f64 / 1_048_576.0;
        let per = |count: u64| used.cpu_ns as f64 / 1e3 / count.max(1) as f64;
        writeln!(
            out,
            "process {pid}: {:.2} µs of CPU per request, {:.2} per event, {:.1} % of a core, {resident:.1} MiB resident",
            per(answered),
            per(events),
            used.cpu_ns as f64 / args.seconds / 1e7,
        )?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this thread has no reactor, and nothing else to do")]
fn pause(seconds: f64) {
    thread::sleep(Duration::from_secs_f64(seconds));
}

fn print(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let rate = outcome.rate();
    writeln!(out, "{} answers, {rate:.0} a second; {} failed", outcome.answered, outcome.failures())?;
    for (why, count) in &outcome.failed {
        writeln!(out, "  {count} × {why}")?;
    }
    let rows = [
        ("latency", &outcome.latency),
        ("first event", &outcome.first),
        ("gap", &outcome.gap),
        ("between load and vendor", &outcome.between),
        ("an event's way", &outcome.transit),
        ("added gap", &outcome.added_gap),
        ("lateness", &outcome.lateness),
    ];
    writeln!(out, "{:24} {:>10} {:>10} {:>10} {:>10} {:>10}  µs", "", "p50", "p90", "p99", "p99.9", "max")?;
    for (name, hist) in rows.into_iter().filter(|(_, hist)| hist.count() > 0) {
        let cells = [0.5, 0.9, 0.99, 0.999].map(|quantile| hist.at(quantile)).into_iter().chain([hist.max()]);
        let cells: String = cells.map(|ns| format!(" {:>10.1}", ns as f64 / 1e3)).collect();
        writeln!(out, "{name:24}{cells}")?;
    }
    writeln!(out, "the load used {:.0} % of a core", outcome.busy() * 100.0)?;
    if let Verdict::Doubtful(doubts) = outcome.verdict() {
        doubts.iter().try_for_each(|doubt| writeln!(out, "doubtful: {doubt}"))?;
    }
    Ok(())
}
