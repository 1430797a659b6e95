//! What a core writes its records with: it collects them, and hands over a batch at a time.
//!
//! Nothing here waits or reads a clock. When a batch has to go after [`EVENT_BATCH_MS`](kt_core::limits::EVENT_BATCH_MS)
//! the core is told so by [`Push::Armed`], and calls [`Quill::flush`] then.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crossbeam::channel::Sender;
use kt_core::config::plan::Plan;
use kt_core::event::{Event, Shed};
use kt_core::limits::{EVENT_BATCH_LEN, EVENT_SLOTS};

use super::{Batch, Message, Shared};

/// One core's side of the log. What it still holds when it is dropped goes to the writer all the same.
#[derive(Debug)]
pub struct Quill {
    core: usize,
    outbox: Sender<Message>,
    shared: Arc<Shared>,
    /// Slots ever given out.
    reserved: u64,
    /// Records of this core in the file, as last seen; the truth may be ahead.
    written: u64,
    /// The batch that collects, and the plan it is of.
    open: Vec<Event>,
    plan: Arc<Plan>,
    /// What the queue had no room for, oldest first. As good as always empty.
    held: VecDeque<Message>,
    /// Requests refused for want of a slot, not told to the writer yet.
    shed: Option<Shed>,
}

/// Room for one record, reserved. It is given back by [`Quill::push`], and only so.
#[must_use = "a slot that isn't used is lost for as long as the process lives"]
#[derive(Debug)]
pub struct Slot(());

/// What became of a record, and what the core has to do.
#[must_use = "an armed batch has to be flushed"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// The core calls [`Quill::flush`] [`EVENT_BATCH_MS`](kt_core::limits::EVENT_BATCH_MS) from now, or sooner if it
    /// is to do so already. A flush too many does no harm.
    Armed,
    /// The core has been told already.
    Waiting,
    /// Everything is on its way to the writer. Nothing is to be done.
    Sent,
}

impl Quill {
    pub(super) fn new(core: usize, outbox: Sender<Message>, shared: Arc<Shared>, plan: &Arc<Plan>) -> Self {
        Self {
            core,
            outbox,
            shared,
            reserved: 0,
            written: 0,
            open: Vec::with_capacity(EVENT_BATCH_LEN),
            plan: Arc::clone(plan),
            held: VecDeque::new(),
            shed: None,
        }
    }

    /// Reserves room for a record; `None` when [`EVENT_SLOTS`] are taken, by records open or on their way.
    pub fn reserve(&mut self) -> Option<Slot> {
        self.has_room().then(|| {
            self.reserved += 1;
            Slot(())
        })
    }

    /// Counts a request that was refused since there was no slot. Once there is room again, one `gap` record says how
    /// many they were.
    pub fn shed(&mut self, now_ns: u64) -> Push {
        let first = self.shed.is_none();
        let shed = self.shed.get_or_insert(Shed { count: 0, from_ns: now_ns, to_ns: now_ns });
        shed.count += 1;
        shed.to_ns = now_ns;
        if first { Push::Armed } else { Push::Waiting }
    }

    /// Adds a closed record to the batch. `plan` is the one that answered the request.
    pub fn push(&mut self, slot: Slot, event: Event, plan: &Arc<Plan>) -> Push {
        // From here on the record itself stands for the slot, until the writer has counted it.
        let Slot(()) = slot;
        if !Arc::ptr_eq(&self.plan, plan) {
            self.seal();
            self.plan = Arc::clone(plan);
        }
        self.open.push(event);
        if self.open.len().is_multiple_of(EVENT_BATCH_LEN) {
            self.flush()
        } else if self.open.len() == 1 {
            Push::Armed
        } else {
            Push::Waiting
        }
    }

