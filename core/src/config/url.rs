//! Addresses in the config: where a vendor lives, and where the gateway listens.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::plan::BaseUrl;

/// Why a `base_url` can't be used, and what would help. Neither repeats the URL, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadUrl {
    pub(super) message: &'static str,
    pub(super) suggestion: Option<&'static str>,
}

/// Names longer than this don't exist (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

impl BaseUrl {
    /// Takes `http://` and `https://` URLs (RFC 3986) with a host and maybe a port and a path. A `/v1` at the path's
    /// end is taken off, since every request's path brings its own; what stands before it is kept.
    pub(super) fn parse(text: &str) -> Result<Self, BadUrl> {
        let fail = |message, suggestion| Err(BadUrl { message, suggestion });
        let Some((scheme, rest)) = text.split_once("://") else {
            return fail("has no scheme", Some("write https://HOST or http://HOST"));
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return fail("is neither http nor https", None),
        };
        if rest.contains(['?', '#']) {
            return fail("has a query or a fragment", Some("end it with the path"));
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.contains('@') {
            return fail("has a user or a password in it", Some("name the key under secret_key_ref"));
        }
        let (host, port) = split_port(authority).map_err(|message| BadUrl { message, suggestion: None })?;
        let host = normal_host(host)?;
        let prefix = prefix(path)?;

        let usual = if tls { 443 } else { 80 };
        let port = port.unwrap_or(usual);
        let written = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let authority = if port == usual { written } else { format!("{written}:{port}") };
        Ok(Self { tls, host: host.into(), port, authority: authority.into(), prefix: prefix.into() })
    }

    /// The URL again, in its normal form: lower-case host, no default port, no `/v1`.
    pub fn as_url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.prefix)
    }
}

/// `HOST:PORT` or `[ADDRESS]:PORT`; the brackets stay with the host.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let end = if authority.starts_with('[') {
        authority.find(']').ok_or("has a bracket that is never closed")? + 1
    } else {
        if authority.matches(':').count() > 1 {
            return Err("has more than one colon outside brackets; an IPv6 address needs them");
        }
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(end);
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        None => Err("has something between its address and its port"),
        Some(digits) => {
            Ok((host, Some(port(digits).filter(|&port| port > 0).ok_or("has a port that is not 1 to 65535")?)))
        }
    }
}

/// Digits only: `u16` alone would take a sign.
fn port(digits: &str) -> Option<u16> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}

/// The host in lower case and without brackets.
fn normal_host(host: &str) -> Result<String, BadUrl> {
    let fail = |message, suggestion| Err(BadUrl { message, suggestion });
    if host.is_empty() {
        return fail("has no host", None);
    }
    if !host.is_ascii() {
        return fail("has a host that is not ASCII", Some("write the name in punycode, xn--…"));
    }
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => fail("has brackets without an IPv6 address", None),
        };
    }
    if is_name_or_ipv4(host) { Ok(host.to_ascii_lowercase()) } else { fail("has a malformed host", None) }
}

