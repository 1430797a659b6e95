//! Chat completions, as OpenAI speaks them (platform.openai.com/docs/api-reference/chat, read in November 2026).
//!
//! The mirror image of [`anthropic`](super::anthropic): the same items in the same order. `read` and `messages` read a
//! client's request, `write` writes a vendor's; `answer` and `stream` read a vendor's answer and write a client's.
//!
//! What becomes of a request's fields on their way to Anthropic (*approximated* and *dropped* ones are reported by path):
//!
//! | field | |
//! |---|---|
//! | `model` | replaced by the configured one |
//! | `messages[]` of `system` and `developer` | carried into `system`, in order; approximated where the conversation had already begun, since `system` stands before all of it; the last one is the user's message where nobody else speaks |
//! | `messages[]` of `user` and `assistant` | carried. Approximated: the model speaks first (a user's `.` before it), or last (this model goes on with it, OpenAI's answers it) |
//! | `messages[]` of `tool` and `function` | carried as `tool_result`s of one user's turn, before what the user says; refused where calls and answers don't match |
//! | a message's `name`, `annotations` | approximated: left out; a tool's name is said by its id |
//! | a message that says nothing | approximated: left out; empty parts are left out as they are |
//! | `content` parts `text`, `refusal` | carried as text |
//! | `image_url` | carried, URL or base 64 of JPEG, PNG, GIF or WebP; `detail` is approximated |
//! | `file` | carried, base 64 of PDF or text, or a URL; a `file_id` is refused |
//! | `input_audio`, any other part | refused |
//! | `tool_calls`, `function_call` | carried, ids kept; approximated where an id has characters that Anthropic doesn't take (spelled out). Arguments that are no JSON object are refused |
//! | `thinking_blocks` | carried, opaque and in their order; without signature approximated: left out |
//! | `reasoning_content`, `reasoning` | said by the blocks; without them approximated: left out |
//! | `cache_control` on parts, messages, tools | carried; `prompt_cache_breakpoint` as `{"type": "ephemeral"}` |
//! | `tools`, `functions` | carried with their schema, which gets its `"type": "object"`; `strict` where the model can, else approximated. A conversation with calls and no tools gets them back by name, with `tool_choice` none: approximated |
//! | `tool_choice`, `function_call`, `parallel_tool_calls` | carried; `allowed_tools` and custom tools are refused |
//! | `max_completion_tokens`, `max_tokens` | carried; refused if both are there and differ; 4,096 without either, and what is thought on top |
//! | `temperature` | carried up to 1, approximated by 1 above. Left out, approximated, with thinking and by models that take none |
//! | `top_p`, `top_k` | carried; left out, approximated, by models that don't take them, beside a temperature or with thinking |
//! | `stop` | carried; refused where a sequence is white space only |
//! | `user`, `safety_identifier` | carried as `metadata.user_id`; the second of two is approximated |
//! | `reasoning_effort`, `reasoning`, `thinking` | carried: as an effort to models that are told one, else as `budget_tokens` (low 2,048, medium 8,192, high 16,384). Approximated: no such effort, no room for the tokens. Thinking goes off, approximated, for models that don't think, a tool that must be called, and a round of tools whose thoughts the client didn't bring back |
//! | `response_format` of `json_schema`, `json_object` | carried in the vendor's own form where the model has it and the schema is closed or strict; else by a forced tool, approximated; refused where thinking or tools of the client's are in the way |
//! | `stream`, `stream_options.include_usage` | carried |
//! | `service_tier` | `auto` and `default` carried; `flex` is the standard one, `priority`, `fast` and `scale` are `auto`: approximated |
//! | `frequency_penalty`, `presence_penalty`, `seed`, `verbosity`, `prediction`, `store`, `metadata`, `prompt_cache_key`, `prompt_cache_options`, `prompt_cache_retention`, `include_obfuscation` | approximated: left out; nothing at all where they say what the API does anyway |
//! | `n` above 1, `logprobs`, `top_logprobs`, `logit_bias`, `modalities`, `audio`, `web_search_options`, `moderation` | refused, but for what the API does anyway |
//! | a field that is `null` | accepted: it says what its absence says |
//! | a field that nobody here knows | dropped |
//!
//! What becomes of an answer's fields on their way to a client of Anthropic's:
//!
//! | field | |
//! |---|---|
//! | `id`, `model` | replaced by the gateway's id and the configured model |
//! | `content`, `refusal` | carried as text blocks; a refusal's `stop_reason` is `refusal` |
//! | `reasoning_content`, `reasoning`, Mistral's `thinking` pieces | carried as a `thinking` block without signature to a client that asked to think; else lost |
//! | `tool_calls` | carried, ids kept, or made where there are none; arguments as an object, those that were cut off with the answer as `{}` |
//! | `finish_reason` | `stop` is `end_turn`, or `tool_use` beside calls; `length` is `max_tokens`; `tool_calls` is `tool_use`; `content_filter` is `refusal`; none in a whole answer is `end_turn`; which stop sequence it was is not said |
//! | `usage` | carried; `total_tokens` has no place; clients insist on it: where the vendor says nothing, zeros of a whole answer, and of a stream what we count at least (pieces of the answer, words of the request), which the event calls `estimated` |
//! | `service_tier` | carried as the usage's |
//! | `logprobs`, `annotations`, `system_fingerprint`, further choices' judgements, what compatible vendors add | lost: Anthropic's answer has no place for them |
//! | `audio`, `function_call`, a second choice, an unknown part or reason | not understood |
//! | `error` bodies and chunks | carried: message, type by the status or the vendor's word; OpenAI's `param` and `code` are lost |
//! | comments | carried as `ping` |

