//! What the shared state needs from a table.
//!
//! A trait, so that decisions and deliveries can be tested against a table in memory, whose faults and orders a test controls.

use std::collections::HashMap;

use super::{
    error::Error,
    items::{ItemKey, StoredItem},
    view::Changes,
};

/// How a conditional change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    /// It is stored.
    Yes,
    /// Nothing is stored: another process has changed one of the items, or is changing it.
    Conflict,
}

/// A claim on a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClaimRequest<'a> {
    /// The alert.
    pub(super) key: &'a ItemKey,
    /// The name of the action.
    pub(super) action: &'a str,
    /// Who makes the delivery.
    pub(super) owner: &'a str,
    /// The end of the lease, in milliseconds of the Unix epoch.
    pub(super) until: i64,
    /// Leases that ended before may be taken over.
    pub(super) expired_before: i64,
    /// When an item that does not exist yet expires, in seconds of the Unix epoch.
    pub(super) expires: i64,
}

/// How a claim ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClaimResult {
    /// The lease is that of the owner. The item is as it is stored now.
    Granted(Option<StoredItem>),
    /// The receiver has acknowledged the alert, or another process has the lease. The item is as it is stored.
    Refused(Option<StoredItem>),
}

/// A table with conditional writes. Every error is one that another attempt may not meet again, or final (see
/// [`Error::is_transient`]).
pub(super) trait ItemStore: Send + Sync + 'static {
    /// Returns the name of the table, for messages.
    fn table(&self) -> &str;

    /// Returns the current time in milliseconds of the Unix epoch, by a clock that all processes share.
    fn now(&self) -> i64;

    /// Returns the items with these keys that exist, as all earlier writes have left them.
    fn read(
        &self,
        keys: &[ItemKey],
    ) -> impl Future<Output = Result<HashMap<ItemKey, StoredItem>, Error>> + Send;

    /// Writes all changes or none. Items expire at a time in seconds of the Unix epoch.
    fn commit(
        &self,
        changes: &Changes,
        expires: i64,
    ) -> impl Future<Output = Result<Committed, Error>> + Send;

    /// Gives a lease to an owner, unless the delivery is made or another owner has a lease.
    fn claim(
        &self,
        request: ClaimRequest<'_>,
    ) -> impl Future<Output = Result<ClaimResult, Error>> + Send;

    /// Records that a delivery was made.
    fn mark_delivered(
        &self,
        request: ClaimRequest<'_>,
        at: i64,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Ends the lease of an owner.
    fn release(&self, request: ClaimRequest<'_>) -> impl Future<Output = Result<(), Error>> + Send;
}
