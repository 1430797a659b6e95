//! What simulated vendors say, in the form of the real ones.

use std::time::Duration;

use super::vendor::{Gate, Received, Script, Step};

/// All tokens of any answer of [`openai`]: 12 of the prompt, 5 of the answer.
pub(crate) const OPENAI_TOKENS: u64 = 17;
/// All tokens of any answer of [`anthropic`]: 11 and 7.
pub(crate) const ANTHROPIC_TOKENS: u64 = 18;

const OPENAI_USAGE: &str = r#"{"prompt_tokens":12,"completion_tokens":5,"total_tokens":17,"prompt_tokens_details":{"cached_tokens":3,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}"#;
const WORDS: [&str; 5] = ["Hello", " there", ",", " friend", "."];

/// Any message with a length.
pub(crate) fn http(status: u16, fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status} Whatever\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The head of a stream in chunks.
pub(crate) fn sse_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\nx-request-id: req-of-the-vendor\r\n\r\n".to_vec()
}

/// One chunk; the last one if there is nothing in it.
pub(crate) fn chunked(payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    [format!("{:x}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat()
}

/// A streamed chat completion that begins, and goes on when the gate is opened.
pub(crate) fn openai_stream_behind(gate: &Gate) -> Script {
    let events = openai_events(true);
    vec![
        Step::Send(sse_head()),
        Step::Send(chunked(events[..3].concat())),
        Step::Wait(gate.clone()),
        Step::Send(chunked(events[3..].concat())),
        Step::Send(chunked("")),
    ]
}

/// Answers a chat completion, whole or streamed as it asks.
pub(crate) fn openai(request: &Received) -> Script {
    match request.wants_stream() {
        true => openai_stream(Duration::ZERO, request.body().contains("\"include_usage\":true")),
        false => vec![Step::Send(openai_whole())],
    }
}

/// A whole chat completion, as the API prints it.
pub(crate) fn openai_whole() -> Vec<u8> {
    let body = format!(
        "{{\n  \"id\": \"chatcmpl-vendor\",\n  \"object\": \"chat.completion\",\n  \"created\": 1700000000,\n  \"model\": \"gpt-4o-2024-08-06\",\n  \"choices\": [{{\"index\": 0, \"message\": {{\"role\": \"assistant\", \"content\": \"{}\", \"refusal\": null}}, \"logprobs\": null, \"finish_reason\": \"stop\"}}],\n  \"usage\": {OPENAI_USAGE},\n  \"system_fingerprint\": \"fp_1\"\n}}\n",
        WORDS.concat()
    );
    http(200, "Content-Type: application/json\r\nx-request-id: req-of-the-vendor\r\n", body)
}

/// The events of a streamed chat completion, with its usage or without.
pub(crate) fn openai_events(usage: bool) -> Vec<String> {
    let chunk = |delta: &str, finish: &str| {
        let null = if usage { ",\"usage\":null" } else { "" };
        format!(
            "data: {{\"id\":\"chatcmpl-vendor\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o-2024-08-06\",\"choices\":[{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":{finish}}}]{null}}}\n\n"
        )
    };
    let mut events = vec![chunk(r#""role":"assistant","content":"","refusal":null"#, "null")];
    events.extend(WORDS.map(|word| chunk(&format!("\"content\":\"{word}\""), "null")));
    events.push(chunk("", "\"stop\""));
    if usage {
        events.push(format!(
            "data: {{\"id\":\"chatcmpl-vendor\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o-2024-08-06\",\"choices\":[],\"usage\":{OPENAI_USAGE}}}\n\n"
        ));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// A streamed chat completion, an event every `pace`.
pub(crate) fn openai_stream(pace: Duration, usage: bool) -> Script {
    stream(pace, openai_events(usage))
}

/// Answers a message request, whole or streamed as it asks.
pub(crate) fn anthropic(request: &Received) -> Script {
    match request.wants_stream() {
        true => anthropic_stream(Duration::ZERO),
        false => vec![Step::Send(anthropic_whole())],
    }
}

/// A whole message, as the API prints it.
pub(crate) fn anthropic_whole() -> Vec<u8> {
    let body = format!(
        r#"{{"id":"msg_vendor","type":"message","role":"assistant","model":"claude-sonnet-4-20250514","content":[{{"type":"text","text":"{}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":11,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":7,"service_tier":"standard"}}}}"#,
        WORDS.concat()
    );
    http(200, "Content-Type: application/json\r\nrequest-id: req-of-the-vendor\r\n", body)
}

/// The events of a streamed message.
pub(crate) fn anthropic_events() -> Vec<String> {
    let event = |name: &str, rest: &str| format!("event: {name}\ndata: {{\"type\":\"{name}\"{rest}}}\n\n");
    let mut events = vec![
        event(
            "message_start",
            r#","message":{"id":"msg_vendor","type":"message","role":"assistant","model":"claude-sonnet-4-20250514","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":11,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}"#,
        ),
        event("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#),
        event("ping", ""),
    ];
    events.extend(WORDS.map(|word| {
        let rest = format!(r#","index":0,"delta":{{"type":"text_delta","text":"{word}"}}"#);
        event("content_block_delta", &rest)
    }));
    events.push(event("content_block_stop", ",\"index\":0"));
    events.push(event(
        "message_delta",
        r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":7}"#,
    ));
    events.push(event("message_stop", ""));
    events
}

/// A streamed message, an event every `pace`.
pub(crate) fn anthropic_stream(pace: Duration) -> Script {
    stream(pace, anthropic_events())
}

/// An error, as the API says it.
pub(crate) fn anthropic_error(status: u16, kind: &str, message: &str) -> Vec<u8> {
    let body = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}},"request_id":"req_1"}}"#);
    http(status, "Content-Type: application/json\r\nrequest-id: req-of-the-vendor\r\n", body)
}

fn stream(pace: Duration, events: Vec<String>) -> Script {
    let mut script = vec![Step::Send(sse_head())];
    for event in events {
        if !pace.is_zero() {
            script.push(Step::Pause(pace));
        }
        script.push(Step::Send(chunked(event)));
    }
    script.push(Step::Send(chunked("")));
    script
}
