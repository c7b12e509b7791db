//! What the steps of listing share: the filter, the folders that earlier runs closed, and where objects are sent.
//!
//! The steps themselves are in `lister` and `days`.

use std::{
    ops::ControlFlow,
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use jiff::civil::Date;
use tokio::sync::mpsc::Sender;

use super::{
    ClosedFolders,
    layout::ObjectFilter,
    list_step::{ListOrder, ListTarget},
    objects::{ListedObjects, s3_uri},
};
use crate::{event::ListingSummary, source::SourceEvent};

/// Whether the list is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    /// It is not: a bucket without logs is an error.
    Once,
    /// It is: logs may be added.
    Followed,
}

/// Lists objects.
pub(super) struct ObjectLister {
    pub(super) repetition: Repetition,
    pub(super) filter: ObjectFilter,
    /// The order of days.
    pub(super) order: ListOrder,
    /// Days before this one may be closed.
    pub(super) closable_before: Date,
    /// The current date.
    pub(super) today: Date,
    /// The folders that earlier runs closed; empty if everything is reloaded.
    pub(super) closed: Mutex<ClosedFolders>,
    pub(super) listed: Sender<ListedObjects>,
    pub(super) events: Sender<(usize, SourceEvent)>,
}

impl ObjectLister {
    /// Returns `Break` if the receiver of listed objects is gone.
    pub(super) fn has_receiver(&self) -> ControlFlow<()> {
        if self.listed.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Sends listed objects. Returns `Break` if the receiver is gone.
    pub(super) async fn send_listed(
        &self,
        target: &ListTarget,
        batch: ListedObjects,
    ) -> ControlFlow<()> {
        if batch.objects.is_empty() {
            return self.has_receiver();
        }
        target.has_findings.store(true, Relaxed);
        self.listed.send(batch).await.map_or(ControlFlow::Break(()), ControlFlow::Continue)
    }

    /// Sends an event of a target. Returns `Break` if the receiver is gone.
    pub(super) async fn send_event(
        &self,
        target: &ListTarget,
        event: SourceEvent,
    ) -> ControlFlow<()> {
        let sent = self.events.send((target.source_number, event)).await;
        sent.map_or(ControlFlow::Break(()), ControlFlow::Continue)
    }

    /// Returns the listing of a folder when it was closed.
    pub(super) fn closed(&self, target: &ListTarget, folder: &str) -> Option<ListingSummary> {
        let prefix = s3_uri(&target.bucket.name, folder);
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)(&prefix)
    }
}
