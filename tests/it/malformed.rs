//! Malformed requests, and what each of them gets: never a vendor's ear.
//!
//! The cases are data: `tests/cases/malformed.txt`, and the corpus where `KT_CORPUS` names it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::{env, fs};

use crate::harness::{Answer, Case, Config, Gateway, Vendor, cases, chat, lines, on_each_driver, openai, skip};

const CASES: &str = include_str!("../cases/malformed.txt");
/// What the cases mean by `<json>`.
const JSON: &str = r#"{"model":"chat","messages":[{"role":"user","content":"smuggle"}]}"#;

/// What the other words of the file stand for.
fn malformed() -> Vec<Case> {
    let (len, hex) = (JSON.len().to_string(), format!("{:x}", JSON.len()));
    let words = [
        ("<post>", r"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"),
        ("<length>", r"Content-Length: <len>\r\n"),
        ("<chunked>", r"Transfer-Encoding: chunked\r\n"),
        ("<chunks>", r"<hex>\r\n<json>\r\n0\r\n\r\n"),
        ("<len>", &len),
        ("<hex>", &hex),
        ("<json>", JSON),
    ];
    cases(CASES, &words)
}

/// The status and the code that a case must get.
fn expected(case: &Case) -> (u16, String) {
    (case.verdict[0].parse().expect("a status"), case.verdict[1].to_owned())
}

#[test]
fn each_is_refused_and_no_vendor_hears_of_it() {
    let cases = malformed();
    let distinct: HashSet<&[u8]> = cases.iter().map(|case| &case.bytes[..]).collect();
    assert!(distinct.len() >= 150 && distinct.len() == cases.len(), "{} of {}", distinct.len(), cases.len());
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let mut wrong = Vec::new();
        for case in &cases {
            let mut client = gateway.client();
            let answer = client.ask(&case.bytes);
            let got = (answer.status, answer.error(answer.status));
            // Closed in order behind the answer, and without a word to what follows it.
            let is_closed = answer.field("connection") == Some("close") && client.is_closed();
            if got != expected(case) || !is_closed {
                wrong.push(format!("line {}: {got:?}, closed: {is_closed}", case.line));
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(vendor.connections(), 0, "a vendor heard of it");
        // What a head could be read of is a request, and has its event; the rest is counted.
        let codes = cases.iter().map(|case| case.verdict[1]);
        let logged: Vec<&str> = codes.filter(|code| LOGGED.contains(code)).collect();
        gateway.client().ask(chat("chat")).openai_completion();
        let events = gateway.stop();
        let kinds: Vec<String> = events[..events.len() - 1].iter().map(|event| event.text("error.kind")).collect();
        assert_eq!(kinds, logged);
    });
}

/// Faults of a body, whose head could be read.
const LOGGED: [&str; 5] =
    ["length_and_chunked_together", "malformed_length", "unknown_transfer_coding", "malformed_chunk", "body_too_large"];

