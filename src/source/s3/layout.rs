//! The key layout of trail logs.
//!
//! `[prefix/]AWSLogs/[o-id/]account/kind/region/YYYY/MM/DD/account_kind_region_time_random.json.gz`
//!
//! Deliberately absent: requests. All functions work on text.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::aws::AwsPartition;

/// The folder into which AWS services deliver logs.
pub const LOGS_FOLDER: &str = "AWSLogs";

/// A kind of CloudTrail log that contains events and is delivered to a folder of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogKind {
    /// Management and data events.
    Events,
    /// Insights events.
    Insight,
    /// Network activity events of VPC endpoints.
    NetworkActivity,
    /// Aggregated data events.
    Aggregated,
}

impl LogKind {
    /// All kinds.
    pub const ALL: [Self; 4] =
        [Self::Events, Self::Insight, Self::NetworkActivity, Self::Aggregated];

    /// Returns the name of the folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Events => "CloudTrail",
            Self::Insight => "CloudTrail-Insight",
            Self::NetworkActivity => "CloudTrail-NetworkActivity",
            Self::Aggregated => "CloudTrail-Aggregated",
        }
    }

    /// Returns the kind with this folder name.
    pub(super) fn from_folder_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.folder() == name)
    }
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}

/// An unknown kind of log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown kind of log {0}: expected CloudTrail, CloudTrail-Insight, CloudTrail-NetworkActivity or CloudTrail-Aggregated"
)]
pub struct UnknownKind(String);

impl FromStr for LogKind {
    type Err = UnknownKind;

    /// Parses a folder name, with or without `CloudTrail-`, in any case.
    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        let matches_or_unknown = |kind: &Self| {
            let folder = kind.folder();
            let short = folder.strip_prefix("CloudTrail-").unwrap_or(folder);
            word.eq_ignore_ascii_case(folder) || word.eq_ignore_ascii_case(short)
        };
        Self::ALL.into_iter().find(matches_or_unknown).ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

/// The folder of CloudTrail's digest files.
pub(super) const DIGEST_FOLDER: &str = "CloudTrail-Digest";

/// Folder names of other services below an account, and of CloudTrail logs without events, as documented by AWS.
/// Compared without regard to case.
const OTHER_SERVICES: [&str; 18] = [
    "BedrockModelInvocationLogs",
    "CloudFront",
    DIGEST_FOLDER,
    "CloudTrail-Lake",
    "Config",
    "elasticloadbalancing",
    "globalaccelerator",
    "GuardDuty",
    "IVSChatLogs",
    "KafkaBrokerLogs",
    "network-firewall",
    "redshift",
    "verifiedaccess",
    "vpc-lattice",
    "vpcdnsquerylogs",
    "vpcflowlogs",
    "VPCLattice",
    "WAFLogs",
];

/// Prefix of account folders in Hive-compatible partitions: `aws-account-id=111122223333`.
const HIVE_PREFIX: &str = "aws-account-id=";

/// Returns whether a folder below `AWSLogs/` is known to contain no events.
fn is_other_service(name: &str) -> bool {
    name.starts_with(HIVE_PREFIX)
        || OTHER_SERVICES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Returns the folder name of the service that wrote an object, if it is known to contain no events.
pub(super) fn other_service(key: &str) -> Option<&str> {
    let mut folder = LogFolder::at_level(Level::AboveLogs);
    let (mut service, mut bytes) = (None, 0);
    for part in key.split_inclusive('/').filter(|part| part.ends_with('/')) {
        bytes += part.len();
        let name = part.trim_end_matches('/');
        folder.descend(name, bytes);
        service = match folder.level {
            Level::OtherService => service.or(Some(name)),
            _ => None,
        };
    }
    service
}

/// The level of a folder relative to `AWSLogs/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Not below `AWSLogs/`.
    AboveLogs,
    /// Contains organizations, accounts, or folders that were added in between.
    Accounts,
    /// Contains kinds of logs of CloudTrail and other services.
    Kinds,
    /// Contains Regions.
    Regions,
    /// Contains days, or is one: everything below is an object.
    Days,
    /// Contains no events: digests, or logs of other services.
    OtherService,
    /// Below an account, with a name that no known service uses.
    Unknown,
}

/// A folder, parsed from a key prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFolder {
    /// The level below `AWSLogs/`.
    pub(super) level: Level,
    account: Option<String>,
    kind: Option<LogKind>,
    region: Option<String>,
    /// Length in bytes of the prefix up to the Region's folder, with the slash; 0 above it.
    region_bytes: usize,
}

