//! What goes wrong between gateway, vendor and client, and what each of them is told. Every request has exactly one
//! event, however it ends.

use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    ANTHROPIC_TOKENS, Answer, Client, Config, Driver, End, Event, Gate, Gateway, Script, Step, Vendor,
    anthropic_events, chat, chat_of, chunked, eventually, http, json, on_each_driver, openai_events, openai_whole,
    pause, sse_head,
};

const STREAMED: &str = r#","stream":true"#;
/// Far more than a deadline of 300 ms needs, and far less than the defaults, which are minutes.
const SOON: Duration = Duration::from_secs(10);

fn send(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Send(bytes.into())
}

/// The first `events` of a stream, cut in the middle of the next one.
fn torn_stream(events: &[String], whole: usize) -> Vec<u8> {
    let next = &events[whole];
    let cut = format!("{}{}", events[..whole].concat(), &next[..next.len() / 2]);
    [sse_head(), chunked(cut)].concat()
}

fn openai_gateway(vendor: &Vendor, target: &str, driver: Driver) -> Gateway {
    Gateway::with(Config::openai(vendor, target, "")).driver(driver).start()
}

fn anthropic_gateway(vendor: &Vendor, target: &str, driver: Driver) -> Gateway {
    Gateway::with(Config::anthropic(vendor, target, "")).driver(driver).start()
}

#[track_caller]
fn says(event: &Event, status: u64, side: &str, kind: &str, phase: &str) {
    let said = (event.text("error.side"), event.text("error.kind"), event.text("error.phase"));
    assert_eq!(said, (side.to_owned(), kind.to_owned(), phase.to_owned()), "{event:?}");
    assert_eq!(event.count("status"), status, "{event:?}");
}

/// An answer that the gateway had to break off: it says so, and no reader can take it for a whole one.
#[track_caller]
fn is_torn(answer: &Answer, code: &str) {
    assert_eq!((answer.status, answer.end), (200, End::Reset), "{answer:?}");
    let events = answer.events();
    let last = events.last().unwrap_or_else(|| panic!("no error event: {answer:?}"));
    assert_eq!(json(last).text("error.code"), code);
    assert!(!events.iter().any(|event| event == "[DONE]"), "{answer:?}");
}

// The vendor ends too early.

#[test]
fn a_vendor_that_goes_before_its_answer_is_a_502() {
    on_each_driver(|driver| {
        for (script, kind) in [
            (vec![Step::Close], "answer_missing"),
            (vec![Step::Reset], "answer_missing"),
            (vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Step::Close], "answer_head_malformed"),
            (vec![send("SSH-2.0-OpenSSH_9.2\r\n\r\n"), Step::Hang], "answer_head_malformed"),
            (
                vec![send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")],
                "answer_framing_malformed",
            ),
            (vec![send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")], "answer_framing_malformed"),
        ] {
            let shown = format!("{script:?}");
            let vendor = Vendor::queue([script]);
            let gateway = openai_gateway(&vendor, "", driver);
            let answer = gateway.client().ask(chat("chat"));
            assert_eq!(answer.error(502), kind, "{shown}");
            assert_eq!(answer.field("x-should-retry"), None, "a retry may help");
            let event = gateway.stop_with_one_event();
            says(&event, 502, "upstream", kind, "first_byte");
            assert_eq!((event.count("attempts"), event.text("usage_source")), (1, "none".to_owned()));
        }
    });
}

#[test]
fn a_vendor_that_can_not_be_reached_is_a_502() {
    on_each_driver(|driver| {
        let gone = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let vendor = Vendor::queue([]);
        let config = Config::openai(&vendor, "", "")
            .replace(&vendor.url(), &format!("http://{}", gone.local_addr().expect("it is bound")));
        drop(gone);
        let gateway = Gateway::with(config).driver(driver).start();
        assert_eq!(gateway.client().ask(chat("chat")).error(502), "connect_refused");
        says(&gateway.stop_with_one_event(), 502, "upstream", "connect_refused", "connect");
    });
}

#[test]
fn a_vendor_without_tls_where_tls_was_expected_is_a_502() {
    on_each_driver(|driver| {
        let plain = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = plain.local_addr().expect("it is bound");
        let speaks = thread::spawn(move || {
            let (mut stream, _) = plain.accept().expect("the gateway connects");
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("it reads");
            stream
        });
        let vendor = Vendor::queue([]);
        let config = Config::openai(&vendor, "", "").replace(&vendor.url(), &format!("https://{address}"));
        let gateway = Gateway::with(config).driver(driver).start();
        assert_eq!(gateway.client().ask(chat("chat")).error(502), "tls_failed");
        says(&gateway.stop_with_one_event(), 502, "upstream", "tls_failed", "tls");
        speaks.join().expect("it spoke");
    });
}

#[test]
fn a_whole_answer_that_breaks_off_is_broken_off() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        for (end, head) in [
            (Step::Close, "Content-Length: 100"),
            (Step::Reset, "Content-Length: 100"),
            (Step::Close, "Transfer-Encoding: chunked"),
        ] {
            let script =
                vec![send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n")), Step::Wait(gate.clone()), end];
            let vendor = Vendor::queue([script]);
            let gateway = openai_gateway(&vendor, "", driver);
            let mut client = gateway.client();
            client.send(chat("chat"));
            client.wait_for("hello");
            gate.open();
            let answer = client.answer();
            assert_eq!((answer.status, answer.end), (200, End::Reset), "{answer:?}");
            says(&gateway.stop_with_one_event(), 502, "upstream", "answer_torn", "stream");
        }
    });
}

