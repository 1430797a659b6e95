//! Judging an answer while it comes: its pieces are read on into each other, whatever events they came in.
//!
//! A stream says several things side by side, each in a lane of its own ([`super::said`]). Where a lane is cut into events
//! changes nothing: a sentence is judged when it is whole, personal data when it can't become anything else, and all of
//! it when the lane or the answer ends. Where personal data is taken out, an event waits until what it says is settled.

use std::borrow::Cow;

use super::content::{Findings, Knowledge, Scan};
use super::held::Held;
use super::pii;
use super::redact;
use super::said::{Place, Said, each_said, is_saying};
use super::tail::{Search, Tail};
use super::text::{Piece, Pieces, push_all};
use super::{Action, FailMode, Judgement, Mode, On, Policy, Rule, conclusion, failure};
use crate::event::{PolicyOutcome, PolicyResult};
use crate::fault::{Fault, Kind, Phase};
use crate::json::{Span, Value};
use crate::limits::{POLICY_HELD_EVENTS_BYTES, POLICY_LANES_MAX};
use crate::sse::{self, Event};

/// An answer being judged.
#[derive(Debug)]
pub struct Hearing<'a> {
    policies: &'a [Policy],
    knowledge: Option<&'a Knowledge>,
    group: &'a str,
    lanes: Vec<Lane>,
    /// What is looked for by policies of personal data.
    searches: Vec<Search<'a>>,
    /// The first of each policy's personal data, by the policy's place.
    found: Vec<Option<pii::Kind>>,
    /// The policy that was to take a private key out of a stream: its head has been seen, and its end may never come.
    key: Option<usize>,
    /// Events that wait, if something is taken out of them.
    held: Option<Held>,
    events: u64,
    /// What failing means, once there is something that can't be judged.
    failed: Option<FailMode>,
}

#[derive(Debug, Default)]
struct Lane {
    place: Place,
    of: Place,
    /// The last event that said something in it.
    event: u64,
    scan: Scan,
    tail: Tail,
}

impl<'a> Hearing<'a> {
    /// Begins, if a policy judges this group's answers.
    pub fn begin(policies: &'a [Policy], knowledge: Option<&'a Knowledge>, group: &'a str) -> Option<Self> {
        let judging = || policies.iter().enumerate().filter(|(_, policy)| policy.judges(On::Response, group));
        judging().next()?;
        let search = |(nth, policy): (usize, &'a Policy)| match &policy.rule {
            Rule::Pii { kinds } => Some(Search { nth, kinds, redacts: policy.action == Action::Redact }),
            Rule::ContentFilter { .. } | Rule::External(_) => None,
        };
        let searches: Vec<Search<'a>> = judging().filter_map(search).collect();
        let held = searches.iter().any(|search| search.redacts).then(Held::default);
        let found = vec![None; policies.len()];
        Some(Self {
            policies,
            knowledge,
            group,
            lanes: Vec::new(),
            searches,
            found,
            key: None,
            held,
            events: 0,
            failed: None,
        })
    }

    /// Whether the client gets nothing before all has been judged. What only flags has nothing to wait for.
    pub fn holds_back(&self) -> bool {
        self.judging().any(|(_, policy)| policy.mode == Mode::Buffered && policy.action != Action::Flag)
    }

    /// The answer can't be judged: it can't be read, or is more than may be held. From now on nothing is looked for.
    ///
    /// # Errors
    ///
    /// The refusal, if a policy blocks or redacts and `mode` has it so.
    pub fn fails(&mut self, mode: FailMode) -> Result<(), Fault> {
        self.failed = Some(mode);
        self.conclude().blocked.map_or(Ok(()), Err)
    }

    /// Hears the events of a stream that stand in `body` from `from` on. Those that may go to the client stand there
    /// afterwards, with those that had waited for them; what was to be taken out is out.
    ///
    /// # Errors
    ///
    /// The refusal, once a policy that blocks has found something. None of the events may go.
    pub fn pass(&mut self, body: &mut Vec<u8>, from: usize) -> Result<(), Fault> {
        if self.failed.is_some() {
            if let Some(mut held) = self.held.take() {
                let events = body.split_off(from);
                held.release(None, body);
                body.extend_from_slice(&events);
            }
            return Ok(());
        }
        self.events_of(&body[from..]);
        if self.held.as_ref().is_some_and(|held| held.len() > POLICY_HELD_EVENTS_BYTES) {
            self.settle_all();
        }
        let went = self.refusal();
        if went.is_err() || self.held.is_some() {
            body.truncate(from);
        }
        went?;
        self.release(body);
        Ok(())
    }

    /// The stream ends: what has no full stop is judged too, and what has waited goes.
    ///
    /// # Errors
    ///
    /// As of [`Self::pass`].
    pub fn end(&mut self, body: &mut Vec<u8>) -> Result<(), Fault> {
        self.settle_all();
        self.refusal()?;
        self.release(body);
        Ok(())
    }

    /// Hears a whole answer, and takes out of it what is to be taken out.
    ///
    /// # Errors
    ///
    /// The refusal, if a policy blocks it.
    pub fn answer(&mut self, body: &mut Vec<u8>) -> Result<(), Fault> {
        if self.failed.is_some() {
            return Ok(());
        }
        let value = Value::at(body, Span::new(0, body.len()));
        if let Some(known) = self.knowledge {
            let mut scan = Scan::default();
            for piece in Pieces::of(body, value) {
                // A tool's input is an object, with names of its own.
                let (is_said, inside) = match piece {
                    Piece::Text { name, inside, .. } => (is_saying(name), inside),
                    Piece::Name { inside, .. } => (false, inside),
                    Piece::Number { .. } => continue,
                };
                if is_said || inside.contains(&b' ') {
                    push_all(inside, &mut |text, _| scan.push(text, known));
                    scan.break_off(known);
                }
            }
            self.lanes.push(Lane { scan, ..Lane::default() });
        }
        for search in &self.searches {
            let read = redact::read(body, Value::at(body, Span::new(0, body.len())), search.kinds);
            self.found[search.nth] = read.kind;
            if let Some(redacted) = read.redacted.filter(|_| search.redacts) {
                *body = redacted;
            }
        }
        self.refusal()
    }

