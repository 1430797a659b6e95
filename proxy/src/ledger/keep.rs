//! What becomes of segments that are closed: they may be packed, and the oldest may be removed.
//!
//! Both are done file by file, so that a reader finds each record in one of two places or, removed, in none; a packed
//! segment takes its name when it is whole. What is removed is said in the log, with the chain's head at its end, so that
//! what comes behind can still be held against it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use kt_core::config::plan::{Compress, EventSettings};
use kt_core::event::Removed;
use kt_core::limits::{EVENT_KEEP_TICK_S, MIB};
use sha2::{Digest, Sha256};

use super::index::{Entry, Kind};
use super::recover::read_index;
use super::segment::Segment;

/// Looks after the closed segments of a directory.
#[derive(Debug)]
pub(super) struct Keeper {
    dir: PathBuf,
    packing: Option<JoinHandle<()>>,
    /// When it looked last, ns of the wall clock, and at which segment.
    looked: Option<(u64, Segment)>,
    /// What is to be removed once the log says so.
    doomed: Vec<Segment>,
}

impl Keeper {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, packing: None, looked: None, doomed: Vec::new() }
    }

    /// Packs what is due, and says what is to be removed: once that stands in the log, call [`Self::remove`]. `present` is
    /// being written, and is so long. What goes wrong is said, and tried again.
    pub(super) fn look_after(
        &mut self,
        settings: &EventSettings,
        present: Segment,
        present_bytes: u64,
        wall_ns: u64,
    ) -> Vec<Removed> {
        let tick_ns = EVENT_KEEP_TICK_S * 1_000_000_000;
        if self.looked.is_some_and(|(at, segment)| segment == present && wall_ns.abs_diff(at) < tick_ns) {
            return Vec::new();
        }
        self.looked = Some((wall_ns, present));
        let closed = Segment::list(&self.dir).map(|mut all| {
            all.retain(|segment| *segment < present);
            all
        });
        let done = closed.and_then(|closed| {
            if settings.compress == Compress::Zstd {
                self.pack(&closed)?;
            }
            let expired = expired(&self.dir, settings, &closed, present_bytes, wall_ns)?;
            self.doomed = closed[..expired.len()].to_vec();
            Ok(expired)
        });
        done.unwrap_or_else(|error| {
            self.looked = None;
            tracing::warn!(target: "keeptrusts::events", "Can't look after the segments of the event log: {error}");
            Vec::new()
        })
    }

    /// Removes what the log says is removed.
    pub(super) fn remove(&mut self) {
        for segment in self.doomed.drain(..) {
            for name in [segment.file_name(), segment.packed_name(), segment.index_name()] {
                if let Err(error) = remove(&self.dir.join(&name)) {
                    tracing::warn!(target: "keeptrusts::events", "Can't remove {name}: {error}");
                }
            }
        }
    }

    /// One at a time, on a thread of its own: a segment takes about a second.
    fn pack(&mut self, closed: &[Segment]) -> io::Result<()> {
        if self.packing.as_ref().is_some_and(|packing| !packing.is_finished()) {
            return Ok(());
        }
        let plain: Vec<Segment> =
            closed.iter().copied().filter(|segment| self.dir.join(segment.file_name()).exists()).collect();
        if plain.is_empty() {
            return Ok(());
        }
        let dir = self.dir.clone();
        let body = move || {
            for segment in plain {
                if let Err(error) = pack(&dir, segment) {
                    let name = segment.file_name();
                    tracing::warn!(target: "keeptrusts::events", "Can't compress {name}: {error}");
                }
            }
        };
        self.packing = Some(thread::Builder::new().name("kt-pack".into()).spawn(body)?);
        Ok(())
    }
}

/// Packs a segment. It is there in one form or the other all the time.
pub(super) fn pack(dir: &Path, segment: Segment) -> io::Result<()> {
    let (plain, packed) = (dir.join(segment.file_name()), dir.join(segment.packed_name()));
    let draft = dir.join(format!("{}.new", segment.packed_name()));
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let mut encoder = zstd::Encoder::new(&mut file, 0)?;
    encoder.include_checksum(true)?;
    io::copy(&mut File::open(&plain)?, &mut encoder)?;
    encoder.finish()?;
    file.sync_data()?;
    // What the index says of it comes first: a packed segment without that is damaged.
    let mut index = read_index(dir, segment)?.ok_or_else(|| io::Error::other("it has no index"))?;
    index.entries.retain(|entry| entry.kind == Kind::Batch);
    let (len, crc, sha) = sums(&draft)?;
    let last = index.batches().next_back().map_or((segment.first_seq, 0), |entry| (entry.last_seq, entry.latest_ns));
    index.entries.push(Entry {
        kind: Kind::Packed,
        offset: 0,
        len,
        first_seq: segment.first_seq,
        last_seq: last.0,
        earliest_ns: last.1,
        latest_ns: last.1,
        crc,
        chain: sha,
    });
    super::recover::write_index(dir, segment, &index)?;
    fs::rename(&draft, &packed)?;
    File::open(dir)?.sync_all()?;
    fs::remove_file(&plain)
}

/// Length, CRC-32C and SHA-256 of a file.
pub(super) fn sums(path: &Path) -> io::Result<(u64, u32, [u8; 32])> {
    let mut file = File::open(path)?;
    let (mut len, mut crc, mut sha) = (0, 0, Sha256::new());
    let mut piece = vec![0; MIB];
    loop {
        let came = file.read(&mut piece)?;
        if came == 0 {
            return Ok((len, crc, sha.finalize().into()));
        }
        len += came as u64;
        crc = crc32c::crc32c_append(crc, &piece[..came]);
        sha.update(&piece[..came]);
    }
}

/// The oldest segments, as far as they are beyond the bounds.
fn expired(
    dir: &Path,
    settings: &EventSettings,
    closed: &[Segment],
    present_bytes: u64,
    wall_ns: u64,
) -> io::Result<Vec<Removed>> {
    let retention = settings.retention;
    if retention.bytes_max.is_none() && retention.age_s_max.is_none() {
        return Ok(Vec::new());
    }
    let sizes: Vec<u64> = closed.iter().map(|segment| size(dir, *segment)).collect();
    let mut total: u64 = sizes.iter().sum::<u64>() + present_bytes;
    let mut expired = Vec::new();
    for (segment, bytes) in closed.iter().zip(sizes) {
        let index = read_index(dir, *segment)?;
        let last = index.as_ref().and_then(|index| index.batches().next_back());
        let age_s = last.map_or(0, |last| wall_ns.saturating_sub(last.latest_ns) / 1_000_000_000);
        let reason = match (retention.bytes_max, retention.age_s_max) {
            (Some(max), _) if total > max => "size",
            (_, Some(max)) if age_s > max => "age",
            _ => break,
        };
        expired.push(Removed {
            segment: segment.file_name().into(),
            last_seq: last.map_or(segment.first_seq.saturating_sub(1), |last| last.last_seq),
            bytes: index.as_ref().map_or(0, super::index::Index::indexed),
            chain: index.as_ref().map_or_else(Default::default, super::index::Index::chain),
            reason,
        });
        total -= bytes;
    }
    Ok(expired)
}

fn size(dir: &Path, segment: Segment) -> u64 {
    let names = [segment.file_name(), segment.packed_name(), segment.index_name()];
    names.iter().map(|name| fs::metadata(dir.join(name)).map_or(0, |found| found.len())).sum()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
