//! What the decision log says of the demo's requests.

use std::io::{self, Write};

use anyhow::Context;
use kt_core::event::is_decision;
use kt_proxy::ledger::reader::Lines;
use simd_json::BorrowedValue;
use simd_json::prelude::*;

use crate::table::{self, Align};

/// All decisions, and the configs that made them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    decisions: Vec<Decision>,
    /// In the order in which they held.
    configs: Vec<Config>,
}

#[derive(Debug)]
struct Config {
    version: String,
    from: String,
    /// Name of each arm, and the share of requests it is to get.
    arms: Vec<(String, f64)>,
}

#[derive(Debug)]
struct Decision {
    config: String,
    arm: String,
    model: String,
    failed: bool,
    tokens: u64,
    latency_ns: u64,
    ttft_ns: Option<u64>,
    ended_at: String,
}

/// A row of the table: one arm under one config, or under all.
struct Row<'a> {
    config: String,
    arm: &'a str,
    /// Of the requests under that config.
    share: f64,
    /// None over all configs, which had different ones.
    weight: Option<f64>,
    decisions: Vec<&'a Decision>,
}

impl Tally {
    /// Reads all records.
    pub(super) fn read(lines: &mut Lines) -> anyhow::Result<Self> {
        let mut tally = Self::default();
        while let Some(line) = lines.next_line().context("cannot read the log")? {
            tally.add(line).with_context(|| format!("not a record: {}", String::from_utf8_lossy(line)))?;
        }
        Ok(tally)
    }

    fn add(&mut self, line: &[u8]) -> Option<()> {
        let mut bytes = line.to_vec();
        let record = simd_json::to_borrowed_value(&mut bytes).ok()?;
        let text = |name: &str| record.get_str(name).map(str::to_owned);
        if is_decision(line) {
            self.decisions.push(Decision {
                config: text("config_version")?,
                arm: text("arm")?,
                model: text("model")?,
                failed: record.get_u64("status")? >= 400 || record.get("error").is_some_and(|error| !error.is_null()),
                tokens: record.get_u64("tokens")?,
                latency_ns: nanoseconds(&record, "latency_ms")?,
                ttft_ns: nanoseconds(&record, "ttft_ms"),
                ended_at: text("ended_at")?,
            });
        } else if record.get_str("event_type") == Some("config") {
            let arms = record.get_array("model_groups")?.iter().filter_map(|group| group.get_array("arms")).flatten();
            let arm =
                |arm: &BorrowedValue<'_>| Some((arm.get_str("arm")?.to_owned(), arm.get("propensity")?.cast_f64()?));
            let arms = arms.map(arm).collect::<Option<_>>()?;
            self.configs.push(Config { version: text("config_version")?, from: text("timestamp")?, arms });
        }
        Some(())
    }

    pub(super) fn len(&self) -> usize {
        self.decisions.len()
    }

    pub(super) fn tokens(&self) -> u64 {
        self.decisions.iter().map(|decision| decision.tokens).sum()
    }

    /// Requests by model, most first.
    pub(super) fn by_model(&self) -> Vec<(&str, usize)> {
        let mut models: Vec<(&str, usize)> = Vec::new();
        for decision in &self.decisions {
            match models.iter_mut().find(|(model, _)| *model == decision.model) {
                Some((_, requests)) => *requests += 1,
                None => models.push((&decision.model, 1)),
            }
        }
        models.sort_by_key(|&(model, requests)| (std::cmp::Reverse(requests), model));
        models
    }

    /// How many requests began under one config and ended when the next one held. Times compare as text: they have one
    /// form and one length.
    pub(super) fn across_the_reload(&self) -> usize {
        let ended_later = |decision: &&Decision| {
            let began = self.configs.iter().position(|config| config.version == decision.config);
            let next = began.and_then(|began| self.configs.get(began + 1));
            next.is_some_and(|next| decision.ended_at > next.from)
        };
        self.decisions.iter().filter(ended_later).count()
    }

    /// A row per config and arm, and one per arm over all.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rows = Vec::new();
        for (nth, config) in self.configs.iter().enumerate() {
            let decisions: Vec<_> = self.decisions.iter().filter(|each| each.config == config.version).collect();
            for (arm, share) in &config.arms {
                rows.push(Row::new((nth + 1).to_string(), arm, Some(*share), &decisions));
            }
        }
        let decisions: Vec<_> = self.decisions.iter().collect();
        let mut arms: Vec<&str> = Vec::new();
        for (arm, _) in self.configs.iter().flat_map(|config| &config.arms) {
            if !arms.contains(&arm.as_str()) {
                arms.push(arm);
            }
        }
        rows.extend(arms.into_iter().map(|arm| Row::new("all".to_owned(), arm, None, &decisions)));
        let mut head = vec![("CONFIG", Align::Left), ("ARM", Align::Left)];
        head.extend(
            ["REQUESTS", "SHARE", "WEIGHT", "P50", "P99", "TTFT P50", "TOKENS", "ERRORS"]
                .map(|name| (name, Align::Right)),
        );
        table::print(out, &head, &rows.iter().map(Row::cells).collect::<Vec<_>>())
    }
}

