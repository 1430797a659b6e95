//! A closed record as bytes: how a core leaves it for the writer, or for the next process.
//!
//! Nothing in it refers to anything else: names of the plan are written out, words are words. So a process that knows
//! neither the plan nor the indices of its predecessor can still make lines of what that one left. The layout itself
//! may differ between versions; [`layout`] tells whether it does.
//!
//! Numbers are little-endian and of fixed width, texts have their length in front. Whoever keeps a frame adds the
//! checksum; here a frame is right or it isn't one.

use super::{Event, FirstTry, Gaps, Method, PolicyResult};
use crate::config::plan::Plan;
use crate::fault::{Kind, Phase};
use crate::limits::{EVENT_BODY_BYTES_MAX, EVENT_LIST_LEN_MAX, EVENT_TEXT_BYTES_MAX};
use crate::policy::Severity;
use crate::record::Record;
use crate::tally::Usage;
use crate::transcript::{Bodies, Body};

/// A decision, read from its frame: an [`Event`] with the plan's names in the place of indices.
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    /// See [`Event::at_ns`]; and so on, field by field.
    pub at_ns: u64,
    /// Answer ended.
    pub ended_ns: u64,
    /// What `x-request-id` said.
    pub request_id: &'a str,
    /// The vendor's id.
    pub upstream_request_id: Option<&'a str>,
    /// Who asked.
    pub client: Option<&'a str>,
    /// The path.
    pub endpoint: &'a str,
    /// The group's name and epoch.
    pub group: Option<GroupNames<'a>>,
    /// What was drawn.
    pub arm: Option<ArmNames<'a>>,
    /// The model as the vendor said it.
    pub upstream_model: Option<&'a str>,
    /// How the arm came about: `block`, `direct`, …
    pub method: &'a str,
    /// The chance with which a draw gives this arm; none where nothing was drawn.
    pub propensity: Option<f64>,
    /// The group's place.
    pub slot: Option<u64>,
    /// What tells the unit apart that the arm was assigned by.
    pub unit_hash: Option<u64>,
    /// The config's ordinal.
    pub ordinal: u64,
    /// The config's digest.
    pub digest: &'a str,
    /// Which fields a translation approximated, and which it dropped; none where nothing was translated.
    pub translation: Option<[List<'a>; 2]>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// As the client saw it.
    pub status: u16,
    /// Side, kind and phase of what went wrong.
    pub error: Option<[&'a str; 3]>,
    /// Tokens.
    pub usage: Usage,
    /// Where they come from.
    pub usage_source: &'a str,
    /// What it cost, in pico-dollars.
    pub cost_picousd: Option<u64>,
    /// Where the arm's prices come from, and which they are; none where it has none.
    pub pricing: Option<[&'a str; 2]>,
    /// The whole of it.
    pub latency_ns: u64,
    /// To the first content.
    pub ttft_ns: Option<u64>,
    /// The vendor's part.
    pub upstream_ns: u64,
    /// Connecting.
    pub connect_ns: u64,
    /// The slow reader's part.
    pub client_wait_ns: u64,
    /// Ours.
    pub overhead_ns: u64,
    /// Between content events.
    pub gaps: Option<Gaps>,
    /// How often a vendor was asked.
    pub attempts: u32,
    /// The first of two tries: how long it took, and side, kind and phase of its end.
    pub first_try: Option<(u64, [&'a str; 3])>,
    /// Which retry this is.
    pub retry_count: Option<u64>,
    /// What each policy said.
    pub policies: List<'a>,
    /// The worst of them.
    pub verdict: &'a str,
    /// The beginnings of request and answer; none where the log doesn't keep them.
    pub bodies: Option<[&'a str; 2]>,
    /// Core that served it.
    pub core: u32,
    /// Whether texts or lists were cut to fit.
    pub cut: bool,
    /// The process died while the last of the answer was on its way: nobody knows whether the client got it.
    pub unconfirmed: bool,
}

/// A group, by name.
#[derive(Clone, Copy, Debug)]
pub struct GroupNames<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its epoch.
    pub epoch: &'a str,
}

/// An arm and its target, by name.
#[derive(Clone, Copy, Debug)]
pub struct ArmNames<'a> {
    /// The arm.
    pub name: &'a str,
    /// The model as configured.
    pub model: &'a str,
    /// Its weight.
    pub weight: u32,
    /// The target's id.
    pub target_id: &'a str,
    /// The target's provider.
    pub provider: &'a str,
}

/// What one policy said, by name.
#[derive(Clone, Copy, Debug)]
pub struct PolicyNames<'a> {
    /// Name, type and action; none if the plan doesn't know the policy.
    pub policy: Option<[&'a str; 3]>,
    /// `pass`, `blocked`, …
    pub result: &'a str,
    /// Whether it found something.
    pub flagged: bool,
    /// Where.
    pub category: Option<&'a str>,
    /// How sure it is, in thousandths.
    pub score_thousandths: Option<u64>,
    /// How severe that is.
    pub severity: Option<&'a str>,
}

/// A list within a frame; its items are read as they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct List<'a>(&'a [u8]);

/// How much of texts and lists a frame takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Everything within its own bound.
    Whole,
    /// Little, so that a frame stays below [`EVENT_FRAME_BYTES_MAX`](crate::limits::EVENT_FRAME_BYTES_MAX) whatever it holds.
    Short,
}

impl Room {
    const fn text_bytes_max(self) -> usize {
        match self {
            Self::Whole => EVENT_TEXT_BYTES_MAX,
            Self::Short => 32,
        }
    }

    const fn list_len_max(self) -> usize {
        match self {
            Self::Whole => EVENT_LIST_LEN_MAX,
            Self::Short => 2,
        }
    }
}

/// A number that changes when the layout does: what was written under another one can't be read.
pub fn layout() -> u64 {
    let mut frame = Vec::new();
    let blank = Record::begin("", Box::default(), 0).close(0, None, 0);
    Frame { out: &mut frame, room: Room::Whole, cut: false }.event(&blank, Names::default());
    // FNV-1a, 64 bits: any change of a byte or of their number will do.
    frame.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

impl Event {
    /// Writes the event's frame into `out`, whose old content goes. `plan` is the one that answered the request.
    pub fn encode(&self, plan: &Plan, room: Room, out: &mut Vec<u8>) {
        out.clear();
        Frame { out, room, cut: false }.event(self, Names::of(self, plan));
    }
}

/// What the plan knows of an event.
#[derive(Default)]
struct Names<'p> {
    plan: Option<&'p Plan>,
    client: Option<&'p str>,
    group: Option<GroupNames<'p>>,
    arm: Option<ArmNames<'p>>,
    propensity: Option<f64>,
    pricing: Option<[&'p str; 2]>,
    ordinal: u64,
    digest: &'p str,
}

impl<'p> Names<'p> {
    fn of(event: &Event, plan: &'p Plan) -> Self {
        let group = event.group.and_then(|group| plan.groups.get(group as usize));
        let arm = group.zip(event.arm).and_then(|(group, arm)| group.arms.get(arm as usize));
        let target = arm.and_then(|arm| plan.targets.get(arm.target));
        let propensity = arm.and_then(|arm| match event.method {
            Method::Block => Some(arm.propensity),
            Method::Hash => Some(arm.weight_share),
            Method::Direct | Method::RoundRobin | Method::LeastLatency | Method::None => None,
        });
        let pricing = arm.and_then(|arm| arm.pricing.as_ref());
        Self {
            plan: Some(plan),
            client: event.client.and_then(|client| plan.client(client as usize)),
            group: group.map(|group| GroupNames { name: &group.name, epoch: &group.epoch }),
            arm: arm.zip(target).map(|(arm, target)| ArmNames {
                name: &arm.name,
                model: &arm.model,
                weight: arm.weight,
                target_id: &target.id,
                provider: target.provider.as_str(),
            }),
            propensity,
            pricing: pricing.map(|pricing| [pricing.source.as_str(), &*pricing.version]),
            ordinal: plan.version.ordinal,
            digest: &plan.version.digest,
        }
    }
}

/// A frame that is being written.
struct Frame<'o> {
    out: &'o mut Vec<u8>,
    room: Room,
    cut: bool,
}

impl Frame<'_> {
    /// Every field, by name: one that is added to [`Event`] has to be added here, and in [`Decision::decode`].
    fn event(mut self, event: &Event, names: Names<'_>) {
        let Event {
            at_ns,
            ended_ns,
            request_id,
            upstream_request_id,
            client: _,
            endpoint,
            group: _,
            arm: _,
            upstream_model,
            method,
            slot,
            unit_hash,
            translation,
            stream,
            status,
            error,
            usage,
            usage_source,
            cost_picousd,
            latency_ns,
            ttft_ns,
            upstream_ns,
            connect_ns,
            client_wait_ns,
            overhead_ns,
            gaps,
            attempts,
            first_try,
            retry_count,
            policies,
            verdict,
            bodies,
            core,
        } = event;
        self.flag(false);
        self.number(*at_ns);
        self.number(*ended_ns);
        self.text(request_id);
        self.optional(upstream_request_id.as_deref(), Self::text);
        self.optional(names.client, Self::text);
        self.text(endpoint);
        self.optional(names.group, |frame, group| {
            frame.text(group.name);
            frame.text(group.epoch);
        });
        self.optional(names.arm, |frame, arm| {
            frame.text(arm.name);
            frame.text(arm.model);
            frame.number(u64::from(arm.weight));
            frame.text(arm.target_id);
            frame.text(arm.provider);
        });
        self.optional(upstream_model.as_deref(), Self::text);
        self.text(method.as_str());
        self.optional(names.propensity, |frame, share| frame.number(share.to_bits()));
        self.optional(*slot, Self::number);
        self.optional(*unit_hash, Self::number);
        self.number(names.ordinal);
        self.text(names.digest);
        self.optional(translation.as_deref(), |frame, report| {
            frame.list(report.approximated(), |frame, path| frame.text(path));
            frame.list(report.dropped(), |frame, path| frame.text(path));
        });
        self.flag(*stream);
        self.number(u64::from(*status));
        self.optional(*error, Self::error);
        self.usage(usage);
        self.text(usage_source.as_str());
        self.optional(*cost_picousd, Self::number);
        self.optional(names.pricing, |frame, [source, version]| {
            frame.text(source);
            frame.text(version);
        });
        self.number(*latency_ns);
        self.optional(*ttft_ns, Self::number);
        self.number(*upstream_ns);
        self.number(*connect_ns);
        self.number(*client_wait_ns);
        self.number(*overhead_ns);
        self.optional(*gaps, |frame, Gaps { n, mean_ns, p99_ns, max_ns }| {
            for number in [n, mean_ns, p99_ns, max_ns] {
                frame.number(number);
            }
        });
        self.number(u64::from(*attempts));
        self.optional(*first_try, |frame, FirstTry { upstream_ns, error }| {
            frame.number(upstream_ns);
            frame.error(error);
        });
        self.optional(retry_count.map(u64::from), Self::number);
        self.list(policies, |frame, policy| frame.policy(policy, names.plan));
        self.text(verdict.as_str());
        self.optional(bodies.as_deref(), |frame, Bodies { asked, answered }| {
            frame.body(asked);
            frame.body(answered);
        });
        self.number(u64::from(*core));
        self.out[0] = u8::from(self.cut);
    }

    fn error(&mut self, (kind, phase): (Kind, Phase)) {
        self.text(kind.side().as_str());
        self.text(kind.as_str());
        self.text(phase.as_str());
    }

    fn usage(&mut self, usage: &Usage) {
        let Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens,
            cached_tokens,
            cache_write_tokens,
            cache_write_1h_tokens,
            reasoning_tokens,
        } = *usage;
        let counts = [
            prompt_tokens,
            completion_tokens,
            total_tokens,
            cached_tokens,
            cache_write_tokens,
            cache_write_1h_tokens,
            reasoning_tokens,
        ];
        for count in counts {
            self.number(count);
        }
    }

    fn policy(&mut self, result: &PolicyResult, plan: Option<&Plan>) {
        let PolicyResult { policy, result, flagged, category, score_thousandths, severity } = result;
        let policy = plan.and_then(|plan| plan.policies.get(*policy as usize));
        self.optional(policy, |frame, policy| {
            frame.text(&policy.name);
            frame.text(policy.kind());
            frame.text(policy.action.as_str());
        });
        self.text(result.as_str());
        self.flag(*flagged);
        self.optional(*category, Self::text);
        self.optional(score_thousandths.map(u64::from), Self::number);
        self.optional(severity.map(Severity::as_str), Self::text);
    }

    fn number(&mut self, number: u64) {
        self.out.extend_from_slice(&number.to_le_bytes());
    }

    fn flag(&mut self, flag: bool) {
        self.out.push(u8::from(flag));
    }

    fn text(&mut self, text: &str) {
        let kept = &text[..text.floor_char_boundary(self.room.text_bytes_max())];
        self.cut |= kept.len() < text.len();
        self.put(kept);
    }

    fn body(&mut self, body: &Body) {
        let kept = match self.room {
            Room::Whole => &body.text[..body.text.floor_char_boundary(EVENT_BODY_BYTES_MAX)],
            Room::Short => "",
        };
        self.cut |= body.cut || kept.len() < body.text.len();
        self.put(kept);
    }

    /// A text of at most 64 KiB.
    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
    }

    fn optional<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    /// Its bytes are counted in front, so that a reader may pass over it.
    fn list<T>(&mut self, items: &[T], mut put: impl FnMut(&mut Self, &T)) {
        let kept = items.len().min(self.room.list_len_max());
        self.cut |= kept < items.len();
        let at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        for item in &items[..kept] {
            put(self, item);
        }
        let len = (self.out.len() - at - 4) as u32;
        self.out[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }
}

