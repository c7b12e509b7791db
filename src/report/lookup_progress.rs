//! Progress of loading the event history, by account and Region: counters shared between the source and the reporter.
//!
//! Input: requests, events and covered seconds, counted by the source. Output: [`RegionFigures`].
//! Invariant: counters are read and written without locks, so a reader may see one of them slightly ahead of another.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// LookupEvents requests per second that AWS allows in each account and Region, shared by all callers (AWS documentation
/// of the LookupEvents API).
pub const LOOKUP_QUOTA: f64 = 2.0;

/// Progress of all accounts and Regions of a run.
#[derive(Debug, Default)]
pub struct LookupProgress {
    /// One entry per account and Region, in the order in which they were given.
    pub regions: Vec<RegionProgress>,
}

/// Progress of one account and Region, over all event categories.
#[derive(Debug, Default)]
pub struct RegionProgress {
    /// The account id.
    pub account: String,
    /// The name of the Region.
    pub region: String,
    pub(crate) requests: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) seconds: AtomicU64,
    pub(crate) seconds_done: AtomicU64,
    pub(crate) expected_requests: AtomicU64,
    pub(crate) stage: AtomicU8,
}

/// The stage that an account and Region has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionStage {
    /// No request has been sent yet.
    Waiting,
    /// Events are being fetched.
    Fetching,
    /// All events are fetched.
    Done,
    /// Fetching failed. The cause has been logged.
    Failed,
}

/// A snapshot of the counters of a Region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegionFigures {
    /// Requests sent, including throttled ones.
    pub requests: u64,
    /// Requests that were throttled.
    pub throttled: u64,
    /// Events fetched.
    pub events: u64,
    /// Fraction of the requested time range that is fetched, from 0 to 1.
    pub done: f64,
    /// Estimated total number of requests, or 0 before the estimate.
    pub expected_requests: u64,
    /// The current stage.
    pub stage: RegionStage,
}

impl RegionProgress {
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), ..Self::default() }
    }

    /// Returns progress with these figures (for tests).
    #[cfg(test)]
    pub(crate) fn at(account: &str, region: &str, figures: RegionFigures) -> Self {
        let it = Self::new(account, region);
        it.requests.store(figures.requests, Relaxed);
        it.throttled.store(figures.throttled, Relaxed);
        it.events.store(figures.events, Relaxed);
        it.expected_requests.store(figures.expected_requests, Relaxed);
        it.enter(figures.stage);
        it
    }

    pub(crate) fn enter(&self, stage: RegionStage) {
        self.stage.store(stage as u8, Relaxed);
    }

    /// Returns a snapshot of the counters.
    pub fn figures(&self) -> RegionFigures {
        let stage = match self.stage.load(Relaxed) {
            0 => RegionStage::Waiting,
            1 => RegionStage::Fetching,
            2 => RegionStage::Done,
            _ => RegionStage::Failed,
        };
        RegionFigures {
            requests: self.requests.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            events: self.events.load(Relaxed),
            done: self.done(stage),
            expected_requests: self.expected_requests.load(Relaxed),
            stage,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a fraction drawn as a bar")]
    fn done(&self, stage: RegionStage) -> f64 {
        match (stage, self.seconds.load(Relaxed)) {
            (RegionStage::Done, _) => 1.0,
            (_, 0) => 0.0,
            (_, all) => (self.seconds_done.load(Relaxed) as f64 / all as f64).min(1.0),
        }
    }
}
