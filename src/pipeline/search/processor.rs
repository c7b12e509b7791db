//! The part of a search that runs on a worker thread: examines records, and renders or counts those that match.

use std::{
    fmt::Display,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    SearchContext, SearchOutput,
    field_observations::FieldObservations,
    found_event::{ParsedRecord, identity, is_too_large, parse_record, valid_json},
    listed_resources::ListedResources,
    record_scan::{MemberRange, ScannedRecord, scan_record},
    summary::EventSummary,
};
use crate::{
    filter::{
        eventbridge::Envelope,
        query::{DeliveredEvent, EventHeader, Observations},
        time_bounds::parse_event_time,
    },
    normalize::{DocumentRecord, MalformedRecord, record_of_document},
    pipeline::consumer::{
        Disposition, LongRecord, Origin, Processed, ReadTotals, RecordProcessor, Shares,
    },
    source::{EnvelopeMember, SkipError},
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
    /// The pages of events that are printed at once. Sorted and summarized events are held in memory to the end of the search.
    pub(super) shares: Shares,
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

/// The longest record that is parsed as a whole only for hints.
const MAX_SAMPLED_BYTES: usize = 256 << 10;

/// Examines records.
pub(in crate::pipeline) struct SearchProcessor {
    context: Arc<SearchContext>,
    batch: SearchBatch,
    observations: Observations,
    fields: FieldObservations,
    /// When a batch was last handed over.
    handed_over: Option<Instant>,
    /// Name of the input that is read.
    input: String,
    /// The members of the current record.
    members: Vec<MemberRange>,
    /// The resources that LookupEvents lists beside the next record.
    listed_resources: ListedResources,
    /// The envelope in which EventBridge delivered the next record.
    envelope: Option<Envelope>,
}

impl SearchProcessor {
    pub(super) fn new(context: Arc<SearchContext>) -> Self {
        let fields = context.new_field_observations();
        Self {
            context,
            batch: SearchBatch::default(),
            observations: Observations::default(),
            fields,
            handed_over: None,
            input: String::new(),
            members: Vec::new(),
            listed_resources: ListedResources::default(),
            envelope: None,
        }
    }

    /// Examines a record that was scanned.
    fn examine(
        &mut self,
        text: &[u8],
        start: usize,
        scanned: &ScannedRecord<'_>,
    ) -> Result<(), Unexamined> {
        let record = &text[start..scanned.end];
        if scanned.may_be_document
            && let Some(DocumentRecord { record, lookup }) = record_of_document(record)
            && let Ok(scanned) = scan_record(&record, 0, &mut self.members)
        {
            self.listed_resources.set_from_document(&lookup);
            let examined = self.examine_original(&record, &record, &scanned);
            self.listed_resources.set(None);
            return examined;
        }
        self.examine_original(text, record, scanned)
    }

    /// Examines the record of an event, which is a part of `text`.
    fn examine_original(
        &mut self,
        text: &[u8],
        record: &[u8],
        scanned: &ScannedRecord<'_>,
    ) -> Result<(), Unexamined> {
        if !self.context.query.admits(&scanned.header_for(self.context.header_needs)) {
            return Ok(());
        }
        let event = match self.project(text, record, scanned) {
            Some(projected) => ExaminedEvent::Projected(projected),
            None => ExaminedEvent::Parsed(parse_whole(record)?),
        };
        let value = event.value();
        let listed = self.listed_resources.add_to(value);
        let query = &self.context.query;
        let (listed, envelope) = (listed.as_ref(), self.envelope.as_ref());
        let delivered = DeliveredEvent { event: value, listed, envelope };
        let matches = query.matches_delivered(&delivered, &mut self.observations);
        if self.observations.want_names() {
            self.collect_names(record, &event);
        }
        if matches { self.add_once(record, &scanned.header(), event) } else { Ok(()) }
    }

    /// Parses what the query looks at, unless the whole record has to be parsed.
    fn project(&self, text: &[u8], record: &[u8], scanned: &ScannedRecord<'_>) -> Option<Value> {
        let projection = self.context.projection.as_ref().filter(|_| !scanned.has_escaped_key)?;
        projection.parse(text, scanned.end - record.len()..scanned.end, &self.members)
    }

    /// Collects the names in an event for a hint about a field that no event has.
    fn collect_names(&mut self, record: &[u8], event: &ExaminedEvent<'_>) {
        let Self { context, observations, .. } = self;
        match event {
            ExaminedEvent::Parsed(parsed) => {
                context.query.collect_names(&parsed.value, observations);
            }
            ExaminedEvent::Projected(projected) => {
                let whole = (record.len() <= MAX_SAMPLED_BYTES).then(|| parse_whole(record).ok());
                let whole = whole.flatten().map(|parsed| parsed.value);
                context.query.collect_names(whole.as_ref().unwrap_or(projected), observations);
            }
        }
    }

    /// Adds an event that matches, unless it was found before.
    fn add_once(
        &mut self,
        record: &[u8],
        header: &EventHeader<'_>,
        event: ExaminedEvent<'_>,
    ) -> Result<(), Unexamined> {
        let (json, value) = match event {
            ExaminedEvent::Parsed(ParsedRecord { json, value }) => (json, Some(value)),
            ExaminedEvent::Projected(_) if self.context.needs_parsed() => {
                let ParsedRecord { json, value } = parse_whole(record)?;
                (json, Some(value))
            }
            ExaminedEvent::Projected(_) => (valid_json(record)?, None),
        };
        let id = identity(header, &json)?;
        if self.context.seen.is_new(id) {
            self.add(&json, &value.unwrap_or_default(), &EventPlace::new(header, id));
        } else {
            self.context.repeated.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Adds an event. It is null if it does not need to be parsed.
    fn add(&mut self, json: &[u8], event: &Value, place: &EventPlace<'_>) {
        let Self { context, batch, fields, .. } = self;
        fields.observe(event);
        let time = match &context.output {
            SearchOutput::Summary(empty) => {
                batch.summary.get_or_insert_with(|| empty.clone()).add(event);
                batch.summarized += 1;
                return;
            }
            SearchOutput::Events => None,
            SearchOutput::Sorted(_) => place.milliseconds(),
        };
        context.renderer.render(json, event, &mut batch.bytes);
        batch.events.push(RenderedEvent { end: batch.bytes.len(), id: place.id, time });
    }

    /// Returns what remains to be done for an examined record, given the number of events in the batch before it.
    fn disposition(&mut self, found_before: usize, origin: Origin) -> Disposition {
        let is_printed = matches!(self.context.output, SearchOutput::Events);
        if is_printed && self.batch.events.len() > found_before {
            self.batch.shares.add(origin);
            return Disposition::Pending;
        }
        Disposition::Settled
    }

    /// Reports a record that is not examined.
    fn report_too_long(&self, input: &str, reason: impl Display) {
        self.context.log.warn(input, format_args!("{reason}; not examined"));
        self.context.too_long.fetch_add(1, Relaxed);
    }
}

/// Parses a record as a whole.
fn parse_whole(record: &[u8]) -> Result<ParsedRecord<'_>, Unexamined> {
    if is_too_large(record) {
        return Err(Unexamined::TooLarge);
    }
    Ok(parse_record(record)?)
}

/// Why a record is not examined.
enum Unexamined {
    Malformed(MalformedRecord),
    /// It would take too much memory.
    TooLarge,
}

impl From<MalformedRecord> for Unexamined {
    fn from(malformed: MalformedRecord) -> Self {
        Self::Malformed(malformed)
    }
}

/// What decides about the place of an event among others.
struct EventPlace<'e> {
    id: u128,
    event_time: Option<&'e str>,
}

impl<'e> EventPlace<'e> {
    fn new(header: &EventHeader<'e>, id: u128) -> Self {
        Self { id, event_time: header.event_time }
    }

    fn milliseconds(&self) -> Option<i64> {
        parse_event_time(self.event_time?).map(Timestamp::as_millisecond)
    }
}

impl Drop for SearchProcessor {
    fn drop(&mut self) {
        // Once for each worker: an expression decides by what it has met so far what it still looks for.
        self.context.add_observations(std::mem::take(&mut self.observations));
    }
}

/// An event as far as it is parsed.
enum ExaminedEvent<'r> {
    /// What the query looks at.
    Projected(Value),
    Parsed(ParsedRecord<'r>),
}

impl ExaminedEvent<'_> {
    fn value(&self) -> &Value {
        match self {
            Self::Projected(value) => value,
            Self::Parsed(parsed) => &parsed.value,
        }
    }
}

