//! From the operator's text to what a worker uses, in two steps.
//!
//! [`mod@file`] is what was written: YAML made into a tree in which every value knows its place, walked by hand so that
//! every [`complaint`] is collected before any is printed. [`plan`] is what comes out: resolved, checked, cheap to read
//! on the hot path. [`check`] is the only way to a [`File`], and a [`File`] the only way to a [`Plan`](plan::Plan):
//! lint, start and reload can't disagree.
//!
//! Nothing is read here. The caller brings the files' bytes, and later the keys that the file names.

pub mod complaint;
pub mod file;
pub mod plan;
mod tree;
mod url;

#[cfg(test)]
mod tests;

use complaint::{Complaint, Severity, push_json_text};
use file::{File, Text};

/// One config file as the caller read it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name as the operator wrote it; complaints repeat it, and relative paths in the file start at its directory.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// What came of a check.
#[derive(Debug)]
pub struct Checked {
    /// The config; there if and only if no complaint is an error.
    pub file: Option<File>,
    /// Everything that is wrong or doubtful, in the order of the files. Of a file that can't be parsed, only the first.
    pub complaints: Vec<Complaint>,
    texts: Vec<Text>,
}

/// Checks files, at least one, each laid over the ones before it: maps merge key by key, `providers.targets` merge by
/// `id`, `model_groups` and `policies` by `name` (each element replaced whole), and all else is replaced.
pub fn check(sources: &[Source]) -> Checked {
    let texts: Vec<Text> = sources.iter().map(text).collect();
    let mut complaints = Vec::new();
    let mut trees = Vec::with_capacity(sources.len());
    for (i, source) in sources.iter().enumerate() {
        match tree::read(i, &source.bytes) {
            Ok(tree) => trees.push(tree),
            Err(complaint) => complaints.push(complaint),
        }
    }
    // What is missing or unknown can only be said of the whole.
    let mut file = None;
    if complaints.is_empty()
        && let Some(tree) = trees.into_iter().reduce(tree::layer)
    {
        let digest = plan::digest(sources.iter().map(|source| &*source.bytes));
        (file, complaints) = file::walk(&tree, &texts, digest);
    }
    complaints.sort_by_key(|complaint| complaint.place);
    Checked { file, complaints, texts }
}

/// The file as complaints quote it. Of one that is too large only the name.
fn text(source: &Source) -> Text {
    let shown = if source.bytes.len() > crate::limits::CONFIG_BYTES_MAX { &[] } else { &*source.bytes };
    let text = String::from_utf8_lossy(shown);
    Text::new(source.name.clone(), tree::without_mark(&text).to_owned())
}

impl Checked {
    /// Complaints that keep the config from being used.
    pub fn errors(&self) -> impl Iterator<Item = &Complaint> {
        self.of(Severity::Error)
    }

    /// Complaints that don't.
    pub fn warnings(&self) -> impl Iterator<Item = &Complaint> {
        self.of(Severity::Warning)
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Complaint> {
        self.complaints.iter().filter(move |complaint| complaint.severity() == severity)
    }

    /// What a valid config holds, a line for each section that it has; empty for an invalid one. Every line ends with a
    /// line feed.
    pub fn summary(&self) -> String {
        let Some(file) = &self.file else { return String::new() };
        let targets = file.targets.as_deref().map(|all| all.iter().map(|target| &*target.id).collect());
        let groups = file.groups.as_deref().map(|all| all.iter().map(|group| &*group.name).collect());
        let policies = file.policies.as_deref().map(|all| all.iter().map(|policy| &*policy.name).collect());
        let mut out = String::from("✓ Configuration is valid\n");
        for (section, names) in [("Providers", targets), ("Model groups", groups), ("Policies", policies)] {
            let Some(names): Option<Vec<&str>> = names else { continue };
            let list = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            complaint::push(&mut out, format_args!("{section}: {}{list}\n", names.len()));
        }
        out
    }

    /// All errors for people, each with its line and a caret, a blank line between two. Empty without errors.
    pub fn error_report(&self) -> String {
        self.report(Severity::Error)
    }

    /// All warnings for people, in the same form.
    pub fn warning_report(&self) -> String {
        self.report(Severity::Warning)
    }

    fn report(&self, severity: Severity) -> String {
        let one = |complaint: &Complaint| {
            let text = &self.texts[complaint.place.file as usize];
            complaint.report(&text.name, text.line(complaint.place.line))
        };
        self.of(severity).map(one).collect::<Vec<_>>().join("\n")
    }

    /// Everything for programs, one JSON object without a line feed: `{"valid", "file", "errors": [{"code", "path",
    /// "line", "column", "message", "suggestion"}], "warnings": […]}`. `file` is the file's name. Of several files it
    /// is the list of their names, and each complaint has the `file` it is about.
    pub fn to_json(&self) -> String {
        let mut out = format!("{{\"valid\":{},\"file\":", self.file.is_some());
        match &*self.texts {
            [only] => push_json_text(&mut out, &only.name),
            several => complaint::push_json_list(&mut out, several, |out, text| push_json_text(out, &text.name)),
        }
        for (key, severity) in [("errors", Severity::Error), ("warnings", Severity::Warning)] {
            complaint::push(&mut out, format_args!(",\"{key}\":"));
            let complaints: Vec<&Complaint> = self.of(severity).collect();
            complaint::push_json_list(&mut out, &complaints, |out, complaint| {
                let name = &*self.texts[complaint.place.file as usize].name;
                complaint.push_json(out, (self.texts.len() > 1).then_some(name));
            });
        }
        out.push('}');
        out
    }
}
