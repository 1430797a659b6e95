//! One admitted request while it is being answered: what is known so far, and the arithmetic that makes an [`Event`] of
//! it when it ends. However it ends, [`Record::close`] is the only way out.
//!
//! All moments are nanoseconds since the process started, handed in by the caller.

use std::collections::VecDeque;

use crate::cost::Prices;
use crate::dialect::Report;
use crate::event::{Event, FirstTry, Gaps, Method, PolicyOutcome, PolicyResult, Verdict};
use crate::fault::{Fault, Kind};
use crate::limits::{CLIENT_WAIT_NS, EVENT_TEXT_BYTES_MAX};
use crate::route::Selection;
use crate::tally::{Usage, UsageSource};
use crate::timing::Timing;
use crate::transcript::Transcript;

/// A request's record, open.
#[derive(Debug)]
pub struct Record {
    event: Event,
    read_whole: Option<u64>,
    handed_over: Option<u64>,
    vendor_read: Option<u64>,
    head_read: Option<u64>,
    /// Bytes read from the vendor → written to the client, less client waits.
    relayed_ns: u64,
    gap_meter: Option<Box<GapMeter>>,
    vendor_finished: bool,
    prompt_words: u64,
    prices: Option<Prices>,
    transcript: Option<Box<Transcript>>,
}

impl Record {
    /// Opens the record of a request to `endpoint`, as soon as its head is understood.
    pub fn begin(endpoint: &'static str, request_id: Box<str>, core: u32) -> Self {
        Self {
            event: Event {
                at_ns: 0,
                ended_ns: 0,
                request_id,
                upstream_request_id: None,
                client: None,
                endpoint,
                group: None,
                arm: None,
                upstream_model: None,
                method: Method::None,
                slot: None,
                translation: None,
                unit_hash: None,
                stream: false,
                status: 0,
                error: None,
                usage: Usage::default(),
                usage_source: UsageSource::None,
                cost_picousd: None,
                latency_ns: 0,
                ttft_ns: None,
                upstream_ns: 0,
                connect_ns: 0,
                client_wait_ns: 0,
                overhead_ns: 0,
                gaps: None,
                attempts: 0,
                first_try: None,
                retry_count: None,
                policies: Box::default(),
                verdict: Verdict::Allow,
                bodies: None,
                core,
            },
            read_whole: None,
            handed_over: None,
            vendor_read: None,
            head_read: None,
            relayed_ns: 0,
            gap_meter: None,
            vendor_finished: false,
            prompt_words: 0,
            prices: None,
            transcript: None,
        }
    }

    /// The log is told to keep bodies, though not with the key that the client showed.
    pub fn keep_bodies(&mut self, shown_key: Option<&[u8]>) {
        self.transcript = Some(Box::default());
        self.keep_secret(shown_key.unwrap_or_default());
    }

    /// Where bodies are kept, this isn't.
    pub fn keep_secret(&mut self, secret: &[u8]) {
        if let Some(transcript) = &mut self.transcript {
            transcript.keep_secret(secret);
        }
    }

    /// The request's body, for a log that keeps it; of several, the last one counts.
    pub fn asks(&mut self, body: &[u8]) {
        if let Some(transcript) = &mut self.transcript {
            transcript.ask(body);
        }
    }

    /// A further piece of the answer's body, for a log that keeps it.
    pub fn answers(&mut self, piece: &[u8]) {
        if let Some(transcript) = &mut self.transcript {
            transcript.answer(piece);
        }
    }

    /// The client gets nothing of what the vendor answered.
    pub fn refuses(&mut self) {
        if let Some(transcript) = &mut self.transcript {
            transcript.forget_answer();
        }
    }

    /// The id that goes out in `x-request-id`.
    pub fn request_id(&self) -> &str {
        &self.event.request_id
    }

    /// Who asks, as an index into the plan's clients, and for which time, as its library says.
    pub fn asked_by(&mut self, client: Option<usize>, retry_count: Option<u16>) {
        // As in `assigned`: it fits.
        self.event.client = client.and_then(|client| u32::try_from(client).ok());
        self.event.retry_count = retry_count;
    }

