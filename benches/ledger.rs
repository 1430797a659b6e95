//! What does the log cost: closing a record into its frame, making a line of it, and how many a second does the writer
//! take to a file in memory, checksums and index included? And how long do records wait for it?

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kt_benches::time;
use kt_core::config::plan::Plan;
use kt_core::config::{Source, check};
use kt_core::event::{Decision, Event, Method, Room, Stamp};
use kt_core::limits::EVENT_BATCH_MS;
use kt_core::record::Record;
use kt_core::route::Selection;
use kt_core::tally::Usage;
use kt_proxy::clock::Clock;
use kt_proxy::ledger::{Ledger, Push, Quill};
use kt_proxy::state::StateDir;

const CONFIG: &str = "
version: '1'
providers: {targets: [{id: openai, provider: openai, secret_key_ref: {env: OPENAI_API_KEY}}]}
model_groups: [{name: chat, strategy: weighted, targets: [{provider: openai, model: gpt-4o, weight: 100}]}]
# A log that has been running for long: what is written takes the place of what goes.
events: {rotation: {bytes_max: 67108864}, retention: {bytes_max: 268435456}}
";

/// How long the writer is measured.
const SECONDS: u64 = 5;

/// Records a second of the paced part.
const RATE: u64 = 50_000;

fn main() {
    let plan = plan();
    let event = event(1_000);
    let mut frame = Vec::with_capacity(2_048);
    time("close a record into a frame", || event.encode(&plan, Room::Whole, &mut frame));
    let stamp = Stamp { log_epoch: 1, seq: 123_456, wall_start_ns: 1_795_343_806_123_456_789, salt: 7 };
    let mut line = Vec::with_capacity(2_048);
    time("read a frame and make its line", || {
        line.clear();
        Decision::decode(&frame).expect("it was just made").write_line(&stamp, &mut line);
    });
    println!("{:<44} {} and {} bytes", "a frame and its line have", frame.len(), line.len());
    let plan = Arc::new(plan);
    throughput(&plan, line.len());
    window(&plan);
}

fn throughput(plan: &Arc<Plan>, line_bytes: usize) {
    let place = Place::new("flood");
    let clock = Clock::start();
    let (ledger, quills) = Ledger::start(&place.state, 2, plan, clock).expect("there is room");
    let began = Instant::now();
    let end = began + Duration::from_secs(SECONDS);
    let records: u64 = thread::scope(|scope| {
        let writing: Vec<_> =
            quills.into_iter().map(|quill| scope.spawn(move || write(quill, plan, clock, end))).collect();
        writing.into_iter().map(|thread| thread.join().expect("it doesn't panic")).sum()
    });
    let cpu = writer_cpu();
    ledger.shutdown().expect("the disk is memory");
    let seconds = began.elapsed().as_secs_f64();
    let rate = records as f64 / seconds;
    println!(
        "{:<44} {rate:.0} records a second, {:.0} MB/s",
        "the writer takes to a file in memory",
        rate * line_bytes as f64 / 1e6
    );
    if let Some(cpu) = cpu {
        let each = cpu.as_nanos() as f64 / records as f64;
        println!("{:<44} {each:.0} ns a record", "of the writer's processor that takes");
    }
}

/// How long records are nowhere but in a core's ring, at a rate that a busy machine has.
#[expect(clippy::disallowed_methods, reason = "there is no reactor here")]
fn window(plan: &Arc<Plan>) {
    let place = Place::new("paced");
    let clock = Clock::start();
    let (ledger, mut quills) = Ledger::start(&place.state, 2, plan, clock).expect("there is room");
    let mut lags = Vec::new();
    let began = Instant::now();
    for tick in 0..SECONDS * 1_000 {
        let due = Duration::from_millis(tick);
        thread::sleep(due.saturating_sub(began.elapsed()));
        for quill in &mut quills {
            for _ in 0..RATE / 1_000 / 2 {
                let Some(slot) = quill.reserve() else { continue };
                let _ = quill.push(slot, &event(clock.now_ns()), plan); // the timer below flushes
            }
            // As the cores' timers do.
            if tick.is_multiple_of(EVENT_BATCH_MS) {
                let _ = quill.flush(); // what it couldn't send, it keeps for the next one
            }
        }
        lags.push(ledger.gauges().lag_ns);
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = writer_cpu();
    let longest = ledger.gauges().lag_ns_max;
    drop(quills);
    ledger.shutdown().expect("the disk is memory");
    lags.sort_unstable();
    let ms = |ns: u64| ns as f64 / 1e6;
    println!(
        "{:<44} {:.1} ms in the median, {:.1} ms at p99, {:.1} ms at most",
        format!("at {RATE} a second records wait"),
        ms(lags[lags.len() / 2]),
        ms(lags[lags.len() * 99 / 100]),
        ms(longest)
    );
    if let Some(cpu) = cpu {
        println!("{:<44} {:.0} % of a processor", "which takes the writer", cpu.as_secs_f64() / seconds * 100.0);
    }
}

/// A state directory in memory, where there is such a file system.
struct Place {
    state: StateDir,
    dir: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = dir.join(format!("kt-bench-ledger-{name}-{}", std::process::id()));
        let (state, _lock) = StateDir::open(Some(&dir)).expect("a directory of our own");
        Self { state, dir }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).expect("it is ours");
    }
}

/// How long the writer's thread has run so far, where the system says.
fn writer_cpu() -> Option<Duration> {
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let read = |name| fs::read_to_string(task.path().join(name));
        if read("comm").ok()?.trim_end() == "kt-ledger" {
            return Some(Duration::from_nanos(read("schedstat").ok()?.split(' ').next()?.parse().ok()?));
        }
    }
    None
}

/// Closes records as fast as the writer takes them.
#[expect(clippy::disallowed_methods, reason = "there is no reactor here")]
fn write(mut quill: Quill, plan: &Plan, clock: Clock, end: Instant) -> u64 {
    let mut records = 0;
    while Instant::now() < end {
        for _ in 0..256 {
            match quill.reserve() {
                Some(slot) => {
                    let event = event(clock.now_ns());
                    if let (Push::Armed(_), _) = quill.push(slot, &event, plan) {
                        // Nobody waits for a timer here.
                        let _ = quill.flush(); // what it couldn't send, it keeps for the next one
                    }
                    records += 1;
                }
                // The writer has its processor to itself.
                None => thread::sleep(Duration::from_micros(100)),
            }
        }
    }
    records
}

fn plan() -> Plan {
    let source = Source { name: "bench.yaml".into(), bytes: CONFIG.into() };
    let file = check(&[source]).file.expect("it is valid");
    Plan::resolve(&file, 1, None, &mut |_| None, &mut || 0).expect("it has no clients")
}

fn event(now: u64) -> Event {
    let mut record = Record::begin("/v1/chat/completions", "req_0123456789abcdefghijklmnop".into(), 0);
    record.read_whole(now);
    let selection = Selection { group: 0, arm: 0, method: Method::Block, slot: Some(7), unit_hash: None };
    record.assigned(&selection, None);
    record.asking();
    record.handed_over(now + 20_000);
    record.vendor_read(now + 900_000);
    record.vendor_says_id("req_011CSHoEeqs5C35K2UUqR7Fy");
    record.vendor_says_model("gpt-4o-2024-08-06");
    record.vendor_says_usage(Usage { prompt_tokens: 10, completion_tokens: 4, total_tokens: 14, ..Usage::default() });
    record.vendor_finished();
    record.passed_on(now + 900_000, now + 910_000, now + 925_000);
    record.close(200, None, now + 925_000)
}
