//! What is to be listed: the targets, and the steps that lead from an address to its objects.
//!
//! Input: addresses. Output: the next step of a target, in the order in which steps are run.
//! Deliberately absent: running a step (see `lister` and `days`).

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use jiff::civil::Date;

use super::{
    address::Address,
    bucket::BucketClient,
    layout::{self, Level, LogFolder},
    objects::{DayFolder, ListedObjects, S3Object},
    skipped::SkippedNames,
};

/// Maximum number of folders outside of trails that are searched in one bucket: some seconds.
const MAX_SEARCHED_FOLDERS: usize = 2_000;

/// Maximum depth of the search for `AWSLogs/` below an address; prefixes of trails have few segments.
const MAX_SEARCH_DEPTH: usize = 8;

/// An address to list.
pub(super) struct ListTarget {
    pub(super) source_number: usize,
    pub(super) address: Address,
    pub(super) bucket: Arc<BucketClient>,
    /// Prefixes of other addresses in the same bucket that lie within this one, and are listed for those.
    nested_prefixes: Vec<String>,
    /// Whether anything was found or has failed, so that "nothing found" is not reported.
    pub(super) has_findings: AtomicBool,
    /// Number of folders that may still be searched.
    searches_left: AtomicUsize,
    skipped: Mutex<SkippedNames>,
}

impl ListTarget {
    pub(super) fn new(
        source_number: usize,
        address: Address,
        bucket: Arc<BucketClient>,
        nested_prefixes: Vec<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            source_number,
            address,
            bucket,
            nested_prefixes,
            has_findings: AtomicBool::new(false),
            searches_left: AtomicUsize::new(MAX_SEARCHED_FOLDERS),
            skipped: Mutex::default(),
        })
    }

    /// Returns whether a folder or object is listed for another address.
    pub(super) fn belongs_to_other(&self, name: &str) -> bool {
        let leaves = self.nested_prefixes.iter().any(|other| layout::is_within(name, other));
        if leaves {
            self.has_findings.store(true, Relaxed);
        }
        leaves
    }

    /// Returns whether the address is a whole bucket; then only trails are listed.
    pub(super) fn is_whole_bucket(&self) -> bool {
        self.address.prefix.is_empty()
    }

    /// Returns whether a folder may be searched for trails.
    pub(super) fn may_search(&self, folder: &str) -> bool {
        let below = folder.get(self.address.prefix.len()..).unwrap_or_default();
        let near =
            below.matches('/').count() <= MAX_SEARCH_DEPTH && !layout::is_date_partitioned(folder);
        let one_less = |left: usize| left.checked_sub(1);
        near && self.searches_left.fetch_update(Relaxed, Relaxed, one_less).is_ok()
    }

    /// Lists a folder without a search for trails, or skips it.
    pub(super) fn list_or_skip(&self, prefix: &str, next: &mut Vec<ListStep>) {
        if self.is_whole_bucket() {
            self.with_skipped(|skipped| skipped.add(prefix));
        } else {
            next.push(ListStep::Flat(prefix.to_owned()));
        }
    }

    /// Groups objects of a folder that were listed for this target.
    pub(super) fn listed_objects(
        &self,
        day: Option<Arc<DayFolder>>,
        objects: Vec<S3Object>,
    ) -> ListedObjects {
        let bucket = Arc::clone(&self.bucket);
        ListedObjects { source_number: self.source_number, bucket, day, objects }
    }

    pub(super) fn with_skipped(&self, change: impl FnOnce(&mut SkippedNames)) {
        change(&mut self.skipped.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A range of keys in the folder of a Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyRange {
    /// The common prefix: the Region's folder, or one below it.
    pub(super) prefix: String,
    /// Keys up to this one are excluded.
    pub(super) after: Option<String>,
    /// Keys after this one are excluded.
    pub(super) until: Option<String>,
    /// Whether days closed by earlier runs are skipped.
    pub(super) closed_days: ClosedDays,
}

/// Whether days closed by earlier runs are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClosedDays {
    /// They are compared, and skipped if unchanged.
    Use,
    /// They are listed as if they were not closed.
    Ignore,
}

/// The next folder or range to list.
#[derive(Debug)]
pub(super) enum ListStep {
    /// An address without a trailing slash: an object or a folder.
    Address(String),
    /// A folder at any level of the layout.
    Folder(String),
    /// A folder without a known layout, listed recursively.
    Flat(String),
    /// A range of days of one Region.
    Days(KeyRange),
    /// Something to be listed or sent newest day first.
    Dated(DatedStep),
}

/// A step whose objects were delivered on a certain day or before.
#[derive(Debug)]
pub(super) struct DatedStep {
    /// The last day.
    pub(super) newest: Date,
    pub(super) content: DatedContent,
}

/// What a [`DatedStep`] lists or sends.
#[derive(Debug)]
pub(super) enum DatedContent {
    /// The folder of a year, a month or a day, or the one of a Region, which contains them.
    Folder(String),
    /// Objects of one day that are listed already.
    Objects(Vec<S3Object>),
}

/// The order in which the days of a Region are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListOrder {
    /// Oldest day first, with as few requests as possible.
    OldestFirst,
    /// Newest day first, over all accounts and Regions.
    NewestFirst,
}

