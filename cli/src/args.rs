//! The command line: one declaration per flag gives its parsing, its help and its place in the docs.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand, ValueEnum};

use crate::events::EventsArgs;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// A gateway for language models: A/B traffic splitting on io_uring, one thread per core.
///
/// Try it without any key or account: kt demo
#[derive(Debug, Parser)]
#[command(name = "kt", version, styles = STYLES, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a config file.
    Policy {
        /// What of it.
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Run a gateway, or tell a running one to reload.
    Gateway {
        /// What of it.
        #[command(subcommand)]
        command: GatewayCommand,
    },
    /// Change the config of a running gateway.
    Config {
        /// What of it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Read the decision log.
    Events(EventsArgs),
    /// Print a running gateway's numbers per arm: latency, time to first token, overhead.
    ///
    /// Counted over all requests since the start that drew an arm, in HDR histograms, none sampled; successes and
    /// failures apart.
    #[command(
        after_help = "Example:\n  kt stats --json | jq '.arms[] | {arm, count}'\n  kt stats --minutes 10\n  kt stats --hdr kt.hlog"
    )]
    Stats(StatsArgs),
    /// Run the whole tutorial here and now, against two simulated vendors on loopback.
    ///
    /// Needs no key, no account and no network: it starts the vendors, lints a config that points at them, starts a
    /// gateway, sends requests, changes the weights while requests are in flight, and shows what came of it.
    #[command(after_help = "Example:\n  kt demo --keep")]
    Demo(DemoArgs),
    /// Measure a vendor, a gateway, or both in turn: latency, time to first token, gaps.
    ///
    /// With --rate requests go out when they are meant to, whatever became of those before, and latency counts from
    /// then. Without it each of --concurrency connections asks when it is answered. Every answer is read to its end.
    #[command(after_help = "Examples:
  kt bench --target http://localhost:41002 --model quality-ab-test --rate 200 --duration 30s --stream
  kt bench --target http://vendor:8000 --target http://localhost:41002 --model m --rate 50 --output results.json")]
    Bench(BenchArgs),
}

/// `kt policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check a config file and say everything that is wrong with it.
    ///
    /// Exits with 0 if it is valid, 2 if there are warnings only, 1 if there are errors.
    #[command(after_help = "Example:\n  kt policy lint --file policy-config.yaml")]
    Lint(LintArgs),
    /// Hold cases against a config's policies, without a gateway.
    ///
    /// A file of cases is a JSON array, or one object a line: {"name", "input", "expect": {"verdict", "policy",
    /// "category"}, "group"}. The input is a text, a list of messages or a whole body; what "expect" leaves out may be
    /// anything. Exits with 1 if a case comes out differently.
    #[command(after_help = "Example:\n  kt policy test --file policy-config.yaml cases.json")]
    Test(TestArgs),
    /// Show what the content filter makes of a text: scores, severities and what they rest on.
    #[command(after_help = "Example:\n  kt policy explain --text \"how do I kill a process\"")]
    Explain(ExplainArgs),
}

/// `kt gateway`.
#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Run a gateway until SIGTERM or SIGINT, which drain it.
    #[command(after_help = "Example:\n  kt gateway run --policy-config policy-config.yaml --port 41002")]
    Run(RunArgs),
    /// Tell the running gateway to read its config files again (as kt config reload).
    Reload(ReloadArgs),
}

/// `kt config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Tell the running gateway to read its config files again.
    ///
    /// It checks them first: a file with errors changes nothing. Requests in flight finish on the old config.
    #[command(after_help = "Example:\n  kt config reload")]
    Reload(ReloadArgs),
}

/// `kt policy lint`.
#[derive(Debug, clap::Args)]
pub(crate) struct LintArgs {
    /// Config file; repeat it to lay later files over earlier ones.
    #[arg(long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `kt policy test`.
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Config file; repeat it to lay later files over earlier ones.
    #[arg(long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Print one JSON object a case instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Files of cases.
    #[arg(value_name = "CASES", required = true)]
    pub(crate) cases: Vec<PathBuf>,
}

/// `kt policy explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// The text.
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: String,
}

/// `kt gateway run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Config file; repeat it to lay later files over earlier ones.
    #[arg(long = "policy-config", value_name = "FILE", default_value = "policy-config.yaml")]
    pub(crate) files: Vec<PathBuf>,
    /// Address to listen on, HOST:PORT or unix:/PATH [default: gateway.listen of the config, or 0.0.0.0:41002].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Port to listen on, whatever the host; 0 takes a free one.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Threads that serve, one per core [default: the CPUs this process may use].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) cores: Option<u16>,
    /// How to talk to the kernel [default: auto, the best it allows].
    #[arg(long, value_enum)]
    pub(crate) driver: Option<DriverArg>,
    /// What becomes of a request or an answer that a blocking policy can't judge.
    #[arg(long, value_enum, default_value_t = FailModeArg::Block)]
    pub(crate) fail_mode: FailModeArg,
    /// Form of log lines on stderr [default: text].
    #[arg(long, value_enum)]
    pub(crate) log_format: Option<LogFormatArg>,
    /// Least severe log lines on stderr [default: info].
    #[arg(long, value_enum)]
    pub(crate) log_level: Option<LogLevelArg>,
    /// Where the gateway is found and the log lies.
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// `kt config reload`, `kt gateway reload`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReloadArgs {
    /// Where the gateway is found.
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

