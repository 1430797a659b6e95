//! What a record of the log looks like as text: one JSON object, one line.
//!
//! It runs on the writer's thread, some hundred thousand times a second at worst, so it appends to the caller's buffer
//! and allocates nothing of its own. The order of the fields is README's, with `event_type` before all, so that
//! [`is_decision`] needs no parser.

use super::Gaps;
use super::frame::{Decision, PolicyNames};
use crate::cost::write_usd;
use crate::fault::Side;
use crate::json::escape_into;
use crate::tally::Usage;

/// What the log knows of a record and the record doesn't: where it stands, and what time it was when time began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which start of the gateway on this log; from 1.
    pub log_epoch: u32,
    /// The record's number within the epoch; from 1, without gaps.
    pub seq: u64,
    /// Wall clock at the zero of the events' monotonic clock, ns since 1970.
    pub wall_start_ns: u64,
    /// Drawn at each start, so that gateways started in the same millisecond have ids of their own.
    pub salt: u16,
}

/// Longest name of a field with its quotes and colon.
const KEY_BYTES_MAX: usize = 32;

/// How a decision's line begins. No other record's does.
pub const DECISION_START: &[u8] = b"{\"event_type\":\"decision\",";

/// Whether this line, or enough of its beginning, is a decision and not one of the log's own records.
pub fn is_decision(line: &[u8]) -> bool {
    line.starts_with(DECISION_START)
}

impl Decision<'_> {
    /// Appends the decision as a line of the log, line feed included. The core stands last.
    pub fn write_line(&self, stamp: &Stamp, out: &mut Vec<u8>) {
        let mut line = Object::open_line("decision", stamp, out);
        line.time("timestamp", stamp, self.at_ns);
        line.time("ended_at", stamp, self.ended_ns);
        line.text("request_id", self.request_id);
        line.text_or_null("upstream_request_id", self.upstream_request_id);
        line.text_or_null("client", self.client);
        line.text("endpoint", self.endpoint);
        line.text_or_null("model_group", self.group.map(|group| group.name));
        line.text_or_null("arm", self.arm.map(|arm| arm.name));
        line.text_or_null("target_id", self.arm.map(|arm| arm.target_id));
        line.text_or_null("provider", self.arm.map(|arm| arm.provider));
        line.text_or_null("model", self.arm.map(|arm| arm.model));
        line.text_or_null("upstream_model", self.upstream_model);
        line.number_or_null("weight", self.arm.map(|arm| u64::from(arm.weight)));
        self.write_assignment(&mut line);
        line.config_version(self.ordinal, self.digest);
        self.write_translation(&mut line);
        line.bool("stream", self.stream);
        line.number("status", u64::from(self.status));
        write_error(self.error, &mut line);
        write_usage(&self.usage, &mut line);
        line.number("tokens", self.usage.total_tokens);
        line.text("usage_source", self.usage_source);
        line.number("cache_write_1h_tokens", self.usage.cache_write_1h_tokens);
        self.write_cost(&mut line);
        line.millis("latency_ms", self.latency_ns);
        match self.ttft_ns {
            Some(ns) => line.millis("ttft_ms", ns),
            None => line.null("ttft_ms"),
        }
        line.millis("upstream_ms", self.upstream_ns);
        line.millis("connect_ms", self.connect_ns);
        line.millis("client_wait_ms", self.client_wait_ns);
        line.micros("gateway_overhead_us", self.overhead_ns);
        write_gaps(self.gaps, &mut line);
        line.number("attempts", u64::from(self.attempts));
        self.write_tries(&mut line);
        line.number_or_null("retry_count", self.retry_count);
        self.write_policies(&mut line);
        line.text("verdict", self.verdict);
        if let Some([asked, answered]) = self.bodies {
            line.text("request_body", asked);
            line.text("response_body", answered);
        }
        if self.cut {
            line.bool("cut", true);
        }
        if self.unconfirmed {
            line.bool("unconfirmed", true);
        }
        line.number("core", u64::from(self.core));
        line.close_line();
    }

    /// A cost that isn't known is null twice, and of unknown source.
    fn write_cost(&self, line: &mut Object<'_>) {
        line.number_or_null("cost_picousd", self.cost_picousd);
        match self.cost_picousd {
            Some(picousd) => line.dollars("cost_usd", picousd),
            None => line.null("cost_usd"),
        }
        let source = self.pricing.filter(|_| self.cost_picousd.is_some()).map(|[source, _]| source);
        line.text("cost_source", source.unwrap_or("unknown"));
        line.text_or_null("price_version", self.pricing.map(|[_, version]| version));
    }

    fn write_assignment(&self, line: &mut Object<'_>) {
        let mut assignment = line.object("assignment");
        assignment.text("method", self.method);
        assignment.number_or_null("slot", self.slot);
        match self.unit_hash {
            Some(hash) => assignment.hex("unit_hash", &hash.to_be_bytes()),
            None => assignment.null("unit_hash"),
        }
        match self.propensity {
            Some(share) => assignment.fraction("propensity", share),
            None => assignment.null("propensity"),
        }
        assignment.text_or_null("epoch", self.group.map(|group| group.epoch));
        assignment.close();
    }

    /// `null` where nothing was translated; two empty lists where everything was carried.
    fn write_translation(&self, line: &mut Object<'_>) {
        let Some([approximated, dropped]) = self.translation else { return line.null("translation") };
        let mut translation = line.object("translation");
        translation.texts("approximated", approximated.texts());
        translation.texts("dropped", dropped.texts());
        translation.close();
    }

    /// Only where there were two.
    fn write_tries(&self, line: &mut Object<'_>) {
        let Some((upstream_ns, error)) = self.first_try else { return };
        let of_vendor = self.error.filter(|[side, ..]| *side == Side::Upstream.as_str());
        let tries = [(true, 0, upstream_ns, Some(error)), (false, self.connect_ns, self.upstream_ns, of_vendor)];
        let mut list = line.array("attempt_list");
        for (reused, connect_ns, upstream_ns, error) in tries {
            let mut item = list.item();
            item.bool("reused", reused);
            item.millis("connect_ms", connect_ns);
            item.millis("upstream_ms", upstream_ns);
            write_error(error, &mut item);
            item.close();
        }
        list.close();
    }

    fn write_policies(&self, line: &mut Object<'_>) {
        let mut policies = line.array("policies");
        for PolicyNames { policy, result, flagged, category, score_thousandths, severity } in self.policies() {
            let [name, kind, action] = policy.map_or([None; 3], |names| names.map(Some));
            let mut item = policies.item();
            item.text_or_null("name", name);
            item.text_or_null("type", kind);
            item.text_or_null("action", action);
            item.text("result", result);
            item.bool("flagged", flagged);
            item.text_or_null("category", category);
            item.thousandths_or_null("score", score_thousandths);
            item.text_or_null("severity", severity);
            item.close();
        }
        policies.close();
    }
}

