//! The counters of a run, updated once per page or batch, never once per event.
//!
//! Input: amounts from every stage of the pipeline. Output: totals for progress and the summary.
//! Invariant: whatever a method counts for a SOURCE argument, it also counts for the whole run. Counters only increase, so
//! relaxed ordering suffices until the run has ended.

use std::ops::AddAssign;
use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;

use super::LookupProgress;
use crate::{event::SourceObservation, pending::PendingRequests};

/// Maximum number of failures in the summary, to keep the file small. Each one is also logged.
pub const MAX_FAILURES: usize = 100;

/// The counters of a run.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Records read, within the requested time range.
    pub read: AtomicU64,
    /// Documents that were created.
    pub created: AtomicU64,
    /// Documents that were already in their index.
    pub duplicates: AtomicU64,
    /// Duplicates that were compared with the document in the index.
    pub duplicates_compared: AtomicU64,
    /// Duplicates whose id belongs to a different event in the index.
    pub duplicates_differing: AtomicU64,
    /// Documents that were rejected and stored as dead letters.
    pub dead_letters: AtomicU64,
    /// Dead letters of earlier runs that were sent again. They are not included in the other counters.
    pub retried: RetryMetrics,
    /// Documents with at least one change: a renamed or repaired field.
    pub rewritten: AtomicU64,
    /// The settled part of the counter above.
    pub rewritten_settled: AtomicU64,
    /// Records whose event time is missing or invalid.
    pub undated: AtomicU64,
    /// The settled part of the counter above.
    pub undated_settled: AtomicU64,
    /// Time of the newest settled event, in milliseconds since 1970; 0 if there is none.
    pub newest_event: AtomicI64,
    /// Records outside of `--from` and `--to`.
    pub filtered: AtomicU64,
    /// Records that are older than the retention.
    pub expired: AtomicU64,
    /// Bytes of the records, uncompressed.
    pub bytes_read: AtomicU64,
    /// Bytes of settled records, uncompressed.
    pub bytes_settled: AtomicU64,
    /// Bytes of input consumed, as stored (compressed). Progress bars show this counter.
    pub bytes_consumed: AtomicU64,
    /// Bytes of input found so far, as stored.
    pub bytes_found: AtomicU64,
    /// Whether all inputs have been found. Before that, the total amount is unknown.
    pub listed: AtomicBool,
    /// Inputs (files and objects) found so far.
    pub sources_found: AtomicU64,
    /// Inputs read to their end.
    pub sources_done: AtomicU64,
    /// Inputs skipped because an earlier run loaded them.
    pub sources_skipped: AtomicU64,
    /// Inputs that contain no CloudTrail events (digest files, Config snapshots, other JSON).
    pub sources_foreign: AtomicU64,
    /// Inputs that could not be read to their end.
    pub sources_failed: AtomicU64,
    /// Bulk requests that were retried.
    pub retries: AtomicU64,
    /// Requests that added fields to a mapping.
    pub mapping_calls: AtomicU64,
    /// Distribution and version of the engine, once known.
    pub engine: OnceLock<String>,
    /// The index of the `lookup` SOURCE argument and the progress of its accounts and Regions, once these are known.
    pub lookup: OnceLock<(usize, Arc<LookupProgress>)>,
    /// Requests that are waiting for an answer or being retried.
    pub waits: PendingRequests,
    /// Counters by SOURCE argument, in the order given.
    pub sources: Vec<SourceMetrics>,
    /// The first failures, at most [`MAX_FAILURES`].
    failures: Mutex<Vec<InputFailure>>,
}

/// Counters of dead letters of earlier runs that were sent again.
#[derive(Debug, Default)]
pub struct RetryMetrics {
    /// Documents that were created.
    pub created: AtomicU64,
    /// Documents that were already in their index.
    pub duplicates: AtomicU64,
    /// Documents that were rejected again.
    pub dead_letters: AtomicU64,
}

/// The counters of one SOURCE argument.
#[derive(Debug, Default)]
pub struct SourceMetrics {
    /// The argument as given by the user.
    pub name: String,
    /// Inputs found.
    pub found: AtomicU64,
    /// Inputs read to their end.
    pub done: AtomicU64,
    /// Inputs skipped because an earlier run loaded them.
    pub skipped: AtomicU64,
    /// The part of the counter above that contains no CloudTrail events.
    pub foreign_before: AtomicU64,
    /// Inputs that contain no CloudTrail events.
    pub foreign: AtomicU64,
    /// Inputs that could not be read to their end.
    pub failed: AtomicU64,
    /// Records read, within the requested time range.
    pub records: AtomicU64,
    /// The settled part of the counter above.
    pub records_settled: AtomicU64,
    /// Bytes of the records, uncompressed.
    pub bytes_read: AtomicU64,
    /// Bytes of settled records, uncompressed.
    pub bytes_settled: AtomicU64,
    /// Bytes of input found, as stored.
    pub bytes_found: AtomicU64,
    /// Bytes of input consumed, as stored.
    pub bytes_consumed: AtomicU64,
    /// The state of the source, if it is followed.
    observation: Mutex<Option<SourceObservation>>,
}

