//! Finds the objects: from an address down to the days, and through the days.
//!
//! In: addresses. Out: shelves of objects, for the sieve.
//! Holds: what is not asked for is not listed, where the layout tells. Below a folder that is named everything is
//! looked at, but for logs that are known to be of other services; of a whole bucket, all `AWSLogs/` folders are, and
//! what else there is is named. A folder that is refused never stops the others.
//! Absent on purpose: what is done (see `sieve`). There is no "last key": late files sort anywhere.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use jiff::civil::Date;
use tokio::{sync::mpsc::Sender, task::JoinSet};

use super::{
    ClosedFolders,
    address::Address,
    bucket::{BucketClient, Listing},
    days::{ClosedDays, KeyRange, DayLister},
    layout::{self, Level, ObjectFilter, LogFolder},
    skipped::SkippedNames,
    listing::{folders, objects},
    error::{ErrorScope, S3Error},
    objects::{S3Object, ListedObjects, s3_uri},
};
use crate::source::{Error, SourceEvent};

/// Folders that are listed at once; each holds a page of a thousand keys in memory.
const MAX_CONCURRENT_STEPS: usize = 16;

/// Folders outside of trails that are looked into one by one, for all that a bucket holds: some seconds.
const MAX_SEARCHED_FOLDERS: usize = 2_000;

/// How deep `AWSLogs/` is searched for below an address: prefixes of trails have few parts.
const MAX_SEARCH_DEPTH: usize = 8;

/// Pages of a folder of a whole bucket that are listed to find its folders. Where single objects lie in thousands, as
/// access logs do, only `AWSLogs/` itself is looked for.
const MAX_SEARCHED_PAGES: usize = 20;

/// An address, on its way.
pub(super) struct ListTarget {
    pub(super) word: usize,
    pub(super) address: Address,
    pub(super) bucket: Arc<BucketClient>,
    /// What other addresses name of the same bucket, and lies within this one: theirs to list.
    nested_prefixes: Vec<String>,
    /// Whether anything was found, or refused, that there is no need to say that nothing was.
    pub(super) has_findings: AtomicBool,
    /// Folders that may still be searched.
    searches_left: AtomicUsize,
    skipped: Mutex<SkippedNames>,
}

