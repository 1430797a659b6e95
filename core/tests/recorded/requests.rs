//! Recorded requests, translated for the other vendor.

use kt_core::dialect::{Crossing, Dialect, broken_rules, translate_request};
use kt_core::fault::Kind;
use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::schema::Schema;
use crate::{CROSSINGS, Reasons, name, parsed, recipient, records, schema_of, schemas};

/// Files with requests in the client's language, and the least share of them that has to be carried.
fn requests(client: Dialect) -> &'static [(&'static str, f64)] {
    match client {
        Dialect::OpenAi => &[("openai.chat.jsonl", 0.95), ("openai-compatible.chat.jsonl", 0.9)],
        // A quarter of the requests uses tools of the vendor's own.
        Dialect::Anthropic => &[("anthropic.messages.jsonl", 0.7)],
    }
}

#[test]
fn recorded_requests_are_carried_or_refused_by_name() {
    let Some(schemas) = schemas() else { return };
    for crossing in CROSSINGS {
        for (file, share) in requests(crossing.client()) {
            let (mut carried, mut unlike, mut reasons, mut lost) = (0, 0, Reasons::default(), Reasons::default());
            for record in records(&[*file]) {
                let Some(body) = record.get("request_body").filter(|body| body.is_object()) else { continue };
                match carry(crossing, body, &schemas) {
                    Ok(report) => {
                        carried += 1;
                        report.iter().for_each(|line| lost.add(line));
                    }
                    Err(fault) if fault.kind == Kind::NotExpressible => {
                        reasons.add(fault.detail.as_deref().expect("what is to blame"));
                    }
                    Err(fault) => {
                        assert_eq!(fault.kind, Kind::InvalidField, "{}: {fault:?}", name(&record));
                        eprintln!("  invalid: {} {}", name(&record), fault.detail.unwrap_or_default());
                        unlike += 1;
                    }
                }
            }
            let refused = reasons.total();
            eprintln!("{crossing:?}, {file}: {carried} carried, {refused} refused, {unlike} invalid; refused for");
            reasons.tell();
            eprintln!(" lost:");
            lost.tell();
            let carried_share = carried as f64 / (carried + refused) as f64;
            assert!(carried_share >= *share, "{crossing:?}, {file}: {carried_share}");
        }
    }
}

/// Translates a request and holds the outcome against the vendor's schema and rules; what the report says.
fn carry(crossing: Crossing, body: &OwnedValue, schemas: &[Schema; 2]) -> Result<Vec<String>, kt_core::fault::Fault> {
    let mut out = Vec::new();
    let translated = translate_request(crossing, &recipient(crossing), body.encode().as_bytes(), &mut out)
        .inspect_err(|_| assert!(out.is_empty()))?;
    let request = parsed(&out);
    let text = String::from_utf8_lossy(&out);
    let kind = match crossing.vendor() {
        Dialect::OpenAi => "CreateChatCompletionRequest",
        Dialect::Anthropic => "MessageCreateParams",
    };
    let errors = schema_of(schemas, crossing.vendor()).errors(kind, &request);
    assert!(errors.is_empty(), "{errors:?}: {text}");
    let broken = broken_rules(crossing.vendor(), &out);
    assert!(broken.is_empty(), "{broken:?}: {text}");
    assert_eq!(request.get_bool("stream").unwrap_or(false), translated.wanted.stream);
    let report = &translated.report;
    let lines = report.approximated().iter().map(|path| format!("approximated {path}"));
    Ok(lines.chain(report.dropped().iter().map(|path| format!("dropped {path}"))).collect())
}
