//! How a record looks to a person.
//!
//! Fields that are missing or of another type are shown as `-`: a log may have been written by another version.

use std::fmt::{self, Display, Write};

use simd_json::BorrowedValue;
use simd_json::prelude::*;

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// For a terminal.
    Ansi,
    /// For everything else.
    Off,
}

/// Text from outside, with control characters made visible, so that a vendor's words can't move the cursor.
pub(super) struct Plain<'a>(pub(super) &'a str);

/// A field's value on one line; a list or an object by its length.
struct Shown<'a>(Option<&'a BorrowedValue<'a>>);

/// `[2026-11-22T10:36:47.123Z] REQUEST id=… policy=… action=flag result=pass model=gpt-4o tokens=142 latency=285ms`
pub(super) fn text(event: &BorrowedValue<'_>, colour: Colour, out: &mut String) {
    let policy = worst_policy(event);
    let of_policy = |field| Shown(policy.and_then(|policy| policy.get(field)));
    line(
        out,
        format_args!(
            "[{}] {} id={} policy={} action={} result={} model={} tokens={} latency={}ms",
            moment(event, "timestamp"),
            word(event, colour),
            shown(event, "id"),
            of_policy("name"),
            of_policy("action"),
            of_policy("result"),
            shown(event, "model"),
            shown(event, "tokens"),
            number(event, "latency_ms").floor(),
        ),
    );
}

/// A block of lines, with an empty one behind it.
pub(super) fn detailed(event: &BorrowedValue<'_>, colour: Colour, out: &mut String) {
    let field = |name| shown(event, name);
    let inner = |object: &str, name: &str| Shown(event.get(object).and_then(|object| object.get(name)));
    line(
        out,
        format_args!(
            "{} {}  {}  status {}  {} → {}",
            word(event, colour),
            field("id"),
            moment(event, "timestamp"),
            field("status"),
            field("model_group"),
            field("arm"),
        ),
    );
    let stream = if event.get_bool("stream") == Some(true) { "streamed" } else { "whole" };
    line(
        out,
        format_args!(
            "  request     {}, {stream}, id {}, the vendor's {}, client {}, core {}",
            field("endpoint"),
            field("request_id"),
            field("upstream_request_id"),
            field("client"),
            field("core"),
        ),
    );
    line(
        out,
        format_args!(
            "  model       {} at {} ({}), which says {}",
            field("model"),
            field("target_id"),
            field("provider"),
            field("upstream_model"),
        ),
    );
    line(
        out,
        format_args!(
            "  assignment  {}, slot {}, weight {}, propensity {}, epoch {}, config {}",
            inner("assignment", "method"),
            inner("assignment", "slot"),
            field("weight"),
            inner("assignment", "propensity"),
            inner("assignment", "epoch"),
            field("config_version"),
        ),
    );
    policies(event, out);
    if event.get("error").is_some_and(|error| !error.is_null()) {
        line(
            out,
            format_args!(
                "  error       {}: {} in phase {}",
                inner("error", "side"),
                inner("error", "kind"),
                inner("error", "phase"),
            ),
        );
    }
    line(out, format_args!("  attempts    {}", field("attempts")));
    attempts(event, out);
    times(event, out);
    line(
        out,
        format_args!(
            "  tokens      {} = {} in ({} from cache, {} to cache) + {} out ({} reasoning), source {}",
            field("tokens"),
            inner("usage", "prompt_tokens"),
            inner("usage", "cached_tokens"),
            inner("usage", "cache_write_tokens"),
            inner("usage", "completion_tokens"),
            inner("usage", "reasoning_tokens"),
            field("usage_source"),
        ),
    );
    out.push('\n');
}

/// Each of them, where there were several.
fn attempts(event: &BorrowedValue<'_>, out: &mut String) {
    for attempt in event.get_array("attempt_list").into_iter().flatten() {
        let connection = if attempt.get_bool("reused") == Some(true) { "a kept connection" } else { "a fresh one" };
        let (connect, upstream) = (number(attempt, "connect_ms"), number(attempt, "upstream_ms"));
        write(out, format_args!("              {connection}: connect {connect:.3} ms, upstream {upstream:.3} ms"));
        if let Some(error) = attempt.get("error").filter(|error| error.is_object()) {
            write(out, format_args!(", {} in phase {}", shown(error, "kind"), shown(error, "phase")));
        }
        out.push('\n');
    }
}