    /// The request has been read whole.
    pub fn read_whole(&mut self, now: u64) {
        self.read_whole = Some(now);
    }

    /// The client wants a stream.
    pub fn wants_stream(&mut self, stream: bool) {
        self.event.stream = stream;
    }

    /// What the policies said.
    pub fn judged(&mut self, verdict: Verdict, results: Box<[PolicyResult]>) {
        self.event.verdict = verdict;
        self.event.policies = results;
    }

    /// What policies said later: of the answer, or after asking elsewhere. Of one that has judged twice, the worse counts.
    pub fn judged_further(&mut self, verdict: Verdict, results: &[PolicyResult]) {
        self.event.verdict = self.event.verdict.max(verdict);
        let mut all = std::mem::take(&mut self.event.policies).into_vec();
        for result in results {
            match all.iter_mut().find(|before| before.policy == result.policy) {
                Some(before) if weight(result) > weight(before) => before.clone_from(result),
                Some(_) => {}
                None => all.push(result.clone()),
            }
        }
        all.sort_by_key(|result| result.policy);
        self.event.policies = all.into();
    }

    /// The arm that the request got, and what its tokens cost if that is known.
    pub fn assigned(&mut self, selection: &Selection, prices: Option<Prices>) {
        let Selection { group, arm, method, slot, unit_hash } = *selection;
        // Indices of a plan fit: a config file of 1 MiB can't hold 2^32 groups.
        self.event.group = u32::try_from(group).ok();
        self.event.arm = u32::try_from(arm).ok();
        self.event.method = method;
        self.event.slot = slot;
        self.event.unit_hash = unit_hash;
        self.prices = prices;
    }

    /// Group and arm, indices into the plan, once they are assigned.
    pub fn drawn(&self) -> Option<(usize, usize)> {
        Some((self.event.group? as usize, self.event.arm? as usize))
    }

    /// What the request lost in translation; none if it passes as it is.
    pub fn translated(&mut self, report: Option<Report>) {
        self.event.translation = report.map(Box::new);
    }

    /// What the request lost in translation; none if it passes as it is.
    pub fn translation(&self) -> Option<&Report> {
        self.event.translation.as_deref()
    }

    /// A vendor is about to be asked, once more.
    pub fn asking(&mut self) {
        self.event.attempts += 1;
    }

    /// The connection that had been kept for it was stale; the vendor is asked again over another one.
    pub fn asked_in_vain(&mut self, now: u64, fault: &Fault) {
        let upstream_ns = self.handed_over.map_or(0, |handed| now.saturating_sub(handed));
        self.event.first_try = Some(FirstTry { upstream_ns, error: (fault.kind, fault.phase) });
    }

    /// Name, TCP and TLS took this long.
    pub fn connected_in(&mut self, ns: u64) {
        self.event.connect_ns += ns;
    }

    /// The request has been handed to the vendor's socket.
    pub fn handed_over(&mut self, now: u64) {
        self.handed_over = Some(now);
    }

    /// Bytes of the vendor's answer have been read.
    pub fn vendor_read(&mut self, now: u64) {
        self.vendor_read = Some(now);
    }

    /// The head of the vendor's answer has been read.
    pub fn head_read(&mut self, now: u64) {
        self.head_read = Some(now);
    }

    /// What is known of its times when the head of the answer goes out.
    pub fn timing(&self, now: u64) -> Timing {
        let asked = self.event.attempts > 0;
        Timing {
            gateway_ns: self.read_whole.map_or(0, |began| self.ours(began, now)),
            connect_ns: asked.then_some(self.event.connect_ns),
            upstream_head_ns: self.handed_over.zip(self.head_read).map(|(handed, read)| read.saturating_sub(handed)),
        }
    }

    /// From `began` to the hand-over, less connecting; and from the vendor's last bytes until `now`.
    fn ours(&self, began: u64, now: u64) -> u64 {
        let before = self.handed_over.unwrap_or(now).saturating_sub(began);
        before.saturating_sub(elsewhere(&self.event)) + self.vendor_read.map_or(0, |read| now.saturating_sub(read))
    }

    /// The vendor's answer came whole: what it said of usage is its last word, whatever happens to the client.
    pub fn vendor_finished(&mut self) {
        self.vendor_finished = true;
    }

