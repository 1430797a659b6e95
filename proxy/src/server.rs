//! The process: its listeners, its cores, its signals, and how it starts and ends.
//!
//! Everything that can be refused is refused in [`Server::prepare`], in one clear line, before a thread is started.

use std::io;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, bounded};
use kt_core::config::plan::{Driver, Fixed, LogSettings, Plan};
use kt_core::limits::DRAIN_MS;
use kt_core::policy::FailMode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use crate::admin::{self, Admin, Counted};
use crate::clock::Clock;
use crate::crowd::Crowd;
use crate::ledger::{Ledger, Quill};
use crate::listen::{self, Bound, Listening};
use crate::mail::{Letter, Mailbox};
use crate::minutes::Minutes;
use crate::reload::{self, Deployment, LOG, Reloader};
use crate::resolve::{Asker, Names};
use crate::rt::{self, Bell, Engine, Listener};
use crate::state::{StateDir, StateLock};
use crate::worker::{self, Descriptors, Outfit, Worker};

/// What is listened on when neither a flag nor the config says.
const DEFAULT_LISTEN: &str = "0.0.0.0:41002";
/// How long a drain may take on top of what requests in flight are given.
const DRAIN_SPARE: Duration = Duration::from_secs(5);

/// What the command line asks for; `None` leaves it to the config, and that to the default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Config files, absolute, in the order they are merged.
    pub files: Vec<PathBuf>,
    /// `HOST:PORT`, or `unix:` and a path from the root on.
    pub listen: Option<String>,
    /// Replaces the port of `listen`.
    pub port: Option<u16>,
    /// Threads that serve.
    pub cores: Option<usize>,
    /// How they talk to the kernel.
    pub driver: Option<Driver>,
    /// Where state lives; the default place if not given.
    pub state_dir: Option<PathBuf>,
    /// What becomes of what a blocking policy can't judge.
    pub fail_mode: FailMode,
}

/// A gateway that can start: config checked, engine chosen, state locked, sockets bound.
pub struct Server {
    files: Box<[PathBuf]>,
    deployment: Arc<Deployment>,
    fixed: Fixed,
    fail_mode: FailMode,
    warnings: String,
    engine: Engine,
    why: String,
    bound: Bound,
    state: StateDir,
    /// Held as long as this gateway lives.
    lock: StateLock,
    admin: Vec<admin::Door>,
}

impl Server {
    /// Checks and binds everything.
    ///
    /// # Errors
    ///
    /// What is wrong, for people; the process should exit with 1.
    pub fn prepare(options: Options) -> Result<Self, String> {
        raise_descriptor_limit();
        let (deployment, fixed, warnings) =
            reload::load(&options.files, 1, None).map_err(|rejected| rejected.report)?;
        let driver = options.driver.or(fixed.driver).unwrap_or_default();
        let (engine, why) = Engine::choose(driver)?;
        let cores = options.cores.or(fixed.cores).unwrap_or_else(available_cores);
        let wanted = options.listen.as_deref().or(fixed.listen.as_deref()).unwrap_or(DEFAULT_LISTEN);
        let (state, lock) = StateDir::open(options.state_dir.as_deref()).map_err(|error| error.to_string())?;
        let bound = listen::bind(wanted, options.port, cores)?;
        let mut admin = vec![admin::Door::unix(&state)?];
        if let Some(listen) = &fixed.admin_listen {
            admin.push(admin::Door::tcp(listen)?);
        }
        Ok(Self {
            files: options.files.into(),
            deployment: Arc::new(deployment),
            fixed,
            fail_mode: options.fail_mode,
            warnings,
            engine,
            why,
            bound,
            state,
            lock,
            admin,
        })
    }

    /// What lint warns of; empty when there is nothing.
    pub fn warnings(&self) -> &str {
        &self.warnings
    }

    /// How the config wants logs.
    pub fn log_settings(&self) -> LogSettings {
        self.deployment.plan.log
    }

