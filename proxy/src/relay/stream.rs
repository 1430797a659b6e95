//! An answer that is a stream: event by event, as it is or translated.

use kt_core::dialect::{self, Dialect, Naming, Translator};
use kt_core::fault::{Fault, Kind, Phase};
use kt_core::policy::Hearing;
use kt_core::record::Record;
use kt_core::sse::{self, Event, Splitter};
use kt_core::tally::UsageSource;
use kt_core::witness::{End, Witness};

use super::heading::{Framing, Heading, frame};
use super::{Mode, Way};
use crate::buffers;
use crate::clock;
use crate::meters::SharedMeters;
use crate::upstream::{Answer, Company, More};

/// What the events of a stream go through.
enum Course {
    /// They pass as they are, looked at from beside. The usage chunk is left out if that is so.
    AsItIs { witness: Box<Witness>, removes_usage_chunk: bool },
    /// They are read in the vendor's language and written in the client's.
    Translated(Box<Translator>),
}

/// Passes a stream, whole events at a time, to its end. Returns the vendor's own failure, if it told one and the client
/// has seen it as it was told.
///
/// # Errors
///
/// Why the answer is torn. The client has been told so; its connection is to be aborted.
pub(super) async fn pass(
    answer: &mut Answer,
    mode: Mode,
    heading: &Heading<'_>,
    mut hearing: Option<&mut Hearing<'_>>,
    company: &mut Company<'_>,
) -> Result<Option<Fault>, Fault> {
    let mut holds_back = hearing.as_ref().is_some_and(|hearing| hearing.holds_back());
    let framing = heading.framing_of_unknown_length();
    let mut course = Course::new(mode, heading, company);
    let mut events = Events::default();
    let mut out = heading.head_of(answer, course.content_type(), framing, company);
    let mut body = Vec::new();
    let mut more = answer.take_read(&mut events.bytes)?;
    answer.slim_down();
    loop {
        let mut went = course.run(&mut events, &mut body, &mut hearing, answer.read_ns, &heading.meters, company);
        if went.is_ok() && more == More::No {
            let written = body.len();
            went = course.end(&events.bytes, heading.client, &mut body, company.record);
            if let (Ok(()), Some(hearing)) = (&went, &mut hearing) {
                went = hear(hearing, &mut body, written, End::Over);
            }
        }
        match &went {
            // Nothing of it has been sent, so the client is told as of any other refusal.
            Err(_) if holds_back => return went.map(|()| None),
            Err(fault) if fault.kind == Kind::AnswerBlockedByPolicy => {
                dialect::error_event(heading.client, fault, &mut body);
            }
            Err(_) | Ok(()) => {}
        }
        company.record.answers(&body);
        // A torn answer doesn't get its end.
        frame(&mut out, &body, framing, if went.is_ok() { more } else { More::Yes });
        body.clear();
        if went.is_ok() && (more == More::No || course.has_come_to() == End::Over) {
            company.heard(hearing.as_deref());
        }
        if went.is_ok() && more == More::No {
            let note = course.failure();
            return company.pass_last(out, answer, note.as_ref()).await.map(|()| note);
        }
        if went.is_ok() && course.has_come_to() == End::Over {
            // Many a client looks no further.
            company.draft(answer, None);
        }
        if let Some(hearing) = &mut hearing
            && holds_back
            && out.len() > company.limits.answer_bytes_max
        {
            // More than may be held: the rest passes unseen, if it may.
            hearing.fails(company.worker.fail_mode())?;
            holds_back = false;
        }
        if !out.is_empty() && !holds_back {
            out = company.pass(out, answer.read_ns).await?;
        }
        went?;
        // While it waits, a stream holds only what it can't do without: others have use for the rest, and find it warm.
        for room in [&mut out, &mut body, &mut events.bytes] {
            buffers::lend(room);
        }
        let read = match events.bytes.len() > company.limits.sse_event_bytes_max {
            true => Err(Fault::new(Kind::AnswerTooLarge, Phase::Stream)),
            false => answer.read(&mut events.bytes, company).await,
        };
        more = match read {
            Ok(more) => more,
            // What is held back has not been judged.
            Err(fault) if holds_back && course.has_come_to() != End::Over => return Err(fault),
            Err(fault) => match course.has_come_to() {
                // All has been said: what becomes of the connections now takes nothing away.
                End::Over => return conclude(fault, out, framing, answer, company).await.map(|()| None),
                End::Failed => return Err(course.failure().unwrap_or(fault)),
                End::Open | End::Stopped => return Err(tell_torn(fault, heading.client, out, framing, company).await),
            },
        };
    }
}

