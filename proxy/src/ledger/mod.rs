//! The decision log: how a core's closed records become lines of a file, and how those are read again.
//!
//! Each core has a [`Quill`] that collects its records in batches. One thread, the writer, numbers and formats them and
//! appends each batch with a single `write`. Between them stands one bounded channel; nothing waits on it but the
//! writer. What bounds the memory is a promise made beforehand: a core reserves a [`Slot`] before a vendor is asked,
//! and gets it back when the record is in the file. A disk that refuses therefore costs no record while the process
//! lives: the slots run out, and the gateway refuses requests and counts them.
//!
//! [`reader`] is what `kt events tail` uses. It needs no gateway.

pub mod reader;

mod quill;
#[cfg(test)]
mod sample;
mod segment;
mod writer;

pub use quill::{Push, Quill, Slot};

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{error, fmt};

use crossbeam::channel::{Sender, bounded};
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use kt_core::config::plan::Plan;
use kt_core::event::{Event, Shed, Stamp};
use kt_core::limits::EVENT_QUEUE_LEN;

use crate::state::StateDir;
use segment::Segment;
use writer::{Patience, Writer};

/// The log of this run, from the process's side.
#[derive(Debug)]
pub struct Ledger {
    outbox: Sender<Message>,
    shared: Arc<Shared>,
    writer: JoinHandle<Result<(), Lost>>,
}

/// The moment 0 of the events' clock, which is monotonic.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What the wall clock said then, ns since 1970.
    pub wall_start_ns: u64,
    /// How long ago it is, ns.
    pub now_ns: u64,
}

/// Records that were given up when the process ended, since the disk kept refusing them.
#[derive(Debug)]
pub struct Lost {
    /// How many.
    pub records: u64,
    /// The file that didn't take them.
    pub path: PathBuf,
    /// What the system said last.
    pub source: io::Error,
}

/// The queue was full for a second: the disk refuses, or is far too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck;

/// What goes to the writer.
#[derive(Debug)]
enum Message {
    Batch(Batch),
    Shed(Shed),
    Config { plan: Arc<Plan>, at_ns: u64 },
}

/// Closed records of one core and one plan.
#[derive(Debug)]
struct Batch {
    core: usize,
    plan: Arc<Plan>,
    events: Vec<Event>,
}

/// What the writer and the cores both touch.
#[derive(Debug)]
struct Shared {
    /// Per core: how many of its records are in the file. Only the writer counts here, once per write.
    written: Box<[CachePadded<AtomicU64>]>,
    /// Emptied batches on their way back to whichever core needs one.
    spares: ArrayQueue<Vec<Event>>,
    /// What the queue had no room for when a core ended. The writer takes it last.
    leftovers: Mutex<Vec<Message>>,
    /// The process ends: there is no patience any more with a disk that refuses.
    closing: AtomicBool,
}

impl Ledger {
    /// Opens the log's next epoch in the state directory and starts its writer. Returns one quill per core, in order.
    /// The epoch's first record says which plan is in force.
    ///
    /// # Errors
    /// The directory or the file can't be made, or the thread can't be started. The text says so, with the path.
    pub fn start(state: &StateDir, cores: usize, plan: &Arc<Plan>, clock: Clock) -> io::Result<(Self, Vec<Quill>)> {
        let dir = state.events();
        Self::start_in(&dir, cores, plan, clock).map_err(|error| {
            io::Error::new(error.kind(), format!("can't open the event log in {}: {error}", dir.display()))
        })
    }

    fn start_in(dir: &Path, cores: usize, plan: &Arc<Plan>, clock: Clock) -> io::Result<(Self, Vec<Quill>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let newest = Segment::list(dir)?.last().map_or(0, |segment| segment.log_epoch);
        let log_epoch = newest.checked_add(1).ok_or_else(|| io::Error::other("no number is left for this start"))?;
        let segment = Segment { log_epoch, first_seq: 1 };
        let file = segment.create(dir)?;

        let stamp = Stamp { log_epoch, seq: 1, wall_start_ns: clock.wall_start_ns, salt: fastrand::u16(..) };
        let shared = Arc::new(Shared::new(cores));
        let (outbox, inbox) = bounded(EVENT_QUEUE_LEN);
        let path = dir.join(segment.file_name());
        let writer = Writer::new(file, path, stamp, inbox, Arc::clone(&shared), Patience::default());
        let writer = thread::Builder::new().name("kt-ledger".into()).spawn(move || writer.run())?;

        let quills = (0..cores).map(|core| Quill::new(core, outbox.clone(), Arc::clone(&shared), plan)).collect();
        let ledger = Self { outbox, shared, writer };
        ledger.config(plan, clock.now_ns).expect("the queue is empty: no core has begun");
        Ok((ledger, quills))
    }

    /// Records that `plan` is in force from `now_ns` on. To be called before any core has it, so that its record comes
    /// before those that refer to it. Not for a core's own thread: it waits, at most a second.
    ///
    /// # Errors
    /// [`Stuck`]: nothing is recorded.
    pub fn config(&self, plan: &Arc<Plan>, now_ns: u64) -> Result<(), Stuck> {
        let message = Message::Config { plan: Arc::clone(plan), at_ns: now_ns };
        self.outbox.send_timeout(message, Duration::from_secs(1)).map_err(|_| Stuck)
    }

