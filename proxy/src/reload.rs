//! From files to a plan that every core uses: at start, and again whenever somebody asks.
//!
//! Everything that can fail happens before a core hears of it: reading, checking, opening roots. What reaches the cores
//! is a [`Deployment`], whole; each switches between two requests, and what is in flight ends on the old one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam::channel::bounded;
use kt_core::clients::Clients;
use kt_core::config::plan::{Credential, Fixed, Plan, Secret, SecretRef};
use kt_core::config::{self, Source};
use rustls::{ClientConfig, ServerConfig};
use tracing::{info, warn};

use crate::listen::Address;
use crate::mail::{Letter, Mailbox};
use crate::tls;

/// The log's target for what operators read.
pub const LOG: &str = "keeptrusts::gateway";

/// How long a reload waits for the cores to switch. They switch within a turn of their loops.
const SWITCH_WITHIN: Duration = Duration::from_secs(10);

/// A plan with what belongs to it but is no business of core's.
#[derive(Debug)]
pub struct Deployment {
    /// The plan.
    pub plan: Arc<Plan>,
    /// What TLS trusts, by target; `None` for plain ones.
    pub tls: Box<[Option<Arc<ClientConfig>>]>,
    /// What the listener's clients are shown; `None` for a listener without TLS.
    pub listener_tls: Option<Arc<ServerConfig>>,
}

/// A config that can't be used.
#[derive(Debug)]
pub struct Rejected {
    /// What is wrong, for people: lint's report, or a sentence.
    pub report: String,
}

/// A config that is in use.
#[derive(Debug)]
pub struct Applied {
    /// The deployment.
    pub deployment: Arc<Deployment>,
    /// Warnings, for people; empty when there are none.
    pub warnings: String,
}

/// Reads, checks and resolves the files.
///
/// # Errors
///
/// What lint says, or which file can't be read.
pub fn load(files: &[PathBuf], ordinal: u64, previous: Option<&Plan>) -> Result<(Deployment, Fixed, String), Rejected> {
    let mut sources = Vec::with_capacity(files.len());
    for file in files {
        sources.push(read(file)?);
    }
    let checked = config::check(&sources);
    let warnings = checked.warning_report();
    let Some(file) = &checked.file else {
        return Err(Rejected { report: checked.error_report() });
    };
    let mut dice = || fastrand::u64(..);
    let say = |report| Rejected { report };
    let plan = Plan::resolve(file, ordinal, previous, &mut find_secret, &mut dice)
        .map_err(|shared| say(shared.to_string()))?;
    let fixed = plan.fixed.clone();
    let tls = trust(&plan).map_err(say)?;
    let listener_tls = plan.tls.as_ref().map(tls::listener_config).transpose().map_err(say)?;
    Ok((Deployment { plan: Arc::new(plan), tls, listener_tls }, fixed, warnings))
}

