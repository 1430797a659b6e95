//! A record is reserved, drafted and closed without memory of its own, once one of the usual size has passed.
//!
//! A test of its own, for it replaces the allocator of its whole process by one that counts.

#![allow(clippy::unwrap_used, reason = "whatever fails here fails the test")]

#[path = "../../core/tests/counting/mod.rs"]
mod counting;

use std::sync::Arc;

use kt_core::config::plan::Plan;
use kt_core::config::{Source, check};
use kt_core::event::{Event, Method};
use kt_core::record::Record;
use kt_core::route::Selection;
use kt_proxy::clock::Clock;
use kt_proxy::ledger::{Ledger, Quill};
use kt_proxy::state::StateDir;

use counting::allocations;

const CONFIG: &str = "
version: '1'
providers: {targets: [{id: openai, provider: openai, secret_key_ref: {env: OPENAI_API_KEY}}]}
model_groups: [{name: chat, strategy: weighted, targets: [{provider: openai, model: gpt-4o, weight: 100}]}]
";

fn event(now: u64) -> Event {
    let mut record = Record::begin("/v1/chat/completions", "req_0123456789abcdefghijklmnop".into(), 0);
    record.read_whole(now);
    record.assigned(&Selection { group: 0, arm: 0, method: Method::Block, slot: Some(7), unit_hash: None }, None);
    record.vendor_says_model("gpt-4o-2024-08-06");
    record.close(200, None, now + 925_000)
}

fn close(quill: &mut Quill, event: &Event, plan: &Plan) {
    let slot = quill.reserve().expect("a few hundred have room");
    quill.draft(&slot, event, plan);
    let _ = quill.push(slot, event, plan); // as if a timer was armed, which the next line is
    let _ = quill.flush(); // nothing is refused here that it could not send
}

#[test]
fn closing_a_record_takes_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _lock) = StateDir::open(Some(&dir.path().join("state"))).unwrap();
    let source = Source { name: "policy-config.yaml".into(), bytes: CONFIG.into() };
    let file = check(&[source]).file.unwrap();
    let plan = Arc::new(Plan::resolve(&file, 1, None, &mut |_| None, &mut || 0).unwrap());
    let clock = Clock::start();
    let (ledger, mut quills) = Ledger::start(&state, 1, &plan, clock).unwrap();
    let event = event(clock.now_ns());
    close(&mut quills[0], &event, &plan);
    let before = allocations();
    assert!(before > 0, "it counts");
    for _ in 0..500 {
        close(&mut quills[0], &event, &plan);
    }
    assert_eq!(allocations() - before, 0);
    drop(quills);
    ledger.shutdown().unwrap();
}
