//! A request that doesn't get to its vendor: nobody there, no way to send it, or an answer before it is whole.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::version::TLS13;

use crate::harness::{
    Authority, Client, Config, Driver, Event, Gate, Gateway, State, Step, Vendor, chat, chunked, http, on_each_driver,
    openai, openai_whole, post, sse_head,
};

/// Far less than any default, and far more than what takes milliseconds.
const SOON: Duration = Duration::from_secs(10);

#[track_caller]
fn says(event: &Event, status: u64, side: &str, kind: &str, phase: &str) {
    let said = (event.text("error.side"), event.text("error.kind"), event.text("error.phase"));
    assert_eq!(said, (side.to_owned(), kind.to_owned(), phase.to_owned()), "{event:?}");
    assert_eq!(event.count("status"), status, "{event:?}");
}

/// A request far larger than what the sockets on its way hold.
fn large() -> Vec<u8> {
    post(format!(r#"{{"model":"chat","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(24 * 1024 * 1024)))
}

fn gateway(vendor: &Vendor, target: &str, driver: Driver) -> Gateway {
    Gateway::with(Config::openai(vendor, target, "")).driver(driver).start()
}

// The vendor answers before it has read all.

const TOO_LARGE: &str = r#"{"error":{"message":"Request too large","type":"invalid_request_error"}}"#;

#[test]
fn a_vendor_that_turns_a_request_down_early_is_heard() {
    on_each_driver(|driver| {
        let refusal = http(413, "content-type: application/json\r\nconnection: close\r\n", TOO_LARGE);
        // It closes with the request unread, which resets the connection; or stops reading and waits.
        let gate = Gate::default();
        for end in [Step::Close, Step::Reset, Step::Wait(gate.clone())] {
            let vendor =
                Vendor::queue([vec![Step::Send(refusal.clone()), Step::Pause(Duration::from_millis(50)), end]]);
            let vendor = vendor.hasty();
            let gateway = gateway(&vendor, "", driver);
            let began = Instant::now();
            let answer = gateway.client().ask(large()).whole(413);
            assert!(began.elapsed() < SOON, "after {:?}", began.elapsed());
            assert_eq!(answer.text(), TOO_LARGE);
            let event = gateway.stop_with_one_event();
            assert_eq!((event.count("status"), event.is_null("error"), event.count("attempts")), (413, true, 1));
            gate.open();
        }
    });
}

#[test]
fn a_vendor_that_turns_a_request_down_early_is_heard_over_tls() {
    on_each_driver(|driver| {
        let authority = Authority::new();
        let config = authority.vouch_for("localhost").server_config(&[&TLS13]);
        let refusal = http(413, "content-type: application/json\r\nconnection: close\r\n", TOO_LARGE);
        let gate = Gate::default();
        let script = vec![Step::Send(refusal), Step::Wait(gate.clone())];
        let vendor = Vendor::start_tls(config, move |_| script.clone()).hasty();
        let state = State::new();
        state.write("ca.pem", authority.pem());
        let gateway =
            Gateway::with(Config::openai(&vendor, "ca_file: ca.pem", "")).state(&state).driver(driver).start();
        assert_eq!(gateway.client().ask(large()).whole(413).text(), TOO_LARGE);
        gate.open();
    });
}

#[test]
fn a_vendor_may_begin_a_good_answer_before_it_has_read_all() {
    on_each_driver(|driver| {
        let script = vec![
            Step::Send([sse_head(), chunked(": wait\n\n")].concat()),
            Step::Pause(Duration::from_millis(100)),
            Step::ReadBody,
            Step::Send([chunked("data: [DONE]\n\n"), chunked("")].concat()),
        ];
        let vendor = Vendor::queue([script]).hasty();
        let gateway = gateway(&vendor, "", driver);
        let answer = gateway.client().ask(large()).whole(200);
        assert_eq!(answer.text(), ": wait\n\ndata: [DONE]\n\n");
        assert!(gateway.stop_with_one_event().is_null("error"));
    });
}

#[test]
fn an_interim_answer_does_not_end_a_request() {
    on_each_driver(|driver| {
        let script = vec![
            Step::Send(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
            Step::Pause(Duration::from_millis(100)),
            Step::ReadBody,
            Step::Send(openai_whole()),
        ];
        let vendor = Vendor::queue([script]).hasty();
        let gateway = gateway(&vendor, "", driver);
        gateway.client().ask(large()).openai_completion();
    });
}

// It can't be sent.

#[test]
fn a_vendor_that_breaks_off_what_it_is_sent_is_a_502() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([vec![Step::Reset]]).hasty();
        let gateway = gateway(&vendor, "", driver);
        assert_eq!(gateway.client().ask(large()).error(502), "send_failed");
        let event = gateway.stop_with_one_event();
        says(&event, 502, "upstream", "send_failed", "send");
        assert_eq!(event.count("attempts"), 1);
    });
}

#[test]
fn a_vendor_that_takes_nothing_is_a_504() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let vendor = Vendor::queue([vec![Step::Wait(gate.clone())]]).hasty();
        let gateway = gateway(&vendor, "timeouts: {idle_ms: 300}", driver);
        assert_eq!(gateway.client().ask(large()).error(504), "send_too_slow");
        gate.open();
        says(&gateway.stop_with_one_event(), 504, "upstream", "send_too_slow", "send");
    });
}

