//! What the parts of a key say.
//!
//! `[prefix/]AWSLogs/[o-id/]account/kind/region/YYYY/MM/DD/account_kind_region_time_random.json.gz`
//!
//! Absent on purpose: requests. Everything here is about text.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

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

/// How far a folder lies below `AWSLogs/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Not below `AWSLogs/` at all.
    Outside,
    /// It holds organizations, accounts, or both.
    Accounts,
    /// It holds kinds of logs, ours and those of other services.
    Kinds,
    /// It holds Regions.
    Regions,
    /// It holds days, or is one: all below it are objects.
    Days,
    /// It holds what has no events: digests, or logs of other services.
    Foreign,
}

/// A folder, and what its parts say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How far down it is.
    pub(super) level: Level,
    account: Option<String>,
    kind: Option<LogKind>,
    region: Option<String>,
    /// Bytes of its prefix up to the Region's folder, with the slash; 0 above it.
    region_bytes: usize,
}

impl Place {
    /// Reads a prefix that is empty or ends in a slash.
    pub(super) fn of(prefix: &str) -> Self {
        let mut place = Self {
            level: Level::Outside,
            account: None,
            kind: None,
            region: None,
            region_bytes: 0,
        };
        let mut parts = prefix.split_inclusive('/').peekable();
        let mut bytes = 0;
        if !parts.by_ref().any(|part| {
            bytes += part.len();
            part.strip_suffix('/') == Some(LOGS)
        }) {
            return place;
        }
        place.level = Level::Accounts;
        // The prefix of a trail may have the same name.
        while let Some(again) = parts.next_if(|part| part.strip_suffix('/') == Some(LOGS)) {
            bytes += again.len();
        }
        if let Some(id) = parts.next_if(|part| part.starts_with("o-")) {
            bytes += id.len();
        }
        for part in parts {
            bytes += part.len();
            place.enter(part.trim_end_matches('/'), bytes);
        }
        place
    }

    /// Goes one folder down.
    fn enter(&mut self, name: &str, bytes: usize) {
        self.level = match self.level {
            Level::Accounts if is_account(name) => {
                self.account = Some(name.to_owned());
                Level::Kinds
            }
            Level::Kinds if LogKind::of_folder(name).is_some() => {
                self.kind = LogKind::of_folder(name);
                Level::Regions
            }
            Level::Regions => {
                self.region = Some(name.to_owned());
                self.region_bytes = bytes;
                Level::Days
            }
            Level::Days => Level::Days,
            _ => Level::Foreign,
        };
    }

    /// Returns the part of its own prefix that ends with the Region's folder.
    pub(super) fn region_of<'a>(&self, prefix: &'a str) -> &'a str {
        prefix.get(..self.region_bytes).unwrap_or(prefix)
    }
}

/// What is asked for, of all that a bucket may hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Narrow {
    pub(super) accounts: Vec<String>,
    pub(super) regions: Vec<String>,
    pub(super) kinds: Vec<LogKind>,
    /// The first day of delivery that may hold what is wanted.
    pub(super) first: Option<Date>,
    /// The last one.
    pub(super) last: Option<Date>,
}

impl Narrow {
    /// Returns whether anything below a folder may be wanted.
    pub(super) fn takes(&self, place: &Place) -> bool {
        place.level != Level::Foreign
            && fits(&self.accounts, place.account.as_deref())
            && fits(&self.regions, place.region.as_deref())
            && (self.kinds.is_empty() || place.kind.is_none_or(|kind| self.kinds.contains(&kind)))
    }

    /// Returns whether an object outside the layout may be wanted, by its name alone.
    pub(super) fn takes_name(&self, key: &str) -> bool {
        let name = key.rsplit('/').next().unwrap_or(key);
        let mut parts = name.split('_');
        let [account, kind, region, time] = [(); 4].map(|()| parts.next());
        let known = account.filter(|account| is_account(account));
        let (Some(account), Some(kind), Some(region), Some(time)) = (known, kind, region, time)
        else {
            return true;
        };
        let place = Place {
            level: if LogKind::of_folder(kind).is_some() { Level::Days } else { Level::Foreign },
            account: Some(account.to_owned()),
            kind: LogKind::of_folder(kind),
            region: Some(region.to_owned()),
            region_bytes: 0,
        };
        let part = |range| number(time.get(range)?);
        let day = part(0..4).zip(part(4..6)).zip(part(6..8));
        let day = day.and_then(|((year, month), day)| calendar(year, month, day));
        self.takes(&place) && day.is_none_or(|day| self.takes_day(day))
    }

