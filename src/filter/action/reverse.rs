//! The IAM actions of an event: what its caller had to be allowed to do.
//!
//! Input: the `eventSource` and `eventName` of an event. Output: IAM actions with the spelling of AWS.
//! Invariant: an action that no list contains is marked, because a policy with a wrong name allows nothing.
//! Not here: the resources of a call (see `pipeline::search`).

use super::{
    permissions::{Permission, permission},
    table::{ActionTable, service_of_source},
};
use crate::schema::names::without_date;

/// An IAM action that an event may have needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventAction {
    /// The action, such as `s3:ListAllMyBuckets`.
    pub name: String,
    /// What is known about it, or `None` if no list contains it.
    pub permission: Option<Permission>,
}

/// Returns the IAM actions that a call needs, in alphabetical order; empty for an event that belongs to no action, such as
/// `ConsoleLogin`.
pub fn actions_of_event(source: &str, name: &str) -> Vec<EventAction> {
    let service = service_of_source(source).to_ascii_lowercase();
    let table = ActionTable::embedded();
    let is_other = |other: &String| other == name;
    if service.is_empty() || name.is_empty() || table.other_events(&service).iter().any(is_other) {
        return Vec::new();
    }
    let plain = without_date(name).unwrap_or(name);
    let event = plain.to_ascii_lowercase();
    let rows = table.rows_of_event(&service, &event);
    let rows = rows.map(|row| EventAction {
        name: format!("{}:{}", row.prefix, row.action),
        permission: permission(&row.prefix, &row.action),
    });
    let mut actions: Vec<EventAction> = rows.chain(direct(&service, plain)).collect();
    if actions.is_empty() {
        let prefix = table.prefixes(&service).first().unwrap_or(&service);
        actions.push(EventAction { name: format!("{prefix}:{plain}"), permission: None });
    }
    actions.sort_by(|one, other| one.name.cmp(&other.name));
    actions.dedup_by(|one, other| one.name == other.name);
    actions
}

/// Returns the action with the name of the event. Services share event sources, so several prefixes may have one; the
/// prefix that equals the service takes precedence.
fn direct(service: &str, name: &str) -> Vec<EventAction> {
    let known = |prefix: &str| {
        let permission = permission(prefix, name)?;
        let name = format!("{}:{}", permission.prefix, permission.name);
        Some(EventAction { name, permission: Some(permission) })
    };
    known(service).map_or_else(
        || {
            let prefixes = ActionTable::embedded().prefixes(service);
            prefixes.iter().filter_map(|prefix| known(prefix)).collect()
        },
        |action| vec![action],
    )
}
