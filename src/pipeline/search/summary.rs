//! What a search prints instead of events.
//!
//! Input: events. Output: a table, or a summary that `cli` prints.
//! Invariant: workers collect parts that are merged in the order in which they arrive.

use serde_json::Value;

use super::{counts::Counts, histogram::Histogram, policy::LeastPolicy, trace::Trace};
use crate::{
    report::Log,
    sink::events::{FieldList, SummaryTable},
};

/// Events of a worker that are summarized before its part is merged.
const MAX_PART_EVENTS: u64 = 50_000;

/// A summary of events.
#[derive(Clone, Debug)]
pub enum EventSummary {
    /// The number of events by the values of fields.
    Counts(Counts),
    /// The number of events over time.
    Histogram(Histogram),
    /// The least policies that allow the calls.
    Policy(LeastPolicy),
    /// Who is behind a credential.
    Trace(Box<Trace>),
}

impl EventSummary {
    /// Returns the fields that events are counted by.
    pub(super) fn fields(&self) -> Option<&FieldList> {
        match self {
            Self::Counts(counts) => Some(counts.fields()),
            Self::Histogram(histogram) => histogram.group_by(),
            Self::Policy(_) | Self::Trace(_) => None,
        }
    }

    /// Adds an event.
    pub(super) fn add(&mut self, event: &Value) {
        match self {
            Self::Counts(counts) => counts.add(event),
            Self::Histogram(histogram) => histogram.add(event),
            Self::Policy(policy) => policy.add(event),
            Self::Trace(trace) => trace.add(event),
        }
    }

    /// Adds the events of another part of the same summary.
    pub(super) fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Counts(counts), Self::Counts(other)) => counts.merge(other),
            (Self::Histogram(histogram), Self::Histogram(other)) => histogram.merge(other),
            (Self::Policy(policy), Self::Policy(other)) => policy.merge(other),
            (Self::Trace(trace), Self::Trace(other)) => trace.merge(*other),
            // All parts are copies of one summary.
            _ => {}
        }
    }

    /// Returns whether a part with so many events should be merged now.
    pub(super) fn is_full(&self, events: u64) -> bool {
        events >= MAX_PART_EVENTS
            || match self {
                Self::Counts(counts) => counts.is_part_full(),
                Self::Histogram(histogram) => histogram.is_part_full(),
                Self::Policy(policy) => policy.is_part_full(),
                Self::Trace(trace) => trace.is_part_full(),
            }
    }

    /// Returns the table of the summary, with at most `limit` values of `--count-by`, or the summary if it has none.
    pub(super) fn into_table(
        self,
        limit: Option<u64>,
        log: &Log,
    ) -> Result<SummaryTable, Box<Self>> {
        match self {
            Self::Counts(counts) => Ok(counts.into_table(limit, log)),
            Self::Histogram(histogram) => Ok(histogram.into_table(limit, log)),
            summary @ (Self::Policy(_) | Self::Trace(_)) => Err(Box::new(summary)),
        }
    }
}
