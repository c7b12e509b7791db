//! Counters that everyone adds to, once a page or batch, never once an event.
//!
//! Holds: what a method counts for one SOURCE word, it counts for the whole run too. Counters only
//! grow, so they need no order among each other until the run is over.

use std::ops::AddAssign;
use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;

use super::LookupProgress;
use crate::waits::Waits;

/// Failures kept for the summary. Each was a line on standard error too; the file stays small.
pub const FAILURES_KEPT: usize = 100;

/// The counters of a run.
#[derive(Debug, Default)]
pub struct Tally {
    /// Records read that were in the range asked for.
    pub read: AtomicU64,
    /// Documents new in the index.
    pub created: AtomicU64,
    /// Documents that the index held already.
    pub already_there: AtomicU64,
    /// Those of them that were compared with what the index holds.
    pub duplicates_compared: AtomicU64,
    /// Those of them under whose id the index holds another event.
    pub duplicates_differing: AtomicU64,
    /// Documents that could not go in.
    pub set_aside: AtomicU64,
    /// What became of documents that earlier runs set aside; they are in none of the other counters.
    pub retried: RetriedTally,
    /// Documents in which something was renamed or repaired.
    pub rewritten: AtomicU64,
    /// Those of them that are settled.
    pub rewritten_settled: AtomicU64,
    /// Records whose time cannot be read, or cannot be.
    pub undated: AtomicU64,
    /// Those of them that are settled.
    pub undated_settled: AtomicU64,
    /// Records outside `--from`/`--to`.
    pub filtered: AtomicU64,
    /// Bytes of records, uncompressed.
    pub bytes_read: AtomicU64,
    /// Those of them whose records are settled.
    pub bytes_settled: AtomicU64,
    /// Bytes of input as stored (what a progress bar measures).
    pub bytes_consumed: AtomicU64,
    /// Bytes of input found so far.
    pub bytes_found: AtomicU64,
    /// Whether all inputs are found: before that, nobody knows how much there is to do.
    pub listed: AtomicBool,
    /// Inputs (files) found so far.
    pub sources_found: AtomicU64,
    /// Inputs finished.
    pub sources_done: AtomicU64,
    /// Inputs skipped because an earlier run finished them.
    pub sources_skipped: AtomicU64,
    /// Inputs that are no CloudTrail (digests, Config snapshots, other JSON).
    pub sources_foreign: AtomicU64,
    /// Inputs that could not be read to their end.
    pub sources_failed: AtomicU64,
    /// Bulk requests sent again.
    pub retries: AtomicU64,
    /// Calls that put new fields into a mapping.
    pub mapping_calls: AtomicU64,
    /// Flavour and version of the engine, once it is known.
    pub engine: OnceLock<String>,
    /// How far each account and Region is, once it is known which there are; and the number of their SOURCE word.
    pub lookup: OnceLock<(usize, Arc<LookupProgress>)>,
    /// What is being waited for.
    pub waits: Waits,
    /// The same counters for each SOURCE word, in the order given.
    pub sources: Vec<SourceTally>,
    /// The first failures, at most [`FAILURES_KEPT`].
    failures: Mutex<Vec<Failed>>,
}

/// The counters of documents that were set aside before and sent again.
#[derive(Debug, Default)]
pub struct RetriedTally {
    /// Documents new in the index.
    pub created: AtomicU64,
    /// Documents that the index held already.
    pub already_there: AtomicU64,
    /// Documents that stay set aside.
    pub set_aside: AtomicU64,
}

/// The counters of one SOURCE word.
#[derive(Debug, Default)]
pub struct SourceTally {
    /// The word as the user typed it.
    pub name: String,
    /// Files found.
    pub found: AtomicU64,
    /// Files read to their end.
    pub done: AtomicU64,
    /// Files skipped because an earlier run finished them.
    pub skipped: AtomicU64,
    /// Files that are no CloudTrail.
    pub foreign: AtomicU64,
    /// Files that could not be read to their end.
    pub failed: AtomicU64,
    /// Records read in the range asked for.
    pub records: AtomicU64,
    /// Those of them that are settled.
    pub records_settled: AtomicU64,
    /// Bytes of records, uncompressed.
    pub bytes_read: AtomicU64,
    /// Those of them whose records are settled.
    pub bytes_settled: AtomicU64,
    /// Bytes found, as stored.
    pub bytes_found: AtomicU64,
    /// Bytes consumed, as stored.
    pub bytes_consumed: AtomicU64,
}

/// Records that were read: how many, and what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Records in the range asked for.
    pub records: u64,
    /// Their bytes, uncompressed.
    pub bytes: u64,
    /// Those in which something was renamed or repaired.
    pub rewritten: u64,
    /// Those whose time cannot be read, or cannot be.
    pub undated: u64,
}

