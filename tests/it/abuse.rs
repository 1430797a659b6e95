//! Clients who mean harm, or mean nothing: too many, too slow, gone again. What they cost is bounded, and comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{
    Client, Config, Gate, Gateway, Step, Vendor, chat, chat_of, chunked, eventually, on_each_driver, openai, pause,
    sse_head,
};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
/// What a process of one core with 100 descriptors may have open as sockets: less the spare ones, and its own.
const DESCRIPTORS: usize = 100;
const SOCKETS: usize = DESCRIPTORS - 64 - 8;

#[test]
fn when_descriptors_run_out_clients_wait_and_nothing_spins_or_dies() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let vendor = Vendor::start(move |asked| [vec![Step::Wait(held.clone())], openai(asked)].concat());
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).descriptors(DESCRIPTORS).start();
        // One descriptor is left for whoever asks a vendor.
        let mut served: Vec<Client> = (0..SOCKETS - 1).map(|_| gateway.client()).collect();
        served.iter_mut().for_each(|client| drop(client.ask(HEALTH).whole(200)));
        let mut waiting: Vec<Client> = (0..10).map(|_| gateway.client()).collect();
        waiting.iter_mut().for_each(|client| client.send(HEALTH));
        served[0].send(chat("chat"));
        vendor.wait_for_requests(1);
        let refused = served[1].ask(chat("chat"));
        assert_eq!((refused.error(503), refused.field("retry-after")), ("overloaded".to_owned(), Some("1")));

        // Those who wait cost nothing, and those who are in are served.
        let before = gateway.cpu_time();
        pause(Duration::from_secs(1));
        let spent = gateway.cpu_time() - before;
        assert!(spent < Duration::from_millis(300), "it spins: {spent:?} in a second");
        assert!(waiting.iter_mut().all(Client::has_nothing), "nobody is let in for whom there is no descriptor");
        served[2].ask(HEALTH).whole(200);
        let said = gateway.log().lines().iter().filter(|line| line.contains("No descriptors are left")).count();
        assert_eq!(said, 1, "said once");

        gate.open();
        served[0].answer().openai_completion();
        served.drain(1..12);
        waiting.iter_mut().for_each(|client| drop(client.answer().whole(200)));
        waiting[9].ask(chat("chat")).openai_completion();
        assert_eq!(gateway.stop().len(), 3);
    });
}

#[test]
fn idle_vendor_connections_make_room_for_clients() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let vendor = Vendor::start(move |asked| [vec![Step::Wait(held.clone())], openai(asked)].concat());
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).descriptors(DESCRIPTORS).start();
        let mut clients: Vec<Client> = (0..SOCKETS / 2 - 2).map(|_| gateway.client()).collect();
        clients.iter_mut().for_each(|client| client.send(chat("chat")));
        vendor.wait_for_requests(clients.len());
        gate.open();
        clients.iter_mut().for_each(|client| drop(client.answer().openai_completion()));
        // As many idle connections to the vendor as there are clients: together all there can be, nearly.
        clients.extend((clients.len()..SOCKETS - 1).map(|_| gateway.client()));
        clients.iter_mut().for_each(|client| drop(client.ask(HEALTH).whole(200)));
        clients[0].ask(chat("chat")).openai_completion();
    });
}

#[test]
fn large_bodies_are_bounded_together() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let limits = "gateway: {limits: {held_bytes_max: 10000000}}\n";
        let gateway = Gateway::with(Config::openai(&vendor, "", limits)).driver(driver).start();
        let body =
            format!(r#"{{"model":"chat","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(4_000_000));
        let (head, length) = ("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n", body.len());
        let by_length = format!("{head}Content-Length: {length}\r\n\r\n{}", &body[..length - 1]);
        let in_chunks = format!("{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{}", &body[..length - 1]);
        // Two that are nearly whole, and wait. How much of the third is read before it is told, is no matter.
        let mut held: Vec<Client> = [&by_length, &in_chunks].map(|begun| begin(&gateway, begun)).into();
        eventually("both of them to be held", || (gateway.resident_bytes() > 8_000_000).then_some(()));
        pause(Duration::from_millis(300));
        let mut third = gateway.client();
        third.try_send(&by_length);
        let refused = third.answer();
        assert_eq!((refused.error(503), refused.field("retry-after")), ("overloaded".to_owned(), Some("1")));
        // Small ones pass, and when one of the large has gone there is room again.
        gateway.client().ask(chat("chat")).openai_completion();
        held[0].ask("}").openai_completion();
        gateway.client().ask(format!("{by_length}}}")).openai_completion();
        held[1].ask("}\r\n0\r\n\r\n").openai_completion();
        assert_eq!(gateway.stop().iter().filter(|event| event.count("status") == 503).count(), 1);
    });
}

fn begin(gateway: &Gateway, begun: &str) -> Client {
    let mut client = gateway.client();
    client.send(begun);
    client
}

#[test]
fn as_many_connections_are_served_as_may_be() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let limits = "gateway: {limits: {connections_max: 3}}\n";
        let gateway = Gateway::with(Config::openai(&vendor, "", limits)).driver(driver).start();
        let mut served: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
        served.iter_mut().for_each(|client| drop(client.ask(HEALTH).whole(200)));
        let mut next = gateway.client();
        next.send(HEALTH);
        pause(Duration::from_millis(300));
        assert!(next.has_nothing(), "it waits in the kernel");
        served.pop();
        next.answer().whole(200);
        assert_eq!(gateway.stats().count("connections"), 3);
    });
}

// Slow ones.

/// Sends `begun`, then a byte at a time and never the end; what it is told.
fn trickle(gateway: &Gateway, begun: &str) -> String {
    let mut client = gateway.client();
    client.send(begun);
    // Ten seconds, which is many times what it is given.
    for _ in 0..200 {
        pause(Duration::from_millis(50));
        if !client.has_nothing() || !client.try_send("x") {
            break;
        }
    }
    client.answer().error(408)
}

