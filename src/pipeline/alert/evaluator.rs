//! Evaluates rules on records: the part of `watch` and of `load --rules` on a worker thread.
//!
//! Input: records. Output: the matches of rules, and what could not be evaluated.
//! Invariant: an event that no rule selects is not parsed, and of others only the parts that decide, until a rule fires. The event of
//! a match is one line of valid JSON.
//! Not here: which matches are alerts.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::projections::Projections;
use crate::{
    filter::{
        eventbridge::{Envelope, EventView},
        rule::{Finding, RuleMatch, RuleSet, Verdict},
        time_bounds::{event_time, parse_event_time},
    },
    normalize::{MalformedRecord, TimeRange},
    pipeline::{
        consumer::{Disposition, Processed},
        search::{
            found_event::{ParsedRecord, identity, is_too_large, parse_record},
            record_scan::{MemberRange, ScannedRecord, scan_record},
        },
    },
    sink::events::write_single_line,
    source::{EnvelopeMember, SkipError},
};

/// Evaluates the rules of a run on records.
pub(in crate::pipeline) struct RuleEvaluator {
    rules: Arc<RuleSet>,
    range: TimeRange,
    members: Vec<MemberRange>,
    /// The envelope in which EventBridge delivered the next record.
    envelope: Option<Envelope>,
    projections: Projections,
    failures: FailureCounts,
    earliest: EarliestTime,
}

/// The earliest event time so far.
#[derive(Debug, Default)]
struct EarliestTime {
    /// As it is in the event. Times of the same length are in the order of their texts, so few of them are parsed.
    text: String,
    /// In milliseconds of the Unix epoch.
    milliseconds: Option<i64>,
}

impl EarliestTime {
    fn add(&mut self, text: &str) {
        if text.len() == self.text.len() && *text >= *self.text {
            return;
        }
        let Some(time) = parse_event_time(text).map(jiff::Timestamp::as_millisecond) else {
            return;
        };
        if self.milliseconds.is_none_or(|earliest| time < earliest) {
            self.milliseconds = Some(time);
            text.clone_into(&mut self.text);
        }
    }
}

/// What could not be evaluated.
#[derive(Default)]
struct FailureCounts {
    /// By number of the rule.
    rules: BTreeMap<usize, RuleFailures>,
    /// By number of a group of rules that fail together: the number of events, and the id of one of them.
    groups: BTreeMap<usize, (u64, String)>,
}

/// The events on which a rule could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFailures {
    /// Their number.
    pub events: u64,
    /// The id of one of them; empty if it has none.
    pub event_id: String,
    /// The cause for that event.
    pub cause: String,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Evaluated {
    /// The rules that select it were evaluated.
    Examined,
    /// It is outside the requested time range.
    OutOfRange,
    /// It would take too much memory when parsed as a whole.
    TooLarge,
}

/// Why a record was not evaluated.
#[derive(Debug)]
pub(in crate::pipeline) enum Unevaluated {
    /// The text ends within the record.
    Incomplete,
    /// The record is not valid; the offset is within the text.
    Invalid { offset: usize, cause: Cow<'static, str> },
}

/// An event on which a rule fires.
pub(in crate::pipeline) struct FoundMatch<'m> {
    /// The number of the rule.
    pub(in crate::pipeline) rule: usize,
    pub(in crate::pipeline) found: RuleMatch,
    /// The time of the event, in milliseconds of the Unix epoch.
    pub(in crate::pipeline) time: Option<i64>,
    /// The earliest event time that this evaluator has met, in milliseconds of the Unix epoch.
    pub(in crate::pipeline) evaluated_from: Option<i64>,
    /// The id by which the event is found once.
    pub(in crate::pipeline) id: u128,
    /// The id that the event has, or else a hash of its content.
    pub(in crate::pipeline) event_id: &'m str,
    /// The event: one line of valid JSON.
    pub(in crate::pipeline) json: &'m [u8],
}

impl Evaluated {
    /// Returns what remains to be done for a record without a match.
    pub(in crate::pipeline) fn disposition(self) -> Disposition {
        match self {
            Self::Examined | Self::TooLarge => Disposition::Settled,
            Self::OutOfRange => Disposition::OutOfRange,
        }
    }
}

impl From<Unevaluated> for Processed {
    fn from(unevaluated: Unevaluated) -> Self {
        match unevaluated {
            Unevaluated::Incomplete => Self::Incomplete,
            Unevaluated::Invalid { offset, cause } => Self::Invalid { offset, cause },
        }
    }
}

impl RuleEvaluator {
    pub(in crate::pipeline) fn new(rules: Arc<RuleSet>, range: TimeRange) -> Self {
        Self {
            projections: Projections::new(Arc::clone(&rules)),
            rules,
            range,
            members: Vec::new(),
            envelope: None,
            failures: FailureCounts::default(),
            earliest: EarliestTime::default(),
        }
    }

