//! Reading the log: the last so many records, those since some moment, or whatever comes from now on.
//!
//! It needs no gateway and disturbs none: it opens files and looks. Nothing is parsed here; a record is a line, and a
//! line is whole when its line feed is there. What stands behind the last line feed of a file that has a successor was
//! torn by a crash, and is skipped. Where to begin is looked up in the segments' indexes, as far as they go; without them
//! the same records are found, later.

use std::io;
use std::path::PathBuf;

use kt_core::event::{DECISION_START, is_decision};
use kt_core::limits::EVENT_LINE_BYTES_MAX;
use memchr::{memchr, memrchr_iter};

use super::line;
use super::recover::read_index;
use super::segment::Segment;
use super::source::Source;

/// A log on the disk, which need not exist yet.
#[derive(Clone, Debug)]
pub struct Log {
    dir: PathBuf,
}

/// Which records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Decisions only.
    Decisions,
    /// Decisions and the log's own records.
    All,
}

/// Whole lines in the order of the log, from some place on, across its files.
#[derive(Debug)]
pub struct Lines {
    dir: PathBuf,
    which: Which,
    /// How many lines are still wanted.
    left: u64,
    /// Only what ended at this moment or later, ns since 1970.
    since_ns: u64,
    /// The segment that is being read; none as long as the log doesn't exist.
    open: Option<Open>,
    /// The number of the last line given out, and of which epoch. A segment may begin with lines that the one before it
    /// could not put on the disk, and could not take back.
    last: (u32, u64),
    /// What was read and not given out yet lies from `start` to `end`; up to `searched` there is no line feed in it.
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
    end: usize,
}

#[derive(Debug)]
struct Open {
    segment: Segment,
    source: Source,
    /// Where the next read begins.
    offset: u64,
}

/// How much is read at a time, looking back or going forward.
const STEP_BYTES: usize = 256 * 1_024;

impl Log {
    /// The log in this directory, see [`StateDir::events`](crate::state::StateDir::events).
    pub const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Whether there is anything to be read yet.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn exists(&self) -> io::Result<bool> {
        Ok(!Segment::list(&self.dir)?.is_empty())
    }

    /// The last `count` records of the wanted kind, oldest first; fewer if there are fewer. The log is read backwards
    /// only as far as they go.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn last(&self, count: u64, which: Which) -> io::Result<Lines> {
        self.lines(count, which, count)
    }

    /// The records of the wanted kind that are written from now on. Here [`Lines::next_line`] returns none as long as
    /// there is nothing new, and may be asked again.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn follow(&self, which: Which) -> io::Result<Lines> {
        self.lines(0, which, u64::MAX)
    }

    /// All records of the wanted kind that ended at `since_ns` (ns since 1970) or later, in the order of the log; the
    /// log's own count by their timestamp. 0 is everything. At the end it may be asked again, as [`Self::follow`].
    ///
    /// # Errors
    /// The log can't be read.
    pub fn since(&self, since_ns: u64, which: Which) -> io::Result<Lines> {
        let mut open = None;
        for segment in Segment::list(&self.dir)? {
            let Some(source) = Source::open(&self.dir, segment)? else { continue };
            // What isn't indexed may be of any time, and stands behind what is.
            let index = read_index(&self.dir, segment)?;
            let offset = index.map_or(0, |index| {
                let first = index.batches().find(|entry| entry.latest_ns >= since_ns);
                first.map_or_else(|| index.indexed(), |entry| entry.offset)
            });
            let is_done = offset >= source.len()?;
            open = Some(Open { segment, source, offset });
            if !is_done {
                break;
            }
        }
        Ok(Lines { since_ns, ..self.from(open, which, u64::MAX) })
    }

    /// `left` lines, beginning `back` lines before the end.
    fn lines(&self, back: u64, which: Which, left: u64) -> io::Result<Lines> {
        Ok(self.from(self.look_back(back, which, STEP_BYTES)?, which, left))
    }

    fn from(&self, open: Option<Open>, which: Which, left: u64) -> Lines {
        Lines {
            dir: self.dir.clone(),
            which,
            left,
            since_ns: 0,
            open,
            last: (0, 0),
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            end: 0,
        }
    }

    /// Where the last `count` lines begin; the beginning of the log if it has fewer.
    fn look_back(&self, count: u64, which: Which, step: usize) -> io::Result<Option<Open>> {
        let mut left = count;
        let mut oldest = None;
        for segment in Segment::list(&self.dir)?.into_iter().rev() {
            let Some(mut source) = Source::open(&self.dir, segment)? else { break };
            let step = source.step(step);
            if let Some(offset) = look_back_in(&mut source, &mut left, which, step)? {
                return Ok(Some(Open { segment, source, offset }));
            }
            oldest = Some(Open { segment, source, offset: 0 });
        }
        Ok(oldest)
    }
}

