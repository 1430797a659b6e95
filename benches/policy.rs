//! What does it cost to judge a request? An 8 KiB prompt is to take under 100 µs, and 400 KiB under 5 ms, in slices between
//! which others get their turn.

use kt_benches::{chat_request, time};
use kt_core::ask;
use kt_core::endpoint::Endpoint;
use kt_core::json::{Scratch, Value};
use kt_core::policy::{Action, Category, Judging, Knowledge, Policy, Scan, Threshold};

/// Prose with a name, numbers and marks in it, as prompts have.
const PROSE: &str = "Please summarise the attached report for our meeting on Tuesday, and don't forget the figures of the \
    third quarter (they are in section 4.2). The customers in the north were happier than last year; those in the south \
    complained about late deliveries, a broken lift, and the price of spare parts. Could you also draft an answer to \
    Ms. Jensen's e-mail? She asked why the process was killed twice, and whether the women's team will play in May. ";

fn main() {
    let known = Knowledge::new();
    let policies =
        [Policy::content_filter("all".into(), Action::Block, Box::default(), Category::ALL.into(), Threshold::Medium)];
    let mut scratch = Scratch::default();
    let mut scan = Scan::default();
    for kib in [1, 8, 100, 400] {
        for (what, body) in [("prose", prose(kib << 10)), ("one word repeated", chat_request(kib << 10, false))] {
            let ask = ask::read(Endpoint::ChatCompletions, &body, &mut scratch).expect("a valid body");
            let mut slices = 0;
            time(&format!("judge {kib} KiB of {what}"), || {
                slices = 1;
                let value = Value::at(&body, ask.body);
                let mut judging = Judging::begin(&policies, Some(&known), "g", &body, value, std::mem::take(&mut scan));
                while !judging.advance() {
                    slices += 1;
                }
                let (judgement, used) = judging.conclude();
                scan = used;
                judgement.verdict
            });
            println!("    in {slices} slice(s)");
        }
    }
    let body = prose(8 << 10);
    let ask = ask::read(Endpoint::ChatCompletions, &body, &mut scratch).expect("a valid body");
    time("judge 8 KiB without policies", || {
        Judging::begin(&[], None, "g", &body, Value::at(&body, ask.body), Scan::default()).conclude().0.verdict
    });
}

/// A chat request with so much prose.
fn prose(bytes: usize) -> Vec<u8> {
    let text: String = PROSE.chars().cycle().take(bytes).collect();
    let text = text.replace('"', "\\\"");
    format!(r#"{{"model":"g","messages":[{{"role":"user","content":"{text}"}}]}}"#).into_bytes()
}
