//! One line of the decision log, as far as statistics are concerned.
//!
//! Fields that a line doesn't have are unknown, never zero: logs outlive the version that wrote them.

use std::borrow::Cow;

use crate::json::{Scratch, Value, scan};

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<'t> {
    /// Which start of the gateway wrote it.
    pub log_epoch: u64,
    /// Its number among the records of that start.
    pub seq: u64,
    /// When the request was read whole, µs since 1970.
    pub at_us: i64,
    /// When its answer had ended, µs since 1970.
    pub ended_us: i64,
    /// The group that was asked.
    pub group: Cow<'t, str>,
    /// The arm that it was assigned.
    pub arm: Cow<'t, str>,
    /// The arm's target.
    pub target_id: Cow<'t, str>,
    /// The arm's model.
    pub model: Cow<'t, str>,
    /// The arm's weight at that time.
    pub weight: Option<f64>,
    /// The path that was asked.
    pub endpoint: Cow<'t, str>,
    /// Who asked.
    pub client: Option<Cow<'t, str>>,
    /// Ordinal and digest of the config.
    pub config_version: Cow<'t, str>,
    /// How the arm came about: `block`, `hash`, `round_robin`, ….
    pub method: Cow<'t, str>,
    /// The group's place.
    pub slot: Option<u64>,
    /// The unit, hashed.
    pub unit: Option<u64>,
    /// Chance of this arm when it was drawn.
    pub propensity: Option<f64>,
    /// What the experiment was, hashed.
    pub epoch: Cow<'t, str>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Whether it failed, or its client left.
    pub failed: bool,
    /// Milliseconds to the end of the answer.
    pub latency_ms: f64,
    /// Milliseconds to the first content; streams only.
    pub ttft_ms: Option<f64>,
    /// Mean and largest gap between content events, milliseconds; streams only.
    pub gaps_ms: Option<(f64, f64)>,
    /// Tokens in and out, where the vendor has said them or they were estimated.
    pub tokens: Option<Tokens>,
    /// What it cost, in pico-dollars; none if unknown.
    pub cost_picousd: Option<u64>,
    /// How often the client's library had tried before.
    pub retries: Option<u64>,
    /// Of several attempts the last one's arm or target, if it was another than the assigned one's.
    pub served_by: Option<Cow<'t, str>>,
}

/// Tokens of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Of the input.
    pub input: u64,
    /// Of the output.
    pub output: u64,
    /// Whether they are the gateway's own guess.
    pub estimated: bool,
}

/// Where a record stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which start of the gateway wrote it.
    pub log_epoch: u64,
    /// Its number among the records of that start.
    pub seq: u64,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Record<'t> {
    /// A decision that assigned an arm.
    Decision(Box<Decision<'t>>),
    /// A decision without a group or an arm.
    Unassigned(Place),
    /// What was in force from here on.
    Config(Place, Config<'t>),
    /// So many requests have no decision.
    Missing(Place, u64),
    /// Something else of the log's own.
    Other(Place),
    /// Not a record.
    Damaged,
}

/// A `config` record.
#[derive(Clone, Debug, PartialEq)]
pub struct Config<'t> {
    /// Ordinal and digest.
    pub version: Cow<'t, str>,
    /// Its groups.
    pub groups: Vec<Group<'t>>,
}

/// A group of a `config` record.
#[derive(Clone, Debug, PartialEq)]
pub struct Group<'t> {
    /// Its name.
    pub name: Cow<'t, str>,
    /// What the experiment is, hashed.
    pub epoch: Cow<'t, str>,
    /// The primary measure, as it is written.
    pub primary: Option<Cow<'t, str>>,
    /// The smallest difference that matters.
    pub margin: Option<f64>,
    /// Its arms, in the order of the config.
    pub arms: Vec<Arm<'t>>,
}

/// An arm of a `config` record.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm<'t> {
    /// Its name.
    pub name: Cow<'t, str>,
    /// Its target.
    pub target_id: Cow<'t, str>,
    /// Its model.
    pub model: Cow<'t, str>,
    /// Its weight.
    pub weight: f64,
    /// Chance that a request that is drawn for itself gets it: its weight's share, rounded to whole slots of a block.
    pub propensity: Option<f64>,
}

