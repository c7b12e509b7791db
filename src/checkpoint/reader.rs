//! Queries a checkpoint file, also while a run is writing it.
//!
//! Input: the path of an existing file. Output: what is loaded and covered, dead letters to retry, and [`Status`].
//! Invariant: a reader takes no lock, writes nothing, and never waits for the writer (the file is in WAL mode). Each query
//! sees the data committed at that moment; no snapshot is held between queries, because it would keep the WAL from being
//! truncated.
//! Deliberately not here: writing (see `store`) and formatting (see `cli`).

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::alerts::{
    ActionStatus, Delivery, DeliveryRows, RuleStatus, UndeliveredAlert, UndeliveredEvent,
    undelivered_events,
};
use super::coverage::{Finality, covered};
use super::index_rows::{self, MetaKey};
use super::indices::LoadedIndices;
use super::status::{
    Coverage, DiscoveredField, FailedPartition, Failures, IndexLoss, IndexStatus, LoadedFolder,
    RunStatus, Status, by_bucket, sum_up,
};
use super::values::{number, optional_number, time};
use super::{
    Error, RetryCandidate, RetrySelection, complete_folders, dead_letter_groups, dead_letters,
    input_groups, migrate,
    read_only::{self, TemporaryCopy},
    source_states,
};
use crate::event::{DeadLetterContent, FinishedPartition, ListingSummary};
use crate::normalize::IndexBy;
use crate::report::summary::RetrySummary;

/// Maximum time to wait while another connection recovers the file after a crash.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of runs, reasons and folders in [`CheckpointReader::status`]: one screen.
const MAX_ROWS: u32 = 20;

/// A read-only connection to a checkpoint file.
#[derive(Debug)]
pub struct CheckpointReader {
    connection: Connection,
    path: PathBuf,
    /// Last field, so that the copy is deleted after the connection is closed.
    _copy: Option<TemporaryCopy>,
}

