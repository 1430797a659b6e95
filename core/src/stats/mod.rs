//! What the numbers mean: which arm is faster, by how much, and whether that can be said yet.
//!
//! People look at a running experiment again and again, and stop when they like what they see. So every bound here holds
//! for all looks at once; [`evidence`] says why. What one arm measured becomes a [`judge::Summary`], two of them a
//! [`judge::Judgement`]; [`experiment`] gathers an experiment from the lines of the log, and [`report`] compares all arms
//! in all measures, with the alarms that forbid it; [`forecast`] says how much more is wanted.
//!
//! In reading order: [`measure`], [`decision`], [`experiment`], [`report`], [`alarm`], [`judge`]; then the methods, [`evidence`],
//! [`quantile`], [`rate`], [`mean`], [`dependence`], [`plan`]; underneath [`interval`] and [`special`].
//!
//! Deliberately absent: priors on what is likely, bandits, anything that decides what to do next.

pub mod alarm;
pub mod decision;
pub mod dependence;
pub mod evidence;
pub mod experiment;
pub mod forecast;
pub mod interval;
pub mod judge;
pub mod mean;
pub mod measure;
pub mod plan;
pub mod quantile;
pub mod rate;
pub mod report;
pub mod special;
