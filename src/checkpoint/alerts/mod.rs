//! The memory of alerts: decides which matches of rules are alerts, and keeps their deliveries until they are made.
//!
//! Input: matches, in receipts; outcomes of deliveries. Output: rows in the checkpoint file, in the transaction that advances the
//! partitions of the receipt; pending deliveries and dead letters.
//! Invariant: a committed alert is delivered, or is a dead letter, or is accepted by the user; a crash at any moment loses none. No
//! event raises two alerts of a rule, however often and in whatever order it is read.
//! Not here: evaluating rules (see [`filter::rule`](crate::filter::rule)), and sending alerts (see `pipeline` and `sink`).
//!
//! # Which matches are alerts
//!
//! A match passes these steps in turn. For matches in the order of time, the result is that of
//! [`AlertGate`](crate::filter::rule::AlertGate); LookupEvents returns the newest events first, and files are read in any order, so
//! each step looks at both sides of an event.
//!
//! 1. **Duplicate**: an event for which the rule has raised an alert is ignored. An event is identified by its id and its time, which
//!    CloudTrail never changes.
//! 2. **`first_seen`**: a combination is new if no event with it is known less than `within` before or after. In the learning period
//!    of a rule, combinations are only remembered. It starts with the earliest event that is known to be evaluated, whether the rule
//!    fired on it or not, and at the latest with the first run of the rule. Where events are read newest first, `--from` tells where
//!    it starts; otherwise the start moves back while they are read, and what was learned until then raises no alert.
//! 3. **`threshold`** (N): an event *qualifies* if there are N events of its group whose first and last are less than `window`
//!    apart, and it is among them.
//! 4. **`window`**: an alert covers the events of its group that are less than `window` before or after it. An event that qualifies
//!    raises an alert unless it is covered. If it is covered, and another event qualifies through it that is not covered, the alert is
//!    raised on behalf of that event: it covers the time around it.
//!
//! Whatever the order of events, two alerts of a group are therefore at least `window` apart, and every event that qualifies is
//! covered. Which of the events of a window raises the alert depends on the order.
//!
//! An alert for an event that is older than the limit of [`AlertOptions`] is *recorded*: it has no deliveries. It covers other old
//! events, but none that is to be delivered, and a replay without the limit raises it again, then to be delivered.
//!
//! # Deliveries
//!
//! ```text
//!            ┌────────────── failed, to be tried again ◀─────────────┐
//!            ▼                                                       │
//!  alert ─▶ pending ──────────── started ─────────────────────────▶ sending ── delivered ─▶ row deleted, counted
//!            ▲                                                       │
//!            └──────────── retry ──────── dead letter ◀── failed ────┘
//! ```
//!
//! A delivery that is still `sending` when a file is opened was interrupted: whether its receiver has the alert is unknown. It is
//! made again; [`Alert::id`] allows receivers to drop the repetition.
//!
//! # Bounds
//!
//! Events are stored, compressed, only with alerts that are not delivered; a run ends if there are a million of them. Everything else
//! is rows of fixed size, whose numbers are limited (see `bounds`). Beyond a limit, the tenth with the oldest event times is deleted:
//! windows that have long expired go first.
//!
//! # When rules change
//!
//! Rules are identified by their names. A rule with a new name starts without memory; that of a removed rule stays until it is among
//! the oldest. Pending alerts of a removed or changed rule are delivered as they were raised. A change of the window restarts the
//! count of events, and one of `first_seen.by` restarts the learning period.

mod bounds;
mod combinations;
mod content;
pub(super) mod counted_events;
mod deliveries;
pub(super) mod judge;
pub(super) mod keys;
#[cfg(test)]
mod kill_tests;
mod memory;
#[cfg(test)]
pub(super) mod tests;
mod undelivered;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;

use super::{Error, file, lock::Lock};
use crate::event::Alert;

pub(super) use self::undelivered::undelivered_events;
pub(super) use self::{
    deliveries::DeliveryRows,
    memory::{AlertMemory, alert_actions},
};
pub use self::{memory::raised_alert, undelivered::UndeliveredEvent};

