//! The walk that every section shares: where a value stands, what a map may hold, how texts, words and numbers are
//! read, and how a complaint is made.

use std::collections::HashMap;
use std::path::Path;

use super::Text;
use crate::config::complaint::{Code, Complaint, Place, Shown, nearest, printable, quote};
use crate::config::tree::{Entry, Item, Node, Value, key_step, spot};

/// The keys that a map may have, and those that mean something but are not there yet.
pub(super) struct Shape<'a> {
    pub(super) keys: &'a [&'static str],
    pub(super) later: &'a [&'static str],
}

/// Longest id, name, label or model. They stand in response headers and in every event.
pub(super) const NAME_BYTES_MAX: usize = 128;
/// Longest path; Linux's PATH_MAX.
const PATH_BYTES_MAX: usize = 4_096;
/// What guessing what was meant may cost in all, in compared pairs of characters: some tens of milliseconds.
const GUESSING_EFFORT: usize = 5_000_000;

/// A value on the way down: the node, and how it was reached.
#[derive(Clone, Copy)]
pub(super) struct At<'p, 't> {
    pub(super) node: &'t Node,
    step: Step<'t>,
    up: Option<&'p At<'p, 't>>,
}

#[derive(Clone, Copy)]
enum Step<'t> {
    Top,
    Key(&'t Entry),
    Index(usize),
}

impl<'t> At<'_, 't> {
    /// The whole file.
    pub(super) fn top(root: &'t Node) -> Self {
        Self { node: root, step: Step::Top, up: None }
    }

    /// `model_groups[0].targets[1].provider`; empty at the top.
    pub(super) fn path(&self) -> String {
        let up = self.up.map(At::path).unwrap_or_default();
        match self.step {
            Step::Top => up,
            Step::Key(entry) => join(&up, &entry.key),
            Step::Index(index) => format!("{up}[{index}]"),
        }
    }

    pub(super) fn get<'p>(&'p self, key: &str) -> Option<At<'p, 't>> {
        let entry = self.node.entry(key)?;
        Some(At { node: &entry.node, step: Step::Key(entry), up: Some(self) })
    }

    pub(super) fn item<'p>(&'p self, item: &'t Item) -> At<'p, 't> {
        At { node: &item.node, step: Step::Index(item.index), up: Some(self) }
    }

    /// Where to point at for what concerns the whole: its key, if it has one.
    pub(super) fn head(&self) -> Place {
        match self.step {
            Step::Key(entry) => entry.key_place,
            Step::Top | Step::Index(_) => self.node.place,
        }
    }
}

fn join(path: &str, key: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{}", key_step(key))
}

/// The walk returns what it could read and remembers what it could not: a value that is wrong is complained of where it
/// stands and is `None` to whoever asked, who goes on with the rest.
pub(super) struct Walk<'s> {
    texts: &'s [Text],
    pub(super) complaints: Vec<Complaint>,
    /// Where something begins that may be a credential. What else is wrong on its line shows only what stands before.
    pub(super) secrets: Vec<Place>,
    effort: usize,
}

impl<'s> Walk<'s> {
    pub(super) fn new(texts: &'s [Text]) -> Self {
        Self { texts, complaints: Vec::new(), secrets: Vec::new(), effort: GUESSING_EFFORT }
    }

    // Values.

    /// Whether this is a map; complains of the keys it may not have.
    pub(super) fn is_map(&mut self, at: &At<'_, '_>, shape: &Shape<'_>) -> bool {
        let Value::Map(entries) = &at.node.value else {
            self.wrong_type(at, "a map of keys");
            return false;
        };
        for entry in entries.iter().filter(|entry| !shape.keys.contains(&&*entry.key)) {
            self.foreign_key(at, entry, shape);
        }
        true
    }

