//! One request's whole journey: read, parse, judge, select, translate, forward, translate back, account, record.
//!
//! Start here. [`serve`] lives as long as a client's connection. For each request to a model endpoint it opens a record,
//! has [`exchange`] answer it, concludes what `exchange` could not, and closes the record: one way in, one way out, so
//! each admitted request has exactly one event. Every `?` is a [`Fault`].

use std::pin::pin;
use std::rc::Rc;

use kt_core::ask::{self, Ask};
use kt_core::config::plan::{Credential, Durability, Plan};
use kt_core::dialect::Dialect;
use kt_core::endpoint::Endpoint;
use kt_core::event::WhenFull;
use kt_core::fault::{Fault, Kind, Phase};
use kt_core::http1::head::Known;
use kt_core::json::Value;
use kt_core::limits::Limits;
use kt_core::policy::{self, Action, Hearing, Judgement, Judging};
use kt_core::record::Record;
use kt_core::route;
use kt_core::tally;

use crate::client::{Client, Discarded, Next, Request};
use crate::endpoint::{self, Local, Purpose};
use crate::greeting;
use crate::ledger::Slot;
use crate::moderation::{self, Outcome};
use crate::outgoing::{self, Composed};
use crate::relay::{self, Heading, Relayed};
use crate::rt;
use crate::upstream::{self, Company};
use crate::wire::Wire;
use crate::worker::{Held, Serving, Worker, count};

/// What becomes of a client's connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// It waits for the next one.
    Next,
    /// It is closed; everything that was asked has been read.
    Close,
    /// It is closed when what is still under way has been thrown away: the answer came early.
    Linger,
    /// It is reset: the answer is torn, and must not look whole.
    Abort,
}

/// Serves a client's connection to its end.
pub async fn serve(worker: &Rc<Worker>, wire: Wire) {
    let mut client = Client::new(wire);
    let after = loop {
        let limits = worker.serving().plan().limits.clone();
        let after = match client.next(&limits).await {
            Next::Request(request) => answer(worker, &mut client, request).await,
            Next::Refused(fault) => {
                count(&worker.counters.refused_heads);
                // Whoever asks what can't be read has no language of which we know.
                Box::pin(client.refuse(&fault, Dialect::OpenAi, None, None, None, &limits)).await;
                After::Linger
            }
            Next::WantsTls => {
                Box::pin(greeting::refuse_tls(worker, &mut client, &limits)).await;
                After::Linger
            }
            Next::Closed => After::Close,
        };
        if after != After::Next {
            break after;
        }
    };
    match after {
        After::Next | After::Close => client.close().await,
        After::Linger => client.linger().await,
        After::Abort => client.abort().await,
    }
}

/// Answers one request: of a model endpoint by an exchange, of the gateway's own paths directly.
async fn answer(worker: &Rc<Worker>, client: &mut Client, request: Request) -> After {
    let serving = worker.serving();
    match endpoint::of(&request.head.method, request.path()) {
        Purpose::Model(endpoint) => {
            let _held = worker.admits();
            admit(worker, &serving, client, request, endpoint).await
        }
        Purpose::Local(local) => {
            count(&worker.counters.others);
            Box::pin(answer_locally(worker, &serving, client, request, local)).await
        }
    }
}

