//! The segment that is being written, with its index: batches go in whole or not at all.
//!
//! A `write` that takes only a part, as on a full disk, is undone: the file is cut back to where it began, so that it
//! ends with a whole line. A file whose `fdatasync` has failed is never synced again, for the kernel may have forgotten
//! by then what it could not write: the batch is cut off, and goes to a new segment.

use std::io;

use kt_core::limits::EVENT_CACHED_BYTES;

use super::disk::{Append, Disk};
use super::index::{Chain, Entry, Head, Kind, chain_on};
use super::segment::Segment;

/// The open segment.
#[derive(Debug)]
pub(super) struct Journal<D: Disk> {
    disk: D,
    segment: Segment,
    file: D::File,
    index: D::File,
    /// Length of the file up to the end of its last whole batch.
    len: u64,
    /// What stands behind `len` of the batch at hand.
    behind: Behind,
    /// Up to where the file's bytes have their place.
    reserved: u64,
    /// Up to where its bytes are out of memory, and where the system was last told.
    forgotten: u64,
    told_at: u64,
    /// The file's `fdatasync` has failed.
    broken: bool,
    /// Entries that the index hasn't taken yet, and how much of its end has to be cut off before.
    entries: Vec<u8>,
    index_len: u64,
    index_torn: bool,
    chain: Chain,
    latest_ns: u64,
}

/// What a batch is, beside its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    /// Ends of decisions, ns since 1970.
    pub(super) earliest_ns: u64,
    pub(super) latest_ns: u64,
}

/// How far a batch has to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Into the kernel.
    Kernel,
    /// Onto the disk.
    Disk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    Nothing,
    /// A part of it, to be cut off.
    Part,
    /// All of it, which isn't on the disk yet.
    All,
}

impl<D: Disk> Journal<D> {
    /// Begins a segment. `chain` is what was before it in the epoch.
    pub(super) fn begin(disk: D, segment: Segment, chain: Chain, reach: Reach) -> io::Result<Self> {
        let (file, index) = make(&disk, segment, chain, reach)?;
        Ok(Self {
            disk,
            segment,
            file,
            index,
            len: 0,
            behind: Behind::Nothing,
            reserved: 0,
            forgotten: 0,
            told_at: 0,
            broken: false,
            entries: Vec::new(),
            index_len: super::index::HEAD_BYTES as u64,
            index_torn: false,
            chain,
            latest_ns: 0,
        })
    }

    /// Appends a batch of lines, or leaves the segment as it was. May be tried again with the same batch.
    pub(super) fn append(&mut self, lines: &[u8], batch: Batch, reach: Reach) -> io::Result<()> {
        if self.broken || !self.file.has_name()? {
            self.go_on_in_a_new_one(batch.first_seq, reach)?;
        }
        if self.behind == Behind::Part {
            self.cut_back()?;
        }
        if self.behind == Behind::Nothing {
            let taken = self.file.append(lines)?;
            if taken < lines.len() {
                self.behind = Behind::Part;
                self.cut_back()?;
                return Err(io::Error::other(format!("only {taken} of {} bytes were taken", lines.len())));
            }
            self.behind = Behind::All;
        }
        if reach == Reach::Disk
            && let Err(error) = self.file.sync()
        {
            self.broken = true;
            // Where this fails too, the lines stay, and a later segment begins with the same numbers: readers and the
            // next start believe that one.
            let _ = self.file.cut(self.len);
            return Err(io::Error::new(error.kind(), format!("fdatasync: {error}")));
        }
        self.behind = Behind::Nothing;
        self.chain = chain_on(&self.chain, lines);
        self.latest_ns = self.latest_ns.max(batch.latest_ns);
        let entry = Entry {
            kind: Kind::Batch,
            offset: self.len,
            len: lines.len() as u64,
            first_seq: batch.first_seq,
            last_seq: batch.last_seq,
            earliest_ns: batch.earliest_ns,
            latest_ns: self.latest_ns,
            crc: crc32c::crc32c(lines),
            chain: self.chain,
        };
        self.len = entry.end();
        self.entries.extend_from_slice(&entry.to_bytes());
        self.write_index();
        self.forget();
        Ok(())
    }

    /// Lets the system forget all but the end of the file. What it hears of for the first time it begins to write; what was
    /// written meanwhile, when it hears of it again, it drops.
    fn forget(&mut self) {
        if self.len - self.told_at < EVENT_CACHED_BYTES {
            return;
        }
        let to = self.len.saturating_sub(EVENT_CACHED_BYTES);
        if to > self.forgotten && self.file.forget(self.forgotten, to) {
            self.forgotten = to.saturating_sub(EVENT_CACHED_BYTES);
        }
        self.told_at = self.len;
    }

    /// The index is derived: what it doesn't take now it is offered again behind the next batch.
    fn write_index(&mut self) {
        if self.index_torn && self.index.cut(self.index_len).is_err() {
            return;
        }
        self.index_torn = false;
        match self.index.append(&self.entries) {
            Ok(taken) if taken == self.entries.len() => {
                self.index_len += taken as u64;
                self.entries.clear();
            }
            Ok(_) => self.index_torn = true,
            Err(_) => {}
        }
    }

    fn cut_back(&mut self) -> io::Result<()> {
        self.file.cut(self.len)?;
        // Cutting gives back what was reserved.
        self.reserved = self.len;
        self.behind = Behind::Nothing;
        Ok(())
    }

