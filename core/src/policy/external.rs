//! A strong model that somebody else runs, asked as `POST /v1/moderations`: what it is asked, and what its answer means.
//!
//! The language is OpenAI's (platform.openai.com/docs/api-reference/moderations, read 2026-11-25), which others speak
//! too. Who asks, and when, is no business of this file.

use super::category::{Category, Severity, Threshold};
use super::content::{Finding, Findings};
use super::text::{each_string, is_encoded, is_said};
use crate::json::{Scratch, Span, Value, escape_into, scan};
use crate::limits::{MODERATION_BYTES_MAX, MODERATION_PIECE_BYTES};

/// What a policy of type `external_moderation` asks, and what counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Whom it asks, as an index into the plan's targets.
    pub target: usize,
    /// The model it asks for.
    pub model: Box<str>,
    /// Which of the answer's categories count; at least one.
    pub categories: Box<[Category]>,
    /// How severe.
    pub threshold: Threshold,
    /// How long an answer may take, connecting included.
    pub timeout_ms: u64,
}

/// Where it is asked, behind the target's `base_url`.
pub const PATH: &str = "/v1/moderations";
/// The model that is asked for where the config names none.
pub const USUAL_MODEL: &str = "omni-moderation-latest";
/// How long an answer may take where the config doesn't say: OpenAI's takes some tenths of a second.
pub const USUAL_TIMEOUT_MS: u64 = 2_000;
/// Longest timeout.
pub const TIMEOUT_MS_MAX: u64 = 60_000;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its body.
    pub body: Vec<u8>,
    /// How many texts it holds, each of which gets a result.
    pub texts: usize,
}

/// What the answer's categories are here, by how their names begin. Those that aren't listed (illicit goods, say) are
/// none of ours.
const NAMES: [(&str, Category); 8] = [
    ("hate", Category::Hate),
    ("harassment", Category::Harassment),
    ("violence", Category::Violence),
    ("illicit/violent", Category::Violence),
    ("illicit_violent", Category::Violence),
    ("self-harm", Category::SelfHarm),
    ("self_harm", Category::SelfHarm),
    ("sexual", Category::Sexual),
];

impl External {
    /// Asks about every text at or beneath `value`, which lies in `body` and was checked. None if it is more than may be
    /// asked at once.
    ///
    /// Texts stand together up to a bound, so that what is cut into parts is judged as one; beyond it, each stretch is
    /// judged for itself.
    pub fn question(&self, body: &[u8], value: Value<'_>) -> Option<Question> {
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        let mut total = 0;
        let said = each_string(body, value).filter(|(name, inside)| is_said(name, inside) && !is_encoded(inside));
        for (_, text) in said {
            total += text.len();
            if total > MODERATION_BYTES_MAX {
                return None;
            }
            for stretch in stretches(text) {
                match pieces.last_mut() {
                    Some(piece) if piece.len() + stretch.len() < MODERATION_PIECE_BYTES => {
                        piece.extend_from_slice(b"\\n\\n");
                        piece.extend_from_slice(stretch);
                    }
                    Some(_) | None => pieces.push(stretch.to_vec()),
                }
            }
        }
        let mut out = Vec::with_capacity(total + 128);
        out.extend_from_slice(b"{\"model\":");
        escape_into(&mut out, &self.model);
        out.extend_from_slice(b",\"input\":");
        let texts = pieces.len().max(1);
        match pieces.as_slice() {
            [] => out.extend_from_slice(b"\"\""),
            [piece] => push_text(&mut out, piece),
            several => {
                for (nth, piece) in several.iter().enumerate() {
                    out.push(if nth == 0 { b'[' } else { b',' });
                    push_text(&mut out, piece);
                }
                out.push(b']');
            }
        }
        out.push(b'}');
        Some(Question { body: out, texts })
    }
}

/// What an answer to a question of so many `texts` says: of each category the worst. None if it is no such answer.
pub fn read(answer: &[u8], texts: usize) -> Option<Findings> {
    scan(answer, &mut Scratch::default()).ok()?;
    let results = Value::at(answer, Span::new(0, answer.len())).get("results")?;
    let mut findings = Findings::default();
    let mut count = 0;
    for result in results.items() {
        count += 1;
        let (scores, said) = (result.get("category_scores"), result.get("categories"));
        if scores.is_none() && said.is_none() {
            return None;
        }
        for (name, category) in NAMES {
            let is_meant = |field: &str| field.starts_with(name);
            let score = of_names(scores, &is_meant, Value::to_f64).fold(0.0, f64::max);
            // It may count as bad what our bands wouldn't, and then it is at least `medium`.
            let is_bad = of_names(said, &is_meant, Value::to_bool).any(|is_bad| is_bad);
            // From 0 to 1.
            let score = (score as f32).clamp(if is_bad { Severity::Medium.least_score() } else { 0.0 }, 1.0);
            let finding = &mut findings[category as usize];
            if score > finding.score {
                *finding = Finding { score, severity: Severity::of(score), by_term: false };
            }
        }
    }
    // A text without a result has not been judged.
    (count >= texts).then_some(findings)
}

