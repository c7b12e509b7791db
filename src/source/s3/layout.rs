//! What the parts of a key say.
//!
//! `[prefix/]AWSLogs/[o-id/]account/kind/region/YYYY/MM/DD/account_kind_region_time_random.json.gz`
//!
//! Absent on purpose: requests. Everything here is about text.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp,
    civil::{Date, date},
    tz::TimeZone,
};

/// The folder that AWS services put their logs into.
pub(super) const LOGS: &str = "AWSLogs";

/// What CloudTrail writes into a folder of its own, and holds events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogKind {
    /// Management and data events.
    Events,
    /// Unusual rates of calls and errors.
    Insight,
    /// What passed VPC endpoints.
    NetworkActivity,
    /// Summaries of data events.
    Aggregated,
}

impl LogKind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Events, Self::Insight, Self::NetworkActivity, Self::Aggregated];

    /// Returns the name of its folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Events => "CloudTrail",
            Self::Insight => "CloudTrail-Insight",
            Self::NetworkActivity => "CloudTrail-NetworkActivity",
            Self::Aggregated => "CloudTrail-Aggregated",
        }
    }

    /// Returns the kind whose folder has this name.
    pub(super) fn of_folder(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.folder() == name)
    }
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}

/// A word that names no kind of log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is no kind of trail log: CloudTrail, CloudTrail-Insight, CloudTrail-NetworkActivity, CloudTrail-Aggregated"
)]
pub struct UnknownKind(String);

impl FromStr for LogKind {
    type Err = UnknownKind;

    /// Reads a folder's name, with or without `CloudTrail-`, in capitals or not.
    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        let fits = |kind: &Self| {
            let folder = kind.folder();
            let short = folder.strip_prefix("CloudTrail-").unwrap_or(folder);
            word.eq_ignore_ascii_case(folder) || word.eq_ignore_ascii_case(short)
        };
        Self::ALL.into_iter().find(fits).ok_or_else(|| UnknownKind(word.to_owned()))
    }
}
