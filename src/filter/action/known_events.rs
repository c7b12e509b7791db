//! Which events there are: what an action pattern can find, as far as tables can tell.
//!
//! Input: the table of API operations, the table of names and the list of data events. Output: the known events of a
//! service.
//! Invariant: the tables are never complete, so they lead to warnings, and decide nothing about an event.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::Deserialize;

use super::table::{ActionTable, service_of_source};
use crate::schema;

/// Services whose event names carry the date of the version of their API, so that an event has several names.
const DATED_SERVICES: [&str; 2] = ["cloudfront", "lambda"];

/// The embedded list of data events: service to event names.
static DATA_EVENTS: LazyLock<BTreeMap<String, BTreeSet<String>>> = LazyLock::new(|| {
    let file = include_str!("../../../mappings/data-events.json");
    let file: DataEventsFile = serde_json::from_str(file).expect("the embedded list is valid JSON");
    file.events
});

#[derive(Debug, Deserialize)]
struct DataEventsFile {
    events: BTreeMap<String, BTreeSet<String>>,
}

/// Returns the names of the known events of a service.
pub(super) fn of_service(service: &str) -> BTreeSet<&str> {
    let table = ActionTable::embedded();
    let rows =
        table.rows.iter().filter(|row| table.services(&row.prefix).any(|own| own == service));
    let data_events = DATA_EVENTS.get(service).into_iter().flatten();
    schema::operations(service)
        .chain(rows.map(|row| row.event.as_str()))
        .chain(data_events.map(String::as_str))
        .chain(table.other_events(service).iter().map(String::as_str))
        .collect()
}

/// Returns the names of the known events of all services that a predicate accepts.
pub(super) fn of_services(accepts: impl Fn(&str) -> bool) -> BTreeSet<&'static str> {
    let table = schema::Table::embedded();
    let services = table.map(|table| table.services.as_slice()).unwrap_or_default();
    let operations = services
        .iter()
        .filter(|entry| {
            accepts(service_of_source(&entry.info.event_source))
                || accepts(&entry.info.signing_name)
        })
        .flat_map(|entry| entry.operations.iter().copied());
    let data_events = DATA_EVENTS.iter().map(|(service, names)| (service.as_str(), names.iter()));
    let others = ActionTable::embedded().all_other_events();
    operations
        .chain(
            data_events
                .filter(|(service, _)| accepts(service))
                .flat_map(|(_, names)| names)
                .map(String::as_str),
        )
        .chain(
            others
                .filter(|(service, _)| accepts(service))
                .flat_map(|(_, names)| names)
                .map(String::as_str),
        )
        .collect()
}

/// Returns whether an event is a data event, which `LookupEvents` never returns.
pub fn is_data_event(service: &str, name: &str) -> bool {
    DATA_EVENTS.get(service).is_some_and(|events| events.contains(name))
}

/// Returns whether the events of a service can have a date at the end of their names.
pub(super) fn has_dates(service: &str) -> bool {
    DATED_SERVICES.contains(&service)
}
