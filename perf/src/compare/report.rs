//! What came of a comparison: numbers with their intervals, as a table, as JSON and as plots.

use kt_lab::json::Json;
use kt_lab::load::{Hist, Outcome};
use kt_lab::stats::{Interval, of_rounds, ratio};

use super::cases::{Case, Kind};
use super::measure::Sample;
use super::peers;

/// Who stands in the ratios' lower half; the best of the other gateways of language models comes to it.
const AGAINST: [&str; 2] = ["pump", "nginx"];
/// How the names of the gateway's own rows begin.
const OWN: &str = "kt";

/// One row: who, and a sample for each round; an empty one where a round failed.
pub(super) struct Row {
    pub(super) who: String,
    /// What kind of peer it is; none for the vendor itself.
    pub(super) kind: Option<peers::Kind>,
    pub(super) rounds: Vec<Sample>,
}

/// A case with all its rows.
pub(super) struct Sheet {
    pub(super) case: Case,
    pub(super) rows: Vec<Row>,
}

/// A number that a row has, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    CpuUs,
    Rate,
    BetweenP50,
    BetweenP99,
    BetweenP999,
    LatencyP99,
    TransitP50,
    TransitP99,
    AddedGapP99,
    ResidentMib,
    StreamKib,
    WakeUps,
}

impl Metric {
    /// What a case of a kind is about.
    pub(super) const fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Closed => &[Self::CpuUs, Self::Rate, Self::BetweenP50, Self::BetweenP99, Self::ResidentMib],
            Kind::Streams { .. } => &[
                Self::CpuUs,
                Self::Rate,
                Self::BetweenP50,
                Self::BetweenP99,
                Self::TransitP50,
                Self::TransitP99,
                Self::AddedGapP99,
                Self::ResidentMib,
            ],
            Kind::Open { .. } => &[
                Self::CpuUs,
                Self::Rate,
                Self::BetweenP50,
                Self::BetweenP99,
                Self::BetweenP999,
                Self::LatencyP99,
                Self::ResidentMib,
            ],
            Kind::IdleStreams => &[Self::StreamKib, Self::ResidentMib],
            Kind::Idle => &[Self::ResidentMib, Self::WakeUps],
        }
    }

    /// Its name in the record.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::CpuUs => "cpu_us",
            Self::Rate => "per_second",
            Self::BetweenP50 => "between_p50_us",
            Self::BetweenP99 => "between_p99_us",
            Self::BetweenP999 => "between_p999_us",
            Self::LatencyP99 => "latency_p99_us",
            Self::TransitP50 => "event_way_p50_us",
            Self::TransitP99 => "event_way_p99_us",
            Self::AddedGapP99 => "added_gap_p99_us",
            Self::ResidentMib => "resident_mib",
            Self::StreamKib => "stream_kib",
            Self::WakeUps => "wake_ups_per_second",
        }
    }

    /// Its column's heading.
    pub(super) fn heading(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::CpuUs, Kind::Streams { .. }) => "CPU µs/event",
            (Self::CpuUs, _) => "CPU µs/request",
            (Self::Rate, Kind::Streams { .. }) => "events/s",
            (Self::Rate, _) => "requests/s",
            (Self::BetweenP50, Kind::Streams { .. }) => "first event p50 µs",
            (Self::BetweenP99, Kind::Streams { .. }) => "first event p99 µs",
            (Self::BetweenP50, _) => "between p50 µs",
            (Self::BetweenP99, _) => "between p99 µs",
            (Self::BetweenP999, _) => "between p99.9 µs",
            (Self::LatencyP99, _) => "latency p99 µs",
            (Self::TransitP50, _) => "event p50 µs",
            (Self::TransitP99, _) => "event p99 µs",
            (Self::AddedGapP99, _) => "added gap p99 µs",
            (Self::ResidentMib, _) => "resident MiB",
            (Self::StreamKib, _) => "KiB/stream",
            (Self::WakeUps, _) => "wake-ups/s",
        }
    }

    /// What a sample says of it.
    fn samples(self, sample: &Sample) -> Vec<f64> {
        let outcome = sample.outcome.as_ref();
        let quantile = |hist: fn(&Outcome) -> &Hist, q: f64| {
            let hist = outcome.map(hist).filter(|hist| hist.count() > 0);
            hist.map(|hist| hist.at(q) as f64 / 1e3).into_iter().collect()
        };
        match self {
            Self::CpuUs => sample.cpu_us.clone(),
            Self::Rate => outcome.map(|_| sample.rate).into_iter().collect(),
            Self::BetweenP50 => quantile(|outcome| &outcome.between, 0.5),
            Self::BetweenP99 => quantile(|outcome| &outcome.between, 0.99),
            Self::BetweenP999 => quantile(|outcome| &outcome.between, 0.999),
            Self::LatencyP99 => quantile(|outcome| &outcome.latency, 0.99),
            Self::TransitP50 => quantile(|outcome| &outcome.transit, 0.5),
            Self::TransitP99 => quantile(|outcome| &outcome.transit, 0.99),
            Self::AddedGapP99 => quantile(|outcome| &outcome.added_gap, 0.99),
            Self::ResidentMib => Some(sample.resident_mib).filter(|&mib| mib > 0.0).into_iter().collect(),
            Self::StreamKib => sample.stream_kib.into_iter().collect(),
            Self::WakeUps => sample.wake_ups.into_iter().collect(),
        }
    }
}

