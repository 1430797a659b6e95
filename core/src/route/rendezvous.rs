//! Assigning a unit: weighted rendezvous hashing.
//!
//! Every arm gets a score from a hash of salt, arm and unit; the smallest wins. With `h` the first eight bytes of the
//! hash as a big-endian number and `u = (h / 2^12, cut to a whole number, + 0.5) / 2^52`, the score is `-ln(u) /
//! weight`: an exponential variable whose rate is the weight, so an arm wins with a probability of exactly its share of
//! the weights. An arm's score hangs on that arm alone: a weight that changes moves units only into or out of its arm,
//! an arm that comes takes units from the others and moves none between them, and no order matters. Nothing is
//! remembered, so all cores, nodes and restarts agree.
//!
//! The hash is SHA-256 over the three texts, each behind its length as eight bytes, little-endian. The logarithm is
//! worked out with the four basic operations alone, which IEEE 754 defines to the last bit, so no two machines differ;
//! it agrees with an exact one to some parts in 10^16. docs/assignment.md has test vectors.

use sha2::{Digest, Sha256};

use crate::config::plan::Group;

/// The arm of a unit, an index into the group's arms. Arms of weight 0 get none.
///
/// # Panics
/// If no arm has a weight, which no checked plan allows.
pub fn assign(group: &Group, unit: &[u8]) -> usize {
    let mut best: Option<(f64, usize)> = None;
    // In the order of the names, so that even a tie would not depend on the file.
    for &index in &group.by_name {
        let arm = &group.arms[index as usize];
        if arm.weight == 0 {
            continue;
        }
        let score = score(group.salt.as_bytes(), arm.name.as_bytes(), unit, arm.weight);
        if best.is_none_or(|(least, _)| score < least) {
            best = Some((score, index as usize));
        }
    }
    best.expect("a checked plan's group has an arm with a weight").1
}

/// An arm's score for a unit; the smallest wins. `weight` is above 0.
pub fn score(salt: &[u8], arm: &[u8], unit: &[u8], weight: u32) -> f64 {
    minus_ln(hash(&[salt, arm, unit])) / f64::from(weight)
}

/// What tells units of a salt apart in the log, without saying who they are: the first eight bytes of SHA-256 over salt
/// and unit, each behind its length. Whoever can guess a unit can check the guess.
pub fn unit_hash(salt: &[u8], unit: &[u8]) -> u64 {
    hash(&[salt, unit])
}

fn hash(texts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().iter().take(8).fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}