/// How alerts are raised in a run.
#[derive(Clone, Debug, Default)]
pub struct AlertOptions {
    /// Alerts for older events are recorded, not delivered. `None` delivers all.
    pub max_age: Option<Duration>,
    /// The start of the time range that the run evaluates, if it has one. The learning period of new rules starts there, whatever the
    /// order of events.
    pub evaluated_from: Option<Timestamp>,
    /// The actions of rules that have none.
    pub default_actions: Vec<String>,
}

/// What became of the matches of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AlertTotals {
    /// All matches.
    pub matches: u64,
    /// Alerts that were raised to be delivered.
    pub alerts: u64,
    /// Alerts for events that were too old to be delivered.
    pub recorded: u64,
    /// Matches for which an alert was raised before.
    pub duplicates: u64,
    /// Matches that are not alerts: below the threshold, in the window of an alert, or with a known combination.
    pub suppressed: u64,
    /// Combinations that were remembered in a learning period.
    pub learned: u64,
    /// Deliveries of the alerts.
    pub deliveries: u64,
}

impl AlertTotals {
    /// Adds what became of the matches of another run.
    pub fn add(&mut self, other: Self) {
        let Self { matches, alerts, recorded, duplicates, suppressed, learned, deliveries } = other;
        self.matches += matches;
        self.alerts += alerts;
        self.recorded += recorded;
        self.duplicates += duplicates;
        self.suppressed += suppressed;
        self.learned += learned;
        self.deliveries += deliveries;
    }
}

/// The number of deliveries that are not made, in all runs: pending ones, and dead letters that the user has not accepted. Clones
/// are the same number.
#[derive(Clone, Debug, Default)]
pub struct UndeliveredCount(Arc<AtomicU64>);

impl UndeliveredCount {
    /// Creates a count.
    pub fn new(deliveries: u64) -> Self {
        Self(Arc::new(deliveries.into()))
    }

    /// Returns the number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Adds deliveries that are to be made.
    pub fn add(&self, deliveries: u64) {
        self.0.fetch_add(deliveries, Relaxed);
    }

    /// Removes deliveries that were made.
    pub fn remove(&self, deliveries: u64) {
        let subtract = |count: u64| Some(count.saturating_sub(deliveries));
        // The closure always returns a value.
        let _ = self.0.fetch_update(Relaxed, Relaxed, subtract);
    }
}

/// What became of the matches of a run, as far as it is committed. Clones are the same totals, so they are known after the store has
/// failed.
#[derive(Clone, Debug, Default)]
pub struct CommittedTotals(Arc<Mutex<AlertTotals>>);

impl CommittedTotals {
    /// Returns the totals.
    pub fn get(&self) -> AlertTotals {
        *self.lock()
    }

    /// Sets the totals after a commit.
    pub(in crate::checkpoint) fn set(&self, totals: AlertTotals) {
        *self.lock() = totals;
    }

    fn lock(&self) -> MutexGuard<'_, AlertTotals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A delivery that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Its number. Deliveries of a group are made in the order of their numbers.
    pub number: i64,
    /// The alert.
    pub alert: Alert,
    /// The name of the action.
    pub action: String,
    /// Attempts so far, since the alert was raised or last retried by the user.
    pub attempts: u32,
    /// When the first of them was made.
    pub first_attempt: Option<Timestamp>,
    /// What is known of an earlier attempt.
    pub state: DeliveryState,
}

/// What is known of a delivery that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// No attempt has reached the receiver, as far as is known.
    Pending,
    /// An attempt was started, and its outcome was not recorded: the receiver may have the alert.
    Sending,
    /// The receiver has acknowledged it, which the state that several processes share does not know yet.
    Acknowledged,
}