#[test]
fn a_byte_now_and_then_keeps_no_request_open() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([]);
        let limits = "gateway: {limits: {head_ms: 500, body_ms: 500}}\n";
        let gateway = Gateway::with(Config::openai(&vendor, "", limits)).driver(driver).start();
        assert_eq!(trickle(&gateway, "GET /"), "head_too_slow");
        assert_eq!(trickle(&gateway, "GET / HTTP/1.1\r\nHost: a\r\nX: "), "head_too_slow");
        let post = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n";
        assert_eq!(trickle(&gateway, &format!("{post}Content-Length: 1000\r\n\r\n")), "body_too_slow");
        assert_eq!(trickle(&gateway, &format!("{post}Transfer-Encoding: chunked\r\n\r\nffff\r\n")), "body_too_slow");
        assert_eq!(trickle(&gateway, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"), "body_too_slow");
        assert_eq!(gateway.stop().len(), 2);
    });
}

#[test]
fn a_sip_now_and_then_keeps_no_answer_open() {
    on_each_driver(|driver| {
        let event = chunked(format!(": {}\n\n", "x".repeat(256 * 1024)));
        let flood = [vec![Step::Send(sse_head())], vec![Step::Send(event); 100]].concat();
        let vendor = Vendor::queue([flood]);
        // Twenty kilobytes a second, where a megabyte is wanted.
        let limits = "gateway: {limits: {slow_reader_ms: 500, bytes_per_second_min: 1048576}}\n";
        let gateway = Gateway::with(Config::openai(&vendor, "", limits)).driver(driver).start();
        let mut client = Client::connect_narrow(gateway.address());
        client.send(chat_of("chat", r#","stream":true"#));
        let sips = (0..400).take_while(|_| {
            pause(Duration::from_millis(50));
            client.sip()
        });
        assert!(sips.count() < 400, "it is never given up");
        vendor.wait_until_left();
        let event = gateway.stop_with_one_event();
        assert_eq!((event.count("status"), event.text("error.kind")), (499, "client_too_slow".to_owned()));
    });
}

#[test]
fn a_thousand_slow_ones_cost_little_and_keep_nobody_from_being_served() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        gateway.client().ask(chat("chat")).openai_completion();
        let before = gateway.resident_bytes();
        let beginnings = [
            "GET / HTTP/1.1\r\nHos",
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n{",
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1ffffff\r\n{",
            "",
        ];
        let mut slow: Vec<Client> = (0..1_000).map(|_| gateway.client()).collect();
        for (client, beginning) in slow.iter_mut().zip(beginnings.iter().cycle()) {
            client.send(beginning);
        }
        eventually("all of them to be let in", || (gateway.stats().count("connections") >= 1_000).then_some(()));
        for _ in 0..10 {
            gateway.client().ask(chat("chat")).openai_completion();
        }
        // A length alone costs the client nothing, so it may cost the gateway nothing.
        let each = gateway.resident_bytes().saturating_sub(before) / slow.len();
        assert!(each < 32 * 1024, "each holds {each} bytes");
    });
}

// Gone ones.

/// How a connection ends that is given up by its client.
#[derive(Clone, Copy)]
enum Stage {
    Connected,
    InHead,
    InBody,
    Asked,
    Streaming,
    Answered,
}

fn abort(address: SocketAddr, stage: Stage, number: usize) {
    let mut client = Client::connect(address);
    match stage {
        Stage::Connected => {}
        Stage::InHead => client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX-Lo"),
        Stage::InBody => client.send(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{\"model\":\"chat\",",
        ),
        Stage::Asked => client.send(chat_of("chat", r#","seed":1"#)),
        Stage::Streaming => {
            client.send(chat_of("chat", r#","stream":true"#));
            client.wait_for("data: begun");
        }
        Stage::Answered => client.send(HEALTH),
    }
    match number % 2 {
        0 => client.reset(),
        _ => drop(client),
    }
}

#[test]
fn ten_thousand_aborted_connections_leave_nothing_behind() {
    const STAGES: [Stage; 6] =
        [Stage::Connected, Stage::InHead, Stage::InBody, Stage::Asked, Stage::Streaming, Stage::Answered];
    on_each_driver(|driver| {
        let vendor = Arc::new(Vendor::start(|asked| match asked.wants_stream() {
            true => vec![Step::Send([sse_head(), chunked("data: begun\n\n")].concat()), Step::Hang],
            false => vec![Step::Hang],
        }));
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let address = gateway.address();
        let abort_many = |count: usize| {
            std::thread::scope(|threads| {
                for thread in 0..4 {
                    threads.spawn(move || {
                        (thread..count).step_by(4).for_each(|n| abort(address, STAGES[n / 4 % STAGES.len()], n / 24));
                    });
                }
            });
            eventually("all of them to be gone", || {
                let stats = gateway.stats();
                (stats.count("connections") == 0 && stats.count("in_flight") == 0).then_some(())
            });
            vendor.wait_until_left();
        };
        abort_many(1_000);
        let (descriptors, bytes) = (gateway.open_descriptors(), gateway.resident_bytes());
        abort_many(10_000);
        assert_eq!(gateway.open_descriptors(), descriptors, "descriptors stay open");
        let grown = gateway.resident_bytes().saturating_sub(bytes);
        assert!(grown < 8 * 1024 * 1024, "{grown} bytes more than before");
        // Of each whose head could be read there is one event, and it says what became of it.
        let events = gateway.stop();
        assert_eq!(events.len(), 11_000 / 2);
        assert!(events.iter().all(|event| event.text("error.side") == "client"));
    });
}