fn write_error(error: Option<[&str; 3]>, line: &mut Object<'_>) {
    let Some([side, kind, phase]) = error else { return line.null("error") };
    let mut error = line.object("error");
    error.text("side", side);
    error.text("kind", kind);
    error.text("phase", phase);
    error.close();
}

fn write_usage(tokens: &Usage, line: &mut Object<'_>) {
    let mut usage = line.object("usage");
    usage.number("prompt_tokens", tokens.prompt_tokens);
    usage.number("completion_tokens", tokens.completion_tokens);
    usage.number("total_tokens", tokens.total_tokens);
    usage.number("cached_tokens", tokens.cached_tokens);
    usage.number("cache_write_tokens", tokens.cache_write_tokens);
    usage.number("reasoning_tokens", tokens.reasoning_tokens);
    usage.close();
}

fn write_gaps(gaps: Option<Gaps>, line: &mut Object<'_>) {
    let Some(between) = gaps else { return line.null("gaps") };
    let mut gaps = line.object("gaps");
    gaps.number("n", between.n);
    gaps.micros("mean_us", between.mean_ns);
    gaps.micros("p99_us", between.p99_ns);
    gaps.micros("max_us", between.max_ns);
    gaps.close();
}

impl Stamp {
    /// The record's id: `evt_` and 26 characters of Crockford's base32, which hold 48 bits of the epoch's start in ms
    /// since 1970, the 16 of the salt and the 64 of `seq`. So ids sort as text in the order of the log.
    pub fn id(&self) -> [u8; 30] {
        const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let start_ms = u128::from(self.wall_start_ns / 1_000_000);
        let mut rest = start_ms << 80 | u128::from(self.salt) << 64 | u128::from(self.seq);
        let mut id = *b"evt_00000000000000000000000000";
        for digit in id[4..].iter_mut().rev() {
            *digit = DIGITS[(rest & 31) as usize];
            rest >>= 5;
        }
        id
    }
}

