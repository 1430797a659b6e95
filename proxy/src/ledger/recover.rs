//! What a start does with what it finds: it completes the epochs before it, and begins none until that is done.
//!
//! An epoch that ended well left no ring. Of any other, the ends of the segments are looked at first: whole lines that an
//! index doesn't know are indexed, and everything from the first byte on that is none is moved to `….torn`. Then the
//! rings are read: what waited there goes to a further segment of that epoch, behind which one `lost` record counts the
//! requests that nothing is known of. Only then are the rings removed. Where the kernel went down as well, what the rings
//! hold is of no certain moment and is left alone: the `lost` record says `at_least`.
//!
//! All of this may be broken off anywhere and begun again: a record in a ring bears the number that it gets in the log
//! before it goes there, so whoever comes next sees what is there already.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kt_core::event::{Decision, Lost, Previous, Stamp, Torn};
use kt_core::json::{Scratch, scan};
use kt_core::limits::{EVENT_DECISION_BYTES_MAX, EVENT_LINE_BYTES_MAX, EVENT_WRITE_BYTES};

use super::disk::Dir;
use super::index::{Chain, ENTRY_BYTES, Entry, HEAD_BYTES, Head, Index, Kind, chain_on};
use super::journal::{Batch, Journal, Reach};
use super::line;
use super::ring::{Found, Left, Owner, Ring, What};
use super::segment::Segment;

/// What a start found.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The epoch that begins.
    pub(super) log_epoch: u32,
    /// The one before, if there was one.
    pub(super) previous: Option<Previous>,
    /// What was moved out of segments.
    pub(super) torn: Vec<Torn>,
    /// What crashes took, by the `lost` records written now.
    pub(super) lost: u64,
}

/// The end of an epoch's last segment, looked at.
struct End {
    last_seq: u64,
    chain: Chain,
}

/// Completes the epochs in this directory, which no gateway is writing to. `boot` is this run of the kernel, by
/// [`this_boot`].
///
/// # Errors
/// The log can't be read or written. What is done by then is done.
pub(super) fn recover(dir: &Path, boot: u64) -> io::Result<Recovered> {
    let segments = Segment::list(dir)?;
    let rings = rings(dir)?;
    let mut epochs: Vec<u32> = segments.iter().map(|segment| segment.log_epoch).collect();
    epochs.extend(rings.iter().map(|(log_epoch, _)| *log_epoch));
    epochs.sort_unstable();
    epochs.dedup();
    let newest = epochs.last().copied();
    let mut recovered = Recovered { log_epoch: 1, previous: None, torn: Vec::new(), lost: 0 };
    for log_epoch in epochs {
        let of_epoch: Vec<&PathBuf> = rings.iter().filter(|(of, _)| *of == log_epoch).map(|(_, path)| path).collect();
        if of_epoch.is_empty() && Some(log_epoch) != newest {
            continue;
        }
        let mut end = End { last_seq: 0, chain: Chain::default() };
        // Before the last one it may be an index that the disk didn't take.
        let last = segments.iter().rfind(|segment| segment.log_epoch == log_epoch);
        let is_due = |segment: &&Segment| Some(*segment) == last || dir.join(segment.file_name()).exists();
        for segment in segments.iter().filter(|segment| segment.log_epoch == log_epoch).filter(is_due) {
            end = heal(dir, *segment, &segments, &mut recovered.torn)?;
        }
        let end = complete(dir, (log_epoch, boot), &of_epoch, end, &mut recovered.lost)?;
        for ring in of_epoch {
            fs::remove_file(ring)?;
        }
        if end.last_seq > 0 {
            recovered.previous = Some(Previous { log_epoch, last_seq: end.last_seq, chain: end.chain });
        }
    }
    let no_number = || io::Error::other("no number is left for this start");
    recovered.log_epoch = newest.unwrap_or(0).checked_add(1).ok_or_else(no_number)?;
    Ok(recovered)
}

/// Tells this run of the kernel from others; 0 where it doesn't say.
pub(super) fn this_boot() -> u64 {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).unwrap_or(0)
}

