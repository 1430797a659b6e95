//! The chunked transfer coding (RFC 9112 section 7.1), read one byte of framing at a time and payload in whole pieces.
//!
//! Read by our own code, since httparse's size parser takes an empty size for the end of the body, spaces behind the
//! size and anything at all within an extension. Here a size is 1 to 16 hex digits and nothing else, an extension is
//! `;name` or `;name=value` of tokens without any space (no quoted strings: nobody sends them), every line ends in
//! CR LF, and payload is followed by CR LF exactly. Extensions and trailers are checked, bounded and dropped.

use std::ops::Range;

use crate::fault::Kind;
use crate::http1::{Message, is_field_value, is_token};
use crate::limits::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

/// What the next bytes of a body are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Payload, at this place of the input and never empty; go on at its end.
    Payload(Range<usize>),
    /// All of the input is used up, and the body goes on.
    More,
    /// The body ends before this place of the input. What stands there is another message, or should not be there.
    End(usize),
}

/// A chunked body that is being read.
#[derive(Clone, Debug)]
pub struct Chunked {
    state: State,
    /// Payload of all chunks whose size has been read.
    announced: u64,
    /// What `announced` may not exceed.
    bytes_max: u64,
    /// Bytes of the size line, or of the trailers, that is being read.
    line_len: usize,
}

/// What is wrong with a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// The framing is broken, or a line of it is longer than its bound.
    Malformed,
    /// The sizes announced so far are more than the body may have.
    TooLarge,
}

/// 64 bits, however many of the digits are leading zeros.
const SIZE_DIGITS_MAX: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Line(Line),
    Payload { left: u64 },
    Ended,
}

/// Where in the lines around the payload we are; the name says what has been read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Size { digits: u8, size: u64 },
    Semicolon { size: u64 },
    ExtensionName { size: u64 },
    Equals { size: u64 },
    ExtensionValue { size: u64 },
    SizeCr { size: u64 },
    Payload,
    PayloadCr,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerCr,
    FinalCr,
}

impl Chunked {
    const BEGIN: State = State::Line(Line::Size { digits: 0, size: 0 });

    /// A body of at most `bytes_max` bytes of payload.
    pub const fn new(bytes_max: u64) -> Self {
        Self { state: Self::BEGIN, announced: 0, bytes_max, line_len: 0 }
    }

    /// Reads on in `input` at `from`, up to the next piece of payload, the end of the body or of the input.
    ///
    /// # Errors
    /// As soon as the framing is broken or too large. The connection can't be used any further.
    pub fn decode(&mut self, input: &[u8], from: usize) -> Result<Step, ChunkError> {
        let mut at = from;
        loop {
            match self.state {
                State::Ended => return Ok(Step::End(at)),
                State::Payload { left } if at < input.len() => {
                    let len = usize::try_from(left).map_or(input.len() - at, |left| left.min(input.len() - at));
                    self.state = match left - len as u64 {
                        0 => State::Line(Line::Payload),
                        left => State::Payload { left },
                    };
                    return Ok(Step::Payload(at..at + len));
                }
                State::Line(line) if at < input.len() => {
                    self.state = self.after(line, input[at])?;
                    at += 1;
                }
                State::Line(_) | State::Payload { .. } => return Ok(Step::More),
            }
        }
    }

