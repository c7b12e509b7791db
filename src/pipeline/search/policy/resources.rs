//! The ARNs that an action was used on.
//!
//! Input: an action with the types of resources that it takes, and the event. Output: ARNs.
//! An ARN in the event that has the format of a type comes first. Without one, the format is filled with the request
//! parameters: `tableName` for `${TableName}`. What remains unknown is `*`, and marked.
//! Invariant: response elements are not used, because the next call creates another resource.
//! Not here: which parameter is the value of a variable (see `parameters`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    arn_template::{ArnTemplate, escape},
    parameters::{CallSite, MAX_VALUES, values_of},
    report::WildcardReason,
};
use crate::filter::action::{EventAction, ResourceType};

/// The resources of an action in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ActionResources {
    /// ARNs, or `*`.
    pub(super) arns: BTreeSet<String>,
    /// Those that allow more than was found, and why.
    pub(super) wildcards: Vec<(String, WildcardReason)>,
}

/// What is known about the resources of a type.
enum Found {
    /// Their ARNs.
    Arns(Vec<String>),
    /// A part of an ARN, such as the name of a stack without its id.
    Pattern(String),
    /// Nothing.
    Nothing,
}

/// Returns the resources of an action in an event.
pub(super) fn resources(action: &EventAction, event: &Value, site: &CallSite) -> ActionResources {
    let Some(permission) = &action.permission else { return of_unknown_action(event) };
    if permission.resources.is_empty() {
        return ActionResources::everything(WildcardReason::NoResources);
    }
    let arns = arns_of_event(event);
    let mut found = ActionResources::default();
    let mut patterns = Vec::new();
    let mut unknown = Vec::new();
    for kind in &permission.resources {
        match of_type(kind, action, event, site, &arns) {
            Found::Arns(arns) => {
                found.arns.extend(arns.into_iter().map(|arn| as_in_policies(arn, kind, action)));
            }
            Found::Pattern(pattern) => patterns.push((kind, pattern)),
            Found::Nothing => unknown.push(kind),
        }
    }
    let has_arns = !found.arns.is_empty();
    // Types that are optional are needed only if nothing else was found.
    patterns.retain(|(kind, _)| kind.is_required || !has_arns);
    let has_any = has_arns || !patterns.is_empty();
    let is_only = permission.resources.len() == 1;
    unknown.retain(|kind| kind.is_required || is_only);
    if !has_any && unknown.is_empty() {
        return ActionResources::everything(WildcardReason::UnknownResource);
    }
    let unknown = unknown.into_iter().map(|kind| fill_known(kind, event, site).0);
    for pattern in patterns.into_iter().map(|(_, pattern)| pattern).chain(unknown) {
        found.wildcards.push((pattern.clone(), WildcardReason::UnknownResource));
        found.arns.insert(pattern);
    }
    found
}

impl ActionResources {
    fn everything(reason: WildcardReason) -> Self {
        Self { arns: ["*".to_owned()].into(), wildcards: vec![("*".to_owned(), reason)] }
    }
}

/// Returns the resources that the event lists, for an action whose types of resources are not known.
fn of_unknown_action(event: &Value) -> ActionResources {
    let listed = listed_arns(event).map(escape).collect::<BTreeSet<_>>();
    if listed.is_empty() {
        return ActionResources::everything(WildcardReason::UnknownAction);
    }
    ActionResources { arns: listed, wildcards: Vec::new() }
}

/// Returns what is known about the resources of a type.
fn of_type(
    kind: &ResourceType,
    action: &EventAction,
    event: &Value,
    site: &CallSite,
    arns: &[&str],
) -> Found {
    if let Some(source) = copy_source(action, event) {
        let arn = format!("arn:{}:s3:::{}", site.partition, escape(source));
        return if kind.name == "object" { Found::Arns(vec![arn]) } else { Found::Nothing };
    }
    let template = ArnTemplate::new(kind.arn);
    let matching: Vec<String> =
        arns.iter().filter(|arn| template.matches(arn)).map(|arn| escape(arn)).collect();
    if !matching.is_empty() {
        return Found::Arns(matching);
    }
    let filled = filled(&template, kind, event, site);
    if !filled.is_empty() {
        return Found::Arns(filled);
    }
    match fill_known(kind, event, site) {
        (pattern, true) => Found::Pattern(pattern),
        (_, false) => Found::Nothing,
    }
}

