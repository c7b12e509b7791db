//! Trail logs in buckets: finds them, skips those that are done, fetches the rest.
//!
//! ```text
//!  explorer ──Shelf──▶ sieve ──Job──▶ fetcher ──Found──▶ the caller's thread
//!  (tasks)             (thread)       (tasks)
//! ```
//!
//! In: addresses, and what earlier runs finished. Out: one [`Found`] for each object.
//! Holds: one way, and bounded: a slow engine holds the fetcher up by the memory that its bodies take, and the
//! fetcher the explorer. A lane is one object: its key, and its `ETag`; there is no "last key", because late files sort
//! anywhere. What fails for one object, folder or bucket never stops the others.
//! Absent on purpose: gzip and JSON (see `decode`), and credentials (see `aws`).
//!
//! | file | decides |
//! |---|---|
//! | [`address`] | what `s3://bucket/prefix` says |
//! | `layout` | what the parts of a key say: account, kind, Region, day |
//! | `explore`, `left` | which folders are listed, and what is said of those that are not |
//! | `days`, `shelf` | which days are over, and whether one that was closed is still the same |
//! | `listing` | where a listing goes on |
//! | `sieve` | what is done |
//! | `fetch` | how a body gets here whole |
//! | `bucket` | which Region answers, how often is asked again, how many at once |
//! | `refusal` | what an answer means |

pub mod address;
mod bucket;
mod days;
mod lister;
mod fetcher;
mod layout;
mod skipped;
mod listing;
mod error;
mod objects;
mod done_filter;

use std::{
    collections::{HashMap, HashSet},
    io, mem, panic,
    sync::{Arc, Mutex},
    thread,
};

use jiff::{Timestamp, ToSpan, civil::Date};
use tokio::{
    runtime,
    sync::mpsc::{self, Receiver},
    task::{JoinError, JoinSet},
};

pub use self::{
    address::{Address, AddressError, bucket_arn, objects_arn},
    layout::{LOGS_FOLDER, LogKind, UnknownKind},
    error::{MissingPermission, ErrorScope, S3Error},
};
use self::{
    bucket::{BucketClient, ClientCache},
    lister::{ObjectLister, ListTarget},
    fetcher::Fetcher,
    layout::ObjectFilter,
    done_filter::DoneFilter,
};
use super::{Error, SourceEvent, Source, files::FinishedLookup};
use crate::{aws::AwsPartition, event::ListingSummary};

/// Threads for requests: signing and TLS of thousands of small objects a second want more than one.
const THREADS: usize = 2;

/// Shelves that wait for the sieve: each up to a thousand objects, some 300 bytes each.
const LISTED_CAPACITY: usize = 4;

/// Jobs that wait for the fetcher.
const JOB_CAPACITY: usize = 64;

/// What waits for the caller; bodies are bounded by their memory.
const EVENT_CAPACITY: usize = 256;

/// More days than this are all there are; spans of time have an end.
const MAX_LATE_DAYS: u32 = 1_000_000;

/// What is asked of AWS, as policies name it: lists and the question for a bucket's Region take the first, objects
/// the second, and encrypted ones the third.
pub const ACTIONS: [&str; 3] = ["s3:ListBucket", "s3:GetObject", "kms:Decrypt"];

/// Looks up what the listing of a prefix looked like when an earlier run closed it: all that it had was done.
pub type ClosedFolders = Box<dyn FnMut(&str) -> Option<ListingSummary> + Send>;

/// Makes a client for a Region.
pub type ClientFor = Box<dyn Fn(&str) -> aws_sdk_s3::Client + Send + Sync>;

/// What is asked of the buckets.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// The Region that is asked first, whatever the bucket: the caller's own.
    pub region: String,
    /// Accounts to list; all if empty.
    pub accounts: Vec<String>,
    /// Regions to list; all if empty.
    pub regions: Vec<String>,
    /// Kinds of logs to list; all if empty.
    pub kinds: Vec<LogKind>,
    /// First moment of the events that are wanted.
    pub from: Option<Timestamp>,
    /// First moment that is no longer wanted.
    pub to: Option<Timestamp>,
    /// Events are delivered up to so many days late: older days may be closed, and so many are listed behind the last
    /// one that is wanted.
    pub late_days: u32,
    /// Whether the caller pays for what the bucket's owner usually pays.
    pub requester_pays: bool,
    /// Bytes of bodies that may be held, and that workers have not dropped.
    pub memory_bytes: u64,
    /// Whether everything is fetched, done or not.
    pub reload: bool,
}

