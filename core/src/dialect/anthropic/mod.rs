//! Messages, as Anthropic speaks them (docs.anthropic.com/en/api/messages and …/messages-streaming, read in November
//! 2026).
//!
//! The mirror image of [`openai`](super::openai): the same items in the same order. `read` and `messages` read a client's
//! request, `write` writes a vendor's; `answer` and `stream` read a vendor's answer and write a client's.
//!
//! What becomes of a request's fields on their way to OpenAI (*approximated* and *dropped* ones are reported by path):
//!
//! | field | |
//! |---|---|
//! | `model` | replaced by the configured one |
//! | `system`, messages of `system` | carried as system messages, where they stand |
//! | `messages[]` of `user` and `assistant` | carried; approximated where the last one is the model's (Anthropic's goes on with it, this one answers it) |
//! | `text` | carried; `citations` are approximated: left out |
//! | `image` | carried, base 64 or URL; a `file_id` is refused |
//! | `document` | carried where it is a PDF in base 64; plain text and pieces are said as text, approximated; a URL or `file_id` is refused; `context` is approximated: left out |
//! | `tool_use`, `tool_result` | carried, ids kept, each result a message of its own before what the user says; refused where calls and answers don't match. `is_error` is approximated: left out; pictures and files in a result are shown by the user behind it, approximated; `tool_reference` is refused |
//! | `thinking` | carried as `reasoning_content` to vendors that speak OpenAI's language; OpenAI doesn't take it back: approximated, left out. `redacted_thinking` is approximated: left out |
//! | `cache_control` anywhere | approximated: left out, these vendors cache by themselves |
//! | `tools` of one's own | carried with their schema; `strict` where every object is closed and requires all of its properties, else approximated; `defer_loading`, `eager_input_streaming`, `input_examples`, `allowed_callers` are approximated: left out |
//! | tools of Anthropic's, other blocks | refused |
//! | `tool_choice`, `disable_parallel_tool_use` | carried |
//! | `max_tokens` | carried, as `max_completion_tokens` to OpenAI; required |
//! | `temperature`, `top_p` | carried; left out, approximated, by OpenAI's models that reason |
//! | `top_k` | approximated: left out |
//! | `stop_sequences` | carried, up to 4; more are refused |
//! | `metadata.user_id` | carried as `user` |
//! | `thinking` | carried as the `reasoning_effort` that is worth as many tokens; approximated where none is exactly, and left out by OpenAI's models that don't reason; `adaptive` is what a model does that is told no effort; `display` is approximated |
//! | `output_config.effort` | carried with `adaptive` thinking, else approximated: left out |
//! | `output_config.format`, `output_format` | carried; approximated where the schema isn't one that OpenAI can hold a model to, or by a forced tool for models that can't; refused where thinking or tools of the client's are in the way of that |
//! | `stream` | carried, with `stream_options.include_usage` where the target takes it |
//! | `service_tier` | carried: `standard_only` is `default` |
//! | `speed`, `diagnostics`, `user_profile_id`, `workspace_id` | approximated: left out |
//! | `container`, `mcp_servers`, `inference_geo`, `context_management` | refused |
//! | a field that is `null` | accepted: it says what its absence says |
//! | a field that nobody here knows | dropped |
//!
//! What becomes of an answer's fields on their way to an OpenAI client:
//!
//! | field | |
//! |---|---|
//! | `id`, `model` | replaced by the gateway's id and the configured model |
//! | `text` blocks | carried, the blocks joined; `citations` are lost |
//! | `thinking`, `redacted_thinking` | carried: the text as `reasoning_content`, the blocks with their signatures as `thinking_blocks`, in pieces of one `index` where they are streamed |
//! | `tool_use` | carried as `tool_calls`, ids kept, arguments as text, `{}` where there are none; as the `function_call` of a client that asked so; as `content` where it is the forced tool |
//! | blocks of Anthropic's own tools, `container_upload`, `compaction`, `fallback` | lost: a request that we translate can't ask for them |
//! | a block of any other type | not understood |
//! | `stop_reason` | `end_turn`, `stop_sequence`, `pause_turn` are `stop`; `max_tokens`, `model_context_window_exceeded` are `length`; `tool_use` is `tool_calls`; `refusal` is `content_filter`, its `stop_details.explanation` the `refusal`; any other is not understood |
//! | `usage` tokens | carried; `prompt_tokens` is fresh, cache-read and cache-written input together, `total_tokens` the sum |
//! | `usage.service_tier` | carried |
//! | `stop_sequence`, `container`, `context_management`, `diagnostics`, the rest of `usage` | lost: OpenAI's answer has no place for them |
//! | `ping` events | carried as comments |
//! | events of an unknown type | left out, as the vendor asks of its clients |
//! | `error` bodies and events | carried: message, type as the nearest of OpenAI's, the vendor's own as `code`; `request_id` stands in the header |

mod answer;
mod messages;
mod read;
mod stream;
mod write;

pub(super) use answer::{read_answer, write_answer};
pub(super) use read::read_request;
pub(super) use stream::{Reader, Writer};
pub(super) use write::{fit, write_part, write_request};

use std::borrow::Cow;

use super::chat::{Stop, Tier, VendorError, Wanted};
use super::path::{Path, shown};
use super::print::Object;
use super::{IN_STREAM, errors};
use crate::fault::Fault;
use crate::json::{Scratch, Value, escape_into, scan};
use crate::tally::Usage;

/// `max_tokens` of a request that names none, since Anthropic insists on one. It is the most that the oldest models still
/// in use (Claude 3) take; a larger one they refuse (docs.anthropic.com/en/docs/about-claude/models).
pub const MAX_TOKENS_DEFAULT: u64 = 4_096;

