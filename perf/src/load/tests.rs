//! The load against quick vendors, and against servers that answer wrongly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use kt_core::dialect::Dialect;
use kt_proxy::listen::Address;

use super::*;
use crate::vendor::quick::{Delay, Freeze, QuickVendor, Settings, whole_body};

const PATIENCE: Duration = Duration::from_secs(30);

fn vendor(settings: Settings) -> QuickVendor {
    QuickVendor::start(TcpListener::bind("127.0.0.1:0").unwrap(), settings).unwrap()
}

fn target(address: SocketAddr) -> Target {
    Target {
        address: Address::Ip(address),
        authority: address.to_string(),
        path: "/v1/chat/completions".to_owned(),
        fields: vec![("authorization".to_owned(), "Bearer sk".to_owned())],
        tls: None,
        model: "gpt-4o-mini".to_owned(),
        dialect: Dialect::OpenAi,
    }
}

fn load(address: SocketAddr) -> Load {
    Load {
        targets: vec![target(address)],
        pattern: Pattern::Closed,
        connections: 4,
        keep_alive: true,
        warm_up: Duration::from_millis(20),
        duration: Duration::from_millis(200),
        patience: Duration::from_secs(10),
        question: Question::of_bytes(1_024, false),
        check: Check::Stamped { events: 100 },
    }
}

fn outcomes(load: Load) -> Vec<Outcome> {
    start(load).unwrap().wait(PATIENCE).expect("it ends in time")
}

fn outcome(load: Load) -> Outcome {
    outcomes(load).pop().expect("one target")
}

#[test]
fn whole_answers_of_any_size_are_the_vendors_bytes() {
    for body_bytes in [1 << 10, 40 << 10, 400 << 10] {
        let settings = Settings::default();
        let (before, after) = whole_body(&settings);
        let vendor = vendor(settings);
        let check = Check::Exact { events: 100, before, after };
        let question = Question::of_bytes(body_bytes, false);
        let outcome = outcome(Load { question, check, ..load(vendor.address()) });
        assert!(outcome.answered > 0 && outcome.failed.is_empty(), "{body_bytes}: {:?}", outcome.failed);
        assert_eq!(outcome.latency.count(), outcome.answered);
        // A part is never longer than the whole, but for the histograms' three digits.
        assert!(outcome.between.at(0.5) as f64 <= outcome.latency.at(0.5) as f64 * 1.01);
    }
}

#[test]
fn streams_are_timed_event_by_event() {
    let ms = Duration::from_millis;
    let delay = Delay::Fixed(ms(30));
    let vendor = vendor(Settings { delay, events: 5, gap: ms(10), ..Settings::default() });
    let question = Question::of_bytes(1_024, true);
    let check = Check::Stamped { events: 5 };
    let outcome = outcome(Load { question, check, duration: ms(300), ..load(vendor.address()) });
    assert!(outcome.answered >= 4 && outcome.failed.is_empty(), "{:?}", outcome.failed);
    assert_eq!(outcome.events, 5 * outcome.answered);
    assert_eq!((outcome.gap.count(), outcome.transit.count()), (4 * outcome.answered, outcome.events));
    // Never early; how late is this machine's business. Of the vendor's 30 ms nothing is in what lay between.
    assert!(outcome.first.at(0.0) >= 29_900_000 && outcome.latency.at(0.0) >= 69_900_000, "{}", outcome.first.at(0.0));
    assert!(outcome.between.at(0.0) < 30_000_000, "{}", outcome.between.at(0.0));
}

#[test]
fn the_open_loop_keeps_its_rate_and_takes_the_connections_it_needs() {
    let vendor = vendor(Settings { delay: Delay::Fixed(Duration::from_millis(5)), ..Settings::default() });
    let rate = 400.0;
    for pattern in [
        Pattern::Constant { rate },
        Pattern::Poisson { rate, seed: 3 },
        Pattern::Trace { times: (1..=400).map(|nth| Duration::from_micros(2_500 * nth)).collect() },
    ] {
        let outcome = outcome(Load { pattern: pattern.clone(), connections: 500, ..load(vendor.address()) });
        // Chance has a standard deviation of nine in 80.
        assert!((45..=125).contains(&outcome.answered), "{pattern:?}: {}", outcome.answered);
        assert!(outcome.failed.is_empty() && outcome.meant_rate == Some(rate), "{:?}", outcome.failed);
    }
}

#[test]
fn a_stall_shows_in_the_open_loop_and_hides_in_the_closed_one() {
    let ms = Duration::from_millis;
    let freeze = Some(Freeze { every: ms(2_000), length: ms(400) });
    let freezing = || vendor(Settings { delay: Delay::Fixed(ms(1)), freeze, ..Settings::default() });
    let (for_open, for_closed) = (freezing(), freezing());
    let stalled = |address| Load { duration: ms(2_000), warm_up: ms(0), ..load(address) };
    let pattern = Pattern::Constant { rate: 200.0 };
    let open = start(Load { pattern, connections: 500, ..stalled(for_open.address()) }).unwrap();
    let closed = start(Load { connections: 1, ..stalled(for_closed.address()) }).unwrap();
    let p99_and_max = |loading: &Loading| {
        let outcome = loading.wait(PATIENCE).and_then(|mut outcomes| outcomes.pop()).expect("it ends in time");
        assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
        (outcome.latency.at(0.99) / 1_000_000, outcome.latency.max() / 1_000_000)
    };
    let (open, closed) = (p99_and_max(&open), p99_and_max(&closed));
    // A fifth of the requests were meant to go out while the vendor was frozen; one in hundreds did in the closed loop.
    assert!(open.0 >= 300, "open loop: p99 {} ms, at most {} ms", open.0, open.1);
    assert!(closed.0 < 300 && closed.1 >= 300, "closed loop: p99 {} ms, at most {} ms", closed.0, closed.1);
}

