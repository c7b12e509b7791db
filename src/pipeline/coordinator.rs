//! The coordinator: passes batches from the workers to the consumer, and events and receipts to the checkpoint.
//!
//! Input: [`WorkerOutput`]s. Output: calls of [`Consumer::settle`], and [`CheckpointEvent`]s.
//! Invariant: an event or receipt reaches the checkpoint only after everything that it depends on; the first error is
//! the one that is reported; batches that are in flight are always awaited.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::Receiver,
    task::{JoinError, JoinSet},
};

use super::{
    checkpoint_writer::{CheckpointSender, CheckpointWriter},
    consumer::{Batch, Consumer, Settlement},
    error::Error,
    job::WorkerOutput,
    long_record::LongRecordPermit,
    result_ledger::ResultLedger,
};
use crate::{
    checkpoint::CheckpointEvent,
    shutdown::{ShutdownLevel, ShutdownSignal, ShutdownTrigger},
};

/// How long a shutdown waits for workers: one may wait for a stream that is silent.
const SILENT_STREAM_GRACE: Duration = Duration::from_secs(3);

/// The state of a run between its workers, its consumer and its checkpoint.
pub(super) struct Coordinator<C: Consumer> {
    consumer: Arc<C>,
    /// `None` if the run keeps no checkpoint.
    checkpoint: Option<CheckpointWriter>,
    /// Replaces the ledger of the checkpoint if the run keeps none.
    results: ResultLedger,
    trigger: ShutdownTrigger,
    shutdown: ShutdownSignal,
    /// [`Consumer::prepare`], until it has returned.
    preparing: JoinSet<Result<(), C::Error>>,
    settling: JoinSet<Settlement<C::Error>>,
    /// Batches that are being settled, by their weight.
    in_flight: Arc<AtomicUsize>,
    max_in_flight: usize,
    end: Option<End<C::Error>>,
}

/// Why a run ends before everything is read.
pub(super) enum End<E: std::error::Error + 'static> {
    /// The consumer needs no further records.
    Satisfied,
    /// The run cannot continue.
    Failed(Error<E>),
}

impl<C: Consumer> Coordinator<C> {
    pub(super) fn new(
        consumer: Arc<C>,
        checkpoint: Option<CheckpointWriter>,
        trigger: ShutdownTrigger,
        shutdown: ShutdownSignal,
    ) -> Self {
        Self {
            max_in_flight: consumer.max_in_flight(),
            consumer,
            checkpoint,
            results: ResultLedger::default(),
            trigger,
            shutdown,
            preparing: JoinSet::new(),
            settling: JoinSet::new(),
            in_flight: Arc::default(),
            end: None,
        }
    }

    /// Returns the consumer.
    pub(super) fn consumer(&self) -> &Arc<C> {
        &self.consumer
    }

    /// Returns a sender of events to the checkpoint, if the run keeps one. See [`CheckpointWriter::sender`].
    pub(super) fn checkpoint_sender(&self) -> Option<CheckpointSender> {
        self.checkpoint.as_ref().map(CheckpointWriter::sender)
    }

    /// Returns why the run ends early, and the checkpoint.
    pub(super) fn into_parts(self) -> (Option<End<C::Error>>, Option<CheckpointWriter>) {
        (self.end, self.checkpoint)
    }

    /// Starts [`Consumer::prepare`], which runs while the first inputs are read.
    pub(super) fn prepare(&mut self) {
        let consumer = Arc::clone(&self.consumer);
        self.preparing.spawn(async move { consumer.prepare().await });
    }

    /// Waits until [`Consumer::prepare`] has returned.
    pub(super) async fn wait_until_prepared(&mut self) {
        while let Some(prepared) = self.preparing.join_next().await {
            self.on_prepared(prepared);
        }
    }

    /// Returns whether the run is ending.
    pub(super) fn is_ending(&self) -> bool {
        self.end.is_some() || self.shutdown.is_requested()
    }

    /// Passes on outputs until the workers have ended or the run ends, and waits for the batches in flight.
    pub(super) async fn process(&mut self, mut outputs: Receiver<WorkerOutput<Batch<C>>>) {
        while self.end.is_none() {
            let can_settle = self.can_settle();
            tokio::select! {
                biased;
                Some(prepared) = self.preparing.join_next() => self.on_prepared(prepared),
                Some(settled) = self.settling.join_next() => self.on_settled(settled).await,
                output = next_output(&mut outputs, &self.shutdown), if can_settle => match output {
                    Some(output) => self.on_output(output).await,
                    None => break,
                },
            }
        }
        // Ends the workers, whose next output finds the channel closed.
        drop(outputs);
        if self.end.is_some() {
            self.trigger.raise(ShutdownLevel::Draining);
        }
        while let Some(settled) = self.settling.join_next().await {
            self.on_settled(settled).await;
        }
    }

