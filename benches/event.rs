//! What does it cost to close a record?

use kt_benches::time;
use kt_core::cost::{Kind, Prices};
use kt_core::event::Method;
use kt_core::record::Record;
use kt_core::route::Selection;
use kt_core::tally::Usage;

fn main() {
    let selection = Selection { group: 0, arm: 1, method: Method::Block, slot: Some(7), unit_hash: None };
    let prices = Prices::default().with(Kind::Input, 2_500_000).with(Kind::Output, 10_000_000);
    time("open, fill and close a record", || {
        let mut record = Record::begin("/v1/chat/completions", "req_0123456789abcdefghijklmnop".into(), 0);
        record.read_whole(1_000);
        record.assigned(&selection, Some(prices));
        record.asking();
        record.handed_over(20_000);
        record.vendor_read(900_000);
        record.vendor_says_model("gpt-4o-2024-08-06");
        record.vendor_says_usage(Usage {
            prompt_tokens: 10,
            completion_tokens: 4,
            total_tokens: 14,
            ..Usage::default()
        });
        record.vendor_finished();
        record.passed_on(900_000, 910_000, 925_000);
        record.close(200, None, 925_000)
    });
}
