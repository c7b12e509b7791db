//! Loads the event history of accounts and Regions with LookupEvents, each at its full quota.
//!
//! Input: [`LookupTarget`]s, the wanted time range, and the ranges that are already covered. Output: the missing
//! ranges, oldest first, as slices that start, arrive in pages, and end.
//! Invariant: a slice is queried with fixed bounds; page tokens are only hints; each page carries the second from which
//! its slice is complete, and no event at a page boundary is lost. Throttling is never fatal. A Region that fails is
//! reported once, and the others continue. Bytes that wait for a worker are bounded.
//! Deliberately absent: credentials and the list of Regions (see `aws`); coverage (see `checkpoint`).
//!
//! | file | decides |
//! |---|---|
//! | `plan` | which seconds are missing, and how they are divided into slices |
//! | `region` | which request is sent next in one account and Region, and what its response means |
//! | `cursor` | the next query of one slice, and the second from which it is complete |
//! | `request` | how a request is sent |
//! | `retry` | how a Region continues after a failed request |
//! | [`page`] | what a worker gets of a page |
//! | `coordinator` | how the results of all Regions are combined |
//! | `estimate` | the expected cost of a load |
//! | `follow` | what is read first, and which accounts and Regions are followed |
//! | `attribute` | the attribute that a search is sent with |
//! | [`search`] | reading newest events first, without coverage, and following new ones |

mod attribute;
mod coordinator;
mod cursor;
mod error;
mod estimate;
mod follow;
pub mod page;
mod plan;
mod region;
mod request;
mod retry;
pub mod search;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::types::LookupAttributeKey;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Error, EventSender, Source, SourceRun, task_output};
use crate::report::{LookupProgress, RegionProgress, RegionStage, lookup_progress::LOOKUP_QUOTA};
use crate::shutdown::ShutdownSignal;
use coordinator::Coordinator;
use plan::{SecondRange, missing_ranges};
use region::{FetchContext, RegionFetcher, seconds};

pub use attribute::lookup_filter_for;
pub use error::{FailureReason, LookupError, SharedError};
pub use estimate::{Estimate, RegionEstimate, SLOW_REGION};
pub use follow::{CatchUp, DiscoveryRun, FollowStart, FoundTargets, LookupFollow, TargetDiscovery};
pub use search::{CoverageOptions, EpochClock, FollowOptions, LookupSearch, LookupSearchOptions};

/// The API actions that this source calls.
pub const ACTIONS: &[&str] = &["cloudtrail:LookupEvents"];

/// Messages buffered between the fetchers and the coordinator.
const MESSAGE_CAPACITY: usize = 16;

/// Minimum memory for pages: a page may be this large, though rarely, as the service limits an event to 256 KB.
const MIN_HELD_BYTES: usize = 4 << 20;

/// Share of the quota that is used; the remainder avoids throttling caused by clock drift.
const QUOTA_SHARE: f64 = 0.99;

/// How far back the CloudTrail event history goes.
pub const EVENT_HISTORY: Duration = Duration::from_hours(90 * 24);

/// The category of events, as in `EventCategory` of the LookupEvents API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Management events.
    Management,
    /// Insights events.
    Insight,
}

impl Category {
    /// Returns the category as it appears in keys and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Management => "management",
            Self::Insight => "insight",
        }
    }
}

/// The one lookup attribute that LookupEvents accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupFilter {
    key: LookupAttributeKey,
    value: String,
}

impl LookupFilter {
    /// Selects read-only events.
    pub fn read_only() -> Self {
        Self { key: LookupAttributeKey::ReadOnly, value: "true".to_owned() }
    }

    /// Selects events that are not read-only.
    pub fn write_only() -> Self {
        Self { key: LookupAttributeKey::ReadOnly, value: "false".to_owned() }
    }

    /// Returns whether LookupEvents supports this attribute for a category.
    pub fn supports(&self, category: Category) -> bool {
        use LookupAttributeKey::{EventId, EventName, EventSource};
        category == Category::Management || [EventId, EventName, EventSource].contains(&self.key)
    }
}

impl fmt::Display for LookupFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key.as_str(), self.value)
    }
}

impl FromStr for LookupFilter {
    type Err = String;

