//! The table of the named vendors' prices that comes with the gateway: `core/prices.yaml`.
//!
//! It is a convenience and may be out of date; each row says where it comes from and of which day it is, and events
//! repeat that day as `price_version`. `pricing` in the config wins over it. Models are looked up by their exact names:
//! a price that is guessed from a similar name would look like one that is known.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Kind, Prices, Pricing, Source};
use crate::config::plan::Provider;

const TABLE: &str = include_str!("../../prices.yaml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[cfg_attr(not(test), allow(dead_code, reason = "for people; a test holds it to be complete"))]
    sources: HashMap<String, String>,
    openai: Vec<Row>,
    anthropic: Vec<Row>,
}

/// Prices are micro-dollars per million tokens here, as whole numbers, so that no reader can round one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    models: Vec<String>,
    input: u64,
    output: u64,
    cache_read: Option<u64>,
    cache_write_5m: Option<u64>,
    cache_write_1h: Option<u64>,
    reasoning: Option<u64>,
    prompt_tokens_max: Option<u64>,
    #[cfg_attr(not(test), allow(dead_code, reason = "for people; a test holds it to be there"))]
    source: String,
    date: String,
}

impl Row {
    fn pricing(&self) -> Pricing {
        let each = [
            (Kind::Input, Some(self.input)),
            (Kind::Output, Some(self.output)),
            (Kind::CacheRead, self.cache_read),
            (Kind::CacheWrite5m, self.cache_write_5m),
            (Kind::CacheWrite1h, self.cache_write_1h),
            (Kind::Reasoning, self.reasoning),
        ];
        let mut prices = Prices::default();
        for (kind, price) in each {
            if let Some(price) = price {
                prices = prices.with(kind, price);
            }
        }
        if let Some(most) = self.prompt_tokens_max {
            prices = prices.up_to(most);
        }
        Pricing { prices, source: Source::Table, version: self.date.as_str().into() }
    }
}

/// The prices of these models, where the table has them. It is read anew each time, which takes some milliseconds:
/// a start and a reload do it once, and nothing of it stays in memory.
pub fn look_up<'m>(models: impl IntoIterator<Item = (Provider, &'m str)>) -> Vec<Option<Pricing>> {
    let table = read();
    let find = |(provider, model): (Provider, &str)| {
        let rows = match provider {
            Provider::OpenAi => &table.openai,
            Provider::Anthropic => &table.anthropic,
            // Whoever runs a compatible vendor sets its own prices.
            Provider::OpenAiCompatible => return None,
        };
        rows.iter().find(|row| row.models.iter().any(|name| name == model)).map(Row::pricing)
    };
    models.into_iter().map(find).collect()
}

fn read() -> Table {
    serde_yaml::from_str(TABLE).expect("a test reads the table that is built in")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_where_it_comes_from_and_when() {
        let table = read();
        let mut seen = std::collections::HashSet::new();
        for row in table.openai.iter().chain(&table.anthropic) {
            let names = &row.models;
            assert!(!names.is_empty());
            assert!(table.sources.contains_key(&row.source), "{names:?}: no source {:?}", row.source);
            let is_digit =
                |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
            assert!(row.date.len() == 10 && row.date.bytes().enumerate().all(is_digit), "{names:?}: {}", row.date);
            for name in names {
                assert!(seen.insert(name.clone()), "{name} stands twice");
            }
        }
        assert!(table.sources.values().all(|source| source.contains("https://")));
    }

    #[test]
    fn prices_keep_to_what_the_vendors_have_always_kept_to() {
        let table = read();
        let rows = || table.openai.iter().chain(&table.anthropic);
        for row in rows() {
            let names = &row.models;
            assert!(row.output > row.input, "{names:?}: output costs more than input");
            assert!(row.cache_read.is_none_or(|read| read < row.input), "{names:?}: a read from the cache costs less");
            assert_eq!(row.reasoning, Some(row.output), "{names:?}: reasoning is billed as output");
            // A slip of three digits would stand out: the dearest model there was took 600 dollars for a million.
            assert!((10_000..=600_000_000).contains(&row.input) && row.output <= 600_000_000, "{names:?}");
        }
        for row in &table.anthropic {
            // Writing costs a quarter more than input for five minutes and twice as much for an hour.
            assert_eq!(row.cache_write_5m.map(|price| price * 4), Some(row.input * 5), "{:?}", row.models);
            assert_eq!(row.cache_write_1h, Some(row.input * 2), "{:?}", row.models);
        }
    }

    #[test]
    fn a_model_is_looked_up_by_its_exact_name_and_vendor() {
        let found = look_up([
            (Provider::OpenAi, "gpt-4o"),
            (Provider::Anthropic, "claude-sonnet-4-20250514"),
            (Provider::Anthropic, "gpt-4o"),
            (Provider::OpenAi, "gpt-4o-and-more"),
            (Provider::OpenAiCompatible, "gpt-4o"),
        ]);
        let input = |at: usize| found[at].as_ref().and_then(|pricing| pricing.prices.of(Kind::Input));
        assert_eq!([0, 1, 2, 3, 4].map(input), [Some(2_500_000), Some(3_000_000), None, None, None]);
    }
}
