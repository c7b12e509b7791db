//! The part of a search that runs on a worker thread: examines records, and renders or counts those that match.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    SearchContext, SearchOutput,
    found_event::{ParsedRecord, identity, parse_record},
    record_scan::{ScannedRecord, scan_record},
    summary::EventSummary,
};
use crate::{
    filter::{query::Observations, time_bounds::parse_event_time},
    normalize::{DocumentRecord, MalformedRecord, record_of_document},
    pipeline::consumer::{Disposition, LongRecord, Origin, Processed, ReadTotals, RecordProcessor},
    source::SkipError,
};

/// Rendered bytes after which a batch is handed over.
const BATCH_BYTES: usize = 256 << 10;

/// How long events wait for further ones of the same batch. A person does not notice it, and a reader of every event
/// is not woken for each of them.
const MAX_WAIT: Duration = Duration::from_millis(10);

/// What a worker has found.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct SearchBatch {
    /// Rendered events, one behind the other.
    pub(super) bytes: Vec<u8>,
    pub(super) events: Vec<RenderedEvent>,
    /// A part of the summary.
    pub(super) summary: Option<EventSummary>,
    /// Events in that part.
    pub(super) summarized: u64,
}

/// An event in a [`SearchBatch`].
#[derive(Clone, Copy, Debug)]
pub(super) struct RenderedEvent {
    /// Offset behind its bytes.
    pub(super) end: usize,
    pub(super) id: u128,
    /// Milliseconds of the Unix epoch; `None` if there is no order, or no time.
    pub(super) time: Option<i64>,
}

/// Examines records.
pub(in crate::pipeline) struct SearchProcessor {
    context: Arc<SearchContext>,
    batch: SearchBatch,
    observations: Observations,
    /// When a batch was last handed over.
    handed_over: Option<Instant>,
}

impl SearchProcessor {
    pub(super) fn new(context: Arc<SearchContext>) -> Self {
        Self {
            context,
            batch: SearchBatch::default(),
            observations: Observations::default(),
            handed_over: None,
        }
    }

    /// Examines a record that was scanned.
    fn examine(
        &mut self,
        record: &[u8],
        scanned: &ScannedRecord<'_>,
    ) -> Result<(), MalformedRecord> {
        if scanned.may_be_document
            && let Some(DocumentRecord { record, .. }) = record_of_document(record)
            && let Ok(scanned) = scan_record(&record, 0)
        {
            return self.examine_original(&record, &scanned);
        }
        self.examine_original(record, scanned)
    }

    fn examine_original(
        &mut self,
        record: &[u8],
        scanned: &ScannedRecord<'_>,
    ) -> Result<(), MalformedRecord> {
        let context = &*self.context;
        let header = &scanned.header;
        if !context.query.admits(header) {
            return Ok(());
        }
        let ParsedRecord { json, value } = parse_record(record)?;
        if !context.query.matches(&value, &mut self.observations) {
            return Ok(());
        }
        let id = identity(header, &json)?;
        if !context.seen.is_new(id) {
            context.repeated.fetch_add(1, Relaxed);
            return Ok(());
        }
        self.add(&json, &value, id);
        Ok(())
    }

    /// Adds an event that matches.
    fn add(&mut self, json: &[u8], event: &Value, id: u128) {
        let Self { context, batch, .. } = self;
        let time = match &context.output {
            SearchOutput::Summary(empty) => {
                batch.summary.get_or_insert_with(|| empty.clone()).add(event);
                batch.summarized += 1;
                return;
            }
            SearchOutput::Events => None,
            SearchOutput::Sorted(_) => event_milliseconds(event),
        };
        context.renderer.render(json, event, &mut batch.bytes);
        batch.events.push(RenderedEvent { end: batch.bytes.len(), id, time });
    }
}

fn event_milliseconds(event: &Value) -> Option<i64> {
    let time = event.get("eventTime")?.as_str()?;
    parse_event_time(time).map(|time| time.as_millisecond())
}

impl RecordProcessor for SearchProcessor {
    type Batch = SearchBatch;

    fn process(&mut self, text: &[u8], start: usize, _origin: Origin) -> Processed {
        let scanned = match scan_record(text, start) {
            Ok(scanned) => scanned,
            Err(SkipError::Incomplete) => return Processed::Incomplete,
            Err(SkipError::Invalid { offset, cause }) => {
                return Processed::Invalid { offset, cause: cause.into() };
            }
        };
        match self.examine(&text[start..scanned.end], &scanned) {
            // No checkpoint waits for a receipt.
            Ok(()) => Processed::Record { end: scanned.end, disposition: Disposition::Settled },
            Err(MalformedRecord { offset, expected }) => Processed::Invalid {
                offset: start + offset,
                cause: format!("expected {expected}").into(),
            },
        }
    }

    fn process_long(&mut self, record: LongRecord<'_>, _origin: Origin) -> Disposition {
        let LongRecord { input, record, reason } = record;
        let message = format_args!("at byte {}: {reason}; not examined", record.offset);
        self.context.log.warn(input, message);
        self.context.too_long.fetch_add(1, Relaxed);
        Disposition::Settled
    }

    fn add_totals(&mut self, _source_number: usize, totals: ReadTotals) {
        self.context.examined.fetch_add(totals.records, Relaxed);
        self.context.add_observations(std::mem::take(&mut self.observations));
    }

    fn is_full(&self) -> bool {
        let SearchBatch { bytes, events, summary, summarized } = &self.batch;
        if let Some(summary) = summary {
            return summary.is_full(*summarized);
        }
        if events.is_empty() {
            return false;
        }
        let is_streamed = matches!(self.context.output, SearchOutput::Events);
        bytes.len() >= BATCH_BYTES
            || is_streamed
                && (self.handed_over.is_none_or(|then| then.elapsed() >= MAX_WAIT)
                    || self.context.limit.is_some_and(|limit| events.len() as u64 >= limit))
    }

    fn is_due(&self) -> bool {
        !self.batch.events.is_empty() && matches!(self.context.output, SearchOutput::Events)
    }

    fn take_batch(&mut self) -> Option<SearchBatch> {
        if self.batch.events.is_empty() && self.batch.summary.is_none() {
            return None;
        }
        self.handed_over = Some(Instant::now());
        Some(std::mem::take(&mut self.batch))
    }
}
