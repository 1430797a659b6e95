//! Policies that ask a model elsewhere: while it answers, while it is slow, and while it is down; and what a policy that
//! fails means.

use std::time::{Duration, Instant};

use crate::harness::{
    Gateway, OPENAI_TOKENS, Received, Script, Setup, Step, Vendor, http, kt, openai, openai_whole, post, sse_head,
};

/// How slow one is that is slow, and how long it is waited for.
const SLOW: Duration = Duration::from_millis(700);
const TIMEOUT_MS: u64 = 250;

/// A gateway in front of `vendor`, with a policy of this action that asks `moderator`.
fn gateway(vendor: &Vendor, moderator: &str, action: &str, more: &str) -> Setup {
    Gateway::with(format!(
        "version: '1'
providers:
  targets:
    - {{id: vendor, provider: openai-compatible, base_url: {}}}
    - {{id: judge, provider: openai-compatible, base_url: {moderator}, secret_key_ref: {{env: OPENAI_API_KEY}}}}
model_groups:
  - {{name: chat, targets: [{{provider: vendor, model: gpt-4o, weight: 100}}]}}
policies:
{more}  - name: strong
    type: external_moderation
    action: {action}
    config: {{target: judge, model: strict-one, categories: [hate, violence], timeout_ms: {TIMEOUT_MS}}}
",
        vendor.url(),
    ))
}

/// Finds hate in what says "bad", and nothing else in anything.
fn moderation(request: &Received) -> Script {
    let score = if request.body().contains("bad") { 0.93 } else { 0.01 };
    let body = format!(
        r#"{{"id":"modr-1","model":"m","results":[{{"flagged":{},"categories":{{"hate":{},"self-harm":true}},"category_scores":{{"hate":{score},"self-harm":1.0,"violence":0.2}}}}]}}"#,
        score > 0.5,
        score > 0.5
    );
    vec![Step::Send(http(200, "Content-Type: application/json\r\n", body))]
}

fn slow(request: &Received) -> Script {
    let mut script = vec![Step::Pause(SLOW)];
    script.extend(moderation(request));
    script
}