    /// Returns whether files delivered on a day may hold what is wanted.
    pub(super) fn takes_day(&self, day: Date) -> bool {
        self.first.is_none_or(|first| day >= first) && self.last.is_none_or(|last| day <= last)
    }

    /// Returns whether anything is left out.
    pub(super) fn is_narrow(&self) -> bool {
        self.first.is_some()
            || self.last.is_some()
            || !(self.accounts.is_empty() && self.regions.is_empty() && self.kinds.is_empty())
    }
}

/// Returns whether a name is among those asked for, or cannot be told yet.
fn fits(wanted: &[String], name: Option<&str>) -> bool {
    wanted.is_empty() || name.is_none_or(|name| wanted.iter().any(|wanted| wanted == name))
}

/// Returns whether a folder is called like an account.
fn is_account(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Bytes of `YYYY/MM/DD/`.
const DAY_BYTES: usize = 11;

/// Returns the day of a key, and how long its prefix is up to the slash behind it.
pub(super) fn day_of(key: &str, region: &str) -> Option<(Date, usize)> {
    let day = key.strip_prefix(region)?.get(..DAY_BYTES)?;
    let mut parts = day.split('/');
    let [year, month, day, rest] = [(); 4].map(|()| parts.next());
    let lengths = [year, month, day, rest].map(|part| part.map(str::len));
    if lengths != [Some(4), Some(2), Some(2), Some(0)] {
        return None;
    }
    let day = calendar(number(year?)?, number(month?)?, number(day?)?)?;
    Some((day, region.len() + DAY_BYTES))
}

fn number(digits: &str) -> Option<i16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn calendar(year: i16, month: i16, day: i16) -> Option<Date> {
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// Returns the folder of a day, without its last slash: it sorts before all that the day holds.
pub(super) fn before_day(region: &str, day: Date) -> String {
    format!("{region}{:04}/{:02}/{:02}", day.year(), day.month(), day.day())
}

/// Returns what sorts behind all that a day holds, and before the next day.
pub(super) fn behind_day(region: &str, day: Date) -> String {
    // The character behind the slash.
    before_day(region, day) + "0"
}

/// Returns whether whoever goes through a folder gets to another one, or to an object, for sure.
///
/// Logs are searched for some levels deep only, so what lies deeper than one level outside of them may be missed.
pub(super) fn leads_to(outer: &str, inner: &str) -> bool {
    let slash = |prefix: &str| prefix.is_empty() || prefix.ends_with('/');
    let folder = if slash(outer) { outer.to_owned() } else { format!("{outer}/") };
    let Some(rest) = inner.strip_prefix(&folder).filter(|rest| !rest.is_empty()) else {
        return false;
    };
    let near = match Place::of(&folder).level {
        Level::Outside => {
            let mut between = rest.split('/').take(2);
            between.any(|part| part == LOGS)
        }
        _ => true,
    };
    let parent = inner.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent);
    // An object is found by a folder of days only; a word without its slash may name either.
    let level = Place::of(&format!("{parent}/")).level;
    near && level != Level::Foreign
        && if inner.ends_with('/') {
            Place::of(inner).level != Level::Foreign
        } else {
            let folder = || Place::of(&format!("{inner}/")).level != Level::Foreign;
            level == Level::Days || !is_log(inner) && folder()
        }
}

/// Returns the day of a moment, as the folders count days.
pub(super) fn day_of_moment(moment: Timestamp) -> Date {
    moment.to_zoned(TimeZone::UTC).date()
}

/// Returns whether an object may hold records, by its name. Folders made by hand are objects too.
pub(super) fn is_log(key: &str) -> bool {
    const ENDINGS: [&str; 7] = [".gz", ".json", ".ndjson", ".jsonl", ".zst", ".log", ".txt"];
    ENDINGS.iter().any(|ending| key.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn level(prefix: &str) -> Level {
        Place::of(prefix).level
    }

    #[test]
    fn every_level_is_known_with_and_without_prefix_and_organization() {
        for prefix in ["", "a/", "a/b-c/"] {
            assert_eq!(level(prefix), Level::Outside);
            for organization in ["", "o-exampleorgid/"] {
                let logs = format!("{prefix}AWSLogs/{organization}");
                assert_eq!(level(&logs), Level::Accounts, "{logs}");
                assert_eq!(level(&format!("{logs}123456789012/")), Level::Kinds);
                let kind = format!("{logs}123456789012/CloudTrail-Insight/");
                assert_eq!(level(&kind), Level::Regions);
                let region = format!("{kind}eu-west-1/");
                for deep in ["", "2024/", "2024/01/", "2024/01/31/"] {
                    let prefix = format!("{region}{deep}");
                    let place = Place::of(&prefix);
                    assert_eq!(place.level, Level::Days);
                    assert_eq!(place.kind, Some(LogKind::Insight));
                    assert_eq!(place.region.as_deref(), Some("eu-west-1"));
                    assert_eq!(place.region_of(&prefix), region);
                }
            }
        }
        for foreign in [
            "AWSLogs/123456789012/Config/",
            "AWSLogs/123456789012/CloudTrail-Digest/eu-west-1/",
            "AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2024/",
            "AWSLogs/aws-account-id=123456789012/",
        ] {
            assert_eq!(level(foreign), Level::Foreign, "{foreign}");
        }
    }

    #[test]
    fn a_folder_leads_to_what_is_found_from_it() {
        let days = "AWSLogs/123456789012/CloudTrail/eu-west-1/";
        for (outer, inner) in [
            ("", "AWSLogs/"),
            ("", days),
            ("org", "org/AWSLogs"),
            ("", "org/AWSLogs/123456789012/"),
            ("AWSLogs/123456789012", days),
            (days, "AWSLogs/123456789012/CloudTrail/eu-west-1/2024/01/31/x.json.gz"),
        ] {
            assert!(leads_to(outer, inner), "{outer} {inner}");
        }
        for (outer, inner) in [
            ("", ""),
            ("a", "ab/AWSLogs/"),
            ("", "a/b/AWSLogs/"),
            ("", "copy/x.json.gz"),
            ("", "AWSLogs/mine/x.json.gz"),
            ("", "AWSLogs/x.json.gz"),
            ("", "AWSLogs/123456789012/CloudTrail/x.json.gz"),
            ("AWSLogs/", "AWSLogs/mine/"),
            (days, "AWSLogs/123456789012/CloudTrail/us-east-1/"),
        ] {
            assert!(!leads_to(outer, inner), "{outer} {inner}");
        }
    }

    #[test]
    fn narrowing_takes_what_may_lead_there() {
        let narrow = Narrow {
            accounts: vec!["123456789012".to_owned()],
            regions: vec!["eu-west-1".to_owned()],
            kinds: vec![LogKind::Events],
            ..Narrow::default()
        };
        let takes = |prefix| narrow.takes(&Place::of(prefix));
        assert!(takes("AWSLogs/o-exampleorgid/"));
        assert!(takes("AWSLogs/123456789012/CloudTrail/"));
        assert!(takes("AWSLogs/123456789012/CloudTrail/eu-west-1/2024/"));
        assert!(!takes("AWSLogs/210987654321/"));
        assert!(!takes("AWSLogs/123456789012/CloudTrail-Insight/"));
        assert!(!takes("AWSLogs/123456789012/CloudTrail/us-east-1/"));
    }

    #[test]
    fn names_outside_the_layout_say_what_they_can() {
        let narrow = Narrow {
            regions: vec!["eu-west-1".to_owned()],
            first: Some(date(2024, 1, 2)),
            ..Narrow::default()
        };
        let name = |region, time| {
            narrow.takes_name(&format!("copy/123456789012_CloudTrail_{region}_{time}_abc.json.gz"))
        };
        assert!(name("eu-west-1", "20240102T0005Z"));
        assert!(!name("eu-west-1", "20240101T2355Z"));
        assert!(!name("us-east-1", "20240102T0005Z"));
        assert!(narrow.takes_name("copy/whatever.json.gz"));
        assert!(!narrow.takes_name("copy/123456789012_Config_eu-west-1_20240102T0005Z_a.json.gz"));
    }

    #[test]
    fn days_are_read_and_their_edges_sort_around_them() {
        let region = "AWSLogs/123456789012/CloudTrail/eu-west-1/";
        let key = format!("{region}2024/01/05/123456789012_CloudTrail_x.json.gz");
        let (day, bytes) = day_of(&key, region).unwrap();
        assert_eq!(day, date(2024, 1, 5));
        assert_eq!(&key[..bytes], format!("{region}2024/01/05/"));
        assert!(before_day(region, day) < key && key < behind_day(region, day));
        assert!(behind_day(region, day) < before_day(region, date(2024, 1, 6)));
        for odd in ["2024/01/32/a", "2024/1/05/ab", "hand-made.json.gz", "+024/01/05/a", ""] {
            assert_eq!(day_of(&format!("{region}{odd}"), region), None, "{odd}");
        }
    }
}
