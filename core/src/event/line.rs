//! What a record of the log looks like as text: one JSON object, one line.
//!
//! It runs on the writer's thread, some hundred thousand times a second at worst, so it appends to the caller's buffer
//! and allocates nothing of its own. The order of the fields is README's, with `event_type` before all, so that
//! [`is_decision`] needs no parser.

use super::{Event, Gaps, Method, PolicyResult, Shed};
use crate::config::plan::{Arm, Experiment, Group, Plan, UnitSource};
use crate::cost::{self, write_usd};
use crate::dialect::Report;
use crate::fault::{Kind, Phase};
use crate::json::escape_into;
use crate::policy::Severity;
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

/// How a decision's line begins. No other record's does.
pub const DECISION_START: &[u8] = b"{\"event_type\":\"decision\",";

/// Whether this line, or enough of its beginning, is a decision and not one of the log's own records.
pub fn is_decision(line: &[u8]) -> bool {
    line.starts_with(DECISION_START)
}

impl Event {
    /// Appends the event as a line of the log, line feed included. `plan` is the one that answered the request.
    pub fn write_line(&self, plan: &Plan, stamp: &Stamp, out: &mut Vec<u8>) {
        let group = self.group.and_then(|group| plan.groups.get(group as usize));
        let arm = group.zip(self.arm).and_then(|(group, arm)| group.arms.get(arm as usize));
        let target = arm.and_then(|arm| plan.targets.get(arm.target));

        let mut line = Object::open_line("decision", stamp, out);
        line.time("timestamp", stamp, self.at_ns);
        line.time("ended_at", stamp, self.ended_ns);
        line.text("request_id", &self.request_id);
        line.text_or_null("upstream_request_id", self.upstream_request_id.as_deref());
        line.text_or_null("client", self.client.and_then(|client| plan.client(client as usize)));
        line.text("endpoint", self.endpoint);
        line.text_or_null("model_group", group.map(|group| &*group.name));
        line.text_or_null("arm", arm.map(|arm| &*arm.name));
        line.text_or_null("target_id", target.map(|target| &*target.id));
        line.text_or_null("provider", target.map(|target| target.provider.as_str()));
        line.text_or_null("model", arm.map(|arm| &*arm.model));
        line.text_or_null("upstream_model", self.upstream_model.as_deref());
        line.number_or_null("weight", arm.map(|arm| u64::from(arm.weight)));
        self.write_assignment(group, arm, &mut line);
        line.config_version(plan);
        write_translation(self.translation.as_deref(), &mut line);
        line.bool("stream", self.stream);
        line.number("status", u64::from(self.status));
        write_error(self.error, &mut line);
        write_usage(&self.usage, &mut line);
        line.number("tokens", self.usage.total_tokens);
        line.text("usage_source", self.usage_source.as_str());
        line.number("cache_write_1h_tokens", self.usage.cache_write_1h_tokens);
        self.write_cost(arm, &mut line);
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
        line.number_or_null("retry_count", self.retry_count.map(u64::from));
        write_policies(&self.policies, plan, &mut line);
        line.text("verdict", self.verdict.as_str());
        line.number("core", u64::from(self.core));
        line.close_line();
    }

    /// A cost that isn't known is null twice, and of unknown source.
    fn write_cost(&self, arm: Option<&Arm>, line: &mut Object<'_>) {
        let pricing = arm.and_then(|arm| arm.pricing.as_ref());
        line.number_or_null("cost_picousd", self.cost_picousd);
        match self.cost_picousd {
            Some(picousd) => line.dollars("cost_usd", picousd),
            None => line.null("cost_usd"),
        }
        let source = pricing.filter(|_| self.cost_picousd.is_some()).map(|pricing| pricing.source.as_str());
        line.text("cost_source", source.unwrap_or("unknown"));
        line.text_or_null("price_version", pricing.map(|pricing| &*pricing.version));
    }

