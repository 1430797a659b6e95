//! What makes a group an experiment: `assign_by`, `experiment`.

use super::walk::{At, Shape, Walk};
use crate::config::complaint::{Code, quote};
use crate::config::plan::{Experiment, Strategy, UnitSource};
use crate::config::tree::Value;
use crate::limits::{UNIT_PATH_MAX, UNIT_SOURCES_MAX};
use crate::stats::measure::Measure;

const UNIT_SOURCE: Shape<'_> = Shape { keys: &["header", "body", "client"], later: &[] };
const EXPERIMENT: Shape<'_> = Shape { keys: &["primary", "margin"], later: &[] };

/// Fields that show a key. A unit is no secret; whoever wants to assign by who asks has `client`.
const KEY_FIELDS: &[&str] = &["authorization", "proxy-authorization", "x-api-key", "cookie"];
const UNIT_ADVICE: &str = "write header: NAME, body: KEY or client: true";

impl Walk<'_> {
    /// One source or a list of them.
    pub(super) fn assign_by(&mut self, at: &At<'_, '_>) -> Option<Box<[UnitSource]>> {
        if let Value::Map(_) = at.node.value {
            return Some([self.unit_source(at)?].into());
        }
        let items = self.list(at)?;
        if items.is_empty() {
            self.say(Code::EmptyList, at, "names nothing to assign by").suggestion =
                Some("leave it out, and each request is drawn for itself".to_owned());
        }
        if items.len() > UNIT_SOURCES_MAX {
            self.say(Code::OutOfRange, at, format!("has {} entries; at most {UNIT_SOURCES_MAX} fit", items.len()));
            return None;
        }
        let sources: Vec<Option<UnitSource>> = items.iter().map(|item| self.unit_source(&at.item(item))).collect();
        sources.into_iter().collect()
    }

    fn unit_source(&mut self, at: &At<'_, '_>) -> Option<UnitSource> {
        let complaints = self.complaints.len();
        if !self.is_map(at, &UNIT_SOURCE) {
            return None;
        }
        match (at.get("header"), at.get("body"), at.get("client")) {
            (Some(header), None, None) => self.unit_header(&header),
            (None, Some(body), None) => self.unit_path(&body),
            (None, None, Some(client)) => {
                let is_true = matches!(client.node.value, Value::Bool) && self.written(&client) == "true";
                if !is_true {
                    self.say(Code::UnknownWord, &client, "can only be true").suggestion =
                        Some("leave it out where the client doesn't matter".to_owned());
                }
                is_true.then_some(UnitSource::Client)
            }
            // A wrong key has been complained of.
            (None, None, None) if self.complaints.len() > complaints => None,
            _ => {
                self.say(Code::WrongType, at, "needs exactly one of \"header\", \"body\" and \"client\"").suggestion =
                    Some(UNIT_ADVICE.to_owned());
                None
            }
        }
    }

    fn unit_header(&mut self, at: &At<'_, '_>) -> Option<UnitSource> {
        let name = self.name(at)?.to_ascii_lowercase();
        if !is_field_name(&name) {
            self.say(Code::BadName, at, format!("{} is not the name of a header field", quote(&name)));
            return None;
        }
        if KEY_FIELDS.contains(&name.as_str()) {
            self.say(Code::BadName, at, "holds a credential, which is no unit").suggestion =
                Some("write client: true to assign by who asks".to_owned());
            return None;
        }
        Some(UnitSource::Header(name.into()))
    }

    /// `metadata.user_id` is the `user_id` in `metadata`.
    fn unit_path(&mut self, at: &At<'_, '_>) -> Option<UnitSource> {
        let text = self.free_name(at)?;
        let path: Box<[Box<str>]> = text.split('.').map(Into::into).collect();
        if path.len() > UNIT_PATH_MAX || path.iter().any(|key| key.is_empty()) {
            let message = format!("{} is not a path of 1 to {UNIT_PATH_MAX} keys", quote(text));
            self.say(Code::BadName, at, message).suggestion = Some("write e.g. user, or metadata.user_id".to_owned());
            return None;
        }
        Some(UnitSource::Body(path))
    }

    pub(super) fn experiment(&mut self, at: &At<'_, '_>) -> Option<Experiment> {
        if !self.is_map(at, &EXPERIMENT) {
            return None;
        }
        let primary = at.get("primary").map_or(Some(Measure::DEFAULT), |at| self.measure(&at));
        let margin_bp = at.get("margin").map(|at| self.percent(&at));
        let primary = primary?;
        // Half a basis point at most is lost, and the defaults are whole ones.
        let usual = (primary.default_margin() * 1e4).round() as u32;
        Some(Experiment { primary, margin_bp: margin_bp.unwrap_or(Some(usual))? })
    }

    /// Any measure that `compare` knows, other percentiles than those it always shows included.
    fn measure(&mut self, at: &At<'_, '_>) -> Option<Measure> {
        let text = self.text(at)?;
        if let Ok(measure) = text.parse() {
            return Some(measure);
        }
        let known = Measure::ALL.map(|measure| measure.to_string());
        let guess = self.guess(text, known.iter().map(String::as_str));
        let complaint = self.say(Code::UnknownWord, at, format!("unknown measure {}", quote(text)));
        complaint.suggestion = guess.or_else(|| Some(format!("it can be {}", known.join(", "))));
        None
    }

    /// A percentage, as basis points: `5%`, `2.5%`; 0.01 % to 100 %.
    fn percent(&mut self, at: &At<'_, '_>) -> Option<u32> {
        const ADVICE: &str = "write e.g. 5% or 2.5%";
        let Value::Text(text) = &at.node.value else {
            self.wrong_type(at, "a percentage").suggestion = Some(ADVICE.to_owned());
            return None;
        };
        let basis_points = text.strip_suffix('%').and_then(|number| basis_points(number.trim_end()));
        match basis_points {
            Some(bp @ 1..=10_000) => Some(bp),
            Some(_) => {
                self.say(Code::OutOfRange, at, format!("must be 0.01% to 100%, not {}", quote(text)));
                None
            }
            None => {
                let message = format!("{} is not a percentage with at most two decimals", quote(text));
                self.say(Code::UnknownWord, at, message).suggestion = Some(ADVICE.to_owned());
                None
            }
        }
    }

    /// Says what a strategy that leaves nothing to chance makes meaningless.
    pub(super) fn randomised(&mut self, group: &At<'_, '_>, strategy: Strategy) {
        let word = strategy.as_str();
        match strategy {
            Strategy::Weighted => {}
            Strategy::RoundRobin | Strategy::LeastLatency => {
                for key in ["assign_by", "salt"] {
                    if let Some(at) = group.get(key) {
                        let message = format!("{word} assigns no units");
                        self.push(Code::NotRandomised, at.head(), at.path(), message).suggestion =
                            Some("leave it out, or write strategy: weighted".to_owned());
                    }
                }
                if let Some(at) = group.get("experiment") {
                    let message = format!("{word} draws nothing by chance, so there can be no verdict");
                    self.push(Code::NoVerdict, at.head(), at.path(), message).suggestion =
                        Some("write strategy: weighted to experiment".to_owned());
                }
            }
        }
    }
}

/// What RFC 9110 section 5.1 calls a field's name.
fn is_field_name(name: &str) -> bool {
    http::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

fn basis_points(number: &str) -> Option<u32> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(decimals) || decimals.len() > 2 || whole.len() > 6 {
        return None;
    }
    Some(whole.parse::<u32>().ok()? * 100 + format!("{decimals:0<2}").parse::<u32>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::basis_points;

    #[test]
    fn percentages_are_read_exactly() {
        let cases = [
            ("5", Some(500)),
            ("2.5", Some(250)),
            ("0.01", Some(1)),
            ("100", Some(10_000)),
            ("0", Some(0)),
            ("1.234", None),
            ("", None),
            ("1.", None),
            (".5", None),
            ("-1", None),
            ("1e1", None),
            ("99999999999", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(basis_points(text), wanted, "{text:?}");
        }
    }
}