/// The outcome of an attempt to make a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver acknowledged it.
    Delivered {
        /// The number of the delivery.
        number: i64,
    },
    /// The receiver acknowledged it, which the state that several processes share does not know yet. The delivery stays pending
    /// until that is told.
    Acknowledged {
        /// The number of the delivery.
        number: i64,
    },
    /// The receiver had acknowledged it to another process.
    DeliveredElsewhere {
        /// The number of the delivery.
        number: i64,
    },
    /// The attempt failed, and there will be another.
    Postponed {
        /// The number of the delivery.
        number: i64,
        /// The cause, shown to the user.
        cause: String,
    },
    /// The attempt failed, and there will be no other: the delivery is a dead letter.
    Failed {
        /// The number of the delivery.
        number: i64,
        /// The cause, shown to the user.
        cause: String,
    },
}

/// A change of deliveries that is committed at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryUpdate {
    /// Attempts are about to be started.
    Started {
        /// The numbers of the deliveries.
        numbers: Vec<i64>,
    },
    /// An attempt has ended.
    Ended(DeliveryOutcome),
    /// Nothing changes: everything that was sent before is committed.
    Flush,
}

/// An alert that was not delivered by an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UndeliveredAlert {
    /// The number of the delivery.
    pub number: i64,
    /// The id of the alert.
    pub alert: String,
    /// The rule.
    pub rule: String,
    /// The action.
    pub action: String,
    /// Attempts so far.
    pub attempts: u64,
    /// The first attempt, in milliseconds of the Unix epoch.
    pub first_attempt: Option<i64>,
    /// The last attempt, in milliseconds of the Unix epoch.
    pub last_attempt: Option<i64>,
    /// The cause of the last failure.
    pub cause: String,
    /// Whether the user has accepted it.
    pub is_accepted: bool,
}

/// The deliveries of an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ActionStatus {
    /// The name of the action.
    pub action: String,
    /// Alerts that were delivered.
    pub delivered: u64,
    /// Time of the last delivery, in milliseconds of the Unix epoch.
    pub last_delivered: Option<i64>,
    /// Alerts that are to be delivered.
    pub pending: u64,
    /// Alerts that could not be delivered, without accepted ones.
    pub dead_letters: u64,
    /// Alerts that could not be delivered, which the user accepted.
    pub accepted: u64,
    /// The cause of the last failure of a pending alert or dead letter.
    pub cause: Option<String>,
}

/// What a rule has raised in all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuleStatus {
    /// The name of the rule.
    pub rule: String,
    /// Alerts that were raised to be delivered.
    pub alerts: u64,
    /// Alerts for events that were too old to be delivered.
    pub recorded: u64,
    /// Time at which the last alert was raised, in milliseconds of the Unix epoch.
    pub last_alert: Option<i64>,
}

/// Accepts all alerts that could not be delivered, so that they no longer affect the exit code. Returns the number of newly accepted
/// ones.
///
/// # Errors
///
/// Returns [`Error`] if the file does not exist, is in use by a run, or cannot be written.
pub fn accept_undelivered_alerts(path: &Path, now: Timestamp) -> Result<u64, Error> {
    change(path, now, "accept the alerts", |connection| {
        DeliveryRows::new(connection).accept(now.as_millisecond())
    })
}

/// Makes pending deliveries of all alerts that could not be delivered, except those that the user accepted. Returns their number.
///
/// # Errors
///
/// Returns [`Error`] if the file does not exist, is in use by a run, or cannot be written.
pub fn retry_undelivered_alerts(path: &Path, now: Timestamp) -> Result<u64, Error> {
    change(path, now, "retry the alerts", |connection| DeliveryRows::new(connection).retry())
}

/// Changes an existing file while no run uses it.
fn change(
    path: &Path,
    now: Timestamp,
    operation: &'static str,
    change: impl FnOnce(&Connection) -> rusqlite::Result<u64>,
) -> Result<u64, Error> {
    if !path.exists() {
        return Err(Error::NotFound { path: path.to_owned() });
    }
    let path = file::create(path)?;
    let _lock = Lock::acquire(&path, now)?;
    let connection = file::connect(&path)?;
    change(&connection).map_err(|source| Error::from_sqlite(&path, operation, source))
}
