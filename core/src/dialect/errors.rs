//! Our own failures in the client's language: the body of an error answer, and the error event of a stream that can't
//! go on.
//!
//! Vendors' errors aren't made here: they pass as they came, or are translated with the rest of the vendor's language.

use super::Dialect;
use crate::fault::{Fault, Kind};
use crate::json::escape_into;

/// What a client's library can tell apart, and so decides whether to try again. OpenAI's list is at
/// platform.openai.com/docs/guides/error-codes, Anthropic's at docs.anthropic.com/en/api/errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The request is at fault; as it is, it will never do.
    Request,
    /// Whoever asks is not known.
    Key,
    /// The model isn't there.
    Model,
    /// A policy said no.
    Policy,
    /// Not now.
    Busy,
    /// Somebody took too long.
    Slow,
    /// The vendor, or we, broke.
    Server,
}

/// Appends the body of an error answer in the client's `dialect`; the status is [`Kind::status`].
pub fn error_body(dialect: Dialect, fault: &Fault, out: &mut Vec<u8>) {
    let class = class(fault.kind);
    match dialect {
        Dialect::OpenAi => {
            write_openai(&fault.message(), openai_type(class), Some(code(fault.kind)), param(fault), out)
        }
        Dialect::Anthropic => write_anthropic(&fault.message(), anthropic_type(class), out),
    }
}

/// Appends the body of an answer that refuses a request for its path or method, which is no fault of an exchange, in the
/// client's `dialect`.
pub fn refusal_body(dialect: Dialect, status: u16, message: &str, out: &mut Vec<u8>) {
    match (dialect, status) {
        (Dialect::OpenAi, _) => write_openai(message, openai_type(Class::Request), None, None, out),
        (Dialect::Anthropic, 404) => write_anthropic(message, anthropic_type(Class::Model), out),
        (Dialect::Anthropic, _) => write_anthropic(message, anthropic_type(Class::Request), out),
    }
}

/// Appends the event that ends a stream which can't go on, in the client's `dialect`. After it the connection has to be
/// aborted: official clients raise on the event, and 13 of 16 take a clean end for a whole answer.
pub fn error_event(dialect: Dialect, fault: &Fault, out: &mut Vec<u8>) {
    out.extend_from_slice(match dialect {
        Dialect::OpenAi => b"data: ".as_slice(),
        Dialect::Anthropic => b"event: error\ndata: ".as_slice(),
    });
    error_body(dialect, fault, out);
    out.extend_from_slice(b"\n\n");
}

/// Appends OpenAI's error object. All four fields are always there: the schema requires them.
pub(super) fn write_openai(message: &str, kind: &str, code: Option<&str>, param: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":{\"message\":");
    escape_into(out, message);
    out.extend_from_slice(b",\"type\":");
    escape_into(out, kind);
    out.extend_from_slice(b",\"param\":");
    write_or_null(param, out);
    out.extend_from_slice(b",\"code\":");
    write_or_null(code, out);
    out.extend_from_slice(b"}}");
}

/// What is said of a vendor's error that could not be read: nothing of a proxy's page is repeated.
pub(super) fn unread(status: u16) -> String {
    format!("The vendor answered with status {status} and an error that could not be read.")
}

/// Appends Anthropic's error object.
pub(super) fn write_anthropic(message: &str, kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"error\",\"error\":{\"type\":");
    escape_into(out, kind);
    out.extend_from_slice(b",\"message\":");
    escape_into(out, message);
    out.extend_from_slice(b"}}");
}

