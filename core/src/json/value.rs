//! Walking on in a text that was checked.
//!
//! Nothing is checked again and nothing remembered: each step reads its way past what it skips, which is quick enough
//! for the few steps that a request takes. Whoever needs every field of a value walks it once with [`Value::fields`].

use std::borrow::Cow;

use super::escape::{Unescaped, plain_len, unescaped};
use super::{Kind, Span};
use crate::block;

/// A value in a text that [`scan`](super::scan) took. In any other text the answers mean nothing, but none panics.
#[derive(Clone, Copy, Debug)]
pub struct Value<'t> {
    text: &'t [u8],
    span: Span,
}

/// The fields of an object: name and value, in the order of the text. The name is a string.
#[derive(Clone, Debug)]
pub struct Fields<'t> {
    walk: Walk<'t>,
}

/// The items of an array.
#[derive(Clone, Debug)]
pub struct Items<'t> {
    walk: Walk<'t>,
}

/// The strings beneath a value that are values themselves, not names; in the order of the text.
#[derive(Clone, Debug)]
pub struct Strings<'t> {
    walk: Walk<'t>,
}

/// A place in the text, and where to stop.
#[derive(Clone, Debug)]
struct Walk<'t> {
    text: &'t [u8],
    at: usize,
    end: usize,
}

impl<'t> Value<'t> {
    /// The value at `span`, which [`scan`](super::scan) or another value said, of the same `text`.
    pub const fn at(text: &'t [u8], span: Span) -> Self {
        Self { text, span }
    }

    /// Where it is in its text.
    pub const fn span(self) -> Span {
        self.span
    }

    /// Its text, as it stands.
    pub fn raw(self) -> &'t [u8] {
        self.span.of(self.text)
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.raw().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            Some(_) | None => Kind::Number,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// Whether it is a string that stands for `text`.
    #[inline(always)]
    pub fn is(self, text: &str) -> bool {
        let raw = self.raw();
        // Most are told apart by their first character. An escape is longer than what it stands for.
        let may_be = raw.len() >= text.len() + 2
            && raw[0] == b'"'
            && (raw[1] == b'\\' || raw[1] == text.as_bytes().first().copied().unwrap_or(b'"'));
        may_be && self.stands_for(text)
    }

    fn stands_for(self, text: &str) -> bool {
        let inside = self.inside();
        if inside.len() == text.len() {
            return inside == text.as_bytes() && !inside.contains(&b'\\');
        }
        inside.contains(&b'\\') && Unescaped::new(inside).eq(text.bytes())
    }

    /// What a string stands for, borrowed if it has no escapes; none for other values.
    pub fn to_str(self) -> Option<Cow<'t, str>> {
        (self.kind() == Kind::String).then(|| unescaped(self.inside()))
    }

    /// A boolean; none for other values.
    pub fn to_bool(self) -> Option<bool> {
        match self.raw() {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// A whole number, however it is spelled (`12`, `12.0`, `1.2e1`); none for other values, below zero, or beyond 64
    /// bits. Spelled with a point or an exponent it is exact up to 2⁵³ and none above.
    pub fn to_u64(self) -> Option<u64> {
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        let raw = self.raw();
        if matches!(raw.len(), 1..20) && raw.iter().all(u8::is_ascii_digit) {
            return Some(raw.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
        }
        if raw.iter().all(u8::is_ascii_digit) && !raw.is_empty() {
            let digit = |number: u64, digit: &u8| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
            return raw.iter().try_fold(0, digit);
        }
        let float = self.to_f64()?;
        ((0.0..=EXACT_MAX).contains(&float) && float.fract() == 0.0).then_some(float as u64)
    }

    /// A number, rounded to the nearest that 64 bits can hold; none for other values and for what is beyond them.
    pub fn to_f64(self) -> Option<f64> {
        let raw = self.raw();
        if !matches!(raw.first(), Some(b'-' | b'0'..=b'9')) {
            return None;
        }
        std::str::from_utf8(raw).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// The fields of an object; none of other values.
    pub fn fields(self) -> Fields<'t> {
        Fields { walk: Walk::into(self, Kind::Object) }
    }

    /// The items of an array; none of other values.
    pub fn items(self) -> Items<'t> {
        Items { walk: Walk::into(self, Kind::Array) }
    }

    /// The value of an object's field; none for other values, or without such a field.
    pub fn get(self, name: &str) -> Option<Self> {
        self.fields().find(|(each, _)| each.is(name)).map(|(_, value)| value)
    }

    /// The value at the end of a path, whose steps are names in objects and decimal places in arrays:
    /// `value.path(&["choices", "0", "delta"])`.
    pub fn path(self, steps: &[&str]) -> Option<Self> {
        steps.iter().try_fold(self, |value, step| match value.kind() {
            Kind::Object => value.get(step),
            Kind::Array => value.items().nth(step.parse().ok()?),
            Kind::String | Kind::Number | Kind::Bool | Kind::Null => None,
        })
    }

    /// Every string at or beneath this value, but for names.
    pub fn strings(self) -> Strings<'t> {
        Strings { walk: Walk { text: self.text, at: self.span.start as usize, end: self.span.end as usize } }
    }

    /// What stands between the quotes of a string; nothing for other values.
    pub(super) fn inside(self) -> &'t [u8] {
        match self.raw() {
            [b'"', inside @ .., b'"'] => inside,
            _ => b"",
        }
    }
}

