//! Writing a request of messages, as Anthropic takes it. The mirror image of [`openai::write`](super::super::openai).
//!
//! [`fit`] settles first what depends on the model: how it is told to think, which form holds it to a schema, which
//! parameters it takes. Then nothing can go wrong any more.

use super::super::chat::{
    Cache, Chat, Choice, Effort, Format, JSON_TOOL, Literal, Part, Role, Schema, Source, Thinking, Tier, Tool, Turn,
};
use super::super::models::{Claude, ClaudeThinking, Sampling, budget_of, claude, effort_of};
use super::super::path::Path;
use super::super::print::{Object, joined_literal, list, object};
use super::{MAX_TOKENS_DEFAULT, THINKING_TOKENS_MIN};
use crate::fault::Fault;
use crate::json::Value;

/// What is written of a chat beside what it says itself.
#[derive(Debug)]
pub(in super::super) struct Settled<'a> {
    max_tokens: u64,
    thinking: Settlement,
    /// The answer's schema, in the vendor's own form.
    schema: Option<Schema<'a>>,
    /// Whether strict tools may be said to be strict.
    structured: bool,
}

/// How the model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settlement {
    Off,
    /// With so many tokens.
    Budget(u64),
    /// As it thinks right, with this effort, if one is said.
    Adaptive(Option<&'static str>),
}

/// What stands in for a user's first message, where the model speaks first: Anthropic's conversations begin with a user.
const OPENING: &str = ".";

/// Settles what depends on the model.
///
/// # Errors
///
/// `NotExpressible`, with the field's path in the client's words.
pub(in super::super) fn fit<'a>(chat: &mut Chat<'a>, model: &str) -> Result<Settled<'a>, Fault> {
    let claude = claude(model);
    fit_turns(chat)?;
    fit_tools(chat, claude)?;
    let (thinking, max_tokens) = fit_thinking(chat, claude);
    fit_sampling(chat, claude, thinking);
    let schema = fit_format(chat, claude, thinking)?;
    Ok(Settled { max_tokens, thinking, schema, structured: claude.structured })
}

/// Anthropic's conversations begin with a user, and what the operator says stands before all of it.
fn fit_turns(chat: &mut Chat<'_>) -> Result<(), Fault> {
    let root = Path::Root;
    let messages = root.field("messages");
    let said = |turn: &Turn<'_>| turn.role != Role::System;
    let Some(first) = chat.turns.iter().position(said) else {
        // The operator alone speaks: its last message is what is to be answered.
        let last = chat.turns.last_mut().ok_or_else(|| messages.refused("says nothing"))?;
        last.role = Role::User;
        let place = last.place.unwrap_or_default();
        chat.report.approximate(&messages.item(place));
        return Ok(());
    };
    for turn in chat.turns[first..].iter().filter(|turn| turn.role == Role::System) {
        chat.report.approximate(&messages.item(turn.place.unwrap_or_default()));
    }
    if let Some(last) = chat.turns.iter().rev().find(|turn| said(turn)).filter(|turn| turn.role == Role::Assistant) {
        // This model goes on with it, OpenAI's answers it.
        chat.report.approximate(&messages.item(last.place.unwrap_or_default()));
    }
    if chat.turns[first].role == Role::Assistant {
        chat.report.approximate(&messages.item(chat.turns[first].place.unwrap_or_default()));
        let parts = vec![Part::Text { text: Literal::made(OPENING), cache: None }];
        chat.turns.insert(first, Turn { role: Role::User, parts, place: None });
    }
    Ok(())
}

fn fit_tools(chat: &mut Chat<'_>, claude: Claude) -> Result<(), Fault> {
    let root = Path::Root;
    let tools = root.field("tools");
    if !claude.structured {
        for (nth, _) in chat.tools.iter().enumerate().filter(|(_, tool)| tool.strict) {
            chat.report.approximate(&tools.item(nth).field("function").field("strict"));
        }
    }
    if !chat.tools.is_empty() {
        return Ok(());
    }
    if let Choice::Any | Choice::Named(_) = chat.choice {
        return Err(root.field("tool_choice").refused("wants a tool, and there are none"));
    }
    chat.choice = Choice::Unsaid;
    chat.parallel = None;
    // Anthropic wants every tool of the conversation's history explained.
    let mut names: Vec<Literal<'_>> = Vec::new();
    for call in chat.calls() {
        if !names.contains(&call.name) {
            names.push(call.name.clone());
        }
    }
    if !names.is_empty() {
        chat.report.approximate(&tools);
        chat.choice = Choice::None;
        let explained = |name| Tool { name, description: None, schema: None, strict: false, cache: None };
        chat.tools = names.into_iter().map(explained).collect();
    }
    Ok(())
}