impl LogFolder {
    /// A folder above the accounts.
    fn at_level(level: Level) -> Self {
        Self { level, account: None, kind: None, region: None, region_bytes: 0 }
    }

    /// Parses a prefix that is empty or ends in a slash. The last `AWSLogs/` counts: the prefix of a trail may
    /// contain that name too.
    pub(super) fn from_prefix(prefix: &str) -> Self {
        let mut folder = Self::at_level(Level::AboveLogs);
        let mut bytes = 0;
        for part in prefix.split_inclusive('/') {
            bytes += part.len();
            folder.descend(part.trim_end_matches('/'), bytes);
        }
        folder
    }

    /// Descends into a folder.
    fn descend(&mut self, name: &str, bytes: usize) {
        if name == LOGS_FOLDER {
            *self = Self::at_level(Level::Accounts);
            return;
        }
        self.level = match self.level {
            Level::Accounts if is_account(name) => {
                self.account = Some(name.to_owned());
                Level::Kinds
            }
            Level::Accounts | Level::Kinds if LogKind::from_folder_name(name).is_some() => {
                self.kind = LogKind::from_folder_name(name);
                Level::Regions
            }
            Level::Accounts | Level::Kinds if is_other_service(name) => Level::OtherService,
            Level::Kinds => Level::Unknown,
            Level::Regions => {
                self.region = AwsPartition::from_region(name).map(|_| name.to_owned());
                self.region_bytes = bytes;
                Level::Days
            }
            level => level,
        };
    }

    /// Returns the first day of the year, month or day that a folder below the Region stands for.
    pub(super) fn first_day(&self, prefix: &str) -> Option<Date> {
        let parts = self.date_parts(prefix)?;
        let part = |at: usize| parts.get(at).copied();
        checked_date(part(0)?, part(1).unwrap_or(1), part(2).unwrap_or(1))
    }

    /// Returns the last day of the year, month or day that a folder below the Region stands for.
    pub(super) fn last_day(&self, prefix: &str) -> Option<Date> {
        let parts = self.date_parts(prefix)?;
        let first = self.first_day(prefix)?;
        match parts.len() {
            1 => Some(first.last_of_year()),
            2 => Some(first.last_of_month()),
            _ => Some(first),
        }
    }

    /// Returns whether a folder contains years, months or days: it is the Region's, or the one of a year or month.
    pub(super) fn holds_dates(&self, prefix: &str) -> bool {
        prefix.len() == self.region_bytes
            || self.date_parts(prefix).is_some_and(|parts| parts.len() < 3)
    }

    /// Returns the numbers of `YYYY/`, `YYYY/MM/` or `YYYY/MM/DD/` behind the Region's folder.
    fn date_parts(&self, prefix: &str) -> Option<Vec<i16>> {
        if self.region_bytes == 0 {
            return None;
        }
        let names: Vec<&str> =
            prefix.get(self.region_bytes..)?.strip_suffix('/')?.split('/').collect();
        let lengths = names.iter().zip([4, 2, 2]);
        if names.len() > 3 || lengths.into_iter().any(|(name, length)| name.len() != length) {
            return None;
        }
        names.into_iter().map(number).collect()
    }

    /// Returns the part of its prefix that ends with the Region's folder.
    pub(super) fn region_of<'a>(&self, prefix: &'a str) -> &'a str {
        prefix.get(..self.region_bytes).unwrap_or(prefix)
    }
}

/// Which objects of a bucket to load.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectFilter {
    pub(super) accounts: Vec<String>,
    pub(super) regions: Vec<String>,
    pub(super) kinds: Vec<LogKind>,
    /// First delivery day that may contain wanted events.
    pub(super) first: Option<Date>,
    /// Last delivery day that may contain wanted events.
    pub(super) last: Option<Date>,
}

