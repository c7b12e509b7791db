//! Writes down what is safe: all SQL that changes the checkpoint file, on a thread of its own.
//!
//! In: [`Note`]s. Out: one transaction for many of them, in which coverage, done lanes and
//! set-aside documents stand together.
//! Holds: the lock, for as long as it lives. A failed write ends the run at once; what was not
//! committed is rolled back and will be read again.
//! Absent on purpose: any decision what is safe. That is [`Ledger`]'s.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::closed::{self, Closing, Waiting};
use super::coverage::cover;
use super::index_rows::{self, Fact};
use super::indices::Indices;
use super::ledger::{Finished, Ledger, Step};
use super::lock::Lock;
use super::reader::split;
use super::target::is_same;
use super::{Ended, Error, Note, Outstanding, Retried, Totals, file, set_aside};
use crate::event::{Lane, LaneNumber, Receipt, SetAside};
use crate::normalize::IndexBy;

/// The longest that a change waits for its commit. Short for a person who looks at `status`, long
/// enough that a slow disk (10 ms a sync) costs the store's thread a twentieth of its time.
const COMMIT_AFTER: Duration = Duration::from_millis(200);

/// Changes that are committed without waiting any longer, so that a group stays within a few
/// hundred kilobytes and a crash repeats little.
const CHANGES_TOGETHER: u32 = 2000;

/// Folder numbers kept in memory; neighbours in time are neighbours in folder, so few do.
const FOLDERS_KEPT: usize = 1024;

/// The one writer of a checkpoint file.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// The row of this run.
    run: i64,
    /// The wall clock when the file was opened, and the clock that tells how long ago that was.
    opened: (Timestamp, Instant),
    ledger: Ledger,
    totals: Totals,
    /// Numbers of folders that were met lately.
    folders: HashMap<String, i64>,
    /// Folders that wait for the last of their lanes.
    closing: Waiting,
    group: Option<Group>,
    /// Last, so that the lock outlives the connection.
    _lock: Lock,
}

/// The changes that wait for their commit.
#[derive(Clone, Copy, Debug)]
struct Group {
    due: Instant,
    changes: u32,
}

/// What the store's thread does next.
enum Next {
    Take(Note),
    Commit,
    End,
}

impl Store {
    /// Opens a checkpoint file, or creates it (0600, missing folders 0700), and takes its lock.
    ///
    /// `target` is the address of the engine without credentials, with the index prefix.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be made or opened, is held by another run, belongs to
    /// another target, is damaged, or is newer than this program. Nothing is changed then.
    pub fn open(path: &Path, target: &str, now: Timestamp) -> Result<Self, Error> {
        let path = file::create(path)?;
        let lock = Lock::take(&path, now)?;
        let connection = file::connect(&path)?;
        claim(&connection, &path, target, now)?;
        let run = begin_run(&connection, now)
            .map_err(|source| Error::sql(&path, "write down the run", source))?;
        Ok(Self {
            connection,
            path,
            run,
            opened: (now, Instant::now()),
            ledger: Ledger::default(),
            totals: Totals::default(),
            folders: HashMap::new(),
            closing: Waiting::default(),
            group: None,
            _lock: lock,
        })
    }

    /// Returns the file's path, as it is known to the system.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes in notes until the channel closes; then commits, and returns the store, for [`end`](Self::end).
    ///
    /// Blocks: to be called on a thread of its own.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] as soon as something cannot be written, with everything uncommitted rolled
    /// back, or if the notes contradict each other. The channel is closed then.
    #[expect(clippy::needless_pass_by_value, reason = "dropped, so that senders learn of the end")]
    pub fn run(mut self, notes: Receiver<Note>) -> Result<Self, Error> {
        loop {
            match self.next(&notes) {
                Next::Take(note) => self.take(note)?,
                Next::Commit => self.commit()?,
                Next::End => {
                    self.commit()?;
                    return Ok(self);
                }
            }
        }
    }

