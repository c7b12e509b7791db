//! A semaphore that admits one long record at a time, because each takes as much memory as many usual records.
//!
//! Invariant: the permit is released when both the record's text has been freed and its document is settled, so two
//! workers never hold long records at the same time. A shutdown ends the wait for a permit.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use crate::shutdown::ShutdownSignal;

/// How often a waiting worker checks for a shutdown.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Hands out the permit.
#[derive(Debug, Default)]
pub(super) struct LongRecordSemaphore {
    is_taken: Mutex<bool>,
    released: Condvar,
}

/// Permits reading a long record; released when every clone of the `Arc` around it is dropped.
#[derive(Debug)]
pub(super) struct LongRecordPermit(Arc<LongRecordSemaphore>);

impl LongRecordSemaphore {
    /// Waits for the permit. Returns `None` if a shutdown was requested before it was released.
    pub(super) fn acquire(
        self: &Arc<Self>,
        shutdown: &ShutdownSignal,
    ) -> Option<Arc<LongRecordPermit>> {
        let mut is_taken = self.is_taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *is_taken {
            if shutdown.is_requested() {
                return None;
            }
            let waited = self.released.wait_timeout(is_taken, POLL_INTERVAL);
            is_taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *is_taken = true;
        Some(Arc::new(LongRecordPermit(Arc::clone(self))))
    }
}

impl Drop for LongRecordPermit {
    fn drop(&mut self) {
        *self.0.is_taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.released.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::shutdown::{ShutdownLevel, shutdown_channel};

    #[test]
    fn the_permit_is_released_when_the_last_clone_is_dropped() {
        let (_trigger, shutdown) = shutdown_channel();
        let semaphore = Arc::<LongRecordSemaphore>::default();
        let first = semaphore.acquire(&shutdown).unwrap();
        let in_flight = Arc::clone(&first);
        let (acquired, result) = mpsc::channel();
        let other = Arc::clone(&semaphore);
        let waiting = thread::spawn(move || {
            acquired.send(other.acquire(&shutdown).is_some()).unwrap();
        });
        drop(first);
        assert!(result.try_recv().is_err(), "the document is still in flight");
        drop(in_flight);
        assert!(result.recv().unwrap());
        waiting.join().unwrap();
    }

    #[test]
    fn a_shutdown_ends_the_wait() {
        let (trigger, shutdown) = shutdown_channel();
        let semaphore = Arc::<LongRecordSemaphore>::default();
        let _held = semaphore.acquire(&shutdown).unwrap();
        trigger.raise(ShutdownLevel::Draining);
        assert!(semaphore.acquire(&shutdown).is_none());
    }
}
