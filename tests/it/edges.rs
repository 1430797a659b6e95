//! What crosses the gateway and what doesn't, to the byte: requests to vendors, answers to clients, and refusals.

use crate::harness::{
    ANTHROPIC_TOKENS, Answer, Client, Config, End, Gateway, Json, OPENAI_TOKENS, Script, Step, Vendor, anthropic,
    anthropic_error, chat, chat_of, chunked, http, json, on_each_driver, openai, openai_events, post, request,
    sse_head,
};

const MESSAGES: &str = r#""messages":[{"role":"user","content":"Hello"}]"#;

/// A gateway with the group `chat` of one arm at a vendor who speaks OpenAI's language.
fn before(vendor: &Vendor) -> Gateway {
    Gateway::with(Config::openai(vendor, "", "")).start()
}

// What goes to the vendor.

#[test]
fn a_body_passes_to_the_byte_but_for_the_permitted_edits() {
    // What the client sends, and what the vendor gets: nothing else may differ, not an order, a space, an unknown field.
    let cases = [
        (
            r#"{"model":"chat","messages":[{"role":"user","content":"Hi"}]}"#,
            r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}"#,
        ),
        (
            " {\n\t\"unknown\" : {\"b\":1, \"a\":[ 1e400, -0.0 ]} ,\r\n\"messages\":[],\"model\" :\"\\u0063hat\",\"n\":1 } \n",
            " {\n\t\"unknown\" : {\"b\":1, \"a\":[ 1e400, -0.0 ]} ,\r\n\"messages\":[],\"model\" :\"gpt-4o\",\"n\":1 } \n",
        ),
        (
            r#"{"messages":[{"content":"\ud83d\ude00 é \u0000","model":"chat","role":"user"}],"stream":false,"model":"chat"}"#,
            r#"{"messages":[{"content":"\ud83d\ude00 é \u0000","model":"chat","role":"user"}],"stream":false,"model":"gpt-4o"}"#,
        ),
        // Asked for by its own model's name, nothing is edited at all.
        (r#"{"model":"gpt-4o","messages":[],"seed":7}"#, r#"{"model":"gpt-4o","messages":[],"seed":7}"#),
        // Usage is asked for, unless the client has said what it wants.
        (
            r#"{"model":"chat","stream":true,"messages":[]}"#,
            r#"{"model":"gpt-4o","stream_options":{"include_usage":true},"stream":true,"messages":[]}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{ "x":1},"model":"chat","messages":[]}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true, "x":1},"model":"gpt-4o","messages":[]}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":false},"model":"chat","messages":[]}"#,
            r#"{"stream":true,"stream_options":{"include_usage":false},"model":"gpt-4o","messages":[]}"#,
        ),
    ];
    let vendor = Vendor::start(openai);
    let gateway = before(&vendor);
    let mut client = gateway.client();
    for (sent, _) in cases {
        client.ask(post(sent)).whole(200);
    }
    let requests = vendor.requests();
    for (request, (_, expected)) in requests.iter().zip(cases) {
        assert_eq!(request.body(), expected);
        assert_eq!(request.line(), "POST /v1/chat/completions HTTP/1.1");
    }
    assert_eq!((requests.len(), vendor.connections()), (cases.len(), 1));
}

