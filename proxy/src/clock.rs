//! This process' time: the wall clock at its start plus what has passed since by the monotonic clock. A step of the wall
//! clock changes no order and no duration.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

thread_local! {
    /// When this core last read the clock, unless something has taken its time since.
    static READ: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Now.
pub fn now() -> Instant {
    let now = Instant::now();
    READ.set(Some(now));
    now
}

/// When the clock was last read; now, if something has taken its time since: whatever the task waited for ([`crate::rt`]
/// sees to it), or a long piece of work. For deadlines, and for where a reading stands close by: one costs 40 ns and more, and a request had
/// sixteen of them.
pub fn lately() -> Instant {
    READ.get().unwrap_or_else(now)
}

/// Something has taken its time: what was read before is no longer lately.
pub(crate) fn time_has_passed() {
    READ.set(None);
}

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
        self.ns_at(now())
    }

    /// The same by [`lately`].
    pub fn lately_ns(&self) -> u64 {
        self.ns_at(lately())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rt;

    #[test]
    fn lately_is_the_last_reading_until_something_takes_its_time() {
        let read = now();
        assert_eq!(lately(), read);
        time_has_passed();
        let again = lately();
        assert!(again >= read);
        assert_eq!(lately(), again, "which was a reading");
    }

    #[test]
    fn a_task_that_has_waited_reads_the_clock_anew() {
        let later = rt::run(rt::Engine::Epoll, || async {
            let before = now();
            rt::sleep(Duration::from_millis(1)).await;
            lately() > before
        });
        assert!(later.unwrap());
    }
}