impl SourceMetrics {
    /// Sets the state of the source, which is followed.
    pub fn observe(&self, observation: SourceObservation) {
        let mut state = self.observation.lock().unwrap_or_else(PoisonError::into_inner);
        state.get_or_insert_default().update(observation);
    }

    /// Returns the state of the source, if it is followed and was asked for new events.
    pub fn observation(&self) -> Option<SourceObservation> {
        self.observation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of inputs if none of them contains CloudTrail events, whether this run or an earlier one read
    /// them; 0 otherwise.
    pub fn inputs_without_events(&self) -> u64 {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let foreign_before = get(&self.foreign_before);
        let loaded_before = get(&self.skipped).saturating_sub(foreign_before);
        let others = get(&self.done) + loaded_before + get(&self.failed) + get(&self.records);
        if others == 0 { get(&self.foreign) + foreign_before } else { 0 }
    }
}

/// What became of the records of a run, or of a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordCounts {
    /// Records within the requested time range.
    pub read: u64,
    /// Documents that were created.
    pub created: u64,
    /// Documents that were already in their index.
    pub duplicates: u64,
    /// Documents that were rejected and stored as dead letters.
    pub dead_letters: u64,
}

impl RecordCounts {
    /// Returns what was added since an earlier count.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            read: self.read.saturating_sub(earlier.read),
            created: self.created.saturating_sub(earlier.created),
            duplicates: self.duplicates.saturating_sub(earlier.duplicates),
            dead_letters: self.dead_letters.saturating_sub(earlier.dead_letters),
        }
    }
}

/// Totals of a group of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordTotals {
    /// Number of records within the requested time range.
    pub records: u64,
    /// Bytes of the records, uncompressed.
    pub bytes: u64,
    /// Records with at least one change: a renamed or repaired field.
    pub rewritten: u64,
    /// Records whose event time is missing or invalid.
    pub undated: u64,
    /// Time of the newest event, in milliseconds since 1970; 0 if no event has a time.
    pub newest_event: i64,
}

impl RecordTotals {
    /// Returns these totals without a part of them.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        Self {
            records: self.records.saturating_sub(part.records),
            bytes: self.bytes.saturating_sub(part.bytes),
            rewritten: self.rewritten.saturating_sub(part.rewritten),
            undated: self.undated.saturating_sub(part.undated),
            newest_event: if part.records == self.records { 0 } else { self.newest_event },
        }
    }
}

impl AddAssign for RecordTotals {
    fn add_assign(&mut self, more: Self) {
        self.records += more.records;
        self.bytes += more.bytes;
        self.rewritten += more.rewritten;
        self.undated += more.undated;
        self.newest_event = self.newest_event.max(more.newest_event);
    }
}

/// An input that could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputFailure {
    /// The name of the file, object or Region.
    pub about: String,
    /// The cause, with the position in the input if known.
    pub reason: String,
}

impl Metrics {
    /// Returns zeroed counters for these SOURCE arguments.
    pub fn new(arguments: impl IntoIterator<Item = String>) -> Self {
        let sources = arguments
            .into_iter()
            .map(|name| SourceMetrics { name, ..SourceMetrics::default() })
            .collect();
        Self { sources, ..Self::default() }
    }

    /// Returns what became of the records so far. Those whose documents are in flight are read only.
    pub fn record_counts(&self) -> RecordCounts {
        RecordCounts {
            read: self.read.load(Relaxed),
            created: self.created.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            dead_letters: self.dead_letters.load(Relaxed),
        }
    }

    /// Counts an input of `stored_bytes` found for the SOURCE argument with index `source`.
    pub fn add_found(&self, source: usize, stored_bytes: u64) {
        self.add(source, &self.sources_found, |of| &of.found, 1);
        self.add(source, &self.bytes_found, |of| &of.bytes_found, stored_bytes);
    }

    /// Counts bytes of input that were consumed.
    pub fn add_consumed(&self, source: usize, stored_bytes: u64) {
        self.add(source, &self.bytes_consumed, |of| &of.bytes_consumed, stored_bytes);
    }

    /// Counts records that were read.
    pub fn add_read(&self, source: usize, amount: RecordTotals) {
        self.add(source, &self.read, |of| &of.records, amount.records);
        self.add(source, &self.bytes_read, |of| &of.bytes_read, amount.bytes);
        self.rewritten.fetch_add(amount.rewritten, Relaxed);
        self.undated.fetch_add(amount.undated, Relaxed);
    }

