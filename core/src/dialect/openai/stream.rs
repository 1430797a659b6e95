//! Streams of chat completions: reading a vendor's chunks, writing a client's. The mirror image of
//! [`anthropic::stream`](super::super::anthropic).

use std::borrow::Cow;

use super::super::chat::{Delta, Literal, Naming, Stop, Wanted};
use super::super::path::{Path, shown};
use super::super::print::{Object, write_number};
use super::answer::write_names;
use super::{IN_STREAM, error_of, finish_reason, read_finish, read_usage, write_error, write_usage};
use crate::fault::Fault;
use crate::json::{Kind, Scratch, Value, scan};
use crate::limits::STREAM_CALLS_MAX;
use crate::tally::{Usage, UsageSource};

/// Reads the chunks of a stream as [`Delta`]s.
#[derive(Debug)]
pub(in super::super) struct Reader {
    state: Reading,
    /// Whether the client takes what the model thinks.
    thinking: bool,
    usage: Option<Usage>,
    model: Option<Box<str>>,
    call: Calling,
    refused: bool,
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// No choice has come: nothing, or Azure's blank first chunk.
    Before,
    /// A choice has.
    Message,
    /// The `finish_reason` has.
    Stopped(Stop),
    /// `[DONE]` has, or the connection's end in its place.
    Over,
}

/// The tool call that is being streamed.
#[derive(Debug, Default)]
struct Calling {
    /// Calls that have begun.
    begun: u64,
    /// The vendor's index of the one that is open; vendors are known that say none, or always 0.
    index: Option<u64>,
    /// Its id, as the vendor wrote it; the memory is used again.
    id: Vec<u8>,
    /// Its name, likewise.
    name: Vec<u8>,
    /// The ids of those before it.
    left: Vec<Box<[u8]>>,
    /// Whether what has come of its arguments ends with a brace, as they do when they are whole.
    closed: bool,
}

impl Calling {
    /// Whether a piece with a name and no id, of the same index, is of another call: it has another name, or arguments that
    /// begin where those of this one have ended, which no JSON goes on with. Gemini sends whole calls so.
    fn is_left_for(&self, name: &[u8], arguments: Option<Value<'_>>) -> bool {
        let begins = arguments.is_some_and(|value| value.kind() == Kind::Object || value.raw().starts_with(b"\"{"));
        *name != *self.name || (self.closed && begins)
    }

    /// Notes how a piece of the arguments ends.
    fn take(&mut self, arguments: Value<'_>) {
        self.closed = match arguments.raw() {
            b"\"\"" | b"null" => self.closed,
            raw => raw.ends_with(b"}\"") || raw.ends_with(b"}"),
        };
    }
}

impl Reader {
    pub(in super::super) fn new(wanted: Wanted) -> Self {
        Self {
            state: Reading::Before,
            thinking: wanted.thinking,
            usage: None,
            model: None,
            call: Calling::default(),
            refused: false,
        }
    }

    /// Reads the data of one event and hands on what it says; `scratch` is memory that is used again. What comes after
    /// the end says nothing. Names are compared as they are written, since no vendor escapes a name.
    ///
    /// # Errors
    ///
    /// `AnswerNotUnderstood`, with the path of what is not as documented, or was not asked for.
    pub(in super::super) fn read<'a>(
        &mut self,
        data: &'a [u8],
        scratch: &mut Scratch,
        say: &mut impl FnMut(Delta<'a>, &Self),
    ) -> Result<(), Fault> {
        let root = Path::Root;
        if self.state == Reading::Over {
            return Ok(());
        }
        if data.trim_ascii() == b"[DONE]" {
            return self.end(say);
        }
        let event = scan(data, scratch).map_err(|_| root.strange("of an event is not JSON"))?.value();
        let mut choices = None;
        for (name, value) in event.fields() {
            match name.raw() {
                b"\"choices\"" => choices = Some(value),
                b"\"usage\"" => self.usage = read_usage(value).or(self.usage),
                // Groq says it here, whether or not it was asked.
                b"\"x_groq\"" => self.usage = value.get("usage").and_then(read_usage).or(self.usage),
                b"\"model\"" if self.model.is_none() => {
                    self.model = value.to_str().filter(|model| !model.is_empty()).map(Into::into);
                }
                b"\"error\"" if !value.is_null() => {
                    say(Delta::Failed(error_of(event)), self);
                    return Ok(());
                }
                // Names and measures of the vendor's own.
                _ => {}
            }
        }
        let at = root.field("choices");
        for (nth, choice) in choices.into_iter().flat_map(Value::items).enumerate() {
            self.read_choice(choice, &at.item(nth), say)?;
        }
        Ok(())
    }

