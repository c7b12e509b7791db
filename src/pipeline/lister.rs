//! The lister: numbers the partitions that the source finds, and queues them for the workers.
//!
//! Input: [`SourceEvent`]s. Output: [`Job`]s for the workers, and [`CheckpointEvent`]s for the coordinator.
//! Invariant: a partition that arrives in pages is opened before a worker can have a page of it. Once a shutdown is
//! requested, no further event is handled, and the source is cancelled.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::{sync::mpsc::Sender, task::JoinSet};

use super::{
    consumer::Origin,
    inputs_by_folder::InputsByFolder,
    job::{EVENTS_PER_OUTPUT, Job, JobInput, WorkerOutput},
    job_queue::{JobSender, JobSlots},
    paged_partition::{PageJob, PagedPartition},
};
use crate::{
    checkpoint::{CheckpointEvent, PartitionOutcome},
    event::{Partition, PartitionNumber},
    normalize::TimeRange,
    report::{Log, Metrics},
    shutdown::{ShutdownLevel, ShutdownSignal},
    source::{
        self, Expectation, IndexedEvent, Input, Page, Slice, Source, SourceEvent,
        SourceObservation, event_channel, task_output,
    },
};

/// Numbers partitions and queues jobs. `B` is the batch type of the consumer.
pub(super) struct Lister<B> {
    queue: JobSender,
    outputs: Sender<WorkerOutput<B>>,
    /// The requested time range.
    range: TimeRange,
    metrics: Arc<Metrics>,
    log: Log,
    shutdown: ShutdownSignal,
    /// Events that are not sent yet.
    checkpoint_events: Vec<CheckpointEvent>,
    /// The number of the next partition.
    next_partition: PartitionNumber,
    /// Partitions that arrive in pages and have not ended, by key.
    paged: HashMap<String, (PartitionNumber, Arc<PagedPartition>)>,
    inputs_by_folder: InputsByFolder,
    /// Reserved for the jobs of the batch of events that is being handled.
    slots: JobSlots,
    consequence_of_failed_input: &'static str,
}

impl<B> Lister<B> {
    pub(super) fn new(
        queue: JobSender,
        outputs: Sender<WorkerOutput<B>>,
        range: TimeRange,
        metrics: Arc<Metrics>,
        log: Log,
        shutdown: ShutdownSignal,
    ) -> Self {
        Self {
            queue,
            outputs,
            range,
            metrics,
            log,
            shutdown,
            checkpoint_events: Vec::new(),
            next_partition: 0,
            paged: HashMap::new(),
            inputs_by_folder: InputsByFolder::default(),
            slots: JobSlots::default(),
            consequence_of_failed_input: "",
        }
    }

    /// Sets what follows for an input that cannot be read, as the end of its warning.
    pub(super) fn with_consequence_of_failed_input(mut self, consequence: &'static str) -> Self {
        self.consequence_of_failed_input = consequence;
        self
    }

