//! What passes between client and vendor beside the body: paths, credentials, and the header fields of either
//! direction. Both directions are allow-lists, so a field nobody thought of stays where it is.
//!
//! Names are compared without regard to ASCII case and without allocation (RFC 9110 section 5.1). How fields are read
//! and written is [`http1`](crate::http1)'s business.

use super::Dialect;

/// The field that carries a target's key, and what stands before the key in its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The field's name, lower case.
    pub name: &'static str,
    /// What stands before the key: `Bearer `, or nothing.
    pub prefix: &'static str,
}

/// The version of Anthropic's API that is asked for when the client names none. Without it the vendor answers 400
/// (docs.anthropic.com/en/api/versioning: it is the only version since 2023).
pub const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Passes to a vendor of either dialect. `accept-encoding` isn't here: what goes out is always our own `identity`, since
/// a coded answer could be neither counted nor translated.
const TO_ANY_VENDOR: [&[u8]; 6] =
    [b"content-type", b"accept", b"user-agent", b"idempotency-key", b"traceparent", b"tracestate"];

/// Passes to Anthropic only.
const TO_ANTHROPIC: [&[u8]; 2] = [b"anthropic-beta", b"anthropic-version"];

/// Passes to a client. `set-cookie` and the vendor's names for the operator's account (`openai-organization`,
/// `openai-project`) don't, by not standing here.
const TO_CLIENT: [&[u8]; 7] = [
    b"content-type",
    b"content-encoding",
    b"retry-after",
    b"retry-after-ms",
    b"x-should-retry",
    b"openai-processing-ms",
    b"openai-version",
];

/// Passes to a client whatever follows.
const TO_CLIENT_PREFIXES: (&[u8; 12], &[u8; 20]) = (b"x-ratelimit-", b"anthropic-ratelimit-");

/// Where a vendor's chat endpoint is, behind the target's `base_url`.
pub const fn path(vendor: Dialect) -> &'static str {
    match vendor {
        Dialect::OpenAi => "/v1/chat/completions",
        Dialect::Anthropic => "/v1/messages",
    }
}

/// How a vendor wants its key.
pub const fn credential(vendor: Dialect) -> Credential {
    match vendor {
        Dialect::OpenAi => Credential { name: "authorization", prefix: "Bearer " },
        Dialect::Anthropic => Credential { name: "x-api-key", prefix: "" },
    }
}

/// A field that the vendor insists on, as name and value, to be sent unless the client's own passes.
pub const fn required(vendor: Dialect) -> Option<(&'static str, &'static str)> {
    match vendor {
        Dialect::OpenAi => None,
        Dialect::Anthropic => Some(("anthropic-version", ANTHROPIC_VERSION)),
    }
}

/// The fields in which a client's library looks for the id of its request.
pub const fn request_id_fields(client: Dialect) -> &'static [&'static str] {
    match client {
        Dialect::OpenAi => &["x-request-id"],
        Dialect::Anthropic => &["x-request-id", "request-id"],
    }
}

/// How the id of an answer begins in a client's language.
pub const fn answer_id_prefix(client: Dialect) -> &'static str {
    match client {
        Dialect::OpenAi => "chatcmpl-",
        Dialect::Anthropic => "msg_",
    }
}

/// The language that a client speaks if it sends this header field; none if the field doesn't tell. Anthropic's clients
/// name the version of the API in every request.
pub fn shown_by(name: &[u8]) -> Option<Dialect> {
    name.eq_ignore_ascii_case(b"anthropic-version").then_some(Dialect::Anthropic)
}

/// Whether a client's header field goes on to a vendor.
pub fn passes_to_vendor(name: &[u8], vendor: Dialect) -> bool {
    is_one_of(name, &TO_ANY_VENDOR)
        || match vendor {
            Dialect::OpenAi => begins_with(name, b"openai-"),
            Dialect::Anthropic => is_one_of(name, &TO_ANTHROPIC),
        }
}

/// Whether a vendor's header field goes on to the client.
pub fn passes_to_client(name: &[u8]) -> bool {
    let (openai, anthropic) = TO_CLIENT_PREFIXES;
    begins_with(name, openai) || is_one_of(name, &TO_CLIENT) || begins_with(name, anthropic)
}

/// Whether a vendor's header field holds its id of the request; the client sees it as `x-upstream-request-id`.
/// OpenAI says `x-request-id`, Anthropic `request-id`, and compatible vendors either.
pub fn is_request_id(name: &[u8]) -> bool {
    is_one_of(name, &[b"x-request-id", b"request-id"])
}

