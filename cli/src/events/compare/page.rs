//! Reports as one page: nothing is loaded, nothing runs. It follows light and dark, prints, and is read by keyboard and
//! by screen readers: every picture has its numbers in a table.

use std::fmt::{self, Display, Write};

use kt_core::stats::experiment::moment;
use kt_core::stats::measure::Measure;
use kt_core::stats::report::{ArmReport, Report};

use super::{chart, words};
use crate::table;

/// Colours have a contrast of at least 4.5 against their ground, light or dark.
const STYLE: &str = "
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --soft: #57606a; --rule: #d0d7de; --alarm: #a40e26;
  --c0: #0550ae; --c1: #b35900; --c2: #116329; --c3: #8250df; --c4: #99286e; --c5: #57606a; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --ink: #e6edf3; --soft: #9da7b3; --rule: #3d444d;
  --alarm: #ff8e86; --c0: #79c0ff; --c1: #ffa657; --c2: #7ee787; --c3: #d2a8ff; --c4: #ff9bce; --c5: #b1bac4; } }
body { margin: 0 auto; padding: 1.5rem; max-width: 72rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin-top: 1.5rem; }
p, li { max-width: 48rem; } .soft, figcaption { color: var(--soft); }
a.skip { position: absolute; left: -100rem; } a.skip:focus { position: static; }
:focus-visible { outline: 3px solid var(--c0); outline-offset: 2px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: .25rem 0; }
th, td { padding: .3rem .75rem .3rem 0; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th[scope=row], th.word, td.word { text-align: left; } td.word { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
td.word:last-child { min-width: 16rem; } tr.primary { font-weight: 600; }
ul.alarms li { color: var(--alarm); } .key span { margin-right: 1.5rem; }
figure { margin: 1rem 0 2rem; } svg { max-width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--soft); }
.grid { stroke: var(--rule); } .line { fill: none; stroke-width: 2; } .due { stroke-width: 1; opacity: .7; }
.arm0 { stroke: var(--c0); } .arm1 { stroke: var(--c1); stroke-dasharray: 8 3; } .arm2 { stroke: var(--c2);
  stroke-dasharray: 2 3; } .arm3 { stroke: var(--c3); stroke-dasharray: 8 3 2 3; } .arm4 { stroke: var(--c4);
  stroke-dasharray: 12 4; } .arm5 { stroke: var(--c5); stroke-dasharray: 4 4; }
.bar { fill: var(--ground); stroke-width: 2; } .key svg { width: 3rem; height: .75rem; }
@media print { :root { --ground: #fff; --ink: #000; --soft: #333; } body { max-width: none; padding: 0; }
  .scroll { overflow: visible; } table { font-size: .75rem; } th, td { white-space: normal; min-width: 0 !important; }
  figure, table { break-inside: avoid; } a.skip { display: none; } details::details-content { content-visibility: visible; } }
";

/// Text as HTML shows it.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The page.
pub(super) fn page(reports: &[Report]) -> String {
    let mut html = String::new();
    let title = match reports {
        [report, ..] => format!("Comparison of {}", report.group),
        [] => "Comparison".to_owned(),
    };
    html.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    push(&mut html, format_args!("<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n", Escaped(&title)));
    html.push_str("<a class=\"skip\" href=\"#verdicts-0\">Skip to the verdicts</a>\n<main>\n");
    push(&mut html, format_args!("<h1>{}</h1>\n", Escaped(&title)));
    for (nth, report) in reports.iter().enumerate() {
        section(report, nth, &mut html);
    }
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn push(html: &mut String, text: fmt::Arguments<'_>) {
    // A String takes whatever there is.
    let _ = html.write_fmt(text);
}

fn section(report: &Report, nth: usize, html: &mut String) {
    let stratum = &report.stratum;
    let mut name = vec![report.group.clone(), stratum.endpoint.clone(), stratum.method.clone()];
    name.extend(stratum.by.as_ref().map(|(by, label)| format!("{by} {label}")));
    name.retain(|part| !part.is_empty());
    push(
        html,
        format_args!("<section aria-labelledby=\"h-{nth}\">\n<h2 id=\"h-{nth}\">{}</h2>\n", Escaped(&name.join(" · "))),
    );
    let requests: u64 = report.arms.iter().map(|arm| arm.requests).sum();
    let epoch = report.run.map_or_else(|| "all epochs".to_owned(), |run| format!("epoch {run} of {}", report.runs));
    let when = report.window_us.map_or_else(String::new, |(from, to)| format!(", {} to {}", moment(from), moment(to)));
    push(html, format_args!("<p class=\"soft\">{} requests, {epoch}{when}.</p>\n", table::count(requests)));
    verdicts(report, nth, html);
    arms(report, html);
    pictures(report, nth, html);
    html.push_str("<h3>What is promised</h3>\n");
    let reasons = report.exploratory.iter().map(|reason| format!("Exploratory: {reason}."));
    let notes = report.notes.iter().map(|note| format!("Note: {note}."));
    for line in reasons.chain(notes).chain(words::guarantee(report)) {
        push(html, format_args!("<p>{}</p>\n", Escaped(&line)));
    }
    html.push_str("</section>\n");
}

fn verdicts(report: &Report, nth: usize, html: &mut String) {
    push(html, format_args!("<h3 id=\"verdicts-{nth}\" tabindex=\"-1\">Verdicts</h3>\n"));
    if !report.alarms.is_empty() {
        html.push_str("<ul class=\"alarms\" aria-label=\"Alarms\">\n");
        for alarm in &report.alarms {
            let forbids = if alarm.blocks_verdict { " (forbids a verdict)" } else { "" };
            push(
                html,
                format_args!(
                    "<li><strong>{}</strong>{forbids}: {}</li>\n",
                    alarm.kind.as_str(),
                    Escaped(&alarm.message)
                ),
            );
        }
        html.push_str("</ul>\n");
    }
    let Some(baseline) = report.baseline.as_ref().filter(|_| !report.comparisons.is_empty()) else {
        html.push_str("<p>There is nothing to compare: the group has one arm.</p>\n");
        return;
    };
    let exploratory = if report.exploratory.is_empty() { "" } else { " Exploratory." };
    let caption = format!("Compared with {baseline}. The first measure decides.{exploratory}");
    let blocked = report.alarms.iter().any(|alarm| alarm.blocks_verdict);
    let heads =
        [("Measure", true), ("Arm", true), ("Ratio or difference", false), ("Bounds", false), ("Verdict", true)];
    begin_table(html, &caption, &heads);
    for comparison in &report.comparisons {
        let class = if comparison.primary { " class=\"primary\"" } else { "" };
        push(
            html,
            format_args!(
                "<tr{class}><th scope=\"row\">{}</th><td class=\"word\">{}</td><td>{}</td><td>{}</td><td class=\"word\">{}</td></tr>\n",
                comparison.measure,
                Escaped(&comparison.arm),
                words::estimate(comparison),
                words::bounds(comparison),
                Escaped(&words::verdict(comparison, blocked))
            ),
        );
    }
    html.push_str("</tbody></table></div>\n");
}

fn arms(report: &Report, html: &mut String) {
    html.push_str("<h3>Arms</h3>\n");
    let heads = ["Arm", "Requests", "Share", "Weight", "Errors", "Tokens in", "Tokens out", "Cost"];
    let heads: Vec<(&str, bool)> = heads.iter().enumerate().map(|(nth, name)| (*name, nth == 0)).collect();
    begin_table(html, "What each arm got, and what it cost.", &heads);
    for arm in &report.arms {
        row(
            html,
            &arm.arm.name,
            &[
                table::count(arm.requests),
                format!("{:.1}%", 1e2 * arm.share),
                format!("{:.1}%", 1e2 * arm.share_due),
                table::count(arm.errors),
                table::count(arm.tokens.0),
                table::count(arm.tokens.1),
                words::cost(&arm.cost),
            ],
        );
    }
    html.push_str("</tbody></table></div>\n");
    let mut heads = vec![("Measure", true)];
    heads.extend(report.arms.iter().map(|arm| (arm.arm.name.as_str(), false)));
    begin_table(html, "What each arm measured, with its bounds at 95 %. A failure counts as infinitely slow.", &heads);
    for measure in report.comparisons.iter().map(|comparison| comparison.measure).fold(Vec::new(), |mut seen, each| {
        if !seen.contains(&each) {
            seen.push(each);
        }
        seen
    }) {
        row(html, &measure.to_string(), &report.arms.iter().map(|arm| measured(arm, measure)).collect::<Vec<_>>());
    }
    html.push_str("</tbody></table></div>\n");
}

fn measured(arm: &ArmReport, measure: Measure) -> String {
    let Some((_, found)) = arm.measures.iter().find(|(each, _)| *each == measure) else { return "-".to_owned() };
    let interval = found.interval;
    if found.n == 0 {
        return "-".to_owned();
    }
    let value = |value: f64| words::value(measure, Some(value));
    format!("{} ({} to {})", words::value(measure, interval.estimate), value(interval.low), value(interval.high))
}

fn pictures(report: &Report, nth: usize, html: &mut String) {
    let key: Vec<String> = (report.arms.iter().enumerate())
        .map(|(at, arm)| {
            format!(
                "<span><svg viewBox=\"0 0 48 12\" aria-hidden=\"true\"><line class=\"line arm{}\" x1=\"0\" y1=\"6\" x2=\"48\" \
                 y2=\"6\"/></svg> {}</span>",
                at % chart::ARM_STYLES,
                Escaped(&arm.arm.name)
            )
        })
        .collect();
    let charts = [
        ("Latency by percentile", chart::percentiles(report, &format!("p-{nth}"))),
        ("Distribution of latency", chart::distribution(report, &format!("d-{nth}"))),
        ("Share of requests over time", chart::shares(report, &format!("s-{nth}"))),
        ("Cost per request", chart::costs(report, &format!("c-{nth}"))),
    ];
    for (title, svg) in charts {
        let Some(svg) = svg else { continue };
        push(
            html,
            format_args!(
                "<figure>\n<figcaption>{title}<div class=\"key\">{}</div></figcaption>\n{svg}\n",
                key.join("")
            ),
        );
        if title == "Share of requests over time" {
            over_time(report, html);
        }
        if title == "Latency by percentile" {
            percentiles(report, html);
        }
        html.push_str("</figure>\n");
    }
}

/// The numbers of the picture above.
fn percentiles(report: &Report, html: &mut String) {
    html.push_str("<details><summary>The numbers</summary>\n");
    let mut heads = vec![("Percentile", true)];
    heads.extend(report.arms.iter().map(|arm| (arm.arm.name.as_str(), false)));
    begin_table(html, "Latency by percentile", &heads);
    for percent in [1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9] {
        let cell = |arm: &ArmReport| {
            let rank = (percent / 1e2 * arm.latencies_ms.len() as f64).ceil().max(1.0) as usize;
            words::value(Measure::DEFAULT, arm.latencies_ms.get(rank - 1).copied())
        };
        row(html, &format!("p{percent}"), &report.arms.iter().map(cell).collect::<Vec<_>>());
    }
    html.push_str("</tbody></table></div></details>\n");
}

/// The numbers of the picture above.
fn over_time(report: &Report, html: &mut String) {
    let Some((from, to)) = report.window_us else { return };
    html.push_str("<details><summary>The numbers</summary>\n");
    let mut heads = vec![("From", true)];
    heads.extend(report.arms.iter().map(|arm| (arm.arm.name.as_str(), false)));
    begin_table(html, "Requests over time", &heads);
    let spans = report.arms.first().map_or(0, |arm| arm.over_time.len());
    for span in 0..spans {
        let begins = from + (to - from) / spans as i64 * span as i64;
        let cells: Vec<String> = report.arms.iter().map(|arm| table::count(arm.over_time[span])).collect();
        row(html, &moment(begins), &cells);
    }
    html.push_str("</tbody></table></div></details>\n");
}

/// `heads` are names, and whether the column holds words.
fn begin_table(html: &mut String, caption: &str, heads: &[(&str, bool)]) {
    let caption = Escaped(caption);
    push(
        html,
        format_args!(
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\"><table><caption>{caption}</caption><thead><tr>"
        ),
    );
    for (name, word) in heads {
        let class = if *word { " class=\"word\"" } else { "" };
        push(html, format_args!("<th scope=\"col\"{class}>{}</th>", Escaped(name)));
    }
    html.push_str("</tr></thead><tbody>\n");
}

fn row(html: &mut String, head: &str, cells: &[String]) {
    push(html, format_args!("<tr><th scope=\"row\">{}</th>", Escaped(head)));
    for cell in cells {
        push(html, format_args!("<td>{}</td>", Escaped(cell)));
    }
    html.push_str("</tr>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_become_markup() {
        assert_eq!(Escaped("<b a=\"'\">&").to_string(), "&lt;b a=&quot;&#39;&quot;&gt;&amp;");
    }

    #[test]
    fn an_empty_page_is_whole_and_loads_nothing() {
        let html = page(&[]);
        assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
        for word in ["http://", "https://", "src=", "url(", "<script", "@import"] {
            assert!(!html.contains(word), "{word}");
        }
    }
}
