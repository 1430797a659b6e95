//! Chat completions, as OpenAI speaks them (platform.openai.com/docs/api-reference/chat, read in November 2026).
//!
//! The mirror image of [`anthropic`](super::anthropic): the same items in the same order.
//!
//! What becomes of a request's fields on their way to Anthropic:
//!
//! | field | |
//! |---|---|
//! | `model` | replaced by the configured one |
//! | `messages[]` of `user` and `assistant` | carried; `content` as text or as a list of text parts |
//! | `messages[]` of `system` and `developer` | carried into `system`, in order; approximated where the conversation had already begun, since `system` stands before all of it |
//! | last message of `assistant` | carried; approximated: Anthropic's model goes on with it, OpenAI's answers it |
//! | text parts without text | left out, they say nothing; a message of nothing else is refused |
//! | `max_completion_tokens`, `max_tokens` | carried; refused if both are there and differ; 4,096 without either |
//! | `temperature` | carried up to 1; approximated by 1 above |
//! | `top_p`, `stream`, `user` | carried |
//! | `stop` | carried; refused where a sequence is white space only, which Anthropic doesn't take |
//! | `stream_options.include_usage` | carried |
//! | any field that is `null` | accepted: it says what its absence says |
//! | `n: 1`, `frequency_penalty: 0`, `presence_penalty: 0`, `logprobs: false`, `top_logprobs: 0`, `logit_bias: {}`, `response_format: {"type": "text"}`, `modalities: ["text"]`, `verbosity: "medium"`, `tools: []`, `functions: []`, `tool_choice` and `function_call` of `"none"` or `"auto"`, `parallel_tool_calls`, `store: false`, `metadata: {}`, `service_tier` of `"auto"` or `"default"`, `stream_options.include_obfuscation: false` | accepted: what the API does without being told, and what Anthropic does too |
//! | a message's `tool_calls: []` and `annotations: []` | accepted: clients send answers back as they got them |
//! | a field that neither the API nor we know | dropped, and listed |
//! | every other field, part or role | refused with its path |
//!
//! What becomes of an answer from Anthropic stands in [`anthropic`](super::anthropic).

use std::borrow::Cow;

use simd_json::prelude::*;
use simd_json::tape;

use super::chat::{Answer, Chat, Delta, Naming, Part, Role, Stop, Turn, VendorError, Wanted};
use super::errors;
use super::path::{Path, shown};
use super::report::Report;
use crate::fault::Fault;
use crate::json::{Kind, Value, escape_into};
use crate::tally::Usage;

