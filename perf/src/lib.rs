//! The lab: what a gateway stands between, and how it is measured.
//!
//! [`vendor`] simulates a vendor on loopback: in its own language and with the latencies of a real one, or, as
//! [`vendor::quick`], at next to no cost and with stamps in its answers. [`load`] asks and tells the truth about what it
//! sees; [`ask`] is the demo's client, which hands out each answer. [`pump`] forwards bytes and does nothing else: what
//! the kernel's TCP costs. [`rig`] keeps vendors and load together, with a gateway between them. [`cpu`] reads what
//! processes use, [`stats`] says how sure a number is. All run on threads of their own with the gateway's runtime,
//! and are used from code that blocks: `kt bench`, the demo, the tests, and this package's own programs.
//! [`filter`] is where the content filter's models are learned and measured.
//!
//! Underneath: [`clock`] and [`pace`] (time), [`stamp`] (what a quick vendor says of itself), [`cores`] and `stage`
//! (threads), [`json`] (what is written down).
//!
//! Laws of this floor, checked by `tests/it/tidy.rs`:
//!
//! * The runtime is `kt-proxy`'s wall around it, by the same rules.
//! * The gateway knows nothing of the lab: neither `kt-core` nor `kt-proxy` depends on it.
//! * `unsafe` in one place: the ring of the [`pump`], which no runtime is to stand in the way of.
#![deny(unsafe_code)]

pub mod ask;
pub mod clock;
pub mod cores;
pub mod cpu;
pub mod filter;
pub mod json;
pub mod load;
pub mod pace;
pub mod pump;
pub mod rig;
mod stage;
pub mod stamp;
pub mod stats;
pub mod vendor;

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A listening socket whose queue takes in thousands of clients that come at the same moment: the standard library's
/// takes 128, and whoever finds it full is silent for a second.
///
/// # Errors
///
/// The system's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    const QUEUE: i32 = 16_384;
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, QUEUE)?;
    Ok(listener)
}

/// Lets this process have as many files open as it may at most: each connection is one.
///
/// # Errors
///
/// The system's.
pub fn raise_open_files() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
