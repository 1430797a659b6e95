//! `kt bench`: load on a vendor, on a gateway, or on both in turn, and what came of it.
//!
//! In the open loop (`--rate`) latency counts from the moment at which a request was meant to go out: a stall shows in all
//! that it held up. With two targets each request of the one has a twin at the other, sent right after it with the same
//! prompt, and what is told is the difference of twins.

mod report;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kt_core::dialect::Dialect;
use kt_lab::load::{self, Check, Load, Loading, Outcome, Pattern, Question, Target};

use crate::args::{ArrivalsArg, BenchArgs};
use crate::exit::Exit;

/// What is asked when no file says otherwise.
const PROMPT: &str = "In one sentence: why is the sky blue?";
/// Longest answer that is asked for where the language wants to be told.
const TOKENS_MAX: u64 = 256;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// In the open loop, how many requests may be under way at once.
const CONNECTIONS_MAX: usize = 8_192;
/// How often the bar is drawn.
const DRAW: Duration = Duration::from_millis(200);

/// Runs it.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    let outputs = args.output.iter().map(|path| report::Form::of(path).map(|form| (form, path)));
    let outputs: Vec<(report::Form, &PathBuf)> = outputs.collect::<anyhow::Result<_>>()?;
    let load = load(args)?;
    // Each connection is a file; where no more may be open, connections fail and are told.
    drop(kt_lab::raise_open_files());
    let loading = load::start(load.clone()).context("cannot start to ask")?;
    let outcomes = wait(&loading, &load)?;
    report::print(&mut io::stdout().lock(), args, &outcomes)?;
    for (form, path) in outputs {
        report::write(form, path, args, &outcomes)?;
    }
    match outcomes.iter().all(|outcome| outcome.answered > 0) {
        true => Ok(Exit::Done),
        false => bail!("a target gave no answer that could be counted"),
    }
}

fn load(args: &BenchArgs) -> anyhow::Result<Load> {
    let key = args.key_env.as_ref().map(|name| std::env::var(name).with_context(|| format!("there is no ${name}")));
    let key = key.transpose()?;
    if args.target.len() > 2 {
        bail!("one target, or two to compare; {} were named", args.target.len());
    }
    let target = |url: &String| Target::of_url(url, &args.model, key.as_deref()).map_err(anyhow::Error::msg);
    let targets = args.target.iter().map(target).collect::<anyhow::Result<Vec<Target>>>()?;
    let wants_most = targets.iter().any(|target| target.dialect == Dialect::Anthropic);
    let question = Question {
        prompts: prompts(args)?,
        stream: args.stream,
        tokens_max: wants_most.then_some(TOKENS_MAX),
        is_numbered: false,
        wish: None,
    };
    // Each target has the rate that was asked for.
    let rate = args.rate.map(|rate| rate * targets.len() as f64);
    let pattern = match (rate, &args.arrivals) {
        (None, _) => Pattern::Closed,
        (Some(rate), ArrivalsArg::Constant) => Pattern::Constant { rate },
        (Some(rate), ArrivalsArg::Poisson) => Pattern::Poisson { rate, seed: 1 },
    };
    let pattern = match &args.trace {
        Some(file) => Pattern::Trace { times: trace(file)? },
        None => pattern,
    };
    let closed = args.concurrency.unwrap_or(1) as usize;
    Ok(Load {
        targets,
        connections: if pattern == Pattern::Closed { closed } else { CONNECTIONS_MAX },
        pattern,
        keep_alive: true,
        warm_up: args.warm_up,
        duration: args.duration,
        patience: PATIENCE,
        question,
        check: Check::Whole,
    })
}

/// A prompt a line; blank lines are none.
fn prompts(args: &BenchArgs) -> anyhow::Result<Vec<String>> {
    let Some(file) = &args.prompt_file else { return Ok(vec![PROMPT.to_owned()]) };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let prompts: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if prompts.is_empty() { bail!("{} holds no prompt", file.display()) } else { Ok(prompts) }
}

/// Seconds from the start, a line each.
fn trace(file: &PathBuf) -> anyhow::Result<Vec<Duration>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut times = Vec::new();
    for (nth, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let time = line.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        times.push(time.with_context(|| format!("{}:{nth}: a time is seconds from the start", file.display()))?);
    }
    times.sort();
    match times.last() {
        Some(last) if !last.is_zero() => Ok(times),
        Some(_) | None => bail!("{} holds no time after the start", file.display()),
    }
}

/// Waits for the end, with a bar on a terminal.
fn wait(loading: &Loading, load: &Load) -> anyhow::Result<Vec<Outcome>> {
    let (began, whole) = (Instant::now(), load.warm_up + load.duration);
    let is_terminal = io::stderr().is_terminal();
    loop {
        if let Some(outcomes) = loading.wait(DRAW) {
            if is_terminal {
                eprint!("\r\x1b[K");
            }
            return Ok(outcomes);
        }
        let elapsed = began.elapsed();
        if elapsed > whole + PATIENCE + Duration::from_secs(5) {
            bail!("the load has not ended {} s after its time", (elapsed - whole).as_secs());
        }
        if is_terminal {
            let (answered, failed) = (&loading.progress().answered, &loading.progress().failed);
            let (answered, failed) = (answered.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
            eprint!("\r\x1b[K{}", report::bar(elapsed, whole, answered, failed));
            // A bar that can't be drawn is missed by nobody.
            let _ = io::stderr().flush();
        }
    }
}
