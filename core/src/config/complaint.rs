//! What can be wrong in a config file, and how it is said: to people with the line and a caret under the spot, to
//! programs as JSON.
//!
//! A complaint never repeats a credential. Where a line may hold one, only the part before it is shown.

use std::fmt::Write as _;

/// One thing that is wrong, or doubtful, in a config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which kind of thing; it also says how severe.
    pub code: Code,
    /// Where it stands.
    pub place: Place,
    /// The way to it from the top of its file, `model_groups[0].targets[1].provider`; empty for the file as a whole.
    pub path: String,
    /// What is wrong, without a final stop.
    pub message: String,
    /// What would be right, where that can be guessed: `did you mean "anthropic"?`.
    pub suggestion: Option<String>,
    /// How much of the line may be shown.
    pub(super) shown: Shown,
}

/// Where something stands in a file. Ordered as people read: by file, then line, then column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index of the file, in the order given.
    pub file: u32,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// How many characters the thing itself takes; 0 when that isn't known, and then one is underlined.
    pub len: u32,
}

impl Place {
    /// The first character of a file.
    pub(super) const fn top(file: usize) -> Self {
        Self { file: file as u32, line: 1, column: 1, len: 0 }
    }
}

/// How much of its line a complaint shows, from all to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shown {
    /// All of it.
    #[default]
    Line,
    /// Up to the end of the underlined part: what follows may be a credential.
    UpToEnd,
    /// Up to its start: the underlined part itself may be one.
    UpToStart,
    /// None of it: a credential may stand before the underlined part.
    Nothing,
}

/// Whether a config may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It can't.
    Error,
    /// It can, but probably means something else than its author thinks.
    Warning,
}

macro_rules! codes {
    ($( $name:ident => $text:literal, $severity:ident, $meaning:literal; )*) => {
        /// The kinds of complaints. The printed codes are stable: scripts may match on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $( #[doc = $meaning] $name, )* }

        impl Code {
            /// Every code, in the order of this file.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The stable code, e.g. `E002`.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// Whether a file with this complaint may be used.
            pub const fn severity(self) -> Severity {
                match self { $( Self::$name => Severity::$severity, )* }
            }

            /// What it means, in general.
            pub const fn meaning(self) -> &'static str {
                match self { $( Self::$name => $meaning, )* }
            }
        }
    };
}

// name => code, severity, meaning.
codes! {
    // Words.
    UnknownWord => "E001", Error, "The value is not one of the words that are allowed here";
    UnknownKey => "E002", Error, "The key does not exist here";
    NotAvailable => "E003", Error, "The key or word has a meaning, but this version does not have what it asks for";

    // The text, before it is a tree. The first of these ends the check of its file.
    TooLarge => "E010", Error, "The file is larger than a config may be";
    NotUtf8 => "E011", Error, "The file is not UTF-8";
    ControlCharacter => "E012", Error, "The file has a control character, such as NUL";
    Empty => "E013", Error, "The file says nothing";
    Syntax => "E014", Error, "The file is not valid YAML 1.2";
    SecondDocument => "E015", Error, "The file has more than one YAML document";
    CustomTag => "E016", Error, "The file has a YAML tag that is not of the core schema";
    MergeKey => "E017", Error, "The file has a merge key, which YAML 1.2 does not have";
    DuplicateKey => "E018", Error, "A map has the same key twice";
    ExpandsTooFar => "E019", Error, "The file has too many nodes once its aliases are expanded";
    TooDeep => "E020", Error, "The file is nested too deeply";

    // Single values.
    WrongType => "E030", Error, "The value has the wrong type";
    MissingKey => "E031", Error, "A key that has to be there is missing";
    OutOfRange => "E032", Error, "The number is too small or too large";
    NotWhole => "E033", Error, "The number is not whole";
    BadName => "E034", Error, "The name is empty, too long or has characters that can't stand in a response header";
    EmptyList => "E035", Error, "A list that needs an entry has none";
    BadUrl => "E036", Error, "The base_url is not one that requests can be sent to";
    BadAddress => "E037", Error, "The address is not HOST:PORT";
    BadKeyRef => "E038", Error, "The reference to a key does not say where the key is";

    // Values against each other.
    Duplicate => "E040", Error, "Two things that are told apart by name have the same name";
    UnknownReference => "E041", Error, "The name refers to nothing in the config";
    Ambiguous => "E042", Error, "The vendor has several targets, so the name does not say which one";
    AllZero => "E043", Error, "No target of the group can ever be drawn";
    NotRandomised => "E044", Error, "The key has no meaning with a strategy that leaves nothing to chance";

    // Doubts.
    UnusedProvider => "W101", Warning, "No model group uses the provider";
    WeightsSum => "W102", Warning, "The weights of a group do not sum to 100";
    WeightsRounded => "W103", Warning, "The weights need more slots than a block has, so the shares are rounded";
    NeverDrawn => "W104", Warning, "The weight is above 0 but rounds to nothing";
    NoVerdict => "W105", Warning, "The group's strategy leaves nothing to chance, so its arms can't be compared";
}

