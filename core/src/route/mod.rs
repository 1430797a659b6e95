//! Which arm a request gets.
//!
//! A group is drawn from, by weight; a unit that the request names always gets the same arm; a model that exactly one
//! arm has is taken at its word. Whether the arm can answer is not asked here: an assignment that depended on it would
//! not be one by chance. Those who balance load and don't experiment have two strategies that chance has no part, or
//! only a small part, in.

mod load;
mod permutation;
mod rendezvous;
mod turns;
mod unit;

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::plan::{Plan, Strategy};
use crate::event::Method;
use crate::fault::{Fault, Kind, Phase};

pub use load::{Load, Outcome};
pub use permutation::{Drawer, Drawn};
pub use rendezvous::{assign, score, unit_hash};
pub use turns::round_of;
pub use unit::{Asked, Unit, find_unit};

/// A group's place in its sequence of slots, on a cache line of its own: the one counter that cores share per group.
#[derive(Debug)]
#[repr(align(128))]
pub struct Place {
    next: AtomicU64,
    /// Keys the permutations of this run of the experiment; secret, so that nobody can tell the next arm.
    key: u64,
}

/// The arm a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Index into the plan's groups.
    pub group: usize,
    /// Index into the group's arms.
    pub arm: usize,
    /// How it came about: drawn or direct.
    pub method: Method,
    /// The group's place, when the arm was drawn or was next in turn.
    pub slot: Option<u64>,
    /// Tells the unit apart, when the arm was assigned by one.
    pub unit_hash: Option<u64>,
}

/// What a core brings to a choice.
pub struct Chooser<'c> {
    /// Its view of the groups' sequences.
    pub drawer: &'c mut Drawer,
    /// How the arms of the route's group have been answering on this core; needed for [`Strategy::LeastLatency`] only.
    pub loads: &'c [Rc<Load>],
    /// Drawn by chance for this request.
    pub dice: u64,
    /// Now, ns.
    pub now: u64,
}

/// Most groups that an error names.
const NAMES_MAX: usize = 20;

/// What a request's `model` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A group, from which an arm is to be drawn: an index into the plan's groups.
    Group(usize),
    /// The one arm of all groups that has this model.
    Arm {
        /// Index into the plan's groups.
        group: usize,
        /// Index into the group's arms.
        arm: usize,
    },
}

impl Route {
    /// The group, index into the plan's, of either.
    pub const fn group(self) -> usize {
        match self {
            Self::Group(group) | Self::Arm { group, .. } => group,
        }
    }
}

/// Finds what `model` names: a group's name first, then a model that exactly one arm has. Nothing is drawn yet.
///
/// # Errors
/// [`Kind::UnknownModel`], listing the groups.
pub fn find(plan: &Plan, model: &str) -> Result<Route, Fault> {
    if let Some(&group) = plan.group_by_name.get(model) {
        return Ok(Route::Group(group));
    }
    match plan.arm_by_model.get(model) {
        Some(&(group, arm)) => Ok(Route::Arm { group, arm }),
        None => Err(Fault::with(Kind::UnknownModel, Phase::Body, known_groups(plan))),
    }
}

/// Chooses the arm for a request that takes `route`. `unit` is what [`find_unit`] has found.
pub fn select(plan: &Plan, route: Route, unit: Option<&Unit<'_>>, chooser: Chooser<'_>) -> Selection {
    let group = match route {
        Route::Group(group) => group,
        Route::Arm { group, arm } => {
            return Selection { group, arm, method: Method::Direct, slot: None, unit_hash: None };
        }
    };
    let configured = &plan.groups[group];
    let Chooser { drawer, loads, dice, now } = chooser;
    match (configured.strategy, unit) {
        (Strategy::Weighted, Some(Unit(unit))) => {
            let unit_hash = Some(unit_hash(configured.salt.as_bytes(), unit));
            Selection { group, arm: assign(configured, unit), method: Method::Hash, slot: None, unit_hash }
        }
        (Strategy::Weighted, None) => {
            let Drawn { arm, slot } = drawer.draw(group, configured);
            Selection { group, arm, method: Method::Block, slot: Some(slot), unit_hash: None }
        }
        (Strategy::RoundRobin, _) => {
            let slot = configured.place.take();
            // Not cut off: less than the number of turns.
            let arm = configured.turns[(slot % configured.turns.len() as u64) as usize] as usize;
            Selection { group, arm, method: Method::RoundRobin, slot: Some(slot), unit_hash: None }
        }
        (Strategy::LeastLatency, _) => {
            let arm = load::choose(configured, loads, dice, now);
            Selection { group, arm, method: Method::LeastLatency, slot: None, unit_hash: None }
        }
    }
}

