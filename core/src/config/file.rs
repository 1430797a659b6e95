//! What the operator wrote, checked: the tree walked by hand, so that every complaint is collected before any is
//! printed.
//!
//! Nothing is read from elsewhere here: a [`File`] says where keys are, not what they are.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::complaint::{Code, Complaint, Place, Severity, Shown, nearest, printable, quote};
use super::plan::{
    BaseUrl, Driver, Fixed, LogFormat, LogLevel, LogSettings, Provider, SecretRef, StreamUsage, Timeouts, reduce, split,
};
use super::tree::{Entry, Item, Node, Value, key_step, spot};
use super::url::is_listen_address;
use crate::limits::{BLOCK_SLOTS_MAX, Limits, WEIGHT_MAX};
use crate::policy::{Action, Category, Threshold};

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
    pub policies: Option<Box<[PolicySettings]>>,
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
}

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
}

/// One `model_groups[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `name`.
    pub name: Box<str>,
    /// `targets`; at least one, and at least one weight is above 0.
    pub arms: Box<[ArmSettings]>,
}

/// One `model_groups[].targets[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmSettings {
    /// `label`, else `<target id>/<model>`; unique in its group.
    pub name: Box<str>,
    /// Index into [`File::targets`].
    pub target: usize,
    /// `model`.
    pub model: Box<str>,
    /// `weight`, 0 to [`WEIGHT_MAX`].
    pub weight: u32,
}

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

/// One `gateway.clients[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// `name`.
    pub name: Box<str>,
    /// `key_ref`.
    pub key: SecretRef,
}

/// `gateway.tls`: PEM files; a relative path is one from the directory of the file that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to a root.
    pub cert: Box<str>,
    /// Its private key, not encrypted.
    pub key: Box<str>,
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

/// The keys that a map may have, and those that mean something but are not there yet.
struct Shape<'a> {
    keys: &'a [&'static str],
    later: &'a [&'static str],
}

const ROOT: Shape<'_> =
    Shape { keys: &["version", "providers", "model_groups", "policies", "events", "gateway"], later: &[] };
const PROVIDERS: Shape<'_> = Shape { keys: &["targets"], later: &[] };
const TARGET: Shape<'_> = Shape {
    keys: &["id", "provider", "base_url", "secret_key_ref", "ca_file", "stream_usage", "timeouts"],
    later: &["pricing"],
};
const KEY_REF: Shape<'_> = Shape { keys: &["env", "file"], later: &["store"] };
const TIMEOUTS: Shape<'_> = Shape { keys: &["connect_ms", "first_byte_ms", "idle_ms", "total_ms"], later: &[] };
const GROUP: Shape<'_> = Shape { keys: &["name", "strategy", "targets"], later: &["assign_by", "salt", "experiment"] };
const ARM: Shape<'_> = Shape { keys: &["provider", "model", "weight", "label"], later: &["pricing"] };
const POLICY: Shape<'_> = Shape { keys: &["name", "type", "action", "on", "applies_to", "config"], later: &["mode"] };
const CONTENT_FILTER: Shape<'_> = Shape { keys: &["categories", "threshold"], later: &[] };
const EVENTS: Shape<'_> = Shape { keys: &["durability", "when_full"], later: &["rotation", "retention"] };
const GATEWAY: Shape<'_> =
    Shape { keys: &["listen", "cores", "driver", "tls", "clients", "admin", "limits", "log"], later: &[] };
const TLS: Shape<'_> = Shape { keys: &["cert", "key"], later: &[] };
const CLIENT: Shape<'_> = Shape { keys: &["name", "key_ref"], later: &[] };
const ADMIN: Shape<'_> = Shape { keys: &["listen"], later: &[] };
const LOG: Shape<'_> = Shape { keys: &["level", "format"], later: &[] };

/// Longest timeout of a target.
const DAY_MS: u64 = 86_400_000;
/// Linux itself stops at 8,192 processors.
const CORES_MAX: u64 = 8_192;
/// Longest id, name, label or model. They stand in response headers and in every event.
const NAME_BYTES_MAX: usize = 128;
/// Longest path; Linux's PATH_MAX.
const PATH_BYTES_MAX: usize = 4_096;
/// What guessing what was meant may cost in all, in compared pairs of characters: some tens of milliseconds.
const GUESSING_EFFORT: usize = 5_000_000;

