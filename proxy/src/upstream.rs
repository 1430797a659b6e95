//! The side that answers: connect or reuse, hand the request over, wait for the head, read the body.
//!
//! It knows HTTP but no vendor's language. While a vendor is waited for, its client is watched: when that goes, the wait
//! ends, and the connection with it.

use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kt_core::config::plan::{Plan, Target, Timeouts};
use kt_core::fault::{Fault, Kind, Phase};
use kt_core::http1::body::BodyReader;
use kt_core::http1::framing::{self, ResponseBody, ResponseFraming};
use kt_core::http1::head::{Fields, Known, ResponseHead, Search};
use kt_core::limits::{COPY_BYTES_MAX, Limits};
use kt_core::record::Record;

use crate::buffers;
use crate::client::{Client, Request};
use crate::clock;
use crate::connect;
use crate::deadline::{Descriptor, Wait};
use crate::ledger::Slot;
use crate::moderation::Outcome;
use crate::pool::{self, Idle};
use crate::rt::{self, Either};
use crate::tls::Session;
use crate::wire::{Patience, Wire};
use crate::worker::{Lane, Worker};

/// A reused connection that ends this soon after the send, without a byte of an answer, had been closed by the vendor
/// before the request reached it. One that ends later may have been billed.
const STALE_WITHIN: Duration = Duration::from_millis(100);

/// A connection to a vendor, in one exchange.
pub struct Upstream {
    /// Taken out only by the ways to its end below.
    wire: Option<Wire>,
    born: Instant,
    timeouts: Timeouts,
    /// When the exchange as a whole has to be over.
    total_due: Option<Instant>,
    reused: bool,
    sent: Instant,
}

/// A vendor's answer, its head parsed.
pub struct Answer {
    upstream: Upstream,
    head: Head,
    reader: BodyReader,
    /// Whether its connection may carry another exchange, as far as is known.
    reusable: bool,
    /// When the last bytes were read.
    pub read_ns: u64,
}

/// The head of an answer, with the bytes that its fields lie in.
struct Head {
    parsed: ResponseHead,
    bytes: Vec<u8>,
    /// Where in them the body begins, until that has been taken.
    rest: Option<usize>,
    fields: Fields,
    framing: ResponseFraming,
    read_ns: u64,
}

/// Whether more of a body is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// Yes.
    Yes,
    /// The body is whole.
    No,
}

/// A request as it goes to the vendor: pieces of two buffers, in order.
pub struct Outgoing {
    /// Head, and whatever else was copied.
    pub copied: Vec<u8>,
    /// What to send before the last piece, for large bodies: ranges of `copied` and of the client's own buffer.
    pub before: Vec<(Origin, Range<usize>)>,
    /// The last piece, and mostly the only one: a range of `copied`.
    pub last: Range<usize>,
}

/// Which buffer a piece lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// [`Outgoing::copied`].
    Copied,
    /// The client's.
    Client,
}

/// What there is to say of an exchange while it goes on: the worker, the client and the record.
pub struct Company<'a> {
    /// The core.
    pub worker: &'a Rc<Worker>,
    /// Who waits for the answer.
    pub client: &'a mut Client,
    /// What will be logged.
    pub record: &'a mut Record,
    /// What was asked of moderations elsewhere by policies that only flag, with their places in the chain.
    pub questions: &'a mut Vec<(u32, Outcome)>,
    /// Its room in the log; none where the log has none, and the request is answered all the same.
    pub slot: Option<&'a Slot>,
    /// The plan in force.
    pub plan: &'a Plan,
    /// The bounds in force.
    pub limits: &'a Limits,
}

impl Company<'_> {
    /// Waits for whoever is asked, unless the client leaves first.
    pub async fn unless_gone<T>(&mut self, phase: Phase, wait: impl Future<Output = T>) -> Result<T, Fault> {
        match rt::race(wait, self.client.gone()).await {
            Either::Left(value) => Ok(value),
            Either::Right(()) => Err(Fault::new(Kind::ClientGone, phase)),
        }
    }

    /// The same for what owns buffers and so has to be awaited to its end, which then comes at once: the vendor's
    /// connection is ended.
    async fn ending_if_gone<T>(
        &mut self,
        vendor: &Descriptor,
        phase: Phase,
        work: impl Future<Output = T>,
    ) -> (T, Result<(), Fault>) {
        let mut work = pin!(work);
        let mut has_gone = false;
        let value = poll_fn(|cx| {
            let worked = work.as_mut().poll(cx);
            if worked.is_pending() && !has_gone && self.client.poll_gone(cx).is_ready() {
                has_gone = true;
                vendor.shut_down(Shutdown::Both);
            }
            worked
        });
        let value = value.await;
        (value, if has_gone { Err(Fault::new(Kind::ClientGone, phase)) } else { Ok(()) })
    }
}

