//! One measurement: a load through a peer, and what the kernel says the peer used meanwhile.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kt_core::dialect::Dialect;
use kt_lab::cpu::{Usage, resident_bytes, wake_ups};
use kt_lab::load::{Check, Load, Loading, Outcome, Pattern, Question, Target, Verdict};
use kt_lab::rig::Rig;
use kt_lab::stamp::Wish;
use kt_proxy::listen::Address;

use super::cases::{Case, Kind};
use super::pause;
use super::peers::{Route, Running};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Length of a window in which CPU time is read, about.
const WINDOW: Duration = Duration::from_millis(500);
/// How long streams that wait are held: some give back what it took to begin when nothing has happened for a while.
const HOLD: Duration = Duration::from_secs(10);
/// When their next event comes: after each has been given up, and not much later, since not every peer ends a vendor's
/// answer when its client has gone.
const NEXT_EVENT_US: u64 = 12_000_000;

/// Who is asked: a peer, or the vendor itself.
#[derive(Clone, Copy)]
pub(super) enum Asked<'r> {
    /// Through a peer.
    Peer(&'r Running),
    /// Straight.
    Direct,
}

/// What came of one measurement.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// CPU time for each request, or each event of streams, in microseconds: one for each window.
    pub(super) cpu_us: Vec<f64>,
    /// Answers, or events, a second.
    pub(super) rate: f64,
    /// Resident memory at its end.
    pub(super) resident_mib: f64,
    /// Memory of a stream that waits.
    pub(super) stream_kib: Option<f64>,
    /// Times that a thread of it woke up in a second.
    pub(super) wake_ups: Option<f64>,
    /// All that the load saw; none where there was none.
    pub(super) outcome: Option<Outcome>,
    /// Share of the time in which the peer could have run and had no core: others used it.
    pub(super) waited: f64,
    /// Why it is to be taken with care.
    pub(super) doubts: Vec<String>,
}

/// What a measurement needs to know.
pub(super) struct Plan<'p> {
    pub(super) rig: &'p Rig,
    pub(super) case: &'p Case,
    /// Requests a second in the open loop.
    pub(super) rate: f64,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    /// What stands before and behind the stamp in a whole answer of the vendor.
    pub(super) body: &'p (Vec<u8>, Vec<u8>),
    pub(super) seed: u64,
}

