//! Recorded traffic of real vendors, replayed through the gateway in random pieces: as it is, to the byte, at every
//! endpoint that passes it; and in the other language, where what was said has to be the same. Whether the event's tokens
//! are those of the recording.

mod recording;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{
    Answer, Driver, End, Event, Gateway, Received, Script, Step, Vendor, chunked, on_each_driver, request,
};
use recording::{Cost, Recording, Told};

/// Fixed, so that a failure comes again.
const SEED: u64 = 0x6b74;

/// How a recording goes through the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As it is.
    AsItIs,
    /// As it is, but that the gateway asks for the usage, and takes out what that brings.
    Counted,
    /// In the language of the other vendor.
    Translated,
}

impl Way {
    const ALL: [Self; 3] = [Self::AsItIs, Self::Counted, Self::Translated];

    fn takes(self, recording: &Recording) -> bool {
        match self {
            Self::AsItIs => true,
            Self::Counted => recording.endpoint == "/v1/chat/completions" && recording.stream,
            Self::Translated => recording.is_conversation(),
        }
    }

    /// Where it is asked, and which group.
    fn target(self, recording: &Recording) -> (&'static str, &'static str) {
        let vendor = if recording.is_anthropics() { "anthropic" } else { "openai" };
        match self {
            Self::AsItIs => (recording.endpoint, vendor),
            Self::Counted => (recording.endpoint, "counted"),
            Self::Translated if recording.is_anthropics() => ("/v1/chat/completions", vendor),
            Self::Translated => ("/v1/messages", "compatible"),
        }
    }
}

#[test]
fn recorded_answers_arrive_as_they_were_and_are_counted() {
    let Some(recordings) = recording::all() else { return };
    let translated = |anthropics: bool| {
        let of_language = recordings.iter().filter(|recording| recording.is_anthropics() == anthropics);
        of_language.filter(|recording| Way::Translated.takes(recording) && recording.told().is_some()).count()
    };
    assert!(translated(true) >= 300 && translated(false) >= 500, "{} {}", translated(true), translated(false));
    let recordings = Arc::new(recordings);
    on_each_driver(|driver| replay(&recordings, driver));
}

fn replay(recordings: &Arc<Vec<Recording>>, driver: Driver) {
    let served = Arc::clone(recordings);
    let vendor = Vendor::start(move |request| serve(&served, request));
    let config = format!(
        "version: '1'
providers:
  targets:
    - {{id: openai, provider: openai, base_url: '{0}', stream_usage: leave, secret_key_ref: {{env: OPENAI_API_KEY}}}}
    - {{id: asked, provider: openai, base_url: '{0}', stream_usage: ask, secret_key_ref: {{env: OPENAI_API_KEY}}}}
    - {{id: compatible, provider: openai-compatible, base_url: '{0}', secret_key_ref: {{env: OPENAI_API_KEY}}}}
    - {{id: anthropic, provider: anthropic, base_url: '{0}', secret_key_ref: {{env: ANTHROPIC_API_KEY}}}}
model_groups:
  - {{name: openai, strategy: weighted, targets: [{{provider: openai, model: real-model, weight: 100}}]}}
  - {{name: counted, strategy: weighted, targets: [{{provider: asked, model: real-model, weight: 100}}]}}
  - {{name: compatible, strategy: weighted, targets: [{{provider: compatible, model: real-model, weight: 100}}]}}
  - {{name: anthropic, strategy: weighted, targets: [{{provider: anthropic, model: real-model, weight: 100}}]}}
",
        vendor.url()
    );
    let gateway = Gateway::with(config).cores(2).driver(driver).start();
    let ways =
        |recording| Way::ALL.into_iter().filter(move |way| way.takes(recording)).map(move |way| (way, recording));
    let asks: Vec<(Way, &Recording)> = recordings.iter().flat_map(ways).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.client();
                while let Some(&(way, recording)) = asks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = client.ask(ask(way, recording));
                    check(way, recording, &answer);
                    if answer.end != End::Whole || answer.field("connection") == Some("close") {
                        client = gateway.client();
                    }
                }
            });
        }
    });
    let requests: HashMap<String, Received> = vendor
        .requests()
        .into_iter()
        .map(|request| (request.field("idempotency-key").expect("it passes").to_owned(), request))
        .collect();
    let events = gateway.stop();
    assert_eq!((events.len(), requests.len()), (asks.len(), asks.len()));
    let events: HashMap<String, Event> = events.into_iter().map(|event| (event.text("request_id"), event)).collect();
    for &(way, recording) in &asks {
        let key = key(way, recording);
        if way == Way::AsItIs {
            assert!(requests[&key].body() == recording.asking("real-model"), "{key}: the request came changed");
        }
        check_event(way, recording, &events[&key]);
    }
}

/// A recording on one of its ways.
fn key(way: Way, recording: &Recording) -> String {
    format!("{}-{way:?}", recording.id)
}

