//! What `trailload status` tells, as data. The names of the fields are a promise to scripts.
//!
//! In: rows, from [`Reader`](super::Reader). Absent on purpose: SQL, and how it looks on a screen.

use std::collections::BTreeMap;

use super::indices::Indices;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::report::summary::Retried;

/// What is safe so far, what was set aside and why, and what was learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The engine and the index prefix that the file belongs to.
    pub target: String,
    /// When the file was made.
    #[serde(serialize_with = "as_text")]
    pub created: Timestamp,
    /// The latest runs, the last one first.
    pub runs: Vec<Run>,
    /// Lanes (files) that are loaded.
    pub lanes_done: u64,
    /// Lanes that were read to their end and hold no CloudTrail.
    pub lanes_skipped: u64,
    /// Lanes that were read with errors.
    pub lanes_failed: u64,
    /// Records of the loaded lanes.
    pub records: u64,
    /// Bytes of the loaded lanes, as they lie on disk.
    pub bytes: u64,
    /// The done lanes by folder; deep trees are gathered in their upper folders.
    pub sources: Vec<Source>,
    /// What of CloudTrail's event history is covered, by account, Region and category.
    pub coverage: Vec<Coverage>,
    /// The objects by bucket.
    pub buckets: Vec<Bucket>,
    /// The lanes that were read with errors, the latest first; not all if there are very many.
    pub failures: Vec<Failure>,
    /// Documents that did not go in.
    pub set_aside: SetAside,
    /// The UUID of the cluster that the documents went to, if the engine told it.
    pub cluster: Option<String>,
    /// The indices that the documents went to.
    pub indices: Vec<Index>,
    /// The indices that lack documents that were loaded into them, as the last run found them.
    pub missing: Vec<MissingDocuments>,
    /// Kinds of fields that no table knew.
    pub decisions: Vec<Decision>,
}

/// An index that documents went to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Index {
    /// Its name, as documents were sent to it.
    pub name: String,
    /// The engine's own name for it, if it told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// Documents that were new in it.
    pub created: u64,
    /// Documents that it held already; what came twice counts twice.
    pub already_there: u64,
    /// Documents that it held when the engine was asked last, if it told.
    pub held: Option<u64>,
}

/// Documents that were in an index and are there no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingDocuments {
    /// The index.
    pub index: String,
    /// How many.
    pub documents: u64,
    /// What happened to them: `deleted`, `recreated`, `emptied`.
    pub why: &'static str,
    /// When it was noticed.
    #[serde(serialize_with = "as_text")]
    pub found: Timestamp,
    /// When the user accepted it; nothing as long as it keeps runs from exit 0.
    #[serde(serialize_with = "as_optional_text")]
    pub accepted: Option<Timestamp>,
}

impl Index {
    pub(super) fn of(indices: &Indices) -> Vec<Self> {
        let indices = indices.known.iter().map(|(name, known)| Self {
            name: name.clone(),
            uuid: known.identity.uuid.clone(),
            created: known.created,
            already_there: known.already_there,
            held: known.held,
        });
        indices.collect()
    }
}

impl MissingDocuments {
    pub(super) fn of(indices: &Indices) -> Vec<Self> {
        let time = |milliseconds| Timestamp::from_millisecond(milliseconds).ok();
        let missing = indices.missing.iter().map(|(name, missing)| Self {
            index: name.clone(),
            documents: missing.documents,
            why: missing.why.as_str(),
            found: time(missing.found).unwrap_or_default(),
            accepted: missing.accepted.and_then(time),
        });
        missing.collect()
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// When it started.
    #[serde(serialize_with = "as_text")]
    pub started: Timestamp,
    /// When it ended; nothing if it is going on or was killed.
    #[serde(serialize_with = "as_optional_text")]
    pub ended: Option<Timestamp>,
    /// Its exit code.
    pub exit: Option<u8>,
    /// Records read.
    pub read: u64,
    /// Documents new in the index.
    pub created: u64,
    /// Documents that were in the index already.
    pub already_there: u64,
    /// Documents set aside.
    pub set_aside: u64,
    /// Lanes that it loaded.
    pub lanes_done: u64,
    /// Lanes that it read to their end and that hold no CloudTrail.
    pub lanes_skipped: u64,
    /// Lanes that it read with errors.
    pub lanes_failed: u64,
    /// Documents that were set aside before and sent again. They are in none of the other numbers.
    pub retried: Retried,
}

/// The done lanes of one folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The folder, with the kind of source before it: `file:/var/trail`.
    pub source: String,
    /// Lanes that are loaded.
    pub lanes: u64,
    /// Lanes that were read to their end and hold no CloudTrail.
    pub skipped: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the first of them was done.
    #[serde(serialize_with = "as_text")]
    pub first_done: Timestamp,
    /// When the last of them was done.
    #[serde(serialize_with = "as_text")]
    pub last_done: Timestamp,
}