impl<'t> Record<'t> {
    /// Reads a line, without its line feed. `scratch` is what the reader needs, kept between lines.
    pub fn read(line: &'t [u8], scratch: &mut Scratch) -> Self {
        let Ok(object) = scan(line, scratch) else { return Self::Damaged };
        let number = |name| object.get(name).and_then(Value::to_u64);
        let Some((log_epoch, seq)) = number("log_epoch").zip(number("seq")) else { return Self::Damaged };
        let place = Place { log_epoch, seq };
        let record = object.value();
        match object.get("event_type").and_then(Value::to_str).as_deref() {
            Some("decision") => match decision(record, place) {
                Read::Whole(decision) => Self::Decision(decision),
                Read::Unassigned => Self::Unassigned(place),
                Read::Damaged => Self::Damaged,
            },
            Some("config") => config(record).map_or(Self::Damaged, |config| Self::Config(place, config)),
            Some("gap" | "lost") => Self::Missing(place, number("count").unwrap_or(0)),
            Some(_) => Self::Other(place),
            None => Self::Damaged,
        }
    }

    /// Where it stands; none of what is no record.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Decision(decision) => Some(Place { log_epoch: decision.log_epoch, seq: decision.seq }),
            Self::Unassigned(place) | Self::Config(place, _) | Self::Missing(place, _) | Self::Other(place) => {
                Some(*place)
            }
            Self::Damaged => None,
        }
    }
}

enum Read<'t> {
    Whole(Box<Decision<'t>>),
    Unassigned,
    Damaged,
}

/// The fields of a line are walked once; each is looked at by its name.
fn decision<'t>(record: Value<'t>, place: Place) -> Read<'t> {
    let mut decision = Decision {
        log_epoch: place.log_epoch,
        seq: place.seq,
        at_us: 0,
        ended_us: 0,
        group: Cow::default(),
        arm: Cow::default(),
        target_id: Cow::default(),
        model: Cow::default(),
        weight: None,
        endpoint: Cow::default(),
        client: None,
        config_version: Cow::default(),
        method: Cow::default(),
        slot: None,
        unit: None,
        propensity: None,
        epoch: Cow::default(),
        stream: false,
        failed: false,
        latency_ms: f64::NAN,
        ttft_ms: None,
        gaps_ms: None,
        tokens: None,
        cost_picousd: None,
        retries: None,
        served_by: None,
    };
    let (mut usage, mut source, mut last_attempt) = (None, Cow::default(), None);
    let text = |value: Value<'t>| value.to_str().unwrap_or_default();
    for (name, value) in record.fields() {
        match name.to_str().as_deref() {
            Some("timestamp") => decision.at_us = value.to_str().and_then(|at| unix_us(&at)).unwrap_or(0),
            Some("ended_at") => decision.ended_us = value.to_str().and_then(|at| unix_us(&at)).unwrap_or(0),
            Some("model_group") => decision.group = text(value),
            Some("arm") => decision.arm = text(value),
            Some("target_id") => decision.target_id = text(value),
            Some("model") => decision.model = text(value),
            Some("weight") => decision.weight = value.to_f64(),
            Some("endpoint") => decision.endpoint = text(value),
            Some("client") => decision.client = value.to_str(),
            Some("config_version") => decision.config_version = text(value),
            Some("assignment") => assignment(value, &mut decision),
            Some("stream") => decision.stream = value.to_bool().unwrap_or(false),
            Some("status") => decision.failed |= value.to_u64().is_none_or(|status| status >= 400),
            Some("error") => decision.failed |= !value.is_null(),
            Some("usage") => usage = Some(value),
            Some("usage_source") => source = text(value),
            Some("latency_ms") => decision.latency_ms = value.to_f64().unwrap_or(f64::NAN),
            Some("ttft_ms") => decision.ttft_ms = value.to_f64(),
            Some("gaps") => {
                let part = |name| value.get(name).and_then(Value::to_f64);
                decision.gaps_ms = part("mean_us").zip(part("max_us")).map(|(mean, max)| (mean / 1e3, max / 1e3));
            }
            Some("cost_picousd") => decision.cost_picousd = value.to_u64(),
            Some("retry_count") => decision.retries = value.to_u64(),
            Some("attempt_list") => last_attempt = value.items().last(),
            Some(_) | None => {}
        }
    }
    if decision.group.is_empty() || decision.arm.is_empty() {
        return Read::Unassigned;
    }
    if decision.latency_ms.is_nan() || decision.at_us == 0 || decision.ended_us == 0 {
        return Read::Damaged;
    }
    decision.tokens = usage.filter(|_| !matches!(&*source, "none" | "")).map(|usage| {
        let count = |name| usage.get(name).and_then(Value::to_u64).unwrap_or(0);
        let (input, output) = (count("prompt_tokens"), count("completion_tokens"));
        Tokens { input, output, estimated: source == "estimated" }
    });
    decision.served_by = last_attempt.and_then(|attempt| {
        let differs =
            |name, assigned: &str| attempt.get(name).and_then(Value::to_str).filter(|served| served != assigned);
        differs("arm", &decision.arm).or_else(|| differs("target_id", &decision.target_id))
    });
    Read::Whole(Box::new(decision))
}

