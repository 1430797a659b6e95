//! What a client may name, the arms behind it, and which experiment that is.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Plan, hex};
use crate::config::file::{GroupSettings, PolicySettings, TargetSettings};
use crate::limits::BLOCK_SLOTS_MAX;
use crate::route::Place;

/// One `model_groups[]`: what a client may name in `model`.
#[derive(Debug)]
pub struct Group {
    /// Unique in the file.
    pub name: Box<str>,
    /// In the order of the file.
    pub arms: Box<[Arm]>,
    /// Slots of each arm in one block, in the order of `arms`: the weights reduced by their common divisor, or
    /// apportioned by largest remainder over [`crate::limits::BLOCK_SLOTS_MAX`].
    pub block: Box<[u32]>,
    /// What the experiment is: 16 hex digits of a hash over group, salt, unit, arms (target, base_url, model, weight)
    /// and policies. A change begins another.
    pub epoch: Box<str>,
    /// The place in the group's block sequence, shared by all cores and kept by a reload that leaves the epoch alone.
    pub place: Arc<Place>,
}

/// One `model_groups[].targets[]`: a model at a target, with a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// `label`, else `<target id>/<model>`; unique in its group.
    pub name: Box<str>,
    /// Index into [`Plan::targets`].
    pub target: usize,
    /// As configured; what the vendor is asked for.
    pub model: Box<str>,
    /// As configured.
    pub weight: u32,
    /// Share of the group's slots, 0 to 1: the chance that a request of the group gets this arm.
    pub propensity: f64,
}

impl Group {
    /// The group as start and reload print it: `gpt-4o (70%) / claude-sonnet-4-20250514 (30%)`. Arms that share a model
    /// go by their names instead.
    pub fn split(&self) -> String {
        split(self.arms.iter().map(|arm| (&*arm.name, &*arm.model, arm.weight)), self.weight_sum())
    }

    /// The sum of the arms' weights, above 0.
    fn weight_sum(&self) -> u64 {
        self.arms.iter().map(|arm| u64::from(arm.weight)).sum()
    }
}

impl Arm {
    /// The weight's share of the group in percent, as people read it: `70%`, or `33.3%` when it isn't whole.
    pub fn share(&self, group: &Group) -> String {
        share(self.weight, group.weight_sum())
    }
}

pub(super) fn resolve_group(group: &GroupSettings, epoch: Box<str>, place: Arc<Place>) -> Group {
    let weights: Vec<u32> = group.arms.iter().map(|arm| arm.weight).collect();
    let block = reduce(&weights);
    let slots: u32 = block.iter().sum();
    let arms = group
        .arms
        .iter()
        .zip(&block)
        .map(|(arm, &own)| Arm {
            name: arm.name.clone(),
            target: arm.target,
            model: arm.model.clone(),
            weight: arm.weight,
            propensity: f64::from(own) / f64::from(slots),
        })
        .collect();
    Group { name: group.name.clone(), arms, block, epoch, place }
}

/// The sequence of the group of this name, if it is still the same experiment.
pub(super) fn place(previous: Option<&Plan>, name: &str, epoch: &str) -> Option<Arc<Place>> {
    let previous = previous?;
    let group = &previous.groups[*previous.group_by_name.get(name)?];
    (*group.epoch == *epoch).then(|| Arc::clone(&group.place))
}

pub(super) fn arm_by_model(groups: &[Group]) -> HashMap<Box<str>, (usize, usize)> {
    let mut found: HashMap<&str, Option<(usize, usize)>> = HashMap::new();
    for (g, group) in groups.iter().enumerate() {
        for (a, arm) in group.arms.iter().enumerate() {
            found.entry(&arm.model).and_modify(|only| *only = None).or_insert(Some((g, a)));
        }
    }
    found.into_iter().filter_map(|(model, only)| Some((model.into(), only?))).collect()
}

/// What the experiment is, as 16 hex digits of a SHA-256. Every text goes in behind its length and every list behind
/// its count, so that different experiments are different inputs.
pub(super) fn epoch(group: &GroupSettings, targets: &[TargetSettings], policies: &[PolicySettings]) -> Box<str> {
    let mut hash = Sha256::new();
    let text = |hash: &mut Sha256, text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    let count = |hash: &mut Sha256, n: usize| hash.update((n as u64).to_le_bytes());
    text(&mut hash, &group.name);
    count(&mut hash, group.arms.len());
    for arm in &group.arms {
        let target = &targets[arm.target];
        for part in [&arm.name, &target.id, target.provider.as_str(), &target.base.as_url(), &arm.model] {
            text(&mut hash, part);
        }
        hash.update(arm.weight.to_le_bytes());
    }
    let applying: Vec<&PolicySettings> = policies.iter().filter(|policy| policy.applies_to(&group.name)).collect();
    count(&mut hash, applying.len());
    for policy in applying {
        for part in [&policy.name, "content_filter", policy.action.as_str(), policy.threshold.as_str()] {
            text(&mut hash, part);
        }
        count(&mut hash, policy.categories.len());
        for category in &policy.categories {
            text(&mut hash, category.as_str());
        }
    }
    hex(&hash.finalize(), 16)
}

/// Slots of each arm in the smallest block that has the weights' shares: the weights over their common divisor. Where
/// that takes more than [`BLOCK_SLOTS_MAX`] slots, these are apportioned by largest remainder; of equal remainders the
/// earlier arm wins. All zeros stay zeros.
pub fn reduce(weights: &[u32]) -> Box<[u32]> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    if sum / u64::from(divisor) <= u64::from(BLOCK_SLOTS_MAX) {
        return weights.iter().map(|weight| weight / divisor).collect();
    }
    // At most 1,000 × 1,000,000, and the quotients at most 1,000.
    let scaled = |weight: u32| u64::from(weight) * u64::from(BLOCK_SLOTS_MAX);
    let mut slots: Box<[u32]> = weights.iter().map(|&weight| (scaled(weight) / sum) as u32).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|&i| std::cmp::Reverse(scaled(weights[i]) % sum));
    let left = BLOCK_SLOTS_MAX - slots.iter().sum::<u32>();
    for &i in &by_remainder[..left as usize] {
        slots[i] += 1;
    }
    slots
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Arms (name, model, weight) with their shares of `sum`, as people read them. An arm goes by its model, or by its name
/// where another has the same model.
pub(in crate::config) fn split<'a>(arms: impl Iterator<Item = (&'a str, &'a str, u32)>, sum: u64) -> String {
    let arms: Vec<(&str, &str, u32)> = arms.collect();
    let mut models: HashMap<&str, usize> = HashMap::new();
    for (_, model, _) in &arms {
        *models.entry(model).or_default() += 1;
    }
    let said = |&(name, model, weight): &(&str, &str, u32)| {
        let label = if models[model] > 1 { name } else { model };
        format!("{label} ({})", share(weight, sum))
    };
    arms.iter().map(said).collect::<Vec<_>>().join(" / ")
}

/// A weight's part of a sum in percent: whole, or else with one decimal.
fn share(weight: u32, sum: u64) -> String {
    let (weight, sum) = (u64::from(weight), sum.max(1));
    if weight * 100 % sum == 0 {
        return format!("{}%", weight * 100 / sum);
    }
    let per_mille = (weight * 1_000 + sum / 2) / sum;
    format!("{}.{}%", per_mille / 10, per_mille % 10)
}
