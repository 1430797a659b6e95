//! `pricing`, of a target or an arm: dollars per million tokens.

use super::walk::{At, Shape, Walk};
use crate::config::complaint::Code;
use crate::config::tree::Value;
use crate::cost::{Kind, Prices};
use crate::limits::PRICE_USD_MAX;

const PRICING: Shape<'_> =
    Shape { keys: &["input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "reasoning"], later: &[] };

impl Walk<'_> {
    pub(super) fn pricing(&mut self, at: &At<'_, '_>) -> Option<Prices> {
        if !self.is_map(at, &PRICING) {
            return None;
        }
        let mut prices = Some(Prices::default());
        for kind in Kind::ALL {
            if let Some(at) = at.get(kind.as_str()) {
                let price = self.price(&at);
                prices = prices.zip(price).map(|(prices, price)| prices.with(kind, price));
            }
        }
        prices
    }

    /// Dollars per million tokens, as whole micro-dollars: pico-dollars per token.
    fn price(&mut self, at: &At<'_, '_>) -> Option<u64> {
        let dollars = match at.node.value {
            // Exact up to the bound; beyond it, it is refused.
            Value::Int(dollars) => dollars as f64,
            Value::Float(dollars) => dollars,
            Value::Null | Value::Bool | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(at, "a number").suggestion =
                    Some("write dollars per million tokens, e.g. 2.50".to_owned());
                return None;
            }
        };
        if !(0.0..=PRICE_USD_MAX).contains(&dollars) {
            let written = self.written(at);
            self.say(Code::OutOfRange, at, format!("must be 0 to {PRICE_USD_MAX} dollars, not {written}")).suggestion =
                Some("prices are dollars per million tokens".to_owned());
            return None;
        }
        // Both roundings are to the nearest, so a number of at most six decimals is found again, and no other is.
        let micro = (dollars * 1e6).round();
        if micro / 1e6 != dollars {
            let written = self.written(at);
            let message = format!("{written} is finer than a micro-dollar per million tokens");
            self.say(Code::NotWhole, at, message).suggestion = Some("write at most six decimals".to_owned());
            return None;
        }
        Some(micro as u64)
    }
}
