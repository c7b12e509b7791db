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

mod ask;
mod chain;
mod clock;
mod error;
mod estimate;
mod plan;
mod site;
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

use super::{Found, Source};
use crate::{
    report::{LookupProgress, RegionProgress, lookup_progress::LOOKUP_QUOTA},
    shutdown::ShutdownSignal,
};
use clock::Clock;
use plan::{Range, missing};
use site::{Message, Shared, Site, seconds};

pub use error::{Cause, Error, Why};
pub use estimate::{Estimate, LONG, RegionEstimate};

/// Every call that this source makes.
pub const ACTIONS: &[&str] = &["cloudtrail:LookupEvents"];

/// Messages that wait for the lister. Few: pages wait in the pipeline's own channel.
const MESSAGES: usize = 16;

/// Least memory for pages: a page may be as large as this, by the service's limit of 256 KB an event, rarely.
const LEAST_HELD_BYTES: usize = 4 << 20;

/// Share of the quota that is used: what is left over keeps clocks that differ from meaning refusals.
const USED: f64 = 0.99;

/// How far back LookupEvents goes.
pub const HISTORY: Duration = Duration::from_hours(90 * 24);

/// The events' sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// What was done in the account.
    Management,
    /// What CloudTrail found unusual.
    Insight,
}

impl Category {
    /// Returns the word used in keys and messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Management => "management",
            Self::Insight => "insight",
        }
    }
}

/// The one thing that events can be selected by, at the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    key: LookupAttributeKey,
    value: String,
}

impl Filter {
    /// Selects events that changed nothing.
    pub fn read_only() -> Self {
        Self { key: LookupAttributeKey::ReadOnly, value: "true".to_owned() }
    }

    /// Selects events that may have changed something.
    pub fn write_only() -> Self {
        Self { key: LookupAttributeKey::ReadOnly, value: "false".to_owned() }
    }

    /// Returns whether the service can select events of that category so.
    pub fn fits(&self, category: Category) -> bool {
        use LookupAttributeKey::{EventId, EventName, EventSource};
        category == Category::Management || [EventId, EventName, EventSource].contains(&self.key)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key.as_str(), self.value)
    }
}

impl FromStr for Filter {
    type Err = String;

    /// Reads `KEY=VALUE`, where the service knows the key.
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) =
            text.split_once('=').ok_or("expected KEY=VALUE, such as Username=alice")?;
        if !LookupAttributeKey::values().contains(&key) {
            return Err(format!("the key is one of {}", LookupAttributeKey::values().join(", ")));
        }
        let widths = value.chars().map(|c| if "_ ,\n".contains(c) { 2 } else { 1 });
        match widths.sum() {
            1..=2000 => Ok(Self { key: LookupAttributeKey::from(key), value: value.to_owned() }),
            _ => Err("the value must have 1 to 2000 characters".to_owned()),
        }
    }
}

/// Some events of one account in one Region.
#[derive(Clone, Debug)]
pub struct Place {
    /// The account's number.
    pub account: String,
    /// The Region's name.
    pub region: String,
    /// Signs for that account and asks that Region.
    pub client: Client,
    /// Which sort of events.
    pub category: Category,
    /// Only those.
    pub filter: Option<Filter>,
    /// Whether it is not known that the Region is enabled for the account. If it is not, that is no failure.
    pub guessed: bool,
}

impl Place {
    /// Returns what its coverage is kept under: `lookup:ACCOUNT/REGION/CATEGORY[?KEY=VALUE]`.
    pub fn series(&self) -> String {
        let Self { account, region, category, filter, .. } = self;
        let all = format!("lookup:{account}/{region}/{}", category.word());
        match filter {
            Some(filter) => format!("{all}?{filter}"),
            None => all,
        }
    }
}

/// What is wanted of the places.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of the SOURCE word that all this belongs to.
    pub word: usize,
    /// Now, in seconds of the Unix epoch.
    pub now: i64,
    /// First second wanted; as far back as the service goes if `None`.
    pub from: Option<i64>,
    /// Last second wanted; the newest that is settled if `None`.
    pub to: Option<i64>,
    /// Events younger than this are left to the next run: the service may not know all of them.
    pub settle: Duration,
    /// What is younger than this is fetched again by the next run, for late events.
    pub overlap: Duration,
    /// Bytes of pages that may be under way or wait for a worker, over all places.
    pub held_bytes: usize,
    /// Whether to end after the estimate. Nothing is handed over then.
    pub dry_run: bool,
    /// Requests a second in each account and Region: a little less than the quota.
    pub requests_per_second: f64,
}