/// One admitted request: its record is opened and closed here and nowhere else.
async fn admit(
    worker: &Rc<Worker>,
    serving: &Rc<Serving>,
    client: &mut Client,
    mut request: Request,
    endpoint: Endpoint,
) -> After {
    let limits = &serving.plan().limits;
    let request_id = request.own_id().map_or_else(|| worker.draw_request_id(), Into::into);
    let events = &serving.plan().events;
    let slot = match worker.reserve() {
        Some(slot) => Some(slot),
        None => Box::pin(worker.await_slot(events.when_full)).await,
    };
    client.hold_back(slot.is_some() && events.durability == Durability::Synced);
    if slot.is_none() && events.when_full == WhenFull::Shed {
        // The one request without a record of its own: it is counted in the log's next `gap`.
        let fault = Fault::new(Kind::LogFull, Phase::Head);
        Box::pin(client.refuse(&fault, endpoint.dialect(), Some(&request_id), None, None, limits)).await;
        return After::Linger;
    }
    let mut record = Record::begin(endpoint.path(), request_id, worker.core);
    let plan = serving.plan();
    let mut questions = Vec::new();
    let mut company =
        Company { worker, client, record: &mut record, questions: &mut questions, slot: slot.as_ref(), plan, limits };
    let outcome = {
        let exchange = pin!(exchange(serving, endpoint, &mut request, &mut company));
        rt::caught(exchange).await
    };
    let outcome = outcome.unwrap_or_else(|_panic| {
        // Our own broken promise; the panic hook has said where.
        count(&worker.counters.panics);
        Err(Fault::new(Kind::Internal, Phase::Total))
    });
    let (after, status, fault) = conclude(&mut company, endpoint, &request, outcome).await;
    let ended_ns = worker.lately_ns();
    let (of_worker, serving) = (Rc::clone(worker), Rc::clone(serving));
    let ending = Ending { ended_ns, worker: of_worker, serving, slot, record, status, fault, questions };
    if client.holds_back() {
        let number = Box::pin(ending.file()).await;
        return Box::pin(release(worker, client, number, after, limits)).await;
    }
    match ending.questions.is_empty() {
        true => drop(ending.close()),
        false => ending.file_later(),
    }
    after
}

/// A request that has ended, and whose record is to be closed.
struct Ending {
    worker: Rc<Worker>,
    serving: Rc<Serving>,
    slot: Option<Slot>,
    record: Record,
    status: u16,
    fault: Option<Fault>,
    ended_ns: u64,
    questions: Vec<(u32, Outcome)>,
}

impl Ending {
    /// Closes the record; returns its number in the log.
    fn close(self) -> Option<u64> {
        let event = self.record.close(self.status, self.fault.as_ref(), self.ended_ns);
        self.worker.emit(self.slot, &event, &self.serving)
    }

    /// The same once every question has its answer, which has a time of its own.
    async fn file(mut self) -> Option<u64> {
        for (nth, outcome) in std::mem::take(&mut self.questions) {
            let found = outcome.known().await;
            let policies = &self.serving.plan().policies;
            let Judgement { verdict, results, .. } =
                policy::judge_externally(policies, nth, found.as_ref(), self.worker.fail_mode());
            self.record.judged_further(verdict, &results);
        }
        self.close()
    }

    /// The same without anybody waiting: the client has its answer, and may ask again meanwhile.
    fn file_later(self) {
        let (worker, panicked) = (Rc::clone(&self.worker), Rc::clone(&self.worker));
        // The request is under way until it has its record; a drain waits for it.
        count(&worker.counters.in_flight);
        let task = async move {
            let _held = Held::taken_over(&worker.counters.in_flight);
            self.file().await;
        };
        rt::spawn(task, move |_| count(&panicked.counters.panics));
    }
}

/// Sends the last byte of an answer, once its record is on the disk.
async fn release(worker: &Worker, client: &mut Client, number: Option<u64>, after: After, limits: &Limits) -> After {
    let is_durable = match number {
        Some(number) => worker.durable(number).await,
        None => false,
    };
    if is_durable && client.release(limits).await.is_ok() { after } else { After::Abort }
}

