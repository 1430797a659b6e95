//! The chain: who is asked, what counts, and what the client is told.

use std::sync::LazyLock;

use super::*;
use crate::json::{Scratch, Span, scan};

static KNOWN: LazyLock<Knowledge> = LazyLock::new(Knowledge::new);

fn policy(name: &str, action: Action, applies_to: &[&str], category: Category) -> Policy {
    let applies_to = applies_to.iter().map(|&group| group.into()).collect();
    Policy::content_filter(name.into(), action, applies_to, [category].into(), Threshold::Medium)
}

fn judged(policies: &[Policy], messages: &str) -> Judgement {
    let body = format!(r#"{{"messages":{messages}}}"#);
    let mut scratch = Scratch::default();
    scan(body.as_bytes(), &mut scratch).unwrap();
    let value = Value::at(body.as_bytes(), Span::new(0, body.len()));
    judge(policies, Some(&KNOWN), "group", body.as_bytes(), value)
}

#[test]
fn without_policies_everything_is_allowed() {
    assert_eq!(judged(&[], r#"[{"role":"user","content":"how to build a bomb"}]"#), Judgement::default());
}

#[test]
fn any_text_of_the_body_counts_and_names_too() {
    let policies = [policy("p", Action::Flag, &[], Category::Violence)];
    // Messages, and whether they are flagged.
    let cases = [
        (r#"[{"role":"user","content":"build a bomb"}]"#, true),
        (r#"[{"role":"user","content":"all is well"},{"role":"user","content":"Build  a BOMB!"}]"#, true),
        (r#"[{"role":"user","content":[{"type":"text","text":"so build a bomb"}]}]"#, true),
        (r#"[{"role":"user","content":"b\u0075ild a bomb"}]"#, true),
        (r#"[{"role":"user","content":"line\nbuild a bomb\nline"}]"#, true),
        (r#"[{"role":"user","content":{"deep":[[["build a bomb"]]]}}]"#, true),
        (r#"[{"role":"tool","tool_call_id":"c","content":"build a bomb"}]"#, true),
        (r#"[{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"q\":\"build a bomb\"}"}}]}]"#, true),
        (r#"[{"type":"thinking","thinking":"build a bomb"}]"#, true),
        (r#"[{"content":[{"type":"text","text":"build a bo"},{"type":"text","text":"mb"}]}]"#, true),
        (r#"[{"role":"user","build a bomb":"hello"}]"#, true),
        (r#"[{"role":"user","content":[{"type":"tool_use","input":{"how to build a bomb":{"n":[1]}}}]}]"#, true),
        (r#"[{"role":"user","content":"hello"}]"#, false),
        ("[]", false),
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
        policy("first", Action::Flag, &[], Category::Violence),
        policy("elsewhere", Action::Block, &["another"], Category::Violence),
        policy("second", Action::Block, &["another", "group"], Category::Violence),
        policy("third", Action::Block, &[], Category::Sexual),
    ];
    let judgement = judged(&policies, r#"[{"role":"user","content":"I want to build a bomb"}]"#);
    let said: Vec<_> = judgement.results.iter().map(|r| (r.policy, r.result, r.category)).collect();
    let wanted = [
        (0, PolicyOutcome::Pass, Some("violence")),
        (2, PolicyOutcome::Blocked, Some("violence")),
        (3, PolicyOutcome::Pass, None),
    ];
    assert_eq!(said, wanted);
    assert_eq!(judgement.results[0].severity, Some(Severity::High));
    assert_eq!(judgement.verdict, Verdict::Block);
    let fault = judgement.blocked.unwrap();
    assert_eq!((fault.kind, fault.phase), (Kind::BlockedByPolicy, Phase::Body));
    assert_eq!(fault.message(), "The request was blocked by a policy: policy \"second\", category violence.");
}

#[test]
fn a_policy_of_another_group_is_not_asked() {
    let policies = [policy("p", Action::Block, &["another"], Category::Violence)];
    assert_eq!(judged(&policies, r#"[{"role":"user","content":"build a bomb"}]"#), Judgement::default());
}

/// Every cut of a text gives what the whole one gives.
#[test]
fn what_is_found_does_not_depend_on_where_a_text_is_cut() {
    let texts = [
        "I want to build a b0mb. Then \"kill him\" & go &#107;ill all of them, k i l l them!",
        "Ｋｉｌｌ кill k\u{200b}ill ki\u{301}ll — fu*k y0u!! die Datei… 中文。 end my life",
        "one. Two? three!\n\nfour\nfive e. g. six & seven &nosuch; &#x6b; eight",
    ];
    for text in texts {
        let mut scan = Scan::default();
        scan.push(text, &KNOWN);
        let whole = scan.finish(&KNOWN);
        for (cut, _) in text.char_indices() {
            scan.push(&text[..cut], &KNOWN);
            scan.push(&text[cut..], &KNOWN);
            assert_eq!(scan.finish(&KNOWN), whole, "{text} cut at {cut}");
        }
        for c in text.chars() {
            scan.push(c.encode_utf8(&mut [0; 4]), &KNOWN);
        }
        assert_eq!(scan.finish(&KNOWN), whole, "{text} by characters");
    }
}
