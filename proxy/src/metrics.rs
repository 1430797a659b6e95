//! `GET /metrics`: everything that is counted, as Prometheus reads it (text exposition format 0.0.4).
//!
//! Names and labels are stable. Histograms have a bucket for each sixteenth of an octave, a factor of 1.044 from one to
//! the next, so whatever quantile is worked out of them is within 5 % of the exact one. To keep a page readable,
//! buckets below the smallest and above the largest value seen are left out, but for one empty one below: it keeps
//! `histogram_quantile` from drawing its line from zero. `kt stats --hdr` has all that is known, to three digits.

use std::fmt::{Arguments, Write as _};
use std::sync::Arc;

use hdrhistogram::Histogram;
use kt_core::cost::write_usd;
use kt_core::json::escape_into;

use crate::ledger::Gauges;
use crate::meters::{ArmKey, ArmMeters, Counts, Distribution, Measure, Sum};

/// What the process knows beside its cores.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Which engine drives the cores.
    pub driver: &'static str,
    /// How many cores.
    pub cores: usize,
    /// Since the start, seconds.
    pub uptime_seconds: u64,
    /// How the log does.
    pub log: Gauges,
}

const PREFIX: &str = "keeptrusts_gateway_";

/// The whole page.
pub fn write(sum: &Sum, around: &Surroundings) -> String {
    let mut page = Page { out: String::with_capacity(16 * 1_024) };
    page.requests(sum);
    page.amounts(sum);
    for measure in Measure::ALL {
        page.histograms(sum, measure);
    }
    page.gauges(&sum.counts, sum.unmeasured, around);
    page.out
}

struct Page {
    out: String,
}

impl Page {
    fn push(&mut self, text: Arguments<'_>) {
        self.out.write_fmt(text).expect("writing to a string can't fail");
    }

    fn open(&mut self, name: &str, kind: &str, help: &str) {
        self.push(format_args!("# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n"));
    }

    fn requests(&mut self, sum: &Sum) {
        self.open(
            "requests_total",
            "counter",
            "Requests to model endpoints that have ended. Status 0: more than are told apart.",
        );
        for (key, meters) in &sum.arms {
            for (status, count) in &meters.statuses {
                let labels = labels(key);
                self.push(format_args!("{PREFIX}requests_total{{{labels},status=\"{status}\"}} {count}\n"));
            }
        }
        for (status, count) in &sum.unassigned {
            let labels = "group=\"\",arm=\"\",provider=\"\",model=\"\"";
            self.push(format_args!("{PREFIX}requests_total{{{labels},status=\"{status}\"}} {count}\n"));
        }
    }

    fn amounts(&mut self, sum: &Sum) {
        self.open("tokens_total", "counter", "Tokens as counted by the vendors, cached and reasoning ones included.");
        for (key, meters) in &sum.arms {
            let labels = labels(key);
            for (direction, tokens) in [("input", meters.tokens_in), ("output", meters.tokens_out)] {
                self.push(format_args!("{PREFIX}tokens_total{{{labels},direction=\"{direction}\"}} {tokens}\n"));
            }
        }
        self.open(
            "cost_usd_total",
            "counter",
            "Cost of requests whose price and usage are known; estimated: of a cut-off answer or a guessed usage.",
        );
        for (key, meters) in &sum.arms {
            let labels = labels(key);
            for (usage, cost) in [("measured", meters.cost_picousd), ("estimated", meters.estimated_picousd)] {
                let usd = usd(cost);
                self.push(format_args!("{PREFIX}cost_usd_total{{{labels},usage=\"{usage}\"}} {usd}\n"));
            }
        }
        self.open("cost_unknown_requests_total", "counter", "Requests of which nobody knows what they cost.");
        for (key, meters) in &sum.arms {
            let labels = labels(key);
            self.push(format_args!("{PREFIX}cost_unknown_requests_total{{{labels}}} {}\n", meters.cost_unknown));
        }
    }

