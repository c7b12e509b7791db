//! What is to be listed: the targets, and the steps that lead from an address to its objects.
//!
//! Input: addresses. Output: the next step of a target, in the order in which steps are run.
//! Deliberately absent: running a step (see `lister` and `days`).

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, VecDeque},
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
    /// The folder of a year, a month or a day, or the folder of a Region that contains them, to be listed newest day
    /// first.
    Dated(DatedFolder),
}

/// A folder whose objects were delivered on certain days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DatedFolder {
    /// The last day.
    pub(super) newest: Date,
    pub(super) prefix: String,
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
            Self::Dated(folder) => &folder.prefix,
        }
    }

    /// Returns whether the step only leads to other steps, possibly a large number of them.
    pub(super) fn is_search(&self) -> bool {
        let Self::Folder(prefix) = self else { return false };
        matches!(LogFolder::from_prefix(prefix).level, Level::AboveLogs | Level::Accounts)
            && !layout::is_logs_root(prefix)
    }
}

/// Pending steps with their targets.
#[derive(Default)]
pub(super) struct StepQueue {
    /// Last in, first out, so that a Region is read from its first day on.
    steps: Vec<(Arc<ListTarget>, ListStep)>,
    /// The folder with the newest day first.
    dated: BinaryHeap<DatedStep>,
    /// First in, first out: near folders are searched before deep ones.
    searches_left: VecDeque<(Arc<ListTarget>, ListStep)>,
}

/// A folder in the order of its last day; on the same day, in the order of names.
struct DatedStep {
    target: Arc<ListTarget>,
    folder: DatedFolder,
}

impl DatedStep {
    fn key(&self) -> (Date, std::cmp::Reverse<(usize, &str)>) {
        let DatedFolder { newest, prefix } = &self.folder;
        (*newest, std::cmp::Reverse((self.target.source_number, prefix)))
    }
}

impl PartialEq for DatedStep {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for DatedStep {}

impl PartialOrd for DatedStep {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DatedStep {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl StepQueue {
    pub(super) fn add(&mut self, target: &Arc<ListTarget>, steps: Vec<ListStep>) {
        let mut plain = Vec::new();
        for step in steps {
            match step {
                ListStep::Dated(folder) => {
                    self.dated.push(DatedStep { target: Arc::clone(target), folder });
                }
                step if step.is_search() => {
                    self.searches_left.push_back((Arc::clone(target), step))
                }
                step => plain.push((Arc::clone(target), step)),
            }
        }
        self.steps.extend(plain.into_iter().rev());
    }

    pub(super) fn next(&mut self) -> Option<(Arc<ListTarget>, ListStep)> {
        let dated = |DatedStep { target, folder }| (target, ListStep::Dated(folder));
        let next = self.steps.pop().or_else(|| self.dated.pop().map(dated));
        next.or_else(|| self.searches_left.pop_front())
    }
}