/// Asks `target`, over a connection of its pool or a fresh one, and waits for the head of the answer. A reused
/// connection that turns out to be stale is replaced, once; `compose` then gives `outgoing` again, which isn't kept while
/// an answer is waited for: what a thousand requests hold that wait, no cache holds.
///
/// # Errors
///
/// Why there is no answer; the connection has ended.
pub async fn ask(
    lane: &Lane,
    target: &Target,
    request: &mut Request,
    outgoing: Outgoing,
    compose: &dyn Fn(&Request) -> Result<Outgoing, Fault>,
    company: &mut Company<'_>,
) -> Result<Answer, Fault> {
    let mut composed = Some(outgoing);
    let total_due = target.timeouts.total_ms.map(|ms| clock::lately() + Duration::from_millis(ms));
    let pooled = lane.pool.take();
    let mut retried = pooled.is_none();
    let mut next = pooled;
    loop {
        company.record.asking();
        let (idle, reused) = match next.take() {
            Some(idle) => (idle, true),
            // Boxed, as whatever few requests wait for: every connection has room for all that it may wait for.
            None => (Idle { wire: Box::pin(company.connect(lane, target)).await?, born: clock::now() }, false),
        };
        let Idle { wire, born } = idle;
        let timeouts = target.timeouts;
        let mut upstream = Upstream { wire: Some(wire), born, timeouts, total_due, reused, sent: clock::lately() };
        let mut outgoing = match composed.take() {
            Some(outgoing) => outgoing,
            None => compose(request)?,
        };
        let mut client_buffer = request.take_buffer();
        let handed = upstream.hand_over(&mut outgoing, &mut client_buffer, company).await;
        request.put_back(client_buffer);
        drop(outgoing);
        let head = match handed {
            Ok(()) => upstream.head(company).await,
            Err(fault) if fault.kind == Kind::SendFailed => upstream.early_head(fault, company).await,
            Err(fault) => Err(fault),
        };
        match head {
            Ok(head) => {
                company.record.head_read(head.read_ns);
                return Ok(Answer::new(upstream, head));
            }
            Err(fault) if retried || !upstream.is_stale(fault.kind) => return Err(fault),
            Err(stale) => {
                company.record.asked_in_vain(company.worker.now_ns(), &stale);
                retried = true;
            }
        }
    }
}

impl Company<'_> {
    /// A fresh connection, with what it took noted either way.
    async fn connect(&mut self, lane: &Lane, target: &Target) -> Result<Wire, Fault> {
        let began = Instant::now();
        let connected = self.resolve_and_connect(lane, target, began).await;
        self.record.connected_in(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        connected
    }

    async fn resolve_and_connect(&mut self, lane: &Lane, target: &Target, began: Instant) -> Result<Wire, Fault> {
        let due = began + Duration::from_millis(target.timeouts.connect_ms);
        let of_target =
            |kind, phase, why: &dyn Display| Fault::with(kind, phase, format!("target {}: {why}", target.id));
        let names = Rc::clone(&self.worker.names);
        let resolving = rt::race(
            names.resolve(&target.base.host, target.base.port),
            rt::sleep(due.saturating_duration_since(Instant::now())),
        );
        let addresses = match self.unless_gone(Phase::Connect, resolving).await? {
            Either::Left(Ok(addresses)) => addresses,
            Either::Left(Err(why)) => return Err(of_target(Kind::NameNotResolved, Phase::Connect, &why)),
            Either::Right(()) => return Err(Fault::new(Kind::ConnectTooSlow, Phase::Connect)),
        };
        if !self.worker.makes_room_for_upstream() {
            return Err(Fault::new(Kind::Overloaded, Phase::Connect));
        }
        let socket = match self.unless_gone(Phase::Connect, connect::first(&addresses, due)).await? {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(Fault::new(Kind::ConnectTooSlow, Phase::Connect));
            }
            Err(error) => return Err(of_target(Kind::ConnectRefused, Phase::Connect, &error)),
        };
        let wire = Wire::plain(socket, &self.worker.watch);
        let Some(tls) = &lane.tls else { return Ok(wire) };
        let session = Session::to(&target.base.host, tls).map_err(|e| of_target(Kind::TlsFailed, Phase::Tls, &e))?;
        wire.deadline().set(Wait::Tls, due);
        let vendor = wire.descriptor();
        let ((shaken, wire), gone) = self.ending_if_gone(&vendor, Phase::Tls, wire.handshake(session)).await;
        if gone.is_err() {
            pool::give_up(wire);
            return Err(Fault::new(Kind::ClientGone, Phase::Tls));
        }
        let fired = wire.deadline().fired();
        wire.deadline().clear();
        let fault = match (shaken, fired) {
            (Ok(()), None) => return Ok(wire),
            (_, Some(_)) => Fault::new(Kind::ConnectTooSlow, Phase::Tls),
            (Err(error), None) => of_target(Kind::TlsFailed, Phase::Tls, &error),
        };
        pool::give_up(wire);
        Err(fault)
    }
}