/// The nine verbs.
async fn exchange(
    serving: &Serving,
    endpoint: Endpoint,
    request: &mut Request,
    company: &mut Company<'_>,
) -> Result<Relayed, Fault> {
    let (worker, plan, limits) = (company.worker, serving.plan(), company.limits);

    // Read.
    let client = identify(plan, request)?;
    company.record.asked_by(client, request.retry_count());
    check_head(worker, request, limits)?;
    company.client.read_body(request, limits).await?;
    company.record.read_whole(worker.now_ns());
    if plan.events.bodies {
        company.record.keep_bodies(request.shown_key());
        company.record.asks(request.body());
    }

    // Parse.
    let mut ask = ask::read(endpoint, request.body(), &mut worker.scratch.borrow_mut())?;
    company.record.wants_stream(ask.stream);

    // Judge.
    let route = route::find(plan, &ask.model)?;
    endpoint.check(plan, route)?;
    let group = &plan.groups[route.group()].name;
    if !plan.policies.is_empty() {
        if let Some(redacted) = Box::pin(judge(plan, group, &ask, request, company)).await? {
            request.replace_body(redacted);
            company.record.asks(request.body());
            ask = ask::read(endpoint, request.body(), &mut worker.scratch.borrow_mut())?;
        }
        // What was taken out is nobody else's business either.
        Box::pin(moderate(serving, group, &ask, request, company)).await?;
    }

    // Select.
    let asked = request.asked(ask.body, client.and_then(|client| plan.client(client)));
    let unit = route::find_unit(&plan.groups[route.group()], &asked);
    let drawn = worker.select(serving, route, unit.as_ref());
    let chosen = plan.arm(drawn.group, drawn.arm);
    company.record.assigned(&drawn, chosen.arm.prices());
    let target = chosen.target;
    match &target.key {
        Credential::Missing => {
            return Err(Fault::with(Kind::TargetUnavailable, Phase::Connect, format!("target {}", target.id)));
        }
        Credential::Key(secret) => company.record.keep_secret(secret.expose().as_bytes()),
        Credential::None => {}
    }

    // Translate.
    let Composed { outgoing, mode, report } = outgoing::compose(target, chosen.arm, &ask, request)?;
    company.record.translated(report);

    // Forward.
    let lane = worker.lane(serving, chosen.arm.target);
    if ask.stream {
        company.client.wire().slim_down();
    }
    let compose = |request: &Request| outgoing::compose(target, chosen.arm, &ask, request).map(|again| again.outgoing);
    let answer = upstream::ask(&lane, target, request, outgoing, &compose, company).await?;
    if ask.stream {
        request.slim_down();
    }

    // Translate back, and account.
    let meters = worker.meters(serving, &drawn);
    let (client, keep_alive) = (endpoint.dialect(), keeps_alive(worker, request));
    let heading = Heading { chosen, meters, to: request, client, keep_alive };
    let mut hearing = Hearing::begin(&plan.policies, plan.knowledge.as_deref(), group).map(Box::new);
    let relayed = relay::answer(answer, mode, &heading, hearing.as_deref_mut(), &lane, company).await;
    company.heard(hearing.as_deref());
    if !matches!(relayed, Ok(Relayed { note: None, .. })) {
        company.record.asked_with(ask.inputs(request.body()).map(tally::words).sum());
    }
    relayed
}

/// Which client asks. Where the config lists none, whoever reaches the port may.
fn identify(plan: &Plan, request: &Request) -> Result<Option<usize>, Fault> {
    let Some(clients) = &plan.clients else { return Ok(None) };
    let client = request.shown_key().and_then(|key| clients.whose(key));
    client.map(Some).ok_or(Fault::new(Kind::InvalidApiKey, Phase::Head))
}

/// What else can be refused before the body is read.
fn check_head(worker: &Worker, request: &Request, limits: &Limits) -> Result<(), Fault> {
    if worker.counters.in_flight.get() > limits.in_flight_max as u64 {
        return Err(Fault::new(Kind::Overloaded, Phase::Head));
    }
    match request.field(Known::ContentEncoding) {
        Some(coding) if !coding.eq_ignore_ascii_case(b"identity") => {
            Err(Fault::new(Kind::BodyContentCoded, Phase::Head))
        }
        Some(_) | None => Ok(()),
    }
}

/// Judges a request; gives the body that is to be passed on instead, if something was taken out of it.
async fn judge(
    plan: &Plan,
    group: &str,
    ask: &Ask,
    request: &Request,
    company: &mut Company<'_>,
) -> Result<Option<Vec<u8>>, Fault> {
    let body = request.body();
    let scan = company.worker.scans.borrow_mut().pop().unwrap_or_default();
    let known = plan.knowledge.as_deref();
    let mut judging = Judging::begin(&plan.policies, known, group, body, Value::at(body, ask.body), scan);
    while !judging.advance() {
        rt::give_way().await;
    }
    let (judgement, scan) = judging.conclude();
    company.worker.scans.borrow_mut().push(scan);
    company.record.judged(judgement.verdict, judgement.results);
    match judgement.blocked {
        Some(fault) => Err(fault),
        None => Ok(judgement.redacted),
    }
}