/// Fewest tokens that a model may be told to think with (docs.anthropic.com/en/docs/build-with-claude/extended-thinking).
const THINKING_TOKENS_MIN: u64 = 1_024;

/// What a block of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// `text`.
    Text,
    /// `thinking`.
    Thinking,
    /// `redacted_thinking`.
    Redacted,
    /// `tool_use`.
    Call,
    /// Of the vendor's own tools, or its own bookkeeping.
    OfVendor,
}

/// Reads what a block is.
///
/// # Errors
///
/// `AnswerNotUnderstood` for a type that isn't known: it could be anything.
fn block(value: Value<'_>, at: &Path<'_>) -> Result<Block, Fault> {
    match value.get("type").and_then(Value::to_str).as_deref().unwrap_or_default() {
        "text" => Ok(Block::Text),
        "thinking" => Ok(Block::Thinking),
        "redacted_thinking" => Ok(Block::Redacted),
        "tool_use" => Ok(Block::Call),
        "server_tool_use"
        | "web_search_tool_result"
        | "web_fetch_tool_result"
        | "code_execution_tool_result"
        | "bash_code_execution_tool_result"
        | "text_editor_code_execution_tool_result"
        | "tool_search_tool_result"
        | "advisor_tool_result"
        | "mcp_tool_use"
        | "mcp_tool_result"
        | "container_upload"
        | "compaction"
        | "fallback" => Ok(Block::OfVendor),
        other => Err(at.field("type").strange(format_args!("is \"{}\", which is not known", shown(other)))),
    }
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

/// The word for why the model stopped. A call of the tool that we forced upon it is its answer.
const fn stop_reason(stop: Stop, wanted: Wanted) -> &'static str {
    match stop {
        Stop::ToolUse if wanted.json_tool => "end_turn",
        Stop::ToolUse => "tool_use",
        Stop::EndOfTurn => "end_turn",
        Stop::Sequence => "stop_sequence",
        Stop::MaxTokens => "max_tokens",
        Stop::ContextFull => "model_context_window_exceeded",
        Stop::Refusal => "refusal",
        Stop::Paused => "pause_turn",
    }
}

/// How urgently the vendor says that it served.
fn read_tier(tier: Value<'_>) -> Option<Tier> {
    match tier.to_str().as_deref() {
        Some("standard") => Some(Tier::Standard),
        Some("priority") => Some(Tier::Priority),
        Some(_) | None => None,
    }
}

/// The word for it, in an answer.
const fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Auto | Tier::Standard => "standard",
        Tier::Priority => "priority",
    }
}

/// Reads the body of an error answer, as far as it is one.
pub(super) fn read_error<'a>(body: &'a [u8], scratch: &mut Scratch) -> VendorError<'a> {
    scan(body, scratch).map_or_else(|_| VendorError::default(), |object| error_of(object.value()))
}

fn error_of(body: Value<'_>) -> VendorError<'_> {
    let field = |name: &str| -> Option<Cow<'_, str>> { body.get("error")?.get(name)?.to_str() };
    VendorError { kind: field("type"), code: None, message: field("message") }
}

/// The vendor's word for an error, of its `error` object; empty where there is none.
pub(super) fn error_word(error: Value<'_>) -> Cow<'_, str> {
    error.get("type").and_then(Value::to_str).unwrap_or_default()
}

/// Appends an error of the vendor. Without a message, a sentence about `status`.
pub(super) fn write_error(error: &VendorError<'_>, status: u16, out: &mut Vec<u8>) {
    let words = [error.code.as_deref(), error.kind.as_deref()];
    let known = words.into_iter().flatten().find_map(error_type);
    let kind = match status {
        IN_STREAM => known.unwrap_or("api_error"),
        status => error_type_of_status(status),
    };
    match error.message.as_deref() {
        Some(message) => errors::write_anthropic(message, kind, out),
        None => errors::write_anthropic(&errors::unread(status), kind, out),
    }
}

/// OpenAI's words (platform.openai.com/docs/guides/error-codes), and statuses that other vendors give as a code, in
/// Anthropic's.
fn error_type(openai: &str) -> Option<&'static str> {
    match openai {
        "invalid_request_error" => Some("invalid_request_error"),
        "authentication_error" | "invalid_api_key" => Some("authentication_error"),
        "permission_error" => Some("permission_error"),
        "model_not_found" => Some("not_found_error"),
        "insufficient_quota" => Some("billing_error"),
        "rate_limit_error" | "rate_limit_exceeded" | "requests" | "tokens" => Some("rate_limit_error"),
        "server_error" => Some("api_error"),
        "overloaded" | "overloaded_error" | "engine_overloaded" => Some("overloaded_error"),
        other => other.parse().ok().filter(|status| (400..600).contains(status)).map(error_type_of_status),
    }
}

/// Anthropic's word for a status (docs.anthropic.com/en/api/errors).
const fn error_type_of_status(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// Prints the fields of a `usage` object.
fn write_usage(usage: &Usage, fields: &mut Object<'_>) {
    // Vendors are known whose prompt leaves out what came from a cache, as Anthropic's does, or that count what was read
    // and what was written twice.
    let uncached = usage.prompt_tokens.checked_sub(usage.cached_tokens).unwrap_or(usage.prompt_tokens);
    let written = usage.cache_write_tokens.min(uncached);
    fields.number("input_tokens", uncached - written);
    fields.number("cache_creation_input_tokens", written);
    fields.number("cache_read_input_tokens", usage.cached_tokens);
    fields.number("output_tokens", usage.completion_tokens);
    if usage.reasoning_tokens > 0 {
        fields.object("output_tokens_details", |details| details.number("thinking_tokens", usage.reasoning_tokens));
    }
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
