//! Disks that are full, fail or lose a file, under a gateway that is asked meanwhile. Whatever they do, each request has
//! one decision or is counted in one gap, and nobody has to lend a hand when they are well again.
//!
//! Mounting needs the right to, and injecting needs `strace`; where one is missing the scenario says so and is skipped.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{
    Config, Driver, Gateway, Json, Output, State, Vendor, chat, chat_of, eventually, kt, lines, openai, request, skip,
};

const MIB: usize = 1_024 * 1_024;
const STRACE: &str = "strace can't be used here";

/// A small file system in the place of a state directory.
pub(crate) struct Mounted {
    pub(crate) state: Arc<State>,
}

impl Mounted {
    fn new(options: &str) -> Option<Self> {
        Self::on(State::new(), &["-t", "tmpfs", "-o", &format!("mode=0700,{options}"), "tmpfs"])
    }

    /// Mounts what `mount` is told to.
    pub(crate) fn on(state: Arc<State>, args: &[&str]) -> Option<Self> {
        fs::create_dir(state.path()).expect("there is room");
        let mounted = Command::new("mount").args(args).arg(state.path()).stderr(Stdio::null()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { state });
        }
        skip("mount", "a file system can't be mounted here");
        None
    }

    fn fill(&self, bytes: usize) -> PathBuf {
        let path = self.state.path().join("filler");
        fs::write(&path, vec![0; bytes]).expect("there is as much");
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What can't be unmounted stays until the machine ends; the scenario has passed or failed by then.
        let _ = Command::new("umount").arg("-l").arg(self.state.path()).status();
    }
}

/// A `strace` on a running gateway.
pub(crate) struct Tracer {
    child: Child,
    out: PathBuf,
}

impl Tracer {
    pub(crate) fn on(gateway: &Gateway, args: &[&str]) -> Option<Self> {
        let out = gateway.state().root().join("strace.out");
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-p", &gateway.pid().to_string(), "-o"]).arg(&out).args(args);
        let Ok(mut child) = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn() else {
            skip("strace", STRACE);
            return None;
        };
        let mut has_ended = false;
        eventually("strace to have attached to every thread", || {
            has_ended = child.try_wait().expect("it is our child").is_some();
            (has_ended || is_traced(gateway.pid())).then_some(())
        });
        if has_ended {
            skip("strace", STRACE);
            return None;
        }
        Some(Self { child, out })
    }

    /// Lets the gateway go, and says what it has done.
    pub(crate) fn end(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it lives");
        self.child.wait().expect("it is our child");
        fs::read_to_string(&self.out).expect("it has written")
    }
}

fn is_traced(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    tasks.map(|task| task.expect("a thread").path().join("status")).all(|status| {
        // A thread may end meanwhile.
        fs::read_to_string(status).is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
    })
}

fn run(state: &State, args: &[&str]) -> Output {
    let path = state.path();
    kt(&[args, &["--state-dir", path.to_str().expect("temporary paths are UTF-8")]].concat())
}

fn all(state: &State) -> Vec<Json> {
    lines(&run(state, &["events", "tail", "--last", "1000000", "--all", "--json"]).stdout)
}

/// Every request is in the log or in a gap, every number is there once, and every byte is as it was written.
#[track_caller]
fn check(state: &State, asked: usize) {
    let records = all(state);
    for (nth, record) in (1..).zip(&records) {
        assert_eq!(record.count("seq"), nth, "{record:?}");
    }
    let decisions = records.iter().filter(|record| record.text("event_type") == "decision").count();
    let gaps: u64 =
        records.iter().filter(|record| record.text("event_type") == "gap").map(|gap| gap.count("count")).sum();
    assert_eq!(decisions as u64 + gaps, asked as u64, "{decisions} decisions, {gaps} in gaps");
    let verified = run(state, &["events", "verify"]);
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""), "{verified:?}");
}

fn segments(state: &State) -> Vec<PathBuf> {
    let entries = fs::read_dir(state.path().join("events")).expect("it is there");
    let mut segments: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    segments.sort();
    segments
}

