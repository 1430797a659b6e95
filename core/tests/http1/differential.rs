//! Our reader of requests held against another: rust-h11, a port of Python's h11, which reads by regular expressions
//! written down from the RFC's grammar and shares no line with httparse.
//!
//! What both take they must understand alike, to the last byte of the body. What only one takes must be of a class
//! that is listed here with its reason, and show the mark of that class to a third, naive look at the bytes.
//!
//! `KT_HEADS` is how many heads are generated; 200,000 without it.

use std::collections::{BTreeMap, HashMap};
use std::thread;

use fastrand::Rng;
use h11::{Connection, Event, Role};
use kt_core::fault::Kind;
use kt_core::limits::Limits;

use super::play::{Client, End, Request, escaped, request_cases, unescape};
use super::{is_host, mutate};

/// What a reader makes of the first request of a connection.
#[derive(Debug)]
enum Reading<R> {
    Taken(Request),
    /// It isn't whole.
    More,
    Refused(R),
}

fn ours(text: &[u8]) -> Reading<Kind> {
    let (requests, end) = Client::serve([text], &Limits::default());
    match (requests.into_iter().next(), end) {
        (Some(request), _) => Reading::Taken(request),
        (None, End::Refused(kind)) => Reading::Refused(kind),
        (None, End::More | End::Whole) => Reading::More,
    }
}

fn theirs(text: &[u8]) -> Reading<String> {
    let mut connection = Connection::new(Role::Server, Some(Limits::default().head_bytes_max));
    let mut taken = None;
    let mut body = Vec::new();
    if text.is_empty() {
        // Which would mean to h11 that the connection has ended.
        return Reading::More;
    }
    connection.receive_data(text).expect("the connection is open");
    loop {
        match connection.next_event() {
            Ok(Event::Request(request)) => taken = Some(request),
            Ok(Event::Data(data)) => body.extend(data.data),
            Ok(Event::EndOfMessage(_)) => break,
            Ok(Event::NeedData()) => return Reading::More,
            Ok(other) => panic!("{other:?} in {}", text.escape_ascii()),
            Err(error) => return Reading::Refused(error.to_string()),
        }
    }
    let request = taken.expect("a request comes before its end");
    let (path, query) = split_target(&request.target);
    let fields = request.headers.raw_items().into_iter();
    Reading::Taken(Request {
        method: http::Method::from_bytes(&request.method).expect("a token"),
        path: escaped(path),
        query: query.map(escaped),
        fields: fields.map(|(name, _, value)| (escaped(name), escaped(value))).collect(),
        body,
    })
}

/// Path and query, by the plainest means.
fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let authority = target.windows(3).position(|window| window == b"://").filter(|_| target[0] != b'/');
    let rest = match authority {
        Some(at) => {
            let rest = &target[at + 3..];
            let end = rest.iter().position(|&b| b == b'/' || b == b'?').unwrap_or(rest.len());
            &rest[end..]
        }
        None => target,
    };
    let mut parts = rest.splitn(2, |&b| b == b'?');
    let path = parts.next().filter(|path| !path.is_empty()).unwrap_or(b"/");
    (path, parts.next())
}

/// The bytes before the first blank line, however lines end, cut into lines without their ends.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    let lines = text.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut lines: Vec<&[u8]> = lines.skip_while(|line| line.is_empty()).collect();
    lines.truncate(lines.iter().position(|line| line.is_empty()).unwrap_or(lines.len()));
    lines
}

/// The values of all fields of this name.
fn values(text: &[u8], name: &str) -> Vec<Vec<u8>> {
    let fields = lines(text).into_iter().skip(1).filter_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        let named = line[..colon].eq_ignore_ascii_case(name.as_bytes());
        named.then(|| line[colon + 1..].trim_ascii().to_vec())
    });
    fields.collect()
}

fn words(text: &[u8]) -> Vec<&[u8]> {
    lines(text).first().map(|line| line.split(|&b| b == b' ').collect()).unwrap_or_default()
}

/// What stands behind the head.
fn body(text: &[u8]) -> &[u8] {
    text.windows(4).position(|window| window == b"\r\n\r\n").map_or(b"", |at| &text[at + 4..])
}

