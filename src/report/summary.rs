//! The numbers at the end of a run, as its last line and as a JSON file.
//!
//! In: the counters when everything has ended. Out: one line, one file.
//! Holds: read = created + already there + set aside. Records that were read but whose fate is not
//! known (the run was stopped or failed) are not in `read`; they are told apart as in flight, and
//! the next run reads them again.

use std::{
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::{
    Tally, figures,
    tally::{Failed, RetriedTally, SourceTally},
};

/// Why a summary cannot be given.
#[derive(Debug, Error)]
pub enum Error {
    /// The counters contradict each other: a bug, so the run must not look like a success.
    #[error(
        "the numbers do not add up: {read} read, but {created} created + {already_there} already there + {set_aside} set aside"
    )]
    Unbalanced {
        /// Records read.
        read: u64,
        /// Documents created.
        created: u64,
        /// Documents that were in the index.
        already_there: u64,
        /// Documents set aside.
        set_aside: u64,
    },
    /// The file of `--summary` cannot be written.
    #[error("could not write the summary to {}", path.display())]
    Write {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything asked for was read and settled.
    Done,
    /// A signal came first; what was in flight was drained or left.
    Stopped,
    /// An error came first.
    Failed,
    /// Nothing was to be sent.
    DryRun,
}

/// What the counters do not know about the end of a run.
#[derive(Clone, Debug)]
pub struct Facts {
    /// How it came.
    pub ending: Ending,
    /// Where the positions are stored, if they are.
    pub checkpoint: Option<PathBuf>,
}

/// The numbers of a run. Field names are part of the command line's contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Records in the range asked for whose fate is known.
    pub read: u64,
    /// Documents new in the index.
    pub created: u64,
    /// Documents that the index held already.
    pub already_there: u64,
    /// Documents that could not go in.
    pub set_aside: u64,
    /// Documents that earlier runs had set aside and that this run sent again; they are in none of the numbers above.
    pub retried: Retried,
    /// Records of `read` in which something was renamed or repaired.
    pub rewritten: u64,
    /// Records of `read` whose time cannot be read, or cannot be: `PREFIX-undated` has them.
    pub undated: u64,
    /// Bytes of the records of `read`, uncompressed.
    pub bytes_read: u64,
    /// Records a second, over the whole run.
    pub documents_per_second: f64,
    /// How long the run took.
    pub seconds: f64,
    /// The same for each SOURCE word, in the order given.
    pub sources: Vec<SourceSummary>,
    /// The exit code; 0 until it is decided.
    pub exit: u8,
    /// The checkpoint file; null if there is none, as in a dry run before the first load.
    pub checkpoint: Option<String>,
    /// Flavour and version of the engine; null if it was not reached.
    pub engine: Option<String>,
    /// Records outside `--from`/`--to`.
    pub filtered: u64,
    /// Files that are no CloudTrail.
    pub foreign: u64,
    /// The first files that could not be read to their end, with the reason.
    pub failures: Vec<Failed>,
    /// The indices that lack documents that were loaded into them.
    pub missing: Vec<Lacking>,
    /// Version of this program.
    pub version: &'static str,
    /// Records read whose fate is not known; the next run reads them again.
    #[serde(skip_serializing_if = "is_zero")]
    pub in_flight: u64,
    /// Events under whose id the index holds another one. It stays there.
    #[serde(skip_serializing_if = "is_zero")]
    pub duplicates_differing: u64,
    /// Whether nothing was to be sent.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// Files skipped because an earlier run finished them; in JSON this stands with each source.
    #[serde(skip)]
    pub skipped: u64,
    /// Files that could not be read to their end; in JSON this stands with each source.
    #[serde(skip)]
    pub failed: u64,
    /// How the run came to its end; in JSON the exit code says it.
    #[serde(skip)]
    pub ending: Ending,
}

/// An index that lacks documents that were loaded into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lacking {
    /// Its name.
    pub index: String,
    /// How many documents are missing.
    pub documents: u64,
    /// What happened to them: `deleted`, `recreated`, `emptied`.
    pub why: &'static str,
}

/// What became of documents that were sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retried {
    /// How many were sent: the sum of the others.
    pub documents: u64,
    /// Those that are new in the index.
    pub created: u64,
    /// Those that were in the index already.
    pub already_there: u64,
    /// Those that stay set aside.
    pub set_aside: u64,
}

impl Retried {
    /// Returns the numbers with their sum.
    pub fn new(created: u64, already_there: u64, set_aside: u64) -> Self {
        Self { documents: created + already_there + set_aside, created, already_there, set_aside }
    }
}

impl From<&RetriedTally> for Retried {
    fn from(tally: &RetriedTally) -> Self {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        Self::new(get(&tally.created), get(&tally.already_there), get(&tally.set_aside))
    }
}

impl fmt::Display for Retried {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = figures::count;
        write!(
            to,
            "{} tried again = {} created + {} already there + {} set aside",
            n(self.documents),
            n(self.created),
            n(self.already_there),
            n(self.set_aside)
        )
    }
}

