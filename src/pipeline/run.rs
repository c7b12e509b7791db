//! Starts the threads of a run and ends them in order.
//!
//! A run ends from its beginning: first the lister, then the workers, then the batches in flight, then the checkpoint.

use std::{sync::Arc, thread::JoinHandle};

use tokio::{
    sync::mpsc::{self, Receiver},
    task::JoinSet,
};

use super::{
    checkpoint_writer::CheckpointWriter,
    consumer::{Batch, Consumer},
    coordinator::{Coordinator, End},
    error::{Error, ThreadError},
    job::WorkerOutput,
    job_queue::job_queue,
    lister::Lister,
    thread::spawn,
    worker::{self, WorkerContext},
};
use crate::{
    checkpoint::{
        CheckpointStore,
        alerts::{AlertTotals, CommittedTotals},
    },
    limit::{MemoryBudget, memory},
    normalize::TimeRange,
    report::{Log, Metrics},
    shutdown::{ShutdownSignal, ShutdownTrigger},
    source::{self, Source},
};

/// Jobs that wait for a worker: enough that no worker waits for the lister.
const QUEUED_JOBS: usize = 256;

/// Stack of a worker: the normalizer recurses as deep as a record is nested, at most 900 levels.
const STACK_BYTES: usize = 16 << 20;

/// What a run reads, and within which limits.
pub struct PipelineConfig {
    /// Lists the inputs.
    pub source: Box<dyn Source>,
    /// The requested time range. The consumer selects records; the pipeline needs the range to know which partitions
    /// lie within it.
    pub range: TimeRange,
    /// Worker threads.
    pub workers: usize,
    /// The memory limit, and the size of a batch.
    pub memory: MemoryBudget,
    /// The metrics of the run.
    pub metrics: Arc<Metrics>,
    /// Receives messages.
    pub log: Log,
    /// Tells the run to end.
    pub shutdown: ShutdownSignal,
    /// Ends the run from within.
    pub trigger: ShutdownTrigger,
}

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// Everything was read and settled.
    Complete,
    /// The consumer needed no further records.
    Satisfied,
    /// A shutdown was requested; every record that was processed is settled.
    Stopped,
}

/// A run that has ended, except for its last row in the checkpoint.
#[derive(Debug)]
pub struct RunEnd<E: std::error::Error + 'static> {
    /// How the run ended, or its first error. Everything that was settled before is saved.
    pub outcome: Result<RunOutcome, Error<E>>,
    /// The checkpoint, to which the exit code is still to be written. `None` if the run has none, or if it failed, which
    /// `outcome` describes.
    pub store: Option<CheckpointStore>,
    /// What became of the matches of rules, as far as it is stored.
    pub matches: AlertTotals,
}

impl<E: std::error::Error + 'static> RunEnd<E> {
    /// Returns the end of a run that could not start.
    pub(super) fn not_started(error: Error<E>) -> Self {
        Self { outcome: Err(error), store: None, matches: AlertTotals::default() }
    }
}

/// Reads everything that the source lists and passes it to the consumer. With a store, the checkpoint advances as the
/// consumer settles batches.
pub async fn run<C: Consumer>(
    config: PipelineConfig,
    consumer: Arc<C>,
    store: Option<CheckpointStore>,
) -> RunEnd<C::Error> {
    let mut run = match Run::start(config, consumer, store) {
        Ok(run) => run,
        Err(error) => return RunEnd::not_started(error),
    };
    run.process().await;
    run.coordinator.finish().await;
    run.close().await
}

/// A run whose threads are started.
pub(super) struct Run<C: Consumer> {
    pub(super) coordinator: Coordinator<C>,
    matches: CommittedTotals,
    shutdown: ShutdownSignal,
    started: Option<Started<C>>,
}

