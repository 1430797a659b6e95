//! `Server-Timing` of an answer: what is known when its head goes out (W3C Server Timing, section 3).
//!
//! `gw;dur=0.041, connect;dur=0.0, upstream-head;dur=312.4`: the gateway's own share so far, what connecting to the
//! vendor took (nothing where a connection was reused), and how long the vendor's head took from the request handed
//! over. Milliseconds, cut to the microsecond. What is not known, as of a request that asked no vendor, is left out.
//! The rest is in the event.

/// What is known, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The gateway's own share so far.
    pub gateway_ns: u64,
    /// Name, TCP and TLS; none when no vendor was asked.
    pub connect_ns: Option<u64>,
    /// Request handed over → the vendor's head read; none when there is no head.
    pub upstream_head_ns: Option<u64>,
}

/// The field's value, on the stack: it is written for each request.
#[derive(Clone, Copy, Debug)]
pub struct TimingText {
    bytes: [u8; LEN],
    len: usize,
}

/// Three names and three numbers of at most 18 characters.
const LEN: usize = 120;

impl Timing {
    /// The value of the field.
    pub fn text(&self) -> TimingText {
        let mut text = TimingText { bytes: [0; LEN], len: 0 };
        text.push(b"gw;dur=");
        text.push_millis(self.gateway_ns);
        for (name, ns) in [("connect", self.connect_ns), ("upstream-head", self.upstream_head_ns)] {
            if let Some(ns) = ns {
                text.push(b", ");
                text.push(name.as_bytes());
                text.push(b";dur=");
                text.push_millis(ns);
            }
        }
        text
    }
}

impl TimingText {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// At least one digit behind the point and at most three.
    fn push_millis(&mut self, ns: u64) {
        let us = ns / 1_000;
        self.push(itoa::Buffer::new().format(us / 1_000).as_bytes());
        let digit = |unit: u64| b'0' + (us / unit % 10) as u8;
        let digits = [digit(100), digit(10), digit(1)];
        let kept = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
        self.push(b".");
        self.push(&digits[..kept]);
    }
}

impl AsRef<[u8]> for TimingText {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_have_as_many_digits_as_they_need() {
        let ms = 1_000_000;
        let cases = [
            (41_000, Some(0), Some(312_400_000), "gw;dur=0.041, connect;dur=0.0, upstream-head;dur=312.4"),
            (0, None, None, "gw;dur=0.0"),
            (999, Some(1_000), None, "gw;dur=0.0, connect;dur=0.001"),
            (ms - 1, Some(10 * ms), Some(1_050_999), "gw;dur=0.999, connect;dur=10.0, upstream-head;dur=1.05"),
        ];
        for (gateway_ns, connect_ns, upstream_head_ns, wanted) in cases {
            let text = Timing { gateway_ns, connect_ns, upstream_head_ns }.text();
            assert_eq!(std::str::from_utf8(text.as_ref()), Ok(wanted));
        }
    }

    #[test]
    fn the_largest_numbers_fit() {
        let text = Timing { gateway_ns: u64::MAX, connect_ns: Some(u64::MAX), upstream_head_ns: Some(u64::MAX) }.text();
        assert!(text.as_ref().len() <= LEN);
    }
}
