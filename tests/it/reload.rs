//! A new config without a restart: no request notices, and a file that can't be used changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    Config, Gate, Gateway, State, Step, Vendor, chat, chat_of, chunked, kt, lines, on_each_driver, openai,
    openai_events, openai_stream, pause, sse_head,
};

const STREAMED: &str = r#","stream":true,"stream_options":{"include_usage":true}"#;

/// A group `ab` of two models at one vendor, with these weights; `rest` are further groups and keys.
fn config(vendor: &Vendor, weights: (u32, u32), rest: &str) -> String {
    format!(
        "version: '1'
providers:
  targets:
    - {{id: here, provider: openai, base_url: '{}', secret_key_ref: {{env: OPENAI_API_KEY}}}}
model_groups:
  - name: ab
    strategy: weighted
    targets:
      - {{provider: here, model: model-a, weight: {}}}
      - {{provider: here, model: model-b, weight: {}}}
{rest}",
        vendor.url(),
        weights.0,
        weights.1
    )
}

#[test]
fn ten_reloads_a_second_under_load_fail_no_request_and_mix_no_plans() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(|request| match request.wants_stream() {
            true => openai_stream(Duration::from_millis(2), true),
            false => openai(request),
        });
        // Each version gives everything to one of the models, the next one to the other.
        let plans = [config(&vendor, (100, 0), ""), config(&vendor, (0, 100), "")];
        let gateway = Gateway::with(&*plans[0]).cores(2).driver(driver).start();
        let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        let mut reloads = 0;
        thread::scope(|scope| {
            for worker in 0..6 {
                let (gateway, done, asked) = (&gateway, &done, &asked);
                scope.spawn(move || {
                    let mut client = gateway.client();
                    while !done.load(Ordering::Relaxed) {
                        let answer = match worker % 3 {
                            0 => client.ask(chat("ab")),
                            1 => client.ask(chat_of("ab", STREAMED)),
                            _ => gateway.client().ask(chat("ab")),
                        };
                        answer.whole(200);
                        asked.fetch_add(1, Ordering::Relaxed);
                        pause(Duration::from_millis(3));
                    }
                });
            }
            let end = Instant::now() + Duration::from_secs(5);
            while Instant::now() < end {
                let next = Instant::now() + Duration::from_millis(100);
                reloads += 1;
                gateway.rewrite(&plans[reloads % 2]);
                let output = gateway.reload();
                if output.code != Some(0) {
                    done.store(true, Ordering::Relaxed);
                    panic!("{output:?}");
                }
                pause(next.saturating_duration_since(Instant::now()));
            }
            done.store(true, Ordering::Relaxed);
        });
        let all = lines(&gateway.kt(&["events", "tail", "--last", "1000000", "--json", "--all"]).stdout);
        let events = gateway.stop();
        assert_eq!(events.len(), asked.load(Ordering::Relaxed), "each request has its event");

        // What each version allows, as the log itself says it.
        let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for record in all.iter().filter(|record| record.text("event_type") == "config") {
            let arms = record.items("model_groups.0.arms");
            let drawn = arms.iter().filter(|arm| arm.count("weight") > 0).map(|arm| arm.text("model"));
            allowed.insert(record.text("config_version"), drawn.collect());
        }
        assert_eq!(allowed.len(), reloads + 1, "each version is recorded");
        let mut used = BTreeSet::new();
        for event in &events {
            assert!(event.is_null("error") && event.count("status") == 200, "{event:?}");
            let version = event.text("config_version");
            assert!(allowed[&version].contains(&event.text("model")), "{event:?} with {allowed:?}");
            used.insert(version);
        }
        // A machine too busy for ten a second has fewer; most of what there was has served somebody.
        assert!(reloads >= 10 && used.len() > reloads / 2, "{} of {reloads} versions were used", used.len());
    });
}

#[test]
fn a_stream_in_flight_ends_on_the_plan_it_began_on() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let waiting = gate.clone();
        let vendor = Vendor::start(move |request| match request.wants_stream() {
            true => vec![
                Step::Send(sse_head()),
                Step::Send(chunked(openai_events(true)[..3].concat())),
                Step::Wait(waiting.clone()),
                Step::Send(chunked(openai_events(true)[3..].concat())),
                Step::Send(chunked("")),
            ],
            false => openai(request),
        });
        let gateway = Gateway::with(config(&vendor, (100, 0), "")).driver(driver).start();
        let mut streaming = gateway.client();
        streaming.send(chat_of("ab", STREAMED));
        streaming.wait_for(" there");
        // The group goes altogether, and with it the target.
        let gone = config(&vendor, (0, 100), "").replace("name: ab", "name: other").replace("here", "elsewhere");
        gateway.rewrite(&gone);
        assert_eq!(gateway.reload().code, Some(0));
        gateway.client().ask(chat("ab")).error(404);
        gateway.client().ask(chat("other")).openai_completion();
        gate.open();
        assert_eq!(streaming.answer().whole(200).text(), openai_events(true).concat());
        let mut events = gateway.stop();
        events.sort_by_key(|event| event.text("config_version"));
        assert!(events[0].text("config_version").starts_with("1-") && events[0].is("stream"));
        assert_eq!((events[0].text("model"), events[0].text("target_id")), ("model-a".to_owned(), "here".to_owned()));
        assert_eq!(events.iter().map(|event| event.count("status")).filter(|&status| status == 404).count(), 1);
    });
}

