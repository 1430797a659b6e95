//! Who may come in: clients with keys, and how many connections an address may have.

use std::net::Ipv4Addr;
use std::thread;

use crate::harness::{
    Answer, Client, Config, Driver, Gateway, State, Vendor, chat, eventually, on_each_driver, openai, request,
};

const CLIENTS: &str = "gateway:
  clients:
    - {name: team a, key_ref: {env: TEAM_A}}
    - {name: team-b, key_ref: {file: team-b.key}}
";

/// A gateway that lets two clients in: `team a` with `key-of-a`, `team-b` with `key-of-b`.
fn guarded(vendor: &Vendor, driver: Driver) -> Gateway {
    let state = State::new();
    state.write("team-b.key", "key-of-b\n");
    let config = Config::openai(vendor, "", CLIENTS);
    Gateway::with(config).state(&state).driver(driver).env("TEAM_A", "key-of-a").start()
}

/// A small chat completion with these further fields of the head.
fn chat_with(fields: &[&str]) -> Vec<u8> {
    let body = br#"{"model":"chat","messages":[{"role":"user","content":"Hello"}]}"#;
    request("POST /v1/chat/completions", fields, Some(body))
}

/// Checks that it is told who doesn't get in, and that a retry is no use.
#[track_caller]
fn is_locked_out(answer: &Answer) {
    assert_eq!(answer.error(401), "invalid_api_key");
    assert_eq!(answer.json().text("error.type"), "authentication_error");
    assert_eq!(answer.field("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.field("x-should-retry"), Some("false"));
    assert_eq!(answer.field("connection"), Some("close"));
}

#[test]
fn a_client_comes_in_with_its_key_and_its_events_say_so() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = guarded(&vendor, driver);
        let mut client = gateway.client();
        let cases = [
            (&["Authorization: Bearer key-of-a"][..], "team a"),
            (&["authorization: bearer  key-of-b"], "team-b"),
            (&["x-api-key: key-of-a"], "team a"),
            (&["X-Api-Key: key-of-b", "Authorization: Basic a2V5LW9mLWE="], "team-b"),
        ];
        for (fields, _) in cases {
            client.ask(chat_with(fields)).openai_completion();
        }
        for request in vendor.requests() {
            let head = String::from_utf8_lossy(&request.head).into_owned();
            assert!(!head.contains("key-of-") && !head.contains("a2V5"), "{head}");
            assert_eq!(request.field("authorization"), Some("Bearer sk-openai-test"));
        }
        let events = gateway.stop();
        assert_eq!(
            events.iter().map(|event| event.text("client")).collect::<Vec<_>>(),
            cases.map(|(_, name)| name.to_owned())
        );
    });
}

#[test]
fn without_a_key_nobody_comes_in() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([]);
        let gateway = guarded(&vendor, driver);
        let cases = [
            &[][..],
            &["Authorization: Bearer key-of-c"],
            &["Authorization: Bearer "],
            &["Authorization: key-of-a"],
            &["Authorization: Basic key-of-a"],
            &["Authorization: Bearer key-of-a key-of-b"],
            &["Authorization: Bearer key-of-"],
            &["Authorization: Bearer KEY-OF-A"],
            &["x-api-key: sk-openai-test"],
            &["Api-Key: key-of-a", "Cookie: key-of-a"],
            // Which of them would it be?
            &["Authorization: Bearer key-of-a", "Authorization: Bearer key-of-a"],
            &["x-api-key: key-of-a", "x-api-key: key-of-b"],
        ];
        for fields in cases {
            let mut client = gateway.client();
            is_locked_out(&client.ask(chat_with(fields)));
            assert!(client.is_closed());
        }
        let events = gateway.stop();
        assert_eq!(events.len(), cases.len());
        for event in events {
            assert!(event.count("status") == 401 && event.is_null("client") && event.is_null("model"), "{event:?}");
            let error = (event.text("error.side"), event.text("error.kind"), event.text("error.phase"));
            assert_eq!(error, ("client".into(), "invalid_api_key".into(), "head".into()));
            assert_eq!((event.number("latency_ms"), event.count("attempts")), (0.0, 0));
        }
        assert_eq!(vendor.connections(), 0);
    });
}

