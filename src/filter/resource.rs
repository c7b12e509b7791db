//! What a call was about: the identifiers of resources in an event.
//!
//! Input: a pattern, then events. Output: whether an identifier matches.
//! Identifiers are the ARNs and names in `resources`, and the texts in `requestParameters` and `responseElements` whose
//! key ends like that of an identifier (`…Name`, `…Id`, `…Arn`, …). A text matches as a whole, as the part of an ARN
//! behind the account, or by its last part: `my-queue` matches `https://sqs.us-east-1.amazonaws.com/111122223333/my-queue`.
//! An ARN also matches the plain name of a resource of the same service, because many events contain nothing else.
//! Invariant: the depth of what is searched is limited by the parser of the event.

use std::fmt;

use serde_json::Value;

use super::{action::service_of_source, glob::Glob};

/// Ends of the keys of identifiers, in lower case.
const IDENTIFIER_ENDS: [&str; 18] = [
    "arn",
    "arns",
    "id",
    "ids",
    "name",
    "names",
    "identifier",
    "identifiers",
    "key",
    "url",
    "alias",
    "resource",
    "resources",
    "bucket",
    "instances",
    "host",
    "prefix",
    "stack",
];

/// A pattern for resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourcePattern {
    glob: Glob,
    arn: Option<ArnPattern>,
}

/// What a pattern for ARNs expects of an event that holds only the name of the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ArnPattern {
    service: Glob,
    /// Pattern for the part behind the account.
    resource: Glob,
    /// Pattern for the last part, unless it matches everything.
    name: Option<Glob>,
}

impl ResourcePattern {
    /// Compiles a pattern.
    pub fn new(pattern: &str) -> Self {
        Self { glob: Glob::new(pattern), arn: ArnPattern::new(pattern) }
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.glob.as_str()
    }

    /// Returns the only text that matches, or `None` if the pattern contains a wildcard.
    pub fn literal(&self) -> Option<&str> {
        self.glob.literal().map(|_| self.glob.as_str())
    }

    /// Returns whether an identifier of the event matches.
    pub fn matches(&self, event: &Value) -> bool {
        let service =
            event.get("eventSource").and_then(Value::as_str).map_or("", service_of_source);
        let arn = self.arn.as_ref().filter(|arn| arn.service.matches(service));
        let mut matches =
            |text: &str| self.matches_text(text) || arn.is_some_and(|arn| arn.matches(text));
        any_resource(event, &mut matches)
    }

    fn matches_text(&self, text: &str) -> bool {
        self.glob.matches(text)
            || resource_of_arn(text).is_some_and(|resource| self.glob.matches(resource))
            || last_part(text).is_some_and(|name| self.glob.matches(name))
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.glob.fmt(to)
    }
}

impl ArnPattern {
    fn new(pattern: &str) -> Option<Self> {
        let mut parts = pattern.splitn(6, ':');
        let (arn, service) = (parts.next()?, parts.nth(1)?);
        let resource = parts.nth(2)?;
        let name = Glob::new(last_part(resource).unwrap_or(resource));
        arn.eq_ignore_ascii_case("arn").then(|| Self {
            service: Glob::new(service),
            resource: Glob::new(resource),
            name: Some(name).filter(|name| !name.matches_everything()),
        })
    }

    fn matches(&self, text: &str) -> bool {
        // A complete ARN has been compared as a whole.
        resource_of_arn(text).is_none()
            && (self.resource.matches(text)
                || self.name.as_ref().is_some_and(|name| {
                    name.matches(text) || last_part(text).is_some_and(|last| name.matches(last))
                }))
    }
}