fn ask(text: &str) -> Vec<u8> {
    post(format!(r#"{{"model":"chat","messages":[{{"role":"user","content":"{text}"}}]}}"#))
}

/// Where nobody listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("its address"))
}

#[test]
fn one_that_blocks_is_asked_before_the_vendor_and_what_it_finds_is_403() {
    let (vendor, moderator) = (Vendor::start(openai), Vendor::start(moderation));
    let gateway = gateway(&vendor, &moderator.url(), "block", "").start();
    let mut client = gateway.client();
    client.ask(ask("all is \\u0077ell")).completion(OPENAI_TOKENS);
    let asked = moderator.request();
    assert_eq!(asked.line(), "POST /v1/moderations HTTP/1.1");
    assert_eq!(asked.body(), r#"{"model":"strict-one","input":"all is \u0077ell"}"#);
    assert_eq!(asked.field("content-type"), Some("application/json"));
    assert!(asked.field("authorization").is_some_and(|key| key.starts_with("Bearer ")), "{:?}", asked.fields());
    let refused = gateway.client().ask(ask("so bad"));
    assert_eq!(refused.error(403), "input_blocked");
    let message = refused.json().text("error.message");
    assert!(message.contains("strong") && message.contains("hate") && !message.contains("bad"), "{message}");
    assert_eq!(vendor.requests().len(), 1);
    assert_eq!(moderator.connections(), 1, "its connection is used again");
    let events = gateway.events(2);
    assert_eq!((events[0].text("verdict"), events[0].text("policies.0.result")), ("allow".into(), "pass".into()));
    assert_eq!((events[1].text("verdict"), events[1].text("policies.0.result")), ("block".into(), "blocked".into()));
    assert_eq!(events[1].text("policies.0.type"), "external_moderation");
    assert_eq!(
        (events[1].text("policies.0.category"), events[1].text("policies.0.severity")),
        ("hate".into(), "high".into())
    );
    assert_eq!(events[1].number("policies.0.score"), 0.93);
}

#[test]
fn one_that_flags_is_asked_beside_the_vendor_and_the_record_waits_for_it() {
    let (vendor, moderator) = (
        Vendor::start(openai),
        Vendor::start(|request: &Received| {
            let mut script = vec![Step::Pause(Duration::from_millis(TIMEOUT_MS / 2))];
            script.extend(moderation(request));
            script
        }),
    );
    let gateway = gateway(&vendor, &moderator.url(), "flag", "").start();
    let mut client = gateway.client();
    for text in ["so bad", "all is well"] {
        client.ask(ask(text)).completion(OPENAI_TOKENS);
    }
    let mut events = gateway.events(2);
    events.sort_by_key(|event| event.text("timestamp"));
    let verdicts = events.iter().map(|event| event.text("verdict")).collect::<Vec<_>>();
    assert_eq!(verdicts, ["flag", "allow"]);
    assert_eq!(events[0].text("policies.0.category"), "hate");
    // The answer's time is the client's, whatever the record waited for.
    assert!(events[0].number("latency_ms") < TIMEOUT_MS as f64 / 2.0, "{}", events[0].number("latency_ms"));
}

#[test]
fn one_that_is_slow_or_down_fails_and_a_flag_passes_all_the_same() {
    let moderators = [(Some(Vendor::start(slow)), "slow"), (None, "down")];
    for (moderator, how) in &moderators {
        let vendor = Vendor::start(openai);
        let url = moderator.as_ref().map_or_else(nowhere, Vendor::url);
        let gateway = gateway(&vendor, &url, "flag", "").start();
        let began = Instant::now();
        gateway.client().ask(ask("so bad")).completion(OPENAI_TOKENS);
        assert!(began.elapsed() < SLOW, "{how}");
        let event = gateway.stop_with_one_event();
        assert_eq!(
            (event.text("verdict"), event.text("policies.0.result"), event.is("policies.0.flagged")),
            ("allow".into(), "error".into(), false),
            "{how}"
        );
    }
}

#[test]
fn what_a_blocking_policy_could_not_judge_passes_only_where_it_may() {
    type Answer = fn(&Received) -> Script;
    let broken: [(&str, Answer); 4] = [
        ("slow", slow),
        ("an error", |_| vec![Step::Send(http(500, "", "{}"))]),
        ("nonsense", |_| vec![Step::Send(http(200, "", "oops"))]),
        ("cut off", |_| vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec()), Step::Close]),
    ];
    for (how, answer) in broken {
        let (vendor, moderator) = (Vendor::start(openai), Vendor::start(answer));
        let closed = gateway(&vendor, &moderator.url(), "block", "").start();
        let refused = closed.client().ask(ask("all is well"));
        assert_eq!(refused.error(403), "input_blocked", "{how}");
        let message = refused.json().text("error.message");
        assert!(message.contains("strong") && message.contains("could not judge"), "{message}");
        assert!(vendor.requests().is_empty(), "{how}");
        let event = closed.stop_with_one_event();
        assert_eq!((event.text("verdict"), event.text("policies.0.result")), ("block".into(), "error".into()), "{how}");
        let open = gateway(&vendor, &moderator.url(), "block", "").arg("--fail-mode").arg("allow").start();
        open.client().ask(ask("all is well")).completion(OPENAI_TOKENS);
        let event = open.stop_with_one_event();
        assert_eq!((event.text("verdict"), event.text("policies.0.result")), ("allow".into(), "error".into()), "{how}");
    }
}

#[test]
fn an_idle_connection_that_has_been_closed_is_replaced() {
    let (vendor, moderator) = (Vendor::start(openai), Vendor::start(moderation));
    let gateway = gateway(&vendor, &moderator.url(), "block", "").start();
    for _ in 0..3 {
        gateway.client().ask(ask("all is well")).completion(OPENAI_TOKENS);
        moderator.close_idle();
    }
    assert_eq!(moderator.requests().len(), 3);
}

#[test]
fn what_another_policy_takes_out_is_not_shown_and_what_it_refuses_is_not_asked() {
    let (vendor, moderator) = (Vendor::start(openai), Vendor::start(moderation));
    let more = "  - {name: private, type: pii, action: redact}\n  \
                - {name: local, type: content_filter, action: block, config: {categories: [violence]}}\n";
    let gateway = gateway(&vendor, &moderator.url(), "block", more).start();
    gateway.client().ask(ask("write to a@b.io")).completion(OPENAI_TOKENS);
    assert!(moderator.request().body().contains("[REDACTED:email]"), "{}", moderator.request().body());
    assert_eq!(gateway.client().ask(ask("how to build a bomb")).error(403), "input_blocked");
    assert_eq!(moderator.requests().len(), 1);
}

#[test]
fn a_client_that_leaves_while_a_moderation_is_waited_for_gets_its_record() {
    let vendor = Vendor::start(openai);
    let moderator = Vendor::start(slow);
    let gateway = gateway(&vendor, &moderator.url(), "block", "").start();
    let mut client = gateway.client();
    client.send(ask("all is well"));
    moderator.wait_for_requests(1);
    drop(client);
    let event = &gateway.events(1)[0];
    assert_eq!((event.count("status"), event.text("error.kind")), (499, "client_gone".into()));
    assert!(vendor.requests().is_empty());
}