    /// Hands over what there is. [`Push::Armed`] says that something had to stay: the queue is full, and the batch
    /// grows until it isn't; or refused requests were counted, and there is no room yet.
    pub fn flush(&mut self) -> Push {
        if !self.send() {
            return Push::Armed;
        }
        if self.shed.is_some() && self.has_room() {
            self.held.extend(self.shed.take().map(Message::Shed));
        }
        self.seal();
        if self.send() && self.shed.is_none() { Push::Sent } else { Push::Armed }
    }

    /// The writer's count is read only when the last one seen isn't enough: once in thousands of requests.
    fn has_room(&mut self) -> bool {
        if self.reserved - self.written >= EVENT_SLOTS {
            // Relaxed: no other memory hangs on it.
            self.written = self.shared.written[self.core].load(Ordering::Relaxed);
        }
        self.reserved - self.written < EVENT_SLOTS
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            let next = self.shared.spares.pop().unwrap_or_default();
            let events = mem::replace(&mut self.open, next);
            self.held.push_back(Message::Batch(Batch { core: self.core, plan: Arc::clone(&self.plan), events }));
        }
    }

    /// Whether the queue took everything that is held. It also refuses when the writer is gone, which is its panic:
    /// then the slots run out, and every request is refused.
    fn send(&mut self) -> bool {
        while let Some(message) = self.held.pop_front() {
            if let Err(refused) = self.outbox.try_send(message) {
                self.held.push_front(refused.into_inner());
                return false;
            }
        }
        true
    }
}