impl Options {
    /// Returns the usual options.
    pub fn new(now: i64) -> Self {
        Self {
            word: 0,
            now,
            from: None,
            to: None,
            settle: Duration::from_mins(15),
            overlap: Duration::from_hours(24),
            held_bytes: 48 << 20,
            dry_run: false,
            requests_per_second: LOOKUP_QUOTA * USED,
        }
    }
}

/// Tells which seconds of a series are covered for sure: first and last ones, both included.
pub type Coverage = Box<dyn Fn(&str) -> Vec<(i64, i64)> + Send>;

/// Is told the estimate, once, on the thread that lists.
pub type OnEstimate = Box<dyn FnOnce(&Estimate) + Send>;

/// The source.
pub struct Lookup {
    places: Vec<Place>,
    options: Options,
    coverage: Coverage,
    stop: ShutdownSignal,
    progress: Arc<LookupProgress>,
    on_estimate: Option<OnEstimate>,
}

impl Lookup {
    /// Makes the source; nothing is asked yet.
    pub fn new(
        places: Vec<Place>,
        options: Options,
        coverage: Coverage,
        stop: ShutdownSignal,
    ) -> Self {
        let mut regions: Vec<RegionProgress> = Vec::new();
        for place in &places {
            let known = |r: &RegionProgress| r.account == place.account && r.region == place.region;
            if !regions.iter().any(known) {
                regions.push(RegionProgress::new(&place.account, &place.region));
            }
        }
        let progress = Arc::new(LookupProgress { regions });
        Self { places, options, coverage, stop, progress, on_estimate: None }
    }

    /// Has the estimate told as soon as all places were sampled. Loading goes on meanwhile.
    #[must_use]
    pub fn on_estimate(mut self, tell: OnEstimate) -> Self {
        self.on_estimate = Some(tell);
        self
    }

    /// Returns the counters, to be read at any time.
    pub fn progress(&self) -> Arc<LookupProgress> {
        Arc::clone(&self.progress)
    }

    /// Returns the seconds wanted of every place.
    fn wanted(&self) -> Range {
        let Options { now, from, to, settle, .. } = self.options;
        let (oldest, settled) = (now - seconds(HISTORY), now - seconds(settle));
        Range { from: from.unwrap_or(oldest).max(oldest), to: to.unwrap_or(settled).min(settled) }
    }

    /// Returns what is missing of a place. What all events are there of, nothing selected is missing of.
    fn missing(&self, place: &Place) -> Vec<Range> {
        let mut covered = (self.coverage)(&place.series());
        if place.filter.is_some() {
            covered.extend((self.coverage)(&Place { filter: None, ..place.clone() }.series()));
        }
        missing(self.wanted(), &covered)
    }

    /// Returns the places of each account and Region, with what is missing of each.
    fn sites(&self) -> Vec<Vec<(Place, Vec<Range>)>> {
        let belongs = |region: &RegionProgress, place: &Place| {
            region.account == place.account && region.region == place.region
        };
        let regions = self.progress.regions.iter();
        let site = |region| {
            let places = self.places.iter().filter(|place| belongs(region, place));
            places.map(|place| (place.clone(), self.missing(place))).collect()
        };
        regions.map(site).collect()
    }
}

/// Fetches all sites at once; returns when all are done, or nobody listens any more.
async fn fetch(
    sites: Vec<Vec<(Place, Vec<Range>)>>,
    options: Options,
    stop: ShutdownSignal,
    progress: Arc<LookupProgress>,
    out: mpsc::Sender<Message>,
    clock: Clock,
) {
    let memory = Arc::new(Semaphore::new(options.held_bytes.max(LEAST_HELD_BYTES)));
    let shared = Shared { options, began: clock.now(), clock, stop, memory, progress, out };
    let mut tasks = JoinSet::new();
    for (number, works) in sites.into_iter().enumerate() {
        tasks.spawn(Site::new(number, works, shared.clone()).run());
    }
    drop(shared);
    tasks.join_all().await;
}

