//! The ARNs that an action was used on.
//!
//! Input: an action with the types of resources that it takes, and the event. Output: ARNs.
//! An ARN in the event that has the format of a type comes first. Without one, the format is filled with the request
//! parameters: `tableName` for `${TableName}`. What remains unknown is `*`, and marked.
//! Invariant: response elements are not used, because the next call creates another resource.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    arn_template::{ArnTemplate, escape},
    report::WildcardReason,
};
use crate::{
    aws::partition::AwsPartition,
    filter::action::{EventAction, ResourceType},
};

/// Resources of one event at most; further ones are left to the widening of resources.
const MAX_VALUES: usize = 1_000;

/// Services whose calls have no Region, although their events name one.
const GLOBAL_SERVICES: [&str; 26] = [
    "account",
    "artifact",
    "aws-portal",
    "billing",
    "budgets",
    "ce",
    "cloudfront",
    "consolidatedbilling",
    "cur",
    "freetier",
    "globalaccelerator",
    "health",
    "iam",
    "importexport",
    "invoicing",
    "networkmanager",
    "organizations",
    "payments",
    "route53",
    "route53domains",
    "savingsplans",
    "shield",
    "support",
    "tax",
    "trustedadvisor",
    "waf",
];

/// Variables whose name in request parameters differs.
const OTHER_NAMES: [(&str, &[&str]); 18] = [
    ("ObjectName", &["key"]),
    ("QueueName", &["queueName", "queueUrl"]),
    ("TopicName", &["name", "topicArn"]),
    ("RoleNameWithPath", &["roleName"]),
    ("UserNameWithPath", &["userName"]),
    ("GroupNameWithPath", &["groupName"]),
    ("PolicyNameWithPath", &["policyName"]),
    ("InstanceProfileNameWithPath", &["instanceProfileName"]),
    ("ServerCertificateNameWithPath", &["serverCertificateName"]),
    ("MfaTokenIdWithPath", &["virtualMFADeviceName"]),
    ("SecretId", &["secretId", "name"]),
    ("ParameterNameWithoutLeadingSlash", &["name", "names"]),
    ("TrailName", &["name", "trailName"]),
    ("DbInstanceName", &["dBInstanceIdentifier"]),
    ("DbClusterInstanceName", &["dBClusterIdentifier"]),
    ("LoadBalancerName", &["loadBalancerName"]),
    ("StackName", &["stackName"]),
    ("AliasName", &["aliasName"]),
];

/// Where a call was made.
#[derive(Clone, Debug)]
pub(super) struct CallSite {
    partition: String,
    region: String,
    account: String,
}

/// The resources of an action in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ActionResources {
    /// ARNs, or `*`.
    pub(super) arns: BTreeSet<String>,
    /// Those that allow more than was found, and why.
    pub(super) wildcards: Vec<(String, WildcardReason)>,
}

impl CallSite {
    pub(super) fn of_event(event: &Value) -> Self {
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let identity = event.get("userIdentity");
        let of_identity = |key| identity.and_then(|identity| identity.get(key));
        let region = text(event.get("awsRegion"));
        let account = text(event.get("recipientAccountId").or_else(|| of_identity("accountId")));
        let arn = text(of_identity("arn"));
        let partition = arn.split(':').nth(1).filter(|name| name.starts_with("aws"));
        let partition = partition.map_or_else(
            || AwsPartition::from_region(&region).unwrap_or(AwsPartition::Aws).name().to_owned(),
            str::to_owned,
        );
        Self { partition, region, account }
    }

    /// Returns the Region that a policy has to allow, unless the service has none.
    pub(super) fn region_condition(&self, action: &EventAction) -> Option<String> {
        let prefix = action.name.split(':').next().unwrap_or_default();
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_region = !self.region.is_empty() && self.region.bytes().all(is_name);
        (is_region && !GLOBAL_SERVICES.contains(&prefix)).then(|| self.region.clone())
    }
}

