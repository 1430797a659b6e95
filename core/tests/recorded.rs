//! Translators and onlookers on recorded traffic of real vendors (`KT_CORPUS/provider-traffic`): what can be translated
//! says the same, everything else is a clean fault, and the tokens are those that the vendor counted.

use std::path::PathBuf;

use kt_core::config::plan::{Provider, StreamUsage};
use kt_core::dialect::{Crossing, Dialect, Look, Naming, Recipient, Translated, Translator, Wanted};
use kt_core::dialect::{translate_answer, translate_error, translate_request, usage};
use kt_core::fault::{Fault, Kind};
use kt_core::json::Watch;
use kt_core::sse::{Splitter, events};
use kt_core::tally::{Usage, UsageSource};
use simd_json::prelude::*;
use simd_json::{OwnedValue, to_owned_value};

const CROSSING: Crossing = Crossing::OpenAiToAnthropic;
const RECIPIENT: Recipient<'_> =
    Recipient { provider: Provider::Anthropic, model: "the-model", stream_usage: StreamUsage::Leave };
const NAMING: Naming<'_> = Naming { id: "chatcmpl-1", created: 1_700_000_000, model: "the-model" };
const STREAMED: Wanted = Wanted { stream: true, stream_usage: true };

/// The records of these files; none, said on stderr, where the corpus isn't.
fn records(files: &[&str]) -> Vec<OwnedValue> {
    let Some(corpus) = std::env::var_os("KT_CORPUS") else {
        let forbidden = std::env::var("KT_NO_SKIP").is_ok_and(|what| what.contains("corpus"));
        assert!(!forbidden, "KT_CORPUS is not set, and KT_NO_SKIP wants the corpus");
        eprintln!("SKIPPED: KT_CORPUS is not set");
        return Vec::new();
    };
    let mut records = Vec::new();
    for file in files {
        let path = PathBuf::from(&corpus).join("provider-traffic").join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        records.extend(text.lines().map(|line| parsed(line.as_bytes())));
    }
    assert!(!records.is_empty(), "the corpus is empty");
    records
}

fn parsed(json: &[u8]) -> OwnedValue {
    to_owned_value(&mut json.to_vec()).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(json)))
}

fn is(record: &OwnedValue, endpoint: &str, kind: &str) -> bool {
    record.get_str("endpoint") == Some(endpoint) && record.get_str("response_kind") == Some(kind)
}

fn name(record: &OwnedValue) -> &str {
    record.get_str("id").unwrap_or("?")
}

fn is_good(record: &OwnedValue) -> bool {
    record.get_u64("status") == Some(200)
}

fn count(object: &OwnedValue, path: &[&str]) -> u64 {
    path.iter().try_fold(object, |value, step| value.get(*step)).and_then(ValueAsScalar::as_u64).unwrap_or(0)
}

/// Takes Anthropic's counts apart, independently of the product.
fn anthropic_usage(usage: &OwnedValue) -> Usage {
    let cached_tokens = count(usage, &["cache_read_input_tokens"]);
    let cache_write_tokens = count(usage, &["cache_creation_input_tokens"]);
    let prompt_tokens = count(usage, &["input_tokens"]) + cached_tokens + cache_write_tokens;
    let completion_tokens = count(usage, &["output_tokens"]);
    Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: prompt_tokens + completion_tokens,
        cached_tokens,
        cache_write_tokens,
        cache_write_1h_tokens: count(usage, &["cache_creation", "ephemeral_1h_input_tokens"]),
        reasoning_tokens: count(usage, &["output_tokens_details", "thinking_tokens"]),
    }
}

/// The text of an answer of which every block is text that cites nothing.
fn plain_text<'a>(blocks: impl Iterator<Item = &'a OwnedValue>) -> Option<String> {
    blocks
        .map(|block| {
            let cites = block.get_array("citations").is_some_and(|list| !list.is_empty());
            let plain = block.get_str("type") == Some("text") && !cites;
            plain.then(|| block.get_str("text").unwrap_or_default())
        })
        .collect()
}

