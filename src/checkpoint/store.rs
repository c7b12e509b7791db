//! Writes the checkpoint file: applies events to the [`Ledger`] and stores its updates, on a dedicated thread.
//!
//! Input: [`CheckpointEvent`]s. Output: transactions, each with many events, in which coverage, loaded partitions and dead
//! letters are committed together.
//! Invariant: the lock on the file is held for the lifetime of the store. A failed write ends the run immediately;
//! uncommitted changes are rolled back, and the next run reads that input again.
//! Deliberately not here: deciding what is complete (see [`Ledger`]), and queries (see `reader`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use tokio::sync::mpsc::UnboundedSender;

use super::alerts::{
    AlertMemory, AlertOptions, AlertTotals, CommittedTotals, DeliveryRows, DeliveryUpdate,
    UndeliveredCount,
};
use super::complete_folders::{self, PendingFolder, PendingFolders};
use super::coverage::cover;
use super::index_rows::{self, MetaKey};
use super::indices::LoadedIndices;
use super::ledger::{CompletedPartition, DueResult, Ledger, LedgerUpdate, PageContent};
use super::lock::Lock;
use super::reader::split;
use super::target::is_same_target;
use super::values::integer;
use super::{
    CheckpointEvent, Error, Outstanding, PartitionOutcome, RetryOutcome, RunTotals, dead_letters,
    file, source_states,
};
use crate::event::{DeadLetter, MatchBatch, Partition, PartitionNumber, Receipt};
use crate::filter::rule::RuleSet;
use crate::normalize::IndexBy;

/// Maximum delay between a change and its commit. Short enough for `status` to be current, and long enough that a slow
/// disk (10 ms per fsync) takes only a twentieth of the thread's time.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);

/// Maximum number of changes per transaction. Keeps a transaction within a few hundred kilobytes, and limits the work
/// that is repeated after a crash.
const MAX_CHANGES_PER_COMMIT: u32 = 2000;

/// The most deliveries of alerts that are not made: with their events, a gigabyte. With more, the run ends without reading further,
/// so no alert is lost: receivers have not worked for long, and a person has to look at them. `watch` waits for receivers that work
/// long before.
const MAX_UNDELIVERED: u64 = 1_000_000;

/// The run of partitions that were named one by one, in the table `partitions`: [`complete_folders`] counts those that a run has
/// listed.
const UNLISTED: i64 = 0;

/// Number of folder ids cached in memory. Consecutive inputs are usually in the same folder, so a small cache suffices.
const FOLDER_CACHE_ENTRIES: usize = 1024;

/// The writer of a checkpoint file. Only one exists per file (see `lock`).
#[derive(Debug)]
pub struct CheckpointStore {
    connection: Connection,
    path: PathBuf,
    /// Row id of this run in `runs`.
    run: i64,
    /// Wall-clock time at which the file was opened, and the same moment on the monotonic clock.
    opened: (Timestamp, Instant),
    ledger: Ledger,
    totals: RunTotals,
    /// Cached folder ids by path.
    folders: HashMap<String, i64>,
    /// Folders that are not complete yet.
    pending_folders: PendingFolders,
    transaction: Option<PendingTransaction>,
    /// Those that wait for the next commit.
    awaiting_commit: Vec<UnboundedSender<()>>,
    /// Results of partitions, sent after the next commit.
    results: Vec<DueResult>,
    /// The memory of alerts, if the run evaluates rules.
    alerts: Option<AlertMemory>,
    /// What became of matches, up to the last commit.
    committed_alerts: CommittedTotals,
    /// Last field, so that the lock is released after the connection is closed.
    _lock: Lock,
}

/// Changes that are not committed yet.
#[derive(Clone, Copy, Debug)]
struct PendingTransaction {
    due: Instant,
    changes: u32,
}

/// The next action of the store's thread.
enum NextStep {
    Apply(CheckpointEvent),
    Commit,
    End,
}

