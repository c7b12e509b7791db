//! Starts the threads of a run, carries what they make to where it belongs, and ends them in order.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use super::{
    batch_builder::{BufferPool, SourceTotals, proportional_totals},
    checkpoint_writer::CheckpointWriter,
    dead_letters::{DeadLetterReader, fields_version},
    error::{BlockedDocument, Error},
    inputs_by_folder::InputsByFolder,
    long_record::LongRecordPermit,
    paged_partition::{PageJob, PagedPartition},
    thread::spawn,
    worker::{self, DryRunReport, EVENTS_PER_OUTPUT, Job, JobInput, WorkerContext, WorkerOutput},
};
use crate::{
    checkpoint::{
        self, CheckpointEvent, CheckpointReader, CheckpointStore, PartitionOutcome, RetrySelection,
    },
    event::{Batch, DeadLetter, DeadLetterCause, Inventory, Partition, PartitionNumber, Receipt},
    limit::{DecoderLimits, MemoryBudget, memory},
    normalize::{FieldRegistry, Settings, TimeRange},
    report::{Log, Metrics},
    shutdown::{ShutdownLevel, ShutdownSignal, ShutdownTrigger},
    sink::{self, Sink, WriteError},
    source::{self, Expectation, Page, Slice, Source, SourceEvent},
};

/// Inputs that wait for a worker: enough that none waits for the lister.
const JOBS_AHEAD: usize = 256;

/// Documents that a run sets aside at most because of their index or an ingest pipeline. Some thousand are a month
/// that somebody closed; more of them would only fill the checkpoint with what a person has to change first.
pub(super) const MAX_BLOCKED_DOCUMENTS: u64 = 50_000;

/// Stack of a worker: rewriting goes as deep as a record does, 900 levels at most.
const WORKER_STACK: usize = 16 << 20;

/// How long a worker that waits for a silent pipe is waited for, once the run is to end.
const SILENT_STREAM_GRACE: Duration = Duration::from_secs(3);

/// JobInput a run works with.
pub struct PipelineConfig {
    /// Lists what to read.
    pub source: Box<dyn Source>,
    /// JobInput is known about fields.
    pub fields: Arc<FieldRegistry>,
    /// JobInput documents have in common.
    pub settings: Settings,
    /// Threads that unpack and rewrite.
    pub workers: usize,
    /// The memory limit, and the size of a bulk request.
    pub memory: MemoryBudget,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Where lines go.
    pub log: Log,
    /// Says when to end.
    pub shutdown: ShutdownSignal,
    /// Which documents that earlier runs set aside are sent first.
    pub retry: RetrySelection,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// Everything was read and settled.
    Complete,
    /// It was asked to shutdown; what was taken in is settled.
    Stopped,
}

/// A run that is over but for its last line in the checkpoint.
#[derive(Debug)]
pub struct RunEnd {
    /// How it ended; an error is the first thing that ended it. All that was settled before is saved.
    pub outcome: Result<RunOutcome, Error>,
    /// Where the exit code is still to be written. `None` if the store failed: then `outcome` says why.
    pub store: Option<CheckpointStore>,
    /// JobInput the sink holds at the end of a complete run, if it tells.
    pub held: Option<Inventory>,
}

