//! The result of a partition, for the source that handed it over.
//!
//! Input: what the pipeline and the checkpoint find out about a partition. Output: one [`PartitionResult`], for sources that have
//! to do something once a partition is processed, such as deleting the message that it came from.
//! Invariant: a result is sent only when nothing of it can be lost any more: everything that it depends on is committed.
//! Not here: when that is the case (see `checkpoint::Ledger`).

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How the processing of a partition ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionResult {
    /// It was read to its end, and every record is settled: documents are acknowledged or stored as dead letters, alerts are
    /// stored, records outside of the requested time range are left out. With a checkpoint, all of that is committed to it.
    Complete,
    /// It was read to its end, and contains no CloudTrail events.
    Foreign {
        /// What it contains instead, as shown to the user.
        kind: String,
    },
    /// It could not be read, or only in part.
    Failed {
        /// The cause, as shown to the user.
        cause: String,
    },
}

/// Creates the channel for the result of a partition.
pub fn result_channel() -> (ResultSender, ResultReceiver) {
    let (sender, receiver) = unbounded_channel();
    (ResultSender(sender), ResultReceiver(receiver))
}

/// The sending end. It travels with the partition; a clone is the same end.
#[derive(Clone, Debug)]
pub struct ResultSender(UnboundedSender<PartitionResult>);

/// The receiving end.
#[derive(Debug)]
pub struct ResultReceiver(UnboundedReceiver<PartitionResult>);

impl ResultSender {
    /// Sends the result. Has no effect if the receiver is gone.
    pub fn send(self, result: PartitionResult) {
        // A receiver that no longer waits needs no result.
        let _ = self.0.send(result);
    }
}

impl PartialEq for ResultSender {
    /// Returns whether both send to the same receiver.
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl Eq for ResultSender {}

impl ResultReceiver {
    /// Returns the result if it was sent.
    pub fn try_recv(&mut self) -> Option<PartitionResult> {
        self.0.try_recv().ok()
    }

    /// Returns whether no result can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits for the result. Returns `None` if the run ended before: then the partition may be processed in part.
    pub async fn recv(mut self) -> Option<PartitionResult> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sender_that_is_dropped_has_no_result() {
        let (sender, receiver) = result_channel();
        drop(sender.clone());
        sender.send(PartitionResult::Complete);
        assert_eq!(receiver.recv().await, Some(PartitionResult::Complete));
        let (sender, receiver) = result_channel();
        drop(sender);
        assert_eq!(receiver.recv().await, None);
    }
}