#[test]
fn nothing_of_a_stranger_is_read_but_its_head() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([]);
        let gateway = guarded(&vendor, driver);
        for (field, body) in [("Expect: 100-continue", ""), ("X-None: x", "{"), ("Content-Encoding: gzip", "")] {
            let mut client = gateway.client();
            client.send(format!(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{field}\r\nContent-Length: 20000\r\n\r\n{body}"
            ));
            is_locked_out(&client.answer());
            client.half_close();
            assert!(client.is_closed());
        }
        assert_eq!(gateway.stop().len(), 3);
    });
}

#[test]
fn the_models_are_listed_to_clients_alone_and_health_is_told_to_all() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([]);
        let gateway = guarded(&vendor, driver);
        let ask = |client: &mut Client, method: &str, path: &str, fields: &[&str]| {
            client.send(request(&format!("{method} {path}"), fields, None));
            client.answer_to(method)
        };
        let mut client = gateway.client();
        for path in ["/healthz", "/readyz", "/health"] {
            ask(&mut client, "GET", path, &[]).whole(200);
        }
        for fields in ["Authorization: Bearer key-of-a", "x-api-key: key-of-b"] {
            let models = ask(&mut client, "GET", "/v1/models", &[fields]).whole(200).json();
            assert_eq!(models.text("data.0.id"), "chat");
        }
        ask(&mut client, "GET", "/v1/chat/completions", &[]).error(405);
        ask(&mut client, "GET", "/v1/anything", &[]).error(404);
        is_locked_out(&ask(&mut client, "GET", "/v1/models", &["x-api-key: key-of-c"]));
        assert!(client.is_closed());
        let mut client = gateway.client();
        let head = ask(&mut client, "HEAD", "/v1/models", &[]);
        assert_eq!((head.status, head.field("www-authenticate")), (401, Some("Bearer")));
        assert!(client.is_closed());
        assert_eq!(gateway.stop(), []);
    });
}

#[test]
fn keys_are_read_again_on_a_reload() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = guarded(&vendor, driver);
        let (mut a, mut b) = (gateway.client(), gateway.client());
        let (key_a, key_b) = (["x-api-key: key-of-a"], ["x-api-key: key-of-b"]);
        a.ask(chat_with(&key_a)).openai_completion();
        b.ask(chat_with(&key_b)).openai_completion();

        gateway.state().write("team-b.key", "another-key");
        b.ask(chat_with(&key_b)).openai_completion();
        assert_eq!(gateway.reload().code, Some(0));
        is_locked_out(&b.ask(chat_with(&key_b)));
        a.ask(chat_with(&key_a)).openai_completion();
        gateway.client().ask(chat_with(&["x-api-key: another-key"])).openai_completion();

        // Nobody could tell them apart any more: the keys stay as they are.
        gateway.state().write("team-b.key", "key-of-a");
        let refused = gateway.reload();
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
        assert!(refused.stderr.contains("\"team a\" and \"team-b\" have the same key"), "{}", refused.stderr);
        gateway.client().ask(chat_with(&["x-api-key: another-key"])).openai_completion();

        // Without the list, whoever reaches the port comes in.
        gateway.rewrite(&Config::openai(&vendor, "", ""));
        assert_eq!(gateway.reload().code, Some(0));
        gateway.client().ask(chat("chat")).openai_completion();
        let events = gateway.stop();
        assert_eq!(events.len(), 8);
        assert!(events[7].is_null("client") && events[6].text("client") == "team-b", "{events:?}");
    });
}