    fn next(&self, notes: &Receiver<Note>) -> Next {
        let Some(group) = self.group else {
            return notes.recv().map_or(Next::End, Next::Take);
        };
        let left = group.due.saturating_duration_since(Instant::now());
        if left.is_zero() || group.changes >= CHANGES_TOGETHER {
            return Next::Commit;
        }
        match notes.recv_timeout(left) {
            Ok(note) => Next::Take(note),
            Err(RecvTimeoutError::Timeout) => Next::Commit,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    fn take(&mut self, note: Note) -> Result<(), Error> {
        match note {
            Note::Opened { number, lane, name, span } => {
                self.totals.lanes_unfinished += 1;
                self.ledger.open(number, lane, name, span);
                Ok(())
            }
            Note::Page { lane, page, documents, bytes, reaches } => {
                self.totals.records += u64::from(documents);
                self.totals.bytes += bytes;
                let step = self.ledger.page(lane, page, (documents, bytes), reaches)?;
                self.write_step(step)
            }
            Note::Settled(receipt) => self.settle(&receipt),
            Note::Retried(retried) => self.retried(&retried),
            Note::RefusedUnder { index, version } => self
                .write("write down what refused documents", |store| {
                    set_aside::refused_under(&store.connection, &index, &version, store.run)
                }),
            Note::Ended { lane, outcome, pages, fingerprint } => {
                self.end_lane(lane, outcome, pages, fingerprint)
            }
            Note::Closed { prefix, listed, known, handed_out } => {
                let folder = Closing::new(listed, known, handed_out);
                self.write("close a folder", |store| store.close(prefix, folder))
            }
            Note::Unchanged(lane) => self.write("keep a touched file", |store| store.touch(&lane)),
            Note::Learned { path, kind, why } => {
                self.write("write down a decision", |store| store.learn(&path, &kind, &why))
            }
        }
    }

    /// Set-aside documents are written before the lane moves on, so that they share its commit.
    fn settle(&mut self, receipt: &Receipt) -> Result<(), Error> {
        self.totals.created += receipt.created();
        self.totals.already_there += receipt.already_there();
        self.totals.set_aside += count(receipt.set_aside.len());
        for document in &receipt.set_aside {
            self.write("write down a set-aside document", |store| store.set_aside(document))?;
        }
        for count in &receipt.indices {
            self.write("write down what an index holds", |store| {
                index_rows::add(&store.connection, count)
            })?;
        }
        for share in &receipt.shares {
            let step = self.ledger.settle(*share)?;
            self.write_step(step)?;
        }
        Ok(())
    }

    fn retried(&mut self, retried: &Retried) -> Result<(), Error> {
        let (settled, there) = (count(retried.settled.len()), retried.already_there());
        self.totals.retried_created += settled.saturating_sub(there);
        self.totals.retried_already_there += there;
        self.totals.retried_set_aside += count(retried.refused.len());
        for count in &retried.indices {
            self.write("write down what an index holds", |store| {
                index_rows::add(&store.connection, count)
            })?;
        }
        self.write("write down what was sent again", |store| {
            set_aside::retried(&store.connection, retried, store.run)
        })
    }

    fn end_lane(
        &mut self,
        lane: LaneNumber,
        outcome: Ended,
        pages: u32,
        fingerprint: Option<String>,
    ) -> Result<(), Error> {
        let step = match outcome {
            Ended::Done => self.ledger.reach_end(lane, pages, fingerprint)?,
            Ended::Skipped => {
                self.ledger.skip(lane)?;
                self.ledger.reach_end(lane, pages, fingerprint)?
            }
            Ended::Interrupted => self.ledger.leave(lane, pages)?,
            Ended::Failed { cause, offset } => {
                self.fail(lane, &cause, offset)?;
                self.ledger.leave(lane, pages)?
            }
        };
        self.write_step(step)
    }

    fn write_step(&mut self, step: Option<Step>) -> Result<(), Error> {
        match step {
            None => Ok(()),
            Some(Step::Moved { span, since, records }) => self
                .write("write down what is covered", |store| {
                    cover(&store.connection, &span, since, integer(records))
                }),
            Some(Step::Finished(finished)) => {
                let done = if finished.skipped {
                    &mut self.totals.lanes_skipped
                } else {
                    &mut self.totals.lanes_done
                };
                *done += 1;
                self.totals.lanes_unfinished = self.totals.lanes_unfinished.saturating_sub(1);
                self.write("write down a done lane", |store| store.finish(&finished))
            }
        }
    }

    fn fail(&mut self, number: LaneNumber, cause: &str, offset: Option<u64>) -> Result<(), Error> {
        let records = self.ledger.records(number);
        let (lane, name) = self.ledger.lane(number).ok_or(Error::Unopened { lane: number })?;
        let (key, name) = (lane.key.clone(), name.to_owned());
        self.totals.lanes_failed += 1;
        self.totals.lanes_unfinished = self.totals.lanes_unfinished.saturating_sub(1);
        self.write("write down a failed lane", |store| {
            store.write_failure(&key, &name, cause, offset, records)
        })
    }

    /// Makes a change in the current group, or begins one.
    fn write(
        &mut self,
        doing: &'static str,
        change: impl FnOnce(&mut Self) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        self.begin()
            .and_then(|()| change(self))
            .map_err(|source| Error::sql(&self.path, doing, source))
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        if let Some(group) = &mut self.group {
            group.changes += 1;
            return Ok(());
        }
        self.execute("BEGIN IMMEDIATE", [])?;
        self.group = Some(Group { due: Instant::now() + COMMIT_AFTER, changes: 1 });
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        if self.group.take().is_some() {
            self.execute("COMMIT", [])
                .map_err(|source| Error::sql(&self.path, "commit", source))?;
        }
        Ok(())
    }

    /// Returns what this run wrote down so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Returns what keeps the index from being complete, whichever run met it.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn outstanding(&self) -> Result<Outstanding, Error> {
        set_aside::outstanding(&self.connection)
            .map_err(|source| Error::sql(&self.path, "count the set-aside documents", source))
    }

    /// Returns the UUID of the cluster that the documents went to; `None` if no engine told it.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn cluster(&self) -> Result<Option<String>, Error> {
        self.fact(Fact::Cluster)
    }

