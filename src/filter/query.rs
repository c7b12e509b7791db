//! The conditions of a search, and the order in which they are evaluated.
//!
//! Input: the header of an event, then the parsed event. Output: whether it matches, and observations that explain a
//! surprising result.
//! Invariant: an event that [`Query::admits`] rules out does not match; it need not be parsed. The cheapest conditions
//! come first: range, actions, selectors, `--match`, `--except`, `--where`.
//! Not here: where events come from, and how the hints are worded.

use serde_json::Value;

use super::{action::ActionFilter, selectors::Selectors};
pub use super::{event_header::EventHeader, time_bounds::TimeBounds};

/// What a search asks for. An event matches if all conditions hold; without any, every event matches.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The IAM actions, of which the event has to belong to one.
    pub actions: ActionFilter,
    /// The conditions with options of their own.
    pub selectors: Selectors,
    /// The time range.
    pub range: TimeBounds,
}

/// What the evaluation of a query has met. Each worker has its own; they are merged at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observations {
    /// Events that were parsed and evaluated.
    pub events: u64,
    /// Events of these that matched.
    pub matched: u64,
    /// Events that were left out because their time is not readable.
    pub without_time: u64,
    /// Events that were left out because they do not say whether they only read.
    pub without_read_only: u64,
}

impl Query {
    /// Returns whether an event with this header can match.
    pub fn admits(&self, header: &EventHeader<'_>) -> bool {
        header.event_time.is_none_or(|time| self.range.contains_text(time))
            && self.admits_action(header)
            && self.selectors.admits(header)
    }

    fn admits_action(&self, header: &EventHeader<'_>) -> bool {
        match (header.event_source, header.event_name) {
            (Some(source), Some(name)) => self.actions.matches(source, name),
            _ => true,
        }
    }

    /// Returns whether an event matches.
    pub fn matches(&self, event: &Value, observations: &mut Observations) -> bool {
        observations.events += 1;
        let matches = self.contains_time(event, observations)
            && self.contains_action(event)
            && self.selectors.matches(event);
        observations.matched += u64::from(matches);
        matches
    }

    fn contains_time(&self, event: &Value, observations: &mut Observations) -> bool {
        if self.range.is_unbounded() {
            return true;
        }
        let time = super::time_bounds::event_time(event);
        observations.without_time += u64::from(time.is_none());
        time.is_some_and(|time| self.range.contains(time))
    }

    fn contains_action(&self, event: &Value) -> bool {
        let text = |key| event.get(key).and_then(Value::as_str).unwrap_or_default();
        self.actions.matches(text("eventSource"), text("eventName"))
    }
}

impl Observations {
    /// Adds the observations of another worker.
    pub fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.matched += other.matched;
        self.without_time += other.without_time;
        self.without_read_only += other.without_read_only;
    }
}
