//! Sockets, time, files and threads: asks core what to do.
//!
//! One thread per core, each with its own runtime, listener, connections, pools, histograms and plan; nothing is locked
//! and next to nothing shared. Beside them a few threads that may block: the resolver's, the event log's, the admin
//! door's, and the main thread with its signals.
//!
//! In reading order: [`exchange`] (start here), [`client`] and [`upstream`] (the two sides), [`outgoing`] and [`relay`]
//! (what goes between them), [`moderation`] (what is asked beside them), [`worker`] (what a core owns), [`crowd`] (who takes in the next), [`greeting`] (how a connection begins), [`server`] (how it
//! all starts and ends), [`listen`], [`reload`]; what is counted, [`meters`], [`minutes`] and [`metrics`]; underneath [`wire`],
//! [`tls`], [`pool`], [`connect`], [`addresses`], [`bodies`], [`buffers`], [`slack`], [`deadline`],
//! [`resolve`], [`rt`].
//!
//! Laws of this floor, checked by `tests/it/tidy.rs`:
//!
//! * Only [`rt`] names the runtime.
//! * No business rule: no model's name, no vendor's quirk, no price, no table of statuses. Those are `kt-core`'s.
//! * Nothing blocks a reactor: names, files and the log have threads of their own.
//! * `unsafe` in [`deadline`] (a borrowed descriptor), [`map`](ledger) (the ledger's shared memory), [`slack`] (a call).
#![deny(unsafe_code)]

pub mod addresses;
pub mod admin;
pub mod bodies;
pub mod buffers;
pub mod client;
pub mod clock;
pub mod connect;
pub mod crowd;
pub mod deadline;
pub mod endpoint;
pub mod exchange;
pub mod greeting;
pub mod ledger;
pub mod listen;
pub mod mail;
pub mod meters;
pub mod metrics;
pub mod minutes;
pub mod moderation;
pub mod outgoing;
pub mod pool;
pub mod relay;
pub mod reload;
pub mod resolve;
pub mod rt;
pub mod server;
pub mod slack;
pub mod state;
pub mod tls;
pub mod upstream;
pub mod wire;
pub mod worker;