#[test]
fn recorded_answers_are_translated_or_refused() {
    let (mut translated, mut refused) = (0, 0);
    for record in records(&["anthropic.messages.jsonl", "response-only.jsonl"]) {
        if !is(&record, "messages", "json") {
            continue;
        }
        let body = record.get("response_body").expect("a body");
        let (text, mut out) = (body.encode(), Vec::new());
        if !is_good(&record) {
            let status = u16::try_from(record.get_u64("status").expect("a status")).expect("a status");
            translate_error(CROSSING, status, text.as_bytes(), &mut out);
            let theirs = body.get("error").and_then(|error| error.get_str("message"));
            assert_eq!(parsed(&out).get("error").and_then(|error| error.get_str("message")), theirs);
            continue;
        }
        let plain = body.get_array("content").and_then(|blocks| plain_text(blocks.iter()));
        match (translate_answer(CROSSING, text.as_bytes(), &NAMING, Wanted::default(), &mut out), plain) {
            (Ok(said), Some(plain)) => {
                let message =
                    parsed(&out).get("choices").and_then(|choices| choices.get_idx(0)?.get("message").cloned());
                assert_eq!(
                    message.as_ref().and_then(|message| message.get_str("content")),
                    Some(&*plain),
                    "{}",
                    name(&record)
                );
                if let Some(usage) = body.get("usage") {
                    assert_eq!(said.usage, anthropic_usage(usage), "{}", name(&record));
                    assert_eq!(said.usage_source, UsageSource::Provider);
                }
                assert_eq!(said.model.as_deref(), body.get_str("model"));
                translated += 1;
            }
            (Err(fault), None) => {
                assert_eq!(fault.kind, Kind::AnswerNotUnderstood, "{}", name(&record));
                assert!(out.is_empty());
                refused += 1;
            }
            (result, plain) => panic!("{}: {result:?} of {plain:?}", name(&record)),
        }
    }
    eprintln!("whole answers of Anthropic: {translated} translated, {refused} refused");
}

/// What came of a stream: what the client gets, the translator, and the fault that ended it.
struct Streamed {
    out: Vec<u8>,
    translator: Translator,
    fault: Option<Fault>,
    content_events: usize,
}

fn translate_stream(pieces: &[&[u8]]) -> Streamed {
    let mut done = Streamed {
        out: Vec::new(),
        translator: Translator::new(CROSSING, &NAMING, STREAMED),
        fault: None,
        content_events: 0,
    };
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
    done
}

/// The stream cut into pieces of 1 to 40 bytes.
fn cut<'a>(stream: &'a [u8], dice: &mut fastrand::Rng) -> Vec<&'a [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), stream);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(dice.usize(1..=40.min(rest.len())));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// The data of a stream's events that is JSON.
fn data_of(stream: &[u8]) -> Vec<OwnedValue> {
    let whole = Splitter::new().advance(stream);
    let data = events(&stream[..whole]).filter_map(|event| event.data.map(|data| data.into_owned()));
    data.filter_map(|mut data| to_owned_value(&mut data).ok()).collect()
}

fn recorded_stream(record: &OwnedValue) -> &[u8] {
    record.get_str("response_body").expect("a stream").as_bytes()
}

