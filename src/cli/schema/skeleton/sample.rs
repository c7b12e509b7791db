//! An example event.
//!
//! It has the fields that every record has, the required members of the request, and the first of the others.

use serde_json::{Map, Value, json};

use super::{
    Leaf,
    example::{self, ACCOUNT, REGION},
    leaves, testable,
};
use crate::{cli::schema::answer::Answer, normalize::Rules, schema::only_reads};

/// Values of a request or response that are not required.
const MOST_OPTIONAL: usize = 8;
/// Levels of values that are not required.
const DEEPEST_OPTIONAL: usize = 2;

/// Returns an event as text.
pub(in crate::cli::schema) fn event_text(answer: &Answer<'_>, rules: &Rules) -> String {
    format!("{:#}\n", event(answer, rules))
}

/// Returns an event.
pub(super) fn event(answer: &Answer<'_>, rules: &Rules) -> Value {
    let mut record = json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROA111122223333EXAMPLE:alice",
            "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/admin/alice"),
            "accountId": ACCOUNT,
            "accessKeyId": "ASIA111122223333EXAM",
            "sessionContext": {
                "sessionIssuer": {
                    "type": "Role",
                    "principalId": "AROA111122223333EXAMPLE",
                    "arn": format!("arn:aws:iam::{ACCOUNT}:role/admin"),
                    "accountId": ACCOUNT,
                    "userName": "admin",
                },
                "attributes": { "creationDate": "2024-05-01T11:00:00Z", "mfaAuthenticated": "true" },
            },
        },
        "eventTime": "2024-05-01T12:00:00Z",
        "eventSource": answer.event_source,
        "eventName": answer.event_name(),
        "awsRegion": REGION,
        "sourceIPAddress": "192.0.2.10",
        "userAgent": "aws-cli/2.15.0",
        "requestParameters": null,
        "responseElements": null,
    });
    let service = answer.service_name.as_str();
    let leaves = leaves(answer, rules);
    // What rules and queries test is there.
    for leaf in chosen(&leaves).into_iter().chain(testable(answer, &leaves)) {
        insert(&mut record, &steps(&leaf.expression), example::value(leaf, service));
    }
    let reads = answer
        .info
        .zip(answer.operation)
        .is_some_and(|(info, operation)| only_reads(&info.event_source, &operation.name));
    let rest = json!({
        "requestID": "a1b2c3d4-5678-4abc-9def-111122223333",
        "eventID": "a1b2c3d4-5678-4abc-9def-444455556666",
        "readOnly": reads,
        "eventType": answer.event_type,
        "managementEvent": true,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    });
    if let (Value::Object(record), Value::Object(rest)) = (&mut record, rest) {
        record.extend(rest);
    }
    record
}

/// Returns the required values, and the first of the others in each member of the record.
fn chosen(leaves: &[Leaf]) -> Vec<&Leaf> {
    let mut optional = [0_usize; 2];
    let is_chosen = |leaf: &&Leaf| {
        let count = &mut optional[usize::from(leaf.is_response)];
        if leaf.is_required {
            return true;
        }
        let fits = leaf.depth <= DEEPEST_OPTIONAL && *count < MOST_OPTIONAL && !leaf.is_added;
        // Fields that CloudTrail adds are the only ones of some events.
        let fits = fits || leaf.is_added && leaf.name != "message" && *count < MOST_OPTIONAL;
        *count += usize::from(fits);
        fits
    };
    leaves.iter().filter(is_chosen).collect()
}

/// A step of a path: into an object, or into the first item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PathStep {
    Key(String),
    Item,
}

/// Splits an expression with quoted keys and `[]`.
fn steps(expression: &str) -> Vec<PathStep> {
    let mut steps = Vec::new();
    let mut rest = expression;
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix("[]") {
            steps.push(PathStep::Item);
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('.') {
            rest = behind;
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (key, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
            steps.push(PathStep::Key(key.to_owned()));
            rest = behind;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let key = if &rest[..end] == "*" { "Key" } else { &rest[..end] };
            steps.push(PathStep::Key(key.to_owned()));
            rest = &rest[end..];
        }
    }
    steps
}

/// Inserts a value, creating objects and lists on the way. A value that is already on the way stays.
fn insert(at: &mut Value, steps: &[PathStep], value: Value) {
    match steps.split_first() {
        None => {
            if at.is_null() {
                *at = value;
            }
        }
        Some((PathStep::Key(key), rest)) => {
            if at.is_null() {
                *at = Value::Object(Map::new());
            }
            if let Value::Object(object) = at {
                insert(object.entry(key.clone()).or_insert(Value::Null), rest, value);
            }
        }
        Some((PathStep::Item, rest)) => {
            if at.is_null() {
                *at = json!([null]);
            }
            if let Value::Array(items) = at
                && let Some(first) = items.first_mut()
            {
                insert(first, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_placed_into_objects_and_lists() {
        let mut event = Value::Null;
        for (path, value) in [
            ("a.items[].id", json!(1)),
            ("a.items[].name", json!("x")),
            ("tags.*", json!("v")),
            ("\"x-amz-acl\"", json!("private")),
            ("list[]", json!(2)),
        ] {
            insert(&mut event, &steps(path), value);
        }
        let expected = json!({
            "a": { "items": [{ "id": 1, "name": "x" }] },
            "tags": { "Key": "v" },
            "x-amz-acl": "private",
            "list": [2],
        });
        assert_eq!(event, expected);
    }
}
