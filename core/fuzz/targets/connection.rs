//! A client's whole connection, head, framing and body, comes to the same however it is split.
#![no_main]

use kt_fuzz::play::Client;
use kt_fuzz::{pieces, tight};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((text, pieces)) = pieces(input) else { return };
    let limits = tight();
    assert_eq!(Client::serve(pieces, &limits), Client::serve([text], &limits));
});
