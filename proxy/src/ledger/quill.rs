//! What a core writes its records with: it leaves them in its ring, and says so a batch at a time.
//!
//! Nothing here waits or reads a clock. When a batch has to be announced some milliseconds from now the core is told so by
//! [`Push::Armed`], and calls [`Quill::flush`] then.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam::channel::Sender;
use kt_core::config::plan::{Durability, Plan};
use kt_core::event::{Event, Room, WhenFull};
use kt_core::limits::{
    EVENT_BATCH_LEN, EVENT_BATCH_MS, EVENT_FRAME_BYTES_MAX, EVENT_RELAXED_BATCH_LEN, EVENT_RELAXED_BATCH_MS,
};

use super::ring::Producer;
use super::{Message, Shared};
use crate::rt::BellPull;

/// One core's side of the log.
#[derive(Debug)]
pub struct Quill {
    core: usize,
    ring: Producer,
    outbox: Sender<Message>,
    shared: Arc<Shared>,
    /// Slots that the disk has room for, ever; as last seen.
    granted: u64,
    /// Records that the writer has been told of.
    told: u64,
    /// The core will call [`Quill::flush`].
    armed: bool,
    /// The record at hand.
    frame: Vec<u8>,
}

/// Room for one record: in the ring, and on the disk. It is given back by [`Quill::push`], and only so.
#[must_use = "a slot that isn't used is lost for as long as the process lives"]
#[derive(Debug)]
pub struct Slot {
    draft: u32,
}

/// What the core has to do.
#[must_use = "an armed batch has to be flushed"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// The core calls [`Quill::flush`] that many milliseconds from now. A flush too many does no harm.
    Armed(u64),
    /// The core has been told already.
    Waiting,
    /// The writer knows of everything. Nothing is to be done.
    Sent,
}

impl Quill {
    pub(super) fn new(core: usize, ring: Producer, outbox: Sender<Message>, shared: Arc<Shared>) -> Self {
        let frame = Vec::with_capacity(2 * EVENT_FRAME_BYTES_MAX);
        Self { core, ring, outbox, shared, granted: 0, told: 0, armed: false, frame }
    }

    /// Has the core's bell rung when answers that wait for the disk may go on.
    pub fn hang(&self, bell: BellPull) {
        // A core has one bell; a second one would be the same.
        let _ = self.shared.cores[self.core].bell.set(bell);
    }

    /// Reserves room for a record; `None` when there is none: too many are open or wait for the writer, or the disk is
    /// full.
    pub fn reserve(&mut self) -> Option<Slot> {
        if !self.has_grant() {
            return None;
        }
        self.ring.reserve().map(|draft| Slot { draft })
    }

    /// Whether it is the writer that has no slots left to give: the disk has room for what is asked.
    pub fn is_behind(&self) -> bool {
        !self.shared.short.load(Ordering::Relaxed)
    }

    /// Counts a request that has no slot. Once there is room again, one `gap` record says how many they were.
    pub fn count_gap(&mut self, now_ns: u64, action: WhenFull) -> Push {
        self.ring.count_gap(now_ns, action);
        self.arm(EVENT_BATCH_MS)
    }

    /// Notes what the record of a request in flight is now that the last of its answer is about to go out: should the
    /// process die, the next one finds it.
    pub fn draft(&mut self, slot: &Slot, event: &Event, plan: &Plan) {
        event.encode(plan, Room::Whole, &mut self.frame);
        if self.frame.len() > EVENT_FRAME_BYTES_MAX {
            event.encode(plan, Room::Short, &mut self.frame);
        }
        self.ring.draw(slot.draft, &self.frame);
    }

    /// Adds a closed record. `plan` is the one that answered the request. Returns the record's number on this core.
    pub fn push(&mut self, slot: Slot, event: &Event, plan: &Plan) -> (Push, u64) {
        event.encode(plan, Room::Whole, &mut self.frame);
        if !self.ring.fits(self.frame.len()) {
            event.encode(plan, Room::Short, &mut self.frame);
        }
        if plan.events.durability == Durability::Synced {
            // Before the record is there: whoever takes it knows that it is waited for.
            self.shared.cores[self.core].wanted.store(self.ring.published() + 1, Ordering::Release);
        }
        let number = self.ring.publish(slot.draft, &self.frame, event.ended_ns);
        let waiting = number - self.told;
        let push = match plan.events.durability {
            // The answer waits; what comes meanwhile shares the next turn of the disk.
            Durability::Synced => self.flush(),
            Durability::Written if waiting >= EVENT_BATCH_LEN => self.flush(),
            Durability::Written => self.arm(EVENT_BATCH_MS),
            Durability::Relaxed if waiting >= EVENT_RELAXED_BATCH_LEN => self.flush(),
            Durability::Relaxed => self.arm(EVENT_RELAXED_BATCH_MS),
        };
        (push, number)
    }

    /// Whether this core's records up to this number have got as far as the plan wants them to.
    pub fn is_durable(&self, number: u64) -> bool {
        self.shared.cores[self.core].durable.load(Ordering::Acquire) >= number
    }

    /// Lets the pages of the ring go that are in memory; what is in them stays in the file, and is there again when it is
    /// touched.
    pub fn let_go(&self) {
        self.ring.let_go();
    }

    /// Tells the writer of what there is. [`Push::Armed`] says that something had to stay: refused requests were counted,
    /// and there is no room yet.
    pub fn flush(&mut self) -> Push {
        self.armed = false;
        if self.ring.has_open_gap() && !(self.has_grant() && self.ring.close_gap()) {
            self.tell();
            return self.arm(EVENT_BATCH_MS);
        }
        self.tell();
        Push::Sent
    }

    fn arm(&mut self, ms: u64) -> Push {
        if std::mem::replace(&mut self.armed, true) { Push::Waiting } else { Push::Armed(ms) }
    }

    /// The writer's word is read only when the last one seen is about to be used up, and then it is asked for more.
    fn has_grant(&mut self) -> bool {
        let admitted = self.ring.admitted();
        if admitted + LOW_SLOTS >= self.granted {
            // Acquire: the disk has the room before the writer says so.
            self.granted = self.shared.cores[self.core].granted.load(Ordering::Acquire);
            if admitted + LOW_SLOTS >= self.granted {
                self.tell();
            }
        }
        admitted < self.granted
    }

    /// One word is enough for whatever is published until the writer looks.
    fn tell(&mut self) {
        self.told = self.ring.published();
        if !self.shared.told.swap(true, Ordering::SeqCst) {
            // A full queue is one that the writer is about to look at. It is gone only after a panic: then the slots run
            // out, and every request is refused.
            let _ = self.outbox.try_send(Message::Look);
        }
    }
}

/// When a core has fewer slots left than this, the writer is asked for more.
const LOW_SLOTS: u64 = 1_024;

impl Drop for Quill {
    fn drop(&mut self) {
        self.ring.close_all_gaps();
        // The end of the channel tells the writer to look once more.
    }
}
