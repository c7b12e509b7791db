//! The contract between the pipeline and a consumer: what a run does with the records that it reads.
//!
//! ```text
//!  record ──▶ RecordProcessor (one per worker thread) ──Batch──▶ Consumer::settle (coordinator) ──Settlement──▶ checkpoint
//! ```
//!
//! A consumer has two parts. A [`RecordProcessor`] handles one record after another on a worker thread and collects
//! what it makes of them in batches; the CPU work belongs there. The [`Consumer`] itself settles these batches on the
//! coordinator: it writes, prints or calls out. The receipt of a [`Settlement`] advances the checkpoint, if the run has
//! one; a consumer without a checkpoint returns empty receipts.
//!
//! Both are type parameters of the pipeline, so no record is boxed, copied or dispatched dynamically.
//! Deliberately absent: the checkpoint's rules (see `checkpoint`), and any consumer (see `load`).

use std::{borrow::Cow, future::ready, ops::ControlFlow};

use crate::{
    checkpoint::CheckpointEvent,
    event::{PartitionNumber, Receipt, Share},
    source::{EnvelopeMember, OversizedRecord, SkipError, skip_value},
};

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Number of the SOURCE argument, from 0.
    pub source_number: usize,
    /// Number of the partition within the run, in the order of listing.
    pub partition: PartitionNumber,
    /// Page of the partition; 0 for a partition that is read at once, such as a file.
    pub page: u32,
}

/// The result of processing a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Processed {
    /// The record was processed.
    Record {
        /// Offset in the text behind the record.
        end: usize,
        /// What remains to be done for it.
        disposition: Disposition,
    },
    /// The text ends within the record. The same record is passed again, with more text.
    Incomplete,
    /// The record is not valid JSON.
    Invalid {
        /// Offset in the text of the first invalid byte.
        offset: usize,
        /// The reason, shown to the user.
        cause: Cow<'static, str>,
    },
}

/// What remains to be done for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The record is in the batch under construction. Its page is complete only when a receipt has a share for it.
    Pending,
    /// Nothing; no receipt counts the record.
    Settled,
    /// The record is outside the requested time range. Its partition stays incomplete, because a run with another range
    /// has to read it again.
    OutOfRange,
    /// The record is older than the retention. No run loads it, so its partition can be complete.
    Expired,
}

/// How the reading of an input or page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputEnd {
    /// It was read to its end.
    Complete,
    /// It was not, because it is invalid or unreadable, or because the run is ending.
    Incomplete,
}

/// A record that is longer than the limit for records in memory.
#[derive(Debug)]
pub struct LongRecord<'a> {
    /// The name of the input, as shown to the user.
    pub input: &'a str,
    /// The record, compressed, if it fits in memory that way.
    pub record: OversizedRecord,
    /// Why it was not processed, shown to the user.
    pub reason: String,
}

/// Records that were read since the last call of [`RecordProcessor::add_totals`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadTotals {
    /// Records in the requested time range.
    pub records: u64,
    /// Their bytes, uncompressed.
    pub bytes: u64,
}

/// The part of a consumer that runs on a worker thread.
///
/// The worker calls [`start_input`](Self::start_input), then the methods for its records, then
/// [`end_input`](Self::end_input). It takes a batch when [`is_full`](Self::is_full) returns true, when records have
/// waited too long, and at the end of the run, so a batch may hold records of several inputs.
pub trait RecordProcessor {
    /// What the processor makes of records, handed over to [`Consumer::settle`].
    type Batch: Send + 'static;

    /// Processes the record that starts with the `{` at `text[start]`. The text may continue behind the record, or end
    /// within it. A record that is incomplete or invalid must leave no trace.
    fn process(&mut self, text: &[u8], start: usize, origin: Origin) -> Processed;

