//! What do the functions that every request goes through cost in instructions, and is that more than it was?
//!
//! Instructions repeat to the last digit where times don't, so that a change of some percent is seen on any machine. Each
//! function runs under callgrind twice, some hundreds of times and twice as often; the difference is what it costs by
//! itself. `budget.txt` beside this file holds what each may cost, as it was measured when the file was last written; more
//! than 5 % above it is a failure.
//!
//! `cargo bench -p kt-benches --bench budget` checks; with `KT_BUDGET=write` it writes the file anew, which belongs into the
//! commit that makes something dearer, or cheaper. Without valgrind there is nothing to count with: it says so, and is a
//! failure where `KT_NO_SKIP` holds `valgrind`. Counts depend on the compiler, which is pinned, and on which vector
//! instructions the processor has (the file is of one with AVX2).

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use kt_benches::chat_request;
use kt_core::ask;
use kt_core::config::plan::{Plan, Secret, StreamUsage};
use kt_core::config::{Source, check};
use kt_core::cost::{Kind, Prices};
use kt_core::dialect::{Crossing, Dialect, Look, Naming, Translator, Wanted};
use kt_core::endpoint::Endpoint;
use kt_core::event::{Decision, Event, Method, Room, Stamp};
use kt_core::http1::head::{Fields, RequestHead, ResponseHead, Search};
use kt_core::json::{self, Scratch};
use kt_core::limits::Limits;
use kt_core::record::Record;
use kt_core::route::{Chooser, Drawer, Selection, find, select};
use kt_core::sse::{Splitter, events};
use kt_core::tally::Usage;
use kt_core::witness;

/// How much more than its budget a function may cost.
const MOST: f64 = 1.05;
/// Times that each runs, and twice that.
const TIMES: u64 = 300;
/// Which function a child process is to run, and how often: `NTH:TIMES`.
const RUN: &str = "KT_BUDGET_RUN";

/// One operation, set up to be run again and again.
type Operation = Box<dyn FnMut()>;

