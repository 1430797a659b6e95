//! An experiment, gathered from the lines of the log.
//!
//! A group's experiment runs from one `config` record that begins it to the next that makes it another; a restart that
//! changes nothing goes on with it, a return to what once was is a run of its own. Of the runs that were asked for each
//! decision is kept as one [`Row`]; of everything else there are counters. That bounds the memory, whatever the log:
//! [`COMPARE_REQUESTS_MAX`] rows of some eighty bytes.

use std::collections::HashMap;

use super::decision::{Config, Decision, Place, Record};
use crate::json::Scratch;
use crate::limits::{COMPARE_LABELS_MAX, COMPARE_REQUESTS_MAX};

/// Which decisions are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Select {
    /// Of this group only.
    pub group: Option<String>,
    /// Of this run of it.
    pub epoch: Epoch,
    /// Of requests from this moment on, µs since 1970.
    pub since_us: Option<i64>,
    /// Apart by this.
    pub by: Option<By>,
}

/// Which run of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Epoch {
    /// The present one.
    #[default]
    Last,
    /// The one of this number, from 1.
    Nth(u32),
    /// All of them, thrown together.
    All,
}

/// What decisions are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Who asked.
    Client,
    /// Whether a stream was asked for.
    Stream,
    /// The UTC day.
    Day,
    /// The UTC hour.
    Hour,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// When it was read whole, µs since 1970.
    pub at_us: i64,
    /// What rows are sorted by: its group's place, over all starts of the gateway; of a request that has none, how many
    /// such there were before.
    pub order: u64,
    /// Dollars in pico, exact up to 2⁵³; NaN if unknown.
    pub cost_picousd: f64,
    /// Milliseconds; infinite if it failed.
    pub latency_ms: f32,
    /// Milliseconds to the first content: infinite if it failed, NaN if no stream was asked for.
    pub ttft_ms: f32,
    /// Mean gap, like `ttft_ms`.
    pub gap_mean_ms: f32,
    /// Largest gap, like `ttft_ms`.
    pub gap_max_ms: f32,
    /// Tokens of the input; NaN if unknown.
    pub tokens_in: f32,
    /// Tokens of the answer; NaN if unknown.
    pub tokens_out: f32,
    /// Unit and hour, numbered from 0; none without a unit.
    pub cluster: Option<u32>,
    /// Index of the run.
    pub run: u16,
    /// Index of the arm it was assigned.
    pub arm: u16,
    /// Index of the endpoint.
    pub endpoint: u16,
    /// Index of the method.
    pub method: u16,
    /// Index of what it is told apart by.
    pub label: u16,
    /// Index of the arm or target that served it, if another than the assigned one.
    pub served: Option<u16>,
    /// It has a place of its group.
    pub slotted: bool,
    /// It failed, or its client left.
    pub failed: bool,
    /// Its usage is a guess, so its cost is one too.
    pub estimated: bool,
    /// The client's library had tried before.
    pub retried: bool,
    /// Its unit had not been seen before.
    pub first_of_unit: bool,
}

/// A run of a group: what the experiment was, and when.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// What the experiment is, hashed.
    pub epoch: String,
    /// The arms, in the order of the config.
    pub arms: Vec<ArmOf>,
    /// The primary measure, as the config says it.
    pub primary: Option<String>,
    /// The smallest difference that matters.
    pub margin: Option<f64>,
    /// Decisions, whether or not they were kept.
    pub requests: u64,
}

/// An arm of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArmOf {
    /// Its name.
    pub name: String,
    /// Its target.
    pub target_id: String,
    /// Its model.
    pub model: String,
    /// Its weight.
    pub weight: f64,
    /// Chance that a request that is drawn for itself gets it, if the log says so.
    pub propensity: Option<f64>,
}

/// What is known to be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Records whose numbers are not in the log.
    pub records: u64,
    /// Requests that `gap` and `lost` records count.
    pub counted: u64,
    /// Lines that can't be read.
    pub damaged: u64,
    /// Places of the group that have no decision though they should.
    pub slots: u64,
}