#[test]
fn two_targets_are_asked_in_turn() {
    let slow = vendor(Settings { delay: Delay::Fixed(Duration::from_millis(20)), ..Settings::default() });
    let quick = vendor(Settings::default());
    let targets = [&quick, &slow].map(|vendor| target(vendor.address())).to_vec();
    let pattern = Pattern::Constant { rate: 200.0 };
    let outcomes = outcomes(Load { targets, pattern, connections: 100, ..load(quick.address()) });
    let [quick, slow] = &outcomes[..] else { panic!("one for each target") };
    assert!(quick.failed.is_empty() && slow.failed.is_empty());
    assert!(quick.answered.abs_diff(slow.answered) <= 1, "{} and {}", quick.answered, slow.answered);
    assert!(quick.by_place.iter().all(|(nth, _)| nth % 2 == 0) && slow.by_place.iter().all(|(nth, _)| nth % 2 == 1));
    assert!(slow.latency.at(0.0) >= 19_900_000);
}

#[test]
fn connections_are_kept_or_not() {
    let vendor = vendor(Settings::default());
    for keep_alive in [true, false] {
        let outcome = outcome(Load { keep_alive, ..load(vendor.address()) });
        assert!(outcome.answered > 0 && outcome.failed.is_empty(), "{:?}", outcome.failed);
    }
}

#[test]
fn tls_is_spoken_to_whom_it_trusts_and_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let stranger = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (file("cert.pem", made.cert.pem()), file("key.pem", made.signing_key.serialize_pem()));
    let other = file("other.pem", stranger.cert.pem());
    let text = |path: &std::path::Path| path.display().to_string().into();
    let files = kt_core::config::file::TlsFiles { cert: text(&cert), key: text(&key) };
    let tls = kt_proxy::tls::listener_config(&files).unwrap();
    let vendor = vendor(Settings { tls: Some(tls), ..Settings::default() });
    let asked = |ca: &std::path::Path| {
        let trust = kt_proxy::tls::config_of(ca).unwrap();
        let target = Target { tls: Some(("127.0.0.1".to_owned(), trust)), ..target(vendor.address()) };
        outcome(Load { targets: vec![target], ..load(vendor.address()) })
    };
    let (trusting, distrusting) = (asked(&cert), asked(&other));
    assert!(trusting.answered > 0 && trusting.failed.is_empty(), "{:?}", trusting.failed);
    assert!(distrusting.answered == 0 && distrusting.failed.keys().all(|why| why.starts_with("TLS: ")));
}

#[test]
fn what_does_not_pass_is_told() {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let cases = [
        (false, format!("{OK}content-length: 2\r\n\r\n{{}}"), "an answer without a stamp"),
        (false, format!("{OK}content-length: 9\r\n\r\n{{}}"), "the connection ended within the answer"),
        (false, "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_owned(), "status 503"),
        (false, String::new(), "the connection ended before the answer's head"),
        (false, stream.to_owned(), "a stream came that was not asked for"),
        (true, format!("{OK}content-length: 2\r\n\r\n{{}}"), "a stream was asked for, and none came"),
        (true, stream.to_owned(), "a stream that ended before its end"),
        (true, format!("{stream}data: [DONE]\n\n"), "a stream of 0 events instead of 100"),
        (true, format!("{stream}data: {{\"error\":{{}}}}\n\n"), "a stream that says that it failed"),
    ];
    for (streams, bytes, why) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // Whoever leaves in the middle is no news here.
                let _ = stream.read(&mut [0; 4_096]).and_then(|_| stream.write_all(bytes.as_bytes()));
            }
        });
        let question = Question::of_bytes(256, streams);
        // Long enough for one question on a machine that is busy.
        let duration = Duration::from_millis(250);
        let outcome = outcome(Load { question, connections: 1, duration, ..load(address) });
        assert_eq!(outcome.failed.keys().map(String::as_str).collect::<Vec<_>>(), [why]);
        assert_eq!(outcome.answered, 0);
    }
}

#[test]
fn nobody_there_and_nobody_answering_are_failures_too() {
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let pattern = Pattern::Constant { rate: 100.0 };
    let nobody = outcome(Load { pattern: pattern.clone(), ..load(gone) });
    assert!(nobody.failed.keys().all(|why| why.starts_with("cannot connect")) && nobody.failures() > 0);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let patience = Duration::from_millis(50);
    let silent = outcome(Load { pattern, connections: 50, patience, ..load(silent.local_addr().unwrap()) });
    assert_eq!(silent.failed.keys().map(String::as_str).collect::<Vec<_>>(), ["not answered in time"]);
}