impl ListTarget {
    pub(super) fn new(
        word: usize,
        address: Address,
        bucket: Arc<BucketClient>,
        nested_prefixes: Vec<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            word,
            address,
            bucket,
            nested_prefixes,
            has_findings: AtomicBool::new(false),
            searches_left: AtomicUsize::new(MAX_SEARCHED_FOLDERS),
            skipped: Mutex::default(),
        })
    }

    /// Returns whether a folder or an object is left to another address.
    pub(super) fn belongs_to_other(&self, name: &str) -> bool {
        let leaves = self.nested_prefixes.iter().any(|other| layout::is_within(name, other));
        if leaves {
            self.has_findings.store(true, Relaxed);
        }
        leaves
    }

    /// Returns whether only the folders of trails are looked into: nobody named a part of the bucket.
    fn is_whole_bucket(&self) -> bool {
        self.address.prefix.is_empty()
    }

    /// Returns whether a folder may be searched for trails.
    fn may_search(&self, folder: &str) -> bool {
        let below = folder.get(self.address.prefix.len()..).unwrap_or_default();
        let near = below.matches('/').count() <= MAX_SEARCH_DEPTH && !layout::is_date_partitioned(folder);
        let one_less = |left: usize| left.checked_sub(1);
        near && self.searches_left.fetch_update(Relaxed, Relaxed, one_less).is_ok()
    }

    /// Takes what a folder holds without looking for trails in it, or passes it over.
    fn list_or_skip(&self, prefix: &str, next: &mut Vec<ListStep>) {
        if self.is_whole_bucket() {
            self.with_skipped(|skipped| skipped.add(prefix));
        } else {
            next.push(ListStep::Flat(prefix.to_owned()));
        }
    }

    fn with_skipped(&self, change: impl FnOnce(&mut SkippedNames)) {
        change(&mut self.skipped.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What is to be looked at next.
#[derive(Debug)]
pub(super) enum ListStep {
    /// An object, or a folder without its slash.
    Address(String),
    /// A folder, at any level.
    Folder(String),
    /// A folder of files in no order that we know.
    Flat(String),
    /// Days of a Region.
    Days(KeyRange),
}

impl ListStep {
    fn prefix(&self) -> &str {
        match self {
            Self::Address(prefix) | Self::Folder(prefix) | Self::Flat(prefix) => prefix,
            Self::Days(range) => &range.prefix,
        }
    }

    /// Returns whether it only leads to other steps, perhaps to very many.
    fn is_search(&self) -> bool {
        let Self::Folder(prefix) = self else { return false };
        matches!(LogFolder::from_prefix(prefix).level, Level::AboveLogs | Level::Accounts)
            && !layout::is_logs_root(prefix)
    }
}

/// Steps that wait, each with its target.
#[derive(Default)]
struct StepQueue {
    /// The last one is taken first, so that one Region is read from its first day on.
    steps: Vec<(Arc<ListTarget>, ListStep)>,
    /// The first one is taken first: what lies near is searched before what lies deep.
    searches_left: VecDeque<(Arc<ListTarget>, ListStep)>,
}

impl StepQueue {
    fn add(&mut self, target: &Arc<ListTarget>, steps: Vec<ListStep>) {
        let (searches_left, steps): (Vec<_>, Vec<_>) = steps.into_iter().partition(ListStep::is_search);
        let with = |step| (Arc::clone(target), step);
        self.searches_left.extend(searches_left.into_iter().map(with));
        self.steps.extend(steps.into_iter().rev().map(with));
    }

    fn next(&mut self) -> Option<(Arc<ListTarget>, ListStep)> {
        self.steps.pop().or_else(|| self.searches_left.pop_front())
    }
}

/// Finds objects.
pub(super) struct ObjectLister {
    pub(super) filter: ObjectFilter,
    /// Days before this one may be closed.
    pub(super) closable_before: Date,
    /// The day that it is.
    pub(super) today: Date,
    /// What earlier runs closed; nothing if all is read again.
    pub(super) closed: Mutex<ClosedFolders>,
    pub(super) listed: Sender<ListedObjects>,
    pub(super) out: Sender<(usize, SourceEvent)>,
}

/// Whether somebody still wants what is found.
pub(super) type Demand = bool;

impl ObjectLister {
    /// Goes through all targets.
    pub(super) async fn run(self: Arc<Self>, targets: Vec<Arc<ListTarget>>) {
        let mut queue = StepQueue::default();
        for target in targets.iter().rev() {
            let prefix = target.address.prefix.clone();
            let folder = prefix.is_empty() || prefix.ends_with('/');
            queue
                .add(target, vec![if folder { ListStep::Folder(prefix) } else { ListStep::Address(prefix) }]);
        }
        self.run_steps(&mut queue).await;
        for target in &targets {
            // Without any trail in it, what a bucket holds is what was asked for.
            let mut has_trails = false;
            target.with_skipped(|skipped| has_trails = skipped.has_trails());
            if target.is_whole_bucket() && !target.has_findings.load(Relaxed) && !has_trails {
                queue.add(target, vec![ListStep::Flat(String::new())]);
                target.with_skipped(|skipped| *skipped = SkippedNames::default());
            }
        }
        self.run_steps(&mut queue).await;
        for target in targets {
            self.report_skipped(&target).await;
            self.report_if_empty(&target).await;
        }
    }

    async fn run_steps(self: &Arc<Self>, queue: &mut StepQueue) {
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < MAX_CONCURRENT_STEPS
                && let Some((target, step)) = queue.next()
            {
                tasks.spawn(Arc::clone(self).run_step(target, step));
            }
            let Some(join_result) = tasks.join_next().await else { break };
            if let Some((target, steps)) = super::join_result(join_result) {
                queue.add(&target, steps);
            }
        }
    }

    /// Takes a step, and says what came of it if nothing did.
    async fn run_step(self: Arc<Self>, target: Arc<ListTarget>, step: ListStep) -> (Arc<ListTarget>, Vec<ListStep>) {
        let mut next = Vec::new();
        if target.bucket.is_circuit_open() {
            return (target, next);
        }
        let taken = match &step {
            ListStep::Address(prefix) => self.resolve_address(&target, prefix, &mut next).await,
            ListStep::Folder(prefix) => self.list_folder(&target, prefix, &mut next).await,
            ListStep::Flat(prefix) => self.list_flat(&target, prefix).await,
            ListStep::Days(range) => self.list_days(&target, range, &mut next).await,
        };
        if let Err(refusal) = taken {
            self.report_failure(&target, step.prefix(), refusal).await;
            next.clear();
        }
        (target, next)
    }

    async fn report_failure(&self, target: &ListTarget, prefix: &str, refusal: S3Error) {
        target.has_findings.store(true, Relaxed);
        // What is true for one folder, such as a denial, says nothing about the objects of others.
        let counts = matches!(refusal.scope, ErrorScope::Bucket | ErrorScope::Network);
        let shut = counts && target.bucket.on_failure(refusal.scope);
        if shut || refusal.scope != ErrorScope::Bucket {
            let name = s3_uri(&target.bucket.name, prefix);
            let error = Error::Bucket { name, source: Box::new(refusal) };
            let _ = self.out.send((target.word, SourceEvent::Failed(error))).await;
        }
    }

    /// Says what was passed over.
    async fn report_skipped(&self, target: &ListTarget) {
        let bucket = s3_uri(&target.bucket.name, "");
        let mut told = None;
        target.with_skipped(|skipped| told = skipped.summary(&bucket));
        if let Some(reason) = told {
            let name = target.address.to_string();
            let _ = self.out.send((target.word, SourceEvent::Skipped { name, why: reason })).await;
        }
    }

    /// Says that a target held nothing: a mistake, unless only a part of it was asked for.
    async fn report_if_empty(&self, target: &ListTarget) {
        if target.has_findings.load(Relaxed) || target.bucket.is_circuit_open() {
            return;
        }
        let name = target.address.to_string();
        let found = if self.filter.restricts() {
            let reason = "it holds no logs of what was asked for".to_owned();
            SourceEvent::Skipped { name, why: reason }
        } else {
            let reason = "there are no trail logs".to_owned();
            SourceEvent::Failed(Error::Bucket { name, source: Box::new(S3Error::from_reason(reason)) })
        };
        let _ = self.out.send((target.word, found)).await;
    }

    /// Finds out whether a word names an object or a folder.
    async fn resolve_address(&self, target: &ListTarget, key: &str, next: &mut Vec<ListStep>) -> Result<(), S3Error> {
        let listing = Listing { prefix: key.to_owned(), max_keys: Some(1), ..Listing::default() };
        let page = target.bucket.list(&listing).await?;
        // Of all that begins so, the key itself sorts first.
        match objects(&page).next().filter(|object| object.key == key) {
            Some(object) => {
                self.send_objects(target, vec![object]).await;
            }
            None => next.push(ListStep::Folder(format!("{key}/"))),
        }
        Ok(())
    }

    async fn list_folder(
        &self,
        target: &ListTarget,
        prefix: &str,
        next: &mut Vec<ListStep>,
    ) -> Result<(), S3Error> {
        let place = LogFolder::from_prefix(prefix);
        if place.level == Level::OtherService {
            let reason = "it holds no events: digests, or logs of another service".to_owned();
            return Err(S3Error::from_reason(reason));
        }
        if !self.filter.may_contain(&place) {
            return Ok(());
        }
        match place.level {
            Level::Unknown => self.list_flat(target, prefix).await,
            Level::Days => {
                let first = self.filter.first;
                let region = place.region_of(prefix);
                let range = KeyRange {
                    prefix: prefix.to_owned(),
                    after: first.map(|first| layout::day_prefix(region, first)),
                    until: None,
                    closed_days: ClosedDays::Use,
                };
                self.list_days(target, &range, next).await
            }
            Level::AboveLogs | Level::Accounts
                if !layout::is_logs_root(prefix) && !target.may_search(prefix) =>
            {
                target.list_or_skip(prefix, next);
                Ok(())
            }
            _ => self.list_children(target, prefix, next).await,
        }
    }

    /// Goes into those folders of a folder that may hold what is asked for, and takes the objects that lie beside them.
    async fn list_children(
        &self,
        target: &ListTarget,
        prefix: &str,
        next: &mut Vec<ListStep>,
    ) -> Result<(), S3Error> {
        let mut listing =
            Listing { prefix: prefix.to_owned(), folders: true, ..Listing::default() };
        let mut pages = 0;
        loop {
            let page = match target.bucket.list(&listing).await {
                // A policy may allow no more than the logs.
                Err(refusal)
                    if refusal.missing_permission.is_some()
                        && prefix == target.address.prefix
                        && LogFolder::from_prefix(prefix).level == Level::AboveLogs =>
                {
                    self.on_subfolder(target, format!("{prefix}{}/", layout::LOGS_FOLDER), next);
                    return Ok(());
                }
                page => page?,
            };
            for child in folders(&page) {
                self.on_subfolder(target, child, next);
            }
            if !self.on_loose_objects(target, prefix, objects(&page)).await || !listing.advance(&page)? {
                return Ok(());
            }
            pages += 1;
            if pages == MAX_SEARCHED_PAGES && target.is_whole_bucket() {
                return self.only_logs(target, prefix, next).await;
            }
        }
    }

    /// Decides about a folder that was come upon.
    fn on_subfolder(&self, target: &ListTarget, child: String, next: &mut Vec<ListStep>) {
        let place = LogFolder::from_prefix(&child);
        if !self.filter.may_contain(&place) || target.belongs_to_other(&child) {
            return;
        }
        if place.level == Level::Unknown && target.is_whole_bucket() {
            target.with_skipped(|skipped| skipped.add(&child));
            return;
        }
        if child.ends_with(&format!("{}/", layout::LOGS_FOLDER)) {
            target.with_skipped(|skipped| skipped.add_trail_folder(&child));
        }
        next.push(ListStep::Folder(child));
    }

    /// Takes the objects that lie beside folders, or passes them over.
    async fn on_loose_objects(
        &self,
        target: &ListTarget,
        prefix: &str,
        objects: impl Iterator<Item = S3Object>,
    ) -> Demand {
        let objects = objects.filter(|object| self.may_match(target, object));
        if target.is_whole_bucket() {
            for object in objects.filter(|object| object.size > 0) {
                target.with_skipped(|skipped| skipped.add(if prefix.is_empty() { &object.key } else { prefix }));
            }
            return !self.out.is_closed();
        }
        self.send_objects(target, objects.collect()).await
    }

    /// Passes over what else a folder with very many objects holds, but for its logs.
    async fn only_logs(
        &self,
        target: &ListTarget,
        prefix: &str,
        next: &mut Vec<ListStep>,
    ) -> Result<(), S3Error> {
        let logs = format!("{prefix}{}/", layout::LOGS_FOLDER);
        let has_findings = next.iter().any(|step| step.prefix() == logs);
        let listing = Listing { prefix: logs.clone(), max_keys: Some(1), ..Listing::default() };
        if !has_findings && objects(&target.bucket.list(&listing).await?).next().is_some() {
            self.on_subfolder(target, logs, next);
        }
        Ok(())
    }

    /// Lists everything below a folder, however it lies.
    async fn list_flat(&self, target: &ListTarget, prefix: &str) -> Result<(), S3Error> {
        let mut listing = Listing { prefix: prefix.to_owned(), ..Listing::default() };
        loop {
            let page = target.bucket.list(&listing).await?;
            let found = objects(&page).filter(|object| self.may_match(target, object)).collect();
            if !self.send_objects(target, found).await || !listing.advance(&page)? {
                return Ok(());
            }
        }
    }

    /// Returns whether an object may be wanted, by all that its key says. Folders made by hand are objects too.
    fn may_match(&self, target: &ListTarget, object: &S3Object) -> bool {
        let key = &object.key;
        let folder = key.rfind('/').map_or("", |slash| &key[..=slash]);
        folder.len() < key.len()
            && !layout::is_permission_test(&key[folder.len()..])
            && self.filter.may_contain(&LogFolder::from_prefix(folder))
            && self.filter.may_match_key(key)
            && !target.belongs_to_other(key)
    }

    async fn list_days(
        &self,
        target: &ListTarget,
        range: &KeyRange,
        next: &mut Vec<ListStep>,
    ) -> Result<(), S3Error> {
        let region = LogFolder::from_prefix(&range.prefix);
        DayLister::new(self, target, range, region.region_of(&range.prefix), next).run().await
    }

    /// Puts objects that lie in no day that we know.
    async fn send_objects(&self, target: &ListTarget, objects: Vec<S3Object>) -> Demand {
        self.send_listed(target, ListedObjects::new(target, None, objects)).await
    }

    pub(super) async fn send_listed(&self, target: &ListTarget, shelf: ListedObjects) -> Demand {
        if shelf.objects.is_empty() {
            return !self.listed.is_closed();
        }
        target.has_findings.store(true, Relaxed);
        self.listed.send(shelf).await.is_ok()
    }
}
