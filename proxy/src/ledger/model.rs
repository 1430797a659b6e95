//! The log as a whole against a model: random sequences of requests, of writes to a disk that takes a part, refuses or
//! fails to sync, of clocks that jump, crashes and power cuts, and the next starts. Whatever happens, each request has one
//! decision or is counted once; behind a power cut, what had to be on the disk is there, and whatever isn't is said.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::mem;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use kt_core::event::WhenFull;
use proptest::collection::vec;
use proptest::prelude::*;
use simd_json::prelude::*;
use tempfile::TempDir;

use super::disk::Append;
use super::verify::verify;
use super::*;

const CORES: usize = 2;
/// Few, so that they run out.
const SLOTS: usize = 8;
const RING_BYTES: usize = (SLOTS + 6) * SLOT_WORDS * 8;
/// A few dozen records.
const SEGMENT_BYTES: u64 = 16 * 1_024;
const BOOT: u64 = 7;
const WALL_START_NS: u64 = 1_795_343_806_000_000_000;

/// What may happen.
#[derive(Clone, Debug)]
enum Op {
    /// A request comes to this core.
    Ask(usize),
    /// Of those in flight, this one's answer goes out.
    Draft(usize),
    /// This one's record closes.
    Close(usize),
    Flush(usize),
    /// The writer's turn, on a disk that does this first.
    Write(Vec<Fate>),
    /// The wall clock jumps by so many seconds.
    Jump(i64),
    /// The process dies.
    Crash,
    /// The machine does; of what was not synced, so many parts of 255 are on the disk.
    PowerCut(u8),
}

/// What a disk does when it is asked to take or sync something.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Well,
    /// It takes so many parts of 256.
    Short(u8),
    Full,
    SyncFails,
}

#[derive(Debug, Default)]
struct Fates {
    next: VecDeque<Fate>,
    /// How much of each file is on the disk for certain.
    synced: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
struct Faulty {
    dir: Dir,
    fates: Arc<Mutex<Fates>>,
}

#[derive(Debug)]
struct FaultyFile {
    name: String,
    file: File,
    fates: Arc<Mutex<Fates>>,
}

impl Disk for Faulty {
    type File = FaultyFile;

    fn create(&self, name: &str) -> io::Result<FaultyFile> {
        let mut fates = self.fates.lock().unwrap();
        if let Some(Fate::Full) = fates.next.front() {
            fates.next.pop_front();
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = self.dir.create(name)?;
        fates.synced.insert(name.to_owned(), 0);
        Ok(FaultyFile { name: name.to_owned(), file, fates: Arc::clone(&self.fates) })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.fates.lock().unwrap().synced.remove(name);
        self.dir.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.path()
    }
}

impl Append for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut fates = self.fates.lock().unwrap();
        let taken = match fates.next.front() {
            Some(Fate::Short(parts)) => bytes.len() * usize::from(*parts) / 256,
            Some(Fate::Full) => {
                fates.next.pop_front();
                return Err(io::ErrorKind::StorageFull.into());
            }
            Some(Fate::Well | Fate::SyncFails) | None => bytes.len(),
        };
        if !matches!(fates.next.front(), Some(Fate::SyncFails)) {
            fates.next.pop_front();
        }
        self.file.append(&bytes[..taken])
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        let mut fates = self.fates.lock().unwrap();
        let synced = fates.synced.entry(self.name.clone()).or_default();
        *synced = (*synced).min(len);
        self.file.cut(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut fates = self.fates.lock().unwrap();
        if let Some(Fate::SyncFails) = fates.next.front() {
            fates.next.pop_front();
            return Err(io::Error::other("input/output error"));
        }
        fates.synced.insert(self.name.clone(), self.file.metadata()?.len());
        Ok(())
    }

    fn reserve(&mut self, len: u64, end: u64) -> io::Result<()> {
        self.file.reserve(len, end)
    }

    fn forget(&self, _from: u64, _to: u64) -> bool {
        true
    }

    fn has_name(&self) -> io::Result<bool> {
        self.file.has_name()
    }
}

/// A request in flight.
struct Open {
    id: u64,
    core: usize,
    slot: Slot,
}

/// A gateway's log, from one start to the next.
struct Run {
    quills: Vec<Quill>,
    writer: Writer<Faulty>,
    shared: Arc<Shared>,
    open: Vec<Open>,
    /// Closed: who, on which core, as which of its records.
    closed: Vec<(u64, usize, u64)>,
}

/// The model, and the log that it is held against.
struct World {
    dir: TempDir,
    plan: Arc<Plan>,
    fates: Arc<Mutex<Fates>>,
    /// Monotonic and wall time, ns.
    clock: Arc<(AtomicU64, AtomicU64)>,
    asked: u64,
    /// Who has to have a decision.
    owed: HashSet<u64>,
    power_cuts: u64,
    run: Run,
}

impl World {
    fn new(durability: Durability) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = sample::plan(1);
        let settings = &mut Arc::get_mut(&mut plan).unwrap().events;
        settings.durability = durability;
        settings.rotation.bytes_max = SEGMENT_BYTES;
        let fates = Arc::new(Mutex::new(Fates::default()));
        let clock = Arc::new((AtomicU64::new(1), AtomicU64::new(WALL_START_NS)));
        let run = Run::start(dir.path(), &plan, &fates, &clock, BOOT);
        Self { dir, plan, fates, clock, asked: 0, owed: HashSet::new(), power_cuts: 0, run }
    }

