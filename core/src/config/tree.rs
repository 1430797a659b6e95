//! A config file as a tree in which every value knows its place.
//!
//! The text is checked before it is parsed, since most of what is not a config (a binary, a log, an empty mount) can be
//! said better than as a syntax error. Then YAML 1.2 makes the tree, within a budget: what one MiB of text may honestly
//! hold fits, what aliases or nesting blow up does not. What the values mean is not known here.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::granit_parser::ErrorKind;
use serde_yaml::{
    Budget, DuplicateKeyPolicy, ExternalMessageSource, Location, MergeKeyPolicy, NonFiniteFloatPolicy, Options, Spanned,
};

use super::complaint::{Code, Complaint, Place, Shown, cut, quote};
use crate::limits::CONFIG_BYTES_MAX;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What YAML 1.2's core schema makes of a value.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    /// True or false: no key takes one, so nobody asks which.
    Bool,
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Item>),
    Map(Vec<Entry>),
}

/// One element of a list.
#[derive(Debug)]
pub(super) struct Item {
    /// Its index in the list that its own file has, which is what its author counts.
    pub(super) index: usize,
    pub(super) node: Node,
}

/// One key of a map, in the order of the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

impl Node {
    /// The value of a key; `None` also when this is no map.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Value::Null | Value::Bool | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// The text of a key; `None` also when it is no text.
    pub(super) fn text_of(&self, key: &str) -> Option<&str> {
        match &self.entry(key)?.node.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::Bool | Value::Int(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
        }
    }
}

/// Deepest nesting of a config. Ours need 8.
const DEPTH_MAX: usize = 24;
/// Most nodes of a config, aliases expanded. The largest sensible file of 1 MiB has about 130,000.
const NODES_MAX: usize = 250_000;
/// Most parser events that aliases may repeat: 4,096 targets may share one map of timeouts, which takes 10 each. A bomb
/// gets here within some tens of milliseconds.
const REPLAYED_MAX: usize = 50_000;

/// Reads the `file`-th file. The first thing that is wrong ends it.
pub(super) fn read(file: usize, bytes: &[u8]) -> Result<Node, Complaint> {
    if bytes.len() > CONFIG_BYTES_MAX {
        let message = format!("the file has {} bytes; at most {CONFIG_BYTES_MAX} are read", bytes.len());
        return Err(fault(Code::TooLarge, Place::top(file), message));
    }
    let text = utf8(file, bytes)?;
    no_control_characters(file, text)?;
    if text.lines().all(|line| matches!(line.trim_start().as_bytes().first(), None | Some(b'#'))) {
        return Err(empty(file));
    }
    let mut root: Node = serde_yaml::from_str_with_options(text, options()).map_err(|error| refused(file, &error))?;
    if matches!(root.value, Value::Null) {
        return Err(empty(file));
    }
    settle(&mut root, file as u32)?;
    Ok(root)
}

fn fault(code: Code, place: Place, message: impl Into<String>) -> Complaint {
    let (path, message) = (String::new(), message.into());
    Complaint { code, place, path, message, suggestion: None, shown: Shown::Line }
}

fn empty(file: usize) -> Complaint {
    let mut complaint = fault(Code::Empty, Place::top(file), "the file says nothing");
    complaint.suggestion = Some("start with version: '1'".to_owned());
    complaint
}

/// The text without its byte order mark.
fn utf8(file: usize, bytes: &[u8]) -> Result<&str, Complaint> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let place = place_of_byte(file, bytes, at);
        fault(Code::NotUtf8, place, format!("byte {at} (0x{:02x}) is not UTF-8", bytes[at]))
    })?;
    Ok(without_mark(text))
}

