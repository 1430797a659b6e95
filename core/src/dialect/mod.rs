//! The vendors' languages, and what passes between client and vendor.
//!
//! To a vendor of the client's own language everything passes as it is, and a [`Look`] only looks (`identity`). Between
//! two languages, which is a [`Crossing`], the request, the answer, its stream and its errors are translated, by way of a
//! neutral form (`chat`) that one dialect's file reads and the other's writes: `openai` and `anthropic` are mirror
//! images. Their first lines hold the table of what is carried, approximated, refused and lost; what a request lost is
//! in its [`Report`].
//!
//! `fields` is what passes beside the body, `errors` our own failures in the client's language.

mod anthropic;
mod chat;
mod errors;
mod fields;
mod identity;
mod models;
mod openai;
mod path;
mod print;
mod report;
mod rules;
mod values;

pub use anthropic::MAX_TOKENS_DEFAULT;
pub use chat::{Naming, Wanted};
pub use errors::{error_body, error_event, refusal_body};
pub use fields::{
    ANTHROPIC_VERSION, Credential, answer_id_prefix, credential, is_request_id, passes_to_client, passes_to_vendor,
    path, request_id_fields, required, shown_by,
};
pub use identity::{Look, Seen};
pub use report::Report;
pub use rules::broken_rules;

use crate::config::plan::{Provider, StreamUsage};
use crate::fault::{Fault, Kind, Phase};
use crate::json::{Scratch, Span, Value, scan};
use crate::sse::Event;
use crate::tally::{Usage, UsageSource, words};
use chat::Delta;

/// The status of an error that comes within a stream: the answer had begun well.
const IN_STREAM: u16 = 200;

/// A vendor's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Chat completions, as OpenAI speaks them.
    OpenAi,
    /// Messages, as Anthropic speaks them.
    Anthropic,
}

/// Two languages between which something has to be translated, the client's named first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// A client of OpenAI's chat completions asks Anthropic.
    OpenAiToAnthropic,
    /// A client of Anthropic's messages asks a vendor of OpenAI's language.
    AnthropicToOpenAi,
}

/// Whom a translated request is for.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    /// The kind of vendor: OpenAI itself knows fields that compatible vendors don't.
    pub provider: Provider,
    /// The configured model.
    pub model: &'a str,
    /// Whether the target takes `stream_options`.
    pub stream_usage: StreamUsage,
}

/// What is to be remembered of a request that was translated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// How its answer is to be translated back.
    pub wanted: Wanted,
    /// What it lost on its way.
    pub report: Report,
}

/// What a whole answer said beside its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Tokens, zeros if the vendor said nothing of them.
    pub usage: Usage,
    /// Whether it did.
    pub usage_source: UsageSource,
    /// The model as the vendor names it.
    pub model: Option<Box<str>>,
}

/// What one event of a translated stream was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// It brought a piece of the answer.
    pub content: bool,
    /// It was the last one: the answer is whole.
    pub ended: bool,
}

impl Crossing {
    /// The crossing between these two; none where they are the same, and everything passes as it is.
    pub const fn of(client: Dialect, vendor: Dialect) -> Option<Self> {
        match (client, vendor) {
            (Dialect::OpenAi, Dialect::Anthropic) => Some(Self::OpenAiToAnthropic),
            (Dialect::Anthropic, Dialect::OpenAi) => Some(Self::AnthropicToOpenAi),
            (Dialect::OpenAi, Dialect::OpenAi) | (Dialect::Anthropic, Dialect::Anthropic) => None,
        }
    }

    /// The language of the client.
    pub const fn client(self) -> Dialect {
        match self {
            Self::OpenAiToAnthropic => Dialect::OpenAi,
            Self::AnthropicToOpenAi => Dialect::Anthropic,
        }
    }

    /// The language of the vendor.
    pub const fn vendor(self) -> Dialect {
        match self {
            Self::OpenAiToAnthropic => Dialect::Anthropic,
            Self::AnthropicToOpenAi => Dialect::OpenAi,
        }
    }
}

/// Translates a client's request for its `recipient`, and appends it to `out`.
///
/// # Errors
///
/// `InvalidField` (400) or `NotExpressible` (422), the path of what is to blame first in the detail. `MalformedJson`
/// for what is no JSON. `out` is then as it was.
pub fn translate_request(
    crossing: Crossing,
    recipient: &Recipient<'_>,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<Translated, Fault> {
    let mut scratch = Scratch::default();
    let value = scan(body, &mut scratch)?.value();
    match crossing {
        Crossing::OpenAiToAnthropic => {
            let mut chat = openai::read_request(value)?;
            let settled = anthropic::fit(&mut chat, recipient.model)?;
            anthropic::write_request(&chat, &settled, recipient.model, out);
            Ok(Translated { wanted: chat.wanted, report: chat.report })
        }
        Crossing::AnthropicToOpenAi => {
            let mut chat = anthropic::read_request(value)?;
            let settled = openai::fit(&mut chat, recipient)?;
            if chat.wanted.stream && recipient.stream_usage == StreamUsage::Leave {
                let said = ["system", "messages", "tools"].into_iter().filter_map(|name| value.get(name));
                chat.wanted.prompt_words = said.map(words).sum();
            }
            openai::write_request(&chat, &settled, recipient.model, out);
            Ok(Translated { wanted: chat.wanted, report: chat.report })
        }
    }
}

