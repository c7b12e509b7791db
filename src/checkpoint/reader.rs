//! Answers what is done, beside a run that goes on: a second connection that only reads.
//!
//! It takes no lock and never waits for the writer (the file is in WAL mode). Each question sees
//! what is committed at that moment; no snapshot is held between two, or the WAL would grow.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::coverage::{Sure, covered};
use super::index_rows::{self, Fact};
use super::indices::Indices;
use super::status::{
    Coverage, Decision, Failure, Index, MissingDocuments, Run, Source, Status, by_bucket, gather,
};
use super::{
    Error, Retry, Waiting, causes, closed,
    frozen::{self, Copy},
    migrate, set_aside,
};
use crate::event::{Kept, Listed};
use crate::normalize::IndexBy;
use crate::report::summary::Retried;

/// How long to wait while another connection recovers the file after a crash.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs, reasons and folders told by [`Reader::status`]: what fits on a screen.
const ROWS_TOLD: u32 = 20;

/// Failures told by [`Reader::status`]; each is a thing to look at, so more than a screen.
const FAILURES_TOLD: u32 = 1000;

/// Reads a checkpoint file.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    /// Last, so that it outlives the connection.
    _copy: Option<Copy>,
}

impl Reader {
    /// Opens an existing checkpoint file to read it, without its lock.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Missing`] if there is no file, and other errors if it is not readable, not
    /// ours, damaged, or of another version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        look_at(path)?;
        let (connection, copy) = match Self::connect(path) {
            // Nothing can be written there, and SQLite would like to.
            Err(error @ (Error::ReadOnly { .. } | Error::Denied { .. })) => {
                frozen::open(path).map_err(|_| error)?
            }
            connected => (connected?, None),
        };
        match migrate::version(&connection, path)? {
            // A run is just making it, or its tables stand in a file that was not copied with it.
            0 => return Err(Error::Empty { path: path.to_owned() }),
            version if version < migrate::VERSION => {
                return Err(Error::Older { path: path.to_owned(), version });
            }
            _ => {}
        }
        Ok(Self { connection, path: path.to_owned(), _copy: copy })
    }

    /// Opens the file as it lies there, and looks whether it can be read so.
    fn connect(path: &Path) -> Result<Connection, Error> {
        let failed = |source| Error::sql(path, "open the tables", source);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        migrate::version(&connection, path)?;
        Ok(connection)
    }

    /// Returns the fingerprint with which a lane was done, as it was given then.
    ///
    /// With it the source sees that a file was only touched: same size, same hash, other time.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read any more.
    pub fn done_content(&self, key: &str) -> Result<Option<String>, Error> {
        let (folder, name) = split(key);
        self.connection
            .prepare_cached(
                "SELECT fingerprint FROM lanes WHERE name = ?2 \
                 AND folder = (SELECT id FROM folders WHERE path = ?1)",
            )
            .and_then(|mut statement| {
                statement.query_row([folder, name], |row| row.get(0)).optional()
            })
            .map_err(|source| Error::sql(&self.path, "look up a lane", source))
    }

    /// Returns the seconds of a series that need not be fetched again, as intervals that neither touch nor
    /// overlap, both ends included, the earliest first.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read any more.
    pub fn coverage(&self, series: &str) -> Result<Vec<(i64, i64)>, Error> {
        covered(&self.connection, series, Sure::Yes)
            .map_err(|source| Error::sql(&self.path, "look up what is covered", source))
    }

    /// Returns what the listing of a folder looked like when it was closed: all that it had then is done. The prefix
    /// ends with a slash.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read any more.
    pub fn closed(&self, prefix: &str) -> Result<Option<Listed>, Error> {
        closed::listed(&self.connection, prefix)
            .map_err(|source| Error::sql(&self.path, "look up a closed folder", source))
    }

    /// Returns the kinds that were decided for fields that no table knew, by path.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read any more.
    pub fn decisions(&self) -> Result<Vec<Decision>, Error> {
        decisions(&self.connection)
            .map_err(|source| Error::sql(&self.path, "read the decisions", source))
    }

    /// Returns the UUID of the cluster that the documents went to; `None` if no engine told it.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read any more.
    pub fn cluster(&self) -> Result<Option<String>, Error> {
        Fact::Cluster
            .read(&self.connection)
            .map_err(|source| Error::sql(&self.path, "read about the engine", source))
    }

    /// Returns how documents are spread over indices; `None` if nothing was loaded yet.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read any more.
    pub fn index_by(&self) -> Result<Option<IndexBy>, Error> {
        Fact::IndexBy
            .read(&self.connection)
            .map(|word| word.and_then(|word| IndexBy::named(&word)))
            .map_err(|source| Error::sql(&self.path, "read how indices are made", source))
    }

    /// Returns the indices that documents went to, and what is missing of them.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read any more.
    pub fn indices(&self) -> Result<Indices, Error> {
        index_rows::read(&self.connection)
            .map_err(|source| Error::sql(&self.path, "read the indices", source))
    }

    /// Returns the indices that refused documents for their content, and what refused them.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read any more.
    pub fn refusals(&self) -> Result<Vec<(String, String)>, Error> {
        set_aside::refusals(&self.connection).map_err(|source| self.failed_retry(source))
    }

    /// Returns at most `most` documents behind `after` that are to be sent again. `unchanged` are those of
    /// [`refusals`](Self::refusals) that would refuse them again.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read any more.
    pub fn waiting(
        &self,
        retry: Retry,
        unchanged: &[(String, String)],
        after: i64,
        most: u32,
    ) -> Result<Vec<Waiting>, Error> {
        set_aside::waiting(&self.connection, retry, unchanged, after, most)
            .map_err(|source| self.failed_retry(source))
    }

    /// Returns what is kept of a document that is to be sent again.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read any more.
    pub fn kept(&self, waiting: &Waiting) -> Result<Option<Kept>, Error> {
        set_aside::kept(&self.connection, waiting.number)
            .map_err(|source| self.failed_retry(source))
    }

    fn failed_retry(&self, source: rusqlite::Error) -> Error {
        Error::sql(&self.path, "read the set-aside documents", source)
    }

    /// Returns all that there is to tell `now`.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read any more.
    pub fn status(&self, now: Timestamp) -> Result<Status, Error> {
        status(&self.connection, now)
            .map_err(|source| Error::sql(&self.path, "read the status", source))
    }
}

