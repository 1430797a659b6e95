//! What tells who somebody is, or lets somebody in: addresses, numbers and keys, found by their form and their check
//! digits.
//!
//! Each kind is bounded, and found wherever it stands in a text. A form alone is not enough where many things have it: a
//! card number has to pass Luhn's check (ISO/IEC 7812-1), an IBAN its remainder of 97 (ISO 13616), and a telephone number
//! to be written as people write one.

use std::ops::Range;

/// `policies[].config.types[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// An International Bank Account Number.
    Iban,
    /// The number of a payment card.
    Card,
    /// A key of an API, by its issuer's prefix, or a signed token.
    ApiKey,
    /// A private key in PEM.
    PrivateKey,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Email, Self::Phone, Self::Iban, Self::Card, Self::ApiKey, Self::PrivateKey];

    /// The word in config and event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Iban => "iban",
            Self::Card => "card",
            Self::ApiKey => "api_key",
            Self::PrivateKey => "private_key",
        }
    }

    /// What stands in the place of one that was taken out. No character of it is escaped in JSON.
    pub const fn mask(self) -> &'static str {
        match self {
            Self::Email => "[REDACTED:email]",
            Self::Phone => "[REDACTED:phone]",
            Self::Iban => "[REDACTED:iban]",
            Self::Card => "[REDACTED:card]",
            Self::ApiKey => "[REDACTED:api_key]",
            Self::PrivateKey => "[REDACTED:private_key]",
        }
    }

    /// The same for a number of JSON within a string, which has to become a string. Only a card's is ever one.
    pub(super) const fn bare_mask(self) -> &'static str {
        match self {
            Self::Card => "\\\"[REDACTED:card]\\\"",
            Self::Email | Self::Phone | Self::Iban | Self::ApiKey | Self::PrivateKey => self.mask(),
        }
    }
}

/// The longest address, RFC 5321 section 4.5.3.1: 64 for the name and 255 for the domain.
const EMAIL_NAME_MAX: usize = 64;
const EMAIL_DOMAIN_MAX: usize = 255;
/// Longest key that is looked at; tokens may be long.
const KEY_MAX: usize = 4_096;
/// Longest private key in PEM: RSA with 16,384 bits takes 12 KiB.
const PEM_MAX: usize = 16 * 1_024;

/// Prefixes of keys, and how many letters, digits, `_` and `-` have to follow.
const KEY_PREFIXES: &[(&str, usize)] = &[
    ("sk-", 20),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("github_pat_", 30),
    ("glpat-", 18),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 35),
    ("hf_", 30),
    ("npm_", 30),
    ("sk_live_", 20),
    ("rk_live_", 20),
];

/// Calls `found` with each that is of one of `kinds`, in the order of the text, none within another.
pub fn find(text: &str, kinds: &[Kind], found: &mut impl FnMut(Kind, Range<usize>)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut last = 0;
    while at < bytes.len() {
        let Some(next) = bytes[at..].iter().position(|byte| begins(*byte)) else { return };
        at += next;
        let hit = kinds.iter().find_map(|&kind| Some((kind, range(kind, bytes, at, last)?)));
        match hit {
            Some((kind, range)) => {
                at = range.end.max(at + 1);
                last = range.end;
                found(kind, range);
            }
            None => at = skip(bytes, at),
        }
    }
}

/// Whether something may begin with this byte, or be told by it.
const fn begins(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'@' | b'+' | b'(' | b'-')
}

/// Where to look next, behind what began nothing: a run of letters or of digits is looked at once.
fn skip(bytes: &[u8], at: usize) -> usize {
    let same = |byte: &u8| byte.is_ascii_alphanumeric() && bytes[at].is_ascii_alphanumeric();
    at + bytes[at..].iter().take_while(|byte| same(byte)).count().max(1)
}

fn range(kind: Kind, bytes: &[u8], at: usize, last: usize) -> Option<Range<usize>> {
    match kind {
        Kind::Email => email(bytes, at, last),
        Kind::Phone => phone(bytes, at),
        Kind::Iban => iban(bytes, at),
        Kind::Card => card(bytes, at),
        Kind::ApiKey => api_key(bytes, at),
        Kind::PrivateKey => private_key(bytes, at),
    }
}