impl Course {
    fn new(mode: Mode, heading: &Heading<'_>, company: &Company<'_>) -> Self {
        match mode.way {
            Way::AsItIs { removes_usage_chunk } => {
                Self::AsItIs { witness: Box::new(Witness::of(mode.endpoint)), removes_usage_chunk }
            }
            Way::Translated(crossing, wanted) => {
                let id = company.draw_answer_id(heading.client);
                let created = company.worker.clock.unix_seconds();
                let naming = Naming { id: &id, created, model: &heading.chosen.arm.model };
                Self::Translated(Box::new(Translator::new(crossing, &naming, wanted)))
            }
        }
    }

    /// The type of what comes out, where it isn't the vendor's own.
    const fn content_type(&self) -> Option<&'static str> {
        match self {
            Self::AsItIs { .. } => None,
            Self::Translated(_) => Some("text/event-stream"),
        }
    }

    /// Passes the events that have become whole, and accounts for them.
    fn run(
        &mut self,
        events: &mut Events,
        body: &mut Vec<u8>,
        hearing: &mut Option<&mut Hearing<'_>>,
        read_ns: u64,
        meters: &SharedMeters,
        company: &mut Company<'_>,
    ) -> Result<(), Fault> {
        let mut went = Ok(());
        for event in events.whole() {
            let written = body.len();
            match self.push(&event, body) {
                Ok(true) => company.count_content(read_ns, meters),
                Ok(false) => {}
                Err(fault) => {
                    went = Err(fault);
                    break;
                }
            }
            if let Some(hearing) = hearing
                && let Err(fault) = hear(hearing, body, written, self.has_come_to())
            {
                went = Err(fault);
                break;
            }
        }
        events.forget_whole();
        self.account(company.record);
        went
    }

    /// Passes one event: every piece of a streamed answer comes through here. Returns whether it was one.
    fn push(&mut self, event: &Event<'_>, body: &mut Vec<u8>) -> Result<bool, Fault> {
        match self {
            Self::AsItIs { witness, removes_usage_chunk } => {
                let seen = witness.see(event);
                if !(seen.usage_chunk && *removes_usage_chunk) {
                    body.extend_from_slice(event.raw);
                }
                Ok(seen.content)
            }
            Self::Translated(translator) => translator.push(event, body).map(|note| note.content),
        }
    }

    /// The vendor has closed in order, behind `rest`, which is no whole event. What counts is whether it had said that it
    /// was done: the end of a connection is no end of an answer, and clients would take it for one.
    fn end(&mut self, rest: &[u8], client: Dialect, body: &mut Vec<u8>, record: &mut Record) -> Result<(), Fault> {
        let written = body.len();
        let last = Event::read(rest);
        match self {
            // Whatever stands behind the end passes too: it is the vendor's.
            Self::AsItIs { witness, .. } => {
                if witness.end() == End::Open {
                    witness.see(&last);
                }
                body.extend_from_slice(rest);
            }
            // The blank line behind the last event may be missing.
            Self::Translated(translator) if !translator.is_finished() => {
                match translator.push(&last, body) {
                    Err(fault) if fault.kind == Kind::VendorErrorInStream => return Err(fault),
                    // What is cut off in its middle says nothing.
                    Err(_) => body.truncate(written),
                    Ok(_) => {}
                }
                translator.conclude(body);
            }
            Self::Translated(_) => {}
        }
        self.account(record);
        match self.has_come_to() {
            End::Over | End::Stopped => record.vendor_finished(),
            End::Failed => {}
            End::Open => {
                body.truncate(written);
                let fault = Fault::new(Kind::AnswerTorn, Phase::Stream);
                dialect::error_event(client, &fault, body);
                return Err(fault);
            }
        }
        Ok(())
    }

    fn has_come_to(&self) -> End {
        match self {
            Self::AsItIs { witness, .. } => witness.end(),
            Self::Translated(translator) if translator.is_finished() => End::Over,
            Self::Translated(_) => End::Open,
        }
    }

    /// What the vendor said of its own failure, where the client sees it as it was said.
    fn failure(&self) -> Option<Fault> {
        (self.has_come_to() == End::Failed).then(|| Fault::new(Kind::VendorErrorInStream, Phase::Stream))
    }

    /// Notes what the vendor has said up to now.
    fn account(&self, record: &mut Record) {
        let (model, (usage, source)) = match self {
            Self::AsItIs { witness, .. } => (witness.model(), witness.usage()),
            Self::Translated(translator) => (translator.model(), translator.usage()),
        };
        if let Some(model) = model {
            record.vendor_says_model(model);
        }
        match source {
            UsageSource::Provider | UsageSource::Partial => record.vendor_says_usage(usage),
            UsageSource::Estimated => record.estimates_usage(usage),
            UsageSource::None => {}
        }
    }
}

