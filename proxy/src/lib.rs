//! x

pub mod ledger;
pub mod state;