/// Told by its `@`: what precedes it has been passed already.
fn email(bytes: &[u8], at: usize, last: usize) -> Option<Range<usize>> {
    if bytes[at] != b'@' {
        return None;
    }
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let name = bytes[last..at].iter().rev().take(EMAIL_NAME_MAX).take_while(|byte| in_name(byte)).count();
    let domain = bytes[at + 1..].iter().take(EMAIL_DOMAIN_MAX);
    let mut domain = domain.take_while(|byte| byte.is_ascii_alphanumeric() || b".-".contains(byte)).count();
    while domain > 0 && !bytes[at + domain].is_ascii_alphanumeric() {
        domain -= 1;
    }
    let labels = &bytes[at + 1..at + 1 + domain];
    let top = labels.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    let is_one = name > 0 && labels.contains(&b'.') && top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic);
    is_one.then(|| at - name..at + 1 + domain)
}

/// Digits from `at` on with at most one of `marks` between two of them; how many digits, and where they end.
fn digits(bytes: &[u8], at: usize, marks: &[u8], most: usize) -> (usize, usize) {
    let (mut count, mut end, mut place) = (0, at, at);
    while let Some(&byte) = bytes.get(place) {
        if byte.is_ascii_digit() {
            count += 1;
            place += 1;
            end = place;
            if count > most {
                break;
            }
        } else if marks.contains(&byte) && count > 0 && bytes.get(place + 1).is_some_and(u8::is_ascii_digit) {
            place += 1;
        } else {
            break;
        }
    }
    (count, end)
}

fn stands_alone(bytes: &[u8], range: &Range<usize>) -> bool {
    let before = range.start.checked_sub(1).map(|before| bytes[before]);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !before.is_some_and(|byte| is_part(byte) || b".-+/".contains(&byte))
        && !bytes.get(range.end).is_some_and(|byte| is_part(*byte))
}

/// `+49 30 1234567`, or `(030) 123-4567` and `030-123-4567`: with a country's code, or in three groups of ten digits.
fn phone(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let first = bytes[at];
    let range = match first {
        b'+' => {
            let (count, end) = digits(bytes, at + 1, b" -.()", 15);
            (8..=15).contains(&count).then_some(at..end)?
        }
        b'(' => {
            let (area, close) = digits(bytes, at + 1, b"", 4);
            let rest = close + 1 + usize::from(bytes.get(close + 1) == Some(&b' '));
            let (count, end) = digits(bytes, rest, b" -.", 8);
            ((2..=4).contains(&area) && bytes.get(close) == Some(&b')') && (6..=8).contains(&count))
                .then_some(at..end)?
        }
        _ if first.is_ascii_digit() => {
            let (count, end) = digits(bytes, at, b"-. ", 10);
            let written = &bytes[at..end];
            let groups: Vec<usize> = written.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).collect();
            (count == 10 && groups == [3, 3, 4]).then_some(at..end)?
        }
        _ => return None,
    };
    stands_alone(bytes, &range).then_some(range)
}

fn iban(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let head = bytes.get(at..at + 4)?;
    if !(head[..2].iter().all(u8::is_ascii_uppercase) && head[2..].iter().all(u8::is_ascii_digit)) {
        return None;
    }
    // In groups of four, or without spaces; 34 characters at most.
    let mut letters = [0_u8; 34];
    let (mut count, mut end, mut place) = (0, at, at);
    while let Some(&byte) = bytes.get(place).filter(|_| count < letters.len()) {
        if byte.is_ascii_digit() || byte.is_ascii_uppercase() {
            letters[count] = byte;
            count += 1;
            place += 1;
            end = place;
        } else if byte == b' ' && count % 4 == 0 && bytes.get(place + 1).is_some_and(u8::is_ascii_alphanumeric) {
            place += 1;
        } else {
            break;
        }
    }
    // What follows may be a word in capitals: the longest that checks out is taken.
    while count >= 15 {
        let range = at..end;
        if is_iban(&letters[..count]) && stands_alone(bytes, &range) {
            return Some(range);
        }
        count -= 1;
        end -= 1;
        while bytes[end - 1] == b' ' {
            end -= 1;
        }
    }
    None
}

fn is_iban(letters: &[u8]) -> bool {
    let turned = letters[4..].iter().chain(&letters[..4]);
    let rest = turned.fold(0_u32, |rest, &letter| match letter {
        b'0'..=b'9' => (rest * 10 + u32::from(letter - b'0')) % 97,
        _ => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
    });
    rest == 1
}

