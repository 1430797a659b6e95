//! Idle connections to one vendor address, of one core. Last in, first out, so that a quiet hour lets the rest go.
//!
//! A read stays pending on each of them: the vendor's close is seen when it comes and costs no call to look for, and the
//! next answer is taken by the same read. What a vendor says unasked ends the connection too.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use crate::deadline::Wait;
use crate::rt;
use crate::wire::Wire;

/// How often idle connections are looked through for dead ones, while there are any.
const REAP_EVERY: Duration = Duration::from_secs(5);

/// The idle connections to one address.
#[derive(Default)]
pub struct Pool {
    idle: RefCell<VecDeque<Wire>>,
    reaping: Cell<bool>,
}

impl Pool {
    /// The connection that idled shortest and is still good; none if there is none.
    pub fn take(&self) -> Option<Wire> {
        loop {
            let mut wire = self.idle.borrow_mut().pop_back()?;
            if is_quiet(&mut wire) {
                wire.deadline().clear();
                return Some(wire);
            }
            give_up(wire);
        }
    }

    /// Keeps a connection whose last answer was read whole, for at most `idle`. Beyond `most` the oldest goes.
    pub fn keep(self: &Rc<Self>, mut wire: Wire, most: usize, idle: Duration) {
        if most == 0 || !wire.inbox().is_empty() || !is_quiet(&mut wire) {
            give_up(wire);
            return;
        }
        wire.deadline().set(Wait::Pooled, Instant::now() + idle);
        self.idle.borrow_mut().push_back(wire);
        if self.len() > most
            && let Some(oldest) = self.idle.borrow_mut().pop_front()
        {
            give_up(oldest);
        }
        if !self.reaping.replace(true) {
            let pool = Rc::clone(self);
            rt::spawn(async move { pool.reap_while_any().await }, |_| {
                unreachable!("reaping takes no foreign code along that could panic")
            });
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    async fn reap_while_any(&self) {
        while !self.is_empty() {
            rt::sleep(REAP_EVERY).await;
            let (quiet, dead): (VecDeque<_>, Vec<_>) = {
                let mut idle = std::mem::take(&mut *self.idle.borrow_mut());
                let mut dead = Vec::new();
                let mut quiet = VecDeque::with_capacity(idle.len());
                for mut wire in idle.drain(..) {
                    if is_quiet(&mut wire) { quiet.push_back(wire) } else { dead.push(wire) }
                }
                (quiet, dead)
            };
            *self.idle.borrow_mut() = quiet;
            dead.into_iter().for_each(give_up);
        }
        self.reaping.set(false);
    }
}

/// Whether nothing has come, not even the end. Starts the pending read if there is none.
fn is_quiet(wire: &mut Wire) -> bool {
    wire.poll_fill(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Closes a connection in a task of its own.
pub fn give_up(wire: Wire) {
    rt::spawn(wire.close(), |_| unreachable!("closing takes no foreign code along that could panic"));
}
