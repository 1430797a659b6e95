//! `model_groups`: the names that clients ask for, and the arms behind them.

use std::collections::HashMap;

use super::providers::{Declared, Id};
use super::walk::{At, Shape, Walk};
use crate::config::complaint::{Code, Place, quote};
use crate::config::plan::{Experiment, Strategy, UnitSource, block_of, split};
use crate::config::tree::Item;
use crate::cost::Prices;
use crate::limits::{BLOCK_SLOTS_MAX, WEIGHT_MAX};

/// One `model_groups[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `name`.
    pub name: Box<str>,
    /// `targets`; at least one, and at least one weight is above 0.
    pub arms: Box<[ArmSettings]>,
    /// `strategy`.
    pub strategy: Strategy,
    /// `assign_by`; empty where each request is drawn for itself.
    pub assign_by: Box<[UnitSource]>,
    /// `salt`; the group's name where it isn't there.
    pub salt: Option<Box<str>>,
    /// `experiment`.
    pub experiment: Option<Experiment>,
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
    /// `pricing`; its target's where it isn't there.
    pub pricing: Option<Prices>,
}

const GROUP: Shape<'_> =
    Shape { keys: &["name", "strategy", "targets", "assign_by", "salt", "experiment"], later: &[] };
const ARM: Shape<'_> = Shape { keys: &["provider", "model", "weight", "label", "pricing"], later: &[] };

impl Walk<'_> {
    /// Notes in `used` which targets are.
    pub(super) fn groups(
        &mut self,
        at: &At<'_, '_>,
        declared: &Declared<'_>,
        used: &mut [bool],
    ) -> Option<Box<[GroupSettings]>> {
        let items = self.list(at)?;
        let mut names = HashMap::new();
        let mut groups = Vec::with_capacity(items.len());
        for item in items {
            groups.extend(self.group(&at.item(item), declared, used, &mut names));
        }
        Some(groups.into())
    }

    pub(super) fn unused(&mut self, declared: &Declared<'_>, used: &[bool]) {
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
        let words: Vec<_> = Strategy::ALL.iter().map(|&strategy| (strategy.as_str(), strategy)).collect();
        let strategy =
            at.get("strategy").map_or(Some(Strategy::Weighted), |at| self.word(&at, "strategy", &words, &[]));
        let assign_by = at.get("assign_by").map_or(Some(Box::default()), |at| self.assign_by(&at));
        let salt = at.get("salt").map_or(Some(None), |at| self.free_name(&at).map(|salt| Some(salt.into())));
        let experiment = at.get("experiment").map_or(Some(None), |at| self.experiment(&at).map(Some));
        if let Some(strategy) = strategy {
            self.randomised(at, strategy);
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
        Some(GroupSettings {
            name: name?.into(),
            arms: arms.into(),
            strategy: strategy?,
            assign_by: assign_by?,
            salt: salt?,
            experiment: experiment?,
        })
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
        let pricing = at.get("pricing").map_or(Some(None), |at| self.pricing(&at).map(Some));
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
        Some(ArmSettings { name: name.into(), target, model: model.into(), weight, pricing: pricing? })
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
        let weights: Vec<(&str, u32)> = arms.iter().map(|arm| (&*arm.name, arm.weight)).collect();
        let sum: u64 = weights.iter().map(|&(_, weight)| u64::from(weight)).sum();
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
        let block = block_of(&weights);
        if block
            .iter()
            .zip(&weights)
            .all(|(&slots, &(_, weight))| u64::from(slots) * sum == u64::from(weight) * slots_of(&block))
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
}

fn slots_of(block: &[u32]) -> u64 {
    block.iter().copied().map(u64::from).sum()
}
