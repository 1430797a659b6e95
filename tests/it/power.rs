//! How the log gets through a power cut: a file system of the gateway's own goes down under load, and what had not been
//! flushed to its disk is gone. Then the next start reads what a machine would find behind the cut.
//!
//! The disk is an image with ext4 on it, and the cut is the kernel's own: the request by which file systems are tested
//! stops it at once, without another write. It needs the right to mount. `KT_POWER_ROUNDS=50` runs the long form.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use rustix::process::Signal;

use crate::crash::{all, check_numbers, of_type, under_load};
use crate::disk::{Mounted, Tracer};
use crate::harness::{Config, Gateway, Json, State, Vendor, kt, openai, skip};

/// Sparse: what is never written takes no room.
const DISK_BYTES: u64 = 64 * 1_024 * 1_024;
/// At a word, `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH` (Linux, fs/ext4/ext4.h).
const CUT: &str = "import fcntl, os, struct, sys
disk = os.open(sys.argv[1], os.O_RDONLY)
print('ready', flush=True)
sys.stdin.readline()
fcntl.ioctl(disk, 0x8004587d, struct.pack('I', 2))";

/// A disk with a state directory on it.
struct Disk {
    mounted: Mounted,
    image: PathBuf,
}

impl Disk {
    fn new() -> Option<Self> {
        let state = State::new();
        let image = state.write("disk", "");
        let file = fs::OpenOptions::new().write(true).open(&image).expect("it is ours");
        file.set_len(DISK_BYTES).expect("it takes no room");
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).stderr(Stdio::null()).status();
        if !made.is_ok_and(|status| status.success()) {
            skip("mount", "there is no mkfs.ext4 here");
            return None;
        }
        let cutter = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if cutter.is_err() {
            skip("python3", "there is no python3 here to cut a disk's power with");
            return None;
        }
        Self::mount(state, image)
    }

    fn mount(state: Arc<State>, image: PathBuf) -> Option<Self> {
        let args = ["-t", "ext4", "-o", "loop", utf8(&image)];
        Some(Self { mounted: Mounted::on(state, &args)?, image })
    }

    fn state(&self) -> &Arc<State> {
        &self.mounted.state
    }

    /// The power goes. Returns when that was: from then on, nothing may be relied on.
    fn cut(&self) -> Instant {
        let mut cutter = Command::new("python3");
        cutter.args(["-c", CUT]).arg(self.state().path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut cutter = cutter.spawn().expect("python3 can be run");
        let mut said = String::new();
        BufReader::new(cutter.stdout.take().expect("it is piped"))
            .read_line(&mut said)
            .expect("it says that it is ready");
        let moment = Instant::now();
        drop(cutter.stdin.take());
        let status = cutter.wait().expect("it is our child");
        assert!(status.success(), "ext4 can be shut down by whoever may mount it");
        moment
    }

    /// The disk as it is now, behind another mount: what the next boot finds.
    fn found_by_the_next_boot(&self) -> Self {
        let state = State::new();
        let image = state.root().join("disk");
        fs::copy(&self.image, &image).expect("there is room");
        Self::mount(state, image).expect("this one could be mounted")
    }
}

/// What a power cut left.
struct Behind {
    read_whole: HashSet<String>,
    logged: HashSet<String>,
    records: Vec<Json>,
}

impl Behind {
    /// Answers that were read whole, and that the log doesn't know.
    fn missing(&self) -> Vec<&String> {
        self.read_whole.difference(&self.logged).collect()
    }
}

/// Cuts the power of a gateway under load, and starts another on what the disk has. `traced` is what is done to the
/// first one's system calls.
fn cut_under_load(round: u64, events: &str, traced: &[&str]) -> Option<Behind> {
    let disk = Disk::new()?;
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", &format!("events: {events}\n"));
    let mut gateway = Gateway::with(config.clone()).state(disk.state()).cores(2).start();
    let tracer = if traced.is_empty() { None } else { Some(Tracer::on(&gateway, traced)?) };
    let mut moment = Instant::now();
    let known = under_load(gateway.address(), &round.to_string(), || {
        moment = disk.cut();
        gateway.signal(Signal::KILL);
        gateway.exit_code();
    });
    if let Some(tracer) = tracer {
        tracer.end();
    }
    let disk = disk.found_by_the_next_boot();
    // A start is what recovers; it need not serve.
    drop(Gateway::with(config).state(disk.state()).in_another_boot().start().stop());

    let records = all(disk.state());
    check_numbers(&records);
    let mut logged = HashSet::new();
    for decision in of_type(&records, "decision") {
        assert!(logged.insert(decision.text("request_id")), "twice: {decision:?}");
    }
    let lost = of_type(&records, "lost");
    assert!(
        lost.len() == 1 && lost[0].is("at_least"),
        "whatever is missing, it is said that something may be: {lost:?}"
    );
    let path = disk.state().path();
    let verified = kt(&["events", "verify", "--state-dir", utf8(&path)]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    // A machine without power answers nobody. This one does for a moment, and while ext4 goes down an `fdatasync` under
    // way may return well though it has come to nothing.
    let read_whole = known.read_whole.into_iter().filter(|(_, read)| *read < moment).map(|(id, _)| id).collect();
    Some(Behind { read_whole, logged, records })
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

#[test]
fn what_is_synced_before_it_is_answered_is_there_behind_a_power_cut() {
    let rounds = env::var("KT_POWER_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
    let (mut answers, mut torn) = (0, 0);
    for round in 0..rounds {
        // Small segments: that a new one is in its directory has to be on the disk, too.
        let events = "{durability: synced, rotation: {bytes_max: 65536}}";
        let Some(behind) = cut_under_load(round, events, &[]) else { return };
        assert_eq!(behind.missing(), Vec::<&String>::new(), "of {} answers", behind.read_whole.len());
        answers += behind.read_whole.len();
        torn += of_type(&behind.records, "torn").len();
    }
    assert!(answers as u64 > rounds * 10, "there was hardly any load");
    eprintln!("{rounds} power cuts: {answers} answers read whole, each in the log; {torn} ends of segments set aside");
}

/// The same rounds with an `fdatasync` that does nothing: what the test above tells from the real one.
#[test]
fn with_syncs_that_do_nothing_the_same_rounds_miss_records() {
    let nothing = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:retval=0"];
    for round in 0..10 {
        let Some(behind) = cut_under_load(round, "{durability: synced}", &nothing) else { return };
        if !behind.missing().is_empty() {
            return;
        }
    }
    panic!("nobody missed what had not been on the disk");
}

#[test]
fn what_a_power_cut_took_of_a_log_that_is_not_synced_is_said() {
    let Some(behind) = cut_under_load(0, "{durability: written}", &[]) else { return };
    assert!(!behind.missing().is_empty(), "it had been on no disk");
}
