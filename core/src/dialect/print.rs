//! Printing JSON, one field after the other: objects and lists whose commas look after themselves.

use crate::json::escape_into;

/// An object that is being printed. The names of fields are ours, and need no escapes.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    /// Opens an object.
    pub(super) fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Closes it.
    pub(super) fn close(self) {
        self.out.push(b'}');
    }

    /// Begins a field, whose value is to be appended to what is returned.
    pub(super) fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A field whose value is JSON already.
    pub(super) fn raw(&mut self, name: &str, json: &[u8]) {
        self.name(name).extend_from_slice(json);
    }

    /// A field whose value is JSON already, if there is one.
    pub(super) fn raw_if(&mut self, name: &str, json: Option<&[u8]>) {
        if let Some(json) = json {
            self.raw(name, json);
        }
    }

    /// A field with a text.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        escape_into(self.name(name), text);
    }

    /// A field with a whole number.
    pub(super) fn number(&mut self, name: &str, number: u64) {
        write_number(number, self.name(name));
    }

    /// A field with an object, whose fields `write` prints.
    pub(super) fn object(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) {
        object(self.name(name), write);
    }

    /// A field with a list, whose items `write` prints one by one.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        write: impl FnMut(T, &mut Vec<u8>),
    ) {
        list(self.name(name), items, write);
    }
}

/// Appends an object, whose fields `write` prints.
pub(super) fn object(out: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>)) {
    let mut object = Object::open(out);
    write(&mut object);
    object.close();
}

/// Appends a list, whose items `write` prints one by one.
pub(super) fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut write: impl FnMut(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (nth, item) in items.into_iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

/// Appends a whole number.
pub(super) fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a string literal of which `inside` is a part that is JSON already.
pub(super) fn joined_literal(parts: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'"');
    for part in parts {
        out.extend_from_slice(part);
    }
    out.push(b'"');
}
