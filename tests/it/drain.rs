//! How a gateway ends: what is in flight is finished, what comes is refused, and every event is written.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{
    Config, Gate, Gateway, Step, Vendor, anthropic, chat, chat_of, eventually, on_each_driver, openai, openai_events,
    openai_stream_behind, request,
};

const STREAMED: &str = r#","stream":true,"stream_options":{"include_usage":true}"#;

/// A vendor that begins its stream, and goes on when the gate is opened.
fn gated() -> (Vendor, Gate) {
    let gate = Gate::default();
    let script = openai_stream_behind(&gate);
    (Vendor::start(move |_| script.clone()), gate)
}

#[test]
fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    on_each_driver(|driver| {
        let (vendor, gate) = gated();
        let mut gateway = Gateway::with(Config::openai(&vendor, "", "")).cores(2).driver(driver).start();
        let mut clients: Vec<_> = (0..4).map(|_| gateway.client()).collect();
        for client in &mut clients {
            client.send(chat_of("chat", STREAMED));
            client.wait_for(" there");
        }
        let mut idle = gateway.client();
        idle.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
        idle.answer().whole(200);
        gateway.signal(Signal::TERM);

        // Whoever idles is let go, and whoever comes is refused: at the latest when the core has seen its mail.
        assert!(idle.is_closed());
        eventually("new connections to be refused", || {
            let tried = TcpStream::connect_timeout(&gateway.address(), Duration::from_secs(5));
            tried.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused).then_some(())
        });
        gate.open();
        for client in &mut clients {
            let answer = client.answer().whole(200);
            assert_eq!(answer.text(), openai_events(true).concat());
            assert!(client.is_closed(), "its connection is closed in order behind it");
        }
        assert_eq!(gateway.exit_code(), Some(0));
        let events = gateway.state().events();
        assert_eq!(events.len(), 4);
        assert!(events.iter().all(|event| event.is_null("error") && event.count("tokens") == 17), "{events:?}");
        assert!(!gateway.state().path().join("admin.sock").exists());
    });
}

#[test]
fn a_connection_that_came_before_the_drain_is_told_of_it() {
    on_each_driver(|driver| {
        let (vendor, gate) = gated();
        let mut gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        // One in flight, so that the drain lasts.
        let mut streaming = gateway.client();
        streaming.send(chat_of("chat", STREAMED));
        streaming.wait_for(" there");
        // Taken in, but has not asked yet. It is given a second.
        let mut early = gateway.client();
        let mut witness = gateway.client();
        witness.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").whole(200);
        gateway.signal(Signal::TERM);
        assert!(witness.is_closed(), "the core drains from here on");
        let readiness = early.ask(request("GET /readyz", &[], None));
        assert_eq!((readiness.whole(503).text(), early.is_closed()), ("draining\n", true));
        gate.open();
        streaming.answer().whole(200);
        assert_eq!(gateway.exit_code(), Some(0));
    });
}

#[test]
fn what_was_queued_is_still_answered() {
    let vendor = Vendor::start(openai);
    let mut gateway = Gateway::with(Config::openai(&vendor, "", "")).cores(2).start();
    // Some of them have been accepted when the signal comes, some not.
    let mut clients: Vec<_> = (0..64).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(chat("chat"));
    }
    gateway.signal(Signal::INT);
    for client in &mut clients {
        client.answer().openai_completion();
    }
    assert_eq!(gateway.exit_code(), Some(0));
    assert_eq!(gateway.state().events().len(), 64);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    on_each_driver(|driver| {
        for (first, second, code) in [
            (Signal::TERM, Signal::TERM, 143),
            (Signal::INT, Signal::INT, 130),
            (Signal::TERM, Signal::INT, 130),
            (Signal::INT, Signal::TERM, 143),
        ] {
            let vendor = Vendor::start(|_| vec![Step::Hang]);
            let mut gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
            let mut client = gateway.client();
            client.send(chat("chat"));
            vendor.wait_for_requests(1);
            gateway.signal(first);
            gateway.log().find(|line| line.contains("draining")).expect("it says that it drains");
            // Two of a kind that come too soon after each other are one to the kernel.
            eventually("the second signal to be heard", || {
                gateway.has_ended().then_some(()).or_else(|| {
                    gateway.signal(second);
                    None
                })
            });
            assert_eq!(gateway.exit_code(), Some(code), "{first:?}, {second:?}");
        }
    });
}

#[test]
fn a_drain_of_an_idle_gateway_is_over_at_once() {
    on_each_driver(|driver| {
        let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
        let config = Config::tutorial(&gpt, &claude, (50, 50));
        let gateway = Gateway::with(config).cores(2).driver(driver).start();
        // Pooled vendors and clients that could ask again hold nothing up.
        let mut clients: Vec<_> = (0..4).map(|_| gateway.client()).collect();
        for client in &mut clients {
            client.ask(chat("quality-ab-test")).whole(200);
        }
        let began = std::time::Instant::now();
        assert_eq!(gateway.stop().len(), 4);
        assert!(began.elapsed() < Duration::from_secs(10), "after {:?}", began.elapsed());
        gpt.wait_until_left();
    });
}
