//! What NAME asks for.
//!
//! Input: the words of the command line. Output: a [`Question`]. Invariant: an unknown name is an error with the most similar
//! known ones; case never matters.

use super::catalog::{Catalog, Entry};
use crate::{
    cli::failure::Failure,
    filter::glob::Glob,
    schema::{
        model::Side,
        names,
        records::{self, EventFacts},
    },
};

/// What an answer is about.
#[derive(Clone, Debug)]
pub(super) enum Question<'c> {
    /// All services.
    Services,
    /// The operations of services.
    Operations(Vec<ServiceOperations<'c>>),
    /// One operation.
    Operation(OperationQuestion<'c>),
    /// An event that is not an API call.
    Event(&'static EventFacts),
}

/// A service and some of its operations and other events.
#[derive(Clone, Debug)]
pub(super) struct ServiceOperations<'c> {
    /// The service; `None` for a source that has no API.
    pub(super) entry: Option<Entry<'c>>,
    /// The id of the service, or the name of the source.
    pub(super) id: String,
    /// Names of operations.
    pub(super) names: Vec<String>,
    /// Events that are not API calls.
    pub(super) events: Vec<&'static EventFacts>,
}

/// A question about an operation.
#[derive(Clone, Debug)]
pub(super) struct OperationQuestion<'c> {
    pub(super) entry: Entry<'c>,
    pub(super) name: String,
    /// The side asked for; `None` for both.
    pub(super) side: Option<Side>,
    /// The names of a field, from the side down; empty for the whole side.
    pub(super) field: Vec<String>,
    /// Services of the same name that have such an operation too.
    pub(super) others: Vec<String>,
}

/// Interprets the words of a question.
pub(super) fn parse<'c>(catalog: &'c Catalog, words: &[String]) -> Result<Question<'c>, Failure> {
    let text = words.join(" ");
    let text = text.trim();
    if text.is_empty() {
        return Ok(Question::Services);
    }
    if text.contains(['*', '?', '[']) {
        return glob(catalog, text);
    }
    let (service, rest) = split(catalog, text);
    let entries = catalog.named(&service);
    let name = names::service_name(&service);
    let has_events = records::events(&name).next().is_some();
    if entries.is_empty() && !has_events {
        return operation_of_any_service(catalog, text)?
            .ok_or_else(|| unknown_service(catalog, &service));
    }
    let Some((operation, path)) = rest.split_first() else {
        return Ok(Question::Operations(operations(catalog, &entries, &name)?));
    };
    find(catalog, &entries, operation, path)?.map_or_else(
        || {
            let event = records::event(&name, operation).filter(|_| path.is_empty());
            let event = event.map(Question::Event);
            event.map_or_else(|| Err(unknown_operation(catalog, &entries, &name, operation)), Ok)
        },
        |found| Ok(Question::Operation(found)),
    )
}

