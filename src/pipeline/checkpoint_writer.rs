//! The sending end of the checkpoint thread, which writes checkpoint events to the store.
//!
//! Invariant: events are stored in the order in which they were sent. A slow disk delays the sender, but blocks nothing
//! else on the coordinator's thread, such as signals and responses of the sink.

use std::{
    sync::mpsc::{self, SyncSender, TrySendError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    error::{Error, ThreadError},
    thread::spawn,
};
use crate::{
    checkpoint::{self, CheckpointEvent, CheckpointStore},
    pending::PendingRequests,
};

/// Capacity of the queue: some seconds of the store's work.
const QUEUED_EVENTS: usize = 16 * 1_024;

/// Stack of the checkpoint thread: the default of the standard library.
const STACK_BYTES: usize = 2 << 20;

/// How soon a full queue is tried again: far below the time in which the store empties it.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Name of the wait that is reported while the store is slow.
const WAIT_SUBJECT: &str = "the disk of the checkpoint";

/// Sends events to the checkpoint thread, and waits for its end.
pub(super) struct CheckpointWriter {
    sender: CheckpointSender,
    store: oneshot::Receiver<Result<CheckpointStore, checkpoint::Error>>,
}

/// Sends events to the checkpoint thread. The thread ends when all clones are dropped.
#[derive(Clone)]
pub(super) struct CheckpointSender {
    events: SyncSender<CheckpointEvent>,
    waits: PendingRequests,
}

/// The checkpoint thread has ended: [`CheckpointWriter::finish`] returns the reason.
#[derive(Debug)]
pub(super) struct Closed;

impl CheckpointWriter {
    /// Starts the checkpoint thread.
    ///
    /// # Errors
    ///
    /// Returns [`ThreadError`] if the operating system cannot create the thread.
    pub(super) fn start(
        store: CheckpointStore,
        waits: PendingRequests,
    ) -> Result<Self, ThreadError> {
        let (events, received) = mpsc::sync_channel(QUEUED_EVENTS);
        let (result, stored) = oneshot::channel();
        // Never joined, which would block the caller's thread: its result arrives through the channel.
        spawn("checkpoint", STACK_BYTES, result, |result| drop(result.send(store.run(received))))?;
        Ok(Self { sender: CheckpointSender { events, waits }, store: stored })
    }

    /// Returns a sender beside the coordinator's. It has to be dropped before [`finish`](Self::finish) can return.
    pub(super) fn sender(&self) -> CheckpointSender {
        self.sender.clone()
    }

    /// Sends an event, and waits while the queue is full.
    ///
    /// # Errors
    ///
    /// Returns [`Closed`] if the checkpoint thread has ended.
    pub(super) async fn send(&self, event: CheckpointEvent) -> Result<(), Closed> {
        self.sender.send(event).await
    }

    /// Waits until every event is stored, and returns the store, to which the end of the run is still to be written.
    ///
    /// # Errors
    ///
    /// Returns the error that ended the checkpoint thread.
    pub(super) async fn finish<E: std::error::Error + 'static>(
        self,
    ) -> Result<CheckpointStore, Error<E>> {
        let CheckpointSender { events, waits } = self.sender;
        drop(events);
        let pending = waits.begin(WAIT_SUBJECT, "");
        let store = self.store.await;
        pending.finish();
        match store {
            Ok(store) => Ok(store?),
            Err(_) => Err(Error::Panic("checkpoint")),
        }
    }
}

impl CheckpointSender {
    /// Sends an event, and waits while the queue is full.
    ///
    /// # Errors
    ///
    /// Returns [`Closed`] if the checkpoint thread has ended.
    pub(super) async fn send(&self, event: CheckpointEvent) -> Result<(), Closed> {
        let mut unsent = event;
        let mut pending = None;
        let sent = loop {
            match self.events.try_send(unsent) {
                Ok(()) => break Ok(()),
                Err(TrySendError::Disconnected(_)) => break Err(Closed),
                Err(TrySendError::Full(event)) => unsent = event,
            }
            pending.get_or_insert_with(|| self.waits.begin(WAIT_SUBJECT, ""));
            wait().await;
        };
        if let Some(pending) = pending {
            pending.finish();
        }
        sent
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for the local disk, not for a service")]
async fn wait() {
    tokio::time::sleep(RETRY_INTERVAL).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::event::ListingSummary;

    fn event(number: u64) -> CheckpointEvent {
        let listed = ListingSummary { inputs: number, ..ListingSummary::default() };
        CheckpointEvent::FolderComplete {
            prefix: String::new(),
            listing: listed,
            previously_loaded: 0,
            read_in_this_run: 0,
        }
    }

    #[tokio::test]
    async fn a_slow_store_delays_only_the_sender_and_order_is_kept() {
        let (events, received) = mpsc::sync_channel(1);
        let store = oneshot::channel().1;
        let sender = CheckpointSender { events, waits: PendingRequests::default() };
        let writer = CheckpointWriter { sender, store };
        writer.send(event(0)).await.unwrap();
        let send = async {
            writer.send(event(1)).await.unwrap();
            writer.send(event(2)).await.unwrap();
        };
        let receive = async {
            let mut numbers = Vec::new();
            while numbers.len() < 3 {
                // Other tasks run while the queue is full.
                wait().await;
                if let Ok(CheckpointEvent::FolderComplete { listing: listed, .. }) =
                    received.try_recv()
                {
                    numbers.push(listed.inputs);
                }
            }
            numbers
        };
        let ((), numbers) = tokio::join!(send, receive);
        assert_eq!(numbers, [0, 1, 2]);
    }

    #[tokio::test]
    async fn an_ended_store_is_detected() {
        let (events, received) = mpsc::sync_channel(1);
        let (result, store) = oneshot::channel();
        drop((received, result));
        let sender = CheckpointSender { events, waits: PendingRequests::default() };
        let writer = CheckpointWriter { sender, store };
        assert!(writer.send(event(0)).await.is_err());
        assert!(matches!(writer.finish::<Infallible>().await, Err(Error::Panic("checkpoint"))));
    }
}
