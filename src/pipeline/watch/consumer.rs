//! The consumer of `trailload watch`: evaluates rules on every event, and records matches with the receipt of their records.
//!
//! ```text
//!  worker threads                          coordinator
//!  record ──▶ RuleEvaluator ──NewMatch──▶ Receipt::matches ──▶ checkpoint
//! ```
//!
//! Input: the records of a source. Output: receipts with matches.
//! Invariant: a page is complete in the checkpoint only with the alerts of its events. What waits for the disk is bounded.
//! Not here: which matches are alerts (see `checkpoint::alerts`), and their delivery.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, OnceLock},
};

use super::context::WatchContext;
use crate::{
    checkpoint::shared_alerts::{self, SharedAlerts},
    event::{NewMatch, Receipt},
    pipeline::{
        alert::{
            delivery::Backlog,
            evaluator::{Evaluated, MatchedEvent, RuleEvaluator, RuleFailures},
            matches::MatchReservations,
        },
        consumer::{
            Consumer, Disposition, LongRecord, Origin, Processed, ReadTotals, RecordProcessor,
            Settlement, Shares,
        },
    },
    source::EnvelopeMember,
};

/// Bytes of matches after which a batch is handed over.
const BATCH_BYTES: usize = 256 << 10;

/// What workers have found.
#[derive(Default)]
pub(in crate::pipeline) struct FoundBatch {
    matches: Vec<NewMatch>,
    bytes: usize,
    shares: Shares,
    failures: BTreeMap<usize, RuleFailures>,
}

/// Evaluates rules.
pub(super) struct WatchConsumer {
    context: Arc<WatchContext>,
    reservations: MatchReservations,
    /// Set before the first batch is settled, if deliveries could be started.
    backlog: OnceLock<Backlog>,
    /// Decides about matches, if several processes share alerts.
    shared: Option<SharedAlerts>,
}

impl WatchConsumer {
    pub(super) fn new(context: Arc<WatchContext>, shared: Option<SharedAlerts>) -> Self {
        Self {
            context,
            reservations: MatchReservations::default(),
            backlog: OnceLock::new(),
            shared,
        }
    }

    /// Makes reading wait while receivers work off many alerts.
    pub(super) fn wait_for(&self, backlog: Backlog) {
        // It is set once.
        let _ = self.backlog.set(backlog);
    }
}

impl Consumer for WatchConsumer {
    type Processor = WatchProcessor;
    type Error = shared_alerts::Error;

    fn processor(&self) -> WatchProcessor {
        WatchProcessor {
            evaluator: self.context.evaluator(),
            context: Arc::clone(&self.context),
            batch: FoundBatch::default(),
            input: String::new(),
        }
    }

    async fn settle(&self, batch: FoundBatch) -> Settlement<shared_alerts::Error> {
        let FoundBatch { matches, bytes, shares, failures } = batch;
        self.context.add_failures(failures);
        if let Some(backlog) = self.backlog.get().filter(|_| !matches.is_empty()) {
            backlog.wait().await;
        }
        match self.reservations.batch(matches, bytes, self.shared.as_ref()).await {
            Ok(matches) => Settlement {
                receipt: Receipt { shares: shares.into_vec(), matches, ..Receipt::default() },
                next: Ok(ControlFlow::Continue(())),
            },
            // Without shares, so the next run reads these events again.
            Err(error) => Settlement { receipt: Receipt::default(), next: Err(error) },
        }
    }

    fn is_interruption(error: &shared_alerts::Error) -> bool {
        error.is_interruption()
    }
}

impl FoundBatch {
    fn add(&mut self, event: MatchedEvent<'_>) {
        self.bytes += event.bytes();
        self.matches.extend(event.into_matches());
    }
}

/// The part on a worker thread.
pub(super) struct WatchProcessor {
    context: Arc<WatchContext>,
    evaluator: RuleEvaluator,
    batch: FoundBatch,
    /// The name of the input.
    input: String,
}

impl RecordProcessor for WatchProcessor {
    type Batch = FoundBatch;

    fn process(&mut self, text: &[u8], start: usize, origin: Origin) -> Processed {
        let batch = &mut self.batch;
        let before = batch.matches.len();
        let (end, evaluated) = match self.evaluator.evaluate(text, start, |event| batch.add(event))
        {
            Ok(evaluated) => evaluated,
            Err(unevaluated) => return unevaluated.into(),
        };
        if evaluated == Evaluated::TooLarge {
            self.context.report_too_large(&self.input, end - start);
        }
        let disposition = if batch.matches.len() == before {
            evaluated.disposition()
        } else {
            batch.shares.add(origin);
            Disposition::Pending
        };
        Processed::Record { end, disposition }
    }

    fn process_long(&mut self, record: LongRecord<'_>, _: Origin) -> Disposition {
        self.context.report_too_long(&record);
        Disposition::Settled
    }

    fn start_input(&mut self, _origin: Origin, name: &str) {
        name.clone_into(&mut self.input);
    }

    fn reads_eventbridge_envelopes(&self) -> bool {
        true
    }

    fn set_eventbridge_envelope(&mut self, members: Option<&[EnvelopeMember<'_>]>) {
        self.evaluator.set_envelope(members);
    }

    fn add_totals(&mut self, _: usize, totals: ReadTotals) {
        self.context.add_events(totals.records);
    }

    fn is_full(&self) -> bool {
        self.batch.bytes >= BATCH_BYTES
    }

    fn is_due(&self) -> bool {
        // An alert is worth more now than later.
        !self.batch.matches.is_empty()
    }

    fn take_batch(&mut self) -> Option<FoundBatch> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.failures = self.evaluator.take_failures();
        (!batch.matches.is_empty() || !batch.failures.is_empty()).then_some(batch)
    }
}
