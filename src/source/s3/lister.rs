//! Lists the objects of an address: from its prefix down to the days, and through the days.
//!
//! Input: addresses. Output: listed objects, for the filter.
//! Invariant: folders that cannot contain wanted objects are not listed where the layout shows that. Below a prefix
//! that was given, everything is listed except known logs of other services; of a whole bucket, only `AWSLogs/`
//! folders are listed, and all other folders are reported. An error in one folder never stops the others.
//! Deliberately absent: what is already loaded (see `done_filter`). No last key is stored, because keys of late files
//! sort anywhere.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use jiff::civil::Date;
use tokio::task::JoinSet;

use super::{
    bucket::Listing,
    days::DayLister,
    error::{ErrorScope, S3Error},
    layout::{self, Level, LogFolder},
    list_step::{
        ClosedDays, DatedContent, DatedStep, KeyRange, ListOrder, ListStep, ListTarget, StepQueue,
    },
    listing::{folders, objects},
    object_lister::{ObjectLister, Repetition},
    objects::{S3Object, s3_uri},
    skipped::SkippedNames,
};
use crate::source::{Error, SourceEvent, task_output};

/// Maximum number of folders listed concurrently; each holds a page of a thousand keys in memory.
const MAX_CONCURRENT_STEPS: usize = 16;

/// Which path an address without logs should have.
const WHERE_LOGS_ARE: &str = "a trail delivers below s3://BUCKET[/PREFIX]/AWSLogs/";

/// Maximum number of pages that are listed to find the subfolders of a folder of a whole bucket. Where there are
/// thousands of loose objects, as with access logs, only `AWSLogs/` itself is looked up.
const MAX_SEARCHED_PAGES: usize = 20;

impl ObjectLister {
    /// Lists all targets.
    pub(super) async fn run(self: Arc<Self>, targets: Vec<Arc<ListTarget>>) {
        let mut queue = StepQueue::default();
        for target in targets.iter().rev() {
            let prefix = target.address.prefix.clone();
            let folder = prefix.is_empty() || prefix.ends_with('/');
            queue.add(
                target,
                vec![if folder { ListStep::Folder(prefix) } else { ListStep::Address(prefix) }],
            );
        }
        self.run_steps(&mut queue).await;
        for target in &targets {
            // A bucket without any trail is listed as a whole.
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
            let Some(ended) = tasks.join_next().await else { break };
            if let Some((target, newest, steps)) = task_output(ended) {
                queue.on_end(newest);
                queue.add(&target, steps);
            }
        }
    }

    /// Runs a step and returns its last day, if it is dated, and the steps it leads to.
    async fn run_step(
        self: Arc<Self>,
        target: Arc<ListTarget>,
        step: ListStep,
    ) -> (Arc<ListTarget>, Option<Date>, Vec<ListStep>) {
        let mut next = Vec::new();
        let newest = step.newest();
        if target.bucket.is_circuit_open() {
            return (target, newest, next);
        }
        let taken = match &step {
            ListStep::Address(prefix) => self.resolve_address(&target, prefix, &mut next).await,
            ListStep::Folder(prefix) => self.list_folder(&target, prefix, &mut next).await,
            ListStep::Flat(prefix) => self.list_flat(&target, prefix).await,
            ListStep::Days(range) => self.list_days(&target, range, &mut next).await,
            ListStep::Dated(dated) => self.list_dated(&target, dated, &mut next).await,
        };
        if let Err(error) = taken {
            self.report_failure(&target, step.prefix(), error).await;
            next.clear();
        }
        (target, newest, next)
    }

    async fn report_failure(&self, target: &ListTarget, prefix: &str, error: S3Error) {
        target.has_findings.store(true, Relaxed);
        // Other errors, such as a denial, say nothing about the objects of other folders.
        let counts = matches!(error.scope, ErrorScope::Bucket | ErrorScope::Network);
        let shut = counts && target.bucket.on_failure(error.scope);
        if shut || error.scope != ErrorScope::Bucket {
            let name = s3_uri(&target.bucket.name, prefix);
            let error = Error::Bucket { name, source: Box::new(error) };
            let _ = self.events.send((target.source_number, SourceEvent::Failed(error))).await;
        }
    }

