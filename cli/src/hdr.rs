//! HdrHistogram's log format, version 1.3, which its own tools (HistogramLogProcessor, HistogramLogAnalyzer, the
//! libraries' log readers) read: a line per histogram with its tag, where its interval starts and how long it is in
//! seconds, its largest value, and the histogram itself, compressed (V2, deflate) in base64.
//!
//! Values are as they were counted: nanoseconds, or tokens per thousand seconds. The largest value, which the tools
//! only show, is in milliseconds, or in tokens per second.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::anyhow;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

/// What all histograms of a log are of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// When counting began.
    pub(crate) start_unix_ns: u64,
    /// And for how long it has been going on.
    pub(crate) length_ns: u64,
}

/// Writes a log of these histograms, each with its tag, which has no comma and no white space.
pub(crate) fn write_log(
    out: &mut impl Write,
    span: Span,
    histograms: &[(String, Histogram<u64>)],
) -> anyhow::Result<()> {
    let start = UNIX_EPOCH + Duration::from_nanos(span.start_unix_ns);
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("kt: nanoseconds, or tokens per thousand seconds")
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(start)
        .with_base_time(start)
        .with_max_value_divisor(1e6)
        .begin_log_with(out, &mut serializer)?;
    for (name, histogram) in histograms {
        let tag = Tag::new(name).ok_or_else(|| anyhow!("{name:?} can't be a tag"))?;
        log.write_histogram(histogram, Duration::ZERO, Duration::from_nanos(span.length_ns), Some(tag))
            .map_err(|error| anyhow!("{error:?}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn what_was_written_is_read_back() {
        let mut histogram = Histogram::new(3).unwrap();
        for value in [41_000, 312_400_000, 3_600_000_000_000] {
            histogram.record_n(value, value % 7 + 1).unwrap();
        }
        let span = Span { start_unix_ns: 1_795_343_806_123_456_789, length_ns: 60_500_000_000 };
        let mut out = Vec::new();
        write_log(&mut out, span, &[("g/a/success/latency_ns".to_owned(), histogram.clone())]).unwrap();
        let text = String::from_utf8(out.clone()).unwrap();
        assert!(text.starts_with("#kt:") && text.contains("#[Histogram log format version 1."), "{text}");
        let entries = IntervalLogIterator::new(&out).collect::<Result<Vec<_>, _>>().expect("a log");
        let Some(LogEntry::Interval(interval)) = entries.last() else { panic!("{text}") };
        assert_eq!(interval.tag().map(|tag| tag.as_str()), Some("g/a/success/latency_ns"));
        assert_eq!(interval.duration(), Duration::from_nanos(span.length_ns));
        let bytes = base64(interval.encoded_histogram());
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).expect("a histogram");
        assert_eq!(read, histogram);
    }

    /// RFC 4648, without a check of anything: the log has just been written.
    fn base64(text: &str) -> Vec<u8> {
        let value = |byte: u8| match byte {
            b'A'..=b'Z' => u32::from(byte - b'A'),
            b'a'..=b'z' => u32::from(byte - b'a') + 26,
            b'0'..=b'9' => u32::from(byte - b'0') + 52,
            b'+' => 62,
            _ => 63,
        };
        let mut out = Vec::new();
        for four in text.trim_end_matches('=').as_bytes().chunks(4) {
            let bits = four.iter().fold(0, |bits, &byte| bits << 6 | value(byte)) << (6 * (4 - four.len()));
            out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
        }
        out
    }
}
