//! A file that is memory, shared with whoever maps it next: what is stored in it survives the process.
//!
//! It is seen as a slice of atomic words, so that two threads, or a process and its successor, can't race in Rust's sense
//! whatever they do. Who may write which word when is the business of [`super::ring`].
//!
//! The `unsafe` of the ledger is here: mapping, unmapping, and the slice. What can't be ruled out from here is that
//! somebody else cuts the file short while it is mapped: then the kernel ends the process with SIGBUS.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// The mapped words of a file.
#[derive(Debug)]
pub(super) struct Map {
    start: NonNull<AtomicU64>,
    words: usize,
}

/// Bytes of a word.
pub(super) const WORD: usize = size_of::<u64>();

impl Map {
    /// Gives `file` room for so many words on the disk, and maps them. They are zero.
    ///
    /// # Errors
    /// There is no room, or the file system can't map.
    pub(super) fn create(file: &File, words: usize) -> io::Result<Self> {
        let bytes = (words * WORD) as u64;
        // A page without a place on the disk would be found out about by a signal.
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, bytes)?,
            Err(error) => return Err(error.into()),
        }
        Self::over(file, words)
    }

    /// Maps what a file has of whole words.
    ///
    /// # Errors
    /// It has none, or can't be mapped.
    pub(super) fn open(file: &File) -> io::Result<Self> {
        let words = usize::try_from(file.metadata()?.len()).unwrap_or(0) / WORD;
        if words == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::over(file, words)
    }

    #[expect(unsafe_code, reason = "see the file's doc")]
    fn over(file: &File, words: usize) -> io::Result<Self> {
        // SAFETY: The kernel chooses where, so no existing mapping is replaced. The range is as long as the file, which
        // is ours: it lies in a private directory that is locked, and nothing in this process cuts it.
        let start = unsafe {
            mmap(ptr::null_mut(), words * WORD, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)?
        };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { start, words })
    }
}

impl Map {
    /// Takes the pages out of this process' memory; they stay in the file and in the kernel's cache of it, and come back
    /// when they are touched.
    #[expect(unsafe_code, reason = "see the file's doc")]
    pub(super) fn let_go(&self) {
        // SAFETY: The range is what `over` mapped, shared and of a file: dropping its pages changes nothing of what is
        // read there next, by whichever thread.
        let advised = unsafe { madvise(self.start.as_ptr().cast(), self.words * WORD, Advice::LinuxDontNeed) };
        debug_assert!(advised.is_ok(), "a mapping of our own can be let go");
    }
}

/// In pieces, for the file systems that can't reserve.
fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let zeros = [0; 64 * 1_024];
    let mut at = 0;
    while at < bytes {
        let len = zeros.len().min((bytes - at) as usize);
        file.write_all_at(&zeros[..len], at)?;
        at += len as u64;
    }
    Ok(())
}

impl Deref for Map {
    type Target = [AtomicU64];

    #[expect(unsafe_code, reason = "see the file's doc")]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: The mapping is `words` long, page-aligned and so aligned for words, readable and writable, and stays
        // until `drop`, which can't happen while the slice is borrowed. Any bits are an `AtomicU64`, and atomics may be
        // changed by others, other processes included.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Map {
    #[expect(unsafe_code, reason = "see the file's doc")]
    fn drop(&mut self) {
        // SAFETY: It is what `over` mapped, with that length, and nobody borrows it any more.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.words * WORD) };
        debug_assert!(unmapped.is_ok(), "a mapping of our own can be unmapped");
    }
}

#[expect(unsafe_code, reason = "see the file's doc")]
// SAFETY: A `Map` is an address and a length of memory that belongs to no thread; all access to it is atomic.
unsafe impl Send for Map {}

#[expect(unsafe_code, reason = "see the file's doc")]
// SAFETY: As for `Send`: a shared `Map` gives out shared atomics, and nothing else.
unsafe impl Sync for Map {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn what_one_mapping_stores_the_next_one_finds() {
        let file = tempfile::tempfile().unwrap();
        let map = Map::create(&file, 1_000).unwrap();
        assert_eq!(map.len(), 1_000);
        map[999].store(7, Ordering::Relaxed);
        let second = Map::open(&file).unwrap();
        assert_eq!(second[999].load(Ordering::Relaxed), 7);
        map.let_go();
        assert_eq!(map[999].load(Ordering::Relaxed), 7, "it is still there");
        drop(map);
        assert_eq!(second[998].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_empty_file_is_no_map() {
        assert!(Map::open(&tempfile::tempfile().unwrap()).is_err());
    }
}
