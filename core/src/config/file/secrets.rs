//! Where a credential is found, and what complaints may show of the lines around one.

use std::collections::HashMap;

use super::walk::{At, NAME_BYTES_MAX, Shape, Walk};
use crate::config::complaint::{Code, Complaint, Place, Shown};
use crate::config::plan::SecretRef;
use crate::config::tree::Value;

const KEY_REF: Shape<'_> = Shape { keys: &["env", "file"], later: &["store"] };

impl Walk<'_> {
    /// A wrong reference is most often the key itself.
    pub(super) fn key_ref(&mut self, at: &At<'_, '_>) -> Option<SecretRef> {
        self.unseen(|walk| walk.key_place(at))
    }

    /// Reads a value of which no complaint shows what stands there.
    pub(super) fn unseen<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let complaints = self.complaints.len();
        let value = read(self);
        for complaint in &mut self.complaints[complaints..] {
            if complaint.shown == Shown::Line {
                complaint.shown = Shown::UpToStart;
            }
            self.secrets.push(complaint.place);
        }
        value
    }

    pub(super) fn hide_secrets(&mut self) {
        let mut by_line: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        for Place { file, line, column, .. } in &self.secrets {
            by_line.entry((*file, *line)).or_default().push(*column);
        }
        for Complaint { place, shown, .. } in &mut self.complaints {
            for &column in by_line.get(&(place.file, place.line)).into_iter().flatten() {
                let most = if place.column > column { Shown::Nothing } else { Shown::UpToEnd };
                *shown = most.max(*shown);
            }
        }
    }

    fn key_place(&mut self, at: &At<'_, '_>) -> Option<SecretRef> {
        const ADVICE: &str = "write env: NAME, the variable that holds the key, or file: PATH";
        if !matches!(at.node.value, Value::Map(_)) {
            self.say(Code::BadKeyRef, at, "must be a map").suggestion = Some(ADVICE.to_owned());
            return None;
        }
        let complaints = self.complaints.len();
        self.is_map(at, &KEY_REF);
        match (at.get("env"), at.get("file")) {
            (Some(env), None) => {
                let name = self.text(&env)?;
                let is_name = name.len() <= NAME_BYTES_MAX
                    && !name.starts_with(|c: char| c.is_ascii_digit())
                    && !name.is_empty()
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                if !is_name {
                    let complaint = self.say(Code::BadKeyRef, &env, "is not the name of an environment variable");
                    complaint.suggestion = Some("name the variable that holds the key, not the key".to_owned());
                    return None;
                }
                Some(SecretRef::Env(name.into()))
            }
            (None, Some(file)) => self.path(&file).map(SecretRef::File),
            // The wrong key has been complained of.
            (None, None) if self.complaints.len() > complaints => None,
            (Some(_), Some(_)) | (None, None) => {
                let place = at.head();
                let complaint = self.say(Code::BadKeyRef, at, "needs exactly one of \"env\" and \"file\"");
                (complaint.place, complaint.shown) = (place, Shown::UpToEnd);
                complaint.suggestion = Some(ADVICE.to_owned());
                None
            }
        }
    }
}
