//! Progress of the event history by account and Region, grouped if there are many.
//!
//! Input: the counters of each account and Region, a few times a second. Output: a [`RegionGroupStatus`] for each bar, and
//! one for all.
//! Invariant: every Region is in exactly one group.
//! Deliberately not here: drawing (see [`progress_bars`](super::progress_bars)) and lines (see
//! [`progress_lines`](super::progress_lines)).

use std::{fmt::Write as _, time::Duration};

use super::lookup_progress::LOOKUP_QUOTA;
use super::{LookupProgress, RegionFigures, RegionProgress, RegionStage};
use super::{
    format,
    throughput::{Sample, Throughput, ThroughputMeter},
};

/// Maximum number of bars; more are grouped. An account has 17 Regions enabled by default, which fit on a terminal of 24
/// lines together with some messages.
const MAX_BARS: usize = 18;

/// Accounts and Regions that share a progress bar.
#[derive(Debug)]
pub(super) struct RegionGroup {
    /// The name shown.
    pub(super) name: String,
    /// Indices in [`LookupProgress::regions`], each with its throughput.
    regions: Vec<(usize, ThroughputMeter)>,
    /// Time since the start of the run at which they started. Earlier time is excluded from the throughput.
    since: Duration,
}

/// The progress of a group at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RegionGroupStatus {
    /// Requests sent, including throttled ones.
    pub(super) requests: u64,
    /// Estimated total number of requests, or 0 if unknown.
    pub(super) expected: u64,
    /// Events fetched.
    pub(super) events: u64,
    /// Events per second.
    pub(super) events_per_second: f64,
    /// Fraction of the quota that Regions being fetched use, or `None` if there are none.
    pub(super) quota: Option<f64>,
    /// Regions that are done or failed.
    pub(super) over: usize,
    /// Number of Regions.
    pub(super) regions: usize,
    /// Estimated remaining time of the slowest Region, or `None` if unknown.
    pub(super) left: Option<Duration>,
}

/// Returns one group per account and Region, or one per account if those are too many, or a single one if these are too
/// many as well. `since` is the current time since the start of the run.
pub(super) fn rows(progress: &LookupProgress, since: Duration) -> Vec<RegionGroup> {
    let regions = &progress.regions;
    let accounts = accounts(regions);
    if regions.len() <= MAX_BARS {
        let one = accounts.len() <= 1;
        let name = |it: &RegionProgress| {
            if one { it.region.clone() } else { format!("{} {}", it.account, it.region) }
        };
        return (0..)
            .zip(regions)
            .map(|(at, it)| RegionGroup::new(name(it), [at], since))
            .collect();
    }
    if accounts.len() > MAX_BARS {
        return vec![all(progress, since)];
    }
    let row = |account: &&str| {
        let theirs: Vec<usize> =
            (0..regions.len()).filter(|at| regions[*at].account == *account).collect();
        let count = format::plural(theirs.len() as u64, "Region");
        RegionGroup::new(format!("{account}, {count}"), theirs, since)
    };
    accounts.iter().map(row).collect()
}

/// Returns a single group with all accounts and Regions.
pub(super) fn all(progress: &LookupProgress, since: Duration) -> RegionGroup {
    let regions = progress.regions.len();
    let accounts = format::plural(accounts(&progress.regions).len() as u64, "account");
    let regions_named = format::plural(regions as u64, "Region");
    RegionGroup::new(format!("{accounts}, {regions_named}"), 0..regions, since)
}