#[test]
fn the_gateways_own_paths_take_no_malformed_request_either() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::before(&vendor);
    let mut wrong = Vec::new();
    for case in malformed() {
        let (status, _) = expected(&case);
        for path in ["/healthz", "/nothing/of/this/length"] {
            let bytes = replace(&case.bytes, b"/v1/chat/completions", path.as_bytes());
            let mut client = gateway.client();
            let answer = client.ask(bytes);
            let is_closed = answer.field("connection") == Some("close") && client.is_closed();
            // There, what comes in chunks and is large is left unread, however large it says it is.
            let is_left = status == 413 && [404, 405].contains(&answer.status);
            if !(answer.status == status || is_left) || !is_closed {
                wrong.push(format!("line {} at {path}: {}, closed: {is_closed}", case.line, answer.status));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!((gateway.stop().len(), vendor.connections()), (0, 0));
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

// The corpus.

/// Cases of the corpus whose verdict is not ours, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("LLHTTP-connection-83", "what follows the last request of a connection is never read"),
    ("LLHTTP-connection-296", "what follows the last request of a connection is never read"),
    ("LLHTTP-connection-346", "what follows the last request of a connection is never read"),
    ("LLHTTP-invalid-68", "which methods there are is the path's business"),
    ("LLHTTP-invalid-358", "which methods there are is the path's business"),
    ("LLHTTP-invalid-492", "the line has no end yet, and who is gone before it has is told nothing"),
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

/// One connection of the corpus: what is sent, step by step.
struct Probe {
    id: String,
    class: String,
    steps: Vec<Vec<u8>>,
}

/// All of them; none, and a word about it, where there is no corpus.
fn probes(host: &str) -> Option<Vec<Probe>> {
    let corpus = env::var_os("KT_CORPUS").map(|corpus| PathBuf::from(corpus).join("http"));
    let Some(corpus) = corpus.filter(|corpus| corpus.is_dir()) else {
        skip("corpus", "KT_CORPUS names no directory with http in it");
        return None;
    };
    let mut probes = Vec::new();
    for file in ["http11probe", "llhttp-requests", "te-obfuscation"] {
        let path = corpus.join(format!("{file}.jsonl"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        probes.extend(lines(&text).iter().map(|line| {
            let steps = line.items("steps_b64").into_iter().map(|step| step_of(&step.text(""), host));
            let mut probe = Probe { id: line.text("id"), class: line.text("class"), steps: steps.collect() };
            let has_host = probe.steps[0].to_ascii_lowercase().windows(5).any(|word| word == b"host:");
            if file == "llhttp-requests" && !has_host {
                // llhttp reads lines and leaves their meaning to Node: most of its cases have no Host.
                probe.steps[0] = replace(&probe.steps[0], b" HTTP/1.1\r\n", b" HTTP/1.1\r\nHost: a\r\n");
            }
            probe
        }));
    }
    Some(probes)
}

/// The bytes of a step, with the placeholders that the corpus' README lists filled in.
fn step_of(base64: &str, host: &str) -> Vec<u8> {
    let (name, port) = host.split_once(':').expect("an address");
    let mut step = from_base64(base64);
    for (placeholder, what) in
        [("__HOST__", host), ("__HOSTNAME__", name), ("__PORT__", port), ("HOSTHOSTHOST", "a12345678901")]
    {
        step = replace(&step, placeholder.as_bytes(), what.as_bytes());
    }
    let body = step.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| step.len() - at - 4);
    replace(&step, b"__CL_BODY__", body.to_string().as_bytes())
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

/// Whether this is what malformed bytes get. A body that isn't whole when the client says that it is done is another thing.
fn is_refusal(answer: &Answer) -> bool {
    [400, 408, 413, 431].contains(&answer.status) && !answer.text().contains("body_cut_off")
}

#[test]
fn the_corpus_gets_what_it_wants_and_no_vendor_hears_of_it() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let Some(probes) = probes(&gateway.address().to_string()) else { return };
        let mut wrong = Vec::new();
        for Probe { id, class, steps } in &probes {
            let answers = gateway.client().play(steps);
            let refused = answers.iter().position(is_refusal);
            // Behind a refusal comes nothing.
            let is_last = refused.is_none_or(|at| at + 1 == answers.len());
            let fits = match class.as_str() {
                "must-reject" => refused == Some(0),
                "must-accept" => answers.len() == 1 && refused.is_none(),
                "must-parse" => refused.is_none(),
                "one-request-only" | "smuggle-variant" => answers.len() <= 1,
                "no-desync" => answers.len() <= steps.len(),
                "may-reject" | "behaviour" | "lenient-only" | "pause" => true,
                _ => panic!("unknown class {class}"),
            };
            if !is_last || fits == EXCEPTIONS.iter().any(|(exception, _)| exception == id) {
                let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
                wrong.push(format!("{id} ({class}): {statuses:?} to {}", steps[0].escape_ascii()));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(probes.len() > 500, "only {} cases", probes.len());
        assert_eq!(vendor.connections(), 0, "a vendor heard of it");
        gateway.client().ask(chat("chat")).openai_completion();
    });
}
