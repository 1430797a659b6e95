//! `events`: how the log is kept.

use super::walk::{At, Shape, Walk};

const EVENTS: Shape<'_> = Shape { keys: &["durability", "when_full"], later: &["rotation", "retention"] };

impl Walk<'_> {
    pub(super) fn events(&mut self, at: &At<'_, '_>) {
        if !self.is_map(at, &EVENTS) {
            return;
        }
        if let Some(durability) = at.get("durability") {
            self.word(&durability, "durability", &[("written", ())], &["synced", "relaxed"]);
        }
        if let Some(when_full) = at.get("when_full") {
            self.word(&when_full, "when_full", &[("shed", ())], &["drop"]);
        }
    }
}
