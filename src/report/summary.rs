//! The totals of a run, as the last line of output and as a JSON file.
//!
//! Input: the counters after the run has ended. Output: one line, one file.
//! Invariant: read = created + duplicates + dead letters. Records that were read but not settled, because the run was
//! stopped or failed, are not part of `read`: they are reported as in flight, and the next run reads them again.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::{
    Metrics, format,
    metrics::{InputFailure, RetryMetrics, SourceMetrics},
    whole_file::write_whole,
};

/// An error while checking or writing the summary.
#[derive(Debug, Error)]
pub enum Error {
    /// The counters contradict each other. This is a bug, so the run must not be reported as a success.
    #[error(
        "the totals do not add up: {read} read, but {created} created + {duplicates} duplicates + {dead_letters} dead letters"
    )]
    Unbalanced {
        /// Records read.
        read: u64,
        /// Documents created.
        created: u64,
        /// Documents that were already in their index.
        duplicates: u64,
        /// Documents that were rejected.
        dead_letters: u64,
    },
    /// The file given with `--summary` cannot be written.
    #[error("could not write the summary to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Everything requested was read and settled.
    Done,
    /// The run was stopped by a signal.
    Stopped,
    /// The run was ended by an error.
    Failed,
    /// A dry run, which sends nothing.
    DryRun,
}

/// Facts about the end of a run that are not counters.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// How the run ended.
    pub ending: RunEnd,
    /// The checkpoint file, if any.
    pub checkpoint: Option<PathBuf>,
}

/// The totals of a run. The field names are stable, because scripts read the JSON form.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Settled records within the requested time range.
    pub read: u64,
    /// Documents that were created.
    pub created: u64,
    /// Documents that were already in their index.
    pub duplicates: u64,
    /// Documents that were rejected and stored as dead letters.
    pub dead_letters: u64,
    /// Dead letters of earlier runs that were sent again. They are not included in the numbers above.
    pub retried: RetrySummary,
    /// Records of `read` with at least one change: a renamed or repaired field.
    pub rewritten: u64,
    /// Records of `read` whose event time is missing or invalid. They are in the index `PREFIX-undated`.
    pub undated: u64,
    /// Bytes of the records of `read`, uncompressed.
    pub bytes_read: u64,
    /// Records per second, averaged over the run.
    pub documents_per_second: f64,
    /// Duration of the run in seconds.
    pub seconds: f64,
    /// Totals by SOURCE argument, in the order given.
    pub sources: Vec<SourceSummary>,
    /// The exit code; 0 until it is set.
    pub exit: u8,
    /// The checkpoint file, or null if there is none, as in a dry run before the first load.
    pub checkpoint: Option<String>,
    /// Distribution and version of the engine, or null if it was not reached.
    pub engine: Option<String>,
    /// Records outside of `--from` and `--to`.
    pub filtered: u64,
    /// Records that are older than the retention, which are not loaded.
    #[serde(skip_serializing_if = "is_zero")]
    pub expired: u64,
    /// Inputs that contain no CloudTrail events.
    pub foreign: u64,
    /// The first inputs that could not be read to their end, with the cause.
    pub failures: Vec<InputFailure>,
    /// Indices from which loaded documents are missing.
    pub missing: Vec<IncompleteIndex>,
    /// Version of this program.
    pub version: &'static str,
    /// Records that were read but not settled. The next run reads them again.
    #[serde(skip_serializing_if = "is_zero")]
    pub in_flight: u64,
    /// Duplicates whose id belongs to a different event in the index. The index keeps that event.
    #[serde(skip_serializing_if = "is_zero")]
    pub duplicates_differing: u64,
    /// Whether this was a dry run, which sends nothing.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// What became of alerts, if rules were evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerts: Option<Map<String, Value>>,
    /// Inputs skipped because an earlier run loaded them. JSON has this number for each source.
    #[serde(skip)]
    pub skipped: u64,
    /// Inputs that could not be read to their end. JSON has this number for each source.
    #[serde(skip)]
    pub failed: u64,
    /// Time of the newest settled event, in milliseconds since 1970; 0 if there is none.
    #[serde(skip)]
    pub newest_event: i64,
    /// How the run ended. JSON has the exit code instead.
    #[serde(skip)]
    pub ending: RunEnd,
}

/// An index from which loaded documents are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IncompleteIndex {
    /// The name of the index.
    pub index: String,
    /// Number of missing documents.
    pub documents: u64,
    /// Why they are missing: the index was `deleted`, `recreated` or `emptied`.
    pub reason: &'static str,
}

