//! Judging requests and answers: allow, flag, redact or refuse.
//!
//! The policies of a plan are a chain in listed order. [`Judging`] reads every text of a request once, for all policies
//! that apply to its group, and in slices, so that a long one holds nothing up; [`Hearing`] reads an answer as it comes.
//! What they say comes out together, as a [`Judgement`]. What a policy looks for is its rule's business: [`content`] holds
//! texts against what the filter knows, [`pii`] finds personal data and keys.

mod category;
pub mod content;
pub mod external;
mod fold;
mod hearing;
mod held;
mod lexicon;
pub mod model;
mod normalise;
pub mod pii;
mod redact;
mod said;
mod tail;
mod text;
mod words;

use crate::event::{PolicyOutcome, PolicyResult, Verdict};
use crate::fault::{Fault, Kind, Phase};
use crate::json::{Span, Value};
pub use category::{CATEGORIES, Category, Severity, Threshold};
pub use content::{Finding, Findings, Knowledge, Scan};
pub use external::External;
pub use hearing::Hearing;
use text::Texts;

/// One `policies[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Unique in the file.
    pub name: Box<str>,
    /// What happens on a hit.
    pub action: Action,
    /// What is judged.
    pub on: On,
    /// Names of the groups it applies to; empty is all of them.
    pub applies_to: Box<[Box<str>]>,
    /// Whether a streamed answer waits for the judgement.
    pub mode: Mode,
    /// What it looks for.
    pub rule: Rule,
}

/// `policies[].action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It passes, the event says so.
    Flag,
    /// It is refused with 403.
    Block,
    /// What was found is taken out; personal data only.
    Redact,
}

/// `policies[].on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// What the client asks.
    Request,
    /// What the vendor answers.
    Response,
    /// Both.
    Both,
}

/// `policies[].config.mode`: what becomes of a streamed answer until it has been judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It passes as it is scored; a refusal ends it.
    #[default]
    Realtime,
    /// It is held until all of it has been judged.
    Buffered,
}

/// `policies[].type` with its `config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Texts of these categories, as severe as the threshold or more.
    ContentFilter {
        /// At least one.
        categories: Box<[Category]>,
        /// How severe.
        threshold: Threshold,
    },
    /// Personal data and keys.
    Pii {
        /// At least one.
        kinds: Box<[pii::Kind]>,
    },
    /// What a model elsewhere says of a request.
    External(External),
}

/// `--fail-mode`: what becomes of a request or an answer that a blocking policy could not judge. What only flags lets it
/// pass either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailMode {
    /// It is refused.
    #[default]
    Block,
    /// It passes.
    Allow,
}

/// What the policies say of one request or answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The worst of them.
    pub verdict: Verdict,
    /// What each that applies says, in listed order.
    pub results: Box<[PolicyResult]>,
    /// What the client is told if one of them refuses: which policy and what it found, never the text.
    pub blocked: Option<Fault>,
    /// The body as it is to be passed on, where something was taken out of it.
    pub redacted: Option<Vec<u8>>,
}

/// A request being judged.
#[derive(Debug)]
pub struct Judging<'a> {
    policies: &'a [Policy],
    knowledge: Option<&'a Knowledge>,
    group: &'a str,
    body: &'a [u8],
    value: Value<'a>,
    texts: Texts<'a>,
    scan: Scan,
}

impl<'a> Judging<'a> {
    /// Begins with a request's body, or the part of it that is to be judged. `scan` is one that was used before, or
    /// new; it comes back at the end.
    ///
    /// `group` is the name of the request's group. Every string value counts as text, whoever said it and in whatever
    /// field, so that no text can hide where nobody thought of it.
    pub fn begin(
        policies: &'a [Policy],
        knowledge: Option<&'a Knowledge>,
        group: &'a str,
        body: &'a [u8],
        value: Value<'a>,
        scan: Scan,
    ) -> Self {
        let is_read = policies.iter().any(|policy| policy.judges(On::Request, group) && policy.is_content_filter());
        let texts = if is_read { Texts::of(body, value) } else { Texts::default() };
        Self { policies, knowledge, group, body, value, texts, scan }
    }

