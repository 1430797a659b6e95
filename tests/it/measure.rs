//! What is measured and what it costs: histograms, `GET /metrics`, `Server-Timing`, prices.

use std::process::{Command, Stdio};
use std::time::Duration;

use std::io::Write;

use crate::harness::{
    Answer, Config, Event, Gateway, OPENAI_TOKENS, State, Step, Vendor, anthropic, chat, chat_of, http, openai,
    openai_stream, openai_whole, skip,
};

const STREAMED: &str = r#","stream":true"#;

/// The milliseconds of a `Server-Timing`, by name, in its order; each with at least one digit behind the point and at
/// most three.
fn timing(answer: &Answer) -> Vec<(String, f64)> {
    let field = answer.field("server-timing").expect("every answer has one");
    let one = |entry: &str| {
        let (name, millis) = entry.split_once(";dur=").expect("a duration");
        let (_, digits) = millis.split_once('.').expect("a fraction");
        assert!((1..=3).contains(&digits.len()), "{field}");
        (name.to_owned(), millis.parse().expect("a number"))
    };
    field.split(", ").map(one).collect()
}

#[test]
fn every_answer_says_what_is_known_of_its_times() {
    let vendor = Vendor::start(|request| match request.wants_stream() {
        true => openai_stream(Duration::from_millis(2), false),
        false => vec![Step::Pause(Duration::from_millis(50)), Step::Send(openai_whole())],
    });
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    let mut client = gateway.client();
    let first = timing(&client.ask(chat("chat")).whole(200));
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["gw", "connect", "upstream-head"]);
    assert!(first[0].1 > 0.0 && first[0].1 < 40.0, "our own share holds no wait: {first:?}");
    assert!(first[1].1 > 0.0, "a connection was made: {first:?}");
    assert!(first[2].1 >= 50.0, "the vendor took its time: {first:?}");
    let second = timing(&client.ask(chat("chat")).whole(200));
    assert_eq!(second[1].1, 0.0, "the connection was reused");
    assert_eq!(timing(&client.ask(chat_of("chat", STREAMED)).whole(200)).len(), 3);
    for refused in [&b"{"[..], br#"{"model":"nobody","messages":[]}"#] {
        let answer = gateway.client().ask(crate::harness::post(refused));
        let names: Vec<String> = timing(&answer).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["gw"], "no vendor was asked");
    }
    let claude = Vendor::start(anthropic);
    let gateway = Gateway::with(Config::anthropic(&claude, "", "")).start();
    assert_eq!(timing(&gateway.client().ask(chat("chat")).whole(200)).len(), 3, "a translated one, too");
}

fn metrics(gateway: &Gateway) -> String {
    let answer = gateway.admin("GET", "/metrics");
    let (head, page) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    page.to_owned()
}

/// The value of the only line that begins so.
#[track_caller]
fn value(page: &str, series: &str) -> f64 {
    let mut found = page.lines().filter_map(|line| line.strip_prefix(series));
    let value = found.next().unwrap_or_else(|| panic!("{series} is not in\n{page}"));
    assert!(found.next().is_none(), "{series} stands twice");
    value.trim().parse().expect("a number")
}