/// The numbers of one SOURCE word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceSummary {
    /// The word as typed.
    pub name: String,
    /// Files found.
    pub files: u64,
    /// Files read to their end.
    pub done: u64,
    /// Files an earlier run had finished.
    pub skipped: u64,
    /// Files that are no CloudTrail.
    pub foreign: u64,
    /// Files that could not be read to their end.
    pub failed: u64,
    /// Its part of `read`.
    pub records: u64,
    /// Their bytes, uncompressed.
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
    /// Returns the numbers of a run that took `elapsed`. Call it when nothing counts any more.
    pub fn of(tally: &Tally, elapsed: Duration, facts: &Facts) -> Self {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let counted = get(&tally.read);
        let settled = get(&tally.created) + get(&tally.already_there) + get(&tally.set_aside);
        // A run that is done has nothing in flight; if it has, `check` must see it.
        let cut_off = matches!(facts.ending, Ending::Stopped | Ending::Failed);
        let in_flight = if cut_off { counted.saturating_sub(settled) } else { 0 };
        let of = |all, settled| get(if cut_off { settled } else { all });
        let read = counted - in_flight;
        Self {
            read,
            created: get(&tally.created),
            already_there: get(&tally.already_there),
            set_aside: get(&tally.set_aside),
            retried: Retried::from(&tally.retried),
            rewritten: of(&tally.rewritten, &tally.rewritten_settled),
            undated: of(&tally.undated, &tally.undated_settled),
            bytes_read: of(&tally.bytes_read, &tally.bytes_settled),
            documents_per_second: rounded(figures::per_second(read, elapsed), 10.0),
            seconds: rounded(elapsed.as_secs_f64(), 1_000.0),
            sources: tally
                .sources
                .iter()
                .map(|source| SourceSummary::of(source, cut_off))
                .collect(),
            exit: 0,
            checkpoint: facts.checkpoint.as_ref().map(|path| path.display().to_string()),
            engine: tally.engine.get().cloned(),
            filtered: get(&tally.filtered),
            foreign: get(&tally.sources_foreign),
            failures: tally.failures(),
            missing: Vec::new(),
            version: env!("CARGO_PKG_VERSION"),
            in_flight,
            duplicates_differing: get(&tally.duplicates_differing),
            dry_run: facts.ending == Ending::DryRun,
            skipped: get(&tally.sources_skipped),
            failed: get(&tally.sources_failed),
            ending: facts.ending,
        }
    }

    /// Checks that read = created + already there + set aside. A dry run settles nothing.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Unbalanced`] if it does not; then the run is a bug, not a success.
    pub fn check(&self) -> Result<(), Error> {
        let Self { read, created, already_there, set_aside, .. } = *self;
        if self.dry_run || read == created + already_there + set_aside {
            return Ok(());
        }
        Err(Error::Unbalanced { read, created, already_there, set_aside })
    }

    /// Returns the fields of the JSON form.
    pub fn fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }

    /// Writes the JSON form, whole or not at all: to a file beside it, which is then renamed.
    ///
    /// A device or pipe (`/dev/stdout`) is written to directly; renaming would replace it.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Write`] if the file cannot be written; an earlier one is then untouched.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let text = format!("{:#}\n", Value::Object(self.fields()));
        write_whole(path, text.as_bytes())
            .map_err(|source| Error::Write { path: path.to_owned(), source })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = figures::count;
        match self.ending {
            Ending::Done => write!(to, "done: ")?,
            Ending::Stopped => write!(to, "stopped early: ")?,
            Ending::Failed => write!(to, "failed: ")?,
            Ending::DryRun => write!(to, "dry run: {} read, nothing sent; ", n(self.read))?,
        }
        if !self.dry_run {
            write!(
                to,
                "{} read = {} created + {} already there + {} set aside; ",
                n(self.read),
                n(self.created),
                n(self.already_there),
                n(self.set_aside)
            )?;
        }
        if self.retried.documents > 0 {
            write!(to, "{}; ", self.retried)?;
        }
        if self.in_flight > 0 {
            write!(to, "{} more in flight, to be read again; ", n(self.in_flight))?;
        }
        // What did not happen is not told: the line is long enough.
        for (number, what) in [
            (self.rewritten, "rewritten"),
            (self.duplicates_differing, "duplicates that differ"),
            (self.undated, "undated"),
            (self.filtered, "outside the time range"),
            (self.foreign, "not CloudTrail"),
            (self.failed, "failed"),
        ] {
            if number > 0 {
                write!(to, "{} {what}; ", n(number))?;
            }
        }
        if self.skipped > 0 {
            write!(to, "{} skipped (done before); ", figures::counted(self.skipped, "file"))?;
        }
        write!(to, "{}", figures::duration(Duration::from_secs_f64(self.seconds)))?;
        if self.read > 0 {
            write!(to, ", {} documents/s", n(figures::whole(self.documents_per_second)))?;
        }
        match &self.checkpoint {
            Some(checkpoint) => write!(to, "; checkpoint {checkpoint}"),
            None => Ok(()),
        }
    }
}