fn assignment<'t>(value: Value<'t>, decision: &mut Decision<'t>) {
    for (name, value) in value.fields() {
        match name.to_str().as_deref() {
            Some("method") => decision.method = value.to_str().unwrap_or_default(),
            Some("slot") => decision.slot = value.to_u64(),
            Some("unit_hash") => {
                decision.unit = value.to_str().and_then(|hash| u64::from_str_radix(&hash, 16).ok());
            }
            Some("propensity") => decision.propensity = value.to_f64(),
            Some("epoch") => decision.epoch = value.to_str().unwrap_or_default(),
            Some(_) | None => {}
        }
    }
}

fn config<'t>(record: Value<'t>) -> Option<Config<'t>> {
    let text = |value: Value<'t>, name| value.get(name).and_then(Value::to_str);
    let arm = |arm: Value<'t>| {
        Some(Arm {
            name: text(arm, "arm")?,
            target_id: text(arm, "target_id").unwrap_or_default(),
            model: text(arm, "model").unwrap_or_default(),
            weight: arm.get("weight").and_then(Value::to_f64)?,
            propensity: arm.get("propensity").and_then(Value::to_f64),
        })
    };
    let group = |group: Value<'t>| {
        let experiment = group.get("experiment");
        Some(Group {
            name: text(group, "name")?,
            epoch: text(group, "epoch").unwrap_or_default(),
            primary: experiment.and_then(|experiment| text(experiment, "primary")),
            margin: experiment.and_then(|experiment| experiment.get("margin")).and_then(share),
            arms: group.get("arms")?.items().map(arm).collect::<Option<_>>()?,
        })
    };
    let groups = record.get("model_groups")?.items().map(group).collect::<Option<_>>()?;
    Some(Config { version: text(record, "config_version")?, groups })
}

/// `0.05`, or `"5%"`.
fn share(value: Value<'_>) -> Option<f64> {
    match value.to_str() {
        Some(text) => text.strip_suffix('%')?.trim().parse::<f64>().ok().map(|percent| percent / 1e2),
        None => value.to_f64(),
    }
}

/// A moment as the log has it, `2026-11-22T10:36:46.123456Z`, in µs since 1970; with fewer digits or none behind the
/// point too. None for another zone than UTC.
pub fn unix_us(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let digits = |from: usize, len: usize| {
        let part = text.get(from..from + len)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i64>().ok()).flatten()
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks.iter().all(|(at, mark)| bytes.get(*at) == Some(mark)) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let fraction = text.get(19..)?.strip_suffix('Z')?;
    let micros = match fraction.strip_prefix('.') {
        Some(digits) if (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{digits:0<6}").get(..6)?.parse::<i64>().ok()?
        }
        None if fraction.is_empty() => 0,
        _ => return None,
    };
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + micros)
}

