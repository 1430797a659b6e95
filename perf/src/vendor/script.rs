//! What a vendor will answer and when: drawn before it begins, from a seed and from what was asked. No clock, no socket.
//!
//! The n-th request to a vendor gets the n-th draw, whatever else is under way: the same questions in the same order get
//! the same answers.

use std::time::Duration;

use fastrand::Rng;
use kt_core::json::{Kind, Scratch, Value, scan};

use super::Settings;

/// A log-normal distribution: what waiting times and lengths of answers look like. Most lie near the median, a few far
/// above it, none below zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogNormal {
    /// Half of what is drawn lies below it.
    pub median: f64,
    /// Standard deviation of the logarithm; with 0.35, one draw in twenty is above 1.8 times the median.
    pub sigma: f64,
}

impl LogNormal {
    /// Draws one, by the Box-Muller transform.
    pub fn draw(self, dice: &mut Rng) -> f64 {
        let (radius, angle) = ((-2.0 * (1.0 - dice.f64()).ln()).sqrt(), std::f64::consts::TAU * dice.f64());
        self.median * (self.sigma * radius * angle.cos()).exp()
    }
}

/// What a request asks for, as far as it matters to the answer. The same for both dialects, which have these fields in
/// common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) model: String,
    pub(super) stream: bool,
    /// `stream_options.include_usage`.
    pub(super) usage_chunk: bool,
    pub(super) tokens_max: Option<u64>,
    pub(super) prompt_tokens: u64,
}

/// What can't be answered, each in the vendor's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is nothing at this path.
    NoSuchPath,
    /// No key, or another than the vendor's.
    WrongKey,
    /// A field of the head or of the body is missing or wrong.
    Missing(&'static str),
    /// The body is not a JSON object.
    NotJson,
    /// Too many requests; drawn by chance.
    RateLimited,
    /// The vendor itself has failed; drawn by chance.
    Broken,
}

/// One answer, all of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Script {
    /// Letters and digits for ids.
    pub(super) token: String,
    pub(super) prompt_tokens: u64,
    /// The text, a token a piece.
    pub(super) pieces: Vec<&'static str>,
    /// Whether `tokens_max` cut it short.
    pub(super) cut: bool,
    /// From the request to the head of a streamed answer, and to its opening events.
    pub(super) opening: Duration,
    /// From the request to the first piece.
    pub(super) first_piece: Duration,
    /// From one piece to the next.
    pub(super) gap: Duration,
}

/// Seconds since 1970 from which made-up times count, so that answers don't depend on when they are given.
pub(super) const CREATED: u64 = 1_755_097_541;

const TOKEN_LEN: usize = 24;
/// Bytes of text per token: what English has in both vendors' counters, about.
const BYTES_PER_TOKEN: u64 = 4;
/// What a message costs beside its text.
const MESSAGE_TOKENS: u64 = 4;

const WORDS: [&str; 32] = [
    " the", " a", " of", " and", " to", " in", " that", " it", " is", " was", " for", " on", " with", " as", " light",
    " water", " city", " river", " answer", " small", " bright", " slowly", " between", " every", " morning", " stone",
    " wind", " never", " quite", " turns", " keeps", ",",
];

impl Wish {
    /// What is assumed of whoever is answered from what was written beforehand.
    pub(super) fn printed(model: &str) -> Self {
        Self { model: model.to_owned(), stream: true, usage_chunk: false, tokens_max: None, prompt_tokens: 256 }
    }

    /// Reads the fields that both dialects have.
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut scratch = Scratch::default();
        let body = scan(body, &mut scratch).map_err(|_| Refusal::NotJson)?;
        let model = body.get("model").and_then(Value::to_str).ok_or(Refusal::Missing("model"))?;
        let messages = body.get("messages").filter(|messages| messages.kind() == Kind::Array);
        let messages = messages.ok_or(Refusal::Missing("messages"))?;
        let system = body.get("system").map_or(0, text_bytes);
        let (mut count, mut bytes) = (0, system);
        for message in messages.items() {
            count += 1;
            bytes += message.get("content").map_or(0, text_bytes);
        }
        if count == 0 {
            return Err(Refusal::Missing("messages"));
        }
        Ok(Self {
            model: model.into_owned(),
            stream: body.get("stream").and_then(Value::to_bool).unwrap_or(false),
            usage_chunk: body.value().path(&["stream_options", "include_usage"]).and_then(Value::to_bool) == Some(true),
            tokens_max: ["max_completion_tokens", "max_tokens"].iter().find_map(|name| body.get(name)?.to_u64()),
            prompt_tokens: bytes.div_ceil(BYTES_PER_TOKEN) + MESSAGE_TOKENS * count,
        })
    }
}

