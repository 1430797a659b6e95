//! Whole answers, their usage, and errors, in both directions.

use super::*;

const TO_OPENAI: Crossing = Crossing::OpenAiToAnthropic;
const TO_ANTHROPIC: Crossing = Crossing::AnthropicToOpenAi;

fn answer(crossing: Crossing, wanted: Wanted, body: &str) -> Result<(String, Said), Fault> {
    let mut out = Vec::new();
    let said = translate_answer(crossing, body.as_bytes(), &NAMING, wanted, &mut out);
    assert!(said.is_ok() || out.is_empty(), "nothing is written of an answer that isn't understood");
    let said = said?;
    Ok((checked(&out), said))
}

/// A whole chat completion around a message, a reason and what follows the choices.
fn completion(message: &str, reason: &str, rest: &str) -> String {
    format!(
        r#"{{"id":"answer-1","object":"chat.completion","created":1700000000,"model":"the-model","choices":[{{"index":0,"message":{message},"logprobs":null,"finish_reason":"{reason}"}}]{rest}}}"#
    )
}

/// A whole message around its blocks, a reason and its usage.
fn message(blocks: &str, reason: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"answer-1","type":"message","role":"assistant","model":"the-model","content":[{blocks}],"stop_reason":"{reason}","stop_sequence":null,"usage":{{{usage}}}}}"#
    )
}

const NO_USAGE: &str =
    r#""input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0"#;

