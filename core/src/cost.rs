//! What an exchange cost, to the pico-dollar.
//!
//! Vendors price a million tokens in dollars and cents. A price of so many micro-dollars per million tokens is as many
//! pico-dollars per token, so a cost is a sum of products of whole numbers: exact, the same in whatever order it is
//! added up, and rounded nowhere but where it is printed for people.
//!
//! What a vendor bills apart is counted apart ([`Parts`]). Each token is of one kind: what was read from a cache is
//! no part of the input any more, and reasoning none of the output. [`Usage`] is in one form for all vendors (its
//! `prompt_tokens` are the whole input, also Anthropic's, whose own count leaves the cache out), so the subtraction is
//! made once, here.
//!
//! A kind that was used and has no price makes the cost unknown. So do counts that contradict each other. What vendors
//! bill beside tokens (searches, storage, sound by the minute) is not known here and in no cost.

mod table;

use crate::tally::Usage;

pub use table::look_up;

/// The kinds of tokens that vendors bill apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Input that was neither read from a cache nor written to one.
    Input,
    /// Output without reasoning.
    Output,
    /// Input read from a cache.
    CacheRead,
    /// Input written to a cache for five minutes. What is written by a vendor that doesn't say for how long is this.
    CacheWrite5m,
    /// Input written to a cache for an hour.
    CacheWrite1h,
    /// Reasoning. Vendors bill it as output, in the same field or apart; its price stands apart in any case.
    Reasoning,
}

impl Kind {
    /// Every kind, in the order in which prices are written.
    pub const ALL: [Self; 6] =
        [Self::Input, Self::Output, Self::CacheRead, Self::CacheWrite5m, Self::CacheWrite1h, Self::Reasoning];

    /// The key under `pricing`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "cache_read",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Reasoning => "reasoning",
        }
    }
}

/// The prices of one model, each in pico-dollars per token, which is micro-dollars per million tokens. A kind without
/// a price is one of which nobody knows what it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// In the order of [`Kind::ALL`].
    of: [Option<u64>; 6],
    /// The longest prompt that these prices are of, tokens; some vendors bill longer ones otherwise. `None` is any.
    prompt_tokens_max: Option<u64>,
}

impl Prices {
    /// Sets the price of a kind.
    #[must_use]
    pub fn with(mut self, kind: Kind, picousd_per_token: u64) -> Self {
        self.of[kind as usize] = Some(picousd_per_token);
        self
    }

    /// Makes them the prices of prompts of at most so many tokens.
    #[must_use]
    pub const fn up_to(mut self, prompt_tokens: u64) -> Self {
        self.prompt_tokens_max = Some(prompt_tokens);
        self
    }

    /// The price of a kind, pico-dollars per token.
    pub const fn of(&self, kind: Kind) -> Option<u64> {
        self.of[kind as usize]
    }

    /// The longest prompt that they are of.
    pub const fn prompt_tokens_max(&self) -> Option<u64> {
        self.prompt_tokens_max
    }

    /// What this usage costs, pico-dollars. `None` when nobody knows: a kind that was used has no price, the counts
    /// contradict each other, the prompt is longer than what these prices are of, or the sum passes 64 bits, which is
    /// 18 million dollars for one request.
    pub fn cost(&self, usage: &Usage) -> Option<u64> {
        if self.prompt_tokens_max.is_some_and(|most| usage.prompt_tokens > most) {
            return None;
        }
        let parts = Parts::of(usage)?;
        Kind::ALL.into_iter().try_fold(0_u64, |sum, kind| match parts.tokens(kind) {
            0 => Some(sum),
            tokens => sum.checked_add(tokens.checked_mul(self.of(kind)?)?),
        })
    }
}

/// The tokens of one exchange, each counted once, by what it is billed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts([u64; 6]);

impl Parts {
    /// Takes a usage apart; `None` when a part of it is larger than the whole.
    pub fn of(usage: &Usage) -> Option<Self> {
        let Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: _,
            cached_tokens,
            cache_write_tokens,
            cache_write_1h_tokens,
            reasoning_tokens,
        } = *usage;
        let input = prompt_tokens.checked_sub(cached_tokens)?.checked_sub(cache_write_tokens)?;
        let output = completion_tokens.checked_sub(reasoning_tokens)?;
        let cache_write_5m = cache_write_tokens.checked_sub(cache_write_1h_tokens)?;
        Some(Self([input, output, cached_tokens, cache_write_5m, cache_write_1h_tokens, reasoning_tokens]))
    }

    /// How many tokens were of a kind.
    pub const fn tokens(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }
}

/// Prices and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pricing {
    /// The prices.
    pub prices: Prices,
    /// Whose word they are.
    pub source: Source,
    /// Which version of them: the date of the table's row, or a hash of what the config says.
    pub version: Box<str>,
}

/// `cost_source`: where the price of a cost comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `pricing` in the config.
    Config,
    /// The table that comes with the gateway.
    Table,
}

impl Source {
    /// The word in the event. A cost that isn't known is of `unknown` source.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Table => "table",
        }
    }
}

