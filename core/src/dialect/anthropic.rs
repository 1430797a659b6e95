//! Messages, as Anthropic speaks them (docs.anthropic.com/en/api/messages and …/messages-streaming, read in November
//! 2026).
//!
//! The mirror image of [`openai`](super::openai): the same items in the same order.
//!
//! What becomes of an answer's fields on their way to an OpenAI client:
//!
//! | field | |
//! |---|---|
//! | `id`, `model` | replaced by the gateway's id and the configured model |
//! | `content[]` of `text` | carried, the blocks joined |
//! | `content[]` of any other type, `citations` | not understood: a request that we translate can't ask for them |
//! | `stop_reason` | `end_turn`, `stop_sequence`, `pause_turn` are `stop`; `max_tokens`, `model_context_window_exceeded` are `length`; `tool_use` is `tool_calls`; `refusal` is `content_filter`; any other is not understood |
//! | `usage` tokens | carried; `prompt_tokens` is fresh, cache-read and cache-written input together, `total_tokens` the sum |
//! | `stop_sequence`, `stop_details`, `container`, `context_management`, `diagnostics`, the rest of `usage` | lost: OpenAI's answer has no place for them |
//! | `ping` events | carried as comments |
//! | events of an unknown type | left out, as the vendor asks of its clients |
//! | `error` bodies and events | carried: message, type as the nearest of OpenAI's, the vendor's own as `code`; `request_id` stands in the header |
//!
//! What becomes of a request on its way here stands in [`openai`](super::openai).

use std::borrow::Cow;

use simd_json::prelude::*;
use simd_json::tape;

use super::chat::{Answer, Chat, Delta, Part, Role, Stop, VendorError};
use super::path::{Path, shown};
use crate::fault::Fault;
use crate::json::{Object, Scratch, Value, escape_into, scan};
use crate::tally::{Usage, UsageSource};

/// `max_tokens` of a request that names none, since Anthropic insists on one. It is the most that the oldest models still
/// in use (Claude 3) take; a larger one they refuse (docs.anthropic.com/en/docs/about-claude/models).
pub const MAX_TOKENS_DEFAULT: u64 = 4_096;

/// Appends a request for `model`.
pub(super) fn write_request(chat: &Chat<'_>, model: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"model\":");
    escape_into(out, model);
    out.extend_from_slice(b",\"max_tokens\":");
    out.extend_from_slice(itoa::Buffer::new().format(chat.max_tokens.unwrap_or(MAX_TOKENS_DEFAULT)).as_bytes());
    if !chat.system.is_empty() {
        out.extend_from_slice(b",\"system\":");
        write_blocks(&chat.system, out);
    }
    out.extend_from_slice(b",\"messages\":");
    write_list(&chat.turns, out, |turn, out| {
        out.extend_from_slice(match turn.role {
            Role::User => b"{\"role\":\"user\",\"content\":".as_slice(),
            Role::Assistant => b"{\"role\":\"assistant\",\"content\":",
        });
        write_content(&turn.parts, out);
        out.push(b'}');
    });
    write_sampling(chat, out);
    if let Some(user) = chat.user {
        out.extend_from_slice(b",\"metadata\":{\"user_id\":");
        escape_into(out, user);
        out.push(b'}');
    }
    if chat.wanted.stream {
        out.extend_from_slice(b",\"stream\":true");
    }
    out.push(b'}');
}

fn write_sampling(chat: &Chat<'_>, out: &mut Vec<u8>) {
    if let Some(temperature) = chat.temperature {
        out.extend_from_slice(b",\"temperature\":");
        write_number(temperature, out);
    }
    if let Some(top_p) = chat.top_p {
        out.extend_from_slice(b",\"top_p\":");
        write_number(top_p, out);
    }
    if !chat.stop.is_empty() {
        out.extend_from_slice(b",\"stop_sequences\":");
        write_list(&chat.stop, out, |stop, out| escape_into(out, stop));
    }
}

/// The shortest digits that read back as the same number. Only numbers from 0 to 1 come here.
fn write_number(number: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(ryu::Buffer::new().format(number).as_bytes());
}