#[test]
fn a_whole_answer_to_be_translated_that_breaks_off_is_a_502() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([vec![send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), Step::Close]]);
        let gateway = anthropic_gateway(&vendor, "", driver);
        assert_eq!(gateway.client().ask(chat("chat")).error(502), "answer_torn");
        says(&gateway.stop_with_one_event(), 502, "upstream", "answer_torn", "stream");
    });
}

#[test]
fn a_stream_that_breaks_off_ends_in_an_error_and_a_reset() {
    on_each_driver(|driver| {
        for end in [Step::Close, Step::Reset] {
            let events = openai_events(true);
            let vendor = Vendor::queue([vec![send(torn_stream(&events, 3)), end]]);
            let gateway = openai_gateway(&vendor, "", driver);
            let answer = gateway.client().ask(chat_of("chat", STREAMED));
            is_torn(&answer, "answer_torn");
            // What was whole has passed, and what wasn't has not.
            let passed: String = events[..3].concat();
            assert_eq!(answer.text().strip_prefix(&passed).map(|rest| rest.matches("data: ").count()), Some(1));
            let event = gateway.stop_with_one_event();
            says(&event, 502, "upstream", "answer_torn", "stream");
            // The vendor had counted nothing yet: two words of the request, its role and its content, two pieces of the answer.
            assert_eq!((event.text("usage_source"), event.count("gaps.n")), ("estimated".to_owned(), 1));
            assert_eq!((event.count("usage.prompt_tokens"), event.count("usage.completion_tokens")), (2, 2));
            assert_eq!(event.count("tokens"), 4);
        }
    });
}

