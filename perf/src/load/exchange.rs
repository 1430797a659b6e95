//! One request of a load and its answer, checked to the end.

use std::future::poll_fn;
use std::time::Instant;

use http::Method;
use kt_core::dialect::Look;
use kt_core::http1::body::BodyReader;
use kt_core::http1::framing;
use kt_core::http1::head::{Fields, Known, ResponseHead, Search};
use kt_core::http1::write;
use kt_core::json::escape_into;
use kt_core::limits::KIB;
use kt_core::sse::{self, Splitter};
use kt_proxy::deadline::Wait;
use kt_proxy::listen::Address;
use kt_proxy::rt;
use kt_proxy::tls::Session;
use kt_proxy::wire::{Patience, Wire};

use super::engine::{Engine, Job, PLACES_MAX};
use super::{Check, Progress};
use crate::clock::now_ns;
use crate::stamp::{Ask, STAMP_BYTES, Stamp};

/// A connection, if there is one that can be used again.
#[derive(Default)]
pub(super) struct Kept(Option<Wire>);

impl Kept {
    pub(super) async fn close(self) {
        if let Some(wire) = self.0 {
            wire.close().await;
        }
    }
}

/// The request that a seat has written last: the next one is often the same but for its number.
#[derive(Default)]
pub(super) struct Sheets {
    bytes: Vec<u8>,
    /// Which target and prompt it is for.
    of: Option<(usize, usize)>,
    /// Where its number stands.
    ask_at: usize,
    /// Room for an answer's body.
    payload: Vec<u8>,
}

/// What is known of an answer when it has ended.
#[derive(Default)]
struct Seen {
    sent_ns: u64,
    first_ns: Option<u64>,
    last_ns: u64,
    /// The vendor's stamp on the last event.
    last_sent_ns: u64,
    events: u64,
    /// Latency without the vendor's part.
    between_ns: Option<u64>,
    /// Gaps, transits and added gaps, taken over if the answer passes.
    gaps: Vec<u64>,
    transits: Vec<u64>,
    added: Vec<u64>,
}

/// Why an answer doesn't pass.
struct Flaw(String);

impl<S: Into<String>> From<S> for Flaw {
    fn from(why: S) -> Self {
        Self(why.into())
    }
}

/// The body of an answer, as far as it has come.
struct Body<'p> {
    reader: BodyReader,
    payload: &'p mut Vec<u8>,
    has_ended: bool,
    /// More came than belongs to it.
    overran: bool,
}

impl Engine {
    /// Asks `target` and counts what comes of it. Whether the answer passed.
    pub(super) async fn ask(&self, job: Job, target: usize, sheets: &mut Sheets, kept: &mut Kept) -> bool {
        let mut seen = Seen::default();
        let outcome = self.ask_once(job, target, sheets, kept, &mut seen).await;
        let ended_ns = now_ns();
        let passed = outcome.is_ok();
        Progress::count(if passed { &self.progress.answered } else { &self.progress.failed });
        if job.meant_ns < self.counts_from_ns {
            return passed;
        }
        let mut outcomes = self.outcomes.borrow_mut();
        let counted = &mut outcomes[target];
        if let Err(Flaw(why)) = outcome {
            *counted.failed.entry(why).or_default() += 1;
            return false;
        }
        let latency = ended_ns - job.meant_ns;
        counted.answered += 1;
        counted.events += seen.events;
        counted.latency.add(latency);
        counted.lateness.add(seen.sent_ns - job.meant_ns);
        if let Some(first_ns) = seen.first_ns {
            counted.first.add(first_ns - job.meant_ns);
        }
        if let Some(between_ns) = seen.between_ns {
            counted.between.add(between_ns);
        }
        for (hist, values) in [
            (&mut counted.gap, &seen.gaps),
            (&mut counted.transit, &seen.transits),
            (&mut counted.added_gap, &seen.added),
        ] {
            values.iter().for_each(|&value| hist.add(value));
        }
        if self.load.targets.len() > 1 && counted.by_place.len() < PLACES_MAX {
            counted.by_place.push((job.nth, latency));
        }
        true
    }

    async fn ask_once(
        &self,
        job: Job,
        target: usize,
        sheets: &mut Sheets,
        kept: &mut Kept,
        seen: &mut Seen,
    ) -> Result<(), Flaw> {
        self.write_request(job, target, sheets);
        let mut wire = match kept.0.take() {
            Some(wire) => wire,
            None => self.connect(target).await?,
        };
        let exchanged = self.exchange(job, &mut wire, sheets, seen).await;
        let is_overdue = wire.deadline().fired().is_some();
        wire.deadline().clear();
        match exchanged {
            Ok(true) if !is_overdue && self.load.keep_alive => {
                kept.0 = Some(wire);
                return Ok(());
            }
            Ok(_) => wire.close().await,
            Err(flaw) => {
                wire.close().await;
                return Err(if is_overdue { "not answered in time".into() } else { flaw });
            }
        }
        Ok(())
    }

