//! Who gets which arm: by unit, in turn, or by who answers faster.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::{
    Driver, Event, Gateway, State, Step, Vendor, chat, chat_of, on_each_driver, openai, openai_whole, request,
};

/// A group `ab` of two arms, `a` and `b`, with these further keys.
fn config(vendors: [&Vendor; 2], weights: (u32, u32), keys: &str, rest: &str) -> String {
    format!(
        "version: '1'
providers:
  targets:
    - {{id: one, provider: openai-compatible, base_url: '{}'}}
    - {{id: two, provider: openai-compatible, base_url: '{}'}}
model_groups:
  - name: ab
    {keys}
    targets:
      - {{provider: one, model: model-a, weight: {}, label: a}}
      - {{provider: two, model: model-b, weight: {}, label: b}}
{rest}",
        vendors[0].url(),
        vendors[1].url(),
        weights.0,
        weights.1
    )
}

fn of_user(user: &str) -> Vec<u8> {
    let body = br#"{"model":"ab","messages":[{"role":"user","content":"Hello"}]}"#;
    request("POST /v1/chat/completions", &[&format!("X-User-Id: {user}")], Some(body))
}

/// The arm of each user, as the answers say it, over one connection.
fn arms(gateway: &Gateway, users: u32) -> Vec<String> {
    let mut client = gateway.client();
    let mut arm = |user| {
        client.ask(of_user(&format!("user-{user}"))).whole(200).field("x-kt-arm").expect("it is said").to_owned()
    };
    (0..users).map(&mut arm).collect()
}

#[test]
fn a_user_keeps_its_arm_over_cores_restarts_and_the_order_of_the_file() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let state = State::new();
        let by_user = "assign_by: {header: x-user-id}";
        let first = Gateway::with(config([&vendor, &vendor], (70, 30), by_user, ""))
            .state(&state)
            .driver(driver)
            .cores(1)
            .start();
        let before = arms(&first, 100);
        let events = first.stop();
        let turned = config([&vendor, &vendor], (70, 30), by_user, "")
            .replace("label: a", "label: x")
            .replace("label: b", "label: a")
            .replace("label: x", "label: b");
        let turned = turned
            .replace("weight: 70", "weight: 7x")
            .replace("weight: 30", "weight: 70")
            .replace("weight: 7x", "weight: 30");
        let second = Gateway::with(turned).state(&state).driver(driver).cores(2).start();
        assert_eq!(arms(&second, 100), before);
        assert!((55..85).contains(&before.iter().filter(|arm| **arm == "a").count()), "{before:?}");
        for event in &events[..100] {
            assert_eq!(event.text("assignment.method"), "hash");
            assert!(event.is_null("assignment.slot"));
            let hash = event.text("assignment.unit_hash");
            assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
            let share = if event.text("arm") == "a" { 0.7 } else { 0.3 };
            assert_eq!(event.number("assignment.propensity"), share);
        }
        // Who they are stays out of the log.
        assert!(events.iter().all(|event| !format!("{event:?}").contains("user-")));
        let hashes: std::collections::BTreeSet<String> =
            events.iter().map(|event| event.text("assignment.unit_hash")).collect();
        assert_eq!(hashes.len(), 100);
    });
}

