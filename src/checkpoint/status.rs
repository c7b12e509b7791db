//! The output of `trailload status`, as data. The field names are stable, because scripts read the JSON form.
//!
//! Input: rows, from [`CheckpointReader`](super::CheckpointReader). Output: [`Status`].
//! Invariant: all numbers are of the same moment.
//! Deliberately not here: SQL and formatting for a terminal (see `cli`).

use std::collections::BTreeMap;

use super::indices::LoadedIndices;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::report::summary::RetrySummary;

/// What is loaded, which documents were rejected and why, and which fields were discovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The engine and index prefix that the file belongs to.
    pub target: String,
    /// Time at which the file was created.
    #[serde(serialize_with = "as_text")]
    pub created: Timestamp,
    /// The latest runs, last one first.
    pub runs: Vec<RunStatus>,
    /// Loaded partitions (files and objects).
    pub partitions_loaded: u64,
    /// Partitions that contain no CloudTrail events.
    pub partitions_skipped: u64,
    /// Partitions that failed.
    pub partitions_failed: u64,
    /// Records of the loaded partitions.
    pub records: u64,
    /// Bytes of the loaded partitions, as stored (compressed).
    pub bytes: u64,
    /// Loaded partitions by folder. Deep trees are summed up in their upper folders.
    pub folders: Vec<LoadedFolder>,
    /// Coverage of CloudTrail's event history, by account, Region and category.
    pub coverage: Vec<Coverage>,
    /// Objects by bucket.
    pub buckets: Vec<Bucket>,
    /// The partitions that failed, by cause, most frequent first.
    pub failure_causes: Vec<InputGroup>,
    /// The partitions without CloudTrail events, by what they contain instead, most frequent first.
    pub skip_causes: Vec<InputGroup>,
    /// The partitions that failed, latest first. Empty unless [`Failures::All`] was requested.
    pub failures: Vec<FailedPartition>,
    /// Documents that were rejected.
    pub dead_letters: DeadLetters,
    /// The UUID of the cluster that documents were sent to, if known.
    pub cluster: Option<String>,
    /// The indices that documents were loaded into.
    pub indices: Vec<IndexStatus>,
    /// Indices from which loaded documents are missing, as of the last run.
    pub missing: Vec<IndexLoss>,
    /// Fields that are in no shipped table, with their kinds.
    pub discovered_fields: Vec<DiscoveredField>,
    /// The sources that were followed, and the queues that were read.
    pub sources: Vec<SourceStatus>,
}

/// A source that was followed, or a queue that was read, when it was last asked for new events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// The SOURCE argument.
    pub source: String,
    /// When it was last asked for new events.
    #[serde(serialize_with = "as_text")]
    pub observed: Timestamp,
    /// When the oldest message that waits was sent. `None` for sources without messages, and if none waits.
    #[serde(serialize_with = "as_optional_text")]
    pub oldest_waiting: Option<Timestamp>,
    /// Number of messages that wait.
    pub waiting: Option<u64>,
    /// Number of messages that were received and not deleted.
    pub in_flight: Option<u64>,
    /// The time of the newest event that was found; for a bucket, when its newest log file was delivered.
    #[serde(serialize_with = "as_optional_text")]
    pub newest_event: Option<Timestamp>,
    /// Events up to this time are complete.
    #[serde(serialize_with = "as_optional_text")]
    pub covered_until: Option<Timestamp>,
    /// Seconds from the time at which it was last asked to now.
    pub age_seconds: i64,
}

/// An index that documents were loaded into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexStatus {
    /// The name used in requests.
    pub name: String,
    /// The UUID of the index, if known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// Documents that were created in it.
    pub created: u64,
    /// Documents that were already in it. A document that is sent repeatedly is counted each time.
    pub duplicates: u64,
    /// Number of documents in the index at the last comparison, if known.
    pub documents: Option<u64>,
}

/// Documents that are missing from an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexLoss {
    /// The index.
    pub index: String,
    /// Number of missing documents.
    pub documents: u64,
    /// Why they are missing: the index was `deleted`, `recreated` or `emptied`.
    pub reason: &'static str,
    /// Time of detection.
    #[serde(serialize_with = "as_text")]
    pub detected: Timestamp,
    /// Time at which the user accepted the loss. Until then, runs do not end with exit code 0.
    #[serde(serialize_with = "as_optional_text")]
    pub accepted: Option<Timestamp>,
}

impl IndexStatus {
    pub(super) fn from_indices(indices: &LoadedIndices) -> Vec<Self> {
        let indices = indices.known.iter().map(|(name, known)| Self {
            name: name.clone(),
            uuid: known.identity.uuid.clone(),
            created: known.created,
            duplicates: known.duplicates,
            documents: known.documents,
        });
        indices.collect()
    }
}