    /// Runs the source to its end, or until a shutdown is requested.
    ///
    /// # Errors
    ///
    /// Returns the error of the source.
    pub(super) async fn run(mut self, source: Box<dyn Source>) -> Result<(), source::Error> {
        let (sender, mut events) = event_channel();
        // A task of its own, so that aborting it cancels what the source has in flight.
        let mut running = JoinSet::new();
        running.spawn(source.run(sender, self.shutdown.clone()));
        let shutdown = self.shutdown.clone();
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.reached(ShutdownLevel::Draining) => break,
                batch = events.recv() => batch,
            };
            let Some(batch) = batch else { break };
            if self.on_batch(batch).await.is_break() {
                break;
            }
        }
        drop(events);
        // If the coordinator accepts no further outputs, the run has failed already.
        let _ = self.flush().await;
        self.metrics.listed.store(true, Relaxed);
        if shutdown.is_requested() {
            running.abort_all();
        }
        running.join_next().await.and_then(task_output).unwrap_or(Ok(()))
    }

    async fn on_batch(&mut self, batch: Vec<IndexedEvent>) -> ControlFlow<()> {
        let is_job = |(_, event): &&IndexedEvent| {
            matches!(event, SourceEvent::Input(_) | SourceEvent::Page(_))
        };
        let jobs = batch.iter().filter(is_job).count();
        self.slots = self.queue.reserve(jobs).await;
        for (source_number, event) in batch {
            self.on_event(source_number, event).await?;
        }
        ControlFlow::Continue(())
    }

    /// Handles an event of the source. Returns `Break` when the run is ending.
    async fn on_event(&mut self, source_number: usize, event: SourceEvent) -> ControlFlow<()> {
        match event {
            SourceEvent::Input(input) => self.on_input(source_number, input)?,
            SourceEvent::AlreadyDone { size, touched, is_foreign } => {
                self.metrics.add_found(source_number, size);
                self.metrics.add_skipped(source_number, size);
                if is_foreign {
                    self.metrics.add_foreign_before(source_number);
                }
                self.checkpoint_events.extend(touched.map(CheckpointEvent::Unchanged));
                self.flush_if_many_events().await?;
            }
            SourceEvent::Skipped { name, why } => {
                self.log.warn(&name, format_args!("skipped: {why}"));
            }
            SourceEvent::Failed(error) => {
                let reason = error.describe();
                self.log.warn(error.subject(), &reason);
                self.metrics.add_failed(source_number, error.subject(), &reason);
            }
            SourceEvent::Unreadable { partition, name, why, size } => {
                self.on_unreadable(source_number, partition, name, why, size);
                self.flush_if_many_events().await?;
            }
            SourceEvent::FolderComplete { prefix, listed, known } => {
                if let Some(read_in_this_run) = self.inputs_by_folder.remove(&prefix) {
                    self.checkpoint_events.push(CheckpointEvent::FolderComplete {
                        prefix,
                        listing: listed,
                        previously_loaded: known,
                        read_in_this_run,
                    });
                }
                self.flush_if_many_events().await?;
            }
            SourceEvent::SliceStarted(slice) => {
                self.on_slice_started(source_number, slice);
                self.flush().await?;
            }
            SourceEvent::Page(page) => self.on_page(source_number, page)?,
            SourceEvent::SliceEnded { key, pages, complete } => {
                self.on_slice_ended(&key, pages, complete);
                self.flush().await?;
            }
            SourceEvent::Observed(observation) => {
                self.on_observation(source_number, observation);
                self.flush().await?;
            }
        }
        if self.shutdown.is_requested() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn on_input(&mut self, source_number: usize, input: Input) -> ControlFlow<()> {
        self.metrics.add_found(source_number, input.size);
        self.inputs_by_folder.add(&input);
        let argument = self.metrics.sources.get(source_number).map_or("", |source| &source.name);
        let expected = Expectation::for_input(argument, &input.name);
        let origin = Origin { source_number, partition: self.number(), page: 0 };
        self.queue_job(Job { origin, input: JobInput::Whole(input, expected) })
    }

    /// Records an input that cannot be read, so that the next run tries again.
    fn on_unreadable(
        &mut self,
        source_number: usize,
        partition: Partition,
        name: String,
        why: String,
        size: u64,
    ) {
        self.metrics.add_found(source_number, size);
        self.metrics.add_consumed(source_number, size);
        self.log.warn(&name, format_args!("{why}; {}", self.consequence_of_failed_input));
        self.metrics.add_failed(source_number, &name, &why);
        self.inputs_by_folder.add_key(&partition.key);
        let number = self.number();
        self.checkpoint_events.push(CheckpointEvent::PartitionOpened {
            number,
            partition,
            name,
            time_slice: None,
            result: None,
        });
        self.checkpoint_events.push(CheckpointEvent::PartitionEnded {
            partition: number,
            outcome: PartitionOutcome::Failed { cause: why, offset: None },
            pages: 0,
            fingerprint: None,
        });
    }

    /// Opens a partition that arrives in pages.
    fn on_slice_started(&mut self, source_number: usize, slice: Slice) {
        self.metrics.add_found(source_number, 0);
        let (number, time_slice) = (self.number(), Some(slice.time_slice()));
        let paged = Arc::new(PagedPartition::new(source_number, &slice, self.range));
        let Slice { key, name, result, .. } = slice;
        let partition = Partition { key: key.clone(), fingerprint: String::new() };
        self.paged.insert(key, (number, paged));
        self.checkpoint_events.push(CheckpointEvent::PartitionOpened {
            number,
            partition,
            name,
            time_slice,
            result,
        });
    }

    fn on_page(&mut self, source_number: usize, page: Page) -> ControlFlow<()> {
        let Page { key, number: page, content, since: position } = page;
        let Some((partition, paged)) = self.paged.get(&key) else {
            let message = "dropped a page of a partition that was not started; this is a bug";
            self.log.warn(&key, message);
            return ControlFlow::Continue(());
        };
        paged.on_page_queued();
        let origin = Origin { source_number, partition: *partition, page };
        let job = PageJob { content, position, partition: Arc::clone(paged) };
        self.queue_job(Job { origin, input: JobInput::Page(job) })
    }

    fn on_slice_ended(&mut self, key: &str, pages: u32, complete: bool) {
        let Some((partition, paged)) = self.paged.remove(key) else { return };
        let outcome = if complete {
            paged.on_last_page_queued(&self.metrics);
            PartitionOutcome::Done
        } else {
            PartitionOutcome::Interrupted
        };
        self.checkpoint_events.push(CheckpointEvent::PartitionEnded {
            partition,
            outcome,
            pages,
            fingerprint: None,
        });
    }

    fn on_observation(&mut self, source_number: usize, observation: SourceObservation) {
        let Some(source) = self.metrics.sources.get(source_number) else { return };
        source.observe(observation.clone());
        let source = source.name.clone();
        self.checkpoint_events.push(CheckpointEvent::SourceObserved { source, observation });
    }

    /// Returns the number of the next partition.
    fn number(&mut self) -> PartitionNumber {
        let number = self.next_partition;
        // After four billion, in a run of months: those that had the next numbers have ended long before.
        self.next_partition = self.next_partition.wrapping_add(1);
        number
    }

    fn queue_job(&mut self, job: Job) -> ControlFlow<()> {
        self.queue.send(job, &mut self.slots)
    }

    async fn flush_if_many_events(&mut self) -> ControlFlow<()> {
        if self.checkpoint_events.len() < EVENTS_PER_OUTPUT {
            return ControlFlow::Continue(());
        }
        self.flush().await
    }

    /// Sends the checkpoint events to the coordinator. Returns `Break` if the coordinator accepts no further outputs.
    async fn flush(&mut self) -> ControlFlow<()> {
        if self.checkpoint_events.is_empty() {
            return ControlFlow::Continue(());
        }
        let checkpoint_events = std::mem::take(&mut self.checkpoint_events);
        let output = WorkerOutput { checkpoint_events, batch: None, permit: None };
        match self.outputs.send(output).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