    fn tick(&self) -> u64 {
        // A second: the writer looks after its segments and the clock each time.
        self.clock.1.fetch_add(1_000_000_000, Ordering::Relaxed);
        self.clock.0.fetch_add(1_000_000_000, Ordering::Relaxed) + 1_000_000_000
    }

    fn perform(&mut self, op: Op) {
        let now = self.tick();
        let run = &mut self.run;
        match op {
            Op::Ask(core) => {
                self.asked += 1;
                match run.quills[core].reserve() {
                    Some(slot) => run.open.push(Open { id: self.asked, core, slot }),
                    None => {
                        let _ = run.quills[core].count_gap(now, WhenFull::Shed);
                    }
                }
            }
            Op::Draft(which) if !run.open.is_empty() => {
                let open = &run.open[which % run.open.len()];
                run.quills[open.core].draft(&open.slot, &sample::event(open.core as u32, open.id), &self.plan);
            }
            Op::Close(which) if !run.open.is_empty() => {
                let Open { id, core, slot } = run.open.swap_remove(which % run.open.len());
                let (_, number) = run.quills[core].push(slot, &sample::event(core as u32, id), &self.plan);
                run.closed.push((id, core, number));
            }
            Op::Draft(_) | Op::Close(_) => {}
            Op::Flush(core) => {
                let _ = run.quills[core].flush();
            }
            Op::Write(fates) => {
                self.fates.lock().unwrap().next.extend(fates);
                run.write();
                self.fates.lock().unwrap().next.clear();
            }
            Op::Jump(seconds) => {
                self.clock.1.fetch_add((seconds * 1_000_000_000) as u64, Ordering::Relaxed);
            }
            Op::Crash => self.restart(None),
            Op::PowerCut(kept) => self.restart(Some(kept)),
        }
    }

    /// The run ends as it stands, and the next one begins.
    fn restart(&mut self, power_cut: Option<u8>) {
        let boot = BOOT + self.power_cuts + u64::from(power_cut.is_some());
        let synced = mem::take(&mut *self.fates.lock().unwrap()).synced;
        // What had to be on the disk is owed after a power cut, and whatever was closed after a crash.
        let is_owed = |(_, core, number): &(u64, usize, u64)| match (power_cut, self.plan.events.durability) {
            (None, _) => true,
            (Some(_), Durability::Synced) => self.run.quills[*core].is_durable(*number),
            (Some(_), Durability::Written | Durability::Relaxed) => false,
        };
        self.owed.extend(self.run.closed.iter().filter(|closed| is_owed(closed)).map(|(id, ..)| *id));
        if let Some(kept) = power_cut {
            self.power_cuts += 1;
            lose_unsynced(self.dir.path(), &synced, kept);
        }
        let next = Run::start(self.dir.path(), &self.plan, &self.fates, &self.clock, boot);
        // Nothing of the old process runs any more, not even what a quill does when it is dropped.
        let Run { quills, writer, .. } = mem::replace(&mut self.run, next);
        drop(writer);
        quills.into_iter().for_each(mem::forget);
    }

    fn check(&self) {
        let records = self.records();
        let mut lasts: BTreeMap<u64, u64> = BTreeMap::new();
        let mut logged = HashSet::new();
        let (mut counted, mut at_least) = (0, false);
        for record in &records {
            let last = lasts.entry(record["log_epoch"].as_u64().unwrap()).or_default();
            *last += 1;
            assert_eq!(record["seq"], *last, "{record}");
            match record["event_type"].as_str().unwrap() {
                "decision" => {
                    let id: u64 = record["request_id"].as_str().unwrap()[2..].parse().unwrap();
                    assert!(logged.insert(id), "twice: {record}");
                }
                "lost" => {
                    counted += record["count"].as_u64().unwrap();
                    at_least |= record.get("at_least").is_some_and(|at_least| *at_least == true);
                }
                "gap" => counted += record["count"].as_u64().unwrap(),
                _ => {}
            }
        }
        let missing: Vec<&u64> = self.owed.difference(&logged).collect();
        assert!(missing.is_empty(), "owed and not in the log: {missing:?}");
        let told = logged.len() as u64 + counted;
        match self.power_cuts {
            0 => assert_eq!(told, self.asked, "{} decisions, {counted} counted", logged.len()),
            _ => assert!(at_least || told == self.asked, "{told} of {} are told of", self.asked),
        }
        let damage = verify(self.dir.path()).unwrap().damage;
        assert!(damage.is_empty(), "{damage:?}");
    }

