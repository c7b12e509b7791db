//! The bounded queue of jobs from the lister, a task, to the workers, which are threads.
//!
//! Invariant: at most the given number of jobs wait. The lister waits for free slots without blocking its thread; a
//! worker frees the slot of a job when it takes it.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::job::Job;

/// A job in the queue, and its slot.
type QueuedJob = (Job, OwnedSemaphorePermit);

/// Creates a queue with so many slots.
pub(super) fn job_queue(slots: usize) -> (JobSender, JobReceiver) {
    let (sender, receiver) = crossbeam_channel::unbounded();
    (JobSender { sender, slots: Arc::new(Semaphore::new(slots)) }, JobReceiver(receiver))
}

/// The lister's end.
pub(super) struct JobSender {
    sender: Sender<QueuedJob>,
    slots: Arc<Semaphore>,
}

/// Slots for the next jobs.
#[derive(Default)]
pub(super) struct JobSlots(Option<OwnedSemaphorePermit>);

impl JobSender {
    /// Waits until `jobs` slots are free, no more than the queue has. Waiting for several at once wakes the lister once.
    pub(super) async fn reserve(&self, jobs: usize) -> JobSlots {
        let Ok(jobs @ 1..) = u32::try_from(jobs) else { return JobSlots(None) };
        // The semaphore is never closed.
        JobSlots(Arc::clone(&self.slots).acquire_many_owned(jobs).await.ok())
    }

    /// Queues a job in one of the reserved slots. Returns `Break` if there is no worker any more.
    pub(super) fn send(&self, job: Job, slots: &mut JobSlots) -> ControlFlow<()> {
        let Some(slot) = slots.0.as_mut().and_then(|slots| slots.split(1)) else {
            return ControlFlow::Break(());
        };
        match self.sender.send((job, slot)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// A worker's end.
#[derive(Clone)]
pub(super) struct JobReceiver(Receiver<QueuedJob>);

impl JobReceiver {
    /// Returns whether no job waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next job, and frees its slot.
    ///
    /// # Errors
    ///
    /// Returns an error if there is none within `timeout`, or if there will be none.
    pub(super) fn recv_timeout(&self, timeout: Duration) -> Result<Job, RecvTimeoutError> {
        self.0.recv_timeout(timeout).map(|(job, _slot)| job)
    }
}
