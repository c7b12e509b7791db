//! What the evaluation of a query has met: the facts behind hints such as a field that no event contains.
//!
//! Input: expressions and the events that they were evaluated on. Output: counters.
//! Invariant: the memory is bounded, and a fact that is known is not looked for again. Each worker has its own
//! observations; they are merged at the end.
//! Not here: the words of the hints (see `cli`).

use serde_json::Value;

use super::match_expression::MatchObservations;

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
    pub matches: Vec<MatchObservations>,
    /// What each `--except` expression has met, in their order.
    pub exceptions: Vec<MatchObservations>,
    /// What each `--where` expression has met, in their order.
    pub conditions: Vec<ConditionObservations>,
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

    /// Returns whether an expression looks for names in the whole event that was evaluated last.
    pub fn want_names(&self) -> bool {
        self.matches.iter().chain(&self.exceptions).any(MatchObservations::wants_names)
    }

    /// Adds the observations of another worker.
    pub fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.matched += other.matched;
        self.without_time += other.without_time;
        self.without_read_only += other.without_read_only;
        merge(&mut self.matches, other.matches, MatchObservations::merge);
        merge(&mut self.exceptions, other.exceptions, MatchObservations::merge);
        merge(&mut self.conditions, other.conditions, ConditionObservations::merge);
    }
}

impl ConditionObservations {
    /// Notes an evaluation that failed.
    pub(super) fn add_error(&mut self, event: &Value, error: &impl ToString) {
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

/// Merges the observations of the same expressions. A worker without events has none.
fn merge<T: Default>(own: &mut Vec<T>, other: Vec<T>, merge: impl Fn(&mut T, T)) {
    if own.len() < other.len() {
        own.resize_with(other.len(), T::default);
    }
    own.iter_mut().zip(other).for_each(|(own, other)| merge(own, other));
}