    /// Reports what was skipped.
    async fn report_skipped(&self, target: &ListTarget) {
        let bucket = s3_uri(&target.bucket.name, "");
        let mut told = None;
        target.with_skipped(|skipped| told = skipped.summary(&bucket));
        if let Some(reason) = told {
            let name = target.address.to_string();
            let _ = self
                .events
                .send((target.source_number, SourceEvent::Skipped { name, why: reason }))
                .await;
        }
    }

    /// Reports that a target contains nothing: an error, unless only a part of it was wanted.
    async fn report_if_empty(&self, target: &ListTarget) {
        if target.has_findings.load(Relaxed) || target.bucket.is_circuit_open() {
            return;
        }
        let name = target.address.to_string();
        let found = if self.filter.restricts() {
            let reason = "no logs match the selected accounts, Regions, kinds and dates".to_owned();
            SourceEvent::Skipped { name, why: reason }
        } else if self.repetition == Repetition::Followed {
            SourceEvent::Skipped { name, why: "contains no trail logs yet".to_owned() }
        } else {
            let reason = format!("contains no trail logs; {WHERE_LOGS_ARE}");
            SourceEvent::Failed(Error::Bucket {
                name,
                source: Box::new(S3Error::from_reason(reason)),
            })
        };
        let _ = self.events.send((target.source_number, found)).await;
    }