/// Splits a lane's key at its last slash into folder and name, as the tables hold it.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

/// Looks whether there is a file to read: SQLite has one error for all of this.
///
/// Without opening it: closing it again would free the locks that SQLite holds in this process.
fn look_at(path: &Path) -> Result<(), Error> {
    let owned = || path.to_owned();
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(Error::IsFolder { path: owned() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::Missing { path: owned() }),
        Err(source) => Err(Error::Open { path: owned(), source }),
    }
}

fn status(connection: &Connection, now: Timestamp) -> rusqlite::Result<Status> {
    // One read transaction: the numbers of one moment, so that they add up.
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
        lanes_done: folders.iter().map(|folder| folder.lanes).sum(),
        lanes_skipped: folders.iter().map(|folder| folder.skipped).sum(),
        lanes_failed: count(&snapshot, "SELECT count(*) FROM failures")?,
        records: folders.iter().map(|folder| folder.records).sum(),
        bytes: folders.iter().map(|folder| folder.bytes).sum(),
        coverage: coverage(&snapshot, now)?,
        buckets: by_bucket(&folders, &failed_objects(&snapshot)?),
        sources: gather(folders, ROWS_TOLD as usize),
        failures: failures(&snapshot)?,
        set_aside: causes::read(&snapshot, ROWS_TOLD as usize)?,
        cluster: Fact::Cluster.read(&snapshot)?,
        indices: Index::of(&indices),
        missing: MissingDocuments::of(&indices),
        decisions: decisions(&snapshot)?,
    };
    snapshot.finish()?;
    Ok(status)
}

