//! Loads trail logs from S3 buckets: lists objects, drops those already loaded, fetches the rest.
//!
//! ```text
//!  ObjectLister ──ListedObjects──▶ DoneFilter ──FetchJob──▶ Fetcher ──SourceEvent──▶ pipeline
//!  (tasks)                         (blocking task)          (tasks)
//! ```
//!
//! Input: addresses, and what earlier runs finished. Output: one [`SourceEvent`] for each object.
//! Invariant: all channels are bounded: a slow engine blocks the fetcher through the memory budget of its bodies, and
//! the fetcher blocks the lister. A partition is one object, identified by its key and `ETag`; no last key is stored,
//! because keys of late files sort anywhere. An error in one object, folder or bucket never stops the others.
//! Deliberately absent: decompression and JSON (see `decode`), and credentials (see `aws`).
//!
//! | file | decides |
//! |---|---|
//! | [`address`] | how `s3://bucket/prefix` and ARNs are parsed |
//! | `layout` | which account, kind, Region and day a key belongs to |
//! | `lister`, `skipped` | which folders are listed, and how skipped ones are reported |
//! | `days`, `objects` | which days are complete, and whether a closed day has changed |
//! | `listing` | how a listing continues |
//! | `done_filter` | which objects are already loaded |
//! | `fetcher` | how a body is fetched completely |
//! | `follow` | which days are listed again for new objects |
//! | `reference`, `notified` | objects that notifications name: what their keys show, and reading them |
//! | `bucket` | the Region of a bucket, retries, and concurrency |
//! | `error` | what a failed request means |

pub mod address;
mod bucket;
mod days;
mod done_filter;
mod error;
mod fetcher;
mod follow;
mod layout;
mod list_step;
mod lister;
mod listing;
pub(in crate::source) mod notified;
mod object_lister;
mod objects;
mod reference;
mod skipped;

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, Mutex},
};

use jiff::{Timestamp, ToSpan, civil::Date};
use tokio::{
    sync::mpsc::{self, Receiver},
    task::JoinSet,
};

pub use self::{
    address::{Address, AddressError, bucket_arn, objects_arn},
    error::{ErrorScope, MissingPermission, S3Error},
    follow::{AccountDiscovery, AccountDiscoveryRun, Clock, S3Follow, S3FollowOptions},
    layout::{LOGS_FOLDER, LogKind, UnknownKind},
    notified::{BodyFeed, InputMemory, NotifiedObject, NotifiedObjects},
    reference::{KeyContent, ObjectReference},
};
use self::{
    bucket::{BucketClient, ClientCache},
    done_filter::{DoneCheck, DoneFilter},
    fetcher::Fetcher,
    layout::ObjectFilter,
    list_step::{ListOrder, ListTarget},
    object_lister::{ObjectLister, Repetition},
};
use super::{
    Error, EventSender, Source, SourceEvent, SourceRun, files::FinishedLookup, task_output,
};
use crate::{aws::AwsPartition, event::ListingSummary, shutdown::ShutdownSignal};

/// Listings buffered for the filter: each has up to a thousand objects of about 300 bytes.
const LISTED_CAPACITY: usize = 4;

/// Jobs buffered for the fetcher.
const JOB_CAPACITY: usize = 64;

/// Events buffered for the caller; the memory budget limits their bodies.
const EVENT_CAPACITY: usize = 256;

/// Upper bound of `late_days`, so that dates do not overflow.
const MAX_LATE_DAYS: u32 = 1_000_000;

/// The actions that this source calls, as in policies: listings and `HeadBucket` need the first, objects the second,
/// and encrypted objects the third.
pub const ACTIONS: [&str; 3] = ["s3:ListBucket", "s3:GetObject", "kms:Decrypt"];

/// Returns the listing of a prefix when an earlier run closed it.
pub type ClosedFolders = Box<dyn FnMut(&str) -> Option<ListingSummary> + Send>;

/// Creates a client for a Region.
pub type ClientFor = Box<dyn Fn(&str) -> aws_sdk_s3::Client + Send + Sync>;

