//! The lab: what a gateway stands between, and how it is measured.
//!
//! [`vendor`] simulates a vendor on loopback: in its own language and with the latencies of a real one, or, as
//! [`vendor::quick`], at next to no cost and with stamps in its answers. [`load`] asks and tells the truth about what it
//! sees; [`ask`] is the demo's client, which hands out each answer. [`pump`] forwards bytes and does nothing else: what
//! the kernel's TCP costs. [`cpu`] reads what processes use. All run on threads of their own with the gateway's runtime,
//! and are used from code that blocks: `kt bench`, the demo, the tests, and this package's own programs.
//! [`filter`] is where the content filter's models are learned and measured.
//!
//! Underneath: [`clock`] and [`pace`] (time), [`stamp`] (what a quick vendor says of itself), `stage` (threads).
//!
//! Laws of this floor, checked by `tests/it/tidy.rs`:
//!
//! * The runtime is `kt-proxy`'s wall around it, by the same rules.
//! * The gateway knows nothing of the lab: neither `kt-core` nor `kt-proxy` depends on it.
//! * `unsafe` in one place: the ring of the [`pump`], which no runtime is to stand in the way of.
#![deny(unsafe_code)]

pub mod ask;
pub mod clock;
pub mod cpu;
pub mod filter;
pub mod load;
pub mod pace;
pub mod pump;
mod stage;
pub mod stamp;
pub mod vendor;

/// A listening socket whose queue takes in thousands of clients that come at the same moment: the standard library's
/// takes 128, and whoever finds it full is silent for a second.
///
/// # Errors
///
/// The system's.
pub fn listen(address: std::net::SocketAddr) -> std::io::Result<std::net::TcpListener> {
    const QUEUE: i32 = 16_384;
    let listener = std::net::TcpListener::bind(address)?;
    rustix::net::listen(&listener, QUEUE)?;
    Ok(listener)
}
