//! What one core owns, and the two loops it lives by: one takes in connections, one takes in mail.
//!
//! All of it belongs to the core's thread; requests borrow from it for the length of a call, never across a wait.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender};
use kt_core::config::plan::{Arm, Durability, Group, Plan, Strategy, Target};
use kt_core::event::{Event, Method, WhenFull};
use kt_core::fault::Fault;
use kt_core::json::Scratch;
use kt_core::limits::{DRAIN_MS, EVENT_SLOT_WAIT_MAX_MS, EVENT_SLOT_WAIT_MS, EVENT_SYNC_WAIT_MS};
use kt_core::policy::{FailMode, Scan};
use kt_core::record::Record;
use kt_core::route::{self, Chooser, Drawer, Load, Outcome, Route, Selection, Unit};
use rustls::{ClientConfig, ServerConfig};
use tracing::{error, warn};

use crate::addresses::{Addresses, Counted};
use crate::buffers;
use crate::clock::Clock;
use crate::crowd::{Crowd, Seat};
use crate::deadline::Watch;
use crate::exchange;
use crate::greeting;
use crate::ledger::{Push, Quill, Slot};
use crate::mail::Letter;
use crate::meters::{ArmKey, Counts, Meters, Reading, SharedMeters};
use crate::minutes::Minutes;
use crate::pool::Pool;
use crate::reload::{Deployment, LOG};
use crate::resolve::Names;
use crate::rt::{self, Arrival, Bell, Either, Listener};
use crate::slack::{self, Found, Looks, Slack};
use crate::tls;
use crate::wire::Wire;

/// Pause after an accept that failed, most likely for want of descriptors, or while there are as many connections as
/// there may be: time for some to go.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a trouble that goes on is not said again.
const NUISANCE_SILENCE: Duration = Duration::from_secs(60);
/// Pause after an idle connection was given up for its descriptor.
const GIVE_UP_PAUSE: Duration = Duration::from_millis(1);
/// Descriptors of a core that are no connections: its ring, bell and listener, and attempts at connecting side by side.
const OWN_DESCRIPTORS: usize = 8;
/// Between two slices of a copy of the numbers.
const READ_PAUSE: Duration = Duration::from_millis(1);
/// How often a request that waits for room in the log looks whether there is some.
const SLOT_LOOK: Duration = Duration::from_millis(1);
/// How often a drain looks whether everything has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(5);
/// What a connection that was queued when the drain began is given to send its request.
const DRAIN_HEAD: Duration = Duration::from_secs(1);
/// What requests that are cut off are given to close their records.
const DRAIN_CUT: Duration = Duration::from_secs(1);

/// One core.
pub struct Worker {
    /// Its number, from 0.
    pub core: u32,
    /// The process' time.
    pub clock: Clock,
    /// Its deadlines.
    pub watch: Rc<Watch>,
    /// What it knows of names.
    pub names: Rc<Names>,
    /// Its places in the groups' blocks.
    pub drawer: RefCell<Drawer>,
    /// Room for scanning JSON, reused by each request.
    pub scratch: RefCell<Scratch>,
    /// For judging; as many as are in use at the same time.
    pub scans: RefCell<Vec<Scan>>,
    /// Its counters.
    pub counters: Counters,
    /// Its clients beside those of the other cores.
    crowd: Arc<Crowd>,
    /// Where its clients come from.
    addresses: Rc<Addresses>,
    serving: RefCell<Rc<Serving>>,
    lanes: RefCell<HashMap<LaneKey, Rc<Lane>>>,
    /// Given back when the core has drained.
    quill: RefCell<Option<Quill>>,
    /// Answers that wait for their records to be on the disk.
    waiting: RefCell<Vec<(u64, Waker)>>,
    /// Since when requests have found no room in the log, ns; none while they do.
    slotless_since_ns: Cell<Option<u64>>,
    /// When it was last said that the log has no room, ns.
    complained_ns: Cell<Option<u64>>,
    meters: Meters,
    dice: RefCell<fastrand::Rng>,
    draining: Cell<bool>,
    descriptors: Descriptors,
    fail_mode: FailMode,
    moderation: RefCell<Nuisance>,
    slack: Rc<Slack>,
}

/// What the kernel lets the process open, and how many cores share it.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    /// Of the whole process.
    pub limit: usize,
    /// Cores, at least one.
    pub cores: usize,
}

