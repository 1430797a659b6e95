//! How long things take, in a binary of its own: cargo runs it when the others have ended, and nothing in it runs beside
//! anything else. Bounds are wide and hold for nine tries of ten; hard ones belong to the lab.

#[allow(dead_code, unused_imports, reason = "it is shared with the scenarios, which use all of it")]
#[path = "../it/harness/mod.rs"]
mod harness;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::version::TLS13;

use harness::{
    Authority, Client, Config, Driver, Gateway, Script, State, Step, Vendor, chat, chat_of, chunked, on_each_driver,
    pause, sse_head,
};

/// Half of the time that a delayed acknowledgement takes on Linux: who waits for one waits 40 ms.
const AT_ONCE: Duration = Duration::from_millis(20);

/// A gateway, its vendor and a client, all in plain or all over TLS.
fn parties(
    answer: impl Fn() -> Script + Send + Sync + 'static,
    driver: Driver,
    tls: bool,
) -> (Vendor, Gateway, Client) {
    let state = State::new();
    if !tls {
        let vendor = Vendor::start(move |_| answer());
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).state(&state).driver(driver).start();
        let client = gateway.client();
        return (vendor, gateway, client);
    }
    let authority = Authority::new();
    let identity = authority.vouch_for("localhost");
    for (name, text) in
        [("ca.pem", authority.pem()), ("cert.pem", identity.cert.clone()), ("key.pem", identity.key.clone())]
    {
        state.write(name, text);
    }
    let vendor = Vendor::start_tls(identity.server_config(&[&TLS13]), move |_| answer());
    let config = Config::openai(&vendor, "ca_file: ca.pem", "gateway: {tls: {cert: cert.pem, key: key.pem}}\n");
    let gateway = Gateway::with(config).state(&state).driver(driver).start();
    let client = Client::connect_tls(gateway.address(), &Arc::new(authority.client_config(&[&TLS13])));
    (vendor, gateway, client.expect("hands are shaken"))
}

/// What nine of ten stay below.
fn p90(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 9 / 10]
}

/// A stream of `count` events, each of which says when it was sent, `pace` apart.
fn paced(since: Instant, count: usize, pace: Duration) -> Script {
    let events = (0..count).flat_map(|number| [Step::Tell { number, since }, Step::Pause(pace)]);
    let end = [Step::Send([chunked("data: [DONE]\n\n"), chunked("")].concat())];
    [Step::Send(sse_head())].into_iter().chain(events).chain(end).collect()
}

#[test]
fn what_is_ready_arrives_at_once() {
    on_each_driver(|driver| {
        for tls in [false, true] {
            a_paced_stream_arrives_paced(driver, tls);
            an_answer_in_two_pieces_waits_for_no_acknowledgement(driver, tls);
        }
    });
}

fn a_paced_stream_arrives_paced(driver: Driver, tls: bool) {
    // Slower and faster than what a stack waits for before it acknowledges or coalesces.
    for (count, pace) in [(200, 2), (60, 15), (24, 45)].map(|(count, ms)| (count, Duration::from_millis(ms))) {
        let since = Instant::now();
        let (_vendor, _gateway, mut client) = parties(move || paced(since, count, pace), driver, tls);
        client.send(chat_of("chat", r#","stream":true"#));
        let came: Vec<Duration> = (0..count)
            .map(|number| {
                client.wait_for(&format!("data: #{number} "));
                since.elapsed()
            })
            .collect();
        let told = client.answer().whole(200).events();
        let late = came.iter().zip(&told).map(|(came, event)| {
            let sent = event.split_once(' ').and_then(|(_, micros)| micros.parse().ok()).expect("when it was sent");
            came.saturating_sub(Duration::from_micros(sent))
        });
        let late = p90(late.collect());
        assert!(late < AT_ONCE, "events every {pace:?} are {late:?} late, TLS: {tls}");
    }
}

fn an_answer_in_two_pieces_waits_for_no_acknowledgement(driver: Driver, tls: bool) {
    let answer = || {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n".to_vec();
        vec![Step::Send(head), Step::Pause(Duration::from_millis(1)), Step::Send(b"{}".to_vec())]
    };
    let (_vendor, _gateway, mut client) = parties(answer, driver, tls);
    let times = (0..60).map(|_| {
        // A pause lets a stack forget that it acknowledges at once, as it does for a new connection's first segments.
        pause(Duration::from_millis(5));
        let began = Instant::now();
        client.ask(chat("chat")).whole(200);
        began.elapsed()
    });
    let slow = p90(times.collect());
    assert!(slow < AT_ONCE, "an answer takes {slow:?}, TLS: {tls}");
}
