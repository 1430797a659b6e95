//! Recorded streams, translated for the other vendor's clients, in random pieces.

use kt_core::dialect::{Crossing, Dialect, Translator, Wanted};
use kt_core::fault::{Fault, Kind};
use kt_core::sse::{Splitter, events};
use kt_core::tally::{Usage, UsageSource};
use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::answers::{Said, said_in};
use crate::schema::Schema;
use crate::{CROSSINGS, NAMING, Reasons, cut, data_of, endpoint, files, is, last_usage, name, parsed, records};
use crate::{schema_of, schemas, usage_of};

const STREAMED: Wanted = Wanted { stream: true, stream_usage: true, thinking: true, ..Wanted::WHOLE };

/// What came of a stream: what the client gets, the translator, and the fault that ended it.
struct Streamed {
    out: Vec<u8>,
    translator: Translator,
    fault: Option<Fault>,
    content_events: usize,
}

fn translate(crossing: Crossing, pieces: &[&[u8]]) -> Streamed {
    let translator = Translator::new(crossing, &NAMING, STREAMED);
    let mut done = Streamed { out: Vec::new(), translator, fault: None, content_events: 0 };
    let (mut buffer, mut splitter) = (Vec::new(), Splitter::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let whole = splitter.advance(&buffer);
        for event in events(&buffer[..whole]) {
            match done.translator.push(&event, &mut done.out) {
                Ok(note) => done.content_events += usize::from(note.content),
                Err(fault) => {
                    done.fault = Some(fault);
                    return done;
                }
            }
        }
        buffer.drain(..whole);
    }
    done.translator.conclude(&mut done.out);
    done
}

#[test]
fn recorded_streams_are_carried_alike_in_any_pieces() {
    let Some(schemas) = schemas() else { return };
    let mut dice = fastrand::Rng::with_seed(7);
    for crossing in CROSSINGS {
        let vendor = crossing.vendor();
        let (mut carried, mut torn, mut reasons) = (0, 0, Reasons::default());
        for record in records(files(vendor)).iter().filter(|record| is(record, endpoint(vendor), "sse")) {
            let stream = record.get_str("response_body").expect("a stream").as_bytes();
            let done = translate(crossing, &[stream]);
            for _ in 0..3 {
                let pieces = cut(stream, &mut dice);
                assert_eq!(translate(crossing, &pieces).out, done.out, "{}", name(record));
            }
            if let Some(fault) = done.fault {
                let known = matches!(fault.kind, Kind::AnswerNotUnderstood | Kind::VendorErrorInStream);
                assert!(known, "{}: {fault:?}", name(record));
                reasons.add(fault.detail.as_deref().unwrap_or_default());
                continue;
            }
            let theirs = data_of(stream);
            if theirs.iter().filter(|event| event.get_str("type") == Some("message_stop")).count() > 1 {
                // The answer that went out is the first of several.
                continue;
            }
            let (usage, source) = done.translator.usage();
            let last = last_usage(vendor, &theirs);
            if !done.translator.is_finished() {
                assert_eq!(usage, last.unwrap_or_default(), "{}", name(record));
                torn += 1;
                continue;
            }
            // A vendor that says nothing is counted at least.
            let counted = Usage::default().at_least(UsageSource::None, 0, done.content_events as u64);
            let due = last.map_or(counted, |last| (last, UsageSource::Provider));
            assert_eq!((usage, source), due, "{}", name(record));
            let ours = data_of(&done.out);
            check_framing(crossing.client(), &done.out, &ours, schema_of(&schemas, crossing.client()), name(record));
            let said = put_together(crossing.client(), &ours);
            assert_eq!(said, put_together(vendor, &theirs), "{}", name(record));
            assert!(said == Said::default() || done.content_events > 0);
            let told = usage_of(
                crossing.client(),
                ours.iter().filter_map(|event| event.get("usage")).reduce(|_, last| last).expect("usage"),
            );
            assert_eq!(told.completion_tokens, usage.completion_tokens, "{}", name(record));
            assert_eq!(told.prompt_tokens, usage.prompt_tokens, "{}", name(record));
            carried += 1;
        }
        let refused = reasons.total();
        eprintln!("{crossing:?}: {carried} streams carried, {torn} torn in the recording, {refused} refused for");
        reasons.tell();
        assert!(carried == 0 || refused * 20 < carried, "more than one in twenty is refused");
    }
}

