//! Who is asked: from a URL to an address, a path and the fields that a vendor wants.

use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;
use kt_core::dialect::{self, Dialect};
use kt_proxy::listen::{Address, UNIX};
use kt_proxy::tls;
use rustls::ClientConfig;

/// Who is asked.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// The value of `host`.
    pub authority: String,
    /// The request target.
    pub path: String,
    /// Further fields of each request.
    pub fields: Vec<(String, String)>,
    /// The name on its certificate, and what is trusted; `None` for plain HTTP.
    pub tls: Option<(String, Arc<ClientConfig>)>,
    /// What to name as `model`.
    pub model: String,
    /// The language that its answers are in.
    pub dialect: Dialect,
}

impl Target {
    /// The target that a URL means: a base URL, with or without `/v1`, or that of the endpoint itself. One that ends with
    /// `/messages` is asked in Anthropic's language, any other in OpenAI's. A Unix socket is `unix:/PATH`, or
    /// `unix:/PATH:/v1/messages` where the endpoint is to be said. Asks the system for the name's address, so it may
    /// block. `key` is shown as the language wants it.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the URL, or that there is no such name.
    pub fn of_url(url: &str, model: &str, key: Option<&str>) -> Result<Self, String> {
        let say = |what: &str| format!("{url}: {what}");
        if let Some(rest) = url.strip_prefix(UNIX) {
            let (path, uri) = rest.rsplit_once(":/").map_or((rest, ""), |(path, _)| (path, &rest[path.len() + 1..]));
            if !path.starts_with('/') {
                return Err(say("write unix:/PATH, from the root on"));
            }
            let ((dialect, path), socket) = (endpoint(uri), PathBuf::from(path));
            let address = Address::Unix(socket);
            return Self::new(address.clone(), authority(&address), path, None, model, key, dialect);
        }
        let uri: Uri = url.parse().map_err(|error| say(&format!("not a URL ({error})")))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(say("write http://HOST or https://HOST")),
        };
        let authority = uri.authority().ok_or_else(|| say("names no host"))?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(say("a user, a password or a query has no meaning here"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let mut addresses = (host.as_str(), port).to_socket_addrs().map_err(|error| say(&error.to_string()))?;
        let address = addresses.next().ok_or_else(|| say("the name has no address"))?;

        let (dialect, path) = endpoint(uri.path());
        let trust = if tls { Some((host, tls::default_config()?)) } else { None };
        let authority = authority.as_str().to_owned();
        Self::new(Address::Ip(address), authority, path, trust, model, key, dialect)
    }

    fn new(
        address: Address,
        authority: String,
        path: String,
        tls: Option<(String, Arc<ClientConfig>)>,
        model: &str,
        key: Option<&str>,
        dialect: Dialect,
    ) -> Result<Self, String> {
        let credential = dialect::credential(dialect);
        let key = key.map(|key| (credential.name.to_owned(), format!("{}{key}", credential.prefix)));
        let required = dialect::required(dialect).map(|(name, value)| (name.to_owned(), value.to_owned()));
        let fields: Vec<(String, String)> = key.into_iter().chain(required).collect();
        if fields.iter().any(|(_, value)| !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')) {
            return Err("the key holds characters that no key has".to_owned());
        }
        Ok(Self { address, authority, path, fields, tls, model: model.to_owned(), dialect })
    }
}

/// What names a target in `host`: a socket has no name of its own.
pub fn authority(address: &Address) -> String {
    match address {
        Address::Ip(address) => address.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    }
}

/// The language and the path of the endpoint that a URL's path means.
fn endpoint(path: &str) -> (Dialect, String) {
    let path = path.trim_end_matches('/');
    let anthropic = path.ends_with("/messages");
    if anthropic || path.ends_with("/chat/completions") {
        let dialect = if anthropic { Dialect::Anthropic } else { Dialect::OpenAi };
        return (dialect, path.to_owned());
    }
    let base = path.strip_suffix("/v1").unwrap_or(path);
    (Dialect::OpenAi, format!("{base}{}", dialect::path(Dialect::OpenAi)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_name_the_vendor_or_the_endpoint() {
        let cases = [
            ("http://127.0.0.1:7", "/v1/chat/completions", "127.0.0.1:7"),
            ("http://127.0.0.1:7/", "/v1/chat/completions", "127.0.0.1:7"),
            ("http://127.0.0.1:7/v1/", "/v1/chat/completions", "127.0.0.1:7"),
            ("http://127.0.0.1:7/openai/v1", "/openai/v1/chat/completions", "127.0.0.1:7"),
            ("http://127.0.0.1:7/v1/chat/completions", "/v1/chat/completions", "127.0.0.1:7"),
            ("http://[::1]:7/a", "/a/v1/chat/completions", "[::1]:7"),
            ("http://127.0.0.1", "/v1/chat/completions", "127.0.0.1:80"),
        ];
        for (url, path, address) in cases {
            let target = Target::of_url(url, "m", Some("sk")).unwrap();
            assert_eq!(
                (target.path.as_str(), target.address.clone()),
                (path, Address::Ip(address.parse().unwrap())),
                "{url}"
            );
            assert_eq!(target.fields, [("authorization".to_owned(), "Bearer sk".to_owned())]);
        }
    }

    #[test]
    fn a_unix_socket_may_name_the_endpoint() {
        let cases = [
            ("unix:/run/kt.sock", "/run/kt.sock", "/v1/chat/completions"),
            ("unix:/run/kt.sock:/v1", "/run/kt.sock", "/v1/chat/completions"),
            ("unix:/run/a:b.sock:/v1/messages", "/run/a:b.sock", "/v1/messages"),
        ];
        for (url, socket, path) in cases {
            let target = Target::of_url(url, "m", None).unwrap();
            assert_eq!((target.address, target.path.as_str()), (Address::Unix(socket.into()), path), "{url}");
        }
        assert!(Target::of_url("unix:kt.sock", "m", None).unwrap_err().contains("from the root on"));
    }

    #[test]
    fn messages_are_anthropics() {
        let target = Target::of_url("http://127.0.0.1:7/v1/messages", "claude", Some("sk")).unwrap();
        assert_eq!((target.path.as_str(), target.dialect), ("/v1/messages", Dialect::Anthropic));
        assert_eq!(target.fields[0], ("x-api-key".to_owned(), "sk".to_owned()));
        assert_eq!(target.fields[1].0, "anthropic-version");
    }

    #[test]
    fn what_is_no_url_is_said() {
        let cases = [
            ("127.0.0.1:80", "write http://HOST"),
            ("ftp://127.0.0.1/", "write http://HOST"),
            ("http://sk@127.0.0.1/", "no meaning here"),
            ("http://127.0.0.1/?a", "no meaning here"),
            ("http://no such host/", "not a URL"),
        ];
        for (url, says) in cases {
            let why = Target::of_url(url, "m", None).unwrap_err();
            assert!(why.contains(says), "{url}: {why}");
        }
        assert!(Target::of_url("http://127.0.0.1", "m", Some("a\r\nb")).is_err());
    }
}