/// Whether a chunked body begins as the RFC's grammar has it, less spaces and quoted strings.
fn is_chunked_well(text: &[u8]) -> bool {
    let token = |part: &[u8]| {
        !part.is_empty() && part.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
    };
    let line = |rest: &[u8]| rest.windows(2).position(|end| end == b"\r\n");
    let mut rest = body(text);
    loop {
        let Some(end) = line(rest) else { return false };
        let mut parts = rest[..end].split(|&b| b == b';');
        let digits = parts.next().unwrap_or_default();
        let size =
            std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()) && d.len() <= 16);
        let Some(size) = size.and_then(|digits| usize::from_str_radix(digits, 16).ok()) else { return false };
        if !parts.all(|part| part.splitn(2, |&b| b == b'=').all(token)) || end + 2 > 256 {
            return false;
        }
        rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        let Some(after) = rest.get(size..).and_then(|after| after.strip_prefix(b"\r\n")) else { return false };
        rest = after;
    }
    while let Some(end) = line(rest).filter(|&end| end > 0) {
        let Some(colon) = rest[..end].iter().position(|&b| b == b':') else { return false };
        let value = &rest[colon + 1..end];
        if !token(&rest[..colon]) || !value.iter().all(|&b| b == b'\t' || b >= b' ' && b != 0x7f) {
            return false;
        }
        rest = &rest[end + 2..];
    }
    rest.starts_with(b"\r\n")
}

/// A way in which the two readers differ.
struct Class {
    /// Why we refuse what h11 takes; none where we take what h11 refuses.
    refused: Option<Kind>,
    reason: &'static str,
    /// The naive look at the bytes that tells the class.
    fits: fn(&[u8]) -> bool,
}

const CLASSES: &[Class] = &[
    Class {
        refused: Some(Kind::BareLineEnd),
        reason: "h11 takes LF alone for the end of a line: another reader would not",
        fits: |text| text.starts_with(b"\n") || text.windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n'),
    },
    Class {
        refused: Some(Kind::MalformedFieldValue),
        reason: "h11 lets control bytes other than NUL and white space pass in values",
        fits: |text| lines(text).iter().any(|line| line.iter().any(|&b| b < b' ' && b != b'\t' || b == 0x7f)),
    },
    Class {
        refused: Some(Kind::MalformedFieldName),
        reason: "h11 unfolds lines that go on in the next",
        fits: |text| lines(text).iter().any(|line| line.starts_with(b" ") || line.starts_with(b"\t")),
    },
    Class {
        refused: Some(Kind::MalformedHead),
        reason: "h11 takes a method of any length",
        fits: |text| words(text).first().is_some_and(|method| method.len() > 32),
    },
    Class {
        refused: Some(Kind::MalformedTarget),
        reason: "to h11 a target is any visible ASCII: other forms, user information, fragments, and CONNECT",
        fits: |text| {
            let words = words(text);
            let target = String::from_utf8_lossy(words[1]).to_ascii_lowercase();
            let authority = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"));
            let is_absolute = authority.is_some_and(|rest| is_host(rest.split(['/', '?']).next().unwrap_or(rest)));
            words[0] == b"CONNECT" || target.contains('#') || !target.starts_with('/') && !is_absolute
        },
    },
    Class {
        refused: Some(Kind::MalformedHost),
        reason: "h11 counts Host and doesn't read it, nor the target's authority",
        fits: |text| {
            let hosts = values(text, "host");
            let host = hosts.first().map(|host| String::from_utf8_lossy(host).to_ascii_lowercase());
            let target = String::from_utf8_lossy(words(text)[1]).to_ascii_lowercase();
            let scheme = [("http://", ":80"), ("https://", ":443")].into_iter().find(|(s, _)| target.starts_with(s));
            let disagree = scheme.is_some_and(|(scheme, port)| {
                let authority = target[scheme.len()..].split(['/', '?']).next();
                let plain = |text: &str| text.strip_suffix(port).unwrap_or(text).to_owned();
                authority.map(plain) != host.as_deref().map(plain)
            });
            disagree || host.is_some_and(|host| !is_host(&host))
        },
    },
    Class {
        refused: Some(Kind::LengthAndChunkedTogether),
        reason: "h11 lets Transfer-Encoding win, as the RFC allows",
        fits: |text| !values(text, "content-length").is_empty() && !values(text, "transfer-encoding").is_empty(),
    },
    Class {
        refused: Some(Kind::MalformedLength),
        reason: "h11 takes equal lengths for one, as the RFC allows, and digits beyond 19",
        fits: |text| match &values(text, "content-length")[..] {
            [length] => length.contains(&b',') || length.len() > 19,
            lengths => lengths.len() > 1,
        },
    },
    Class {
        refused: Some(Kind::UnknownTransferCoding),
        reason: "h11 takes chunks in HTTP/1.0",
        fits: |text| words(text).last() == Some(&&b"HTTP/1.0"[..]),
    },
    Class {
        refused: Some(Kind::MalformedChunk),
        reason: "h11 takes spaces and junk around a size, any extension, and any two bytes behind the payload",
        fits: |text| !is_chunked_well(text),
    },
    Class {
        refused: Some(Kind::UnknownVersion),
        reason: "h11 takes every version of two digits",
        fits: |text| !matches!(words(text).last(), Some(&b"HTTP/1.0" | &b"HTTP/1.1")),
    },
    Class {
        refused: Some(Kind::Http2Preface),
        reason: "h11 takes an HTTP/2 preface for a request of a version to come",
        fits: |text| words(text) == [&b"PRI"[..], b"*", b"HTTP/2.0"],
    },
    Class {
        refused: None,
        reason: "up to two empty lines before a request are skipped (RFC 9112 section 2.2)",
        fits: |text| text.starts_with(b"\r\n"),
    },
    Class {
        refused: None,
        reason: "bytes of 0x80 and above are opaque in values (RFC 9110 section 5.5); rust-h11 wants letters of UTF-8",
        fits: |text| {
            let mut fields = text
                .split(|&b| b == b'\n')
                .filter_map(|line| line.split_at_checked(line.iter().position(|&b| b == b':')?));
            words(text).concat().is_ascii() && fields.any(|(name, value)| name.is_ascii() && !value.is_ascii())
        },
    },
    Class {
        refused: None,
        reason: "trailers are checked for their form and dropped; h11 reads the lengths in them",
        fits: |text| {
            let body = String::from_utf8_lossy(body(text)).to_ascii_lowercase();
            let lengths = ["\ncontent-length:", "\ntransfer-encoding:"];
            !values(text, "transfer-encoding").is_empty() && lengths.iter().any(|name| body.contains(name))
        },
    },
];

