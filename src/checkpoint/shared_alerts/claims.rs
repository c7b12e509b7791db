//! Leases of deliveries.
//!
//! Input: deliveries of the checkpoint. Output: whether one may be tried now; what the table knows of it afterwards.
//! Invariant: while a lease lasts, no other process tries the delivery; once it is marked as delivered, none does.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Error, LEASE, MARGIN, RETENTION, SharedAlerts,
    items::{AlertItem, Item, ItemKey, StoredItem},
    store::{ClaimRequest, ClaimResult, ItemStore},
};
use crate::{
    checkpoint::alerts::{
        Delivery,
        judge::{NO_TIME, milliseconds},
    },
    shutdown::ShutdownLevel,
};

/// The shortest wait before another look at a lease of another process, which usually delivers within a second.
const MIN_WAIT: Duration = Duration::from_secs(1);

/// The longest one.
const MAX_WAIT: Duration = Duration::from_secs(15);

/// What a claim on a delivery led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This process makes the delivery.
    Granted,
    /// The receiver has acknowledged it: to another process, or to an earlier run.
    Delivered,
    /// Another process makes it, or an earlier one of the same group. To be claimed again after this time.
    Held(Duration),
}

#[expect(private_bounds, reason = "only this module has implementations")]
impl<S: ItemStore> SharedAlerts<S> {
    /// Claims a delivery before an attempt. Waits while the table is not available.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the table cannot be used, or if a shutdown is requested while it is not available.
    pub async fn claim(&self, delivery: &Delivery) -> Result<Claim, Error> {
        let key = alert_key(delivery);
        let claimed = self.patiently(|| self.claim_once(&key, &delivery.action)).await?;
        let alert = match claimed {
            ClaimResult::Granted(item) => {
                let Some(after) = alert_of(item).and_then(|alert| alert.after) else {
                    return Ok(Claim::Granted);
                };
                return self.claim_after(&after, &delivery.action).await;
            }
            ClaimResult::Refused(item) => alert_of(item).unwrap_or_default(),
        };
        let claim = alert.claims.get(&delivery.action).cloned().unwrap_or_default();
        if claim.delivered.is_some() {
            return Ok(Claim::Delivered);
        }
        let left = claim.until.saturating_sub(self.0.store.now());
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)) + MARGIN;
        Ok(Claim::Held((left / 4).clamp(MIN_WAIT, MAX_WAIT)))
    }

    /// Looks whether the alert that was raised before in the same group is still to be delivered by a process that is alive.
    async fn claim_after(&self, after: &ItemKey, action: &str) -> Result<Claim, Error> {
        let keys = std::slice::from_ref(after);
        let mut items = self.patiently(|| self.0.store.read(keys)).await?;
        let earlier = alert_of(items.remove(after)).unwrap_or_default();
        let is_pending = earlier
            .claims
            .get(action)
            .is_some_and(|claim| claim.delivered.is_none() && claim.until >= self.expired_before());
        Ok(if is_pending { Claim::Held(MIN_WAIT) } else { Claim::Granted })
    }

    /// Renews the lease of a delivery while its receiver is asked. Returns only if the lease is lost: then the attempt has to end,
    /// because another process may make the delivery.
    pub async fn hold(&self, delivery: &Delivery) {
        let key = alert_key(delivery);
        let mut held_until = Instant::now() + LEASE;
        loop {
            // Nothing happens before, so this is no wait for a service.
            let _ = timeout(LEASE / 3, std::future::pending::<()>()).await;
            let asked = Instant::now();
            let renewed = timeout_at(held_until, self.renew(&key, &delivery.action)).await;
            match renewed {
                Ok(Ok(ClaimResult::Granted(_))) => held_until = asked + LEASE,
                _ => return,
            }
        }
    }

    async fn renew(&self, key: &ItemKey, action: &str) -> Result<ClaimResult, Error> {
        loop {
            match self.claim_once(key, action).await {
                Err(error) if error.is_transient() => {
                    // A shutdown does not end an attempt in progress.
                    let _ =
                        timeout(MIN_WAIT, self.0.shutdown.reached(ShutdownLevel::Immediate)).await;
                }
                result => return result,
            }
        }
    }

    /// Records that the receiver has acknowledged a delivery. Waits while the table is not available.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the table cannot be used, or some seconds after a shutdown was requested while it is not available.
    pub async fn mark_delivered(&self, delivery: &Delivery) -> Result<(), Error> {
        let key = alert_key(delivery);
        let at = self.0.store.now();
        let request = self.request(&key, &delivery.action);
        self.insistently(|| self.0.store.mark_delivered(request, at)).await
    }

    /// Ends the lease of a delivery that this process does not try again.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the table cannot be used, or some seconds after a shutdown was requested while it is not available.
    pub async fn release(&self, delivery: &Delivery) -> Result<(), Error> {
        let key = alert_key(delivery);
        let request = self.request(&key, &delivery.action);
        self.insistently(|| self.0.store.release(request)).await
    }

    async fn claim_once(&self, key: &ItemKey, action: &str) -> Result<ClaimResult, Error> {
        self.0.store.claim(self.request(key, action)).await
    }

    fn request<'a>(&'a self, key: &'a ItemKey, action: &'a str) -> ClaimRequest<'a> {
        let now = self.0.store.now();
        ClaimRequest {
            key,
            action,
            owner: &self.0.owner,
            until: now.saturating_add(milliseconds(LEASE)),
            expired_before: self.expired_before(),
            expires: now.saturating_add(milliseconds(RETENTION)) / 1_000,
        }
    }

    /// Leases that ended before this time may be taken over.
    fn expired_before(&self) -> i64 {
        self.0.store.now().saturating_sub(milliseconds(MARGIN))
    }
}

/// Returns the key of the alert of a delivery.
fn alert_key(delivery: &Delivery) -> ItemKey {
    let alert = &delivery.alert;
    let time = alert.time.map_or(NO_TIME, jiff::Timestamp::as_millisecond);
    ItemKey::alert(&alert.rule, &alert.event_id, time)
}

fn alert_of(item: Option<StoredItem>) -> Option<AlertItem> {
    match item?.item {
        Item::Alert(alert) => Some(alert),
        _ => None,
    }
}
