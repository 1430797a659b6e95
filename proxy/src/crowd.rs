//! How many clients each core has, and who takes in the next one.
//!
//! The kernel spreads connections over listeners by chance, and where there are few that stay long, as between a service
//! and its gateway, chance is unfair for hours: of eight connections one of two cores has five or more in three of four
//! cases. So a core that has clearly more clients than another passes a fresh connection on to it, before anything of it
//! has been read. Connections that are there stay where they are.
//!
//! One counter for each core, each on a cache line of its own: written when a connection comes or goes, read when one
//! comes, and by nobody for the sake of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;

use crate::mail::{Letter, Mailbox};
use crate::rt::Arrival;

/// A core with one in so many more clients than another has clearly more; with few of them, one more is.
const CLEARLY: usize = 8;
/// What a core counts on top that takes in nobody any more.
const AWAY: usize = usize::MAX / 2;

/// All cores, by their clients.
pub struct Crowd {
    clients: Box<[CachePadded<AtomicUsize>]>,
    cores: Box<[Mailbox]>,
}

/// A client's place at a core, counted for as long as this lives.
pub struct Seat {
    crowd: Arc<Crowd>,
    core: usize,
}

impl Crowd {
    /// Cores without clients.
    pub fn new(cores: Box<[Mailbox]>) -> Arc<Self> {
        Arc::new(Self { clients: cores.iter().map(|_| CachePadded::default()).collect(), cores })
    }

    /// Finds a place for a connection that has come in at `core`: gives it back with its place if it is to stay there,
    /// and else sends it to another.
    pub fn seat(self: &Arc<Self>, core: u32, arrival: Arrival) -> Option<(Arrival, Seat)> {
        let own = core as usize;
        let core = self.choose(own);
        self.clients[core].fetch_add(1, Ordering::Relaxed);
        let seat = Seat { crowd: Arc::clone(self), core };
        if core == own {
            return Some((arrival, seat));
        }
        self.cores[core].post(Letter::Arrived { arrival, seat });
        None
    }

    /// From now on `core` takes in nobody from others.
    pub fn leave(&self, core: u32) {
        self.clients[core as usize].fetch_add(AWAY, Ordering::Relaxed);
    }

    /// The core with the fewest clients, if `own` has clearly more of them.
    fn choose(&self, own: usize) -> usize {
        let count = |core: usize| self.clients[core].load(Ordering::Relaxed);
        let least = (0..self.clients.len()).min_by_key(|&core| (count(core), core != own)).unwrap_or(own);
        let (mine, fewest) = (count(own), count(least));
        // A core that is going has been told not to accept; what it still finds stays with it.
        if mine >= AWAY || mine <= fewest + fewest / CLEARLY { own } else { least }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.clients[self.core].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt;

    fn crowd(clients: &[usize]) -> Arc<Crowd> {
        let mailbox = || Mailbox::new(rt::bell().unwrap().0).0;
        let crowd = Crowd::new(clients.iter().map(|_| mailbox()).collect());
        for (core, &count) in clients.iter().enumerate() {
            crowd.clients[core].store(count, Ordering::Relaxed);
        }
        crowd
    }

    #[test]
    fn who_has_clearly_more_passes_the_next_one_on() {
        let cases: [(&[usize], usize, usize); 8] = [
            (&[5], 0, 0),
            (&[0, 0], 0, 0),
            (&[0, 0], 1, 1),
            (&[1, 0], 0, 1),
            (&[1, 0], 1, 1),
            (&[3, 4, 2], 1, 2),
            (&[1_100, 1_000], 0, 0),
            (&[1_126, 1_000], 0, 1),
        ];
        for (clients, own, takes) in cases {
            assert_eq!(crowd(clients).choose(own), takes, "{clients:?} at {own}");
        }
    }

    #[test]
    fn who_goes_is_sent_nobody() {
        let crowd = crowd(&[3, 0]);
        crowd.leave(1);
        assert_eq!(crowd.choose(0), 0);
        assert_eq!(crowd.choose(1), 1, "and sends nobody away");
    }
}
