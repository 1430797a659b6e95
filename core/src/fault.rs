//! What can go wrong with a request: whose fault, what happened, in which phase; and from that the status and the
//! words a client sees. Nothing here is a vendor's own error: those pass on as the vendor said them.

use std::borrow::Cow;

/// One request's failure. Every `?` of an exchange ends here, and every fault is answered and logged exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What happened.
    pub kind: Kind,
    /// When it happened.
    pub phase: Phase,
    /// The field or value that is to blame, said to the client. Never a secret, never the text of a prompt. Where a field
    /// is to blame its path comes first, then a space: a client that asks in OpenAI's language gets it as `param`.
    pub detail: Option<Cow<'static, str>>,
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one who asks.
    Client,
    /// The vendor, or the way to it.
    Upstream,
    /// This gateway.
    Gateway,
}

/// Where in its journey the request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading the client's request head.
    Head,
    /// Reading or understanding the client's request body.
    Body,
    /// Resolving the vendor's name and connecting.
    Connect,
    /// TLS handshake with the vendor.
    Tls,
    /// Handing the request to the vendor.
    Send,
    /// Waiting for the vendor's head.
    FirstByte,
    /// Passing the vendor's answer on.
    Stream,
    /// Between two pieces of the vendor's answer.
    Idle,
    /// The exchange as a whole.
    Total,
}

