//! Policies at work: what passes, what is said of it, what is refused and what the vendor gets to see.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{
    Config, Gateway, OPENAI_TOKENS, Received, Script, State, Step, Vendor, anthropic, chunked, http, json, kt, lines,
    openai, post, sse_head,
};

/// A gateway in front of one vendor, with these policies.
fn gateway(vendor: &Vendor, policies: &str) -> Gateway {
    Gateway::with(Config::openai(vendor, "", &format!("policies:\n{policies}\n"))).start()
}

fn ask(model: &str, text: &str, stream: bool) -> Vec<u8> {
    post(format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"{text}"}}]}}"#))
}

/// A vendor that streams these pieces of text.
fn streaming(pieces: &'static [&'static str]) -> impl Fn(&Received) -> Script + Send + Sync {
    move |_| {
        let mut script = vec![Step::Send(sse_head())];
        for piece in pieces {
            let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{piece}\"}}}}]}}\n\n");
            script.push(Step::Pause(Duration::from_millis(5)));
            script.push(Step::Send(chunked(event)));
        }
        let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        script.extend([Step::Send(chunked(end)), Step::Send(chunked(""))]);
        script
    }
}

#[test]
fn a_flag_passes_and_a_block_is_403_and_no_vendor_is_asked() {
    let vendor = Vendor::start(openai);
    let policies = "  - {name: watch, type: content_filter, action: flag, config: {categories: [self-harm]}}\n  \
                    - {name: strict, type: content_filter, action: block, config: {categories: [violence]}}";
    let gateway = gateway(&vendor, policies);
    assert_eq!(
        gateway.client().ask(ask("chat", "I want to end my life", false)).completion(OPENAI_TOKENS).text("object"),
        "chat.completion"
    );
    let refused = gateway.client().ask(ask("chat", "how to build a bomb", true));
    assert_eq!(refused.error(403), "input_blocked");
    let error = refused.json().text("error.message");
    assert!(error.contains("strict") && error.contains("violence") && !error.contains("bomb"), "{error}");
    let body = refused.json();
    assert_eq!(
        (body.text("error.type").as_str(), body.text("error.code").as_str()),
        ("policy_violation", "input_blocked")
    );
    assert_eq!(refused.field("x-should-retry"), Some("false"));
    assert_eq!(vendor.requests().len(), 1);
    let events = gateway.events(2);
    assert_eq!((events[0].text("verdict"), events[1].text("verdict")), ("flag".to_owned(), "block".to_owned()));
    assert_eq!(events[0].text("policies.0.category"), "self_harm");
    assert_eq!(events[0].text("policies.0.severity"), "high");
    assert!(events[0].number("policies.0.score") >= 0.85);
    assert_eq!(events[1].text("policies.1.result"), "blocked");
}

#[test]
fn what_is_redacted_never_reaches_the_vendor_and_nothing_else_changes() {
    let vendor = Vendor::start(openai);
    let policies = "  - {name: private, type: pii, action: redact, config: {types: [email, card]}}";
    let gateway = gateway(&vendor, policies);
    let text = r#"mail a@b.io,\n pay 4111 1111 1111 1111 caf\u00e9, call +49 30 1234567"#;
    gateway.client().ask(ask("chat", text, false)).completion(OPENAI_TOKENS);
    let got = vendor.request();
    let wanted = text.replace("a@b.io", "[REDACTED:email]").replace("4111 1111 1111 1111", "[REDACTED:card]");
    assert!(got.body().contains(&wanted), "{}", got.body());
    let events = gateway.events(1);
    assert_eq!(
        (events[0].text("verdict"), events[0].text("policies.0.result")),
        ("redact".to_owned(), "modified".to_owned())
    );
}

#[test]
fn a_stream_is_cut_where_a_policy_blocks_it() {
    let pieces = &["All is", " well. How to bu", "ild a bo", "mb. ", "And so on.", " The end."];
    let vendor = Vendor::start(streaming(pieces));
    let policies =
        "  - {name: out, type: content_filter, action: block, on: response, config: {categories: [violence]}}";
    let gateway = gateway(&vendor, policies);
    let answer = gateway.client().ask(ask("chat", "hello", true));
    assert_eq!(answer.status, 200);
    let text = answer.text();
    assert!(text.contains("All is") && !text.contains("And so on") && !text.contains("[DONE]"), "{text}");
    assert!(text.contains("output_blocked") && text.contains("policy_violation"), "{text}");
    let event = gateway.stop_with_one_event();
    assert_eq!((event.text("verdict"), event.count("status")), ("block".to_owned(), 403));
    assert_eq!(event.text("error.kind"), "answer_blocked_by_policy");
}