#[test]
fn a_stream_without_its_end_is_torn_though_its_connection_ended_in_order() {
    on_each_driver(|driver| {
        let events = openai_events(true);
        for end in [vec![send(chunked(""))], vec![send(chunked("data: {\"choices\":[{\"ind")), send(chunked(""))]] {
            let script = [vec![send(sse_head()), send(chunked(events[..3].concat()))], end].concat();
            let vendor = Vendor::queue([script]);
            let gateway = openai_gateway(&vendor, "", driver);
            let answer = gateway.client().ask(chat_of("chat", STREAMED));
            is_torn(&answer, "answer_torn");
            assert!(answer.text().starts_with(&events[..3].concat()), "{answer:?}");
            let event = gateway.stop_with_one_event();
            says(&event, 502, "upstream", "answer_torn", "stream");
            assert_eq!(event.text("usage_source"), "estimated");
        }
        // A vendor that never sends `[DONE]` has said all with its `finish_reason`, though it forget the last blank line.
        let mut finished = events[..events.len() - 2].concat();
        finished.truncate(finished.len() - 1);
        let vendor = Vendor::queue([vec![send(sse_head()), send(chunked(&finished)), send(chunked(""))]]);
        let gateway = openai_gateway(&vendor, "", driver);
        let answer = gateway.client().ask(chat_of("chat", r#","stream":true,"stream_options":{"include_usage":true}"#));
        assert_eq!(answer.whole(200).text(), finished);
        assert!(gateway.stop_with_one_event().is_null("error"));
    });
}

#[test]
fn what_comes_behind_the_end_of_an_answer_takes_nothing_away() {
    on_each_driver(|driver| {
        for end in [Step::Reset, Step::Hang] {
            let vendor = Vendor::queue([vec![send(sse_head()), send(chunked(openai_events(true).concat())), end]]);
            let gateway = openai_gateway(&vendor, "timeouts: {idle_ms: 300}", driver);
            let asked = chat_of("chat", r#","stream":true,"stream_options":{"include_usage":true}"#);
            let answer = gateway.client().ask(asked).whole(200);
            assert_eq!(answer.text(), openai_events(true).concat());
            vendor.wait_until_left();
            let event = gateway.stop_with_one_event();
            assert!(event.is_null("error"), "{event:?}");
            assert_eq!((event.count("status"), event.text("usage_source")), (200, "provider".to_owned()));
        }
    });
}

#[test]
fn a_translated_stream_that_breaks_off_ends_in_an_error_and_a_reset() {
    on_each_driver(|driver| {
        let events = anthropic_events();
        let cut = chunked(events[..5].concat());
        // Reset, closed, and even ended in order: a stream that has not said `message_stop` is torn.
        for end in [vec![Step::Reset], vec![Step::Close], vec![send(chunked("")), Step::Close], vec![send(chunked(""))]]
        {
            let script = [vec![send(sse_head()), send(cut.clone())], end].concat();
            let vendor = Vendor::queue([script]);
            let gateway = anthropic_gateway(&vendor, "", driver);
            let answer = gateway.client().ask(chat_of("chat", STREAMED));
            is_torn(&answer, "answer_torn");
            assert!(answer.text().contains(r#""content":"Hello""#), "{answer:?}");
            let event = gateway.stop_with_one_event();
            says(&event, 502, "upstream", "answer_torn", "stream");
            // Anthropic says at the start what it has read.
            assert_eq!((event.text("usage_source"), event.count("usage.prompt_tokens")), ("partial".to_owned(), 11));
        }
    });
}

#[test]
fn a_failure_that_the_vendor_tells_in_its_stream_is_in_the_event() {
    on_each_driver(|driver| {
        let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
        let script = vec![send(sse_head()), send(chunked(anthropic_events()[..5].concat())), send(chunked(overloaded))];
        let vendor = Vendor::queue([script]);
        let gateway = anthropic_gateway(&vendor, "", driver);
        let answer = gateway.client().ask(chat_of("chat", STREAMED));
        assert_eq!((answer.status, answer.end), (200, End::Reset));
        let events = answer.events();
        assert_eq!(json(events.last().expect("the error")).text("error.message"), "Overloaded");
        says(&gateway.stop_with_one_event(), 502, "upstream", "vendor_error_in_stream", "stream");

        // On the way as it is, the vendor's own words pass and its own end too.
        let told = "data: {\"error\":{\"message\":\"Provider returned error\",\"code\":502}}\n\n";
        let vendor = Vendor::queue([vec![send(sse_head()), send(chunked(told)), send(chunked(""))]]);
        let gateway = openai_gateway(&vendor, "", driver);
        assert_eq!(gateway.client().ask(chat_of("chat", STREAMED)).whole(200).text(), told);
        says(&gateway.stop_with_one_event(), 200, "upstream", "vendor_error_in_stream", "stream");
    });
}

#[test]
fn an_event_without_end_is_broken_off_at_its_bound() {
    on_each_driver(|driver| {
        let flood = std::iter::repeat_n(send(chunked("x".repeat(500))), 20);
        let vendor = Vendor::queue([[send(sse_head()), send(chunked("data: "))].into_iter().chain(flood).collect()]);
        let limits = "gateway: {limits: {sse_event_bytes_max: 2000}}\n";
        let gateway = Gateway::with(Config::openai(&vendor, "", limits)).driver(driver).start();
        is_torn(&gateway.client().ask(chat_of("chat", STREAMED)), "answer_too_large");
        says(&gateway.stop_with_one_event(), 502, "upstream", "answer_too_large", "stream");
    });
}

#[test]
fn an_answer_that_makes_no_sense_can_not_be_translated() {
    on_each_driver(|driver| {
        let fields = "Content-Type: application/json\r\n";
        let strange = r#"{"type":"message","role":"assistant","content":[{"type":"hologram","data":"x"}],"stop_reason":"end_turn"}"#;
        for answer in [
            http(200, fields, "<html>nonsense</html>"),
            http(200, fields, "{}"),
            http(200, fields, strange),
            // A stream that nobody asked for.
            [sse_head(), chunked(anthropic_events().concat()), chunked("")].concat(),
        ] {
            let vendor = Vendor::saying(answer);
            let gateway = anthropic_gateway(&vendor, "", driver);
            assert_eq!(gateway.client().ask(chat("chat")).error(502), "answer_not_understood");
            let event = gateway.stop_with_one_event();
            assert_eq!((event.text("error.kind"), event.count("status")), ("answer_not_understood".to_owned(), 502));
        }
    });
}

#[test]
fn interim_answers_are_skipped() {
    on_each_driver(|driver| {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_vec();
        let vendor = Vendor::queue([vec![send([interim, openai_whole()].concat())]]);
        let gateway = openai_gateway(&vendor, "", driver);
        gateway.client().ask(chat("chat")).openai_completion();
    });
}

// The vendor is too slow.

#[test]
fn a_vendor_that_does_not_answer_is_a_504() {
    on_each_driver(|driver| {
        for (timeouts, kind, phase) in [
            ("timeouts: {first_byte_ms: 300}", "first_byte_too_slow", "first_byte"),
            ("timeouts: {total_ms: 300}", "total_too_long", "total"),
        ] {
            let vendor = Vendor::queue([vec![Step::Hang]]);
            let gateway = openai_gateway(&vendor, timeouts, driver);
            let began = Instant::now();
            assert_eq!(gateway.client().ask(chat("chat")).error(504), kind);
            assert!((Duration::from_millis(300)..SOON).contains(&began.elapsed()), "after {:?}", began.elapsed());
            vendor.wait_until_left();
            let event = gateway.stop_with_one_event();
            says(&event, 504, "upstream", kind, phase);
            assert!(event.number("latency_ms") >= 300.0 && event.number("upstream_ms") >= 290.0, "{event:?}");
        }
    });
}

#[test]
fn a_vendor_that_falls_silent_in_its_answer_is_broken_off() {
    on_each_driver(|driver| {
        let stalled = vec![send(torn_stream(&openai_events(true), 3)), Step::Hang];
        let vendor = Vendor::queue([stalled]);
        let gateway = openai_gateway(&vendor, "timeouts: {idle_ms: 300}", driver);
        is_torn(&gateway.client().ask(chat_of("chat", STREAMED)), "idle_too_long");
        vendor.wait_until_left();
        says(&gateway.stop_with_one_event(), 504, "upstream", "idle_too_long", "idle");

        let stalled = vec![send(sse_head()), send(chunked(anthropic_events()[..5].concat())), Step::Hang];
        let vendor = Vendor::queue([stalled]);
        let gateway = anthropic_gateway(&vendor, "timeouts: {idle_ms: 300}", driver);
        is_torn(&gateway.client().ask(chat_of("chat", STREAMED)), "idle_too_long");
        let event = gateway.stop_with_one_event();
        says(&event, 504, "upstream", "idle_too_long", "idle");
        assert_eq!(event.text("usage_source"), "partial");

        // Nothing has reached the client yet, so it can be told in words.
        let stalled = vec![send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), Step::Hang];
        let vendor = Vendor::queue([stalled]);
        let gateway = anthropic_gateway(&vendor, "timeouts: {idle_ms: 300}", driver);
        assert_eq!(gateway.client().ask(chat("chat")).error(504), "idle_too_long");
        says(&gateway.stop_with_one_event(), 504, "upstream", "idle_too_long", "idle");
    });
}

#[test]
fn a_stream_that_goes_on_for_too_long_is_broken_off() {
    on_each_driver(|driver| {
        let trickle: Script = [send(sse_head())]
            .into_iter()
            .chain((0..200).flat_map(|_| [send(chunked(": alive\n\n")), Step::Pause(Duration::from_millis(20))]))
            .chain([Step::Hang])
            .collect();
        let vendor = Vendor::queue([trickle]);
        let gateway = openai_gateway(&vendor, "timeouts: {total_ms: 500, idle_ms: 3000}", driver);
        let began = Instant::now();
        is_torn(&gateway.client().ask(chat_of("chat", STREAMED)), "total_too_long");
        assert!((Duration::from_millis(500)..SOON).contains(&began.elapsed()), "after {:?}", began.elapsed());
        says(&gateway.stop_with_one_event(), 504, "upstream", "total_too_long", "total");
    });
}

#[test]
fn a_slow_vendor_within_its_bounds_is_none_of_our_business() {
    on_each_driver(|driver| {
        let slow: Script = [Step::Pause(Duration::from_millis(200))]
            .into_iter()
            .chain(openai_whole().chunks(200).flat_map(|piece| [send(piece), Step::Pause(Duration::from_millis(100))]))
            .collect();
        let vendor = Vendor::queue([slow]);
        let gateway = openai_gateway(&vendor, "timeouts: {first_byte_ms: 3000, idle_ms: 3000}", driver);
        gateway.client().ask(chat("chat")).openai_completion();
        let event = gateway.stop_with_one_event();
        assert!(event.is_null("error") && event.number("upstream_ms") >= 500.0, "{event:?}");
        assert!(event.number("gateway_overhead_us") < event.number("upstream_ms") * 1_000.0, "{event:?}");
    });
}

// Connections that were kept.

#[test]
fn a_connection_that_the_vendor_closed_is_not_used_again() {
    on_each_driver(|driver| {
        let vendor = Vendor::saying(openai_whole());
        let gateway = openai_gateway(&vendor, "", driver);
        let mut client = gateway.client();
        client.ask(chat("chat")).openai_completion();
        vendor.close_idle();
        vendor.wait_until_left();
        client.ask(chat("chat")).openai_completion();
        assert_eq!(vendor.connections(), 2);
        assert!(gateway.stop().iter().all(|event| event.is_null("error")));
    });
}

#[test]
fn a_stale_connection_is_replaced_once() {
    on_each_driver(|driver| {
        // The vendor's close comes after the request was sent: it could not be known before. A machine so busy that the
        // close comes late may take it for an answer that never came, which is right then; so there are several tries.
        let retried = (0..5).any(|_| {
            let vendor = Vendor::queue([vec![send(openai_whole())], vec![Step::Close], vec![send(openai_whole())]]);
            let gateway = openai_gateway(&vendor, "", driver);
            let mut client = gateway.client();
            client.ask(chat("chat")).openai_completion();
            let second = client.ask(chat("chat"));
            let events = gateway.stop();
            assert_eq!(events.len(), 2);
            match second.status {
                200 => {
                    second.openai_completion();
                    assert_eq!((events[1].count("attempts"), vendor.connections()), (2, 2));
                    assert!(events[1].is("attempt_list.0.reused") && !events[1].is("attempt_list.1.reused"));
                    assert_eq!(events[1].text("attempt_list.0.error.kind"), "answer_missing");
                    assert!(events[1].is_null("attempt_list.1.error") && events[0].find("attempt_list").is_none());
                    true
                }
                _ => {
                    assert_eq!((events[1].text("error.kind"), second.status), ("answer_missing".to_owned(), 502));
                    false
                }
            }
        });
        assert!(retried, "five stale connections in a row were not replaced");
    });
}

#[test]
fn a_request_that_may_have_been_billed_is_not_sent_again() {
    on_each_driver(|driver| {
        let late = vec![Step::Pause(Duration::from_millis(300)), Step::Close];
        let vendor = Vendor::queue([vec![send(openai_whole())], late]);
        let gateway = openai_gateway(&vendor, "", driver);
        let mut client = gateway.client();
        client.ask(chat("chat")).openai_completion();
        assert_eq!(client.ask(chat("chat")).error(502), "answer_missing");
        assert_eq!((vendor.connections(), vendor.requests().len()), (1, 2));
        let events = gateway.stop();
        says(&events[1], 502, "upstream", "answer_missing", "first_byte");
        assert_eq!(events[1].count("attempts"), 1);
    });
}

#[test]
fn a_request_whose_answer_has_begun_is_not_sent_again() {
    on_each_driver(|driver| {
        for end in [Step::Close, Step::Reset] {
            let begun = vec![send("HTTP/1.1 20"), Step::Pause(Duration::from_millis(20)), end];
            let vendor = Vendor::queue([vec![send(openai_whole())], begun]);
            let gateway = openai_gateway(&vendor, "", driver);
            let mut client = gateway.client();
            client.ask(chat("chat")).openai_completion();
            assert_eq!(client.ask(chat("chat")).error(502), "answer_head_malformed");
            let events = gateway.stop();
            says(&events[1], 502, "upstream", "answer_head_malformed", "first_byte");
            assert_eq!(events[1].count("attempts"), 1);
        }
    });
}

#[test]
fn a_connection_with_bytes_behind_the_answer_is_not_used_again() {
    on_each_driver(|driver| {
        let vendor =
            Vendor::start(|_| vec![send([openai_whole(), b"HTTP/1.1 200 Smuggled\r\n\r\n".to_vec()].concat())]);
        let gateway = openai_gateway(&vendor, "", driver);
        let mut client = gateway.client();
        for _ in 0..2 {
            client.ask(chat("chat")).openai_completion();
        }
        assert_eq!(vendor.connections(), 2);
    });
}

// The client goes, or doesn't read.

#[test]
fn a_client_that_leaves_while_the_vendor_thinks_takes_the_vendor_along() {
    on_each_driver(|driver| {
        for leave in [drop, Client::reset] {
            let vendor = Vendor::queue([vec![Step::Hang]]);
            let gateway = openai_gateway(&vendor, "", driver);
            let mut client = gateway.client();
            client.send(chat("chat"));
            vendor.wait_for_requests(1);
            let began = Instant::now();
            leave(client);
            vendor.wait_until_left();
            assert!(began.elapsed() < SOON);
            let event = gateway.stop_with_one_event();
            says(&event, 499, "client", "client_gone", "first_byte");
            assert_eq!((event.text("usage_source"), event.text("model")), ("none".to_owned(), "gpt-4o".to_owned()));
        }
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_stream_is_still_accounted_for() {
    on_each_driver(|driver| {
        for leave in [drop, Client::reset] {
            let begun = vec![send(sse_head()), send(chunked(anthropic_events()[..6].concat())), Step::Hang];
            let vendor = Vendor::queue([begun]);
            let gateway = anthropic_gateway(&vendor, "", driver);
            let mut client = gateway.client();
            client.send(chat_of("chat", STREAMED));
            client.wait_for(" there");
            leave(client);
            vendor.wait_until_left();
            let event = gateway.stop_with_one_event();
            says(&event, 499, "client", "client_gone", "stream");
            assert_eq!((event.text("usage_source"), event.count("usage.prompt_tokens")), ("partial".to_owned(), 11));
            assert!(!event.is_null("ttft_ms") && event.is("stream"));
        }
    });
}

#[test]
fn a_client_that_leaves_before_its_body_is_whole_is_logged_too() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([]);
        let gateway = openai_gateway(&vendor, "", driver);
        let mut client = gateway.client();
        client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"model\":");
        client.half_close();
        assert_eq!(client.answer().error(400), "body_cut_off");
        let event = gateway.stop_with_one_event();
        says(&event, 400, "client", "body_cut_off", "body");
        assert_eq!(event.number("latency_ms"), 0.0);
    });
}

#[test]
fn clients_that_dawdle_are_told_so() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([]);
        let limits = "gateway: {limits: {head_ms: 300, body_ms: 300, keep_alive_ms: 300}}\n";
        let gateway = Gateway::with(Config::openai(&vendor, "", limits)).driver(driver).start();
        let mut client = gateway.client();
        assert_eq!(client.ask("POST /v1/chat/completions HTTP/1.1\r\nHos").error(408), "head_too_slow");
        assert!(client.is_closed());
        let mut client = gateway.client();
        let begun = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
        assert_eq!(client.ask(begun).error(408), "body_too_slow");
        // One that never asked, and one that asks no more, are closed without a word.
        assert!(gateway.client().is_closed());
        let mut client = gateway.client();
        client.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").whole(200);
        assert!(client.is_closed());
        says(&gateway.stop_with_one_event(), 408, "client", "body_too_slow", "body");
    });
}

