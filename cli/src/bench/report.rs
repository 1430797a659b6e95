//! What a bench says: a summary for people, JSON and HdrHistogram's own form for others.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use kt_lab::json::Json;
use kt_lab::load::{Hist, Outcome, Verdict};
use kt_lab::stats::{Interval, difference};

use crate::args::BenchArgs;
use crate::table::{self, Align, duration};

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
/// Width of the bar.
const BAR: usize = 30;

/// In what form a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Everything, as JSON.
    Json,
    /// The distribution of latency, as HdrHistogram's tools read it.
    Hgrm,
}

impl Form {
    /// By the file's name.
    pub(super) fn of(path: &Path) -> anyhow::Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Ok(Self::Json),
            Some("hgrm") => Ok(Self::Hgrm),
            Some(_) | None => bail!("--output {}: its name ends with .json or .hgrm", path.display()),
        }
    }
}

/// The bar, while it runs.
pub(super) fn bar(elapsed: Duration, whole: Duration, answered: u64, failed: u64) -> String {
    let share = (elapsed.as_secs_f64() / whole.as_secs_f64().max(1e-9)).min(1.0);
    let full = (share * BAR as f64) as usize;
    let seconds = |time: Duration| time.as_secs_f64();
    let rate = answered as f64 / seconds(elapsed).max(1e-9);
    format!(
        "[{}{}] {:.0} of {:.0} s  {answered} answered, {rate:.0}/s, {failed} failed",
        "=".repeat(full),
        " ".repeat(BAR - full),
        seconds(elapsed),
        seconds(whole),
    )
}

/// The summary.
pub(super) fn print(out: &mut impl Write, args: &BenchArgs, outcomes: &[Outcome]) -> io::Result<()> {
    for (url, outcome) in args.target.iter().zip(outcomes) {
        let (answered, rate, seconds) = (outcome.answered, outcome.rate(), outcome.measured.as_secs_f64());
        let meant = outcome.meant_rate.map(|meant| format!(" ({meant:.1} a second were meant)")).unwrap_or_default();
        writeln!(
            out,
            "{url}: {answered} answers in {seconds:.1} s, {rate:.1} a second{meant}; {} failed",
            outcome.failures()
        )?;
        for (why, count) in &outcome.failed {
            writeln!(out, "  {count} × {why}")?;
        }
        let rows = rows(outcome);
        let mut head = vec![("", Align::Left)];
        head.extend(QUANTILES.iter().map(|&(name, _)| (name, Align::Right)));
        head.extend([("max", Align::Right), ("mean", Align::Right)]);
        table::print(out, &head, &rows)?;
        match outcome.verdict() {
            Verdict::Sound => {
                writeln!(out, "The load was not the bottleneck: {:.0} % of a core.", outcome.busy() * 100.0)?
            }
            Verdict::Doubtful(doubts) => {
                for doubt in doubts {
                    writeln!(out, "Take with care: {doubt}.")?;
                }
            }
        }
        writeln!(out)?;
    }
    if let [one, other] = outcomes
        && let Some(paired) = difference(&twins(one, other))
    {
        let count = twins(one, other).len();
        writeln!(
            out,
            "Of {count} twins, the second target's answer took {} (median; 95 %: {} to {}).",
            signed(paired.value),
            signed(paired.low),
            signed(paired.high)
        )?;
    }
    Ok(())
}

fn rows(outcome: &Outcome) -> Vec<Vec<String>> {
    hists(outcome)
        .into_iter()
        .filter(|(_, _, hist)| hist.count() > 0)
        .map(|(_, name, hist)| {
            let mut row = vec![name.to_owned()];
            row.extend(QUANTILES.iter().map(|&(_, quantile)| duration(hist.at(quantile))));
            row.extend([duration(hist.max()), duration(hist.mean() as u64)]);
            row
        })
        .collect()
}

/// Its distributions: name in JSON, name for people.
fn hists(outcome: &Outcome) -> [(&'static str, &'static str, &Hist); 4] {
    [
        ("latency_ms", "latency", &outcome.latency),
        ("ttft_ms", "time to first token", &outcome.first),
        ("gap_ms", "gap between tokens", &outcome.gap),
        ("lateness_ms", "sent late by", &outcome.lateness),
    ]
}

/// By how much the second of each pair was slower, in nanoseconds.
fn twins(one: &Outcome, other: &Outcome) -> Vec<f64> {
    // Both are in the order of their ends, and a place holds two: the first target's, then the second's.
    let mut ones = one.by_place.clone();
    ones.sort_unstable();
    let of = |nth: u64| ones.binary_search_by_key(&nth, |&(place, _)| place).ok().map(|at| ones[at].1);
    let pair = |&(nth, latency): &(u64, u64)| Some(latency as f64 - of(nth.checked_sub(1)?)? as f64);
    other.by_place.iter().filter_map(pair).collect()
}

