//! `kt-lab compare`: all gateways that are installed, side by side in one run.
//!
//! Case by case, and within a case in rounds; in each round every peer is measured once, in an order drawn anew. While one
//! is measured the others are held, on one core all of them; load and vendors have the other cores. First of all comes the
//! gateway against itself, which says what a difference has to exceed to be one.

mod cases;
mod machine;
mod measure;
mod peers;
mod plot;
mod report;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fastrand::Rng;
use kt_core::config::file::TlsFiles;
use kt_core::dialect::Dialect;
use kt_lab::cores;
use kt_lab::json::Json;
use kt_lab::rig::Rig;
use kt_lab::stats::{Interval, median};
use kt_lab::vendor::quick::{Settings, whole_body};
use kt_proxy::tls::listener_config;

use cases::{CASES, Case, Kind};
use machine::Machine;
use measure::{Asked, Plan, Sample};
use peers::{Names, Peer, Running};
use report::{Metric, Row, Sheet, with_ends};

/// What a measurement takes beside what counts: the load's end, reading, letting go on and holding.
const AROUND: Duration = Duration::from_millis(700);
/// Shortest and longest time that counts.
const COUNTS: (Duration, Duration) = (Duration::from_millis(1_000), Duration::from_secs(6));
/// From so many connections on, coming up takes longer, and what is left of them in a peer's pool is closed afterwards: the
/// next one needs the descriptors.
const MANY: usize = 1_000;
/// How long it may take until all of them are closed, and how often that is looked at.
const SETTLE: Duration = Duration::from_secs(15);
const SETTLE_LOOK: Duration = Duration::from_millis(100);
/// Descriptors more than before that are no sign of connections that stayed.
const SETTLED: usize = 64;
/// Who is compared with itself, if it takes part.
const SELF: &str = "kt";

/// `kt-lab compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// About how long it may take in all, in seconds: what counts is as long as this allows, from 1 to 6 s each.
    #[arg(long, value_name = "S", default_value_t = 1_200)]
    seconds: u64,
    /// Which cases, with commas; `list` prints them [default: all].
    #[arg(long, value_delimiter = ',', value_name = "CASE")]
    cases: Vec<String>,
    /// Which peers, with commas [default: all that are installed].
    #[arg(long, value_delimiter = ',', value_name = "PEER")]
    peers: Vec<String>,
    /// Rounds of each case.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Write the record and its plots here; `-` writes none [default: perf/record of the source tree].
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// The gateway's program [default: beside this one, built anew if cargo runs this].
    #[arg(long, value_name = "PATH")]
    kt: Option<PathBuf>,
    /// Where the peers are.
    #[command(flatten)]
    place: PlaceArgs,
}

/// `kt-lab install`.
#[derive(Debug, clap::Args)]
pub(crate) struct InstallArgs {
    /// Which peers, with commas [default: all].
    #[arg(long, value_delimiter = ',', value_name = "PEER")]
    peers: Vec<String>,
    /// Where to.
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// Folder the peers are installed in [default: kt-lab/peers in the user's cache].
    #[arg(long, value_name = "DIR", env = "KT_LAB_PEERS")]
    peers_dir: Option<PathBuf>,
}

impl PlaceArgs {
    fn folder(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.peers_dir {
            return Ok(std::path::absolute(folder)?);
        }
        let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        Ok(cache.context("without HOME or XDG_CACHE_HOME, say --peers-dir")?.join("kt-lab/peers"))
    }
}