impl ObjectFilter {
    /// Returns whether a folder may contain wanted objects.
    pub(super) fn may_contain(&self, folder: &LogFolder) -> bool {
        folder.level != Level::OtherService
            && matches_or_unknown(&self.accounts, folder.account.as_deref())
            && matches_or_unknown(&self.regions, folder.region.as_deref())
            && (self.kinds.is_empty() || folder.kind.is_none_or(|kind| self.kinds.contains(&kind)))
    }

    /// Returns whether the file name of an object may be wanted, outside the layout.
    pub(super) fn may_match_key(&self, key: &str) -> bool {
        let name = key.rsplit('/').next().unwrap_or(key);
        let mut parts = name.split('_');
        let [account, kind, region, time] = [(); 4].map(|()| parts.next());
        let known = account.filter(|account| is_account(account));
        let (Some(account), Some(kind), Some(region), Some(time)) = (known, kind, region, time)
        else {
            return true;
        };
        let known = LogKind::from_folder_name(kind);
        if known.is_none() {
            // Not a name given by AWS; the content decides.
            return !is_other_service(kind);
        }
        let folder = LogFolder {
            account: Some(account.to_owned()),
            kind: known,
            region: Some(region.to_owned()),
            ..LogFolder::at_level(Level::Days)
        };
        let part = |range| number(time.get(range)?);
        let day = part(0..4).zip(part(4..6)).zip(part(6..8));
        let day = day.and_then(|((year, month), day)| checked_date(year, month, day));
        self.may_contain(&folder) && day.is_none_or(|day| self.includes_day(day))
    }

    /// Returns whether objects delivered on a day may contain wanted events.
    pub(super) fn includes_day(&self, day: Date) -> bool {
        self.first.is_none_or(|first| day >= first) && self.last.is_none_or(|last| day <= last)
    }

    /// Returns whether objects delivered from `first` to `last` may contain wanted events.
    pub(super) fn may_include(&self, first: Date, last: Date) -> bool {
        self.first.is_none_or(|wanted| last >= wanted)
            && self.last.is_none_or(|wanted| first <= wanted)
    }

    /// Returns whether anything is excluded.
    pub(super) fn restricts(&self) -> bool {
        self.first.is_some()
            || self.last.is_some()
            || !(self.accounts.is_empty() && self.regions.is_empty() && self.kinds.is_empty())
    }
}

/// Returns whether a name is among the wanted ones, or is unknown.
fn matches_or_unknown(wanted: &[String], name: Option<&str>) -> bool {
    wanted.is_empty() || name.is_none_or(|name| wanted.iter().any(|wanted| wanted == name))
}