/// The rings in this directory, by epoch and core.
fn rings(dir: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut rings = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some((log_epoch, core)) = entry.file_name().to_str().and_then(Owner::parse) {
            rings.push((log_epoch, core, entry.path()));
        }
    }
    rings.sort_unstable();
    Ok(rings.into_iter().map(|(log_epoch, _, path)| (log_epoch, path)).collect())
}

/// Writes what an epoch's rings hold, and what they don't.
fn complete(
    dir: &Path,
    (log_epoch, boot): (u32, u64),
    paths: &[&PathBuf],
    end: End,
    lost_total: &mut u64,
) -> io::Result<End> {
    let mut rings = Vec::new();
    for path in paths {
        rings.extend(Ring::open(path)?);
    }
    let Some((_, owner)) = rings.first() else { return Ok(end) };
    let mut stamp = Stamp { log_epoch, seq: end.last_seq + 1, wall_start_ns: owner.wall_start_ns, salt: owner.salt };
    let told = rings.iter().map(|(ring, _)| ring.lost_seq().load(std::sync::atomic::Ordering::Relaxed)).max();
    let is_told = told.is_some_and(|seq| seq > 0 && seq <= end.last_seq);
    if is_told {
        return Ok(end);
    }

    let mut lost = Lost { count: 0, at_least: false, recovered: 0, unconfirmed: 0 };
    let mut found: Vec<(usize, Found)> = Vec::new();
    let mut latest_ns = 0;
    let mut written_seq = 0;
    for (nth, (ring, owner)) in rings.iter().enumerate() {
        written_seq = written_seq.max(ring.written_seq());
        if owner.boot != boot {
            tracing::warn!(
                target: "keeptrusts::events",
                "The system has gone down under the gateway before this one: nobody knows how many of its last requests \
                 have no record",
            );
            lost.at_least = true;
            latest_ns = latest_ns.max(ring.latest_ns());
            continue;
        }
        if !ring.is_readable() {
            let (admitted, published) = ring.counts();
            let freed = ring.freed();
            tracing::warn!(
                target: "keeptrusts::events",
                "{} record(s) that waited in a ring were left by another version, and can't be read",
                published.saturating_sub(freed),
            );
            lost.count += admitted.saturating_sub(freed);
            lost.at_least = true;
            continue;
        }
        let Left { found: of_ring, lost: missing, doubtful, latest_ns: latest } = ring.left(end.last_seq);
        lost.count += missing;
        lost.at_least |= doubtful;
        latest_ns = latest_ns.max(latest);
        found.extend(of_ring.into_iter().map(|found| (nth, found)));
    }
    // A log that has lost its end, as by a power cut: those were records, though maybe not all of them decisions.
    if written_seq > end.last_seq {
        lost.count += written_seq - end.last_seq;
        lost.at_least = true;
    }
    // Those that have numbers were numbered in this order, and the rest comes behind them in the rings' order.
    found.sort_by_key(|(nth, found)| (if found.seq == 0 { u64::MAX } else { found.seq }, *nth));
    if found.is_empty() && lost.count == 0 && !lost.at_least {
        return Ok(end);
    }

    let segment = Segment { log_epoch, first_seq: stamp.seq };
    remove_empty(dir, segment)?;
    let mut journal = Journal::begin(Dir(dir.to_owned()), segment, end.chain, Reach::Kernel)?;
    let mut out = Lines { lines: Vec::new(), batch: None };
    for (nth, found) in &found {
        rings[*nth].0.number(found, stamp.seq);
        match &found.what {
            What::Decision { frame, unconfirmed } => match Decision::decode(frame) {
                Some(mut decision) => {
                    decision.unconfirmed = *unconfirmed;
                    lost.recovered += 1;
                    lost.unconfirmed += u64::from(*unconfirmed);
                    let at = out.lines.len();
                    decision.write_line(&stamp, &mut out.lines);
                    if out.lines.len() - at > EVENT_DECISION_BYTES_MAX {
                        out.lines.truncate(at);
                        decision.shortened().write_line(&stamp, &mut out.lines);
                    }
                    out.note(&mut stamp, decision.ended_ns);
                }
                None => {
                    lost.count += 1;
                    lost.at_least = true;
                }
            },
            What::Gap(gap) => {
                gap.write_line(&stamp, &mut out.lines);
                out.note(&mut stamp, gap.to_ns);
            }
        }
        if out.lines.len() >= EVENT_WRITE_BYTES {
            out.append_to(&mut journal)?;
        }
    }
    for (ring, _) in &rings {
        ring.lost_seq().store(stamp.seq, std::sync::atomic::Ordering::Relaxed);
    }
    lost.write_line(latest_ns, &stamp, &mut out.lines);
    out.note(&mut stamp, latest_ns);
    out.append_to(&mut journal)?;
    journal.end()?;
    *lost_total += lost.count;
    let more = if lost.at_least { "at least " } else { "" };
    tracing::warn!(
        target: "keeptrusts::events",
        "The gateway before this one ended without closing its log: {} decision(s) were recovered, {more}{} lost",
        lost.recovered,
        lost.count,
    );
    Ok(End { last_seq: stamp.seq - 1, chain: journal.chain() })
}