    /// Writes down which cluster the documents go to.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if it cannot be written.
    pub fn set_cluster(&mut self, uuid: &str) -> Result<(), Error> {
        self.write_now("write down the cluster", |store| {
            Fact::Cluster.write(&store.connection, uuid)
        })
    }

    /// Returns how documents are spread over indices; `None` if nothing was loaded yet.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn index_by(&self) -> Result<Option<IndexBy>, Error> {
        let word = self.fact(Fact::IndexBy)?;
        Ok(word.and_then(|word| IndexBy::named(&word)))
    }

    /// Writes down how documents are spread over indices.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if it cannot be written.
    pub fn set_index_by(&mut self, by: IndexBy) -> Result<(), Error> {
        self.write_now("write down how indices are made", |store| {
            Fact::IndexBy.write(&store.connection, by.as_str())
        })
    }

    /// Returns the indices that documents went to, and what is missing of them.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn indices(&self) -> Result<Indices, Error> {
        index_rows::read(&self.connection)
            .map_err(|source| Error::sql(&self.path, "read the indices", source))
    }

    /// Writes down the indices, and what is missing of them.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if it cannot be written.
    pub fn set_indices(&mut self, indices: &Indices) -> Result<(), Error> {
        self.write_now("write down the indices", |store| {
            index_rows::replace(&store.connection, indices)
        })
    }

    /// Forgets all that is done, so that everything is read again: the documents went to another cluster.
    /// What was set aside, and could not be read, stays.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if it cannot be written.
    pub fn forget(&mut self) -> Result<(), Error> {
        self.folders.clear();
        self.write_now("forget what is done", |store| index_rows::forget(&store.connection))
    }

    fn fact(&self, fact: Fact) -> Result<Option<String>, Error> {
        fact.read(&self.connection)
            .map_err(|source| Error::sql(&self.path, "read about the engine", source))
    }

    /// Makes a change that is on disk when this returns.
    fn write_now(
        &mut self,
        doing: &'static str,
        change: impl FnOnce(&mut Self) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        self.write(doing, change)?;
        self.commit()
    }

    /// Writes down the end of the run with the exit code of the program, and lets go of the file.
    ///
    /// A run that never gets here was killed, or could not write: its exit code stays open.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if it cannot be written.
    pub fn end(mut self, exit: u8) -> Result<(), Error> {
        self.write("write down the end of the run", |store| store.write_end(exit))?;
        self.commit()
    }
}

