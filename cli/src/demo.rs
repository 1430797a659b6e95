//! `kt demo`: the whole tutorial, here and now, against two simulated vendors.
//!
//! What it runs is the real thing: the commands' own code for lint and reload, and this very binary as the gateway, which
//! doesn't know that its vendors are simulated. What it prints in the end it has read from the decision log, and held
//! against what the client saw.

mod gateway;
mod page;
mod place;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kt_core::stats::measure::Measure;
use kt_lab::ask::{self, Answer, Asking, NoAnswer, Questions};
use kt_lab::vendor::{Settings, Vendor};
use kt_proxy::ledger::reader::{Log, Which};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::args::{DemoArgs, GatewayArgs, LintArgs, ReloadArgs, StateArgs};
use crate::events::compare;
use crate::exit::Exit;
use crate::{config, policy};
use gateway::Gateway;
use page::{Page, quoted};
use place::Place;
use tally::Tally;

/// The model group that is asked.
const GROUP: &str = "quality-ab-test";
/// Weights of the two arms, before the reload and after it.
const WEIGHTS: [[u32; 2]; 2] = [[70, 30], [50, 50]];
/// Most requests at a time.
const CONCURRENCY_MAX: u64 = 32;
/// Share of requests that are streamed.
const STREAMED: f64 = 0.4;
/// Share of its requests that one of the vendors fails, as real ones do.
const ERROR_RATE: f64 = 0.01;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the demo looks whether it has been interrupted.
const LOOK: Duration = Duration::from_millis(50);
/// A decision is in the log within 20 ms of its answer; on a busy machine, within this.
const LOG_PATIENCE: Duration = Duration::from_secs(5);
const PROMPTS: [&str; 4] = [
    "In one sentence: why is the sky blue?",
    "Name three rivers of Europe.",
    "Say in a few words what a load balancer does, for somebody who has never seen one.",
    "Translate into French: the early bird catches the worm.",
];

/// What is on while the demo runs. Dropped from the top: the gateway before its vendors.
struct Cast<'a> {
    gateway: Gateway,
    _vendors: [Vendor; 2],
    settings: [Settings; 2],
    place: &'a Place,
    interrupted: &'a AtomicBool,
}

/// Plays it. Whatever goes wrong, or Ctrl-C, ends the gateway and removes the files.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let interrupted = interrupted()?;
    let mut page = Page::new();
    let mut place = Place::make()?;
    let mut cast = raise_the_curtain(args, &place, &interrupted, &mut page)?;

    let before = u64::from(args.requests / 2);
    let mut answers = ask_and_show_the_split(&mut cast, before, &mut page)?;
    answers.extend(ask_across_a_reload(&mut cast, u64::from(args.requests) - before, &mut page)?);
    show_what_came_of_it(&mut cast, &answers, &mut page)?;

    if args.keep {
        leave_it_running(&mut cast, &mut page)?;
    }
    page.heading("The end")?;
    page.command(&format!("kill {}", cast.gateway.pid()))?;
    cast.gateway.drain(&mut page)?;
    drop(cast);
    if args.keep {
        page.line(&format!("✓ Drained. Config and log stay in {}", place.keep().display()))?;
    } else {
        page.line("✓ Drained; the demo's files are removed. `kt demo --keep` leaves it running.")?;
    }
    Ok(Exit::Done)
}

/// Set by Ctrl-C, and by whatever else asks for an end.
fn interrupted() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("cannot wait for Ctrl-C")?;
    }
    Ok(interrupted)
}

fn go_on(interrupted: &AtomicBool) -> anyhow::Result<()> {
    match interrupted.load(Ordering::Relaxed) {
        true => bail!("interrupted; the gateway has been ended and the demo's files are removed"),
        false => Ok(()),
    }
}