fn gateway(vendor: &Vendor, events: &str) -> Gateway {
    let config = Config::openai(vendor, "", &format!("events: {events}\n"));
    Gateway::with(config).driver(Driver::Epoll).start()
}

#[test]
fn a_full_disk_refuses_requests_until_there_is_room_again() {
    let Some(disk) = Mounted::new("size=2m") else { return };
    let filler = disk.fill(MIB);
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).state(&disk.state).start();
    let mut asked = 0;
    let mut ask = || {
        asked += 1;
        let answer = gateway.client().ask(chat("chat"));
        if answer.status == 503 {
            assert!(answer.field("retry-after").is_some());
            assert_eq!(answer.error(503), "log_full");
        }
        answer.status
    };
    eventually("the disk to be full", || (ask() == 503).then_some(()));
    (0..20).for_each(|_| assert_eq!(ask(), 503, "it stays full"));
    fs::remove_file(filler).expect("it is ours");
    eventually("the log to have room again", || (ask() == 200).then_some(()));
    (0..20).for_each(|_| assert_eq!(ask(), 200));
    assert!(gateway.log().text().contains("no room: requests are refused"), "{}", gateway.log().text());
    gateway.stop();
    check(&disk.state, asked);
}

#[test]
fn a_full_disk_may_cost_records_instead_and_counts_them() {
    let Some(disk) = Mounted::new("size=2m") else { return };
    let filler = disk.fill(MIB);
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", "events: {when_full: drop}\n");
    let gateway = Gateway::with(config).state(&disk.state).start();
    let mut asked = 0;
    let mut ask = || {
        asked += 1;
        gateway.client().ask(chat("chat")).openai_completion();
    };
    eventually("the disk to be full", || {
        ask();
        gateway.log().text().contains("answered without a record").then_some(())
    });
    (0..20).for_each(|_| ask());
    fs::remove_file(filler).expect("it is ours");
    eventually("a gap to be in the log", || {
        ask();
        all(&disk.state).iter().any(|record| record.text("event_type") == "gap").then_some(())
    });
    gateway.stop();
    check(&disk.state, asked);
    assert!(
        all(&disk.state).iter().any(|record| record.text("event_type") == "gap" && record.text("action") == "drop")
    );
}

#[test]
fn a_disk_that_is_read_only_is_said_at_the_start() {
    let Some(disk) = Mounted::new("size=2m,ro") else { return };
    let vendor = Vendor::start(openai);
    let refused = Gateway::with(Config::openai(&vendor, "", "")).state(&disk.state).refused();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    assert!(refused.stderr.contains("Read-only file system"), "{refused:?}");
}

#[test]
fn writes_that_fail_are_tried_again_and_cost_no_record() {
    for error in ["ENOSPC", "EIO"] {
        let vendor = Vendor::start(openai);
        let gateway = gateway(&vendor, "{}");
        let state = Arc::clone(gateway.state());
        let segment = segments(&state).remove(0);
        let inject = format!("inject=write:error={error}:when=1..4");
        let path = segment.to_str().expect("temporary paths are UTF-8");
        let Some(tracer) = Tracer::on(&gateway, &["-P", path, "-e", "trace=write", "-e", &inject]) else { return };
        for _ in 0..20 {
            gateway.client().ask(chat("chat")).openai_completion();
        }
        gateway.log().find(|line| line.contains("Writing to the event log again")).expect("it goes on by itself");
        let trace = tracer.end();
        assert_eq!(trace.matches("(INJECTED)").count(), 4, "{trace}");
        assert!(gateway.log().text().contains("Can't write to the event log"));
        gateway.stop();
        check(&state, 20);
    }
}