fn read(file: &Path) -> Result<Source, Rejected> {
    let name = file.display().to_string();
    // Lint refuses what is too large; reading stops one byte behind that, whatever the file is.
    let bytes = fs::File::open(file).and_then(|opened| {
        use std::io::Read;
        let mut bytes = Vec::new();
        opened.take(kt_core::limits::CONFIG_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match bytes {
        Ok(bytes) => Ok(Source { name, bytes }),
        Err(error) => Err(Rejected { report: format!("cannot read the config file {name}: {error}") }),
    }
}

/// Looks a credential up; whoever has none is told apart by the plan.
fn find_secret(place: &SecretRef) -> Option<Secret> {
    let text = match place {
        SecretRef::Env(name) => std::env::var(&**name).ok()?,
        SecretRef::File(path) => fs::read_to_string(&**path).ok()?,
    };
    Secret::new(text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line)))
}

fn trust(plan: &Plan) -> Result<Box<[Option<Arc<ClientConfig>>]>, String> {
    let mut default = None;
    let mut trusted = Vec::with_capacity(plan.targets.len());
    for target in &plan.targets {
        trusted.push(match (&target.ca_file, target.base.tls) {
            (_, false) => None,
            (Some(file), true) => Some(tls::config_of(Path::new(&**file))?),
            (None, true) => match &default {
                Some(config) => Some(Arc::clone(config)),
                None => Some(Arc::clone(default.insert(tls::default_config()?))),
            },
        });
    }
    Ok(trusted.into())
}

/// Says which targets have no key, which are drawn like any other and answer 503; and which clients.
pub fn warn_of_missing_keys(plan: &Plan) {
    for (name, has_key) in plan.clients.iter().flat_map(Clients::iter) {
        if !has_key {
            warn!(target: LOG, "Client {name:?} has no API key: nobody can come in as it");
        }
    }
    for target in &plan.targets {
        if matches!(target.key, Credential::Missing) {
            warn!(target: LOG, "Target \"{}\" has no API key: requests that draw it are answered 503", target.id);
        }
    }
}

/// Says that nobody who can reach this address is asked who they are, if that is so and others than this machine can.
pub fn warn_of_open_door(plan: &Plan, address: &Address) {
    let is_open = match address {
        Address::Ip(address) => !address.ip().to_canonical().is_loopback(),
        // Who may connect is up to the file's mode.
        Address::Unix(_) => false,
    };
    if plan.clients.is_none() && is_open {
        warn!(
            target: LOG,
            "Whoever can reach {address} can spend the vendors' API keys: list who may under gateway.clients, or listen on \
             127.0.0.1"
        );
    }
}

/// Says what is loaded, one line per group.
pub fn announce_groups(plan: &Plan) {
    for group in &plan.groups {
        info!(target: LOG, "Model group \"{}\": {}", group.name, group.split());
    }
}

/// Reloads on demand, one at a time.
pub struct Reloader {
    files: Box<[PathBuf]>,
    cores: Box<[Mailbox]>,
    address: Address,
    current: Mutex<Current>,
    record: Record,
}

/// Writes a plan into the log, or says why it can't.
type Record = Box<dyn Fn(&Arc<Plan>) -> Result<(), String> + Send + Sync>;

struct Current {
    deployment: Arc<Deployment>,
    /// Of the file as it was at start; flags may have overridden it.
    fixed: Fixed,
}

impl Reloader {
    /// Starts from what the cores run on, which listen on `address`. `record` logs each new plan before any core has it, so that every decision
    /// stands behind the config that made it.
    pub fn new(
        files: Box<[PathBuf]>,
        cores: Box<[Mailbox]>,
        address: Address,
        deployment: Arc<Deployment>,
        fixed: Fixed,
        record: Record,
    ) -> Self {
        Self { files, cores, address, current: Mutex::new(Current { deployment, fixed }), record }
    }

    /// What runs now.
    pub fn current(&self) -> Arc<Deployment> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).deployment)
    }

    /// Reads the files again and, if they are good, moves every core over. Returns when all have moved.
    ///
    /// # Errors
    ///
    /// Why not; the old plan stays.
    pub fn reload(&self) -> Result<Applied, Rejected> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let ordinal = current.deployment.plan.version.ordinal + 1;
        let (deployment, fixed, warnings) = load(&self.files, ordinal, Some(&current.deployment.plan))?;
        let changed = current.fixed.changes(&fixed);
        if !changed.is_empty() {
            let report = format!(
                "{} can't be changed by a reload; nothing was applied. Restart the gateway to change it.",
                changed.join(", ")
            );
            return Err(Rejected { report });
        }
        let deployment = Arc::new(deployment);
        (self.record)(&deployment.plan).map_err(|report| Rejected { report })?;
        self.move_cores(&deployment);
        let previous = std::mem::replace(&mut current.deployment, Arc::clone(&deployment));
        warn_of_missing_keys(&deployment.plan);
        if previous.plan.clients.is_some() {
            warn_of_open_door(&deployment.plan, &self.address);
        }
        info!(target: LOG, "Configuration reloaded: version {}", deployment.plan.version);
        announce_groups(&deployment.plan);
        Ok(Applied { deployment, warnings })
    }

    fn move_cores(&self, deployment: &Arc<Deployment>) {
        let (done, moved) = bounded(self.cores.len());
        for core in &self.cores {
            core.post(Letter::Adopt { deployment: Arc::clone(deployment), done: done.clone() });
        }
        for _ in &self.cores {
            if moved.recv_timeout(SWITCH_WITHIN).is_err() {
                warn!(target: LOG, "A core has not switched to the new configuration after 10 s; it will when it can");
                return;
            }
        }
    }
}