const PIECE: usize = 256 * 1024;
const PIECES: usize = 256;

const FLOOD_END: &str = "data: [DONE]\n\n";

/// 64 MiB in events, far beyond what the sockets in between hold.
fn flood() -> Script {
    let event = format!(": {}\n\n", "x".repeat(PIECE - 4));
    let pieces = std::iter::repeat_n(send(chunked(event)), PIECES);
    let end = [send(chunked(FLOOD_END)), send(chunked(""))];
    [send(sse_head())].into_iter().chain(pieces).chain(end).collect()
}

/// Waits until the vendor can't go on sending; how much it could.
fn dammed(vendor: &Vendor) -> usize {
    let mut before = 0;
    eventually("the vendor to be held up", || {
        pause(Duration::from_millis(300));
        let sent = vendor.sent_bytes();
        let stands = sent > 0 && sent == before;
        before = sent;
        stands.then_some(sent)
    })
}

#[test]
fn a_slow_reader_slows_its_vendor_down_and_fills_no_memory() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([flood()]);
        let gateway = openai_gateway(&vendor, "", driver);
        let before = gateway.resident_bytes();
        let mut client = Client::connect_narrow(gateway.address());
        client.send(chat_of("chat", STREAMED));
        let sent = dammed(&vendor);
        assert!(sent < PIECE * PIECES / 2, "{sent} bytes went out though nobody read them");
        let grown = gateway.resident_bytes().saturating_sub(before);
        assert!(grown < 16 * 1024 * 1024, "it holds {grown} bytes for one slow reader");
        let answer = client.answer().whole(200);
        assert_eq!(answer.body.len(), PIECE * PIECES + FLOOD_END.len());
        let event = gateway.stop_with_one_event();
        assert!(event.is_null("error") && event.number("client_wait_ms") >= 300.0, "{event:?}");
    });
}