#[test]
fn a_file_that_can_not_be_used_changes_nothing() {
    let vendor = Vendor::start(openai);
    let good = config(&vendor, (100, 0), "");
    let gateway = Gateway::with(&*good).start();
    let bad = config(&vendor, (0, 100), "").replace("strategy: weighted", "strategy: heavy");
    for (file, said) in [
        (bad.as_str(), "✗ Configuration error at line 7:\nmodel_groups[0].strategy: unknown strategy \"heavy\""),
        ("", "✗ Configuration error"),
        ("version: [", "✗ Configuration error"),
    ] {
        gateway.rewrite(file);
        let output = gateway.reload();
        assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""));
        assert!(output.stderr.starts_with(said), "{}", output.stderr);
        assert_eq!(gateway.client().ask(chat("ab")).whole(200).field("x-kt-model"), Some("model-a"));
    }
    std::fs::remove_file(gateway.state().root().join("policy-config.yaml")).expect("it is there");
    let output = gateway.reload();
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("cannot read the config file"), "{}", output.stderr);
    // Put right, it is taken, as the next version: those that never came into force don't count.
    gateway.rewrite(&config(&vendor, (0, 100), ""));
    assert_eq!(gateway.reload().code, Some(0));
    assert_eq!(gateway.client().ask(chat("ab")).whole(200).field("x-kt-model"), Some("model-b"));
    let events = gateway.stop();
    assert!(events[..3].iter().all(|event| event.text("config_version").starts_with("1-")));
    assert!(events[3].text("config_version").starts_with("2-"), "{events:?}");
}

#[test]
fn warnings_do_not_keep_a_file_from_being_used() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(config(&vendor, (50, 50), "")).start();
    gateway.rewrite(&config(&vendor, (1, 2), ""));
    let output = gateway.reload();
    assert_eq!(output.code, Some(0));
    assert_eq!(output.stdout, "✓ Configuration reloaded\nModel group \"ab\": model-a (33.3%) / model-b (66.7%)\n");
    assert!(output.stderr.contains("the weights sum to 3, not 100"), "{}", output.stderr);
}

#[test]
fn sighup_is_a_reload() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(config(&vendor, (100, 0), "")).start();
    gateway.rewrite("nonsense");
    gateway.signal(Signal::HUP);
    gateway.log().find(|line| line.starts_with("ERROR keeptrusts::gateway Reload refused:")).expect("it says so");
    assert_eq!(gateway.client().ask(chat("ab")).whole(200).field("x-kt-model"), Some("model-a"));
    gateway.rewrite(&config(&vendor, (0, 100), ""));
    gateway.signal(Signal::HUP);
    let groups = "INFO keeptrusts::gateway Model group \"ab\": model-a (0%) / model-b (100%)";
    gateway.log().find(|line| line == groups).expect("it says what is in force");
    assert_eq!(gateway.client().ask(chat("ab")).whole(200).field("x-kt-model"), Some("model-b"));
    assert_eq!(gateway.stop().len(), 2);
}

#[test]
fn what_is_fixed_at_start_is_refused_by_name() {
    let vendor = Vendor::start(openai);
    let before = "gateway: {listen: '127.0.0.1:1', cores: 1, driver: auto}\n";
    let gateway = Gateway::with(config(&vendor, (100, 0), before)).start();
    for (after, names) in [
        ("gateway: {listen: '127.0.0.1:2', cores: 1, driver: auto}\n", &["gateway.listen"][..]),
        ("gateway: {listen: '127.0.0.1:1', cores: 2, driver: auto}\n", &["gateway.cores"]),
        ("gateway: {listen: '127.0.0.1:1', cores: 1, driver: epoll}\n", &["gateway.driver"]),
        (
            "gateway: {listen: '127.0.0.1:1', cores: 1, driver: auto, admin: {listen: '127.0.0.1:0'}}\n",
            &["gateway.admin.listen"],
        ),
        ("", &["gateway.listen", "gateway.cores"]),
    ] {
        // What could be changed is not, when something can't.
        gateway.rewrite(&config(&vendor, (0, 100), after));
        let output = gateway.reload();
        assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""));
        assert!(names.iter().all(|name| output.stderr.contains(name)), "{}", output.stderr);
        assert!(output.stderr.contains("nothing was applied"), "{}", output.stderr);
        assert_eq!(gateway.client().ask(chat("ab")).whole(200).field("x-kt-model"), Some("model-a"));
    }
    let limits = before.replace("cores: 1", "cores: 1, limits: {body_bytes_max: 10}");
    gateway.rewrite(&config(&vendor, (100, 0), &limits));
    assert_eq!(gateway.reload().code, Some(0), "everything else is taken");
    gateway.client().ask(chat("ab")).error(413);
}

