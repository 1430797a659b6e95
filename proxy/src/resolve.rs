//! Names to addresses, off the reactor, and remembered.
//!
//! The system's resolver blocks, so a few threads of their own ask it, for all cores. Each core remembers the answers
//! for a while; while one question is under way, whoever else asks the same waits with it. It does not read DNS itself:
//! `/etc/hosts`, search domains and the rest are the system's, as for every other program on the machine.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::mail::{Letter, Mailbox};

/// How long an answer holds. The system doesn't say how long it may; a vendor that moves is found again within this.
const ANSWER_HOLDS: Duration = Duration::from_secs(30);
/// How long a failure holds, so that a broken resolver isn't asked by every request.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);
/// Threads that ask. One slow name must not hold up the others.
const THREADS: usize = 4;
/// Questions that may wait; each core asks a name once at a time.
const QUESTIONS_MAX: usize = 4_096;

/// What the system said of a name. Shared by all cores that asked.
pub type Answer = Result<Arc<[IpAddr]>, Arc<str>>;

struct Question {
    host: Box<str>,
    answer_to: Mailbox,
}

/// The threads that ask, as a core sees them.
#[derive(Clone)]
pub struct Asker {
    questions: Sender<Question>,
}

impl Asker {
    /// Starts the threads. They end when every asker is gone.
    ///
    /// # Errors
    ///
    /// The kernel's, when a thread can't be started.
    pub fn start() -> std::io::Result<Self> {
        let (questions, asked) = bounded::<Question>(QUESTIONS_MAX);
        for n in 0..THREADS {
            let asked = asked.clone();
            thread::Builder::new().name(format!("kt-resolve-{n}")).spawn(move || answer_all(&asked))?;
        }
        Ok(Self { questions })
    }
}

fn answer_all(asked: &Receiver<Question>) {
    for Question { host, answer_to } in asked {
        let answer: Answer = match (&*host, 0).to_socket_addrs() {
            Ok(addresses) => Ok(alternate(addresses.map(|address| address.ip()).collect())),
            Err(error) => Err(error.to_string().into()),
        };
        answer_to.post(Letter::Resolved { host, answer });
    }
}

/// Orders addresses so that both families are tried early, the system's first choice first (RFC 8305 section 4), each
/// once.
fn alternate(addresses: Vec<IpAddr>) -> Arc<[IpAddr]> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (mut these, mut those): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    these.dedup();
    those.dedup();
    let longest = these.len().max(those.len());
    let pairs = (0..longest).flat_map(|i| [these.get(i), those.get(i)]);
    pairs.flatten().copied().collect()
}

/// What one core knows of names.
pub struct Names {
    asker: Asker,
    mailbox: Mailbox,
    known: RefCell<HashMap<Box<str>, Known>>,
}

enum Known {
    Asking(Vec<Waker>),
    Answered { answer: Answer, until: Instant },
}

impl Names {
    /// Knows nothing yet; answers come to `mailbox`.
    pub fn new(asker: Asker, mailbox: Mailbox) -> Rc<Self> {
        Rc::new(Self { asker, mailbox, known: RefCell::default() })
    }

    /// The addresses of `host`, in the order to try them, never empty. The wait may be given up.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Arc<str>> {
        if let Ok(literal) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(literal, port)]);
        }
        let answer = poll_fn(|cx| self.poll(host, cx.waker())).await?;
        match answer.is_empty() {
            true => Err("the name has no address".into()),
            false => Ok(answer.iter().map(|&ip| SocketAddr::new(ip, port)).collect()),
        }
    }

    fn poll(&self, host: &str, waker: &Waker) -> Poll<Answer> {
        let mut known = self.known.borrow_mut();
        match known.get_mut(host) {
            Some(Known::Answered { answer, until }) if *until > Instant::now() => return Poll::Ready(answer.clone()),
            Some(Known::Asking(waiting)) => {
                if !waiting.iter().any(|other| other.will_wake(waker)) {
                    waiting.push(waker.clone());
                }
                return Poll::Pending;
            }
            Some(Known::Answered { .. }) | None => {}
        }
        let question = Question { host: host.into(), answer_to: self.mailbox.clone() };
        if self.asker.questions.try_send(question).is_err() {
            return Poll::Ready(Err("too many names are being resolved".into()));
        }
        known.insert(host.into(), Known::Asking(vec![waker.clone()]));
        Poll::Pending
    }

    /// Forgets all answers: another plan may know other names, and what is remembered must not grow with each reload.
    pub fn forget_answers(&self) {
        self.known.borrow_mut().retain(|_, known| matches!(known, Known::Asking(_)));
    }

    /// Takes an answer in and wakes whoever waits for it.
    pub fn answered(&self, host: Box<str>, answer: Answer) {
        let holds = if answer.is_ok() { ANSWER_HOLDS } else { FAILURE_HOLDS };
        let answered = Known::Answered { answer, until: Instant::now() + holds };
        if let Some(Known::Asking(waiting)) = self.known.borrow_mut().insert(host, answered) {
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_alternate_between_the_families_from_the_systems_first_choice() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let given = vec![ip("::1"), ip("::2"), ip("::3"), ip("10.0.0.1")];
        assert_eq!(*alternate(given), [ip("::1"), ip("10.0.0.1"), ip("::2"), ip("::3")]);
        let given = vec![ip("10.0.0.1"), ip("10.0.0.1"), ip("::1")];
        assert_eq!(*alternate(given), [ip("10.0.0.1"), ip("::1")]);
        assert!(alternate(Vec::new()).is_empty());
    }
}
