//! Judging a request: allow, flag or refuse.
//!
//! The policies of a plan are a chain in listed order. [`Judging`] reads every text of a request once, for all policies
//! that apply to its group, and in slices, so that a long one holds nothing up; what they say comes out together, as a
//! [`Judgement`]. What a policy looks for is its rule's business: [`content`] holds texts against what the filter knows.

mod category;
pub mod content;
mod fold;
mod lexicon;
pub mod model;
mod normalise;
mod text;
mod words;

use crate::event::{PolicyOutcome, PolicyResult, Verdict};
use crate::fault::{Fault, Kind, Phase};
use crate::json::Value;
pub use category::{CATEGORIES, Category, Severity, Threshold};
pub use content::{Finding, Findings, Knowledge, Scan};
use text::Texts;

/// One `policies[]`, ready to judge.
#[derive(Debug)]
pub struct Policy {
    /// Unique in the file.
    pub name: Box<str>,
    /// What happens on a hit.
    pub action: Action,
    /// Names of the groups it applies to; empty is all of them.
    pub applies_to: Box<[Box<str>]>,
    rule: Rule,
}

/// `policies[].action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The request passes, the event says so.
    Flag,
    /// The request is refused with 403.
    Block,
}

/// `policies[].type` with its `config`.
#[derive(Debug)]
enum Rule {
    ContentFilter { categories: Box<[Category]>, threshold: Threshold },
}

/// What the policies say of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The worst of them.
    pub verdict: Verdict,
    /// What each that applies says, in listed order.
    pub results: Box<[PolicyResult]>,
    /// What the client is told if one of them refuses: which policy and what it found, never the text.
    pub blocked: Option<Fault>,
}

/// A request being judged.
#[derive(Debug)]
pub struct Judging<'a> {
    policies: &'a [Policy],
    knowledge: Option<&'a Knowledge>,
    group: &'a str,
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
        let is_read = policies.iter().any(|policy| policy.applies_to(group));
        let texts = if is_read { Texts::of(body, value) } else { Texts::default() };
        Self { policies, knowledge, group, texts, scan }
    }

    /// Reads a slice of the text; whether it was the last.
    pub fn advance(&mut self) -> bool {
        let Some(known) = self.knowledge else { return true };
        self.texts.advance(known, &mut self.scan)
    }

    /// What the policies say, once [`Self::advance`] has read the last slice.
    pub fn conclude(mut self) -> (Judgement, Scan) {
        let findings = self.knowledge.map(|known| self.scan.finish(known)).unwrap_or_default();
        let applying = (0..).zip(self.policies).filter(|(_, policy)| policy.applies_to(self.group));
        let results: Box<[PolicyResult]> = applying.map(|(nth, policy)| policy.judge(nth, &findings)).collect();
        (self.conclusion(results), self.scan)
    }

    fn conclusion(&self, results: Box<[PolicyResult]>) -> Judgement {
        let verdict = results.iter().map(verdict).max_by_key(|verdict| weight(*verdict)).unwrap_or_default();
        let blocked = results.iter().find(|result| result.result == PolicyOutcome::Blocked).map(|result| {
            let name = &self.policies[result.policy as usize].name;
            let detail = format!("policy \"{name}\", category {}", result.category.unwrap_or("unknown"));
            Fault::with(Kind::BlockedByPolicy, Phase::Body, detail)
        });
        Judgement { verdict, results, blocked }
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

const fn verdict(result: &PolicyResult) -> Verdict {
    match (result.result, result.flagged) {
        (PolicyOutcome::Blocked, _) => Verdict::Block,
        (PolicyOutcome::Pass, true) => Verdict::Flag,
        (PolicyOutcome::Pass, false) => Verdict::Allow,
    }
}

const fn weight(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Flag => 1,
        Verdict::Block => 2,
    }
}

impl Policy {
    /// A policy that looks for texts of these categories, as severe as `threshold` or more.
    pub fn content_filter(
        name: Box<str>,
        action: Action,
        applies_to: Box<[Box<str>]>,
        categories: Box<[Category]>,
        threshold: Threshold,
    ) -> Self {
        let rule = Rule::ContentFilter { categories, threshold };
        Self { name, action, applies_to, rule }
    }

    /// `policies[].type`, as the event says it.
    pub const fn kind(&self) -> &'static str {
        match self.rule {
            Rule::ContentFilter { .. } => "content_filter",
        }
    }

    fn applies_to(&self, group: &str) -> bool {
        self.applies_to.is_empty() || self.applies_to.iter().any(|name| **name == *group)
    }

    /// What it says of a text, where `nth` is its place in the chain. Of several categories, the one with the highest
    /// score; of equal ones the first.
    fn judge(&self, nth: u32, findings: &Findings) -> PolicyResult {
        let Rule::ContentFilter { categories, threshold } = &self.rule;
        let of = |category: Category| findings[category as usize];
        let mut worst = categories[0];
        for &category in &**categories {
            if of(category).score > of(worst).score {
                worst = category;
            }
        }
        let found = of(worst);
        let flagged = threshold.counts(found.severity);
        let result = match self.action {
            Action::Block if flagged => PolicyOutcome::Blocked,
            Action::Block | Action::Flag => PolicyOutcome::Pass,
        };
        PolicyResult {
            policy: nth,
            result,
            flagged,
            category: flagged.then_some(worst.as_str()),
            // Between 0 and 1,000.
            score_thousandths: Some((found.score * 1_000.0) as u16),
            severity: Some(found.severity),
        }
    }
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 2] = [Self::Flag, Self::Block];

    /// The word in config and event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Block => "block",
        }
    }
}

#[cfg(test)]
mod tests;