/// The buckets named on the command line.
pub struct S3Source {
    targets: Vec<(usize, Address)>,
    options: S3Options,
    client: ClientFor,
    done: FinishedLookup,
    closed: ClosedFolders,
    now: Timestamp,
}

impl S3Source {
    /// Takes the addresses, each with the number of its SOURCE word; nothing is asked yet.
    ///
    /// `done` and `closed` know what earlier runs finished; `now` decides which days are late.
    pub fn new(
        targets: Vec<(usize, Address)>,
        options: S3Options,
        client: ClientFor,
        done: FinishedLookup,
        closed: ClosedFolders,
        now: Timestamp,
    ) -> Self {
        Self { targets, options, client, done, closed, now }
    }
}

impl Source for S3Source {
    fn list(&mut self, found: &mut dyn FnMut(usize, SourceEvent) -> bool) -> Result<(), Error> {
        let (runtime, sieve) = (runtime(), thread::Builder::new().name("sieve".to_owned()));
        let refused = |source| Error::List { name: "buckets".to_owned(), source };
        let runtime = runtime.map_err(refused)?;
        let (listed, shelved) = mpsc::channel(LISTED_CAPACITY);
        let (jobs, wanted) = mpsc::channel(JOB_CAPACITY);
        let (out, told) = mpsc::channel(EVENT_CAPACITY);

        let mut tasks = JoinSet::new();
        let done = mem::replace(&mut self.done, Box::new(|_| None));
        let sorting = DoneFilter { done, again: self.options.reload, jobs, out: out.clone() };
        let sieve = sieve.spawn(move || sorting.run(shelved)).map_err(refused)?;
        let fetcher = Fetcher::new(self.options.memory_bytes, out.clone());
        tasks.spawn_on(fetcher.run(wanted), runtime.handle());
        let explorer = Arc::new(self.explorer(listed, out));
        tasks.spawn_on(explorer.run(self.targets()), runtime.handle());

        let handed = hand_over(told, found);
        if matches!(handed, Ok(RequestContext::Enough)) {
            // What is under way is not wanted any more: it ends here, and with it the sieve.
            drop(tasks);
            runtime.shutdown_background();
        } else {
            runtime.block_on(async {
                while let Some(task) = tasks.join_next().await {
                    join_result(task);
                }
            });
        }
        if let Err(fallen) = sieve.join() {
            panic::resume_unwind(fallen);
        }
        handed.map(|_| ())
    }
}