    fn histograms(&mut self, sum: &Sum, measure: Measure) {
        let (name, help, unit) = shown(measure);
        self.open(name, "histogram", help);
        for (key, ArmMeters { successes, failures, .. }) in &sum.arms {
            for (outcome, ended) in [("success", successes), ("failure", failures)] {
                let distribution = ended.of(measure);
                if let Some(histogram) = distribution.histogram() {
                    let labels = format!("{},outcome=\"{outcome}\"", labels(key));
                    self.histogram(name, &labels, histogram, distribution, unit);
                }
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, histogram: &Histogram<u64>, all: &Distribution, unit: Unit) {
        let mut cells =
            histogram.iter_recorded().map(|cell| (cell.value_iterated_to(), cell.count_since_last_iteration()));
        let mut cell = cells.next();
        let mut below = 0;
        let first = step_of(histogram.min());
        for step in first.saturating_sub(1)..=step_of(histogram.max()) {
            let edge = edge_of(step);
            while let Some((_, count)) = cell.filter(|&(value, _)| value <= edge) {
                below += count;
                cell = cells.next();
            }
            let le = unit.show(u128::from(edge));
            self.push(format_args!("{PREFIX}{name}_bucket{{{labels},le=\"{le}\"}} {below}\n"));
        }
        let (count, sum) = (histogram.len(), unit.show(all.sum()));
        self.push(format_args!("{PREFIX}{name}_bucket{{{labels},le=\"+Inf\"}} {count}\n"));
        self.push(format_args!("{PREFIX}{name}_sum{{{labels}}} {sum}\n{PREFIX}{name}_count{{{labels}}} {count}\n"));
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.open(name, kind, help);
        self.push(format_args!("{PREFIX}{name} {value}\n"));
    }

    fn gauges(&mut self, counts: &Counts, unmeasured: u64, around: &Surroundings) {
        let Counts {
            connections,
            in_flight,
            idle_upstreams,
            busy_upstreams,
            turned_away,
            failed_handshakes,
            admitted,
            refused_heads,
            others,
            shed,
            panics,
        } = counts;
        let Surroundings { driver, cores, uptime_seconds, log } = around;
        let Gauges { lag_ns, lag_ns_max: _, lost, gaps, short_of_room: _ } = log;
        self.open("upstream_connections", "gauge", "Connections to vendors: kept for the next request, or in use.");
        self.push(format_args!("{PREFIX}upstream_connections{{state=\"idle\"}} {idle_upstreams}\n"));
        self.push(format_args!("{PREFIX}upstream_connections{{state=\"busy\"}} {busy_upstreams}\n"));
        self.one("client_connections", "gauge", "Connections of clients.", connections);
        self.one("requests_in_flight", "gauge", "Requests to model endpoints that are being answered.", in_flight);
        self.one("requests_admitted_total", "counter", "Requests to model endpoints, ended or not.", admitted);
        self.one("heads_refused_total", "counter", "Requests whose head could not be parsed.", refused_heads);
        self.one("other_requests_total", "counter", "Requests to other paths, or with a wrong method.", others);
        self.one(
            "connections_turned_away_total",
            "counter",
            "Connections closed because their address had as many as it may.",
            turned_away,
        );
        self.one("handshakes_failed_total", "counter", "TLS handshakes of clients that failed.", failed_handshakes);
        self.one("requests_shed_total", "counter", "Requests refused because the log had no room for them.", shed);
        self.one("panics_total", "counter", "Panics caught; each is a bug.", panics);
        self.one(
            "values_unmeasured_total",
            "counter",
            "Measured values that found no room for a histogram.",
            unmeasured,
        );
        self.one("events_lost_total", "counter", "Decisions that the log says are missing from it.", lost + gaps);
        let lag = Unit::Nanoseconds.show(u128::from(*lag_ns));
        self.one(
            "events_lag_seconds",
            "gauge",
            "From a decision's end to the log, the longest of the last write.",
            lag,
        );
        self.open("runtime_driver", "gauge", "How the cores talk to the kernel.");
        self.push(format_args!("{PREFIX}runtime_driver{{driver=\"{driver}\"}} 1\n"));
        self.one("cores", "gauge", "Threads that serve.", cores);
        self.one("uptime_seconds", "gauge", "Since the start.", uptime_seconds);
        self.open("build_info", "gauge", "Which gateway this is.");
        self.push(format_args!("{PREFIX}build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION")));
    }
}

/// Backslash, quote and line feed are escaped in JSON as they are in the exposition format; a name has no other control
/// character.
fn labels(key: &Arc<ArmKey>) -> String {
    let ArmKey { group, arm, provider, model } = &**key;
    let (group, arm, model) = (quoted(group), quoted(arm), quoted(model));
    format!("group={group},arm={arm},provider=\"{provider}\",model={model}")
}

fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    escape_into(&mut out, text);
    String::from_utf8(out).expect("escaping keeps UTF-8")
}

