//! A conversation in nobody's language: what one dialect reads and the other writes.
//!
//! It holds what both sides can say. What is here has been checked by the reader of the client's dialect, which has also
//! reported what the other side has no word for; what depends on the model is settled by the writer's `fit` before it
//! writes. Text is carried as the JSON literal that its writer wrote: both sides speak JSON, so nothing is unescaped only
//! to be escaped again, and numbers keep their text.

use std::borrow::Cow;

use super::path::Path;
use super::report::Report;
use crate::fault::Fault;
use crate::json::{Kind, Value, escape_into};
use crate::tally::Usage;

/// A JSON string as it is written, quotes and escapes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal<'a>(Cow<'a, [u8]>);

impl<'a> Literal<'a> {
    /// A string of a text that was checked; none of other values.
    pub(super) fn of(value: Value<'a>) -> Option<Self> {
        (value.kind() == Kind::String).then(|| Self(Cow::Borrowed(value.raw())))
    }

    /// A string of our own making.
    pub(super) fn made(text: &str) -> Self {
        let mut literal = Vec::new();
        escape_into(&mut literal, text);
        Self(Cow::Owned(literal))
    }

    /// As it goes out.
    pub(super) fn raw(&self) -> &[u8] {
        &self.0
    }

    /// What stands between the quotes.
    pub(super) fn inside(&self) -> &[u8] {
        &self.0[1..self.0.len() - 1]
    }

    /// What it stands for.
    pub(super) fn text(&self) -> Cow<'_, str> {
        let whole = crate::json::Span::new(0, self.0.len());
        Value::at(&self.0, whole).to_str().unwrap_or_default()
    }

    /// Whether it stands for nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() <= 2
    }

    /// Whether it stands for white space only, or nothing.
    pub(super) fn is_blank(&self) -> bool {
        // A literal of white space is short, or made of escapes and spaces; others are told by their first characters.
        self.0[1..].iter().all(|byte| b" \\nrt\"u0129bcd".contains(byte)) && self.text().trim().is_empty()
    }
}

/// A number as it is written, and what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number<'a> {
    /// Its text.
    pub(super) raw: &'a [u8],
    /// Its value.
    pub(super) value: f64,
}

/// A request.
#[derive(Debug)]
pub(super) struct Chat<'a> {
    /// What was said, in order.
    pub(super) turns: Vec<Turn<'a>>,
    /// What the model may call, in order.
    pub(super) tools: Vec<Tool<'a>>,
    /// Which of them it may or must call.
    pub(super) choice: Choice<'a>,
    /// Whether it may call several at once, if the client says.
    pub(super) parallel: Option<bool>,
    /// Most tokens of the answer.
    pub(super) max_tokens: Option<u64>,
    /// At most 1 for Anthropic.
    pub(super) temperature: Option<Number<'a>>,
    /// 0 to 1.
    pub(super) top_p: Option<Number<'a>>,
    /// How many candidates each token is drawn from.
    pub(super) top_k: Option<u64>,
    /// What ends the answer when it would come.
    pub(super) stop: Vec<Literal<'a>>,
    /// Who is behind the client, as the client names them.
    pub(super) user: Option<Literal<'a>>,
    /// How long the model may think first.
    pub(super) thinking: Thinking,
    /// The form of the answer.
    pub(super) format: Format<'a>,
    /// How urgent it is.
    pub(super) tier: Option<Tier>,
    /// How the answer is wanted.
    pub(super) wanted: Wanted,
    /// What is not carried as the client said it.
    pub(super) report: Report,
    /// What the client calls the fields that `fit` may have to approximate.
    pub(super) names: &'static Names,
}

/// The names of fields in the client's language.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) thinking: &'static str,
    pub(super) format: &'static str,
}

impl<'a> Chat<'a> {
    /// An empty one, of a client with these `names`.
    pub(super) fn new(names: &'static Names) -> Self {
        Self {
            turns: Vec::new(),
            tools: Vec::new(),
            choice: Choice::Unsaid,
            parallel: None,
            max_tokens: None,
            temperature: None,
            top_p: None,
            top_k: None,
            stop: Vec::new(),
            user: None,
            thinking: Thinking::Unsaid,
            format: Format::Text,
            tier: None,
            wanted: Wanted::default(),
            report: Report::default(),
            names,
        }
    }

