//! A worker thread: decodes inputs and passes their records to the consumer's processor.
//!
//! Input: [`Job`]s from the lister. Output: [`WorkerOutput`]s for the coordinator, in the order that the checkpoint
//! needs: a partition is opened before the first batch with a record of it. A partition that arrives in pages is opened
//! and ended by the lister, before its first page is queued and after its last.
//! Invariant: memory is bounded by the decoder's limits and one batch; every record is processed or reported.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::RecvTimeoutError;
use tokio::sync::mpsc::Sender;

use super::{
    consumer::{
        Batch, Consumer, Disposition, InputEnd, LongRecord, Origin, Processed, ReadTotals,
        RecordProcessor,
    },
    interruptible_reader::InterruptibleReader,
    job::{EVENTS_PER_OUTPUT, Job, JobInput, WorkerOutput},
    job_queue::JobReceiver,
    long_record::{LongRecordPermit, LongRecordSemaphore},
    paged_partition::PageJob,
};
use crate::{
    checkpoint::{CheckpointEvent, PageExtent, PartitionOutcome},
    limit::DecoderLimits,
    report::{Log, Metrics, format, metrics::RecordTotals},
    shutdown::ShutdownSignal,
    source::{
        Content, Decoded, Decoder, EnvelopeMember, Error, Expectation, Input, OversizedRecord,
        RecordHandler, RecordOutcome,
    },
};

/// How long a partial batch waits while no input is available.
const IDLE_FLUSH: Duration = Duration::from_millis(200);

/// How long a partial batch waits while an input is read, such as a pipe that delivers slowly.
const MAX_BATCH_AGE: Duration = Duration::from_secs(2);

/// Inputs with other content than CloudTrail events that are named; further ones are only counted.
const MAX_NAMED_INPUTS: u32 = 10;

/// What the workers of a run share.
pub(super) struct WorkerContext<C: Consumer> {
    pub(super) consumer: Arc<C>,
    pub(super) jobs: JobReceiver,
    pub(super) outputs: Sender<WorkerOutput<Batch<C>>>,
    /// Limits of a worker's memory.
    pub(super) limits: DecoderLimits,
    pub(super) long_records: Arc<LongRecordSemaphore>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Log,
    pub(super) shutdown: ShutdownSignal,
    /// Inputs named so far because of other content than CloudTrail events.
    pub(super) named_inputs: AtomicU32,
}

