//! The part of a load that runs on a worker thread: normalizes records into a batch.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use super::{
    alerts::{FoundMatches, LoadRules, MatchCollector},
    batch_builder::{BatchBuilder, BufferPool, DocumentTarget, SourceTotals},
};
use crate::{
    checkpoint::CheckpointEvent,
    event::{Batch, DeadLetter, DeadLetterCause, DeadLetterContent},
    normalize::{
        DecidedBy, FieldDecision, FieldRegistry, MalformedRecord, Normalized, Normalizer,
        Placement, Settings,
    },
    pipeline::consumer::{
        Disposition, LongRecord, Origin, Processed, ReadTotals, RecordProcessor, whole_record,
    },
    report::{Log, Metrics, metrics::RecordTotals},
    source::{EnvelopeMember, OversizedRecord},
};

/// What the processors of a load share.
pub(super) struct LoadContext {
    pub(super) fields: Arc<FieldRegistry>,
    pub(super) settings: Arc<Settings>,
    /// Size of a bulk request.
    pub(super) batch_bytes: usize,
    /// Length of the longest record that --memory allows.
    pub(super) max_record_bytes: usize,
    /// Bulk requests in flight that --memory allows.
    pub(super) max_in_flight: usize,
    pub(super) buffers: BufferPool,
    /// The rules that are evaluated, if there are any.
    pub(super) rules: Option<Arc<LoadRules>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Log,
    /// Whether the user knows that no further fields are mapped.
    pub(super) is_full_reported: AtomicBool,
}

impl LoadContext {
    /// Returns what was decided since the last call about fields that are not in the shipped table.
    pub(super) fn field_decisions(&self) -> impl Iterator<Item = CheckpointEvent> {
        self.fields.take_decisions().into_iter().map(|FieldDecision { path, shape, by }| {
            let kind = shape.name();
            let origin = match by {
                DecidedBy::FirstValue => "first value",
                DecidedBy::Engine => "existing index",
            };
            self.log
                .debug(&path, format_args!("not in the field table; mapped as {kind} ({origin})"));
            CheckpointEvent::FieldDiscovered {
                path,
                kind: kind.to_owned(),
                origin: origin.to_owned(),
            }
        })
    }
}

/// A bulk request, and the totals of its records.
pub(in crate::pipeline) struct LoadBatch {
    pub(super) documents: Batch,
    pub(super) totals: Vec<SourceTotals>,
    /// Matches of rules in the records of the documents.
    pub(super) matches: FoundMatches,
}

/// Normalizes records.
pub(in crate::pipeline) struct LoadProcessor {
    pub(super) context: Arc<LoadContext>,
    pub(super) normalizer: Normalizer,
    batch: BatchBuilder,
    /// `None` without rules.
    matches: Option<MatchCollector>,
    /// Records since the last totals in which something was renamed or repaired.
    pub(super) rewritten: u64,
    /// Records since the last totals without a plausible time.
    undated: u64,
    /// Time of the newest event since the last totals, in milliseconds since 1970.
    newest_event: i64,
}

impl LoadProcessor {
    pub(super) fn new(context: Arc<LoadContext>) -> Self {
        let LoadContext { fields, settings, batch_bytes, .. } = &*context;
        Self {
            normalizer: Normalizer::new(Arc::clone(fields), Arc::clone(settings)),
            batch: BatchBuilder::new(*batch_bytes, fields.version()),
            matches: context.rules.clone().map(MatchCollector::new),
            rewritten: 0,
            undated: 0,
            newest_event: 0,
            context,
        }
    }

    /// Adds a document that was appended to the body at `start`.
    fn add(&mut self, normalized: Normalized, start: usize, origin: Origin) -> Disposition {
        let placement = match normalized {
            Normalized::Document(placement) => placement,
            Normalized::OutOfRange => return Disposition::OutOfRange,
            Normalized::Expired => return Disposition::Expired,
        };
        let Placement { action_bytes, period, required_fields, rewritten, time } = placement;
        let target = DocumentTarget { period, required_fields };
        let Self { batch, normalizer, .. } = self;
        let index_name = || normalizer.index_name(period).to_owned();
        batch.add(origin, start, action_bytes, target, index_name);
        self.rewritten += u64::from(rewritten);
        self.undated += u64::from(placement.is_undated());
        self.newest_event = self.newest_event.max(time);
        Disposition::Pending
    }