    /// The connection was closed in order. A vendor that doesn't send `[DONE]` has said all with its `finish_reason`.
    pub(in super::super) fn conclude<'a>(&mut self, say: &mut impl FnMut(Delta<'a>, &Self)) {
        if let Reading::Stopped(_) = self.state {
            // It has stopped, so it can end.
            let _ = self.end(say);
        }
    }

    /// What has been said of usage, and whether it is the vendor's last word: OpenAI says it once.
    pub(in super::super) fn usage(&self) -> (Usage, UsageSource) {
        match self.usage {
            Some(usage) => (usage, UsageSource::Provider),
            None => (Usage::default(), UsageSource::None),
        }
    }

    /// Whether the end has been.
    pub(in super::super) fn is_over(&self) -> bool {
        self.state == Reading::Over
    }

    /// Whether the answer has begun and not ended.
    pub(in super::super) fn is_amid(&self) -> bool {
        matches!(self.state, Reading::Message | Reading::Stopped(_))
    }

    /// The model as the vendor names it, once it has.
    pub(in super::super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn begin<'a>(&mut self, say: &mut impl FnMut(Delta<'a>, &Self)) {
        if self.state == Reading::Before {
            self.state = Reading::Message;
            say(Delta::Begin, self);
        }
    }

    fn end<'a>(&mut self, say: &mut impl FnMut(Delta<'a>, &Self)) -> Result<(), Fault> {
        let stop = match self.state {
            Reading::Before => return Err(Path::Root.strange("of an event says the end, and nothing came before")),
            // `[DONE]` is an end, whether or not a reason was given for it.
            Reading::Message => Stop::EndOfTurn,
            Reading::Stopped(stop) => stop,
            Reading::Over => return Ok(()),
        };
        self.state = Reading::Over;
        let stop = match stop {
            // OpenAI says "stop" where the tool was named in the request, and also under a refusal.
            Stop::EndOfTurn if self.call.begun > 0 => Stop::ToolUse,
            Stop::EndOfTurn if self.refused => Stop::Refusal,
            stop => stop,
        };
        say(Delta::Stop(stop), self);
        say(Delta::End, self);
        Ok(())
    }

    fn read_choice<'a>(
        &mut self,
        choice: Value<'a>,
        at: &Path<'_>,
        say: &mut impl FnMut(Delta<'a>, &Self),
    ) -> Result<(), Fault> {
        let (mut delta, mut finish) = (None, None);
        for (name, value) in choice.fields() {
            match name.raw() {
                b"\"index\"" if value.to_u64().is_some_and(|index| index > 0) => {
                    return Err(at.field("index").strange("is of a second choice, which was not asked for"));
                }
                b"\"delta\"" => delta = Some(value),
                b"\"finish_reason\"" => finish = value.to_str(),
                // Probabilities and judgements of the vendor's own.
                _ => {}
            }
        }
        self.begin(say);
        if let Some(delta) = delta {
            self.read_delta(delta, &at.field("delta"), say)?;
        }
        let Some(finish) = finish.filter(|finish| !finish.is_empty()) else { return Ok(()) };
        match read_finish(&finish) {
            Some(stop) => self.state = Reading::Stopped(stop),
            None if finish == "error" => {
                let kind = Some(Cow::Borrowed("error"));
                say(Delta::Failed(super::VendorError { kind, code: None, message: None }), self);
            }
            None => {
                let at = at.field("finish_reason");
                return Err(at.strange(format_args!("is \"{}\", which is not known", shown(&finish))));
            }
        }
        Ok(())
    }

    fn read_delta<'a>(
        &mut self,
        delta: Value<'a>,
        at: &Path<'_>,
        say: &mut impl FnMut(Delta<'a>, &Self),
    ) -> Result<(), Fault> {
        let mut thought = false;
        for (name, value) in delta.fields() {
            match name.raw() {
                b"\"content\"" if value.kind() == Kind::Array => self.read_pieces(value, &at.field("content"), say)?,
                b"\"content\"" => {
                    if let Some(text) = piece(value) {
                        say(Delta::Text(text), self);
                    }
                }
                // Vendors that say both say the same.
                b"\"reasoning_content\"" | b"\"reasoning\"" if self.thinking && !thought => {
                    if let Some(text) = piece(value) {
                        thought = true;
                        say(Delta::Thinking(text), self);
                    }
                }
                b"\"refusal\"" => {
                    if let Some(text) = piece(value) {
                        self.refused = true;
                        say(Delta::Refusal(text), self);
                    }
                }
                b"\"tool_calls\"" => {
                    let at = at.field("tool_calls");
                    for (nth, call) in value.items().enumerate() {
                        self.read_call(call, &at.item(nth), say)?;
                    }
                }
                b"\"audio\"" | b"\"function_call\"" if value.fields().any(|(_, value)| piece(value).is_some()) => {
                    let name = name.to_str().unwrap_or_default();
                    return Err(at.field(&name).strange("was not asked for"));
                }
                // The role, and what other vendors add; the table says that they are lost.
                _ => {}
            }
        }
        Ok(())
    }

    /// Content in pieces, as Mistral says it.
    fn read_pieces<'a>(
        &mut self,
        pieces: Value<'a>,
        at: &Path<'_>,
        say: &mut impl FnMut(Delta<'a>, &Self),
    ) -> Result<(), Fault> {
        for (nth, value) in pieces.items().enumerate() {
            match value.get("type").and_then(Value::to_str).as_deref() {
                Some("text") => {
                    if let Some(text) = value.get("text").and_then(piece) {
                        say(Delta::Text(text), self);
                    }
                }
                Some("thinking") => {
                    let thoughts = value.get("thinking").into_iter().flat_map(Value::items);
                    for text in thoughts.filter_map(|thought| thought.get("text").and_then(piece)) {
                        if self.thinking {
                            say(Delta::Thinking(text), self);
                        }
                    }
                }
                // What the text before it rests on.
                Some("reference") => {}
                other => {
                    let at = at.item(nth);
                    let other = other.unwrap_or_default();
                    return Err(at.field("type").strange(format_args!("is \"{}\", which is not known", shown(other))));
                }
            }
        }
        Ok(())
    }

    /// A piece of a tool call. Which call it belongs to is said by its index, or by its id where that is always the same.
    fn read_call<'a>(
        &mut self,
        call: Value<'a>,
        at: &Path<'_>,
        say: &mut impl FnMut(Delta<'a>, &Self),
    ) -> Result<(), Fault> {
        let index = call.get("index").and_then(Value::to_u64);
        let id = call.get("id").and_then(piece);
        let function = call.get("function");
        let field = |name: &str| function.and_then(|function| function.get(name));
        let name = field("name").and_then(piece);
        let open = &self.call;
        let is_new = open.begun == 0
            || id.is_some_and(|id| *id != *open.id)
            || index.is_some_and(|index| open.index.is_some_and(|open| open != index))
            || (id.is_none() && name.is_some_and(|name| index.is_none() || open.is_left_for(name, field("arguments"))));
        if is_new {
            let at_function = at.field("function");
            if open.index.zip(index).is_some_and(|(open, index)| index < open) && name.is_none() {
                return Err(at.field("index").strange("goes back to a call that was left"));
            }
            let name = name.ok_or_else(|| at_function.field("name").strange("is missing"))?;
            if open.left.iter().any(|left| id == Some(left)) {
                return Err(at.field("id").strange("goes back to a call that was left"));
            }
            if open.left.len() == STREAM_CALLS_MAX {
                return Err(at.strange(format_args!("is one more than {STREAM_CALLS_MAX}")));
            }
            if open.begun > 0 {
                self.call.left.push(self.call.id.as_slice().into());
            }
            let open = &self.call;
            let id = match id {
                Some(id) => Cow::Borrowed(id),
                None => Cow::Owned(Literal::made(&format!("call_{}", open.begun)).raw().to_vec()),
            };
            self.call.begun += 1;
            self.call.index = index;
            self.call.id.clear();
            self.call.id.extend_from_slice(&id);
            self.call.name.clear();
            self.call.name.extend_from_slice(name);
            self.call.closed = false;
            say(Delta::Call { id, name }, self);
        }
        if let Some(arguments) = field("arguments") {
            self.call.take(arguments);
        }
        match field("arguments") {
            Some(arguments) if arguments.kind() == Kind::Object => say(Delta::Input(arguments.raw()), self),
            Some(arguments) => {
                if let Some(arguments) = piece(arguments) {
                    say(Delta::Arguments(arguments), self);
                }
            }
            None => {}
        }
        Ok(())
    }
}