impl Row {
    fn rounds_of(&self, metric: Metric) -> Vec<Vec<f64>> {
        self.rounds.iter().map(|sample| metric.samples(sample)).collect()
    }

    /// The number with its interval.
    pub(super) fn interval(&self, metric: Metric) -> Option<Interval> {
        of_rounds(&self.rounds_of(metric))
    }

    /// How many times that of another row.
    pub(super) fn against(&self, other: &Self, metric: Metric) -> Option<Interval> {
        ratio(&self.rounds_of(metric), &other.rounds_of(metric))
    }

    fn failures(&self) -> u64 {
        self.rounds.iter().filter_map(|sample| sample.outcome.as_ref()).map(Outcome::failures).sum()
    }

    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for outcome in self.rounds.iter().filter_map(|sample| sample.outcome.as_ref()) {
            reasons.extend(outcome.failed.keys().cloned());
        }
        reasons.sort();
        reasons.dedup();
        reasons
    }

    /// Each doubt once, as the first round had it that had it.
    fn doubts(&self) -> Vec<&str> {
        let mut doubts: Vec<&str> = Vec::new();
        // Rounds differ in their numbers, which say the same thing.
        let words = |doubt: &str| doubt.replace(|c: char| c.is_ascii_digit() || c == '.', "");
        for doubt in self.rounds.iter().flat_map(|sample| &sample.doubts) {
            if doubts.iter().all(|known| words(known) != words(doubt)) {
                doubts.push(doubt);
            }
        }
        doubts
    }

    /// What is said of each number beyond the numbers.
    pub(super) fn share_doubtful(&self) -> f64 {
        let doubtful = self.rounds.iter().filter(|sample| !sample.doubts.is_empty()).count();
        doubtful as f64 / self.rounds.len().max(1) as f64
    }
}

