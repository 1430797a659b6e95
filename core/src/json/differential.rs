//! [`scan`](super::scan) and [`Value`] held against simd-json: over a published suite of texts, and over texts that a
//! seeded generator makes and then damages. They have to agree on what is JSON and on everything that is in it.

use simd_json::{Node, StaticNode};

use super::scan::scan_any;
use super::{JsonFault, Kind, Problem, Scratch, Value};

/// Where the two may disagree, and why that is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exception {
    /// We refuse what some readers would resolve in another way than others.
    DuplicateName,
    /// We bound the depth.
    TooDeep,
    /// simd-json refuses numbers that it can't hold; we don't compute them.
    NumberOutOfRange,
}

/// Whether both agree on `text`; else the exception that allows it.
fn check(text: &[u8], scratch: &mut Scratch) -> Option<Exception> {
    let ours = scan_any(text, scratch);
    let mut copy = text.to_vec();
    let theirs = simd_json::to_tape(&mut copy);
    match (ours, theirs) {
        (Ok(span), Ok(tape)) => {
            let mut nodes = tape.0.iter();
            same(Value::at(text, span), &mut nodes, text);
            assert!(nodes.next().is_none());
            None
        }
        (Err(_), Err(_)) => None,
        (Err(JsonFault { problem: Problem::Duplicate { .. }, .. }), Ok(_)) => Some(Exception::DuplicateName),
        (Err(JsonFault { problem: Problem::TooDeep, .. }), Ok(_)) => Some(Exception::TooDeep),
        (Ok(span), Err(_)) if out_of_range(Value::at(text, span)) => Some(Exception::NumberOutOfRange),
        (ours, theirs) => panic!("{}: ours {ours:?}, theirs {theirs:?}", text.escape_ascii()),
    }
}

/// Whether a number at or beneath this value needs more than simd-json has.
fn out_of_range(value: Value<'_>) -> bool {
    match value.kind() {
        Kind::Number => {
            let whole = !value.raw().iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
            let float: f64 = std::str::from_utf8(value.raw()).unwrap().parse().unwrap();
            float.is_infinite() || whole && !(-9.2e18..=1.8e19).contains(&float)
        }
        Kind::Object => value.fields().any(|(_, value)| out_of_range(value)),
        Kind::Array => value.items().any(out_of_range),
        Kind::String | Kind::Bool | Kind::Null => false,
    }
}

/// Takes the nodes of `value` from the tape, all of them alike.
fn same<'n, 'i: 'n>(value: Value<'_>, nodes: &mut impl Iterator<Item = &'n Node<'i>>, text: &[u8]) {
    let text = || text.escape_ascii();
    match nodes.next().expect("as many nodes as values") {
        Node::String(string) => assert!(value.to_str().as_deref() == Some(*string) && value.is(string), "{}", text()),
        Node::Object { len, .. } => {
            assert_eq!((value.kind(), value.fields().count()), (Kind::Object, *len), "{}", text());
            for (name, value) in value.fields() {
                same(name, nodes, b"");
                same(value, nodes, b"");
            }
        }
        Node::Array { len, .. } => {
            assert_eq!((value.kind(), value.items().count()), (Kind::Array, *len), "{}", text());
            for value in value.items() {
                same(value, nodes, b"");
            }
        }
        Node::Static(StaticNode::Null) => assert!(value.is_null(), "{}", text()),
        Node::Static(StaticNode::Bool(bool)) => assert_eq!(value.to_bool(), Some(*bool), "{}", text()),
        Node::Static(StaticNode::U64(number)) => assert_eq!(value.to_u64(), Some(*number), "{}", text()),
        Node::Static(StaticNode::I64(number)) => {
            assert_eq!((value.kind(), value.to_f64()), (Kind::Number, Some(*number as f64)), "{}", text());
        }
        Node::Static(StaticNode::F64(number)) => {
            let ours = value.to_f64().expect("a number");
            // swar-number-parsing may round the last digit in another way.
            assert!((ours - number).abs() <= number.abs() * 1e-15, "{}: {ours} {number}", text());
        }
    }
}

/// Makes JSON texts that have everything the grammar has, in all its spellings.
struct Generator {
    rng: fastrand::Rng,
    text: Vec<u8>,
}

