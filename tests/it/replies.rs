//! What comes back to clients, to the byte.

use crate::harness::{
    Config, Gateway, MESSAGES, OPENAI_TOKENS, Script, Step, Vendor, anthropic_error, chat, chat_of, chunked, http,
    on_each_driver, openai, openai_events, request, sse_head,
};

#[test]
fn an_identity_answer_is_the_vendors_bytes_however_it_is_framed() {
    on_each_driver(|driver| {
        let body = "{ \"id\": 7,\r\n\t\"usage\" : {\"prompt_tokens\":2,\"completion_tokens\":3,\"total_tokens\":5},\n\n \"model\":\"as it is\",\"é\":\"\\u00e9\" }\n\n";
        let head = "HTTP/1.1 200 Fine\r\ncontent-type: application/json\r\n";
        let pieces: Vec<u8> = body.as_bytes().chunks(7).flat_map(chunked).chain(chunked("")).collect();
        let by_length = vec![Step::Send(http(200, "content-type: application/json\r\n", body))];
        let in_chunks = vec![
            Step::Send(format!("{head}transfer-encoding: chunked\r\n\r\n").into()),
            Step::Send(pieces[..40].to_vec()),
            Step::Send(pieces[40..].to_vec()),
        ];
        let until_close = vec![Step::Send(format!("{head}\r\n{body}").into()), Step::Close];
        let byte_by_byte: Script = http(200, "", body).into_iter().map(|byte| Step::Send(vec![byte])).collect();
        let vendor = Vendor::queue([by_length, in_chunks, until_close, byte_by_byte]);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let mut client = gateway.client();
        for framing in ["length", "chunks", "close", "bytes"] {
            let answer = client.ask(chat("chat")).whole(200);
            assert_eq!(answer.text(), body, "by {framing}");
        }
        for event in gateway.stop() {
            assert_eq!((event.count("tokens"), event.text("usage_source")), (5, "provider".to_owned()));
            assert_eq!(event.text("upstream_model"), "as it is");
        }
    });
}

