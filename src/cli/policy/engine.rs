//! Signed requests to an engine at AWS: a domain of Amazon OpenSearch Service, or a collection of OpenSearch Serverless.
//!
//! Input: the URL of the engine. Output: a statement of an IAM policy, as narrow as the host name allows.

use serde_json::{Value, json};
use url::Url;

use super::{PolicyCommand, numbered, statement as statement_of, with};
use crate::{
    aws::AwsPartition,
    cli::{
        args::{engine::EngineUrl, load::LoadArgs},
        dashboards_endpoint::dashboards_target,
        failure::Failure,
        plan::engine::engine_url,
    },
    report::Log,
    sink::{Credentials, Service},
};

pub(super) const DOMAIN: &str = include_str!("../../../policy/opensearch-managed.json");
pub(super) const DOMAIN_SEARCH: &str =
    include_str!("../../../policy/opensearch-managed-search.json");
pub(super) const DOMAIN_SETUP: &str = include_str!("../../../policy/opensearch-managed-setup.json");
pub(super) const SERVERLESS: &str = include_str!("../../../policy/opensearch-serverless.json");

/// The name of a domain that the URL does not contain.
const UNKNOWN_DOMAIN: &str = "DOMAIN";

/// What is done with a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DomainAccess {
    Load,
    Search,
    Setup,
}

impl DomainAccess {
    /// Returns the statement, and the file of the role that fine-grained access control requires.
    fn statement(self) -> (Value, &'static str) {
        match self {
            Self::Load => (statement_of(DOMAIN, "LoadIntoDomain"), "opensearch.json"),
            Self::Search => (statement_of(DOMAIN_SEARCH, "SearchDomain"), "opensearch-search.json"),
            Self::Setup => (statement_of(DOMAIN_SETUP, "SetUpDomain"), "opensearch-setup.json"),
        }
    }
}

/// Returns the policy of a command that uses AWS only to sign requests.
pub(super) fn policy(command: PolicyCommand, args: &LoadArgs, log: &Log) -> Result<Value, Failure> {
    let connection = &args.engine.connection;
    let Some(into) = connection.into.as_ref().filter(|_| connection.aws_auth) else {
        return Err(Failure::usage("'--for' requires '--role', or '--aws-auth' with '--into'")
            .hint("add --role opensearch or --role elasticsearch; at AWS: --aws-auth --into https://…"));
    };
    let mut urls = vec![engine_url(into)?];
    let dashboards = args.dashboards.as_ref().map(dashboards_url).transpose()?;
    urls.extend(dashboards.filter(|url| url.host() != urls[0].host()));
    let access =
        if command == PolicyCommand::Setup { DomainAccess::Setup } else { DomainAccess::Search };
    let statements = urls.iter().map(|url| statement(url, access, AwsPartition::Aws, log));
    Ok(json!({ "Version": "2012-10-17", "Statement": numbered(statements.collect()) }))
}

fn dashboards_url(url: &EngineUrl) -> Result<Url, Failure> {
    Ok(dashboards_target(url, &Credentials::None, None)?.url)
}

/// Returns the statement for the engine, as narrow as its host name allows.
pub(super) fn statement(
    url: &Url,
    access: DomainAccess,
    partition: AwsPartition,
    log: &Log,
) -> Value {
    let named = Service::from_host(url);
    let label = url.host_str().and_then(|host| host.split('.').next()).unwrap_or_default();
    match named {
        Some((Service::Serverless, region)) => {
            log.info(
                "policy",
                "the data access policy of the collection must also allow the caller to write; see policy/README.md",
            );
            let arn = format!("arn:{}:aoss:{region}:*:collection/{label}", of_region(&region));
            with(statement_of(SERVERLESS, "LoadIntoCollection"), "Resource", arn.into())
        }
        named => {
            let (statement, role) = access.statement();
            log.info(
                "policy",
                format_args!(
                    "if the domain uses fine-grained access control, also map the caller to the role of policy/{role}"
                ),
            );
            let domain = domain(label).unwrap_or(UNKNOWN_DOMAIN);
            let arn = if let Some((_, region)) = named.filter(|_| domain != UNKNOWN_DOMAIN) {
                format!("arn:{}:es:{region}:*:domain/{domain}/*", of_region(&region))
            } else {
                let text = "the host name does not contain the domain name; replace DOMAIN with it";
                log.info("policy", text);
                format!("arn:{partition}:es:*:*:domain/DOMAIN/*")
            };
            with(statement, "Resource", arn.into())
        }
    }
}

fn of_region(region: &str) -> AwsPartition {
    AwsPartition::from_region(region).unwrap_or(AwsPartition::Aws)
}

/// Returns the domain name in `search-NAME-abc123` and `vpc-NAME-abc123`.
fn domain(label: &str) -> Option<&str> {
    let rest = label.strip_prefix("search-").or_else(|| label.strip_prefix("vpc-"))?;
    let (name, _) = rest.rsplit_once('-')?;
    (!name.is_empty()).then_some(name)
}
