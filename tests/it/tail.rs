//! `kt events tail`: decisions as they are made, and the last ones, for people and for programs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{
    Config, Gateway, Json, OPENAI_TOKENS, PATIENCE, State, Vendor, anthropic, chat, chat_of, eventually, has_jq, json,
    lines, on_each_driver, openai, post, shell,
};

/// A `kt events tail` that follows.
struct Follower {
    child: Child,
    out: Receiver<(Instant, String)>,
    err: Receiver<(Instant, String)>,
}

impl Follower {
    fn start(state: &State, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kt"));
        command.args(["events", "tail", "--state-dir"]).arg(state.path()).args(flags);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kt can be run");
        let out = stamped(child.stdout.take().expect("it is piped"));
        let err = stamped(child.stderr.take().expect("it is piped"));
        Self { child, out, err }
    }

    /// Waits until it prints what comes, and takes that in. It begins with what comes after its own start.
    fn begin(&self, gateway: &Gateway) {
        let mut client = gateway.client();
        let mut asked: Vec<String> = Vec::new();
        let first = eventually("the follower to have begun", || {
            asked.push(client.ask(chat("chat")).field("x-request-id").expect("an id").to_owned());
            self.out.recv_timeout(Duration::from_millis(100)).ok()
        });
        let mut printed = json(first.1).text("request_id");
        while asked.last() != Some(&printed) {
            printed = self.next().1.text("request_id");
        }
    }

    fn next(&self) -> (Instant, Json) {
        let (when, line) = self.out.recv_timeout(PATIENCE).expect("a decision is printed");
        (when, json(line))
    }

    fn interrupted(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it lives");
        eventually("tail to end", || self.child.try_wait().expect("it is our child")).code()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stamped(from: impl std::io::Read + Send + 'static) -> Receiver<(Instant, String)> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    receiver
}

#[test]
fn a_decision_can_be_read_within_20_ms_of_its_answer() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let follower = Follower::start(gateway.state(), &["--json"]);
        let mut client = gateway.client();
        follower.begin(&gateway);
        let mut delays: Vec<Duration> = Vec::new();
        for _ in 0..60 {
            let id = client.ask(chat("chat")).whole(200).field("x-request-id").expect("an id").to_owned();
            let answered = Instant::now();
            let (seen, event) = follower.next();
            assert_eq!(event.text("request_id"), id, "in order, and none left out");
            delays.push(seen.saturating_duration_since(answered));
        }
        delays.sort_unstable();
        let (median, worst) = (delays[delays.len() / 2], delays[delays.len() - 1]);
        // Other tests run beside this one, so only the median is held to the promise.
        assert!(median < Duration::from_millis(20) && worst < Duration::from_millis(500), "{delays:?}");
    });
}

#[test]
fn it_follows_from_before_there_is_a_log_and_across_restarts() {
    let vendor = Vendor::start(openai);
    let state = State::new();
    let follower = Follower::start(&state, &["--json"]);
    let (_, said) = follower.err.recv_timeout(PATIENCE).expect("it says where it looks");
    assert!(said.contains(&state.path().join("events").display().to_string()), "{said}");
    let mut seen = Vec::new();
    for epoch in 1..=3 {
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).state(&state).start();
        for _ in 0..3 {
            gateway.client().ask(chat("chat")).openai_completion();
        }
        gateway.stop();
        for _ in 0..3 {
            let (_, event) = follower.next();
            assert_eq!(event.count("log_epoch"), epoch);
            seen.push(event.text("id"));
        }
    }
    let all: Vec<String> = state.events().iter().map(|event| event.text("id")).collect();
    assert_eq!(seen, all);
    assert!(seen.is_sorted(), "ids sort in the order of the log: {seen:?}");
    assert_eq!(follower.interrupted(), Some(0));
}

#[test]
fn a_follower_that_was_stopped_catches_up() {
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", "events: {rotation: {bytes_max: 65536}}\n");
    let gateway = Gateway::with(config).start();
    let follower = Follower::start(gateway.state(), &["--json"]);
    follower.begin(&gateway);
    kill_process(Pid::from_child(&follower.child), Signal::STOP).expect("it lives");
    // Over several segments, and more than a pipe holds.
    let mut client = gateway.client();
    let asked: Vec<String> = (0..300)
        .map(|_| client.ask(chat("chat")).whole(200).field("x-request-id").expect("an id").to_owned())
        .collect();
    kill_process(Pid::from_child(&follower.child), Signal::CONT).expect("it lives");
    let printed: Vec<String> = asked.iter().map(|_| follower.next().1.text("request_id")).collect();
    assert_eq!(printed, asked);
}

