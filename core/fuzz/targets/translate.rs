//! Whatever a client or a vendor says: what is written of it is JSON, and of a stream whole events of JSON.
#![no_main]

use kt_core::dialect::{Naming, Translator, Wanted, look, translate_answer, translate_error, translate_request};
use kt_core::sse::events;
use kt_fuzz::is_object;
use libfuzzer_sys::fuzz_target;

const NAMING: Naming<'_> = Naming { id: "chatcmpl-\"1", created: 1_700_000_000, model: "a \"b\" c" };

fuzz_target!(|text: &[u8]| {
    let mut out = Vec::new();
    assert_eq!(translate_request(text, NAMING.model, &mut out).is_ok(), is_object(&out));
    out.clear();
    assert_eq!(translate_answer(text, &NAMING, &mut out).is_ok(), is_object(&out));
    out.clear();
    translate_error(500, text, &mut out);
    assert!(is_object(&out));

    out.clear();
    let mut translator = Translator::new(&NAMING, Wanted { stream: true, stream_usage: true });
    for event in events(text) {
        look(&event);
        if translator.push(&event, &mut out).is_err() {
            break;
        }
    }
    let mut written = 0;
    for event in events(&out) {
        written += event.raw.len();
        assert!(event.data.is_none_or(|data| *data == *b"[DONE]" || is_object(&data)));
    }
    assert_eq!(written, out.len());
});
