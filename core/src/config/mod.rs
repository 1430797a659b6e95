//! From the operator's text to what a worker uses, in two steps.
//!
//! [`file`](self) reads what was written: YAML into a tree in which every value knows its place, walked by hand so that
//! every complaint is collected before any is printed. [`plan`] is what comes out: resolved, checked, cheap to read on
//! the hot path. [`Plan`](plan::Plan)'s only way in is [`check`].

pub mod plan;
