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
//! | `site` | which request is sent next in one account and Region, and what its answer means |
//! | `pace` | when it is sent |
//! | `ask` | how it is sent, and what a page of it looks like |
//! | `estimate`, `progress` | what it will cost; how far it is |

mod error;
mod estimate;
mod progress;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::types::LookupAttributeKey;

use crate::pipeline::Stop;

pub use error::{BoxError, Error, Why};
pub use estimate::{Estimate, RegionEstimate};
pub use progress::{Figures, Progress, RegionProgress, Stage};

/// Every call that this source makes.
pub const ACTIONS: &[&str] = &["cloudtrail:LookupEvents"];

/// How far back LookupEvents goes.
pub const HISTORY: Duration = Duration::from_secs(90 * 24 * 60 * 60);

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
            settle: Duration::from_secs(15 * 60),
            overlap: Duration::from_secs(24 * 60 * 60),
            held_bytes: 48 << 20,
            dry_run: false,
            requests_per_second: 1.98,
        }
    }
}

/// Tells which seconds of a series are covered for sure: first and last ones, both included.
pub type Coverage = Box<dyn Fn(&str) -> Vec<(i64, i64)> + Send>;

/// Is told the estimate, once, from another thread.
pub type OnEstimate = Box<dyn FnOnce(&Estimate) + Send>;

/// The source.
pub struct Lookup {
    places: Vec<Place>,
    options: Options,
    coverage: Coverage,
    stop: Stop,
    progress: Arc<Progress>,
    on_estimate: Option<OnEstimate>,
}

impl Lookup {
    /// Makes the source; nothing is asked yet.
    pub fn new(places: Vec<Place>, options: Options, coverage: Coverage, stop: Stop) -> Self {
        let mut regions: Vec<RegionProgress> = Vec::new();
        for place in &places {
            let known = |r: &RegionProgress| r.account == place.account && r.region == place.region;
            if !regions.iter().any(known) {
                regions.push(RegionProgress::new(&place.account, &place.region));
            }
        }
        let progress = Arc::new(Progress { regions });
        Self { places, options, coverage, stop, progress, on_estimate: None }
    }

    /// Has the estimate told as soon as all places were sampled. Loading goes on meanwhile.
    #[must_use]
    pub fn on_estimate(mut self, tell: OnEstimate) -> Self {
        self.on_estimate = Some(tell);
        self
    }

    /// Returns the counters, to be read at any time.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}
