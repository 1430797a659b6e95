//! `kt events compare` and `kt events plan` over logs whose truth is known, as a user runs them.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;

use fastrand::Rng;
use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::harness::{State, kt, skip};

/// A log as a gateway writes it, of a group with two arms.
struct Written {
    text: String,
    seq: u64,
    slot: u64,
    at_us: u64,
    /// Of the latest config.
    version: String,
}

/// A state directory that holds it, or holds nothing.
struct Laid {
    state: Arc<State>,
    path: String,
}

impl Laid {
    fn empty() -> Self {
        let state = State::new();
        let path = state.path().to_str().expect("UTF-8").to_owned();
        Self { state, path }
    }

    fn path(&self) -> &str {
        &self.path
    }
}

/// One request of it, and what may be out of the ordinary.
struct Request<'a> {
    arm: usize,
    latency_ms: f64,
    status: u16,
    method: &'a str,
    endpoint: &'a str,
    stream: bool,
    unit: Option<u64>,
    more: &'a str,
}

const ARMS: [(&str, &str, u32); 2] = [("gpt", "gpt-4o", 50), ("claude", "claude-sonnet", 50)];
const EPOCH: &str = "0123456789abcdef";

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            arm: 0,
            latency_ms: 100.0,
            status: 200,
            method: "block",
            endpoint: "/v1/chat/completions",
            stream: false,
            unit: None,
            more: "",
        }
    }
}

impl Written {
    fn new() -> Self {
        // 2026-11-22T10:00:00Z
        let mut log =
            Self { text: String::new(), seq: 0, slot: 0, at_us: 1_795_341_600_000_000, version: String::new() };
        log.config(EPOCH, "null");
        log
    }

