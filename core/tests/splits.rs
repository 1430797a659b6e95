//! Any stream, cut anywhere, comes to the same: the same bytes for the client, the same usage, the same end.
//!
//! Streams are made of whatever a vendor may say in whatever order, sense or not, with any line ends; `proptest` makes
//! them, and shrinks one that fails.

use kt_core::dialect::{Crossing, Look, Naming, Translator, Wanted};
use kt_core::sse::{Splitter, events};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const NAMING: Naming<'_> = Naming { id: "answer-1", created: 1_700_000_000, model: "the-model" };
const STREAMED: Wanted = Wanted { stream: true, stream_usage: true, thinking: true, ..Wanted::WHOLE };

/// What Anthropic says; `#` is a block's index.
const ANTHROPIC: &[&str] = &[
    r##"data: {"type":"message_start","message":{"model":"m","usage":{"input_tokens":10,"output_tokens":1}}}"##,
    r##"data: {"type":"content_block_start","index":#,"content_block":{"type":"text","text":""}}"##,
    r##"data: {"type":"content_block_start","index":#,"content_block":{"type":"thinking","thinking":"","signature":""}}"##,
    r##"data: {"type":"content_block_start","index":#,"content_block":{"type":"tool_use","id":"t#","name":"f","input":{}}}"##,
    r##"data: {"type":"content_block_delta","index":#,"delta":{"type":"text_delta","text":"é\ud83d\ude00 \"x\""}}"##,
    r##"data: {"type":"content_block_delta","index":#,"delta":{"type":"thinking_delta","thinking":"h\u00e9😀"}}"##,
    r##"data: {"type":"content_block_delta","index":#,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"##,
    r##"data: {"type":"content_block_stop","index":#}"##,
    r##"data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":15}}"##,
    r##"data: {"type":"message_stop"}"##,
    r##"data: {"type":"ping"}"##,
    r##"data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"##,
];

/// What vendors of OpenAI's language say; `#` is a call's index.
const OPENAI: &[&str] = &[
    r##"data: {"choices":[],"id":"","model":"","object":""}"##,
    r##"data: {"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"##,
    r##"data: {"choices":[{"index":0,"delta":{"content":"é\ud83d\ude00 \"x\""}}],"usage":null}"##,
    r##"data: {"choices":[{"index":0,"delta":{"reasoning_content":"h😀"}}]}"##,
    r##"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":#,"id":"c#","function":{"name":"f","arguments":""}}]}}]}"##,
    r##"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":#,"function":{"arguments":"{\"a\":"}}]}}]}"##,
    r##"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"g","arguments":"{}"}}]}}]}"##,
    r##"data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"##,
    r##"data: {"choices":[],"usage":{"prompt_tokens":17,"completion_tokens":15,"total_tokens":32}}"##,
    r##"data: [DONE]"##,
    r##"data: {"error":{"message":"no","type":"server_error","code":null}}"##,
];

/// What either may put in between: comments, names of events, two lines of data, nonsense.
const EITHER: &[&str] =
    &[": é", "event: ping#", "data: {\ndata: }", "data: nonsense", "id: 7\nretry: 1", "\u{feff}data: x", ""];

/// A stream: its beginning in order, so that most get somewhere, then anything; each line with an end of its own.
fn stream(said: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![9 => select(said), 1 => select(EITHER)];
    let event = (line, 0..3_u8, select(&["\n", "\r\n", "\r"][..]));
    (0..4_usize, vec(event, 0..24)).prop_map(move |(in_order, events)| {
        let begun = said.iter().take(in_order).map(|line| (*line, 0, "\n"));
        let text =
            |(line, index, end): (&str, u8, &str)| line.replace('#', &index.to_string()).replace('\n', end) + end + end;
        begun.chain(events).map(text).collect::<String>().into_bytes()
    })
}

/// What came of a stream: bytes, usage, whether it is whole, how it failed; and what somebody beside it saw.
fn come_of<'p>(crossing: Crossing, pieces: impl IntoIterator<Item = &'p [u8]>) -> (String, String) {
    let (mut splitter, mut buffer, mut out) = (Splitter::new(), Vec::new(), Vec::new());
    let mut translator = Translator::new(crossing, &NAMING, STREAMED);
    let mut look = Look::new(crossing.vendor());
    let (mut failed, mut seen) = (None, Vec::new());
    let mut push = |whole: &[u8], out: &mut Vec<u8>| {
        for event in events(whole) {
            seen.push(format!("{:?}", look.at(&event)));
            if failed.is_none() {
                failed = translator.push(&event, out).err();
            }
        }
    };
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let whole = splitter.advance(&buffer);
        push(&buffer[..whole], &mut out);
        buffer.drain(..whole);
    }
    push(&buffer[..splitter.at_end()], &mut out);
    let whole = failed.is_none() && translator.conclude(&mut out);
    let told = format!("{:?} {whole} {failed:?} {seen:?}", translator.usage());
    (String::from_utf8(out).expect("UTF-8"), told)
}

fn cut<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

fn check(crossing: Crossing, bytes: &[u8], cuts: &[prop::sample::Index]) -> Result<(), TestCaseError> {
    let whole = come_of(crossing, [bytes]);
    prop_assert_eq!(&come_of(crossing, cut(bytes, cuts)), &whole);
    prop_assert_eq!(&come_of(crossing, bytes.chunks(1)), &whole);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_anthropic_to_a_client_of_openai(bytes in stream(ANTHROPIC), cuts in vec(any::<prop::sample::Index>(), 0..9)) {
        check(Crossing::OpenAiToAnthropic, &bytes, &cuts)?;
    }

    #[test]
    fn of_openai_to_a_client_of_anthropic(bytes in stream(OPENAI), cuts in vec(any::<prop::sample::Index>(), 0..9)) {
        check(Crossing::AnthropicToOpenAi, &bytes, &cuts)?;
    }
}
