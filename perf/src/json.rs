//! Writing JSON for people and plots: objects and lists, a line to each entry of the outermost two levels.

use kt_core::json::escape_into;

/// A JSON value, written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// A text.
    pub fn text(text: &str) -> Self {
        let mut out = Vec::with_capacity(text.len() + 2);
        escape_into(&mut out, text);
        Self(String::from_utf8_lossy(&out).into_owned())
    }

    /// A number, with as many digits as say something: three behind the point for small ones, none for large ones. What
    /// is no number is null.
    pub fn number(number: f64) -> Self {
        match number {
            _ if !number.is_finite() => Self("null".to_owned()),
            _ if number.abs() >= 1e4 || number.fract() == 0.0 => Self(format!("{number:.0}")),
            _ => Self(format!("{number:.3}")),
        }
    }

    /// A count.
    pub fn count(count: u64) -> Self {
        Self(count.to_string())
    }

    /// True or false.
    pub fn bool(is_so: bool) -> Self {
        Self(is_so.to_string())
    }

    /// Something, or null.
    pub fn maybe(value: Option<Self>) -> Self {
        value.unwrap_or_else(|| Self("null".to_owned()))
    }

    /// A list on one line.
    pub fn list(values: impl IntoIterator<Item = Self>) -> Self {
        let values: Vec<String> = values.into_iter().map(|value| value.0).collect();
        Self(format!("[{}]", values.join(", ")))
    }

    /// A list with a line to each value.
    pub fn lines(values: impl IntoIterator<Item = Self>) -> Self {
        let values: Vec<String> = values.into_iter().map(|value| value.0).collect();
        if values.is_empty() { Self("[]".to_owned()) } else { Self(format!("[\n{}\n]", values.join(",\n"))) }
    }

    /// An object on one line, in this order.
    pub fn object<'n>(fields: impl IntoIterator<Item = (&'n str, Self)>) -> Self {
        Self(format!("{{{}}}", fields_of(fields).join(", ")))
    }

    /// An object with a line to each field.
    pub fn page<'n>(fields: impl IntoIterator<Item = (&'n str, Self)>) -> Self {
        Self(format!("{{\n{}\n}}\n", fields_of(fields).join(",\n")))
    }

    /// What was written.
    pub fn into_string(self) -> String {
        self.0
    }
}

fn fields_of<'n>(fields: impl IntoIterator<Item = (&'n str, Json)>) -> Vec<String> {
    fields.into_iter().map(|(name, value)| format!("{}: {}", Json::text(name).0, value.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let object = Json::object([
            ("a \"b\"", Json::text("line\nbreak")),
            ("n", Json::list([Json::number(1.5), Json::number(2.0), Json::number(12_345.67), Json::number(f64::NAN)])),
            ("none", Json::maybe(None)),
        ]);
        assert_eq!(
            object.clone().into_string(),
            r#"{"a \"b\"": "line\nbreak", "n": [1.500, 2, 12346, null], "none": null}"#
        );
        let page = Json::page([("rows", Json::lines([object, Json::bool(true), Json::count(u64::MAX)]))]).into_string();
        let mut scratch = kt_core::json::Scratch::default();
        assert!(kt_core::json::scan(page.trim().as_bytes(), &mut scratch).is_ok(), "{page}");
        assert_eq!(Json::lines([]).into_string(), "[]");
    }
}