impl CheckpointReader {
    /// Opens an existing checkpoint file read-only, without locking it.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NotFound`] if the file does not exist, and other errors if it is not readable, damaged, or of
    /// another program or schema version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        check_exists(path)?;
        let (connection, copy) = match Self::connect(path) {
            // The directory is read-only, and SQLite needs to create files in it.
            Err(error @ (Error::ReadOnly { .. } | Error::Denied { .. })) => {
                read_only::open(path).map_err(|_| error)?
            }
            connected => (connected?, None),
        };
        match migrate::version(&connection, path)? {
            // A run is just creating it, or it was copied without its `-wal` file, which holds the tables.
            0 => return Err(Error::Empty { path: path.to_owned() }),
            version if version < migrate::VERSION => {
                return Err(Error::Older { path: path.to_owned(), version });
            }
            _ => {}
        }
        Ok(Self { connection, path: path.to_owned(), _copy: copy })
    }

    /// Opens the file in place and checks that it can be read.
    fn connect(path: &Path) -> Result<Connection, Error> {
        let failed = |source| Error::from_sqlite(path, "open the database", source);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        migrate::version(&connection, path)?;
        Ok(connection)
    }

    /// Returns at most `limit` deliveries of an action that are to be made, in the order of their numbers, starting after the number
    /// `after`. Deliveries whose alert is not committed are not among them.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn pending_deliveries(
        &self,
        action: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        DeliveryRows::new(&self.connection)
            .pending(action, after, limit)
            .map_err(|source| Error::from_sqlite(&self.path, "read the pending deliveries", source))
    }

    /// Returns at most `limit` alerts that could not be delivered, the first ones first.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn undelivered_alerts(&self, limit: usize) -> Result<Vec<UndeliveredAlert>, Error> {
        DeliveryRows::new(&self.connection).dead_letters(limit).map_err(|source| {
            Error::from_sqlite(&self.path, "read the alerts that were not delivered", source)
        })
    }

    /// Returns the alerts that are pending or dead letters, without those that the user accepted.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn undelivered_events(&self) -> Result<Vec<UndeliveredEvent>, Error> {
        undelivered_events(&self.connection).map_err(|source| {
            Error::from_sqlite(&self.path, "read the alerts that were not delivered", source)
        })
    }

    /// Returns the address at which the state of alerts is shared with other processes, if it is.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn shared_alerts(&self) -> Result<Option<String>, Error> {
        MetaKey::AlertState.read(&self.connection).map_err(|source| {
            Error::from_sqlite(&self.path, "read the address of the alert state", source)
        })
    }

    /// Returns the deliveries of each action, by name.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn action_status(&self) -> Result<Vec<ActionStatus>, Error> {
        DeliveryRows::new(&self.connection)
            .actions()
            .map_err(|source| Error::from_sqlite(&self.path, "count the deliveries", source))
    }

    /// Returns what each rule has raised, by name.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn rule_status(&self) -> Result<Vec<RuleStatus>, Error> {
        DeliveryRows::new(&self.connection)
            .rules()
            .map_err(|source| Error::from_sqlite(&self.path, "count the alerts", source))
    }

    /// Returns the fingerprint of a loaded partition, or `None` if it is not loaded.
    ///
    /// Sources compare it to detect a file whose modification time changed but whose size and hash did not.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn loaded_fingerprint(&self, key: &str) -> Result<Option<String>, Error> {
        Ok(self.finished_partition(key)?.map(|finished| finished.fingerprint))
    }

    /// Returns what an earlier run recorded of a partition that it finished, or `None` if none did.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn finished_partition(&self, key: &str) -> Result<Option<FinishedPartition>, Error> {
        let (folder, name) = split(key);
        self.connection
            .prepare_cached(
                "SELECT fingerprint, skipped IS NOT NULL FROM partitions WHERE name = ?2 \
                 AND folder = (SELECT id FROM folders WHERE path = ?1)",
            )
            .and_then(|mut statement| {
                let finished = |row: &Row<'_>| {
                    Ok(FinishedPartition { fingerprint: row.get(0)?, is_foreign: row.get(1)? })
                };
                statement.query_row([folder, name], finished).optional()
            })
            .map_err(|source| Error::from_sqlite(&self.path, "look up a partition", source))
    }

    /// Returns the intervals of a series that need not be fetched again, in seconds of the Unix epoch, both ends included,
    /// earliest first. They neither touch nor overlap.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn coverage(&self, series: &str) -> Result<Vec<(i64, i64)>, Error> {
        covered(&self.connection, series, Finality::Final)
            .map_err(|source| Error::from_sqlite(&self.path, "look up the coverage", source))
    }

    /// Returns the listing of a folder at the time when all of its partitions were loaded, or `None` if the folder is not
    /// complete. `prefix` ends with a slash.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn complete_folder(&self, prefix: &str) -> Result<Option<ListingSummary>, Error> {
        complete_folders::stored_listing(&self.connection, prefix)
            .map_err(|source| Error::from_sqlite(&self.path, "look up a folder", source))
    }

    /// Returns the discovered fields, ordered by path.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn discovered_fields(&self) -> Result<Vec<DiscoveredField>, Error> {
        discovered_fields(&self.connection)
            .map_err(|source| Error::from_sqlite(&self.path, "read the discovered fields", source))
    }

    /// Returns the UUID of the cluster that documents were sent to, or `None` if no cluster has reported one.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn cluster(&self) -> Result<Option<String>, Error> {
        MetaKey::ClusterUuid
            .read(&self.connection)
            .map_err(|source| Error::from_sqlite(&self.path, "read the metadata", source))
    }

    /// Returns the period that each index covers, or `None` if nothing has been loaded yet.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn index_by(&self) -> Result<Option<IndexBy>, Error> {
        MetaKey::IndexBy
            .read(&self.connection)
            .map(|word| word.and_then(|word| IndexBy::from_name(&word)))
            .map_err(|source| Error::from_sqlite(&self.path, "read the metadata", source))
    }

    /// Returns the indices that documents were sent to, and the documents missing from them.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn indices(&self) -> Result<LoadedIndices, Error> {
        index_rows::read(&self.connection)
            .map_err(|source| Error::from_sqlite(&self.path, "read the indices", source))
    }

    /// Returns the indices that rejected documents because of their content, each with the version of program, rules and
    /// mapping that did.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn rejections(&self) -> Result<Vec<(String, String)>, Error> {
        dead_letters::rejections(&self.connection).map_err(|source| self.dead_letter_error(source))
    }

    /// Returns at most `most` dead letters to send again, starting after row `after`. `unchanged` are the
    /// [`rejections`](Self::rejections) whose version is still current.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn retry_candidates(
        &self,
        retry: RetrySelection,
        unchanged: &[(String, String)],
        after: i64,
        limit: u32,
    ) -> Result<Vec<RetryCandidate>, Error> {
        dead_letters::retry_candidates(&self.connection, retry, unchanged, after, limit)
            .map_err(|source| self.dead_letter_error(source))
    }

    /// Returns the keys of the partitions of which the latest run kept dead letters.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn partitions_with_dead_letters(&self) -> Result<BTreeSet<String>, Error> {
        dead_letters::partitions_of_latest_run(&self.connection)
            .map_err(|source| self.dead_letter_error(source))
    }

    /// Returns the content of a dead letter.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn dead_letter_content(
        &self,
        candidate: &RetryCandidate,
    ) -> Result<Option<DeadLetterContent>, Error> {
        dead_letters::content(&self.connection, candidate.row)
            .map_err(|source| self.dead_letter_error(source))
    }

    fn dead_letter_error(&self, source: rusqlite::Error) -> Error {
        Error::from_sqlite(&self.path, "read the dead letters", source)
    }

    /// Returns the status as of `now`. `failures` selects whether failed partitions are also listed by name.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn status(&self, now: Timestamp, failures: Failures) -> Result<Status, Error> {
        status(&self.connection, now, failures)
            .map_err(|source| Error::from_sqlite(&self.path, "read the status", source))
    }
}