fn policies(event: &BorrowedValue<'_>, out: &mut String) {
    let mut heading = "policies";
    for policy in event.get_array("policies").into_iter().flatten() {
        let flagged = if policy.get_bool("flagged") == Some(true) { ", flagged: " } else { "" };
        let category = policy.get_str("category").filter(|_| !flagged.is_empty()).unwrap_or("");
        line(
            out,
            format_args!(
                "  {heading:<11} {} ({}) action={} result={}{flagged}{}",
                shown(policy, "name"),
                shown(policy, "type"),
                shown(policy, "action"),
                shown(policy, "result"),
                Plain(category),
            ),
        );
        heading = "";
    }
    if heading == "policies" {
        line(out, format_args!("  policies    -"));
    }
}

fn times(event: &BorrowedValue<'_>, out: &mut String) {
    line(
        out,
        format_args!(
            "  latency     {:.3} ms: connect {:.3}, upstream {:.3}, waiting for the client {:.3}, gateway {:.3}",
            number(event, "latency_ms"),
            number(event, "connect_ms"),
            number(event, "upstream_ms"),
            number(event, "client_wait_ms"),
            number(event, "gateway_overhead_us") / 1_000.0,
        ),
    );
    let Some(first) = event.get("ttft_ms").and_then(BorrowedValue::cast_f64) else { return };
    write(out, format_args!("  stream      first token after {first:.3} ms"));
    if let Some(gaps) = event.get("gaps").filter(|gaps| gaps.is_object()) {
        let ms = |name| number(gaps, name) / 1_000.0;
        write(
            out,
            format_args!(
                ", {} gaps: mean {:.3}, p99 {:.3}, max {:.3}",
                shown(gaps, "n"),
                ms("mean_us"),
                ms("p99_us"),
                ms("max_us"),
            ),
        );
    }
    out.push('\n');
}

/// One of the log's own records, whichever: `[…] GAP id=… count=12 …`.
pub(super) fn own_record(record: &BorrowedValue<'_>, out: &mut String) {
    let event_type = record.get_str("event_type").unwrap_or("-").to_uppercase();
    write(out, format_args!("[{}] {}", moment(record, "timestamp"), Plain(&event_type)));
    for (name, value) in record.as_object().into_iter().flatten() {
        if !["event_type", "timestamp", "log_epoch", "seq"].contains(&&**name) {
            write(out, format_args!(" {}={}", Plain(name), Shown(Some(value))));
        }
    }
    out.push('\n');
}

fn word(event: &BorrowedValue<'_>, colour: Colour) -> &'static str {
    match (event.get_str("verdict") == Some("block"), colour) {
        (false, Colour::Ansi | Colour::Off) => "REQUEST",
        (true, Colour::Off) => "BLOCKED",
        (true, Colour::Ansi) => "\x1b[1;31mBLOCKED\x1b[0m",
    }
}

/// The policy that weighs most, of equals the first.
fn worst_policy<'e, 'v>(event: &'e BorrowedValue<'v>) -> Option<&'e BorrowedValue<'v>> {
    let lightness = |policy: &&BorrowedValue<'_>| match (policy.get_str("result"), policy.get_bool("flagged")) {
        (Some("blocked"), _) => 0,
        (Some("error"), _) => 1,
        (Some("modified"), _) => 2,
        (_, Some(true)) => 3,
        (_, Some(false) | None) => 4,
    };
    event.get_array("policies")?.iter().min_by_key(lightness)
}

/// A timestamp of the log, cut to the ms.
fn moment<'a>(record: &'a BorrowedValue<'_>, name: &str) -> impl Display + use<'a> {
    let text = record.get_str(name).unwrap_or("-");
    let ms = text.split_once('.').and_then(|(seconds, fraction)| Some((seconds, fraction.get(..3)?)));
    fmt::from_fn(move |f| match ms {
        Some((seconds, ms)) => write!(f, "{}.{}Z", Plain(seconds), Plain(ms)),
        None => Plain(text).fmt(f),
    })
}

fn shown<'a>(record: &'a BorrowedValue<'a>, name: &str) -> Shown<'a> {
    Shown(record.get(name))
}

