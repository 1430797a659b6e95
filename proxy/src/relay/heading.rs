//! The head of an answer, and how its body is delimited.

use kt_core::config::plan::Chosen;
use kt_core::dialect::{self, Dialect};
use kt_core::http1::write;
use kt_core::limits::BUFFER_BYTES;

use crate::buffers;
use crate::client::Request;
use crate::meters::SharedMeters;
use crate::upstream::{Answer, Company, More};

/// The field by which a message says whom it came through (RFC 9110 section 7.6.3), whole.
pub const VIA: &[u8] = b"via: 1.1 kt\r\n";

/// What the client is told of where its answer comes from, and how it can be told.
pub struct Heading<'a> {
    /// The arm it got.
    pub chosen: Chosen<'a>,
    /// That arm's numbers.
    pub meters: SharedMeters,
    /// What is being answered.
    pub to: &'a Request,
    /// The language of who is answered.
    pub client: Dialect,
    /// Whether another request may follow on its connection.
    pub keep_alive: bool,
}

/// How the answer's body is delimited to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Nothing,
    /// It has this many bytes.
    Length(u64),
    /// It comes in chunks.
    Chunks,
    /// It ends with its connection.
    Close,
}

impl Heading<'_> {
    pub(super) fn framing_of_unknown_length(&self) -> Framing {
        if self.to.takes_chunks() { Framing::Chunks } else { Framing::Close }
    }

    /// The head of the client's answer: the vendor's fields that may pass, and ours. A body of our own making, as a
    /// translated one is, has our own `content_type`.
    pub(super) fn head_of(
        &self,
        answer: &Answer,
        content_type: Option<&str>,
        framing: Framing,
        company: &Company<'_>,
    ) -> Vec<u8> {
        // Room for a usual answer behind it.
        let mut out = buffers::with_room(BUFFER_BYTES);
        write::status_line(&mut out, answer.status());
        if let Some(content_type) = content_type {
            write::field(&mut out, "content-type", content_type);
        }
        for (name, value) in answer.end_to_end() {
            if content_type.is_some() && name.eq_ignore_ascii_case(b"content-type") {
                continue;
            }
            if dialect::passes_to_client(name) {
                write::field_as_read(&mut out, name, value);
            } else if dialect::is_request_id(name) {
                write::field_as_read(&mut out, b"x-upstream-request-id", value);
            }
        }
        write_request_id(&mut out, self.client, company.record.request_id());
        out.extend_from_slice(&self.chosen.arm.fields);
        write::field(&mut out, "server-timing", company.record.timing(company.worker.now_ns()).text());
        if let Some(report) = company.record.translation().filter(|report| !report.is_empty()) {
            let mut value = Vec::new();
            report.write_header(&mut value);
            write::field(&mut out, "x-kt-translation", value);
        }
        match framing {
            Framing::Length(length) => write::number_field(&mut out, "content-length", length),
            Framing::Chunks => write::field(&mut out, "transfer-encoding", "chunked"),
            Framing::Nothing | Framing::Close => {}
        }
        out.extend_from_slice(VIA);
        if !self.keep_alive || framing == Framing::Close {
            write::field(&mut out, "connection", "close");
        }
        write::end(&mut out);
        out
    }
}

/// Writes the request's id under the names that the client's library looks for it.
pub fn write_request_id(out: &mut Vec<u8>, client: Dialect, id: &str) {
    for name in dialect::request_id_fields(client) {
        write::field(out, name, id);
    }
}

/// Appends a part of a body as `framing` wants it, and its end if nothing more comes.
pub(super) fn frame(out: &mut Vec<u8>, payload: &[u8], framing: Framing, more: More) {
    match framing {
        Framing::Nothing => {}
        Framing::Length(_) | Framing::Close => out.extend_from_slice(payload),
        Framing::Chunks => {
            write::chunk(out, payload);
            if more == More::No {
                out.extend_from_slice(write::LAST_CHUNK);
            }
        }
    }
}
