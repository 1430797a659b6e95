//! The log as files: segments, their bounds, their indexes, and the commands that read them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::harness::{
    Config, Gateway, Json, State, Vendor, chat, eventually, has_jq, json, kt, lines, openai, request, shell, skip,
};

/// A log of several small segments, and the decisions in it.
fn log_of(events: &str, requests: usize) -> (Arc<State>, usize) {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", &format!("events: {events}\n"))).start();
    let state = Arc::clone(gateway.state());
    let mut client = gateway.client();
    for nth in 0..requests {
        if nth % 10 == 9 {
            client.ask(chat("unknown")).error(404);
            client = gateway.client();
        } else {
            client.ask(chat("chat")).openai_completion();
        }
    }
    let decisions = gateway.stop().len();
    (state, decisions)
}

fn files(state: &State, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(state.path().join("events"))
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    files
}

fn run(state: &State, args: &[&str]) -> crate::harness::Output {
    let path = state.path();
    kt(&[args, &["--state-dir", path.to_str().expect("temporary paths are UTF-8")]].concat())
}

fn ids(records: &[Json]) -> Vec<String> {
    records.iter().map(|record| record.text("id")).collect()
}

#[test]
fn a_full_segment_is_followed_by_another_and_readers_go_on() {
    const REQUESTS: usize = 200;
    let (state, decisions) = log_of("{rotation: {bytes_max: 65536}}", REQUESTS);
    assert_eq!(decisions, REQUESTS);
    let segments = files(&state, ".jsonl");
    assert!(segments.len() >= 3, "{segments:?}");
    assert_eq!(files(&state, ".idx").len(), segments.len());
    assert!(files(&state, ".ring").is_empty(), "a clean end leaves no ring");
    let mut seq = 0;
    for segment in &segments {
        for record in lines(&fs::read_to_string(segment).expect("UTF-8")) {
            seq += 1;
            assert_eq!(record.count("seq"), seq);
        }
    }
    let verified = run(&state, &["events", "verify"]);
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""), "{verified:?}");
    assert!(verified.stdout.contains(&format!("head 1-{seq} ")), "{verified:?}");
    let stats = json(run(&state, &["events", "stats", "--json"]).stdout);
    assert_eq!((stats.count("decisions"), stats.count("records")), (REQUESTS as u64, seq));
}

#[test]
fn packed_segments_read_as_before_and_verify() {
    const REQUESTS: usize = 200;
    let (state, _) = log_of("{rotation: {bytes_max: 65536}, compress: zstd}", REQUESTS);
    let before = ids(&state.events());
    // Whatever wasn't packed when it ended is packed by the next start's first look.
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", "events: {rotation: {bytes_max: 65536}, compress: zstd}\n");
    let gateway = Gateway::with(config).state(&state).start();
    eventually("all but the present segment to be packed", || (files(&state, ".jsonl").len() == 1).then_some(()));
    drop(gateway.stop());
    assert!(files(&state, ".jsonl.zst").len() >= 3);
    assert_eq!(ids(&state.events()), before);
    let some = lines(&run(&state, &["events", "tail", "--last", "7", "--json"]).stdout);
    assert_eq!(ids(&some), before[before.len() - 7..]);
    let verified = run(&state, &["events", "verify"]);
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""), "{verified:?}");
}

#[test]
fn the_oldest_segments_go_and_the_log_says_so() {
    let (state, _) = log_of("{rotation: {bytes_max: 65536}}", 250);
    let before = files(&state, ".jsonl").len();
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", "events: {retention: {bytes_max: 131072}}\n");
    let gateway = Gateway::with(config).state(&state).start();
    eventually("old segments to go", || (files(&state, ".jsonl").len() < before).then_some(()));
    drop(gateway.stop());
    let all = lines(&run(&state, &["events", "tail", "--last", "1000", "--all", "--json"]).stdout);
    let removed: Vec<&Json> = all.iter().filter(|record| record.text("event_type") == "retention").collect();
    assert_eq!(removed.len(), before + 1 - files(&state, ".jsonl").len());
    assert_eq!(removed[0].text("reason"), "size");
    let verified = run(&state, &["events", "verify"]);
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""), "{verified:?}");
}

