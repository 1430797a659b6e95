//! Time as the lab counts it: nanoseconds of `CLOCK_MONOTONIC`, which all processes of a machine share. A vendor's
//! stamp and a client's can be held against each other, on one machine and only there.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Now.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A duration in nanoseconds; what 64 bits can't hold, 585 years, is the most there is.
pub fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
