//! Costs of recorded exchanges (`KT_CORPUS/provider-traffic`): each is the sum of its parts as the vendor's own rules
//! have them, worked out here from the vendor's own counts, and all together are the sum of all parts.

use std::path::PathBuf;

use kt_core::cost::{Kind, Parts, Prices};
use kt_core::dialect::{Dialect, usage};
use simd_json::prelude::*;
use simd_json::{OwnedValue, to_owned_value};

/// Primes, so that no two mistakes cancel out: input, output, cache read, written for five minutes, for an hour,
/// reasoning.
const PRICES: [u64; 6] = [2_500_009, 10_000_019, 1_250_003, 3_750_007, 6_000_011, 12_000_017];

/// The usage objects of recorded answers, with the language they are in; none, said on stderr, without the corpus.
fn recorded_usages() -> Vec<(Dialect, OwnedValue)> {
    let Some(corpus) = std::env::var_os("KT_CORPUS") else {
        let forbidden = std::env::var("KT_NO_SKIP").is_ok_and(|what| what.contains("corpus"));
        assert!(!forbidden, "KT_CORPUS is not set, and KT_NO_SKIP wants the corpus");
        eprintln!("SKIPPED: KT_CORPUS is not set");
        return Vec::new();
    };
    let mut usages = Vec::new();
    for file in ["openai.chat.jsonl", "anthropic.messages.jsonl", "openai-compatible.chat.jsonl", "response-only.jsonl"]
    {
        let path = PathBuf::from(&corpus).join("provider-traffic").join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for line in text.lines() {
            let record = to_owned_value(&mut line.as_bytes().to_vec()).expect("each line is JSON");
            let dialect = match record.get_str("endpoint") {
                Some("messages") => Dialect::Anthropic,
                Some("chat.completions") => Dialect::OpenAi,
                _ => continue,
            };
            let body = record.get("response_body").expect("each has an answer");
            match body.as_str() {
                Some(stream) => usages.extend(of_stream(stream).map(|usage| (dialect, usage))),
                None => usages.extend(body.get("usage").cloned().map(|usage| (dialect, usage))),
            }
        }
    }
    usages.retain(|(_, usage)| usage.is_object());
    usages
}

/// Every usage object of a stream that stands at the top of an event; each is a case of its own here.
fn of_stream(stream: &str) -> impl Iterator<Item = OwnedValue> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data:"));
    data.filter_map(|data| to_owned_value(&mut data.trim().as_bytes().to_vec()).ok()?.get("usage").cloned())
}

fn count(usage: &OwnedValue, path: &[&str]) -> u64 {
    path.iter().try_fold(usage, |value, step| value.get(*step)).and_then(ValueAsScalar::as_u64).unwrap_or(0)
}

/// What is billed, by the vendor's own rules: OpenAI's prompt has the cached tokens in it, and its completion the
/// reasoning; Anthropic's input has neither what was read from the cache nor what was written to it.
fn billed(dialect: Dialect, usage: &OwnedValue) -> [i128; 6] {
    let n = |path: &[&str]| i128::from(count(usage, path));
    match dialect {
        Dialect::OpenAi => {
            let details = n(&["prompt_tokens_details", "cached_tokens"]);
            let cached = if details > 0 { details } else { n(&["prompt_cache_hit_tokens"]).max(n(&["cached_tokens"])) };
            let written = n(&["prompt_tokens_details", "cache_write_tokens"]);
            let reasoning = n(&["completion_tokens_details", "reasoning_tokens"]);
            let (prompt, completion) = (n(&["prompt_tokens"]), n(&["completion_tokens"]));
            [prompt - cached - written, completion - reasoning, cached, written, 0, reasoning]
        }
        Dialect::Anthropic => {
            let hour = n(&["cache_creation", "ephemeral_1h_input_tokens"]);
            let thinking = n(&["output_tokens_details", "thinking_tokens"]);
            [
                n(&["input_tokens"]),
                n(&["output_tokens"]) - thinking,
                n(&["cache_read_input_tokens"]),
                n(&["cache_creation_input_tokens"]) - hour,
                hour,
                thinking,
            ]
        }
    }
}

#[test]
fn the_cost_of_the_corpus_is_the_sum_of_its_parts_exactly() {
    let prices =
        Kind::ALL.into_iter().zip(PRICES).fold(Prices::default(), |prices, (kind, price)| prices.with(kind, price));
    let (mut costs, mut tokens, mut unknown, mut known) = (0_i128, [0_i128; 6], 0, 0);
    for (dialect, recorded) in recorded_usages() {
        let Some(read) = usage(dialect, recorded.encode().as_bytes()) else { continue };
        let billed = billed(dialect, &recorded);
        let Some(cost) = prices.cost(&read) else {
            // Some vendors count reasoning beside the completion. Nobody knows what they bill then.
            assert!(billed.iter().any(|&part| part < 0), "{recorded:?}");
            unknown += 1;
            continue;
        };
        let parts = Parts::of(&read).expect("it has a cost");
        assert_eq!(Kind::ALL.map(|kind| i128::from(parts.tokens(kind))), billed, "{recorded:?}");
        let by_hand: i128 = billed.iter().zip(PRICES).map(|(&tokens, price)| tokens * i128::from(price)).sum();
        assert_eq!(i128::from(cost), by_hand, "{recorded:?}");
        costs += i128::from(cost);
        tokens.iter_mut().zip(billed).for_each(|(sum, part)| *sum += part);
        known += 1;
    }
    let by_kind: i128 = tokens.iter().zip(PRICES).map(|(&tokens, price)| tokens * i128::from(price)).sum();
    assert_eq!(costs, by_kind);
    assert!(known == 0 || (known > 500 && unknown * 20 < known), "{known} known, {unknown} unknown");
}
