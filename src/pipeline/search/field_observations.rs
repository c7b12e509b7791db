//! Fields that a search prints or counts by, and that no event found has.
//!
//! Input: the selected fields, and the events found. Output: the fields that none of them has, with similar names.
//! Invariant: bounded memory; no cost once an event has the field. Those of several workers can be merged in any order.

use serde_json::Value;

use crate::{
    filter::match_expression::{MatchExpression, MatchObservations},
    schema::names::similar,
    sink::events::{ComputedField, Field, FieldList},
};

/// A selected field that no event found has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnseenField {
    /// The field as the user wrote it.
    pub name: String,
    /// The number of events found.
    pub events: u64,
    /// What may have been meant.
    pub similar: Vec<String>,
}

/// What is known about the selected fields. Each worker has its own, whose news are merged with every batch.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldObservations(Vec<ObservedField>);

#[derive(Clone, Debug)]
struct ObservedField {
    field: Field,
    /// Whether an event has a value other than null.
    is_seen: bool,
    events: u64,
    /// Collects similar names; `None` if the field is no path of an expression.
    presence: Option<MatchExpression>,
    observations: MatchObservations,
}

impl FieldObservations {
    /// Returns the observations of fields before any event. Computed fields are not observed: that no call failed is no
    /// mistake in `--fields error`.
    pub(super) fn new(fields: Option<&FieldList>) -> Self {
        let paths = fields.into_iter().flatten().filter(|field| field.computed().is_none());
        let observed = |field: &Field| ObservedField {
            field: field.clone(),
            is_seen: false,
            events: 0,
            presence: MatchExpression::parse(&format!("{} != None", field.name())).ok(),
            observations: MatchObservations::default(),
        };
        Self(paths.map(observed).collect())
    }

    /// Notes which fields an event found has.
    pub(super) fn observe(&mut self, event: &Value) {
        for field in self.0.iter_mut().filter(|field| !field.is_seen) {
            field.observe(event);
        }
    }

    /// Returns what is new since the last call, if anything is.
    pub(super) fn take_news(&mut self) -> Option<Self> {
        if self.0.iter().all(|field| field.events == 0) {
            return None;
        }
        let news = self.clone();
        for field in &mut self.0 {
            // The names that were collected stay, as does the number of events that are looked at for them.
            field.events = 0;
        }
        Some(news)
    }

    /// Adds the news of a worker of the same search.
    pub(super) fn merge(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
            return;
        }
        for (own, other) in self.0.iter_mut().zip(other.0) {
            own.is_seen |= other.is_seen;
            own.events += other.events;
            own.observations.merge(other.observations);
        }
    }

    /// Returns the fields that no event has.
    pub(super) fn unseen(&self) -> Vec<UnseenField> {
        let unseen = self.0.iter().filter(|field| field.events > 0 && !field.is_seen);
        unseen.map(ObservedField::report).collect()
    }
}

impl ObservedField {
    fn observe(&mut self, event: &Value) {
        self.is_seen = !self.field.text(event).is_empty();
        self.events += 1;
        if let Some(presence) = self.presence.as_ref().filter(|_| !self.is_seen) {
            presence.evaluate(event, &mut self.observations);
            presence.collect_names(event, &mut self.observations);
        }
    }

    fn report(&self) -> UnseenField {
        let name = self.field.name();
        UnseenField { name: name.to_owned(), events: self.events, similar: self.similar(name) }
    }

    /// Returns the computed field that differs in case only, else similar paths, else similar computed fields.
    fn similar(&self, name: &str) -> Vec<String> {
        if let Some(computed) =
            ComputedField::names().find(|known| known.eq_ignore_ascii_case(name))
        {
            return vec![computed.to_owned()];
        }
        let paths = self.observations.near_paths();
        if paths.is_empty() {
            similar(name, ComputedField::names()).into_iter().map(str::to_owned).collect()
        } else {
            paths
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn observations(fields: &str) -> FieldObservations {
        FieldObservations::new(Some(&fields.parse().unwrap()))
    }

    #[test]
    fn fields_without_a_value_are_reported_with_similar_names() {
        let mut observations =
            observations("time,error,userName,Principal,resources.ARN,xyz,eventname");
        let event = json!({
            "eventName": "GetObject", "userIdentity": {"userName": "a", "principalId": "AIDA"},
            "resources": [{"ARN": "arn"}],
        });
        observations.observe(&event);
        observations.observe(&json!({"userName": null}));
        let unseen: Vec<_> =
            observations.unseen().into_iter().map(|f| (f.name, f.similar)).collect();
        let expected = [
            ("userName", "$.userIdentity.userName"),
            ("Principal", "principal"),
            ("xyz", ""),
            ("eventname", "$.eventName"),
        ];
        let expected = expected.map(|(name, similar)| {
            let similar = Some(similar.to_owned()).filter(|similar| !similar.is_empty());
            (name.to_owned(), Vec::from_iter(similar))
        });
        assert_eq!(unseen, expected);
    }

    #[test]
    fn a_field_that_any_worker_has_seen_is_not_reported() {
        let [mut one, mut other] = [observations("a,b,c"), observations("a,b,c")];
        let mut all = FieldObservations::default();
        one.observe(&json!({"a": 0}));
        other.observe(&json!({"b": 0}));
        all.merge(one.take_news().unwrap());
        one.observe(&json!({"a": 0}));
        all.merge(other.take_news().unwrap());
        all.merge(one.take_news().unwrap());
        assert!(other.take_news().is_none());
        let unseen = all.unseen();
        assert_eq!((unseen.len(), unseen[0].name.as_str(), unseen[0].events), (1, "c", 3));
        assert_eq!(observations("a").unseen(), [], "no event was found");
    }
}
