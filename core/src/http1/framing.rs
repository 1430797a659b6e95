//! How long is this body? The one place that decides it, for requests and responses, by the steps of RFC 9112
//! section 6.3, whose numbers stand in the code.
//!
//! The RFC lets a recipient repair some contradictions. We repair none: a message whose length could be read in two
//! ways is refused, on either side, since the other reader may be the one behind us. So: no Content-Length beside a
//! Transfer-Encoding, no Content-Length twice or as a list, even of equal numbers, and no transfer coding but `chunked`.

use crate::fault::Kind;
use crate::http1::head::{Fields, Known, Repeated, RequestHead, ResponseHead, Version};
use crate::limits::Limits;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// There is none.
    None,
    /// This many bytes, perhaps 0.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// How the body of a response is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none.
    None,
    /// This many bytes, perhaps 0.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All that comes before the vendor closes the connection; whether it is whole, nobody can tell.
    UntilClose,
}

/// What a response's head means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    /// How the body is delimited.
    pub body: ResponseBody,
    /// Whether another request may follow on the same connection, if the body ends where it should and nothing is
    /// left behind it.
    pub reusable: bool,
}

/// The two fields that frame a body, checked.
enum Declared {
    Nothing,
    Length(u64),
    Chunked,
}

/// What is wrong with them.
enum Contradiction {
    LengthAndCoding,
    Length,
    Coding,
}

/// Decides how long a request's body is.
///
/// # Errors
/// The client's fault; [`Kind::BodyTooLarge`] if the announced length is over the limit. The connection can't be used
/// any further.
pub fn of_request(head: &RequestHead, fields: &Fields, buf: &[u8], limits: &Limits) -> Result<RequestBody, Kind> {
    // Steps 1 and 2 are about responses.
    let declared = declared(head.version, fields, buf).map_err(|contradiction| match contradiction {
        Contradiction::LengthAndCoding => Kind::LengthAndChunkedTogether,
        Contradiction::Length => Kind::MalformedLength,
        Contradiction::Coding => Kind::UnknownTransferCoding,
    })?;
    match declared {
        Declared::Chunked => Ok(RequestBody::Chunked),
        Declared::Length(length) if length > limits.body_bytes_max as u64 => Err(Kind::BodyTooLarge),
        Declared::Length(length) => Ok(RequestBody::Length(length)),
        // Step 7: a request that declares nothing has no body.
        Declared::Nothing => Ok(RequestBody::None),
    }
}

/// Decides how long the body of a response to a request of `method` is. CONNECT, step 2's, is never sent.
///
/// # Errors
/// [`Kind::AnswerFramingMalformed`]. So is a 101, for nobody asked to switch protocols: what follows it is not HTTP.
pub fn of_response(
    method: &http::Method,
    head: &ResponseHead,
    fields: &Fields,
    buf: &[u8],
) -> Result<ResponseFraming, Kind> {
    let declared = declared(head.version, fields, buf).map_err(|_| Kind::AnswerFramingMalformed)?;
    // Step 1: no body, whatever the fields say.
    let (body, ends_cleanly) = match (head.status, &declared) {
        (101, _) => return Err(Kind::AnswerFramingMalformed),
        // These may not declare a body at all (RFC 9110 section 8.6, RFC 9112 section 6.1). One that does may send it.
        (100..=199 | 204, declared) => {
            (ResponseBody::None, matches!(declared, Declared::Nothing | Declared::Length(0)))
        }
        // These declare the body that a GET would have got.
        (304, _) => (ResponseBody::None, true),
        _ if method == http::Method::HEAD => (ResponseBody::None, true),
        (_, Declared::Chunked) => (ResponseBody::Chunked, true),
        (_, &Declared::Length(length)) => (ResponseBody::Length(length), true),
        // Step 8.
        (_, Declared::Nothing) => (ResponseBody::UntilClose, false),
    };
    Ok(ResponseFraming { body, reusable: ends_cleanly && head.keep_alive })
}

