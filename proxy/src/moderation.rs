//! Asking a model elsewhere what it says of a request, for policies of type `external_moderation`.
//!
//! Each question is a task of its own, which lives until it is answered or its time is up: its buffers are the kernel's
//! meanwhile, and whoever waits for the [`Outcome`] may stop waiting. One that blocks is waited for before any vendor is
//! asked; one that flags goes on beside the vendor, and the record stays open for it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use kt_core::config::plan::{Credential, Target};
use kt_core::dialect;
use kt_core::http1::body::BodyReader;
use kt_core::http1::framing;
use kt_core::http1::head::{Fields, ResponseHead, Search};
use kt_core::http1::write;
use kt_core::limits::{KIB, Limits, MODERATION_ANSWER_BYTES_MAX};
use kt_core::policy::external::{self, Question};
use kt_core::policy::{External, Findings};
use tracing::warn;

use crate::connect;
use crate::deadline::Wait;
use crate::outgoing::USER_AGENT;
use crate::pool::{self, Idle};
use crate::reload::LOG;
use crate::rt::{self, Either};
use crate::tls::Session;
use crate::wire::{Patience, Wire};
use crate::worker::{Lane, Serving, Worker};

/// What is going to be known of a question.
pub struct Outcome(Rc<RefCell<State>>);

#[derive(Default)]
enum State {
    #[default]
    Asked,
    Awaited(Waker),
    /// Nothing was found out if it failed.
    Known(Option<Findings>),
}

