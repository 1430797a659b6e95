//! Reading the messages of a chat completions request: who says what, which tool answers which call.

use std::borrow::Cow;

use super::super::chat::{Cache, Call, Chat, Literal, Part, Role, Source, Thought, ToolResult, Turn};
use super::super::path::{Path, shown};
use super::super::values::{read_list, read_object, read_text};
use crate::fault::Fault;
use crate::json::{Kind, Scratch, Span, Value, scan};

/// A mark as Anthropic writes it, for one that OpenAI's clients write in their own way.
const CACHE_MARK: &[u8] = br#"{"type":"ephemeral"}"#;

/// Who speaks, in OpenAI's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    System,
    User,
    Assistant,
    Tool,
    Function,
}

/// The fields of a message that matter.
#[derive(Debug, Default)]
struct Message<'a> {
    content: Option<Value<'a>>,
    refusal: Option<Literal<'a>>,
    tool_calls: Option<Value<'a>>,
    function_call: Option<Value<'a>>,
    tool_call_id: Option<Literal<'a>>,
    thinking_blocks: Option<Value<'a>>,
    cache: Cache<'a>,
}

/// The calls that the next messages have to answer, and where they were made.
#[derive(Debug, Default)]
struct Open<'a> {
    ids: Vec<Literal<'a>>,
    place: usize,
}

/// Reads all messages into the chat's turns.
///
/// # Errors
///
/// As for the whole request.
pub(super) fn read_messages<'a>(messages: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    let mut open = Open::default();
    for (place, message) in read_list(messages, at)?.items().enumerate() {
        let at = at.item(place);
        let voice = read_voice(read_object(message, &at)?, &at)?;
        let fields = read_fields(message, voice, &at, chat)?;
        if !matches!(voice, Voice::System | Voice::Tool | Voice::Function) {
            open.refuse_unanswered()?;
        }
        match voice {
            Voice::System => read_system(&fields, place, &at, chat)?,
            Voice::User => read_user(&fields, place, &at, chat)?,
            Voice::Assistant => open = read_assistant(&fields, place, &at, chat)?,
            Voice::Tool | Voice::Function => read_answer(&fields, place, &at, &mut open, chat)?,
        }
    }
    open.refuse_unanswered()?;
    if messages.items().next().is_none() {
        return Err(at.invalid("a list of at least one message"));
    }
    Ok(())
}

impl Open<'_> {
    /// Neither vendor takes a call without its answer.
    fn refuse_unanswered(&self) -> Result<(), Fault> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let root = Path::Root;
        let messages = root.field("messages");
        Err(messages.item(self.place).field("tool_calls").refused("are not all answered by the messages that follow"))
    }
}

fn read_voice(message: Value<'_>, at: &Path<'_>) -> Result<Voice, Fault> {
    let at = at.field("role");
    match message.get("role").and_then(Value::to_str).as_deref() {
        Some("system" | "developer") => Ok(Voice::System),
        Some("user") => Ok(Voice::User),
        Some("assistant") => Ok(Voice::Assistant),
        Some("tool") => Ok(Voice::Tool),
        Some("function") => Ok(Voice::Function),
        Some(_) | None => Err(at.invalid("\"system\", \"developer\", \"user\", \"assistant\" or \"tool\"")),
    }
}

fn read_fields<'a>(message: Value<'a>, voice: Voice, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Message<'a>, Fault> {
    let mut fields = Message::default();
    let mut reasoning = false;
    for (name, value) in message.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = at.field(&name);
        match &*name {
            "role" => {}
            "content" => fields.content = Some(value).filter(|content| !content.is_null()),
            "tool_call_id" => fields.tool_call_id = Some(read_text(value, &at)?),
            "cache_control" => fields.cache = Some(value.raw()),
            // Whose tool answers is clear from the id; the function's name from the call before.
            "name" if value.is_null() || matches!(voice, Voice::Tool | Voice::Function) => {}
            "name" => chat.report.approximate(&at),
            // Clients send answers back as they got them.
            "refusal" | "tool_calls" | "function_call" | "annotations" | "audio" | "thinking_blocks"
            | "reasoning_content" | "reasoning"
                if value.is_null() || is_empty(value) => {}
            "refusal" => fields.refusal = Some(read_text(value, &at)?),
            "tool_calls" if voice == Voice::Assistant => fields.tool_calls = Some(read_list(value, &at)?),
            "function_call" if voice == Voice::Assistant => fields.function_call = Some(read_object(value, &at)?),
            "thinking_blocks" if voice == Voice::Assistant => fields.thinking_blocks = Some(read_list(value, &at)?),
            // What the model thought, without the signature that the vendor insists on.
            "reasoning_content" | "reasoning" => reasoning = true,
            "annotations" => chat.report.approximate(&at),
            "audio" => return Err(at.refused("can't be carried")),
            _ => chat.report.drop_field(&at),
        }
    }
    if reasoning && fields.thinking_blocks.is_none() {
        chat.report.approximate(&at.field("reasoning_content"));
    }
    Ok(fields)
}

