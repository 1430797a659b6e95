//! What a worker uses: the config resolved, checked and laid out for reading. Immutable; a reload makes a new one.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::complaint::{push, push_json_list, push_json_text};
use super::file::{ClientSettings, File, GroupSettings, PolicySettings, TargetSettings, TlsFiles};
use crate::clients::{Clients, SharedKey};
use crate::dialect::Dialect;
use crate::limits::{BLOCK_SLOTS_MAX, Limits};
use crate::policy::Policy;
use crate::route::Place;

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
    /// The same policies as configured, for who wants to read them; judging is [`Plan::policies`]' business.
    pub policy_settings: Box<[PolicySettings]>,
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
}

/// The settings that a reload can't change. Flags of the command line win over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// `gateway.listen`, as written: `host:port`.
    pub listen: Option<Box<str>>,
    /// `gateway.cores`.
    pub cores: Option<usize>,
    /// `gateway.driver`.
    pub driver: Option<Driver>,
    /// `gateway.admin.listen`: a TCP address for GETs of health and stats.
    pub admin_listen: Option<Box<str>>,
    /// Whether `gateway.tls` is there. Its files may change, and are read again.
    pub tls: bool,
}

/// How a core talks to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// The best the kernel allows.
    #[default]
    Auto,
    /// io_uring, or refuse to start.
    IoUring,
    /// epoll.
    Epoll,
}

impl Fixed {
    /// The settings that differ, as the config names them. Empty means that a reload may go ahead.
    pub fn changes(&self, new: &Self) -> Vec<&'static str> {
        let Self { listen, cores, driver, admin_listen, tls } = self;
        let differing = [
            ("gateway.listen", *listen != new.listen),
            ("gateway.cores", *cores != new.cores),
            ("gateway.driver", *driver != new.driver),
            ("gateway.admin.listen", *admin_listen != new.admin_listen),
            ("gateway.tls", *tls != new.tls),
        ];
        differing.into_iter().filter(|&(_, differs)| differs).map(|(name, _)| name).collect()
    }
}

/// `gateway.log`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Least severe level that is printed.
    pub level: LogLevel,
    /// Form of a line.
    pub format: LogFormat,
}

/// `gateway.log.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator wants to know.
    #[default]
    Info,
    /// And what a developer wants to know.
    Debug,
}

/// `gateway.log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `LEVEL target message`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
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

/// One `providers.targets[]`: a vendor's address with a key.
#[derive(Debug)]
pub struct Target {
    /// Unique in the file.
    pub id: Box<str>,
    /// The vendor as configured.
    pub provider: Provider,
    /// Where requests go.
    pub base: BaseUrl,
    /// The credential, if there is one.
    pub key: Credential,
    /// Whether a streamed request asks the vendor for usage.
    pub stream_usage: StreamUsage,
    /// A PEM file with the only roots that are trusted for this target; else the platform's or Mozilla's. A path as
    /// written, or from the directory of the config file that names it.
    pub ca_file: Option<Box<str>>,
    /// How long each phase may take.
    pub timeouts: Timeouts,
}

/// `providers.targets[].provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// api.openai.com, or whatever `base_url` says.
    OpenAi,
    /// api.anthropic.com, or whatever `base_url` says.
    Anthropic,
    /// A vendor that speaks OpenAI's chat completions; needs a `base_url`.
    OpenAiCompatible,
}

impl Provider {
    /// The word in config and event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::OpenAiCompatible => "openai-compatible",
        }
    }

    /// The language this vendor speaks.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::OpenAi | Self::OpenAiCompatible => Dialect::OpenAi,
            Self::Anthropic => Dialect::Anthropic,
        }
    }

    /// Where this vendor lives when no `base_url` says otherwise; `None` when one must.
    pub const fn base_url(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("https://api.openai.com"),
            Self::Anthropic => Some("https://api.anthropic.com"),
            Self::OpenAiCompatible => None,
        }
    }

    /// The environment variable that the vendor's own tools read the key from; `None` when the vendor may do without.
    pub const fn usual_key(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("OPENAI_API_KEY"),
            Self::Anthropic => Some("ANTHROPIC_API_KEY"),
            Self::OpenAiCompatible => None,
        }
    }

    /// What is done about usage in streams when the config doesn't say. Anthropic's streams have it unasked, and not
    /// every compatible vendor knows `stream_options`.
    pub const fn stream_usage(self) -> StreamUsage {
        match self {
            Self::OpenAi => StreamUsage::Ask,
            Self::Anthropic | Self::OpenAiCompatible => StreamUsage::Leave,
        }
    }
}

