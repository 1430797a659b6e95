//! A validator of JSON Schema, as much of it as the vendors' documents use; any other keyword fails, so nothing is passed
//! over in silence.
//!
//! Objects are closed: a property that the schema doesn't list is an error, also where the document says that others may
//! follow, since a misspelt field would pass there. What stays open is what the user writes: objects without listed
//! properties, and the schemas of tools.

use std::collections::BTreeMap;

use simd_json::prelude::*;
use simd_json::{OwnedValue, StaticNode};

/// A document with schemas in it.
pub(crate) struct Schema {
    document: OwnedValue,
}

/// Properties that may stand where the document doesn't list them. The first two are ours, and we say so: what the model
/// thought, for clients of OpenAI's language. The others are Anthropic's: its newest models don't take them any more, and
/// so the newest document leaves them out.
const UNLISTED: [&str; 5] = ["reasoning_content", "thinking_blocks", "temperature", "top_k", "top_p"];

/// Keywords that say nothing about whether a value is valid, or that the documents use for people.
const SILENT: [&str; 12] = [
    "$defs",
    "$schema",
    "default",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "format",
    "title",
    "x-stainless-const",
    "additionalProperties",
];

impl Schema {
    pub(crate) fn new(document: OwnedValue) -> Self {
        Self { document }
    }

    /// What is wrong with `value`, which has to be what `name` in the document says.
    pub(crate) fn errors(&self, name: &str, value: &OwnedValue) -> Vec<String> {
        let root = self.document.get(name).or_else(|| self.document.get("$defs")?.get(name));
        let root = root.unwrap_or_else(|| panic!("the document has no {name}"));
        let mut errors = Vec::new();
        let defs = root.get("$defs").or_else(|| self.document.get("$defs")).unwrap_or(&self.document);
        Walk { defs }.check(root, value, "", &mut errors);
        errors
    }
}

struct Walk<'s> {
    defs: &'s OwnedValue,
}

impl<'s> Walk<'s> {
    fn resolve(&self, schema: &'s OwnedValue) -> &'s OwnedValue {
        match schema.get_str("$ref") {
            Some(name) => {
                let name = name.strip_prefix("#/$defs/").unwrap_or_else(|| panic!("a reference to {name}"));
                self.resolve(self.defs.get(name).unwrap_or_else(|| panic!("no {name}")))
            }
            None => schema,
        }
    }

    /// The properties that a schema lists, those of all its parts together.
    fn properties(&self, schema: &'s OwnedValue, found: &mut BTreeMap<&'s str, Vec<&'s OwnedValue>>) {
        let schema = self.resolve(schema);
        for (name, property) in schema.get_object("properties").into_iter().flatten() {
            found.entry(name).or_default().push(property);
        }
        for part in schema.get_array("allOf").into_iter().flatten() {
            self.properties(part, found);
        }
    }

    fn check(&self, schema: &'s OwnedValue, value: &OwnedValue, at: &str, errors: &mut Vec<String>) {
        self.check_part(schema, value, at, errors);
        let mut properties = BTreeMap::new();
        self.properties(schema, &mut properties);
        // A tool's schema, which the user writes.
        let open = properties.is_empty() || self.resolve(schema).get_str("title") == Some("InputSchemaTyped");
        if let (Some(object), false) = (value.as_object(), open) {
            for name in object.keys().filter(|name| !properties.contains_key(name.as_str())) {
                if !UNLISTED.contains(&name.as_str()) {
                    errors.push(format!("{at}.{name} is not a property"));
                }
            }
        }
    }

    /// Everything but whether an object is closed.
    fn check_part(&self, schema: &'s OwnedValue, value: &OwnedValue, at: &str, errors: &mut Vec<String>) {
        let schema = self.resolve(schema);
        for (keyword, wanted) in schema.as_object().into_iter().flatten() {
            match keyword.as_str() {
                "allOf" => {
                    wanted.as_array().expect("a list").iter().for_each(|part| self.check_part(part, value, at, errors))
                }
                "anyOf" | "oneOf" => self.check_any(wanted.as_array().expect("a list"), value, at, errors),
                "type" => {
                    let is = |kind: &OwnedValue| is_of(value, kind.as_str().expect("a name"));
                    if !wanted.as_array().map_or_else(|| is(wanted), |kinds| kinds.iter().any(is)) {
                        errors.push(format!("{at} is no {wanted}"));
                    }
                }
                "enum" => {
                    if !wanted.as_array().expect("a list").contains(value) {
                        errors.push(format!("{at} is {}, not one of {}", value.encode(), wanted.encode()));
                    }
                }
                "const" if value != wanted => errors.push(format!("{at} is {value}, not {wanted}")),
                "properties" => {
                    for (name, property) in wanted.as_object().expect("an object") {
                        if let Some(value) = value.get(name.as_str()) {
                            self.check(property, value, &format!("{at}.{name}"), errors);
                        }
                    }
                }
                "required" if value.is_object() => {
                    let names = wanted.as_array().expect("a list").iter().filter_map(|name| name.as_str());
                    errors.extend(
                        names.filter(|name| value.get(*name).is_none()).map(|name| format!("{at}.{name} is missing")),
                    );
                }
                "items" => {
                    for (nth, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, item, &format!("{at}[{nth}]"), errors);
                    }
                }
                "minItems" | "maxItems" | "minLength" | "maxLength" | "minimum" | "maximum" => {
                    if !is_within(keyword, wanted.cast_f64().expect("a number"), value) {
                        errors.push(format!("{at} is outside of {keyword} {wanted}"));
                    }
                }
                "const" | "required" => {}
                keyword if SILENT.contains(&keyword) => {}
                keyword => panic!("{at}: the validator doesn't know {keyword}"),
            }
        }
    }

