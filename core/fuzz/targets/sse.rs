//! A stream has the same events however it is split, and they are all the bytes that came.
#![no_main]

use kt_core::sse::{Splitter, events};
use kt_fuzz::pieces;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((text, pieces)) = pieces(input) else { return };
    let read = |reads: &mut dyn Iterator<Item = &[u8]>| {
        let (mut splitter, mut buffer, mut seen) = (Splitter::new(), Vec::new(), Vec::new());
        let mut take = |buffer: &mut Vec<u8>, whole: usize| {
            let own = |part: &[u8]| part.to_vec();
            seen.extend(events(&buffer[..whole]).map(|e| (own(e.raw), e.event.map(own), e.data.as_deref().map(own))));
            buffer.drain(..whole);
        };
        for piece in reads {
            buffer.extend_from_slice(piece);
            let whole = splitter.advance(&buffer);
            take(&mut buffer, whole);
            assert_eq!(splitter.pending(), buffer.len());
        }
        take(&mut buffer, splitter.at_end());
        assert_eq!([seen.iter().flat_map(|(raw, ..)| raw).copied().collect(), buffer].concat(), text);
        seen
    };
    assert_eq!(read(&mut { pieces }), read(&mut [text].into_iter()));
});
