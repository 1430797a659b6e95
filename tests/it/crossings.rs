//! A client of one language before a vendor of the other: what the report says, and how answers end that don't end
//! well. What each field becomes is core's to test.

use crate::harness::{
    ANTHROPIC_TOKENS, Answer, Config, End, Gateway, OPENAI_TOKENS, Script, Step, Vendor, anthropic, chat_of, chunked,
    http, json, on_each_driver, openai, openai_events, request, sse_head,
};

/// A small message for the group `chat`, with further fields.
fn message(fields: &str) -> Vec<u8> {
    let body = format!(r#"{{"model":"chat","max_tokens":64,"messages":[{{"role":"user","content":"Hi"}}]{fields}}}"#);
    request("POST /v1/messages", &["anthropic-version: 2023-06-01", "anthropic-beta: x"], Some(body.as_bytes()))
}

/// The data of each event of a stream in Anthropic's language, checked to be named as its type.
fn events(answer: &Answer) -> Vec<crate::harness::Json> {
    let mut events = Vec::new();
    for event in answer.text().split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':')) {
        let (name, data) = event.split_once('\n').unwrap_or_else(|| panic!("no name: {event}"));
        let data = json(data.strip_prefix("data: ").unwrap_or_else(|| panic!("no data: {event}")));
        assert_eq!(name, format!("event: {}", data.text("type")));
        events.push(data);
    }
    events
}