/// The rules of `core/src/cases/http1/grammar.txt`, by name: how often each alternative is taken, and its parts.
struct Grammar(HashMap<&'static str, Vec<(u32, Vec<Part>)>>);

enum Part {
    Bytes(Vec<u8>),
    Rule(&'static str),
}

impl Grammar {
    fn read(file: &'static str) -> Self {
        let mut rules = HashMap::<_, Vec<_>>::new();
        for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, rest) = line.split_once(' ').expect("a name");
            let (weight, text) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
            rules.entry(name).or_default().push((weight.parse().expect("a weight"), text));
        }
        let alternative =
            |(weight, text): &(u32, &'static str)| (*weight, parts(text, |name| rules.contains_key(name)));
        Self(rules.iter().map(|(name, texts)| (*name, texts.iter().map(alternative).collect())).collect())
    }

    /// Appends one of the texts that the rule stands for.
    fn expand(&self, rule: &str, rng: &mut Rng, text: &mut Vec<u8>) {
        let alternatives = &self.0[rule];
        let sum: u32 = alternatives.iter().map(|(weight, _)| weight).sum();
        let mut dice = rng.u32(..sum);
        let drawn = alternatives.iter().find(|(weight, _)| {
            let drawn = dice < *weight;
            dice = dice.wrapping_sub(*weight);
            drawn
        });
        for part in &drawn.expect("the dice are below the sum").1 {
            match part {
                Part::Bytes(bytes) => text.extend_from_slice(bytes),
                Part::Rule(rule) => self.expand(rule, rng, text),
            }
        }
    }
}

fn parts(text: &'static str, is_rule: impl Fn(&str) -> bool) -> Vec<Part> {
    let mut parts = Vec::new();
    for piece in text.split_inclusive('>') {
        let rule = piece.strip_suffix('>').and_then(|piece| piece.rsplit_once('<')).filter(|(_, name)| is_rule(name));
        let (before, rule) = rule.map_or((piece, None), |(before, name)| (before, Some(Part::Rule(name))));
        parts.push(Part::Bytes(unescape(before)));
        parts.extend(rule);
    }
    parts
}

/// Compares both readings: how they are related, or what is wrong with that.
fn compare(text: &[u8]) -> Result<&'static str, String> {
    match (ours(text), theirs(text)) {
        (Reading::Taken(ours), Reading::Taken(mut theirs)) => {
            for (name, value) in &mut theirs.fields {
                // The only value that h11 gives out in another case than it came in.
                if name.eq_ignore_ascii_case("transfer-encoding") {
                    *value = escaped(&values(text, "transfer-encoding")[0]);
                }
            }
            if ours == theirs { Ok(BOTH) } else { Err(format!("understood in two ways: {ours:?}, {theirs:?}")) }
        }
        (Reading::Taken(_), theirs @ (Reading::More | Reading::Refused(_))) => {
            class(None, text).ok_or_else(|| format!("only we take it: {theirs:?}"))
        }
        (Reading::Refused(kind), Reading::Taken(request)) => {
            class(Some(kind), text).ok_or_else(|| format!("only h11 takes it: {kind:?}, {request:?}"))
        }
        (Reading::More, Reading::Taken(request)) => Err(format!("we wait for more: {request:?}")),
        (Reading::More | Reading::Refused(_), Reading::More | Reading::Refused(_)) => Ok(NEITHER),
    }
}

