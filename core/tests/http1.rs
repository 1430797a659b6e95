//! HTTP/1.1 as a whole: connections played to the parsers by the rules of `core/src/http1`, without a socket.
//!
//! Each case is fed whole, byte by byte and cut in two at every point, and must come to the same end each time. The
//! cases are data: `core/src/cases/http1`, mutations of well-formed heads, and the corpus where `KT_CORPUS` names it.

#[path = "http1/differential.rs"]
mod differential;
#[path = "http1/play.rs"]
mod play;

use std::collections::HashSet;

use kt_core::http1::head::{Fields, RequestHead, Search};
use kt_core::limits::Limits;

use play::{Client, End, answer, answer_cases, request_cases};

/// Plays `text` to `play` whole, byte by byte and cut at every point, which must all come to the same.
fn in_all_splits<T: PartialEq + std::fmt::Debug>(
    text: &[u8],
    mut play: impl FnMut(&mut dyn Iterator<Item = &[u8]>) -> T,
) -> T {
    let whole = play(&mut [text].into_iter());
    assert_eq!(play(&mut text.chunks(1)), whole, "byte by byte: {}", text.escape_ascii());
    for cut in 0..=text.len() {
        let (head, tail) = text.split_at(cut);
        assert_eq!(play(&mut [head, tail].into_iter()), whole, "cut at {cut}: {}", text.escape_ascii());
    }
    whole
}

fn word(end: End, whole: String) -> String {
    match end {
        End::Whole => whole,
        End::More => "more".to_owned(),
        End::Refused(kind) => kind.as_str().to_owned(),
    }
}