const PROVIDER_WORDS: &[(&str, Provider)] = &[
    (Provider::OpenAi.as_str(), Provider::OpenAi),
    (Provider::Anthropic.as_str(), Provider::Anthropic),
    (Provider::OpenAiCompatible.as_str(), Provider::OpenAiCompatible),
];
const STREAM_USAGE_WORDS: &[(&str, StreamUsage)] = &[("ask", StreamUsage::Ask), ("leave", StreamUsage::Leave)];
const ACTION_WORDS: &[(&str, Action)] =
    &[(Action::Flag.as_str(), Action::Flag), (Action::Block.as_str(), Action::Block)];
const DRIVER_WORDS: &[(&str, Driver)] =
    &[("auto", Driver::Auto), ("io_uring", Driver::IoUring), ("epoll", Driver::Epoll)];
const LEVEL_WORDS: &[(&str, LogLevel)] =
    &[("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];
const FORMAT_WORDS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// A value on the way down: the node, and how it was reached.
#[derive(Clone, Copy)]
struct At<'p, 't> {
    node: &'t Node,
    step: Step<'t>,
    up: Option<&'p At<'p, 't>>,
}

#[derive(Clone, Copy)]
enum Step<'t> {
    Top,
    Key(&'t Entry),
    Index(usize),
}

impl<'t> At<'_, 't> {
    /// `model_groups[0].targets[1].provider`; empty at the top.
    fn path(&self) -> String {
        let up = self.up.map(At::path).unwrap_or_default();
        match self.step {
            Step::Top => up,
            Step::Key(entry) => join(&up, &entry.key),
            Step::Index(index) => format!("{up}[{index}]"),
        }
    }

    fn get<'p>(&'p self, key: &str) -> Option<At<'p, 't>> {
        let entry = self.node.entry(key)?;
        Some(At { node: &entry.node, step: Step::Key(entry), up: Some(self) })
    }

    fn item<'p>(&'p self, item: &'t Item) -> At<'p, 't> {
        At { node: &item.node, step: Step::Index(item.index), up: Some(self) }
    }

    /// Where to point at for what concerns the whole: its key, if it has one.
    fn head(&self) -> Place {
        match self.step {
            Step::Key(entry) => entry.key_place,
            Step::Top | Step::Index(_) => self.node.place,
        }
    }
}

fn join(path: &str, key: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{}", key_step(key))
}

/// Walks the tree of a config. The file is there only if nothing that was found is an error.
pub(super) fn walk(root: &Node, texts: &[Text], digest: Box<str>) -> (Option<File>, Vec<Complaint>) {
    let mut walk = Walk { texts, complaints: Vec::new(), secrets: Vec::new(), effort: GUESSING_EFFORT };
    let file = walk.root(&At { node: root, step: Step::Top, up: None }, digest);
    walk.hide_secrets();
    let is_valid = walk.complaints.iter().all(|complaint| complaint.severity() == Severity::Warning);
    (file.filter(|_| is_valid), walk.complaints)
}

