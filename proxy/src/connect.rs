//! Connecting to a name with several addresses: in spirit RFC 8305 ("happy eyeballs").
//!
//! Addresses are tried in order, the next one as soon as one fails, or when the last has been silent for a moment; the
//! first to answer wins. An address that swallows everything so costs a moment and not the whole time there is.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::rt::{self, Socket};

/// How long an address may be silent before the next one is tried beside it (RFC 8305 section 8).
const NEXT_AFTER: Duration = Duration::from_millis(250);

type Attempt = Pin<Box<dyn Future<Output = io::Result<Socket>>>>;

/// Connects to the first of `addresses` that answers by `due`. May be given up: attempts own no buffers.
///
/// # Errors
///
/// What the last address said; `TimedOut` when none had answered.
pub async fn first(addresses: &[SocketAddr], due: Instant) -> io::Result<Socket> {
    let mut waiting = addresses.iter();
    let mut attempts: Vec<Attempt> = Vec::with_capacity(addresses.len());
    let mut refusal = io::Error::from(io::ErrorKind::TimedOut);
    loop {
        if let Some(&address) = waiting.next() {
            let left = due.saturating_duration_since(Instant::now());
            attempts.push(Box::pin(rt::connect(address, left)));
        }
        if attempts.is_empty() {
            return Err(refusal);
        }
        // With nobody left to try, an attempt has the time that it was given.
        let patience = if waiting.len() > 0 { NEXT_AFTER } else { due.saturating_duration_since(Instant::now()) };
        match next_to_end(&mut attempts, patience).await {
            Some(Ok(socket)) => return Ok(socket),
            Some(Err(error)) => refusal = error,
            None if waiting.len() > 0 => {}
            None => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Waits for one of the attempts to end, and takes it out; `None` when none has within `patience`.
async fn next_to_end(attempts: &mut Vec<Attempt>, patience: Duration) -> Option<io::Result<Socket>> {
    let mut timer = pin!(rt::sleep(patience));
    poll_fn(|cx| {
        for at in 0..attempts.len() {
            if let Poll::Ready(ended) = attempts[at].as_mut().poll(cx) {
                drop(attempts.swap_remove(at));
                return Poll::Ready(Some(ended));
            }
        }
        timer.as_mut().poll(cx).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use kt_core::config::plan::Driver;

    use super::*;
    use crate::rt::Engine;

    /// An address of loopback that refuses.
    fn refusing() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap()
    }

    /// Runs on a thread of its own, since the runtime stays with its thread, and says who answered.
    fn connect(addresses: Vec<SocketAddr>) -> io::Result<()> {
        let run = move || {
            let due = Instant::now() + Duration::from_secs(5);
            rt::run(Engine::choose(Driver::Epoll).unwrap().0, || async move { first(&addresses, due).await.map(drop) })
        };
        std::thread::spawn(run).join().unwrap().unwrap()
    }

    #[test]
    fn the_first_address_that_answers_wins_whatever_the_others_say() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        for addresses in
            [vec![good], vec![refusing(), good], vec![refusing(), refusing(), good], vec![good, refusing()]]
        {
            connect(addresses).unwrap();
        }
    }

    #[test]
    fn when_none_answers_the_last_refusal_is_told() {
        assert_eq!(connect(vec![refusing(), refusing()]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect(Vec::new()).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
