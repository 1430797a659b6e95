//! A pump: a bare byte forwarder, the reference for what the kernel's TCP costs whoever stands between.
//!
//! One thread, one ring, no parsing: each client connection has one vendor connection, and what comes in on the one goes
//! out on the other by one receive and one send. It is what a gateway would be that did nothing.
//!
//! Deliberately absent: a bound on connections, timeouts, any thought about what it carries. Connecting to the vendor
//! blocks, which on loopback takes as long as the call.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};

/// Submission queue entries; more than the operations that one turn starts would only cost memory.
const ENTRIES: u32 = 4_096;
/// What one receive takes at most: a large body goes through in few pieces. Pages are touched as they are filled.
const FLOW_BYTES: usize = 64 * 1024;
/// A completion of the accept, not of a pair.
const ACCEPTED: u64 = u64::MAX;

/// One direction of a pair.
struct Flow {
    buffer: Box<[u8]>,
    /// What of `buffer` has been received and not sent yet.
    from: usize,
    to: usize,
    is_in_flight: bool,
}

/// A client's connection and the vendor's that belongs to it. Flow 0 goes from the client to the vendor.
struct Pair {
    ends: [TcpStream; 2],
    flows: [Flow; 2],
    /// Flows that have come to their end.
    ended: [bool; 2],
}

/// What a completion is about: place of the pair, flow, and whether it is a send.
#[derive(Clone, Copy)]
struct Token {
    pair: usize,
    flow: usize,
    is_send: bool,
}

impl Token {
    const fn pack(self) -> u64 {
        (self.pair as u64) << 2 | (self.flow as u64) << 1 | self.is_send as u64
    }

    const fn unpack(packed: u64) -> Self {
        Self { pair: (packed >> 2) as usize, flow: (packed >> 1 & 1) as usize, is_send: packed & 1 == 1 }
    }
}

/// Forwards whatever comes in on `listener` to `vendor` and back. Doesn't return unless the ring fails.
///
/// # Errors
///
/// The kernel's, when there can be no ring or it can't be entered.
pub fn run(listener: &TcpListener, vendor: SocketAddr) -> io::Result<()> {
    Pump { ring: ring()?, pairs: Vec::new(), free: Vec::new(), waiting: Vec::new() }.run(listener, vendor)
}

/// The gateway's own ring flags, or none where the kernel has them not.
fn ring() -> io::Result<IoUring> {
    let mut best = IoUring::builder();
    best.setup_single_issuer().setup_defer_taskrun().setup_submit_all();
    best.build(ENTRIES).or_else(|_| IoUring::new(ENTRIES))
}

struct Pump {
    ring: IoUring,
    pairs: Vec<Option<Box<Pair>>>,
    free: Vec<usize>,
    /// Operations that are to be submitted in this turn.
    waiting: Vec<Entry>,
}

impl Pump {
    fn run(mut self, listener: &TcpListener, vendor: SocketAddr) -> io::Result<()> {
        let accept = || {
            let address = std::ptr::null_mut();
            opcode::Accept::new(types::Fd(listener.as_raw_fd()), address, std::ptr::null_mut())
                .build()
                .user_data(ACCEPTED)
        };
        self.waiting.push(accept());
        let mut completions = Vec::with_capacity(ENTRIES as usize);
        loop {
            self.submit()?;
            completions.extend(self.ring.completion().map(|entry| (entry.user_data(), entry.result())));
            for (token, result) in completions.drain(..) {
                match token {
                    ACCEPTED => {
                        if result >= 0 {
                            self.admit(result, vendor);
                        }
                        self.waiting.push(accept());
                    }
                    _ => self.advance(Token::unpack(token), result),
                }
            }
        }
    }

