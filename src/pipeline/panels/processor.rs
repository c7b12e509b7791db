//! The part of counting that runs on a worker thread: makes documents of records, and counts them a few hundred at a time.

use std::{
    convert::Infallible,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::PanelContext;
use crate::{
    normalize::{MalformedRecord, Normalized, Normalizer},
    pipeline::consumer::{
        Disposition, LongRecord, Origin, Processed, RecordProcessor, whole_record,
    },
};

/// Documents that are counted together, so that a panel is locked, and its counters are in the cache, once for all of them.
const MAX_DOCUMENTS: usize = 256;

/// Bytes of documents after which they are counted.
const MAX_BYTES: usize = 1 << 20;

/// Counts records.
pub(in crate::pipeline) struct PanelProcessor {
    context: Arc<PanelContext>,
    normalizer: Normalizer,
    /// Action lines and documents.
    text: Vec<u8>,
    /// Where the documents are in the text.
    documents: Vec<Range<usize>>,
}

impl PanelProcessor {
    pub(super) fn new(context: Arc<PanelContext>) -> Self {
        let PanelContext { fields, settings, .. } = &*context;
        let normalizer = Normalizer::new(Arc::clone(fields), Arc::clone(settings));
        Self { context, normalizer, text: Vec::new(), documents: Vec::new() }
    }

    /// Keeps a document that was appended to the text at `start`, unless it was counted before.
    fn add(&mut self, normalized: Normalized, start: usize) -> Disposition {
        let placement = match normalized {
            Normalized::Document(placement) => placement,
            Normalized::OutOfRange => return Disposition::OutOfRange,
            Normalized::Expired => return Disposition::Expired,
        };
        // The action line names the index and the id: a load creates no second document with the same ones.
        let document = start + placement.action_bytes as usize;
        if self.context.known.is_new(&self.text[start..document]) {
            self.documents.push(document..self.text.len());
        } else {
            self.text.truncate(start);
        }
        if self.documents.len() >= MAX_DOCUMENTS || self.text.len() >= MAX_BYTES {
            self.count();
        }
        Disposition::Settled
    }

    /// Counts the documents.
    fn count(&mut self) {
        if self.documents.is_empty() {
            return;
        }
        let documents: Vec<&[u8]> =
            self.documents.iter().map(|range| &self.text[range.clone()]).collect();
        let unreadable = self.context.counter.add(&documents);
        self.context.unreadable.fetch_add(unreadable, Relaxed);
        self.documents.clear();
        self.text.clear();
        // One long record does not keep its memory.
        self.text.shrink_to(2 * MAX_BYTES);
    }

    /// Makes a document of a record that the fast path of the normalizer does not take.
    fn rewrite(&mut self, text: &[u8], start: usize) -> Processed {
        let record = match whole_record(text, start) {
            Ok(record) => record,
            Err(unprocessed) => return unprocessed,
        };
        let from = self.text.len();
        match self.normalizer.rewrite(record, &mut self.text) {
            Ok(normalized) => {
                let disposition = self.add(normalized, from);
                Processed::Record { end: start + record.len(), disposition }
            }
            Err(MalformedRecord { offset, expected }) => {
                let cause = format!("expected {expected}").into();
                Processed::Invalid { offset: start + offset, cause }
            }
        }
    }
}

impl RecordProcessor for PanelProcessor {
    type Batch = Infallible;

    fn process(&mut self, text: &[u8], start: usize, _: Origin) -> Processed {
        let from = self.text.len();
        match self.normalizer.try_copy(text, start, &mut self.text) {
            Some((end, normalized)) => {
                Processed::Record { end, disposition: self.add(normalized, from) }
            }
            None => self.rewrite(text, start),
        }
    }

    fn process_long(&mut self, record: LongRecord<'_>, _: Origin) -> Disposition {
        let LongRecord { input, record, reason } = record;
        let message = format_args!("at byte {}: {reason}; it is not counted", record.offset);
        self.context.log.warn(input, message);
        self.context.too_long.fetch_add(1, Relaxed);
        Disposition::Settled
    }

    fn set_envelope_fields(&mut self, username: Option<&[u8]>, resources: Option<&[u8]>) {
        self.normalizer.set_lookup_fields(username, resources);
    }

    fn is_full(&self) -> bool {
        false
    }

    /// Counts what has been read. Nothing is left to be settled.
    fn take_batch(&mut self) -> Option<Infallible> {
        self.count();
        None
    }
}
