//! What the log asks of a disk, so that tests can have one that fails: a directory, and files that are appended to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, fstatvfs};
use rustix::io::Errno;

use super::segment;

/// Whether the system is being told what it may forget.
static FORGETTING: AtomicBool = AtomicBool::new(false);

/// The directory of the log.
pub(super) trait Disk {
    type File: Append;

    /// Makes a file, which must not exist yet.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Puts the directory's entries on the disk.
    fn sync(&self) -> io::Result<()>;
    /// Where it is, for people.
    fn path(&self) -> PathBuf;
}

/// A file of the log.
pub(super) trait Append {
    /// One `write` at the end; returns how many bytes were taken.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the file to this length, and gives back what was reserved behind it.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// Puts its bytes on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Sees to it that the bytes from `len` to `end` have their place on the disk.
    fn reserve(&mut self, len: u64, end: u64) -> io::Result<()>;
    /// Tells the system that the bytes from `from` to `to` are hardly read again: it writes what isn't on the disk, and
    /// drops from memory what is. False if it can't be told now.
    fn forget(&self, from: u64, to: u64) -> bool;
    /// Whether it still has a name.
    fn has_name(&self) -> io::Result<bool>;
}

/// A real one.
#[derive(Clone, Debug)]
pub(super) struct Dir(pub(super) PathBuf);

impl Disk for Dir {
    type File = File;

    fn create(&self, name: &str) -> io::Result<File> {
        segment::create(&self.0, name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

impl Append for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn reserve(&mut self, len: u64, end: u64) -> io::Result<()> {
        match fallocate(&*self, FallocateFlags::KEEP_SIZE, len, end - len) {
            // Where nothing can be set aside, there has at least to be as much.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let free = fstatvfs(&*self)?;
                if free.f_bavail.saturating_mul(free.f_frsize) < end - len {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                Ok(())
            }
            result => Ok(result?),
        }
    }

    fn forget(&self, from: u64, to: u64) -> bool {
        // One at a time, and on a thread of its own: the system may let it wait for a slow disk.
        if FORGETTING.swap(true, Ordering::Relaxed) {
            return false;
        }
        let told = self.try_clone().and_then(|file| {
            thread::Builder::new().name("kt-forget".to_owned()).spawn(move || {
                // Advice: where it isn't taken, nothing is lost.
                let _ = fadvise(&file, from, NonZeroU64::new(to - from), Advice::DontNeed);
                FORGETTING.store(false, Ordering::Relaxed);
            })
        });
        if told.is_err() {
            FORGETTING.store(false, Ordering::Relaxed);
        }
        told.is_ok()
    }

    fn has_name(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        Ok(self.metadata()?.nlink() > 0)
    }
}