    /// At least one of the schemas has to take the value; where none does, the errors of the nearest are told.
    fn check_any(&self, schemas: &'s [OwnedValue], value: &OwnedValue, at: &str, errors: &mut Vec<String>) {
        let tries = schemas.iter().map(|schema| {
            let mut errors = Vec::new();
            self.check(schema, value, at, &mut errors);
            errors
        });
        if let Some(nearest) = tries.min_by_key(Vec::len) {
            errors.extend(nearest);
        }
    }
}

fn is_of(value: &OwnedValue, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_str(),
        "boolean" => value.is_bool(),
        "null" => value.is_null(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => matches!(value, OwnedValue::Static(StaticNode::U64(_) | StaticNode::I64(_) | StaticNode::F64(_))),
        kind => panic!("no type {kind}"),
    }
}

fn is_within(keyword: &str, bound: f64, value: &OwnedValue) -> bool {
    let size = match keyword {
        "minItems" | "maxItems" => value.as_array().map(|list| list.len() as f64),
        "minLength" | "maxLength" => value.as_str().map(|text| text.chars().count() as f64),
        _ => value.cast_f64(),
    };
    size.is_none_or(|size| if keyword.starts_with("min") { size >= bound } else { size <= bound })
}

#[test]
fn what_a_schema_forbids_is_found() {
    let document = r##"{"$defs":{
        "A":{"allOf":[{"$ref":"#/$defs/B"},{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}]},
        "B":{"type":"object","properties":{"b":{"anyOf":[{"type":"string","enum":["x","y"]},{"type":"null"}]},
            "open":{"type":"object","additionalProperties":true},
            "list":{"type":"array","minItems":1,"items":{"const":"k"}}},"required":["b"]}}}"##;
    let schema = Schema::new(super::parsed(document.as_bytes()));
    let cases: [(&str, &[&str]); 9] = [
        (r#"{"b":"x","n":1,"open":{"any":1},"list":["k"]}"#, &[]),
        (r#"{"b":null}"#, &[]),
        ("[]", &[" is no object", " is no object"]),
        (r#"{"n":1}"#, &[".b is missing"]),
        (r#"{"b":"z"}"#, &[".b is \"z\", not one of [\"x\",\"y\"]"]),
        (r#"{"b":"x","n":0}"#, &[".n is outside of minimum 1"]),
        (r#"{"b":"x","m":0}"#, &[".m is not a property"]),
        (r#"{"b":"x","list":[]}"#, &[".list is outside of minItems 1"]),
        (r#"{"b":"x","list":["k","l"]}"#, &[".list[1] is l, not k"]),
    ];
    for (value, wanted) in cases {
        assert_eq!(schema.errors("A", &super::parsed(value.as_bytes())), wanted, "{value}");
    }
}
