//! What the content filter looks for: plain phrases, written for this list, without slurs.
//!
//! Short and blunt on purpose. A phrase stands here if it says by itself what it says: a word that is as often innocent
//! (`shoot`, `kill` of a process) doesn't, or only at the lowest severity.

use super::content_filter::Category;

/// Phrases of one category that weigh alike.
#[derive(Debug)]
pub(super) struct List {
    pub(super) category: Category,
    pub(super) severity: Severity,
    /// Lower case ASCII, single spaces.
    pub(super) phrases: &'static [&'static str],
}

/// How bad a phrase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Rude, or a matter that some would rather not have.
    Low,
    /// Unwanted in most places.
    Medium,
    /// Unwanted everywhere.
    High,
}

/// All of them.
pub(super) const PHRASES: &[List] = &[
    List {
        category: Category::Hate,
        severity: Severity::High,
        phrases: &[
            "ethnic cleansing",
            "racial purity",
            "racially pure",
            "master race",
            "race war",
            "exterminate them all",
            "wipe them all out",
            "rid the world of them",
            "they all deserve to die",
            "they should be exterminated",
        ],
    },
    List {
        category: Category::Hate,
        severity: Severity::Medium,
        phrases: &[
            "subhuman",
            "subhumans",
            "inferior race",
            "inferior races",
            "superior race",
            "racially inferior",
            "racially superior",
            "racial superiority",
            "go back to your country",
            "they are vermin",
            "they are not human",
            "they breed like",
            "dirty immigrants",
            "dirty foreigners",
        ],
    },
    List {
        category: Category::Hate,
        severity: Severity::Low,
        phrases: &[
            "bigot",
            "bigots",
            "racist",
            "racists",
            "xenophobe",
            "xenophobic",
            "i hate those people",
            "their kind",
        ],
    },
    List {
        category: Category::Harassment,
        severity: Severity::High,
        phrases: &[
            "you deserve to die",
            "i hope you die",
            "go and die",
            "the world is better without you",
            "i know where you live",
            "i will ruin your life",
            "i will make you suffer",
            "watch your back",
        ],
    },
    List {
        category: Category::Harassment,
        severity: Severity::Medium,
        phrases: &[
            "you are worthless",
            "you are pathetic",
            "you are disgusting",
            "you disgust me",
            "nobody likes you",
            "everyone hates you",
            "doxx",
            "doxxing",
            "stalk her",
            "stalk him",
            "find out where she lives",
            "find out where he lives",
        ],
    },
    List {
        category: Category::Harassment,
        severity: Severity::Low,
        phrases: &["idiot", "idiots", "moron", "morons", "imbecile", "shut up", "you are stupid", "such a loser"],
    },
    List {
        category: Category::Violence,
        severity: Severity::High,
        phrases: &[
            "pipe bomb",
            "nail bomb",
            "car bomb",
            "build a bomb",
            "make a bomb",
            "mass shooting",
            "school shooting",
            "behead",
            "beheading",
            "torture someone",
            "murder someone",
            "get away with murder",
            "poison someone",
            "hire a hitman",
        ],
    },
    List {
        category: Category::Violence,
        severity: Severity::Medium,
        phrases: &[
            "massacre",
            "slaughter them",
            "stab him",
            "stab her",
            "strangle him",
            "strangle her",
            "beat him up",
            "beat her up",
            "break his legs",
            "break her legs",
            "hurt someone",
            "untraceable gun",
        ],
    },
    List {
        category: Category::Violence,
        severity: Severity::Low,
        phrases: &["bloodshed", "bloody fight", "fistfight", "punch him", "punch her", "gunfight", "knife fight"],
    },
    List {
        category: Category::SelfHarm,
        severity: Severity::High,
        phrases: &[
            "kill myself",
            "killing myself",
            "end my life",
            "ending my life",
            "hang myself",
            "take my own life",
            "suicide method",
            "suicide methods",
            "suicide note",
            "painless way to die",
        ],
    },
    List {
        category: Category::SelfHarm,
        severity: Severity::Medium,
        phrases: &[
            "suicide",
            "suicidal",
            "hurt myself",
            "hurting myself",
            "cut myself",
            "cutting myself",
            "starve myself",
            "self-harm",
            "self harm",
            "do not want to live",
        ],
    },
    List {
        category: Category::SelfHarm,
        severity: Severity::Low,
        phrases: &["hate myself", "hate my life", "no reason to live", "tired of living", "i am worthless"],
    },
    List {
        category: Category::Sexual,
        severity: Severity::High,
        phrases: &[
            "child pornography",
            "sexual assault",
            "sexually assault",
            "sexual abuse",
            "sexually abuse",
            "non-consensual sex",
            "sex with a minor",
            "revenge porn",
        ],
    },
    List {
        category: Category::Sexual,
        severity: Severity::Medium,
        phrases: &[
            "porn",
            "pornography",
            "pornographic",
            "explicit sex",
            "sex scene",
            "erotic story",
            "erotica",
            "nude photo",
            "nude photos",
            "undress her",
            "undress him",
        ],
    },
    List {
        category: Category::Sexual,
        severity: Severity::Low,
        phrases: &["nude", "nudity", "naked", "sexy", "erotic", "lingerie", "one-night stand"],
    },
];