/// 0 if there is none.
fn number(record: &BorrowedValue<'_>, name: &str) -> f64 {
    record.get(name).and_then(BorrowedValue::cast_f64).unwrap_or(0.0)
}

fn line(out: &mut String, text: fmt::Arguments<'_>) {
    write(out, text);
    out.push('\n');
}

fn write(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

impl Colour {
    /// Colours for `ansi`.
    pub(super) const fn of(ansi: bool) -> Self {
        if ansi { Self::Ansi } else { Self::Off }
    }
}

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            if char.is_control() { write!(f, "{}", char.escape_default())? } else { f.write_char(char)? }
        }
        Ok(())
    }
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("-"),
            Some(BorrowedValue::Static(value)) if value.is_null() => f.write_str("-"),
            Some(BorrowedValue::Static(value)) => value.fmt(f),
            Some(BorrowedValue::String(text)) => Plain(text).fmt(f),
            Some(BorrowedValue::Array(items)) => items.len().fmt(f),
            Some(BorrowedValue::Object(fields)) => fields.len().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTER: &str = r#"{"name":"basic-filter","type":"content_filter","action":"flag","result":"pass","flagged":false,"category":null}"#;
    const FLAGGED: &str =
        r#"{"name":"second","type":"content_filter","action":"flag","result":"pass","flagged":true,"category":"hate"}"#;
    const TRIES: &str = r#"{"reused":true,"connect_ms":0.0,"upstream_ms":1.5,"error":{"side":"upstream","kind":"answer_missing","phase":"first_byte"}},{"reused":false,"connect_ms":0.0,"upstream_ms":280.0,"error":null}"#;
    const BLOCKED: &str = r#"{"name":"strict","type":"content_filter","action":"block","result":"blocked","flagged":true,"category":"violence"}"#;

    #[test]
    fn a_decision_is_one_line_for_people() {
        for (policies, verdict, expected) in [
            (vec![], "allow", "REQUEST id=evt_1 policy=- action=- result=-"),
            (vec![FILTER], "allow", "REQUEST id=evt_1 policy=basic-filter action=flag result=pass"),
            (vec![FILTER, FLAGGED], "flag", "REQUEST id=evt_1 policy=second action=flag result=pass"),
            (vec![FLAGGED, FLAGGED, FILTER], "flag", "REQUEST id=evt_1 policy=second action=flag result=pass"),
            (vec![FLAGGED, BLOCKED], "block", "BLOCKED id=evt_1 policy=strict action=block result=blocked"),
        ] {
            let event = event(&policies, verdict);
            let expected = format!("[2026-11-22T10:36:47.123Z] {expected} model=gpt-4o tokens=142 latency=285ms\n");
            assert_eq!(shown_by(text, Colour::Off, &event), expected);
        }
    }

    #[test]
    fn a_block_is_red_on_a_terminal() {
        let line = shown_by(text, Colour::Ansi, &event(&[BLOCKED], "block"));
        assert!(line.starts_with("[2026-11-22T10:36:47.123Z] \x1b[1;31mBLOCKED\x1b[0m id="), "{line:?}");
    }

    #[test]
    fn what_is_missing_or_strange_is_shown_all_the_same() {
        for (event, expected) in [
            ("{}", "[-] REQUEST id=- policy=- action=- result=- model=- tokens=- latency=0ms\n"),
            ("[]", "[-] REQUEST id=- policy=- action=- result=- model=- tokens=- latency=0ms\n"),
            (
                r#"{"timestamp":"now","id":7,"model":null,"tokens":-1,"latency_ms":12,"policies":["x"],"new":{}}"#,
                "[now] REQUEST id=7 policy=- action=- result=- model=- tokens=-1 latency=12ms\n",
            ),
            (
                r#"{"timestamp":"a.bbé","model":"red\u001b[31m\n","latency_ms":"x"}"#,
                "[a.bbé] REQUEST id=- policy=- action=- result=- model=red\\u{1b}[31m\\n tokens=- latency=0ms\n",
            ),
        ] {
            assert_eq!(shown_by(text, Colour::Off, event), expected);
            shown_by(detailed, Colour::Off, event);
        }
    }

    #[test]
    fn a_block_of_details_says_where_the_time_went() {
        let event = format!(
            r#"{{"event_type":"decision","id":"evt_1","timestamp":"2026-11-22T10:36:47.123456Z","request_id":"r-1",
            "upstream_request_id":"req_011","client":"team a","endpoint":"/v1/chat/completions",
            "model_group":"quality-ab-test","arm":"openai/gpt-4o","target_id":"openai","provider":"openai","model":"gpt-4o",
            "upstream_model":"gpt-4o-2024-08-06","weight":70,
            "assignment":{{"method":"block","slot":19,"unit_hash":null,"propensity":0.7,"epoch":"0123456789abcdef"}},
            "config_version":"3-9f2c00112233","stream":true,"status":502,
            "error":{{"side":"upstream","kind":"answer_torn","phase":"stream"}},
            "usage":{{"prompt_tokens":100,"completion_tokens":42,"total_tokens":142,"cached_tokens":20,
            "cache_write_tokens":5,"reasoning_tokens":7}},"tokens":142,"usage_source":"partial","latency_ms":285.120,
            "ttft_ms":120.001,"upstream_ms":280.000,"connect_ms":0.000,"client_wait_ms":3.000,
            "gateway_overhead_us":2123.001,"gaps":{{"n":41,"mean_us":3902.439,"p99_us":9000.000,"max_us":12000.001}},
            "attempts":2,"attempt_list":[{TRIES}],"policies":[{FLAGGED},{FILTER}],"verdict":"flag","core":1}}"#
        );
        assert_eq!(
            shown_by(detailed, Colour::Off, &event),
            "\
REQUEST evt_1  2026-11-22T10:36:47.123Z  status 502  quality-ab-test → openai/gpt-4o
  request     /v1/chat/completions, streamed, id r-1, the vendor's req_011, client team a, core 1
  model       gpt-4o at openai (openai), which says gpt-4o-2024-08-06
  assignment  block, slot 19, weight 70, propensity 0.7, epoch 0123456789abcdef, config 3-9f2c00112233
  policies    second (content_filter) action=flag result=pass, flagged: hate
              basic-filter (content_filter) action=flag result=pass
  error       upstream: answer_torn in phase stream
  attempts    2
              a kept connection: connect 0.000 ms, upstream 1.500 ms, answer_missing in phase first_byte
              a fresh one: connect 0.000 ms, upstream 280.000 ms
  latency     285.120 ms: connect 0.000, upstream 280.000, waiting for the client 3.000, gateway 2.123
  stream      first token after 120.001 ms, 41 gaps: mean 3.902, p99 9.000, max 12.000
  tokens      142 = 100 in (20 from cache, 5 to cache) + 42 out (7 reasoning), source partial

"
        );
        let plain = shown_by(detailed, Colour::Off, &self::event(&[], "allow"));
        assert!(plain.contains("\n  policies    -\n  attempts "), "{plain}");
        assert!(!plain.contains("  stream ") && !plain.contains("  error "), "{plain}");
    }

    #[test]
    fn the_logs_own_records_show_what_they_have() {
        for (record, expected) in [
            (
                r#"{"event_type":"gap","id":"evt_1","log_epoch":1,"seq":4,"timestamp":"2026-11-22T10:36:49.123456Z","count":12,"reason":"log_full"}"#,
                "[2026-11-22T10:36:49.123Z] GAP id=evt_1 count=12 reason=log_full\n",
            ),
            (r#"{"event_type":"lost","count":3,"of":[1,2]}"#, "[-] LOST count=3 of=2\n"),
            ("{}", "[-] -\n"),
        ] {
            assert_eq!(shown_by(|record, _, out| own_record(record, out), Colour::Off, record), expected);
        }
    }

    fn event(policies: &[&str], verdict: &str) -> String {
        format!(
            r#"{{"event_type":"decision","id":"evt_1","timestamp":"2026-11-22T10:36:47.123999Z","model":"gpt-4o",
            "tokens":142,"latency_ms":285.900,"ttft_ms":null,"gaps":null,"error":null,"policies":[{}],
            "verdict":"{verdict}"}}"#,
            policies.join(",")
        )
    }

    fn shown_by(show: fn(&BorrowedValue<'_>, Colour, &mut String), colour: Colour, record: &str) -> String {
        let mut text = record.to_owned().into_bytes();
        let record = simd_json::to_borrowed_value(&mut text).unwrap();
        let mut out = String::new();
        show(&record, colour, &mut out);
        out
    }
}
