//! Recorded traffic of real vendors, replayed through the gateway in random pieces: what the client gets, and whether the
//! event's tokens are those of the recording.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use crate::harness::{
    Answer, Driver, End, Event, Gateway, Json, Received, Script, Step, Vendor, chunked, json, on_each_driver,
    raw_fields, request, skip,
};

/// Fixed, so that a failure comes again.
const SEED: u64 = 0x6b74;

/// One recorded answer.
struct Recording {
    /// With its number, for the corpus has the same id twice.
    id: String,
    anthropic: bool,
    status: u16,
    stream: bool,
    /// What was asked, as it was written; none where only the answer was recorded.
    request: Option<String>,
    /// What was answered, as it was written.
    body: String,
}

/// What an answer cost, as its recording says.
#[derive(Debug, Default, PartialEq)]
struct Cost {
    prompt: u64,
    completion: u64,
    total: u64,
    cached: u64,
}

#[test]
fn recorded_answers_arrive_as_they_were_and_are_counted() {
    let Some(recordings) = recordings() else { return };
    let translates =
        |recording: &&Recording| recording.anthropic && recording.status < 400 && text_of(recording).is_some();
    let translated = recordings.iter().filter(translates).count();
    assert!(translated >= 50, "only {translated} recordings are translated");
    let recordings = Arc::new(recordings);
    on_each_driver(|driver| replay(&recordings, driver));
}