#[test]
fn a_client_that_leaves_while_its_request_is_sent_takes_the_vendor_along() {
    on_each_driver(|driver| {
        for leave in [drop, Client::reset] {
            // The vendor takes some of it, and then no more.
            let gate = Gate::default();
            let vendor = Vendor::queue([vec![Step::Wait(gate.clone())]]).hasty();
            let gateway = gateway(&vendor, "", driver);
            let mut client = gateway.client();
            client.send(large());
            vendor.wait_for_requests(1);
            leave(client);
            says(&gateway.events(1)[0], 499, "client", "client_gone", "send");
            gate.open();
            vendor.wait_until_left();
        }
    });
}

// Nobody there.

#[test]
fn a_vendor_whose_name_nobody_knows_is_a_502() {
    let vendor = Vendor::queue([]);
    let config = Config::openai(&vendor, "", "").replace(&vendor.url(), "http://no-such-host.invalid");
    let gateway = Gateway::with(config).start();
    let answer = gateway.client().ask(chat("chat"));
    assert_eq!(answer.error(502), "name_not_resolved");
    assert!(answer.text().contains("target openai"), "{answer:?}");
    says(&gateway.stop_with_one_event(), 502, "upstream", "name_not_resolved", "connect");
}

#[test]
fn a_vendor_that_does_not_accept_is_a_504() {
    on_each_driver(|driver| {
        // Of a full queue the kernel says nothing: who connects is left to try again.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("loopback has a free port");
        full.listen(0).expect("it is bound");
        let full: TcpListener = full.into();
        let address = full.local_addr().expect("it is bound");
        let _queued = Client::connect(address);
        let vendor = Vendor::queue([]);
        let config = Config::openai(&vendor, "timeouts: {connect_ms: 300}", "")
            .replace(&vendor.url(), &format!("http://{address}"));
        let gateway = Gateway::with(config).driver(driver).start();
        assert_eq!(gateway.client().ask(chat("chat")).error(504), "connect_too_slow");
        let event = gateway.stop_with_one_event();
        says(&event, 504, "upstream", "connect_too_slow", "connect");
        assert!(event.number("connect_ms") >= 290.0, "{event:?}");
    });
}

#[test]
fn a_vendor_that_shakes_no_hands_is_a_504() {
    on_each_driver(|driver| {
        let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = silent.local_addr().expect("it is bound");
        let vendor = Vendor::queue([]);
        let config = Config::openai(&vendor, "timeouts: {connect_ms: 300}", "")
            .replace(&vendor.url(), &format!("https://{address}"));
        let gateway = Gateway::with(config).driver(driver).start();
        assert_eq!(gateway.client().ask(chat("chat")).error(504), "connect_too_slow");
        let event = gateway.stop_with_one_event();
        says(&event, 504, "upstream", "connect_too_slow", "tls");
    });
}

#[test]
fn a_client_that_leaves_while_hands_are_shaken_takes_the_vendor_along() {
    on_each_driver(|driver| {
        let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = silent.local_addr().expect("it is bound");
        let vendor = Vendor::queue([]);
        let config = Config::openai(&vendor, "timeouts: {connect_ms: 60000}", "")
            .replace(&vendor.url(), &format!("https://{address}"));
        let gateway = Gateway::with(config).driver(driver).start();
        let mut client = gateway.client();
        client.send(chat("chat"));
        let (mut vendors_end, _) = silent.accept().expect("the gateway connects");
        vendors_end.set_read_timeout(Some(SOON)).expect("it isn't zero");
        let mut first = [0];
        vendors_end.read_exact(&mut first).expect("a hello");
        assert_eq!(first, [22], "of a handshake");
        drop(client);
        vendors_end.read_to_end(&mut Vec::new()).expect("it ends in order");
        says(&gateway.stop_with_one_event(), 499, "client", "client_gone", "tls");
    });
}

#[test]
fn more_than_may_be_in_flight_is_told_to_come_again() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let vendor = Arc::new(Vendor::start(move |request| [vec![Step::Wait(held.clone())], openai(request)].concat()));
        let limits = "gateway: {limits: {in_flight_max: 2}}\n";
        let gateway = Gateway::with(Config::openai(&vendor, "", limits)).driver(driver).start();
        let mut first: Vec<Client> = (0..2).map(|_| gateway.client()).collect();
        first.iter_mut().for_each(|client| client.send(chat("chat")));
        vendor.wait_for_requests(2);
        let answer = gateway.client().ask(chat("chat"));
        assert_eq!(answer.error(503), "overloaded");
        assert_eq!((answer.field("retry-after"), answer.field("x-should-retry")), (Some("1"), None));
        gate.open();
        first.iter_mut().for_each(|client| drop(client.answer().openai_completion()));
        gateway.client().ask(chat("chat")).openai_completion();
        let events = gateway.stop();
        assert_eq!(events.iter().filter(|event| event.count("status") == 503).count(), 1);
        says(&events[0], 503, "gateway", "overloaded", "head");
    });
}