    /// Parses `KEY=VALUE`, where `KEY` is a lookup attribute of the API.
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) =
            text.split_once('=').ok_or("expected KEY=VALUE, such as Username=alice")?;
        if !LookupAttributeKey::values().contains(&key) {
            return Err(format!(
                "unknown lookup attribute; expected one of {}",
                LookupAttributeKey::values().join(", ")
            ));
        }
        let widths = value.chars().map(|c| if "_ ,\n".contains(c) { 2 } else { 1 });
        match widths.sum() {
            1..=2000 => Ok(Self { key: LookupAttributeKey::from(key), value: value.to_owned() }),
            _ => Err("the value must have 1 to 2000 characters".to_owned()),
        }
    }
}

/// The events of one category in one account and Region.
#[derive(Clone, Debug)]
pub struct LookupTarget {
    /// The account ID.
    pub account: String,
    /// The Region's name.
    pub region: String,
    /// A client with the credentials of the account and the endpoint of the Region.
    pub client: Client,
    /// The event category.
    pub category: Category,
    /// Restricts the events to one attribute value.
    pub filter: Option<LookupFilter>,
    /// Whether the Region may be disabled for the account. If it is, that is not an error.
    pub may_be_disabled: bool,
}

impl LookupTarget {
    /// Returns the key of its coverage: `lookup:ACCOUNT/REGION/CATEGORY[?KEY=VALUE]`.
    pub fn series(&self) -> String {
        let Self { account, region, category, filter, .. } = self;
        let all = format!("lookup:{account}/{region}/{}", category.as_str());
        match filter {
            Some(filter) => format!("{all}?{filter}"),
            None => all,
        }
    }
}

/// Options of the source.
#[derive(Clone, Debug)]
pub struct LookupOptions {
    /// Index of the SOURCE argument.
    pub source_number: usize,
    /// The current time, in seconds of the Unix epoch.
    pub now: i64,
    /// First second to load; the start of the event history if `None`.
    pub from: Option<i64>,
    /// Last second to load; the newest second older than `delay` if `None`.
    pub to: Option<i64>,
    /// Events younger than this are left to the next run, because LookupEvents may not return all of them yet.
    pub delay: Duration,
    /// Events younger than this are fetched again by the next run, because late events may be added.
    pub overlap: Duration,
    /// Maximum bytes of pages in flight or waiting for a worker, over all Regions.
    pub held_bytes: usize,
    /// Whether to end after the estimate, without emitting slices.
    pub dry_run: bool,
    /// Requests per second in each account and Region: slightly less than the quota.
    pub requests_per_second: f64,
}

impl LookupOptions {
    /// Returns the default options.
    pub fn new(now: i64) -> Self {
        Self {
            source_number: 0,
            now,
            from: None,
            to: None,
            delay: Duration::from_mins(15),
            overlap: Duration::from_hours(24),
            held_bytes: 48 << 20,
            dry_run: false,
            requests_per_second: LOOKUP_QUOTA * QUOTA_SHARE,
        }
    }
}

/// Returns the covered ranges of a series, as first and last seconds, both included.
pub type CoverageFn = Box<dyn Fn(&str) -> Vec<(i64, i64)> + Send>;

/// How reading a Region ended: whether it can be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RegionEnd {
    /// Everything was read that could be.
    Read,
    /// The Region was given up.
    Failed,
}

/// Receive how Regions ended, in the order of their progress.
type RegionEndSenders = Vec<oneshot::Sender<RegionEnd>>;

/// Receives the estimate, once.
pub type EstimateCallback = Box<dyn FnOnce(&Estimate) + Send>;

/// Loads events of accounts and Regions from LookupEvents.
pub struct LookupSource {
    targets: Vec<LookupTarget>,
    options: LookupOptions,
    coverage: CoverageFn,
    progress: Arc<LookupProgress>,
    on_estimate: Option<EstimateCallback>,
    /// Empty if nobody waits for the ends of Regions.
    region_ends: RegionEndSenders,
}

impl LookupSource {
    /// Creates the source; no request is sent yet.
    pub fn new(targets: Vec<LookupTarget>, options: LookupOptions, coverage: CoverageFn) -> Self {
        let progress = progress_of(&targets);
        let region_ends = Vec::new();
        Self { targets, options, coverage, progress, on_estimate: None, region_ends }
    }

    /// Sets the callback that receives the estimate once all Regions are sampled; loading continues meanwhile.
    #[must_use]
    pub fn on_estimate(mut self, callback: EstimateCallback) -> Self {
        self.on_estimate = Some(callback);
        self
    }