    /// Processes a record that the fast path cannot normalize.
    fn rewrite(&mut self, text: &[u8], start: usize, origin: Origin) -> Processed {
        let record = match whole_record(text, start) {
            Ok(record) => record,
            Err(unprocessed) => return unprocessed,
        };
        let body_start = self.batch.body.len();
        match self.normalizer.rewrite(record, &mut self.batch.body) {
            Ok(normalized) => {
                let disposition = self.add(normalized, body_start, origin);
                Processed::Record { end: start + record.len(), disposition }
            }
            Err(MalformedRecord { offset, expected }) => {
                let cause = format!("expected {expected}").into();
                Processed::Invalid { offset: start + offset, cause }
            }
        }
    }
}

impl RecordProcessor for LoadProcessor {
    type Batch = LoadBatch;

    fn process(&mut self, text: &[u8], start: usize, origin: Origin) -> Processed {
        let body_start = self.batch.body.len();
        let processed = match self.normalizer.try_copy(text, start, &mut self.batch.body) {
            Some((end, normalized)) => {
                let disposition = self.add(normalized, body_start, origin);
                Processed::Record { end, disposition }
            }
            None => self.rewrite(text, start, origin),
        };
        if let Some(matches) = &mut self.matches
            && matches!(processed, Processed::Record { disposition: Disposition::Pending, .. })
        {
            matches.examine(text, start);
        }
        processed
    }

    fn reads_eventbridge_envelopes(&self) -> bool {
        self.matches.is_some()
    }

    fn set_eventbridge_envelope(&mut self, members: Option<&[EnvelopeMember<'_>]>) {
        if let Some(matches) = &mut self.matches {
            matches.set_envelope(members);
        }
    }

    fn process_long(&mut self, record: LongRecord<'_>, origin: Origin) -> Disposition {
        let LongRecord { input, record, reason } = record;
        let OversizedRecord { content, offset, bytes } = record;
        let message = format_args!("at byte {offset}: {reason}; kept as a dead letter");
        self.context.log.warn(input, message);
        let dead_letter = DeadLetter {
            partition: origin.partition,
            id: format!("{input}@{offset}"),
            index: self.context.settings.prefix.clone(),
            cause: DeadLetterCause::Limit,
            reason,
            content: DeadLetterContent::Record { content, offset, bytes },
        };
        self.batch.add_dead_letter(origin, dead_letter);
        Disposition::Pending
    }

    fn set_envelope_fields(&mut self, username: Option<&[u8]>, resources: Option<&[u8]>) {
        self.normalizer.set_lookup_fields(username, resources);
    }

    fn add_totals(&mut self, source_number: usize, totals: ReadTotals) {
        let ReadTotals { records, bytes } = totals;
        let rewritten = std::mem::take(&mut self.rewritten);
        let undated = std::mem::take(&mut self.undated);
        self.context.metrics.rewritten.fetch_add(rewritten, Relaxed);
        self.context.metrics.undated.fetch_add(undated, Relaxed);
        let newest_event = std::mem::take(&mut self.newest_event);
        let totals = RecordTotals { records, bytes, rewritten, undated, newest_event };
        self.batch.add_totals(source_number, totals);
    }

    fn take_checkpoint_events(&mut self, events: &mut Vec<CheckpointEvent>) {
        let context = &self.context;
        events.extend(context.field_decisions());
        if context.fields.is_full() && !context.is_full_reported.swap(true, Relaxed) {
            context.log.warn(
                "--max-fields",
                "the limit of mapped fields is reached; further fields are searchable only through \
                 trailload.unmapped",
            );
        }
    }

    fn is_full(&self) -> bool {
        self.batch.is_full() || self.matches.as_ref().is_some_and(MatchCollector::is_full)
    }

    fn take_batch(&mut self) -> Option<LoadBatch> {
        if self.batch.is_empty() {
            return None;
        }
        let LoadContext { buffers, fields, .. } = &*self.context;
        let (documents, totals) = self.batch.take(buffers, fields.version());
        let matches = self.matches.as_mut().map(MatchCollector::take).unwrap_or_default();
        Some(LoadBatch { documents, totals, matches })
    }
}
