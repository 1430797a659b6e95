//! Everything at once: vendors that reset, stall, trickle, lie and speak garbage, clients that come, go and read slowly.
//! Each request has exactly one answer or one clean cut, its own and nobody else's, and exactly one event.
//!
//! `soak` is the same with fewer troubles and more time: `KT_SOAK=600` is how many seconds. It is skipped without.

use std::collections::HashMap;
use std::env;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Answer, Client, Config, Driver, End, Gateway, Received, Script, Step, Vendor, chunked, eventually, http, json,
    on_each_driver, pause, request, skip, sse_head,
};

/// What a vendor does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// Answers well.
    Answer,
    /// Answers well, in pieces and with pauses.
    Trickle,
    /// Says that it is overloaded.
    Refuse,
    /// Goes before a word.
    Vanish,
    /// Goes in the middle of its answer's head.
    TearHead,
    /// Goes behind it.
    TearBody,
    /// Falls silent in the middle of its body.
    Stall,
    /// Says that there is more to come than there is.
    Promise,
    /// Says more than it said it would.
    Babble,
    /// Speaks something else.
    Garble,
    /// Frames its body wrongly.
    Misframe,
}

const DEEDS: [Deed; 11] = [
    Deed::Answer,
    Deed::Trickle,
    Deed::Refuse,
    Deed::Vanish,
    Deed::TearHead,
    Deed::TearBody,
    Deed::Stall,
    Deed::Promise,
    Deed::Babble,
    Deed::Garble,
    Deed::Misframe,
];

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Asks and reads.
    Patient,
    /// Reads a little at a time.
    Slow,
    /// Goes without reading.
    Gone,
    /// Goes by a reset.
    Reset,
    /// Goes before it has asked.
    Shy,
    /// Asks twice before it reads.
    Hasty,
}

const MANNERS: [Manner; 6] = [Manner::Patient, Manner::Slow, Manner::Gone, Manner::Reset, Manner::Shy, Manner::Hasty];

/// What comes of a request that somebody waited for.
fn is_fit(deed: Deed, answer: &Answer) -> bool {
    match (deed, answer.status, answer.end) {
        (Deed::Answer | Deed::Trickle | Deed::Babble, 200, End::Whole) => true,
        (Deed::Refuse, 429, End::Whole) => true,
        // A stream that has said that it is over is over.
        (Deed::Promise, 200, End::Whole) => answer.text().contains("[DONE]"),
        // Nothing of it had come yet, so it could be told in words.
        (Deed::Vanish | Deed::TearHead | Deed::Garble | Deed::Misframe, 502, End::Whole) => true,
        (Deed::Misframe | Deed::TearBody | Deed::Promise | Deed::Stall, 200, End::Reset) => true,
        (Deed::TearBody | Deed::Promise, 502, End::Whole) | (Deed::Stall, 504, End::Whole) => true,
        _ => false,
    }
}

/// A request: its mark, which comes back in its answer, what is to be done with it, and whether it wants a stream.
fn ask(mark: &str, deed: Deed, stream: bool) -> Vec<u8> {
    let body = format!(
        r#"{{"model":"chat","stream":{stream},"messages":[{{"role":"user","content":"{mark} {deed:?}"}}],"stream_options":{{"include_usage":true}}}}"#
    );
    request("POST /v1/chat/completions", &[&format!("X-Request-Id: {mark}")], Some(body.as_bytes()))
}