#[test]
fn metrics_have_the_promised_names_and_add_up() {
    let vendor = Vendor::start(|request| match request.body().contains("fail") {
        true => vec![Step::Send(http(500, "Content-Type: application/json\r\n", "{}"))],
        false => openai(request),
    });
    let pricing = "pricing: {input: 2.5, output: 10, cache_read: 2.5, reasoning: 10}";
    let config = Config::openai(&vendor, pricing, "").replace("chat", "ch\\at\"");
    let gateway = Gateway::with(config.replace("name: ch\\at\"", "name: 'ch\\at\"'")).cores(2).start();
    let group = r#"ch\\at\""#;
    for _ in 0..3 {
        gateway.client().ask(chat(group)).openai_completion();
        gateway.client().ask(chat_of(group, STREAMED)).whole(200);
    }
    gateway.client().ask(chat_of(group, r#","user":"fail""#)).whole(500);
    gateway.client().ask(chat("nobody")).error(404);
    gateway.events(8);
    let page = metrics(&gateway);
    let of_arm = r#"group="ch\\at\"",arm="openai/gpt-4o",provider="openai",model="gpt-4o""#;
    let is = |series: &str, wanted: f64| {
        assert_eq!(value(&page, &format!("keeptrusts_gateway_{series}")), wanted, "{series}")
    };
    is(&format!("requests_total{{{of_arm},status=\"200\"}}"), 6.0);
    is(&format!("requests_total{{{of_arm},status=\"500\"}}"), 1.0);
    is(r#"requests_total{group="",arm="",provider="",model="",status="404"}"#, 1.0);
    is(&format!("request_duration_seconds_count{{{of_arm},outcome=\"success\"}}"), 6.0);
    is(&format!("request_duration_seconds_count{{{of_arm},outcome=\"failure\"}}"), 1.0);
    is(&format!("time_to_first_token_seconds_count{{{of_arm},outcome=\"success\"}}"), 3.0);
    is(&format!("overhead_seconds_count{{{of_arm},outcome=\"success\"}}"), 6.0);
    let words = value(&page, &format!("keeptrusts_gateway_content_gap_seconds_count{{{of_arm},outcome=\"success\"}}"));
    assert!(words >= 3.0, "each stream has gaps: {words}");
    let tokens =
        |direction| value(&page, &format!("keeptrusts_gateway_tokens_total{{{of_arm},direction=\"{direction}\"}}"));
    assert_eq!(tokens("input") + tokens("output"), 6.0 * OPENAI_TOKENS as f64);
    is(
        &format!("cost_usd_total{{{of_arm},usage=\"measured\"}}"),
        (tokens("input") * 2.5 + tokens("output") * 10.0) / 1e6,
    );
    is(&format!("cost_unknown_requests_total{{{of_arm}}}"), 1.0);
    is("events_lost_total", 0.0);
    let lag = value(&page, "keeptrusts_gateway_events_lag_seconds");
    assert!(lag > 0.0 && lag < 10.0, "{lag}");
    is(r#"upstream_connections{state="busy"}"#, 0.0);
    assert!(page.contains("keeptrusts_gateway_runtime_driver{driver=\""), "{page}");
    promtool_has_nothing_to_say(&page);
}

/// Debian's package `prometheus` brings it.
fn promtool_has_nothing_to_say(page: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut running) = promtool.spawn() else { return skip("promtool", "promtool is not installed") };
    running.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("it reads");
    let output = running.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{page}");
}

#[test]
fn metrics_can_be_read_over_tcp_and_by_get_alone() {
    let vendor = Vendor::start(openai);
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let admin = format!("gateway: {{admin: {{listen: '127.0.0.1:{port}'}}}}\n");
    let gateway = Gateway::with(Config::openai(&vendor, "", &admin)).start();
    let ask = |method: &str| {
        use std::io::Read;
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        write!(socket, "{method} /metrics HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers");
        answer
    };
    assert!(ask("GET").contains("\nkeeptrusts_gateway_uptime_seconds "));
    assert!(ask("POST").starts_with("HTTP/1.1 405"));
    drop(gateway);
}

#[test]
fn a_cost_is_of_the_config_or_the_table_or_unknown() {
    let vendor = Vendor::start(openai);
    let claude = Vendor::start(anthropic);
    let event = |config: String| {
        let gateway = Gateway::with(config).start();
        gateway.client().ask(chat("chat")).whole(200);
        gateway.stop_with_one_event()
    };
    let priced = event(Config::openai(&vendor, "pricing: {input: 1, output: 3.5, cache_read: 0.1, reasoning: 4}", ""));
    let tokens = |name: &str| priced.count(&format!("usage.{name}"));
    let (cached, reasoning) = (tokens("cached_tokens"), tokens("reasoning_tokens"));
    let expected = (tokens("prompt_tokens") - cached) * 1_000_000
        + cached * 100_000
        + (tokens("completion_tokens") - reasoning) * 3_500_000
        + reasoning * 4_000_000;
    assert_eq!(priced.count("cost_picousd"), expected);
    assert_eq!(priced.number("cost_usd"), expected as f64 / 1e12);
    assert_eq!(priced.text("cost_source"), "config");
    let again = event(Config::openai(&vendor, "pricing: {input: 1, output: 3.5, cache_read: 0.1, reasoning: 4}", ""));
    assert_eq!(priced.text("price_version"), again.text("price_version"));
    let table = event(Config::anthropic(&claude, "", "").replace("claude-x", "claude-sonnet-4-20250514"));
    assert_eq!(
        (table.text("cost_source"), table.count("cost_picousd")),
        ("table".into(), 11 * 3_000_000 + 7 * 15_000_000)
    );
    assert_eq!(table.text("price_version").len(), "2026-01-01".len());
    let unpriced = event(Config::openai(&vendor, "pricing: {input: 1}", ""));
    assert!(unpriced.is_null("cost_picousd") && unpriced.is_null("cost_usd"), "{unpriced:?}");
    assert_eq!(unpriced.text("cost_source"), "unknown");
    let nobodys = event(Config::openai(&vendor, "", "").replace("gpt-4o", "gpt-of-nobody"));
    assert!(nobodys.is_null("cost_picousd") && nobodys.is_null("price_version"), "{nobodys:?}");
}

#[test]
fn retries_of_the_official_clients_are_counted() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    let body = br#"{"model":"chat","messages":[]}"#;
    let mut client = gateway.client();
    for fields in
        [&["x-stainless-retry-count: 0"][..], &["X-Stainless-Retry-Count: 2"], &["x-stainless-retry-count: many"], &[]]
    {
        client.ask(crate::harness::request("POST /v1/chat/completions", fields, Some(body))).whole(200);
    }
    let events = gateway.stop();
    assert_eq!((events[0].count("retry_count"), events[1].count("retry_count")), (0, 2));
    assert!(events[2].is_null("retry_count") && events[3].is_null("retry_count"));
    assert!(vendor.requests().iter().all(|request| request.field("x-stainless-retry-count").is_none()), "it is for us");
}

#[test]
fn histograms_are_written_for_hdr_histograms_own_tools_and_the_last_minutes_counted() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).cores(2).start();
    for _ in 0..5 {
        gateway.client().ask(chat_of("chat", STREAMED)).whole(200);
    }
    gateway.events(5);
    let state = State::new();
    let file = state.root().join("kt.hlog");
    let output = gateway.kt(&["stats", "--hdr", file.to_str().expect("UTF-8")]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), ""), "{}", output.stderr);
    let log = std::fs::read_to_string(&file).expect("it was written");
    assert!(log.contains("#[Histogram log format version 1."), "{log}");
    let tags: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("Tag=")?.split(',').next()).collect();
    for measure in ["latency_ns", "ttft_ns", "gap_ns", "overhead_ns"] {
        let tag = format!("chat/openai/gpt-4o/success/{measure}");
        assert!(tags.contains(&tag.as_str()), "{tag} is not in {tags:?}");
    }
    assert!(log.lines().filter(|line| line.starts_with("Tag=")).all(|line| line.contains(",HISTF")), "{log}");
    let stats = crate::harness::json(gateway.kt(&["stats", "--json"]).stdout);
    hdr_histograms_own_reader_says(&file, &stats.items("arms")[0]);

    let recent = crate::harness::json(gateway.kt(&["stats", "--minutes", "60", "--json"]).stdout);
    let arm = &recent.items("arms")[0];
    assert_eq!((arm.count("count"), arm.count("errors"), arm.count("ttft_ns.count")), (5, 0, 5));
    let table = gateway.kt(&["stats", "--minutes", "5"]).stdout;
    assert!(table.contains("openai/gpt-4o") && table.contains("ttft"), "{table}");
    assert_eq!(gateway.kt(&["stats", "--minutes", "61"]).code, Some(64));
}

