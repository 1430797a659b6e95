//! The writer: takes closed records out of the rings, numbers and formats them, and appends what was waiting with one
//! `write`. Where `events.durability` is `synced`, one `fdatasync` follows, and the cores hear of it.
//!
//! A disk that refuses is asked again and again; the lines are kept meanwhile, with their numbers. What bounds that are
//! the rings: once they are full, cores have no slots to give.
//!
//! It also hands out those slots, as many as have their place on the disk, and looks after the segments: when to begin a
//! new one, and which old ones may go.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use kt_core::config::plan::{Durability, EventSettings};
use kt_core::event::{ClockStep, Decision, Stamp, Torn, write_config_line};
use kt_core::limits::{
    CLOCK_STEP_NS, EVENT_DECISION_BYTES_MAX, EVENT_GIVE_UP_MS, EVENT_OWN_BYTES, EVENT_RETRY_MS, EVENT_TICK_MS,
    EVENT_WINDOW_START, EVENT_WRITE_BYTES,
};

use super::disk::Disk;
use super::journal::{Batch, Journal, Reach};
use super::keep::Keeper;
use super::ring::Consumer;
use super::{Announced, Core, GivenUp, Message, Shared};

/// The thread's state.
pub(super) struct Writer<D: Disk> {
    journal: Journal<D>,
    keeper: Keeper,
    settings: EventSettings,
    /// The stamp of the next record.
    stamp: Stamp,
    /// What is on its way to the file.
    lines: Vec<u8>,
    batch: Option<Batch>,
    /// When the decision at hand ended that has waited longest, ns since process start.
    oldest_ns: u64,
    announced: Vec<Announced>,
    frame: Vec<u8>,
    rings: Vec<Consumer>,
    /// How many slots each core may have in use.
    windows: Vec<u64>,
    inbox: Receiver<Message>,
    shared: Arc<Shared>,
    patience: Patience,
    time: Time,
    /// By how much the wall clock was ahead of the log's, as last seen, ns.
    ahead_ns: i64,
    looked_at_ns: u64,
    /// When the present segment was begun.
    begun_ns: u64,
}

/// How a refusing disk is dealt with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Between two tries.
    pub(super) pause: Duration,
    /// How long tries go on after the process wants to end.
    pub(super) give_up: Duration,
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// By the clock of the events.
    pub(super) mono_ns: u64,
    /// By the wall clock, since 1970.
    pub(super) wall_ns: u64,
}

/// Where a writer asks for the time.
pub(super) type Time = Box<dyn FnMut() -> Now + Send>;

/// What a writer is given when it starts.
pub(super) struct Desk<D: Disk> {
    pub(super) journal: Journal<D>,
    pub(super) keeper: Keeper,
    pub(super) settings: EventSettings,
    pub(super) stamp: Stamp,
    pub(super) rings: Vec<Consumer>,
    pub(super) inbox: Receiver<Message>,
    pub(super) shared: Arc<Shared>,
    pub(super) patience: Patience,
    pub(super) time: Time,
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(desk: Desk<D>) -> Self {
        let Desk { journal, keeper, settings, stamp, rings, inbox, shared, patience, mut time } = desk;
        let windows = rings.iter().map(|ring| EVENT_WINDOW_START.min(ring.slots())).collect();
        let now = time();
        let ahead_ns = ahead(&stamp, now);
        Self {
            journal,
            keeper,
            settings,
            stamp,
            lines: Vec::new(),
            batch: None,
            oldest_ns: u64::MAX,
            announced: Vec::new(),
            frame: Vec::new(),
            rings,
            windows,
            inbox,
            shared,
            patience,
            time,
            ahead_ns,
            looked_at_ns: now.mono_ns,
            begun_ns: now.mono_ns,
        }
    }

