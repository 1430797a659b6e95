//! A watched answer gives the same captures however it is split; of a JSON object, what stands there.
#![no_main]

use kt_core::json::{Scratch, Watch, scan};
use kt_fuzz::pieces;
use libfuzzer_sys::fuzz_target;

const NAMES: &[&str] = &["usage", "model", "error"];

fuzz_target!(|input: &[u8]| {
    let Some((text, pieces)) = pieces(input) else { return };
    let (mut whole, mut split) = (Watch::new(NAMES, 64), Watch::new(NAMES, 64));
    whole.push(text);
    pieces.for_each(|piece| split.push(piece));
    let mut scratch = Scratch::default();
    let object = scan(text, &mut scratch);
    for name in NAMES {
        assert_eq!(split.captured(name), whole.captured(name), "{name}");
        if let Ok(object) = &object {
            let raw = object.get(name).map(|value| value.raw()).filter(|raw| raw.len() <= 64);
            assert_eq!(whole.captured(name), raw, "{name}");
        }
    }
    assert_eq!(split.is_complete(), whole.is_complete());
});
