//! The decision log: how a core's closed records become lines of a file, and how those are read again.
//!
//! Each core has a [`Quill`] that leaves its records in a [`ring`], in memory that outlives the process. One thread, the
//! [`writer`], numbers and formats them and appends what there is with a single `write` to the present segment (a
//! [`journal`] with its [`index`]). What bounds the memory and the disk is a promise made beforehand: a core reserves a
//! [`Slot`] before a vendor is asked, and it is free again when the record is in the file. A disk that refuses therefore
//! costs no record: the slots run out, and requests are refused, or answered without a decision, and counted.
//!
//! A start first completes what the one before left ([`recover`]). [`reader`] and [`verify`] are what `kt events` uses, and need
//! no gateway.

pub mod reader;
pub mod verify;

mod disk;
mod index;
mod journal;
mod keep;
mod line;
mod map;
#[cfg(test)]
mod model;
mod quill;
mod recover;
mod ring;
#[cfg(test)]
mod sample;
mod segment;
mod source;
mod writer;

pub use quill::{Push, Quill, Slot};

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{error, fmt};

use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::utils::CachePadded;
use kt_core::config::plan::{Durability, Plan};
use kt_core::event::{Previous, Stamp};
use kt_core::limits::{EVENT_QUEUE_LEN, EVENT_RING_BYTES, EVENT_RING_SHARE, EVENT_SLOTS_MIN};
use rustix::fs::statvfs;

use crate::clock::Clock;
use crate::rt::BellPull;
use crate::state::StateDir;
use disk::{Dir, Disk};
use index::Chain;
use journal::{Journal, Reach};
use keep::Keeper;
use recover::{Recovered, recover, this_boot};
use ring::{Consumer, Owner, Producer, Ring, SLOT_WORDS};
use segment::Segment;
use writer::{Desk, Now, Patience, Writer};

/// The log of this run, from the process's side.
#[derive(Debug)]
pub struct Ledger {
    outbox: Sender<Message>,
    shared: Arc<Shared>,
    writer: JoinHandle<Result<(), GivenUp>>,
    rings: Vec<PathBuf>,
}

/// Records that are not in the log as the process ends, since the disk kept refusing them. They are in the rings, and the
/// next start writes them.
#[derive(Debug)]
pub struct GivenUp {
    /// How many.
    pub records: u64,
    /// The file that didn't take them.
    pub path: PathBuf,
    /// What the system said last.
    pub source: io::Error,
}

/// The log can't be written just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck;

/// How the log does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// From a decision's end to its line in the kernel (or on the disk, if it is `synced`): the longest of the last
    /// write, ns.
    pub lag_ns: u64,
    /// The longest since the start, ns.
    pub lag_ns_max: u64,
    /// Requests that are counted in `lost` records which this start wrote.
    pub lost: u64,
    /// Requests that are counted in `gap` records since the start.
    pub gaps: u64,
    /// Whether the disk has no room for as many records as there might be.
    pub short_of_room: bool,
}

/// What goes to the writer.
#[derive(Debug)]
enum Message {
    /// There is something in the rings.
    Look,
    /// A plan is in force.
    Config { plan: Arc<Plan>, at_ns: u64, previous: Option<Previous>, told: Announced },
}

/// A `config` record on its way, and who waits for it.
#[derive(Debug)]
struct Announced {
    withdrawn: Arc<AtomicU8>,
    done: Sender<()>,
}

/// What the writer and the cores both touch.
#[derive(Debug)]
struct Shared {
    cores: Box<[CachePadded<Core>]>,
    /// The writer has been told to look, and hasn't yet.
    told: AtomicBool,
    /// The process ends: there is no patience any more with a disk that refuses.
    closing: AtomicBool,
    short: AtomicBool,
    lag_ns: AtomicU64,
    lag_ns_max: AtomicU64,
    lost: AtomicU64,
    gaps: AtomicU64,
}

/// One core's part of it. All of these only grow.
#[derive(Debug, Default)]
struct Core {
    /// Slots that the disk has room for; only the writer stores here.
    granted: AtomicU64,
    /// Up to which of its records they are as far as they have to be; only the writer stores here.
    durable: AtomicU64,
    /// Which of its records somebody waits for; only the core stores here.
    wanted: AtomicU64,
    /// Rung when what is waited for is there.
    bell: OnceLock<BellPull>,
}

