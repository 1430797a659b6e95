//! Seats that ask, and the clock that tells them when.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use kt_core::limits::Limits;
use kt_proxy::deadline::Watch;
use kt_proxy::rt;
use kt_proxy::worker::Held;

use super::arrivals::Arrivals;
use super::exchange::{Kept, Sheets};
use super::outcome::Outcome;
use super::{Load, Pattern, Progress};
use crate::clock::{now_ns, ns};
use crate::cpu::Usage;
use crate::pace::Pacer;

/// How many connections of a closed loop are opened at a time, and how long after each other: what a listener's queue of
/// usual length takes in.
const OPEN_AT_ONCE: usize = 128;
const OPEN_PAUSE_NS: u64 = 5_000_000;
/// How long a connection of a closed loop rests when a request has failed: what fails at once would be asked, and counted,
/// as fast as a core can.
const AFTER_FAILURE_NS: u64 = 10_000_000;
/// How often the end is looked for.
const END_LOOK: Duration = Duration::from_millis(2);
/// Latencies by place that are kept at most; pairs beyond are not compared.
pub(super) const PLACES_MAX: usize = 4_000_000;

/// One request that is meant to go out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// Its place in the sequence.
    pub(super) nth: u64,
    /// When it is meant to go out.
    pub(super) meant_ns: u64,
}

/// A place for one request at a time, with a connection to each target.
#[derive(Default)]
struct Seat {
    job: Cell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
}

/// What all seats share.
pub(super) struct Engine {
    pub(super) load: Load,
    pub(super) limits: Limits,
    pub(super) watch: Rc<Watch>,
    pub(super) progress: Arc<Progress>,
    /// One for each target.
    pub(super) outcomes: RefCell<Vec<Outcome>>,
    /// From when on it counts.
    pub(super) counts_from_ns: u64,
    ends_ns: u64,
    pacer: Rc<Pacer>,
    asked: Cell<u64>,
    seats: Cell<u64>,
    idle: RefCell<VecDeque<Rc<Seat>>>,
    queue: RefCell<VecDeque<Job>>,
    is_over: Cell<bool>,
}

/// Runs a load on this thread's runtime to its end: until the time is over and every request is answered, or given up.
/// Gives one outcome for each target.
pub async fn run(load: Load, pacer: Rc<Pacer>, progress: Arc<Progress>) -> Vec<Outcome> {
    let (warm_up_ns, duration_ns) = (ns(load.warm_up), ns(load.duration));
    let (begins_ns, count) = (now_ns(), load.targets.len());
    let counts_from_ns = begins_ns + warm_up_ns;
    let engine = Rc::new(Engine {
        limits: Limits::default(),
        watch: Rc::default(),
        progress,
        outcomes: RefCell::new(vec![Outcome::default(); count]),
        counts_from_ns,
        ends_ns: counts_from_ns + duration_ns,
        pacer,
        asked: Cell::new(0),
        seats: Cell::new(0),
        idle: RefCell::default(),
        queue: RefCell::default(),
        is_over: Cell::new(false),
        load,
    });
    let clock = Rc::clone(&engine);
    let own = Rc::new(Cell::new(None));
    let told = Rc::clone(&own);
    rt::spawn(async move { told.set(Some(clock.watch_itself().await)) }, |_| {});
    match engine.load.pattern.rate() {
        None => Rc::clone(&engine).fill_seats().await,
        Some(_) => Rc::clone(&engine).call(begins_ns).await,
    }
    while engine.seats.get() > 0 || own.get().is_none() {
        rt::sleep(END_LOOK).await;
    }
    let mut outcomes = engine.outcomes.take();
    for outcome in &mut outcomes {
        outcome.measured = engine.load.duration;
        outcome.own = own.get().unwrap_or_default();
        outcome.meant_rate = engine.load.pattern.rate().map(|rate| rate / count as f64);
    }
    outcomes
}

impl Engine {
    /// What this thread uses while it counts; then it is over.
    async fn watch_itself(&self) -> crate::cpu::Used {
        self.pacer.until(self.counts_from_ns).await;
        let before = Usage::of_this_thread();
        self.pacer.until(self.ends_ns).await;
        let used = Usage::of_this_thread().since(&before);
        self.end();
        used
    }

    fn end(&self) {
        self.is_over.set(true);
        for seat in self.idle.take() {
            if let Some(waker) = seat.waker.take() {
                waker.wake();
            }
        }
    }

    /// The closed loop: as many seats as there are to be.
    async fn fill_seats(self: Rc<Self>) {
        for nth in 0..self.load.connections {
            if nth > 0 && nth % OPEN_AT_ONCE == 0 {
                self.pacer.until(now_ns() + OPEN_PAUSE_NS).await;
            }
            self.take_seat(None);
        }
    }

    /// The open loop: calls each request at its time, for whichever seat is free.
    async fn call(self: Rc<Self>, begins_ns: u64) {
        for at_ns in Arrivals::new(self.load.pattern.clone()) {
            let meant_ns = begins_ns + at_ns;
            if meant_ns >= self.ends_ns {
                break;
            }
            self.pacer.until(meant_ns).await;
            let job = Job { nth: self.asked.replace(self.asked.get() + 1), meant_ns };
            let idle = self.idle.borrow_mut().pop_front();
            match idle {
                Some(seat) => {
                    seat.job.set(Some(job));
                    if let Some(waker) = seat.waker.take() {
                        waker.wake();
                    }
                }
                None if self.seats.get() < self.load.connections as u64 => self.take_seat(Some(job)),
                None => {
                    self.outcomes.borrow_mut()[self.target_of(job)].queued += 1;
                    self.queue.borrow_mut().push_back(job);
                }
            }
        }
    }

    /// Which target a request goes to.
    pub(super) fn target_of(&self, job: Job) -> usize {
        (job.nth % self.load.targets.len() as u64) as usize
    }

    fn take_seat(self: &Rc<Self>, job: Option<Job>) {
        let engine = Rc::clone(self);
        let seat = Rc::new(Seat { job: Cell::new(job), waker: RefCell::default() });
        // The panic hook has said where; its request is missing in the sums.
        rt::spawn(async move { engine.ask_in_turn(&seat).await }, |_| {});
    }

    async fn ask_in_turn(&self, seat: &Rc<Seat>) {
        let _held = Held::new(&self.seats);
        let mut sheets = Sheets::default();
        let mut kept: Vec<Kept> = self.load.targets.iter().map(|_| Kept::default()).collect();
        while let Some(job) = self.next_job(seat).await {
            let target = self.target_of(job);
            let passed = self.ask(job, target, &mut sheets, &mut kept[target]).await;
            if !passed && self.load.pattern == Pattern::Closed {
                self.pacer.until(now_ns() + AFTER_FAILURE_NS).await;
            }
        }
        for connection in kept {
            connection.close().await;
        }
    }

    async fn next_job(&self, seat: &Rc<Seat>) -> Option<Job> {
        if self.load.pattern.rate().is_none() {
            let now = now_ns();
            let nth = self.asked.replace(self.asked.get() + 1);
            return (now < self.ends_ns).then_some(Job { nth, meant_ns: now });
        }
        if let Some(job) = seat.job.take().or_else(|| self.queue.borrow_mut().pop_front()) {
            return Some(job);
        }
        if self.is_over.get() {
            return None;
        }
        self.idle.borrow_mut().push_back(Rc::clone(seat));
        poll_fn(|cx| {
            if let Some(job) = seat.job.take() {
                return Poll::Ready(Some(job));
            }
            if self.is_over.get() {
                return Poll::Ready(None);
            }
            *seat.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}