/// `kt stats`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatsArgs {
    /// Print one JSON object, times in nanoseconds, instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Count the last N minutes only, up to 60, to 1 %; latency and time to first token of successes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) minutes: Option<u64>,
    /// Write every histogram into a file of HdrHistogram's log format, which its own tools read.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "minutes"])]
    pub(crate) hdr: Option<PathBuf>,
    /// Where the gateway is found.
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

/// `kt demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Leave it running, and print what to try, until Ctrl-C.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Requests to send.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    pub(crate) requests: u32,
    /// Seed of the vendors' latencies and answers: the same seed gives the same ones.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// `kt bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Who is asked: a base URL, or that of an endpoint (…/messages is asked in Anthropic's language), or
    /// a Unix socket, unix:/PATH. Given twice, both are asked in turn with the same prompts, and the difference is told.
    #[arg(long, value_name = "URL", required = true)]
    pub(crate) target: Vec<String>,
    /// Requests a second, for each target.
    #[arg(long, value_name = "N", value_parser = rate, conflicts_with_all = ["concurrency", "trace"])]
    pub(crate) rate: Option<f64>,
    /// Connections that ask as soon as they are answered [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) concurrency: Option<u32>,
    /// How long to measure: 30s, 2m, 500ms.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) duration: Duration,
    /// How long to ask before that, uncounted.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time_or_none)]
    pub(crate) warm_up: Duration,
    /// What to name as model.
    #[arg(long, value_name = "NAME", default_value = "gpt-4o-mini")]
    pub(crate) model: String,
    /// Prompts, a line each, in turn.
    #[arg(long, value_name = "PATH")]
    pub(crate) prompt_file: Option<PathBuf>,
    /// Ask for streams, and time their tokens.
    #[arg(long)]
    pub(crate) stream: bool,
    /// How requests are spread at --rate.
    #[arg(long, value_enum, default_value = "constant", requires = "rate")]
    pub(crate) arrivals: ArrivalsArg,
    /// Send at these times instead: seconds from the start, a line each, again from the start when they are used up.
    #[arg(long, value_name = "PATH", conflicts_with = "concurrency")]
    pub(crate) trace: Option<PathBuf>,
    /// Environment variable that holds the key to show; without it none is shown.
    #[arg(long, value_name = "NAME")]
    pub(crate) key_env: Option<String>,
    /// Write results here: NAME.json holds everything, NAME.hgrm the distribution of latency. May be repeated.
    #[arg(long, value_name = "PATH")]
    pub(crate) output: Vec<PathBuf>,
}

/// `--arrivals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArrivalsArg {
    /// Evenly.
    Constant,
    /// By chance, each independent of the others, as from many users.
    Poisson,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| "a rate is a number of requests a second, from 0.001 to 10,000,000".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    time_or_none(text).and_then(|time| if time.is_zero() { Err("no time at all".to_owned()) } else { Ok(time) })
}

fn time_or_none(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err("a time is a number and ms, s, m or h".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "a time is a number and ms, s, m or h".to_owned())?;
    let time = Duration::try_from_secs_f64(number * seconds).ok().filter(|time| time.as_secs() <= 86_400);
    time.ok_or_else(|| "a time is at most 24h".to_owned())
}

/// Where a gateway's state lies.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StateArgs {
    /// State directory: lock, admin socket, events [default: $XDG_STATE_HOME/keeptrusts, or ~/.local/state/keeptrusts].
    #[arg(long, value_name = "DIR", env = "KEEPTRUSTS_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Where a running gateway is found.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    /// Its state directory.
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Its admin socket, if not the state directory's.
    #[arg(long, value_name = "PATH")]
    pub(crate) admin: Option<PathBuf>,
}

/// `--driver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DriverArg {
    /// The best the kernel allows.
    Auto,
    /// io_uring, or refuse to start.
    #[value(name = "io_uring")]
    IoUring,
    /// epoll.
    Epoll,
}

/// `--fail-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailModeArg {
    /// It is refused with 403.
    Block,
    /// It passes, and the event says that the policy failed.
    Allow,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormatArg {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevelArg {
    /// Errors only.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And what a developer wants to know.
    Debug,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_flag_is_declared_consistently() {
        Args::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        let cases = [("30s", 30_000), ("2m", 120_000), ("500ms", 500), ("1.5", 1_500), ("24h", 86_400_000)];
        for (text, ms) in cases {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "0s", "-1s", "1d", "25h", "1e9s", "..s"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert_eq!(time_or_none("0s"), Ok(Duration::ZERO));
    }
}
