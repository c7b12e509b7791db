//! Settles the batches of a load.
//!
//! Input: [`LoadBatch`]es. Output: bulk requests to the sink, and settlements.
//! Invariant: a batch counts in the metrics exactly when its receipt goes to the checkpoint.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use super::{
    batch_builder::{SourceTotals, proportional_totals},
    processor::{LoadBatch, LoadContext, LoadProcessor},
};
use crate::{
    checkpoint::shared_alerts,
    event::{DeadLetter, DeadLetterCause, Inventory, Receipt},
    pipeline::consumer::{Consumer, Settlement},
    report::format,
    sink::{self, Sink, WriteError},
};

/// Valid documents that one run turns into dead letters at most because an index or an ingest pipeline blocks them. Some
/// thousands are a closed month; more would only fill the checkpoint with documents that a person has to unblock first.
pub(super) const MAX_BLOCKED_DOCUMENTS: u64 = 50_000;

/// Why a load cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The sink accepts no further documents.
    #[error(transparent)]
    Sink(#[from] sink::Error),
    /// The state of alerts that processes share cannot be used.
    #[error(transparent)]
    AlertState(#[from] shared_alerts::Error),
    /// An index or an ingest pipeline blocks more documents than one run turns into dead letters.
    #[error(
        "more than {} documents became dead letters in this run because an index or an ingest pipeline blocks them; \
         the last one was for index '{index}'",
        format::count(*limit)
    )]
    TooManyBlocked {
        /// The limit for one run.
        limit: u64,
        /// The index of the last document.
        index: String,
        /// Why the last document was blocked.
        source: BlockedDocument,
    },
}

/// A valid document that its index or an ingest pipeline blocks.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct BlockedDocument {
    /// What blocks the document.
    pub cause: DeadLetterCause,
    /// The engine's reason.
    pub reason: String,
}

/// Writes batches to a sink.
pub(in crate::pipeline) struct LoadConsumer<S> {
    pub(super) sink: Arc<S>,
    pub(super) context: Arc<LoadContext>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Documents that this run turned into dead letters because an index or an ingest pipeline blocks them.
    blocked: u64,
    /// Indices that rejected documents for their content.
    rejecting_indices: BTreeSet<String>,
    inventory: Option<Inventory>,
}

impl<S> LoadConsumer<S> {
    pub(super) fn new(sink: Arc<S>, context: Arc<LoadContext>) -> Self {
        Self { sink, context, state: Mutex::default() }
    }

    /// Takes what the sink holds at the end of the run.
    pub(super) fn take_inventory(&self) -> Option<Inventory> {
        self.state().inventory.take()
    }

    /// Takes the names of the indices that rejected documents for their content.
    pub(super) fn take_rejecting_indices(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.state().rejecting_indices)
    }

    /// Notes an index that rejected a document for its content.
    pub(super) fn add_rejecting_index(&self, index: String) {
        self.state().rejecting_indices.insert(index);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a receipt and the totals of its records to the metrics.
    fn count(&self, receipt: &Receipt, totals: &[SourceTotals]) {
        let metrics = &self.context.metrics;
        let expired = proportional_totals(totals, receipt.expired());
        for (SourceTotals { source_number, totals }, expired) in totals.iter().zip(expired) {
            metrics.move_to_expired(*source_number, expired.totals);
            metrics.add_settled(*source_number, totals.without(expired.totals));
        }
        metrics.created.fetch_add(receipt.created(), Relaxed);
        metrics.duplicates.fetch_add(receipt.duplicates(), Relaxed);
        metrics.dead_letters.fetch_add(receipt.dead_letters.len() as u64, Relaxed);
        let rejected = receipt.dead_letters.iter();
        let rejected = rejected.filter(|one| one.cause == DeadLetterCause::Content);
        self.state().rejecting_indices.extend(rejected.map(|one| one.index.clone()));
    }
}

impl<S: Sink> Consumer for LoadConsumer<S> {
    type Processor = LoadProcessor;
    type Error = LoadError;

    fn processor(&self) -> LoadProcessor {
        LoadProcessor::new(Arc::clone(&self.context))
    }

    fn max_in_flight(&self) -> usize {
        self.context.max_in_flight
    }

    /// A batch with a long document counts as several.
    fn weight(&self, batch: &LoadBatch) -> usize {
        (batch.documents.body.len() / self.context.batch_bytes.max(1)).max(1)
    }

    async fn prepare(&self) -> Result<(), LoadError> {
        Ok(self.sink.prepare().await?)
    }

    async fn settle(&self, batch: LoadBatch) -> Settlement<LoadError> {
        let LoadBatch { documents, totals, matches } = batch;
        let body = documents.body.clone();
        let written = self.sink.write(documents).await;
        self.context.buffers.release(body, self.context.batch_bytes);
        match written {
            Ok(mut receipt) => {
                let matches = matches.settled(self.context.rules.as_deref()).await;
                self.count(&receipt, &totals);
                let blocked = count_blocked(&mut self.state().blocked, &receipt.dead_letters);
                let next = match matches {
                    Ok(matches) => {
                        receipt.matches = matches;
                        blocked.map_or(Ok(ControlFlow::Continue(())), Err)
                    }
                    Err(error) => {
                        // The next run reads the events again, and finds their matches.
                        receipt.shares.clear();
                        Err(error.into())
                    }
                };
                Settlement { receipt, next }
            }
            Err(WriteError { error, indices }) => {
                // Without shares: these documents are settled, but their partitions do not advance. So the next run reads
                // them again, and finds their matches.
                let receipt = Receipt { indices, ..Receipt::default() };
                let settled = receipt.created() + receipt.duplicates();
                self.count(&receipt, &proportional_totals(&totals, settled));
                Settlement { receipt, next: Err(error.into()) }
            }
        }
    }

    async fn finish(&self) -> Result<(), LoadError> {
        let inventory = self.sink.finish().await?;
        self.state().inventory = inventory;
        Ok(())
    }

    fn is_interruption(error: &LoadError) -> bool {
        match error {
            LoadError::Sink(error) => matches!(error, sink::Error::Interrupted { .. }),
            LoadError::AlertState(error) => error.is_interruption(),
            LoadError::TooManyBlocked { .. } => false,
        }
    }
}

/// Counts the documents that an index or an ingest pipeline blocks, and returns an error if there are too many.
pub(super) fn count_blocked(blocked: &mut u64, dead_letters: &[DeadLetter]) -> Option<LoadError> {
    let is_blocked =
        |one: &&DeadLetter| matches!(one.cause, DeadLetterCause::Index | DeadLetterCause::Pipeline);
    let mut more = dead_letters.iter().filter(is_blocked);
    *blocked += more.clone().count() as u64;
    let last = more.next_back().filter(|_| *blocked > MAX_BLOCKED_DOCUMENTS)?;
    let source = BlockedDocument { cause: last.cause, reason: last.reason.clone() };
    let index = last.index.clone();
    Some(LoadError::TooManyBlocked { limit: MAX_BLOCKED_DOCUMENTS, index, source })
}