#[test]
fn a_reader_that_never_reads_is_given_up() {
    on_each_driver(|driver| {
        let vendor = Vendor::queue([flood()]);
        let limits = "gateway: {limits: {slow_reader_ms: 300}}\n";
        let gateway = Gateway::with(Config::openai(&vendor, "", limits)).driver(driver).start();
        let mut client = Client::connect_narrow(gateway.address());
        client.send(chat_of("chat", STREAMED));
        vendor.wait_until_left();
        says(&gateway.stop_with_one_event(), 499, "client", "client_too_slow", "stream");
    });
}

#[test]
fn one_clients_misfortune_is_nobody_elses() {
    on_each_driver(|driver| {
        // One group, one core: while one stream stalls and one client leaves, others are answered.
        let vendor = Vendor::start(|request| match request.wants_stream() {
            true => vec![send(sse_head()), send(chunked(anthropic_events()[..5].concat())), Step::Hang],
            false => crate::harness::anthropic(request),
        });
        let gateway = anthropic_gateway(&vendor, "", driver);
        let mut stalled = gateway.client();
        stalled.send(chat_of("chat", STREAMED));
        stalled.wait_for("Hello");
        for _ in 0..10 {
            let mut leaving = gateway.client();
            leaving.send(chat_of("chat", STREAMED));
            leaving.wait_for("Hello");
            drop(leaving);
            gateway.client().ask(chat("chat")).completion(ANTHROPIC_TOKENS);
        }
        drop(stalled);
        vendor.wait_until_left_but(1);
        let events = gateway.stop();
        let gone = events.iter().filter(|event| event.count("status") == 499).count();
        assert_eq!((events.len(), gone), (21, 11));
    });
}