/// Loads everything that the source lists, from [`Sink::prepare`] to [`Sink::finish`].
pub async fn load(
    load: PipelineConfig,
    sink: Arc<impl Sink>,
    store: CheckpointStore,
    trigger: &ShutdownTrigger,
) -> RunEnd {
    let again = CheckpointReader::open(store.path())
        .map(|reader| DeadLetterReader::new(reader, load.retry, &load));
    let checkpoint = match CheckpointWriter::start(store, load.metrics.waits.clone()) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return RunEnd { outcome: Err(error), store: None, held: None },
    };
    let requests = load.memory.max_requests(load.workers);
    let batch_bytes = load.batch_bytes();
    let (metrics, shutdown) = (Arc::clone(&load.metrics), load.shutdown.clone());
    let (fields, log) = (Arc::clone(&load.fields), load.log.clone());
    let buffers = Arc::new(BufferPool::default());
    let started = start(load, Arc::clone(&buffers), None);

    let mut corridor = Coordinator {
        sink,
        buffers,
        checkpoint,
        metrics,
        trigger: trigger.clone(),
        shutdown,
        preparing: JoinSet::new(),
        writes: JoinSet::new(),
        requests,
        in_flight: Arc::default(),
        batch_bytes,
        blocked: 0,
        rejecting_indices: BTreeSet::new(),
        fields_version: fields_version(&fields),
        failed: None,
        held: None,
    };
    match started {
        Ok((threads, outputs)) => {
            corridor.prepare();
            match again {
                Ok(again) => Box::pin(corridor.retry(again)).await,
                Err(error) => corridor.fail(error.into()),
            }
            corridor.carry(outputs).await;
            if let Err(error) = threads.join(corridor.shutdown.is_requested()) {
                corridor.fail(error);
            }
            corridor.record_refusal_versions().await;
            corridor.finish().await;
        }
        Err(error) => corridor.fail(error),
    }
    let Coordinator { checkpoint, failed, shutdown, held, .. } = corridor;
    let outcome = match failed {
        Some(error) => Err(error),
        None if shutdown.is_requested() => Ok(RunOutcome::Stopped),
        None => Ok(RunOutcome::Complete),
    };
    // Indices may have had the last source_number after the workers were gone.
    for note in worker::field_decisions(&fields, &log) {
        if checkpoint.send(note).await.is_err() {
            break;
        }
    }
    match checkpoint.finish().await {
        Ok(store) => RunEnd { outcome, store: Some(store), held },
        // A store that failed is why the corridor could not go on.
        Err(error) => RunEnd { outcome: Err(error), store: None, held },
    }
}

/// Reads and normalizes everything, sends nothing, and says what would be sent.
///
/// # Errors
///
/// Returns [`Error`] if nothing more could be listed.
pub async fn dry_run(load: PipelineConfig) -> Result<(RunOutcome, DryRunReport), Error> {
    let shutdown = load.shutdown.clone();
    let survey = Arc::new(Mutex::new(DryRunReport::default()));
    let (threads, mut outputs) = start(load, Arc::default(), Some(Arc::clone(&survey)))?;
    while take(&mut outputs, &shutdown).await.is_some() {}
    threads.join(shutdown.is_requested())?;
    let survey = std::mem::take(&mut *survey.lock().unwrap_or_else(PoisonError::into_inner));
    let outcome = if shutdown.is_requested() { RunOutcome::Stopped } else { RunOutcome::Complete };
    Ok((outcome, survey))
}

impl PipelineConfig {
    /// Returns the limits of the decoder of each worker.
    pub(super) fn decoder_limits(&self) -> DecoderLimits {
        self.memory.decoder_limits(self.workers)
    }

    /// Returns the size of a bulk request.
    pub(super) fn batch_bytes(&self) -> usize {
        usize::try_from(self.memory.batch_bytes()).unwrap_or(usize::MAX)
    }
}

