//! Writing a request of chat completions, as OpenAI and vendors of its language take it. The mirror image of
//! [`anthropic::write`](super::super::anthropic).
//!
//! [`fit`] settles first what depends on the vendor and its model. Then nothing can go wrong any more.

use super::super::Recipient;
use super::super::chat::{
    Call, Chat, Choice, Effort, Format, JSON_TOOL, Literal, Part, Role, Schema, Source, Thinking, Thought, Tier, Tool,
    ToolResult, Turn,
};
use super::super::models::{Gpt, budget_of, effort_of, gpt};
use super::super::path::Path;
use super::super::print::{Object, joined_literal, list, object};
use crate::config::plan::{Provider, StreamUsage};
use crate::fault::Fault;
use crate::json::{Kind, Value, escape_into};

/// What is written of a chat beside what it says itself.
#[derive(Debug)]
pub(in super::super) struct Settled<'a> {
    /// OpenAI itself, not a vendor that speaks its language.
    is_own: bool,
    effort: Option<&'static str>,
    schema: Option<Schema<'a>>,
    asks_usage: bool,
}

/// What a document is called that the client gave no name; OpenAI wants one.
const DOCUMENT: &str = "document.pdf";

/// Settles what depends on the vendor and its model.
///
/// # Errors
///
/// `NotExpressible`, with the field's path in the client's words.
pub(in super::super) fn fit<'a>(chat: &mut Chat<'a>, recipient: &Recipient<'_>) -> Result<Settled<'a>, Fault> {
    let is_own = match recipient.provider {
        Provider::OpenAi => true,
        Provider::OpenAiCompatible | Provider::Anthropic => false,
    };
    // Of other vendors' models nothing is known: they are asked, and say themselves what they don't take.
    let model = if is_own { gpt(recipient.model) } else { Gpt { reasons: true, structured: true } };
    fit_thoughts(chat, is_own);
    fit_tools(chat, model)?;
    let effort = fit_thinking(chat, model);
    if is_own && model.reasons {
        fit_sampling(chat);
    }
    let schema = fit_format(chat, model)?;
    let asks_usage = chat.wanted.stream && recipient.stream_usage == StreamUsage::Ask;
    Ok(Settled { is_own, effort, schema, asks_usage })
}

/// OpenAI doesn't take back what a model thought; some that speak its language insist on it.
fn fit_thoughts(chat: &mut Chat<'_>, is_own: bool) {
    if !is_own {
        return;
    }
    let root = Path::Root;
    let messages = root.field("messages");
    for turn in &mut chat.turns {
        let had = turn.parts.len();
        turn.parts.retain(|part| !matches!(part, Part::Thinking(_)));
        if turn.parts.len() < had {
            chat.report.approximate(&messages.item(turn.place.unwrap_or_default()).field("content"));
        }
    }
    chat.turns.retain(|turn| !turn.parts.is_empty());
}

fn fit_tools(chat: &mut Chat<'_>, model: Gpt) -> Result<(), Fault> {
    let root = Path::Root;
    let tools = root.field("tools");
    for (nth, tool) in chat.tools.iter_mut().enumerate().filter(|(_, tool)| tool.strict) {
        if !model.structured || !tool.schema.is_some_and(|schema| is_exact(schema.0)) {
            tool.strict = false;
            chat.report.approximate(&tools.item(nth).field("strict"));
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
    Ok(())
}

/// The word for the effort, if one is to be said.
fn fit_thinking(chat: &mut Chat<'_>, model: Gpt) -> Option<&'static str> {
    let effort = match chat.thinking {
        Thinking::Unsaid | Thinking::Off => return None,
        // A model that reasons does so as it thinks right.
        Thinking::Adaptive if model.reasons => return None,
        Thinking::Adaptive => Effort::High,
        Thinking::Effort(effort) => effort,
        Thinking::Budget(tokens) => effort_of(tokens),
    };
    let exact = match chat.thinking {
        Thinking::Budget(tokens) => budget_of(effort) == tokens,
        Thinking::Unsaid | Thinking::Off | Thinking::Effort(_) | Thinking::Adaptive => true,
    };
    if !model.reasons || !exact {
        chat.approximate(chat.names.thinking);
    }
    chat.wanted.thinking &= model.reasons;
    model.reasons.then_some(match effort {
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::ExtraHigh => "xhigh",
        Effort::Max => "max",
    })
}

/// Models that reason take no sampling parameters but those that say nothing.
fn fit_sampling(chat: &mut Chat<'_>) {
    if chat.temperature.take().is_some_and(|temperature| temperature.value != 1.0) {
        chat.approximate("temperature");
    }
    if chat.top_p.take().is_some_and(|top_p| top_p.value != 1.0) {
        chat.approximate("top_p");
    }
}

/// The schema in the vendor's own form, where the model has it; else a tool that the model is forced to call with the
/// answer as its input.
fn fit_format<'a>(chat: &mut Chat<'a>, model: Gpt) -> Result<Option<Schema<'a>>, Fault> {
    let schema = match &chat.format {
        Format::Text => return Ok(None),
        Format::Json => Schema(Value::at(b"{}", crate::json::Span::new(0, 2))),
        Format::Schema { schema, .. } => *schema,
    };
    let name = chat.names.format;
    if model.structured {
        if !is_exact(schema.0) {
            // The model is shown the schema, and not held to it.
            chat.approximate(name);
        }
        return Ok(Some(schema));
    }
    if model.reasons || !chat.tools.is_empty() {
        let why = "makes this model call a tool, which doesn't go together with thinking or tools of your own";
        return Err(Chat::refused(name, why));
    }
    chat.approximate(name);
    chat.wanted.json_tool = true;
    chat.choice = Choice::Named(Literal::made(JSON_TOOL));
    chat.parallel = Some(false);
    let description = Some(Literal::made("Call this with the answer, which has to be JSON."));
    let name = Literal::made(JSON_TOOL);
    chat.tools.push(Tool { name, description, schema: Some(schema), strict: false, cache: None });
    Ok(None)
}

/// Whether OpenAI can hold a model to a schema: every object is closed and requires all of its properties
/// (platform.openai.com/docs/guides/structured-outputs, "Supported schemas").
fn is_exact(schema: Value<'_>) -> bool {
    let exact = match schema.get("properties") {
        Some(properties) => {
            let required = schema.get("required");
            let is_required = |name: Value<'_>| {
                let mut all = required.iter().flat_map(|required| required.items());
                name.to_str().is_some_and(|name| all.any(|each| each.is(&name)))
            };
            schema.get("additionalProperties").and_then(Value::to_bool) == Some(false)
                && properties.fields().all(|(name, _)| is_required(name))
        }
        None => !schema.get("type").is_some_and(|kind| kind.is("object")),
    };
    match schema.kind() {
        Kind::Object => exact && schema.fields().all(|(_, value)| is_exact(value)),
        Kind::Array => schema.items().all(is_exact),
        Kind::String | Kind::Number | Kind::Bool | Kind::Null => true,
    }
}

