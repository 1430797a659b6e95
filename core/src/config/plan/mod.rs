//! What a worker uses: the config resolved, checked and laid out for reading. Immutable; a reload makes a new one.

mod events;
mod fixed;
mod group;
mod json;
mod pricing;
mod secret;
mod target;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use events::{Compress, Durability, EventSettings, Retention, Rotation};
pub use fixed::{Driver, Fixed, LogFormat, LogLevel, LogSettings};
pub use group::{Arm, Experiment, Group, Strategy, UnitSource, reduce};
pub use secret::{Credential, Secret, SecretRef};
pub use target::{BaseUrl, Provider, StreamUsage, Target, Timeouts};

pub(super) use group::{block_of, split};

use super::complaint::push;
use super::file::{ClientSettings, File, TlsFiles};
use crate::clients::{Clients, SharedKey};
use crate::limits::Limits;
use crate::policy::{Knowledge, Policy};
use crate::route::Place;
use group::{arm_by_model, epoch, place, resolve_group};
use pricing::price;
use target::resolve_target;

/// Everything a request needs to know of the config.
#[derive(Debug)]
pub struct Plan {
    /// Which config this is.
    pub version: ConfigVersion,
    /// In the order of the file; arms refer to them by index.
    pub targets: Box<[Target]>,
    /// In the order of the file; events refer to them by index.
    pub groups: Box<[Group]>,
    /// Group by name.
    pub group_by_name: HashMap<Box<str>, usize>,
    /// The only arm of all groups that has this configured model, as (group, arm). Models of several arms are absent.
    pub arm_by_model: HashMap<Box<str>, (usize, usize)>,
    /// In listed order.
    pub policies: Box<[Policy]>,
    /// What content filters know, if there is one; the same as in the plan before.
    pub knowledge: Option<Arc<Knowledge>>,
    /// Who may ask for a model; `None` is whoever reaches the port.
    pub clients: Option<Clients>,
    /// What the listener shows its clients; `None` is a listener without TLS.
    pub tls: Option<TlsFiles>,
    /// Bounds, defaults or as configured.
    pub limits: Limits,
    /// What is fixed at start.
    pub fixed: Fixed,
    /// How the process logs; changed by a restart only where a flag says so.
    pub log: LogSettings,
    /// How the decision log is kept.
    pub events: EventSettings,
}

/// Which config answered a request: an ordinal of this process (the start is 1) and the digest of the files' bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigVersion {
    /// 1 at start, one more with each applied reload.
    pub ordinal: u64,
    /// 12 lower-case hex digits of the SHA-256 over the files' bytes, in the order given.
    pub digest: Box<str>,
}

impl fmt::Display for ConfigVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ordinal, self.digest)
    }
}

/// An arm of a plan with what surrounds it.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'p> {
    /// Its group.
    pub group: &'p Group,
    /// The arm.
    pub arm: &'p Arm,
    /// The target it goes to.
    pub target: &'p Target,
}

impl Plan {
    /// An arm by its indices: into [`Self::groups`], and into the group's arms.
    ///
    /// # Panics
    ///
    /// If there is no such arm; indices come from this plan alone.
    pub fn arm(&self, group: usize, arm: usize) -> Chosen<'_> {
        let group = &self.groups[group];
        let arm = &group.arms[arm];
        Chosen { group, arm, target: &self.targets[arm.target] }
    }

    /// Makes a plan of a checked file.
    ///
    /// `ordinal` is the version's: 1 at start, one more with each reload. `secret` reads a credential, `None` when
    /// there is none; it is asked once per target and client, so that a reload takes over a key that has changed.
    /// `dice` gives the key of a sequence that begins; a group whose epoch is the same as in `previous` goes on with
    /// the sequence it has.
    ///
    /// # Errors
    ///
    /// When two clients turn out to have the same key.
    pub fn resolve(
        file: &File,
        ordinal: u64,
        previous: Option<&Self>,
        secret: &mut dyn FnMut(&SecretRef) -> Option<Secret>,
        dice: &mut dyn FnMut() -> u64,
    ) -> Result<Self, SharedKey> {
        let target_settings = file.targets.as_deref().unwrap_or_default();
        let policies = file.policies.as_deref().unwrap_or_default();
        let targets = target_settings.iter().map(|target| resolve_target(target, secret)).collect();
        let named_keys = |client: &ClientSettings| (client.name.clone(), secret(&client.key));
        let clients = file.clients.as_ref().map(|all| Clients::new(all.iter().map(named_keys))).transpose()?;
        let group_settings = file.groups.as_deref().unwrap_or_default();
        let mut pricing = price(group_settings, target_settings).into_iter();
        let groups: Box<[Group]> = group_settings
            .iter()
            .map(|group| {
                let epoch = epoch(group, target_settings, policies);
                let place = place(previous, &group.name, &epoch).unwrap_or_else(|| Arc::new(Place::new(dice())));
                resolve_group(group, target_settings, &mut pricing, epoch, place)
            })
            .collect();
        Ok(Self {
            version: ConfigVersion { ordinal, digest: file.digest.clone() },
            targets,
            group_by_name: groups.iter().enumerate().map(|(i, group)| (group.name.clone(), i)).collect(),
            arm_by_model: arm_by_model(&groups),
            groups,
            policies: policies.into(),
            knowledge: knowledge(previous, policies),
            clients,
            tls: file.tls.clone(),
            limits: file.limits.clone(),
            fixed: file.fixed.clone(),
            log: file.log,
            events: file.events.clone(),
        })
    }

    /// The name of a client by its index, if there is one.
    pub fn client(&self, index: usize) -> Option<&str> {
        self.clients.as_ref()?.name(index)
    }
}

/// What content filters know takes some milliseconds to read, so a reload takes it over.
fn knowledge(previous: Option<&Plan>, policies: &[Policy]) -> Option<Arc<Knowledge>> {
    let known = || previous.and_then(|plan| plan.knowledge.clone()).unwrap_or_else(|| Arc::new(Knowledge::new()));
    policies.iter().any(Policy::is_content_filter).then(known)
}

/// 12 lower-case hex digits of the SHA-256 over the files' bytes, one after another.
pub(super) fn digest<'a>(files: impl IntoIterator<Item = &'a [u8]>) -> Box<str> {
    let mut hash = Sha256::new();
    for bytes in files {
        hash.update(bytes);
    }
    hex(&hash.finalize(), 12)
}

fn hex(bytes: &[u8], digits: usize) -> Box<str> {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        push(&mut out, format_args!("{byte:02x}"));
    }
    out.truncate(digits);
    out.into()
}