/// Every field of a chat completions request, so that a field that can't be carried is told from one that doesn't
/// exist.
const REQUEST_FIELDS: [&str; 37] = [
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
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Every field of a message but `role` and `content`.
const MESSAGE_FIELDS: [&str; 7] =
    ["annotations", "audio", "function_call", "name", "refusal", "tool_call_id", "tool_calls"];

/// Reads a request.
///
/// # Errors
///
/// `InvalidField` where OpenAI would refuse it too, `NotExpressible` where only we do; both name the field's path.
pub(super) fn read_request<'a>(body: tape::Value<'_, 'a>) -> Result<Chat<'a>, Fault> {
    let root = Path::Root;
    let fields = body.as_object().ok_or_else(|| root.invalid("an object"))?;
    let mut chat = Chat::default();
    let mut limits = TokenLimits::default();
    let mut messages = None;
    for (key, value) in fields.iter() {
        let at = root.field(key);
        if !REQUEST_FIELDS.contains(&key) {
            chat.report.drop_field(&at);
            continue;
        }
        if value.is_null() {
            continue;
        }
        match key {
            "model" => {}
            "messages" => messages = Some(value),
            "max_tokens" => limits.older = Some(read_count(value, &at)?),
            "max_completion_tokens" => limits.newer = Some(read_count(value, &at)?),
            "temperature" => chat.temperature = Some(read_temperature(value, &at, &mut chat.report)?),
            "top_p" => chat.top_p = Some(read_number(value, &at, 1.0)?),
            "stop" => chat.stop = read_stop(value, &at)?,
            "user" => chat.user = Some(read_text(value, &at)?),
            "stream" => chat.wanted.stream = read_bool(value, &at)?,
            "stream_options" => chat.wanted.stream_usage = read_stream_options(value, &at)?,
            _ if is_default(key, value) => {}
            _ => return Err(at.refused("can't be carried")),
        }
    }
    chat.max_tokens = limits.settle()?;
    let at = root.field("messages");
    read_messages(messages.ok_or_else(|| at.invalid("a list of messages"))?, &at, &mut chat)?;
    Ok(chat)
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

/// Whether a field says what the API does without it, and what Anthropic does too.
fn is_default(key: &str, value: tape::Value<'_, '_>) -> bool {
    match key {
        "n" => value.as_u64() == Some(1),
        "frequency_penalty" | "presence_penalty" | "top_logprobs" => value.cast_f64() == Some(0.0),
        "logprobs" | "store" => value.as_bool() == Some(false),
        "parallel_tool_calls" => value.is_bool(),
        "tool_choice" | "function_call" => matches!(value.as_str(), Some("none" | "auto")),
        "service_tier" => matches!(value.as_str(), Some("auto" | "default")),
        "verbosity" => value.as_str() == Some("medium"),
        "tools" | "functions" => is_empty_list(value),
        "logit_bias" | "metadata" => value.as_object().is_some_and(|object| object.is_empty()),
        "modalities" => value
            .as_array()
            .is_some_and(|list| list.len() == 1 && list.iter().all(|modality| modality.as_str() == Some("text"))),
        "response_format" => value.as_object().is_some_and(|object| {
            object.len() == 1 && object.get("type").and_then(tape::Value::into_string) == Some("text")
        }),
        _ => false,
    }
}

fn is_empty_list(value: tape::Value<'_, '_>) -> bool {
    value.as_array().is_some_and(|list| list.is_empty())
}

fn read_messages<'a>(messages: tape::Value<'_, 'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    let list = messages.as_array().ok_or_else(|| at.invalid("a list of messages"))?;
    if list.is_empty() {
        return Err(at.invalid("a list of at least one message"));
    }
    for (nth, message) in list.iter().enumerate() {
        read_message(message, &at.item(nth), chat)?;
    }
    if chat.turns.is_empty() {
        return Err(at.refused("has no message of a user or assistant"));
    }
    Ok(())
}

fn read_message<'a>(message: tape::Value<'_, 'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    let fields = message.as_object().ok_or_else(|| at.invalid("an object"))?;
    let mut voice = None;
    let mut content = None;
    for (key, value) in fields.iter() {
        let at = at.field(key);
        match key {
            "role" => voice = Some(read_voice(value, &at)?),
            "content" => content = Some(value),
            "tool_calls" | "annotations" if is_empty_list(value) => {}
            _ if !MESSAGE_FIELDS.contains(&key) => chat.report.drop_field(&at),
            _ if value.is_null() => {}
            _ => return Err(at.refused("can't be carried")),
        }
    }
    let voice = voice.ok_or_else(|| at.field("role").invalid("a role"))?;
    let at_content = at.field("content");
    let content = content.ok_or_else(|| at_content.invalid("text or a list of parts"))?;
    match voice {
        Voice::System => {
            if !chat.turns.is_empty() {
                chat.report.approximate(at);
            }
            read_content(content, &at_content, &mut chat.system)
        }
        Voice::Of(role) => {
            let mut parts = Vec::with_capacity(1);
            read_content(content, &at_content, &mut parts)?;
            if parts.is_empty() {
                return Err(at_content.refused("is empty"));
            }
            chat.turns.push(Turn { role, parts });
            Ok(())
        }
    }
}

/// Who speaks, of those who can be carried.
#[derive(Clone, Copy)]
enum Voice {
    System,
    Of(Role),
}

fn read_voice(value: tape::Value<'_, '_>, at: &Path<'_>) -> Result<Voice, Fault> {
    match read_text(value, at)? {
        "system" | "developer" => Ok(Voice::System),
        "user" => Ok(Voice::Of(Role::User)),
        "assistant" => Ok(Voice::Of(Role::Assistant)),
        role @ ("tool" | "function") => Err(at.refused(format_args!("\"{role}\" can't be carried"))),
        _ => Err(at.invalid("one of \"system\", \"developer\", \"user\", \"assistant\", \"tool\"")),
    }
}

fn read_content<'a>(content: tape::Value<'_, 'a>, at: &Path<'_>, parts: &mut Vec<Part<'a>>) -> Result<(), Fault> {
    if let Some(text) = content.into_string() {
        push_text(text, parts);
        return Ok(());
    }
    let list = content.as_array().ok_or_else(|| at.invalid("text or a list of parts"))?;
    for (nth, part) in list.iter().enumerate() {
        push_text(read_part(part, &at.item(nth))?, parts);
    }
    Ok(())
}

