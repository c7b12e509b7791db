//! Makes reading wait while receivers work off many alerts.
//!
//! Input: the number of deliveries that are not made, and how the queues get on. Output: a wait before further matches are recorded.
//! Invariant: reading waits only while a receiver acknowledges deliveries: one that acknowledges nothing for as long as a delivery is
//! tried is not waited for. A shutdown ends the wait at once.
//! Not here: the number at which a run ends (see `checkpoint`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::totals::ActionTotals;
use crate::{
    checkpoint::alerts::UndeliveredCount,
    report::Log,
    shutdown::{ShutdownLevel, ShutdownSignal},
};

/// Deliveries that are not made, above which reading waits: half of those with which a run ends. Below, a slow receiver delays no
/// other.
pub(super) const MAX_READ_AHEAD: u64 = 500_000;

/// How often the number is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The deliveries that are not made.
pub(in crate::pipeline) struct Backlog {
    undelivered: UndeliveredCount,
    totals: Vec<Arc<ActionTotals>>,
    shutdown: ShutdownSignal,
    log: Log,
    is_reported: AtomicBool,
}

impl Backlog {
    pub(super) fn new(
        undelivered: UndeliveredCount,
        totals: Vec<Arc<ActionTotals>>,
        shutdown: ShutdownSignal,
        log: Log,
    ) -> Self {
        Self { undelivered, totals, shutdown, log, is_reported: false.into() }
    }

    /// Waits while there are too many deliveries and receivers acknowledge some.
    pub(in crate::pipeline) async fn wait(&self) {
        while self.is_worked_off() && !self.shutdown.is_requested() {
            if !self.is_reported.swap(true, Relaxed) {
                let undelivered = self.undelivered.get();
                self.log.info(
                    "alerts",
                    format_args!(
                        "reading waits for receivers: {undelivered} alerts are not delivered"
                    ),
                );
            }
            // In either case, the number is looked at again.
            let _ = timeout(POLL_INTERVAL, self.shutdown.reached(ShutdownLevel::Draining)).await;
        }
    }

    fn is_worked_off(&self) -> bool {
        let now = Instant::now();
        self.undelivered.get() > MAX_READ_AHEAD
            && self.totals.iter().any(|totals| totals.is_busy(now))
    }
}
