//! The values of the variables in ARN formats, as far as an event contains them.
//!
//! Input: the name of a variable, the type of resource it belongs to, and the event. Output: values, escaped.
//! A variable is the request parameter of the same name, or one of a list of other names. `Id`, `Name` and the like are
//! the parameter that begins with the type: `hostedZoneId` for `${Id}` of a hosted zone.
//! Invariant: no value is a pattern, but for the random end of a secret's ARN.

use std::collections::BTreeSet;

use serde_json::Value;

use super::arn_template::escape;
use crate::{
    aws::partition::AwsPartition,
    filter::action::{EventAction, ResourceType},
};

/// Values of a variable in one event at most; further ones are left to the widening of resources.
pub(super) const MAX_VALUES: usize = 1_000;

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

/// Variables whose names in request parameters differ.
const OTHER_NAMES: [(&str, &[&str]); 39] = [
    ("ActivityName", &["name"]),
    ("AlarmName", &["alarmNames"]),
    ("Alias", &["aliasName"]),
    ("BlueGreenDeploymentIdentifier", &["blueGreenDeploymentIdentifier"]),
    ("ClusterName", &["clusterIdentifier", "cluster", "name"]),
    ("ClusterParameterGroupName", &["dBClusterParameterGroupName"]),
    ("ClusterSnapshotName", &["dBClusterSnapshotIdentifier"]),
    ("ConnectionName", &["name"]),
    ("CrawlerName", &["name"]),
    ("DashboardName", &["dashboardNames"]),
    ("DatabaseName", &["name"]),
    ("DbClusterInstanceName", &["dBClusterIdentifier"]),
    ("DbInstanceName", &["dBInstanceIdentifier"]),
    ("DedicatedHostId", &["hostId", "hostIds"]),
    ("DistributionId", &["id"]),
    ("DocumentName", &["name"]),
    ("EventBusName", &["eventBusName"]),
    ("FunctionName", &["functionName"]),
    ("GroupFriendlyName", &["autoScalingGroupName", "autoScalingGroupNames"]),
    ("JobName", &["name"]),
    ("KeyPairName", &["keyName"]),
    ("MfaTokenIdWithPath", &["virtualMFADeviceName"]),
    ("NaclId", &["networkAclId"]),
    ("ObjectName", &["key"]),
    ("ParameterGroupName", &["dBParameterGroupName"]),
    ("ParameterNameWithoutLeadingSlash", &["name", "names"]),
    ("ProjectName", &["name"]),
    ("QueueName", &["queueUrl"]),
    ("RuleName", &["name", "rule"]),
    ("SecretId", &["name"]),
    ("SecurityGroupId", &["groupId"]),
    ("ServiceName", &["service"]),
    ("SnapshotName", &["dBSnapshotIdentifier", "snapshotIdentifier"]),
    ("StateMachineName", &["name"]),
    ("SubnetGroupName", &["dBSubnetGroupName"]),
    ("TaskId", &["task", "tasks"]),
    ("TopicName", &["name"]),
    ("TrailName", &["name"]),
    ("WorkGroupName", &["workGroup", "name"]),
];

/// Names that many things have; they count only at the top of the request.
const COMMON_NAMES: [&str; 4] = ["id", "name", "names", "key"];

/// Variables that are named after the type of resource in requests.
const COMMON_VARIABLES: [&str; 4] = ["Id", "Identifier", "Name", "ResourceId"];

/// Where a call was made.
#[derive(Clone, Debug)]
pub(super) struct CallSite {
    pub(super) partition: String,
    region: String,
    account: String,
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
    pub(super) fn region_condition(&self, action: &EventAction) -> Option<&str> {
        let prefix = action.name.split(':').next().unwrap_or_default();
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_region = !self.region.is_empty() && self.region.bytes().all(is_name);
        (is_region && !GLOBAL_SERVICES.contains(&prefix)).then_some(self.region.as_str())
    }
}