    fn foreign_key(&mut self, at: &At<'_, '_>, entry: &Entry, shape: &Shape<'_>) {
        let (key, path) = (quote(&entry.key), join(&at.path(), &entry.key));
        if shape.later.contains(&&*entry.key) {
            self.push(Code::NotAvailable, entry.key_place, path, format!("{key} is not available in this version"));
            return;
        }
        let lower = entry.key.to_ascii_lowercase();
        let is_secret = ["key", "secret", "token", "password", "auth"].iter().any(|part| lower.contains(part));
        let reference = shape.keys.iter().find(|key| key.ends_with("key_ref"));
        let guess = match reference {
            Some(reference) if lower == "api_key" => {
                Some(format!("name the variable that holds the key: {reference}: {{env: NAME}}"))
            }
            Some(_) | None => self.guess(&entry.key, shape.keys.iter().copied()),
        };
        if is_secret {
            self.secrets.push(entry.key_place);
        }
        let complaint = self.push(Code::UnknownKey, entry.key_place, path, format!("unknown key {key}"));
        complaint.suggestion = guess.or_else(|| Some(format!("the keys here are {}", shape.keys.join(", "))));
        if is_secret {
            complaint.shown = Shown::UpToEnd;
        }
    }

    /// The value of a key that has to be there.
    pub(super) fn need<'p, 't>(&mut self, at: &'p At<'_, 't>, key: &str, advice: &str) -> Option<At<'p, 't>> {
        let found = at.get(key);
        if found.is_none() {
            let path = join(&at.path(), key);
            let complaint = self.push(Code::MissingKey, at.node.place, path, format!("the key \"{key}\" is missing"));
            complaint.suggestion = Some(advice.to_owned());
        }
        found
    }

    pub(super) fn list<'t>(&mut self, at: &At<'_, 't>) -> Option<&'t [Item]> {
        let Value::List(items) = &at.node.value else {
            self.wrong_type(at, "a list");
            return None;
        };
        Some(items)
    }