    /// Writes until the last quill and the ledger are gone, and everything that they left.
    ///
    /// # Errors
    /// The disk kept refusing, and the process wants to end.
    pub(super) fn run(mut self) -> Result<(), GivenUp> {
        loop {
            let pause = if self.is_short() { EVENT_RETRY_MS } else { EVENT_TICK_MS };
            match self.inbox.recv_timeout(Duration::from_millis(pause)) {
                Ok(message) => self.hear(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(message) = self.inbox.try_recv() {
                self.hear(message);
            }
            // Before the rings are looked at: whoever publishes behind this look says so again.
            self.shared.told.swap(false, Ordering::SeqCst);
            self.write_all().map_err(|source| self.give_up(source))?;
            self.look_after();
            if !self.lines.is_empty() {
                self.write_all().map_err(|source| self.give_up(source))?;
                self.keeper.remove();
            }
        }
        self.write_all().map_err(|source| self.give_up(source))?;
        // A clean end is worth a last effort; what it can't do the durability never promised.
        let _ = self.journal.end();
        Ok(())
    }

    /// Takes what is in the rings to the file, until there is nothing left.
    pub(super) fn write_all(&mut self) -> io::Result<()> {
        loop {
            let more = self.collect();
            if self.lines.is_empty() {
                return Ok(());
            }
            self.write()?;
            if !more {
                return Ok(());
            }
        }
    }

    pub(super) fn hear(&mut self, message: Message) {
        match message {
            Message::Look => {}
            Message::Config { plan, at_ns, previous, told } => {
                // Whoever asked may have given up waiting, and refused the plan.
                if !told.is_withdrawn() {
                    write_config_line(&plan, previous.as_ref(), at_ns, &self.stamp, &mut self.lines);
                    self.note(at_ns);
                    self.settings = plan.events.clone();
                    self.announced.push(told);
                }
            }
        }
    }

    /// Says in the log what was moved out of it.
    pub(super) fn say_torn(&mut self, torn: &Torn, at_ns: u64) {
        torn.write_line(at_ns, &self.stamp, &mut self.lines);
        self.note(at_ns);
    }

    /// Formats what is in the rings, up to a bound; whether there may be more.
    fn collect(&mut self) -> bool {
        for core in 0..self.rings.len() {
            while let Some(gap) = self.rings[core].closed_gap(self.stamp.seq) {
                gap.write_line(&self.stamp, &mut self.lines);
                self.note(gap.to_ns);
                self.shared.gaps.fetch_add(gap.count, Ordering::Relaxed);
            }
            let mut frame = mem::take(&mut self.frame);
            while self.lines.len() < EVENT_WRITE_BYTES && self.rings[core].next(self.stamp.seq, &mut frame) {
                let at = self.lines.len();
                let decision = Decision::decode(&frame).expect("a core publishes what it has encoded");
                decision.write_line(&self.stamp, &mut self.lines);
                if self.lines.len() - at > EVENT_DECISION_BYTES_MAX {
                    self.lines.truncate(at);
                    decision.shortened().write_line(&self.stamp, &mut self.lines);
                }
                self.oldest_ns = self.oldest_ns.min(decision.ended_ns);
                self.note(decision.ended_ns);
            }
            self.frame = frame;
            if self.lines.len() >= EVENT_WRITE_BYTES {
                return true;
            }
        }
        false
    }

    /// A line has been added, of something that ended at `ended_ns`.
    fn note(&mut self, ended_ns: u64) {
        let seq = self.stamp.seq;
        let ended_ns = self.stamp.wall_start_ns.saturating_add(ended_ns);
        let batch = self.batch.get_or_insert(Batch {
            first_seq: seq,
            last_seq: seq,
            earliest_ns: ended_ns,
            latest_ns: ended_ns,
        });
        batch.last_seq = seq;
        batch.earliest_ns = batch.earliest_ns.min(ended_ns);
        batch.latest_ns = batch.latest_ns.max(ended_ns);
        self.stamp.seq += 1;
    }

    /// Appends the lines, however long it takes. Only when the process wants to end is it an error that the disk refuses.
    fn write(&mut self) -> io::Result<()> {
        let Some(batch) = self.batch else { return Ok(()) };
        let reach = self.reach();
        let mut refused = false;
        let mut last_try: Option<Instant> = None;
        while let Err(error) = self.journal.append(&self.lines, batch, reach) {
            if !refused {
                tracing::error!(
                    target: "keeptrusts::events",
                    "Can't write to the event log {}: {error}; the records wait, and it is tried again and again",
                    self.journal.path().display(),
                );
                refused = true;
            }
            if self.shared.closing.load(Ordering::Relaxed) {
                let last_try = *last_try.get_or_insert_with(|| Instant::now() + self.patience.give_up);
                if Instant::now() >= last_try {
                    return Err(error);
                }
            }
            self.pause();
        }
        if refused {
            tracing::info!(target: "keeptrusts::events", "Writing to the event log again, nothing was lost");
        }
        self.lines.clear();
        self.lines.shrink_to(2 * EVENT_WRITE_BYTES);
        self.batch = None;
        self.tell(batch);
        self.grant();
        Ok(())
    }

    fn reach(&self) -> Reach {
        // A core on an older plan may still wait for what the newest one doesn't ask for.
        let waits = self.rings.iter().zip(&self.shared.cores).any(|(ring, core)| {
            core.wanted.load(Ordering::Acquire) > core.durable.load(Ordering::Relaxed).max(ring.freed())
        });
        match self.settings.durability {
            Durability::Synced => Reach::Disk,
            Durability::Written | Durability::Relaxed if waits => Reach::Disk,
            Durability::Written | Durability::Relaxed => Reach::Kernel,
        }
    }

    /// What was written is everybody's: the rings' room is free, and who waits for the disk may go on.
    fn tell(&mut self, batch: Batch) {
        let now = (self.time)();
        let lag_ns = now.mono_ns.saturating_sub(mem::replace(&mut self.oldest_ns, u64::MAX));
        self.shared.lag_ns.store(lag_ns, Ordering::Relaxed);
        self.shared.lag_ns_max.fetch_max(lag_ns, Ordering::Relaxed);
        for (ring, core) in self.rings.iter_mut().zip(&self.shared.cores) {
            ring.free(batch.last_seq);
            ring.free_gaps();
            let taken = ring.taken();
            if core.durable.swap(taken, Ordering::AcqRel) < core.wanted.load(Ordering::Acquire)
                && let Some(bell) = core.bell.get()
            {
                bell.ring();
            }
        }
        for told in self.announced.drain(..) {
            told.tell();
        }
    }

    /// Gives the cores slots for what has its place on the disk.
    pub(super) fn grant(&mut self) {
        let mut wanted = 0;
        for (ring, window) in self.rings.iter().zip(&mut self.windows) {
            if ring.outstanding() * 2 > *window {
                *window = (*window * 2).min(ring.slots());
            }
            wanted += *window;
        }
        let bytes = |slots: u64| slots * EVENT_DECISION_BYTES_MAX as u64 + EVENT_OWN_BYTES as u64;
        if self.journal.room() < bytes(wanted) {
            // A good piece at once if that goes, else as much as goes.
            let mut slots = 2 * wanted;
            while self.journal.reserve(bytes(slots)).is_err() && slots > 0 {
                slots /= 2;
            }
        }
        let slots = self.journal.room().saturating_sub(EVENT_OWN_BYTES as u64) / EVENT_DECISION_BYTES_MAX as u64;
        let out: u64 = self.rings.iter().zip(&self.shared.cores).map(|(ring, core)| promised(ring, core)).sum();
        let mut spare = slots.saturating_sub(out);
        self.shared.short.store(slots < wanted, Ordering::Relaxed);
        let cores = self.rings.len() as u64;
        for (nth, ((ring, core), window)) in self.rings.iter().zip(&self.shared.cores).zip(&self.windows).enumerate() {
            // What there is is for all alike.
            let share = spare.div_ceil(cores - nth as u64);
            let more = window.saturating_sub(promised(ring, core)).min(share);
            spare -= more;
            if more > 0 {
                core.granted.fetch_add(more, Ordering::Release);
            }
        }
    }

    /// Whether the disk has no room for as many slots as there might be.
    fn is_short(&self) -> bool {
        self.shared.short.load(Ordering::Relaxed)
    }

    /// Whether a core may soon need more slots than it has been given.
    fn is_tight(&self) -> bool {
        let mut windows = self.rings.iter().zip(&self.windows);
        windows.any(|(ring, window)| ring.outstanding() * 2 > *window && *window < ring.slots())
    }

    /// What is to be done now and then.
    pub(super) fn look_after(&mut self) {
        let now = (self.time)();
        if self.is_short() || self.is_tight() {
            self.grant();
        }
        if now.mono_ns.saturating_sub(self.looked_at_ns) < EVENT_TICK_MS * 1_000_000 && !self.is_full() {
            return;
        }
        self.looked_at_ns = now.mono_ns;
        self.watch_the_clock(now);
        let old_ns = self.settings.rotation.age_s_max.saturating_mul(1_000_000_000);
        if self.journal.len() > 0 && (self.is_full() || now.mono_ns.saturating_sub(self.begun_ns) >= old_ns) {
            self.rotate(now);
        }
        let present = self.journal.segment();
        for removed in self.keeper.look_after(&self.settings, present, self.journal.len(), now.wall_ns) {
            removed.write_line(now.mono_ns, &self.stamp, &mut self.lines);
            self.note(now.mono_ns);
        }
    }

    fn is_full(&self) -> bool {
        self.journal.len() >= self.settings.rotation.bytes_max
    }

    fn rotate(&mut self, now: Now) {
        // What is at hand has its numbers: it belongs to the old one.
        if !self.lines.is_empty() {
            return;
        }
        match self.journal.go_on_in_a_new_one(self.stamp.seq, self.reach()) {
            Ok(()) => {
                self.begun_ns = now.mono_ns;
                self.grant();
            }
            Err(error) => {
                // The present one goes on; it is tried again at the next look.
                tracing::warn!(target: "keeptrusts::events", "Can't begin a new segment of the event log: {error}");
            }
        }
    }

    /// Records a step of the wall clock.
    fn watch_the_clock(&mut self, now: Now) {
        let ahead_ns = ahead(&self.stamp, now);
        let step_ns = ahead_ns.saturating_sub(self.ahead_ns);
        // What is slowly corrected is no step; but it is where the next one is measured from.
        self.ahead_ns = ahead_ns;
        if step_ns.unsigned_abs() >= CLOCK_STEP_NS {
            ClockStep { step_ns, wall_ns: now.wall_ns }.write_line(now.mono_ns, &self.stamp, &mut self.lines);
            self.note(now.mono_ns);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this thread has no reactor, and nothing else to do")]
    fn pause(&self) {
        thread::sleep(self.patience.pause);
    }

    /// Counts what isn't in the log as the process ends. The rings keep it for the next start.
    fn give_up(&mut self, source: io::Error) -> GivenUp {
        let waiting = self.rings.iter().map(Consumer::waiting).sum();
        GivenUp { records: waiting, path: self.journal.path(), source }
    }
}

/// By how much the wall clock is ahead of the log's, ns.
fn ahead(stamp: &Stamp, now: Now) -> i64 {
    let expected = i128::from(stamp.wall_start_ns) + i128::from(now.mono_ns);
    let ahead = i128::from(now.wall_ns) - expected;
    ahead.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// Slots of a core that are out, or may be.
fn promised(ring: &Consumer, core: &Core) -> u64 {
    core.granted.load(Ordering::Relaxed).saturating_sub(ring.freed())
}

impl Default for Patience {
    fn default() -> Self {
        Self { pause: Duration::from_millis(EVENT_RETRY_MS), give_up: Duration::from_millis(EVENT_GIVE_UP_MS) }
    }
}
