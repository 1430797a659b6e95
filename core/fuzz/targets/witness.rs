//! Whatever a stream says, whoever stands beside it goes on, and an end that was seen stays one.
#![no_main]

use kt_core::endpoint::Endpoint;
use kt_core::sse::events;
use kt_core::witness::{End, Witness, usage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for endpoint in Endpoint::ALL {
        usage(endpoint, text);
        let mut witness = Witness::of(endpoint);
        for event in events(text) {
            let before = witness.end();
            witness.see(&event);
            assert!(!matches!(before, End::Over | End::Failed) || matches!(witness.end(), End::Over | End::Failed));
        }
        witness.usage();
    }
});