fn card(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    // The first digit is the industry's: 2 to 6 are those of payment cards.
    if !(b'2'..=b'6').contains(&bytes[at]) {
        return None;
    }
    let (count, end) = digits(bytes, at, b" -", 19);
    let range = at..end;
    // The end of a longer number in groups is no card.
    let goes_before = at >= 2 && matches!(bytes[at - 1], b' ' | b'-') && bytes[at - 2].is_ascii_digit();
    let is_one = (13..=19).contains(&count) && !goes_before && passes_luhn(&bytes[at..end]);
    let is_one = is_one && stands_alone(bytes, &range);
    is_one.then_some(range)
}

fn passes_luhn(written: &[u8]) -> bool {
    let digits = written.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(nth, digit)| match nth % 2 {
            0 => digit,
            _ => digit * 2 - if digit > 4 { 9 } else { 0 },
        })
        .sum();
    sum.is_multiple_of(10)
}

fn api_key(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    if at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') {
        return None;
    }
    // No longer than this together, so that a stream holds back no more.
    let rest = &bytes[at..bytes.len().min(at + KEY_MAX)];
    let in_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let length = |from: usize| from + rest[from..].iter().take_while(|byte| in_key(byte)).count();
    for (prefix, least) in KEY_PREFIXES {
        if rest.starts_with(prefix.as_bytes()) && length(prefix.len()) >= prefix.len() + least {
            return Some(at..at + length(prefix.len()));
        }
    }
    // A signed token (RFC 7519): two parts of JSON in base64, and a signature.
    if rest.starts_with(b"eyJ") {
        let head = length(0);
        let body = (rest.get(head) == Some(&b'.') && rest[head + 1..].starts_with(b"eyJ")).then(|| length(head + 1))?;
        let end = (rest.get(body) == Some(&b'.')).then(|| length(body + 1)).filter(|end| end - body > 16)?;
        return Some(at..at + end);
    }
    None
}

fn private_key(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = bytes[at..].strip_prefix(b"-----BEGIN ")?;
    let label = memchr::memmem::find(&rest[..rest.len().min(64)], b"-----")?;
    if !rest[..label].ends_with(b"PRIVATE KEY") {
        return None;
    }
    let rest = &bytes[at..];
    // One whose end is missing is one all the same.
    let end = memchr::memmem::find(&rest[..rest.len().min(PEM_MAX)], b"-----END ")
        .and_then(|end| Some(end + 9 + memchr::memmem::find(&rest[end + 9..], b"-----")? + 5));
    Some(at..at + end.unwrap_or(rest.len().min(PEM_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&'static str, &str)> {
        let mut all = Vec::new();
        find(text, &Kind::ALL, &mut |kind, range| all.push((kind.as_str(), &text[range])));
        all
    }

    #[test]
    fn what_tells_who_somebody_is_is_found() {
        // Examples of standards and vendors' documents; the keys are made up.
        let key = format!("sk-{}", "abcdEFGH1234".repeat(3));
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----";
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6y";
        let cases = [
            ("mail jane.doe+x@example.co.uk!", vec![("email", "jane.doe+x@example.co.uk")]),
            ("<a@b.io>,c@d.org.", vec![("email", "a@b.io"), ("email", "c@d.org")]),
            ("call +49 30 1234567 now", vec![("phone", "+49 30 1234567")]),
            ("(030) 123-4567", vec![("phone", "(030) 123-4567")]),
            ("555-123-4567", vec![("phone", "555-123-4567")]),
            ("pay DE89 3704 0044 0532 0130 00 TODAY", vec![("iban", "DE89 3704 0044 0532 0130 00")]),
            ("GB29NWBK60161331926819", vec![("iban", "GB29NWBK60161331926819")]),
            ("card 4111 1111 1111 1111,", vec![("card", "4111 1111 1111 1111")]),
            ("5500-0000-0000-0004", vec![("card", "5500-0000-0000-0004")]),
            (&*format!("key={key};"), vec![("api_key", &*key)]),
            ("AKIAIOSFODNN7EXAMPLE", vec![("api_key", "AKIAIOSFODNN7EXAMPLE")]),
            (token, vec![("api_key", token)]),
            (&*format!("x\n{pem}\ny"), vec![("private_key", pem)]),
        ];
        for (text, wanted) in cases {
            assert_eq!(found(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_left_alone() {
        let cases = [
            "user@host and a@b",
            "4111 1111 1111 1112",
            "order 1234567890123456",
            "DE89 3704 0044 0532 0130 01",
            "version 1.2.3, 2026-11-25 10:00:00, 192.168.100.200",
            "sk-short and task-force",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "0x41111111111111111111 3.14159265358979",
            "-----BEGIN CERTIFICATE-----",
            "1+2345678 items",
            "",
        ];
        for text in cases {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