/// `-ln(u)` of the number between 0 and 1 that the 52 highest bits of `h` stand for, above 0.
///
/// With `u = m * 2^e` and `m` within a factor of
/// the root of two around 1, `ln m` is the series `2 (s + s^3/3 + s^5/5 + ...)` of `s = (m - 1) / (m + 1)`, whose
/// `s` is below 0.172: the terms left out are below 10^-19.
fn minus_ln(h: u64) -> f64 {
    const LN_2: f64 = std::f64::consts::LN_2;
    // Half a step behind the 52 bits stands for the twelve that are cut off; an f64 holds all 53 exactly.
    let u = ((h >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    let bits = u.to_bits();
    // `u` is a normal number: at least 2^-53.
    let mut exponent = ((bits >> 52) & 0x7ff) as i32 - 1_023;
    let mut mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1_023 << 52);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut series = 0.0;
    for odd in (0..12).rev().map(|k| 2 * k + 1) {
        series = series * square + 1.0 / f64::from(odd);
    }
    -(f64::from(exponent) * LN_2 + 2.0 * s * series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests::group;

    const VECTORS: &str = include_str!("../cases/assignment.txt");

    /// A group whose arms have these names and weights.
    fn arms(salt: &str, named: &[(&str, u32)]) -> Group {
        let weights: Vec<u32> = named.iter().map(|&(_, weight)| weight).collect();
        let mut group = group("g", &weights, 1);
        group.salt = salt.into();
        for (arm, &(name, _)) in group.arms.iter_mut().zip(named) {
            arm.name = name.into();
        }
        let mut order: Vec<u32> = (0..named.len() as u32).collect();
        order.sort_by_key(|&index| named[index as usize].0);
        group.by_name = order.into();
        group
    }

    fn name_of<'g>(group: &'g Group, unit: &[u8]) -> &'g str {
        &group.arms[assign(group, unit)].name
    }

    #[test]
    fn the_published_vectors_hold() {
        let mut counted = 0;
        for line in VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let [salt, weights, unit, unit_hash_hex, scores, arm] = fields[..] else { panic!("{line}") };
            let quoted = |text: &str| text.trim_matches('"').to_owned();
            let (salt, unit) = (quoted(salt), quoted(unit));
            let named: Vec<(String, u32)> = weights
                .split_whitespace()
                .map(|pair| pair.split_once('=').expect("name=weight"))
                .map(|(name, weight)| (name.to_owned(), weight.parse().expect("a weight")))
                .collect();
            let named: Vec<(&str, u32)> = named.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
            let group = arms(&salt, &named);
            assert_eq!(name_of(&group, unit.as_bytes()), arm, "{line}");
            assert_eq!(format!("{:016x}", unit_hash(salt.as_bytes(), unit.as_bytes())), unit_hash_hex, "{line}");
            for (&(name, weight), wanted) in named.iter().zip(scores.split_whitespace()) {
                let score = score(salt.as_bytes(), name.as_bytes(), unit.as_bytes(), weight);
                assert_eq!(format!("{score:.9}"), wanted, "{line}: {name}");
            }
            counted += 1;
        }
        assert!(counted >= 12, "{counted} vectors");
    }

    #[test]
    fn the_logarithm_is_one() {
        let mut rng = fastrand::Rng::with_seed(1);
        let edges = [0, 1, 1 << 11, 1 << 12, 1 << 32, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX];
        for h in edges.into_iter().chain(std::iter::repeat_with(|| rng.u64(..)).take(100_000)) {
            let exact = -(((h >> 12) as f64 + 0.5) / 4_503_599_627_370_496.0).ln();
            let ours = minus_ln(h);
            assert!(ours > 0.0 && (ours - exact).abs() <= exact * 1e-15 + 1e-16, "{h}: {ours} {exact}");
        }
    }

    #[test]
    fn shares_are_those_of_the_weights() {
        let group = arms("s", &[("a", 50), ("b", 30), ("c", 20), ("none", 0)]);
        let mut counts = [0_f64; 4];
        for unit in 0..200_000 {
            counts[assign(&group, format!("user-{unit}").as_bytes())] += 1.0;
        }
        assert_eq!(counts[3], 0.0);
        let expected = [100_000.0, 60_000.0, 40_000.0];
        let chi_square: f64 = counts.iter().zip(expected).map(|(n, e)| (n - e).powi(2) / e).sum();
        // Two degrees of freedom: above 13.8 once in a thousand.
        assert!(chi_square < 13.8, "{chi_square}: {counts:?}");
    }

    #[test]
    fn the_order_of_the_file_moves_nobody() {
        let one = arms("s", &[("a", 50), ("b", 30), ("c", 20)]);
        let other = arms("s", &[("c", 20), ("a", 50), ("b", 30)]);
        for unit in 0..20_000 {
            let unit = format!("{unit}");
            assert_eq!(name_of(&one, unit.as_bytes()), name_of(&other, unit.as_bytes()));
        }
    }

    #[test]
    fn a_weight_moves_units_only_into_or_out_of_its_arm() {
        let before = arms("s", &[("a", 50), ("b", 30), ("c", 20)]);
        for (weight, grows) in [(60, true), (10, false), (0, false), (1_000, true)] {
            let after = arms("s", &[("a", 50), ("b", weight), ("c", 20)]);
            for unit in 0..20_000 {
                let unit = format!("u{unit}");
                let (was, is) = (name_of(&before, unit.as_bytes()), name_of(&after, unit.as_bytes()));
                let allowed = if grows { is == "b" } else { was == "b" };
                assert!(was == is || allowed, "{unit}: {was} became {is} when b went from 30 to {weight}");
            }
        }
    }

    #[test]
    fn an_even_split_out_of_seventy_thirty_moves_a_fifth_and_no_more() {
        let before = arms("s", &[("a", 70), ("b", 30)]);
        let after = arms("s", &[("a", 50), ("b", 50)]);
        let units = 100_000;
        let mut moved = 0;
        for unit in 0..units {
            let unit = format!("u{unit}");
            let (was, is) = (name_of(&before, unit.as_bytes()), name_of(&after, unit.as_bytes()));
            assert!(was == is || (was, is) == ("a", "b"), "nobody goes the other way");
            moved += i32::from(was != is);
        }
        // 20 %, give or take four standard deviations.
        assert!((moved - units / 5).abs() < 506, "{moved}");
    }

    #[test]
    fn another_salt_is_another_assignment() {
        let (one, other) = (arms("s", &[("a", 50), ("b", 50)]), arms("t", &[("a", 50), ("b", 50)]));
        let same = (0..20_000).filter(|unit| {
            let unit = format!("{unit}");
            name_of(&one, unit.as_bytes()) == name_of(&other, unit.as_bytes())
        });
        assert!((9_700..10_300).contains(&same.count()));
    }
}