impl S3Source {
    fn explorer(
        &mut self,
        listed: mpsc::Sender<objects::ListedObjects>,
        out: mpsc::Sender<(usize, SourceEvent)>,
    ) -> ObjectLister {
        let nothing: ClosedFolders = Box::new(|_| None);
        let closed = mem::replace(&mut self.closed, Box::new(|_| None));
        let closed = Mutex::new(if self.options.reload { nothing } else { closed });
        let today = layout::utc_date(self.now);
        let closable_before = today.saturating_sub(self.late_days().days());
        ObjectLister { filter: self.filter(), closable_before, today, closed, listed, out }
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

    /// Returns the targets, each once, and one bucket for all that share it.
    fn targets(&mut self) -> Vec<Arc<ListTarget>> {
        let S3Options { region, requester_pays, .. } = &self.options;
        let make = mem::replace(&mut self.client, Box::new(|_| unreachable!("listed once")));
        let clients = Arc::new(ClientCache::new(make));
        let mut buckets = HashMap::new();
        let mut targets: Vec<Arc<ListTarget>> = Vec::new();
        let addresses = without_duplicates(mem::take(&mut self.targets));
        for (word, address) in addresses.clone() {
            let bucket = buckets.entry(address.bucket.clone()).or_insert_with(|| {
                let (name, clients) = (address.bucket.clone(), Arc::clone(&clients));
                let region = first_region(&address, region);
                Arc::new(BucketClient::new(name, clients, region, *requester_pays))
            });
            let nested_prefixes = within(&address, &addresses);
            targets.push(ListTarget::new(word, address, Arc::clone(bucket), nested_prefixes));
        }
        targets
    }
}

/// Whether the caller wants more.
enum RequestContext {
    More,
    Enough,
}

/// Hands on what is found, until there is nothing more or the caller has enough.
///
/// Refusals wait until something else is found: if nothing is, the last of them is the error of the whole.
fn hand_over(
    mut told: Receiver<(usize, SourceEvent)>,
    found: &mut dyn FnMut(usize, SourceEvent) -> bool,
) -> Result<RequestContext, Error> {
    let mut refused = Vec::new();
    let mut reached = false;
    while let Some((word, what)) = told.blocking_recv() {
        match what {
            SourceEvent::Failed(error) if !reached => {
                refused.push((word, error));
                continue;
            }
            SourceEvent::Input(_) | SourceEvent::AlreadyDone { .. } => reached = true,
            _ => {}
        }
        let due = if reached { mem::take(&mut refused) } else { Vec::new() };
        let due = due.into_iter().map(|(word, error)| (word, SourceEvent::Failed(error)));
        for (word, what) in due.chain([(word, what)]) {
            if !found(word, what) {
                return Ok(RequestContext::Enough);
            }
        }
    }
    let last = refused.pop();
    for (word, error) in refused {
        if !found(word, SourceEvent::Failed(error)) {
            return Ok(RequestContext::Enough);
        }
    }
    last.map_or(Ok(RequestContext::More), |(_, error)| Err(error))
}

fn runtime() -> io::Result<runtime::Runtime> {
    runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("buckets")
        .enable_all()
        .build()
}

/// Passes on what a task made; a task that fell over takes the thread with it, which says so.
fn join_result<T>(task: Result<T, JoinError>) -> Option<T> {
    match task.map_err(JoinError::try_into_panic) {
        Ok(made) => Some(made),
        Err(Ok(fallen)) => panic::resume_unwind(fallen),
        Err(Err(_cancelled)) => None,
    }
}

/// Returns the Region that is asked first: the caller's own, unless the bucket lives in another partition.
fn first_region<'a>(address: &Address, own: &'a str) -> &'a str {
    let elsewhere = |partition: &AwsPartition| AwsPartition::from_region(own) != Some(*partition);
    match address.partition.filter(elsewhere) {
        Some(partition) => partition.global_region(),
        None => own,
    }
}

/// Returns the last day on which events before `to` are delivered.
fn last_day(to: Timestamp, late_days: i64) -> Date {
    let last = to.checked_sub(1.nanosecond()).unwrap_or(to);
    // An event of the last second of a day is always delivered on the next one.
    layout::utc_date(last).saturating_add(late_days.max(1).days())
}

/// Drops what is named twice.
fn without_duplicates(addresses: Vec<(usize, Address)>) -> Vec<(usize, Address)> {
    let mut has_findings = HashSet::new();
    let mut is_new = |address: &Address| {
        has_findings.insert((address.bucket.clone(), address.prefix.trim_end_matches('/').to_owned()))
    };
    addresses.into_iter().filter(|(_, address)| is_new(address)).collect()
}

/// Returns what other addresses name within this one. Each object is listed for the one that names it most closely.
fn within(outer: &Address, addresses: &[(usize, Address)]) -> Vec<String> {
    let inner = addresses.iter().map(|(_, address)| address).filter(|inner| {
        let is_same = inner.prefix.trim_end_matches('/') == outer.prefix.trim_end_matches('/');
        inner.bucket == outer.bucket
            && !is_same
            && (outer.prefix.is_empty() || layout::is_within(&inner.prefix, &outer.prefix))
    });
    inner.map(|inner| inner.prefix.clone()).collect()
}