/// Appends a request for `model`.
pub(in super::super) fn write_request(chat: &Chat<'_>, settled: &Settled<'_>, model: &str, out: &mut Vec<u8>) {
    object(out, |request| {
        request.text("model", model);
        let messages = chat.turns.iter().flat_map(messages_of);
        request.list("messages", messages, |message, out| write_message(message, out));
        write_tools(chat, request);
        if let Some(tokens) = chat.max_tokens {
            // OpenAI's newer models take the newer name alone, other vendors mostly the older one.
            request.number(if settled.is_own { "max_completion_tokens" } else { "max_tokens" }, tokens);
        }
        request.raw_if("temperature", chat.temperature.map(|number| number.raw));
        request.raw_if("top_p", chat.top_p.map(|number| number.raw));
        if !chat.stop.is_empty() {
            request.list("stop", &chat.stop, |stop, out| out.extend_from_slice(stop.raw()));
        }
        request.raw_if("user", chat.user.as_ref().map(Literal::raw));
        if let Some(effort) = settled.effort {
            request.text("reasoning_effort", effort);
        }
        if let Some(Schema(schema)) = settled.schema {
            write_format(schema, request);
        }
        match chat.tier {
            Some(Tier::Standard) => request.text("service_tier", "default"),
            Some(Tier::Auto) => request.text("service_tier", "auto"),
            Some(Tier::Priority) => request.text("service_tier", "priority"),
            None => {}
        }
        if chat.wanted.stream {
            request.raw("stream", b"true");
        }
        if settled.asks_usage {
            request.raw("stream_options", br#"{"include_usage":true}"#);
        }
    });
}

/// A message of the list: a whole turn, or what one tool answered in it.
#[derive(Clone, Copy)]
enum Message<'c, 'a> {
    Turn(&'c Turn<'a>),
    Answer(&'c ToolResult<'a>),
}

/// What tools answered in a turn is a message each.
fn messages_of<'c, 'a>(turn: &'c Turn<'a>) -> impl Iterator<Item = Message<'c, 'a>> {
    let answers = turn.parts.iter().filter_map(|part| match part {
        Part::Result(result) => Some(Message::Answer(result)),
        Part::Text { .. }
        | Part::Image { .. }
        | Part::Document { .. }
        | Part::Thinking(_)
        | Part::Redacted(_)
        | Part::Call(_) => None,
    });
    let says = turn.parts.iter().any(|part| !matches!(part, Part::Result(_)));
    answers.chain(says.then_some(Message::Turn(turn)))
}

fn write_message(message: Message<'_, '_>, out: &mut Vec<u8>) {
    object(out, |fields| match message {
        Message::Answer(result) => {
            fields.text("role", "tool");
            fields.raw("tool_call_id", result.id.raw());
            write_content(result.parts.iter(), fields.name("content"));
        }
        Message::Turn(turn) => match turn.role {
            Role::System => {
                fields.text("role", "system");
                write_content(turn.parts.iter(), fields.name("content"));
            }
            Role::User => {
                fields.text("role", "user");
                write_content(turn.parts.iter(), fields.name("content"));
            }
            Role::Assistant => write_assistant(turn, fields),
        },
    });
}

fn write_assistant(turn: &Turn<'_>, fields: &mut Object<'_>) {
    fields.text("role", "assistant");
    let said = || turn.parts.iter().filter(|part| matches!(part, Part::Text { .. }));
    if said().next().is_some() {
        write_content(said(), fields.name("content"));
    } else {
        fields.raw("content", b"null");
    }
    let thoughts: Vec<&[u8]> = turn.parts.iter().filter_map(thought).map(|thought| thought.text.inside()).collect();
    if !thoughts.is_empty() {
        joined_literal(&thoughts, fields.name("reasoning_content"));
    }
    let mut calls = turn.parts.iter().filter_map(call).peekable();
    if calls.peek().is_some() {
        fields.list("tool_calls", calls, write_call);
    }
}

/// The part as what the model thought, if it is that.
pub(super) fn thought<'c, 'a>(part: &'c Part<'a>) -> Option<&'c Thought<'a>> {
    if let Part::Thinking(thought) = part { Some(thought) } else { None }
}

/// The part as a tool call, if it is one.
pub(super) fn call<'c, 'a>(part: &'c Part<'a>) -> Option<&'c Call<'a>> {
    if let Part::Call(call) = part { Some(call) } else { None }
}

/// Appends a tool call. Its arguments are a string that holds an object.
pub(super) fn write_call(call: &Call<'_>, out: &mut Vec<u8>) {
    object(out, |fields| {
        fields.raw("id", call.id.raw());
        fields.text("type", "function");
        fields.object("function", |function| {
            function.raw("name", call.name.raw());
            escape_into(function.name("arguments"), std::str::from_utf8(&call.input).unwrap_or_default());
        });
    });
}

/// A single text stands for itself, several parts are a list, and nothing is an empty text.
fn write_content<'c, 'a: 'c>(parts: impl Iterator<Item = &'c Part<'a>> + Clone, out: &mut Vec<u8>) {
    let parts = parts.filter(|part| matches!(part, Part::Text { .. } | Part::Image { .. } | Part::Document { .. }));
    let mut some = parts.clone();
    match (some.next(), some.next()) {
        (None, _) => out.extend_from_slice(b"\"\""),
        (Some(Part::Text { text, .. }), None) => out.extend_from_slice(text.raw()),
        (Some(_), _) => list(out, parts, write_part),
    }
}

