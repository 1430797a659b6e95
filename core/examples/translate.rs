//! Translates one request or answer from stdin to stdout, for whoever wants to hold the translators against others:
//! `translate request|answer openai|anthropic [MODEL]`, where the language is the client's. Exit code 1 with the reason on
//! stderr where it is refused.

use std::io::{Read, Write};
use std::process::ExitCode;

use kt_core::config::plan::{Provider, StreamUsage};
use kt_core::dialect::{Crossing, Naming, Recipient, Wanted, translate_answer, translate_request};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (crossing, provider, model) = match words.get(1) {
        Some(&"openai") => (Crossing::OpenAiToAnthropic, Provider::Anthropic, "claude-sonnet-4-5"),
        Some(&"anthropic") => (Crossing::AnthropicToOpenAi, Provider::OpenAi, "gpt-4o"),
        _ => return usage(),
    };
    let recipient = Recipient { provider, model: words.get(2).unwrap_or(&model), stream_usage: StreamUsage::Ask };
    let mut body = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut body) {
        return failed(&error.to_string());
    }
    let mut out = Vec::new();
    let naming = Naming { id: "answer-1", created: 1_700_000_000, model: recipient.model };
    let done = match words[0] {
        "request" => translate_request(crossing, &recipient, &body, &mut out).map(drop),
        "answer" => translate_answer(crossing, &body, &naming, Wanted::WHOLE, &mut out).map(drop),
        _ => return usage(),
    };
    match done.map(|()| std::io::stdout().write_all(&out)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => failed(&error.to_string()),
        Err(fault) => failed(&fault.message()),
    }
}

fn usage() -> ExitCode {
    failed("translate request|answer openai|anthropic [MODEL]")
}

fn failed(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}