    /// Reads a slice of the text; whether it was the last.
    pub fn advance(&mut self) -> bool {
        let Some(known) = self.knowledge else { return true };
        self.texts.advance(known, &mut self.scan)
    }

    /// What the policies say, once [`Self::advance`] has read the last slice.
    pub fn conclude(mut self) -> (Judgement, Scan) {
        let findings = self.knowledge.map(|known| self.scan.finish(known)).unwrap_or_default();
        let mut redacted: Option<Vec<u8>> = None;
        let mut results = Vec::new();
        let judging = (0..).zip(self.policies).filter(|(_, policy)| policy.judges(On::Request, self.group));
        for (nth, policy) in judging {
            let found = match &policy.rule {
                Rule::ContentFilter { .. } => redact::Found::default(),
                Rule::Pii { kinds } => match &redacted {
                    None => redact::read(self.body, self.value, kinds),
                    // What one has taken out, the next one doesn't see.
                    Some(body) => redact::read(body, Value::at(body, Span::new(0, body.len())), kinds),
                },
                // Whoever has sockets asks it, and notes what it says.
                Rule::External(_) => continue,
            };
            results.push(policy.result(nth, &findings, found.kind));
            if policy.action == Action::Redact {
                redacted = found.redacted.or(redacted);
            }
        }
        let judgement = conclusion(self.policies, results.into(), Kind::BlockedByPolicy, Phase::Body);
        (Judgement { redacted, ..judgement }, self.scan)
    }
}

/// What comes of all results together; `kind` and `phase` are a refusal's.
fn conclusion(policies: &[Policy], results: Box<[PolicyResult]>, kind: Kind, phase: Phase) -> Judgement {
    let verdict = results.iter().map(PolicyResult::verdict).max().unwrap_or_default();
    let blocked = results.iter().find(|result| result.result == PolicyOutcome::Blocked).map(|result| {
        let name = &policies[result.policy as usize].name;
        let detail = format!("policy \"{name}\", category {}", result.category.unwrap_or("unknown"));
        Fault::with(kind, phase, detail)
    });
    Judgement { verdict, results, blocked, redacted: None }
}

/// What comes of policies that could not judge: each has the result `error`, and if one of them blocks or redacts it is
/// `mode` that decides.
fn failure(
    policies: &[Policy],
    failed: impl Iterator<Item = u32>,
    mode: FailMode,
    kind: Kind,
    phase: Phase,
) -> Judgement {
    let failed: Vec<u32> = failed.collect();
    let of = |nth: u32| &policies[nth as usize];
    let results = failed.iter().map(|&nth| of(nth).said(nth, PolicyOutcome::Error, None)).collect();
    let refuses = failed.iter().find(|&&nth| mode == FailMode::Block && of(nth).action != Action::Flag);
    let blocked =
        refuses.map(|&nth| Fault::with(kind, phase, format!("policy \"{}\", which could not judge it", of(nth).name)));
    let verdict = if blocked.is_some() { Verdict::Block } else { Verdict::Allow };
    Judgement { verdict, results, blocked, redacted: None }
}

/// The policies of a request's group that ask elsewhere, with their places in the chain.
pub fn external<'p>(policies: &'p [Policy], group: &str) -> impl Iterator<Item = (u32, &'p Policy, &'p External)> {
    (0..).zip(policies).filter_map(move |(nth, policy)| match &policy.rule {
        Rule::External(external) if policy.judges(On::Request, group) => Some((nth, policy, external)),
        Rule::External(_) | Rule::ContentFilter { .. } | Rule::Pii { .. } => None,
    })
}

/// What the policy at this place says of a request, by what was found elsewhere; nothing was, if that failed.
pub fn judge_externally(policies: &[Policy], nth: u32, found: Option<&Findings>, mode: FailMode) -> Judgement {
    let (kind, phase) = (Kind::BlockedByPolicy, Phase::Body);
    match found {
        Some(findings) => {
            let result = policies[nth as usize].result(nth, findings, None);
            conclusion(policies, [result].into(), kind, phase)
        }
        None => failure(policies, std::iter::once(nth), mode, kind, phase),
    }
}

