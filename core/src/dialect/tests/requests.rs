//! What holds for requests of either language.

use super::*;

const GOOD: &str = r#""max_tokens":9,"messages":[{"role":"user","content":"Hi"}]"#;

#[test]
fn a_field_that_nobody_knows_is_dropped_and_said() {
    for crossing in CROSSINGS {
        let body = r#"{"zeta":5,"max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"a","extra":1}],"more":2}],"my secret":null,
            "tools":[{"what":1,"NAMED"}]}"#;
        let named = match crossing {
            Crossing::OpenAiToAnthropic => r#"type":"function","function":{"name":"f","new":true}"#,
            Crossing::AnthropicToOpenAi => r#"name":"f","input_schema":{"type":"object"},"new":true"#,
        };
        let (_, translated) = request(crossing, &recipient(crossing, "m"), &body.replace("NAMED\"", named)).unwrap();
        let new = match crossing {
            Crossing::OpenAiToAnthropic => "tools[0].function.new",
            Crossing::AnthropicToOpenAi => "tools[0].new",
        };
        let mut dropped = paths(translated.report.dropped());
        dropped.sort_unstable();
        let mut wanted = ["zeta", "messages[0].content[0].extra", "messages[0].more", "…", "tools[0].what", new];
        wanted.sort_unstable();
        assert_eq!(dropped, wanted);
        assert_eq!(paths(translated.report.approximated()), [""; 0]);
    }
}

#[test]
fn a_body_that_is_not_json_or_says_things_twice_is_malformed() {
    let bodies: [(&[u8], Kind); 8] = [
        (b"", Kind::MalformedJson),
        (b"{", Kind::MalformedJson),
        (b"nonsense", Kind::MalformedJson),
        (b"[]", Kind::MalformedJson),
        (br#"{"messages":[}"#, Kind::MalformedJson),
        (br#"{"messages":"\ud800"}"#, Kind::MalformedJson),
        (b"{\"user\":\"\xff\"}", Kind::MalformedJson),
        (br#"{"messages":[{"role":"user","role":"system"}]}"#, Kind::DuplicateKey),
    ];
    for crossing in CROSSINGS {
        for (body, kind) in bodies {
            let mut out = Vec::new();
            let fault = translate_request(crossing, &recipient(crossing, "m"), body, &mut out).expect_err("no JSON");
            assert_eq!(fault.kind, kind, "{}", String::from_utf8_lossy(body));
            assert!(out.is_empty());
        }
    }
}

#[test]
fn what_the_client_wants_is_told() {
    let openai = [
        ("", Wanted::WHOLE),
        (r#","stream":true"#, Wanted { stream: true, ..Wanted::WHOLE }),
        (
            r#","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}"#,
            Wanted { stream: true, stream_usage: true, ..Wanted::WHOLE },
        ),
        (r#","stream":null,"stream_options":{"include_usage":null}"#, Wanted::WHOLE),
        (r#","functions":[{"name":"f"}]"#, Wanted { functions: true, ..Wanted::WHOLE }),
        (r#","reasoning_effort":"low","max_tokens":null"#, Wanted { thinking: true, ..Wanted::WHOLE }),
    ];
    let anthropic = [
        ("", Wanted::WHOLE),
        (r#","stream":true"#, Wanted { stream: true, stream_usage: true, ..Wanted::WHOLE }),
        (r#","thinking":{"type":"enabled","budget_tokens":2048}"#, Wanted { thinking: true, ..Wanted::WHOLE }),
    ];
    for (crossing, cases) in [(CROSSINGS[0], &openai[..]), (CROSSINGS[1], &anthropic[..])] {
        for (fields, wanted) in cases {
            let length = if fields.contains("max_tokens") { "" } else { "\"max_tokens\":9," };
            let body = format!(r#"{{{length}"messages":[{{"role":"user","content":"Hi"}}]{fields}}}"#);
            let model = if crossing == CROSSINGS[0] { "claude-sonnet-4" } else { "o3" };
            let (_, translated) = request(crossing, &recipient(crossing, model), &body).expect(fields);
            assert_eq!(translated.wanted, *wanted, "{fields}");
        }
    }
}

#[test]
fn the_words_of_a_request_are_counted_where_the_vendor_is_not_asked_for_its_usage() {
    let body = |stream: bool| {
        format!(
            r#"{{"max_tokens":9,"stream":{stream},"system":"Be brief.","messages":[{{"role":"user","content":"Hi there"}}]}}"#
        )
    };
    let leaving = Recipient { stream_usage: StreamUsage::Leave, ..recipient(CROSSINGS[1], "m") };
    // The roles are words, too: a vendor's template says them.
    for (recipient, stream, words) in [(leaving, true, 5), (leaving, false, 0), (recipient(CROSSINGS[1], "m"), true, 0)]
    {
        let (_, translated) = request(CROSSINGS[1], &recipient, &body(stream)).expect("a request");
        assert_eq!(translated.wanted.prompt_words, words);
    }
}

#[test]
fn a_translation_is_the_same_every_time() {
    // What a vendor caches is found again only if every byte is the same.
    for crossing in CROSSINGS {
        let body = format!("{{{GOOD}}}");
        let written = request(crossing, &recipient(crossing, "m"), &body).unwrap().0;
        assert_eq!(request(crossing, &recipient(crossing, "m"), &body).unwrap().0, written);
    }
}

#[test]
fn the_models_are_listed_as_each_client_knows_them() {
    let listed = |client, names: &[&str]| {
        let mut out = Vec::new();
        models_body(client, names.iter().copied(), &mut out);
        checked(&out)
    };
    assert_eq!(
        listed(Dialect::OpenAi, &["quality-ab-test", "a \"b\""]),
        r#"{"object":"list","data":[{"id":"quality-ab-test","object":"model","created":0,"owned_by":"kt"},{"id":"a \"b\"","object":"model","created":0,"owned_by":"kt"}]}"#
    );
    assert_eq!(listed(Dialect::OpenAi, &[]), r#"{"object":"list","data":[]}"#);
    assert_eq!(
        listed(Dialect::Anthropic, &["a", "b"]),
        r#"{"data":[{"type":"model","id":"a","display_name":"a","created_at":"1970-01-01T00:00:00Z"},{"type":"model","id":"b","display_name":"b","created_at":"1970-01-01T00:00:00Z"}],"has_more":false,"first_id":"a","last_id":"b"}"#
    );
    assert_eq!(listed(Dialect::Anthropic, &[]), r#"{"data":[],"has_more":false,"first_id":null,"last_id":null}"#);
}
