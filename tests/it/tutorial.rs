//! The tutorial to the letter: lint, run, ask, look, reload, graduate, stop.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use crate::harness::{
    ANTHROPIC_TOKENS, Answer, Config, Driver, Event, Gateway, OPENAI_TOKENS, State, Vendor, anthropic, chat, chat_of,
    has_jq, kt, openai, shell,
};

const GROUP: &str = "quality-ab-test";
const GPT: &str = "gpt-4o";
const CLAUDE: &str = "claude-sonnet-4-20250514";
const PER_MODEL: &str = "jq -s 'group_by(.model) | map({model: .[0].model, requests: length, \
    total_tokens: (map(.usage.total_tokens) | add), avg_latency_ms: (map(.latency_ms) | add / length | floor)})'";

#[test]
fn it_runs_on_one_core_with_io_uring() {
    run_through(1, Driver::IoUring);
}

#[test]
fn it_runs_on_two_cores_with_io_uring() {
    run_through(2, Driver::IoUring);
}

#[test]
fn it_runs_on_one_core_with_epoll() {
    run_through(1, Driver::Epoll);
}

#[test]
fn it_runs_on_two_cores_with_epoll() {
    run_through(2, Driver::Epoll);
}

fn run_through(cores: usize, driver: Driver) {
    if !driver.is_here() {
        return;
    }
    let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
    let config = Config::tutorial(&gpt, &claude, (70, 30));
    it_lints(&config);

    let gateway = Gateway::with(config).cores(cores).driver(driver).start();
    it_says_what_it_loaded(&gateway);

    // 20 requests, each over a connection of its own, half of them streamed, by two clients at once.
    ask_twenty_times(&gateway);
    assert_eq!(by_model(&gateway.events(20)), [(CLAUDE, 6), (GPT, 14)]);
    assert_eq!((gpt.requests().len(), claude.requests().len()), (14, 6));
    the_log_is_counted_by_jq(gateway.state());

    gateway.rewrite(&Config::tutorial(&gpt, &claude, (50, 50)));
    let reload = gateway.reload();
    assert_eq!((reload.code, reload.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        reload.stdout,
        "✓ Configuration reloaded\nModel group \"quality-ab-test\": gpt-4o (50%) / claude-sonnet-4-20250514 (50%)\n"
    );
    ask_twenty_times(&gateway);
    assert_eq!(by_model(&gateway.events(40)[20..]), [(CLAUDE, 10), (GPT, 10)]);

    gateway.rewrite(&graduated(&claude));
    let reload = gateway.kt(&["gateway", "reload"]);
    assert_eq!((reload.code, reload.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        reload.stdout,
        "✓ Configuration reloaded\nModel group \"quality-ab-test\": claude-sonnet-4-20250514 (100%)\n"
    );
    ask_twenty_times(&gateway);

    let events = gateway.stop();
    assert_eq!(by_model(&events[40..]), [(CLAUDE, 20)]);
    the_events_are_complete(&events, cores);
}

fn it_lints(config: &str) {
    let state = State::new();
    let file = state.write("policy-config.yaml", config);
    let output = kt(&["policy", "lint", "--file", file.to_str().expect("UTF-8")]);
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        output.stdout,
        "✓ Configuration is valid\nProviders: 2 (openai, anthropic)\nModel groups: 1 (quality-ab-test)\nPolicies: 1 \
         (basic-filter)\n"
    );
}

fn it_says_what_it_loaded(gateway: &Gateway) {
    let lines = gateway.log().lines();
    let said: Vec<&str> =
        lines.iter().map(String::as_str).filter(|line| line.contains(" keeptrusts::gateway ")).collect();
    assert_eq!(
        said,
        [
            &*format!("INFO keeptrusts::gateway Starting gateway on {}", gateway.address()),
            "INFO keeptrusts::gateway Loaded 2 provider(s), 1 model group(s), 1 policy(ies)",
            "INFO keeptrusts::gateway Model group \"quality-ab-test\": gpt-4o (70%) / claude-sonnet-4-20250514 (30%)",
            "INFO keeptrusts::gateway Gateway ready",
        ]
    );
}

fn ask_twenty_times(gateway: &Gateway) {
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..5 {
                    it_answers_whole(gateway.client().ask(chat(GROUP)));
                    it_answers_streaming(
                        gateway
                            .client()
                            .ask(chat_of(GROUP, r#","stream":true,"stream_options":{"include_usage":true},"n":1"#)),
                    );
                }
            });
        }
    });
}

/// In OpenAI's form, whoever answers.
fn it_answers_whole(answer: Answer) {
    let tokens = tokens_of(answer.field("x-kt-model").expect("it says which"));
    let body = answer.completion(tokens);
    assert_eq!(body.text("choices.0.message.content"), "Hello there, friend.");
    assert_eq!(body.text("choices.0.finish_reason"), "stop");
    assert_eq!(
        body.count("usage.prompt_tokens") + body.count("usage.completion_tokens"),
        body.count("usage.total_tokens")
    );
}