    /// Whether the body has been read to its end.
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }

    /// What follows `byte`, which came behind `line`.
    fn after(&mut self, line: Line, byte: u8) -> Result<State, ChunkError> {
        self.line_len += 1;
        if self.line_len > line.bytes_max() {
            return Err(ChunkError::Malformed);
        }
        let next = match (line, byte) {
            (Line::SizeCr { size }, b'\n') => return self.begin_chunk(size),
            (Line::PayloadCr, b'\n') => {
                self.line_len = 0;
                return Ok(Self::BEGIN);
            }
            (Line::FinalCr, b'\n') => return Ok(State::Ended),

            (Line::Size { digits, size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < SIZE_DIGITS_MAX => {
                Line::Size { digits: digits + 1, size: size << 4 | hex_value(byte) }
            }
            (Line::Size { digits: 1.., size }, b';') => Line::Semicolon { size },
            (Line::Size { digits: 1.., size }, b'\r') => Line::SizeCr { size },

            (Line::Semicolon { size } | Line::ExtensionName { size }, _) if is_token(byte) => {
                Line::ExtensionName { size }
            }
            (Line::ExtensionName { size }, b'=') => Line::Equals { size },
            (Line::Equals { size } | Line::ExtensionValue { size }, _) if is_token(byte) => {
                Line::ExtensionValue { size }
            }
            (Line::ExtensionName { size } | Line::ExtensionValue { size }, b';') => Line::Semicolon { size },
            (Line::ExtensionName { size } | Line::ExtensionValue { size }, b'\r') => Line::SizeCr { size },

            (Line::Payload, b'\r') => Line::PayloadCr,

            (Line::TrailerStart, b'\r') => Line::FinalCr,
            (Line::TrailerStart | Line::TrailerName, _) if is_token(byte) => Line::TrailerName,
            (Line::TrailerName, b':') => Line::TrailerValue,
            (Line::TrailerValue, b'\r') => Line::TrailerCr,
            (Line::TrailerValue, _) if is_field_value(byte) => Line::TrailerValue,
            (Line::TrailerCr, b'\n') => Line::TrailerStart,

            (
                Line::Size { .. }
                | Line::Semicolon { .. }
                | Line::ExtensionName { .. }
                | Line::Equals { .. }
                | Line::ExtensionValue { .. }
                | Line::SizeCr { .. }
                | Line::Payload
                | Line::PayloadCr
                | Line::TrailerStart
                | Line::TrailerName
                | Line::TrailerValue
                | Line::TrailerCr
                | Line::FinalCr,
                _,
            ) => return Err(ChunkError::Malformed),
        };
        Ok(State::Line(next))
    }

    fn begin_chunk(&mut self, size: u64) -> Result<State, ChunkError> {
        self.line_len = 0;
        if size == 0 {
            return Ok(State::Line(Line::TrailerStart));
        }
        let announced = self.announced.checked_add(size).filter(|&sum| sum <= self.bytes_max);
        self.announced = announced.ok_or(ChunkError::TooLarge)?;
        Ok(State::Payload { left: size })
    }
}

impl Line {
    /// The bound of the line, or lines, that this is a place in.
    const fn bytes_max(self) -> usize {
        match self {
            Self::Size { .. }
            | Self::Semicolon { .. }
            | Self::ExtensionName { .. }
            | Self::Equals { .. }
            | Self::ExtensionValue { .. }
            | Self::SizeCr { .. }
            | Self::Payload
            | Self::PayloadCr => CHUNK_LINE_BYTES_MAX,
            Self::TrailerStart | Self::TrailerName | Self::TrailerValue | Self::TrailerCr | Self::FinalCr => {
                TRAILER_BYTES_MAX
            }
        }
    }
}

impl ChunkError {
    /// Whose fault it is. A vendor's sizes are only too large when their sum does not fit into 64 bits.
    pub const fn kind(self, message: Message) -> Kind {
        match (self, message) {
            (Self::Malformed, Message::Request) => Kind::MalformedChunk,
            (Self::TooLarge, Message::Request) => Kind::BodyTooLarge,
            (Self::Malformed | Self::TooLarge, Message::Response) => Kind::AnswerFramingMalformed,
        }
    }
}

/// The value of a hex digit; of nothing else.
const fn hex_value(digit: u8) -> u64 {
    (match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `pieces` as if each were one read; gives the payload, and the bytes left behind the end.
    fn decode<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
        bytes_max: u64,
    ) -> Result<(Vec<u8>, Option<usize>), ChunkError> {
        let mut body = Chunked::new(bytes_max);
        let mut payload = Vec::new();
        let mut left = None;
        for piece in pieces {
            let mut at = 0;
            loop {
                match body.decode(piece, at)? {
                    Step::Payload(range) => {
                        assert!(!range.is_empty() && range.start >= at);
                        at = range.end;
                        payload.extend_from_slice(&piece[range]);
                    }
                    Step::More => break,
                    Step::End(end) => {
                        *left.get_or_insert(0) += piece.len() - end;
                        break;
                    }
                }
            }
        }
        assert_eq!(left.is_some(), body.ended());
        Ok((payload, left))
    }

    /// Whole, byte by byte and cut at every point (of long ones: at the end): all must say the same.
    fn check(text: &[u8], bytes_max: u64) -> Result<(Vec<u8>, Option<usize>), ChunkError> {
        let whole = decode([text], bytes_max);
        assert_eq!(decode(text.chunks(1), bytes_max), whole, "byte by byte: {}", text.escape_ascii());
        for cut in text.len().saturating_sub(300)..=text.len() {
            let (head, tail) = text.split_at(cut);
            assert_eq!(decode([head, tail], bytes_max), whole, "cut at {cut}: {}", text.escape_ascii());
        }
        whole
    }

    #[test]
    fn a_chunked_body_is_its_payload() {
        let long_value = format!("0\r\nA: {}\r\n\r\n", "x".repeat(TRAILER_BYTES_MAX - 7));
        let long_line = format!("1;{}\r\nA\r\n", "x".repeat(CHUNK_LINE_BYTES_MAX - 4));
        let long_lines = format!("{long_line}{long_line}0\r\n\r\n");
        let cases: &[(&str, &str, Option<usize>)] = &[
            ("0\r\n\r\n", "", Some(0)),
            ("000\r\n\r\n", "", Some(0)),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", Some(0)),
            ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", Some(0)),
            ("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello", Some(0)),
            ("1;a\r\nA\r\n1;b=c;d\r\nB\r\n0;e=f\r\n\r\n", "AB", Some(0)),
            ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", Some(0)),
            ("0\r\nA: b\r\nContent-Length:\t5\r\nE:\r\n\r\n", "", Some(0)),
            ("0\r\nA: \u{fc}\r\n\r\n", "", Some(0)),
            ("0\r\n\r\nGET /", "", Some(5)),
            ("", "", None),
            ("5", "", None),
            ("5\r\nhe", "he", None),
            ("5\r\nhello\r\n", "hello", None),
            ("5\r\nhello\r\n0\r\n", "hello", None),
            (&long_value, "", Some(0)),
            (&long_lines, "AA", Some(0)),
        ];
        for &(text, payload, left) in cases {
            assert_eq!(check(text.as_bytes(), u64::MAX), Ok((payload.into(), left)), "{text:?}");
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        let long_value = format!("0\r\nA: {}\r\n\r\n", "x".repeat(TRAILER_BYTES_MAX - 6));
        let many_trailers = format!("0\r\n{}\r\n", "A:\r\n".repeat(TRAILER_BYTES_MAX / 4));
        let long_line = format!("1;{}\r\nA\r\n0\r\n\r\n", "x".repeat(CHUNK_LINE_BYTES_MAX - 3));
        let cases: &[&[u8]] = &[
            // Sizes.
            b"\r\n",
            b"g\r\n",
            b"-1\r\n",
            b"+5\r\nhello",
            b" 5\r\nhello",
            b"5 \r\nhello",
            b"5\t\r\nhello",
            b"1_0\r\n",
            b"0x5\r\nhello",
            b"5h\r\nhello",
            b"5.0\r\n",
            b"\"5\"\r\n",
            b"5,5\r\n",
            b"00000000000000000\r\n",
            b"ffffffffffffffff0\r\n",
            b"10000000000000000\r\n",
            b"\x005\r\n",
            b"\xef\xbc\x95\r\nhello",
            b";a\r\n",
            // Ends of lines.
            b"5\nhello",
            b"5\rhello",
            b"5\r\rhello",
            b"5\n\rhello",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello\r0\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello!!\r\n0\r\n\r\n",
            b"5\r\nhello!\n0\r\n\r\n",
            b"5\r\nhello\r\n\r\n",
            b"0\n\n",
            b"0\r\n\n",
            b"0\r\n\rX",
            // Extensions.
            b"5;\r\nhello",
            b"5;;a\r\nhello",
            b"5;a=\r\nhello",
            b"5;=b\r\nhello",
            b"5;a=b=c\r\nhello",
            b"5 ;a\r\nhello",
            b"5; a\r\nhello",
            b"5;a =b\r\nhello",
            b"5;a=\"b\"\r\nhello",
            b"5;bad[=x\r\nhello",
            b"5;a\nhello",
            b"5;\nhello",
            b"5;a\rX\r\nhello",
            b"5;\x00a\r\nhello",
            b"5;a\x7f\r\nhello",
            b"5;\xfc\r\nhello",
            b"6\r\r;ABCD\r\n",
            // Trailers.
            b"0\r\nA\r\n\r\n",
            b"0\r\nA : b\r\n\r\n",
            b"0\r\n A: b\r\n\r\n",
            b"0\r\nA: b\r\n c\r\n\r\n",
            b"0\r\n: b\r\n\r\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\nA: b\rc\r\n\r\n",
            b"0\r\nA: \x00\r\n\r\n",
            b"0\r\nA: \x07\r\n\r\n",
            b"0\r\nA: \x7f\r\n\r\n",
            b"0\r\nA\xfc: b\r\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            long_value.as_bytes(),
            many_trailers.as_bytes(),
            long_line.as_bytes(),
        ];
        for text in cases {
            assert_eq!(check(text, u64::MAX), Err(ChunkError::Malformed), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_body_is_too_large_as_soon_as_its_sizes_say_so() {
        assert_eq!(check(b"5\r\nhello\r\n0\r\n\r\n", 5), Ok((b"hello".into(), Some(0))));
        assert_eq!(check(b"6\r\n", 5), Err(ChunkError::TooLarge));
        assert_eq!(check(b"3\r\nabc\r\n3\r\n", 5), Err(ChunkError::TooLarge));
        assert_eq!(check(b"ffffffffffffffff\r\n", 5), Err(ChunkError::TooLarge));
    }

    #[test]
    fn a_chunk_size_may_not_overflow() {
        assert_eq!(check(b"ffffffffffffffff\r\nabc", u64::MAX), Ok((b"abc".into(), None)));
        assert_eq!(check(b"1\r\na\r\nffffffffffffffff\r\n", u64::MAX), Err(ChunkError::TooLarge));
    }
}