/// Returns an ARN as policies have to write it: that of a log group ends with `:*`, except in actions on its tags
/// (Amazon CloudWatch Logs User Guide).
fn as_in_policies(arn: String, kind: &ResourceType, action: &EventAction) -> String {
    let is_log_group = kind.name == "log-group" && action.name.starts_with("logs:");
    if !is_log_group || action.name.contains("Tag") {
        return arn;
    }
    // Events may name the ARN with its end, which was escaped.
    arn.trim_end_matches(":${*}").to_owned() + ":*"
}

/// Returns the object that a copy reads; it is no parameter of its own.
fn copy_source<'a>(action: &EventAction, event: &'a Value) -> Option<&'a str> {
    let is_read = action.name.starts_with("s3:GetObject");
    let source = event.get("requestParameters")?.get("x-amz-copy-source")?.as_str()?;
    is_read.then(|| source.trim_start_matches('/').split('?').next().unwrap_or(source))
}

/// Fills a template with request parameters. The first variable that has several values leads to several ARNs. Returns
/// nothing if a variable is not known.
fn filled(
    template: &ArnTemplate<'_>,
    kind: &ResourceType,
    event: &Value,
    site: &CallSite,
) -> Vec<String> {
    let mut several: Option<(&str, Vec<String>)> = None;
    for name in template.variables() {
        let values = values_of(name, kind, event, site);
        if values.is_empty() {
            return Vec::new();
        }
        if values.len() > 1 && several.is_none() {
            several = Some((name, values));
        }
    }
    let first = |name: &str| values_of(name, kind, event, site).into_iter().next();
    let Some((several, values)) = several else { return vec![template.fill(first)] };
    let arn = |value: String| {
        template.fill(|name| if name == several { Some(value.clone()) } else { first(name) })
    };
    values.into_iter().take(MAX_VALUES).map(arn).collect()
}

/// Fills a template as far as its variables have one value. Returns whether one of them is the resource's own.
fn fill_known(kind: &ResourceType, event: &Value, site: &CallSite) -> (String, bool) {
    let template = ArnTemplate::new(kind.arn);
    let value = |name: &str| {
        let mut values = values_of(name, kind, event, site).into_iter();
        values.next().filter(|_| values.next().is_none())
    };
    let is_own = |name: &str| !matches!(name, "Partition" | "Region" | "Account" | "AccountId");
    let has_own = template.variables().any(|name| is_own(name) && value(name).is_some());
    (template.fill(value), has_own)
}

/// Returns the ARNs in `resources` and in the request parameters.
fn arns_of_event(event: &Value) -> Vec<&str> {
    let mut arns: Vec<&str> = listed_arns(event).collect();
    if let Some(parameters) = event.get("requestParameters") {
        add_arns(&mut arns, parameters);
    }
    arns.sort_unstable();
    arns.dedup();
    arns
}

fn listed_arns(event: &Value) -> impl Iterator<Item = &str> {
    let listed = event.get("resources").and_then(Value::as_array);
    listed
        .into_iter()
        .flatten()
        .filter_map(|resource| resource.get("ARN").or_else(|| resource.get("arn"))?.as_str())
        .filter(|arn| is_arn(arn))
}

/// Returns whether a text has the six parts of an ARN.
fn is_arn(text: &str) -> bool {
    text.starts_with("arn:") && text.split(':').nth(5).is_some_and(|resource| !resource.is_empty())
}

fn add_arns<'a>(arns: &mut Vec<&'a str>, value: &'a Value) {
    match value {
        Value::String(text) if is_arn(text) && arns.len() < MAX_VALUES => arns.push(text),
        Value::Array(elements) => elements.iter().for_each(|element| add_arns(arns, element)),
        Value::Object(members) => members.values().for_each(|value| add_arns(arns, value)),
        _ => {}
    }
}
