//! Who a request is from, as far as its group wants to know: the unit that keeps its arm.

use std::borrow::Cow;

use crate::config::plan::{Group, UnitSource};
use crate::http1::head::Fields;
use crate::json::{Kind, Value};
use crate::limits::UNIT_BYTES_MAX;

/// A user, a session, a client: 1 to [`UNIT_BYTES_MAX`] bytes. It goes into hashes and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Unit<'a>(pub Cow<'a, [u8]>);

/// A request, where units are looked for.
pub struct Asked<'a> {
    /// Its head's fields.
    pub fields: &'a Fields,
    /// The buffer they lie in.
    pub head: &'a [u8],
    /// Its body, a JSON object.
    pub body: Value<'a>,
    /// The client's name, if the config knows who asks.
    pub client: Option<&'a str>,
}

/// The first of the group's sources that is there. What is empty or too long is not there, for an application that
/// doesn't know its user may well say so with an empty text, and all of those are not one user.
pub fn find_unit<'a>(group: &Group, asked: &Asked<'a>) -> Option<Unit<'a>> {
    let fits = |unit: &Cow<'_, [u8]>| (1..=UNIT_BYTES_MAX).contains(&unit.len());
    group.assign_by.iter().find_map(|source| source.read(asked).filter(fits)).map(Unit)
}

impl UnitSource {
    fn read<'a>(&self, asked: &Asked<'a>) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Header(name) => {
                let mut fields = asked.fields.iter(asked.head);
                let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))?;
                Some(Cow::Borrowed(value))
            }
            Self::Body(path) => {
                let value = path.iter().try_fold(asked.body, |value, key| value.get(key))?;
                match value.kind() {
                    Kind::String => Some(match value.to_str()? {
                        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                    }),
                    // As it is written: 7 and 7.0 are two.
                    Kind::Number => Some(Cow::Borrowed(value.raw())),
                    Kind::Bool | Kind::Null | Kind::Array | Kind::Object => None,
                }
            }
            Self::Client => asked.client.map(|name| Cow::Borrowed(name.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::{RequestHead, Search};
    use crate::json::Span;
    use crate::limits::Limits;
    use crate::route::tests::group;

    /// The unit of a request with these fields and this body, by these sources.
    fn unit(sources: &[UnitSource], fields: &str, body: &str, client: Option<&str>) -> Option<String> {
        let head = format!("POST / HTTP/1.1\r\nhost: h\r\n{fields}\r\n");
        let mut parsed = Fields::default();
        RequestHead::parse(head.as_bytes(), &mut Search::default(), &mut parsed, &Limits::default())
            .expect("a head")
            .expect("a whole one");
        let body = Value::at(body.as_bytes(), Span::new(0, body.len()));
        let asked = Asked { fields: &parsed, head: head.as_bytes(), body, client };
        let group = crate::config::plan::Group { assign_by: sources.into(), ..group("g", &[1, 1], 1) };
        find_unit(&group, &asked).map(|Unit(unit)| String::from_utf8(unit.into_owned()).expect("text"))
    }

    #[test]
    fn the_first_source_that_is_there_counts() {
        let header = || UnitSource::Header("x-user-id".into());
        let body = |path: &str| UnitSource::Body(path.split('.').map(Into::into).collect());
        let all = [header(), body("user"), body("metadata.user_id"), UnitSource::Client];
        let cases = [
            ("x-user-id: u-7\r\n", r#"{"user":"b"}"#, Some("c"), Some("u-7")),
            ("X-User-ID:  u-7 \r\n", "{}", None, Some("u-7")),
            ("x-user-id: one\r\nx-user-id: two\r\n", "{}", None, Some("one")),
            ("x-user-id:\r\n", r#"{"user":"b"}"#, None, Some("b")),
            ("", r#"{"user":"a\u00e9\"","metadata":{"user_id":"m"}}"#, None, Some("aé\"")),
            ("", r#"{"user":"","metadata":{"user_id":"m"}}"#, None, Some("m")),
            ("", r#"{"user":null,"metadata":{"user_id":7}}"#, Some("c"), Some("7")),
            ("", r#"{"user":true,"metadata":[]}"#, Some("c"), Some("c")),
            ("", r#"{"user":{"id":"x"},"metadata":"user_id"}"#, None, None),
            ("x-user-id-2: u\r\n", "{}", None, None),
        ];
        for (fields, body, client, wanted) in cases {
            assert_eq!(unit(&all, fields, body, client).as_deref(), wanted, "{fields} {body}");
        }
        assert_eq!(unit(&[], "x-user-id: u\r\n", "{}", Some("c")), None, "a group without sources has no units");
    }

    #[test]
    fn a_unit_has_a_length() {
        let user = |len| {
            unit(&[UnitSource::Body(["user".into()].into())], "", &format!(r#"{{"user":"{}"}}"#, "u".repeat(len)), None)
        };
        assert_eq!(user(UNIT_BYTES_MAX).map(|unit| unit.len()), Some(UNIT_BYTES_MAX));
        assert_eq!(user(UNIT_BYTES_MAX + 1), None);
    }
}