/// What of one series is covered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The account.
    pub account: String,
    /// The Region.
    pub region: String,
    /// What is fetched of it: `management`, `insight`.
    pub category: String,
    /// Only those events, if not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The first second that is covered.
    #[serde(serialize_with = "as_text")]
    pub from: Timestamp,
    /// The last second that is covered.
    #[serde(serialize_with = "as_text")]
    pub to: Timestamp,
    /// What is missing between them, the earliest first; not all if there are very many.
    pub gaps: Vec<Gap>,
    /// How many gaps there are.
    pub gap_count: u64,
    /// Records that were read for it; what was fetched again counts again.
    pub records: u64,
    /// Seconds from the last one that is covered to the moment that it was asked for.
    pub lag_seconds: i64,
}

/// A stretch of time that is not covered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first second that is missing.
    #[serde(serialize_with = "as_text")]
    pub from: Timestamp,
    /// The last second that is missing.
    #[serde(serialize_with = "as_text")]
    pub to: Timestamp,
}

/// The objects of one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// `s3://` and its name.
    pub bucket: String,
    /// Objects that are loaded.
    pub done: u64,
    /// Objects that were read to their end and hold no CloudTrail.
    pub skipped: u64,
    /// Objects that could not be had, or were read with errors.
    pub failed: u64,
    /// The same by the day that their keys name, the latest first.
    pub days: Vec<Day>,
}

/// The objects of one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Day {
    /// The day, as `2024-06-01`.
    pub day: String,
    /// Objects that are loaded.
    pub done: u64,
    /// Objects that were read to their end and hold no CloudTrail.
    pub skipped: u64,
    /// Objects that could not be had, or were read with errors.
    pub failed: u64,
}

/// A lane that was read with errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What a person knows it by.
    pub name: String,
    /// What was wrong.
    pub cause: String,
    /// Where, in bytes from the start, if known.
    pub offset: Option<u64>,
    /// Records that were read before.
    pub records: u64,
    /// How many runs failed at it.
    pub tries: u64,
    /// When it failed last.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
}

/// The documents that did not go in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// How many there are, accepted ones included.
    pub documents: u64,
    /// Those of which a person said that they may stay out.
    pub accepted: u64,
    /// By cause, the most frequent first; not all if there are very many causes.
    pub reasons: Vec<Reason>,
}

/// The documents that did not go in for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What has to change: the `content` is refused, or an `index`, a `pipeline` or a `limit` keeps them out.
    pub cause: String,
    /// The reason, without ids and values of documents.
    pub reason: String,
    /// How many documents, accepted ones included.
    pub documents: u64,
    /// Those of them that are accepted.
    pub accepted: u64,
    /// Some of them.
    pub examples: Vec<Document>,
}

/// A document that did not go in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Document {
    /// The index it was meant for.
    pub index: String,
    /// Its id.
    pub id: String,
    /// Key of the lane it came from.
    pub lane: String,
    /// When it was set aside.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// The reason, as it was given for this document.
    pub reason: String,
}

/// The kind of a field that no table knew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The field's path.
    pub path: String,
    /// Its kind.
    pub kind: String,
    /// Who decided.
    pub why: String,
    /// When.
    #[serde(serialize_with = "as_text")]
    pub decided: Timestamp,
}

/// Gaps that are told of one series.
const GAPS_TOLD: usize = 100;

impl Coverage {
    /// Returns what is covered of a series, by intervals that neither touch nor overlap, the earliest first; nothing
    /// if there are none, or if they lie beyond any calendar.
    pub(super) fn of(
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
            gaps: covered.windows(2).filter_map(gap).take(GAPS_TOLD).collect(),
            gap_count: covered.len() as u64 - 1,
            records,
            lag_seconds: now.as_second().saturating_sub(last.1),
        })
    }
}

fn second(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}

/// How many objects are loaded, skipped and failed.
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