fn class(refused: Option<Kind>, text: &[u8]) -> Option<&'static str> {
    let class = CLASSES.iter().find(|class| class.refused == refused && (class.fits)(text));
    class.map(|class| class.reason)
}

/// How many threads read.
const READERS: usize = 4;

/// What came of many heads.
#[derive(Default)]
struct Readings {
    counts: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

fn read_all(texts: impl Iterator<Item = Vec<u8>>) -> Readings {
    let mut readings = Readings::default();
    for text in texts {
        match compare(&text) {
            Ok(relation) => *readings.counts.entry(relation).or_default() += 1,
            Err(what) => readings.wrong.push(format!("{}\n    {what}", text.escape_ascii())),
        }
    }
    readings
}

/// A head as the dice fall: one of the cases or of the grammar's, a third of them mutated.
fn generate(cases: &[Vec<u8>], grammar: &Grammar, rng: &mut Rng) -> Vec<u8> {
    let mut text = Vec::new();
    match rng.u8(..8) {
        0 => text.extend_from_slice(&cases[rng.usize(..cases.len())]),
        _ => grammar.expand("request", rng, &mut text),
    }
    if rng.u8(..3) == 0 { mutate(rng, &text) } else { text }
}

const BOTH: &str = "both take it";
const NEITHER: &str = "neither takes it";

#[test]
fn what_another_reader_takes_too_it_understands_alike() {
    let heads: usize = std::env::var("KT_HEADS").map_or(200_000, |heads| heads.parse().expect("KT_HEADS is a number"));
    let cases: Vec<Vec<u8>> = request_cases().map(|(_, _, text)| text).collect();
    let grammar = Grammar::read(include_str!("../../src/cases/http1/grammar.txt"));
    // Each with dice of its own, so that the heads are the same on any machine.
    let readings: Vec<Readings> = thread::scope(|threads| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (cases, grammar) = (&cases, &grammar);
                threads.spawn(move || {
                    let mut rng = Rng::with_seed(9112 + reader as u64);
                    let generated = (0..heads / READERS).map(|_| generate(cases, grammar, &mut rng));
                    let given = if reader == 0 { &cases[..] } else { &[] };
                    read_all(given.iter().cloned().chain(generated))
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("neither panics")).collect()
    });
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut wrong = Vec::new();
    for reading in readings {
        reading.counts.into_iter().for_each(|(relation, count)| *counts.entry(relation).or_default() += count);
        wrong.extend(reading.wrong);
    }
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let report: Vec<String> = counts.iter().map(|(relation, count)| format!("{count:>8} {relation}")).collect();
    println!("{}", report.join("\n"));
    for class in CLASSES {
        assert!(counts.contains_key(class.reason), "no head shows that {}", class.reason);
    }
    assert!(counts[BOTH] > heads / 4 && counts[NEITHER] > heads / 8, "{}", report.join("\n"));
}
