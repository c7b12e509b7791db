//! Goes through the days of one Region, and finds out which of them an earlier run closed and are still the same.
//!
//! In: a range of keys to list. Out: shelves of objects, the days that are over, and those to be read again.
//! Holds: every object of the range is listed, also in closed days: a page of a thousand costs one request. A closed
//! day is done if it looks as it did when it was closed, or has only lost objects; what was added to it later is read
//! alone where times tell it apart, and otherwise the whole day is read again.

use std::{mem, sync::Arc, sync::atomic::Ordering::Relaxed};

use jiff::{ToSpan as _, civil::Date};

use super::{
    bucket::Listing,
    lister::{ObjectLister, ListStep, ListTarget, Demand},
    layout,
    listing::objects,
    error::S3Error,
    objects::{DayFolder, S3Object, ListedObjects, s3_uri},
};
use crate::{event::ListingSummary, source::SourceEvent};

/// Objects of a closed day that may wait until it is listed whole; if more were added, all of it is read again.
const MAX_ADDED: usize = 10_000;

/// Pages that a part of a Region should have at least, if it is listed in parts.
const MIN_PAGES_PER_PART: i64 = 8;

/// Parts of a Region at most.
const MAX_PARTS: i64 = 64;

/// A part of what lies in the folder of a Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyRange {
    /// What all keys begin with: the Region's folder, or one below it.
    pub(super) prefix: String,
    /// Keys up to this one are left out.
    pub(super) after: Option<String>,
    /// Keys behind this one are left out.
    pub(super) until: Option<String>,
    /// Whether what earlier runs closed counts.
    pub(super) closed_days: ClosedDays,
}

/// Whether what earlier runs closed counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClosedDays {
    /// It does.
    Use,
    /// The day looks different now.
    Ignore,
}

/// The way through the days of one Region.
pub(super) struct DayLister<'a> {
    explorer: &'a ObjectLister,
    target: &'a ListTarget,
    range: &'a KeyRange,
    /// The Region's folder.
    region: &'a str,
    open: Option<OpenDay>,
    /// The first day that was come upon.
    first: Option<Date>,
    /// Objects of the open day that are not put yet.
    objects: Vec<S3Object>,
    next: &'a mut Vec<ListStep>,
}

/// The day in hand.
struct OpenDay {
    /// `None` for what lies beside the days.
    day: Option<Date>,
    /// What is to be said when it is over.
    over: Option<Arc<DayFolder>>,
    listed: ListingSummary,
    /// What it is compared with, if an earlier run closed it.
    closed: Option<ClosedDay>,
}

/// A day that an earlier run closed.
struct ClosedDay {
    /// The folder of the day, with its last slash.
    folder: String,
    /// What it looked like.
    before: ListingSummary,
    /// What of it is there now, without what is newer than all that was there.
    old: ListingSummary,
    /// Sizes of what is not newer.
    sizes: Vec<u64>,
    /// What is newer.
    added: Vec<S3Object>,
}

/// What became of a day that was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DayChange {
    /// Nothing, or it has lost objects: all that is there is done.
    Unchanged,
    /// Objects were added; all others are done.
    Added,
    /// It is not known which objects are new.
    Unknown,
}

impl ClosedDay {
    fn add(&mut self, object: S3Object) {
        if object.modified <= self.before.newest {
            self.old.add(object.hash(), object.modified);
            self.sizes.push(object.size);
        } else {
            self.added.push(object);
        }
    }

    fn change(&self, now: ListingSummary) -> DayChange {
        if now == self.before {
            return DayChange::Unchanged;
        }
        if self.added.is_empty() {
            // Whoever puts or replaces an object makes it newer. A copy may keep its time: then there are not fewer.
            let lost_only = self.before.newest > 0 && now.inputs < self.before.inputs;
            return if lost_only { DayChange::Unchanged } else { DayChange::Unknown };
        }
        if self.old == self.before && self.added.len() <= MAX_ADDED {
            DayChange::Added
        } else {
            DayChange::Unknown
        }
    }
}

impl<'a> DayLister<'a> {
    pub(super) fn new(
        explorer: &'a ObjectLister,
        target: &'a ListTarget,
        range: &'a KeyRange,
        region: &'a str,
        next: &'a mut Vec<ListStep>,
    ) -> Self {
        Self { explorer, target, range, region, open: None, first: None, objects: Vec::new(), next }
    }

