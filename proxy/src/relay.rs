//! The answer on its way back: as it is, or through a translator.
//!
//! What one read of the vendor's connection completed goes to the client in one write, at once; an event that isn't
//! whole waits for its rest. The next read starts when the client has taken the last write, so a slow reader slows its
//! vendor down and fills no memory.
//!
//! On the way as it is, bytes are never changed: usage and content are read by scanners beside the stream, and the only
//! thing ever left out is the usage chunk that the gateway itself had asked for.

use kt_core::config::plan::Chosen;
use kt_core::dialect::{self, Crossing, Dialect, Look, Naming, Translator, Wanted};
use kt_core::fault::{Fault, Kind, Phase};
use kt_core::http1::head::Known;
use kt_core::http1::write;
use kt_core::json::Watch;
use kt_core::limits::KIB;
use kt_core::sse::{self, Splitter};
use kt_core::tally::UsageSource;

use crate::client::Request;
use crate::upstream::{Answer, Company, More};
use crate::worker::Lane;

/// Longest `usage`, `model` or `error` value that is looked at in an answer passing by.
const CAPTURE_BYTES_MAX: usize = 4 * KIB;

/// The one crossing there is: the endpoint speaks OpenAI's language.
const CROSSING: Crossing = Crossing::OpenAiToAnthropic;

/// What this gateway is called where a message says whom it came through (RFC 9110 section 7.6.3).
pub const VIA: &str = "1.1 kt";

/// What an answer goes through.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// As it is. If the usage of a stream was asked for by the gateway alone, its chunk is left out.
    Identity {
        /// Whether it was.
        removes_usage_chunk: bool,
    },
    /// From Anthropic's language to OpenAI's.
    Translated(Wanted),
}

/// What the client is told of where its answer comes from, and how it can be told.
pub struct Heading<'a> {
    /// The arm it got.
    pub chosen: Chosen<'a>,
    /// What is being answered.
    pub to: &'a Request,
    /// Whether another request may follow on its connection.
    pub keep_alive: bool,
}

/// An answer that went out whole.
#[derive(Debug)]
pub struct Relayed {
    /// Its status.
    pub status: u16,
    /// What the vendor said went wrong within it, for the record; the client has seen it.
    pub note: Option<Fault>,
}

/// How the answer's body is delimited to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Nothing,
    Length(u64),
    Chunks,
    Close,
}

/// Passes the vendor's answer to the client, whole.
///
/// # Errors
///
/// Why it could not be; [`crate::client::Client::answer_begun`] tells whether the client has seen a part of it.
pub async fn answer(
    mut answer: Answer,
    mode: Mode,
    heading: &Heading<'_>,
    lane: &Lane,
    company: &mut Company<'_>,
) -> Result<Relayed, Fault> {
    if let Some((_, id)) = answer.end_to_end().find(|(name, _)| dialect::is_request_id(name)) {
        company.record.vendor_says_id(&String::from_utf8_lossy(id));
    }
    let is_stream = answer.field(Known::ContentType).is_some_and(is_event_stream);
    let is_coded = answer.field(Known::ContentEncoding).is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    let is_success = answer.status() < 400;
    let note = match mode {
        Mode::Identity { removes_usage_chunk } if is_stream && !is_coded => {
            pass_stream(&mut answer, removes_usage_chunk, heading, company).await?
        }
        Mode::Identity { .. } => {
            pass_body(&mut answer, is_success && !is_coded, heading, company).await?;
            None
        }
        Mode::Translated(_) if is_coded => return Err(Fault::new(Kind::AnswerContentCoded, Phase::FirstByte)),
        Mode::Translated(wanted) if is_success && is_stream && wanted.stream => {
            translate_stream(&mut answer, wanted, heading, company).await?;
            None
        }
        Mode::Translated(_) if is_success && is_stream => {
            let why = "a stream that nobody asked for";
            return Err(Fault::with(Kind::AnswerNotUnderstood, Phase::FirstByte, why));
        }
        Mode::Translated(wanted) => {
            translate_whole(&mut answer, wanted, heading, company).await?;
            None
        }
    };
    let status = answer.status();
    answer.done(lane, company.limits);
    Ok(Relayed { status, note })
}

