//! The log's own records: which config was in force, what is missing and why, what was removed, and when the wall clock
//! jumped. They stand among the decisions, numbered alike, so that whoever reads the log can't overlook a loss.

use super::line::{Object, Stamp};
use crate::config::plan::{Arm, Experiment, Plan, UnitSource};
use crate::cost;
use crate::fault::Kind;

/// The end of the epoch before: what the first record of an epoch says of it, so that the epochs are one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its number.
    pub log_epoch: u32,
    /// Its last record's.
    pub last_seq: u64,
    /// The head of its chain of SHA-256.
    pub chain: [u8; 32],
}

/// Requests that have no decision because the log had no room for one; what a `gap` record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// How many; at least 1.
    pub count: u64,
    /// When the first one came, ns since process start.
    pub from_ns: u64,
    /// When the last one came, ns since process start.
    pub to_ns: u64,
    /// What became of the requests.
    pub action: WhenFull,
}

/// `events.when_full`: what becomes of a request for whose decision there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused.
    #[default]
    Shed,
    /// It is answered, and has no decision.
    Drop,
}

impl WhenFull {
    /// The word in config and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shed => "shed",
            Self::Drop => "drop",
        }
    }
}

/// What a crash took: requests that were admitted and have no decision. The last record of its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// How many requests were in flight.
    pub count: u64,
    /// Whether there may be more: the counters themselves have suffered, as by a power cut.
    pub at_least: bool,
    /// Decisions that the start found in the rings and wrote before this record.
    pub recovered: u64,
    /// How many of those are of answers that were on their way.
    pub unconfirmed: u64,
}

/// A segment that retention removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its name.
    pub segment: Box<str>,
    /// Its last record's number.
    pub last_seq: u64,
    /// How long it was, bytes of lines.
    pub bytes: u64,
    /// The head of the chain at its end.
    pub chain: [u8; 32],
    /// Which bound it fell under.
    pub reason: &'static str,
}

/// Bytes that were no whole lines of ours, moved out of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub segment: Box<str>,
    /// Where they began.
    pub offset: u64,
    /// How many they were.
    pub bytes: u64,
}

/// A step of the wall clock. Times in the log follow the monotonic clock, and don't make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// By how much the wall clock went ahead, ns; negative when it went back.
    pub step_ns: i64,
    /// What it says now, ns since 1970.
    pub wall_ns: u64,
}

/// Appends a `config` record: from here on, requests may be answered by this plan. `at_ns` is when it was taken. The first
/// one of an epoch says what was before it.
pub fn write_config_line(plan: &Plan, previous: Option<&Previous>, at_ns: u64, stamp: &Stamp, out: &mut Vec<u8>) {
    let mut line = Object::open_line("config", stamp, out);
    line.time("timestamp", stamp, at_ns);
    line.config_version(plan.version.ordinal, &plan.version.digest);
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
    if let Some(Previous { log_epoch, last_seq, chain }) = previous {
        let mut item = line.object("previous");
        item.number("log_epoch", u64::from(*log_epoch));
        item.number("last_seq", *last_seq);
        item.hex("chain", chain);
        item.close();
    }
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
    object.text("primary", &primary.to_string());
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
        let Self { count, from_ns, to_ns, action } = *self;
        let mut line = Object::open_line("gap", stamp, out);
        line.time("timestamp", stamp, to_ns);
        line.number("count", count);
        line.time("from", stamp, from_ns);
        line.time("to", stamp, to_ns);
        line.text("reason", Kind::LogFull.as_str());
        line.text("action", action.as_str());
        line.close_line();
    }
}

impl Lost {
    /// Appends a `lost` record, line feed included. `at_ns` is the latest moment that is known of the epoch.
    pub fn write_line(&self, at_ns: u64, stamp: &Stamp, out: &mut Vec<u8>) {
        let Self { count, at_least, recovered, unconfirmed } = *self;
        let mut line = Object::open_line("lost", stamp, out);
        line.time("timestamp", stamp, at_ns);
        line.number("count", count);
        line.bool("at_least", at_least);
        line.number("recovered", recovered);
        line.number("unconfirmed", unconfirmed);
        line.close_line();
    }
}

