//! What is measured: each case with what is asked, of whom, and what its first number is.

use super::peers::{Peer, Route};

/// A case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What it is, for the table's heading.
    pub(super) what: &'static str,
    pub(super) kind: Kind,
    pub(super) route: Route,
    pub(super) connections: usize,
    pub(super) body_bytes: usize,
}

/// How a case is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Each connection asks when it is answered.
    Closed,
    /// Each connection takes in one stream after the other.
    Streams {
        /// Content events of a stream.
        events: u64,
        /// From each to the next.
        gap_us: u64,
    },
    /// At this share of what nginx can do at most; slower ones at this share of what they can.
    Open {
        /// The share.
        share: f64,
    },
    /// Streams that have begun, and wait.
    IdleStreams,
    /// Nothing at all.
    Idle,
}

const CASE: Case =
    Case { name: "", what: "", kind: Kind::Closed, route: Route::Plain, connections: 32, body_bytes: 1 << 10 };

/// All cases, in the order they are measured: the first says how fast nginx is, which a later one needs.
pub(super) const CASES: [Case; 13] = [
    Case { name: "1k", what: "1 KiB, 32 connections", ..CASE },
    Case {
        name: "open",
        what: "at half of nginx's best rate, by chance (open loop)",
        kind: Kind::Open { share: 0.5 },
        connections: 2_000,
        ..CASE
    },
    Case { name: "anthropic", what: "translated to Anthropic and back", route: Route::Anthropic, ..CASE },
    Case { name: "40k", what: "40 KiB prompt", body_bytes: 40 << 10, ..CASE },
    Case { name: "400k", what: "400 KiB prompt", body_bytes: 400 << 10, ..CASE },
    Case {
        name: "streams-1000",
        what: "1,000 streams, an event each 20 ms",
        kind: Kind::Streams { events: 100, gap_us: 20_000 },
        connections: 1_000,
        ..CASE
    },
    Case {
        name: "streams-20",
        what: "20 streams, an event each millisecond",
        kind: Kind::Streams { events: 500, gap_us: 1_000 },
        connections: 20,
        ..CASE
    },
    Case { name: "connections-1", what: "1 connection", connections: 1, ..CASE },
    Case { name: "connections-1024", what: "1,024 connections", connections: 1_024, ..CASE },
    Case { name: "connections-8000", what: "8,000 connections", connections: 8_000, ..CASE },
    Case { name: "tls", what: "TLS to the vendor", route: Route::Tls, ..CASE },
    Case { name: "idle-streams", what: "8,000 streams that wait", kind: Kind::IdleStreams, connections: 8_000, ..CASE },
    Case { name: "idle", what: "nothing to do", kind: Kind::Idle, ..CASE },
];

impl Case {
    /// Whether it makes sense for a peer.
    pub(super) fn suits(&self, peer: &Peer) -> bool {
        let connections = match self.kind {
            // As many as it takes; the rate is what it can bear.
            Kind::Open { .. } | Kind::Idle => 1,
            Kind::Closed | Kind::Streams { .. } | Kind::IdleStreams => self.connections,
        };
        peer.has(self.route) && peer.plays(self.name) && connections <= peer.connections_max
    }

    /// Whether going straight to the vendor says something: where times are what is looked at.
    pub(super) fn has_direct(&self) -> bool {
        matches!(self.kind, Kind::Open { .. } | Kind::Streams { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_first_measures_the_best_rate() {
        for (nth, case) in CASES.iter().enumerate() {
            assert!(CASES[..nth].iter().all(|other| other.name != case.name), "{}", case.name);
        }
        assert_eq!((CASES[0].name, CASES[0].kind), ("1k", Kind::Closed));
    }
}
