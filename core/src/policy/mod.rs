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
    /// What it looks for.
    pub categories: Vec<Category>,
    /// How sure it has to be.
    pub threshold: Threshold,
}

impl Policy {
    /// A filter that looks for these categories in what is said.
    pub fn content_filter(
        name: Box<str>,
        action: Action,
        applies_to: Box<[Box<str>]>,
        categories: Vec<Category>,
        threshold: Threshold,
    ) -> Self {
        Self { name, action, applies_to, categories, threshold }
    }
}

/// What a content filter looks for: `policies[].config.categories[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// Hatred of a group of people.
    Hate,
    /// Harassment of a person.
    Harassment,
    /// Violence.
    Violence,
    /// Self-harm.
    SelfHarm,
    /// Sexual content.
    Sexual,
}

impl Category {
    /// Every category, in the order of this file.
    pub const ALL: &'static [Self] = &[Self::Hate, Self::Harassment, Self::Violence, Self::SelfHarm, Self::Sexual];

    /// The category of this name; `self-harm` is taken for `self_harm`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = if text == "self-harm" { "self_harm" } else { text };
        Self::ALL.iter().copied().find(|category| category.as_str() == text)
    }

    /// The word in config and event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hate => "hate",
            Self::Harassment => "harassment",
            Self::Violence => "violence",
            Self::SelfHarm => "self_harm",
            Self::Sexual => "sexual",
        }
    }
}

/// How sure a content filter has to be: `policies[].config.threshold`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threshold {
    /// Flags the most.
    Low,
    /// The default.
    #[default]
    Medium,
    /// Flags the least.
    High,
}

impl Threshold {
    /// Every threshold, from the one that flags the most.
    pub const ALL: &'static [Self] = &[Self::Low, Self::Medium, Self::High];

    /// The threshold of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|threshold| threshold.as_str() == text)
    }

    /// The word in config and event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
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