/// A JSON object that is being written. Every value is followed by a comma, and closing takes back the last one.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
}

/// A JSON array of objects that is being written, in the same manner.
pub(super) struct Array<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Object<'a> {
    /// The fields that every record of the log begins with.
    pub(super) fn open_line(event_type: &'static str, stamp: &Stamp, out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        let mut line = Self { out };
        line.text("event_type", event_type);
        line.key("id");
        line.out.push(b'"');
        line.out.extend_from_slice(&stamp.id());
        line.out.extend_from_slice(b"\",");
        line.number("log_epoch", u64::from(stamp.log_epoch));
        line.number("seq", stamp.seq);
        line
    }

    pub(super) fn close_line(self) {
        end(self.out, b'}');
        self.out.pop();
        self.out.push(b'\n');
    }

    pub(super) fn close(self) {
        end(self.out, b'}');
    }

    /// Names are ours and need no escaping. Inlined, as whoever calls it is: of a known name it is one copy of a known
    /// length, quotes and colon included, and a line has fifty of them.
    #[inline(always)]
    pub(super) fn key(&mut self, name: &'static str) {
        let mut text = [b'"'; KEY_BYTES_MAX];
        text[1..=name.len()].copy_from_slice(name.as_bytes());
        text[name.len() + 2] = b':';
        self.out.extend_from_slice(&text[..name.len() + 3]);
    }

    #[inline(always)]
    pub(super) fn object(&mut self, name: &'static str) -> Object<'_> {
        self.key(name);
        self.out.push(b'{');
        Object { out: self.out }
    }

    #[inline(always)]
    pub(super) fn array(&mut self, name: &'static str) -> Array<'_> {
        self.key(name);
        self.out.push(b'[');
        Array { out: self.out }
    }

    #[inline(always)]
    pub(super) fn null(&mut self, name: &'static str) {
        self.key(name);
        self.out.extend_from_slice(b"null,");
    }

    #[inline(always)]
    pub(super) fn bool(&mut self, name: &'static str, value: bool) {
        self.key(name);
        self.out.extend_from_slice(if value { b"true," } else { b"false," });
    }

    #[inline(always)]
    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        self.key(name);
        write_text(value, self.out);
    }

    #[inline(always)]
    pub(super) fn text_or_null(&mut self, name: &'static str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.null(name),
        }
    }

    fn texts<'t>(&mut self, name: &'static str, values: impl Iterator<Item = &'t str>) {
        self.key(name);
        self.out.push(b'[');
        for value in values {
            escape_into(self.out, value);
            self.out.push(b',');
        }
        end(self.out, b']');
    }

    #[inline(always)]
    pub(super) fn number(&mut self, name: &'static str, value: u64) {
        self.key(name);
        write_number(value, self.out);
    }

    #[inline(always)]
    pub(super) fn number_or_null(&mut self, name: &'static str, value: Option<u64>) {
        match value {
            Some(value) => self.number(name, value),
            None => self.null(name),
        }
    }

    fn thousandths_or_null(&mut self, name: &'static str, value: Option<u64>) {
        let Some(value) = value else { return self.null(name) };
        self.key(name);
        write_thousandths(value, self.out);
    }

    /// `value` is finite: a share of a whole.
    pub(super) fn fraction(&mut self, name: &'static str, value: f64) {
        self.key(name);
        self.out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
        self.out.push(b',');
    }

    /// Milliseconds, to the nearest µs.
    #[inline(always)]
    pub(super) fn millis(&mut self, name: &'static str, ns: u64) {
        self.key(name);
        write_thousandths(ns.saturating_add(500) / 1_000, self.out);
    }

    /// Microseconds, as exact as they were measured.
    #[inline(always)]
    pub(super) fn micros(&mut self, name: &'static str, ns: u64) {
        self.key(name);
        write_thousandths(ns, self.out);
    }

    /// As [`Self::millis`], to either side of zero.
    pub(super) fn signed_millis(&mut self, name: &'static str, ns: i64) {
        self.key(name);
        if ns < 0 {
            self.out.push(b'-');
        }
        write_thousandths(ns.unsigned_abs().saturating_add(500) / 1_000, self.out);
    }

    /// Dollars, exactly.
    fn dollars(&mut self, name: &'static str, picousd: u64) {
        self.key(name);
        write_usd(picousd, self.out);
        self.out.push(b',');
    }

    pub(super) fn hex(&mut self, name: &'static str, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.key(name);
        self.out.push(b'"');
        for byte in bytes {
            self.out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        self.out.extend_from_slice(b"\",");
    }

    #[inline(always)]
    pub(super) fn time(&mut self, name: &'static str, stamp: &Stamp, at_ns: u64) {
        self.key(name);
        self.out.push(b'"');
        write_rfc3339(stamp.wall_start_ns.saturating_add(at_ns), self.out);
        self.out.extend_from_slice(b"\",");
    }

    /// A digest is hexadecimal, and needs no escaping.
    pub(super) fn config_version(&mut self, ordinal: u64, digest: &str) {
        self.key("config_version");
        self.out.push(b'"');
        self.out.extend_from_slice(itoa::Buffer::new().format(ordinal).as_bytes());
        self.out.push(b'-');
        self.out.extend_from_slice(digest.as_bytes());
        self.out.extend_from_slice(b"\",");
    }
}

