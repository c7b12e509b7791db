//! The lister: numbers the partitions that the source finds, and queues them for the workers.
//!
//! Input: [`SourceEvent`]s. Output: [`Job`]s for the workers, and [`CheckpointEvent`]s for the coordinator.
//! Invariant: a partition that arrives in pages is opened before a worker can have a page of it.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use tokio::sync::mpsc::Sender;

use super::{
    consumer::Origin,
    inputs_by_folder::InputsByFolder,
    job::{EVENTS_PER_OUTPUT, Job, JobInput, WorkerOutput},
    paged_partition::{PageJob, PagedPartition},
};
use crate::{
    checkpoint::{CheckpointEvent, PartitionOutcome},
    event::{Partition, PartitionNumber},
    normalize::TimeRange,
    report::{Log, Metrics},
    shutdown::ShutdownSignal,
    source::{Expectation, Input, Page, Slice, SourceEvent},
};

/// Numbers partitions and queues jobs. `B` is the batch type of the consumer.
pub(super) struct Lister<B> {
    queue: crossbeam_channel::Sender<Job>,
    outputs: Sender<WorkerOutput<B>>,
    /// The requested time range.
    range: TimeRange,
    pub(super) metrics: Arc<Metrics>,
    log: Log,
    shutdown: ShutdownSignal,
    /// Events that are not sent yet.
    checkpoint_events: Vec<CheckpointEvent>,
    /// The number of the next partition.
    next_partition: PartitionNumber,
    /// Partitions that arrive in pages and have not ended, by key.
    paged: HashMap<String, (PartitionNumber, Arc<PagedPartition>)>,
    inputs_by_folder: InputsByFolder,
}

impl<B> Lister<B> {
    pub(super) fn new(
        queue: crossbeam_channel::Sender<Job>,
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
        }
    }

    /// Handles an event of the source. Returns `Break` when the run is ending.
    pub(super) fn on_event(&mut self, source_number: usize, event: SourceEvent) -> ControlFlow<()> {
        match event {
            SourceEvent::Input(input) => self.on_input(source_number, input)?,
            SourceEvent::AlreadyDone { size, touched } => {
                self.metrics.add_found(source_number, size);
                self.metrics.add_skipped(source_number, size);
                self.checkpoint_events.extend(touched.map(CheckpointEvent::Unchanged));
                self.flush_if_many_events()?;
            }
            SourceEvent::Skipped { name, why } => {
                self.log.warn(&name, format_args!("skipped: {why}"));
            }
            SourceEvent::Failed(error) => {
                let reason = error.told();
                self.log.warn(error.about(), &reason);
                self.metrics.add_failed(source_number, error.about(), &reason);
            }
            SourceEvent::Unreadable { partition, name, why, size } => {
                self.on_unreadable(source_number, partition, name, why, size)?;
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
                self.flush_if_many_events()?;
            }
            SourceEvent::SliceStarted(slice) => self.on_slice_started(source_number, slice)?,
            SourceEvent::Page(page) => self.on_page(source_number, page)?,
            SourceEvent::SliceEnded { key, pages, complete } => {
                self.on_slice_ended(&key, pages, complete)?;
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
    ) -> ControlFlow<()> {
        self.metrics.add_found(source_number, size);
        self.metrics.add_consumed(source_number, size);
        self.log.warn(&name, format_args!("{why}; the next run tries again"));
        self.metrics.add_failed(source_number, &name, &why);
        self.inputs_by_folder.add_key(&partition.key);
        let number = self.number();
        self.checkpoint_events.push(CheckpointEvent::PartitionOpened {
            number,
            partition,
            name,
            time_slice: None,
        });
        self.checkpoint_events.push(CheckpointEvent::PartitionEnded {
            partition: number,
            outcome: PartitionOutcome::Failed { cause: why, offset: None },
            pages: 0,
            fingerprint: None,
        });
        self.flush_if_many_events()
    }

    /// Opens a partition that arrives in pages.
    fn on_slice_started(&mut self, source_number: usize, slice: Slice) -> ControlFlow<()> {
        self.metrics.add_found(source_number, 0);
        let (number, time_slice) = (self.number(), Some(slice.span()));
        let paged = Arc::new(PagedPartition::new(source_number, &slice, self.range));
        let Slice { key, name, .. } = slice;
        let partition = Partition { key: key.clone(), fingerprint: String::new() };
        self.paged.insert(key, (number, paged));
        self.checkpoint_events.push(CheckpointEvent::PartitionOpened {
            number,
            partition,
            name,
            time_slice,
        });
        self.flush()
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

    fn on_slice_ended(&mut self, key: &str, pages: u32, complete: bool) -> ControlFlow<()> {
        let Some((partition, paged)) = self.paged.remove(key) else {
            return ControlFlow::Continue(());
        };
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
        self.flush()
    }

    /// Returns the number of the next partition.
    fn number(&mut self) -> PartitionNumber {
        let number = self.next_partition;
        self.next_partition += 1;
        number
    }

    fn queue_job(&self, job: Job) -> ControlFlow<()> {
        match self.queue.send(job) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn flush_if_many_events(&mut self) -> ControlFlow<()> {
        if self.checkpoint_events.len() < EVENTS_PER_OUTPUT {
            return ControlFlow::Continue(());
        }
        self.flush()
    }

    /// Sends the checkpoint events to the coordinator. Returns `Break` if the coordinator accepts no further outputs.
    pub(super) fn flush(&mut self) -> ControlFlow<()> {
        if self.checkpoint_events.is_empty() {
            return ControlFlow::Continue(());
        }
        let checkpoint_events = std::mem::take(&mut self.checkpoint_events);
        let output = WorkerOutput { checkpoint_events, batch: None, permit: None };
        match self.outputs.blocking_send(output) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
