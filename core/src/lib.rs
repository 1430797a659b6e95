//! What is right: bytes in, bytes and decisions out.
//!
//! This floor holds everything about the gateway that can be said without a socket: how a config file becomes a
//! [`config::plan::Plan`], how HTTP/1.1 is read and written, what a client asks for, which arm a request gets, how one
//! vendor's language becomes another's, and what one line of the decision log says.
//!
//! Laws of this floor, checked by `tests/it/tidy.rs`:
//!
//! * It names no runtime and opens nothing: no file, no socket, no thread, no environment.
//! * It never asks for the time or for chance. `now` and `dice` are arguments, so everything here can be fuzzed,
//!   counted in instructions and tested without sleeping.
//! * It logs nothing. What goes wrong is returned.
//! * `unsafe` is forbidden.
//!
//! In reading order: [`limits`], [`fault`], [`config`], [`http1`], [`clients`], [`json`], [`sse`], [`endpoint`], [`ask`],
//! [`policy`], [`route`], [`dialect`], [`witness`], [`tally`], [`cost`], [`record`], [`timing`],
//! [`transcript`], [`event`], [`stats`].
#![forbid(unsafe_code)]

pub mod ask;
mod block;
pub mod clients;
pub mod config;
pub mod cost;
pub mod dialect;
pub mod endpoint;
pub mod event;
pub mod fault;
pub mod http1;
pub mod json;
pub mod limits;
pub mod policy;
pub mod record;
pub mod route;
pub mod sse;
pub mod stats;
pub mod tally;
pub mod timing;
pub mod transcript;
pub mod witness;