#[test]
fn a_buffered_answer_is_seen_whole_or_not_at_all() {
    let policies = "  - {name: out, type: content_filter, action: block, on: both, config: {mode: buffered}}";
    let bad = Vendor::start(streaming(&["All is well. How to bu", "ild a bomb"]));
    let refused = gateway(&bad, policies).client().ask(ask("chat", "hello", true));
    assert_eq!(refused.error(403), "output_blocked");
    let good = Vendor::start(openai);
    let gateway = gateway(&good, policies);
    let answer = gateway.client().ask(ask("chat", "hello", true)).whole(200);
    assert!(answer.text().contains("[DONE]"));
    assert_eq!(gateway.stop_with_one_event().text("verdict"), "allow");
}

#[test]
fn an_answer_that_is_no_stream_is_judged_before_it_is_sent() {
    let body = r#"{"choices":[{"message":{"role":"assistant","content":"Write to jane@example.org"}}]}"#;
    let vendor = Vendor::saying(http(200, "Content-Type: application/json\r\n", body));
    let policies = "  - {name: leak, type: pii, action: block, on: response}";
    let gateway = gateway(&vendor, policies);
    let refused = gateway.client().ask(ask("chat", "hello", false));
    assert_eq!(refused.error(403), "output_blocked");
    assert!(refused.json().text("error.message").contains("email"));
    assert_eq!(gateway.stop_with_one_event().text("verdict"), "block");
}

/// What an event of a stream says.
fn said_by(event: &str) -> Option<String> {
    (event != "[DONE]").then(|| json(event).find("choices.0.delta.content")?.as_text())?
}

#[test]
fn what_an_answer_tells_of_somebody_is_taken_out_of_it() {
    let policies = "  - {name: out, type: pii, action: redact, on: response, config: {mode: realtime}}";
    let body = r#"{"choices":[{"message":{"role":"assistant","content":"Write to jane@example.org \u00e9"}}]}"#;
    let whole = Vendor::saying(http(200, "Content-Type: application/json\r\n", body));
    let gateway_of_whole = gateway(&whole, policies);
    let answer = gateway_of_whole.client().ask(ask("chat", "hello", false)).whole(200);
    assert_eq!(answer.text(), body.replace("jane@example.org", "[REDACTED:email]"));
    let event = gateway_of_whole.stop_with_one_event();
    assert_eq!((event.text("verdict"), event.text("policies.0.result")), ("redact".to_owned(), "modified".to_owned()));
    let streamed =
        Vendor::start(streaming(&["Write to ja", "ne@examp", "le.org", ", or pay 4111", " 1111 1111 ", "1111"]));
    let gateway = gateway(&streamed, policies);
    let answer = gateway.client().ask(ask("chat", "hello", true)).whole(200);
    let said: String = answer.events().iter().filter_map(|event| said_by(event)).collect();
    assert_eq!(said, "Write to [REDACTED:email], or pay [REDACTED:card]");
    assert!(answer.text().contains("[DONE]"));
    assert_eq!(gateway.stop_with_one_event().text("verdict"), "redact");
}

#[test]
fn a_private_key_is_refused_in_a_stream_before_any_of_it_has_passed() {
    let vendor = Vendor::start(streaming(&["The key:\\n", "-----BEG", "IN PRIVATE KEY", "-----\\nMIIB", "more"]));
    let gateway = gateway(&vendor, "  - {name: out, type: pii, action: redact, on: response}");
    let answer = gateway.client().ask(ask("chat", "hello", true));
    let text = answer.text();
    assert!(text.contains("The key") && text.contains("output_blocked") && !text.contains("BEG"), "{text}");
    assert!(text.contains("private_key") && !text.contains("[DONE]"), "{text}");
    assert_eq!(gateway.stop_with_one_event().text("verdict"), "block");
}

#[test]
fn policies_change_with_a_reload_while_requests_are_in_flight() {
    let vendor = Vendor::start(openai);
    let config = |action: &str| {
        Config::openai(&vendor, "", &format!("policies:\n  - {{name: p, type: content_filter, action: {action}}}\n"))
    };
    let gateway = Gateway::with(config("flag")).start();
    let mut client = gateway.client();
    for round in 0..20 {
        let action = if round % 2 == 0 { "block" } else { "flag" };
        gateway.rewrite(&config(action));
        assert_eq!(gateway.reload().code, Some(0));
        let status = gateway.client().ask(ask("chat", "how to build a bomb", false)).status;
        assert_eq!(status, if action == "block" { 403 } else { 200 }, "round {round}");
        client.ask(ask("chat", "hello", false)).completion(OPENAI_TOKENS);
    }
    let events = gateway.events(40);
    assert_eq!(events.iter().filter(|event| event.text("verdict") == "block").count(), 10);
    assert_eq!(events.iter().filter(|event| event.text("verdict") == "flag").count(), 10);
}

