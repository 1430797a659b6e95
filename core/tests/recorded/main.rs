//! Translators and onlookers on recorded traffic of real vendors (`KT_CORPUS/provider-traffic`): what can be translated
//! says the same and is what the vendors' schemas and rules allow, everything else is a clean fault, and the tokens are
//! those that the vendor counted.

mod answers;
mod neutral;
mod pairs;
mod passing;
mod requests;
mod schema;
mod streams;

use std::path::PathBuf;

use kt_core::config::plan::{Provider, StreamUsage};
use kt_core::dialect::{Crossing, Dialect, Naming, Recipient};
use kt_core::tally::Usage;
use schema::Schema;
use simd_json::prelude::*;
use simd_json::{OwnedValue, to_owned_value};

const NAMING: Naming<'_> = Naming { id: "answer-1", created: 1_700_000_000, model: "the-model" };
const CROSSINGS: [Crossing; 2] = [Crossing::OpenAiToAnthropic, Crossing::AnthropicToOpenAi];
const OPENAI_FILES: [&str; 3] = ["openai.chat.jsonl", "openai-compatible.chat.jsonl", "response-only.jsonl"];
const ANTHROPIC_FILES: [&str; 2] = ["anthropic.messages.jsonl", "response-only.jsonl"];

/// Files with answers of the vendor's language.
fn files(vendor: Dialect) -> &'static [&'static str] {
    match vendor {
        Dialect::OpenAi => &OPENAI_FILES,
        Dialect::Anthropic => &ANTHROPIC_FILES,
    }
}

/// What the records call the vendor's chat endpoint.
fn endpoint(vendor: Dialect) -> &'static str {
    match vendor {
        Dialect::OpenAi => "chat.completions",
        Dialect::Anthropic => "messages",
    }
}

/// The vendor itself, with a model that takes nearly everything.
fn recipient(crossing: Crossing) -> Recipient<'static> {
    let (provider, model) = match crossing {
        Crossing::OpenAiToAnthropic => (Provider::Anthropic, "claude-sonnet-4-5"),
        Crossing::AnthropicToOpenAi => (Provider::OpenAi, "gpt-5.1"),
    };
    Recipient { provider, model, stream_usage: StreamUsage::Ask }
}

/// The folder of recorded material; none, said on stderr, where there isn't any.
fn corpus() -> Option<PathBuf> {
    let corpus = std::env::var_os("KT_CORPUS");
    if corpus.is_none() {
        let forbidden = std::env::var("KT_NO_SKIP").is_ok_and(|what| what.contains("corpus"));
        assert!(!forbidden, "KT_CORPUS is not set, and KT_NO_SKIP wants the corpus");
        eprintln!("SKIPPED: KT_CORPUS is not set");
    }
    corpus.map(PathBuf::from)
}

/// The records of these files; none where the corpus isn't.
fn records(files: &[&str]) -> Vec<OwnedValue> {
    let Some(corpus) = corpus() else { return Vec::new() };
    let mut records = Vec::new();
    for file in files {
        let path = corpus.join("provider-traffic").join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        records.extend(text.lines().map(|line| parsed(line.as_bytes())));
    }
    assert!(!records.is_empty(), "the corpus is empty");
    records
}

/// The vendors' schemas, in the order of OpenAI and Anthropic.
fn schemas() -> Option<[Schema; 2]> {
    let corpus = corpus()?;
    let read = |file: &str| {
        let path = corpus.join("schemas").join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // A bound that is rounded beyond what 64 bits hold.
        Schema::new(parsed(text.replace("-9223372036854776000", "-9.223372036854776e18").as_bytes()))
    };
    Some([read("openai.chat.schema.json"), read("anthropic.messages.schema.json")])
}

fn schema_of(schemas: &[Schema; 2], dialect: Dialect) -> &Schema {
    match dialect {
        Dialect::OpenAi => &schemas[0],
        Dialect::Anthropic => &schemas[1],
    }
}

fn parsed(json: &[u8]) -> OwnedValue {
    to_owned_value(&mut json.to_vec()).unwrap_or_else(|error| panic!("{error}: {:.400}", String::from_utf8_lossy(json)))
}

fn is(record: &OwnedValue, endpoint: &str, kind: &str) -> bool {
    record.get_str("endpoint") == Some(endpoint) && record.get_str("response_kind") == Some(kind)
}

