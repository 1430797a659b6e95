//! The answer on its way back: as it is, or through a translator.
//!
//! What one read of the vendor's connection completed goes to the client in one write, at once; an event that isn't
//! whole waits for its rest. The next read starts when the client has taken the last write, so a slow reader slows its
//! vendor down and fills no memory.
//!
//! On the way as it is, bytes are never changed: usage and content are read beside the stream, and the only thing ever
//! left out is the usage chunk that the gateway itself had asked for.
//!
//! [`heading`] is what stands before a body, `whole` an answer that is no stream, `stream` one that is.

pub mod heading;
mod stream;
mod whole;

use kt_core::dialect::{self, Crossing, Dialect, Wanted};
use kt_core::endpoint::Endpoint;
use kt_core::fault::{Fault, Kind, Phase};
use kt_core::http1::head::Known;
use kt_core::policy::Hearing;

use crate::buffers;
use crate::meters::SharedMeters;
use crate::upstream::{Answer, Company};
use crate::worker::Lane;

pub use heading::{Heading, VIA, write_request_id};

/// What an answer goes through.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// What was asked; its language is the client's.
    pub endpoint: Endpoint,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Whether the vendor's language is the same.
    pub way: Way,
}

/// How an answer comes back.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// As it is. If the usage of a stream was asked for by the gateway alone, its chunk is left out.
    AsItIs {
        /// Whether it was.
        removes_usage_chunk: bool,
    },
    /// From the vendor's language to the client's, as the request wants it.
    Translated(Crossing, Wanted),
}

/// An answer that went out whole.
#[derive(Debug)]
pub struct Relayed {
    /// Its status.
    pub status: u16,
    /// What the vendor said went wrong within it, for the record; the client has seen it.
    pub note: Option<Fault>,
}

/// Passes the vendor's answer to the client, whole.
///
/// # Errors
///
/// Why it could not be; [`crate::client::Client::answer_begun`] tells whether the client has seen a part of it.
pub async fn answer(
    mut answer: Answer,
    mode: Mode,
    heading: &Heading<'_>,
    mut hearing: Option<&mut Hearing<'_>>,
    lane: &Lane,
    company: &mut Company<'_>,
) -> Result<Relayed, Fault> {
    if let Some((_, id)) = answer.end_to_end().find(|(name, _)| dialect::is_request_id(name)) {
        company.record.vendor_says_id(&String::from_utf8_lossy(id));
    }
    let status = answer.status();
    let is_success = status < 400;
    let is_coded = answer.field(Known::ContentEncoding).is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    let is_stream = match answer.field(Known::ContentType) {
        Some(content_type) => is_event_stream(content_type),
        // A vendor that names no type sends what it was asked for.
        None => mode.stream && is_success,
    };
    if let Some(hearing) = hearing.as_mut().filter(|_| is_coded && is_success) {
        // What can't be read can't be judged, and shall not pass for harmless.
        hearing.fails(company.worker.fail_mode())?;
    }
    let note = match mode.way {
        Way::AsItIs { .. } if is_stream && !is_coded => {
            stream::pass(&mut answer, mode, heading, hearing, company).await?
        }
        Way::AsItIs { .. } => {
            let watched = (is_success && !is_coded).then_some(mode.endpoint);
            whole::pass(&mut answer, watched, heading, hearing, company).await?
        }
        Way::Translated(..) if is_coded => return Err(Fault::new(Kind::AnswerContentCoded, Phase::FirstByte)),
        Way::Translated(..) if is_success && is_stream != mode.stream => {
            let why = if is_stream { "a stream that nobody asked for" } else { "no stream, though one was asked for" };
            return Err(Fault::with(Kind::AnswerNotUnderstood, Phase::FirstByte, why));
        }
        Way::Translated(..) if is_success && is_stream => {
            stream::pass(&mut answer, mode, heading, hearing, company).await?
        }
        Way::Translated(crossing, wanted) => {
            whole::translate(&mut answer, crossing, wanted, heading, hearing, company).await?;
            None
        }
    };
    answer.done(lane, company.limits);
    Ok(Relayed { status, note })
}

fn is_event_stream(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

impl Company<'_> {
    /// Sends a part of the answer that was read at `read_ns`; gives the buffer back, empty.
    async fn pass(&mut self, out: Vec<u8>, read_ns: u64) -> Result<Vec<u8>, Fault> {
        let began = self.worker.lately_ns();
        let (sent, out) = self.client.answer(out, self.limits).await;
        sent?;
        self.record.passed_on(read_ns, began, self.worker.now_ns());
        Ok(out)
    }

    /// A content event of a stream was read.
    fn count_content(&mut self, read_ns: u64, meters: &SharedMeters) {
        if let Some(gap) = self.record.content(read_ns) {
            self.worker.count_gap(meters, gap);
        }
    }

    /// Notes what the policies say of what has come of the answer.
    pub fn heard(&mut self, hearing: Option<&Hearing<'_>>) {
        if let Some(hearing) = hearing {
            let judgement = hearing.conclude();
            self.record.judged_further(judgement.verdict, &judgement.results);
        }
    }

    /// Sends the last part of the answer; what the record is by now is noted before, for a crash would leave the client
    /// with an answer that has none.
    async fn pass_last(&mut self, out: Vec<u8>, answer: &Answer, note: Option<&Fault>) -> Result<(), Fault> {
        self.draft(answer, note);
        let began = self.worker.lately_ns();
        let (sent, out) = self.client.answer_last(out, self.limits).await;
        sent?;
        buffers::give(out);
        self.record.passed_on(answer.read_ns, began, self.worker.now_ns());
        Ok(())
    }

    /// Notes what the record is now that the client is about to have all of the answer.
    fn draft(&mut self, answer: &Answer, note: Option<&Fault>) {
        self.worker.draft(self.slot, self.record, answer.status(), note, self.plan);
    }

    /// An id for a translated answer; the vendor's would claim to be of the client's language.
    fn draw_answer_id(&self, client: Dialect) -> String {
        [dialect::answer_id_prefix(client), &self.worker.draw_request_id()["req_".len()..]].concat()
    }
}
