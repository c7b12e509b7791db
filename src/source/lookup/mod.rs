//! Events of many accounts and Regions from LookupEvents, each at its full quota.
//!
//! In: [`Place`]s, the time that is wanted, and what of it is covered already. Out: what is missing, oldest first,
//! as slices that begin, come in pages, and end.
//! Holds: a slice is asked for with fixed bounds; page tokens are hints; a page says since which second its slice is
//! certain, and no event at a page's edge is lost. Throttling is never fatal. A place that fails is told once, and
//! the others go on. Bytes that wait for a worker are bounded.
//! Absent on purpose: credentials and the list of Regions (see `aws`); what is covered (see `checkpoint`).
//!
//! | file | decides |
//! |---|---|
//! | `plan` | which seconds are missing, and how they are cut into slices |
//! | `site` | which request is sent next in one account and Region, and what an answer means for it |
//! | `chain` | what is asked next of one slice, and since which second it is certain |
//! | `pace`, `clock` | when it is sent |
//! | `ask` | how it is sent, and what a page of it looks like |
//! | `estimate`, `progress` | what it will cost; how far it is |

mod clock;
mod cursor;
mod error;
mod estimate;
mod plan;
mod region;
mod request;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::types::LookupAttributeKey;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::{Source, SourceEvent};
use crate::{
    report::{LookupProgress, RegionProgress, lookup_progress::LOOKUP_QUOTA},
    shutdown::ShutdownSignal,
};
use clock::Clock;
use plan::{SecondRange, missing_ranges};
use region::{RegionFetcher, RegionMessage, Shared, seconds};

pub use error::{FailureReason, LookupError, SharedError};
pub use estimate::{Estimate, RegionEstimate, SLOW_REGION};

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
    pub source_index: usize,
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
            source_index: 0,
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

/// Receives the estimate, once.
pub type EstimateCallback = Box<dyn FnOnce(&Estimate) + Send>;

/// Loads events of accounts and Regions from LookupEvents.
pub struct LookupSource {
    targets: Vec<LookupTarget>,
    options: LookupOptions,
    coverage: CoverageFn,
    stop: ShutdownSignal,
    progress: Arc<LookupProgress>,
    on_estimate: Option<EstimateCallback>,
}

impl LookupSource {
    /// Creates the source; no request is sent yet.
    pub fn new(
        targets: Vec<LookupTarget>,
        options: LookupOptions,
        coverage: CoverageFn,
        stop: ShutdownSignal,
    ) -> Self {
        let mut regions: Vec<RegionProgress> = Vec::new();
        for target in &targets {
            let known =
                |r: &RegionProgress| r.account == target.account && r.region == target.region;
            if !regions.iter().any(known) {
                regions.push(RegionProgress::new(&target.account, &target.region));
            }
        }
        let progress = Arc::new(LookupProgress { regions });
        Self { targets, options, coverage, stop, progress, on_estimate: None }
    }

    /// Sets the callback that receives the estimate once all Regions are sampled; loading continues meanwhile.
    #[must_use]
    pub fn on_estimate(mut self, emit: EstimateCallback) -> Self {
        self.on_estimate = Some(emit);
        self
    }

    /// Returns the progress counters, which may be read at any time.
    pub fn progress(&self) -> Arc<LookupProgress> {
        Arc::clone(&self.progress)
    }

    /// Returns the range of seconds to load.
    fn wanted(&self) -> SecondRange {
        let LookupOptions { now, from, to, delay: settle, .. } = self.options;
        let (oldest, newest) = (now - seconds(EVENT_HISTORY), now - seconds(settle));
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
    fn work_by_region(&self) -> Vec<Vec<(LookupTarget, Vec<SecondRange>)>> {
        let belongs = |region: &RegionProgress, target: &LookupTarget| {
            region.account == target.account && region.region == target.region
        };
        let regions = self.progress.regions.iter();
        let site = |region| {
            let targets = self.targets.iter().filter(|target| belongs(region, target));
            targets.map(|target| (target.clone(), self.missing_ranges(target))).collect()
        };
        regions.map(site).collect()
    }
}

/// Fetches all sites at once; returns when all are done, or nobody listens any more.
async fn fetch(
    sites: Vec<Vec<(LookupTarget, Vec<SecondRange>)>>,
    options: LookupOptions,
    stop: ShutdownSignal,
    progress: Arc<LookupProgress>,
    out: mpsc::Sender<RegionMessage>,
    clock: Clock,
) {
    let memory = Arc::new(Semaphore::new(options.held_bytes.max(MIN_HELD_BYTES)));
    let shared = Shared { options, started_at: clock.now(), clock, stop, memory, progress, out };
    let mut tasks = JoinSet::new();
    for (number, categories) in sites.into_iter().enumerate() {
        tasks.spawn(RegionFetcher::new(number, categories, shared.clone()).run());
    }
    drop(shared);
    tasks.join_all().await;
}

/// Hands on what sites tell, and keeps count of those that failed.
struct Coordinator {
    word: usize,
    sites: usize,
    /// Sites that have not said what they cost, or that they have failed.
    unsaid: usize,
    estimates: Vec<Option<RegionEstimate>>,
    on_estimate: Option<EstimateCallback>,
    gone: usize,
    /// Sites of which nobody said that their Region is enabled.
    guessed: Vec<bool>,
    /// Those of them where it is not.
    off: u64,
    worst: Option<(FailureReason, SharedError)>,
    /// What went wrong where there is only one site.
    only: Option<LookupError>,
}

impl Coordinator {
    fn new(word: usize, guessed: Vec<bool>, on_estimate: Option<EstimateCallback>) -> Self {
        let sites = guessed.len();
        let estimates = vec![None; sites];
        let (unsaid, gone, off, worst, only) = (sites, 0, 0, None, None);
        Self { word, sites, unsaid, estimates, on_estimate, gone, guessed, off, worst, only }
    }

