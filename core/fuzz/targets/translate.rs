//! Whatever a client or a vendor says: what is written of it is JSON, and of a stream whole events of JSON.
#![no_main]

use kt_core::config::plan::{Provider, StreamUsage};
use kt_core::dialect::{Crossing, Look, Naming, Recipient, Translator, Wanted};
use kt_core::dialect::{translate_answer, translate_error, translate_request};
use kt_core::sse::events;
use kt_fuzz::is_object;
use libfuzzer_sys::fuzz_target;

const NAMING: Naming<'_> = Naming { id: "chatcmpl-\"1", created: 1_700_000_000, model: "a \"b\" c" };

const STREAMED: Wanted = Wanted { stream: true, stream_usage: true, ..Wanted::WHOLE };

fn recipient(crossing: Crossing) -> Recipient<'static> {
    let provider = match crossing {
        Crossing::OpenAiToAnthropic => Provider::Anthropic,
        Crossing::AnthropicToOpenAi => Provider::OpenAi,
    };
    Recipient { provider, model: NAMING.model, stream_usage: StreamUsage::Ask }
}

fuzz_target!(|text: &[u8]| {
    let mut out = Vec::new();
    for crossing in [Crossing::OpenAiToAnthropic, Crossing::AnthropicToOpenAi] {
        out.clear();
        let translated = translate_request(crossing, &recipient(crossing), text, &mut out);
        assert_eq!(translated.is_ok(), is_object(&out));
        let wanted = translated.map_or(STREAMED, |translated| translated.wanted);
        out.clear();
        assert_eq!(translate_answer(crossing, text, &NAMING, wanted, &mut out).is_ok(), is_object(&out));
        out.clear();
        translate_error(crossing, 500, text, &mut out);
        assert!(is_object(&out));

        out.clear();
        let mut translator = Translator::new(crossing, &NAMING, wanted);
        let mut look = Look::new(crossing.vendor());
        let failed = events(text).any(|event| {
            look.at(&event);
            translator.push(&event, &mut out).is_err()
        });
        if !failed {
            translator.conclude(&mut out);
        }
        let mut written = 0;
        for event in events(&out) {
            written += event.raw.len();
            assert!(event.data.is_none_or(|data| *data == *b"[DONE]" || is_object(&data)));
        }
        assert_eq!(written, out.len());
    }
});