/// Splits a partition's key at its last slash into folder and name, as the tables store it.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

/// Checks that the path is an existing file, because SQLite reports every problem with the same error.
///
/// The file is not opened: closing it would release the POSIX locks that SQLite holds on it in this process.
fn check_exists(path: &Path) -> Result<(), Error> {
    let owned = || path.to_owned();
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(Error::IsFolder { path: owned() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound { path: owned() }),
        Err(source) => Err(Error::Open { path: owned(), source }),
    }
}

fn status(connection: &Connection, now: Timestamp, failures: Failures) -> rusqlite::Result<Status> {
    // One read transaction, so that all numbers are of the same moment and add up.
    let snapshot = connection.unchecked_transaction()?;
    let folders = folders(&snapshot)?;
    let indices = index_rows::read(&snapshot)?;
    let status = Status {
        target: snapshot
            .query_row("SELECT value FROM meta WHERE name = 'target'", [], |row| row.get(0))?,
        created: snapshot.query_row(
            "SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'created'",
            [],
            |row| time(row, 0),
        )?,
        runs: runs(&snapshot)?,
        partitions_loaded: folders.iter().map(|folder| folder.partitions).sum(),
        partitions_skipped: folders.iter().map(|folder| folder.skipped).sum(),
        partitions_failed: count(&snapshot, "SELECT count(*) FROM failed_partitions")?,
        records: folders.iter().map(|folder| folder.records).sum(),
        bytes: folders.iter().map(|folder| folder.bytes).sum(),
        coverage: coverage(&snapshot, now)?,
        buckets: by_bucket(&folders, &failed_objects(&snapshot)?),
        folders: sum_up(folders, MAX_ROWS as usize),
        failure_causes: input_groups::failed(&snapshot)?,
        skip_causes: input_groups::skipped(&snapshot)?,
        failures: match failures {
            Failures::Causes => Vec::new(),
            Failures::All => failed_partitions(&snapshot)?,
        },
        dead_letters: dead_letter_groups::read(&snapshot, MAX_ROWS as usize)?,
        cluster: MetaKey::ClusterUuid.read(&snapshot)?,
        indices: IndexStatus::from_indices(&indices),
        missing: IndexLoss::from_indices(&indices),
        discovered_fields: discovered_fields(&snapshot)?,
        sources: source_states::read(&snapshot, now)?,
    };
    snapshot.finish()?;
    Ok(status)
}

