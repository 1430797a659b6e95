//! `policies`: what is judged, and what is done about it.

use std::collections::{BTreeSet, HashMap};

use super::providers::Declared;
use super::walk::{At, Shape, Walk};
use crate::config::complaint::{Code, Place, quote};
use crate::config::plan::Provider;
use crate::config::tree::Value;
use crate::policy::{Action, Category, External, Mode, On, Policy, Rule, Threshold, external, pii};

const POLICY: Shape<'_> = Shape { keys: &["name", "type", "action", "on", "applies_to", "config"], later: &[] };
const CONTENT_FILTER: Shape<'_> = Shape { keys: &["categories", "threshold", "mode"], later: &[] };
const EXTERNAL: Shape<'_> = Shape { keys: &["target", "model", "categories", "threshold", "timeout_ms"], later: &[] };
const PII: Shape<'_> = Shape { keys: &["types", "mode"], later: &[] };

/// `policies[].type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    ContentFilter,
    Pii,
    External,
}

const TYPE_WORDS: &[(&str, Type)] =
    &[("content_filter", Type::ContentFilter), ("pii", Type::Pii), ("external_moderation", Type::External)];

impl Walk<'_> {
    /// Notes in `used` which targets are asked.
    pub(super) fn policies<'t>(
        &mut self,
        at: &At<'_, 't>,
        groups: Option<&At<'_, 't>>,
        declared: &Declared<'_>,
        used: &mut [bool],
    ) -> Option<Box<[Policy]>> {
        let groups: BTreeSet<&str> = if let Some(Value::List(items)) = groups.map(|groups| &groups.node.value) {
            items.iter().filter_map(|item| item.node.text_of("name")).collect()
        } else {
            BTreeSet::new()
        };
        let items = self.list(at)?;
        let mut names = HashMap::new();
        let mut policies = Vec::with_capacity(items.len());
        for item in items {
            let at = at.item(item);
            let policy = self.policy(&at, &groups, declared, &mut names);
            if let Some(Policy { rule: Rule::External(external), .. }) = &policy {
                used[external.target] = true;
            }
            policies.extend(policy);
        }
        Some(policies.into())
    }

    fn policy<'t>(
        &mut self,
        at: &At<'_, 't>,
        groups: &BTreeSet<&str>,
        declared: &Declared<'_>,
        names: &mut HashMap<&'t str, Place>,
    ) -> Option<Policy> {
        if !self.is_map(at, &POLICY) {
            return None;
        }
        let name = self.need(at, "name", "name the policy").and_then(|at| {
            let name = self.free_name(&at)?;
            self.unique(&at, "policy", name, names);
            Some(name)
        });
        let kind = self
            .need(at, "type", "write type: content_filter, pii or external_moderation")
            .and_then(|at| self.word(&at, "policy type", TYPE_WORDS, &[]));
        let action = self.need(at, "action", "write action: flag or action: block").and_then(|at| {
            let words: Vec<_> = Action::ALL.iter().map(|&action| (action.as_str(), action)).collect();
            self.word(&at, "action", &words, &[])
        });
        let on = match at.get("on") {
            Some(at) => {
                let words: Vec<_> = On::ALL.iter().map(|&on| (on.as_str(), on)).collect();
                self.word(&at, "phase", &words, &[])
            }
            None => Some(On::Request),
        };
        let applies_to = at.get("applies_to").map_or(Some(Box::default()), |at| self.applies_to(&at, groups));
        // Of an unknown type, nobody knows the config.
        let kind = kind?;
        if action == Some(Action::Redact) {
            self.redaction(at, kind);
        }
        if kind == Type::External
            && on != Some(On::Request)
            && let Some(on) = at.get("on")
        {
            self.say(Code::NotAvailable, &on, "an external moderation judges requests only").suggestion =
                Some("write on: request, and a policy of another type for answers".to_owned());
        }
        let config = at.get("config");
        let (rule, mode) = match kind {
            Type::ContentFilter => match config {
                Some(config) => self.content_filter(&config)?,
                None => (Rule::ContentFilter { categories: Category::ALL.into(), threshold: Threshold::Medium }, None),
            },
            Type::Pii => match config {
                Some(config) => self.pii(&config)?,
                None => (Rule::Pii { kinds: pii::Kind::ALL.into() }, None),
            },
            Type::External => {
                let config = self.need(at, "config", "say whom it asks: config: {target: …}")?;
                (Rule::External(self.external(&config, declared)?), None)
            }
        };
        let mode = mode.unwrap_or_default();
        Some(Policy { name: name?.into(), action: action?, on: on?, applies_to: applies_to?, mode, rule })
    }

    /// Only what has a place of its own can be taken out.
    fn redaction(&mut self, at: &At<'_, '_>, kind: Type) {
        if kind != Type::Pii
            && let Some(action) = at.get("action")
        {
            self.say(Code::NotAvailable, &action, "only a policy of type pii can redact").suggestion =
                Some("write action: flag or action: block".to_owned());
        }
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

    fn content_filter(&mut self, at: &At<'_, '_>) -> Option<(Rule, Option<Mode>)> {
        if !self.is_map(at, &CONTENT_FILTER) {
            return None;
        }
        let (categories, threshold) = self.judged(at);
        let mode = self.mode(at);
        Some((Rule::ContentFilter { categories: categories?, threshold: threshold? }, mode))
    }

    /// What counts, and how severe it has to be.
    fn judged(&mut self, at: &At<'_, '_>) -> (Option<Box<[Category]>>, Option<Threshold>) {
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
        (categories, threshold)
    }

    fn external(&mut self, at: &At<'_, '_>, declared: &Declared<'_>) -> Option<External> {
        if !self.is_map(at, &EXTERNAL) {
            return None;
        }
        let target = self
            .need(at, "target", "name one of providers.targets")
            .and_then(|target| self.moderator(&target, declared));
        let model = match at.get("model") {
            Some(at) => self.free_name(&at),
            None => Some(external::USUAL_MODEL),
        };
        let (categories, threshold) = self.judged(at);
        let timeout_ms = match at.get("timeout_ms") {
            Some(at) => self.number(&at, 1..=external::TIMEOUT_MS_MAX),
            None => Some(external::USUAL_TIMEOUT_MS),
        };
        Some(External {
            target: target?,
            model: model?.into(),
            categories: categories?,
            threshold: threshold?,
            timeout_ms: timeout_ms?,
        })
    }

    /// The target that is asked, which has to speak OpenAI's language.
    fn moderator(&mut self, at: &At<'_, '_>, declared: &Declared<'_>) -> Option<usize> {
        let name = self.text(at)?;
        let Some(&index) = declared.by_id.get(name) else {
            let guess = self.guess(name, declared.by_id.keys().copied());
            self.say(Code::UnknownReference, at, format!("unknown provider {}", quote(name))).suggestion = guess;
            return None;
        };
        let anthropic = declared.by_vendor.get(Provider::Anthropic.as_str());
        if anthropic.is_some_and(|targets| targets.contains(&index)) {
            let message = format!("the provider {} has no moderations", quote(name));
            self.say(Code::NotAvailable, at, message).suggestion =
                Some("name a target of provider openai or openai-compatible".to_owned());
            return None;
        }
        Some(index)
    }

    fn pii(&mut self, at: &At<'_, '_>) -> Option<(Rule, Option<Mode>)> {
        if !self.is_map(at, &PII) {
            return None;
        }
        let kinds = match at.get("types") {
            Some(list) => {
                let items = self.list(&list)?;
                if items.is_empty() {
                    self.say(Code::EmptyList, &list, "a policy of type pii needs at least one type").suggestion =
                        Some("leave it out, and all types are looked for".to_owned());
                }
                let words: Vec<_> = pii::Kind::ALL.iter().map(|&kind| (kind.as_str(), kind)).collect();
                let mut kinds = Vec::with_capacity(items.len());
                let mut places = HashMap::new();
                for item in items {
                    let at = list.item(item);
                    let Some(kind) = self.word(&at, "type", &words, &[]) else { continue };
                    self.unique(&at, "type", kind.as_str(), &mut places);
                    kinds.push(kind);
                }
                kinds.into()
            }
            None => pii::Kind::ALL.into(),
        };
        Some((Rule::Pii { kinds }, self.mode(at)))
    }

    fn mode(&mut self, at: &At<'_, '_>) -> Option<Mode> {
        let words: Vec<_> = Mode::ALL.iter().map(|&mode| (mode.as_str(), mode)).collect();
        at.get("mode").and_then(|at| self.word(&at, "mode", &words, &[]))
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