/// Returns the values of a variable in the ARN format of a type of resource.
pub(super) fn values_of(
    variable: &str,
    kind: &ResourceType,
    event: &Value,
    site: &CallSite,
) -> Vec<String> {
    let known = match variable {
        "Partition" => &site.partition,
        "Region" => &site.region,
        "Account" | "AccountId" => &site.account,
        _ => return of_request(variable, kind, event),
    };
    if known.is_empty() { Vec::new() } else { vec![escape(known)] }
}

fn of_request(variable: &str, kind: &ResourceType, event: &Value) -> Vec<String> {
    let Some(parameters) = event.get("requestParameters") else { return Vec::new() };
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == variable);
    let mut names = vec![variable.trim_end_matches("WithPath").to_owned()];
    names.extend(other.iter().flat_map(|(_, names)| *names).map(|name| (*name).to_owned()));
    if COMMON_VARIABLES.contains(&variable) {
        let kind = kind.name.replace('-', "");
        let ends: &[&str] = if variable == "Name" { &["Name"] } else { &["Id", "Identifier"] };
        names.extend(ends.iter().map(|end| format!("{kind}{end}")));
    }
    let mut texts = BTreeSet::new();
    for name in &names {
        add_values(&mut texts, parameters, name);
    }
    if variable == "TableName"
        && let Some(items) = parameters.get("requestItems").and_then(Value::as_object)
    {
        texts.extend(items.keys().map(String::as_str).take(MAX_VALUES));
    }
    let values = texts.into_iter().filter_map(|text| value_of(variable, text, parameters));
    values.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Adds the texts below a value that have this name; lists of texts have it too.
fn add_values<'a>(texts: &mut BTreeSet<&'a str>, value: &'a Value, name: &str) {
    match value {
        Value::Object(members) => {
            let is_common = COMMON_NAMES.iter().any(|common| name.eq_ignore_ascii_case(common));
            for (key, value) in members {
                if key.eq_ignore_ascii_case(name) {
                    add_texts(texts, value);
                } else if !is_common {
                    add_values(texts, value, name);
                }
            }
        }
        Value::Array(elements) => {
            for element in elements {
                add_values(texts, element, name);
            }
        }
        _ => {}
    }
}

fn add_texts<'a>(texts: &mut BTreeSet<&'a str>, value: &'a Value) {
    match value {
        Value::String(text) if !text.is_empty() && texts.len() < MAX_VALUES => {
            texts.insert(text);
        }
        Value::Array(elements) => elements.iter().for_each(|element| add_texts(texts, element)),
        _ => {}
    }
}

/// Returns a text of the request as an ARN contains it, or `None` if it is the name of something else.
fn value_of(variable: &str, text: &str, parameters: &Value) -> Option<String> {
    let name = escape(name_of(variable, text));
    match variable {
        // The alias of a key is a resource of its own.
        "KeyId" if text.starts_with("alias/") => None,
        "Alias" => Some(name.trim_start_matches("alias/").to_owned()),
        // The ARN of a secret ends with six random characters (AWS Secrets Manager User Guide).
        "SecretId" if !text.starts_with("arn:") => Some(format!("{name}-??????")),
        _ if variable.ends_with("NameWithPath") => {
            let path = parameters.get("path").and_then(Value::as_str).unwrap_or_default();
            let path = path.trim_matches('/');
            Some(if path.is_empty() { name } else { format!("{}/{name}", escape(path)) })
        }
        _ => Some(name),
    }
    .filter(|name| !name.is_empty())
}

/// Returns the name of a resource that is given by its ARN, by a part of it, or by the URL of a queue.
fn name_of<'a>(variable: &str, text: &'a str) -> &'a str {
    let last = |separators: &[char]| text.rsplit(separators).next().unwrap_or(text);
    if variable == "ParameterNameWithoutLeadingSlash" {
        text.strip_prefix('/').unwrap_or(text)
    } else if text.starts_with("https://") || variable.ends_with("Id") && text.starts_with('/') {
        last(&['/'])
    } else if text.starts_with("arn:") {
        last(&['/', ':'])
    } else if let Some((_, name)) = text.rsplit_once("function:") {
        name
    } else {
        text
    }
}
