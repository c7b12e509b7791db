//! Example values.
//!
//! Input: what is known about a value. Output: one that fits its type, and its name where that is telling. Account 111122223333 and
//! the addresses of RFC 5737 are those of AWS's own examples.

use serde_json::{Value, json};

use super::Leaf;
use crate::schema::model::ScalarType;

pub(super) const ACCOUNT: &str = "111122223333";
pub(super) const REGION: &str = "us-east-1";
const TIME: &str = "2024-05-01T12:00:00Z";
/// What CloudTrail writes in place of secrets.
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// Returns an example of a value in events of a service.
pub(super) fn value(leaf: &Leaf, service: &str) -> Value {
    if leaf.may_be_hidden && leaf.scalar == ScalarType::String {
        return json!(HIDDEN);
    }
    match leaf.scalar {
        ScalarType::Boolean => json!(true),
        ScalarType::Integer | ScalarType::Long => json!(leaf.min.unwrap_or(1).max(1)),
        ScalarType::Float | ScalarType::Double => json!(0.5),
        ScalarType::Timestamp => json!(TIME),
        ScalarType::Blob => json!("ZXhhbXBsZQ=="),
        ScalarType::String => json!(text(leaf, service)),
    }
}

fn text(leaf: &Leaf, service: &str) -> String {
    if let Some(first) = leaf.enumeration.first() {
        return first.clone();
    }
    let name = leaf.name.to_ascii_lowercase();
    let has = |part: &str| name.contains(part);
    if leaf.json_text {
        r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned()
    } else if name.ends_with("arn") {
        format!("arn:aws:{service}:{REGION}:{ACCOUNT}:example")
    } else if has("accountid") || name == "ownerid" {
        ACCOUNT.to_owned()
    } else if name.ends_with("region") {
        REGION.to_owned()
    } else if has("availabilityzone") || name == "zone" {
        format!("{REGION}a")
    } else if has("cidr") {
        "192.0.2.0/24".to_owned()
    } else if name.ends_with("ipaddress") || name == "publicip" {
        "192.0.2.10".to_owned()
    } else if name.ends_with("host") {
        format!("{service}.{REGION}.amazonaws.com")
    } else if name.ends_with("url") || name.ends_with("uri") {
        "https://example.com/".to_owned()
    } else if name == "path" {
        "/".to_owned()
    } else {
        let least = usize::try_from(leaf.min.unwrap_or(0)).unwrap_or(0).min(64);
        "example".chars().cycle().take(least.max("example".len())).collect()
    }
}