/// The reader that HdrHistogram's authors publish for Python (`pip install hdrhistogram`), which shares no line with the
/// crate that wrote the file: the same counts and quantiles, to the three digits that a histogram has.
fn hdr_histograms_own_reader_says(file: &std::path::Path, arm: &Event) {
    const READ: &str = "\
import sys
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, 1 << 44, 3))
while (read := reader.get_next_interval_histogram()) is not None:
    group, vendor, model, outcome, measure = read.get_tag().split('/')
    if outcome == 'success':
        print(measure, read.get_total_count(), *(read.get_value_at_percentile(p) for p in (50, 90, 99)))
";
    let python = |code: &str, argument: &str| Command::new("python3").args(["-c", code, argument]).output();
    if !python("import hdrh.log", "").is_ok_and(|output| output.status.success()) {
        return skip("hdrhistogram", "Python's hdrhistogram is not installed");
    }
    let output = python(READ, file.to_str().expect("UTF-8")).expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let mut measures = Vec::new();
    for line in said.lines() {
        let (measure, numbers) = line.split_once(' ').expect("a name and numbers");
        let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().expect("a number")).collect();
        assert_eq!(numbers[0], arm.count(&format!("{measure}.count")), "{measure}");
        for (quantile, read) in ["p50", "p90", "p99"].iter().zip(&numbers[1..]) {
            let ours = arm.count(&format!("{measure}.{quantile}"));
            assert!(ours.abs_diff(*read) * 1_000 <= ours, "{measure} {quantile}: {ours} here, {read} there");
        }
        measures.push(measure);
    }
    assert!(measures.contains(&"latency_ns") && measures.contains(&"gap_ns"), "{said}");
}

#[test]
fn an_idle_gateway_is_small() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).cores(1).start();
    gateway.client().ask(chat("chat")).whole(200);
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("it runs");
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    let kib: u64 = rss.trim().trim_end_matches(" kB").parse().expect("a number");
    // The debug build has more code and less optimised data; 12 MiB is the release build's promise.
    let most = if cfg!(debug_assertions) { 40 } else { 12 };
    assert!(kib <= most * 1_024, "{kib} KiB");
}
