//! Pictures of a report as SVG, to stand in a page: latency by percentile and as distribution, shares over time.
//!
//! Colour never speaks alone: each arm has a dash pattern too. Colours are the page's, so they follow light and dark.

use std::fmt::Write;

use kt_core::stats::experiment::moment;
use kt_core::stats::report::{ArmReport, Report};

use super::page::Escaped;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
/// Room around the plot: left, right, top, bottom.
const EDGES: [f64; 4] = [72.0, 16.0, 12.0, 40.0];
/// Percentiles with a mark below the plot.
const PERCENTILES: [f64; 6] = [10.0, 50.0, 90.0, 99.0, 99.9, 99.99];
/// Bars of a distribution.
const BINS: usize = 60;

/// A plot with its axes; from data to pixels.
struct Plot {
    svg: String,
    x: (f64, f64),
    y: (f64, f64),
}

impl Plot {
    /// `id` is the picture's own in the page; `title` and `told` are for who doesn't see it.
    fn new(id: &str, title: &str, told: &str, x: (f64, f64), y: (f64, f64)) -> Self {
        let mut svg = String::new();
        push(
            &mut svg,
            format_args!(
                "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
                 <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
                Escaped(title),
                Escaped(told)
            ),
        );
        Self { svg, x: widened(x), y: widened(y) }
    }

    fn at_x(&self, x: f64) -> f64 {
        EDGES[0] + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - EDGES[0] - EDGES[1])
    }

    fn at_y(&self, y: f64) -> f64 {
        HEIGHT - EDGES[3] - (y - self.y.0) / (self.y.1 - self.y.0) * (HEIGHT - EDGES[2] - EDGES[3])
    }

    fn mark_x(&mut self, x: f64, label: &str) {
        let (x, bottom) = (self.at_x(x), HEIGHT - EDGES[3]);
        push(
            &mut self.svg,
            format_args!(
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                EDGES[2],
                bottom + 18.0,
                Escaped(label)
            ),
        );
    }

    fn mark_y(&mut self, y: f64, label: &str) {
        let (y, left) = (self.at_y(y), EDGES[0]);
        push(
            &mut self.svg,
            format_args!(
                "<line class=\"grid\" x1=\"{left}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - EDGES[1],
                left - 8.0,
                y + 4.0,
                Escaped(label)
            ),
        );
    }

    fn line(&mut self, arm: usize, points: &[(f64, f64)]) {
        let path: Vec<String> =
            points.iter().map(|(x, y)| format!("{:.1},{:.1}", self.at_x(*x), self.at_y(*y))).collect();
        push(
            &mut self.svg,
            format_args!("<polyline class=\"line arm{}\" points=\"{}\"/>", arm % ARM_STYLES, path.join(" ")),
        );
    }

    fn level(&mut self, arm: usize, y: f64) {
        let y = self.at_y(y);
        push(
            &mut self.svg,
            format_args!(
                "<line class=\"due arm{}\" x1=\"{}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\"/>",
                arm % ARM_STYLES,
                EDGES[0],
                WIDTH - EDGES[1]
            ),
        );
    }

    fn end(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }
}

/// How many arms have a style of their own; the next one has the first's.
pub(super) const ARM_STYLES: usize = 6;

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A String takes whatever there is.
    let _ = out.write_fmt(text);
}

/// A span that has a width.
fn widened((low, high): (f64, f64)) -> (f64, f64) {
    if high - low > 1e-9 { (low, high) } else { (low - 0.5, high + 0.5) }
}

/// Latencies that are not infinite, as logarithms of milliseconds.
fn logs(arm: &ArmReport) -> impl DoubleEndedIterator<Item = f64> + '_ {
    arm.latencies_ms.iter().filter(|latency| latency.is_finite()).map(|latency| latency.max(0.001).log10())
}

/// From the least to the greatest latency of all arms.
fn span(report: &Report) -> Option<(f64, f64)> {
    let ends = report.arms.iter().filter_map(|arm| logs(arm).next().zip(logs(arm).next_back()));
    ends.reduce(|(low, high), (first, last)| (low.min(first), high.max(last)))
}

/// Round numbers of milliseconds in a span of logarithms.
fn marks((low, high): (f64, f64)) -> Vec<(f64, String)> {
    let steps: &[f64] = if high - low > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = low.floor() as i32..=high.ceil() as i32;
    let values = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
    values
        .filter(|ms| (low..=high).contains(&ms.log10()))
        .map(|ms| (ms.log10(), if ms < 1_000.0 { format!("{ms} ms") } else { format!("{} s", ms / 1e3) }))
        .collect()
}

