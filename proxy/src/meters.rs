//! How fast, how often and how dear: what one core has measured, and the sum over all cores when somebody asks.
//!
//! Every request that drew an arm is counted, none is sampled. Times are HDR histograms with three significant digits;
//! successes and failures are kept apart, for a failure that comes fast would make its arm look fast. A histogram is
//! made when the first value for it comes and grows with the largest it holds: 16 KiB at first, 176 KiB once it has
//! held 2 s, 272 KiB at most. A core has at most [`HISTOGRAMS_MAX`](kt_core::limits::HISTOGRAMS_MAX) of them; what
//! would need one more is counted as unmeasured. A core's numbers belong to its thread: a reader gets a copy.

mod distribution;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

use kt_core::config::plan::Plan;
use kt_core::event::Event;
use kt_core::limits::{METERED_ARMS_MAX, STATUSES_MAX};
use kt_core::tally::UsageSource;

use crate::minutes::{Minute, MinuteArm, Minutes};
use distribution::Made;
pub use distribution::{Distribution, Measure};

/// Arms that are copied at once for a reader. Twelve histograms each, all wide, are 3 MiB of each.
const ARMS_AT_ONCE: usize = 4;

/// Requests that ended alike: well, or not.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// How many.
    pub count: u64,
    of: [Distribution; 6],
}

impl Ended {
    /// The values of a measure.
    pub const fn of(&self, measure: Measure) -> &Distribution {
        &self.of[measure as usize]
    }

    fn record(&mut self, measure: Measure, value: u64, made: &Made) {
        self.of[measure as usize].record(value, made);
    }

    fn count(&mut self, event: &Event, made: &Made) {
        self.count += 1;
        self.record(Measure::Latency, event.latency_ns, made);
        self.record(Measure::Overhead, event.overhead_ns, made);
        if let Some(ttft) = event.ttft_ns {
            self.record(Measure::Ttft, ttft, made);
        }
        if event.connect_ns > 0 {
            self.record(Measure::Connect, event.connect_ns, made);
        }
        if let Some(rate) = token_rate(event) {
            self.record(Measure::TokenRate, rate, made);
        }
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        for (mine, theirs) in self.of.iter_mut().zip(&other.of) {
            mine.add(theirs);
        }
    }
}

/// Tokens per thousand seconds. None where nothing was generated, or no time passed.
fn token_rate(event: &Event) -> Option<u64> {
    let took = match event.gaps {
        Some(gaps) => gaps.n.saturating_mul(gaps.mean_ns),
        None => event.upstream_ns,
    };
    // Eighteen million tokens fit, more than any answer has.
    let tokens = Some(event.usage.completion_tokens).filter(|&tokens| tokens > 0)?;
    tokens.checked_mul(1_000_000_000_000)?.checked_div(took)
}

/// One arm's numbers on one core.
#[derive(Clone, Debug, Default)]
pub struct ArmMeters {
    /// Answers that came whole and well (below 400).
    pub successes: Ended,
    /// All others, requests that their client left included.
    pub failures: Ended,
    /// Requests by status. A vendor that answers with ever new ones is counted under 0 from the [`STATUSES_MAX`]-th on.
    pub statuses: BTreeMap<u16, u64>,
    /// Tokens of the input.
    pub tokens_in: u64,
    /// Tokens of the output.
    pub tokens_out: u64,
    /// What requests cost whose usage is the vendor's last word, pico-dollars.
    pub cost_picousd: u128,
    /// What the others cost, as far as that is known: cut off, or estimated.
    pub estimated_picousd: u128,
    /// Requests of which nobody knows what they cost.
    pub cost_unknown: u64,
}

impl ArmMeters {
    fn count(&mut self, event: &Event, made: &Made) {
        match is_success(event) {
            true => self.successes.count(event, made),
            false => self.failures.count(event, made),
        }
        count_status(&mut self.statuses, event.status);
        self.tokens_in = self.tokens_in.saturating_add(event.usage.prompt_tokens);
        self.tokens_out = self.tokens_out.saturating_add(event.usage.completion_tokens);
        match (event.cost_picousd, event.usage_source) {
            (None, _) => self.cost_unknown += 1,
            (Some(cost), UsageSource::Provider | UsageSource::None) => self.cost_picousd += u128::from(cost),
            (Some(cost), UsageSource::Partial | UsageSource::Estimated) => self.estimated_picousd += u128::from(cost),
        }
    }