/// Runs until there are no further jobs, or the coordinator accepts no further outputs.
pub(super) fn run<C: Consumer>(context: Arc<WorkerContext<C>>) {
    let mut decoder = Decoder::new(context.limits);
    let mut worker = Worker {
        processor: context.consumer.processor(),
        checkpoint_events: Vec::new(),
        is_open: true,
        permit: None,
        extra_permit: None,
        context,
    };
    while worker.is_open {
        if worker.processor.is_due() && worker.context.jobs.is_empty() {
            worker.flush();
        }
        match worker.context.jobs.recv_timeout(IDLE_FLUSH) {
            // Jobs that were not started are left to the next run.
            Ok(_) if worker.context.shutdown.is_requested() => {}
            Ok(Job { origin, input: JobInput::Whole(input, expected) }) => {
                worker.read_input(&mut decoder, origin, input, expected);
            }
            Ok(Job { origin, input: JobInput::Page(page) }) => {
                worker.read_page(origin, page);
            }
            Err(RecvTimeoutError::Timeout) => worker.flush(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    worker.flush();
}

struct Worker<C: Consumer> {
    context: Arc<WorkerContext<C>>,
    processor: C::Processor,
    checkpoint_events: Vec<CheckpointEvent>,
    /// Whether the coordinator still accepts outputs.
    is_open: bool,
    /// Held while a long record is read.
    permit: Option<Arc<LongRecordPermit>>,
    /// Held while an archive or a compressed file takes more memory than a decoder retains.
    extra_permit: Option<Arc<LongRecordPermit>>,
}

impl<C: Consumer> Worker<C> {
    /// Reads an input to its end and reports how that ended.
    fn read_input(
        &mut self,
        decoder: &mut Decoder,
        origin: Origin,
        input: Input,
        expected: Expectation,
    ) {
        let Input { partition, name, content, result, .. } = input;
        let Origin { source_number, partition: number, .. } = origin;
        self.checkpoint_events.push(CheckpointEvent::PartitionOpened {
            number,
            partition,
            name: name.clone(),
            time_slice: None,
            result,
        });
        let content = match content {
            Content::Stream(stream) => {
                InterruptibleReader::new(stream, self.context.shutdown.clone())
                    .map(|reader| Content::Stream(Box::new(reader)))
                    .map_err(|source| Error::Open { name: name.clone(), source })
            }
            content => Ok(content),
        };
        self.processor.start_input(origin, &name);
        let mut current = CurrentInput::new(self, origin, &name);
        let read = content.and_then(|content| decoder.read(&name, content, &mut current));
        let RecordCounts { pending, has_out_of_range } = current.end();
        let (outcome, decoded) = match read {
            Ok(decoded) => (self.outcome(&name, source_number, &decoded, expected), decoded),
            Err(error) => {
                (self.fail(&name, source_number, error.describe(), None), Decoded::default())
            }
        };
        let end = match outcome {
            PartitionOutcome::Done if has_out_of_range => InputEnd::Incomplete,
            PartitionOutcome::Done | PartitionOutcome::Skipped { .. } => InputEnd::Complete,
            _ => InputEnd::Incomplete,
        };
        self.processor.end_input(origin, end);
        self.checkpoint_events.push(CheckpointEvent::PageRead {
            partition: number,
            page: 0,
            documents: pending,
            extent: if has_out_of_range { PageExtent::InRange } else { PageExtent::Whole },
            bytes: decoded.stored_bytes,
            position: None,
        });
        self.checkpoint_events.push(CheckpointEvent::PartitionEnded {
            partition: number,
            outcome,
            pages: 1,
            fingerprint: decoded.fingerprint.map(|fingerprint| fingerprint.to_string()),
        });
        self.flush_if_many_events();
    }

    /// Reads a page of a partition. Coverage ends before a page that was not read completely, and the next run fetches it
    /// again. A page gets no event if the run stopped before its end.
    fn read_page(&mut self, origin: Origin, job: PageJob) {
        let PageJob { content, position, partition: paged } = job;
        let Origin { partition, page, .. } = origin;
        self.processor.start_input(origin, &paged.name);
        let mut current = CurrentInput::new(self, origin, &paged.name);
        current.is_page = true;
        let decoded = content.read(&mut current);
        // Returns its share of the memory budget.
        drop(content);
        let RecordCounts { pending: documents, has_out_of_range } = current.end();
        let extent = match page_extent(&decoded) {
            Some(PageExtent::Whole) if has_out_of_range && !paged.is_in_range => {
                Some(PageExtent::InRange)
            }
            extent => extent,
        };
        match &extent {
            Some(PageExtent::Whole) => paged.on_page_read(&self.context.metrics),
            Some(PageExtent::Failed { cause }) => {
                paged.on_page_failed(&self.context.metrics, &self.context.log, page, cause);
            }
            Some(PageExtent::InRange) | None => {}
        }
        let is_complete = extent == Some(PageExtent::Whole);
        self.checkpoint_events.extend(extent.map(|extent| CheckpointEvent::PageRead {
            partition,
            page,
            documents,
            extent,
            bytes: decoded.stored_bytes,
            position,
        }));
        let end = if is_complete { InputEnd::Complete } else { InputEnd::Incomplete };
        self.processor.end_input(origin, end);
        self.flush_if_many_events();
    }

    /// Decides the outcome of an input that was read, and reports it.
    fn outcome(
        &self,
        name: &str,
        source_number: usize,
        decoded: &Decoded,
        expected: Expectation,
    ) -> PartitionOutcome {
        let (log, metrics) = (&self.context.log, &self.context.metrics);
        // A stream ends early then, perhaps within a record.
        if decoded.stopped || self.context.shutdown.is_requested() {
            return PartitionOutcome::Interrupted;
        }
        if let Some(defect) = decoded.defects.first() {
            let cause = format!("{}{}", defect.cause, more_defects(decoded.defect_count));
            return self.fail(name, source_number, cause, Some(defect.offset));
        }
        let has_no_record = decoded.records + decoded.oversized == 0;
        match decoded.foreign_summary() {
            Some(kinds) if has_no_record && expected != Expectation::Nothing => {
                let cause = format!("not CloudTrail: {kinds}");
                return self.fail(name, source_number, cause, None);
            }
            Some(kinds) => {
                self.report_foreign(name, &kinds);
                if has_no_record {
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

    /// Reports an input with other content than CloudTrail events. There may be a digest file for each log file, so only
    /// the first ones are named.
    fn report_foreign(&self, name: &str, kinds: &str) {
        let log = &self.context.log;
        let message = format!("skipped non-CloudTrail content: {kinds}");
        match self.context.named_inputs.fetch_add(1, Relaxed) {
            0..MAX_NAMED_INPUTS => log.info(name, message),
            MAX_NAMED_INPUTS => {
                let more = "further inputs are only counted (use -v to list them)";
                log.info(name, format_args!("{message}; {more}"));
            }
            _ => log.debug(name, message),
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
        let consequence = C::consequence_of_failed_input();
        self.context.log.warn(name, format_args!("{at}{cause}; {consequence}"));
        self.context.metrics.add_failed(source_number, name, &format!("{at}{cause}"));
        PartitionOutcome::Failed { cause, offset }
    }

    fn flush_if_many_events(&mut self) {
        self.processor.take_checkpoint_events(&mut self.checkpoint_events);
        if self.checkpoint_events.len() >= EVENTS_PER_OUTPUT {
            self.flush();
        }
    }

    /// Sends the batch and the checkpoint events to the coordinator.
    fn flush(&mut self) {
        let batch = self.processor.take_batch();
        if batch.is_none() && self.checkpoint_events.is_empty() {
            return;
        }
        let checkpoint_events = std::mem::take(&mut self.checkpoint_events);
        let output = WorkerOutput { checkpoint_events, batch, permit: self.permit.clone() };
        self.is_open = self.context.outputs.blocking_send(output).is_ok();
    }
}

/// Returns how many defects there are in addition to the one that is described.
fn more_defects(defects: u64) -> String {
    match defects {
        0 | 1 => String::new(),
        2 => " (and 1 more place)".to_owned(),
        defects => format!(" (and {} more places)", defects - 1),
    }
}

/// Returns how much of a page was read, or `None` if the run stopped before its end.
fn page_extent(decoded: &Decoded) -> Option<PageExtent> {
    if let Some(defect) = decoded.defects.first() {
        let more = more_defects(decoded.defect_count);
        let cause = format!("at byte {}: {}{more}", defect.offset, defect.cause);
        return Some(PageExtent::Failed { cause });
    }
    if decoded.stopped {
        return None;
    }
    Some(match decoded.foreign_count() {
        0 => PageExtent::Whole,
        events => {
            let cause = format!("{} without a record", format::plural(events, "event"));
            PageExtent::Failed { cause }
        }
    })
}

/// The input or page that a worker reads.
struct CurrentInput<'w, C: Consumer> {
    worker: &'w mut Worker<C>,
    origin: Origin,
    name: &'w str,
    /// Pages are not part of the progress in bytes, because their total is unknown.
    is_page: bool,
    counts: RecordCounts,
    /// Records that are not in the metrics yet.
    uncounted: ReadTotals,
    uncounted_out_of_range: u64,
    /// When a batch was last sent because of its age.
    flushed: Instant,
}

/// The records of an input or page.
#[derive(Clone, Copy, Default)]
struct RecordCounts {
    /// Records that a receipt has to count.
    pending: u32,
    /// Whether records are outside the requested time range.
    has_out_of_range: bool,
}

impl<'w, C: Consumer> CurrentInput<'w, C> {
    fn new(worker: &'w mut Worker<C>, origin: Origin, name: &'w str) -> Self {
        Self {
            worker,
            origin,
            name,
            is_page: false,
            counts: RecordCounts::default(),
            uncounted: ReadTotals::default(),
            uncounted_out_of_range: 0,
            flushed: Instant::now(),
        }
    }

    /// Adds the records since the last call to the metrics. All of them are in the batch under construction.
    fn update_metrics(&mut self) {
        let totals = std::mem::take(&mut self.uncounted);
        let ReadTotals { records, bytes } = totals;
        let Worker { context, processor, .. } = &mut *self.worker;
        let read = RecordTotals { records, bytes, ..RecordTotals::default() };
        context.metrics.add_read(self.origin.source_number, read);
        let out_of_range = std::mem::take(&mut self.uncounted_out_of_range);
        context.metrics.filtered.fetch_add(out_of_range, Relaxed);
        processor.add_totals(self.origin.source_number, totals);
    }

    /// Counts a processed record.
    fn count(&mut self, disposition: Disposition, bytes: u64) {
        match disposition {
            Disposition::Pending => self.counts.pending += 1,
            Disposition::Settled => {}
            Disposition::OutOfRange => {
                self.uncounted_out_of_range += 1;
                self.counts.has_out_of_range = true;
                return;
            }
            Disposition::Expired => {
                self.worker.context.metrics.expired.fetch_add(1, Relaxed);
                return;
            }
        }
        self.uncounted.records += 1;
        self.uncounted.bytes += bytes;
        if self.worker.processor.is_full() {
            self.update_metrics();
            let Worker { processor, checkpoint_events, .. } = &mut *self.worker;
            processor.take_checkpoint_events(checkpoint_events);
            self.worker.flush();
        }
    }

    /// Ends the input or page.
    fn end(mut self) -> RecordCounts {
        self.update_metrics();
        self.release_window();
        self.counts
    }
}

impl<C: Consumer> RecordHandler for CurrentInput<'_, C> {
    fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome {
        match self.worker.processor.process(text, start, self.origin) {
            Processed::Record { end, disposition } => {
                self.count(disposition, (end - start) as u64);
                RecordOutcome::EndsAt(end)
            }
            Processed::Incomplete => RecordOutcome::Incomplete,
            Processed::Invalid { offset, cause } => RecordOutcome::Invalid { offset, cause },
        }
    }

    fn envelope_fields(&mut self, username: Option<&[u8]>, resources: Option<&[u8]>) {
        self.worker.processor.set_envelope_fields(username, resources);
    }

    fn reads_eventbridge_envelopes(&self) -> bool {
        self.worker.processor.reads_eventbridge_envelopes()
    }

    fn eventbridge_envelope(&mut self, members: Option<&[EnvelopeMember<'_>]>) {
        self.worker.processor.set_eventbridge_envelope(members);
    }

    fn archive_member(&mut self, path: &str) {
        self.worker.processor.set_archive_member(path);
    }

    fn oversized(&mut self, record: OversizedRecord) {
        let context = &self.worker.context;
        let bytes = record.bytes;
        let limit = format::bytes(context.limits.max_record_bytes as u64);
        let limit = if context.limits.max_record_bytes < DecoderLimits::DEFAULT.max_record_bytes {
            format!("--memory allows at most {limit}")
        } else {
            format!("the limit is {limit}")
        };
        let reason = format!("a record of {bytes} bytes is too long: {limit}");
        let record = LongRecord { input: self.name, record, reason };
        let disposition = self.worker.processor.process_long(record, self.origin);
        self.count(disposition, bytes);
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

    fn before_read(&mut self) {
        if self.worker.processor.is_due() {
            self.worker.flush();
        }
    }

    fn is_stopped(&self) -> bool {
        !self.worker.is_open || self.worker.context.shutdown.is_requested()
    }

    fn stored_bytes_read(&mut self, bytes: u64) {
        if !self.is_page {
            self.worker.context.metrics.add_consumed(self.origin.source_number, bytes);
        }
        self.update_metrics();
        if self.flushed.elapsed() > MAX_BATCH_AGE {
            self.flushed = Instant::now();
            self.worker.flush();
        }
    }
}