#[test]
fn recorded_streams_are_translated_or_refused_the_same_across_any_split() {
    let mut dice = fastrand::Rng::with_seed(7);
    let (mut translated, mut refused, mut torn) = (0, 0, 0);
    for record in records(&["anthropic.messages.jsonl", "response-only.jsonl"]) {
        if !is(&record, "messages", "sse") {
            continue;
        }
        let stream = recorded_stream(&record);
        let whole = translate_stream(&[stream]);
        for pieces in [cut(stream, &mut dice), stream.chunks(1).collect()] {
            assert_eq!(translate_stream(&pieces).out, whole.out, "{}", name(&record));
        }
        let theirs = data_of(stream);
        let ours = data_of(&whole.out);
        match plain_deltas(&theirs) {
            None => {
                assert_eq!(whole.fault.map(|fault| fault.kind), Some(Kind::AnswerNotUnderstood), "{}", name(&record));
                assert!(ours.last().is_some_and(|event| event.contains_key("error")), "{}", name(&record));
                refused += 1;
            }
            Some(text) => {
                assert_eq!(whole.fault, None, "{}", name(&record));
                assert_eq!(text_of(&ours), text, "{}", name(&record));
                let (usage, source) = whole.translator.usage();
                assert_eq!(usage, last_usage(&theirs), "{}", name(&record));
                assert!(text.is_empty() || whole.content_events > 0);
                if whole.translator.is_finished() {
                    assert_eq!(source, UsageSource::Provider);
                    assert!(whole.out.ends_with(b"data: [DONE]\n\n"));
                    translated += 1;
                } else {
                    torn += 1;
                }
            }
        }
    }
    eprintln!("streams of Anthropic: {translated} translated, {refused} refused, {torn} torn in the recording");
}

/// The text of a stream in which nothing but text comes.
fn plain_deltas(events: &[OwnedValue]) -> Option<String> {
    let mut text = String::new();
    for event in events {
        let piece = match event.get_str("type") {
            Some("content_block_start") => event.get("content_block")?,
            Some("content_block_delta") => event.get("delta")?,
            _ => continue,
        };
        match piece.get_str("type") {
            Some("text" | "text_delta") => text.push_str(piece.get_str("text").unwrap_or_default()),
            _ => return None,
        }
    }
    Some(text)
}

/// The text that an OpenAI client puts together.
fn text_of(chunks: &[OwnedValue]) -> String {
    let delta =
        |chunk: &OwnedValue| chunk.get("choices")?.get_idx(0)?.get("delta")?.get_str("content").map(str::to_owned);
    chunks.iter().filter_map(delta).collect()
}

fn last_usage(events: &[OwnedValue]) -> Usage {
    let mut last = OwnedValue::object();
    let usages = events.iter().filter_map(|event| event.get("usage").or_else(|| event.get("message")?.get("usage")));
    for (field, value) in usages.filter_map(OwnedValue::as_object).flatten().filter(|(_, value)| !value.is_null()) {
        last.try_insert(field.as_str(), value.clone());
    }
    anthropic_usage(&last)
}

#[test]
fn recorded_requests_are_translated_or_refused() {
    let (mut translated, mut refused) = (0, 0);
    for record in records(&["openai.chat.jsonl", "openai-compatible.chat.jsonl"]) {
        let Some(body) = record.get("request_body").filter(|body| body.is_object()) else { continue };
        let mut out = Vec::new();
        match translate_request(CROSSING, &RECIPIENT, body.encode().as_bytes(), &mut out) {
            Ok(Translated { wanted, .. }) => {
                let request = parsed(&out);
                assert_eq!(request.get_str("model"), Some("the-model"));
                assert_eq!(request.get_bool("stream").unwrap_or(false), wanted.stream);
                assert_eq!(texts_of(&request), texts_of(body), "{}", name(&record));
                translated += 1;
            }
            Err(fault) => {
                assert!(
                    matches!(fault.kind, Kind::NotExpressible | Kind::InvalidField),
                    "{}: {fault:?}",
                    name(&record)
                );
                assert!(out.is_empty());
                refused += 1;
            }
        }
    }
    eprintln!("requests in OpenAI's language: {translated} translated, {refused} refused");
}

/// Every text of a request's conversation, those of the system first.
fn texts_of(request: &OwnedValue) -> Vec<String> {
    let (mut system, mut said) = (Vec::new(), Vec::new());
    push_texts(request.get("system"), &mut system);
    for message in request.get_array("messages").into_iter().flatten() {
        let operator = matches!(message.get_str("role"), Some("system" | "developer"));
        push_texts(message.get("content"), if operator { &mut system } else { &mut said });
    }
    system.append(&mut said);
    system
}

