//! The side that asks: one client's connection, its requests one after another, and how they are answered.
//!
//! It knows HTTP but no vendor, no policy and no route. A request is read whole before anybody else sees it.

use std::future::poll_fn;
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kt_core::config::plan::Chosen;
use kt_core::dialect::{self, Dialect};
use kt_core::fault::{Fault, Kind, Phase};
use kt_core::http1::body::BodyReader;
use kt_core::http1::framing::{self, RequestBody};
use kt_core::http1::head::{Fields, Known, RequestHead, Search, Version};
use kt_core::http1::write;
use kt_core::json::{Span, Value};
use kt_core::limits::{DISCARDED_BYTES_MAX, KIB, Limits, REQUEST_ID_BYTES_MAX};
use kt_core::route::Asked;
use kt_core::timing::Timing;

use crate::bodies::Share;
use crate::buffers;
use crate::clock;
use crate::deadline::Wait;
use crate::greeting;
use crate::relay::write_request_id;
use crate::wire::{Patience, Wire};

/// What of a request that was answered early is still read and thrown away, so that the answer isn't lost in a reset.
const LEFTOVER_BYTES_MAX: usize = 64 * KIB;
/// And for how long.
const LEFTOVER_WAIT: Duration = Duration::from_secs(1);

/// The field in which the official clients count their retries.
const RETRY_COUNT: &[u8] = b"x-stainless-retry-count";

/// A client's connection.
pub struct Client {
    wire: Wire,
    search: Search,
    /// Requests read from it so far.
    served: u64,
    answer_begun: bool,
    /// Whether the last byte of the answer waits, and that byte.
    holds_back: bool,
    held_back: Option<u8>,
}

/// A request, its head parsed; its body once [`Client::read_body`] has been through.
pub struct Request {
    /// The head, and behind it the body if that came by length.
    bytes: Vec<u8>,
    /// What the head says.
    pub head: RequestHead,
    fields: Fields,
    body: Body,
    /// Of a body that didn't come with its head.
    share: Share,
}

impl Drop for Request {
    fn drop(&mut self) {
        buffers::give(std::mem::take(&mut self.bytes));
        buffers::give_fields(std::mem::take(&mut self.fields));
    }
}

enum Body {
    /// In `bytes`, behind the head.
    Here(Range<usize>),
    /// It came in chunks, which have been taken out.
    Collected(Vec<u8>),
}

impl Request {
    /// The path of its target.
    pub fn path(&self) -> &[u8] {
        self.head.path(&self.bytes)
    }

    /// First value of a field the gateway knows.
    pub fn field(&self, name: Known) -> Option<&[u8]> {
        self.fields.first(&self.bytes, name)
    }

    /// The key it shows, if it shows one; see [`kt_core::clients::shown_key`].
    pub fn shown_key(&self) -> Option<&[u8]> {
        kt_core::clients::shown_key(&self.fields, &self.bytes)
    }

    /// Its fields that aren't about this connection, as (name, value).
    pub fn end_to_end(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        kt_core::http1::hop::end_to_end(&self.fields, &self.bytes)
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        match &self.body {
            Body::Here(range) => &self.bytes[range.clone()],
            Body::Collected(bytes) => bytes,
        }
    }

    /// Where units are looked for; `body` is where the body's object stands in it, `client` who asks.
    pub fn asked<'a>(&'a self, body: Span, client: Option<&'a str>) -> Asked<'a> {
        Asked { fields: &self.fields, head: &self.bytes, body: Value::at(self.body(), body), client }
    }

    /// Which retry this is, as the official clients say.
    pub fn retry_count(&self) -> Option<u16> {
        let mut fields = self.fields.iter(&self.bytes);
        let (_, count) = fields.find(|(name, _)| name.eq_ignore_ascii_case(RETRY_COUNT))?;
        std::str::from_utf8(count).ok()?.parse().ok()
    }

    /// Puts another body in the place of the one that was read.
    pub fn replace_body(&mut self, body: Vec<u8>) {
        self.body = Body::Collected(body);
    }