fn is_empty(value: Value<'_>) -> bool {
    match value.kind() {
        Kind::String => value.raw().len() <= 2,
        Kind::Array => value.items().next().is_none(),
        Kind::Object | Kind::Number | Kind::Bool | Kind::Null => false,
    }
}

fn read_system<'a>(fields: &Message<'a>, place: usize, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    let mut parts = Vec::with_capacity(1);
    read_content(fields, Voice::System, at, &mut parts, chat)?;
    if !parts.is_empty() {
        chat.turns.push(Turn { role: Role::System, parts, place: Some(place) });
    }
    Ok(())
}

fn read_user<'a>(fields: &Message<'a>, place: usize, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    let mut parts = Vec::with_capacity(1);
    read_content(fields, Voice::User, at, &mut parts, chat)?;
    if parts.is_empty() {
        chat.report.approximate(at);
        return Ok(());
    }
    // What tools answered and what the user says next is one turn: the vendor wants the answers first in it.
    match answers_of(chat) {
        Some(turn) => turn.append(&mut parts),
        None => chat.turns.push(Turn { role: Role::User, parts, place: Some(place) }),
    }
    Ok(())
}

/// The parts of the turn in which tools answer, if the conversation has come to one. System messages don't end it, for
/// they are moved out of the way.
fn answers_of<'c, 'a>(chat: &'c mut Chat<'a>) -> Option<&'c mut Vec<Part<'a>>> {
    let last = chat.turns.iter_mut().rev().find(|turn| turn.role != Role::System)?;
    let answers = last.role == Role::User && last.parts.iter().all(|part| matches!(part, Part::Result(_)));
    answers.then_some(&mut last.parts)
}

fn read_assistant<'a>(
    fields: &Message<'a>,
    place: usize,
    at: &Path<'_>,
    chat: &mut Chat<'a>,
) -> Result<Open<'a>, Fault> {
    let mut parts = Vec::with_capacity(2);
    if let Some(blocks) = fields.thinking_blocks {
        read_thinking_blocks(blocks, &at.field("thinking_blocks"), &mut parts, chat)?;
    }
    read_content(fields, Voice::Assistant, at, &mut parts, chat)?;
    if let Some(refusal) = fields.refusal.clone() {
        push_text(refusal, None, &mut parts);
    }
    let mut open = Open { ids: Vec::new(), place };
    let at_calls = at.field("tool_calls");
    for (nth, call) in fields.tool_calls.into_iter().flat_map(Value::items).enumerate() {
        let call = read_call(call, &at_calls.item(nth), chat)?;
        open.ids.push(call.id.clone());
        parts.push(Part::Call(call));
    }
    if let Some(call) = fields.function_call {
        let id = Literal::made(&format!("call_{place}"));
        open.ids.push(id.clone());
        parts.push(Part::Call(read_called(call, id, &at.field("function_call"))?));
    }
    if parts.is_empty() {
        // Who says nothing is left out.
        chat.report.approximate(at);
        return Ok(open);
    }
    chat.turns.push(Turn { role: Role::Assistant, parts, place: Some(place) });
    Ok(open)
}

/// What the vendor had us show as `thinking_blocks`, come back.
fn read_thinking_blocks<'a>(
    blocks: Value<'a>,
    at: &Path<'_>,
    parts: &mut Vec<Part<'a>>,
    chat: &mut Chat<'a>,
) -> Result<(), Fault> {
    for (nth, block) in blocks.items().enumerate() {
        let at = at.item(nth);
        let field = |name: &str| block.get(name).and_then(Literal::of).filter(|text| !text.is_empty());
        match block.get("type").and_then(Value::to_str).as_deref() {
            Some("thinking") => match (block.get("thinking").and_then(Literal::of), field("signature")) {
                (Some(text), Some(signature)) => parts.push(Part::Thinking(Thought { text, signature })),
                (Some(_) | None, _) => chat.report.approximate(&at),
            },
            Some("redacted_thinking") => {
                let data = field("data").ok_or_else(|| at.field("data").invalid("text"))?;
                parts.push(Part::Redacted(data));
            }
            Some(other) => {
                return Err(at.field("type").refused(format_args!("\"{}\" can't be carried", shown(other))));
            }
            None => return Err(at.field("type").invalid("the block's type")),
        }
    }
    Ok(())
}

