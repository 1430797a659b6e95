//! What goes to vendors, to the byte.

use crate::harness::{
    ANTHROPIC_TOKENS, Config, Gateway, MESSAGES, Vendor, anthropic, chat, chunked, json, on_each_driver, openai, post,
    request,
};

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
    let gateway = Gateway::before(&vendor);
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
    let gateway = Gateway::before(&vendor);
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
    let gateway = Gateway::before(&vendor);
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