/// A string that says something, as it is written.
fn piece(value: Value<'_>) -> Option<&[u8]> {
    match value.raw() {
        literal @ [b'"', .., b'"'] if literal.len() > 2 => Some(literal),
        _ => None,
    }
}

/// Prints [`Delta`]s as the chunks of a stream.
///
/// The order is the one that official clients need: the role first, then content, then a chunk with the
/// `finish_reason`, then usage with an empty `choices` (only if asked for), then `[DONE]`. A call's id, type and name are
/// said once, and calls are counted from 0.
#[derive(Debug)]
pub(in super::super) struct Writer {
    wanted: Wanted,
    /// What every chunk begins with, `data: ` included, up to the bracket that opens its choices.
    head: Box<[u8]>,
    /// Calls that have begun.
    calls: u64,
    /// The number of the one whose arguments are coming.
    call: u64,
    /// The numbers of those that still lack their arguments.
    bare: Vec<u64>,
    /// Thinking blocks that are whole.
    thoughts: u64,
    /// Whether one is open.
    thinks: bool,
}

impl Writer {
    pub(in super::super) fn new(naming: &Naming<'_>, wanted: Wanted) -> Self {
        let mut head = Vec::with_capacity(128 + naming.id.len() + naming.model.len());
        head.extend_from_slice(b"data: ");
        let mut fields = Object::open(&mut head);
        write_names("chat.completion.chunk", naming, &mut fields);
        fields.name("choices").push(b'[');
        Self { wanted, head: head.into(), calls: 0, call: 0, bare: Vec::new(), thoughts: 0, thinks: false }
    }