/// Whether a resolver would take it. Underscores are no host names (RFC 952) but common in container networks. A name
/// whose last label is a number is an address, or a mistake (WHATWG URL, section 3.5).
fn is_name_or_ipv4(host: &str) -> bool {
    let is_label = |label: &str| {
        let fits = !label.is_empty() && label.len() <= LABEL_BYTES_MAX;
        fits && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let is_number = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if is_number {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    host.len() <= HOST_BYTES_MAX && host.split('.').all(is_label)
}

/// The path without slashes and `/v1`s at its end.
fn prefix(path: &str) -> Result<&str, BadUrl> {
    // The characters of RFC 3986's pchar, and the slash.
    let is_path_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/".contains(&b);
    if !path.bytes().all(is_path_byte) {
        return Err(BadUrl { message: "has a character in its path that has to be percent-encoded", suggestion: None });
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(BadUrl { message: "has a \".\" or \"..\" in its path", suggestion: None });
    }
    let mut path = path.trim_end_matches('/');
    while let Some(shorter) = path.strip_suffix("/v1") {
        path = shorter.trim_end_matches('/');
    }
    Ok(path)
}

/// Whether a gateway can listen there: `0.0.0.0:41002`, `[::]:41002`, `localhost:0`.
pub(super) fn is_listen_address(text: &str) -> bool {
    let Some((host, digits)) = text.rsplit_once(':') else { return false };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_name_or_ipv4(host),
    };
    is_host && port(digits).is_some()
}

/// Whether a gateway can listen there: `unix:` and the path of a socket from the root on, which has at most 107 bytes
/// (unix(7)).
pub(super) fn is_socket_path(text: &str) -> bool {
    const SOCKET_PATH_BYTES_MAX: usize = 107;
    let Some(path) = text.strip_prefix("unix:") else { return false };
    path.starts_with('/') && !path.ends_with('/') && path.len() <= SOCKET_PATH_BYTES_MAX && !path.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_taken_apart() {
        /// tls, host, port, authority, prefix.
        type Parts = (bool, &'static str, u16, &'static str, &'static str);
        let cases: &[(&str, Parts)] = &[
            ("https://api.openai.com", (true, "api.openai.com", 443, "api.openai.com", "")),
            ("https://api.openai.com/", (true, "api.openai.com", 443, "api.openai.com", "")),
            ("https://api.openai.com/v1", (true, "api.openai.com", 443, "api.openai.com", "")),
            ("https://api.openai.com/v1/", (true, "api.openai.com", 443, "api.openai.com", "")),
            ("https://api.openai.com/v1/v1//", (true, "api.openai.com", 443, "api.openai.com", "")),
            ("https://gw.example/openai/v1", (true, "gw.example", 443, "gw.example", "/openai")),
            ("https://gw.example/av1", (true, "gw.example", 443, "gw.example", "/av1")),
            ("https://gw.example/v1/eu", (true, "gw.example", 443, "gw.example", "/v1/eu")),
            ("HTTPS://API.OpenAI.com:443", (true, "api.openai.com", 443, "api.openai.com", "")),
            ("http://localhost:11434/v1", (false, "localhost", 11434, "localhost:11434", "")),
            ("http://127.0.0.1:80", (false, "127.0.0.1", 80, "127.0.0.1", "")),
            ("http://[::1]:8000/v1", (false, "::1", 8000, "[::1]:8000", "")),
            ("https://[2001:DB8:0::1]", (true, "2001:db8::1", 443, "[2001:db8::1]", "")),
            ("http://my_vllm:8000", (false, "my_vllm", 8000, "my_vllm:8000", "")),
        ];
        for &(text, (tls, host, port, authority, prefix)) in cases {
            let url = BaseUrl::parse(text).unwrap_or_else(|bad| panic!("{text}: {bad:?}"));
            let parts = (url.tls, &*url.host, url.port, &*url.authority, &*url.prefix);
            assert_eq!(parts, (tls, host, port, authority, prefix), "{text}");
            assert_eq!(BaseUrl::parse(&url.as_url()), Ok(url), "{text}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        let cases: &[(&str, &str)] = &[
            ("", "has no scheme"),
            ("api.openai.com", "has no scheme"),
            ("ftp://api.openai.com", "is neither http nor https"),
            ("https://", "has no host"),
            ("https:///v1", "has no host"),
            ("https://:443", "has no host"),
            ("https://user:secret@host", "has a user or a password in it"),
            ("https://host?x=1", "has a query or a fragment"),
            ("https://host/v1#x", "has a query or a fragment"),
            ("https://host:", "has a port that is not 1 to 65535"),
            ("https://host:0", "has a port that is not 1 to 65535"),
            ("https://host:65536", "has a port that is not 1 to 65535"),
            ("https://host:+1", "has a port that is not 1 to 65535"),
            ("https://::1", "has more than one colon outside brackets; an IPv6 address needs them"),
            ("https://[::1", "has a bracket that is never closed"),
            ("https://[::1]x:1", "has something between its address and its port"),
            ("https://[1.2.3.4]", "has brackets without an IPv6 address"),
            ("https://[fe80::1%25eth0]", "has brackets without an IPv6 address"),
            ("https://bücher.example", "has a host that is not ASCII"),
            ("https://a b", "has a malformed host"),
            ("https://a..b", "has a malformed host"),
            ("https://host.", "has a malformed host"),
            ("https://-a.b", "has a malformed host"),
            ("https://1.2.3", "has a malformed host"),
            ("https://256.1.1.1", "has a malformed host"),
            ("https://host\\evil", "has a malformed host"),
            ("https://host/a b", "has a character in its path that has to be percent-encoded"),
            ("https://host/é", "has a character in its path that has to be percent-encoded"),
            ("https://host/a\r\nx", "has a character in its path that has to be percent-encoded"),
            ("https://host/a/../b", "has a \".\" or \"..\" in its path"),
        ];
        for &(text, message) in cases {
            assert_eq!(BaseUrl::parse(text).map_err(|bad| bad.message), Err(message), "{text}");
        }
    }

    #[test]
    fn a_listen_address_has_a_host_and_a_port() {
        for text in ["0.0.0.0:41002", "[::]:0", "localhost:8080", "gateway.internal:1"] {
            assert!(is_listen_address(text), "{text}");
        }
        for text in
            ["", "41002", ":41002", "localhost", "::1:80", "[::1]", "host:65536", "host:+1", "host:", "1.2.3:80"]
        {
            assert!(!is_listen_address(text), "{text}");
        }
    }

    #[test]
    fn a_socket_has_a_path_from_the_root_on() {
        assert!(is_socket_path("unix:/run/kt/kt.sock"));
        assert!(is_socket_path(&format!("unix:/{}", "a".repeat(106))));
        for text in ["unix:", "unix:kt.sock", "unix:/run/", "/run/kt.sock", "UNIX:/kt.sock", "unix:/a\0b", "unix::1"] {
            assert!(!is_socket_path(text), "{text}");
        }
        assert!(!is_socket_path(&format!("unix:/{}", "a".repeat(107))));
    }
}