fn write_or_null(text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        Some(text) => escape_into(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

const fn class(kind: Kind) -> Class {
    match kind {
        Kind::MalformedHead
        | Kind::BareLineEnd
        | Kind::MalformedFieldName
        | Kind::MalformedFieldValue
        | Kind::MalformedTarget
        | Kind::MalformedHost
        | Kind::LengthAndChunkedTogether
        | Kind::MalformedLength
        | Kind::UnknownTransferCoding
        | Kind::MalformedChunk
        | Kind::UnknownVersion
        | Kind::Http2Preface
        | Kind::HeadTooLarge
        | Kind::HeadTooSlow
        | Kind::BodyTooLarge
        | Kind::BodyTooSlow
        | Kind::BodyCutOff
        | Kind::BodyContentCoded
        | Kind::MalformedJson
        | Kind::DuplicateKey
        | Kind::JsonTooDeep
        | Kind::InvalidField
        | Kind::NotExpressible
        | Kind::ClientGone
        | Kind::ClientTooSlow => Class::Request,
        Kind::InvalidApiKey => Class::Key,
        Kind::UnknownModel => Class::Model,
        Kind::BlockedByPolicy | Kind::AnswerBlockedByPolicy => Class::Policy,
        Kind::TargetUnavailable | Kind::Overloaded | Kind::LogFull | Kind::Draining => Class::Busy,
        Kind::ConnectTooSlow | Kind::SendTooSlow | Kind::FirstByteTooSlow | Kind::IdleTooLong | Kind::TotalTooLong => {
            Class::Slow
        }
        Kind::NameNotResolved
        | Kind::ConnectRefused
        | Kind::TlsFailed
        | Kind::SendFailed
        | Kind::AnswerMissing
        | Kind::AnswerHeadMalformed
        | Kind::AnswerFramingMalformed
        | Kind::AnswerTorn
        | Kind::AnswerNotUnderstood
        | Kind::AnswerTooLarge
        | Kind::AnswerContentCoded
        | Kind::VendorErrorInStream
        | Kind::VendorErrorInAnswer
        | Kind::Internal => Class::Server,
    }
}

const fn openai_type(class: Class) -> &'static str {
    match class {
        Class::Request | Class::Model => "invalid_request_error",
        Class::Key => "authentication_error",
        Class::Policy => "policy_violation",
        Class::Busy | Class::Slow | Class::Server => "server_error",
    }
}

/// Only types that the official client's own model of an error lists.
const fn anthropic_type(class: Class) -> &'static str {
    match class {
        Class::Request => "invalid_request_error",
        Class::Key => "authentication_error",
        Class::Model => "not_found_error",
        Class::Policy => "permission_error",
        Class::Busy => "overloaded_error",
        Class::Slow => "timeout_error",
        Class::Server => "api_error",
    }
}

/// OpenAI's word where OpenAI has one, else ours, the same as in the event.
const fn code(kind: Kind) -> &'static str {
    match class(kind) {
        Class::Model => "model_not_found",
        Class::Policy if matches!(kind, Kind::AnswerBlockedByPolicy) => "output_blocked",
        Class::Policy => "input_blocked",
        Class::Request | Class::Key | Class::Busy | Class::Slow | Class::Server => kind.as_str(),
    }
}