impl Upstream {
    fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect("the wire is taken out only by what consumes the upstream")
    }

    /// Sends the whole request.
    async fn hand_over(
        &mut self,
        outgoing: &mut Outgoing,
        client_buffer: &mut Vec<u8>,
        company: &mut Company<'_>,
    ) -> Result<(), Fault> {
        // A vendor has as long to take something of the request as to say something of its answer, and for the whole
        // request as long as for its first byte.
        let patience = Patience {
            wait: Wait::Send,
            headway: Duration::from_millis(self.timeouts.idle_ms),
            whole: Duration::from_millis(self.timeouts.first_byte_ms),
        };
        // What the kernel takes at once is gone before anybody could say a word. The rest of a large request is of no use
        // to a vendor that has turned it down already, nor to a client that has left.
        let before: usize = outgoing.before.iter().map(|(_, range)| range.len()).sum();
        let is_large = before + outgoing.last.len() > COPY_BYTES_MAX;
        let last = (Origin::Copied, outgoing.last.clone());
        for (origin, range) in outgoing.before.iter().chain([&last]) {
            let buffer = match origin {
                Origin::Copied => &mut outgoing.copied,
                Origin::Client => &mut *client_buffer,
            };
            let bytes = std::mem::take(buffer);
            let (sent, bytes, gone) = if is_large {
                let vendor = self.wire().descriptor();
                let sending = self.wire().send_unless(bytes, range.clone(), patience, turns_down);
                let ((sent, bytes), gone) = Box::pin(company.ending_if_gone(&vendor, Phase::Send, sending)).await;
                (sent, bytes, gone)
            } else {
                let (sent, bytes) = self.wire().send(bytes, range.clone(), patience).await;
                (sent, bytes, Ok(()))
            };
            *buffer = bytes;
            gone?;
            if let Err(error) = sent {
                return Err(self.blame(Phase::Send, Kind::SendFailed, Some(&error)));
            }
        }
        self.sent = clock::now();
        company.record.handed_over(company.worker.clock.ns_at(self.sent));
        Ok(())
    }

    /// The head of an answer that came before the request was whole, though the connection has broken since: a vendor
    /// that turns a request down needn't read the rest of it (RFC 9110 section 10.1.1, RFC 9112 section 9.5).
    async fn early_head(&mut self, broken: Fault, company: &mut Company<'_>) -> Result<Head, Fault> {
        company.record.handed_over(company.worker.now_ns());
        match self.head(company).await {
            Ok(mut head) => {
                head.framing.reusable = false;
                Ok(head)
            }
            // There was none, and the connection broke: that says more.
            Err(fault) if fault.kind == Kind::AnswerMissing => Err(broken),
            Err(fault) => Err(fault),
        }
    }

    /// Waits for the head of the answer; interim ones (1xx) are skipped.
    async fn head(&mut self, company: &mut Company<'_>) -> Result<Head, Fault> {
        let due = self.sent + Duration::from_millis(self.timeouts.first_byte_ms);
        let mut search = Search::default();
        let mut fields = buffers::fields();
        // Some of it may have come while the request was still being sent.
        let mut any = !self.wire().is_reading() && !self.wire().inbox().is_empty();
        loop {
            if any {
                let read_ns = company.worker.now_ns();
                company.record.vendor_read(read_ns);
                if let Some(head) = self.parse_head(&mut search, &mut fields, company.limits)? {
                    return self.take_head(head, fields, read_ns);
                }
            }
            self.wait_until(Wait::FirstByte, due);
            let filled = {
                let wire = self.wire();
                company.unless_gone(Phase::FirstByte, wire.fill()).await?
            };
            match filled {
                Ok(1..) => any = true,
                ended @ (Ok(0) | Err(_)) => {
                    // Not a byte of it: only then may the request be sent again.
                    let kind = if any { Kind::AnswerHeadMalformed } else { Kind::AnswerMissing };
                    return Err(self.blame(Phase::FirstByte, kind, ended.err().as_ref()));
                }
            }
        }
    }

    /// The final head, if it has been read whole.
    fn parse_head(
        &mut self,
        search: &mut Search,
        fields: &mut Fields,
        limits: &Limits,
    ) -> Result<Option<ResponseHead>, Fault> {
        loop {
            match ResponseHead::parse(self.wire().inbox(), search, fields, limits) {
                Err(kind) => return Err(Fault::new(kind, Phase::FirstByte)),
                Ok(Some(head)) if (100..200).contains(&head.status) && head.status != 101 => {
                    self.wire().inbox().drain(..head.len);
                }
                Ok(head) => return Ok(head),
            }
        }
    }

    /// Takes what was read out of the inbox, for the head's fields; what is behind them is the body's.
    fn take_head(&mut self, head: ResponseHead, fields: Fields, read_ns: u64) -> Result<Head, Fault> {
        let inbox = self.wire().inbox();
        let framing = framing::of_response(&http::Method::POST, &head, &fields, inbox)
            .map_err(|kind| Fault::new(kind, Phase::FirstByte))?;
        let bytes = std::mem::take(inbox);
        self.wire().deadline().clear();
        Ok(Head { parsed: head, rest: Some(head.len), bytes, fields, framing, read_ns })
    }

    fn wait_until(&mut self, wait: Wait, due: Instant) {
        let (wait, due) = match self.total_due {
            Some(total) if total <= due => (Wait::Total, total),
            Some(_) | None => (wait, due),
        };
        self.wire().deadline().set(wait, due);
    }

    /// What it means that the connection failed: that a deadline ended it, or what the kernel or TLS said.
    fn blame(&mut self, phase: Phase, kind: Kind, error: Option<&io::Error>) -> Fault {
        match (self.wire().deadline().fired().and_then(Wait::fault), error) {
            (Some((kind, phase)), _) => Fault::new(kind, phase),
            (None, Some(error)) => Fault::with(kind, phase, error.to_string()),
            (None, None) => Fault::new(kind, phase),
        }
    }

    fn is_stale(&self, kind: Kind) -> bool {
        self.reused && matches!(kind, Kind::SendFailed | Kind::AnswerMissing) && self.sent.elapsed() < STALE_WITHIN
    }
}

