//! Waiting until a point in time, to within some microseconds: what paces vendors and load.
//!
//! Times are absolute. Whoever is late is late once: the next wait is not counted from it.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use kt_proxy::rt::{self, Alarm};

use crate::clock::now_ns;

/// All waits of a thread, kept by one alarm.
pub struct Pacer {
    alarm: Alarm,
    waits: RefCell<BinaryHeap<Reverse<Wait>>>,
    /// Until when the alarm is set; `u64::MAX` when it isn't.
    set_to: Cell<u64>,
}

/// Ordered by time alone.
struct Wait {
    due_ns: u64,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    is_over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Pacer {
    /// Starts to keep time on this thread's runtime, for as long as that runs.
    ///
    /// # Errors
    ///
    /// The kernel's, when there can be no timer.
    pub fn start() -> io::Result<Rc<Self>> {
        let pacer = Rc::new(Self { alarm: Alarm::new()?, waits: RefCell::default(), set_to: Cell::new(u64::MAX) });
        let keeper = Rc::clone(&pacer);
        rt::spawn(async move { keeper.keep().await }, |_| unreachable!("keeping time takes no foreign code along"));
        Ok(pacer)
    }

    async fn keep(&self) {
        while self.alarm.rung().await.is_ok() {
            self.set_to.set(u64::MAX);
            let now = now_ns();
            while let Some(state) = self.next_due(now) {
                state.is_over.set(true);
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
            }
            let next = self.waits.borrow().peek().map(|Reverse(wait)| wait.due_ns);
            if let Some(due_ns) = next {
                self.set(due_ns);
            }
        }
    }

    fn next_due(&self, now: u64) -> Option<Rc<State>> {
        let mut waits = self.waits.borrow_mut();
        let is_due = waits.peek().is_some_and(|Reverse(wait)| wait.due_ns <= now);
        if is_due { waits.pop().map(|Reverse(wait)| wait.state) } else { None }
    }

    fn set(&self, due_ns: u64) {
        if due_ns < self.set_to.get() {
            self.set_to.set(due_ns);
            self.alarm.set(due_ns).expect("an absolute time is a valid setting of a timer that is open");
        }
    }

    /// Waits until `due_ns`; not at all if that is past. May be given up.
    pub async fn until(&self, due_ns: u64) {
        if now_ns() >= due_ns {
            return;
        }
        let state = Rc::<State>::default();
        self.waits.borrow_mut().push(Reverse(Wait { due_ns, state: Rc::clone(&state) }));
        self.set(due_ns);
        poll_fn(|cx| {
            if state.is_over.get() {
                return Poll::Ready(());
            }
            *state.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl PartialEq for Wait {
    fn eq(&self, other: &Self) -> bool {
        self.due_ns == other.due_ns
    }
}

impl Eq for Wait {}

impl PartialOrd for Wait {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Wait {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due_ns.cmp(&other.due_ns)
    }
}

#[cfg(test)]
mod tests {
    use kt_core::config::plan::Driver;
    use kt_proxy::rt::Engine;

    use super::*;

    const MS: u64 = 1_000_000;

    /// Runs on a thread of its own, since the runtime stays with its thread.
    fn wait_for(driver: Driver, delays_ns: Vec<u64>) -> Vec<(u64, u64)> {
        let run = move || {
            rt::run(Engine::choose(driver).unwrap().0, || async move {
                let pacer = Pacer::start().unwrap();
                let began = now_ns();
                let ends = Rc::new(RefCell::new(Vec::new()));
                for delay in delays_ns.clone() {
                    let (pacer, ends) = (Rc::clone(&pacer), Rc::clone(&ends));
                    let wait = async move {
                        pacer.until(began + delay).await;
                        ends.borrow_mut().push((delay, now_ns() - began));
                    };
                    rt::spawn(wait, |_| {});
                }
                while ends.borrow().len() < delays_ns.len() {
                    rt::sleep(std::time::Duration::from_millis(1)).await;
                }
                ends.take()
            })
        };
        std::thread::spawn(run).join().unwrap().unwrap()
    }

    #[test]
    fn nobody_wakes_early_and_all_in_order() {
        for driver in [Driver::Auto, Driver::Epoll] {
            let ends = wait_for(driver, vec![9 * MS, 3 * MS, 0, 3 * MS + 100_000, 20 * MS]);
            let order: Vec<u64> = ends.iter().map(|&(delay, _)| delay).collect();
            assert_eq!(order, [0, 3 * MS, 3 * MS + 100_000, 9 * MS, 20 * MS]);
            assert!(ends.iter().all(|(delay, took)| took >= delay), "{ends:?}");
        }
    }
}
