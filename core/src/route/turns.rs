//! Round robin: whose turn a slot is.
//!
//! A round has as many turns as a block has slots, and each arm has its share of them, spread as evenly as they go: the
//! smooth weighted round robin that nginx made known. Nothing is drawn by chance, so a client that asks in a rhythm may
//! see one arm only, and no comparison of the arms can be trusted.

/// The arms (indices into `block`) in the order of their turns, each as often as it has slots in `block`; the same
/// round in whatever order the file has them, for `by_name` breaks ties.
///
/// Each turn adds an arm's slots to its credit, and the arm with the most takes it and pays a whole round. After a
/// round every credit is 0 again.
pub fn round_of(block: &[u32], by_name: &[u32]) -> Box<[u32]> {
    let turns: i64 = block.iter().copied().map(i64::from).sum();
    let mut credits: Box<[i64]> = by_name.iter().map(|_| 0).collect();
    let take = |_| {
        let mut taken = 0;
        for (at, &index) in by_name.iter().enumerate() {
            credits[at] += i64::from(block[index as usize]);
            if credits[at] > credits[taken] {
                taken = at;
            }
        }
        credits[taken] -= turns;
        by_name[taken]
    };
    (0..turns).map(take).collect()
}