/// Has models elsewhere judge a request that has passed so far. Those that may refuse it are waited for.
async fn moderate(
    serving: &Serving,
    group: &str,
    ask: &Ask,
    request: &Request,
    company: &mut Company<'_>,
) -> Result<(), Fault> {
    let policies = &serving.plan().policies;
    let body = request.body();
    let mut awaited = Vec::new();
    for (nth, policy, external) in policy::external(policies, group) {
        let question = external.question(body, Value::at(body, ask.body));
        let outcome = question.map(|question| moderation::ask(company.worker, serving, external, question));
        match (policy.action, outcome) {
            (Action::Flag | Action::Redact, Some(outcome)) => company.questions.push((nth, outcome)),
            (Action::Block, outcome) | (_, outcome @ None) => awaited.push((nth, outcome)),
        }
    }
    for (nth, outcome) in awaited {
        let found = match outcome {
            Some(outcome) => company.unless_gone(Phase::Body, outcome.known()).await?,
            None => None,
        };
        let judgement = policy::judge_externally(policies, nth, found.as_ref(), company.worker.fail_mode());
        company.record.judged_further(judgement.verdict, &judgement.results);
        judgement.blocked.map_or(Ok(()), Err)?;
    }
    Ok(())
}

fn keeps_alive(worker: &Worker, request: &Request) -> bool {
    request.head.keep_alive && !worker.is_draining()
}

/// Tells the client what `exchange` could not, and says what the record is to say.
async fn conclude(
    company: &mut Company<'_>,
    endpoint: Endpoint,
    request: &Request,
    outcome: Result<Relayed, Fault>,
) -> (After, u16, Option<Fault>) {
    let Company { worker, client, record, questions: _, slot, plan, limits } = company;
    match outcome {
        Ok(Relayed { status, note }) if keeps_alive(worker, request) => (After::Next, status, note),
        Ok(Relayed { status, note }) => (After::Close, status, note),
        Err(fault) if client.answer_begun() => (After::Abort, fault.kind.status(), Some(fault)),
        Err(fault) => {
            record.refuses();
            worker.draft(*slot, record, fault.kind.status(), Some(&fault), plan);
            let drawn = record.drawn().map(|(group, arm)| plan.arm(group, arm));
            let (dialect, timing) = (endpoint.dialect(), Some(record.timing(worker.now_ns())));
            Box::pin(client.refuse(&fault, dialect, Some(record.request_id()), drawn, timing, limits)).await;
            let after = if fault.kind.status() == 499 { After::Close } else { After::Linger };
            (after, fault.kind.status(), Some(fault))
        }
    }
}

/// Answers what the gateway says of itself. A body is of no use to it, but has to be a good one all the same.
async fn answer_locally(
    worker: &Worker,
    serving: &Serving,
    client: &mut Client,
    mut request: Request,
    local: Local,
) -> After {
    let limits = &serving.plan().limits;
    let dialect = endpoint::dialect_of(&request);
    let (reply, keeps) = match (local, identify(serving.plan(), &request)) {
        // The models are for those who may ask them.
        (Local::Models, Err(fault)) => (endpoint::refusal(&fault, dialect), false),
        _ => match client.discard_body(&mut request, limits).await {
            Ok(discarded) => {
                let keeps = discarded == Discarded::All && keeps_alive(worker, &request);
                (endpoint::reply(local, dialect, worker, serving.plan()), keeps)
            }
            Err(fault) => {
                client.refuse(&fault, dialect, None, None, None, limits).await;
                return After::Linger;
            }
        },
    };
    let out = reply.write(&request.head.method, keeps);
    match (client.send(out, limits).await.0, keeps) {
        (Ok(()), true) => After::Next,
        (Ok(()), false) => After::Linger,
        (Err(_gone), _) => After::Close,
    }
}