    /// Lists the range.
    pub(super) async fn run(mut self) -> Result<(), S3Error> {
        let KeyRange { prefix, after, until, .. } = self.range;
        let mut until = until.clone();
        let mut listing =
            Listing { prefix: prefix.clone(), after: after.clone(), ..Listing::default() };
        loop {
            let page = self.target.bucket.list(&listing).await?;
            for object in objects(&page) {
                let behind = until.as_ref().is_some_and(|until| object.key > *until);
                if behind || !self.on_object(object).await {
                    self.end_day().await;
                    return Ok(());
                }
            }
            if !self.flush().await {
                return Ok(());
            }
            if !listing.advance(&page)? {
                break;
            }
            if until.is_none() {
                until = Some(self.split());
            }
        }
        self.end_day().await;
        Ok(())
    }

    /// Leaves the later days to other steps, in parts, where the days are closed and many pages are to be expected:
    /// nothing has to be fetched of those, so they need not come one after the other. Returns where this part ends.
    fn split(&mut self) -> String {
        let bound = |day: Option<Date>| match day {
            Some(day) => layout::day_prefix(self.region, day),
            // What lies in the folder ends before this.
            None => format!("{}{}", self.range.prefix, char::MAX),
        };
        let closed = self.open.as_ref().filter(|open| open.closed.is_some());
        let last = closed.and_then(|open| open.day);
        let part_starts = self.first.zip(last).map(|(first, last)| {
            let filter = self.explorer.filter.last;
            part_starts(first, last, filter.unwrap_or(self.explorer.today))
        });
        let bounds = part_starts.unwrap_or_default();
        for (at, from) in bounds.iter().enumerate() {
            self.next.push(ListStep::Days(KeyRange {
                prefix: self.range.prefix.clone(),
                after: Some(bound(Some(*from))),
                until: Some(bound(bounds.get(at + 1).copied())),
                closed_days: self.range.closed_days,
            }));
        }
        bound(bounds.first().copied())
    }

    /// Takes the next object. Returns `false` if the rest is not asked for, or not wanted any more.
    async fn on_object(&mut self, object: S3Object) -> Demand {
        if object.key.ends_with('/') {
            return true;
        }
        let day = layout::day_of(&object.key, self.region);
        let date = day.map(|(date, _)| date);
        let filter = &self.explorer.filter;
        if let Some(date) = date
            && !filter.includes_day(date)
        {
            // Before the first day there is nothing, or little; behind the last one there is nothing for us.
            return filter.first.is_some_and(|first| date < first);
        }
        self.first = self.first.or(date);
        if self.open.as_ref().is_none_or(|open| open.day != date) {
            if !self.end_day().await {
                return false;
            }
            self.start_day(day, &object.key);
        }
        let foreign = self.target.belongs_to_other(&object.key);
        let Some(open) = &mut self.open else { return true };
        if open.closed.is_some() || open.over.is_some() {
            open.listed.add(object.hash(), object.modified);
        }
        match &mut open.closed {
            // Who lists it for another word reads it, or knows it to be done.
            Some(closed) => closed.add(object),
            None if foreign => DayFolder::mark_incomplete(open.over.as_ref()),
            None => self.objects.push(object),
        }
        true
    }

    fn start_day(&mut self, day: Option<(Date, usize)>, key: &str) {
        let Self { explorer, target, range, .. } = self;
        let date = day.map(|(date, _)| date);
        let folder = day
            // Where only a part of a day is listed, nobody knows about the rest of it.
            .filter(|(_, bytes)| range.prefix.len() <= *bytes)
            .and_then(|(_, bytes)| key.get(..bytes));
        let before = folder
            .filter(|_| range.closed_days == ClosedDays::Use)
            .and_then(|folder| explorer.closed(target, folder));
        let over = folder
            .filter(|_| before.is_none() && date.is_some_and(|date| date < explorer.closable_before))
            .map(|folder| DayFolder::new(&target.bucket.name, folder, 0));
        let closed = before.zip(folder).map(|(before, folder)| ClosedDay {
            folder: folder.to_owned(),
            before,
            old: ListingSummary::default(),
            sizes: Vec::new(),
            added: Vec::new(),
        });
        self.open = Some(OpenDay { day: date, over, listed: ListingSummary::default(), closed });
    }

    /// Puts what is in hand of the open day.
    async fn flush(&mut self) -> Demand {
        let Some(open) = &self.open else { return !self.explorer.listed.is_closed() };
        let objects = mem::take(&mut self.objects);
        let day = open.over.clone();
        self.explorer.send_listed(self.target, ListedObjects::new(self.target, day, objects)).await
    }

    /// Ends the open day: it is listed whole.
    async fn end_day(&mut self) -> Demand {
        if !self.flush().await {
            return false;
        }
        let Some(OpenDay { over, listed, closed, .. }) = self.open.take() else { return true };
        match closed {
            Some(closed) => self.compare_day(closed, listed).await,
            None => self.complete_day(over, listed).await,
        }
    }

