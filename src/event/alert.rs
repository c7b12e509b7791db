//! Alerts, and the matches of rules that they come from, as plain data.
//!
//! Input: what workers found in events. Output: values that the checkpoint stores and receivers are sent.
//! Invariant: an alert holds everything that its delivery needs, so it can be delivered after its rule was changed or removed.
//! Not here: which matches are alerts (see the module `checkpoint::alerts`), and what a receiver is sent.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use serde_json::{Map, Value, value::RawValue};
use tokio::sync::OwnedSemaphorePermit;

/// How serious an alert is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// Worth a look when there is time.
    Low,
    /// Worth a look today; the default.
    #[default]
    Medium,
    /// Worth a look now.
    High,
    /// Needs immediate action.
    Critical,
}

impl Severity {
    /// All severities, from the lowest.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Returns the name in rule files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// An event on which a rule fires, before it is known whether it is an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMatch {
    /// The number of the rule in the [`RuleSet`](crate::filter::rule::RuleSet) of the run.
    pub rule: usize,
    /// The values of `group_by`, as an array.
    pub group: Value,
    /// The values of `first_seen`, as an array, if the rule has it.
    pub combination: Option<Value>,
    /// The time of the event in milliseconds of the Unix epoch, if it has one.
    pub time: Option<i64>,
    /// The earliest event time that is known to be evaluated, in milliseconds of the Unix epoch, whether a rule fired or not. A
    /// learning period starts there.
    pub evaluated_from: Option<i64>,
    /// The id of the event, or a hash of it if it has none. Two matches of a rule with the same id are one.
    pub event_id: String,
    /// The event: JSON text. Empty if the event is too old for an alert to be delivered.
    pub event: Bytes,
}

/// The matches of a batch of records, for the memory of alerts.
#[derive(Clone, Debug, Default)]
pub struct MatchBatch {
    /// Matches about which nothing is decided, in the order in which they were read.
    pub matches: Vec<NewMatch>,
    /// What a state that several processes share has decided about matches.
    pub decided: DecidedMatches,
    /// Returned when the matches are stored, so that those that wait for the disk stay within a limit.
    pub reservation: Option<Arc<OwnedSemaphorePermit>>,
}

/// What was decided about matches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecidedMatches {
    /// The alerts that are to be stored with their deliveries, in the order in which they are to be delivered.
    pub alerts: Vec<Alert>,
    /// The numbers of matches, for each rule that has some.
    pub rules: Vec<RuleDecisions>,
}

/// How many matches of a rule were decided about, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleDecisions {
    /// The number of the rule in the [`RuleSet`](crate::filter::rule::RuleSet) of the run.
    pub rule: usize,
    /// Matches for which an alert was raised before.
    pub duplicates: u64,
    /// Matches below the threshold, in the window of an alert, or with a known combination.
    pub suppressed: u64,
    /// Combinations that were remembered in a learning period.
    pub learned: u64,
    /// Alerts that were raised to be delivered.
    pub alerts: u64,
    /// Alerts for events that are too old to be delivered.
    pub recorded: u64,
}

impl DecidedMatches {
    /// Returns whether nothing was decided.
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.rules.is_empty()
    }
}

/// An alert. As JSON, it is one object, whose `event` is the event as it was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// A hash of rule, group and event, in 32 hexadecimal digits. It is the same whenever and wherever the alert is raised, so
    /// receivers can use it to drop repetitions.
    pub id: String,
    /// A hash of rule and group, in 32 hexadecimal digits, which the alerts of a group have in common.
    pub group_id: String,
    /// The name of the rule.
    pub rule: String,
    /// How serious it is.
    pub severity: Severity,
    /// What it means, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The values of `group_by`, by expression.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub group: Map<String, Value>,
    /// The values of `first_seen`, by expression; empty without it.
    #[serde(rename = "first_seen", skip_serializing_if = "Map::is_empty")]
    pub combination: Map<String, Value>,
    /// The time of the event, if it has one.
    #[serde(serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The number of events in the window, including this one, as far as they were known when the alert was raised.
    pub events: u64,
    /// The names of the actions of the rule, in the order of the rule file.
    pub actions: Vec<String>,
    /// The id of the event, or a hash of it if it has none.
    pub event_id: String,
    /// The event: JSON text.
    #[serde(serialize_with = "as_json")]
    pub event: Bytes,
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn as_text<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_string()).serialize(serializer)
}

/// Serializes JSON text as the value that it stands for, without parsing it into one.
fn as_json<S: Serializer>(text: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    let value: &RawValue = serde_json::from_slice(text).map_err(S::Error::custom)?;
    value.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_is_serialized_by_its_name() {
        for severity in Severity::ALL {
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.name());
        }
    }
}
