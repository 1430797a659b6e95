//! What a client may name, the arms behind it, and which experiment that is.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Plan, hex};
use crate::config::file::{ArmSettings, GroupSettings, TargetSettings};
use crate::cost::{Prices, Pricing};
use crate::http1::write;
use crate::limits::BLOCK_SLOTS_MAX;
use crate::policy::{External, On, Policy, Rule};
use crate::route::{Place, round_of};
use crate::stats::measure::Measure;

/// One `model_groups[]`: what a client may name in `model`.
#[derive(Debug)]
pub struct Group {
    /// Unique in the file.
    pub name: Box<str>,
    /// In the order of the file.
    pub arms: Box<[Arm]>,
    /// The arms, as indices into `arms`, in the order of their names: what is drawn from a sequence doesn't depend on
    /// the order of the file.
    pub by_name: Box<[u32]>,
    /// Slots of each arm in one block, in the order of `arms`: the weights reduced by their common divisor, or
    /// apportioned by largest remainder over [`crate::limits::BLOCK_SLOTS_MAX`].
    pub block: Box<[u32]>,
    /// A round of turns, as indices into `arms`, where the strategy is [`Strategy::RoundRobin`]; else empty.
    pub turns: Box<[u32]>,
    /// How an arm is chosen.
    pub strategy: Strategy,
    /// Where the unit is looked for that an arm is assigned by; the first one that is there counts. Empty where each
    /// request is drawn for itself.
    pub assign_by: Box<[UnitSource]>,
    /// What makes this group's assignment of units independent of another's: `salt`, or the group's name.
    pub salt: Box<str>,
    /// What the group's owner wants to know.
    pub experiment: Option<Experiment>,
    /// What the experiment is: 16 hex digits of a hash over group, strategy, salt, unit, arms (target, base_url, model,
    /// weight) and policies. A change begins another; the order of the arms is none.
    pub epoch: Box<str>,
    /// The place in the group's sequence, shared by all cores and kept by a reload that leaves the epoch alone.
    pub place: Arc<Place>,
}

/// `model_groups[].strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// By chance, as the weights say: an experiment.
    #[default]
    Weighted,
    /// One after the other, as the weights say.
    RoundRobin,
    /// Of two drawn by chance, the one that has been answering faster.
    LeastLatency,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 3] = [Self::Weighted, Self::RoundRobin, Self::LeastLatency];

    /// The word in config and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Weighted => "weighted",
            Self::RoundRobin => "round_robin",
            Self::LeastLatency => "least_latency",
        }
    }
}

/// One `model_groups[].assign_by[]`: where a unit is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitSource {
    /// A field of the request's head, its name in lower case.
    Header(Box<str>),
    /// A text or a number in the request's body, by the keys that lead to it.
    Body(Box<[Box<str>]>),
    /// The client's name, where the config lists clients.
    Client,
}

/// `model_groups[].experiment`: what its verdict is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// The measure that decides.
    pub primary: Measure,
    /// The smallest difference that matters, in basis points: 500 is 5 %.
    pub margin_bp: u32,
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
    /// Share of the group's slots, 0 to 1: the chance that a request that is drawn for itself gets this arm.
    pub propensity: f64,
    /// Share of the weights, 0 to 1: the chance that a unit gets this arm. The same as `propensity` but for the
    /// rounding to whole slots.
    pub weight_share: f64,
    /// What its tokens cost; `None` where nobody has said.
    pub pricing: Option<Pricing>,
    /// The header fields that tell a client whom its answer comes from, as they are sent: the same for every answer.
    pub fields: Box<[u8]>,
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

    /// What its tokens cost, if that is known.
    pub fn prices(&self) -> Option<Prices> {
        self.pricing.as_ref().map(|pricing| pricing.prices)
    }
}

/// `pricing` is that of each arm, in order.
pub(super) fn resolve_group(
    group: &GroupSettings,
    targets: &[TargetSettings],
    pricing: &mut dyn Iterator<Item = Option<Pricing>>,
    epoch: Box<str>,
    place: Arc<Place>,
) -> Group {
    let weights: Vec<(&str, u32)> = group.arms.iter().map(|arm| (&*arm.name, arm.weight)).collect();
    let by_name = by_name(&weights);
    let block = block_of(&weights);
    let slots: u32 = block.iter().sum();
    let sum: u64 = weights.iter().map(|&(_, weight)| u64::from(weight)).sum();
    let resolve = |(arm, &own): (&ArmSettings, &u32)| Arm {
        name: arm.name.clone(),
        target: arm.target,
        model: arm.model.clone(),
        weight: arm.weight,
        propensity: f64::from(own) / f64::from(slots),
        weight_share: f64::from(arm.weight) / sum as f64,
        pricing: pricing.next().flatten(),
        fields: fields_of(&group.name, arm, &targets[arm.target].id),
    };
    Group {
        name: group.name.clone(),
        arms: group.arms.iter().zip(&block).map(resolve).collect(),
        turns: match group.strategy {
            Strategy::RoundRobin => round_of(&block, &by_name),
            Strategy::Weighted | Strategy::LeastLatency => Box::default(),
        },
        by_name,
        block,
        strategy: group.strategy,
        assign_by: group.assign_by.clone(),
        salt: group.salt.clone().unwrap_or_else(|| group.name.clone()),
        experiment: group.experiment.clone(),
        epoch,
        place,
    }
}

