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
mod openai;
mod path;
mod report;

pub use anthropic::MAX_TOKENS_DEFAULT;
pub use chat::{Naming, Wanted};
pub use errors::{error_body, error_event, refusal_body};
pub use fields::{
    ANTHROPIC_VERSION, Credential, answer_id_prefix, credential, is_request_id, passes_to_client, passes_to_vendor,
    path, request_id_fields, required, shown_by,
};
pub use identity::{Look, Seen};
pub use report::Report;

use crate::config::plan::{Provider, StreamUsage};
use crate::fault::{Fault, Kind, Phase};
use crate::json::{Scratch, Span, Value};
use crate::sse::Event;
use crate::tally::{Usage, UsageSource};
use chat::Delta;

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
    match crossing {
        Crossing::OpenAiToAnthropic => {
            // simd-json unescapes in place.
            let mut copy = body.to_vec();
            let tape = simd_json::to_tape(&mut copy).map_err(|_| Fault::new(Kind::MalformedJson, Phase::Body))?;
            let chat = openai::read_request(tape.as_value())?;
            anthropic::write_request(&chat, recipient.model, out);
            Ok(Translated { wanted: chat.wanted, report: chat.report })
        }
        Crossing::AnthropicToOpenAi => Err(untranslated(Kind::NotExpressible, Phase::Body)),
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
    _wanted: Wanted,
    out: &mut Vec<u8>,
) -> Result<Said, Fault> {
    if crossing == Crossing::AnthropicToOpenAi {
        return Err(untranslated(Kind::AnswerNotUnderstood, Phase::Stream));
    }
    let mut copy = body.to_vec();
    let tape = simd_json::to_tape(&mut copy)
        .map_err(|_| Fault::with(Kind::AnswerNotUnderstood, Phase::Stream, "the body is not JSON"))?;
    let answer = anthropic::read_answer(tape.as_value())?;
    openai::write_answer(&answer, naming, out);
    Ok(Said {
        usage: answer.usage.unwrap_or_default(),
        usage_source: if answer.usage.is_some() { UsageSource::Provider } else { UsageSource::None },
        model: answer.model.map(Into::into),
    })
}

/// This crossing has no translator.
fn untranslated(kind: Kind, phase: Phase) -> Fault {
    Fault::with(kind, phase, "Anthropic's messages can't be carried to a vendor of OpenAI's chat completions")
}

/// Translates the body of a vendor's error answer for the client and appends it to `out`. The status stays as it is. A
/// body that isn't the vendor's (a proxy's page) becomes a sentence about the status; nothing of it is repeated.
pub fn translate_error(crossing: Crossing, status: u16, body: &[u8], out: &mut Vec<u8>) {
    match crossing {
        Crossing::OpenAiToAnthropic => {
            openai::write_error(&anthropic::read_error(body, &mut Scratch::default()), status, out);
        }
        Crossing::AnthropicToOpenAi => {
            error_body(Dialect::Anthropic, &untranslated(Kind::AnswerNotUnderstood, Phase::Stream), out);
        }
    }
}

/// Translates a vendor's stream for the client, event by event.
///
/// Nothing is held back, and once an event of the usual size has passed nothing is allocated but what `out` needs.
#[derive(Debug)]
pub struct Translator {
    crossing: Crossing,
    reader: anthropic::Reader,
    writer: openai::Writer,
    scratch: Scratch,
}

impl Translator {
    /// For one answer. `wanted` is what its request's translation said.
    pub fn new(crossing: Crossing, naming: &Naming<'_>, wanted: Wanted) -> Self {
        let writer = openai::Writer::new(naming, wanted);
        Self { crossing, reader: anthropic::Reader::default(), writer, scratch: Scratch::default() }
    }

