//! OpenAI's side of the simulation: chat completions as the vendor answers them (platform.openai.com/docs/api-reference/chat,
//! and recorded answers of 2025). The mirror image of [`anthropic`](super::anthropic): the same items, in the same order.

use kt_core::http1::write;
use kt_core::json::escape_into;
use kt_core::sse::write_event;

use super::script::{CREATED, Refusal, Script, Wish};

/// Names that the vendor answers with the version behind them.
const DATED: [(&str, &str); 3] =
    [("gpt-4o", "gpt-4o-2024-08-06"), ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"), ("gpt-4.1", "gpt-4.1-2025-04-14")];

/// Fields of every answer, whatever its status.
pub(super) fn write_fields(out: &mut Vec<u8>, token: &str, after_ms: u64, nth: u64) {
    write::field(out, "x-request-id", format!("req_{token}"));
    write::number_field(out, "openai-processing-ms", after_ms);
    write::field(out, "openai-version", "2020-10-01");
    write::field(out, "x-ratelimit-limit-requests", "10000");
    write::field(out, "x-ratelimit-limit-tokens", "30000000");
    write::number_field(out, "x-ratelimit-remaining-requests", 9_999 - nth % 100);
    write::number_field(out, "x-ratelimit-remaining-tokens", 29_999_900 - nth % 100 * 64);
    write::field(out, "x-ratelimit-reset-requests", "6ms");
    write::field(out, "x-ratelimit-reset-tokens", "0s");
}

/// The body of a refusal.
pub(super) fn write_refusal(out: &mut Vec<u8>, refusal: Refusal) {
    let (kind, code, message) = match refusal {
        Refusal::NoSuchPath => ("invalid_request_error", "\"unknown_url\"", "Unknown request URL.".to_owned()),
        Refusal::WrongKey => ("invalid_request_error", "\"invalid_api_key\"", "Incorrect API key provided.".to_owned()),
        Refusal::Missing(field) => (
            "invalid_request_error",
            "\"missing_required_parameter\"",
            format!("Missing required parameter: '{field}'."),
        ),
        Refusal::NotJson => {
            ("invalid_request_error", "null", "We could not parse the JSON body of your request.".to_owned())
        }
        Refusal::RateLimited => {
            ("requests", "\"rate_limit_exceeded\"", "Rate limit reached. Please try again in 1s.".to_owned())
        }
        Refusal::Broken => (
            "server_error",
            "null",
            "The server had an error while processing your request. Sorry about that!".to_owned(),
        ),
    };
    out.extend_from_slice(b"{\"error\":{\"message\":");
    escape_into(out, &message);
    out.extend_from_slice(format!(",\"type\":\"{kind}\",\"param\":null,\"code\":{code}}}}}").as_bytes());
}

/// The body of a whole answer.
pub(super) fn write_whole(out: &mut Vec<u8>, wish: &Wish, script: &Script) {
    write_start(out, "chat.completion", wish, script);
    out.extend_from_slice(b",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    escape_into(out, &script.text());
    let reason = finish_reason(script);
    let rest = format!(",\"refusal\":null,\"annotations\":[]}},\"logprobs\":null,\"finish_reason\":\"{reason}\"}}]");
    out.extend_from_slice(rest.as_bytes());
    write_usage(out, script);
    out.push(b'}');
}

/// The events before the first piece.
pub(super) fn write_opening(out: &mut Vec<u8>, wish: &Wish, script: &Script) {
    write_chunk(out, wish, script, r#"{"role":"assistant","content":"","refusal":null}"#, None);
}

/// The event of a piece.
pub(super) fn write_piece(out: &mut Vec<u8>, wish: &Wish, script: &Script, piece: &str) {
    let mut delta = b"{\"content\":".to_vec();
    escape_into(&mut delta, piece);
    delta.push(b'}');
    write_chunk(out, wish, script, &String::from_utf8_lossy(&delta), None);
}

/// The events behind the last piece.
pub(super) fn write_closing(out: &mut Vec<u8>, wish: &Wish, script: &Script) {
    write_chunk(out, wish, script, "{}", Some(finish_reason(script)));
    if wish.usage_chunk {
        let mut data = Vec::new();
        write_start(&mut data, "chat.completion.chunk", wish, script);
        data.extend_from_slice(b",\"choices\":[]");
        write_usage(&mut data, script);
        data.push(b'}');
        write_event(out, None, &data);
    }
    write_event(out, None, b"[DONE]");
}

fn write_chunk(out: &mut Vec<u8>, wish: &Wish, script: &Script, delta: &str, reason: Option<&str>) {
    let mut data = Vec::with_capacity(320);
    write_start(&mut data, "chat.completion.chunk", wish, script);
    let reason = reason.map_or_else(|| "null".to_owned(), |reason| format!("\"{reason}\""));
    let choice = format!("{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{reason}}}");
    data.extend_from_slice(format!(",\"choices\":[{choice}]").as_bytes());
    // Whoever asks for the usage is told in every chunk that it isn't there yet.
    data.extend_from_slice(if wish.usage_chunk { b",\"usage\":null}" } else { b"}" });
    write_event(out, None, &data);
}

fn write_start(out: &mut Vec<u8>, object: &str, wish: &Wish, script: &Script) {
    let token = &script.token;
    let start = format!("{{\"id\":\"chatcmpl-{token}\",\"object\":\"{object}\",\"created\":{CREATED},\"model\":");
    out.extend_from_slice(start.as_bytes());
    escape_into(out, DATED.iter().find(|(name, _)| wish.model == *name).map_or(&wish.model, |(_, dated)| dated));
    out.extend_from_slice(b",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_07871e2ad8\"");
}

fn write_usage(out: &mut Vec<u8>, script: &Script) {
    let (prompt, answer) = (script.prompt_tokens, script.answer_tokens());
    let total = prompt + answer;
    let usage = format!(
        ",\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{answer},\"total_tokens\":{total},\
         \"prompt_tokens_details\":{{\"cached_tokens\":0,\"audio_tokens\":0}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\
         \"rejected_prediction_tokens\":0}}}}"
    );
    out.extend_from_slice(usage.as_bytes());
}

const fn finish_reason(script: &Script) -> &'static str {
    if script.cut { "length" } else { "stop" }
}
