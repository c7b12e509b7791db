//! The table of names that differ between IAM and CloudTrail: `mappings/actions.json`.
//!
//! Input: the embedded file. Output: the event sources of an IAM prefix, the events of an IAM action, and the reverse.
//! Invariant: a prefix or an action that the table does not contain maps to itself. Names are compared in lower case.
//! Not here: patterns (see `pattern`).

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use serde::Deserialize;

/// End of the event sources of AWS services.
const SOURCE_SUFFIXES: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];

/// The embedded table.
static TABLE: LazyLock<ActionTable> = LazyLock::new(|| {
    let file = include_str!("../../../mappings/actions.json");
    ActionTable::new(serde_json::from_str(file).expect("the embedded table is valid JSON"))
});

/// The file, as far as it is used. The innermost texts are where a row comes from, which is ignored here.
#[derive(Debug, Deserialize)]
struct TableFile {
    prefixes: BTreeMap<String, BTreeMap<String, String>>,
    actions: BTreeMap<String, BTreeMap<String, String>>,
    no_event: BTreeMap<String, String>,
    not_an_action: BTreeMap<String, Vec<String>>,
}

/// Names that differ between IAM and CloudTrail.
#[derive(Debug)]
pub(super) struct ActionTable {
    /// IAM prefix to service names.
    services: BTreeMap<String, Vec<String>>,
    /// Service name to IAM prefixes.
    prefixes: HashMap<String, Vec<String>>,
    /// One row for every action and event.
    pub(super) rows: Vec<ActionRow>,
    /// Service name and event name in lower case to the numbers of rows.
    by_event: HashMap<String, HashMap<String, Vec<usize>>>,
    /// IAM actions in lower case that no event has the name of, and why.
    no_event: BTreeMap<String, String>,
    /// Service name to events that belong to no IAM action.
    other_events: BTreeMap<String, Vec<String>>,
}

/// An IAM action, and an event that it leads to although the names differ.
#[derive(Debug)]
pub(super) struct ActionRow {
    /// Service part of the action: `s3`.
    pub(super) prefix: String,
    /// Name of the action: `ListAllMyBuckets`.
    pub(super) action: String,
    /// Name of the event: `ListBuckets`.
    pub(super) event: String,
}

impl ActionTable {
    /// Returns the embedded table.
    pub(super) fn embedded() -> &'static Self {
        &TABLE
    }

    fn new(file: TableFile) -> Self {
        let services: BTreeMap<String, Vec<String>> = file
            .prefixes
            .into_iter()
            .map(|(prefix, sources)| {
                (
                    prefix,
                    sources.keys().map(|source| service_of_source(source).to_owned()).collect(),
                )
            })
            .collect();
        let mut prefixes: HashMap<String, Vec<String>> = HashMap::new();
        for (prefix, names) in &services {
            for name in names {
                prefixes.entry(name.clone()).or_default().push(prefix.clone());
            }
        }
        let rows: Vec<ActionRow> = file.actions.into_iter().flat_map(rows).collect();
        let no_event =
            file.no_event.into_iter().map(|(action, why)| (action.to_lowercase(), why)).collect();
        let other_events = file.not_an_action.into_iter();
        let other_events = other_events
            .map(|(source, names)| (service_of_source(&source).to_owned(), names))
            .collect();
        let by_event = HashMap::new();
        let mut table = Self { services, prefixes, rows, by_event, no_event, other_events };
        for (number, row) in table.rows.iter().enumerate() {
            for service in services_of(&table.services, &row.prefix) {
                let events = table.by_event.entry(service.to_owned()).or_default();
                events.entry(row.event.to_lowercase()).or_default().push(number);
            }
        }
        table
    }

    /// Returns the names of the services that an IAM prefix in lower case leads to: `monitoring` for `cloudwatch`.
    pub(super) fn services<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        services_of(&self.services, prefix)
    }

    /// Returns the IAM prefixes that differ from the name of a service.
    pub(super) fn prefixes(&self, service: &str) -> &[String] {
        self.prefixes.get(service).map_or(&[], Vec::as_slice)
    }

    /// Returns every IAM prefix that differs from a service that it leads to, with these services.
    pub(super) fn all_prefixes(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.services.iter().map(|(prefix, services)| (prefix.as_str(), services.as_slice()))
    }

    /// Returns the rows of an event, whose names are in lower case.
    pub(super) fn rows_of_event(
        &self,
        service: &str,
        event: &str,
    ) -> impl Iterator<Item = &ActionRow> {
        let numbers = self.by_event.get(service).and_then(|events| events.get(event));
        numbers.into_iter().flatten().map(|number| &self.rows[*number])
    }

    /// Returns why an action in lower case never appears as an event.
    pub(super) fn no_event(&self, action: &str) -> Option<&str> {
        self.no_event.get(action).map(String::as_str)
    }

    /// Returns the events of a service that belong to no IAM action, such as `ConsoleLogin`.
    pub(super) fn other_events(&self, service: &str) -> &[String] {
        self.other_events.get(service).map_or(&[], Vec::as_slice)
    }

    /// Returns all events that belong to no IAM action, with their services.
    pub(super) fn all_other_events(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.other_events.iter().map(|(service, names)| (service.as_str(), names.as_slice()))
    }
}

fn services_of<'a>(
    services: &'a BTreeMap<String, Vec<String>>,
    prefix: &'a str,
) -> impl Iterator<Item = &'a str> {
    let listed = services.get(prefix);
    let itself = listed.is_none().then_some(prefix);
    listed.into_iter().flatten().map(String::as_str).chain(itself)
}

fn rows((action, events): (String, BTreeMap<String, String>)) -> Vec<ActionRow> {
    let (prefix, name) = action.split_once(':').unwrap_or(("", &action));
    events
        .into_keys()
        .map(|event| ActionRow { prefix: prefix.to_owned(), action: name.to_owned(), event })
        .collect()
}

/// Returns an event source without `.amazonaws.com`.
pub(crate) fn service_of_source(source: &str) -> &str {
    let is_suffix = |suffix: &&str| {
        let start = source.len().wrapping_sub(suffix.len());
        source.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    let suffix = SOURCE_SUFFIXES.iter().find(|suffix| is_suffix(suffix));
    suffix.map_or(source, |suffix| &source[..source.len() - suffix.len()])
}
