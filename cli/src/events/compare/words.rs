//! A comparison in words, and its numbers as people read them. Text and page share them.

use kt_core::stats::judge::Verdict;
use kt_core::stats::measure::Measure;
use kt_core::stats::report::{Comparison, Cost, Report};

use crate::table;

/// What is known of a comparison, in a sentence.
pub(super) fn verdict(comparison: &Comparison, blocked: bool) -> String {
    if blocked {
        return "no verdict: see the alarms".to_owned();
    }
    let difference = difference(comparison);
    match comparison.judgement.verdict {
        Verdict::NoDifference => format!("no difference beyond {}", amount(comparison.measure, comparison.margin)),
        Verdict::Faster | Verdict::Slower | Verdict::Higher | Verdict::Lower => {
            format!("{} {difference}", subject(comparison))
        }
        Verdict::NotEnoughData => match comparison.needs {
            Some(needs) => format!(
                "not enough data: about {} more requests per arm to see {}",
                table::count(rounded(needs.requests)),
                amount(comparison.measure, needs.detect)
            ),
            None => "not enough data".to_owned(),
        },
    }
}

/// `claude is faster to the first token by`.
fn subject(comparison: &Comparison) -> String {
    let arm = &comparison.arm;
    let less = comparison.judgement.verdict;
    let is = |more: &str, fewer: &str| match less {
        Verdict::Faster | Verdict::Lower => fewer.to_owned(),
        Verdict::Slower | Verdict::Higher | Verdict::NoDifference | Verdict::NotEnoughData => more.to_owned(),
    };
    let at = |measure: Measure| match measure.quantile() {
        Some(share) if share != 0.5 => {
            format!(" at {}", measure.to_string().split(':').next_back().unwrap_or_default())
        }
        _ => String::new(),
    };
    match comparison.measure {
        Measure::Latency(_) => format!("{arm} is {}{} by", is("slower", "faster"), at(comparison.measure)),
        Measure::Ttft(_) => {
            format!("{arm} is {} to the first token{} by", is("slower", "faster"), at(comparison.measure))
        }
        Measure::GapMean => {
            format!("{arm} streams {}: its gaps are {} by", is("slower", "faster"), is("longer", "shorter"))
        }
        Measure::GapMax => format!("{arm}'s largest gaps are {} by", is("longer", "shorter")),
        Measure::ErrorRate => format!("{arm} fails {} by", is("more often", "less often")),
        Measure::Cost => format!("{arm} costs {} by", is("more", "less")),
        Measure::TokensOut => format!("{arm}'s answers are {} by", is("longer", "shorter")),
    }
}

/// `18 % (12–24 %)`.
fn difference(comparison: &Comparison) -> String {
    let interval = comparison.judgement.interval;
    let ratio = comparison.unit() == "ratio";
    let down = matches!(comparison.judgement.verdict, Verdict::Faster | Verdict::Lower);
    let change = |value: f64| match (ratio, down) {
        (true, true) => 1.0 - value,
        (true, false) => value - 1.0,
        (false, true) => -value,
        (false, false) => value,
    };
    let (near, far) = if down { (interval.high, interval.low) } else { (interval.low, interval.high) };
    let unit = if ratio { "%" } else { "points" };
    // A ratio of zero is no bound.
    let bounds = match change(far).is_finite() && !(ratio && far <= 0.0) {
        true => format!("{}–{} {unit}", digits(change(near)), digits(change(far))),
        false => format!("at least {} {unit}", digits(change(near))),
    };
    match interval.estimate {
        Some(estimate) => format!("{} {unit} ({bounds})", digits(change(estimate))),
        None => bounds,
    }
}

/// A difference that matters, or is to be seen: `10 %`, `1 point`.
pub(super) fn amount(measure: Measure, share: f64) -> String {
    match (measure, digits(share)) {
        (Measure::ErrorRate, one) if one == "1" => "1 point".to_owned(),
        (Measure::ErrorRate, points) => format!("{points} points"),
        (_, percent) => format!("{percent} %"),
    }
}

