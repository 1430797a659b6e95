//! Writing messages: append-only, into a buffer of the caller's.
//!
//! The caller says what a head holds and in which order: first a line, then fields, then [`end`]. No Date is added
//! here, for that needs a clock; [`http_date`] prints one.

use std::num::NonZeroUsize;

use crate::block;

/// The last chunk with an empty trailer section: the end of a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// What stands behind the payload of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The whole interim response that a client with `Expect: 100-continue` waits for.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes a request line; the target is `prefix` and `path`, one behind the other. Both come from the config and from
/// this program: visible ASCII, and together starting with a slash.
pub fn request_line(out: &mut Vec<u8>, method: &http::Method, prefix: &str, path: &str) {
    debug_assert!([prefix, path].concat().bytes().all(|b| b.is_ascii_graphic()), "a target is visible ASCII");
    for part in [method.as_str(), " ", prefix, path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Writes a status line, with the usual reason phrase or none.
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    debug_assert!((100..1000).contains(&status), "a status has three digits");
    if status == 200 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a field. The name is a token, the value holds no CR, LF or NUL: those that we read were checked, those that
/// we make are ours. Should one slip through all the same, it is written as a space (RFC 9110 section 5.5), so that
/// no value ever ends its field.
pub fn field(out: &mut Vec<u8>, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    let (name, value) = (name.as_ref(), value.as_ref());
    debug_assert!(!name.is_empty() && name.iter().all(|&b| super::is_token(b)), "a field name is a token");
    debug_assert!(!splits(value), "a field value may not end its field");
    write_field(out, name, value);
}

/// Writes a field that was read from a head, and so was found to be one; otherwise as [`field`].
pub fn field_as_read(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(!splits(value), "httparse refuses what would end a field");
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a field whose value is in two parts, one behind the other; otherwise as [`field`].
pub fn field_in_parts(out: &mut Vec<u8>, name: &str, first: &str, second: &str) {
    field(out, name, first);
    out.truncate(out.len() - b"\r\n".len());
    let start = out.len();
    out.extend_from_slice(second.as_bytes());
    blank_out(&mut out[start..]);
    out.extend_from_slice(b"\r\n");
}

/// Writes a field whose value is a number.
pub fn number_field(out: &mut Vec<u8>, name: impl AsRef<[u8]>, value: u64) {
    field(out, name, itoa::Buffer::new().format(value));
}

/// Writes the blank line behind the fields.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Writes the line in front of a chunk's payload; payload and [`CHUNK_END`] follow. A chunk of no bytes would be the
/// last, so there is none.
pub fn chunk_head(out: &mut Vec<u8>, len: NonZeroUsize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let len = len.get();
    for place in (0..=len.ilog2() / 4).rev() {
        out.push(DIGITS[len >> (place * 4) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole chunk; of nothing, nothing.
pub fn chunk(out: &mut Vec<u8>, payload: &[u8]) {
    if let Some(len) = NonZeroUsize::new(payload.len()) {
        chunk_head(out, len);
        out.extend_from_slice(payload);
        out.extend_from_slice(CHUNK_END);
    }
}

/// A point in time as `Date` has it (IMF-fixdate, RFC 9110 section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`. Beyond the
/// year 9999, which the format can't say, it stays at its end.
pub fn http_date(unix_seconds: u64) -> [u8; 29] {
    const WEEKDAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    const LAST: u64 = 253_402_300_799;
    let seconds = unix_seconds.min(LAST);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    let name = |names: &[u8], index: u64| -> [u8; 3] { std::array::from_fn(|i| names[index as usize * 3 + i]) };

    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    date[0..3].copy_from_slice(&name(WEEKDAYS, days % 7));
    date[5..7].copy_from_slice(&two_digits(day));
    date[8..11].copy_from_slice(&name(MONTHS, month - 1));
    date[12..14].copy_from_slice(&two_digits(year / 100));
    date[14..16].copy_from_slice(&two_digits(year % 100));
    date[17..19].copy_from_slice(&two_digits(second / 3_600));
    date[20..22].copy_from_slice(&two_digits(second / 60 % 60));
    date[23..25].copy_from_slice(&two_digits(second % 60));
    date
}

/// Year, month (1 to 12) and day (1 to 31) of a day since 1970-01-01, in the Gregorian calendar. Counts from the first
/// of March of the year 0, so that the leap day is a year's last and every 400 years are alike.
fn civil_date(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_400_YEARS: u64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (era, day) = (days / DAYS_400_YEARS, days % DAYS_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    // Months from March on have 31, 30, 31, 30, 31 days, again and again: 153 days in five of them.
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + u64::from(month >= 10);
    (year, (month + 2) % 12 + 1, day_of_month)
}

fn two_digits(number: u64) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

/// Whether there is a byte in it that would end the field.
fn splits(value: &[u8]) -> bool {
    block::before(value, |block| block.equal(b'\r').or(block.equal(b'\n')).or(block.equal(0))) < value.len()
}

fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    let start = out.len();
    out.extend_from_slice(value);
    blank_out(&mut out[start..]);
    out.extend_from_slice(b"\r\n");
}

/// Makes a space of every byte that would end the field.
fn blank_out(value: &mut [u8]) {
    if splits(value) {
        for byte in value {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::body::BodyReader;
    use crate::http1::framing::ResponseBody;
    use crate::http1::head::{Fields, Known, RequestHead, ResponseHead, Search};
    use crate::limits::Limits;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII was written")
    }

    #[test]
    fn a_head_that_was_written_can_be_read() {
        let (mut search, mut fields, limits) = (Search::default(), Fields::default(), Limits::default());
        let mut out = Vec::new();
        request_line(&mut out, &http::Method::POST, "/proxy", "/v1/messages");
        field_in_parts(&mut out, "host", "api.", "example");
        number_field(&mut out, "content-length", u64::MAX);
        end(&mut out);
        assert_eq!(
            out.escape_ascii().to_string(),
            r"POST /proxy/v1/messages HTTP/1.1\r\nhost: api.example\r\ncontent-length: 18446744073709551615\r\n\r\n"
        );
        let head = RequestHead::parse(&out, &mut search, &mut fields, &limits).expect("well-formed").expect("whole");
        assert_eq!((head.path(&out), head.len), (&b"/proxy/v1/messages"[..], out.len()));

        out.clear();
        status_line(&mut out, 200);
        field(&mut out, "content-type", b"text/plain");
        end(&mut out);
        let head = ResponseHead::parse(&out, &mut search, &mut fields, &limits).expect("well-formed").expect("whole");
        assert_eq!((head.status, fields.first(&out, Known::ContentType)), (200, Some(&b"text/plain"[..])));
    }

    #[test]
    fn a_status_without_a_usual_reason_keeps_its_space() {
        assert_eq!(written(|out| status_line(out, 404)), "HTTP/1.1 404 Not Found\r\n");
        assert_eq!(written(|out| status_line(out, 529)), "HTTP/1.1 529 \r\n");
        assert_eq!(written(|out| status_line(out, 999)), "HTTP/1.1 999 \r\n");
    }

    #[test]
    fn no_value_can_end_its_field() {
        assert_eq!(written(|out| write_field(out, b"a", b"b\r\nc: d\n\0e")), "a: b  c: d  e\r\n");
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "may not end its field")]
    fn a_value_that_would_is_our_own_broken_promise() {
        field(&mut Vec::new(), "a", "b\r\n");
    }

    #[test]
    fn chunks_that_were_written_can_be_read() {
        for len in [0, 1, 9, 10, 15, 16, 17, 255, 256, 4_095, 4_096, 65_536, 1_000_003] {
            let payload = vec![b'x'; len];
            let mut out = Vec::new();
            chunk(&mut out, &payload);
            if let Some(len) = NonZeroUsize::new(len) {
                assert!(out.starts_with(format!("{len:x}\r\n").as_bytes()), "{len}");
            }
            out.extend_from_slice(LAST_CHUNK);
            let mut read = Vec::new();
            let end = BodyReader::response(ResponseBody::Chunked).collect(&out, 0, &mut read);
            assert_eq!((end, read), (Ok(Some(out.len())), payload));
        }
        assert_eq!(written(|out| chunk_head(out, NonZeroUsize::MAX)), format!("{:x}\r\n", usize::MAX));
    }

    #[test]
    fn every_day_has_its_date() {
        let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let mut day_number = 0;
        for year in 1970..2410 {
            for (month, days) in (1..).zip([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                for day in 1..=days + u64::from(month == 2 && is_leap(year)) {
                    assert_eq!(civil_date(day_number), (year, month, day));
                    day_number += 1;
                }
            }
        }
    }

    #[test]
    fn a_date_is_printed_as_the_rfc_wants_it() {
        let cases = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(std::str::from_utf8(&http_date(seconds)), Ok(expected), "{seconds}");
        }
    }
}
