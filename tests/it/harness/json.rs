//! JSON by its paths, for assertions that can be read.

use std::fmt;
use std::ops::Range;

use simd_json::OwnedValue;
use simd_json::prelude::*;

/// A JSON value. A path that leads nowhere ends the test and shows the whole of it.
#[derive(Clone, PartialEq)]
pub(crate) struct Json(OwnedValue);

/// Reads `text`.
pub(crate) fn json(text: impl AsRef<[u8]>) -> Json {
    let text = text.as_ref();
    let read = simd_json::to_owned_value(&mut text.to_vec());
    Json(read.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text))))
}

/// Reads one value a line.
pub(crate) fn lines(text: &str) -> Vec<Json> {
    text.lines().map(json).collect()
}

/// Where in the text of an object the value of each of its fields is, as it was written.
pub(crate) fn raw_fields(object: &str) -> Vec<(&str, Range<usize>)> {
    let mut fields = Vec::new();
    let (mut depth, mut name, mut start) = (0, None, 0);
    let mut at = 0;
    while at < object.len() {
        let was = at;
        at += 1;
        match object.as_bytes()[was] {
            b'"' => {
                while object.as_bytes()[at] != b'"' {
                    at += if object.as_bytes()[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                if depth == 1 && name.is_none() {
                    name = Some(&object[was + 1..at - 1]);
                }
            }
            b':' if depth == 1 => start = at,
            b'{' | b'[' => depth += 1,
            close @ (b'}' | b']' | b',') => {
                if depth == 1
                    && let Some(name) = name.take()
                {
                    let value = &object[start..was];
                    let from = start + value.len() - value.trim_start().len();
                    fields.push((name, from..from + value.trim().len()));
                }
                depth -= usize::from(close != b',');
            }
            _ => {}
        }
    }
    fields
}

impl Json {
    /// What is at `path`, as `error.kind` or `choices.0.message`; itself for an empty one.
    pub(crate) fn at(&self, path: &str) -> Self {
        self.find(path).unwrap_or_else(|| panic!("nothing at {path} in {self:?}"))
    }

    /// As [`Self::at`], or none.
    pub(crate) fn find(&self, path: &str) -> Option<Self> {
        let mut steps = path.split('.').filter(|step| !step.is_empty());
        let found = steps.try_fold(&self.0, |value, step| match step.parse::<usize>() {
            Ok(index) => value.get_idx(index),
            Err(_) => value.get(step),
        });
        found.cloned().map(Self)
    }

    /// The text at `path`.
    pub(crate) fn text(&self, path: &str) -> String {
        let found = self.at(path);
        found.0.as_str().unwrap_or_else(|| panic!("no text at {path} in {self:?}")).to_owned()
    }

    /// The text that it is, if it is one.
    pub(crate) fn as_text(&self) -> Option<String> {
        self.0.as_str().map(str::to_owned)
    }

    /// The number at `path`, which is whole.
    pub(crate) fn count(&self, path: &str) -> u64 {
        self.at(path).0.as_u64().unwrap_or_else(|| panic!("no whole number at {path} in {self:?}"))
    }

    /// The number at `path`.
    pub(crate) fn number(&self, path: &str) -> f64 {
        self.at(path).0.cast_f64().unwrap_or_else(|| panic!("no number at {path} in {self:?}"))
    }

    /// Whether `true` stands at `path`.
    pub(crate) fn is(&self, path: &str) -> bool {
        self.at(path).0.as_bool().unwrap_or_else(|| panic!("no boolean at {path} in {self:?}"))
    }

    /// Whether `null` stands at `path`.
    pub(crate) fn is_null(&self, path: &str) -> bool {
        self.at(path).0.is_null()
    }

    /// The items of the list at `path`.
    pub(crate) fn items(&self, path: &str) -> Vec<Self> {
        let found = self.at(path);
        let items = found.0.as_array().unwrap_or_else(|| panic!("no list at {path} in {self:?}"));
        items.iter().cloned().map(Self).collect()
    }

    /// The names of the object's fields, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let object = self.0.as_object().unwrap_or_else(|| panic!("no object: {self:?}"));
        let mut names: Vec<String> = object.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.encode())
    }
}