/// Whether an answer that begins like this means that the rest of the request is not wanted. A vendor may begin a good
/// answer early too, and reads on.
fn turns_down(first_words: &[u8]) -> bool {
    const STATUS_AT: usize = "HTTP/1.1 ".len();
    first_words.get(STATUS_AT).is_some_and(|digit| (b'3'..=b'9').contains(digit))
}

impl Drop for Head {
    fn drop(&mut self) {
        buffers::give(std::mem::take(&mut self.bytes));
        buffers::give_fields(std::mem::take(&mut self.fields));
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        buffers::give(std::mem::take(&mut self.copied));
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // Wherever an exchange ends early, its vendor's connection ends with it, at once.
        if let Some(wire) = self.wire.take() {
            pool::give_up(wire);
        }
    }
}

impl Answer {
    fn new(upstream: Upstream, head: Head) -> Self {
        let ResponseFraming { body, reusable } = head.framing;
        Self { upstream, reader: BodyReader::response(body), reusable, read_ns: head.read_ns, head }
    }

    /// The vendor's status, 200 to 999.
    pub fn status(&self) -> u16 {
        self.head.parsed.status
    }

    /// First value of a field the gateway knows.
    pub fn field(&self, name: Known) -> Option<&[u8]> {
        self.head.fields.first(&self.head.bytes, name)
    }

