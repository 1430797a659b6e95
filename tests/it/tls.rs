//! TLS on both sides: what clients are shown, what is demanded of vendors, and what happens to who speaks the other
//! language.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, Error, HandshakeKind, SupportedProtocolVersion};

use crate::harness::{
    Answer, Authority, Client, Config, Driver, End, Gate, Gateway, Identity, Setup, State, Step, Vendor, chat, chat_of,
    chunked, eventually, on_each_driver, openai, openai_events, openai_whole, post, sse_head,
};

const STREAMED: &str = r#","stream":true"#;
const TLS: &str = "gateway: {tls: {cert: cert.pem, key: key.pem}}\n";
const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// Writes a certificate and its key to where [`TLS`] has them.
fn write(state: &State, identity: &Identity) {
    state.write("cert.pem", &identity.cert);
    state.write("key.pem", &identity.key);
}

/// A gateway that serves HTTPS, before a vendor that doesn't; and what a client needs that trusts it.
fn serving(vendor: &Vendor, driver: Driver) -> (Setup, Arc<ClientConfig>) {
    let authority = Authority::new();
    let state = State::new();
    write(&state, &authority.vouch_for("localhost"));
    let setup = Gateway::with(Config::openai(vendor, "", TLS)).state(&state).driver(driver);
    (setup, Arc::new(authority.client_config(BOTH)))
}

fn connect(gateway: &Gateway, config: &Arc<ClientConfig>) -> Client {
    Client::connect_tls(gateway.address(), config).expect("hands are shaken")
}

/// Why a handshake failed, as the client sees it.
#[track_caller]
fn failure(gateway: &Gateway, config: &Arc<ClientConfig>) -> Error {
    let failed = Client::connect_tls(gateway.address(), config).err().expect("no hands are shaken");
    let reason = failed.get_ref().and_then(|error| error.downcast_ref::<Error>());
    reason.unwrap_or_else(|| panic!("no TLS at all: {failed}")).clone()
}

// Clients.

#[test]
fn https_is_served_in_both_versions_of_tls() {
    on_each_driver(|driver| {
        for version in [&TLS12, &TLS13] {
            let vendor = Vendor::start(openai);
            let authority = Authority::new();
            let state = State::new();
            write(&state, &authority.vouch_for("localhost"));
            let gateway = Gateway::with(Config::openai(&vendor, "", TLS)).state(&state).driver(driver).start();
            let mut client = connect(&gateway, &Arc::new(authority.client_config(&[version])));
            for _ in 0..3 {
                client.ask(chat("chat")).openai_completion();
                let streamed = client.ask(chat_of("chat", r#","stream":true,"stream_options":{"include_usage":true}"#));
                assert_eq!(streamed.whole(200).text(), openai_events(true).concat());
            }
            client.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").whole(200);
            // Far more than a record, or a socket's buffer, each way.
            let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(2 * 1024 * 1024).collect();
            client.ask(chat_of("chat", &format!(r#","metadata":"{text}""#))).openai_completion();
            assert!(vendor.requests().last().expect("it was asked").body().contains(&text));
            let events = gateway.stop();
            assert!(events.len() == 7 && events.iter().all(|event| event.count("status") == 200), "{events:?}");
            assert!(client.is_closed(), "in order, and so in TLS too");
        }
    });
}

#[test]
fn a_request_may_arrive_in_pieces_and_with_others() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let (setup, config) = serving(&vendor, driver);
        let gateway = setup.start();
        let mut client = connect(&gateway, &config);
        // Each write is a record of its own.
        for byte in chat("chat") {
            client.send([byte]);
        }
        client.answer().openai_completion();
        client.send([chat("chat"), chat("chat"), chat("chat")].concat());
        for _ in 0..3 {
            client.answer().openai_completion();
        }
        assert_eq!(gateway.stop().len(), 4);
    });
}

#[test]
fn a_client_that_leaves_ends_its_vendors_request_over_tls_too() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(|_| vec![Step::Send(sse_head()), Step::Send(chunked(": alive\n\n")), Step::Hang]);
        let (setup, config) = serving(&vendor, driver);
        let gateway = setup.start();
        for (number, leave) in [drop, Client::reset, |mut client: Client| client.half_close()].into_iter().enumerate() {
            let mut client = connect(&gateway, &config);
            client.send(chat_of("chat", STREAMED));
            client.wait_for("alive");
            leave(client);
            eventually("the vendor to be asked and left", || (vendor.connections() > number).then_some(()));
            vendor.wait_until_left();
        }
        // Before there is an answer at all.
        let mut client = connect(&gateway, &config);
        client.send(chat("chat"));
        vendor.wait_for_requests(4);
        drop(client);
        vendor.wait_until_left();
        let events = gateway.stop();
        assert!(
            events.len() == 4 && events.iter().all(|event| event.text("error.kind") == "client_gone"),
            "{events:?}"
        );
    });
}