impl CheckpointStore {
    /// Opens or creates a checkpoint file (mode 0600, missing directories 0700) and locks it.
    ///
    /// `target` is the address of the engine, without credentials, and the index prefix.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be created or opened, is in use by another run, belongs to another target, is
    /// damaged, or has a schema that this version does not support. The file is then unchanged.
    pub fn open(path: &Path, target: &str, now: Timestamp) -> Result<Self, Error> {
        let path = file::create(path)?;
        let lock = Lock::acquire(&path, now)?;
        let connection = file::connect(&path)?;
        bind_target(&connection, &path, target, now)?;
        let run = begin_run(&connection, now)
            .map_err(|source| Error::from_sqlite(&path, "record the run", source))?;
        Ok(Self {
            connection,
            path,
            run,
            opened: (now, Instant::now()),
            ledger: Ledger::default(),
            totals: RunTotals::default(),
            folders: HashMap::new(),
            pending_folders: PendingFolders::default(),
            transaction: None,
            awaiting_commit: Vec::new(),
            results: Vec::new(),
            alerts: None,
            committed_alerts: CommittedTotals::default(),
            _lock: lock,
        })
    }

    /// Returns the canonical path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Applies events until the channel closes, commits, and returns the store for [`end`](Self::end). Partitions that are not
    /// complete by then have no result.
    ///
    /// Blocks the calling thread.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] as soon as a write fails or the events contradict each other. Uncommitted changes are rolled
    /// back, and the channel is closed.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "dropped, so that senders get an error once the store has stopped"
    )]
    pub fn run(mut self, events: Receiver<CheckpointEvent>) -> Result<Self, Error> {
        loop {
            match self.next(&events) {
                NextStep::Apply(event) => {
                    self.apply(event)?;
                    self.send_results();
                }
                NextStep::Commit => self.commit()?,
                NextStep::End => {
                    self.commit()?;
                    // Sources that wait for further results are told that there are none.
                    self.ledger = Ledger::default();
                    return Ok(self);
                }
            }
        }
    }

    fn next(&self, events: &Receiver<CheckpointEvent>) -> NextStep {
        let Some(transaction) = self.transaction else {
            return events.recv().map_or(NextStep::End, NextStep::Apply);
        };
        let left = transaction.due.saturating_duration_since(Instant::now());
        if left.is_zero() || transaction.changes >= MAX_CHANGES_PER_COMMIT {
            return NextStep::Commit;
        }
        if !self.awaiting_commit.is_empty() {
            // What is queued already is in the same commit: others may wait for it too.
            return events.try_recv().map_or(NextStep::Commit, NextStep::Apply);
        }
        match events.recv_timeout(left) {
            Ok(event) => NextStep::Apply(event),
            Err(RecvTimeoutError::Timeout) => NextStep::Commit,
            Err(RecvTimeoutError::Disconnected) => NextStep::End,
        }
    }

    fn apply(&mut self, event: CheckpointEvent) -> Result<(), Error> {
        match event {
            CheckpointEvent::PartitionOpened { number, partition, name, time_slice, result } => {
                self.totals.partitions_unfinished += 1;
                self.ledger.open(number, partition, name, time_slice, result);
                Ok(())
            }
            CheckpointEvent::PageRead { partition, page, documents, extent, bytes, position } => {
                self.totals.records += u64::from(documents);
                self.totals.bytes += bytes;
                let content = PageContent { documents, bytes, position };
                let update = self.ledger.page(partition, page, content, extent)?;
                self.write_update(update)
            }
            CheckpointEvent::Settled(receipt) => self.settle(&receipt),
            CheckpointEvent::Retried(retried) => self.retried(&retried),
            CheckpointEvent::DeliveriesChanged { update, stored } => {
                self.change_deliveries(&update, stored)
            }
            CheckpointEvent::RejectedUnder { index, version } => {
                self.write("record the version that rejected documents", |store| {
                    dead_letters::set_rejected_under(&store.connection, &index, &version, store.run)
                })
            }
            CheckpointEvent::PartitionEnded { partition, outcome, pages, fingerprint } => {
                self.end_partition(partition, outcome, pages, fingerprint)
            }
            CheckpointEvent::FolderComplete {
                prefix,
                listing,
                previously_loaded,
                read_in_this_run,
            } => {
                let folder = PendingFolder::new(listing, previously_loaded, read_in_this_run);
                self.write("record a complete folder", |store| {
                    store.complete_folder(prefix, folder)
                })
            }
            CheckpointEvent::Unchanged(partition) => {
                self.write("update a fingerprint", |store| store.update_fingerprint(&partition))
            }
            CheckpointEvent::SourceObserved { source, observation } => {
                let now = self.now();
                self.write("record the state of a source", |store| {
                    source_states::record(&store.connection, &source, &observation, now)
                })
            }
            CheckpointEvent::FieldDiscovered { path, kind, origin } => self
                .write("record a discovered field", |store| {
                    store.write_discovered_field(&path, &kind, &origin)
                }),
        }
    }

    /// Stores dead letters before the partition advances, so that both are in the same transaction.
    fn settle(&mut self, receipt: &Receipt) -> Result<(), Error> {
        self.totals.created += receipt.created();
        self.totals.duplicates += receipt.duplicates();
        self.totals.dead_letters += count(receipt.dead_letters.len());
        for document in &receipt.dead_letters {
            self.write("store a dead letter", |store| store.write_dead_letter(document))?;
        }
        for count in &receipt.indices {
            self.write("record the documents of an index", |store| {
                index_rows::add(&store.connection, count)
            })?;
        }
        self.record_matches(&receipt.matches)?;
        for share in &receipt.shares {
            let update = self.ledger.settle(*share)?;
            self.write_update(update)?;
        }
        Ok(())
    }

    /// Stores the alerts among matches before the partition advances, so that both are in the same transaction.
    fn record_matches(&mut self, batch: &MatchBatch) -> Result<(), Error> {
        let MatchBatch { matches, decided, .. } = batch;
        if matches.is_empty() && decided.is_empty() {
            return Ok(());
        }
        let Some(mut alerts) = self.alerts.take() else { return Ok(()) };
        let now = self.now();
        let recorded = self.write("record alerts", |store| {
            alerts.record_decided(&store.connection, decided, now)?;
            alerts.record(&store.connection, matches, now)
        });
        let undelivered = alerts.undelivered().get();
        self.alerts = Some(alerts);
        if undelivered > MAX_UNDELIVERED {
            return Err(Error::TooManyUndelivered { path: self.path.clone(), undelivered });
        }
        recorded
    }

    /// Stores a change of deliveries. `stored` gets a value when it is committed.
    fn change_deliveries(
        &mut self,
        update: &DeliveryUpdate,
        stored: UnboundedSender<()>,
    ) -> Result<(), Error> {
        if *update == DeliveryUpdate::Flush && self.transaction.is_none() {
            // A sender that no longer waits needs no value.
            let _ = stored.send(());
            return Ok(());
        }
        let now = self.now();
        self.write("record a delivery", |store| {
            let delivered = DeliveryRows::new(&store.connection).update(update, now)?;
            if let Some(alerts) = &store.alerts {
                alerts.add_delivered(delivered);
            }
            Ok(())
        })?;
        self.awaiting_commit.push(stored);
        Ok(())
    }

    fn retried(&mut self, retried: &RetryOutcome) -> Result<(), Error> {
        let (settled, duplicates) = (count(retried.settled.len()), retried.duplicates());
        self.totals.retried_created += settled.saturating_sub(duplicates);
        self.totals.retried_duplicates += duplicates;
        self.totals.retried_dead_letters += count(retried.rejected.len());
        for count in &retried.indices {
            self.write("record the documents of an index", |store| {
                index_rows::add(&store.connection, count)
            })?;
        }
        self.write("record retried dead letters", |store| {
            dead_letters::retried(&store.connection, retried, store.run)
        })
    }

    fn end_partition(
        &mut self,
        partition: PartitionNumber,
        outcome: PartitionOutcome,
        pages: u32,
        fingerprint: Option<String>,
    ) -> Result<(), Error> {
        let update = match outcome {
            PartitionOutcome::Done => self.ledger.complete(partition, pages, fingerprint)?,
            PartitionOutcome::Skipped { cause } => {
                self.ledger.mark_skipped(partition, cause)?;
                self.ledger.complete(partition, pages, fingerprint)?
            }
            PartitionOutcome::Interrupted => self.ledger.abandon(partition, pages, None)?,
            PartitionOutcome::Failed { cause, offset } => {
                self.fail(partition, &cause, offset)?;
                self.ledger.abandon(partition, pages, Some(cause))?
            }
        };
        self.write_update(update)
    }

    fn write_update(&mut self, update: Option<LedgerUpdate>) -> Result<(), Error> {
        match update {
            None => Ok(()),
            Some(LedgerUpdate::Advanced { time_slice, since, records }) => self
                .write("record coverage", |store| {
                    cover(&store.connection, &time_slice, since, integer(records))
                }),
            Some(LedgerUpdate::Completed(completed)) => {
                let counter = if completed.skipped.is_some() {
                    &mut self.totals.partitions_skipped
                } else {
                    &mut self.totals.partitions_loaded
                };
                *counter += 1;
                self.totals.partitions_unfinished =
                    self.totals.partitions_unfinished.saturating_sub(1);
                self.write("record a loaded partition", |store| store.write_loaded(&completed))
            }
        }
    }

    fn fail(
        &mut self,
        number: PartitionNumber,
        cause: &str,
        offset: Option<u64>,
    ) -> Result<(), Error> {
        let records = self.ledger.records_read(number);
        let (partition, name) =
            self.ledger.partition(number).ok_or(Error::UnknownPartition { partition: number })?;
        let (key, name) = (partition.key.clone(), name.to_owned());
        self.totals.partitions_failed += 1;
        self.totals.partitions_unfinished = self.totals.partitions_unfinished.saturating_sub(1);
        if self.ledger.is_remembered_by_source(number) {
            return Ok(());
        }
        self.write("record a failed partition", |store| {
            store.write_failure(&key, &name, cause, offset, records)
        })
    }

    /// Applies a change in the current transaction, and begins one if there is none.
    fn write(
        &mut self,
        operation: &'static str,
        change: impl FnOnce(&mut Self) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        self.begin()
            .and_then(|()| change(self))
            .map_err(|source| Error::from_sqlite(&self.path, operation, source))
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        if let Some(transaction) = &mut self.transaction {
            transaction.changes += 1;
            return Ok(());
        }
        self.execute("BEGIN IMMEDIATE", [])?;
        self.transaction =
            Some(PendingTransaction { due: Instant::now() + COMMIT_INTERVAL, changes: 1 });
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        if self.transaction.take().is_some() {
            self.execute("COMMIT", [])
                .map_err(|source| Error::from_sqlite(&self.path, "commit", source))?;
            self.committed_alerts.set(self.alert_totals());
        }
        for waiting in self.awaiting_commit.drain(..) {
            // A sender that no longer waits needs no value.
            let _ = waiting.send(());
        }
        self.send_results();
        Ok(())
    }

    /// Sends the results that are due, unless they depend on changes that are not committed yet.
    fn send_results(&mut self) {
        self.results.extend(self.ledger.take_results());
        if self.transaction.is_none() {
            self.results.drain(..).for_each(DueResult::send);
        }
    }

    /// Returns the totals of this run so far.
    pub fn totals(&self) -> RunTotals {
        self.totals
    }

    /// Returns the number of dead letters of all runs.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn outstanding(&self) -> Result<Outstanding, Error> {
        dead_letters::outstanding(&self.connection)
            .map_err(|source| Error::from_sqlite(&self.path, "count the dead letters", source))
    }

    /// Opens the memory of alerts for the rules of the run. Until then, matches are ignored.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be written.
    pub fn set_rules(&mut self, rules: Arc<RuleSet>, options: AlertOptions) -> Result<(), Error> {
        file::configure_for_alerts(&self.connection)
            .map_err(|source| Error::from_sqlite(&self.path, "configure the connection", source))?;
        let (mut memory, now) = (None, self.now());
        self.write_now("record the rules", |store| {
            memory = Some(AlertMemory::open(&store.connection, rules, options, now)?);
            Ok(())
        })?;
        self.alerts = memory;
        Ok(())
    }

    /// Makes dead letters of all pending deliveries of actions that are not defined any more: no receiver will ever get them.
    /// Returns their number. [`retry_deliveries`](Self::retry_deliveries) makes them pending again.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be written.
    pub fn fail_deliveries_without_action(&mut self, defined: &[String]) -> Result<u64, Error> {
        let mut failed = 0;
        self.write_now("record deliveries without an action", |store| {
            failed = DeliveryRows::new(&store.connection).fail_unknown_actions(defined)?;
            Ok(())
        })?;
        Ok(failed)
    }

    /// Makes pending deliveries of all alerts that could not be delivered, except those that the user accepted. Returns their
    /// number.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be written.
    pub fn retry_deliveries(&mut self) -> Result<u64, Error> {
        let mut retried = 0;
        self.write_now("retry deliveries", |store| {
            retried = DeliveryRows::new(&store.connection).retry()?;
            Ok(())
        })?;
        Ok(retried)
    }

    /// Returns the id of this file as the owner of deliveries that are shared with other processes. It is created when it is first
    /// asked for.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read or written.
    pub fn alert_owner(&mut self) -> Result<String, Error> {
        if let Some(known) = self.fact(MetaKey::AlertOwner)? {
            return Ok(known);
        }
        let owner = format!("{:032x}", fastrand::u128(..));
        self.write_now("record the owner of alerts", |store| {
            MetaKey::AlertOwner.write(&store.connection, &owner)
        })?;
        Ok(owner)
    }

    /// Records that the state of alerts is shared at an address.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be written.
    pub fn set_shared_alerts(&mut self, address: &str) -> Result<(), Error> {
        self.write_now("record the alert state", |store| {
            MetaKey::AlertState.write(&store.connection, address)
        })
    }

    /// Returns the address at which an earlier run shared the state of alerts.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn shared_alerts(&self) -> Result<Option<String>, Error> {
        self.fact(MetaKey::AlertState)
    }

    /// Returns the time, in milliseconds of the Unix epoch, before which no event raises an alert that this run delivers. `None` if
    /// the events of all times do.
    pub fn delivered_from(&self) -> Option<i64> {
        let (opened, _) = self.opened;
        let max_age = self.alerts.as_ref()?.max_age()?;
        // The time of the store never goes back, so what is too old at its start is too old later.
        Some(opened.as_millisecond().saturating_sub(integer_from(max_age.as_millis())))
    }

    /// Returns what became of the matches of this run so far.
    pub fn alert_totals(&self) -> AlertTotals {
        self.alerts.as_ref().map(AlertMemory::totals).unwrap_or_default()
    }

    /// Returns what became of the matches of this run that is committed, which changes during the run.
    pub fn committed_alerts(&self) -> CommittedTotals {
        self.committed_alerts.clone()
    }

    /// Returns the number of deliveries that are not made, which changes during the run. It is 0 for a run without rules.
    pub fn undelivered(&self) -> UndeliveredCount {
        self.alerts.as_ref().map(|alerts| alerts.undelivered().clone()).unwrap_or_default()
    }

    /// Returns the UUID of the cluster that documents were sent to, or `None` if no cluster has reported one.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn cluster(&self) -> Result<Option<String>, Error> {
        self.fact(MetaKey::ClusterUuid)
    }

    /// Stores the UUID of the cluster that documents are sent to.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be written.
    pub fn set_cluster(&mut self, uuid: &str) -> Result<(), Error> {
        self.write_now("record the cluster", |store| {
            MetaKey::ClusterUuid.write(&store.connection, uuid)
        })
    }

    /// Returns the period that each index covers, or `None` if nothing has been loaded yet.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be read.
    pub fn index_by(&self) -> Result<Option<IndexBy>, Error> {
        let word = self.fact(MetaKey::IndexBy)?;
        Ok(word.and_then(|word| IndexBy::from_name(&word)))
    }

    /// Stores the period that each index covers.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be written.
    pub fn set_index_by(&mut self, by: IndexBy) -> Result<(), Error> {
        self.write_now("record the period of indices", |store| {
            MetaKey::IndexBy.write(&store.connection, by.as_str())
        })
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

    /// Stores the indices and the documents missing from them.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be written.
    pub fn set_indices(&mut self, indices: &LoadedIndices) -> Result<(), Error> {
        self.write_now("record the indices", |store| {
            index_rows::replace(&store.connection, indices)
        })
    }

    /// Deletes the records of loaded partitions and coverage, so that everything is read again. Used when the target is
    /// a different cluster. Dead letters and failed partitions are kept.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be written.
    pub fn reset_progress(&mut self) -> Result<(), Error> {
        self.folders.clear();
        self.write_now("reset the progress", |store| index_rows::delete_progress(&store.connection))
    }

    fn fact(&self, fact: MetaKey) -> Result<Option<String>, Error> {
        fact.read(&self.connection)
            .map_err(|source| Error::from_sqlite(&self.path, "read the metadata", source))
    }

    /// Applies a change and commits it.
    fn write_now(
        &mut self,
        operation: &'static str,
        change: impl FnOnce(&mut Self) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        self.write(operation, change)?;
        self.commit()
    }

    /// Records the end of the run and the program's exit code, and closes the file.
    ///
    /// A run without a recorded end was killed, or could not write its checkpoint.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the file cannot be written.
    pub fn end(mut self, exit: u8) -> Result<(), Error> {
        self.write("record the end of the run", |store| store.write_end(exit))?;
        self.commit()
    }
}

