//! A report for programs. Its fields are a contract: README has them.

use kt_core::json::escape_into;
use kt_core::stats::experiment::moment;
use kt_core::stats::forecast::Planned;
use kt_core::stats::interval::Interval;
use kt_core::stats::measure::{Measure, Unit};
use kt_core::stats::report::{ArmReport, Comparison, Cost, Report};

use super::words;

/// The report as one JSON object, line feed included.
pub(super) fn object(report: &Report) -> String {
    let mut json = Json(String::new());
    json.object(|json| {
        json.text("group", &report.group);
        json.text("epoch", &report.epoch);
        json.number("run", report.run.map(|run| run as f64));
        json.number("runs", Some(report.runs as f64));
        json.text("endpoint", &report.stratum.endpoint);
        json.text("assignment", &report.stratum.method);
        json.name("by");
        match &report.stratum.by {
            Some((by, label)) => json.object(|json| json.text(by, label)),
            None => json.null(),
        }
        json.name("window");
        match report.window_us {
            Some((from, to)) => json.object(|json| {
                json.text("from", &moment(from));
                json.text("to", &moment(to));
            }),
            None => json.null(),
        }
        json.number("level", Some(0.95));
        json.list(
            "method_notes",
            words::guarantee(report).iter().chain(&report.notes).chain(&report.exploratory),
            |json, note| {
                json.string(note);
            },
        );
        json.list("arms", &report.arms, arm);
        json.list("comparisons", &report.comparisons, |json, each| {
            comparison(json, each, !report.exploratory.is_empty());
        });
        json.list("alarms", &report.alarms, |json, alarm| {
            json.object(|json| {
                json.text("kind", alarm.kind.as_str());
                json.text("message", &alarm.message);
                json.bool("blocks_verdict", alarm.blocks_verdict);
            });
        });
        json.list("as_served", &report.as_served, |json, served| {
            json.object(|json| {
                json.text("by", &served.by);
                json.number("requests", Some(served.requests as f64));
                json.number("latency:p50", served.latency_ms);
            });
        });
    });
    json.0.push('\n');
    json.0
}

/// A plan as one JSON object, line feed included.
pub(super) fn plan(planned: &Planned, detect: f64, power: f64) -> String {
    let mut json = Json(String::new());
    json.object(|json| {
        json.text("group", &planned.group);
        json.text("measure", &planned.measure.to_string());
        json.number("detect", Some(detect));
        json.number("power", Some(power));
        json.number("needs_requests", planned.requests.map(|requests| requests as f64));
        json.number("dependence", Some(planned.dependence));
        json.list("arms", &planned.arms, |json, arm| {
            json.object(|json| {
                let more = planned.requests.map(|requests| requests.saturating_sub(arm.requests) as f64);
                json.text("arm", &arm.name);
                json.number("requests", Some(arm.requests as f64));
                json.number("more_requests", more);
                json.number("requests_per_day", arm.per_day);
                json.number("days", more.zip(arm.per_day).map(|(more, rate)| more / rate));
            });
        });
    });
    json.0.push('\n');
    json.0
}

fn arm(json: &mut Json, report: &ArmReport) {
    json.object(|json| {
        json.text("arm", &report.arm.name);
        json.text("model", &report.arm.model);
        json.text("target_id", &report.arm.target_id);
        json.number("weight", Some(report.arm.weight));
        json.number("requests", Some(report.requests as f64));
        json.number("share", Some(report.share));
        json.number("share_due", Some(report.share_due));
        json.number("errors", Some(report.errors as f64));
        json.name("measures");
        json.object(|json| {
            for (measure, measured) in &report.measures {
                json.name(&measure.to_string());
                let Interval { estimate, low, high } = measured.interval;
                json.object(|json| {
                    json.number("n", Some(measured.n as f64));
                    json.number("value", estimate);
                    json.number("low", bound(*measure, low));
                    json.number("high", Some(high));
                });
            }
            json.name("latency:mean");
            json.object(|json| {
                json.number("n", Some((report.requests - report.errors) as f64));
                json.number("value", report.mean_latency_ms);
                json.number("low", None);
                json.number("high", None);
            });
        });
        json.number("tokens_in", Some(report.tokens.0 as f64));
        json.number("tokens_out", Some(report.tokens.1 as f64));
        cost(json, &report.cost);
    });
}