fn write_part(part: &Part<'_>, out: &mut Vec<u8>) {
    object(out, |fields| match part {
        Part::Text { text, .. } => {
            fields.text("type", "text");
            fields.raw("text", text.raw());
        }
        Part::Image { source, .. } => {
            fields.text("type", "image_url");
            fields.object("image_url", |image| write_source(source, image.name("url")));
        }
        Part::Document { source, title, .. } => {
            fields.text("type", "file");
            fields.object("file", |file| {
                match title {
                    Some(title) => file.raw("filename", title.raw()),
                    None => file.text("filename", DOCUMENT),
                }
                write_source(source, file.name("file_data"));
            });
        }
        // Are told apart before: see `write_content`.
        Part::Thinking(_) | Part::Redacted(_) | Part::Call(_) | Part::Result(_) => {}
    });
}

fn write_source(source: &Source<'_>, out: &mut Vec<u8>) {
    match source {
        Source::Base64 { media_type, data } => {
            let mut kind = Vec::with_capacity(media_type.len() + 2);
            escape_into(&mut kind, media_type);
            joined_literal(&[b"data:", &kind[1..kind.len() - 1], b";base64,", data], out);
        }
        Source::Url(text) | Source::Plain(text) => out.extend_from_slice(text.raw()),
    }
}

fn write_tools(chat: &Chat<'_>, request: &mut Object<'_>) {
    if chat.tools.is_empty() {
        return;
    }
    request.list("tools", &chat.tools, |tool, out| {
        object(out, |fields| {
            fields.text("type", "function");
            fields.object("function", |function| {
                function.raw("name", tool.name.raw());
                function.raw_if("description", tool.description.as_ref().map(Literal::raw));
                function.raw_if("parameters", tool.schema.map(|schema| schema.0.raw()));
                if tool.strict {
                    function.raw("strict", b"true");
                }
            });
        });
    });
    match &chat.choice {
        Choice::Unsaid => {}
        Choice::Auto => request.text("tool_choice", "auto"),
        Choice::None => request.text("tool_choice", "none"),
        Choice::Any => request.text("tool_choice", "required"),
        Choice::Named(name) => request.object("tool_choice", |choice| {
            choice.text("type", "function");
            choice.object("function", |function| function.raw("name", name.raw()));
        }),
    }
    // Several at once is what the API does without being told.
    if chat.parallel == Some(false) {
        request.raw("parallel_tool_calls", b"false");
    }
}

fn write_format(schema: Value<'_>, request: &mut Object<'_>) {
    request.object("response_format", |format| {
        format.text("type", "json_schema");
        format.object("json_schema", |fields| {
            fields.text("name", "answer");
            fields.raw("schema", schema.raw());
            fields.raw("strict", if is_exact(schema) { &b"true"[..] } else { b"false" });
        });
    });
}