impl Descriptors {
    /// How many sockets one core may have, if `spare` descriptors are kept for what is no connection.
    fn for_sockets(self, spare: usize) -> usize {
        (self.limit.saturating_sub(spare) / self.cores.max(1)).saturating_sub(OWN_DESCRIPTORS)
    }
}

/// Numbers of a group's arms, made as they are used.
type MetersOfArms = Box<[OnceCell<SharedMeters>]>;

/// What a request needs of the configuration, and keeps until it ends: one deployment, as this core uses it.
pub struct Serving {
    deployment: Arc<Deployment>,
    lanes: Box<[OnceCell<Rc<Lane>>]>,
    /// By group and arm, indices into the plan; filled as arms are used.
    meters: Box<[OnceCell<MetersOfArms>]>,
    /// How the arms of each group have been answering, where its strategy asks for that; else empty.
    loads: Box<[Box<[Rc<Load>]>]>,
}

impl Serving {
    /// What `previous` has learned of an arm is kept.
    fn new(deployment: Arc<Deployment>, previous: Option<&Self>) -> Rc<Self> {
        let lanes = deployment.plan.targets.iter().map(|_| OnceCell::new()).collect();
        let loads = deployment.plan.groups.iter().map(|group| loads_of(group, previous)).collect();
        let meters = deployment.plan.groups.iter().map(|_| OnceCell::new()).collect();
        Rc::new(Self { deployment, lanes, meters, loads })
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.deployment.plan
    }

    /// What the listener's clients are shown; `None` for a listener without TLS.
    pub fn listener_tls(&self) -> Option<&Arc<ServerConfig>> {
        self.deployment.listener_tls.as_ref()
    }
}

fn loads_of(group: &Group, previous: Option<&Serving>) -> Box<[Rc<Load>]> {
    match group.strategy {
        Strategy::Weighted | Strategy::RoundRobin => Box::default(),
        Strategy::LeastLatency => {
            group.arms.iter().map(|arm| load_of(group, arm, previous).unwrap_or_default()).collect()
        }
    }
}

/// What is known of the arm of this name already.
fn load_of(group: &Group, arm: &Arm, previous: Option<&Serving>) -> Option<Rc<Load>> {
    let previous = previous?;
    let index = *previous.plan().group_by_name.get(&group.name)?;
    let at = previous.plan().groups[index].arms.iter().position(|known| known.name == arm.name)?;
    previous.loads[index].get(at).map(Rc::clone)
}

/// The way to one vendor address: its idle connections, and what TLS trusts on it.
pub struct Lane {
    /// Idle connections.
    pub pool: Rc<Pool>,
    /// This core's TLS configuration for it; `None` for plain connections.
    pub tls: Option<Arc<ClientConfig>>,
    /// What `tls` was made from, to notice when a reload brings another.
    source: Option<Arc<ClientConfig>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LaneKey {
    tls: bool,
    host: Box<str>,
    port: u16,
    ca_file: Option<Box<str>>,
}

impl LaneKey {
    fn of(target: &Target) -> Self {
        Self {
            tls: target.base.tls,
            host: target.base.host.clone(),
            port: target.base.port,
            ca_file: target.ca_file.clone(),
        }
    }
}

/// Counters and gauges of one core; see [`Counts`] for what each means.
#[derive(Debug, Default)]
pub struct Counters {
    /// Client connections, now.
    pub connections: Cell<u64>,
    /// Requests in flight, now.
    pub in_flight: Cell<u64>,
    /// Connections closed at once.
    pub turned_away: Cell<u64>,
    /// Clients' TLS handshakes that failed.
    pub failed_handshakes: Cell<u64>,
    /// Requests to model endpoints.
    pub admitted: Cell<u64>,
    /// Heads that could not be parsed.
    pub refused_heads: Cell<u64>,
    /// Requests to other paths.
    pub others: Cell<u64>,
    /// Requests shed.
    pub shed: Cell<u64>,
    /// Panics caught.
    pub panics: Cell<u64>,
}

/// Counts one up for as long as it lives.
pub struct Held<'a>(&'a Cell<u64>);

impl<'a> Held<'a> {
    /// Takes over from whoever counted it up already.
    pub const fn taken_over(gauge: &'a Cell<u64>) -> Self {
        Self(gauge)
    }