    async fn connect(&self, target: usize) -> Result<Wire, Flaw> {
        let target = &self.load.targets[target];
        let socket = match &target.address {
            Address::Ip(address) => rt::connect(*address, self.load.patience).await,
            Address::Unix(path) => rt::connect_unix(path, self.load.patience).await,
        };
        let socket = socket.map_err(|error| format!("cannot connect: {error}"))?;
        let wire = Wire::plain(socket, &self.watch);
        let Some((name, config)) = &target.tls else { return Ok(wire) };
        let session = Session::to(name, config).map_err(|error| format!("TLS: {error}"))?;
        wire.deadline().set(Wait::Tls, Instant::now() + self.load.patience);
        let (shaken, wire) = wire.handshake(session).await;
        wire.deadline().clear();
        match shaken {
            Ok(()) => Ok(wire),
            Err(error) => {
                wire.close().await;
                Err(format!("TLS: {error}").into())
            }
        }
    }

    /// Sends the request and reads the answer; whether the connection can be used again.
    async fn exchange(&self, job: Job, wire: &mut Wire, sheets: &mut Sheets, seen: &mut Seen) -> Result<bool, Flaw> {
        let limit = self.load.patience;
        let patience = Patience { wait: Wait::Send, headway: limit, whole: limit };
        let whole = 0..sheets.bytes.len();
        seen.sent_ns = now_ns();
        let (sent, bytes) = wire.send(std::mem::take(&mut sheets.bytes), whole, patience).await;
        sheets.bytes = bytes;
        sent.map_err(|error| format!("cannot send: {error}"))?;
        wire.deadline().set(Wait::Total, Instant::now() + limit);

        let (head, fields, bytes) = self.read_head(wire).await?;
        let framing = framing::of_response(&Method::POST, &head, &fields, &bytes).map_err(|kind| kind.message())?;
        let kind = fields.first(&bytes, Known::ContentType).unwrap_or_default();
        let is_stream = kind.starts_with(b"text/event-stream");
        let behind = head.len;
        sheets.payload.clear();
        let reader = BodyReader::response(framing.body);
        let mut body = Body { reader, payload: &mut sheets.payload, has_ended: false, overran: false };
        body.take(&bytes[behind..])?;
        // The room goes back to whom it came from.
        if !wire.is_reading() && wire.inbox().capacity() == 0 {
            *wire.inbox() = bytes;
            wire.inbox().clear();
        }
        match (head.status, is_stream, self.load.question.stream) {
            (200, true, true) => self.read_stream(job, wire, &mut body, seen).await?,
            (200, false, false) => self.read_whole(job, wire, &mut body, seen).await?,
            (200, _, true) => return Err("a stream was asked for, and none came".into()),
            (200, _, false) => return Err("a stream came that was not asked for".into()),
            (status, ..) => return Err(format!("status {status}").into()),
        }
        Ok(framing.reusable && !body.overran)
    }

