//! Request targets (RFC 9112 section 3.2) and what stands in `Host`: who is asked, and for which path.
//!
//! Nothing is decoded or resolved: no percent-decoding, no dot segments, no doubled slashes merged. A path is one of
//! ours byte for byte, or it is not ours; and a client's path is never forwarded.

use crate::fault::Kind;
use crate::limits::TARGET_BYTES_MAX;

/// A request target in one of the two forms that we serve.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// From the absolute form; it must agree with `Host`.
    pub(super) authority: Option<Authority<'a>>,
    /// Up to the question mark; empty in an absolute form without a path, which means `/`.
    pub(super) path: &'a [u8],
    /// Behind the question mark.
    pub(super) query: Option<&'a [u8]>,
}

/// A host with a port: `uri-host [ ":" port ]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
    /// What no port means: 443 for an https target, else 80.
    default_port: u16,
}

impl<'a> Target<'a> {
    /// Reads the origin form (`/path?query`) and the absolute form (`http://host/path?query`). The authority form,
    /// which is CONNECT's alone, and the asterisk form are refused, as are user information, fragments (a client must
    /// not send one, RFC 9112 section 3.2) and everything but visible ASCII.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Kind> {
        let fits = text.len() <= TARGET_BYTES_MAX && text.iter().all(|&b| b.is_ascii_graphic() && b != b'#');
        if !fits {
            return Err(Kind::MalformedTarget);
        }
        let (authority, rest) = match text.first() {
            Some(b'/') => (None, text),
            _ => {
                let (authority, rest) = split_absolute(text).ok_or(Kind::MalformedTarget)?;
                (Some(authority), rest)
            }
        };
        let (path, query) = match memchr::memchr(b'?', rest) {
            Some(mark) => (&rest[..mark], Some(&rest[mark + 1..])),
            None => (rest, None),
        };
        Ok(Self { authority, path, query })
    }
}

/// Takes scheme and authority off an absolute form; what is left is empty or starts with `/` or `?`.
fn split_absolute(text: &[u8]) -> Option<(Authority<'_>, &[u8])> {
    let (default_port, rest) = match (strip_scheme(text, b"http://"), strip_scheme(text, b"https://")) {
        (Some(rest), _) => (80, rest),
        (None, Some(rest)) => (443, rest),
        (None, None) => return None,
    };
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let authority = Authority::parse(&rest[..end])?;
    Some((Authority { default_port, ..authority }, &rest[end..]))
}

fn strip_scheme<'a>(text: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

impl<'a> Authority<'a> {
    /// Reads a host with or without a port. Stricter than RFC 3986: a name is letters, digits and `-._~` (no percent
    /// codes, no commas, nothing that only a parser would call a host), an address in brackets is a plain IPv6 one,
    /// and a colon is followed by a number up to 65535. There is no room for user information.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let bracketed = text.first() == Some(&b'[');
        let host_len =
            if bracketed { memchr::memchr(b']', text)? + 1 } else { memchr::memchr(b':', text).unwrap_or(text.len()) };
        let (host, rest) = text.split_at(host_len);
        let host_fits = if bracketed { is_ipv6(&host[1..host_len - 1]) } else { is_name(host) };
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(parse_port(digits)?),
            [_, ..] => return None,
        };
        host_fits.then_some(Self { host, port, default_port: 80 })
    }

    /// Whether `host`, the Host field of a request with this authority in its target, means the same place. A port
    /// that is left out is that of this target's scheme, on either side.
    pub(super) fn agrees_with(&self, host: &Self) -> bool {
        self.host.eq_ignore_ascii_case(host.host)
            && self.port.unwrap_or(self.default_port) == host.port.unwrap_or(self.default_port)
    }
}

/// A registered name or an IPv4 address; 253 bytes are the longest name in DNS.
fn is_name(host: &[u8]) -> bool {
    (1..=253).contains(&host.len())
        && host.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

/// One to five digits; `u16::from_str` alone would take a plus sign.
fn parse_port(digits: &[u8]) -> Option<u16> {
    let fits = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_split_where_the_rfc_splits_it() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("/", "/", None),
            ("/v1/models", "/v1/models", None),
            ("/v1/models?", "/v1/models", Some("")),
            ("/a?b?c=/d", "/a", Some("b?c=/d")),
            ("/a%2Fb/../c//d", "/a%2Fb/../c//d", None),
            ("http://a", "", None),
            ("http://a/", "/", None),
            ("http://a?x", "", Some("x")),
            ("HTTPS://a.example:8443/p?q", "/p", Some("q")),
            ("http://[::1]:80/p", "/p", None),
        ];
        for &(text, path, query) in cases {
            let target = Target::parse(text.as_bytes()).expect(text);
            assert_eq!((target.path, target.query), (path.as_bytes(), query.map(str::as_bytes)), "{text}");
        }
    }

    #[test]
    fn other_targets_are_refused() {
        let long = format!("/{}", "a".repeat(TARGET_BYTES_MAX));
        let cases: &[&str] = &[
            "",
            "*",
            "v1/models",
            "example.com:443",
            "ftp://a/",
            "http:/a/",
            "http:a",
            "http://",
            "http:///p",
            "http://u@a/",
            "http://u:p@a/",
            "http://a:/",
            "http://a:65536/",
            "http://a:+80/",
            "http://[::1/",
            "http://[::1]x/",
            "http://[v1.a]/",
            "http://[fe80::1%251]/",
            "http://a,b/",
            "http://a%41/",
            "/a#b",
            "/caf\u{e9}",
            "/a b",
            "/a\tb",
            "/a\u{0}",
            "/a\u{7f}",
            "//a@b\\c d",
            "?a",
            &long,
        ];
        for text in cases {
            assert_eq!(Target::parse(text.as_bytes()), Err(Kind::MalformedTarget), "{text:?}");
        }
    }

    #[test]
    fn authorities_agree_when_they_mean_the_same_place() {
        let cases = [
            ("http://A.example/", "a.EXAMPLE", true),
            ("http://a:80/", "a", true),
            ("http://a/", "a:80", true),
            ("https://a/", "a:443", true),
            ("https://a/", "a", true),
            ("http://[::1]:8080/", "[::1]:8080", true),
            ("https://a/", "a:80", false),
            ("http://a/", "a:8080", false),
            ("http://a/", "b", false),
            ("http://a/", "a.", false),
        ];
        for (target, host, agree) in cases {
            let authority = Target::parse(target.as_bytes()).expect(target).authority.expect(target);
            let host = Authority::parse(host.as_bytes()).expect(host);
            assert_eq!(authority.agrees_with(&host), agree, "{target} {host:?}");
        }
    }
}