impl Outcome {
    /// Waits until it is known; nothing if the question failed. May be given up.
    pub async fn known(&self) -> Option<Findings> {
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if let State::Known(findings) = &*state {
                return Poll::Ready(*findings);
            }
            *state = State::Awaited(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// Begins to ask.
pub fn ask(worker: &Rc<Worker>, serving: &Serving, external: &External, question: Question) -> Outcome {
    let state = Rc::new(RefCell::new(State::Asked));
    let asking = Asking {
        worker: Rc::clone(worker),
        lane: worker.lane(serving, external.target),
        due: Instant::now() + Duration::from_millis(external.timeout_ms),
    };
    let (plan, target, told, panicked) =
        (serving.plan().clone(), external.target, Rc::clone(&state), Rc::clone(&state));
    let task = async move {
        let target = &plan.targets[target];
        let answered = asking.answer(target, &question, &plan.limits).await;
        let findings = answered.and_then(|body| {
            external::read(&body, question.texts).ok_or_else(|| invalid("its answer is no moderation"))
        });
        if let Err(why) = &findings {
            complain(&asking.worker, target, why);
        }
        tell(&told, findings.ok());
    };
    rt::spawn(task, move |_| tell(&panicked, None));
    Outcome(state)
}

fn tell(state: &RefCell<State>, findings: Option<Findings>) {
    let before = state.replace(State::Known(findings));
    if let State::Awaited(waker) = before {
        waker.wake();
    }
}

struct Asking {
    worker: Rc<Worker>,
    lane: Rc<Lane>,
    due: Instant,
}

impl Asking {
    /// Asks over an idle connection or a fresh one, and reads the answer's body.
    async fn answer(&self, target: &Target, question: &Question, limits: &Limits) -> io::Result<Vec<u8>> {
        let request = compose(target, question)?;
        let request = match self.lane.pool.take() {
            Some(idle) => match self.exchange(idle, request, limits).await {
                (Err(error), request) if is_stale(&error) => request,
                (answer, _) => return answer,
            },
            None => request,
        };
        let fresh = Idle { wire: self.connect(target).await?, born: Instant::now() };
        self.exchange(fresh, request, limits).await.0
    }

    async fn connect(&self, target: &Target) -> io::Result<Wire> {
        let base = &target.base;
        let resolving = rt::race(
            self.worker.names.resolve(&base.host, base.port),
            rt::sleep(self.due.saturating_duration_since(Instant::now())),
        );
        let addresses = match resolving.await {
            Either::Left(answer) => answer.map_err(|why| io::Error::other(why.to_string()))?,
            Either::Right(()) => return Err(io::ErrorKind::TimedOut.into()),
        };
        if !self.worker.makes_room_for_upstream() {
            return Err(io::Error::other("no descriptor is left for it"));
        }
        let wire = Wire::plain(connect::first(&addresses, self.due).await?, &self.worker.watch);
        let Some(tls) = &self.lane.tls else { return Ok(wire) };
        let session = Session::to(&base.host, tls)?;
        wire.deadline().set(Wait::Total, self.due);
        let (shaken, wire) = wire.handshake(session).await;
        match shaken {
            Ok(()) => Ok(wire),
            Err(error) => {
                pool::give_up(wire);
                Err(error)
            }
        }
    }

    /// One question over this connection. The request comes back, to be sent again if the connection was stale.
    async fn exchange(&self, idle: Idle, request: Vec<u8>, limits: &Limits) -> (io::Result<Vec<u8>>, Vec<u8>) {
        let Idle { mut wire, born } = idle;
        let left = self.due.saturating_duration_since(Instant::now());
        let patience = Patience { wait: Wait::Total, headway: left, whole: left };
        let whole = 0..request.len();
        let (sent, request) = wire.send(request, whole, patience).await;
        wire.deadline().set(Wait::Total, self.due);
        let answered = match sent {
            Ok(()) => read_answer(&mut wire, limits).await,
            Err(error) => Err(stale(error)),
        };
        let has_fired = wire.deadline().fired().is_some();
        match answered {
            Ok((body, true)) if !has_fired => {
                self.lane.pool.keep(Idle { wire, born }, limits);
                (Ok(body), request)
            }
            Ok((body, _)) => {
                pool::give_up(wire);
                (Ok(body), request)
            }
            Err(error) => {
                pool::give_up(wire);
                (Err(if has_fired { io::ErrorKind::TimedOut.into() } else { error }), request)
            }
        }
    }
}

fn compose(target: &Target, question: &Question) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(KIB + question.body.len());
    write::request_line(&mut out, &http::Method::POST, &target.base.prefix, external::PATH);
    write::field(&mut out, "host", &*target.base.authority);
    match &target.key {
        Credential::Key(key) => {
            let field = dialect::credential(target.provider.dialect());
            write::field(&mut out, field.name, [field.prefix, key.expose()].concat());
        }
        Credential::Missing => return Err(io::Error::other("it has no API key")),
        Credential::None => {}
    }
    write::field(&mut out, "user-agent", USER_AGENT);
    write::field(&mut out, "accept-encoding", "identity");
    write::field(&mut out, "content-type", "application/json");
    write::number_field(&mut out, "content-length", question.body.len() as u64);
    write::end(&mut out);
    out.extend_from_slice(&question.body);
    Ok(out)
}

/// The body of a good answer, and whether its connection may be used again.
async fn read_answer(wire: &mut Wire, limits: &Limits) -> io::Result<(Vec<u8>, bool)> {
    let (mut search, mut fields) = (Search::default(), Fields::default());
    let mut any = !wire.is_reading() && !wire.inbox().is_empty();
    let head = loop {
        if any {
            let parsed = ResponseHead::parse(wire.inbox(), &mut search, &mut fields, limits);
            match parsed.map_err(|_kind| invalid("its answer has no head that can be read"))? {
                Some(head) if (100..200).contains(&head.status) && head.status != 101 => {
                    wire.inbox().drain(..head.len);
                    any = !wire.inbox().is_empty();
                    continue;
                }
                Some(head) => break head,
                None => {}
            }
        }
        match wire.fill().await {
            Ok(1..) => any = true,
            Ok(0) if any => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => return Err(stale(io::ErrorKind::UnexpectedEof.into())),
            Err(error) if any => return Err(error),
            Err(error) => return Err(stale(error)),
        }
    };
    if head.status != 200 {
        return Err(io::Error::other(format!("it answers with status {}", head.status)));
    }
    let framing = framing::of_response(&http::Method::POST, &head, &fields, wire.inbox())
        .map_err(|_kind| invalid("how long its answer is can't be told"))?;
    wire.inbox().drain(..head.len);
    let (mut reader, mut reusable) = (BodyReader::response(framing.body), framing.reusable);
    let mut body = Vec::new();
    loop {
        let inbox = wire.inbox();
        let end = reader.collect(inbox, 0, &mut body).map_err(|_kind| invalid("its answer is cut wrongly"))?;
        reusable &= end.is_none_or(|end| end == inbox.len());
        inbox.clear();
        if end.is_some() {
            return Ok((body, reusable));
        }
        if body.len() > MODERATION_ANSWER_BYTES_MAX {
            return Err(invalid("its answer is too long"));
        }
        if wire.fill().await? == 0 {
            reader.close().map_err(|_kind| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            return Ok((body, false));
        }
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// What a connection says that had been closed before the question reached it.
fn stale(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::TimedOut => error,
        _ => io::Error::new(io::ErrorKind::ConnectionReset, error),
    }
}

fn is_stale(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}

/// Says once a minute that questions fail.
fn complain(worker: &Worker, target: &Target, why: &io::Error) {
    if worker.may_complain_of_moderation() {
        warn!(target: LOG, "The external moderation of target \"{}\" fails: {why}", target.id);
    }
}