impl IndexLoss {
    pub(super) fn from_indices(indices: &LoadedIndices) -> Vec<Self> {
        let time = |milliseconds| Timestamp::from_millisecond(milliseconds).ok();
        let missing = indices.missing.iter().map(|(name, missing)| Self {
            index: name.clone(),
            documents: missing.documents,
            reason: missing.reason.as_str(),
            detected: time(missing.detected).unwrap_or_default(),
            accepted: missing.accepted.and_then(time),
        });
        missing.collect()
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunStatus {
    /// Start of the run.
    #[serde(serialize_with = "as_text")]
    pub started: Timestamp,
    /// End of the run, or `None` if it is still running or was killed.
    #[serde(serialize_with = "as_optional_text")]
    pub ended: Option<Timestamp>,
    /// The exit code.
    pub exit: Option<u8>,
    /// Number of records read.
    pub read: u64,
    /// Documents that were created.
    pub created: u64,
    /// Documents that were already in their index.
    pub duplicates: u64,
    /// Documents that were stored as dead letters.
    pub dead_letters: u64,
    /// Partitions that were loaded.
    pub partitions_loaded: u64,
    /// Partitions that contain no CloudTrail events.
    pub partitions_skipped: u64,
    /// Partitions that failed.
    pub partitions_failed: u64,
    /// Dead letters of earlier runs that were sent again. They are not included in the other numbers.
    pub retried: RetrySummary,
}

/// The loaded partitions of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoadedFolder {
    /// The folder, prefixed by the kind of source: `file:/var/trail`.
    pub folder: String,
    /// Partitions that are loaded.
    pub partitions: u64,
    /// Partitions that contain no CloudTrail events.
    pub skipped: u64,
    /// Records of the loaded partitions.
    pub records: u64,
    /// Bytes of the loaded partitions, as stored.
    pub bytes: u64,
    /// Time at which the first of them was loaded.
    #[serde(serialize_with = "as_text")]
    pub first_loaded: Timestamp,
    /// Time at which the last of them was loaded.
    #[serde(serialize_with = "as_text")]
    pub last_loaded: Timestamp,
}

/// The coverage of one series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The account id.
    pub account: String,
    /// The Region.
    pub region: String,
    /// The event category: `management` or `insight`.
    pub category: String,
    /// The filter, if only some events are fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The first covered second.
    #[serde(serialize_with = "as_text")]
    pub from: Timestamp,
    /// The last covered second.
    #[serde(serialize_with = "as_text")]
    pub to: Timestamp,
    /// The first gaps between them, at most 100.
    pub gaps: Vec<Gap>,
    /// Number of gaps.
    pub gap_count: u64,
    /// Number of records read. Records that were fetched repeatedly are counted each time.
    pub records: u64,
    /// Seconds from the last covered second to now.
    pub lag_seconds: i64,
}

/// A time range that is not covered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first missing second.
    #[serde(serialize_with = "as_text")]
    pub from: Timestamp,
    /// The last missing second.
    #[serde(serialize_with = "as_text")]
    pub to: Timestamp,
}

/// The objects of one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// `s3://` and the name of the bucket.
    pub bucket: String,
    /// Loaded objects.
    pub loaded: u64,
    /// Objects that contain no CloudTrail events.
    pub skipped: u64,
    /// Objects that could not be fetched or read.
    pub failed: u64,
    /// The same by day, as given by the object keys, latest first.
    pub days: Vec<Day>,
}

/// The objects of one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Day {
    /// The day, such as `2024-06-01`.
    pub day: String,
    /// Loaded objects.
    pub loaded: u64,
    /// Objects that contain no CloudTrail events.
    pub skipped: u64,
    /// Objects that could not be fetched or read.
    pub failed: u64,
}

/// Failed or skipped partitions with the same cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputGroup {
    /// The cause, without values that differ between the partitions.
    pub cause: String,
    /// Number of partitions.
    pub partitions: u64,
    /// The name of one of them, as shown to the user.
    pub example: String,
}

/// Which failed partitions [`CheckpointReader::status`](super::CheckpointReader::status) lists by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failures {
    /// None: only the causes.
    Causes,
    /// All of them.
    All,
}

/// A partition that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedPartition {
    /// The name shown to the user.
    pub name: String,
    /// The cause.
    pub cause: String,
    /// Byte offset of the error, if known.
    pub offset: Option<u64>,
    /// Number of records read before the error.
    pub records: u64,
    /// Number of runs that failed to read it.
    pub attempts: u64,
    /// Time of the last failure.
    #[serde(serialize_with = "as_text")]
    pub failed: Timestamp,
}

