//! What the lister, the workers and the coordinator send to each other.

use std::sync::Arc;

use super::{consumer::Origin, long_record::LongRecordPermit, paged_partition::PageJob};
use crate::{
    checkpoint::CheckpointEvent,
    source::{Expectation, Input},
};

/// Checkpoint events that are sent at once if there is no batch to send them with.
pub(super) const EVENTS_PER_OUTPUT: usize = 1_000;

/// Something for a worker to read.
pub(super) struct Job {
    /// What its records come from.
    pub(super) origin: Origin,
    /// What to read.
    pub(super) input: JobInput,
}

/// What a worker reads for one job.
pub(super) enum JobInput {
    /// A partition that is read at once, and what it has to contain.
    Whole(Input, Expectation),
    /// A page of a partition.
    Page(PageJob),
}

/// What a worker or the lister sends to the coordinator.
pub(super) struct WorkerOutput<B> {
    /// Events for the checkpoint, stored before the batch is settled.
    pub(super) checkpoint_events: Vec<CheckpointEvent>,
    /// The batch for the consumer.
    pub(super) batch: Option<B>,
    /// Released when the batch is settled, if it may hold a long record.
    pub(super) permit: Option<Arc<LongRecordPermit>>,
}
