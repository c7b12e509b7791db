//! The state of alerts that several processes share: a DynamoDB table decides which matches are alerts, and who delivers them.
//!
//! Input: matches; deliveries of the checkpoint before and after their attempts. Output: alerts to be stored in the checkpoint with
//! their deliveries; leases.
//! Invariant: for the same matches in the same order, the alerts are those of the [memory in the checkpoint](super::alerts), whichever
//! process has which of them. At most one process at a time tries a delivery, and none after a receiver has acknowledged it.
//! Not here: what is sent, and when it is sent again (see `pipeline`).
//!
//! # Decisions
//!
//! The matches of a rule and group are judged on the `items` that they depend on. What changes is written in one transaction,
//! which the table refuses if another process has changed one of these items since: then they are read and judged again.
//!
//! # Deliveries
//!
//! ```text
//!  table       alert, leased ──────────────────────── lease renewed ──────────────────────────── delivered
//!                    │                                    ▲                                        ▲
//!  checkpoint        └─▶ alert and deliveries: pending ─▶ claim ─▶ sending ─▶ acknowledged ────────┴─▶ row deleted
//! ```
//!
//! An alert is leased in the transaction that raises it, then stored in the checkpoint with the position of the source, and from there
//! delivered. A process that reads an event whose alert is not delivered stores the alert too. It can only deliver it once the lease
//! has ended, so a process that ends between any two steps loses none: either it finds the delivery in its own checkpoint, or the
//! message of the event is read again.
//!
//! Leases are compared by the clock of AWS, which each response tells, so local clocks do not have to agree.
//!
//! # Order
//!
//! An alert of a rule with a window knows the alert of its group that was raised before. Its delivery waits for that of the other one
//! while that one is leased.
//!
//! | file | responsibility |
//! |---|---|
//! | `address` | `dynamodb://TABLE?region=REGION` |
//! | `items` | the items of the table |
//! | `view` | what a decision depends on, and what it changes |
//! | `decide` | decides about matches |
//! | `claims` | leases of deliveries |
//! | `store`, `table` | what is needed from a table; the table in DynamoDB |
//! | `check` | whether a table can be used |
//! | `retry` | waits for a table that is throttled or not available |

mod address;
mod check;
mod claims;
mod decide;
mod error;
mod items;
mod retry;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod view;

use std::{sync::Arc, time::Duration};

use self::{
    items::ItemKey,
    store::{Committed, ItemStore},
    view::{Changes, Write},
};
use super::alerts::{AlertOptions, judge::EvaluationStart, keys::first_seen_by};
use crate::{aws::Clock, filter::rule::RuleSet, shutdown::ShutdownSignal};

pub use self::{
    address::{AlertStateAddress, InvalidAddress},
    check::{TableFinding, TableProblem},
    claims::Claim,
    error::{Error, Problem},
    table::DynamoTable,
};

/// How long a delivery is reserved for a process that does not renew its lease: longer than the wait between two attempts, and
/// short enough that an alert of a process that was killed is not late.
const LEASE: Duration = Duration::from_mins(1);

/// By how much a lease has to be over before another process takes it: the clock of AWS is known to the second, and a response takes
/// time.
const MARGIN: Duration = Duration::from_secs(5);

/// How long items are kept after their last change, beside the times of their rule: as long as the event history has an event.
const RETENTION: Duration = Duration::from_hours(90 * 24);

/// The shared state of alerts of a run. Clones are the same.
#[derive(Debug)]
pub struct SharedAlerts<S = DynamoTable>(Arc<Inner<S>>);

impl<S> Clone for SharedAlerts<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Inner<S> {
    store: S,
    rules: Arc<RuleSet>,
    /// The expressions of `first_seen` of each rule, as they are part of keys.
    first_seen_by: Vec<String>,
    options: AlertOptions,
    owner: String,
    clock: Clock,
    shutdown: ShutdownSignal,
}