/// Splits a name into the service and what follows: `iam.CreatePolicy.output`, `iam:CreatePolicy`, or two words. Names of
/// services may contain dots.
fn split(catalog: &Catalog, text: &str) -> (String, Vec<String>) {
    let text = text.replace(".amazonaws.com.cn", "").replace(".amazonaws.com", "");
    let parts = |text: &str| -> Vec<String> {
        text.split(['.', ' ', ':']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    if let Some((service, rest)) = text.split_once([':', ' ']) {
        return (service.to_owned(), parts(rest));
    }
    let all: Vec<&str> = text.split('.').collect();
    let is_service = |length: &usize| {
        let name = all[..*length].join(".");
        !catalog.named(&name).is_empty() || records::events(&name).next().is_some()
    };
    let length = (1..=all.len()).rev().find(is_service).unwrap_or(1);
    (all[..length].join("."), parts(&all[length..].join(".")))
}

/// Returns the operations of services that share a name, and the other events of their source.
fn operations<'c>(
    catalog: &'c Catalog,
    entries: &[Entry<'c>],
    name: &str,
) -> Result<Vec<ServiceOperations<'c>>, Failure> {
    // The id of a service names it alone; another name stands for all that share it.
    let exact = entries.iter().find(|entry| entry.info().id.eq_ignore_ascii_case(name));
    let entries = exact.map_or(entries, std::slice::from_ref);
    let mut found = Vec::new();
    for entry in entries {
        let (id, names) = (entry.info().id.to_string(), catalog.operations(*entry)?);
        found.push(ServiceOperations { entry: Some(*entry), id, names, events: Vec::new() });
    }
    let source = entries.first().map_or(name, |entry| entry.info().event_source.as_ref());
    let events: Vec<&EventFacts> = records::events(source).collect();
    match found.first_mut() {
        Some(first) => first.events = events,
        None => found.push(ServiceOperations {
            entry: None,
            id: name.to_owned(),
            names: Vec::new(),
            events,
        }),
    }
    Ok(found)
}

/// Finds an operation in services that share a name.
fn find<'c>(
    catalog: &'c Catalog,
    entries: &[Entry<'c>],
    operation: &str,
    path: &[String],
) -> Result<Option<OperationQuestion<'c>>, Failure> {
    let mut all = Vec::new();
    for entry in entries {
        all.push((*entry, catalog.operations(*entry)?));
    }
    let exact = all
        .iter()
        .find_map(|(entry, known)| Some((*entry, names::operation(known, operation)?.clone())));
    let s3 = || {
        let (entry, known) = all.iter().find(|(entry, _)| entry.info().id == "s3")?;
        Some((*entry, names::s3_operation(known, operation)?.clone()))
    };
    let Some((entry, name)) = exact.or_else(s3) else { return Ok(None) };
    let (side, field) = match path.split_first() {
        None => (None, Vec::new()),
        Some((side, field)) => (Some(parse_side(side)?), field.to_vec()),
    };
    let chosen = entry.info();
    let others = all.iter().filter(|(other, known)| {
        // The id of a service names it alone.
        other.info().id != chosen.id
            && other.info().event_source == chosen.event_source
            && names::operation(known, operation).is_some()
    });
    let others = others.map(|(other, _)| format!("{}.{name}", other.info().id)).collect();
    Ok(Some(OperationQuestion { entry, name, side, field, others }))
}

fn parse_side(text: &str) -> Result<Side, Failure> {
    match text.to_ascii_lowercase().as_str() {
        "input" | "request" | "requestparameters" => Ok(Side::Input),
        "output" | "response" | "responseelements" => Ok(Side::Output),
        _ => Err(Failure::action_required(format!("an operation has no side '{text}'"))
            .hint("ask for .input or .output, or leave it out to see both")),
    }
}

/// Finds an operation that was named without a service; `None` if no service has it.
fn operation_of_any_service<'c>(
    catalog: &'c Catalog,
    text: &str,
) -> Result<Option<Question<'c>>, Failure> {
    let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    let Some((operation, path)) = parts.split_first() else { return Ok(None) };
    let mut found = Vec::new();
    for entry in catalog.entries() {
        let known = catalog.operations(entry)?;
        if names::operation(&known, operation).is_some()
            && let Some(question) = find(catalog, &[entry], operation, path)?
        {
            found.push(question);
        }
    }
    if let Some(event) = records::EVENTS.iter().find(|event| event.name.eq_ignore_ascii_case(text))
    {
        return Ok(Some(Question::Event(event)));
    }
    let names: Vec<String> =
        found.iter().map(|one| format!("{}.{}", one.entry.info().id, one.name)).collect();
    match <[OperationQuestion<'c>; 1]>::try_from(found) {
        Ok([only]) => Ok(Some(Question::Operation(only))),
        Err(_) if names.is_empty() => Ok(None),
        Err(_) => {
            let problem = format!("{} services have an operation '{operation}'", names.len());
            Err(Failure::action_required(problem).hint(format!("name one: {}", names.join(", "))))
        }
    }
}

