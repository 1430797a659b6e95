//! Streams, in both directions.

use super::*;
use crate::sse::{Splitter, events};

const TO_OPENAI: Crossing = Crossing::OpenAiToAnthropic;
const TO_ANTHROPIC: Crossing = Crossing::AnthropicToOpenAi;
const STREAMED: Wanted = Wanted { stream: true, stream_usage: true, thinking: true, ..Wanted::WHOLE };

// What Anthropic says.
const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x-20250101","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_read_input_tokens":7,"output_tokens":1}}}"#;
const BLOCK: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const HELLO: &str =
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel\"lo\n\u00e9"}}"#;
const BLOCK_END: &str = r#"{"type":"content_block_stop","index":0}"#;
const STOP: &str = r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":15}}"#;
const END: &str = r#"{"type":"message_stop"}"#;
const PING: &str = r#"{"type":"ping"}"#;
const OVERLOADED: &str = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;

fn translator(crossing: Crossing, wanted: Wanted) -> Translator {
    Translator::new(crossing, &NAMING, wanted)
}

/// Pushes the data of events; what each one became, and the fault that ended it.
fn stream(translator: &mut Translator, data: &[&str]) -> (Vec<String>, Vec<Note>, Option<Fault>) {
    let (mut texts, mut notes) = (Vec::new(), Vec::new());
    for data in data {
        let mut out = Vec::new();
        let result = translator.push(&event(data), &mut out);
        check_events(&out);
        texts.push(String::from_utf8(out).unwrap());
        match result {
            Ok(note) => notes.push(note),
            Err(fault) => return (texts, notes, Some(fault)),
        }
    }
    (texts, notes, None)
}

/// Whole events, of JSON.
fn check_events(out: &[u8]) {
    let mut whole = 0;
    for event in events(out) {
        whole += event.raw.len();
        if let Some(data) = event.data.filter(|data| **data != *b"[DONE]") {
            checked(&data);
        }
    }
    assert_eq!(whole, out.len(), "{}", String::from_utf8_lossy(out));
}

fn event(data: &str) -> Event<'_> {
    Event { raw: b"", event: None, data: Some(data.as_bytes().into()) }
}

/// A chunk for a client of OpenAI, from its choices on.
fn chunk(rest: &str) -> String {
    format!(
        "data: {{\"id\":\"answer-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"the-model\",\"choices\":[{rest}}}\n\n"
    )
}

/// A chunk with this delta, for a client that asked for usage.
fn delta(delta: &str) -> String {
    choice(delta, "null", ",\"usage\":null")
}