#[test]
fn each_request_gets_the_verdict_it_must_get() {
    let limits = Limits::default();
    let mut malformed = HashSet::new();
    let mut wrong = Vec::new();
    for (line, verdict, text) in request_cases() {
        let (requests, end) = in_all_splits(&text, |reads| Client::serve(reads, &limits));
        let got = word(end, format!("ok{}", requests.len()));
        if got != verdict {
            wrong.push(format!("requests.txt:{line}: is {got}, must be {verdict}: {}", text.escape_ascii()));
        }
        if matches!(end, End::Refused(_)) {
            assert!(malformed.insert(text), "requests.txt:{line} stands there twice");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(malformed.len() >= 150, "only {}", malformed.len());
}

#[test]
fn each_response_gets_the_verdict_it_must_get() {
    let mut wrong = Vec::new();
    for (line, verdict, text) in answer_cases() {
        let (_, reusable, end) = in_all_splits(&text, |reads| answer(reads));
        let got = word(end, if reusable { "ok" } else { "last" }.to_owned());
        if got != verdict {
            wrong.push(format!("responses.txt:{line}: is {got}, must be {verdict}: {}", text.escape_ascii()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Heads that mutations start from; all are well-formed.
const SEEDS: &[&str] = &[
    "GET /v1/models HTTP/1.1\r\nHost: localhost:41002\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
    "POST /v1/chat/completions?x=y HTTP/1.1\r\nHost: [::1]:80\r\nContent-Type: application/json\r\n\
        Content-Length: 2\r\nAuthorization: Bearer sk-0123456789abcdef0123456789abcdef\r\nConnection: keep-alive\r\n\r\n{}",
    "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n\
        5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    "\r\nOPTIONS http://a:80/p HTTP/1.1\r\nhost:\ta\t\r\nX:\r\nX-Long-Name_09: D\u{fc}sseldorf, 0123456789 0123456789\r\n\r\n",
];

/// Changes one to three things of the kind that split parsers.
fn mutate(rng: &mut fastrand::Rng, seed: &[u8]) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"\0",
        b"\x0b",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"#",
        b"@",
        b"0",
        b"1.",
        b"chunked",
        b"\r\nContent-Length: 5",
        b"\r\nTransfer-Encoding: chunked",
        b"\r\nHost: a",
        b"\r\n ",
        b"HTTP/1.1",
    ];
    let mut text = seed.to_vec();
    for _ in 0..rng.u32(1..=3) {
        let at = rng.usize(..=text.len());
        let end = (at + rng.usize(..4)).min(text.len());
        match rng.u32(..5) {
            0 => drop(text.splice(at..end, [rng.u8(..)])),
            1 => drop(text.splice(at..at, rng.choice(PIECES).expect("not empty").iter().copied())),
            2 => drop(text.splice(at..end, rng.choice(PIECES).expect("not empty").iter().copied())),
            3 => drop(text.drain(at..end)),
            _ => {
                let copy = text[at..(at + rng.usize(..40)).min(text.len())].to_vec();
                drop(text.splice(at..at, copy));
            }
        }
    }
    text
}

#[test]
fn mutated_connections_end_the_same_however_they_are_split() {
    let mut rng = fastrand::Rng::with_seed(1);
    let limits = Limits { head_bytes_max: 280, head_fields_max: 8, ..Limits::default() };
    let mut ends = HashSet::new();
    for round in 0..20_000 {
        let text = mutate(&mut rng, SEEDS[round % SEEDS.len()].as_bytes());
        let whole = Client::serve([&text[..]], &limits);
        let (head, tail) = text.split_at(rng.usize(..=text.len()));
        assert_eq!(Client::serve([head, tail], &limits), whole, "{}", text.escape_ascii());
        assert_eq!(Client::serve(text.chunks(rng.usize(1..9)), &limits), whole, "{}", text.escape_ascii());
        ends.insert(word(whole.1, "ok".to_owned()));
    }
    for end in ["ok", "more", "bare_line_end", "malformed_chunk", "head_too_large", "malformed_field_value"] {
        assert!(ends.contains(end), "no mutation came to {end}: {ends:?}");
    }
}

#[test]
fn mutated_answers_end_the_same_however_they_are_split() {
    let seeds: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Request-Id: req_1\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.0 200\r\nConnection: close\r\n\r\nhello",
    ];
    let mut rng = fastrand::Rng::with_seed(2);
    for round in 0..20_000 {
        let text = mutate(&mut rng, seeds[round % seeds.len()]);
        let whole = answer([&text[..]]);
        let (head, tail) = text.split_at(rng.usize(..=text.len()));
        assert_eq!(answer([head, tail]), whole, "{}", text.escape_ascii());
    }
}

/// A second opinion on request heads: slow, plain, and sharing nothing with the parser but the RFC. `None` where it
/// has no opinion: the head isn't whole, or its target is in absolute form.
fn is_well_formed(text: &[u8]) -> Option<bool> {
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let text = text.strip_prefix(b"\r\n").unwrap_or(text);
    let text = text.strip_prefix(b"\r\n").unwrap_or(text);
    let len = text.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut lines = Vec::new();
    let mut rest = &text[..len];
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    if lines.iter().any(|line| line.contains(&b'\r') || line.contains(&b'\n')) {
        return Some(false);
    }
    let words: Vec<&[u8]> = lines[0].split(|&b| b == b' ').collect();
    let &[method, target, version] = &words[..] else { return Some(false) };
    if target.starts_with(b"http") {
        return None;
    }
    let line_fits = !method.is_empty()
        && method.len() <= 32
        && method.iter().all(token)
        && method != b"CONNECT"
        && target.first() == Some(&b'/')
        && target.iter().all(|&b| (0x21..0x7f).contains(&b) && b != b'#')
        && (version == b"HTTP/1.1" || version == b"HTTP/1.0");
    let mut hosts = Vec::new();
    let fields_fit = lines[1..].iter().all(|line| {
        let Some(colon) = line.iter().position(|&b| b == b':') else { return false };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"host") {
            hosts.push(String::from_utf8_lossy(value).into_owned());
        }
        !name.is_empty()
            && name.iter().all(token)
            && line[colon..].iter().all(|&b| b == b'\t' || b >= b' ' && b != 0x7f)
    });
    let host_fits = match &hosts[..] {
        [] => version == b"HTTP/1.0",
        [host] => is_host(host),
        _ => false,
    };
    Some(line_fits && fields_fit && host_fits)
}

fn is_host(text: &str) -> bool {
    let port_at = text.rfind(':').filter(|&at| at > text.rfind(']').unwrap_or(0)).unwrap_or(text.len());
    let (name, port) = text.split_at(port_at);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name_fits = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c)),
    };
    let digits = port.strip_prefix(':').unwrap_or("0");
    name_fits && digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() < 6 && digits.parse::<u16>().is_ok()
}

