//! How far the event history is: accounts and Regions, folded together when there are many.
//!
//! In: the counters of each account and Region, a few times a second. Out: a [`View`] for each bar, and one of all.
//! Absent on purpose: drawing (see [`bar`](super::bar)) and lines (see [`lines`](super::lines)).

use std::{fmt::Write as _, time::Duration};

use super::lookup_progress::LOOKUP_QUOTA;
use super::{LookupProgress, RegionFigures, RegionProgress, RegionStage};
use super::{
    figures,
    rate::{Rate, Sample, Speed},
};

/// More bars than this are folded: an account has 17 Regions from the start, and they fit on a terminal of 24 lines
/// with some lines above.
const BARS_AT_MOST: usize = 18;

/// Some accounts and Regions that are shown as one.
#[derive(Debug)]
pub struct Row {
    /// What they are called.
    pub name: String,
    /// Their numbers in the [`Progress`], each with how fast it goes.
    regions: Vec<(usize, Rate)>,
    /// How long after the start of the run they began; what came before says nothing about their speed.
    since: Duration,
}

/// What a row says at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct View {
    /// Requests that were answered, and refused ones.
    pub requests: u64,
    /// Requests that all of it will cost; 0 while nobody knows.
    pub expected: u64,
    /// Events fetched.
    pub events: u64,
    /// Events a second.
    pub events_a_second: f64,
    /// Share of the quota that is used, of the Regions that are not done; `None` if all are.
    pub quota: Option<f64>,
    /// Regions that are done, or given up.
    pub over: usize,
    /// All of them.
    pub regions: usize,
    /// Time until the last of them is done; `None` while that cannot be said.
    pub left: Option<Duration>,
}

/// Returns one row an account and Region; one an account if those are too many; a single one if these are, too.
/// They begin `since` after the start of the run.
pub fn rows(progress: &LookupProgress, since: Duration) -> Vec<Row> {
    let regions = &progress.regions;
    let accounts = accounts(regions);
    if regions.len() <= BARS_AT_MOST {
        let one = accounts.len() <= 1;
        let name = |it: &RegionProgress| {
            if one { it.region.clone() } else { format!("{} {}", it.account, it.region) }
        };
        return (0..).zip(regions).map(|(at, it)| Row::new(name(it), [at], since)).collect();
    }
    if accounts.len() > BARS_AT_MOST {
        return vec![all(progress, since)];
    }
    let row = |account: &&str| {
        let theirs: Vec<usize> =
            (0..regions.len()).filter(|at| regions[*at].account == *account).collect();
        let count = figures::counted(theirs.len() as u64, "Region");
        Row::new(format!("{account}, {count}"), theirs, since)
    };
    accounts.iter().map(row).collect()
}

/// Returns one row of everything.
pub fn all(progress: &LookupProgress, since: Duration) -> Row {
    let regions = progress.regions.len();
    let accounts = figures::counted(accounts(&progress.regions).len() as u64, "account");
    let regions_named = figures::counted(regions as u64, "Region");
    Row::new(format!("{accounts}, {regions_named}"), 0..regions, since)
}

/// Returns each account once.
fn accounts(regions: &[RegionProgress]) -> Vec<&str> {
    let mut accounts: Vec<&str> = regions.iter().map(|region| region.account.as_str()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

impl Row {
    fn new(name: String, regions: impl IntoIterator<Item = usize>, since: Duration) -> Self {
        let regions = regions.into_iter().map(|at| (at, Rate::default())).collect();
        Self { name, regions, since }
    }

    /// Looks at the counters as they are `elapsed` after the start of the run.
    pub fn look(&mut self, progress: &LookupProgress, elapsed: Duration) -> View {
        let (mut view, mut quota, mut fetching) = (View::default(), 0.0, 0);
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

/// Returns the counters as a sample: requests take the place of bytes.
fn sample(figures: RegionFigures) -> Sample {
    Sample {
        listed: true,
        records: figures.events,
        bytes_read: figures.requests - figures.throttled.min(figures.requests),
        bytes_consumed: figures.requests,
        bytes_found: figures.expected_requests,
    }
}

impl View {
    fn add(&mut self, figures: RegionFigures, speed: Speed) {
        let over = matches!(figures.stage, RegionStage::Done | RegionStage::Failed);
        self.requests += figures.requests;
        // What is over costs no more, whatever was expected.
        self.expected += if over {
            figures.requests
        } else {
            // Requests that failed are more than were expected.
            figures.expected_requests.max(figures.requests)
        };
        self.events += figures.events;
        self.events_a_second += speed.records;
        self.over += usize::from(over);
        self.regions += 1;
        if !over {
            self.left = self.left.max(speed.left);
        }
    }

    /// Returns what stands behind a bar.
    pub fn message(&self) -> String {
        let mut text = format!(
            "{} read, {}/s",
            figures::counted(self.events, "event"),
            figures::count(figures::whole(self.events_a_second)),
        );
        if self.regions > 1 {
            let _ = write!(text, ", {} of {} Regions done", self.over, self.regions);
        }
        if let Some(quota) = self.quota {
            let _ = write!(text, ", quota {}", percent(quota));
        }
        if let Some(left) = self.left {
            let _ = write!(text, ", {} left", figures::duration(left));
        }
        text
    }
}

/// Returns a share as a person reads it. Requests come in steps, so a moment may show more than all.
pub fn percent(share: f64) -> String {
    format!("{} %", figures::whole(share.min(1.0) * 100.0))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns so many Regions of each account, half way through 100 requests and 5,000 events.
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
