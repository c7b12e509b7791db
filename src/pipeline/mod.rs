//! Runs a source through a consumer: lists inputs, reads their records in parallel, settles what becomes of them.
//!
//! ```text
//!  lister ──Job──▶ workers ──WorkerOutput──▶ coordinator ──Batch──▶ consumer
//!  (tokio task)    (threads)                 (tokio task) ◀─Settlement─┘
//!                                                  └──CheckpointEvent──▶ checkpoint (thread)
//! ```
//!
//! Every arrow is a bounded queue that flows in one direction: a slow consumer delays the coordinator, which delays the
//! workers, which delay the lister. A run ends in the same order: the last job, the last output, the last settlement, the
//! last checkpoint event.
//!
//! Generic over the [`Consumer`], which decides what is done with records; [`load()`] has one, [`dry_run()`] another. A new
//! consumer needs no change here.
//!
//! | file | responsibility |
//! |---|---|
//! | [`consumer`] | the contract between the pipeline and a consumer |
//! | `run` | starts the threads and ends them in order |
//! | `lister`, `inputs_by_folder`, `paged_partition` | numbers partitions and queues jobs; knows which folders and slices are complete |
//! | `worker`, `interruptible_reader`, `long_record` | decodes inputs and passes records to the consumer; one long record at a time |
//! | `coordinator`, `checkpoint_writer`, `result_ledger` | passes batches to the consumer, and events and receipts to the checkpoint; sends results to sources |
//! | `job`, `job_queue` | what lister, workers and coordinator send to each other |
//! | `load` | the consumers of `trailload load`: normalize, batch, write; and the dry run |

pub mod alert;
mod checkpoint_writer;
pub mod consumer;
mod coordinator;
mod error;
mod inputs_by_folder;
mod interruptible_reader;
mod job;
mod job_queue;
mod lister;
mod load;
mod long_record;
pub mod observe;
mod paged_partition;
pub mod panels;
mod result_ledger;
mod run;
pub mod search;
#[cfg(test)]
mod tests;
mod thread;
pub mod watch;
mod worker;

pub use consumer::{Consumer, RecordProcessor};
pub use error::{Error, ThreadError};
pub use load::{
    BlockedDocument, DryRunReport, LoadAlerts, LoadAlertsEnd, LoadConfig, LoadEnd, LoadError,
    dry_run, load,
};
pub use run::{PipelineConfig, RunEnd, RunOutcome, run};