/// A share as a percentage of two or three digits, without zeros at the end.
fn digits(share: f64) -> String {
    let percent = 1e2 * share;
    let text = match percent.abs() {
        size if size >= 9.95 => return format!("{percent:.0}"),
        size if size >= 0.995 => format!("{percent:.1}"),
        _ => format!("{percent:.2}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Two digits are as much as a forecast is worth.
fn rounded(requests: u64) -> u64 {
    let unit = 10_u64.pow(requests.max(1).ilog10().saturating_sub(1));
    requests.div_ceil(unit) * unit
}

/// A value of a measure with its unit; a dash if there is none.
pub(super) fn value(measure: Measure, value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return "-".to_owned() };
    match measure {
        Measure::Latency(_) | Measure::Ttft(_) | Measure::GapMean | Measure::GapMax => {
            table::duration((1e6 * value).round() as u64)
        }
        Measure::ErrorRate => format!("{:.2}%", 1e2 * value),
        Measure::Cost => dollars(value),
        Measure::TokensOut => format!("{value:.1}"),
    }
}

/// A bound of a comparison.
pub(super) fn bound(comparison: &Comparison, value: f64) -> String {
    match comparison.unit() {
        "ratio" if value <= 0.0 || !value.is_finite() => "?".to_owned(),
        "ratio" => format!("{value:.3}"),
        _ => format!("{:+.2}%", 1e2 * value),
    }
}

/// The least and the most that is held possible.
pub(super) fn bounds(comparison: &Comparison) -> String {
    let interval = comparison.judgement.interval;
    match (bound(comparison, interval.low), bound(comparison, interval.high)) {
        (low, high) if low == "?" && high == "?" => "none yet".to_owned(),
        (low, high) => format!("{low} to {high}"),
    }
}

/// The best guess.
pub(super) fn estimate(comparison: &Comparison) -> String {
    comparison.judgement.interval.estimate.map_or_else(|| "-".to_owned(), |estimate| bound(comparison, estimate))
}

/// What an arm cost: what is not known is said, and never zero.
pub(super) fn cost(cost: &Cost) -> String {
    let mut parts = Vec::new();
    if cost.known > 0 || cost.unknown + cost.estimated == 0 {
        parts.push(exact_dollars(cost.known_picousd));
    }
    if cost.estimated > 0 {
        parts.push(format!("~{} of {} estimated", exact_dollars(cost.estimated_picousd), table::count(cost.estimated)));
    }
    if cost.unknown > 0 {
        parts.push(format!("{} unknown", table::count(cost.unknown)));
    }
    parts.join(", ")
}

fn dollars(value: f64) -> String {
    match value {
        value if value >= 1.0 => format!("${value:.2}"),
        value if value >= 0.01 => format!("${value:.4}"),
        value => format!("${value:.6}"),
    }
}

/// Rounded to a millionth of a dollar.
fn exact_dollars(picousd: u128) -> String {
    let micro = (picousd + 500_000) / 1_000_000;
    format!("${}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

/// What the bounds and verdicts of a report promise, and what they assume.
pub(super) fn guarantee(report: &Report) -> Vec<String> {
    use kt_core::stats::evidence::Looks;
    let mut lines = Vec::new();
    lines.push(match report.looks {
        Looks::Any => {
            "With a chance of at least 95 % all bounds of the comparison hold, at every look at once, from the \
                       beginning of the epoch on: look as often as you like, and stop when you like."
                .to_owned()
        }
        Looks::One => {
            "With a chance of about 95 % all bounds of the comparison hold, if this is the only look, at a time \
                       that was fixed beforehand (--fixed)."
                .to_owned()
        }
    });
    lines.push(format!(
        "{} decides, with half of the chance of an error; all other measures and arms share the other half. An arm's own \
         bounds hold at 95 % each.",
        report.primary
    ));
    let unit = match &*report.stratum.method {
        "hash" => "units within an hour (or batches of requests, where those are alike)",
        _ => "requests (or batches of them, where those near in time are alike)",
    };
    lines.push(format!(
        "It is assumed that arms were drawn by chance and that {unit} are independent. Bounds by batches or clusters, \
         and of means without a known bound, hold for many requests."
    ));
    lines.push(
        "Differences are those over the observed window. Requests that failed, or whose client left, count as infinitely \
         slow; whole answers have no time to the first token."
            .to_owned(),
    );
    if report.requests_min > 0 {
        lines.push(format!(
            "Below {} requests per arm slow episodes can't be told from differences, so there is no verdict.",
            table::count(report.requests_min as u64)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_two_or_three_digits() {
        for (share, text) in
            [(0.18, "18"), (0.1, "10"), (0.05, "5"), (0.025, "2.5"), (0.0125, "1.2"), (0.001, "0.1"), (1.5, "150")]
        {
            assert_eq!(digits(share), text);
        }
    }

    #[test]
    fn forecasts_have_two_digits() {
        for (requests, text) in [(3, 3), (95, 95), (3_412, 3_500), (3_400, 3_400), (99_900, 100_000)] {
            assert_eq!(rounded(requests), text);
        }
    }

    #[test]
    fn an_unknown_cost_is_never_zero() {
        let none = Cost { unknown: 12, ..Cost::default() };
        assert_eq!(cost(&none), "12 unknown");
        let some = Cost { known_picousd: 1_234_567_890_123, known: 3, unknown: 1_200, ..Cost::default() };
        assert_eq!(cost(&some), "$1.234568, 1,200 unknown");
        let guess = Cost { known: 1, estimated_picousd: 2_000_000_000_000, estimated: 2, ..Cost::default() };
        assert_eq!(cost(&guess), "$0.000000, ~$2.000000 of 2 estimated");
    }
}