impl Complaint {
    /// The code's severity.
    pub const fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// Path, message and suggestion on one line:
    /// `policies[0].type: unknown policy type "content_filtr" — did you mean "content_filter"?`.
    pub fn sentence(&self) -> String {
        let mut out = String::new();
        if !self.path.is_empty() {
            out.push_str(&self.path);
            out.push_str(": ");
        }
        out.push_str(&self.message);
        if let Some(suggestion) = &self.suggestion {
            out.push_str(" — ");
            out.push_str(suggestion);
        }
        out
    }

    /// The whole report of this complaint: headline, sentence, place, and the line with a caret. `file` is the file's
    /// name, `line` the line it is about, without its end. Ends with a line feed.
    pub(super) fn report(&self, file: &str, line: &str) -> String {
        let headline = match self.severity() {
            Severity::Error => "✗ Configuration error",
            Severity::Warning => "⚠ Configuration warning",
        };
        let Place { line: number, column, .. } = self.place;
        let gutter = " ".repeat(number.to_string().len());
        let (sentence, file) = (self.sentence(), printable(file));
        let mut out = format!("{headline} at line {number}:\n{sentence}\n{gutter}--> {file}:{number}:{column}\n");
        if self.shown != Shown::Nothing {
            let (text, before, under) = self.snippet(line);
            let (indent, carets) = (" ".repeat(before), "^".repeat(under));
            push(&mut out, format_args!("{gutter} |\n{number} | {text}\n{gutter} | {indent}{carets}\n"));
        }
        out
    }

    /// What is shown of the line, how many characters of it stand before the caret, and how many carets there are.
    ///
    /// Columns count characters, so behind double-width ones the caret stands a little to the left.
    fn snippet(&self, line: &str) -> (String, usize, usize) {
        /// Characters shown of a line at most, and how many of them before the caret.
        const WIDTH: usize = 100;
        const BEFORE: usize = 40;

        let total = line.chars().count();
        let start = (self.place.column.saturating_sub(1) as usize).min(total);
        let len = self.place.len.max(1) as usize;
        let shown = match self.shown {
            Shown::Line => usize::MAX,
            Shown::UpToEnd => start + len,
            Shown::UpToStart | Shown::Nothing => start,
        };
        let from = if total.min(shown) > WIDTH { start.saturating_sub(BEFORE) } else { 0 };
        let upto = total.min(shown).min(from + WIDTH);

        let mut text = String::new();
        text.push_str(if from > 0 { "…" } else { "" });
        text.extend(line.chars().take(upto).skip(from).map(|c| if is_printable(c) { c } else { '\u{fffd}' }));
        text.push_str(if upto < total { "…" } else { "" });
        let before = start - from + usize::from(from > 0);
        let under = len.min(upto.saturating_sub(start)).max(1);
        (text, before, under)
    }

    /// This complaint as a JSON object; with `file` when there are several, so that a place is never ambiguous.
    pub(super) fn push_json(&self, out: &mut String, file: Option<&str>) {
        out.push_str("{\"code\":");
        push_json_text(out, self.code.as_str());
        if let Some(file) = file {
            out.push_str(",\"file\":");
            push_json_text(out, file);
        }
        out.push_str(",\"path\":");
        push_json_text(out, &self.path);
        push(out, format_args!(",\"line\":{},\"column\":{},\"message\":", self.place.line, self.place.column));
        push_json_text(out, &self.message);
        out.push_str(",\"suggestion\":");
        match &self.suggestion {
            Some(suggestion) => push_json_text(out, suggestion),
            None => out.push_str("null"),
        }
        out.push('}');
    }
}

/// Appends what is formatted.
pub(super) fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

/// Appends `text` as a JSON string. Beyond what RFC 8259 section 7 asks for, DEL and the characters that reorder a line
/// are escaped too, since a terminal may print this.
pub(super) fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            // All of them lie in the basic plane.
            c => push(out, format_args!("\\u{:04x}", u32::from(c))),
        }
    }
    out.push('"');
}

/// Appends a JSON array.
pub(super) fn push_json_list<T>(out: &mut String, items: &[T], mut push_item: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_item(out, item);
    }
    out.push(']');
}

/// A text as messages quote it: escaped, and cut where it gets long.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", printable(&cut(text)).replace('"', "\\\""))
}

/// At most 64 characters of a text.
pub(super) fn cut(text: &str) -> String {
    /// Longer than any key or word of ours, short enough for one line.
    const CHARS_MAX: usize = 64;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text without characters that move the cursor or reorder a line.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_printable(c) { c } else { '\u{fffd}' }).collect()
}

