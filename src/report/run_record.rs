//! What a load did, as a document in the index `PREFIX-runs`.
//!
//! Input: the [`Summary`] of a run. Output: a [`RunRecord`].
//! Invariant: its size is bounded, whatever the run read. The field names are those of `mappings/runs.json`.

use jiff::Timestamp;
use serde::Serialize;

use super::{Summary, metrics::RecordCounts};

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It follows its sources.
    Following,
    /// It has ended, with the exit code of its summary.
    Ended,
}

/// What a run is started by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunCommand {
    /// `trailload load`.
    Load,
    /// `trailload retry`.
    Retry,
    /// AWS Lambda: the invocations of a sandbox.
    Lambda,
}

/// Makes the records of one run. Each counts what happened since the one before, so that sums over records are right.
#[derive(Clone, Debug)]
pub struct RunRecorder {
    run: String,
    command: RunCommand,
    /// Number of the next record.
    number: u32,
    /// When the period of the next record starts.
    since: Timestamp,
    /// What earlier records have counted.
    counted: Counts,
}

/// The numbers that add up over the records of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Settled records and their documents. Those of a `retry` are dead letters of earlier runs.
    #[serde(flatten)]
    pub records: RecordCounts,
    /// Records with at least one change.
    pub rewritten: u64,
    /// Records whose event time is missing or invalid.
    pub undated: u64,
    /// Records outside of the time range.
    pub filtered: u64,
    /// Bytes of the records, uncompressed.
    pub bytes_read: u64,
    /// Inputs that could not be read to their end.
    pub failed_inputs: u64,
    /// Inputs that contain no CloudTrail events.
    pub foreign_inputs: u64,
}

impl Counts {
    fn of(command: RunCommand, summary: &Summary) -> Self {
        let records = match command {
            RunCommand::Load | RunCommand::Lambda => RecordCounts {
                read: summary.read,
                created: summary.created,
                duplicates: summary.duplicates,
                dead_letters: summary.dead_letters,
            },
            RunCommand::Retry => RecordCounts {
                read: summary.retried.documents,
                created: summary.retried.created,
                duplicates: summary.retried.duplicates,
                dead_letters: summary.retried.dead_letters,
            },
        };
        Self {
            records,
            rewritten: summary.rewritten,
            undated: summary.undated,
            filtered: summary.filtered,
            bytes_read: summary.bytes_read,
            failed_inputs: summary.failed,
            foreign_inputs: summary.foreign,
        }
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            records: self.records.since(earlier.records),
            rewritten: self.rewritten.saturating_sub(earlier.rewritten),
            undated: self.undated.saturating_sub(earlier.undated),
            filtered: self.filtered.saturating_sub(earlier.filtered),
            bytes_read: self.bytes_read.saturating_sub(earlier.bytes_read),
            failed_inputs: self.failed_inputs.saturating_sub(earlier.failed_inputs),
            foreign_inputs: self.foreign_inputs.saturating_sub(earlier.foreign_inputs),
        }
    }
}

impl RunRecorder {
    /// Creates a recorder for a run of `command` that started at `started`.
    pub fn new(command: RunCommand, started: Timestamp) -> Self {
        let run = format!("{:x}-{:016x}", started.as_millisecond(), fastrand::u64(..));
        Self { run, command, number: 0, since: started, counted: Counts::default() }
    }

    /// Returns a record of what happened since the one before.
    pub fn record(&mut self, summary: &Summary, state: RunState, now: Timestamp) -> RunRecord {
        let total = Counts::of(self.command, summary);
        let counts = total.since(self.counted);
        let seconds = (now.as_millisecond() - self.since.as_millisecond()).max(0);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a run")]
        let seconds = seconds as f64 / 1_000.0;
        let newest_event = Some(summary.newest_event)
            .filter(|time| *time != 0)
            .and_then(|time| Timestamp::from_millisecond(time).ok());
        let failures = summary.failures.iter();
        let failures = failures.map(|failure| format!("{}: {}", failure.about, failure.reason));
        let record = RunRecord {
            ended: now.to_string(),
            run: self.run.clone(),
            number: self.number,
            command: self.command,
            outcome: outcome(state, summary.exit),
            exit: (state == RunState::Ended).then_some(summary.exit),
            version: summary.version,
            engine: summary.engine.clone(),
            sources: bounded(summary.sources.iter().map(|source| source.name.clone())),
            started: self.since.to_string(),
            seconds,
            documents_per_second: super::format::per_second(
                counts.records.read,
                std::time::Duration::from_secs_f64(seconds),
            ),
            counts,
            missing_documents: summary.missing.iter().map(|index| index.documents).sum(),
            newest_event: newest_event.map(|time| time.to_string()),
            lag_seconds: newest_event.map(|newest| (now.as_second() - newest.as_second()).max(0)),
            failures: bounded(failures),
        };
        (self.number, self.since, self.counted) = (self.number + 1, now, total);
        record
    }
}

/// Maximum number of names and of failures in a record.
const MAX_TEXTS: usize = 20;

/// Maximum length of a name or failure, in characters.
const MAX_TEXT_CHARS: usize = 300;