/// The groups there are, for whoever asked for one that isn't. What was asked for is not repeated: it is the client's
/// own text, of any length.
fn known_groups(plan: &Plan) -> String {
    let mut text = String::from("the model groups are");
    for (index, group) in plan.groups.iter().take(NAMES_MAX).enumerate() {
        let separator = if index == 0 { " " } else { ", " };
        text.push_str(separator);
        text.push_str(&group.name);
    }
    match plan.groups.len() {
        0 => text = "no model groups are configured".to_owned(),
        len if len > NAMES_MAX => {
            text.push_str(&format!(" and {} more", len - NAMES_MAX));
        }
        _ => {}
    }
    text
}

impl Place {
    /// A fresh sequence, from slot 0. `key` is drawn by the caller, anew for each run.
    pub const fn new(key: u64) -> Self {
        Self { next: AtomicU64::new(0), key }
    }

    /// Takes the next slot. One relaxed `fetch_add`: no other memory hangs on it.
    pub fn take(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The key of this run's permutations.
    pub const fn key(&self) -> u64 {
        self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::{Arm, ConfigVersion, EventSettings, Fixed, Group, LogSettings};
    use crate::limits::Limits;
    use std::sync::Arc;

    fn ask(plan: &Plan, model: &str, drawer: &mut Drawer) -> Result<Selection, Fault> {
        find(plan, model).map(|route| select(plan, route, None, Chooser { drawer, loads: &[], dice: 0, now: 0 }))
    }

    /// A group whose arms have these many slots, in a run of its own.
    pub(super) fn group(name: &str, block: &[u32], key: u64) -> Group {
        let sum: u32 = block.iter().sum();
        let arm = |(index, &weight): (usize, &u32)| Arm {
            name: format!("arm-{index}").into(),
            target: 0,
            model: format!("{name}-model-{index}").into(),
            weight,
            propensity: f64::from(weight) / f64::from(sum),
            weight_share: f64::from(weight) / f64::from(sum),
            pricing: None,
            fields: Box::default(),
        };
        Group {
            name: name.into(),
            arms: block.iter().enumerate().map(arm).collect(),
            by_name: (0..block.len() as u32).collect(),
            block: block.into(),
            turns: Box::default(),
            strategy: Strategy::Weighted,
            assign_by: Box::default(),
            salt: name.into(),
            experiment: None,
            epoch: "0123456789abcdef".into(),
            place: Arc::new(Place::new(key)),
        }
    }

    fn plan(groups: Vec<Group>) -> Plan {
        let arms = groups.iter().enumerate().flat_map(|(index, group)| {
            group.arms.iter().enumerate().map(move |(arm, at)| (at.model.clone(), (index, arm)))
        });
        Plan {
            version: ConfigVersion { ordinal: 1, digest: "000000000000".into() },
            targets: Box::default(),
            group_by_name: groups.iter().enumerate().map(|(index, group)| (group.name.clone(), index)).collect(),
            arm_by_model: arms.collect(),
            groups: groups.into(),
            policies: Box::default(),
            knowledge: None,
            clients: None,
            tls: None,
            limits: Limits::default(),
            fixed: Fixed::default(),
            log: LogSettings::default(),
            events: EventSettings::default(),
        }
    }

    #[test]
    fn a_group_is_drawn_from_and_a_model_is_taken_at_its_word() {
        let plan = plan(vec![group("a", &[1], 1), group("b", &[0, 5], 2)]);
        let mut drawer = Drawer::default();
        let drawn = |slot| Selection { group: 1, arm: 1, method: Method::Block, slot: Some(slot), unit_hash: None };
        assert_eq!(ask(&plan, "b", &mut drawer), Ok(drawn(0)));
        assert_eq!(ask(&plan, "b", &mut drawer), Ok(drawn(1)));
        let direct = Selection { group: 1, arm: 0, method: Method::Direct, slot: None, unit_hash: None };
        assert_eq!(ask(&plan, "b-model-0", &mut drawer), Ok(direct));
        assert_eq!(ask(&plan, "b", &mut drawer), Ok(drawn(2)), "a direct request takes no place");
    }

    #[test]
    fn a_unit_is_assigned_and_takes_no_place() {
        let plan = plan(vec![group("a", &[1, 1], 1)]);
        let mut drawer = Drawer::default();
        let mut of = |unit: Option<&[u8]>| {
            let unit = unit.map(|unit| Unit(unit.into()));
            let chooser = Chooser { drawer: &mut drawer, loads: &[], dice: 0, now: 0 };
            select(&plan, Route::Group(0), unit.as_ref(), chooser)
        };
        let first = of(Some(b"u-1"));
        assert_eq!((first.method, first.slot), (Method::Hash, None));
        assert_eq!(first.unit_hash, Some(unit_hash(b"a", b"u-1")));
        assert_eq!(of(None).slot, Some(0));
        assert_eq!(of(Some(b"u-1")), first);
        assert_eq!(of(None).slot, Some(1));
    }

    #[test]
    fn in_round_robin_each_has_its_turns_evenly_spread() {
        let mut turns = group("a", &[5, 1, 1, 0], 1);
        turns.strategy = Strategy::RoundRobin;
        turns.turns = round_of(&turns.block, &turns.by_name);
        let plan = plan(vec![turns]);
        let mut turn = || {
            let chooser = Chooser { drawer: &mut Drawer::default(), loads: &[], dice: 0, now: 0 };
            select(&plan, Route::Group(0), None, chooser).arm
        };
        let round: Vec<usize> = std::iter::repeat_with(&mut turn).take(7).collect();
        assert_eq!(round, [0, 0, 1, 0, 2, 0, 0], "as nginx does");
        let next: Vec<usize> = std::iter::repeat_with(&mut turn).take(7).collect();
        assert_eq!(next, round);
    }

    #[test]
    fn a_groups_name_comes_before_a_model_of_the_same_name() {
        let mut plan = plan(vec![group("a", &[1], 1), group("b", &[1], 2)]);
        plan.arm_by_model.insert("a".into(), (1, 0));
        assert_eq!(ask(&plan, "a", &mut Drawer::default()).map(|selection| selection.group), Ok(0));
    }

    #[test]
    fn an_unknown_model_is_answered_with_the_groups_there_are() {
        let said = |count: usize| {
            let plan = plan((0..count).map(|index| group(&format!("g{index}"), &[1], 1)).collect());
            let fault = ask(&plan, "gpt-5", &mut Drawer::default()).expect_err("there is no such model");
            assert_eq!((fault.kind, fault.phase), (Kind::UnknownModel, Phase::Body));
            fault.message()
        };
        assert_eq!(said(0), "The model does not exist: no model groups are configured.");
        assert_eq!(said(1), "The model does not exist: the model groups are g0.");
        assert_eq!(said(3), "The model does not exist: the model groups are g0, g1, g2.");
        assert!(said(20).ends_with("g18, g19."));
        assert!(said(4_096).ends_with("g18, g19 and 4076 more."));
    }
}