#[test]
fn a_translation_says_what_it_lost() {
    let vendor = Vendor::start(anthropic);
    let gateway = Gateway::with(Config::anthropic(&vendor, "", "")).start();
    // Further fields of the request; what is approximated, what is dropped, and the header.
    let cases = [
        ("", &[][..], &[][..], None),
        (r#","temperature":1.5"#, &["temperature"], &[], Some("approximated=temperature")),
        (r#","my_field":1"#, &[], &["my_field"], Some("dropped=my_field")),
        (
            r#","temperature":2,"seed":7,"x":1,"stream":true"#,
            &["temperature", "seed"],
            &["x"],
            Some("approximated=temperature,seed; dropped=x"),
        ),
        // A name that could be a piece of a prompt is repeated nowhere.
        (r#","it is a secret":1"#, &[], &["…"], Some("dropped=...")),
    ];
    let mut client = gateway.client();
    for (fields, _, _, header) in cases {
        let answer = client.ask(chat_of("chat", fields)).whole(200);
        let sorted = |text: &str| {
            let mut words: Vec<_> = text.split([',', '=', ';', ' ']).map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(answer.field("x-kt-translation").map(sorted), header.map(sorted), "{fields}: {answer:?}");
    }
    for (event, (fields, approximated, dropped, _)) in gateway.stop().iter().zip(cases) {
        for (list, wanted) in [("approximated", approximated), ("dropped", dropped)] {
            let paths = event.items(&format!("translation.{list}"));
            let mut paths: Vec<_> = paths.iter().map(|path| path.text("")).collect();
            let mut wanted = wanted.to_vec();
            paths.sort();
            wanted.sort_unstable();
            assert_eq!(paths, wanted, "{list} of {fields}");
        }
    }
}

#[test]
fn a_message_to_openai_is_translated_and_comes_back_as_a_message() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let mut client = gateway.client();
        let whole = client.ask(message(r#","system":"Be brief.","temperature":0.5"#)).whole(200);
        let said = whole.json();
        assert_eq!((said.text("type"), said.text("role")), ("message".to_owned(), "assistant".to_owned()));
        assert_eq!((said.text("model"), said.text("stop_reason")), ("gpt-4o".to_owned(), "end_turn".to_owned()));
        assert_eq!(said.text("content.0.text"), "Hello there, friend.");
        assert!(said.text("id").starts_with("msg_"));
        let counts = ["input_tokens", "cache_read_input_tokens", "output_tokens"];
        let sum: u64 = counts.map(|name| said.count(&format!("usage.{name}"))).iter().sum();
        assert_eq!(sum, OPENAI_TOKENS);
        assert_eq!(whole.field("request-id"), whole.field("x-request-id"));

        let streamed = client.ask(message(r#","stream":true"#)).whole(200);
        assert_eq!(streamed.field("content-type").map(|kind| kind.starts_with("text/event-stream")), Some(true));
        let events = events(&streamed);
        let kinds: Vec<String> = events.iter().map(|event| event.text("type")).collect();
        assert_eq!(kinds.first().map(String::as_str), Some("message_start"));
        assert_eq!(kinds.last().map(String::as_str), Some("message_stop"));
        let texts = events.iter().filter_map(|event| event.find("delta.text")).map(|text| text.text(""));
        assert_eq!(texts.collect::<String>(), "Hello there, friend.");

        let requests = vendor.requests();
        for seen in &requests {
            assert_eq!(seen.line(), "POST /v1/chat/completions HTTP/1.1");
            assert_eq!(seen.field("authorization"), Some("Bearer sk-openai-test"));
            assert_eq!((seen.field("anthropic-version"), seen.field("anthropic-beta")), (None, None));
            assert_eq!(seen.field("content-type"), Some("application/json"));
        }
        let asked = json(requests[0].body());
        assert_eq!(asked.text("messages.0.role"), "system");
        assert_eq!((asked.text("messages.1.content"), asked.text("model")), ("Hi".to_owned(), "gpt-4o".to_owned()));
        assert!(requests[1].body().contains("include_usage"), "Anthropic's clients always count");
        for event in gateway.stop() {
            assert_eq!((event.text("endpoint"), event.count("tokens")), ("/v1/messages".to_owned(), OPENAI_TOKENS));
            assert_eq!(
                (event.text("usage_source"), event.text("upstream_model")),
                ("provider".into(), "gpt-4o-2024-08-06".into())
            );
        }
    });
}

#[test]
fn a_message_whose_vendor_breaks_off_is_torn() {
    on_each_driver(|driver| {
        let begun = chunked(openai_events(true)[..4].concat());
        let failed = "data: {\"error\":{\"message\":\"Overloaded\",\"type\":\"server_error\",\"code\":503}}\n\n";
        let ends: [(Vec<Step>, &str, u64); 4] = [
            (vec![Step::Reset], "answer_torn", 502),
            (vec![Step::Send(chunked(""))], "answer_torn", 502),
            (vec![Step::Hang], "idle_too_long", 504),
            (vec![Step::Send(chunked(failed)), Step::Send(chunked(""))], "vendor_error_in_stream", 502),
        ];
        for (end, kind, status) in ends {
            let script: Script = [vec![Step::Send(sse_head()), Step::Send(begun.clone())], end].concat();
            let vendor = Vendor::queue([script]);
            let gateway = Gateway::with(Config::openai(&vendor, "timeouts: {idle_ms: 300}", "")).driver(driver).start();
            let answer = gateway.client().ask(message(r#","stream":true"#));
            assert_eq!((answer.status, answer.end), (200, End::Reset), "{answer:?}");
            let events = events(&answer);
            assert_eq!(events.last().map(|event| event.text("type")).as_deref(), Some("error"), "{answer:?}");
            assert!(events.iter().all(|event| event.text("type") != "message_stop"));
            let event = gateway.stop_with_one_event();
            assert_eq!((event.text("error.kind"), event.count("status")), (kind.to_owned(), status), "{event:?}");
            // OpenAI says what it has counted at the end only.
            let source = if kind == "vendor_error_in_stream" { "none" } else { "estimated" };
            assert_eq!(event.text("usage_source"), source, "{event:?}");
        }
    });
}

#[test]
fn openais_errors_are_translated_and_keep_what_they_say_of_retries() {
    let body =
        r#"{"error":{"message":"Rate limit reached","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#;
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
    ] {
        let fields = "content-type: application/json\r\nretry-after: 7\r\nx-request-id: req-of-the-vendor\r\n";
        let vendor = Vendor::saying(http(status, fields, body));
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
        let answer = gateway.client().ask(message("")).whole(status);
        let said = answer.json();
        assert_eq!((said.text("type"), said.text("error.type")), ("error".to_owned(), kind.to_owned()), "{answer:?}");
        assert_eq!(said.text("error.message"), "Rate limit reached");
        assert_eq!(answer.field("retry-after"), Some("7"));
        assert_eq!(answer.field("x-upstream-request-id"), Some("req-of-the-vendor"));
        let event = gateway.stop_with_one_event();
        assert_eq!((event.count("status"), event.is_null("error")), (u64::from(status), true));
    }
}

#[test]
fn what_openai_can_not_be_told_is_refused_in_anthropics_words() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    let fields = r#","tools":[{"type":"web_search_20250305","name":"web_search"}]"#;
    let answer = gateway.client().ask(message(fields)).whole(422);
    assert_eq!(answer.json().text("error.type"), "invalid_request_error");
    assert!(answer.json().text("error.message").contains("tools[0]"), "{answer:?}");
    assert_eq!(answer.field("x-should-retry"), Some("false"));
    assert_eq!(vendor.connections(), 0);
    let event = gateway.stop_with_one_event();
    assert_eq!((event.text("error.kind"), event.is_null("translation")), ("not_expressible".to_owned(), true));
}

#[test]
fn either_client_gets_its_answer_from_either_arm() {
    let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
    let gateway = Gateway::with(Config::tutorial(&gpt, &claude, (1, 1))).start();
    let mut client = gateway.client();
    for _ in 0..4 {
        let answer = client.ask(chat_of("quality-ab-test", "")).whole(200).json();
        assert_eq!(answer.text("choices.0.message.content"), "Hello there, friend.");
        let body = br#"{"model":"quality-ab-test","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
        let answer = client.ask(request("POST /v1/messages", &[], Some(body))).whole(200).json();
        assert_eq!(answer.text("content.0.text"), "Hello there, friend.");
    }
    let events = gateway.stop();
    assert_eq!((gpt.requests().len(), claude.requests().len()), (4, 4));
    for event in events {
        let own = (event.text("endpoint") == "/v1/messages") == (event.text("provider") == "anthropic");
        assert_eq!(event.is_null("translation"), own, "{event:?}");
        let tokens = if event.text("provider") == "anthropic" { ANTHROPIC_TOKENS } else { OPENAI_TOKENS };
        assert_eq!(event.count("tokens"), tokens);
    }
}
