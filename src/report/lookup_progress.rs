//! How far each account and Region is: counters that everyone may read.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// Requests a second that AWS grants in each account and Region, and that all who use the account share.
pub const LOOKUP_QUOTA: f64 = 2.0;

/// All accounts and Regions of a run.
#[derive(Debug, Default)]
pub struct LookupProgress {
    /// One for each account and Region, in the order in which they were given.
    pub regions: Vec<RegionProgress>,
}

/// One account and Region. All categories together.
#[derive(Debug, Default)]
pub struct RegionProgress {
    /// The account's number.
    pub account: String,
    /// The Region's name.
    pub region: String,
    pub(crate) requests: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) seconds: AtomicU64,
    pub(crate) seconds_done: AtomicU64,
    pub(crate) expected_requests: AtomicU64,
    pub(crate) stage: AtomicU8,
}

/// What an account and Region is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionStage {
    /// Nothing was asked yet.
    Waiting,
    /// Events are fetched.
    Fetching,
    /// All is fetched.
    Done,
    /// Given up; why was told once.
    Failed,
}

/// What the counters of a Region say at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegionFigures {
    /// Requests sent, refused ones too.
    pub requests: u64,
    /// Requests that were refused because of the quota.
    pub throttled: u64,
    /// Events fetched.
    pub events: u64,
    /// Share of the wanted time that is fetched, 0 to 1.
    pub done: f64,
    /// Requests that all of it will cost, by the estimate; 0 until it is made.
    pub expected_requests: u64,
    /// What it is at.
    pub stage: RegionStage,
}

impl RegionProgress {
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), ..Self::default() }
    }

    /// Returns a Region whose counters say this; they say the rest by `stage`.
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

    /// Returns what the counters say now.
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

    #[expect(clippy::cast_precision_loss, reason = "a share to be drawn as a bar")]
    fn done(&self, stage: RegionStage) -> f64 {
        match (stage, self.seconds.load(Relaxed)) {
            (RegionStage::Done, _) => 1.0,
            (_, 0) => 0.0,
            (_, all) => (self.seconds_done.load(Relaxed) as f64 / all as f64).min(1.0),
        }
    }
}
