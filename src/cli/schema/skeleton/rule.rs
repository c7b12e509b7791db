//! A rule for `trailload watch`, with tests.

use serde_json::{Value, json};

use super::{example, leaves, sample, testable};
use crate::{cli::schema::answer::Answer, normalize::Rules};

/// Returns a rule as YAML. Its tests are an example event that it fires on, and one that it does not.
pub(in crate::cli::schema) fn rule(answer: &Answer<'_>, rules: &Rules) -> String {
    let leaves = leaves(answer, rules);
    let event = sample::event(answer, rules);
    let source = &answer.event_source;
    let names = answer.event_names.join(", ");
    let leaf = testable(answer, &leaves)
        .filter(|leaf| value_at(&event, &leaf.path).is_some_and(Value::is_string));
    let mut silent = event.clone();
    let condition = if let Some(leaf) = leaf {
        let value = example::value(leaf, &answer.service_name);
        let text = value.as_str().unwrap_or_default().replace('\'', "\\'");
        set(&mut silent, &leaf.path, json!("another"));
        format!("detail.{} == '{text}'", leaf.expression)
    } else {
        silent["recipientAccountId"] = json!("444455556666");
        format!("detail.recipientAccountId == '{}'", example::ACCOUNT)
    };
    let name = answer.event_name();
    format!(
        "name: {quoted}\nsources: [{source}]\nevents: [{names}]\nmatch: {condition}\nexcept:\n  - detail.errorCode != null\nseverity: medium\n\
         actions: [stdout]\ntests:\n  - fires: true\n    event: {event}\n  - fires: false\n    event: {silent}\n",
        quoted = json!(format!("{source}: {name} was called")),
        condition = json!(condition),
    )
}

fn value_at<'v>(event: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(event, |at, key| at.get(key))
}

fn set(event: &mut Value, path: &str, value: Value) {
    let mut at = event;
    for key in path.split('.') {
        let Some(below) = at.get_mut(key) else { return };
        at = below;
    }
    *at = value;
}