    /// `propensity` is the chance with which a draw gives this arm, so it is null where nothing was drawn.
    fn write_assignment(&self, group: Option<&Group>, arm: Option<&Arm>, line: &mut Object<'_>) {
        let mut assignment = line.object("assignment");
        assignment.text("method", self.method.as_str());
        assignment.number_or_null("slot", self.slot);
        match self.unit_hash {
            Some(hash) => assignment.hex("unit_hash", hash),
            None => assignment.null("unit_hash"),
        }
        match (self.method, arm) {
            (Method::Block, Some(arm)) => assignment.fraction("propensity", arm.propensity),
            (Method::Hash, Some(arm)) => assignment.fraction("propensity", arm.weight_share),
            (Method::Block | Method::Hash, None)
            | (Method::Direct | Method::RoundRobin | Method::LeastLatency | Method::None, _) => {
                assignment.null("propensity");
            }
        }
        assignment.text_or_null("epoch", group.map(|group| &*group.epoch));
        assignment.close();
    }
}

/// `null` where nothing was translated; two empty lists where everything was carried.
fn write_translation(report: Option<&Report>, line: &mut Object<'_>) {
    let Some(report) = report else { return line.null("translation") };
    let mut translation = line.object("translation");
    translation.texts("approximated", report.approximated());
    translation.texts("dropped", report.dropped());
    translation.close();
}