/// Vendors, config, lint, gateway.
fn raise_the_curtain<'a>(
    args: &DemoArgs,
    place: &'a Place,
    interrupted: &'a AtomicBool,
    page: &mut Page,
) -> anyhow::Result<Cast<'a>> {
    page.line("The A/B tutorial, on loopback: a real gateway, and two vendors that are simulated.")?;
    page.heading("Two vendors")?;
    let settings = [
        Settings { error_rate: ERROR_RATE, ..Settings::openai(args.seed) },
        Settings::anthropic(args.seed.wrapping_add(1)),
    ];
    let start = |settings: &Settings| Vendor::start(settings.clone()).context("cannot start a simulated vendor");
    let vendors = [start(&settings[0])?, start(&settings[1])?];
    for (name, (vendor, settings)) in place::TARGETS.iter().zip(vendors.iter().zip(&settings)) {
        let (first, per_second) = (settings.first_token_ms.median, 1e3 / settings.token_gap_ms);
        let (address, percent) = (vendor.address(), 1e2 * settings.error_rate);
        page.line(&format!(
            "{name:9}  http://{address}  first token after {first:.0} ms (median), then {per_second:.0} a second, {percent:.0}% errors"
        ))?;
    }

    page.heading("A config that points at them")?;
    place.write_keys(&settings.each_ref().map(|settings| settings.key.as_str()))?;
    place.write_config(&vendors.each_ref().map(Vendor::address), WEIGHTS[0])?;
    let file = place.config();
    page.command(&format!("kt policy lint --file {}", quoted(&file)))?;
    match policy::lint(&LintArgs { files: vec![file.clone()], json: false })? {
        Exit::Done => {}
        Exit::Error | Exit::Warnings | Exit::Usage => bail!("the demo's config is not valid"),
    }

    page.heading("The gateway")?;
    let state = place.state();
    page.command(&format!(
        "kt gateway run --policy-config {} --listen 127.0.0.1:0 --state-dir {}",
        quoted(&file),
        quoted(&state)
    ))?;
    let gateway = Gateway::start(&file, &state, page, || go_on(interrupted))?;
    Ok(Cast { gateway, _vendors: vendors, settings, place, interrupted })
}

fn ask_and_show_the_split(cast: &mut Cast<'_>, count: u64, page: &mut Page) -> anyhow::Result<Vec<Answer>> {
    page.heading(&format!("{count} requests, {:.0}% of them streamed", 1e2 * STREAMED))?;
    page.command(&curl(cast, "…", ""))?;
    let began = Instant::now();
    let answers = ask(cast, count, page, |_, _, _| Ok(()))?;
    page.line(&format!("✓ {count} answers in {:.1} s", began.elapsed().as_secs_f64()))?;
    page.blank()?;
    page.command(&format!(
        "kt events tail --state-dir {} --last {count} --format json | jq -r .model | sort | uniq -c | sort -rn",
        quoted(&cast.place.state())
    ))?;
    let tally = read_log(cast, answers.len(), page)?;
    for (model, requests) in tally.by_model() {
        page.line(&format!("{requests:>7} {model}"))?;
    }
    Ok(answers)
}

/// The weights change when a fifth of the requests is answered, and as many as may are under way.
fn ask_across_a_reload(cast: &mut Cast<'_>, count: u64, page: &mut Page) -> anyhow::Result<Vec<Answer>> {
    let [openai, anthropic] = WEIGHTS[1];
    page.heading(&format!("{count} more, and other weights while they are in flight: {openai}/{anthropic}"))?;
    let reload_at = usize::try_from(count / 5).unwrap_or(usize::MAX);
    ask(cast, count, page, |cast, answered, page| {
        if answered != reload_at {
            return Ok(());
        }
        let state = cast.place.state();
        page.command(&format!("kt config reload --state-dir {}", quoted(&state)))?;
        cast.place.change_weights(WEIGHTS[1])?;
        let gateway = GatewayArgs { state: StateArgs { state_dir: Some(state) }, admin: None };
        match config::reload(&ReloadArgs { gateway })? {
            Exit::Done => Ok(()),
            Exit::Error | Exit::Warnings | Exit::Usage => bail!("the gateway refused to reload"),
        }
    })
}