/// A function's name, and what sets it up.
type Function = (&'static str, fn() -> Operation);

const FUNCTIONS: [Function; 11] = [
    ("parse a request head", parse_a_head),
    ("parse the head of an answer", parse_an_answers_head),
    ("scan and splice a body of 1 KiB", || scan_and_splice(1 << 10)),
    ("scan and splice a body of 40 KiB", || scan_and_splice(40 << 10)),
    ("select an arm", select_an_arm),
    ("open, fill and close a record", close_a_record),
    ("write a record into its frame", write_a_frame),
    ("write a frame as a line", write_a_line),
    ("read what a whole answer says", read_an_answer),
    ("one event of a stream that passes", pass_an_event),
    ("one event of a stream, translated", translate_an_event),
];

const HEAD: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:41002\r\nAccept: application/json\r\n\
    Content-Type: application/json\r\nUser-Agent: OpenAI/Python 1.99.0\r\nX-Stainless-Lang: python\r\n\
    X-Stainless-Retry-Count: 0\r\nAuthorization: Bearer sk-0000000000000000\r\nContent-Length: 1024\r\n\r\n";
const CHUNK: &[u8] = b"data: {\"id\":\"chatcmpl-AbCdEf0123456789\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\
    \"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\",\
    \"choices\":[{\"index\":0,\"delta\":{\"content\":\" world\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
const ANSWER_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_0123456789abcdefghij\r\n\
    openai-processing-ms: 421\r\nopenai-version: 2020-10-01\r\nx-ratelimit-limit-requests: 10000\r\n\
    x-ratelimit-limit-tokens: 30000000\r\nx-ratelimit-remaining-requests: 9999\r\nx-ratelimit-remaining-tokens: 29999900\r\n\
    x-ratelimit-reset-requests: 6ms\r\nx-ratelimit-reset-tokens: 0s\r\ncontent-length: 911\r\n\r\n";
const ANSWER: &[u8] = b"{\"id\":\"chatcmpl-0123456789\",\"object\":\"chat.completion\",\"created\":1755097541,\
    \"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_07871e2ad8\",\"choices\":[\
    {\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"A sentence of some length, and \\\"another\\\" one.\",\
    \"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":256,\
    \"completion_tokens\":26,\"total_tokens\":282,\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},\
    \"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\
    \"rejected_prediction_tokens\":0}}}";
const START: &[u8] = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\
    \"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude\",\"content\":[],\"stop_reason\":null,\
    \"stop_sequence\":null,\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n\
    event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
    \"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
const DELTA: &[u8] = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
    \"delta\":{\"type\":\"text_delta\",\"text\":\" world\"}}\n\n";
const PLAN: &str = "version: '1'\nproviders: {targets: [{id: a, provider: openai}]}\nmodel_groups:\n  - name: g\n    \
    strategy: weighted\n    targets:\n      - {provider: a, model: one, weight: 70}\n      - {provider: a, model: two, weight: 30}\n";

fn main() -> ExitCode {
    if let Ok(run) = env::var(RUN) {
        let (nth, times) = run.split_once(':').expect("the parent says NTH:TIMES");
        let mut operation = FUNCTIONS[nth.parse::<usize>().expect("a place")].1();
        (0..times.parse::<u64>().expect("a number")).for_each(|_| operation());
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("SKIPPED: valgrind is not installed, and nothing else counts instructions");
        let must_be_there = env::var("KT_NO_SKIP").unwrap_or_default();
        return ExitCode::from(u8::from(must_be_there.split(',').any(|name| name.trim() == "valgrind")));
    }
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("budget.txt");
    let costs: Vec<(&str, u64)> = (0..).zip(FUNCTIONS).map(|(nth, (name, _))| (name, cost(nth))).collect();
    if env::var("KT_BUDGET").is_ok_and(|what| what == "write") {
        let mut text = String::from("# Instructions of one run each; see budget.rs. KT_BUDGET=write writes it anew.\n");
        costs.iter().for_each(|(name, cost)| writeln!(text, "{cost:>8}  {name}").expect("a String takes all"));
        fs::write(&file, text).expect("the file can be written");
        println!("written to {}", file.display());
        return ExitCode::SUCCESS;
    }
    let text = fs::read_to_string(&file).expect("budget.txt lies beside budget.rs");
    if compare(&costs, &text) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints each cost beside its budget; whether all keep to it.
fn compare(costs: &[(&str, u64)], text: &str) -> bool {
    let budgets: Vec<(u64, &str)> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(cost, name)| (cost.parse().expect("a number"), name))
        .collect();
    let mut keep = true;
    for &(name, cost) in costs {
        let budget = budgets.iter().find(|(_, known)| *known == name).map(|&(budget, _)| budget);
        let ratio = budget.map(|budget| cost as f64 / budget as f64);
        let verdict = match ratio {
            None => "has no budget: KT_BUDGET=write gives it one",
            Some(ratio) if ratio > MOST => "TOO DEAR",
            Some(ratio) if ratio < 2.0 - MOST => "cheaper: KT_BUDGET=write keeps it so",
            Some(_) => "ok",
        };
        keep &= ratio.is_some_and(|ratio| ratio <= MOST);
        let (budget, ratio) = (budget.unwrap_or(0), ratio.unwrap_or(0.0));
        println!("{name:<36} {cost:>9} instructions, budget {budget:>9}, × {ratio:.3}  {verdict}");
    }
    keep
}

/// Instructions of one run of a function.
fn cost(nth: usize) -> u64 {
    let (once, twice) = (instructions(nth, TIMES), instructions(nth, 2 * TIMES));
    (twice - once) / TIMES
}

/// Instructions of a process that runs a function so many times, by callgrind.
fn instructions(nth: usize, times: u64) -> u64 {
    let me = env::current_exe().expect("this program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(me)
        .env(RUN, format!("{nth}:{times}"))
        .output()
        .expect("valgrind was there a moment ago");
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("callgrind says nothing of instructions:\n{said}"))
}

fn parse_a_head() -> Operation {
    let limits = Limits::default();
    Box::new(move || {
        let (mut search, mut fields) = (Search::default(), Fields::default());
        black_box(RequestHead::parse(black_box(HEAD), &mut search, &mut fields, &limits)).expect("a valid head");
    })
}

/// As a small body goes through: read, and copied around its edits behind a head.
fn scan_and_splice(bytes: usize) -> Operation {
    let (body, mut scratch) = (chat_request(bytes, true), Scratch::default());
    let mut out = Vec::with_capacity(2 * bytes);
    Box::new(move || {
        let ask = ask::read(Endpoint::ChatCompletions, black_box(&body), &mut scratch).expect("a valid body");
        out.clear();
        for piece in ask.edits("gpt-4o", StreamUsage::Ask).pieces(body.len()) {
            out.extend_from_slice(piece.of(&body));
        }
        black_box(&out);
    })
}

fn a_plan() -> Plan {
    let checked = check(&[Source { name: "bench.yaml".to_owned(), bytes: PLAN.as_bytes().to_vec() }]);
    let file = checked.file.expect("a valid config");
    Plan::resolve(&file, 1, None, &mut |_| Secret::new("key"), &mut || 7).expect("it has no clients")
}

fn select_an_arm() -> Operation {
    let plan = a_plan();
    let mut drawer = Drawer::default();
    Box::new(move || {
        let route = find(&plan, black_box("g")).expect("the group");
        let chooser = Chooser { drawer: &mut drawer, loads: &[], dice: 0, now: 0 };
        black_box(select(&plan, route, None, chooser));
    })
}

fn parse_an_answers_head() -> Operation {
    let limits = Limits::default();
    Box::new(move || {
        let (mut search, mut fields) = (Search::default(), Fields::default());
        black_box(ResponseHead::parse(black_box(ANSWER_HEAD), &mut search, &mut fields, &limits))
            .expect("a valid head");
    })
}

fn close_a_record() -> Operation {
    Box::new(|| {
        black_box(a_record());
    })
}

/// Opened, filled and closed, as of a usual request.
fn a_record() -> Event {
    let selection = Selection { group: 0, arm: 1, method: Method::Block, slot: Some(7), unit_hash: None };
    let prices = Prices::default().with(Kind::Input, 2_500_000).with(Kind::Output, 10_000_000);
    let id = "req_0123456789abcdefghijklmnop".into();
    let mut record = Record::begin(black_box("/v1/chat/completions"), id, 0);
    record.read_whole(1_000);
    record.assigned(black_box(&selection), Some(prices));
    record.asking();
    record.handed_over(20_000);
    record.vendor_read(900_000);
    record.vendor_says_model("gpt-4o-2024-08-06");
    let usage = Usage { prompt_tokens: 10, completion_tokens: 4, total_tokens: 14, ..Usage::default() };
    record.vendor_says_usage(usage);
    record.vendor_finished();
    record.passed_on(900_000, 910_000, 925_000);
    record.close(200, None, 925_000)
}

fn write_a_frame() -> Operation {
    let (plan, event, mut frame) = (a_plan(), a_record(), Vec::new());
    Box::new(move || {
        black_box(&event).encode(&plan, Room::Whole, &mut frame);
        black_box(&frame);
    })
}

/// As the writer's thread does.
fn write_a_line() -> Operation {
    let (mut frame, mut out) = (Vec::new(), Vec::new());
    a_record().encode(&a_plan(), Room::Whole, &mut frame);
    let stamp = Stamp { log_epoch: 1, seq: 123_456, wall_start_ns: 1_795_343_806_000_000_000, salt: 7 };
    Box::new(move || {
        out.clear();
        Decision::decode(black_box(&frame)).expect("a frame").write_line(&stamp, &mut out);
        black_box(&out);
    })
}

fn read_an_answer() -> Operation {
    Box::new(|| {
        let [usage, model, error] = json::pick(black_box(ANSWER), ["usage", "model", "error"]).expect("an object");
        black_box((model, error));
        black_box(usage.and_then(|usage| witness::usage(Endpoint::ChatCompletions, usage.raw()))).expect("a usage");
    })
}

/// As a stream passes: found whole in what was read, and looked at.
fn pass_an_event() -> Operation {
    let mut look = Look::new(Dialect::OpenAi);
    Box::new(move || {
        let mut splitter = Splitter::new();
        let whole = splitter.advance(black_box(CHUNK));
        for event in events(&CHUNK[..whole]) {
            black_box(look.at(&event).content);
        }
    })
}

fn translate_an_event() -> Operation {
    let naming = Naming { id: "chatcmpl-0", created: 1_754_000_000, model: "claude" };
    let wanted = Wanted { stream: true, stream_usage: true, ..Wanted::WHOLE };
    let mut translator = Translator::new(Crossing::OpenAiToAnthropic, &naming, wanted);
    let mut out = Vec::with_capacity(1 << 10);
    for event in events(START) {
        translator.push(&event, &mut out).expect("a stream begins so");
    }
    Box::new(move || {
        out.clear();
        for event in events(black_box(DELTA)) {
            black_box(translator.push(&event, &mut out)).expect("an event of its middle");
        }
    })
}
