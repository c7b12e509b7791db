//! What lasts as long as the run of a command: its shutdown, and the acknowledgers of its queues.
//!
//! Input: signals. Output: the shutdown level, and the result of the run.
//! Invariant: whatever ends a run, the acknowledgers are waited for, so that settled messages are deleted and others released.

use super::{
    failure::Failure,
    signals::{self, ShutdownMessages},
    sources::queues::QueueAcknowledgers,
};
use crate::{
    report::Log,
    shutdown::{ShutdownSignal, ShutdownTrigger, shutdown_channel},
};

/// What lasts as long as a run.
#[derive(Debug)]
pub(in crate::cli) struct RunScope {
    /// What acknowledges the messages of queues.
    pub(in crate::cli) acknowledgers: QueueAcknowledgers,
    pub(in crate::cli) shutdown: ShutdownSignal,
    pub(in crate::cli) trigger: ShutdownTrigger,
}

impl RunScope {
    /// Starts to handle signals.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the handlers cannot be installed.
    pub(in crate::cli) fn start(log: &Log, messages: ShutdownMessages) -> Result<Self, Failure> {
        let (trigger, shutdown) = shutdown_channel();
        signals::listen(trigger.clone(), log.clone(), messages)?;
        Ok(Self { acknowledgers: QueueAcknowledgers::default(), shutdown, trigger })
    }

    /// Waits until every message is deleted or released that should be. Returns the result of the run.
    ///
    /// # Errors
    ///
    /// Returns the failure of the run, or a [`Failure`] if messages could not be deleted.
    pub(in crate::cli) async fn end<T>(self, result: Result<T, Failure>) -> Result<T, Failure> {
        let acknowledged = self.acknowledgers.finish().await;
        result.and_then(|value| acknowledged.map(|()| value))
    }
}