#[test]
fn every_flipped_bit_is_found_and_so_is_a_missing_segment() {
    let (state, _) = log_of("{rotation: {bytes_max: 65536}}", 130);
    for path in [files(&state, ".jsonl"), files(&state, ".idx")].concat() {
        let whole = fs::read(&path).expect("it is there");
        // One that was begun at the very end has nothing to flip.
        for _ in (0..4).filter(|_| !whole.is_empty()) {
            let mut flipped = whole.clone();
            let at = fastrand::usize(..flipped.len());
            flipped[at] ^= 1 << fastrand::u32(..8);
            fs::write(&path, &flipped).expect("it is ours");
            let verified = run(&state, &["events", "verify"]);
            assert_eq!(verified.code, Some(1), "byte {at} of {}: {verified:?}", path.display());
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            assert!(verified.stderr.contains(&stem), "{verified:?}");
        }
        fs::write(&path, &whole).expect("it is ours");
    }
    assert_eq!(run(&state, &["events", "verify"]).code, Some(0));
    for path in files(&state, ".jsonl") {
        let whole = fs::read(&path).expect("it is there");
        fs::remove_file(&path).expect("it is there");
        let verified = run(&state, &["events", "verify"]);
        assert_eq!(verified.code, Some(1), "without {}: {verified:?}", path.display());
        fs::write(&path, &whole).expect("it is ours");
    }
}

#[test]
fn decisions_are_picked_by_what_they_say_and_when() {
    let (state, _) = log_of("{rotation: {bytes_max: 65536}}", 100);
    let tail = |args: &[&str]| lines(&run(&state, &[&["events", "tail", "--json"], args].concat()).stdout);
    let all = tail(&["--since", "1h"]);
    assert_eq!(all.len(), 100);
    assert_eq!(tail(&["--since", "1h", "--status", "404"]).len(), 10);
    assert_eq!(tail(&["--since", "1h", "--status", "2xx", "--model", "gpt-4o", "--group", "chat"]).len(), 90);
    assert_eq!(tail(&["--errors", "--since", "7d", "--limit", "3"]).len(), 3);
    assert_eq!(tail(&["--last", "4", "--errors"]).len(), 4);
    assert_eq!(tail(&["--since", "1h", "--arm", "nobody"]).len(), 0);
    assert_eq!(tail(&["--since", "2100-01-01T00:00:00Z"]).len(), 0);
    assert_eq!(tail(&["--until", "1971-01-01T00:00:00Z"]).len(), 0);
    let middle = all[60].text("ended_at");
    let (late, early) = (tail(&["--since", &middle]), tail(&["--since", "1h", "--until", &middle]));
    assert_eq!(ids(&[early, late].concat()), ids(&all));
    let wrong = run(&state, &["events", "tail", "--since", "yesterday"]);
    assert_eq!(wrong.code, Some(64));
}

#[test]
fn a_log_is_exported_as_json_and_csv() {
    let (state, _) = log_of("{}", 20);
    let json_lines = run(&state, &["events", "export", "--format", "json"]);
    assert_eq!(lines(&json_lines.stdout).len(), 20);
    let csv = run(&state, &["events", "export", "--format", "csv"]);
    let rows: Vec<&str> = csv.stdout.split("\r\n").collect();
    assert_eq!((csv.code, rows.len()), (Some(0), 22), "a header, and an end");
    assert!(rows[0].starts_with("event_type,id,log_epoch,seq,timestamp,"));
    assert!(rows[1].starts_with("decision,evt_"), "{}", rows[1]);
    if has_jq() {
        let counted = shell("kt events export | jq -s 'map(select(.event_type == \"decision\")) | length'", &state);
        assert_eq!(counted.stdout.trim(), "20");
    }
}

