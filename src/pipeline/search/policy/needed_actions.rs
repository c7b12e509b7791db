//! The IAM actions that the caller of an event needed.
//!
//! Input: an event. Output: its actions; those of the reverse table that the request parameters rule out are left out.
//! Invariant: an event that belongs to no action, such as a sign-in, has none.

use serde_json::Value;

use crate::filter::action::{EventAction, actions_of_event};

/// Parts of error codes, in lower case, of calls that were refused before they were carried out: a permission was missing,
/// or the credentials were not valid.
const DENIED: [&str; 16] = [
    "accessdenied",
    "unauthorized",
    "notauthorized",
    "authorizationerror",
    "authfailure",
    "forbidden",
    "invalidclienttokenid",
    "unrecognizedclient",
    "expiredtoken",
    "requestexpired",
    "signature",
    "missingauthenticationtoken",
    "invalidaccesskeyid",
    "optinrequired",
    "invalididentitytoken",
    "subscriptionrequired",
];

/// Types of events that are no calls of a principal.
const OTHER_TYPES: [&str; 3] = ["AwsServiceEvent", "AwsConsoleSignIn", "AwsCloudTrailInsight"];

/// The actions of an event.
#[derive(Debug, Default)]
pub(super) struct NeededActions {
    pub(super) actions: Vec<EventAction>,
    /// Whether the event does not show which of the actions it needed.
    pub(super) is_ambiguous: bool,
}

/// Returns whether a call was denied.
pub(super) fn is_denied(event: &Value) -> bool {
    let Some(code) = event.get("errorCode").and_then(Value::as_str) else { return false };
    let code = code.to_ascii_lowercase();
    DENIED.iter().any(|denied| code.contains(denied))
}

/// Returns the actions that an event needed.
pub(super) fn needed_actions(event: &Value) -> NeededActions {
    let text = |key| event.get(key).and_then(Value::as_str).unwrap_or_default();
    if OTHER_TYPES.contains(&text("eventType")) {
        return NeededActions::default();
    }
    let parameters = event.get("requestParameters").unwrap_or(&Value::Null);
    let mut actions = actions_of_event(text("eventSource"), text("eventName"));
    let mut is_ambiguous = false;
    match text("eventSource") {
        "s3.amazonaws.com" => keep_s3_actions(&mut actions, parameters),
        "dynamodb.amazonaws.com" if actions.len() > 1 => {
            is_ambiguous = !keep_statement(&mut actions, parameters);
        }
        "timestream.amazonaws.com" => is_ambiguous = actions.len() > 1,
        _ => {}
    }
    NeededActions { actions, is_ambiguous }
}

/// Keeps the actions on versions of objects only if a version was asked for, and the ones on accounts only if no bucket
/// was.
fn keep_s3_actions(actions: &mut Vec<EventAction>, parameters: &Value) {
    let names: Vec<String> = actions.iter().map(|action| action.name.clone()).collect();
    let has_version = parameters.get("versionId").is_some();
    let has_bucket = parameters.get("bucketName").is_some();
    actions.retain(|action| {
        let name = action.name.as_str();
        if name.ends_with("PublicAccessBlock") && names.len() > 1 {
            return has_bucket != name.contains("Account");
        }
        if has_version {
            let version = name.replacen("Object", "ObjectVersion", 1);
            !names.contains(&version)
        } else {
            !(name.contains("ObjectVersion")
                && names.contains(&name.replacen("ObjectVersion", "Object", 1)))
        }
    });
}

/// Keeps the action of a PartiQL statement. Returns whether the statement was readable.
fn keep_statement(actions: &mut Vec<EventAction>, parameters: &Value) -> bool {
    let statement = parameters.get("statement").and_then(Value::as_str).unwrap_or_default();
    let verb = statement.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let Some(kind) =
        ["select", "insert", "update", "delete"].into_iter().find(|kind| *kind == verb)
    else {
        return false;
    };
    let is_kind = |action: &EventAction| action.name.to_ascii_lowercase().ends_with(kind);
    if !actions.iter().any(is_kind) {
        return false;
    }
    actions.retain(is_kind);
    true
}