/// Returns whether a predicate holds for an identifier of the event.
fn any_resource(event: &Value, predicate: &mut impl FnMut(&str) -> bool) -> bool {
    let listed = event.get("resources").and_then(Value::as_array);
    let mut named = listed.into_iter().flatten().flat_map(|resource| {
        ["ARN", "arn", "ARNPrefix", "resourceName", "ResourceName"]
            .into_iter()
            .filter_map(|key| resource.get(key)?.as_str())
    });
    named.any(&mut *predicate)
        || ["requestParameters", "responseElements"]
            .iter()
            .filter_map(|side| event.get(side))
            .any(|side| any_identifier(side, false, predicate))
}

/// Returns whether a predicate holds for a text whose key, or the key of the list that holds it, is that of an
/// identifier.
fn any_identifier(
    value: &Value,
    is_identifier: bool,
    predicate: &mut impl FnMut(&str) -> bool,
) -> bool {
    match value {
        Value::String(text) => is_identifier && predicate(text),
        Value::Array(values) => {
            values.iter().any(|value| any_identifier(value, is_identifier, predicate))
        }
        Value::Object(members) => members
            .iter()
            .any(|(key, value)| any_identifier(value, is_identifier_key(key), predicate)),
        _ => false,
    }
}

fn is_identifier_key(key: &str) -> bool {
    IDENTIFIER_ENDS.iter().any(|end| {
        let start = key.len().wrapping_sub(end.len());
        key.get(start..).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    })
}

/// Returns the part of an ARN behind the account.
fn resource_of_arn(text: &str) -> Option<&str> {
    text.strip_prefix("arn:")?.splitn(5, ':').nth(4)
}

/// Returns what stands behind the last `/` or `:`, if there is one.
fn last_part(text: &str) -> Option<&str> {
    text.rfind(['/', ':']).map(|place| &text[place + 1..]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resource_is_found_by_its_arn_its_name_or_a_pattern() {
        let bucket = json!({"eventSource": "s3.amazonaws.com", "requestParameters": {"bucketName": "logs", "key": "a/b.txt"}});
        let listed = json!({"eventSource": "s3.amazonaws.com", "resources": [{"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::logs"}]});
        let queue = json!({"eventSource": "sqs.amazonaws.com", "requestParameters": {"queueUrl": "https://sqs.us-east-1.amazonaws.com/111122223333/jobs"}});
        let role = json!({"eventSource": "sts.amazonaws.com", "requestParameters": {"roleArn": "arn:aws:iam::111122223333:role/ops/Admin"}});
        let instances = json!({"eventSource": "ec2.amazonaws.com", "responseElements": {"instancesSet": {"items": [{"instanceId": "i-0123"}, {"instanceId": "i-4567"}]}}});
        for (pattern, event, matches) in [
            ("logs", &bucket, true),
            ("LOGS", &bucket, true),
            ("log", &bucket, false),
            ("b.txt", &bucket, true),
            ("arn:aws:s3:::logs", &bucket, true),
            ("arn:aws:s3:::log*", &bucket, true),
            ("arn:aws:sqs:*:*:logs", &bucket, false),
            ("arn:aws:s3:::logs", &listed, true),
            ("logs", &listed, true),
            ("arn:aws:s3:::other", &listed, false),
            ("jobs", &queue, true),
            ("arn:aws:sqs:us-east-1:111122223333:jobs", &queue, true),
            ("Admin", &role, true),
            ("role/ops/Admin", &role, true),
            ("*:role/ops/*", &role, true),
            ("i-4567", &instances, true),
            ("i-*", &instances, true),
            ("*", &json!({}), false),
        ] {
            assert_eq!(ResourcePattern::new(pattern).matches(event), matches, "{pattern} {event}");
        }
    }

    #[test]
    fn texts_that_identify_nothing_are_not_searched() {
        let event = json!({"requestParameters": {"description": "logs", "policyDocument": "logs", "logging": true}});
        assert!(!ResourcePattern::new("logs").matches(&event));
        let event =
            json!({"requestParameters": {"instanceIds": ["i-1"], "tagSet": [{"roleName": "x"}]}});
        assert!(ResourcePattern::new("i-1").matches(&event));
        assert!(ResourcePattern::new("x").matches(&event));
    }
}