#[test]
fn a_writer_that_is_behind_costs_patience_and_no_request() {
    // So small that there are a hundred slots, which are soon used up while each write takes 30 ms.
    let Some(disk) = Mounted::new("size=2m") else { return };
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).state(&disk.state).start();
    let segment = segments(&disk.state).remove(0);
    let path = segment.to_str().expect("temporary paths are UTF-8");
    let args = ["-P", path, "-e", "trace=write", "-e", "inject=write:delay_enter=30000"];
    let Some(tracer) = Tracer::on(&gateway, &args) else { return };
    thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                let mut client = gateway.client();
                (0..100).for_each(|_| drop(client.ask(chat("chat")).openai_completion()));
            });
        }
    });
    tracer.end();
    gateway.stop();
    check(&disk.state, 800);
    assert!(all(&disk.state).iter().all(|record| record.text("event_type") != "gap"));
}

#[test]
fn behind_a_sync_that_failed_the_records_go_to_a_new_segment() {
    let vendor = Vendor::start(openai);
    let gateway = gateway(&vendor, "{durability: synced}");
    let state = Arc::clone(gateway.state());
    let first = segments(&state).remove(0);
    let args = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=3"];
    let Some(tracer) = Tracer::on(&gateway, &args) else { return };
    for _ in 0..10 {
        gateway.client().ask(chat("chat")).openai_completion();
    }
    let trace = tracer.end();
    let first = first.to_str().expect("temporary paths are UTF-8");
    let of_first: Vec<&str> = trace.lines().filter(|line| line.contains(first)).collect();
    assert!(of_first.last().is_some_and(|line| line.contains("(INJECTED)")), "never synced again: {trace}");
    gateway.stop();
    assert_eq!(segments(&state).len(), 2);
    check(&state, 10);
}

#[test]
fn the_last_byte_of_an_answer_is_sent_when_its_record_is_on_the_disk() {
    for (durability, waits) in [("synced", true), ("written", false)] {
        let vendor = Vendor::start(openai);
        let gateway = gateway(&vendor, &format!("{{durability: {durability}}}"));
        let calls = "trace=fdatasync,write,writev,sendto,sendmsg";
        let Some(tracer) = Tracer::on(&gateway, &["-e", calls]) else { return };
        let mut client = gateway.client();
        for stream in ["", r#","stream":true"#] {
            client.ask(chat_of("chat", stream)).whole(200);
        }
        // A client has its byte before strace has noted that it went; what is asked behind it comes later.
        client.ask(request("GET /healthz", &[], None)).whole(200);
        let trace = tracer.end();
        // The bytes that go to the client, and what happened just before.
        let calls: Vec<&str> = trace.lines().filter(|line| !line.contains("---")).collect();
        let begins = calls.iter().find(|call| call.contains("\"HTTP/1.1 200 OK")).expect("the client is answered");
        let own = begins.split(['(', ',']).nth(1).expect("the descriptor");
        let last_bytes: Vec<usize> =
            (0..calls.len()).filter(|&at| calls[at].contains(own) && calls[at].ends_with(" = 1")).collect();
        let synced = |at: usize| {
            let before = calls[..at].iter().rfind(|call| call.contains(own) || call.contains("fdatasync"));
            before.is_some_and(|call| call.contains("fdatasync") && call.ends_with(" = 0"))
        };
        match waits {
            true => {
                assert_eq!(last_bytes.len(), 2, "{trace}");
                assert!(last_bytes.iter().all(|&at| synced(at)), "{trace}");
            }
            false => assert!(last_bytes.is_empty() && !trace.contains("fdatasync"), "{trace}"),
        }
        gateway.stop();
    }
}

#[test]
fn a_segment_that_is_deleted_is_missed_and_the_log_goes_on() {
    let vendor = Vendor::start(openai);
    let gateway = gateway(&vendor, "{}");
    let state = Arc::clone(gateway.state());
    for _ in 0..3 {
        gateway.client().ask(chat("chat")).openai_completion();
    }
    gateway.events(3);
    fs::remove_file(segments(&state).remove(0)).expect("it is there");
    for _ in 0..4 {
        gateway.client().ask(chat("chat")).openai_completion();
    }
    assert_eq!(gateway.stop().len(), 4);
    let seqs: Vec<u64> = all(&state).iter().map(|record| record.count("seq")).collect();
    assert_eq!(seqs, [5, 6, 7, 8]);
    assert_eq!(run(&state, &["events", "verify"]).code, Some(1));
}