/// An empty part says nothing, and Anthropic refuses it.
fn push_text<'a>(text: &'a str, parts: &mut Vec<Part<'a>>) {
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
}

fn read_part<'a>(part: tape::Value<'_, 'a>, at: &Path<'_>) -> Result<&'a str, Fault> {
    let fields = part.as_object().ok_or_else(|| at.invalid("an object"))?;
    let at_type = at.field("type");
    let kind = fields.get("type").ok_or_else(|| at_type.invalid("the part's type"))?;
    match read_text(kind, &at_type)? {
        "text" => {}
        other => return Err(at_type.refused(format_args!("\"{}\" can't be carried", shown(other)))),
    }
    let mut text = None;
    for (key, value) in fields.iter() {
        let at = at.field(key);
        match key {
            "type" => {}
            "text" => text = Some(read_text(value, &at)?),
            _ => return Err(at.refused("can't be carried")),
        }
    }
    text.ok_or_else(|| at.field("text").invalid("text"))
}

fn read_stop<'a>(value: tape::Value<'_, 'a>, at: &Path<'_>) -> Result<Vec<&'a str>, Fault> {
    if let Some(text) = value.into_string() {
        return Ok(vec![checked_stop(text, at)?]);
    }
    let list = value.as_array().ok_or_else(|| at.invalid("text or a list of texts"))?;
    let mut stops = Vec::with_capacity(list.len());
    for (nth, stop) in list.iter().enumerate() {
        let at = at.item(nth);
        stops.push(checked_stop(read_text(stop, &at)?, &at)?);
    }
    Ok(stops)
}

fn checked_stop<'a>(text: &'a str, at: &Path<'_>) -> Result<&'a str, Fault> {
    if text.trim().is_empty() { Err(at.refused("is white space only")) } else { Ok(text) }
}

/// Whether the client wants usage at the stream's end.
fn read_stream_options(value: tape::Value<'_, '_>, at: &Path<'_>) -> Result<bool, Fault> {
    let mut stream_usage = false;
    for (key, value) in value.as_object().ok_or_else(|| at.invalid("an object"))?.iter() {
        let at = at.field(key);
        match key {
            "include_usage" if value.is_null() => {}
            "include_usage" => stream_usage = read_bool(value, &at)?,
            "include_obfuscation" if value.is_null() || value.as_bool() == Some(false) => {}
            _ => return Err(at.refused("can't be carried")),
        }
    }
    Ok(stream_usage)
}

/// Anthropic's temperatures end at 1.
fn read_temperature(value: tape::Value<'_, '_>, at: &Path<'_>, report: &mut Report) -> Result<f64, Fault> {
    let temperature = read_number(value, at, 2.0)?;
    if temperature > 1.0 {
        report.approximate(at);
    }
    Ok(temperature.min(1.0))
}

fn read_number(value: tape::Value<'_, '_>, at: &Path<'_>, max: f64) -> Result<f64, Fault> {
    let number = value.cast_f64().filter(|number| (0.0..=max).contains(number));
    number.ok_or_else(|| at.invalid(&format!("a number from 0 to {max}")))
}

fn read_count(value: tape::Value<'_, '_>, at: &Path<'_>) -> Result<u64, Fault> {
    value.as_u64().filter(|&count| count > 0).ok_or_else(|| at.invalid("a whole number above 0"))
}

fn read_bool(value: tape::Value<'_, '_>, at: &Path<'_>) -> Result<bool, Fault> {
    value.as_bool().ok_or_else(|| at.invalid("true or false"))
}

fn read_text<'a>(value: tape::Value<'_, 'a>, at: &Path<'_>) -> Result<&'a str, Fault> {
    value.into_string().ok_or_else(|| at.invalid("text"))
}