fn folders(connection: &Connection) -> rusqlite::Result<Vec<LoadedFolder>> {
    let mut statement = connection.prepare(
        // Partitions of a complete folder that were read again are already counted in its row.
        "SELECT folders.path, count(*) - count(skipped), sum(records), \
         sum(iif(skipped IS NULL, bytes, 0)), min(loaded), max(loaded), count(skipped) \
         FROM partitions JOIN folders ON folders.id = partitions.folder \
         WHERE folders.path || '/' NOT IN (SELECT prefix FROM complete_folders) GROUP BY partitions.folder \
         UNION ALL SELECT substr(prefix, 1, length(prefix) - 1), inputs - skipped, records, \
         bytes, first_loaded, last_loaded, skipped FROM complete_folders",
    )?;
    let row = |row: &Row<'_>| {
        Ok(LoadedFolder {
            folder: row.get(0)?,
            partitions: number(row, 1)?,
            records: number(row, 2)?,
            bytes: number(row, 3)?,
            first_loaded: time(row, 4)?,
            last_loaded: time(row, 5)?,
            skipped: number(row, 6)?,
        })
    };
    statement.query_map([], row)?.collect()
}

fn coverage(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Coverage>> {
    let mut statement = connection.prepare("SELECT name, records FROM series ORDER BY name")?;
    let series: Vec<(String, u64)> = statement
        .query_map([], |row| Ok((row.get(0)?, number(row, 1)?)))?
        .collect::<Result<_, _>>()?;
    let mut coverage = Vec::with_capacity(series.len());
    for (name, records) in series {
        coverage.extend(Coverage::from_intervals(
            &name,
            &covered(connection, &name, Finality::Provisional)?,
            records,
            now,
        ));
    }
    Ok(coverage)
}

/// Returns the number of failed objects by folder.
fn failed_objects(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut statement = connection.prepare(
        // Strips everything after the last slash: trailing characters other than a slash are removed.
        "SELECT rtrim(partition_key, replace(partition_key, '/', '')) AS folder, count(*) FROM failed_partitions \
         WHERE partition_key LIKE 's3://%' GROUP BY folder",
    )?;
    statement.query_map([], |row| Ok((row.get(0)?, number(row, 1)?)))?.collect()
}

fn runs(connection: &Connection) -> rusqlite::Result<Vec<RunStatus>> {
    let mut statement = connection.prepare(
        "SELECT started, ended, exit_code, read, created, duplicates, dead_letters, \
         partitions_loaded, partitions_failed, partitions_skipped, retried_created, retried_duplicates, \
         retried_dead_letters FROM runs ORDER BY id DESC LIMIT ?1",
    )?;
    let row = |row: &Row<'_>| {
        let ended: Option<i64> = row.get(1)?;
        Ok(RunStatus {
            started: time(row, 0)?,
            ended: ended.map(|_| time(row, 1)).transpose()?,
            exit: row.get(2)?,
            read: number(row, 3)?,
            created: number(row, 4)?,
            duplicates: number(row, 5)?,
            dead_letters: number(row, 6)?,
            partitions_loaded: number(row, 7)?,
            partitions_failed: number(row, 8)?,
            partitions_skipped: number(row, 9)?,
            retried: RetrySummary::new(number(row, 10)?, number(row, 11)?, number(row, 12)?),
        })
    };
    statement.query_map([MAX_ROWS], row)?.collect()
}

fn failed_partitions(connection: &Connection) -> rusqlite::Result<Vec<FailedPartition>> {
    let mut statement = connection.prepare(
        "SELECT name, cause, position, records, attempts, failed FROM failed_partitions \
         ORDER BY failed DESC, name",
    )?;
    let row = |row: &Row<'_>| {
        Ok(FailedPartition {
            name: row.get(0)?,
            cause: row.get(1)?,
            offset: optional_number(row, 2)?,
            records: number(row, 3)?,
            attempts: number(row, 4)?,
            failed: time(row, 5)?,
        })
    };
    statement.query_map([], row)?.collect()
}

fn discovered_fields(connection: &Connection) -> rusqlite::Result<Vec<DiscoveredField>> {
    let mut statement = connection
        .prepare("SELECT path, kind, origin, discovered FROM discovered_fields ORDER BY path")?;
    let row = |row: &Row<'_>| {
        Ok(DiscoveredField {
            path: row.get(0)?,
            kind: row.get(1)?,
            origin: row.get(2)?,
            discovered: time(row, 3)?,
        })
    };
    statement.query_map([], row)?.collect()
}

fn count(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    connection.query_row(sql, [], |row| number(row, 0))
}