/// Adds up the done objects of folders by their bucket and day, and puts those that failed beside them.
pub(super) fn by_bucket(folders: &[Source], failed: &[(String, u64)]) -> Vec<Bucket> {
    let mut buckets: BTreeMap<&str, (Objects, BTreeMap<String, Objects>)> = BTreeMap::new();
    let done = folders.iter().map(|folder| {
        let Source { source, lanes, skipped, .. } = folder;
        (source.as_str(), Objects { done: *lanes, skipped: *skipped, failed: 0 })
    });
    let failed = failed
        .iter()
        .map(|(folder, lanes)| (folder.as_str(), Objects { failed: *lanes, ..Objects::default() }));
    for (folder, objects) in done.chain(failed) {
        let Some(bucket) = bucket_of(folder) else { continue };
        let (sum, days) = buckets.entry(bucket).or_default();
        sum.add(objects);
        if let Some(day) = day_of(folder) {
            days.entry(day).or_default().add(objects);
        }
    }
    let told = buckets.into_iter().map(|(bucket, (sum, days))| Bucket {
        bucket: bucket.to_owned(),
        done: sum.done,
        skipped: sum.skipped,
        failed: sum.failed,
        days: days
            .into_iter()
            .rev()
            .map(|(day, Objects { done, skipped, failed })| Day { day, done, skipped, failed })
            .collect(),
    });
    told.collect()
}

/// Returns the day that the end of a folder names, as CloudTrail writes it: `…/2024/06/01`.
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
    // The name of an access point stands behind a slash of its own.
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

/// Gathers folders in their upper folders until there are at most `most` of them.
///
/// CloudTrail makes a folder a day, region and account: told one by one, nobody would read them.
pub(super) fn gather(folders: Vec<Source>, most: usize) -> Vec<Source> {
    let mut gathered = folders;
    let mut depth = gathered.iter().map(|folder| depth_of(&folder.source)).max().unwrap_or(0);
    while gathered.len() > most && depth > 0 {
        depth -= 1;
        gathered = cut(gathered, depth);
    }
    gathered.sort_by(|one, other| one.source.cmp(&other.source));
    gathered
}

fn depth_of(path: &str) -> usize {
    path.bytes().filter(|byte| *byte == b'/').count()
}

/// Adds up the folders that are the same down to `depth` slashes.
fn cut(folders: Vec<Source>, depth: usize) -> Vec<Source> {
    let mut upper: BTreeMap<String, Source> = BTreeMap::new();
    for mut folder in folders {
        if let Some((end, _)) = folder.source.match_indices('/').nth(depth) {
            folder.source.truncate(end);
        }
        match upper.get_mut(&folder.source) {
            Some(sum) => sum.add(&folder),
            None => drop(upper.insert(folder.source.clone(), folder)),
        }
    }
    upper.into_values().collect()
}

impl Source {
    fn add(&mut self, other: &Self) {
        self.lanes += other.lanes;
        self.skipped += other.skipped;
        self.records += other.records;
        self.bytes += other.bytes;
        self.first_done = self.first_done.min(other.first_done);
        self.last_done = self.last_done.max(other.last_done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(source: &str, lanes: u64, done: i64) -> Source {
        let at = Timestamp::from_second(done).unwrap();
        let (records, bytes) = (lanes * 10, lanes * 100);
        Source {
            source: source.to_owned(),
            lanes,
            skipped: 0,
            records,
            bytes,
            first_done: at,
            last_done: at,
        }
    }

    #[test]
    fn few_folders_stay_as_they_are() {
        let told = gather(vec![folder("file:/b", 2, 5), folder("file:/a/deep/er", 1, 7)], 2);
        assert_eq!(told, [folder("file:/a/deep/er", 1, 7), folder("file:/b", 2, 5)]);
    }

    #[test]
    fn many_days_are_gathered_and_still_add_up() {
        let days = (1..=30).flat_map(|day| {
            ["eu-west-1", "us-east-1"].map(|region| {
                folder(&format!("file:/trail/{region}/2024/06/{day:02}"), 2, 100 + day)
            })
        });
        let told = gather(days.collect(), 20);
        let names: Vec<&str> = told.iter().map(|source| source.source.as_str()).collect();
        assert_eq!(names, ["file:/trail/eu-west-1/2024/06", "file:/trail/us-east-1/2024/06"]);
        assert_eq!(told.iter().map(|source| source.lanes).sum::<u64>(), 120);
        assert_eq!(told[0].first_done.as_second(), 101);
        assert_eq!(told[0].last_done.as_second(), 130);
    }

    #[test]
    fn folders_without_anything_in_common_end_in_one() {
        let told = gather((0..9).map(|n| folder(&format!("s{n}/x"), 1, 1)).collect(), 3);
        assert_eq!(told.len(), 9, "nothing in common to gather them in");
        let told = gather((0..9).map(|n| folder(&format!("file:/{n}"), 1, 1)).collect(), 3);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].source, "file:");
    }
}
