//! Reading a body, however it is delimited: the payload's pieces as ranges of the buffer that they came in.
//!
//! It copies nothing unless asked to: a relay sends the ranges on from where they are.

use crate::fault::Kind;
use crate::http1::Message;
use crate::http1::chunked::Chunked;
pub use crate::http1::chunked::Step;
use crate::http1::framing::{RequestBody, ResponseBody};
use crate::limits::Limits;

/// A body that is being read.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    message: Message,
}

#[derive(Clone, Debug)]
enum State {
    Length { left: u64 },
    Chunked(Chunked),
    UntilClose,
}

impl BodyReader {
    /// Reads a request's body; one in chunks is bounded by `limits.body_bytes_max`, as the others already are.
    pub fn request(body: RequestBody, limits: &Limits) -> Self {
        let state = match body {
            RequestBody::None => State::Length { left: 0 },
            RequestBody::Length(left) => State::Length { left },
            RequestBody::Chunked => State::Chunked(Chunked::new(limits.body_bytes_max as u64)),
        };
        Self { state, message: Message::Request }
    }

    /// Reads a response's body, of any size.
    pub fn response(body: ResponseBody) -> Self {
        let state = match body {
            ResponseBody::None => State::Length { left: 0 },
            ResponseBody::Length(left) => State::Length { left },
            ResponseBody::Chunked => State::Chunked(Chunked::new(u64::MAX)),
            ResponseBody::UntilClose => State::UntilClose,
        };
        Self { state, message: Message::Response }
    }

    /// Reads on in `input` at `from`, up to the next piece of payload, the end of the body or of the input.
    ///
    /// # Errors
    /// The sender's fault. The connection can't be used any further.
    pub fn decode(&mut self, input: &[u8], from: usize) -> Result<Step, Kind> {
        let here = input.len() - from;
        match &mut self.state {
            State::Chunked(chunked) => chunked.decode(input, from).map_err(|error| error.kind(self.message)),
            State::Length { left: 0 } => Ok(Step::End(from)),
            State::Length { .. } | State::UntilClose if here == 0 => Ok(Step::More),
            State::UntilClose => Ok(Step::Payload(from..input.len())),
            State::Length { left } => {
                let len = usize::try_from(*left).map_or(here, |left| left.min(here));
                *left -= len as u64;
                Ok(Step::Payload(from..from + len))
            }
        }
    }

    /// Appends all payload of `input` from `from` on to `into`. Gives the place behind the body once it has ended,
    /// `None` when all of the input is used up before.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn collect(&mut self, input: &[u8], from: usize, into: &mut Vec<u8>) -> Result<Option<usize>, Kind> {
        let mut at = from;
        loop {
            match self.decode(input, at)? {
                Step::Payload(range) => {
                    at = range.end;
                    into.extend_from_slice(&input[range]);
                }
                Step::More => return Ok(None),
                Step::End(end) => return Ok(Some(end)),
            }
        }
    }

    /// Payload that is still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match &self.state {
            State::Length { left } => Some(*left),
            State::Chunked(chunked) => chunked.ended().then_some(0),
            State::UntilClose => None,
        }
    }

    /// What it means that the connection ends here.
    ///
    /// # Errors
    /// [`Kind::BodyCutOff`] or [`Kind::AnswerTorn`] if the body was not whole.
    pub fn close(&self) -> Result<(), Kind> {
        match (&self.state, self.left(), self.message) {
            (State::UntilClose, _, _) | (State::Length { .. } | State::Chunked(_), Some(0), _) => Ok(()),
            (State::Length { .. } | State::Chunked(_), _, Message::Request) => Err(Kind::BodyCutOff),
            (State::Length { .. } | State::Chunked(_), _, Message::Response) => Err(Kind::AnswerTorn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_its_framing_says_and_what_follows_is_left() {
        let limits = Limits::default();
        let cases = [
            (BodyReader::request(RequestBody::None, &limits), "GET", "", Some("GET")),
            (BodyReader::request(RequestBody::Length(0), &limits), "", "", Some("")),
            (BodyReader::request(RequestBody::Length(3), &limits), "abcGET", "abc", Some("GET")),
            (BodyReader::request(RequestBody::Length(3), &limits), "ab", "ab", None),
            (BodyReader::request(RequestBody::Chunked, &limits), "1\r\na\r\n0\r\n\r\nGET", "a", Some("GET")),
            (BodyReader::response(ResponseBody::UntilClose), "abc", "abc", None),
        ];
        for (reader, text, payload, rest) in cases {
            for size in 1..=text.len().max(1) {
                let (mut reader, mut collected, mut left) = (reader.clone(), Vec::new(), None);
                // An empty input too: a body that needs nothing ends without it.
                for piece in std::iter::once(&b""[..]).chain(text.as_bytes().chunks(size)) {
                    if let Some(end) = reader.collect(piece, 0, &mut collected).expect(text) {
                        left.get_or_insert_with(Vec::new).extend_from_slice(&piece[end..]);
                    }
                }
                assert_eq!((&collected[..], left.as_deref()), (payload.as_bytes(), rest.map(str::as_bytes)), "{text}");
            }
        }
    }

    #[test]
    fn a_connection_that_ends_within_a_body_tears_it() {
        let limits = Limits::default();
        assert_eq!(BodyReader::request(RequestBody::None, &limits).close(), Ok(()));
        assert_eq!(BodyReader::request(RequestBody::Length(1), &limits).close(), Err(Kind::BodyCutOff));
        assert_eq!(BodyReader::request(RequestBody::Chunked, &limits).close(), Err(Kind::BodyCutOff));
        assert_eq!(BodyReader::response(ResponseBody::Length(1)).close(), Err(Kind::AnswerTorn));
        assert_eq!(BodyReader::response(ResponseBody::Chunked).close(), Err(Kind::AnswerTorn));
        assert_eq!(BodyReader::response(ResponseBody::UntilClose).close(), Ok(()));
        let mut chunked = BodyReader::response(ResponseBody::Chunked);
        assert_eq!(chunked.decode(b"0\r\n\r\n", 0), Ok(Step::End(5)));
        assert_eq!(chunked.close(), Ok(()));
    }

    #[test]
    fn whose_fault_a_broken_chunk_is_hangs_on_who_sent_it() {
        let limits = Limits { body_bytes_max: 4, ..Limits::default() };
        let request = || BodyReader::request(RequestBody::Chunked, &limits);
        assert_eq!(request().decode(b"x", 0), Err(Kind::MalformedChunk));
        assert_eq!(request().decode(b"5\r\n", 0), Err(Kind::BodyTooLarge));
        assert_eq!(BodyReader::response(ResponseBody::Chunked).decode(b"x", 0), Err(Kind::AnswerFramingMalformed));
    }
}
