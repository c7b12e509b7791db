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
    Closed,
    address::Address,
    bucket::{Bucket, Listing},
    days::{Memory, Range, Walk},
    layout::{self, Level, Narrow, Place},
    left::LeftOut,
    listing::{folders, objects},
    refusal::{Reach, Refusal},
    shelf::{Object, Shelf, named},
};
use crate::source::{Error, Found};

/// Folders that are listed at once; each holds a page of a thousand keys in memory.
const STEPS_AT_ONCE: usize = 16;

/// Folders outside of trails that are looked into one by one, for all that a bucket holds: some seconds.
const SEARCHED: usize = 2_000;

/// How deep `AWSLogs/` is searched for below an address: prefixes of trails have few parts.
const DEEPEST: usize = 8;

/// Pages of a folder of a whole bucket that are listed to find its folders. Where single objects lie in thousands, as
/// access logs do, only `AWSLogs/` itself is looked for.
const PAGES_SEARCHED: usize = 20;

/// An address, on its way.
pub(super) struct Target {
    pub(super) word: usize,
    pub(super) address: Address,
    pub(super) bucket: Arc<Bucket>,
    /// What other addresses name of the same bucket, and lies within this one: theirs to list.
    others: Vec<String>,
    /// Whether anything was found, or refused, that there is no need to say that nothing was.
    pub(super) seen: AtomicBool,
    /// Folders that may still be searched.
    searches: AtomicUsize,
    left: Mutex<LeftOut>,
}