/// Inlined, so that each name is a comparison of a known length: most are told apart by that and their first letter.
#[inline(always)]
fn is_one_of<const N: usize>(name: &[u8], names: &[&[u8]; N]) -> bool {
    names
        .iter()
        .any(|known| name.len() == known.len() && name[0] | 0x20 == known[0] && name.eq_ignore_ascii_case(known))
}

/// The prefix is of lower case letters and hyphens, the name a token: there the bit that is set here makes a letter lower
/// case and changes nothing else into what the prefix has.
fn begins_with<const N: usize>(name: &[u8], prefix: &[u8; N]) -> bool {
    let is_it = |start: &[u8; N]| start[0] | 0x20 == prefix[0] && start.map(|byte| byte | 0x20) == *prefix;
    name.first_chunk().is_some_and(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field name, passes to OpenAI, passes to Anthropic.
    const TO_VENDORS: &[(&str, bool, bool)] = &[
        ("content-type", true, true),
        ("Content-Type", true, true),
        ("ACCEPT", true, true),
        ("User-Agent", true, true),
        ("Idempotency-Key", true, true),
        ("traceparent", true, true),
        ("tracestate", true, true),
        ("OpenAI-Organization", true, false),
        ("openai-beta", true, false),
        ("openai-", true, false),
        ("openai", false, false),
        ("anthropic-beta", false, true),
        ("Anthropic-Version", false, true),
        ("anthropic-dangerous-direct-browser-access", false, false),
        ("accept-encoding", false, false),
        ("authorization", false, false),
        ("Authorization", false, false),
        ("x-api-key", false, false),
        ("api-key", false, false),
        ("cookie", false, false),
        ("x-kt-anything", false, false),
        ("x-stainless-lang", false, false),
        ("content-length", false, false),
        ("transfer-encoding", false, false),
        ("host", false, false),
        ("connection", false, false),
        ("x-forwarded-for", false, false),
        ("accept-", false, false),
        ("", false, false),
    ];

    #[test]
    fn only_listed_fields_pass_to_a_vendor() {
        for &(name, openai, anthropic) in TO_VENDORS {
            assert_eq!(passes_to_vendor(name.as_bytes(), Dialect::OpenAi), openai, "{name} to OpenAI");
            assert_eq!(passes_to_vendor(name.as_bytes(), Dialect::Anthropic), anthropic, "{name} to Anthropic");
        }
    }

    #[test]
    fn only_listed_fields_pass_to_a_client() {
        let passing = [
            "content-type",
            "Content-Encoding",
            "Retry-After",
            "retry-after-ms",
            "x-should-retry",
            "x-ratelimit-remaining-tokens",
            "X-RateLimit-Reset-Requests",
            "anthropic-ratelimit-output-tokens-limit",
            "openai-processing-ms",
            "openai-version",
        ];
        let staying = [
            "set-cookie",
            "openai-organization",
            "openai-project",
            "anthropic-organization-id",
            "x-request-id",
            "request-id",
            "server",
            "cf-ray",
            "content-length",
            "transfer-encoding",
            "connection",
            "strict-transport-security",
            "x-ratelimi",
            "",
        ];
        for name in passing {
            assert!(passes_to_client(name.as_bytes()), "{name}");
        }
        for name in staying {
            assert!(!passes_to_client(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_credential_never_passes_by_the_allow_list() {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            for vendor in [Dialect::OpenAi, Dialect::Anthropic] {
                assert!(!passes_to_vendor(credential(dialect).name.as_bytes(), vendor));
            }
        }
    }

    #[test]
    fn what_a_vendor_insists_on_may_come_from_the_client() {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            if let Some((name, _)) = required(dialect) {
                assert!(passes_to_vendor(name.as_bytes(), dialect));
            }
        }
    }

    #[test]
    fn a_client_of_anthropics_shows_it() {
        assert_eq!(shown_by(b"Anthropic-Version"), Some(Dialect::Anthropic));
        assert_eq!(shown_by(b"anthropic-beta").or(shown_by(b"openai-organization")), None);
    }

    #[test]
    fn both_spellings_of_a_request_id_are_known() {
        assert!(is_request_id(b"X-Request-Id") && is_request_id(b"request-id"));
        assert!(!is_request_id(b"x-request-ids") && !is_request_id(b""));
    }
}
