//! The corridor: from the lanes of a source to a ledger that knows what is safe.
//!
//! ```text
//!  lister ──Work──▶ workers ──Product──▶ corridor ──Batch──▶ sink
//!  (thread)         (threads)            (tokio)  ◀─Receipt─┘
//!                                            └──Note──▶ ledger and store (thread)
//! ```
//!
//! One way, and bounded: a slow engine holds the corridor up, the corridor the workers, the workers the
//! lister. It ends in the same order: no more work, no more products, the last receipts, the last notes.

mod batch_builder;
mod checkpoint_writer;
mod dead_letters;
mod error;
mod inputs_by_folder;
mod interruptible_reader;
mod long_record;
mod paged_partition;
mod run;
#[cfg(test)]
mod tests;
mod thread;
mod worker;

pub use error::{BlockedDocument, Error};
pub use run::{PipelineConfig, RunEnd, RunOutcome, dry_run, load};
pub use worker::DryRunReport;
