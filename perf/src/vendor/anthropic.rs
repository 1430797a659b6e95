//! Anthropic's side of the simulation: messages as the vendor answers them (docs.anthropic.com/en/api/messages and
//! …/messages-streaming, and recorded answers of 2025 and 2026). The mirror image of [`openai`](super::openai): the same
//! items, in the same order.

use kt_core::http1::write;
use kt_core::json::escape_into;
use kt_core::sse::write_event;

use super::script::{Refusal, Script, Wish};

/// Fields of every answer, whatever its status.
pub(super) fn write_fields(out: &mut Vec<u8>, token: &str, _after_ms: u64, nth: u64) {
    write::field(out, "request-id", format!("req_{token}"));
    write::field(out, "anthropic-ratelimit-requests-limit", "4000");
    write::number_field(out, "anthropic-ratelimit-requests-remaining", 3_999 - nth % 100);
    write::field(out, "anthropic-ratelimit-tokens-limit", "480000");
    write::number_field(out, "anthropic-ratelimit-tokens-remaining", 479_000 - nth % 100 * 64);
}

/// The body of a refusal.
pub(super) fn write_refusal(out: &mut Vec<u8>, refusal: Refusal) {
    let (kind, message) = match refusal {
        Refusal::NoSuchPath => ("not_found_error", "Not Found".to_owned()),
        Refusal::WrongKey => ("authentication_error", "invalid x-api-key".to_owned()),
        Refusal::Missing(field) => ("invalid_request_error", format!("{field}: Field required")),
        Refusal::NotJson => ("invalid_request_error", "The request body is not valid JSON".to_owned()),
        Refusal::RateLimited => ("rate_limit_error", "This request would exceed your rate limit".to_owned()),
        Refusal::Broken => ("api_error", "Internal server error".to_owned()),
    };
    out.extend_from_slice(format!("{{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":").as_bytes());
    escape_into(out, &message);
    out.extend_from_slice(b"}}");
}

/// The body of a whole answer.
pub(super) fn write_whole(out: &mut Vec<u8>, wish: &Wish, script: &Script) {
    let mut content = b"{\"type\":\"text\",\"text\":".to_vec();
    escape_into(&mut content, &script.text());
    content.push(b'}');
    write_message(out, wish, script, &content, Some(stop_reason(script)), script.answer_tokens());
}

/// The events before the first piece.
pub(super) fn write_opening(out: &mut Vec<u8>, wish: &Wish, script: &Script) {
    let mut data = b"{\"type\":\"message_start\",\"message\":".to_vec();
    write_message(&mut data, wish, script, b"", None, 1);
    data.push(b'}');
    write_event(out, Some("message_start"), &data);
    let block = br#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    write_event(out, Some("content_block_start"), block);
    write_event(out, Some("ping"), br#"{"type": "ping"}"#);
}

/// The event of a piece.
pub(super) fn write_piece(out: &mut Vec<u8>, _wish: &Wish, _script: &Script, piece: &str) {
    let mut data = br#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"#.to_vec();
    escape_into(&mut data, piece);
    data.extend_from_slice(b"}}");
    write_event(out, Some("content_block_delta"), &data);
}

/// The events behind the last piece.
pub(super) fn write_closing(out: &mut Vec<u8>, _wish: &Wish, script: &Script) {
    write_event(out, Some("content_block_stop"), br#"{"type":"content_block_stop","index":0}"#);
    let (reason, prompt, answer) = (stop_reason(script), script.prompt_tokens, script.answer_tokens());
    let delta = format!(
        "{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{reason}\",\"stop_sequence\":null}},\
         \"usage\":{{\"input_tokens\":{prompt},\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\
         \"output_tokens\":{answer}}}}}"
    );
    write_event(out, Some("message_delta"), delta.as_bytes());
    write_event(out, Some("message_stop"), br#"{"type":"message_stop"}"#);
}

fn write_message(out: &mut Vec<u8>, wish: &Wish, script: &Script, content: &[u8], reason: Option<&str>, tokens: u64) {
    out.extend_from_slice(b"{\"model\":");
    escape_into(out, &wish.model);
    let id = &script.token;
    out.extend_from_slice(format!(",\"id\":\"msg_{id}\",\"type\":\"message\",\"role\":\"assistant\"").as_bytes());
    out.extend_from_slice(b",\"content\":[");
    out.extend_from_slice(content);
    let reason = reason.map_or_else(|| "null".to_owned(), |reason| format!("\"{reason}\""));
    let prompt = script.prompt_tokens;
    let rest = format!(
        "],\"stop_reason\":{reason},\"stop_sequence\":null,\"usage\":{{\"input_tokens\":{prompt},\
         \"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\
         \"cache_creation\":{{\"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":0}},\
         \"output_tokens\":{tokens},\"service_tier\":\"standard\"}}}}"
    );
    out.extend_from_slice(rest.as_bytes());
}

const fn stop_reason(script: &Script) -> &'static str {
    if script.cut { "max_tokens" } else { "end_turn" }
}