    /// Where the body begins in the buffer that [`Self::take_buffer`] gives.
    pub fn body_offset(&self) -> usize {
        match &self.body {
            Body::Here(range) => range.start,
            Body::Collected(_) => 0,
        }
    }

    /// Takes the buffer that holds the body, to be sent from. Give it back with [`Self::put_back`].
    pub fn take_buffer(&mut self) -> Vec<u8> {
        match &mut self.body {
            Body::Here(_) => std::mem::take(&mut self.bytes),
            Body::Collected(bytes) => std::mem::take(bytes),
        }
    }

    /// Gives back what [`Self::take_buffer`] took.
    pub fn put_back(&mut self, buffer: Vec<u8>) {
        match &mut self.body {
            Body::Here(_) => self.bytes = buffer,
            Body::Collected(bytes) => *bytes = buffer,
        }
    }

    /// Gives back the room that it doesn't fill: its answer may be long in coming.
    pub fn slim_down(&mut self) {
        match &mut self.body {
            Body::Here(_) => self.bytes.shrink_to_fit(),
            Body::Collected(bytes) => bytes.shrink_to_fit(),
        }
    }

    /// The client's own id of the request, if it can be taken over: 1 to 128 visible ASCII characters.
    pub fn own_id(&self) -> Option<&str> {
        let id = self.field(Known::RequestId)?;
        let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
        std::str::from_utf8(id).ok().filter(|_| fits)
    }

    /// Whether chunks can be sent to this client.
    pub fn takes_chunks(&self) -> bool {
        self.head.version == Version::Http11
    }
}

/// How long a body may take.
#[derive(Clone, Copy)]
struct Pace<'l> {
    began: Instant,
    limits: &'l Limits,
}

impl Pace<'_> {
    /// When more has to have come, behind the first `so_far` bytes.
    fn due(self, so_far: usize) -> Instant {
        self.began + Duration::from_millis(self.limits.body_ms) + slowest(so_far, self.limits)
    }
}

/// What `bytes` take at the slowest rate that is waited for.
fn slowest(bytes: usize, limits: &Limits) -> Duration {
    Duration::from_secs(bytes as u64 / limits.bytes_per_second_min)
}

/// What became of a body that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// It has been read; the next request follows.
    All,
    /// It is still under way, or a part of it is.
    Nothing,
}

/// What a connection brings next.
pub enum Next {
    /// A request whose head is understood.
    Request(Request),
    /// A head that can't be parsed; the connection is to be closed after the answer.
    Refused(Fault),
    /// No HTTP but the beginning of a TLS handshake, on a connection without TLS.
    WantsTls,
    /// Nothing: it ended, or idled too long.
    Closed,
}

impl Client {
    /// A fresh connection.
    pub fn new(wire: Wire) -> Self {
        Self { wire, search: Search::default(), served: 0, answer_begun: false, holds_back: false, held_back: None }
    }

    /// The connection itself.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Waits for the next request's head. A new connection's is due at once, that of a kept one when its first byte has
    /// come.
    pub async fn next(&mut self, limits: &Limits) -> Next {
        let head_limit = Duration::from_millis(limits.head_ms);
        let mut head_begun = self.served == 0 || (!self.wire.is_reading() && !self.wire.inbox().is_empty());
        if head_begun {
            self.wire.deadline().set(Wait::Head, clock::now() + head_limit);
        } else {
            let idle_limit = Duration::from_millis(limits.keep_alive_ms);
            self.wire.deadline().set(Wait::NextRequest, clock::lately() + idle_limit);
        }
        loop {
            // A read that is under way was begun with nothing in the inbox.
            if !self.wire.is_reading() && !self.wire.inbox().is_empty() {
                let mut fields = buffers::fields();
                match RequestHead::parse(self.wire.inbox(), &mut self.search, &mut fields, limits) {
                    Ok(Some(head)) => {
                        self.wire.deadline().clear();
                        self.served += 1;
                        self.answer_begun = false;
                        let bytes = std::mem::take(self.wire.inbox());
                        let body = Body::Here(head.len..head.len);
                        return Next::Request(Request { bytes, head, fields, body, share: Share::default() });
                    }
                    Ok(None) if !head_begun && self.wire.deadline().fired().is_none() => {
                        head_begun = true;
                        self.wire.deadline().set(Wait::Head, clock::lately() + head_limit);
                    }
                    Ok(None) => {}
                    Err(_) if self.served == 0 && !self.wire.is_tls() && greeting::wants_tls(self.wire.inbox()) => {
                        self.wire.deadline().clear();
                        return Next::WantsTls;
                    }
                    Err(kind) => {
                        self.wire.deadline().clear();
                        return Next::Refused(Fault::new(kind, Phase::Head));
                    }
                }
            }
            match self.wire.fill().await {
                Ok(0) | Err(_) => return self.ended_in_head(),
                Ok(_) => {}
            }
        }
    }

