//! What is compared between arms, by the names that config, command line and output share.

use std::fmt;
use std::str::FromStr;

/// A number that each arm has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A quantile of the time from the request to the last byte of its answer, in milliseconds.
    Latency(Share),
    /// A quantile of the time from the request to the first content of a streamed answer, in milliseconds.
    Ttft(Share),
    /// The mean gap between two content events of a stream, in milliseconds: of the median request.
    GapMean,
    /// The largest gap between two content events of a stream, in milliseconds: of the median request.
    GapMax,
    /// The share of requests that failed, or whose client left.
    ErrorRate,
    /// What a request costs, in US dollars: the mean over requests whose cost is known.
    Cost,
    /// How many tokens an answer has: the mean over requests whose usage is known.
    TokensOut,
}

/// A share of requests, in tenths of a percent: 500 is one half. Between 1 and 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u16);

/// How a measure is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Arm divided by baseline.
    Ratio,
    /// Arm minus baseline.
    Difference,
}

/// Not a measure's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMeasure;

const MEDIAN: Share = Share(500);

impl Measure {
    /// What is compared when the config names nothing.
    pub const DEFAULT: Self = Self::Latency(MEDIAN);

    /// Every measure that is always compared, in the order of the output. A primary measure that isn't among them is
    /// compared besides.
    pub const ALL: [Self; 11] = [
        Self::Latency(MEDIAN),
        Self::Latency(Share(900)),
        Self::Latency(Share(990)),
        Self::Ttft(MEDIAN),
        Self::Ttft(Share(900)),
        Self::Ttft(Share(990)),
        Self::GapMean,
        Self::GapMax,
        Self::ErrorRate,
        Self::Cost,
        Self::TokensOut,
    ];

    /// The quantile that it is, of whatever it is one; none for a rate or a mean.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::Latency(share) | Self::Ttft(share) => Some(share.as_f64()),
            Self::GapMean | Self::GapMax => Some(MEDIAN.as_f64()),
            Self::ErrorRate | Self::Cost | Self::TokensOut => None,
        }
    }

    /// How it is compared.
    pub const fn unit(self) -> Unit {
        match self {
            Self::ErrorRate => Unit::Difference,
            Self::Latency(_) | Self::Ttft(_) | Self::GapMean | Self::GapMax | Self::Cost | Self::TokensOut => {
                Unit::Ratio
            }
        }
    }

    /// Whether it is a time, of which less is faster.
    pub const fn is_time(self) -> bool {
        match self {
            Self::Latency(_) | Self::Ttft(_) | Self::GapMean | Self::GapMax => true,
            Self::ErrorRate | Self::Cost | Self::TokensOut => false,
        }
    }

    /// The smallest difference that matters when nobody says another: 5 % of a ratio, one in a hundred of a rate.
    pub const fn default_margin(self) -> f64 {
        match self.unit() {
            Unit::Ratio => 0.05,
            Unit::Difference => 0.01,
        }
    }
}

impl Share {
    /// As a number between 0 and 1.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e3
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(share) => write!(f, "latency:{share}"),
            Self::Ttft(share) => write!(f, "ttft:{share}"),
            Self::GapMean => f.write_str("gap:mean"),
            Self::GapMax => f.write_str("gap:max"),
            Self::ErrorRate => f.write_str("error_rate"),
            Self::Cost => f.write_str("cost"),
            Self::TokensOut => f.write_str("tokens_out"),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (percent, 0) => write!(f, "p{percent}"),
            (percent, tenths) => write!(f, "p{percent}.{tenths}"),
        }
    }
}

impl FromStr for Measure {
    type Err = NotAMeasure;

    fn from_str(name: &str) -> Result<Self, NotAMeasure> {
        match name {
            "gap:mean" => Ok(Self::GapMean),
            "gap:max" => Ok(Self::GapMax),
            "error_rate" => Ok(Self::ErrorRate),
            "cost" => Ok(Self::Cost),
            "tokens_out" => Ok(Self::TokensOut),
            _ => match name.split_once(':').ok_or(NotAMeasure)? {
                ("latency", share) => Ok(Self::Latency(share.parse()?)),
                ("ttft", share) => Ok(Self::Ttft(share.parse()?)),
                _ => Err(NotAMeasure),
            },
        }
    }
}

impl FromStr for Share {
    type Err = NotAMeasure;

    fn from_str(name: &str) -> Result<Self, NotAMeasure> {
        let digits = name.strip_prefix('p').ok_or(NotAMeasure)?;
        let (percent, tenths) = digits.split_once('.').unwrap_or((digits, "0"));
        let number = |text: &str, len: usize| {
            let plain = (1..=len).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            if plain { text.parse::<u16>().ok() } else { None }
        };
        let share = number(percent, 2).zip(number(tenths, 1)).map(|(percent, tenths)| 10 * percent + tenths);
        share.filter(|share| *share > 0).map(Self).ok_or(NotAMeasure)
    }
}

impl fmt::Display for NotAMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a measure: latency:p50, ttft:p99 (any pN below 100), gap:mean, gap:max, error_rate, cost, tokens_out",
        )
    }
}

impl std::error::Error for NotAMeasure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measures_name_reads_back_as_itself() {
        for measure in Measure::ALL {
            assert_eq!(measure.to_string().parse(), Ok(measure));
        }
        for name in ["latency:p1", "ttft:p99.9", "latency:p0.1", "ttft:p95"] {
            assert_eq!(name.parse::<Measure>().map(|measure| measure.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "latency",
            "latency:",
            "latency:50",
            "latency:p0",
            "latency:p100",
            "latency:p99.99",
            "latency:p+5",
            "latency:p5.",
            "latency:p.5",
            "gap:p50",
            "ttfb:p50",
            "Cost",
        ] {
            assert_eq!(name.parse::<Measure>(), Err(NotAMeasure), "{name}");
        }
    }
}
