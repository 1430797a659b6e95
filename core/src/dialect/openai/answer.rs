//! Whole answers of chat completions: reading a vendor's, writing a client's. The mirror image of
//! [`anthropic::answer`](super::super::anthropic).

use std::borrow::Cow;

use super::super::chat::{Answer, Call, Literal, Naming, Part, Stop, Thought, Wanted};
use super::super::path::{Path, shown};
use super::super::print::{Object, joined_literal, object};
use super::write::{call, thought, write_call};
use super::{finish_reason, read_finish, read_tier, read_usage, tier, write_usage};
use crate::fault::{Fault, Phase};
use crate::json::{self, Scratch, Value, escape_into, scan};

/// Reads a whole answer.
///
/// # Errors
///
/// `AnswerNotUnderstood`, with the path of what is not as documented, or has no place in Anthropic's answer;
/// `VendorErrorInAnswer` where the vendor says under a good status that it failed.
pub(in super::super) fn read_answer<'a>(body: Value<'a>, wanted: Wanted) -> Result<Answer<'a>, Fault> {
    let root = Path::Root;
    if body.get("error").is_some_and(|error| !error.is_null()) {
        let error = super::error_of(body);
        let said = error.message.or(error.code).or(error.kind).unwrap_or_default().into_owned();
        return Err(Fault::with(crate::fault::Kind::VendorErrorInAnswer, Phase::Stream, said));
    }
    let choices = root.field("choices");
    let mut list = body.get("choices").map(Value::items).ok_or_else(|| choices.strange("is missing"))?;
    let choice = list.next().ok_or_else(|| choices.strange("is empty"))?;
    if list.next().is_some() {
        return Err(choices.strange("has more than the one that was asked for"));
    }
    let at = choices.item(0);
    let at_message = at.field("message");
    let message = choice.get("message").ok_or_else(|| at_message.strange("is missing"))?;
    let at_reason = at.field("finish_reason");
    let mut stop = match choice.get("finish_reason").and_then(Value::to_str).as_deref() {
        // Vendors are known that give none: the answer is whole all the same.
        None | Some("") => Stop::EndOfTurn,
        Some(reason) => read_finish(reason)
            .ok_or_else(|| at_reason.strange(format_args!("is \"{}\", which is not known", shown(reason))))?,
    };
    for name in ["audio", "function_call"] {
        // Vendors are known that say them with nothing in them.
        let mut fields = message.get(name).into_iter().flat_map(Value::fields);
        if fields.any(|(_, value)| value.kind() == json::Kind::String && value.raw().len() > 2) {
            return Err(at_message.field(name).strange("was not asked for"));
        }
    }

    let mut parts = Vec::with_capacity(2);
    read_thoughts(message, wanted, &mut parts);
    read_content(message, wanted, &at_message, &mut parts)?;
    let refusal = message.get("refusal").and_then(Literal::of).filter(|text| !text.is_empty());
    let at_calls = at_message.field("tool_calls");
    let mut calls = message.get("tool_calls").into_iter().flat_map(Value::items).enumerate().peekable();
    // OpenAI says "stop" where the tool was named in the request.
    if calls.peek().is_some() && stop == Stop::EndOfTurn {
        stop = Stop::ToolUse;
    }
    for (nth, call) in calls {
        parts.push(Part::Call(read_call(call, nth, stop, &at_calls.item(nth))?));
    }
    if refusal.is_some() && stop == Stop::EndOfTurn {
        stop = Stop::Refusal;
    }
    Ok(Answer {
        parts,
        refusal,
        stop,
        stop_sequence: None,
        usage: body.get("usage").and_then(read_usage),
        tier: body.get("service_tier").and_then(read_tier),
        model: body.get("model").and_then(Value::to_str).filter(|model| !model.is_empty()).map(Into::into),
    })
}

/// What the model thought, in the words of vendors that say it; a client that didn't ask for it gets none.
fn read_thoughts<'a>(message: Value<'a>, wanted: Wanted, parts: &mut Vec<Part<'a>>) {
    if !wanted.thinking {
        return;
    }
    let mut fields = ["reasoning_content", "reasoning"].into_iter();
    let text = fields.find_map(|name| message.get(name).and_then(Literal::of).filter(|text| !text.is_empty()));
    if let Some(text) = text {
        parts.push(Part::Thinking(Thought { text, signature: Literal::made("") }));
    }
}

/// Content is text, or, as Mistral says it, a list of pieces.
fn read_content<'a>(message: Value<'a>, wanted: Wanted, at: &Path<'_>, parts: &mut Vec<Part<'a>>) -> Result<(), Fault> {
    let at = at.field("content");
    let Some(content) = message.get("content") else { return Ok(()) };
    match content.kind() {
        json::Kind::Null => {}
        json::Kind::String => {
            let text = Literal::of(content).filter(|text| !text.is_empty());
            parts.extend(text.map(|text| Part::Text { text, cache: None }));
        }
        json::Kind::Array => {
            for (nth, piece) in content.items().enumerate() {
                read_piece(piece, wanted, &at.item(nth), parts)?;
            }
        }
        json::Kind::Object | json::Kind::Number | json::Kind::Bool => return Err(at.strange("is no text")),
    }
    Ok(())
}