#[test]
fn a_parquet_export_is_read_by_others() {
    let (state, _) = log_of("{}", 20);
    let file = state.root().join("log.parquet");
    let path = file.to_str().expect("temporary paths are UTF-8");
    let exported = run(&state, &["events", "export", "--format", "parquet", "--output", path]);
    assert_eq!((exported.code, exported.stderr.as_str()), (Some(0), ""));
    let bytes = fs::read(&file).expect("it was written");
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    let script = "import pyarrow.parquet as p, sys; t = p.read_table(sys.argv[1]); \
        print(t.num_rows, t.column('status').to_pylist().count(404), t.column('ended_at').type, \
        sum(t.column('tokens').to_pylist()))";
    let read = Command::new("python3").args(["-c", script, path]).stderr(Stdio::null()).output();
    match read {
        Ok(read) if read.status.success() => {
            assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), "20 2 timestamp[us, tz=UTC] 306");
        }
        Ok(_) | Err(_) => skip("pyarrow", "python3 has no pyarrow to read the Parquet file with"),
    }
}

#[test]
fn bodies_are_logged_on_demand_bounded_and_without_keys() {
    let vendor = Vendor::start(openai);
    let key = format!("sk-proj-{}", "Ab3dEf9h".repeat(5));
    let ask = |gateway: &Gateway, content: &str| {
        let body = format!(r#"{{"model":"chat","messages":[{{"role":"user","content":"{content}"}}]}}"#);
        let fields = ["authorization: Bearer the-clients-own-key"];
        gateway.client().ask(request("POST /v1/chat/completions", &fields, Some(body.as_bytes())))
    };
    let gateway = Gateway::with(Config::openai(&vendor, "", "events: {bodies: true}\n")).start();
    ask(&gateway, "Say hello.").openai_completion();
    ask(&gateway, &format!("{key}, the-clients-own-key and sk-openai-test")).openai_completion();
    ask(&gateway, &"long ".repeat(10_000)).openai_completion();
    gateway.client().ask(crate::harness::chat_of("chat", r#","stream":true"#)).whole(200);
    let events = gateway.stop();
    let (asked, answered) =
        (|nth: usize| events[nth].text("request_body"), |nth: usize| events[nth].text("response_body"));
    assert!(asked(0).starts_with(r#"{"model":"chat","#) && asked(0).contains("Say hello."), "{}", asked(0));
    assert!(json(answered(0)).find("choices").is_some(), "{}", answered(0));
    assert!(asked(1).contains("[REDACTED:api_key], [REDACTED:key] and [REDACTED:key]"), "{}", asked(1));
    assert!(asked(2).len() <= 1_000 && events[2].is("cut"), "{:?}", events[2]);
    assert!(answered(3).starts_with("data: {") && events[3].is("cut"), "{}", answered(3));

    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    ask(&gateway, "Say hello.").openai_completion();
    let event = gateway.stop_with_one_event();
    assert!(event.find("request_body").is_none() && event.find("response_body").is_none(), "{event:?}");
}

#[test]
fn answers_wait_for_the_disk_where_they_are_told_to() {
    let vendor = Vendor::start(openai);
    for events in ["{durability: synced}", "{durability: relaxed}"] {
        let config = Config::openai(&vendor, "", &format!("events: {events}\n"));
        let gateway = Gateway::with(config).cores(2).start();
        let mut client = gateway.client();
        for _ in 0..20 {
            client.ask(chat("chat")).openai_completion();
        }
        client.ask(crate::harness::chat_of("chat", r#","stream":true"#)).whole(200);
        gateway.client().ask(chat("unknown")).error(404);
        if events.contains("synced") {
            assert_eq!(gateway.state().events().len(), 22, "they are there as soon as they are answered");
        }
        assert_eq!(gateway.stop().len(), 22);
    }
}