#[test]
fn under_load_no_request_is_judged_by_half_a_chain() {
    let vendor = Vendor::start(openai);
    // Each chain flags by its first policy and, if odd, blocks by its second.
    let config = |round: usize| {
        let action = if round % 2 == 1 { "block" } else { "flag" };
        let policies = format!(
            "policies:\n  - {{name: first-{round}, type: content_filter, action: flag}}\n  - {{name: second-{round}, \
             type: content_filter, action: {action}, on: both}}\n"
        );
        Config::openai(&vendor, "", &policies)
    };
    let gateway = Gateway::with(config(0)).start();
    let done = AtomicBool::new(false);
    let asked: usize = std::thread::scope(|scope| {
        let load = || {
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) {
                let status = gateway.client().ask(ask("chat", "how to build a bomb", false)).status;
                assert!(status == 200 || status == 403, "{status}");
                asked += 1;
            }
            asked
        };
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(load)).collect();
        for round in 1..12 {
            gateway.rewrite(&config(round));
            assert_eq!(gateway.reload().code, Some(0));
        }
        done.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("a client that is answered")).sum()
    });
    for event in gateway.events(asked) {
        let names = [event.text("policies.0.name"), event.text("policies.1.name")];
        let rounds = names.each_ref().map(|name| name.rsplit('-').next().unwrap_or_default());
        assert_eq!(rounds[0], rounds[1], "{event:?}");
        let is_odd = rounds[0].parse::<usize>().expect("a number") % 2 == 1;
        assert_eq!(event.text("verdict"), if is_odd { "block" } else { "flag" }, "{event:?}");
        assert_eq!(event.count("status"), if is_odd { 403 } else { 200 }, "{event:?}");
    }
}

#[test]
fn wherever_a_stream_is_cut_the_verdict_is_the_same() {
    // Texts, and whether they are refused; cut by event and by byte of the connection.
    for mode in ["realtime", "buffered"] {
        let policies = format!(
            "  - {{name: out, type: content_filter, action: block, on: response, config: {{mode: {mode}}}}}\n  \
             - {{name: pay, type: pii, action: block, on: response, config: {{mode: {mode}, types: [card]}}}}"
        );
        for (text, is_refused) in [("Well. How to build a bomb", true), ("Pay 4111 1111 1111 1111 2", false)] {
            let cut = AtomicUsize::new(0);
            let vendor = Vendor::start(move |_| {
                let (one, other) = text.split_at(cut.fetch_add(1, Ordering::Relaxed) % text.len());
                let event = |text: &str| {
                    chunked(format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"))
                };
                let end =
                    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
                let bytes = [event(one), event(other), chunked(end), chunked("")].concat();
                let (some, rest) = bytes.split_at(one.len() * 7 % bytes.len());
                vec![Step::Send(sse_head()), Step::Send(some.to_vec()), Step::Send(rest.to_vec())]
            });
            let gateway = gateway(&vendor, &policies);
            for _ in 0..text.len() {
                let answer = gateway.client().ask(ask("chat", "hello", true));
                assert_eq!(answer.text().contains("output_blocked"), is_refused, "{mode}: {answer:?}");
                assert_eq!(answer.status, if is_refused && mode == "buffered" { 403 } else { 200 });
            }
            let verdicts: Vec<_> = gateway.events(text.len()).iter().map(|event| event.text("verdict")).collect();
            assert!(
                verdicts.iter().all(|verdict| verdict == if is_refused { "block" } else { "allow" }),
                "{verdicts:?}"
            );
        }
    }
}

#[test]
fn cases_are_held_against_a_config_without_a_gateway() {
    let state = State::new();
    let vendor = Vendor::start(anthropic);
    let config = Config::openai(&vendor, "", "policies:\n  - {name: p, type: content_filter, action: block}\n");
    let config = state.write("config.yaml", config);
    let cases = r#"[
        {"name":"harmless","input":"How do I kill a process?","expect":{"verdict":"allow"}},
        {"name":"harmful","input":[{"role":"user","content":"how to build a bomb"}],
         "expect":{"verdict":"block","policy":"p","category":"violence"}},
        {"name":"wrong","input":"hello","expect":{"verdict":"block"}}]"#;
    let cases = state.write("cases.json", cases);
    let file = config.to_str().expect("a path").to_owned();
    let output = kt(&["policy", "test", "--file", &file, cases.to_str().expect("a path")]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let wanted = "✓ harmless\n✓ harmful\n✗ wrong\n    verdict: expected block, got allow\n2 passed, 1 failed\n";
    assert_eq!(output.stdout, wanted);
    let output = kt(&["policy", "test", "--json", "--file", &file, cases.to_str().expect("a path")]);
    let passed: Vec<bool> = lines(&output.stdout).iter().map(|case| case.is("passed")).collect();
    assert_eq!(passed, [true, true, false]);
    let output = kt(&["policy", "explain", "--text", "how to build a bomb"]);
    assert_eq!(output.code, Some(0));
    assert!(output.stdout.contains("violence") && output.stdout.contains("high"), "{}", output.stdout);
}