    /// What the policies say of what was heard.
    pub fn conclude(&self) -> Judgement {
        let (kind, phase) = (Kind::AnswerBlockedByPolicy, Phase::Stream);
        if let Some(mode) = self.failed {
            return failure(self.policies, self.judging().map(|(nth, _)| nth), mode, kind, phase);
        }
        let findings = self.findings();
        let result = |(nth, policy): (u32, &Policy)| {
            let mut result = policy.result(nth, &findings, self.found[nth as usize]);
            if self.key == Some(nth as usize) {
                result.result = PolicyOutcome::Blocked;
                result.category = Some(pii::Kind::PrivateKey.as_str());
            }
            result
        };
        let results: Box<[PolicyResult]> = self.judging().map(result).collect();
        conclusion(self.policies, results, kind, phase)
    }

    fn judging(&self) -> impl Iterator<Item = (u32, &'a Policy)> {
        let (policies, group) = (self.policies, self.group);
        (0..).zip(policies).filter(move |(_, policy)| policy.judges(On::Response, group))
    }

    fn events_of(&mut self, bytes: &[u8]) {
        let mut read = 0;
        for event in sse::events(bytes) {
            read += event.raw.len();
            self.event(&event);
        }
        // Behind the last one may stand one without its blank line.
        if read < bytes.len() {
            self.event(&Event::read(&bytes[read..]));
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        let start = match (&event.data, &mut self.held) {
            (Some(Cow::Owned(data)), Some(_)) => {
                // Data of several lines becomes one line, in which things have a place: JSON takes both alike.
                let name = event.event.and_then(|name| std::str::from_utf8(name).ok());
                let data: Vec<u8> = data.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect();
                let mut joined = Vec::with_capacity(event.raw.len());
                sse::write_event(&mut joined, name, &data);
                return self.event(&Event::read(&joined));
            }
            (_, Some(held)) => Some(held.push(event.raw)),
            (_, None) => None,
        };
        let Some(data) = &event.data else { return };
        let start = start.map(|start| start + (data.as_ptr().addr() - event.raw.as_ptr().addr()));
        self.events += 1;
        let mut ended = Vec::new();
        each_said(Value::at(data, Span::new(0, data.len())), &mut |said| match said {
            Said::Text { lane, of, at, inside } => self.hear(lane, of, inside, start.map(|start| start + at)),
            Said::End { of } => ended.push(of),
        });
        for of in ended {
            let is_of = |lane: &Lane| of == Place::default() || lane.of == of;
            for nth in 0..self.lanes.len() {
                if is_of(&self.lanes[nth]) {
                    self.settle(nth, true);
                }
            }
        }
    }

    fn hear(&mut self, place: Place, of: Place, inside: &[u8], at: Option<usize>) {
        let nth = match self.lanes.iter().position(|lane| lane.place == place) {
            Some(nth) => nth,
            // More than that side by side are read into each other.
            None if self.lanes.len() >= POLICY_LANES_MAX => self.lanes.len() - 1,
            None => {
                self.lanes.push(Lane { place, of, ..Lane::default() });
                self.lanes.len() - 1
            }
        };
        // Two of one event are no pieces of one text.
        if self.lanes[nth].event == self.events {
            self.settle(nth, true);
        }
        let lane = &mut self.lanes[nth];
        lane.event = self.events;
        if let Some(known) = self.knowledge {
            push_all(inside, &mut |text, _| lane.scan.push(text, known));
        }
        if !self.searches.is_empty() {
            lane.tail.say(inside, at);
            self.settle(nth, false);
        }
    }

    /// Judges what can be judged of a lane; all of it, if it `ends`.
    fn settle(&mut self, nth: usize, ends: bool) {
        let lane = &mut self.lanes[nth];
        if let Some(known) = self.knowledge.filter(|_| ends) {
            lane.scan.break_off(known);
        }
        let (searches, found, key, held) = (&self.searches, &mut self.found, &mut self.key, &mut self.held);
        lane.tail.settle(searches, ends, &mut |hit| {
            found[hit.nth].get_or_insert(hit.kind);
            if let Some(held) = held.as_mut().filter(|_| hit.redacts) {
                if hit.kind == pii::Kind::PrivateKey {
                    key.get_or_insert(hit.nth);
                } else {
                    held.cut(&hit);
                }
            }
        });
    }

    fn settle_all(&mut self) {
        (0..self.lanes.len()).for_each(|nth| self.settle(nth, true));
    }

    fn release(&mut self, body: &mut Vec<u8>) {
        if let Some(held) = &mut self.held {
            let open = self.lanes.iter().filter_map(|lane| lane.tail.open_place()).min();
            held.release(open, body);
        }
    }

    /// The worst of all lanes.
    fn findings(&self) -> Findings {
        let mut worst = Findings::default();
        for lane in &self.lanes {
            for (worst, own) in worst.iter_mut().zip(lane.scan.so_far()) {
                if own.score > worst.score {
                    *worst = *own;
                }
            }
        }
        worst
    }

    fn refusal(&self) -> Result<(), Fault> {
        if self.failed.is_some() || !self.judging().any(|(_, policy)| policy.action != Action::Flag) {
            return Ok(());
        }
        self.conclude().blocked.map_or(Ok(()), Err)
    }
}