/// Finds the operations that match a pattern such as `iam.*Policy*`; without a dot it is a pattern for services.
fn glob<'c>(catalog: &'c Catalog, text: &str) -> Result<Question<'c>, Failure> {
    let text = text.replace(".amazonaws.com", "").replace([':', ' '], ".");
    let mut found = Vec::new();
    let (services, operations) = match text.rsplit_once('.') {
        Some((services, operations)) => (services, Glob::new(operations)),
        None => (text.as_str(), Glob::new("*")),
    };
    // A name without wildcards means what it means alone.
    let named = catalog.named(services);
    let exact = named.iter().find(|entry| entry.info().id.eq_ignore_ascii_case(services)).copied();
    let services = Glob::new(services);
    let is_wanted = |entry: &Entry<'_>| {
        let info = entry.info();
        let names = [&info.id, &info.event_source, &info.endpoint_prefix, &info.signing_name];
        exact.map_or_else(
            || names.iter().any(|name| services.matches(name)),
            |exact| exact.info().id == info.id,
        )
    };
    for entry in catalog.entries().into_iter().filter(is_wanted) {
        let info = entry.info();
        let mut names = catalog.operations(entry)?;
        names.retain(|name| operations.matches(name));
        let id = info.id.to_string();
        let mut events: Vec<&EventFacts> = Vec::new();
        // Services share sources: their events are listed once.
        if info.id == info.event_source {
            events.extend(records::events(&id).filter(|event| operations.matches(event.name)));
        }
        if !names.is_empty() || !events.is_empty() {
            found.push(ServiceOperations { entry: Some(entry), id, names, events });
        }
    }
    for source in catalog.sources_without_api() {
        let events = records::events(source).filter(|event| operations.matches(event.name));
        let events: Vec<&EventFacts> = events.collect();
        if services.matches(source) && !events.is_empty() {
            let (id, names) = (source.to_owned(), Vec::new());
            found.push(ServiceOperations { entry: None, id, names, events });
        }
    }
    if found.is_empty() {
        return Err(Failure::action_required(format!("no operation matches '{text}'"))
            .hint("patterns are for SERVICE.OPERATION, such as 'iam.*Policy*' or '*.Delete*'"));
    }
    Ok(Question::Operations(found))
}

fn unknown_service(catalog: &Catalog, name: &str) -> Failure {
    let entries = catalog.entries();
    let ids = entries.iter().map(|entry| entry.info().id.as_ref());
    let sources = records::EVENTS.iter().map(|event| event.source);
    let similar = names::similar(name, ids.chain(sources));
    Failure::action_required(format!("there is no service '{name}'"))
        .hint(did_you_mean(&similar, "'trailload schema' lists the services"))
}

fn unknown_operation(
    catalog: &Catalog,
    entries: &[Entry<'_>],
    service: &str,
    operation: &str,
) -> Failure {
    let mut known: Vec<String> =
        records::events(service).map(|event| event.name.to_owned()).collect();
    for entry in entries {
        known.extend(catalog.operations(*entry).unwrap_or_default());
    }
    let similar = names::similar(operation, known.iter().map(String::as_str));
    let similar: Vec<String> = similar.iter().map(|name| format!("{service}.{name}")).collect();
    let similar: Vec<&str> = similar.iter().map(String::as_str).collect();
    Failure::action_required(format!("{service} has no operation '{operation}'"))
        .hint(did_you_mean(&similar, &format!("'trailload schema {service}' lists the operations")))
}

/// Returns a hint with similar names, or another one if there are none.
pub(super) fn did_you_mean(similar: &[&str], otherwise: &str) -> String {
    match similar {
        [] => otherwise.to_owned(),
        similar => format!("did you mean {}?", similar.join(", ")),
    }
}
