//! The EventBridge pattern that delivers the events of rules.
//!
//! Input: rules. Output: an event pattern as JSON, and what was left out of it.
//! Invariant: every event that a rule can fire on matches the pattern, and the pattern fits the quota of EventBridge. Other
//! events may match too: the pattern lists sources and names on their own.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    Rule,
    bound::{Bound, Bounds},
};

/// The characters of a pattern that EventBridge accepts. The quota can be raised to 4,096.
pub const MAX_PATTERN_CHARACTERS: usize = 2_048;

/// What EventBridge calls the kinds of CloudTrail events that it delivers.
const DETAIL_TYPES: [&str; 5] = [
    "AWS API Call via CloudTrail",
    "AWS Console Sign In via CloudTrail",
    "AWS Console Action via CloudTrail",
    "AWS Service Event via CloudTrail",
    "AWS Insight via CloudTrail",
];

/// An event pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPattern {
    /// The pattern.
    pub pattern: Value,
    /// The fields that would limit the events further, and make the pattern longer than EventBridge accepts.
    pub left_out: Vec<&'static str>,
}

/// Returns the pattern of an EventBridge rule that delivers the events of these rules.
pub fn event_pattern(rules: &[Rule]) -> EventPattern {
    let bounds: Vec<Bounds> = rules.iter().map(Bounds::of).collect();
    let limits = [
        ("eventName", union(bounds.iter().map(|bounds| &bounds.names))),
        ("eventSource", union(bounds.iter().map(|bounds| &bounds.sources))),
    ];
    let limits: Vec<(&'static str, Value)> =
        limits.into_iter().filter_map(|(field, values)| Some((field, values?))).collect();
    let choices: [&[(&'static str, Value)]; 4] =
        [&limits, limits.get(..1).unwrap_or_default(), limits.get(1..).unwrap_or_default(), &[]];
    let mut patterns = choices.into_iter().map(|chosen| {
        let is_chosen = |field: &&str| chosen.iter().any(|(name, _)| name == field);
        let left_out = limits.iter().map(|(field, _)| *field).filter(|field| !is_chosen(field));
        EventPattern { pattern: pattern(chosen), left_out: left_out.collect() }
    });
    let fits = |pattern: &EventPattern| {
        pattern.pattern.to_string().chars().count() <= MAX_PATTERN_CHARACTERS
    };
    patterns.find(fits).unwrap_or(EventPattern { pattern: pattern(&[]), left_out: Vec::new() })
}

fn pattern(limits: &[(&'static str, Value)]) -> Value {
    let mut pattern = json!({ "detail-type": DETAIL_TYPES });
    if !limits.is_empty() {
        let detail: Map<String, Value> =
            limits.iter().map(|(field, values)| ((*field).to_owned(), values.clone())).collect();
        pattern["detail"] = Value::Object(detail);
    }
    pattern
}

/// Returns what a field must be for one of the rules, or `None` if one of them is not limited by it.
fn union<'b>(bounds: impl Iterator<Item = &'b Bound>) -> Option<Value> {
    let (mut exact, mut in_any_case) = (BTreeSet::new(), BTreeSet::new());
    for bound in bounds {
        match bound {
            Bound::Any => return None,
            Bound::Exactly(texts) => exact.extend(texts),
            Bound::InAnyCase(texts) => in_any_case.extend(texts),
        }
    }
    let in_any_case = in_any_case.into_iter().map(|text| json!({ "equals-ignore-case": text }));
    Some(exact.into_iter().map(|text| json!(text)).chain(in_any_case).collect())
}