/// The outcome of sending dead letters again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RetrySummary {
    /// Number of documents that were sent: the sum of the others.
    pub documents: u64,
    /// Documents that were created.
    pub created: u64,
    /// Documents that were already in their index.
    pub duplicates: u64,
    /// Documents that were rejected again.
    pub dead_letters: u64,
}

impl RetrySummary {
    /// Returns the outcome with the sum of these numbers.
    pub fn new(created: u64, duplicates: u64, dead_letters: u64) -> Self {
        Self { documents: created + duplicates + dead_letters, created, duplicates, dead_letters }
    }
}

impl From<&RetryMetrics> for RetrySummary {
    fn from(metrics: &RetryMetrics) -> Self {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        Self::new(get(&metrics.created), get(&metrics.duplicates), get(&metrics.dead_letters))
    }
}

impl fmt::Display for RetrySummary {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = format::count;
        write!(
            to,
            "{} retried = {} created + {} duplicates + {} rejected again",
            format::plural(self.documents, "dead letter"),
            n(self.created),
            n(self.duplicates),
            n(self.dead_letters)
        )
    }
}

/// The totals of one SOURCE argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceSummary {
    /// The argument as given by the user.
    pub name: String,
    /// Inputs found.
    pub files: u64,
    /// Inputs read to their end.
    pub done: u64,
    /// Inputs skipped because an earlier run loaded them.
    pub skipped: u64,
    /// Inputs that contain no CloudTrail events.
    pub foreign: u64,
    /// Inputs that could not be read to their end.
    pub failed: u64,
    /// Its share of `read`.
    pub records: u64,
    /// Bytes of these records, uncompressed.
    pub bytes_read: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Summary {
    /// Returns the totals of a run that took `elapsed`. To be called after all counting has ended.
    pub fn from_metrics(metrics: &Metrics, elapsed: Duration, facts: &RunFacts) -> Self {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let counted = get(&metrics.read);
        let settled = get(&metrics.created) + get(&metrics.duplicates) + get(&metrics.dead_letters);
        // A run that has completed has nothing in flight. If it has, `check` must detect it.
        let cut_off = matches!(facts.ending, RunEnd::Stopped | RunEnd::Failed);
        let in_flight = if cut_off { counted.saturating_sub(settled) } else { 0 };
        let of = |all, settled| get(if cut_off { settled } else { all });
        let read = counted - in_flight;
        Self {
            read,
            created: get(&metrics.created),
            duplicates: get(&metrics.duplicates),
            dead_letters: get(&metrics.dead_letters),
            retried: RetrySummary::from(&metrics.retried),
            rewritten: of(&metrics.rewritten, &metrics.rewritten_settled),
            undated: of(&metrics.undated, &metrics.undated_settled),
            bytes_read: of(&metrics.bytes_read, &metrics.bytes_settled),
            documents_per_second: rounded(format::per_second(read, elapsed), 10.0),
            seconds: rounded(elapsed.as_secs_f64(), 1_000.0),
            sources: metrics
                .sources
                .iter()
                .map(|source| SourceSummary::of(source, cut_off))
                .collect(),
            exit: 0,
            alerts: None,
            checkpoint: facts.checkpoint.as_ref().map(|path| path.display().to_string()),
            engine: metrics.engine.get().cloned(),
            filtered: get(&metrics.filtered),
            expired: get(&metrics.expired),
            foreign: get(&metrics.sources_foreign),
            failures: metrics.failures(),
            missing: Vec::new(),
            version: env!("CARGO_PKG_VERSION"),
            in_flight,
            duplicates_differing: get(&metrics.duplicates_differing),
            dry_run: facts.ending == RunEnd::DryRun,
            skipped: get(&metrics.sources_skipped),
            failed: get(&metrics.sources_failed),
            newest_event: metrics.newest_event.load(Relaxed),
            ending: facts.ending,
        }
    }

    /// Checks that read = created + duplicates + dead letters. A dry run settles nothing and always passes.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Unbalanced`] if they differ, which is a bug.
    pub fn check(&self) -> Result<(), Error> {
        let Self { read, created, duplicates, dead_letters, .. } = *self;
        if self.dry_run || read == created + duplicates + dead_letters {
            return Ok(());
        }
        Err(Error::Unbalanced { read, created, duplicates, dead_letters })
    }

    /// Returns the fields of the JSON form.
    pub fn fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }

    /// Writes the JSON form atomically: to a temporary file, which is then renamed.
    ///
    /// A device or pipe such as `/dev/stdout` is written to directly, because renaming would replace it.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Write`] if the file cannot be written. An existing file is then unchanged.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let text = format!("{:#}\n", Value::Object(self.fields()));
        write_whole(path, text.as_bytes())
            .map_err(|source| Error::Write { path: path.to_owned(), source })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = format::count;
        match self.ending {
            RunEnd::Done => write!(to, "done: ")?,
            RunEnd::Stopped => write!(to, "stopped early: ")?,
            RunEnd::Failed => write!(to, "failed: ")?,
            RunEnd::DryRun => write!(to, "dry run: {} read, nothing sent; ", n(self.read))?,
        }
        if !self.dry_run {
            write!(
                to,
                "{} read = {} created + {} duplicates + {} dead letters; ",
                n(self.read),
                n(self.created),
                n(self.duplicates),
                n(self.dead_letters)
            )?;
        }
        if self.retried.documents > 0 {
            write!(to, "{}; ", self.retried)?;
        }
        if self.in_flight > 0 {
            write!(to, "{} more in flight, which the next run reads again; ", n(self.in_flight))?;
        }
        // Zero counts are omitted to keep the line short.
        for (number, what) in [
            (self.rewritten, "rewritten"),
            (self.duplicates_differing, "duplicates that differ"),
            (self.undated, "undated"),
            (self.filtered, "outside the time range"),
            (self.expired, "older than the retention"),
            (self.foreign, "not CloudTrail"),
            (self.failed, "failed"),
        ] {
            if number > 0 {
                write!(to, "{} {what}; ", n(number))?;
            }
        }
        if self.skipped > 0 {
            write!(to, "{} skipped (already loaded); ", format::plural(self.skipped, "file"))?;
        }
        write!(to, "{}", format::duration(Duration::from_secs_f64(self.seconds)))?;
        if self.read > 0 {
            write!(to, ", {} documents/s", n(format::round(self.documents_per_second)))?;
        }
        match &self.checkpoint {
            Some(checkpoint) => write!(to, "; checkpoint {checkpoint}"),
            None => Ok(()),
        }
    }
}

