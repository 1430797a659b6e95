//! Reading a request of chat completions, as a client of OpenAI's writes it. The mirror image of
//! [`anthropic::read`](super::super::anthropic::read).
//!
//! The table of what becomes of each field stands in the [module above](super).

use super::super::chat::{Chat, Choice, Effort, Format, Literal, Names, Number, Schema, Thinking, Tier, Tool};
use super::super::path::{Path, shown};
use super::super::values::{read_bool, read_count, read_effort, read_list, read_number, read_object, read_text};
use super::messages::read_messages;
use crate::fault::Fault;
use crate::json::{Kind, Value};

/// What the client calls the fields that may have to be approximated.
const NAMES: Names = Names { thinking: "reasoning_effort", format: "response_format" };

/// Reads a request, for Anthropic.
///
/// # Errors
///
/// `InvalidField` where OpenAI would refuse it too, `NotExpressible` where only we do; both name the field's path.
pub(in super::super) fn read_request(body: Value<'_>) -> Result<Chat<'_>, Fault> {
    let root = Path::Root;
    let mut chat = Chat::new(&NAMES);
    let mut limits = TokenLimits::default();
    let mut messages = None;
    let mut safety_identifier = None;
    for (name, value) in body.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = root.field(&name);
        // What is null says what its absence says.
        if value.is_null() && is_known(&name) {
            continue;
        }
        match &*name {
            "model" => {}
            "messages" => messages = Some(value),
            "max_tokens" => limits.older = Some(read_count(value, &at)?),
            "max_completion_tokens" => limits.newer = Some(read_count(value, &at)?),
            "temperature" => chat.temperature = Some(read_temperature(value, &at, &mut chat)?),
            "top_p" => chat.top_p = Some(read_number(value, &at, 0.0, 1.0)?),
            "top_k" => chat.top_k = Some(read_count(value, &at)?),
            "stop" => chat.stop = read_stop(value, &at)?,
            "user" => chat.user = Some(read_text(value, &at)?),
            "safety_identifier" => safety_identifier = Some(read_text(value, &at)?),
            "stream" => chat.wanted.stream = read_bool(value, &at)?,
            "stream_options" => chat.wanted.stream_usage = read_stream_options(value, &at, &mut chat)?,
            "tools" => read_tools(value, &at, &mut chat)?,
            "functions" => read_functions(value, &at, &mut chat)?,
            "tool_choice" => chat.choice = read_choice(value, &at)?,
            "function_call" => chat.choice = read_function_choice(value, &at)?,
            "parallel_tool_calls" => chat.parallel = Some(read_bool(value, &at)?),
            "reasoning_effort" => chat.thinking = read_effort(value, &at)?,
            "reasoning" => chat.thinking = read_reasoning(value, &at, &mut chat)?,
            "thinking" => chat.thinking = read_thinking(value, &at, &mut chat)?,
            "response_format" => chat.format = read_format(value, &at)?,
            "service_tier" => chat.tier = Some(read_tier(value, &at, &mut chat)?),
            "frequency_penalty" | "presence_penalty" => {
                if read_number(value, &at, -2.0, 2.0)?.value != 0.0 {
                    chat.report.approximate(&at);
                }
            }
            "n" | "logprobs" | "top_logprobs" | "logit_bias" | "modalities" | "audio" | "web_search_options"
            | "moderation" => {
                if !is_default(&name, value) {
                    return Err(at.refused("can't be said to this vendor"));
                }
            }
            "seed"
            | "verbosity"
            | "store"
            | "metadata"
            | "prediction"
            | "prompt_cache_key"
            | "prompt_cache_retention"
            | "prompt_cache_options" => {
                if !is_default(&name, value) {
                    chat.report.approximate(&at);
                }
            }
            _ => chat.report.drop_field(&at),
        }
    }
    chat.max_tokens = limits.settle()?;
    settle_user(&mut chat, safety_identifier);
    chat.wanted.thinking = !matches!(chat.thinking, Thinking::Unsaid | Thinking::Off);
    let at = root.field("messages");
    read_messages(messages.ok_or_else(|| at.invalid("a list of messages"))?, &at, &mut chat)?;
    Ok(chat)
}

/// Whether a field is one of those that [`read_request`] knows; others are dropped, also where they are `null`.
fn is_known(name: &str) -> bool {
    const FIELDS: [&str; 40] = [
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ];
    FIELDS.binary_search(&name).is_ok()
}

/// Whether a field says what the API does without it, and what Anthropic does too.
fn is_default(name: &str, value: Value<'_>) -> bool {
    match name {
        "n" => value.to_u64() == Some(1),
        "top_logprobs" => value.to_f64() == Some(0.0),
        "logprobs" | "store" => value.to_bool() == Some(false),
        "verbosity" => value.is("medium"),
        "logit_bias" | "metadata" => value.kind() == Kind::Object && value.fields().next().is_none(),
        "modalities" => value.items().count() == 1 && value.items().all(|modality| modality.is("text")),
        _ => false,
    }
}

