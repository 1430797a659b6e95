//! Streams of messages: reading a vendor's events, writing a client's. The mirror image of
//! [`openai::stream`](super::super::openai).

use super::super::chat::{Delta, JSON_TOOL, Naming, Stop, Wanted};
use super::super::path::Path;
use super::super::print::{Object, object, write_number};
use super::{Block, Counts, IN_STREAM, block, error_of, read_stop, shown, stop_reason, write_error, write_usage};
use crate::fault::Fault;
use crate::json::{Kind, Scratch, Value, escape_into, scan};
use crate::limits::BLOCKS_OPEN_MAX;
use crate::tally::{Usage, UsageSource};

/// Reads the events of a stream as [`Delta`]s.
#[derive(Debug)]
pub(in super::super) struct Reader {
    state: Reading,
    counts: Counts,
    model: Option<Box<str>>,
    /// The blocks that are open, the one that was last spoken of at the end. More than one where the vendor interleaves
    /// them, or leaves out their ends.
    open: Vec<Opened>,
    /// Tool calls that have begun.
    calls: u64,
}

/// A block that has begun and not ended.
#[derive(Clone, Copy, Debug)]
struct Opened {
    /// As the vendor counts blocks.
    index: Option<u64>,
    kind: Block,
    /// Its place among the tool calls, if it is one.
    call: u64,
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Nothing has been said.
    Before,
    /// `message_start` has been.
    Message,
    /// The `stop_reason` has been.
    Stopped,
    /// `message_stop` has been.
    Over,
}

impl Reader {
    pub(in super::super) fn new() -> Self {
        Self { state: Reading::Before, counts: Counts::NONE, model: None, open: Vec::new(), calls: 0 }
    }