#[test]
fn a_torn_answer_is_seen_to_be_torn() {
    on_each_driver(|driver| {
        let torn = |answer: Answer| assert!(matches!(answer.end, End::Torn | End::Reset), "{answer:?}");
        let gate = Gate::default();
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello".to_vec();
        let stream = [sse_head(), chunked(&openai_events(true)[0])].concat();
        let vendor =
            Vendor::queue([whole, stream].map(|begun| vec![Step::Send(begun), Step::Wait(gate.clone()), Step::Reset]));
        let (setup, config) = serving(&vendor, driver);
        let gateway = setup.start();
        let mut whole = connect(&gateway, &config);
        whole.send(chat("chat"));
        whole.wait_for("hello");
        let mut streamed = connect(&gateway, &config);
        streamed.send(chat_of("chat", STREAMED));
        streamed.wait_for("chat.completion.chunk");
        gate.open();
        torn(whole.answer());
        torn(streamed.answer());
        assert!(gateway.stop().iter().all(|event| event.text("error.kind") == "answer_torn"));
    });
}

#[test]
fn the_end_of_an_answer_without_length_is_said_in_tls() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let (setup, config) = serving(&vendor, driver);
        let gateway = setup.start();
        let body = r#"{"model":"chat","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
        let asked = format!("POST /v1/chat/completions HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = connect(&gateway, &config).ask(asked);
        assert_eq!((answer.end, answer.text()), (End::Closed, &*openai_events(true).concat()));
        // As is that of an early answer, to whoever is still sending.
        let mut client = connect(&gateway, &config);
        client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{");
        assert_eq!(client.answer().error(413), "body_too_large");
        assert!(client.is_closed());
    });
}

#[test]
fn a_client_resumes_its_session_on_any_core() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let (setup, config) = serving(&vendor, driver);
        let gateway = setup.cores(2).start();
        let mut handshakes = Vec::new();
        for _ in 0..8 {
            let mut client = connect(&gateway, &config);
            // Tickets come with the answer.
            client.ask(chat("chat")).openai_completion();
            handshakes.push(client.handshake().expect("hands were shaken"));
        }
        assert_eq!(handshakes[0], HandshakeKind::Full);
        assert!(handshakes[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{handshakes:?}");
    });
}

// Whoever speaks the other language, and who doesn't get through.

#[test]
fn plain_http_on_a_tls_port_is_told_so() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([]);
        let (setup, config) = serving(&vendor, driver);
        let gateway = setup.start();
        for asked in [chat("chat"), b"GET /healthz HTTP/1.1\r\n".to_vec(), b"P".to_vec(), post(" ".repeat(60_000))] {
            let mut client = gateway.client();
            let answer = client.ask(asked).whole(400);
            assert_eq!(answer.text(), "This port speaks HTTPS. Ask for https:// instead of http://.\n");
            assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
            assert_eq!(answer.field("connection"), Some("close"));
            client.half_close();
            assert!(client.is_closed());
        }
        assert_eq!(gateway.stats().count("failed_handshakes"), 4);
        connect(&gateway, &config).ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").whole(200);
        assert_eq!(gateway.stop(), []);
    });
}