#[test]
fn other_weights_move_no_more_users_than_they_must() {
    let vendor = Vendor::start(openai);
    let by_user = "assign_by: {header: x-user-id}";
    let gateway = Gateway::with(config([&vendor, &vendor], (70, 30), by_user, "")).start();
    let before = arms(&gateway, 300);
    gateway.rewrite(&config([&vendor, &vendor], (50, 50), by_user, ""));
    assert_eq!(gateway.reload().code, Some(0));
    let after = arms(&gateway, 300);
    let moved: Vec<_> = before.iter().zip(&after).filter(|(was, is)| was != is).collect();
    assert!(moved.iter().all(|(was, is)| *was == "a" && *is == "b"), "from a to b alone");
    // A fifth of 300, give or take four standard deviations.
    assert!((33..=87).contains(&moved.len()), "{}", moved.len());
    let events = gateway.stop();
    let epochs = |events: &[Event]| {
        events.iter().map(|event| event.text("assignment.epoch")).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!((epochs(&events[..300]).len(), epochs(&events).len()), (1, 2), "other weights are another experiment");
}

#[test]
fn the_first_unit_that_is_there_counts_and_without_one_a_block_is_drawn() {
    let vendor = Vendor::start(openai);
    let keys = "assign_by: [{header: x-user-id}, {body: metadata.user}, {client: true}]";
    let clients = "gateway: {clients: [{name: team, key_ref: {env: TEAM}}]}\n";
    let gateway = Gateway::with(config([&vendor, &vendor], (50, 50), keys, clients)).env("TEAM", "key-of-team").start();
    let mut client = gateway.client();
    let key = "Authorization: Bearer key-of-team";
    let body = |fields: &str| format!(r#"{{"model":"ab","messages":[],{fields}"x":1}}"#).into_bytes();
    let line = "POST /v1/chat/completions";
    for (fields, body) in [
        (&[key, "x-user-id: u"][..], body(r#""metadata":{"user":"v"},"#)),
        (&[key], body(r#""metadata":{"user":"u"},"#)),
        (&[key, "x-user-id: "], body(r#""metadata":{"user":"\u0075"},"#)),
        (&[key], body("")),
        (&[key, "x-user-id: team"], body("")),
    ] {
        client.ask(request(line, fields, Some(&body))).whole(200);
    }
    let events = gateway.stop();
    let hash = |at: usize| events[at].text("assignment.unit_hash");
    assert_eq!((hash(0), hash(0)), (hash(1), hash(2)), "the same unit, wherever it was found");
    assert_eq!(hash(3), hash(4), "the client's name");
    assert_ne!(hash(0), hash(3));

    let gateway = Gateway::with(config([&vendor, &vendor], (50, 50), "assign_by: {body: user}", "")).start();
    let mut client = gateway.client();
    client.ask(chat("ab")).whole(200);
    client.ask(chat_of("ab", r#","user":"u""#)).whole(200);
    client.ask(chat_of("ab", r#","user":"""#)).whole(200);
    let events = gateway.stop();
    let said: Vec<_> = events.iter().map(|event| event.text("assignment.method")).collect();
    assert_eq!(said, ["block", "hash", "block"]);
    assert_eq!((events[0].count("assignment.slot"), events[2].count("assignment.slot")), (0, 1));
    assert!(events[0].is_null("assignment.unit_hash"));
}

#[test]
fn in_round_robin_each_arm_has_its_turn_over_all_cores() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(config([&vendor, &vendor], (75, 25), "strategy: round_robin", "")).cores(2).start();
    for _ in 0..40 {
        gateway.client().ask(chat("ab")).whole(200);
    }
    let events = gateway.stop();
    let by_slot: BTreeMap<u64, String> =
        events.iter().map(|event| (event.count("assignment.slot"), event.text("arm"))).collect();
    let arms: Vec<&str> = by_slot.values().map(String::as_str).collect();
    assert_eq!(arms, ["a", "a", "b", "a"].repeat(10));
    for event in &events {
        assert_eq!(event.text("assignment.method"), "round_robin");
        assert!(event.is_null("assignment.propensity"));
    }
}

#[test]
fn who_answers_faster_is_asked_more_and_who_fails_fast_is_not() {
    let fast = Vendor::start(openai);
    let slow = Vendor::start(|_| vec![Step::Pause(Duration::from_millis(60)), Step::Send(openai_whole())]);
    let strategy = "strategy: least_latency";
    let count = |gateway: Gateway, asked: usize| {
        let mut client = gateway.client();
        let statuses: Vec<u16> = (0..asked)
            .map(|_| {
                let answer = client.ask(chat("ab"));
                if answer.field("connection") == Some("close") {
                    client = gateway.client();
                }
                answer.status
            })
            .collect();
        let events = gateway.stop();
        assert!(events.iter().all(|event| event.text("assignment.method") == "least_latency"));
        (events.iter().filter(|event| event.text("arm") == "b").count(), statuses)
    };
    let driver = Driver::Epoll;
    let gateway = Gateway::with(config([&slow, &fast], (50, 50), strategy, "")).cores(1).driver(driver).start();
    let (of_fast, _) = count(gateway, 40);
    assert!(of_fast >= 36, "{of_fast} of 40");
    let failing = Vendor::start(|_| vec![Step::Send(crate::harness::http(500, "", "{}"))]);
    let gateway = Gateway::with(config([&failing, &slow], (50, 50), strategy, "")).cores(1).driver(driver).start();
    let (of_slow, statuses) = count(gateway, 30);
    assert!(of_slow >= 28, "{of_slow} of 30: {statuses:?}");
}