/// The documents that were rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetters {
    /// Number of dead letters, including accepted ones.
    pub documents: u64,
    /// Number of accepted dead letters.
    pub accepted: u64,
    /// Dead letters by cause and reason, most frequent first, at most 20.
    pub reasons: Vec<DeadLetterGroup>,
}

/// The dead letters with the same cause and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetterGroup {
    /// The kind of cause: `content`, `index`, `pipeline` or `limit`.
    pub cause: String,
    /// The reason, without ids and values of individual documents.
    pub reason: String,
    /// Number of documents, including accepted ones.
    pub documents: u64,
    /// Number of accepted documents.
    pub accepted: u64,
    /// Examples.
    pub examples: Vec<DeadLetterExample>,
}

/// A dead letter, as an example of its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetterExample {
    /// The index that it was sent to.
    pub index: String,
    /// The document id.
    pub id: String,
    /// Key of the partition that it was read from.
    pub partition: String,
    /// Time of the rejection.
    #[serde(serialize_with = "as_text")]
    pub rejected: Timestamp,
    /// The reason given for this document.
    pub reason: String,
}

/// A field that is in no shipped table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiscoveredField {
    /// The field's path.
    pub path: String,
    /// Its field kind.
    pub kind: String,
    /// What determined the kind: the first value, or the engine's mapping.
    pub origin: String,
    /// Time of the discovery.
    #[serde(serialize_with = "as_text")]
    pub discovered: Timestamp,
}

/// Maximum number of gaps listed for one series.
const MAX_GAPS: usize = 100;

impl Coverage {
    /// Returns the coverage of a series from its intervals, which neither touch nor overlap and are sorted. Returns
    /// `None` if there are none, or if they are outside the range of [`Timestamp`].
    pub(super) fn from_intervals(
        series: &str,
        covered: &[(i64, i64)],
        records: u64,
        now: Timestamp,
    ) -> Option<Self> {
        let path = series.strip_prefix("lookup:").unwrap_or(series);
        let (path, filter) =
            path.split_once('?').map_or((path, None), |(path, only)| (path, Some(only)));
        let mut parts = path.splitn(3, '/').map(str::to_owned);
        let (first, last) = (covered.first()?, covered.last()?);
        let gap = |two: &[(i64, i64)]| {
            let (from, to) = (two[0].1.checked_add(1)?, two[1].0.checked_sub(1)?);
            Some(Gap { from: second(from)?, to: second(to)? })
        };
        Some(Self {
            account: parts.next().unwrap_or_default(),
            region: parts.next().unwrap_or_default(),
            category: parts.next().unwrap_or_default(),
            filter: filter.map(str::to_owned),
            from: second(first.0)?,
            to: second(last.1)?,
            gaps: covered.windows(2).filter_map(gap).take(MAX_GAPS).collect(),
            gap_count: covered.len() as u64 - 1,
            records,
            lag_seconds: now.as_second().saturating_sub(last.1),
        })
    }
}

fn second(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}

/// Numbers of loaded, skipped and failed objects.
#[derive(Clone, Copy, Default)]
struct Objects {
    done: u64,
    skipped: u64,
    failed: u64,
}

impl Objects {
    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.skipped += other.skipped;
        self.failed += other.failed;
    }
}

/// Sums up loaded and failed objects by bucket and day.
pub(super) fn by_bucket(folders: &[LoadedFolder], failed: &[(String, u64)]) -> Vec<Bucket> {
    let mut buckets: BTreeMap<&str, (Objects, BTreeMap<String, Objects>)> = BTreeMap::new();
    let done = folders.iter().map(|folder| {
        let LoadedFolder { folder: source, partitions, skipped, .. } = folder;
        (source.as_str(), Objects { done: *partitions, skipped: *skipped, failed: 0 })
    });
    let failed = failed.iter().map(|(folder, partitions)| {
        (folder.as_str(), Objects { failed: *partitions, ..Objects::default() })
    });
    for (folder, objects) in done.chain(failed) {
        let Some(bucket) = bucket_of(folder) else { continue };
        let (sum, days) = buckets.entry(bucket).or_default();
        sum.add(objects);
        if let Some(day) = day_of(folder) {
            days.entry(day).or_default().add(objects);
        }
    }
    let summed = buckets.into_iter().map(|(bucket, (sum, days))| Bucket {
        bucket: bucket.to_owned(),
        loaded: sum.done,
        skipped: sum.skipped,
        failed: sum.failed,
        days: days
            .into_iter()
            .rev()
            .map(|(day, Objects { done, skipped, failed })| Day {
                day,
                loaded: done,
                skipped,
                failed,
            })
            .collect(),
    });
    summed.collect()
}

