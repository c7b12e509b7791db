//! Options about AWS: credentials, accounts and Regions, the event history, trail buckets.

use std::str::FromStr;

use thiserror::Error;

use super::time::Age;
use crate::{
    aws::{AwsPartition, role},
    source::{lookup::LookupFilter, s3::LogKind},
};

const HISTORY: &str = "Event history options (lookup)";
const BUCKETS: &str = "Trail bucket options (s3://)";
const QUEUES: &str = "Queue options (sqs://)";

/// How AWS is accessed, and what is loaded from it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AwsArgs {
    /// How AWS is accessed.
    #[command(flatten)]
    pub access: AccessArgs,
    /// What is loaded from the event history.
    #[command(flatten)]
    pub history: HistoryArgs,
    /// What is loaded from trail buckets.
    #[command(flatten)]
    pub buckets: BucketArgs,
    /// Which messages of queues are deleted.
    #[command(flatten)]
    pub queues: QueueArgs,
}

/// How AWS is accessed: credentials, accounts and Regions.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "AWS options")]
pub struct AccessArgs {
    /// Use this profile from the AWS configuration [default: the standard credential chain of AWS]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Assume this role, or each of the roles listed in this file; {account} is replaced with each
    /// account of --accounts (can be repeated)
    #[arg(long, value_name = "ARN|FILE")]
    pub assume_role: Vec<String>,
    /// External ID to pass when assuming a role
    #[arg(long, value_name = "ID", requires = "assume_role")]
    pub external_id: Option<String>,
    /// Read only these accounts, or all accounts of the organization [default: the accounts of the
    /// credentials or roles; for buckets, all accounts found]
    #[arg(long, value_name = "ID,…|organization")]
    pub accounts: Option<Accounts>,
    /// Read only these Regions [default: all enabled Regions; for buckets, all Regions found]
    #[arg(long, value_name = "REGION,…|all")]
    pub regions: Option<Regions>,
}

/// What is loaded from the event history.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = HISTORY)]
pub struct HistoryArgs {
    /// Load only read-only events
    #[arg(long, conflicts_with_all = ["write_only", "lookup_attribute"])]
    pub read_only: bool,
    /// Load only events that are not read-only; usually fewer, and faster to load
    #[arg(long, conflicts_with = "lookup_attribute")]
    pub write_only: bool,
    /// Load only events with this attribute, such as Username=alice or EventName=RunInstances
    #[arg(long, value_name = "KEY=VALUE")]
    pub lookup_attribute: Option<LookupFilter>,
    /// Load CloudTrail Insights events, too
    #[arg(long)]
    pub insights: bool,
    /// Leave events newer than this to the next run, because CloudTrail may not return all of them
    /// yet [default: 15m]
    #[arg(long, value_name = "AGE")]
    pub delay: Option<Age>,
    /// Fetch events newer than this again in the next run, because some are delivered late
    /// [default: 24h]
    #[arg(long, value_name = "AGE")]
    pub overlap: Option<Age>,
}

/// What is read from trail buckets.
#[derive(Clone, Debug, Default, clap::Args)]
#[expect(clippy::doc_markdown, reason = "the text is shown as help, where markup is not rendered")]
#[command(next_help_heading = BUCKETS)]
pub struct BucketArgs {
    /// Read from the bucket that this trail delivers to (name or ARN; can be repeated)
    #[arg(long, value_name = "NAME")]
    pub trail: Vec<String>,
    /// Read only these kinds of logs: CloudTrail, Insight, NetworkActivity, Aggregated [default: all]
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    pub kinds: Vec<LogKind>,
    /// Look for log files that were delivered up to this many days late, also after --to
    /// [default: 30]
    #[arg(long, value_name = "DAYS")]
    pub late_days: Option<u32>,
    /// Agree to pay for requests to a requester-pays bucket
    #[arg(long)]
    pub requester_pays: bool,
}

/// Which messages of queues are deleted.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = QUEUES)]
pub struct QueueArgs {
    /// Delete no message: what was read becomes visible again after the visibility timeout of the queue
    /// [default: a message is deleted once everything from it is settled]
    #[arg(long, conflicts_with = "delete_foreign_messages")]
    pub keep_messages: bool,
    /// Also delete messages that are not about CloudTrail [default: they are left to the dead-letter
    /// queue]
    #[arg(long)]
    pub delete_foreign_messages: bool,
}

/// `--regions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Regions {
    /// All Regions.
    All,
    /// Only these Regions.
    Named(Vec<String>),
}

/// `--accounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accounts {
    /// All active accounts of the organization.
    Organization,
    /// Only these accounts.
    Listed(Vec<String>),
}

/// The reason why a list is invalid, worded as what is expected instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListError {
    /// Not a Region.
    #[error("'{0}' is not a Region: expected names such as eu-central-1,us-east-1, or 'all'")]
    Region(String),
    /// Not an account.
    #[error("'{0}' is not an account ID: expected 12 digits, or 'organization'")]
    Account(String),
}

impl FromStr for Regions {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        if text == "all" {
            return Ok(Self::All);
        }
        let known = |name: &str| AwsPartition::from_region(name).is_some();
        parse_list(text, known).map(Self::Named).map_err(ListError::Region)
    }
}

impl FromStr for Accounts {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        if text == "organization" {
            return Ok(Self::Organization);
        }
        parse_list(text, role::is_account_id).map(Self::Listed).map_err(ListError::Account)
    }
}

/// Splits a list at its commas and drops repeated items; returns the first invalid item as the error.
fn parse_list(text: &str, is_valid: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let mut items = Vec::new();
    for item in text.split(',').map(str::trim) {
        if !is_valid(item) {
            return Err(item.to_owned());
        }
        if !items.iter().any(|known| known == item) {
            items.push(item.to_owned());
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_whole() {
        assert_eq!("all".parse(), Ok(Regions::All));
        assert_eq!("organization".parse(), Ok(Accounts::Organization));
        assert_eq!("eu-west-1,".parse::<Regions>(), Err(ListError::Region(String::new())));
        assert_eq!("moon-1".parse::<Regions>(), Err(ListError::Region("moon-1".to_owned())));
        assert_eq!("12".parse::<Accounts>(), Err(ListError::Account("12".to_owned())));
    }
}
