//! What a quick vendor writes into its answers, so that a client knows of each what the vendor's part in it was: which
//! request it answers, which piece of the answer it is, when the request had come, when the piece went out.
//!
//! A stamp is text of a fixed length without any character that JSON would escape, and it stands in the content of a
//! message: that is the one thing which every gateway passes on, also those that take an answer apart and build a new
//! one from its pieces.

use std::ops::Range;

use memchr::memmem;

/// How a request says its number: in its first message's text.
const ASK: &[u8] = b"kt-ask:";
const MARK: &[u8] = b"kt-stamp:";
/// Hexadecimal digits of each number.
const DIGITS: usize = 16;

/// Length of what [`Ask::write`] writes.
pub const ASK_BYTES: usize = ASK.len() + 4 * DIGITS + 1;
/// Length of what [`Stamp::write`] writes.
pub const STAMP_BYTES: usize = MARK.len() + 4 * DIGITS + 1;

/// What stands in a piece of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The request's own number.
    pub ask: u64,
    /// Which piece of the answer this is, from 0.
    pub nth: u64,
    /// When the request had been read whole.
    pub received_ns: u64,
    /// When this piece went out.
    pub sent_ns: u64,
}

/// What a request says of itself: its number, and how it would like to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its number.
    pub number: u64,
    /// How; `None` leaves it to the vendor's own settings.
    pub wish: Option<Wish>,
}

/// How an answer is to come: one vendor so serves every case of a measurement, through a gateway that knows of one vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Time to the answer, or to its first event.
    pub delay_us: u64,
    /// Content events of a stream.
    pub events: u64,
    /// Time from each to the next.
    pub gap_us: u64,
}

impl Ask {
    /// Writes it, to be read by [`Ask::read`].
    pub fn write(self, out: &mut Vec<u8>) {
        // No time is as long as all ones say: that is no wish.
        let none = Wish { delay_us: u64::MAX, events: u64::MAX, gap_us: u64::MAX };
        let Wish { delay_us, events, gap_us } = self.wish.unwrap_or(none);
        out.extend_from_slice(ASK);
        for number in [self.number, delay_us, events, gap_us] {
            out.extend_from_slice(&hex(number));
        }
        out.push(b';');
    }

    /// Changes the number of one that was written at `at`.
    pub fn renumber(out: &mut [u8], at: usize, number: u64) {
        out[at + ASK.len()..at + ASK.len() + DIGITS].copy_from_slice(&hex(number));
    }

    /// Reads that of a request, by its body. It stands near the front or not at all: a prompt may be long.
    pub fn read(body: &[u8]) -> Option<Self> {
        const FRONT_BYTES: usize = 2_048;
        let front = &body[..body.len().min(FRONT_BYTES)];
        let at = memmem::find(front, ASK)?;
        let mut numbers = front.get(at + ASK.len()..at + ASK_BYTES - 1)?.chunks(DIGITS).map(unhex);
        let mut next = || numbers.next()?;
        let (number, delay_us, events, gap_us) = (next()?, next()?, next()?, next()?);
        let wish = (delay_us != u64::MAX).then_some(Wish { delay_us, events, gap_us });
        Some(Self { number, wish })
    }
}

impl Stamp {
    /// Writes it.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(MARK);
        for number in [self.ask, self.nth, self.received_ns, self.sent_ns] {
            out.extend_from_slice(&hex(number));
        }
        out.push(b';');
    }

    /// The first stamp in `text`, and where it stands.
    pub fn find(text: &[u8]) -> Option<(Self, Range<usize>)> {
        let start = memmem::find(text, MARK)?;
        let stamp = text.get(start..start + STAMP_BYTES)?;
        let (digits, end) = stamp[MARK.len()..].split_at(4 * DIGITS);
        let mut numbers = digits.chunks(DIGITS).map(unhex);
        let mut next = || numbers.next()?;
        let read = Self { ask: next()?, nth: next()?, received_ns: next()?, sent_ns: next()? };
        (end == b";").then_some((read, start..start + STAMP_BYTES))
    }
}

fn hex(number: u64) -> [u8; DIGITS] {
    const ALPHABET: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|place| ALPHABET[(number >> (4 * (DIGITS - 1 - place))) as usize & 0xf])
}

fn unhex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, &digit| Some(number << 4 | u64::from((digit as char).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_wherever_it_stands() {
        let stamp = Stamp { ask: 7, nth: 99, received_ns: u64::MAX, sent_ns: 1 << 40 };
        let mut text = br#"{"content":"kt-st"#.to_vec();
        let start = text.len();
        stamp.write(&mut text);
        text.extend_from_slice(b"and more\"}");
        assert_eq!(Stamp::find(&text), Some((stamp, start..start + STAMP_BYTES)));
        assert!(text[start..start + STAMP_BYTES].iter().all(|&b| b.is_ascii_graphic() && b != b'"' && b != b'\\'));
        for cut in 0..start + STAMP_BYTES {
            assert_eq!(Stamp::find(&text[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_request_carries_its_number_which_can_be_changed() {
        for wish in [None, Some(Wish { delay_us: 1, events: 100, gap_us: 20_000 })] {
            let mut body = br#"{"messages":[{"content":""#.to_vec();
            let at = body.len();
            Ask { number: 3, wish }.write(&mut body);
            assert_eq!(body.len(), at + ASK_BYTES);
            body.extend_from_slice(b" and the rest");
            assert_eq!(Ask::read(&body), Some(Ask { number: 3, wish }));
            Ask::renumber(&mut body, at, u64::MAX - 1);
            assert_eq!(Ask::read(&body), Some(Ask { number: u64::MAX - 1, wish }));
        }
        for (body, what) in [(&b"kt-ask:12"[..], "cut"), (&[b'g'; 80], "no mark"), (b"", "nothing")] {
            assert_eq!(Ask::read(body), None, "{what}");
        }
    }
}