/// Where the line begins with which `left` becomes 0; none if it doesn't, less as many as the file has. If it is 0
/// already, that is behind the last whole line.
fn look_back_in(source: &mut Source, left: &mut u64, which: Which, step: usize) -> io::Result<Option<u64>> {
    let len = source.len()?;
    let mut block = Vec::new();
    let mut end = len;
    // Whether a line feed was seen, so that the line before it is whole.
    let mut whole = false;
    while end > 0 {
        // To know a line by its beginning takes some bytes that may lie beyond this step.
        let from = end.saturating_sub(step as u64);
        let known = DECISION_START.len() as u64;
        source.read_block(from, (end + known).min(len), &mut block)?;
        let step_len = block.len().min((end - from) as usize);
        for feed in memrchr_iter(b'\n', &block[..step_len]) {
            let begins = from + feed as u64 + 1;
            if whole && which.wants(&block[feed + 1..]) {
                *left -= 1;
            }
            whole = true;
            if *left == 0 {
                return Ok(Some(begins));
            }
        }
        end = from;
    }
    if whole && which.wants(&block) {
        *left -= 1;
    }
    Ok((*left == 0).then_some(0))
}

impl Lines {
    /// The next line, without its line feed; none when there is no further one, or none yet.
    ///
    /// # Errors
    /// The log can't be read, or isn't one: a line is longer than [`EVENT_LINE_BYTES_MAX`].
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        while self.left > 0 {
            let Some(len) = memchr(b'\n', &self.buffer[self.searched..self.end]) else {
                self.searched = self.end;
                if self.read_on()? {
                    continue;
                }
                break;
            };
            let line = self.start..self.searched + len;
            self.start = line.end + 1;
            self.searched = self.start;
            if self.is_new(line.clone()) && self.which.wants(&self.buffer[line.clone()]) && self.is_since(line.clone())
            {
                self.left -= 1;
                return Ok(Some(&self.buffer[line]));
            }
        }
        Ok(None)
    }

    /// Whether the line was not given out before.
    fn is_new(&mut self, line: std::ops::Range<usize>) -> bool {
        let line = &self.buffer[line];
        let Some(number) = line::log_epoch(line).zip(line::seq(line)) else { return true };
        let is_new = number > self.last;
        self.last = self.last.max(number);
        is_new
    }

    fn is_since(&self, line: std::ops::Range<usize>) -> bool {
        self.since_ns == 0 || line::ended_ns(&self.buffer[line]).is_none_or(|ended_ns| ended_ns >= self.since_ns)
    }

    /// Reads on in this segment or in the next; whether there is anything new to look at.
    fn read_on(&mut self) -> io::Result<bool> {
        if self.fill()? {
            return Ok(true);
        }
        let after = self.open.as_ref().map(|open| open.segment);
        for segment in Segment::list(&self.dir)?.into_iter().filter(|segment| Some(*segment) > after) {
            // A segment is closed before its successor is made: what it has now is all there will be.
            if self.fill()? {
                return Ok(true);
            }
            let Some(source) = Source::open(&self.dir, segment)? else { continue };
            self.open = Some(Open { segment, source, offset: 0 });
            (self.start, self.searched, self.end) = (0, 0, 0);
            return Ok(true);
        }
        Ok(false)
    }

    /// Reads what the present segment has, up to a step; whether that is anything.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.searched, self.end) = (0, self.searched - self.start, self.end - self.start);
        if self.end > EVENT_LINE_BYTES_MAX {
            let begins = open.offset - self.end as u64;
            let path = self.dir.join(open.segment.file_name());
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is damaged: the line at byte {begins} has no end", path.display()),
            ));
        }
        if self.buffer.len() < self.end + STEP_BYTES {
            self.buffer.resize(self.end + STEP_BYTES, 0);
        }
        let len = open.source.read_at(&mut self.buffer[self.end..], open.offset)?;
        open.offset += len as u64;
        self.end += len;
        Ok(len > 0)
    }
}