fn push_texts(content: Option<&OwnedValue>, texts: &mut Vec<String>) {
    let parts = content.and_then(OwnedValue::as_array).into_iter().flatten().filter_map(|part| part.get_str("text"));
    let texts_here = content.and_then(ValueAsScalar::as_str).into_iter().chain(parts);
    texts.extend(texts_here.filter(|text| !text.is_empty()).map(str::to_owned));
}

/// Takes OpenAI's counts apart, independently of the product.
fn openai_usage(usage: &OwnedValue) -> Usage {
    let (prompt_tokens, completion_tokens) = (count(usage, &["prompt_tokens"]), count(usage, &["completion_tokens"]));
    let cached = [&["prompt_tokens_details", "cached_tokens"][..], &["prompt_cache_hit_tokens"], &["cached_tokens"]];
    Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: usage.get_u64("total_tokens").unwrap_or(prompt_tokens + completion_tokens),
        cached_tokens: cached.iter().map(|path| count(usage, path)).find(|&tokens| tokens > 0).unwrap_or(0),
        cache_write_tokens: count(usage, &["prompt_tokens_details", "cache_write_tokens"]),
        cache_write_1h_tokens: 0,
        reasoning_tokens: count(usage, &["completion_tokens_details", "reasoning_tokens"]),
    }
}

const OPENAI_FILES: [&str; 3] = ["openai.chat.jsonl", "openai-compatible.chat.jsonl", "response-only.jsonl"];

#[test]
fn the_last_usage_seen_in_a_passing_stream_is_the_recorded_one() {
    let (mut with_usage, mut without) = (0, 0);
    for record in records(&OPENAI_FILES) {
        if !is(&record, "chat.completions", "sse") {
            continue;
        }
        let stream = recorded_stream(&record);
        let (mut last, mut content, mut model) = (None, false, None);
        let mut look = Look::new(Dialect::OpenAi);
        for event in events(&stream[..Splitter::new().advance(stream)]) {
            let seen = look.at(&event);
            last = seen.usage.or(last);
            content |= seen.content;
            model = model.or(seen.model.map(|model| model.into_owned()));
        }
        let chunks = data_of(stream);
        let usages = chunks.iter().filter_map(|chunk| {
            chunk.get("usage").or_else(|| chunk.get("x_groq")?.get("usage")).filter(|usage| usage.is_object())
        });
        assert_eq!(last, usages.last().map(openai_usage), "{}", name(&record));
        assert!(content || text_of(&chunks).is_empty(), "{}", name(&record));
        let named = chunks.iter().find_map(|chunk| chunk.get_str("model").filter(|model| !model.is_empty()));
        assert_eq!(model.as_deref(), named, "{}", name(&record));
        if last.is_some() { with_usage += 1 } else { without += 1 }
    }
    eprintln!("streams in OpenAI's language: {with_usage} with usage, {without} without");
}

#[test]
fn the_usage_watched_in_a_passing_answer_is_the_recorded_one() {
    let mut dice = fastrand::Rng::with_seed(7);
    let mut seen = 0;
    for record in records(&OPENAI_FILES) {
        if !is(&record, "chat.completions", "json") {
            continue;
        }
        let body = record.get("response_body").expect("a body");
        let text = body.encode();
        let mut watch = Watch::new(&["usage", "model"], 4_096);
        for piece in cut(text.as_bytes(), &mut dice) {
            watch.push(piece);
        }
        let recorded = body.get("usage").filter(|usage| usage.is_object()).map(openai_usage);
        let watched = watch.captured("usage").and_then(|object| usage(Dialect::OpenAi, object));
        assert_eq!(watched, recorded, "{}", name(&record));
        seen += usize::from(watched.is_some());
    }
    eprintln!("answers in OpenAI's language: {seen} with usage");
}