    fn ended_in_head(&mut self) -> Next {
        match self.wire.deadline().fired() {
            Some(Wait::Head) if !self.wire.inbox().is_empty() => {
                Next::Refused(Fault::new(Kind::HeadTooSlow, Phase::Head))
            }
            Some(_) | None => Next::Closed,
        }
    }

    /// Reads the body of `request` whole. It may take as long as its bytes so far take at the slowest rate that is
    /// waited for, and some time on top.
    ///
    /// # Errors
    ///
    /// The client's fault: framing, size, time, or that it left.
    pub async fn read_body(&mut self, request: &mut Request, limits: &Limits) -> Result<(), Fault> {
        let framing = framing::of_request(&request.head, &request.fields, &request.bytes, limits)
            .map_err(|kind| Fault::new(kind, Phase::Body))?;
        let start = request.head.len;
        let is_whole = match framing {
            RequestBody::None => true,
            RequestBody::Length(length) => (request.bytes.len() - start) as u64 >= length,
            RequestBody::Chunked => false,
        };
        if !is_whole && request.head.expects_continue && request.bytes.len() == start {
            self.send(write::CONTINUE.to_vec(), limits).await.0?;
        }
        let pace = Pace { began: clock::lately(), limits };
        match framing {
            RequestBody::None => self.take_by_length(request, 0, pace).await,
            RequestBody::Length(length) => {
                // The framing has held it against `body_bytes_max`.
                let length = usize::try_from(length).map_err(|_| Fault::new(Kind::BodyTooLarge, Phase::Body))?;
                self.take_by_length(request, length, pace).await
            }
            RequestBody::Chunked => self.take_chunks(request, pace).await,
        }
    }

    /// Reads the body of `request` and throws it away, for an answer that doesn't hang on it. A body that would take more
    /// than a moment is left: a large one, and one that the client holds back until it is told to go on.
    ///
    /// # Errors
    ///
    /// As [`Self::read_body`].
    pub async fn discard_body(&mut self, request: &mut Request, limits: &Limits) -> Result<Discarded, Fault> {
        let framing = framing::of_request(&request.head, &request.fields, &request.bytes, limits)
            .map_err(|kind| Fault::new(kind, Phase::Body))?;
        let is_left = match framing {
            RequestBody::None | RequestBody::Length(0) => false,
            RequestBody::Length(length) => length > DISCARDED_BYTES_MAX as u64 || request.head.expects_continue,
            RequestBody::Chunked => request.head.expects_continue,
        };
        if is_left {
            return Ok(Discarded::Nothing);
        }
        let small = Limits { body_bytes_max: limits.body_bytes_max.min(DISCARDED_BYTES_MAX), ..limits.clone() };
        match self.read_body(request, &small).await {
            Ok(()) => Ok(Discarded::All),
            Err(fault) if fault.kind == Kind::BodyTooLarge => Ok(Discarded::Nothing),
            Err(fault) => Err(fault),
        }
    }

