//! A body that is taken is still JSON once it has been edited, and asks for the configured model.
#![no_main]

use kt_core::ask;
use kt_core::config::plan::StreamUsage;
use kt_core::endpoint::Endpoint;
use kt_core::json::{Scratch, Value, scan};
use libfuzzer_sys::fuzz_target;

const MODEL: &str = "a \"b\" c";

fuzz_target!(|body: &[u8]| {
    let mut scratch = Scratch::default();
    let Ok(ask) = ask::read(Endpoint::ChatCompletions, body, &mut scratch) else { return };
    for usage in [StreamUsage::Ask, StreamUsage::Leave] {
        let edits = ask.edits(MODEL, usage);
        let edited: Vec<u8> = edits.pieces(body.len()).flat_map(|piece| piece.of(body).to_vec()).collect();
        let object = scan(&edited, &mut scratch).expect("an edited body is JSON").value();
        assert!(object.get("model").is_some_and(|model| model.is(MODEL)));
        assert_eq!(object.get("messages").map(Value::raw), ask.inputs(body).next().map(Value::raw));
        assert!(
            !edits.asked_for_usage()
                || object.path(&["stream_options", "include_usage"]).and_then(Value::to_bool) == Some(true)
        );
    }
});