fn choice(delta: &str, finish: &str, tail: &str) -> String {
    chunk(&format!(r#"{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]{tail}"#))
}

/// An event for a client of Anthropic.
fn named(kind: &str, rest: &str) -> String {
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n")
}

#[test]
fn a_stream_of_anthropic_says_the_same_to_a_client_of_openai() {
    let empty = HELLO.replace(r#"Hel\"lo\n\u00e9"#, "");
    let data = [PING, START, PING, BLOCK, &empty, HELLO, HELLO, BLOCK_END, STOP, END, PING, START];
    let usage = r#"],"usage":{"prompt_tokens":17,"completion_tokens":15,"total_tokens":32,"prompt_tokens_details":{"cached_tokens":7,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}"#;
    for (stream_usage, tail, last) in [
        (false, "", "data: [DONE]\n\n".to_owned()),
        (true, ",\"usage\":null", format!("{}data: [DONE]\n\n", chunk(usage))),
    ] {
        let mut translator = translator(TO_OPENAI, Wanted { stream_usage, ..STREAMED });
        let (texts, notes, fault) = stream(&mut translator, &data);
        let hello = choice(r#"{"content":"Hel\"lo\n\u00e9"}"#, "null", tail);
        let wanted = [
            ": ping\n\n".to_owned(),
            choice(r#"{"role":"assistant","content":"","refusal":null}"#, "null", tail),
            ": ping\n\n".to_owned(),
            String::new(),
            String::new(),
            hello.clone(),
            hello,
            String::new(),
            choice("{}", r#""length""#, tail),
            last,
            String::new(),
            String::new(),
        ];
        assert_eq!(texts, wanted);
        assert_eq!(fault, None);
        let of =
            |is: fn(&Note) -> bool| notes.iter().enumerate().filter(|(_, note)| is(note)).map(|(n, _)| n).collect();
        let (content, ended): (Vec<usize>, Vec<usize>) = (of(|note| note.content), of(|note| note.ended));
        assert_eq!((content, ended), (vec![5, 6], vec![9]));
        assert!(translator.is_finished());
        let (usage, source) = translator.usage();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (17, 15, 32));
        assert_eq!(source, UsageSource::Provider);
        assert_eq!(translator.model(), Some("claude-x-20250101"));
    }
}

#[test]
fn tools_and_thoughts_of_anthropic_are_streamed_to_a_client_of_openai() {
    let start = |index: u64, block: &str| {
        format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
    };
    let piece = |kind: &str, name: &str, text: &str| {
        // About the block that is open.
        format!(r#"{{"type":"content_block_delta","delta":{{"type":"{kind}","{name}":"{text}"}}}}"#)
    };
    let block_end = || r#"{"type":"content_block_stop"}"#.to_owned();
    let call = |nth: u64, id: &str, name: &str| {
        delta(&format!(
            r#"{{"tool_calls":[{{"index":{nth},"id":"{id}","type":"function","function":{{"name":"{name}","arguments":""}}}}]}}"#
        ))
    };
    let arguments = |nth: u64, text: &str| {
        delta(&format!(r#"{{"tool_calls":[{{"index":{nth},"function":{{"arguments":"{text}"}}}}]}}"#))
    };
    let thought = |nth: u64, text: &str| {
        delta(&format!(
            r#"{{"reasoning_content":"{text}","thinking_blocks":[{{"index":{nth},"type":"thinking","thinking":"{text}"}}]}}"#
        ))
    };
    let signed = |nth: u64, text: &str| {
        delta(&format!(
            r#"{{"thinking_blocks":[{{"index":{nth},"type":"thinking","thinking":"","signature":"{text}"}}]}}"#
        ))
    };
    let cases = [
        (start(0, r#"{"type":"thinking","thinking":"","signature":""}"#), String::new()),
        (piece("thinking_delta", "thinking", "h\\\"m"), thought(0, "h\\\"m")),
        (piece("thinking_delta", "thinking", "!"), thought(0, "!")),
        (piece("signature_delta", "signature", "c2ln"), signed(0, "c2ln")),
        (block_end(), String::new()),
        (
            start(1, r#"{"type":"redacted_thinking","data":"eA=="}"#),
            delta(r#"{"thinking_blocks":[{"index":1,"type":"redacted_thinking","data":"eA=="}]}"#),
        ),
        (block_end(), String::new()),
        (start(2, r#"{"type":"thinking","thinking":"2","signature":"s2"}"#), thought(2, "2") + &signed(2, "s2")),
        (block_end(), String::new()),
        // A tool of the vendor's own is left out, with its input.
        (start(3, r#"{"type":"server_tool_use","id":"s","name":"web_search","input":{}}"#), String::new()),
        (piece("input_json_delta", "partial_json", "{}"), String::new()),
        (block_end(), String::new()),
        (start(4, r#"{"type":"tool_use","id":"t1","name":"f","input":{}}"#), call(0, "t1", "f")),
        (piece("input_json_delta", "partial_json", ""), String::new()),
        (piece("input_json_delta", "partial_json", "{\\\"a"), arguments(0, "{\\\"a")),
        (piece("input_json_delta", "partial_json", "\\\":1}"), arguments(0, "\\\":1}")),
        (block_end(), String::new()),
        // Without arguments, and with all of them at once.
        (start(5, r#"{"type":"tool_use","id":"t2","name":"g","input":{}}"#), call(1, "t2", "g")),
        (block_end(), arguments(1, "{}")),
        (
            start(6, r#"{"type":"tool_use","id":"t3","name":"h","input":{"b":2}}"#),
            call(2, "t3", "h") + &arguments(2, "{\\\"b\\\":2}"),
        ),
        (block_end(), String::new()),
        (STOP.replace("max_tokens", "tool_use"), choice("{}", r#""tool_calls""#, ",\"usage\":null")),
    ];
    let mut translator = translator(TO_OPENAI, STREAMED);
    stream(&mut translator, &[START]);
    for (data, wanted) in &cases {
        assert_eq!(stream(&mut translator, &[data]).0, [wanted.as_str()], "{data}");
    }
}

#[test]
fn blocks_of_anthropic_may_interleave() {
    let start = |index: u64, block: &str| {
        format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
    };
    let call = |index, id: &str| start(index, &format!(r#"{{"type":"tool_use","id":"{id}","name":"f","input":{{}}}}"#));
    let piece =
        |index: u64, delta: &str| format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#);
    let input = |index, text: &str| piece(index, &format!(r#"{{"type":"input_json_delta","partial_json":"{text}"}}"#));
    let end = |index: u64| format!(r#"{{"type":"content_block_stop","index":{index}}}"#);
    let arguments = |nth: u64, text: &str| {
        delta(&format!(r#"{{"tool_calls":[{{"index":{nth},"function":{{"arguments":"{text}"}}}}]}}"#))
    };
    let begun = |nth: u64, id: &str| {
        let function = r#""type":"function","function":{"name":"f","arguments":""}"#;
        delta(&format!(r#"{{"tool_calls":[{{"index":{nth},"id":"{id}",{function}}}]}}"#))
    };
    let hello = delta(r#"{"content":"Hel\"lo\n\u00e9"}"#);
    let cases = [
        (BLOCK.to_owned(), String::new()),
        (call(1, "a"), begun(0, "a")),
        (call(2, "b"), begun(1, "b")),
        (HELLO.to_owned(), hello.clone()),
        (input(1, "{"), arguments(0, "{")),
        (input(2, "[1"), arguments(1, "[1")),
        (input(1, "}"), arguments(0, "}")),
        (call(3, "c"), begun(2, "c")),
        // Whole, without arguments, while others are open.
        (end(3), arguments(2, "{}")),
        // The one that was spoken of before it goes on.
        (input(1, " "), arguments(0, " ")),
        (input(2, "]"), arguments(1, "]")),
        (end(1), String::new()),
        (HELLO.to_owned(), hello),
        (end(0), String::new()),
        // An end that comes twice, and calls whose end doesn't come.
        (end(0), String::new()),
        (call(4, "d"), begun(3, "d")),
        (call(5, "e"), begun(4, "e")),
        (input(4, "{}"), arguments(3, "{}")),
        (
            STOP.replace("max_tokens", "tool_use"),
            arguments(4, "{}") + &choice("{}", r#""tool_calls""#, ",\"usage\":null"),
        ),
    ];
    let mut translator = translator(TO_OPENAI, STREAMED);
    stream(&mut translator, &[START]);
    for (data, wanted) in &cases {
        assert_eq!(stream(&mut translator, &[data]).0, [wanted.as_str()], "{data}");
    }
}

#[test]
fn a_forced_tool_and_functions_are_streamed_as_the_client_asked() {
    let call = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"json_answer","input":{}}}"#;
    let input =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}"#;
    let stop = STOP.replace("max_tokens", "tool_use");
    let data = [START, call, input, BLOCK_END, &stop, END];
    let json = Wanted { json_tool: true, stream: true, ..Wanted::WHOLE };
    let (texts, _, _) = stream(&mut translator(TO_OPENAI, json), &data);
    assert_eq!(texts[1..5].concat(), choice(r#"{"content":"{\"a\":1}"}"#, "null", "") + &choice("{}", "\"stop\"", ""));
    let functions = Wanted { functions: true, stream: true, ..Wanted::WHOLE };
    let (texts, _, _) = stream(&mut translator(TO_OPENAI, functions), &data);
    let wanted = choice(r#"{"function_call":{"name":"json_answer","arguments":""}}"#, "null", "")
        + &choice(r#"{"function_call":{"arguments":"{\"a\":1}"}}"#, "null", "")
        + &choice("{}", "\"function_call\"", "");
    assert_eq!(texts[1..5].concat(), wanted);
    // The same the other way.
    let data = [
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"t","function":{"name":"json_answer","arguments":"{\"a\":1}"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ];
    let (texts, _, _) = stream(&mut translator(TO_ANTHROPIC, json), &data);
    let text = texts.concat();
    assert!(text.contains(r#""delta":{"type":"text_delta","text":"{\"a\":1}"}"#), "{text}");
    assert!(text.contains(r#""stop_reason":"end_turn""#) && !text.contains("tool_use"), "{text}");
}

/// A chunk of OpenAI's with this delta.
fn openai(delta: &str) -> String {
    format!(
        r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4o-1","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}],"usage":null}}"#
    )
}

fn openai_stop(reason: &str) -> String {
    openai("{}").replace("\"finish_reason\":null", &format!("\"finish_reason\":\"{reason}\""))
}

const OPENAI_USAGE: &str = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":17,"completion_tokens":15,"total_tokens":32,"prompt_tokens_details":{"cached_tokens":7}}}"#;
const AZURE: &str = r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[]}"#;

fn message_start() -> String {
    named(
        "message_start",
        r#","message":{"id":"answer-1","type":"message","role":"assistant","model":"the-model","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}"#,
    )
}

fn message_end(reason: &str, usage: &str) -> String {
    let delta = format!(r#","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{{usage}}}"#);
    named("message_delta", &delta) + &named("message_stop", "")
}

fn block_start(index: u64, block: &str) -> String {
    named("content_block_start", &format!(r#","index":{index},"content_block":{block}"#))
}

fn block_delta(index: u64, delta: &str) -> String {
    named("content_block_delta", &format!(r#","index":{index},"delta":{delta}"#))
}

fn block_stop(index: u64) -> String {
    named("content_block_stop", &format!(r#","index":{index}"#))
}

const USAGE: &str =
    r#""input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":7,"output_tokens":15"#;

#[test]
fn a_stream_of_openai_says_the_same_to_a_client_of_anthropic() {
    let cases = [
        (AZURE.to_owned(), String::new()),
        (openai(r#"{"role":"assistant","content":"","refusal":null}"#), message_start()),
        (
            openai(r#"{"reasoning_content":"h","reasoning":"h"}"#),
            block_start(0, r#"{"type":"thinking","thinking":"","signature":""}"#)
                + &block_delta(0, r#"{"type":"thinking_delta","thinking":"h"}"#),
        ),
        (
            openai(r#"{"content":"H\u00e9"}"#),
            block_stop(0)
                + &block_start(1, r#"{"type":"text","text":""}"#)
                + &block_delta(1, r#"{"type":"text_delta","text":"H\u00e9"}"#),
        ),
        (openai(r#"{"content":"y"}"#), block_delta(1, r#"{"type":"text_delta","text":"y"}"#)),
        // Several calls, two of them begun in one chunk.
        (
            openai(r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}"#),
            block_stop(1) + &block_start(2, r#"{"type":"tool_use","id":"a","name":"f","input":{}}"#),
        ),
        (
            openai(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\""}}]}"#),
            block_delta(2, r#"{"type":"input_json_delta","partial_json":"{\"x\""}"#),
        ),
        (
            openai(
                r#"{"tool_calls":[{"index":0,"function":{"arguments":":1}"}},{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]}"#,
            ),
            block_delta(2, r#"{"type":"input_json_delta","partial_json":":1}"}"#)
                + &block_stop(2)
                + &block_start(3, r#"{"type":"tool_use","id":"b","name":"g","input":{}}"#)
                + &block_delta(3, r#"{"type":"input_json_delta","partial_json":"{}"}"#),
        ),
        (openai_stop("tool_calls"), String::new()),
        (OPENAI_USAGE.to_owned(), String::new()),
        ("[DONE]".to_owned(), block_stop(3) + &message_end("tool_use", USAGE)),
        (openai(r#"{"content":"late"}"#), String::new()),
    ];
    let mut translator = translator(TO_ANTHROPIC, STREAMED);
    for (data, wanted) in &cases {
        let (texts, notes, fault) = stream(&mut translator, &[data]);
        assert_eq!((texts, fault), (vec![wanted.clone()], None), "{data}");
        assert_eq!(notes[0].ended, data == "[DONE]");
        let content = wanted.contains("content_block_delta") || wanted.contains("tool_use\",\"id");
        assert_eq!(notes[0].content, content, "{data}");
    }
    assert!(translator.is_finished());
    assert_eq!(translator.model(), Some("gpt-4o-1"));
    assert_eq!(translator.usage().1, UsageSource::Provider);
}

#[test]
fn a_client_that_did_not_ask_gets_no_thoughts() {
    let quiet = Wanted { thinking: false, ..STREAMED };
    let (texts, notes, _) = stream(&mut translator(TO_ANTHROPIC, quiet), &[&openai(r#"{"reasoning":"h"}"#)]);
    assert_eq!((texts[0].as_str(), notes[0].content), (&*message_start(), false));
}

#[test]
fn a_stream_without_its_last_word_is_whole_once_the_model_has_stopped() {
    // Data, what is said at the connection's end, and whether the answer is whole then.
    // The vendor said nothing of it: one piece came.
    let no_usage = USAGE.replace(":10", ":0").replace(":7", ":0").replace(":15", ":1");
    let hi = openai(r#"{"content":"a"}"#);
    let cases: [(&[&str], String, bool); 4] = [
        (&[], String::new(), false),
        (&[&hi], String::new(), false),
        (&[&hi, &openai_stop("stop")], block_stop(0) + &message_end("end_turn", &no_usage), true),
        (&[&hi, &openai_stop("length"), "[DONE]"], String::new(), true),
    ];
    for (data, wanted, whole) in cases {
        let mut translator = translator(TO_ANTHROPIC, STREAMED);
        stream(&mut translator, data);
        let mut out = Vec::new();
        assert_eq!((translator.conclude(&mut out), translator.is_finished()), (whole, whole), "{data:?}");
        assert_eq!(String::from_utf8(out).unwrap(), wanted, "{data:?}");
    }
    for cut in 0..6 {
        let mut translator = translator(TO_OPENAI, STREAMED);
        let (texts, _, _) = stream(&mut translator, &[START, BLOCK, HELLO, BLOCK_END, STOP, END][..cut]);
        let mut out = Vec::new();
        assert!(!translator.conclude(&mut out) && out.is_empty(), "after {cut} events");
        assert!(!texts.concat().contains("[DONE]"), "after {cut} events");
    }
}

#[test]
fn a_vendor_that_says_nothing_of_usage_is_counted_at_least() {
    let wanted = Wanted { prompt_words: 4, ..STREAMED };
    let pieces = [openai(r#"{"content":"a"}"#), openai(r#"{"content":"b"}"#), openai("{}"), openai_stop("stop")];
    let mut data: Vec<&str> = pieces.iter().map(String::as_str).collect();
    data.push("[DONE]");
    let mut counting = translator(TO_ANTHROPIC, wanted);
    let (texts, _, _) = stream(&mut counting, &data[..4]);
    assert_eq!(counting.usage(), (Usage::default(), UsageSource::None), "it may yet say something: {texts:?}");
    let (texts, _, _) = stream(&mut counting, &data[4..]);
    let usage =
        r#""usage":{"input_tokens":4,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":2}"#;
    assert!(texts[0].contains(usage), "{texts:?}");
    let (usage, source) = counting.usage();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (4, 2, 6));
    assert_eq!(source, UsageSource::Estimated);
    // Of an answer without a piece nothing is known.
    let mut silent = translator(TO_ANTHROPIC, wanted);
    stream(&mut silent, &[&openai("{}"), &openai_stop("stop"), "[DONE]"]);
    assert_eq!(silent.usage().1, UsageSource::None);
}

#[test]
fn calls_are_told_apart_however_the_vendor_counts_them() {
    let call = |rest: &str| openai(&format!(r#"{{"tool_calls":[{rest}]}}"#));
    // Pieces, and the ids, names and arguments of the calls that a client puts together.
    let cases: [(&[&str], &[[&str; 3]]); 10] = [
        // All at index 0, the same function twice; as Gemini has it, without ids.
        (
            &[
                r#"{"index":0,"id":"","function":{"name":"f","arguments":"{\"x\":{}}"}}"#,
                r#"{"index":0,"id":"","function":{"name":"f","arguments":"{\"x\":1}"}}"#,
                r#"{"index":0,"id":"","function":{"name":"g","arguments":""}}"#,
                r#"{"index":0,"function":{"arguments":"{}"}}"#,
            ],
            &[["call_0", "f", r#"{\"x\":{}}"#], ["call_1", "f", r#"{\"x\":1}"#], ["call_2", "g", "{}"]],
        ),
        (
            &[
                r#"{"index":0,"function":{"name":"f","arguments":{"x":1}}}"#,
                r#"{"index":0,"function":{"name":"f","arguments":{"x":2}}}"#,
            ],
            &[["call_0", "f", r#"{\"x\":1}"#], ["call_1", "f", r#"{\"x\":2}"#]],
        ),
        // The name in every piece, and no id.
        (
            &[
                r#"{"index":0,"function":{"name":"f","arguments":"{\"x\":"}}"#,
                r#"{"index":0,"function":{"name":"f","arguments":"{\"y\":1}"}}"#,
                r#"{"index":0,"function":{"name":"f","arguments":""}}"#,
                r#"{"index":0,"function":{"name":"f","arguments":"}"}}"#,
            ],
            &[["call_0", "f", r#"{\"x\":{\"y\":1}}"#]],
        ),
        // All at index 0.
        (
            &[
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
                r#"{"index":0,"id":"b","function":{"name":"g","arguments":"{}"}}"#,
            ],
            &[["a", "f", "{}"], ["b", "g", "{}"]],
        ),
        // Without an index.
        (
            &[
                r#"{"id":"a","function":{"name":"f","arguments":"{"}}"#,
                r#"{"function":{"arguments":"}"}}"#,
                r#"{"id":"b","function":{"name":"g","arguments":"{}"}}"#,
            ],
            &[["a", "f", "{}"], ["b", "g", "{}"]],
        ),
        // From 1 on.
        (
            &[
                r#"{"index":1,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
                r#"{"index":2,"id":"b","function":{"name":"g","arguments":"{}"}}"#,
            ],
            &[["a", "f", "{}"], ["b", "g", "{}"]],
        ),
        // Id and name in every piece.
        (
            &[
                r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{"}}"#,
                r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"}"}}"#,
            ],
            &[["a", "f", "{}"]],
        ),
        // Without an id.
        (
            &[
                r#"{"index":0,"function":{"name":"f","arguments":"{}"}}"#,
                r#"{"index":1,"id":"","function":{"name":"g","arguments":"{}"}}"#,
            ],
            &[["call_0", "f", "{}"], ["call_1", "g", "{}"]],
        ),
        // Arguments as an object; none at all.
        (
            &[
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":{"x":1}}}"#,
                r#"{"index":1,"id":"b","function":{"name":"g"}}"#,
            ],
            &[["a", "f", r#"{\"x\":1}"#], ["b", "g", ""]],
        ),
        // The type alone in a later piece.
        (
            &[
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
                r#"{"index":0,"id":null,"type":"function","function":{"name":null,"arguments":""}}"#,
            ],
            &[["a", "f", "{}"]],
        ),
    ];
    for (pieces, calls) in cases {
        let mut data: Vec<String> = pieces.iter().map(|piece| call(piece)).collect();
        data.extend([openai_stop("stop"), "[DONE]".to_owned()]);
        let data: Vec<&str> = data.iter().map(String::as_str).collect();
        let (texts, _, fault) = stream(&mut translator(TO_ANTHROPIC, STREAMED), &data);
        assert_eq!(fault, None, "{pieces:?}");
        let text = texts.concat();
        let mut wanted = message_start();
        for (nth, [id, name, arguments]) in (0..).zip(calls) {
            let block = format!(r#"{{"type":"tool_use","id":"{id}","name":"{name}","input":{{}}}}"#);
            assert!(text.contains(&block_start(nth, &block)), "{pieces:?}: {text}");
            wanted = id.to_string();
            let of_block = format!(r#""index":{nth},"delta":{{"type":"input_json_delta","partial_json":""#);
            let said: String = text
                .split(&of_block)
                .skip(1)
                .filter_map(|rest| rest.split_once("\"}}\n"))
                .map(|(piece, _)| piece)
                .collect();
            assert_eq!(said, *arguments, "{pieces:?}: {text}");
        }
        assert!(!wanted.is_empty() && text.contains(r#""stop_reason":"tool_use""#), "{text}");
        assert_eq!(text.matches("content_block_stop\n").count(), calls.len(), "{text}");
    }
}

#[test]
fn a_refusal_is_streamed_as_text_and_named_at_the_end() {
    let data = [openai(r#"{"refusal":"No"}"#), openai(r#"{"refusal":"."}"#), openai_stop("stop"), "[DONE]".to_owned()];
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let text = stream(&mut translator(TO_ANTHROPIC, STREAMED), &data).0.concat();
    assert!(text.contains(r#""text":"No""#) && text.contains(r#""stop_reason":"refusal""#), "{text}");
    let refused = STOP.replace("max_tokens", "refusal");
    let text = stream(&mut translator(TO_OPENAI, STREAMED), &[START, &refused, END]).0.concat();
    assert!(text.contains(r#""finish_reason":"content_filter""#), "{text}");
}

#[test]
fn a_comment_says_that_the_vendor_is_still_there() {
    let comment = Event { raw: b": hello\n\n", event: None, data: None };
    let mut out = Vec::new();
    let mut translator = translator(TO_ANTHROPIC, STREAMED);
    assert_eq!(translator.push(&comment, &mut out), Ok(Note::default()));
    assert!(out.is_empty(), "nothing comes before the message begins");
    stream(&mut translator, &[&openai(r#"{"content":"a"}"#)]);
    assert_eq!(translator.push(&comment, &mut out), Ok(Note::default()));
    assert_eq!(out, named("ping", "").as_bytes());
    out.clear();
    assert_eq!(self::translator(TO_OPENAI, STREAMED).push(&comment, &mut out), Ok(Note::default()));
    assert!(out.is_empty());
}

#[test]
fn an_answer_begins_once() {
    let (texts, _, fault) = stream(&mut translator(TO_OPENAI, STREAMED), &[START, START]);
    assert_eq!((texts[1].as_str(), fault), ("", None));
}

#[test]
fn usage_is_what_was_said_last() {
    let more = r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"input_tokens":12,"output_tokens":3}}"#;
    let last = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":null,"cache_creation_input_tokens":4,"output_tokens":9,"output_tokens_details":{"thinking_tokens":2}}}"#;
    let again = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":10}}"#;
    let mut translator = translator(TO_OPENAI, STREAMED);
    assert_eq!(translator.usage(), (Usage::default(), UsageSource::None));
    // Event, prompt, completion, source.
    let steps = [
        (START, 17, 1, UsageSource::Partial),
        (more, 19, 3, UsageSource::Partial),
        (last, 23, 9, UsageSource::Provider),
        (again, 23, 10, UsageSource::Provider),
        (END, 23, 10, UsageSource::Provider),
    ];
    for (data, prompt, completion, wanted) in steps {
        stream(&mut translator, &[data]);
        let (usage, source) = translator.usage();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (prompt, completion), "{data}");
        assert_eq!(source, wanted, "{data}");
    }
}

#[test]
fn an_error_of_the_vendor_ends_the_stream_wherever_it_comes() {
    let all = [START, BLOCK, HELLO, BLOCK_END, STOP];
    for cut in 0..=all.len() {
        let mut translator = translator(TO_OPENAI, STREAMED);
        let (texts, _, fault) = stream(&mut translator, &[&all[..cut], &[OVERLOADED, END]].concat());
        let fault = fault.expect("a fault");
        assert_eq!((fault.kind, fault.detail.as_deref()), (Kind::VendorErrorInStream, Some("overloaded_error")));
        let wanted =
            r#"{"error":{"message":"Overloaded","type":"server_error","param":null,"code":"overloaded_error"}}"#;
        assert_eq!(texts.last().map(String::as_str), Some(&*format!("data: {wanted}\n\n")));
        assert!(!translator.is_finished());
    }
    // What vendors of OpenAI's language say, and the word for it.
    let cases = [
        (r#"{"error":{"message":"no","type":"server_error","code":null}}"#, "api_error", "no"),
        (r#"{"error":{"message":"no","code":429}}"#, "rate_limit_error", "no"),
        (
            r#"{"id":"x","choices":[],"error":{"message":"no","type":"invalid_request_error","code":"tool_use_failed"}}"#,
            "invalid_request_error",
            "no",
        ),
        (r#"{"error":"no"}"#, "api_error", "no"),
        (
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}"#,
            "api_error",
            "The vendor answered with status 200 and an error that could not be read.",
        ),
    ];
    for (data, word, message) in cases {
        let mut translator = translator(TO_ANTHROPIC, STREAMED);
        let (texts, _, fault) = stream(&mut translator, &[&openai(r#"{"content":"a"}"#), data]);
        assert_eq!(fault.map(|fault| fault.kind), Some(Kind::VendorErrorInStream), "{data}");
        let error = named("error", &format!(r#","error":{{"type":"{word}","message":"{message}"}}"#));
        assert!(texts[1].ends_with(&error), "{}", texts[1]);
        assert!(!translator.is_finished());
    }
}

#[test]
fn an_event_that_is_not_understood_ends_the_stream_with_an_error_event() {
    let song = r#"{"type":"content_block_start","index":0,"content_block":{"type":"song","notes":""}}"#;
    let tune = r#"{"type":"content_block_delta","index":0,"delta":{"type":"tune_delta","tune":""}}"#;
    let textless = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta"}}"#;
    let tired = r#"{"type":"message_delta","delta":{"stop_reason":"tired"},"usage":{}}"#;
    let hi = openai(r#"{"content":"a"}"#);
    let second = hi.replace("\"index\":0", "\"index\":1");
    let nameless = openai(r#"{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"{}"}}]}"#);
    let f = openai(r#"{"tool_calls":[{"index":1,"id":"a","function":{"name":"f"}}]}"#);
    let back = openai(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#);
    let a_again = openai(r#"{"tool_calls":[{"index":1,"id":"a","function":{"name":"f"}}]}"#);
    let b = openai(r#"{"tool_calls":[{"index":1,"id":"b","function":{"name":"f"}}]}"#);
    let misplaced = HELLO.replace("\"index\":0", "\"index\":1");
    let no_call = HELLO.replace("text_delta\",\"text", "input_json_delta\",\"partial_json");
    let blocks: Vec<&str> = std::iter::once(START).chain(std::iter::repeat_n(BLOCK, 65)).collect();
    let spoken = openai(r#"{"audio":{"data":"x"}}"#);
    let cases: [(Crossing, &[&str], &str); 25] = [
        (TO_OPENAI, &[START, BLOCK, &misplaced], "index is of no block that is open"),
        (TO_OPENAI, &[START, BLOCK, &no_call], r#"delta.type is "input_json_delta", and the block no call"#),
        (TO_OPENAI, &blocks, "content_block is one more than 64 that are open"),
        (TO_ANTHROPIC, &[&f, &b, &a_again], "choices[0].delta.tool_calls[0].id goes back to a call that was left"),
        (TO_OPENAI, &["nonsense"], "the body of an event is not JSON"),
        (TO_OPENAI, &[""], "the body of an event is not JSON"),
        (TO_OPENAI, &["[DONE]"], "the body of an event is not JSON"),
        (TO_OPENAI, &["{}"], "type is missing"),
        (TO_OPENAI, &[r#"{"type":7}"#], "type is missing"),
        (TO_OPENAI, &[HELLO], r#"type "content_block_delta" comes out of order"#),
        (TO_OPENAI, &[START, STOP, START], r#"type "message_start" comes out of order"#),
        (TO_OPENAI, &[START, END], r#"type "message_stop" comes out of order"#),
        (TO_OPENAI, &[START, STOP, HELLO], r#"type "content_block_delta" comes out of order"#),
        (TO_OPENAI, &[r#"{"type":"message_start"}"#], "message is missing"),
        (TO_OPENAI, &[START, song], r#"content_block.type is "song", which is not known"#),
        (TO_OPENAI, &[START, BLOCK, tune], r#"delta.type is "tune_delta", which is not known"#),
        (TO_OPENAI, &[START, BLOCK, textless], "delta.text is missing"),
        (TO_OPENAI, &[START, tired], r#"delta.stop_reason is "tired", which is not known"#),
        (TO_ANTHROPIC, &["nonsense"], "the body of an event is not JSON"),
        (TO_ANTHROPIC, &["[DONE]"], "the body of an event says the end, and nothing came before"),
        (TO_ANTHROPIC, &[&hi, &second], "choices[0].index is of a second choice, which was not asked for"),
        (TO_ANTHROPIC, &[&nameless], "choices[0].delta.tool_calls[0].function.name is missing"),
        (TO_ANTHROPIC, &[&f, &back], "choices[0].delta.tool_calls[0].index goes back to a call that was left"),
        (TO_ANTHROPIC, &[&spoken], "choices[0].delta.audio was not asked for"),
        (TO_ANTHROPIC, &[&openai_stop("tired")], r#"choices[0].finish_reason is "tired", which is not known"#),
    ];
    for (crossing, data, detail) in cases {
        let (texts, _, fault) = stream(&mut translator(crossing, STREAMED), data);
        let fault = fault.expect(detail);
        assert_eq!((fault.kind, fault.detail.as_deref()), (Kind::AnswerNotUnderstood, Some(detail)));
        let last = texts.last().expect("an event");
        let error = match crossing {
            TO_OPENAI => r#"data: {"error":{"message":"The vendor's answer could not be understood: "#,
            TO_ANTHROPIC => r#"event: error"#,
        };
        assert!(last.contains(error), "{last}");
    }
}

#[test]
fn an_event_of_a_type_to_come_is_left_out() {
    let (texts, _, fault) = stream(&mut translator(TO_OPENAI, STREAMED), &[START, r#"{"type":"weather","sun":true}"#]);
    assert_eq!((texts[1].as_str(), fault), ("", None));
}

#[test]
fn any_split_of_a_stream_gives_the_same_bytes() {
    let anthropic = [START, PING, BLOCK, HELLO, BLOCK_END, STOP, END];
    let openai = [
        AZURE.to_owned(),
        self::openai(r#"{"content":"é😀"}"#),
        openai_stop("stop"),
        OPENAI_USAGE.to_owned(),
        "[DONE]".to_owned(),
    ];
    let framed = |data: &mut dyn Iterator<Item = &str>, end: &str| -> String {
        data.map(|data| format!(": c{end}data: {data}{end}{end}")).collect()
    };
    for end in ["\n", "\r\n", "\r"] {
        let streams = [
            (TO_OPENAI, framed(&mut anthropic.into_iter(), end)),
            (TO_ANTHROPIC, framed(&mut openai.iter().map(String::as_str), end)),
        ];
        for (crossing, text) in &streams {
            let whole = translate_pieces(*crossing, [text.as_bytes()]);
            check_events(&whole);
            assert!(whole.len() > 500);
            assert_eq!(translate_pieces(*crossing, text.as_bytes().chunks(1)), whole);
            for cut in 0..text.len() {
                let (one, two) = text.as_bytes().split_at(cut);
                assert_eq!(translate_pieces(*crossing, [one, two]), whole, "cut at {cut}");
            }
        }
    }
}

/// What a stream becomes that comes in these pieces.
fn translate_pieces<'p>(crossing: Crossing, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
    let (mut splitter, mut buffer, mut out) = (Splitter::new(), Vec::new(), Vec::new());
    let mut translator = translator(crossing, STREAMED);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let whole = splitter.advance(&buffer);
        for event in events(&buffer[..whole]) {
            translator.push(&event, &mut out).expect("a good stream");
        }
        buffer.drain(..whole);
    }
    for event in events(&buffer[..splitter.at_end()]) {
        translator.push(&event, &mut out).expect("a good stream");
    }
    assert!(translator.conclude(&mut out));
    out
}

#[test]
fn no_input_makes_it_panic() {
    let openai_request = r#"{"model":"g","messages":[{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"é"},{"type":"image_url","image_url":{"url":"data:image/png;base64,QQ=="}}]},{"role":"assistant","thinking_blocks":[{"type":"thinking","thinking":"t","signature":"s"}],"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"a","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"stop":["a"],"n":1,"temperature":0.5,"reasoning_effort":"low","stream_options":{"include_usage":true}}"#;
    let anthropic_request = r#"{"max_tokens":9,"system":[{"type":"text","text":"S"}],"thinking":{"type":"enabled","budget_tokens":2000},"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"QQ=="}}]},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{"a":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"x"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}],"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}}"#;
    let chunk = r#"{"model":"m","choices":[{"delta":{"content":"a","tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}],"usage":{"prompt_tokens":1},"x_groq":{"usage":null}}"#;
    let completion = r#"{"model":"m","choices":[{"message":{"content":"a","tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#;
    let answer = r#"{"type":"message","model":"m","content":[{"type":"text","text":"a"},{"type":"tool_use","id":"a","name":"f","input":{}}],"stop_reason":"end_turn","usage":{"input_tokens":1}}"#;
    let samples = [
        openai_request,
        anthropic_request,
        chunk,
        completion,
        answer,
        START,
        BLOCK,
        HELLO,
        STOP,
        END,
        PING,
        OVERLOADED,
    ];
    let junk = b"\"\\{}[],:0e-.nt \n\x00\xff\xed\xa0u";
    let mut dice = fastrand::Rng::with_seed(7);
    let mut out = Vec::new();
    for round in 0..6_000 {
        let mut data = samples[round % samples.len()].as_bytes().to_vec();
        for _ in 0..dice.usize(1..4) {
            let at = dice.usize(..data.len());
            match dice.u8(..3) {
                0 => data[at] = junk[dice.usize(..junk.len())],
                1 => data.insert(at, junk[dice.usize(..junk.len())]),
                _ => data.truncate(at.max(1)),
            }
        }
        out.clear();
        let event = Event { raw: &data, event: None, data: Some(data.as_slice().into()) };
        for crossing in CROSSINGS {
            Look::new(crossing.vendor()).at(&event);
            let mut translator = translator(crossing, STREAMED);
            let chunk = self::event(chunk);
            let between = [self::event(START), self::event(STOP)];
            for event in [&event, &between[0], &event, &chunk, &event, &between[1], &event] {
                if translator.push(event, &mut out).is_err() {
                    break;
                }
            }
            translator.conclude(&mut out);
            // Either end is fine.
            let _ = translate_request(crossing, &recipient(crossing, "m"), &data, &mut out);
            let _ = translate_answer(crossing, &data, &NAMING, STREAMED, &mut out); // Either end is fine.
            translate_error(crossing, 500, &data, &mut out);
            assert!(std::str::from_utf8(&out).is_ok(), "{}", String::from_utf8_lossy(&data));
        }
    }
}