    /// Processes a record that is too long to be held in memory.
    fn process_long(&mut self, record: LongRecord<'_>, origin: Origin) -> Disposition;

    /// Sets the fields that the envelope of LookupEvents has in addition to the next record: the values of `Username`
    /// and `Resources` as JSON. Called with `None` after that record.
    fn set_envelope_fields(&mut self, _username: Option<&[u8]>, _resources: Option<&[u8]>) {}

    /// Returns whether [`set_eventbridge_envelope`](Self::set_eventbridge_envelope) is to be called.
    fn reads_eventbridge_envelopes(&self) -> bool {
        false
    }

    /// Sets the members of the envelope in which EventBridge delivered the next record. Called with `None` after that record.
    fn set_eventbridge_envelope(&mut self, _members: Option<&[EnvelopeMember<'_>]>) {}

    /// Sets the path of the archive member that the next records come from; empty behind an archive.
    fn set_archive_member(&mut self, _path: &str) {}

    /// Starts an input, or a page of a partition. `name` is shown to the user.
    fn start_input(&mut self, _origin: Origin, _name: &str) {}

    /// Ends the input or page.
    fn end_input(&mut self, _origin: Origin, _end: InputEnd) {}

    /// Adds totals of records of one SOURCE argument to the batch under construction. Called before a batch is taken, and
    /// now and then.
    fn add_totals(&mut self, _source_number: usize, _totals: ReadTotals) {}

    /// Moves events for the checkpoint to `events`. They are stored before the receipt of the next batch.
    fn take_checkpoint_events(&mut self, _events: &mut Vec<CheckpointEvent>) {}

    /// Returns whether the batch should be handed over now.
    fn is_full(&self) -> bool;

    /// Returns whether the batch should be handed over before the worker waits for further input, however small it is.
    fn is_due(&self) -> bool {
        false
    }

    /// Takes the batch, or returns `None` if it is empty.
    fn take_batch(&mut self) -> Option<Self::Batch>;
}

/// What a run does with records.
pub trait Consumer: Send + Sync + 'static {
    /// The part that runs on worker threads.
    type Processor: RecordProcessor;
    /// Why the consumer cannot continue.
    type Error: std::error::Error + Send + 'static;

    /// Creates the processor of a worker. Called on the worker's thread.
    fn processor(&self) -> Self::Processor;

    /// Returns what follows for an input that cannot be read completely, as the end of its warning.
    fn consequence_of_failed_input() -> &'static str {
        "the next run tries again"
    }

    /// Returns how many batches are settled at the same time. With 1, the default, batches are settled in the order in
    /// which the workers hand them over.
    fn max_in_flight(&self) -> usize {
        1
    }

    /// Returns how many batches of the usual size this one counts as.
    fn weight(&self, _batch: &Batch<Self>) -> usize {
        1
    }

    /// Prepares the target, while the first inputs are read.
    ///
    /// # Errors
    ///
    /// Returns an error that ends the run.
    fn prepare(&self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        ready(Ok(()))
    }

    /// Settles a batch. May be called before [`prepare`](Self::prepare) has returned.
    fn settle(&self, batch: Batch<Self>) -> impl Future<Output = Settlement<Self::Error>> + Send;

    /// Returns whether an error means only that a shutdown request interrupted the consumer. It is then not reported.
    fn is_interruption(_error: &Self::Error) -> bool {
        false
    }

    /// Observes the progress of partitions: each event that goes to the checkpoint, also if the run has none. A
    /// partition's [`CheckpointEvent::PartitionOpened`] comes before the first batch with a record of it.
    fn on_progress(&self, _event: &CheckpointEvent) {}

    /// Finishes the target. Called at most once, when every batch is settled and the run neither failed nor was stopped.
    ///
    /// # Errors
    ///
    /// Returns an error that ends the run.
    fn finish(&self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        ready(Ok(()))
    }
}

/// The batch of a consumer.
pub type Batch<C> = <<C as Consumer>::Processor as RecordProcessor>::Batch;

/// The result of settling a batch.
#[derive(Debug)]
pub struct Settlement<E> {
    /// What of the batch is settled, also if the run cannot continue. Its shares advance the checkpoint.
    pub receipt: Receipt,
    /// `Continue` for further batches, or `Break` if the consumer needs no further records: then the run ends as
    /// [`RunOutcome::Satisfied`](super::RunOutcome::Satisfied). An error ends the run as failed.
    pub next: Result<ControlFlow<()>, E>,
}

impl<E> Settlement<E> {
    /// Returns the settlement of every record that the shares count.
    pub fn new(shares: Shares, next: ControlFlow<()>) -> Self {
        Self { receipt: Receipt { shares: shares.0, ..Receipt::default() }, next: Ok(next) }
    }
}

/// Counts the records of a batch by the page that they come from.
#[derive(Clone, Debug, Default)]
pub struct Shares(Vec<Share>);

impl Shares {
    /// Returns the shares, for a [`Receipt`].
    pub fn into_vec(self) -> Vec<Share> {
        self.0
    }

    /// Counts a record and returns the number of its share.
    pub fn add(&mut self, origin: Origin) -> u32 {
        let Origin { partition, page, .. } = origin;
        match self.0.last_mut() {
            Some(share) if (share.partition, share.page) == (partition, page) => {
                share.documents += 1;
            }
            _ => self.0.push(Share { partition, page, documents: 1 }),
        }
        #[expect(clippy::cast_possible_truncation, reason = "no more shares than records")]
        let last = self.0.len() as u32 - 1;
        last
    }
}

/// Returns the record that starts at `text[start]`, for processors that need it as a whole.
///
/// # Errors
///
/// Returns [`Processed::Incomplete`] or [`Processed::Invalid`], to be returned by [`RecordProcessor::process`].
pub fn whole_record(text: &[u8], start: usize) -> Result<&[u8], Processed> {
    match skip_value(text, start) {
        Ok(end) => Ok(&text[start..end]),
        Err(SkipError::Incomplete) => Err(Processed::Incomplete),
        Err(SkipError::Invalid { offset, cause }) => {
            Err(Processed::Invalid { offset, cause: cause.into() })
        }
    }
}