impl Array<'_> {
    pub(super) fn item(&mut self) -> Object<'_> {
        self.out.push(b'{');
        Object { out: self.out }
    }

    pub(super) fn close(self) {
        end(self.out, b']');
    }
}

/// Closes an object or an array: its bracket in the place of the last value's comma, and the comma that it is followed
/// by itself.
fn end(out: &mut Vec<u8>, bracket: u8) {
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.extend_from_slice(&[bracket, b',']);
}

fn write_text(value: &str, out: &mut Vec<u8>) {
    escape_into(out, value);
    out.push(b',');
}

fn write_number(value: u64, out: &mut Vec<u8>) {
    if value < 10 {
        // Most of a line's numbers.
        return out.extend_from_slice(&[b'0' + value as u8, b',']);
    }
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(b',');
}

/// `12345` as `12.345`, and the comma.
fn write_thousandths(value: u64, out: &mut Vec<u8>) {
    let (whole, rest) = (value / 1_000, value % 1_000);
    let digit = |unit: u64| b'0' + (rest / unit % 10) as u8;
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1), b',']);
}

/// A moment as RFC 3339 has it, in UTC, cut to the µs: `2026-11-22T10:36:46.123456Z`.
pub fn write_rfc3339(unix_ns: u64, out: &mut Vec<u8>) {
    let seconds = unix_ns / 1_000_000_000;
    let (year, month, day) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (at, width, value) in [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, of_day / 3_600),
        (14, 2, of_day / 60 % 60),
        (17, 2, of_day % 60),
        (20, 6, unix_ns / 1_000 % 1_000_000),
    ] {
        let mut rest = value;
        for digit in text[at..at + width].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    out.extend_from_slice(&text);
}

/// The moment that an RFC 3339 text names, ns since 1970; none if it is no such text, or before 1970. A time zone other
/// than UTC is taken into account.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let digits = |from: usize, len: usize| -> Option<u64> {
        let digits = text.get(from..from + len)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let mark = |at: usize, marks: &[u8]| text.as_bytes().get(at).is_some_and(|byte| marks.contains(byte)).then_some(());
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    for (at, marks) in [(4, &b"-"[..]), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")] {
        mark(at, marks)?;
    }
    let days = days(year, month, day)?;
    if hour > 23 || minute > 59 || second > 60 || date(days) != (year, month, day) {
        return None;
    }
    let rest = &text[19..];
    let fraction = rest.strip_prefix('.').map(|rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let (ns, zone) = match fraction {
        None => (0, rest),
        Some(0) => return None,
        Some(len) => {
            let kept = &rest[1..=len.min(9)];
            (kept.parse::<u64>().ok()? * 10_u64.pow(9 - kept.len() as u32), &rest[1 + len..])
        }
    };
    let ahead: i64 = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (zone.get(1..3)?.parse::<i64>().ok()?, zone.get(4..6)?.parse::<i64>().ok()?);
            let seconds = hours * 3_600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = (days * 86_400 + hour * 3_600 + minute * 60 + second).checked_add_signed(-ahead)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(ns)
}

/// The day since 1970-01-01 of a date; none before that, or for a month that doesn't exist. The inverse of [`date`].
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) {
        return None;
    }
    let (year, from_march) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let of_year = (153 * from_march + 2) / 5 + day.checked_sub(1)?;
    (era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year).checked_sub(719_468)
}