    /// The field of this name, at the top of the client's body, was approximated.
    pub(super) fn approximate(&mut self, name: &str) {
        self.report.approximate(&Path::Root.field(name));
    }

    /// The field of this name, at the top of the client's body, is refused.
    pub(super) fn refused(name: &str, why: &str) -> Fault {
        Path::Root.field(name).refused(why)
    }

    /// Every tool call in the conversation.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Call<'a>> {
        self.turns.iter().flat_map(|turn| &turn.parts).filter_map(|part| match part {
            Part::Call(call) => Some(call),
            Part::Text { .. }
            | Part::Image { .. }
            | Part::Document { .. }
            | Part::Thinking(_)
            | Part::Redacted(_)
            | Part::Result(_) => None,
        })
    }
}

/// The tool that a model is forced to call where nothing else holds it to JSON: its input is the answer.
pub(super) const JSON_TOOL: &str = "json_answer";

/// How the client wants its answer, and what its translation has to know of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// As a stream.
    pub stream: bool,
    /// With the usage at the stream's end.
    pub stream_usage: bool,
    /// The vendor answers in JSON by calling the tool that we forced upon it: its input is the answer's text.
    pub json_tool: bool,
    /// The client calls tools functions, as OpenAI did until 2023.
    pub functions: bool,
    /// The client asked the model to think, and takes what it thought.
    pub thinking: bool,
    /// Words of the request, where the vendor of a stream isn't asked for its usage and may say nothing of it.
    pub prompt_words: u64,
}

impl Wanted {
    /// As a whole, with nothing special about it.
    pub const WHOLE: Self = Self {
        stream: false,
        stream_usage: false,
        json_tool: false,
        functions: false,
        thinking: false,
        prompt_words: 0,
    };
}

/// One message of a conversation.
#[derive(Debug, PartialEq)]
pub(super) struct Turn<'a> {
    /// Whose it is.
    pub(super) role: Role,
    /// What it says, in order; at least one.
    pub(super) parts: Vec<Part<'a>>,
    /// Its place in the client's list of messages; none of what stands outside of it.
    pub(super) place: Option<usize>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The operator of the conversation.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// A mark up to which the vendor is asked to cache the prompt: Anthropic's `cache_control`, as it is written.
pub(super) type Cache<'a> = Option<&'a [u8]>;

/// A piece of a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part<'a> {
    /// Text, never empty.
    Text { text: Literal<'a>, cache: Cache<'a> },
    /// A picture.
    Image { source: Source<'a>, cache: Cache<'a> },
    /// A file with text in it.
    Document { source: Source<'a>, title: Option<Literal<'a>>, cache: Cache<'a> },
    /// What the model thought, with the vendor's signature: opaque, and in this order.
    Thinking(Thought<'a>),
    /// What the model thought, encrypted.
    Redacted(Literal<'a>),
    /// The model calls a tool.
    Call(Call<'a>),
    /// What a tool answered.
    Result(ToolResult<'a>),
}

/// Where a picture's or a file's bytes are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source<'a> {
    /// In the request, in base 64. Both are what stands between the quotes.
    Base64 { media_type: Cow<'a, str>, data: Cow<'a, [u8]> },
    /// On the web.
    Url(Literal<'a>),
    /// In the request, as plain text.
    Plain(Literal<'a>),
}

/// A block of thinking.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Thought<'a> {
    pub(super) text: Literal<'a>,
    pub(super) signature: Literal<'a>,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call<'a> {
    pub(super) id: Literal<'a>,
    pub(super) name: Literal<'a>,
    /// The text of a JSON object.
    pub(super) input: Cow<'a, [u8]>,
    pub(super) cache: Cache<'a>,
}

/// What a tool answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToolResult<'a> {
    pub(super) id: Literal<'a>,
    /// May be nothing.
    pub(super) parts: Vec<Part<'a>>,
    pub(super) cache: Cache<'a>,
}

/// A JSON schema, an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema<'a>(pub(super) Value<'a>);

impl PartialEq for Schema<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.raw() == other.0.raw()
    }
}

/// Something that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tool<'a> {
    pub(super) name: Literal<'a>,
    pub(super) description: Option<Literal<'a>>,
    /// The JSON schema of its input, an object; none where it takes nothing.
    pub(super) schema: Option<Schema<'a>>,
    /// Whether the input has to follow the schema to the letter.
    pub(super) strict: bool,
    pub(super) cache: Cache<'a>,
}

/// Which tools the model calls.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Choice<'a> {
    Unsaid,
    /// As it thinks right.
    Auto,
    /// None.
    None,
    /// At least one.
    Any,
    /// This one.
    Named(Literal<'a>),
}

/// How long the model may think before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    Unsaid,
    Off,
    Effort(Effort),
    /// Tokens.
    Budget(u64),
    /// As the model thinks right.
    Adaptive,
}