    /// Counts records that were read as older than the retention: the sink found out that their index has expired.
    pub fn move_to_expired(&self, source: usize, amount: RecordTotals) {
        let subtract = |counter: &AtomicU64, amount| counter.fetch_sub(amount, Relaxed);
        if let Some(of) = self.sources.get(source) {
            subtract(&of.records, amount.records);
            subtract(&of.bytes_read, amount.bytes);
        }
        subtract(&self.read, amount.records);
        subtract(&self.bytes_read, amount.bytes);
        subtract(&self.rewritten, amount.rewritten);
        subtract(&self.undated, amount.undated);
        self.expired.fetch_add(amount.records, Relaxed);
    }

    /// Counts records that are settled. The number of settled documents itself is counted from the engine's responses.
    pub fn add_settled(&self, source: usize, amount: RecordTotals) {
        if let Some(of) = self.sources.get(source) {
            of.records_settled.fetch_add(amount.records, Relaxed);
        }
        self.add(source, &self.bytes_settled, |of| &of.bytes_settled, amount.bytes);
        self.rewritten_settled.fetch_add(amount.rewritten, Relaxed);
        self.undated_settled.fetch_add(amount.undated, Relaxed);
        self.newest_event.fetch_max(amount.newest_event, Relaxed);
    }

    /// Counts an input that was read to its end.
    pub fn add_done(&self, source: usize) {
        self.add(source, &self.sources_done, |of| &of.done, 1);
    }

    /// Counts an input that an earlier run loaded. Its bytes count as consumed.
    pub fn add_skipped(&self, source: usize, stored_bytes: u64) {
        self.add(source, &self.sources_skipped, |of| &of.skipped, 1);
        self.add_consumed(source, stored_bytes);
    }

    /// Counts an input in which an earlier run found no CloudTrail events.
    pub fn add_foreign_before(&self, source: usize) {
        if let Some(source) = self.sources.get(source) {
            source.foreign_before.fetch_add(1, Relaxed);
        }
    }

    /// Counts an input that contains no CloudTrail events.
    pub fn add_foreign(&self, source: usize) {
        self.add(source, &self.sources_foreign, |of| &of.foreign, 1);
    }

    /// Counts an input that could not be read to its end, with the cause.
    pub fn add_failed(&self, source: usize, about: &str, reason: &str) {
        self.add(source, &self.sources_failed, |of| &of.failed, 1);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < MAX_FAILURES {
            failures.push(InputFailure { about: about.to_owned(), reason: reason.to_owned() });
        }
    }

    /// Returns the first failures, at most [`MAX_FAILURES`].
    pub fn failures(&self) -> Vec<InputFailure> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(
        &self,
        source: usize,
        run: &AtomicU64,
        part: impl FnOnce(&SourceMetrics) -> &AtomicU64,
        amount: u64,
    ) {
        run.fetch_add(amount, Relaxed);
        if let Some(of) = self.sources.get(source) {
            part(of).fetch_add(amount, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_for_a_source_counts_for_the_run() {
        let metrics = Metrics::new(["a".to_owned(), "b".to_owned()]);
        metrics.add_found(0, 10);
        metrics.add_found(1, 20);
        metrics.add_consumed(1, 5);
        metrics.add_skipped(0, 10);
        metrics.add_read(
            1,
            RecordTotals { records: 3, bytes: 900, rewritten: 1, ..RecordTotals::default() },
        );
        metrics.add_done(1);
        metrics.add_foreign(1);
        assert_eq!(metrics.sources_found.load(Relaxed), 2);
        assert_eq!(metrics.bytes_found.load(Relaxed), 30);
        assert_eq!(metrics.bytes_consumed.load(Relaxed), 15);
        assert_eq!(metrics.sources[0].bytes_consumed.load(Relaxed), 10);
        assert_eq!(metrics.sources[1].bytes_consumed.load(Relaxed), 5);
        assert_eq!(metrics.read.load(Relaxed), 3);
        assert_eq!(metrics.sources[1].records.load(Relaxed), 3);
        assert_eq!(metrics.sources_done.load(Relaxed), metrics.sources[1].done.load(Relaxed));
        assert_eq!(metrics.sources_foreign.load(Relaxed), 1);
    }

    #[test]
    fn failures_are_counted_all_and_kept_in_part() {
        let metrics = Metrics::default();
        for number in 0..MAX_FAILURES + 5 {
            metrics.add_failed(0, &format!("{number}.json"), "cut");
        }
        assert_eq!(metrics.failures().len(), MAX_FAILURES);
        assert_eq!(
            metrics.failures()[0],
            InputFailure { about: "0.json".into(), reason: "cut".into() }
        );
        assert_eq!(metrics.sources_failed.load(Relaxed), MAX_FAILURES as u64 + 5);
    }
}