#[test]
fn a_head_is_taken_if_and_only_if_a_second_reader_takes_it() {
    let mut rng = fastrand::Rng::with_seed(3);
    let limits = Limits::default();
    let (mut taken, mut refused) = (0, 0);
    for round in 0..20_000 {
        let text = mutate(&mut rng, SEEDS[round % SEEDS.len()].as_bytes());
        let Some(expected) = is_well_formed(&text) else { continue };
        let head = RequestHead::parse(&text, &mut Search::default(), &mut Fields::default(), &limits);
        assert_eq!(head.as_ref().is_ok_and(Option::is_some), expected, "{head:?}: {}", text.escape_ascii());
        *if expected { &mut taken } else { &mut refused } += 1;
    }
    assert!(taken > 3_000 && refused > 3_000, "{taken} taken, {refused} refused");
}

#[test]
fn every_byte_is_judged_alike_at_every_place() {
    // httparse looks at 8, 16 or 32 bytes at a time: a byte must not slip through at one place of such a block.
    for byte in 0..=255_u8 {
        for at in 0..40 {
            for place in ["method", "target", "name", "value"] {
                let mut text = vec![b'a'; if place == "method" { 31 } else { 70 }];
                let Some(slot) = text.get_mut(at) else { continue };
                *slot = byte;
                let head = match place {
                    "method" => [&text[..], b" / HTTP/1.1\r\nHost: a\r\n\r\n"].concat(),
                    "target" => [b"GET /", &text[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat(),
                    "name" => [b"GET / HTTP/1.1\r\nHost: a\r\n", &text[..], b": x\r\n\r\n"].concat(),
                    _ => [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", &text[..], b"\r\n\r\n"].concat(),
                };
                let parsed =
                    RequestHead::parse(&head, &mut Search::default(), &mut Fields::default(), &Limits::default());
                let taken = parsed.is_ok_and(|head| head.is_some());
                assert_eq!(Some(taken), is_well_formed(&head), "{byte:#04x} at {at} of a {place}");
            }
        }
    }
}

/// The value of a string field, or of the first level of a list of strings, in a line of JSON without escapes.
fn json_strings<'a>(line: &'a str, key: &str) -> Vec<&'a str> {
    let Some((_, value)) = line.split_once(&format!("\"{key}\": ")) else { return Vec::new() };
    let end = if value.starts_with('[') { value.find(']') } else { value[1..].find('"').map(|end| end + 2) };
    value[..end.expect("the value ends")].split('"').skip(1).step_by(2).collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |b: &u8| ALPHABET.iter().position(|a| a == b).expect("base64") as u32;
    let digits: Vec<u32> = text.trim_end_matches('=').as_bytes().iter().map(digit).collect();
    let bytes = digits.chunks(4).flat_map(|quad| {
        let bits = quad.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - quad.len()));
        bits.to_be_bytes()[1..quad.len()].to_vec()
    });
    bytes.collect()
}

fn replace(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut replaced = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from.as_bytes()) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(to.as_bytes());
        rest = &rest[at + from.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

/// The bytes of a corpus step, with the placeholders that the corpus' README lists filled in.
fn corpus_step(base64: &str) -> Vec<u8> {
    let step = from_base64(base64);
    let step = replace(&step, "__HOST__", "127.0.0.1:8080");
    let step = replace(&step, "__HOSTNAME__", "127.0.0.1");
    let step = replace(&step, "__PORT__", "8080");
    let step = replace(&step, "HOSTHOSTHOST", "a12345678901");
    let body = step.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| step.len() - at - 4);
    replace(&step, "__CL_BODY__", &body.to_string())
}