impl<'t> Iterator for Fields<'t> {
    type Item = (Value<'t>, Value<'t>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.walk.value()?;
        let value = self.walk.value()?;
        Some((name, value))
    }
}

impl<'t> Iterator for Items<'t> {
    type Item = Value<'t>;

    fn next(&mut self) -> Option<Value<'t>> {
        self.walk.value()
    }
}

impl<'t> Iterator for Strings<'t> {
    type Item = Value<'t>;

    fn next(&mut self) -> Option<Value<'t>> {
        loop {
            let rest = self.walk.rest();
            self.walk.at += memchr::memchr(b'"', rest)?;
            let string = self.walk.value()?;
            self.walk.space();
            if self.walk.rest().first() != Some(&b':') {
                return Some(string);
            }
        }
    }
}

impl<'t> Walk<'t> {
    /// Before the first child of `value`, or at an end where it is not of this kind.
    fn into(value: Value<'t>, kind: Kind) -> Self {
        let (start, end) = (value.span.start as usize, value.span.end as usize);
        if value.kind() == kind && end > start {
            Self { text: value.text, at: start + 1, end: end - 1 }
        } else {
            Self { text: value.text, at: end, end }
        }
    }

    fn rest(&self) -> &'t [u8] {
        self.text.get(self.at..self.end).unwrap_or_default()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at).filter(|_| self.at < self.end) {
            self.at += 1;
        }
    }

    /// The next value, past the commas and colons before it.
    fn value(&mut self) -> Option<Value<'t>> {
        let text = self.text.get(..self.end)?;
        let mut start = self.at;
        while let Some(b',' | b':' | b' ' | b'\n' | b'\r' | b'\t') = text.get(start) {
            start += 1;
        }
        let end = match text.get(start)? {
            b'"' => start + string_len(&text[start..]),
            b'{' | b'[' => start + bracket_len(&text[start..]),
            _ => {
                let mut end = start + 1;
                while !matches!(text.get(end), None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')) {
                    end += 1;
                }
                end
            }
        };
        self.at = end;
        Some(Value::at(self.text, Span::new(start, end)))
    }
}

/// Length of the string that `bytes` start with, quotes included.
fn string_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(rest) = bytes.get(at..) {
        at += plain_len(rest);
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            // A control: in a text that was never checked.
            Some(_) => at += 1,
            None => break,
        }
    }
    bytes.len()
}