impl Removed {
    /// Appends a `retention` record, line feed included.
    pub fn write_line(&self, at_ns: u64, stamp: &Stamp, out: &mut Vec<u8>) {
        let Self { segment, last_seq, bytes, chain, reason } = self;
        let mut line = Object::open_line("retention", stamp, out);
        line.time("timestamp", stamp, at_ns);
        line.text("segment", segment);
        line.number("last_seq", *last_seq);
        line.number("bytes", *bytes);
        line.hex("chain", chain);
        line.text("reason", reason);
        line.close_line();
    }
}

impl Torn {
    /// Appends a `torn` record, line feed included.
    pub fn write_line(&self, at_ns: u64, stamp: &Stamp, out: &mut Vec<u8>) {
        let Self { segment, offset, bytes } = self;
        let mut line = Object::open_line("torn", stamp, out);
        line.time("timestamp", stamp, at_ns);
        line.text("segment", segment);
        line.number("offset", *offset);
        line.number("bytes", *bytes);
        line.close_line();
    }
}

impl ClockStep {
    /// Appends a `clock` record, line feed included.
    pub fn write_line(&self, at_ns: u64, stamp: &Stamp, out: &mut Vec<u8>) {
        let Self { step_ns, wall_ns } = *self;
        let mut line = Object::open_line("clock", stamp, out);
        line.time("timestamp", stamp, at_ns);
        line.signed_millis("step_ms", step_ns);
        line.time("wall_clock", &Stamp { wall_start_ns: wall_ns, ..*stamp }, 0);
        line.close_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::is_decision;
    use crate::event::samples::{STAMP, check, plan};

    #[test]
    fn a_config_record_lists_groups_epochs_and_weights() {
        let mut out = Vec::new();
        write_config_line(&plan(), None, 0, &Stamp { seq: 1, ..STAMP }, &mut out);
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
        Shed { count: 12, from_ns: 1_000_000_000, to_ns: 3_000_000_000, action: WhenFull::Shed }
            .write_line(&STAMP, &mut out);
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
            "reason":"log_full",
            "action":"shed"}"#,
        );
        assert!(!is_decision(&out));
    }

    #[test]
    fn an_epoch_says_what_was_before_it() {
        let mut out = Vec::new();
        let previous = Previous { log_epoch: 6, last_seq: 99, chain: [0xab; 32] };
        write_config_line(&plan(), Some(&previous), 0, &STAMP, &mut out);
        let text = String::from_utf8(out).unwrap();
        let expected = format!(r#","previous":{{"log_epoch":6,"last_seq":99,"chain":"{}"}}}}"#, "ab".repeat(32));
        assert!(text.trim_end().ends_with(&expected), "{text}");
    }

    #[test]
    fn what_happened_to_the_log_is_said_in_the_log() {
        let mut out = Vec::new();
        Lost { count: 3, at_least: false, recovered: 8, unconfirmed: 1 }.write_line(1_000_000_000, &STAMP, &mut out);
        let segment = "events-00000001-0000000000000001.jsonl";
        Removed { segment: segment.into(), last_seq: 9, bytes: 1_000, chain: [1; 32], reason: "age" }
            .write_line(0, &STAMP, &mut out);
        Torn { segment: segment.into(), offset: 10, bytes: 5 }.write_line(0, &STAMP, &mut out);
        ClockStep { step_ns: -3_600_000_000_500, wall_ns: 0 }.write_line(0, &STAMP, &mut out);
        let text = String::from_utf8(out).unwrap();
        let beyond_stamp: Vec<&str> = text.lines().map(|line| line.split_once("\"timestamp\":").unwrap().1).collect();
        assert_eq!(
            beyond_stamp,
            [
                r#""2026-11-22T10:36:47.123456Z","count":3,"at_least":false,"recovered":8,"unconfirmed":1}"#.to_owned(),
                format!(
                    r#""2026-11-22T10:36:46.123456Z","segment":"{segment}","last_seq":9,"bytes":1000,"chain":"{}","reason":"age"}}"#,
                    "01".repeat(32)
                ),
                format!(r#""2026-11-22T10:36:46.123456Z","segment":"{segment}","offset":10,"bytes":5}}"#),
                r#""2026-11-22T10:36:46.123456Z","step_ms":-3600000.001,"wall_clock":"1970-01-01T00:00:00.000000Z"}"#
                    .to_owned(),
            ]
        );
        assert!(text.lines().all(|line| simd_json::to_borrowed_value(&mut line.as_bytes().to_vec()).is_ok()));
    }
}