impl Ledger {
    /// Completes what the last run left, opens the log's next epoch in the state directory and starts its writer. Returns
    /// one quill per core, in order. The epoch's first record says which plan is in force.
    ///
    /// # Errors
    /// The directory or a file can't be made, there is no room, or the thread can't be started. The text says so, with the
    /// path.
    pub fn start(state: &StateDir, cores: usize, plan: &Arc<Plan>, clock: Clock) -> io::Result<(Self, Vec<Quill>)> {
        let dir = state.events();
        Self::start_in(&dir, cores, plan, clock).map_err(|error| {
            io::Error::new(error.kind(), format!("can't open the event log in {}: {error}", dir.display()))
        })
    }

    fn start_in(dir: &Path, cores: usize, plan: &Arc<Plan>, clock: Clock) -> io::Result<(Self, Vec<Quill>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let boot = this_boot();
        let Recovered { log_epoch, previous, torn, lost } = recover(dir, boot)?;
        let stamp = Stamp { log_epoch, seq: 1, wall_start_ns: clock.start_unix_ns(), salt: fastrand::u16(..) };
        let (slots, ring_bytes) = ring_size(dir, cores, plan)?;
        let shared = Arc::new(Shared::new(cores));
        shared.lost.store(lost, Ordering::Relaxed);
        let (outbox, inbox) = bounded(EVENT_QUEUE_LEN);
        let mut rings = Vec::with_capacity(cores);
        let (mut quills, mut consumers) = (Vec::with_capacity(cores), Vec::with_capacity(cores));
        for core in 0..cores {
            let (wall_start_ns, salt) = (stamp.wall_start_ns, stamp.salt);
            let owner = Owner { log_epoch, core: core as u32, wall_start_ns, salt, boot };
            let ring = Arc::new(Ring::create(dir, owner, slots, ring_bytes)?);
            rings.push(dir.join(owner.file_name()));
            consumers.push(Consumer::new(Arc::clone(&ring)));
            quills.push(Quill::new(core, Producer::new(ring), outbox.clone(), Arc::clone(&shared)));
        }
        Dir(dir.to_owned()).sync()?;
        let reach = match plan.events.durability {
            Durability::Synced => Reach::Disk,
            Durability::Written | Durability::Relaxed => Reach::Kernel,
        };
        let segment = Segment { log_epoch, first_seq: 1 };
        let mut writer = Writer::new(Desk {
            journal: Journal::begin(Dir(dir.to_owned()), segment, Chain::default(), reach)?,
            keeper: Keeper::new(dir.to_owned()),
            settings: plan.events.clone(),
            stamp,
            rings: consumers,
            inbox,
            shared: Arc::clone(&shared),
            patience: Patience::default(),
            time: Box::new(move || now(clock)),
        });
        let (told, _) = Announced::new();
        writer.hear(Message::Config { plan: Arc::clone(plan), at_ns: clock.now_ns(), previous, told });
        for torn in torn {
            writer.say_torn(&torn, clock.now_ns());
        }
        // The cores' first slots.
        writer.grant();
        let writer = thread::Builder::new().name("kt-ledger".into()).spawn(move || writer.run())?;
        let ledger = Self { outbox, shared, writer, rings };
        Ok((ledger, quills))
    }

    /// How the log does.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            lag_ns: self.shared.lag_ns.load(Ordering::Relaxed),
            lag_ns_max: self.shared.lag_ns_max.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
            gaps: self.shared.gaps.load(Ordering::Relaxed),
            short_of_room: self.shared.short.load(Ordering::Relaxed),
        }
    }

    /// Records that `plan` is in force from `now_ns` on. To be called before any core has it: its record is in the log when
    /// this returns, and so stands before those that refer to it. Not for a core's own thread: it waits, at most a second.
    ///
    /// # Errors
    /// [`Stuck`]: the log can't be written, and the plan should not be used.
    pub fn config(&self, plan: &Arc<Plan>, now_ns: u64) -> Result<(), Stuck> {
        let (told, done) = Announced::new();
        let withdrawn = Arc::clone(&told.withdrawn);
        let message = Message::Config { plan: Arc::clone(plan), at_ns: now_ns, previous: None, told };
        let patience = Duration::from_secs(1);
        let sent = self.outbox.send_timeout(message, patience);
        if sent.is_ok() && done.recv_timeout(patience).is_ok() {
            return Ok(());
        }
        match withdrawn.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Err(Stuck),
            // The writer has it in hand: it may be there by now. Else it will be, though the plan isn't used; the record
            // says no more than that it might be.
            Err(_) => done.try_recv().map_err(|_| Stuck),
        }
    }

    /// Waits until every record is in the file. To be called when all quills are gone; it waits for them too.
    ///
    /// # Errors
    /// [`GivenUp`], when the disk has refused for five seconds more.
    ///
    /// # Panics
    /// If the writer did.
    pub fn shutdown(self) -> Result<(), GivenUp> {
        self.shared.closing.store(true, Ordering::Relaxed);
        drop(self.outbox);
        self.writer.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        for ring in self.rings {
            // One that stays is empty, and the next start removes it.
            let _ = fs::remove_file(ring);
        }
        Ok(())
    }
}