/// The two fields that say how long an answer may be.
#[derive(Default)]
struct TokenLimits {
    /// `max_tokens`.
    older: Option<u64>,
    /// `max_completion_tokens`, its successor.
    newer: Option<u64>,
}

impl TokenLimits {
    fn settle(self) -> Result<Option<u64>, Fault> {
        match (self.older, self.newer) {
            (Some(older), Some(newer)) if older != newer => {
                Err(Path::Root.field("max_tokens").refused("and max_completion_tokens differ"))
            }
            (older, newer) => Ok(newer.or(older)),
        }
    }
}

/// `safety_identifier` is what `user` is to be called; Anthropic has one place for both.
fn settle_user<'a>(chat: &mut Chat<'a>, safety_identifier: Option<Literal<'a>>) {
    match (&chat.user, safety_identifier) {
        (Some(user), Some(other)) if *user != other => chat.approximate("safety_identifier"),
        (None, other) => chat.user = other,
        (Some(_), _) => {}
    }
}

fn read_temperature<'a>(value: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Number<'a>, Fault> {
    let temperature = read_number(value, at, 0.0, 2.0)?;
    if temperature.value <= 1.0 {
        return Ok(temperature);
    }
    // Anthropic's end at 1.
    chat.report.approximate(at);
    Ok(Number { raw: b"1", value: 1.0 })
}

fn read_stop<'a>(value: Value<'a>, at: &Path<'_>) -> Result<Vec<Literal<'a>>, Fault> {
    let checked = |stop: Value<'a>, at: &Path<'_>| {
        let stop = read_text(stop, at)?;
        if stop.is_blank() { Err(at.refused("is white space only, which the vendor doesn't take")) } else { Ok(stop) }
    };
    match value.kind() {
        Kind::String => Ok(vec![checked(value, at)?]),
        Kind::Array => value.items().enumerate().map(|(nth, stop)| checked(stop, &at.item(nth))).collect(),
        Kind::Object | Kind::Number | Kind::Bool | Kind::Null => Err(at.invalid("text or a list of texts")),
    }
}

/// Whether the client wants usage at the stream's end.
fn read_stream_options(value: Value<'_>, at: &Path<'_>, chat: &mut Chat<'_>) -> Result<bool, Fault> {
    let mut stream_usage = false;
    for (name, value) in read_object(value, at)?.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = at.field(&name);
        match &*name {
            "include_usage" if value.is_null() => {}
            "include_usage" => stream_usage = read_bool(value, &at)?,
            // Nothing that we stream is padded against whoever measures the line.
            "include_obfuscation" if value.to_bool() == Some(true) => chat.report.approximate(&at),
            "include_obfuscation" => {}
            _ => chat.report.drop_field(&at),
        }
    }
    Ok(stream_usage)
}

fn read_tools<'a>(value: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    for (nth, tool) in read_list(value, at)?.items().enumerate() {
        let at = at.item(nth);
        let at_type = at.field("type");
        let (mut function, mut cache) = (None, None);
        for (name, value) in read_object(tool, &at)?.fields() {
            let Some(name) = name.to_str() else { continue };
            match &*name {
                "type" if value.is("function") => {}
                "type" => {
                    let kind = read_text(value, &at_type)?;
                    return Err(at_type.refused(format_args!("\"{}\" can't be carried", shown(&kind.text()))));
                }
                "function" => function = Some(value),
                "cache_control" => cache = Some(value.raw()),
                _ => chat.report.drop_field(&at.field(&name)),
            }
        }
        let at = at.field("function");
        let tool = read_function(function.ok_or_else(|| at.invalid("a function"))?, &at, chat)?;
        chat.tools.push(Tool { cache, ..tool });
    }
    Ok(())
}

/// Tools as they were called until 2023.
fn read_functions<'a>(value: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    for (nth, function) in read_list(value, at)?.items().enumerate() {
        let tool = read_function(function, &at.item(nth), chat)?;
        chat.tools.push(tool);
        chat.wanted.functions = true;
    }
    Ok(())
}

fn read_function<'a>(value: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Tool<'a>, Fault> {
    let (mut called, mut description, mut schema, mut strict) = (None, None, None, false);
    for (name, value) in read_object(value, at)?.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = at.field(&name);
        match &*name {
            "name" => called = Some(read_text(value, &at)?),
            "description" | "parameters" | "strict" if value.is_null() => {}
            "description" => description = Some(read_text(value, &at)?),
            "parameters" => schema = Some(Schema(read_object(value, &at)?)),
            "strict" => strict = read_bool(value, &at)?,
            _ => chat.report.drop_field(&at),
        }
    }
    let name = called.ok_or_else(|| at.field("name").invalid("text"))?;
    Ok(Tool { name, description, schema, strict, cache: None })
}