/// Returns the resources of an action in an event.
pub(super) fn resources(action: &EventAction, event: &Value, site: &CallSite) -> ActionResources {
    let Some(permission) = &action.permission else { return of_unknown_action(event) };
    if permission.resources.is_empty() {
        return ActionResources::everything(WildcardReason::NoResources);
    }
    let arns = arns_of_event(event);
    let mut found = ActionResources::default();
    let mut missing = Vec::new();
    for kind in &permission.resources {
        let resources = of_type(kind, action, event, site, &arns);
        if resources.is_empty() {
            missing.push(kind);
        }
        found.arns.extend(resources);
    }
    let has_none = found.arns.is_empty();
    let required: Vec<_> = missing.iter().filter(|kind| kind.is_required).collect();
    // Of types that are all optional, the call may have used any.
    if has_none && required.is_empty() && permission.resources.len() > 1 {
        return ActionResources::everything(WildcardReason::UnknownResource);
    }
    let only = missing.iter().filter(|kind| kind.is_required || has_none);
    for kind in only {
        let arn = partly_known(kind, event, site);
        found.wildcards.push((arn.clone(), WildcardReason::UnknownResource));
        found.arns.insert(arn);
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

/// Returns the ARNs of a type of resource.
fn of_type(
    kind: &ResourceType,
    action: &EventAction,
    event: &Value,
    site: &CallSite,
    arns: &[&str],
) -> Vec<String> {
    let template = ArnTemplate::new(kind.arn);
    if let Some(source) = copy_source(action, event) {
        let arn = format!("arn:{}:s3:::{}", site.partition, escape(source));
        return if kind.name == "object" { vec![arn] } else { Vec::new() };
    }
    let matching: Vec<String> =
        arns.iter().filter(|arn| template.matches(arn)).map(|arn| escape(arn)).collect();
    if !matching.is_empty() {
        return matching;
    }
    filled(&template, event, site)
}

/// Returns the object that a copy reads; it is no parameter of its own.
fn copy_source<'a>(action: &EventAction, event: &'a Value) -> Option<&'a str> {
    let is_read = action.name.starts_with("s3:GetObject");
    let source = event.get("requestParameters")?.get("x-amz-copy-source")?.as_str()?;
    is_read.then(|| source.trim_start_matches('/').split('?').next().unwrap_or(source))
}

/// Fills a template with request parameters. The first variable that has several values leads to several ARNs.
fn filled(template: &ArnTemplate<'_>, event: &Value, site: &CallSite) -> Vec<String> {
    let mut several: Option<(&str, Vec<String>)> = None;
    for name in template.variables() {
        let values = values_of(name, event, site);
        if values.is_empty() {
            return Vec::new();
        }
        if values.len() > 1 && several.is_none() {
            several = Some((name, values));
        }
    }
    let first = |name: &str| values_of(name, event, site).into_iter().next();
    let Some((several, values)) = several else { return vec![template.fill(first)] };
    let arn = |value: String| {
        template.fill(|name| if name == several { Some(value.clone()) } else { first(name) })
    };
    values.into_iter().take(MAX_VALUES).map(arn).collect()
}

/// Fills a template as far as its variables are known.
fn partly_known(kind: &ResourceType, event: &Value, site: &CallSite) -> String {
    let value = |name: &str| match name {
        "Partition" | "Region" | "Account" => values_of(name, event, site).into_iter().next(),
        _ => None,
    };
    ArnTemplate::new(kind.arn).fill(value)
}

/// Returns the values of a variable.
fn values_of(variable: &str, event: &Value, site: &CallSite) -> Vec<String> {
    let known = match variable {
        "Partition" => &site.partition,
        "Region" => &site.region,
        "Account" | "AccountId" => &site.account,
        _ => {
            let Some(parameters) = event.get("requestParameters") else { return Vec::new() };
            let other = OTHER_NAMES.iter().find(|(name, _)| *name == variable);
            let names = other.map_or(&[][..], |(_, names)| names);
            let mut values = BTreeSet::new();
            for name in names.iter().copied().chain([variable]) {
                add_values(&mut values, parameters, name);
            }
            return values.into_iter().collect();
        }
    };
    if known.is_empty() { Vec::new() } else { vec![escape(known)] }
}

/// Adds the texts below a value that have this name; lists of texts have it too.
fn add_values(values: &mut BTreeSet<String>, value: &Value, name: &str) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                if key.eq_ignore_ascii_case(name) {
                    add_texts(values, value);
                } else {
                    add_values(values, value, name);
                }
            }
        }
        Value::Array(elements) => {
            elements.iter().for_each(|element| add_values(values, element, name));
        }
        _ => {}
    }
}

fn add_texts(values: &mut BTreeSet<String>, value: &Value) {
    match value {
        Value::String(text) if !text.is_empty() && values.len() < MAX_VALUES => {
            values.insert(escape(name_of(text)));
        }
        Value::Array(elements) => elements.iter().for_each(|element| add_texts(values, element)),
        _ => {}
    }
}

/// Returns the name of a resource that is given by its ARN, by a part of it, or by the URL of a queue.
fn name_of(text: &str) -> &str {
    let last = |separators: &[char]| text.rsplit(separators).next().unwrap_or(text);
    if text.starts_with("https://") {
        last(&['/'])
    } else if text.starts_with("arn:") {
        last(&['/', ':'])
    } else {
        text.strip_prefix('/').unwrap_or(text)
    }
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
