//! What NAME asks for.
//!
//! Input: the words of the command line. Output: a [`Question`]. Invariant: an unknown name is an error with the most similar
//! known ones; case never matters.

use super::catalog::{Catalog, Entry};
use crate::{
    cli::failure::Failure,
    filter::{
        action::{ActionFilter, ActionPattern, ActionWarningKind},
        glob::Glob,
    },
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
    /// What else the question may mean.
    pub(super) note: Option<String>,
}

/// Names that people have for services, or the AWS CLI, and that AWS uses nowhere in its APIs.
const NICKNAMES: [(&str, &str); 12] = [
    ("alb", "elbv2"),
    ("apigw", "apigateway"),
    ("asg", "autoscaling"),
    ("aurora", "rds"),
    ("cfn", "cloudformation"),
    ("cognito", "cognito-idp"),
    ("ddb", "dynamodb"),
    ("deploy", "codedeploy"),
    ("msk", "kafka"),
    ("nlb", "elbv2"),
    ("r53", "route53"),
    ("s3api", "s3"),
];

/// Interprets the words of a question.
pub(super) fn parse<'c>(catalog: &'c Catalog, words: &[String]) -> Result<Question<'c>, Failure> {
    let text = words.join(" ");
    // A command of the AWS CLI, `aws ec2 run-instances`.
    let text = text.trim().strip_prefix("aws ").unwrap_or(&text).trim();
    if text.is_empty() {
        return Ok(Question::Services);
    }
    if is_pattern(text) {
        return glob(catalog, text);
    }
    let (service, rest) = split(catalog, text);
    let service = NICKNAMES
        .iter()
        .find(|(nickname, _)| nickname.eq_ignore_ascii_case(&service))
        .map_or(service, |(_, service)| (*service).to_owned());
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
    if let Some(found) = find(catalog, &entries, operation, path)? {
        return Ok(Question::Operation(found));
    }
    if let Some(event) = records::event(&name, operation).filter(|_| path.is_empty()) {
        return Ok(Question::Event(event));
    }
    of_action(catalog, (&name, operation), path)?
        .ok_or_else(|| unknown_operation(catalog, &entries, &name, operation))
}

/// Returns whether a name is a pattern. The path of a field has signs of its own: `[]` for items, `*` for values.
fn is_pattern(text: &str) -> bool {
    let lower = text.to_ascii_lowercase().replace([' ', ':', '/'], ".");
    let side = SIDES.iter().flat_map(|(names, _)| *names);
    let path = side.filter_map(|name| lower.find(&format!(".{name}."))).min();
    text[..path.unwrap_or(text.len())].contains(['*', '?', '['])
}

