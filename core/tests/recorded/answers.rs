//! Recorded answers and errors, translated for the other vendor's clients.

use kt_core::dialect::{Dialect, Wanted, translate_answer, translate_error};
use kt_core::fault::Kind;
use kt_core::tally::{Usage, UsageSource};
use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::{
    CROSSINGS, NAMING, Reasons, endpoint, files, is, is_good, name, parsed, records, schema_of, schemas, usage_of,
};

#[test]
fn recorded_answers_are_carried_or_refused_by_name() {
    let Some(schemas) = schemas() else { return };
    for crossing in CROSSINGS {
        let (vendor, client) = (crossing.vendor(), crossing.client());
        let (mut carried, mut reasons) = (0, Reasons::default());
        for record in records(files(vendor)).iter().filter(|record| is(record, endpoint(vendor), "json")) {
            let body = record.get("response_body").expect("a body");
            let (text, mut out) = (body.encode(), Vec::new());
            let schema = schema_of(&schemas, client);
            if !is_good(record) {
                let status = u16::try_from(record.get_u64("status").expect("a status")).expect("a status");
                translate_error(crossing, status, text.as_bytes(), &mut out);
                let errors = schema.errors("ErrorResponse", &parsed(&out));
                assert!(errors.is_empty(), "{}: {errors:?}", name(record));
                let message = |body: &OwnedValue| Some(body.get("error")?.get_str("message")?.to_owned());
                if let Some(theirs) = message(body) {
                    assert_eq!(message(&parsed(&out)), Some(theirs), "{}", name(record));
                }
                continue;
            }
            let wanted = Wanted { thinking: true, ..Wanted::WHOLE };
            match translate_answer(crossing, text.as_bytes(), &NAMING, wanted, &mut out) {
                Ok(said) => {
                    let answer = parsed(&out);
                    let kind = match client {
                        Dialect::OpenAi => "CreateChatCompletionResponse",
                        Dialect::Anthropic => "Message",
                    };
                    let errors = schema.errors(kind, &answer);
                    assert!(errors.is_empty(), "{}: {errors:?} {}", name(record), answer.encode());
                    let mut theirs = said_in(vendor, body);
                    // A call without an id gets one.
                    for (nth, (id, _, _)) in theirs.calls.iter_mut().enumerate().filter(|(_, call)| call.0.is_empty()) {
                        *id = format!("call_{nth}");
                    }
                    assert_eq!(said_in(client, &answer), theirs, "{}", name(record));
                    if let Some(usage) = body.get("usage").filter(|usage| usage.is_object()) {
                        assert_eq!(said.usage, usage_of(vendor, usage), "{}", name(record));
                        assert_eq!(said.usage_source, UsageSource::Provider);
                        let told = usage_of(client, answer.get("usage").expect("usage"));
                        // OpenAI's total is a number of its own, which Anthropic's answer has no place for, and OpenAI's
                        // has none for how long a cache lives.
                        let same = |usage| Usage { total_tokens: 0, cache_write_1h_tokens: 0, ..usage };
                        // Vendors are recorded whose prompt doesn't hold what was cached, or not what was both read and written.
                        if said.usage.cached_tokens + said.usage.cache_write_tokens <= said.usage.prompt_tokens {
                            assert_eq!(same(told), same(said.usage), "{}", name(record));
                        }
                    }
                    let model = body.get_str("model").filter(|model| !model.is_empty());
                    assert_eq!(said.model.as_deref(), model, "{}", name(record));
                    carried += 1;
                }
                Err(fault) => {
                    let known = matches!(fault.kind, Kind::AnswerNotUnderstood | Kind::VendorErrorInAnswer);
                    assert!(known && out.is_empty(), "{}: {fault:?}", name(record));
                    reasons.add(fault.detail.as_deref().unwrap_or_default());
                }
            }
        }
        let refused = reasons.total();
        eprintln!("{crossing:?}: {carried} whole answers carried, {refused} refused for");
        reasons.tell();
        assert!(carried == 0 || refused * 20 < carried, "more than one in twenty is refused");
    }
}

/// What an answer says in either language: text and refusal, tool calls with their arguments, thoughts.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) calls: Vec<(String, String, OwnedValue)>,
    pub(crate) thought: String,
}

pub(crate) fn said_in(dialect: Dialect, answer: &OwnedValue) -> Said {
    let mut said = Said::default();
    match dialect {
        Dialect::OpenAi => {
            let Some(message) = answer.get("choices").and_then(|choices| choices.get_idx(0)?.get("message")) else {
                return said;
            };
            let text = |name: &str| message.get_str(name).unwrap_or_default();
            said.text = text("content").to_owned();
            for piece in message.get_array("content").into_iter().flatten() {
                said.text.push_str(piece.get_str("text").unwrap_or_default());
                for thought in piece.get_array("thinking").into_iter().flatten() {
                    said.thought.push_str(thought.get_str("text").unwrap_or_default());
                }
            }
            said.text.push_str(text("refusal"));
            let thought = [text("reasoning_content"), text("reasoning")].into_iter().find(|text| !text.is_empty());
            said.thought.push_str(thought.unwrap_or_default());
            for call in message.get_array("tool_calls").into_iter().flatten() {
                let Some(function) = call.get("function") else { continue };
                let field = |value: &OwnedValue, name: &str| value.get_str(name).unwrap_or_default().to_owned();
                let arguments = field(function, "arguments");
                let arguments = if arguments.is_empty() { "{}".to_owned() } else { arguments };
                said.calls.push((field(call, "id"), field(function, "name"), parsed(arguments.as_bytes())));
            }
        }
        Dialect::Anthropic => {
            for block in answer.get_array("content").into_iter().flatten() {
                let field = |name: &str| block.get_str(name).unwrap_or_default();
                match field("type") {
                    "text" => said.text.push_str(field("text")),
                    "thinking" => said.thought.push_str(field("thinking")),
                    "tool_use" => {
                        let input = block.get("input").cloned().unwrap_or_default();
                        said.calls.push((field("id").to_owned(), field("name").to_owned(), input));
                    }
                    _ => {}
                }
            }
            if answer.get_str("stop_reason") == Some("refusal") {
                let why = answer.get("stop_details").and_then(|details| details.get_str("explanation"));
                said.text.push_str(why.unwrap_or_default());
            }
        }
    }
    said
}