/// Asks, and calls `at` with the number of answers after each of them. Every answer must be whole.
fn ask(
    cast: &mut Cast<'_>,
    count: u64,
    page: &mut Page,
    mut at: impl FnMut(&mut Cast<'_>, usize, &mut Page) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Answer>> {
    let mut asking: Asking = ask::start(Questions {
        address: cast.gateway.address(),
        key: None,
        model: GROUP.to_owned(),
        prompts: PROMPTS.map(str::to_owned).to_vec(),
        count,
        // Few enough that a reload in the midst leaves some to begin after it.
        concurrency: (count / 5).clamp(1, CONCURRENCY_MAX),
        streamed: STREAMED,
        patience: PATIENCE,
    })
    .context("cannot start to ask")?;
    let mut answers = Vec::new();
    loop {
        go_on(cast.interrupted)?;
        match asking.next_within(LOOK) {
            Ok(answer) => {
                if let Some(flaw) = &answer.flaw {
                    // If it is because the gateway has ended, that is what there is to say.
                    cast.gateway.echo_for(LOOK, page)?;
                    bail!("request {} got no whole answer: {flaw}", answer.nth);
                }
                answers.push(answer);
                page.progress(answers.len() as u64, count);
                at(cast, answers.len(), page)?;
            }
            Err(NoAnswer::Yet) => {}
            Err(NoAnswer::Left) => break,
        }
        cast.gateway.echo(page)?;
    }
    page.clear_progress();
    match answers.len() as u64 == count {
        true => Ok(answers),
        false => bail!("{} of {count} requests were answered", answers.len()),
    }
}

fn show_what_came_of_it(cast: &mut Cast<'_>, answers: &[Answer], page: &mut Page) -> anyhow::Result<()> {
    let tally = read_log(cast, answers.len(), page)?;
    let counted: u64 = answers.iter().map(|answer| answer.tokens).sum();
    if tally.tokens() != counted {
        bail!("the log says {} tokens, the clients were told {counted}", tally.tokens());
    }
    page.line(&format!(
        "✓ {} request(s) were in flight when the weights changed; they ended on the config they had begun with",
        tally.across_the_reload()
    ))?;
    page.heading("What came of it, by the decision log")?;
    tally.print(&mut std::io::stdout().lock())?;
    page.blank()?;
    page.line("Times are of successes, TTFT of the streams among them: all of them, none sampled.")?;
    compare_and_tell_the_truth(cast, page)
}

/// Ends with what a user would ask for, and holds it against what the vendors were told to be like.
fn compare_and_tell_the_truth(cast: &Cast<'_>, page: &mut Page) -> anyhow::Result<()> {
    page.heading("Which one is faster? Since the weights changed:")?;
    let state = cast.place.state();
    page.command(&format!("kt events compare --assume-independent --state-dir {}", quoted(&state)))?;
    let reports = compare::demo(&state, &mut std::io::stdout().lock())?;
    let found = reports.iter().flat_map(|report| &report.comparisons).find(|comparison| comparison.primary);
    let [openai, anthropic] = cast.settings.each_ref().map(median_latency_ms);
    let truth = anthropic / openai;
    page.blank()?;
    page.line(&format!("By their settings the vendors differ in {} by a ratio of {truth:.3}.", Measure::DEFAULT))?;
    match found.map(|comparison| comparison.judgement.interval.holds(truth)) {
        Some(true) => page.line("✓ The bounds hold it.")?,
        Some(false) => page.line("✗ The bounds miss it, as they may in one of forty demos.")?,
        None => page.line("There was nothing to compare.")?,
    }
    Ok(())
}

/// Of a vendor's whole answer: drawn as the vendor draws it, often enough to be off by less than a hundredth.
fn median_latency_ms(settings: &Settings) -> f64 {
    let mut dice = fastrand::Rng::with_seed(settings.seed);
    let mut latency = || {
        let tokens = settings.answer_tokens.draw(&mut dice).round().max(1.0);
        settings.first_token_ms.draw(&mut dice) + settings.token_gap_ms * (tokens - 1.0)
    };
    let mut latencies: Vec<f64> = (0..20_001).map(|_| latency()).collect();
    // A failure is slower than any answer.
    let whole = (latencies.len() as f64 / (1.0 - settings.error_rate) / 2.0) as usize;
    latencies.sort_unstable_by(f64::total_cmp);
    latencies[whole.min(latencies.len() - 1)]
}

/// Reads all decisions, once there are as many as there were answers.
fn read_log(cast: &mut Cast<'_>, decisions: usize, page: &mut Page) -> anyhow::Result<Tally> {
    let log = Log::new(cast.place.state().join("events"));
    let due = Instant::now() + LOG_PATIENCE;
    loop {
        let tally = Tally::read(&mut log.last(u64::MAX, Which::All).context("cannot read the log")?)?;
        match tally.len() {
            found if found == decisions => return Ok(tally),
            found if found > decisions || Instant::now() > due => {
                bail!("{decisions} requests were answered, and the log has {found} decisions")
            }
            _ => cast.gateway.echo_for(LOOK, page)?,
        }
        go_on(cast.interrupted)?;
    }
}

fn leave_it_running(cast: &mut Cast<'_>, page: &mut Page) -> anyhow::Result<()> {
    let (me, state, file) = (page::me(), quoted(&cast.place.state()), quoted(&cast.place.config()));
    page.heading("It goes on. Try, in another terminal:")?;
    page.command(&curl(cast, "Hello!", ""))?;
    page.command(&curl(cast, "Hello!", ", \"stream\": true"))?;
    page.command(&format!("{me} events tail --state-dir {state}"))?;
    page.command(&format!("{me} stats --state-dir {state}"))?;
    page.command(&format!("${{EDITOR:-vi}} {file} && {me} config reload --state-dir {state}"))?;
    page.blank()?;
    page.line("Ctrl-C ends it.")?;
    while !cast.interrupted.load(Ordering::Relaxed) {
        cast.gateway.echo_for(LOOK, page)?;
    }
    Ok(())
}

fn curl(cast: &Cast<'_>, prompt: &str, more: &str) -> String {
    let flags = if more.is_empty() { "" } else { "-N " };
    format!(
        "curl {flags}http://{}/v1/chat/completions -d '{{\"model\": \"{GROUP}\", \"messages\": \
         [{{\"role\": \"user\", \"content\": \"{prompt}\"}}]{more}}}'",
        cast.gateway.address()
    )
}