    /// Its fields that aren't about the connection, as (name, value).
    pub fn end_to_end(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        kt_core::http1::hop::end_to_end(&self.head.fields, &self.head.bytes)
    }

    /// How long the body is, where the head says it.
    pub fn length(&self) -> Option<u64> {
        match self.head.framing.body {
            ResponseBody::Length(length) => Some(length),
            ResponseBody::None => Some(0),
            ResponseBody::Chunked | ResponseBody::UntilClose => None,
        }
    }

    /// Appends the payload that has been read already, without waiting.
    ///
    /// # Errors
    ///
    /// The vendor's framing is broken.
    pub fn take_read(&mut self, payload: &mut Vec<u8>) -> Result<More, Fault> {
        let torn = |kind| Fault::new(kind, Phase::Stream);
        let inbox = self.upstream.wire().inbox();
        if let Some(rest) = self.head.rest.take() {
            let bytes = &self.head.bytes;
            if payload.capacity() == 0 {
                *payload = buffers::with_room(bytes.len() - rest);
            }
            if let Some(end) = self.reader.collect(bytes, rest, payload).map_err(torn)? {
                // Bytes behind the answer are nobody's.
                self.reusable &= end == bytes.len() && inbox.is_empty();
                return Ok(More::No);
            }
            if inbox.is_empty() {
                return Ok(More::Yes);
            }
        }
        if payload.capacity() == 0 {
            *payload = buffers::with_room(inbox.len());
        }
        let ended = self.reader.collect(inbox, 0, payload).map_err(torn)?;
        self.reusable &= ended.is_none_or(|end| end == inbox.len());
        inbox.clear();
        Ok(if ended.is_some() { More::No } else { More::Yes })
    }

    /// To be called when the head has been used and more is to come in small pieces: gives back what the head took, and
    /// most of the room for what comes.
    pub fn slim_down(&mut self) {
        debug_assert!(self.head.rest.is_none(), "what came of the body with the head has been taken");
        buffers::give(std::mem::take(&mut self.head.bytes));
        buffers::give_fields(std::mem::take(&mut self.head.fields));
        self.upstream.wire().slim_down();
    }

    /// Waits for more of the body and appends its payload, at least a byte of it unless it has ended.
    ///
    /// # Errors
    ///
    /// Why there is no more; the connection won't be used again.
    pub async fn read(&mut self, payload: &mut Vec<u8>, company: &mut Company<'_>) -> Result<More, Fault> {
        let read = self.read_more(payload, company).await;
        // The answer may be whole all the same; its connection is of no more use.
        self.reusable &= read.is_ok();
        read
    }

    async fn read_more(&mut self, payload: &mut Vec<u8>, company: &mut Company<'_>) -> Result<More, Fault> {
        let before = payload.len();
        loop {
            let due = clock::lately() + Duration::from_millis(self.upstream.timeouts.idle_ms);
            self.upstream.wait_until(Wait::Idle, due);
            let filled = {
                let wire = self.upstream.wire();
                company.unless_gone(Phase::Stream, wire.fill()).await?
            };
            self.read_ns = company.worker.now_ns();
            match filled {
                Ok(came @ 1..) => {
                    company.record.vendor_read(self.read_ns);
                    self.upstream.wire().deadline().clear();
                    let more = self.take_read(payload)?;
                    self.upstream.wire().make_up(came);
                    if more == More::No || payload.len() > before {
                        return Ok(more);
                    }
                }
                Ok(0) if self.upstream.wire().deadline().fired().is_none() => {
                    return match self.reader.close() {
                        Ok(()) => Ok(More::No),
                        Err(kind) => Err(Fault::new(kind, Phase::Stream)),
                    };
                }
                Ok(0) => return Err(self.upstream.blame(Phase::Stream, Kind::AnswerTorn, None)),
                Err(error) => return Err(self.upstream.blame(Phase::Stream, Kind::AnswerTorn, Some(&error))),
            }
        }
    }

    /// The answer has been read whole: its connection goes back to the pool, if it may.
    pub fn done(mut self, lane: &Lane, limits: &Limits) {
        let Some(wire) = self.upstream.wire.take() else { return };
        if self.reusable {
            lane.pool.keep(Idle { wire, born: self.upstream.born }, limits);
        } else {
            pool::give_up(wire);
        }
    }
}
