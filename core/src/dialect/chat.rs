//! A conversation in nobody's language: what one dialect reads and the other writes.
//!
//! It holds what both sides can say, and nothing that only one can: what is here has been checked by the reader, so a
//! writer can't fail. Text borrows from what was read.

use std::borrow::Cow;

use super::report::Report;
use crate::tally::Usage;

/// A request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chat<'a> {
    /// What the operator of the conversation tells the model, in order.
    pub(super) system: Vec<Part<'a>>,
    /// What was said, in order; at least one.
    pub(super) turns: Vec<Turn<'a>>,
    /// Most tokens of the answer.
    pub(super) max_tokens: Option<u64>,
    /// 0 to 1.
    pub(super) temperature: Option<f64>,
    /// 0 to 1.
    pub(super) top_p: Option<f64>,
    /// What ends the answer when it would come.
    pub(super) stop: Vec<&'a str>,
    /// Who is behind the client, as the client names them.
    pub(super) user: Option<&'a str>,
    /// How the answer is wanted.
    pub(super) wanted: Wanted,
    /// What is not carried as the client said it.
    pub(super) report: Report,
}

/// How the client wants its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// As a stream.
    pub stream: bool,
    /// With the usage at the stream's end.
    pub stream_usage: bool,
}

/// One message of a conversation.
#[derive(Debug, PartialEq)]
pub(super) struct Turn<'a> {
    /// Whose it is.
    pub(super) role: Role,
    /// What it says, in order; at least one.
    pub(super) parts: Vec<Part<'a>>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// Text, never empty.
    Text(&'a str),
}

/// A whole answer.
#[derive(Debug, PartialEq)]
pub(super) struct Answer<'a> {
    /// What the model says, in order; may be nothing.
    pub(super) parts: Vec<Part<'a>>,
    /// Why it stopped.
    pub(super) stop: Stop,
    /// What it cost, if the vendor says so.
    pub(super) usage: Option<Usage>,
    /// The model as the vendor names it.
    pub(super) model: Option<&'a str>,
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

/// A piece of a streamed answer: what one event of a vendor says, if it says anything.
///
/// Every reader sees to the order: `Begin`, any number of `Text`, `Stop`, `End`; or `Failed`, at any point and last.
/// `Alive` and `Nothing` may come between any two.
#[derive(Debug, PartialEq)]
pub(super) enum Delta<'a> {
    /// The answer begins.
    Begin,
    /// More text: a JSON string as the vendor wrote it, quotes and escapes included, never the empty one. Every reader
    /// of ours takes JSON, so it is never unescaped.
    Text(&'a [u8]),
    /// The model stopped.
    Stop(Stop),
    /// The answer is whole.
    End,
    /// The vendor gives up.
    Failed(VendorError<'a>),
    /// The vendor says that it is still there.
    Alive,
    /// Nothing that the other side has to know.
    Nothing,
}

/// What the vendor says went wrong, whole or in a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct VendorError<'a> {
    /// The vendor's word for it.
    pub(super) kind: Option<Cow<'a, str>>,
    /// The vendor's sentence about it.
    pub(super) message: Option<Cow<'a, str>>,
}

/// What a translated answer is called, since the vendor's own names would not be true in the other language.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    /// The answer's id, e.g. `chatcmpl-…`.
    pub id: &'a str,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// The configured model.
    pub model: &'a str,
}