impl SourceSummary {
    /// Returns the numbers of a word; of a run that was cut off without what is in flight.
    fn of(source: &SourceTally, cut_off: bool) -> Self {
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

fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    // A link is followed, so that the rename replaces what it points to and not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
        return fs::OpenOptions::new().write(true).open(&target)?.write_all(text);
    }
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = target.with_file_name(name);
    let written = write_part(&part, text).and_then(|()| fs::rename(&part, &target));
    if written.is_err() {
        // What went wrong is the error; a leftover only takes space.
        let _ = fs::remove_file(&part);
    }
    written
}

fn write_part(part: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(part)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{super::tally::Amount, *};

    fn tally() -> Tally {
        let tally = Tally::new(["trail/".to_owned()]);
        tally.found(0, 900);
        tally.taken(0, Amount { records: 12_345, bytes: 1_000_000, rewritten: 17, undated: 3 });
        tally.settled(0, Amount { records: 11_345, bytes: 900_000, rewritten: 16, undated: 2 });
        tally.created.store(12_000, Relaxed);
        tally.already_there.store(340, Relaxed);
        tally.set_aside.store(5, Relaxed);
        tally.sources_skipped.store(3, Relaxed);
        tally.foreign(0);
        tally.done(0);
        tally
    }

    fn summary(tally: &Tally, ending: Ending) -> Summary {
        let facts = Facts { ending, checkpoint: Some("/state/a.sqlite".into()) };
        Summary::of(tally, Duration::from_millis(4_200), &facts)
    }

    #[test]
    fn what_was_sent_again_is_counted_apart() {
        let tally = tally();
        tally.retried.created.store(7, Relaxed);
        tally.retried.already_there.store(2, Relaxed);
        tally.retried.set_aside.store(1, Relaxed);
        let summary = summary(&tally, Ending::Done);
        summary.check().unwrap();
        let line = summary.to_string();
        let told = "5 set aside; 10 tried again = 7 created + 2 already there + 1 set aside; ";
        assert!(line.contains(told), "{line}");
        assert_eq!(summary.fields()["retried"]["documents"], 10);
    }

    #[test]
    fn the_last_line_adds_up() {
        let summary = summary(&tally(), Ending::Done);
        summary.check().unwrap();
        assert_eq!(
            summary.to_string(),
            "done: 12,345 read = 12,000 created + 340 already there + 5 set aside; 17 rewritten; 3 undated; \
             1 not CloudTrail; 3 files skipped (done before); 4.2 s, 2,939 documents/s; \
             checkpoint /state/a.sqlite"
        );
    }

    #[test]
    fn what_did_not_happen_is_left_out_of_the_last_line() {
        let summary = summary(&Tally::new(["a".to_owned()]), Ending::Done);
        assert_eq!(
            summary.to_string(),
            "done: 0 read = 0 created + 0 already there + 0 set aside; 4.2 s; \
             checkpoint /state/a.sqlite"
        );
    }

    #[test]
    fn a_run_that_does_not_add_up_is_a_bug() {
        let tally = tally();
        tally.created.store(11_999, Relaxed);
        let error = summary(&tally, Ending::Done).check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the numbers do not add up: 12345 read, but 11999 created + 340 already there + 5 set aside"
        );
    }

    #[test]
    fn what_was_in_flight_when_stopped_is_told_apart() {
        let tally = tally();
        tally.created.store(11_000, Relaxed);
        for ending in [Ending::Stopped, Ending::Failed] {
            let summary = summary(&tally, ending);
            summary.check().unwrap();
            assert_eq!((summary.read, summary.in_flight), (11_345, 1_000));
            assert_eq!((summary.bytes_read, summary.rewritten, summary.undated), (900_000, 16, 2));
            let source = &summary.sources[0];
            assert_eq!((source.records, source.bytes_read), (11_345, 900_000));
            assert!(summary.to_string().contains("; 1,000 more in flight, to be read again; "));
            assert_eq!(summary.fields()["in_flight"], 1_000);
        }
        // More settled than read is a bug however the run ended.
        tally.created.store(20_000, Relaxed);
        summary(&tally, Ending::Stopped).check().unwrap_err();
    }

    #[test]
    fn a_dry_run_settles_nothing() {
        let tally = Tally::new(["a".to_owned()]);
        tally.taken(0, Amount { records: 7, bytes: 700, ..Amount::default() });
        tally.filtered.store(2, Relaxed);
        let summary = summary(&tally, Ending::DryRun);
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
        let tally = tally();
        tally.engine.set("opensearch 3.8.0".to_owned()).unwrap();
        tally.failed(0, "b.json", "cut off at byte 17");
        let fields = summary(&tally, Ending::Done).fields();
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "read",
                "created",
                "already_there",
                "set_aside",
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
        let summary = summary(&tally(), Ending::Done);
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
        let summary = summary(&tally(), Ending::Done);
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
        summary(&tally(), Ending::Done).write(Path::new("/dev/null")).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
}