    /// The body stays behind the head, where it was read to.
    async fn take_by_length(&mut self, request: &mut Request, length: usize, pace: Pace<'_>) -> Result<(), Fault> {
        let end = request.head.len + length;
        if request.bytes.len() < end {
            let bytes = std::mem::take(&mut request.bytes);
            *self.wire.inbox() = bytes;
            // Room for all of it, but only as some of it is there, since a length alone costs the client nothing. In large
            // steps: what is there is copied with each.
            while self.wire.inbox().len() < end {
                let inbox = self.wire.inbox();
                let missing = end - inbox.len();
                let room = missing.min((8 * inbox.len()).max(64 * KIB));
                inbox.reserve_exact(room);
                let so_far = inbox.len();
                request.share.grow(so_far, pace.limits)?;
                self.fill_body(pace.due(so_far)).await?;
            }
            request.bytes = std::mem::take(self.wire.inbox());
        }
        let behind = request.bytes.split_off(end);
        if !behind.is_empty() {
            *self.wire.inbox() = behind;
        }
        request.body = Body::Here(request.head.len..end);
        Ok(())
    }

    async fn take_chunks(&mut self, request: &mut Request, pace: Pace<'_>) -> Result<(), Fault> {
        let mut reader = BodyReader::request(RequestBody::Chunked, pace.limits);
        let mut body = Vec::new();
        *self.wire.inbox() = request.bytes.split_off(request.head.len);
        loop {
            let inbox = self.wire.inbox();
            let ended = reader.collect(inbox, 0, &mut body).map_err(|kind| Fault::new(kind, Phase::Body))?;
            match ended {
                Some(end) => {
                    inbox.drain(..end);
                    break;
                }
                None => inbox.clear(),
            }
            request.share.grow(body.len(), pace.limits)?;
            self.fill_body(pace.due(body.len())).await?;
        }
        request.body = Body::Collected(body);
        Ok(())
    }

    async fn fill_body(&mut self, due: Instant) -> Result<(), Fault> {
        self.wire.deadline().set(Wait::Body, due);
        let came = self.wire.fill().await;
        match (came, self.wire.deadline().fired()) {
            (_, Some(_)) => Err(Fault::new(Kind::BodyTooSlow, Phase::Body)),
            (Ok(0), None) => Err(Fault::new(Kind::BodyCutOff, Phase::Body)),
            (Err(_), None) => Err(Fault::new(Kind::ClientGone, Phase::Body)),
            (Ok(_), None) => {
                self.wire.deadline().clear();
                Ok(())
            }
        }
    }

    /// Waits until the client has gone; the end of its sending counts as that. A client that has sent more already
    /// isn't read further, and so isn't watched: its next request waits in the inbox, and the rest in the kernel. The
    /// wait may be given up.
    pub async fn gone(&mut self) {
        poll_fn(|cx| self.poll_gone(cx)).await;
    }