/// Options of the source.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// The Region that receives the first request to a bucket: the caller's own.
    pub region: String,
    /// Accounts to load; all if empty.
    pub accounts: Vec<String>,
    /// Regions to load; all if empty.
    pub regions: Vec<String>,
    /// Kinds of logs to load; all if empty.
    pub kinds: Vec<LogKind>,
    /// Start of the time range to load, included.
    pub from: Option<Timestamp>,
    /// End of the time range to load, excluded.
    pub to: Option<Timestamp>,
    /// Maximum delay of a delivery in days: older days may be closed, and this many days after the end of the time
    /// range are listed.
    pub late_days: u32,
    /// Whether requests are sent as requester-pays.
    pub requester_pays: bool,
    /// Maximum bytes of bodies in flight or not yet dropped by a worker.
    pub memory_bytes: u64,
    /// Whether objects are loaded again that earlier runs finished.
    pub reload: bool,
}

/// Loads trail logs from the buckets given on the command line.
pub struct S3Source {
    targets: Vec<(usize, Address)>,
    options: S3Options,
    order: ListOrder,
    repetition: Repetition,
    client: ClientFor,
    done: DoneCheck,
    closed: ClosedFolders,
    now: Timestamp,
}

impl S3Source {
    /// Creates the source from addresses, each with the index of its SOURCE argument; no request is sent yet.
    ///
    /// `done` and `closed` look up what earlier runs finished; `now` determines which days may be closed.
    pub fn new(
        targets: Vec<(usize, Address)>,
        options: S3Options,
        client: ClientFor,
        mut done: FinishedLookup,
        closed: ClosedFolders,
        now: Timestamp,
    ) -> Self {
        let reload = options.reload;
        let done: DoneCheck = Box::new(move |partition| {
            done(&partition.key).filter(|done| !reload && done.fingerprint == partition.fingerprint)
        });
        let (order, repetition) = (ListOrder::OldestFirst, Repetition::Once);
        Self { targets, options, order, repetition, client, done, closed, now }
    }

    /// Lists and fetches the newest days first, over all accounts and Regions. Costs a few requests more for each
    /// Region and month. Within a day, files are read in the order of their names.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.order = ListOrder::NewestFirst;
        self
    }

    /// Returns a source that reads the same and then, until a shutdown, the objects that are added. The end of the time
    /// range is ignored.
    #[must_use]
    pub fn follow(self, options: S3FollowOptions, clock: Clock) -> S3Follow {
        S3Follow::new(self, options, clock)
    }
}

impl Source for S3Source {
    fn run(self: Box<Self>, out: EventSender, _shutdown: ShutdownSignal) -> SourceRun {
        Box::pin(self.load(out))
    }
}

impl S3Source {
    /// Runs all stages. Dropping the future cancels the requests in flight.
    async fn load(mut self, out: EventSender) -> Result<(), Error> {
        let (listed, to_filter) = mpsc::channel(LISTED_CAPACITY);
        let (jobs, to_fetch) = mpsc::channel(JOB_CAPACITY);
        let (events, found) = mpsc::channel(EVENT_CAPACITY);

        let mut tasks = JoinSet::new();
        let done = mem::replace(&mut self.done, Box::new(|_| None));
        let filter = DoneFilter { done, jobs, events: events.clone() };
        tasks.spawn_blocking(move || filter.run(to_filter));
        let fetcher = Fetcher::new(self.options.memory_bytes, self.order, events.clone());
        tasks.spawn(fetcher.run(to_fetch));
        let lister = Arc::new(self.lister(listed, events));
        tasks.spawn(lister.run(self.targets()));

        let result = forward(found, &out).await;
        if !out.is_closed() {
            while let Some(ended) = tasks.join_next().await {
                task_output(ended);
            }
        }
        result
    }

    fn lister(
        &mut self,
        listed: mpsc::Sender<objects::ListedObjects>,
        events: mpsc::Sender<(usize, SourceEvent)>,
    ) -> ObjectLister {
        let nothing: ClosedFolders = Box::new(|_| None);
        let closed = mem::replace(&mut self.closed, Box::new(|_| None));
        let closed = Mutex::new(if self.options.reload { nothing } else { closed });
        let today = layout::utc_date(self.now);
        let closable_before = today.saturating_sub(self.late_days().days());
        let (filter, order) = (self.filter(), self.order);
        let repetition = self.repetition;
        ObjectLister { repetition, filter, order, closable_before, today, closed, listed, events }
    }

    fn late_days(&self) -> i64 {
        i64::from(self.options.late_days.min(MAX_LATE_DAYS))
    }