impl ListStep {
    pub(super) fn prefix(&self) -> &str {
        match self {
            Self::Address(prefix) | Self::Folder(prefix) | Self::Flat(prefix) => prefix,
            Self::Days(range) => &range.prefix,
            Self::Dated(step) => match &step.content {
                DatedContent::Folder(prefix) => prefix,
                DatedContent::Objects(objects) => {
                    objects.first().map_or("", |object| object.key.as_str())
                }
            },
        }
    }

    /// Returns the last day of a dated step.
    pub(super) fn newest(&self) -> Option<Date> {
        match self {
            Self::Dated(step) => Some(step.newest),
            _ => None,
        }
    }

    /// Returns whether the step only leads to other steps, possibly a large number of them.
    pub(super) fn is_search(&self) -> bool {
        let Self::Folder(prefix) = self else { return false };
        matches!(LogFolder::from_prefix(prefix).level, Level::AboveLogs | Level::Accounts)
            && !layout::is_logs_root(prefix)
    }
}

/// Objects that wait for their day at most, about 300 bytes each; beyond that, they are sent out of order.
const MAX_WAITING_OBJECTS: usize = 20_000;

/// Pending steps with their targets.
#[derive(Default)]
pub(super) struct StepQueue {
    /// Last in, first out, so that a Region is read from its first day on.
    steps: Vec<(Arc<ListTarget>, ListStep)>,
    /// Newest day first.
    dated: BinaryHeap<QueuedStep>,
    dated_added: u64,
    waiting_objects: usize,
    /// The last days of dated steps that are run now, with their number.
    running: BTreeMap<Date, usize>,
    /// First in, first out: near folders are searched before deep ones.
    searches_left: VecDeque<(Arc<ListTarget>, ListStep)>,
}

/// A dated step. The greatest one has the newest day; of several, it was added first.
struct QueuedStep {
    number: Reverse<u64>,
    target: Arc<ListTarget>,
    step: DatedStep,
}

impl PartialEq for QueuedStep {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for QueuedStep {}

impl PartialOrd for QueuedStep {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for QueuedStep {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.step.newest, self.number).cmp(&(other.step.newest, other.number))
    }
}

impl StepQueue {
    pub(super) fn add(&mut self, target: &Arc<ListTarget>, steps: Vec<ListStep>) {
        let mut first = Vec::new();
        for step in steps {
            match step {
                ListStep::Dated(step) if self.may_wait(&step) => self.add_dated(target, step),
                step if step.is_search() => {
                    self.searches_left.push_back((Arc::clone(target), step));
                }
                step => first.push((Arc::clone(target), step)),
            }
        }
        self.steps.extend(first.into_iter().rev());
    }

    fn may_wait(&self, step: &DatedStep) -> bool {
        step.objects() == 0 || self.waiting_objects < MAX_WAITING_OBJECTS
    }

    fn add_dated(&mut self, target: &Arc<ListTarget>, step: DatedStep) {
        self.waiting_objects += step.objects();
        self.dated_added += 1;
        let (number, target) = (Reverse(self.dated_added), Arc::clone(target));
        self.dated.push(QueuedStep { number, target, step });
    }

    /// Returns the next step that may be run now.
    pub(super) fn next(&mut self) -> Option<(Arc<ListTarget>, ListStep)> {
        let next = self.steps.pop().or_else(|| self.next_dated());
        next.or_else(|| self.searches_left.pop_front())
    }

    /// Returns the dated step with the newest day, unless one with a newer day is run now: it may lead to further steps
    /// that come first.
    fn next_dated(&mut self) -> Option<(Arc<ListTarget>, ListStep)> {
        let newest = self.dated.peek()?.step.newest;
        if self.running.last_key_value().is_some_and(|(running, _)| *running > newest) {
            return None;
        }
        let QueuedStep { target, step, .. } = self.dated.pop()?;
        self.waiting_objects -= step.objects();
        *self.running.entry(newest).or_default() += 1;
        Some((target, ListStep::Dated(step)))
    }

    /// Records that a step has ended, given its last day if it is dated.
    pub(super) fn on_end(&mut self, newest: Option<Date>) {
        let Some(newest) = newest else { return };
        if let Some(running) = self.running.get_mut(&newest) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&newest);
            }
        }
    }
}

impl DatedStep {
    fn objects(&self) -> usize {
        match &self.content {
            DatedContent::Folder(_) => 0,
            DatedContent::Objects(objects) => objects.len(),
        }
    }
}