/// Takes the next product. `None` if there will be none, or if those who could make one are stuck.
async fn take(
    outputs: &mut mpsc::Receiver<WorkerOutput>,
    shutdown: &ShutdownSignal,
) -> Option<WorkerOutput> {
    let silent_stream_grace = async {
        shutdown.reached(ShutdownLevel::Draining).await;
        silent_stream_grace().await;
    };
    tokio::select! {
        biased;
        product = outputs.recv() => product,
        () = silent_stream_grace => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for a person's pipe, not for an engine")]
async fn silent_stream_grace() {
    tokio::time::sleep(SILENT_STREAM_GRACE).await;
}

/// JobInput became of a batch, and what it weighed.
type Written = (Result<Receipt, WriteError>, Vec<SourceTotals>);

/// The middle of the run: outputs in, batches to the sink, checkpoint_events to the store.
pub(super) struct Coordinator<S> {
    pub(super) sink: Arc<S>,
    buffers: Arc<BufferPool>,
    checkpoint: CheckpointWriter,
    pub(super) metrics: Arc<Metrics>,
    trigger: ShutdownTrigger,
    shutdown: ShutdownSignal,
    /// The sink, while it gets ready.
    preparing: JoinSet<Result<(), sink::Error>>,
    writes: JoinSet<Written>,
    requests: usize,
    /// Batches under way; one with a long document counts as several.
    in_flight: Arc<AtomicUsize>,
    /// Wanted size of a body.
    batch_bytes: usize,
    /// Documents that this run set aside because of their index or an ingest pipeline.
    blocked: u64,
    /// Indices that refused documents for their content.
    pub(super) rejecting_indices: BTreeSet<String>,
    /// JobInput decides how documents are made.
    pub(super) fields_version: String,
    failed: Option<Error>,
    /// JobInput the sink holds in the end.
    held: Option<Inventory>,
}

impl<S: Sink> Coordinator<S> {
    /// Lets the sink get ready while the first inputs are read.
    fn prepare(&mut self) {
        let sink = Arc::clone(&self.sink);
        self.preparing.spawn(async move { sink.prepare().await });
    }

    /// Lets the sink finish, if the run came to its end. There may have been no batch that waited for it to be ready.
    async fn finish(&mut self) {
        if self.failed.is_some() || self.shutdown.is_requested() {
            // Nobody waits for it any more, and the next run does it again.
            self.preparing.abort_all();
        }
        self.await_prepared().await;
        if self.is_over() {
            return;
        }
        match self.sink.finish().await {
            Ok(held) => self.held = held,
            Err(error) => self.end_by(error),
        }
    }

    /// Waits until the sink is ready, or has said why it will not be.
    pub(super) async fn await_prepared(&mut self) {
        while let Some(prepared) = self.preparing.join_next().await {
            self.prepared(prepared);
        }
    }

    /// Returns whether nothing more is to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.failed.is_some() || self.shutdown.is_requested()
    }

    fn prepared(&mut self, prepared: Result<Result<(), sink::Error>, JoinError>) {
        match prepared {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.end_by(error),
            Err(error) if error.is_cancelled() => {}
            Err(_) => self.fail(Error::Panic("sink")),
        }
    }

    /// Carries everything until there is nothing more, or nothing more can be carried.
    async fn carry(&mut self, mut outputs: mpsc::Receiver<WorkerOutput>) {
        while self.failed.is_none() {
            let room = self.has_room();
            tokio::select! {
                biased;
                Some(prepared) = self.preparing.join_next() => self.prepared(prepared),
                Some(written) = self.writes.join_next() => self.settle(written).await,
                product = take(&mut outputs, &self.shutdown), if room => match product {
                    Some(WorkerOutput { checkpoint_events, batch, totals, permit }) => {
                        for note in checkpoint_events {
                            self.note(note).await;
                        }
                        if let Some(batch) = batch {
                            self.write(batch, totals, permit);
                        }
                    }
                    None => break,
                },
            }
        }
        // Workers notice that nobody takes their outputs; what is under way is still settled.
        drop(outputs);
        if self.failed.is_some() {
            self.trigger.raise(ShutdownLevel::Draining);
        }
        while let Some(written) = self.writes.join_next().await {
            self.settle(written).await;
        }
    }

    /// Returns whether one more batch may be under way.
    fn has_room(&self) -> bool {
        self.writes.is_empty() || self.in_flight.load(Relaxed) < self.requests
    }

    fn write(
        &mut self,
        batch: Batch,
        totals: Vec<SourceTotals>,
        permit: Option<Arc<LongRecordPermit>>,
    ) {
        let (sink, buffers) = (Arc::clone(&self.sink), Arc::clone(&self.buffers));
        let (body, limit) = (batch.body.clone(), self.batch_bytes);
        let (in_flight, batches) =
            (Arc::clone(&self.in_flight), (body.len() / limit.max(1)).max(1));
        in_flight.fetch_add(batches, Relaxed);
        self.writes.spawn(async move {
            let written = sink.write(batch).await;
            in_flight.fetch_sub(batches, Relaxed);
            drop(permit);
            buffers.release(body, limit);
            (written, totals)
        });
    }

    async fn settle(&mut self, written: Result<Written, JoinError>) {
        match written {
            Ok((Ok(receipt), totals)) => {
                let too_many = count_blocked(&mut self.blocked, &receipt.dead_letters);
                self.receive(receipt, totals).await;
                if let Some(error) = too_many {
                    self.fail(error);
                }
            }
            Ok((Err(WriteError { error, indices }), totals)) => {
                // The documents are in; the lanes stay where they are.
                let receipt = Receipt { indices, ..Receipt::default() };
                let part = proportional_totals(&totals, receipt.created() + receipt.duplicates());
                self.receive(receipt, part).await;
                self.end_by(error);
            }
            Err(_) => self.fail(Error::Panic("sink")),
        }
    }

    /// Takes in why the sink takes nothing more.
    pub(super) fn end_by(&mut self, error: sink::Error) {
        match error {
            // The user's wish is no failure. JobInput else is under way has waited as long.
            sink::Error::Interrupted { .. }
                if self.shutdown.is_requested() && self.failed.is_none() =>
            {
                self.trigger.raise(ShutdownLevel::Immediate);
            }
            error => self.fail(error.into()),
        }
    }

    /// Counts what became of documents, and hands it to the store.
    async fn receive(&mut self, receipt: Receipt, totals: Vec<SourceTotals>) {
        for SourceTotals { source_number, totals } in totals {
            self.metrics.add_settled(source_number, totals);
        }
        let set_aside = receipt.dead_letters.len() as u64;
        let refused = receipt.dead_letters.iter();
        let refused = refused.filter(|aside| aside.cause == DeadLetterCause::Content);
        self.rejecting_indices.extend(refused.map(|aside| aside.index.clone()));
        self.metrics.created.fetch_add(receipt.created(), Relaxed);
        self.metrics.duplicates.fetch_add(receipt.duplicates(), Relaxed);
        self.metrics.dead_letters.fetch_add(set_aside, Relaxed);
        self.note(CheckpointEvent::Settled(receipt)).await;
    }

    pub(super) async fn note(&mut self, note: CheckpointEvent) {
        if self.checkpoint.send(note).await.is_err() {
            // The store says itself what happened to it, when the notebook is closed.
            self.fail(Error::Panic("checkpoint"));
        }
    }

    /// Keeps the first error: the later ones are its consequences.
    pub(super) fn fail(&mut self, error: Error) {
        if self.failed.is_none() {
            self.failed = Some(error);
        }
    }
}

/// Counts documents that are kept out although nothing is wrong with them, and returns why the run ends if they are
/// too many.
pub(super) fn count_blocked(blocked: &mut u64, set_aside: &[DeadLetter]) -> Option<Error> {
    let is_kept_out =
        |one: &&DeadLetter| matches!(one.cause, DeadLetterCause::Index | DeadLetterCause::Pipeline);
    let mut more = set_aside.iter().filter(is_kept_out);
    *blocked += more.clone().count() as u64;
    let last = more.next_back().filter(|_| *blocked > MAX_BLOCKED_DOCUMENTS)?;
    let source = BlockedDocument { cause: last.cause, reason: last.reason.clone() };
    Some(Error::TooManyBlocked { limit: MAX_BLOCKED_DOCUMENTS, index: last.index.clone(), source })
}

/// The threads of a run.
pub(super) struct Threads {
    lister: thread::JoinHandle<Result<(), source::Error>>,
    workers: Vec<thread::JoinHandle<()>>,
}

impl Threads {
    /// Waits for all of them; for those that may be stuck in a silent pipe only if nobody is in a hurry.
    fn join(self, hurry: bool) -> Result<(), Error> {
        for worker in self.workers {
            if (!hurry || worker.is_finished()) && worker.join().is_err() {
                return Err(Error::Panic("worker"));
            }
        }
        if hurry && !self.lister.is_finished() {
            return Ok(());
        }
        Ok(self.lister.join().map_err(|_| Error::Panic("lister"))??)
    }
}

/// Starts lister and workers.
pub(super) fn start(
    load: PipelineConfig,
    buffers: Arc<BufferPool>,
    survey: Option<Arc<Mutex<DryRunReport>>>,
) -> Result<(Threads, mpsc::Receiver<WorkerOutput>), Error> {
    let (ahead, work) = crossbeam_channel::bounded(JOBS_AHEAD);
    let (made, outputs) = mpsc::channel(memory::OUTPUTS_AHEAD);
    let (range, limits) = (load.settings.range, load.decoder_limits());
    let batch_bytes = load.batch_bytes();
    let context = WorkerContext {
        work,
        outputs: made,
        fields: load.fields,
        settings: Arc::new(load.settings),
        batch_bytes,
        limits,
        long_records: Arc::default(),
        buffers,
        metrics: Arc::clone(&load.metrics),
        log: load.log.clone(),
        shutdown: load.shutdown.clone(),
        full_reported: Arc::new(AtomicBool::new(false)),
        inputs_named: Arc::default(),
        survey,
    };
    let products_made = context.outputs.clone();
    // Those that are started before one cannot be find no work, and end.
    let workers = (0..load.workers)
        .map(|_| spawn("worker", WORKER_STACK, context.clone(), worker::run))
        .collect::<Result<_, _>>()?;
    let lister = Lister {
        metrics: load.metrics,
        log: load.log,
        shutdown: load.shutdown,
        ahead,
        outputs: products_made,
        checkpoint_events: Vec::new(),
        lanes: 0,
        range,
        paged: HashMap::new(),
        inputs_by_folder: InputsByFolder::default(),
    };
    let mut source = load.source;
    let lister = spawn("lister", WORKER_STACK, lister, move |mut lister| {
        let listed = source.list(&mut |source_number, found| lister.take(source_number, found));
        lister.tell();
        lister.metrics.listed.store(true, Relaxed);
        listed
    })?;
    Ok((Threads { lister, workers }, outputs))
}

/// Numbers what the source finds and puts it before the workers.
struct Lister {
    metrics: Arc<Metrics>,
    log: Log,
    shutdown: ShutdownSignal,
    ahead: crossbeam_channel::Sender<Job>,
    outputs: mpsc::Sender<WorkerOutput>,
    /// For the store.
    checkpoint_events: Vec<CheckpointEvent>,
    lanes: PartitionNumber,
    /// JobInput records are wanted.
    range: TimeRange,
    /// The lanes that have begun and not ended, by key.
    paged: HashMap<String, (PartitionNumber, Arc<PagedPartition>)>,
    inputs_by_folder: InputsByFolder,
}

impl Lister {
    fn take(&mut self, source_number: usize, found: SourceEvent) -> bool {
        let taken = match found {
            SourceEvent::Input(input) => {
                self.metrics.add_found(source_number, input.size);
                self.inputs_by_folder.add(&input);
                let inputs_named =
                    self.metrics.sources.get(source_number).map_or("", |source| &source.name);
                let expected = Expectation::for_input(inputs_named, &input.name);
                let work = Job {
                    lane: self.number(),
                    source_number,
                    what: JobInput::Input(input, expected),
                };
                self.ahead.send(work).is_ok()
            }
            SourceEvent::AlreadyDone { size, touched } => {
                self.metrics.add_found(source_number, size);
                self.metrics.add_skipped(source_number, size);
                self.checkpoint_events.extend(touched.map(CheckpointEvent::Unchanged));
                self.flush_if_large()
            }
            SourceEvent::Skipped { name, why } => {
                self.log.warn(&name, format_args!("skipped: {why}"));
                true
            }
            SourceEvent::Failed(error) => {
                let reason = error.told();
                self.log.warn(error.about(), &reason);
                self.metrics.add_failed(source_number, error.about(), &reason);
                true
            }
            SourceEvent::Unreadable { lane, name, why, size } => {
                self.lose(source_number, lane, name, why, size)
            }
            SourceEvent::FolderComplete { prefix, listed, known } => {
                if let Some(handed_out) = self.inputs_by_folder.remove(&prefix) {
                    self.checkpoint_events.push(CheckpointEvent::FolderComplete {
                        prefix,
                        listing: listed,
                        previously_loaded: known,
                        read_in_this_run: handed_out,
                    });
                }
                self.flush_if_large()
            }
            SourceEvent::SliceStarted(slice) => self.begin(source_number, slice),
            SourceEvent::Page(page) => self.hand_out(source_number, page),
            SourceEvent::SliceEnded { key, pages, complete } => self.end(&key, pages, complete),
        };
        taken && !self.shutdown.is_requested()
    }

    /// Returns the number of the next lane.
    fn number(&mut self) -> PartitionNumber {
        let number = self.lanes;
        self.lanes += 1;
        number
    }

    /// Writes down an input that cannot be had, so that the next run tries again.
    fn lose(
        &mut self,
        source_number: usize,
        lane: Partition,
        name: String,
        why: String,
        size: u64,
    ) -> bool {
        self.metrics.add_found(source_number, size);
        self.metrics.add_consumed(source_number, size);
        self.log.warn(&name, format_args!("{why}; the next run tries again"));
        self.metrics.add_failed(source_number, &name, &why);
        self.inputs_by_folder.add_key(&lane.key);
        let number = self.number();
        self.checkpoint_events.push(CheckpointEvent::PartitionOpened {
            number,
            partition: lane,
            name,
            time_slice: None,
        });
        let outcome = PartitionOutcome::Failed { cause: why, offset: None };
        self.checkpoint_events.push(CheckpointEvent::PartitionEnded {
            partition: number,
            outcome,
            pages: 0,
            fingerprint: None,
        });
        self.flush_if_large()
    }

    /// Opens a lane that comes in pages. The store learns of it before a worker can have a page.
    fn begin(&mut self, source_number: usize, slice: Slice) -> bool {
        self.metrics.add_found(source_number, 0);
        let (number, span) = (self.number(), Some(slice.span()));
        let paged = Arc::new(PagedPartition::new(source_number, &slice, self.range));
        let Slice { key, name, .. } = slice;
        let lane = Partition { key: key.clone(), fingerprint: String::new() };
        self.paged.insert(key, (number, paged));
        self.checkpoint_events.push(CheckpointEvent::PartitionOpened {
            number,
            partition: lane,
            name,
            time_slice: span,
        });
        self.tell()
    }

    fn hand_out(&mut self, source_number: usize, page: Page) -> bool {
        let Page { key, number, content, since } = page;
        let Some((lane, paged)) = self.paged.get(&key) else {
            self.log
                .warn(&key, "a page came before its beginning; this is a bug, and it was left out");
            return true;
        };
        paged.on_page_queued();
        let part = PageJob { number, content, position: since, partition: Arc::clone(paged) };
        self.ahead.send(Job { lane: *lane, source_number, what: JobInput::Page(part) }).is_ok()
    }

    fn end(&mut self, key: &str, pages: u32, complete: bool) -> bool {
        let Some((lane, paged)) = self.paged.remove(key) else { return true };
        let outcome = if complete {
            paged.on_last_page_queued(&self.metrics);
            PartitionOutcome::Done
        } else {
            PartitionOutcome::Interrupted
        };
        self.checkpoint_events.push(CheckpointEvent::PartitionEnded {
            partition: lane,
            outcome,
            pages,
            fingerprint: None,
        });
        self.tell()
    }

    /// Hands on what the store is to know, if it is much.
    fn flush_if_large(&mut self) -> bool {
        self.checkpoint_events.len() < EVENTS_PER_OUTPUT || self.tell()
    }

    /// Hands on what the store is to know, and returns whether that found a taker.
    fn tell(&mut self) -> bool {
        if self.checkpoint_events.is_empty() {
            return true;
        }
        let product = WorkerOutput {
            checkpoint_events: std::mem::take(&mut self.checkpoint_events),
            ..WorkerOutput::default()
        };
        self.outputs.blocking_send(product).is_ok()
    }
}