fn is_event_stream(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// A body that is no stream, as it comes.
async fn pass_body(
    answer: &mut Answer,
    watches: bool,
    heading: &Heading<'_>,
    company: &mut Company<'_>,
) -> Result<(), Fault> {
    let framing = match (answer.status(), answer.length()) {
        (204 | 304, _) => Framing::Nothing,
        (_, Some(length)) => Framing::Length(length),
        (_, None) => heading.framing_of_unknown_length(),
    };
    let mut watch = watches.then(|| Watch::new(&["usage", "model"], CAPTURE_BYTES_MAX));
    let mut payload = Vec::new();
    let mut more = answer.take_read(&mut payload)?;
    if payload.is_empty() && more == More::Yes {
        more = answer.read(&mut payload, company).await?;
    }
    let mut out = heading.head_of(answer, None, framing, company);
    loop {
        if let Some(watch) = &mut watch {
            watch.push(&payload);
        }
        frame(&mut out, &payload, framing, more);
        if more == More::No {
            company.record.vendor_finished();
            if let Some(watch) = &watch {
                note_captured(watch, company);
            }
        }
        out = company.pass(out, answer.read_ns).await?;
        if more == More::No {
            return Ok(());
        }
        payload.clear();
        more = answer.read(&mut payload, company).await?;
    }
}

fn note_captured(watch: &Watch, company: &mut Company<'_>) {
    if let Some(usage) = watch.captured("usage").and_then(|raw| dialect::usage(Dialect::OpenAi, raw)) {
        company.record.vendor_says_usage(usage);
    }
    let model = watch.captured("model").and_then(|raw| std::str::from_utf8(raw).ok());
    if let Some(model) = model.and_then(|raw| raw.strip_prefix('"')?.strip_suffix('"')) {
        company.record.vendor_says_model(model);
    }
}

/// A stream, as it comes, in whole events. Returns the vendor's own failure, if it told one.
async fn pass_stream(
    answer: &mut Answer,
    removes_usage_chunk: bool,
    heading: &Heading<'_>,
    company: &mut Company<'_>,
) -> Result<Option<Fault>, Fault> {
    let framing = heading.framing_of_unknown_length();
    let mut note = None;
    let mut look = Look::new(Dialect::OpenAi);
    let mut events = Events::default();
    let mut out = heading.head_of(answer, None, framing, company);
    let mut body = Vec::new();
    let mut more = answer.take_read(&mut events.bytes)?;
    loop {
        for event in events.whole() {
            let seen = look.at(&event);
            if seen.content {
                company.record.content(answer.read_ns);
            }
            if let Some(usage) = seen.usage {
                company.record.vendor_says_usage(usage);
            }
            if let Some(model) = &seen.model {
                company.record.vendor_says_model(model);
            }
            if seen.error.is_some() {
                note = Some(Fault::new(Kind::VendorErrorInStream, Phase::Stream));
            }
            if !(seen.usage_chunk && removes_usage_chunk) {
                body.extend_from_slice(event.raw);
            }
        }
        events.forget_whole();
        if more == More::No {
            // What is no whole event passes too: it is the vendor's.
            body.append(&mut events.bytes);
            company.record.vendor_finished();
        }
        let too_large = events.bytes.len() > company.limits.sse_event_bytes_max;
        frame(&mut out, &body, framing, more);
        body.clear();
        if !out.is_empty() {
            out = company.pass(out, answer.read_ns).await?;
        }
        if more == More::No {
            return Ok(note);
        }
        let torn = match too_large {
            true => Err(Fault::new(Kind::AnswerTooLarge, Phase::Stream)),
            false => answer.read(&mut events.bytes, company).await,
        };
        more = match torn {
            Ok(more) => more,
            Err(fault) => return Err(tell_torn(fault, out, framing, company).await),
        };
    }
}

/// A stream of Anthropic's, event by event.
async fn translate_stream(
    answer: &mut Answer,
    wanted: Wanted,
    heading: &Heading<'_>,
    company: &mut Company<'_>,
) -> Result<(), Fault> {
    let framing = heading.framing_of_unknown_length();
    let id = company.draw_answer_id();
    let naming = Naming { id: &id, created: company.worker.clock.unix_seconds(), model: &heading.chosen.arm.model };
    let mut translator = Translator::new(CROSSING, &naming, wanted);
    let mut events = Events::default();
    let mut out = heading.head_of(answer, Some("text/event-stream"), framing, company);
    let mut body = Vec::new();
    let mut more = answer.take_read(&mut events.bytes)?;
    loop {
        let mut failed = None;
        for event in events.whole() {
            match translator.push(&event, &mut body) {
                Ok(said) => {
                    if said.content {
                        company.record.content(answer.read_ns);
                    }
                }
                Err(fault) => {
                    failed = Some(fault);
                    break;
                }
            }
        }
        events.forget_whole();
        note_translated(&translator, company);
        if failed.is_none() && more == More::No && !translator.conclude(&mut body) {
            let fault = Fault::new(Kind::AnswerTorn, Phase::Stream);
            dialect::error_event(Dialect::OpenAi, &fault, &mut body);
            failed = Some(fault);
        }
        if failed.is_none() && more == More::No {
            company.record.vendor_finished();
        }
        // A torn answer doesn't get its end.
        frame(&mut out, &body, framing, if failed.is_some() { More::Yes } else { more });
        body.clear();
        if !out.is_empty() {
            out = company.pass(out, answer.read_ns).await?;
        }
        match failed {
            Some(fault) => return Err(fault),
            None if more == More::No => return Ok(()),
            None => {}
        }
        let torn = match events.bytes.len() > company.limits.sse_event_bytes_max {
            true => Err(Fault::new(Kind::AnswerTooLarge, Phase::Stream)),
            false => answer.read(&mut events.bytes, company).await,
        };
        more = match torn {
            Ok(more) => more,
            Err(fault) => return Err(tell_torn(fault, out, framing, company).await),
        };
    }
}

fn note_translated(translator: &Translator, company: &mut Company<'_>) {
    if let Some(model) = translator.model() {
        company.record.vendor_says_model(model);
    }
    let (usage, source) = translator.usage();
    match source {
        UsageSource::Provider | UsageSource::Partial | UsageSource::Estimated => {
            company.record.vendor_says_usage(usage)
        }
        UsageSource::None => {}
    }
}

/// An answer or an error that is no stream: read whole, then translated.
async fn translate_whole(
    answer: &mut Answer,
    wanted: Wanted,
    heading: &Heading<'_>,
    company: &mut Company<'_>,
) -> Result<(), Fault> {
    let mut payload = Vec::new();
    let mut more = answer.take_read(&mut payload)?;
    while more == More::Yes {
        if payload.len() > company.limits.answer_bytes_max {
            return Err(Fault::new(Kind::AnswerTooLarge, Phase::Stream));
        }
        more = answer.read(&mut payload, company).await?;
    }
    company.record.vendor_finished();
    let mut body = Vec::with_capacity(payload.len() + KIB);
    if answer.status() < 400 {
        let id = company.draw_answer_id();
        let naming = Naming { id: &id, created: company.worker.clock.unix_seconds(), model: &heading.chosen.arm.model };
        let said = dialect::translate_answer(CROSSING, &payload, &naming, wanted, &mut body)?;
        if said.usage_source != UsageSource::None {
            company.record.vendor_says_usage(said.usage);
        }
        if let Some(model) = &said.model {
            company.record.vendor_says_model(model);
        }
    } else {
        dialect::translate_error(CROSSING, answer.status(), &payload, &mut body);
    }
    let mut out = heading.head_of(answer, Some("application/json"), Framing::Length(body.len() as u64), company);
    out.extend_from_slice(&body);
    company.pass(out, answer.read_ns).await.map(drop)
}

/// Tells a client in mid-stream that nothing more will come. The connection is aborted behind it.
async fn tell_torn(fault: Fault, mut out: Vec<u8>, framing: Framing, company: &mut Company<'_>) -> Fault {
    if fault.kind != Kind::ClientGone {
        let mut event = Vec::new();
        dialect::error_event(Dialect::OpenAi, &fault, &mut event);
        frame(&mut out, &event, framing, More::Yes);
        // A client that can't be told sees the abort.
        let _ = company.client.answer(out, company.limits).await;
    }
    fault
}

/// Bytes of a stream, and which of them are whole events.
#[derive(Default)]
struct Events {
    bytes: Vec<u8>,
    splitter: Splitter,
    whole: usize,
}

impl Events {
    /// The events that have become whole.
    fn whole(&mut self) -> impl Iterator<Item = sse::Event<'_>> {
        self.whole = self.splitter.advance(&self.bytes);
        sse::events(&self.bytes[..self.whole])
    }

    /// Drops those that [`Self::whole`] gave.
    fn forget_whole(&mut self) {
        self.bytes.drain(..self.whole);
        self.whole = 0;
    }
}

