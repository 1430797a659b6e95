//! One request's line in the decision log.
//!
//! An [`Event`] is a closed record, and small: names that the config knows (client, group, arm, target, provider, model)
//! are indices into the [`Plan`](crate::config::plan::Plan) that answered. A core encodes it with that plan's names into a frame
//! ([`Event::encode`]); the writer reads the frame as a [`Decision`] and prints its line. Times are nanoseconds since the
//! process started, by the monotonic clock; the writer adds the wall clock of the start.
//!
//! Beside the decisions stand the log's own records: `config` ([`write_config_line`]), `gap` ([`Shed`]), `lost`
//! ([`Lost`]), `retention` ([`Removed`]), `torn` ([`Torn`]) and `clock` ([`ClockStep`]).

mod frame;
mod line;
mod own;
#[cfg(test)]
mod samples;

pub use frame::{ArmNames, Decision, GroupNames, List, PolicyNames, Room, layout};
pub use line::{DECISION_START, Stamp, is_decision, parse_rfc3339, write_rfc3339};
pub use own::{ClockStep, Lost, Previous, Removed, Shed, Torn, WhenFull, write_config_line};

use crate::dialect::Report;
use crate::fault::{Kind, Phase};
use crate::policy::Severity;
use crate::tally::{Usage, UsageSource};
use crate::transcript::Bodies;

/// A closed record: one admitted request, whatever its end.
#[derive(Clone, Debug)]
pub struct Event {
    /// Request read whole (or its refusal decided), ns since process start.
    pub at_ns: u64,
    /// Last byte of the answer handed to the kernel, ns since process start.
    pub ended_ns: u64,
    /// The client's own or ours; what `x-request-id` said.
    pub request_id: Box<str>,
    /// The vendor's id of the request, cut to 256 bytes.
    pub upstream_request_id: Option<Box<str>>,
    /// Who asked, as an index into the plan's clients; none when the plan has none, or knows no such key.
    pub client: Option<u32>,
    /// The path that was asked, e.g. `/v1/chat/completions`.
    pub endpoint: &'static str,
    /// Group and arm, indices into the plan; arm is none when none was drawn.
    pub group: Option<u32>,
    /// Index into the group's arms.
    pub arm: Option<u32>,
    /// The model as the vendor's answer said it, cut to 256 bytes.
    pub upstream_model: Option<Box<str>>,
    /// How the arm came about.
    pub method: Method,
    /// The group's place, when the arm was drawn from a block or was next in turn.
    pub slot: Option<u64>,
    /// What the request lost in translation; none if it passed as it is, or never came so far.
    pub translation: Option<Box<Report>>,
    /// What tells the unit apart that the arm was assigned by, without saying who it is.
    pub unit_hash: Option<u64>,
    /// The client asked for a stream.
    pub stream: bool,
    /// As the client saw it; 499 when it had gone.
    pub status: u16,
    /// What went wrong, if it did.
    pub error: Option<(Kind, Phase)>,
    /// Tokens.
    pub usage: Usage,
    /// Where they come from.
    pub usage_source: UsageSource,
    /// What it cost, in pico-dollars; none when that isn't known.
    pub cost_picousd: Option<u64>,
    /// Request read whole → last byte of the answer handed to the kernel.
    pub latency_ns: u64,
    /// Request read whole → first content; streamed answers only.
    pub ttft_ns: Option<u64>,
    /// Request handed to the vendor's socket → vendor's last byte read.
    pub upstream_ns: u64,
    /// Name, TCP and TLS; 0 when a connection was reused.
    pub connect_ns: u64,
    /// Blocked on a slow reader.
    pub client_wait_ns: u64,
    /// What is left for us.
    pub overhead_ns: u64,
    /// Between content events of a stream.
    pub gaps: Option<Gaps>,
    /// How often a vendor was asked: 0, 1 or 2. A connection that could not be made counts.
    pub attempts: u32,
    /// The first of two tries.
    pub first_try: Option<FirstTry>,
    /// Which retry of the client's own library this is, as that says; 0 is the first try.
    pub retry_count: Option<u16>,
    /// What each policy said, in listed order. Boxed and usually empty: a request without policies pays nothing.
    pub policies: Box<[PolicyResult]>,
    /// The worst of them.
    pub verdict: Verdict,
    /// The beginnings of request and answer, where the log is told to keep them.
    pub bodies: Option<Box<Bodies>>,
    /// Core that served it.
    pub core: u32,
}

/// `assignment.method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Drawn from a permuted block.
    Block,
    /// Worked out from the unit: the same one always gets the same arm.
    Hash,
    /// Next in turn.
    RoundRobin,
    /// The one of two that has been answering faster.
    LeastLatency,
    /// The client named the only arm with this model.
    Direct,
    /// Nothing was assigned.
    None,
}

impl Method {
    /// The word in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Hash => "hash",
            Self::RoundRobin => "round_robin",
            Self::LeastLatency => "least_latency",
            Self::Direct => "direct",
            Self::None => "none",
        }
    }
}

/// A try over a kept connection that turned out to be stale, so that there was another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstTry {
    /// From the hand-over to the end of that connection; 0 if the request could not be handed over.
    pub upstream_ns: u64,
    /// What showed that it was stale.
    pub error: (Kind, Phase),
}

/// Time between content events as read from the vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gaps {
    /// How many gaps: content events less one.
    pub n: u64,
    /// Their mean.
    pub mean_ns: u64,
    /// Their 99th percentile.
    pub p99_ns: u64,
    /// The largest.
    pub max_ns: u64,
}

/// What one policy said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyResult {
    /// Index into the plan's policies.
    pub policy: u32,
    /// Whether it let the request pass.
    pub result: PolicyOutcome,
    /// Whether it found something.
    pub flagged: bool,
    /// The category it found it in.
    pub category: Option<&'static str>,
    /// The highest score of its categories, in thousandths; none where it gives no scores.
    pub score_thousandths: Option<u16>,
    /// How severe what it found is; none where it doesn't say.
    pub severity: Option<Severity>,
}

impl PolicyResult {
    /// The verdict on a request that only this policy has judged. A policy that failed says nothing.
    pub const fn verdict(&self) -> Verdict {
        match (self.result, self.flagged) {
            (PolicyOutcome::Blocked, _) => Verdict::Block,
            (PolicyOutcome::Modified, _) => Verdict::Redact,
            (PolicyOutcome::Pass, true) => Verdict::Flag,
            (PolicyOutcome::Pass, false) | (PolicyOutcome::Error, _) => Verdict::Allow,
        }
    }
}

/// `policies[].result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyOutcome {
    /// The request passed.
    Pass,
    /// It passed, changed.
    Modified,
    /// It was refused.
    Blocked,
    /// The policy failed.
    Error,
}

impl PolicyOutcome {
    /// The word in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Modified => "modified",
            Self::Blocked => "blocked",
            Self::Error => "error",
        }
    }
}

/// `verdict`, from the best to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing found.
    #[default]
    Allow,
    /// Something found; the request passed.
    Flag,
    /// Something was taken out.
    Redact,
    /// The request or its answer was refused.
    Block,
}

impl Verdict {
    /// The word in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Flag => "flag",
            Self::Redact => "redact",
            Self::Block => "block",
        }
    }
}
