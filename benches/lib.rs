//! How the questions of this folder are put: one operation, timed in rounds, the quickest and the median round printed.
//!
//! The quickest round is what the code costs when nothing disturbs it; the distance to the median says how noisy the
//! machine was. Run one with `cargo bench -p kt-benches --bench head`.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rounds that are timed.
const ROUNDS: usize = 31;
/// How long a round should take: far above the clock's own cost, far below a scheduler's patience.
const ROUND: Duration = Duration::from_millis(10);

/// Times `operation` and prints a line.
pub fn time<T>(name: &str, mut operation: impl FnMut() -> T) {
    let once = {
        let began = Instant::now();
        black_box(operation());
        began.elapsed().max(Duration::from_nanos(1))
    };
    let times = (ROUND.as_nanos() / once.as_nanos()).clamp(1, 10_000_000) as u32;
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..times {
                black_box(operation());
            }
            began.elapsed() / times
        })
        .collect();
    rounds.sort();
    println!("{name:<44} quickest {:>10.1?}   median {:>10.1?}", rounds[0], rounds[ROUNDS / 2]);
}

/// A chat completion request of about `bytes` bytes.
pub fn chat_request(bytes: usize, stream: bool) -> Vec<u8> {
    let mut text = String::from(r#"{"model":"quality-ab-test","messages":[{"role":"system","content":"Be brief."},"#);
    text.push_str(r#"{"role":"user","content":""#);
    while text.len() + 60 < bytes {
        text.push_str("The quick brown fox jumps over the lazy dog.\\n");
    }
    text.push_str(r#""}],"temperature":0.2,"stream":"#);
    text.push_str(if stream { "true}" } else { "false}" });
    text.into_bytes()
}
