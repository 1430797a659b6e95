//! What is refused, before a vendor hears of it.

use crate::harness::{
    ANTHROPIC_TOKENS, Config, Gateway, MESSAGES, Vendor, anthropic, chat, chat_of, chunked, openai, post, refuses,
    request,
};

#[test]
fn requests_that_make_no_sense_are_refused_one_by_one_and_logged() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::before(&vendor);
    let cases = [
        ("", 400, "malformed_json"),
        ("{", 400, "malformed_json"),
        ("nonsense", 400, "malformed_json"),
        ("[]", 400, "malformed_json"),
        ("{}", 400, "invalid_field"),
        (r#"{"model":7,"messages":[]}"#, 400, "invalid_field"),
        (r#"{"model":"","messages":[]}"#, 400, "invalid_field"),
        (r#"{"model":"chat"}"#, 400, "invalid_field"),
        (r#"{"model":"chat","messages":"Hi"}"#, 400, "invalid_field"),
        (r#"{"model":"chat","messages":[],"stream":"yes"}"#, 400, "invalid_field"),
        (r#"{"model":"chat","model":"chat","messages":[]}"#, 400, "duplicate_key"),
        (r#"{"model":"chat","mod\u0065l":"chat","messages":[]}"#, 400, "duplicate_key"),
        (r#"{"model":"chat","messages":[NaN]}"#, 400, "malformed_json"),
        (r#"{"model":"chat","messages":[]} {}"#, 400, "malformed_json"),
    ];
    for (body, status, code) in cases {
        refuses(&gateway, &post(body), status, code, false);
    }
    refuses(&gateway, &post(format!("{{\"a\":{}", "[".repeat(100_000))), 400, "json_too_deep", false);
    refuses(&gateway, &post(b"{\"model\":\"\xff\",\"messages\":[]}"), 400, "malformed_json", false);
    assert_eq!(vendor.connections(), 0, "none of it reaches a vendor");
    let events = gateway.stop();
    assert_eq!(events.len(), cases.len() + 2);
    for (event, (body, status, code)) in events.iter().zip(cases) {
        assert_eq!(event.count("status"), u64::from(status), "{body}");
        assert_eq!(event.text("error.kind"), code, "{body}");
        assert_eq!((event.text("error.side"), event.text("error.phase")), ("client".to_owned(), "body".to_owned()));
        assert!(event.is_null("model") && event.is_null("arm") && event.text("assignment.method") == "none");
        assert_eq!(event.text("usage_source"), "none");
    }
}

#[test]
fn an_unknown_model_is_told_the_groups() {
    let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
    let gateway = Gateway::with(Config::tutorial(&gpt, &claude, (70, 30))).start();
    let answer = refuses(&gateway, &chat("gpt-3"), 404, "model_not_found", false);
    let message = answer.json().text("error.message");
    assert!(message.contains("quality-ab-test"), "{message}");
    // A model that exactly one arm has is taken at its word.
    gateway.client().ask(chat("claude-sonnet-4-20250514")).completion(ANTHROPIC_TOKENS);
    let events = gateway.stop();
    assert_eq!(events[0].text("error.kind"), "unknown_model");
    assert_eq!(events[1].text("assignment.method"), "direct");
    assert!(events[1].is_null("assignment.slot"));
}

#[test]
fn what_anthropic_cant_be_told_is_refused_and_never_dropped() {
    let vendor = Vendor::start(anthropic);
    let gateway = Gateway::with(Config::anthropic(&vendor, "", "")).start();
    for (fields, param) in
        [(r#","n":2"#, "n"), (r#","logprobs":true"#, "logprobs"), (r#","modalities":["text","audio"]"#, "modalities")]
    {
        let answer = refuses(&gateway, &chat_of("chat", fields), 422, "not_expressible", false);
        assert_eq!(answer.json().text("error.param"), param);
    }
    assert_eq!(vendor.connections(), 0);
    let events = gateway.stop();
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.count("status") == 422 && event.text("model") == "claude-x"));
}

#[test]
fn a_content_coded_request_is_refused() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::before(&vendor);
    let asked = request("POST /v1/chat/completions", &["Content-Encoding: gzip"], Some(b"\x1f\x8b"));
    refuses(&gateway, &asked, 415, "body_content_coded", false);
    assert_eq!(gateway.stop_with_one_event().count("status"), 415);
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "gateway: {limits: {body_bytes_max: 1000}}\n")).start();
    let small = format!(r#"{{"model":"chat",{MESSAGES}}}"#);
    let fits = format!("{small:1000}");
    assert_eq!(fits.len(), 1000);
    gateway.client().ask(post(&fits)).openai_completion();
    refuses(&gateway, &post(format!("{fits} ")), 413, "body_too_large", false);
    let chunks =
        [request("POST /v1/chat/completions", &["Transfer-Encoding: chunked"], None), chunked(format!("{fits} "))];
    refuses(&gateway, &chunks.concat(), 413, "body_too_large", false);
    // Only announced, and not yet sent.
    let announced =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n";
    let mut client = gateway.client();
    assert_eq!(client.ask(announced).error(413), "body_too_large");
    client.half_close();
    assert!(client.is_closed());
    let events = gateway.stop();
    assert_eq!(events.iter().map(|event| event.count("status")).collect::<Vec<_>>(), [200, 413, 413, 413]);
    assert!(events[1..].iter().all(|event| event.number("latency_ms") == 0.0));
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "gateway: {limits: {body_bytes_max: 1000}}\n")).start();
    let mut client = gateway.client();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n");
    client.send(" ".repeat(30_000));
    client.send(" ".repeat(30_000));
    assert_eq!(client.answer().error(413), "body_too_large");
    assert!(client.is_closed());
}

#[test]
fn heads_that_are_no_http_are_refused_and_counted_but_not_logged() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::before(&vendor);
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(70_000));
    for (head, status, code) in [
        ("nonsense\r\n\r\n", 400, "malformed_head"),
        ("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "malformed_host"),
        ("POST /v1/chat/completions HTTP/1.1\r\n\r\n", 400, "malformed_host"),
        ("POST /v1/chat/completions HTTP/1.1\r\nHost : a\r\n\r\n", 400, "malformed_field_name"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "http2_preface"),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 400, "unknown_version"),
        (&long, 431, "head_too_large"),
    ] {
        refuses(&gateway, head.as_bytes(), status, code, false);
    }
    assert_eq!(gateway.stop(), []);
}

#[test]
fn framing_that_two_readers_could_read_differently_is_refused() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::before(&vendor);
    let body = format!(r#"{{"model":"chat",{MESSAGES}}}"#);
    for (fields, code) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "length_and_chunked_together"),
        ("Content-Length: 5\r\nContent-Length: 6", "malformed_length"),
        ("Content-Length: +5", "malformed_length"),
        ("Content-Length: 5, 5", "malformed_length"),
        ("Transfer-Encoding: gzip, chunked", "unknown_transfer_coding"),
        ("Transfer-Encoding: xchunked", "unknown_transfer_coding"),
    ] {
        let asked = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
        refuses(&gateway, asked.as_bytes(), 400, code, false);
    }
    for chunk in ["5;a\n", "0x5\r\n", "-1\r\n", "fffffffffffffffff\r\n", "2\r\n{}X"] {
        let asked =
            format!("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
        refuses(&gateway, asked.as_bytes(), 400, "malformed_chunk", false);
    }
    assert_eq!(vendor.connections(), 0);
    assert_eq!(gateway.stop().len(), 11);
}