/// SQL statements.
impl CheckpointStore {
    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute(values).map(drop)
    }

    fn write_loaded(&mut self, completed: &CompletedPartition) -> rusqlite::Result<()> {
        let Partition { key, fingerprint } = &completed.partition;
        self.execute("DELETE FROM failed_partitions WHERE partition_key = ?1", [key])?;
        if let Some(time_slice) = &completed.time_slice {
            return cover(
                &self.connection,
                time_slice,
                time_slice.from,
                integer(completed.records),
            );
        }
        if fingerprint.is_empty() && completed.is_awaited {
            // No later run can recognize it, and its source remembers the result itself.
            return Ok(());
        }
        let (folder, name) = split(key);
        let folder = self.folder(folder)?;
        let (records, bytes) = (integer(completed.records), integer(completed.bytes));
        // Only what was listed is counted by folder.
        let run = if completed.is_awaited { UNLISTED } else { self.run };
        self.execute(
            "INSERT INTO partitions (folder, name, fingerprint, records, bytes, loaded, run, skipped) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
             ON CONFLICT (folder, name) DO UPDATE SET fingerprint = excluded.fingerprint, \
             records = excluded.records, bytes = excluded.bytes, loaded = excluded.loaded, \
             run = excluded.run, skipped = excluded.skipped",
            params![
                folder,
                name,
                fingerprint,
                records,
                bytes,
                self.now(),
                run,
                completed.skipped
            ],
        )?;
        // A pipe has no fingerprint and cannot be read again: its dead letters were not sent by this run.
        if !fingerprint.is_empty() {
            dead_letters::update_loaded_partition(&self.connection, self.run, key, fingerprint)?;
        }
        let replaced = self.pending_folders.partition_loaded(&self.connection, self.run, key)?;
        self.clear_folder_cache_if(replaced);
        Ok(())
    }

    fn complete_folder(&mut self, prefix: String, folder: PendingFolder) -> rusqlite::Result<()> {
        let replaced = self.pending_folders.complete(&self.connection, self.run, prefix, folder)?;
        self.clear_folder_cache_if(replaced);
        Ok(())
    }

    /// Clears the folder cache if folders may have been deleted.
    fn clear_folder_cache_if(&mut self, deleted: bool) {
        if deleted {
            self.folders.clear();
        }
    }

    fn update_fingerprint(&mut self, partition: &Partition) -> rusqlite::Result<()> {
        let (folder, name) = split(&partition.key);
        let folder = self.folder(folder)?;
        self.execute(
            "UPDATE partitions SET fingerprint = ?3 WHERE folder = ?1 AND name = ?2",
            params![folder, name, partition.fingerprint],
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
            "INSERT INTO failed_partitions (partition_key, name, cause, position, records, attempts, failed) \
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6) \
             ON CONFLICT (partition_key) DO UPDATE SET name = excluded.name, cause = excluded.cause, \
             position = excluded.position, records = excluded.records, attempts = attempts + 1, \
             failed = excluded.failed",
            params![key, name, cause, offset.map(integer), integer(records), self.now()],
        )?;
        // It may have been done before (read again on purpose, or changed back): it is not now.
        complete_folders::reopen(&self.connection, key)?;
        let (folder, name) = split(key);
        let folder = self.folder(folder)?;
        self.execute(
            "DELETE FROM partitions WHERE folder = ?1 AND name = ?2",
            params![folder, name],
        )
    }

    fn write_dead_letter(&self, document: &DeadLetter) -> rusqlite::Result<()> {
        let (key, fingerprint) =
            self.ledger.partition(document.partition).map_or(("", ""), |(partition, _)| {
                (partition.key.as_str(), partition.fingerprint.as_str())
            });
        let origin =
            dead_letters::Origin { partition: key, fingerprint, run: self.run, at: self.now() };
        dead_letters::insert(&self.connection, document, &origin)
    }

    /// Stores a discovered field. The time changes only if the kind does.
    fn write_discovered_field(&self, path: &str, kind: &str, origin: &str) -> rusqlite::Result<()> {
        self.execute(
            "INSERT INTO discovered_fields (path, kind, origin, discovered) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (path) DO UPDATE SET kind = excluded.kind, origin = excluded.origin, \
             discovered = excluded.discovered WHERE kind <> excluded.kind",
            params![path, kind, origin, self.now()],
        )
    }

    fn write_end(&self, exit: u8) -> rusqlite::Result<()> {
        let totals = &self.totals;
        self.execute(
            "UPDATE runs SET ended = ?2, exit_code = ?3, read = ?4, created = ?5, \
             duplicates = ?6, dead_letters = ?7, partitions_loaded = ?8, partitions_failed = ?9, \
             partitions_skipped = ?10, retried_created = ?11, retried_duplicates = ?12, \
             retried_dead_letters = ?13 WHERE id = ?1",
            params![
                self.run,
                self.now(),
                exit,
                integer(totals.created + totals.duplicates + totals.dead_letters),
                integer(totals.created),
                integer(totals.duplicates),
                integer(totals.dead_letters),
                integer(totals.partitions_loaded),
                integer(totals.partitions_failed),
                integer(totals.partitions_skipped),
                integer(totals.retried_created),
                integer(totals.retried_duplicates),
                integer(totals.retried_dead_letters)
            ],
        )
    }

    /// Returns the id of a folder, and creates the row if there is none.
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
        if self.folders.len() >= FOLDER_CACHE_ENTRIES {
            self.folders.clear();
        }
        self.folders.insert(path.to_owned(), number);
        Ok(number)
    }

    /// Returns the current time in milliseconds since the Unix epoch, derived from the monotonic clock.
    fn now(&self) -> i64 {
        let (opened, clock) = self.opened;
        opened.as_millisecond().saturating_add(integer_from(clock.elapsed().as_millis()))
    }
}

/// Stores the target in a new file, and checks that of an existing one.
fn bind_target(
    connection: &Connection,
    path: &Path,
    target: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let failed = |source| Error::from_sqlite(path, "record the target", source);
    let theirs: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE name = 'target'", [], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    match theirs {
        Some(theirs) if is_same_target(&theirs, target) => Ok(()),
        Some(theirs) => {
            Err(Error::TargetMismatch { path: path.to_owned(), theirs, ours: target.to_owned() })
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

fn integer_from(milliseconds: u128) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

fn count(length: usize) -> u64 {
    length as u64
}

#[cfg(test)]
mod tests;