#[test]
fn a_group_that_is_left_alone_keeps_counting() {
    let vendor = Vendor::start(openai);
    let other = |weight: u32| {
        format!(
            "  - name: other
    strategy: weighted
    targets:
      - {{provider: here, model: model-c, weight: {weight}}}
      - {{provider: here, model: model-d, weight: {}}}
",
            100 - weight
        )
    };
    let gateway = Gateway::with(config(&vendor, (50, 50), &other(70))).cores(2).start();
    let slots = |gateway: &Gateway| {
        for group in ["ab", "other"] {
            for _ in 0..5 {
                gateway.client().ask(chat(group)).openai_completion();
            }
        }
    };
    slots(&gateway);
    gateway.rewrite(&config(&vendor, (50, 50), &other(60)));
    assert_eq!(gateway.reload().code, Some(0));
    slots(&gateway);
    // Only words beside it have changed: that is no other experiment.
    gateway.rewrite(&format!("# a comment\n{}", config(&vendor, (50, 50), &other(60))));
    assert_eq!(gateway.reload().code, Some(0));
    slots(&gateway);
    let events = gateway.stop();
    let of = |group: &str| -> (Vec<u64>, BTreeSet<String>) {
        let mine: Vec<_> = events.iter().filter(|event| event.text("model_group") == group).collect();
        let epochs = mine.iter().map(|event| event.text("assignment.epoch")).collect();
        (mine.iter().map(|event| event.count("assignment.slot")).collect(), epochs)
    };
    let sorted = |mut slots: Vec<u64>| {
        slots.sort_unstable();
        slots
    };
    let (ab, epochs) = of("ab");
    assert_eq!((sorted(ab), epochs.len()), ((0..15).collect(), 1));
    let (other, epochs) = of("other");
    assert_eq!((sorted(other[..5].to_vec()), epochs.len()), ((0..5).collect(), 2));
    assert_eq!(sorted(other[5..].to_vec()), (0..10).collect::<Vec<u64>>());
}

#[test]
fn without_a_gateway_there_is_nothing_to_reload() {
    let state = State::new();
    let path = state.path();
    let path = path.to_str().expect("UTF-8");
    let nothing_there = format!(
        "error: no gateway is running on {path}/admin.sock; start one with `kt gateway run`, or name its --state-dir\n"
    );
    for command in [&["config", "reload"][..], &["gateway", "reload"], &["stats"]] {
        let output = kt(&[command, &["--state-dir", path]].concat());
        assert_eq!((output.code, output.stdout.as_str(), &*output.stderr), (Some(1), "", &*nothing_there));
    }
    // One that was killed leaves its socket behind, and nobody answers on it.
    let vendor = Vendor::start(openai);
    drop(Gateway::with(Config::openai(&vendor, "", "")).state(&state).start());
    assert!(state.path().join("admin.sock").exists());
    let output = kt(&["config", "reload", "--state-dir", path]);
    assert_eq!((output.code, output.stderr), (Some(1), nothing_there));
}

#[test]
fn a_gateway_is_found_by_its_admin_socket_too() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(config(&vendor, (50, 50), "")).start();
    let socket = gateway.state().path().join("admin.sock");
    let output = kt(&["config", "reload", "--admin", socket.to_str().expect("UTF-8")]);
    assert_eq!(output.code, Some(0), "{output:?}");
}

#[test]
fn stats_are_merged_over_the_cores_and_outlive_a_reload() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(config(&vendor, (100, 0), "")).cores(2).start();
    assert_eq!(gateway.kt(&["stats"]).stdout, "No request has drawn an arm yet.\n");
    for _ in 0..10 {
        gateway.client().ask(chat("ab")).openai_completion();
        gateway.client().ask(chat_of("ab", STREAMED)).whole(200);
    }
    gateway.events(20);
    gateway.rewrite(&config(&vendor, (100, 0), "# changed\n"));
    assert_eq!(gateway.reload().code, Some(0));
    let stats = crate::harness::json(gateway.kt(&["stats", "--json"]).stdout);
    let arms = stats.items("arms");
    assert_eq!((arms.len(), arms[0].text("arm"), stats.count("admitted")), (1, "here/model-a".to_owned(), 20));
    for (measure, count) in [("latency_ns", 20), ("ttft_ns", 10), ("overhead_ns", 20)] {
        let numbers = arms[0].at(measure);
        assert_eq!(numbers.count("count"), count, "{measure}");
        let quantiles = ["p50", "p90", "p99", "p999", "max"].map(|name| numbers.count(name));
        assert!(quantiles.is_sorted() && quantiles[0] > 0, "{measure}: {quantiles:?}");
    }
    let table = gateway.kt(&["stats"]).stdout;
    assert!(table.lines().next().is_some_and(|head| head.contains("P99.9")), "{table}");
    assert!(table.lines().any(|row| row.contains("here/model-a") && row.contains("ttft")), "{table}");
}
