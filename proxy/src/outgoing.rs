//! The request as it goes to a vendor: a head written afresh from the allow-list, and the body, edited in place or
//! translated.
//!
//! A small body is copied behind its head, so that one call sends both. A large one stays where the client's bytes are,
//! and goes out around its edits.

use kt_core::ask::{Ask, Piece};
use kt_core::config::plan::{Arm, Credential, Target};
use kt_core::dialect::{self, Crossing, Recipient, Report, Translated};
use kt_core::endpoint::Endpoint;
use kt_core::fault::Fault;
use kt_core::http1::head::Known;
use kt_core::http1::write;
use kt_core::limits::{COPY_BYTES_MAX, KIB};

use crate::buffers;
use crate::client::Request;
use crate::relay::{Mode, VIA, Way};
use crate::upstream::{Origin, Outgoing};

/// Who asks, where the client doesn't say.
pub const USER_AGENT: &str = concat!("kt/", env!("CARGO_PKG_VERSION"));

/// A request as it goes out, and what becomes of its answer.
pub struct Composed {
    /// What is sent.
    pub outgoing: Outgoing,
    /// What the answer has to go through.
    pub mode: Mode,
    /// What was lost in translation; none if there was none.
    pub report: Option<Report>,
}

/// Composes what `target` is sent.
///
/// # Errors
///
/// What the vendor's language can't say.
pub fn compose(target: &Target, arm: &Arm, ask: &Ask, request: &Request) -> Result<Composed, Fault> {
    match Crossing::of(ask.endpoint.dialect(), target.provider.dialect()) {
        None => Ok(as_it_is(target, arm, ask, request)),
        Some(crossing) => translated(crossing, target, arm, ask, request),
    }
}

fn as_it_is(target: &Target, arm: &Arm, ask: &Ask, request: &Request) -> Composed {
    let body = request.body();
    let edits = ask.edits(&arm.model, target.stream_usage);
    let way = Way::AsItIs { removes_usage_chunk: edits.asked_for_usage() };
    let length = edits.len_after(body.len());
    let mut copied = buffers::with_room(KIB + length.min(COPY_BYTES_MAX));
    let content_type = request.field(Known::ContentType).unwrap_or(b"application/json");
    write_head(&mut copied, target, ask.endpoint, request, content_type, length);
    // Long stretches of the client's bytes stay where they are; what stands between them is copied behind the head.
    let mut before = Vec::new();
    let mut from = 0;
    for piece in edits.pieces(body.len()) {
        match piece {
            Piece::Body(span) if span.len() > COPY_BYTES_MAX => {
                before.push((Origin::Copied, from..copied.len()));
                from = copied.len();
                let start = request.body_offset() + span.start as usize;
                before.push((Origin::Client, start..start + span.len()));
            }
            Piece::Body(_) | Piece::Text(_) => copied.extend_from_slice(piece.of(body)),
        }
    }
    let last = from..copied.len();
    let mode = Mode { endpoint: ask.endpoint, stream: ask.stream, way };
    Composed { outgoing: Outgoing { copied, before, last }, mode, report: None }
}

fn translated(crossing: Crossing, target: &Target, arm: &Arm, ask: &Ask, request: &Request) -> Result<Composed, Fault> {
    let mut body = buffers::with_room(request.body().len() + KIB);
    let recipient = Recipient { provider: target.provider, model: &arm.model, stream_usage: target.stream_usage };
    let Translated { wanted, report } = dialect::translate_request(crossing, &recipient, request.body(), &mut body)?;
    let mut copied = buffers::with_room(KIB + body.len());
    write_head(&mut copied, target, ask.endpoint, request, b"application/json", body.len());
    copied.extend_from_slice(&body);
    buffers::give(body);
    let whole = 0..copied.len();
    let outgoing = Outgoing { copied, before: Vec::new(), last: whole };
    let mode = Mode { endpoint: ask.endpoint, stream: ask.stream, way: Way::Translated(crossing, wanted) };
    Ok(Composed { outgoing, mode, report: Some(report) })
}

/// Only what stands on the allow-list of the vendor's dialect passes; `content-type` is the body's own.
fn write_head(
    out: &mut Vec<u8>,
    target: &Target,
    endpoint: Endpoint,
    request: &Request,
    content_type: &[u8],
    length: usize,
) {
    let vendor = target.provider.dialect();
    write::request_line(out, &http::Method::POST, &target.base.prefix, endpoint.path_at(vendor));
    write::field(out, "host", &*target.base.authority);
    if let Credential::Key(key) = &target.key {
        let field = dialect::credential(vendor);
        write::field_in_parts(out, field.name, field.prefix, key.expose());
    }
    let mut has_agent = false;
    let mut has_required = false;
    for (name, value) in request.end_to_end() {
        if !dialect::passes_to_vendor(name, vendor) || name.eq_ignore_ascii_case(b"content-type") {
            continue;
        }
        has_agent |= name.eq_ignore_ascii_case(b"user-agent");
        has_required |= dialect::required(vendor).is_some_and(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        write::field_as_read(out, name, value);
    }
    if let Some((name, value)) = dialect::required(vendor).filter(|_| !has_required) {
        write::field(out, name, value);
    }
    if !has_agent {
        write::field(out, "user-agent", USER_AGENT);
    }
    out.extend_from_slice(VIA);
    out.extend_from_slice(b"accept-encoding: identity\r\n");
    write::field_as_read(out, b"content-type", content_type);
    write::number_field(out, "content-length", length as u64);
    write::end(out);
}
