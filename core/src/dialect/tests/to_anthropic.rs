//! Requests of OpenAI's clients, as Anthropic gets them.

use super::*;

const CROSSING: Crossing = Crossing::OpenAiToAnthropic;
const HI: &str = r#"{"model":"group","messages":[{"role":"user","content":"Hi"}],"#;
const HI_TRANSLATED: &str = r#""max_tokens":4096,"messages":[{"role":"user","content":"Hi"}]"#;

#[test]
fn messages_say_the_same() {
    let cases: &[Case] = &[
        (r#"[{"role":"user","content":"Hi"}]"#, r#""messages":[{"role":"user","content":"Hi"}]"#, &[]),
        // Text stays as it is written.
        (
            r#"[{"role":"user","content":"\"\\\/\b\f\n\r\t\u0000\u00e9\ud83d\ude00 é😀"}]"#,
            r#""messages":[{"role":"user","content":"\"\\\/\b\f\n\r\t\u0000\u00e9\ud83d\ude00 é😀"}]"#,
            &[],
        ),
        // Lists of parts; one that says nothing is left out.
        (
            r#"[{"content":[{"type":"text","text":"a"},{"text":"b","type":"text"}],"role":"user"}]"#,
            r#""messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#,
            &[],
        ),
        (
            r#"[{"role":"user","content":[{"type":"text","text":" \n"},{"type":"text","text":"b"}]}]"#,
            r#""messages":[{"role":"user","content":"b"}]"#,
            &[],
        ),
        // System and developer messages, wherever they stand.
        (
            r#"[{"role":"system","content":"S"},{"role":"developer","content":[{"type":"text","text":"D"}]},
               {"role":"user","content":"U"},{"role":"system","content":"late"},{"role":"system","content":""}]"#,
            r#""system":[{"type":"text","text":"S"},{"type":"text","text":"D"},{"type":"text","text":"late"}],"messages":[{"role":"user","content":"U"}]"#,
            &["messages[3]"],
        ),
        // The operator alone.
        (
            r#"[{"role":"system","content":"S"},{"role":"system","content":"T"}]"#,
            r#""system":[{"type":"text","text":"S"}],"messages":[{"role":"user","content":"T"}]"#,
            &["messages[1]"],
        ),
        // The model first, and the model last.
        (
            r#"[{"role":"assistant","content":"1"},{"role":"user","content":"2"},{"role":"assistant","content":"3"}]"#,
            r#""messages":[{"role":"user","content":"."},{"role":"assistant","content":"1"},{"role":"user","content":"2"},{"role":"assistant","content":"3"}]"#,
            &["messages[2]", "messages[0]"],
        ),
        // Several turns, also of one role; what clients echo of an answer; somebody who says nothing.
        (
            r#"[{"role":"user","content":"1"},{"role":"user","content":"2"},
               {"role":"assistant","content":"3","refusal":null,"annotations":[],"audio":null,"tool_calls":null,"function_call":null},
               {"role":"assistant","content":"4","tool_calls":[]},{"role":"user","content":""},{"role":"user","content":"5","name":null}]"#,
            r#""messages":[{"role":"user","content":"1"},{"role":"user","content":"2"},{"role":"assistant","content":"3"},{"role":"assistant","content":"4"},{"role":"user","content":"5"}]"#,
            &["messages[4]"],
        ),
        // A refusal is what the model said; a name has no place; thoughts without a signature are of no use.
        (
            r#"[{"role":"user","content":"1","name":"Ann"},{"role":"assistant","content":null,"refusal":"No."},
               {"role":"user","content":"2"},{"role":"assistant","content":"3","reasoning_content":"hm"},{"role":"user","content":"4"}]"#,
            r#""messages":[{"role":"user","content":"1"},{"role":"assistant","content":"No."},{"role":"user","content":"2"},{"role":"assistant","content":"3"},{"role":"user","content":"4"}]"#,
            &["messages[0].name", "messages[3].reasoning_content"],
        ),
        // Pictures and files.
        (
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a/b.png"}},
               {"type":"image_url","image_url":{"url":"data:image\/jpg;base64,QUJD","detail":"low"}},
               {"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERg=="}},
               {"type":"file","file":{"file_data":"data:text/plain;base64,w6k="}}]}]"#,
            r#""messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://a/b.png"}},{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"QUJD"}},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERg=="},"title":"a.pdf"},{"type":"document","source":{"type":"text","media_type":"text/plain","data":"é"}}]}]"#,
            &["messages[0].content[1].image_url.detail"],
        ),
        // Marks of what is to be cached: Anthropic's own, as other gateways take them, and OpenAI's.
        (
            r#"[{"role":"system","content":[{"type":"text","text":"S","cache_control":{"type":"ephemeral","ttl":"1h"}}]},
               {"role":"user","content":[{"type":"text","text":"a","prompt_cache_breakpoint":{"mode":"explicit"}}]},
               {"role":"user","content":"b","cache_control":{"type":"ephemeral"}}]"#,
            r#""system":[{"type":"text","text":"S","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]},{"role":"user","content":[{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}]}]"#,
            &[],
        ),
    ];
    check_requests(CROSSING, "claude-x", r#"{"messages":"#, r#""max_tokens":4096,"#, cases);
}

