//! A core's ring: where its closed records wait for the writer, in a file that outlives the process.
//!
//! ```text
//! header     who wrote it; counters; gaps
//! drafts     one per request in flight: what its record is, should the process die while its answer goes out
//! ring       closed records, one behind the other
//! ```
//!
//! The core is the only one that writes records and the counters but for two: the writer stores how far the ring is free
//! again, and a record's number in the log before that record goes to the file. So whoever finds the file later knows
//! of each record whether it is in the log: its number is at most the log's last.
//!
//! A record counts from the moment on at which `published` says so. Whatever refers to it is written before, in an order
//! in which the process may die at any step: a draft first says which record takes its place, then that is published,
//! then the draft is free. A gap is counted in the header, closed by the core, and freed by the writer.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kt_core::event::{Shed, WhenFull, layout};
use kt_core::limits::EVENT_FRAME_BYTES_MAX;

use super::map::{Map, WORD};

/// `kt ring` and the version of this file's own layout, that of frames apart.
const MAGIC: u64 = u64::from_le_bytes(*b"kt ring2");

// The header's words.
const MAGIC_AT: usize = 0;
const LAYOUT: usize = 1;
const LOG_EPOCH: usize = 2;
const CORE: usize = 3;
const WALL_START_NS: usize = 4;
const SALT: usize = 5;
const DRAFTS: usize = 6;
const RING_WORDS: usize = 7;
const BOOT: usize = 8;
// What changes with each request, apart from what the writer stores: each on a cache line of its own.
const ADMITTED: usize = 16;
const PUBLISHED: usize = 17;
const LATEST_NS: usize = 18;
const TAIL: usize = 24;
const TAKEN: usize = 25;
const WRITTEN_SEQ: usize = 26;
const GAPS: usize = 32;
const GAP_WORDS: usize = 8;
/// Two: one may be counted while the other is on its way to the log.
const GAPS_LEN: usize = 2;
// Stored by whoever recovers: the number of the record that stands for the ring's end.
const LOST_SEQ: usize = 64;
const HEADER_WORDS: usize = 512;

// A draft's words, and a record's.
const STATE: usize = 0;
const SEQ: usize = 1;
const KEY: usize = 2;
const FRAME: usize = 3;

// A gap's words.
const COUNT: usize = 0;
const FROM_NS: usize = 1;
const TO_NS: usize = 2;
const ACTION: usize = 3;
const GAP_STATE: usize = 4;
const GAP_SEQ: usize = 5;

/// A gap's state: the core counts in it; the writer is to log it. [`FREE`] is the core's too.
const OPEN: u64 = 1;
const CLOSED: u64 = 2;

/// Words of a draft, and of the largest record that a request may rely on.
pub(super) const SLOT_WORDS: usize = FRAME + EVENT_FRAME_BYTES_MAX.div_ceil(WORD);

/// A draft's state: nothing there, or one that counts; larger ones say which record took its place, plus 1.
const FREE: u64 = 0;
const DRAWN: u64 = 1;

/// How much of an empty ring is used before it is used from the beginning again: what a core's cache holds anyway.
const ANEW_WORDS: u64 = 32 * 1_024;

/// In the place of a record's number: the ring goes on at its beginning.
const WRAP: u64 = u64::MAX;

/// The mapped file and its layout.
#[derive(Debug)]
pub(super) struct Ring {
    map: Map,
    drafts: usize,
    ring_at: usize,
    ring_words: u64,
}

/// Who a ring belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) log_epoch: u32,
    pub(super) core: u32,
    pub(super) wall_start_ns: u64,
    pub(super) salt: u16,
    /// Which run of the kernel it belongs to. Under another one, what the file holds may be of any moment: its pages and
    /// those of the log went to the disk when they pleased.
    pub(super) boot: u64,
}

/// The core's side.
#[derive(Debug)]
pub(super) struct Producer {
    ring: Arc<Ring>,
    /// Where the next record goes: words ever used, those that were skipped included.
    head: u64,
    /// As last seen.
    tail: u64,
    /// Records published.
    published: u64,
    admitted: u64,
    /// Slots given out and not used yet.
    outstanding: u64,
    free_drafts: Vec<u32>,
}