/// Installs what isn't there yet, from public registries.
pub(crate) fn install(args: &InstallArgs) -> anyhow::Result<()> {
    let here = here();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let names = Names {
        peers: args.place.folder()?,
        here: here.clone(),
        kt: PathBuf::new(),
        lab: PathBuf::new(),
        vendors: [nowhere; 3],
        ca: PathBuf::new(),
    };
    let mut failures = Vec::new();
    for peer in chosen(peers::read(&here)?, &args.peers)? {
        match peer.install(&names) {
            Ok(true) => writeln!(io::stdout(), "{}: installed", peer.name)?,
            Ok(false) => writeln!(io::stdout(), "{}: is there", peer.name)?,
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
}

/// Where `peers.toml` lies: in the source tree that this was built from.
fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn chosen(all: Vec<Peer>, names: &[String]) -> anyhow::Result<Vec<Peer>> {
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|peer| peer.name != **name)) {
        let known: Vec<&str> = all.iter().map(|peer| peer.name.as_str()).collect();
        bail!("there is no peer {unknown}; there are {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|peer| names.is_empty() || names.contains(&peer.name)).collect())
}

/// Compares.
pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let cases = chosen_cases(&args.cases)?;
    if cases.is_empty() {
        return Ok(());
    }
    // Thousands of connections have two ends each, in this process.
    kt_lab::raise_open_files().context("cannot raise the number of open files")?;
    let kt = gateway_program(args)?;
    let stage = Stage::set(args, kt)?;
    let machine = Machine::look(stage.cores);
    // Written to be passed on: whoever has read enough ends the run, and no peer is left behind.
    let mut out = io::stdout();
    writeln!(out, "{} on {} cores of {}, Linux {}", machine.commit, machine.cores, machine.processor, machine.kernel)?;
    for (peer, why) in &stage.absent {
        writeln!(out, "not measured: {peer} ({why})")?;
    }
    let began = Instant::now();
    let mut show = Show { stage: &stage, args, dice: Rng::with_seed(1), best: None, began };
    let timing = show.timing(&cases);
    let noise = show.against_itself(timing)?;
    let mut sheets = Vec::new();
    for case in &cases {
        let sheet = show.play(case, timing)?;
        writeln!(out, "\n{}", sheet.table())?;
        sheets.push(sheet);
    }
    let after = stage.memory_after();
    writeln!(out, "\nmeasured in {:.0} s", began.elapsed().as_secs_f64())?;
    write_record(args, &stage, &machine, timing, noise, &sheets, &after)
}

fn chosen_cases(names: &[String]) -> anyhow::Result<Vec<Case>> {
    if names == ["list"] {
        for case in CASES {
            writeln!(io::stdout(), "{:18} {}", case.name, case.what)?;
        }
        return Ok(Vec::new());
    }
    if let Some(unknown) = names.iter().find(|name| CASES.iter().all(|case| case.name != **name)) {
        bail!("there is no case {unknown}; --cases list prints them");
    }
    let is_chosen = |case: &&Case| names.is_empty() || names.iter().any(|name| name == case.name);
    Ok(CASES.iter().filter(is_chosen).copied().collect())
}

/// The gateway to measure: of this very tree, if cargo is there to build it.
fn gateway_program(args: &CompareArgs) -> anyhow::Result<PathBuf> {
    if let Some(kt) = &args.kt {
        return Ok(std::path::absolute(kt)?);
    }
    let kt = env::current_exe()?.with_file_name("kt");
    if let Some(cargo) = env::var_os("CARGO") {
        let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
        let mut build = Command::new(cargo);
        build
            .args(["build", "--profile", profile, "--package", "kt", "--manifest-path"])
            .arg(here().join("Cargo.toml"));
        if !build.status().context("cannot run cargo")?.success() {
            bail!("the gateway can't be built");
        }
    }
    if kt.exists() { Ok(kt) } else { bail!("there is no {}: cargo build --release -p kt", kt.display()) }
}

#[expect(clippy::disallowed_methods, reason = "this thread has no reactor, and waits for others to work")]
fn pause(time: Duration) {
    thread::sleep(time);
}

/// Everything that takes part.
struct Stage {
    rig: Rig,
    names: Names,
    gateway_core: usize,
    running: Vec<Running>,
    versions: Vec<(String, Option<String>)>,
    absent: Vec<(String, String)>,
    /// Memory of each when it had answered once.
    idle_mib: Vec<(String, f64)>,
    body: (Vec<u8>, Vec<u8>),
    cores: usize,
    // Last, so that it goes when those that use it have gone.
    _folder: Scratch,
}

/// A folder that goes with its owner.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left of it lies in the temporary folder, and harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Stage {
    /// Starts the vendors and whoever is installed, each until it has answered; then holds them all.
    fn set(args: &CompareArgs, kt: PathBuf) -> anyhow::Result<Self> {
        let here = here();
        let cores = cores::allowed()?;
        let (&gateway_core, others) = cores.split_first().context("no core to run on")?;
        let others = if others.is_empty() { vec![gateway_core] } else { others.to_vec() };
        cores::keep_to(&others)?;
        let folder = Scratch(env::temp_dir().join(format!("kt-lab-{}", std::process::id())));
        fs::create_dir_all(&folder.0)?;
        let files = certificate(&folder.0)?;
        let settings = Settings::default();
        let body = whole_body(&settings);
        let vendors = vec![
            settings.clone(),
            Settings { dialect: Dialect::Anthropic, ..settings.clone() },
            Settings { tls: Some(listener_config(&files).map_err(anyhow::Error::msg)?), ..settings },
        ];
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let rig = Rig::start(vendors.into_iter().map(|settings| (anywhere, settings)).collect(), others)?;
        let vendors = <[SocketAddr; 3]>::try_from(rig.vendors()).context("one address for each vendor")?;
        let ca = folder.0.join("cert.pem");
        let names =
            Names { peers: args.place.folder()?, here: here.clone(), kt, lab: env::current_exe()?, vendors, ca };
        let mut stage = Self {
            rig,
            names,
            gateway_core,
            running: Vec::new(),
            versions: Vec::new(),
            absent: Vec::new(),
            idle_mib: Vec::new(),
            body,
            cores: cores.len(),
            _folder: folder,
        };
        for peer in chosen(peers::read(&here)?, &args.peers)? {
            if !peer.is_installed(&stage.names) {
                stage.absent.push((peer.name, "not installed".to_owned()));
                continue;
            }
            let run = stage._folder.0.join(&peer.name);
            let started = peer.start(&stage.names, gateway_core, &run).and_then(|running| {
                let sample = stage.first_answers(&running)?;
                Ok((running, sample))
            });
            match started {
                Ok((running, sample)) => {
                    stage.idle_mib.push((peer.name.clone(), sample.resident_mib));
                    stage.versions.push((peer.name.clone(), peer.version(&stage.names)));
                    running.hold();
                    stage.running.push(running);
                }
                Err(error) => stage.absent.push((peer.name, format!("{error:#}"))),
            }
        }
        if stage.running.is_empty() {
            bail!("there is nobody to measure: {:?}", stage.absent);
        }
        Ok(stage)
    }

    /// Asks a peer until all it answers passes: the first answers may fail while it warms up.
    fn first_answers(&self, running: &Running) -> anyhow::Result<Sample> {
        let case = Case { connections: 1, ..CASES[0] };
        let (warm_up, duration) = (Duration::from_millis(100), Duration::from_millis(400));
        let plan = Plan { rig: &self.rig, case: &case, rate: 0.0, warm_up, duration, body: &self.body, seed: 1 };
        let mut why = String::new();
        for _ in 0..40 {
            let sample = plan.measure(Asked::Peer(running))?;
            let outcome = sample.outcome.as_ref().context("a load that ran has an outcome")?;
            if outcome.answered > 0 && outcome.failed.is_empty() {
                return Ok(sample);
            }
            why = outcome.failed.keys().next().cloned().unwrap_or_else(|| "no answer".to_owned());
            pause(Duration::from_millis(500));
        }
        bail!("it doesn't answer as it should: {why}")
    }

    /// A second process of a peer, which has answered once.
    fn start_another(&self, running: &Running) -> anyhow::Result<Running> {
        let peer = &running.peer;
        let run = self._folder.0.join(format!("{}-fresh", peer.name));
        let fresh = peer.start(&self.names, self.gateway_core, &run)?;
        self.first_answers(&fresh)?;
        Ok(fresh)
    }

    /// Measures with many connections, and waits until none of them is left: each is a descriptor of this process, and
    /// the next ones need it.
    fn settled_after(&self, measure: impl FnOnce() -> anyhow::Result<Sample>) -> anyhow::Result<Sample> {
        let before = open_files()?;
        let mut sample = measure()?;
        let give_up = Instant::now() + SETTLE;
        let left = loop {
            self.rig.close_idle();
            pause(SETTLE_LOOK);
            let left = open_files()?.saturating_sub(before);
            if left <= SETTLED || Instant::now() > give_up {
                break left;
            }
        };
        if left > SETTLED {
            sample.doubts.push(format!("{left} connections were left behind"));
        }
        Ok(sample)
    }

    fn memory_after(&self) -> Vec<(String, f64)> {
        let read = |running: &Running| {
            let bytes = kt_lab::cpu::resident_bytes(running.pid()).unwrap_or_default();
            (running.peer.name.clone(), bytes as f64 / 1_048_576.0)
        };
        self.running.iter().map(read).collect()
    }
}

