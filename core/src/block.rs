//! Sixteen bytes at a time: where in a text the few bytes stand that mean something.
//!
//! Texts of requests are searched for one of several bytes every few bytes of their length. A search that has to be set
//! up first, as memchr's, costs more there than what it finds; a vector of 16 bytes is compared as fast as one byte.

use wide::u8x16;

/// Bytes in a block.
pub(crate) const BLOCK: usize = 16;

/// Sixteen bytes.
#[derive(Clone, Copy)]
pub(crate) struct Block(u8x16);

/// Which bytes of a block were meant.
#[derive(Clone, Copy)]
pub(crate) struct Marks(u8x16);

impl Block {
    pub(crate) fn new(bytes: &[u8; BLOCK]) -> Self {
        Self(u8x16::new(*bytes))
    }

    /// The bytes that are `byte`.
    pub(crate) fn equal(self, byte: u8) -> Marks {
        Marks(self.0.simd_eq(u8x16::splat(byte)))
    }

    /// The bytes that are `byte` once the bit of lower case is set, which also tells `[` and `{` from the rest.
    pub(crate) fn equal_lowered(self, byte: u8) -> Marks {
        Self(self.0 | u8x16::splat(0x20)).equal(byte)
    }

    /// The bytes that are at most `most`.
    pub(crate) fn at_most(self, most: u8) -> Marks {
        Marks(self.0.min(u8x16::splat(most)).simd_eq(self.0))
    }
}

impl Marks {
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// A bit for each marked byte, the first byte's lowest.
    pub(crate) fn bits(self) -> u32 {
        self.0.to_bitmask()
    }
}

/// How many bytes stand before the first one that `marks` marks; all of them if there is none.
#[inline(always)]
pub(crate) fn before(bytes: &[u8], marks: impl Fn(Block) -> Marks) -> usize {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for (nth, block) in blocks.iter().enumerate() {
        let bits = marks(Block::new(block)).bits();
        if bits != 0 {
            return nth * BLOCK + bits.trailing_zeros() as usize;
        }
    }
    let whole = bytes.len() - rest.len();
    let bits = match bytes.last_chunk::<BLOCK>() {
        // The rest and what stands before it, which is not marked.
        Some(last) => marks(Block::new(last)).bits() >> (BLOCK - rest.len()),
        None => marks(Block::new(&padded(rest))).bits(),
    };
    whole + (bits.trailing_zeros() as usize).min(rest.len())
}

/// Bytes whose bits fill a word.
pub(crate) const WIDE: usize = 4 * BLOCK;

/// Sixty-four bytes.
#[derive(Clone, Copy)]
pub(crate) struct WideBlock([Block; 4]);

impl WideBlock {
    /// The bytes at the start of `bytes`; behind their end, zeros.
    #[inline(always)]
    pub(crate) fn at_start_of(bytes: &[u8]) -> Self {
        let of = |bytes: &[u8; WIDE]| {
            let (blocks, _) = bytes.as_chunks::<BLOCK>();
            Self(std::array::from_fn(|nth| Block::new(&blocks[nth])))
        };
        match bytes.first_chunk() {
            Some(whole) => of(whole),
            None => {
                let mut padded = [0; WIDE];
                padded[..bytes.len()].copy_from_slice(bytes);
                of(&padded)
            }
        }
    }

    /// A bit for each byte that `marks` marks, the first byte's lowest.
    #[inline(always)]
    pub(crate) fn bits(&self, marks: impl Fn(Block) -> Marks) -> u64 {
        let [one, two, three, four] = self.0.map(|block| u64::from(marks(block).bits()));
        one | two << BLOCK | three << (2 * BLOCK) | four << (3 * BLOCK)
    }

    /// Whether `marks` marks a byte, at half the price of saying which.
    #[inline(always)]
    pub(crate) fn has(&self, marks: impl Fn(Block) -> Marks) -> bool {
        let [one, two, three, four] = self.0.map(marks);
        one.or(two).or(three.or(four)).bits() != 0
    }
}

/// How many bytes at the start of `bytes` are in wide blocks of which `marks` marks no byte: long stretches of text are
/// passed over so, and what is left is for whoever looks closer.
#[inline(always)]
pub(crate) fn unmarked(bytes: &[u8], marks: impl Fn(Block) -> Marks) -> usize {
    let (blocks, _) = bytes.as_chunks::<WIDE>();
    let is_unmarked = |block: &&[u8; WIDE]| !WideBlock::at_start_of(*block).has(&marks);
    WIDE * blocks.iter().take_while(is_unmarked).count()
}

/// Fewer bytes than a block's, and zeros. Two words that overlap are put together where a copy of so few bytes would be a
/// call.
#[inline(always)]
fn padded(bytes: &[u8]) -> [u8; BLOCK] {
    let word = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            let behind = u128::from(u64::from_le_bytes(*last)) << (8 * (bytes.len() - 8));
            u128::from(u64::from_le_bytes(*first)) | behind
        }
        _ => bytes.iter().rev().fold(0, |word, byte| word << 8 | u128::from(*byte)),
    };
    word.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_marked_byte_is_found_wherever_it_stands() {
        for len in 0..100 {
            for at in 0..=len {
                let mut bytes = vec![b'a'; len];
                bytes[at..].fill(b'z');
                assert_eq!(before(&bytes, |block| block.equal(b'z')), at, "of {len}");
            }
        }
    }

    #[test]
    fn the_bits_of_a_wide_block_are_its_bytes_in_order() {
        for len in 0..70 {
            for at in 0..len.min(WIDE) {
                let mut bytes = vec![b'a'; len];
                bytes[at] = b'z';
                assert_eq!(WideBlock::at_start_of(&bytes).bits(|block| block.equal(b'z')), 1 << at, "of {len}");
            }
        }
        assert_eq!(WideBlock::at_start_of(&[1; 60]).bits(|block| block.equal(0)), 0xf << 60);
    }

    #[test]
    fn wide_blocks_are_passed_over_up_to_the_one_with_a_mark() {
        for len in 0..300 {
            for at in 0..=len {
                let mut bytes = vec![b'a'; len];
                bytes[at..].fill(b'z');
                assert_eq!(unmarked(&bytes, |block| block.equal(b'z')), at / WIDE * WIDE, "{at} of {len}");
            }
        }
    }

    #[test]
    fn every_byte_is_marked_or_not_as_it_should_be() {
        for byte in 0..=u8::MAX {
            let is_marked = |marks: fn(Block) -> Marks| before(&[byte], marks) == 0;
            assert_eq!(is_marked(|block| block.equal(b'"')), byte == b'"', "{byte}");
            assert_eq!(is_marked(|block| block.equal_lowered(b'{')), matches!(byte, b'{' | b'['), "{byte}");
            assert_eq!(is_marked(|block| block.at_most(0x1f)), byte < 0x20, "{byte}");
            assert_eq!(is_marked(|block| block.equal(0).or(block.equal(0xff))), matches!(byte, 0 | 0xff), "{byte}");
        }
    }
}
