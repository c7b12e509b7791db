//! The consumer `--dry-run`: normalizes records as a load does, and counts what it would send.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use super::processor::{LoadBatch, LoadContext, LoadProcessor};
use crate::{
    checkpoint::CheckpointEvent,
    event::{Batch, Receipt, Share},
    pipeline::consumer::{
        Consumer, Disposition, LongRecord, Origin, Processed, ReadTotals, RecordProcessor,
        Settlement,
    },
};

/// Kinds of changes that are counted by themselves; further kinds are left out.
const MAX_CHANGE_KINDS: usize = 10_000;

/// What a load would send.
#[derive(Debug, Default)]
pub struct DryRunReport {
    /// Bytes of the bulk requests.
    pub body_bytes: u64,
    /// Number of documents, by index.
    pub indices: BTreeMap<String, u64>,
    /// Number of documents, by the kind of change that is made to them.
    pub changes: BTreeMap<String, u64>,
}

impl DryRunReport {
    fn add_batch(&mut self, batch: &Batch) {
        self.body_bytes += batch.body.len() as u64;
        for entry in &batch.entries {
            let index = &batch.targets[usize::from(entry.index)].index;
            add(&mut self.indices, index, 1);
        }
    }

    fn add_change(&mut self, change: &str, documents: u64) {
        if self.changes.len() < MAX_CHANGE_KINDS || self.changes.contains_key(change) {
            add(&mut self.changes, change, documents);
        }
    }

    fn merge(&mut self, other: Self) {
        self.body_bytes += other.body_bytes;
        for (index, documents) in other.indices {
            add(&mut self.indices, &index, documents);
        }
        for (change, documents) in other.changes {
            self.add_change(&change, documents);
        }
    }
}

fn add(counts: &mut BTreeMap<String, u64>, key: &str, count: u64) {
    match counts.get_mut(key) {
        Some(known) => *known += count,
        None => drop(counts.insert(key.to_owned(), count)),
    }
}

/// Collects the reports of the workers.
pub(super) struct DryRunConsumer {
    context: Arc<LoadContext>,
    report: Mutex<DryRunReport>,
}

impl DryRunConsumer {
    pub(super) fn new(context: Arc<LoadContext>) -> Self {
        Self { context, report: Mutex::default() }
    }

    /// Takes the report of all batches so far.
    pub(super) fn take_report(&self) -> DryRunReport {
        std::mem::take(&mut *self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Consumer for DryRunConsumer {
    type Processor = DryRunProcessor;
    type Error = Infallible;

    fn processor(&self) -> DryRunProcessor {
        let load = LoadProcessor::new(Arc::clone(&self.context));
        DryRunProcessor { load, changes: DryRunReport::default() }
    }

    async fn settle(&self, batch: DryRunBatch) -> Settlement<Infallible> {
        let DryRunBatch { report, shares } = batch;
        self.report.lock().unwrap_or_else(PoisonError::into_inner).merge(report);
        let receipt = Receipt { shares, ..Receipt::default() };
        Settlement { receipt, next: Ok(ControlFlow::Continue(())) }
    }
}

/// What a worker counted, and the pages that it read.
pub(in crate::pipeline) struct DryRunBatch {
    report: DryRunReport,
    shares: Vec<Share>,
}

/// Normalizes records, and counts the documents instead of sending them.
pub(super) struct DryRunProcessor {
    load: LoadProcessor,
    /// The changes of the batch under construction.
    changes: DryRunReport,
}

impl RecordProcessor for DryRunProcessor {
    type Batch = DryRunBatch;

    fn process(&mut self, text: &[u8], start: usize, origin: Origin) -> Processed {
        let rewritten = self.load.rewritten;
        let processed = self.load.process(text, start, origin);
        if self.load.rewritten > rewritten {
            for change in self.load.normalizer.changes() {
                self.changes.add_change(&change, 1);
            }
        }
        processed
    }

    fn process_long(&mut self, record: LongRecord<'_>, origin: Origin) -> Disposition {
        self.load.process_long(record, origin)
    }

    fn set_envelope_fields(&mut self, username: Option<&[u8]>, resources: Option<&[u8]>) {
        self.load.set_envelope_fields(username, resources);
    }

    fn add_totals(&mut self, source_number: usize, totals: ReadTotals) {
        self.load.add_totals(source_number, totals);
    }

    fn take_checkpoint_events(&mut self, events: &mut Vec<CheckpointEvent>) {
        self.load.take_checkpoint_events(events);
    }

    fn is_full(&self) -> bool {
        self.load.is_full()
    }

    fn take_batch(&mut self) -> Option<DryRunBatch> {
        let LoadBatch { mut documents, .. } = self.load.take_batch()?;
        let shares = std::mem::take(&mut documents.shares);
        let mut report = std::mem::take(&mut self.changes);
        report.add_batch(&documents);
        let context = &self.load.context;
        context.buffers.release(documents.body, context.batch_bytes);
        Some(DryRunBatch { report, shares })
    }
}
