//! A chunked body has the same payload and the same end however it is split, and never more of it than announced.
#![no_main]

use kt_core::http1::body::BodyReader;
use kt_core::http1::framing::RequestBody;
use kt_fuzz::{pieces, tight};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((text, pieces)) = pieces(input) else { return };
    let limits = tight();
    let (mut body, mut payload) = (BodyReader::request(RequestBody::Chunked, &limits), Vec::new());
    let end = body.collect(text, 0, &mut payload);
    assert!(payload.len() <= limits.body_bytes_max);

    let (mut body, mut collected, mut seen) = (BodyReader::request(RequestBody::Chunked, &limits), Vec::new(), 0);
    let mut reached = Ok(None);
    for piece in pieces {
        if reached == Ok(None) {
            reached = body.collect(piece, 0, &mut collected).map(|end| end.map(|end| seen + end));
            seen += piece.len();
        }
    }
    assert_eq!((reached, collected), (end, payload));
});
