//! A body that is taken, at whichever endpoint, is still JSON once it has been edited, and asks for the configured model.
#![no_main]

use kt_core::ask;
use kt_core::config::plan::StreamUsage;
use kt_core::endpoint::Endpoint;
use kt_core::json::{Scratch, Value, scan};
use libfuzzer_sys::fuzz_target;

const MODEL: &str = "a \"b\" c";

fuzz_target!(|body: &[u8]| {
    let mut scratch = Scratch::default();
    for endpoint in Endpoint::ALL {
        let Ok(ask) = ask::read(endpoint, body, &mut scratch) else { continue };
        for usage in [StreamUsage::Ask, StreamUsage::Leave] {
            let edits = ask.edits(MODEL, usage);
            let edited: Vec<u8> = edits.pieces(body.len()).flat_map(|piece| piece.of(body).to_vec()).collect();
            let object = scan(&edited, &mut scratch).expect("an edited body is JSON").value();
            assert!(object.get("model").is_some_and(|model| model.is(MODEL)));
            let inputs = endpoint.inputs().iter().filter_map(|name| object.get(name)).map(Value::raw);
            assert!(inputs.eq(ask.inputs(body).map(Value::raw)));
            assert!(
                !edits.asked_for_usage()
                    || object.path(&["stream_options", "include_usage"]).and_then(Value::to_bool) == Some(true)
            );
        }
    }
});