    /// Counts a gap between two content events as it is read, before anybody knows how its stream will end: among the
    /// successes, for it is one of the vendor's pace in any case.
    fn gap(&mut self, ns: u64, made: &Made) {
        self.successes.record(Measure::Gap, ns, made);
    }

    fn histograms(&self) -> usize {
        self.successes.of.iter().chain(&self.failures.of).filter(|values| values.histogram().is_some()).count()
    }

    /// Adds another core's numbers of the same arm.
    pub fn add(&mut self, other: &Self) {
        let Self {
            successes,
            failures,
            statuses,
            tokens_in,
            tokens_out,
            cost_picousd,
            estimated_picousd,
            cost_unknown,
        } = other;
        self.successes.add(successes);
        self.failures.add(failures);
        for (&status, &count) in statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.tokens_in = self.tokens_in.saturating_add(*tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(*tokens_out);
        self.cost_picousd += cost_picousd;
        self.estimated_picousd += estimated_picousd;
        self.cost_unknown += cost_unknown;
    }
}

/// Whether an answer came whole and well.
fn is_success(event: &Event) -> bool {
    event.error.is_none() && event.status < 400
}

fn count_status(statuses: &mut BTreeMap<u16, u64>, status: u16) {
    if let Some(count) = statuses.get_mut(&status) {
        *count += 1;
        return;
    }
    let has_room = statuses.len() < STATUSES_MAX;
    *statuses.entry(if has_room { status } else { 0 }).or_default() += 1;
}

/// What outlives a reload: an arm by the names of its group and itself, and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArmKey {
    /// The group's name.
    pub group: Box<str>,
    /// The arm's name.
    pub arm: Box<str>,
    /// Its target's vendor.
    pub provider: &'static str,
    /// Its model, as configured.
    pub model: Box<str>,
}

impl ArmKey {
    /// The arm of a plan by its indices.
    pub fn of(plan: &Plan, group: usize, arm: usize) -> Self {
        let chosen = plan.arm(group, arm);
        Self {
            group: chosen.group.name.clone(),
            arm: chosen.arm.name.clone(),
            provider: chosen.target.provider.as_str(),
            model: chosen.arm.model.clone(),
        }
    }
}

/// One arm's numbers, shared by the plans that have the arm.
#[derive(Clone, Debug, Default)]
pub struct SharedMeters(Rc<RefCell<Kept>>);

/// What is kept of one arm on one core.
#[derive(Debug, Default)]
struct Kept {
    /// Since the start.
    total: ArmMeters,
    /// In the minute that isn't over yet.
    minute: MinuteArm,
}

/// Every arm's numbers on one core.
#[derive(Debug)]
pub struct Meters {
    core: u32,
    arms: RefCell<BTreeMap<Arc<ArmKey>, SharedMeters>>,
    /// Requests that drew no arm, by status.
    unassigned: RefCell<BTreeMap<u16, u64>>,
    made: Made,
    /// Which minute it is.
    minute: Cell<u64>,
    minutes: Arc<Minutes>,
}

impl Meters {
    /// Nothing yet. What a minute brought goes to `minutes` when it is over.
    pub fn new(core: u32, minutes: Arc<Minutes>) -> Self {
        Self {
            core,
            arms: RefCell::default(),
            unassigned: RefCell::default(),
            made: Made::default(),
            minute: Cell::new(0),
            minutes,
        }
    }

    /// The numbers of one arm, made empty if there were none.
    pub fn of(&self, key: ArmKey) -> SharedMeters {
        self.arms.borrow_mut().entry(Arc::new(key)).or_default().clone()
    }

    /// Counts one ended request.
    pub fn count(&self, arm: &SharedMeters, event: &Event) {
        let number = Minute::number_of(event.ended_ns);
        // Time goes forward: what ended a little earlier counts into the minute that is.
        if number > self.minute.get() {
            let over = self.take_minute();
            if !over.arms.is_empty() {
                self.minutes.keep(over);
            }
            self.minute.set(number);
        }
        let mut kept = arm.0.borrow_mut();
        kept.total.count(event, &self.made);
        kept.minute.count(is_success(event), event.latency_ns, event.ttft_ns, event.usage.completion_tokens);
    }