/// Returns the calls that an IAM action of another name leads to, such as `s3.ListBuckets` for `s3:ListAllMyBuckets`; `None`
/// if the table of names has no such action.
fn of_action<'c>(
    catalog: &'c Catalog,
    (prefix, action): (&str, &str),
    path: &[String],
) -> Result<Option<Question<'c>>, Failure> {
    let Ok(pattern) = ActionPattern::parse(&format!("{prefix}:{action}")) else { return Ok(None) };
    let mut events: Vec<_> = pattern.added_events().iter().collect();
    events.sort_by_key(|(source, _)| source.as_str());
    let mut found: Vec<ServiceOperations<'c>> = Vec::new();
    for (source, names) in events {
        for entry in catalog.named(source) {
            let mut known = catalog.operations(entry)?;
            known.retain(|name| names.contains(&name.to_ascii_lowercase()));
            let id = entry.info().id.to_string();
            if !known.is_empty() && found.iter().all(|other| other.id != id) {
                found.push(ServiceOperations {
                    entry: Some(entry),
                    id,
                    names: known,
                    events: Vec::new(),
                });
            }
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    let calls: Vec<(Entry<'c>, &String)> = found
        .iter()
        .flat_map(|one| one.names.iter().filter_map(|name| Some((one.entry?, name))))
        .collect();
    // The call that an action is named after, as `Invoke` of `InvokeFunction`, is the main one.
    let is_main = |(_, name): &&(Entry<'_>, &String)| {
        action.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    let main = match calls.as_slice() {
        [only] => Some(only),
        _ => calls.iter().filter(is_main).max_by_key(|(_, name)| name.len()),
    };
    let Some((entry, main)) = main else { return Ok(Some(Question::Operations(found))) };
    let Some(mut question) = find(catalog, &[*entry], main, path)? else { return Ok(None) };
    let is_other = |(other, name): &&(Entry<'_>, &String)| {
        (&other.info().id, *name) != (&entry.info().id, *main)
    };
    let others = calls.iter().filter(is_other);
    let others: Vec<String> =
        others.map(|(other, name)| format!("{}.{name}", other.info().id)).collect();
    if !others.is_empty() {
        let others = others.join(", ");
        question.note = Some(format!("{prefix}:{action} also leads to {others}"));
    }
    Ok(Some(Question::Operation(question)))
}

/// Splits a name into the service and what follows: `iam.CreatePolicy.output`, `iam:CreatePolicy`, or two words. Names of
/// services may contain dots.
fn split(catalog: &Catalog, text: &str) -> (String, Vec<String>) {
    let text = text.replace(".amazonaws.com.cn", "").replace(".amazonaws.com", "");
    let parts = |text: &str| -> Vec<String> {
        text.split(['.', ' ', ':', '/'])
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    // Names with blanks, such as `CloudWatch Logs`.
    if text.contains(' ') && !catalog.named(&text).is_empty() {
        return (text, Vec::new());
    }
    if let Some((service, rest)) = text.split_once([':', ' ', '/']) {
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
    let others: Vec<String> =
        others.map(|(other, _)| format!("{}.{name}", other.info().id)).collect();
    let note = (!others.is_empty())
        .then(|| format!("services of the same eventSource also have {}", others.join(", ")));
    Ok(Some(OperationQuestion { entry, name, side, field, note }))
}

/// The names of the sides.
const SIDES: [(&[&str], Side); 2] = [
    (&["input", "request", "requestparameters"], Side::Input),
    (&["output", "response", "responseelements"], Side::Output),
];

fn parse_side(text: &str) -> Result<Side, Failure> {
    let name = text.to_ascii_lowercase();
    let known = SIDES.iter().find(|(names, _)| names.contains(&name.as_str()));
    known.map(|(_, side)| *side).ok_or_else(|| {
        Failure::action_required(format!("an operation has no side '{text}'"))
            .hint("ask for .input or .output, or leave it out to see both")
    })
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
    if names::without_date(operation).is_some() {
        retain_event_name(catalog, &mut found, operation)?;
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

/// Keeps the operations whose events have exactly this name, if there are any: dates tell services apart.
fn retain_event_name<'c>(
    catalog: &'c Catalog,
    found: &mut Vec<OperationQuestion<'c>>,
    event_name: &str,
) -> Result<(), Failure> {
    let mut kept = Vec::new();
    for question in found.iter() {
        let service = catalog.service(question.entry)?;
        let names =
            service.operation(&question.name).map(|one| names::event_names(&service.info, one));
        let is_same = |name: &String| name.eq_ignore_ascii_case(event_name);
        if names.is_some_and(|names| names.iter().any(is_same)) {
            kept.push(question.clone());
        }
    }
    if !kept.is_empty() {
        *found = kept;
    }
    Ok(())
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
    if name.is_empty() {
        return Failure::action_required("a name starts with a service, such as iam.CreatePolicy")
            .hint("'trailload schema' lists the services");
    }
    Failure::action_required(format!("there is no service '{name}'"))
        .hint(did_you_mean(&similar, "'trailload schema' lists the services"))
}

fn unknown_operation(
    catalog: &Catalog,
    entries: &[Entry<'_>],
    service: &str,
    operation: &str,
) -> Failure {
    let failure = Failure::action_required(format!("{service} has no operation '{operation}'"));
    // IAM actions often belong to another API: `cloudwatch:CreateServiceLevelObjective` to `application-signals`.
    let elsewhere = operations_of_all(catalog, operation);
    if !elsewhere.is_empty() {
        let elsewhere: Vec<&str> = elsewhere.iter().map(String::as_str).collect();
        return failure.hint(did_you_mean(&elsewhere, ""));
    }
    if let Some(reason) = never_logged(service, operation) {
        return failure.hint(reason);
    }
    let mut known: Vec<String> =
        records::events(service).map(|event| event.name.to_owned()).collect();
    for entry in entries {
        known.extend(catalog.operations(*entry).unwrap_or_default());
    }
    let similar = names::similar(operation, known.iter().map(String::as_str));
    let similar: Vec<String> = similar.iter().map(|name| format!("{service}.{name}")).collect();
    let similar: Vec<&str> = similar.iter().map(String::as_str).collect();
    let otherwise = format!("'trailload schema {service}' lists the operations");
    failure.hint(did_you_mean(&similar, &otherwise))
}

/// Services that are named in a hint.
const MOST_SERVICES: usize = 3;

/// Returns the operations and other events of this name in all services, for a hint.
fn operations_of_all(catalog: &Catalog, name: &str) -> Vec<String> {
    let services = catalog.entries().into_iter().filter_map(|entry| {
        let known = catalog.operations(entry).ok()?;
        Some(format!("{}.{}", entry.info().id, names::operation(&known, name)?))
    });
    let events = records::EVENTS.iter().filter(|event| event.name.eq_ignore_ascii_case(name));
    let events = events.map(|event| format!("{}.{}", event.source, event.name));
    services.chain(events).take(MOST_SERVICES).collect()
}

/// Returns why an IAM action has no call of its name, if it is an IAM action.
fn never_logged(prefix: &str, action: &str) -> Option<String> {
    let name = format!("{prefix}:{action}");
    let filter = ActionFilter::parse(std::slice::from_ref(&name)).ok()?;
    filter.warnings().into_iter().find_map(|warning| match warning.kind {
        ActionWarningKind::NeverLogged { reason } => {
            Some(format!("{name} is an IAM action that is never logged: {reason}"))
        }
        ActionWarningKind::NoApiCall => Some(format!(
            "{name} is an IAM action without a call of its own: it is checked within other calls, or belongs to a console"
        )),
        _ => None,
    })
}

/// Returns a hint with similar names, or another one if there are none.
pub(super) fn did_you_mean(similar: &[&str], otherwise: &str) -> String {
    match similar {
        [] => otherwise.to_owned(),
        similar => format!("did you mean {}?", similar.join(", ")),
    }
}