/// How the model is told to think, and how long its answer may be with that.
fn fit_thinking(chat: &mut Chat<'_>, claude: Claude) -> (Settlement, u64) {
    let said = chat.max_tokens;
    let plain = (Settlement::Off, said.unwrap_or(MAX_TOKENS_DEFAULT));
    let (effort, tokens) = match chat.thinking {
        Thinking::Unsaid | Thinking::Off => return plain,
        Thinking::Effort(effort) => (Some(effort), budget_of(effort)),
        Thinking::Budget(tokens) => (None, tokens.max(THINKING_TOKENS_MIN)),
        Thinking::Adaptive => (None, budget_of(Effort::High)),
    };
    // What doesn't go together with thinking: a tool that must be called, a beginning of the answer, and a round of tools
    // whose thoughts the client didn't bring back.
    let hindered = matches!(chat.choice, Choice::Any | Choice::Named(_))
        || said.is_some_and(|tokens| tokens <= THINKING_TOKENS_MIN)
        || !keeps_thoughts(chat);
    if hindered || claude.thinking == ClaudeThinking::None {
        chat.approximate(chat.names.thinking);
        chat.wanted.thinking = false;
        return plain;
    }
    let roomy = said.unwrap_or_else(|| MAX_TOKENS_DEFAULT.saturating_add(tokens));
    match claude.thinking {
        ClaudeThinking::Adaptive { knows_xhigh } => {
            let (word, exact) = match (effort, chat.thinking) {
                (Some(effort), _) => adaptive_effort(effort, knows_xhigh),
                (None, Thinking::Adaptive) => (None, true),
                (None, _) => (adaptive_effort(effort_of(tokens), knows_xhigh).0, false),
            };
            if !exact {
                chat.approximate(chat.names.thinking);
            }
            (Settlement::Adaptive(word), roomy)
        }
        ClaudeThinking::Budget | ClaudeThinking::None => {
            // The answer needs room behind the thoughts.
            let room = if tokens < roomy { tokens } else { (roomy / 2).max(THINKING_TOKENS_MIN) };
            if room != tokens || chat.thinking == Thinking::Adaptive {
                chat.approximate(chat.names.thinking);
            }
            (Settlement::Budget(room), roomy)
        }
    }
}

/// The word for an effort, and whether it says just that.
fn adaptive_effort(effort: Effort, knows_xhigh: bool) -> (Option<&'static str>, bool) {
    match effort {
        Effort::Minimal => (Some("low"), false),
        Effort::Low => (Some("low"), true),
        Effort::Medium => (Some("medium"), true),
        Effort::High => (Some("high"), true),
        Effort::ExtraHigh if knows_xhigh => (Some("xhigh"), true),
        Effort::ExtraHigh => (Some("high"), false),
        Effort::Max => (Some("max"), true),
    }
}

/// Whether the conversation can go on with thinking: where tools have just answered, what the model thought when it
/// called them has to stand before its calls; and where the model has begun to answer, it has thought already.
fn keeps_thoughts(chat: &Chat<'_>) -> bool {
    let mut turns = chat.turns.iter().rev().filter(|turn| turn.role != Role::System);
    let Some(last) = turns.next() else { return true };
    if last.role == Role::Assistant {
        return false;
    }
    if !matches!(last.parts.first(), Some(Part::Result(_))) {
        return true;
    }
    turns.next().is_none_or(|calls| matches!(calls.parts.first(), Some(Part::Thinking(_) | Part::Redacted(_))))
}

fn fit_sampling(chat: &mut Chat<'_>, claude: Claude, thinking: Settlement) {
    let thinks = thinking != Settlement::Off;
    let none = claude.sampling == Sampling::None;
    // With thinking, temperature is 1 and top_p no less than 0.95.
    if chat.temperature.is_some_and(|temperature| (thinks || none) && temperature.value != 1.0) {
        chat.temperature = None;
        chat.approximate("temperature");
    }
    let both = claude.sampling == Sampling::One && chat.temperature.is_some();
    if chat.top_p.is_some_and(|top_p| top_p.value < 1.0 && (none || both || (thinks && top_p.value < 0.95))) {
        chat.top_p = None;
        chat.approximate("top_p");
    }
    if none || both {
        // What says nothing need not be said.
        chat.top_p = chat.top_p.filter(|top_p| top_p.value < 1.0);
        chat.temperature = chat.temperature.filter(|temperature| !none || temperature.value != 1.0);
    }
    if chat.top_k.is_some() && (none || thinks) {
        chat.top_k = None;
        chat.approximate("top_k");
    }
}

