//! HTTP/1.1 as a language (RFC 9110, RFC 9112), for both sides: bytes in, spans over them out. No socket, no clock.
//!
//! A message is read in three steps, and each refuses what the one before it could not see:
//!
//! 1. [`head`]: where the head ends, whether it is well-formed, what it says. httparse reads the lines; what it lets
//!    pass and we don't stands in that file.
//! 2. [`framing`]: how long the body is. One place for both sides, the RFC's steps numbered.
//! 3. [`body`]: the payload's pieces as ranges of the buffer they came in, whatever the framing ([`chunked`] is one).
//!
//! And written by one: [`write`](mod@write). [`hop`] knows which fields end here. Nothing is passed on as it was
//! read: a head that leaves is written afresh, so a byte that two parsers could read differently never leaves at all.
//!
//! All parsers are incremental and give the same verdict however the bytes are split. None of them allocates once its
//! [`Fields`](head::Fields) have grown to the largest head seen.
//!
//! Deliberately absent: tunnels (CONNECT, Upgrade), trailers for anybody to read, HTTP/0.9, and any leniency switch.

pub mod body;
pub mod chunked;
pub mod framing;
pub mod head;
pub mod hop;
mod target;
pub mod write;

/// Which of the two kinds of message is read; it decides who is to blame for a broken one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// From a client to us.
    Request,
    /// From a vendor to us.
    Response,
}

/// `tchar` of RFC 9110 section 5.6.2: what methods, field names and chunk extensions are made of.
const fn is_token(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// What a field value may hold (RFC 9110 section 5.5): visible ASCII, space, tab, and bytes of 0x80 and above, which
/// are opaque. Every control byte is out, DEL included.
const fn is_field_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Whether a comma-separated list holds `token`, in any case.
fn list_holds(list: &[u8], token: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}