/// The path of the field that is to blame. Where a field is, its path is the first word of the detail, plain or between
/// backticks.
fn param(fault: &Fault) -> Option<&str> {
    if !matches!(fault.kind, Kind::InvalidField | Kind::NotExpressible | Kind::DuplicateKey) {
        return None;
    }
    let (first, _) = fault.detail.as_deref()?.split_once(' ')?;
    let first = first.trim_matches('`');
    let is_path = first.starts_with(|c: char| c.is_ascii_alphabetic())
        && first.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.[]".contains(&b));
    // "the body must be an object" blames no field.
    (is_path && first != "the").then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Phase;
    use crate::json::{Scratch, Value, scan};

    fn body(dialect: Dialect, fault: &Fault) -> String {
        let mut out = Vec::new();
        error_body(dialect, fault, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn text_at(json: &str, path: &[&str]) -> Option<String> {
        let mut scratch = Scratch::default();
        let value = scan(json.as_bytes(), &mut scratch).expect(json).value().path(path);
        value.and_then(Value::to_str).map(|text| text.into_owned())
    }

    #[test]
    fn every_kind_is_an_error_of_either_language() {
        for &kind in Kind::ALL {
            let fault = Fault::with(kind, Phase::Body, "with \"quotes\"\nand lines");
            let openai = body(Dialect::OpenAi, &fault);
            assert_eq!(text_at(&openai, &["error", "message"]), Some(fault.message()));
            for field in ["type", "code"] {
                assert!(text_at(&openai, &["error", field]).is_some_and(|word| !word.is_empty()), "{openai}");
            }
            assert!(openai.contains(r#""param":"#), "{openai}");
            let anthropic = body(Dialect::Anthropic, &fault);
            assert_eq!(text_at(&anthropic, &["type"]).as_deref(), Some("error"));
            assert_eq!(text_at(&anthropic, &["error", "message"]), Some(fault.message()));
            assert!(
                text_at(&anthropic, &["error", "type"]).is_some_and(|word| word.ends_with("_error")),
                "{anthropic}"
            );
        }
    }

    #[test]
    fn an_error_is_worded_as_the_vendors_word_it() {
        // Kind, OpenAI's type and code, Anthropic's type.
        let cases = [
            (Kind::InvalidApiKey, "authentication_error", "invalid_api_key", "authentication_error"),
            (Kind::UnknownModel, "invalid_request_error", "model_not_found", "not_found_error"),
            (Kind::BlockedByPolicy, "policy_violation", "input_blocked", "permission_error"),
            (Kind::AnswerBlockedByPolicy, "policy_violation", "output_blocked", "permission_error"),
            (Kind::NotExpressible, "invalid_request_error", "not_expressible", "invalid_request_error"),
            (Kind::Overloaded, "server_error", "overloaded", "overloaded_error"),
            (Kind::FirstByteTooSlow, "server_error", "first_byte_too_slow", "timeout_error"),
            (Kind::AnswerTorn, "server_error", "answer_torn", "api_error"),
            (Kind::Internal, "server_error", "internal", "api_error"),
        ];
        for (kind, openai, code, anthropic) in cases {
            let fault = Fault::new(kind, Phase::Body);
            let json = body(Dialect::OpenAi, &fault);
            assert_eq!(text_at(&json, &["error", "type"]).as_deref(), Some(openai));
            assert_eq!(text_at(&json, &["error", "code"]).as_deref(), Some(code));
            assert_eq!(text_at(&body(Dialect::Anthropic, &fault), &["error", "type"]).as_deref(), Some(anthropic));
        }
    }

    #[test]
    fn types_agree_with_the_status() {
        for &kind in Kind::ALL {
            let server = matches!(class(kind), Class::Busy | Class::Slow | Class::Server);
            assert_eq!(server, kind.status() >= 500, "{}", kind.as_str());
        }
    }

    #[test]
    fn param_is_the_path_that_stands_first() {
        let cases = [
            (
                Kind::NotExpressible,
                "messages[2].content[0].type \"image_url\" can't be carried",
                Some("messages[2].content[0].type"),
            ),
            (Kind::InvalidField, "stop[1] must be text", Some("stop[1]")),
            (Kind::InvalidField, "the body must be an object", None),
            (Kind::InvalidField, "`model` must be text", Some("model")),
            (Kind::NotExpressible, "… is not a field of chat completions", None),
            (Kind::NotExpressible, "n", None),
            (Kind::AnswerNotUnderstood, "content[0].type is \"thinking\"", None),
        ];
        for (kind, detail, wanted) in cases {
            let fault = Fault::with(kind, Phase::Body, detail);
            assert_eq!(text_at(&body(Dialect::OpenAi, &fault), &["error", "param"]).as_deref(), wanted, "{detail}");
        }
    }

    #[test]
    fn an_error_event_is_one_event() {
        let fault = Fault::with(Kind::AnswerTorn, Phase::Stream, "two\nlines");
        let mut out = Vec::new();
        error_event(Dialect::OpenAi, &fault, &mut out);
        assert_eq!(out, format!("data: {}\n\n", body(Dialect::OpenAi, &fault)).as_bytes());
        assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 2);
        out.clear();
        error_event(Dialect::Anthropic, &fault, &mut out);
        assert_eq!(out, format!("event: error\ndata: {}\n\n", body(Dialect::Anthropic, &fault)).as_bytes());
    }
}
