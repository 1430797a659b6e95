//! What does it cost to read a head, and to scan and edit a body?

use kt_benches::{chat_request, time};
use kt_core::ask;
use kt_core::config::plan::StreamUsage;
use kt_core::endpoint::Endpoint;
use kt_core::http1::head::{Fields, RequestHead, Search};
use kt_core::json::Scratch;
use kt_core::limits::Limits;

const HEAD: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:41002\r\nAccept: application/json\r\n\
    Content-Type: application/json\r\nUser-Agent: OpenAI/Python 1.99.0\r\nX-Stainless-Lang: python\r\n\
    X-Stainless-Retry-Count: 0\r\nAuthorization: Bearer sk-0000000000000000\r\nContent-Length: 1024\r\n\r\n";

fn main() {
    let limits = Limits::default();
    let (mut search, mut fields) = (Search::default(), Fields::default());
    time("parse a request head of 9 fields", || {
        RequestHead::parse(HEAD, &mut search, &mut fields, &limits).map(|head| head.map(|head| head.len))
    });
    let mut scratch = Scratch::default();
    for bytes in [1 << 10, 40 << 10, 400 << 10] {
        let body = chat_request(bytes, true);
        time(&format!("scan a body of {} KiB", bytes >> 10), || {
            ask::read(Endpoint::ChatCompletions, &body, &mut scratch).is_ok()
        });
        let ask = ask::read(Endpoint::ChatCompletions, &body, &mut scratch).expect("a valid body");
        time(&format!("find its edits ({} KiB)", bytes >> 10), || {
            ask.edits("gpt-4o", StreamUsage::Ask).pieces(body.len()).count()
        });
    }
}
