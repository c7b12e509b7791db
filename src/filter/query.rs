//! The conditions of a search, and the order in which they are evaluated.
//!
//! Input: the header of an event, then the parsed event. Output: whether it matches, and observations that explain a
//! surprising result.
//! Invariant: an event that [`Query::admits`] rules out does not match; it need not be parsed. The cheapest conditions
//! come first: range, actions, selectors, `--match`, `--except`, `--where`.
//! Not here: where events come from, and how the hints are worded.

use serde_json::Value;

use super::{
    action::ActionFilter,
    event_header::read_only,
    eventbridge::{Envelope, EventView},
    jmespath::Expression,
    match_expression::MatchExpression,
    selectors::Selectors,
    time_bounds::event_time,
};
pub use super::{
    event_header::{EventHeader, HeaderNeeds},
    observations::{ConditionError, ConditionObservations, Observations},
    time_bounds::TimeBounds,
};

/// What a search asks for. An event matches if all conditions hold; without any, every event matches.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The IAM actions, of which the event has to belong to one.
    pub actions: ActionFilter,
    /// The expressions of `--match`, which all have to match.
    pub matches: Vec<MatchExpression>,
    /// The expressions of `--except`, of which none may match. An empty one has no effect.
    pub exceptions: Vec<MatchExpression>,
    /// The expressions of `--where`, which all have to be true. They see the event as EventBridge delivers it.
    pub conditions: Vec<Expression>,
    /// The conditions with options of their own.
    pub selectors: Selectors,
    /// The time range.
    pub range: TimeBounds,
}

/// An event, and what stands beside it where it was read.
#[derive(Clone, Copy, Debug)]
pub struct DeliveredEvent<'a> {
    /// The event.
    pub event: &'a Value,
    /// A copy with the resources that LookupEvents lists beside the event, which only the selectors look at.
    pub listed: Option<&'a Value>,
    /// The envelope of EventBridge, which only `--where` looks at.
    pub envelope: Option<&'a Envelope>,
}

impl<'a> DeliveredEvent<'a> {
    /// Creates an event with nothing beside it.
    pub fn new(event: &'a Value) -> Self {
        Self { event, listed: None, envelope: None }
    }
}

impl Query {
    /// Returns whether every event matches.
    pub fn matches_everything(&self) -> bool {
        self.actions.matches_everything()
            && self.matches.iter().all(MatchExpression::is_empty)
            && self.exceptions.iter().all(MatchExpression::is_empty)
            && self.conditions.is_empty()
            && self.selectors.is_empty()
            && self.range.is_unbounded()
    }

    /// Returns whether an event with this header can match.
    pub fn admits(&self, header: &EventHeader<'_>) -> bool {
        header.event_time.is_none_or(|time| self.range.contains_text(time))
            && self.admits_action(header)
            && self.selectors.admits(header)
    }

    /// Returns the members of a header that [`admits`](Self::admits) looks at.
    pub fn header_needs(&self) -> HeaderNeeds {
        HeaderNeeds {
            action: !self.actions.matches_everything(),
            time: !self.range.is_unbounded(),
            id: false,
            selectors: !self.selectors.is_empty(),
        }
    }

    fn admits_action(&self, header: &EventHeader<'_>) -> bool {
        match (header.event_source, header.event_name) {
            (Some(source), Some(name)) => self.actions.matches(source, name),
            _ => true,
        }
    }

    /// Returns whether an event matches.
    pub fn matches(&self, event: &Value, observations: &mut Observations) -> bool {
        let matches = self.matches_delivered(&DeliveredEvent::new(event), observations);
        self.collect_names(event, observations);
        matches
    }

    /// Adds the names in the whole event that was evaluated last, if [the observations want
    /// them](Observations::want_names).
    pub fn collect_names(&self, event: &Value, observations: &mut Observations) {
        let (matches, exceptions) = (&mut observations.matches, &mut observations.exceptions);
        let expressions = self.matches.iter().zip(matches);
        for (expression, observations) in expressions.chain(self.exceptions.iter().zip(exceptions))
        {
            expression.collect_names(event, observations);
        }
    }

    /// Returns whether an event matches, with what it was delivered with. Nothing but its [required
    /// parts](Self::required_parts) need be there.
    pub fn matches_delivered(
        &self,
        delivered: &DeliveredEvent<'_>,
        observations: &mut Observations,
    ) -> bool {
        let event = delivered.event;
        observations.events += 1;
        observations.reserve(self.matches.len(), self.exceptions.len(), self.conditions.len());
        let matches = self.contains_time(event, observations)
            && self.contains_action(event)
            && self.is_selected(delivered.listed.unwrap_or(event), observations)
            && self.is_matched(event, observations)
            && !self.is_excepted(event, observations)
            && self.holds(delivered, observations);
        observations.matched += u64::from(matches);
        matches
    }

    fn contains_time(&self, event: &Value, observations: &mut Observations) -> bool {
        if self.range.is_unbounded() {
            return true;
        }
        let time = event_time(event);
        observations.without_time += u64::from(time.is_none());
        time.is_some_and(|time| self.range.contains(time))
    }

    fn contains_action(&self, event: &Value) -> bool {
        let text = |key| event.get(key).and_then(Value::as_str).unwrap_or_default();
        self.actions.matches(text("eventSource"), text("eventName"))
    }

    fn is_selected(&self, event: &Value, observations: &mut Observations) -> bool {
        let is_selected = self.selectors.matches(event);
        if !is_selected && self.selectors.calls.is_some() && read_only(event).is_none() {
            observations.without_read_only += 1;
        }
        is_selected
    }