impl RecordProcessor for SearchProcessor {
    type Batch = SearchBatch;

    fn process(&mut self, text: &[u8], start: usize, origin: Origin) -> Processed {
        let found = self.batch.events.len();
        let scanned = match scan_record(text, start, &mut self.members) {
            Ok(scanned) => scanned,
            Err(SkipError::Incomplete) => return Processed::Incomplete,
            Err(SkipError::Invalid { offset, cause }) => {
                return Processed::Invalid { offset, cause: cause.into() };
            }
        };
        match self.examine(text, start, &scanned) {
            Ok(()) => {
                let disposition = self.disposition(found, origin);
                Processed::Record { end: scanned.end, disposition }
            }
            Err(Unexamined::Malformed(MalformedRecord { offset, expected })) => {
                let cause = format!("expected {expected}").into();
                Processed::Invalid { offset: start + offset, cause }
            }
            Err(Unexamined::TooLarge) => {
                let bytes = (scanned.end - start) as u64;
                let record = format_args!(
                    "a record of {bytes} bytes would take too much memory when parsed"
                );
                self.report_too_long(&self.input, record);
                Processed::Record { end: scanned.end, disposition: Disposition::Settled }
            }
        }
    }

    fn process_long(&mut self, record: LongRecord<'_>, _origin: Origin) -> Disposition {
        let LongRecord { input, record, reason } = record;
        self.report_too_long(input, format_args!("at byte {}: {reason}", record.offset));
        Disposition::Settled
    }

    fn start_input(&mut self, _origin: Origin, name: &str) {
        self.input.clear();
        self.input.push_str(name);
    }

    fn set_envelope_fields(&mut self, _username: Option<&[u8]>, resources: Option<&[u8]>) {
        let is_needed = !self.context.query.selectors.resources.is_empty();
        self.listed_resources.set(resources.filter(|_| is_needed));
    }

    fn reads_eventbridge_envelopes(&self) -> bool {
        !self.context.query.conditions.is_empty()
    }

    fn set_eventbridge_envelope(&mut self, members: Option<&[EnvelopeMember<'_>]>) {
        self.envelope = members.map(|members| Envelope::from_json(members.iter().copied()));
    }

    fn add_totals(&mut self, _source_number: usize, totals: ReadTotals) {
        self.context.examined.fetch_add(totals.records, Relaxed);
    }

    fn is_full(&self) -> bool {
        let SearchBatch { bytes, events, summary, summarized, .. } = &self.batch;
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
        if let Some(news) = self.fields.take_news() {
            self.context.add_field_observations(news);
        }
        Some(std::mem::take(&mut self.batch))
    }
}
