//! The first bytes of a client's connection: TLS where the listener has it, and a word that each side understands for
//! whoever speaks the other language.
//!
//! A handshake that fails is counted, and is nobody's request: there is no event for it.

use std::time::{Duration, Instant};

use kt_core::http1::write;
use kt_core::limits::Limits;
use tracing::debug;

use crate::client::Client;
use crate::deadline::Wait;
use crate::reload::LOG;
use crate::tls::Session;
use crate::wire::Wire;
use crate::worker::{Worker, count};

/// How a TLS handshake begins: the type of its first record (RFC 8446 section 5.1). No HTTP message begins with it.
const HANDSHAKE: u8 = 22;
/// A record with the fatal alert handshake_failure (RFC 8446 section 6.2): what ends a TLS client's wait at once, where
/// words in HTTP would only puzzle it.
const NO_TLS_HERE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];
/// What whoever asks in plain HTTP is told on a port with TLS.
const TLS_HERE: &str = "This port speaks HTTPS. Ask for https:// instead of http://.\n";

/// Whether a connection that begins with these bytes wants TLS.
pub fn wants_tls(bytes: &[u8]) -> bool {
    bytes.first() == Some(&HANDSHAKE)
}

/// Makes a fresh connection ready for requests: shakes hands if the listener has TLS. `None` when there is nobody to
/// serve; the connection has been closed.
pub async fn greet(worker: &Worker, mut wire: Wire) -> Option<Wire> {
    let serving = worker.serving();
    let Some(config) = serving.listener_tls() else { return Some(wire) };
    let limits = &serving.plan().limits;
    wire.deadline().set(Wait::Handshake, Instant::now() + Duration::from_millis(limits.head_ms));
    if !matches!(wire.fill().await, Ok(1..)) {
        // It never said anything, as who only looks whether the port is open.
        wire.close().await;
        return None;
    }
    if !wants_tls(wire.inbox()) {
        count(&worker.counters.failed_handshakes);
        debug!(target: LOG, "a client spoke no TLS on a port with TLS");
        refuse(wire, plain_refusal(), limits).await;
        return None;
    }
    let shaken = match Session::of_client(config) {
        Ok(session) => {
            // Awaited to its end, for its writes own their buffers; the deadline bounds it.
            let shaken;
            (shaken, wire) = wire.handshake(session).await;
            shaken
        }
        Err(error) => Err(error),
    };
    match (shaken, wire.deadline().fired()) {
        (Ok(()), None) => {
            wire.deadline().clear();
            return Some(wire);
        }
        (Ok(()), Some(_)) => debug!(target: LOG, "a client's TLS handshake took too long"),
        (Err(error), _) => debug!(target: LOG, "a client's TLS handshake failed: {error}"),
    }
    count(&worker.counters.failed_handshakes);
    wire.close().await;
    None
}

/// Refuses a client that wants TLS where there is none, in words of its own.
pub async fn refuse_tls(worker: &Worker, client: &mut Client, limits: &Limits) {
    count(&worker.counters.failed_handshakes);
    debug!(target: LOG, "a client wants TLS on a port without TLS");
    // Who doesn't take the alert has gone.
    let _ = client.send(NO_TLS_HERE.to_vec(), limits).await;
}

async fn refuse(wire: Wire, words: Vec<u8>, limits: &Limits) {
    let mut client = Client::new(wire);
    // Who doesn't take its refusal has gone.
    let _ = client.send(words, limits).await;
    client.linger().await;
}

fn plain_refusal() -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write::status_line(&mut out, 400);
    write::field(&mut out, "content-type", "text/plain; charset=utf-8");
    write::number_field(&mut out, "content-length", TLS_HERE.len() as u64);
    write::field(&mut out, "connection", "close");
    write::end(&mut out);
    out.extend_from_slice(TLS_HERE.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use kt_core::fault::Kind;
    use kt_core::http1::head::{Fields, RequestHead, Search};

    use super::*;

    #[test]
    fn no_request_begins_like_tls() {
        for bytes in [&[HANDSHAKE][..], &[HANDSHAKE, 3, 1, 2, 0, 1], b"\x16GET / HTTP/1.1\r\n\r\n"] {
            let (mut search, mut fields) = (Search::default(), Fields::default());
            let parsed = RequestHead::parse(bytes, &mut search, &mut fields, &Limits::default());
            assert_eq!(parsed.err(), Some(Kind::MalformedHead));
            assert!(wants_tls(bytes));
        }
        assert!(!wants_tls(b"GET / HTTP/1.1\r\n\r\n") && !wants_tls(b"\r\n") && !wants_tls(b""));
    }
}