/// Has the events judged that stand in `body` from `written` on; with the last one, everything. What says too much doesn't
/// pass.
fn hear(hearing: &mut Hearing<'_>, body: &mut Vec<u8>, written: usize, come_to: End) -> Result<(), Fault> {
    let passed = hearing.pass(body, written);
    // What judging takes is ours, and not the client's wait.
    clock::time_has_passed();
    passed?;
    match come_to {
        // Of several choices, others may go on.
        End::Open | End::Stopped => Ok(()),
        End::Over | End::Failed => hearing.end(body).inspect_err(|_| body.truncate(written)),
    }
}

/// Ends an answer that is whole, though its vendor's connection broke behind it or the client has closed already.
async fn conclude(
    fault: Fault,
    mut out: Vec<u8>,
    framing: Framing,
    answer: &Answer,
    company: &mut Company<'_>,
) -> Result<(), Fault> {
    company.record.vendor_finished();
    if fault.kind != Kind::ClientGone {
        frame(&mut out, b"", framing, More::No);
        company.draft(answer, None);
        company.client.answer_last(out, company.limits).await.0?;
    }
    Ok(())
}

/// Tells a client in mid-stream that nothing more will come. The connection is aborted behind it.
async fn tell_torn(
    fault: Fault,
    client: Dialect,
    mut out: Vec<u8>,
    framing: Framing,
    company: &mut Company<'_>,
) -> Fault {
    if fault.kind != Kind::ClientGone {
        let mut event = Vec::new();
        dialect::error_event(client, &fault, &mut event);
        frame(&mut out, &event, framing, More::Yes);
        // A client that can't be told sees the abort.
        let _ = company.client.answer(out, company.limits).await;
    }
    fault
}

/// Bytes of a stream, and which of them are whole events.
#[derive(Default)]
struct Events {
    bytes: Vec<u8>,
    splitter: Splitter,
    whole: usize,
}

impl Drop for Events {
    fn drop(&mut self) {
        buffers::give(std::mem::take(&mut self.bytes));
    }
}

impl Events {
    /// The events that have become whole.
    fn whole(&mut self) -> impl Iterator<Item = sse::Event<'_>> {
        self.whole = self.splitter.advance(&self.bytes);
        sse::events(&self.bytes[..self.whole])
    }

    /// Drops those that [`Self::whole`] gave.
    fn forget_whole(&mut self) {
        self.bytes.drain(..self.whole);
        self.whole = 0;
    }
}
