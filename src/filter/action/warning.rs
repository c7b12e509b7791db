//! Warnings about action patterns that find less than their author expects.
//!
//! Input: a filter. Output: warnings, as data.
//! Invariant: a warning never changes what a pattern finds, because no list of actions is complete.
//! Not here: the words (see `cli`).

use std::collections::BTreeSet;

use super::{
    known_events::{is_data_event, of_service, of_services},
    pattern::{ActionPattern, is_service},
    permissions,
    table::{ActionRow, ActionTable},
};
use crate::schema::names::{similar, without_date};

/// Why a pattern finds less than expected, or something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionWarning {
    /// The pattern as it was written.
    pub pattern: String,
    /// What is unexpected about it.
    pub kind: ActionWarningKind,
}

/// What is unexpected about a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionWarningKind {
    /// No text matches a part of the pattern, such as `[z-a]`.
    MatchesNothing,
    /// A `[` is not closed, and stands for itself.
    OpenBracket,
    /// The pattern names no service, and is read as a name of an action of any service.
    AnyService,
    /// The pattern names no action, and is read as all actions of a service.
    AnyAction,
    /// No service has this name.
    UnknownService {
        /// Patterns with the names of services that are similar.
        similar: Vec<String>,
    },
    /// No known action or event has this name, or matches the glob.
    UnknownAction {
        /// Patterns with the names of actions that are similar.
        similar: Vec<String>,
    },
    /// The action is never recorded as an event of its own.
    NeverLogged {
        /// Why, as far as known.
        reason: String,
    },
    /// The action is one, but no call of an API has its name: it is checked within other calls, or belongs to a console.
    NoApiCall,
    /// All known events of the pattern are data events, which `LookupEvents` does not return.
    DataEvents,
}

impl ActionWarning {
    /// Returns the warnings about a pattern.
    pub(super) fn about(pattern: &ActionPattern) -> Vec<Self> {
        let mut kinds = Vec::new();
        if pattern.service().matches_nothing() || pattern.name().matches_nothing() {
            kinds.push(ActionWarningKind::MatchesNothing);
        } else {
            kinds.extend(reading(pattern));
            kinds.extend(expectation(pattern));
        }
        let text = pattern.to_string();
        kinds.into_iter().map(|kind| Self { pattern: text.clone(), kind }).collect()
    }
}

/// Returns how an unusual pattern is read.
fn reading(pattern: &ActionPattern) -> Option<ActionWarningKind> {
    if pattern.service().has_open_bracket() || pattern.name().has_open_bracket() {
        return Some(ActionWarningKind::OpenBracket);
    }
    pattern.is_bare().then(|| {
        if pattern.name().matches_everything() {
            ActionWarningKind::AnyAction
        } else {
            ActionWarningKind::AnyService
        }
    })
}

/// Returns why the pattern is likely to find nothing.
fn expectation(pattern: &ActionPattern) -> Option<ActionWarningKind> {
    if pattern.matches_everything() {
        return None;
    }
    let Some(services) = pattern.services() else { return unknown_name(pattern) };
    let prefix = pattern.service().literal().unwrap_or_default();
    let events: BTreeSet<(&str, &str)> = services
        .iter()
        .flat_map(|service| of_service(service).into_iter().map(|name| (service.as_str(), name)))
        .collect();
    if events.is_empty() && !permissions::has_prefix(prefix) {
        return Some(unknown_service(pattern, prefix));
    }
    // The tables contain no dates.
    let undated = pattern.name().literal().and_then(without_date);
    let is_found = |(service, name): &&(&str, &str)| {
        pattern.matches(service, name)
            || undated.is_some_and(|undated| undated.eq_ignore_ascii_case(name))
    };
    let found: Vec<_> = events.iter().filter(is_found).collect();
    if found.is_empty() {
        return missing(pattern, prefix, &events);
    }
    // The services of one prefix are not always told apart by the tables.
    let is_data = |name: &str| services.iter().any(|service| is_data_event(service, name));
    found.iter().all(|(_, name)| is_data(name)).then_some(ActionWarningKind::DataEvents)
}

/// Returns why no known event of a service matches.
fn missing(
    pattern: &ActionPattern,
    prefix: &str,
    events: &BTreeSet<(&str, &str)>,
) -> Option<ActionWarningKind> {
    let is_action = permissions::actions(prefix).any(|name| pattern.name().matches(name));
    if let Some(name) = pattern.name().literal()
        && let Some(reason) = ActionTable::embedded().no_event(&format!("{prefix}:{name}"))
    {
        return Some(ActionWarningKind::NeverLogged { reason: reason.to_owned() });
    }
    if is_action {
        return Some(ActionWarningKind::NoApiCall);
    }
    // Without a list of its events, nothing can be expected of a service.
    if events.is_empty() {
        return None;
    }
    let mut names: Vec<&str> = events.iter().map(|(_, name)| *name).collect();
    for name in permissions::actions(prefix) {
        names.push(name);
    }
    let similar = similar(pattern.name().as_str(), names.into_iter());
    let similar = similar.into_iter().map(|name| format!("{prefix}:{name}")).collect();
    Some(ActionWarningKind::UnknownAction { similar })
}

fn unknown_service(pattern: &ActionPattern, prefix: &str) -> ActionWarningKind {
    let name = pattern.name().as_str();
    let similar = similar(prefix, permissions::prefixes());
    let similar = similar.into_iter().map(|prefix| format!("{prefix}:{name}")).collect();
    ActionWarningKind::UnknownService { similar }
}

/// Returns a warning if a name belongs to no known event of any service.
fn unknown_name(pattern: &ActionPattern) -> Option<ActionWarningKind> {
    // The tables contain no dates of API versions, such as 20150331.
    if pattern.name().literal().is_none() && pattern.name().as_str().contains("20") {
        return None;
    }
    let names = of_services(|service| pattern.service().matches(service));
    let has_name = |name: &str| pattern.name().matches(name);
    let rows = &ActionTable::embedded().rows;
    let is_action =
        |row: &ActionRow| pattern.service().matches(&row.prefix) && has_name(&row.action);
    if names.iter().copied().any(has_name) || rows.iter().any(is_action) {
        return None;
    }
    let with_point = pattern.name().as_str().split_once('.');
    let with_colon = with_point.filter(|(service, _)| pattern.is_bare() && is_service(service));
    let with_colon = with_colon.map(|(service, name)| format!("{service}:{name}"));
    let similar = similar(pattern.name().as_str(), names.into_iter());
    let service = pattern.service().as_str();
    let similar = similar.into_iter().map(|name| format!("{service}:{name}"));
    Some(ActionWarningKind::UnknownAction {
        similar: with_colon.into_iter().chain(similar).collect(),
    })
}