/// How many slots and how many bytes for records each core's ring has: what the bounds ask for, or less on a small disk.
fn ring_size(dir: &Path, cores: usize, plan: &Plan) -> io::Result<(usize, usize)> {
    let slot_bytes = (SLOT_WORDS * size_of::<u64>()) as u64;
    let free = statvfs(dir)?;
    let share = free.f_bavail.saturating_mul(free.f_frsize) / EVENT_RING_SHARE / cores.max(1) as u64;
    let wanted = plan.limits.in_flight_max as u64;
    // A slot takes its draft and, in the ring, as much again. A quarter is left for what waits.
    let slots = wanted.min(share * 3 / 8 / slot_bytes).max(EVENT_SLOTS_MIN);
    let for_slots = (slots + 2) * slot_bytes;
    let spare = (EVENT_RING_BYTES as u64).min(share.saturating_sub(slots * slot_bytes + for_slots));
    Ok((slots as usize, (for_slots + spare) as usize))
}

fn now(clock: Clock) -> Now {
    // A wall clock before 1970 is as wrong as one of 1970.
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono_ns: clock.now_ns(), wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX) }
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Announced {
    fn new() -> (Self, Receiver<()>) {
        let (done, waits) = bounded(1);
        (Self { withdrawn: Arc::new(AtomicU8::new(WAITING)), done }, waits)
    }

    /// Whether nobody wants it any more. If so, it stays like that; if not, it can't be withdrawn any more.
    fn is_withdrawn(&self) -> bool {
        self.withdrawn.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_err()
    }

    fn tell(self) {
        // Whoever waited may have stopped.
        let _ = self.done.try_send(());
    }
}

impl Shared {
    fn new(cores: usize) -> Self {
        Self {
            cores: (0..cores).map(|_| CachePadded::default()).collect(),
            told: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            short: AtomicBool::new(false),
            lag_ns: AtomicU64::new(0),
            lag_ns_max: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
        }
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} record(s) could not be written to {}: {}; they are kept, and the next start writes them",
            self.records,
            self.path.display(),
            self.source
        )
    }
}

/// Without a source: what the system said is part of the line.
impl error::Error for GivenUp {}

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

    /// Numbers that a test's cores publish have to be flushed by hand, at the latest by dropping the quill.
    fn clock() -> Clock {
        Clock::start()
    }

    #[test]
    fn records_of_several_cores_get_numbers_without_gaps_and_keep_their_order() {
        const EACH: u64 = 1_000;
        let dir = tempdir().unwrap();
        let (state, _lock) = StateDir::open(Some(dir.path())).unwrap();
        let plan = sample::plan(1);
        let (ledger, quills) = Ledger::start(&state, 3, &plan, clock()).unwrap();
        thread::scope(|scope| {
            for (core, mut quill) in quills.into_iter().enumerate() {
                let plan = &plan;
                scope.spawn(move || {
                    for at_ns in 1..=EACH {
                        let slot = quill.reserve().unwrap();
                        let (push, number) = quill.push(slot, &sample::event(core as u32, at_ns), plan);
                        assert_eq!(number, at_ns);
                        if matches!(push, Push::Armed(_)) && at_ns % 7 == 0 {
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
            let (ledger, quills) = Ledger::start(&state, 1, &sample::plan(1), clock()).unwrap();
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
        let error = Ledger::start(&state, 1, &sample::plan(1), clock()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("can't open the event log in {}: ", state.events().display())), "{error}");
    }

    #[test]
    fn a_plan_is_recorded_before_the_decisions_that_it_made() {
        let dir = tempdir().unwrap();
        let (state, _lock) = StateDir::open(Some(dir.path())).unwrap();
        let (old, new) = (sample::plan(1), sample::plan(2));
        let (ledger, mut quills) = Ledger::start(&state, 1, &old, clock()).unwrap();
        let quill = &mut quills[0];
        for (at_ns, plan) in [(1, &old), (2, &new), (3, &old)] {
            if at_ns == 2 {
                ledger.config(&new, 2).unwrap();
            }
            let slot = quill.reserve().unwrap();
            let _armed = quill.push(slot, &sample::event(0, at_ns), plan);
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