/// One group's experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The group.
    pub group: String,
    /// All runs that the log has of it, oldest first.
    pub runs: Vec<Run>,
    /// The one that was gathered; all of them, if none.
    pub run: Option<usize>,
    /// Arms of the rows, in the order of the config.
    pub arms: Vec<ArmOf>,
    /// The requests, in the order of their places.
    pub rows: Vec<Row>,
    /// Names of endpoints, methods, labels and servers, as rows number them.
    pub names: Names,
    /// What is missing.
    pub gaps: Gaps,
    /// Requests that were left out since others that had begun before them were still under way.
    pub under_way: u64,
    /// Requests beyond the most that are kept.
    pub beyond: u64,
}

/// Names that rows have numbers for.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Paths.
    pub endpoints: Vec<String>,
    /// Methods of assignment.
    pub methods: Vec<String>,
    /// What requests are told apart by.
    pub labels: Vec<String>,
    /// Arms or targets that stood in.
    pub servers: Vec<String>,
}

/// Reads a log, line by line.
#[derive(Debug, Default)]
pub struct Gather {
    select: Select,
    scratch: Scratch,
    groups: Vec<Gathering>,
    last: Option<Place>,
    /// The latest end of an answer, µs since 1970.
    now_us: i64,
}

/// One group while it is being gathered.
#[derive(Debug, Default)]
struct Gathering {
    name: String,
    runs: Vec<Run>,
    /// Which run a config version belongs to, by the start of the gateway and its name.
    versions: HashMap<(u64, String), usize>,
    arms: Vec<ArmOf>,
    rows: Vec<Row>,
    names: Names,
    clusters: HashMap<(u64, i64), u32>,
    units: HashMap<u64, ()>,
    /// Places seen, for each start and run.
    slots: Vec<Slots>,
    /// Requests that had no place.
    without_slot: u64,
    gaps: Gaps,
    beyond: u64,
    longest_us: i64,
}

/// The places that one start of the gateway gave away in one run.
#[derive(Debug)]
struct Slots {
    log_epoch: u64,
    run: usize,
    /// What its places begin from in [`Row::order`].
    base: u64,
    /// A bit for each.
    seen: Vec<u64>,
    end: u64,
    /// Whether the log has it from its first place on.
    whole: bool,
}

/// How long an answer may be outstanding before it counts as missing: so many times the longest that there was…
const OUTSTANDING_TIMES: i64 = 10;
/// … and at least this, µs.
const OUTSTANDING_US_MIN: i64 = 60_000_000;

impl Gather {
    /// Of a log that has not been read yet.
    pub fn new(select: Select) -> Self {
        Self { select, ..Self::default() }
    }