/// Days from 1970-01-01 to a date: counted from March, a leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"event_type":"decision","id":"evt_1","log_epoch":7,"seq":42,"timestamp":"2026-11-22T10:36:47.123456Z","ended_at":"2026-11-22T10:36:47.408580Z","client":"team b","endpoint":"/v1/chat/completions","model_group":"ab","arm":"b","target_id":"anthropic","model":"claude","weight":30,"assignment":{"method":"hash","slot":19,"unit_hash":"00000000000000ff","propensity":0.3,"epoch":"0123456789abcdef"},"config_version":"3-9f","stream":true,"status":200,"error":null,"usage":{"prompt_tokens":100,"completion_tokens":42},"usage_source":"provider","latency_ms":285.123,"ttft_ms":120.001,"gaps":{"n":41,"mean_us":3500.000,"p99_us":9000.000,"max_us":12000.000},"attempts":2,"attempt_list":[{"target_id":"anthropic"},{"target_id":"spare"}],"cost_picousd":123456789,"retry_count":1,"core":1}"#;

    fn read(line: &str) -> Record<'_> {
        Record::read(line.as_bytes(), &mut Scratch::default())
    }

    #[track_caller]
    fn read_decision(line: &str) -> Decision<'_> {
        match read(line) {
            Record::Decision(decision) => *decision,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_is_read_whole() {
        let decision = read_decision(LINE);
        assert_eq!((decision.log_epoch, decision.seq), (7, 42));
        assert_eq!(decision.ended_us - decision.at_us, 285_124);
        assert_eq!((&*decision.group, &*decision.arm, &*decision.method), ("ab", "b", "hash"));
        assert_eq!((decision.slot, decision.unit, decision.propensity), (Some(19), Some(255), Some(0.3)));
        assert!(decision.stream && !decision.failed);
        assert_eq!((decision.latency_ms, decision.ttft_ms), (285.123, Some(120.001)));
        assert_eq!(decision.gaps_ms, Some((3.5, 12.0)));
        assert_eq!(decision.tokens, Some(Tokens { input: 100, output: 42, estimated: false }));
        assert_eq!((decision.cost_picousd, decision.retries), (Some(123_456_789), Some(1)));
        assert_eq!(decision.served_by.as_deref(), Some("spare"));
    }

    #[test]
    fn what_a_line_does_not_have_is_unknown() {
        let line = LINE
            .replace(r#","cost_picousd":123456789,"retry_count":1"#, "")
            .replace(r#""attempt_list":[{"target_id":"anthropic"},{"target_id":"spare"}],"#, "")
            .replace("provider\",\"latency", "none\",\"latency")
            .replace(r#""unit_hash":"00000000000000ff","#, r#""unit_hash":null,"#);
        let decision = read_decision(&line);
        assert_eq!((decision.cost_picousd, decision.retries, decision.unit), (None, None, None));
        assert_eq!((decision.tokens, decision.served_by), (None, None));
    }

    #[test]
    fn a_failure_is_a_status_or_an_error() {
        let status = LINE.replace("\"status\":200", "\"status\":499");
        assert!(read_decision(&status).failed);
        let torn = LINE.replace("\"error\":null", "\"error\":{\"side\":\"upstream\"}");
        assert!(read_decision(&torn).failed);
    }

    #[test]
    fn what_is_no_assigned_decision_is_told_apart() {
        let place = Place { log_epoch: 7, seq: 42 };
        let unassigned = LINE.replace("\"arm\":\"b\"", "\"arm\":null");
        assert_eq!(read(&unassigned), Record::Unassigned(place));
        assert_eq!(read(r#"{"event_type":"gap","log_epoch":7,"seq":42,"count":3}"#), Record::Missing(place, 3));
        assert_eq!(read(r#"{"event_type":"lost","log_epoch":7,"seq":42,"count":5}"#), Record::Missing(place, 5));
        assert_eq!(read(r#"{"event_type":"clock","log_epoch":7,"seq":42}"#), Record::Other(place));
        for damaged in ["", "{}", "{\"event_type\":\"decision\"", &LINE.replace("285.123", "null")] {
            assert_eq!(read(damaged), Record::Damaged, "{damaged}");
        }
    }

    #[test]
    fn a_config_says_what_the_experiment_is() {
        let line = r#"{"event_type":"config","log_epoch":1,"seq":1,"config_version":"1-9f","model_groups":[
            {"name":"ab","epoch":"e1","experiment":{"primary":"ttft:p50","margin":"2.5%"},"arms":[
            {"arm":"a","target_id":"t","model":"m","weight":70,"propensity":0.7}]},{"name":"old","arms":[]}]}"#;
        let Record::Config(_, config) = read(line) else { panic!("not a config") };
        let group = &config.groups[0];
        assert_eq!((group.primary.as_deref(), group.margin), (Some("ttft:p50"), Some(0.025)));
        assert_eq!((&*group.arms[0].name, group.arms[0].weight), ("a", 70.0));
        assert_eq!((config.groups[1].primary.as_deref(), config.groups[1].margin), (None, None));
    }

    #[test]
    fn moments_are_counted_from_1970() {
        // Checked against `date -u -d TIME +%s`.
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00.000000Z", Some(951_782_400)),
            ("2026-11-22T10:36:46.000000Z", Some(1_795_343_806)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("2026-11-22T10:36:46", None),
            ("2026-11-22T10:36:46+01:00", None),
            ("2026-13-22T10:36:46Z", None),
            ("2026-11-22 10:36:46Z", None),
            ("é026-11-22T10:36:46Z", None),
            ("", None),
        ] {
            assert_eq!(unix_us(text), seconds.map(|seconds: i64| seconds * 1_000_000), "{text}");
        }
        assert_eq!(unix_us("1970-01-01T00:00:00.25Z"), Some(250_000));
        assert_eq!(unix_us("1970-01-01T00:00:00.1234567Z"), Some(123_456));
    }
}
