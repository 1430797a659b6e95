//! Which arm a request gets.

use std::sync::atomic::{AtomicU64, Ordering};

/// A group's place in its sequence of slots, on a cache line of its own: the one counter that cores share per group.
#[derive(Debug)]
#[repr(align(128))]
pub struct Place {
    next: AtomicU64,
    /// Keys the permutations of this run of the experiment; secret, so that nobody can tell the next arm.
    key: u64,
}

impl Place {
    /// A fresh sequence, from slot 0. `key` is drawn by the caller, anew for each run.
    pub const fn new(key: u64) -> Self {
        Self { next: AtomicU64::new(0), key }
    }

    /// Takes the next slot. One relaxed `fetch_add`: no other memory hangs on it.
    pub fn take(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The key of this run's permutations.
    pub const fn key(&self) -> u64 {
        self.key
    }
}
