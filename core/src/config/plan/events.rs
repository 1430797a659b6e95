//! How the log is kept: how far a record has to get, what happens when there is no room, and how long it stays.

use crate::event::WhenFull;
use crate::limits::{EVENT_SEGMENT_AGE_S, EVENT_SEGMENT_BYTES};

/// `events`, defaults or as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventSettings {
    /// `durability`.
    pub durability: Durability,
    /// `when_full`.
    pub when_full: WhenFull,
    /// `rotation`.
    pub rotation: Rotation,
    /// `retention`.
    pub retention: Retention,
    /// `compress`.
    pub compress: Compress,
    /// `bodies`: whether decisions hold the beginnings of requests and answers.
    pub bodies: bool,
}

/// `events.durability`: where a record has to be, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// In the kernel within milliseconds of the answer.
    #[default]
    Written,
    /// On the disk before the last byte of the answer is sent.
    Synced,
    /// In the kernel within a tenth of a second.
    Relaxed,
}

/// `events.compress`: what becomes of closed segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compress {
    /// They stay as they are.
    #[default]
    Off,
    /// They are compressed.
    Zstd,
}

/// `events.rotation`: when a segment is closed, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Length of its lines.
    pub bytes_max: u64,
    /// Time since it was begun, seconds.
    pub age_s_max: u64,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { bytes_max: EVENT_SEGMENT_BYTES, age_s_max: EVENT_SEGMENT_AGE_S }
    }
}

/// `events.retention`: when the oldest segments are removed, whichever comes first; `None` is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Size of all files of the log.
    pub bytes_max: Option<u64>,
    /// Age of a segment's last record, seconds.
    pub age_s_max: Option<u64>,
}