    /// Returns the progress counters, which may be read at any time.
    pub fn progress(&self) -> Arc<LookupProgress> {
        Arc::clone(&self.progress)
    }

    /// Returns the range of seconds to load.
    fn wanted(&self) -> SecondRange {
        let LookupOptions { now, from, to, delay, .. } = self.options;
        let (oldest, newest) = (now - seconds(EVENT_HISTORY), now - seconds(delay));
        SecondRange {
            from: from.unwrap_or(oldest).max(oldest),
            to: to.unwrap_or(newest).min(newest),
        }
    }

    /// Returns the missing ranges of a target. Coverage without a filter also covers every filter.
    fn missing_ranges(&self, target: &LookupTarget) -> Vec<SecondRange> {
        let mut covered = (self.coverage)(&target.series());
        if target.filter.is_some() {
            covered
                .extend((self.coverage)(&LookupTarget { filter: None, ..target.clone() }.series()));
        }
        missing_ranges(self.wanted(), &covered)
    }

    /// Returns the targets of each account and Region, with the missing ranges of each.
    fn work_by_region(&self) -> Vec<RegionWork> {
        let belongs = |region: &RegionProgress, target: &LookupTarget| {
            region.account == target.account && region.region == target.region
        };
        let regions = self.progress.regions.iter();
        let work = |region| {
            let targets = self.targets.iter().filter(|target| belongs(region, target));
            targets.map(|target| (target.clone(), self.missing_ranges(target))).collect()
        };
        regions.map(work).collect()
    }

    async fn load(mut self, out: EventSender, shutdown: ShutdownSignal) -> Result<(), Error> {
        let on_estimate = self.on_estimate.take();
        // Reads the checkpoint, which blocks.
        let planning = tokio::task::spawn_blocking(move || (self.work_by_region(), self)).await;
        let Some((work, source)) = task_output(planning) else { return Ok(()) };
        let may_be_disabled =
            work.iter().map(|work| work.iter().all(|(target, _)| target.may_be_disabled));
        let source_number = source.options.source_number;
        let mut coordinator =
            Coordinator::new(out, source_number, may_be_disabled.collect(), on_estimate);

        let (sender, mut messages) = mpsc::channel(MESSAGE_CAPACITY);
        let LookupSource { options, progress, region_ends, .. } = source;
        let memory = Arc::new(Semaphore::new(options.held_bytes.max(MIN_HELD_BYTES)));
        let started_at = Instant::now();
        let context = FetchContext { options, started_at, shutdown, memory, progress, out: sender };
        let mut tasks = JoinSet::new();
        let mut region_ends = region_ends.into_iter();
        for (number, work) in work.into_iter().enumerate() {
            let (context, end) = (context.clone(), region_ends.next());
            tasks.spawn(async move {
                let progress = Arc::clone(&context.progress);
                RegionFetcher::new(number, work, context).run().await;
                let is_failed = progress.regions[number].figures().stage == RegionStage::Failed;
                let how = if is_failed { RegionEnd::Failed } else { RegionEnd::Read };
                // A receiver that is gone no longer waits.
                end.map(|end| end.send(how))
            });
        }
        drop(context);
        while let Some(message) = messages.recv().await {
            if coordinator.on_message(message).await.is_err() {
                // Dropping the tasks cancels the requests in flight.
                return Ok(());
            }
        }
        while let Some(ended) = tasks.join_next().await {
            task_output(ended);
        }
        coordinator.finish().await
    }
}

/// Returns progress counters for the accounts and Regions of targets, in the order of the targets.
fn progress_of(targets: &[LookupTarget]) -> Arc<LookupProgress> {
    let mut regions: Vec<RegionProgress> = Vec::new();
    for target in targets {
        let known = |r: &RegionProgress| r.account == target.account && r.region == target.region;
        if !regions.iter().any(known) {
            regions.push(RegionProgress::new(&target.account, &target.region));
        }
    }
    Arc::new(LookupProgress { regions })
}

/// The targets of one account and Region, with the missing ranges of each.
type RegionWork = Vec<(LookupTarget, Vec<SecondRange>)>;

impl Source for LookupSource {
    fn run(self: Box<Self>, out: EventSender, shutdown: ShutdownSignal) -> SourceRun {
        Box::pin(self.load(out, shutdown))
    }
}
