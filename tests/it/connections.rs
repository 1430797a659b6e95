//! Clients' connections: one request after another, and how they end.

use crate::harness::{
    Config, End, Gateway, MESSAGES, Step, Vendor, anthropic, chat, chat_of, http, json, on_each_driver, openai,
    openai_events, post, request,
};

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
fn requests_of_all_kinds_are_pipelined() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let own = |line: &str, body: Option<&[u8]>| request(line, &[], body);
        let chunks = b"POST /nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
        let asked = [
            ("HEAD", own("HEAD /v1/models", None), 200),
            ("GET", own("GET /healthz", None), 200),
            ("POST", chat("chat"), 200),
            ("GET", own("GET /nothing", None), 404),
            ("POST", own("POST /healthz", Some(b"body")), 405),
            ("POST", own("POST /healthz", Some(b"")), 405),
            ("POST", chunks.to_vec(), 404),
            ("POST", chat_of("chat", r#","stream":true"#), 200),
            ("GET", own("GET /health", None), 200),
        ];
        let all: Vec<u8> = asked.iter().flat_map(|(_, bytes, _)| bytes.clone()).collect();
        let mut client = gateway.client();
        client.send(&all);
        for (method, bytes, status) in &asked {
            let answer = client.answer_to(method);
            assert_eq!((answer.status, answer.end), (*status, End::Whole), "{}", bytes.escape_ascii());
        }
        assert_eq!(gateway.stop().len(), 2);
    });
}

#[test]
fn http_1_0_is_answered_without_chunks_and_closed() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::before(&vendor);
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
    let gateway = Gateway::before(&vendor);
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
        assert_eq!(client.ask(request("GET /healthz", &[], None)).whole(200).text(), "ok\n");
    }
    assert_eq!((gpt.connections(), claude.connections()), (1, 1));
    assert_eq!(gateway.stop().len(), 6);
}

#[test]
fn cores_have_as_many_clients_as_each_other_where_they_are_few() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).cores(2).driver(driver).start();
        // Each is known to be there before the next one comes; without that, chance alone would have it.
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = gateway.client();
            client.ask(chat("chat")).openai_completion();
            clients.push(client);
        }
        let events = gateway.stop();
        let on_core = |core: u64| events.iter().filter(|event| event.count("core") == core).count();
        assert_eq!((on_core(0), on_core(1)), (4, 4));
    });
}