/// Steps 3 to 6, the same for both sides.
fn declared(version: Version, fields: &Fields, buf: &[u8]) -> Result<Declared, Contradiction> {
    let coding = fields.sole(buf, Known::TransferEncoding);
    let length = fields.sole(buf, Known::ContentLength);
    match (coding, length) {
        (Ok(None), Ok(None)) => Ok(Declared::Nothing),
        // Step 3: either field alone would be understood, by somebody.
        (Ok(Some(_)) | Err(Repeated), Ok(Some(_)) | Err(Repeated)) => Err(Contradiction::LengthAndCoding),
        // Step 4: HTTP/1.0 has no transfer codings (RFC 9112 section 6.1); of HTTP/1.1's we read one.
        (Ok(Some(coding)), Ok(None)) if version == Version::Http11 && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Declared::Chunked)
        }
        (Ok(Some(_)) | Err(Repeated), Ok(None)) => Err(Contradiction::Coding),
        // Step 5 and step 6.
        (Ok(None), Ok(Some(length))) => parse_length(length).map(Declared::Length).ok_or(Contradiction::Length),
        (Ok(None), Err(Repeated)) => Err(Contradiction::Length),
    }
}

/// Digits alone, and no more of them than always fit into 64 bits.
fn parse_length(text: &[u8]) -> Option<u64> {
    let fits = (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    fits.then(|| text.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::Search;

    fn response(method: http::Method, text: &str) -> Result<(ResponseBody, bool), Kind> {
        let (mut search, mut fields) = (Search::default(), Fields::default());
        let head = ResponseHead::parse(text.as_bytes(), &mut search, &mut fields, &Limits::default());
        let head = head.expect(text).expect("the head is whole");
        of_response(&method, &head, &fields, text.as_bytes()).map(|framing| (framing.body, framing.reusable))
    }

    fn request(fields_text: &str) -> Result<RequestBody, Kind> {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields_text}\r\n");
        let (mut search, mut fields) = (Search::default(), Fields::default());
        let head = RequestHead::parse(text.as_bytes(), &mut search, &mut fields, &Limits::default());
        let head = head.expect(&text).expect("the head is whole");
        of_request(&head, &fields, text.as_bytes(), &Limits::default())
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let cases = [
            ("", Ok(RequestBody::None)),
            ("Content-Length: 0\r\n", Ok(RequestBody::Length(0))),
            ("content-length:\t42 \r\n", Ok(RequestBody::Length(42))),
            ("Content-Length: 007\r\n", Ok(RequestBody::Length(7))),
            ("Content-Length: 33554432\r\n", Ok(RequestBody::Length(32 * 1024 * 1024))),
            ("Content-Length: 33554433\r\n", Err(Kind::BodyTooLarge)),
            ("Content-Length: 9999999999999999999\r\n", Err(Kind::BodyTooLarge)),
            ("Content-Length: 18446744073709551616\r\n", Err(Kind::MalformedLength)),
            ("TRANSFER-ENCODING: Chunked\r\n", Ok(RequestBody::Chunked)),
        ];
        for (fields, expected) in cases {
            assert_eq!(request(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_response_says_how_long_its_body_is_and_whether_more_may_follow() {
        use ResponseBody::{Chunked, Length, None, UntilClose};
        let get = http::Method::GET;
        let cases = [
            (&get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Ok((Length(5), true))),
            (
                &get,
                "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
                Ok((Length(9999999999999999999), true)),
            ),
            (&get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", Ok((Length(5), false))),
            (
                &get,
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: a\r\nConnection: b, Close\r\n\r\n",
                Ok((Length(5), false)),
            ),
            (&get, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", Ok((Length(5), false))),
            (&get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Ok((Chunked, true))),
            (&get, "HTTP/1.1 200 OK\r\n\r\n", Ok((UntilClose, false))),
            (&get, "HTTP/1.0 200 OK\r\n\r\n", Ok((UntilClose, false))),
            (&get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Ok((None, true))),
            (&http::Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Ok((None, true))),
            (&http::Method::HEAD, "HTTP/1.1 200 OK\r\n\r\n", Ok((None, true))),
            (&get, "HTTP/1.1 204 No Content\r\n\r\n", Ok((None, true))),
            (&get, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Ok((None, true))),
            (&get, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Ok((None, false))),
            (&get, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", Ok((None, false))),
            (&get, "HTTP/1.1 100 Continue\r\n\r\n", Ok((None, true))),
            (&get, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", Ok((None, true))),
            (&get, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Err(Kind::AnswerFramingMalformed)),
        ];
        for (method, text, expected) in cases {
            assert_eq!(response(method.clone(), text), expected, "{text:?}");
        }
    }
}
