//! The parties of a scenario: a [`Gateway`], the [`Vendor`]s it asks, the [`Client`]s that ask it.
//!
//! All of it is blocking and plain, one thread per party: what is written and read stands in the test byte by byte. Every
//! wait has a bound, and whoever waits in vain says what there was instead.

mod answers;
mod cases;
mod client;
mod gateway;
mod json;
mod tls;
mod vendor;

use std::env;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use answers::{
    ANTHROPIC_TOKENS, OPENAI_TOKENS, anthropic, anthropic_error, anthropic_events, anthropic_whole, chunked, http,
    openai, openai_events, openai_stream, openai_stream_behind, openai_whole, sse_head,
};
pub(crate) use cases::{Case, cases};
pub(crate) use client::{Answer, Client, End, MESSAGES, chat, chat_of, post, refuses, request};
pub(crate) use gateway::{Config, Event, Gateway, Output, Setup, State, kt, shell};
pub(crate) use json::{Json, json, lines, raw_fields};
pub(crate) use tls::{Authority, Conduit, Identity};
pub(crate) use vendor::{Gate, Received, Script, Step, Vendor};

/// How long anything may take that takes milliseconds on an idle machine. Only a test that fails waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How often a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until `look` finds something.
///
/// # Panics
/// If it hasn't after [`PATIENCE`]; `what` says what was waited for.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited {} s in vain: {what}", PATIENCE.as_secs());
        pause(LOOK_AGAIN);
    }
}

/// Lets time pass, for a vendor that is slow and for polling. No test takes it for a proof that something has happened.
#[expect(clippy::disallowed_methods, reason = "there is no reactor in these threads")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Says on stderr that a test doesn't run for want of `what`. Where the machine is meant to have it, as `KT_NO_SKIP`
/// says (a list with commas), that is a failure.
pub(crate) fn skip(what: &str, why: &str) {
    let must_be_there = env::var("KT_NO_SKIP").unwrap_or_default();
    assert!(!must_be_there.split(',').any(|name| name.trim() == what), "must not be skipped for want of {what}: {why}");
    // Past the harness of cargo, which keeps what a passing test prints with `eprintln!`.
    let _ = writeln!(io::stderr(), "SKIPPED: {why}");
}

/// Whether `jq` is there. Says so if not.
pub(crate) fn has_jq() -> bool {
    let found = Command::new("jq").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        skip("jq", "jq is not installed");
    }
    found
}

/// How the gateway talks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    IoUring,
    Epoll,
}

impl Driver {
    /// The value of `--driver`.
    pub(crate) const fn flag(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }

    /// Whether this machine has it. Says so if not.
    pub(crate) fn is_here(self) -> bool {
        self == Self::Epoll || {
            let refusal = ring_refusal();
            if let Some(refusal) = refusal {
                skip("io_uring", refusal);
            }
            refusal.is_none()
        }
    }
}

/// The driver of scenarios that name none: `KT_DRIVER`, so that all of them can be run on either. Without, the best there
/// is.
pub(crate) fn usual_driver() -> Option<Driver> {
    let name = env::var("KT_DRIVER").ok()?;
    let known = [Driver::IoUring, Driver::Epoll].into_iter().find(|driver| driver.flag() == name);
    Some(known.unwrap_or_else(|| panic!("KT_DRIVER is io_uring or epoll, not {name:?}")))
}

/// Runs `scenario` on every driver that this machine has, or on that of `KT_DRIVER` alone.
pub(crate) fn on_each_driver(scenario: impl Fn(Driver)) {
    for driver in [Driver::IoUring, Driver::Epoll] {
        let is_wanted = usual_driver().is_none_or(|usual| usual == driver);
        if is_wanted && driver.is_here() {
            eprintln!("on {}", driver.flag());
            scenario(driver);
        }
    }
}

/// Why the gateway can't make a ring here; asked once. It is asked to start on a state directory that can't be one, so
/// it never gets further than the choice of its driver.
fn ring_refusal() -> Option<&'static str> {
    static REFUSAL: OnceLock<Option<String>> = OnceLock::new();
    let ask = || {
        let state = State::new();
        let file = state.write("policy-config.yaml", "version: '1'\n");
        let file = file.to_str().expect("temporary paths are UTF-8");
        let output = kt(&["gateway", "run", "--policy-config", file, "--driver", "io_uring", "--state-dir", file]);
        let refused = output.stderr.contains("io_uring was asked for");
        refused.then(|| output.stderr.trim().to_owned())
    };
    REFUSAL.get_or_init(ask).as_deref()
}