/// Judges a request at once, without slices.
pub fn judge(
    policies: &[Policy],
    knowledge: Option<&Knowledge>,
    group: &str,
    body: &[u8],
    value: Value<'_>,
) -> Judgement {
    let mut judging = Judging::begin(policies, knowledge, group, body, value, Scan::default());
    while !judging.advance() {}
    judging.conclude().0
}

impl Policy {
    /// A policy that looks for texts of these categories in requests, as severe as `threshold` or more.
    pub fn content_filter(
        name: Box<str>,
        action: Action,
        applies_to: Box<[Box<str>]>,
        categories: Box<[Category]>,
        threshold: Threshold,
    ) -> Self {
        let rule = Rule::ContentFilter { categories, threshold };
        Self { name, action, on: On::Request, applies_to, mode: Mode::Realtime, rule }
    }

    /// `policies[].type`, as the event says it.
    pub const fn kind(&self) -> &'static str {
        match self.rule {
            Rule::ContentFilter { .. } => "content_filter",
            Rule::Pii { .. } => "pii",
            Rule::External(_) => "external_moderation",
        }
    }

    /// Whether it needs to know what content filters know.
    pub const fn is_content_filter(&self) -> bool {
        matches!(self.rule, Rule::ContentFilter { .. })
    }

    /// Whether it is asked of this group's requests at all.
    pub fn applies_to(&self, group: &str) -> bool {
        self.applies_to.is_empty() || self.applies_to.iter().any(|name| **name == *group)
    }

    /// Whether it judges this group's requests or its answers.
    pub fn judges(&self, what: On, group: &str) -> bool {
        (self.on == what || self.on == On::Both) && self.applies_to(group)
    }

    /// What it says of a text, where `nth` is its place in the chain: `findings` of the text, and the personal data that
    /// was found first.
    fn result(&self, nth: u32, findings: &Findings, found: Option<pii::Kind>) -> PolicyResult {
        match &self.rule {
            Rule::ContentFilter { categories, threshold } | Rule::External(External { categories, threshold, .. }) => {
                // Of several categories, the one with the highest score; of equal ones the first.
                let of = |category: Category| findings[category as usize];
                let mut worst = categories[0];
                for &category in &**categories {
                    if of(category).score > of(worst).score {
                        worst = category;
                    }
                }
                let found = of(worst);
                let category = threshold.counts(found.severity).then_some(worst.as_str());
                // Between 0 and 1,000.
                let score = (found.score * 1_000.0) as u16;
                let outcome = self.outcome(category.is_some());
                PolicyResult {
                    score_thousandths: Some(score),
                    severity: Some(found.severity),
                    ..self.said(nth, outcome, category)
                }
            }
            Rule::Pii { .. } => self.said(nth, self.outcome(found.is_some()), found.map(pii::Kind::as_str)),
        }
    }

    const fn said(&self, policy: u32, result: PolicyOutcome, category: Option<&'static str>) -> PolicyResult {
        PolicyResult { policy, result, flagged: category.is_some(), category, score_thousandths: None, severity: None }
    }

    const fn outcome(&self, found: bool) -> PolicyOutcome {
        match self.action {
            Action::Block if found => PolicyOutcome::Blocked,
            Action::Redact if found => PolicyOutcome::Modified,
            Action::Block | Action::Flag | Action::Redact => PolicyOutcome::Pass,
        }
    }
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Flag, Self::Block, Self::Redact];

    /// The word in config and event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Block => "block",
            Self::Redact => "redact",
        }
    }
}

impl On {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Request, Self::Response, Self::Both];

    /// The word in config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Both => "both",
        }
    }
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 2] = [Self::Realtime, Self::Buffered];

    /// The word in config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Realtime => "realtime",
            Self::Buffered => "buffered",
        }
    }
}

#[cfg(test)]
mod tests;