/// `providers.targets[].stream_usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamUsage {
    /// Insert `stream_options.include_usage` where the client has not set it.
    Ask,
    /// Leave the request as it is.
    Leave,
}

/// `providers.targets[].timeouts`, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name, TCP and TLS together, over all addresses.
    pub connect_ms: u64,
    /// Request handed over → first byte of the answer.
    pub first_byte_ms: u64,
    /// Longest silence within the answer.
    pub idle_ms: u64,
    /// The whole exchange; `None` is off.
    pub total_ms: Option<u64>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 5_000, first_byte_ms: 600_000, idle_ms: 300_000, total_ms: None }
    }
}

/// A parsed `base_url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// `https`.
    pub tls: bool,
    /// Name or address literal, IPv6 without brackets.
    pub host: Box<str>,
    /// Explicit, or the scheme's.
    pub port: u16,
    /// What goes into `Host`: the host, bracketed if IPv6, with the port if it isn't the scheme's.
    pub authority: Box<str>,
    /// The path before `/v1`, without a slash at its end; often empty. A `/v1` at its end has been taken off.
    pub prefix: Box<str>,
}

/// What a target shows its vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing: the vendor asks for no key, as a local vLLM or Ollama. The target is available.
    None,
    /// The variable or file that was named is missing, empty or not fit for a header. The target is unavailable.
    Missing,
    /// This key.
    Key(Secret),
}

impl Credential {
    /// Whether requests may be sent with it.
    pub const fn is_available(&self) -> bool {
        match self {
            Self::None | Self::Key(_) => true,
            Self::Missing => false,
        }
    }

    /// What may be said about it: `present`, `missing` or `none`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Missing => "missing",
            Self::Key(_) => "present",
        }
    }
}

/// A credential. It can't be printed by accident: its `Debug` says only that it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes a credential that may stand in a header: visible ASCII, no spaces. `None` for anything else, so that a
    /// key with a line feed can't split a request.
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// The credential itself, for the one place that writes it to a vendor.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a credential is found; reading it is not this floor's business.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// An environment variable.
    Env(Box<str>),
    /// A file; one line end at its end is taken off. A path as written, or from the directory of the config file that
    /// names it.
    File(Box<str>),
}

/// One `model_groups[]`: what a client may name in `model`.
#[derive(Debug)]
pub struct Group {
    /// Unique in the file.
    pub name: Box<str>,
    /// In the order of the file.
    pub arms: Box<[Arm]>,
    /// Slots of each arm in one block, in the order of `arms`: the weights reduced by their common divisor, or
    /// apportioned by largest remainder over [`crate::limits::BLOCK_SLOTS_MAX`].
    pub block: Box<[u32]>,
    /// What the experiment is: 16 hex digits of a hash over group, salt, unit, arms (target, base_url, model, weight)
    /// and policies. A change begins another.
    pub epoch: Box<str>,
    /// The place in the group's block sequence, shared by all cores and kept by a reload that leaves the epoch alone.
    pub place: Arc<Place>,
}

/// One `model_groups[].targets[]`: a model at a target, with a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// `label`, else `<target id>/<model>`; unique in its group.
    pub name: Box<str>,
    /// Index into [`Plan::targets`].
    pub target: usize,
    /// As configured; what the vendor is asked for.
    pub model: Box<str>,
    /// As configured.
    pub weight: u32,
    /// Share of the group's slots, 0 to 1: the chance that a request of the group gets this arm.
    pub propensity: f64,
}