fn read_call<'a>(call: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Call<'a>, Fault> {
    let (mut id, mut function, mut cache) = (None, None, None);
    let at_type = at.field("type");
    for (name, value) in read_object(call, at)?.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = at.field(&name);
        match &*name {
            "type" | "index" if value.is_null() => {}
            "type" if value.is("function") => {}
            "type" => {
                let kind = read_text(value, &at_type)?;
                return Err(at_type.refused(format_args!("\"{}\" can't be carried", shown(&kind.text()))));
            }
            // Where it stood in a stream.
            "index" => {}
            "id" => id = Some(read_text(value, &at)?),
            "function" => function = Some(read_object(value, &at)?),
            "cache_control" => cache = Some(value.raw()),
            _ => chat.report.drop_field(&at),
        }
    }
    let at_id = at.field("id");
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| at_id.invalid("text"))?;
    let id = vendors_id(id, &at_id, chat);
    let at = at.field("function");
    let call = read_called(function.ok_or_else(|| at.invalid("an object"))?, id, &at)?;
    Ok(Call { cache, ..call })
}

/// Anthropic takes letters, digits, `_` and `-` in an id. Others are spelled out, in a call and in its answer alike.
fn vendors_id<'a>(id: Literal<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Literal<'a> {
    let text = id.text();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.bytes().all(plain) {
        return id;
    }
    chat.report.approximate(at);
    let mut spelled = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if plain(byte) {
            spelled.push(byte.into());
        } else {
            spelled.push_str(&format!("_{byte:02x}"));
        }
    }
    Literal::made(&spelled)
}

fn read_called<'a>(function: Value<'a>, id: Literal<'a>, at: &Path<'_>) -> Result<Call<'a>, Fault> {
    let at_name = at.field("name");
    let name = read_text(function.get("name").ok_or_else(|| at_name.invalid("text"))?, &at_name)?;
    let input = match function.get("arguments") {
        Some(arguments) => read_arguments(arguments, &at.field("arguments"))?,
        None => Cow::Borrowed(&b"{}"[..]),
    };
    Ok(Call { id, name, input, cache: None })
}

/// OpenAI's arguments are a string that holds JSON, Anthropic's are the JSON. Nothing at all says no arguments.
fn read_arguments<'a>(arguments: Value<'a>, at: &Path<'_>) -> Result<Cow<'a, [u8]>, Fault> {
    match arguments.kind() {
        Kind::Object => return Ok(Cow::Borrowed(arguments.raw())),
        Kind::Null => return Ok(Cow::Borrowed(b"{}")),
        Kind::String => {}
        Kind::Array | Kind::Number | Kind::Bool => return Err(at.invalid("text")),
    }
    let text = arguments.to_str().unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(Cow::Borrowed(b"{}"));
    }
    match scan(text.as_bytes(), &mut Scratch::default()) {
        Ok(object) => Ok(Cow::Owned(object.span().of(text.as_bytes()).to_vec())),
        Err(_) => Err(at.refused("is no JSON object, and the vendor takes nothing else")),
    }
}

fn read_answer<'a>(
    fields: &Message<'a>,
    place: usize,
    at: &Path<'_>,
    open: &mut Open<'a>,
    chat: &mut Chat<'a>,
) -> Result<(), Fault> {
    let at_id = at.field("tool_call_id");
    let answered = match &fields.tool_call_id {
        Some(id) => {
            let id = vendors_id(id.clone(), &at_id, chat);
            open.ids.iter().position(|open| *open == id || open.text() == id.text())
        }
        // A function's answer belongs to the call before it.
        None => (open.ids.len() == 1).then_some(0),
    };
    let id = answered.map(|nth| open.ids.remove(nth));
    let id = id.ok_or_else(|| at_id.refused("answers no call of the message before"))?;
    let mut parts = Vec::with_capacity(1);
    read_content(fields, Voice::Tool, at, &mut parts, chat)?;
    let mut cache = None;
    if let [Part::Text { cache: mark, .. }] = parts.as_mut_slice() {
        // A single text is written as such, so its mark goes to the whole.
        cache = mark.take();
    }
    let result = Part::Result(ToolResult { id, parts, cache });
    match answers_of(chat) {
        Some(turn) => turn.push(result),
        None => chat.turns.push(Turn { role: Role::User, parts: vec![result], place: Some(place) }),
    }
    Ok(())
}