#[test]
fn a_stream_is_the_vendors_bytes() {
    on_each_driver(|driver| {
        // Comments, odd spacing, other line ends, events of several lines and without data: nobody asked us to tidy up.
        let stream = concat!(
            ": OPENROUTER PROCESSING\n\n",
            "data:{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n",
            "id: 7\r\ndata:  { \"choices\" : [ {\"delta\":{\"content\":\"b\"}} ] }\r\n\r\n",
            "event: odd\ndata: {\"choices\":[\ndata: ]}\n\n\n\n",
            "retry: 10\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\n",
            "data: [DONE]\n\n: behind the end\n\ndata: no end"
        );
        let mut script = vec![Step::Send(sse_head())];
        script.extend(stream.as_bytes().chunks(11).map(|piece| Step::Send(chunked(piece))));
        script.push(Step::Send(chunked("")));
        let vendor = Vendor::queue([script]);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let asked = chat_of("chat", r#","stream":true,"stream_options":{"include_usage":true}"#);
        let answer = gateway.client().ask(asked).whole(200);
        assert_eq!(answer.text(), stream);
        let event = gateway.stop_with_one_event();
        assert_eq!((event.count("tokens"), event.count("gaps.n")), (3, 1));
    });
}

#[test]
fn the_usage_chunk_is_removed_only_if_we_asked_for_it() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::before(&vendor);
    let mut client = gateway.client();
    let asked = client.ask(chat_of("chat", r#","stream":true,"stream_options":{"include_usage":true}"#)).whole(200);
    assert_eq!(asked.text(), openai_events(true).concat());
    let not_asked = client.ask(chat_of("chat", r#","stream":true"#)).whole(200);
    let mut expected = openai_events(true);
    expected.remove(expected.len() - 2);
    // `usage: null` in the other chunks stays: it is the vendor's.
    assert_eq!(not_asked.text(), expected.concat());
    let refused = client.ask(chat_of("chat", r#","stream":true,"stream_options":{"include_usage":false}"#)).whole(200);
    assert_eq!(refused.text(), openai_events(false).concat());
    let tokens: Vec<u64> = gateway.stop().iter().map(|event| event.count("tokens")).collect();
    assert_eq!(tokens, [OPENAI_TOKENS, OPENAI_TOKENS, 0]);
}

#[test]
fn a_compatible_vendor_is_not_asked_for_usage_unless_told_to() {
    for (target, asks) in [("", false), ("stream_usage: ask", true)] {
        let vendor = Vendor::start(openai);
        let config = Config::openai(&vendor, target, "").replace("provider: openai\n", "provider: openai-compatible\n");
        let gateway = Gateway::with(config).start();
        gateway.client().ask(chat_of("chat", r#","stream":true"#)).whole(200);
        assert_eq!(vendor.request().body().contains("include_usage"), asks);
    }
}

#[test]
fn an_answer_says_where_it_comes_from() {
    let fields = "content-type: application/json\r\nx-request-id: req-of-the-vendor\r\nx-ratelimit-remaining-requests: 9\r\n\
        openai-processing-ms: 12\r\nset-cookie: no=1\r\nopenai-organization: secret\r\nserver: vendor\r\nx-kt-arm: forged\r\n";
    let vendor = Vendor::saying(http(200, fields, "{}"));
    let gateway = Gateway::before(&vendor);
    let answer = gateway.client().ask(chat("chat")).whole(200);
    let names: Vec<&str> = answer.fields.iter().map(|(name, _)| name.as_str()).collect();
    for (name, value) in [
        ("x-kt-model-group", "chat"),
        ("x-kt-model", "gpt-4o"),
        ("x-kt-target", "openai"),
        ("x-kt-arm", "openai/gpt-4o"),
        ("x-upstream-request-id", "req-of-the-vendor"),
        ("x-ratelimit-remaining-requests", "9"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(answer.field(name), Some(value), "{name}");
    }
    assert!(answer.field("x-request-id").is_some_and(|id| id != "req-of-the-vendor"));
    for secret in ["set-cookie", "openai-organization", "server", "connection"] {
        assert!(!names.contains(&secret), "{names:?}");
    }
    let event = gateway.stop_with_one_event();
    assert_eq!(event.text("upstream_request_id"), "req-of-the-vendor");
    assert_eq!(Some(&*event.text("request_id")), answer.field("x-request-id"));
    assert_eq!((event.text("arm"), event.text("target_id")), ("openai/gpt-4o".to_owned(), "openai".to_owned()));
}

#[test]
fn a_clients_request_id_is_taken_over_if_it_can_be() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::before(&vendor);
    let (longest, too_long) = ("i".repeat(128), "i".repeat(129));
    let mut client = gateway.client();
    let mut ids = Vec::new();
    for (id, taken) in
        [("abc-123_/~", true), (&*longest, true), (&*too_long, false), ("two words", false), ("é", false), ("", false)]
    {
        let body = format!(r#"{{"model":"chat",{MESSAGES}}}"#);
        let field = format!("X-Request-ID: {id}");
        let answer = client.ask(request("POST /v1/chat/completions", &[&field], Some(body.as_bytes()))).whole(200);
        let given = answer.field("x-request-id").expect("there is always one").to_owned();
        assert_eq!(given == id, taken, "{id:?} became {given:?}");
        ids.push(given);
    }
    let logged: Vec<String> = gateway.stop().iter().map(|event| event.text("request_id")).collect();
    assert_eq!(logged, ids);
}

#[test]
fn vendors_errors_pass_as_the_vendor_said_them() {
    let body = "{\n  \"error\": {\"message\": \"Rate limit reached\", \"type\": \"tokens\", \"param\": null, \"code\": \"rate_limit_exceeded\"}\n}\n";
    let fields = "content-type: application/json\r\nretry-after: 7\r\nretry-after-ms: 6500\r\nx-should-retry: true\r\n";
    let vendor = Vendor::saying(http(429, fields, body));
    let gateway = Gateway::before(&vendor);
    let mut client = gateway.client();
    for _ in 0..2 {
        let answer = client.ask(chat_of("chat", r#","stream":true"#)).whole(429);
        assert_eq!(answer.text(), body);
        assert_eq!((answer.field("retry-after"), answer.field("retry-after-ms")), (Some("7"), Some("6500")));
        assert_eq!(answer.field("x-should-retry"), Some("true"));
    }
    assert_eq!(vendor.connections(), 1);
    for event in gateway.stop() {
        // It is the vendor's word, no failure of the way to it.
        assert_eq!((event.count("status"), event.is_null("error"), event.count("attempts")), (429, true, 1));
    }
}

#[test]
fn anthropics_errors_are_translated_and_keep_their_status() {
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (529, "overloaded_error"),
    ] {
        let vendor = Vendor::saying(anthropic_error(status, kind, "It can't be \\\"done\\\""));
        let gateway = Gateway::with(Config::anthropic(&vendor, "", "")).start();
        let answer = gateway.client().ask(chat("chat"));
        assert_eq!(answer.error(status), kind);
        assert_eq!(answer.json().text("error.message"), "It can't be \"done\"");
        assert_eq!(answer.field("x-upstream-request-id"), Some("req-of-the-vendor"));
        let event = gateway.stop_with_one_event();
        assert_eq!((event.count("status"), event.is_null("error")), (u64::from(status), true));
    }
}

#[test]
fn a_page_of_somebody_in_between_is_an_error_in_the_clients_form() {
    let vendor =
        Vendor::saying(http(503, "Content-Type: text/html\r\nRetry-After: 3\r\n", "<h1>secret.internal is down</h1>"));
    let gateway = Gateway::with(Config::anthropic(&vendor, "", "")).start();
    let answer = gateway.client().ask(chat("chat"));
    answer.error(503);
    assert!(!answer.text().contains("secret.internal"), "{answer:?}");
    assert_eq!(answer.field("retry-after"), Some("3"));
}

#[test]
fn a_content_coded_answer_passes_uncounted_or_is_refused() {
    let coded = http(200, "content-type: application/json\r\ncontent-encoding: gzip\r\n", b"\x1f\x8b\x08 not really");
    let vendor = Vendor::saying(coded.clone());
    let gateway = Gateway::before(&vendor);
    let answer = gateway.client().ask(chat("chat")).whole(200);
    assert_eq!(answer.body, b"\x1f\x8b\x08 not really");
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert_eq!(gateway.stop_with_one_event().text("usage_source"), "none");

    let vendor = Vendor::saying(coded);
    let gateway = Gateway::with(Config::anthropic(&vendor, "", "")).start();
    assert_eq!(gateway.client().ask(chat("chat")).error(502), "answer_content_coded");
    assert_eq!(gateway.stop_with_one_event().text("error.kind"), "answer_content_coded");
}