/// A measure's name on the page, what it is, and the unit of its values.
const fn shown(measure: Measure) -> (&'static str, &'static str, Unit) {
    match measure {
        Measure::Latency => (
            "request_duration_seconds",
            "From the request read whole to the last byte of its answer.",
            Unit::Nanoseconds,
        ),
        Measure::Ttft => (
            "time_to_first_token_seconds",
            "From the request read whole to the first content of a streamed answer.",
            Unit::Nanoseconds,
        ),
        Measure::Gap => (
            "content_gap_seconds",
            "Between two content events of a stream, whatever became of it later.",
            Unit::Nanoseconds,
        ),
        Measure::TokenRate => ("output_tokens_per_second", "How fast output came, once it came.", Unit::Thousandths),
        Measure::Connect => (
            "connect_duration_seconds",
            "Name, TCP and TLS, of requests for which a connection was made.",
            Unit::Nanoseconds,
        ),
        Measure::Overhead => {
            ("overhead_seconds", "The gateway's own share of a request's duration.", Unit::Nanoseconds)
        }
    }
}

/// What a stored number counts, and so how many digits of it stand behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Nanoseconds,
    Thousandths,
}

impl Unit {
    /// The value in whole units, exactly.
    fn show(self, value: u128) -> String {
        let (one, digits) = match self {
            Self::Nanoseconds => (1_000_000_000, 9),
            Self::Thousandths => (1_000, 3),
        };
        let text = format!("{}.{:0digits$}", value / one, value % one);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

fn usd(picousd: u128) -> String {
    let mut out = Vec::new();
    // 18 million dollars fit; a gateway that has spent more says at least that.
    write_usd(u64::try_from(picousd).unwrap_or(u64::MAX), &mut out);
    String::from_utf8(out).expect("digits and a point")
}

/// Steps of the buckets' edges in an octave.
const STEPS: u32 = 16;

/// The largest value that a step's bucket takes: two to the power of a sixteenth of it, rounded down.
fn edge_of(step: u32) -> u64 {
    // At most 2^42: exact enough, and the same on each page.
    (f64::from(step) / f64::from(STEPS)).exp2() as u64
}

/// The first step whose edge is not below the value.
fn step_of(value: u64) -> u32 {
    let guess = ((value.max(1) as f64).log2() * f64::from(STEPS)) as u32;
    (guess.saturating_sub(1)..).find(|&step| edge_of(step) >= value).expect("edges grow without end")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `histogram_quantile` of Prometheus makes of these buckets (edge, values up to it): a straight line within
    /// the bucket that the rank falls into.
    fn quantile(buckets: &[(f64, f64)], share: f64) -> f64 {
        let count = buckets.last().expect("+Inf").1;
        let rank = share * count;
        let at = buckets.iter().position(|&(_, below)| below >= rank).expect("+Inf holds all");
        let (end, until) = buckets[at];
        if end.is_infinite() {
            return buckets[at - 1].0;
        }
        let (start, before) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
        start + (end - start) * (rank - before) / (until - before)
    }

    /// The buckets of a page's only histogram.
    fn buckets(page: &str) -> Vec<(f64, f64)> {
        let lines = page.lines().filter(|line| line.contains("_bucket{"));
        let parse = |line: &str| {
            let (_, rest) = line.split_once("le=\"").expect("an edge");
            let (edge, count) = rest.split_once("\"} ").expect("a count");
            let edge = if edge == "+Inf" { f64::INFINITY } else { edge.parse().expect("a number") };
            (edge, count.parse().expect("a count"))
        };
        lines.map(parse).collect()
    }

    fn page_of(values: &[u64]) -> String {
        let mut histogram = Histogram::new(3).expect("three digits");
        values.iter().for_each(|&value| histogram.record(value).expect("it resizes"));
        let mut page = Page { out: String::new() };
        page.histogram("x", "a=\"b\"", &histogram, &Distribution::default(), Unit::Nanoseconds);
        page.out
    }

    #[test]
    fn any_quantile_of_log_normal_latencies_is_within_five_percent() {
        let mut rng = fastrand::Rng::with_seed(9);
        // Medians from 50 µs to 60 s, narrow and wide.
        for median in [50e3, 1e6, 40e6, 300e6, 5e9, 60e9] {
            for sigma in [0.02, 0.3, 0.8, 2.0] {
                let mut value = || {
                    let (u, v) = (1.0 - rng.f64(), rng.f64());
                    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                    ((median * (sigma * normal).exp()) as u64).clamp(50_000, 60_000_000_000)
                };
                let mut values: Vec<u64> = (0..20_000).map(|_| value()).collect();
                let buckets = buckets(&page_of(&values));
                values.sort_unstable();
                for share in [0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999] {
                    let rank = ((share * values.len() as f64).ceil() as usize).max(1);
                    let exact = values[rank - 1] as f64 / 1e9;
                    let shown = quantile(&buckets, share);
                    let error = (shown - exact).abs() / exact;
                    assert!(error < 0.05, "median {median}, sigma {sigma}, quantile {share}: {exact} as {shown}");
                }
            }
        }
    }

    #[test]
    fn values_that_are_all_the_same_are_shown_as_that() {
        for value in [1, 2, 50_000, 123_456_789, 3_600_000_000_000] {
            let shown = quantile(&buckets(&page_of(&[value; 100])), 0.5);
            let exact = value as f64 / 1e9;
            assert!(value < 30 || (shown - exact).abs() / exact < 0.05, "{value}: {shown}");
        }
    }

    #[test]
    fn buckets_are_few_ascending_and_complete() {
        let page = page_of(&[100_000, 200_000, 200_000, 400_000]);
        let buckets = buckets(&page);
        assert!(buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1), "{buckets:?}");
        assert_eq!((buckets[0].1, buckets[buckets.len() - 1].1), (0.0, 4.0));
        assert!((34..=36).contains(&buckets.len()), "two octaves, one below, one for all: {}", buckets.len());
    }

    #[test]
    fn steps_and_edges_belong_together() {
        for value in (0..10_000).chain([50_000, 1 << 32, 3_600_000_000_000]) {
            let step = step_of(value);
            assert!(edge_of(step) >= value, "{value}");
            assert!(step == 0 || edge_of(step - 1) < value, "{value}");
        }
    }

    #[test]
    fn numbers_are_printed_exactly() {
        assert_eq!(Unit::Nanoseconds.show(0), "0");
        assert_eq!(Unit::Nanoseconds.show(50_000), "0.00005");
        assert_eq!(Unit::Nanoseconds.show(60_000_000_000), "60");
        assert_eq!(Unit::Thousandths.show(12_345), "12.345");
        assert_eq!(usd(2_500_000_000_000), "2.5");
    }
}