fn script(asked: &Received) -> Script {
    let content = json(asked.body()).text("messages.0.content");
    let (mark, deed) = content.split_once(' ').expect("a mark and a deed");
    let deed = DEEDS.into_iter().find(|known| format!("{known:?}") == deed).expect("a deed");
    let whole = if asked.wants_stream() {
        let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{mark}\"}}}}]}}\n\n");
        [sse_head(), chunked(&event).repeat(20), chunked("data: [DONE]\n\n"), chunked("")].concat()
    } else {
        let filler = "x".repeat(2_000);
        let body = format!(r#"{{"id":"{mark}","usage":{{"prompt_tokens":1,"total_tokens":1}},"filler":"{filler}"}}"#);
        http(200, "content-type: application/json\r\n", body)
    };
    let head_len = whole.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    let half = head_len + (whole.len() - head_len) / 2;
    let send = |bytes: &[u8]| Step::Send(bytes.to_vec());
    let moment = Step::Pause(Duration::from_millis(5));
    match deed {
        Deed::Answer => vec![send(&whole)],
        Deed::Trickle => whole.chunks(211).flat_map(|piece| [send(piece), moment.clone()]).collect(),
        Deed::Refuse => {
            vec![send(&http(429, "content-type: application/json\r\n", format!("{{\"error\":\"{mark}\"}}")))]
        }
        // Later than what could be taken for a connection that had been closed before.
        Deed::Vanish => vec![Step::Pause(Duration::from_millis(150)), Step::Close],
        Deed::TearHead => vec![send(&whole[..head_len / 2]), Step::Reset],
        Deed::TearBody => vec![send(&whole[..half]), moment, Step::Reset],
        Deed::Stall => vec![send(&whole[..half]), Step::Hang],
        Deed::Promise => vec![send(&whole[..whole.len() - 3]), moment, Step::Close],
        Deed::Babble => vec![send(&[&whole[..], b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"].concat())],
        Deed::Garble => vec![send(b"220 mail.example ESMTP\r\n"), Step::Hang],
        Deed::Misframe => {
            vec![send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nnonsense\r\n"), Step::Hang]
        }
    }
}

/// What became of one request, as its client saw it.
struct Seen {
    mark: String,
    deed: Deed,
    /// None for who didn't wait for it.
    answer: Option<Answer>,
}

/// One client after the other, as the dice fall.
fn play(gateway: &Gateway, name: &str, count: usize, dice: &mut fastrand::Rng) -> Vec<Seen> {
    let mut seen = Vec::new();
    for number in 0..count {
        let manner = MANNERS[dice.usize(..MANNERS.len())];
        let draw = |n: usize, dice: &mut fastrand::Rng| {
            let (mark, deed) = (format!("{name}-{number}-{n}"), DEEDS[dice.usize(..DEEDS.len())]);
            let asked = ask(&mark, deed, dice.bool());
            (mark, deed, asked)
        };
        let (mark, deed, asked) = draw(0, dice);
        let mut client = match manner {
            Manner::Slow => Client::connect_narrow(gateway.address()),
            _ => gateway.client(),
        };
        match manner {
            Manner::Patient => {
                client.send(asked);
                seen.push(Seen { mark, deed, answer: Some(client.answer()) });
            }
            Manner::Slow => {
                client.send(asked);
                pause(Duration::from_millis(dice.u64(..100)));
                seen.push(Seen { mark, deed, answer: Some(client.answer()) });
            }
            Manner::Gone | Manner::Reset => {
                client.send(asked);
                pause(Duration::from_millis(dice.u64(..30)));
                if manner == Manner::Reset {
                    client.reset();
                }
                seen.push(Seen { mark, deed, answer: None });
            }
            Manner::Shy => client.send(&asked[..dice.usize(..40)]),
            Manner::Hasty => {
                let (second_mark, second_deed, second) = draw(1, dice);
                client.send([asked, second].concat());
                let first = client.answer();
                let goes_on = first.end == End::Whole && first.field("connection").is_none();
                seen.push(Seen { mark, deed, answer: Some(first) });
                // What stands behind an answer that ends the connection has never been read.
                if goes_on {
                    seen.push(Seen { mark: second_mark, deed: second_deed, answer: Some(client.answer()) });
                }
            }
        }
    }
    seen
}

/// Holds what clients saw against each other and against the log.
fn check(gateway: Gateway, seen: &[Seen]) {
    for Seen { mark, deed, answer } in seen {
        let Some(answer) = answer else { continue };
        assert!(is_fit(*deed, answer), "{mark} {deed:?}: {answer:?}");
        let text = answer.text();
        let others = text.replace(&**mark, "");
        assert!((0..8).all(|n| !others.contains(&format!("m{n}-"))), "{mark} got another's answer: {answer:?}");
        assert!(answer.field("x-request-id").is_none_or(|id| id == mark), "{mark} got another's answer: {answer:?}");
        assert!(!text.contains("smuggled"), "{mark}: {answer:?}");
        if answer.status == 200 && answer.end == End::Whole {
            assert!(text.contains(&**mark), "{mark} got another's answer: {answer:?}");
            assert!(text.contains("[DONE]") || text.ends_with("\"}"), "{mark}: {answer:?}");
        } else {
            assert!(!text.contains("[DONE]"), "{mark} is torn and looks whole: {answer:?}");
        }
    }
    let mut events: HashMap<String, Vec<u64>> = HashMap::new();
    for event in gateway.stop() {
        events.entry(event.text("request_id")).or_default().push(event.count("status"));
    }
    for Seen { mark, deed, answer } in seen {
        // A client that was gone before its request could be read has none, or it was seen to be cut off.
        let statuses = events.remove(mark).unwrap_or_default();
        match answer {
            None => assert!(statuses.len() <= 1, "{mark} {deed:?} has events of {statuses:?}"),
            Some(answer) if answer.status == 200 && answer.end == End::Whole => assert_eq!(statuses, [200], "{mark}"),
            Some(answer) if answer.end == End::Whole => assert_eq!(statuses, [u64::from(answer.status)], "{mark}"),
            Some(_) => assert!(matches!(statuses[..], [502 | 504]), "{mark} {deed:?}: {statuses:?}"),
        }
    }
    assert!(events.values().all(|statuses| statuses.len() == 1), "two events of one request: {events:?}");
}

fn before(vendor: &Vendor, driver: Driver) -> Gateway {
    let target = "timeouts: {first_byte_ms: 2000, idle_ms: 300}";
    Gateway::with(Config::openai(vendor, target, "")).driver(driver).cores(2).start()
}

#[test]
fn whatever_happens_each_request_has_one_answer_or_one_cut_and_one_event() {
    on_each_driver(|driver| {
        let seed = fastrand::u64(..);
        eprintln!("the dice are those of seed {seed}");
        let vendor = Vendor::start(script);
        let gateway = before(&vendor, driver);
        let seen: Vec<Seen> = thread::scope(|threads| {
            let playing: Vec<_> = (0..8)
                .map(|n| {
                    let gateway = &gateway;
                    let mut dice = fastrand::Rng::with_seed(seed.wrapping_add(n));
                    threads.spawn(move || play(gateway, &format!("m{n}"), 60, &mut dice))
                })
                .collect();
            playing.into_iter().flat_map(|player| player.join().expect("it plays to the end")).collect()
        });
        eventually("all of them to be gone", || (gateway.stats().count("connections") == 0).then_some(()));
        vendor.wait_until_left_but(gateway.stats().count("idle_upstreams") as usize);
        check(gateway, &seen);
    });
}

#[test]
fn memory_and_descriptors_are_flat_in_a_soak() {
    let Some(seconds) = env::var("KT_SOAK").ok().and_then(|seconds| seconds.parse().ok()) else {
        return skip("soak", "KT_SOAK doesn't say how many seconds to soak");
    };
    let time = Duration::from_secs(seconds);
    on_each_driver(|driver| soak(driver, time));
}

/// Mostly whole answers and streams, some errors, some clients who leave, a reload now and then.
fn soak(driver: Driver, time: Duration) {
    const DEEDS: [Deed; 8] = [
        Deed::Answer,
        Deed::Answer,
        Deed::Answer,
        Deed::Answer,
        Deed::Trickle,
        Deed::Refuse,
        Deed::TearBody,
        Deed::Misframe,
    ];
    let vendor = Vendor::start(script).forgetting();
    let gateway = Arc::new(before(&vendor, driver));
    let end = Instant::now() + time;
    let mut measured = Vec::new();
    let asked: usize = thread::scope(|threads| {
        let asking: Vec<_> = (0..8)
            .map(|n| {
                let gateway = Arc::clone(&gateway);
                threads.spawn(move || {
                    let mut dice = fastrand::Rng::with_seed(n);
                    let mut count = 0;
                    let mut client = gateway.client();
                    while Instant::now() < end {
                        let (mark, deed) = (format!("s{n}-{count}"), DEEDS[dice.usize(..DEEDS.len())]);
                        count += 1;
                        client.send(ask(&mark, deed, dice.u8(..) < 64));
                        if dice.u8(..) < 3 {
                            client = gateway.client();
                            continue;
                        }
                        let answer = client.answer();
                        assert!(is_fit(deed, &answer), "{mark} {deed:?}: {answer:?}");
                        let goes_on = answer.end == End::Whole && answer.field("connection").is_none();
                        if !goes_on || dice.u8(..) < 8 {
                            client = gateway.client();
                        }
                        // A pace that a busy machine keeps as well: what is looked for grows with time.
                        pause(Duration::from_millis(dice.u64(..10)));
                    }
                    count
                })
            })
            .collect();
        while Instant::now() < end {
            pause((time / 50).max(Duration::from_millis(100)));
            gateway.reload();
            measured.push((gateway.resident_bytes(), gateway.open_descriptors()));
        }
        asking.into_iter().map(|asking| asking.join().expect("it asks to the end")).sum()
    });
    // What the first fifth has brought up is warm; from there on the middle of the next tenth stands against the last's.
    let middle = |part: &[(usize, usize)]| {
        let (mut bytes, mut open): (Vec<usize>, Vec<usize>) = part.iter().copied().unzip();
        (*bytes.select_nth_unstable(part.len() / 2).1, *open.select_nth_unstable(part.len() / 2).1)
    };
    let tenth = (measured.len() / 10).max(1);
    let (warm, last) = (middle(&measured[2 * tenth..3 * tenth]), middle(&measured[measured.len() - tenth..]));
    eprintln!("{asked} requests in {time:?}: from {warm:?} to {last:?} bytes and descriptors");
    assert!(last.0 < warm.0 + 2 * 1024 * 1024, "memory grows from {} to {} bytes", warm.0, last.0);
    assert!(last.1 < warm.1 + 16, "descriptors grow from {} to {}", warm.1, last.1);
    let gateway = Arc::into_inner(gateway).expect("nobody asks any more");
    let events = gateway.stop().len();
    assert!(
        (asked - events) * 100 <= asked,
        "{events} events of {asked} requests, of which a hundredth was taken back"
    );
}
