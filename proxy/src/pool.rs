//! Idle connections to one vendor address, of one core. Last in, first out, so that a quiet hour lets the rest go.
//!
//! A read stays pending on each of them: the vendor's close is seen when it comes and costs no call to look for, and the
//! next answer is taken by the same read. What a vendor says unasked ends the connection too.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use kt_core::limits::Limits;

use crate::clock;
use crate::deadline::Wait;
use crate::rt;
use crate::wire::Wire;

/// How often idle connections are looked through for dead ones, while there are any.
const REAP_EVERY: Duration = Duration::from_secs(5);

/// A connection that nobody uses.
pub struct Idle {
    /// The connection.
    pub wire: Wire,
    /// When it was made.
    pub born: Instant,
}

/// The idle connections to one address.
#[derive(Default)]
pub struct Pool {
    /// The one that idles longest is first.
    idle: RefCell<VecDeque<Idle>>,
    reaping: Cell<bool>,
}

impl Pool {
    /// The connection that idled shortest and is still good; none if there is none.
    pub fn take(&self) -> Option<Idle> {
        loop {
            let mut idle = self.idle.borrow_mut().pop_back()?;
            if is_quiet(&mut idle.wire) {
                idle.wire.deadline().clear();
                return Some(idle);
            }
            give_up(idle.wire);
        }
    }

    /// Keeps a connection whose last answer was read whole, as long and among as many as `limits` say; beyond, the one
    /// that idles longest goes.
    pub fn keep(self: &Rc<Self>, mut idle: Idle, limits: &Limits) {
        // A deadline may have fired in the very moment in which the answer ended.
        let ended = idle.wire.deadline().fired().is_some();
        let now = clock::lately();
        let too_old = now.saturating_duration_since(idle.born) > Duration::from_millis(limits.pool_life_ms);
        if ended || too_old || !idle.wire.inbox().is_empty() || !is_quiet(&mut idle.wire) {
            give_up(idle.wire);
            return;
        }
        let end_of_idling = now + Duration::from_millis(limits.pool_idle_ms);
        let end_of_life = idle.born + Duration::from_millis(limits.pool_life_ms);
        idle.wire.deadline().set(Wait::Pooled, end_of_idling.min(end_of_life));
        self.idle.borrow_mut().push_back(idle);
        if self.len() > limits.pool_idle_max {
            self.give_up_oldest();
        }
        if !self.reaping.replace(true) {
            let pool = Rc::clone(self);
            rt::spawn(async move { pool.reap_while_any().await }, |_| {
                unreachable!("reaping takes no foreign code along that could panic")
            });
        }
    }

    /// Gives up the one that idles longest; false if there is none.
    pub fn give_up_oldest(&self) -> bool {
        let oldest = self.idle.borrow_mut().pop_front();
        oldest.map(|idle| give_up(idle.wire)).is_some()
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
            let all = std::mem::take(&mut *self.idle.borrow_mut());
            for mut idle in all {
                if is_quiet(&mut idle.wire) {
                    self.idle.borrow_mut().push_back(idle);
                } else {
                    give_up(idle.wire);
                }
            }
        }
        self.reaping.set(false);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A reload has left this address behind; each connection still has a read under way.
        self.idle.get_mut().drain(..).for_each(|idle| give_up(idle.wire));
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
