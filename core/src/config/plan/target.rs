//! A vendor's address with a key, and what is known of its vendor.

use super::secret::{Credential, Secret, SecretRef};
use crate::config::file::TargetSettings;
use crate::dialect::Dialect;

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

pub(super) fn resolve_target(target: &TargetSettings, secret: &mut dyn FnMut(&SecretRef) -> Option<Secret>) -> Target {
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