/// The byte order mark at the start of a UTF-8 text is no part of it (YAML 1.2.2, section 5.2).
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// YAML allows no control characters but tab and line ends (section 5.1); a parser's message about them is obscure.
fn no_control_characters(file: usize, text: &str) -> Result<(), Complaint> {
    let is_control = |&b: &u8| (b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r')) || b == 0x7f;
    let Some(at) = text.bytes().position(|b| is_control(&b)) else { return Ok(()) };
    let byte = text.as_bytes()[at];
    let name = if byte == 0 { "NUL, " } else { "" };
    let place = place_of_byte(file, text.as_bytes(), at);
    Err(fault(Code::ControlCharacter, place, format!("a control character ({name}0x{byte:02x}) stands here")))
}

/// Line and column of a byte; what comes before it is UTF-8.
fn place_of_byte(file: usize, bytes: &[u8], at: usize) -> Place {
    let before = &bytes[..at];
    let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
    let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    let column = 1 + String::from_utf8_lossy(&before[start..]).chars().filter(|&c| c != '\u{feff}').count();
    Place { file: file as u32, line: line as u32, column: column as u32, len: 1 }
}

fn options() -> Options {
    let budget: Option<Budget> = serde_yaml::budget! {
        max_depth: DEPTH_MAX,
        flow_nesting_limit: DEPTH_MAX,
        max_nodes: NODES_MAX,
        max_events: 4 * NODES_MAX,
        max_documents: 2,
        max_total_scalar_bytes: 2 * CONFIG_BYTES_MAX,
        max_recorded_anchor_events: NODES_MAX,
        max_recorded_anchor_bytes: 2 * CONFIG_BYTES_MAX,
        // Many uses of one anchor are no bomb; what they come to is counted.
        enforce_alias_anchor_ratio: false,
    };
    serde_yaml::options! {
        budget: budget,
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: REPLAYED_MAX },
        // Duplicates are passed on and refused by `settle`, which knows both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        strict_booleans: true,
        strict_indentation: true,
        underscored_numbers_as_strings: true,
        leading_zero_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

/// What the parser refused, in our words where they are better than its own.
fn refused(file: usize, error: &serde_yaml::Error) -> Complaint {
    use serde_yaml::Error;
    use serde_yaml::budget::BudgetBreach;

    let place = match error.location() {
        Some(location) => Place { file: file as u32, ..place(location) },
        None => Place::top(file),
    };
    let inner = match error.without_snippet() {
        Error::AliasError { error, .. } => error.without_snippet(),
        error => error,
    };
    match inner {
        Error::MultipleDocuments { .. } | Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            fault(Code::SecondDocument, place, "a second document begins here; a config is one document")
        }
        Error::UnsupportedTag { tag, .. } => {
            fault(Code::CustomTag, place, format!("the tag {} is not of YAML's core schema", quote(tag)))
        }
        Error::MergeKeyNotAllowed { .. } => {
            let mut complaint = fault(Code::MergeKey, place, "YAML 1.2 has no merge key \"<<\"");
            complaint.suggestion = Some("use an alias for the whole value, or repeat the keys".to_owned());
            complaint
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => too_deep(place),
        // The scanner, which runs ahead, has a limit of its own for brackets.
        Error::ExternalMessage { source, .. } if is_recursion_limit(source) => too_deep(place),
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. } => {
            fault(Code::ExpandsTooFar, place, "the file has too many nodes once its aliases are expanded")
        }
        Error::NullIntoString { .. } => fault(Code::Syntax, place, "a key is missing before the colon"),
        // The crate's enum may grow; whatever else it says is about the syntax.
        other => syntax(place, &other.to_string()),
    }
}

fn is_recursion_limit(source: &ExternalMessageSource) -> bool {
    matches!(source, ExternalMessageSource::Parser(error) if *error.kind() == ErrorKind::RecursionLimitExceeded)
}

fn too_deep(place: Place) -> Complaint {
    fault(Code::TooDeep, place, format!("nested more than {DEPTH_MAX} levels deep"))
}

/// The parser's own message, without the place, which we print ourselves; and advice on the commonest slips.
fn syntax(place: Place, text: &str) -> Complaint {
    let text = text.split(" at line ").next().unwrap_or_default();
    let advice = [
        ("tabs", "indent with spaces"),
        ("invalid indentation", "indent it further than the key it belongs to"),
        ("mapping values are not allowed", "a value with a colon in it needs quotes"),
    ];
    let mut complaint = fault(Code::Syntax, place, format!("not valid YAML: {}", cut(text)));
    let fitting = advice.iter().find(|(part, _)| text.contains(part));
    complaint.suggestion = fitting.map(|&(_, advice)| advice.to_owned());
    complaint
}

fn place(location: Location) -> Place {
    let clamp = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Place {
        file: 0,
        line: clamp(location.line()).max(1),
        column: clamp(location.column()).max(1),
        len: clamp(location.span().len()),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Of an alias, the place is where the value is written, not where it is repeated: that is what must be changed.
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: place(spanned.defined), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of YAML's core schema")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Bool)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(node) = list.next_element()? {
            items.push(Item { index: items.len(), node });
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            // A key is not repeated by an alias in any config we know, but where it is, this is where it is written.
            let key_place = place(key.defined);
            let node = map.next_value()?;
            entries.push(Entry { key: key.value, key_place, node });
        }
        Ok(Value::Map(entries))
    }
}