    /// Takes the next line, without its line feed.
    pub fn line(&mut self, line: &[u8]) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let record = Record::read(line, &mut scratch);
        if let Some(place) = record.place() {
            self.miss(|gaps, skipped| gaps.records += skipped, self.skipped(place));
            self.last = Some(place);
        }
        match record {
            Record::Decision(decision) => self.decision(&decision),
            Record::Config(place, config) => self.config(place, &config),
            Record::Missing(_, count) => self.miss(|gaps, count| gaps.counted += count, count),
            Record::Damaged => self.miss(|gaps, count| gaps.damaged += count, 1),
            Record::Unassigned(_) | Record::Other(_) => {}
        }
        self.scratch = scratch;
    }

    /// The experiments that were asked for. `serving` says that the gateway runs, so that answers may be under way.
    pub fn finish(self, serving: bool) -> Vec<Experiment> {
        let (now_us, select) = (self.now_us, self.select);
        let last_epoch = self.last.map(|place| place.log_epoch);
        let finish = |group: Gathering| group.finish(&select, last_epoch.filter(|_| serving), now_us);
        let has_run = |group: &Gathering| match select.epoch {
            Epoch::Last | Epoch::All => !group.runs.is_empty(),
            Epoch::Nth(nth) => (1..=group.runs.len()).contains(&(nth as usize)),
        };
        self.groups.into_iter().filter(has_run).map(finish).collect()
    }

    /// How many numbers there are between the last record and this one.
    fn skipped(&self, place: Place) -> u64 {
        match self.last {
            Some(last) if last.log_epoch == place.log_epoch => place.seq.saturating_sub(last.seq + 1),
            // Of the first start that the log has, retention may have removed the beginning.
            Some(_) => place.seq.saturating_sub(1),
            None => 0,
        }
    }

    fn miss(&mut self, add: impl Fn(&mut Gaps, u64), count: u64) {
        for group in self.groups.iter_mut().filter(|group| self.select.wants(group.runs.len())) {
            add(&mut group.gaps, count);
        }
    }

    fn group(&mut self, name: &str) -> Option<&mut Gathering> {
        if self.select.group.as_deref().is_some_and(|wanted| wanted != name) {
            return None;
        }
        let at = self.groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
            self.groups.push(Gathering { name: name.to_owned(), ..Gathering::default() });
            self.groups.len() - 1
        });
        self.groups.get_mut(at)
    }

    fn config(&mut self, place: Place, config: &Config<'_>) {
        for group in &config.groups {
            let keep_all = self.select.epoch != Epoch::Last;
            let Some(gathering) = self.group(&group.name) else { continue };
            let arms = group.arms.iter().map(|arm| ArmOf {
                name: arm.name.clone().into_owned(),
                target_id: arm.target_id.clone().into_owned(),
                model: arm.model.clone().into_owned(),
                weight: arm.weight,
                propensity: arm.propensity,
            });
            let run = Run {
                epoch: group.epoch.clone().into_owned(),
                arms: arms.collect(),
                primary: group.primary.clone().map(|primary| primary.into_owned()),
                margin: group.margin,
                requests: 0,
            };
            if let Some(last) = gathering.runs.last_mut().filter(|last| last.epoch == run.epoch) {
                // What is compared may change without the experiment becoming another.
                *last = Run { requests: last.requests, ..run };
            } else {
                gathering.begin(run, keep_all);
            }
            gathering.versions.insert((place.log_epoch, config.version.clone().into_owned()), gathering.runs.len() - 1);
        }
    }

    fn decision(&mut self, decision: &Decision<'_>) {
        self.now_us = self.now_us.max(decision.ended_us);
        let select = self.select.clone();
        // A log that has lost its first records begins with a decision of the same start.
        let whole = self.last.is_some_and(|place| place.log_epoch == decision.log_epoch);
        let Some(group) = self.group(&decision.group) else { return };
        let run = group.run_of(decision, select.epoch != Epoch::Last);
        group.runs[run].requests += 1;
        let wanted = match select.epoch {
            Epoch::Last => run + 1 == group.runs.len(),
            Epoch::Nth(nth) => run + 1 == nth as usize,
            Epoch::All => true,
        };
        // A client that names an arm's model takes no part.
        let assigned = !matches!(&*decision.method, "direct" | "none");
        if assigned && wanted && select.since_us.is_none_or(|since| since <= decision.at_us) {
            group.add(decision, run, select.by, whole && select.since_us.is_none());
        }
    }
}

impl Select {
    /// Whether the latest of so many runs is wanted.
    fn wants(&self, runs: usize) -> bool {
        match self.epoch {
            Epoch::Last | Epoch::All => true,
            Epoch::Nth(nth) => runs == nth as usize,
        }
    }
}

impl Gathering {
    fn begin(&mut self, run: Run, keep_all: bool) {
        self.runs.push(run);
        if !keep_all {
            // What is kept belongs to a run that is not the last any more.
            let (name, runs, versions) =
                (std::mem::take(&mut self.name), std::mem::take(&mut self.runs), std::mem::take(&mut self.versions));
            *self = Self { name, runs, versions, ..Self::default() };
        }
    }

    /// Which run a decision belongs to: its config's; if that isn't in the log, the latest that was the same experiment.
    fn run_of(&mut self, decision: &Decision<'_>, keep_all: bool) -> usize {
        let version = (decision.log_epoch, decision.config_version.clone().into_owned());
        if let Some(run) = self.versions.get(&version) {
            return *run;
        }
        let known = self.runs.iter().rposition(|run| run.epoch == decision.epoch);
        let run = known.unwrap_or_else(|| {
            self.begin(Run { epoch: decision.epoch.clone().into_owned(), ..Run::default() }, keep_all);
            self.runs.len() - 1
        });
        self.versions.insert(version, run);
        run
    }

