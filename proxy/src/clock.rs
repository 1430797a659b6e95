//! This process' time: the wall clock at its start plus what has passed since by the monotonic clock. A step of the wall
//! clock changes no order and no duration.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Started once, copied everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_unix_ns: u64,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_unix_ns: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// Nanoseconds since the start.
    pub fn now_ns(&self) -> u64 {
        self.ns_at(Instant::now())
    }

    /// Nanoseconds from the start to `then`, 0 for what was before it.
    pub fn ns_at(&self, then: Instant) -> u64 {
        u64::try_from(then.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.start_unix_ns.saturating_add(self.now_ns()) / 1_000_000_000
    }

    /// The wall clock at the start, nanoseconds since 1970.
    pub fn start_unix_ns(&self) -> u64 {
        self.start_unix_ns
    }
}