/// All recordings that the vendors' endpoints gave; none, and a word about it, where there is no corpus.
fn recordings() -> Option<Vec<Recording>> {
    let corpus = env::var_os("KT_CORPUS").map(|corpus| PathBuf::from(corpus).join("provider-traffic"));
    let Some(corpus) = corpus.filter(|corpus| corpus.is_dir()) else {
        skip("corpus", "KT_CORPUS names no directory with provider-traffic in it");
        return None;
    };
    let mut recordings = Vec::new();
    for file in ["openai.chat", "openai-compatible.chat", "anthropic.messages", "response-only"] {
        let path = corpus.join(format!("{file}.jsonl"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        recordings.extend(text.lines().filter_map(recording));
    }
    for (number, recording) in recordings.iter_mut().enumerate() {
        recording.id = format!("{number}-{}", recording.id);
    }
    assert!(recordings.len() > 100, "a corpus of {} recordings is none", recordings.len());
    Some(recordings)
}

fn recording(text: &str) -> Option<Recording> {
    let line = json(text);
    let fields: HashMap<_, _> = raw_fields(text).into_iter().collect();
    let raw = |name: &str| text[fields[name].clone()].to_owned();
    let anthropic = match line.text("endpoint").as_str() {
        "chat.completions" => false,
        "messages" => true,
        _ => return None,
    };
    let stream = line.text("response_kind") == "sse";
    let asks = |name: &str| line.find(&format!("request_body.{name}")).is_some();
    let has_model = !anthropic && asks("messages") && asks("model");
    Some(Recording {
        id: line.text("id"),
        anthropic,
        status: u16::try_from(line.count("status")).expect("an HTTP status"),
        stream,
        // Only what can be sent through the gateway: in OpenAI's language, and with a model (Azure's path names it).
        request: has_model.then(|| raw("request_body")),
        body: if stream { line.text("response_body") } else { raw("response_body") },
    })
}

fn replay(recordings: &Arc<Vec<Recording>>, driver: Driver) {
    let served = Arc::clone(recordings);
    let vendor = Vendor::start(move |request| serve(&served, request));
    let config = format!(
        "version: '1'
providers:
  targets:
    - {{id: openai, provider: openai, base_url: '{0}', stream_usage: leave, secret_key_ref: {{env: OPENAI_API_KEY}}}}
    - {{id: anthropic, provider: anthropic, base_url: '{0}', secret_key_ref: {{env: ANTHROPIC_API_KEY}}}}
model_groups:
  - {{name: as-it-is, strategy: weighted, targets: [{{provider: openai, model: real-model, weight: 100}}]}}
  - {{name: translated, strategy: weighted, targets: [{{provider: anthropic, model: claude-x, weight: 100}}]}}
",
        vendor.url()
    );
    let gateway = Gateway::with(config).cores(2).driver(driver).start();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.client();
                while let Some(recording) = recordings.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = client.ask(ask(recording));
                    check(recording, &answer);
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
    assert_eq!((events.len(), requests.len()), (recordings.len(), recordings.len()));
    let events: HashMap<String, Event> = events.into_iter().map(|event| (event.text("request_id"), event)).collect();
    for recording in recordings.iter() {
        check_request(recording, &requests[&recording.id]);
        check_event(recording, &events[&recording.id]);
    }
}

/// The request in whose answer the recording is to come back, marked with its id.
fn ask(recording: &Recording) -> Vec<u8> {
    let group = if recording.anthropic { "translated" } else { "as-it-is" };
    let stream = if recording.stream { r#","stream":true,"stream_options":{"include_usage":true}"# } else { "" };
    let body = match &recording.request {
        Some(body) => asking(body, group),
        None => format!(r#"{{"model":"{group}","messages":[{{"role":"user","content":"Hi"}}]{stream}}}"#),
    };
    let id = &recording.id;
    let fields = [&*format!("X-Request-Id: {id}"), &format!("Idempotency-Key: {id}")];
    request("POST /v1/chat/completions", &fields, Some(body.as_bytes()))
}

/// The recorded request, asking for another model.
fn asking(body: &str, model: &str) -> String {
    let fields = raw_fields(body);
    let (_, at) = fields.iter().find(|(name, _)| *name == "model").expect("a chat completion has a model");
    format!("{}\"{model}\"{}", &body[..at.start], &body[at.end..])
}

/// The recorded answer, framed and cut as chance has it; the same chance for the same recording.
fn serve(recordings: &[Recording], request: &Received) -> Script {
    let id = request.field("idempotency-key").expect("it passes to vendors");
    let index: usize = id.split('-').next().and_then(|number| number.parse().ok()).expect("it begins with a number");
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

fn check_request(recording: &Recording, seen: &Received) {
    if let Some(body) = &recording.request {
        assert!(seen.body() == asking(body, "real-model"), "{}: the request came changed", recording.id);
    }
}

fn check(recording: &Recording, answer: &Answer) {
    let id = &recording.id;
    if !recording.anthropic {
        assert_eq!((answer.status, answer.end), (recording.status, End::Whole), "{id}: {answer:?}");
        assert!(answer.body == recording.body.as_bytes(), "{id}: the answer came changed: {answer:?}");
        return;
    }
    if recording.status >= 400 {
        answer.error(recording.status);
        let said = json(&recording.body).text("error.message");
        assert_eq!(answer.json().text("error.message"), said, "{id}");
        return;
    }
    let Some(text) = text_of(recording) else { return check_refused(recording, answer) };
    assert_eq!((answer.status, answer.end), (200, End::Whole), "{id}: {answer:?}");
    let got = if recording.stream {
        let mut events = answer.events();
        assert_eq!(events.pop().as_deref(), Some("[DONE]"), "{id}");
        let events: Vec<Json> = events.iter().map(json).collect();
        let contents = events.iter().filter_map(|event| event.find("choices.0.delta.content"));
        contents.filter(|content| !content.is_null("")).map(|content| content.text("")).collect()
    } else {
        let answer = answer.json();
        if answer.is_null("choices.0.message.content") {
            String::new()
        } else {
            answer.text("choices.0.message.content")
        }
    };
    assert_eq!(got, text, "{id}");
}

/// What the gateway can't carry it says so, rather than to leave something out.
fn check_refused(recording: &Recording, answer: &Answer) {
    match (recording.stream, answer.end) {
        (false, _) => assert_eq!(answer.error(502), "answer_not_understood", "{}", recording.id),
        (true, end) => {
            assert_eq!((answer.status, end), (200, End::Reset), "{}: {answer:?}", recording.id);
            let events = answer.events();
            assert!(!events.iter().any(|event| event == "[DONE]"), "{}", recording.id);
        }
    }
}

fn check_event(recording: &Recording, event: &Event) {
    let id = &recording.id;
    let understood = !recording.anthropic || recording.status >= 400 || text_of(recording).is_some();
    if !understood {
        assert_eq!((event.count("status"), event.text("error.side")), (502, "upstream".to_owned()), "{id}: {event:?}");
        return;
    }
    assert_eq!(event.count("status"), u64::from(recording.status), "{id}: {event:?}");
    let cost = if recording.anthropic { anthropic_cost(recording) } else { openai_cost(recording) };
    let said = Cost {
        prompt: event.count("usage.prompt_tokens"),
        completion: event.count("usage.completion_tokens"),
        total: event.count("usage.total_tokens"),
        cached: event.count("usage.cached_tokens"),
    };
    let source = if cost.is_some() { "provider" } else { "none" };
    assert_eq!((said, event.text("usage_source").as_str()), (cost.unwrap_or_default(), source), "{id}: {event:?}");
    assert_eq!(event.count("tokens"), event.count("usage.total_tokens"));
}

/// The data of a recorded stream's events, where they are JSON. The blank line behind the last one is missing here and
/// there, and nothing of the answer with it.
fn events_of(recording: &Recording) -> Vec<Json> {
    let stream = recording.body.replace("\r\n", "\n");
    let mut events = Vec::new();
    for event in stream.split("\n\n") {
        let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
        let data = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
        if data.starts_with('{') {
            events.push(json(data));
        }
    }
    events
}

/// The text of a recorded message; none if it has no end. What else is in it is held against the recording by the core's
/// own tests.
fn text_of(recording: &Recording) -> Option<String> {
    let text_in = |block: &Json| if block.text("type") == "text" { block.text("text") } else { String::new() };
    if !recording.stream {
        return Some(json(&recording.body).items("content").iter().map(text_in).collect());
    }
    let mut text = String::new();
    for event in events_of(recording) {
        match event.text("type").as_str() {
            "content_block_start" => text += &text_in(&event.at("content_block")),
            "content_block_delta" if event.text("delta.type") == "text_delta" => text += &event.text("delta.text"),
            "error" => return None,
            "message_stop" => return Some(text),
            _ => {}
        }
    }
    None
}

/// The last usage that the recording says.
fn openai_cost(recording: &Recording) -> Option<Cost> {
    if recording.status >= 400 {
        return None;
    }
    let answers = if recording.stream { events_of(recording) } else { vec![json(&recording.body)] };
    let mut usages = answers.iter().filter_map(|answer| {
        let usage = answer.find("usage").filter(|usage| usage.find("prompt_tokens").is_some());
        usage.or_else(|| answer.find("x_groq.usage"))
    });
    let usage = usages.next_back()?;
    let count = |path: &str| usage.find(path).filter(|count| !count.is_null("")).map_or(0, |count| count.count(""));
    let details = count("prompt_tokens_details.cached_tokens");
    let own_words = count("prompt_cache_hit_tokens").max(count("cached_tokens"));
    Some(Cost {
        prompt: count("prompt_tokens"),
        completion: count("completion_tokens"),
        total: if count("total_tokens") > 0 {
            count("total_tokens")
        } else {
            count("prompt_tokens") + count("completion_tokens")
        },
        cached: if details > 0 { details } else { own_words },
    })
}

/// What the recording's last word on each count comes to.
fn anthropic_cost(recording: &Recording) -> Option<Cost> {
    if recording.status >= 400 {
        return None;
    }
    let usages: Vec<Json> = if recording.stream {
        // Where several messages follow each other, the answer is the first.
        let mut events = events_of(recording);
        let end = events.iter().position(|event| event.text("type") == "message_stop");
        events.truncate(end.map_or(events.len(), |end| end + 1));
        events.iter().filter_map(|event| event.find("message.usage").or_else(|| event.find("usage"))).collect()
    } else {
        json(&recording.body).find("usage").into_iter().collect()
    };
    let last = |name: &str| {
        let mut said = usages.iter().filter_map(|usage| usage.find(name)).filter(|count| !count.is_null(""));
        said.next_back().map_or(0, |count| count.count(""))
    };
    let cached = last("cache_read_input_tokens");
    let prompt = last("input_tokens") + cached + last("cache_creation_input_tokens");
    let completion = last("output_tokens");
    (!usages.is_empty()).then_some(Cost { prompt, completion, total: prompt + completion, cached })
}