fn read_piece<'a>(piece: Value<'a>, wanted: Wanted, at: &Path<'_>, parts: &mut Vec<Part<'a>>) -> Result<(), Fault> {
    let text = |value: Option<Value<'a>>| value.and_then(Literal::of).filter(|text| !text.is_empty());
    match piece.get("type").and_then(Value::to_str).as_deref() {
        Some("text") => {
            parts.extend(text(piece.get("text")).map(|text| Part::Text { text, cache: None }));
        }
        Some("thinking") if wanted.thinking => {
            let pieces = piece.get("thinking").into_iter().flat_map(Value::items);
            let thoughts = pieces.filter_map(|piece| text(piece.get("text")));
            parts.extend(thoughts.map(|text| Part::Thinking(Thought { text, signature: Literal::made("") })));
        }
        Some("thinking") => {}
        // What the text before it rests on.
        Some("reference") => {}
        other => {
            let other = other.unwrap_or_default();
            return Err(at.field("type").strange(format_args!("is \"{}\", which is not known", shown(other))));
        }
    }
    Ok(())
}

fn read_call<'a>(call: Value<'a>, nth: usize, stop: Stop, at: &Path<'_>) -> Result<Call<'a>, Fault> {
    let at = at.field("function");
    let function = call.get("function").ok_or_else(|| at.strange("is missing"))?;
    let name = function.get("name").and_then(Literal::of).ok_or_else(|| at.field("name").strange("is missing"))?;
    let id = call.get("id").and_then(Literal::of).filter(|id| !id.is_empty());
    let id = id.unwrap_or_else(|| Literal::made(&format!("call_{nth}")));
    let input = match function.get("arguments") {
        Some(arguments) => read_arguments(arguments, stop, &at.field("arguments"))?,
        None => Cow::Borrowed(&b"{}"[..]),
    };
    Ok(Call { id, name, input, cache: None })
}

/// OpenAI's arguments are a string that holds JSON, Anthropic's input is the JSON. Arguments that were cut off with the
/// answer are none.
fn read_arguments<'a>(arguments: Value<'a>, stop: Stop, at: &Path<'_>) -> Result<Cow<'a, [u8]>, Fault> {
    if arguments.kind() == json::Kind::Object {
        return Ok(Cow::Borrowed(arguments.raw()));
    }
    let text = arguments.to_str().unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(Cow::Borrowed(b"{}"));
    }
    match (scan(text.as_bytes(), &mut Scratch::default()), stop) {
        (Ok(object), _) => Ok(Cow::Owned(object.span().of(text.as_bytes()).to_vec())),
        (Err(_), Stop::MaxTokens) => Ok(Cow::Borrowed(b"{}")),
        (Err(_), _) => Err(at.strange("is no JSON object")),
    }
}

/// Appends a whole answer: a `chat.completion`.
pub(in super::super) fn write_answer(answer: &Answer<'_>, naming: &Naming<'_>, wanted: Wanted, out: &mut Vec<u8>) {
    object(out, |fields| {
        write_names("chat.completion", naming, fields);
        fields.list("choices", [()], |(), out| {
            object(out, |choice| {
                choice.number("index", 0);
                choice.object("message", |message| write_message(answer, wanted, message));
                choice.raw("logprobs", b"null");
                choice.text("finish_reason", finish_reason(answer.stop, wanted));
            });
        });
        if let Some(usage) = &answer.usage {
            write_usage(usage, fields.name("usage"));
        }
        if let Some(word) = answer.tier.map(tier) {
            fields.text("service_tier", word);
        }
    });
}

/// An answer's names, which come first in it.
pub(super) fn write_names(kind: &str, naming: &Naming<'_>, fields: &mut Object<'_>) {
    fields.text("id", naming.id);
    fields.text("object", kind);
    fields.number("created", naming.created);
    fields.text("model", naming.model);
}

fn write_message(answer: &Answer<'_>, wanted: Wanted, message: &mut Object<'_>) {
    message.text("role", "assistant");
    let calls = || answer.parts.iter().filter_map(call);
    let texts: Vec<&[u8]> = answer
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Text { text, .. } => Some(text.inside()),
            Part::Image { .. }
            | Part::Document { .. }
            | Part::Thinking(_)
            | Part::Redacted(_)
            | Part::Call(_)
            | Part::Result(_) => None,
        })
        .collect();
    // The tool that was forced upon the model holds the answer's text.
    let json = calls().next().filter(|_| wanted.json_tool);
    match json {
        Some(call) => {
            escape_into(message.name("content"), std::str::from_utf8(&call.input).unwrap_or_default());
        }
        None if texts.is_empty() && calls().next().is_some() => message.raw("content", b"null"),
        None => joined_literal(&texts, message.name("content")),
    }
    message.raw("refusal", answer.refusal.as_ref().map_or(&b"null"[..], |refusal| refusal.raw()));
    write_thoughts(answer, message);
    if json.is_some() || calls().next().is_none() {
        return;
    }
    if wanted.functions {
        for call in calls().take(1) {
            message.object("function_call", |function| {
                function.raw("name", call.name.raw());
                escape_into(function.name("arguments"), std::str::from_utf8(&call.input).unwrap_or_default());
            });
        }
    } else {
        message.list("tool_calls", calls(), write_call);
    }
}

/// What the model thought: its text, and the blocks that a client sends back as they are, in their order.
fn write_thoughts(answer: &Answer<'_>, message: &mut Object<'_>) {
    let thoughts: Vec<&[u8]> = answer.parts.iter().filter_map(thought).map(|thought| thought.text.inside()).collect();
    if !thoughts.is_empty() {
        joined_literal(&thoughts, message.name("reasoning_content"));
    }
    let is_block = |part: &&Part<'_>| matches!(part, Part::Thinking(_) | Part::Redacted(_));
    if answer.parts.iter().any(|part| is_block(&part)) {
        let blocks = answer.parts.iter().filter(is_block);
        message.list("thinking_blocks", blocks, super::super::anthropic::write_part);
    }
}
