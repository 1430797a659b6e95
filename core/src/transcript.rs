//! What was asked and answered, for a log that is told to keep it (`events.bodies`): the beginning of each body, as text
//! and without keys.
//!
//! Taken out is what looks like an API key, a signed token or a private key ([`pii`]), and the credentials of this very
//! request, its client's and its target's. All of these are found as they stand in the bytes: what a body spells in
//! escapes, or a stream tells in pieces, is not.

use std::fmt;
use std::ops::Range;

use memchr::memmem;

use crate::limits::{EVENT_BODY_BYTES_MAX, EVENT_BODY_SCAN_BYTES, EVENT_SECRET_BYTES_MIN};
use crate::policy::pii::{self, Kind};

/// What stands in the place of a credential of the request.
const MASK: &str = "[REDACTED:key]";

/// The beginnings of both bodies of a request, and what must not be told of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    asked: Beginning,
    answered: Beginning,
    secrets: Vec<Box<[u8]>>,
}

/// Both bodies as the log has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bodies {
    /// The request's, as the policies left it.
    pub asked: Body,
    /// The answer's, as far as the client got it.
    pub answered: Body,
}

/// One body as the log has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Its beginning, at most [`EVENT_BODY_BYTES_MAX`] bytes. What is no UTF-8 is replaced.
    pub text: Box<str>,
    /// Whether there was more.
    pub cut: bool,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Beginning {
    /// More than the log takes, so that a key at the end is told by its whole length.
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Transcript {
    /// This must not be told. Very short ones are: everybody's texts hold them.
    pub fn keep_secret(&mut self, secret: &[u8]) {
        if secret.len() >= EVENT_SECRET_BYTES_MIN {
            self.secrets.push(secret.into());
        }
    }

    /// The request's body; of several, the last one counts.
    pub fn ask(&mut self, body: &[u8]) {
        self.asked = Beginning::default();
        self.asked.add(body);
    }

    /// A further piece of the answer's body.
    pub fn answer(&mut self, piece: &[u8]) {
        self.answered.add(piece);
    }

    /// The client got nothing of the answer.
    pub fn forget_answer(&mut self) {
        self.answered = Beginning::default();
    }

    /// What the log gets.
    pub fn bodies(&self) -> Bodies {
        Bodies { asked: self.tell(&self.asked), answered: self.tell(&self.answered) }
    }

    fn tell(&self, body: &Beginning) -> Body {
        let text = String::from_utf8_lossy(&body.bytes);
        let mut hidden: Vec<(Range<usize>, &str)> = Vec::new();
        for secret in &self.secrets {
            let found = memmem::find_iter(text.as_bytes(), secret);
            hidden.extend(found.map(|at| (at..at + secret.len(), MASK)));
        }
        pii::find(&text, &[Kind::ApiKey, Kind::PrivateKey], &mut |kind, range| hidden.push((range, kind.mask())));
        hidden.sort_by_key(|(range, _)| range.start);

        let end = text.floor_char_boundary(EVENT_BODY_BYTES_MAX);
        let (mut told, mut at) = (String::new(), 0);
        for (range, mask) in hidden.into_iter().filter(|(range, _)| range.start < end) {
            if range.start >= at {
                told.push_str(&text[at..range.start]);
                told.push_str(mask);
            }
            at = at.max(range.end);
        }
        told.push_str(text.get(at..end).unwrap_or_default());
        let kept = told.floor_char_boundary(EVENT_BODY_BYTES_MAX);
        let cut = body.is_cut || at.max(end) < text.len() || kept < told.len();
        told.truncate(kept);
        Body { text: told.into(), cut }
    }
}

impl Beginning {
    fn add(&mut self, piece: &[u8]) {
        let room = EVENT_BODY_SCAN_BYTES - self.bytes.len();
        self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        self.is_cut |= piece.len() > room;
    }
}

/// Bodies are for the log, and for nobody else.
impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transcript(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "gw-0123456789abcdef";

    fn told(body: &str) -> Body {
        let mut whole = Transcript::default();
        whole.keep_secret(SECRET.as_bytes());
        whole.keep_secret(b"short");
        whole.ask(body.as_bytes());
        let mut in_pieces = Transcript { secrets: whole.secrets.clone(), ..Transcript::default() };
        body.as_bytes().iter().for_each(|byte| in_pieces.answer(&[*byte]));
        assert_eq!(in_pieces.bodies().answered, whole.bodies().asked);
        whole.bodies().asked
    }

    #[test]
    fn keys_are_not_told() {
        let key = format!("sk-{}", "abcdEFGH1234".repeat(3));
        let pem = "-----BEGIN RSA PRIVATE KEY-----\\nMIIB\\n-----END RSA PRIVATE KEY-----";
        for (body, expected) in [
            ("short".to_owned(), "short".to_owned()),
            (format!(r#"{{"key":"{key}"}}"#), r#"{"key":"[REDACTED:api_key]"}"#.to_owned()),
            (format!("{SECRET}, {SECRET}!"), format!("{MASK}, {MASK}!")),
            (format!("a {pem} b"), "a [REDACTED:private_key] b".to_owned()),
            (format!("sk-{SECRET}xxxxxxxxxxxxxxxxxxxxx"), "[REDACTED:api_key]".to_owned()),
        ] {
            assert_eq!(told(&body), Body { text: expected.into(), cut: false }, "{body}");
        }
    }

    #[test]
    fn a_key_across_the_bound_is_hidden_whole() {
        let key = format!("sk-{}", "abcdEFGH1234".repeat(3));
        for before in EVENT_BODY_BYTES_MAX - key.len() - 20..EVENT_BODY_BYTES_MAX + 2 {
            for secret in [&*key, SECRET] {
                let body = told(&format!("{} {secret} {}", "é ".repeat(before / 3), "x ".repeat(20_000)));
                assert!(body.cut && body.text.len() <= EVENT_BODY_BYTES_MAX, "{} bytes", body.text.len());
                assert!(!body.text.contains("sk-") && !body.text.contains("gw-"), "{body:?}");
            }
        }
    }

    #[test]
    fn what_is_no_text_is_replaced_and_nothing_is_empty() {
        let mut transcript = Transcript::default();
        assert_eq!(transcript.bodies(), Bodies::default());
        transcript.ask(b"a\xffb");
        transcript.answer(b"never mind");
        transcript.forget_answer();
        let asked = Body { text: "a\u{fffd}b".into(), cut: false };
        assert_eq!(transcript.bodies(), Bodies { asked, answered: Body::default() });
    }
}