    /// Reads the data of one event and hands on what it says; `scratch` is memory that is used again. What comes after
    /// `message_stop` says nothing.
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
        let event = scan(data, scratch).map_err(|_| root.strange("of an event is not JSON"))?.value();
        let kind = event.get("type").and_then(Value::to_str).ok_or_else(|| root.field("type").strange("is missing"))?;
        let amid = self.state == Reading::Message;
        match &*kind {
            "error" => say(Delta::Failed(error_of(event)), self),
            "ping" => say(Delta::Alive, self),
            "message_start" if amid || self.state == Reading::Before => self.begin(event, say)?,
            "content_block_start" if amid => self.start(event, say)?,
            "content_block_delta" if amid => self.piece(event, say)?,
            "content_block_stop" if amid || self.state == Reading::Stopped => self.close(event, say),
            "message_delta" if amid || self.state == Reading::Stopped => self.stop(event, say)?,
            "message_stop" if self.state == Reading::Stopped => {
                self.state = Reading::Over;
                say(Delta::End, self);
            }
            "message_start"
            | "content_block_start"
            | "content_block_delta"
            | "content_block_stop"
            | "message_delta"
            | "message_stop" => {
                return Err(root.field("type").strange(format_args!("\"{kind}\" comes out of order")));
            }
            // The vendor asks its clients to leave out types to come.
            _ => {}
        }
        Ok(())
    }

    /// What has been said of usage, and whether it is the vendor's last word.
    pub(in super::super) fn usage(&self) -> (Usage, UsageSource) {
        let source = match self.state {
            Reading::Before => UsageSource::None,
            Reading::Message => UsageSource::Partial,
            Reading::Stopped | Reading::Over => UsageSource::Provider,
        };
        (self.counts.usage(), source)
    }

    /// Whether `message_stop` has been.
    pub(in super::super) fn is_over(&self) -> bool {
        self.state == Reading::Over
    }

    /// The model as the vendor names it, once it has.
    pub(in super::super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Streams are known that say it twice (the tests of Vercel's AI SDK hold one); the answer begins once.
    fn begin<'a>(&mut self, event: Value<'a>, say: &mut impl FnMut(Delta<'a>, &Self)) -> Result<(), Fault> {
        let message = event.get("message").ok_or_else(|| Path::Root.field("message").strange("is missing"))?;
        self.model = message.get("model").and_then(Value::to_str).map(Into::into);
        self.counts.read(message.get("usage"));
        if std::mem::replace(&mut self.state, Reading::Message) == Reading::Before {
            say(Delta::Begin, self);
        }
        Ok(())
    }

    /// A block's start may hold a part of it already, or all of it.
    fn start<'a>(&mut self, event: Value<'a>, say: &mut impl FnMut(Delta<'a>, &Self)) -> Result<(), Fault> {
        let root = Path::Root;
        let at = root.field("content_block");
        let value = event.get("content_block").ok_or_else(|| at.strange("is missing"))?;
        let kind = block(value, &at)?;
        if self.open.len() == BLOCKS_OPEN_MAX {
            return Err(at.strange(format_args!("is one more than {BLOCKS_OPEN_MAX} that are open")));
        }
        // Of thoughts, the end of the one before was left out.
        if matches!(kind, Block::Thinking | Block::Redacted) && self.open.iter().any(|block| block.is_thought()) {
            self.open.retain(|block| !block.is_thought());
            say(Delta::ThoughtEnd, self);
        }
        self.open.push(Opened { index: event.get("index").and_then(Value::to_u64), kind, call: self.calls });
        match kind {
            Block::Text => self.say_piece(value.get("text"), Delta::Text, say),
            Block::Thinking => {
                self.say_piece(value.get("thinking"), Delta::Thinking, say);
                self.say_piece(value.get("signature"), Delta::Signature, say);
            }
            Block::Redacted => self.say_piece(value.get("data"), Delta::Redacted, say),
            Block::Call => {
                let literal = |name: &str| {
                    let value = value.get(name).filter(|value| value.kind() == Kind::String);
                    value.map(Value::raw).ok_or_else(|| at.field(name).strange("is missing"))
                };
                let call = Delta::Call { id: literal("id")?.into(), name: literal("name")? };
                self.calls += 1;
                say(call, self);
                let input = value.get("input").filter(|input| input.fields().next().is_some());
                if let Some(input) = input {
                    say(Delta::Input(input.raw()), self);
                }
            }
            Block::OfVendor => {}
        }
        Ok(())
    }

    fn piece<'a>(&mut self, event: Value<'a>, say: &mut impl FnMut(Delta<'a>, &Self)) -> Result<(), Fault> {
        let root = Path::Root;
        let at = root.field("delta");
        // Most events are of this kind, so it is gone through once.
        let (mut index, mut delta) = (None, None);
        for (name, value) in event.fields() {
            match name.raw() {
                b"\"index\"" => index = value.to_u64(),
                b"\"delta\"" => delta = Some(value),
                _ => {}
            }
        }
        let delta = delta.ok_or_else(|| at.strange("is missing"))?;
        let kind = delta.get("type").and_then(Value::to_str).unwrap_or_default();
        let block = self.turn_to(index, say)?;
        let (name, carried): (_, fn(&'a [u8]) -> Delta<'a>) = match &*kind {
            // What the vendor's own tools say is left out whole.
            _ if block == Some(Block::OfVendor) => return Ok(()),
            "text_delta" => ("text", Delta::Text),
            "thinking_delta" => ("thinking", Delta::Thinking),
            "signature_delta" => ("signature", Delta::Signature),
            "input_json_delta" if block == Some(Block::Call) => ("partial_json", Delta::Arguments),
            "input_json_delta" => {
                return Err(at.field("type").strange("is \"input_json_delta\", and the block no call"));
            }
            // What the text rests on has no place in a chunk.
            "citations_delta" => return Ok(()),
            other => {
                return Err(at.field("type").strange(format_args!("is \"{}\", which is not known", shown(other))));
            }
        };
        let text = delta.get(name).filter(|text| text.kind() == Kind::String);
        self.say_piece(Some(text.ok_or_else(|| at.field(name).strange("is missing"))?), carried, say);
        Ok(())
    }

    /// Makes the block with this index the last of those that are open; what it is, if there is one. An event without
    /// an index is about the one that was last spoken of.
    fn turn_to<'a>(
        &mut self,
        index: Option<u64>,
        say: &mut impl FnMut(Delta<'a>, &Self),
    ) -> Result<Option<Block>, Fault> {
        let Some(&current) = self.open.last() else { return Ok(None) };
        let is_meant = |block: &Opened| index.is_none() || block.index.is_none() || block.index == index;
        if is_meant(&current) {
            return Ok(Some(current.kind));
        }
        let at = self.open.iter().rposition(is_meant);
        let at = at.ok_or_else(|| Path::Root.field("index").strange("is of no block that is open"))?;
        let block = self.open.remove(at);
        self.open.push(block);
        if block.kind == Block::Call {
            say(Delta::Resume(block.call), self);
        }
        Ok(Some(block.kind))
    }

    /// The end of a block; that of one that isn't open says nothing.
    fn close<'a>(&mut self, event: Value<'a>, say: &mut impl FnMut(Delta<'a>, &Self)) {
        let index = event.get("index").and_then(Value::to_u64);
        let Ok(Some(kind)) = self.turn_to(index, say) else { return };
        self.open.pop();
        match kind {
            Block::Call => say(Delta::CallEnd, self),
            Block::Thinking | Block::Redacted => say(Delta::ThoughtEnd, self),
            Block::Text | Block::OfVendor => {}
        }
        // What comes without going back is of the block that was spoken of before.
        if let Some(Opened { kind: Block::Call, call, .. }) = self.open.last() {
            say(Delta::Resume(*call), self);
        }
    }

    /// Hands on a string that says something.
    fn say_piece<'a>(
        &self,
        text: Option<Value<'a>>,
        delta: impl FnOnce(&'a [u8]) -> Delta<'a>,
        say: &mut impl FnMut(Delta<'a>, &Self),
    ) {
        if let Some(literal @ [b'"', .., b'"']) = text.map(Value::raw)
            && literal.len() > 2
        {
            say(delta(literal), self);
        }
    }

    /// Usage is cumulative: what this event says replaces what was said before.
    fn stop<'a>(&mut self, event: Value<'a>, say: &mut impl FnMut(Delta<'a>, &Self)) -> Result<(), Fault> {
        self.counts.read(event.get("usage"));
        let reason = event.get("delta").and_then(|delta| delta.get("stop_reason")).and_then(Value::to_str);
        if self.state == Reading::Stopped || reason.is_none() {
            return Ok(());
        }
        let stop = read_stop(reason.as_deref(), &Path::Root.field("delta").field("stop_reason"))?;
        self.open.clear();
        self.state = Reading::Stopped;
        say(Delta::Stop(stop), self);
        Ok(())
    }
}

impl Opened {
    const fn is_thought(&self) -> bool {
        matches!(self.kind, Block::Thinking | Block::Redacted)
    }
}

/// Prints [`Delta`]s as the events of a message.
///
/// Every block is opened and closed, one after the other; usage stands in the first event, where nothing is known yet, and
/// in the last but one, where everything is.
#[derive(Debug)]
pub(in super::super) struct Writer {
    wanted: Wanted,
    /// The event that opens the message.
    start: Box<[u8]>,
    open: Open,
    /// Blocks that are whole.
    closed: u64,
    stop: Option<Stop>,
}

/// The block that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    Thinking,
    Call,
}

impl Writer {
    pub(in super::super) fn new(naming: &Naming<'_>, wanted: Wanted) -> Self {
        let mut start = b"event: message_start\ndata: ".to_vec();
        object(&mut start, |event| {
            event.text("type", "message_start");
            event.object("message", |message| {
                message.text("id", naming.id);
                message.text("type", "message");
                message.text("role", "assistant");
                message.text("model", naming.model);
                message.raw("content", b"[]");
                message.raw("stop_reason", b"null");
                message.raw("stop_sequence", b"null");
                message.object("usage", |usage| write_usage(&Usage::default(), usage));
            });
        });
        start.extend_from_slice(b"\n\n");
        Self { wanted, start: start.into(), open: Open::Nothing, closed: 0, stop: None }
    }

    /// Appends what `delta` is in events: none, one or several. `usage` is what is known by now.
    pub(in super::super) fn write(&mut self, delta: &Delta<'_>, usage: &Usage, out: &mut Vec<u8>) {
        match delta {
            Delta::Begin => out.extend_from_slice(&self.start),
            Delta::Text(text) | Delta::Refusal(text) => {
                self.enter(Open::Text, br#"{"type":"text","text":""}"#, out);
                self.piece("text_delta", "text", out, |out| out.extend_from_slice(text));
            }
            Delta::Thinking(text) => {
                self.enter(Open::Thinking, br#"{"type":"thinking","thinking":"","signature":""}"#, out);
                self.piece("thinking_delta", "thinking", out, |out| out.extend_from_slice(text));
            }
            Delta::Signature(signature) => {
                self.enter(Open::Thinking, br#"{"type":"thinking","thinking":"","signature":""}"#, out);
                self.piece("signature_delta", "signature", out, |out| out.extend_from_slice(signature));
                self.close(out);
            }
            Delta::Redacted(data) => {
                self.close(out);
                self.open_block(out, |out| {
                    let mut block = Object::open(out);
                    block.text("type", "redacted_thinking");
                    block.raw("data", data);
                    block.close();
                });
                self.open = Open::Thinking;
                self.close(out);
            }
            Delta::Call { id, name } => self.call(id, name, out),
            Delta::Arguments(piece) => self.arguments(out, |out| out.extend_from_slice(piece)),
            Delta::Input(input) => {
                let input = std::str::from_utf8(input).unwrap_or_default();
                self.arguments(out, |out| escape_into(out, input));
            }
            // A reader of OpenAI's language never goes back to a call: its block is closed by what comes behind it.
            Delta::Resume(_) => {}
            Delta::CallEnd | Delta::ThoughtEnd => self.close(out),
            Delta::Stop(stop) => {
                self.close(out);
                self.stop = Some(*stop);
            }
            Delta::End => self.end(usage, out),
            Delta::Failed(error) => {
                out.extend_from_slice(b"event: error\ndata: ");
                write_error(error, IN_STREAM, out);
                out.extend_from_slice(b"\n\n");
            }
            Delta::Alive => out.extend_from_slice(b"event: ping\ndata: {\"type\":\"ping\"}\n\n"),
        }
    }

    /// The tool that was forced upon the model holds the answer's text.
    fn call(&mut self, id: &[u8], name: &[u8], out: &mut Vec<u8>) {
        self.close(out);
        if self.wanted.json_tool && name[1..].starts_with(JSON_TOOL.as_bytes()) {
            return;
        }
        self.open_block(out, |out| {
            let mut block = Object::open(out);
            block.text("type", "tool_use");
            block.raw("id", id);
            block.raw("name", name);
            block.raw("input", b"{}");
            block.close();
        });
        self.open = Open::Call;
    }

    fn arguments(&mut self, out: &mut Vec<u8>, literal: impl FnOnce(&mut Vec<u8>)) {
        if self.wanted.json_tool && self.open != Open::Call {
            self.enter(Open::Text, br#"{"type":"text","text":""}"#, out);
            self.piece("text_delta", "text", out, literal);
        } else {
            self.piece("input_json_delta", "partial_json", out, literal);
        }
    }

    /// Sees to it that a block of this kind is open.
    fn enter(&mut self, kind: Open, block: &[u8], out: &mut Vec<u8>) {
        if self.open != kind {
            self.close(out);
            self.open_block(out, |out| out.extend_from_slice(block));
            self.open = kind;
        }
    }

    fn open_block(&self, out: &mut Vec<u8>, block: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
        write_number(self.closed, out);
        out.extend_from_slice(b",\"content_block\":");
        block(out);
        out.extend_from_slice(b"}\n\n");
    }

    fn piece(&self, kind: &str, name: &str, out: &mut Vec<u8>, literal: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
        write_number(self.closed, out);
        out.extend_from_slice(b",\"delta\":");
        let mut delta = Object::open(out);
        delta.text("type", kind);
        literal(delta.name(name));
        delta.close();
        out.extend_from_slice(b"}\n\n");
    }

    /// Closes the block that is open.
    fn close(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.open, Open::Nothing) == Open::Nothing {
            return;
        }
        out.extend_from_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
        write_number(self.closed, out);
        out.extend_from_slice(b"}\n\n");
        self.closed += 1;
    }

    fn end(&self, usage: &Usage, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: message_delta\ndata: ");
        object(out, |event| {
            event.text("type", "message_delta");
            event.object("delta", |delta| {
                delta.text("stop_reason", stop_reason(self.stop.unwrap_or(Stop::EndOfTurn), self.wanted));
                delta.raw("stop_sequence", b"null");
            });
            event.object("usage", |fields| write_usage(usage, fields));
        });
        out.extend_from_slice(b"\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }
}