/// Hands on what sites tell, and keeps count of those that failed.
struct Desk {
    word: usize,
    sites: usize,
    /// Sites that have not said what they cost, or that they have failed.
    unsaid: usize,
    estimates: Vec<Option<RegionEstimate>>,
    on_estimate: Option<OnEstimate>,
    gone: usize,
    /// Sites of which nobody said that their Region is enabled.
    guessed: Vec<bool>,
    /// Those of them where it is not.
    off: u64,
    worst: Option<(Why, Cause)>,
    /// What went wrong where there is only one site.
    only: Option<Error>,
}

impl Desk {
    fn new(word: usize, guessed: Vec<bool>, on_estimate: Option<OnEstimate>) -> Self {
        let sites = guessed.len();
        let estimates = vec![None; sites];
        let (unsaid, gone, off, worst, only) = (sites, 0, 0, None, None);
        Self { word, sites, unsaid, estimates, on_estimate, gone, guessed, off, worst, only }
    }

    /// Takes in a message; returns whether to go on.
    fn take(&mut self, message: Message, found: &mut dyn FnMut(usize, Found) -> bool) -> bool {
        match message {
            Message::Found(it) => found(self.word, it),
            Message::Estimated(number, estimate) => {
                self.estimates[number] = estimate;
                self.unsaid -= 1;
                self.tell_estimate();
                true
            }
            Message::Gone(number, error) => {
                self.gone += 1;
                self.remember(&error);
                if self.guessed[number] && error.why() == Some(&Why::RegionOff) {
                    self.off += 1;
                    return true;
                }
                if self.sites == 1 {
                    self.only = Some(error);
                    return true;
                }
                // The last one is told by how the run ends.
                self.gone == self.sites || found(self.word, Found::Failed(error.into()))
            }
        }
    }

    fn tell_estimate(&mut self) {
        if self.unsaid > 0 {
            return;
        }
        if let Some(tell) = self.on_estimate.take() {
            let regions = self.estimates.iter().flatten().cloned().collect();
            tell(&Estimate { regions });
        }
    }

    /// Tells in one line of Regions that were tried although nobody said that they are enabled, and that are not.
    fn tell_off(&self, found: &mut dyn FnMut(usize, Found) -> bool) {
        if self.off > 0 && self.gone < self.sites {
            let Self { off, word, .. } = *self;
            let regions = if off == 1 { "Region that is" } else { "Regions that are" };
            let why = format!("{off} {regions} not enabled");
            found(word, Found::Skipped { name: "lookup".to_owned(), why });
        }
    }

    /// Remembers the failure that says most: Regions that are not enabled are usual.
    fn remember(&mut self, error: &Error) {
        let Error::Place { why, source, .. } = error else { return };
        if self.worst.as_ref().is_none_or(|(worst, _)| *worst == Why::RegionOff) {
            self.worst = Some((why.clone(), Arc::clone(source)));
        }
    }

    /// Returns how it ended: badly if nothing could be had anywhere.
    fn end(self) -> Result<(), super::Error> {
        let places = self.sites;
        if let Some(error) = self.only {
            return Err(error.into());
        }
        match self.worst {
            Some((why, source)) if self.gone == places => {
                Err(Error::Everywhere { places, why, source }.into())
            }
            _ => Ok(()),
        }
    }
}

impl Source for Lookup {
    fn list(&mut self, found: &mut dyn FnMut(usize, Found) -> bool) -> Result<(), super::Error> {
        let (sites, options) = (self.sites(), self.options.clone());
        let guessed = |site: &Vec<(Place, _)>| site.iter().all(|(place, _)| place.guessed);
        let guessed = sites.iter().map(guessed).collect();
        let mut desk = Desk::new(options.word, guessed, self.on_estimate.take());
        let (stop, progress) = (self.stop.clone(), Arc::clone(&self.progress));
        // `found` waits for workers, and requests must go on meanwhile: so they have a thread of their own.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Start { source })?;
        let (out, mut messages) = mpsc::channel(MESSAGES);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                runtime.block_on(fetch(sites, options, stop, progress, out, Clock::Real));
            });
            while let Some(message) = messages.blocking_recv() {
                if !desk.take(message, found) {
                    break;
                }
            }
            drop(messages);
        });
        desk.tell_off(found);
        desk.end()
    }
}