/// The SQL.
impl Store {
    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute(values).map(drop)
    }

    fn finish(&mut self, finished: &Finished) -> rusqlite::Result<()> {
        let Lane { key, fingerprint } = &finished.lane;
        self.execute("DELETE FROM failures WHERE lane = ?1", [key])?;
        if let Some(span) = &finished.span {
            return cover(&self.connection, span, span.from, integer(finished.records));
        }
        let (folder, name) = split(key);
        let folder = self.folder(folder)?;
        let (records, bytes) = (integer(finished.records), integer(finished.bytes));
        self.execute(
            "INSERT INTO lanes (folder, name, fingerprint, records, bytes, done, run, skipped) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
             ON CONFLICT (folder, name) DO UPDATE SET fingerprint = excluded.fingerprint, \
             records = excluded.records, bytes = excluded.bytes, done = excluded.done, \
             run = excluded.run, skipped = excluded.skipped",
            params![
                folder,
                name,
                fingerprint,
                records,
                bytes,
                self.now(),
                self.run,
                finished.skipped
            ],
        )?;
        // A pipe is never read twice: what was set aside of it has not come again.
        if !fingerprint.is_empty() {
            set_aside::sort(&self.connection, self.run, key, fingerprint)?;
        }
        let closed = self.closing.finished(&self.connection, self.run, key)?;
        self.forget_folders(closed);
        Ok(())
    }

    fn close(&mut self, prefix: String, folder: Closing) -> rusqlite::Result<()> {
        let closed = self.closing.close(&self.connection, self.run, prefix, folder)?;
        self.forget_folders(closed);
        Ok(())
    }

    /// Forgets the numbers of folders if some may be gone.
    fn forget_folders(&mut self, gone: bool) {
        if gone {
            self.folders.clear();
        }
    }

    fn touch(&mut self, lane: &Lane) -> rusqlite::Result<()> {
        let (folder, name) = split(&lane.key);
        let folder = self.folder(folder)?;
        self.execute(
            "UPDATE lanes SET fingerprint = ?3 WHERE folder = ?1 AND name = ?2",
            params![folder, name, lane.fingerprint],
        )
    }

    fn write_failure(
        &mut self,
        key: &str,
        name: &str,
        cause: &str,
        offset: Option<u64>,
        records: u64,
    ) -> rusqlite::Result<()> {
        self.execute(
            "INSERT INTO failures (lane, name, cause, position, records, tries, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6) \
             ON CONFLICT (lane) DO UPDATE SET name = excluded.name, cause = excluded.cause, \
             position = excluded.position, records = excluded.records, tries = tries + 1, \
             at = excluded.at",
            params![key, name, cause, offset.map(integer), integer(records), self.now()],
        )?;
        // It may have been done before (read again on purpose, or changed back): it is not now.
        closed::reopen(&self.connection, key)?;
        let (folder, name) = split(key);
        let folder = self.folder(folder)?;
        self.execute("DELETE FROM lanes WHERE folder = ?1 AND name = ?2", params![folder, name])
    }

    fn set_aside(&self, document: &SetAside) -> rusqlite::Result<()> {
        let (key, fingerprint) = self
            .ledger
            .lane(document.lane)
            .map_or(("", ""), |(lane, _)| (lane.key.as_str(), lane.fingerprint.as_str()));
        let place = set_aside::Place { lane: key, fingerprint, run: self.run, at: self.now() };
        set_aside::insert(&self.connection, document, &place)
    }

    /// The time of a decision is the time of its kind: telling it again changes nothing.
    fn learn(&self, path: &str, kind: &str, why: &str) -> rusqlite::Result<()> {
        self.execute(
            "INSERT INTO decisions (path, kind, why, decided) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (path) DO UPDATE SET kind = excluded.kind, why = excluded.why, \
             decided = excluded.decided WHERE kind <> excluded.kind",
            params![path, kind, why, self.now()],
        )
    }

    fn write_end(&self, exit: u8) -> rusqlite::Result<()> {
        let totals = &self.totals;
        self.execute(
            "UPDATE runs SET ended = ?2, exit_code = ?3, read = ?4, created = ?5, \
             already_there = ?6, set_aside = ?7, lanes_done = ?8, lanes_failed = ?9, \
             lanes_skipped = ?10, retried_created = ?11, retried_already_there = ?12, \
             retried_set_aside = ?13 WHERE id = ?1",
            params![
                self.run,
                self.now(),
                exit,
                integer(totals.created + totals.already_there + totals.set_aside),
                integer(totals.created),
                integer(totals.already_there),
                integer(totals.set_aside),
                integer(totals.lanes_done),
                integer(totals.lanes_failed),
                integer(totals.lanes_skipped),
                integer(totals.retried_created),
                integer(totals.retried_already_there),
                integer(totals.retried_set_aside)
            ],
        )
    }

    /// Returns the number of a folder, which it gets when it is met first.
    fn folder(&mut self, path: &str) -> rusqlite::Result<i64> {
        if let Some(number) = self.folders.get(path) {
            return Ok(*number);
        }
        self.execute(
            "INSERT INTO folders (path) VALUES (?1) ON CONFLICT (path) DO NOTHING",
            [path],
        )?;
        let number = self
            .connection
            .prepare_cached("SELECT id FROM folders WHERE path = ?1")?
            .query_row([path], |row| row.get(0))?;
        if self.folders.len() >= FOLDERS_KEPT {
            self.folders.clear();
        }
        self.folders.insert(path.to_owned(), number);
        Ok(number)
    }

    /// Returns the wall clock in milliseconds, by the clock that cannot jump.
    fn now(&self) -> i64 {
        let (opened, clock) = self.opened;
        opened.as_millisecond().saturating_add(integer_from(clock.elapsed().as_millis()))
    }
}

/// Writes the target into a new file, and compares it with the one of an old file.
fn claim(connection: &Connection, path: &Path, target: &str, now: Timestamp) -> Result<(), Error> {
    let failed = |source| Error::sql(path, "write down the target", source);
    let theirs: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE name = 'target'", [], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    match theirs {
        Some(theirs) if is_same(&theirs, target) => Ok(()),
        Some(theirs) => {
            Err(Error::OtherTarget { path: path.to_owned(), theirs, ours: target.to_owned() })
        }
        None => connection
            .execute(
                "INSERT INTO meta (name, value) VALUES ('target', ?1), ('created', ?2)",
                params![target, now.as_millisecond().to_string()],
            )
            .map(drop)
            .map_err(failed),
    }
}

fn begin_run(connection: &Connection, now: Timestamp) -> rusqlite::Result<i64> {
    connection.execute("INSERT INTO runs (started) VALUES (?1)", [now.as_millisecond()])?;
    Ok(connection.last_insert_rowid())
}

/// Returns a count as SQLite holds it; counts beyond 2^63 do not happen.
pub(super) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn integer_from(milliseconds: u128) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

fn count(length: usize) -> u64 {
    length as u64
}

#[cfg(test)]
mod tests;
