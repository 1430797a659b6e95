//! Reading the messages of Anthropic's requests: who says what, which tool answers which call.

use std::borrow::Cow;

use super::super::chat::{Call, Chat, Literal, Part, Role, Source, Thought, ToolResult, Turn};
use super::super::path::{Path, shown};
use super::super::values::{read_list, read_object, read_text};
use super::read::text_part;
use crate::fault::Fault;
use crate::json::{Kind, Value};

/// Reads all messages into the chat's turns.
///
/// # Errors
///
/// As for the whole request.
pub(super) fn read_messages<'a>(messages: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    // The calls of the turn before, which this one has to answer.
    let mut open: Vec<Literal<'a>> = Vec::new();
    let mut any = false;
    for (place, message) in read_list(messages, at)?.items().enumerate() {
        let at = at.item(place);
        let role = read_role(read_object(message, &at)?, &at)?;
        any |= role != Role::System;
        let mut content = None;
        for (name, value) in message.fields() {
            let Some(name) = name.to_str() else { continue };
            match &*name {
                "role" => {}
                "content" => content = Some(value),
                _ => chat.report.drop_field(&at.field(&name)),
            }
        }
        let at_content = at.field("content");
        let content = content.ok_or_else(|| at_content.invalid("text or a list of blocks"))?;
        let mut parts = Vec::with_capacity(1);
        read_content(content, role, &at_content, &mut parts, chat)?;
        pair(&parts, role, &mut open, &at_content)?;
        push_turns(parts, role, place, chat);
    }
    if !any {
        return Err(at.invalid("a list of at least one message"));
    }
    if !open.is_empty() {
        return Err(at.refused("ends with calls of tools that nothing answers"));
    }
    Ok(())
}

/// Reads `system`.
///
/// # Errors
///
/// As for the whole request.
pub(super) fn read_system<'a>(system: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Vec<Part<'a>>, Fault> {
    let mut parts = Vec::with_capacity(1);
    read_content(system, Role::System, at, &mut parts, chat)?;
    Ok(parts)
}

fn read_role(message: Value<'_>, at: &Path<'_>) -> Result<Role, Fault> {
    match message.get("role").and_then(Value::to_str).as_deref() {
        Some("user") => Ok(Role::User),
        Some("assistant") => Ok(Role::Assistant),
        Some("system") => Ok(Role::System),
        Some(_) | None => Err(at.field("role").invalid("\"user\" or \"assistant\"")),
    }
}

/// Whether each call is answered by the turn after it, and each answer has its call: neither vendor takes anything else.
fn pair<'a>(parts: &[Part<'a>], role: Role, open: &mut Vec<Literal<'a>>, at: &Path<'_>) -> Result<(), Fault> {
    if role == Role::System {
        return Ok(());
    }
    for part in parts {
        let Part::Result(result) = part else { continue };
        let Some(nth) = open.iter().position(|id| *id == result.id) else {
            return Err(at.refused("has a tool_result that answers no tool_use of the message before"));
        };
        open.swap_remove(nth);
    }
    if !open.is_empty() {
        return Err(at.refused("doesn't answer every tool_use of the message before"));
    }
    let ids = parts.iter().filter_map(|part| match part {
        Part::Call(call) => Some(call.id.clone()),
        Part::Text { .. }
        | Part::Image { .. }
        | Part::Document { .. }
        | Part::Thinking(_)
        | Part::Redacted(_)
        | Part::Result(_) => None,
    });
    open.extend(ids);
    Ok(())
}

/// What tools answered is a turn of its own, before what the user says in the same message.
fn push_turns<'a>(parts: Vec<Part<'a>>, role: Role, place: usize, chat: &mut Chat<'a>) {
    let place = Some(place);
    let (results, said): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| matches!(part, Part::Result(_)));
    for parts in [results, said] {
        if !parts.is_empty() {
            chat.turns.push(Turn { role, parts, place });
        }
    }
}

