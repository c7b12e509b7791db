//! Counters that everyone adds to, once a page or batch, never once an event.

use std::sync::atomic::AtomicU64;

/// The counters of a run.
#[derive(Debug, Default)]
pub struct Tally {
    /// Records read that were in the range asked for.
    pub read: AtomicU64,
    /// Documents new in the index.
    pub created: AtomicU64,
    /// Documents that the index held already.
    pub already_there: AtomicU64,
    /// Documents that could not go in.
    pub set_aside: AtomicU64,
    /// Documents in which something was renamed or repaired.
    pub rewritten: AtomicU64,
    /// Records outside `--from`/`--to`.
    pub filtered: AtomicU64,
    /// Bytes of records, uncompressed.
    pub bytes_read: AtomicU64,
    /// Bytes of input as stored (what a progress bar measures).
    pub bytes_consumed: AtomicU64,
    /// Bytes of input found so far.
    pub bytes_found: AtomicU64,
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
}