/// Whether a terminal may see this character. Not: controls, line separators, and the bidirectional controls that make
/// a line read differently from what it says (Unicode TR 36, section 2.10.3).
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The candidate that `word` was most likely meant to be; `None` when none is near. Near is where at most a third of
/// the characters differ, counting a swap of neighbours as one, or where one word holds the other (`warning`, `warn`).
///
/// `effort` is what may be spent, in compared pairs of characters, and is used up: so that many wrong names among many
/// right ones don't take quadratic time.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    effort: &mut usize,
) -> Option<&'a str> {
    /// What looking at a candidate costs at least, in the same unit.
    const LOOK: usize = 64;
    let word: Vec<char> = word.chars().take(LONGEST_COMPARED + 1).flat_map(char::to_lowercase).collect();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if *effort < LOOK {
            break;
        }
        *effort -= LOOK;
        let letters: Vec<char> = candidate.chars().take(LONGEST_COMPARED + 1).flat_map(char::to_lowercase).collect();
        let (short, long) = if word.len() < letters.len() { (&word, &letters) } else { (&letters, &word) };
        let cost = short.len() * long.len();
        if short.is_empty() || long.len() > LONGEST_COMPARED || cost > *effort {
            continue;
        }
        let holds = short.len() > 2 && long.windows(short.len()).any(|part| part == &short[..]);
        let tolerated = if holds { long.len() } else { (long.len() / 3).max(1) };
        if long.len() - short.len() > tolerated {
            continue;
        }
        *effort -= cost;
        let distance = distance(&word, &letters);
        if distance <= tolerated && distance < letters.len() && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Names of ours are no longer than this, so longer words were never meant to be one.
const LONGEST_COMPARED: usize = 128;

/// Optimal string alignment distance: insertions, deletions, replacements, and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut two_ago: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, &y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                row[j + 1] = row[j + 1].min(two_ago[j - 1] + 1);
            }
        }
        two_ago = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_their_letter_is_their_severity() {
        for (i, code) in Code::ALL.iter().enumerate() {
            let letter = if code.severity() == Severity::Error { 'E' } else { 'W' };
            assert!(code.as_str().starts_with(letter), "{code:?}");
            assert!(Code::ALL[..i].iter().all(|other| other.as_str() != code.as_str()), "{code:?}");
        }
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let kinds = ["openai", "anthropic", "openai-compatible"];
        for (word, nearest_kind) in [
            ("antropic", Some("anthropic")),
            ("Anthropic", Some("anthropic")),
            ("opneai", Some("openai")),
            ("openai_compatible", Some("openai-compatible")),
            ("azure", None),
            ("open", Some("openai")),
            ("compatible", Some("openai-compatible")),
            ("ai", None),
            ("", None),
            ("anthropicanthropicanthropic", None),
        ] {
            assert_eq!(nearest(word, kinds, &mut 10_000), nearest_kind, "{word}");
        }
        assert_eq!(nearest("a", ["b"], &mut 1_000), None, "nothing in common");
        assert_eq!(nearest("antropic", kinds, &mut 100), None, "no effort left");
        assert_eq!(distance(&['a', 'b', 'c'], &['a', 'c', 'b']), 1);
        assert_eq!(distance(&[], &['a']), 1);
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let complaint = |column, len, shown| Complaint {
            code: Code::Syntax,
            place: Place { file: 0, line: 1, column, len },
            path: String::new(),
            message: String::new(),
            suggestion: None,
            shown,
        };
        let line = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
        let (text, before, under) = complaint(501, 4, Shown::Line).snippet(&line);
        assert_eq!(text, format!("…{}HERE{}…", "a".repeat(40), "b".repeat(56)));
        assert_eq!((before, under), (41, 4));

        let (text, before, under) = complaint(6, 3, Shown::UpToStart).snippet("key: sk-123");
        assert_eq!((text.as_str(), before, under), ("key: …", 5, 1));
        let (text, before, under) = complaint(1, 3, Shown::UpToEnd).snippet("key: sk-123");
        assert_eq!((text.as_str(), before, under), ("key…", 0, 3));
        let (text, before, under) = complaint(9, 5, Shown::Line).snippet("a\u{1b}[2J\u{202e}");
        assert_eq!((text.as_str(), before, under), ("a\u{fffd}[2J\u{fffd}", 6, 1));
    }

    #[test]
    fn json_text_is_escaped() {
        let mut out = String::new();
        push_json_text(&mut out, "a\"b\\c\n\t\u{0}\u{7f}\u{202e}é");
        assert_eq!(out, r#""a\"b\\c\n\t\u0000\u007f\u202eé""#);
    }
}
