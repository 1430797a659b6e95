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
const COMPLETION: &[u8] = b"{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1754000000,\"model\":\"gpt-4o\",\
    \"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello there, this is an answer of usual length.\",\
    \"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],\
    \"usage\":{\"prompt_tokens\":25,\"completion_tokens\":12,\"total_tokens\":37}}";
const NAMING: Naming<'_> = Naming { id: "answer-0", created: 1_754_000_000, model: "the-model" };
const STREAMED: Wanted = Wanted { stream: true, stream_usage: true, ..Wanted::WHOLE };

/// A way across, as it is timed.
struct Way {
    /// Who asks whom.
    name: &'static str,
    crossing: Crossing,
    /// What begins a stream, an event of it, and a whole answer.
    start: &'static [u8],
    piece: &'static [u8],
    answer: &'static [u8],
}

const WAYS: [Way; 2] = [
    Way {
        name: "OpenAI > Anthropic",
        crossing: Crossing::OpenAiToAnthropic,
        start: START,
        piece: DELTA,
        answer: ANSWER,
    },
    Way {
        name: "Anthropic > OpenAI",
        crossing: Crossing::AnthropicToOpenAi,
        start: CHUNK,
        piece: CHUNK,
        answer: COMPLETION,
    },
];

fn recipient(crossing: Crossing) -> Recipient<'static> {
    let (provider, model) = match crossing {
        Crossing::OpenAiToAnthropic => (Provider::Anthropic, "claude-sonnet-4-5"),
        Crossing::AnthropicToOpenAi => (Provider::OpenAi, "gpt-4o"),
    };
    Recipient { provider, model, stream_usage: StreamUsage::Ask }
}

fn main() {
    for (name, vendor, event) in [("OpenAI", Dialect::OpenAi, CHUNK), ("Anthropic", Dialect::Anthropic, DELTA)] {
        let mut look = Look::new(vendor);
        let event = events(event).next().expect("an event");
        time(&format!("look at one event of {name} that passes"), || look.at(&event).content);
    }
    let mut out = Vec::with_capacity(1 << 20);
    for Way { name, crossing, start, piece, answer } in WAYS {
        let mut translator = Translator::new(crossing, &NAMING, STREAMED);
        for event in events(start) {
            translator.push(&event, &mut out).expect("a stream begins so");
        }
        let piece = events(piece).next().expect("an event");
        time(&format!("{name}: one event of a stream"), || {
            out.clear();
            translator.push(&piece, &mut out).map(|note| note.content)
        });
        time(&format!("{name}: a whole answer"), || {
            out.clear();
            translate_answer(crossing, answer, &NAMING, STREAMED, &mut out).map(|said| said.usage)
        });
        for bytes in [2 << 10, 400 << 10] {
            let mut body = chat_request(bytes, false);
            if crossing == Crossing::AnthropicToOpenAi {
                body = messages_request(&body);
            }
            time(&format!("{name}: a request of {} KiB", bytes >> 10), || {
                out.clear();
                translate_request(crossing, &recipient(crossing), &body, &mut out).map(|done| done.wanted.stream)
            });
        }
    }
}

/// The same request in Anthropic's language.
fn messages_request(chat: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let crossing = Crossing::OpenAiToAnthropic;
    translate_request(crossing, &recipient(crossing), chat, &mut out).expect("a good request");
    out
}
