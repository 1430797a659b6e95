//! What a worker uses: the config resolved, checked and laid out for reading. Immutable; a reload makes a new one.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::dialect::Dialect;
use crate::limits::Limits;
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
    /// The credential; `None` when the variable or file it names is missing or empty, which makes the target
    /// unavailable.
    pub key: Option<Secret>,
    /// Whether a streamed request asks the vendor for usage.
    pub stream_usage: StreamUsage,
    /// A PEM file with the only roots that are trusted for this target, absolute; else the platform's or Mozilla's.
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
    /// A file, absolute; one line end at its end is taken off.
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

impl Arm {
    /// The weight's share of the group in percent, as people read it: `70%`, or `33.3%` when it isn't whole.
    pub fn share(&self, group: &Group) -> String {
        let sum: u64 = group.arms.iter().map(|arm| u64::from(arm.weight)).sum();
        let per_mille = (u64::from(self.weight) * 1_000 + sum / 2) / sum.max(1);
        if u64::from(self.weight) * 100 % sum.max(1) == 0 {
            format!("{}%", u64::from(self.weight) * 100 / sum.max(1))
        } else {
            format!("{}.{}%", per_mille / 10, per_mille % 10)
        }
    }
}

impl Group {
    /// The group as start and reload print it: `gpt-4o (70%) / claude-sonnet-4-20250514 (30%)`.
    pub fn split(&self) -> String {
        let arms: Vec<String> = self.arms.iter().map(|arm| format!("{} ({})", arm.model, arm.share(self))).collect();
        arms.join(" / ")
    }
}
