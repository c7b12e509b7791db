//! What the intake and the acknowledger of a queue share.
//!
//! Invariant: the locks are held for a few instructions, never while waiting.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc::UnboundedSender, watch};

use super::{
    QueueMode, QueueOptions,
    error::QueueError,
    tracker::{EndedMessage, MessagePart, Tracker},
};
use crate::event::ResultReceiver;

/// How often a message that failed is tried again in a run that follows, each time that it returns.
const ATTEMPTS_WHILE_FOLLOWING: u32 = 5;

/// What the intake tells the acknowledger.
#[derive(Debug)]
pub(super) enum IntakeEvent {
    /// A part of a message will have a result.
    Pending(MessagePart, ResultReceiver),
    /// A message has no parts.
    Ended(EndedMessage),
}

/// What the intake and the acknowledger share.
pub(super) struct SharedState {
    tracker: Mutex<Tracker>,
    fault: watch::Sender<Option<QueueError>>,
    /// For how long messages are received, and extended.
    pub(super) visibility: Duration,
}

/// Where the intake sends its events.
pub(super) type IntakeEvents = UnboundedSender<IntakeEvent>;

impl SharedState {
    /// Creates the state.
    pub(super) fn new(visibility: Duration, options: &QueueOptions) -> Arc<Self> {
        let attempts = match options.mode {
            QueueMode::UntilEmpty => 1,
            QueueMode::Follow => ATTEMPTS_WHILE_FOLLOWING,
        };
        let tracker = Tracker::new(visibility, options.deletion, attempts);
        let (fault, _) = watch::channel(None);
        Arc::new(Self { tracker: Mutex::new(tracker), fault, visibility })
    }

    /// Locks the messages in flight.
    pub(super) fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that messages cannot be deleted, which ends the source. The first error counts.
    pub(super) fn fail(&self, error: QueueError) {
        self.fault.send_if_modified(|fault| {
            let is_first = fault.is_none();
            if is_first {
                *fault = Some(error);
            }
            is_first
        });
    }

    /// Takes the error, if there is one.
    pub(super) fn take_fault(&self) -> Option<QueueError> {
        let mut taken = None;
        self.fault.send_if_modified(|fault| {
            taken = fault.take();
            false
        });
        taken
    }

    /// Waits for an error, and takes it.
    pub(super) async fn faulted(&self) -> QueueError {
        let mut watched = self.fault.subscribe();
        loop {
            if let Some(error) = self.take_fault() {
                return error;
            }
            // The sender lives as long as this.
            let _ = watched.changed().await;
        }
    }
}
