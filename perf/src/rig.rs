//! Vendors and load on one thread that stays: the two ends of a measurement, for as many loads as there are to be.
//!
//! Gateways between them keep their connections to the vendors from one load to the next, as they would in real life.
//! Both ends share a thread, so that on a machine with few cores no time goes into switching between them; what they used
//! together is in each outcome.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use kt_proxy::rt::{self, Bell, BellPull};

use crate::cores;
use crate::load::{self, Load, Loading, Outcome, Progress};
use crate::pace::Pacer;
use crate::stage;
use crate::vendor::quick::{self, Opened, Settings};

/// The two ends. They stay until the process ends.
#[derive(Debug)]
pub struct Rig {
    orders: Sender<Order>,
    bell: BellPull,
    vendors: Vec<SocketAddr>,
}

#[derive(Debug)]
enum Order {
    Load { load: Box<Load>, progress: Arc<Progress>, tell: Sender<Vec<Outcome>> },
    CloseIdle,
}

impl Rig {
    /// Sets it up on `cores`, with a quick vendor for each of `vendors`, where it is to listen; port 0 is a free one.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn start(vendors: Vec<(SocketAddr, Settings)>, cores: Vec<usize>) -> io::Result<Self> {
        let listen = |(address, _): &(SocketAddr, Settings)| crate::listen(*address);
        let listeners = vendors.iter().map(listen).collect::<io::Result<Vec<TcpListener>>>()?;
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        let (orders, inbox) = unbounded();
        let (bell, inner) = rt::bell()?;
        stage::start("kt-rig", move |engine| {
            cores::keep_to(&cores)?;
            let pacer = Pacer::start()?;
            let open = |(listener, (_, settings)): (TcpListener, &(SocketAddr, Settings))| {
                quick::open(listener, settings, engine, Rc::clone(&pacer))
            };
            let opened = listeners.into_iter().zip(&vendors).map(open).collect::<io::Result<Vec<Opened>>>()?;
            Ok(take_orders(inbox, Bell::hang(inner, engine)?, pacer, opened))
        })?;
        Ok(Self { orders, bell, vendors: addresses })
    }

    /// Where its vendors listen, in the order of their settings.
    pub fn vendors(&self) -> &[SocketAddr] {
        &self.vendors
    }

    /// Starts a load; it waits until the one before has ended.
    pub fn load(&self, load: Load) -> Loading {
        let progress = Arc::<Progress>::default();
        let (tell, outcome) = bounded(1);
        self.order(Order::Load { load: Box::new(load), progress: Arc::clone(&progress), tell });
        Loading::new(progress, outcome)
    }

    /// Has the vendors close the connections on which nothing is asked, as gateways keep many: each is a descriptor here
    /// too. It takes up to half a second.
    pub fn close_idle(&self) {
        self.order(Order::CloseIdle);
    }

    fn order(&self, order: Order) {
        // The other end lives as long as the process.
        let _ = self.orders.send(order);
        self.bell.ring();
    }
}

async fn take_orders(orders: Receiver<Order>, mut bell: Bell, pacer: Rc<Pacer>, vendors: Vec<Opened>) {
    while bell.rung().await.is_ok() {
        while let Ok(order) = orders.try_recv() {
            match order {
                Order::Load { load, progress, tell } => {
                    let outcomes = load::run(*load, Rc::clone(&pacer), progress).await;
                    // Whoever ordered it may have stopped waiting.
                    let _ = tell.send(outcomes);
                }
                Order::CloseIdle => vendors.iter().for_each(Opened::close_idle),
            }
        }
    }
}