    /// What was read at `read` went to the client between `began` and `written`. A write of over a millisecond is one
    /// that the client held up.
    pub fn passed_on(&mut self, read: u64, began: u64, written: u64) {
        let wait = match written.saturating_sub(began) {
            long if long > CLIENT_WAIT_NS => long,
            _ => 0,
        };
        self.event.client_wait_ns += wait;
        self.relayed_ns += written.saturating_sub(read).saturating_sub(wait);
    }

    /// A content event of a streamed answer was read. Returns how long after the one before, if there was one.
    pub fn content(&mut self, now: u64) -> Option<u64> {
        match &mut self.gap_meter {
            Some(meter) => Some(meter.content(now)),
            None => {
                self.event.ttft_ns = Some(now.saturating_sub(self.read_whole.unwrap_or(now)));
                self.gap_meter = Some(Box::new(GapMeter::new(now)));
                None
            }
        }
    }

    /// The vendor's own id of the request.
    pub fn vendor_says_id(&mut self, id: &str) {
        self.event.upstream_request_id = Some(cut(id));
    }

    /// The model as the vendor's answer names it; the first one counts.
    pub fn vendor_says_model(&mut self, model: &str) {
        if self.event.upstream_model.is_none() {
            self.event.upstream_model = Some(cut(model));
        }
    }

    /// The vendor's count so far; the last one counts.
    pub fn vendor_says_usage(&mut self, usage: Usage) {
        self.event.usage = usage;
        self.event.usage_source = UsageSource::Provider;
    }

    /// What the client was told of an answer of which its vendor said nothing: a count of ours.
    pub fn estimates_usage(&mut self, usage: Usage) {
        self.event.usage = usage;
        self.event.usage_source = UsageSource::Estimated;
    }

    /// How many words the model was asked with at least; to be told of an answer that was cut off, see
    /// [`Usage::at_least`].
    pub fn asked_with(&mut self, words: u64) {
        self.prompt_words = words;
    }

    /// Ends the record. `status` is what the client saw.
    pub fn close(mut self, status: u16, fault: Option<&Fault>, now: u64) -> Event {
        self.settle(status, fault, now);
        self.event
    }

    /// What the record is, should the process die now that the last of the answer is on its way. It isn't closed.
    pub fn draft(&mut self, status: u16, fault: Option<&Fault>, now: u64) -> &Event {
        self.settle(status, fault, now);
        &self.event
    }

    /// Works out what follows from the rest. May be done again, later.
    fn settle(&mut self, status: u16, fault: Option<&Fault>, now: u64) {
        let Self {
            event,
            read_whole,
            handed_over,
            vendor_read,
            head_read: _,
            relayed_ns,
            gap_meter,
            vendor_finished,
            prompt_words,
            prices,
            transcript,
        } = self;
        event.bodies = transcript.as_ref().map(|transcript| Box::new(transcript.bodies()));
        event.status = status;
        event.error = fault.map(|Fault { kind, phase, .. }| (*kind, *phase));
        event.ended_ns = now;
        event.at_ns = read_whole.unwrap_or(now);
        event.latency_ns = now.saturating_sub(event.at_ns);
        event.upstream_ns = match (*handed_over, *vendor_read) {
            (Some(handed), Some(read)) => read.saturating_sub(handed),
            (Some(handed), None) => now.saturating_sub(handed),
            (None, _) => 0,
        };
        let before = handed_over.unwrap_or(now).saturating_sub(event.at_ns);
        event.overhead_ns = before.saturating_sub(elsewhere(event)) + *relayed_ns;
        if let Some(fault) = fault.filter(|_| !*vendor_finished) {
            if event.usage_source == UsageSource::Provider {
                event.usage_source = UsageSource::Partial;
            }
            // A vendor that says itself that it failed has had its last word.
            if fault.kind != Kind::VendorErrorInStream {
                let content_events = gap_meter.as_ref().map_or(0, |meter| meter.n + 1);
                (event.usage, event.usage_source) =
                    event.usage.at_least(event.usage_source, *prompt_words, content_events);
            }
        }
        event.gaps = gap_meter.as_ref().map(|meter| meter.gaps());
        event.cost_picousd = prices.and_then(|prices| match event.usage_source {
            // Of what no vendor was given whole, nothing is billed.
            UsageSource::None if handed_over.is_none() => Some(0),
            UsageSource::None => None,
            UsageSource::Provider | UsageSource::Partial | UsageSource::Estimated => prices.cost(&event.usage),
        });
    }
}

