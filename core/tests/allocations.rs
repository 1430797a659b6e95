//! Nothing is allocated for an event of a stream, once one of the usual size has passed, nor for judging a prompt.
//!
//! A test of its own, for it replaces the allocator of its whole process by one that counts.

mod counting;

use kt_core::dialect::{Crossing, Look, Naming, Translator, Wanted};
use kt_core::json::{self, Scratch, Span, Value};
use kt_core::policy::{Action, Category, Judging, Knowledge, Policy, Scan, Threshold};
use kt_core::sse::events;

use counting::allocations;

const NAMING: Naming<'_> = Naming { id: "answer-1", created: 1_700_000_000, model: "the-model" };
const STREAMED: Wanted = Wanted { stream: true, stream_usage: true, thinking: true, ..Wanted::WHOLE };

/// A stream's beginning, and the events that go on and on.
const STREAMS: [(Crossing, &str, &str); 2] = [
    (
        Crossing::OpenAiToAnthropic,
        "data: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n\
         event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"h\\u00e9\"}}\n\n\
         event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
         event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
         event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\" world \\\"!\"}}\n\n\
         event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n\
         event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}}\n\n\
         event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":1}\"}}\n\n\
         event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}\n\n\
         event: ping\ndata: {\"type\": \"ping\"}\n\n",
    ),
    (
        Crossing::AnthropicToOpenAi,
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"h\\u00e9\"},\"finish_reason\":null}]}\n\n\
         data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" world \\\"!\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n\
         data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},\"finish_reason\":null}]}\n\n\
         data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":1}\"}}]},\"finish_reason\":null}]}\n\n\
         : keep-alive\n\n",
    ),
];

#[test]
fn an_event_in_the_middle_of_a_stream_takes_no_memory() {
    for (crossing, begin, middle) in STREAMS {
        let mut out = Vec::with_capacity(16 * 1_024);
        let mut translator = Translator::new(crossing, &NAMING, STREAMED);
        let mut look = Look::new(crossing.vendor());
        let mut round = |text: &str| {
            out.clear();
            for event in events(text.as_bytes()) {
                look.at(&event);
                translator.push(&event, &mut out).expect("a good stream");
            }
            out.len()
        };
        round(begin);
        let written = round(middle);
        assert!(written > 200, "{written}");
        let before = allocations();
        for _ in 0..100 {
            round(middle);
        }
        assert_eq!(allocations() - before, 0, "{crossing:?}");
    }
}

#[test]
fn a_prompt_is_judged_without_taking_memory() {
    let known = Knowledge::new();
    let policies =
        [Policy::content_filter("p".into(), Action::Block, Box::default(), Category::ALL.into(), Threshold::Medium)];
    let prose = "Please summarise the report, k-i-l-l the pr0cess, &amp; d\\u00f6n't b\\u00e9 laaate (\\\"soon\\\") … ";
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#, prose.repeat(1_000));
    json::scan(body.as_bytes(), &mut Scratch::default()).expect("JSON");
    let value = Value::at(body.as_bytes(), Span { start: 0, end: u32::try_from(body.len()).expect("it is short") });
    let mut scan = Scan::default();
    for round in 0..4 {
        let before = allocations();
        let mut judging = Judging::begin(&policies, Some(&known), "g", body.as_bytes(), value, scan);
        let mut slices = 1;
        while !judging.advance() {
            slices += 1;
        }
        let read = allocations() - before;
        assert!(slices > 1, "it is one slice");
        // The first one makes room.
        assert!(round == 0 || read == 0, "{read} in round {round}");
        scan = judging.conclude().1;
        // What each policy says goes into the record.
        assert!(round == 0 || allocations() - before <= 8, "{}", allocations() - before);
    }
}
