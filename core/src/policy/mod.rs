//! Judging a request: allow, flag or refuse.

/// One `policies[]`, ready to judge.
#[derive(Debug)]
pub struct Policy {
    /// Unique in the file.
    pub name: Box<str>,
    /// What happens on a hit.
    pub action: Action,
    /// Names of the groups it applies to; empty is all of them.
    pub applies_to: Box<[Box<str>]>,
}

impl Policy {
    /// `policies[].type`, the word in config and event.
    pub const fn type_name(&self) -> &'static str {
        "content_filter"
    }
}

/// `policies[].action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The request passes, the event says so.
    Flag,
    /// The request is refused with 403.
    Block,
}

impl Action {
    /// The word in config and event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Block => "block",
        }
    }
}
