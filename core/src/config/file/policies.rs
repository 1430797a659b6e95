//! `policies`: what is judged, and what is done about it.

use std::collections::{BTreeSet, HashMap};

use super::walk::{At, Shape, Walk};
use crate::config::complaint::{Code, Place, quote};
use crate::config::tree::Value;
use crate::policy::{Action, Category, Threshold};

/// One `policies[]`: a content filter, the only type there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySettings {
    /// `name`.
    pub name: Box<str>,
    /// `action`.
    pub action: Action,
    /// `applies_to`: names of groups; empty is all of them.
    pub applies_to: Box<[Box<str>]>,
    /// `config.categories`, or all; no duplicates.
    pub categories: Box<[Category]>,
    /// `config.threshold`, or medium.
    pub threshold: Threshold,
}

impl PolicySettings {
    /// Whether requests to this group are judged by it.
    pub fn applies_to(&self, group: &str) -> bool {
        self.applies_to.is_empty() || self.applies_to.iter().any(|name| &**name == group)
    }
}

const POLICY: Shape<'_> = Shape { keys: &["name", "type", "action", "on", "applies_to", "config"], later: &["mode"] };
const CONTENT_FILTER: Shape<'_> = Shape { keys: &["categories", "threshold"], later: &[] };

const ACTION_WORDS: &[(&str, Action)] =
    &[(Action::Flag.as_str(), Action::Flag), (Action::Block.as_str(), Action::Block)];

impl Walk<'_> {
    pub(super) fn policies<'t>(
        &mut self,
        at: &At<'_, 't>,
        groups: Option<&At<'_, 't>>,
    ) -> Option<Box<[PolicySettings]>> {
        let groups: BTreeSet<&str> = if let Some(Value::List(items)) = groups.map(|groups| &groups.node.value) {
            items.iter().filter_map(|item| item.node.text_of("name")).collect()
        } else {
            BTreeSet::new()
        };
        let items = self.list(at)?;
        let mut names = HashMap::new();
        let mut policies = Vec::with_capacity(items.len());
        for item in items {
            policies.extend(self.policy(&at.item(item), &groups, &mut names));
        }
        Some(policies.into())
    }

    fn policy<'t>(
        &mut self,
        at: &At<'_, 't>,
        groups: &BTreeSet<&str>,
        names: &mut HashMap<&'t str, Place>,
    ) -> Option<PolicySettings> {
        if !self.is_map(at, &POLICY) {
            return None;
        }
        let name = self.need(at, "name", "name the policy").and_then(|at| {
            let name = self.free_name(&at)?;
            self.unique(&at, "policy", name, names);
            Some(name)
        });
        let kind = self
            .need(at, "type", "write type: content_filter")
            .and_then(|at| self.word(&at, "policy type", &[("content_filter", ())], &["external_moderation", "pii"]));
        let action = self
            .need(at, "action", "write action: flag or action: block")
            .and_then(|at| self.word(&at, "action", ACTION_WORDS, &[]));
        if let Some(on) = at.get("on") {
            self.word(&on, "phase", &[("request", ())], &["response", "both"]);
        }
        let applies_to = at.get("applies_to").map_or(Some(Box::default()), |at| self.applies_to(&at, groups));
        // Of an unknown type, nobody knows the config.
        kind?;
        let (categories, threshold) = match at.get("config") {
            Some(config) => self.content_filter(&config)?,
            None => (Category::ALL.into(), Threshold::Medium),
        };
        Some(PolicySettings { name: name?.into(), action: action?, applies_to: applies_to?, categories, threshold })
    }

    fn applies_to(&mut self, at: &At<'_, '_>, groups: &BTreeSet<&str>) -> Option<Box<[Box<str>]>> {
        let items = self.list(at)?;
        if items.is_empty() {
            self.say(Code::EmptyList, at, "applies to no group at all").suggestion =
                Some("leave it out, and it applies to every group".to_owned());
        }
        let mut names = Vec::with_capacity(items.len());
        for item in items {
            let at = at.item(item);
            let Some(name) = self.text(&at) else { continue };
            if !groups.contains(name) {
                let guess = self.guess(name, groups.iter().copied());
                let complaint = self.say(Code::UnknownReference, &at, format!("unknown model group {}", quote(name)));
                complaint.suggestion = guess;
            }
            names.push(name.into());
        }
        Some(names.into())
    }

    fn content_filter(&mut self, at: &At<'_, '_>) -> Option<(Box<[Category]>, Threshold)> {
        if !self.is_map(at, &CONTENT_FILTER) {
            return None;
        }
        let threshold = match at.get("threshold") {
            Some(at) => {
                let words: Vec<_> = Threshold::ALL.iter().map(|&level| (level.as_str(), level)).collect();
                self.word(&at, "threshold", &words, &[])
            }
            None => Some(Threshold::Medium),
        };
        let categories = match at.get("categories") {
            Some(at) => self.categories(&at),
            None => Some(Category::ALL.into()),
        };
        Some((categories?, threshold?))
    }

    fn categories(&mut self, list: &At<'_, '_>) -> Option<Box<[Category]>> {
        let items = self.list(list)?;
        if items.is_empty() {
            self.say(Code::EmptyList, list, "a content filter needs at least one category").suggestion =
                Some("leave it out, and all categories are looked for".to_owned());
        }
        let mut words: Vec<_> = Category::ALL.iter().map(|&category| (category.as_str(), category)).collect();
        // Some of the vendors' own documents spell it so.
        words.push(("self-harm", Category::SelfHarm));
        let mut categories: Vec<Category> = Vec::with_capacity(items.len());
        let mut places = HashMap::new();
        for item in items {
            let at = list.item(item);
            let Some(category) = self.word(&at, "category", &words, &[]) else { continue };
            self.unique(&at, "category", category.as_str(), &mut places);
            categories.push(category);
        }
        Some(categories.into())
    }
}
