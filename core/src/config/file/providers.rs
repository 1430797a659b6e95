//! `providers`: the vendors' targets.

use std::collections::HashMap;

use super::walk::{At, Shape, Walk};
use crate::config::complaint::{Code, Place, Shown};
use crate::config::plan::{BaseUrl, Provider, SecretRef, StreamUsage, Timeouts};
use crate::cost::Prices;

/// One `providers.targets[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSettings {
    /// `id`.
    pub id: Box<str>,
    /// `provider`.
    pub provider: Provider,
    /// `base_url`, or the vendor's.
    pub base: BaseUrl,
    /// `secret_key_ref`, or the vendor's usual variable; `None` when the target is asked without a key.
    pub key: Option<SecretRef>,
    /// `ca_file`; a relative path is one from the directory of the file that names it.
    pub ca_file: Option<Box<str>>,
    /// `stream_usage`.
    pub stream_usage: StreamUsage,
    /// `timeouts` over the defaults.
    pub timeouts: Timeouts,
    /// `pricing`, for the arms that have none of their own.
    pub pricing: Option<Prices>,
}

const PROVIDERS: Shape<'_> = Shape { keys: &["targets"], later: &[] };
const TARGET: Shape<'_> = Shape {
    keys: &["id", "provider", "base_url", "secret_key_ref", "ca_file", "stream_usage", "timeouts", "pricing"],
    later: &[],
};
const TIMEOUTS: Shape<'_> = Shape { keys: &["connect_ms", "first_byte_ms", "idle_ms", "total_ms"], later: &[] };

/// Longest timeout of a target.
const DAY_MS: u64 = 86_400_000;

const PROVIDER_WORDS: &[(&str, Provider)] = &[
    (Provider::OpenAi.as_str(), Provider::OpenAi),
    (Provider::Anthropic.as_str(), Provider::Anthropic),
    (Provider::OpenAiCompatible.as_str(), Provider::OpenAiCompatible),
];
const STREAM_USAGE_WORDS: &[(&str, StreamUsage)] = &[("ask", StreamUsage::Ask), ("leave", StreamUsage::Leave)];

/// The targets as far as they could be read, for those who refer to them: a target with a wrong timeout is still the
/// target that a group means.
#[derive(Default)]
pub(super) struct Declared<'t> {
    /// In the order of the file; `None` where the id can't be read.
    pub(super) ids: Vec<Option<Id<'t>>>,
    id_places: HashMap<&'t str, Place>,
    pub(super) by_id: HashMap<&'t str, usize>,
    pub(super) by_vendor: HashMap<&'static str, Vec<usize>>,
}

#[derive(Clone, Copy)]
pub(super) struct Id<'t> {
    pub(super) name: &'t str,
    pub(super) place: Place,
    /// Index of its target in the list of its own file.
    pub(super) number: usize,
}

impl Walk<'_> {
    pub(super) fn providers<'t>(&mut self, at: &At<'_, 't>) -> (Declared<'t>, Option<Box<[TargetSettings]>>) {
        let mut declared = Declared::default();
        if !self.is_map(at, &PROVIDERS) {
            return (declared, None);
        }
        let Some(list) = self.need(at, "targets", "list the vendors' targets under it") else {
            return (declared, None);
        };
        let Some(items) = self.list(&list) else { return (declared, None) };
        let mut targets = Vec::with_capacity(items.len());
        for item in items {
            declared.ids.push(None);
            targets.extend(self.target(&list.item(item), item.index, &mut declared));
        }
        (declared, Some(targets.into()))
    }

    /// `number` is its index in its own file's list.
    fn target<'t>(&mut self, at: &At<'_, 't>, number: usize, declared: &mut Declared<'t>) -> Option<TargetSettings> {
        if !self.is_map(at, &TARGET) {
            return None;
        }
        let id = self.need(at, "id", "name the target").and_then(|id| {
            let name = self.name(&id)?;
            self.unique(&id, "target id", name, &mut declared.id_places);
            Some(Id { name, place: id.node.place, number })
        });
        let provider = self
            .need(at, "provider", "name the vendor: openai, anthropic or openai-compatible")
            .and_then(|provider| self.word(&provider, "provider", PROVIDER_WORDS, &[]));
        let index = declared.ids.len() - 1;
        declared.ids[index] = id;
        if let Some(id) = id {
            declared.by_id.entry(id.name).or_insert(index);
        }
        if let Some(provider) = provider {
            declared.by_vendor.entry(provider.as_str()).or_default().push(index);
        }
        let base = self.base_url(at, provider);
        let key = self.key(at, provider);
        let ca_file = at.get("ca_file").and_then(|at| self.path(&at));
        let stream_usage =
            at.get("stream_usage").and_then(|at| self.word(&at, "stream_usage", STREAM_USAGE_WORDS, &[]));
        let timeouts = at.get("timeouts").map_or_else(Timeouts::default, |at| self.timeouts(&at));
        let pricing = at.get("pricing").map_or(Some(None), |at| self.pricing(&at).map(Some));
        let provider = provider?;
        Some(TargetSettings {
            id: id?.name.into(),
            provider,
            base: base?,
            key,
            ca_file,
            stream_usage: stream_usage.unwrap_or(provider.stream_usage()),
            timeouts,
            pricing: pricing?,
        })
    }

    fn base_url(&mut self, target: &At<'_, '_>, provider: Option<Provider>) -> Option<BaseUrl> {
        let Some(at) = target.get("base_url") else {
            let Some(usual) = provider?.base_url() else {
                self.need(target, "base_url", "say where the vendor is, e.g. http://localhost:8000");
                return None;
            };
            return BaseUrl::parse(usual).ok();
        };
        let text = self.text(&at)?;
        match BaseUrl::parse(text) {
            Ok(base) => Some(base),
            Err(bad) => {
                // The URL may hold a password, so neither message nor line repeats it.
                let complaint = self.say(Code::BadUrl, &at, format!("the URL {}", bad.message));
                complaint.suggestion = bad.suggestion.map(str::to_owned);
                if text.contains('@') {
                    complaint.shown = Shown::UpToStart;
                }
                None
            }
        }
    }

    fn key(&mut self, target: &At<'_, '_>, provider: Option<Provider>) -> Option<SecretRef> {
        let Some(at) = target.get("secret_key_ref") else {
            return provider?.usual_key().map(|name| SecretRef::Env(name.into()));
        };
        self.key_ref(&at)
    }

    fn timeouts(&mut self, at: &At<'_, '_>) -> Timeouts {
        let mut timeouts = Timeouts::default();
        if !self.is_map(at, &TIMEOUTS) {
            return timeouts;
        }
        let day = 1..=DAY_MS;
        for (key, field) in [
            ("connect_ms", &mut timeouts.connect_ms),
            ("first_byte_ms", &mut timeouts.first_byte_ms),
            ("idle_ms", &mut timeouts.idle_ms),
        ] {
            if let Some(ms) = at.get(key).and_then(|at| self.number(&at, day.clone())) {
                *field = ms;
            }
        }
        if let Some(total) = at.get("total_ms")
            && at.node.text_of("total_ms") != Some("off")
        {
            timeouts.total_ms = self.number(&total, day);
        }
        timeouts
    }
}
