//! The checkpoint: records which partitions are loaded, so that a run can resume where an earlier one stopped.
//!
//! Input: [`CheckpointEvent`]s from the pipeline, on one channel. Output: rows in one SQLite file, and [`Status`].
//! Invariant: a partition is recorded as loaded only after the engine has acknowledged every document of it, and the
//! record is on disk before it is reported. A crash at any moment can therefore repeat work, but never skip events.
//!
//! [`Ledger`] decides what is complete (no I/O), [`CheckpointStore`] writes, [`CheckpointReader`] queries. The schema is
//! in `checkpoints/`. The file contains no secrets: the target is stored without credentials.

pub mod alerts;
mod complete_folders;
mod coverage;
mod dead_letter_groups;
mod dead_letters;
mod error;
mod examine;
mod file;
mod index_rows;
pub mod indices;
mod input_groups;
pub mod ledger;
mod lock;
mod migrate;
mod read_only;
mod reader;
mod reason_pattern;
#[cfg(test)]
mod scenario;
pub mod shared_alerts;
mod source_states;
pub mod status;
mod store;
mod target;
mod values;

use tokio::sync::mpsc::UnboundedSender;

use crate::event::{
    ListingSummary, Partition, PartitionNumber, Position, Receipt, ResultSender, SourceObservation,
    TimeSlice,
};

pub use alerts::{accept_undelivered_alerts, retry_undelivered_alerts};
pub use dead_letters::{
    DeadLetterKey, RetryCandidate, RetryOutcome, RetrySelection, accept_dead_letters,
};
pub use error::Error;
pub use examine::{CheckpointState, examine, is_in_use};
pub use indices::LoadedIndices;
pub use ledger::Ledger;
pub use reader::CheckpointReader;
pub use status::Status;
pub use store::CheckpointStore;
pub use target::{LOCALHOST, canonical_host};

/// An event that the pipeline sends to the [`CheckpointStore`].
///
/// The first event of a partition is `PartitionOpened`. Its `PageRead` events may arrive in any order, before or after
/// `PartitionEnded`, which carries the number of pages. A receipt may arrive at any time after `PartitionOpened`, also
/// before the `PageRead` of the page it belongs to.
#[derive(Clone, Debug)]
pub enum CheckpointEvent {
    /// Reading of a partition has started.
    PartitionOpened {
        /// The partition's number, unique within this run.
        number: PartitionNumber,
        /// The key and fingerprint under which the checkpoint stores the partition.
        partition: Partition,
        /// The name shown to the user.
        name: String,
        /// The time range that the partition covers. If set, the covered time is stored instead of the partition.
        time_slice: Option<TimeSlice>,
        /// Receives the result of the partition.
        result: Option<ResultSender>,
    },
    /// A page of a partition was read.
    PageRead {
        /// The partition.
        partition: PartitionNumber,
        /// The page number: consecutive, starting at 0 in each run.
        page: u32,
        /// Number of documents read from the page, including dead letters. May be 0.
        documents: u32,
        /// How much of the page was processed.
        extent: PageExtent,
        /// Bytes of input, as stored (compressed).
        bytes: u64,
        /// The position that the partition reaches when this page and all earlier pages are settled.
        position: Option<Position>,
    },
    /// Documents were settled: created, duplicate, or dead letter.
    Settled(Receipt),
    /// Dead letters were sent again.
    Retried(RetryOutcome),
    /// Deliveries of alerts were started or have ended. Committed at once, with everything that was sent before.
    DeliveriesChanged {
        /// What has changed.
        update: alerts::DeliveryUpdate,
        /// Receives a value once the change is on disk.
        stored: UnboundedSender<()>,
    },
    /// An index rejected documents of this run because of their content, and will reject them again until `version`
    /// changes.
    RejectedUnder {
        /// The index.
        index: String,
        /// The combined version of program, rules and mapping that rejected them.
        version: String,
    },
    /// A partition has no pages beyond these. The ledger drops the partition when all of them are read and settled.
    /// This also applies to a failed partition: the page in which reading failed has its [`PageRead`](Self::PageRead)
    /// too. A page without one keeps its partition incomplete.
    PartitionEnded {
        /// The partition.
        partition: PartitionNumber,
        /// How reading ended.
        outcome: PartitionOutcome,
        /// Number of pages: 1 for a file, 0 if nothing could be read.
        pages: u32,
        /// The final fingerprint, if it is known only at the end; otherwise the one given at the start applies.
        fingerprint: Option<String>,
    },
    /// A folder has no further partitions: once all of them are loaded, one row can replace theirs.
    FolderComplete {
        /// The common prefix of the partitions' keys, including the last slash.
        prefix: String,
        /// Number of partitions and digest of the listing.
        listing: ListingSummary,
        /// Number of partitions that the folder had when it was completed before. They remain loaded.
        previously_loaded: u64,
        /// Number of partitions that are read in this run. The others were loaded before.
        read_in_this_run: u64,
    },
    /// The fingerprint of a loaded partition changed but its content did not (for example a touched file).
    Unchanged(Partition),
    /// A source that is followed was asked for new events.
    SourceObserved {
        /// The SOURCE argument, as in the summary.
        source: String,
        /// What it knows about its state.
        observation: SourceObservation,
    },
    /// A field that is not in the shipped tables got its kind.
    FieldDiscovered {
        /// The field's path.
        path: String,
        /// The field's kind.
        kind: String,
        /// What determined the kind: the first value, or the engine's mapping.
        origin: String,
    },
}

/// How much of a page was processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageExtent {
    /// All of its records.
    Whole,
    /// Only records in the requested time range. A run with another range has to read the page again, so its partition is
    /// not recorded as complete.
    InRange,
    /// Not all of its records, because it is invalid. Its partition is not recorded as complete.
    Failed {
        /// The cause, as shown to the user.
        cause: String,
    },
}

/// How reading of a partition ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionOutcome {
    /// Read to its end.
    Done,
    /// Read to its end; it contains no CloudTrail events and is not expected to.
    Skipped {
        /// What it contains instead, as shown to the user.
        cause: String,
    },
    /// Reading failed. The partition is listed as failed, and the next run reads it again.
    Failed {
        /// The cause, as shown to the user.
        cause: String,
        /// Byte offset of the error, if known.
        offset: Option<u64>,
    },
    /// The run stopped before the end of the partition.
    Interrupted,
}

/// Committed totals of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTotals {
    /// Partitions that were loaded.
    pub partitions_loaded: u64,
    /// Partitions that were read to their end and contain no CloudTrail events.
    pub partitions_skipped: u64,
    /// Partitions that failed.
    pub partitions_failed: u64,
    /// Partitions that were opened and are none of these: interrupted, or with unsettled documents.
    pub partitions_unfinished: u64,
    /// Records of all pages that were read to their end.
    pub records: u64,
    /// Bytes of those pages, as stored (compressed).
    pub bytes: u64,
    /// Documents created in an index.
    pub created: u64,
    /// Documents that were already in their index.
    pub duplicates: u64,
    /// Documents stored as dead letters.
    pub dead_letters: u64,
    /// Dead letters of earlier runs that were sent again and created.
    pub retried_created: u64,
    /// Dead letters of earlier runs that were sent again and were already in their index.
    pub retried_duplicates: u64,
    /// Dead letters of earlier runs that were sent again and remain dead letters.
    pub retried_dead_letters: u64,
}

/// Number of dead letters of all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// Dead letters that the user has not accepted.
    pub dead_letters: u64,
    /// Dead letters that the user has accepted.
    pub accepted: u64,
}
