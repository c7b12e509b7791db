//! The data types that modules exchange: partitions, batches, receipts and dead letters.
//!
//! A source reads [`Partition`]s, numbers them in the order in which it opens them, and delivers each as one page or
//! several. Workers collect the documents of pages in [`Batch`]es. The sink answers every batch with a [`Receipt`], and
//! the checkpoint advances the position of a partition once every document of its pages is settled.
//!
//! Input and output: none; these are plain values. Invariant: the shares of a receipt are those of its batch.
//! Not here: any decision about an event.

pub mod alert;
mod compressed_text;
mod dead_letter;
pub mod fingerprint;
mod index;
mod partition_result;
mod source_observation;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use alert::{Alert, DecidedMatches, MatchBatch, NewMatch, RuleDecisions, Severity};
pub use compressed_text::{BoundedCompressor, CompressedText};
pub use dead_letter::{DeadLetter, DeadLetterCause, DeadLetterContent};
pub use fingerprint::Fingerprint;
pub use index::{IndexIdentity, IndexState, Inventory};
pub use partition_result::{PartitionResult, ResultReceiver, ResultSender, result_channel};
pub use source_observation::SourceObservation;

/// Number of a partition within this run, assigned by the source in the order in which partitions are opened.
pub type PartitionNumber = u32;

/// A part of a source that is read and resumed on its own: a file, an S3 object, or a time slice of one account, Region
/// and event category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Key in the checkpoint: `file:` and the absolute path, `s3://BUCKET/KEY`, or `lookup:…/FROM-TO`.
    pub key: String,
    /// Changes when the content may have changed. For files: size, modification time, and a hash of both ends.
    pub fingerprint: String,
}

/// What the checkpoint knows of a partition that an earlier run finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedPartition {
    /// Its fingerprint at that time.
    pub fingerprint: String,
    /// Whether it contained no CloudTrail events.
    pub is_foreign: bool,
}

/// Summary of a folder listing. Two equal summaries stand for the same inputs with the same content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListingSummary {
    /// Number of inputs.
    pub inputs: u64,
    /// Sum of the hashes of their names and fingerprints, which does not depend on their order.
    pub digest: u64,
    /// Modification time of the newest input, in seconds of the Unix epoch.
    pub newest: i64,
}

impl ListingSummary {
    /// Adds one input, given the hash of its name and fingerprint and its modification time.
    pub fn add(&mut self, hash: u64, modified: i64) {
        self.inputs += 1;
        self.digest = self.digest.wrapping_add(hash);
        self.newest = self.newest.max(modified);
    }
}

/// How far a paged partition, read from its newest event backwards, is settled: everything from this second of the
/// Unix epoch to the end of the partition is.
pub type Position = i64;

/// The time that a partition covers, in whole seconds of the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSlice {
    /// The query without its time: account, Region and event category. Coverage is recorded for each series.
    pub series: String,
    /// First second.
    pub from: i64,
    /// Last second, inclusive.
    pub to: i64,
    /// Last second for which no late events are expected any more.
    pub complete_until: i64,
}

/// The documents of a batch that came from one page of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Number of the partition.
    pub partition: PartitionNumber,
    /// Number of the page within that partition, counted from 0 in each run.
    pub page: u32,
    /// Number of documents of the batch that came from the page.
    pub documents: u32,
}

/// The place of one document in the body of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Offset of the action line.
    pub action: u32,
    /// Offset of the document line, where the action line and its newline end.
    pub document: u32,
    /// Offset behind the newline of the document line.
    pub end: u32,
    /// Position of the document's index in [`Batch::targets`].
    pub index: u16,
    /// Position of the document's share in [`Batch::shares`].
    pub share: u32,
}

/// An index that a batch writes to, and the discovered fields that its mapping must have before the write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetIndex {
    /// Name of the index, such as `cloudtrail-2024.06`.
    pub index: String,
    /// Number of discovered fields, in order of discovery, that the documents use at most (see
    /// `normalize::FieldRegistry`).
    pub required_fields: u32,
}

/// The documents of one bulk request.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Action lines and document lines in turn.
    pub body: Bytes,
    /// Every document of the body, in order.
    pub entries: Vec<Entry>,
    /// The indices that the batch writes to.
    pub targets: Vec<TargetIndex>,
    /// Version of the field registry before the first document was normalized. What became unmapped later may have no
    /// term in `trailload.unmapped`.
    pub fields_version: u64,
    /// The pages that the documents came from.
    pub shares: Vec<Share>,
    /// Records of the same pages that could not be turned into documents; the shares count them too.
    pub dead_letters: Vec<DeadLetter>,
}

/// Results of a batch in one index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexCount {
    /// Name of the index, as it was sent.
    pub index: String,
    /// Number of documents that were created.
    pub created: u64,
    /// Number of documents that the index already held.
    pub duplicates: u64,
    /// Identity of the index when this run first wrote to it, if the engine reports it.
    pub identity: Option<IndexIdentity>,
}

/// Result of a batch: every document of every share is settled.
///
/// A receipt without shares reports documents of a batch that failed as a whole: they are in their index, but no
/// partition advances.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    /// The shares of the batch, unchanged.
    pub shares: Vec<Share>,
    /// Created documents and duplicates, one entry for each index.
    pub indices: Vec<IndexCount>,
    /// Documents that could not be indexed.
    pub dead_letters: Vec<DeadLetter>,
    /// Number of documents that were left out because all events of their index are older than the retention, by index.
    pub expired: BTreeMap<String, u64>,
    /// Matches of rules in the records of the batch.
    pub matches: MatchBatch,
}

impl Receipt {
    /// Returns the number of documents that were created.
    pub fn created(&self) -> u64 {
        self.indices.iter().map(|one| one.created).sum()
    }

    /// Returns the number of documents that their index already held.
    pub fn duplicates(&self) -> u64 {
        self.indices.iter().map(|one| one.duplicates).sum()
    }

    /// Returns the number of documents that were left out because they are older than the retention.
    pub fn expired(&self) -> u64 {
        self.expired.values().sum()
    }
}
