//! The arguments of `trailload search`.

use std::{ffi::OsString, num::NonZeroU64};

use clap::{ValueEnum, builder::PossibleValue};

use super::{
    aws::{AccessArgs, BucketArgs, QueueArgs},
    engine::ConnectionArgs,
    size::ByteCount,
    time::{Age, SearchTime, interval},
};
use crate::{
    pipeline::search::TimeOrder,
    sink::events::{EventFormat, FieldList},
};

const TIME: &str = "Time options";
const SOURCE: &str = "Source options";
const OUTPUT: &str = "Result options";

/// Memory for all stages together; a search uses far less unless it sorts.
const DEFAULT_MEMORY: ByteCount = ByteCount::mebibytes(256);

/// No machine gains from more threads.
const MAX_WORKERS: i64 = 256;

/// The end of `trailload search --help`.
const AFTER_HELP: &str = "\
An ACTION is written as in IAM policies, in any case: 's3:Get*', 'dynamodb:*', '*:Delete*'. The name
of an event alone, such as ConsoleLogin, finds it in every service. An event has to match one of the
ACTIONs and every other condition. Times without a zone are UTC; both ends of a range are included.

Examples:
  Who deleted anything in the last three hours, in any Region
    trailload search '*:Delete*' --last 3h
  What alice was denied, except by S3
    trailload search denied --principal '*alice*' --except '$.eventSource == \"s3.amazonaws.com\"'
  What was done to a bucket, except by AWS services
    trailload search 's3:*' --resource my-bucket --except '$.userIdentity.type == \"AWSService\"'
  Which calls fail most often in a trail bucket
    trailload search --in s3://my-trail --last 7d --errors-only --count-by eventName,errorCode
  When it started: a bar chart of security group changes by hour
    trailload search 'ec2:*SecurityGroup*' --write-only --last 2d --histogram 1h
  The least policy for what a role did
    trailload search --principal 'role/deploy/*' --last 30d --policy
  Who is behind an access key
    trailload search --trace ASIAIOSFODNN7EXAMPLE --last 1d
  Wait for the next sign-in as root, then ring the bell
    trailload search root --follow --limit 1 && printf '\\a'

Exit codes:
  0  found
  1  action required: fix the credentials, permissions or address named in the error
  2  invalid command line
  3  finished, but some input could not be read
  4  stopped by a signal
  5  nothing found";

/// The arguments of `trailload search`.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "the text is shown as help, where markup is not rendered")]
#[command(after_help = AFTER_HELP)]
#[command(override_usage = "trailload search [OPTIONS] [ACTION]...")]
pub struct SearchArgs {
    /// Which events are found.
    #[command(flatten)]
    pub conditions: ConditionArgs,
    /// Add the options of a preset, such as denied, root or 'who-changed my-bucket'; --presets lists
    /// them; also accepted as an ACTION (can be repeated)
    #[arg(long, value_name = "NAME", help_heading = CONDITIONS)]
    pub preset: Vec<String>,
    /// List the presets and the options that they stand for
    #[arg(long, help_heading = CONDITIONS)]
    pub presets: bool,

    /// When events happened.
    #[command(flatten)]
    pub time: SearchTimeArgs,

    /// Search this source: 'lookup' (the event history of AWS accounts), 's3://BUCKET[/PREFIX]', the
    /// ARN of a trail, 'sqs://QUEUE', files, folders, '-' (standard input), or 'index' (the engine of
    /// --into) (can be repeated) [default: lookup]
    #[arg(long = "in", value_name = "SOURCE", help_heading = SOURCE)]
    pub sources: Vec<OsString>,
    /// Search the CloudTrail Insights events of the event history, too
    #[arg(long, help_heading = SOURCE)]
    pub insights: bool,

    /// What is done with the events.
    #[command(flatten)]
    pub result: ResultArgs,

    /// How AWS is accessed.
    #[command(flatten)]
    pub access: AccessArgs,
    /// What is read from trail buckets.
    #[command(flatten)]
    pub buckets: BucketArgs,
    /// Which messages of queues are deleted.
    #[command(flatten)]
    pub queues: QueueArgs,
    /// The engine of `--in index`.
    #[command(flatten)]
    pub engine: ConnectionArgs,

    /// Memory limit for all stages together
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MEMORY)]
    #[arg(help_heading = "Performance options")]
    pub memory: ByteCount,
    /// Number of threads that decompress and filter [default: one per processor]
    #[arg(
        long,
        value_name = "THREADS",
        value_parser = clap::value_parser!(u16).range(1..=MAX_WORKERS),
        help_heading = "Performance options"
    )]
    pub workers: Option<u16>,
}

const CONDITIONS: &str = "Conditions";