    /// Waits until every record is in the file. To be called when all quills are gone; it waits for them too.
    ///
    /// # Errors
    /// [`Lost`], when the disk has refused for five seconds more.
    ///
    /// # Panics
    /// If the writer did.
    pub fn shutdown(self) -> Result<(), Lost> {
        self.shared.closing.store(true, Ordering::Relaxed);
        drop(self.outbox);
        self.writer.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Shared {
    fn new(cores: usize) -> Self {
        Self {
            written: (0..cores).map(|_| CachePadded::default()).collect(),
            spares: ArrayQueue::new(4 * cores.max(1)),
            leftovers: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} record(s) of the log are lost: {} can't be written: {}",
            self.records,
            self.path.display(),
            self.source
        )
    }
}

/// Without a source: what the system said is part of the line.
impl error::Error for Lost {}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event log can't be written")
    }
}

impl error::Error for Stuck {}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use simd_json::prelude::*;
    use tempfile::tempdir;

    use super::*;

    const CLOCK: Clock = Clock { wall_start_ns: 1_795_343_806_000_000_000, now_ns: 5_000_000 };

    #[test]
    fn records_of_several_cores_get_numbers_without_gaps_and_keep_their_order() {
        const EACH: u64 = 1_000;
        let dir = tempdir().unwrap();
        let (state, _lock) = StateDir::open(Some(dir.path())).unwrap();
        let plan = sample::plan(1);
        let (ledger, quills) = Ledger::start(&state, 3, &plan, CLOCK).unwrap();
        thread::scope(|scope| {
            for (core, mut quill) in quills.into_iter().enumerate() {
                let plan = &plan;
                scope.spawn(move || {
                    for at_ns in 1..=EACH {
                        let slot = quill.reserve().unwrap();
                        if quill.push(slot, sample::event(core as u32, at_ns), plan) == Push::Armed && at_ns % 7 == 0 {
                            assert_eq!(quill.flush(), Push::Sent);
                        }
                    }
                });
            }
        });
        ledger.shutdown().unwrap();

        let text = fs::read_to_string(state.events().join("events-00000001-0000000000000001.jsonl")).unwrap();
        let mut of_core = [0; 3];
        for (seq, line) in (1..).zip(text.lines()) {
            let mut line = line.to_owned().into_bytes();
            let record = simd_json::to_borrowed_value(&mut line).unwrap();
            assert_eq!(record["seq"], seq);
            assert_eq!(record["log_epoch"], 1);
            if seq == 1 {
                assert_eq!(record["event_type"], "config");
                assert_eq!(record["timestamp"], "2026-11-22T10:36:46.005000Z");
                continue;
            }
            let seen = &mut of_core[record["core"].as_usize().unwrap()];
            *seen += 1;
            assert_eq!(record["request_id"], format!("r-{seen}"));
        }
        assert_eq!(of_core, [EACH; 3]);
    }

    #[test]
    fn each_start_begins_an_epoch_in_a_private_file_of_its_own() {
        let dir = tempdir().unwrap();
        let (state, _lock) = StateDir::open(Some(dir.path())).unwrap();
        for epoch in 1..=3 {
            let (ledger, quills) = Ledger::start(&state, 1, &sample::plan(1), CLOCK).unwrap();
            drop(quills);
            ledger.shutdown().unwrap();
            let path = state.events().join(format!("events-{epoch:08}-0000000000000001.jsonl"));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        }
        assert_eq!(fs::metadata(state.events()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_log_that_can_not_be_opened_is_said_with_its_path() {
        let dir = tempdir().unwrap();
        let (state, _lock) = StateDir::open(Some(dir.path())).unwrap();
        fs::write(state.events(), "").unwrap();
        let error = Ledger::start(&state, 1, &sample::plan(1), CLOCK).unwrap_err().to_string();
        assert!(error.starts_with(&format!("can't open the event log in {}: ", state.events().display())), "{error}");
    }

    #[test]
    fn a_plan_is_recorded_before_the_decisions_that_it_made() {
        let dir = tempdir().unwrap();
        let (state, _lock) = StateDir::open(Some(dir.path())).unwrap();
        let (old, new) = (sample::plan(1), sample::plan(2));
        let (ledger, mut quills) = Ledger::start(&state, 1, &old, CLOCK).unwrap();
        let quill = &mut quills[0];
        for (at_ns, plan) in [(1, &old), (2, &new), (3, &old)] {
            if at_ns == 2 {
                ledger.config(&new, 2).unwrap();
            }
            let slot = quill.reserve().unwrap();
            assert_eq!(quill.push(slot, sample::event(0, at_ns), plan), Push::Armed);
        }
        drop(quills);
        ledger.shutdown().unwrap();

        let text = fs::read_to_string(state.events().join("events-00000001-0000000000000001.jsonl")).unwrap();
        let mut recorded = Vec::new();
        for line in text.lines() {
            let mut line = line.to_owned().into_bytes();
            let record = simd_json::to_borrowed_value(&mut line).unwrap();
            recorded.push((record["event_type"].to_string(), record["config_version"].to_string()));
        }
        let configs: Vec<usize> = (0..recorded.len()).filter(|&at| recorded[at].0 == "config").collect();
        for (at, (event_type, version)) in recorded.iter().enumerate() {
            let known = configs.iter().any(|&config| config <= at && recorded[config].1 == *version);
            assert!(known, "{event_type} {at} of {version} in {recorded:?}");
        }
        assert_eq!(configs.len(), 2);
        assert_eq!(recorded.len(), 5);
    }
}
