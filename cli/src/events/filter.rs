//! Which decisions are wanted: by what they say, and by when they ended.

use clap::Args;
use kt_core::event::{is_decision, parse_rfc3339};
use kt_core::json::{Object, Scratch, Value, scan};

/// What a decision has to say to be wanted. Of several, all.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Filter {
    /// Only decisions whose arm has this configured model.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Only decisions of this model group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// Only decisions that drew this arm.
    #[arg(long, value_name = "NAME")]
    arm: Option<String>,

    /// Only decisions that went to this target.
    #[arg(long, value_name = "ID")]
    target: Option<String>,

    /// Only decisions with this status, as 503 or 5xx.
    #[arg(long, value_name = "STATUS", value_parser = Status::parse)]
    status: Option<Status>,

    /// Only decisions with this verdict: allow, flag, block or redact.
    #[arg(long, value_name = "VERDICT")]
    verdict: Option<String>,

    /// Only decisions on which this policy flagged, changed or refused something.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,

    /// Only decisions of this client.
    #[arg(long, value_name = "NAME")]
    client: Option<String>,

    /// Only decisions in which something went wrong.
    #[arg(long)]
    errors: bool,
}

/// From when to when. Decisions count by when they ended.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Window {
    /// Only what ended at this time or later: an age, as 30s, 5m, 1h or 7d, or a moment, as 2026-11-22T10:36:46Z.
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    since: Option<Time>,

    /// Only what ended before this time.
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    until: Option<Time>,
}

/// `--status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    One(u64),
    /// All of a hundred.
    Class(u64),
}

/// `--since` and `--until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    /// Seconds ago.
    Ago(u64),
    /// ns since 1970.
    At(u64),
}

/// A filter and a window, ready to be held against lines.
pub(crate) struct Sieve {
    filter: Filter,
    until_ns: Option<u64>,
    scratch: Scratch,
}

impl Status {
    fn parse(text: &str) -> Result<Self, String> {
        let number = match text.strip_suffix("xx") {
            Some(class) => class.parse().map(Self::Class),
            None => text.parse().map(Self::One),
        };
        number.map_err(|_| "give a status, as 503, or a class of them, as 5xx".to_owned())
    }

    fn is(self, status: u64) -> bool {
        match self {
            Self::One(one) => status == one,
            Self::Class(class) => status / 100 == class,
        }
    }
}

impl Time {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(at) = parse_rfc3339(text) {
            return Ok(Self::At(at));
        }
        let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
        let ago = units.into_iter().find_map(|(unit, seconds)| {
            let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
            count.checked_mul(seconds)
        });
        ago.map(Self::Ago)
            .ok_or_else(|| "give an age, as 30s, 5m, 1h or 7d, or a moment, as 2026-11-22T10:36:46Z".to_owned())
    }

    fn unix_ns(self, now_ns: u64) -> u64 {
        match self {
            Self::Ago(seconds) => now_ns.saturating_sub(seconds.saturating_mul(1_000_000_000)),
            Self::At(at_ns) => at_ns,
        }
    }
}

impl Filter {
    /// Whether everything is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { model, group, arm, target, status, verdict, policy, client, errors } = self;
        let names = [model, group, arm, target, verdict, policy, client];
        names.iter().all(|name| name.is_none()) && status.is_none() && !errors
    }

    fn wants(&self, decision: &Object<'_, '_>) -> bool {
        let says = |name: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| decision.get(name).is_some_and(|value| value.is(wanted)))
        };
        let status = || decision.get("status").and_then(Value::to_u64).unwrap_or(0);
        says("model", &self.model)
            && says("model_group", &self.group)
            && says("arm", &self.arm)
            && says("target_id", &self.target)
            && says("verdict", &self.verdict)
            && says("client", &self.client)
            && self.status.is_none_or(|wanted| wanted.is(status()))
            && (!self.errors || decision.get("error").is_some_and(|error| !error.is_null()) || status() >= 400)
            && self.policy.as_ref().is_none_or(|name| decision.get("policies").is_some_and(|all| has_acted(all, name)))
    }
}

