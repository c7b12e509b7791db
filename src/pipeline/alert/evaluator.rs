//! Evaluates rules on records: the part of `watch` and of `load --rules` on a worker thread.
//!
//! Input: records. Output: the matches of rules, and what could not be evaluated.
//! Invariant: an event that no rule selects is not parsed, and of others only the parts that decide, and by which matches are
//! grouped. A rule is evaluated once. The event of a match is one line of valid JSON, which the matches of an event share; it is copied
//! only if an alert may be delivered.
//! Not here: which matches are alerts.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde_json::Value;

use super::{
    deciding_text::RecordText,
    projections::{Listed, Projections},
};
use crate::{
    filter::{
        eventbridge::{Envelope, EventView},
        query::{EventHeader, HeaderNeeds},
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
    source::{EnvelopeMember, SkipError, is_plain_object},
};

/// Evaluates the rules of a run on records.
pub(in crate::pipeline) struct RuleEvaluator {
    rules: Arc<RuleSet>,
    range: TimeRange,
    /// The time before which no event raises an alert that is delivered, in milliseconds of the Unix epoch.
    delivered_from: Option<i64>,
    members: Vec<MemberRange>,
    /// The envelope in which EventBridge delivered the next record.
    envelope: Option<Envelope>,
    projections: Projections,
    /// The numbers of the rules that fire on the current event.
    fired: Vec<usize>,
    failures: FailureCounts,
    earliest: EarliestTime,
}

/// What is looked at in the header of a record.
const HEADER_NEEDS: HeaderNeeds =
    HeaderNeeds { action: true, time: true, id: true, selectors: false };

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

/// An event on which rules fire.
pub(in crate::pipeline) struct MatchedEvent<'e> {
    /// The numbers of the rules in their order, and their matches.
    pub(in crate::pipeline) matches: Vec<(usize, RuleMatch)>,
    /// The time of the event, in milliseconds of the Unix epoch.
    pub(in crate::pipeline) time: Option<i64>,
    /// The earliest event time that this evaluator has met, in milliseconds of the Unix epoch.
    pub(in crate::pipeline) evaluated_from: Option<i64>,
    /// The id by which the event is found once.
    pub(in crate::pipeline) id: u128,
    /// The id that the event has, or else a hash of its content.
    pub(in crate::pipeline) event_id: Cow<'e, str>,
    /// The event: one line of valid JSON. Empty if it is too old for an alert to be delivered.
    pub(in crate::pipeline) json: Bytes,
}