impl Generator {
    fn text(&mut self) -> &mut Vec<u8> {
        self.text.clear();
        if self.rng.u8(..8) == 0 {
            self.value(0)
        } else {
            self.object(0)
        }
        &mut self.text
    }

    fn value(&mut self, depth: usize) {
        self.space();
        match self.rng.u8(..if depth > 5 { 6 } else { 9 }) {
            0 => self.text.extend_from_slice(b"null"),
            1 => self.text.extend_from_slice(if self.rng.bool() { b"true" } else { b"false" }),
            2 | 3 => self.number(),
            4 | 5 => self.string(),
            6 | 7 => self.object(depth + 1),
            _ => {
                self.text.push(b'[');
                for nth in 0..self.rng.usize(..5) {
                    if nth > 0 {
                        self.text.push(b',');
                    }
                    self.value(depth + 1);
                }
                self.space();
                self.text.push(b']');
            }
        }
        self.space();
    }

    fn object(&mut self, depth: usize) {
        self.text.push(b'{');
        let fields = if self.rng.u8(..40) == 0 { 30 } else { self.rng.usize(..5) };
        for nth in 0..fields {
            if nth > 0 {
                self.text.push(b',');
            }
            self.space();
            self.string();
            self.space();
            self.text.push(b':');
            self.value(depth + 1);
        }
        self.space();
        self.text.push(b'}');
    }

    fn number(&mut self) {
        let number = match self.rng.u8(..6) {
            0 => "0".to_owned(),
            1 => "-0".to_owned(),
            2 => self.rng.i32(..).to_string(),
            3 => self.rng.u64(..).to_string(),
            4 => format!("{}.{}e{}", self.rng.i16(..), self.rng.u16(..), self.rng.i8(..)),
            _ => format!("{}E+{}", self.rng.i16(..), self.rng.u8(..30)),
        };
        self.text.extend_from_slice(number.as_bytes());
    }