    /// Counts one up.
    pub fn new(gauge: &'a Cell<u64>) -> Self {
        gauge.set(gauge.get() + 1);
        Self(gauge)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Counts one up, for good.
pub fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// What a core is given when it starts.
pub struct Outfit {
    /// Its number.
    pub core: u32,
    /// The process' time.
    pub clock: Clock,
    /// What to serve.
    pub deployment: Arc<Deployment>,
    /// Its names.
    pub names: Rc<Names>,
    /// All cores, itself included.
    pub crowd: Arc<Crowd>,
    /// Its end of the ledger.
    pub quill: Quill,
    /// Seed of its request ids.
    pub seed: u64,
    /// What it may open.
    pub descriptors: Descriptors,
    /// Where the minutes go that are over.
    pub minutes: Arc<Minutes>,
    /// What becomes of what a blocking policy can't judge.
    pub fail_mode: FailMode,
}

impl Worker {
    /// A core that serves nothing yet.
    pub fn new(outfit: Outfit) -> Rc<Self> {
        let Outfit { core, clock, deployment, names, crowd, quill, seed, descriptors, minutes, fail_mode } = outfit;
        Rc::new(Self {
            core,
            clock,
            watch: Rc::default(),
            names,
            drawer: RefCell::default(),
            scratch: RefCell::default(),
            scans: RefCell::default(),
            counters: Counters::default(),
            crowd,
            addresses: Rc::default(),
            serving: RefCell::new(Serving::new(deployment, None)),
            lanes: RefCell::default(),
            quill: RefCell::new(Some(quill)),
            waiting: RefCell::default(),
            slotless_since_ns: Cell::new(None),
            complained_ns: Cell::new(None),
            meters: Meters::new(core, minutes),
            dice: RefCell::new(fastrand::Rng::with_seed(seed)),
            draining: Cell::new(false),
            descriptors,
            fail_mode,
            moderation: RefCell::default(),
            slack: Rc::default(),
        })
    }

    /// What a request that begins now is served by.
    pub fn serving(&self) -> Rc<Serving> {
        Rc::clone(&self.serving.borrow())
    }

    /// Whether the gateway is shutting down.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// What becomes of what a blocking policy can't judge.
    pub fn fail_mode(&self) -> FailMode {
        self.fail_mode
    }

    /// Whether it is time to say again that an external moderation fails.
    pub fn may_complain_of_moderation(&self) -> bool {
        self.moderation.borrow_mut().is_worth_a_word()
    }

    /// Now, in the events' time.
    pub fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// When the clock was last read, in the events' time; see [`clock::lately`].
    pub fn lately_ns(&self) -> u64 {
        self.clock.lately_ns()
    }

    /// An id for a request that brought none: `req_` and 26 characters drawn by chance.
    pub fn draw_request_id(&self) -> Box<str> {
        const PREFIX: &str = "req_";
        const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        // Five bits a letter, twelve letters a draw: a draw a letter took a percent of a request's instructions.
        let mut dice = self.dice.borrow_mut();
        let mut id = String::with_capacity(PREFIX.len() + 26);
        id.push_str(PREFIX);
        for letters in [12, 12, 2] {
            let mut bits = dice.u64(..);
            for _ in 0..letters {
                id.push(char::from(LETTERS[(bits & 31) as usize]));
                bits >>= 5;
            }
        }
        id.into()
    }

    /// The way to a target of `serving`.
    pub fn lane(&self, serving: &Serving, target: usize) -> Rc<Lane> {
        let lane = serving.lanes[target].get_or_init(|| {
            let source = serving.deployment.tls[target].clone();
            let key = LaneKey::of(&serving.plan().targets[target]);
            let mut lanes = self.lanes.borrow_mut();
            match lanes.get(&key) {
                Some(lane) if same(lane.source.as_ref(), source.as_ref()) => Rc::clone(lane),
                Some(_) | None => {
                    let tls = source.as_ref().map(tls::of_this_core);
                    let lane = Rc::new(Lane { pool: Rc::default(), tls, source });
                    lanes.insert(key, Rc::clone(&lane));
                    lane
                }
            }
        });
        Rc::clone(lane)
    }

    /// Chooses the arm for a request that takes `route`.
    pub fn select(&self, serving: &Serving, route: Route, unit: Option<&Unit<'_>>) -> Selection {
        let loads = &serving.loads[route.group()];
        let (dice, now) = (self.dice.borrow_mut().u64(..), self.lately_ns());
        let chooser = Chooser { drawer: &mut self.drawer.borrow_mut(), loads, dice, now };
        let selection = route::select(serving.plan(), route, unit, chooser);
        if selection.method == Method::LeastLatency {
            loads[selection.arm].begun();
        }
        selection
    }

    /// Counts a gap between two content events of a stream that this arm answers.
    pub fn count_gap(&self, arm: &SharedMeters, ns: u64) {
        self.meters.gap(arm, ns);
    }

    /// The numbers of the arm that was chosen.
    pub fn meters(&self, serving: &Serving, selection: &Selection) -> SharedMeters {
        self.meters_of(serving, selection.group, selection.arm).clone()
    }

    /// A request to a model endpoint begins.
    pub fn admits(self: &Rc<Self>) -> Held<'_> {
        count(&self.counters.admitted);
        let held = Held::new(&self.counters.in_flight);
        if self.slack.note(slack::load(self.counters.in_flight.get())) {
            self.look_for_slack();
        }
        held
    }

    /// Takes room for a record in the log, if there is some at once.
    pub fn reserve(&self) -> Option<Slot> {
        let slot = self.quill.borrow_mut().as_mut()?.reserve()?;
        self.slotless_since_ns.set(None);
        Some(slot)
    }

    /// Takes room for a record in the log as soon as there is some: a writer that is merely behind gets its turn while
    /// requests wait. While any of them finds room it goes on, and the others wait on. If none does, or the disk has no
    /// room, there is none: then the request is counted in a gap, and `when_full` is what it is to be done with.
    pub async fn await_slot(self: &Rc<Self>, when_full: WhenFull) -> Option<Slot> {
        const NS: u64 = 1_000_000;
        let began = self.now_ns();
        // Each waits at least once: with thousands of connections one turn of this core can take longer than all of the
        // wait, and then it was the core that kept the writer waiting.
        let mut has_waited = false;
        while self.quill.borrow().as_ref().is_some_and(Quill::is_behind) {
            let now = self.now_ns();
            let since = self.slotless_since_ns.get().unwrap_or(now);
            self.slotless_since_ns.set(Some(since));
            let stands_still = now.saturating_sub(since) >= EVENT_SLOT_WAIT_MS * NS;
            if has_waited && (stands_still || now.saturating_sub(began) >= EVENT_SLOT_WAIT_MAX_MS * NS) {
                break;
            }
            rt::sleep(SLOT_LOOK).await;
            has_waited = true;
            if let Some(slot) = self.reserve() {
                return Some(slot);
            }
        }
        let now = self.now_ns();
        if when_full == WhenFull::Shed {
            count(&self.counters.shed);
        }
        let push = self.quill.borrow_mut().as_mut()?.count_gap(now, when_full);
        self.flush_later(push);
        self.complain(when_full, now);
        None
    }

    /// Says once a second that the log has no room.
    fn complain(&self, when_full: WhenFull, now: u64) {
        if self.complained_ns.get().is_none_or(|last| now.saturating_sub(last) >= 1_000_000_000) {
            self.complained_ns.set(Some(now));
            match when_full {
                WhenFull::Shed => warn!(target: LOG, "The event log has no room: requests are refused, and counted"),
                WhenFull::Drop => {
                    warn!(target: LOG, "The event log has no room: requests are answered without a record, and counted");
                }
            }
        }
    }

    /// Notes a record that is about to close, for whoever comes after a crash. Where the record is on the disk before the
    /// last byte of the answer goes out that is nothing new, and where it may be late by a tenth of a second nobody asks.
    pub fn draft(&self, slot: Option<&Slot>, record: &mut Record, status: u16, fault: Option<&Fault>, plan: &Plan) {
        let (Some(slot), Durability::Written) = (slot, plan.events.durability) else { return };
        if let Some(quill) = self.quill.borrow_mut().as_mut() {
            quill.draft(slot, record.draft(status, fault, self.lately_ns()), plan);
        }
    }

    /// Hands a closed record over: to the histograms and to the log. Returns its number there, if it goes there.
    pub fn emit(self: &Rc<Self>, slot: Option<Slot>, event: &Event, serving: &Serving) -> Option<u64> {
        match (event.group, event.arm) {
            (Some(group), Some(arm)) => {
                let (group, arm) = (group as usize, arm as usize);
                self.meters.count(self.meters_of(serving, group, arm), event);
                if event.method == Method::LeastLatency {
                    serving.loads[group][arm].ended(Outcome::of(event), self.lately_ns());
                }
            }
            (_, None) | (None, _) => self.meters.count_unassigned(event),
        }
        let slot = slot?;
        match self.quill.borrow_mut().as_mut() {
            Some(quill) => {
                let (push, number) = quill.push(slot, event, serving.plan());
                self.flush_later(push);
                Some(number)
            }
            None => {
                error!(target: LOG, "A request ended behind the end of the drain; its record is lost");
                None
            }
        }
    }

    /// Gives back what nobody wants, for as long as much goes on here.
    fn look_for_slack(self: &Rc<Self>) {
        let worker = Rc::clone(self);
        let look = async move {
            let mut looks = Looks::default();
            loop {
                rt::sleep(looks.pause()).await;
                match worker.slack.look(&mut looks, slack::load(worker.counters.in_flight.get())) {
                    Some(Found::Slack) => worker.give_back(),
                    Some(Found::Nothing) => {}
                    None => break,
                }
            }
        };
        rt::spawn(look, |_| error!(target: LOG, "looking for slack panicked; what a peak has left stays"));
    }

    fn give_back(&self) {
        if let Some(quill) = self.quill.borrow().as_ref() {
            quill.let_go();
        }
        buffers::keep_few();
        slack::trim();
    }

    /// Waits until a record is on the disk; false if that takes too long.
    pub async fn durable(&self, number: u64) -> bool {
        let is_durable = || self.quill.borrow().as_ref().is_none_or(|quill| quill.is_durable(number));
        let wait = poll_fn(|cx| {
            if is_durable() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push((number, cx.waker().clone()));
            Poll::Pending
        });
        let give_up = rt::sleep(Duration::from_millis(EVENT_SYNC_WAIT_MS));
        matches!(rt::race(wait, give_up).await, Either::Left(()))
    }

    /// Lets those go on whose records are on the disk.
    fn wake_durable(&self) {
        let quill = self.quill.borrow();
        let is_durable = |number| quill.as_ref().is_none_or(|quill| quill.is_durable(number));
        self.waiting.borrow_mut().extract_if(.., |(number, _)| is_durable(*number)).for_each(|(_, waker)| waker.wake());
    }

    /// Flushes the batch when its time has come. A gap that has to wait for room is tried again.
    fn flush_later(self: &Rc<Self>, push: Push) {
        match push {
            Push::Armed(ms) => {
                let worker = Rc::clone(self);
                let flush = async move {
                    let mut push = Push::Armed(ms);
                    while let Push::Armed(ms) = push {
                        rt::sleep(Duration::from_millis(ms)).await;
                        push = worker.quill.borrow_mut().as_mut().map_or(Push::Sent, Quill::flush);
                    }
                };
                rt::spawn(flush, |_| error!(target: LOG, "flushing events panicked; the next batch takes them along"));
            }
            Push::Waiting | Push::Sent => {}
        }
    }

    fn meters_of<'s>(&self, serving: &'s Serving, group: usize, arm: usize) -> &'s SharedMeters {
        let plan = serving.plan();
        let of_group = || plan.groups[group].arms.iter().map(|_| OnceCell::new()).collect();
        let arms = serving.meters[group].get_or_init(of_group);
        arms[arm].get_or_init(|| self.meters.of(ArmKey::of(plan, group, arm)))
    }

    /// Whether another connection may be accepted: it takes a descriptor now, and another when it asks a vendor.
    fn room(&self) -> Room {
        let connections = self.counters.connections.get();
        if connections >= self.serving.borrow().plan().limits.connections_max as u64 {
            Room::NoConnection
        } else if !self.has_descriptors(2) {
            Room::NoDescriptor
        } else {
            Room::Some
        }
    }

    fn has_descriptors(&self, wanted: usize) -> bool {
        let spare = self.serving.borrow().plan().limits.spare_descriptors;
        rt::open_sockets() + wanted <= self.descriptors.for_sockets(spare)
    }

    /// Whether a connection to a vendor may be made. If there is no descriptor left for it, an idle one to any vendor is
    /// given up in its favour.
    pub fn makes_room_for_upstream(&self) -> bool {
        self.has_descriptors(1) || self.gives_up_idle()
    }

    /// Closes a vendor connection that nobody uses; false if there is none.
    fn gives_up_idle(&self) -> bool {
        self.lanes.borrow().values().any(|lane| lane.pool.give_up_oldest())
    }

    fn adopt(&self, deployment: Arc<Deployment>) {
        let wanted: HashSet<LaneKey> = deployment.plan.targets.iter().map(LaneKey::of).collect();
        self.lanes.borrow_mut().retain(|key, _| wanted.contains(key));
        self.names.forget_answers();
        self.meters.forget_beyond_bound(&deployment.plan);
        let previous = self.serving();
        *self.serving.borrow_mut() = Serving::new(deployment, Some(&previous));
    }

    fn begin_reading(&self) -> Reading {
        let idle: u64 = self.lanes.borrow().values().map(|lane| lane.pool.len() as u64).sum();
        let Counters {
            connections,
            in_flight,
            turned_away,
            failed_handshakes,
            admitted,
            refused_heads,
            others,
            shed,
            panics,
        } = &self.counters;
        let counts = Counts {
            connections: connections.get(),
            in_flight: in_flight.get(),
            idle_upstreams: idle,
            // Whatever is open and no client's is a vendor's.
            busy_upstreams: (rt::open_sockets() as u64).saturating_sub(connections.get()).saturating_sub(idle),
            turned_away: turned_away.get(),
            failed_handshakes: failed_handshakes.get(),
            admitted: admitted.get(),
            refused_heads: refused_heads.get(),
            others: others.get(),
            shed: shed.get(),
            panics: panics.get(),
        };
        self.meters.begin_reading(counts)
    }
}

