//! `kt bench` as users run it: a vendor, a gateway before it, and both in turn.

use std::fs;
use std::time::Duration;

use crate::harness::{Config, Gateway, Script, State, Step, Vendor, json, kt, openai};

fn slow_vendor() -> Vendor {
    Vendor::start(|request| -> Script {
        let mut script = vec![Step::Pause(Duration::from_millis(5))];
        script.extend(openai(request));
        script
    })
}

fn utf8(path: &std::path::Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

#[test]
fn twins_at_a_vendor_and_through_the_gateway_are_compared() {
    let vendor = slow_vendor();
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    let state = State::new();
    let prompts = state.write("prompts", "first prompt\n\nsecond \"prompt\"\n");
    let (results, hgrm) = (state.root().join("results.json"), state.root().join("latency.hgrm"));
    let through = format!("http://{}", gateway.address());
    let output = kt(&[
        "bench",
        "--target",
        &vendor.url(),
        "--target",
        &through,
        "--model",
        "chat",
        "--rate",
        "40",
        "--duration",
        "1s",
        "--warm-up",
        "100ms",
        "--stream",
        "--prompt-file",
        utf8(&prompts),
        "--output",
        utf8(&results),
        "--output",
        utf8(&hgrm),
    ]);
    assert_eq!(output.code, Some(0), "{output:?}");
    for said in ["time to first token", "gap between tokens", "p99.9", "0 failed", "twins"] {
        assert!(output.stdout.contains(said), "{said}: {}", output.stdout);
    }
    assert_eq!(output.stderr, "", "a bar is for terminals");

    let results = json(fs::read_to_string(results).expect("it was written"));
    assert_eq!(results.items("targets").len(), 2);
    for (target, url) in results.items("targets").iter().zip([&vendor.url(), &through]) {
        assert_eq!(target.text("target"), *url);
        assert!((38..=42).contains(&target.count("answered")), "{target:?}");
        assert!(target.at("failed").names().is_empty(), "{target:?}");
        // Never early; how late is this machine's business.
        assert!(target.number("latency_ms.p50") >= 5.0 && target.number("ttft_ms.p50") >= 5.0, "{target:?}");
        assert_eq!(target.count("gap_ms.count"), 4 * target.count("answered"), "five words have four gaps");
    }
    let paired = results.items("paired_difference_ms").len();
    assert_eq!(paired, 3, "value and both ends");
    for nth in [1, 2] {
        let file = state.root().join(format!("latency-{nth}.hgrm"));
        let text = fs::read_to_string(file).expect("it was written");
        assert!(text.contains("Value") && text.contains("1.000000000000") && text.contains("#[Mean"), "{text}");
    }

    let asked: Vec<String> = vendor.requests().iter().map(|request| request.body().to_owned()).collect();
    for prompt in ["\"first prompt\"", "\"second \\\"prompt\\\"\""] {
        let share = asked.iter().filter(|body| body.contains(&format!("\"content\":{prompt}"))).count();
        assert!(share * 10 > asked.len() * 4, "{share} of {} were {prompt}", asked.len());
    }
}

#[test]
fn connections_that_ask_in_turn_find_what_a_target_can_do() {
    let vendor = slow_vendor();
    let output = kt(&["bench", "--target", &vendor.url(), "--concurrency", "4", "--duration", "500ms"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("a second; 0 failed"), "{}", output.stdout);
    assert_eq!(vendor.connections(), 4);
    assert!(vendor.requests().iter().all(|request| request.field("authorization").is_none()));
}

#[test]
fn what_can_not_be_measured_is_said() {
    let refusing = Vendor::saying("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    let url = refusing.url();
    let quick = ["--duration", "200ms", "--warm-up", "0s"];
    let cases: [(&[&str], i32, &str); 8] = [
        (&[], 64, "--target"),
        (&["--target", &url, "--rate", "1", "--concurrency", "1"], 64, "cannot be used with"),
        (&["--target", &url, "--rate", "0"], 64, "a rate is a number"),
        (&["--target", &url, "--duration", "1d"], 64, "a time is a number and"),
        (&["--target", "127.0.0.1:1"], 1, "write http://HOST"),
        (&["--target", &url, "--output", "results.txt"], 1, "ends with .json or .hgrm"),
        (&["--target", &url, "--key-env", "NOT_THERE"], 1, "there is no $NOT_THERE"),
        (&["--target", &url], 1, "no answer that could be counted"),
    ];
    for (args, code, says) in cases {
        let output = kt(&[&["bench"][..], args, if code == 1 { &quick[..] } else { &[] }].concat());
        assert_eq!(output.code, Some(code), "{args:?}: {output:?}");
        assert!(output.stderr.contains(says), "{args:?}: {}", output.stderr);
    }
}
