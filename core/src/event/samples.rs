//! Events and a plan for the tests of this folder.

use super::frame::{Decision, Room};
use super::line::Stamp;
use super::{Event, FirstTry, Gaps, Method, PolicyOutcome, PolicyResult, Verdict};
use crate::config::plan::Plan;
use crate::config::{Source, check as check_config};
use crate::fault::{Kind, Phase};
use crate::policy::Severity;
use crate::tally::{Usage, UsageSource};
use crate::transcript::{Bodies, Body};

pub(super) const STAMP: Stamp = Stamp { log_epoch: 7, seq: 42, wall_start_ns: 1_795_343_806_123_456_789, salt: 0xBEEF };

/// Lines are written one field a line here, and none of them has a line feed or an indent of its own.
#[track_caller]
pub(super) fn check(written: &[u8], expected: &str) {
    let expected: String = expected.lines().map(str::trim_start).collect();
    let (line, feed) = written.split_at(written.len() - 1);
    assert_eq!(feed, b"\n");
    assert_eq!(std::str::from_utf8(line).unwrap(), expected);
    simd_json::to_borrowed_value(&mut line.to_vec()).expect("every line is JSON");
}

/// The event's line, by way of its frame.
pub(super) fn line(event: &Event, stamp: &Stamp) -> Vec<u8> {
    let (mut frame, mut out) = (Vec::new(), Vec::new());
    event.encode(&plan(), Room::Whole, &mut frame);
    Decision::decode(&frame).expect("it was just written").write_line(stamp, &mut out);
    out
}

/// An event in which all that can be long is.
pub(super) fn monstrous(text: &str) -> Event {
    let result = PolicyResult {
        policy: 1,
        result: PolicyOutcome::Blocked,
        flagged: true,
        category: Some("violence"),
        score_thousandths: Some(1_000),
        severity: Some(Severity::High),
    };
    let body = Body { text: text.into(), cut: false };
    Event {
        request_id: text.into(),
        upstream_request_id: Some(text.into()),
        upstream_model: Some(text.into()),
        policies: vec![result; 1_000].into(),
        bodies: Some(Box::new(Bodies { asked: body.clone(), answered: body })),
        gaps: Some(Gaps { n: u64::MAX, mean_ns: u64::MAX, p99_ns: u64::MAX, max_ns: u64::MAX }),
        at_ns: u64::MAX,
        ended_ns: u64::MAX,
        latency_ns: u64::MAX,
        ttft_ns: Some(u64::MAX),
        upstream_ns: u64::MAX,
        connect_ns: u64::MAX,
        client_wait_ns: u64::MAX,
        overhead_ns: u64::MAX,
        slot: Some(u64::MAX),
        unit_hash: Some(u64::MAX),
        cost_picousd: Some(u64::MAX),
        retry_count: Some(u16::MAX),
        attempts: u32::MAX,
        first_try: Some(FirstTry { upstream_ns: u64::MAX, error: (Kind::AnswerMissing, Phase::FirstByte) }),
        core: u32::MAX,
        usage: Usage {
            prompt_tokens: u64::MAX,
            completion_tokens: u64::MAX,
            total_tokens: u64::MAX,
            cached_tokens: u64::MAX,
            cache_write_tokens: u64::MAX,
            cache_write_1h_tokens: u64::MAX,
            reasoning_tokens: u64::MAX,
        },
        ..streamed()
    }
}