    fn filter(&self) -> ObjectFilter {
        let S3Options { accounts, regions, kinds, from, to, .. } = &self.options;
        ObjectFilter {
            accounts: accounts.clone(),
            regions: regions.clone(),
            kinds: kinds.clone(),
            first: from.map(layout::utc_date),
            last: to.map(|to| last_day(to, self.late_days())),
        }
    }

    /// Returns the targets without duplicates; targets in the same bucket share its client.
    fn targets(&mut self) -> Vec<Arc<ListTarget>> {
        let S3Options { region, requester_pays, .. } = &self.options;
        let make = mem::replace(&mut self.client, Box::new(|_| unreachable!("listed once")));
        let clients = Arc::new(ClientCache::new(make));
        let mut buckets = HashMap::new();
        let mut targets: Vec<Arc<ListTarget>> = Vec::new();
        let addresses = without_duplicates(mem::take(&mut self.targets));
        for (source_number, address) in addresses.clone() {
            let bucket = buckets.entry(address.bucket.clone()).or_insert_with(|| {
                let (name, clients) = (address.bucket.clone(), Arc::clone(&clients));
                let region = first_region(&address, region);
                Arc::new(BucketClient::new(name, clients, region, *requester_pays))
            });
            let nested_prefixes = within(&address, &addresses);
            targets.push(ListTarget::new(
                source_number,
                address,
                Arc::clone(bucket),
                nested_prefixes,
            ));
        }
        targets
    }
}

/// Forwards events until there are no more, or the receiver is gone.
///
/// Errors are held back until something else is found; if nothing is, the last error becomes that of the whole source.
async fn forward(
    mut found: Receiver<(usize, SourceEvent)>,
    out: &EventSender,
) -> Result<(), Error> {
    let mut errors = Vec::new();
    let mut has_findings = false;
    while let Some((source_number, event)) = found.recv().await {
        match event {
            SourceEvent::Failed(error) if !has_findings => {
                errors.push((source_number, error));
                continue;
            }
            SourceEvent::Input(_) | SourceEvent::AlreadyDone { .. } => has_findings = true,
            _ => {}
        }
        let due = if has_findings { mem::take(&mut errors) } else { Vec::new() };
        let due = due.into_iter().map(|(index, error)| (index, SourceEvent::Failed(error)));
        for (source_number, event) in due.chain([(source_number, event)]) {
            if out.send(source_number, event).await.is_err() {
                return Ok(());
            }
        }
    }
    let last = errors.pop();
    for (source_number, error) in errors {
        if out.send(source_number, SourceEvent::Failed(error)).await.is_err() {
            return Ok(());
        }
    }
    last.map_or(Ok(()), |(_, error)| Err(error))
}

/// Returns the Region that receives the first request: the caller's own, unless the bucket is in another partition.
fn first_region<'a>(address: &Address, own: &'a str) -> &'a str {
    let elsewhere = |partition: &AwsPartition| AwsPartition::from_region(own) != Some(*partition);
    match address.partition.filter(elsewhere) {
        Some(partition) => partition.global_region(),
        None => own,
    }
}

/// Returns the last day on which events before `to` may be delivered.
fn last_day(to: Timestamp, late_days: i64) -> Date {
    let last = to.checked_sub(1.nanosecond()).unwrap_or(to);
    // Events of the last second of a day are delivered on the next day.
    layout::utc_date(last).saturating_add(late_days.max(1).days())
}

/// Removes duplicate addresses.
fn without_duplicates(addresses: Vec<(usize, Address)>) -> Vec<(usize, Address)> {
    let mut has_findings = HashSet::new();
    let mut is_new = |address: &Address| {
        has_findings
            .insert((address.bucket.clone(), address.prefix.trim_end_matches('/').to_owned()))
    };
    addresses.into_iter().filter(|(_, address)| is_new(address)).collect()
}

/// Returns the prefixes of other addresses within this one. Each object is listed for the most specific address.
fn within(outer: &Address, addresses: &[(usize, Address)]) -> Vec<String> {
    let inner = addresses.iter().map(|(_, address)| address).filter(|inner| {
        let is_same = inner.prefix.trim_end_matches('/') == outer.prefix.trim_end_matches('/');
        inner.bucket == outer.bucket
            && !is_same
            && (outer.prefix.is_empty() || layout::is_within(&inner.prefix, &outer.prefix))
    });
    inner.map(|inner| inner.prefix.clone()).collect()
}
