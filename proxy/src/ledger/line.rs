//! What can be told of a line of the log without reading all of it: every record begins with the same fields, and a
//! decision goes on with its times.

use memchr::memmem;

/// The record's epoch.
pub(super) fn log_epoch(line: &[u8]) -> Option<u32> {
    number(line, b",\"log_epoch\":").and_then(|number| number.try_into().ok())
}

/// The record's number.
pub(super) fn seq(line: &[u8]) -> Option<u64> {
    number(line, b",\"seq\":")
}

/// When a decision ended, or an own record was made: ns since 1970.
pub(super) fn ended_ns(line: &[u8]) -> Option<u64> {
    moment(line, b",\"ended_at\":\"").or_else(|| moment(line, b",\"timestamp\":\""))
}

/// How far from the beginning the fields that every record has may lie: `event_type`, `id` and three numbers before, two
/// times behind.
const START_BYTES: usize = 256;

fn behind<'l>(line: &'l [u8], key: &[u8]) -> Option<&'l [u8]> {
    let start = &line[..line.len().min(START_BYTES)];
    memmem::find(start, key).map(|at| &line[at + key.len()..])
}

fn number(line: &[u8], key: &[u8]) -> Option<u64> {
    let digits = behind(line, key)?;
    let len = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..len]).ok()?.parse().ok()
}

fn moment(line: &[u8], key: &[u8]) -> Option<u64> {
    let text = behind(line, key)?;
    let end = memchr::memchr(b'"', text)?;
    kt_core::event::parse_rfc3339(std::str::from_utf8(&text[..end]).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_line_says_what_it_is() {
        let line = br#"{"event_type":"decision","id":"evt_01","log_epoch":7,"seq":42,"timestamp":"2026-11-22T10:36:47.123456Z","ended_at":"2026-11-22T10:36:47.408580Z","request_id":",\"seq\":9"}"#;
        assert_eq!((log_epoch(line), seq(line)), (Some(7), Some(42)));
        assert_eq!(ended_ns(line), Some(1_795_343_807_408_580_000));
        let own = br#"{"event_type":"gap","id":"evt_01","log_epoch":7,"seq":43,"timestamp":"1970-01-01T00:00:01.000000Z","count":1}"#;
        assert_eq!((seq(own), ended_ns(own)), (Some(43), Some(1_000_000_000)));
        assert_eq!((seq(b"{}"), ended_ns(b"")), (None, None));
    }
}