mod answer;
mod messages;
mod read;
mod stream;
mod write;

pub(super) use answer::{read_answer, write_answer};
pub(super) use read::read_request;
pub(super) use stream::{Reader, Writer};
pub(super) use write::{fit, write_request};

use std::borrow::Cow;

use super::chat::{Stop, Tier, VendorError, Wanted};
use super::print::object;
use super::{IN_STREAM, errors};
use crate::json::{Cursor, Kind, Scratch, Value, escape_into, scan};
use crate::tally::Usage;

/// Why the model stopped, in OpenAI's words and in those of vendors that speak its language.
fn read_finish(reason: &str) -> Option<Stop> {
    match reason {
        "stop" | "eos" | "end_turn" => Some(Stop::EndOfTurn),
        "length" | "max_tokens" => Some(Stop::MaxTokens),
        "model_length" => Some(Stop::ContextFull),
        "tool_calls" | "function_call" => Some(Stop::ToolUse),
        "content_filter" | "refusal" => Some(Stop::Refusal),
        _ => None,
    }
}

/// The word for why the model stopped. A call of the tool that we forced upon it is its answer.
const fn finish_reason(stop: Stop, wanted: Wanted) -> &'static str {
    match stop {
        Stop::ToolUse if wanted.json_tool => "stop",
        Stop::ToolUse if wanted.functions => "function_call",
        Stop::ToolUse => "tool_calls",
        Stop::EndOfTurn | Stop::Sequence | Stop::Paused => "stop",
        Stop::MaxTokens | Stop::ContextFull => "length",
        Stop::Refusal => "content_filter",
    }
}

/// How urgently the vendor says that it served.
fn read_tier(tier: Value<'_>) -> Option<Tier> {
    match tier.to_str().as_deref() {
        Some("default") => Some(Tier::Standard),
        Some("priority") => Some(Tier::Priority),
        Some(_) | None => None,
    }
}

/// The word for it, in an answer.
const fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Auto | Tier::Standard => "default",
        Tier::Priority => "priority",
    }
}

/// Reads the body of an error answer, as far as it is one.
pub(super) fn read_error<'a>(body: &'a [u8], scratch: &mut Scratch) -> VendorError<'a> {
    scan(body, scratch).map_or_else(|_| VendorError::default(), |object| error_of(object.value()))
}

