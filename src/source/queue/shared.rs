//! What the intake and the acknowledger of a queue share.
//!
//! Invariant: the locks are held for a few instructions, never while waiting.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
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
pub(super) enum IntakeEvent {
    /// A receive request is to be sent. Its response goes to the intake.
    Requested(ReceiveRequest),
    /// A part of a message will have a result.
    Pending(MessagePart, ResultReceiver),
    /// A message has no parts.
    Ended(EndedMessage),
}

/// A receive request, and what becomes of messages that nobody waits for any more.
pub(super) type ReceiveRequest = Pin<Box<dyn Future<Output = Vec<EndedMessage>> + Send>>;

/// What the intake and the acknowledger share.
pub(super) struct SharedState {
    tracker: Mutex<Tracker>,
    fault: watch::Sender<Option<QueueError>>,
    /// Nothing can be deleted any more.
    is_broken: AtomicBool,
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
            QueueMode::Follow | QueueMode::FollowAmongOthers => ATTEMPTS_WHILE_FOLLOWING,
        };
        let tracker = Tracker::new(visibility, options.deletion, attempts);
        let (fault, _) = watch::channel(None);
        let is_broken = AtomicBool::new(false);
        Arc::new(Self { tracker: Mutex::new(tracker), fault, is_broken, visibility })
    }

    /// Locks the messages in flight.
    pub(super) fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that messages cannot be deleted, which ends the source. The first error counts.
    pub(super) fn fail(&self, error: QueueError) {
        if !self.is_broken.swap(true, Relaxed) {
            self.fault.send_replace(Some(error));
        }
    }

    /// Returns whether messages cannot be deleted.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Relaxed)
    }

    /// Records that messages may be deleted again, after a failure.
    pub(super) fn recover(&self) {
        self.take_fault();
        self.is_broken.store(false, Relaxed);
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