/// What clients demand of a stream, whatever is in it.
fn check_framing(client: Dialect, out: &[u8], events: &[OwnedValue], schema: &Schema, name: &str) {
    let kind = match client {
        Dialect::OpenAi => "CreateChatCompletionStreamResponse",
        Dialect::Anthropic => "RawMessageStreamEvent",
    };
    for event in events.iter().filter(|event| event.get_str("type") != Some("ping")) {
        let errors = schema.errors(kind, event);
        assert!(errors.is_empty(), "{name}: {errors:?} {}", event.encode());
    }
    match client {
        Dialect::OpenAi => {
            assert!(out.ends_with(b"data: [DONE]\n\n"), "{name}");
            let deltas: Vec<&OwnedValue> =
                events.iter().filter_map(|chunk| chunk.get("choices")?.get_idx(0)?.get("delta")).collect();
            let roles: Vec<bool> = deltas.iter().map(|delta| delta.get("role").is_some()).collect();
            assert_eq!(roles.iter().position(|&role| role), Some(0), "{name}: the role comes first");
            assert_eq!(roles.iter().filter(|&&role| role).count(), 1, "{name}: the role comes once");
            let calls = deltas.iter().filter_map(|delta| delta.get_array("tool_calls")).flatten();
            let mut begun = 0;
            for call in calls {
                let index = call.get_u64("index").expect("an index");
                let (new, whole) = (call.get("id").is_some(), call.get_str("type") == Some("function"));
                assert_eq!((index, new), (if new { begun } else { begun - 1 }, whole), "{name}: counted without gaps");
                begun += u64::from(new);
            }
            let finishes = events.iter().filter(|chunk| {
                let choice = chunk.get("choices").and_then(|choices| choices.get_idx(0));
                choice.is_some_and(|choice| choice.get_str("finish_reason").is_some())
            });
            assert_eq!(finishes.count(), 1, "{name}");
            let last = events.last().expect("events");
            assert!(last.get_array("choices").is_some_and(Vec::is_empty) && last.get("usage").is_some(), "{name}");
        }
        Dialect::Anthropic => {
            let mut open = None;
            let mut next = 0;
            for event in events {
                let index = event.get_u64("index");
                match event.get_str("type").expect("a type") {
                    "content_block_start" => {
                        assert_eq!((open, index), (None, Some(next)), "{name}");
                        open = index;
                        next += 1;
                    }
                    "content_block_delta" => assert!(open.is_some() && open == index, "{name}"),
                    "content_block_stop" => {
                        assert!(open.is_some() && open == index, "{name}");
                        open = None;
                    }
                    "ping" => {}
                    _ => assert_eq!(open, None, "{name}"),
                }
            }
            let types: Vec<&str> = events.iter().filter_map(|event| event.get_str("type")).collect();
            assert_eq!(types.first(), Some(&"message_start"), "{name}");
            assert!(types.ends_with(&["message_delta", "message_stop"]), "{name}");
            for event in kt_core::sse::events(out) {
                let kind = event.event.map(|kind| String::from_utf8_lossy(kind).into_owned());
                let data = parsed(&event.data.expect("data"));
                assert_eq!(kind.as_deref(), data.get_str("type"), "{name}");
            }
        }
    }
}

