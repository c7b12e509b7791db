//! Whether messages of a queue may be acknowledged.
//!
//! Input: a queue. Output: what is wrong with its permissions.
//! Invariant: nothing changes: the requests are about a message that does not exist, which SQS tells only to those who may send them.
//! Not here: receiving, because each receive counts towards the dead-letter queue.

use super::{client::QueueClient, error::QueueError};

/// A receipt that no message has.
const ABSENT: &str = "AQEB-no-message";

/// What prevents messages from being acknowledged.
#[derive(Debug, Default)]
pub struct AcknowledgementProblems {
    /// Why messages cannot be deleted: a run that reads the queue fails.
    pub deleting: Option<QueueError>,
    /// Why messages can be neither extended nor released: some are delivered more often than they have to be.
    pub extending: Option<QueueError>,
}

impl QueueClient {
    /// Checks whether messages may be deleted, extended and released.
    pub async fn acknowledgement_problems(&self) -> AcknowledgementProblems {
        let receipts = [ABSENT.to_owned()];
        AcknowledgementProblems {
            deleting: self.delete(&receipts).await.err(),
            extending: self.change_visibility(&receipts, 0).await.err(),
        }
    }
}