    pub(super) fn text<'t>(&mut self, at: &At<'_, 't>) -> Option<&'t str> {
        match &at.node.value {
            Value::Text(text) => Some(text),
            Value::Bool | Value::Int(_) | Value::Float(_) => {
                let written = self.written(at);
                self.wrong_type(at, "text").suggestion = Some(format!("write it in quotes: '{written}'"));
                None
            }
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong_type(at, "text");
                None
            }
        }
    }

    /// A name that stands in a response header: visible ASCII.
    pub(super) fn name<'t>(&mut self, at: &At<'_, 't>) -> Option<&'t str> {
        let name = self.free_name(at)?;
        if name.bytes().all(|b| b.is_ascii_graphic()) {
            return Some(name);
        }
        let message = format!("{} has a space or a character that is not ASCII", quote(name));
        self.say(Code::BadName, at, message).suggestion = Some("it stands in response headers".to_owned());
        None
    }

    /// A name that stands in events only.
    pub(super) fn free_name<'t>(&mut self, at: &At<'_, 't>) -> Option<&'t str> {
        let name = self.text(at)?;
        let fault = if name.is_empty() {
            "is empty".to_owned()
        } else if name.len() > NAME_BYTES_MAX {
            format!("has {} bytes; at most {NAME_BYTES_MAX} are allowed", name.len())
        } else if name.chars().any(char::is_control) {
            "has a control character".to_owned()
        } else {
            return Some(name);
        };
        self.say(Code::BadName, at, fault);
        None
    }

    /// A path; a relative one is one from the directory of the file that names it.
    pub(super) fn path(&mut self, at: &At<'_, '_>) -> Option<Box<str>> {
        let text = self.text(at)?;
        if text.is_empty() || text.len() > PATH_BYTES_MAX || text.chars().any(char::is_control) {
            self.say(Code::BadName, at, "is not a path");
            return None;
        }
        let named_in = Path::new(&self.texts[at.node.place.file as usize].name);
        let path = named_in.parent().unwrap_or(Path::new("")).join(text);
        // Both parts are text, so the whole is.
        path.to_str().map(Into::into)
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        at: &At<'_, '_>,
        what: &str,
        words: &[(&str, T)],
        later: &[&str],
    ) -> Option<T> {
        let text = self.text(at)?;
        if let Some(&(_, value)) = words.iter().find(|&&(word, _)| word == text) {
            return Some(value);
        }
        if later.contains(&text) {
            self.say(Code::NotAvailable, at, format!("{} is not available in this version", quote(text)));
            return None;
        }
        let known: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
        let guess = self.guess(text, known.iter().copied());
        let complaint = self.say(Code::UnknownWord, at, format!("unknown {what} {}", quote(text)));
        complaint.suggestion = guess.or_else(|| Some(format!("it can be {}", known.join(", "))));
        None
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, at: &At<'_, '_>) -> Option<bool> {
        if !matches!(at.node.value, Value::Bool) {
            self.wrong_type(at, "true or false");
            return None;
        }
        Some(self.written(at).eq_ignore_ascii_case("true"))
    }

    /// A whole number; `70.0` and `1e2` are whole too.
    pub(super) fn number(&mut self, at: &At<'_, '_>, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let number = match &at.node.value {
            Value::Int(number) => Some(*number),
            // Exact where it is in any range of ours; beyond, the cast saturates and is out of range as well.
            Value::Float(number) if number.fract() == 0.0 => Some(*number as i128),
            Value::Float(_) => {
                let written = self.written(at);
                self.say(Code::NotWhole, at, format!("must be a whole number, not {written}"));
                return None;
            }
            Value::Null | Value::Bool | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
        };
        let Some(number) = number else {
            let complaint = self.wrong_type(at, "a number");
            if let Value::Text(text) = &at.node.value
                && let Ok(meant) = text.trim().replace('_', "").parse::<u64>()
            {
                complaint.suggestion = Some(format!("write {meant}, without quotes"));
            }
            return None;
        };
        match u64::try_from(number) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (least, most) = range.into_inner();
                let written = self.written(at);
                self.say(Code::OutOfRange, at, format!("must be {least} to {most}, not {written}"));
                None
            }
        }
    }

    /// Complains when another of its kind has this name already.
    pub(super) fn unique<'t>(
        &mut self,
        at: &At<'_, '_>,
        what: &str,
        name: &'t str,
        seen: &mut HashMap<&'t str, Place>,
    ) {
        let place = at.node.place;
        match seen.get(name) {
            Some(&first) => {
                let first = self.seen(first, place);
                self.say(Code::Duplicate, at, format!("duplicate {what} {}; the first one is at {first}", quote(name)));
            }
            None => {
                seen.insert(name, place);
            }
        }
    }

    /// A place as seen from another: with the file, if it is another one.
    pub(super) fn seen(&self, place: Place, from: Place) -> String {
        if place.file == from.file {
            return spot(place);
        }
        format!("{}, {}", printable(&self.texts[place.file as usize].name), spot(place))
    }

    // Complaints.

    /// Of a wrong text, the message doesn't say what it is: it may be a key that was put in the wrong place.
    pub(super) fn wrong_type(&mut self, at: &At<'_, '_>, expected: &str) -> &mut Complaint {
        let message = match &at.node.value {
            Value::Null => format!("must be {expected}, but there is nothing"),
            Value::Bool => format!("must be {expected}, not {}", self.written(at)),
            Value::Int(_) | Value::Float(_) => format!("must be {expected}, not the number {}", self.written(at)),
            Value::Text(_) => format!("must be {expected}, not text"),
            Value::List(_) => format!("must be {expected}, not a list"),
            Value::Map(_) => format!("must be {expected}, not a map"),
        };
        self.say(Code::WrongType, at, message)
    }

    /// A number or a truth value as it stands in its file.
    pub(super) fn written(&self, at: &At<'_, '_>) -> String {
        self.texts[at.node.place.file as usize].at(at.node.place)
    }

    pub(super) fn guess<'a>(&mut self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
        nearest(word, known, &mut self.effort).map(|near| format!("did you mean {}?", quote(near)))
    }

    pub(super) fn say(&mut self, code: Code, at: &At<'_, '_>, message: impl Into<String>) -> &mut Complaint {
        self.push(code, at.node.place, at.path(), message.into())
    }

    pub(super) fn push(&mut self, code: Code, place: Place, path: String, message: String) -> &mut Complaint {
        self.complaints.push(Complaint { code, place, path, message, suggestion: None, shown: Shown::Line });
        self.complaints.last_mut().expect("it was pushed in the line above")
    }
}
