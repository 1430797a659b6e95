//! A segment's index: where its batches are, what they are, and what they must add up to.
//!
//! It is derived from the segment, and never ahead of it: an entry is written behind the lines it is of. So it may be
//! behind after a crash; then the next start adds what is missing. It has two uses: readers seek by it, and
//! [`super::verify`] holds the segment against it.
//!
//! ```text
//! head    64 bytes   magic, log_epoch, first seq, the chain's head before this segment, CRC-32C
//! entry   96 bytes   offset, length, first and last seq, earliest and latest end, CRC-32C, kind, chain, CRC-32C
//! ```
//!
//! Numbers are little-endian. The chain is SHA-256 over the head before and the batch's bytes, so that a head stands for
//! everything before it in its epoch. The last entry of a packed segment is of the packed file as a whole.

use std::io;

use sha2::{Digest, Sha256};

use super::segment::Segment;

/// A head of the chain.
pub(super) type Chain = [u8; 32];

pub(super) const HEAD_BYTES: usize = 64;
pub(super) const ENTRY_BYTES: usize = 96;

const MAGIC: &[u8; 8] = b"kt index";

/// What an index begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) segment: Segment,
    /// The chain before the first batch.
    pub(super) chain: Chain,
}

/// One batch, or the packed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Where the batch begins in the segment's lines, and how long it is.
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    /// The earliest end of a decision in this batch, and the latest in the segment up to its end; ns since 1970. The
    /// log's own records count by their timestamp.
    pub(super) earliest_ns: u64,
    pub(super) latest_ns: u64,
    pub(super) crc: u32,
    pub(super) chain: Chain,
}

/// What an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A batch of lines.
    Batch = 0,
    /// The file that the segment was packed into: length, checksum, and SHA-256 in the place of the chain.
    Packed = 1,
}

/// An index, read.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) head: Head,
    pub(super) entries: Vec<Entry>,
    /// Where the first bytes stand that are no entry.
    pub(super) bad_from: Option<u64>,
}

/// The chain's head behind a batch.
pub(super) fn chain_on(before: &Chain, batch: &[u8]) -> Chain {
    Sha256::new().chain_update(before).chain_update(batch).finalize().into()
}

impl Head {
    pub(super) fn to_bytes(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&self.segment.log_epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.first_seq.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.chain);
        seal(&mut bytes);
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD_BYTES] = sealed(bytes)?;
        if bytes[..8] != *MAGIC || bytes[12..16] != [0; 4] {
            return None;
        }
        let segment = Segment { log_epoch: u32_at(bytes, 8), first_seq: u64_at(bytes, 16) };
        Some(Self { segment, chain: bytes[24..56].try_into().ok()? })
    }
}

impl Entry {
    /// Where the next batch begins.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }

    pub(super) fn to_bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let numbers = [self.offset, self.len, self.first_seq, self.last_seq, self.earliest_ns, self.latest_ns];
        for (place, number) in bytes.chunks_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[48..52].copy_from_slice(&self.crc.to_le_bytes());
        bytes[52..56].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes[56..88].copy_from_slice(&self.chain);
        seal(&mut bytes);
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ENTRY_BYTES] = sealed(bytes)?;
        Some(Self {
            kind: match u32_at(bytes, 52) {
                0 => Kind::Batch,
                1 => Kind::Packed,
                _ => return None,
            },
            offset: u64_at(bytes, 0),
            len: u64_at(bytes, 8),
            first_seq: u64_at(bytes, 16),
            last_seq: u64_at(bytes, 24),
            earliest_ns: u64_at(bytes, 32),
            latest_ns: u64_at(bytes, 40),
            crc: u32_at(bytes, 48),
            chain: bytes[56..88].try_into().ok()?,
        })
    }
}

impl Index {
    /// Reads an index as far as it is one.
    ///
    /// # Errors
    /// Its head isn't one.
    pub(super) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let head = bytes.get(..HEAD_BYTES).and_then(Head::parse);
        let head = head.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its head is damaged"))?;
        let mut entries = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
        let mut at = HEAD_BYTES;
        while let Some(entry) = bytes.get(at..at + ENTRY_BYTES).and_then(Entry::parse) {
            entries.push(entry);
            at += ENTRY_BYTES;
        }
        let bad_from = (at < bytes.len()).then_some(at as u64);
        Ok(Self { head, entries, bad_from })
    }

    /// The batches.
    pub(super) fn batches(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.kind == Kind::Batch)
    }

    /// How many bytes of the segment's lines have entries.
    pub(super) fn indexed(&self) -> u64 {
        self.batches().next_back().map_or(0, Entry::end)
    }

    /// The chain's head at the end.
    pub(super) fn chain(&self) -> Chain {
        self.batches().next_back().map_or(self.head.chain, |entry| entry.chain)
    }
}

/// Puts the checksum of what is before them into the bytes 8 to 4 from the end; the last four stay zero.
fn seal(bytes: &mut [u8]) {
    let at = bytes.len() - 8;
    let sum = crc32c::crc32c(&bytes[..at]);
    bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
}

/// The bytes, if their checksum is right.
fn sealed<const LEN: usize>(bytes: &[u8]) -> Option<&[u8; LEN]> {
    let bytes: &[u8; LEN] = bytes.try_into().ok()?;
    let sum = crc32c::crc32c(&bytes[..LEN - 8]);
    (u32_at(bytes, LEN - 8) == sum && bytes[LEN - 4..] == [0; 4]).then_some(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(nth: u64) -> Entry {
        Entry {
            kind: Kind::Batch,
            offset: nth * 100,
            len: 100,
            first_seq: nth + 1,
            last_seq: nth + 1,
            earliest_ns: nth,
            latest_ns: nth,
            crc: 7,
            chain: [nth as u8; 32],
        }
    }

    fn written() -> Vec<u8> {
        let head = Head { segment: Segment { log_epoch: 3, first_seq: 1 }, chain: [9; 32] };
        let entries = (0..5).flat_map(|nth| entry(nth).to_bytes());
        head.to_bytes().into_iter().chain(entries).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let index = Index::parse(&written()).unwrap();
        assert_eq!(index.head.chain, [9; 32]);
        assert_eq!(index.entries, (0..5).map(entry).collect::<Vec<_>>());
        assert_eq!((index.indexed(), index.chain(), index.bad_from), (500, [4; 32], None));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let written = written();
        for at in 0..written.len() {
            for bit in 0..8 {
                let mut flipped = written.clone();
                flipped[at] ^= 1 << bit;
                let noticed = match Index::parse(&flipped) {
                    Ok(index) => index.bad_from.is_some_and(|bad| bad <= at as u64),
                    Err(_) => at < HEAD_BYTES,
                };
                assert!(noticed, "bit {bit} of byte {at}");
            }
        }
        for len in HEAD_BYTES..written.len() {
            let index = Index::parse(&written[..len]).unwrap();
            assert_eq!(index.entries.len(), (len - HEAD_BYTES) / ENTRY_BYTES);
            assert_eq!(index.bad_from.is_some(), !(len - HEAD_BYTES).is_multiple_of(ENTRY_BYTES));
        }
    }
}
