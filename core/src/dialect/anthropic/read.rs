//! Reading a request of messages, as a client of Anthropic's writes it. The mirror image of
//! [`openai::read`](super::super::openai).
//!
//! The table of what becomes of each field stands in the [module above](super).

use super::super::chat::{Chat, Choice, Format, Literal, Names, Part, Role, Schema, Thinking, Tier, Tool, Turn};
use super::super::path::{Path, shown};
use super::super::values::{read_bool, read_count, read_effort, read_list, read_number, read_object, read_text};
use super::messages::{read_messages, read_system};
use crate::fault::Fault;
use crate::json::{Kind, Value};

/// What the client calls the fields that may have to be approximated.
const NAMES: Names = Names { thinking: "thinking", format: "output_config.format" };

/// Most stop sequences that OpenAI takes (platform.openai.com/docs/api-reference/chat/create, `stop`).
const STOPS_MAX: usize = 4;

/// Reads a request, for OpenAI or a vendor that speaks its language.
///
/// # Errors
///
/// `InvalidField` where Anthropic would refuse it too, `NotExpressible` where only we do; both name the field's path.
pub(in super::super) fn read_request(body: Value<'_>) -> Result<Chat<'_>, Fault> {
    let root = Path::Root;
    let mut chat = Chat::new(&NAMES);
    let (mut messages, mut system, mut effort) = (None, None, None);
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
            "system" => system = Some(value),
            "max_tokens" => chat.max_tokens = Some(read_count(value, &at)?),
            "temperature" => chat.temperature = Some(read_number(value, &at, 0.0, 1.0)?),
            "top_p" => chat.top_p = Some(read_number(value, &at, 0.0, 1.0)?),
            "stop_sequences" => chat.stop = read_stops(value, &at)?,
            "metadata" => read_metadata(value, &at, &mut chat)?,
            "stream" => chat.wanted.stream = read_bool(value, &at)?,
            "tools" => read_tools(value, &at, &mut chat)?,
            "tool_choice" => read_choice(value, &at, &mut chat)?,
            "thinking" => chat.thinking = read_thinking(value, &at, &mut chat)?,
            "output_config" => effort = read_output_config(value, &at, &mut chat)?,
            // As it was called while it was tried out.
            "output_format" => chat.format = read_format(value, &at)?,
            "service_tier" => chat.tier = Some(read_tier(value, &at)?),
            "speed" if value.is("standard") => {}
            "mcp_servers" if value.kind() == Kind::Array && value.items().next().is_none() => {}
            "container" | "mcp_servers" | "inference_geo" | "context_management" => {
                return Err(at.refused("can't be said to this vendor"));
            }
            // A hint to the vendor, or its own bookkeeping: the answer is the same without it.
            "top_k" | "cache_control" | "speed" | "diagnostics" | "user_profile_id" | "workspace_id" => {
                chat.report.approximate(&at);
            }
            _ => chat.report.drop_field(&at),
        }
    }
    if chat.max_tokens.is_none() {
        return Err(root.field("max_tokens").invalid("a whole number above 0"));
    }
    // An effort says more than that the model may think.
    match (effort, chat.thinking) {
        (Some(effort), Thinking::Adaptive) => chat.thinking = effort,
        // Without thinking, an effort says how much the model writes.
        (Some(_), Thinking::Unsaid | Thinking::Off | Thinking::Budget(_) | Thinking::Effort(_)) => {
            chat.approximate("output_config.effort");
        }
        (None, _) => {}
    }
    chat.wanted.thinking = !matches!(chat.thinking, Thinking::Unsaid | Thinking::Off);
    chat.wanted.stream_usage = chat.wanted.stream;
    if let Some(system) = system {
        let at = root.field("system");
        let parts = read_system(system, &at, &mut chat)?;
        if !parts.is_empty() {
            chat.turns.push(Turn { role: Role::System, parts, place: None });
        }
    }
    let at = root.field("messages");
    read_messages(messages.ok_or_else(|| at.invalid("a list of messages"))?, &at, &mut chat)?;
    if let Some(last) = chat.turns.last().filter(|turn| turn.role == Role::Assistant) {
        // Anthropic's model goes on with it, this one answers it.
        chat.report.approximate(&at.item(last.place.unwrap_or_default()));
    }
    Ok(chat)
}

/// Whether a field is one of those that [`read_request`] knows; others are dropped, also where they are `null`.
fn is_known(name: &str) -> bool {
    const FIELDS: [&str; 25] = [
        "cache_control",
        "container",
        "context_management",
        "diagnostics",
        "inference_geo",
        "max_tokens",
        "mcp_servers",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
        "user_profile_id",
        "workspace_id",
    ];
    FIELDS.binary_search(&name).is_ok()
}

fn read_stops<'a>(value: Value<'a>, at: &Path<'_>) -> Result<Vec<Literal<'a>>, Fault> {
    let stops = read_list(value, at)?.items().enumerate();
    let stops: Vec<Literal<'a>> = stops.map(|(nth, stop)| read_text(stop, &at.item(nth))).collect::<Result<_, _>>()?;
    if stops.len() > STOPS_MAX {
        return Err(at.refused(format_args!("has more than the {STOPS_MAX} that the vendor takes")));
    }
    Ok(stops)
}

fn read_metadata<'a>(value: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    for (name, value) in read_object(value, at)?.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = at.field(&name);
        match &*name {
            "user_id" if value.is_null() => {}
            "user_id" => chat.user = Some(read_text(value, &at)?),
            _ => chat.report.drop_field(&at),
        }
    }
    Ok(())
}

