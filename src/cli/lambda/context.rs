//! What the runs of all invocations share.
//!
//! Input: the environment. Output: a [`FunctionContext`].
//! Invariant: the memory of the pipeline is a part of that of the function, whatever an invocation contains.

use std::num::NonZeroUsize;

use crate::{
    cli::environment::{self, Environment},
    limit::MemoryBudget,
    pending::PendingRequests,
    report::Log,
    shutdown::ShutdownSignal,
};

/// The memory of the function in MB, as Lambda sets it.
const MEMORY_SIZE: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";

/// Lambda gives one processor for this many MB of memory.
const MEMORY_PER_PROCESSOR_MB: u64 = 1_769;

/// The memory of the pipeline, in bytes, if that of the function is not known.
const DEFAULT_MEMORY_BYTES: u64 = 64 << 20;

/// The largest memory of the pipeline, in bytes: enough for the largest objects of a trail.
const MAX_MEMORY_BYTES: u64 = 256 << 20;

/// The size of a batch, in bytes: the smallest memory holds several.
const BATCH_BYTES: u64 = 2 << 20;

/// What the runs of all invocations share.
pub(super) struct FunctionContext {
    pub(super) memory: MemoryBudget,
    pub(super) workers: usize,
    /// The requests of all clients, which outlive a run.
    pub(super) waits: PendingRequests,
    /// Requested when Lambda ends the process.
    pub(super) stop: ShutdownSignal,
    pub(super) log: Log,
}

impl FunctionContext {
    /// Divides the memory and the processors of the function.
    pub(super) fn new(environment: &Environment, log: &Log, stop: &ShutdownSignal) -> Self {
        let function_mb = environment::variable(MEMORY_SIZE)
            .and_then(|megabytes| megabytes.to_str()?.parse::<u64>().ok());
        let half = function_mb.map_or(DEFAULT_MEMORY_BYTES, |megabytes| megabytes << 19);
        let bytes = half.clamp(MemoryBudget::MIN_TOTAL_BYTES, MAX_MEMORY_BYTES);
        let processors = environment.processors.map_or(1, NonZeroUsize::get);
        let paid = function_mb.map_or(1, |megabytes| megabytes.div_ceil(MEMORY_PER_PROCESSOR_MB));
        let workers = processors.min(usize::try_from(paid).unwrap_or(usize::MAX));
        let memory = MemoryBudget::new(bytes, BATCH_BYTES, 1);
        let workers = workers.min(memory.affordable_workers()).max(1);
        let waits = PendingRequests::default();
        Self { memory, workers, waits, stop: stop.clone(), log: log.clone() }
    }
}