/// Times have µs precision, so nothing is lost.
fn nanoseconds(record: &BorrowedValue<'_>, name: &str) -> Option<u64> {
    record.get(name)?.cast_f64().map(|ms| (ms * 1e6) as u64)
}

impl<'a> Row<'a> {
    /// The row of `arm` among `decisions`.
    fn new(config: String, arm: &'a str, weight: Option<f64>, decisions: &[&'a Decision]) -> Self {
        let of_arm: Vec<_> = decisions.iter().copied().filter(|decision| decision.arm == arm).collect();
        Self { config, arm, share: of_arm.len() as f64 / decisions.len().max(1) as f64, weight, decisions: of_arm }
    }

    fn cells(&self) -> Vec<String> {
        let good = || self.decisions.iter().filter(|decision| !decision.failed);
        let latencies = sorted(good().map(|decision| decision.latency_ns));
        let first_tokens = sorted(good().filter_map(|decision| decision.ttft_ns));
        let time = |sorted: &[u64], q| quantile(sorted, q).map_or_else(|| "-".to_owned(), table::duration);
        let percent = |share: f64| format!("{:.1}%", 1e2 * share);
        vec![
            self.config.clone(),
            self.arm.to_owned(),
            self.decisions.len().to_string(),
            percent(self.share),
            self.weight.map_or_else(|| "-".to_owned(), percent),
            time(&latencies, 0.5),
            time(&latencies, 0.99),
            time(&first_tokens, 0.5),
            self.decisions.iter().map(|decision| decision.tokens).sum::<u64>().to_string(),
            (self.decisions.len() - good().count()).to_string(),
        ]
    }
}

fn sorted(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values
}

/// The smallest value that at least a share `q` of all is not above; none of none.
fn quantile(sorted: &[u64], q: f64) -> Option<u64> {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(config: &str, arm: &str, status: u16, latency_ms: f64, ended_at: &str) -> String {
        let (vendor, model) = arm.split_once('/').unwrap();
        let ttft_ms = if vendor == "a" { (latency_ms / 10.0).to_string() } else { "null".to_owned() };
        format!(
            r#"{{"event_type":"decision","arm":"{arm}","model":"{model}","config_version":"{config}","status":{status},"error":null,"tokens":10,"latency_ms":{latency_ms},"ttft_ms":{ttft_ms},"ended_at":"2026-11-22T10:00:{ended_at}Z"}}"#
        )
    }

    fn config(version: &str, timestamp: &str, shares: [f64; 2]) -> String {
        let [big, small] = shares;
        format!(
            r#"{{"event_type":"config","config_version":"{version}","timestamp":"2026-11-22T10:00:{timestamp}Z","model_groups":[{{"arms":[{{"arm":"o/big","propensity":{big}}},{{"arm":"a/small","propensity":{small}}}]}}]}}"#
        )
    }

    fn tally() -> Tally {
        let mut tally = Tally::default();
        for line in [
            config("1-aa", "00.000000", [0.7, 0.3]),
            decision("1-aa", "o/big", 200, 100.0, "01.000000"),
            decision("1-aa", "o/big", 200, 200.5, "01.000000"),
            decision("1-aa", "a/small", 200, 300.0, "01.000000"),
            config("2-bb", "02.000000", [0.5, 0.5]),
            decision("1-aa", "o/big", 429, 1.0, "02.000001"),
            decision("2-bb", "a/small", 200, 4.0, "03.000000"),
        ] {
            tally.add(line.as_bytes()).unwrap();
        }
        tally
    }

    #[test]
    fn the_table_has_a_row_per_config_and_arm() {
        let mut out = Vec::new();
        tally().print(&mut out).unwrap();
        let expected = "\
CONFIG  ARM      REQUESTS   SHARE  WEIGHT      P50      P99  TTFT P50  TOKENS  ERRORS
1       o/big           3   75.0%   70.0%   100 ms   200 ms         -      30       1
1       a/small         1   25.0%   30.0%   300 ms   300 ms   30.0 ms      10       0
2       o/big           0    0.0%   50.0%        -        -         -       0       0
2       a/small         1  100.0%   50.0%  4.00 ms  4.00 ms    400 µs      10       0
all     o/big           3   60.0%       -   100 ms   200 ms         -      30       1
all     a/small         2   40.0%       -  4.00 ms   300 ms    400 µs      20       0
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_began_before_the_reload_and_ended_behind_it_is_counted() {
        let tally = tally();
        assert_eq!((tally.len(), tally.tokens(), tally.across_the_reload()), (5, 50, 1));
        assert_eq!(tally.by_model(), [("big", 3), ("small", 2)]);
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let values = [1, 2, 3, 4];
        let cases = [(0.5, 2), (0.51, 3), (0.99, 4), (0.0, 1), (1.0, 4)];
        for (q, value) in cases {
            assert_eq!(quantile(&values, q), Some(value), "{q}");
        }
        assert_eq!(quantile(&[], 0.5), None);
    }
}