/// Returns whether a folder name is an account ID.
fn is_account(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Bytes of `YYYY/MM/DD/`.
const DAY_BYTES: usize = 11;

/// Returns the day of a key, and the length of the prefix that ends with the day's slash.
pub(super) fn day_of(key: &str, region: &str) -> Option<(Date, usize)> {
    let day = key.strip_prefix(region)?.get(..DAY_BYTES)?;
    let mut parts = day.split('/');
    let [year, month, day, rest] = [(); 4].map(|()| parts.next());
    let lengths = [year, month, day, rest].map(|part| part.map(str::len));
    if lengths != [Some(4), Some(2), Some(2), Some(0)] {
        return None;
    }
    let day = checked_date(number(year?)?, number(month?)?, number(day?)?)?;
    Some((day, region.len() + DAY_BYTES))
}

fn number(digits: &str) -> Option<i16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn checked_date(year: i16, month: i16, day: i16) -> Option<Date> {
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// Returns the folder of a day without its trailing slash, which sorts before all keys of the day.
pub(super) fn day_prefix(region: &str, day: Date) -> String {
    format!("{region}{:04}/{:02}/{:02}", day.year(), day.month(), day.day())
}

/// Returns whether a folder is partitioned by date, such as `2024/` or `year=2024/03/`; such folders are not searched
/// for trails.
pub(super) fn is_date_partitioned(folder: &str) -> bool {
    folder.split('/').any(|name| {
        let year = name.strip_prefix("year=").unwrap_or(name);
        year.len() == 4 && number(year).is_some_and(|year| (1970..2200).contains(&year))
    })
}

/// Returns whether a folder is `AWSLogs/` or the folder of an organization; these always contain trails and are
/// listed without a search.
pub(super) fn is_logs_root(folder: &str) -> bool {
    let name = folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    name == LOGS_FOLDER
        || LogFolder::from_prefix(folder).level == Level::Accounts && name.starts_with("o-")
}

/// Objects that services write to test their permission.
const PERMISSION_TEST_FILES: [&str; 4] = [
    "aws-programmatic-access-test-object",
    "ConfigWritabilityCheckFile",
    "ELBAccessLogTestFile",
    "ELBConnectionLogTestFile",
];

/// Returns whether an object of this name, without its folder, is the permission test of a service.
pub(super) fn is_permission_test(name: &str) -> bool {
    PERMISSION_TEST_FILES.contains(&name)
}

/// Returns whether a key equals another one or lies below it; the other one may lack its trailing slash.
pub(super) fn is_within(inner: &str, outer: &str) -> bool {
    let rest = inner.strip_prefix(outer.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the UTC date of a timestamp; log folders use UTC dates.
pub(super) fn utc_date(moment: Timestamp) -> Date {
    moment.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn level(prefix: &str) -> Level {
        LogFolder::from_prefix(prefix).level
    }

    #[test]
    fn every_level_is_known_with_and_without_prefix_and_organization() {
        for prefix in ["", "a/", "a/b-c/"] {
            assert_eq!(level(prefix), Level::AboveLogs);
            for organization in ["", "o-exampleorgid/"] {
                let logs = format!("{prefix}AWSLogs/{organization}");
                assert_eq!(level(&logs), Level::Accounts, "{logs}");
                assert_eq!(level(&format!("{logs}123456789012/")), Level::Kinds);
                let kind = format!("{logs}123456789012/CloudTrail-Insight/");
                assert_eq!(level(&kind), Level::Regions);
                let region = format!("{kind}eu-west-1/");
                for deep in ["", "2024/", "2024/01/", "2024/01/31/"] {
                    let prefix = format!("{region}{deep}");
                    let folder = LogFolder::from_prefix(&prefix);
                    assert_eq!(folder.level, Level::Days);
                    assert_eq!(folder.kind, Some(LogKind::Insight));
                    assert_eq!(folder.region.as_deref(), Some("eu-west-1"));
                    assert_eq!(folder.region_of(&prefix), region);
                }
            }
        }
        for foreign in [
            "AWSLogs/123456789012/Config/",
            "AWSLogs/123456789012/CloudTrail-Digest/eu-west-1/",
            "AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2024/",
            "AWSLogs/aws-account-id=123456789012/",
        ] {
            assert_eq!(level(foreign), Level::OtherService, "{foreign}");
        }
    }

    #[test]
    fn folders_between_and_prefixes_of_the_same_name_change_nothing() {
        for logs in [
            "AWSLogs/AWSLogs/",
            "AWSLogs/team/",
            "AWSLogs/o-exampleorgid/team/sub/",
            "o-exampleorgid/AWSLogs/o-exampleorgid/",
            "AWSLogs/team/AWSLogs/",
            "AWSLogs/210987654321/AWSLogs/",
        ] {
            assert_eq!(level(logs), Level::Accounts, "{logs}");
            let region = format!("{logs}123456789012/CloudTrail/eu-west-1/");
            let folder = LogFolder::from_prefix(&region);
            assert_eq!(folder.level, Level::Days, "{logs}");
            assert_eq!(folder.account.as_deref(), Some("123456789012"));
            assert_eq!(folder.region_of(&region), region);
        }
        assert_eq!(level("AWSLogs/CloudTrail/eu-west-1/"), Level::Days, "nobody's account");
        assert_eq!(level("AWSLogs/123456789012/mine/2024/"), Level::Unknown);
        assert_eq!(LogFolder::from_prefix("AWSLogs/123456789012/CloudTrail/2024/").region, None);
    }

    #[test]
    fn what_lies_within_is_told_from_what_begins_alike() {
        for (inner, outer) in [("a/b", "a"), ("a/b/", "a/"), ("a", "a"), ("a", "a/"), ("a/", "a")] {
            assert!(is_within(inner, outer), "{inner} {outer}");
        }
        for (inner, outer) in [("ab", "a"), ("a", "a/b"), ("b/a", "a"), ("", "a")] {
            assert!(!is_within(inner, outer), "{inner} {outer}");
        }
    }

    #[test]
    fn folders_of_logs_need_no_search() {
        for folder in ["AWSLogs/", "a/AWSLogs/", "AWSLogs/o-exampleorgid/"] {
            assert!(is_logs_root(folder), "{folder}");
        }
        for folder in ["", "a/", "o-exampleorgid/", "AWSLogs/team/", "AWSLogs/123456789012/"] {
            assert!(!is_logs_root(folder), "{folder}");
        }
    }

    #[test]
    fn folders_of_years_are_known() {
        for folder in ["2024/", "logs/2024/", "logs/year=2024/month=03/", "2024/03/"] {
            assert!(is_date_partitioned(folder), "{folder}");
        }
        for folder in ["", "logs/", "123456789012/", "9999/", "20240101/"] {
            assert!(!is_date_partitioned(folder), "{folder}");
        }
    }

    #[test]
    fn narrowing_takes_what_may_lead_there() {
        let filter = ObjectFilter {
            accounts: vec!["123456789012".to_owned()],
            regions: vec!["eu-west-1".to_owned()],
            kinds: vec![LogKind::Events],
            ..ObjectFilter::default()
        };
        let may_contain = |prefix| filter.may_contain(&LogFolder::from_prefix(prefix));
        assert!(may_contain("AWSLogs/o-exampleorgid/"));
        assert!(may_contain("AWSLogs/123456789012/CloudTrail/"));
        assert!(may_contain("AWSLogs/123456789012/CloudTrail/eu-west-1/2024/"));
        assert!(!may_contain("AWSLogs/210987654321/"));
        assert!(!may_contain("AWSLogs/123456789012/CloudTrail-Insight/"));
        assert!(!may_contain("AWSLogs/123456789012/CloudTrail/us-east-1/"));
    }

    #[test]
    fn names_outside_the_layout_say_what_they_can() {
        let filter = ObjectFilter {
            regions: vec!["eu-west-1".to_owned()],
            first: Some(date(2024, 1, 2)),
            ..ObjectFilter::default()
        };
        let name = |region, time| {
            filter
                .may_match_key(&format!("copy/123456789012_CloudTrail_{region}_{time}_abc.json.gz"))
        };
        assert!(name("eu-west-1", "20240102T0005Z"));
        assert!(!name("eu-west-1", "20240101T2355Z"));
        assert!(!name("us-east-1", "20240102T0005Z"));
        assert!(filter.may_match_key("copy/whatever.json.gz"));
        assert!(
            !filter.may_match_key("copy/123456789012_Config_eu-west-1_20240102T0005Z_a.json.gz")
        );
        assert!(filter.may_match_key("copy/123456789012_ours_eu-west-1_20240101T0005Z_a.json.gz"));
    }

    #[test]
    fn days_are_read_and_their_edges_sort_around_them() {
        let region = "AWSLogs/123456789012/CloudTrail/eu-west-1/";
        let key = format!("{region}2024/01/05/123456789012_CloudTrail_x.json.gz");
        let (day, bytes) = day_of(&key, region).unwrap();
        assert_eq!(day, date(2024, 1, 5));
        assert_eq!(&key[..bytes], format!("{region}2024/01/05/"));
        assert!(day_prefix(region, day) < key && key < day_prefix(region, date(2024, 1, 6)));
        for odd in ["2024/01/32/a", "2024/1/05/ab", "hand-made.json.gz", "+024/01/05/a", ""] {
            assert_eq!(day_of(&format!("{region}{odd}"), region), None, "{odd}");
        }
    }
}