/// Appends pico-dollars as dollars: all digits that count, and none that don't, so nothing is rounded.
pub fn write_usd(picousd: u64, out: &mut Vec<u8>) {
    const PER_USD: u64 = 1_000_000_000_000;
    out.extend_from_slice(itoa::Buffer::new().format(picousd / PER_USD).as_bytes());
    let mut rest = picousd % PER_USD;
    if rest == 0 {
        return;
    }
    let mut digits = [b'0'; 12];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let len = digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
    out.push(b'.');
    out.extend_from_slice(&digits[..len]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// gpt-4o's and Claude Sonnet's shape of prices, in round numbers.
    fn prices() -> Prices {
        Kind::ALL
            .into_iter()
            .zip([2_500_000, 10_000_000, 1_250_000, 3_750_000, 6_000_000, 12_000_000])
            .fold(Prices::default(), |prices, (kind, price)| prices.with(kind, price))
    }

    fn usage(counts: [u64; 6]) -> Usage {
        let [prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning] =
            counts;
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            cached_tokens,
            cache_write_tokens,
            cache_write_1h_tokens,
            reasoning_tokens: reasoning,
        }
    }

    #[test]
    fn each_token_is_billed_once_as_what_it_is() {
        // Prompt, completion, cached, written, of it for an hour, reasoning; and what it costs.
        let cases = [
            ([0, 0, 0, 0, 0, 0], 0),
            ([1_000, 500, 0, 0, 0, 0], 1_000 * 2_500_000 + 500 * 10_000_000),
            ([1_000, 0, 300, 0, 0, 0], 700 * 2_500_000 + 300 * 1_250_000),
            ([1_000, 0, 300, 200, 50, 0], 500 * 2_500_000 + 300 * 1_250_000 + 150 * 3_750_000 + 50 * 6_000_000),
            ([0, 500, 0, 0, 0, 400], 100 * 10_000_000 + 400 * 12_000_000),
            ([300, 0, 300, 0, 0, 0], 300 * 1_250_000),
        ];
        for (counts, picousd) in cases {
            assert_eq!(prices().cost(&usage(counts)), Some(picousd), "{counts:?}");
        }
    }

    #[test]
    fn what_has_no_price_makes_the_cost_unknown_if_it_was_used() {
        let input_and_output = Prices::default().with(Kind::Input, 2).with(Kind::Output, 3);
        assert_eq!(input_and_output.cost(&usage([5, 7, 0, 0, 0, 0])), Some(31));
        for unpriced in [[5, 7, 1, 0, 0, 0], [5, 7, 0, 1, 0, 0], [5, 7, 0, 1, 1, 0], [5, 7, 0, 0, 0, 1]] {
            assert_eq!(input_and_output.cost(&usage(unpriced)), None, "{unpriced:?}");
        }
        assert_eq!(Prices::default().cost(&usage([0; 6])), Some(0));
        assert_eq!(Prices::default().cost(&usage([1, 0, 0, 0, 0, 0])), None);
        assert_eq!(Prices::default().with(Kind::Input, 0).cost(&usage([9, 0, 0, 0, 0, 0])), Some(0), "free is a price");
    }

    #[test]
    fn counts_that_contradict_each_other_have_no_cost() {
        for counts in
            [[5, 0, 6, 0, 0, 0], [5, 0, 3, 3, 0, 0], [5, 0, 0, 2, 3, 0], [0, 5, 0, 0, 0, 6], [u64::MAX, 0, 0, 0, 0, 0]]
        {
            assert_eq!(prices().cost(&usage(counts)), None, "{counts:?}");
        }
    }

    #[test]
    fn a_prompt_beyond_what_the_prices_are_of_has_no_cost() {
        let short = prices().up_to(100);
        assert!(short.cost(&usage([100, 0, 0, 0, 0, 0])).is_some());
        assert_eq!(short.cost(&usage([101, 0, 0, 0, 0, 0])), None);
    }

    #[test]
    fn dollars_are_printed_without_rounding() {
        for (picousd, text) in [
            (0, "0"),
            (1, "0.000000000001"),
            (1_250_000, "0.00000125"),
            (4_750_000_000, "0.00475"),
            (1_000_000_000_000, "1"),
            (2_500_000_000_010, "2.50000000001"),
            (u64::MAX, "18446744.073709551615"),
        ] {
            let mut out = Vec::new();
            write_usd(picousd, &mut out);
            assert_eq!(String::from_utf8(out).expect("digits"), text);
        }
    }

    #[test]
    fn a_cost_is_the_sum_of_its_requests_in_any_order() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut sum = usage([0; 6]);
        let mut cost = 0_u128;
        for _ in 0..10_000 {
            let (cached, written, reasoning) = (rng.u64(..9_000), rng.u64(..900), rng.u64(..5_000));
            let hour = rng.u64(..=written);
            let one = usage([
                cached + written + rng.u64(..50_000),
                reasoning + rng.u64(..8_000),
                cached,
                written,
                hour,
                reasoning,
            ]);
            cost += u128::from(prices().cost(&one).expect("all kinds have a price"));
            sum.prompt_tokens += one.prompt_tokens;
            sum.completion_tokens += one.completion_tokens;
            sum.cached_tokens += one.cached_tokens;
            sum.cache_write_tokens += one.cache_write_tokens;
            sum.cache_write_1h_tokens += one.cache_write_1h_tokens;
            sum.reasoning_tokens += one.reasoning_tokens;
        }
        assert_eq!(prices().cost(&sum).map(u128::from), Some(cost));
    }
}
