//! What the operator wrote, checked: the tree walked by hand, so that every complaint is collected before any is
//! printed.
//!
//! Nothing is read from elsewhere here: a [`File`] says where keys are, not what they are. The [`walk`](mod@walk) is
//! what all sections share; each section has a file with what it may hold and how that is read.

mod events;
mod experiment;
mod gateway;
mod groups;
mod policies;
mod pricing;
mod providers;
mod secrets;
mod walk;

pub use gateway::{ClientSettings, TlsFiles};
pub use groups::{ArmSettings, GroupSettings};
pub use providers::TargetSettings;

use super::complaint::{Code, Complaint, Place, Severity, quote};
use super::plan::{EventSettings, Fixed, LogSettings};
use super::tree::{Node, Value};
use crate::limits::Limits;
use crate::policy::Policy;
use providers::Declared;
use walk::{At, Shape, Walk};

/// A config without errors, as [`check`](super::check) makes it. Several files are one here.
#[derive(Clone, Debug)]
pub struct File {
    /// 12 lower-case hex digits of the SHA-256 over the files' bytes, in the order given.
    pub digest: Box<str>,
    /// `providers.targets`, in the order of the file; ids are unique. `None` when the file does not have the section.
    pub targets: Option<Box<[TargetSettings]>>,
    /// `model_groups`, in the order of the file; names are unique. `None` when the file does not have the section.
    pub groups: Option<Box<[GroupSettings]>>,
    /// `policies`, in the order of the file; names are unique. `None` when the file does not have the section.
    pub policies: Option<Box<[Policy]>>,
    /// `gateway.clients`, in the order of the file; names are unique, and so are the places of their keys. `None` when
    /// whoever reaches the port may ask.
    pub clients: Option<Box<[ClientSettings]>>,
    /// `gateway.tls`.
    pub tls: Option<TlsFiles>,
    /// `gateway.limits` over the defaults.
    pub limits: Limits,
    /// What a reload can't change.
    pub fixed: Fixed,
    /// `gateway.log`.
    pub log: LogSettings,
    /// `events`.
    pub events: EventSettings,
}

/// One of the given files, as complaints quote it.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) text: String,
    line_starts: Vec<usize>,
}

impl Text {
    pub(super) fn new(name: String, text: String) -> Self {
        let after_line_ends = text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(i, _)| i + 1);
        let line_starts = std::iter::once(0).chain(after_line_ends).collect();
        Self { name, text, line_starts }
    }

    /// The `number`-th line, from 1, without its end; empty beyond the last.
    pub(super) fn line(&self, number: u32) -> &str {
        let Some(&start) = self.line_starts.get(number.saturating_sub(1) as usize) else { return "" };
        self.text[start..].lines().next().unwrap_or_default()
    }

    /// What is written at a place.
    fn at(&self, place: Place) -> String {
        self.line(place.line).chars().skip(place.column.saturating_sub(1) as usize).take(place.len as usize).collect()
    }
}

const ROOT: Shape<'_> =
    Shape { keys: &["version", "providers", "model_groups", "policies", "events", "gateway"], later: &[] };

/// Walks the tree of a config. The file is there only if nothing that was found is an error.
pub(super) fn walk(root: &Node, texts: &[Text], digest: Box<str>) -> (Option<File>, Vec<Complaint>) {
    let mut walk = Walk::new(texts);
    let file = walk.root(&At::top(root), digest);
    walk.hide_secrets();
    let is_valid = walk.complaints.iter().all(|complaint| complaint.severity() == Severity::Warning);
    (file.filter(|_| is_valid), walk.complaints)
}

/// Whether every item of a list could be read.
fn is_whole<T>(top: &At<'_, '_>, key: &str, read: Option<&[T]>) -> bool {
    top.get(key).is_none_or(|at| match &at.node.value {
        Value::List(items) => read.is_some_and(|read| read.len() == items.len()),
        _ => false,
    })
}

impl Walk<'_> {
    fn root(&mut self, top: &At<'_, '_>, digest: Box<str>) -> Option<File> {
        if !self.is_map(top, &ROOT) {
            return None;
        }
        self.version(top);
        let (declared, targets) = match top.get("providers") {
            Some(providers) => self.providers(&providers),
            None => (Declared::default(), None),
        };
        let mut used = vec![false; declared.ids.len()];
        let groups = match top.get("model_groups") {
            Some(at) => self.groups(&at, &declared, &mut used),
            None => None,
        };
        let policies = top
            .get("policies")
            .and_then(|at| self.policies(&at, top.get("model_groups").as_ref(), &declared, &mut used));
        // While a group is wrong, nobody knows yet which target it meant.
        if is_whole(top, "model_groups", groups.as_deref()) {
            self.unused(&declared, &used);
        }
        let mut file = File {
            digest,
            targets,
            groups,
            policies,
            clients: None,
            tls: None,
            limits: Limits::default(),
            fixed: Fixed::default(),
            events: EventSettings::default(),
            log: LogSettings::default(),
        };
        if let Some(events) = top.get("events") {
            self.events(&events, &mut file);
        }
        if let Some(gateway) = top.get("gateway") {
            self.gateway(&gateway, &mut file);
        }
        Some(file)
    }

    fn version(&mut self, top: &At<'_, '_>) {
        let Some(at) = self.need(top, "version", "write version: '1'") else { return };
        let complaint = match &at.node.value {
            Value::Text(text) if text == "1" => return,
            Value::Text(text) => self.say(Code::UnknownWord, &at, format!("unknown version {}", quote(text))),
            Value::Null | Value::Bool | Value::Int(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(&at, "text")
            }
        };
        complaint.suggestion = Some("write '1', in quotes".to_owned());
    }
}