#[test]
fn tls_on_a_plain_port_fails_at_once() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([]);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).arg("--log-level").arg("debug");
        let gateway = gateway.start();
        for version in [&TLS12, &TLS13] {
            let config = Arc::new(Authority::new().client_config(&[version]));
            assert_eq!(failure(&gateway, &config), Error::AlertReceived(AlertDescription::HandshakeFailure));
        }
        // A single byte says it all.
        let mut client = gateway.client();
        client.send(b"\x16");
        client.half_close();
        client.wait_for("\x15\x03\x03\x00\x02\x02\x28");
        assert_eq!(gateway.stats().count("failed_handshakes"), 3);
        assert_eq!(gateway.stats().count("refused_heads"), 0);
        let said = gateway.log().lines().iter().filter(|line| line.contains("TLS on a port without TLS")).count();
        assert_eq!(said, 3, "{}", gateway.log().text());
        // Behind a request it is no beginning, but a head like any other that makes no sense.
        let mut client = gateway.client();
        client.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").whole(200);
        assert_eq!(client.ask(b"\x16\x03\x01").error(400), "malformed_head");
        assert_eq!(gateway.stop(), []);
    });
}

#[test]
fn a_failed_handshake_is_counted_and_harms_nobody() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let (_, config) = serving(&vendor, driver);
        let authority = Authority::new();
        let state = State::new();
        write(&state, &authority.vouch_for("localhost"));
        let limits = "gateway: {tls: {cert: cert.pem, key: key.pem}, limits: {head_ms: 300}}\n";
        let gateway = Gateway::with(Config::openai(&vendor, "", limits)).state(&state).driver(driver).start();
        let trusting = Arc::new(authority.client_config(BOTH));
        let mut other = connect(&gateway, &trusting);
        other.ask(chat("chat")).openai_completion();

        // One that trusts somebody else, and one that speaks HTTP/2 alone.
        assert!(matches!(failure(&gateway, &config), Error::InvalidCertificate(_)));
        let mut h2 = authority.client_config(BOTH);
        h2.alpn_protocols = vec![b"h2".to_vec()];
        let refused = failure(&gateway, &Arc::new(h2));
        assert_eq!(refused, Error::AlertReceived(AlertDescription::NoApplicationProtocol));
        // Some that speak no TLS behind the first byte, or fall silent, or go.
        for begun in [&b"\x16\x03\x01\xff\xff\x01"[..], b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"\x16"] {
            let began = Instant::now();
            let mut client = TcpStream::connect(gateway.address()).expect("it listens");
            client.write_all(begun).expect("it reads");
            client.set_read_timeout(Some(Duration::from_secs(10))).expect("it isn't zero");
            let ended = std::io::Read::read_to_end(&mut client, &mut Vec::new());
            assert!(ended.is_ok() && began.elapsed() < Duration::from_secs(5), "{ended:?} {:?}", began.elapsed());
        }
        let mut going = TcpStream::connect(gateway.address()).expect("it listens");
        going.write_all(b"\x16\x03\x01\x01").expect("it reads");
        drop(going);
        // One that never said a word failed at nothing.
        drop(TcpStream::connect(gateway.address()).expect("it listens"));

        eventually("all to be counted", || (gateway.stats().count("failed_handshakes") == 6).then_some(()));
        eventually("all to be gone", || (gateway.stats().count("connections") == 1).then_some(()));
        other.ask(chat("chat")).openai_completion();
        connect(&gateway, &trusting).ask(chat("chat")).openai_completion();
        assert_eq!(gateway.log().lines().iter().filter(|line| !line.starts_with("INFO")).count(), 0);
        assert_eq!(gateway.stop().len(), 3, "there are events of requests alone");
    });
}

// Certificates.

