//! Drawing an arm: a group's slots come in blocks, and each block is a permutation of the same slots.
//!
//! A block holds every arm exactly as often as its reduced weight says, so a split is exact after each whole block and
//! never far off within one. The order within a block is drawn by chance, so that nothing a client does in a rhythm
//! can line up with an arm. It is the same on every core without a word between them: the seed is a keyed hash of the
//! block's number. Which arm comes next can't be told without the key, but for what a block's own remaining counts
//! give away.

use sha2::{Digest, Sha256};

use crate::config::plan::Group;

/// Draws arms for one core. Remembers the block that it drew from last of each group, so that a draw is a look into a
/// table but for the first of a block, which costs a hash and a shuffle of at most
/// [`BLOCK_SLOTS_MAX`](crate::limits::BLOCK_SLOTS_MAX) slots.
///
/// Groups may be added, removed and reordered between draws, by a reload: what is remembered belongs to a key and a
/// number of slots, not to a position.
#[derive(Debug, Default)]
pub struct Drawer {
    /// By the group's index in its plan.
    blocks: Vec<Block>,
}

/// What a draw gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Index into the group's arms.
    pub arm: usize,
    /// The place that was taken in the group's sequence, from 0.
    pub slot: u64,
}

/// One block of one group, permuted.
#[derive(Debug, Default)]
struct Block {
    key: u64,
    number: u64,
    /// The arm of each slot, by its place in the order of names; empty when nothing has been drawn yet.
    arms: Vec<u32>,
}

impl Drawer {
    /// Takes the group's next place and looks up whose it is. `index` is the group's in its plan.
    ///
    /// # Panics
    /// If the group has no slots, which no checked plan's has.
    pub fn draw(&mut self, index: usize, group: &Group) -> Drawn {
        if self.blocks.len() <= index {
            self.blocks.resize_with(index + 1, Block::default);
        }
        let slots: u32 = group.block.iter().sum();
        let slot = group.place.take();
        let number = slot / u64::from(slots);
        let block = &mut self.blocks[index];
        if block.arms.len() != slots as usize || block.number != number || block.key != group.place.key() {
            block.permute(group.place.key(), number, group.by_name.iter().map(|&arm| group.block[arm as usize]));
        }
        // Not cut off: less than the number of slots, which is a u32.
        let place_in_block = (slot % u64::from(slots)) as usize;
        let by_name = block.arms[place_in_block] as usize;
        Drawn { arm: group.by_name[by_name] as usize, slot }
    }
}

impl Block {
    /// Lays out each arm as often as it has slots, then shuffles (Fisher and Yates, with fastrand's unbiased bounded
    /// draws).
    fn permute(&mut self, key: u64, number: u64, slots_of_arms: impl IntoIterator<Item = u32>) {
        (self.key, self.number) = (key, number);
        self.arms.clear();
        for (arm, slots) in (0..).zip(slots_of_arms) {
            self.arms.extend(std::iter::repeat_n(arm, slots as usize));
        }
        if self.arms.first() != self.arms.last() {
            fastrand::Rng::with_seed(seed(key, number)).shuffle(&mut self.arms);
        }
    }
}