/// The values of those fields of an object whose names are meant, as far as they are what is read.
fn of_names<'t, T>(
    object: Option<Value<'t>>,
    is_meant: &impl Fn(&str) -> bool,
    read: fn(Value<'t>) -> Option<T>,
) -> impl Iterator<Item = T> {
    let fields = object.into_iter().flat_map(Value::fields);
    fields
        .filter(move |(name, _)| name.to_str().is_some_and(|name| is_meant(&name)))
        .filter_map(move |(_, value)| read(value))
}

fn push_text(out: &mut Vec<u8>, inside: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(inside);
    out.push(b'"');
}

/// Cuts a long text, as it stands between its quotes, at spaces: those are part of no escape and no character.
fn stretches(mut inside: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if inside.is_empty() {
            return None;
        }
        let end = match inside.len() > MODERATION_PIECE_BYTES {
            true => memchr::memrchr(b' ', &inside[..MODERATION_PIECE_BYTES])
                .or_else(|| memchr::memchr(b' ', inside))
                .map_or(inside.len(), |space| space + 1),
            false => inside.len(),
        };
        let stretch;
        (stretch, inside) = inside.split_at(end);
        Some(stretch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: &str) -> Option<Question> {
        let external = External {
            target: 0,
            model: "a \"model\"".into(),
            categories: Category::ALL.into(),
            threshold: Threshold::Medium,
            timeout_ms: 1,
        };
        external.question(body.as_bytes(), Value::at(body.as_bytes(), Span::new(0, body.len())))
    }

    #[test]
    fn a_question_holds_every_text_and_no_structure() {
        let body = r#"{"model":"m","messages":[{"role":"system","content":"Be \u006bind."},
            {"role":"user","content":[{"type":"text","text":"Hello \"you\""},{"type":"image_url","url":"data:image/png;base64,AAAA"}]}]}"#;
        let question = asked(body).unwrap();
        let wanted = r#"{"model":"a \"model\"","input":"Be \u006bind.\n\nHello \"you\""}"#;
        assert_eq!((String::from_utf8(question.body).unwrap().as_str(), question.texts), (wanted, 1));
        let nothing = asked("{}").unwrap();
        assert_eq!(nothing.body, br#"{"model":"a \"model\"","input":""}"#);
    }

    #[test]
    fn a_long_text_is_asked_about_in_stretches_and_one_beyond_the_bound_not_at_all() {
        let words = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "word é\\n".repeat(bytes / 9));
        let question = asked(&words(3 * MODERATION_PIECE_BYTES)).unwrap();
        assert!(scan(&question.body, &mut Scratch::default()).is_ok());
        let value = Value::at(&question.body, Span::new(0, question.body.len()));
        let inputs: Vec<_> = value.get("input").unwrap().items().collect();
        assert_eq!(inputs.len(), question.texts);
        assert!((3..=5).contains(&inputs.len()), "{}", inputs.len());
        assert!(inputs.iter().all(|input| input.span().len() <= MODERATION_PIECE_BYTES + 2));
        assert_eq!(asked(&words(MODERATION_BYTES_MAX + 100)), None);
        // Nowhere to cut it.
        let one_word = format!(r#"{{"a":"{}"}}"#, "x-".repeat(MODERATION_PIECE_BYTES));
        assert_eq!(asked(&one_word).unwrap().texts, 1);
    }

    #[test]
    fn the_worst_of_each_category_counts() {
        let answer = br#"{"id":"modr-1","model":"m","results":[
            {"flagged":true,"categories":{"hate":false,"violence/graphic":true,"illicit":true},
             "category_scores":{"hate":0.3,"hate/threatening":0.6,"violence":0.1,"illicit":1.0,"self-harm/intent":0.9}},
            {"flagged":true,"category_scores":{"hate":0.2,"sexual/minors":1e0,"illicit/violent":0.2}}]}"#;
        let findings = read(answer, 2).unwrap();
        let said = Category::ALL.map(|category| findings[category as usize].severity);
        assert_eq!(said, [Severity::Medium, Severity::None, Severity::Medium, Severity::High, Severity::High]);
    }

    #[test]
    fn what_is_no_answer_says_nothing() {
        for (answer, texts) in [
            ("", 1),
            ("oops", 1),
            ("{}", 1),
            (r#"{"results":[]}"#, 1),
            (r#"{"results":{}}"#, 1),
            (r#"{"results":[{"flagged":true}]}"#, 1),
            (r#"{"error":{"message":"no"}}"#, 1),
            (r#"{"results":[{"categories":{}}]}"#, 2),
        ] {
            assert_eq!(read(answer.as_bytes(), texts), None, "{answer}");
        }
    }
}
