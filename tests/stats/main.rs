//! Whether the verdicts of `kt events compare` keep what they promise, over thousands of simulated experiments.
//!
//! Every chance comes from a seed. By itself this runs a small part, enough to tell a build that keeps its promises from
//! one that doesn't; `KT_STATS=full cargo test --release -p kt-core --test stats` runs all of it, and prints the numbers
//! that docs/statistics.md states. Each promise has a broken build beside it, which must fail the same check.

mod coverage;
mod draw;
mod known;
mod peek;
mod plan;
mod play;
mod split;