/// Appends a part of a body as `framing` wants it, and its end if nothing more comes.
fn frame(out: &mut Vec<u8>, payload: &[u8], framing: Framing, more: More) {
    match framing {
        Framing::Nothing => {}
        Framing::Length(_) | Framing::Close => out.extend_from_slice(payload),
        Framing::Chunks => {
            write::chunk(out, payload);
            if more == More::No {
                out.extend_from_slice(write::LAST_CHUNK);
            }
        }
    }
}

/// Writes the fields that say where an answer comes from. Names of a plan are visible ASCII.
pub fn write_chosen(out: &mut Vec<u8>, chosen: &Chosen<'_>) {
    write::field(out, "x-kt-model-group", &*chosen.group.name);
    write::field(out, "x-kt-model", &*chosen.arm.model);
    write::field(out, "x-kt-target", &*chosen.target.id);
    write::field(out, "x-kt-arm", &*chosen.arm.name);
}

impl Heading<'_> {
    fn framing_of_unknown_length(&self) -> Framing {
        if self.to.takes_chunks() { Framing::Chunks } else { Framing::Close }
    }

    /// The head of the client's answer: the vendor's fields that may pass, and ours. A body of our own making, as a
    /// translated one is, has our own `content_type`.
    fn head_of(&self, answer: &Answer, content_type: Option<&str>, framing: Framing, company: &Company<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(KIB);
        write::status_line(&mut out, answer.status());
        if let Some(content_type) = content_type {
            write::field(&mut out, "content-type", content_type);
        }
        for (name, value) in answer.end_to_end() {
            if content_type.is_some() && name.eq_ignore_ascii_case(b"content-type") {
                continue;
            }
            if dialect::passes_to_client(name) {
                write::field(&mut out, name, value);
            } else if dialect::is_request_id(name) {
                write::field(&mut out, "x-upstream-request-id", value);
            }
        }
        write::field(&mut out, "x-request-id", company.record.request_id());
        write_chosen(&mut out, &self.chosen);
        match framing {
            Framing::Length(length) => write::number_field(&mut out, "content-length", length),
            Framing::Chunks => write::field(&mut out, "transfer-encoding", "chunked"),
            Framing::Nothing | Framing::Close => {}
        }
        write::field(&mut out, "via", VIA);
        if !self.keep_alive || framing == Framing::Close {
            write::field(&mut out, "connection", "close");
        }
        write::end(&mut out);
        out
    }
}

impl Company<'_> {
    /// Sends a part of the answer that was read at `read_ns`; gives the buffer back, empty.
    async fn pass(&mut self, out: Vec<u8>, read_ns: u64) -> Result<Vec<u8>, Fault> {
        let began = self.worker.now_ns();
        let (sent, out) = self.client.answer(out, self.limits).await;
        sent?;
        self.record.passed_on(read_ns, began, self.worker.now_ns());
        Ok(out)
    }

    /// An id for a translated answer; the vendor's would claim to be OpenAI's.
    fn draw_answer_id(&self) -> String {
        format!("chatcmpl-{}", &self.worker.draw_request_id()["req_".len()..])
    }
}