/// How many files this process has open.
fn open_files() -> anyhow::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// A certificate for loopback, and its key.
fn certificate(folder: &Path) -> anyhow::Result<TlsFiles> {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&cert, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    Ok(TlsFiles { cert: cert.display().to_string().into(), key: key.display().to_string().into() })
}

/// How long everything takes.
#[derive(Clone, Copy)]
struct Timing {
    rounds: usize,
    counts: Duration,
}

/// A comparison under way.
struct Show<'s> {
    stage: &'s Stage,
    args: &'s CompareArgs,
    dice: Rng,
    /// The best rate of each peer with small requests, for the open loop.
    best: Option<Vec<(String, f64)>>,
    began: Instant,
}

impl Show<'_> {
    /// Divides the time there is among all measurements.
    fn timing(&self, cases: &[Case]) -> Timing {
        let suited = |case: &Case| self.stage.running.iter().filter(|running| case.suits(&running.peer)).count();
        let measurements = |rounds: usize| {
            let of_cases =
                cases.iter().map(|case| (suited(case) + usize::from(case.has_direct())) * rounds_of(case, rounds));
            of_cases.sum::<usize>() + 2 * rounds
        };
        let budget = Duration::from_secs(self.args.seconds);
        let around = AROUND + Duration::from_millis(600);
        let mut rounds = usize::from(self.args.rounds);
        // Fewer rounds rather than rounds in which nothing can be seen, but enough to tell noise.
        while rounds > 3 && budget / measurements(rounds).max(1) as u32 <= around + COUNTS.0 {
            rounds -= 1;
        }
        let each = budget / measurements(rounds).max(1) as u32;
        Timing { rounds, counts: each.saturating_sub(around).clamp(COUNTS.0, COUNTS.1) }
    }

    /// The gateway against itself: what comes of it is noise.
    fn against_itself(&mut self, timing: Timing) -> anyhow::Result<Vec<(&'static str, Interval)>> {
        let running = self.stage.running.iter().find(|running| running.peer.name == SELF);
        let Some(running) = running.or(self.stage.running.first()) else { return Ok(Vec::new()) };
        let mut rows =
            ["A", "A again"].map(|who| Row { who: who.to_owned(), kind: Some(running.peer.kind), rounds: Vec::new() });
        for round in 0..timing.rounds {
            // Neither is always the first.
            for place in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                rows[place].rounds.push(self.measure(&CASES[0], Asked::Peer(running), timing)?);
            }
        }
        let [one, other] = &rows;
        let noise: Vec<(&str, Interval)> = [Metric::CpuUs, Metric::Rate, Metric::BetweenP50, Metric::BetweenP99]
            .into_iter()
            .filter_map(|metric| Some((metric.key(), other.against(one, metric)?)))
            .collect();
        let said: Vec<String> = noise.iter().map(|(key, ratio)| format!("{key} × {}", with_ends(*ratio))).collect();
        writeln!(io::stdout(), "noise: {} against itself, {}", running.peer.name, said.join(", "))?;
        Ok(noise)
    }

    fn play(&mut self, case: &Case, timing: Timing) -> anyhow::Result<Sheet> {
        let mut asked: Vec<Asked<'_>> =
            self.stage.running.iter().filter(|running| case.suits(&running.peer)).map(Asked::Peer).collect();
        if case.has_direct() {
            asked.push(Asked::Direct);
        }
        let row = |asked: &Asked<'_>| match asked {
            Asked::Peer(Running { peer, .. }) => {
                Row { who: peer.name.clone(), kind: Some(peer.kind), rounds: Vec::new() }
            }
            Asked::Direct => Row { who: "direct".to_owned(), kind: None, rounds: Vec::new() },
        };
        let mut rows: Vec<Row> = asked.iter().map(row).collect();
        for _ in 0..rounds_of(case, timing.rounds) {
            let mut order: Vec<usize> = (0..asked.len()).collect();
            self.dice.shuffle(&mut order);
            for nth in order {
                eprint!("\r\x1b[K{:5.0} s  {}  {}", self.began.elapsed().as_secs_f64(), case.name, rows[nth].who);
                let sample = match self.measure(case, asked[nth], timing) {
                    Ok(sample) => sample,
                    Err(error) => Sample { doubts: vec![format!("{error:#}")], ..Sample::default() },
                };
                rows[nth].rounds.push(sample);
            }
        }
        eprint!("\r\x1b[K");
        if case.name == CASES[0].name {
            let rate = |row: &Row| median(&row.rounds.iter().map(|sample| sample.rate).collect::<Vec<_>>());
            self.best = Some(rows.iter().map(|row| (row.who.clone(), rate(row))).collect());
        }
        Ok(Sheet { case: *case, rows })
    }

    fn measure(&mut self, case: &Case, asked: Asked<'_>, timing: Timing) -> anyhow::Result<Sample> {
        // Connections take their time to come up.
        let warm_up = Duration::from_millis(if case.connections >= MANY { 1_500 } else { 500 });
        let rate = match case.kind {
            Kind::Open { share } => share * self.best_rate(asked, timing)?,
            Kind::Closed | Kind::Streams { .. } | Kind::IdleStreams | Kind::Idle => 0.0,
        };
        let (rig, body, duration, seed) = (&self.stage.rig, &self.stage.body, timing.counts, self.dice.u64(..));
        let plan = Plan { rig, case, rate, warm_up, duration, body, seed };
        let Asked::Peer(running) = asked else { return plan.measure(asked) };
        if case.kind == Kind::IdleStreams {
            // By one that has served nobody yet: memory that others have left it would hide what a stream takes.
            let fresh = self.stage.start_another(running)?;
            return self.stage.settled_after(|| plan.measure(Asked::Peer(&fresh)));
        }
        running.go_on();
        let sample = match case.connections >= MANY {
            true => self.stage.settled_after(|| plan.measure(asked)),
            false => plan.measure(asked),
        };
        running.hold();
        sample
    }

    /// nginx's best rate, or the peer's own if that is less: beyond it there is only a queue to be seen.
    fn best_rate(&mut self, asked: Asked<'_>, timing: Timing) -> anyhow::Result<f64> {
        if self.best.is_none() {
            self.play(&CASES[0], Timing { rounds: 1, ..timing })?;
        }
        let best = self.best.as_deref().unwrap_or_default();
        let of = |who: &str| best.iter().find(|(name, _)| name == who).map(|&(_, rate)| rate);
        let known = || best.iter().map(|&(_, rate)| rate).fold(f64::INFINITY, f64::min);
        let nginx = of("nginx").unwrap_or_else(known);
        Ok(match asked {
            Asked::Peer(running) => of(&running.peer.name).map_or(nginx, |own| own.min(nginx)),
            Asked::Direct => nginx,
        }
        .max(2.0))
    }
}