    fn add(&mut self, decision: &Decision<'_>, run: usize, by: Option<By>, whole: bool) {
        self.longest_us = self.longest_us.max(decision.ended_us - decision.at_us);
        let order = match decision.slot {
            Some(slot) => self.see(decision.log_epoch, run, slot, whole),
            None => self.without_slot,
        };
        self.without_slot += u64::from(decision.slot.is_none());
        if self.rows.len() >= COMPARE_REQUESTS_MAX {
            self.beyond += 1;
            return;
        }
        let arm = self.arm_of(decision, run);
        let first_of_unit = decision.unit.is_some_and(|unit| self.units.insert(unit, ()).is_none());
        let next = self.clusters.len() as u32;
        let hour = decision.at_us.div_euclid(3_600_000_000);
        let cluster = decision.unit.map(|unit| *self.clusters.entry((unit, hour)).or_insert(next));
        let time = |ms: f64| if decision.failed { f32::INFINITY } else { ms as f32 };
        let of_stream = |ms: f64| if decision.stream { time(ms) } else { f32::NAN };
        // A stream of one piece has no gap; one that failed would have had.
        let (gap_mean, gap_max) = decision.gaps_ms.unwrap_or((f64::NAN, f64::NAN));
        let tokens = decision.tokens;
        self.rows.push(Row {
            at_us: decision.at_us,
            order,
            cost_picousd: decision.cost_picousd.map_or(f64::NAN, |cost| cost as f64),
            latency_ms: time(decision.latency_ms),
            // A stream without content has been waited for until its end.
            ttft_ms: of_stream(decision.ttft_ms.unwrap_or(decision.latency_ms)),
            gap_mean_ms: of_stream(gap_mean),
            gap_max_ms: of_stream(gap_max),
            tokens_in: tokens.map_or(f32::NAN, |tokens| tokens.input as f32),
            tokens_out: tokens.map_or(f32::NAN, |tokens| tokens.output as f32),
            cluster,
            run: run as u16,
            arm,
            endpoint: number(&mut self.names.endpoints, &decision.endpoint),
            method: number(&mut self.names.methods, &decision.method),
            label: by.map_or(0, |by| number(&mut self.names.labels, &by.label(decision))),
            served: decision.served_by.as_deref().map(|server| number(&mut self.names.servers, server)),
            slotted: decision.slot.is_some(),
            failed: decision.failed,
            estimated: tokens.is_some_and(|tokens| tokens.estimated),
            retried: decision.retries.is_some_and(|retries| retries > 0),
            first_of_unit,
        });
    }

    /// The number of a decision's arm among those of the rows.
    fn arm_of(&mut self, decision: &Decision<'_>, run: usize) -> u16 {
        if let Some(at) = self.arms.iter().position(|arm| arm.name == decision.arm) {
            return at as u16;
        }
        // The config's order first, so that the first arm is the same one whoever is asked first.
        for arm in &self.runs[run].arms {
            if !self.arms.iter().any(|known| known.name == arm.name) {
                self.arms.push(arm.clone());
            }
        }
        let at = self.arms.iter().position(|arm| arm.name == decision.arm).unwrap_or_else(|| {
            self.arms.push(ArmOf {
                name: decision.arm.clone().into_owned(),
                target_id: decision.target_id.clone().into_owned(),
                model: decision.model.clone().into_owned(),
                weight: decision.weight.unwrap_or(0.0),
                propensity: decision.propensity,
            });
            self.arms.len() - 1
        });
        at as u16
    }

    /// Remembers a place, and says where it stands over all starts. One that is beyond all sense is not remembered.
    fn see(&mut self, log_epoch: u64, run: usize, slot: u64, whole: bool) -> u64 {
        let same = |slots: &Slots| slots.log_epoch == log_epoch && slots.run == run;
        let at = self.slots.iter().rposition(same).unwrap_or_else(|| {
            let base = self.slots.iter().map(|slots| slots.base + slots.end).max().unwrap_or(0);
            self.slots.push(Slots { log_epoch, run, base, seen: Vec::new(), end: 0, whole });
            self.slots.len() - 1
        });
        let slots = &mut self.slots[at];
        if slot < 4 * COMPARE_REQUESTS_MAX as u64 {
            slots.see(slot);
        }
        slots.base + slot
    }

