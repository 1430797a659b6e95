//! The product from outside: the real binary, real sockets, real files. Only the vendors are simulated.
//!
//! Each module holds one side of what README promises; `harness` holds the three parties of every scenario, a
//! gateway, its vendors and its clients. Nothing of the product's own code is linked in, so that nothing here stands in
//! the way of a rewrite, and a mistake in its parser can't hide itself from a test.

mod abuse;
mod assign;
mod bench;
mod chaos;
mod clients;
mod compare;
mod connections;
mod crash;
mod crossings;
mod disk;
mod drain;
mod early;
mod endpoints;
mod faults;
mod harness;
mod lint;
mod log;
mod malformed;
mod measure;
mod memory;
mod moderation;
mod policies;
mod pool;
mod power;
mod refusals;
mod reload;
mod replay;
mod replies;
mod requests;
mod secrets;
mod start;
mod tail;
mod tidy;
mod tls;
mod tutorial;
mod unix;
mod vendors;
mod ways;
