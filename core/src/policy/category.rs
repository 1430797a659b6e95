//! What is looked for, and how bad it is.

/// `policies[].config.categories[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// Contempt for people for what they are: their origin, faith, sex, disability and the like.
    Hate,
    /// Attacks on one person: threats, insults, stalking.
    Harassment,
    /// Bodily harm to others.
    Violence,
    /// Bodily harm to oneself.
    SelfHarm,
    /// Sexual content.
    Sexual,
}

/// `policies[].config.threshold`: how severe a text must be to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// Everything counts, a mere mention included.
    Low,
    /// What most operators would not want to see.
    Medium,
    /// Only the worst.
    High,
}

/// How bad a text is: the lexicon's grade of a term, or the band of a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing was found.
    #[default]
    None,
    /// A score of 0.25 or more.
    Low,
    /// A score of 0.5 or more.
    Medium,
    /// A score of 0.85 or more.
    High,
}

/// How many categories there are.
pub const CATEGORIES: usize = Category::ALL.len();

impl Category {
    /// Every category.
    pub const ALL: [Self; 5] = [Self::Hate, Self::Harassment, Self::Violence, Self::SelfHarm, Self::Sexual];

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

    /// Reads the word of a config; `self-harm` is OpenAI's spelling and taken too.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|category| category.as_str() == word)
            .or((word == "self-harm").then_some(Self::SelfHarm))
    }
}

impl Threshold {
    /// Every threshold.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The word in config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// Reads the word of a config.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|threshold| threshold.as_str() == word)
    }

    /// Whether a text of this severity counts. What a threshold lets count, those below it let count too.
    pub fn counts(self, severity: Severity) -> bool {
        severity
            >= match self {
                Self::Low => Severity::Low,
                Self::Medium => Severity::Medium,
                Self::High => Severity::High,
            }
    }
}

impl Severity {
    /// The word in event and explanation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The band that a score lies in.
    pub fn of(score: f32) -> Self {
        [Self::High, Self::Medium, Self::Low].into_iter().find(|band| score >= band.least_score()).unwrap_or_default()
    }

    /// The least score of this band.
    pub const fn least_score(self) -> f32 {
        match self {
            Self::None => 0.0,
            Self::Low => 0.25,
            Self::Medium => 0.5,
            Self::High => 0.85,
        }
    }

    /// The next band below.
    pub(super) const fn eased(self) -> Self {
        match self {
            Self::None | Self::Low => Self::None,
            Self::Medium => Self::Low,
            Self::High => Self::Medium,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_printed() {
        for category in Category::ALL {
            assert_eq!(Category::parse(category.as_str()), Some(category));
        }
        for threshold in Threshold::ALL {
            assert_eq!(Threshold::parse(threshold.as_str()), Some(threshold));
        }
        assert_eq!(Category::parse("self-harm"), Some(Category::SelfHarm));
        assert_eq!((Category::parse("Hate"), Threshold::parse("MEDIUM")), (None, None));
    }

    #[test]
    fn what_a_threshold_catches_those_below_it_catch_too() {
        for score in 0_u8..=100 {
            let severity = Severity::of(f32::from(score) / 100.0);
            assert!(Threshold::Medium.counts(severity) || !Threshold::High.counts(severity), "{score}");
            assert!(Threshold::Low.counts(severity) || !Threshold::Medium.counts(severity), "{score}");
            assert_eq!(Threshold::Low.counts(severity), score >= 25);
            assert_eq!(Threshold::High.counts(severity), score >= 85);
        }
    }
}