#[test]
fn a_drain_waits_for_records_that_wait() {
    let (vendor, moderator) = (Vendor::start(openai), Vendor::start(slow));
    let gateway = gateway(&vendor, &moderator.url(), "flag", "").start();
    gateway.client().ask(ask("so bad")).completion(OPENAI_TOKENS);
    let events = gateway.stop();
    assert_eq!(events.len(), 1);
}

/// An answer that can't be read: a flag lets it pass, a block does as it is told.
#[test]
fn an_answer_that_cannot_be_judged_passes_a_flag_and_a_block_as_fail_mode_says() {
    let coded = || {
        let body = openai_whole();
        let start = body.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        Vendor::saying(http(200, "Content-Type: application/json\r\nContent-Encoding: br\r\n", &body[start..]))
    };
    for (action, mode, status, verdict) in
        [("flag", "block", 200, "allow"), ("block", "allow", 200, "allow"), ("block", "block", 403, "block")]
    {
        let vendor = coded();
        let config = format!(
            "version: '1'
providers: {{targets: [{{id: vendor, provider: openai-compatible, base_url: {}}}]}}
model_groups: [{{name: chat, targets: [{{provider: vendor, model: gpt-4o, weight: 100}}]}}]
policies: [{{name: out, type: content_filter, action: {action}, on: response}}]
",
            vendor.url()
        );
        let gateway = Gateway::with(config).arg("--fail-mode").arg(mode).start();
        let answer = gateway.client().ask(ask("hello"));
        assert_eq!(answer.status, status, "{action} {mode}");
        let event = gateway.stop_with_one_event();
        assert_eq!(
            (event.text("verdict"), event.text("policies.0.result")),
            (verdict.into(), "error".into()),
            "{action} {mode}"
        );
    }
}

/// What is more than may be held is not judged; a stream that only flags isn't held at all.
#[test]
fn an_answer_too_large_to_be_held_is_one_that_cannot_be_judged() {
    let event =
        |text: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let streaming = move |_: &Received| {
        let mut script = vec![Step::Send(sse_head())];
        for _ in 0..40 {
            script.push(Step::Send(crate::harness::chunked(event(&"word ".repeat(500)))));
        }
        let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        script.extend([Step::Send(crate::harness::chunked(end)), Step::Send(crate::harness::chunked(""))]);
        script
    };
    for (action, mode, status, result) in
        [("flag", "block", 200, "pass"), ("block", "allow", 200, "error"), ("block", "block", 403, "error")]
    {
        let vendor = Vendor::start(streaming);
        let config = format!(
            "version: '1'
providers: {{targets: [{{id: vendor, provider: openai-compatible, base_url: {}}}]}}
model_groups: [{{name: chat, targets: [{{provider: vendor, model: gpt-4o, weight: 100}}]}}]
policies: [{{name: out, type: content_filter, action: {action}, on: response, config: {{mode: buffered}}}}]
gateway: {{limits: {{answer_bytes_max: 65536}}}}
",
            vendor.url()
        );
        let gateway = Gateway::with(config).arg("--fail-mode").arg(mode).start();
        let asked = post(r#"{"model":"chat","stream":true,"messages":[{"role":"user","content":"hello"}]}"#);
        let answer = gateway.client().ask(asked);
        assert_eq!(answer.status, status, "{action} {mode}");
        let event = gateway.stop_with_one_event();
        assert_eq!(event.text("policies.0.result"), result, "{action} {mode}");
    }
}

#[test]
fn an_external_moderation_is_checked_like_the_rest_of_a_config() {
    let state = crate::harness::State::new();
    let config = |policy: &str| {
        format!(
            "version: '1'
providers:
  targets:
    - {{id: a, provider: openai}}
    - {{id: b, provider: anthropic}}
model_groups: [{{name: g, targets: [{{provider: a, model: m, weight: 50}}, {{provider: b, model: n, weight: 50}}]}}]
policies: [{{name: p, type: external_moderation, action: block{policy}}}]
"
        )
    };
    for (policy, code, said) in [
        (", config: {target: a}", 0, ""),
        ("", 1, "say whom it asks"),
        (", config: {}", 1, "the key \"target\" is missing"),
        (", config: {target: c}", 1, "unknown provider \"c\""),
        (", config: {target: b}", 1, "has no moderations"),
        (", on: both, config: {target: a}", 1, "judges requests only"),
        (", config: {target: a, timeout_ms: 0}", 1, "timeout_ms"),
    ] {
        let file = state.write("config.yaml", config(policy));
        let output = kt(&["policy", "lint", "--file", file.to_str().expect("a path")]);
        assert_eq!(output.code, Some(code), "{policy}: {}", output.stderr);
        let all = output.stdout + &output.stderr;
        assert!(all.contains(said), "{policy}: {all}");
    }
}
