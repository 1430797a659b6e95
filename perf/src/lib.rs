//! The lab: what a gateway stands between, when nobody wants to pay for it.
//!
//! [`vendor`] simulates a vendor on loopback, in its own language and with the latencies of a real one, drawn from a
//! seed. [`ask`] is a client that asks many questions and checks every answer to its end. Both run on a thread of their
//! own with the gateway's runtime, and are used from code that blocks: the demo and the tests.
//!
//! Laws of this floor, checked by `tests/it/tidy.rs`:
//!
//! * The runtime is `kt-proxy`'s wall around it, by the same rules.
//! * The gateway knows nothing of the lab: neither `kt-core` nor `kt-proxy` depends on it.
#![forbid(unsafe_code)]

pub mod ask;
mod stage;
pub mod vendor;