impl Group {
    /// The group as start and reload print it: `gpt-4o (70%) / claude-sonnet-4-20250514 (30%)`. Arms that share a model
    /// go by their names instead.
    pub fn split(&self) -> String {
        split(self.arms.iter().map(|arm| (&*arm.name, &*arm.model, arm.weight)), self.weight_sum())
    }

    /// The sum of the arms' weights, above 0.
    fn weight_sum(&self) -> u64 {
        self.arms.iter().map(|arm| u64::from(arm.weight)).sum()
    }
}

impl Arm {
    /// The weight's share of the group in percent, as people read it: `70%`, or `33.3%` when it isn't whole.
    pub fn share(&self, group: &Group) -> String {
        share(self.weight, group.weight_sum())
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
    /// there is none; it is asked once per target and client, so that a reload takes over a key that has changed. `dice` gives the
    /// key of a sequence that begins; a group whose epoch is the same as in `previous` goes on with the sequence it
    /// has.
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
        let policy_settings = file.policies.as_deref().unwrap_or_default();
        let targets = target_settings.iter().map(|target| resolve_target(target, secret)).collect();
        let named_keys = |client: &ClientSettings| (client.name.clone(), secret(&client.key));
        let clients = file.clients.as_ref().map(|all| Clients::new(all.iter().map(named_keys))).transpose()?;
        let groups: Box<[Group]> = file
            .groups
            .as_deref()
            .unwrap_or_default()
            .iter()
            .map(|group| {
                let epoch = epoch(group, target_settings, policy_settings);
                let place = place(previous, &group.name, &epoch).unwrap_or_else(|| Arc::new(Place::new(dice())));
                resolve_group(group, epoch, place)
            })
            .collect();
        Ok(Self {
            version: ConfigVersion { ordinal, digest: file.digest.clone() },
            targets,
            group_by_name: groups.iter().enumerate().map(|(i, group)| (group.name.clone(), i)).collect(),
            arm_by_model: arm_by_model(&groups),
            groups,
            policies: policy_settings.iter().map(resolve_policy).collect(),
            policy_settings: policy_settings.into(),
            clients,
            tls: file.tls.clone(),
            limits: file.limits.clone(),
            fixed: file.fixed.clone(),
            log: file.log,
        })
    }

    /// The name of a client by its index, if there is one.
    pub fn client(&self, index: usize) -> Option<&str> {
        self.clients.as_ref()?.name(index)
    }

    /// The plan as one JSON object, without secrets: what `GET /config` answers on the admin socket.
    pub fn to_json(&self) -> String {
        let mut out = String::from("{\"config_version\":");
        push_json_text(&mut out, &self.version.to_string());
        out.push_str(",\"targets\":");
        push_json_list(&mut out, &self.targets, push_target);
        out.push_str(",\"model_groups\":");
        push_json_list(&mut out, &self.groups, |out, group| self.push_group(out, group));
        out.push_str(",\"policies\":");
        push_json_list(&mut out, &self.policy_settings, push_policy);
        out.push_str(",\"clients\":");
        push_clients(&mut out, self.clients.as_ref());
        push(&mut out, format_args!(",\"tls\":{}", self.tls.is_some()));
        out.push_str(",\"limits\":");
        push_limits(&mut out, &self.limits);
        out.push('}');
        out
    }

    fn push_group(&self, out: &mut String, group: &Group) {
        push_fields(out, &[("name", &group.name), ("epoch", &group.epoch)]);
        out.push_str(",\"block\":");
        push_json_list(out, &group.block, |out, slots| push(out, format_args!("{slots}")));
        out.push_str(",\"targets\":");
        push_json_list(out, &group.arms, |out, arm| {
            let target = &self.targets[arm.target];
            push_fields(
                out,
                &[
                    ("arm", &arm.name),
                    ("target_id", &target.id),
                    ("provider", target.provider.as_str()),
                    ("model", &arm.model),
                    ("share", &arm.share(group)),
                ],
            );
            push(out, format_args!(",\"weight\":{},\"propensity\":{}}}", arm.weight, arm.propensity));
        });
        out.push('}');
    }
}