/// What a client puts together of a stream, each in the way of its own language.
fn put_together(dialect: Dialect, events: &[OwnedValue]) -> Said {
    match dialect {
        Dialect::OpenAi => {
            let (mut said, mut calls): (Said, Vec<(String, String, String)>) = Default::default();
            let mut indexes: Vec<u64> = Vec::new();
            let deltas = events.iter().filter_map(|chunk| chunk.get("choices")?.get_idx(0)?.get("delta"));
            for delta in deltas {
                let text = |name: &str| delta.get_str(name).unwrap_or_default();
                said.text.push_str(text("content"));
                for piece in delta.get_array("content").into_iter().flatten() {
                    said.text.push_str(piece.get_str("text").unwrap_or_default());
                    for thought in piece.get_array("thinking").into_iter().flatten() {
                        said.thought.push_str(thought.get_str("text").unwrap_or_default());
                    }
                }
                said.text.push_str(text("refusal"));
                let thought = [text("reasoning_content"), text("reasoning")].into_iter().find(|text| !text.is_empty());
                said.thought.push_str(thought.unwrap_or_default());
                for call in delta.get_array("tool_calls").into_iter().flatten() {
                    let index = call.get_u64("index").expect("an index");
                    let nth = indexes.iter().position(|seen| *seen == index).unwrap_or(indexes.len());
                    if nth == indexes.len() {
                        indexes.push(index);
                        calls.push(Default::default());
                    }
                    once(&mut calls[nth].0, call.get_str("id"));
                    if let Some(function) = call.get("function") {
                        once(&mut calls[nth].1, function.get_str("name"));
                        calls[nth].2.push_str(function.get_str("arguments").unwrap_or_default());
                    }
                }
            }
            said.calls = calls.into_iter().map(arguments_read).collect();
            said
        }
        Dialect::Anthropic => {
            let mut blocks: Vec<(OwnedValue, String)> = Vec::new();
            for event in events {
                match event.get_str("type") {
                    Some("content_block_start") => {
                        blocks.push((event.get("content_block").expect("a block").clone(), String::new()));
                    }
                    Some("content_block_delta") => {
                        let (_, text) = blocks.last_mut().expect("an open block");
                        let delta = event.get("delta").expect("a delta");
                        let pieces = ["text", "thinking", "partial_json"].iter();
                        text.push_str(pieces.filter_map(|name| delta.get_str(*name)).next().unwrap_or_default());
                    }
                    _ => {}
                }
            }
            let mut said = Said::default();
            for (block, text) in blocks {
                let field = |name: &str| block.get_str(name).unwrap_or_default();
                match field("type") {
                    "text" => said.text.push_str(&[field("text"), &text].concat()),
                    "thinking" => said.thought.push_str(&[field("thinking"), &text].concat()),
                    "tool_use" => {
                        said.calls.push(arguments_read((field("id").to_owned(), field("name").to_owned(), text)));
                    }
                    _ => {}
                }
            }
            said
        }
    }
}

/// Vendors are recorded that say a name in every piece.
fn once(name: &mut String, said: Option<&str>) {
    if let Some(said) = said.filter(|said| *said != name) {
        name.push_str(said);
    }
}

/// A call with its arguments as a value; what is no JSON, since it was cut off, stays text.
fn arguments_read((id, name, arguments): (String, String, String)) -> (String, String, OwnedValue) {
    let arguments = if arguments.is_empty() { "{}".to_owned() } else { arguments };
    let value = simd_json::to_owned_value(&mut arguments.clone().into_bytes());
    (id, name, value.unwrap_or_else(|_| OwnedValue::from(arguments)))
}

#[test]
fn the_helpers_put_streams_together_as_whole_answers_say_it() {
    let stream = r#"[{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}},
        {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}]"#;
    let whole = parsed(br#"{"content":[{"type":"text","text":"ab"}]}"#);
    let events = parsed(stream.as_bytes());
    assert_eq!(put_together(Dialect::Anthropic, events.as_array().unwrap()), said_in(Dialect::Anthropic, &whole));
}