    /// Appends what `delta` is in events: none, one, or those of the end. `usage` is what is known by now.
    pub(in super::super) fn write(&mut self, delta: &Delta<'_>, usage: &Usage, out: &mut Vec<u8>) {
        match delta {
            Delta::Begin => self.chunk(None, out, |out| {
                out.extend_from_slice(br#"{"role":"assistant","content":"","refusal":null}"#);
            }),
            Delta::Text(text) => self.field("content", text, out),
            Delta::Refusal(text) => self.field("refusal", text, out),
            Delta::Thinking(text) => {
                self.thinks = true;
                self.thought(
                    out,
                    |out| {
                        out.extend_from_slice(b"\"reasoning_content\":");
                        out.extend_from_slice(text);
                        out.push(b',');
                    },
                    b"\"type\":\"thinking\",\"thinking\":",
                    text,
                );
            }
            Delta::Signature(signature) => {
                self.thought(out, |_| {}, b"\"type\":\"thinking\",\"thinking\":\"\",\"signature\":", signature);
                self.end_thought();
            }
            Delta::Redacted(data) => {
                self.thought(out, |_| {}, b"\"type\":\"redacted_thinking\",\"data\":", data);
                self.thinks = true;
                self.end_thought();
            }
            Delta::Call { id, name } => self.call(id, name, out),
            Delta::Arguments(piece) => self.arguments(out, |out| out.extend_from_slice(piece)),
            Delta::Input(input) => {
                let input = std::str::from_utf8(input).unwrap_or_default();
                self.arguments(out, |out| crate::json::escape_into(out, input));
            }
            Delta::Resume(nth) => self.call = *nth,
            Delta::CallEnd if self.bare.contains(&self.call) => self.empty_arguments(out),
            Delta::CallEnd => {}
            Delta::ThoughtEnd => self.end_thought(),
            Delta::Stop(stop) => {
                while let Some(nth) = self.bare.first() {
                    self.call = *nth;
                    self.empty_arguments(out);
                }
                self.end_thought();
                self.chunk(Some(*stop), out, |out| out.extend_from_slice(b"{}"));
            }
            Delta::End => self.end(usage, out),
            Delta::Failed(error) => {
                out.extend_from_slice(b"data: ");
                write_error(error, IN_STREAM, out);
                out.extend_from_slice(b"\n\n");
            }
            Delta::Alive => out.extend_from_slice(b": ping\n\n"),
        }
    }

    fn call(&mut self, id: &[u8], name: &[u8], out: &mut Vec<u8>) {
        let nth = self.calls;
        (self.call, self.calls) = (nth, nth + 1);
        self.bare.push(nth);
        if self.wanted.json_tool {
            return;
        }
        if self.wanted.functions {
            self.chunk(None, out, |out| {
                out.extend_from_slice(b"{\"function_call\":{\"name\":");
                out.extend_from_slice(name);
                out.extend_from_slice(b",\"arguments\":\"\"}}");
            });
            return;
        }
        self.chunk(None, out, |out| {
            out.extend_from_slice(b"{\"tool_calls\":[{\"index\":");
            write_number(nth, out);
            out.extend_from_slice(b",\"id\":");
            out.extend_from_slice(id);
            out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
            out.extend_from_slice(name);
            out.extend_from_slice(b",\"arguments\":\"\"}}]}");
        });
    }

    /// A piece of the open call's arguments, which `literal` appends as a JSON string.
    fn arguments(&mut self, out: &mut Vec<u8>, literal: impl FnOnce(&mut Vec<u8>)) {
        let nth = self.call;
        self.bare.retain(|bare| *bare != nth);
        let Wanted { json_tool, functions, .. } = self.wanted;
        self.chunk(None, out, |out| {
            if json_tool {
                out.extend_from_slice(b"{\"content\":");
                literal(out);
                out.push(b'}');
            } else if functions {
                out.extend_from_slice(b"{\"function_call\":{\"arguments\":");
                literal(out);
                out.extend_from_slice(b"}}");
            } else {
                out.extend_from_slice(b"{\"tool_calls\":[{\"index\":");
                write_number(nth, out);
                out.extend_from_slice(b",\"function\":{\"arguments\":");
                literal(out);
                out.extend_from_slice(b"}}]}");
            }
        });
    }

    /// A call without arguments has empty ones: several clients can't do without.
    fn empty_arguments(&mut self, out: &mut Vec<u8>) {
        self.arguments(out, |out| out.extend_from_slice(b"\"{}\""));
    }

    fn end_thought(&mut self) {
        self.thoughts += u64::from(std::mem::take(&mut self.thinks));
    }

    /// A piece of a thinking block: official clients put pieces of one index together by themselves.
    fn thought(&mut self, out: &mut Vec<u8>, before: impl FnOnce(&mut Vec<u8>), fields: &[u8], literal: &[u8]) {
        let nth = self.thoughts;
        self.chunk(None, out, |out| {
            out.push(b'{');
            before(out);
            out.extend_from_slice(b"\"thinking_blocks\":[{\"index\":");
            write_number(nth, out);
            out.push(b',');
            out.extend_from_slice(fields);
            out.extend_from_slice(literal);
            out.extend_from_slice(b"}]}");
        });
    }

    fn field(&self, name: &str, literal: &[u8], out: &mut Vec<u8>) {
        self.chunk(None, out, |out| {
            let mut delta = Object::open(out);
            delta.raw(name, literal);
            delta.close();
        });
    }

    fn chunk(&self, stop: Option<Stop>, out: &mut Vec<u8>, delta: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":");
        delta(out);
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":");
        match stop {
            Some(stop) => {
                out.push(b'"');
                out.extend_from_slice(finish_reason(stop, self.wanted).as_bytes());
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}]");
        // Whoever asked for usage gets `null` in every chunk but the last, as from OpenAI.
        out.extend_from_slice(if self.wanted.stream_usage { b",\"usage\":null}\n\n".as_slice() } else { b"}\n\n" });
    }

    fn end(&self, usage: &Usage, out: &mut Vec<u8>) {
        if self.wanted.stream_usage {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            write_usage(usage, out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}