/// The walk returns what it could read and remembers what it could not: a value that is wrong is complained of where it
/// stands and is `None` to whoever asked, who goes on with the rest.
struct Walk<'s> {
    texts: &'s [Text],
    complaints: Vec<Complaint>,
    /// Where something begins that may be a credential. What else is wrong on its line shows only what stands before.
    secrets: Vec<Place>,
    effort: usize,
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
        let groups = match top.get("model_groups") {
            Some(at) => self.groups(&at, &declared),
            None => {
                self.unused(&declared, &vec![false; declared.ids.len()]);
                None
            }
        };
        let policies = top.get("policies").and_then(|at| self.policies(&at, top.get("model_groups").as_ref()));
        if let Some(events) = top.get("events") {
            self.events(&events);
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
            log: LogSettings::default(),
        };
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

    // Providers.

    fn providers<'t>(&mut self, at: &At<'_, 't>) -> (Declared<'t>, Option<Box<[TargetSettings]>>) {
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
        let provider = provider?;
        Some(TargetSettings {
            id: id?.name.into(),
            provider,
            base: base?,
            key,
            ca_file,
            stream_usage: stream_usage.unwrap_or(provider.stream_usage()),
            timeouts,
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

    /// A wrong reference is most often the key itself.
    fn key_ref(&mut self, at: &At<'_, '_>) -> Option<SecretRef> {
        self.unseen(|walk| walk.key_place(at))
    }

    /// Reads a value of which no complaint shows what stands there.
    fn unseen<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let complaints = self.complaints.len();
        let value = read(self);
        for complaint in &mut self.complaints[complaints..] {
            if complaint.shown == Shown::Line {
                complaint.shown = Shown::UpToStart;
            }
            self.secrets.push(complaint.place);
        }
        value
    }

    fn hide_secrets(&mut self) {
        let mut by_line: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        for Place { file, line, column, .. } in &self.secrets {
            by_line.entry((*file, *line)).or_default().push(*column);
        }
        for Complaint { place, shown, .. } in &mut self.complaints {
            for &column in by_line.get(&(place.file, place.line)).into_iter().flatten() {
                let most = if place.column > column { Shown::Nothing } else { Shown::UpToEnd };
                *shown = most.max(*shown);
            }
        }
    }

    fn key_place(&mut self, at: &At<'_, '_>) -> Option<SecretRef> {
        const ADVICE: &str = "write env: NAME, the variable that holds the key, or file: PATH";
        if !matches!(at.node.value, Value::Map(_)) {
            self.say(Code::BadKeyRef, at, "must be a map").suggestion = Some(ADVICE.to_owned());
            return None;
        }
        let complaints = self.complaints.len();
        self.is_map(at, &KEY_REF);
        match (at.get("env"), at.get("file")) {
            (Some(env), None) => {
                let name = self.text(&env)?;
                let is_name = name.len() <= NAME_BYTES_MAX
                    && !name.starts_with(|c: char| c.is_ascii_digit())
                    && !name.is_empty()
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                if !is_name {
                    let complaint = self.say(Code::BadKeyRef, &env, "is not the name of an environment variable");
                    complaint.suggestion = Some("name the variable that holds the key, not the key".to_owned());
                    return None;
                }
                Some(SecretRef::Env(name.into()))
            }
            (None, Some(file)) => self.path(&file).map(SecretRef::File),
            // The wrong key has been complained of.
            (None, None) if self.complaints.len() > complaints => None,
            (Some(_), Some(_)) | (None, None) => {
                let place = at.head();
                let complaint = self.say(Code::BadKeyRef, at, "needs exactly one of \"env\" and \"file\"");
                (complaint.place, complaint.shown) = (place, Shown::UpToEnd);
                complaint.suggestion = Some(ADVICE.to_owned());
                None
            }
        }
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

    // Model groups.

    fn groups(&mut self, at: &At<'_, '_>, declared: &Declared<'_>) -> Option<Box<[GroupSettings]>> {
        let items = self.list(at)?;
        let mut used = vec![false; declared.ids.len()];
        let mut names = HashMap::new();
        let mut groups = Vec::with_capacity(items.len());
        for item in items {
            groups.extend(self.group(&at.item(item), declared, &mut used, &mut names));
        }
        // While a group is wrong, nobody knows yet which target it meant.
        if groups.len() == items.len() {
            self.unused(declared, &used);
        }
        Some(groups.into())
    }

    fn unused(&mut self, declared: &Declared<'_>, used: &[bool]) {
        for (index, id) in declared.ids.iter().enumerate() {
            // Of targets with the same id, the first is meant.
            let is_meant = id.is_some_and(|id| declared.by_id.get(id.name) == Some(&index));
            if let Some(Id { name, place, number }) = id.filter(|_| is_meant && !used[index]) {
                let path = format!("providers.targets[{number}].id");
                let message = format!("no model group uses the provider {}", quote(name));
                self.push(Code::UnusedProvider, place, path, message);
            }
        }
    }

    fn group<'t>(
        &mut self,
        at: &At<'_, 't>,
        declared: &Declared<'_>,
        used: &mut [bool],
        names: &mut HashMap<&'t str, Place>,
    ) -> Option<GroupSettings> {
        if !self.is_map(at, &GROUP) {
            return None;
        }
        let name = self.need(at, "name", "name the group; clients ask for it as their model").and_then(|at| {
            let name = self.name(&at)?;
            self.unique(&at, "model group", name, names);
            Some(name)
        });
        if let Some(strategy) = at.get("strategy") {
            self.word(&strategy, "strategy", &[("weighted", ())], &["round_robin", "least_latency"]);
        }
        let list = self.need(at, "targets", "list at least one target")?;
        let items = self.list(&list)?;
        if items.is_empty() {
            self.say(Code::EmptyList, &list, "a model group needs at least one target");
            return None;
        }
        let mut arms = Vec::with_capacity(items.len());
        let mut arm_names = HashMap::new();
        for item in items {
            arms.extend(self.arm(&list.item(item), declared, used, &mut arm_names));
        }
        if arms.len() < items.len() || !self.weights(&list, items, &arms) {
            return None;
        }
        Some(GroupSettings { name: name?.into(), arms: arms.into() })
    }

    fn arm(
        &mut self,
        at: &At<'_, '_>,
        declared: &Declared<'_>,
        used: &mut [bool],
        names: &mut HashMap<String, Place>,
    ) -> Option<ArmSettings> {
        if !self.is_map(at, &ARM) {
            return None;
        }
        let target =
            self.need(at, "provider", "name a target").and_then(|provider| self.reference(&provider, declared));
        let model = self.need(at, "model", "name the model to ask for").and_then(|model| self.name(&model));
        let weight = self
            .need(at, "weight", "say how much of the traffic it gets")
            .and_then(|weight| self.number(&weight, 0..=u64::from(WEIGHT_MAX)));
        let label = match at.get("label") {
            Some(label) => Some((self.name(&label)?.to_owned(), label.node.place)),
            None => None,
        };
        let target = target?;
        used[target] = true;
        let model = model?;
        let (name, place) = match label {
            Some(label) => label,
            // A target that has no id has been complained of.
            None => (format!("{}/{model}", declared.ids[target]?.name), at.node.place),
        };
        match names.get(&name) {
            Some(&first) => {
                let message =
                    format!("duplicate arm {}; the first one is at {}", quote(&name), self.seen(first, place));
                self.push(Code::Duplicate, place, at.path(), message).suggestion =
                    Some("tell the arms apart with a label".to_owned());
            }
            None => {
                names.insert(name.clone(), place);
            }
        }
        let weight = u32::try_from(weight?).ok()?;
        Some(ArmSettings { name: name.into(), target, model: model.into(), weight })
    }

    /// The target that an arm names: by id, else as the only one of a vendor.
    fn reference(&mut self, at: &At<'_, '_>, declared: &Declared<'_>) -> Option<usize> {
        let word = self.text(at)?;
        if let Some(&index) = declared.by_id.get(word) {
            return Some(index);
        }
        match declared.by_vendor.get(word).map(Vec::as_slice) {
            Some(&[index]) => Some(index),
            Some(several) => {
                let ids: Vec<String> =
                    several.iter().filter_map(|&i| declared.ids[i]).take(4).map(|id| quote(id.name)).collect();
                let message = format!("{} targets have the vendor {}", several.len(), quote(word));
                self.say(Code::Ambiguous, at, message).suggestion =
                    Some(format!("name a target by its id: {}", ids.join(", ")));
                None
            }
            None => {
                let known = declared.ids.iter().flatten().map(|id| id.name).chain(declared.by_vendor.keys().copied());
                let guess = self.guess(word, known);
                let complaint = self.say(Code::UnknownReference, at, format!("unknown provider {}", quote(word)));
                complaint.suggestion = guess.or(Some("list it under providers.targets".to_owned()));
                None
            }
        }
    }

    /// What the weights come to. Whether the group can be drawn from.
    fn weights(&mut self, list: &At<'_, '_>, items: &[Item], arms: &[ArmSettings]) -> bool {
        let weights: Vec<u32> = arms.iter().map(|arm| arm.weight).collect();
        let sum: u64 = weights.iter().copied().map(u64::from).sum();
        let head = list.head();
        if sum == 0 {
            self.push(Code::AllZero, head, list.path(), "all weights of the group are 0".to_owned());
            return false;
        }
        if sum != 100 {
            /// Arms named in the message.
            const NAMED: usize = 8;
            let names = arms.iter().map(|arm| (&*arm.name, &*arm.model, arm.weight));
            let shares = split(names.take(NAMED), sum);
            let rest = if arms.len() > NAMED { format!(" and {} more", arms.len() - NAMED) } else { String::new() };
            let message = format!("the weights sum to {sum}, not 100; the shares are {shares}{rest}");
            self.push(Code::WeightsSum, head, list.path(), message);
        }
        let block = reduce(&weights);
        if block
            .iter()
            .zip(&weights)
            .all(|(&slots, &weight)| u64::from(slots) * sum == u64::from(weight) * slots_of(&block))
        {
            return true;
        }
        let message =
            format!("the weights don't fit a block of {BLOCK_SLOTS_MAX} slots; the shares are rounded to 0.1%");
        self.push(Code::WeightsRounded, head, list.path(), message);
        for ((item, arm), &slots) in items.iter().zip(arms).zip(&block) {
            if arm.weight > 0 && slots == 0 {
                let at = list.item(item);
                let at = at.get("weight").unwrap_or(at);
                let (name, weight) = (quote(&arm.name), arm.weight);
                let message = format!("{weight} of {sum} rounds to no slot; the arm {name} is never drawn");
                self.say(Code::NeverDrawn, &at, message);
            }
        }
        true
    }

    // Policies.

    fn policies<'t>(&mut self, at: &At<'_, 't>, groups: Option<&At<'_, 't>>) -> Option<Box<[PolicySettings]>> {
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

    // The gateway itself.

    fn events(&mut self, at: &At<'_, '_>) {
        if !self.is_map(at, &EVENTS) {
            return;
        }
        if let Some(durability) = at.get("durability") {
            self.word(&durability, "durability", &[("written", ())], &["synced", "relaxed"]);
        }
        if let Some(when_full) = at.get("when_full") {
            self.word(&when_full, "when_full", &[("shed", ())], &["drop"]);
        }
    }

    fn gateway(&mut self, at: &At<'_, '_>, file: &mut File) {
        if !self.is_map(at, &GATEWAY) {
            return;
        }
        file.fixed.listen = at.get("listen").and_then(|at| self.address(&at));
        file.fixed.cores = at.get("cores").and_then(|at| self.number(&at, 1..=CORES_MAX)).map(|cores| cores as usize);
        file.fixed.driver = at.get("driver").and_then(|at| self.word(&at, "driver", DRIVER_WORDS, &[]));
        if let Some(tls) = at.get("tls") {
            file.tls = self.tls(&tls);
            file.fixed.tls = true;
        }
        file.clients = at.get("clients").and_then(|at| self.clients(&at));
        if let Some(admin) = at.get("admin")
            && self.is_map(&admin, &ADMIN)
        {
            file.fixed.admin_listen = admin.get("listen").and_then(|at| self.address(&at));
        }
        if let Some(limits) = at.get("limits") {
            self.limits(&limits, &mut file.limits);
        }
        if let Some(log) = at.get("log")
            && self.is_map(&log, &LOG)
        {
            let level = log.get("level").and_then(|at| self.word(&at, "log level", LEVEL_WORDS, &[]));
            let format = log.get("format").and_then(|at| self.word(&at, "log format", FORMAT_WORDS, &[]));
            file.log = LogSettings { level: level.unwrap_or_default(), format: format.unwrap_or_default() };
        }
    }

    fn tls(&mut self, at: &At<'_, '_>) -> Option<TlsFiles> {
        if !self.is_map(at, &TLS) {
            return None;
        }
        let cert = self.need(at, "cert", "name the PEM file with the certificate").and_then(|at| self.path(&at));
        let key = self
            .need(at, "key", "name the PEM file with the certificate's key")
            .and_then(|at| self.unseen(|walk| walk.path(&at)));
        Some(TlsFiles { cert: cert?, key: key? })
    }

    fn clients(&mut self, at: &At<'_, '_>) -> Option<Box<[ClientSettings]>> {
        let items = self.list(at)?;
        if items.is_empty() {
            self.say(Code::EmptyList, at, "without a client, nobody could come in").suggestion =
                Some("leave it out, and whoever reaches the port may ask".to_owned());
        }
        let (mut names, mut keys) = (HashMap::new(), HashMap::new());
        let mut clients = Vec::with_capacity(items.len());
        for item in items {
            clients.extend(self.client(&at.item(item), &mut names, &mut keys));
        }
        Some(clients.into())
    }

    fn client<'t>(
        &mut self,
        at: &At<'_, 't>,
        names: &mut HashMap<&'t str, Place>,
        keys: &mut HashMap<SecretRef, Place>,
    ) -> Option<ClientSettings> {
        if !matches!(at.node.value, Value::Map(_)) {
            // It may be the key itself.
            self.unseen(|walk| walk.wrong_type(at, "a map of keys").code);
            return None;
        }
        self.is_map(at, &CLIENT);
        let name = self.need(at, "name", "name the client; its events say it").and_then(|at| {
            let name = self.free_name(&at)?;
            self.unique(&at, "client", name, names);
            Some(name)
        });
        let key_ref = self.need(at, "key_ref", "say where the client's key is: key_ref: {env: NAME}")?;
        let key = self.key_ref(&key_ref)?;
        let place = key_ref.head();
        if let Some(&first) = keys.get(&key) {
            let message = format!("the same key as at {}; these clients can't be told apart", self.seen(first, place));
            let complaint = self.push(Code::Duplicate, place, key_ref.path(), message);
            complaint.suggestion = Some("give each client its own".to_owned());
            complaint.shown = Shown::UpToEnd;
        }
        keys.entry(key.clone()).or_insert(place);
        Some(ClientSettings { name: name?.into(), key })
    }

    fn address(&mut self, at: &At<'_, '_>) -> Option<Box<str>> {
        let text = self.text(at)?;
        if is_listen_address(text) {
            return Some(text.into());
        }
        self.say(Code::BadAddress, at, format!("{} is not HOST:PORT", quote(text))).suggestion =
            Some("write e.g. '0.0.0.0:41002' or '[::1]:41002'".to_owned());
        None
    }

    fn limits(&mut self, at: &At<'_, '_>, limits: &mut Limits) {
        let keys: Vec<&str> = Limits::ALL.iter().map(|limit| limit.name).collect();
        if !self.is_map(at, &Shape { keys: &keys, later: &[] }) {
            return;
        }
        for limit in Limits::ALL {
            if let Some(value) = at.get(limit.name).and_then(|at| self.number(&at, limit.min..=limit.max)) {
                (limit.write)(limits, value);
            }
        }
    }

    // Values.

    /// Whether this is a map; complains of the keys it may not have.
    fn is_map(&mut self, at: &At<'_, '_>, shape: &Shape<'_>) -> bool {
        let Value::Map(entries) = &at.node.value else {
            self.wrong_type(at, "a map of keys");
            return false;
        };
        for entry in entries.iter().filter(|entry| !shape.keys.contains(&&*entry.key)) {
            self.foreign_key(at, entry, shape);
        }
        true
    }

    fn foreign_key(&mut self, at: &At<'_, '_>, entry: &Entry, shape: &Shape<'_>) {
        let (key, path) = (quote(&entry.key), join(&at.path(), &entry.key));
        if shape.later.contains(&&*entry.key) {
            self.push(Code::NotAvailable, entry.key_place, path, format!("{key} is not available in this version"));
            return;
        }
        let lower = entry.key.to_ascii_lowercase();
        let is_secret = ["key", "secret", "token", "password", "auth"].iter().any(|part| lower.contains(part));
        let reference = shape.keys.iter().find(|key| key.ends_with("key_ref"));
        let guess = match reference {
            Some(reference) if lower == "api_key" => {
                Some(format!("name the variable that holds the key: {reference}: {{env: NAME}}"))
            }
            Some(_) | None => self.guess(&entry.key, shape.keys.iter().copied()),
        };
        if is_secret {
            self.secrets.push(entry.key_place);
        }
        let complaint = self.push(Code::UnknownKey, entry.key_place, path, format!("unknown key {key}"));
        complaint.suggestion = guess.or_else(|| Some(format!("the keys here are {}", shape.keys.join(", "))));
        if is_secret {
            complaint.shown = Shown::UpToEnd;
        }
    }

    /// The value of a key that has to be there.
    fn need<'p, 't>(&mut self, at: &'p At<'_, 't>, key: &str, advice: &str) -> Option<At<'p, 't>> {
        let found = at.get(key);
        if found.is_none() {
            let path = join(&at.path(), key);
            let complaint = self.push(Code::MissingKey, at.node.place, path, format!("the key \"{key}\" is missing"));
            complaint.suggestion = Some(advice.to_owned());
        }
        found
    }

    fn list<'t>(&mut self, at: &At<'_, 't>) -> Option<&'t [Item]> {
        let Value::List(items) = &at.node.value else {
            self.wrong_type(at, "a list");
            return None;
        };
        Some(items)
    }

    fn text<'t>(&mut self, at: &At<'_, 't>) -> Option<&'t str> {
        match &at.node.value {
            Value::Text(text) => Some(text),
            Value::Bool | Value::Int(_) | Value::Float(_) => {
                let written = self.written(at);
                self.wrong_type(at, "text").suggestion = Some(format!("write it in quotes: '{written}'"));
                None
            }
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong_type(at, "text");
                None
            }
        }
    }

    /// A name that stands in a response header: visible ASCII.
    fn name<'t>(&mut self, at: &At<'_, 't>) -> Option<&'t str> {
        let name = self.free_name(at)?;
        if name.bytes().all(|b| b.is_ascii_graphic()) {
            return Some(name);
        }
        let message = format!("{} has a space or a character that is not ASCII", quote(name));
        self.say(Code::BadName, at, message).suggestion = Some("it stands in response headers".to_owned());
        None
    }

    /// A name that stands in events only.
    fn free_name<'t>(&mut self, at: &At<'_, 't>) -> Option<&'t str> {
        let name = self.text(at)?;
        let fault = if name.is_empty() {
            "is empty".to_owned()
        } else if name.len() > NAME_BYTES_MAX {
            format!("has {} bytes; at most {NAME_BYTES_MAX} are allowed", name.len())
        } else if name.chars().any(char::is_control) {
            "has a control character".to_owned()
        } else {
            return Some(name);
        };
        self.say(Code::BadName, at, fault);
        None
    }

    /// A path; a relative one is one from the directory of the file that names it.
    fn path(&mut self, at: &At<'_, '_>) -> Option<Box<str>> {
        let text = self.text(at)?;
        if text.is_empty() || text.len() > PATH_BYTES_MAX || text.chars().any(char::is_control) {
            self.say(Code::BadName, at, "is not a path");
            return None;
        }
        let named_in = Path::new(&self.texts[at.node.place.file as usize].name);
        let path = named_in.parent().unwrap_or(Path::new("")).join(text);
        // Both parts are text, so the whole is.
        path.to_str().map(Into::into)
    }

    fn word<T: Copy>(&mut self, at: &At<'_, '_>, what: &str, words: &[(&str, T)], later: &[&str]) -> Option<T> {
        let text = self.text(at)?;
        if let Some(&(_, value)) = words.iter().find(|&&(word, _)| word == text) {
            return Some(value);
        }
        if later.contains(&text) {
            self.say(Code::NotAvailable, at, format!("{} is not available in this version", quote(text)));
            return None;
        }
        let known: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
        let guess = self.guess(text, known.iter().copied());
        let complaint = self.say(Code::UnknownWord, at, format!("unknown {what} {}", quote(text)));
        complaint.suggestion = guess.or_else(|| Some(format!("it can be {}", known.join(", "))));
        None
    }

    /// A whole number; `70.0` and `1e2` are whole too.
    fn number(&mut self, at: &At<'_, '_>, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let number = match &at.node.value {
            Value::Int(number) => Some(*number),
            // Exact where it is in any range of ours; beyond, the cast saturates and is out of range as well.
            Value::Float(number) if number.fract() == 0.0 => Some(*number as i128),
            Value::Float(_) => {
                let written = self.written(at);
                self.say(Code::NotWhole, at, format!("must be a whole number, not {written}"));
                return None;
            }
            Value::Null | Value::Bool | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
        };
        let Some(number) = number else {
            let complaint = self.wrong_type(at, "a number");
            if let Value::Text(text) = &at.node.value
                && let Ok(meant) = text.trim().replace('_', "").parse::<u64>()
            {
                complaint.suggestion = Some(format!("write {meant}, without quotes"));
            }
            return None;
        };
        match u64::try_from(number) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (least, most) = range.into_inner();
                let written = self.written(at);
                self.say(Code::OutOfRange, at, format!("must be {least} to {most}, not {written}"));
                None
            }
        }
    }

    /// Complains when another of its kind has this name already.
    fn unique<'t>(&mut self, at: &At<'_, '_>, what: &str, name: &'t str, seen: &mut HashMap<&'t str, Place>) {
        let place = at.node.place;
        match seen.get(name) {
            Some(&first) => {
                let first = self.seen(first, place);
                self.say(Code::Duplicate, at, format!("duplicate {what} {}; the first one is at {first}", quote(name)));
            }
            None => {
                seen.insert(name, place);
            }
        }
    }

    /// A place as seen from another: with the file, if it is another one.
    fn seen(&self, place: Place, from: Place) -> String {
        if place.file == from.file {
            return spot(place);
        }
        format!("{}, {}", printable(&self.texts[place.file as usize].name), spot(place))
    }

    // Complaints.

    /// Of a wrong text, the message doesn't say what it is: it may be a key that was put in the wrong place.
    fn wrong_type(&mut self, at: &At<'_, '_>, expected: &str) -> &mut Complaint {
        let message = match &at.node.value {
            Value::Null => format!("must be {expected}, but there is nothing"),
            Value::Bool => format!("must be {expected}, not {}", self.written(at)),
            Value::Int(_) | Value::Float(_) => format!("must be {expected}, not the number {}", self.written(at)),
            Value::Text(_) => format!("must be {expected}, not text"),
            Value::List(_) => format!("must be {expected}, not a list"),
            Value::Map(_) => format!("must be {expected}, not a map"),
        };
        self.say(Code::WrongType, at, message)
    }

    /// A number or a truth value as it stands in its file.
    fn written(&self, at: &At<'_, '_>) -> String {
        self.texts[at.node.place.file as usize].at(at.node.place)
    }

    fn guess<'a>(&mut self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
        nearest(word, known, &mut self.effort).map(|near| format!("did you mean {}?", quote(near)))
    }

    fn say(&mut self, code: Code, at: &At<'_, '_>, message: impl Into<String>) -> &mut Complaint {
        self.push(code, at.node.place, at.path(), message.into())
    }

    fn push(&mut self, code: Code, place: Place, path: String, message: String) -> &mut Complaint {
        self.complaints.push(Complaint { code, place, path, message, suggestion: None, shown: Shown::Line });
        self.complaints.last_mut().expect("it was pushed in the line above")
    }
}

/// The targets as far as they could be read, for those who refer to them: a target with a wrong timeout is still the
/// target that a group means.
#[derive(Default)]
struct Declared<'t> {
    /// In the order of the file; `None` where the id can't be read.
    ids: Vec<Option<Id<'t>>>,
    id_places: HashMap<&'t str, Place>,
    by_id: HashMap<&'t str, usize>,
    by_vendor: HashMap<&'static str, Vec<usize>>,
}

#[derive(Clone, Copy)]
struct Id<'t> {
    name: &'t str,
    place: Place,
    /// Index of its target in the list of its own file.
    number: usize,
}

fn slots_of(block: &[u32]) -> u64 {
    block.iter().copied().map(u64::from).sum()
}