/// Returns the distinct accounts.
fn accounts(regions: &[RegionProgress]) -> Vec<&str> {
    let mut accounts: Vec<&str> = regions.iter().map(|region| region.account.as_str()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

impl RegionGroup {
    fn new(name: String, regions: impl IntoIterator<Item = usize>, since: Duration) -> Self {
        let regions = regions.into_iter().map(|at| (at, ThroughputMeter::default())).collect();
        Self { name, regions, since }
    }

    /// Returns the progress at the time `elapsed` since the start of the run.
    pub(super) fn look(
        &mut self,
        progress: &LookupProgress,
        elapsed: Duration,
    ) -> RegionGroupStatus {
        let (mut view, mut quota, mut fetching) = (RegionGroupStatus::default(), 0.0, 0);
        let mut known = false;
        let passed = elapsed.saturating_sub(self.since);
        for (at, rate) in &mut self.regions {
            let Some(region) = progress.regions.get(*at) else { continue };
            let figures = region.figures();
            let speed = rate.sample(passed, sample(figures));
            known |= figures.expected_requests > 0 || figures.stage == RegionStage::Done;
            view.add(figures, speed);
            if figures.stage == RegionStage::Fetching {
                quota += speed.bytes / LOOKUP_QUOTA;
                fetching += 1;
            }
        }
        if !known {
            view.expected = 0;
        }
        view.quota = (fetching > 0).then(|| quota / f64::from(fetching));
        view
    }
}

/// Converts the counters to a sample, with requests in place of bytes.
fn sample(figures: RegionFigures) -> Sample {
    Sample {
        listed: true,
        records: figures.events,
        bytes_read: figures.requests - figures.throttled.min(figures.requests),
        bytes_consumed: figures.requests,
        bytes_found: figures.expected_requests,
    }
}

impl RegionGroupStatus {
    fn add(&mut self, figures: RegionFigures, speed: Throughput) {
        let over = matches!(figures.stage, RegionStage::Done | RegionStage::Failed);
        self.requests += figures.requests;
        // A Region that has ended needs no further requests, whatever was estimated.
        self.expected += if over {
            figures.requests
        } else {
            // Failed requests can exceed the estimate.
            figures.expected_requests.max(figures.requests)
        };
        self.events += figures.events;
        self.events_per_second += speed.records;
        self.over += usize::from(over);
        self.regions += 1;
        if !over {
            self.left = self.left.max(speed.left);
        }
    }

    /// Returns the text shown after the bar.
    pub(super) fn message(&self) -> String {
        let mut text = format!(
            "{} read, {}/s",
            format::plural(self.events, "event"),
            format::count(format::round(self.events_per_second)),
        );
        if self.regions > 1 {
            let _ = write!(text, ", {} of {} Regions done", self.over, self.regions);
        }
        if let Some(quota) = self.quota {
            let _ = write!(text, ", quota {}", percent(quota));
        }
        if let Some(left) = self.left {
            let _ = write!(text, ", {} left", format::duration(left));
        }
        text
    }
}

/// Formats a fraction as a percentage, limited to 100 %: in a short interval, a burst can exceed the quota.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", format::round(share.min(1.0) * 100.0))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns Regions that have completed half of 100 requests and 5,000 events.
    pub(in crate::report) fn half_way(accounts: u64, regions: usize) -> LookupProgress {
        let figures = RegionFigures {
            requests: 50,
            throttled: 0,
            events: 2_500,
            done: 0.5,
            expected_requests: 100,
            stage: RegionStage::Fetching,
        };
        let numbers = (0..accounts).flat_map(|account| (0..regions).map(move |at| (account, at)));
        let region = |(account, at): (u64, usize)| {
            let account = format!("{}", 111_122_223_333 + account);
            RegionProgress::at(&account, &format!("eu-west-{at}"), figures)
        };
        LookupProgress { regions: numbers.map(region).collect() }
    }

    fn names(accounts: u64, regions: usize) -> Vec<String> {
        rows(&half_way(accounts, regions), Duration::ZERO).into_iter().map(|row| row.name).collect()
    }

    #[test]
    fn each_region_has_a_row_until_there_are_too_many() {
        assert_eq!(names(1, 2), ["eu-west-0", "eu-west-1"]);
        assert_eq!(names(2, 1), ["111122223333 eu-west-0", "111122223334 eu-west-0"]);
        assert_eq!(names(1, 17).len(), 17);
        assert_eq!(names(2, 17), ["111122223333, 17 Regions", "111122223334, 17 Regions"]);
        assert_eq!(names(40, 17), ["40 accounts, 680 Regions"]);
        assert_eq!(names(0, 0), Vec::<String>::new());
    }

    #[test]
    fn a_row_says_how_far_how_fast_and_how_much_of_the_quota() {
        let progress = half_way(1, 20);
        let view =
            rows(&progress, Duration::from_secs(1))[0].look(&progress, Duration::from_secs(51));
        assert_eq!((view.requests, view.expected, view.events), (1_000, 2_000, 50_000));
        assert_eq!((view.over, view.regions), (0, 20));
        assert_eq!(
            view.message(),
            "50,000 events read, 1,000/s, 0 of 20 Regions done, quota 50 %, 50.0 s left"
        );
        let one = half_way(1, 1);
        let view = rows(&one, Duration::ZERO)[0].look(&one, Duration::from_secs(50));
        assert_eq!(view.message(), "2,500 events read, 50/s, quota 50 %, 50.0 s left");
    }

    #[test]
    fn what_is_over_neither_waits_nor_uses_the_quota() {
        let over = |stage| RegionFigures {
            requests: 7,
            throttled: 1,
            events: 300,
            done: 1.0,
            expected_requests: 90,
            stage,
        };
        let [done, failed] = [RegionStage::Done, RegionStage::Failed]
            .map(|stage| RegionProgress::at("111122223333", &format!("{stage:?}"), over(stage)));
        let progress = LookupProgress { regions: vec![done, failed] };
        let view = all(&progress, Duration::ZERO).look(&progress, Duration::from_secs(10));
        assert_eq!((view.requests, view.expected), (14, 14));
        assert_eq!((view.quota, view.left), (None, None));
        assert_eq!(view.message(), "600 events read, 60/s, 2 of 2 Regions done");
    }

    #[test]
    fn a_burst_never_shows_more_than_all_of_the_quota() {
        assert_eq!(percent(1.2), "100 %");
        assert_eq!(percent(0.974), "97 %");
    }
}