    /// Submits what is waiting, in as many goes as the queue needs, and waits for a completion.
    #[allow(unsafe_code)] // Named in lib.rs.
    fn submit(&mut self) -> io::Result<()> {
        let mut rest = self.waiting.as_slice();
        while !rest.is_empty() {
            let mut queue = self.ring.submission();
            let room = (queue.capacity() - queue.len()).min(rest.len());
            // SAFETY: Each entry was made by `Pump::start` or by `run`. The former points into the buffer of a flow,
            // which is boxed, so that it stays where it is when `pairs` moves; `is_in_flight` is true from then until
            // its completion is handled, and `advance` frees a pair only when neither of its flows is in flight, so
            // buffer and descriptor outlive the operation. Only one operation of a flow is in flight at a time, and the
            // buffer isn't looked at meanwhile. The accept points nowhere, and its listener is borrowed for the loop,
            // which ends only by an error of the ring; the process then ends too.
            unsafe { queue.push_multiple(&rest[..room]) }.expect("room was left for as many");
            drop(queue);
            rest = &rest[room..];
            if !rest.is_empty() {
                self.ring.submit()?;
            }
        }
        self.waiting.clear();
        match self.ring.submit_and_wait(1) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            // More completions wait than fit: taking them out makes room.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    #[allow(unsafe_code)] // Named in lib.rs.
    fn admit(&mut self, descriptor: i32, vendor: SocketAddr) {
        use std::os::fd::FromRawFd;
        // SAFETY: the kernel has just made this descriptor for our accept, and nobody else knows of it.
        let client = unsafe { TcpStream::from_raw_fd(descriptor) };
        // Without a vendor the client sees its connection end.
        let Ok(vendor) = TcpStream::connect(vendor) else { return };
        if client.set_nodelay(true).and_then(|()| vendor.set_nodelay(true)).is_err() {
            return;
        }
        let flow = || Flow { buffer: vec![0; FLOW_BYTES].into(), from: 0, to: 0, is_in_flight: false };
        let pair = Box::new(Pair { ends: [client, vendor], flows: [flow(), flow()], ended: [false; 2] });
        let place = self.free.pop().unwrap_or_else(|| {
            self.pairs.push(None);
            self.pairs.len() - 1
        });
        self.pairs[place] = Some(pair);
        self.start(Token { pair: place, flow: 0, is_send: false });
        self.start(Token { pair: place, flow: 1, is_send: false });
    }

    /// Starts a flow's next operation.
    fn start(&mut self, token: Token) {
        let pair = self.pairs[token.pair].as_mut().expect("a pair lives while it has something to start");
        let flow = &mut pair.flows[token.flow];
        debug_assert!(!flow.is_in_flight, "one operation at a time");
        flow.is_in_flight = true;
        let entry = if token.is_send {
            let bytes = &flow.buffer[flow.from..flow.to];
            let to = types::Fd(pair.ends[1 - token.flow].as_raw_fd());
            opcode::Send::new(to, bytes.as_ptr(), bytes.len() as u32).flags(MSG_NOSIGNAL).build()
        } else {
            let from = types::Fd(pair.ends[token.flow].as_raw_fd());
            opcode::Recv::new(from, flow.buffer.as_mut_ptr(), flow.buffer.len() as u32).build()
        };
        self.waiting.push(entry.user_data(token.pack()));
    }

    fn advance(&mut self, token: Token, result: i32) {
        let pair = self.pairs[token.pair].as_mut().expect("a pair lives while it is in flight");
        let flow = &mut pair.flows[token.flow];
        flow.is_in_flight = false;
        let is_send = match (usize::try_from(result), token.is_send) {
            (Ok(0) | Err(_), _) => {
                pair.ended[token.flow] = true;
                // The end of one direction is passed on; a failure ends both. Whoever has gone already can't be told.
                let how = if result == 0 { Shutdown::Write } else { Shutdown::Both };
                drop(pair.ends[1 - token.flow].shutdown(how));
                if result < 0 {
                    drop(pair.ends[token.flow].shutdown(Shutdown::Both));
                }
                if pair.ended == [true; 2] {
                    self.pairs[token.pair] = None;
                    self.free.push(token.pair);
                }
                return;
            }
            (Ok(came), false) => {
                (flow.from, flow.to) = (0, came);
                true
            }
            (Ok(went), true) => {
                flow.from += went;
                flow.from < flow.to
            }
        };
        self.start(Token { is_send, ..token });
    }
}

/// A peer that has gone is an error and no signal. The same number on every Linux.
const MSG_NOSIGNAL: i32 = 0x4000;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::thread;

    use super::*;

    fn pump_to(vendor: SocketAddr) -> Option<SocketAddr> {
        // Where the kernel allows no ring there is no pump.
        ring().ok()?;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || run(&listener, vendor));
        Some(address)
    }

    #[test]
    fn bytes_come_out_as_they_went_in_and_so_do_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let Some(pump) = pump_to(listener.local_addr().unwrap()) else { return };
        let echo = thread::spawn(move || {
            for _ in 0..8 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut all = Vec::new();
                stream.read_to_end(&mut all).unwrap();
                all.reverse();
                stream.write_all(&all).unwrap();
            }
        });
        let clients: Vec<_> = (0..8_u8)
            .map(|n| {
                thread::spawn(move || {
                    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at / 7) as u8 ^ n).collect();
                    let mut stream = TcpStream::connect(pump).unwrap();
                    stream.write_all(&bytes).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                    let mut back = Vec::new();
                    stream.read_to_end(&mut back).unwrap();
                    back.reverse();
                    assert!(back == bytes, "client {n} got other bytes back");
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        echo.join().unwrap();
    }

    #[test]
    fn a_client_that_can_not_be_served_sees_the_end() {
        let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
        let Some(pump) = pump_to(gone) else { return };
        assert_eq!(TcpStream::connect(pump).unwrap().read(&mut [0; 8]).unwrap_or(0), 0);
    }
}