/// What passed before the hand-over and was spent neither by us nor by the vendor's answer, ns.
fn elsewhere(event: &Event) -> u64 {
    event.connect_ns + event.first_try.map_or(0, |first| first.upstream_ns)
}

/// How much a policy's word weighs against an earlier one of its own: that it failed tells more than that it found nothing.
const fn weight(result: &PolicyResult) -> (Verdict, bool) {
    (result.verdict(), matches!(result.result, PolicyOutcome::Error))
}

fn cut(text: &str) -> Box<str> {
    text[..text.floor_char_boundary(EVENT_TEXT_BYTES_MAX)].into()
}

/// The gaps between content events, without keeping them: buckets of a sixteenth of an octave, so a quantile is at most
/// 6.25 % too large.
#[derive(Debug)]
struct GapMeter {
    last: u64,
    n: u64,
    sum: u64,
    max: u64,
    /// Sixteenths of each octave from the lowest to the highest that there was a gap in: a stream's gaps are much alike,
    /// and all octaves together would take more than the rest of its record.
    octaves: VecDeque<[u32; 16]>,
    lowest: usize,
}

/// Sixteenths of an octave, from 1 µs (all below in the first) to 2^26 µs, over a minute (all above in the last).
const BUCKETS: usize = 26 * 16;

impl GapMeter {
    fn new(first: u64) -> Self {
        Self { last: first, n: 0, sum: 0, max: 0, octaves: VecDeque::new(), lowest: 0 }
    }

    fn content(&mut self, now: u64) -> u64 {
        let gap = now.saturating_sub(self.last);
        self.last = now;
        self.n += 1;
        self.sum += gap;
        self.max = self.max.max(gap);
        *self.bucket(bucket_of(gap / 1_000)) += 1;
        gap
    }

    fn bucket(&mut self, bucket: usize) -> &mut u32 {
        let octave = bucket / 16;
        if self.octaves.is_empty() {
            self.lowest = octave;
        }
        while octave < self.lowest {
            self.octaves.push_front([0; 16]);
            self.lowest -= 1;
        }
        while octave - self.lowest >= self.octaves.len() {
            self.octaves.push_back([0; 16]);
        }
        &mut self.octaves[octave - self.lowest][bucket % 16]
    }

    fn gaps(&self) -> Gaps {
        Gaps { n: self.n, mean_ns: self.sum / self.n.max(1), p99_ns: self.quantile_99(), max_ns: self.max }
    }

    fn quantile_99(&self) -> u64 {
        let rank = (self.n * 99).div_ceil(100);
        let mut seen = 0;
        for (bucket, &count) in (16 * self.lowest..).zip(self.octaves.iter().flatten()) {
            seen += u64::from(count);
            if seen >= rank {
                return (upper_us(bucket) * 1_000).min(self.max);
            }
        }
        self.max
    }
}