impl SourceSummary {
    /// Returns the totals of an argument. If the run was cut off, records in flight are excluded.
    fn of(source: &SourceMetrics, cut_off: bool) -> Self {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let of = |all, settled| get(if cut_off { settled } else { all });
        Self {
            name: source.name.clone(),
            files: get(&source.found),
            done: get(&source.done),
            skipped: get(&source.skipped),
            foreign: get(&source.foreign),
            failed: get(&source.failed),
            records: of(&source.records, &source.records_settled),
            bytes_read: of(&source.bytes_read, &source.bytes_settled),
        }
    }
}

fn rounded(number: f64, steps: f64) -> f64 {
    (number * steps).round() / steps
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::metrics::RecordTotals, *};

    fn metrics() -> Metrics {
        let metrics = Metrics::new(["trail/".to_owned()]);
        metrics.add_found(0, 900);
        metrics.add_read(
            0,
            RecordTotals {
                records: 12_345,
                bytes: 1_000_000,
                rewritten: 17,
                undated: 3,
                newest_event: 2,
            },
        );
        metrics.add_settled(
            0,
            RecordTotals {
                records: 11_345,
                bytes: 900_000,
                rewritten: 16,
                undated: 2,
                newest_event: 1,
            },
        );
        metrics.created.store(12_000, Relaxed);
        metrics.duplicates.store(340, Relaxed);
        metrics.dead_letters.store(5, Relaxed);
        metrics.sources_skipped.store(3, Relaxed);
        metrics.add_foreign(0);
        metrics.add_done(0);
        metrics
    }

    fn summary(metrics: &Metrics, ending: RunEnd) -> Summary {
        let facts = RunFacts { ending, checkpoint: Some("/state/a.sqlite".into()) };
        Summary::from_metrics(metrics, Duration::from_millis(4_200), &facts)
    }

    #[test]
    fn what_was_sent_again_is_counted_apart() {
        let metrics = metrics();
        metrics.retried.created.store(7, Relaxed);
        metrics.retried.duplicates.store(2, Relaxed);
        metrics.retried.dead_letters.store(1, Relaxed);
        let summary = summary(&metrics, RunEnd::Done);
        summary.check().unwrap();
        let line = summary.to_string();
        let told = "5 dead letters; 10 dead letters retried = 7 created + 2 duplicates + 1 rejected again; ";
        assert!(line.contains(told), "{line}");
        assert_eq!(summary.fields()["retried"]["documents"], 10);
    }

    #[test]
    fn the_last_line_adds_up() {
        let summary = summary(&metrics(), RunEnd::Done);
        summary.check().unwrap();
        assert_eq!(
            summary.to_string(),
            "done: 12,345 read = 12,000 created + 340 duplicates + 5 dead letters; 17 rewritten; 3 undated; \
             1 not CloudTrail; 3 files skipped (already loaded); 4.2 s, 2,939 documents/s; \
             checkpoint /state/a.sqlite"
        );
    }

    #[test]
    fn what_did_not_happen_is_left_out_of_the_last_line() {
        let summary = summary(&Metrics::new(["a".to_owned()]), RunEnd::Done);
        assert_eq!(
            summary.to_string(),
            "done: 0 read = 0 created + 0 duplicates + 0 dead letters; 4.2 s; \
             checkpoint /state/a.sqlite"
        );
    }

    #[test]
    fn a_run_that_does_not_add_up_is_a_bug() {
        let metrics = metrics();
        metrics.created.store(11_999, Relaxed);
        let error = summary(&metrics, RunEnd::Done).check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the totals do not add up: 12345 read, but 11999 created + 340 duplicates + 5 dead letters"
        );
    }

    #[test]
    fn what_was_in_flight_when_stopped_is_told_apart() {
        let metrics = metrics();
        metrics.created.store(11_000, Relaxed);
        for ending in [RunEnd::Stopped, RunEnd::Failed] {
            let summary = summary(&metrics, ending);
            summary.check().unwrap();
            assert_eq!((summary.read, summary.in_flight), (11_345, 1_000));
            assert_eq!((summary.bytes_read, summary.rewritten, summary.undated), (900_000, 16, 2));
            let source = &summary.sources[0];
            assert_eq!((source.records, source.bytes_read), (11_345, 900_000));
            assert!(
                summary
                    .to_string()
                    .contains("; 1,000 more in flight, which the next run reads again; ")
            );
            assert_eq!(summary.fields()["in_flight"], 1_000);
        }
        // More settled than read records are a bug, however the run ended.
        metrics.created.store(20_000, Relaxed);
        summary(&metrics, RunEnd::Stopped).check().unwrap_err();
    }

    #[test]
    fn a_dry_run_settles_nothing() {
        let metrics = Metrics::new(["a".to_owned()]);
        metrics.add_read(0, RecordTotals { records: 7, bytes: 700, ..RecordTotals::default() });
        metrics.filtered.store(2, Relaxed);
        let summary = summary(&metrics, RunEnd::DryRun);
        summary.check().unwrap();
        let line = summary.to_string();
        assert!(
            line.starts_with("dry run: 7 read, nothing sent; 2 outside the time range; 4.2 s"),
            "{line}"
        );
        assert_eq!(summary.fields()["dry_run"], true);
    }

    #[test]
    fn the_file_has_exactly_these_fields() {
        let metrics = metrics();
        metrics.engine.set("opensearch 3.8.0".to_owned()).unwrap();
        metrics.add_failed(0, "b.json", "cut off at byte 17");
        let fields = summary(&metrics, RunEnd::Done).fields();
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "read",
                "created",
                "duplicates",
                "dead_letters",
                "retried",
                "rewritten",
                "undated",
                "bytes_read",
                "documents_per_second",
                "seconds",
                "sources",
                "exit",
                "checkpoint",
                "engine",
                "filtered",
                "foreign",
                "failures",
                "missing",
                "version"
            ]
        );
        assert_eq!(fields["seconds"], 4.2);
        assert_eq!(fields["documents_per_second"], 2939.3);
        assert_eq!(fields["exit"], 0);
        assert_eq!(fields["engine"], "opensearch 3.8.0");
        assert_eq!(
            fields["sources"],
            serde_json::json!([{
                "name": "trail/", "files": 1, "done": 1, "skipped": 0, "foreign": 1, "failed": 1,
                "records": 12_345, "bytes_read": 1_000_000
            }])
        );
        assert_eq!(fields["failures"][0]["about"], "b.json");
        assert_eq!(fields["failures"][0]["reason"], "cut off at byte 17");
    }

    #[test]
    fn the_file_is_written_whole_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        fs::write(&path, "an earlier one").unwrap();
        let summary = summary(&metrics(), RunEnd::Done);
        summary.write(&path).unwrap();
        let read: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, Value::Object(summary.fields()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_a_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("real.json");
        fs::write(&target, "").unwrap();
        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let summary = summary(&metrics(), RunEnd::Done);
        summary.write(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&target).unwrap().starts_with('{'));
        let error = summary.write(folder.path()).unwrap_err();
        assert!(error.to_string().starts_with("could not write the summary to /"), "{error}");
        summary.write(&folder.path().join("absent/summary.json")).unwrap_err();
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        use std::os::unix::fs::FileTypeExt as _;
        summary(&metrics(), RunEnd::Done).write(Path::new("/dev/null")).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
}