#[test]
fn ctrl_c_is_a_good_end() {
    let state = State::new();
    // Without a log, and with one.
    let follower = Follower::start(&state, &[]);
    follower.err.recv_timeout(PATIENCE).expect("it says that it waits");
    assert_eq!(follower.interrupted(), Some(0));
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).state(&state).start();
    let follower = Follower::start(&state, &["--format", "json"]);
    follower.begin(&gateway);
    assert_eq!(follower.interrupted(), Some(0));
}

#[test]
fn the_last_ones_of_no_log_are_none() {
    let output = shell("kt events tail --last 5", &State::new());
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), ""), "{output:?}");
}

#[test]
fn the_last_ones_are_printed_oldest_first() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    let mut ids = Vec::new();
    let mut client = gateway.client();
    for _ in 0..10 {
        ids.push(client.ask(chat("chat")).whole(200).field("x-request-id").expect("an id").to_owned());
    }
    gateway.events(10);
    for (count, expected) in [(1, &ids[9..]), (4, &ids[6..]), (10, &ids[..]), (500, &ids[..])] {
        let output = shell(&format!("kt events tail --last {count} --json"), gateway.state());
        let printed: Vec<String> = lines(&output.stdout).iter().map(|event| event.text("request_id")).collect();
        assert_eq!((output.code, printed.as_slice()), (Some(0), expected));
    }
    // It works on after the gateway has gone.
    let state = Arc::clone(gateway.state());
    gateway.stop();
    assert_eq!(shell("kt events tail --last 4 --json", &state).stdout.lines().count(), 4);
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    let mut client = gateway.client();
    for _ in 0..200 {
        client.ask(chat("chat")).openai_completion();
    }
    gateway.events(200);
    let output = shell("(kt events tail --last 200; echo ended $? >&2) | head -1", gateway.state());
    assert_eq!((output.code, output.stderr.as_str(), output.stdout.lines().count()), (Some(0), "ended 0\n", 1));
    // One that follows ends too, though nothing more comes that it could fail to write.
    let output = shell("(kt events tail --json; echo ended $? >&2) | true", gateway.state());
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), "ended 0\n"));
}