fn resolve_target(target: &TargetSettings, secret: &mut dyn FnMut(&SecretRef) -> Option<Secret>) -> Target {
    let key = match &target.key {
        None => Credential::None,
        Some(key) => secret(key).map_or(Credential::Missing, Credential::Key),
    };
    Target {
        id: target.id.clone(),
        provider: target.provider,
        base: target.base.clone(),
        key,
        stream_usage: target.stream_usage,
        ca_file: target.ca_file.clone(),
        timeouts: target.timeouts,
    }
}

fn resolve_group(group: &GroupSettings, epoch: Box<str>, place: Arc<Place>) -> Group {
    let weights: Vec<u32> = group.arms.iter().map(|arm| arm.weight).collect();
    let block = reduce(&weights);
    let slots: u32 = block.iter().sum();
    let arms = group
        .arms
        .iter()
        .zip(&block)
        .map(|(arm, &own)| Arm {
            name: arm.name.clone(),
            target: arm.target,
            model: arm.model.clone(),
            weight: arm.weight,
            propensity: f64::from(own) / f64::from(slots),
        })
        .collect();
    Group { name: group.name.clone(), arms, block, epoch, place }
}

fn resolve_policy(policy: &PolicySettings) -> Policy {
    let PolicySettings { name, action, applies_to, categories, threshold } = policy.clone();
    Policy::content_filter(name, action, applies_to, categories.into_vec(), threshold)
}

/// The sequence of the group of this name, if it is still the same experiment.
fn place(previous: Option<&Plan>, name: &str, epoch: &str) -> Option<Arc<Place>> {
    let previous = previous?;
    let group = &previous.groups[*previous.group_by_name.get(name)?];
    (*group.epoch == *epoch).then(|| Arc::clone(&group.place))
}

fn arm_by_model(groups: &[Group]) -> HashMap<Box<str>, (usize, usize)> {
    let mut found: HashMap<&str, Option<(usize, usize)>> = HashMap::new();
    for (g, group) in groups.iter().enumerate() {
        for (a, arm) in group.arms.iter().enumerate() {
            found.entry(&arm.model).and_modify(|only| *only = None).or_insert(Some((g, a)));
        }
    }
    found.into_iter().filter_map(|(model, only)| Some((model.into(), only?))).collect()
}

