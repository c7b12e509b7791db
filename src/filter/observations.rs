//! What the evaluation of a query has met: the facts behind hints such as a field that no event contains.
//!
//! Input: expressions and the events that they were evaluated on. Output: counters.
//! Invariant: the memory is bounded, and a fact that is known is not looked for again. Each worker has its own
//! observations; they are merged at the end.
//! Not here: the words of the hints (see `cli`).

use std::{collections::BTreeSet, ops::ControlFlow};

use serde_json::Value;

use super::{
    literal::Literal,
    match_expression::{MatchExpression, MatchOutcome},
};
use crate::schema::names::similar;

/// Events whose fields are remembered for the names that are similar to a missing one.
const SAMPLED_EVENTS: u64 = 200;

/// Fields that are remembered at most.
const SAMPLED_FIELDS: usize = 4_096;

/// Depth of fields that are remembered.
const SAMPLED_DEPTH: usize = 6;

/// What the evaluation of a query has met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observations {
    /// Events that were parsed and evaluated.
    pub events: u64,
    /// Events of these that matched.
    pub matched: u64,
    /// Events that were left out because their time is not readable.
    pub without_time: u64,
    /// Events that were left out because it is not known whether they only read.
    pub without_read_only: u64,
    /// What each `--match` expression has met, in their order.
    pub matches: Vec<ExpressionObservations>,
    /// What each `--except` expression has met, in their order.
    pub exceptions: Vec<ExpressionObservations>,
    /// What each `--where` expression has met, in their order.
    pub conditions: Vec<ConditionObservations>,
    /// Fields of events in which a field of an expression was missing.
    fields: BTreeSet<String>,
    sampled_events: u64,
}

/// What a match expression has met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpressionObservations {
    /// Events that it was evaluated on.
    pub events: u64,
    /// Events on which its pattern reached the limit for backtracking, so that they count as not matching.
    pub gave_up: u64,
    /// Whether its path has selected a value in any event.
    pub has_field: bool,
    /// Whether it compares with a boolean, and the path has selected the text `"true"` or `"false"`.
    pub has_boolean_text: bool,
}

/// What a JMESPath expression has met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConditionObservations {
    /// Events that it was evaluated on.
    pub events: u64,
    /// Events on which its evaluation failed, so that they count as not matching.
    pub errors: u64,
    /// The first of them.
    pub first_error: Option<ConditionError>,
}

/// An evaluation that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    /// Id of the event; empty if it has none.
    pub event_id: String,
    /// What is wrong.
    pub message: String,
}

impl Observations {
    /// Creates the counters of the expressions of a query, if they are not there yet.
    pub(super) fn reserve(&mut self, matches: usize, exceptions: usize, conditions: usize) {
        self.matches.resize_with(matches, Default::default);
        self.exceptions.resize_with(exceptions, Default::default);
        self.conditions.resize_with(conditions, Default::default);
    }

    /// Adds the observations of another worker.
    pub fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.matched += other.matched;
        self.without_time += other.without_time;
        self.without_read_only += other.without_read_only;
        merge(&mut self.matches, other.matches, ExpressionObservations::merge);
        merge(&mut self.exceptions, other.exceptions, ExpressionObservations::merge);
        merge(&mut self.conditions, other.conditions, ConditionObservations::merge);
        self.sampled_events += other.sampled_events;
        self.fields.extend(other.fields);
        while self.fields.len() > SAMPLED_FIELDS {
            self.fields.pop_last();
        }
    }

    /// Returns fields of the events whose last name is similar to that of a path, at most three.
    pub fn similar_fields(&self, last_name: &str) -> Vec<&str> {
        let last = |field: &str| field.rfind('.').map_or(0, |dot| dot + 1);
        let names: BTreeSet<&str> = self.fields.iter().map(|field| &field[last(field)..]).collect();
        let similar = similar(last_name, names.into_iter());
        let field = |name: &&str| self.fields.iter().find(|field| field[last(field)..] == **name);
        similar.iter().filter_map(field).map(String::as_str).collect()
    }

    /// Remembers the fields of an event in which an expression found none.
    pub(super) fn sample_fields(&mut self, event: &Value) {
        if self.sampled_events < SAMPLED_EVENTS {
            self.sampled_events += 1;
            add_fields(&mut self.fields, event, "", SAMPLED_DEPTH);
        }
    }
}

impl ExpressionObservations {
    /// Notes the outcome of an expression on an event. Returns whether its field is missing in every event so far.
    pub(super) fn add(
        &mut self,
        expression: &MatchExpression,
        event: &Value,
        outcome: MatchOutcome,
    ) -> bool {
        self.events += 1;
        self.gave_up += u64::from(outcome == MatchOutcome::GaveUp);
        let Some(path) = expression.path() else {
            self.has_field = true;
            return false;
        };
        let wants_boolean = matches!(expression.literal(), Some(Literal::Bool(_)));
        if !self.has_field || wants_boolean && !self.has_boolean_text {
            let _ = path.visit(event, |value| {
                self.has_field = true;
                self.has_boolean_text |= wants_boolean && is_boolean_text(value);
                if wants_boolean { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        }
        !self.has_field
    }

    fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.gave_up += other.gave_up;
        self.has_field |= other.has_field;
        self.has_boolean_text |= other.has_boolean_text;
    }
}

impl ConditionObservations {
    /// Notes an evaluation that failed.
    pub(super) fn add_error(&mut self, event: &Value, error: impl ToString) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| {
            let id = event.get("eventID").and_then(Value::as_str).unwrap_or_default();
            ConditionError { event_id: id.to_owned(), message: error.to_string() }
        });
    }

    fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

fn is_boolean_text(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"))
}

/// Merges the observations of the same expressions. A worker without events has none.
fn merge<T: Default>(own: &mut Vec<T>, other: Vec<T>, merge: impl Fn(&mut T, T)) {
    if own.len() < other.len() {
        own.resize_with(other.len(), T::default);
    }
    own.iter_mut().zip(other).for_each(|(own, other)| merge(own, other));
}

/// Adds the paths of the members below a value, joined by dots. Lists add nothing to a path.
fn add_fields(fields: &mut BTreeSet<String>, value: &Value, path: &str, depth: usize) {
    match value {
        Value::Object(members) if depth > 0 => {
            for (key, value) in members {
                if fields.len() >= SAMPLED_FIELDS {
                    return;
                }
                let field = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                add_fields(fields, value, &field, depth - 1);
                fields.insert(field);
            }
        }
        Value::Array(values) => {
            values.iter().for_each(|value| add_fields(fields, value, path, depth));
        }
        _ => {}
    }
}