/// Length of the object or array that `bytes` start with, brackets included.
fn bracket_len(bytes: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        at += block::before(&bytes[at..], |block| {
            block.equal(b'"').or(block.equal_lowered(b'{')).or(block.equal_lowered(b'}'))
        });
        match bytes.get(at) {
            Some(b'"') => {
                at += string_len(&bytes[at..]);
                continue;
            }
            Some(b'{' | b'[') => depth += 1,
            Some(_) if depth == 1 => return at + 1,
            Some(_) => depth -= 1,
            None => return bytes.len(),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Scratch, scan};
    use super::*;

    const BODY: &str = r#"{"model": "gpt-4o", "n" : 1.5e1,"stream":true, "stop":null,
        "choices":[{"delta":{"content":"a\"b\u00e9\ud83d\ude00"}} , {"delta":{}}],
        "usage":{"prompt_tokens":12,"m\u006fdel":"x"}}"#;

    fn value(text: &str) -> Value<'_> {
        scan(text.as_bytes(), &mut Scratch::default()).expect("a good text").value()
    }

    #[test]
    fn a_path_leads_through_objects_and_arrays() {
        let cases: [(&[&str], Option<&str>); 10] = [
            (&[], Some(BODY)),
            (&["model"], Some("\"gpt-4o\"")),
            (&["n"], Some("1.5e1")),
            (&["stop"], Some("null")),
            (&["choices", "1", "delta"], Some("{}")),
            (&["choices", "1", "delta", "content"], None),
            (&["choices", "2"], None),
            (&["choices", "-1"], None),
            (&["usage", "model"], Some("\"x\"")),
            (&["model", "0"], None),
        ];
        for (path, wanted) in cases {
            let found = value(BODY).path(path).map(|value| std::str::from_utf8(value.raw()).unwrap());
            assert_eq!(found, wanted, "{path:?}");
        }
    }

    #[test]
    fn children_come_in_the_order_of_the_text() {
        let names: Vec<_> = value(BODY).fields().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["model", "n", "stream", "stop", "choices", "usage"]);
        let body = value(r#"{"a":[1,"two",[3], {"four":4} ,null,true]}"#);
        let kinds: Vec<_> = body.get("a").unwrap().items().map(Value::kind).collect();
        assert_eq!(kinds, [Kind::Number, Kind::String, Kind::Array, Kind::Object, Kind::Null, Kind::Bool]);
        assert_eq!(value("{}").fields().count(), 0);
        assert_eq!(value("{\"a\":[ ]}").get("a").unwrap().items().count(), 0);
        assert_eq!(value("{\"a\":[ ]}").items().count(), 0, "an object has no items");
    }

    #[test]
    fn strings_beneath_a_value_are_found_and_names_are_not() {
        let body = value(r#"{"a":"1","b" : ["2",{"c":"","d":[["4\"" ,"5"]],"e":7}],"f":{"g" :"6"}}"#);
        let strings: Vec<_> = body.strings().map(|string| string.to_str().unwrap()).collect();
        assert_eq!(strings, ["1", "2", "", "4\"", "5", "6"]);
        let alone: Vec<_> = body.get("a").unwrap().strings().map(Value::raw).collect();
        assert_eq!(alone, [b"\"1\""]);
    }

    #[test]
    fn a_string_is_compared_and_read_unescaped() {
        let content = value(BODY).path(&["choices", "0", "delta", "content"]).unwrap();
        assert_eq!(content.to_str().unwrap(), "a\"bé😀");
        assert!(content.is("a\"bé😀"));
        for other in ["", "a", "a\"bé😀!", r#"a\"b\u00e9\ud83d\ude00"#] {
            assert!(!content.is(other), "{other}");
        }
        assert!(matches!(value(BODY).get("model").unwrap().to_str(), Some(Cow::Borrowed("gpt-4o"))));
        assert!(!value(BODY).get("stop").unwrap().is(""));
        assert_eq!(value(BODY).get("n").unwrap().to_str(), None);
    }

    #[test]
    fn numbers_are_read_as_far_as_they_are_exact() {
        let cases = [
            ("0", Some(0), Some(0.0)),
            ("12", Some(12), Some(12.0)),
            ("12.0", Some(12), Some(12.0)),
            ("1.2e1", Some(12), Some(12.0)),
            ("12.5", None, Some(12.5)),
            ("-1", None, Some(-1.0)),
            ("-0", Some(0), Some(0.0)),
            ("18446744073709551615", Some(u64::MAX), Some(1.844_674_407_370_955_2e19)),
            ("18446744073709551616", None, Some(1.844_674_407_370_955_2e19)),
            ("1e300", None, Some(1e300)),
            ("1e999", None, None),
            ("true", None, None),
            ("\"12\"", None, None),
        ];
        for (number, whole, float) in cases {
            let text = format!("{{\"n\":{number}}}");
            let value = value(&text).get("n").unwrap();
            assert_eq!((value.to_u64(), value.to_f64()), (whole, float), "{number}");
        }
    }

    #[test]
    fn a_text_that_was_never_checked_does_no_harm() {
        let texts = [r#"{"a":["b\"#, r#"}]:,"a"{"#, r#"["\ud83d","\u00"]"#, "nul", "", "\"", "{", "[[[}}"];
        for text in texts {
            for span in (0..=text.len()).flat_map(|start| (0..=text.len() + 1).map(move |end| Span::new(start, end))) {
                let value = Value::at(text.as_bytes(), span);
                let walked = value.fields().count() + value.items().count() + value.strings().count();
                assert!(walked <= 2 * text.len());
                let _ =
                    (value.to_str(), value.to_u64(), value.to_f64(), value.to_bool(), value.is("a"), value.get("a"));
                assert!(value.strings().all(|string| string.to_str().is_some()));
            }
        }
    }
}
