//! Holding the log against its indexes: every byte of every segment, every number, and the chain from one epoch to the
//! next.
//!
//! It finds what has been changed, lost or swapped by accident. A forger who can write to the log can write its indexes
//! too; against that helps a head of the chain that was kept elsewhere.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kt_core::json::{Scratch, Value, scan};
use kt_core::limits::EVENT_LINE_BYTES_MAX;

use super::index::{Chain, ENTRY_BYTES, Entry, Index, Kind, chain_on};
use super::keep::sums;
use super::line;
use super::segment::Segment;
use super::source::Source;

/// What was found of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is damaged, with its place; nothing if nothing is.
    pub damage: Vec<Damage>,
    /// Segments that were looked at.
    pub segments: Vec<Stretch>,
    /// Records that were looked at.
    pub records: u64,
    /// Decisions among them.
    pub decisions: u64,
    /// Requests that `gap` records count.
    pub gaps: u64,
    /// Requests that `lost` records count.
    pub lost: u64,
    /// Bytes that were moved to `….torn`.
    pub torn_bytes: u64,
    /// Segments that retention removed, as the log says.
    pub removed: u64,
    /// The last epoch, its last number, and the head of its chain.
    pub head: Option<(u32, u64, Chain)>,
}

/// Something that isn't as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The byte of the file's lines, or of the index, if that is known.
    pub byte: Option<u64>,
    /// What is wrong with it.
    pub what: String,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its name.
    pub segment: String,
    /// Bytes of lines.
    pub bytes: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Its first record's number.
    pub first_seq: u64,
    /// Its last record's number.
    pub last_seq: u64,
    /// The earliest and the latest end in it, ns since 1970.
    pub span_ns: Option<(u64, u64)>,
    /// Whether it is packed.
    pub packed: bool,
}

/// Reads the log in `dir` from end to end. It may be written meanwhile: what comes is left alone.
///
/// # Errors
/// It can't be read.
pub fn verify(dir: &Path) -> io::Result<Report> {
    Verifier { dir: dir.to_owned(), ..Verifier::default() }.run()
}

#[derive(Default)]
struct Verifier {
    dir: PathBuf,
    report: Report,
    /// The end of each epoch so far.
    ends: HashMap<u32, End>,
    /// What the log says of segments that are gone: name to last number and chain.
    removed: HashMap<String, (u64, String)>,
    /// Of segments that begin where nothing was before: checked once all `retention` records are known.
    orphans: Vec<(Segment, Chain)>,
    /// What epochs say of the one before them: in which segment, which epoch, its last number and chain.
    links: Vec<(String, u32, u64, String)>,
    scratch: Scratch,
}

#[derive(Clone, Copy)]
struct End {
    last_seq: u64,
    chain: Chain,
}

impl Verifier {
    fn run(mut self) -> io::Result<Report> {
        let segments = Segment::list(&self.dir)?;
        for (nth, segment) in segments.iter().enumerate() {
            let successor = segments.get(nth + 1).copied();
            self.segment(*segment, successor)?;
        }
        self.look_around(&segments)?;
        self.check_beginnings();
        if self.report.damage.is_empty() {
            self.check_links();
        }
        Ok(self.report)
    }

    fn say(&mut self, file: String, byte: Option<u64>, what: impl Into<String>) {
        self.report.damage.push(Damage { file, byte, what: what.into() });
    }

