//! What became of the deliveries of a run, by action.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::time::Instant;

use super::{Delivery, DeliveryFault};
use crate::{
    error::chain,
    report::{Log, terminal::escape_unprintable},
};

/// Dead letters of an action that are logged one by one. Further ones are only counted.
const MAX_LOGGED: u64 = 3;

/// The deliveries of one action.
#[derive(Debug)]
pub(super) struct ActionTotals {
    action: String,
    delivered: AtomicU64,
    failed: AtomicU64,
    first_cause: Mutex<Option<String>>,
    /// Until when the receiver is expected to acknowledge a delivery; `None` if there is nothing to deliver.
    busy_until: Mutex<Option<Instant>>,
    log: Log,
}

/// The deliveries of one action in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionReport {
    /// The name of the action.
    pub action: String,
    /// Deliveries that the receiver acknowledged.
    pub delivered: u64,
    /// Deliveries that became dead letters.
    pub failed: u64,
    /// Why the first of them did.
    pub first_cause: Option<String>,
}

impl ActionTotals {
    pub(super) fn new(action: &str, log: &Log) -> Self {
        Self {
            action: action.to_owned(),
            delivered: 0.into(),
            failed: 0.into(),
            first_cause: Mutex::default(),
            busy_until: Mutex::default(),
            log: log.clone(),
        }
    }

    pub(super) fn add_delivered(&self) {
        self.delivered.fetch_add(1, Relaxed);
    }

    /// Counts and logs a dead letter.
    pub(super) fn add_failed(&self, delivery: &Delivery, cause: &str) {
        let before = self.failed.fetch_add(1, Relaxed);
        self.first_cause().get_or_insert_with(|| cause.to_owned());
        let about = format!("action {}", self.action);
        if before < MAX_LOGGED {
            let rule = escape_unprintable(&delivery.alert.rule);
            self.log.warn(
                &about,
                format_args!("an alert of \"{rule}\" is kept as a dead letter: {cause}"),
            );
        } else if before == MAX_LOGGED {
            self.log.warn(&about, "further dead letters are only counted");
        }
    }

    /// Logs that no further deliveries are made, when that happens: a run may go on for days.
    pub(super) fn report_fault(&self, fault: &DeliveryFault) {
        // These are the end of the run, which reports why.
        if matches!(fault, DeliveryFault::ClosedPipe | DeliveryFault::CheckpointClosed) {
            return;
        }
        let cause = chain(fault).map(ToString::to_string).collect::<Vec<_>>().join(": ");
        let about = format!("action {}", self.action);
        self.log.warn(
            &about,
            format_args!("alerts wait for the next run: {}", escape_unprintable(&cause)),
        );
    }

    pub(super) fn set_busy_until(&self, until: Option<Instant>) {
        *self.busy_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Returns whether there is something to deliver to a receiver that acknowledges deliveries.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        let until = *self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| now < until)
    }

    pub(super) fn report(&self) -> ActionReport {
        ActionReport {
            action: self.action.clone(),
            delivered: self.delivered.load(Relaxed),
            failed: self.failed.load(Relaxed),
            first_cause: self.first_cause().clone(),
        }
    }

    fn first_cause(&self) -> MutexGuard<'_, Option<String>> {
        self.first_cause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