impl Sheet {
    fn row(&self, who: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.who == who)
    }

    /// Whom the first number is held against, with the word for each.
    fn against(&self) -> Vec<(String, &Row)> {
        let mut against: Vec<(String, &Row)> =
            AGAINST.into_iter().filter_map(|name| Some((name.to_owned(), self.row(name)?))).collect();
        let is_other = |row: &&&Row| row.kind == Some(peers::Kind::Gateway) && !row.who.starts_with(OWN);
        let ranked = self.ranked();
        against.extend(ranked.iter().find(is_other).map(|row| (row.who.clone(), *row)));
        against
    }

    fn first_metric(&self) -> Metric {
        Metric::of(self.case.kind)[0]
    }

    /// Rows, the best of the first number first; those without it last.
    fn ranked(&self) -> Vec<&Row> {
        let value = |row: &&Row| row.interval(self.first_metric()).map_or(f64::INFINITY, |interval| interval.value);
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| value(a).total_cmp(&value(b)));
        rows
    }

    /// The table, for a terminal and for a Markdown page alike.
    pub(super) fn table(&self) -> String {
        let metrics = Metric::of(self.case.kind);
        let mut head = vec![String::new(), metrics[0].heading(self.case.kind).to_owned()];
        let against = self.against();
        let has_ratios = metrics[0] == Metric::CpuUs;
        if has_ratios {
            head.extend(against.iter().map(|(name, _)| format!("× {name}")));
        }
        head.extend(metrics[1..].iter().map(|metric| metric.heading(self.case.kind).to_owned()));
        head.push("failed".to_owned());
        let mut cells = vec![head];
        for row in self.ranked() {
            let mut line = vec![row.who.clone(), row.interval(metrics[0]).map_or("–".to_owned(), with_ends)];
            if has_ratios {
                let ratio = |other: &Row| row.against(other, metrics[0]).map_or("–".to_owned(), with_ends);
                line.extend(against.iter().map(|(_, other)| ratio(other)));
            }
            line.extend(
                metrics[1..].iter().map(|&metric| row.interval(metric).map_or("–".to_owned(), |i| short(i.value))),
            );
            line.push(match row.failures() {
                0 => "0".to_owned(),
                failures => format!("{failures}: {}", row.reasons().join("; ")),
            });
            if row.share_doubtful() > 0.5 {
                line[0].push('*');
            }
            cells.push(line);
        }
        let mut text = format!("### {}: {}\n\n{}", self.case.name, self.case.what, align(&cells));
        for row in self.rows.iter().filter(|row| row.share_doubtful() > 0.5) {
            text += &format!("\n\\* {}: {}", row.who, row.doubts().join("; "));
        }
        text + "\n"
    }

    pub(super) fn json(&self) -> Json {
        let (metrics, against) = (Metric::of(self.case.kind), self.against());
        let rows = self.rows.iter().map(|row| {
            let numbers = metrics.iter().map(|&metric| (metric.key(), Json::maybe(row.interval(metric).map(interval))));
            let ratio = |other: &Row| Json::maybe(row.against(other, self.first_metric()).map(interval));
            let ratios = against.iter().map(|(name, other)| (name.as_str(), ratio(other)));
            let rounds = row.rounds.iter().map(|sample| Json::list(sample.cpu_us.iter().copied().map(Json::number)));
            Json::object([
                ("who", Json::text(&row.who)),
                ("numbers", Json::object(numbers)),
                ("times", Json::object(ratios)),
                ("failed", Json::count(row.failures())),
                ("why", Json::list(row.reasons().iter().map(|why| Json::text(why)))),
                ("doubts", Json::list(row.doubts().into_iter().map(Json::text))),
                ("cpu_us_by_round", Json::list(rounds)),
            ])
        });
        Json::object([
            ("case", Json::text(self.case.name)),
            ("what", Json::text(self.case.what)),
            ("connections", Json::count(self.case.connections as u64)),
            ("body_bytes", Json::count(self.case.body_bytes as u64)),
            ("rows", Json::lines(rows.collect::<Vec<_>>())),
        ])
    }

    /// What its plot shows: names, and the first number of each.
    pub(super) fn bars(&self) -> (String, Vec<(String, Interval)>) {
        let metric = self.first_metric();
        let bars = self.ranked().into_iter().filter_map(|row| Some((row.who.clone(), row.interval(metric)?)));
        let title = format!("{}: {}", self.case.what, metric.heading(self.case.kind));
        (title, bars.collect())
    }
}

pub(super) fn interval(interval: Interval) -> Json {
    Json::list([interval.value, interval.low, interval.high].map(Json::number))
}

/// Three digits, or all of a large number.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

pub(super) fn with_ends(interval: Interval) -> String {
    if interval.low == interval.high {
        return short(interval.value);
    }
    format!("{} [{}–{}]", short(interval.value), short(interval.low), short(interval.high))
}

/// A Markdown table with columns as wide as they need to be.
fn align(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).map(|column| width(column).unwrap_or(0).max(3)).collect();
    let mut text = String::new();
    for (nth, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text += &format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        if nth == 0 {
            let rules = widths.iter().enumerate().map(|(column, &width)| match column {
                0 => "-".repeat(width),
                _ => format!("{}:", "-".repeat(width - 1)),
            });
            text += &format!("| {} |\n", rules.collect::<Vec<_>>().join(" | "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;
    use super::*;

    fn row(who: &str, cpu_us: f64) -> Row {
        let sample =
            Sample { cpu_us: vec![cpu_us; 4], rate: 1e3, outcome: Some(Outcome::default()), ..Sample::default() };
        Row { who: who.to_owned(), kind: None, rounds: vec![sample; 3] }
    }

    #[test]
    fn the_best_stands_first_and_ratios_are_of_the_reference() {
        let rows = vec![row("nginx", 20.0), row("pump", 10.0), row("kt", 12.0)];
        let sheet = Sheet { case: CASES[0], rows };
        let table = sheet.table();
        let at = |word: &str| table.find(word).unwrap_or_else(|| panic!("{word} is not in\n{table}"));
        assert!(at("| pump") < at("| kt") && at("| kt") < at("| nginx"));
        assert!(table.contains("1.20 |    0.60"), "{table}");
        let json = sheet.json().into_string();
        assert!(json.contains(r#""times": {"pump": [1.200, 1.200, 1.200], "nginx": [0.600, 0.600, 0.600]}"#), "{json}");
    }

    #[test]
    fn numbers_are_as_long_as_they_say_something() {
        for (value, text) in [(0.0, "0"), (1.234, "1.23"), (12.34, "12.3"), (1_234.5, "1234")] {
            assert_eq!(short(value), text);
        }
    }
}
