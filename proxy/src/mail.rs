//! What reaches a core from other threads: a mailbox with a doorbell.
//!
//! A new deployment, resolved names, a connection that another core has accepted, a wish for numbers, the word to drain:
//! nothing else crosses into a core.

use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, unbounded};

use crate::crowd::Seat;
use crate::meters::Reading;
use crate::reload::Deployment;
use crate::resolve::Answer;
use crate::rt::{Arrival, BellPull};

/// One message to a core.
pub enum Letter {
    /// Use this from the next request on, then say so.
    Adopt {
        /// The new plan with what belongs to it.
        deployment: Arc<Deployment>,
        /// Told the core's number when it has switched.
        done: Sender<u32>,
    },
    /// An answer to a question of this core.
    Resolved {
        /// The name that was asked for.
        host: Box<str>,
        /// Its addresses.
        answer: Answer,
    },
    /// Serve this client.
    Arrived {
        /// Its connection.
        arrival: Arrival,
        /// Its place among yours.
        seat: Seat,
    },
    /// Send a copy of your numbers.
    Read {
        /// Where to.
        to: Sender<Reading>,
    },
    /// Stop accepting, finish what is in flight, then say so.
    Drain {
        /// Told the core's number when nothing is in flight any more and its events are handed over.
        done: Sender<u32>,
    },
}

/// The outer side of a core's mailbox.
///
/// Unbounded, and bounded by its senders: one reload and one reading at a time, a question per name and core, and
/// connections, each of which is a descriptor.
#[derive(Clone)]
pub struct Mailbox {
    letters: Sender<Letter>,
    bell: BellPull,
}

impl Mailbox {
    /// A mailbox whose bell is pulled by each letter, and where the core finds its letters.
    pub fn new(bell: BellPull) -> (Self, Receiver<Letter>) {
        let (letters, slot) = unbounded();
        (Self { letters, bell }, slot)
    }

    /// Posts a letter. A core that has ended gets no mail; whoever waits for its answer sees the channel close.
    pub fn post(&self, letter: Letter) {
        if self.letters.send(letter).is_ok() {
            self.bell.ring();
        }
    }
}