    fn segment(&mut self, segment: Segment, successor: Option<Segment>) -> io::Result<()> {
        // The lines first: an index is never ahead of them, also if both grow while we look.
        let Some(mut source) = Source::open(&self.dir, segment)? else { return Ok(()) };
        let packed = matches!(source, Source::Packed(_));
        let index_name = segment.index_name();
        let bytes = match fs::read(self.dir.join(&index_name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.say(index_name, None, "the index is missing");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let index = match Index::parse(&bytes) {
            Ok(index) if index.head.segment == segment => index,
            Ok(_) => {
                self.say(index_name, Some(0), "it is another segment's index");
                return Ok(());
            }
            Err(error) => {
                self.say(index_name, Some(0), error.to_string());
                return Ok(());
            }
        };
        // The last entry of a log that is being written may be on its way; there is a part of it then, and no more.
        let is_part = |bad: u64| (bytes.len() as u64) < bad + ENTRY_BYTES as u64;
        if let Some(bad) = index.bad_from.filter(|bad| successor.is_some() || packed || !is_part(*bad)) {
            self.say(index_name.clone(), Some(bad), "this is no entry, or a damaged one");
        }
        self.check_beginning(segment, &index);
        let name = if packed { segment.packed_name() } else { segment.file_name() };
        if packed && !self.check_packed(segment, &index)? {
            return Ok(());
        }
        let mut end = End { last_seq: segment.first_seq.saturating_sub(1), chain: index.head.chain };
        let mut at = 0;
        let mut batch = Vec::new();
        for entry in index.batches() {
            if entry.offset != at || entry.first_seq != end.last_seq + 1 {
                self.say(
                    index_name.clone(),
                    None,
                    format!("its entries leave something out before byte {}", entry.offset),
                );
                break;
            }
            if let Err(error) = source.read_block(entry.offset, entry.end(), &mut batch) {
                self.say(name.clone(), Some(at), format!("it can't be read: {error}"));
                break;
            }
            if !self.check_batch(&name, entry, &end, &batch) {
                break;
            }
            self.read_lines(&name, &batch);
            end = End { last_seq: entry.last_seq, chain: entry.chain };
            at = entry.end();
        }
        self.check_rest(segment, &name, &mut source, at, &mut end, successor)?;
        let file_bytes = [name, index_name]
            .map(|name| fs::metadata(self.dir.join(name)).map_or(0, |found| found.len()))
            .iter()
            .sum();
        self.report.segments.push(Stretch {
            segment: segment.file_name(),
            bytes: at,
            file_bytes,
            first_seq: segment.first_seq,
            last_seq: end.last_seq,
            span_ns: span(&index),
            packed,
        });
        self.report.head = Some((segment.log_epoch, end.last_seq, end.chain));
        self.ends.insert(segment.log_epoch, end);
        Ok(())
    }

    /// Whether it goes on where the one before it has ended.
    fn check_beginning(&mut self, segment: Segment, index: &Index) {
        match self.ends.get(&segment.log_epoch).copied() {
            Some(end) if segment.first_seq > end.last_seq + 1 => {
                self.orphans.push((segment, index.head.chain));
            }
            Some(end) if segment.first_seq == end.last_seq + 1 && index.head.chain != end.chain => {
                self.say(segment.index_name(), Some(0), "its chain doesn't go on from the segment before");
            }
            // One that begins earlier has the lines again that its predecessor could not put on the disk.
            Some(_) => {}
            None if segment.first_seq == 1 && index.head.chain != Chain::default() => {
                self.say(segment.index_name(), Some(0), "an epoch's chain begins with nothing");
            }
            None if segment.first_seq == 1 => {}
            None => self.orphans.push((segment, index.head.chain)),
        }
    }

    /// Segments before which something is missing: the log has to say that it was removed.
    fn check_beginnings(&mut self) {
        for (segment, chain) in std::mem::take(&mut self.orphans) {
            let before = (segment.first_seq - 1, hex(&chain));
            if !self.removed.values().any(|removed| *removed == before) {
                let what = format!("what is before it is missing, up to record {} of its epoch", segment.first_seq - 1);
                self.say(segment.file_name(), None, what);
            }
        }
    }

    /// Epochs whose predecessor ended elsewhere than they say.
    fn check_links(&mut self) {
        for (name, log_epoch, last_seq, chain) in std::mem::take(&mut self.links) {
            let is_there = self
                .ends
                .get(&log_epoch)
                .is_some_and(|end| (end.last_seq, hex(&end.chain)) == (last_seq, chain.clone()));
            if !is_there && !self.removed.values().any(|removed| *removed == (last_seq, chain.clone())) {
                let what = format!("the epoch before it, {log_epoch}, should end with record {last_seq} and doesn't");
                self.say(name, None, what);
            }
        }
    }

    fn check_packed(&mut self, segment: Segment, index: &Index) -> io::Result<bool> {
        let name = segment.packed_name();
        let (len, crc, sha) = sums(&self.dir.join(&name))?;
        let entry = index.entries.iter().find(|entry| entry.kind == Kind::Packed);
        let is_right = entry.is_some_and(|entry| (entry.len, entry.crc, entry.chain) == (len, crc, sha));
        if !is_right {
            self.say(name, None, "the file is not what was packed");
        }
        Ok(is_right)
    }

    /// A batch against its entry; where they differ, the first line that is none of ours says more or less where.
    fn check_batch(&mut self, name: &str, entry: &Entry, end: &End, batch: &[u8]) -> bool {
        if (batch.len() as u64) < entry.len {
            let byte = entry.offset + batch.len() as u64;
            self.say(
                name.to_owned(),
                Some(byte),
                format!("it ends here, {} byte(s) early", entry.len - batch.len() as u64),
            );
            return false;
        }
        if crc32c::crc32c(batch) == entry.crc && chain_on(&end.chain, batch) == entry.chain {
            return true;
        }
        let bad = first_bad_line(batch, entry.first_seq, &mut self.scratch);
        let what = format!("changed within the batch of records {} to {}", entry.first_seq, entry.last_seq);
        self.say(name.to_owned(), Some(entry.offset + bad as u64), what);
        false
    }

    /// What stands behind the last entry: nothing, or whole lines of a log that is being written.
    fn check_rest(
        &mut self,
        segment: Segment,
        name: &str,
        source: &mut Source,
        at: u64,
        end: &mut End,
        successor: Option<Segment>,
    ) -> io::Result<()> {
        if !self.report.damage.is_empty() {
            return Ok(());
        }
        let len = source.len()?;
        if len == at {
            return Ok(());
        }
        let in_epoch = successor.is_some_and(|successor| successor.log_epoch == segment.log_epoch);
        if in_epoch {
            self.say(name.to_owned(), Some(at), format!("{} byte(s) that the index doesn't know", len - at));
            return Ok(());
        }
        let mut rest = Vec::new();
        source.read_block(at, len.min(at + EVENT_LINE_BYTES_MAX as u64), &mut rest)?;
        let whole = first_bad_line(&rest, end.last_seq + 1, &mut self.scratch);
        self.read_lines(name, &rest[..whole]);
        end.last_seq += memchr::memchr_iter(b'\n', &rest[..whole]).count() as u64;
        // A part of a line at the very end is a write under way, or what the next start sets aside.
        if memchr::memchr(b'\n', &rest[whole..]).is_some() {
            self.say(name.to_owned(), Some(at + whole as u64), "this is no record of the log");
        }
        Ok(())
    }

    fn read_lines(&mut self, name: &str, lines: &[u8]) {
        for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            self.report.records += 1;
            if kt_core::event::is_decision(line) {
                self.report.decisions += 1;
            } else if let Ok(record) = scan(line, &mut self.scratch) {
                let text = |name: &str| record.get(name).and_then(Value::to_str).unwrap_or_default().into_owned();
                let number = |name: &str| record.get(name).and_then(Value::to_u64).unwrap_or(0);
                match text("event_type").as_str() {
                    "config" => {
                        if let Some(before) = record.get("previous") {
                            let number = |name| before.get(name).and_then(Value::to_u64).unwrap_or(0);
                            let chain = before.get("chain").and_then(Value::to_str).unwrap_or_default().into_owned();
                            let log_epoch = u32::try_from(number("log_epoch")).unwrap_or(u32::MAX);
                            self.links.push((name.to_owned(), log_epoch, number("last_seq"), chain));
                        }
                    }
                    "gap" => self.report.gaps += number("count"),
                    "lost" => self.report.lost += number("count"),
                    "retention" => {
                        self.report.removed += 1;
                        let removed = (number("last_seq"), text("chain"));
                        self.removed.insert(text("segment"), removed);
                    }
                    _ => {}
                }
            }
        }
    }

    /// What lies beside the segments: bytes that were set aside, and indexes whose segments are missing.
    fn look_around(&mut self, segments: &[Segment]) -> io::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "torn") {
                self.report.torn_bytes += entry.metadata()?.len();
            }
            let name = entry.file_name();
            let missing = name.to_str().and_then(Segment::of_index).filter(|segment| !segments.contains(segment));
            if let Some(segment) = missing.filter(|segment| self.is_missing(*segment)) {
                self.say(segment.index_name(), None, format!("its segment, {}, is missing", segment.file_name()));
            }
        }
        Ok(())
    }

    /// Whether there should be a segment, and is none: one may have come since, or be on its way out.
    fn is_missing(&self, segment: Segment) -> bool {
        let is_there = |name: String| self.dir.join(name).exists();
        !self.removed.contains_key(&segment.file_name())
            && is_there(segment.index_name())
            && !is_there(segment.file_name())
            && !is_there(segment.packed_name())
    }
}

/// Where the first line begins that is none, or not the one that should be there.
fn first_bad_line(lines: &[u8], first_seq: u64, scratch: &mut Scratch) -> usize {
    let mut at = 0;
    for (line, seq) in lines.split_inclusive(|&byte| byte == b'\n').zip(first_seq..) {
        let is_record =
            line.strip_suffix(b"\n").is_some_and(|text| line::seq(text) == Some(seq) && scan(text, scratch).is_ok());
        if !is_record {
            break;
        }
        at += line.len();
    }
    at
}

fn span(index: &Index) -> Option<(u64, u64)> {
    let earliest = index.batches().map(|entry| entry.earliest_ns).min()?;
    Some((earliest, index.batches().next_back()?.latest_ns))
}

/// A head of the chain as text.
pub fn hex(chain: &Chain) -> String {
    chain.iter().map(|byte| format!("{byte:02x}")).collect()
}