    /// Calls [`Consumer::finish`] unless the run failed or was stopped.
    pub(super) async fn finish(&mut self) {
        if self.is_aborted() {
            // The next run prepares again.
            self.preparing.abort_all();
        }
        self.wait_until_prepared().await;
        if !self.is_aborted() {
            let finished = self.consumer.finish().await;
            self.on_result(finished.map(ControlFlow::Continue));
        }
    }

    /// Sends an event to the checkpoint.
    pub(super) async fn record(&mut self, event: CheckpointEvent) {
        self.consumer.on_progress(&event);
        let Some(checkpoint) = &self.checkpoint else {
            if let Err(error) = self.results.apply(event) {
                self.fail(error.into());
            }
            return;
        };
        if checkpoint.send(event).await.is_err() {
            // The writer returns the cause when it is finished.
            self.fail(Error::Panic("checkpoint"));
        }
    }

    /// Ends the run with an error. The first error is kept, because later ones are its consequences.
    pub(super) fn fail(&mut self, error: Error<C::Error>) {
        if !matches!(self.end, Some(End::Failed(_))) {
            self.end = Some(End::Failed(error));
        }
    }

    /// Continues or ends the run as the consumer demands.
    pub(super) fn on_result(&mut self, result: Result<ControlFlow<()>, C::Error>) {
        match result {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => {
                self.end.get_or_insert(End::Satisfied);
            }
            // A shutdown is not an error. The other batches in flight have waited just as long.
            Err(error) if C::is_interruption(&error) && self.shutdown.is_requested() => {
                if self.end.is_none() {
                    self.trigger.raise(ShutdownLevel::Immediate);
                }
            }
            Err(error) => self.fail(Error::Consumer(error)),
        }
    }

    fn on_prepared(&mut self, prepared: Result<Result<(), C::Error>, JoinError>) {
        match prepared {
            Ok(result) => self.on_result(result.map(ControlFlow::Continue)),
            Err(error) if error.is_cancelled() => {}
            Err(_) => self.fail(Error::Panic("consumer")),
        }
    }

    async fn on_output(&mut self, output: WorkerOutput<Batch<C>>) {
        let WorkerOutput { checkpoint_events, batch, permit } = output;
        for event in checkpoint_events {
            self.record(event).await;
        }
        if let Some(batch) = batch {
            self.settle(batch, permit);
        }
    }

    /// Returns whether one more batch may be in flight.
    fn can_settle(&self) -> bool {
        self.settling.is_empty() || self.in_flight.load(Relaxed) < self.max_in_flight
    }

    /// Returns whether the run failed or was stopped.
    fn is_aborted(&self) -> bool {
        match self.end {
            Some(End::Satisfied) => false,
            Some(End::Failed(_)) => true,
            None => self.shutdown.is_requested(),
        }
    }

    /// Starts to settle a batch.
    fn settle(&mut self, batch: Batch<C>, permit: Option<Arc<LongRecordPermit>>) {
        let (consumer, in_flight) = (Arc::clone(&self.consumer), Arc::clone(&self.in_flight));
        let weight = consumer.weight(&batch);
        in_flight.fetch_add(weight, Relaxed);
        self.settling.spawn(async move {
            let settlement = consumer.settle(batch).await;
            in_flight.fetch_sub(weight, Relaxed);
            drop(permit);
            settlement
        });
    }

    async fn on_settled(&mut self, settled: Result<Settlement<C::Error>, JoinError>) {
        match settled {
            Ok(Settlement { receipt, next }) => {
                self.record(CheckpointEvent::Settled(receipt)).await;
                self.on_result(next);
            }
            Err(_) => self.fail(Error::Panic("consumer")),
        }
    }
}

/// Returns the next output, or `None` if the workers have ended, or may wait for a silent stream during a shutdown.
async fn next_output<B>(
    outputs: &mut Receiver<WorkerOutput<B>>,
    shutdown: &ShutdownSignal,
) -> Option<WorkerOutput<B>> {
    let grace_is_over = async {
        shutdown.reached(ShutdownLevel::Draining).await;
        wait_for_silent_stream().await;
    };
    tokio::select! {
        biased;
        output = outputs.recv() => output,
        () = grace_is_over => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for a person's pipe, not for a service")]
async fn wait_for_silent_stream() {
    tokio::time::sleep(SILENT_STREAM_GRACE).await;
}
