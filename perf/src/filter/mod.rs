//! How the content filter's models are learned and measured. Everything is drawn from seeds, so the same files give the
//! same weights.
//!
//! [`sample`] makes and reads the texts, [`documents`] reads whole ones that are harmless, [`learn`] finds the weights,
//! [`measure`] holds them against others'.

pub mod documents;
pub mod learn;
pub mod measure;
pub mod sample;