/// What a run shares.
#[derive(Debug)]
pub struct SharedAlertsConfig<S = DynamoTable> {
    /// The table.
    pub table: S,
    /// The rules of the run.
    pub rules: Arc<RuleSet>,
    /// How alerts are raised.
    pub options: AlertOptions,
    /// The id of the process that makes deliveries. It is that of the checkpoint, so that a process that starts again continues with
    /// its own deliveries at once.
    pub owner: String,
    /// The clock that tells which events are too old for alerts.
    pub clock: Clock,
    /// Ends the wait for a table that is not available.
    pub shutdown: ShutdownSignal,
}

impl SharedAlerts<DynamoTable> {
    /// Opens the state: records since when rules with `first_seen` are evaluated, and checks that the table can be read.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the table does not exist or cannot be used.
    pub async fn open(config: SharedAlertsConfig) -> Result<Self, Error> {
        Self::with_store(config).await
    }
}

#[expect(private_bounds, reason = "only this module has implementations")]
impl<S: ItemStore> SharedAlerts<S> {
    async fn with_store(config: SharedAlertsConfig<S>) -> Result<Self, Error> {
        let SharedAlertsConfig { table: store, rules, options, owner, clock, shutdown } = config;
        let first_seen_by = rules.rules().iter().map(first_seen_by).collect();
        let shared =
            Self(Arc::new(Inner { store, rules, first_seen_by, options, owner, clock, shutdown }));
        shared.start_learning().await?;
        Ok(shared)
    }

    /// Records where the learning periods of rules start: at the latest now.
    async fn start_learning(&self) -> Result<(), Error> {
        let Inner { rules, first_seen_by, options, .. } = &*self.0;
        let from = options.evaluated_from.map(jiff::Timestamp::as_millisecond);
        let start = EvaluationStart { from, now: self.local_now() };
        let with_first_seen: Vec<_> = rules
            .rules()
            .iter()
            .zip(first_seen_by)
            .filter(|(rule, _)| rule.grouping.first_seen.is_some())
            .map(|(rule, by)| (rule, ItemKey::rule(rule, by)))
            .collect();
        let mut keys: Vec<ItemKey> = with_first_seen.iter().map(|(_, key)| key.clone()).collect();
        if keys.is_empty() {
            // The request tells whether the table can be read.
            keys.push(ItemKey("rule/none".to_owned()));
        }
        // Another process may start at the same time: what it has stored is then as good, or moved back in the next round.
        for _ in 0..MAX_STARTS {
            let known = self.patiently(|| self.0.store.read(&keys)).await?;
            let mut is_done = true;
            for (rule, key) in &with_first_seen {
                let stored = known.get(key);
                let Some(write) = learning_write(&rule.name, key, stored, start) else { continue };
                let changes = Changes { writes: vec![write], unchanged: Vec::new() };
                let committed = self.patiently(|| self.0.store.commit(&changes, 0)).await?;
                is_done &= committed == Committed::Yes;
            }
            if is_done {
                break;
            }
        }
        Ok(())
    }

    /// Returns the local time in milliseconds of the Unix epoch.
    fn local_now(&self) -> i64 {
        self.0.clock.now().as_millisecond()
    }
}

/// Attempts to record where learning periods start. Later matches move it back, too.
const MAX_STARTS: usize = 10;

/// Returns the write that records where the learning period of a rule starts, if one is needed.
fn learning_write(
    rule: &str,
    key: &ItemKey,
    stored: Option<&items::StoredItem>,
    start: EvaluationStart,
) -> Option<Write> {
    let (version, known) = match stored {
        Some(items::StoredItem { item: items::Item::Rule(known), version }) => {
            (*version, Some(known.learning_from))
        }
        _ => (0, None),
    };
    let learning_from = start.learning_from(known);
    if known == Some(learning_from) {
        return None;
    }
    let item = items::Item::Rule(items::RuleItem { rule: rule.to_owned(), learning_from });
    let item = items::StoredItem { item, version: version + 1 };
    Some(Write { key: key.clone(), item, replaces: known.map(|_| version) })
}