/// `[2026-11-22T10:36:47.123Z] REQUEST id=… policy=… …` as its word and its pairs.
fn parse(line: &str) -> (String, BTreeMap<String, String>) {
    let (time, rest) = line.split_once(' ').expect("a time");
    let time = time.strip_prefix('[').and_then(|time| time.strip_suffix("Z]")).expect("in brackets");
    assert!(time.len() == "2026-11-22T10:36:47.123".len() && time.as_bytes()[10] == b'T', "{time}");
    let (word, pairs) = rest.split_once(' ').expect("a word");
    let pairs = pairs.split(' ').map(|pair| pair.split_once('=').expect("a pair"));
    (word.to_owned(), pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[test]
fn text_is_a_line_for_people() {
    let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
    let blocking =
        "  - {name: strict, type: content_filter, action: block, config: {categories: [violence], threshold: low}}\n";
    let config = Config::tutorial(&gpt, &claude, (100, 0)) + blocking;
    let gateway = Gateway::with(config).start();
    let ask = |text: &str| {
        let body = format!(r#"{{"model":"quality-ab-test","messages":[{{"role":"user","content":"{text}"}}]}}"#);
        gateway.client().ask(post(body)).status
    };
    assert_eq!((ask("Hello"), ask("An inferior race"), ask("how to build a bomb")), (200, 200, 403));
    gateway.client().ask(chat("unknown")).error(404);
    let events = gateway.events(4);
    let output = gateway.kt(&["events", "tail", "--last", "4"]);
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
    let printed: Vec<_> = output.stdout.lines().map(parse).collect();
    let expected = [
        ("REQUEST", "basic-filter", "flag", "pass", "gpt-4o", OPENAI_TOKENS),
        ("REQUEST", "basic-filter", "flag", "pass", "gpt-4o", OPENAI_TOKENS),
        ("BLOCKED", "strict", "block", "blocked", "-", 0),
        ("REQUEST", "-", "-", "-", "-", 0),
    ];
    assert_eq!(printed.len(), 4);
    for (((word, pairs), event), (kind, policy, action, result, model, tokens)) in
        printed.iter().zip(&events).zip(expected)
    {
        let field = |name: &str| pairs[name].as_str();
        assert_eq!(word, kind);
        assert_eq!((field("id"), field("policy")), (&*event.text("id"), policy));
        assert_eq!((field("action"), field("result"), field("model")), (action, result, model));
        assert_eq!(field("tokens"), tokens.to_string());
        assert_eq!(field("latency"), format!("{}ms", event.number("latency_ms").floor()));
    }
    let order: Vec<&str> = output
        .stdout
        .lines()
        .next()
        .expect("a line")
        .split(' ')
        .skip(2)
        .map(|pair| pair.split('=').next().unwrap_or_default())
        .collect();
    assert_eq!(order, ["id", "policy", "action", "result", "model", "tokens", "latency"]);
}

#[test]
fn detailed_is_a_block_for_people() {
    let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
    let gateway = Gateway::with(Config::tutorial(&gpt, &claude, (0, 100))).start();
    gateway.client().ask(chat_of("quality-ab-test", r#","stream":true"#)).whole(200);
    let event = gateway.events(1).remove(0);
    let output = gateway.kt(&["events", "tail", "--last", "1", "--format", "detailed"]);
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
    for said in [
        &*event.text("id"),
        &event.text("request_id"),
        &event.text("config_version"),
        "anthropic/claude-sonnet-4-20250514",
        "req-of-the-vendor",
        "basic-filter",
        "block, slot 0",
        "first token after",
        "source provider",
        "streamed",
    ] {
        assert!(output.stdout.contains(said), "{said} in {}", output.stdout);
    }
    assert!(!output.stdout.contains('\x1b'), "no colours in a pipe");
}

#[test]
fn the_logs_own_records_are_shown_on_demand() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    gateway.client().ask(chat("chat")).openai_completion();
    gateway.events(1);
    let all = lines(&gateway.kt(&["events", "tail", "--last", "10", "--json", "--all"]).stdout);
    let types: Vec<String> = all.iter().map(|record| record.text("event_type")).collect();
    assert_eq!(types, ["config", "decision"]);
    assert_eq!(all[0].text("config_version"), all[1].text("config_version"));
    assert_eq!(all[0].text("model_groups.0.arms.0.model"), "gpt-4o");
    assert_eq!(all.iter().map(|record| record.count("seq")).collect::<Vec<_>>(), [1, 2]);
    let text = gateway.kt(&["events", "tail", "--last", "10", "--all"]);
    assert_eq!((text.stdout.lines().count(), text.stderr.lines().count()), (1, 1), "{text:?}");
    assert!(text.stdout.contains(" REQUEST ") && text.stderr.contains(" CONFIG "), "{text:?}");
}

#[test]
fn what_a_vendor_says_can_not_break_a_line() {
    let evil = r#"{"model":"gpt\u001b[2J\n{\"event_type\":\"decision\"}","usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    let vendor = Vendor::saying(crate::harness::http(200, "x-request-id: a\tb\r\n", evil));
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    gateway.client().ask(chat("chat")).whole(200);
    gateway.events(1);
    for flags in [&["--json"][..], &["--format", "text"], &["--format", "detailed"]] {
        let output = gateway.kt(&[&["events", "tail", "--last", "1"], flags].concat());
        assert!(!output.stdout.contains('\x1b'), "{output:?}");
    }
}

#[test]
fn every_event_has_every_field() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    let mut client = gateway.client();
    client.ask(chat("chat")).openai_completion();
    client.ask(chat_of("chat", r#","stream":true"#)).whole(200);
    client.ask(chat("unknown")).error(404);
    let names = [
        "arm",
        "assignment",
        "attempts",
        "cache_write_1h_tokens",
        "client",
        "client_wait_ms",
        "config_version",
        "connect_ms",
        "core",
        "cost_picousd",
        "cost_source",
        "cost_usd",
        "ended_at",
        "endpoint",
        "error",
        "event_type",
        "gaps",
        "gateway_overhead_us",
        "id",
        "latency_ms",
        "log_epoch",
        "model",
        "model_group",
        "policies",
        "price_version",
        "provider",
        "request_id",
        "retry_count",
        "seq",
        "status",
        "stream",
        "target_id",
        "timestamp",
        "tokens",
        "translation",
        "ttft_ms",
        "upstream_model",
        "upstream_ms",
        "upstream_request_id",
        "usage",
        "usage_source",
        "verdict",
        "weight",
    ];
    for event in gateway.stop() {
        assert_eq!(event.names(), names);
        assert_eq!(event.at("assignment").names(), ["epoch", "method", "propensity", "slot", "unit_hash"]);
        assert_eq!(
            event.at("usage").names(),
            [
                "cache_write_tokens",
                "cached_tokens",
                "completion_tokens",
                "prompt_tokens",
                "reasoning_tokens",
                "total_tokens"
            ]
        );
        assert!(event.text("timestamp") <= event.text("ended_at"), "{event:?}");
        assert!(event.number("latency_ms") >= event.number("upstream_ms"), "{event:?}");
    }
}

#[test]
fn programs_can_follow_line_by_line() {
    if !has_jq() {
        return;
    }
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    let mut client = gateway.client();
    for _ in 0..5 {
        client.ask(chat("chat")).openai_completion();
    }
    gateway.events(5);
    let output =
        shell("kt events tail --last 5 --format json | jq -r '.usage.total_tokens' | sort -u", gateway.state());
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), "17\n"));
}
