//! One worker: opens inputs, finds their records, normalizes them, packs them into batches.
//!
//! In: [`Job`] from the lister. Out: [`WorkerOutput`]s for the corridor, in an order that the ledger
//! understands: a lane is opened before any of its documents travel. A lane that comes in pages is opened and
//! ended by the lister, before the first and behind the last of them was handed out.
//! Holds: memory is bounded by the decoder's limits and one batch; nothing read is forgotten.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::mpsc::Sender;

use super::{
    batch_builder::{BatchBuilder, BufferPool, DocumentTarget, SourceTotals},
    interruptible_reader::InterruptibleReader,
    long_record::{LongRecordPermit, LongRecordSemaphore},
    paged_partition::PageJob,
};
use crate::{
    checkpoint::{CheckpointEvent, PartitionOutcome},
    event::{Batch, DeadLetter, DeadLetterCause, DeadLetterContent, PartitionNumber},
    limit::DecoderLimits,
    normalize::{
        DecidedBy, FieldDecision, FieldRegistry, MalformedRecord, Normalized, Normalizer,
        Placement, Settings,
    },
    report::{self, Log, Metrics, format},
    shutdown::ShutdownSignal,
    source::{
        Content, Decoded, Decoder, Error, Expectation, Input, OversizedRecord, RecordHandler,
        RecordOutcome, SkipError, skip_value,
    },
};

/// How long documents wait for company when there is nothing to read.
const IDLE_FLUSH: Duration = Duration::from_millis(200);

/// How long documents of one input wait for a full batch while it is read.
const MAX_BATCH_AGE: Duration = Duration::from_secs(2);

/// Notes that travel without documents: files without any are told in groups.
pub(super) const EVENTS_PER_OUTPUT: usize = 1_000;

/// Inputs with something that is no CloudTrail which are inputs_named before they are only counted.
const MAX_NAMED_INPUTS: u32 = 10;

/// Kinds of changes that a dry run tells; the rest is counted together.
const MAX_CHANGE_KINDS: usize = 10_000;

/// Something to read, with its numbers.
pub(super) struct Job {
    /// Which lane of this run it is, or belongs to.
    pub(super) lane: PartitionNumber,
    /// Which SOURCE source_number it belongs to.
    pub(super) source_number: usize,
    /// JobInput to read.
    pub(super) what: JobInput,
}

/// JobInput a worker reads at once.
pub(super) enum JobInput {
    /// A whole lane, and what it has to be.
    Input(Input, Expectation),
    /// A page of a lane.
    Page(PageJob),
}

/// JobInput a worker hands on.
#[derive(Default)]
pub(super) struct WorkerOutput {
    /// For the ledger, before the batch.
    pub(super) checkpoint_events: Vec<CheckpointEvent>,
    /// For the sink.
    pub(super) batch: Option<Batch>,
    /// For the counters, once the batch is settled.
    pub(super) totals: Vec<SourceTotals>,
    /// Held until then, if a long record may be in the batch.
    pub(super) permit: Option<Arc<LongRecordPermit>>,
}

/// JobInput a dry run learns beside the counters.
#[derive(Debug, Default)]
pub struct DryRunReport {
    /// Bytes that would be sent.
    pub batch_bytes: u64,
    /// Documents that would be sent to each index.
    pub indices: BTreeMap<String, u64>,
    /// How often each kind of change would be made.
    pub changes: BTreeMap<String, u64>,
}

/// JobInput all workers share.
#[derive(Clone)]
pub(super) struct WorkerContext {
    pub(super) work: Receiver<Job>,
    pub(super) outputs: Sender<WorkerOutput>,
    pub(super) fields: Arc<FieldRegistry>,
    pub(super) settings: Arc<Settings>,
    pub(super) batch_bytes: usize,
    /// JobInput a worker may hold.
    pub(super) limits: DecoderLimits,
    /// Where long records wait for each other.
    pub(super) long_records: Arc<LongRecordSemaphore>,
    /// BufferPool to use again.
    pub(super) buffers: Arc<BufferPool>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Log,
    pub(super) shutdown: ShutdownSignal,
    /// Someone told the user that no more fields will be mapped.
    pub(super) full_reported: Arc<AtomicBool>,
    /// Inputs inputs_named so far because something in them is no CloudTrail.
    pub(super) inputs_named: Arc<AtomicU32>,
    /// Where a dry run gathers what it finds.
    pub(super) survey: Option<Arc<Mutex<DryRunReport>>>,
}