impl Drop for Quill {
    fn drop(&mut self) {
        self.held.extend(self.shed.take().map(Message::Shed));
        self.seal();
        if !self.send() {
            self.shared.leftovers.lock().unwrap_or_else(PoisonError::into_inner).extend(self.held.drain(..));
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam::channel::{Receiver, bounded};

    use super::*;
    use crate::ledger::sample;

    #[test]
    fn a_slot_comes_back_when_its_record_is_written() {
        let (mut quill, shared, _inbox) = quill(1);
        for _ in 0..EVENT_SLOTS {
            assert!(quill.reserve().is_some());
        }
        assert!(quill.reserve().is_none());
        shared.written[0].store(2, Ordering::Relaxed);
        assert!(quill.reserve().is_some());
        assert!(quill.reserve().is_some());
        assert!(quill.reserve().is_none());
    }

    #[test]
    fn a_batch_goes_when_it_is_full_or_when_its_time_has_come() {
        let (mut quill, _shared, inbox) = quill(8);
        let plan = sample::plan(1);
        let expected = |nth| match nth {
            1 => Push::Armed,
            EVENT_BATCH_LEN => Push::Sent,
            _ => Push::Waiting,
        };
        for nth in 1..=EVENT_BATCH_LEN {
            assert_eq!(push(&mut quill, nth as u64, &plan), expected(nth), "{nth}");
        }
        assert_eq!(push(&mut quill, 900, &plan), Push::Armed);
        assert_eq!(push(&mut quill, 901, &plan), Push::Waiting);
        assert_eq!(quill.flush(), Push::Sent);
        assert_eq!(quill.flush(), Push::Sent, "nothing more to send");
        let sent: Vec<Vec<u64>> = inbox.try_iter().map(|message| ends(&message)).collect();
        assert_eq!(sent, [(1..=EVENT_BATCH_LEN as u64).collect(), vec![900, 901]]);
    }

    #[test]
    fn a_batch_is_of_one_plan() {
        let (mut quill, _shared, inbox) = quill(8);
        for (at_ns, plan) in [(1, sample::plan(1)), (2, sample::plan(2))] {
            assert_eq!(push(&mut quill, at_ns, &plan), Push::Armed);
        }
        assert_eq!(quill.flush(), Push::Sent);
        let sent: Vec<_> = inbox.try_iter().map(|message| (ordinal(&message), ends(&message))).collect();
        assert_eq!(sent, [(1, vec![1]), (2, vec![2])]);
    }

    #[test]
    fn while_the_queue_is_full_the_batch_grows_and_nothing_is_lost() {
        let (mut quill, _shared, inbox) = quill(1);
        let plan = sample::plan(1);
        let last = 4 * EVENT_BATCH_LEN as u64 + 1;
        for at_ns in 1..=last {
            let pushed = push(&mut quill, at_ns, &plan);
            assert_eq!(pushed == Push::Sent, at_ns == EVENT_BATCH_LEN as u64, "{at_ns}");
        }
        assert_eq!(quill.flush(), Push::Armed);
        let mut sent = ends(&inbox.recv().unwrap());
        assert_eq!(quill.flush(), Push::Armed, "one batch went, another waits");
        sent.extend(ends(&inbox.recv().unwrap()));
        assert_eq!(quill.flush(), Push::Sent);
        sent.extend(ends(&inbox.recv().unwrap()));
        assert_eq!(sent, (1..=last).collect::<Vec<_>>());
    }

    #[test]
    fn what_the_queue_does_not_take_at_the_end_is_left_for_the_writer() {
        let (mut quill, shared, inbox) = quill(1);
        let plan = sample::plan(1);
        assert_eq!(push(&mut quill, 1, &plan), Push::Armed);
        assert_eq!(quill.flush(), Push::Sent);
        assert_eq!(push(&mut quill, 2, &plan), Push::Armed);
        assert_eq!(quill.flush(), Push::Armed);
        assert_eq!(push(&mut quill, 3, &plan), Push::Armed);
        drop(quill);
        let left: Vec<_> = shared.leftovers.lock().unwrap().iter().flat_map(ends).collect();
        assert_eq!((ends(&inbox.recv().unwrap()), left), (vec![1], vec![2, 3]));
    }

    #[test]
    fn refused_requests_are_counted_in_one_record_once_there_is_room() {
        let (mut quill, shared, inbox) = quill(8);
        while quill.reserve().is_some() {}
        assert_eq!(quill.shed(10), Push::Armed);
        assert_eq!(quill.shed(20), Push::Waiting);
        assert_eq!(quill.flush(), Push::Armed, "still no room");
        assert_eq!(quill.shed(30), Push::Waiting);
        assert!(inbox.is_empty());
        shared.written[0].store(1, Ordering::Relaxed);
        assert_eq!(quill.flush(), Push::Sent);
        assert_eq!(quill.flush(), Push::Sent);
        let Message::Shed(shed) = inbox.recv().unwrap() else { panic!("not a gap") };
        assert_eq!(shed, Shed { count: 3, from_ns: 10, to_ns: 30 });
        assert!(inbox.is_empty());
    }

    #[test]
    fn refused_requests_are_counted_at_the_latest_at_the_end() {
        let (mut quill, _shared, inbox) = quill(8);
        while quill.reserve().is_some() {}
        assert_eq!(quill.shed(10), Push::Armed);
        drop(quill);
        assert!(matches!(inbox.recv().unwrap(), Message::Shed(Shed { count: 1, .. })));
    }

    fn quill(queue_len: usize) -> (Quill, Arc<Shared>, Receiver<Message>) {
        let shared = Arc::new(Shared::new(1));
        let (outbox, inbox) = bounded(queue_len);
        (Quill::new(0, outbox, Arc::clone(&shared), &sample::plan(1)), shared, inbox)
    }

    fn push(quill: &mut Quill, at_ns: u64, plan: &Arc<Plan>) -> Push {
        let slot = quill.reserve().unwrap();
        quill.push(slot, sample::event(0, at_ns), plan)
    }

    fn batch(message: &Message) -> &Batch {
        let Message::Batch(batch) = message else { panic!("not a batch: {message:?}") };
        batch
    }

    fn ends(message: &Message) -> Vec<u64> {
        batch(message).events.iter().map(|event| event.ended_ns).collect()
    }

    fn ordinal(message: &Message) -> u64 {
        batch(message).plan.version.ordinal
    }
}