    /// The head, and all bytes that have come: those behind it are the body's.
    async fn read_head(&self, wire: &mut Wire) -> Result<(ResponseHead, Fields, Vec<u8>), Flaw> {
        let (mut search, mut fields) = (Search::default(), Fields::default());
        loop {
            match wire.fill().await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err("the connection ended before the answer's head".into()),
            }
            let inbox = wire.inbox();
            let head = ResponseHead::parse(inbox, &mut search, &mut fields, &self.limits);
            if let Some(head) = head.map_err(|kind| kind.message())? {
                return Ok((head, fields, std::mem::take(inbox)));
            }
        }
    }

    async fn read_whole(&self, job: Job, wire: &mut Wire, body: &mut Body<'_>, seen: &mut Seen) -> Result<(), Flaw> {
        while !body.has_ended {
            body.fill(wire).await?;
        }
        let ended_ns = now_ns();
        let (Check::Stamped { .. } | Check::Exact { .. }) = &self.load.check else { return Ok(()) };
        let (stamp, place) = Stamp::find(body.payload).ok_or("an answer without a stamp")?;
        if stamp.ask != job.nth {
            return Err("the answer is another request's".into());
        }
        if let Check::Exact { before, after, .. } = &self.load.check {
            let is_exact = body.payload.len() == before.len() + STAMP_BYTES + after.len()
                && body.payload.starts_with(before)
                && &body.payload[place.end..] == after.as_slice();
            if !is_exact {
                return Err("the answer is not what the vendor sent".into());
            }
        }
        let (latency, vendors) = (ended_ns - seen.sent_ns, stamp.sent_ns.saturating_sub(stamp.received_ns));
        seen.between_ns = Some(latency.saturating_sub(vendors));
        Ok(())
    }

    async fn read_stream(&self, job: Job, wire: &mut Wire, body: &mut Body<'_>, seen: &mut Seen) -> Result<(), Flaw> {
        let (mut splitter, mut look) = (Splitter::new(), Look::new(self.load.targets[self.target_of(job)].dialect));
        let mut is_done = false;
        loop {
            let now = now_ns();
            let whole = splitter.advance(body.payload);
            for event in sse::events(&body.payload[..whole]) {
                is_done |= self.note_event(job, &event, &mut look, now, seen)?;
            }
            body.payload.drain(..whole);
            if body.has_ended {
                break;
            }
            body.fill(wire).await?;
        }
        match &self.load.check {
            _ if !is_done => Err("a stream that ended before its end".into()),
            Check::Stamped { events } | Check::Exact { events, .. } if seen.events != *events => {
                Err(format!("a stream of {} events instead of {events}", seen.events).into())
            }
            Check::Whole | Check::Stamped { .. } | Check::Exact { .. } => Ok(()),
        }
    }

    /// Whether the event says that the stream is at its end.
    fn note_event(
        &self,
        job: Job,
        event: &sse::Event<'_>,
        look: &mut Look,
        now: u64,
        seen: &mut Seen,
    ) -> Result<bool, Flaw> {
        let data = event.data.as_deref().unwrap_or_default();
        let found = Stamp::find(data);
        let (is_content, is_done) = match (&self.load.check, &found) {
            (Check::Stamped { .. } | Check::Exact { .. }, Some(_)) => (true, false),
            _ => {
                let looked = look.at(event);
                if looked.error.is_some() {
                    return Err("a stream that says that it failed".into());
                }
                (looked.content, looked.done)
            }
        };
        if !is_content {
            return Ok(is_done);
        }
        Progress::count(&self.progress.events);
        if seen.first_ns.is_none() {
            seen.first_ns = Some(now);
        } else {
            seen.gaps.push(now - seen.last_ns);
        }
        if let Some((stamp, _)) = found {
            if stamp.ask != job.nth {
                return Err("an event of another request's answer".into());
            }
            if stamp.nth != seen.events {
                return Err("events out of order".into());
            }
            seen.transits.push(now.saturating_sub(stamp.sent_ns));
            if stamp.nth == 0 {
                let vendors = stamp.sent_ns.saturating_sub(stamp.received_ns);
                seen.between_ns = Some((now - seen.sent_ns).saturating_sub(vendors));
            } else {
                let gap = stamp.sent_ns.saturating_sub(seen.last_sent_ns);
                seen.added.push((now - seen.last_ns).saturating_sub(gap));
            }
            seen.last_sent_ns = stamp.sent_ns;
        }
        seen.last_ns = now;
        seen.events += 1;
        Ok(is_done)
    }

    /// Writes the request, or only its number where the last was the same.
    fn write_request(&self, job: Job, target: usize, sheets: &mut Sheets) {
        let prompts = &self.load.question.prompts;
        let round = job.nth / self.load.targets.len() as u64;
        let prompt = (round % prompts.len() as u64) as usize;
        let question = &self.load.question;
        if sheets.of == Some((target, prompt)) {
            if question.is_numbered {
                Ask::renumber(&mut sheets.bytes, sheets.ask_at, job.nth);
            }
            return;
        }
        sheets.of = Some((target, prompt));
        let target = &self.load.targets[target];
        let mut body = Vec::with_capacity(KIB + prompts[prompt].len());
        body.extend_from_slice(b"{\"model\":");
        escape_into(&mut body, &target.model);
        if let Some(most) = question.tokens_max {
            body.extend_from_slice(format!(",\"max_tokens\":{most}").as_bytes());
        }
        body.extend_from_slice(b",\"messages\":[{\"role\":\"user\",\"content\":");
        let quoted_at = body.len();
        escape_into(&mut body, &prompts[prompt]);
        if question.is_numbered {
            // Behind the opening quote.
            let mut number = Vec::new();
            Ask { number: job.nth, wish: question.wish }.write(&mut number);
            number.push(b' ');
            body.splice(quoted_at + 1..quoted_at + 1, number);
        }
        body.extend_from_slice(b"}]");
        if question.stream {
            body.extend_from_slice(b",\"stream\":true");
        }
        body.push(b'}');

        let out = &mut sheets.bytes;
        out.clear();
        write::request_line(out, &Method::POST, "", &target.path);
        write::field(out, "host", &target.authority);
        write::field(out, "content-type", "application/json");
        write::field(out, "user-agent", concat!("kt-lab/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &target.fields {
            write::field(out, name, value);
        }
        if !self.load.keep_alive {
            write::field(out, "connection", "close");
        }
        write::number_field(out, "content-length", body.len() as u64);
        write::end(out);
        sheets.ask_at = out.len() + quoted_at + 1;
        out.extend_from_slice(&body);
    }
}

impl Body<'_> {
    fn take(&mut self, input: &[u8]) -> Result<(), Flaw> {
        let end = self.reader.collect(input, 0, self.payload).map_err(|kind| kind.message())?;
        self.has_ended = end.is_some();
        self.overran = end.is_some_and(|end| end < input.len());
        Ok(())
    }

    async fn fill(&mut self, wire: &mut Wire) -> Result<(), Flaw> {
        match poll_fn(|cx| wire.poll_fill(cx)).await {
            Ok(1..) => {
                self.take(wire.inbox())?;
                wire.inbox().clear();
                Ok(())
            }
            Ok(0) => {
                self.has_ended = true;
                self.reader.close().map_err(|_| "the connection ended within the answer".into())
            }
            Err(_) => Err("the connection broke within the answer".into()),
        }
    }
}
