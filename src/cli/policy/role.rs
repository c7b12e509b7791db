//! Roles of OpenSearch and Elasticsearch, from the files in `policy/`.
//!
//! Input: the command, the prefix of the indices, and the URL of Kibana or OpenSearch Dashboards. Output: a role, as the API of
//! the engine accepts it.
//! Invariant: no right is added to those of the files but for saved objects, which the engines keep for both products, in one
//! space or tenant.

use serde_json::{Value, json};

use super::PolicyCommand;
use crate::{
    cli::{args::load::LoadArgs, dashboards_endpoint::dashboards_target, failure::Failure},
    report::Log,
    sink::{Credentials, dashboards::DashboardsTarget},
};

/// The prefix in the files.
const FILE_PREFIX: &str = "cloudtrail";

/// The features of Kibana whose objects a setup writes: dashboards, visualizations, searches and data views.
const KIBANA_FEATURES: [&str; 4] = [
    "feature_dashboard.all",
    "feature_visualize.all",
    "feature_discover.all",
    "feature_indexPatterns.all",
];

/// The name of the global tenant in roles. In URLs and headers, it is `global`.
const GLOBAL_TENANT: &str = "global_tenant";

/// An engine with roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RoleFormat {
    /// A role of the security plugin
    Opensearch,
    /// A role of the security API
    Elasticsearch,
}

/// Returns the files with the rights that a command needs.
fn files(format: RoleFormat, command: PolicyCommand) -> &'static str {
    match (format, command) {
        (RoleFormat::Opensearch, PolicyCommand::Load) => {
            include_str!("../../../policy/opensearch.json")
        }
        (RoleFormat::Opensearch, PolicyCommand::Search | PolicyCommand::Dashboards) => {
            include_str!("../../../policy/opensearch-search.json")
        }
        (RoleFormat::Opensearch, PolicyCommand::Setup) => {
            include_str!("../../../policy/opensearch-setup.json")
        }
        (RoleFormat::Elasticsearch, PolicyCommand::Load) => {
            include_str!("../../../policy/elasticsearch.json")
        }
        (RoleFormat::Elasticsearch, PolicyCommand::Search | PolicyCommand::Dashboards) => {
            include_str!("../../../policy/elasticsearch-search.json")
        }
        (RoleFormat::Elasticsearch, PolicyCommand::Setup) => {
            include_str!("../../../policy/elasticsearch-setup.json")
        }
    }
}

/// Returns the file with the rights that `--check-duplicates` needs in addition.
fn duplicates_file(format: RoleFormat) -> &'static str {
    match format {
        RoleFormat::Opensearch => {
            include_str!("../../../policy/opensearch-check-duplicates.json")
        }
        RoleFormat::Elasticsearch => {
            include_str!("../../../policy/elasticsearch-check-duplicates.json")
        }
    }
}

/// Returns the role for a command, and logs how it is created.
pub(super) fn role(
    format: RoleFormat,
    command: PolicyCommand,
    args: &LoadArgs,
    log: &Log,
) -> Result<Value, Failure> {
    let prefix = args.engine.connection.index.as_str();
    let mut role = parse(files(format, command), prefix);
    if args.check_duplicates {
        add(&mut role, &parse(duplicates_file(format), prefix));
    }
    if let Some(url) = &args.dashboards {
        let target = dashboards_target(url, &Credentials::None, None)?;
        match format {
            RoleFormat::Opensearch => add_tenant(&mut role, &target, log),
            RoleFormat::Elasticsearch => add_space(&mut role, &target),
        }
    }
    let path = match format {
        RoleFormat::Opensearch => "_plugins/_security/api/roles/NAME",
        RoleFormat::Elasticsearch => "_security/role/NAME",
    };
    log.info("policy", format_args!("create this role with PUT {path}, and assign it to a user"));
    Ok(role)
}

fn parse(file: &str, prefix: &str) -> Value {
    let text = file.replace(FILE_PREFIX, prefix);
    serde_json::from_str(&text).expect("a test parses every file")
}

/// Adds the rights of another role for the same indices.
fn add(role: &mut Value, other: &Value) {
    for list in [
        "/cluster_permissions",
        "/index_permissions/0/allowed_actions",
        "/cluster",
        "/indices/0/privileges",
    ] {
        let more = other.pointer(list).and_then(Value::as_array);
        let rights = role.pointer_mut(list).and_then(Value::as_array_mut);
        if let Some((rights, more)) = rights.zip(more) {
            rights.extend(more.iter().cloned());
        }
    }
}

/// Adds the right to write objects of a tenant. Everybody may write into their own.
fn add_tenant(role: &mut Value, target: &DashboardsTarget, log: &Log) {
    let tenant = match target.tenant.as_deref() {
        None | Some("" | "global") => GLOBAL_TENANT,
        Some("__user__" | "private") => return,
        Some(name) => name,
    };
    role["tenant_permissions"] =
        json!([{ "tenant_patterns": [tenant], "allowed_actions": ["kibana_all_write"] }]);
    let message =
        "also map the user to the role kibana_user, which users of OpenSearch Dashboards need";
    log.info("policy", message);
}

/// Adds the right to write objects of a space.
fn add_space(role: &mut Value, target: &DashboardsTarget) {
    let space = target.space().unwrap_or("default");
    role["applications"] = json!([{
        "application": "kibana-.kibana",
        "privileges": KIBANA_FEATURES,
        "resources": [format!("space:{space}")],
    }]);
}