/// Latency by percentile, up to where an arm has ten requests beyond; failures are at the far end, without a value.
pub(super) fn percentiles(report: &Report, id: &str) -> Option<String> {
    let most = report.arms.iter().map(|arm| arm.latencies_ms.len()).max().filter(|most| *most >= 20)?;
    let nines = |p: f64| -(1.0 - p).log10();
    let last = 1.0 - 10.0 / most as f64;
    let span = span(report)?;
    let mut plot = Plot::new(
        id,
        "Latency by percentile",
        "One line per arm; lower is faster. The table below has the numbers.",
        (0.0, nines(last)),
        span,
    );
    for percent in PERCENTILES {
        if percent / 1e2 <= last {
            plot.mark_x(nines(percent / 1e2), &format!("p{percent}"));
        }
    }
    marks(span).iter().for_each(|(at, label)| plot.mark_y(*at, label));
    for (nth, arm) in report.arms.iter().enumerate() {
        let n = arm.latencies_ms.len() as f64;
        let reach = nines((1.0 - 10.0 / n.max(11.0)).min(last));
        let points: Vec<(f64, f64)> = (0..=120)
            .map(|step| reach * f64::from(step) / 120.0)
            .filter_map(|nines| {
                let rank = ((1.0 - 10_f64.powf(-nines)) * n).ceil().max(1.0) as usize;
                let value = arm.latencies_ms.get(rank - 1).filter(|latency| latency.is_finite())?;
                Some((nines, value.max(0.001).log10()))
            })
            .collect();
        plot.line(nth, &points);
    }
    Some(plot.end())
}

/// How latencies are distributed: the share of an arm's requests in each of sixty spans of equal ratio.
pub(super) fn distribution(report: &Report, id: &str) -> Option<String> {
    let span = widened(span(report)?);
    let width = (span.1 - span.0) / BINS as f64;
    let shares: Vec<Vec<f64>> = (report.arms.iter())
        .map(|arm| {
            let mut bins = vec![0.0; BINS];
            logs(arm).for_each(|log| bins[(((log - span.0) / width) as usize).min(BINS - 1)] += 1.0);
            bins.into_iter().map(|bin| bin / arm.latencies_ms.len().max(1) as f64).collect()
        })
        .collect();
    let most = shares.iter().flatten().copied().fold(0.0, f64::max);
    let mut plot = Plot::new(
        id,
        "Distribution of latency",
        "One line per arm: which share of its requests took how long. Failures have no latency and are left out.",
        span,
        (0.0, most),
    );
    marks(span).iter().for_each(|(at, label)| plot.mark_x(*at, label));
    plot.mark_y(0.0, "0%");
    plot.mark_y(most, &format!("{:.1}%", 1e2 * most));
    for (nth, bins) in shares.iter().enumerate() {
        let points: Vec<(f64, f64)> = (bins.iter().enumerate())
            .flat_map(|(at, share)| [(at, *share), (at + 1, *share)])
            .map(|(edge, share)| (span.0 + width * edge as f64, share))
            .collect();
        plot.line(nth, &points);
    }
    Some(plot.end())
}

/// Each arm's share of the requests in each span of the window, and what the weights say it should be.
pub(super) fn shares(report: &Report, id: &str) -> Option<String> {
    let (from, to) = report.window_us?;
    let spans = report.arms.first()?.over_time.len();
    let total = |span: usize| report.arms.iter().map(|arm| arm.over_time[span]).sum::<u64>();
    let mut plot = Plot::new(
        id,
        "Share of requests over time",
        "One line per arm; the fine level line is the share that its weight says.",
        (0.0, spans as f64),
        (0.0, 1.0),
    );
    [0.0, 0.25, 0.5, 0.75, 1.0].iter().for_each(|share| plot.mark_y(*share, &format!("{:.0}%", 1e2 * share)));
    for (at, us) in [(0.02, from), (0.98, to)] {
        plot.mark_x(at * spans as f64, &moment(us)[11..19]);
    }
    for (nth, arm) in report.arms.iter().enumerate() {
        plot.level(nth, arm.share_due);
        let points: Vec<(f64, f64)> = (0..spans)
            .filter(|span| total(*span) > 0)
            .map(|span| (span as f64 + 0.5, arm.over_time[span] as f64 / total(span) as f64))
            .collect();
        plot.line(nth, &points);
    }
    Some(plot.end())
}

/// What each arm cost per request, as bars.
pub(super) fn costs(report: &Report, id: &str) -> Option<String> {
    let per_request =
        |arm: &ArmReport| (arm.cost.known > 0).then(|| arm.cost.known_picousd as f64 / 1e12 / arm.cost.known as f64);
    let most = report.arms.iter().filter_map(per_request).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let count = report.arms.len() as f64;
    let mut plot = Plot::new(
        id,
        "Cost per request",
        "One bar per arm, of requests whose cost is known. The table has the numbers.",
        (0.0, most),
        (0.0, count),
    );
    for share in [0.0, 0.5, 1.0] {
        plot.mark_x(share * most, &super::words::value(kt_core::stats::measure::Measure::Cost, Some(share * most)));
    }
    for (nth, arm) in report.arms.iter().enumerate() {
        let Some(cost) = per_request(arm) else { continue };
        let (top, bottom) = (plot.at_y(count - nth as f64 - 0.2), plot.at_y(count - nth as f64 - 0.8));
        let (left, right) = (plot.at_x(0.0), plot.at_x(cost));
        let svg = &mut plot.svg;
        push(
            svg,
            format_args!(
                "<rect class=\"bar arm{}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                nth % ARM_STYLES,
                (right - left).max(1.0),
                bottom - top,
                left + 8.0,
                0.5 * (top + bottom) + 4.0,
                Escaped(&arm.arm.name)
            ),
        );
    }
    Some(plot.end())
}
