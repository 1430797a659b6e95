//! Whole answers of messages: reading a vendor's, writing a client's. The mirror image of
//! [`openai::answer`](super::super::openai).

use std::borrow::Cow;

use super::super::chat::{Answer, Call, Literal, Naming, Part, Stop, Thought, Wanted};
use super::super::path::{Path, shown};
use super::super::print::object;
use super::write::write_part;
use super::{Block, Counts, block, read_stop, read_tier, stop_reason, tier, write_usage};
use crate::fault::Fault;
use crate::json::{Kind, Value};

/// Reads a whole answer.
///
/// # Errors
///
/// `AnswerNotUnderstood`, with the path of what is not as documented, or has no place in OpenAI's answer.
pub(in super::super) fn read_answer(body: Value<'_>) -> Result<Answer<'_>, Fault> {
    let root = Path::Root;
    let at = root.field("type");
    match body.get("type").and_then(Value::to_str).as_deref() {
        Some("message") => {}
        Some(other) => return Err(at.strange(format_args!("is \"{}\"", shown(other)))),
        None => return Err(at.strange("is missing")),
    }
    let at = root.field("content");
    let blocks = body.get("content").filter(|content| content.kind() == Kind::Array);
    let mut parts = Vec::with_capacity(2);
    for (nth, block) in blocks.ok_or_else(|| at.strange("is not a list"))?.items().enumerate() {
        parts.extend(read_block(block, &at.item(nth))?);
    }
    let reason = body.get("stop_reason").and_then(Value::to_str);
    let usage = body.get("usage").filter(|usage| usage.kind() == Kind::Object);
    let explained = body.get("stop_details").and_then(|details| details.get("explanation"));
    let stop = read_stop(reason.as_deref(), &root.field("stop_reason"))?;
    Ok(Answer {
        parts,
        refusal: explained.and_then(Literal::of).filter(|text| stop == Stop::Refusal && !text.is_empty()),
        stop,
        stop_sequence: body.get("stop_sequence").and_then(Literal::of),
        usage: usage.map(|usage| {
            let mut counts = Counts::NONE;
            counts.read(Some(usage));
            counts.usage()
        }),
        tier: usage.and_then(|usage| usage.get("service_tier")).and_then(read_tier),
        model: body.get("model").and_then(Value::to_str).map(Into::into),
    })
}

fn read_block<'a>(value: Value<'a>, at: &Path<'_>) -> Result<Option<Part<'a>>, Fault> {
    let field = |name: &str| value.get(name).and_then(Literal::of);
    let wanted = |name: &str| field(name).ok_or_else(|| at.field(name).strange("is missing"));
    Ok(match block(value, at)? {
        Block::Text => {
            let text = wanted("text")?;
            (!text.is_empty()).then_some(Part::Text { text, cache: None })
        }
        Block::Thinking => {
            let signature = field("signature").unwrap_or_else(|| Literal::made(""));
            Some(Part::Thinking(Thought { text: wanted("thinking")?, signature }))
        }
        Block::Redacted => Some(Part::Redacted(wanted("data")?)),
        Block::Call => {
            let input = value.get("input").filter(|input| input.kind() == Kind::Object);
            let input = Cow::Borrowed(input.ok_or_else(|| at.field("input").strange("is no object"))?.raw());
            Some(Part::Call(Call { id: wanted("id")?, name: wanted("name")?, input, cache: None }))
        }
        Block::OfVendor => None,
    })
}

/// Appends a whole answer: a `message`.
pub(in super::super) fn write_answer(answer: &Answer<'_>, naming: &Naming<'_>, wanted: Wanted, out: &mut Vec<u8>) {
    object(out, |message| {
        message.text("id", naming.id);
        message.text("type", "message");
        message.text("role", "assistant");
        message.text("model", naming.model);
        let refusal = answer.refusal.clone().map(|text| Part::Text { text, cache: None });
        message.list("content", answer.parts.iter().chain(&refusal), |part, out| write_said(part, wanted, out));
        message.text("stop_reason", stop_reason(answer.stop, wanted));
        message.raw("stop_sequence", answer.stop_sequence.as_ref().map_or(&b"null"[..], |text| text.raw()));
        message.object("usage", |usage| {
            // Clients insist on the numbers, also where the vendor said none.
            write_usage(&answer.usage.unwrap_or_default(), usage);
            if let Some(word) = answer.tier.map(tier) {
                usage.text("service_tier", word);
            }
        });
    });
}

/// The tool that was forced upon the model holds the answer's text.
fn write_said(part: &Part<'_>, wanted: Wanted, out: &mut Vec<u8>) {
    match part {
        Part::Call(call) if wanted.json_tool => {
            let text = Literal::made(std::str::from_utf8(&call.input).unwrap_or_default());
            write_part(&Part::Text { text, cache: None }, out);
        }
        part => write_part(part, out),
    }
}
