//! Where a core's client connections come from, so that one address can be kept from taking all of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

/// Open client connections by address. An address without any takes no room.
#[derive(Debug, Default)]
pub struct Addresses {
    open: RefCell<HashMap<IpAddr, usize>>,
}

/// One connection, counted for as long as this lives.
#[derive(Debug)]
pub struct Counted {
    among: Rc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// Counts a connection from `peer`; `None` when there are `most` of them already. 0 is no bound.
    pub fn admit(self: &Rc<Self>, peer: IpAddr, most: usize) -> Option<Counted> {
        let address = counted_as(peer);
        let mut open = self.open.borrow_mut();
        let connections = open.entry(address).or_default();
        // There are none only of an address that is new here, and then there is room.
        if most > 0 && *connections >= most {
            return None;
        }
        *connections += 1;
        Some(Counted { among: Rc::clone(self), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.among.open.borrow_mut();
        if let Some(connections) = open.get_mut(&self.address) {
            *connections -= 1;
            if *connections == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// IPv4 as itself, however it is written, and IPv6 as its network of 64 bits: a single host has as many addresses of that
/// as it likes (RFC 4862, RFC 8981).
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_as_many_connections_as_it_may() {
        let addresses = Rc::new(Addresses::default());
        let first = addresses.admit(ip("192.0.2.1"), 2);
        let second = addresses.admit(ip("192.0.2.1"), 2);
        assert!(first.is_some() && second.is_some());
        assert!(addresses.admit(ip("192.0.2.1"), 2).is_none());
        let neighbour = addresses.admit(ip("192.0.2.2"), 2);
        assert!(neighbour.is_some(), "another address has its own");
        drop(first);
        let third = addresses.admit(ip("192.0.2.1"), 2);
        assert!(third.is_some(), "one that went makes room");
        drop((second, third, neighbour));
        assert!(addresses.open.borrow().is_empty(), "nothing is kept of those that went");
    }

    #[test]
    fn zero_is_no_bound_and_one_set_later_counts_who_is_there() {
        let addresses = Rc::new(Addresses::default());
        let open: Vec<_> = (0..100).map(|_| addresses.admit(ip("192.0.2.1"), 0)).collect();
        assert!(open.iter().all(Option::is_some));
        assert!(addresses.admit(ip("192.0.2.1"), 100).is_none());
    }

    #[test]
    fn one_host_is_one_address() {
        for (one, other, same) in [
            ("2001:db8::1", "2001:db8::ffff:1:2:3", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            assert_eq!(counted_as(ip(one)) == counted_as(ip(other)), same, "{one} {other}");
        }
    }
}