/// Translates a vendor's whole answer for the client and appends it to `out`. `wanted` is what its request's translation
/// said.
///
/// # Errors
///
/// `AnswerNotUnderstood`, with the path of what is to blame in the detail; `out` is then as it was.
pub fn translate_answer(
    crossing: Crossing,
    body: &[u8],
    naming: &Naming<'_>,
    wanted: Wanted,
    out: &mut Vec<u8>,
) -> Result<Said, Fault> {
    let mut scratch = Scratch::default();
    let value = scan(body, &mut scratch)
        .map_err(|_| Fault::with(Kind::AnswerNotUnderstood, Phase::Stream, "the body is not JSON"))?
        .value();
    let answer = match crossing {
        Crossing::OpenAiToAnthropic => {
            let answer = anthropic::read_answer(value)?;
            openai::write_answer(&answer, naming, wanted, out);
            answer
        }
        Crossing::AnthropicToOpenAi => {
            let answer = openai::read_answer(value, wanted)?;
            anthropic::write_answer(&answer, naming, wanted, out);
            answer
        }
    };
    Ok(Said {
        usage: answer.usage.unwrap_or_default(),
        usage_source: if answer.usage.is_some() { UsageSource::Provider } else { UsageSource::None },
        model: answer.model,
    })
}

/// Translates the body of a vendor's error answer for the client and appends it to `out`. The status stays as it is. A
/// body that isn't the vendor's (a proxy's page) becomes a sentence about the status; nothing of it is repeated.
pub fn translate_error(crossing: Crossing, status: u16, body: &[u8], out: &mut Vec<u8>) {
    match crossing {
        Crossing::OpenAiToAnthropic => {
            openai::write_error(&anthropic::read_error(body, &mut Scratch::default()), status, out);
        }
        Crossing::AnthropicToOpenAi => {
            anthropic::write_error(&openai::read_error(body, &mut Scratch::default()), status, out);
        }
    }
}

/// Translates a vendor's stream for the client, event by event.
///
/// Nothing is held back, and once an event of the usual size has passed nothing is allocated but what `out` needs.
#[derive(Debug)]
pub struct Translator {
    pair: Pair,
    scratch: Scratch,
    /// As in [`Wanted`].
    prompt_words: u64,
    /// Events that brought a piece of the answer.
    content_events: u64,
}

/// Who reads, and who writes.
#[derive(Debug)]
enum Pair {
    OpenAiToAnthropic(anthropic::Reader, openai::Writer),
    AnthropicToOpenAi(openai::Reader, anthropic::Writer),
}

/// What came of the pieces of one event.
#[derive(Debug, Default)]
struct Heard {
    note: Note,
    failed: Option<Fault>,
}

impl Heard {
    fn hear(&mut self, delta: &Delta<'_>) {
        match delta {
            Delta::Text(_)
            | Delta::Refusal(_)
            | Delta::Thinking(_)
            | Delta::Redacted(_)
            | Delta::Call { .. }
            | Delta::Arguments(_)
            | Delta::Input(_) => self.note.content = true,
            Delta::End => self.note.ended = true,
            Delta::Failed(error) => {
                let word = error.code.as_deref().or(error.kind.as_deref());
                let detail = word.map(|word| path::shown(word).to_owned().into());
                self.failed = Some(Fault { kind: Kind::VendorErrorInStream, phase: Phase::Stream, detail });
            }
            Delta::Begin
            | Delta::Signature(_)
            | Delta::Resume(_)
            | Delta::CallEnd
            | Delta::ThoughtEnd
            | Delta::Stop(_)
            | Delta::Alive => {}
        }
    }
}

impl Translator {
    /// For one answer. `wanted` is what its request's translation said.
    pub fn new(crossing: Crossing, naming: &Naming<'_>, wanted: Wanted) -> Self {
        let pair = match crossing {
            Crossing::OpenAiToAnthropic => {
                Pair::OpenAiToAnthropic(anthropic::Reader::new(), openai::Writer::new(naming, wanted))
            }
            Crossing::AnthropicToOpenAi => {
                Pair::AnthropicToOpenAi(openai::Reader::new(wanted), anthropic::Writer::new(naming, wanted))
            }
        };
        Self { pair, scratch: Scratch::default(), prompt_words: wanted.prompt_words, content_events: 0 }
    }

