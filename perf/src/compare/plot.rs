//! A plot that any browser shows: bars on a logarithmic scale, with the ends of their intervals.

use kt_lab::stats::Interval;

use super::report::short;

const WIDTH: f64 = 760.0;
const NAMES: f64 = 110.0;
const VALUES: f64 = 150.0;
const ROW: f64 = 24.0;
const TOP: f64 = 44.0;
const INK: &str = "#24292f";

/// The plot of some bars, the gateway's own in another colour. Nothing without a bar that has a length.
pub(super) fn svg(title: &str, bars: &[(String, Interval)]) -> Option<String> {
    let lowest = bars.iter().map(|(_, bar)| bar.value).filter(|&value| value > 0.0).fold(f64::INFINITY, f64::min);
    let highest = bars.iter().map(|(_, bar)| bar.value).fold(0.0, f64::max);
    if !lowest.is_finite() || highest <= 0.0 {
        return None;
    }
    // From the power of ten below the shortest bar, so that it has a length too.
    let from = 10_f64.powf((lowest / 2.0).log10().floor());
    let decades = (highest / from).log10().max(0.1);
    let room = WIDTH - NAMES - VALUES;
    let x = |value: f64| NAMES + room * ((value / from).log10().max(0.0) / decades);
    let height = TOP + ROW * bars.len() as f64 + 12.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\" fill=\"{INK}\">{}</text>\n",
        escaped(title)
    );
    for decade in 0..=(decades.floor() as i32) {
        let (at, value) = (x(from * 10_f64.powi(decade)), from * 10_f64.powi(decade));
        let end = height - 8.0;
        out += &format!(
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{end}\" stroke=\"#d0d7de\"/>\
             <text x=\"{at:.1}\" y=\"38\" text-anchor=\"middle\" fill=\"#57606a\">{}</text>\n",
            short(value)
        );
    }
    for (nth, (name, bar)) in bars.iter().enumerate() {
        let y = TOP + ROW * nth as f64 + 4.0;
        let (text, end, low, high) = (y + 12.0, x(bar.value), x(bar.low), x(bar.high));
        let colour = if name.starts_with("kt") { "#1a7f37" } else { "#8c959f" };
        let middle = y + 8.0;
        out += &format!(
            "<text x=\"{:.1}\" y=\"{text}\" text-anchor=\"end\" fill=\"{INK}\">{}</text>\
             <rect x=\"{NAMES}\" y=\"{y}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>\
             <line x1=\"{low:.1}\" y1=\"{middle}\" x2=\"{high:.1}\" y2=\"{middle}\" stroke=\"{INK}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{text}\" fill=\"{INK}\">{} [{}–{}]</text>\n",
            NAMES - 6.0,
            escaped(name),
            end - NAMES,
            end.max(high) + 6.0,
            short(bar.value),
            short(bar.low),
            short(bar.high),
        );
    }
    Some(out + "</svg>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn width(svg: &str, nth: usize) -> f64 {
        let rect = svg.split("<rect x=").nth(nth + 1).expect("as many bars as there are");
        rect.split("width=\"").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok()).expect("a width")
    }

    #[test]
    fn ten_times_as_much_is_a_decade_longer() {
        let bar = |value| Interval { value, low: value * 0.9, high: value * 1.1 };
        let bars = [("pump", 10.0), ("a<b", 100.0), ("kt", 1_000.0)].map(|(name, value)| (name.to_owned(), bar(value)));
        let svg = svg("CPU & more", &bars).unwrap();
        let decade = width(&svg, 1) - width(&svg, 0);
        assert!(decade > 50.0 && (width(&svg, 2) - width(&svg, 1) - decade).abs() < 0.2, "{svg}");
        assert!(svg.contains("CPU &amp; more") && svg.contains("a&lt;b") && svg.contains("#1a7f37"), "{svg}");
    }

    #[test]
    fn nothing_is_no_plot() {
        assert_eq!(svg("", &[]), None);
        assert_eq!(svg("", &[("a".to_owned(), Interval { value: 0.0, low: 0.0, high: 0.0 })]), None);
    }
}
