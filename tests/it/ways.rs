//! The ways in: which paths reach a model, in which language each answers, and what passes through them unchanged.

use crate::harness::{
    Answer, Config, End, Gateway, Received, Script, Step, Vendor, anthropic, anthropic_error, anthropic_events,
    anthropic_whole, chunked, http, json, on_each_driver, openai, openai_whole, request, sse_head,
};

const VERSION: &str = "anthropic-version: 2023-06-01";
const MESSAGES: &str = r#""max_tokens":64,"messages":[{"role":"user","content":"Hello"}]"#;

/// A request to `path` with this body.
fn post_to(path: &str, body: &str) -> Vec<u8> {
    request(&format!("POST {path}"), &[VERSION], Some(body.as_bytes()))
}

/// A small message for a group, with further fields.
fn message(fields: &str) -> Vec<u8> {
    post_to("/v1/messages", &format!(r#"{{"model":"chat",{MESSAGES}{fields}}}"#))
}

/// Checks that it is an error in Anthropic's form, in an answer of this status; its type.
#[track_caller]
fn anthropic_type(answer: &Answer, status: u16) -> String {
    assert_eq!((answer.status, answer.end), (status, End::Whole), "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/json"), "{answer:?}");
    let body = answer.json();
    assert_eq!(body.names(), ["error", "type"], "{answer:?}");
    assert_eq!(body.text("type"), "error");
    assert_eq!(body.at("error").names(), ["message", "type"], "{answer:?}");
    assert!(!body.text("error.message").is_empty());
    body.text("error.type")
}

/// A gateway with the group `chat` at a vendor who speaks Anthropic's language.
fn before(vendor: &Vendor) -> Gateway {
    Gateway::with(Config::anthropic(vendor, "", "")).start()
}

// Messages as they are.

#[test]
fn a_message_passes_to_the_byte_but_for_its_model() {
    let cases = [
        (
            r#"{"model":"chat","max_tokens":1,"messages":[]}"#.to_owned(),
            r#"{"model":"claude-x","max_tokens":1,"messages":[]}"#.to_owned(),
        ),
        (
            "\n { \"new\":[ 1e400, -0.0 ],\"system\":[{\"type\":\"text\",\"cache_control\":{\"type\":\"ephemeral\"},\"text\":\"\\u00e9\"}],\"stream\":false,\r\n\"messages\" :[],\"model\": \"ch\\u0061t\" }\n\n".to_owned(),
            "\n { \"new\":[ 1e400, -0.0 ],\"system\":[{\"type\":\"text\",\"cache_control\":{\"type\":\"ephemeral\"},\"text\":\"\\u00e9\"}],\"stream\":false,\r\n\"messages\" :[],\"model\": \"claude-x\" }\n\n".to_owned(),
        ),
        // Nothing asks Anthropic for its usage: it says it unasked.
        (
            r#"{"stream":true,"model":"chat","messages":[]}"#.to_owned(),
            r#"{"stream":true,"model":"claude-x","messages":[]}"#.to_owned(),
        ),
        (
            format!(r#"{{"messages":["{}"],"model":"chat"}}"#, "x".repeat(300_000)),
            format!(r#"{{"messages":["{}"],"model":"claude-x"}}"#, "x".repeat(300_000)),
        ),
    ];
    let vendor = Vendor::start(anthropic);
    let gateway = before(&vendor);
    let mut client = gateway.client();
    for (sent, _) in &cases {
        client.ask(post_to("/v1/messages", sent)).whole(200);
    }
    for (request, (_, expected)) in vendor.requests().iter().zip(&cases) {
        assert!(request.body() == expected, "{}", request.body());
        assert_eq!(request.line(), "POST /v1/messages HTTP/1.1");
    }
    assert_eq!(vendor.connections(), 1);
}

#[test]
fn anthropics_own_fields_pass_and_no_key_does() {
    let vendor = Vendor::start(anthropic);
    let gateway = before(&vendor);
    let fields = [
        "x-api-key: sk-of-the-client",
        "Anthropic-Version: 2099-01-01",
        "anthropic-beta: one, two",
        "anthropic-dangerous-direct-browser-access: true",
        "X-Stainless-Lang: python",
    ];
    let body = format!(r#"{{"model":"chat",{MESSAGES}}}"#);
    let answer = gateway.client().ask(request("POST /v1/messages", &fields, Some(body.as_bytes()))).whole(200);
    let seen = vendor.request();
    let fields = ["x-api-key", "anthropic-version", "anthropic-beta", "x-stainless-lang"].map(|name| seen.field(name));
    assert_eq!(fields, [Some("sk-ant-test"), Some("2099-01-01"), Some("one, two"), None]);
    // Anthropic's library looks for the id under another name than OpenAI's.
    assert_eq!(answer.field("request-id"), answer.field("x-request-id"));
    assert_eq!(answer.field("x-upstream-request-id"), Some("req-of-the-vendor"));
    assert!(answer.field("x-kt-translation").is_none());
    let event = gateway.stop_with_one_event();
    assert_eq!((event.text("endpoint"), event.text("provider")), ("/v1/messages".to_owned(), "anthropic".to_owned()));
    assert!(event.is_null("translation"));
}

#[test]
fn a_message_comes_back_to_the_byte_and_is_counted() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(|request: &Received| {
            if !request.wants_stream() {
                return vec![Step::Send(anthropic_whole())];
            }
            let stream = [": odd\n\n", &anthropic_events().concat(), ": behind\n\ndata: the end"].concat();
            let mut script = vec![Step::Send(sse_head())];
            script.extend(stream.as_bytes().chunks(13).map(|piece| Step::Send(chunked(piece))));
            script.push(Step::Send(chunked("")));
            script
        });
        let gateway = Gateway::with(Config::anthropic(&vendor, "", "")).driver(driver).start();
        let mut client = gateway.client();
        let whole = client.ask(message("")).whole(200);
        assert!(anthropic_whole().ends_with(&whole.body), "{whole:?}");
        let streamed = client.ask(message(r#","stream":true"#)).whole(200);
        assert_eq!(streamed.text(), [": odd\n\n", &anthropic_events().concat(), ": behind\n\ndata: the end"].concat());
        let events = gateway.stop();
        for event in &events {
            let counts = ["prompt_tokens", "completion_tokens", "total_tokens"];
            assert_eq!(counts.map(|name| event.count(&format!("usage.{name}"))), [11, 7, 18], "{event:?}");
            assert_eq!(event.text("usage_source"), "provider");
            assert_eq!(event.text("upstream_model"), "claude-sonnet-4-20250514");
        }
        assert_eq!(events[1].count("gaps.n"), 4);
    });
}

#[test]
fn a_message_that_breaks_off_is_told_so_in_its_own_language() {
    on_each_driver(|driver| {
        let begun = chunked(anthropic_events()[..6].concat());
        for end in [vec![Step::Reset], vec![Step::Send(chunked(""))], vec![Step::Hang]] {
            let script: Script = [vec![Step::Send(sse_head()), Step::Send(begun.clone())], end].concat();
            let vendor = Vendor::queue([script]);
            let config = Config::anthropic(&vendor, "timeouts: {idle_ms: 300}", "");
            let gateway = Gateway::with(config).driver(driver).start();
            let answer = gateway.client().ask(message(r#","stream":true"#));
            assert_eq!((answer.status, answer.end), (200, End::Reset), "{answer:?}");
            let behind = answer.text().strip_prefix(&anthropic_events()[..6].concat()).expect("what was whole passes");
            let data = behind.strip_prefix("event: error\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
            let said = json(data.unwrap_or_else(|| panic!("one error event: {behind}")));
            assert_eq!(said.text("type"), "error");
            let event = gateway.stop_with_one_event();
            let kind = event.text("error.kind");
            let (status, word) = match kind.as_str() {
                "answer_torn" => (502, "api_error"),
                "idle_too_long" => (504, "timeout_error"),
                other => panic!("{other}"),
            };
            assert_eq!((event.count("status"), said.text("error.type").as_str()), (status, word));
            // The vendor had counted the prompt and one token; three pieces had come.
            assert_eq!(event.text("usage_source"), "partial");
            let counts = ["prompt_tokens", "completion_tokens", "total_tokens"];
            assert_eq!(counts.map(|name| event.count(&format!("usage.{name}"))), [11, 3, 14], "{event:?}");
        }
    });
}

#[test]
fn a_failure_that_the_vendor_tells_passes_as_it_was_told() {
    on_each_driver(|driver| {
        let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
        let stream = [&anthropic_events()[..5].concat(), overloaded].concat();
        for end in [Step::Send(chunked("")), Step::Reset] {
            let torn = matches!(end, Step::Reset);
            let vendor = Vendor::queue([vec![Step::Send(sse_head()), Step::Send(chunked(&stream)), end]]);
            let gateway = Gateway::with(Config::anthropic(&vendor, "", "")).driver(driver).start();
            let answer = gateway.client().ask(message(r#","stream":true"#));
            assert_eq!((answer.text(), answer.end), (stream.as_str(), if torn { End::Reset } else { End::Whole }));
            let event = gateway.stop_with_one_event();
            assert_eq!(event.text("error.kind"), "vendor_error_in_stream");
            assert_eq!(event.count("status"), if torn { 502 } else { 200 });
            assert_eq!((event.text("usage_source"), event.count("usage.prompt_tokens")), ("partial".to_owned(), 11));
        }
    });
}

#[test]
fn anthropics_errors_pass_as_the_vendor_said_them() {
    let said = anthropic_error(429, "rate_limit_error", "Slow down");
    let vendor = Vendor::saying(said.clone());
    let gateway = before(&vendor);
    let answer = gateway.client().ask(message("")).whole(429);
    assert!(said.ends_with(&answer.body), "{answer:?}");
    assert!(gateway.stop_with_one_event().is_null("error"));
}

#[test]
fn an_error_under_a_good_status_passes_and_is_noted() {
    let body = r#"{"error":{"message":"Provider returned error","code":502},"user_id":"u"}"#;
    let vendor = Vendor::saying(http(200, "content-type: application/json\r\n", body));
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    let asked = post_to("/v1/chat/completions", r#"{"model":"chat","messages":[]}"#);
    assert_eq!(gateway.client().ask(asked).whole(200).text(), body);
    let event = gateway.stop_with_one_event();
    assert_eq!((event.count("status"), event.text("error.kind")), (200, "vendor_error_in_answer".to_owned()));
    assert_eq!(event.text("error.side"), "upstream");
}

#[test]
fn a_stream_is_one_though_its_vendor_forgets_to_say_so() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let vendor = Vendor::saying([head.as_bytes(), &chunked(anthropic_events().concat()), &chunked("")].concat());
    let gateway = before(&vendor);
    // Anthropic's library asks for what is new with a query.
    let body = format!(r#"{{"model":"chat",{MESSAGES},"stream":true}}"#);
    let answer = gateway.client().ask(post_to("/v1/messages?beta=true", &body)).whole(200);
    assert_eq!(answer.text(), anthropic_events().concat());
    let event = gateway.stop_with_one_event();
    assert_eq!((event.count("tokens"), event.is_null("ttft_ms")), (18, false));
}

// Refusals.

#[test]
fn whoever_speaks_anthropics_language_is_refused_in_it() {
    let vendor = Vendor::start(anthropic);
    let rest = "gateway: {limits: {body_bytes_max: 1000}, clients: [{name: a, key_ref: {env: KEY_A}}]}\n";
    let gateway = Gateway::with(Config::anthropic(&vendor, "", rest)).env("KEY_A", "key-of-a").start();
    let key = "x-api-key: key-of-a";
    let body = |body: &str| request("POST /v1/messages", &[VERSION, key], Some(body.as_bytes()));
    let hi = format!("{{\"model\":\"chat\",{MESSAGES}}}");
    let refusals = [
        (message(""), 401, "authentication_error"),
        (body("{"), 400, "invalid_request_error"),
        (body(r#"{"messages":[]}"#), 400, "invalid_request_error"),
        (body(r#"{"model":"chat"}"#), 400, "invalid_request_error"),
        (body(r#"{"model":"chat","messages":"Hi"}"#), 400, "invalid_request_error"),
        (body(r#"{"model":"gpt-3","messages":[]}"#), 404, "not_found_error"),
        (body(&format!("{hi:2000}")), 413, "invalid_request_error"),
        (request("POST /v1/messages", &[key, "Content-Encoding: br"], Some(b"x")), 415, "invalid_request_error"),
        (request("POST /v1/embeddings", &[key], Some(br#"{"model":"chat","input":"x"}"#)), 422, ""),
    ];
    for (asked, status, kind) in &refusals {
        let mut client = gateway.client();
        let answer = client.ask(asked);
        match kind {
            // A path of OpenAI's is answered in OpenAI's language, whoever asks.
            &"" => assert_eq!(answer.error(*status), "not_expressible"),
            kind => assert_eq!(anthropic_type(&answer, *status), *kind, "{answer:?}"),
        }
        assert_eq!(answer.field("x-should-retry"), Some("false"));
        assert!(client.is_closed());
        if *status == 404 {
            let message = answer.json().text("error.message");
            assert!(message.contains("chat"), "the groups are named: {message}");
        }
    }
    assert_eq!(vendor.connections(), 0);
    let statuses: Vec<u64> = gateway.stop().iter().map(|event| event.count("status")).collect();
    assert_eq!(statuses, refusals.map(|(_, status, _)| u64::from(status)));
}

#[test]
fn what_the_gateway_says_itself_is_in_the_language_of_who_asks() {
    let vendor = Vendor::start(anthropic);
    let gateway = before(&vendor);
    let ask = |line: &str, fields: &[&str]| gateway.client().ask(request(line, fields, None));
    let models = ask("GET /v1/models", &[VERSION]).whole(200).json();
    assert_eq!(models.names(), ["data", "first_id", "has_more", "last_id"]);
    assert_eq!((models.text("data.0.type"), models.text("data.0.id")), ("model".to_owned(), "chat".to_owned()));
    assert_eq!(ask("GET /v1/models", &[]).whole(200).json().text("object"), "list");
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let answer = ask(&format!("GET {path}"), &[]);
        assert_eq!(anthropic_type(&answer, 405), "invalid_request_error");
        assert_eq!(answer.field("allow"), Some("POST"));
    }
    for path in ["/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/responses"] {
        let answer = ask(&format!("GET {path}"), &[VERSION]);
        answer.error(405);
        assert_eq!(answer.field("allow"), Some("POST"));
    }
    assert_eq!(anthropic_type(&ask("GET /v1/complete", &[VERSION]), 404), "not_found_error");
    ask("GET /v1/complete", &[]).error(404);
    assert_eq!(gateway.stop(), []);
}

// The endpoints that only pass.

/// Path, what is asked, where the model stands in it, what is answered, and what that costs.
const PASSING: [(&str, &str, &str, [u64; 2]); 5] = [
    (
        "/v1/embeddings",
        r#"{ "input":["a","b"],"model":"chat" ,"encoding_format":"base64"}"#,
        "{\"object\":\"list\",\n\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":\"AAAA\"}],\"model\":\"e-1\",\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}\n",
        [8, 0],
    ),
    (
        "/v1/completions",
        r#"{"model":"chat","prompt":"Once","stream":false,"stream_options":null}"#,
        r#"{"object":"text_completion","choices":[{"text":" upon","index":0}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#,
        [1, 2],
    ),
    (
        "/v1/completions",
        r#"{"model":"chat","prompt":"Once","stream":true}"#,
        "data: {\"choices\":[{\"text\":\" upon\",\"index\":0,\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\ndata: [DONE]\n\n",
        [1, 2],
    ),
    (
        "/v1/responses",
        r#"{"input":"Hi","model":"chat"}"#,
        "{\n  \"id\": \"resp_1\", \"error\": null, \"output\": [], \"usage\": {\"input_tokens\": 36, \"output_tokens\": 87, \"total_tokens\": 123}\n}",
        [36, 87],
    ),
    (
        "/v1/responses",
        r#"{"input":"Hi","stream":true,"model":"chat"}"#,
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"usage\":null}}\n\nevent: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"usage\":{\"input_tokens\":36,\"output_tokens\":87,\"total_tokens\":123}}}\n\n",
        [36, 87],
    ),
];

/// The answer to a request of [`PASSING`], cut into small pieces.
fn passing(request: &Received) -> Script {
    let (_, _, answer, _) = PASSING
        .into_iter()
        .find(|(path, asked, ..)| {
            request.line() == format!("POST {path} HTTP/1.1") && request.body() == with_model(asked, "gpt-4o")
        })
        .unwrap_or_else(|| panic!("the request came changed: {request:?}"));
    if !request.wants_stream() {
        return vec![Step::Send(http(200, "content-type: application/json\r\n", answer))];
    }
    let pieces = answer.as_bytes().chunks(17).map(|piece| Step::Send(chunked(piece)));
    [Step::Send(sse_head())].into_iter().chain(pieces).chain([Step::Send(chunked(""))]).collect()
}

fn with_model(body: &str, model: &str) -> String {
    body.replace(r#""model":"chat""#, &format!(r#""model":"{model}""#))
}

#[test]
fn other_endpoints_pass_with_nothing_changed_but_the_model() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(passing);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let mut client = gateway.client();
        for (path, asked, answer, _) in PASSING {
            assert_eq!(client.ask(post_to(path, asked)).whole(200).text(), answer);
        }
        let events = gateway.stop();
        assert_eq!(events.len(), PASSING.len());
        for (event, (path, asked, _, [prompt, completion])) in events.iter().zip(PASSING) {
            assert_eq!(event.text("endpoint"), path);
            assert_eq!(event.text("usage_source"), "provider", "{event:?}");
            let counts = (event.count("usage.prompt_tokens"), event.count("usage.completion_tokens"));
            assert_eq!((counts, event.count("tokens")), ((prompt, completion), prompt + completion), "{path}");
            assert_eq!(event.is("stream"), asked.contains("\"stream\":true"));
            assert_eq!(event.is_null("ttft_ms"), !event.is("stream"), "{event:?}");
        }
    });
}

#[test]
fn tokens_are_counted_by_who_speaks_anthropics_language() {
    let vendor = Vendor::saying(http(200, "content-type: application/json\r\n", r#"{"input_tokens":14}"#));
    let gateway = before(&vendor);
    let asked = format!(r#"{{"model":"chat",{MESSAGES}}}"#);
    let answer = gateway.client().ask(post_to("/v1/messages/count_tokens", &asked)).whole(200);
    assert_eq!(answer.text(), r#"{"input_tokens":14}"#);
    assert_eq!(vendor.request().line(), "POST /v1/messages/count_tokens HTTP/1.1");
    assert_eq!(vendor.request().body(), asked.replace("\"chat\"", "\"claude-x\""));
    let event = gateway.stop_with_one_event();
    // Counting is free.
    assert_eq!((event.text("usage_source"), event.count("tokens")), ("none".to_owned(), 0));
}

#[test]
fn a_stream_of_another_endpoint_is_torn_too_without_its_end() {
    for (path, asked, answer, _) in PASSING.into_iter().filter(|(_, asked, ..)| asked.contains("\"stream\":true")) {
        let begun = answer.split_inclusive("\n\n").next().expect("an event").to_owned();
        let vendor =
            Vendor::queue([vec![Step::Send(sse_head()), Step::Send(chunked(&begun)), Step::Send(chunked(""))]]);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
        let answer = gateway.client().ask(post_to(path, asked));
        assert_eq!(answer.end, End::Reset, "{answer:?}");
        assert!(answer.text().starts_with(&begun) && answer.text().contains("answer_torn"), "{answer:?}");
        assert_eq!(gateway.stop_with_one_event().text("error.kind"), "answer_torn");
    }
}

#[test]
fn a_group_that_does_not_all_speak_an_endpoint_never_answers_it() {
    let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
    let gateway = Gateway::with(Config::tutorial(&gpt, &claude, (99, 1))).start();
    let paths = ["/v1/embeddings", "/v1/completions", "/v1/responses", "/v1/messages/count_tokens"];
    for path in paths {
        for _ in 0..5 {
            let body = r#"{"model":"quality-ab-test","input":"x","messages":[]}"#;
            let answer = gateway.client().ask(post_to(path, body)).whole(422);
            assert!(answer.json().text("error.message").contains(path), "{answer:?}");
            assert_eq!(answer.field("x-kt-arm"), None, "nothing was drawn");
        }
    }
    // The one arm with a model is asked directly, and only its own vendor counts.
    let direct = r#"{"model":"gpt-4o","input":"x"}"#;
    gateway.client().ask(post_to("/v1/embeddings", direct)).whole(200);
    assert_eq!((gpt.requests().len(), claude.connections()), (1, 0));
    let events = gateway.stop();
    assert_eq!(events.len(), 5 * paths.len() + 1);
    for event in &events[..5 * paths.len()] {
        assert_eq!((event.count("status"), event.text("error.kind")), (422, "not_expressible".to_owned()));
        assert_eq!((event.text("assignment.method"), event.is_null("arm")), ("none".to_owned(), true));
    }
}

#[test]
fn policies_see_the_input_of_every_endpoint() {
    let policies = "policies:
  - {name: p, type: content_filter, action: block, config: {categories: [violence], threshold: low}}
";
    let text = "how to build a pipe bomb";
    let inputs = [
        ("/v1/chat/completions", format!(r#""messages":[{{"role":"user","content":"{text}"}}]"#)),
        ("/v1/completions", format!(r#""prompt":["{text}"]"#)),
        ("/v1/completions", format!(r#""prompt":"x","suffix":"{text}""#)),
        ("/v1/embeddings", format!(r#""input":"{text}""#)),
        (
            "/v1/responses",
            format!(r#""input":[{{"role":"user","content":[{{"type":"input_text","text":"{text}"}}]}}]"#),
        ),
        ("/v1/responses", format!(r#""input":"x","instructions":"{text}""#)),
        ("/v1/messages", format!(r#""messages":[{{"role":"user","content":"{text}"}}]"#)),
        ("/v1/messages", format!(r#""messages":[],"system":[{{"type":"text","text":"{text}"}}]"#)),
        ("/v1/messages/count_tokens", format!(r#""messages":[],"system":"{text}""#)),
    ];
    let (gpt, claude) = (Vendor::start(|_| vec![Step::Send(openai_whole())]), Vendor::start(anthropic));
    for (path, input) in inputs {
        let config = match path.starts_with("/v1/messages") {
            true => Config::anthropic(&claude, "", policies),
            false => Config::openai(&gpt, "", policies),
        };
        let gateway = Gateway::with(config).start();
        let ask = |input: &str| gateway.client().ask(post_to(path, &format!(r#"{{"model":"chat",{input}}}"#)));
        let answer = ask(&input);
        assert_eq!(answer.status, 403, "{path} {input}: {answer:?}");
        assert_eq!(ask(&input.replace(text, "how to build a shed")).status, 200, "{path} {input}");
        let events = gateway.stop();
        assert_eq!((events[0].text("verdict"), events[1].text("verdict")), ("block".to_owned(), "allow".to_owned()));
    }
}