/// A single text stands for itself, as the official client writes it.
fn write_content(parts: &[Part<'_>], out: &mut Vec<u8>) {
    match parts {
        [Part::Text(text)] => escape_into(out, text),
        parts => write_blocks(parts, out),
    }
}

fn write_blocks(parts: &[Part<'_>], out: &mut Vec<u8>) {
    write_list(parts, out, |part, out| match part {
        Part::Text(text) => {
            out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
            escape_into(out, text);
            out.push(b'}');
        }
    });
}

fn write_list<T>(items: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (nth, item) in items.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

/// Reads a whole answer.
///
/// # Errors
///
/// `AnswerNotUnderstood`, with the path of what is not as documented, or has no place in OpenAI's answer.
pub(super) fn read_answer<'a>(body: tape::Value<'_, 'a>) -> Result<Answer<'a>, Fault> {
    let root = Path::Root;
    let fields = body.as_object().ok_or_else(|| root.strange("is not an object"))?;
    let at = root.field("type");
    match fields.get("type").and_then(tape::Value::into_string) {
        Some("message") => {}
        Some(other) => return Err(at.strange(format_args!("is \"{}\"", shown(other)))),
        None => return Err(at.strange("is missing")),
    }
    let at = root.field("content");
    let blocks = fields.get("content").and_then(|content| content.as_array());
    let blocks = blocks.ok_or_else(|| at.strange("is not a list"))?;
    let mut parts = Vec::with_capacity(blocks.len());
    for (nth, block) in blocks.iter().enumerate() {
        parts.push(Part::Text(read_block(block, &at.item(nth))?));
    }
    let stop = fields.get("stop_reason").and_then(tape::Value::into_string);
    Ok(Answer {
        parts,
        stop: read_stop(stop, &root.field("stop_reason"))?,
        usage: fields.get("usage").and_then(|usage| usage.as_object()).map(|usage| read_counts(&usage).usage()),
        model: fields.get("model").and_then(tape::Value::into_string),
    })
}

fn read_block<'a>(block: tape::Value<'_, 'a>, at: &Path<'_>) -> Result<&'a str, Fault> {
    let field = |name: &str| block.as_object().and_then(|fields| fields.get(name));
    let kind = field("type").and_then(tape::Value::into_string).unwrap_or_default();
    if kind != "text" {
        return Err(unasked(at, kind));
    }
    if field("citations").is_some_and(|citations| citations.as_array().is_some_and(|list| !list.is_empty())) {
        return Err(at.field("citations").strange("were not asked for"));
    }
    field("text").and_then(tape::Value::into_string).ok_or_else(|| at.field("text").strange("is missing"))
}

/// A block or a piece of one that no request of ours can have asked for.
fn unasked(at: &Path<'_>, kind: &str) -> Fault {
    at.field("type").strange(format_args!("is \"{}\", which was not asked for", shown(kind)))
}

fn read_stop(reason: Option<&str>, at: &Path<'_>) -> Result<Stop, Fault> {
    match reason {
        Some("end_turn") => Ok(Stop::EndOfTurn),
        Some("stop_sequence") => Ok(Stop::Sequence),
        Some("max_tokens") => Ok(Stop::MaxTokens),
        Some("model_context_window_exceeded") => Ok(Stop::ContextFull),
        Some("tool_use") => Ok(Stop::ToolUse),
        Some("refusal") => Ok(Stop::Refusal),
        Some("pause_turn") => Ok(Stop::Paused),
        Some(other) => Err(at.strange(format_args!("is \"{}\", which is not known", shown(other)))),
        None => Err(at.strange("is missing")),
    }
}

/// Reads the events of a stream as [`Delta`]s.
#[derive(Debug, Default)]
pub(super) struct Reader {
    state: Reading,
    counts: Counts,
    model: Option<Box<str>>,
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    /// Nothing has been said.
    #[default]
    Before,
    /// `message_start` has been.
    Message,
    /// The `stop_reason` has been.
    Stopped,
    /// `message_stop` has been.
    Over,
}

impl Reader {
    /// Reads the data of one event; `scratch` is memory that is used again. What comes after `message_stop` says nothing.
    ///
    /// # Errors
    ///
    /// `AnswerNotUnderstood`, with the path of what is not as documented, or was not asked for.
    pub(super) fn read<'a>(&mut self, data: &'a [u8], scratch: &mut Scratch) -> Result<Delta<'a>, Fault> {
        let root = Path::Root;
        let event = &scan(data, scratch).map_err(|_| root.strange("of an event is not JSON"))?;
        let kind = event.get("type").and_then(Value::to_str).ok_or_else(|| root.field("type").strange("is missing"))?;
        match (self.state, &*kind) {
            (Reading::Over, _) => Ok(Delta::Nothing),
            (Reading::Before | Reading::Message | Reading::Stopped, "error") => {
                Ok(Delta::Failed(error_of(event.value())))
            }
            (Reading::Before | Reading::Message | Reading::Stopped, "ping") => Ok(Delta::Alive),
            (Reading::Before | Reading::Message, "message_start") => self.begin(event),
            (Reading::Message, "content_block_start") => read_start(event),
            (Reading::Message, "content_block_delta") => read_delta(event),
            (Reading::Message | Reading::Stopped, "content_block_stop") => Ok(Delta::Nothing),
            (Reading::Message | Reading::Stopped, "message_delta") => self.stop(event),
            (Reading::Stopped, "message_stop") => {
                self.state = Reading::Over;
                Ok(Delta::End)
            }
            (
                Reading::Before | Reading::Message | Reading::Stopped,
                "message_start"
                | "content_block_start"
                | "content_block_delta"
                | "content_block_stop"
                | "message_delta"
                | "message_stop",
            ) => Err(root.field("type").strange(format_args!("\"{kind}\" comes out of order"))),
            (Reading::Before | Reading::Message | Reading::Stopped, _) => Ok(Delta::Nothing),
        }
    }

    /// What has been said of usage, and whether it is the vendor's last word.
    pub(super) fn usage(&self) -> (Usage, UsageSource) {
        let source = match self.state {
            Reading::Before => UsageSource::None,
            Reading::Message => UsageSource::Partial,
            Reading::Stopped | Reading::Over => UsageSource::Provider,
        };
        (self.counts.usage(), source)
    }

    /// Whether `message_stop` has been.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, Reading::Over)
    }

    /// The model as the vendor names it, once it has.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Streams are known that say it twice (the tests of Vercel's AI SDK hold one); the answer begins once.
    fn begin<'a>(&mut self, event: &Object<'a, '_>) -> Result<Delta<'a>, Fault> {
        let message = event.get("message").ok_or_else(|| Path::Root.field("message").strange("is missing"))?;
        self.model = message.get("model").and_then(Value::to_str).map(Into::into);
        self.counts.read(message.get("usage"));
        let begun = std::mem::replace(&mut self.state, Reading::Message);
        Ok(if begun == Reading::Before { Delta::Begin } else { Delta::Nothing })
    }

    /// Usage is cumulative: what this event says replaces what was said before.
    fn stop<'a>(&mut self, event: &Object<'a, '_>) -> Result<Delta<'a>, Fault> {
        self.counts.read(event.get("usage"));
        let reason = event.get("delta").and_then(|delta| delta.get("stop_reason")).and_then(Value::to_str);
        if self.state == Reading::Stopped || reason.is_none() {
            return Ok(Delta::Nothing);
        }
        let stop = read_stop(reason.as_deref(), &Path::Root.field("delta").field("stop_reason"))?;
        self.state = Reading::Stopped;
        Ok(Delta::Stop(stop))
    }
}