/// The writer's side.
#[derive(Debug)]
pub(super) struct Consumer {
    ring: Arc<Ring>,
    /// Where the next record is, and which it is.
    at: u64,
    next: u64,
    /// What `published` was, as last seen.
    published: u64,
    /// How many records are known to be in the log.
    freed: u64,
}

/// A record that was found in a ring, or a draft, or a gap.
#[derive(Debug)]
pub(super) struct Found {
    /// The number it was given, if it was; it may be in the log then.
    pub(super) seq: u64,
    pub(super) what: What,
    /// Where the number stands.
    at: usize,
}

#[derive(Debug)]
pub(super) enum What {
    /// The frame of a decision; of a draft, it is unconfirmed.
    Decision {
        frame: Vec<u8>,
        unconfirmed: bool,
    },
    Gap(Shed),
}

/// Everything that a ring was left with.
#[derive(Debug)]
pub(super) struct Left {
    /// In the order of the ring; drafts behind the records, gaps behind those.
    pub(super) found: Vec<Found>,
    /// Requests in flight that nothing is known of.
    pub(super) lost: u64,
    /// Whether the counters contradict what was found, so that more may be missing.
    pub(super) doubtful: bool,
    /// The latest moment that is known, ns since that process' start.
    pub(super) latest_ns: u64,
}

impl Ring {
    /// A new ring in the directory of the log, with so many drafts and so many bytes for records.
    pub(super) fn create(dir: &Path, owner: Owner, drafts: usize, ring_bytes: usize) -> io::Result<Self> {
        let path = dir.join(owner.file_name());
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let ring_words = ring_bytes / WORD;
        let made = Map::create(&file, HEADER_WORDS + drafts * SLOT_WORDS + ring_words);
        let map = made.inspect_err(|_| {
            // Whatever was made of it is in the way of the next try; that it couldn't be made is said anyway.
            let _ = fs::remove_file(&path);
        })?;
        for (at, value) in [
            (LAYOUT, layout()),
            (LOG_EPOCH, u64::from(owner.log_epoch)),
            (CORE, u64::from(owner.core)),
            (WALL_START_NS, owner.wall_start_ns),
            (SALT, u64::from(owner.salt)),
            (DRAFTS, drafts as u64),
            (RING_WORDS, ring_words as u64),
            (BOOT, owner.boot),
        ] {
            map[at].store(value, Ordering::Relaxed);
        }
        map[MAGIC_AT].store(MAGIC, Ordering::Release);
        // Whoever comes after a power cut shall know that there was somebody.
        file.sync_all()?;
        Ok(Self { map, drafts, ring_at: HEADER_WORDS + drafts * SLOT_WORDS, ring_words: ring_words as u64 })
    }