/// Names of a config are visible ASCII.
fn fields_of(group: &str, arm: &ArmSettings, target: &str) -> Box<[u8]> {
    let mut fields = Vec::new();
    write::field(&mut fields, "x-kt-model-group", group);
    write::field(&mut fields, "x-kt-model", &*arm.model);
    write::field(&mut fields, "x-kt-target", target);
    write::field(&mut fields, "x-kt-arm", &*arm.name);
    fields.into()
}

fn by_name(weights: &[(&str, u32)]) -> Box<[u32]> {
    // As many as a file of 1 MiB holds.
    let mut order: Box<[u32]> = (0..weights.len() as u32).collect();
    order.sort_by_key(|&index| weights[index as usize].0);
    order
}

/// Slots of each arm (name, weight) in a block, in the order given; what has to be rounded is rounded alike in any
/// order.
pub(in crate::config) fn block_of(weights: &[(&str, u32)]) -> Box<[u32]> {
    let order = by_name(weights);
    let sorted: Vec<u32> = order.iter().map(|&index| weights[index as usize].1).collect();
    let mut block: Box<[u32]> = weights.iter().map(|_| 0).collect();
    for (&index, &slots) in order.iter().zip(&reduce(&sorted)) {
        block[index as usize] = slots;
    }
    block
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
pub(super) fn epoch(group: &GroupSettings, targets: &[TargetSettings], policies: &[Policy]) -> Box<str> {
    let mut hash = Sha256::new();
    let text = |hash: &mut Sha256, text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    let count = |hash: &mut Sha256, n: usize| hash.update((n as u64).to_le_bytes());
    text(&mut hash, &group.name);
    count(&mut hash, group.arms.len());
    let mut arms: Vec<&ArmSettings> = group.arms.iter().collect();
    arms.sort_by_key(|arm| &arm.name);
    for arm in arms {
        let target = &targets[arm.target];
        for part in [&arm.name, &target.id, target.provider.as_str(), &target.base.as_url(), &arm.model] {
            text(&mut hash, part);
        }
        hash.update(arm.weight.to_le_bytes());
    }
    let applying: Vec<&Policy> = policies.iter().filter(|policy| policy.applies_to(&group.name)).collect();
    count(&mut hash, applying.len());
    for policy in applying {
        let (more, words): (&str, Vec<&str>) = match &policy.rule {
            Rule::ContentFilter { categories, threshold } => {
                (threshold.as_str(), categories.iter().map(|category| category.as_str()).collect())
            }
            Rule::External(External { target, model, categories, threshold, timeout_ms }) => {
                for part in [&targets[*target].id, model, &*timeout_ms.to_string()] {
                    text(&mut hash, part);
                }
                (threshold.as_str(), categories.iter().map(|category| category.as_str()).collect())
            }
            Rule::Pii { kinds } => ("", kinds.iter().map(|kind| kind.as_str()).collect()),
        };
        for part in [&policy.name, policy.kind(), policy.action.as_str(), more] {
            text(&mut hash, part);
        }
        count(&mut hash, words.len());
        for word in words {
            text(&mut hash, word);
        }
        // Epochs of policies that judge requests are older than those words.
        if policy.on != On::Request {
            text(&mut hash, policy.on.as_str());
            text(&mut hash, policy.mode.as_str());
        }
    }
    text(&mut hash, group.strategy.as_str());
    text(&mut hash, group.salt.as_deref().unwrap_or(&group.name));
    count(&mut hash, group.assign_by.len());
    for source in &group.assign_by {
        match source {
            UnitSource::Header(name) => {
                text(&mut hash, "header");
                text(&mut hash, name);
            }
            UnitSource::Body(path) => {
                text(&mut hash, "body");
                count(&mut hash, path.len());
                path.iter().for_each(|key| text(&mut hash, key));
            }
            UnitSource::Client => text(&mut hash, "client"),
        }
    }
    hex(&hash.finalize(), 16)
}

/// Slots of each arm in the smallest block that has the weights' shares: the weights over their common divisor. Where
/// that takes more than [`BLOCK_SLOTS_MAX`] slots, these are apportioned by largest remainder; of equal remainders the
/// earlier weight wins. All zeros stay zeros.
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