fn read_content<'a>(
    content: Value<'a>,
    role: Role,
    at: &Path<'_>,
    parts: &mut Vec<Part<'a>>,
    chat: &mut Chat<'a>,
) -> Result<(), Fault> {
    match content.kind() {
        Kind::String => parts.extend(Literal::of(content).and_then(text_part)),
        Kind::Array => {
            for (nth, block) in content.items().enumerate() {
                read_block(block, role, &at.item(nth), parts, chat)?;
            }
        }
        Kind::Object | Kind::Number | Kind::Bool | Kind::Null => {
            return Err(at.invalid("text or a list of blocks"));
        }
    }
    Ok(())
}

/// The fields of a block that matter.
#[derive(Debug, Default)]
struct Block<'a> {
    text: Option<Literal<'a>>,
    source: Option<Value<'a>>,
    title: Option<Literal<'a>>,
    signature: Option<Literal<'a>>,
    id: Option<Literal<'a>>,
    name: Option<Literal<'a>>,
    input: Option<Value<'a>>,
    content: Option<Value<'a>>,
}

fn read_fields<'a>(block: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Block<'a>, Fault> {
    let mut fields = Block::default();
    for (name, value) in block.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = at.field(&name);
        match &*name {
            "type" => {}
            _ if value.is_null() => {}
            "text" | "thinking" | "data" => fields.text = Some(read_text(value, &at)?),
            "source" => fields.source = Some(read_object(value, &at)?),
            "title" => fields.title = Some(read_text(value, &at)?),
            "signature" => fields.signature = Some(read_text(value, &at)?),
            "id" | "tool_use_id" => fields.id = Some(read_text(value, &at)?),
            "name" => fields.name = Some(read_text(value, &at)?),
            "input" => fields.input = Some(read_object(value, &at)?),
            "content" => fields.content = Some(value),
            "is_error" if value.to_bool() == Some(false) => {}
            "caller" if value.get("type").is_some_and(|kind| kind.is("direct")) => {}
            // Clients send back what earlier answers cited.
            "citations" if value.kind() == Kind::Array && value.items().next().is_none() => {}
            // The vendor caches by itself, and has no word for the others; the model sees the same.
            "cache_control" | "is_error" | "citations" | "context" | "caller" | "transformations" | "toolset_name" => {
                chat.report.approximate(&at)
            }
            _ => chat.report.drop_field(&at),
        }
    }
    Ok(fields)
}

fn read_block<'a>(
    block: Value<'a>,
    role: Role,
    at: &Path<'_>,
    parts: &mut Vec<Part<'a>>,
    chat: &mut Chat<'a>,
) -> Result<(), Fault> {
    let at_type = at.field("type");
    let kind = read_object(block, at)?.get("type").ok_or_else(|| at_type.invalid("the block's type"))?;
    let kind = read_text(kind, &at_type)?.text().into_owned();
    let missing = |name: &str| at.field(name).invalid("there");
    match (kind.as_str(), role) {
        ("text", _) => {
            let fields = read_fields(block, at, chat)?;
            parts.extend(text_part(fields.text.ok_or_else(|| missing("text"))?));
        }
        ("image", Role::User) => {
            let source = read_fields(block, at, chat)?.source.ok_or_else(|| missing("source"))?;
            let source = read_source(source, &at.field("source"), chat)?;
            parts.push(Part::Image { source, cache: None });
        }
        ("document", Role::User) => read_document(block, at, parts, chat)?,
        ("thinking", Role::Assistant) => {
            let Block { text, signature, .. } = read_fields(block, at, chat)?;
            let text = text.ok_or_else(|| missing("thinking"))?;
            let signature = signature.ok_or_else(|| missing("signature"))?;
            // Whether this vendor takes it back depends on the vendor; the writer says.
            parts.push(Part::Thinking(Thought { text, signature }));
        }
        ("redacted_thinking", Role::Assistant) => chat.report.approximate(at),
        ("tool_use", Role::Assistant) => {
            let Block { id, name, input, .. } = read_fields(block, at, chat)?;
            let id = id.ok_or_else(|| missing("id"))?;
            let name = name.ok_or_else(|| missing("name"))?;
            let input = Cow::Borrowed(input.ok_or_else(|| missing("input"))?.raw());
            parts.push(Part::Call(Call { id, name, input, cache: None }));
        }
        ("tool_result", Role::User) => {
            let Block { id, content, .. } = read_fields(block, at, chat)?;
            let id = id.ok_or_else(|| missing("tool_use_id"))?;
            read_result(id, content, &at.field("content"), parts, chat)?;
        }
        (other, _) => {
            return Err(at_type.refused(format_args!("\"{}\" can't be carried", shown(other))));
        }
    }
    Ok(())
}

