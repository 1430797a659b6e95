//! Personal data in streamed answers: what is taken out must not depend on how the answer is cut into events, and nothing
//! else may change.

use kt_core::event::{PolicyOutcome, Verdict};
use kt_core::fault::Kind;
use kt_core::json::{Scratch, Span, Value, escape_into, scan};
use kt_core::policy::{Action, FailMode, Hearing, Judgement, Mode, On, Policy, Rule, pii};
use kt_core::sse;

fn policies(action: Action) -> [Policy; 1] {
    [Policy {
        name: "p".into(),
        action,
        on: On::Response,
        applies_to: Box::default(),
        mode: Mode::Realtime,
        rule: Rule::Pii { kinds: pii::Kind::ALL.into() },
    }]
}

/// An event of a choice that says `text`, with things around it that have to stay.
fn event(choice: usize, text: &str) -> Vec<u8> {
    let mut event =
        format!("event: x\nid: 7\ndata: {{ \"choices\":[{{\"index\":{choice},\"delta\":{{\"content\":").into_bytes();
    escape_into(&mut event, text);
    event.extend_from_slice(b"},\"n\": 1e0}], \"unknown\":\"a@b.io\"}\n\n");
    event
}

/// What the client gets of these events, each of which is a read of its own, and what is said of it.
fn heard(policies: &[Policy], events: &[Vec<u8>]) -> (Vec<u8>, Judgement) {
    let mut hearing = Hearing::begin(policies, None, "g").expect("a policy for answers");
    let mut body = Vec::new();
    for event in events {
        let written = body.len();
        body.extend_from_slice(event);
        if hearing.pass(&mut body, written).is_err() {
            return (body, hearing.conclude());
        }
    }
    // What it says in the end is in the judgement.
    let _ = hearing.end(&mut body);
    (body, hearing.conclude())
}

/// The texts of a stream, by choice; every event of it is whole and of JSON.
fn texts(stream: &[u8]) -> [String; 2] {
    let mut texts = [String::new(), String::new()];
    let mut length = 0;
    for event in sse::events(stream) {
        length += event.raw.len();
        let data = event.data.expect("data");
        scan(&data, &mut Scratch::default()).expect("JSON");
        let value = Value::at(&data, Span { start: 0, end: u32::try_from(data.len()).expect("it is short") });
        let index = value.path(&["choices", "0", "index"]).and_then(Value::to_u64).expect("an index");
        let text = value.path(&["choices", "0", "delta", "content"]).and_then(Value::to_str).expect("a text");
        texts[usize::from(index == 1)].push_str(&text);
    }
    assert_eq!(length, stream.len());
    texts
}

const SAID: &str = "Write to jane.doe@example.co.uk or call +49 30 1234567 now.\nPay DE89 3704 0044 0532 0130 00 TODAY, or \
    by card \"4111 1111 1111 1111\" (not 4111 1111 1111 1111 2). Émile's key: AKIAIOSFODNN7EXAMPLE 😀 x@y.org";
const CLEAN: &str = "Write to [REDACTED:email] or call [REDACTED:phone] now.\nPay [REDACTED:iban] TODAY, or \
    by card \"[REDACTED:card]\" (not 4111 1111 1111 1111 2). Émile's key: [REDACTED:api_key] 😀 [REDACTED:email]";

#[test]
fn what_is_taken_out_of_a_stream_does_not_depend_on_its_events() {
    let policies = policies(Action::Redact);
    let places: Vec<usize> = (1..SAID.len()).filter(|at| SAID.is_char_boundary(*at)).collect();
    let mut cuts: Vec<Vec<usize>> = places.iter().map(|&at| vec![at]).collect();
    cuts.extend([vec![], places.clone()]);
    cuts.extend((2..9).map(|step| places.iter().copied().step_by(step).collect()));
    for cuts in cuts {
        let mut before = 0;
        let mut events = Vec::new();
        for &cut in cuts.iter().chain([&SAID.len()]) {
            events.push(event(0, &SAID[before..cut]));
            // Another choice speaks in between, and nothing of it is of the first one's text.
            events.push(event(1, if before == 0 { "1" } else { " 2" }));
            before = cut;
        }
        let (stream, judgement) = heard(&policies, &events);
        let [first, second] = texts(&stream);
        assert_eq!(first, CLEAN, "{cuts:?}");
        assert_eq!(second.replace(' ', "").len(), cuts.len() + 1);
        assert_eq!((judgement.verdict, judgement.results[0].result), (Verdict::Redact, PolicyOutcome::Modified));
        // Around what was taken out, every byte is as it was.
        let around = |stream: &[u8]| {
            let stream = String::from_utf8(stream.to_vec()).expect("UTF-8");
            (
                stream.matches("event: x\nid: 7\ndata: { \"choices\":[{\"index\":").count(),
                stream.matches("},\"n\": 1e0}], \"unknown\":\"a@b.io\"}\n\n").count(),
            )
        };
        assert_eq!(around(&stream), (events.len(), events.len()));
    }
}