impl AddAssign for Amount {
    fn add_assign(&mut self, more: Self) {
        self.records += more.records;
        self.bytes += more.bytes;
        self.rewritten += more.rewritten;
        self.undated += more.undated;
    }
}

/// An input that could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The file.
    pub about: String,
    /// Why, and where in the file.
    pub reason: String,
}

impl Tally {
    /// Returns the counters for these SOURCE words, all zero.
    pub fn new(words: impl IntoIterator<Item = String>) -> Self {
        let sources =
            words.into_iter().map(|name| SourceTally { name, ..SourceTally::default() }).collect();
        Self { sources, ..Self::default() }
    }

    /// Counts a file of `stored_bytes` found under the SOURCE word number `source`.
    pub fn found(&self, source: usize, stored_bytes: u64) {
        self.add(source, &self.sources_found, |of| &of.found, 1);
        self.add(source, &self.bytes_found, |of| &of.bytes_found, stored_bytes);
    }

    /// Counts `stored_bytes` that were read.
    pub fn consumed(&self, source: usize, stored_bytes: u64) {
        self.add(source, &self.bytes_consumed, |of| &of.bytes_consumed, stored_bytes);
    }

    /// Counts records that were read.
    pub fn taken(&self, source: usize, amount: Amount) {
        self.add(source, &self.read, |of| &of.records, amount.records);
        self.add(source, &self.bytes_read, |of| &of.bytes_read, amount.bytes);
        self.rewritten.fetch_add(amount.rewritten, Relaxed);
        self.undated.fetch_add(amount.undated, Relaxed);
    }

    /// Counts records among them whose fate is known. How many there are in all, the engine's answers say.
    pub fn settled(&self, source: usize, amount: Amount) {
        if let Some(of) = self.sources.get(source) {
            of.records_settled.fetch_add(amount.records, Relaxed);
        }
        self.add(source, &self.bytes_settled, |of| &of.bytes_settled, amount.bytes);
        self.rewritten_settled.fetch_add(amount.rewritten, Relaxed);
        self.undated_settled.fetch_add(amount.undated, Relaxed);
    }

    /// Counts a file that was read to its end.
    pub fn done(&self, source: usize) {
        self.add(source, &self.sources_done, |of| &of.done, 1);
    }

    /// Counts a file that an earlier run finished; its bytes count as consumed.
    pub fn skipped(&self, source: usize, stored_bytes: u64) {
        self.add(source, &self.sources_skipped, |of| &of.skipped, 1);
        self.consumed(source, stored_bytes);
    }

    /// Counts a file that is no CloudTrail.
    pub fn foreign(&self, source: usize) {
        self.add(source, &self.sources_foreign, |of| &of.foreign, 1);
    }

    /// Counts a file that could not be read to its end, and remembers why.
    pub fn failed(&self, source: usize, about: &str, reason: &str) {
        self.add(source, &self.sources_failed, |of| &of.failed, 1);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < FAILURES_KEPT {
            failures.push(Failed { about: about.to_owned(), reason: reason.to_owned() });
        }
    }

    /// Returns the first failures, at most [`FAILURES_KEPT`].
    pub fn failures(&self) -> Vec<Failed> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(
        &self,
        source: usize,
        run: &AtomicU64,
        part: impl FnOnce(&SourceTally) -> &AtomicU64,
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
        let tally = Tally::new(["a".to_owned(), "b".to_owned()]);
        tally.found(0, 10);
        tally.found(1, 20);
        tally.consumed(1, 5);
        tally.skipped(0, 10);
        tally.taken(1, Amount { records: 3, bytes: 900, rewritten: 1, ..Amount::default() });
        tally.done(1);
        tally.foreign(1);
        assert_eq!(tally.sources_found.load(Relaxed), 2);
        assert_eq!(tally.bytes_found.load(Relaxed), 30);
        assert_eq!(tally.bytes_consumed.load(Relaxed), 15);
        assert_eq!(tally.sources[0].bytes_consumed.load(Relaxed), 10);
        assert_eq!(tally.sources[1].bytes_consumed.load(Relaxed), 5);
        assert_eq!(tally.read.load(Relaxed), 3);
        assert_eq!(tally.sources[1].records.load(Relaxed), 3);
        assert_eq!(tally.sources_done.load(Relaxed), tally.sources[1].done.load(Relaxed));
        assert_eq!(tally.sources_foreign.load(Relaxed), 1);
    }

    #[test]
    fn failures_are_counted_all_and_kept_in_part() {
        let tally = Tally::default();
        for number in 0..FAILURES_KEPT + 5 {
            tally.failed(0, &format!("{number}.json"), "cut");
        }
        assert_eq!(tally.failures().len(), FAILURES_KEPT);
        assert_eq!(tally.failures()[0], Failed { about: "0.json".into(), reason: "cut".into() });
        assert_eq!(tally.sources_failed.load(Relaxed), FAILURES_KEPT as u64 + 5);
    }
}
