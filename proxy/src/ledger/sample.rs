//! Records for the tests of this folder.

use std::sync::Arc;

use kt_core::config::plan::Plan;
use kt_core::config::{Source, check};
use kt_core::event::{Event, Method, Verdict};
use kt_core::tally::{Usage, UsageSource};

/// A plan of nothing but a version.
pub(super) fn plan(ordinal: u64) -> Arc<Plan> {
    let source = Source { name: "policy-config.yaml".into(), bytes: b"version: '1'".into() };
    let file = check(&[source]).file.expect("the config is valid");
    Arc::new(Plan::resolve(&file, ordinal, None, &mut |_| None, &mut || 0).expect("it has no clients"))
}

/// A decision that ended at `at_ns`, with the request id `r-<at_ns>`.
pub(super) fn event(core: u32, at_ns: u64) -> Event {
    Event {
        at_ns,
        ended_ns: at_ns,
        request_id: format!("r-{at_ns}").into(),
        upstream_request_id: None,
        client: None,
        endpoint: "/v1/chat/completions",
        group: None,
        arm: None,
        upstream_model: None,
        method: Method::None,
        slot: None,
        translation: None,
        unit_hash: None,
        stream: false,
        status: 200,
        error: None,
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
        core,
    }
}