fn signed(ns: f64) -> String {
    let more = if ns < 0.0 { "less" } else { "more" };
    format!("{} {more}", duration(ns.abs() as u64))
}

/// Writes a file; of two targets' distributions one each, `-1` and `-2` before the extension.
pub(super) fn write(form: Form, path: &Path, args: &BenchArgs, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let files: Vec<(PathBuf, String)> = match form {
        Form::Json => vec![(path.to_owned(), json(args, outcomes))],
        Form::Hgrm if outcomes.len() == 1 => vec![(path.to_owned(), outcomes[0].latency.hgrm())],
        Form::Hgrm => {
            let name = |nth: usize| path.with_extension("").display().to_string() + &format!("-{nth}.hgrm");
            (1..).zip(outcomes).map(|(nth, outcome)| (PathBuf::from(name(nth)), outcome.latency.hgrm())).collect()
        }
    };
    for (path, text) in files {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn json(args: &BenchArgs, outcomes: &[Outcome]) -> String {
    let targets = args.target.iter().zip(outcomes).map(|(url, outcome)| {
        let mut fields = vec![
            ("target", Json::text(url)),
            ("answered", Json::count(outcome.answered)),
            ("failed", Json::object(outcome.failed.iter().map(|(why, &count)| (why.as_str(), Json::count(count))))),
            ("per_second", Json::number(outcome.rate())),
            ("meant_per_second", Json::maybe(outcome.meant_rate.map(Json::number))),
        ];
        fields.extend(hists(outcome).map(|(key, _, hist)| (key, quantiles(hist))));
        let doubts = match outcome.verdict() {
            Verdict::Sound => Vec::new(),
            Verdict::Doubtful(doubts) => doubts,
        };
        fields.extend([
            ("load_core_share", Json::number(outcome.busy())),
            ("doubts", Json::list(doubts.iter().map(|doubt| Json::text(doubt)))),
        ]);
        Json::object(fields)
    });
    let paired = match outcomes {
        [one, other] => difference(&twins(one, other)),
        _ => None,
    };
    let ms = |Interval { value, low, high }: Interval| Json::list([value, low, high].map(|ns| Json::number(ns / 1e6)));
    Json::page([
        ("model", Json::text(&args.model)),
        ("stream", Json::bool(args.stream)),
        ("concurrency", Json::maybe(args.concurrency.map(|n| Json::count(n.into())))),
        ("seconds", Json::number(args.duration.as_secs_f64())),
        ("targets", Json::lines(targets.collect::<Vec<_>>())),
        ("paired_difference_ms", Json::maybe(paired.map(ms))),
    ])
    .into_string()
}

/// In milliseconds; null of none.
fn quantiles(hist: &Hist) -> Json {
    let ms = |ns: u64| Json::number(ns as f64 / 1e6);
    let quantiles = QUANTILES.iter().map(|&(name, quantile)| (name, ms(hist.at(quantile))));
    let rest =
        [("max", ms(hist.max())), ("mean", Json::number(hist.mean() / 1e6)), ("count", Json::count(hist.count()))];
    Json::maybe((hist.count() > 0).then(|| Json::object(quantiles.chain(rest))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_are_found_whatever_order_they_end_in() {
        let one = Outcome { by_place: vec![(4, 100), (0, 10), (2, 50)], ..Outcome::default() };
        let other = Outcome { by_place: vec![(1, 15), (5, 90), (7, 1)], ..Outcome::default() };
        assert_eq!(twins(&one, &other), [5.0, -10.0]);
    }

    #[test]
    fn a_bar_grows_to_its_end_and_stays() {
        let second = Duration::from_secs(1);
        assert_eq!(
            bar(second, 3 * second, 7, 1),
            format!("[{}{}] 1 of 3 s  7 answered, 7/s, 1 failed", "=".repeat(10), " ".repeat(20))
        );
        assert!(bar(9 * second, 3 * second, 0, 0).starts_with(&format!("[{}]", "=".repeat(30))));
    }

    #[test]
    fn a_file_says_by_its_name_what_it_is() {
        assert_eq!(Form::of(Path::new("a/b.json")).unwrap(), Form::Json);
        assert_eq!(Form::of(Path::new("b.hgrm")).unwrap(), Form::Hgrm);
        assert!(Form::of(Path::new("b.txt")).is_err() && Form::of(Path::new("json")).is_err());
    }
}
