//! What a load did, as a document in the index `PREFIX-runs`.
//!
//! Input: the [`Summary`] of a run. Output: a [`RunRecord`].
//! Invariant: its size is bounded, whatever the run read. The field names are those of `mappings/runs.json`.

use jiff::Timestamp;
use serde::Serialize;

use super::Summary;

/// Maximum number of names and of failures in a record.
const MAX_TEXTS: usize = 20;

/// Maximum length of a name or failure, in characters.
const MAX_TEXT_CHARS: usize = 300;

/// What a run did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRecord {
    /// When the run ended, in RFC 3339 as all times.
    #[serde(rename = "@timestamp")]
    pub ended: String,
    /// The id of the run, which is the id of the document too.
    pub run: String,
    /// The command.
    pub command: &'static str,
    /// How the run ended, as a word for its exit code.
    pub outcome: &'static str,
    /// The exit code.
    pub exit: u8,
    /// Version of this program.
    pub version: &'static str,
    /// Distribution and version of the engine.
    pub engine: Option<String>,
    /// The SOURCE arguments, as given by the user.
    pub sources: Vec<String>,
    /// When the run started.
    pub started: String,
    /// Duration of the run in seconds.
    pub seconds: f64,
    /// Settled records within the requested time range.
    pub read: u64,
    /// Documents that were created.
    pub created: u64,
    /// Documents that were already in their index.
    pub duplicates: u64,
    /// Documents that were rejected and stored as dead letters.
    pub dead_letters: u64,
    /// Records with at least one change.
    pub rewritten: u64,
    /// Records whose event time is missing or invalid.
    pub undated: u64,
    /// Records outside of the time range.
    pub filtered: u64,
    /// Bytes of the records, uncompressed.
    pub bytes_read: u64,
    /// Records per second, averaged over the run.
    pub documents_per_second: f64,
    /// Inputs that could not be read to their end.
    pub failed_inputs: u64,
    /// Inputs that contain no CloudTrail events.
    pub foreign_inputs: u64,
    /// Loaded documents that are missing from their index.
    pub missing_documents: u64,
    /// Time of the newest event.
    pub newest_event: Option<String>,
    /// How far the newest event is behind the end of the run, in seconds.
    pub lag_seconds: Option<i64>,
    /// The first inputs that could not be read, with the cause.
    pub failures: Vec<String>,
}

impl RunRecord {
    /// Returns the record of a run of `command` that ended at `ended`.
    pub fn new(summary: &Summary, command: &'static str, ended: Timestamp) -> Self {
        let newest_event = Some(summary.newest_event)
            .filter(|time| *time != 0)
            .and_then(|time| Timestamp::from_millisecond(time).ok());
        let lag_seconds =
            newest_event.map(|newest| (ended.as_second() - newest.as_second()).max(0));
        let started = ended.as_millisecond().saturating_sub(milliseconds(summary.seconds));
        let failures = summary.failures.iter();
        let failures = failures.map(|failure| format!("{}: {}", failure.about, failure.reason));
        Self {
            ended: ended.to_string(),
            run: format!("{:x}-{:016x}", ended.as_millisecond(), fastrand::u64(..)),
            command,
            outcome: outcome(summary.exit),
            exit: summary.exit,
            version: summary.version,
            engine: summary.engine.clone(),
            sources: bounded(summary.sources.iter().map(|source| source.name.clone())),
            started: Timestamp::from_millisecond(started).unwrap_or(ended).to_string(),
            seconds: summary.seconds,
            read: summary.read,
            created: summary.created,
            duplicates: summary.duplicates,
            dead_letters: summary.dead_letters,
            rewritten: summary.rewritten,
            undated: summary.undated,
            filtered: summary.filtered,
            bytes_read: summary.bytes_read,
            documents_per_second: summary.documents_per_second,
            failed_inputs: summary.failed,
            foreign_inputs: summary.foreign,
            missing_documents: summary.missing.iter().map(|index| index.documents).sum(),
            newest_event: newest_event.map(|time| time.to_string()),
            lag_seconds,
            failures: bounded(failures),
        }
    }
}

/// Returns a word for an exit code.
fn outcome(exit: u8) -> &'static str {
    match exit {
        0 => "complete",
        3 => "with exceptions",
        4 => "stopped early",
        _ => "failed",
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the duration of a run")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1_000.0) as i64
}

fn bounded(texts: impl Iterator<Item = String>) -> Vec<String> {
    let cut = |text: String| match text.char_indices().nth(MAX_TEXT_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    };
    texts.take(MAX_TEXTS).map(cut).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use serde_json::Value;

    use super::*;
    use crate::report::{
        Metrics,
        metrics::RecordTotals,
        summary::{RunEnd, RunFacts},
    };

    fn record(sources: usize) -> RunRecord {
        let metrics = Metrics::new(
            (0..sources).map(|number| format!("s3://bucket-{number}/{}", "x".repeat(500))),
        );
        let totals = RecordTotals {
            records: 5,
            bytes: 900,
            rewritten: 2,
            newest_event: 1_717_243_200_000,
            ..RecordTotals::default()
        };
        metrics.add_read(0, totals);
        metrics.add_settled(0, totals);
        metrics.created.store(5, std::sync::atomic::Ordering::Relaxed);
        for number in 0..100 {
            metrics.add_failed(0, &format!("file {number}"), "cut off");
        }
        let facts = RunFacts { ending: RunEnd::Done, checkpoint: None };
        let mut summary = Summary::from_metrics(&metrics, Duration::from_secs(30), &facts);
        summary.exit = 3;
        RunRecord::new(&summary, "load", "2024-06-01T12:01:00Z".parse().unwrap())
    }

    #[test]
    fn a_record_has_the_lag_and_the_outcome() {
        let record = record(1);
        assert_eq!(record.lag_seconds, Some(60));
        assert_eq!(record.started, "2024-06-01T12:00:30Z");
        assert_eq!((record.outcome, record.created, record.rewritten), ("with exceptions", 5, 2));
    }

    #[test]
    fn its_size_is_bounded_and_every_field_is_mapped() {
        let json = serde_json::to_value(record(1_000)).unwrap();
        assert!(json.to_string().len() < 20_000);
        let template: Value =
            serde_json::from_str(include_str!("../../mappings/runs.json")).unwrap();
        let fields = |value: &Value| {
            value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>()
        };
        assert_eq!(fields(&json), fields(&template["mappings"]["properties"]));
    }
}
