//! Judging an answer while it comes: its pieces are read on into each other, whatever events they came in.
//!
//! A stream says several things side by side (what is said, what is thought, what a tool is given), each in a lane of its
//! own. Where a lane is cut into events changes nothing: a sentence is judged when it is whole, or when the answer ends.

use super::content::{Findings, Knowledge, Scan};
use super::pii;
use super::text::{each_string, push_all};
use super::{Action, FailMode, Judgement, Mode, On, Policy, Rule, conclusion, failure};
use crate::event::PolicyResult;
use crate::fault::{Fault, Kind, Phase};
use crate::json::{Span, Value};
use crate::limits::POLICY_HELD_BYTES;

/// An answer being judged.
#[derive(Debug)]
pub struct Hearing<'a> {
    policies: &'a [Policy],
    knowledge: Option<&'a Knowledge>,
    group: &'a str,
    lanes: [Lane; LANES.len()],
    /// The first of each policy's personal data.
    found: Vec<Option<pii::Kind>>,
    /// What failing means, once there is something that can't be judged.
    failed: Option<FailMode>,
}

#[derive(Debug, Default)]
struct Lane {
    scan: Scan,
    /// The end of what has been said, as long as the longest pattern that must not be cut.
    tail: String,
}

/// Names of the fields that say something, by lane, in the languages of all vendors.
const LANES: [&[&str]; 3] = [
    &["content", "text", "refusal", "delta", "output_text"],
    &["thinking", "reasoning_content", "reasoning"],
    &["arguments", "partial_json", "input"],
];

impl<'a> Hearing<'a> {
    /// Begins, if a policy judges this group's answers.
    pub fn begin(policies: &'a [Policy], knowledge: Option<&'a Knowledge>, group: &'a str) -> Option<Self> {
        let judged = policies.iter().any(|policy| policy.judges(On::Response, group));
        judged.then(|| Self {
            policies,
            knowledge,
            group,
            lanes: Default::default(),
            found: vec![None; policies.len()],
            failed: None,
        })
    }

    /// Whether the client gets nothing before all has been judged. What only flags has nothing to wait for.
    pub fn holds_back(&self) -> bool {
        self.judging().any(|(_, policy)| policy.mode == Mode::Buffered && policy.action == Action::Block)
    }

    /// The answer can't be judged: it can't be read, or is more than may be held. From now on nothing is looked for.
    ///
    /// # Errors
    ///
    /// The refusal, if a policy blocks and `mode` has it so.
    pub fn fails(&mut self, mode: FailMode) -> Result<(), Fault> {
        self.failed = Some(mode);
        self.conclude().blocked.map_or(Ok(()), Err)
    }

    /// Hears what an event of a stream says.
    ///
    /// # Errors
    ///
    /// The refusal, once a policy that blocks has found something.
    pub fn event(&mut self, data: &[u8]) -> Result<(), Fault> {
        if self.failed.is_some() {
            return Ok(());
        }
        let value = Value::at(data, Span::new(0, data.len()));
        let mut heard = false;
        for (name, inside) in each_string(data, value) {
            let lane = LANES.iter().position(|names| names.iter().any(|each| each.as_bytes() == name));
            if let Some(lane) = lane {
                heard = true;
                self.hear(lane, inside);
            }
        }
        if heard { self.refusal() } else { Ok(()) }
    }

    /// Hears a whole answer.
    pub fn answer(&mut self, body: &[u8]) {
        let value = Value::at(body, Span::new(0, body.len()));
        for (name, inside) in each_string(body, value) {
            let lane = LANES.iter().position(|names| names.iter().any(|each| each.as_bytes() == name));
            // A tool's input is an object, with names of its own.
            if lane.is_some() || inside.contains(&b' ') {
                self.hear(lane.unwrap_or_default(), inside);
                self.end_sentences();
            }
        }
    }

    /// The answer ends: what has no full stop is judged too.
    ///
    /// # Errors
    ///
    /// As of [`Self::event`].
    pub fn end(&mut self) -> Result<(), Fault> {
        self.end_sentences();
        self.refusal()
    }

    /// What the policies say of what was heard.
    pub fn conclude(&self) -> Judgement {
        let (kind, phase) = (Kind::AnswerBlockedByPolicy, Phase::Stream);
        if let Some(mode) = self.failed {
            return failure(self.policies, self.judging().map(|(nth, _)| nth), mode, kind, phase);
        }
        let findings = self.findings();
        let results: Box<[PolicyResult]> =
            self.judging().map(|(nth, policy)| policy.result(nth, &findings, self.found[nth as usize])).collect();
        conclusion(self.policies, results, kind, phase)
    }

    fn judging(&self) -> impl Iterator<Item = (u32, &'a Policy)> {
        let (policies, group) = (self.policies, self.group);
        (0..).zip(policies).filter(move |(_, policy)| policy.judges(On::Response, group))
    }

    fn hear(&mut self, lane: usize, inside: &[u8]) {
        let lane = &mut self.lanes[lane];
        let before = lane.tail.len();
        push_all(inside, &mut |text| {
            if let Some(known) = self.knowledge {
                lane.scan.push(text, known);
            }
            lane.tail.push_str(text);
        });
        if lane.tail.len() == before {
            return;
        }
        for (policy, found) in self.policies.iter().zip(&mut self.found) {
            if let Rule::Pii { kinds } = &policy.rule
                && found.is_none()
            {
                pii::find(&lane.tail, kinds, &mut |kind, _| *found = found.or(Some(kind)));
            }
        }
        if lane.tail.len() > 2 * POLICY_HELD_BYTES {
            let cut = lane.tail.floor_char_boundary(lane.tail.len() - POLICY_HELD_BYTES);
            lane.tail.drain(..cut);
        }
    }

    fn end_sentences(&mut self) {
        if let Some(known) = self.knowledge {
            self.lanes.iter_mut().for_each(|lane| lane.scan.break_off(known));
        }
    }

    /// The worst of all lanes.
    fn findings(&self) -> Findings {
        let mut worst = *self.lanes[0].scan.so_far();
        for lane in &self.lanes[1..] {
            for (worst, own) in worst.iter_mut().zip(lane.scan.so_far()) {
                if own.score > worst.score {
                    *worst = *own;
                }
            }
        }
        worst
    }

    fn refusal(&self) -> Result<(), Fault> {
        if self.failed.is_some() || !self.judging().any(|(_, policy)| policy.action == Action::Block) {
            return Ok(());
        }
        self.conclude().blocked.map_or(Ok(()), Err)
    }
}