/// Says which file every place is in, and refuses the first key that its map has already.
fn settle(node: &mut Node, file: u32) -> Result<(), Complaint> {
    node.place.file = file;
    match &mut node.value {
        Value::Null | Value::Bool | Value::Int(_) | Value::Float(_) | Value::Text(_) => Ok(()),
        Value::List(items) => items.iter_mut().try_for_each(|item| {
            settle(&mut item.node, file).map_err(|complaint| below(&format!("[{}]", item.index), complaint))
        }),
        Value::Map(entries) => {
            for entry in &mut *entries {
                entry.key_place.file = file;
            }
            no_duplicates(entries)?;
            entries.iter_mut().try_for_each(|entry| {
                settle(&mut entry.node, file).map_err(|complaint| below(&key_step(&entry.key), complaint))
            })
        }
    }
}

fn no_duplicates(entries: &[Entry]) -> Result<(), Complaint> {
    let mut seen: HashMap<&str, Place> = HashMap::with_capacity(entries.len());
    for entry in entries {
        if let Some(first) = seen.insert(&entry.key, entry.key_place) {
            let message = format!("duplicate key {}; the first one is at {}", quote(&entry.key), spot(first));
            return Err(below(&key_step(&entry.key), fault(Code::DuplicateKey, entry.key_place, message)));
        }
    }
    Ok(())
}

/// Puts one step before a complaint's path, on the way out of the tree.
fn below(step: &str, complaint: Complaint) -> Complaint {
    let dot = if complaint.path.is_empty() || complaint.path.starts_with('[') { "" } else { "." };
    Complaint { path: format!("{step}{dot}{}", complaint.path), ..complaint }
}

/// A key as a path names it: bare where it looks like one of ours.
pub(super) fn key_step(key: &str) -> String {
    let is_plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_plain { cut(key) } else { quote(key) }
}

/// A place within its file, as messages name it.
pub(super) fn spot(place: Place) -> String {
    format!("line {}, column {}", place.line, place.column)
}

/// Lays one file's tree over another's: maps merge key by key, the lists whose elements have names merge element by
/// element, each replaced whole, and everything else is replaced.
pub(super) fn layer(base: Node, over: Node) -> Node {
    lay(base, over, &mut Vec::new())
}

fn lay(base: Node, over: Node, path: &mut Vec<String>) -> Node {
    let value = match (base.value, over.value) {
        (Value::Map(below), Value::Map(above)) => Value::Map(lay_map(below, above, path)),
        (Value::List(below), Value::List(above)) => match identity(path) {
            Some(key) => Value::List(lay_list(below, above, key)),
            None => Value::List(above),
        },
        (_, value) => return Node { place: over.place, value },
    };
    Node { place: base.place, value }
}

fn lay_map(mut below: Vec<Entry>, above: Vec<Entry>, path: &mut Vec<String>) -> Vec<Entry> {
    let by_key: HashMap<String, usize> = below.iter().enumerate().map(|(i, old)| (old.key.clone(), i)).collect();
    for Entry { key, key_place, node } in above {
        match by_key.get(&key) {
            Some(&i) => {
                let gone = Node { place: key_place, value: Value::Null };
                let old = std::mem::replace(&mut below[i].node, gone);
                path.push(key);
                below[i].node = lay(old, node, path);
                below[i].key_place = key_place;
                path.pop();
            }
            None => below.push(Entry { key, key_place, node }),
        }
    }
    below
}

/// Which key of its elements tells them apart, for the lists that merge.
fn identity(path: &[String]) -> Option<&'static str> {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    match keys[..] {
        ["providers", "targets"] => Some("id"),
        ["model_groups"] | ["policies"] => Some("name"),
        _ => None,
    }
}

/// Each element below is replaced at most once: a name that one file has twice is still there twice, to be refused.
fn lay_list(mut below: Vec<Item>, above: Vec<Item>, key: &str) -> Vec<Item> {
    let mut by_name: HashMap<String, usize> = HashMap::with_capacity(below.len());
    for (i, item) in below.iter().enumerate() {
        if let Some(name) = item.node.text_of(key) {
            by_name.entry(name.to_owned()).or_insert(i);
        }
    }
    for item in above {
        match item.node.text_of(key).and_then(|name| by_name.remove(name)) {
            Some(i) => below[i] = item,
            None => below.push(item),
        }
    }
    below
}
