//! Credentials: where they are found, and how they are kept from being printed.

use std::fmt;
use std::sync::Arc;

/// What a target shows its vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing: the vendor asks for no key, as a local vLLM or Ollama. The target is available.
    None,
    /// The variable or file that was named is missing, empty or not fit for a header. The target is unavailable.
    Missing,
    /// This key.
    Key(Secret),
}

impl Credential {
    /// Whether requests may be sent with it.
    pub const fn is_available(&self) -> bool {
        match self {
            Self::None | Self::Key(_) => true,
            Self::Missing => false,
        }
    }

    /// What may be said about it: `present`, `missing` or `none`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Missing => "missing",
            Self::Key(_) => "present",
        }
    }
}

/// A credential. It can't be printed by accident: its `Debug` says only that it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes a credential that may stand in a header: visible ASCII, no spaces. `None` for anything else, so that a
    /// key with a line feed can't split a request.
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// The credential itself, for the one place that writes it to a vendor.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a credential is found; reading it is not this floor's business.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// An environment variable.
    Env(Box<str>),
    /// A file; one line end at its end is taken off. A path as written, or from the directory of the config file that
    /// names it.
    File(Box<str>),
}