fn folders(connection: &Connection) -> rusqlite::Result<Vec<Source>> {
    let mut statement = connection.prepare(
        // Lanes of a closed folder that were read again are in its row already.
        "SELECT folders.path, count(*) - sum(skipped), sum(records), \
         sum(bytes * (1 - skipped)), min(done), max(done), sum(skipped) \
         FROM lanes JOIN folders ON folders.id = lanes.folder \
         WHERE folders.path || '/' NOT IN (SELECT prefix FROM closed) GROUP BY lanes.folder \
         UNION ALL SELECT substr(prefix, 1, length(prefix) - 1), inputs - skipped, records, \
         bytes, first_done, last_done, skipped FROM closed",
    )?;
    let row = |row: &Row<'_>| {
        Ok(Source {
            source: row.get(0)?,
            lanes: number(row, 1)?,
            records: number(row, 2)?,
            bytes: number(row, 3)?,
            first_done: time(row, 4)?,
            last_done: time(row, 5)?,
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
    let mut told = Vec::with_capacity(series.len());
    for (name, records) in series {
        told.extend(Coverage::of(&name, &covered(connection, &name, Sure::No)?, records, now));
    }
    Ok(told)
}

/// Returns the folders in which objects failed, and how many did.
fn failed_objects(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut statement = connection.prepare(
        // What ends with letters that are no slash, without them.
        "SELECT rtrim(lane, replace(lane, '/', '')) AS folder, count(*) FROM failures \
         WHERE lane LIKE 's3://%' GROUP BY folder",
    )?;
    statement.query_map([], |row| Ok((row.get(0)?, number(row, 1)?)))?.collect()
}

fn runs(connection: &Connection) -> rusqlite::Result<Vec<Run>> {
    let mut statement = connection.prepare(
        "SELECT started, ended, exit_code, read, created, already_there, set_aside, \
         lanes_done, lanes_failed, lanes_skipped, retried_created, retried_already_there, \
         retried_set_aside FROM runs ORDER BY id DESC LIMIT ?1",
    )?;
    let row = |row: &Row<'_>| {
        let ended: Option<i64> = row.get(1)?;
        Ok(Run {
            started: time(row, 0)?,
            ended: ended.map(|_| time(row, 1)).transpose()?,
            exit: row.get(2)?,
            read: number(row, 3)?,
            created: number(row, 4)?,
            already_there: number(row, 5)?,
            set_aside: number(row, 6)?,
            lanes_done: number(row, 7)?,
            lanes_failed: number(row, 8)?,
            lanes_skipped: number(row, 9)?,
            retried: Retried::new(number(row, 10)?, number(row, 11)?, number(row, 12)?),
        })
    };
    statement.query_map([ROWS_TOLD], row)?.collect()
}

fn failures(connection: &Connection) -> rusqlite::Result<Vec<Failure>> {
    let mut statement = connection.prepare(
        "SELECT name, cause, position, records, tries, at FROM failures \
         ORDER BY at DESC, name LIMIT ?1",
    )?;
    let row = |row: &Row<'_>| {
        let offset: Option<i64> = row.get(2)?;
        Ok(Failure {
            name: row.get(0)?,
            cause: row.get(1)?,
            offset: offset.map(|_| number(row, 2)).transpose()?,
            records: number(row, 3)?,
            tries: number(row, 4)?,
            at: time(row, 5)?,
        })
    };
    statement.query_map([FAILURES_TOLD], row)?.collect()
}

fn decisions(connection: &Connection) -> rusqlite::Result<Vec<Decision>> {
    let mut statement =
        connection.prepare("SELECT path, kind, why, decided FROM decisions ORDER BY path")?;
    let row = |row: &Row<'_>| {
        Ok(Decision {
            path: row.get(0)?,
            kind: row.get(1)?,
            why: row.get(2)?,
            decided: time(row, 3)?,
        })
    };
    statement.query_map([], row)?.collect()
}

fn count(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    connection.query_row(sql, [], |row| number(row, 0))
}

/// Returns a count; no count is negative in a file that we wrote.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let milliseconds: i64 = row.get(column)?;
    Timestamp::from_millisecond(milliseconds)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, milliseconds))
}
