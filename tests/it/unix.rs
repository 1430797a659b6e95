//! A gateway that listens at a Unix socket: who is beside it on the same machine asks it as over TCP, and the socket's
//! file comes and goes with the gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::Signal;

use crate::harness::{
    Client, Config, End, Gate, Gateway, Setup, State, Step, Vendor, chat, chat_of, chunked, eventually, kt,
    on_each_driver, openai, openai_events, openai_stream_behind, sse_head,
};

const STREAMED: &str = r#","stream":true,"stream_options":{"include_usage":true}"#;

/// A place for a socket, and a gateway that is to listen there.
fn at_a_socket(vendor: &Vendor) -> (PathBuf, Setup) {
    let state = State::new();
    let path = state.root().join("kt.sock");
    let listen = format!("unix:{}", path.display());
    (path, Gateway::with(Config::openai(vendor, "", "")).state(&state).arg("--listen").arg(listen))
}

#[test]
fn a_socket_serves_as_a_port_does_and_goes_with_its_gateway() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let (path, setup) = at_a_socket(&vendor);
        let mut gateway = setup.cores(2).driver(driver).start();
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o660);
        let mut clients: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
        for _ in 0..2 {
            for client in &mut clients {
                client.ask(chat("chat")).openai_completion();
            }
        }
        let streamed = clients[0].ask(chat_of("chat", STREAMED)).whole(200);
        assert!(streamed.text().ends_with("data: [DONE]\n\n"), "{}", streamed.text());
        assert_eq!(gateway.stats().count("connections"), 8);
        let health = gateway.admin("GET", "/health");
        assert!(health.contains(&format!("\"listen\":\"unix:{}\"", path.display())), "{health}");
        assert!(!gateway.log().text().contains("Whoever can reach"), "who may connect is up to the file's mode");
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.exit_code(), Some(0));
        assert!(!path.exists());
        assert_eq!(gateway.state().events().len(), 17);
    });
}

#[test]
fn the_config_may_name_the_socket() {
    let vendor = Vendor::start(openai);
    let state = State::new();
    let path = state.root().join("kt.sock");
    let config = format!("{}gateway: {{listen: 'unix:{}'}}\n", Config::openai(&vendor, "", ""), path.display());
    let file = state.write("config.yaml", &config);
    let lint = kt(&["policy", "lint", "--file", file.to_str().expect("UTF-8")]);
    assert_eq!(lint.code, Some(0), "{lint:?}");
    let gateway = Gateway::with(config).state(&state).start();
    gateway.client().ask(chat("chat")).openai_completion();
    assert!(path.exists());
    let elsewhere = Config::openai(&vendor, "", "") + "gateway: {listen: 'localhost:41002'}\n";
    gateway.rewrite(&elsewhere);
    let reload = gateway.reload();
    assert!(reload.code == Some(1) && reload.stderr.contains("gateway.listen can't be changed"), "{reload:?}");
}

#[test]
fn what_a_crash_left_is_replaced_and_nothing_else() {
    let vendor = Vendor::start(openai);
    let (path, setup) = at_a_socket(&vendor);
    let first = setup.start();
    let state = Arc::clone(first.state());
    let listen = format!("unix:{}", path.display());
    let again = || Gateway::with(Config::openai(&vendor, "", "")).arg("--listen").arg(&*listen);
    let refused = again().refused();
    let said =
        format!("error: cannot listen on {listen}: the socket is in use; stop what uses it, or choose another path\n");
    assert_eq!((refused.code, refused.stderr), (Some(1), said));
    first.client().ask(chat("chat")).openai_completion();

    // Killed.
    drop(first);
    assert!(path.exists());
    let second = again().state(&state).start();
    second.client().ask(chat("chat")).openai_completion();

    // Another's, put in its place, stays.
    fs::remove_file(&path).expect("it is there");
    let others = UnixListener::bind(&path).expect("the place is free");
    second.stop();
    assert!(path.exists());
    drop(others);

    fs::remove_file(&path).expect("it is there");
    fs::write(&path, "notes").expect("the place is free");
    let refused = again().refused();
    let said = format!(
        "error: cannot listen on {listen}: there is a file that is no socket; remove it, or choose another path\n"
    );
    assert_eq!((refused.code, refused.stderr), (Some(1), said));
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "notes");
    let with_port = again().arg("--port").arg("0").refused();
    assert_eq!(with_port.code, Some(1));
    assert!(with_port.stderr.contains("a Unix socket has none"), "{}", with_port.stderr);
}

#[test]
fn a_drain_takes_the_file_away_and_finishes_what_is_in_flight() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let script = openai_stream_behind(&gate);
        let vendor = Vendor::start(move |_| script.clone());
        let (path, setup) = at_a_socket(&vendor);
        let mut gateway = setup.cores(2).driver(driver).start();
        let mut client = gateway.client();
        client.send(chat_of("chat", STREAMED));
        client.wait_for(" there");
        gateway.signal(Signal::TERM);
        eventually("the socket to go", || (!path.exists()).then_some(()));
        gate.open();
        assert_eq!(client.answer().whole(200).text(), openai_events(true).concat());
        assert!(client.is_closed());
        assert_eq!(gateway.exit_code(), Some(0));
        assert!(!gateway.log().text().contains("Accepting connections fails"), "{}", gateway.log().text());
    });
}

#[test]
fn who_leaves_is_noticed_and_who_is_left_sees_it() {
    on_each_driver(|driver| {
        let events = openai_events(true);
        let begun = vec![Step::Send(sse_head()), Step::Send(chunked(events[..3].concat()))];
        let torn = begun.iter().cloned().chain([Step::Close]).collect::<Vec<_>>();
        let hung = begun.into_iter().chain([Step::Hang]).collect::<Vec<_>>();
        let vendor =
            Vendor::start(move |request| if request.body().contains("torn") { torn.clone() } else { hung.clone() });
        let (_, setup) = at_a_socket(&vendor);
        let gateway = setup.driver(driver).start();
        let mut client = gateway.client();
        client.send(chat_of("chat", STREAMED));
        client.wait_for(" there");
        drop(client);
        let events = gateway.events(1);
        assert_eq!(events[0].count("status"), 499);

        let mut client = gateway.client();
        client.send(chat_of("chat", &format!("{STREAMED},\"user\":\"torn\"")));
        let answer = client.answer();
        // A Unix socket knows no reset: the last chunk is missing all the same.
        assert!(matches!(answer.end, End::Torn | End::Reset), "{:?}", answer.end);
        assert!(answer.text().contains("\"error\""), "{}", answer.text());
    });
}

#[test]
fn bench_asks_at_a_socket() {
    let vendor = Vendor::start(openai);
    let (path, setup) = at_a_socket(&vendor);
    let _gateway = setup.start();
    let target = format!("unix:{}", path.display());
    let args = ["--model", "chat", "--duration", "300ms", "--warm-up", "0s", "--concurrency", "4"];
    let output = kt(&[&["bench", "--target", &target][..], &args].concat());
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("0 failed"), "{}", output.stdout);
}
