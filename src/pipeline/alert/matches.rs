//! Limits the memory of matches that wait for the disk, and has them decided about before if several processes share alerts.
//!
//! Input: matches, and their sizes. Output: batches with reservations, which the checkpoint returns by dropping them.
//! Invariant: batches that wait have [`MAX_WAITING_BYTES`] together, or there is only one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::evaluator::MatchedEvent;
use crate::{
    checkpoint::shared_alerts::{self, SharedAlerts},
    event::{DecidedMatches, MatchBatch, NewMatch},
    filter::rule::RuleMatch,
};

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
    /// Waits until matches of this size fit, and has them decided about if alerts are shared.
    ///
    /// # Errors
    ///
    /// Returns [`shared_alerts::Error`] if the shared state cannot be used, or if a shutdown is requested while it is not available.
    pub(in crate::pipeline) async fn batch(
        &self,
        matches: Vec<NewMatch>,
        bytes: usize,
        shared: Option<&SharedAlerts>,
    ) -> Result<MatchBatch, shared_alerts::Error> {
        let reservation = self.reserve(bytes).await;
        Ok(match shared {
            None => MatchBatch { matches, decided: DecidedMatches::default(), reservation },
            Some(_) if matches.is_empty() => MatchBatch { reservation, ..MatchBatch::default() },
            Some(shared) => {
                let decided = shared.decide(matches).await?;
                MatchBatch { matches: Vec::new(), decided, reservation }
            }
        })
    }

    /// Waits until a batch of this size fits. One that is larger than the limit waits until it is alone.
    async fn reserve(&self, bytes: usize) -> Option<Arc<OwnedSemaphorePermit>> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(MAX_WAITING_BYTES);
        let permit = Arc::clone(&self.0).acquire_many_owned(bytes).await;
        // The semaphore is never closed.
        permit.ok().map(Arc::new)
    }
}

impl MatchedEvent<'_> {
    /// Returns the matches, which share the event.
    pub(in crate::pipeline) fn into_matches(self) -> impl Iterator<Item = NewMatch> {
        let Self { matches, time, evaluated_from, id: _, event_id, json: event } = self;
        let event_id = event_id.into_owned();
        matches.into_iter().map(move |(rule, RuleMatch { group, combination })| NewMatch {
            rule,
            group,
            combination,
            time,
            evaluated_from,
            event_id: event_id.clone(),
            event: event.clone(),
        })
    }

    /// Returns the memory of the matches.
    pub(in crate::pipeline) fn bytes(&self) -> usize {
        self.json.len() + self.matches.len() * size_of::<NewMatch>()
    }
}