impl Target {
    pub(super) fn new(
        word: usize,
        address: Address,
        bucket: Arc<Bucket>,
        others: Vec<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            word,
            address,
            bucket,
            others,
            seen: AtomicBool::new(false),
            searches: AtomicUsize::new(SEARCHED),
            left: Mutex::default(),
        })
    }

    /// Returns whether a folder or an object is left to another address.
    pub(super) fn leaves(&self, name: &str) -> bool {
        let leaves = self.others.iter().any(|other| layout::is_within(name, other));
        if leaves {
            self.seen.store(true, Relaxed);
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
        let near = below.matches('/').count() <= DEEPEST && !layout::is_by_time(folder);
        let one_less = |left: usize| left.checked_sub(1);
        near && self.searches.fetch_update(Relaxed, Relaxed, one_less).is_ok()
    }

    /// Takes what a folder holds without looking for trails in it, or passes it over.
    fn not_searched(&self, prefix: &str, next: &mut Vec<Step>) {
        if self.is_whole_bucket() {
            self.left(|left| left.pass(prefix));
        } else {
            next.push(Step::Flat(prefix.to_owned()));
        }
    }

    fn left(&self, change: impl FnOnce(&mut LeftOut)) {
        change(&mut self.left.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What is to be looked at next.
#[derive(Debug)]
pub(super) enum Step {
    /// An object, or a folder without its slash.
    Named(String),
    /// A folder, at any level.
    Folder(String),
    /// A folder of files in no order that we know.
    Flat(String),
    /// Days of a Region.
    Days(Range),
}

impl Step {
    fn prefix(&self) -> &str {
        match self {
            Self::Named(prefix) | Self::Folder(prefix) | Self::Flat(prefix) => prefix,
            Self::Days(range) => &range.prefix,
        }
    }

    /// Returns whether it only leads to other steps, perhaps to very many.
    fn is_search(&self) -> bool {
        let Self::Folder(prefix) = self else { return false };
        matches!(Place::of(prefix).level, Level::Outside | Level::Accounts)
            && !layout::is_of_logs(prefix)
    }
}

/// Steps that wait, each with its target.
#[derive(Default)]
struct Waiting {
    /// The last one is taken first, so that one Region is read from its first day on.
    steps: Vec<(Arc<Target>, Step)>,
    /// The first one is taken first: what lies near is searched before what lies deep.
    searches: VecDeque<(Arc<Target>, Step)>,
}

impl Waiting {
    fn add(&mut self, target: &Arc<Target>, steps: Vec<Step>) {
        let (searches, steps): (Vec<_>, Vec<_>) = steps.into_iter().partition(Step::is_search);
        let with = |step| (Arc::clone(target), step);
        self.searches.extend(searches.into_iter().map(with));
        self.steps.extend(steps.into_iter().rev().map(with));
    }

    fn next(&mut self) -> Option<(Arc<Target>, Step)> {
        self.steps.pop().or_else(|| self.searches.pop_front())
    }
}

/// Finds objects.
pub(super) struct Explorer {
    pub(super) narrow: Narrow,
    /// Days before this one may be closed.
    pub(super) late: Date,
    /// The day that it is.
    pub(super) today: Date,
    /// What earlier runs closed; nothing if all is read again.
    pub(super) closed: Mutex<Closed>,
    pub(super) shelves: Sender<Shelf>,
    pub(super) out: Sender<(usize, Found)>,
}

/// Whether somebody still wants what is found.
pub(super) type Wanted = bool;

impl Explorer {
    /// Goes through all targets.
    pub(super) async fn run(self: Arc<Self>, targets: Vec<Arc<Target>>) {
        let mut waiting = Waiting::default();
        for target in targets.iter().rev() {
            let prefix = target.address.prefix.clone();
            let folder = prefix.is_empty() || prefix.ends_with('/');
            waiting
                .add(target, vec![if folder { Step::Folder(prefix) } else { Step::Named(prefix) }]);
        }
        self.go_through(&mut waiting).await;
        for target in &targets {
            // Without any trail in it, what a bucket holds is what was asked for.
            let mut has_trails = false;
            target.left(|left| has_trails = left.has_trails());
            if target.is_whole_bucket() && !target.seen.load(Relaxed) && !has_trails {
                waiting.add(target, vec![Step::Flat(String::new())]);
                target.left(|left| *left = LeftOut::default());
            }
        }
        self.go_through(&mut waiting).await;
        for target in targets {
            self.say_what_is_left(&target).await;
            self.say_if_empty(&target).await;
        }
    }

    async fn go_through(self: &Arc<Self>, waiting: &mut Waiting) {
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < STEPS_AT_ONCE
                && let Some((target, step)) = waiting.next()
            {
                tasks.spawn(Arc::clone(self).take(target, step));
            }
            let Some(ended) = tasks.join_next().await else { break };
            if let Some((target, steps)) = super::ended(ended) {
                waiting.add(&target, steps);
            }
        }
    }

    /// Takes a step, and says what came of it if nothing did.
    async fn take(self: Arc<Self>, target: Arc<Target>, step: Step) -> (Arc<Target>, Vec<Step>) {
        let mut next = Vec::new();
        if target.bucket.is_shut() {
            return (target, next);
        }
        let taken = match &step {
            Step::Named(prefix) => self.named(&target, prefix, &mut next).await,
            Step::Folder(prefix) => self.folder(&target, prefix, &mut next).await,
            Step::Flat(prefix) => self.flat(&target, prefix).await,
            Step::Days(range) => self.days(&target, range, &mut next).await,
        };
        if let Err(refusal) = taken {
            self.refused(&target, step.prefix(), refusal).await;
            next.clear();
        }
        (target, next)
    }

    async fn refused(&self, target: &Target, prefix: &str, refusal: Refusal) {
        target.seen.store(true, Relaxed);
        // What is true for one folder, such as a denial, says nothing about the objects of others.
        let counts = matches!(refusal.reach, Reach::All | Reach::Way);
        let shut = counts && target.bucket.refused(refusal.reach);
        if shut || refusal.reach != Reach::All {
            let name = named(&target.bucket.name, prefix);
            let error = Error::Bucket { name, source: Box::new(refusal) };
            let _ = self.out.send((target.word, Found::Failed(error))).await;
        }
    }

    /// Says what was passed over.
    async fn say_what_is_left(&self, target: &Target) {
        let bucket = named(&target.bucket.name, "");
        let mut told = None;
        target.left(|left| told = left.told(&bucket));
        if let Some(why) = told {
            let name = target.address.to_string();
            let _ = self.out.send((target.word, Found::Skipped { name, why })).await;
        }
    }

    /// Says that a target held nothing: a mistake, unless only a part of it was asked for.
    async fn say_if_empty(&self, target: &Target) {
        if target.seen.load(Relaxed) || target.bucket.is_shut() {
            return;
        }
        let name = target.address.to_string();
        let found = if self.narrow.is_narrow() {
            let why = "it holds no logs of what was asked for".to_owned();
            Found::Skipped { name, why }
        } else {
            let why = "there are no trail logs".to_owned();
            Found::Failed(Error::Bucket { name, source: Box::new(Refusal::absent(why)) })
        };
        let _ = self.out.send((target.word, found)).await;
    }

    /// Finds out whether a word names an object or a folder.
    async fn named(&self, target: &Target, key: &str, next: &mut Vec<Step>) -> Result<(), Refusal> {
        let listing = Listing { prefix: key.to_owned(), most: Some(1), ..Listing::default() };
        let page = target.bucket.list(&listing).await?;
        // Of all that begins so, the key itself sorts first.
        match objects(&page).next().filter(|object| object.key == key) {
            Some(object) => {
                self.put(target, vec![object]).await;
            }
            None => next.push(Step::Folder(format!("{key}/"))),
        }
        Ok(())
    }

    async fn folder(
        &self,
        target: &Target,
        prefix: &str,
        next: &mut Vec<Step>,
    ) -> Result<(), Refusal> {
        let place = Place::of(prefix);
        if place.level == Level::Foreign {
            let why = "it holds no events: digests, or logs of another service".to_owned();
            return Err(Refusal::absent(why));
        }
        if !self.narrow.takes(&place) {
            return Ok(());
        }
        match place.level {
            Level::Unknown => self.flat(target, prefix).await,
            Level::Days => {
                let first = self.narrow.first;
                let region = place.region_of(prefix);
                let range = Range {
                    prefix: prefix.to_owned(),
                    after: first.map(|first| layout::before_day(region, first)),
                    until: None,
                    memory: Memory::Counts,
                };
                self.days(target, &range, next).await
            }
            Level::Outside | Level::Accounts
                if !layout::is_of_logs(prefix) && !target.may_search(prefix) =>
            {
                target.not_searched(prefix, next);
                Ok(())
            }
            _ => self.children(target, prefix, next).await,
        }
    }

    /// Goes into those folders of a folder that may hold what is asked for, and takes the objects that lie beside them.
    async fn children(
        &self,
        target: &Target,
        prefix: &str,
        next: &mut Vec<Step>,
    ) -> Result<(), Refusal> {
        let mut listing =
            Listing { prefix: prefix.to_owned(), folders: true, ..Listing::default() };
        let mut pages = 0;
        loop {
            let page = match target.bucket.list(&listing).await {
                // A policy may allow no more than the logs.
                Err(refusal)
                    if refusal.missing.is_some()
                        && prefix == target.address.prefix
                        && Place::of(prefix).level == Level::Outside =>
                {
                    self.child(target, format!("{prefix}{}/", layout::LOGS), next);
                    return Ok(());
                }
                page => page?,
            };
            for child in folders(&page) {
                self.child(target, child, next);
            }
            if !self.beside(target, prefix, objects(&page)).await || !listing.goes_on(&page)? {
                return Ok(());
            }
            pages += 1;
            if pages == PAGES_SEARCHED && target.is_whole_bucket() {
                return self.only_logs(target, prefix, next).await;
            }
        }
    }

    /// Decides about a folder that was come upon.
    fn child(&self, target: &Target, child: String, next: &mut Vec<Step>) {
        let place = Place::of(&child);
        if !self.narrow.takes(&place) || target.leaves(&child) {
            return;
        }
        if place.level == Level::Unknown && target.is_whole_bucket() {
            target.left(|left| left.pass(&child));
            return;
        }
        if child.ends_with(&format!("{}/", layout::LOGS)) {
            target.left(|left| left.trail(&child));
        }
        next.push(Step::Folder(child));
    }

    /// Takes the objects that lie beside folders, or passes them over.
    async fn beside(
        &self,
        target: &Target,
        prefix: &str,
        objects: impl Iterator<Item = Object>,
    ) -> Wanted {
        let objects = objects.filter(|object| self.takes(target, object));
        if target.is_whole_bucket() {
            for object in objects.filter(|object| object.size > 0) {
                target.left(|left| left.pass(if prefix.is_empty() { &object.key } else { prefix }));
            }
            return !self.out.is_closed();
        }
        self.put(target, objects.collect()).await
    }

    /// Passes over what else a folder with very many objects holds, but for its logs.
    async fn only_logs(
        &self,
        target: &Target,
        prefix: &str,
        next: &mut Vec<Step>,
    ) -> Result<(), Refusal> {
        let logs = format!("{prefix}{}/", layout::LOGS);
        let seen = next.iter().any(|step| step.prefix() == logs);
        let listing = Listing { prefix: logs.clone(), most: Some(1), ..Listing::default() };
        if !seen && objects(&target.bucket.list(&listing).await?).next().is_some() {
            self.child(target, logs, next);
        }
        Ok(())
    }

    /// Lists everything below a folder, however it lies.
    async fn flat(&self, target: &Target, prefix: &str) -> Result<(), Refusal> {
        let mut listing = Listing { prefix: prefix.to_owned(), ..Listing::default() };
        loop {
            let page = target.bucket.list(&listing).await?;
            let found = objects(&page).filter(|object| self.takes(target, object)).collect();
            if !self.put(target, found).await || !listing.goes_on(&page)? {
                return Ok(());
            }
        }
    }

    /// Returns whether an object may be wanted, by all that its key says. Folders made by hand are objects too.
    fn takes(&self, target: &Target, object: &Object) -> bool {
        let key = &object.key;
        let folder = key.rfind('/').map_or("", |slash| &key[..=slash]);
        folder.len() < key.len()
            && !layout::is_test_file(&key[folder.len()..])
            && self.narrow.takes(&Place::of(folder))
            && self.narrow.takes_name(key)
            && !target.leaves(key)
    }

    async fn days(
        &self,
        target: &Target,
        range: &Range,
        next: &mut Vec<Step>,
    ) -> Result<(), Refusal> {
        let region = Place::of(&range.prefix);
        Walk::new(self, target, range, region.region_of(&range.prefix), next).run().await
    }

    /// Puts objects that lie in no day that we know.
    async fn put(&self, target: &Target, objects: Vec<Object>) -> Wanted {
        self.put_shelf(target, Shelf::of(target, None, objects)).await
    }

    pub(super) async fn put_shelf(&self, target: &Target, shelf: Shelf) -> Wanted {
        if shelf.objects.is_empty() {
            return !self.shelves.is_closed();
        }
        target.seen.store(true, Relaxed);
        self.shelves.send(shelf).await.is_ok()
    }
}