impl<'a> Decision<'a> {
    /// Reads a frame; none if it isn't one of this layout. What follows its end is left alone.
    pub fn decode(frame: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(frame);
        let rest = &mut rest;
        Some(Self {
            cut: rest.flag()?,
            unconfirmed: false,
            at_ns: rest.number()?,
            ended_ns: rest.number()?,
            request_id: rest.text()?,
            upstream_request_id: rest.optional(Rest::text)?,
            client: rest.optional(Rest::text)?,
            endpoint: rest.text()?,
            group: rest.optional(|rest| Some(GroupNames { name: rest.text()?, epoch: rest.text()? }))?,
            arm: rest.optional(Rest::arm)?,
            upstream_model: rest.optional(Rest::text)?,
            method: rest.text()?,
            propensity: rest.optional(Rest::number)?.map(f64::from_bits),
            slot: rest.optional(Rest::number)?,
            unit_hash: rest.optional(Rest::number)?,
            ordinal: rest.number()?,
            digest: rest.text()?,
            translation: rest.optional(|rest| Some([rest.list()?, rest.list()?]))?,
            stream: rest.flag()?,
            status: rest.number()?.try_into().ok()?,
            error: rest.optional(Rest::error)?,
            usage: rest.usage()?,
            usage_source: rest.text()?,
            cost_picousd: rest.optional(Rest::number)?,
            pricing: rest.optional(|rest| Some([rest.text()?, rest.text()?]))?,
            latency_ns: rest.number()?,
            ttft_ns: rest.optional(Rest::number)?,
            upstream_ns: rest.number()?,
            connect_ns: rest.number()?,
            client_wait_ns: rest.number()?,
            overhead_ns: rest.number()?,
            gaps: rest.optional(Rest::gaps)?,
            attempts: rest.number()?.try_into().ok()?,
            first_try: rest.optional(|rest| Some((rest.number()?, rest.error()?)))?,
            retry_count: rest.optional(Rest::number)?,
            policies: rest.list()?,
            verdict: rest.text()?,
            bodies: rest.optional(|rest| Some([rest.text()?, rest.text()?]))?,
            core: rest.number()?.try_into().ok()?,
        })
    }