/// SHA-256 over key and block number, cut to 64 bits: whoever knows the seeds of other blocks learns nothing of this.
/// Both parts have a fixed length, so the plain hash of them is a keyed one.
fn seed(key: u64, number: u64) -> u64 {
    let hash = Sha256::new().chain_update(key.to_le_bytes()).chain_update(number.to_le_bytes()).finalize();
    hash.iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests::group;
    use std::collections::HashMap;

    fn arms(drawer: &mut Drawer, group: &Group, count: usize) -> Vec<usize> {
        (0..count).map(|_| drawer.draw(0, group).arm).collect()
    }

    #[test]
    fn twenty_draws_of_seven_and_three_are_fourteen_and_six() {
        for key in 0..200 {
            let drawn = arms(&mut Drawer::default(), &group("g", &[7, 3], key), 20);
            assert_eq!(drawn.iter().filter(|&&arm| arm == 0).count(), 14);
            assert_eq!(drawn[..10].iter().filter(|&&arm| arm == 0).count(), 7);
        }
    }

    #[test]
    fn slots_are_counted_from_zero_without_gaps() {
        let group = group("g", &[2, 1], 7);
        let mut drawer = Drawer::default();
        for slot in 0..100 {
            assert_eq!(drawer.draw(3, &group).slot, slot);
        }
    }

    #[test]
    fn cores_that_share_a_place_agree_on_every_slot() {
        let alone = arms(&mut Drawer::default(), &group("g", &[5, 3, 2], 42), 10_000);
        let shared = group("g", &[5, 3, 2], 42);
        let drawn: Vec<Drawn> = std::thread::scope(|scope| {
            let core = || {
                let mut drawer = Drawer::default();
                (0..2_500).map(|_| drawer.draw(0, &shared)).collect::<Vec<_>>()
            };
            let cores: Vec<_> = (0..4).map(|_| scope.spawn(core)).collect();
            cores.into_iter().flat_map(|core| core.join().expect("a core draws")).collect()
        });
        let mut by_slot = vec![None; 10_000];
        for Drawn { arm, slot } in drawn {
            assert_eq!(by_slot[slot as usize].replace(arm), None, "slot {slot} was drawn twice");
        }
        assert!(by_slot.into_iter().flatten().eq(alone));
    }

    #[test]
    fn an_arm_without_slots_is_never_drawn() {
        let drawn = arms(&mut Drawer::default(), &group("g", &[0, 3, 0, 1, 0], 9), 4_000);
        assert!(drawn.iter().all(|&arm| arm == 1 || arm == 3));
        assert!(arms(&mut Drawer::default(), &group("g", &[0, 1], 9), 100).iter().all(|&arm| arm == 1));
    }

    #[test]
    fn the_largest_block_holds_its_arms_exactly() {
        let drawn = arms(&mut Drawer::default(), &group("g", &[999, 1], 5), 3_000);
        for block in drawn.chunks(1_000) {
            assert_eq!(block.iter().filter(|&&arm| arm == 1).count(), 1);
        }
    }

    /// Counts how often each arrangement comes, over many blocks.
    fn arrangements(block: &[u32], blocks: impl Iterator<Item = (u64, u64)>) -> HashMap<Vec<u32>, f64> {
        let mut counts = HashMap::new();
        let mut permuted = Block::default();
        for (key, number) in blocks {
            permuted.permute(key, number, block.iter().copied());
            *counts.entry(permuted.arms.clone()).or_default() += 1.0;
        }
        counts
    }

    #[test]
    fn every_arrangement_of_a_block_is_as_likely_as_any_other() {
        // 2 + 1 + 2 slots: 30 arrangements. Chi-square with 29 degrees of freedom is above 58.3 once in a thousand.
        let of_one_key = arrangements(&[2, 1, 2], (0..30_000).map(|number| (0xfeed, number)));
        let of_one_number = arrangements(&[2, 1, 2], (0..30_000).map(|key| (key, 3)));
        for counts in [of_one_key, of_one_number] {
            assert_eq!(counts.len(), 30);
            let chi_square: f64 = counts.values().map(|count| (count - 1_000.0).powi(2) / 1_000.0).sum();
            assert!(chi_square < 58.3, "{chi_square}");
        }
    }

    #[test]
    fn a_block_says_nothing_of_the_next_or_of_another_run() {
        // 70 + 30 slots: two arrangements that are drawn apart agree in 58 of 100 places, give or take 4.
        let mut permuted = Block::default();
        let mut order = |key, number| {
            permuted.permute(key, number, [70, 30]);
            permuted.arms.clone()
        };
        let agreement = |a: &[u32], b: &[u32]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        let (mut next_block, mut next_key) = (0, 0);
        for number in 0..1_000 {
            next_block += agreement(&order(1, number), &order(1, number + 1));
            next_key += agreement(&order(number, 0), &order(number + 1, 0));
            assert_ne!(order(number, number + 1), order(number + 1, number));
        }
        for sum in [next_block, next_key] {
            assert!((57_500..58_500).contains(&sum), "{sum} of 100,000 places agree, 58,000 by chance");
        }
    }

    #[test]
    fn a_reload_is_noticed() {
        let mut drawer = Drawer::default();
        let mut fresh = Drawer::default();
        let before = group("g", &[7, 3], 1);
        arms(&mut drawer, &before, 3);
        // Another run, in its first block as the old one was; another split, with the same key; another group.
        for after in [group("g", &[7, 3], 2), group("g", &[1, 1], 2), group("h", &[3, 7], 4)] {
            let twin = group("g", &after.block, after.place.key());
            assert_eq!(arms(&mut drawer, &after, 30), arms(&mut fresh, &twin, 30));
        }
        // And what a reload left alone goes on.
        let expected = arms(&mut Drawer::default(), &group("g", &[7, 3], 1), 10);
        assert_eq!(arms(&mut drawer, &before, 7), expected[3..]);
    }
}