    /// Goes on in a segment that begins with this number, and leaves the present one, which is whole up to there.
    pub(super) fn go_on_in_a_new_one(&mut self, first_seq: u64, reach: Reach) -> io::Result<()> {
        let segment = Segment { log_epoch: self.segment.log_epoch, first_seq };
        if segment == self.segment {
            // It has no record yet. What is there of it is in the way, and may be gone already.
            let _ = self.disk.remove(&segment.index_name());
            let _ = self.disk.remove(&segment.file_name());
        }
        let (file, index) = make(&self.disk, segment, self.chain, reach)?;
        if self.segment != segment {
            self.write_index();
            if reach == Reach::Disk {
                // So that a power cut leaves it whole; what fails here the next start completes.
                let _ = self.index.sync();
            }
        }
        if !self.broken {
            // What was reserved and not used; on a disk that refuses, the next start gives it back.
            let _ = self.file.cut(self.len);
        }
        self.segment = segment;
        (self.file, self.index) = (file, index);
        (self.len, self.reserved, self.index_len) = (0, 0, super::index::HEAD_BYTES as u64);
        (self.forgotten, self.told_at) = (0, 0);
        (self.broken, self.index_torn, self.behind) = (false, false, Behind::Nothing);
        self.entries.clear();
        self.latest_ns = 0;
        Ok(())
    }

    /// Sees to it that this many bytes more have their place on the disk.
    pub(super) fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.len + bytes;
        if end > self.reserved {
            self.file.reserve(self.len, end)?;
            self.reserved = end;
        }
        Ok(())
    }

    /// How many bytes more have their place on the disk.
    pub(super) fn room(&self) -> u64 {
        self.reserved.saturating_sub(self.len)
    }

    /// Gives back what was reserved, and puts everything on the disk.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.write_index();
        if !self.broken {
            self.file.cut(self.len)?;
            self.file.sync()?;
        }
        self.index.sync()?;
        self.disk.sync()
    }

    pub(super) fn segment(&self) -> Segment {
        self.segment
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn chain(&self) -> Chain {
        self.chain
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.disk.path().join(self.segment.file_name())
    }
}

/// Makes a segment's two files, or none.
fn make<D: Disk>(disk: &D, segment: Segment, chain: Chain, reach: Reach) -> io::Result<(D::File, D::File)> {
    let file = disk.create(&segment.file_name())?;
    let index = disk.create(&segment.index_name()).and_then(|mut index| {
        let head = Head { segment, chain }.to_bytes();
        match index.append(&head)? {
            taken if taken == head.len() => Ok(index),
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    });
    let made = index.and_then(|index| match reach {
        Reach::Kernel => Ok(index),
        Reach::Disk => disk.sync().map(|()| index),
    });
    match made {
        Ok(index) => Ok((file, index)),
        Err(error) => {
            // An empty segment is in the way of the next try; that there is none is said anyway.
            let _ = disk.remove(&segment.index_name());
            let _ = disk.remove(&segment.file_name());
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::PathBuf;
    use std::rc::Rc;

    use super::*;

    /// A disk that only remembers what it was told to forget.
    #[derive(Clone, Default)]
    struct Memory {
        told: Rc<RefCell<Vec<(u64, u64)>>>,
        deaf: Rc<RefCell<bool>>,
    }

    impl Disk for Memory {
        type File = Self;

        fn create(&self, _name: &str) -> io::Result<Self> {
            Ok(self.clone())
        }

        fn remove(&self, _name: &str) -> io::Result<()> {
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn path(&self) -> PathBuf {
            PathBuf::new()
        }
    }

    impl Append for Memory {
        fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn cut(&mut self, _len: u64) -> io::Result<()> {
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn reserve(&mut self, _len: u64, _end: u64) -> io::Result<()> {
            Ok(())
        }

        fn forget(&self, from: u64, to: u64) -> bool {
            let hears = !*self.deaf.borrow();
            if hears {
                self.told.borrow_mut().push((from, to));
            }
            hears
        }

        fn has_name(&self) -> io::Result<bool> {
            Ok(true)
        }
    }

    #[test]
    fn the_system_may_forget_all_but_the_end_and_hears_of_everything_twice() {
        let disk = Memory::default();
        let segment = Segment { log_epoch: 1, first_seq: 1 };
        let mut journal = Journal::begin(disk.clone(), segment, Chain::default(), Reach::Kernel).unwrap();
        let batch = Batch { first_seq: 1, last_seq: 1, earliest_ns: 0, latest_ns: 0 };
        let lines = vec![b'x'; EVENT_CACHED_BYTES as usize / 4];
        let mut append = |times: usize| {
            (0..times).for_each(|_| journal.append(&lines, batch, Reach::Kernel).unwrap());
        };
        let step = EVENT_CACHED_BYTES;
        append(4);
        assert_eq!(*disk.told.borrow(), [], "the end stays");
        append(4);
        assert_eq!(*disk.told.borrow(), [(0, step)]);
        append(8);
        assert_eq!(disk.told.borrow()[1..], [(0, 2 * step), (step, 3 * step)]);
        // While an earlier range is still being written, nothing is lost track of.
        *disk.deaf.borrow_mut() = true;
        append(4);
        *disk.deaf.borrow_mut() = false;
        append(4);
        assert_eq!(disk.told.borrow()[3..], [(2 * step, 5 * step)]);
    }
}
