//! The EventBridge pattern that delivers the events of rules.
//!
//! Input: rules. Output: an event pattern as JSON.
//! Invariant: every event that a rule selects matches the pattern. Other events may match too: the pattern lists sources
//! and names on their own, because EventBridge limits a pattern to 2,048 characters.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Rule, Selection};

/// What EventBridge calls the kinds of CloudTrail events that it delivers.
const DETAIL_TYPES: [&str; 3] = [
    "AWS API Call via CloudTrail",
    "AWS Console Sign In via CloudTrail",
    "AWS Service Event via CloudTrail",
];

/// Returns the pattern of an EventBridge rule that delivers the events of these rules.
pub fn event_pattern(rules: &[Rule]) -> Value {
    let mut detail = serde_json::Map::new();
    if let Some(sources) = union(rules, |selection| selection.sources.as_deref()) {
        detail.insert("eventSource".to_owned(), json!(sources));
    }
    if let Some(events) = union(rules, |selection| selection.events.as_deref()) {
        detail.insert("eventName".to_owned(), json!(events));
    }
    let mut pattern = json!({ "detail-type": DETAIL_TYPES });
    if !detail.is_empty() {
        pattern["detail"] = Value::Object(detail);
    }
    pattern
}

/// Returns all names, or `None` if a rule does not limit them.
fn union(
    rules: &[Rule],
    names: impl Fn(&Selection) -> Option<&[String]>,
) -> Option<BTreeSet<String>> {
    let lists: Option<Vec<&[String]>> = rules.iter().map(|rule| names(&rule.selection)).collect();
    Some(lists?.concat().into_iter().collect())
}