    fn take_minute(&self) -> Minute {
        let arms = self.arms.borrow();
        let taken = arms.iter().map(|(key, arm)| (key, std::mem::take(&mut arm.0.borrow_mut().minute)));
        Minute::of(self.minute.get(), taken)
    }

    /// Counts one ended request that drew no arm.
    pub fn count_unassigned(&self, event: &Event) {
        count_status(&mut self.unassigned.borrow_mut(), event.status);
    }

    /// Counts a gap between content events.
    pub fn gap(&self, arm: &SharedMeters, ns: u64) {
        arm.0.borrow_mut().total.gap(ns, &self.made);
    }

    /// Once there are more than [`METERED_ARMS_MAX`], forgets those that the plan doesn't have, so that reloads with
    /// ever new names don't pile up numbers.
    pub fn forget_beyond_bound(&self, plan: &Plan) {
        let mut arms = self.arms.borrow_mut();
        if arms.len() <= METERED_ARMS_MAX {
            return;
        }
        let is_there = |key: &ArmKey| {
            let group = plan.group_by_name.get(&key.group).map(|&group| &plan.groups[group]);
            group.is_some_and(|group| group.arms.iter().any(|arm| arm.name == key.arm))
        };
        arms.retain(|key, _| is_there(key));
        self.made.histograms.set(arms.values().map(|arm| arm.0.borrow().total.histograms()).sum());
    }

    /// A copy of all numbers but those of the arms since the start, which [`Self::read_on`] adds.
    pub fn begin_reading(&self, counts: Counts) -> Reading {
        let arms = self.arms.borrow();
        let current = arms.iter().map(|(key, arm)| (key, arm.0.borrow().minute.clone()));
        Reading {
            core: self.core,
            arms: BTreeMap::new(),
            unassigned: self.unassigned.borrow().clone(),
            unmeasured: self.made.unmeasured.get(),
            minute: Minute::of(self.minute.get(), current),
            counts,
        }
    }

    /// Adds copies of the next few arms' numbers: as many as can be copied within a millisecond or so. Returns whether
    /// there are more.
    pub fn read_on(&self, reading: &mut Reading) -> bool {
        let arms = self.arms.borrow();
        let from = match reading.arms.last_key_value() {
            Some((last, _)) => Bound::Excluded(Arc::clone(last)),
            None => Bound::Unbounded,
        };
        let mut rest = arms.range((from, Bound::Unbounded));
        let next = rest.by_ref().take(ARMS_AT_ONCE);
        reading.arms.extend(next.map(|(key, arm)| (Arc::clone(key), arm.0.borrow().total.clone())));
        rest.next().is_some()
    }
}

/// What one core answers when asked for its numbers.
#[derive(Debug)]
pub struct Reading {
    /// Which core.
    pub core: u32,
    /// Its arms.
    pub arms: BTreeMap<Arc<ArmKey>, ArmMeters>,
    /// Requests that drew no arm, by status.
    pub unassigned: BTreeMap<u16, u64>,
    /// Values that found no histogram.
    pub unmeasured: u64,
    /// The minute that isn't over yet.
    pub minute: Minute,
    /// Counters and gauges.
    pub counts: Counts,
}

/// Counters (since start) and gauges (now) of one core.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Client connections, now.
    pub connections: u64,
    /// Requests in flight, now.
    pub in_flight: u64,
    /// Idle vendor connections, now.
    pub idle_upstreams: u64,
    /// Vendor connections that are made or used, now.
    pub busy_upstreams: u64,
    /// Connections closed at once because their address had as many as it may, since start.
    pub turned_away: u64,
    /// TLS handshakes of clients that failed, since start; of those who spoke no TLS where there is, and TLS where
    /// there isn't, too.
    pub failed_handshakes: u64,
    /// Requests to model endpoints, since start.
    pub admitted: u64,
    /// Heads that could not be parsed, since start.
    pub refused_heads: u64,
    /// Requests to other paths or with a wrong method, since start.
    pub others: u64,
    /// Requests shed because the log had no room, since start.
    pub shed: u64,
    /// Panics caught, since start. Each is a bug of ours.
    pub panics: u64,
}

