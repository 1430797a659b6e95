//! Events of a stream on their way to the client, held back until what they say is settled, and what is taken out of them.

use std::collections::VecDeque;

use super::tail::Hit;

/// Events that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    /// Where `bytes` starts, counted from the beginning of the stream.
    start: usize,
    /// Where each event ends.
    ends: VecDeque<usize>,
    /// What is taken out, and what stands there instead.
    cuts: Vec<(usize, usize, &'static str)>,
}

impl Held {
    /// Takes an event; returns where it starts.
    pub(super) fn push(&mut self, event: &[u8]) -> usize {
        let start = self.start + self.bytes.len();
        self.bytes.extend_from_slice(event);
        self.ends.push_back(start + event.len());
        start
    }

    /// How many bytes wait.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes something out: the mask stands where its first bytes stood.
    pub(super) fn cut(&mut self, hit: &Hit<'_>) {
        let mut mask = hit.mask;
        for &(start, end) in hit.places {
            match self.cuts.last_mut() {
                // The bytes of one character are said together.
                Some((_, last, _)) if *last == end => {}
                Some((_, last, _)) if *last == start && mask.is_empty() => *last = end,
                Some(_) | None => self.cuts.push((start, end, std::mem::take(&mut mask))),
            }
        }
    }

    /// Lets the events go whose every byte lies before `open`.
    pub(super) fn release(&mut self, open: Option<usize>, out: &mut Vec<u8>) {
        let mut until = self.start;
        while let Some(end) = self.ends.pop_front_if(|end| open.is_none_or(|open| *end <= open)) {
            until = end;
        }
        if until == self.start {
            return;
        }
        // Of several lanes, what stands first isn't always settled first.
        self.cuts.sort_unstable();
        let mut copied = self.start;
        let settled = self.cuts.iter().take_while(|(start, ..)| *start < until).count();
        for (start, end, mask) in self.cuts.drain(..settled) {
            out.extend_from_slice(&self.bytes[copied - self.start..start - self.start]);
            out.extend_from_slice(mask.as_bytes());
            copied = end;
        }
        out.extend_from_slice(&self.bytes[copied - self.start..until - self.start]);
        self.bytes.drain(..until - self.start);
        self.start = until;
    }
}
