//! What does it cost to look at a stream that passes, and to translate one?

use kt_benches::{chat_request, time};
use kt_core::config::plan::{Provider, StreamUsage};
use kt_core::dialect::{Crossing, Dialect, Look, Naming, Recipient, Translator, Wanted};
use kt_core::dialect::{translate_answer, translate_request};
use kt_core::sse::events;

const CHUNK: &[u8] = b"data: {\"id\":\"chatcmpl-AbCdEf0123456789\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\
    \"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\",\
    \"choices\":[{\"index\":0,\"delta\":{\"content\":\" world\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
const START: &[u8] = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\
    \"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude\",\"content\":[],\"stop_reason\":null,\
    \"stop_sequence\":null,\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n\
    event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
    \"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
const DELTA: &[u8] = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
    \"delta\":{\"type\":\"text_delta\",\"text\":\" world\"}}\n\n";
const ANSWER: &[u8] = b"{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude\",\
    \"content\":[{\"type\":\"text\",\"text\":\"Hello there, this is an answer of usual length.\"}],\
    \"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":25,\"output_tokens\":12}}";
const CROSSING: Crossing = Crossing::OpenAiToAnthropic;
const RECIPIENT: Recipient<'_> =
    Recipient { provider: Provider::Anthropic, model: "claude", stream_usage: StreamUsage::Leave };
const NAMING: Naming<'_> = Naming { id: "chatcmpl-0", created: 1_754_000_000, model: "claude" };

fn main() {
    let mut look = Look::new(Dialect::OpenAi);
    let event = events(CHUNK).next().expect("an event");
    time("look at one event that passes", || look.at(&event).content);

    let mut out = Vec::with_capacity(1 << 20);
    let wanted = Wanted { stream: true, stream_usage: true, ..Wanted::WHOLE };
    let mut translator = Translator::new(CROSSING, &NAMING, wanted);
    for event in events(START) {
        translator.push(&event, &mut out).expect("a stream begins so");
    }
    let delta = events(DELTA).next().expect("an event");
    time("translate one event of a stream", || {
        out.clear();
        translator.push(&delta, &mut out).map(|note| note.content)
    });
    time("translate a whole answer", || {
        out.clear();
        translate_answer(CROSSING, ANSWER, &NAMING, wanted, &mut out).map(|said| said.usage)
    });
    for bytes in [2 << 10, 400 << 10] {
        let body = chat_request(bytes, false);
        time(&format!("translate a request of {} KiB", bytes >> 10), || {
            out.clear();
            translate_request(CROSSING, &RECIPIENT, &body, &mut out).map(|done| done.wanted.stream)
        });
    }
}