/// A block's start may hold text already.
fn read_start<'a>(event: &Object<'a, '_>) -> Result<Delta<'a>, Fault> {
    let root = Path::Root;
    let at = root.field("content_block");
    let block = event.get("content_block").ok_or_else(|| at.strange("is missing"))?;
    match block.get("type").and_then(Value::to_str).as_deref() {
        Some("text") => Ok(block.get("text").map_or(Delta::Nothing, text_delta)),
        other => Err(unasked(&at, other.unwrap_or_default())),
    }
}

fn read_delta<'a>(event: &Object<'a, '_>) -> Result<Delta<'a>, Fault> {
    let root = Path::Root;
    let at = root.field("delta");
    let delta = event.get("delta").ok_or_else(|| at.strange("is missing"))?;
    match delta.get("type").and_then(Value::to_str).as_deref() {
        Some("text_delta") => delta.get("text").map(text_delta).ok_or_else(|| at.field("text").strange("is missing")),
        other => Err(unasked(&at, other.unwrap_or_default())),
    }
}

/// A string's text goes on as it is written.
fn text_delta(text: Value<'_>) -> Delta<'_> {
    match text.raw() {
        literal @ [b'"', .., b'"'] if literal.len() > 2 => Delta::Text(literal),
        _ => Delta::Nothing,
    }
}

/// Reads the body of an error answer, as far as it is one.
pub(super) fn read_error<'a>(body: &'a [u8], scratch: &mut Scratch) -> VendorError<'a> {
    scan(body, scratch).map_or_else(|_| VendorError::default(), |object| error_of(object.value()))
}