    /// `serving` is the start of the gateway that still serves.
    fn finish(mut self, select: &Select, serving: Option<u64>, now_us: i64) -> Experiment {
        self.rows.sort_by_key(|row| row.order);
        let patience = (OUTSTANDING_TIMES * self.longest_us).max(OUTSTANDING_US_MIN);
        let mut under_way = 0;
        let mut holes = 0;
        for slots in &self.slots {
            for hole in slots.holes() {
                if serving == Some(slots.log_epoch) {
                    let behind = self.rows.partition_point(|row| row.order <= slots.base + hole);
                    let next = self.rows[behind..].iter().find(|row| row.slotted);
                    if next.is_some_and(|row| now_us - row.at_us < patience) {
                        // Whoever began behind it and has ended already was quicker: to count only those is unfair.
                        let before = self.rows.len();
                        self.rows.retain(|row| !row.slotted || row.order < slots.base + hole);
                        under_way = (before - self.rows.len()) as u64;
                        break;
                    }
                }
                holes += 1;
            }
        }
        self.gaps.slots = holes;
        let run = match select.epoch {
            Epoch::Last => Some(self.runs.len() - 1),
            Epoch::Nth(nth) => Some((nth as usize).saturating_sub(1)),
            Epoch::All => None,
        };
        if let Some(run) = run.and_then(|run| self.runs.get(run)) {
            for arm in &run.arms {
                if !self.arms.iter().any(|known| known.name == arm.name) {
                    self.arms.push(arm.clone());
                }
            }
        }
        Experiment {
            group: self.name,
            run,
            runs: self.runs,
            arms: self.arms,
            rows: self.rows,
            names: self.names,
            gaps: self.gaps,
            under_way,
            beyond: self.beyond,
        }
    }
}

impl Slots {
    fn see(&mut self, slot: u64) {
        let word = (slot / 64) as usize;
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        self.seen[word] |= 1 << (slot % 64);
        self.end = self.end.max(slot + 1);
    }

    fn has(&self, slot: u64) -> bool {
        self.seen.get((slot / 64) as usize).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Places below the last one that were not seen.
    fn holes(&self) -> impl Iterator<Item = u64> {
        let first = if self.whole { 0 } else { (0..self.end).find(|slot| self.has(*slot)).unwrap_or(0) };
        (first..self.end).filter(|slot| !self.has(*slot))
    }
}

impl By {
    fn label(self, decision: &Decision<'_>) -> String {
        match self {
            Self::Client => decision.client.as_deref().unwrap_or("-").to_owned(),
            Self::Stream => if decision.stream { "stream" } else { "whole" }.to_owned(),
            Self::Day => moment(decision.at_us)[..10].to_owned(),
            Self::Hour => moment(decision.at_us)[..13].to_owned(),
        }
    }

    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Stream => "stream",
            Self::Day => "day",
            Self::Hour => "hour",
        }
    }
}

/// The number of `name`, which gets one if it has none. When there are too many the last one is everybody else's.
fn number(names: &mut Vec<String>, name: &str) -> u16 {
    if let Some(at) = names.iter().position(|known| known == name) {
        return at as u16;
    }
    if names.len() < COMPARE_LABELS_MAX {
        names.push(name.to_owned());
    } else if names.len() == COMPARE_LABELS_MAX {
        names.push("(others)".to_owned());
    }
    (names.len() - 1) as u16
}

/// A moment, µs since 1970, as `2026-11-22T10:36:46Z`.
pub fn moment(us: i64) -> String {
    let seconds = us.div_euclid(1_000_000);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Counted from 0000-03-01, five months are 153 days whichever they are; 146,097 days are 400 years.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let (later, month) = if from_march < 10 { (0, from_march + 3) } else { (1, from_march - 9) };
    let year = era * 400 + year_of_era + later;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