impl<C: Consumer> Run<C> {
    /// Starts the threads, and [`Consumer::prepare`].
    ///
    /// # Errors
    ///
    /// Returns [`Error::Thread`] if the checkpoint thread cannot be started. If another thread cannot be started, the run
    /// fails, but its checkpoint is kept.
    pub(super) fn start(
        config: PipelineConfig,
        consumer: Arc<C>,
        store: Option<CheckpointStore>,
    ) -> Result<Self, Error<C::Error>> {
        let waits = &config.metrics.waits;
        let matches = store.as_ref().map(CheckpointStore::committed_alerts).unwrap_or_default();
        let checkpoint =
            store.map(|store| CheckpointWriter::start(store, waits.clone())).transpose()?;
        let (trigger, shutdown) = (config.trigger.clone(), config.shutdown.clone());
        let mut coordinator =
            Coordinator::new(Arc::clone(&consumer), checkpoint, trigger, shutdown.clone());
        let started = match start_threads(config, consumer) {
            Ok(started) => {
                coordinator.prepare();
                Some(started)
            }
            Err(error) => {
                coordinator.fail(error.into());
                None
            }
        };
        Ok(Self { coordinator, matches, shutdown, started })
    }

    /// Passes on what the workers produce until they have ended.
    pub(super) async fn process(&mut self) {
        let Some((threads, outputs)) = self.started.take() else { return };
        self.coordinator.process(outputs).await;
        if let Err(error) = threads.join(&self.shutdown).await {
            self.coordinator.fail(error);
        }
    }

    /// Waits until the checkpoint is stored, and returns how the run ended.
    pub(super) async fn close(self) -> RunEnd<C::Error> {
        let (end, checkpoint) = self.coordinator.into_parts();
        let outcome = match end {
            Some(End::Failed(error)) => Err(error),
            Some(End::Satisfied) => Ok(RunOutcome::Satisfied),
            None if self.shutdown.is_requested() => Ok(RunOutcome::Stopped),
            None => Ok(RunOutcome::Complete),
        };
        let (outcome, store) = match checkpoint {
            None => (outcome, None),
            Some(checkpoint) => match checkpoint.finish().await {
                Ok(store) => (outcome, Some(store)),
                // The checkpoint's error is the reason why the coordinator could not continue.
                Err(error) => (Err(error), None),
            },
        };
        RunEnd { outcome, store, matches: self.matches.get() }
    }
}

/// The lister and the threads of a run, and what its workers produce.
pub(super) type Started<C> = (Threads, Receiver<WorkerOutput<Batch<C>>>);

/// The lister, a task, and the threads of a run.
pub(super) struct Threads {
    lister: JoinSet<Result<(), source::Error>>,
    workers: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Waits for every thread; during a shutdown only for those that have ended, because the others may wait for a silent
    /// stream.
    async fn join<E: std::error::Error + 'static>(
        mut self,
        shutdown: &ShutdownSignal,
    ) -> Result<(), Error<E>> {
        let is_shutdown = shutdown.is_requested();
        for worker in self.workers {
            if (!is_shutdown || worker.is_finished()) && worker.join().is_err() {
                return Err(Error::Panic("worker"));
            }
        }
        if is_shutdown {
            // It may wait for one of those workers.
            self.lister.abort_all();
        }
        match self.lister.join_next().await {
            Some(Ok(listed)) => Ok(listed?),
            Some(Err(error)) if error.is_panic() => Err(Error::Panic("lister")),
            Some(Err(_)) | None => Ok(()),
        }
    }
}

/// Starts the lister and the workers.
pub(super) fn start_threads<C: Consumer>(
    config: PipelineConfig,
    consumer: Arc<C>,
) -> Result<Started<C>, ThreadError> {
    let PipelineConfig { source, range, workers, memory: budget, metrics, log, shutdown, .. } =
        config;
    let (queue, jobs) = job_queue(QUEUED_JOBS);
    let (sender, outputs) = mpsc::channel(memory::OUTPUTS_AHEAD);
    let context = Arc::new(WorkerContext {
        consumer,
        jobs,
        outputs: sender.clone(),
        limits: budget.decoder_limits(workers),
        long_records: Arc::default(),
        metrics: Arc::clone(&metrics),
        log: log.clone(),
        shutdown: shutdown.clone(),
        named_inputs: 0.into(),
    });
    // If one cannot be started, those before it find the job queue closed, and end.
    let workers = (0..workers)
        .map(|_| spawn("worker", STACK_BYTES, Arc::clone(&context), worker::run))
        .collect::<Result<_, _>>()?;
    let lister = Lister::new(queue, sender, range, metrics, log, shutdown)
        .with_consequence_of_failed_input(C::consequence_of_failed_input());
    let mut tasks = JoinSet::new();
    tasks.spawn(lister.run(source));
    Ok((Threads { lister: tasks, workers }, outputs))
}
