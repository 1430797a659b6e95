//! Load that tells the truth.
//!
//! In the open loop requests have times at which they are meant to go out, whatever became of those before them: constant,
//! Poisson, or a trace's. Latency counts from then, so that a server's stall shows in every request that it held up. In
//! the closed loop each connection asks again when it is answered: right for what a server can do at most, and blind to
//! stalls, since nobody asks meanwhile.
//!
//! Every answer is checked to its end. Answers of a [quick vendor](crate::vendor::quick) say themselves when the vendor
//! had the request and let go of the answer; the rest is what lay between, known for each request and not by subtracting
//! quantiles. What the load itself used and how late it was is part of the [`Outcome`], and so is whether it was the
//! bottleneck.

mod arrivals;
mod engine;
mod exchange;
mod outcome;
mod target;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded};

use crate::pace::Pacer;
use crate::stage;
use crate::stamp::Wish;
pub use arrivals::Pattern;
pub use engine::run;
pub use outcome::{Hist, Outcome, Verdict};
pub use target::{Target, authority};

/// What is asked, how often, and for how long.
#[derive(Clone, Debug)]
pub struct Load {
    /// Who is asked: one, or several in turn.
    pub targets: Vec<Target>,
    /// When.
    pub pattern: Pattern,
    /// In the closed loop how many ask at a time; in the open loop how many may.
    pub connections: usize,
    /// Whether a connection is used for the next request too.
    pub keep_alive: bool,
    /// What is asked before anything counts.
    pub warm_up: Duration,
    /// For how long after that.
    pub duration: Duration,
    /// How long an answer may take, from the moment that its request was meant to go out.
    pub patience: Duration,
    /// What is asked.
    pub question: Question,
    /// What an answer has to be.
    pub check: Check,
}

/// What is asked: a chat completion whose one message is a prompt.
#[derive(Clone, Debug)]
pub struct Question {
    /// Prompts, in turn; at least one.
    pub prompts: Vec<String>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The most tokens to be answered, where one says so.
    pub tokens_max: Option<u64>,
    /// Whether the request's number stands before each prompt, which is what a quick vendor answers by. A real one is
    /// not to be bothered with it.
    pub is_numbered: bool,
    /// How a quick vendor is to answer a request with a number; `None` leaves it to its settings.
    pub wish: Option<Wish>,
}

impl Question {
    /// A prompt that makes a request's body about as long as `body_bytes`.
    pub fn of_bytes(body_bytes: usize, stream: bool) -> Self {
        const SENTENCE: &str = "The quick brown fox jumps over the lazy dog. ";
        // What stands around a prompt, about.
        let wanted = body_bytes.saturating_sub(160);
        let mut prompt = SENTENCE.repeat(wanted / SENTENCE.len() + 1);
        prompt.truncate(wanted.max(1));
        Self { prompts: vec![prompt], stream, tokens_max: None, is_numbered: true, wish: None }
    }
}

/// What an answer has to be, beside 200 and whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: it is from a vendor that says what it wants.
    Whole,
    /// It carries the stamps of a quick vendor, for this very request; a stream as many as it has events, in order.
    Stamped {
        /// Content events of a stream.
        events: u64,
    },
    /// As before, and around the stamp a whole answer is byte for byte what the vendor sent.
    Exact {
        /// Content events of a stream.
        events: u64,
        /// What stands before the stamp.
        before: Vec<u8>,
        /// What stands behind it.
        after: Vec<u8>,
    },
}

/// What has happened so far, for whoever looks from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Answers that passed the check.
    pub answered: AtomicU64,
    /// Requests that did not get one.
    pub failed: AtomicU64,
    /// Content events of streams.
    pub events: AtomicU64,
    /// Streams that have begun and not ended.
    pub streaming: AtomicU64,
}

impl Progress {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A load under way on a thread of its own.
#[derive(Debug)]
pub struct Loading {
    progress: Arc<Progress>,
    outcome: Receiver<Vec<Outcome>>,
}

impl Loading {
    pub(crate) const fn new(progress: Arc<Progress>, outcome: Receiver<Vec<Outcome>>) -> Self {
        Self { progress, outcome }
    }

    /// What has happened so far.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// What came of it, one for each target, once it has ended; `None` after `patience`.
    pub fn wait(&self, patience: Duration) -> Option<Vec<Outcome>> {
        self.outcome.recv_timeout(patience).ok()
    }
}

/// Starts a load on a thread of its own. With a vendor beside it, use a [rig](crate::rig).
///
/// # Errors
///
/// The system's, when there can be no thread, runtime or timer.
pub fn start(load: Load) -> io::Result<Loading> {
    let progress = Arc::<Progress>::default();
    let (tell, outcome) = bounded(1);
    let shared = Arc::clone(&progress);
    stage::start("kt-load", move |_engine| {
        let pacer = Pacer::start()?;
        Ok(async move {
            let outcomes = run(load, pacer, shared).await;
            // Whoever started it may have stopped waiting.
            let _ = tell.send(outcomes);
        })
    })?;
    Ok(Loading { progress, outcome })
}