    fn config(&mut self, epoch: &str, experiment: &str) {
        self.seq += 1;
        let arms = ARMS.map(|(arm, model, weight)| {
            format!(r#"{{"arm":"{arm}","target_id":"t-{arm}","model":"{model}","weight":{weight},"propensity":0.5}}"#)
        });
        let (seq, at) = (self.seq, moment(self.at_us));
        writeln!(
            self.text,
            r#"{{"event_type":"config","log_epoch":1,"seq":{seq},"timestamp":"{at}","config_version":"{seq}-9f","model_groups":[{{"name":"ab","epoch":"{epoch}","experiment":{experiment},"arms":[{}]}}]}}"#,
            arms.join(",")
        )
        .expect("a String takes it");
        self.version = format!("{seq}-9f");
        self.slot = 0;
        self.at_us += 1_000;
    }

    fn push(&mut self, request: &Request<'_>) {
        let Request { arm, latency_ms, status, method, endpoint, stream, unit, more } = request;
        self.seq += 1;
        self.at_us += 20_000;
        let (name, model, weight) = ARMS[*arm];
        let (seq, slot) = (self.seq, self.slot);
        let (at, ended) = (moment(self.at_us), moment(self.at_us + (latency_ms * 1e3) as u64));
        let ttft = if *stream { format!("{:.3}", latency_ms / 4.0) } else { "null".to_owned() };
        let unit = unit.map_or("null".to_owned(), |unit| format!("\"{unit:016x}\""));
        let version = &self.version;
        writeln!(
            self.text,
            r#"{{"event_type":"decision","id":"evt_{seq}","log_epoch":1,"seq":{seq},"timestamp":"{at}","ended_at":"{ended}","client":null,"endpoint":"{endpoint}","model_group":"ab","arm":"{name}","target_id":"t-{name}","model":"{model}","weight":{weight},"assignment":{{"method":"{method}","slot":{slot},"unit_hash":{unit},"propensity":0.5,"epoch":"{EPOCH}"}},"config_version":"{version}","stream":{stream},"status":{status},"error":null,"usage":{{"prompt_tokens":10,"completion_tokens":20}},"usage_source":"provider","latency_ms":{latency_ms:.3},"ttft_ms":{ttft},"gaps":null,"attempts":1{more}}}"#
        )
        .expect("a String takes it");
        self.slot += 1;
    }

    fn line(&mut self, rest: &str) {
        self.seq += 1;
        writeln!(self.text, r#"{{"event_type":{rest},"log_epoch":1,"seq":{}}}"#, self.seq).expect("a String takes it");
    }

    fn lay(&self) -> Laid {
        let laid = Laid::empty();
        let events = laid.state.path().join("events");
        fs::create_dir_all(&events).expect("a directory");
        fs::write(events.join("events-00000001-0000000000000001.jsonl"), &self.text).expect("a log");
        laid
    }

    /// What `compare --json` says of it, with more arguments; one object a line.
    fn compared(&self, more: &[&str]) -> Vec<OwnedValue> {
        let state = self.lay();
        let mut arguments = vec!["events", "compare", "--json", "--state-dir", state.path()];
        arguments.extend(more);
        let run = kt(&arguments);
        assert_eq!((run.code, &*run.stderr), (Some(0), ""), "{}", run.stdout);
        run.stdout.lines().map(|line| simd_json::to_owned_value(&mut line.as_bytes().to_vec()).expect("JSON")).collect()
    }
}

/// µs since 1970 of a day in November 2026, as the log has it.
fn moment(us: u64) -> String {
    let of_day = us % 86_400_000_000;
    let day = us / 86_400_000_000 - 20_779 + 22;
    let seconds = of_day / 1_000_000;
    format!(
        "2026-11-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        of_day % 1_000_000
    )
}

/// So many requests in permuted pairs; the second arm's times are `ratio` times as long.
fn paired(requests: usize, ratio: f64) -> Written {
    let mut log = Written::new();
    pairs(&mut log, requests, ratio, |request, log| log.push(&request));
    log
}

fn pairs(log: &mut Written, requests: usize, ratio: f64, mut push: impl FnMut(Request<'_>, &mut Written)) {
    let mut dice = Rng::with_seed(1);
    for _ in 0..requests / 2 {
        let first = dice.usize(..2);
        for arm in [first, 1 - first] {
            let (radius, angle) = ((-2.0 * (1.0 - dice.f64()).ln()).sqrt(), std::f64::consts::TAU * dice.f64());
            let latency_ms = 300.0 * (0.4 * radius * angle.cos()).exp() * if arm == 1 { ratio } else { 1.0 };
            push(Request { arm, latency_ms, stream: dice.bool(), ..Request::default() }, log);
        }
    }
}

#[track_caller]
fn primary(report: &OwnedValue) -> &OwnedValue {
    let comparisons = report["comparisons"].as_array().expect("a list");
    comparisons.iter().find(|comparison| comparison["primary"] == true).expect("one decides")
}

fn alarms(report: &OwnedValue) -> Vec<(&str, bool)> {
    let alarms = report["alarms"].as_array().expect("a list");
    alarms.iter().map(|alarm| (alarm["kind"].as_str().expect("a word"), alarm["blocks_verdict"] == true)).collect()
}

#[test]
fn the_json_is_the_contracts() {
    let reports = paired(8_000, 0.8).compared(&[]);
    let [report] = &*reports else { panic!("{} reports", reports.len()) };
    assert_eq!((report["group"].as_str(), report["epoch"].as_str()), (Some("ab"), Some(EPOCH)));
    assert_eq!(report["level"], 0.95);
    assert!(report["window"]["from"].as_str().is_some_and(|from| from.starts_with("2026-11-22T10:00:00")));
    assert!(report["method_notes"].as_array().is_some_and(|notes| notes.iter().all(|note| note.is_str())));

    let arms = report["arms"].as_array().expect("a list");
    assert_eq!(arms.len(), 2);
    for (arm, (name, model, weight)) in arms.iter().zip(ARMS) {
        assert_eq!((arm["arm"].as_str(), arm["model"].as_str()), (Some(name), Some(model)));
        assert_eq!(arm["target_id"], format!("t-{name}"));
        assert_eq!((arm["weight"].as_u32(), arm["requests"].as_u64()), (Some(weight), Some(4_000)));
        assert_eq!((arm["share"].cast_f64(), arm["errors"].as_u64()), (Some(0.5), Some(0)));
        assert!(arm["cost_usd"].is_null(), "an unknown cost is not zero");
        for measure in ["latency:p50", "latency:p99", "ttft:p50", "error_rate", "tokens_out"] {
            let measured = &arm["measures"][measure];
            let number =
                |name: &str| measured[name].cast_f64().unwrap_or_else(|| panic!("{measure} {name}: {measured}"));
            assert!(number("low") <= number("value") && number("value") <= number("high"), "{measure}");
            assert!(number("n") >= 1_900.0);
        }
        assert_eq!(arm["measures"]["tokens_out"]["value"].cast_f64(), Some(20.0));
    }

    let comparison = primary(report);
    assert_eq!((comparison["measure"].as_str(), comparison["unit"].as_str()), (Some("latency:p50"), Some("ratio")));
    assert_eq!((comparison["arm"].as_str(), comparison["baseline"].as_str()), (Some("claude"), Some("gpt")));
    assert_eq!((comparison["level"].cast_f64(), comparison["margin"].cast_f64()), (Some(0.975), Some(0.05)));
    assert_eq!((comparison["verdict"].as_str(), comparison["exploratory"].as_bool()), (Some("faster"), Some(false)));
    assert!(comparison["needs_requests"].is_null());
    assert!(comparison["method"].as_str().is_some_and(|method| method.starts_with("sequential quantile bounds")));
    let [low, high] = ["low", "high"].map(|name| comparison[name].cast_f64().expect("a bound"));
    assert!(low < 0.8 && 0.8 < high && high < 1.0, "{low} to {high}");
    // Ten others share the other half of the chance.
    let others = report["comparisons"].as_array().expect("a list").iter().filter(|each| each["primary"] == false);
    let levels: Vec<f64> = others.map(|each| each["level"].cast_f64().expect("a level")).collect();
    assert_eq!(levels.len(), 10);
    assert!(levels.iter().all(|level| (level - 0.9975).abs() < 1e-12), "{levels:?}");
    assert_eq!(alarms(report), []);
}

#[test]
fn too_little_is_not_enough_unless_somebody_vouches_for_independence() {
    let log = paired(2_000, 0.7);
    let few = &log.compared(&[])[0];
    assert_eq!(primary(few)["verdict"], "not_enough_data");
    assert!(primary(few)["needs_requests"].as_u64().is_some_and(|more| more >= 1_000));
    let vouched = &log.compared(&["--assume-independent"])[0];
    assert_eq!(primary(vouched)["verdict"], "faster");
}

#[test]
fn arms_that_are_alike_are_said_to_be() {
    let same = &paired(40_000, 1.0).compared(&[])[0];
    assert_eq!(primary(same)["verdict"], "no_difference");
}

#[test]
fn failures_are_infinitely_slow() {
    // Quick if it succeeds, which is in six of ten requests: the median is a slow one, the last tenth is a failure.
    let mut log = Written::new();
    pairs(&mut log, 8_000, 0.5, |request, log| {
        let status = if request.arm == 1 && log.slot % 5 < 2 { 502 } else { 200 };
        log.push(&Request { status, ..request });
    });
    let report = &log.compared(&[])[0];
    let claude = &report["arms"].as_array().expect("a list")[1];
    assert!(claude["measures"]["latency:p90"]["value"].is_null());
    assert!(claude["measures"]["latency:p90"]["high"].is_null());
    let p90 = report["comparisons"].as_array().expect("a list").iter().find(|each| each["measure"] == "latency:p90");
    let p90 = p90.expect("it is compared");
    assert_eq!(p90["verdict"], "slower");
    assert!(p90["high"].is_null() && p90["low"].cast_f64().is_some_and(|low| low > 1.0));
    assert!(alarms(report).contains(&("failures_differ", false)), "{:?}", alarms(report));
}

#[test]
fn the_experiments_own_measure_decides() {
    let mut log = Written::new();
    log.config(EPOCH, r#"{"primary":"ttft:p50","margin":0.1}"#);
    pairs(&mut log, 10_000, 1.3, |request, log| log.push(&request));
    let report = &log.compared(&[])[0];
    let comparison = primary(report);
    assert_eq!((comparison["measure"].as_str(), comparison["margin"].cast_f64()), (Some("ttft:p50"), Some(0.1)));
    assert_eq!(comparison["verdict"], "slower");
}

#[test]
fn a_wrong_split_forbids_a_verdict() {
    let mut log = Written::new();
    let mut kept = 0_u64;
    pairs(&mut log, 12_000, 0.7, |request, log| {
        // Every tenth request of one arm went elsewhere.
        kept += u64::from(request.arm == 1);
        let arm = if request.arm == 1 && kept.is_multiple_of(10) { 0 } else { request.arm };
        log.push(&Request { arm, ..request });
    });
    let report = &log.compared(&[])[0];
    assert!(alarms(report).contains(&("sample_ratio", true)), "{:?}", alarms(report));
    assert_eq!(primary(report)["verdict"], "not_enough_data");
}

#[test]
fn places_without_a_decision_forbid_one_too() {
    let mut log = Written::new();
    pairs(&mut log, 8_000, 0.7, |request, log| {
        log.push(&request);
        log.slot += u64::from(log.slot == 4_321);
    });
    let report = &log.compared(&[])[0];
    assert_eq!(alarms(report), [("missing_slots", true)]);
    assert_eq!(primary(report)["verdict"], "not_enough_data");
}

#[test]
fn what_a_gap_or_lost_record_counts_is_accounted_for() {
    let mut log = Written::new();
    pairs(&mut log, 8_000, 0.7, |request, log| {
        log.push(&request);
        if log.slot == 4_321 {
            log.slot += 3;
            log.line(r#""lost","count":3"#);
        }
    });
    let report = &log.compared(&[])[0];
    assert_eq!(alarms(report), [("log_gaps", false)]);
    assert_eq!(primary(report)["verdict"], "faster");

    log.seq += 5;
    log.push(&Request::default());
    log.text.push_str("{\"event_type\":\"deci\n");
    let report = &log.compared(&[])[0];
    let message = report["alarms"][0]["message"].as_str().expect("words");
    assert!(message.contains("5 records") && message.contains("1 lines"), "{message}");
}

#[test]
fn repetitions_of_one_arm_and_stand_ins_are_said_and_forbid_nothing() {
    let mut log = Written::new();
    pairs(&mut log, 8_000, 0.7, |request, log| {
        // One arm's clients try again with every fourth request; now and then the other arm's target answers for it.
        let retries = u64::from(request.arm == 1 && log.slot % 8 < 2);
        let stands_in = if request.arm == 1 && log.slot % 100 < 2 { ",{\"target_id\":\"t-gpt\"}" } else { "" };
        let attempts = format!("[{{\"target_id\":\"t-{}\"}}{stands_in}]", ARMS[request.arm].0);
        log.push(&Request { more: &format!(",\"retry_count\":{retries},\"attempt_list\":{attempts}"), ..request });
    });
    let report = &log.compared(&[])[0];
    assert_eq!(alarms(report), [("retries_differ", false), ("failed_over", false)]);
    assert_eq!(primary(report)["verdict"], "faster");
    let arms = report["arms"].as_array().expect("a list");
    assert!(
        arms.iter().all(|arm| arm["requests"].as_u64() == Some(4_000)),
        "they count with the arm they were assigned"
    );
    let served = report["as_served"].as_array().expect("a list");
    let of = |arm: &str| served.iter().find(|each| each["by"] == arm).and_then(|each| each["requests"].as_u64());
    assert_eq!(of("gpt").zip(of("claude")).map(|(gpt, claude)| gpt + claude), Some(8_000), "{served:?}");
    assert!(of("gpt").is_some_and(|gpt| gpt > 4_000), "{served:?}");
}

#[test]
fn what_was_not_drawn_by_chance_gets_no_verdict() {
    for method in ["round_robin", "least_latency"] {
        let mut log = Written::new();
        pairs(&mut log, 8_000, 0.7, |request, log| log.push(&Request { method, ..request }));
        let report = &log.compared(&[])[0];
        assert_eq!(alarms(report), [("not_randomised", true)]);
        assert_eq!(primary(report)["verdict"], "not_enough_data");
    }
}

#[test]
fn units_and_blocks_and_endpoints_are_never_mixed() {
    let mut log = Written::new();
    let mut dice = Rng::with_seed(3);
    pairs(&mut log, 9_000, 0.8, |request, log| match dice.u8(..3) {
        0 => log.push(&Request { endpoint: "/v1/messages", ..request }),
        1 => log.push(&request),
        // A unit stays with its arm.
        _ => log.push(&Request { method: "hash", unit: Some(2 * dice.u64(..500) + request.arm as u64), ..request }),
    });
    let reports = log.compared(&[]);
    let mut kinds: Vec<(&str, &str)> = (reports.iter())
        .map(|report| (report["endpoint"].as_str().expect("a path"), report["assignment"].as_str().expect("a word")))
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [("/v1/chat/completions", "block"), ("/v1/chat/completions", "hash"), ("/v1/messages", "block")]);
    let requests = |report: &OwnedValue| {
        report["arms"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|arm| arm["requests"].as_u64().expect("a count"))
            .sum::<u64>()
    };
    assert_eq!(reports.iter().map(requests).sum::<u64>(), 9_000);
}

#[test]
fn slow_episodes_are_told_from_a_difference() {
    let mut log = Written::new();
    pairs(&mut log, 12_000, 1.0, |request, log| {
        let slow = request.arm == 1 && log.slot % 6_000 < 800;
        log.push(&Request { latency_ms: request.latency_ms * if slow { 3.0 } else { 1.0 }, ..request });
    });
    let report = &log.compared(&[])[0];
    assert!(alarms(report).contains(&("dependence", false)), "{:?}", alarms(report));
    assert_eq!(primary(report)["verdict"], "not_enough_data");
    let careless = &log.compared(&["--assume-independent"])[0];
    assert_eq!(primary(careless)["verdict"], "slower");
}

#[test]
fn runs_of_an_experiment_are_kept_apart() {
    let mut log = Written::new();
    pairs(&mut log, 200, 1.0, |request, log| log.push(&request));
    log.config("ffff000000000000", "null");
    pairs(&mut log, 100, 1.0, |request, log| log.push(&request));
    // What it was before is a run of its own; saying the same again is not.
    log.config(EPOCH, "null");
    pairs(&mut log, 60, 1.0, |request, log| log.push(&request));
    log.config(EPOCH, "null");
    pairs(&mut log, 40, 1.0, |request, log| log.push(&request));
    let requests = |more: &[&str]| {
        let report = &log.compared(more)[0];
        let arms = report["arms"].as_array().expect("a list");
        let requests = arms.iter().map(|arm| arm["requests"].as_u64().expect("a count")).sum::<u64>();
        let mixed = alarms(report).contains(&("epochs_mixed", false));
        (requests, report["run"].as_u64(), report["runs"].as_u64(), mixed)
    };
    assert_eq!(requests(&[]), (100, Some(3), Some(3), false));
    assert_eq!(requests(&["--epoch", "1"]), (200, Some(1), Some(3), false));
    assert_eq!(requests(&["--epoch", "2"]), (100, Some(2), Some(3), false));
    assert_eq!(requests(&["--epoch", "all"]), (400, None, Some(3), true));
}

#[test]
fn a_look_at_a_part_is_exploratory() {
    let log = paired(6_000, 0.8);
    for more in [&["--since", "2026-11-22T10:01:00Z"][..], &["--by", "stream"], &["--baseline", "claude"]] {
        for report in log.compared(more) {
            assert_eq!(primary(&report)["exploratory"], true, "{more:?}");
        }
    }
    let turned = &log.compared(&["--baseline", "claude"])[0];
    assert_eq!((primary(turned)["arm"].as_str(), primary(turned)["verdict"].as_str()), (Some("gpt"), Some("slower")));
    let parts = log.compared(&["--by", "stream"]);
    let mut names: Vec<&str> = parts.iter().filter_map(|report| report["by"]["stream"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["stream", "whole"]);
    assert_eq!(primary(&log.compared(&["--baseline", "gpt"])[0])["exploratory"], false, "that is the first arm anyway");
}

#[test]
fn costs_add_up_to_the_pico_dollar_and_what_is_unknown_is_said() {
    let mut log = Written::new();
    let mut sum = [0_u128; 2];
    let mut nth = 0_u128;
    pairs(&mut log, 1_000, 1.0, |request, log| {
        nth += 1;
        let cost = 1_234_567_891 + 1_000_003 * nth;
        sum[request.arm] += cost;
        log.push(&Request { more: &format!(",\"cost_picousd\":{cost},\"retry_count\":0"), ..request });
    });
    log.push(&Request { more: ",\"cost_picousd\":null", ..Request::default() });
    let state = log.lay();
    let json = kt(&["events", "compare", "--json", "--state-dir", state.path()]).stdout;
    for sum in sum {
        let exact =
            format!("\"cost_usd\":{}.{:012},\"cost_picousd\":{sum}", sum / 1_000_000_000_000, sum % 1_000_000_000_000);
        assert!(json.contains(&exact), "{exact} is not in {json}");
    }
    assert!(json.contains("\"cost_unknown_requests\":1,"), "{json}");
    let text = kt(&["events", "compare", "--state-dir", state.path()]).stdout;
    assert!(text.contains(", 1 unknown"), "{text}");
}

#[test]
fn the_text_is_aligned_and_says_what_is_promised() {
    let state = paired(8_000, 0.8).lay();
    let run = kt(&["events", "compare", "--state-dir", state.path()]);
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    for words in [
        "ab · epoch 1 of 1 (0123456789abcdef) · /v1/chat/completions · block",
        "8,000 requests, 2026-11-22T10:00:00Z to ",
        "> latency:p50  claude ",
        "claude is faster by ",
        "claude is faster to the first token by ",
        "every look at once",
        "latency:p50 decides",
        "Below 2,000 requests per arm",
    ] {
        assert!(run.stdout.contains(words), "{words:?} is not in\n{}", run.stdout);
    }
    let table: Vec<&str> =
        run.stdout.lines().filter(|line| line.starts_with("gpt") || line.starts_with("ARM")).collect();
    let end = |line: &str, column: &str| line.find(column).map(|at| at + column.len());
    assert_eq!(end(table[0], "REQUESTS"), end(table[1], "4,000"), "columns are aligned:\n{}", run.stdout);
}

#[test]
fn whoever_names_a_model_takes_no_part() {
    let mut log = paired(100, 1.0);
    for _ in 0..50 {
        log.push(&Request { method: "direct", ..Request::default() });
    }
    let reports = log.compared(&[]);
    let [report] = &*reports else { panic!("{} reports", reports.len()) };
    assert_eq!(report["arms"][0]["requests"].as_u64(), Some(50));
}

#[test]
fn the_page_opens_in_a_browser_and_asks_for_nothing() {
    let mut log = Written::new();
    pairs(&mut log, 6_000, 0.8, |request, log| {
        let more = format!(",\"cost_picousd\":{}", 1_000_000_000 * (1 + request.arm as u64));
        log.push(&Request { more: &more, ..request });
    });
    let laid = log.lay();
    let page = laid.state.root().join("page.html");
    let file = page.to_str().expect("UTF-8");
    let run = kt(&["events", "compare", "--html", file, "--state-dir", laid.path()]);
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    let html = fs::read_to_string(&page).expect("it was written");
    for word in ["http:", "https:", "src=", "url(", "<script", "@import", "<link"] {
        assert!(!html.contains(word), "{word} asks for something");
    }
    // What a screen reader goes by.
    assert!(html.contains("<html lang=\"en\">") && html.contains("class=\"skip\" href=\"#verdicts-0\""));
    assert_eq!(html.matches("role=\"img\" aria-labelledby").count(), 4, "four pictures, each with a name");
    assert_eq!(html.matches("<table>").count(), html.matches("<caption>").count());
    assert!(html.contains("prefers-color-scheme: dark") && html.contains("@media print"));

    let Some(browser) = browser() else { return };
    let profile = laid.state.root().join("profile");
    let run = |what: &str| {
        let mut command = Command::new(browser);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.arg(format!("--user-data-dir={}", profile.display()));
        let output = command.arg(what).arg(format!("file://{file}")).output().expect("the browser runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let shown = run("--dump-dom");
    assert!(shown.contains("claude is faster by "), "{shown}");
    assert_eq!(shown.matches("<polyline").count(), html.matches("<polyline").count(), "every line is drawn");
    let printed = laid.state.root().join("page.pdf");
    run(&format!("--print-to-pdf={}", printed.display()));
    assert!(fs::read(&printed).expect("it was printed").starts_with(b"%PDF"));
}

/// A browser without a window, if there is one. Says so if not.
fn browser() -> Option<&'static str> {
    let there = |name: &&str| {
        let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(there);
    if found.is_none() {
        skip("chromium", "chromium is not installed");
    }
    found
}

#[test]
fn a_plan_says_how_many_requests_and_days() {
    let state = paired(8_000, 1.0).lay();
    let run = kt(&["events", "plan", "--detect", "10%", "--measure", "ttft:p50", "--state-dir", state.path()]);
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    assert!(run.stdout.starts_with("ttft:p50 of ab, to see 10 % with a chance of 80 %:\n"), "{}", run.stdout);
    let run = kt(&["events", "plan", "--detect", "5%", "--json", "--state-dir", state.path()]);
    let plan = simd_json::to_owned_value(&mut run.stdout.into_bytes()).expect("JSON");
    assert_eq!(plan["measure"], "latency:p50");
    let needs = plan["needs_requests"].as_u64().expect("it can be foreseen");
    // σ 0.4: a quarter of what 0.8 takes, and some more for looking often.
    assert!((1_650..8_000).contains(&needs), "{needs}");
    let arm = &plan["arms"].as_array().expect("a list")[0];
    let (rate, days) = (arm["requests_per_day"].cast_f64().expect("a rate"), arm["days"].cast_f64().expect("days"));
    // A request in 20 ms, half of them of this arm.
    assert!((rate / 2_160_000.0 - 1.0).abs() < 0.01, "{rate}");
    assert!((days - needs.saturating_sub(4_000) as f64 / rate).abs() < 1e-9);
}

#[test]
fn what_can_not_be_compared_is_said_in_one_line() {
    let (empty, log) = (Laid::empty(), paired(20, 1.0).lay());
    for (arguments, words) in [
        (&["compare", "--state-dir", empty.path()][..], "there is no log in "),
        (&["plan", "--detect", "10%", "--state-dir", empty.path()], "there is no log in "),
        (&["compare", "--group", "cd", "--state-dir", log.path()], "has no group \"cd\""),
        (
            &["compare", "--baseline", "mistral", "--state-dir", log.path()],
            "no arm is called \"mistral\"; there are gpt, claude",
        ),
        (&["compare", "--epoch", "7", "--state-dir", log.path()], "not this epoch"),
        (&["compare", "--html", "/nowhere/page.html", "--state-dir", log.path()], "can't write /nowhere/page.html"),
    ] {
        let run = kt(&[&["events"], arguments].concat());
        assert_eq!((run.code, run.stderr.lines().count()), (Some(1), 1), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(words), "{words:?} is not in {}", run.stderr);
    }
    for arguments in
        [&["compare", "--epoch", "first"][..], &["compare", "--since", "soon"], &["plan"], &["plan", "--detect", "0%"]]
    {
        assert_eq!(kt(&[&["events"], arguments].concat()).code, Some(64), "{arguments:?}");
    }
}