    /// Starts everything, serves until a signal, drains.
    ///
    /// # Errors
    ///
    /// What could not be started, or what was lost at the end, for people.
    pub fn run(self) -> Result<(), String> {
        let Self {
            files,
            deployment,
            fixed,
            fail_mode,
            warnings: _,
            engine,
            why,
            bound: Bound { listening, address, file },
            state,
            lock,
            admin,
        } = self;
        log_panics();
        let plan = Arc::clone(&deployment.plan);
        info!(target: LOG, "Starting gateway on {address}");
        info!(target: "keeptrusts::runtime", "{} core(s) on {}: {why}", listening.len(), engine.as_str());
        let (targets, groups, policies) = (plan.targets.len(), plan.groups.len(), plan.policies.len());
        info!(target: LOG, "Loaded {targets} provider(s), {groups} model group(s), {policies} policy(ies)");
        reload::announce_groups(&plan);
        reload::warn_of_missing_keys(&plan);
        reload::warn_of_open_door(&plan, &address);

        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| format!("signals: {error}"))?;
        let clock = Clock::start();
        let (ledger, quills) =
            Ledger::start(&state, listening.len(), &plan, clock).map_err(|error| error.to_string())?;
        let asker = Asker::start().map_err(|error| format!("cannot start a resolver thread: {error}"))?;
        let minutes = Minutes::new(listening.len());
        let cores = start_cores(
            listening,
            quills,
            &asker,
            &Common { deployment: &deployment, engine, clock, minutes: &minutes, fail_mode },
        )?;
        let ledger = Arc::new(Mutex::new(Some(ledger)));

        let log = Arc::clone(&ledger);
        let record = Box::new(move |plan: &Arc<Plan>| {
            let log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let log = log.as_ref().ok_or("the gateway is shutting down; nothing was applied")?;
            log.config(plan, clock.now_ns()).map_err(|stuck| format!("{stuck}; nothing was applied"))
        });
        let reloader = Arc::new(Reloader::new(files, cores.clone(), address.clone(), deployment, fixed, record));
        let log = Arc::clone(&ledger);
        let gauges = Box::new(move || {
            let log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.as_ref().map(Ledger::gauges).unwrap_or_default()
        });
        let counted = Counted { cores: cores.clone(), minutes, log: gauges };
        admin::serve(admin, Admin::new(Arc::clone(&reloader), counted, clock, engine, address))?;
        info!(target: LOG, "Gateway ready");

        wait_for_the_end(&mut signals, &reloader);
        if let Some(file) = file {
            file.remove();
        }
        drain(&cores, signals);
        let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner).take();
        let lost = ledger.map_or(Ok(()), |ledger| ledger.shutdown().map_err(|given_up| given_up.to_string()));
        // A socket that nobody answers any more would only puzzle; the next start removes it as well.
        let _ = std::fs::remove_file(state.admin_socket());
        drop(lock);
        lost
    }
}

/// From now on, logs the place of a panic, wherever it is caught. Its message stays out: it may quote what was being read.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let thread = thread::current();
        error!(target: LOG, "A panic at {place} on {}: please report it", thread.name().unwrap_or("a thread"));
    }));
}

/// Allows as many descriptors as the system lets this process have: shells give 1,024, which is 500 requests.
fn raise_descriptor_limit() {
    let limits = getrlimit(Resource::Nofile);
    // Where it may not be raised the old limit holds, and the cores share what it allows.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum });
}

/// The descriptors that this process may have.
fn descriptors(cores: usize) -> Descriptors {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    Descriptors { limit: limit.unwrap_or(usize::MAX), cores }
}

/// The CPUs this process may use, by affinity and cgroup quota.
fn available_cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// What every core is given alike.
struct Common<'a> {
    deployment: &'a Arc<Deployment>,
    engine: Engine,
    clock: Clock,
    minutes: &'a Arc<Minutes>,
    fail_mode: FailMode,
}