/// Length of a text, be it a string or a list of parts.
fn text_bytes(content: Value<'_>) -> u64 {
    let len = |text: Value<'_>| text.to_str().map_or(0, |text| text.len() as u64);
    len(content) + content.items().filter_map(|part| part.get("text")).map(len).sum::<u64>()
}

impl Script {
    /// An answer of these pieces, as long in coming as whoever sends it decides.
    pub(super) fn printed(token: &str, pieces: impl Iterator<Item = &'static str>) -> Self {
        let at_once = Duration::ZERO;
        let (opening, first_piece, gap) = (at_once, at_once, at_once);
        let pieces = pieces.collect();
        Self { token: token.to_owned(), prompt_tokens: 256, pieces, cut: false, opening, first_piece, gap }
    }

    /// Draws the answer to the vendor's `nth` request.
    ///
    /// # Errors
    ///
    /// [`Refusal::RateLimited`] or [`Refusal::Broken`], at the settings' rate.
    pub(super) fn draw(settings: &Settings, nth: u64, wish: &Wish) -> Result<Self, Refusal> {
        let mut dice = dice(settings.seed, nth);
        let token = std::iter::repeat_with(|| dice.alphanumeric()).take(TOKEN_LEN).collect();
        let first_piece = Duration::from_secs_f64(settings.first_token_ms.draw(&mut dice) / 1e3);
        let wanted = settings.answer_tokens.draw(&mut dice).round().max(1.0) as u64;
        let (fails, how) = (dice.f64() < settings.error_rate, dice.bool());
        if fails {
            return Err(if how { Refusal::RateLimited } else { Refusal::Broken });
        }
        let tokens = wish.tokens_max.map_or(wanted, |most| most.max(1).min(wanted));
        Ok(Self {
            token,
            prompt_tokens: wish.prompt_tokens,
            pieces: (0..tokens).map(|_| WORDS[dice.usize(..WORDS.len())]).collect(),
            cut: tokens < wanted,
            opening: first_piece / 2,
            first_piece,
            gap: Duration::from_secs_f64(settings.token_gap_ms / 1e3),
        })
    }

    /// When piece `nth` is to go out, counted from the request: an absolute schedule, so that a late piece delays none
    /// behind it.
    pub(super) fn due(&self, nth: usize) -> Duration {
        self.first_piece + self.gap * u32::try_from(nth).unwrap_or(u32::MAX)
    }

    /// How many pieces are to have gone out `elapsed` after the request.
    pub(super) fn pieces_due(&self, elapsed: Duration) -> usize {
        let all = self.pieces.len();
        match elapsed.checked_sub(self.first_piece) {
            None => 0,
            Some(_) if self.gap.is_zero() => all,
            Some(since) => usize::try_from(since.as_nanos() / self.gap.as_nanos()).map_or(all, |n| (n + 1).min(all)),
        }
    }

    /// When the last piece is to go out, counted from the request.
    pub(super) fn end(&self) -> Duration {
        self.due(self.pieces.len().saturating_sub(1))
    }