    fn string(&mut self) {
        self.text.push(b'"');
        let len = if self.rng.u8(..20) == 0 { 80 } else { self.rng.usize(..9) };
        for _ in 0..len {
            match self.rng.u8(..24) {
                0 => {
                    let escape = *self.rng.choice(br#""\/bfnrt"#).unwrap();
                    self.text.extend_from_slice(&[b'\\', escape]);
                }
                1 => {
                    let mut units = [0; 2];
                    for unit in self.rng.char(..).encode_utf16(&mut units) {
                        let escape = format!("\\u{unit:04x}");
                        self.text.extend_from_slice(escape.as_bytes());
                    }
                }
                2 => {
                    let mut bytes = [0; 4];
                    let character = self.rng.char('\u{20}'..);
                    if !matches!(character, '"' | '\\') {
                        self.text.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
                    }
                }
                _ => self.text.push(self.rng.alphanumeric() as u8),
            }
        }
        self.text.push(b'"');
    }

    fn space(&mut self) {
        while self.rng.u8(..6) == 0 {
            let space = *self.rng.choice(b" \n\r\t").unwrap();
            self.text.push(space);
        }
    }

    /// Damages a text in a few places, mostly with bytes that mean something.
    fn damage(&mut self) {
        const BYTES: &[u8] = b"{}[]:,\"\\0123456789-+.eEu dntf/\x00\x1f\x7f\x80\xc3\xed\xa0\xf4\xff\xef\xbb\xbf\n";
        for _ in 0..=self.rng.usize(..3) {
            let at = self.rng.usize(..=self.text.len());
            let end = (at + self.rng.usize(..4)).min(self.text.len());
            let byte = *self.rng.choice(BYTES).unwrap();
            match self.rng.u8(..5) {
                0 => self.text.truncate(at),
                1 => self.text.insert(at, byte),
                2 => drop(self.text.drain(at..end)),
                3 => {
                    let copy = self.text[at..end].to_vec();
                    let to = self.rng.usize(..=self.text.len());
                    self.text.splice(to..to, copy);
                }
                _ => {
                    if let Some(place) = self.text.get_mut(at) {
                        *place = byte;
                    }
                }
            }
        }
    }
}

#[test]
fn generated_texts_are_read_as_simd_json_reads_them() {
    let mut generator = Generator { rng: fastrand::Rng::with_seed(8259), text: Vec::new() };
    let mut scratch = Scratch::default();
    let mut good = 0;
    for _ in 0..6_000 {
        let text = generator.text().clone();
        let exception = check(&text, &mut scratch);
        assert!(matches!(exception, None | Some(Exception::DuplicateName)), "{exception:?}: {}", text.escape_ascii());
        good += usize::from(exception.is_none());
    }
    assert!(good > 4_800, "{good} of 6000 texts are good");
}

#[test]
fn damaged_texts_are_refused_where_simd_json_refuses_them() {
    let mut generator = Generator { rng: fastrand::Rng::with_seed(4627), text: Vec::new() };
    let mut scratch = Scratch::default();
    let (mut good, mut exceptions) = (0, 0);
    for _ in 0..12_000 {
        generator.text();
        generator.damage();
        let text = generator.text.clone();
        exceptions += usize::from(check(&text, &mut scratch).is_some());
        good += usize::from(scan_any(&text, &mut scratch).is_ok());
    }
    assert!((1_200..10_800).contains(&good), "{good} of 12000 texts are good");
    assert!(exceptions < 1_200, "{exceptions} of 12000 texts are exceptions");
}

/// The suite of Nicolas Seriot (nst/JSONTestSuite): what must be read, what must be refused, and what may be either.
#[test]
fn the_published_suite_is_decided_as_it_demands() {
    let Some(corpus) = std::env::var_os("KT_CORPUS") else {
        let demanded = std::env::var("KT_NO_SKIP").is_ok_and(|list| list.split(',').any(|each| each == "corpus"));
        assert!(!demanded, "KT_NO_SKIP demands the corpus, but KT_CORPUS names none");
        eprintln!("SKIPPED: KT_CORPUS names no corpus");
        return;
    };
    let path = std::path::Path::new(&corpus).join("body-json/json-test-suite.jsonl");
    let suite = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut scratch = Scratch::default();
    let mut exceptions = Vec::new();
    for line in suite.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let case = super::scan(line, &mut scratch).expect("a line of the suite").value();
        let text = |name| case.get(name).and_then(Value::to_str).expect("a field of the suite");
        let id = text("id");
        let text_of_case = base64(&text("data_b64"));
        exceptions.extend(check(&text_of_case, &mut scratch).map(|exception| (id.to_string(), exception)));
        match (text("expect").as_ref(), scan_any(&text_of_case, &mut scratch)) {
            ("accept", Ok(_)) | ("reject", Err(_)) | ("either", _) => {}
            ("accept", Err(JsonFault { problem: Problem::Duplicate { .. }, .. })) if id.contains("duplicated_key") => {}
            (expect, ours) => panic!("{id}: {expect}, ours {ours:?}"),
        }
    }
    let wanted = [
        ("JSON-i_number_huge_exp.json", Exception::NumberOutOfRange),
        ("JSON-i_number_neg_int_huge_exp.json", Exception::NumberOutOfRange),
        ("JSON-i_number_pos_double_huge_exp.json", Exception::NumberOutOfRange),
        ("JSON-i_number_real_neg_overflow.json", Exception::NumberOutOfRange),
        ("JSON-i_number_real_pos_overflow.json", Exception::NumberOutOfRange),
        ("JSON-i_number_too_big_neg_int.json", Exception::NumberOutOfRange),
        ("JSON-i_number_too_big_pos_int.json", Exception::NumberOutOfRange),
        ("JSON-i_number_very_big_negative_int.json", Exception::NumberOutOfRange),
        ("JSON-i_structure_500_nested_arrays.json", Exception::TooDeep),
        ("JSON-y_object_duplicated_key.json", Exception::DuplicateName),
        ("JSON-y_object_duplicated_key_and_value.json", Exception::DuplicateName),
    ];
    assert_eq!(exceptions, wanted.map(|(id, exception)| (id.to_owned(), exception)));
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<_> = text.bytes().filter_map(|byte| DIGITS.iter().position(|&digit| digit == byte)).collect();
    let group = |digits: &[usize]| {
        let number = digits.iter().chain(&[0; 3]).take(4).fold(0, |number, digit| number << 6 | digit);
        number.to_be_bytes()[5..5 + digits.len() - 1].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}
