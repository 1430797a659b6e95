//! Memory that a peak has left, given back when the peak is over.
//!
//! glibc keeps what is freed for the next who wants some, and thousands of streams leave memory that nobody wants for
//! hours. Nor does a stream that waits need what it took to begin. So each core notes how much goes on, whenever a request
//! begins. Beyond a certain load it looks every few seconds; when as much goes on as before, or twice in a row less than
//! half of it, a thread of its own has the allocator return whole pages that are free. A request costs two comparisons for
//! it, and a core at which little goes on doesn't look at all.
//!
//! One `unsafe` of this crate is here: the call, which has no safe form.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use kt_core::limits::KIB;

use crate::bodies;
use crate::rt;

/// Less than this is no peak: what so few leave is not worth a thread.
const PEAK_MIN: usize = 256;
/// What of a large body counts as much as a request.
const REQUEST_BYTES: usize = 32 * KIB;
/// From one look to the next while something changes; what has come to rest is looked at less often.
const LOOK: Duration = Duration::from_secs(2);
const LOOK_MAX: Duration = Duration::from_secs(8);

/// What goes on at a core: requests, their sockets, and what they hold of large bodies.
pub fn load(in_flight: u64) -> usize {
    in_flight as usize + rt::open_sockets() + bodies::held() / REQUEST_BYTES
}

/// How much went on at a core at the most, since something was given back for the last time.
#[derive(Debug, Default)]
pub struct Slack {
    peak: Cell<usize>,
    looking: Cell<bool>,
}

/// Looks at what goes on, one after another, for as long as it is much.
#[derive(Debug)]
pub struct Looks {
    pause: Duration,
    last: usize,
    was_quiet: bool,
    /// Nothing has changed much since something was given back.
    rests: bool,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// What is free may be wanted again soon.
    Nothing,
    /// Nobody seems to want what is free.
    Slack,
}

impl Slack {
    /// Notes how much goes on. Whether somebody has to begin to look.
    pub fn note(&self, load: usize) -> bool {
        if load > self.peak.get() {
            self.peak.set(load);
        }
        self.peak.get() >= PEAK_MIN && !self.looking.replace(true)
    }

    /// Looks once; `None` for the last look.
    pub fn look(&self, looks: &mut Looks, load: usize) -> Option<Found> {
        let peak = self.peak.get().max(load);
        let is_quiet = load <= peak / 2;
        let is_over = is_quiet && looks.was_quiet;
        let is_same = load.abs_diff(looks.last) <= load / 16;
        let found = if is_over || (is_same && !looks.rests) { Found::Slack } else { Found::Nothing };
        self.peak.set(if found == Found::Slack { load } else { peak });
        let pause = if is_same && !is_quiet { LOOK_MAX.min(2 * looks.pause) } else { LOOK };
        *looks = Looks { pause, last: load, was_quiet: is_quiet && found == Found::Nothing, rests: is_same };
        if peak < PEAK_MIN {
            self.looking.set(false);
            return None;
        }
        Some(found)
    }
}

impl Default for Looks {
    fn default() -> Self {
        Self { pause: LOOK, last: 0, was_quiet: false, rests: false }
    }
}

impl Looks {
    /// How long until the next one.
    pub fn pause(&self) -> Duration {
        self.pause
    }
}

/// Returns free pages of the whole process to the system, by a thread of its own.
pub fn trim() {
    // Without a thread for it they stay where they are, until the next peak is over.
    drop(thread::Builder::new().name("kt-trim".to_owned()).spawn(return_pages));
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "see the file's doc")]
fn return_pages() {
    // SAFETY: malloc_trim(3) may be called by any thread at any time (MT-Safe by its manual page); it takes a number, and
    // touches nothing but pages that the allocator knows to be free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators have ways of their own.
#[cfg(not(target_env = "gnu"))]
fn return_pages() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_over_when_half_is_left_twice_in_a_row() {
        let (slack, mut looks) = (Slack::default(), Looks::default());
        assert!(!slack.note(PEAK_MIN - 1), "that is none");
        assert!(slack.note(8_000));
        assert!(!slack.note(8_001), "somebody looks already");
        let found = [7_000, 4_000, 5_000, 4_000, 3_000, 1_500, 10, 9].map(|load| slack.look(&mut looks, load));
        let (none, some) = (Some(Found::Nothing), Some(Found::Slack));
        assert_eq!(found, [none, none, none, none, some, none, some, None]);
        assert!(!slack.note(10) && slack.note(PEAK_MIN), "the next one");
    }

    #[test]
    fn what_rests_gives_back_once_and_is_looked_at_less_often() {
        let (slack, mut looks) = (Slack::default(), Looks::default());
        slack.note(1_000);
        let seen = [990, 1_000, 1_010, 990].map(|load| (slack.look(&mut looks, load), looks.pause().as_secs()));
        let (none, some) = (Some(Found::Nothing), Some(Found::Slack));
        assert_eq!(seen, [(none, 2), (some, 4), (none, 8), (none, 8)]);
        slack.look(&mut looks, 2_000);
        assert_eq!(looks.pause(), LOOK);
        assert_eq!(slack.look(&mut looks, 2_000), some);
    }
}