impl Which {
    /// Whether the line that begins like this is wanted.
    fn wants(self, line: &[u8]) -> bool {
        match self {
            Self::Decisions => is_decision(line),
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn the_last_lines_are_found_whatever_the_step() {
        let dir = tempdir().unwrap();
        let records: Vec<String> = (0..8).map(|nth| record(nth, nth % 3 == 0)).collect();
        write(dir.path(), 1, 1, &records.concat());
        let log = Log::new(dir.path().into());
        let decisions: Vec<&String> = records.iter().filter(|record| is_decision(record.as_bytes())).collect();
        for step in (1..70).chain([200, records.concat().len(), 100_000]) {
            for count in 0..=records.len() + 1 {
                let expected: usize = records[records.len().saturating_sub(count)..].iter().map(String::len).sum();
                let from_end = |which| log.look_back(count as u64, which, step).unwrap().unwrap().offset as usize;
                assert_eq!(from_end(Which::All), records.concat().len() - expected, "{count} by {step}");

                let text = &records.concat()[from_end(Which::Decisions)..];
                let found: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
                let found: Vec<&String> = found.iter().filter(|record| is_decision(record.as_bytes())).collect();
                assert_eq!(found, decisions[decisions.len().saturating_sub(count)..], "{count} decisions by {step}");
            }
        }
    }

    #[test]
    fn the_last_records_may_lie_in_several_files_with_torn_ends() {
        let dir = tempdir().unwrap();
        write(dir.path(), 1, 1, &[record(1, false), record(2, true), record(3, true)].concat());
        write(dir.path(), 1, 4, &[record(4, true), "{\"event_type\":\"decision\",\"torn".into()].concat());
        write(dir.path(), 2, 1, "");
        write(dir.path(), 3, 1, "{\"event_type\":\"dec");
        write(dir.path(), 4, 1, &[record(5, false), record(6, true), "{\"event_type\":\"decision\",".into()].concat());
        for (count, which, expected) in [
            (0, Which::All, [].as_slice()),
            (1, Which::All, &[6]),
            (2, Which::All, &[5, 6]),
            (3, Which::All, &[4, 5, 6]),
            (6, Which::All, &[1, 2, 3, 4, 5, 6]),
            (9, Which::All, &[1, 2, 3, 4, 5, 6]),
            (1, Which::Decisions, &[6]),
            (2, Which::Decisions, &[4, 6]),
            (4, Which::Decisions, &[2, 3, 4, 6]),
            (9, Which::Decisions, &[2, 3, 4, 6]),
        ] {
            let mut lines = Log::new(dir.path().into()).last(count, which).unwrap();
            assert_eq!(read(&mut lines), expected, "{count} of {which:?}");
        }
    }

    #[test]
    fn the_last_records_end_although_the_log_goes_on() {
        let dir = tempdir().unwrap();
        write(dir.path(), 1, 1, &[record(1, true), record(2, true)].concat());
        let mut lines = Log::new(dir.path().into()).last(2, Which::Decisions).unwrap();
        write(dir.path(), 1, 1, &record(3, true));
        assert_eq!(read(&mut lines), [1, 2]);
    }

    #[test]
    fn a_follower_sees_whole_lines_only_and_those_of_later_files() {
        let dir = tempdir().unwrap();
        let log = Log::new(dir.path().join("events"));
        assert!(!log.exists().unwrap());
        let mut lines = log.follow(Which::Decisions).unwrap();
        assert_eq!(read(&mut lines), [] as [u64; 0]);
        fs::create_dir(dir.path().join("events")).unwrap();
        assert_eq!(read(&mut lines), [] as [u64; 0]);
        for (epoch, text, expected) in [
            (1, "".into(), [].as_slice()),
            (1, record(1, true), &[1]),
            (1, [record(2, false), record(3, true)].concat(), &[3]),
            (1, record(4, true)[..40].into(), &[]),
            (1, [&record(4, true)[40..], &record(5, true)[..1]].concat(), &[4]),
            (1, record(5, true)[1..].into(), &[5]),
            (1, "{\"event_type\":\"decision\",\"torn".into(), &[]),
            (2, record(6, true), &[6]),
            (3, [record(7, true), record(8, true)].concat(), &[7, 8]),
        ] {
            write(&dir.path().join("events"), epoch, 1, &text);
            assert_eq!(read(&mut lines), expected);
        }
        assert!(log.exists().unwrap());
    }

    #[test]
    fn a_follower_starts_at_the_end_and_catches_up_over_several_files() {
        let dir = tempdir().unwrap();
        write(dir.path(), 1, 1, &[record(1, true), record(2, true), record(3, true)[..30].into()].concat());
        let mut lines = Log::new(dir.path().into()).follow(Which::Decisions).unwrap();
        write(dir.path(), 1, 1, &record(3, true)[30..]);
        write(dir.path(), 2, 1, &record(4, true));
        write(dir.path(), 3, 1, "");
        write(dir.path(), 4, 1, &record(5, true));
        assert_eq!(read(&mut lines), [3, 4, 5]);
    }

    #[test]
    fn a_write_that_was_cut_back_is_read_once() {
        let dir = tempdir().unwrap();
        write(dir.path(), 1, 1, &record(1, true));
        let mut lines = Log::new(dir.path().into()).follow(Which::Decisions).unwrap();
        let batch = [record(2, true), record(3, true)].concat();
        let before = fs::metadata(path(dir.path(), 1, 1)).unwrap().len();
        write(dir.path(), 1, 1, &batch[..batch.len() - 5]);
        assert_eq!(read(&mut lines), [2]);
        OpenOptions::new().write(true).open(path(dir.path(), 1, 1)).unwrap().set_len(before).unwrap();
        assert_eq!(read(&mut lines), [] as [u64; 0]);
        write(dir.path(), 1, 1, &batch);
        assert_eq!(read(&mut lines), [3]);
    }

    #[test]
    fn lines_are_longer_than_a_step_and_shorter_than_the_bound() {
        let dir = tempdir().unwrap();
        let long = record(1, true).replace("xyz", &"x".repeat(3 * STEP_BYTES));
        write(dir.path(), 1, 1, &[long, record(2, true)].concat());
        let log = Log::new(dir.path().into());
        assert_eq!(read(&mut log.last(2, Which::Decisions).unwrap()), [1, 2]);

        write(dir.path(), 2, 1, &"x".repeat(EVENT_LINE_BYTES_MAX + 1));
        let error = log.last(5, Which::All).and_then(|mut lines| {
            while lines.next_line()?.is_some() {}
            Ok(())
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("events-00000002-0000000000000001.jsonl is damaged: the line at byte 0"), "{error}");
    }

    fn record(nth: u64, decision: bool) -> String {
        let event_type = if decision { "decision" } else { "config" };
        format!("{{\"event_type\":\"{event_type}\",\"seq\":{nth},\"text\":\"xyz\"}}\n")
    }

    fn path(dir: &Path, log_epoch: u32, first_seq: u64) -> PathBuf {
        dir.join(Segment { log_epoch, first_seq }.file_name())
    }

    fn write(dir: &Path, log_epoch: u32, first_seq: u64, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(path(dir, log_epoch, first_seq)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// The numbers of all lines that there are by now.
    fn read(lines: &mut Lines) -> Vec<u64> {
        let mut seqs = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            let line = std::str::from_utf8(line).unwrap();
            let seq = line.split_once("\"seq\":").unwrap().1.split_once(',').unwrap().0;
            seqs.push(seq.parse().unwrap());
        }
        seqs
    }
}
