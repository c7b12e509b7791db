//! What a load will cost, told before it is under way.

use std::time::Duration;

/// A Region that takes longer than this is better loaded from a trail's bucket.
pub const LONG: Duration = Duration::from_hours(24);

/// What all that is missing will cost, by a few samples of each Region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// One for each account and Region that could be asked, in the order in which they were given.
    pub regions: Vec<RegionEstimate>,
}

/// What is missing of one account and Region will cost. All categories together.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionEstimate {
    /// The account's number.
    pub account: String,
    /// The Region's name.
    pub region: String,
    /// Seconds that are missing.
    pub seconds: u64,
    /// Events in them.
    pub events: u64,
    /// Requests they cost, those of the estimate included.
    pub requests: u64,
    /// How long that takes at full quota.
    pub time: Duration,
    /// Whether that is counted and not estimated.
    pub exact: bool,
}

impl RegionEstimate {
    /// Returns whether the events should rather be read from a trail's bucket.
    pub fn needs_trail(&self) -> bool {
        self.time > LONG
    }
}

impl Estimate {
    /// Returns the events of all Regions.
    pub fn events(&self) -> u64 {
        self.regions.iter().map(|region| region.events).sum()
    }

    /// Returns the requests of all Regions.
    pub fn requests(&self) -> u64 {
        self.regions.iter().map(|region| region.requests).sum()
    }

    /// Returns how long all of it takes: Regions are loaded at the same time, so as long as the slowest.
    pub fn time(&self) -> Duration {
        self.regions.iter().map(|region| region.time).max().unwrap_or_default()
    }
}