/// Works until there is no more work or nobody wants the outputs.
pub(super) fn run(context: WorkerContext) {
    let mut decoder = Decoder::new(context.limits);
    let mut worker = Worker {
        normalizer: Normalizer::new(Arc::clone(&context.fields), Arc::clone(&context.settings)),
        batch: BatchBuilder::new(context.batch_bytes),
        checkpoint_events: Vec::new(),
        open: true,
        permit: None,
        extra_permit: None,
        context,
    };
    while worker.open {
        match worker.context.work.recv_timeout(IDLE_FLUSH) {
            // JobInput was not begun is left to the next run.
            Ok(_) if worker.context.shutdown.is_requested() => {}
            Ok(Job { lane, source_number, what: JobInput::Input(input, expected) }) => {
                worker.read(&mut decoder, (lane, source_number), input, expected);
            }
            Ok(Job { lane, source_number, what: JobInput::Page(part) }) => {
                worker.read_page(&mut decoder, lane, source_number, part);
            }
            Err(RecvTimeoutError::Timeout) => worker.send(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    worker.send();
}

/// Where a worker has its things.
struct Worker {
    context: WorkerContext,
    normalizer: Normalizer,
    batch: BatchBuilder,
    checkpoint_events: Vec<CheckpointEvent>,
    /// Whether the outputs still find a taker.
    open: bool,
    /// Held while a long record is read.
    permit: Option<Arc<LongRecordPermit>>,
    /// Held while an archive or a compressed file takes more memory than each decoder has.
    extra_permit: Option<Arc<LongRecordPermit>>,
}

impl Worker {
    /// Reads one input to its end and says what became of it.
    fn read(
        &mut self,
        decoder: &mut Decoder,
        (lane, source_number): (PartitionNumber, usize),
        input: Input,
        expected: Expectation,
    ) {
        let Input { lane: inputs_named, name, content, .. } = input;
        let opened = CheckpointEvent::PartitionOpened {
            number: lane,
            partition: inputs_named,
            name: name.clone(),
            time_slice: None,
        };
        self.checkpoint_events.push(opened);
        let content = match content {
            Content::Stream(stream) => {
                InterruptibleReader::new(stream, self.context.shutdown.clone())
                    .map(|pipe| Content::Stream(Box::new(pipe)))
                    .map_err(|source| Error::Open { name: name.clone(), source })
            }
            content => Ok(content),
        };
        let mut reading = CurrentInput::new(self, (lane, 0), source_number, &name);
        let read = content.and_then(|content| decoder.read(&name, content, &mut reading));
        reading.count();
        reading.release_window();
        let (documents, filtered) = (reading.documents, reading.filtered);
        let (mut outcome, decoded) = match read {
            Ok(decoded) => (self.judge(&name, source_number, &decoded, expected), decoded),
            Err(error) => (self.fail(&name, source_number, error.told(), None), Decoded::default()),
        };
        if filtered && matches!(outcome, PartitionOutcome::Done) {
            // A later run may want what this one left out.
            outcome = PartitionOutcome::Interrupted;
        }
        let bytes = decoded.stored_bytes;
        self.checkpoint_events.push(CheckpointEvent::PageRead {
            partition: lane,
            page: 0,
            documents,
            bytes,
            position: None,
        });
        self.checkpoint_events.push(CheckpointEvent::PartitionEnded {
            partition: lane,
            outcome,
            pages: 1,
            fingerprint: decoded.fingerprint.map(|fingerprint| fingerprint.to_string()),
        });
        self.tell();
    }

    /// Reads one page of a lane. A page that was not read as a whole gets no note: what is covered stops before it,
    /// and the next run fetches it again.
    fn read_page(
        &mut self,
        decoder: &mut Decoder,
        lane: PartitionNumber,
        source_number: usize,
        part: PageJob,
    ) {
        let PageJob { number: page, content, position, partition: paged } = part;
        let mut reading = CurrentInput::new(self, (lane, page), source_number, &paged.name);
        reading.is_page = true;
        let read = decoder.read(&paged.name, Content::Memory(content), &mut reading);
        reading.count();
        reading.release_window();
        let (documents, filtered) = (reading.documents, reading.filtered);
        match read.map_err(|error| error.told()).and_then(|decoded| whole_page(&decoded)) {
            Ok(None) => {}
            Ok(Some(_)) if filtered && !paged.is_in_range => {}
            Ok(Some(bytes)) => {
                self.checkpoint_events.push(CheckpointEvent::PageRead {
                    partition: lane,
                    page,
                    documents,
                    bytes,
                    position,
                });
                paged.on_page_read(&self.context.metrics);
            }
            Err(cause) => {
                paged.on_page_failed(&self.context.metrics, &self.context.log, page, &cause)
            }
        }
        self.tell();
    }

    /// Tells what there is to tell about what was read, if it is much.
    fn tell(&mut self) {
        self.learn();
        if self.checkpoint_events.len() >= EVENTS_PER_OUTPUT {
            self.send();
        }
    }

    /// Decides what an input that was read is to count as.
    fn judge(
        &self,
        name: &str,
        source_number: usize,
        decoded: &Decoded,
        expected: Expectation,
    ) -> PartitionOutcome {
        let (log, metrics) = (&self.context.log, &self.context.metrics);
        // A pipe ends early then, perhaps inside a record.
        if decoded.stopped || self.context.shutdown.is_requested() {
            return PartitionOutcome::Interrupted;
        }
        if let Some(broken) = decoded.defects.first() {
            let cause = format!("{}{}", broken.cause, more_places(decoded.defect_count));
            return self.fail(name, source_number, cause, Some(broken.offset));
        }
        let found_nothing = decoded.records + decoded.oversized == 0;
        match decoded.foreign_summary() {
            Some(kinds) if found_nothing && expected != Expectation::Nothing => {
                let cause = format!("not CloudTrail: {kinds}");
                return self.fail(name, source_number, cause, None);
            }
            Some(kinds) => {
                self.name(name, &kinds);
                if found_nothing {
                    metrics.add_foreign(source_number);
                    return PartitionOutcome::Skipped { cause: kinds };
                }
            }
            None => {}
        }
        metrics.add_done(source_number);
        if decoded.changed {
            log.warn(name, "changed while it was read; the next run reads it again");
            return PartitionOutcome::Interrupted;
        }
        PartitionOutcome::Done
    }

    /// Names an input in which something is no CloudTrail. There may be a digest file for each log file.
    fn name(&self, name: &str, kinds: &str) {
        let log = &self.context.log;
        let told = format!("skipped non-CloudTrail content: {kinds}");
        match self.context.inputs_named.fetch_add(1, Relaxed) {
            0..MAX_NAMED_INPUTS => log.info(name, told),
            MAX_NAMED_INPUTS => {
                log.info(name, format_args!("{told}; others are only counted (-v names them)"));
            }
            _ => log.debug(name, told),
        }
    }

    fn fail(
        &self,
        name: &str,
        source_number: usize,
        cause: String,
        offset: Option<u64>,
    ) -> PartitionOutcome {
        let at = offset.map_or_else(String::new, |offset| format!("at byte {offset}: "));
        self.context.log.warn(name, format_args!("{at}{cause}; the next run tries again"));
        self.context.metrics.add_failed(source_number, name, &format!("{at}{cause}"));
        PartitionOutcome::Failed { cause, offset }
    }

    /// Tells what became of fields: decisions, and that the budget is spent.
    fn learn(&mut self) {
        let context = &self.context;
        self.checkpoint_events.extend(field_decisions(&context.fields, &context.log));
        if context.fields.is_full() && !context.full_reported.swap(true, Relaxed) {
            context.log.warn(
                "--max-fields",
                "as many fields are mapped as allowed; further ones are found through trailload.unmapped",
            );
        }
    }

    /// Hands on what there is.
    fn send(&mut self) {
        let batch = (!self.batch.is_empty()).then(|| self.batch.take(&self.context.buffers));
        if batch.is_none() && self.checkpoint_events.is_empty() {
            return;
        }
        let (batch, totals) = batch.unzip();
        let totals = totals.unwrap_or_default();
        let (checkpoint_events, permit) =
            (std::mem::take(&mut self.checkpoint_events), self.permit.clone());
        let product = WorkerOutput { checkpoint_events, batch, totals, permit };
        match &self.context.survey {
            Some(survey) => {
                let mut survey = survey.lock().unwrap_or_else(PoisonError::into_inner);
                survey.add(product.batch.as_ref());
            }
            None => self.open = self.context.outputs.blocking_send(product).is_ok(),
        }
    }
}

/// Says how many broken places there are besides the one that is inputs_named.
fn more_places(places: u64) -> String {
    match places {
        0 | 1 => String::new(),
        2 => " (and 1 more place)".to_owned(),
        places => format!(" (and {} more places)", places - 1),
    }
}

/// Returns how many bytes a page was read from, or nothing if it was not read to its end.
///
/// # Errors
///
/// Returns what was wrong with it, in words for a person.
fn whole_page(decoded: &Decoded) -> Result<Option<u64>, String> {
    if let Some(broken) = decoded.defects.first() {
        let more = more_places(decoded.defect_count);
        return Err(format!("at byte {}: {}{more}", broken.offset, broken.cause));
    }
    if decoded.stopped {
        return Ok(None);
    }
    match decoded.foreign_count() {
        0 => Ok(Some(decoded.stored_bytes)),
        events => Err(format!("{} without a record", format::plural(events, "event"))),
    }
}

impl DryRunReport {
    fn add(&mut self, batch: Option<&Batch>) {
        if let Some(batch) = batch {
            self.batch_bytes += batch.body.len() as u64;
            for entry in &batch.entries {
                let index = &batch.targets[usize::from(entry.index)].index;
                if !self.indices.contains_key(index) {
                    self.indices.insert(index.clone(), 0);
                }
                if let Some(count) = self.indices.get_mut(index) {
                    *count += 1;
                }
            }
        }
    }

    fn change(&mut self, change: String) {
        if self.changes.len() < MAX_CHANGE_KINDS || self.changes.contains_key(&change) {
            *self.changes.entry(change).or_default() += 1;
        }
    }
}

/// Tells what was field_decisions, since the last time, on fields that no table knows.
pub(super) fn field_decisions(
    fields: &FieldRegistry,
    log: &Log,
) -> impl Iterator<Item = CheckpointEvent> {
    fields.take_decisions().into_iter().map(|FieldDecision { path, shape, by }| {
        let kind = shape.name();
        let why = match by {
            DecidedBy::FirstValue => "met first",
            DecidedBy::Engine => "the engine has it so",
        };
        log.debug(&path, format_args!("not in the kind table; {kind} from now on: {why}"));
        CheckpointEvent::FieldDiscovered { path, kind: kind.to_owned(), origin: why.to_owned() }
    })
}

/// One input being read.
struct CurrentInput<'b> {
    worker: &'b mut Worker,
    /// The lane, and the page of it.
    place: (PartitionNumber, u32),
    source_number: usize,
    name: &'b str,
    /// A page has no share in what the bars measure: nobody knows how much there is.
    is_page: bool,
    /// Documents made, and records set aside.
    documents: u32,
    /// Whether records were left out for their time.
    filtered: bool,
    /// JobInput is not yet in the counters.
    uncounted: Uncounted,
    /// When documents were handed on without a full batch.
    sent: Instant,
}

#[derive(Default)]
struct Uncounted {
    taken: report::metrics::RecordTotals,
    filtered: u64,
}

impl<'b> CurrentInput<'b> {
    fn new(
        worker: &'b mut Worker,
        place: (PartitionNumber, u32),
        source_number: usize,
        name: &'b str,
    ) -> Self {
        Self {
            worker,
            place,
            source_number,
            name,
            is_page: false,
            documents: 0,
            filtered: false,
            uncounted: Uncounted::default(),
            sent: Instant::now(),
        }
    }

    /// Adds to the counters what came since the last time. All of it is in the batch in the making.
    fn count(&mut self) {
        let Uncounted { taken, filtered } = std::mem::take(&mut self.uncounted);
        let Worker { context, batch, .. } = &mut *self.worker;
        context.metrics.add_read(self.source_number, taken);
        context.metrics.filtered.fetch_add(filtered, Relaxed);
        batch.add_totals(self.source_number, taken);
    }

    /// Takes in what the normalizer made of a record.
    fn accept(&mut self, normalized: Normalized, start: usize, bytes: usize) {
        let Normalized::Document(placed) = normalized else {
            self.uncounted.filtered += 1;
            self.filtered = true;
            return;
        };
        let undated = placed.is_undated();
        let Placement { action_bytes, period: bucket, required_fields: needs, rewritten } = placed;
        let Worker { batch, normalizer, .. } = &mut *self.worker;
        let name = || normalizer.index_name(bucket).to_owned();
        batch.add(
            self.place,
            start,
            action_bytes,
            DocumentTarget { bucket, required_fields: needs },
            name,
        );
        self.documents += 1;
        self.uncounted.taken.records += 1;
        self.uncounted.taken.bytes += bytes as u64;
        self.uncounted.taken.rewritten += u64::from(rewritten);
        self.uncounted.taken.undated += u64::from(undated);
        self.send_if_full();
    }

    fn send_if_full(&mut self) {
        if self.worker.batch.is_full() {
            self.count();
            self.worker.learn();
            self.worker.send();
        }
    }

    /// Takes a record that the fast way does not take.
    fn rewrite(&mut self, text: &[u8], start: usize) -> RecordOutcome {
        let end = match skip_value(text, start) {
            Ok(end) => end,
            Err(SkipError::Incomplete) => return RecordOutcome::Incomplete,
            Err(SkipError::Invalid { offset, cause }) => {
                return RecordOutcome::Invalid { offset, cause: cause.into() };
            }
        };
        let Worker { normalizer, batch, .. } = &mut *self.worker;
        let place = batch.body.len();
        match normalizer.rewrite(&text[start..end], &mut batch.body) {
            Ok(normalized) => {
                self.survey(normalized);
                self.accept(normalized, place, end - start);
                RecordOutcome::EndsAt(end)
            }
            Err(MalformedRecord { offset: at, expected: cause }) => RecordOutcome::Invalid {
                offset: start + at,
                cause: format!("expected {cause}").into(),
            },
        }
    }

    fn survey(&self, normalized: Normalized) {
        let Normalized::Document(Placement { rewritten: true, .. }) = normalized else { return };
        if let Some(survey) = &self.worker.context.survey {
            let mut survey = survey.lock().unwrap_or_else(PoisonError::into_inner);
            for change in self.worker.normalizer.changes() {
                survey.change(change);
            }
        }
    }
}

impl RecordHandler for CurrentInput<'_> {
    fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome {
        let Worker { normalizer, batch, .. } = &mut *self.worker;
        let place = batch.body.len();
        match normalizer.try_copy(text, start, &mut batch.body) {
            Some((end, normalized)) => {
                self.survey(normalized);
                self.accept(normalized, place, end - start);
                RecordOutcome::EndsAt(end)
            }
            None => self.rewrite(text, start),
        }
    }

    fn envelope_fields(&mut self, username: Option<&[u8]>, resources: Option<&[u8]>) {
        self.worker.normalizer.set_lookup_fields(username, resources);
    }

    fn oversized(&mut self, record: OversizedRecord) {
        let OversizedRecord { content, offset, bytes } = record;
        let id = format!("{}@{offset}", self.name);
        let most = format::bytes(self.worker.context.limits.max_record_bytes as u64);
        let why = if self.worker.context.limits.max_record_bytes
            < DecoderLimits::DEFAULT.max_record_bytes
        {
            format!("more than the {most} that --memory has room for")
        } else {
            format!("more than {most}")
        };
        let reason = format!("a record of {bytes} bytes is too long to load: {why}");
        self.worker
            .context
            .log
            .warn(self.name, format_args!("at byte {offset}: {reason}; set aside"));
        let what = DeadLetter {
            partition: self.place.0,
            id,
            index: self.worker.context.settings.prefix.clone(),
            cause: DeadLetterCause::Limit,
            reason,
            content: DeadLetterContent::Record { content, offset, bytes },
        };
        self.worker.batch.add_dead_letter(self.place, what);
        self.documents += 1;
        self.uncounted.taken.records += 1;
        self.uncounted.taken.bytes += bytes;
        self.send_if_full();
    }

    fn reserve_window(&mut self, _bytes: usize) {
        let Worker { context, permit, extra_permit, .. } = &mut *self.worker;
        if permit.is_none() {
            *permit =
                extra_permit.clone().or_else(|| context.long_records.acquire(&context.shutdown));
        }
    }

    fn release_window(&mut self) {
        self.worker.permit = None;
    }

    fn reserve_extra_memory(&mut self) {
        let Worker { context, permit, extra_permit, .. } = &mut *self.worker;
        if extra_permit.is_none() {
            *extra_permit =
                permit.clone().or_else(|| context.long_records.acquire(&context.shutdown));
        }
    }

    fn release_extra_memory(&mut self) {
        self.worker.extra_permit = None;
    }

    fn is_stopped(&self) -> bool {
        !self.worker.open || self.worker.context.shutdown.is_requested()
    }

    fn stored_bytes_read(&mut self, bytes: u64) {
        if !self.is_page {
            self.worker.context.metrics.add_consumed(self.source_number, bytes);
        }
        self.count();
        // A pipe may take its time; what it gave need not wait for the rest of a batch.
        if self.sent.elapsed() > MAX_BATCH_AGE {
            self.sent = Instant::now();
            self.worker.send();
        }
    }
}