impl Plan<'_> {
    /// Measures.
    pub(super) fn measure(&self, asked: Asked<'_>) -> anyhow::Result<Sample> {
        match (self.case.kind, asked) {
            (Kind::Idle, Asked::Peer(running)) => self.idle(running),
            (Kind::IdleStreams, Asked::Peer(running)) => self.idle_streams(running),
            (Kind::Idle | Kind::IdleStreams, Asked::Direct) => bail!("a vendor by itself is not what is measured"),
            (Kind::Closed | Kind::Streams { .. } | Kind::Open { .. }, _) => self.busy(asked),
        }
    }

    fn load(&self, asked: Asked<'_>) -> Load {
        let vendor = self.rig.vendors()[0];
        let is_exact =
            matches!(asked, Asked::Peer(running) if running.peer.exact) && self.case.route != Route::Anthropic;
        let target = match asked {
            Asked::Peer(running) => running.target(self.case.route, vendor),
            Asked::Direct => straight(vendor),
        };
        let (wish, stream) = match self.case.kind {
            Kind::Streams { events, gap_us } => (Wish { delay_us: 0, events, gap_us }, true),
            Kind::IdleStreams => (Wish { delay_us: 0, events: 2, gap_us: NEXT_EVENT_US }, true),
            Kind::Closed | Kind::Open { .. } | Kind::Idle => (Wish { delay_us: 0, events: 1, gap_us: 0 }, false),
        };
        let (before, after) = self.body.clone();
        let events = wish.events;
        Load {
            targets: vec![target],
            pattern: match self.case.kind {
                Kind::Open { .. } => Pattern::Poisson { rate: self.rate, seed: self.seed },
                Kind::Closed | Kind::Streams { .. } | Kind::IdleStreams | Kind::Idle => Pattern::Closed,
            },
            connections: self.case.connections,
            keep_alive: true,
            warm_up: self.warm_up,
            duration: self.duration,
            patience: PATIENCE,
            question: Question { wish: Some(wish), ..Question::of_bytes(self.case.body_bytes, stream) },
            check: if is_exact { Check::Exact { events, before, after } } else { Check::Stamped { events } },
        }
    }

    fn busy(&self, asked: Asked<'_>) -> anyhow::Result<Sample> {
        let counts_events = matches!(self.case.kind, Kind::Streams { .. });
        let loading = self.rig.load(self.load(asked));
        pause(self.warm_up);
        let windows = (self.duration.as_secs_f64() / WINDOW.as_secs_f64()).floor().max(1.0);
        let window = self.duration.div_f64(windows);
        let mut sample = Sample::default();
        let (began, first) = (Instant::now(), done(&loading, counts_events));
        let mut waited_ns = 0;
        for _ in 0..windows as usize {
            let (before, usage_before) = (done(&loading, counts_events), usage(asked)?);
            pause(window);
            let (after, usage_after) = (done(&loading, counts_events), usage(asked)?);
            let (count, used) = (after - before, usage_after.since(&usage_before));
            if count > 0 && matches!(asked, Asked::Peer(_)) {
                sample.cpu_us.push(used.cpu_ns as f64 / 1e3 / count as f64);
            }
            waited_ns += used.waited_ns;
        }
        let elapsed = began.elapsed();
        sample.rate = (done(&loading, counts_events) - first) as f64 / elapsed.as_secs_f64();
        sample.waited = waited_ns as f64 / elapsed.as_nanos() as f64;
        sample.resident_mib = resident(asked);
        let outcome = loading.wait(PATIENCE + self.duration).and_then(|mut outcomes| outcomes.pop());
        let outcome = outcome.context("the load has not ended")?;
        if let Verdict::Doubtful(doubts) = outcome.verdict() {
            sample.doubts = doubts;
        }
        if sample.waited > 0.1 {
            sample.doubts.push(format!("it had to wait for its core {:.0} % of the time", sample.waited * 100.0));
        }
        sample.outcome = Some(outcome);
        Ok(sample)
    }

    /// What a stream costs that has begun and waits, above what the process had before.
    fn idle_streams(&self, running: &Running) -> anyhow::Result<Sample> {
        let before = resident(Asked::Peer(running));
        let load = Load { warm_up: Duration::ZERO, duration: HOLD, patience: HOLD, ..self.load(Asked::Peer(running)) };
        let loading = self.rig.load(load);
        pause(HOLD.mul_f64(0.8));
        let (streams, resident_mib) = (done(&loading, true), resident(Asked::Peer(running)));
        // Each is cut off when the load's patience ends, which is no failure here.
        loading.wait(PATIENCE).context("the load has not ended")?;
        let mut sample = Sample { resident_mib, ..Sample::default() };
        if streams < self.case.connections as u64 {
            sample.doubts.push(format!("{streams} of {} streams had begun", self.case.connections));
        }
        sample.stream_kib = (streams > 0).then(|| (resident_mib - before) * 1_024.0 / streams as f64);
        Ok(sample)
    }

    fn idle(&self, running: &Running) -> anyhow::Result<Sample> {
        // Whatever it still had to do has been done by then.
        pause(self.warm_up);
        let (began, before) = (Instant::now(), wake_ups(running.pid())?);
        pause(self.duration.max(Duration::from_secs(2)));
        let rate = (wake_ups(running.pid())? - before) as f64 / began.elapsed().as_secs_f64();
        let resident_mib = resident(Asked::Peer(running));
        Ok(Sample { wake_ups: Some(rate), resident_mib, ..Sample::default() })
    }
}

fn straight(vendor: SocketAddr) -> Target {
    Target {
        address: Address::Ip(vendor),
        authority: vendor.to_string(),
        path: "/v1/chat/completions".to_owned(),
        fields: Vec::new(),
        tls: None,
        model: "gpt-4o-mini".to_owned(),
        dialect: Dialect::OpenAi,
    }
}

fn done(loading: &Loading, counts_events: bool) -> u64 {
    let progress = loading.progress();
    let counter = if counts_events { &progress.events } else { &progress.answered };
    counter.load(Ordering::Relaxed)
}

fn usage(asked: Asked<'_>) -> anyhow::Result<Usage> {
    match asked {
        Asked::Peer(running) => {
            Usage::of_tree(running.pid()).with_context(|| format!("{} has ended", running.peer.name))
        }
        Asked::Direct => Ok(Usage::default()),
    }
}

fn resident(asked: Asked<'_>) -> f64 {
    match asked {
        Asked::Peer(running) => resident_bytes(running.pid()).unwrap_or_default() as f64 / 1_048_576.0,
        Asked::Direct => 0.0,
    }
}
