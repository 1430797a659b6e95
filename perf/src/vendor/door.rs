//! A vendor's door: takes in connections on one thread, and sees them out when the vendor stops.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kt_proxy::deadline::Watch;
use kt_proxy::rt::{self, Bell, Listener, Socket};
use kt_proxy::worker::Held;

/// How long a vendor that is stopped waits for its connections to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// How often it looks whether they have.
const STOP_LOOK: Duration = Duration::from_millis(5);
/// Pause after an accept that failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a vendor's connections share, whatever they are answered.
#[derive(Default)]
pub(super) struct Door {
    /// Their deadlines.
    pub(super) watch: Rc<Watch>,
    /// Sockets that are open now: the listener and its connections.
    open: Cell<u64>,
    is_closing: Cell<bool>,
}

impl Door {
    /// Whether the vendor stops: a connection is not to be kept for another request.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    /// Serves each connection that comes in, until the bell rings; then waits for those under way, within bounds.
    pub(super) async fn keep<Served: Future<Output = ()> + 'static>(
        self: Rc<Self>,
        listener: Rc<Listener>,
        mut bell: Bell,
        serve: impl Fn(Socket) -> Served + 'static,
    ) {
        rt::spawn(Rc::clone(&self).accept(Rc::clone(&listener), serve), |_| {
            unreachable!("accepting takes no foreign code along that could panic")
        });
        // The bell is rung to stop; that it is gone means the same.
        let _ = bell.rung().await;
        self.is_closing.set(true);
        listener.stop();
        drop(listener);
        self.watch.hurry(Instant::now());
        let give_up = Instant::now() + STOP_WITHIN;
        while self.open.get() > 0 && Instant::now() < give_up {
            rt::sleep(STOP_LOOK).await;
        }
    }

    /// Serves each connection that comes in, until the listener is stopped.
    pub(super) async fn accept<Served: Future<Output = ()> + 'static>(
        self: Rc<Self>,
        listener: Rc<Listener>,
        serve: impl Fn(Socket) -> Served + 'static,
    ) {
        let _held = Held::new(&self.open);
        loop {
            let socket = match listener.accept().await {
                Ok(Some(arrival)) => arrival.open(),
                Ok(None) => break,
                Err(error) => Err(error),
            };
            let socket = match socket {
                Ok(socket) => socket,
                Err(_no_descriptors) => {
                    rt::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (door, served) = (Rc::clone(&self), serve(socket));
            let connection = async move {
                let _held = Held::new(&door.open);
                served.await;
            };
            // The panic hook has said where; the client sees its connection end.
            rt::spawn(connection, |_| {});
        }
    }
}