fn read_choice<'a>(value: Value<'a>, at: &Path<'_>) -> Result<Choice<'a>, Fault> {
    match value.to_str().as_deref() {
        Some("auto") => return Ok(Choice::Auto),
        Some("none") => return Ok(Choice::None),
        // "any" is Mistral's word.
        Some("required" | "any") => return Ok(Choice::Any),
        Some(_) => return Err(at.invalid("\"none\", \"auto\", \"required\" or an object")),
        None => {}
    }
    let at_type = at.field("type");
    match read_object(value, at)?.get("type").and_then(Value::to_str).as_deref() {
        Some("function") | None => {
            let at = at.field("function");
            let function = value.get("function").ok_or_else(|| at.invalid("a function"))?;
            let name = function.get("name").ok_or_else(|| at.field("name").invalid("text"))?;
            Ok(Choice::Named(read_text(name, &at.field("name"))?))
        }
        Some(other) => Err(at_type.refused(format_args!("\"{}\" can't be carried", shown(other)))),
    }
}

fn read_function_choice<'a>(value: Value<'a>, at: &Path<'_>) -> Result<Choice<'a>, Fault> {
    match value.to_str().as_deref() {
        Some("auto") => Ok(Choice::Auto),
        Some("none") => Ok(Choice::None),
        Some(_) => Err(at.invalid("\"none\", \"auto\" or an object")),
        None => {
            let at_name = at.field("name");
            let name = read_object(value, at)?.get("name").ok_or_else(|| at_name.invalid("text"))?;
            Ok(Choice::Named(read_text(name, &at_name)?))
        }
    }
}

/// `reasoning`, as OpenRouter's clients say it: an effort, or a number of tokens.
fn read_reasoning<'a>(value: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Thinking, Fault> {
    let mut thinking = chat.thinking;
    for (name, value) in read_object(value, at)?.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = at.field(&name);
        match &*name {
            _ if value.is_null() => {}
            "effort" => thinking = read_effort(value, &at)?,
            "max_tokens" => thinking = Thinking::Budget(read_count(value, &at)?),
            "enabled" if !read_bool(value, &at)? => thinking = Thinking::Off,
            "enabled" if thinking == Thinking::Unsaid => thinking = Thinking::Effort(Effort::Medium),
            "enabled" => {}
            "exclude" | "summary" => chat.report.approximate(&at),
            _ => chat.report.drop_field(&at),
        }
    }
    Ok(thinking)
}

/// `thinking` in Anthropic's own words, as clients of other gateways say it.
fn read_thinking<'a>(value: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Thinking, Fault> {
    let (mut enabled, mut budget) = (false, None);
    for (name, value) in read_object(value, at)?.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = at.field(&name);
        match &*name {
            "type" if value.is("adaptive") => return Ok(Thinking::Adaptive),
            "type" => enabled = value.is("enabled"),
            "budget_tokens" => budget = Some(read_count(value, &at)?),
            _ => chat.report.drop_field(&at),
        }
    }
    Ok(match (enabled, budget) {
        (true, Some(tokens)) => Thinking::Budget(tokens),
        (true, None) => Thinking::Effort(Effort::Medium),
        (false, _) => Thinking::Off,
    })
}

fn read_format<'a>(value: Value<'a>, at: &Path<'_>) -> Result<Format<'a>, Fault> {
    let at_type = at.field("type");
    match read_object(value, at)?.get("type").and_then(Value::to_str).as_deref() {
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::Json),
        Some("json_schema") => {
            let at = at.field("json_schema");
            let format = read_object(value.get("json_schema").ok_or_else(|| at.invalid("an object"))?, &at)?;
            let strict = format.get("strict").and_then(Value::to_bool).unwrap_or(false);
            match format.get("schema") {
                Some(schema) => Ok(Format::Schema {
                    name: format.get("name").and_then(Literal::of),
                    schema: Schema(read_object(schema, &at.field("schema"))?),
                    strict,
                }),
                None => Ok(Format::Json),
            }
        }
        Some(other) => Err(at_type.refused(format_args!("\"{}\" can't be carried", shown(other)))),
        None => Err(at_type.invalid("the format's type")),
    }
}

/// OpenAI's tiers that Anthropic has no word for become the nearest.
fn read_tier(value: Value<'_>, at: &Path<'_>, chat: &mut Chat<'_>) -> Result<Tier, Fault> {
    match read_text(value, at)?.text().as_ref() {
        "auto" => Ok(Tier::Auto),
        "default" => Ok(Tier::Standard),
        "flex" => {
            chat.report.approximate(at);
            Ok(Tier::Standard)
        }
        "priority" | "fast" | "scale" => {
            chat.report.approximate(at);
            Ok(Tier::Auto)
        }
        _ => Err(at.refused("is a tier that the vendor doesn't have")),
    }
}
