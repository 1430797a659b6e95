//! Judging a request: allow, flag or refuse.
//!
//! [`judge`] asks every policy that applies to the request's group, and reports all of them, in listed order. What a
//! policy looks for is its rule's business; there is one kind of rule, the [`content_filter`]. Answers aren't judged.

pub mod content_filter;
mod phrases;

use crate::event::{PolicyOutcome, PolicyResult, Verdict};
use crate::fault::{Fault, Kind, Phase};
use crate::json::Value;
use content_filter::ContentFilter;
pub use content_filter::{Category, Threshold};

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
    ContentFilter(ContentFilter),
}

/// What the policies say of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The worst of them.
    pub verdict: Verdict,
    /// What each that applies says, in listed order; of several hits, the first in the text.
    pub results: Box<[PolicyResult]>,
    /// What the client is told if one of them refuses: which policy and what it found, never the text.
    pub blocked: Option<Fault>,
}

/// Judges every text of a request's `inputs`, whoever said it. Without policies it costs nothing.
///
/// `group` is the name of the request's group. Every string value counts as text: roles and links are read as well,
/// which is harmless, and no text can hide in a field nobody thought of.
pub fn judge<'b>(policies: &[Policy], group: &str, inputs: impl IntoIterator<Item = Value<'b>>) -> Judgement {
    let mut results: Box<[PolicyResult]> = (0..)
        .zip(policies)
        .filter(|(_, policy)| policy.applies_to(group))
        .map(|(nth, _)| PolicyResult { policy: nth, result: PolicyOutcome::Pass, flagged: false, category: None })
        .collect();
    if results.is_empty() {
        return Judgement::default();
    }
    for text in inputs.into_iter().flat_map(Value::strings).filter_map(Value::to_str) {
        for result in results.iter_mut().filter(|result| !result.flagged) {
            policies[result.policy as usize].read(&text, result);
        }
    }
    let verdict = results.iter().map(verdict).max_by_key(|verdict| severity(*verdict)).unwrap_or_default();
    let blocked = results.iter().find(|result| result.result == PolicyOutcome::Blocked).map(|result| {
        let name = &policies[result.policy as usize].name;
        let detail = format!("policy \"{name}\", category {}", result.category.unwrap_or("unknown"));
        Fault::with(Kind::BlockedByPolicy, Phase::Body, detail)
    });
    Judgement { verdict, results, blocked }
}

const fn verdict(result: &PolicyResult) -> Verdict {
    match (result.result, result.flagged) {
        (PolicyOutcome::Blocked, _) => Verdict::Block,
        (PolicyOutcome::Pass, true) => Verdict::Flag,
        (PolicyOutcome::Pass, false) => Verdict::Allow,
    }
}

const fn severity(verdict: Verdict) -> u8 {
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
        categories: Vec<Category>,
        threshold: Threshold,
    ) -> Self {
        let rule = Rule::ContentFilter(ContentFilter::new(&categories, threshold));
        Self { name, action, applies_to, rule }
    }

    /// `policies[].type`, as the event says it.
    pub const fn kind(&self) -> &'static str {
        match self.rule {
            Rule::ContentFilter(_) => "content_filter",
        }
    }

    fn applies_to(&self, group: &str) -> bool {
        self.applies_to.is_empty() || self.applies_to.iter().any(|name| **name == *group)
    }

    /// Notes in `result` what the text holds.
    fn read(&self, text: &str, result: &mut PolicyResult) {
        let found = match &self.rule {
            Rule::ContentFilter(filter) => filter.find(text).map(Category::as_str),
        };
        if found.is_some() {
            result.flagged = true;
            result.category = found;
            result.result = match self.action {
                Action::Flag => PolicyOutcome::Pass,
                Action::Block => PolicyOutcome::Blocked,
            };
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
mod tests {
    use super::*;
    use crate::json::{Scratch, scan};

    fn policy(name: &str, action: Action, applies_to: &[&str], category: Category) -> Policy {
        let applies_to = applies_to.iter().map(|&group| group.into()).collect();
        Policy::content_filter(name.into(), action, applies_to, vec![category], Threshold::Medium)
    }

    fn judged(policies: &[Policy], messages: &str) -> Judgement {
        let body = format!(r#"{{"messages":{messages},"other":"subhuman"}}"#);
        let mut scratch = Scratch::default();
        let messages = scan(body.as_bytes(), &mut scratch).unwrap().get("messages").unwrap();
        judge(policies, "group", [messages])
    }

    #[test]
    fn without_policies_everything_is_allowed() {
        assert_eq!(judged(&[], r#"[{"role":"user","content":"subhuman"}]"#), Judgement::default());
    }

    #[test]
    fn any_text_of_the_messages_counts_and_nothing_else() {
        let policies = [policy("p", Action::Flag, &[], Category::Hate)];
        // Messages, and whether they are flagged.
        let cases = [
            (r#"[{"role":"user","content":"You subhuman!"}]"#, true),
            (r#"[{"role":"user","content":"all is well"},{"role":"user","content":"SubHuman"}]"#, true),
            (r#"[{"role":"user","content":[{"type":"text","text":"so subhuman"}]}]"#, true),
            (r#"[{"role":"user","content":"sub\u0068uman"}]"#, true),
            (r#"[{"role":"user","content":"line\nsubhuman\nline"}]"#, true),
            (r#"[{"role":"user","content":{"deep":[[["subhuman"]]]}}]"#, true),
            (r#"[{"role":"user","subhuman":"hello"}]"#, false),
            (r#"[{"role":"user","content":"hello"}]"#, false),
            ("[]", false),
            ("7", false),
        ];
        for (messages, flagged) in cases {
            let judgement = judged(&policies, messages);
            assert_eq!(judgement.results.len(), 1, "{messages}");
            assert_eq!(judgement.results[0].flagged, flagged, "{messages}");
            assert_eq!(judgement.verdict, if flagged { Verdict::Flag } else { Verdict::Allow }, "{messages}");
            assert_eq!(judgement.blocked, None, "{messages}");
        }
    }

    #[test]
    fn every_policy_of_the_group_is_asked_and_the_worst_word_counts() {
        let policies = [
            policy("first", Action::Flag, &[], Category::Hate),
            policy("elsewhere", Action::Block, &["another"], Category::Hate),
            policy("second", Action::Block, &["another", "group"], Category::Violence),
            policy("third", Action::Block, &[], Category::Sexual),
        ];
        let judgement = judged(&policies, r#"[{"role":"user","content":"a subhuman pipe bomb"}]"#);
        let result = |policy, result, category: Option<&'static str>| PolicyResult {
            policy,
            result,
            flagged: category.is_some(),
            category,
        };
        let wanted = [
            result(0, PolicyOutcome::Pass, Some("hate")),
            result(2, PolicyOutcome::Blocked, Some("violence")),
            result(3, PolicyOutcome::Pass, None),
        ];
        assert_eq!(*judgement.results, wanted);
        assert_eq!(judgement.verdict, Verdict::Block);
        let fault = judgement.blocked.unwrap();
        assert_eq!((fault.kind, fault.phase), (Kind::BlockedByPolicy, Phase::Body));
        assert_eq!(fault.message(), "The request was blocked by a policy: policy \"second\", category violence.");
    }

    #[test]
    fn a_policy_of_another_group_is_not_asked() {
        let policies = [policy("p", Action::Block, &["another"], Category::Hate)];
        assert_eq!(judged(&policies, r#"[{"role":"user","content":"subhuman"}]"#), Judgement::default());
    }
}