fn write_error(error: Option<(Kind, Phase)>, line: &mut Object<'_>) {
    let Some((kind, phase)) = error else { return line.null("error") };
    let mut error = line.object("error");
    error.text("side", kind.side().as_str());
    error.text("kind", kind.as_str());
    error.text("phase", phase.as_str());
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

fn write_policies(results: &[PolicyResult], plan: &Plan, line: &mut Object<'_>) {
    let mut policies = line.array("policies");
    for result in results {
        let policy = plan.policies.get(result.policy as usize);
        let mut item = policies.item();
        item.text_or_null("name", policy.map(|policy| &*policy.name));
        item.text_or_null("type", policy.map(|policy| policy.kind()));
        item.text_or_null("action", policy.map(|policy| policy.action.as_str()));
        item.text("result", result.result.as_str());
        item.bool("flagged", result.flagged);
        item.text_or_null("category", result.category);
        item.thousandths_or_null("score", result.score_thousandths);
        item.text_or_null("severity", result.severity.map(Severity::as_str));
        item.close();
    }
    policies.close();
}

/// Appends a `config` record: from here on, requests may be answered by this plan. `at_ns` is when it was taken.
pub fn write_config_line(plan: &Plan, at_ns: u64, stamp: &Stamp, out: &mut Vec<u8>) {
    let mut line = Object::open_line("config", stamp, out);
    line.time("timestamp", stamp, at_ns);
    line.config_version(plan);
    let mut groups = line.array("model_groups");
    for group in &plan.groups {
        let mut item = groups.item();
        item.text("name", &group.name);
        item.text("epoch", &group.epoch);
        item.text("strategy", group.strategy.as_str());
        item.text("salt", &group.salt);
        write_assign_by(&group.assign_by, &mut item);
        write_experiment(group.experiment.as_ref(), &mut item);
        let mut arms = item.array("arms");
        for arm in &group.arms {
            let target = plan.targets.get(arm.target);
            let mut item = arms.item();
            item.text("arm", &arm.name);
            item.text_or_null("target_id", target.map(|target| &*target.id));
            item.text_or_null("provider", target.map(|target| target.provider.as_str()));
            item.text("model", &arm.model);
            item.number("weight", u64::from(arm.weight));
            item.fraction("propensity", arm.propensity);
            item.number_or_null("total_ms", target.and_then(|target| target.timeouts.total_ms));
            write_prices(arm, &mut item);
            item.close();
        }
        arms.close();
        item.close();
    }
    groups.close();
    line.close_line();
}

/// Null where the group assigns no units.
fn write_assign_by(assign_by: &[UnitSource], group: &mut Object<'_>) {
    if assign_by.is_empty() {
        return group.null("assign_by");
    }
    let mut sources = group.array("assign_by");
    for source in assign_by {
        let mut item = sources.item();
        match source {
            UnitSource::Header(name) => item.text("header", name),
            UnitSource::Body(path) => item.text("body", &path.join(".")),
            UnitSource::Client => item.bool("client", true),
        }
        item.close();
    }
    sources.close();
}

/// `margin` is a fraction here: 0.05 for 5 %.
fn write_experiment(experiment: Option<&Experiment>, group: &mut Object<'_>) {
    let Some(Experiment { primary, margin_bp }) = experiment else { return group.null("experiment") };
    let mut object = group.object("experiment");
    object.text("primary", primary);
    object.fraction("margin", f64::from(*margin_bp) / 10_000.0);
    object.close();
}

/// The prices in force, pico-dollars per token; null where there are none.
fn write_prices(arm: &Arm, item: &mut Object<'_>) {
    let Some(pricing) = &arm.pricing else { return item.null("prices_picousd") };
    let mut prices = item.object("prices_picousd");
    for kind in cost::Kind::ALL {
        prices.number_or_null(kind.as_str(), pricing.prices.of(kind));
    }
    prices.number_or_null("prompt_tokens_max", pricing.prices.prompt_tokens_max());
    prices.close();
    item.text("price_source", pricing.source.as_str());
    item.text("price_version", &pricing.version);
}

impl Shed {
    /// Appends a `gap` record, line feed included.
    pub fn write_line(&self, stamp: &Stamp, out: &mut Vec<u8>) {
        let mut line = Object::open_line("gap", stamp, out);
        line.time("timestamp", stamp, self.to_ns);
        line.number("count", self.count);
        line.time("from", stamp, self.from_ns);
        line.time("to", stamp, self.to_ns);
        line.text("reason", Kind::LogFull.as_str());
        line.close_line();
    }
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
struct Object<'a> {
    out: &'a mut Vec<u8>,
}

/// A JSON array of objects that is being written, in the same manner.
struct Array<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Object<'a> {
    /// The fields that every record of the log begins with.
    fn open_line(event_type: &'static str, stamp: &Stamp, out: &'a mut Vec<u8>) -> Self {
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

    fn close_line(self) {
        end(self.out, b'}');
        self.out.pop();
        self.out.push(b'\n');
    }

    fn close(self) {
        end(self.out, b'}');
    }

    /// Names are ours and need no escaping.
    fn key(&mut self, name: &'static str) {
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn object(&mut self, name: &'static str) -> Object<'_> {
        self.key(name);
        self.out.push(b'{');
        Object { out: self.out }
    }

    fn array(&mut self, name: &'static str) -> Array<'_> {
        self.key(name);
        self.out.push(b'[');
        Array { out: self.out }
    }

    fn null(&mut self, name: &'static str) {
        self.key(name);
        self.out.extend_from_slice(b"null,");
    }

    fn bool(&mut self, name: &'static str, value: bool) {
        self.key(name);
        self.out.extend_from_slice(if value { b"true," } else { b"false," });
    }

    fn text(&mut self, name: &'static str, value: &str) {
        self.key(name);
        escape_into(self.out, value);
        self.out.push(b',');
    }

    fn text_or_null(&mut self, name: &'static str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.null(name),
        }
    }

    fn texts(&mut self, name: &'static str, values: &[Box<str>]) {
        self.key(name);
        self.out.push(b'[');
        for value in values {
            escape_into(self.out, value);
            self.out.push(b',');
        }
        end(self.out, b']');
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.key(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.out.push(b',');
    }

    fn number_or_null(&mut self, name: &'static str, value: Option<u64>) {
        match value {
            Some(value) => self.number(name, value),
            None => self.null(name),
        }
    }

    fn thousandths_or_null(&mut self, name: &'static str, value: Option<u16>) {
        let Some(value) = value else { return self.null(name) };
        self.key(name);
        write_thousandths(u64::from(value), self.out);
        self.out.push(b',');
    }

    /// `value` is finite: a share of a whole.
    fn fraction(&mut self, name: &'static str, value: f64) {
        self.key(name);
        self.out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
        self.out.push(b',');
    }

    /// Dollars, exactly.
    fn dollars(&mut self, name: &'static str, picousd: u64) {
        self.key(name);
        write_usd(picousd, self.out);
        self.out.push(b',');
    }

    /// 16 lower-case digits.
    fn hex(&mut self, name: &'static str, value: u64) {
        self.key(name);
        self.out.push(b'"');
        let digit = |at: u32| b"0123456789abcdef"[(value >> (60 - 4 * at) & 15) as usize];
        self.out.extend((0..16).map(digit));
        self.out.extend_from_slice(b"\",");
    }

    /// Milliseconds, to the nearest µs.
    fn millis(&mut self, name: &'static str, ns: u64) {
        self.key(name);
        write_thousandths(ns.saturating_add(500) / 1_000, self.out);
        self.out.push(b',');
    }

    /// Microseconds, as exact as they were measured.
    fn micros(&mut self, name: &'static str, ns: u64) {
        self.key(name);
        write_thousandths(ns, self.out);
        self.out.push(b',');
    }

    fn time(&mut self, name: &'static str, stamp: &Stamp, at_ns: u64) {
        self.key(name);
        self.out.push(b'"');
        write_rfc3339(stamp.wall_start_ns.saturating_add(at_ns), self.out);
        self.out.extend_from_slice(b"\",");
    }

    fn config_version(&mut self, plan: &Plan) {
        self.key("config_version");
        self.out.push(b'"');
        self.out.extend_from_slice(itoa::Buffer::new().format(plan.version.ordinal).as_bytes());
        self.out.push(b'-');
        self.out.extend_from_slice(plan.version.digest.as_bytes());
        self.out.extend_from_slice(b"\",");
    }
}

impl Array<'_> {
    fn item(&mut self) -> Object<'_> {
        self.out.push(b'{');
        Object { out: self.out }
    }

    fn close(self) {
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

/// `12345` as `12.345`.
fn write_thousandths(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value / 1_000).as_bytes());
    out.push(b'.');
    write_digits(value % 1_000, 3, out);
}

/// A moment as RFC 3339 has it, in UTC, cut to the µs: `2026-11-22T10:36:46.123456Z`.
fn write_rfc3339(unix_ns: u64, out: &mut Vec<u8>) {
    let seconds = unix_ns / 1_000_000_000;
    let (year, month, day) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    write_digits(year, 4, out);
    for (before, value) in
        [(b'-', month), (b'-', day), (b'T', of_day / 3_600), (b':', of_day / 60 % 60), (b':', of_day % 60)]
    {
        out.push(before);
        write_digits(value, 2, out);
    }
    out.push(b'.');
    write_digits(unix_ns / 1_000 % 1_000_000, 6, out);
    out.push(b'Z');
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

/// The last `width` digits of `value`, at most six.
fn write_digits(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 6];
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[digits.len() - width..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, check as check_config};
    use crate::event::{PolicyOutcome, Verdict};
    use crate::tally::UsageSource;

    const STAMP: Stamp = Stamp { log_epoch: 7, seq: 42, wall_start_ns: 1_795_343_806_123_456_789, salt: 0xBEEF };

    /// Lines are written one field a line here, and none of them has a line feed or an indent of its own.
    #[track_caller]
    fn check(written: &[u8], expected: &str) {
        let expected: String = expected.lines().map(str::trim_start).collect();
        let (line, feed) = written.split_at(written.len() - 1);
        assert_eq!(feed, b"\n");
        assert_eq!(std::str::from_utf8(line).unwrap(), expected);
        simd_json::to_borrowed_value(&mut line.to_vec()).expect("every line is JSON");
    }

    #[test]
    fn a_decision_has_every_field_in_the_order_of_the_contract() {
        let mut out = Vec::new();
        streamed().write_line(&plan(), &STAMP, &mut out);
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
            "retry_count":1,
            "policies":[{"name":"basic-filter","type":"content_filter","action":"flag","result":"pass","flagged":true,"category":"hate","score":0.912,"severity":"high"},
            {"name":"strict","type":"content_filter","action":"block","result":"pass","flagged":false,"category":null,"score":null,"severity":null}],
            "verdict":"flag",
            "core":1}"#,
        );
    }

    #[test]
    fn what_a_request_never_had_is_null_or_zero() {
        let mut out = Vec::new();
        refused().write_line(&plan(), &Stamp { seq: 1, ..STAMP }, &mut out);
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
        let mut out = Vec::new();
        Event { method: Method::Direct, slot: None, ..streamed() }.write_line(&plan(), &STAMP, &mut out);
        let line = String::from_utf8(out).unwrap();
        assert!(
            line.contains(
                r#""method":"direct","slot":null,"unit_hash":"00000000deadbeef","propensity":null,"epoch":"0"#
            ),
            "{line}"
        );
    }

    #[test]
    fn a_config_record_lists_groups_epochs_and_weights() {
        let mut out = Vec::new();
        write_config_line(&plan(), 0, &Stamp { seq: 1, ..STAMP }, &mut out);
        check(
            &out,
            r#"{"event_type":"config",
            "id":"evt_01M81D8VNBQVQG000000000001",
            "log_epoch":7,
            "seq":1,
            "timestamp":"2026-11-22T10:36:46.123456Z",
            "config_version":"3-9f2c00112233",
            "model_groups":[{"name":"quality-ab-test","epoch":"0123456789abcdef","strategy":"weighted","salt":"quality-ab-test",
            "assign_by":[{"header":"x-user-id"},{"body":"metadata.user_id"},{"client":true}],
            "experiment":{"primary":"ttft:p50","margin":0.025},"arms":[
            {"arm":"openai/gpt-4o","target_id":"openai","provider":"openai","model":"gpt-4o","weight":70,"propensity":0.7,"total_ms":null,
            "prices_picousd":{"input":1000000,"output":null,"cache_read":null,"cache_write_5m":null,"cache_write_1h":null,"reasoning":null,"prompt_tokens_max":null},"price_source":"config","price_version":"7fd79207422f"},
            {"arm":"anthropic/claude-sonnet-4-20250514","target_id":"anthropic","provider":"anthropic","model":"claude-sonnet-4-20250514","weight":30,"propensity":0.3,"total_ms":60000,
            "prices_picousd":{"input":3000000,"output":15000000,"cache_read":300000,"cache_write_5m":3750000,"cache_write_1h":6000000,"reasoning":15000000,"prompt_tokens_max":200000},"price_source":"table","price_version":"2026-07-26"}]}]}"#,
        );
        assert!(!is_decision(&out));
    }

    #[test]
    fn a_gap_record_says_how_many_and_when() {
        let mut out = Vec::new();
        Shed { count: 12, from_ns: 1_000_000_000, to_ns: 3_000_000_000 }.write_line(&STAMP, &mut out);
        check(
            &out,
            r#"{"event_type":"gap",
            "id":"evt_01M81D8VNBQVQG00000000001A",
            "log_epoch":7,
            "seq":42,
            "timestamp":"2026-11-22T10:36:49.123456Z",
            "count":12,
            "from":"2026-11-22T10:36:47.123456Z",
            "to":"2026-11-22T10:36:49.123456Z",
            "reason":"log_full"}"#,
        );
        assert!(!is_decision(&out));
    }

    #[test]
    fn only_decisions_begin_like_one() {
        let mut out = Vec::new();
        refused().write_line(&plan(), &STAMP, &mut out);
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
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
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

    fn streamed() -> Event {
        Event {
            at_ns: 1_000_000_000,
            ended_ns: 1_285_123_456,
            request_id: "a \"quoted\" id".into(),
            upstream_request_id: Some("req_011".into()),
            client: Some(1),
            endpoint: "/v1/chat/completions",
            group: Some(0),
            arm: Some(1),
            upstream_model: Some("claude-sonnet-4".into()),
            method: Method::Block,
            slot: Some(19),
            translation: Some(Box::default()),
            unit_hash: Some(0xdead_beef),
            stream: true,
            status: 502,
            error: Some((Kind::AnswerTorn, Phase::Stream)),
            usage: Usage {
                prompt_tokens: 100,
                completion_tokens: 42,
                total_tokens: 142,
                cached_tokens: 20,
                cache_write_tokens: 5,
                cache_write_1h_tokens: 2,
                reasoning_tokens: 7,
            },
            usage_source: UsageSource::Partial,
            cost_picousd: Some(1_234_567),
            latency_ns: 285_123_456,
            ttft_ns: Some(120_000_500),
            upstream_ns: 280_000_000,
            connect_ns: 0,
            client_wait_ns: 3_000_000,
            overhead_ns: 2_123_001,
            gaps: Some(Gaps { n: 41, mean_ns: 3_902_439, p99_ns: 9_000_000, max_ns: 12_000_001 }),
            attempts: 2,
            retry_count: Some(1),
            policies: [
                PolicyResult {
                    policy: 0,
                    result: PolicyOutcome::Pass,
                    flagged: true,
                    category: Some("hate"),
                    score_thousandths: Some(912),
                    severity: Some(Severity::High),
                },
                PolicyResult {
                    policy: 1,
                    result: PolicyOutcome::Pass,
                    flagged: false,
                    category: None,
                    score_thousandths: None,
                    severity: None,
                },
            ]
            .into(),
            verdict: Verdict::Flag,
            core: 1,
        }
    }

    fn refused() -> Event {
        Event {
            at_ns: 0,
            ended_ns: 1_000,
            request_id: "r-1".into(),
            upstream_request_id: None,
            client: None,
            endpoint: "/v1/chat/completions",
            group: None,
            arm: None,
            upstream_model: None,
            method: Method::None,
            slot: None,
            translation: None,
            unit_hash: None,
            stream: false,
            status: 400,
            error: Some((Kind::MalformedJson, Phase::Body)),
            usage: Usage::default(),
            usage_source: UsageSource::None,
            cost_picousd: None,
            latency_ns: 0,
            ttft_ns: None,
            upstream_ns: 0,
            connect_ns: 0,
            client_wait_ns: 0,
            overhead_ns: 0,
            gaps: None,
            attempts: 0,
            retry_count: None,
            policies: [].into(),
            verdict: Verdict::Allow,
            core: 0,
        }
    }

    /// With a digest and an epoch that don't change whenever the text does.
    fn plan() -> Plan {
        let source = Source { name: "policy-config.yaml".into(), bytes: CONFIG.into() };
        let file = check_config(&[source]).file.expect("the config is valid");
        let mut plan = Plan::resolve(&file, 3, None, &mut |_| None, &mut || 0).expect("no two clients share a key");
        plan.version.digest = "9f2c00112233".into();
        plan.groups[0].epoch = "0123456789abcdef".into();
        plan
    }

    const CONFIG: &str = "
version: '1'
providers:
  targets:
    - {id: openai, provider: openai, secret_key_ref: {env: OPENAI_API_KEY}}
    - {id: anthropic, provider: anthropic, secret_key_ref: {env: ANTHROPIC_API_KEY}, timeouts: {total_ms: 60000}}
model_groups:
  - name: quality-ab-test
    strategy: weighted
    assign_by: [{header: X-User-Id}, {body: metadata.user_id}, {client: true}]
    experiment: {primary: 'ttft:p50', margin: 2.5%}
    targets:
      - {provider: openai, model: gpt-4o, weight: 70, pricing: {input: 1}}
      - {provider: anthropic, model: claude-sonnet-4-20250514, weight: 30}
policies:
  - {name: basic-filter, type: content_filter, action: flag, config: {categories: [hate]}}
  - {name: strict, type: content_filter, action: block, config: {categories: [violence]}}
gateway:
  clients: [{name: team a, key_ref: {env: A}}, {name: team b, key_ref: {env: B}}]
";
}