/// Corpus cases whose verdict is not ours, and why.
const CORPUS_EXCEPTIONS: &[(&str, &str)] = &[
    ("LLHTTP-connection-83", "what follows the last request of a connection is never read"),
    ("LLHTTP-connection-296", "what follows the last request of a connection is never read"),
    ("LLHTTP-connection-346", "what follows the last request of a connection is never read"),
    ("LLHTTP-invalid-68", "which methods there are is the path's business"),
    ("LLHTTP-invalid-358", "which methods there are is the path's business"),
    ("LLHTTP-invalid-492", "the line has no end yet: more is waited for, as long as a head may take"),
    ("LLHTTP-method-137", "the asterisk form is refused"),
    ("LLHTTP-method-374", "ICE is another protocol"),
    ("LLHTTP-method-404", "RTSP is another protocol"),
    ("LLHTTP-method-432", "RTSP is another protocol"),
    ("LLHTTP-sample-107", "a host with an equals sign is none"),
    ("LLHTTP-transfer-encoding-368", "quoted strings in chunk extensions are refused"),
    ("LLHTTP-transfer-encoding-795", "a target may not have a fragment; nor would its two codings pass"),
    ("LLHTTP-uri-167", "a target may not have a fragment"),
    ("LLHTTP-uri-224", "a target may not have user information"),
    (
        "SMUGVAR-default-xprespace-ff-TECL",
        "0xff in a value is a byte like any other, so its length alone frames the body; what follows is pipelined",
    ),
];

#[test]
fn the_corpus_is_judged_as_it_wants() {
    let Some(corpus) = std::env::var_os("KT_CORPUS") else {
        let wanted = std::env::var("KT_NO_SKIP").is_ok_and(|list| list.split(',').any(|item| item == "corpus"));
        assert!(!wanted, "KT_NO_SKIP wants the corpus, but KT_CORPUS is not set");
        eprintln!("SKIPPED: KT_CORPUS is not set");
        return;
    };
    let limits = Limits::default();
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in ["http11probe", "llhttp-requests", "te-obfuscation"] {
        let path = std::path::Path::new(&corpus).join(format!("http/{file}.jsonl"));
        for line in std::fs::read_to_string(&path).expect("the corpus has an http folder").lines() {
            let (id, class) = (json_strings(line, "id")[0], json_strings(line, "class")[0]);
            let mut steps: Vec<Vec<u8>> = json_strings(line, "steps_b64").into_iter().map(corpus_step).collect();
            if file == "llhttp-requests" && !steps[0].to_ascii_lowercase().windows(5).any(|w| w == b"host:") {
                // llhttp reads lines and leaves their meaning to Node: most of its cases have no Host.
                steps[0] = replace(&steps[0], " HTTP/1.1\r\n", " HTTP/1.1\r\nHost: a\r\n");
            }
            let (requests, end) = Client::serve(steps.iter().map(Vec::as_slice), &limits);
            assert_eq!(Client::serve(steps.concat().chunks(7), &limits), (requests.clone(), end), "{id} in pieces");
            let refused = matches!(end, End::Refused(_));
            let smuggled = requests.iter().any(|request| request.path.contains("smuggled"));
            let fits = match class {
                "must-reject" => refused && requests.is_empty(),
                "must-accept" => !refused && requests.len() == 1,
                "must-parse" => !refused,
                "one-request-only" | "smuggle-variant" => requests.len() <= 1 && !smuggled,
                "no-desync" => requests.len() <= steps.len(),
                "may-reject" | "behaviour" | "lenient-only" | "pause" => true,
                _ => panic!("unknown class {class}"),
            };
            count += 1;
            if fits == CORPUS_EXCEPTIONS.iter().any(|(exception, _)| *exception == id) {
                wrong.push(format!(
                    "{id} ({class}): {} requests, {end:?}: {}",
                    requests.len(),
                    steps[0].escape_ascii()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 500, "only {count} cases");
}
