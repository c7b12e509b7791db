//! The estimated cost of a load, computed from a few sample requests.

use std::time::Duration;

/// A Region that takes longer than this is better loaded from a trail's bucket.
pub const SLOW_REGION: Duration = Duration::from_hours(24);

/// The estimated cost of loading all missing events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// One estimate for each account and Region that could be sampled, in the given order.
    pub regions: Vec<RegionEstimate>,
}

/// The estimated cost of one account and Region, all event categories together.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionEstimate {
    /// The account ID.
    pub account: String,
    /// The Region's name.
    pub region: String,
    /// Seconds of event history to load.
    pub seconds: u64,
    /// Expected events.
    pub events: u64,
    /// Expected requests, including those of the estimate.
    pub requests: u64,
    /// Expected time at the full quota.
    pub time: Duration,
    /// Whether the numbers are exact, because the samples covered everything.
    pub exact: bool,
}

impl RegionEstimate {
    /// Returns whether the events are better loaded from a trail's bucket.
    pub fn needs_trail(&self) -> bool {
        self.time > SLOW_REGION
    }
}

impl Estimate {
    /// Returns the expected events of all Regions.
    pub fn events(&self) -> u64 {
        self.regions.iter().map(|region| region.events).sum()
    }

    /// Returns the expected requests of all Regions.
    pub fn requests(&self) -> u64 {
        self.regions.iter().map(|region| region.requests).sum()
    }

    /// Returns the expected time of the slowest Region; Regions are loaded in parallel.
    pub fn time(&self) -> Duration {
        self.regions.iter().map(|region| region.time).max().unwrap_or_default()
    }
}