/// Returns the day at the end of a folder path, as CloudTrail writes it: `…/2024/06/01`.
fn day_of(folder: &str) -> Option<String> {
    let mut parts = folder.trim_end_matches('/').rsplitn(4, '/');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    (number(year, 4) && number(month, 2) && number(day, 2)).then(|| format!("{year}-{month}-{day}"))
}

/// Returns the `s3://BUCKET` that a key or a folder begins with.
fn bucket_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("s3://")?;
    // The ARN of an access point contains a slash before its name.
    let point = rest.strip_prefix("arn:").and_then(|_| rest.find("accesspoint/"));
    let from = point.map_or(0, |at| at + "accesspoint/".len());
    let end = rest[from..].find('/').map_or(rest.len(), |end| from + end);
    name.get(..name.len() - rest.len() + end)
}

fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn as_optional_text<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

/// Sums up folders in their parent folders until there are at most `most`.
///
/// CloudTrail creates a folder for each day, Region and account, which is too many to list.
pub(super) fn sum_up(folders: Vec<LoadedFolder>, limit: usize) -> Vec<LoadedFolder> {
    let mut folders = folders;
    let mut depth = folders.iter().map(|folder| depth_of(&folder.folder)).max().unwrap_or(0);
    while folders.len() > limit && depth > 0 {
        depth -= 1;
        folders = cut(folders, depth);
    }
    folders.sort_by(|one, other| one.folder.cmp(&other.folder));
    folders
}

fn depth_of(path: &str) -> usize {
    path.bytes().filter(|byte| *byte == b'/').count()
}

/// Sums up the folders whose paths are equal up to `depth` slashes.
fn cut(folders: Vec<LoadedFolder>, depth: usize) -> Vec<LoadedFolder> {
    let mut upper: BTreeMap<String, LoadedFolder> = BTreeMap::new();
    for mut folder in folders {
        if let Some((end, _)) = folder.folder.match_indices('/').nth(depth) {
            folder.folder.truncate(end);
        }
        match upper.get_mut(&folder.folder) {
            Some(sum) => sum.add(&folder),
            None => drop(upper.insert(folder.folder.clone(), folder)),
        }
    }
    upper.into_values().collect()
}

impl LoadedFolder {
    fn add(&mut self, other: &Self) {
        self.partitions += other.partitions;
        self.skipped += other.skipped;
        self.records += other.records;
        self.bytes += other.bytes;
        self.first_loaded = self.first_loaded.min(other.first_loaded);
        self.last_loaded = self.last_loaded.max(other.last_loaded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(source: &str, partitions: u64, done: i64) -> LoadedFolder {
        let at = Timestamp::from_second(done).unwrap();
        let (records, bytes) = (partitions * 10, partitions * 100);
        LoadedFolder {
            folder: source.to_owned(),
            partitions,
            skipped: 0,
            records,
            bytes,
            first_loaded: at,
            last_loaded: at,
        }
    }

    #[test]
    fn few_folders_stay_as_they_are() {
        let summed = sum_up(vec![folder("file:/b", 2, 5), folder("file:/a/deep/er", 1, 7)], 2);
        assert_eq!(summed, [folder("file:/a/deep/er", 1, 7), folder("file:/b", 2, 5)]);
    }

    #[test]
    fn many_days_are_gathered_and_still_add_up() {
        let days = (1..=30).flat_map(|day| {
            ["eu-west-1", "us-east-1"].map(|region| {
                folder(&format!("file:/trail/{region}/2024/06/{day:02}"), 2, 100 + day)
            })
        });
        let summed = sum_up(days.collect(), 20);
        let names: Vec<&str> = summed.iter().map(|source| source.folder.as_str()).collect();
        assert_eq!(names, ["file:/trail/eu-west-1/2024/06", "file:/trail/us-east-1/2024/06"]);
        assert_eq!(summed.iter().map(|source| source.partitions).sum::<u64>(), 120);
        assert_eq!(summed[0].first_loaded.as_second(), 101);
        assert_eq!(summed[0].last_loaded.as_second(), 130);
    }

    #[test]
    fn folders_without_anything_in_common_end_in_one() {
        let summed = sum_up((0..9).map(|n| folder(&format!("s{n}/x"), 1, 1)).collect(), 3);
        assert_eq!(summed.len(), 9, "they have no common parent");
        let summed = sum_up((0..9).map(|n| folder(&format!("file:/{n}"), 1, 1)).collect(), 3);
        assert_eq!(summed.len(), 1);
        assert_eq!(summed[0].folder, "file:");
    }
}