/// Most vendors say an `error` object, some a text, and some the message alone (Mistral's `message`, FastAPI's
/// `detail`).
fn error_of(body: Value<'_>) -> VendorError<'_> {
    let Some(error) = body.get("error").filter(|error| !error.is_null()) else {
        let message = body.get("message").or_else(|| body.get("detail")).and_then(Value::to_str);
        return VendorError { kind: body.get("type").and_then(Value::to_str), code: None, message };
    };
    if error.kind() == Kind::String {
        return VendorError { message: error.to_str(), ..VendorError::default() };
    }
    let code = Some(error_word(error)).filter(|word| !word.is_empty());
    let field = |name: &str| error.get(name).and_then(Value::to_str);
    VendorError { kind: field("type"), code, message: field("message") }
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

/// Appends an error of the vendor, with its own word for it as `code`. Without a message, a sentence about `status`.
pub(super) fn write_error(error: &VendorError<'_>, status: u16, out: &mut Vec<u8>) {
    let code = error.kind.as_deref();
    let kind = code.map_or_else(|| error_type_of_status(status), error_type);
    match error.message.as_deref() {
        Some(message) => errors::write_openai(message, kind, code, None, out),
        None => errors::write_openai(&errors::unread(status), kind, code, None, out),
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

/// Appends a `usage` object.
fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    object(out, |fields| {
        fields.number("prompt_tokens", usage.prompt_tokens);
        fields.number("completion_tokens", usage.completion_tokens);
        fields.number("total_tokens", usage.total_tokens);
        fields.object("prompt_tokens_details", |details| {
            details.number("cached_tokens", usage.cached_tokens);
            details.number("cache_write_tokens", usage.cache_write_tokens);
        });
        fields.object("completion_tokens_details", |details| {
            details.number("reasoning_tokens", usage.reasoning_tokens);
        });
    });
}

/// Reads a `usage` object, of an answer or of a chunk; none if it isn't one.
///
/// Beyond OpenAI's own fields: where DeepSeek (`prompt_cache_hit_tokens`), Moonshot and Hugging Face (`cached_tokens`)
/// say what came from a cache.
pub(super) fn read_usage(object: Value<'_>) -> Option<Usage> {
    let mut usage = Usage::default();
    let (mut prompt, mut total) = (None, None);
    // Names are compared as they are written, since no vendor escapes them, and every field is walked over once.
    let mut cursor = Cursor::new(object.raw());
    if !cursor.enter(b'{') {
        return None;
    }
    while let Some(name) = cursor.field() {
        match name {
            b"\"prompt_tokens_details\"" if cursor.enter(b'{') => {
                while let Some(name) = cursor.field() {
                    let value = cursor.value();
                    match name {
                        b"\"cached_tokens\"" => usage.cached_tokens = value.to_u64().unwrap_or(usage.cached_tokens),
                        b"\"cache_write_tokens\"" => usage.cache_write_tokens = value.to_u64().unwrap_or_default(),
                        _ => {}
                    }
                }
                continue;
            }
            b"\"completion_tokens_details\"" if cursor.enter(b'{') => {
                while let Some(name) = cursor.field() {
                    let value = cursor.value();
                    if name == b"\"reasoning_tokens\"" {
                        usage.reasoning_tokens = value.to_u64().unwrap_or_default();
                    }
                }
                continue;
            }
            _ => {}
        }
        let value = cursor.value();
        match name {
            b"\"prompt_tokens\"" => prompt = value.to_u64(),
            b"\"completion_tokens\"" => usage.completion_tokens = value.to_u64().unwrap_or_default(),
            b"\"total_tokens\"" => total = value.to_u64(),
            b"\"prompt_cache_hit_tokens\"" | b"\"cached_tokens\"" if usage.cached_tokens == 0 => {
                usage.cached_tokens = value.to_u64().unwrap_or_default();
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
