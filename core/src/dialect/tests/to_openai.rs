//! Requests of Anthropic's clients, as OpenAI and vendors of its language get them.

use super::*;

const CROSSING: Crossing = Crossing::AnthropicToOpenAi;
const HI: &str = r#"{"model":"group","max_tokens":9,"messages":[{"role":"user","content":"Hi"}],"#;

/// Checks fields beside good messages: what is written between them and the length of the answer, and behind it.
fn check_fields(model: &str, cases: &[(&str, &str, &str, &[&str])]) {
    for (fields, before, after, approximated) in cases {
        let body = format!("{HI}{fields}}}");
        let (written, translated) = request(CROSSING, &recipient(CROSSING, model), &body).expect(fields);
        let wanted = format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi"}}]{before},"max_completion_tokens":9{after}}}"#
        );
        assert_eq!(written, wanted, "{fields}");
        assert_eq!(paths(translated.report.approximated()), *approximated, "{fields}");
    }
}

#[test]
fn messages_say_the_same() {
    let cases: &[Case] = &[
        (r#"[{"role":"user","content":"Hi"}]"#, r#""messages":[{"role":"user","content":"Hi"}],"#, &[]),
        (
            r#"[{"role":"user","content":[{"type":"text","text":"\u00e9"},{"type":"text","text":"b"}]},{"role":"assistant","content":[{"type":"text","text":"c"}]},{"role":"user","content":[{"type":"text","text":"d"}]}],"system":"S""#,
            r#""messages":[{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"\u00e9"},{"type":"text","text":"b"}]},{"role":"assistant","content":"c"},{"role":"user","content":"d"}],"#,
            &[],
        ),
        // System messages in the middle stay there.
        (
            r#"[{"role":"user","content":"a"},{"role":"system","content":"S"},{"role":"user","content":"b"}],"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}},{"type":"text","text":"y"}]"#,
            r#""messages":[{"role":"system","content":[{"type":"text","text":"x"},{"type":"text","text":"y"}]},{"role":"user","content":"a"},{"role":"system","content":"S"},{"role":"user","content":"b"}],"#,
            &["system[0].cache_control"],
        ),
        // A beginning of the answer.
        (
            r#"[{"role":"user","content":"a"},{"role":"assistant","content":"The"}]"#,
            r#""messages":[{"role":"user","content":"a"},{"role":"assistant","content":"The"}],"#,
            &["messages[1]"],
        ),
        // Pictures and files.
        (
            r#"[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image\/png","data":"QUI\/"}},{"type":"image","source":{"type":"url","url":"https://a/b.png"}},
               {"type":"document","title":"t","source":{"type":"base64","media_type":"application/pdf","data":"QQ=="}},{"type":"document","source":{"type":"text","media_type":"text/plain","data":"plain"},"citations":{"enabled":true}},
               {"type":"document","source":{"type":"content","content":[{"type":"text","text":"in pieces"}]}}]}]"#,
            r#""messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,QUI\/"}},{"type":"image_url","image_url":{"url":"https://a/b.png"}},{"type":"file","file":{"filename":"t","file_data":"data:application/pdf;base64,QQ=="}},{"type":"text","text":"plain"},{"type":"text","text":"in pieces"}]}],"#,
            &["messages[0].content[3].citations", "messages[0].content[3].source", "messages[0].content[4].source"],
        ),
        // Parallel calls and their answers, one of them with a picture, and what the user says.
        (
            r#"[{"role":"user","content":"1"},{"role":"assistant","content":[{"type":"text","text":"so"},{"type":"tool_use","id":"a","name":"f","input":{"x": 1.50}},{"type":"tool_use","id":"b","name":"g","input":{},"caller":{"type":"direct"}}]},
               {"role":"user","content":[{"type":"tool_result","tool_use_id":"b","content":[{"type":"text","text":"two"},{"type":"image","source":{"type":"url","url":"https://i"}}],"is_error":true},{"type":"tool_result","tool_use_id":"a","is_error":false},{"type":"text","text":"go"}]}]"#,
            r#""messages":[{"role":"user","content":"1"},{"role":"assistant","content":"so","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\": 1.50}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]},{"role":"tool","tool_call_id":"b","content":"two"},{"role":"tool","tool_call_id":"a","content":""},{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://i"}},{"type":"text","text":"go"}]}],"#,
            &["messages[2].content[0].is_error", "messages[2].content[0].content"],
        ),
        // What the model thought is not taken back.
        (
            r#"[{"role":"user","content":"1"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"d"},{"type":"tool_use","id":"a","name":"f","input":{}}]},
               {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"x"}]}]"#,
            r#""messages":[{"role":"user","content":"1"},{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"x"}],"#,
            &["messages[1].content[1]", "messages[1].content"],
        ),
    ];
    for (fields, wanted, approximated) in cases {
        let case: Case = (fields, "", approximated);
        let body = format!(r#"{{"max_tokens":9,"messages":{}}}"#, case.0);
        let (written, translated) = request(CROSSING, &recipient(CROSSING, "gpt-4o"), &body).expect(fields);
        assert_eq!(written, format!(r#"{{"model":"gpt-4o",{wanted}"max_completion_tokens":9}}"#), "{fields}");
        assert_eq!(paths(translated.report.approximated()), *approximated, "{fields}");
    }
}

#[test]
fn parameters_and_tools_say_the_same() {
    let strict =
        r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#;
    let strict_tool = format!(r#""tools":[{{"name":"f","input_schema":{strict},"strict":true}}]"#);
    let strict_tool_written =
        format!(r#","tools":[{{"type":"function","function":{{"name":"f","parameters":{strict},"strict":true}}}}]"#);
    check_fields("gpt-4o", &[(&strict_tool, &strict_tool_written, "", &[])]);
    let tool =
        r#","tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}]"#;
    let named =
        format!(r#"{tool},"tool_choice":{{"type":"function","function":{{"name":"f"}}}},"parallel_tool_calls":false"#);
    let any = format!(r#"{tool},"tool_choice":"required""#);
    check_fields(
        "gpt-4o",
        &[
            (
                r#""temperature":0.70,"top_p":0.9,"top_k":5,"stop_sequences":["a","b"],"metadata":{"user_id":"u"},"service_tier":"standard_only""#,
                "",
                r#","temperature":0.70,"top_p":0.9,"stop":["a","b"],"user":"u","service_tier":"default""#,
                &["top_k"],
            ),
            (r#""stream":true"#, "", r#","stream":true,"stream_options":{"include_usage":true}"#, &[]),
            (
                r#""stream":false,"service_tier":"auto","metadata":null,"thinking":{"type":"disabled"}"#,
                "",
                r#","service_tier":"auto""#,
                &[],
            ),
            (
                r#""tools":[{"name":"f","description":"d","input_schema":{"type":"object"},"strict":true,"cache_control":{"type":"ephemeral"},"defer_loading":false}],"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true}"#,
                &named,
                "",
                &["tools[0].cache_control", "tools[0].strict"],
            ),
            (
                r#""tools":[{"type":"custom","name":"f","description":"d","input_schema":{"type":"object"}}],"tool_choice":{"type":"any","disable_parallel_tool_use":false}"#,
                &any,
                "",
                &[],
            ),
            (r#""tool_choice":{"type":"auto"}"#, "", "", &[]),
            (
                r#""cache_control":{"type":"ephemeral"},"speed":"fast","output_config":{"effort":"low"}"#,
                "",
                "",
                &["cache_control", "speed", "output_config.effort"],
            ),
        ],
    );
    // To a vendor that speaks the language, in the names that it knows.
    let other = Recipient { provider: Provider::OpenAiCompatible, model: "m", stream_usage: StreamUsage::Leave };
    let body = r#"{"max_tokens":9,"stream":true,"temperature":0.5,"thinking":{"type":"enabled","budget_tokens":8192},"messages":[{"role":"user","content":"1"},
        {"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":""},{"type":"thinking","thinking":"m","signature":""},{"type":"text","text":"2"}]},{"role":"user","content":"3"}]}"#;
    let (written, translated) = request(CROSSING, &other, body).unwrap();
    assert_eq!(
        written,
        r#"{"model":"m","messages":[{"role":"user","content":"1"},{"role":"assistant","content":"2","reasoning_content":"hm"},{"role":"user","content":"3"}],"max_tokens":9,"temperature":0.5,"reasoning_effort":"medium","stream":true}"#
    );
    assert!(translated.report.is_empty() && translated.wanted.thinking);
}

#[test]
fn thinking_follows_the_model() {
    let budget = r#""thinking":{"type":"enabled","budget_tokens":16384},"temperature":1"#;
    let odd = r#""thinking":{"type":"enabled","budget_tokens":5000},"temperature":0.5"#;
    check_fields(
        "gpt-5.1",
        &[
            (budget, "", r#","reasoning_effort":"high""#, &[]),
            (odd, "", r#","reasoning_effort":"low""#, &["thinking", "temperature"]),
            (
                r#""thinking":{"type":"adaptive"},"output_config":{"effort":"xhigh"}"#,
                "",
                r#","reasoning_effort":"xhigh""#,
                &[],
            ),
            (r#""thinking":{"type":"adaptive","display":"omitted"}"#, "", "", &["thinking.display"]),
        ],
    );
    check_fields("gpt-4o", &[(budget, "", r#","temperature":1"#, &["thinking"])]);
}

#[test]
fn structured_output_is_the_vendors_own_or_a_forced_tool() {
    let exact =
        r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#;
    let loose = r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#;
    let body = |schema: &str, more: &str| {
        format!(r#"{HI}"output_config":{{"format":{{"type":"json_schema","schema":{schema}}}}}{more}}}"#)
    };
    let native = |schema: &str, strict: bool| {
        format!(
            r#""response_format":{{"type":"json_schema","json_schema":{{"name":"answer","schema":{schema},"strict":{strict}}}}}"#
        )
    };
    let tool = r#","tools":[{"name":"f","input_schema":{"type":"object"}}]"#;
    let forced = r#""tool_choice":{"type":"function","function":{"name":"json_answer"}},"parallel_tool_calls":false"#;
    let cases = [
        ("gpt-4o", body(exact, ""), Some((native(exact, true), false))),
        ("gpt-4o", body(exact, tool), Some((native(exact, true), false))),
        ("gpt-4o", body(loose, ""), Some((native(loose, false), true))),
        ("gpt-4-turbo", body(exact, ""), Some((forced.to_owned(), true))),
        ("gpt-4-turbo", body(exact, tool), None),
    ];
    for (model, body, wanted) in cases {
        match (request(CROSSING, &recipient(CROSSING, model), &body), wanted) {
            (Ok((written, translated)), Some((wanted, approximated))) => {
                assert!(written.contains(&wanted), "{body}: {written}");
                assert_eq!(paths(translated.report.approximated()).contains(&"output_config.format"), approximated);
                assert_eq!(translated.wanted.json_tool, wanted == forced);
            }
            (Err(fault), None) => {
                assert!(fault.detail.is_some_and(|detail| detail.starts_with("output_config.format ")));
            }
            (other, _) => panic!("{model} {body}: {other:?}"),
        }
    }
}

/// Fields beside good messages, or messages, and what is said of them.
const REFUSED: &[(&str, &str)] = &[
    (r#""container":"c""#, "container can't be said to this vendor"),
    (r#""mcp_servers":[{}]"#, "mcp_servers can't be said to this vendor"),
    (r#""inference_geo":"us""#, "inference_geo can't be said to this vendor"),
    (r#""stop_sequences":["1","2","3","4","5"]"#, "stop_sequences has more than the 4 that the vendor takes"),
    (
        r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#,
        r#"tools[0].type "web_search_20250305" is a tool of Anthropic's own"#,
    ),
    (r#""tool_choice":{"type":"any"}"#, "tool_choice wants a tool, and there are none"),
    (
        r#""messages":[{"role":"user","content":[{"type":"container_upload","file_id":"f"}]}]"#,
        r#"messages[0].content[0].type "container_upload" can't be carried"#,
    ),
    (
        r#""messages":[{"role":"user","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}]"#,
        "messages[0].content[0].source.file_id names a file that only Anthropic has",
    ),
    (
        r#""messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://a"}}]}]"#,
        "messages[0].content[0].source is on the web, where this vendor doesn't fetch files",
    ),
    (
        r#""messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"x"}]}]"#,
        "messages[0].content has a tool_result that answers no tool_use of the message before",
    ),
    (
        r#""messages":[{"role":"assistant","content":[{"type":"tool_use","id":"x","name":"f","input":{}}]},{"role":"user","content":"a"}]"#,
        "messages[1].content doesn't answer every tool_use of the message before",
    ),
    (
        r#""messages":[{"role":"assistant","content":[{"type":"tool_use","id":"x","name":"f","input":{}}]}]"#,
        "messages ends with calls of tools that nothing answers",
    ),
];

/// The same of what Anthropic would not take either.
const INVALID: &[(&str, &str)] = &[
    (r#""messages":null"#, "messages must be a list of messages"),
    (r#""messages":[]"#, "messages must be a list of at least one message"),
    (r#""messages":[{"role":"tool","content":""}]"#, r#"messages[0].role must be "user" or "assistant""#),
    (r#""messages":[{"role":"user"}]"#, "messages[0].content must be text or a list of blocks"),
    (
        r#""messages":[{"role":"user","content":[{"text":"a"}]}]"#,
        "messages[0].content[0].type must be the block's type",
    ),
    (r#""messages":[{"role":"user","content":[{"type":"text"}]}]"#, "messages[0].content[0].text must be there"),
    (r#""temperature":1.5"#, "temperature must be a number from 0 to 1"),
    (r#""thinking":{"type":"enabled"}"#, "thinking.budget_tokens must be a whole number above 0"),
    (r#""tools":[{"name":"f"}]"#, "tools[0].input_schema must be an object"),
    (r#""tool_choice":{"type":"x"}"#, r#"tool_choice.type must be "auto", "any", "tool" or "none""#),
    (r#""service_tier":"flex""#, r#"service_tier must be "auto" or "standard_only""#),
];

#[test]
fn what_cannot_be_said_is_refused_by_its_path() {
    for (cases, kind) in [(REFUSED, Kind::NotExpressible), (INVALID, Kind::InvalidField)] {
        for (field, detail) in cases {
            let messages =
                if field.starts_with("\"messages\"") { "" } else { r#","messages":[{"role":"user","content":"Hi"}]"# };
            let body = format!(r#"{{"max_tokens":9{messages},{field}}}"#);
            let fault = request(CROSSING, &recipient(CROSSING, "gpt-4o"), &body).expect_err(&body);
            assert_eq!((fault.kind, fault.phase), (kind, Phase::Body), "{body}");
            assert_eq!(fault.detail.as_deref(), Some(*detail), "{body}");
        }
    }
    let without = r#"{"messages":[{"role":"user","content":"Hi"}]}"#;
    let fault = request(CROSSING, &recipient(CROSSING, "gpt-4o"), without).expect_err("max_tokens is required");
    assert_eq!(fault.detail.as_deref(), Some("max_tokens must be a whole number above 0"));
}