    /// A ring that another process left, and whose it was. None if it had not been finished, so that it holds nothing.
    pub(super) fn open(path: &Path) -> io::Result<Option<(Self, Owner)>> {
        let file = File::options().read(true).write(true).open(path)?;
        if file.metadata()?.len() < (HEADER_WORDS * WORD) as u64 {
            return Ok(None);
        }
        let map = Map::open(&file)?;
        let word = |at: usize| map[at].load(Ordering::Acquire);
        if word(MAGIC_AT) != MAGIC {
            return Ok(None);
        }
        let owner = Owner {
            log_epoch: word(LOG_EPOCH) as u32,
            core: word(CORE) as u32,
            wall_start_ns: word(WALL_START_NS),
            salt: word(SALT) as u16,
            boot: word(BOOT),
        };
        let (drafts, ring_words) = (word(DRAFTS), word(RING_WORDS));
        let expected = drafts
            .checked_mul(SLOT_WORDS as u64)
            .and_then(|words| words.checked_add(ring_words)?.checked_add(HEADER_WORDS as u64));
        if expected != Some(map.len() as u64) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display())));
        }
        let drafts = drafts as usize;
        Ok(Some((Self { map, drafts, ring_at: HEADER_WORDS + drafts * SLOT_WORDS, ring_words }, owner)))
    }

    /// Whether this version can read the records in it.
    pub(super) fn is_readable(&self) -> bool {
        self.word(LAYOUT).load(Ordering::Relaxed) == layout()
    }

    /// Requests that had a slot, and records of them that were published.
    pub(super) fn counts(&self) -> (u64, u64) {
        let count = |at| self.word(at).load(Ordering::Relaxed);
        (count(ADMITTED), count(PUBLISHED))
    }

    /// How many of the records were known to be in the log.
    pub(super) fn freed(&self) -> u64 {
        self.word(TAKEN).load(Ordering::Relaxed)
    }

    /// The last number of the log as this ring has seen it.
    pub(super) fn written_seq(&self) -> u64 {
        self.word(WRITTEN_SEQ).load(Ordering::Relaxed)
    }

    /// When something was last published, ns since that process' start.
    pub(super) fn latest_ns(&self) -> u64 {
        self.word(LATEST_NS).load(Ordering::Relaxed)
    }

    /// The number of this ring's `lost` record, 0 before there is one.
    pub(super) fn lost_seq(&self) -> &AtomicU64 {
        self.word(LOST_SEQ)
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.map[at]
    }

    fn draft_at(&self, draft: u32) -> usize {
        HEADER_WORDS + draft as usize * SLOT_WORDS
    }

    /// The place of a position of the ring.
    fn place(&self, position: u64) -> usize {
        self.ring_at + (position % self.ring_words) as usize
    }

    /// How many words there are from a position to the ring's end.
    fn to_end(&self, position: u64) -> u64 {
        self.ring_words - position % self.ring_words
    }

    /// Writes key and frame behind `at`. Nobody looks at them yet.
    fn put(&self, at: usize, number: u64, frame: &[u8]) {
        self.word(at + SEQ).store(0, Ordering::Relaxed);
        self.word(at + KEY).store(key(number, frame), Ordering::Relaxed);
        let (whole, rest) = frame.as_chunks();
        for (word, bytes) in self.map[at + FRAME..].iter().zip(whole) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        if !rest.is_empty() {
            let mut padded = [0; WORD];
            padded[..rest.len()].copy_from_slice(rest);
            self.word(at + FRAME + whole.len()).store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
    }

    /// Reads the frame behind `at` into `frame`, and says whether it is what its key says.
    fn take(&self, at: usize, number: u64, frame: &mut Vec<u8>) -> bool {
        let stored = self.word(at + KEY).load(Ordering::Relaxed);
        let len = (stored & 0xffff_ffff) as usize;
        let words = len.div_ceil(WORD);
        frame.clear();
        let Some(stored_frame) = self.map.get(at + FRAME..at + FRAME + words) else { return false };
        frame.reserve(words * WORD);
        for word in stored_frame {
            frame.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        frame.truncate(len);
        key(number, frame) == stored
    }

    /// What the ring was left with, for a process that comes after. `after` is the last number of the log.
    pub(super) fn left(&self, after: u64) -> Left {
        let (admitted, published) = self.counts();
        let mut left = Left { found: Vec::new(), lost: 0, doubtful: false, latest_ns: 0 };
        left.latest_ns = self.latest_ns();
        let next = self.find_records(published, after, &mut left);
        left.doubtful = next <= published;
        let unread = (published + 1).saturating_sub(next.max(1 + self.freed()));
        let drawn = self.find_drafts(published, after, &mut left);
        self.find_gaps(after, &mut left);
        left.lost = admitted.saturating_sub(published).saturating_sub(drawn) + unread;
        left
    }

    /// Those that wait in the ring. Returns the number that should come next, 0 if there was none.
    fn find_records(&self, published: u64, after: u64, left: &mut Left) -> u64 {
        if self.freed() >= published {
            return published + 1;
        }
        let mut at = self.word(TAIL).load(Ordering::Relaxed);
        let mut next = 0;
        let mut frame = Vec::new();
        // A ring has no more records than words, whatever it says.
        for _ in 0..self.ring_words {
            let place = self.place(at);
            let number = self.word(place).load(Ordering::Relaxed);
            if number == WRAP {
                at += self.to_end(at);
                continue;
            }
            let is_next = if next == 0 { (1..=published).contains(&number) } else { number == next };
            if !is_next || number > published || !self.take(place, number, &mut frame) {
                break;
            }
            at += words_of(&frame);
            next = number + 1;
            let seq = self.word(place + SEQ).load(Ordering::Relaxed);
            if seq == 0 || seq > after {
                let what = What::Decision { frame: frame.clone(), unconfirmed: false };
                left.found.push(Found { seq, what, at: place + SEQ });
            }
        }
        next
    }

    /// Drafts whose record was not published. Returns how many there are, those that are in the log included.
    fn find_drafts(&self, published: u64, after: u64, left: &mut Left) -> u64 {
        let mut drawn = 0;
        let mut frame = Vec::new();
        for draft in 0..self.drafts {
            let at = self.draft_at(draft as u32);
            let state = self.word(at + STATE).load(Ordering::Acquire);
            let counts = state == DRAWN || state > DRAWN && state - DRAWN > published;
            if !counts || !self.take(at, DRAWN, &mut frame) {
                continue;
            }
            drawn += 1;
            let seq = self.word(at + SEQ).load(Ordering::Relaxed);
            if seq == 0 || seq > after {
                let what = What::Decision { frame: frame.clone(), unconfirmed: true };
                left.found.push(Found { seq, what, at: at + SEQ });
            }
        }
        drawn
    }

    fn find_gaps(&self, after: u64, left: &mut Left) {
        for gap in 0..GAPS_LEN {
            let at = GAPS + gap * GAP_WORDS;
            let seq = self.word(at + GAP_SEQ).load(Ordering::Relaxed);
            if let Some(shed) = self.gap(gap).filter(|_| seq == 0 || seq > after) {
                left.found.push(Found { seq, what: What::Gap(shed), at: at + GAP_SEQ });
            }
        }
    }

    /// What a gap counts; none if that is nothing.
    fn gap(&self, gap: usize) -> Option<Shed> {
        let at = GAPS + gap * GAP_WORDS;
        let word = |of: usize| self.word(at + of).load(Ordering::Relaxed);
        let action = if word(ACTION) == 0 { WhenFull::Shed } else { WhenFull::Drop };
        let count = word(COUNT);
        (count > 0).then(|| Shed { count, from_ns: word(FROM_NS), to_ns: word(TO_NS), action })
    }

    /// Says that the record which was found will have this number in the log.
    pub(super) fn number(&self, found: &Found, seq: u64) {
        self.word(found.at).store(seq, Ordering::Relaxed);
    }
}

impl Owner {
    pub(super) fn file_name(self) -> String {
        format!("core-{:08}-{:04}.ring", self.log_epoch, self.core)
    }

    /// The epoch and core that a file's name says.
    pub(super) fn parse(name: &str) -> Option<(u32, u32)> {
        let (log_epoch, core) = name.strip_prefix("core-")?.strip_suffix(".ring")?.split_once('-')?;
        Some((log_epoch.parse().ok()?, core.parse().ok()?))
    }
}

impl Producer {
    pub(super) fn new(ring: Arc<Ring>) -> Self {
        let free_drafts = (0..ring.drafts as u32).rev().collect();
        Self { ring, head: 0, tail: 0, published: 0, admitted: 0, outstanding: 0, free_drafts }
    }

    /// See [`Map::let_go`].
    pub(super) fn let_go(&self) {
        self.ring.map.let_go();
    }

    /// A draft, and the promise of room for a record as large as a draft. None while there is no room.
    pub(super) fn reserve(&mut self) -> Option<u32> {
        // One more for the end of the ring, which a record may not fit into.
        if !self.has_room((self.outstanding + 2) * SLOT_WORDS as u64) {
            return None;
        }
        let draft = self.free_drafts.pop()?;
        self.outstanding += 1;
        self.admitted += 1;
        self.ring.word(ADMITTED).store(self.admitted, Ordering::Relaxed);
        Some(draft)
    }

    /// The writer's word is read only when the last one seen isn't enough.
    fn has_room(&mut self, words: u64) -> bool {
        if self.head - self.tail + words > self.ring.ring_words {
            // Acquire: what the writer has read of the words it frees, it has read before.
            self.tail = self.ring.word(TAIL).load(Ordering::Acquire);
        }
        self.head - self.tail + words <= self.ring.ring_words
    }

    /// Whether a record of this length fits beside what was promised to others.
    pub(super) fn fits(&mut self, frame_bytes: usize) -> bool {
        let words = (FRAME + frame_bytes.div_ceil(WORD)) as u64;
        // Where it can't begin before the ring's end, that end is lost as well.
        words <= SLOT_WORDS as u64 || self.has_room(2 * words + (self.outstanding + 1) * SLOT_WORDS as u64)
    }

    /// Writes down what the record of a reserved request is as things stand.
    pub(super) fn draw(&mut self, draft: u32, frame: &[u8]) {
        let at = self.ring.draft_at(draft);
        let state = self.ring.word(at + STATE);
        state.store(FREE, Ordering::Relaxed);
        self.ring.put(at, DRAWN, frame);
        // Release: the frame comes first, for whoever reads the file after a crash and for the compiler.
        state.store(DRAWN, Ordering::Release);
    }

    /// Publishes the record of a reserved request, and frees its draft. Returns the record's number in this ring.
    pub(super) fn publish(&mut self, draft: u32, frame: &[u8], ended_ns: u64) -> u64 {
        let words = words_of(frame);
        if self.ring.to_end(self.head) < words || self.may_begin_anew() {
            self.ring.word(self.ring.place(self.head)).store(WRAP, Ordering::Relaxed);
            self.head += self.ring.to_end(self.head);
        }
        let number = self.published + 1;
        let place = self.ring.place(self.head);
        self.ring.word(place).store(number, Ordering::Relaxed);
        self.ring.put(place, number, frame);
        self.ring.word(LATEST_NS).store(ended_ns, Ordering::Relaxed);
        let state = self.ring.word(self.ring.draft_at(draft) + STATE);
        // Each Release keeps what was stored before it before it.
        if state.load(Ordering::Relaxed) == DRAWN {
            state.store(DRAWN + number, Ordering::Release);
        }
        self.ring.word(PUBLISHED).store(number, Ordering::Release);
        state.store(FREE, Ordering::Release);
        self.head += words;
        self.published = number;
        self.outstanding -= 1;
        self.free_drafts.push(draft);
        number
    }

    /// A ring that is empty is used from its beginning again, so that few of its pages are ever touched.
    fn may_begin_anew(&mut self) -> bool {
        self.head % self.ring.ring_words > ANEW_WORDS && {
            self.tail = self.ring.word(TAIL).load(Ordering::Acquire);
            self.tail == self.head
        }
    }

    /// Counts a request that has no decision for want of room. Returns whether it is the first of its gap.
    pub(super) fn count_gap(&mut self, now_ns: u64, action: WhenFull) -> bool {
        let at = (0..GAPS_LEN).map(|gap| GAPS + gap * GAP_WORDS);
        let state = |at: &usize| self.ring.word(at + GAP_STATE).load(Ordering::Acquire);
        let open = at.clone().find(|at| state(at) == OPEN);
        let at = open.or_else(|| at.clone().find(|at| state(at) == FREE)).unwrap_or(GAPS);
        let word = |of: usize| self.ring.word(at + of);
        if open.is_none() {
            word(GAP_SEQ).store(0, Ordering::Relaxed);
            word(FROM_NS).store(now_ns, Ordering::Relaxed);
            word(GAP_STATE).store(OPEN, Ordering::Relaxed);
        }
        word(TO_NS).store(now_ns, Ordering::Relaxed);
        word(ACTION).store(u64::from(action == WhenFull::Drop), Ordering::Relaxed);
        // Release: the rest is there once it counts.
        word(COUNT).store(word(COUNT).load(Ordering::Relaxed) + 1, Ordering::Release);
        open.is_none()
    }

    /// Whether a gap is being counted.
    pub(super) fn has_open_gap(&self) -> bool {
        (0..GAPS_LEN).any(|gap| self.gap_state(gap).load(Ordering::Relaxed) == OPEN)
    }

    /// Hands the open gap to the writer, if the one before has been logged. Returns whether none is open any more.
    pub(super) fn close_gap(&mut self) -> bool {
        let states = || (0..GAPS_LEN).map(|gap| self.gap_state(gap));
        if states().any(|state| state.load(Ordering::Acquire) == CLOSED) {
            return !self.has_open_gap();
        }
        for state in states().filter(|state| state.load(Ordering::Relaxed) == OPEN) {
            state.store(CLOSED, Ordering::Release);
        }
        true
    }

    /// At the end there is nothing more to count.
    pub(super) fn close_all_gaps(&mut self) {
        for gap in 0..GAPS_LEN {
            if self.gap_state(gap).load(Ordering::Relaxed) == OPEN {
                self.gap_state(gap).store(CLOSED, Ordering::Release);
            }
        }
    }

    fn gap_state(&self, gap: usize) -> &AtomicU64 {
        self.ring.word(GAPS + gap * GAP_WORDS + GAP_STATE)
    }

    /// Records published so far.
    pub(super) fn published(&self) -> u64 {
        self.published
    }

    /// Requests that have had a slot so far.
    pub(super) fn admitted(&self) -> u64 {
        self.admitted
    }
}

impl Consumer {
    pub(super) fn new(ring: Arc<Ring>) -> Self {
        Self { ring, at: 0, next: 1, published: 0, freed: 0 }
    }

    /// Takes the next record's frame, which gets the number `seq` in the log; false if there is none yet.
    ///
    /// # Panics
    /// If somebody else has written to the ring.
    pub(super) fn next(&mut self, seq: u64, frame: &mut Vec<u8>) -> bool {
        if self.next > self.published {
            // Acquire: what is published has been written.
            self.published = self.ring.word(PUBLISHED).load(Ordering::Acquire);
            if self.next > self.published {
                return false;
            }
        }
        let mut place = self.ring.place(self.at);
        if self.ring.word(place).load(Ordering::Relaxed) == WRAP {
            self.at += self.ring.to_end(self.at);
            place = self.ring.place(self.at);
        }
        assert!(self.ring.take(place, self.next, frame), "a ring is written by its core alone");
        self.ring.word(place + SEQ).store(seq, Ordering::Relaxed);
        self.at += words_of(frame);
        self.next += 1;
        true
    }

    /// Says that everything that was taken is in the log, whose last number is `seq`: its room is the core's again.
    pub(super) fn free(&mut self, seq: u64) {
        self.ring.word(WRITTEN_SEQ).store(seq, Ordering::Relaxed);
        // In this order: a tail that lags behind what was taken shows records that are in the log, and known to be.
        self.ring.word(TAKEN).store(self.taken(), Ordering::Release);
        // Release: the words have been read.
        self.ring.word(TAIL).store(self.at, Ordering::Release);
        self.freed = self.taken();
    }

    /// How many were taken.
    pub(super) fn taken(&self) -> u64 {
        self.next - 1
    }

    /// How many of them are known to be in the log.
    pub(super) fn freed(&self) -> u64 {
        self.freed
    }

    /// How many are published and not in the log.
    pub(super) fn waiting(&self) -> u64 {
        self.ring.word(PUBLISHED).load(Ordering::Acquire).saturating_sub(self.freed)
    }

    /// Slots in use: by requests, or by their records.
    pub(super) fn outstanding(&self) -> u64 {
        self.ring.word(ADMITTED).load(Ordering::Relaxed).saturating_sub(self.freed)
    }

    /// How many slots the ring has.
    pub(super) fn slots(&self) -> u64 {
        self.ring.drafts as u64
    }

    /// A gap that the core has closed, which gets the number `seq` in the log.
    pub(super) fn closed_gap(&self, seq: u64) -> Option<Shed> {
        let closed = (0..GAPS_LEN).find(|gap| {
            let at = GAPS + gap * GAP_WORDS;
            // One that has a number is on its way already.
            self.ring.word(at + GAP_STATE).load(Ordering::Acquire) == CLOSED
                && self.ring.word(at + GAP_SEQ).load(Ordering::Relaxed) == 0
        })?;
        self.ring.word(GAPS + closed * GAP_WORDS + GAP_SEQ).store(seq, Ordering::Relaxed);
        self.ring.gap(closed)
    }

    /// Says that the gaps which were given numbers are in the log.
    pub(super) fn free_gaps(&self) {
        for gap in 0..GAPS_LEN {
            let at = GAPS + gap * GAP_WORDS;
            let word = |of: usize| self.ring.word(at + of);
            if word(GAP_STATE).load(Ordering::Acquire) == CLOSED && word(GAP_SEQ).load(Ordering::Relaxed) != 0 {
                // In this order: while it counts, it has its number.
                word(COUNT).store(0, Ordering::Release);
                word(GAP_SEQ).store(0, Ordering::Release);
                word(GAP_STATE).store(FREE, Ordering::Release);
            }
        }
    }
}

/// How many words a record with this frame takes.
fn words_of(frame: &[u8]) -> u64 {
    (FRAME + frame.len().div_ceil(WORD)) as u64
}

/// Length and checksum of a frame, bound to the record's number.
fn key(number: u64, frame: &[u8]) -> u64 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), frame);
    u64::from(sum) << 32 | frame.len() as u64
}
