//! Texts that an operator doesn't want to serve, found by plain phrases.
//!
//! Each category has a list of phrases (`phrases.rs`), each with a severity. A phrase is found where it stands between
//! word boundaries, in any ASCII case, spelled as in the list: this catches the plain case and nothing clever. It is no
//! moderation model and doesn't know what a text means.

use aho_corasick::AhoCorasick;

use super::phrases::{PHRASES, Severity};

/// One rule of `type: content_filter`.
#[derive(Debug)]
pub(super) struct ContentFilter {
    automaton: AhoCorasick,
    /// Category of each of the automaton's phrases.
    categories: Box<[Category]>,
}

/// `policies[].config.categories[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Contempt for groups of people.
    Hate,
    /// Attacks on one person.
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
    /// Everything counts, mere rudeness included.
    Low,
    /// What most operators would not want to see.
    Medium,
    /// Only the worst.
    High,
}

impl ContentFilter {
    pub(super) fn new(categories: &[Category], threshold: Threshold) -> Self {
        let wanted = PHRASES
            .iter()
            .filter(|list| categories.contains(&list.category) && threshold.counts(list.severity))
            .flat_map(|list| list.phrases.iter().map(|phrase| (*phrase, list.category)));
        let (phrases, categories): (Vec<&str>, Vec<Category>) = wanted.unzip();
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&phrases)
            .expect("our own few hundred short phrases are far below the automaton's limits");
        Self { automaton, categories: categories.into() }
    }

    /// The category of the first phrase that ends in the text.
    pub(super) fn find(&self, text: &str) -> Option<Category> {
        // Overlapping, so that a phrase in the middle of a word doesn't hide another one that begins within it.
        let mut hits = self.automaton.find_overlapping_iter(text);
        let hit = hits.find(|hit| stands_alone(text, hit.start(), hit.end()))?;
        Some(self.categories[hit.pattern().as_usize()])
    }
}

/// Whether no letter or digit touches the piece of `text` from `start` to `end`. The phrases are ASCII, so both are
/// character boundaries.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let (before, after) = (&text[..start], &text[end..]);
    !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
}

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

    /// Whether a phrase of this severity counts.
    const fn counts(self, severity: Severity) -> bool {
        match self {
            Self::Low => true,
            Self::Medium => matches!(severity, Severity::Medium | Severity::High),
            Self::High => matches!(severity, Severity::High),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_found_between_word_boundaries_only() {
        let filter = ContentFilter::new(&[Category::Hate], Threshold::Medium);
        let cases = [
            ("subhuman", true),
            ("SUBHUMAN.", true),
            ("(subhuman)", true),
            ("“subhuman”", true),
            ("so-called-subhuman-thing", true),
            ("subhumanity", false),
            ("xsubhuman", false),
            ("subhuman7", false),
            ("ésubhuman", false),
            ("subhumané", false),
            ("xsubhuman subhuman", true),
            ("sub human", false),
            ("they dream of Ethnic Cleansing", true),
            ("a clean kitchen", false),
            ("", false),
        ];
        for (text, found) in cases {
            assert_eq!(filter.find(text).is_some(), found, "{text}");
        }
    }

    #[test]
    fn the_threshold_says_how_severe_a_text_must_be() {
        for list in PHRASES {
            for threshold in Threshold::ALL {
                let filter = ContentFilter::new(&[list.category], threshold);
                for phrase in list.phrases {
                    let text = format!("well, {phrase}!");
                    let wanted = threshold.counts(list.severity).then_some(list.category);
                    assert_eq!(filter.find(&text), wanted, "{phrase} at {}", threshold.as_str());
                }
            }
        }
    }

    #[test]
    fn only_the_named_categories_are_looked_for() {
        let all = ContentFilter::new(&Category::ALL, Threshold::Low);
        assert_eq!(all.find("a pipe bomb"), Some(Category::Violence));
        assert_eq!(ContentFilter::new(&[Category::Sexual], Threshold::Low).find("a pipe bomb"), None);
        assert_eq!(ContentFilter::new(&[], Threshold::Low).find("a pipe bomb"), None);
    }

    #[test]
    fn every_word_of_a_config_is_read_back() {
        for category in Category::ALL {
            assert_eq!(Category::parse(category.as_str()), Some(category));
        }
        for threshold in Threshold::ALL {
            assert_eq!(Threshold::parse(threshold.as_str()), Some(threshold));
        }
        assert_eq!(Category::parse("self-harm"), Some(Category::SelfHarm));
        assert_eq!(Category::parse("Hate"), None);
        assert_eq!(Threshold::parse(""), None);
    }

    #[test]
    fn every_category_has_phrases_of_each_severity_all_in_plain_ascii() {
        for category in Category::ALL {
            for severity in [Severity::Low, Severity::Medium, Severity::High] {
                let mut lists = PHRASES.iter().filter(|list| list.category == category && list.severity == severity);
                assert!(lists.any(|list| !list.phrases.is_empty()), "{} {severity:?}", category.as_str());
            }
        }
        for phrase in PHRASES.iter().flat_map(|list| list.phrases) {
            assert!(phrase.bytes().all(|b| b.is_ascii_lowercase() || b == b' ' || b == b'-'), "{phrase}");
            assert!(phrase.len() >= 4 && phrase.trim() == *phrase, "{phrase}");
        }
    }
}