/// Whether the policy of this name had anything to say.
fn has_acted(policies: Value<'_>, name: &str) -> bool {
    policies.items().any(|policy| {
        let is = |field, text| policy.get(field).is_some_and(|value: Value<'_>| value.is(text));
        is("name", name) && (!is("result", "pass") || policy.get("flagged").and_then(Value::to_bool) == Some(true))
    })
}

impl Window {
    /// Where it begins, ns since 1970; none if it doesn't say.
    pub(crate) fn since_ns(&self, now_ns: u64) -> Option<u64> {
        self.since.map(|since| since.unix_ns(now_ns))
    }

    /// Where it ends, likewise.
    pub(crate) fn until_ns(&self, now_ns: u64) -> Option<u64> {
        self.until.map(|until| until.unix_ns(now_ns))
    }
}

impl Sieve {
    pub(crate) fn new(filter: Filter, until_ns: Option<u64>) -> Self {
        Self { filter, until_ns, scratch: Scratch::default() }
    }

    /// Whether everything is wanted.
    pub(crate) fn is_open(&self) -> bool {
        self.filter.is_empty() && self.until_ns.is_none()
    }

    /// Whether a line of the log is wanted. The log's own records are, unless they are too late.
    pub(crate) fn wants(&mut self, line: &[u8]) -> bool {
        if self.is_open() {
            return true;
        }
        let is_decision = is_decision(line);
        // A damaged line is for who reads it to complain of.
        let Ok(record) = scan(line, &mut self.scratch) else { return true };
        let moment = if is_decision { "ended_at" } else { "timestamp" };
        let ended_ns = record.get(moment).and_then(Value::to_str).and_then(|text| parse_rfc3339(&text));
        let in_time = self.until_ns.is_none_or(|until_ns| ended_ns.is_none_or(|ended_ns| ended_ns < until_ns));
        in_time && (!is_decision || self.filter.wants(&record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"event_type":"decision","ended_at":"2026-11-22T10:36:47.000000Z","model":"gpt-4o","model_group":"ab","arm":"a","target_id":"openai","client":null,"status":503,"error":{"side":"gateway"},"verdict":"flag","policies":[{"name":"calm","result":"pass","flagged":false},{"name":"strict","result":"pass","flagged":true}]}"#;

    #[test]
    fn a_decision_is_wanted_if_it_says_all_that_is_asked_for() {
        let text = |text: &str| Some(text.to_owned());
        for (filter, wanted) in [
            (Filter::default(), true),
            (
                Filter {
                    model: text("gpt-4o"),
                    group: text("ab"),
                    arm: text("a"),
                    target: text("openai"),
                    ..Filter::default()
                },
                true,
            ),
            (Filter { model: text("gpt-4o"), group: text("cd"), ..Filter::default() }, false),
            (Filter { client: text("null"), ..Filter::default() }, false),
            (Filter { status: Some(Status::One(503)), ..Filter::default() }, true),
            (Filter { status: Some(Status::Class(5)), errors: true, ..Filter::default() }, true),
            (Filter { status: Some(Status::Class(4)), ..Filter::default() }, false),
            (Filter { verdict: text("flag"), policy: text("strict"), ..Filter::default() }, true),
            (Filter { policy: text("calm"), ..Filter::default() }, false),
        ] {
            assert_eq!(Sieve::new(filter.clone(), None).wants(LINE.as_bytes()), wanted, "{filter:?}");
        }
    }

    #[test]
    fn what_ended_at_the_windows_end_is_outside() {
        let end = parse_rfc3339("2026-11-22T10:36:47Z").unwrap();
        for (until_ns, wanted) in [(end, false), (end + 1, true)] {
            assert_eq!(Sieve::new(Filter::default(), Some(until_ns)).wants(LINE.as_bytes()), wanted);
        }
    }

    #[test]
    fn times_are_ages_or_moments() {
        for (text, expected) in [
            ("5m", Some(Time::Ago(300))),
            ("1h", Some(Time::Ago(3_600))),
            ("24h", Some(Time::Ago(86_400))),
            ("7d", Some(Time::Ago(604_800))),
            ("1970-01-01T00:00:01Z", Some(Time::At(1_000_000_000))),
            ("5", None),
            ("-5m", None),
            ("99999999999999999999d", None),
            ("yesterday", None),
        ] {
            assert_eq!(Time::parse(text).ok(), expected, "{text}");
        }
        assert_eq!(Time::Ago(1).unix_ns(5_000_000_000), 4_000_000_000);
    }
}