#[test]
fn tools_and_what_they_answer_say_the_same() {
    let cases: &[Case] = &[
        // Parallel calls; their answers are regrouped into one turn, before what the user says.
        (
            r#"{"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"maximum":1.10}}}}},
                {"type":"function","cache_control":{"type":"ephemeral"},"function":{"name":"g","parameters":null,"strict":false}}],"tool_choice":"required","parallel_tool_calls":false,
                "messages":[{"role":"user","content":"1"},
                {"role":"assistant","content":"so","tool_calls":[{"id":"c1","type":"function","index":0,"function":{"name":"f","arguments":"{\"a\": 1.50}"}},{"id":"c2","function":{"name":"g","arguments":""}}]},
                {"role":"tool","tool_call_id":"c2","content":"two"},{"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"one"},{"type":"text","text":"more"}],"name":"f"},
                {"role":"user","content":"go"}]"#,
            r#""messages":[{"role":"user","content":"1"},{"role":"assistant","content":[{"type":"text","text":"so"},{"type":"tool_use","id":"c1","name":"f","input":{"a": 1.50}},{"type":"tool_use","id":"c2","name":"g","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c2","content":"two"},{"type":"tool_result","tool_use_id":"c1","content":[{"type":"text","text":"one"},{"type":"text","text":"more"}]},{"type":"text","text":"go"}]}],"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{"a":{"maximum":1.10}}}},{"name":"g","input_schema":{"type":"object","properties":{}},"cache_control":{"type":"ephemeral"}}],"tool_choice":{"type":"any","disable_parallel_tool_use":true}"#,
            &[],
        ),
        // Answers of two rounds; an id that the vendor wouldn't take.
        (
            r#"{"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"tool_choice":{"type":"function","function":{"name":"f"}},
                "messages":[{"role":"user","content":"1"},{"role":"assistant","tool_calls":[{"id":"f:0","type":"function","function":{"name":"f","arguments":"{}"}}]},
                {"role":"system","content":"S"},{"role":"tool","tool_call_id":"f:0","content":""},
                {"role":"assistant","content":null,"tool_calls":[{"id":"b","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"b","content":"x"}]"#,
            r#""system":[{"type":"text","text":"S"}],"messages":[{"role":"user","content":"1"},{"role":"assistant","content":[{"type":"tool_use","id":"f_3a0","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"f_3a0"}]},{"role":"assistant","content":[{"type":"tool_use","id":"b","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"b","content":"x"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"f"}"#,
            &["messages[1].tool_calls[0].id", "messages[3].tool_call_id", "messages[2]"],
        ),
        // A history of tools without a list of them.
        (
            r#"{"tool_choice":"auto","messages":[{"role":"user","content":"1"},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},
                {"role":"tool","tool_call_id":"a","content":"x"}]"#,
            r#""messages":[{"role":"user","content":"1"},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"x"}]}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"none"}"#,
            &["tools"],
        ),
        // Functions, as tools were called until 2023.
        (
            r#"{"functions":[{"name":"f","parameters":{"type":"object"}}],"function_call":{"name":"f"},"messages":[{"role":"user","content":"1"},
                {"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{\"a\":1}"}},{"role":"function","name":"f","content":"x"}]"#,
            r#""messages":[{"role":"user","content":"1"},{"role":"assistant","content":[{"type":"tool_use","id":"call_1","name":"f","input":{"a":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"x"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"f"}"#,
            &[],
        ),
    ];
    check_requests(CROSSING, "claude-x", "", r#""max_tokens":4096,"#, cases);
}

#[test]
fn parameters_say_the_same() {
    let cases: &[Case] = &[
        (
            r#""temperature":0.70,"top_p":0.95,"stop":"END","user":"u-1""#,
            r#","temperature":0.70,"top_p":0.95,"stop_sequences":["END"],"metadata":{"user_id":"u-1"}"#,
            &[],
        ),
        (
            r#""temperature":1.5,"top_k":5,"stop":["a","\n\nb"],"safety_identifier":"s""#,
            r#","temperature":1,"top_k":5,"stop_sequences":["a","\n\nb"],"metadata":{"user_id":"s"}"#,
            &["temperature"],
        ),
        (r#""stop":[],"stream":false"#, "", &[]),
        (r#""stream":true"#, r#","stream":true"#, &[]),
        (r#""service_tier":"default""#, r#","service_tier":"standard_only""#, &[]),
        (r#""service_tier":"auto""#, r#","service_tier":"auto""#, &[]),
        (r#""service_tier":"flex""#, r#","service_tier":"standard_only""#, &["service_tier"]),
        (r#""service_tier":"priority""#, r#","service_tier":"auto""#, &["service_tier"]),
        // What only steers the vendor, or nudges the model, is left out, and said.
        (
            r#""seed":7,"frequency_penalty":0.5,"presence_penalty":-1,"verbosity":"low","store":true,"metadata":{"a":"b"},"prompt_cache_key":"k","prediction":{"type":"content","content":"x"},"prompt_cache_retention":"24h""#,
            "",
            &[
                "seed",
                "frequency_penalty",
                "presence_penalty",
                "verbosity",
                "store",
                "metadata",
                "prompt_cache_key",
                "prediction",
                "prompt_cache_retention",
            ],
        ),
        (r#""user":"a","safety_identifier":"b""#, r#","metadata":{"user_id":"a"}"#, &["safety_identifier"]),
    ];
    check_requests(CROSSING, "claude-x", HI, HI_TRANSLATED, cases);
    // What the API does anyway may be said.
    let defaults = [
        r#""n":1"#,
        r#""frequency_penalty":0"#,
        r#""presence_penalty":0.0"#,
        r#""logprobs":false"#,
        r#""top_logprobs":0"#,
        r#""logit_bias":{}"#,
        r#""response_format":{"type":"text"}"#,
        r#""modalities":["text"]"#,
        r#""verbosity":"medium""#,
        r#""tools":[]"#,
        r#""functions":[]"#,
        r#""tool_choice":"auto""#,
        r#""tool_choice":"none""#,
        r#""function_call":"none""#,
        r#""parallel_tool_calls":true"#,
        r#""parallel_tool_calls":false"#,
        r#""store":false"#,
        r#""metadata":{}"#,
        r#""reasoning_effort":"none""#,
        r#""stream_options":{"include_obfuscation":false}"#,
        // `null` says what absence says.
        r#""tools":null,"seed":null,"temperature":null,"stop":null,"user":null,"stream_options":null"#,
        r#""reasoning_effort":null,"web_search_options":null,"n":null,"response_format":null"#,
    ];
    for field in defaults {
        let (written, translated) =
            request(CROSSING, &recipient(CROSSING, "claude-x"), &format!("{HI}{field}}}")).expect(field);
        assert_eq!(written, format!(r#"{{"model":"claude-x",{HI_TRANSLATED}}}"#), "{field}");
        assert_eq!(translated, Translated::default(), "{field}");
    }
}

#[test]
fn the_length_of_an_answer_is_the_newer_field_or_the_older_or_the_default() {
    let cases = [
        (r#""max_tokens":5"#, Some(5)),
        (r#""max_completion_tokens":6"#, Some(6)),
        (r#""max_tokens":7,"max_completion_tokens":7"#, Some(7)),
        (r#""max_tokens":null,"max_completion_tokens":8"#, Some(8)),
        (r#""max_tokens":9,"max_completion_tokens":null"#, Some(9)),
        (r#""max_tokens":null"#, Some(MAX_TOKENS_DEFAULT)),
        (r#""max_tokens":18446744073709551615"#, Some(u64::MAX)),
        (r#""max_tokens":7,"max_completion_tokens":8"#, None),
    ];
    for (fields, wanted) in cases {
        match (request(CROSSING, &recipient(CROSSING, "claude-x"), &format!("{HI}{fields}}}")), wanted) {
            (Ok((written, _)), Some(wanted)) => {
                assert!(written.contains(&format!(r#""max_tokens":{wanted},"#)), "{fields}: {written}");
            }
            (Err(fault), None) => {
                assert_eq!(fault.kind, Kind::NotExpressible);
                assert_eq!(fault.detail.as_deref(), Some("max_tokens and max_completion_tokens differ"));
            }
            (other, _) => panic!("{fields}: {other:?}"),
        }
    }
}

#[test]
fn thinking_follows_the_model() {
    // Model, fields, what is written behind the model, and what is approximated.
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "claude-sonnet-4",
            r#""reasoning_effort":"low""#,
            r#""max_tokens":6144,"messages":[{"role":"user","content":"Hi"}],"thinking":{"type":"enabled","budget_tokens":2048}"#,
            &[],
        ),
        (
            "claude-sonnet-4",
            r#""reasoning_effort":"high","max_completion_tokens":4000,"temperature":0.5,"top_p":0.5,"top_k":3"#,
            r#""max_tokens":4000,"messages":[{"role":"user","content":"Hi"}],"thinking":{"type":"enabled","budget_tokens":2000}"#,
            &["reasoning_effort", "temperature", "top_p", "top_k"],
        ),
        // No room to think.
        (
            "claude-sonnet-4",
            r#""reasoning_effort":"low","max_tokens":1000,"temperature":0.5"#,
            r#""max_tokens":1000,"messages":[{"role":"user","content":"Hi"}],"temperature":0.5"#,
            &["reasoning_effort"],
        ),
        (
            "claude-sonnet-4",
            r#""thinking":{"type":"enabled","budget_tokens":5000}"#,
            r#""max_tokens":9096,"messages":[{"role":"user","content":"Hi"}],"thinking":{"type":"enabled","budget_tokens":5000}"#,
            &[],
        ),
        (
            "claude-sonnet-4",
            r#""reasoning":{"max_tokens":2000},"max_tokens":9000"#,
            r#""max_tokens":9000,"messages":[{"role":"user","content":"Hi"}],"thinking":{"type":"enabled","budget_tokens":2000}"#,
            &[],
        ),
        // A model that doesn't think.
        (
            "claude-3-5-haiku-20241022",
            r#""reasoning":{"effort":"high"}"#,
            r#""max_tokens":4096,"messages":[{"role":"user","content":"Hi"}]"#,
            &["reasoning_effort"],
        ),
        // Models that are told an effort.
        (
            "claude-opus-4-6",
            r#""reasoning_effort":"xhigh","max_tokens":9"#,
            r#""max_tokens":9,"messages":[{"role":"user","content":"Hi"}]"#,
            &["reasoning_effort"],
        ),
        (
            "claude-opus-4-6",
            r#""reasoning_effort":"xhigh","max_tokens":9000"#,
            r#""max_tokens":9000,"messages":[{"role":"user","content":"Hi"}],"thinking":{"type":"adaptive"},"output_config":{"effort":"high"}"#,
            &["reasoning_effort"],
        ),
        (
            "claude-opus-5",
            r#""reasoning_effort":"xhigh","max_tokens":9000,"temperature":0.2,"top_p":1"#,
            r#""max_tokens":9000,"messages":[{"role":"user","content":"Hi"}],"thinking":{"type":"adaptive"},"output_config":{"effort":"xhigh"}"#,
            &["temperature"],
        ),
        // Which sampling parameters a model takes.
        (
            "claude-opus-4-1",
            r#""temperature":0.2,"top_p":0.5"#,
            r#""max_tokens":4096,"messages":[{"role":"user","content":"Hi"}],"temperature":0.2"#,
            &["top_p"],
        ),
        (
            "claude-opus-4-7",
            r#""temperature":0.2,"top_p":0.5,"top_k":9"#,
            r#""max_tokens":4096,"messages":[{"role":"user","content":"Hi"}]"#,
            &["temperature", "top_p", "top_k"],
        ),
        // A tool that must be called doesn't go together with thinking.
        (
            "claude-sonnet-4",
            r#""reasoning_effort":"low","tool_choice":"required","tools":[{"type":"function","function":{"name":"f","strict":true}}]"#,
            r#""max_tokens":4096,"messages":[{"role":"user","content":"Hi"}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"any"}"#,
            &["tools[0].function.strict", "reasoning_effort"],
        ),
    ];
    for (model, fields, wanted, approximated) in cases {
        check_requests(CROSSING, model, HI, "", &[(fields, wanted, approximated)]);
    }
}

#[test]
fn thoughts_come_back_in_their_order_or_thinking_goes_off_for_the_turn() {
    let body = |thoughts: &str| {
        format!(
            r#"{{"reasoning_effort":"low","tools":[{{"type":"function","function":{{"name":"f"}}}}],"messages":[{{"role":"user","content":"1"}},
            {{"role":"assistant",{thoughts}"tool_calls":[{{"id":"a","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}},
            {{"role":"tool","tool_call_id":"a","content":"x"}}]}}"#
        )
    };
    let thinking = r#""thinking":{"type":"enabled","budget_tokens":2048}"#;
    let blocks = r#""reasoning_content":"hm, ok","thinking_blocks":[{"index":0,"type":"thinking","thinking":"hm","signature":"c2ln+\/="},{"type":"redacted_thinking","data":"eA=="},{"type":"thinking","thinking":", ok","signature":"s2"}],"#;
    let kept = r#""content":[{"type":"thinking","thinking":"hm","signature":"c2ln+\/="},{"type":"redacted_thinking","data":"eA=="},{"type":"thinking","thinking":", ok","signature":"s2"},{"type":"tool_use""#;
    let (written, translated) = request(CROSSING, &recipient(CROSSING, "claude-sonnet-4"), &body(blocks)).unwrap();
    assert!(written.contains(thinking) && written.contains(kept), "{written}");
    assert!(translated.report.is_empty() && translated.wanted.thinking);

    // Without them, without a signature, and where the model has begun to answer.
    let lost: [(&str, &[&str]); 3] = [
        ("", &["reasoning_effort"]),
        (r#""reasoning_content":"hm","#, &["messages[1].reasoning_content", "reasoning_effort"]),
        (
            r#""thinking_blocks":[{"type":"thinking","thinking":"hm","signature":""}],"#,
            &["messages[1].thinking_blocks[0]", "reasoning_effort"],
        ),
    ];
    for (thoughts, approximated) in lost {
        let (written, translated) =
            request(CROSSING, &recipient(CROSSING, "claude-sonnet-4"), &body(thoughts)).unwrap();
        assert!(!written.contains("thinking"), "{written}");
        assert_eq!(paths(translated.report.approximated()), approximated);
        assert!(!translated.wanted.thinking);
    }
    // The next question thinks again.
    let next = body("").replace(
        r#""content":"x"}]"#,
        r#""content":"x"},{"role":"assistant","content":"y"},{"role":"user","content":"z"}]"#,
    );
    let (written, translated) = request(CROSSING, &recipient(CROSSING, "claude-sonnet-4"), &next).unwrap();
    assert!(written.contains(thinking) && translated.report.is_empty(), "{written}");
}

#[test]
fn structured_output_is_the_vendors_own_or_a_forced_tool() {
    let open = r#"{"type":"object","properties":{"a":{"type":"string"}}}"#;
    let closed = r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#;
    let format = |schema: &str, strict: bool| {
        format!(
            r#"{HI}"response_format":{{"type":"json_schema","json_schema":{{"name":"n","strict":{strict},"schema":{schema}}}}}"#
        )
    };
    let native = |schema: &str| format!(r#""output_config":{{"format":{{"type":"json_schema","schema":{schema}}}}}"#);
    let forced = |schema: &str| {
        format!(
            r#""tools":[{{"name":"json_answer","description":"Call this with the answer, which has to be JSON.","input_schema":{schema}}}],"tool_choice":{{"type":"tool","name":"json_answer","disable_parallel_tool_use":true}}"#
        )
    };
    let json = format!(r#"{HI}"response_format":{{"type":"json_object"}}"#);
    let tool = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
    let effort = r#","reasoning_effort":"high""#;
    // Model, request, and what is written, or nothing where it is refused.
    let cases = [
        ("claude-sonnet-4-5", format(closed, false), Some(native(closed))),
        ("claude-sonnet-4-5", format(open, true), Some(native(open))),
        ("claude-sonnet-4-5", format(open, false), Some(forced(open))),
        ("claude-sonnet-4-5", format(open, false) + tool, Some(native(open))),
        ("claude-sonnet-4-5", format(open, false) + effort, Some(native(open))),
        ("claude-sonnet-4", format(closed, true), Some(forced(closed))),
        ("claude-sonnet-4", format(closed, true) + tool, None),
        ("claude-sonnet-4", format(closed, true) + effort, None),
        ("claude-sonnet-4-5", json.clone(), Some(forced(r#"{"type":"object","properties":{}}"#))),
        ("claude-sonnet-4-5", json + tool, None),
    ];
    for (model, body, wanted) in cases {
        match (request(CROSSING, &recipient(CROSSING, model), &(body.clone() + "}")), wanted) {
            (Ok((written, translated)), Some(wanted)) => {
                assert!(written.contains(&wanted), "{body}: {written}");
                let is_forced = wanted.contains("json_answer");
                assert_eq!(translated.wanted.json_tool, is_forced);
                assert_eq!(!translated.report.is_empty(), is_forced, "{:?}", translated.report);
            }
            (Err(fault), None) => {
                assert_eq!(fault.kind, Kind::NotExpressible);
                assert!(fault.detail.is_some_and(|detail| detail.starts_with("response_format ")));
            }
            (other, _) => panic!("{model} {body}: {other:?}"),
        }
    }
}

/// A field beside good messages, and what is said of it.
const REFUSED_FIELDS: &[(&str, &str)] = &[
    (r#""n":2"#, "n can't be said to this vendor"),
    (r#""logprobs":true"#, "logprobs can't be said to this vendor"),
    (r#""top_logprobs":3"#, "top_logprobs can't be said to this vendor"),
    (r#""logit_bias":{"5":1}"#, "logit_bias can't be said to this vendor"),
    (r#""modalities":["text","audio"]"#, "modalities can't be said to this vendor"),
    (r#""audio":{"voice":"ash"}"#, "audio can't be said to this vendor"),
    (r#""web_search_options":{}"#, "web_search_options can't be said to this vendor"),
    (r#""moderation":{"model":"m"}"#, "moderation can't be said to this vendor"),
    (r#""tools":[{"type":"custom","custom":{"name":"c"}}]"#, r#"tools[0].type "custom" can't be carried"#),
    (r#""tool_choice":"required""#, "tool_choice wants a tool, and there are none"),
    (
        r#""tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}"#,
        r#"tool_choice.type "allowed_tools" can't be carried"#,
    ),
    (r#""response_format":{"type":"grammar"}"#, r#"response_format.type "grammar" can't be carried"#),
    (r#""service_tier":"batch""#, "service_tier is a tier that the vendor doesn't have"),
    (r#""stop":" \n""#, "stop is white space only, which the vendor doesn't take"),
    (r#""stop":["a",""]"#, "stop[1] is white space only, which the vendor doesn't take"),
];

/// `messages`, and what is said of them.
const REFUSED_MESSAGES: &[(&str, &str)] = &[
    (
        r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]"#,
        "messages[0].content[0].image_url.url is neither on the web nor data in base 64",
    ),
    (
        r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/tiff;base64,QQ=="}}]}]"#,
        "messages[0].content[0].image_url.url is a kind of picture that the vendor doesn't take",
    ),
    (
        r#"[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]"#,
        "messages[0].content[0].file.file_id names a file that only OpenAI has",
    ),
    (
        r#"[{"role":"user","content":[{"type":"text","text":"a"},{"input_audio":{},"type":"input_audio"}]}]"#,
        r#"messages[0].content[1].type "input_audio" can't be carried"#,
    ),
    (r#"[{"role":"user","content":[{"type":"a b","x":1}]}]"#, r#"messages[0].content[0].type "…" can't be carried"#),
    (
        r#"[{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://a"}}]}]"#,
        r#"messages[0].content[0].type "image_url" can't be carried"#,
    ),
    (
        r#"[{"role":"user","content":"a"},{"role":"tool","tool_call_id":"x","content":"b"}]"#,
        "messages[1].tool_call_id answers no call of the message before",
    ),
    (
        r#"[{"role":"function","name":"f","content":"b"}]"#,
        "messages[0].tool_call_id answers no call of the message before",
    ),
    (
        r#"[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]}]"#,
        "messages[1].tool_calls are not all answered by the messages that follow",
    ),
    (
        r#"[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{"}}]}]"#,
        "messages[1].tool_calls[0].function.arguments is no JSON object, and the vendor takes nothing else",
    ),
    (r#"[{"role":"assistant","audio":{"id":"a"},"content":"a"}]"#, "messages[0].audio can't be carried"),
    (r#"[{"role":"user","content":""}]"#, "messages says nothing"),
];

#[test]
fn what_cannot_be_said_is_refused_by_its_path() {
    let fields = REFUSED_FIELDS.iter().map(|(field, detail)| (format!("{HI}{field}}}"), detail));
    let messages = REFUSED_MESSAGES.iter().map(|(list, detail)| (format!(r#"{{"messages":{list}}}"#), detail));
    for (body, detail) in fields.chain(messages) {
        let fault = request(CROSSING, &recipient(CROSSING, "claude-x"), &body).expect_err(&body);
        assert_eq!((fault.kind, fault.phase), (Kind::NotExpressible, Phase::Body), "{body}");
        assert_eq!(fault.detail.as_deref(), Some(*detail), "{body}");
    }
}

#[test]
fn what_openai_would_not_take_either_is_invalid() {
    let with = |field: &str| format!("{HI}{field}}}");
    let messages = |list: &str| format!(r#"{{"messages":{list}}}"#);
    let efforts = r#"reasoning_effort must be "none", "minimal", "low", "medium", "high", "xhigh" or "max""#;
    let cases = [
        ("{}".to_owned(), "messages must be a list of messages"),
        (messages("null"), "messages must be a list of messages"),
        (messages("\"Hi\""), "messages must be a list"),
        (messages("[]"), "messages must be a list of at least one message"),
        (messages(r#"["Hi"]"#), "messages[0] must be an object"),
        (
            messages(r#"[{"content":"Hi"}]"#),
            r#"messages[0].role must be "system", "developer", "user", "assistant" or "tool""#,
        ),
        (messages(r#"[{"role":"user"}]"#), "messages[0].content must be text or a list of parts"),
        (messages(r#"[{"role":"user","content":7}]"#), "messages[0].content must be text or a list of parts"),
        (messages(r#"[{"role":"user","content":["a"]}]"#), "messages[0].content[0] must be an object"),
        (
            messages(r#"[{"role":"user","content":[{"text":"a"}]}]"#),
            "messages[0].content[0].type must be the part's type",
        ),
        (messages(r#"[{"role":"user","content":[{"type":"text"}]}]"#), "messages[0].content[0].text must be text"),
        (
            messages(r#"[{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f"}}]}]"#),
            "messages[0].tool_calls[0].id must be text",
        ),
        (with(r#""temperature":"hot""#), "temperature must be a number from 0 to 2"),
        (with(r#""temperature":-0.1"#), "temperature must be a number from 0 to 2"),
        (with(r#""temperature":2.1"#), "temperature must be a number from 0 to 2"),
        (with(r#""top_p":1.1"#), "top_p must be a number from 0 to 1"),
        (with(r#""frequency_penalty":3"#), "frequency_penalty must be a number from -2 to 2"),
        (with(r#""max_tokens":0"#), "max_tokens must be a whole number above 0"),
        (with(r#""max_tokens":1.5"#), "max_tokens must be a whole number above 0"),
        (with(r#""max_completion_tokens":"5""#), "max_completion_tokens must be a whole number above 0"),
        (with(r#""stream":"yes""#), "stream must be true or false"),
        (with(r#""stream_options":true"#), "stream_options must be an object"),
        (with(r#""stream_options":{"include_usage":1}"#), "stream_options.include_usage must be true or false"),
        (with(r#""stop":7"#), "stop must be text or a list of texts"),
        (with(r#""stop":["a",7]"#), "stop[1] must be text"),
        (with(r#""user":7"#), "user must be text"),
        (with(r#""tools":[{"type":"function"}]"#), "tools[0].function must be a function"),
        (with(r#""tools":[{"type":"function","function":{}}]"#), "tools[0].function.name must be text"),
        (with(r#""tool_choice":"maybe""#), r#"tool_choice must be "none", "auto", "required" or an object"#),
        (with(r#""reasoning_effort":"much""#), efforts),
        (with(r#""response_format":{}"#), "response_format.type must be the format's type"),
    ];
    for (body, detail) in cases {
        let fault = request(CROSSING, &recipient(CROSSING, "claude-x"), &body).expect_err(&body);
        assert_eq!((fault.kind, fault.phase), (Kind::InvalidField, Phase::Body), "{body}");
        assert_eq!(fault.detail.as_deref(), Some(detail), "{body}");
    }
}
