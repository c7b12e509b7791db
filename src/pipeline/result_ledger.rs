//! The results of partitions in a run without a checkpoint.
//!
//! Input: the events that a checkpoint would store. Output: results, sent to the sources that wait for them.
//! Invariant: a result is sent when every record of the partition is settled, as with a checkpoint. Only partitions that a source
//! waits for take memory.

use crate::checkpoint::{self, CheckpointEvent, Ledger, PartitionOutcome, ledger::DueResult};

/// Tracks the partitions whose results sources wait for.
#[derive(Debug, Default)]
pub(super) struct ResultLedger(Ledger);

impl ResultLedger {
    /// Applies an event, and sends the results that are due.
    ///
    /// # Errors
    ///
    /// Returns an error if more records of a page are settled than it has.
    pub(super) fn apply(&mut self, event: CheckpointEvent) -> Result<(), checkpoint::Error> {
        let ledger = &mut self.0;
        match event {
            CheckpointEvent::PartitionOpened { number, partition, name, result, .. }
                if result.is_some() =>
            {
                ledger.open(number, partition, name, None, result);
            }
            CheckpointEvent::PageRead { partition, page, documents, extent, bytes, position }
                if ledger.partition(partition).is_some() =>
            {
                let content = checkpoint::ledger::PageContent { documents, bytes, position };
                ledger.page(partition, page, content, extent)?;
            }
            CheckpointEvent::Settled(receipt) => {
                for share in receipt.shares {
                    ledger.settle(share)?;
                }
            }
            CheckpointEvent::PartitionEnded { partition, outcome, pages, fingerprint } => {
                if ledger.partition(partition).is_none() {
                    return Ok(());
                }
                match outcome {
                    PartitionOutcome::Done => ledger.complete(partition, pages, fingerprint)?,
                    PartitionOutcome::Skipped { cause } => {
                        ledger.mark_skipped(partition, cause)?;
                        ledger.complete(partition, pages, fingerprint)?
                    }
                    PartitionOutcome::Failed { cause, .. } => {
                        ledger.abandon(partition, pages, Some(cause))?
                    }
                    PartitionOutcome::Interrupted => ledger.abandon(partition, pages, None)?,
                };
            }
            _ => {}
        }
        ledger.take_results().into_iter().for_each(DueResult::send);
        Ok(())
    }
}