fn read_content<'a>(
    fields: &Message<'a>,
    voice: Voice,
    at: &Path<'_>,
    parts: &mut Vec<Part<'a>>,
    chat: &mut Chat<'a>,
) -> Result<(), Fault> {
    let at = at.field("content");
    let Some(content) = fields.content else {
        // Who calls a tool need not say anything.
        return if voice == Voice::Assistant { Ok(()) } else { Err(at.invalid("text or a list of parts")) };
    };
    let had = parts.len();
    match content.kind() {
        Kind::String => parts.extend(Literal::of(content).and_then(|text| text_part(text, None))),
        Kind::Array => {
            for (nth, part) in content.items().enumerate() {
                parts.extend(read_part(part, voice, &at.item(nth), chat)?);
            }
        }
        Kind::Object | Kind::Number | Kind::Bool | Kind::Null => {
            return Err(at.invalid("text or a list of parts"));
        }
    }
    // A mark on the message is one on its last part.
    if let (Some(mark), Some(part)) = (fields.cache, parts[had..].last_mut()) {
        match part {
            Part::Text { cache, .. } | Part::Image { cache, .. } | Part::Document { cache, .. } => {
                *cache = cache.or(Some(mark));
            }
            Part::Thinking(_) | Part::Redacted(_) | Part::Call(_) | Part::Result(_) => {}
        }
    }
    Ok(())
}

fn push_text<'a>(text: Literal<'a>, cache: Cache<'a>, parts: &mut Vec<Part<'a>>) {
    parts.extend(text_part(text, cache));
}

/// A part that is empty, or white space only, says nothing, and Anthropic refuses it.
fn text_part<'a>(text: Literal<'a>, cache: Cache<'a>) -> Option<Part<'a>> {
    (!text.is_blank()).then_some(Part::Text { text, cache })
}

fn read_part<'a>(part: Value<'a>, voice: Voice, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Option<Part<'a>>, Fault> {
    let at_type = at.field("type");
    let kind = read_object(part, at)?.get("type").ok_or_else(|| at_type.invalid("the part's type"))?;
    let kind = read_text(kind, &at_type)?.text().into_owned();
    let (mut cache, mut body) = (None, None);
    for (name, value) in part.fields() {
        let Some(name) = name.to_str() else { continue };
        match &*name {
            "type" => {}
            "cache_control" if value.is_null() => {}
            "cache_control" => cache = Some(value.raw()),
            "prompt_cache_breakpoint" => cache = cache.or(Some(CACHE_MARK)),
            name if name == kind => body = Some(value),
            _ => chat.report.drop_field(&at.field(&name)),
        }
    }
    let at_body = at.field(&kind);
    let missing = |want: &str| at_body.invalid(want);
    match (kind.as_str(), voice) {
        ("text", _) | ("refusal", Voice::Assistant) => {
            let text = read_text(body.ok_or_else(|| missing("text"))?, &at_body)?;
            Ok(text_part(text, cache))
        }
        ("image_url", Voice::User | Voice::Tool | Voice::Function) => {
            let source = read_image(body.ok_or_else(|| missing("an object"))?, &at_body, chat)?;
            Ok(Some(Part::Image { source, cache }))
        }
        ("file", Voice::User | Voice::Tool | Voice::Function) => {
            let (source, title) = read_file(body.ok_or_else(|| missing("an object"))?, &at_body, chat)?;
            Ok(Some(Part::Document { source, title, cache }))
        }
        (other, _) => Err(at_type.refused(format_args!("\"{}\" can't be carried", shown(other)))),
    }
}