fn same(one: Option<&Arc<ClientConfig>>, other: Option<&Arc<ClientConfig>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether another connection can be taken in, and if not, what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Some,
    NoConnection,
    NoDescriptor,
}

/// What goes wrong again and again, and is said once in a while: whoever makes it go wrong doesn't fill the log.
#[derive(Debug, Default)]
struct Nuisance {
    said: Option<Instant>,
}

impl Nuisance {
    fn is_worth_a_word(&mut self) -> bool {
        let is_due = self.said.is_none_or(|said| said.elapsed() > NUISANCE_SILENCE);
        if is_due {
            self.said = Some(Instant::now());
        }
        is_due
    }
}

/// Waits until there is room for another connection.
async fn make_room(worker: &Worker, nuisance: &mut Nuisance) {
    loop {
        match worker.room() {
            Room::Some => return,
            Room::NoConnection => rt::sleep(ACCEPT_PAUSE).await,
            Room::NoDescriptor => {
                if nuisance.is_worth_a_word() {
                    warn!(target: LOG, "No descriptors are left: new connections wait until others have gone");
                }
                // What was given up closes in a moment.
                let pause = if worker.gives_up_idle() { GIVE_UP_PAUSE } else { ACCEPT_PAUSE };
                rt::sleep(pause).await;
            }
        }
    }
}