fn read_tools<'a>(value: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    /// Longest name of a tool at OpenAI (platform.openai.com/docs/api-reference/chat/create, `tools`).
    const NAME_CHARACTERS_MAX: usize = 64;
    for (nth, tool) in read_list(value, at)?.items().enumerate() {
        let at = at.item(nth);
        let (mut called, mut description, mut schema, mut strict) = (None, None, None, false);
        for (name, value) in read_object(tool, &at)?.fields() {
            let Some(name) = name.to_str() else { continue };
            let at = at.field(&name);
            match &*name {
                "type" if value.is_null() || value.is("custom") => {}
                "type" => {
                    let kind = read_text(value, &at)?;
                    return Err(at.refused(format_args!("\"{}\" is a tool of Anthropic's own", shown(&kind.text()))));
                }
                "name" => called = Some(read_text(value, &at)?),
                "input_schema" => schema = Some(Schema(read_object(value, &at)?)),
                _ if value.is_null() || value.to_bool() == Some(false) => {}
                "description" => description = Some(read_text(value, &at)?),
                "strict" => strict = read_bool(value, &at)?,
                // How the vendor goes about it; the model may call the tool all the same.
                "cache_control" | "defer_loading" | "eager_input_streaming" | "input_examples" | "allowed_callers" => {
                    chat.report.approximate(&at)
                }
                _ => chat.report.drop_field(&at),
            }
        }
        let at_name = at.field("name");
        let name = called.ok_or_else(|| at_name.invalid("text"))?;
        if name.text().chars().count() > NAME_CHARACTERS_MAX {
            return Err(at_name.refused("is longer than the 64 characters that the vendor takes"));
        }
        let schema = schema.ok_or_else(|| at.field("input_schema").invalid("an object"))?;
        chat.tools.push(Tool { name, description, schema: Some(schema), strict, cache: None });
    }
    Ok(())
}

fn read_choice<'a>(value: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    let at_type = at.field("type");
    chat.choice = match read_object(value, at)?.get("type").and_then(Value::to_str).as_deref() {
        Some("auto") => Choice::Auto,
        Some("any") => Choice::Any,
        Some("none") => Choice::None,
        Some("tool") => {
            let at = at.field("name");
            Choice::Named(read_text(value.get("name").ok_or_else(|| at.invalid("text"))?, &at)?)
        }
        Some(_) | None => return Err(at_type.invalid("\"auto\", \"any\", \"tool\" or \"none\"")),
    };
    if let Some(disable) = value.get("disable_parallel_tool_use").filter(|disable| !disable.is_null()) {
        chat.parallel = Some(!read_bool(disable, &at.field("disable_parallel_tool_use"))?);
    }
    Ok(())
}

fn read_thinking(value: Value<'_>, at: &Path<'_>, chat: &mut Chat<'_>) -> Result<Thinking, Fault> {
    let at_type = at.field("type");
    let at_budget = at.field("budget_tokens");
    if value.get("display").is_some_and(|display| !display.is_null()) {
        chat.report.approximate(&at.field("display"));
    }
    match read_object(value, at)?.get("type").and_then(Value::to_str).as_deref() {
        Some("enabled") => {
            let budget = value.get("budget_tokens").ok_or_else(|| at_budget.invalid("a whole number above 0"))?;
            Ok(Thinking::Budget(read_count(budget, &at_budget)?))
        }
        Some("disabled") => Ok(Thinking::Off),
        Some("adaptive") => Ok(Thinking::Adaptive),
        Some("between_tools") => {
            chat.report.approximate(at);
            Ok(Thinking::Adaptive)
        }
        Some(other) => Err(at_type.refused(format_args!("\"{}\" can't be carried", shown(other)))),
        None => Err(at_type.invalid("\"enabled\", \"disabled\" or \"adaptive\"")),
    }
}

/// The effort, if one is said, and the answer's format.
fn read_output_config<'a>(value: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Option<Thinking>, Fault> {
    let mut effort = None;
    for (name, value) in read_object(value, at)?.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = at.field(&name);
        match &*name {
            "effort" | "format" if value.is_null() => {}
            "effort" => effort = Some(read_effort(value, &at)?),
            "format" => chat.format = read_format(value, &at)?,
            _ => chat.report.drop_field(&at),
        }
    }
    Ok(effort)
}

fn read_format<'a>(value: Value<'a>, at: &Path<'_>) -> Result<Format<'a>, Fault> {
    let (at_type, at_schema) = (at.field("type"), at.field("schema"));
    if !read_object(value, at)?.get("type").is_some_and(|kind| kind.is("json_schema")) {
        return Err(at_type.invalid("\"json_schema\""));
    }
    let schema = read_object(value.get("schema").ok_or_else(|| at_schema.invalid("an object"))?, &at_schema)?;
    Ok(Format::Schema { name: None, schema: Schema(schema), strict: true })
}

fn read_tier(value: Value<'_>, at: &Path<'_>) -> Result<Tier, Fault> {
    match read_text(value, at)?.text().as_ref() {
        "auto" => Ok(Tier::Auto),
        "standard_only" => Ok(Tier::Standard),
        _ => Err(at.invalid("\"auto\" or \"standard_only\"")),
    }
}

/// A part of text that says something.
pub(super) fn text_part<'a>(text: Literal<'a>) -> Option<Part<'a>> {
    (!text.is_empty()).then_some(Part::Text { text, cache: None })
}