/// Which events are found. These are also the options that a preset may consist of.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[expect(clippy::doc_markdown, reason = "the text is shown as help, where markup is not rendered")]
#[command(next_help_heading = CONDITIONS)]
pub struct ConditionArgs {
    /// IAM actions or names of events, with the wildcards * ? [..] [!..]; or a preset such as denied
    /// [default: all events]
    #[arg(value_name = "ACTION", help_heading = None::<&str>)]
    pub actions: Vec<String>,
    /// Find only events in which a field has this value: '$.errorCode == "AccessDenied"', '!=', or
    /// 'regex' for a part of a text; a missing field equals null (can be repeated)
    #[arg(long = "match", value_name = "PATH OP VALUE")]
    pub matches: Vec<String>,
    /// Find only events for which this JMESPath expression is true, over source, account, region,
    /// time and detail, as in EventBridge (can be repeated)
    #[arg(long = "where", value_name = "JMESPATH")]
    pub conditions: Vec<String>,
    /// Drop the events that this --match expression selects (can be repeated)
    #[arg(long = "except", value_name = "PATH OP VALUE")]
    pub exceptions: Vec<String>,
    /// Find only calls that failed
    #[arg(long)]
    pub errors_only: bool,
    /// Find only calls that read
    #[arg(long)]
    pub read_only: bool,
    /// Find only calls that can change something
    #[arg(long)]
    pub write_only: bool,
    /// Find only calls of this principal: its short name (user/alice, role/Admin/alice, root,
    /// service/ec2), ARN or user name, with wildcards (can be repeated)
    #[arg(long, value_name = "PATTERN")]
    pub principal: Vec<String>,
    /// Find only calls about this resource: its ARN, name or id, with wildcards (can be repeated)
    #[arg(long, value_name = "PATTERN")]
    pub resource: Vec<String>,
    /// Find only calls from this address or network (can be repeated)
    #[arg(long, value_name = "ADDRESS|CIDR")]
    pub ip: Vec<String>,
    /// Find only calls with this access key (can be repeated)
    #[arg(long, value_name = "ID")]
    pub access_key: Vec<String>,
}

/// When events happened.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = TIME)]
pub struct SearchTimeArgs {
    /// Find only events at or after this time: '2024-06-01 14:00:12', 2024-06-01T14:00:12+02:00,
    /// 2024-06-01, today, yesterday, now-2h, or an age such as 7d; UTC unless a zone is given
    /// [default: all there are]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<SearchTime>,
    /// Find only events at or before this time; a date is the start of its day [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<SearchTime>,
    /// Find only events of this age or newer, such as 3h or 7d
    #[arg(long, value_name = "AGE", conflicts_with_all = ["from", "last_minute"])]
    #[arg(allow_hyphen_values = true)]
    pub last: Option<Age>,
    /// Find only events of the last N minutes
    #[arg(long, value_name = "N", conflicts_with = "from", allow_negative_numbers = true)]
    pub last_minute: Option<u32>,
}

/// What is done with the events that are found.
#[derive(Clone, Debug, Default, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is one option of the command line")]
#[command(next_help_heading = OUTPUT)]
pub struct ResultArgs {
    /// Print the result as table, ndjson, json, csv or tsv [default: table on a terminal, otherwise
    /// ndjson]
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub output: Option<EventFormat>,
    /// Print only these fields: paths such as requestParameters.bucketName or resources.ARN, or time,
    /// account, region, principal, action, service, resource, error, ip
    #[arg(long, value_name = "FIELD,…")]
    pub fields: Option<FieldList>,
    /// End after N events; of counts, print the N most frequent
    #[arg(long, value_name = "N", value_parser = limit, allow_negative_numbers = true)]
    pub limit: Option<NonZeroU64>,
    /// Sort all events by time: oldest first (time) or newest first (-time) [default: as they are
    /// found]
    #[arg(
        long,
        value_name = "time|-time",
        value_enum,
        hide_possible_values = true,
        allow_hyphen_values = true
    )]
    pub sort: Option<TimeOrder>,
    /// Continue with new events of the event history and of buckets, until interrupted or --limit is
    /// reached
    #[arg(long, conflicts_with_all = ["sort", "to"])]
    pub follow: bool,
    /// Count events by these fields instead of printing them
    #[arg(long, value_name = "FIELD,…", conflicts_with = "fields")]
    pub count_by: Option<FieldList>,
    /// Count events in intervals of this length, such as 1h or 15m, instead of printing them; with
    /// --count-by, each of the most frequent values apart
    #[arg(long, value_name = "LENGTH", value_parser = interval, conflicts_with = "fields")]
    pub histogram: Option<Age>,
    /// Print the least IAM policy that allows the calls found, for each principal
    #[arg(long, conflicts_with_all = ["fields", "count_by", "histogram", "trace"])]
    pub policy: bool,
    /// Allow denied calls in the policy, too
    #[arg(long, requires = "policy")]
    pub include_denied: bool,
    /// Print who is behind an access key, a role session or a principal, back to the first identity
    #[arg(long, value_name = "IDENTITY")]
    #[arg(conflicts_with_all = ["fields", "count_by", "histogram"])]
    pub trace: Option<String>,
    /// Print how this search would run: what AWS or the engine filters, what is filtered here, and
    /// the requests and time expected; requests no events
    #[arg(long)]
    pub explain: bool,
}

/// Parses the largest number of events.
fn limit(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse().map_err(|_| "expected a number of events, at least 1")
}

impl ValueEnum for TimeOrder {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Ascending, Self::Descending]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Ascending => "time",
            Self::Descending => "-time",
        }))
    }
}

impl ValueEnum for EventFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Table, Self::Ndjson, Self::Json, Self::Csv, Self::Tsv]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Table => "table",
            Self::Ndjson => "ndjson",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
        }))
    }
}