    /// The same, cut so far that its line stays below
    /// [`EVENT_DECISION_BYTES_MAX`](crate::limits::EVENT_DECISION_BYTES_MAX) whatever is in it.
    pub fn shortened(&self) -> Self {
        let cut = |text: &'a str| &text[..text.floor_char_boundary(Room::Short.text_bytes_max())];
        Self {
            request_id: cut(self.request_id),
            upstream_request_id: self.upstream_request_id.map(cut),
            client: self.client.map(cut),
            endpoint: cut(self.endpoint),
            group: self.group.map(|GroupNames { name, epoch }| GroupNames { name: cut(name), epoch: cut(epoch) }),
            arm: self.arm.map(|arm| ArmNames {
                name: cut(arm.name),
                model: cut(arm.model),
                target_id: cut(arm.target_id),
                provider: cut(arm.provider),
                ..arm
            }),
            upstream_model: self.upstream_model.map(cut),
            pricing: self.pricing.map(|texts| texts.map(cut)),
            translation: self.translation.map(|lists| lists.map(|list| list.shortened(Rest::text))),
            policies: self.policies.shortened(Rest::policy),
            bodies: self.bodies.map(|_| [""; 2]),
            cut: true,
            ..self.clone()
        }
    }

    /// The policies' results.
    pub fn policies(&self) -> impl Iterator<Item = PolicyNames<'a>> + use<'a> {
        let mut rest = Rest(self.policies.0);
        std::iter::from_fn(move || rest.policy())
    }
}

