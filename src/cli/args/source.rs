//! Options that decide what is read: sources and the time range.

use std::ffi::OsString;

use super::time::{Age, SearchTime};

/// What is read.
#[derive(Clone, Debug, Default, clap::Args)]
#[expect(clippy::doc_markdown, reason = "the text is shown as help, where markup is not rendered")]
#[command(next_help_heading = "Load options")]
pub struct SourceArgs {
    /// 'lookup' (the event history of AWS accounts), 's3://BUCKET[/PREFIX]' (log files that a trail
    /// delivered), the ARN of a trail, 'sqs://QUEUE' (messages with events or about new log files),
    /// files, folders (recursively), or '-' (standard input) [default: lookup]
    #[arg(value_name = "SOURCE", help_heading = None::<&str>)]
    pub sources: Vec<OsString>,
    /// Load only events at or after this time: a time, a date (midnight UTC), today, yesterday, now-2h,
    /// or an age such as 7d; UTC unless a zone is given
    #[arg(long, value_name = "TIME")]
    pub from: Option<SearchTime>,
    /// Load only events before this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<SearchTime>,
    /// Load only events of this age or newer, such as 12h or 7d
    #[arg(long, value_name = "AGE", conflicts_with = "from")]
    pub last: Option<Age>,
}