    /// Appends to `out` what `event` is in the client's language: whole events, often one, sometimes none.
    ///
    /// # Errors
    ///
    /// `VendorErrorInStream` or `AnswerNotUnderstood`. In either case the error event that tells the client has been
    /// appended to `out`; after it the connection has to be aborted, and this translator is of no more use.
    pub fn push(&mut self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<Note, Fault> {
        let mut heard = Heard::default();
        let scratch = &mut self.scratch;
        let data = event.data.as_deref();
        let read = match &mut self.pair {
            Pair::OpenAiToAnthropic(reader, writer) => {
                let mut say = |delta: Delta<'_>, reader: &anthropic::Reader| {
                    heard.hear(&delta);
                    writer.write(&delta, &reader.usage().0, out);
                };
                match data {
                    Some(data) => reader.read(data, scratch, &mut say),
                    None => Ok(()),
                }
            }
            Pair::AnthropicToOpenAi(reader, writer) => {
                let (words, before) = (self.prompt_words, self.content_events);
                let mut say = |delta: Delta<'_>, reader: &openai::Reader| {
                    heard.hear(&delta);
                    let events = before + u64::from(heard.note.content);
                    writer.write(&delta, &counted(reader, words, events).0, out);
                };
                match data {
                    Some(data) => reader.read(data, scratch, &mut say),
                    // A comment says that the vendor is still there.
                    None if reader.is_amid() && event.raw.starts_with(b":") => {
                        say(Delta::Alive, reader);
                        Ok(())
                    }
                    None => Ok(()),
                }
            }
        };
        match (read, heard.failed) {
            (Err(fault), _) => {
                error_event(self.client(), &fault, out);
                Err(fault)
            }
            (Ok(()), Some(fault)) => Err(fault),
            (Ok(()), None) => {
                self.content_events += u64::from(heard.note.content);
                Ok(heard.note)
            }
        }
    }

    /// The vendor's connection was closed in order: appends to `out` what is still to be said, and tells whether the
    /// answer is whole. If it isn't, it is torn: the caller sends [`error_event`] of `AnswerTorn` and aborts.
    ///
    /// A vendor of OpenAI's language that doesn't send `[DONE]` has said all with its `finish_reason`.
    pub fn conclude(&mut self, out: &mut Vec<u8>) -> bool {
        if let Pair::AnthropicToOpenAi(reader, writer) = &mut self.pair {
            let (words, events) = (self.prompt_words, self.content_events);
            reader.conclude(&mut |delta, reader| writer.write(&delta, &counted(reader, words, events).0, out));
        }
        self.is_finished()
    }

    /// Whether the vendor's stream came to its end, and so did the client's.
    pub fn is_finished(&self) -> bool {
        match &self.pair {
            Pair::OpenAiToAnthropic(reader, _) => reader.is_over(),
            Pair::AnthropicToOpenAi(reader, _) => reader.is_over(),
        }
    }

    /// What the vendor has said of usage up to now: `Partial` until it has said why it stopped. `Estimated` is what a
    /// client of Anthropic's was told at the end, where the vendor of its whole answer said nothing.
    pub fn usage(&self) -> (Usage, UsageSource) {
        match &self.pair {
            Pair::OpenAiToAnthropic(reader, _) => reader.usage(),
            Pair::AnthropicToOpenAi(reader, _) if reader.is_over() => {
                counted(reader, self.prompt_words, self.content_events)
            }
            Pair::AnthropicToOpenAi(reader, _) => reader.usage(),
        }
    }

    /// The model as the vendor names it, once it has.
    pub fn model(&self) -> Option<&str> {
        match &self.pair {
            Pair::OpenAiToAnthropic(reader, _) => reader.model(),
            Pair::AnthropicToOpenAi(reader, _) => reader.model(),
        }
    }

    const fn client(&self) -> Dialect {
        match self.pair {
            Pair::OpenAiToAnthropic(..) => Dialect::OpenAi,
            Pair::AnthropicToOpenAi(..) => Dialect::Anthropic,
        }
    }
}

/// What the vendor says of usage, or else the least that it can have been: a client of Anthropic's takes zeros for the
/// truth.
fn counted(reader: &openai::Reader, prompt_words: u64, content_events: u64) -> (Usage, UsageSource) {
    let (usage, source) = reader.usage();
    usage.at_least(source, prompt_words, content_events)
}

/// Reads the `usage` object of a vendor's answer, as [`Watch`](crate::json::Watch) captured it; none if it isn't one.
pub fn usage(vendor: Dialect, object: &[u8]) -> Option<Usage> {
    // Not checked first, like the events of a stream: what it says is noted, and nothing else is done with it.
    let object = Value::at(object, Span::new(0, object.len()));
    match vendor {
        Dialect::OpenAi => openai::read_usage(object),
        Dialect::Anthropic => anthropic::read_usage(object),
    }
}

/// Appends the body of `GET /v1/models`: the names that a client may put into `model`, as its dialect lists them.
pub fn models_body<'a>(client: Dialect, names: impl IntoIterator<Item = &'a str>, out: &mut Vec<u8>) {
    match client {
        Dialect::OpenAi => openai::write_models(names, out),
        Dialect::Anthropic => anthropic::write_models(names, out),
    }
}

#[cfg(test)]
mod tests;