/// A segment that a recovery began and didn't get to write to would be in the way.
fn remove_empty(dir: &Path, segment: Segment) -> io::Result<()> {
    let path = dir.join(segment.file_name());
    match fs::metadata(&path) {
        Ok(found) if found.len() == 0 => fs::remove_file(&path)?,
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    match fs::remove_file(dir.join(segment.index_name())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Lines on their way to a segment.
struct Lines {
    lines: Vec<u8>,
    batch: Option<Batch>,
}

impl Lines {
    fn note(&mut self, stamp: &mut Stamp, ended_ns: u64) {
        let ended_ns = stamp.wall_start_ns.saturating_add(ended_ns);
        let seq = stamp.seq;
        let first = Batch { first_seq: seq, last_seq: seq, earliest_ns: ended_ns, latest_ns: ended_ns };
        let batch = self.batch.get_or_insert(first);
        batch.last_seq = seq;
        batch.earliest_ns = batch.earliest_ns.min(ended_ns);
        batch.latest_ns = batch.latest_ns.max(ended_ns);
        stamp.seq += 1;
    }

    fn append_to(&mut self, journal: &mut Journal<Dir>) -> io::Result<()> {
        if let Some(batch) = self.batch.take() {
            journal.append(&self.lines, batch, Reach::Kernel)?;
            self.lines.clear();
        }
        Ok(())
    }
}

/// Sees to it that a segment consists of whole lines, all of them indexed.
fn heal(dir: &Path, segment: Segment, all: &[Segment], torn: &mut Vec<Torn>) -> io::Result<End> {
    let path = dir.join(segment.file_name());
    if !path.exists() {
        // It was packed, so it was whole.
        let index = read_index(dir, segment)?.ok_or_else(|| io::Error::other("a packed segment has no index"))?;
        return Ok(End::of(&index, segment));
    }
    let before = match read_index(dir, segment)? {
        Some(index) => index,
        None => Index {
            head: Head { segment, chain: chain_before(dir, segment, all)? },
            entries: Vec::new(),
            bad_from: None,
        },
    };
    if let Some(at) = before.bad_from {
        let name = segment.index_name();
        tracing::warn!(target: "keeptrusts::events", "{name} is torn at byte {at}; what it lacks is added");
    }
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    let len = file.metadata()?.len();
    let mut entries = before.entries;
    // An index that is ahead of its segment is one of a power cut.
    while entries.last().is_some_and(|entry| entry.kind != Kind::Batch || entry.end() > len) {
        entries.pop();
    }
    let mut index = Index { head: before.head, entries, bad_from: None };
    let from = index.indexed();
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(len - from).read_to_end(&mut tail)?;

    let mut first_seq = index.batches().next_back().map_or(segment.first_seq, |entry| entry.last_seq + 1);
    let next = all.iter().find(|other| other.log_epoch == segment.log_epoch && **other > segment);
    let kept = whole_lines(&tail, first_seq..next.map_or(u64::MAX, |next| next.first_seq));
    let (lines, rest) = tail.split_at(kept.bytes);
    if !rest.is_empty() {
        set_aside(dir, segment, rest)?;
        let offset = from + kept.bytes as u64;
        tracing::warn!(
            target: "keeptrusts::events",
            "{} byte(s) at the end of {} are no whole records; they were moved to {}",
            rest.len(),
            segment.file_name(),
            segment.torn_name(),
        );
        torn.push(Torn { segment: segment.file_name().into(), offset, bytes: rest.len() as u64 });
    }
    let file = OpenOptions::new().write(true).open(&path)?;
    // Also where nothing is torn: it gives back what was reserved behind the end.
    file.set_len(from + kept.bytes as u64)?;
    if !lines.is_empty() {
        let latest_ns = index.batches().next_back().map_or(0, |entry| entry.latest_ns).max(kept.latest_ns);
        let entry = Entry {
            kind: Kind::Batch,
            offset: from,
            len: kept.bytes as u64,
            first_seq,
            last_seq: kept.last_seq,
            earliest_ns: kept.earliest_ns,
            latest_ns,
            crc: crc32c::crc32c(lines),
            chain: chain_on(&index.chain(), lines),
        };
        first_seq = entry.last_seq + 1;
        index.entries.push(entry);
    }
    write_index(dir, segment, &index)?;
    Ok(End { last_seq: first_seq - 1, ..End::of(&index, segment) })
}

/// The whole lines at the beginning of `text`, which should have these numbers.
struct Whole {
    bytes: usize,
    last_seq: u64,
    earliest_ns: u64,
    latest_ns: u64,
}

fn whole_lines(text: &[u8], numbers: Range<u64>) -> Whole {
    let mut scratch = Scratch::default();
    let mut whole = Whole { bytes: 0, last_seq: numbers.start.saturating_sub(1), earliest_ns: u64::MAX, latest_ns: 0 };
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let Some(text) = line.strip_suffix(b"\n").filter(|text| text.len() <= EVENT_LINE_BYTES_MAX) else { break };
        let seq = whole.last_seq + 1;
        if !numbers.contains(&seq) || line::seq(text) != Some(seq) || scan(text, &mut scratch).is_err() {
            break;
        }
        let ended_ns = line::ended_ns(text).unwrap_or(0);
        whole.bytes += line.len();
        whole.last_seq += 1;
        whole.earliest_ns = whole.earliest_ns.min(ended_ns);
        whole.latest_ns = whole.latest_ns.max(ended_ns);
    }
    whole
}

/// Adds the bytes to the segment's `….torn`.
fn set_aside(dir: &Path, segment: Segment, bytes: &[u8]) -> io::Result<()> {
    let path = dir.join(segment.torn_name());
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// A segment's index; none if it has none, or none that can be read.
pub(super) fn read_index(dir: &Path, segment: Segment) -> io::Result<Option<Index>> {
    match fs::read(dir.join(segment.index_name())) {
        Ok(bytes) => Ok(Index::parse(&bytes).ok().filter(|index| index.head.segment == segment)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Brings the index's file to what `index` says, without touching what is right already.
pub(super) fn write_index(dir: &Path, segment: Segment, index: &Index) -> io::Result<()> {
    let path = dir.join(segment.index_name());
    let mut bytes = Vec::with_capacity(HEAD_BYTES + index.entries.len() * ENTRY_BYTES);
    bytes.extend_from_slice(&index.head.to_bytes());
    for entry in &index.entries {
        bytes.extend_from_slice(&entry.to_bytes());
    }
    if fs::read(&path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    let draft = path.with_extension("idx.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    fs::rename(draft, path)
}

/// The chain's head before a segment whose index is gone.
fn chain_before(dir: &Path, segment: Segment, all: &[Segment]) -> io::Result<Chain> {
    let before = all.iter().rfind(|other| other.log_epoch == segment.log_epoch && **other < segment);
    let Some(before) = before else { return Ok(Chain::default()) };
    Ok(read_index(dir, *before)?.map_or(Chain::default(), |index| index.chain()))
}

impl End {
    fn of(index: &Index, segment: Segment) -> Self {
        let last = index.batches().next_back();
        Self {
            last_seq: last.map_or(segment.first_seq.saturating_sub(1), |entry| entry.last_seq),
            chain: index.chain(),
        }
    }
}
