//! Limits the memory of matches that wait for the disk.
//!
//! Input: sizes of batches. Output: reservations, which the checkpoint returns by dropping them.
//! Invariant: batches that wait have [`MAX_WAITING_BYTES`] together, or there is only one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::evaluator::FoundMatch;
use crate::{event::NewMatch, filter::rule::RuleMatch};

/// Bytes of matches that wait for the disk at most: some ten milliseconds of its work. Each delivery is recorded behind them, twice.
const MAX_WAITING_BYTES: u32 = 1 << 20;

/// The memory of matches that wait for the disk.
#[derive(Debug)]
pub(in crate::pipeline) struct MatchReservations(Arc<Semaphore>);

impl Default for MatchReservations {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WAITING_BYTES as usize)))
    }
}

impl MatchReservations {
    /// Waits until a batch of this size fits. One that is larger than the limit waits until it is alone.
    pub(in crate::pipeline) async fn reserve(
        &self,
        bytes: usize,
    ) -> Option<Arc<OwnedSemaphorePermit>> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(MAX_WAITING_BYTES);
        let permit = Arc::clone(&self.0).acquire_many_owned(bytes).await;
        // The semaphore is never closed.
        permit.ok().map(Arc::new)
    }
}

impl From<FoundMatch<'_>> for NewMatch {
    fn from(found: FoundMatch<'_>) -> Self {
        let FoundMatch { rule, found, time, evaluated_from, id: _, event_id, json } = found;
        let RuleMatch { group, combination } = found;
        let (event_id, event) = (event_id.to_owned(), json.to_vec().into());
        Self { rule, group, combination, time, evaluated_from, event_id, event }
    }
}
