//! The bounded channel from a source to the pipeline.
//!
//! Input: events with the index of their SOURCE argument. Output: the same events in the same order, in batches.
//! Invariant: the channel is bounded, so that a slow engine blocks every source; dropping the [`EventReceiver`] makes
//! every further send fail, which ends the sources.
//!
//! Events travel in batches because a folder may contain hundreds of thousands of small files: one wake-up of the
//! receiver for each of them costs more than reading the folder.

use std::{
    mem,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{Error, Source, SourceEvent};
use crate::shutdown::ShutdownSignal;

/// Batches buffered in the channel. Few: the pipeline has a queue of its own for jobs.
const BATCHES_AHEAD: usize = 4;

/// Events in a full batch.
const MAX_BATCH: usize = 64;

/// How long an event of a blocking source waits for its batch to fill.
const MAX_BATCH_AGE: Duration = Duration::from_millis(1);

/// An event, and the index of the SOURCE argument it belongs to.
pub type IndexedEvent = (usize, SourceEvent);

/// The receiver is gone: no more events are wanted, and the source ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverClosed;

/// Creates the channel between one source, or several combined ones, and the pipeline.
pub fn event_channel() -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    (EventSender(sender), EventReceiver(receiver))
}

/// The sending end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventSender(mpsc::Sender<Vec<IndexedEvent>>);

impl EventSender {
    /// Sends an event; waits while the channel is full.
    ///
    /// # Errors
    ///
    /// Returns [`ReceiverClosed`] if no more events are wanted.
    pub async fn send(
        &self,
        source_number: usize,
        event: SourceEvent,
    ) -> Result<(), ReceiverClosed> {
        self.0.send(vec![(source_number, event)]).await.map_err(|_| ReceiverClosed)
    }

    /// Returns whether no more events are wanted.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits until no more events are wanted.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Returns a sender for a blocking thread, which collects events into batches.
    pub fn into_blocking(self) -> BlockingEventSender {
        BlockingEventSender { sender: self, batch: Vec::new(), started_at: Instant::now() }
    }
}

/// The sending end for `spawn_blocking`. Call [`flush`](Self::flush) before waiting for anything else.
#[derive(Debug)]
pub struct BlockingEventSender {
    sender: EventSender,
    batch: Vec<IndexedEvent>,
    /// When the first event of the batch was added.
    started_at: Instant,
}

impl BlockingEventSender {
    /// Adds an event to the batch, and sends the batch if it is full or old; blocks while the channel is full.
    ///
    /// # Errors
    ///
    /// Returns [`ReceiverClosed`] if no more events are wanted.
    pub fn send(&mut self, source_number: usize, event: SourceEvent) -> Result<(), ReceiverClosed> {
        if self.batch.is_empty() {
            self.started_at = Instant::now();
        }
        self.batch.push((source_number, event));
        if self.batch.len() < MAX_BATCH && self.started_at.elapsed() < MAX_BATCH_AGE {
            return Ok(());
        }
        self.flush()
    }

    /// Sends the events that wait for their batch to fill; blocks while the channel is full.
    ///
    /// # Errors
    ///
    /// Returns [`ReceiverClosed`] if no more events are wanted.
    pub fn flush(&mut self) -> Result<(), ReceiverClosed> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.sender.0.blocking_send(mem::take(&mut self.batch)).map_err(|_| ReceiverClosed)
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct EventReceiver(mpsc::Receiver<Vec<IndexedEvent>>);

impl EventReceiver {
    /// Receives the next events, of which there is at least one; `None` if the sources have ended.
    pub async fn recv(&mut self) -> Option<Vec<IndexedEvent>> {
        self.0.recv().await
    }
}

/// Runs a source and calls `on_event` with each of its events. If that breaks, the source is cancelled.
///
/// For consumers that need no pipeline, such as a check whether a source can be read.
///
/// # Errors
///
/// Returns the [`Error`] of the source.
pub async fn for_each_event(
    source: Box<dyn Source>,
    shutdown: ShutdownSignal,
    mut on_event: impl FnMut(usize, SourceEvent) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (sender, mut receiver) = event_channel();
    let mut run = source.run(sender, shutdown);
    let mut result = None;
    loop {
        let events = tokio::select! {
            biased;
            events = receiver.recv() => events,
            ended = &mut run, if result.is_none() => {
                result = Some(ended);
                continue;
            }
        };
        let Some(events) = events else { break };
        for (source_number, event) in events {
            if on_event(source_number, event).is_break() {
                return Ok(());
            }
        }
    }
    match result {
        Some(ended) => ended,
        None => run.await,
    }
}