    /// Sets the envelope in which EventBridge delivered the next record.
    pub(in crate::pipeline) fn set_envelope(&mut self, members: Option<&[EnvelopeMember<'_>]>) {
        self.envelope = members.map(|members| Envelope::from_json(members.iter().copied()));
    }

    /// Takes the failures since the last call, by number of the rule.
    pub(in crate::pipeline) fn take_failures(&mut self) -> BTreeMap<usize, RuleFailures> {
        std::mem::take(&mut self.failures).by_rule(&self.rules)
    }

    /// Evaluates the rules on the record that starts at `text[start]`, calls `visit` with each match, and returns where the record
    /// ends.
    pub(in crate::pipeline) fn evaluate(
        &mut self,
        text: &[u8],
        start: usize,
        visit: impl FnMut(FoundMatch<'_>),
    ) -> Result<(usize, Evaluated), Unevaluated> {
        let mut members = std::mem::take(&mut self.members);
        let scanned = scan_record(text, start, &mut members);
        self.members = members;
        let scanned = match scanned {
            Ok(scanned) => scanned,
            Err(SkipError::Incomplete) => return Err(Unevaluated::Incomplete),
            Err(SkipError::Invalid { offset, cause }) => {
                return Err(Unevaluated::Invalid { offset, cause: cause.into() });
            }
        };
        match self.examine(text, start, &scanned, visit) {
            Ok(evaluated) => Ok((scanned.end, evaluated)),
            Err(MalformedRecord { offset, expected }) => Err(Unevaluated::Invalid {
                offset: start + offset,
                cause: format!("expected {expected}").into(),
            }),
        }
    }

    fn examine(
        &mut self,
        text: &[u8],
        start: usize,
        scanned: &ScannedRecord<'_>,
        mut visit: impl FnMut(FoundMatch<'_>),
    ) -> Result<Evaluated, MalformedRecord> {
        let header = &scanned.header();
        if header.event_time.is_some_and(|time| !self.is_in_range(time)) {
            return Ok(Evaluated::OutOfRange);
        }
        if let Some(time) = header.event_time {
            self.earliest.add(time);
        }
        let shortlist = match (header.event_source, header.event_name) {
            (Some(source), Some(name)) => match self.rules.shortlist(source, name) {
                Some(shortlist) => Some(shortlist),
                None => return Ok(Evaluated::Examined),
            },
            _ => None,
        };
        let parts = shortlist.filter(|_| !scanned.has_escaped_key).and_then(|shortlist| {
            self.projections.parse(shortlist, text, start..scanned.end, &self.members)
        });
        let event_id = header.event_id.unwrap_or_default();
        let fires = parts.as_ref().map(|parts| self.fires(parts, event_id));
        if fires == Some(false) {
            return Ok(Evaluated::Examined);
        }
        let record = &text[start..scanned.end];
        if is_too_large(record) {
            return Ok(Evaluated::TooLarge);
        }
        let ParsedRecord { json, value } = parse_record(record)?;
        let id = identity(header, &json)?;
        let time = event_time(&value).map(jiff::Timestamp::as_millisecond);
        let view = EventView::new(&value).with_envelope(self.envelope.as_ref());
        let found_id = if event_id.is_empty() {
            Cow::Owned(format!("{id:032x}"))
        } else {
            Cow::Borrowed(event_id)
        };
        let mut line = Vec::new();
        let evaluated_from = self.earliest.milliseconds;
        let failures = &mut self.failures;
        self.rules.find(view, |finding| match finding {
            Finding::Verdict(number, rule, Verdict::Fires(_)) => {
                if line.is_empty() {
                    write_single_line(&json, &mut line);
                }
                let found = rule.match_on(view);
                visit(FoundMatch {
                    rule: number,
                    found,
                    time,
                    evaluated_from,
                    id,
                    event_id: &found_id,
                    json: &line,
                });
            }
            // What fails was counted with the parts of the record.
            finding if fires.is_none() => failures.add(finding, event_id),
            _ => {}
        });
        Ok(Evaluated::Examined)
    }

    /// Returns whether a rule fires on an event, of which only the parts are there that its rules look at. Counts what fails.
    fn fires(&mut self, parts: &Value, event_id: &str) -> bool {
        let view = EventView::new(parts).with_envelope(self.envelope.as_ref());
        let failures = &mut self.failures;
        let mut fires = false;
        self.rules.find(view, |finding| match finding {
            Finding::Verdict(_, _, Verdict::Fires(_)) => fires = true,
            finding => failures.add(finding, event_id),
        });
        fires
    }

    /// Returns whether the requested range contains a time. As in a load, a time that is not readable is in every range.
    fn is_in_range(&self, event_time: &str) -> bool {
        let TimeRange { from, to } = self.range;
        if from.is_none() && to.is_none() {
            return true;
        }
        let Some(time) = parse_event_time(event_time) else { return true };
        from.is_none_or(|from| time >= from) && to.is_none_or(|to| time < to)
    }
}

impl FailureCounts {
    fn add(&mut self, finding: Finding<'_>, event_id: &str) {
        match finding {
            Finding::Verdict(number, _, Verdict::Failed(error)) => {
                let failures = self.rules.entry(number).or_insert_with(|| RuleFailures {
                    events: 0,
                    event_id: event_id.to_owned(),
                    cause: error.to_string(),
                });
                failures.events += 1;
            }
            Finding::FailedGroup(group) => {
                self.groups.entry(group).or_insert_with(|| (0, event_id.to_owned())).0 += 1;
            }
            Finding::Verdict(..) => {}
        }
    }

    /// Returns the failures by number of the rule.
    fn by_rule(self, rules: &RuleSet) -> BTreeMap<usize, RuleFailures> {
        let mut all = self.rules;
        let nothing = Value::Object(serde_json::Map::new());
        for (group, (events, event_id)) in self.groups {
            for (number, rule) in rules.group(group) {
                // The field is missing here too.
                let Verdict::Failed(error) = rule.verdict(&nothing) else { continue };
                let event_id = event_id.clone();
                let failures = RuleFailures { events, event_id, cause: error.to_string() };
                merge_failures(&mut all, BTreeMap::from([(number, failures)]));
            }
        }
        all
    }
}

/// Adds the failures of another worker.
pub(in crate::pipeline) fn merge_failures(
    all: &mut BTreeMap<usize, RuleFailures>,
    more: BTreeMap<usize, RuleFailures>,
) {
    for (rule, failures) in more {
        match all.get_mut(&rule) {
            Some(known) => known.events += failures.events,
            None => drop(all.insert(rule, failures)),
        }
    }
}