/// Accepts until told to stop, then takes in what is still queued, and no more.
pub async fn accept(worker: Rc<Worker>, listener: Rc<Listener>) {
    let (mut crowded, mut refused) = (Nuisance::default(), Nuisance::default());
    loop {
        make_room(&worker, &mut crowded).await;
        match listener.accept().await {
            Ok(Some(arrival)) => take_in(&worker, arrival),
            Ok(None) => break,
            Err(error) => {
                if refused.is_worth_a_word() {
                    warn!(target: LOG, "Accepting connections fails, and is tried again every 50 ms: {error}");
                }
                rt::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while let Some(arrival) = listener.accept_queued() {
        take_in(&worker, arrival);
    }
    listener.close();
}

/// Serves a connection, or sends it to a core that has clearly fewer.
fn take_in(worker: &Rc<Worker>, arrival: Arrival) {
    if let Some((arrival, seat)) = worker.crowd.seat(worker.core, arrival) {
        admit(worker, arrival, seat);
    }
}

/// Serves a connection that has a place here. Who comes by a Unix socket has no address, and is no one's too many.
fn admit(worker: &Rc<Worker>, arrival: Arrival, seat: Seat) {
    let most = worker.serving.borrow().plan().limits.connections_per_address_max;
    let counted = match arrival.peer.map(|peer| worker.addresses.admit(peer, most)) {
        Some(Some(counted)) => Some(counted),
        Some(None) => return count(&worker.counters.turned_away),
        None => None,
    };
    // One that can't be opened has gone.
    let Ok(socket) = arrival.open() else { return };
    let wire = Wire::plain(socket, &worker.watch);
    // Counted before its task has begun: the next one may be there already.
    let admitted = Admitted::new(worker, counted, seat);
    let (serving, panicked) = (Rc::clone(worker), Rc::clone(worker));
    rt::spawn(
        async move {
            let _admitted = admitted;
            if let Some(wire) = greeting::greet(&serving, wire).await {
                exchange::serve(&serving, wire).await;
            }
        },
        move |_| count(&panicked.counters.panics),
    );
}

/// A client's connection, counted for as long as this lives.
struct Admitted {
    worker: Rc<Worker>,
    _of_its_address: Option<Counted>,
    _seat: Seat,
}

impl Admitted {
    fn new(worker: &Rc<Worker>, of_its_address: Option<Counted>, seat: Seat) -> Self {
        count(&worker.counters.connections);
        Self { worker: Rc::clone(worker), _of_its_address: of_its_address, _seat: seat }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let connections = &self.worker.counters.connections;
        connections.set(connections.get() - 1);
    }
}

/// Takes in mail until the gateway ends.
pub async fn read_mail(worker: Rc<Worker>, mut bell: Bell, letters: Receiver<Letter>, listener: Rc<Listener>) {
    while bell.rung().await.is_ok() {
        worker.wake_durable();
        while let Ok(letter) = letters.try_recv() {
            match letter {
                Letter::Adopt { deployment, done } => {
                    worker.adopt(deployment);
                    tell(&done, worker.core);
                }
                Letter::Resolved { host, answer } => worker.names.answered(host, answer),
                Letter::Arrived { arrival, seat } => admit(&worker, arrival, seat),
                Letter::Read { to } => {
                    let panicked =
                        |_| error!(target: LOG, "reading the numbers panicked; whoever asked gives up waiting");
                    rt::spawn(read(Rc::clone(&worker), to), panicked);
                }
                Letter::Drain { done } => {
                    let worker = Rc::clone(&worker);
                    worker.crowd.leave(worker.core);
                    listener.stop();
                    rt::spawn(drain(worker, done), |_| error!(target: LOG, "the drain panicked; exiting without it"));
                }
            }
        }
    }
}

/// Sends a copy of the numbers, made in slices between which requests are served.
async fn read(worker: Rc<Worker>, to: Sender<Reading>) {
    let mut reading = worker.begin_reading();
    while worker.meters.read_on(&mut reading) {
        rt::sleep(READ_PAUSE).await;
    }
    tell(&to, reading);
}

async fn drain(worker: Rc<Worker>, done: Sender<u32>) {
    worker.draining.set(true);
    worker.watch.hurry(Instant::now() + DRAIN_HEAD);
    let give_up = Instant::now() + Duration::from_millis(DRAIN_MS);
    // A record may still wait for what a moderation says of it, without its client.
    let is_busy = || worker.counters.connections.get() > 0 || worker.counters.in_flight.get() > 0;
    while is_busy() && Instant::now() < give_up {
        rt::sleep(DRAIN_LOOK).await;
    }
    let left = worker.counters.in_flight.get();
    if left > 0 {
        warn!(target: LOG, "{left} request(s) still in flight after 30 s of draining are cut off");
        worker.watch.cut_all();
        // Each of them ends by that, and so gets its record.
        let give_up = Instant::now() + DRAIN_CUT;
        while worker.counters.in_flight.get() > 0 && Instant::now() < give_up {
            rt::sleep(DRAIN_LOOK).await;
        }
    }
    // What it holds goes to the writer, which waits for every core's.
    drop(worker.quill.borrow_mut().take());
    tell(&done, worker.core);
}

fn tell<T>(to: &Sender<T>, what: T) {
    // Whoever asked may have stopped waiting.
    let _ = to.try_send(what);
}
