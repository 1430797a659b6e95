//! Which prices an arm has: its own, else its target's, else the table's.

use sha2::{Digest, Sha256};

use super::hex;
use crate::config::file::{ArmSettings, GroupSettings, TargetSettings};
use crate::cost::{self, Kind, Prices, Pricing, Source};

/// The prices of every arm of every group, in order. The table is opened only if somebody needs it.
pub(super) fn price(groups: &[GroupSettings], targets: &[TargetSettings]) -> Vec<Option<Pricing>> {
    let arms: Vec<&ArmSettings> = groups.iter().flat_map(|group| &group.arms).collect();
    let own = |arm: &ArmSettings| arm.pricing.or(targets[arm.target].pricing).map(as_configured);
    let mut pricing: Vec<Option<Pricing>> = arms.iter().map(|arm| own(arm)).collect();
    let open: Vec<usize> = (0..arms.len()).filter(|&at| pricing[at].is_none()).collect();
    if !open.is_empty() {
        let models = open.iter().map(|&at| (targets[arms[at].target].provider, &*arms[at].model));
        for (&at, found) in open.iter().zip(cost::look_up(models)) {
            pricing[at] = found;
        }
    }
    pricing
}

/// Its version is 12 hex digits of a SHA-256 over the prices, so that the same prices are the same version.
fn as_configured(prices: Prices) -> Pricing {
    let mut hash = Sha256::new();
    for kind in Kind::ALL {
        if let Some(price) = prices.of(kind) {
            hash.update([kind as u8]);
            hash.update(price.to_le_bytes());
        }
    }
    Pricing { prices, source: Source::Config, version: hex(&hash.finalize(), 12) }
}
