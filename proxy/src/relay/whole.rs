//! An answer that is no stream.

use kt_core::dialect::{self, Crossing, Naming, Wanted};
use kt_core::endpoint::Endpoint;
use kt_core::fault::{Fault, Kind, Phase};
use kt_core::json::{self, Value, Watch};
use kt_core::limits::KIB;
use kt_core::policy::Hearing;
use kt_core::tally::UsageSource;
use kt_core::witness;

use super::heading::{Framing, Heading, frame};
use crate::buffers;
use crate::upstream::{Answer, Company, More};

/// The fields of an answer that passes by which are looked at.
const WATCHED: [&str; 3] = ["usage", "model", "error"];
/// Longest value of one of them that is looked at.
const CAPTURE_BYTES_MAX: usize = 4 * KIB;

/// Passes a body as it comes. Of an answer to `watched` it is noted what it cost, and the failure that it tells of, if
/// it does so under a status of success.
pub(super) async fn pass(
    answer: &mut Answer,
    watched: Option<Endpoint>,
    heading: &Heading<'_>,
    hearing: Option<&mut Hearing<'_>>,
    company: &mut Company<'_>,
) -> Result<Option<Fault>, Fault> {
    let mut framing = match (answer.status(), answer.length()) {
        (204 | 304, _) => Framing::Nothing,
        (_, Some(length)) => Framing::Length(length),
        (_, None) => heading.framing_of_unknown_length(),
    };
    let mut payload = buffers::with_room(0);
    let mut more = answer.take_read(&mut payload)?;
    if payload.is_empty() && more == More::Yes {
        more = answer.read(&mut payload, company).await?;
    }
    // An answer that is judged is held until all of it is there.
    if let Some(hearing) = hearing.filter(|_| watched.is_some()) {
        let judged = match read_whole(answer, &mut payload, more, company).await {
            Ok(()) => {
                more = More::No;
                let judged = hearing.answer(&mut payload);
                if let Framing::Length(length) = &mut framing {
                    // Something may have been taken out.
                    *length = payload.len() as u64;
                }
                judged
            }
            // More than may be held: the rest passes unseen, if it may.
            Err(fault) if fault.kind == Kind::AnswerTooLarge => {
                more = More::Yes;
                hearing.fails(company.worker.fail_mode())
            }
            Err(fault) => return Err(fault),
        };
        company.heard(Some(hearing));
        judged?;
    }
    let mut out = heading.head_of(answer, None, framing, company);
    let mut watch = None;
    loop {
        company.record.answers(&payload);
        frame(&mut out, &payload, framing, more);
        if more == More::No {
            company.record.vendor_finished();
            let note = watched.and_then(|endpoint| account(endpoint, &payload, watch, company));
            buffers::give(payload);
            return company.pass_last(out, answer, note.as_ref()).await.map(|()| note);
        }
        if watched.is_some() {
            watch.get_or_insert_with(new_watch).push(&payload);
        }
        out = company.pass(out, answer.read_ns).await?;
        payload.clear();
        more = answer.read(&mut payload, company).await?;
    }
}

fn new_watch() -> Watch {
    Watch::new(&WATCHED, CAPTURE_BYTES_MAX)
}

/// Reads what is left of an answer.
async fn read_whole(
    answer: &mut Answer,
    payload: &mut Vec<u8>,
    mut more: More,
    company: &mut Company<'_>,
) -> Result<(), Fault> {
    while more == More::Yes {
        if payload.len() > company.limits.answer_bytes_max {
            return Err(Fault::new(Kind::AnswerTooLarge, Phase::Stream));
        }
        more = answer.read(payload, company).await?;
    }
    Ok(())
}

/// Notes what an answer said that ends with `last`, and returns the vendor's own failure. `watch` has seen what came
/// before; none if that was nothing, as for most: then nothing has to be remembered.
fn account(endpoint: Endpoint, last: &[u8], watch: Option<Watch>, company: &mut Company<'_>) -> Option<Fault> {
    if watch.is_none()
        && let Some(seen) = json::pick(last, WATCHED)
    {
        let seen = seen.map(|value| value.map(Value::raw).filter(|raw| raw.len() <= CAPTURE_BYTES_MAX));
        return note(endpoint, seen, company);
    }
    let mut watch = watch.unwrap_or_else(new_watch);
    watch.push(last);
    note(endpoint, WATCHED.map(|name| watch.captured(name)), company)
}

/// Notes the fields that are watched, and returns the vendor's own failure.
fn note(endpoint: Endpoint, [usage, model, error]: [Option<&[u8]>; 3], company: &mut Company<'_>) -> Option<Fault> {
    if let Some(usage) = usage.and_then(|raw| witness::usage(endpoint, raw)) {
        company.record.vendor_says_usage(usage);
    }
    let model = model.and_then(|raw| std::str::from_utf8(raw).ok());
    if let Some(model) = model.and_then(|raw| raw.strip_prefix('"')?.strip_suffix('"')) {
        company.record.vendor_says_model(model);
    }
    let failed = error.is_some_and(|raw| raw != b"null");
    failed.then(|| Fault::new(Kind::VendorErrorInAnswer, Phase::Stream))
}

/// Reads an answer or an error whole, and translates it.
pub(super) async fn translate(
    answer: &mut Answer,
    crossing: Crossing,
    wanted: Wanted,
    heading: &Heading<'_>,
    hearing: Option<&mut Hearing<'_>>,
    company: &mut Company<'_>,
) -> Result<(), Fault> {
    let mut payload = buffers::with_room(0);
    let more = answer.take_read(&mut payload)?;
    read_whole(answer, &mut payload, more, company).await?;
    company.record.vendor_finished();
    let mut body = buffers::with_room(payload.len() + KIB);
    if answer.status() < 400 {
        let id = company.draw_answer_id(heading.client);
        let naming = Naming { id: &id, created: company.worker.clock.unix_seconds(), model: &heading.chosen.arm.model };
        let said = dialect::translate_answer(crossing, &payload, &naming, wanted, &mut body)?;
        if said.usage_source != UsageSource::None {
            company.record.vendor_says_usage(said.usage);
        }
        if let Some(model) = &said.model {
            company.record.vendor_says_model(model);
        }
        if let Some(hearing) = hearing {
            let judged = hearing.answer(&mut body);
            company.heard(Some(hearing));
            judged?;
        }
    } else {
        dialect::translate_error(crossing, answer.status(), &payload, &mut body);
    }
    let mut out = heading.head_of(answer, Some("application/json"), Framing::Length(body.len() as u64), company);
    out.extend_from_slice(&body);
    company.record.answers(&body);
    buffers::give(body);
    buffers::give(payload);
    company.pass_last(out, answer, None).await
}