/// How hard to think, in the words that both vendors use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effort {
    Minimal,
    Low,
    Medium,
    High,
    ExtraHigh,
    Max,
}

/// The form of the answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Format<'a> {
    /// Any.
    Text,
    /// Some JSON object.
    Json,
    /// JSON that follows a schema.
    Schema { name: Option<Literal<'a>>, schema: Schema<'a>, strict: bool },
}

/// How urgent a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    /// As the account has it.
    Auto,
    /// As everybody.
    Standard,
    /// Ahead of others.
    Priority,
}

/// A whole answer.
#[derive(Debug, PartialEq)]
pub(super) struct Answer<'a> {
    /// What the model says, in order; may be nothing.
    pub(super) parts: Vec<Part<'a>>,
    /// Why it would not say more, in words.
    pub(super) refusal: Option<Literal<'a>>,
    /// Why it stopped.
    pub(super) stop: Stop,
    /// Which stop sequence it came upon, where the vendor says.
    pub(super) stop_sequence: Option<Literal<'a>>,
    /// What it cost, if the vendor says so.
    pub(super) usage: Option<Usage>,
    /// How urgently it was served.
    pub(super) tier: Option<Tier>,
    /// The model as the vendor names it.
    pub(super) model: Option<Box<str>>,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It had said what it had to say.
    EndOfTurn,
    /// It came upon one of the request's stop sequences.
    Sequence,
    /// It had used the tokens that the request allows.
    MaxTokens,
    /// It had used the tokens that the model has.
    ContextFull,
    /// It waits for a tool.
    ToolUse,
    /// It would not go on.
    Refusal,
    /// The vendor paused a long turn.
    Paused,
}

/// A piece of a streamed answer. One event of a vendor says none, one or several.
///
/// Every reader sees to the order: `Begin`, any number of pieces, `Stop`, `End`; or `Failed`, at any point and last.
/// `Alive` may come between any two. Literals are JSON strings as the vendor wrote them, never empty ones.
#[derive(Debug, PartialEq)]
pub(super) enum Delta<'a> {
    /// The answer begins.
    Begin,
    /// More text.
    Text(&'a [u8]),
    /// More of why the model won't answer.
    Refusal(&'a [u8]),
    /// More of what the model thinks.
    Thinking(&'a [u8]),
    /// The signature under what it thought; ends that block.
    Signature(&'a [u8]),
    /// A block of encrypted thinking, whole.
    Redacted(&'a [u8]),
    /// A tool call begins. The id is the vendor's, or one of ours if the vendor gave none.
    Call { id: Cow<'a, [u8]>, name: &'a [u8] },
    /// What follows of arguments is of the call with this number, from 0 on, which was left for another.
    Resume(u64),
    /// More of the call's arguments, as a piece of JSON within a JSON string.
    Arguments(&'a [u8]),
    /// All of its arguments, as an object.
    Input(&'a [u8]),
    /// The call is whole.
    CallEnd,
    /// What the model thought is whole, signed or not.
    ThoughtEnd,
    /// The model stopped.
    Stop(Stop),
    /// The answer is whole.
    End,
    /// The vendor gives up.
    Failed(VendorError<'a>),
    /// The vendor says that it is still there.
    Alive,
}

/// What the vendor says went wrong, whole or in a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct VendorError<'a> {
    /// The vendor's word for it.
    pub(super) kind: Option<Cow<'a, str>>,
    /// The vendor's more exact word, where its language has one.
    pub(super) code: Option<Cow<'a, str>>,
    /// The vendor's sentence about it.
    pub(super) message: Option<Cow<'a, str>>,
}

/// What a translated answer is called, since the vendor's own names would not be true in the other language.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    /// The answer's id, e.g. `chatcmpl-…` or `msg_…`.
    pub id: &'a str,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// The configured model.
    pub model: &'a str,
}
