//! What a head says is of its own bytes, and the same however it comes.
#![no_main]

use kt_core::http1::head::{Fields, RequestHead, ResponseHead, Search};
use kt_fuzz::{pieces, tight};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((text, pieces)) = pieces(input) else { return };
    let (limits, mut fields) = (tight(), Fields::default());
    let request = RequestHead::parse(text, &mut Search::default(), &mut fields, &limits);
    if let Ok(Some(head)) = &request {
        assert!(head.len <= text.len() && head.path(text).starts_with(b"/"));
        assert!(fields.iter(text).all(|(name, value)| !name.is_empty() && value == value.trim_ascii()));
    }
    let response = ResponseHead::parse(text, &mut Search::default(), &mut fields, &limits);

    let (mut searches, mut ends) = ((Search::default(), Search::default()), (Ok(None), Ok(None)));
    let mut len = 0;
    for piece in pieces {
        len += piece.len();
        if ends.0 == Ok(None) {
            ends.0 = RequestHead::parse(&text[..len], &mut searches.0, &mut fields, &limits);
        }
        if ends.1 == Ok(None) {
            ends.1 = ResponseHead::parse(&text[..len], &mut searches.1, &mut fields, &limits);
        }
    }
    assert_eq!(ends, (request, response));
});
