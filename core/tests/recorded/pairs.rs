//! Pairs of the same call, made by one library once in each protocol, and round trips: what one says in its own language
//! is what the translation of the other says.

use kt_core::dialect::{Crossing, Dialect, Wanted, translate_answer, translate_request};
use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::neutral::{Item, Request, Tool, finish, request};
use crate::{CROSSINGS, NAMING, name, parsed, recipient, records};

fn key(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => "openai",
        Dialect::Anthropic => "anthropic",
    }
}

/// The translation of a request, and whether something was lost on its way; none where it is refused.
fn translated(crossing: Crossing, body: &OwnedValue) -> Option<(OwnedValue, bool)> {
    let mut out = Vec::new();
    let done = translate_request(crossing, &recipient(crossing), body.encode().as_bytes(), &mut out).ok()?;
    Some((parsed(&out), !done.report.is_empty() || done.wanted.json_tool))
}

/// Whether the library asks for structured output, which it does in another way in each protocol.
fn asks_for_a_form(body: &OwnedValue) -> bool {
    let fields = ["response_format", "output_config", "output_format"];
    let tool = body.get_array("tools").into_iter().flatten().any(|tool| {
        let named = tool.get_str("name").or_else(|| tool.get("function")?.get_str("name"));
        named.is_some_and(|name| name.contains("formatted_output"))
    });
    tool || fields.iter().any(|field| body.get(*field).is_some())
}

/// What the two requests of a pair have to have in common: ids and parameters are each vendor's own.
#[derive(Debug, PartialEq)]
struct Common {
    system: Vec<String>,
    turns: Vec<(String, Vec<Item>)>,
    tools: Vec<Tool>,
    stream: bool,
}

fn common(request: Request) -> Common {
    let unnamed = |item| match item {
        Item::Call(_, name, input) => Item::Call(String::new(), name, input),
        Item::Result(_, text) => Item::Result(String::new(), text),
        item @ (Item::Text(_) | Item::Media(_)) => item,
    };
    let turns = request.turns.into_iter().map(|(role, turn)| (role, turn.into_iter().map(unnamed).collect()));
    let tools = request.tools.into_iter().map(|(name, description, schema)| (name, description, opened(&schema)));
    Common { system: request.system, turns: turns.collect(), tools: tools.collect(), stream: request.stream }
}

/// A schema without the words that close its objects: libraries close them for OpenAI alone.
fn opened(schema: &OwnedValue) -> OwnedValue {
    if let Some(fields) = schema.as_object() {
        let fields = fields.iter().filter(|(name, _)| *name != "additionalProperties");
        return OwnedValue::from_iter(fields.map(|(name, value)| (name.clone(), opened(value))));
    }
    match schema.as_array() {
        Some(items) => items.iter().map(opened).collect(),
        None => schema.clone(),
    }
}

#[test]
fn the_same_call_in_each_protocol_is_the_translation_of_the_other() {
    let pairs = records(&["pairs.openai-anthropic.jsonl"]);
    for crossing in CROSSINGS {
        let (mut alike, mut of_a_form) = (0, 0);
        for pair in &pairs {
            let body = |dialect| pair.get(key(dialect)).and_then(|side| side.get("request_body")).expect("a request");
            let (own, theirs) = (body(crossing.client()), body(crossing.vendor()));
            if asks_for_a_form(own) || asks_for_a_form(theirs) {
                of_a_form += 1;
                continue;
            }
            let (ours, _) = translated(crossing, own).unwrap_or_else(|| panic!("{} is refused", name(pair)));
            let said = common(request(crossing.vendor(), &ours));
            assert_eq!(said, common(request(crossing.vendor(), theirs)), "{crossing:?} {}", name(pair));
            alike += 1;
        }
        eprintln!("{crossing:?}: {alike} pairs alike, {of_a_form} ask for a form in two ways");
        assert!(pairs.is_empty() || alike >= 50);
    }
}

#[test]
fn the_answers_of_pairs_end_and_cost_the_same_in_the_other_language() {
    for crossing in CROSSINGS {
        let (vendor, client) = (crossing.vendor(), crossing.client());
        for pair in records(&["pairs.openai-anthropic.jsonl"]) {
            let side = pair.get(key(vendor)).expect("a side");
            if side.get_u64("status") != Some(200) || side.get_str("response_kind") != Some("json") {
                continue;
            }
            let body = side.get("response_body").expect("a body");
            let mut out = Vec::new();
            let said = translate_answer(crossing, body.encode().as_bytes(), &NAMING, Wanted::WHOLE, &mut out);
            let said = said.unwrap_or_else(|fault| panic!("{}: {fault:?}", name(&pair)));
            assert_eq!(finish(client, &parsed(&out)), finish(vendor, body), "{}", name(&pair));
            assert_eq!(said.usage, crate::usage_of(vendor, body.get("usage").expect("usage")), "{}", name(&pair));
        }
    }
}

#[test]
fn a_request_that_lost_nothing_comes_back_as_it_was() {
    for crossing in CROSSINGS {
        let back = CROSSINGS.into_iter().find(|other| *other != crossing).expect("the other one");
        let files: &[&str] = match crossing.client() {
            Dialect::OpenAi => &["openai.chat.jsonl", "openai-compatible.chat.jsonl"],
            Dialect::Anthropic => &["anthropic.messages.jsonl"],
        };
        let mut same = 0;
        for record in records(files) {
            let Some(body) = record.get("request_body").filter(|body| body.is_object()) else { continue };
            let Some((there, lost)) = translated(crossing, body) else { continue };
            let Some((home, lost_again)) = translated(back, &there) else { panic!("{} can't return", name(&record)) };
            if lost || lost_again || asks_for_a_form(body) || body.get("functions").is_some() {
                continue;
            }
            let mut was = request(crossing.client(), body);
            let is = request(crossing.client(), &home);
            // Anthropic must have a length, and a choice among no tools is none.
            was.max_tokens = was.max_tokens.or(is.max_tokens);
            if was.tools.is_empty() {
                (was.choice, was.parallel) = ("auto".to_owned(), true);
            }
            assert_eq!(is, was, "{crossing:?} {}", name(&record));
            same += 1;
        }
        eprintln!("{crossing:?}: {same} requests came back as they were");
    }
}
