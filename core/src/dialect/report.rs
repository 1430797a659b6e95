//! What a translated request lost on its way: the paths of its fields that the vendor gets in another form than the client
//! wrote, and of those that it doesn't get. They stand in the header `x-kt-translation` and in the decision event.

use super::path::Path;
use crate::limits::{REPORT_PATH_BYTES_MAX, REPORT_PATHS_MAX};

/// Which fields were approximated, and which were dropped; empty for most requests, and then without memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    approximated: Vec<Box<str>>,
    dropped: Vec<Box<str>>,
}

impl Report {
    /// Whether everything was carried as the client said it.
    pub const fn is_empty(&self) -> bool {
        self.approximated.is_empty() && self.dropped.is_empty()
    }

    /// Paths of fields that the vendor gets in a form that means nearly the same; each once, at most
    /// [`REPORT_PATHS_MAX`].
    pub fn approximated(&self) -> &[Box<str>] {
        &self.approximated
    }

    /// Paths of fields that nobody here knows, which the vendor doesn't get; each once, at most [`REPORT_PATHS_MAX`].
    pub fn dropped(&self) -> &[Box<str>] {
        &self.dropped
    }

    /// Appends the value of the header `x-kt-translation`: `approximated=a,b; dropped=c`, in ASCII. Nothing for an empty
    /// report.
    pub fn write_header(&self, out: &mut Vec<u8>) {
        let lists = [("approximated=", &self.approximated), ("dropped=", &self.dropped)];
        for (nth, (name, paths)) in lists.into_iter().filter(|(_, paths)| !paths.is_empty()).enumerate() {
            out.extend_from_slice(if nth == 0 { b"" } else { b"; " });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(paths.join(",").replace('…', "...").as_bytes());
        }
    }

    /// The field at `path` was approximated.
    pub(super) fn approximate(&mut self, path: &Path<'_>) {
        note(&mut self.approximated, path);
    }

    /// The field at `path` was dropped.
    pub(super) fn drop_field(&mut self, path: &Path<'_>) {
        note(&mut self.dropped, path);
    }
}

/// The last path that fits is an ellipsis, which says that there were more.
fn note(paths: &mut Vec<Box<str>>, path: &Path<'_>) {
    if paths.len() >= REPORT_PATHS_MAX {
        return;
    }
    let mut path = if paths.len() + 1 == REPORT_PATHS_MAX { "…".to_owned() } else { path.to_string() };
    path.truncate(path.floor_char_boundary(REPORT_PATH_BYTES_MAX));
    if !paths.iter().any(|each| **each == *path) {
        paths.push(path.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_each_path_once_and_is_bounded() {
        let (root, mut report) = (Path::Root, Report::default());
        let mut header = Vec::new();
        report.write_header(&mut header);
        assert!(report.is_empty() && header.is_empty());
        report.approximate(&root.field("temperature"));
        report.approximate(&root.field("temperature"));
        report.approximate(&root.field("reasoning_effort"));
        report.drop_field(&root.field("top_z"));
        report.write_header(&mut header);
        assert_eq!(header, b"approximated=temperature,reasoning_effort; dropped=top_z");
        let messages = root.field("messages");
        for nth in 0..10 * REPORT_PATHS_MAX {
            report.drop_field(&messages.item(nth).field("x"));
        }
        assert_eq!(report.dropped().len(), REPORT_PATHS_MAX);
        assert_eq!(report.dropped().last().map(|path| &**path), Some("…"));
        header.clear();
        report.write_header(&mut header);
        assert!(header.is_ascii() && header.ends_with(b",..."));
    }
}
