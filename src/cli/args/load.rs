//! The arguments of `trailload load`, which `doctor` and `policy` take too.

use std::path::PathBuf;

use super::{
    alerts::AlertArgs,
    aws::AwsArgs,
    document::DocumentArgs,
    engine::{EngineArgs, EngineUrl},
    resources::ResourceArgs,
    source::SourceArgs,
};
use crate::normalize::IndexBy;

/// The end of `trailload load --help`.
const AFTER_HELP: &str = "\
Environment:
  TRAILLOAD_USERNAME, TRAILLOAD_PASSWORD  User name and password for the engine
  TRAILLOAD_API_KEY                       API key for the engine, in the encoded form
  TRAILLOAD_PASSWORD_FILE                 Read the password from this file
  TRAILLOAD_API_KEY_FILE                  Read the API key from this file

  AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, ...  As for the AWS CLI

Examples:
  Load the event history of this account: 90 days of all Regions; later runs load what is new
    trailload load --into http://localhost:9200
  Estimate the number of events and the duration first
    trailload load --into http://localhost:9200 --dry-run
  Load all accounts of an organization
    trailload load --into http://localhost:9200 --accounts organization \\
      --assume-role 'arn:aws:iam::{account}:role/trailload'
  Load several years from the bucket of a trail, for one Region
    trailload load s3://my-trail --into http://localhost:9200 --regions eu-west-1 --from 2022-01-01
  Load a folder of log files, or only the last week from a pipe
    trailload load trail/ --into http://localhost:9200
    zcat *.json.gz | trailload load - --into http://localhost:9200 --last 7d
  Load what is new, and send alerts for it
    trailload load --into http://localhost:9200 --rules rules/ --actions actions.yml
  Load what is new, and then new events within minutes, as a service
    trailload load --into http://localhost:9200 --follow
  Load from a cron job, with a summary for monitoring
    trailload load --into https://search.example:9200 --quiet --summary last.json";

/// The arguments of `trailload load`.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is one option of the command line")]
#[command(after_help = AFTER_HELP)]
#[command(override_usage = "trailload load [OPTIONS] --into <URL> [SOURCE]...")]
#[command(mut_arg("into", |into| into.required(true)))]
#[command(mut_arg("actions", |option| option.requires("rules")))]
#[command(mut_arg("alert_max_age", |option| option.requires("rules")))]
#[command(mut_arg("deliver_within", |option| option.requires("rules")))]
#[command(next_help_heading = "Load options")]
pub struct LoadArgs {
    /// What is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Read everything again, including what the checkpoint records as loaded
    #[arg(long)]
    pub reload: bool,
    /// Compare each duplicate with the document in the index, and report those that differ
    #[arg(long)]
    pub check_duplicates: bool,
    /// Continue with new events of the event history, of buckets and of queues, until stopped
    #[arg(long, conflicts_with_all = ["to", "dry_run"])]
    pub follow: bool,
    /// Read and count events without sending anything; for 'lookup', only estimate
    #[arg(long)]
    pub dry_run: bool,

    /// How AWS is accessed.
    #[command(flatten)]
    pub aws: AwsArgs,

    /// Where documents are sent.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Start a new index every month (PREFIX-YYYY.MM), day (PREFIX-YYYY.MM.DD) or year (PREFIX-YYYY),
    /// or use a single index, PREFIX (none)
    #[arg(
        long,
        value_name = "month|day|year|none",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help_heading = "Engine options"
    )]
    pub index_by: IndexBy,
    /// Continue although a different cluster answers than in earlier runs, for example because its
    /// indices were restored from a snapshot
    #[arg(long, help_heading = "Engine options")]
    pub accept_cluster: bool,
    /// Accept that indices are missing or lack documents that were loaded into them: all indices, or
    /// those that match INDEX ('*' matches anything)
    #[arg(
        long,
        value_name = "INDEX",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "*",
        help_heading = "Engine options"
    )]
    pub accept_missing: Option<String>,
    /// After new fields were mapped, refresh the field list of the index pattern in these OpenSearch
    /// Dashboards (URL as in 'trailload setup'); Kibana needs no refresh
    #[arg(long, value_name = "URL", conflicts_with = "dry_run", help_heading = "Engine options")]
    pub dashboards: Option<EngineUrl>,
    /// Replace an index template that is newer or that trailload did not create
    #[arg(long, help_heading = "Engine options")]
    pub force: bool,

    /// Evaluate these rules on every event that is loaded: files (YAML), or folders with rule files
    /// (can be repeated)
    #[arg(long, value_name = "RULES", conflicts_with = "dry_run", help_heading = "Alert options")]
    pub rules: Vec<PathBuf>,
    /// Which alerts are sent, and how.
    #[command(flatten)]
    pub alerts: AlertArgs,

    /// What documents hold.
    #[command(flatten)]
    pub documents: DocumentArgs,

    /// What the load may use.
    #[command(flatten)]
    pub resources: ResourceArgs,

    /// Write the counts of the run to this file as JSON
    #[arg(long, value_name = "FILE", help_heading = "Output options")]
    pub summary: Option<PathBuf>,
}