/// The schema in the vendor's own form, where the model has it; else a tool that the model is forced to call with the
/// answer as its input.
fn fit_format<'a>(chat: &mut Chat<'a>, claude: Claude, thinking: Settlement) -> Result<Option<Schema<'a>>, Fault> {
    let hindered = thinking != Settlement::Off || !chat.tools.is_empty();
    let schema = match &chat.format {
        Format::Text => return Ok(None),
        Format::Json => None,
        // The vendor's own form takes closed schemas only; a strict one is meant to be.
        Format::Schema { schema, strict, .. } if claude.structured && (*strict || hindered || is_closed(schema.0)) => {
            return Ok(Some(*schema));
        }
        Format::Schema { schema, .. } => Some(*schema),
    };
    let name = chat.names.format;
    if hindered {
        let why = "makes this model call a tool, which doesn't go together with thinking or tools of your own";
        return Err(Chat::refused(name, why));
    }
    chat.approximate(name);
    chat.wanted.json_tool = true;
    chat.choice = Choice::Named(Literal::made(JSON_TOOL));
    chat.parallel = Some(false);
    let description = Some(Literal::made("Call this with the answer, which has to be JSON."));
    chat.tools.push(Tool { name: Literal::made(JSON_TOOL), description, schema, strict: false, cache: None });
    Ok(None)
}

/// Whether every object of a schema says that it has no further properties.
fn is_closed(schema: Value<'_>) -> bool {
    let open = schema.get("properties").is_some()
        && schema.get("additionalProperties").and_then(Value::to_bool) != Some(false);
    !open && schema.fields().all(|(_, value)| is_closed(value)) && schema.items().all(is_closed)
}

/// Appends a request for `model`.
pub(in super::super) fn write_request(chat: &Chat<'_>, settled: &Settled<'_>, model: &str, out: &mut Vec<u8>) {
    object(out, |request| {
        request.text("model", model);
        request.number("max_tokens", settled.max_tokens);
        write_system(chat, request);
        let said = chat.turns.iter().filter(|turn| turn.role != Role::System);
        request.list("messages", said, |turn, out| {
            object(out, |message| {
                let role = if turn.role == Role::Assistant { "assistant" } else { "user" };
                message.text("role", role);
                write_content(&turn.parts, message.name("content"));
            });
        });
        write_tools(chat, settled, request);
        request.raw_if("temperature", chat.temperature.map(|number| number.raw));
        request.raw_if("top_p", chat.top_p.map(|number| number.raw));
        if let Some(top_k) = chat.top_k {
            request.number("top_k", top_k);
        }
        if !chat.stop.is_empty() {
            request.list("stop_sequences", &chat.stop, |stop, out| out.extend_from_slice(stop.raw()));
        }
        if let Some(user) = &chat.user {
            request.object("metadata", |metadata| metadata.raw("user_id", user.raw()));
        }
        write_thinking(settled, request);
        match chat.tier {
            Some(Tier::Standard) => request.text("service_tier", "standard_only"),
            Some(Tier::Auto | Tier::Priority) => request.text("service_tier", "auto"),
            None => {}
        }
        if chat.wanted.stream {
            request.raw("stream", b"true");
        }
    });
}

fn write_system(chat: &Chat<'_>, request: &mut Object<'_>) {
    let operator = chat.turns.iter().filter(|turn| turn.role == Role::System);
    let mut parts = operator.flat_map(|turn| &turn.parts).peekable();
    if parts.peek().is_some() {
        request.list("system", parts, write_part);
    }
}