/// What the experiment is, as 16 hex digits of a SHA-256. Every text goes in behind its length and every list behind
/// its count, so that different experiments are different inputs.
fn epoch(group: &GroupSettings, targets: &[TargetSettings], policies: &[PolicySettings]) -> Box<str> {
    let mut hash = Sha256::new();
    let text = |hash: &mut Sha256, text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    let count = |hash: &mut Sha256, n: usize| hash.update((n as u64).to_le_bytes());
    text(&mut hash, &group.name);
    count(&mut hash, group.arms.len());
    for arm in &group.arms {
        let target = &targets[arm.target];
        for part in [&arm.name, &target.id, target.provider.as_str(), &target.base.as_url(), &arm.model] {
            text(&mut hash, part);
        }
        hash.update(arm.weight.to_le_bytes());
    }
    let applying: Vec<&PolicySettings> = policies.iter().filter(|policy| policy.applies_to(&group.name)).collect();
    count(&mut hash, applying.len());
    for policy in applying {
        for part in [&policy.name, "content_filter", policy.action.as_str(), policy.threshold.as_str()] {
            text(&mut hash, part);
        }
        count(&mut hash, policy.categories.len());
        for category in &policy.categories {
            text(&mut hash, category.as_str());
        }
    }
    hex(&hash.finalize(), 16)
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

/// Slots of each arm in the smallest block that has the weights' shares: the weights over their common divisor. Where
/// that takes more than [`BLOCK_SLOTS_MAX`] slots, these are apportioned by largest remainder; of equal remainders the
/// earlier arm wins. All zeros stay zeros.
pub fn reduce(weights: &[u32]) -> Box<[u32]> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    if sum / u64::from(divisor) <= u64::from(BLOCK_SLOTS_MAX) {
        return weights.iter().map(|weight| weight / divisor).collect();
    }
    // At most 1,000 × 1,000,000, and the quotients at most 1,000.
    let scaled = |weight: u32| u64::from(weight) * u64::from(BLOCK_SLOTS_MAX);
    let mut slots: Box<[u32]> = weights.iter().map(|&weight| (scaled(weight) / sum) as u32).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|&i| std::cmp::Reverse(scaled(weights[i]) % sum));
    let left = BLOCK_SLOTS_MAX - slots.iter().sum::<u32>();
    for &i in &by_remainder[..left as usize] {
        slots[i] += 1;
    }
    slots
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Arms (name, model, weight) with their shares of `sum`, as people read them. An arm goes by its model, or by its name
/// where another has the same model.
pub(super) fn split<'a>(arms: impl Iterator<Item = (&'a str, &'a str, u32)>, sum: u64) -> String {
    let arms: Vec<(&str, &str, u32)> = arms.collect();
    let mut models: HashMap<&str, usize> = HashMap::new();
    for (_, model, _) in &arms {
        *models.entry(model).or_default() += 1;
    }
    let said = |&(name, model, weight): &(&str, &str, u32)| {
        let label = if models[model] > 1 { name } else { model };
        format!("{label} ({})", share(weight, sum))
    };
    arms.iter().map(said).collect::<Vec<_>>().join(" / ")
}

/// A weight's part of a sum in percent: whole, or else with one decimal.
fn share(weight: u32, sum: u64) -> String {
    let (weight, sum) = (u64::from(weight), sum.max(1));
    if weight * 100 % sum == 0 {
        return format!("{}%", weight * 100 / sum);
    }
    let per_mille = (weight * 1_000 + sum / 2) / sum;
    format!("{}.{}%", per_mille / 10, per_mille % 10)
}

/// Opens an object with these fields; whoever calls adds others and closes it.
fn push_fields(out: &mut String, fields: &[(&str, &str)]) {
    for (i, (key, value)) in fields.iter().enumerate() {
        out.push(if i == 0 { '{' } else { ',' });
        push_json_text(out, key);
        out.push(':');
        push_json_text(out, value);
    }
}

fn push_target(out: &mut String, target: &Target) {
    push_fields(
        out,
        &[
            ("id", &target.id),
            ("provider", target.provider.as_str()),
            ("base_url", &target.base.as_url()),
            ("key", target.key.as_str()),
        ],
    );
    out.push('}');
}

fn push_policy(out: &mut String, policy: &PolicySettings) {
    push_fields(
        out,
        &[("name", &policy.name), ("type", "content_filter"), ("action", policy.action.as_str()), ("on", "request")],
    );
    out.push_str(",\"applies_to\":");
    push_json_list(out, &policy.applies_to, |out, name| push_json_text(out, name));
    out.push_str(",\"categories\":");
    push_json_list(out, &policy.categories, |out, category| push_json_text(out, category.as_str()));
    out.push_str(",\"threshold\":");
    push_json_text(out, policy.threshold.as_str());
    out.push('}');
}

fn push_clients(out: &mut String, clients: Option<&Clients>) {
    let Some(clients) = clients else { return out.push_str("null") };
    let all: Vec<(&str, bool)> = clients.iter().collect();
    push_json_list(out, &all, |out, &(name, has_key)| {
        push_fields(out, &[("name", name), ("key", if has_key { "present" } else { "missing" })]);
        out.push('}');
    });
}

fn push_limits(out: &mut String, limits: &Limits) {
    for (i, limit) in Limits::ALL.iter().enumerate() {
        let (open, value) = (if i == 0 { '{' } else { ',' }, (limit.read)(limits));
        push(out, format_args!("{open}\"{}\":{value}", limit.name));
    }
    out.push('}');
}
