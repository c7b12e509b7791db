//! The shutdown signal: run, drain, or stop immediately.
//!
//! `cli` raises the level when the process is signalled; everything that waits watches it. The level never goes back.

use tokio::sync::watch;

/// How urgently the run has to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShutdownLevel {
    /// No shutdown was requested.
    #[default]
    Running,
    /// Accept no new work, finish what is in flight, save the checkpoint, end.
    Draining,
    /// Wait for nothing. Loses no event: the next run repeats what was not acknowledged.
    Immediate,
}

/// The receiving end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ShutdownSignal(watch::Receiver<ShutdownLevel>);

/// The sending end.
#[derive(Clone, Debug)]
pub struct ShutdownTrigger(watch::Sender<ShutdownLevel>);

/// Creates a shutdown signal and the trigger that raises it.
pub fn shutdown_channel() -> (ShutdownTrigger, ShutdownSignal) {
    let (trigger, signal) = watch::channel(ShutdownLevel::Running);
    (ShutdownTrigger(trigger), ShutdownSignal(signal))
}

impl ShutdownTrigger {
    /// Raises the level; a lower level than the current one changes nothing.
    pub fn raise(&self, to: ShutdownLevel) {
        self.0.send_if_modified(|current| {
            let is_higher = to > *current;
            if is_higher {
                *current = to;
            }
            is_higher
        });
    }
}

impl ShutdownSignal {
    /// Returns the current level.
    pub fn level(&self) -> ShutdownLevel {
        *self.0.borrow()
    }

    /// Returns whether a shutdown was requested, at any level.
    pub fn is_requested(&self) -> bool {
        self.level() >= ShutdownLevel::Draining
    }

    /// Waits until the level is at least `level`. Never returns if the trigger is dropped before.
    pub async fn reached(&self, level: ShutdownLevel) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|current| *current >= level).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