#[test]
fn a_verdict_does_not_depend_on_the_events_either() {
    for action in [Action::Flag, Action::Block] {
        let policies = policies(action);
        for (text, is_found) in
            [("pay 4111 1111 1111 1111", true), ("4111 1111 1111 1111 2, or 41111111111111112", false)]
        {
            for at in 0..=text.len() {
                let (stream, judgement) = heard(&policies, &[event(0, &text[..at]), event(0, &text[at..])]);
                assert_eq!(judgement.results[0].flagged, is_found, "{text} at {at}");
                assert_eq!(judgement.blocked.is_some(), is_found && action == Action::Block, "{text} at {at}");
                if action == Action::Flag {
                    assert_eq!(stream, [event(0, &text[..at]), event(0, &text[at..])].concat());
                }
            }
        }
    }
}

#[test]
fn what_cannot_become_anything_waits_for_nothing() {
    let policies = policies(Action::Redact);
    let mut hearing = Hearing::begin(&policies, None, "g").expect("a policy for answers");
    let mut pass = |events: &[u8]| {
        let mut body = events.to_vec();
        hearing.pass(&mut body, 0).expect("nothing is blocked");
        body
    };
    assert_eq!(pass(&event(0, "Hello,")), event(0, "Hello,"));
    // A word may become an address until it ends.
    assert_eq!(pass(&event(0, " jane")), b"");
    assert_eq!(pass(&event(0, " sai")), event(0, " jane"));
    assert_eq!(pass(&event(0, "d ")), [event(0, " sai"), event(0, "d ")].concat());
    assert_eq!(pass(b": a comment\n\n"), b": a comment\n\n");
    // The end of a choice ends its words.
    assert_eq!(pass(&event(0, "bye")), b"");
    let end = b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    assert_eq!(pass(end), [&*event(0, "bye"), end].concat());
}

#[test]
fn a_private_key_in_a_stream_is_refused_before_any_of_it_passes() {
    let policies = policies(Action::Redact);
    let text = "Here it is:\n-----BEGIN RSA PRIVATE KEY-----\nMIIB";
    for at in 0..=text.len() {
        let (stream, judgement) = heard(&policies, &[event(0, &text[..at]), event(0, &text[at..])]);
        assert!(!String::from_utf8_lossy(&stream).contains("BEGIN"), "{at}");
        assert_eq!((judgement.verdict, judgement.results[0].category), (Verdict::Block, Some("private_key")), "{at}");
        assert_eq!(judgement.blocked.map(|fault| fault.kind), Some(Kind::AnswerBlockedByPolicy));
    }
}

#[test]
fn numbers_of_a_tools_arguments_become_strings() {
    let policies = policies(Action::Redact);
    let text = r#"{"card": 4111111111111111, "note":"4111111111111111", "to":["a@b.io"]}"#;
    let wanted = r#"{"card": "[REDACTED:card]", "note":"[REDACTED:card]", "to":["[REDACTED:email]"]}"#;
    for at in 0..=text.len() {
        let (stream, _) = heard(&policies, &[event(0, &text[..at]), event(0, &text[at..])]);
        assert_eq!(texts(&stream)[0], wanted, "{at}");
    }
}

#[test]
fn data_of_several_lines_is_read_like_any_other() {
    let policies = policies(Action::Redact);
    let said = b"event: x\ndata: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"to a@b.io, \"}}]}\n\n";
    let (stream, _) = heard(&policies, &[said.to_vec()]);
    assert_eq!(texts(&stream)[0], "to [REDACTED:email], ");
}

#[test]
fn an_answer_that_is_no_stream_has_it_taken_out_too() {
    let policies = policies(Action::Redact);
    let mut hearing = Hearing::begin(&policies, None, "g").expect("a policy for answers");
    let mut body = br#"{"choices":[{"message":{"content":"to a@b.io","tool_calls":[{"function":{"arguments":"{\"n\":4111111111111111}"}}]}}]}"#.to_vec();
    hearing.answer(&mut body).expect("nothing is blocked");
    let wanted = r#"{"choices":[{"message":{"content":"to [REDACTED:email]","tool_calls":[{"function":{"arguments":"{\"n\":\"[REDACTED:card]\"}"}}]}}]}"#;
    assert_eq!(String::from_utf8_lossy(&body), wanted);
    assert_eq!(hearing.conclude().verdict, Verdict::Redact);
}

#[test]
fn what_cannot_be_read_is_refused_or_passes_as_the_fail_mode_says() {
    let policies = policies(Action::Redact);
    let mut hearing = Hearing::begin(&policies, None, "g").expect("a policy for answers");
    let mut body = event(0, "jane");
    hearing.pass(&mut body, 0).expect("nothing is blocked");
    assert_eq!(body, b"");
    assert!(hearing.fails(FailMode::Block).is_err());
    hearing.fails(FailMode::Allow).expect("it may pass");
    // What had waited goes first.
    body.extend_from_slice(&event(0, "@b.io"));
    hearing.pass(&mut body, 0).expect("it may pass");
    assert_eq!(body, [event(0, "jane"), event(0, "@b.io")].concat());
    assert_eq!(hearing.conclude().results[0].result, PolicyOutcome::Error);
}