/// To the last pico-dollar; null where no request's cost is known.
fn cost(json: &mut Json, cost: &Cost) {
    let exact = |picousd: u128| format!("{}.{:012}", picousd / 1_000_000_000_000, picousd % 1_000_000_000_000);
    json.raw("cost_usd", &if cost.known > 0 { exact(cost.known_picousd) } else { "null".to_owned() });
    json.raw("cost_picousd", &if cost.known > 0 { cost.known_picousd.to_string() } else { "null".to_owned() });
    json.number("cost_unknown_requests", Some(cost.unknown as f64));
    json.number("cost_estimated_requests", Some(cost.estimated as f64));
    let estimated = if cost.estimated > 0 { exact(cost.estimated_picousd) } else { "null".to_owned() };
    json.raw("cost_estimated_usd", &estimated);
}

fn comparison(json: &mut Json, comparison: &Comparison, exploratory: bool) {
    let Interval { estimate, low, high } = comparison.judgement.interval;
    json.object(|json| {
        json.text("measure", &comparison.measure.to_string());
        json.text("arm", &comparison.arm);
        json.text("baseline", &comparison.baseline);
        json.text("unit", comparison.unit());
        json.number("estimate", estimate);
        json.number("low", bound(comparison.measure, low));
        json.number("high", Some(high));
        json.number("level", Some(1.0 - comparison.alpha));
        json.number("margin", Some(comparison.margin));
        json.text("method", &comparison.judgement.method.to_string());
        json.bool("primary", comparison.primary);
        json.bool("exploratory", exploratory);
        json.text("verdict", comparison.judgement.verdict.as_str());
        json.number("needs_requests", comparison.needs.map(|needs| needs.requests as f64));
    });
}

/// Nothing is below zero but differences: there it is no bound.
fn bound(measure: Measure, low: f64) -> Option<f64> {
    (low > 0.0 || measure.unit() == Unit::Difference).then_some(low)
}

/// A JSON text that grows.
struct Json(String);

impl Json {
    /// A comma, unless something has just begun.
    fn next(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(['{', '[', ':']) {
            self.0.push(',');
        }
    }

    fn string(&mut self, text: &str) {
        self.next();
        let mut bytes = Vec::new();
        escape_into(&mut bytes, text);
        self.0.push_str(&String::from_utf8_lossy(&bytes));
    }

    fn name(&mut self, name: &str) {
        self.string(name);
        self.0.push(':');
    }

    fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.next();
        self.0.push('{');
        fields(self);
        self.0.push('}');
    }

    fn list<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, each: impl Fn(&mut Self, T)) {
        self.name(name);
        self.0.push('[');
        for item in items {
            each(self, item);
        }
        self.0.push(']');
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.string(text);
    }

    fn raw(&mut self, name: &str, text: &str) {
        self.name(name);
        self.0.push_str(text);
    }

    fn null(&mut self) {
        self.0.push_str("null");
    }

    fn bool(&mut self, name: &str, value: bool) {
        self.raw(name, if value { "true" } else { "false" });
    }

    /// Null where there is none, or where it is infinite.
    fn number(&mut self, name: &str, value: Option<f64>) {
        match value.filter(|value| value.is_finite()) {
            Some(value) => self.raw(name, &format!("{value}")),
            None => self.raw(name, "null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let mut json = Json(String::new());
        json.object(|json| {
            json.text("a \"b\"", "c\n");
            json.number("n", Some(1.5));
            json.number("unbounded", Some(f64::INFINITY));
            json.list("l", [1, 2], |json, each| json.object(|json| json.number("x", Some(f64::from(each)))));
            json.list("none", [] as [u8; 0], |json, _| json.null());
            json.name("o");
            json.object(|_| {});
        });
        let expected = r#"{"a \"b\"":"c\n","n":1.5,"unbounded":null,"l":[{"x":1},{"x":2}],"none":[],"o":{}}"#;
        assert_eq!(json.0, expected);
    }
}
