//! The files of the log: `events-<log_epoch>-<first seq>.jsonl`, both numbers zero-padded, so that they sort by name; when
//! it is closed, a segment may be packed as `….jsonl.zst`. Beside it lies its index, `….idx` ([`super::index`]), and what
//! was found torn at its end, `….jsonl.torn`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What a packed segment's name has in addition.
const PACKED: &str = ".zst";

/// Makes a file of this name, which must not exist yet, for appending.
pub(super) fn create(dir: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(dir.join(name))
}

/// One file of the log. They order as their records do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// The start of the gateway that wrote it.
    pub(super) log_epoch: u32,
    /// Its first record's number.
    pub(super) first_seq: u64,
}

impl Segment {
    /// The segments in this directory, packed ones included, oldest first; none if it doesn't exist. Files of other
    /// names are not ours.
    pub(super) fn list(dir: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut segments = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            segments.extend(name.to_str().and_then(|name| Self::parse(name.strip_suffix(PACKED).unwrap_or(name))));
        }
        segments.sort_unstable();
        // While one is being packed it is there twice.
        segments.dedup();
        Ok(segments)
    }

    /// Makes the file, which must not exist yet, for appending.
    #[cfg(test)]
    pub(super) fn create(self, dir: &Path) -> io::Result<File> {
        create(dir, &self.file_name())
    }

    pub(super) fn file_name(self) -> String {
        format!("{}.jsonl", self.stem())
    }

    pub(super) fn packed_name(self) -> String {
        format!("{}.jsonl{PACKED}", self.stem())
    }

    pub(super) fn index_name(self) -> String {
        format!("{}.idx", self.stem())
    }

    pub(super) fn torn_name(self) -> String {
        format!("{}.jsonl.torn", self.stem())
    }

    /// Whose index a file of this name is.
    pub(super) fn of_index(name: &str) -> Option<Self> {
        Self::parse(&format!("{}.jsonl", name.strip_suffix(".idx")?))
    }

    fn stem(self) -> String {
        format!("events-{:08}-{:016}", self.log_epoch, self.first_seq)
    }

    fn parse(name: &str) -> Option<Self> {
        let (log_epoch, first_seq) = name.strip_prefix("events-")?.strip_suffix(".jsonl")?.split_once('-')?;
        let segment = Self { log_epoch: log_epoch.parse().ok()?, first_seq: first_seq.parse().ok()? };
        (segment.file_name() == name).then_some(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_form_are_segments() {
        for (name, expected) in [
            ("events-00000001-0000000000000001.jsonl", Some((1, 1))),
            ("events-00000012-0000000000034567.jsonl", Some((12, 34567))),
            ("events-4294967295-18446744073709551615.jsonl", Some((u32::MAX, u64::MAX))),
            ("events-4294967296-0000000000000001.jsonl", None),
            ("events-1-1.jsonl", None),
            ("events-000000001-0000000000000001.jsonl", None),
            ("events-+0000001-0000000000000001.jsonl", None),
            ("events-00000001-0000000000000001.jsonl.torn", None),
            ("events-00000001.jsonl", None),
            ("notes.txt", None),
        ] {
            let found = Segment::parse(name).map(|segment| (segment.log_epoch, segment.first_seq));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn segments_are_listed_in_the_order_of_their_records() {
        let dir = tempfile::tempdir().unwrap();
        let newest = Segment { log_epoch: 100_000_000, first_seq: 1 };
        let in_order = [(1, 1), (1, 900), (2, 1), (99_999_999, 5)]
            .map(|(log_epoch, first_seq)| Segment { log_epoch, first_seq })
            .into_iter()
            .chain([newest]);
        for segment in in_order.clone().rev() {
            segment.create(dir.path()).unwrap();
        }
        fs::write(dir.path().join("README"), "").unwrap();
        assert_eq!(Segment::list(dir.path()).unwrap(), in_order.collect::<Vec<_>>());
        assert!(newest.create(dir.path()).is_err(), "a segment is never taken up again");
    }

    #[test]
    fn a_log_that_does_not_exist_has_no_segments() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Segment::list(&dir.path().join("events")).unwrap(), []);
    }
}