    /// Determines whether an address is an object or a folder.
    async fn resolve_address(
        &self,
        target: &ListTarget,
        key: &str,
        next: &mut Vec<ListStep>,
    ) -> Result<(), S3Error> {
        let listing = Listing { prefix: key.to_owned(), max_keys: Some(1), ..Listing::default() };
        let page = target.bucket.list(&listing).await?;
        // The key itself sorts before all keys that start with it.
        match objects(&page).next().filter(|object| object.key == key) {
            Some(object) => {
                let _ = self.send_objects(target, vec![object]).await;
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
            let reason = "contains no events: digests, or logs of another service".to_owned();
            return Err(S3Error::from_reason(reason));
        }
        if !self.filter.may_contain(&place) {
            return Ok(());
        }
        match place.level {
            Level::Unknown => self.list_flat(target, prefix).await,
            Level::Days if self.order == ListOrder::NewestFirst => {
                let newest = place.last_day(prefix).unwrap_or(Date::MAX);
                let content = DatedContent::Folder(prefix.to_owned());
                next.push(ListStep::Dated(DatedStep { newest, content }));
                Ok(())
            }
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

    /// Queues the subfolders that may contain wanted objects, and processes the objects beside them.
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
                // A policy may allow nothing but the logs.
                Err(error)
                    if error.missing_permission.is_some()
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
            if self.on_loose_objects(target, prefix, objects(&page)).await.is_break()
                || !listing.advance(&page)?
            {
                return Ok(());
            }
            pages += 1;
            if pages == MAX_SEARCHED_PAGES && target.is_whole_bucket() {
                return self.only_logs(target, prefix, next).await;
            }
        }
    }

    /// Queues or skips a subfolder.
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

    /// Sends the objects beside subfolders, or skips them.
    async fn on_loose_objects(
        &self,
        target: &ListTarget,
        prefix: &str,
        objects: impl Iterator<Item = S3Object>,
    ) -> ControlFlow<()> {
        let objects = objects.filter(|object| self.may_match(target, object));
        if target.is_whole_bucket() {
            for object in objects.filter(|object| object.size > 0) {
                target.with_skipped(|skipped| {
                    skipped.add(if prefix.is_empty() { &object.key } else { prefix });
                });
            }
            return self.has_receiver();
        }
        self.send_objects(target, objects.collect()).await
    }

    /// Skips the remaining content of a folder with a large number of objects, except its logs.
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

    /// Lists everything below a folder recursively.
    async fn list_flat(&self, target: &ListTarget, prefix: &str) -> Result<(), S3Error> {
        let mut listing = Listing { prefix: prefix.to_owned(), ..Listing::default() };
        loop {
            let page = target.bucket.list(&listing).await?;
            let found = objects(&page).filter(|object| self.may_match(target, object)).collect();
            if self.send_objects(target, found).await.is_break() || !listing.advance(&page)? {
                return Ok(());
            }
        }
    }

    /// Returns whether an object may be wanted, by its key. Folder markers are excluded.
    fn may_match(&self, target: &ListTarget, object: &S3Object) -> bool {
        let key = &object.key;
        let folder = key.rfind('/').map_or("", |slash| &key[..=slash]);
        folder.len() < key.len()
            && !layout::is_permission_test(&key[folder.len()..])
            && self.filter.may_contain(&LogFolder::from_prefix(folder))
            && self.filter.may_match_key(key)
            && !target.belongs_to_other(key)
    }

    /// Lists a folder newest day first, or sends objects that are listed already.
    async fn list_dated(
        &self,
        target: &ListTarget,
        step: &DatedStep,
        next: &mut Vec<ListStep>,
    ) -> Result<(), S3Error> {
        let prefix = match &step.content {
            DatedContent::Folder(prefix) => prefix,
            DatedContent::Objects(objects) => {
                // The listing ends when the receiver is gone, with the next step.
                let _ = self.send_objects(target, objects.clone()).await;
                return Ok(());
            }
        };
        let place = LogFolder::from_prefix(prefix);
        let after = self.filter.first.map(|day| layout::day_prefix(place.region_of(prefix), day));
        let mut listing = Listing { prefix: prefix.clone(), after, ..Listing::default() };
        let mut page = target.bucket.list(&listing).await?;
        let mut is_more = listing.advance(&page)?;
        if !is_more {
            self.queue_by_day(target, objects(&page), place.region_of(prefix), next);
            return Ok(());
        }
        if place.holds_dates(prefix) {
            return self.queue_dates(target, prefix, next).await;
        }
        loop {
            let found = objects(&page).filter(|object| self.may_match(target, object)).collect();
            if self.send_objects(target, found).await.is_break() || !is_more {
                return Ok(());
            }
            page = target.bucket.list(&listing).await?;
            is_more = listing.advance(&page)?;
        }
    }

    /// Queues the objects of a folder that one page holds, by day.
    fn queue_by_day(
        &self,
        target: &ListTarget,
        found: impl Iterator<Item = S3Object>,
        region: &str,
        next: &mut Vec<ListStep>,
    ) {
        let mut days: BTreeMap<Date, Vec<S3Object>> = BTreeMap::new();
        for object in found.filter(|object| self.may_match(target, object)) {
            let day = layout::day_of(&object.key, region).map(|(day, _)| day);
            if day.is_none_or(|day| self.filter.includes_day(day)) {
                days.entry(day.unwrap_or(Date::MAX)).or_default().push(object);
            }
        }
        if !days.is_empty() {
            target.has_findings.store(true, Relaxed);
        }
        next.extend(days.into_iter().map(|(newest, objects)| {
            ListStep::Dated(DatedStep { newest, content: DatedContent::Objects(objects) })
        }));
    }

    /// Queues the folders of the years, months or days in a folder, and sends the objects beside them.
    async fn queue_dates(
        &self,
        target: &ListTarget,
        prefix: &str,
        next: &mut Vec<ListStep>,
    ) -> Result<(), S3Error> {
        let place = LogFolder::from_prefix(prefix);
        let mut listing =
            Listing { prefix: prefix.to_owned(), folders: true, ..Listing::default() };
        loop {
            let page = target.bucket.list(&listing).await?;
            for child in folders(&page).filter(|child| !target.belongs_to_other(child)) {
                // A folder that is no date is listed at once: its objects may be of any day.
                let days = place.first_day(&child).zip(place.last_day(&child));
                let (first, newest) = days.unwrap_or((Date::MIN, Date::MAX));
                if self.filter.may_include(first, newest) {
                    let content = DatedContent::Folder(child);
                    next.push(ListStep::Dated(DatedStep { newest, content }));
                }
            }
            let found = objects(&page).filter(|object| self.may_match(target, object)).collect();
            if self.send_objects(target, found).await.is_break() || !listing.advance(&page)? {
                return Ok(());
            }
        }
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

    /// Sends objects that belong to no day.
    async fn send_objects(&self, target: &ListTarget, objects: Vec<S3Object>) -> ControlFlow<()> {
        self.send_listed(target, target.listed_objects(None, objects)).await
    }
}
