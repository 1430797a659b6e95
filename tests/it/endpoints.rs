//! The gateway's own paths, and what is decided about a request before a vendor is drawn.

use crate::harness::{Answer, Client, Config, Gateway, Json, Vendor, anthropic, chat, openai, post, refuses, request};

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
    // What would say the request back, with the keys in it, is refused everywhere.
    for path in ["/v1/chat/completions", "/healthz", "/nothing"] {
        client.send(request(&format!("TRACE {path}"), &["X-Api-Key: sk-of-the-client"], None));
        let answer = client.answer();
        answer.error(405);
        assert!(answer.field("allow").is_some() && !format!("{answer:?}").contains("sk-of"), "{answer:?}");
    }
    // A small body is of no use to these paths, and no reason to close; one that is held back or large is left.
    client.ask(request("POST /nothing", &[], Some(b"hello"))).error(404);
    client
        .ask(b"POST /nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
        .error(404);
    for left in ["Content-Length: 5\r\nExpect: 100-continue", "Content-Length: 70000"] {
        let mut client = gateway.client();
        let answer = client.ask(format!("POST /nothing HTTP/1.1\r\nHost: a\r\n{left}\r\n\r\n"));
        assert_eq!((answer.error(404), answer.field("connection")), (String::new(), Some("close")));
    }
    ask(&mut client, "GET", "/v1/chat/completion").error(404);
    ask(&mut client, "POST", "/").error(404);
    assert_eq!(gateway.stop(), []);
}

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
    assert_eq!(event.text("error.kind"), "blocked_by_policy");
    assert_eq!(event.text("policies.0.result"), "blocked");
}