    pub(super) fn answer_tokens(&self) -> u64 {
        self.pieces.len() as u64
    }

    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// Neighbouring seeds give sequences that have nothing to do with each other (the step is 2⁶⁴ over the golden ratio).
fn dice(seed: u64, nth: u64) -> Rng {
    Rng::with_seed(Rng::with_seed(seed).u64(..) ^ nth.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(body: &str) -> Result<Wish, Refusal> {
        Wish::read(body.as_bytes())
    }

    fn any_wish() -> Wish {
        wish(r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#).unwrap()
    }

    #[test]
    fn the_same_seed_draws_the_same_answers_and_another_seed_others() {
        let draw = |seed| -> Vec<_> {
            (0..50).map(|nth| Script::draw(&Settings::openai(seed), nth, &any_wish()).unwrap()).collect()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let drawn = draw(7);
        assert!(drawn.windows(2).all(|pair| pair[0].token != pair[1].token && pair[0].pieces != pair[1].pieces));
    }

    #[test]
    fn what_is_drawn_is_log_normal() {
        let mut dice = Rng::with_seed(1);
        let mut drawn: Vec<f64> =
            (0..20_000).map(|_| LogNormal { median: 180.0, sigma: 0.35 }.draw(&mut dice)).collect();
        drawn.sort_by(f64::total_cmp);
        let quantile = |q: f64| drawn[(q * drawn.len() as f64) as usize];
        // The normal quantiles of one and two standard deviations.
        for (q, deviations) in [(0.5, 0.0_f64), (0.158_655, -1.0), (0.841_345, 1.0), (0.977_25, 2.0)] {
            let expected = 180.0 * (0.35 * deviations).exp();
            assert!((quantile(q) / expected - 1.0).abs() < 0.03, "{q}: {} for {expected}", quantile(q));
        }
    }

    #[test]
    fn pieces_follow_an_absolute_schedule() {
        let ms = Duration::from_millis;
        let mut script = Script::draw(&Settings::openai(1), 0, &any_wish()).unwrap();
        (script.first_piece, script.gap, script.pieces) = (ms(100), ms(10), vec![" a"; 4]);
        for (elapsed, due) in [(0, 0), (99, 0), (100, 1), (109, 1), (110, 2), (125, 3), (130, 4), (9_999, 4)] {
            assert_eq!(script.pieces_due(ms(elapsed)), due, "after {elapsed} ms");
        }
        assert_eq!((script.due(0), script.due(3), script.end()), (ms(100), ms(130), ms(130)));
        script.gap = Duration::ZERO;
        assert_eq!((script.pieces_due(ms(99)), script.pieces_due(ms(100))), (0, 4));
    }

    #[test]
    fn errors_come_at_their_rate() {
        let settings = Settings { error_rate: 0.1, ..Settings::openai(3) };
        let drawn: Vec<_> = (0..5_000).map(|nth| Script::draw(&settings, nth, &any_wish())).collect();
        let count = |refusal| drawn.iter().filter(|script| matches!(script, Err(e) if *e == refusal)).count();
        let (limited, broken) = (count(Refusal::RateLimited), count(Refusal::Broken));
        assert!((200..300).contains(&limited) && (200..300).contains(&broken), "{limited} and {broken} of 5,000");
    }

    #[test]
    fn a_prompt_is_counted_and_an_answer_cut() {
        let bodies = [
            (r#"{"model":"m","messages":[{"role":"user","content":"12345678"}]}"#, 6),
            (r#"{"model":"m","system":"1234","messages":[{"content":[{"type":"text","text":"123456789"}]}]}"#, 8),
            (r#"{"model":"m","messages":[{"content":"a\u00e9"},{"content":null}]}"#, 9),
        ];
        for (body, tokens) in bodies {
            assert_eq!(wish(body).map(|wish| wish.prompt_tokens), Ok(tokens), "{body}");
        }
        let cut = wish(r#"{"model":"m","max_tokens":3,"messages":[{"content":"x"}]}"#).unwrap();
        let script = Script::draw(&Settings::openai(1), 0, &cut).unwrap();
        assert_eq!((script.answer_tokens(), script.cut), (3, true));
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let cases = [
            ("", Refusal::NotJson),
            ("[]", Refusal::NotJson),
            (r#"{"messages":[{"content":"x"}]}"#, Refusal::Missing("model")),
            (r#"{"model":7,"messages":[{"content":"x"}]}"#, Refusal::Missing("model")),
            (r#"{"model":"m"}"#, Refusal::Missing("messages")),
            (r#"{"model":"m","messages":"x"}"#, Refusal::Missing("messages")),
            (r#"{"model":"m","messages":[]}"#, Refusal::Missing("messages")),
        ];
        for (body, refusal) in cases {
            assert_eq!(wish(body), Err(refusal), "{body}");
        }
    }
}