#[test]
fn a_large_body_passes_wherever_its_model_stands() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(200 * 1024).collect();
        let turn = format!(r#"{{"role":"user","content":"{text}"}}"#);
        let bodies = [
            format!(r#"{{"model":"chat","messages":[{turn},{turn}]}}"#),
            format!(r#"{{"messages":[{turn},{turn}],"model":"chat"}}"#),
            format!(r#"{{"messages":[{turn}],"model":"chat","metadata":{{"text":"{text}"}}}}"#),
            format!(r#"{{"messages":[{turn}],"stream":true,"stream_options":{{}},"model":"chat","x":["{text}"]}}"#),
        ];
        let mut client = gateway.client();
        for body in &bodies {
            client.ask(post(body)).whole(200);
        }
        for (request, body) in vendor.requests().iter().zip(&bodies) {
            let expected = body
                .replace(r#""model":"chat""#, r#""model":"gpt-4o""#)
                .replace(r#""stream_options":{}"#, r#""stream_options":{"include_usage":true}"#);
            assert!(request.body() == expected, "a body of {} bytes came changed", body.len());
        }
        assert_eq!(gateway.stop().len(), bodies.len());
    });
}

#[test]
fn a_chunked_body_is_joined() {
    let vendor = Vendor::start(openai);
    let gateway = before(&vendor);
    let mut client = gateway.client();
    client.send(request("POST /v1/chat/completions", &["Transfer-Encoding: chunked", "Content-Type: text/json"], None));
    for piece in [r#"{"mod"#, r#"el":"ch"#, r#"at","#, MESSAGES, "}"] {
        client.send(chunked(piece));
    }
    client.send("0\r\nTrailer: dropped\r\n\r\n");
    client.answer().openai_completion();
    let seen = vendor.request();
    assert_eq!(seen.body(), format!(r#"{{"model":"gpt-4o",{MESSAGES}}}"#));
    assert_eq!((seen.field("transfer-encoding"), seen.field("content-type")), (None, Some("text/json")));
}

/// What clients send, and none of it is for a vendor; or only for one of them.
const CLIENT_FIELDS: [&str; 22] = [
    "Authorization: Bearer sk-of-the-client",
    "X-Api-Key: sk-of-the-client",
    "Api-Key: sk-of-the-client",
    "Cookie: session=of-the-client",
    "X-Kt-Anything: x",
    "X-Request-Id: id-of-the-client",
    "X-Forwarded-For: 192.0.2.1",
    "Forwarded: for=192.0.2.1",
    "Via: 1.1 somebody",
    "Accept-Encoding: gzip, br",
    "Accept: application/json",
    "User-Agent: client/1.0",
    "OpenAI-Organization: org-1",
    "OpenAI-Beta: assistants=v2",
    "anthropic-beta: some-feature",
    "Idempotency-Key: key-1",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate: a=b",
    "X-Stainless-Lang: python",
    "Connection: keep-alive, tracestate",
    "Keep-Alive: timeout=5",
    "Origin: https://example.com",
];

#[test]
fn only_listed_fields_and_our_own_key_go_to_openai() {
    let vendor = Vendor::start(openai);
    let gateway = before(&vendor);
    let body = format!(r#"{{"model":"chat",{MESSAGES}}}"#);
    let answer = gateway.client().ask(request("POST /v1/chat/completions", &CLIENT_FIELDS, Some(body.as_bytes())));
    answer.openai_completion();
    let seen = vendor.request();
    let mut fields = seen.fields();
    fields.sort_unstable_by_key(|(name, _)| name.to_ascii_lowercase());
    let host = vendor.address().to_string();
    assert_eq!(
        fields,
        [
            ("Accept", "application/json"),
            ("accept-encoding", "identity"),
            ("authorization", "Bearer sk-openai-test"),
            ("content-length", &*seen.body.len().to_string()),
            ("content-type", "application/json"),
            ("host", &*host),
            ("Idempotency-Key", "key-1"),
            ("OpenAI-Beta", "assistants=v2"),
            ("OpenAI-Organization", "org-1"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("User-Agent", "client/1.0"),
            ("via", "1.1 kt"),
        ]
    );
}

#[test]
fn only_listed_fields_and_our_own_key_go_to_anthropic() {
    let vendor = Vendor::start(anthropic);
    let gateway = Gateway::with(Config::anthropic(&vendor, "", "")).start();
    let body = format!(r#"{{"model":"chat",{MESSAGES}}}"#);
    let answer = gateway.client().ask(request("POST /v1/chat/completions", &CLIENT_FIELDS, Some(body.as_bytes())));
    answer.completion(ANTHROPIC_TOKENS);
    let seen = vendor.request();
    assert_eq!(seen.line(), "POST /v1/messages HTTP/1.1");
    let mut names: Vec<String> = seen.fields().iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "accept-encoding",
            "anthropic-beta",
            "anthropic-version",
            "content-length",
            "content-type",
            "host",
            "idempotency-key",
            "traceparent",
            "user-agent",
            "via",
            "x-api-key",
        ]
    );
    assert_eq!(seen.field("x-api-key"), Some("sk-ant-test"));
    assert_eq!(seen.field("anthropic-version"), Some("2023-06-01"));
    assert_eq!(seen.field("accept-encoding"), Some("identity"));
}

#[test]
fn a_base_url_keeps_its_prefix_and_never_doubles_its_version() {
    for (suffix, path) in [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/proxy/openai/v1", "/proxy/openai/v1/chat/completions"),
        ("/proxy/openai", "/proxy/openai/v1/chat/completions"),
    ] {
        let vendor = Vendor::start(openai);
        let config = Config::openai(&vendor, "", "").replace(&vendor.url(), &format!("{}{suffix}", vendor.url()));
        let gateway = Gateway::with(config).start();
        gateway.client().ask(chat("chat")).openai_completion();
        assert_eq!(vendor.request().line(), format!("POST {path} HTTP/1.1"), "for {suffix:?}");
    }
}

#[test]
fn a_request_to_anthropic_is_translated_and_says_the_same() {
    let vendor = Vendor::start(anthropic);
    let gateway = Gateway::with(Config::anthropic(&vendor, "", "")).start();
    let asked = r#"{"model":"chat","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},
        {"role":"assistant","content":"Hello."},{"role":"user","content":[{"type":"text","text":"Bye \ud83d\ude00"}]}],
        "temperature":0.5,"top_p":0.9,"stop":["END"],"max_tokens":64,"user":"u-1","n":1,"presence_penalty":0}"#;
    let said = gateway.client().ask(post(asked)).completion(ANTHROPIC_TOKENS);
    assert_eq!(said.text("model"), "claude-x");
    assert_eq!(said.text("choices.0.message.content"), "Hello there, friend.");
    assert_eq!((said.count("usage.prompt_tokens"), said.count("usage.completion_tokens")), (11, 7));
    assert!(said.text("id").starts_with("chatcmpl-"));
    let got = json(vendor.request().body());
    assert_eq!(got.text("model"), "claude-x");
    assert_eq!(got.text("system.0.text"), "Be brief.");
    let turns: Vec<String> = got.items("messages").iter().map(|turn| turn.text("role")).collect();
    assert_eq!(turns, ["user", "assistant", "user"]);
    assert_eq!(got.text("messages.2.content"), "Bye 😀");
    assert_eq!((got.number("temperature"), got.number("top_p")), (0.5, 0.9));
    assert_eq!((got.count("max_tokens"), got.text("stop_sequences.0")), (64, "END".to_owned()));
    assert_eq!(got.text("metadata.user_id"), "u-1");
}

// What goes back to the client.

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
    let gateway = before(&vendor);
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
    let gateway = before(&vendor);
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
    let gateway = before(&vendor);
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
    let gateway = before(&vendor);
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
    let gateway = before(&vendor);
    let answer = gateway.client().ask(chat("chat")).whole(200);
    assert_eq!(answer.body, b"\x1f\x8b\x08 not really");
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert_eq!(gateway.stop_with_one_event().text("usage_source"), "none");

    let vendor = Vendor::saying(coded);
    let gateway = Gateway::with(Config::anthropic(&vendor, "", "")).start();
    assert_eq!(gateway.client().ask(chat("chat")).error(502), "answer_content_coded");
    assert_eq!(gateway.stop_with_one_event().text("error.kind"), "answer_content_coded");
}

// What is refused.

/// A refusal of the gateway's own: its form, its end, and its event.
#[track_caller]
fn refuses(gateway: &Gateway, asked: &[u8], status: u16, code: &str, retry: bool) -> Answer {
    let mut client = gateway.client();
    let answer = client.ask(asked);
    let shown = String::from_utf8_lossy(&asked[..asked.len().min(300)]).into_owned();
    assert_eq!(answer.error(status), code, "{shown}");
    assert_eq!(answer.field("connection"), Some("close"), "{shown}");
    assert_eq!(answer.field("x-should-retry"), (!retry).then_some("false"), "{shown}");
    assert!(client.is_closed(), "closed in order: {shown}");
    answer
}

#[test]
fn requests_that_make_no_sense_are_refused_one_by_one_and_logged() {
    let vendor = Vendor::start(openai);
    let gateway = before(&vendor);
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
        assert_eq!(event.count("status"), status.into(), "{body}");
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
    let gateway = before(&vendor);
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
    let gateway = before(&vendor);
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
    let gateway = before(&vendor);
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

// Connections.

#[test]
fn a_client_that_expects_it_is_told_to_go_on() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let body = format!(r#"{{"model":"chat",{MESSAGES}}}"#);
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut client = gateway.client();
        let interim = client.ask(&head);
        assert_eq!((interim.status, interim.fields.len()), (100, 0));
        client.ask(&body).openai_completion();
        // Who has sent the body already needs no telling.
        client.ask(format!("{head}{body}")).openai_completion();
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(|request| {
            let said = json(request.body()).text("messages.0.content");
            vec![Step::Send(http(200, "content-type: application/json\r\n", format!("\"{said}\"")))]
        });
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let words: Vec<String> = (0..20).map(|n| format!("word {n}")).collect();
        let ask =
            |word: &String| post(format!(r#"{{"model":"chat","messages":[{{"role":"user","content":"{word}"}}]}}"#));
        let all: Vec<u8> = words.iter().flat_map(ask).collect();
        let mut client = gateway.client();
        // Cut where it hurts: within the second request.
        let cut = all.len() / 20 + 50;
        client.send(&all[..cut]);
        client.wait_for("\r\n\r\n\"word 0\"");
        client.send(&all[cut..]);
        for word in &words {
            assert_eq!(client.answer().whole(200).text(), format!("\"{word}\""));
        }
        assert_eq!(gateway.stop().len(), words.len());
    });
}

#[test]
fn http_1_0_is_answered_without_chunks_and_closed() {
    let vendor = Vendor::start(openai);
    let gateway = before(&vendor);
    let ask = |fields: &str, more: &str| {
        let body = format!(r#"{{"model":"chat",{MESSAGES}{more}}}"#);
        format!("POST /v1/chat/completions HTTP/1.0\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let mut client = gateway.client();
    client.ask(ask("", "")).openai_completion();
    assert!(client.is_closed());
    let streamed =
        gateway.client().ask(ask("Host: x\r\n", r#","stream":true,"stream_options":{"include_usage":true}"#));
    assert_eq!((streamed.status, streamed.end), (200, End::Closed));
    assert_eq!((streamed.field("transfer-encoding"), streamed.field("connection")), (None, Some("close")));
    assert_eq!(streamed.text(), openai_events(true).concat());
}

#[test]
fn a_client_that_says_close_is_closed_behind_its_answer() {
    let vendor = Vendor::start(openai);
    let gateway = before(&vendor);
    let body = format!(r#"{{"model":"chat",{MESSAGES}}}"#);
    let mut client = gateway.client();
    let answer = client.ask(request("POST /v1/chat/completions", &["Connection: close"], Some(body.as_bytes())));
    assert_eq!(answer.field("connection"), Some("close"));
    answer.openai_completion();
    assert!(client.is_closed());
}

#[test]
fn one_connection_serves_many_requests_of_all_kinds() {
    let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
    let gateway = Gateway::with(Config::tutorial(&gpt, &claude, (50, 50))).start();
    let mut client = gateway.client();
    for round in 0..6 {
        let stream = if round % 2 == 0 { "" } else { r#","stream":true"# };
        client.ask(chat_of("quality-ab-test", stream)).whole(200);
        assert_eq!(ask(&mut client, "GET", "/healthz").whole(200).text(), "ok\n");
    }
    assert_eq!((gpt.connections(), claude.connections()), (1, 1));
    assert_eq!(gateway.stop().len(), 6);
}

// The gateway's own paths.

fn ask(client: &mut Client, method: &str, path: &str) -> Answer {
    client.send(request(&format!("{method} {path}"), &[], None));
    client.answer_to(method)
}

#[test]
fn the_gateways_own_paths_answer_and_are_not_logged() {
    let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
    let gateway = Gateway::with(Config::tutorial(&gpt, &claude, (70, 30))).start();
    let mut client = gateway.client();
    let models: Json = ask(&mut client, "GET", "/v1/models").whole(200).json();
    assert_eq!(models.text("object"), "list");
    assert_eq!(models.items("data").iter().map(|model| model.text("id")).collect::<Vec<_>>(), ["quality-ab-test"]);
    assert_eq!(ask(&mut client, "GET", "/readyz").whole(200).text(), "ready\n");
    assert_eq!(ask(&mut client, "GET", "/health").whole(200).json().text("status"), "healthy");
    let head = ask(&mut client, "HEAD", "/healthz").whole(200);
    assert_eq!((head.body.len(), head.field("content-length")), (0, Some("3")));
    for (method, path, allow) in [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("PUT", "/healthz", "GET, HEAD"),
    ] {
        let answer = ask(&mut client, method, path);
        answer.error(405);
        assert_eq!(answer.field("allow"), Some(allow), "{method} {path}");
    }
    ask(&mut client, "GET", "/v1/chat/completion").error(404);
    ask(&mut client, "POST", "/").error(404);
    assert_eq!(gateway.stop(), []);
}

// The policy.

#[test]
fn a_flagged_request_passes_and_a_blocked_one_does_not() {
    let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
    let flagging = Config::tutorial(&gpt, &claude, (100, 0));
    let hateful = post(r#"{"model":"quality-ab-test","messages":[{"role":"user","content":"An INFERIOR race?"}]}"#);
    let gateway = Gateway::with(flagging.clone()).start();
    gateway.client().ask(&hateful).openai_completion();
    gateway.client().ask(chat("quality-ab-test")).openai_completion();
    let events = gateway.stop();
    assert_eq!((events[0].text("verdict"), events[1].text("verdict")), ("flag".to_owned(), "allow".to_owned()));
    for (event, flagged) in events.iter().zip([true, false]) {
        let policy = event.at("policies.0");
        assert_eq!(
            (policy.text("name"), policy.text("type"), policy.text("result"), policy.is("flagged")),
            ("basic-filter".to_owned(), "content_filter".to_owned(), "pass".to_owned(), flagged)
        );
    }

    let asked_before = gpt.requests().len();
    let gateway = Gateway::with(flagging.replace("action: flag", "action: block")).start();
    refuses(&gateway, &hateful, 403, "input_blocked", false);
    assert_eq!(gpt.requests().len(), asked_before, "it never reaches a vendor");
    let event = gateway.stop_with_one_event();
    assert_eq!((event.text("verdict"), event.count("status")), ("block".to_owned(), 403));
    assert_eq!(event.text("policies.0.result"), "blocked");
}