macro_rules! kinds {
    ($( $(#[$doc:meta])* $name:ident => $text:literal, $side:ident, $status:literal, $message:literal; )*) => {
        /// What happened, as a sentence in a word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { $( $(#[$doc])* $name, )* }

        impl Kind {
            /// Every kind, in the order of this file.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The name in the event, snake_case.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// Who is to blame.
            pub const fn side(self) -> Side {
                match self { $( Self::$name => Side::$side, )* }
            }

            /// The HTTP status a client gets; 499 never goes out, it stands in events only.
            pub const fn status(self) -> u16 {
                match self { $( Self::$name => $status, )* }
            }

            /// What the client is told, without the detail. A whole sentence, without a final stop.
            pub const fn message(self) -> &'static str {
                match self { $( Self::$name => $message, )* }
            }
        }
    };
}

// name => event word, side, status, message.
kinds! {
    // The client's head (RFC 9112).
    /// The head is not HTTP/1.x.
    MalformedHead => "malformed_head", Client, 400, "The request head is not valid HTTP/1.1";
    /// A carriage return or line feed stands alone.
    BareLineEnd => "bare_line_end", Client, 400, "A line of the request head does not end in CR LF";
    /// A field name is not a token, or a space stands before the colon.
    MalformedFieldName => "malformed_field_name", Client, 400, "A header field has a malformed name";
    /// A field value holds NUL or another control byte.
    MalformedFieldValue => "malformed_field_value", Client, 400, "A header field has a malformed value";
    /// The request target is not one we understand.
    MalformedTarget => "malformed_target", Client, 400, "The request target is malformed";
    /// Host is missing, repeated, malformed, or disagrees with the target.
    MalformedHost => "malformed_host", Client, 400, "The Host field is missing, repeated or malformed";
    /// Content-Length and Transfer-Encoding in one message.
    LengthAndChunkedTogether => "length_and_chunked_together", Client, 400, "The request has both Content-Length and Transfer-Encoding";
    /// Content-Length is repeated, signed, a list, too large or junk.
    MalformedLength => "malformed_length", Client, 400, "The Content-Length field is malformed or repeated";
    /// Transfer-Encoding is anything but `chunked`.
    UnknownTransferCoding => "unknown_transfer_coding", Client, 400, "The Transfer-Encoding is not exactly \"chunked\"";
    /// The chunk framing is broken.
    MalformedChunk => "malformed_chunk", Client, 400, "The chunked request body is malformed";
    /// The HTTP version is not 1.0 or 1.1.
    UnknownVersion => "unknown_version", Client, 400, "The HTTP version is not 1.0 or 1.1";
    /// The client began to speak HTTP/2 (RFC 9113 section 3.4).
    Http2Preface => "http2_preface", Client, 400, "This port speaks HTTP/1.1, not HTTP/2";
    /// The head is larger than the limit, or has too many fields.
    HeadTooLarge => "head_too_large", Client, 431, "The request head is too large";
    /// The head did not arrive in time.
    HeadTooSlow => "head_too_slow", Client, 408, "The request head did not arrive in time";
    /// The head shows no key, or none of a configured client's.
    InvalidApiKey => "invalid_api_key", Client, 401, "The request has no API key, or one that this gateway does not know";

    // The client's body.
    /// The body is larger than the limit.
    BodyTooLarge => "body_too_large", Client, 413, "The request body is too large";
    /// The body did not arrive in time.
    BodyTooSlow => "body_too_slow", Client, 408, "The request body did not arrive in time";
    /// The client closed before its body was whole.
    BodyCutOff => "body_cut_off", Client, 400, "The request body ended before it was whole";
    /// The body is content-coded.
    BodyContentCoded => "body_content_coded", Client, 415, "The request body is content-coded; send it as plain JSON";
    /// The body is not valid JSON.
    MalformedJson => "malformed_json", Client, 400, "The request body is not valid JSON";
    /// An object of the body has a key twice.
    DuplicateKey => "duplicate_key", Client, 400, "The request body has a duplicate key";
    /// The body nests too deeply.
    JsonTooDeep => "json_too_deep", Client, 400, "The request body is nested too deeply";
    /// A field has the wrong type, or is missing.
    InvalidField => "invalid_field", Client, 400, "The request body has a missing or invalid field";
    /// `model` names neither a group nor exactly one arm.
    UnknownModel => "unknown_model", Client, 404, "The model does not exist";
    /// The field can't be said in the vendor's language.
    NotExpressible => "not_expressible", Client, 422, "The request can't be expressed in the drawn vendor's API";
    /// A policy refused the request.
    BlockedByPolicy => "blocked_by_policy", Client, 403, "The request was blocked by a policy";
    /// A policy refused the answer.
    AnswerBlockedByPolicy => "answer_blocked_by_policy", Upstream, 403, "The answer was blocked by a policy";
    /// The client closed its connection before the answer was whole.
    ClientGone => "client_gone", Client, 499, "The client closed the connection";
    /// The client did not read its answer.
    ClientTooSlow => "client_too_slow", Client, 499, "The client did not read its answer in time";

    // The vendor.
    /// The vendor's name has no address.
    NameNotResolved => "name_not_resolved", Upstream, 502, "The vendor's name could not be resolved";
    /// No address of the vendor accepted the connection.
    ConnectRefused => "connect_refused", Upstream, 502, "The vendor could not be reached";
    /// The vendor did not accept in time.
    ConnectTooSlow => "connect_too_slow", Upstream, 504, "The vendor did not accept a connection in time";
    /// The TLS handshake failed.
    TlsFailed => "tls_failed", Upstream, 502, "The TLS handshake with the vendor failed";
    /// The request could not be handed over whole.
    SendFailed => "send_failed", Upstream, 502, "The request could not be sent to the vendor";
    /// The request could not be handed over in time.
    SendTooSlow => "send_too_slow", Upstream, 504, "The vendor did not take the request in time";
    /// The vendor's first byte did not come in time.
    FirstByteTooSlow => "first_byte_too_slow", Upstream, 504, "The vendor did not answer in time";
    /// The vendor closed before its answer's head was whole.
    AnswerMissing => "answer_missing", Upstream, 502, "The vendor closed the connection without an answer";
    /// The vendor's head is not HTTP we accept.
    AnswerHeadMalformed => "answer_head_malformed", Upstream, 502, "The vendor's answer is not valid HTTP";
    /// The vendor's body framing is broken.
    AnswerFramingMalformed => "answer_framing_malformed", Upstream, 502, "The vendor's answer is framed wrongly";
    /// The vendor's answer ended before it was whole.
    AnswerTorn => "answer_torn", Upstream, 502, "The vendor's answer ended before it was whole";
    /// The vendor's answer can't be understood, so it can't be translated.
    AnswerNotUnderstood => "answer_not_understood", Upstream, 502, "The vendor's answer could not be understood";
    /// The vendor's answer is larger than what is held.
    AnswerTooLarge => "answer_too_large", Upstream, 502, "The vendor's answer is too large";
    /// The vendor sent a content-coded answer that has to be translated.
    AnswerContentCoded => "answer_content_coded", Upstream, 502, "The vendor's answer is content-coded";
    /// Too long a silence within the answer.
    IdleTooLong => "idle_too_long", Upstream, 504, "The vendor fell silent in the middle of its answer";
    /// The whole exchange took too long.
    TotalTooLong => "total_too_long", Upstream, 504, "The vendor did not finish in time";
    /// The vendor said in its stream that it failed.
    VendorErrorInStream => "vendor_error_in_stream", Upstream, 502, "The vendor reported an error in its stream";
    /// The vendor said that it failed, in an answer whose status says that it didn't.
    VendorErrorInAnswer => "vendor_error_in_answer", Upstream, 502, "The vendor reported an error in its answer";

    // This gateway.
    /// The drawn target has no key.
    TargetUnavailable => "target_unavailable", Gateway, 503, "The drawn target has no API key configured";
    /// Too many requests in flight.
    Overloaded => "overloaded", Gateway, 503, "The gateway is overloaded";
    /// No slot in the event queue is free.
    LogFull => "log_full", Gateway, 503, "The gateway's event log has no room";
    /// The gateway is shutting down.
    Draining => "draining", Gateway, 503, "The gateway is shutting down";
    /// Our own broken promise.
    Internal => "internal", Gateway, 500, "The gateway failed";
}

impl Fault {
    /// A fault without a detail.
    pub const fn new(kind: Kind, phase: Phase) -> Self {
        Self { kind, phase, detail: None }
    }

    /// A fault with what is to blame, e.g. the path of a field.
    pub fn with(kind: Kind, phase: Phase, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, phase, detail: Some(detail.into()) }
    }

    /// What the client is told: the sentence, and what is to blame.
    pub fn message(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}.", self.kind.message()),
            None => format!("{}.", self.kind.message()),
        }
    }
}

impl Side {
    /// The word in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
        }
    }
}

impl Phase {
    /// The word in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Body => "body",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::FirstByte => "first_byte",
            Self::Stream => "stream",
            Self::Idle => "idle",
            Self::Total => "total",
        }
    }
}

impl Kind {
    /// Whether the same request may do better later. What can't be cured by it is said to the client's library, which
    /// would otherwise try again by itself.
    pub const fn may_be_cured_by_a_retry(self) -> bool {
        match self.side() {
            Side::Client => matches!(self.status(), 408),
            Side::Upstream => true,
            // A key that is missing stays so until somebody acts.
            Side::Gateway => !matches!(self, Self::TargetUnavailable),
        }
    }

    /// What `WWW-Authenticate` says; every 401 has it (RFC 9110 section 11.6.1).
    pub fn challenge(self) -> Option<&'static str> {
        (self.status() == 401).then_some("Bearer")
    }

    /// When a client may try again, seconds; for the faults that pass by themselves.
    pub fn retry_after_seconds(self) -> Option<u64> {
        matches!(self, Self::Overloaded | Self::LogFull | Self::Draining).then_some(1)
    }
}