pub(super) fn streamed() -> Event {
    Event {
        at_ns: 1_000_000_000,
        ended_ns: 1_285_123_456,
        request_id: "a \"quoted\" id".into(),
        upstream_request_id: Some("req_011".into()),
        client: Some(1),
        endpoint: "/v1/chat/completions",
        group: Some(0),
        arm: Some(1),
        upstream_model: Some("claude-sonnet-4".into()),
        method: Method::Block,
        slot: Some(19),
        unit_hash: Some(0xdead_beef),
        translation: Some(Box::default()),
        stream: true,
        status: 502,
        error: Some((Kind::AnswerTorn, Phase::Stream)),
        usage: Usage {
            prompt_tokens: 100,
            completion_tokens: 42,
            total_tokens: 142,
            cached_tokens: 20,
            cache_write_tokens: 5,
            cache_write_1h_tokens: 2,
            reasoning_tokens: 7,
        },
        usage_source: UsageSource::Partial,
        cost_picousd: Some(1_234_567),
        latency_ns: 285_123_456,
        ttft_ns: Some(120_000_500),
        upstream_ns: 280_000_000,
        connect_ns: 0,
        client_wait_ns: 3_000_000,
        overhead_ns: 2_123_001,
        gaps: Some(Gaps { n: 41, mean_ns: 3_902_439, p99_ns: 9_000_000, max_ns: 12_000_001 }),
        attempts: 2,
        first_try: Some(FirstTry { upstream_ns: 1_500_000, error: (Kind::AnswerMissing, Phase::FirstByte) }),
        retry_count: Some(1),
        policies: [
            PolicyResult {
                policy: 0,
                result: PolicyOutcome::Pass,
                flagged: true,
                category: Some("hate"),
                score_thousandths: Some(912),
                severity: Some(Severity::High),
            },
            PolicyResult {
                policy: 1,
                result: PolicyOutcome::Pass,
                flagged: false,
                category: None,
                score_thousandths: None,
                severity: None,
            },
        ]
        .into(),
        verdict: Verdict::Flag,
        bodies: None,
        core: 1,
    }
}

pub(super) fn refused() -> Event {
    Event {
        at_ns: 0,
        ended_ns: 1_000,
        request_id: "r-1".into(),
        upstream_request_id: None,
        client: None,
        endpoint: "/v1/chat/completions",
        group: None,
        arm: None,
        upstream_model: None,
        method: Method::None,
        slot: None,
        unit_hash: None,
        translation: None,
        stream: false,
        status: 400,
        error: Some((Kind::MalformedJson, Phase::Body)),
        usage: Usage::default(),
        usage_source: UsageSource::None,
        cost_picousd: None,
        latency_ns: 0,
        ttft_ns: None,
        upstream_ns: 0,
        connect_ns: 0,
        client_wait_ns: 0,
        overhead_ns: 0,
        gaps: None,
        attempts: 0,
        first_try: None,
        retry_count: None,
        policies: [].into(),
        verdict: Verdict::Allow,
        bodies: None,
        core: 0,
    }
}

/// With a digest and an epoch that don't change whenever the text does.
pub(super) fn plan() -> Plan {
    let source = Source { name: "policy-config.yaml".into(), bytes: CONFIG.into() };
    let file = check_config(&[source]).file.expect("the config is valid");
    let mut plan = Plan::resolve(&file, 3, None, &mut |_| None, &mut || 0).expect("no two clients share a key");
    plan.version.digest = "9f2c00112233".into();
    plan.groups[0].epoch = "0123456789abcdef".into();
    plan
}

const CONFIG: &str = "
version: '1'
providers:
  targets:
    - {id: openai, provider: openai, secret_key_ref: {env: OPENAI_API_KEY}}
    - {id: anthropic, provider: anthropic, secret_key_ref: {env: ANTHROPIC_API_KEY}, timeouts: {total_ms: 60000}}
model_groups:
  - name: quality-ab-test
    strategy: weighted
    assign_by: [{header: X-User-Id}, {body: metadata.user_id}, {client: true}]
    experiment: {primary: 'ttft:p50', margin: 2.5%}
    targets:
      - {provider: openai, model: gpt-4o, weight: 70, pricing: {input: 1}}
      - {provider: anthropic, model: claude-sonnet-4-20250514, weight: 30}
policies:
  - {name: basic-filter, type: content_filter, action: flag, config: {categories: [hate]}}
  - {name: strict, type: content_filter, action: block, config: {categories: [violence]}}
gateway:
  clients: [{name: team a, key_ref: {env: A}}, {name: team b, key_ref: {env: B}}]
";