    async fn complete_day(&mut self, over: Option<Arc<DayFolder>>, listed: ListingSummary) -> Demand {
        if let Some(day) = &over {
            day.listed(listed);
        }
        match DayFolder::release(over) {
            Some(over) => self.explorer.out.send((self.target.word, over)).await.is_ok(),
            None => true,
        }
    }

    /// Says what of a closed day is done, and hands on the rest.
    async fn compare_day(&mut self, closed: ClosedDay, listed: ListingSummary) -> Demand {
        self.target.has_findings.store(true, Relaxed);
        let change = closed.change(listed);
        let ClosedDay { folder, before, sizes, mut added, .. } = closed;
        if change == DayChange::Unknown {
            self.next.push(ListStep::Days(KeyRange {
                prefix: folder,
                after: None,
                until: None,
                closed_days: ClosedDays::Ignore,
            }));
            return true;
        }
        for size in sizes {
            let done = SourceEvent::AlreadyDone { size, touched: None };
            if self.explorer.out.send((self.target.word, done)).await.is_err() {
                return false;
            }
        }
        if added.is_empty() {
            return true;
        }
        let day = DayFolder::new(&self.target.bucket.name, &folder, before.inputs);
        let all = added.len();
        added.retain(|object| !self.target.belongs_to_other(&object.key));
        if added.len() < all {
            DayFolder::mark_incomplete(Some(&day));
        }
        let shelf = ListedObjects::new(self.target, Some(Arc::clone(&day)), added);
        self.explorer.send_listed(self.target, shelf).await && self.complete_day(Some(day), listed).await
    }
}

/// Returns on which days parts of a Region begin, behind the first part, if a page goes from one day to another and
/// all of it to an end.
fn part_starts(first: Date, last: Date, end: Date) -> Vec<Date> {
    let days = |from: Date, to: Date| i64::from((to - from).get_days());
    let (page, left) = (days(first, last).max(1), days(last, end));
    let part_starts = (left / page / MIN_PAGES_PER_PART).min(MAX_PARTS);
    let begins = (1..part_starts).map(|part| last.saturating_add((left * part / part_starts).days()));
    begins.collect()
}

impl ObjectLister {
    /// Returns what a day looked like when it was closed.
    fn closed(&self, target: &ListTarget, folder: &str) -> Option<ListingSummary> {
        let prefix = s3_uri(&target.bucket.name, folder);
        self.closed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)(&prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(objects: &[(u64, i64)]) -> ListingSummary {
        let mut listed = ListingSummary::default();
        for (hash, modified) in objects {
            listed.add(*hash, *modified);
        }
        listed
    }

    fn object() -> S3Object {
        S3Object::new(&aws_sdk_s3::types::Object::builder().build(), "x".to_owned())
    }

    /// Compares a day of two objects with what it is now.
    fn change(now: &[(u64, i64)]) -> DayChange {
        let before = listed(&[(10, 100), (20, 200)]);
        let (old, new): (Vec<_>, Vec<_>) = now.iter().partition(|(_, modified)| *modified <= 200);
        let closed = ClosedDay {
            folder: String::new(),
            before,
            old: listed(&old),
            sizes: Vec::new(),
            added: new.iter().map(|_| object()).collect(),
        };
        closed.change(listed(now))
    }

    #[test]
    fn long_times_are_listed_in_parts_of_several_pages() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        let from = day("2023-01-01");
        assert_eq!(part_starts(from, from, day("2023-01-15")), []);
        assert_eq!(part_starts(from, from, from - 9.days()), []);
        assert_eq!(part_starts(from, from, day("2023-01-17")), [day("2023-01-09")]);
        assert_eq!(part_starts(from, day("2023-01-04"), day("2023-02-01")), []);
        let many = part_starts(from, from, day("2033-01-01"));
        assert_eq!(many.len(), 63);
        assert!(many.is_sorted() && many[0] > from && many[62] < day("2033-01-01"));
    }

    #[test]
    fn what_is_new_in_a_closed_day_is_told_by_its_time_or_all_of_it_is_read() {
        for (now, expected) in [
            (&[(10, 100), (20, 200)][..], DayChange::Unchanged),
            (&[(20, 200), (10, 100)], DayChange::Unchanged),
            (&[(20, 200)], DayChange::Unchanged),
            (&[(10, 100), (20, 200), (30, 300)], DayChange::Added),
            // A copy that kept its time, one that was replaced, one that was added while another went.
            (&[(10, 100), (20, 200), (30, 150)], DayChange::Unknown),
            (&[(10, 100), (21, 300)], DayChange::Unknown),
            (&[(20, 200), (30, 300)], DayChange::Unknown),
            (&[(10, 100), (21, 200)], DayChange::Unknown),
        ] {
            assert_eq!(change(now), expected, "{now:?}");
        }
    }
}