    /// As [`Self::gone`].
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.wire.is_reading() && !self.wire.inbox().is_empty() {
            return Poll::Pending;
        }
        match self.wire.poll_fill(cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(1..)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Sends all of `bytes` and gives the buffer back, empty.
    pub async fn send(&mut self, bytes: Vec<u8>, limits: &Limits) -> (Result<(), Fault>, Vec<u8>) {
        let range = 0..bytes.len();
        let headway = Duration::from_millis(limits.slow_reader_ms);
        let patience = Patience { wait: Wait::Reader, headway, whole: headway + slowest(bytes.len(), limits) };
        let (sent, mut bytes) = self.wire.send(bytes, range, patience).await;
        bytes.clear();
        let fired = self.wire.deadline().fired().and_then(Wait::fault);
        let (kind, phase) = fired.unwrap_or((Kind::ClientGone, Phase::Stream));
        // What the kernel says of a client that has gone (reset, broken pipe) adds nothing to that it has.
        (sent.map_err(|_| Fault::new(kind, phase)), bytes)
    }

    /// Sends a part of the answer; from now on a fault can't become an answer any more.
    pub async fn answer(&mut self, bytes: Vec<u8>, limits: &Limits) -> (Result<(), Fault>, Vec<u8>) {
        self.answer_begun = true;
        self.send(bytes, limits).await
    }

    /// Sends the last part of the answer; but for its last byte, if that is held back.
    pub async fn answer_last(&mut self, bytes: Vec<u8>, limits: &Limits) -> (Result<(), Fault>, Vec<u8>) {
        self.answer_begun = true;
        self.send_last(bytes, limits).await
    }

    async fn send_last(&mut self, mut bytes: Vec<u8>, limits: &Limits) -> (Result<(), Fault>, Vec<u8>) {
        if self.holds_back {
            self.held_back = bytes.pop();
        }
        if bytes.is_empty() { (Ok(()), bytes) } else { self.send(bytes, limits).await }
    }

    /// Whether the last byte of the next answer is to wait for [`Self::release`].
    pub fn hold_back(&mut self, holds_back: bool) {
        self.holds_back = holds_back;
        self.held_back = None;
    }

    /// Whether the last byte of the answer waits for [`Self::release`].
    pub fn holds_back(&self) -> bool {
        self.holds_back
    }

    /// Sends what was held back.
    ///
    /// # Errors
    ///
    /// The client has gone.
    pub async fn release(&mut self, limits: &Limits) -> Result<(), Fault> {
        self.holds_back = false;
        match self.held_back.take() {
            Some(byte) => self.send(vec![byte], limits).await.0,
            None => Ok(()),
        }
    }

    /// Whether the current request's answer has begun.
    pub fn answer_begun(&self) -> bool {
        self.answer_begun
    }

    /// Answers with a fault of ours, in the language of `dialect`, and says that the connection ends; `drawn` is the arm,
    /// if the request had one. Nothing is sent to a client that has gone.
    pub async fn refuse(
        &mut self,
        fault: &Fault,
        dialect: Dialect,
        request_id: Option<&str>,
        drawn: Option<Chosen<'_>>,
        timing: Option<Timing>,
        limits: &Limits,
    ) {
        if matches!(fault.kind, Kind::ClientGone | Kind::ClientTooSlow) {
            return;
        }
        let mut body = Vec::new();
        dialect::error_body(dialect, fault, &mut body);
        let mut out = Vec::with_capacity(body.len() + 256);
        write::status_line(&mut out, fault.kind.status());
        write::field(&mut out, "content-type", "application/json");
        write::number_field(&mut out, "content-length", body.len() as u64);
        if let Some(id) = request_id {
            write_request_id(&mut out, dialect, id);
        }
        if let Some(chosen) = &drawn {
            out.extend_from_slice(&chosen.arm.fields);
        }
        if let Some(timing) = timing {
            write::field(&mut out, "server-timing", timing.text());
        }
        if let Some(challenge) = fault.kind.challenge() {
            write::field(&mut out, "www-authenticate", challenge);
        }
        if let Some(seconds) = fault.kind.retry_after_seconds() {
            write::number_field(&mut out, "retry-after", seconds);
        }
        if !fault.kind.may_be_cured_by_a_retry() {
            write::field(&mut out, "x-should-retry", "false");
        }
        write::field(&mut out, "connection", "close");
        write::end(&mut out);
        out.extend_from_slice(&body);
        // A client that doesn't take its refusal has gone; the refusal stands either way.
        let _ = self.send_last(out, limits).await;
    }

    /// Ends the connection after an early answer: says that nothing more will come, and reads what is still under way,
    /// within bounds, so that the answer isn't lost in a reset (RFC 9112 section 9.6).
    pub async fn linger(mut self) {
        self.wire.half_close();
        self.wire.deadline().set(Wait::Leftover, clock::now() + LEFTOVER_WAIT);
        let mut left = LEFTOVER_BYTES_MAX;
        loop {
            match self.wire.fill().await {
                Ok(0) | Err(_) => break,
                Ok(came) if came >= left => break,
                Ok(came) => left -= came,
            }
            self.wire.inbox().clear();
        }
        self.wire.close().await;
    }

    /// Ends the connection as it is.
    pub async fn close(self) {
        self.wire.close().await;
    }

    /// Ends the connection by a reset, so that what was sent can't be taken for the whole answer.
    pub async fn abort(self) {
        self.wire.abort().await;
    }
}