/// What a run did, from its start or the record before to the next.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRecord {
    /// When the period ended, in RFC 3339 as all times.
    #[serde(rename = "@timestamp")]
    pub ended: String,
    /// The id of the run.
    pub run: String,
    /// The number of the record within the run, from 0.
    pub number: u32,
    /// The command.
    pub command: RunCommand,
    /// How the run ended, as a word for its exit code, or that it goes on.
    pub outcome: &'static str,
    /// The exit code, once the run has ended.
    pub exit: Option<u8>,
    /// Version of this program.
    pub version: &'static str,
    /// Distribution and version of the engine.
    pub engine: Option<String>,
    /// The SOURCE arguments, as given by the user.
    pub sources: Vec<String>,
    /// When the period of this record started.
    pub started: String,
    /// Its length in seconds.
    pub seconds: f64,
    /// What happened in it.
    #[serde(flatten)]
    pub counts: Counts,
    /// Records per second, averaged over it.
    pub documents_per_second: f64,
    /// Loaded documents that are missing from their index.
    pub missing_documents: u64,
    /// Time of the newest event of the run so far.
    pub newest_event: Option<String>,
    /// How far the newest event is behind the end of the period, in seconds.
    pub lag_seconds: Option<i64>,
    /// The first inputs that could not be read, with the cause.
    pub failures: Vec<String>,
}

impl RunRecord {
    /// Returns the id of the document.
    pub fn id(&self) -> String {
        format!("{}-{}", self.run, self.number)
    }
}

/// Returns a word for an exit code.
fn outcome(state: RunState, exit: u8) -> &'static str {
    match (state, exit) {
        (RunState::Following, _) => "following",
        (RunState::Ended, 0) => "complete",
        (RunState::Ended, 3) => "with exceptions",
        (RunState::Ended, 4) => "stopped early",
        (RunState::Ended, _) => "failed",
    }
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

    const STARTED: &str = "2024-06-01T12:00:30Z";

    fn metrics(sources: usize) -> Metrics {
        let name = |number| format!("s3://bucket-{number}/{}", "x".repeat(500));
        Metrics::new((0..sources).map(name))
    }

    fn load(metrics: &Metrics, records: u64) {
        let totals = RecordTotals {
            records,
            bytes: 900,
            rewritten: 2,
            newest_event: 1_717_243_200_000,
            ..RecordTotals::default()
        };
        metrics.add_read(0, totals);
        metrics.add_settled(0, totals);
        metrics.created.fetch_add(records, std::sync::atomic::Ordering::Relaxed);
    }

    fn summary(metrics: &Metrics, exit: u8) -> Summary {
        let facts = RunFacts { ending: RunEnd::Done, checkpoint: None };
        let mut summary = Summary::from_metrics(metrics, Duration::from_secs(30), &facts);
        summary.exit = exit;
        summary
    }

    #[test]
    fn each_record_counts_what_happened_since_the_one_before() {
        let metrics = metrics(1);
        let mut recorder = RunRecorder::new(RunCommand::Load, STARTED.parse().unwrap());
        load(&metrics, 5);
        let now = "2024-06-01T12:01:00Z".parse().unwrap();
        let first = recorder.record(&summary(&metrics, 0), RunState::Following, now);
        assert_eq!((first.lag_seconds, first.seconds), (Some(60), 30.0));
        assert_eq!((first.outcome, first.exit), ("following", None));
        assert_eq!((first.counts.records.created, first.counts.rewritten), (5, 2));
        load(&metrics, 3);
        let now = "2024-06-01T12:02:00Z".parse().unwrap();
        let second = recorder.record(&summary(&metrics, 3), RunState::Ended, now);
        assert_eq!(second.started, first.ended);
        assert_eq!((second.outcome, second.exit), ("with exceptions", Some(3)));
        assert_eq!((second.counts.records.created, second.counts.rewritten), (3, 2));
        assert_eq!(second.run, first.run);
        assert_ne!(second.id(), first.id());
    }

    #[test]
    fn a_retry_counts_the_dead_letters_that_it_sent() {
        let metrics = metrics(0);
        metrics.retried.created.store(5, std::sync::atomic::Ordering::Relaxed);
        metrics.retried.dead_letters.store(2, std::sync::atomic::Ordering::Relaxed);
        let mut recorder = RunRecorder::new(RunCommand::Retry, STARTED.parse().unwrap());
        let now = "2024-06-01T12:01:00Z".parse().unwrap();
        let record = recorder.record(&summary(&metrics, 3), RunState::Ended, now);
        let json = serde_json::to_value(record).unwrap();
        let counts = ["command", "read", "created", "dead_letters"].map(|name| json[name].clone());
        assert_eq!(Value::from(counts.to_vec()), serde_json::json!(["retry", 7, 5, 2]));
    }

    #[test]
    fn its_size_is_bounded_and_every_field_is_mapped() {
        let metrics = metrics(1_000);
        for number in 0..100 {
            metrics.add_failed(0, &format!("file {number}"), "cut off");
        }
        let mut recorder = RunRecorder::new(RunCommand::Load, STARTED.parse().unwrap());
        let now = STARTED.parse().unwrap();
        let record = recorder.record(&summary(&metrics, 3), RunState::Ended, now);
        let json = serde_json::to_value(record).unwrap();
        assert!(json.to_string().len() < 20_000);
        let template: Value =
            serde_json::from_str(include_str!("../../mappings/runs.json")).unwrap();
        let fields = |value: &Value| {
            value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>()
        };
        assert_eq!(fields(&json), fields(&template["mappings"]["properties"]));
    }
}
