//! Connections to vendors that are kept: how many, how long, and which of them is used next.

use std::time::{Duration, Instant};

use crate::harness::{
    Client, Config, Driver, Gate, Gateway, Step, Vendor, chat, eventually, on_each_driver, openai, pause,
};

fn gateway(vendor: &Vendor, limits: &str, driver: Driver) -> Gateway {
    let rest = format!("gateway: {{limits: {{{limits}}}}}\n");
    Gateway::with(Config::openai(vendor, "", &rest)).driver(driver).start()
}

/// Asks over `count` connections at once, so that as many to the vendor are made.
fn ask_at_once(gateway: &Gateway, vendor: &Vendor, gate: &Gate, count: usize) {
    let mut clients: Vec<Client> = (0..count).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.send(chat("chat")));
    vendor.wait_for_requests(count);
    gate.open();
    clients.iter_mut().for_each(|client| drop(client.answer().openai_completion()));
}

#[test]
fn no_more_are_kept_than_may_be() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let vendor = Vendor::start(move |asked| [vec![Step::Wait(held.clone())], openai(asked)].concat());
        let gateway = gateway(&vendor, "pool_idle_max: 2", driver);
        ask_at_once(&gateway, &vendor, &gate, 6);
        vendor.wait_until_left_but(2);
        eventually("two to be kept", || (gateway.stats().count("idle_upstreams") == 2).then_some(()));
        let mut client = gateway.client();
        (0..3).for_each(|_| drop(client.ask(chat("chat")).openai_completion()));
        assert_eq!(vendor.connections(), 6, "those that were kept are used again");
    });
}

#[test]
fn none_idles_longer_than_it_may() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = gateway(&vendor, "pool_idle_ms: 300", driver);
        gateway.client().ask(chat("chat")).openai_completion();
        let began = Instant::now();
        vendor.wait_until_left();
        assert!(began.elapsed() > Duration::from_millis(200), "after {:?}", began.elapsed());
        gateway.client().ask(chat("chat")).openai_completion();
        assert_eq!(vendor.connections(), 2);
        assert!(gateway.stop().iter().all(|event| event.count("attempts") == 1));
    });
}

#[test]
fn none_lives_longer_than_it_may_however_busy_it_is() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = gateway(&vendor, "pool_life_ms: 500", driver);
        let mut client = gateway.client();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            client.ask(chat("chat")).openai_completion();
            pause(Duration::from_millis(20));
        }
        let connections = vendor.connections();
        assert!((3..=8).contains(&connections), "{connections} connections in 3 s");
        assert!(gateway.stop().iter().all(|event| event.is_null("error")));
    });
}

#[test]
fn the_one_that_idled_shortest_is_used_next() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let vendor = Vendor::start(move |asked| [vec![Step::Wait(held.clone())], openai(asked)].concat());
        // Were they used in turn, each would be used before its time is over, and all of them stay.
        let gateway = gateway(&vendor, "pool_idle_ms: 1000", driver);
        ask_at_once(&gateway, &vendor, &gate, 4);
        let mut client = gateway.client();
        eventually("the others to be left", || {
            client.ask(chat("chat")).openai_completion();
            (vendor.open_connections() == 1).then_some(())
        });
        assert_eq!(vendor.connections(), 4);
    });
}