fn error_of(body: Value<'_>) -> VendorError<'_> {
    let field = |name: &str| -> Option<Cow<'_, str>> { body.get("error")?.get(name)?.to_str() };
    VendorError { kind: field("type"), message: field("message") }
}

/// The vendor's word for an error, of its `error` object; empty where there is none.
pub(super) fn error_word(error: Value<'_>) -> Cow<'_, str> {
    error.get("type").and_then(Value::to_str).unwrap_or_default()
}

/// Reads a `usage` object of an answer or of `message_start`; none if it isn't one.
pub(super) fn read_usage(object: Value<'_>) -> Option<Usage> {
    object.get("input_tokens")?.to_u64()?;
    let mut counts = Counts::default();
    counts.read(Some(object));
    Some(counts.usage())
}

/// In `output_tokens_details`: part of the output.
const THINKING: &str = "thinking_tokens";
/// In `cache_creation`: part of what was written to the cache, which is billed apart.
const ONE_HOUR: &str = "ephemeral_1h_input_tokens";

/// Tokens as Anthropic counts them: `input_tokens` are the fresh ones only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    input: u64,
    cache_read: u64,
    cache_written: u64,
    cache_written_1h: u64,
    output: u64,
    thinking: u64,
}

impl Counts {
    /// Before anything was said.
    pub(super) const NONE: Self =
        Self { input: 0, cache_read: 0, cache_written: 0, cache_written_1h: 0, output: 0, thinking: 0 };

    /// Takes what is said and keeps what isn't, or is `null`.
    pub(super) fn read(&mut self, usage: Option<Value<'_>>) {
        let Some(usage) = usage else { return };
        for (name, value) in usage.fields() {
            let Some(name) = name.to_str() else { continue };
            match &*name {
                "output_tokens_details" => self.set(THINKING, value.get(THINKING).and_then(Value::to_u64)),
                "cache_creation" => self.set(ONE_HOUR, value.get(ONE_HOUR).and_then(Value::to_u64)),
                name => self.set(name, value.to_u64()),
            }
        }
    }

    fn set(&mut self, name: &str, count: Option<u64>) {
        let Some(count) = count else { return };
        match name {
            "input_tokens" => self.input = count,
            "cache_read_input_tokens" => self.cache_read = count,
            "cache_creation_input_tokens" => self.cache_written = count,
            "output_tokens" => self.output = count,
            THINKING => self.thinking = count,
            ONE_HOUR => self.cache_written_1h = count,
            _ => {}
        }
    }

    pub(super) const fn usage(self) -> Usage {
        let prompt_tokens = self.input.saturating_add(self.cache_read).saturating_add(self.cache_written);
        Usage {
            prompt_tokens,
            completion_tokens: self.output,
            total_tokens: prompt_tokens.saturating_add(self.output),
            cached_tokens: self.cache_read,
            cache_write_tokens: self.cache_written,
            cache_write_1h_tokens: self.cache_written_1h,
            reasoning_tokens: self.thinking,
        }
    }
}

fn read_counts(usage: &tape::Object<'_, '_>) -> Counts {
    let mut counts = Counts::default();
    for (name, value) in usage.iter() {
        counts.set(name, value.as_u64());
    }
    for (object, name) in [("output_tokens_details", THINKING), ("cache_creation", ONE_HOUR)] {
        let details = usage.get(object).and_then(|details| details.as_object());
        counts.set(name, details.and_then(|details| details.get(name)).and_then(|n| n.as_u64()));
    }
    counts
}

/// Appends the body of `GET /v1/models`: the names that a client may put into `model`.
pub(super) fn write_models<'a>(names: impl IntoIterator<Item = &'a str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"data\":[");
    let (mut first, mut last) = (None, None);
    for name in names {
        if last.is_some() {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"type\":\"model\",\"id\":");
        escape_into(out, name);
        out.extend_from_slice(b",\"display_name\":");
        escape_into(out, name);
        // A group has no day of birth that would mean anything; the vendor's own word for an unknown one is the epoch.
        out.extend_from_slice(b",\"created_at\":\"1970-01-01T00:00:00Z\"}");
        first = first.or(Some(name));
        last = Some(name);
    }
    out.extend_from_slice(b"],\"has_more\":false");
    for (field, name) in [(b",\"first_id\":".as_slice(), first), (b",\"last_id\":", last)] {
        out.extend_from_slice(field);
        match name {
            Some(name) => escape_into(out, name),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}