#[test]
fn a_client_whose_key_is_missing_is_said_at_start_and_locked_out() {
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", CLIENTS);
    let gateway = Gateway::with(config).env("TEAM_A", "key-of-a").start();
    let warnings: Vec<_> = gateway.log().lines().into_iter().filter(|line| line.starts_with("WARN")).collect();
    let expected = "WARN keeptrusts::gateway Client \"team-b\" has no API key: nobody can come in as it";
    assert_eq!(warnings, [expected]);
    is_locked_out(&gateway.client().ask(chat_with(&["Authorization: Bearer "])));
    gateway.client().ask(chat_with(&["x-api-key: key-of-a"])).openai_completion();
}

#[test]
fn clients_that_share_a_key_are_refused_at_start_in_one_line() {
    let vendor = Vendor::queue([]);
    let state = State::new();
    state.write("team-b.key", "shared-by-both\n");
    let config = Config::openai(&vendor, "", CLIENTS);
    let refused = Gateway::with(config).state(&state).env("TEAM_A", "shared-by-both").refused();
    assert_eq!((refused.code, refused.stderr.lines().count()), (Some(1), 1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("have the same key") && !refused.stderr.contains("shared-by"),
        "{}",
        refused.stderr
    );
}

#[test]
fn an_open_door_is_warned_of_once() {
    let vendor = Vendor::queue([]);
    let open = Config::openai(&vendor, "", "");
    let closed = Config::openai(&vendor, "", CLIENTS);
    let warnings = |gateway: &Gateway| {
        let lines = gateway.log().lines();
        lines.into_iter().filter(|line| line.contains("can spend the vendors' API keys")).collect::<Vec<_>>()
    };
    let start = |config: &str, listen: &str| {
        let state = State::new();
        state.write("team-b.key", "key-of-b");
        let setup = Gateway::with(config).state(&state).env("TEAM_A", "key-of-a");
        setup.arg("--listen").arg(listen).cores(2).start()
    };
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let gateway = start(&open, listen);
        let said = warnings(&gateway);
        let address = gateway.address().to_string();
        assert!(said.len() == 1 && said[0].starts_with("WARN keeptrusts::gateway Whoever can reach"), "{said:?}");
        assert!(said[0].contains(&address), "{said:?}");
        assert_eq!(gateway.reload().code, Some(0));
        assert_eq!(warnings(&gateway).len(), 1, "a reload that opens nothing says nothing");
    }
    for listen in ["127.0.0.1:0", "127.3.2.1:0", "[::1]:0"] {
        assert_eq!(warnings(&start(&open, listen)), [""; 0], "{listen}");
    }
    let gateway = start(&closed, "0.0.0.0:0");
    assert_eq!(warnings(&gateway), [""; 0]);
    gateway.rewrite(&open);
    assert_eq!(gateway.reload().code, Some(0));
    assert_eq!(warnings(&gateway).len(), 1, "a reload opened it");
}

#[test]
fn one_address_has_as_many_connections_as_it_may() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let limits = "gateway: {limits: {connections_per_address_max: 3}}\n";
        let gateway = Gateway::with(Config::openai(&vendor, "", limits)).driver(driver).start();
        let mut clients: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
        for client in &mut clients {
            client.ask(chat("chat")).openai_completion();
        }
        for _ in 0..5 {
            assert!(gateway.client().is_closed());
        }
        // Another address has its own.
        let mut neighbour = Client::connect_from(Ipv4Addr::new(127, 0, 0, 2), gateway.address());
        neighbour.ask(chat("chat")).openai_completion();
        let stats = gateway.stats();
        assert_eq!((stats.count("turned_away"), stats.count("connections")), (5, 4));
        for client in &mut clients {
            client.ask(chat("chat")).openai_completion();
        }
        // One goes, another comes.
        drop(clients.pop());
        eventually("it to be gone", || (gateway.stats().count("connections") == 3).then_some(()));
        gateway.client().ask(chat("chat")).openai_completion();
        // A reload may lift the bound.
        gateway.rewrite(&Config::openai(&vendor, "", "gateway: {limits: {connections_per_address_max: 0}}\n"));
        assert_eq!(gateway.reload().code, Some(0));
        thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| gateway.client().ask(chat("chat")).openai_completion());
            }
        });
        assert_eq!(gateway.stop().len(), 18);
    });
}
