//! A vendor's answer, interim ones before it included, comes to the same however it is split.
#![no_main]

use kt_fuzz::pieces;
use kt_fuzz::play::answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((text, pieces)) = pieces(input) else { return };
    assert_eq!(answer(pieces), answer([text]));
});
