//! Waits for a table that is throttled or not available.
//!
//! Input: an operation. Output: its result, after as many attempts as it takes.
//! Invariant: a run waits for its table as it waits for its engine: until it is back, or until a shutdown. What cannot be helped by
//! waiting ends the wait at once.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Error, SharedAlerts, store::ItemStore};
use crate::{aws::ErrorKind, limit::Backoff, shutdown::ShutdownLevel};

/// Waits while the table is not available. The client has tried three times before each.
const OUTAGE: Backoff =
    Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(30) };

/// Waits while other processes change the same items: about the time that a transaction takes.
pub(super) const CONFLICT: Backoff =
    Backoff { initial: Duration::from_millis(20), max: Duration::from_secs(1) };

/// How long what a receiver has acknowledged is tried to be recorded after a shutdown was requested: less than the time after which
/// a shutdown abandons what is in flight.
const GRACE: Duration = Duration::from_secs(3);

impl Error {
    /// Returns whether another attempt may succeed.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Request { source, .. }
                if matches!(source.kind, ErrorKind::Throttled | ErrorKind::Transient)
        )
    }
}

#[expect(private_bounds, reason = "only this module has implementations")]
impl<S: ItemStore> SharedAlerts<S> {
    /// Repeats an operation until it succeeds or fails finally, or a shutdown is requested.
    pub(super) async fn patiently<T, F>(&self, operation: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (mut attempt, mut cause) = (0, None);
        loop {
            let Some(result) = self.unless_immediate(operation()).await else {
                return Err(self.interrupted(cause));
            };
            match result {
                Err(error) if error.is_transient() => {
                    attempt += 1;
                    if self.pause(OUTAGE.delay(attempt)).await.is_err() {
                        return Err(self.interrupted(Some(error)));
                    }
                    cause = Some(error);
                }
                result => return result,
            }
        }
    }

    /// Waits for an attempt, in which the client may repeat a request for many seconds. Returns `None` if it is to be abandoned.
    async fn unless_immediate<T>(&self, attempt: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            result = attempt => Some(result),
            () = self.0.shutdown.reached(ShutdownLevel::Immediate) => None,
        }
    }

    /// Repeats an operation that must not be lost: for a short time after a shutdown was requested, too.
    pub(super) async fn insistently<T, F>(&self, operation: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (mut attempt, mut requested) = (0, None);
        loop {
            let cause = match self.unless_immediate(operation()).await {
                None => return Err(self.interrupted(None)),
                Some(Err(error)) if error.is_transient() => error,
                Some(result) => return result,
            };
            attempt += 1;
            let shutdown = &self.0.shutdown;
            if !shutdown.is_requested() {
                // A request ends the wait, but not the attempts.
                let _ = self.pause(OUTAGE.delay(attempt)).await;
                continue;
            }
            let requested = *requested.get_or_insert_with(Instant::now);
            let wait = OUTAGE.delay(attempt).min(GRACE / 10);
            let is_immediate = timeout(wait, shutdown.reached(ShutdownLevel::Immediate)).await;
            if is_immediate.is_ok() || requested.elapsed() > GRACE {
                return Err(self.interrupted(Some(cause)));
            }
        }
    }

    /// Waits for a time.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Interrupted`] if a shutdown is requested.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), Error> {
        match timeout(time, self.0.shutdown.reached(ShutdownLevel::Draining)).await {
            Ok(()) => Err(self.interrupted(None)),
            Err(_) => Ok(()),
        }
    }

    fn interrupted(&self, cause: Option<Error>) -> Error {
        let table = self.0.store.table().to_owned();
        Error::Interrupted { table, source: cause.map(Box::new) }
    }
}