fn start_cores(
    listening: Vec<Listening>,
    quills: Vec<Quill>,
    asker: &Asker,
    common: &Common<'_>,
) -> Result<Box<[Mailbox]>, String> {
    let Common { deployment, engine, clock, minutes, fail_mode } = *common;
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    // Pinning pays when every CPU has its core; with fewer the scheduler knows better where there is room.
    let pinned = cpus.len() == listening.len() && cpus.len() > 1;
    let count = listening.len();
    let descriptors = descriptors(count);
    let (ready, started) = bounded::<Result<(), String>>(count);
    let (mut mailboxes, mut inboxes) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for quill in &quills {
        let (pull, inner) = rt::bell().map_err(|error| format!("cannot make a socket pair: {error}"))?;
        quill.hang(pull.clone());
        let (mailbox, letters) = Mailbox::new(pull);
        mailboxes.push(mailbox);
        inboxes.push((inner, letters));
    }
    let crowd = Crowd::new(mailboxes.clone().into());
    for (core, ((listening, quill), (inner, letters))) in listening.into_iter().zip(quills).zip(inboxes).enumerate() {
        let (mailbox, crowd) = (mailboxes[core].clone(), Arc::clone(&crowd));
        let (deployment, asker, ready) = (Arc::clone(deployment), asker.clone(), ready.clone());
        let cpu = pinned.then(|| cpus[core]);
        let (seed, minutes) = (fastrand::u64(..), Arc::clone(minutes));
        let body = move || {
            if let Some(cpu) = cpu {
                core_affinity::set_for_current(cpu);
            }
            let core = u32::try_from(core).unwrap_or(u32::MAX);
            let serve = || async move {
                let listener = Listener::new(listening, engine)?;
                let bell = Bell::hang(inner, engine)?;
                let names = Names::new(asker, mailbox);
                let worker = Worker::new(Outfit {
                    core,
                    clock,
                    deployment,
                    names,
                    crowd,
                    quill,
                    seed,
                    descriptors,
                    minutes,
                    fail_mode,
                });
                let listener = std::rc::Rc::new(listener);
                let accepting = worker::accept(std::rc::Rc::clone(&worker), std::rc::Rc::clone(&listener));
                rt::spawn(accepting, |_| die("accepting connections panicked"));
                report(&ready, Ok(()));
                worker::read_mail(worker, bell, letters, listener).await;
                io::Result::Ok(())
            };
            match rt::run(engine, serve) {
                Ok(Ok(())) => die("a core ended"),
                Ok(Err(error)) | Err(error) => die(&format!("a core could not start: {error}")),
            }
        };
        let spawned = thread::Builder::new().name(format!("kt-core-{core}")).spawn(body);
        spawned.map_err(|error| format!("cannot start a thread: {error}"))?;
    }
    for _ in 0..count {
        started.recv().map_err(|_| "a core ended before it had started".to_owned())??;
    }
    Ok(mailboxes.into())
}

fn report(ready: &Sender<Result<(), String>>, result: Result<(), String>) {
    // The receiver waits for every core; it is gone only if another has failed, which ends the process.
    let _ = ready.send(result);
}

/// A core that is lost can't be made again without losing what it holds: whoever supervises the process restarts it.
fn die(why: &str) -> ! {
    error!(target: LOG, "{why}; exiting");
    process::exit(1)
}

/// Reloads on SIGHUP; returns on the first SIGINT or SIGTERM.
fn wait_for_the_end(signals: &mut Signals, reloader: &Reloader) {
    for signal in signals.forever() {
        if signal == SIGHUP {
            match reloader.reload() {
                Ok(applied) if applied.warnings.is_empty() => {}
                Ok(applied) => warn!(target: LOG, "{}", applied.warnings.trim_end()),
                Err(rejected) => error!(target: LOG, "Reload refused:\n{}", rejected.report.trim_end()),
            }
        } else {
            let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
            info!(target: LOG, "{name}: draining, for at most 30 s; a second one ends at once");
            break;
        }
    }
}

fn drain(cores: &[Mailbox], mut signals: Signals) {
    let handle = signals.handle();
    let impatient = thread::Builder::new().name("kt-signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGINT || signal == SIGTERM {
                warn!(target: LOG, "Ended by a second signal: requests in flight are cut off");
                process::exit(128 + signal);
            }
        }
    });
    if let Err(error) = impatient {
        warn!(target: LOG, "A second signal will not end the drain: {error}");
    }
    let (done, drained) = bounded(cores.len());
    for core in cores {
        core.post(Letter::Drain { done: done.clone() });
    }
    let give_up = Instant::now() + Duration::from_millis(DRAIN_MS) + DRAIN_SPARE;
    for _ in cores {
        if drained.recv_deadline(give_up).is_err() {
            error!(target: LOG, "A core did not drain in time; its last events may be lost");
            break;
        }
    }
    handle.close();
}