fn name(record: &OwnedValue) -> &str {
    record.get_str("id").unwrap_or("?")
}

fn is_good(record: &OwnedValue) -> bool {
    record.get_u64("status") == Some(200)
}

fn count(object: &OwnedValue, path: &[&str]) -> u64 {
    path.iter().try_fold(object, |value, step| value.get(*step)).and_then(ValueAsScalar::as_u64).unwrap_or(0)
}

/// Takes a vendor's counts apart, independently of the product.
fn usage_of(vendor: Dialect, usage: &OwnedValue) -> Usage {
    match vendor {
        Dialect::OpenAi => openai_usage(usage),
        Dialect::Anthropic => anthropic_usage(usage),
    }
}

fn anthropic_usage(usage: &OwnedValue) -> Usage {
    let cached_tokens = count(usage, &["cache_read_input_tokens"]);
    let cache_write_tokens = count(usage, &["cache_creation_input_tokens"]);
    let prompt_tokens = count(usage, &["input_tokens"]) + cached_tokens + cache_write_tokens;
    let completion_tokens = count(usage, &["output_tokens"]);
    Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: prompt_tokens + completion_tokens,
        cached_tokens,
        cache_write_tokens,
        cache_write_1h_tokens: count(usage, &["cache_creation", "ephemeral_1h_input_tokens"]),
        reasoning_tokens: count(usage, &["output_tokens_details", "thinking_tokens"]),
    }
}

fn openai_usage(usage: &OwnedValue) -> Usage {
    let (prompt_tokens, completion_tokens) = (count(usage, &["prompt_tokens"]), count(usage, &["completion_tokens"]));
    let cached = [&["prompt_tokens_details", "cached_tokens"][..], &["prompt_cache_hit_tokens"], &["cached_tokens"]];
    Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: usage.get_u64("total_tokens").unwrap_or(prompt_tokens + completion_tokens),
        cached_tokens: cached.iter().map(|path| count(usage, path)).find(|&tokens| tokens > 0).unwrap_or(0),
        cache_write_tokens: count(usage, &["prompt_tokens_details", "cache_write_tokens"]),
        cache_write_1h_tokens: 0,
        reasoning_tokens: count(usage, &["completion_tokens_details", "reasoning_tokens"]),
    }
}

/// Anthropic's usage as a stream says it: what an event says replaces what was said before.
fn last_usage(vendor: Dialect, events: &[OwnedValue]) -> Option<Usage> {
    match vendor {
        Dialect::OpenAi => {
            let usages = events.iter().filter_map(|chunk| {
                chunk.get("usage").or_else(|| chunk.get("x_groq")?.get("usage")).filter(|usage| usage.is_object())
            });
            usages.map(openai_usage).reduce(|_, last| last)
        }
        Dialect::Anthropic => {
            let mut last = OwnedValue::object();
            let usages =
                events.iter().filter_map(|event| event.get("usage").or_else(|| event.get("message")?.get("usage")));
            for (field, value) in
                usages.filter_map(OwnedValue::as_object).flatten().filter(|(_, value)| !value.is_null())
            {
                last.try_insert(field.as_str(), value.clone());
            }
            (!last.as_object()?.is_empty()).then(|| anthropic_usage(&last))
        }
    }
}

/// A piece of text cut into pieces of 1 to 40 bytes.
fn cut<'a>(stream: &'a [u8], dice: &mut fastrand::Rng) -> Vec<&'a [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), stream);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(dice.usize(1..=40.min(rest.len())));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// The data of a stream's events that is JSON.
fn data_of(stream: &[u8]) -> Vec<OwnedValue> {
    let data = kt_core::sse::events(stream).filter_map(|event| event.data);
    data.filter(|data| data.starts_with(b"{")).map(|data| parsed(&data)).collect()
}

/// Counts of what was refused and why, printed where a test tells of them.
#[derive(Default)]
struct Reasons(std::collections::BTreeMap<String, usize>);

impl Reasons {
    /// Digits are places, which differ from one request to the next.
    fn add(&mut self, reason: &str) {
        let general: String = reason.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
        *self.0.entry(general).or_default() += 1;
    }

    fn total(&self) -> usize {
        self.0.values().sum()
    }

    fn tell(&self) {
        for (reason, times) in &self.0 {
            eprintln!("  {times:>4} {reason}");
        }
    }
}