impl Counts {
    /// Adds another core's.
    pub fn add(&mut self, other: &Self) {
        let Self {
            connections,
            in_flight,
            idle_upstreams,
            busy_upstreams,
            turned_away,
            failed_handshakes,
            admitted,
            refused_heads,
            others,
            shed,
            panics,
        } = other;
        self.connections += connections;
        self.in_flight += in_flight;
        self.idle_upstreams += idle_upstreams;
        self.busy_upstreams += busy_upstreams;
        self.turned_away += turned_away;
        self.failed_handshakes += failed_handshakes;
        self.admitted += admitted;
        self.refused_heads += refused_heads;
        self.others += others;
        self.shed += shed;
        self.panics += panics;
    }
}

/// All cores' numbers as one.
#[derive(Debug, Default)]
pub struct Sum {
    /// By arm.
    pub arms: BTreeMap<Arc<ArmKey>, ArmMeters>,
    /// Requests that drew no arm, by status.
    pub unassigned: BTreeMap<u16, u64>,
    /// Values that found no histogram.
    pub unmeasured: u64,
    /// Each core's minute that isn't over yet.
    pub minutes: Vec<Minute>,
    /// Counters and gauges.
    pub counts: Counts,
}

impl Sum {
    /// Adds up what the cores have said.
    pub fn of(readings: impl IntoIterator<Item = Reading>) -> Self {
        let mut sum = Self::default();
        for Reading { core: _, arms, unassigned, unmeasured, minute, counts } in readings {
            sum.counts.add(&counts);
            sum.unmeasured += unmeasured;
            sum.minutes.push(minute);
            for (status, count) in unassigned {
                *sum.unassigned.entry(status).or_default() += count;
            }
            for (key, meters) in arms {
                sum.arms.entry(key).or_default().add(&meters);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_handed_over_once_when_another_begins() {
        let minutes = Minutes::new(1);
        let meters = Meters::new(0, Arc::clone(&minutes));
        let arm = meters.of(ArmKey { group: "g".into(), arm: "a".into(), provider: "openai", model: "m".into() });
        let ended_at = |seconds: u64| {
            let mut record = kt_core::record::Record::begin("/v1/chat/completions", "r".into(), 0);
            record.read_whole(0);
            record.close(200, None, seconds * 1_000_000_000)
        };
        let successes = |last: u64, now_s: u64| {
            let current = meters.begin_reading(Counts::default()).minute;
            let sum = minutes.last(last, now_s * 1_000_000_000, &[current]);
            sum.values().map(|arm| arm.successes).sum::<u64>()
        };
        [10, 20, 59].into_iter().for_each(|seconds| meters.count(&arm, &ended_at(seconds)));
        assert_eq!((successes(1, 59), successes(60, 59)), (3, 3));
        meters.count(&arm, &ended_at(61));
        // It ended before the minute did, and was told of behind it.
        meters.count(&arm, &ended_at(58));
        assert_eq!((successes(1, 61), successes(2, 61), successes(60, 61)), (2, 5, 5));
    }

    #[test]
    fn a_reader_gets_every_arm_once_a_few_at_a_time() {
        let meters = Meters::new(0, Minutes::new(1));
        let key = |arm: usize| ArmKey {
            group: "g".into(),
            arm: format!("{arm:02}").into(),
            provider: "openai",
            model: "m".into(),
        };
        (0..11).for_each(|arm| drop(meters.of(key(arm))));
        let mut reading = meters.begin_reading(Counts::default());
        let mut slices = 1;
        while meters.read_on(&mut reading) {
            assert_eq!(reading.arms.len(), slices * ARMS_AT_ONCE);
            slices += 1;
        }
        assert_eq!((slices, reading.arms.len()), (3, 11));
    }

    #[test]
    fn a_vendor_may_invent_statuses_without_end() {
        let mut statuses = BTreeMap::new();
        (100..900).for_each(|status| count_status(&mut statuses, status));
        assert_eq!(statuses.len(), STATUSES_MAX + 1);
        assert_eq!(statuses.values().sum::<u64>(), 800);
        assert_eq!(statuses[&0], 800 - STATUSES_MAX as u64);
    }
}
