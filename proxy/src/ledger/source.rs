//! A segment as a reader finds it: a file, or a packed one that is unpacked on the way.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use kt_core::limits::MIB;

use super::recover::read_index;
use super::segment::Segment;

/// A segment's lines, opened for reading.
pub(super) enum Source {
    /// As they are.
    Plain(File),
    /// Packed.
    Packed(Packed),
}

/// A packed segment, and how far it has been unpacked: going back means to begin anew.
pub(super) struct Packed {
    file: File,
    unpacked: zstd::Decoder<'static, BufReader<File>>,
    at: u64,
    len: u64,
}

impl Source {
    /// Opens a segment, in the form in which it is there; none if it is gone.
    pub(super) fn open(dir: &Path, segment: Segment) -> io::Result<Option<Self>> {
        match File::open(dir.join(segment.file_name())) {
            Ok(file) => return Ok(Some(Self::Plain(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = match File::open(dir.join(segment.packed_name())) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Without its index it can be read forwards, and looks empty to who asks how long it is.
        let len = read_index(dir, segment)?.map_or(0, |index| index.indexed());
        let unpacked = zstd::Decoder::new(file.try_clone()?)?;
        Ok(Some(Self::Packed(Packed { file, unpacked, at: 0, len })))
    }

    /// How many bytes it has by now.
    pub(super) fn len(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Packed(packed) => Ok(packed.len),
        }
    }

    /// How far to go back at a time, where `step` would do for a file. Each step back into a packed one begins anew.
    pub(super) fn step(&self, step: usize) -> usize {
        match self {
            Self::Plain(_) => step,
            Self::Packed(_) => step.max(16 * MIB),
        }
    }

    /// Reads some bytes from `offset` on; 0 at the end.
    pub(super) fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            let read = match self {
                Self::Plain(file) => file.read_at(bytes, offset),
                Self::Packed(packed) => packed.read_at(bytes, offset),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Reads the bytes from `from` to `to`, or as many of them as there are.
    pub(super) fn read_block(&mut self, from: u64, to: u64, block: &mut Vec<u8>) -> io::Result<()> {
        block.resize((to - from) as usize, 0);
        let mut filled = 0;
        while filled < block.len() {
            match self.read_at(&mut block[filled..], from + filled as u64)? {
                0 => break,
                len => filled += len,
            }
        }
        block.truncate(filled);
        Ok(())
    }
}

impl Packed {
    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.at {
            use std::io::Seek;
            self.file.rewind()?;
            self.unpacked = zstd::Decoder::new(self.file.try_clone()?)?;
            self.at = 0;
        }
        if offset > self.at {
            self.at += io::copy(&mut (&mut self.unpacked).take(offset - self.at), &mut io::sink())?;
        }
        if self.at < offset {
            return Ok(0);
        }
        let len = self.unpacked.read(bytes)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(file) => f.debug_tuple("Plain").field(file).finish(),
            Self::Packed(packed) => f.debug_tuple("Packed").field(&packed.at).finish(),
        }
    }
}