    /// Appends to `out` what `event` is in the client's language: whole events, often one, sometimes none.
    ///
    /// # Errors
    ///
    /// `VendorErrorInStream` or `AnswerNotUnderstood`. In either case the error event that tells the client has been
    /// appended to `out`; after it the connection has to be aborted, and this translator is of no more use.
    pub fn push(&mut self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<Note, Fault> {
        // A comment says nothing.
        let Some(data) = event.data.as_deref() else { return Ok(Note::default()) };
        if self.crossing == Crossing::AnthropicToOpenAi {
            let fault = untranslated(Kind::AnswerNotUnderstood, Phase::Stream);
            error_event(Dialect::Anthropic, &fault, out);
            return Err(fault);
        }
        let delta = match self.reader.read(data, &mut self.scratch) {
            Ok(delta) => delta,
            Err(fault) => {
                error_event(Dialect::OpenAi, &fault, out);
                return Err(fault);
            }
        };
        let (usage, _) = self.reader.usage();
        self.writer.write(&delta, &usage, out);
        match delta {
            Delta::Text(_) => Ok(Note { content: true, ended: false }),
            Delta::End => Ok(Note { content: false, ended: true }),
            Delta::Begin | Delta::Stop(_) | Delta::Alive | Delta::Nothing => Ok(Note::default()),
            Delta::Failed(error) => {
                let word = error.kind.as_deref().map(|kind| path::shown(kind).to_owned());
                Err(Fault { kind: Kind::VendorErrorInStream, phase: Phase::Stream, detail: word.map(Into::into) })
            }
        }
    }

    /// The vendor's connection was closed in order: appends to `out` what is still to be said, and tells whether the
    /// answer is whole. If it isn't, it is torn: the caller sends [`error_event`] of `AnswerTorn` and aborts.
    ///
    /// A vendor of OpenAI's language that doesn't send `[DONE]` has said all with its `finish_reason`.
    pub fn conclude(&mut self, _out: &mut Vec<u8>) -> bool {
        self.is_finished()
    }

    /// Whether the vendor's stream came to its end, and so did the client's.
    pub fn is_finished(&self) -> bool {
        self.reader.is_over()
    }

    /// What the vendor has said of usage up to now: `Partial` until it has said why it stopped.
    pub fn usage(&self) -> (Usage, UsageSource) {
        self.reader.usage()
    }

    /// The model as the vendor names it, once it has.
    pub fn model(&self) -> Option<&str> {
        self.reader.model()
    }
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
mod tests {
    use super::*;
    use crate::json::scan;

    const CROSSING: Crossing = Crossing::OpenAiToAnthropic;
    const RECIPIENT: Recipient<'_> =
        Recipient { provider: Provider::Anthropic, model: "claude-x", stream_usage: StreamUsage::Leave };
    const NAMING: Naming<'_> = Naming { id: "chatcmpl-1", created: 1_700_000_000, model: "claude-x" };

    /// Translates, and checks that what comes out is JSON and begins where `out` ended.
    fn request(body: &str) -> Result<(String, Wanted), Fault> {
        let mut out = b"before".to_vec();
        let result = translate_request(CROSSING, &RECIPIENT, body.as_bytes(), &mut out);
        let written = out.strip_prefix(b"before").expect("what was there stays there");
        match result {
            Ok(Translated { wanted, .. }) => Ok((checked(written), wanted)),
            Err(fault) => {
                assert!(written.is_empty(), "nothing is written of a request that is refused: {body}");
                Err(fault)
            }
        }
    }

    /// The text, once it has been parsed.
    fn checked(json: &[u8]) -> String {
        let text = String::from_utf8(json.to_vec()).expect("UTF-8");
        simd_json::to_borrowed_value(&mut json.to_vec()).unwrap_or_else(|error| panic!("{error}: {text}"));
        scan(json, &mut Scratch::default()).unwrap_or_else(|fault| panic!("{fault:?}: {text}"));
        text
    }

    /// What a request's `messages` and other fields become.
    const REQUESTS: &[(&str, &str)] = &[
        (r#""messages":[{"role":"user","content":"Hi"}]"#, r#""messages":[{"role":"user","content":"Hi"}]"#),
        // Text keeps every character.
        (
            r#""messages":[{"role":"user","content":"\"\\\/\b\f\n\r\t\u0000\u00e9\ud83d\ude00 é😀"}]"#,
            r#""messages":[{"role":"user","content":"\"\\/\b\f\n\r\t\u0000é😀 é😀"}]"#,
        ),
        // Lists of parts.
        (
            r#""messages":[{"content":[{"type":"text","text":"a"},{"text":"b","type":"text"}],"role":"user"}]"#,
            r#""messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#,
        ),
        (
            r#""messages":[{"role":"user","content":[{"type":"text","text":""},{"type":"text","text":"b"}]}]"#,
            r#""messages":[{"role":"user","content":"b"}]"#,
        ),
        // System and developer messages, wherever they stand.
        (
            r#""messages":[{"role":"system","content":"S"},{"role":"developer","content":[{"type":"text","text":"D"}]},
               {"role":"user","content":"U"},{"role":"system","content":"late"},{"role":"system","content":""}]"#,
            r#""system":[{"type":"text","text":"S"},{"type":"text","text":"D"},{"type":"text","text":"late"}],"messages":[{"role":"user","content":"U"}]"#,
        ),
        // Several turns, also of one role; what clients echo of an answer.
        (
            r#""messages":[{"role":"user","content":"1"},{"role":"user","content":"2"},
               {"role":"assistant","content":"3","refusal":null,"annotations":[],"audio":null,"tool_calls":null,"function_call":null},
               {"role":"assistant","content":"4","tool_calls":[]},{"role":"user","content":"5","name":null}]"#,
            r#""messages":[{"role":"user","content":"1"},{"role":"user","content":"2"},{"role":"assistant","content":"3"},{"role":"assistant","content":"4"},{"role":"user","content":"5"}]"#,
        ),
        // Sampling and ends.
        (
            r#""messages":[{"role":"user","content":"Hi"}],"temperature":0.7,"top_p":0.95,"stop":"END","user":"u-1""#,
            r#""messages":[{"role":"user","content":"Hi"}],"temperature":0.7,"top_p":0.95,"stop_sequences":["END"],"metadata":{"user_id":"u-1"}"#,
        ),
        (
            r#""messages":[{"role":"user","content":"Hi"}],"temperature":1,"top_p":0,"stop":["a","\n\nb"]"#,
            r#""messages":[{"role":"user","content":"Hi"}],"temperature":1.0,"top_p":0.0,"stop_sequences":["a","\n\nb"]"#,
        ),
        (
            r#""messages":[{"role":"user","content":"Hi"}],"stop":[],"stream":false"#,
            r#""messages":[{"role":"user","content":"Hi"}]"#,
        ),
        (
            r#""messages":[{"role":"user","content":"Hi"}],"stream":true"#,
            r#""messages":[{"role":"user","content":"Hi"}],"stream":true"#,
        ),
    ];

    #[test]
    fn a_request_says_the_same_in_the_other_language() {
        for (openai, anthropic) in REQUESTS {
            let (written, _) = request(&format!(r#"{{"model":"group",{openai}}}"#)).expect(openai);
            assert_eq!(written, format!(r#"{{"model":"claude-x","max_tokens":4096,{anthropic}}}"#), "{openai}");
        }
    }

    #[test]
    fn the_length_of_an_answer_is_the_newer_field_or_the_older_or_the_default() {
        let cases = [
            (r#""max_tokens":5"#, Some(5)),
            (r#""max_completion_tokens":6"#, Some(6)),
            (r#""max_tokens":7,"max_completion_tokens":7"#, Some(7)),
            (r#""max_tokens":null,"max_completion_tokens":8"#, Some(8)),
            (r#""max_tokens":9,"max_completion_tokens":null"#, Some(9)),
            (r#""max_tokens":null"#, Some(MAX_TOKENS_DEFAULT)),
            (r#""max_tokens":18446744073709551615"#, Some(u64::MAX)),
            (r#""max_tokens":7,"max_completion_tokens":8"#, None),
        ];
        for (fields, wanted) in cases {
            let written = request(&format!(r#"{{"messages":[{{"role":"user","content":"Hi"}}],{fields}}}"#));
            match (written, wanted) {
                (Ok((written, _)), Some(wanted)) => {
                    assert!(written.contains(&format!(r#""max_tokens":{wanted},"#)), "{fields}: {written}");
                }
                (Err(fault), None) => {
                    assert_eq!(fault.kind, Kind::NotExpressible);
                    assert_eq!(fault.detail.as_deref(), Some("max_tokens and max_completion_tokens differ"));
                }
                (other, _) => panic!("{fields}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_the_client_wants_is_told() {
        let cases = [
            ("", Wanted { stream: false, stream_usage: false }),
            (r#","stream":true"#, Wanted { stream: true, stream_usage: false }),
            (
                r#","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}"#,
                Wanted { stream: true, stream_usage: true },
            ),
            (
                r#","stream":true,"stream_options":{"include_usage":false}"#,
                Wanted { stream: true, stream_usage: false },
            ),
            (
                r#","stream":null,"stream_options":{"include_usage":null}"#,
                Wanted { stream: false, stream_usage: false },
            ),
        ];
        for (fields, wanted) in cases {
            let body = format!(r#"{{"messages":[{{"role":"user","content":"Hi"}}]{fields}}}"#);
            assert_eq!(request(&body).expect(fields).1, wanted, "{fields}");
        }
    }

    #[test]
    fn what_the_api_does_anyway_may_be_said() {
        let plain = request(r#"{"messages":[{"role":"user","content":"Hi"}]}"#).unwrap();
        let defaults = [
            r#""n":1"#,
            r#""frequency_penalty":0"#,
            r#""presence_penalty":0.0"#,
            r#""logprobs":false"#,
            r#""top_logprobs":0"#,
            r#""logit_bias":{}"#,
            r#""response_format":{"type":"text"}"#,
            r#""modalities":["text"]"#,
            r#""verbosity":"medium""#,
            r#""tools":[]"#,
            r#""functions":[]"#,
            r#""tool_choice":"auto""#,
            r#""tool_choice":"none""#,
            r#""function_call":"none""#,
            r#""parallel_tool_calls":true"#,
            r#""parallel_tool_calls":false"#,
            r#""store":false"#,
            r#""metadata":{}"#,
            r#""service_tier":"auto""#,
            r#""service_tier":"default""#,
            r#""model":7"#,
            // `null` says what absence says.
            r#""tools":null"#,
            r#""seed":null"#,
            r#""temperature":null"#,
            r#""stop":null"#,
            r#""user":null"#,
            r#""stream_options":null"#,
            r#""reasoning_effort":null"#,
            r#""web_search_options":null"#,
        ];
        for field in defaults {
            let body = format!(r#"{{{field},"messages":[{{"role":"user","content":"Hi"}}]}}"#);
            assert_eq!(request(&body).as_ref(), Ok(&plain), "{field}");
        }
    }

    /// A field beside good messages, and what is said of it.
    const REFUSED_FIELDS: &[(&str, &str)] = &[
        (r#""n":2"#, "n can't be carried"),
        (r#""frequency_penalty":0.1"#, "frequency_penalty can't be carried"),
        (r#""logprobs":true"#, "logprobs can't be carried"),
        (r#""top_logprobs":3"#, "top_logprobs can't be carried"),
        (r#""logit_bias":{"5":1}"#, "logit_bias can't be carried"),
        (r#""seed":7"#, "seed can't be carried"),
        (r#""response_format":{"type":"json_object"}"#, "response_format can't be carried"),
        (r#""response_format":{"type":"text","x":1}"#, "response_format can't be carried"),
        (r#""tools":[{"type":"function"}]"#, "tools can't be carried"),
        (r#""tool_choice":"required""#, "tool_choice can't be carried"),
        (r#""functions":[{}]"#, "functions can't be carried"),
        (r#""modalities":["text","audio"]"#, "modalities can't be carried"),
        (r#""reasoning_effort":"low""#, "reasoning_effort can't be carried"),
        (r#""verbosity":"low""#, "verbosity can't be carried"),
        (r#""store":true"#, "store can't be carried"),
        (r#""metadata":{"a":"b"}"#, "metadata can't be carried"),
        (r#""service_tier":"flex""#, "service_tier can't be carried"),
        (r#""prediction":{}"#, "prediction can't be carried"),
        (r#""stop":" \n""#, "stop is white space only"),
        (r#""stop":["a",""]"#, "stop[1] is white space only"),
        (r#""stream_options":{"include_obfuscation":true}"#, "stream_options.include_obfuscation can't be carried"),
        (r#""stream_options":{"new":1}"#, "stream_options.new can't be carried"),
    ];

    /// `messages`, and what is said of them.
    const REFUSED_MESSAGES: &[(&str, &str)] = &[
        (
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]"#,
            r#"messages[0].content[0].type "image_url" can't be carried"#,
        ),
        (
            r#"[{"role":"user","content":[{"type":"text","text":"a"},{"input_audio":{},"type":"input_audio"}]}]"#,
            r#"messages[0].content[1].type "input_audio" can't be carried"#,
        ),
        (
            r#"[{"role":"user","content":[{"type":"a b","x":1}]}]"#,
            r#"messages[0].content[0].type "…" can't be carried"#,
        ),
        (
            r#"[{"role":"user","content":[{"type":"text","text":"a","cache_control":{}}]}]"#,
            "messages[0].content[0].cache_control can't be carried",
        ),
        (
            r#"[{"role":"user","content":"a"},{"role":"tool","content":"b"}]"#,
            r#"messages[1].role "tool" can't be carried"#,
        ),
        (r#"[{"role":"function","name":"f","content":"b"}]"#, r#"messages[0].role "function" can't be carried"#),
        (
            r#"[{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}]"#,
            "messages[0].tool_calls can't be carried",
        ),
        (r#"[{"role":"user","name":"Ann","content":"a"}]"#, "messages[0].name can't be carried"),
        (r#"[{"role":"assistant","refusal":"no","content":"a"}]"#, "messages[0].refusal can't be carried"),
        (r#"[{"role":"user","content":""}]"#, "messages[0].content is empty"),
        (r#"[{"role":"user","content":[]}]"#, "messages[0].content is empty"),
        (r#"[{"role":"system","content":"S"}]"#, "messages has no message of a user or assistant"),
    ];

    #[test]
    fn what_is_lost_is_reported() {
        // Body, approximated, dropped.
        let cases: [(&str, &[&str], &[&str]); 4] = [
            (r#"{"messages":[{"role":"user","content":"a"}],"temperature":1}"#, &[], &[]),
            (r#"{"messages":[{"role":"user","content":"a"}],"temperature":1.1}"#, &["temperature"], &[]),
            (r#"{"messages":[{"role":"user","content":"a"},{"role":"system","content":"s"}]}"#, &["messages[1]"], &[]),
            (
                r#"{"top_k":5,"messages":[{"role":"user","content":"a","extra":1}],"my secret":null}"#,
                &[],
                &["top_k", "…", "messages[0].extra"],
            ),
        ];
        for (body, approximated, dropped) in cases {
            let mut out = Vec::new();
            let report = translate_request(CROSSING, &RECIPIENT, body.as_bytes(), &mut out).expect(body).report;
            let paths = |list: &[Box<str>]| list.iter().map(|path| path.to_string()).collect::<Vec<_>>();
            assert_eq!(paths(report.approximated()), approximated, "{body}");
            assert_eq!(paths(report.dropped()), dropped, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_by_its_path() {
        let fields = REFUSED_FIELDS
            .iter()
            .map(|(field, detail)| (format!(r#"{{"messages":[{{"role":"user","content":"Hi"}}],{field}}}"#), detail));
        let messages = REFUSED_MESSAGES.iter().map(|(list, detail)| (format!(r#"{{"messages":{list}}}"#), detail));
        for (body, detail) in fields.chain(messages) {
            let fault = request(&body).expect_err(&body);
            assert_eq!((fault.kind, fault.phase), (Kind::NotExpressible, Phase::Body), "{body}");
            assert_eq!(fault.detail.as_deref(), Some(*detail), "{body}");
        }
    }

    #[test]
    fn what_openai_would_not_take_either_is_invalid() {
        let hi = r#""messages":[{"role":"user","content":"Hi"}]"#;
        let with = |field: &str| format!("{{{hi},{field}}}");
        let cases = [
            ("{}".to_owned(), "messages must be a list of messages"),
            (r#"{"messages":null}"#.to_owned(), "messages must be a list of messages"),
            (r#"{"messages":"Hi"}"#.to_owned(), "messages must be a list of messages"),
            (r#"{"messages":[]}"#.to_owned(), "messages must be a list of at least one message"),
            (r#"{"messages":["Hi"]}"#.to_owned(), "messages[0] must be an object"),
            (r#"{"messages":[{"content":"Hi"}]}"#.to_owned(), "messages[0].role must be a role"),
            (
                r#"{"messages":[{"role":"wizard","content":"Hi"}]}"#.to_owned(),
                r#"messages[0].role must be one of "system", "developer", "user", "assistant", "tool""#,
            ),
            (r#"{"messages":[{"role":7,"content":"Hi"}]}"#.to_owned(), "messages[0].role must be text"),
            (r#"{"messages":[{"role":"user"}]}"#.to_owned(), "messages[0].content must be text or a list of parts"),
            (
                r#"{"messages":[{"role":"assistant","content":null}]}"#.to_owned(),
                "messages[0].content must be text or a list of parts",
            ),
            (
                r#"{"messages":[{"role":"user","content":["a"]}]}"#.to_owned(),
                "messages[0].content[0] must be an object",
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"text":"a"}]}]}"#.to_owned(),
                "messages[0].content[0].type must be the part's type",
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"text"}]}]}"#.to_owned(),
                "messages[0].content[0].text must be text",
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":7}]}]}"#.to_owned(),
                "messages[0].content[0].text must be text",
            ),
            ("[]".to_owned(), "the body must be an object"),
            (with(r#""temperature":"hot""#), "temperature must be a number from 0 to 2"),
            (with(r#""temperature":-0.1"#), "temperature must be a number from 0 to 2"),
            (with(r#""temperature":2.1"#), "temperature must be a number from 0 to 2"),
            (with(r#""top_p":1.1"#), "top_p must be a number from 0 to 1"),
            (with(r#""max_tokens":0"#), "max_tokens must be a whole number above 0"),
            (with(r#""max_tokens":-1"#), "max_tokens must be a whole number above 0"),
            (with(r#""max_tokens":1.5"#), "max_tokens must be a whole number above 0"),
            (with(r#""max_completion_tokens":"5""#), "max_completion_tokens must be a whole number above 0"),
            (with(r#""stream":"yes""#), "stream must be true or false"),
            (with(r#""stream_options":true"#), "stream_options must be an object"),
            (with(r#""stream_options":{"include_usage":1}"#), "stream_options.include_usage must be true or false"),
            (with(r#""stop":7"#), "stop must be text or a list of texts"),
            (with(r#""stop":["a",7]"#), "stop[1] must be text"),
            (with(r#""user":7"#), "user must be text"),
        ];
        for (body, detail) in cases {
            let fault = request(&body).expect_err(&body);
            assert_eq!((fault.kind, fault.phase), (Kind::InvalidField, Phase::Body), "{body}");
            assert_eq!(fault.detail.as_deref(), Some(detail), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_malformed() {
        let bodies: [&[u8]; 7] = [
            b"",
            b"{",
            b"nonsense",
            br#"{"messages":[}"#,
            br#"{"messages":"\ud800"}"#,
            b"{\"user\":\"\xff\"}",
            br#"{"seed":123456789012345678901234567890}"#,
        ];
        for body in bodies {
            let mut out = Vec::new();
            let fault = translate_request(CROSSING, &RECIPIENT, body, &mut out).expect_err("not JSON");
            assert_eq!(fault.kind, Kind::MalformedJson, "{}", String::from_utf8_lossy(body));
            assert!(out.is_empty());
        }
    }

    fn answer(body: &str) -> Result<(String, Said), Fault> {
        let mut out = Vec::new();
        let said = translate_answer(CROSSING, body.as_bytes(), &NAMING, Wanted::default(), &mut out);
        assert!(said.is_ok() || out.is_empty(), "nothing is written of an answer that isn't understood");
        Ok((checked_or_empty(&out), said?))
    }

    fn checked_or_empty(json: &[u8]) -> String {
        if json.is_empty() { String::new() } else { checked(json) }
    }

    #[test]
    fn a_whole_answer_says_the_same_in_the_other_language() {
        let (written, said) = answer(
            r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x-20250101","stop_sequence":null,
                "content":[{"type":"text","text":"Hello, \"you\"\n"},{"type":"text","text":"é","citations":null}],
                "stop_reason":"end_turn","usage":{"input_tokens":10,"cache_creation_input_tokens":20,
                "cache_read_input_tokens":30,"output_tokens":5,"service_tier":"standard",
                "output_tokens_details":{"thinking_tokens":2},"cache_creation":{"ephemeral_5m_input_tokens":20}}}"#,
        )
        .unwrap();
        assert_eq!(
            written,
            r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"claude-x","choices":[{"index":0,"message":{"role":"assistant","content":"Hello, \"you\"\né","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":60,"completion_tokens":5,"total_tokens":65,"prompt_tokens_details":{"cached_tokens":30,"cache_write_tokens":20},"completion_tokens_details":{"reasoning_tokens":2}}}"#
        );
        let usage = Usage {
            prompt_tokens: 60,
            completion_tokens: 5,
            total_tokens: 65,
            cached_tokens: 30,
            cache_write_tokens: 20,
            cache_write_1h_tokens: 0,
            reasoning_tokens: 2,
        };
        let model = Some("claude-x-20250101".into());
        assert_eq!(said, Said { usage, usage_source: UsageSource::Provider, model });
    }

    /// Anthropic's reason and OpenAI's.
    const STOPS: [(&str, &str); 7] = [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ];

    #[test]
    fn every_reason_to_stop_has_its_word() {
        for (anthropic, openai) in STOPS {
            let (written, said) =
                answer(&format!(r#"{{"type":"message","content":[],"stop_reason":"{anthropic}"}}"#)).unwrap();
            assert!(written.contains(&format!(r#""finish_reason":"{openai}""#)), "{anthropic}: {written}");
            assert!(written.contains(r#""content":"","#), "an answer without text has an empty one: {written}");
            assert!(!written.contains("usage"), "what isn't known isn't said: {written}");
            assert_eq!(said, Said::default());
        }
    }

    #[test]
    fn an_answer_that_has_no_place_in_the_other_language_is_not_understood() {
        let cases = [
            ("", "the body is not JSON"),
            ("<html>", "the body is not JSON"),
            ("[]", "the body is not an object"),
            ("{}", "type is missing"),
            (r#"{"type":"error","error":{}}"#, r#"type is "error""#),
            (r#"{"type":"message"}"#, "content is not a list"),
            (r#"{"type":"message","content":"Hi"}"#, "content is not a list"),
            (
                r#"{"type":"message","content":[{"type":"text","text":"a"},{"type":"tool_use","id":"1"}]}"#,
                r#"content[1].type is "tool_use", which was not asked for"#,
            ),
            (
                r#"{"type":"message","content":[{"type":"thinking","thinking":"hm"}]}"#,
                r#"content[0].type is "thinking", which was not asked for"#,
            ),
            (r#"{"type":"message","content":["Hi"]}"#, r#"content[0].type is "…", which was not asked for"#),
            (
                r#"{"type":"message","content":[{"type":"text","text":"a","citations":[{}]}]}"#,
                "content[0].citations were not asked for",
            ),
            (r#"{"type":"message","content":[{"type":"text"}]}"#, "content[0].text is missing"),
            (r#"{"type":"message","content":[]}"#, "stop_reason is missing"),
            (r#"{"type":"message","content":[],"stop_reason":null}"#, "stop_reason is missing"),
            (
                r#"{"type":"message","content":[],"stop_reason":"tired"}"#,
                r#"stop_reason is "tired", which is not known"#,
            ),
        ];
        for (body, detail) in cases {
            let fault = answer(body).expect_err(body);
            assert_eq!((fault.kind, fault.phase), (Kind::AnswerNotUnderstood, Phase::Stream), "{body}");
            assert_eq!(fault.detail.as_deref(), Some(detail), "{body}");
        }
    }

    #[test]
    fn an_error_of_the_vendor_keeps_its_message_and_its_word() {
        let anthropic = |kind: &str| {
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"It \"broke\"."}},"request_id":"req_1"}}"#)
        };
        let openai = |kind: &str, code: &str| {
            format!(r#"{{"error":{{"message":"It \"broke\".","type":"{kind}","param":null,"code":"{code}"}}}}"#)
        };
        let kinds = [
            (400, "invalid_request_error", "invalid_request_error"),
            (401, "authentication_error", "authentication_error"),
            (402, "billing_error", "insufficient_quota"),
            (403, "permission_error", "permission_error"),
            (404, "not_found_error", "invalid_request_error"),
            (413, "request_too_large", "invalid_request_error"),
            (429, "rate_limit_error", "rate_limit_error"),
            (500, "api_error", "server_error"),
            (504, "timeout_error", "server_error"),
            (529, "overloaded_error", "server_error"),
            (418, "teapot_error", "server_error"),
        ];
        for (status, theirs, ours) in kinds {
            let mut out = Vec::new();
            translate_error(CROSSING, status, anthropic(theirs).as_bytes(), &mut out);
            assert_eq!(checked(&out), openai(ours, theirs));
        }
    }

    #[test]
    fn a_page_of_a_proxy_becomes_a_sentence() {
        let bodies =
            ["<html><h1>502 Bad Gateway secret-host</h1></html>", "", "null", "[1]", r#"{"error":"secret-host"}"#];
        for (status, kind) in [(502, "server_error"), (401, "authentication_error"), (429, "rate_limit_error")] {
            for body in bodies {
                let mut out = Vec::new();
                translate_error(CROSSING, status, body.as_bytes(), &mut out);
                let message = format!("The vendor answered with status {status} and an error that could not be read.");
                let wanted =
                    format!(r#"{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":null}}}}"#);
                assert_eq!(checked(&out), wanted);
            }
        }
    }

    const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"claude-x-20250101","stop_reason":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":7,"output_tokens":1}}}"#;
    const BLOCK: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    const HELLO: &str =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel\"lo\n\u00e9"}}"#;
    const EMPTY: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}"#;
    const BLOCK_END: &str = r#"{"type":"content_block_stop","index":0}"#;
    const STOP: &str = r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":15}}"#;
    const END: &str = r#"{"type":"message_stop"}"#;
    const PING: &str = r#"{"type":"ping"}"#;
    const ERROR: &str = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;

    fn translator(stream_usage: bool) -> Translator {
        Translator::new(CROSSING, &NAMING, Wanted { stream: true, stream_usage })
    }

    /// Pushes the data of events; what each one became, and the fault that ended it.
    fn stream(translator: &mut Translator, events: &[&str]) -> (Vec<String>, Vec<Note>, Option<Fault>) {
        let (mut texts, mut notes) = (Vec::new(), Vec::new());
        for data in events {
            let mut out = Vec::new();
            let result = translator.push(&event(data), &mut out);
            for event in out.split_inclusive(|&b| b == b'\n').filter_map(|line| line.strip_prefix(b"data: {")) {
                checked(&[b"{", event].concat());
            }
            texts.push(String::from_utf8(out).unwrap());
            match result {
                Ok(note) => notes.push(note),
                Err(fault) => return (texts, notes, Some(fault)),
            }
        }
        (texts, notes, None)
    }

    fn event(data: &str) -> Event<'_> {
        Event { raw: b"", event: None, data: Some(data.as_bytes().into()) }
    }

    fn chunk(rest: &str) -> String {
        format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"claude-x\",\"choices\":[{rest}}}\n\n"
        )
    }

    fn choice(delta: &str, finish: &str, tail: &str) -> String {
        chunk(&format!(r#"{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]{tail}"#))
    }

    #[test]
    fn a_stream_says_the_same_in_the_other_language() {
        let events = [PING, START, PING, BLOCK, EMPTY, HELLO, HELLO, BLOCK_END, STOP, END, PING, START];
        let usage = r#"],"usage":{"prompt_tokens":17,"completion_tokens":15,"total_tokens":32,"prompt_tokens_details":{"cached_tokens":7,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}"#;
        for (stream_usage, tail, last) in [
            (false, "", "data: [DONE]\n\n".to_owned()),
            (true, ",\"usage\":null", format!("{}data: [DONE]\n\n", chunk(usage))),
        ] {
            let mut translator = translator(stream_usage);
            let (texts, notes, fault) = stream(&mut translator, &events);
            let hello = choice(r#"{"content":"Hel\"lo\n\u00e9"}"#, "null", tail);
            let wanted = [
                ": ping\n\n".to_owned(),
                choice(r#"{"role":"assistant","content":"","refusal":null}"#, "null", tail),
                ": ping\n\n".to_owned(),
                String::new(),
                String::new(),
                hello.clone(),
                hello,
                String::new(),
                choice("{}", r#""length""#, tail),
                last,
                String::new(),
                String::new(),
            ];
            assert_eq!(texts, wanted);
            assert_eq!(fault, None);
            let content: Vec<usize> =
                notes.iter().enumerate().filter(|(_, note)| note.content).map(|(n, _)| n).collect();
            let ended: Vec<usize> = notes.iter().enumerate().filter(|(_, note)| note.ended).map(|(n, _)| n).collect();
            assert_eq!((content, ended), (vec![5, 6], vec![9]));
            assert!(translator.is_finished());
            let (usage, source) = translator.usage();
            assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (17, 15, 32));
            assert_eq!(source, UsageSource::Provider);
            assert_eq!(translator.model(), Some("claude-x-20250101"));
        }
    }

    #[test]
    fn text_in_the_start_of_a_block_is_carried() {
        let block = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"early"}}"#;
        let (texts, notes, _) = stream(&mut translator(false), &[START, block]);
        assert_eq!(texts[1], choice(r#"{"content":"early"}"#, "null", ""));
        assert!(notes[1].content);
    }

    #[test]
    fn a_comment_of_the_vendor_says_nothing() {
        let (mut out, comment) = (Vec::new(), Event { raw: b": hello\n\n", event: None, data: None });
        assert_eq!(translator(false).push(&comment, &mut out), Ok(Note::default()));
        assert!(out.is_empty());
    }

    #[test]
    fn an_answer_begins_once() {
        let (texts, _, fault) = stream(&mut translator(false), &[START, START]);
        assert_eq!((texts[1].as_str(), fault), ("", None));
    }

    #[test]
    fn usage_is_what_was_said_last() {
        let more =
            r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"input_tokens":12,"output_tokens":3}}"#;
        let last = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":null,"cache_creation_input_tokens":4,"output_tokens":9,"output_tokens_details":{"thinking_tokens":2}}}"#;
        let again = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":10}}"#;
        let mut translator = translator(false);
        assert_eq!(translator.usage(), (Usage::default(), UsageSource::None));
        // Event, prompt, completion, source.
        let steps = [
            (START, 17, 1, UsageSource::Partial),
            (more, 19, 3, UsageSource::Partial),
            (last, 23, 9, UsageSource::Provider),
            (again, 23, 10, UsageSource::Provider),
            (END, 23, 10, UsageSource::Provider),
        ];
        for (data, prompt, completion, wanted) in steps {
            stream(&mut translator, &[data]);
            let (usage, source) = translator.usage();
            assert_eq!((usage.prompt_tokens, usage.completion_tokens), (prompt, completion), "{data}");
            assert_eq!(source, wanted, "{data}");
        }
    }

    #[test]
    fn a_stream_that_stops_before_its_end_is_not_finished() {
        let events = [START, BLOCK, HELLO, BLOCK_END, STOP, END];
        for cut in 0..events.len() {
            let mut translator = translator(true);
            let (texts, _, fault) = stream(&mut translator, &events[..cut]);
            assert_eq!(fault, None);
            assert!(!translator.is_finished(), "after {cut} events");
            assert!(!texts.concat().contains("[DONE]"), "after {cut} events");
        }
    }

    #[test]
    fn an_error_of_the_vendor_ends_the_stream_wherever_it_comes() {
        let events = [START, BLOCK, HELLO, BLOCK_END, STOP];
        for cut in 0..=events.len() {
            let mut translator = translator(true);
            let (texts, _, fault) = stream(&mut translator, &[&events[..cut], &[ERROR, END]].concat());
            let fault = fault.expect("a fault");
            assert_eq!((fault.kind, fault.detail.as_deref()), (Kind::VendorErrorInStream, Some("overloaded_error")));
            let wanted =
                r#"{"error":{"message":"Overloaded","type":"server_error","param":null,"code":"overloaded_error"}}"#;
            assert_eq!(texts.last().map(String::as_str), Some(&*format!("data: {wanted}\n\n")));
            assert!(!translator.is_finished());
        }
    }

    #[test]
    fn an_event_that_is_not_understood_ends_the_stream_with_an_error_event() {
        let thinking = r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#;
        let tool = r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#;
        let textless = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta"}}"#;
        let tired = r#"{"type":"message_delta","delta":{"stop_reason":"tired"},"usage":{}}"#;
        let cases: [(&[&str], &str); 14] = [
            (&["nonsense"], "the body of an event is not JSON"),
            (&[""], "the body of an event is not JSON"),
            (&["[DONE]"], "the body of an event is not JSON"),
            (&["{}"], "type is missing"),
            (&[r#"{"type":7}"#], "type is missing"),
            (&[HELLO], r#"type "content_block_delta" comes out of order"#),
            (&[START, STOP, START], r#"type "message_start" comes out of order"#),
            (&[START, END], r#"type "message_stop" comes out of order"#),
            (&[START, STOP, HELLO], r#"type "content_block_delta" comes out of order"#),
            (&[r#"{"type":"message_start"}"#], "message is missing"),
            (&[START, thinking], r#"content_block.type is "thinking", which was not asked for"#),
            (&[START, BLOCK, tool], r#"delta.type is "input_json_delta", which was not asked for"#),
            (&[START, BLOCK, textless], "delta.text is missing"),
            (&[START, tired], r#"delta.stop_reason is "tired", which is not known"#),
        ];
        for (events, detail) in cases {
            let (texts, _, fault) = stream(&mut translator(false), events);
            let fault = fault.expect(detail);
            assert_eq!((fault.kind, fault.detail.as_deref()), (Kind::AnswerNotUnderstood, Some(detail)));
            let last = texts.last().expect("an event");
            assert!(
                last.starts_with(r#"data: {"error":{"message":"The vendor's answer could not be understood: "#),
                "{last}"
            );
        }
    }

    #[test]
    fn an_event_of_a_type_to_come_is_left_out() {
        let (texts, _, fault) = stream(&mut translator(false), &[START, r#"{"type":"weather","sun":true}"#]);
        assert_eq!((texts[1].as_str(), fault), ("", None));
    }

    #[test]
    fn usage_is_read_as_each_vendor_counts() {
        use Dialect::{Anthropic, OpenAi};
        // Vendor, object, and [prompt, completion, total, cached, cache write, reasoning].
        let cases = [
            (OpenAi, r#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}"#, Some([3, 4, 7, 0, 0, 0])),
            (
                OpenAi,
                r#"{"total_tokens":9,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":2},
                    "prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":1,"cache_write_tokens":2}}"#,
                Some([3, 4, 9, 1, 2, 2]),
            ),
            (OpenAi, r#"{"prompt_tokens":3,"completion_tokens":4}"#, Some([3, 4, 7, 0, 0, 0])),
            (OpenAi, r#"{"prompt_tokens":3}"#, Some([3, 0, 3, 0, 0, 0])),
            (OpenAi, r#"{"prompt_tokens":3,"prompt_cache_hit_tokens":2}"#, Some([3, 0, 3, 2, 0, 0])),
            (OpenAi, r#"{"prompt_tokens":3,"prompt_tokens_details":null,"cached_tokens":2}"#, Some([3, 0, 3, 2, 0, 0])),
            (
                OpenAi,
                r#"{"prompt_tokens":18446744073709551615,"completion_tokens":1}"#,
                Some([u64::MAX, 1, u64::MAX, 0, 0, 0]),
            ),
            (OpenAi, r#"{"prompt_tokens":-3}"#, None),
            (OpenAi, r#"{"input_tokens":3}"#, None),
            (OpenAi, "{}", None),
            (OpenAi, "null", None),
            (OpenAi, "nonsense", None),
            (Anthropic, r#"{"input_tokens":3,"output_tokens":4}"#, Some([3, 4, 7, 0, 0, 0])),
            (
                Anthropic,
                r#"{"input_tokens":3,"cache_creation_input_tokens":10,"cache_read_input_tokens":20,"output_tokens":4,
                    "output_tokens_details":{"thinking_tokens":1},"cache_creation":{"ephemeral_5m_input_tokens":6,"ephemeral_1h_input_tokens":4}}"#,
                Some([33, 4, 37, 20, 10, 1]),
            ),
            (
                Anthropic,
                r#"{"input_tokens":3,"cache_read_input_tokens":null,"output_tokens":4}"#,
                Some([3, 4, 7, 0, 0, 0]),
            ),
            (Anthropic, r#"{"prompt_tokens":3}"#, None),
            (Anthropic, "", None),
        ];
        for (vendor, object, wanted) in cases {
            let counts = usage(vendor, object.as_bytes()).map(|usage| {
                let Usage {
                    prompt_tokens,
                    completion_tokens,
                    total_tokens,
                    cached_tokens,
                    cache_write_tokens,
                    cache_write_1h_tokens,
                    reasoning_tokens,
                } = usage;
                assert_eq!(cache_write_1h_tokens, if object.contains("1h") { 4 } else { 0 }, "{object}");
                [prompt_tokens, completion_tokens, total_tokens, cached_tokens, cache_write_tokens, reasoning_tokens]
            });
            assert_eq!(counts, wanted, "{vendor:?} {object}");
        }
    }

    #[test]
    fn no_input_makes_it_panic() {
        let request = r#"{"model":"g","messages":[{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"é"}]}],"stop":["a"],"n":1,"temperature":0.5,"stream_options":{"include_usage":true}}"#;
        let chunk = r#"{"model":"m","choices":[{"delta":{"content":"a","tool_calls":[]}}],"usage":{"prompt_tokens":1},"x_groq":{"usage":null}}"#;
        let answer = r#"{"type":"message","model":"m","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":1}}"#;
        let samples = [request, chunk, answer, START, BLOCK, HELLO, STOP, END, PING, ERROR];
        let junk = b"\"\\{}[],:0e-.nt \n\x00\xff\xed\xa0u";
        let mut dice = fastrand::Rng::with_seed(7);
        let mut out = Vec::new();
        for round in 0..4_000 {
            let mut data = samples[round % samples.len()].as_bytes().to_vec();
            for _ in 0..dice.usize(1..4) {
                let at = dice.usize(..data.len());
                match dice.u8(..3) {
                    0 => data[at] = junk[dice.usize(..junk.len())],
                    1 => data.insert(at, junk[dice.usize(..junk.len())]),
                    _ => data.truncate(at.max(1)),
                }
            }
            out.clear();
            let event = Event { raw: &data, event: None, data: Some(data.as_slice().into()) };
            Look::new(Dialect::OpenAi).at(&event);
            Look::new(Dialect::Anthropic).at(&event);
            let mut translator = translator(true);
            for event in [&event, &self::event(START), &event, &self::event(STOP), &event] {
                if translator.push(event, &mut out).is_err() {
                    break;
                }
            }
            let _ = translate_request(CROSSING, &RECIPIENT, &data, &mut out); // Either end is fine.
            let _ = translate_answer(CROSSING, &data, &NAMING, Wanted::default(), &mut out); // Either end is fine.
            translate_error(CROSSING, 500, &data, &mut out);
            assert!(std::str::from_utf8(&out).is_ok(), "{}", String::from_utf8_lossy(&data));
        }
    }

    #[test]
    fn the_models_are_listed_as_openai_lists_them() {
        let mut out = Vec::new();
        models_body(Dialect::OpenAi, ["quality-ab-test", "a \"b\""], &mut out);
        assert_eq!(
            checked(&out),
            r#"{"object":"list","data":[{"id":"quality-ab-test","object":"model","created":0,"owned_by":"kt"},{"id":"a \"b\"","object":"model","created":0,"owned_by":"kt"}]}"#
        );
        out.clear();
        models_body(Dialect::OpenAi, [], &mut out);
        assert_eq!(checked(&out), r#"{"object":"list","data":[]}"#);
    }
}