    fn records(&self) -> Vec<simd_json::OwnedValue> {
        let mut records = Vec::new();
        for segment in Segment::list(self.dir.path()).unwrap() {
            let lines = fs::read(self.dir.path().join(segment.file_name())).unwrap();
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                records.push(simd_json::to_owned_value(&mut line.to_vec()).expect("a whole line"));
            }
        }
        records
    }
}

impl Run {
    fn start(
        dir: &Path,
        plan: &Arc<Plan>,
        fates: &Arc<Mutex<Fates>>,
        clock: &Arc<(AtomicU64, AtomicU64)>,
        boot: u64,
    ) -> Self {
        let Recovered { log_epoch, previous, torn, lost: _ } = recover(dir, boot).unwrap();
        let stamp = Stamp { log_epoch, seq: 1, wall_start_ns: WALL_START_NS, salt: 7 };
        let shared = Arc::new(Shared::new(CORES));
        let (outbox, inbox) = bounded(EVENT_QUEUE_LEN);
        let (mut quills, mut rings) = (Vec::new(), Vec::new());
        for core in 0..CORES {
            let owner = Owner { log_epoch, core: core as u32, wall_start_ns: WALL_START_NS, salt: 7, boot };
            let ring = Arc::new(Ring::create(dir, owner, SLOTS, RING_BYTES).unwrap());
            rings.push(Consumer::new(Arc::clone(&ring)));
            quills.push(Quill::new(core, Producer::new(ring), outbox.clone(), Arc::clone(&shared)));
        }
        let disk = Faulty { dir: Dir(dir.to_owned()), fates: Arc::clone(fates) };
        let reach = match plan.events.durability {
            Durability::Synced => Reach::Disk,
            Durability::Written | Durability::Relaxed => Reach::Kernel,
        };
        let time = Arc::clone(clock);
        let mut writer = Writer::new(Desk {
            journal: Journal::begin(disk, Segment { log_epoch, first_seq: 1 }, Chain::default(), reach).unwrap(),
            keeper: Keeper::new(dir.to_owned()),
            settings: plan.events.clone(),
            stamp,
            rings,
            inbox,
            shared: Arc::clone(&shared),
            patience: Patience { pause: Duration::ZERO, give_up: Duration::ZERO },
            time: Box::new(move || Now {
                mono_ns: time.0.load(Ordering::Relaxed),
                wall_ns: time.1.load(Ordering::Relaxed),
            }),
        });
        let (told, _) = Announced::new();
        writer.hear(Message::Config { plan: Arc::clone(plan), at_ns: 0, previous, told });
        for torn in torn {
            writer.say_torn(&torn, 0);
        }
        writer.write_all().unwrap();
        Self { quills, writer, shared, open: Vec::new(), closed: Vec::new() }
    }

    fn write(&mut self) {
        self.shared.told.store(false, Ordering::SeqCst);
        self.writer.write_all().unwrap();
        self.writer.look_after();
        self.writer.write_all().unwrap();
    }
}