/// The request in whose answer the recording is to come back, marked with its key.
fn ask(way: Way, recording: &Recording) -> Vec<u8> {
    let (path, group) = way.target(recording);
    let body = match way {
        Way::AsItIs => recording.asking(group),
        // Of the recorded request only how it is to be answered matters here.
        Way::Counted => recording.asking_anything(group),
        Way::Translated if recording.is_anthropics() => recording.asking_anything(group),
        // Anthropic's clients are told what a model thinks if they ask for it.
        Way::Translated => recording.asking_with(group, r#","thinking":{"type":"enabled","budget_tokens":1024}"#),
    };
    let key = key(way, recording);
    let fields = [&*format!("X-Request-Id: {key}"), &format!("Idempotency-Key: {key}")];
    request(&format!("POST {path}"), &fields, Some(body.as_bytes()))
}

/// The recorded answer, framed and cut as chance has it; the same chance for the same recording.
fn serve(recordings: &[Recording], request: &Received) -> Script {
    let key = request.field("idempotency-key").expect("it passes to vendors");
    let index: usize = key.split('-').next().and_then(|number| number.parse().ok()).expect("it begins with a number");
    let recording = &recordings[index];
    let mut dice = fastrand::Rng::with_seed(SEED + index as u64);
    let kind = if recording.stream { "text/event-stream" } else { "application/json" };
    let head = format!("HTTP/1.1 {} Recorded\r\nContent-Type: {kind}; charset=utf-8\r\n", recording.status);
    let body = recording.body.as_bytes();
    let (message, closes) = match dice.u8(..8) {
        0 => ([format!("{head}\r\n").as_bytes(), body].concat(), true),
        1..4 if !recording.stream => {
            ([format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat(), false)
        }
        _ => {
            let mut message = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            cut(body, 12, &mut dice).for_each(|piece| message.extend(chunked(piece)));
            message.extend(chunked(""));
            (message, false)
        }
    };
    let mut script = Script::new();
    let cuts = dice.usize(1..6);
    for piece in cut(&message, cuts, &mut dice) {
        script.push(Step::Send(piece.to_vec()));
        // So that the pieces are read one by one, mostly.
        script.push(Step::Pause(Duration::from_micros(300)));
    }
    if closes {
        script.push(Step::Close);
    }
    script
}

/// `bytes` in up to `cuts` + 1 pieces, none of them empty.
fn cut<'a>(bytes: &'a [u8], cuts: usize, dice: &mut fastrand::Rng) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let mut at: Vec<usize> = (0..cuts).map(|_| dice.usize(..=bytes.len())).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    at.dedup();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect::<Vec<_>>().into_iter()
}

fn check(way: Way, recording: &Recording, answer: &Answer) {
    let key = key(way, recording);
    let expected = match way {
        Way::AsItIs => recording.body.clone(),
        Way::Counted => recording.without_usage_chunk(),
        Way::Translated => return check_translated(recording, answer),
    };
    assert_eq!((answer.status, answer.end), (recording.status, End::Whole), "{key}: {answer:?}");
    assert!(answer.body == expected.as_bytes(), "{key}: the answer came changed: {answer:?}");
}

fn check_translated(recording: &Recording, answer: &Answer) {
    let id = &recording.id;
    let to_anthropics = !recording.is_anthropics();
    if recording.status >= 400 {
        assert_eq!((answer.status, answer.end), (recording.status, End::Whole), "{id}: {answer:?}");
        let said = recording.error_message();
        assert!(said.is_none_or(|said| answer.json().text("error.message") == said), "{id}: {answer:?}");
        assert_eq!(answer.json().find("type").is_some(), to_anthropics, "{id}: {answer:?}");
        return;
    }
    let Some(told) = recording.told() else { return check_other(recording, answer) };
    assert_eq!((answer.status, answer.end), (200, End::Whole), "{id}: {answer:?}");
    let got = match (recording.stream, to_anthropics) {
        (false, false) => Told::of_completion(&answer.json()),
        (false, true) => Told::of_message(&answer.json()),
        (true, false) => Told::of_chunks(&recording::events_of(answer.text())),
        (true, true) => Told::of_message_events(&recording::events_of(answer.text())),
    };
    assert!(got.as_ref().is_some_and(|got| told.is_told_by(got)), "{id}: {got:?} should be {told:?}: {answer:?}");
}

/// What only its own vendor's language can say is either left out by the rules, or refused; what isn't whole is never
/// made so.
fn check_other(recording: &Recording, answer: &Answer) {
    let id = &recording.id;
    match (recording.stream, answer.end) {
        (_, End::Whole) => {}
        (true, end) => {
            assert_eq!((answer.status, end), (200, End::Reset), "{id}: {answer:?}");
            let text = answer.text();
            assert!(!text.contains("[DONE]") && !text.contains("message_stop"), "{id}: {answer:?}");
        }
        (false, end) => panic!("{id}: {end:?} {answer:?}"),
    }
}

fn check_event(way: Way, recording: &Recording, event: &Event) {
    let key = key(way, recording);
    assert_eq!(event.text("endpoint"), way.target(recording).0, "{key}");
    assert_eq!(event.is_null("translation"), way != Way::Translated, "{key}: {event:?}");
    let understood = way != Way::Translated || recording.told().is_some();
    if !understood || !event.is_null("error") {
        let failed = event.is_null("error") || event.text("error.side") == "upstream";
        assert!(failed && (!understood || recording.fails()), "{key}: {event:?}");
        return;
    }
    assert_eq!(event.count("status"), u64::from(recording.status), "{key}: {event:?}");
    let cost = recording.cost();
    let said = Cost {
        prompt: event.count("usage.prompt_tokens"),
        completion: event.count("usage.completion_tokens"),
        total: event.count("usage.total_tokens"),
        cached: event.count("usage.cached_tokens"),
    };
    let source = event.text("usage_source");
    match cost {
        Some(cost) => assert_eq!((said, source.as_str()), (cost, "provider"), "{key}: {event:?}"),
        // Who asks in the other language is owed numbers: what came is counted, and said to be no more than that.
        None if way == Way::Translated && recording.stream => {
            assert_eq!((source.as_str(), said.cached), ("estimated", 0), "{key}: {event:?}");
            assert!(said.prompt > 0 && said.total == said.prompt + said.completion, "{key}: {event:?}");
        }
        None => assert_eq!((said, source.as_str()), (Cost::default(), "none"), "{key}: {event:?}"),
    }
    assert_eq!(event.count("tokens"), event.count("usage.total_tokens"));
}
