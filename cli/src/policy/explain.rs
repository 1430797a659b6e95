//! `kt policy explain`: what the content filter makes of a text.

use std::io::{self, Write};

use kt_core::policy::{Category, Knowledge};

use crate::args::ExplainArgs;
use crate::exit::Exit;

/// Prints a score per category, and what each sentence was read as. The text itself goes to whoever has typed it, and
/// nowhere else.
pub(crate) fn explain(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let known = Knowledge::new();
    let mut out = io::stdout().lock();
    writeln!(out, "{:<12} {:>6}  {:<8}  rests on", "category", "score", "severity")?;
    for (category, finding) in Category::ALL.into_iter().zip(known.findings(&args.text)) {
        let cause = match (finding.score > 0.0, finding.by_term) {
            (false, _) => "-",
            (true, true) => "a term by itself",
            (true, false) => "the sentence as a whole",
        };
        let severity = finding.severity.as_str();
        writeln!(out, "{:<12} {:>6.3}  {severity:<8}  {cause}", category.as_str(), finding.score)?;
    }
    let mut lines = Vec::new();
    known.terms(&args.text, &mut |sentence, terms| {
        lines.push(format!("\nread as: {sentence}"));
        let words: Vec<&str> = sentence.split(' ').collect();
        for term in terms {
            let (first, last) = term.words;
            let said = words.get(first..=last).unwrap_or_default().join(" ");
            lines.push(format!("  {:<14} {said}", term.class));
        }
    });
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(Exit::Done)
}