impl<'a> List<'a> {
    /// The items of a list of texts.
    pub fn texts(self) -> impl Iterator<Item = &'a str> {
        let mut rest = Rest(self.0);
        std::iter::from_fn(move || rest.text())
    }

    /// As many of its items as are small together.
    fn shortened<T>(self, read: impl Fn(&mut Rest<'a>) -> Option<T>) -> Self {
        let mut rest = Rest(self.0);
        let mut kept = 0;
        while read(&mut rest).is_some() && self.0.len() - rest.0.len() <= 160 {
            kept = self.0.len() - rest.0.len();
        }
        Self(&self.0[..kept])
    }
}

/// What of a frame hasn't been read yet.
#[derive(Clone, Copy)]
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        std::str::from_utf8(self.take(usize::from(len))?).ok()
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    fn list(&mut self) -> Option<List<'a>> {
        let len = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(len as usize).map(List)
    }

    fn error(&mut self) -> Option<[&'a str; 3]> {
        Some([self.text()?, self.text()?, self.text()?])
    }

    fn arm(&mut self) -> Option<ArmNames<'a>> {
        Some(ArmNames {
            name: self.text()?,
            model: self.text()?,
            weight: self.number()?.try_into().ok()?,
            target_id: self.text()?,
            provider: self.text()?,
        })
    }

    fn usage(&mut self) -> Option<Usage> {
        Some(Usage {
            prompt_tokens: self.number()?,
            completion_tokens: self.number()?,
            total_tokens: self.number()?,
            cached_tokens: self.number()?,
            cache_write_tokens: self.number()?,
            cache_write_1h_tokens: self.number()?,
            reasoning_tokens: self.number()?,
        })
    }

    fn gaps(&mut self) -> Option<Gaps> {
        Some(Gaps { n: self.number()?, mean_ns: self.number()?, p99_ns: self.number()?, max_ns: self.number()? })
    }

    fn policy(&mut self) -> Option<PolicyNames<'a>> {
        Some(PolicyNames {
            policy: self.optional(|rest| Some([rest.text()?, rest.text()?, rest.text()?]))?,
            result: self.text()?,
            flagged: self.flag()?,
            category: self.optional(Self::text)?,
            score_thousandths: self.optional(Self::number)?,
            severity: self.optional(Self::text)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;
    use crate::limits::{EVENT_DECISION_BYTES_MAX, EVENT_FRAME_BYTES_MAX};

    #[test]
    fn a_frame_cut_anywhere_is_none() {
        let mut frame = Vec::new();
        samples::streamed().encode(&samples::plan(), Room::Whole, &mut frame);
        for len in 0..frame.len() {
            assert!(Decision::decode(&frame[..len]).is_none(), "{len} of {} bytes", frame.len());
        }
        frame.extend_from_slice(b"what comes behind it");
        assert!(Decision::decode(&frame).is_some());
    }

    #[test]
    fn damage_is_never_a_panic() {
        let mut frame = Vec::new();
        samples::streamed().encode(&samples::plan(), Room::Whole, &mut frame);
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut damaged = frame.clone();
                damaged[at] ^= 1 << bit;
                if let Some(decision) = Decision::decode(&damaged) {
                    decision.write_line(&samples::STAMP, &mut Vec::new());
                }
            }
        }
    }

    #[test]
    fn whatever_an_event_holds_its_short_frame_and_line_stay_within_their_bounds() {
        for text in ["\u{1}", "é", "\u{1F980}", "\\"] {
            let event = samples::monstrous(&text.repeat(300));
            let mut frame = Vec::new();
            event.encode(&samples::plan(), Room::Whole, &mut frame);
            let whole = frame.len();
            event.encode(&samples::plan(), Room::Short, &mut frame);
            assert!(frame.len() <= EVENT_FRAME_BYTES_MAX && frame.len() < whole, "{} bytes", frame.len());
            let decision = Decision::decode(&frame).unwrap();
            assert!(decision.cut);
            let mut line = Vec::new();
            decision.write_line(&samples::STAMP, &mut line);
            assert!(line.len() <= EVENT_DECISION_BYTES_MAX, "{} bytes", line.len());
        }
    }

    #[test]
    fn a_line_that_escapes_make_too_long_can_be_shortened() {
        let event = samples::monstrous(&"\u{1}".repeat(300));
        let (mut frame, mut line) = (Vec::new(), Vec::new());
        event.encode(&samples::plan(), Room::Whole, &mut frame);
        let decision = Decision::decode(&frame).unwrap();
        decision.write_line(&samples::STAMP, &mut line);
        assert!(line.len() > EVENT_DECISION_BYTES_MAX);
        line.clear();
        decision.shortened().write_line(&samples::STAMP, &mut line);
        assert!(line.len() <= EVENT_DECISION_BYTES_MAX, "{} bytes", line.len());
    }

    #[test]
    fn the_layout_is_always_the_same() {
        assert_eq!(layout(), layout());
    }
}