#[test]
fn certificates_are_read_again_on_a_reload() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let authority = Authority::new();
        let trusting = Arc::new(authority.client_config(BOTH));
        let (first, second) = (authority.vouch_for("localhost"), authority.vouch_for("localhost"));
        let state = State::new();
        write(&state, &first);
        let config = Config::openai(&vendor, "", TLS);
        let gateway = Gateway::with(config.clone()).state(&state).driver(driver).start();
        let mut old = connect(&gateway, &trusting);
        old.ask(chat("chat")).openai_completion();
        let shown = old.shown();

        write(&state, &second);
        assert_eq!(connect(&gateway, &trusting).shown(), shown, "nothing is read unasked");
        assert_eq!(gateway.reload().code, Some(0));
        let mut new = connect(&gateway, &trusting);
        assert!(new.handshake() == Some(HandshakeKind::Full) && new.shown() != shown);
        new.ask(chat("chat")).openai_completion();
        old.ask(chat("chat")).openai_completion();

        // What doesn't fit, or isn't there, changes nothing.
        state.write("key.pem", &first.key);
        let refused = gateway.reload();
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
        assert!(refused.stderr.contains("is not that of the certificate in"), "{}", refused.stderr);
        fs::remove_file(state.root().join("key.pem")).expect("it is there");
        let refused = gateway.reload();
        assert!(refused.code == Some(1) && refused.stderr.contains("key.pem: No such file"), "{}", refused.stderr);
        assert_eq!(connect(&gateway, &trusting).shown(), new.shown());

        // Whether there is TLS at all is settled at start.
        gateway.rewrite(&config.replace(TLS, ""));
        let refused = gateway.reload();
        assert!(refused.code == Some(1) && refused.stderr.contains("gateway.tls can't be changed"), "{refused:?}");
        connect(&gateway, &trusting).ask(chat("chat")).openai_completion();
        assert_eq!(gateway.stop().len(), 4);

        write(&state, &second);
        let gateway = Gateway::with(config.replace(TLS, "")).state(&state).driver(driver).start();
        gateway.rewrite(&config);
        let refused = gateway.reload();
        assert!(refused.code == Some(1) && refused.stderr.contains("gateway.tls can't be changed"), "{refused:?}");
        gateway.client().ask(chat("chat")).openai_completion();
    });
}

#[test]
fn a_certificate_that_can_not_be_used_is_one_line_at_start() {
    let vendor = Vendor::queue([]);
    let authority = Authority::new();
    let Identity { cert, key } = authority.vouch_for("localhost");
    let other = authority.vouch_for("localhost").key;
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let encrypted_rsa = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
                         -----END RSA PRIVATE KEY-----\n";
    let torn = &key[..key.len() / 2];
    for (cert, key, said) in [
        (Some(&*cert), Some(&*other), "cert.pem"),
        (Some(&*cert), Some(&*other), "is not that of the certificate in"),
        (Some(&*cert), Some(&*encrypted), "key.pem: the key is encrypted"),
        (Some(&*cert), Some(encrypted_rsa), "key.pem: the key is encrypted"),
        (Some(&*cert), Some(torn), "key.pem: holds no private key"),
        (Some(&*cert), Some(&*cert), "key.pem: holds no private key"),
        (Some(&*cert), None, "key.pem: No such file"),
        (None, Some(&*key), "cert.pem: No such file"),
        (Some(""), Some(&*key), "cert.pem: holds no certificate"),
        (Some(&*key), Some(&*key), "cert.pem: holds no certificate"),
        (Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), Some(&*key), "gateway.tls: "),
    ] {
        let state = State::new();
        for (name, text) in [("cert.pem", cert), ("key.pem", key)] {
            text.map(|text| state.write(name, text));
        }
        let output = Gateway::with(Config::openai(&vendor, "", TLS)).state(&state).refused();
        assert_eq!(output.code, Some(1), "{said}: {}", output.stderr);
        assert!(output.stderr.contains(said) && output.stderr.lines().count() == 1, "{said}: {}", output.stderr);
        let secret = key.and_then(|key| key.lines().nth(1)).filter(|line| line.len() > 20);
        assert!(secret.is_none_or(|secret| !output.stderr.contains(secret)), "{}", output.stderr);
    }
}

// Vendors.

/// A gateway before a vendor over TLS, which trusts whom `ca` says.
fn before(vendor: &Vendor, ca: Option<&str>, driver: Driver) -> Gateway {
    let state = State::new();
    let target = ca.map_or("", |pem| {
        state.write("ca.pem", pem);
        "ca_file: ca.pem"
    });
    Gateway::with(Config::openai(vendor, target, "")).state(&state).driver(driver).start()
}

#[test]
fn a_vendor_vouched_for_is_asked_over_one_connection() {
    on_each_driver(|driver| {
        for version in [&TLS12, &TLS13] {
            let authority = Authority::new();
            let vendor = Vendor::start_tls(authority.vouch_for("localhost").server_config(&[version]), openai);
            let gateway = before(&vendor, Some(&authority.pem()), driver);
            let mut client = gateway.client();
            for _ in 0..3 {
                client.ask(chat("chat")).openai_completion();
                client.ask(chat_of("chat", STREAMED)).whole(200);
            }
            assert_eq!(vendor.connections(), 1);
            let events = gateway.stop();
            let connecting = events.iter().filter(|event| event.number("connect_ms") > 0.0).count();
            assert_eq!((events.len(), connecting), (6, 1));
        }
    });
}

