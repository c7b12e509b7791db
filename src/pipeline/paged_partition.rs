//! The state of a partition that arrives in pages.
//!
//! Invariant: a partition counts as read only when all of its pages are read.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use crate::{
    event::Position,
    normalize::TimeRange,
    report::{Log, Metrics},
    source::{LookupPage, Slice},
};

/// A partition that arrives in pages.
pub(super) struct PagedPartition {
    /// The name shown to the user.
    pub(super) name: String,
    /// Whether the partition lies within the requested time range. If so, records outside the range belong to other
    /// partitions, and leaving them out does not make this one incomplete.
    pub(super) is_in_range: bool,
    source_number: usize,
    /// Pages that were queued and are not read yet, plus one until the last page was queued.
    unread_pages: AtomicU32,
    has_failed: AtomicBool,
}

/// A page for a worker to read.
pub(super) struct PageJob {
    pub(super) content: LookupPage,
    pub(super) position: Option<Position>,
    pub(super) partition: Arc<PagedPartition>,
}

impl PagedPartition {
    pub(super) fn new(source_number: usize, slice: &Slice, range: TimeRange) -> Self {
        Self {
            name: slice.name.clone(),
            is_in_range: range.covers(slice.from, slice.to),
            source_number,
            unread_pages: AtomicU32::new(1),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Counts a page that is queued for the workers.
    pub(super) fn on_page_queued(&self) {
        self.unread_pages.fetch_add(1, Relaxed);
    }

    /// Counts a page that was read.
    pub(super) fn on_page_read(&self, metrics: &Metrics) {
        if self.unread_pages.fetch_sub(1, Relaxed) == 1 {
            metrics.add_done(self.source_number);
        }
    }

    /// Records that every page was queued.
    pub(super) fn on_last_page_queued(&self, metrics: &Metrics) {
        self.on_page_read(metrics);
    }

    /// Reports a page that could not be read completely. The partition fails once, however many of its pages fail.
    pub(super) fn on_page_failed(&self, metrics: &Metrics, log: &Log, page: u32, cause: &str) {
        log.warn(&self.name, format_args!("page {page}: {cause}; the next run fetches it again"));
        if !self.has_failed.swap(true, Relaxed) {
            metrics.add_failed(self.source_number, &self.name, &format!("page {page}: {cause}"));
        }
    }
}