/// Year, month and day of a day since 1970-01-01.
///
/// Counted from 0000-03-01 the leap day is a year's last, so that months have lengths of one formula: five of them are
/// 153 days. 146,097 days are 400 years.
fn date(since_1970: u64) -> (u64, u64, u64) {
    let days = since_1970 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let (year, month) = if from_march < 10 { (0, from_march + 3) } else { (1, from_march - 9) };
    (era * 400 + year_of_era + year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples::{STAMP, check, line, refused, streamed};
    use crate::event::{Event, Method};

    #[test]
    fn a_decision_has_every_field_in_the_order_of_the_contract() {
        let out = line(&streamed(), &STAMP);
        check(
            &out,
            r#"{"event_type":"decision",
            "id":"evt_01M81D8VNBQVQG00000000001A",
            "log_epoch":7,
            "seq":42,
            "timestamp":"2026-11-22T10:36:47.123456Z",
            "ended_at":"2026-11-22T10:36:47.408580Z",
            "request_id":"a \"quoted\" id",
            "upstream_request_id":"req_011",
            "client":"team b",
            "endpoint":"/v1/chat/completions",
            "model_group":"quality-ab-test",
            "arm":"anthropic/claude-sonnet-4-20250514",
            "target_id":"anthropic",
            "provider":"anthropic",
            "model":"claude-sonnet-4-20250514",
            "upstream_model":"claude-sonnet-4",
            "weight":30,
            "assignment":{"method":"block","slot":19,"unit_hash":"00000000deadbeef","propensity":0.3,"epoch":"0123456789abcdef"},
            "config_version":"3-9f2c00112233",
            "translation":{"approximated":[],"dropped":[]},
            "stream":true,
            "status":502,
            "error":{"side":"upstream","kind":"answer_torn","phase":"stream"},
            "usage":{"prompt_tokens":100,"completion_tokens":42,"total_tokens":142,"cached_tokens":20,"cache_write_tokens":5,"reasoning_tokens":7},
            "tokens":142,
            "usage_source":"partial",
            "cache_write_1h_tokens":2,
            "cost_picousd":1234567,
            "cost_usd":0.000001234567,
            "cost_source":"table",
            "price_version":"2026-07-26",
            "latency_ms":285.123,
            "ttft_ms":120.001,
            "upstream_ms":280.000,
            "connect_ms":0.000,
            "client_wait_ms":3.000,
            "gateway_overhead_us":2123.001,
            "gaps":{"n":41,"mean_us":3902.439,"p99_us":9000.000,"max_us":12000.001},
            "attempts":2,
            "attempt_list":[{"reused":true,"connect_ms":0.000,"upstream_ms":1.500,"error":{"side":"upstream","kind":"answer_missing","phase":"first_byte"}},
            {"reused":false,"connect_ms":0.000,"upstream_ms":280.000,"error":{"side":"upstream","kind":"answer_torn","phase":"stream"}}],
            "retry_count":1,
            "policies":[{"name":"basic-filter","type":"content_filter","action":"flag","result":"pass","flagged":true,"category":"hate","score":0.912,"severity":"high"},
            {"name":"strict","type":"content_filter","action":"block","result":"pass","flagged":false,"category":null,"score":null,"severity":null}],
            "verdict":"flag",
            "core":1}"#,
        );
    }

    #[test]
    fn what_a_request_never_had_is_null_or_zero() {
        let out = line(&refused(), &Stamp { seq: 1, ..STAMP });
        check(
            &out,
            r#"{"event_type":"decision",
            "id":"evt_01M81D8VNBQVQG000000000001",
            "log_epoch":7,
            "seq":1,
            "timestamp":"2026-11-22T10:36:46.123456Z",
            "ended_at":"2026-11-22T10:36:46.123457Z",
            "request_id":"r-1",
            "upstream_request_id":null,
            "client":null,
            "endpoint":"/v1/chat/completions",
            "model_group":null,
            "arm":null,
            "target_id":null,
            "provider":null,
            "model":null,
            "upstream_model":null,
            "weight":null,
            "assignment":{"method":"none","slot":null,"unit_hash":null,"propensity":null,"epoch":null},
            "config_version":"3-9f2c00112233",
            "translation":null,
            "stream":false,
            "status":400,
            "error":{"side":"client","kind":"malformed_json","phase":"body"},
            "usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0,"cached_tokens":0,"cache_write_tokens":0,"reasoning_tokens":0},
            "tokens":0,
            "usage_source":"none",
            "cache_write_1h_tokens":0,
            "cost_picousd":null,
            "cost_usd":null,
            "cost_source":"unknown",
            "price_version":null,
            "latency_ms":0.000,
            "ttft_ms":null,
            "upstream_ms":0.000,
            "connect_ms":0.000,
            "client_wait_ms":0.000,
            "gateway_overhead_us":0.000,
            "gaps":null,
            "attempts":0,
            "retry_count":null,
            "policies":[],
            "verdict":"allow",
            "core":0}"#,
        );
    }

    #[test]
    fn a_named_arm_has_no_propensity() {
        let out = line(&Event { method: Method::Direct, slot: None, ..streamed() }, &STAMP);
        let line = String::from_utf8(out).unwrap();
        assert!(
            line.contains(
                r#""method":"direct","slot":null,"unit_hash":"00000000deadbeef","propensity":null,"epoch":"0"#
            ),
            "{line}"
        );
    }

    #[test]
    fn only_decisions_begin_like_one() {
        let out = line(&refused(), &STAMP);
        assert!(is_decision(&out));
        assert!(is_decision(&out[..DECISION_START.len()]));
        assert!(!is_decision(&out[..DECISION_START.len() - 1]));
    }

    #[test]
    fn ids_sort_in_the_order_of_the_log() {
        let at = |wall_start_ns, salt, seq| Stamp { log_epoch: 1, seq, wall_start_ns, salt }.id();
        let ms = 1_000_000;
        let in_order = [
            at(0, 0, 0),
            at(ms, 7, 1),
            at(ms, 7, 31),
            at(ms, 7, 32),
            at(ms, 7, u64::from(u32::MAX)),
            at(ms, 7, u64::MAX),
            at(ms, 8, 1),
            at(2 * ms, 0, 1),
            at(STAMP.wall_start_ns, 0, 1),
            at(u64::MAX, u16::MAX, u64::MAX),
        ];
        assert!(in_order.is_sorted_by(|a, b| a < b), "{in_order:?}");
        assert_eq!(&at(0, 0, 33), b"evt_00000000000000000000000011");
        assert_eq!(&at(0, 1, 0), b"evt_0000000000000G000000000000");
    }

    #[test]
    fn moments_are_printed_as_rfc_3339_has_them() {
        // Checked against `date -u -d @SECONDS +%FT%TZ`.
        for (seconds, ns, expected) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (0, 999, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 1_000, "2000-02-29T00:00:00.000001Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000000Z"),
            (978_307_199, 0, "2000-12-31T23:59:59.000000Z"),
            (1_709_164_800, 0, "2024-02-29T00:00:00.000000Z"),
            (1_767_225_599, 0, "2025-12-31T23:59:59.000000Z"),
            (1_767_225_600, 0, "2026-01-01T00:00:00.000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        ] {
            let mut out = Vec::new();
            write_rfc3339(seconds * 1_000_000_000 + ns, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text, expected);
            assert_eq!(parse_rfc3339(&text), Some(seconds * 1_000_000_000 + ns / 1_000 * 1_000));
        }
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1970-01-01T00:30:00-00:30", Some(3_600)),
            ("2026-11-22t10:36:46z", Some(1_795_343_806)),
            ("2026-11-22 10:36:46Z", Some(1_795_343_806)),
            ("2026-11-22T10:36:46", None),
            ("2026-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-22T24:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-22T10:36:46.Z", None),
            ("9999999", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text), seconds.map(|seconds: u64| seconds * 1_000_000_000), "{text}");
        }
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00.1234567891Z"), Some(123_456_789));
    }

    #[test]
    fn milliseconds_are_rounded_to_the_microsecond() {
        for (ns, expected) in [
            (0, "0.000"),
            (499, "0.000"),
            (500, "0.001"),
            (999_499, "0.999"),
            (999_500, "1.000"),
            (285_123_456, "285.123"),
            (600_000_000_000, "600000.000"),
            (u64::MAX, "18446744073709.551"),
        ] {
            let mut out = Vec::new();
            Object { out: &mut out }.millis("x", ns);
            assert_eq!(String::from_utf8(out).unwrap(), format!("\"x\":{expected},"));
        }
    }
}
