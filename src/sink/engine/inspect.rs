//! Inspects an engine before a load without changing it: templates, disks, privileges and issues.
//!
//! Input: a connected engine. Output: an [`Inspection`].
//! Invariant: only GET requests are sent. What the engine does not return, or not to this user, is reported as unknown: a
//! load requires no privilege to read disk statistics or privileges.
//! Deliberately absent: how severe a finding is (see `cli::doctor`).

use bytes::Bytes;
use serde_json::{Value, json};

use super::client::{Client, Method};
use super::disk::{self, Disk};
use super::identify::{Distribution, EngineInfo};
use super::issues::{self, EngineIssue};
use super::paths;
use super::templates::PendingTemplates;

/// The role that a load requires in Elasticsearch.
const ROLE: &str = include_str!("../../../policy/elasticsearch.json");

/// The prefix in that role.
const ROLE_PREFIX: &str = "cloudtrail";

/// Privileges of the role that a load can do without: they only serve to read the version and to find deleted documents.
const OPTIONAL_PRIVILEGES: [&str; 3] =
    ["cluster:monitor/main", "indices:admin/refresh", "indices:monitor/stats"];

/// The state of an engine before a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The state of the templates.
    pub templates: TemplateState,
    /// The fullest disk, if known.
    pub disk: Option<Disk>,
    /// The privileges of the user.
    pub privileges: Privileges,
    /// What rejects or changes documents.
    pub issues: Vec<EngineIssue>,
}

/// The state of the templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateState {
    /// All are current.
    Current,
    /// A load installs those that are missing or older.
    NeedsInstall,
    /// The endpoint does not support templates.
    Unsupported,
}

/// The privileges of the user, as far as the engine reports them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// The engine does not report them.
    Unknown,
    /// OpenSearch reports the user's roles, but not their permissions.
    Identified {
        /// The user name.
        user: String,
        /// The roles.
        roles: Vec<String>,
    },
    /// Elasticsearch reports that the user has all privileges that a load requires.
    Sufficient {
        /// The user name.
        user: String,
    },
    /// Elasticsearch reports that privileges are missing.
    Missing {
        /// The user name.
        user: String,
        /// The missing privileges.
        privileges: Vec<String>,
    },
}

/// Inspects an engine. `pending` is `None` for an endpoint that does not support templates.
pub(super) async fn inspect(
    client: &Client,
    info: &EngineInfo,
    pending: Option<&PendingTemplates>,
    prefix: &str,
) -> Inspection {
    let templates = match pending {
        None => TemplateState::Unsupported,
        Some(pending) if pending.is_empty() => TemplateState::Current,
        Some(_) => TemplateState::NeedsInstall,
    };
    let is_cluster = info.distribution != Distribution::Unknown && !info.is_serverless();
    let disk = if is_cluster { fullest_disk(client).await } else { None };
    let privileges = match info.distribution {
        Distribution::OpenSearch if is_cluster => opensearch_roles(client).await,
        Distribution::Elasticsearch => elasticsearch_privileges(client, prefix).await,
        _ => None,
    };
    let issues = match pending {
        Some(pending) if !info.is_serverless() => issues::find(client, pending.templates()).await,
        _ => Vec::new(),
    };
    let privileges = privileges.unwrap_or(Privileges::Unknown);
    Inspection { templates, disk, privileges, issues }
}

async fn fullest_disk(client: &Client) -> Option<Disk> {
    let nodes = format!("{}?filter_path=nodes.*.name,nodes.*.fs.total", paths::node_disks());
    let settings = format!(
        "{}?include_defaults=true&filter_path=*.cluster.routing.allocation.disk",
        paths::cluster_settings()
    );
    let nodes = issues::get_once(client, &nodes).await.ok()?;
    let settings = issues::get_once(client, &settings).await.unwrap_or_default();
    disk::fullest(&nodes, &settings)
}

async fn opensearch_roles(client: &Client) -> Option<Privileges> {
    let response = issues::get_once(client, "_plugins/_security/authinfo").await.ok()?;
    let roles = response["roles"].as_array()?.iter().filter_map(Value::as_str);
    let user = response["user_name"].as_str()?.to_owned();
    Some(Privileges::Identified { user, roles: roles.map(str::to_owned).collect() })
}

async fn elasticsearch_privileges(client: &Client, prefix: &str) -> Option<Privileges> {
    let body = Bytes::from(required_privileges(prefix).to_string());
    let path = "_security/user/_has_privileges";
    let response = client.send_json(Method::Get, path, Some(body)).await.ok()?;
    let response: Value =
        serde_json::from_slice(&response.body).ok().filter(|_| response.status == 200)?;
    let user = response["username"].as_str()?.to_owned();
    let mut missing = Vec::new();
    let indices = response["index"].as_object()?.values();
    let all = indices.chain([&response["cluster"]]).filter_map(Value::as_object).flatten();
    for (name, has) in all {
        if has == false && !OPTIONAL_PRIVILEGES.contains(&name.as_str()) && !missing.contains(name)
        {
            missing.push(name.clone());
        }
    }
    missing.sort();
    Some(if missing.is_empty() {
        Privileges::Sufficient { user }
    } else {
        Privileges::Missing { user, privileges: missing }
    })
}

/// Returns the privileges of the role, for indices of this prefix.
fn required_privileges(prefix: &str) -> Value {
    let role: Value = serde_json::from_str(ROLE).expect("a test parses it");
    let mut indices = role["indices"].clone();
    for names in indices.as_array_mut().into_iter().flatten().map(|entry| &mut entry["names"]) {
        for name in names.as_array_mut().into_iter().flatten() {
            *name = name.as_str().unwrap_or_default().replacen(ROLE_PREFIX, prefix, 1).into();
        }
    }
    json!({ "cluster": role["cluster"], "index": indices })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_required_privileges_are_those_of_the_role_for_this_prefix() {
        let required = required_privileges("audit");
        assert_eq!(required["index"][0]["names"], json!(["audit", "audit-*"]));
        assert!(required["cluster"].as_array().unwrap().len() > 3);
    }
}