#[test]
fn an_answer_of_anthropic_says_the_same_to_a_client_of_openai() {
    let (written, said) = answer(
        TO_OPENAI,
        Wanted::WHOLE,
        r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x-20250101","stop_sequence":null,
            "content":[{"type":"text","text":"Hello, \"you\"\n"},{"type":"text","text":"\u00e9","citations":null}],
            "stop_reason":"end_turn","usage":{"input_tokens":10,"cache_creation_input_tokens":20,
            "cache_read_input_tokens":30,"output_tokens":5,"service_tier":"priority",
            "output_tokens_details":{"thinking_tokens":2},"cache_creation":{"ephemeral_5m_input_tokens":20}}}"#,
    )
    .unwrap();
    let usage = r#","usage":{"prompt_tokens":60,"completion_tokens":5,"total_tokens":65,"prompt_tokens_details":{"cached_tokens":30,"cache_write_tokens":20},"completion_tokens_details":{"reasoning_tokens":2}},"service_tier":"priority""#;
    let wanted = r#"{"role":"assistant","content":"Hello, \"you\"\n\u00e9","refusal":null}"#;
    assert_eq!(written, completion(wanted, "stop", usage));
    let usage = Usage {
        prompt_tokens: 60,
        completion_tokens: 5,
        total_tokens: 65,
        cached_tokens: 30,
        cache_write_tokens: 20,
        cache_write_1h_tokens: 0,
        reasoning_tokens: 2,
    };
    let model = Some("claude-x-20250101".into());
    assert_eq!(said, Said { usage, usage_source: UsageSource::Provider, model });

    let json = Wanted { json_tool: true, ..Wanted::WHOLE };
    let functions = Wanted { functions: true, ..Wanted::WHOLE };
    let call = r#"{"type":"tool_use","id":"t1","name":"f","input":{"a": "\u00e9"},"caller":{"type":"direct"}}"#;
    let two = format!(r#"{call},{{"type":"tool_use","id":"t2","name":"g","input":{{}}}}"#);
    let thoughts = r#"{"type":"thinking","thinking":"h\"m","signature":"s1"},{"type":"redacted_thinking","data":"x"},{"type":"thinking","thinking":"!","signature":"s2"},{"type":"text","text":"a"}"#;
    let server = r#"{"type":"server_tool_use","id":"s","name":"web_search","input":{}},{"type":"web_search_tool_result","tool_use_id":"s","content":[]},{"type":"text","text":"a","citations":[{"type":"x"}]}"#;
    // Blocks, reason, what is wanted; message and reason.
    let cases: &[(&str, &str, Wanted, &str, &str)] = &[
        (
            &two,
            "tool_use",
            Wanted::WHOLE,
            r#"{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"a\": \"\\u00e9\"}"}},{"id":"t2","type":"function","function":{"name":"g","arguments":"{}"}}]}"#,
            "tool_calls",
        ),
        (
            call,
            "tool_use",
            functions,
            r#"{"role":"assistant","content":null,"refusal":null,"function_call":{"name":"f","arguments":"{\"a\": \"\\u00e9\"}"}}"#,
            "function_call",
        ),
        (call, "tool_use", json, r#"{"role":"assistant","content":"{\"a\": \"\\u00e9\"}","refusal":null}"#, "stop"),
        (
            thoughts,
            "end_turn",
            Wanted::WHOLE,
            r#"{"role":"assistant","content":"a","refusal":null,"reasoning_content":"h\"m!","thinking_blocks":[{"type":"thinking","thinking":"h\"m","signature":"s1"},{"type":"redacted_thinking","data":"x"},{"type":"thinking","thinking":"!","signature":"s2"}]}"#,
            "stop",
        ),
        (server, "end_turn", Wanted::WHOLE, r#"{"role":"assistant","content":"a","refusal":null}"#, "stop"),
    ];
    for (blocks, reason, wanted, message, finish) in cases {
        let body = format!(r#"{{"type":"message","content":[{blocks}],"stop_reason":"{reason}"}}"#);
        let (written, said) = answer(TO_OPENAI, *wanted, &body).unwrap();
        assert_eq!(written, completion(message, finish, ""), "{blocks}");
        assert_eq!(said, Said::default());
    }
    let refused = r#"{"type":"message","content":[],"stop_reason":"refusal","stop_details":{"type":"refusal","explanation":"No."}}"#;
    let (written, _) = answer(TO_OPENAI, Wanted::WHOLE, refused).unwrap();
    assert_eq!(written, completion(r#"{"role":"assistant","content":"","refusal":"No."}"#, "content_filter", ""));
}

#[test]
fn an_answer_of_openai_says_the_same_to_a_client_of_anthropic() {
    let (written, said) = answer(
        TO_ANTHROPIC,
        Wanted::WHOLE,
        r#"{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"H\u00e9","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],
            "usage":{"prompt_tokens":60,"completion_tokens":5,"total_tokens":65,"prompt_tokens_details":{"cached_tokens":30,"cache_write_tokens":20},"completion_tokens_details":{"reasoning_tokens":2}},"service_tier":"default","system_fingerprint":null}"#,
    )
    .unwrap();
    let usage = r#""input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":30,"output_tokens":5,"output_tokens_details":{"thinking_tokens":2},"service_tier":"standard""#;
    assert_eq!(written, message(r#"{"type":"text","text":"H\u00e9"}"#, "end_turn", usage));
    assert_eq!(said.usage.total_tokens, 65);
    assert_eq!(said.model.as_deref(), Some("gpt-4o-2024-08-06"));

    let json = Wanted { json_tool: true, ..Wanted::WHOLE };
    let thinking = Wanted { thinking: true, ..Wanted::WHOLE };
    let calls = r#"{"content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\": 1.0}"}},{"function":{"name":"g","arguments":""}},{"id":"c","function":{"name":"h","arguments":{"y":2}}}]}"#;
    let blocks = r#"{"type":"tool_use","id":"a","name":"f","input":{"x": 1.0}},{"type":"tool_use","id":"call_1","name":"g","input":{}},{"type":"tool_use","id":"c","name":"h","input":{"y":2}}"#;
    let mistral = r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"},{"type":"reference","reference_ids":[1]}]}"#;
    let hm = r#"{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"a"}"#;
    let cut = r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"x\""}}]}"#;
    // Message, reason, what is wanted; blocks and reason.
    let cases: &[(&str, &str, Wanted, &str, &str)] = &[
        (calls, "tool_calls", Wanted::WHOLE, blocks, "tool_use"),
        // OpenAI says so where the tool was named in the request.
        (calls, "stop", Wanted::WHOLE, blocks, "tool_use"),
        (
            r#"{"content":null,"tool_calls":[{"id":"a","function":{"name":"json_answer","arguments":"{\"x\":1}"}}]}"#,
            "stop",
            json,
            r#"{"type":"text","text":"{\"x\":1}"}"#,
            "end_turn",
        ),
        (cut, "length", Wanted::WHOLE, r#"{"type":"tool_use","id":"a","name":"f","input":{}}"#, "max_tokens"),
        (r#"{"content":"a","reasoning_content":"hm"}"#, "stop", thinking, hm, "end_turn"),
        (r#"{"content":"a","reasoning":"hm"}"#, "stop", thinking, hm, "end_turn"),
        (r#"{"content":"a","reasoning":"hm"}"#, "stop", Wanted::WHOLE, r#"{"type":"text","text":"a"}"#, "end_turn"),
        (mistral, "stop", thinking, hm, "end_turn"),
        (mistral, "stop", Wanted::WHOLE, r#"{"type":"text","text":"a"}"#, "end_turn"),
        (r#"{"content":null,"refusal":"No."}"#, "stop", Wanted::WHOLE, r#"{"type":"text","text":"No."}"#, "refusal"),
        (r#"{"content":""}"#, "content_filter", Wanted::WHOLE, "", "refusal"),
        // No reason, and fields with nothing in them.
        (
            r#"{"content":"a","audio":{"data":"","expires_at":0},"function_call":{"name":"","arguments":""}}"#,
            "",
            Wanted::WHOLE,
            r#"{"type":"text","text":"a"}"#,
            "end_turn",
        ),
        (r#"{"content":"a"}"#, "length", Wanted::WHOLE, r#"{"type":"text","text":"a"}"#, "max_tokens"),
    ];
    for (from, reason, wanted, blocks, stop) in cases {
        let body = format!(r#"{{"choices":[{{"message":{from},"finish_reason":"{reason}"}}]}}"#);
        let (written, said) = answer(TO_ANTHROPIC, *wanted, &body).unwrap();
        assert_eq!(written, message(blocks, stop, NO_USAGE), "{from}");
        assert_eq!(said, Said::default());
    }
}

/// Anthropic's reason and OpenAI's.
const STOPS: [(&str, &str); 7] = [
    ("end_turn", "stop"),
    ("stop_sequence", "stop"),
    ("pause_turn", "stop"),
    ("max_tokens", "length"),
    ("model_context_window_exceeded", "length"),
    ("tool_use", "tool_calls"),
    ("refusal", "content_filter"),
];

#[test]
fn every_reason_to_stop_has_its_word() {
    for (anthropic, openai) in STOPS {
        let body = format!(r#"{{"type":"message","content":[],"stop_reason":"{anthropic}"}}"#);
        let (written, _) = answer(TO_OPENAI, Wanted::WHOLE, &body).unwrap();
        assert_eq!(written, completion(r#"{"role":"assistant","content":"","refusal":null}"#, openai, ""));
    }
    let openai = [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
        ("model_length", "model_context_window_exceeded"),
    ];
    for (openai, anthropic) in openai {
        let body = format!(r#"{{"choices":[{{"message":{{}},"finish_reason":"{openai}"}}]}}"#);
        let (written, _) = answer(TO_ANTHROPIC, Wanted::WHOLE, &body).unwrap();
        assert_eq!(written, message("", anthropic, NO_USAGE));
    }
}

#[test]
fn an_answer_that_is_not_as_documented_is_not_understood() {
    let choice = |message: &str| format!(r#"{{"choices":[{{"message":{message},"finish_reason":"stop"}}]}}"#);
    let cases = [
        (TO_OPENAI, String::new(), "the body is not JSON"),
        (TO_OPENAI, "<html>".to_owned(), "the body is not JSON"),
        (TO_OPENAI, "{}".to_owned(), "type is missing"),
        (TO_OPENAI, r#"{"type":"error","error":{}}"#.to_owned(), r#"type is "error""#),
        (TO_OPENAI, r#"{"type":"message"}"#.to_owned(), "content is not a list"),
        (
            TO_OPENAI,
            r#"{"type":"message","content":[{"type":"text","text":"a"},{"type":"song","text":"la"}]}"#.to_owned(),
            r#"content[1].type is "song", which is not known"#,
        ),
        (TO_OPENAI, r#"{"type":"message","content":[{"type":"text"}]}"#.to_owned(), "content[0].text is missing"),
        (TO_OPENAI, r#"{"type":"message","content":[]}"#.to_owned(), "stop_reason is missing"),
        (
            TO_OPENAI,
            r#"{"type":"message","content":[],"stop_reason":"tired"}"#.to_owned(),
            r#"stop_reason is "tired", which is not known"#,
        ),
        (TO_ANTHROPIC, "{}".to_owned(), "choices is missing"),
        (TO_ANTHROPIC, r#"{"choices":[]}"#.to_owned(), "choices is empty"),
        (TO_ANTHROPIC, r#"{"choices":[{}]}"#.to_owned(), "choices[0].message is missing"),
        (TO_ANTHROPIC, choice(r#"{"audio":{"data":"x"}}"#), "choices[0].message.audio was not asked for"),
        (
            TO_ANTHROPIC,
            r#"{"choices":[{"message":{},"finish_reason":"tired"}]}"#.to_owned(),
            r#"choices[0].finish_reason is "tired", which is not known"#,
        ),
        (
            TO_ANTHROPIC,
            choice(r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}}]}"#),
            "choices[0].message.tool_calls[0].function.arguments is no JSON object",
        ),
        (
            TO_ANTHROPIC,
            choice(r#"{"content":[{"type":"song"}]}"#),
            r#"choices[0].message.content[0].type is "song", which is not known"#,
        ),
    ];
    for (crossing, body, detail) in cases {
        let fault = answer(crossing, Wanted::WHOLE, &body).expect_err(&body);
        assert_eq!((fault.kind, fault.phase), (Kind::AnswerNotUnderstood, Phase::Stream), "{body}");
        assert_eq!(fault.detail.as_deref(), Some(detail), "{body}");
    }
    // An error under a status of 200.
    let fault = answer(TO_ANTHROPIC, Wanted::WHOLE, r#"{"error":{"message":"It broke.","code":502}}"#).unwrap_err();
    assert_eq!((fault.kind, fault.detail.as_deref()), (Kind::VendorErrorInAnswer, Some("It broke.")));
}

#[test]
fn an_error_of_the_vendor_keeps_its_message_and_its_word() {
    // Status, Anthropic's word, and OpenAI's for it.
    let kinds = [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "authentication_error", "authentication_error"),
        (402, "billing_error", "insufficient_quota"),
        (403, "permission_error", "permission_error"),
        (404, "not_found_error", "invalid_request_error"),
        (413, "request_too_large", "invalid_request_error"),
        (429, "rate_limit_error", "rate_limit_error"),
        (500, "api_error", "server_error"),
        (504, "timeout_error", "server_error"),
        (529, "overloaded_error", "server_error"),
        (418, "teapot_error", "server_error"),
    ];
    for (status, theirs, ours) in kinds {
        let body =
            format!(r#"{{"type":"error","error":{{"type":"{theirs}","message":"It \"broke\"."}},"request_id":"r"}}"#);
        let mut out = Vec::new();
        translate_error(TO_OPENAI, status, body.as_bytes(), &mut out);
        let wanted =
            format!(r#"{{"error":{{"message":"It \"broke\".","type":"{ours}","param":null,"code":"{theirs}"}}}}"#);
        assert_eq!(checked(&out), wanted);
    }
    let broke = |word: &str| format!(r#"{{"type":"error","error":{{"type":"{word}","message":"It broke."}}}}"#);
    let said = r#"{"error":{"message":"It broke.","type":"invalid_request_error","param":null,"code":"x"}}"#;
    let bodies = [
        (400, said, "invalid_request_error"),
        (401, said, "authentication_error"),
        (404, said, "not_found_error"),
        (429, said, "rate_limit_error"),
        (500, said, "api_error"),
        (503, said, "overloaded_error"),
        (504, said, "timeout_error"),
        (422, r#"{"object":"error","message":"It broke.","type":"x","code":"y"}"#, "invalid_request_error"),
        (422, r#"{"detail":"It broke."}"#, "invalid_request_error"),
        (500, r#"{"error":"It broke."}"#, "api_error"),
    ];
    for (status, body, word) in bodies {
        let mut out = Vec::new();
        translate_error(TO_ANTHROPIC, status, body.as_bytes(), &mut out);
        assert_eq!(checked(&out), broke(word), "{body}");
    }
}

#[test]
fn an_error_that_cannot_be_read_is_a_sentence_about_its_status() {
    let sentence = "The vendor answered with status 502 and an error that could not be read.";
    for body in ["", "<html>secret</html>", "{}", r#"{"error":7}"#, r#"{"type":"error"}"#] {
        for crossing in CROSSINGS {
            let mut out = Vec::new();
            translate_error(crossing, 502, body.as_bytes(), &mut out);
            let written = checked(&out);
            assert!(written.contains(sentence) && !written.contains("secret"), "{body}: {written}");
        }
    }
}

#[test]
fn usage_is_read_as_each_vendor_counts() {
    use Dialect::{Anthropic, OpenAi};
    // Vendor, object, and [prompt, completion, total, cached, cache write, reasoning].
    let cases = [
        (OpenAi, r#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}"#, Some([3, 4, 7, 0, 0, 0])),
        (
            OpenAi,
            r#"{"total_tokens":9,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":2},
                "prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":1,"cache_write_tokens":2}}"#,
            Some([3, 4, 9, 1, 2, 2]),
        ),
        (OpenAi, r#"{"prompt_tokens":3,"completion_tokens":4}"#, Some([3, 4, 7, 0, 0, 0])),
        (OpenAi, r#"{"prompt_tokens":3}"#, Some([3, 0, 3, 0, 0, 0])),
        (OpenAi, r#"{"prompt_tokens":3,"prompt_cache_hit_tokens":2}"#, Some([3, 0, 3, 2, 0, 0])),
        (OpenAi, r#"{"prompt_tokens":3,"prompt_tokens_details":null,"cached_tokens":2}"#, Some([3, 0, 3, 2, 0, 0])),
        (
            OpenAi,
            r#"{"prompt_tokens":18446744073709551615,"completion_tokens":1}"#,
            Some([u64::MAX, 1, u64::MAX, 0, 0, 0]),
        ),
        (OpenAi, r#"{"prompt_tokens":-3}"#, None),
        (OpenAi, r#"{"input_tokens":3}"#, None),
        (OpenAi, "{}", None),
        (OpenAi, "null", None),
        (OpenAi, "nonsense", None),
        (Anthropic, r#"{"input_tokens":3,"output_tokens":4}"#, Some([3, 4, 7, 0, 0, 0])),
        (
            Anthropic,
            r#"{"input_tokens":3,"cache_creation_input_tokens":10,"cache_read_input_tokens":20,"output_tokens":4,
                "output_tokens_details":{"thinking_tokens":1},"cache_creation":{"ephemeral_5m_input_tokens":6,"ephemeral_1h_input_tokens":4}}"#,
            Some([33, 4, 37, 20, 10, 1]),
        ),
        (Anthropic, r#"{"input_tokens":3,"cache_read_input_tokens":null,"output_tokens":4}"#, Some([3, 4, 7, 0, 0, 0])),
        (Anthropic, r#"{"prompt_tokens":3}"#, None),
        (Anthropic, "", None),
    ];
    for (vendor, object, wanted) in cases {
        let counts = usage(vendor, object.as_bytes()).map(|usage| {
            assert_eq!(usage.cache_write_1h_tokens, if object.contains("1h") { 4 } else { 0 }, "{object}");
            [
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.total_tokens,
                usage.cached_tokens,
                usage.cache_write_tokens,
                usage.reasoning_tokens,
            ]
        });
        assert_eq!(counts, wanted, "{vendor:?} {object}");
    }
}

#[test]
fn usage_says_the_same_to_a_client_of_anthropic_whatever_the_vendor_counts() {
    // The vendor's usage, and [fresh, written, read] input.
    let cases = [
        (r#"{"prompt_tokens":10,"completion_tokens":1}"#, [10, 0, 0]),
        (r#"{"prompt_tokens":10,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":5}}"#, [1, 5, 4]),
        // The prompt without what was cached.
        (r#"{"prompt_tokens":10,"prompt_tokens_details":{"cached_tokens":161}}"#, [10, 0, 161]),
        // What was read and written at once.
        (r#"{"prompt_tokens":10,"prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":8}}"#, [0, 2, 8]),
    ];
    for (usage, [fresh, written, read]) in cases {
        let body = format!(r#"{{"choices":[{{"message":{{}},"finish_reason":"stop"}}],"usage":{usage}}}"#);
        let (answer, _) = answer(TO_ANTHROPIC, Wanted::WHOLE, &body).unwrap();
        let wanted = format!(
            r#""input_tokens":{fresh},"cache_creation_input_tokens":{written},"cache_read_input_tokens":{read},"#
        );
        assert!(answer.contains(&wanted), "{usage}: {answer}");
    }
}