/// What a power cut does to the files of a run.
fn lose_unsynced(dir: &Path, synced: &BTreeMap<String, u64>, kept: u8) {
    let last = synced.keys().rfind(|name| name.ends_with(".jsonl"));
    for (name, synced) in synced {
        // Of a segment before the last one the kernel has had all the time there is.
        let is_last = last.is_some_and(|last| {
            last.trim_end_matches(".jsonl") == name.trim_end_matches(".idx").trim_end_matches(".jsonl")
        });
        let path = dir.join(name);
        if let Some(len) = fs::metadata(&path).ok().map(|found| found.len()).filter(|_| is_last) {
            let kept = synced + (len - synced) * u64::from(kept) / 255;
            OpenOptions::new().write(true).open(&path).unwrap().set_len(kept).unwrap();
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let fate =
        prop_oneof![Just(Fate::Well), any::<u8>().prop_map(Fate::Short), Just(Fate::Full), Just(Fate::SyncFails)];
    prop_oneof![
        12 => (0..CORES).prop_map(Op::Ask),
        3 => any::<usize>().prop_map(Op::Draft),
        10 => any::<usize>().prop_map(Op::Close),
        3 => (0..CORES).prop_map(Op::Flush),
        5 => vec(fate, 0..4).prop_map(Op::Write),
        1 => (-100_000_i64..100_000).prop_map(Op::Jump),
        1 => Just(Op::Crash),
    ]
}

fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![Just(Durability::Written), Just(Durability::Synced), Just(Durability::Relaxed)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_request_is_in_the_log_or_counted_once(durability in durability(), ops in vec(op(), 1..150)) {
        let mut world = World::new(durability);
        ops.into_iter().for_each(|op| world.perform(op));
        world.restart(None);
        world.run.write();
        world.check();
    }

    #[test]
    fn a_power_cut_takes_nothing_that_was_on_the_disk_and_hides_nothing(
        durability in durability(),
        ops in vec(prop_oneof![20 => op(), 1 => any::<u8>().prop_map(Op::PowerCut)], 1..150),
        kept in any::<u8>(),
    ) {
        let mut world = World::new(durability);
        ops.into_iter().for_each(|op| world.perform(op));
        world.restart(Some(kept));
        world.run.write();
        world.check();
    }
}

/// `KT_MODEL_CASES` makes it long.
fn cases() -> u32 {
    std::env::var("KT_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48)
}

#[test]
fn a_clock_that_jumps_back_is_a_record_and_changes_no_order() {
    let mut world = World::new(Durability::Written);
    for op in [Op::Ask(0), Op::Close(0), Op::Jump(-3_600), Op::Write(Vec::new()), Op::Ask(0), Op::Close(0)] {
        world.perform(op);
    }
    world.restart(None);
    world.run.write();
    world.check();
    let records = world.records();
    let steps: Vec<_> = records.iter().filter(|record| record["event_type"] == "clock").collect();
    assert_eq!(steps.len(), 1, "{records:?}");
    assert_eq!(steps[0]["step_ms"].cast_f64(), Some(-3_600_000.0));
    let ended: Vec<&str> = records.iter().filter_map(|record| record.get("ended_at")?.as_str()).collect();
    assert!(ended.is_sorted(), "{ended:?}");
}

/// What a tail that was cut anywhere leaves: whole records, and the rest set aside.
#[test]
fn a_segment_cut_at_any_byte_keeps_its_whole_lines() {
    let mut world = World::new(Durability::Written);
    for op in [Op::Ask(0), Op::Ask(0), Op::Close(0), Op::Close(0), Op::Write(Vec::new())] {
        world.perform(op);
    }
    let name = "events-00000001-0000000000000001";
    let read = |ending: &str| fs::read(world.dir.path().join(format!("{name}.{ending}"))).unwrap();
    let (lines, index) = (read("jsonl"), read("idx"));
    for cut in 0..=lines.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(format!("{name}.jsonl")), &lines[..cut]).unwrap();
        fs::write(dir.path().join(format!("{name}.idx")), &index).unwrap();
        let Recovered { previous, torn, .. } = recover(dir.path(), BOOT).unwrap();
        let whole = lines[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let kept = fs::read(dir.path().join(format!("{name}.jsonl"))).unwrap();
        assert_eq!(kept, lines[..whole], "cut at {cut}");
        let numbers = lines[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(previous.map_or(0, |previous| previous.last_seq), numbers);
        assert_eq!(torn.iter().map(|torn| torn.bytes).sum::<u64>(), (cut - whole) as u64);
        let aside = fs::read(dir.path().join(format!("{name}.jsonl.torn"))).unwrap_or_default();
        assert_eq!(aside, lines[whole..cut]);
        assert!(verify(dir.path()).unwrap().damage.is_empty(), "cut at {cut}");
    }
}

/// One bit in one file, a thousand times over.
#[test]
fn every_flipped_bit_is_found() {
    let mut world = World::new(Durability::Written);
    for nth in 0..60 {
        world.perform(Op::Ask(nth % CORES));
        world.perform(Op::Close(0));
        world.perform(Op::Write(Vec::new()));
    }
    world.restart(None);
    world.run.write();
    let dir = world.dir.path();
    // The second segment as retention and compression would have it.
    let packed = Segment::list(dir).unwrap()[1];
    keep::pack(dir, packed).unwrap();
    let is_ours = |path: &PathBuf| path.extension().is_some_and(|extension| extension != "ring");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(is_ours);
    let files: Vec<PathBuf> = files.filter(|path| fs::metadata(path).unwrap().len() > 0).collect();
    assert!(files.iter().any(|path| path.extension().is_some_and(|extension| extension == "zst")), "{files:?}");
    assert!(verify(dir).unwrap().damage.is_empty());
    for nth in 0..1_000 {
        let path = &files[nth % files.len()];
        let whole = fs::read(path).unwrap();
        let mut flipped = whole.clone();
        let (at, bit) = (fastrand::usize(..flipped.len()), fastrand::u32(..8));
        flipped[at] ^= 1 << bit;
        fs::write(path, flipped).unwrap();
        let damage = verify(dir).map(|report| report.damage);
        assert!(damage.is_ok_and(|damage| !damage.is_empty()), "bit {bit} of byte {at} of {}", path.display());
        fs::write(path, whole).unwrap();
    }
}