/// An event on which a rule fires, as far as its matches need it.
struct FiredEvent<'e> {
    /// What decides about the groups of matches: parts of the event, or the whole.
    value: Cow<'e, Value>,
    json: Cow<'e, [u8]>,
    time: Option<i64>,
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
            delivered_from: None,
            members: Vec::new(),
            envelope: None,
            fired: Vec::new(),
            failures: FailureCounts::default(),
            earliest: EarliestTime::default(),
        }
    }

    /// Sets the time, in milliseconds of the Unix epoch, before which no event raises an alert that is delivered.
    pub(in crate::pipeline) fn with_alerts_delivered_from(
        self,
        delivered_from: Option<i64>,
    ) -> Self {
        Self { delivered_from, ..self }
    }

    /// Sets the envelope in which EventBridge delivered the next record.
    pub(in crate::pipeline) fn set_envelope(&mut self, members: Option<&[EnvelopeMember<'_>]>) {
        self.envelope = members.map(|members| Envelope::from_json(members.iter().copied()));
    }

    /// Takes the failures since the last call, by number of the rule.
    pub(in crate::pipeline) fn take_failures(&mut self) -> BTreeMap<usize, RuleFailures> {
        std::mem::take(&mut self.failures).by_rule(&self.rules)
    }

    /// Evaluates the rules on the record that starts at `text[start]`, calls `visit` if any fires, and returns where the record
    /// ends.
    pub(in crate::pipeline) fn evaluate(
        &mut self,
        text: &[u8],
        start: usize,
        visit: impl FnOnce(MatchedEvent<'_>),
    ) -> Result<(usize, Evaluated), Unevaluated> {
        let mut members = std::mem::take(&mut self.members);
        let evaluated = match scan_record(text, start, &mut members) {
            Ok(scanned) => {
                let record = RecordText { text, start, end: scanned.end, members: &members };
                let evaluated = self.examine(&scanned, record, visit);
                evaluated.map(|evaluated| (scanned.end, evaluated)).map_err(|malformed| {
                    let MalformedRecord { offset, expected } = malformed;
                    let cause = format!("expected {expected}").into();
                    Unevaluated::Invalid { offset: start + offset, cause }
                })
            }
            Err(SkipError::Incomplete) => Err(Unevaluated::Incomplete),
            Err(SkipError::Invalid { offset, cause }) => {
                Err(Unevaluated::Invalid { offset, cause: cause.into() })
            }
        };
        self.members = members;
        evaluated
    }

    fn examine(
        &mut self,
        scanned: &ScannedRecord<'_>,
        record: RecordText<'_>,
        visit: impl FnOnce(MatchedEvent<'_>),
    ) -> Result<Evaluated, MalformedRecord> {
        let header = &scanned.header_for(HEADER_NEEDS);
        if !self.admits(header.event_time) {
            return Ok(Evaluated::OutOfRange);
        }
        // The header of the scan lacks what has an escape sequence. Without a plain time, source and name, the whole record decides about
        // the rules that it concerns.
        let mut listed = None;
        if let (Some(_), Some(source), Some(name)) =
            (header.event_time, header.event_source, header.event_name)
        {
            listed = self.projections.list(source, name);
            if listed.is_none() {
                return Ok(Evaluated::Examined);
            }
        }
        let listed = listed.filter(|_| !scanned.has_escaped_key);
        let mut fired = std::mem::take(&mut self.fired);
        fired.clear();
        let evaluated = self.report(header, listed, record, &mut fired, visit);
        self.fired = fired;
        evaluated
    }

    /// Evaluates rules on a record, and calls `visit` if any fires.
    fn report(
        &mut self,
        header: &EventHeader<'_>,
        listed: Option<Listed>,
        record: RecordText<'_>,
        fired: &mut Vec<usize>,
        visit: impl FnOnce(MatchedEvent<'_>),
    ) -> Result<Evaluated, MalformedRecord> {
        let listed = listed.filter(|listed| self.fire_on_parts(*listed, header, record, fired));
        if listed.is_some() && fired.is_empty() {
            return Ok(Evaluated::Examined);
        }
        if is_too_large(record.bytes()) {
            return Ok(Evaluated::TooLarge);
        }
        let parts = listed.and_then(|listed| self.fired_on_parts(listed, header, record, fired));
        if let Some(event) = parts {
            visit(self.matched(header, &event, fired)?);
            return Ok(Evaluated::Examined);
        }
        let ParsedRecord { json, value } = parse_record(record.bytes())?;
        let header = &EventHeader::of_event(&value);
        if !self.admits(header.event_time) {
            return Ok(Evaluated::OutOfRange);
        }
        if listed.is_none() {
            self.fire(&value, header, fired);
        }
        if !fired.is_empty() {
            let time = event_time(&value).map(jiff::Timestamp::as_millisecond);
            let event = FiredEvent { value: Cow::Borrowed(&value), json, time };
            visit(self.matched(header, &event, fired)?);
        }
        Ok(Evaluated::Examined)
    }

    /// Adds the numbers of the rules that fire, given what decides about them. Returns whether the parts of the record do.
    fn fire_on_parts(
        &mut self,
        listed: Listed,
        header: &EventHeader<'_>,
        record: RecordText<'_>,
        fired: &mut Vec<usize>,
    ) -> bool {
        let is_found = self.projections.find_candidates(listed, header, record).is_some();
        if is_found
            && self.envelope.is_none()
            && let Some(firing) = self.projections.find_firing(record)
        {
            fired.extend_from_slice(&firing);
            return true;
        }
        let (failures, event_id) = (&mut self.failures, header.event_id.unwrap_or_default());
        let visit = |finding: Finding<'_>| match finding {
            Finding::Verdict(number, _, Verdict::Fires(_)) => fired.push(number),
            finding => failures.add(finding, event_id),
        };
        if is_found
            && let Some((candidates, parts)) =
                self.projections.parse_candidate_parts(listed, record)
        {
            let view = EventView::new(&parts).with_envelope(self.envelope.as_ref());
            self.rules.judge(candidates, view, visit);
            return true;
        }
        let Some(parts) = self.projections.parse_verdict_parts(listed, record) else {
            return false;
        };
        let view = EventView::new(&parts).with_envelope(self.envelope.as_ref());
        self.rules.find_listed(listed.shortlist, view, visit);
        true
    }

    /// Adds the numbers of the rules that fire on an event.
    fn fire(&mut self, event: &Value, header: &EventHeader<'_>, fired: &mut Vec<usize>) {
        let view = EventView::new(event).with_envelope(self.envelope.as_ref());
        let (failures, event_id) = (&mut self.failures, header.event_id.unwrap_or_default());
        self.rules.find(view, |finding| match finding {
            Finding::Verdict(number, _, Verdict::Fires(_)) => fired.push(number),
            finding => failures.add(finding, event_id),
        });
    }

    /// Returns what the matches of an event need, without parsing the whole event. `None` if that is not enough.
    fn fired_on_parts<'r>(
        &mut self,
        listed: Listed,
        header: &EventHeader<'_>,
        record: RecordText<'r>,
        fired: &[usize],
    ) -> Option<FiredEvent<'r>> {
        header.event_id?;
        let time = parse_event_time(header.event_time?).map(jiff::Timestamp::as_millisecond);
        let mut rules = fired.iter().filter_map(|number| self.rules.rules().get(*number));
        let value = if rules.all(|rule| rule.grouping.expressions().next().is_none()) {
            Cow::Borrowed(&Value::Null)
        } else {
            Cow::Owned(self.projections.parse_group_parts(listed, record)?)
        };
        // What is not quite JSON has to be repaired before it is delivered.
        let json = Cow::Borrowed(record.bytes());
        let is_sufficient = !self.may_be_delivered(time) || is_plain_object(&json);
        is_sufficient.then_some(FiredEvent { value, json, time })
    }

    fn matched<'e>(
        &self,
        header: &EventHeader<'e>,
        event: &FiredEvent<'_>,
        fired: &[usize],
    ) -> Result<MatchedEvent<'e>, MalformedRecord> {
        let id = identity(header, &event.json)?;
        let event_id = match header.event_id {
            Some(event_id) if !event_id.is_empty() => Cow::Borrowed(event_id),
            _ => Cow::Owned(format!("{id:032x}")),
        };
        let mut line = Vec::new();
        if self.may_be_delivered(event.time) {
            line.reserve_exact(event.json.len());
            write_single_line(&event.json, &mut line);
        }
        let view = EventView::new(&event.value).with_envelope(self.envelope.as_ref());
        let rules =
            fired.iter().filter_map(|number| Some((*number, self.rules.rules().get(*number)?)));
        Ok(MatchedEvent {
            matches: rules.map(|(number, rule)| (number, rule.match_on(view))).collect(),
            time: event.time,
            evaluated_from: self.earliest.milliseconds,
            id,
            event_id,
            json: line.into(),
        })
    }

    /// Returns whether an alert for an event of a time may be delivered. Events without a time are never too old.
    fn may_be_delivered(&self, time: Option<i64>) -> bool {
        let is_too_old = |(time, from)| time < from;
        !time.zip(self.delivered_from).is_some_and(is_too_old)
    }

    /// Returns whether an event of a time is evaluated, and remembers that it is.
    fn admits(&mut self, event_time: Option<&str>) -> bool {
        let Some(time) = event_time else { return true };
        let is_in_range = self.is_in_range(time);
        if is_in_range {
            self.earliest.add(time);
        }
        is_in_range
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        filter::rule::{
            Rule, parse_rule_file,
            tests::{any_event, any_rule, with_numbers},
        },
        pipeline::search::projection::tests::write,
    };

    /// What rules do on a record: the numbers of those that fire, and of those that fail.
    type Evaluation = (Vec<usize>, Vec<usize>);

    fn evaluator(rules: Vec<Rule>) -> RuleEvaluator {
        RuleEvaluator::new(Arc::new(RuleSet::new(rules)), TimeRange::default())
    }

    fn evaluated(evaluator: &mut RuleEvaluator, record: &str) -> Evaluation {
        let mut fired = Vec::new();
        evaluator
            .evaluate(record.as_bytes(), 0, |event| {
                fired.extend(event.matches.iter().map(|(number, _)| *number));
            })
            .unwrap();
        (fired, evaluator.take_failures().into_keys().collect())
    }

    /// Evaluates the rules on a parsed event.
    fn evaluated_on_value(rules: &RuleSet, event: &Value) -> Evaluation {
        let (mut fired, mut failed) = (Vec::new(), Vec::new());
        rules.evaluate(event, |number, _, verdict| match verdict {
            Verdict::Fires(_) => fired.push(number),
            Verdict::Failed(_) => failed.push(number),
            Verdict::Excepted(_) | Verdict::NoMatch => {}
        });
        fired.sort_unstable();
        failed.sort_unstable();
        (fired, failed)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        #[test]
        fn rules_do_on_the_text_of_an_event_what_they_do_on_the_event(
            rules in prop::collection::vec(any_rule(), 1..12),
            events in prop::collection::vec((any_event(), prop::collection::vec(any::<u8>(), 0..60)), 1..6),
        ) {
            // Results of rules that look at the same fields are remembered.
            let copies = std::iter::repeat_n(rules[0].clone(), 4);
            let rules = with_numbers(rules.iter().cloned().chain(copies).collect());
            let mut evaluator = evaluator(rules);
            for (event, dice) in events.iter().chain(&events) {
                let mut texts = vec![event.to_string(), format!("{event:#}"), String::new()];
                write(event, &mut dice.iter().copied(), &mut texts[2]);
                let expected = evaluated_on_value(&Arc::clone(&evaluator.rules), event);
                for text in &texts {
                    prop_assert_eq!(&evaluated(&mut evaluator, text), &expected, "{}", text);
                }
            }
        }
    }

    fn rules(yaml: &str) -> Vec<Rule> {
        let file = parse_rule_file(yaml);
        assert!(file.errors.is_empty(), "{:?}", file.errors);
        file.rules
    }

    #[test]
    fn what_cannot_be_decided_without_parsing_is_parsed() {
        let mut evaluator = evaluator(rules(
            r#"{name: a, events: [A], match: "detail.errorCode == 'Denied' && detail.o.p == 'x'"}"#,
        ));
        for (record, fires) in [
            (r#"{"eventName":"A","eventSource":"s","errorCode":"Denied","o":{"p":"x"}}"#, true),
            (
                r#"{"eventName":"A","eventSource":"s","errorCode":"Den\u0069ed","o":{"p":"x"}}"#,
                true,
            ),
            (r#"{"eventName":"A","eventSource":"s","errorCode":"Denied","o":{"p":"y"}}"#, false),
            (r#"{"eventName":"A","eventSource":"s","errorCode":"Denied","o":["x"]}"#, false),
            (
                r#"{"eventName":"A","eventSource":"s","errorCode":"Denied","o":{"p":"x","p":1}}"#,
                false,
            ),
            (
                r#"{"eventName":"A","eventSource":"s","errorCode":"Denied","o":{"p":1},"o":{"p":"x"}}"#,
                true,
            ),
            (
                r#"{"eventName":"A","eventSource":"s","errorCode":"Denied","o":{"p":"x"},"o":null}"#,
                false,
            ),
        ] {
            let fired = evaluated(&mut evaluator, record).0;
            assert_eq!(fired, if fires { vec![0] } else { vec![] }, "{record}");
        }
    }

    #[test]
    fn the_text_of_an_event_is_copied_if_its_alert_may_be_delivered() {
        let mut evaluator = evaluator(rules("{name: a, events: [A]}"))
            .with_alerts_delivered_from(Some(1_700_000_000_000));
        let mut copied = |time: &Value| {
            let event = json!({"eventName": "A", "eventSource": "s", "eventTime": time});
            let text = event.to_string();
            let mut json = None;
            evaluator.evaluate(text.as_bytes(), 0, |event| json = Some(event.json)).unwrap();
            let json = json.unwrap();
            assert!(json.is_empty() || json == text, "{json:?}");
            !json.is_empty()
        };
        // 1_700_000_000 is 22:13:20 of that day.
        assert!(!copied(&json!("2023-11-14T22:13:19Z")));
        assert!(copied(&json!("2023-11-14T22:13:20Z")));
        assert!(copied(&json!("2023-11-15T00:00:00Z")));
        assert!(copied(&json!("never")) && copied(&json!(null)));
    }
}
