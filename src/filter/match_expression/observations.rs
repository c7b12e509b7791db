//! What an expression meets in the events of a search, for hints at its end.
//!
//! Input: events on which the expression was evaluated. Output: counts, and a few names and values.
//! Invariant: bounded memory, whatever the events; almost no cost once the expression has matched. Those of several
//! workers can be merged in any order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::Value;

use super::look_alike::{LookAlike, show};
use super::near_paths::NearPaths;
use super::{Condition, MatchExpression, MatchOutcome, Operator};
use crate::report::format::plural;

/// How many events without a match are looked at for look-alikes and near names. The events of one kind resemble each
/// other, so that more would not tell more.
const SAMPLED_EVENTS: u32 = 2_000;

/// Behind this number, only every 64th event is sampled, so that all of the search is represented.
const SAMPLED_AT_FIRST: u32 = 500;

/// What one expression has met. Each worker has its own; they are merged at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchObservations {
    /// Events on which the expression was evaluated.
    pub events: u64,
    /// Events of these that matched.
    pub matched: u64,
    /// Events on which the pattern gave up; they count as not matching.
    pub gave_up: u64,
    /// The id of one of those, escaped and shortened; `None` if it has none.
    pub gave_up_on: Option<String>,
    /// Whether any event had a value other than null at the path. Exact as long as nothing matched.
    is_field_seen: bool,
    sampled: u32,
    look_alikes: BTreeMap<LookAlike, Seen>,
    near: NearPaths,
    /// Whether the names in the event of the last evaluation are to be collected.
    wants_names: bool,
}

/// How often something was seen, and an example of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) events: u64,
    pub(super) example: String,
}

impl MatchExpression {
    /// Returns whether an event matches, and notes what explains a surprising result. The event may consist of nothing but
    /// the parts that the path [needs](super::Path::needs); the names of others are collected by
    /// [`collect_names`](Self::collect_names).
    pub fn evaluate(&self, event: &Value, observations: &mut MatchObservations) -> MatchOutcome {
        let outcome = self.matches(event);
        observations.events += 1;
        observations.matched += u64::from(outcome.is_match());
        if outcome == MatchOutcome::GaveUp {
            observations.gave_up += 1;
            let id = || event.get("eventID").filter(|id| id.is_string()).map(show);
            observations.gave_up_on = observations.gave_up_on.take().or_else(id);
        }
        if let Some(condition) = &self.condition {
            observations.observe(condition, event);
        }
        outcome
    }

    /// Collects the names in the whole event that was evaluated last, if the observations
    /// [want them](MatchObservations::wants_names).
    pub fn collect_names(&self, event: &Value, observations: &mut MatchObservations) {
        if let Some(condition) =
            self.condition.as_ref().filter(|_| std::mem::take(&mut observations.wants_names))
        {
            observations.near.collect(&condition.path, event);
        }
    }
}

impl MatchObservations {
    /// Returns whether the event that was evaluated last lacks the field and belongs to the sample in which names are
    /// looked for that resemble it.
    pub fn wants_names(&self) -> bool {
        self.wants_names
    }

    /// Adds the observations of another worker.
    pub fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.matched += other.matched;
        self.gave_up += other.gave_up;
        self.gave_up_on = self.gave_up_on.take().or(other.gave_up_on);
        self.is_field_seen |= other.is_field_seen;
        self.sampled = self.sampled.saturating_add(other.sampled);
        for (kind, seen) in other.look_alikes {
            self.look_alikes
                .entry(kind)
                .and_modify(|own| own.events += seen.events)
                .or_insert(seen);
        }
        self.near.merge(other.near);
    }

    /// Returns whether the expression was evaluated and no event had the field.
    pub(super) fn is_field_missing(&self) -> bool {
        self.events > 0 && !self.is_field_seen
    }

    /// Returns the kind of look-alike that was seen most often; if several were, the most similar one.
    pub(super) fn most_frequent_look_alike(&self) -> Option<(LookAlike, &Seen)> {
        let most = self.look_alikes.values().map(|seen| seen.events).max()?;
        self.look_alikes
            .iter()
            .find(|(_, seen)| seen.events == most)
            .map(|(kind, seen)| (*kind, seen))
    }

    /// Returns in how many events something was seen, with its noun; only a part of them was looked at.
    pub(super) fn count(&self, seen: &Seen) -> String {
        let events = plural(seen.events, "event");
        if self.events > u64::from(self.sampled) { format!("at least {events}") } else { events }
    }

    /// Returns the paths that resemble that of the expression most.
    pub fn near_paths(&self) -> Vec<String> {
        self.near.best()
    }

    /// Looks at an event that the condition was evaluated on.
    fn observe(&mut self, condition: &Condition, event: &Value) {
        let is_done = match condition.operator {
            Operator::NotEqual => self.is_field_seen,
            Operator::Equal | Operator::Regex => self.matched > 0,
        };
        if is_done || !condition.needs_field() {
            self.is_field_seen = true;
            return;
        }
        let is_sampled = self.take_sample();
        if self.is_field_seen && !is_sampled {
            return;
        }
        let look_alike = self.look_at_values(condition, event, is_sampled);
        if let Some((kind, value)) = look_alike {
            let seen = self
                .look_alikes
                .entry(kind)
                .or_insert_with(|| Seen { events: 0, example: show(value) });
            seen.events += 1;
        }
        self.wants_names = is_sampled && !self.is_field_seen;
    }

    /// Notes whether the field is there; returns the first value that resembles the literal.
    fn look_at_values<'event>(
        &mut self,
        condition: &Condition,
        event: &'event Value,
        is_sampled: bool,
    ) -> Option<(LookAlike, &'event Value)> {
        let mut found = None;
        let _ = condition.path.visit(event, |value| {
            self.is_field_seen |= !value.is_null();
            if is_sampled {
                found = LookAlike::of(condition, value).map(|kind| (kind, value));
            }
            if found.is_some() || (self.is_field_seen && !is_sampled) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        found
    }

    /// Returns whether the current event is part of the sample.
    fn take_sample(&mut self) -> bool {
        let is_sampled = self.sampled < SAMPLED_AT_FIRST
            || (self.sampled < SAMPLED_EVENTS && self.events.is_multiple_of(64));
        self.sampled += u32::from(is_sampled);
        is_sampled
    }
}
