//! The translators, by cases: what each language says and what becomes of it in the other.

mod answers;
mod requests;
mod streams;
mod to_anthropic;
mod to_openai;

use super::*;

const NAMING: Naming<'_> = Naming { id: "answer-1", created: 1_700_000_000, model: "the-model" };
const CROSSINGS: [Crossing; 2] = [Crossing::OpenAiToAnthropic, Crossing::AnthropicToOpenAi];

/// Whom a request to this model of the vendor's own is for.
fn recipient(crossing: Crossing, model: &str) -> Recipient<'_> {
    let provider = match crossing {
        Crossing::OpenAiToAnthropic => Provider::Anthropic,
        Crossing::AnthropicToOpenAi => Provider::OpenAi,
    };
    Recipient { provider, model, stream_usage: StreamUsage::Ask }
}

/// Translates a request, and checks that what comes out is JSON, begins where `out` ended, and breaks no rule.
fn request(crossing: Crossing, recipient: &Recipient<'_>, body: &str) -> Result<(String, Translated), Fault> {
    let mut out = b"before".to_vec();
    let result = translate_request(crossing, recipient, body.as_bytes(), &mut out);
    let written = out.strip_prefix(b"before").expect("what was there stays there");
    match result {
        Ok(translated) => {
            let broken = broken_rules(crossing.vendor(), written);
            assert!(broken.is_empty(), "{body}: {broken:?}");
            Ok((checked(written), translated))
        }
        Err(fault) => {
            assert!(written.is_empty(), "nothing is written of a request that is refused: {body}");
            Err(fault)
        }
    }
}

/// The text, once it has been parsed by two readers.
fn checked(json: &[u8]) -> String {
    let text = String::from_utf8(json.to_vec()).expect("UTF-8");
    simd_json::to_borrowed_value(&mut json.to_vec()).unwrap_or_else(|error| panic!("{error}: {text}"));
    scan(json, &mut Scratch::default()).unwrap_or_else(|fault| panic!("{fault:?}: {text}"));
    text
}

fn paths(list: &[Box<str>]) -> Vec<&str> {
    list.iter().map(|path| &**path).collect()
}

/// The rows of the tables in a file's own documentation.
fn rows(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|line| line.starts_with("| "))
}

#[test]
fn the_tables_that_users_read_are_those_of_the_code() {
    let page = include_str!("../../../../docs/translation.md");
    let sources = [include_str!("../openai/mod.rs"), include_str!("../anthropic/mod.rs")];
    let ours: Vec<&str> = sources.into_iter().flat_map(rows).collect();
    assert!(ours.len() > 60);
    let missing: Vec<&&str> = ours.iter().filter(|row| !page.lines().any(|line| line == **row)).collect();
    assert!(missing.is_empty(), "docs/translation.md lacks {missing:#?}");
    let theirs = page.lines().filter(|line| line.starts_with("| "));
    assert_eq!(theirs.filter(|row| !ours.contains(row)).count(), 0, "docs/translation.md says more than the code");
}

/// A request's fields, or its messages; what is written for the vendor; and what is approximated.
type Case = (&'static str, &'static str, &'static [&'static str]);

/// Checks cases whose requests are `before`, a case's fields, and a brace.
fn check_requests(crossing: Crossing, model: &str, before: &str, after: &str, cases: &[Case]) {
    for (fields, wanted, approximated) in cases {
        let body = format!("{before}{fields}}}");
        let (written, translated) =
            request(crossing, &recipient(crossing, model), &body).unwrap_or_else(|fault| panic!("{body}: {fault:?}"));
        let head = format!(r#"{{"model":"{model}",{after}"#);
        let rest = written.strip_prefix(&head).unwrap_or_else(|| panic!("{written} doesn't begin with {head}"));
        assert_eq!(rest, format!("{wanted}}}"), "{body}");
        assert_eq!(paths(translated.report.approximated()), *approximated, "{body}");
        assert_eq!(paths(translated.report.dropped()), [""; 0], "{body}");
    }
}