fn read_image<'a>(image: Value<'a>, at: &Path<'_>, chat: &mut Chat<'a>) -> Result<Source<'a>, Fault> {
    let at_url = at.field("url");
    let url = match image.kind() {
        // Some clients leave the object out.
        Kind::String => image,
        Kind::Object | Kind::Array | Kind::Number | Kind::Bool | Kind::Null => {
            if image.get("detail").is_some_and(|detail| !detail.is_null() && !detail.is("auto")) {
                chat.report.approximate(&at.field("detail"));
            }
            read_object(image, at)?.get("url").ok_or_else(|| at_url.invalid("text"))?
        }
    };
    const TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
    match read_data_url(url, &at_url)? {
        Some(Source::Base64 { media_type, data }) => {
            let media_type = if media_type == "image/jpg" { Cow::Borrowed("image/jpeg") } else { media_type };
            if !TYPES.contains(&&*media_type) {
                return Err(at_url.refused("is a kind of picture that the vendor doesn't take"));
            }
            Ok(Source::Base64 { media_type, data })
        }
        Some(source @ (Source::Url(_) | Source::Plain(_))) => Ok(source),
        None => Err(at_url.refused("is neither on the web nor data in base 64")),
    }
}

fn read_file<'a>(
    file: Value<'a>,
    at: &Path<'_>,
    chat: &mut Chat<'a>,
) -> Result<(Source<'a>, Option<Literal<'a>>), Fault> {
    let (mut data, mut title) = (None, None);
    let at_data = at.field("file_data");
    for (name, value) in read_object(file, at)?.fields() {
        let Some(name) = name.to_str() else { continue };
        let at = at.field(&name);
        match &*name {
            _ if value.is_null() => {}
            "filename" => title = Some(read_text(value, &at)?).filter(|title| !title.is_empty()),
            "file_data" => data = Some(value),
            "file_id" => return Err(at.refused("names a file that only OpenAI has")),
            _ => chat.report.drop_field(&at),
        }
    }
    let data = data.ok_or_else(|| at_data.invalid("text"))?;
    match read_data_url(data, &at_data)? {
        Some(Source::Base64 { media_type, data }) if media_type == "application/pdf" => {
            Ok((Source::Base64 { media_type, data }, title))
        }
        Some(Source::Base64 { media_type, data }) if media_type.starts_with("text/") => {
            let text = decode_base64(&data).and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| at_data.invalid("UTF-8 in base 64"))?;
            Ok((Source::Plain(Literal::made(&text)), title))
        }
        Some(source @ Source::Url(_)) => Ok((source, title)),
        Some(Source::Base64 { .. } | Source::Plain(_)) | None => {
            Err(at_data.refused("is a kind of file that the vendor doesn't take"))
        }
    }
}

/// What a `data:` URL holds in base 64, or where on the web the bytes are; none of any other text.
///
/// The data may be megabytes: it is found in the literal, not unescaped.
fn read_data_url<'a>(url: Value<'a>, at: &Path<'_>) -> Result<Option<Source<'a>>, Fault> {
    /// Where the data begins at the latest. Media types are short.
    const HEAD_BYTES_MAX: usize = 160;
    const MARK: &[u8] = b";base64,";
    let literal = read_text(url, at)?;
    let raw = url.raw();
    let inside = &raw[1..raw.len() - 1];
    if let Some(rest) = inside.strip_prefix(b"data:") {
        let head = &rest[..rest.len().min(HEAD_BYTES_MAX)];
        let Some(mark) = memchr::memmem::find(head, MARK) else { return Ok(None) };
        let quoted = [b"\"", &rest[..mark], b"\""].concat();
        let whole = Value::at(&quoted, Span::new(0, quoted.len())).to_str().unwrap_or_default();
        // Parameters may follow the type.
        let media_type = whole.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let data = Cow::Borrowed(&rest[mark + MARK.len()..]);
        return Ok(Some(Source::Base64 { media_type: media_type.into(), data }));
    }
    let is_web = literal.text().starts_with("https://") || literal.text().starts_with("http://");
    Ok(is_web.then_some(Source::Url(literal)))
}

/// What stands between the quotes of a literal, in base 64 (RFC 4648 section 4); none where it isn't.
fn decode_base64(inside: &[u8]) -> Option<Vec<u8>> {
    let quoted = [b"\"", inside, b"\""].concat();
    let text = Value::at(&quoted, Span::new(0, quoted.len())).to_str()?.into_owned();
    let digits = text.trim_end_matches('=').bytes().map(|byte| match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    });
    let digits: Vec<u32> = digits.collect::<Option<_>>()?;
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let word = group.iter().fold(0, |word, digit| word << 6 | digit) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}