/// Appends a whole answer: a `chat.completion`.
pub(super) fn write_answer(answer: &Answer<'_>, naming: &Naming<'_>, out: &mut Vec<u8>) {
    write_head("chat.completion", naming, out);
    out.extend_from_slice(b"{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    write_parts(&answer.parts, out);
    out.extend_from_slice(b",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"");
    out.extend_from_slice(finish_reason(answer.stop).as_bytes());
    out.extend_from_slice(b"\"}]");
    if let Some(usage) = &answer.usage {
        out.extend_from_slice(b",\"usage\":");
        write_usage(usage, out);
    }
    out.push(b'}');
}

/// Appends an answer's names, up to and including the bracket that opens its choices.
fn write_head(object: &str, naming: &Naming<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    escape_into(out, naming.id);
    out.extend_from_slice(b",\"object\":");
    escape_into(out, object);
    out.extend_from_slice(b",\"created\":");
    out.extend_from_slice(itoa::Buffer::new().format(naming.created).as_bytes());
    out.extend_from_slice(b",\"model\":");
    escape_into(out, naming.model);
    out.extend_from_slice(b",\"choices\":[");
}

/// An answer's content is one string, in which the parts follow each other.
fn write_parts(parts: &[Part<'_>], out: &mut Vec<u8>) {
    match parts {
        [Part::Text(text)] => escape_into(out, text),
        parts => {
            let joined: String = parts.iter().map(|Part::Text(text)| *text).collect();
            escape_into(out, &joined);
        }
    }
}

const fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::EndOfTurn | Stop::Sequence | Stop::Paused => "stop",
        Stop::MaxTokens | Stop::ContextFull => "length",
        Stop::ToolUse => "tool_calls",
        Stop::Refusal => "content_filter",
    }
}

/// Prints [`Delta`]s as the chunks of a stream.
///
/// The order is the one that official clients need: the role first, then content, then a chunk with the
/// `finish_reason`, then usage with an empty `choices` (only if asked for), then `[DONE]`. Deltas come in this order by
/// themselves, so nothing has to be remembered from one to the next.
#[derive(Debug)]
pub(super) struct Writer {
    stream_usage: bool,
    /// What every chunk begins with, `data: ` included, up to the bracket that opens its choices.
    head: Box<[u8]>,
}

impl Writer {
    pub(super) fn new(naming: &Naming<'_>, wanted: Wanted) -> Self {
        let mut head = Vec::with_capacity(128 + naming.id.len() + naming.model.len());
        head.extend_from_slice(b"data: ");
        write_head("chat.completion.chunk", naming, &mut head);
        Self { stream_usage: wanted.stream_usage, head: head.into() }
    }

    /// Appends what `delta` is in events: none, one, or those of the end. `usage` is what is known by now.
    pub(super) fn write(&self, delta: &Delta<'_>, usage: &Usage, out: &mut Vec<u8>) {
        match delta {
            Delta::Begin => self.write_chunk(br#"{"role":"assistant","content":"","refusal":null}"#, None, out),
            Delta::Text(literal) => self.write_content(literal, out),
            Delta::Stop(stop) => self.write_chunk(b"{}", Some(*stop), out),
            Delta::End => self.write_end(usage, out),
            Delta::Failed(error) => {
                out.extend_from_slice(b"data: ");
                write_error(error, IN_STREAM, out);
                out.extend_from_slice(b"\n\n");
            }
            Delta::Alive => out.extend_from_slice(b": ping\n\n"),
            Delta::Nothing => {}
        }
    }

    fn write_content(&self, literal: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":{\"content\":");
        out.extend_from_slice(literal);
        out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":null}]");
        self.write_tail(out);
    }

    fn write_chunk(&self, delta: &[u8], stop: Option<Stop>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":");
        out.extend_from_slice(delta);
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":");
        match stop {
            Some(stop) => escape_into(out, finish_reason(stop)),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}]");
        self.write_tail(out);
    }

    /// Whoever asked for usage gets `null` in every chunk but the last, as from OpenAI.
    fn write_tail(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.stream_usage { b",\"usage\":null}\n\n".as_slice() } else { b"}\n\n" });
    }

    fn write_end(&self, usage: &Usage, out: &mut Vec<u8>) {
        if self.stream_usage {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            write_usage(usage, out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

/// The status of an error that comes within a stream: the answer had begun well.
const IN_STREAM: u16 = 200;

/// Appends an error of the vendor, with its own word for it as `code`. Without a message, a sentence about `status`.
pub(super) fn write_error(error: &VendorError<'_>, status: u16, out: &mut Vec<u8>) {
    let code = error.kind.as_deref();
    let kind = code.map_or_else(|| error_type_of_status(status), error_type);
    match error.message.as_deref() {
        Some(message) => errors::write_openai(message, kind, code, None, out),
        None => {
            let message = format!("The vendor answered with status {status} and an error that could not be read.");
            errors::write_openai(&message, kind, code, None, out);
        }
    }
}

/// Anthropic's words (docs.anthropic.com/en/api/errors) in OpenAI's, as far as OpenAI has one.
fn error_type(anthropic: &str) -> &'static str {
    match anthropic {
        "invalid_request_error" | "not_found_error" | "request_too_large" => "invalid_request_error",
        "authentication_error" => "authentication_error",
        "permission_error" => "permission_error",
        "billing_error" => "insufficient_quota",
        "rate_limit_error" => "rate_limit_error",
        _ => "server_error",
    }
}

const fn error_type_of_status(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// The vendor's word for an error, of its `error` value: the code, be it a number, else the type; empty where there is
/// neither.
pub(super) fn error_word(error: Value<'_>) -> Cow<'_, str> {
    let word = |name: &str| {
        let value = error.get(name)?;
        match value.kind() {
            Kind::String => value.to_str().filter(|word| !word.is_empty()),
            Kind::Number => std::str::from_utf8(value.raw()).ok().map(Cow::Borrowed),
            Kind::Object | Kind::Array | Kind::Bool | Kind::Null => None,
        }
    };
    word("code").or_else(|| word("type")).unwrap_or_default()
}

fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let mut field = |name: &[u8], count: u64| {
        out.extend_from_slice(name);
        out.extend_from_slice(digits.format(count).as_bytes());
    };
    field(b"{\"prompt_tokens\":", usage.prompt_tokens);
    field(b",\"completion_tokens\":", usage.completion_tokens);
    field(b",\"total_tokens\":", usage.total_tokens);
    field(b",\"prompt_tokens_details\":{\"cached_tokens\":", usage.cached_tokens);
    field(b",\"cache_write_tokens\":", usage.cache_write_tokens);
    field(b"},\"completion_tokens_details\":{\"reasoning_tokens\":", usage.reasoning_tokens);
    out.extend_from_slice(b"}}");
}

/// Reads a `usage` object, of an answer or of a chunk; none if it isn't one.
///
/// Beyond OpenAI's own fields: where DeepSeek (`prompt_cache_hit_tokens`), Moonshot and Hugging Face (`cached_tokens`)
/// say what came from a cache.
pub(super) fn read_usage(object: Value<'_>) -> Option<Usage> {
    let mut usage = Usage::default();
    let (mut prompt, mut total) = (None, None);
    // Names are compared as they are written, since no vendor escapes them, and every field is walked over once.
    for (name, value) in object.fields() {
        match name.raw() {
            b"\"prompt_tokens\"" => prompt = value.to_u64(),
            b"\"completion_tokens\"" => usage.completion_tokens = value.to_u64().unwrap_or_default(),
            b"\"total_tokens\"" => total = value.to_u64(),
            b"\"prompt_cache_hit_tokens\"" | b"\"cached_tokens\"" if usage.cached_tokens == 0 => {
                usage.cached_tokens = value.to_u64().unwrap_or_default();
            }
            b"\"prompt_tokens_details\"" => {
                for (name, value) in value.fields() {
                    match name.raw() {
                        b"\"cached_tokens\"" => usage.cached_tokens = value.to_u64().unwrap_or(usage.cached_tokens),
                        b"\"cache_write_tokens\"" => usage.cache_write_tokens = value.to_u64().unwrap_or_default(),
                        _ => {}
                    }
                }
            }
            b"\"completion_tokens_details\"" => {
                let count = value.fields().find(|(name, _)| name.raw() == b"\"reasoning_tokens\"");
                usage.reasoning_tokens = count.and_then(|(_, value)| value.to_u64()).unwrap_or_default();
            }
            _ => {}
        }
    }
    usage.prompt_tokens = prompt?;
    usage.total_tokens = total.unwrap_or(usage.prompt_tokens.saturating_add(usage.completion_tokens));
    Some(usage)
}

/// Appends the body of `GET /v1/models`: the names that a client may put into `model`.
pub(super) fn write_models<'a>(names: impl IntoIterator<Item = &'a str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    for (nth, name) in names.into_iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"id\":");
        escape_into(out, name);
        // A group has no day of birth that would mean anything; clients insist on an integer.
        out.extend_from_slice(b",\"object\":\"model\",\"created\":0,\"owned_by\":\"kt\"}");
    }
    out.extend_from_slice(b"]}");
}