/// A single text stands for itself, as the official client writes it.
fn write_content(parts: &[Part<'_>], out: &mut Vec<u8>) {
    match parts {
        [Part::Text { text, cache: None }] => out.extend_from_slice(text.raw()),
        parts => list(out, parts, write_part),
    }
}

/// Appends a content block.
pub(in super::super) fn write_part(part: &Part<'_>, out: &mut Vec<u8>) {
    object(out, |block| match part {
        Part::Text { text, cache } => {
            block.text("type", "text");
            block.raw("text", text.raw());
            write_cache(*cache, block);
        }
        Part::Image { source, cache } => {
            block.text("type", "image");
            write_source(source, block);
            write_cache(*cache, block);
        }
        Part::Document { source, title, cache } => {
            block.text("type", "document");
            write_source(source, block);
            block.raw_if("title", title.as_ref().map(Literal::raw));
            write_cache(*cache, block);
        }
        Part::Thinking(thought) => {
            block.text("type", "thinking");
            block.raw("thinking", thought.text.raw());
            block.raw("signature", thought.signature.raw());
        }
        Part::Redacted(data) => {
            block.text("type", "redacted_thinking");
            block.raw("data", data.raw());
        }
        Part::Call(call) => {
            block.text("type", "tool_use");
            block.raw("id", call.id.raw());
            block.raw("name", call.name.raw());
            block.raw("input", &call.input);
            write_cache(call.cache, block);
        }
        Part::Result(result) => {
            block.text("type", "tool_result");
            block.raw("tool_use_id", result.id.raw());
            if !result.parts.is_empty() {
                write_content(&result.parts, block.name("content"));
            }
            write_cache(result.cache, block);
        }
    });
}

fn write_cache(cache: Cache<'_>, block: &mut Object<'_>) {
    block.raw_if("cache_control", cache);
}

fn write_source(source: &Source<'_>, block: &mut Object<'_>) {
    block.object("source", |fields| match source {
        Source::Base64 { media_type, data } => {
            fields.text("type", "base64");
            fields.text("media_type", media_type);
            joined_literal(&[data], fields.name("data"));
        }
        Source::Url(url) => {
            fields.text("type", "url");
            fields.raw("url", url.raw());
        }
        Source::Plain(text) => {
            fields.text("type", "text");
            fields.text("media_type", "text/plain");
            fields.raw("data", text.raw());
        }
    });
}

fn write_tools(chat: &Chat<'_>, settled: &Settled<'_>, request: &mut Object<'_>) {
    if chat.tools.is_empty() {
        return;
    }
    request.list("tools", &chat.tools, |tool, out| {
        object(out, |fields| {
            fields.raw("name", tool.name.raw());
            fields.raw_if("description", tool.description.as_ref().map(Literal::raw));
            write_schema(tool.schema, fields.name("input_schema"));
            if tool.strict && settled.structured {
                fields.raw("strict", b"true");
            }
            write_cache(tool.cache, fields);
        });
    });
    let single = chat.parallel == Some(false);
    let (kind, name) = match &chat.choice {
        Choice::Unsaid if single => ("auto", None),
        Choice::Unsaid => return,
        Choice::Auto => ("auto", None),
        Choice::None => ("none", None),
        Choice::Any => ("any", None),
        Choice::Named(name) => ("tool", Some(name)),
    };
    request.object("tool_choice", |choice| {
        choice.text("type", kind);
        choice.raw_if("name", name.map(Literal::raw));
        if single && kind != "none" {
            choice.raw("disable_parallel_tool_use", b"true");
        }
    });
}

/// Anthropic's schemas say that they are objects; OpenAI's may leave that out.
fn write_schema(schema: Option<Schema<'_>>, out: &mut Vec<u8>) {
    match schema {
        None => out.extend_from_slice(br#"{"type":"object","properties":{}}"#),
        Some(Schema(schema)) if schema.get("type").is_some() => out.extend_from_slice(schema.raw()),
        Some(Schema(schema)) => {
            out.extend_from_slice(br#"{"type":"object""#);
            if schema.fields().next().is_some() {
                out.push(b',');
            }
            out.extend_from_slice(&schema.raw()[1..]);
        }
    }
}

fn write_thinking(settled: &Settled<'_>, request: &mut Object<'_>) {
    let effort = match settled.thinking {
        Settlement::Off => None,
        Settlement::Budget(tokens) => {
            request.object("thinking", |thinking| {
                thinking.text("type", "enabled");
                thinking.number("budget_tokens", tokens);
            });
            None
        }
        Settlement::Adaptive(effort) => {
            request.object("thinking", |thinking| thinking.text("type", "adaptive"));
            effort
        }
    };
    if effort.is_none() && settled.schema.is_none() {
        return;
    }
    request.object("output_config", |config| {
        if let Some(effort) = effort {
            config.text("effort", effort);
        }
        if let Some(Schema(schema)) = settled.schema {
            config.object("format", |format| {
                format.text("type", "json_schema");
                format.raw("schema", schema.raw());
            });
        }
    });
}