fn it_answers_streaming(answer: Answer) {
    let answer = answer.whole(200);
    let tokens = tokens_of(answer.field("x-kt-model").expect("it says which"));
    let mut events = answer.events();
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let events: Vec<_> = events.iter().map(crate::harness::json).collect();
    assert!(events.iter().all(|event| event.text("object") == "chat.completion.chunk"));
    let text: String = events
        .iter()
        .filter_map(|event| event.find("choices.0.delta.content"))
        .filter(|content| !content.is_null(""))
        .map(|content| content.text(""))
        .collect();
    assert_eq!(text, "Hello there, friend.");
    let usage = events.last().expect("the usage is asked for");
    assert_eq!((usage.items("choices").len(), usage.count("usage.total_tokens")), (0, tokens));
}

fn tokens_of(model: &str) -> u64 {
    if model == CLAUDE { ANTHROPIC_TOKENS } else { OPENAI_TOKENS }
}

fn by_model(events: &[Event]) -> Vec<(&'static str, usize)> {
    let mut counts = BTreeMap::new();
    for event in events {
        let model = [CLAUDE, GPT].into_iter().find(|model| *model == event.text("model")).expect("one of the two");
        *counts.entry(model).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn the_log_is_counted_by_jq(state: &State) {
    if !has_jq() {
        return;
    }
    let counted = shell("kt events tail --last 20 --format json | jq -r '.model' | sort | uniq -c | sort -rn", state);
    assert_eq!((counted.code, counted.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = counted.stdout.lines().map(str::trim).collect();
    assert_eq!(lines, [format!("14 {GPT}"), format!("6 {CLAUDE}")]);

    let summed = shell(&format!("kt events tail --last 20 --format json | {PER_MODEL}"), state);
    assert_eq!((summed.code, summed.stderr.as_str()), (Some(0), ""));
    let models = crate::harness::json(&summed.stdout).items("");
    let expected = [(CLAUDE, 6, 6 * ANTHROPIC_TOKENS), (GPT, 14, 14 * OPENAI_TOKENS)];
    assert_eq!(models.len(), expected.len());
    for (said, (model, requests, tokens)) in models.iter().zip(expected) {
        assert_eq!(said.names(), ["avg_latency_ms", "model", "requests", "total_tokens"]);
        assert_eq!(
            (said.text("model"), said.count("requests"), said.count("total_tokens")),
            (model.into(), requests, tokens)
        );
        assert!(said.number("avg_latency_ms") < 5_000.0, "{said:?}");
    }
}

/// The file after the experiment: one target of weight 100, and a provider less.
fn graduated(claude: &Vendor) -> String {
    format!(
        "version: '1'
providers:
  targets:
    - id: anthropic
      provider: anthropic
      base_url: {}
      secret_key_ref:
        env: ANTHROPIC_API_KEY
model_groups:
  - name: quality-ab-test
    strategy: weighted
    targets:
      - provider: anthropic
        model: {CLAUDE}
        weight: 100
",
        claude.url()
    )
}

/// What every one of them says, and how they hang together.
fn the_events_are_complete(events: &[Event], cores: usize) {
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.text("event_type"), "decision");
        assert!(event.text("id").starts_with("evt_"));
        assert_eq!((event.count("status"), event.is_null("error")), (200, true), "{event:?}");
        assert_eq!(event.text("model_group"), GROUP);
        assert_eq!(event.count("tokens"), tokens_of(&event.text("model")), "{event:?}");
        assert_eq!(event.count("usage.total_tokens"), event.count("tokens"));
        assert_eq!(event.text("usage_source"), "provider");
        assert_eq!(event.text("upstream_request_id"), "req-of-the-vendor");
        assert_eq!(event.text("assignment.method"), "block");
        assert!((event.count("core") as usize) < cores);
        assert!(event.number("latency_ms") > 0.0 && event.number("gateway_overhead_us") > 0.0, "{event:?}");
        assert_eq!(event.is("stream"), !event.is_null("ttft_ms"), "{event:?}");
        assert_eq!(event.is("stream"), !event.is_null("gaps"), "{event:?}");
        // Each of the three configs came into force after twenty of them.
        let version = event.text("config_version");
        assert_eq!(version.split('-').next(), Some(&*(index / 20 + 1).to_string()), "{version}");
        assert_eq!(event.items("policies").len(), usize::from(index < 40));
    }
    // The epoch of a group changes with its weights, and its slots count anew.
    for (epoch, twenty) in events.chunks(20).enumerate() {
        let mut slots: Vec<u64> = twenty.iter().map(|event| event.count("assignment.slot")).collect();
        slots.sort_unstable();
        assert_eq!(slots, (0..20).collect::<Vec<u64>>(), "of epoch {epoch}");
    }
}

#[test]
fn the_demo_plays_the_tutorial_and_leaves_nothing_behind() {
    let demo = Command::new(env!("CARGO_BIN_EXE_kt")).args(["demo", "--requests", "20"]).output().expect("kt runs");
    let (said, complaints) = (String::from_utf8_lossy(&demo.stdout), String::from_utf8_lossy(&demo.stderr));
    assert_eq!(demo.status.code(), Some(0), "{said}\n{complaints}");
    for step in ["✓ Configuration is valid", "Gateway ready", "✓ Configuration reloaded", "(50%)", "TTFT", "✓ Drained"]
    {
        assert!(said.contains(step), "the demo shows no {step:?}:\n{said}");
    }
}