#[test]
fn a_vendor_may_go_by_its_address() {
    on_each_driver(|driver| {
        let authority = Authority::new();
        let vendor = Vendor::start_tls(authority.vouch_for("127.0.0.1").server_config(BOTH), openai);
        let state = State::new();
        state.write("ca.pem", authority.pem());
        let config = Config::openai(&vendor, "ca_file: ca.pem", "").replace("https://localhost:", "https://127.0.0.1:");
        let gateway = Gateway::with(config).state(&state).driver(driver).start();
        gateway.client().ask(chat("chat")).openai_completion();
    });
}

#[test]
fn a_vendor_that_nobody_vouches_for_is_not_asked() {
    on_each_driver(|driver| {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let pem = authority.pem();
        for (claim, identity, ca) in [
            ("another name", authority.vouch_for("other.test"), Some(&pem)),
            ("another address", authority.vouch_for("127.0.0.1"), Some(&pem)),
            ("once, but no more", authority.vouched_for("localhost"), Some(&pem)),
            ("by somebody else", stranger.vouch_for("localhost"), Some(&pem)),
            ("by itself", Identity::of_its_own("localhost"), Some(&pem)),
            ("by nobody the platform knows", authority.vouch_for("localhost"), None),
            ("by itself, to the platform", Identity::of_its_own("localhost"), None),
        ] {
            let vendor = Vendor::start_tls(identity.server_config(BOTH), openai);
            let gateway = before(&vendor, ca.map(String::as_str), driver);
            let answer = gateway.client().ask(chat("chat"));
            assert_eq!(answer.error(502), "tls_failed", "{claim}");
            assert_eq!(vendor.requests().len(), 0, "{claim}");
            let event = gateway.stop_with_one_event();
            assert_eq!((event.text("error.kind"), event.text("error.phase")), ("tls_failed".into(), "tls".into()));
            assert_eq!(event.count("attempts"), 1);
        }
    });
}

#[test]
fn a_session_with_a_vendor_is_resumed() {
    on_each_driver(|driver| {
        for version in [&TLS12, &TLS13] {
            let authority = Authority::new();
            let config = authority.vouch_for("localhost").server_config(&[version]);
            let vendor = Vendor::start_tls(config, |_| vec![Step::Send(openai_whole()), Step::Close]);
            let gateway = before(&vendor, Some(&authority.pem()), driver);
            for _ in 0..3 {
                gateway.client().ask(chat("chat")).openai_completion();
                vendor.wait_until_left();
            }
            let kinds = [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed];
            assert_eq!(vendor.handshakes(), kinds.map(Some));
            assert_eq!(vendor.connections(), 3);
        }
    });
}

#[test]
fn an_answer_until_the_end_is_whole_if_its_end_is_said_in_tls() {
    on_each_driver(|driver| {
        let body = r#"{"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
        let authority = Authority::new();
        for (end, whole) in [(Step::Close, true), (Step::Cut, false)] {
            let script = vec![Step::Send(answer.clone().into()), end];
            let config = authority.vouch_for("localhost").server_config(BOTH);
            let vendor = Vendor::start_tls(config, move |_| script.clone());
            let gateway = before(&vendor, Some(&authority.pem()), driver);
            let answer = gateway.client().ask(chat("chat"));
            let event = gateway.stop_with_one_event();
            if whole {
                assert_eq!(answer.whole(200).text(), body);
                assert!(event.is_null("error") && event.count("tokens") == 3, "{event:?}");
            } else {
                assert_ne!(answer.end, End::Whole, "{answer:?}");
                assert_eq!(event.text("error.kind"), "answer_torn");
            }
        }
    });
}

#[test]
fn a_client_that_leaves_ends_a_request_over_tls() {
    on_each_driver(|driver| {
        let authority = Authority::new();
        let vendor = Vendor::start_tls(authority.vouch_for("localhost").server_config(BOTH), |_| vec![Step::Hang]);
        let gateway = before(&vendor, Some(&authority.pem()), driver);
        let mut client = gateway.client();
        client.send(chat("chat"));
        vendor.wait_for_requests(1);
        drop(client);
        vendor.wait_until_left();
        assert_eq!(gateway.stop_with_one_event().count("status"), 499);
    });
}
