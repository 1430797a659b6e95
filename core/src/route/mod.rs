//! Which arm a request gets.
//!
//! A group is drawn from, by weight; a model that exactly one arm has is taken at its word. Whether the arm can answer
//! is not asked here: an assignment that depended on it would not be one by chance.

mod permutation;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::plan::Plan;
use crate::event::Method;
use crate::fault::{Fault, Kind, Phase};

pub use permutation::{Drawer, Drawn};

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
    /// The group's place, when the arm was drawn.
    pub slot: Option<u64>,
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

/// Chooses the arm for a request that takes `route`. `drawer` is this core's.
pub fn select(plan: &Plan, route: Route, drawer: &mut Drawer) -> Selection {
    match route {
        Route::Group(group) => {
            let Drawn { arm, slot } = drawer.draw(group, &plan.groups[group]);
            Selection { group, arm, method: Method::Block, slot: Some(slot) }
        }
        Route::Arm { group, arm } => Selection { group, arm, method: Method::Direct, slot: None },
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
    use crate::config::plan::{Arm, ConfigVersion, Fixed, Group, LogSettings};
    use crate::limits::Limits;
    use std::sync::Arc;

    fn ask(plan: &Plan, model: &str, drawer: &mut Drawer) -> Result<Selection, Fault> {
        find(plan, model).map(|route| select(plan, route, drawer))
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
        };
        Group {
            name: name.into(),
            arms: block.iter().enumerate().map(arm).collect(),
            block: block.into(),
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
            policy_settings: Box::default(),
            clients: None,
            tls: None,
            limits: Limits::default(),
            fixed: Fixed::default(),
            log: LogSettings::default(),
        }
    }

    #[test]
    fn a_group_is_drawn_from_and_a_model_is_taken_at_its_word() {
        let plan = plan(vec![group("a", &[1], 1), group("b", &[0, 5], 2)]);
        let mut drawer = Drawer::default();
        let drawn = |slot| Selection { group: 1, arm: 1, method: Method::Block, slot: Some(slot) };
        assert_eq!(ask(&plan, "b", &mut drawer), Ok(drawn(0)));
        assert_eq!(ask(&plan, "b", &mut drawer), Ok(drawn(1)));
        let direct = Selection { group: 1, arm: 0, method: Method::Direct, slot: None };
        assert_eq!(ask(&plan, "b-model-0", &mut drawer), Ok(direct));
        assert_eq!(ask(&plan, "b", &mut drawer), Ok(drawn(2)), "a direct request takes no place");
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