/// Below 32 µs a bucket is a microsecond; above, octave and the four bits behind the first.
fn bucket_of(us: u64) -> usize {
    if us < 32 {
        return usize::try_from(us).unwrap_or(0);
    }
    let octave = us.ilog2();
    let sixteenth = (us >> (octave - 4)) & 15;
    let bucket = (u64::from(octave) - 3) * 16 + sixteenth;
    usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The largest value of a bucket, µs.
fn upper_us(bucket: usize) -> u64 {
    if bucket < 32 {
        return bucket as u64 + 1;
    }
    let (octave, sixteenth) = (bucket / 16 + 3, bucket % 16);
    ((16 + sixteenth as u64 + 1) << (octave - 4)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Kind as TokenKind;
    use crate::fault::Phase;

    fn record() -> Record {
        Record::begin("/v1/chat/completions", "req".into(), 0)
    }

    #[test]
    fn times_add_up_as_the_contract_says() {
        let mut record = record();
        record.read_whole(1_000_000);
        record.asking();
        record.connected_in(400_000);
        record.handed_over(1_450_000);
        record.vendor_read(9_000_000);
        record.passed_on(9_000_000, 9_010_000, 9_030_000);
        let event = record.close(200, None, 9_030_000);
        assert_eq!(event.at_ns, 1_000_000);
        assert_eq!(event.latency_ns, 8_030_000);
        assert_eq!(event.connect_ns, 400_000);
        assert_eq!(event.upstream_ns, 7_550_000);
        assert_eq!(event.client_wait_ns, 0);
        assert_eq!(event.overhead_ns, 50_000 + 30_000);
        assert_eq!(event.attempts, 1);
    }

    #[test]
    fn what_a_stale_connection_took_is_not_ours() {
        let mut record = record();
        record.read_whole(1_000_000);
        record.asking();
        record.handed_over(1_050_000);
        record.asked_in_vain(3_050_000, &Fault::new(Kind::AnswerMissing, Phase::FirstByte));
        record.asking();
        record.connected_in(400_000);
        record.handed_over(3_500_000);
        record.vendor_read(9_000_000);
        record.passed_on(9_000_000, 9_010_000, 9_030_000);
        let event = record.close(200, None, 9_030_000);
        let error = (Kind::AnswerMissing, Phase::FirstByte);
        assert_eq!((event.attempts, event.first_try), (2, Some(FirstTry { upstream_ns: 2_000_000, error })));
        assert_eq!((event.connect_ns, event.upstream_ns, event.overhead_ns), (400_000, 5_500_000, 100_000 + 30_000));
    }

    #[test]
    fn a_head_says_what_is_known_until_then() {
        let mut record = record();
        let timing = |record: &Record, now| {
            let Timing { gateway_ns, connect_ns, upstream_head_ns } = record.timing(now);
            (gateway_ns, connect_ns, upstream_head_ns)
        };
        assert_eq!(timing(&record, 500), (0, None, None));
        record.read_whole(1_000);
        assert_eq!(timing(&record, 1_500), (500, None, None));
        record.asking();
        record.connected_in(400);
        assert_eq!(timing(&record, 1_500), (100, Some(400), None));
        record.handed_over(1_450);
        assert_eq!(timing(&record, 9_000), (50, Some(400), None), "the vendor's time is not ours");
        record.vendor_read(8_000);
        record.head_read(8_000);
        record.vendor_read(8_500);
        assert_eq!(timing(&record, 9_000), (550, Some(400), Some(6_550)));
    }

    #[test]
    fn a_slow_reader_is_not_our_overhead() {
        let mut record = record();
        record.read_whole(0);
        record.handed_over(10_000);
        record.vendor_read(20_000);
        record.passed_on(20_000, 25_000, 900_000_000);
        let event = record.close(200, None, 900_000_000);
        assert_eq!(event.client_wait_ns, 899_975_000);
        assert_eq!(event.overhead_ns, 10_000 + 5_000);
    }

    #[test]
    fn a_request_never_read_whole_has_no_latency() {
        let fault = Fault::new(Kind::BodyTooLarge, Phase::Body);
        let event = record().close(413, Some(&fault), 5_000);
        assert_eq!((event.at_ns, event.latency_ns, event.overhead_ns), (5_000, 0, 0));
        assert_eq!(event.error, Some((Kind::BodyTooLarge, Phase::Body)));
    }

    #[test]
    fn usage_of_an_answer_cut_off_is_partial() {
        let usage = Usage { prompt_tokens: 7, total_tokens: 7, ..Usage::default() };
        let mut torn = record();
        torn.vendor_says_usage(usage);
        let event = torn.close(502, Some(&Fault::new(Kind::AnswerTorn, Phase::Stream)), 1);
        assert_eq!((event.usage, event.usage_source), (usage, UsageSource::Partial));
        let mut whole = record();
        whole.vendor_says_usage(usage);
        assert_eq!(whole.close(200, None, 1).usage_source, UsageSource::Provider);
    }

    #[test]
    fn what_was_cut_off_costs_at_least_what_came_of_it() {
        let gone = Fault::new(Kind::ClientGone, Phase::Stream);
        let mut silent = record();
        (0..3).for_each(|n| {
            silent.content(n);
        });
        silent.asked_with(5);
        let event = silent.close(499, Some(&gone), 9);
        let counted = Usage { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8, ..Usage::default() };
        assert_eq!((event.usage, event.usage_source), (counted, UsageSource::Estimated));
        // A vendor that was done has the last word.
        let mut done = record();
        (0..3).for_each(|n| {
            done.content(n);
        });
        done.vendor_finished();
        let event = done.close(499, Some(&gone), 9);
        assert_eq!((event.usage, event.usage_source), (Usage::default(), UsageSource::None));
    }

    #[test]
    fn a_cost_is_known_where_usage_and_prices_are() {
        let prices = Prices::default().with(TokenKind::Input, 10);
        let selection = Selection { group: 0, arm: 1, method: Method::Hash, slot: None, unit_hash: Some(7) };
        let usage = Usage { prompt_tokens: 7, total_tokens: 7, ..Usage::default() };
        let cost = |priced: bool, handed_over: bool, usage: Option<Usage>| {
            let mut record = record();
            record.assigned(&selection, priced.then_some(prices));
            if handed_over {
                record.handed_over(1);
            }
            if let Some(usage) = usage {
                record.vendor_says_usage(usage);
            }
            record.close(200, None, 2).cost_picousd
        };
        assert_eq!(cost(true, true, Some(usage)), Some(70));
        assert_eq!(cost(false, true, Some(usage)), None, "nobody knows the prices");
        assert_eq!(cost(true, true, None), None, "nobody knows what was used");
        assert_eq!(cost(true, false, None), Some(0), "nobody was asked");
        assert_eq!(cost(true, true, Some(Usage { completion_tokens: 1, ..usage })), None, "output has no price");
    }

    #[test]
    fn first_content_and_the_gaps_behind_it_are_measured() {
        let mut record = record();
        record.read_whole(1_000_000);
        for n in 0..101_u64 {
            record.content(5_000_000 + n * 2_000_000);
        }
        let event = record.close(200, None, 300_000_000);
        assert_eq!(event.ttft_ns, Some(4_000_000));
        let gaps = event.gaps.unwrap();
        assert_eq!((gaps.n, gaps.mean_ns, gaps.max_ns), (100, 2_000_000, 2_000_000));
        assert_eq!(gaps.p99_ns, 2_000_000);
    }

    #[test]
    fn gaps_of_any_order_and_size_have_their_quantile() {
        let ascending: Vec<u64> = (0..2_000).map(|n| n * n * 15).collect();
        let descending: Vec<u64> = ascending.iter().rev().copied().collect();
        let mixed: Vec<u64> = (0..2_000).map(|n| ascending[n * 1_013 % 2_000]).collect();
        for gaps_us in [ascending, descending, mixed] {
            let mut record = record();
            let mut now = 0;
            record.content(now);
            for &us in &gaps_us {
                now += us * 1_000;
                record.content(now);
            }
            let event = record.close(200, None, now);
            let gaps = event.gaps.unwrap();
            let p99_us = (gaps.p99_ns / 1_000) as f64;
            let truth = (1_979 * 1_979 * 15) as f64;
            assert_eq!((gaps.n, gaps.max_ns), (2_000, 1_999 * 1_999 * 15_000));
            assert!((truth..=truth * 1.07).contains(&p99_us), "{p99_us} for {truth}");
        }
    }

    #[test]
    fn a_gap_bucket_is_never_below_its_values_and_at_most_a_sixteenth_above() {
        for us in (0..200_000).chain((200_000..60_000_000).step_by(9_973)) {
            let upper = upper_us(bucket_of(us));
            assert!(upper >= us, "{us} µs lies above its bucket's end {upper}");
            assert!(us < 32 || (upper - us) as f64 <= us as f64 / 16.0, "{us} µs is shown as {upper}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_vendors_texts_are_cut_at_a_character() {
        let mut record = record();
        record.vendor_says_model(&"é".repeat(200));
        let event = record.close(200, None, 0);
        assert_eq!(event.upstream_model.unwrap().len(), 256);
    }
}