/// Memory and wake-ups don't change from one round to the next as times do.
fn rounds_of(case: &Case, rounds: usize) -> usize {
    match case.kind {
        Kind::Closed | Kind::Streams { .. } | Kind::Open { .. } => rounds,
        Kind::IdleStreams | Kind::Idle => 1,
    }
}

fn write_record(
    args: &CompareArgs,
    stage: &Stage,
    machine: &Machine,
    timing: Timing,
    noise: Vec<(&'static str, Interval)>,
    sheets: &[Sheet],
    after: &[(String, f64)],
) -> anyhow::Result<()> {
    let folder = args.record.clone().unwrap_or_else(|| here().join("record"));
    if folder == Path::new("-") {
        return Ok(());
    }
    let name = format!("{}-{}", machine.when.get(..10).unwrap_or("undated"), machine.commit);
    let folder = folder.join(&name);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let mib = |of: &[(String, f64)], who: &str| {
        Json::maybe(of.iter().find(|(name, _)| name == who).map(|&(_, mib)| Json::number(mib)))
    };
    let peers = stage.versions.iter().map(|(who, version)| {
        Json::object([
            ("name", Json::text(who)),
            ("version", Json::maybe(version.as_deref().map(Json::text))),
            ("idle_mib", mib(&stage.idle_mib, who)),
            ("after_mib", mib(after, who)),
        ])
    });
    let absent = stage.absent.iter().map(|(who, why)| Json::list([Json::text(who), Json::text(why)]));
    let page = Json::page([
        ("when", Json::text(&machine.when)),
        ("commit", Json::text(&machine.commit)),
        ("machine", machine.json()),
        ("rounds", Json::count(timing.rounds as u64)),
        ("seconds_each", Json::number(timing.counts.as_secs_f64())),
        ("noise", Json::object(noise.into_iter().map(|(key, ratio)| (key, report::interval(ratio))))),
        ("peers", Json::lines(peers.collect::<Vec<_>>())),
        ("absent", Json::list(absent)),
        ("cases", Json::lines(sheets.iter().map(Sheet::json))),
    ]);
    fs::write(folder.join("record.json"), page.into_string())?;
    let tables: Vec<String> = sheets.iter().map(Sheet::table).collect();
    fs::write(folder.join("tables.md"), tables.join("\n"))?;
    for sheet in sheets {
        let (title, bars) = sheet.bars();
        if let Some(svg) = plot::svg(&title, &bars) {
            fs::write(folder.join(format!("{}.svg", sheet.case.name)), svg)?;
        }
    }
    writeln!(io::stdout(), "written to {}", folder.display())?;
    Ok(())
}