    fn is_matched(&self, event: &Value, observations: &mut Observations) -> bool {
        self.matches
            .iter()
            .zip(&mut observations.matches)
            .all(|(expression, observations)| expression.evaluate(event, observations).is_match())
    }

    fn is_excepted(&self, event: &Value, observations: &mut Observations) -> bool {
        self.exceptions.iter().zip(&mut observations.exceptions).any(
            |(expression, observations)| {
                expression.evaluate(event, observations).is_match() && !expression.is_empty()
            },
        )
    }

    fn holds(&self, delivered: &DeliveredEvent<'_>, observations: &mut Observations) -> bool {
        let DeliveredEvent { event, envelope, .. } = *delivered;
        let view = EventView::new(event).with_envelope(envelope);
        self.conditions.iter().zip(&mut observations.conditions).all(|(condition, observations)| {
            observations.events += 1;
            condition.is_true(view).unwrap_or_else(|error| {
                observations.add_error(event, &error);
                false
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::{principal::tests::corpus, selectors::CallKind};

    fn time(text: &str) -> jiff::Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn both_ends_of_the_range_are_inclusive_and_count_whole_seconds() {
        let range =
            TimeBounds::new(Some(time("2024-06-01T10:00:00Z")), Some(time("2024-06-01T11:00:00Z")));
        let query = Query { range, ..Query::default() };
        for (text, matches) in [
            ("2024-06-01T10:00:00Z", true),
            ("2024-06-01T11:00:00Z", true),
            ("2024-06-01T11:00:00.900Z", true),
            ("2024-06-01T11:00:01Z", false),
            ("2024-06-01T09:59:59.999Z", false),
            ("2024-06-01T12:30:00+02:00", true),
            ("2024-06-01 10:30:00", true),
            ("yesterday", false),
            ("", false),
        ] {
            let event = json!({"eventTime": text});
            let mut observations = Observations::default();
            assert_eq!(query.matches(&event, &mut observations), matches, "{text}");
            assert_eq!(query.admits(&EventHeader::of_event(&event)), matches, "{text}");
        }
        let mut observations = Observations::default();
        assert!(!query.matches(&json!({}), &mut observations));
        assert_eq!((observations.events, observations.without_time), (1, 1));
        assert!(Query::default().matches(&json!({}), &mut observations));
    }

    #[test]
    fn a_header_never_rules_out_an_event_that_matches() {
        let selectors =
            |calls, errors_only| Selectors { errors_only, calls, ..Selectors::default() };
        let queries = [
            Query {
                actions: ActionFilter::parse(&["s3:Get*", "*:Delete*"]).unwrap(),
                ..Query::default()
            },
            Query {
                actions: ActionFilter::parse(&["lambda:*Function"]).unwrap(),
                ..Query::default()
            },
            Query { selectors: selectors(Some(CallKind::Read), false), ..Query::default() },
            Query { selectors: selectors(Some(CallKind::Write), true), ..Query::default() },
            Query { range: TimeBounds { from: Some(1_600_000_000), to: None }, ..Query::default() },
        ];
        let mut matched = [0_u64; 5];
        for event in corpus() {
            let header = EventHeader::of_event(&event);
            for (query, count) in queries.iter().zip(&mut matched) {
                let mut observations = Observations::default();
                let matches = query.matches(&event, &mut observations);
                assert!(!matches || query.admits(&header), "{event}");
                assert!(!matches || query.admits(&EventHeader::default()), "{event}");
                *count += u64::from(matches);
            }
        }
        assert!(matched.iter().all(|count| *count > 0), "{matched:?}");
    }

    #[test]
    fn observations_explain_what_was_not_found() {
        let parse = |text: &str| MatchExpression::parse(text).unwrap();
        let query = Query {
            matches: vec![parse("$.mfa == true"), parse("$.userNam == 'x'")],
            conditions: vec![Expression::parse("starts_with(detail.a, 'x')").unwrap()],
            ..Query::default()
        };
        let mut observations = Observations::default();
        assert!(!query.matches(&json!({"mfa": "true", "userName": "x"}), &mut observations));
        assert_eq!(observations.matches[0].events, 1);
        assert_eq!(observations.matches[1].events, 0, "the first expression decided");
        let mut other = Observations::default();
        assert!(!query.matches(&json!({"mfa": true, "userName": "x"}), &mut other));
        observations.merge(other);
        assert_eq!((observations.events, observations.matches[0].events), (2, 2));

        let query = Query { matches: Vec::new(), ..query };
        let mut observations = Observations::default();
        assert!(!query.matches(&json!({"eventID": "e1"}), &mut observations));
        assert!(!query.matches(&json!({"eventID": "e2"}), &mut observations));
        assert_eq!(observations.conditions[0].errors, 2);
        assert_eq!(observations.conditions[0].first_error.as_ref().unwrap().event_id, "e1");
    }

    #[test]
    fn exceptions_drop_what_they_match() {
        let query = Query {
            exceptions: vec![
                MatchExpression::parse("$.user == 'alice'").unwrap(),
                MatchExpression::parse("").unwrap(),
            ],
            ..Query::default()
        };
        let mut observations = Observations::default();
        assert!(!query.matches(&json!({"user": "alice"}), &mut observations));
        assert!(query.matches(&json!({"user": "bob"}), &mut observations));
        assert_eq!(observations.matched, 1);
    }
}
