//! `events`: how the log is kept.

use super::File;
use super::walk::{At, Shape, Walk};
use crate::config::plan::{Compress, Durability, Retention, Rotation};
use crate::event::WhenFull;
use crate::limits::{EVENT_AGE_S_CEILING, EVENT_SEGMENT_BYTES_FLOOR, EVENT_SIZE_BYTES_CEILING};

const EVENTS: Shape<'_> =
    Shape { keys: &["durability", "when_full", "rotation", "retention", "compress", "bodies"], later: &[] };
const BOUNDS: Shape<'_> = Shape { keys: &["bytes_max", "age_s_max"], later: &[] };

const DURABILITY_WORDS: &[(&str, Durability)] =
    &[("written", Durability::Written), ("synced", Durability::Synced), ("relaxed", Durability::Relaxed)];
const WHEN_FULL_WORDS: &[(&str, WhenFull)] = &[("shed", WhenFull::Shed), ("drop", WhenFull::Drop)];
const COMPRESS_WORDS: &[(&str, Compress)] = &[("off", Compress::Off), ("zstd", Compress::Zstd)];

impl Walk<'_> {
    pub(super) fn events(&mut self, at: &At<'_, '_>, file: &mut File) {
        if !self.is_map(at, &EVENTS) {
            return;
        }
        let events = &mut file.events;
        if let Some(at) = at.get("durability") {
            events.durability = self.word(&at, "durability", DURABILITY_WORDS, &[]).unwrap_or_default();
        }
        if let Some(at) = at.get("when_full") {
            events.when_full = self.word(&at, "when_full", WHEN_FULL_WORDS, &[]).unwrap_or_default();
        }
        if let Some(at) = at.get("rotation") {
            let (bytes, age) = self.bounds(&at, EVENT_SEGMENT_BYTES_FLOOR);
            let default = Rotation::default();
            events.rotation =
                Rotation { bytes_max: bytes.unwrap_or(default.bytes_max), age_s_max: age.unwrap_or(default.age_s_max) };
        }
        if let Some(at) = at.get("retention") {
            let (bytes_max, age_s_max) = self.bounds(&at, EVENT_SEGMENT_BYTES_FLOOR);
            events.retention = Retention { bytes_max, age_s_max };
        }
        if let Some(at) = at.get("compress") {
            events.compress = self.word(&at, "compress", COMPRESS_WORDS, &[]).unwrap_or_default();
        }
        if let Some(at) = at.get("bodies") {
            events.bodies = self.flag(&at).unwrap_or_default();
        }
    }

    fn bounds(&mut self, at: &At<'_, '_>, bytes_min: u64) -> (Option<u64>, Option<u64>) {
        if !self.is_map(at, &BOUNDS) {
            return (None, None);
        }
        let bytes = at.get("bytes_max").and_then(|at| self.number(&at, bytes_min..=EVENT_SIZE_BYTES_CEILING));
        let age = at.get("age_s_max").and_then(|at| self.number(&at, 1..=EVENT_AGE_S_CEILING));
        (bytes, age)
    }
}