    /// Takes in a message; returns whether to go on.
    fn take(
        &mut self,
        message: RegionMessage,
        found: &mut dyn FnMut(usize, SourceEvent) -> bool,
    ) -> bool {
        match message {
            RegionMessage::Event(it) => found(self.word, it),
            RegionMessage::Estimated(number, estimate) => {
                self.estimates[number] = estimate;
                self.unsaid -= 1;
                self.tell_estimate();
                true
            }
            RegionMessage::Failed(number, error) => {
                self.gone += 1;
                self.remember(&error);
                if self.guessed[number] && error.why() == Some(&FailureReason::RegionDisabled) {
                    self.off += 1;
                    return true;
                }
                if self.sites == 1 {
                    self.only = Some(error);
                    return true;
                }
                // The last one is told by how the run ends.
                self.gone == self.sites || found(self.word, SourceEvent::Failed(error.into()))
            }
        }
    }

    fn tell_estimate(&mut self) {
        if self.unsaid > 0 {
            return;
        }
        if let Some(emit) = self.on_estimate.take() {
            let regions = self.estimates.iter().flatten().cloned().collect();
            emit(&Estimate { regions });
        }
    }

    /// Tells in one line of Regions that were tried although nobody said that they are enabled, and that are not.
    fn tell_off(&self, found: &mut dyn FnMut(usize, SourceEvent) -> bool) {
        if self.off > 0 && self.gone < self.sites {
            let Self { off, word, .. } = *self;
            let regions = if off == 1 { "Region that is" } else { "Regions that are" };
            let why = format!("{off} {regions} not enabled");
            found(word, SourceEvent::Skipped { name: "lookup".to_owned(), why });
        }
    }

    /// Remembers the failure that says most: Regions that are not enabled are usual.
    fn remember(&mut self, error: &LookupError) {
        let LookupError::Region { reason: why, source, .. } = error else { return };
        if self.worst.as_ref().is_none_or(|(worst, _)| *worst == FailureReason::RegionDisabled) {
            self.worst = Some((why.clone(), Arc::clone(source)));
        }
    }

    /// Returns how it ended: badly if nothing could be had anywhere.
    fn end(self) -> Result<(), super::Error> {
        let targets = self.sites;
        if let Some(error) = self.only {
            return Err(error.into());
        }
        match self.worst {
            Some((why, source)) if self.gone == targets => {
                Err(LookupError::AllRegions { regions: targets, reason: why, source }.into())
            }
            _ => Ok(()),
        }
    }
}

impl Source for LookupSource {
    fn list(
        &mut self,
        found: &mut dyn FnMut(usize, SourceEvent) -> bool,
    ) -> Result<(), super::Error> {
        let (sites, options) = (self.work_by_region(), self.options.clone());
        let guessed =
            |site: &Vec<(LookupTarget, _)>| site.iter().all(|(target, _)| target.may_be_disabled);
        let guessed = sites.iter().map(guessed).collect();
        let mut coordinator =
            Coordinator::new(options.source_index, guessed, self.on_estimate.take());
        let (stop, progress) = (self.stop.clone(), Arc::clone(&self.progress));
        // `found` waits for workers, and requests must go on meanwhile: so they have a thread of their own.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| LookupError::Start { source })?;
        let (out, mut messages) = mpsc::channel(MESSAGE_CAPACITY);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                runtime.block_on(fetch(sites, options, stop, progress, out, Clock::Real));
            });
            while let Some(message) = messages.blocking_recv() {
                if !coordinator.take(message, found) {
                    break;
                }
            }
            drop(messages);
        });
        coordinator.tell_off(found);
        coordinator.end()
    }
}