/// What a tool answered is text for OpenAI; a picture or a file in it is shown by the user behind it.
fn read_result<'a>(
    id: Literal<'a>,
    content: Option<Value<'a>>,
    at: &Path<'_>,
    parts: &mut Vec<Part<'a>>,
    chat: &mut Chat<'a>,
) -> Result<(), Fault> {
    let mut inner = Vec::new();
    if let Some(content) = content {
        read_content(content, Role::User, at, &mut inner, chat)?;
    }
    let (texts, shown): (Vec<_>, Vec<_>) = inner.into_iter().partition(|part| matches!(part, Part::Text { .. }));
    if shown.iter().any(|part| !matches!(part, Part::Image { .. } | Part::Document { .. })) {
        return Err(at.refused("holds a block that can't be carried"));
    }
    if !shown.is_empty() {
        chat.report.approximate(at);
    }
    parts.push(Part::Result(ToolResult { id, parts: texts, cache: None }));
    parts.extend(shown);
    Ok(())
}

fn read_document<'a>(
    block: Value<'a>,
    at: &Path<'_>,
    parts: &mut Vec<Part<'a>>,
    chat: &mut Chat<'a>,
) -> Result<(), Fault> {
    let Block { source, title, .. } = read_fields(block, at, chat)?;
    let at_source = at.field("source");
    let source = source.ok_or_else(|| at_source.invalid("there"))?;
    if source.get("type").is_some_and(|kind| kind.is("content")) {
        // A document in pieces is what its pieces are.
        chat.report.approximate(&at_source);
        let at_content = at_source.field("content");
        let content = source.get("content").ok_or_else(|| at_content.invalid("text or a list of blocks"))?;
        return read_content(content, Role::User, &at_content, parts, chat);
    }
    match read_source(source, &at_source, chat)? {
        Source::Url(_) => Err(at_source.refused("is on the web, where this vendor doesn't fetch files")),
        Source::Plain(text) => {
            chat.report.approximate(&at_source);
            parts.extend(text_part(text));
            Ok(())
        }
        source @ Source::Base64 { .. } => {
            parts.push(Part::Document { source, title, cache: None });
            Ok(())
        }
    }
}

fn read_source<'a>(source: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Source<'a>, Fault> {
    let (mut kind, mut media_type, mut data, mut url) = (None, None, None, None);
    for (name, value) in source.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = at.field(&name);
        match &*name {
            "type" => kind = Some(read_text(value, &at)?.text().into_owned()),
            "media_type" => media_type = Some(read_text(value, &at)?.text().into_owned()),
            "data" => {
                read_text(value, &at)?;
                data = Some(value);
            }
            "url" => url = Some(read_text(value, &at)?),
            "file_id" => return Err(at.refused("names a file that only Anthropic has")),
            _ => chat.report.drop_field(&at),
        }
    }
    let missing = |name: &str| at.field(name).invalid("text");
    match kind.as_deref() {
        Some("base64") => {
            let media_type = media_type.ok_or_else(|| missing("media_type"))?.into();
            let raw = data.ok_or_else(|| missing("data"))?.raw();
            Ok(Source::Base64 { media_type, data: Cow::Borrowed(&raw[1..raw.len() - 1]) })
        }
        Some("url") => Ok(Source::Url(url.ok_or_else(|| missing("url"))?)),
        Some("text") => Ok(Source::Plain(data.and_then(Literal::of).ok_or_else(|| missing("data"))?)),
        Some(other) => Err(at.field("type").refused(format_args!("\"{}\" can't be carried", shown(other)))),
        None => Err(missing("type")),
    }
}
