//! Lists the days of one Region and compares them with the days that an earlier run closed.
//!
//! Input: a range of keys. Output: listed objects, completed days, and days to list again.
//! Invariant: every object of the range is listed, also in closed days: a page of a thousand keys costs one request.
//! A closed day is done if its listing is unchanged or has only lost objects. Objects added later are loaded alone if
//! their times identify them; otherwise the whole day is loaded again.

use std::{
    mem,
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use jiff::{ToSpan as _, civil::Date};

use super::{
    bucket::Listing,
    error::S3Error,
    layout,
    list_step::{ClosedDays, KeyRange, ListStep, ListTarget},
    listing::objects,
    object_lister::ObjectLister,
    objects::{DayFolder, S3Object},
};
use crate::{event::ListingSummary, source::SourceEvent};

/// Maximum number of added objects that are held until a closed day is listed completely; beyond that the whole day
/// is loaded again.
const MAX_ADDED: usize = 10_000;

/// Minimum number of pages in a part of a Region that is listed in parts.
const MIN_PAGES_PER_PART: i64 = 8;

/// Maximum number of parts of a Region.
const MAX_PARTS: i64 = 64;

/// Lists the days of one Region.
pub(super) struct DayLister<'a> {
    lister: &'a ObjectLister,
    target: &'a ListTarget,
    range: &'a KeyRange,
    /// The Region's folder.
    region: &'a str,
    open: Option<OpenDay>,
    /// The first day found.
    first: Option<Date>,
    /// Objects of the open day that were not sent yet.
    objects: Vec<S3Object>,
    next: &'a mut Vec<ListStep>,
}

/// The day being listed.
struct OpenDay {
    /// `None` for objects outside of the days.
    day: Option<Date>,
    /// Reports when the day is complete.
    over: Option<Arc<DayFolder>>,
    listed: ListingSummary,
    /// The closed day to compare with, if an earlier run closed it.
    closed: Option<ClosedDay>,
}

/// A day that an earlier run closed.
struct ClosedDay {
    /// The folder of the day, with a trailing slash.
    folder: String,
    /// The listing when it was closed.
    before: ListingSummary,
    /// The current objects that are not newer than the closed listing.
    old: ListingSummary,
    /// Sizes of these objects.
    sizes: Vec<u64>,
    /// The objects that are newer.
    added: Vec<S3Object>,
}

/// How a closed day has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DayChange {
    /// It is unchanged, or has only lost objects.
    Unchanged,
    /// Objects were added.
    Added,
    /// The new objects cannot be identified.
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
            // Added and replaced objects have newer times. A copy may keep its time, but then the number of objects
            // does not decrease.
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
        lister: &'a ObjectLister,
        target: &'a ListTarget,
        range: &'a KeyRange,
        region: &'a str,
        next: &'a mut Vec<ListStep>,
    ) -> Self {
        Self { lister, target, range, region, open: None, first: None, objects: Vec::new(), next }
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
                if behind || self.on_object(object).await.is_break() {
                    // Nothing follows, so it does not matter whether the receiver is gone.
                    let _ = self.end_day().await;
                    return Ok(());
                }
            }
            if self.flush().await.is_break() {
                return Ok(());
            }
            if !listing.advance(&page)? {
                break;
            }
            if until.is_none() {
                until = Some(self.split());
            }
        }
        let _ = self.end_day().await;
        Ok(())
    }

    /// Splits off the later days into steps of their own, if the days are closed and many pages are expected: nothing
    /// is fetched of them, so their order does not matter. Returns the end of this part.
    fn split(&mut self) -> String {
        let bound = |day: Option<Date>| match day {
            Some(day) => layout::day_prefix(self.region, day),
            // Sorts after all keys of the folder.
            None => format!("{}{}", self.range.prefix, char::MAX),
        };
        let closed = self.open.as_ref().filter(|open| open.closed.is_some());
        let last = closed.and_then(|open| open.day);
        let part_starts = self.first.zip(last).map(|(first, last)| {
            let filter = self.lister.filter.last;
            part_starts(first, last, filter.unwrap_or(self.lister.today))
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

    /// Processes the next object. Returns `Break` if the remaining objects are not wanted, or the receiver is gone.
    async fn on_object(&mut self, object: S3Object) -> ControlFlow<()> {
        if object.key.ends_with('/') {
            return ControlFlow::Continue(());
        }
        let day = layout::day_of(&object.key, self.region);
        let date = day.map(|(date, _)| date);
        let filter = &self.lister.filter;
        if let Some(date) = date
            && !filter.includes_day(date)
        {
            // Days before the first one are skipped; the first day after the last one ends the listing.
            let is_before = filter.first.is_some_and(|first| date < first);
            return if is_before { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        }
        self.first = self.first.or(date);
        if self.open.as_ref().is_none_or(|open| open.day != date) {
            self.end_day().await?;
            self.start_day(day, &object.key);
        }
        let foreign = self.target.belongs_to_other(&object.key);
        let Some(open) = &mut self.open else { return ControlFlow::Continue(()) };
        if open.closed.is_some() || open.over.is_some() {
            open.listed.add(object.hash(), object.modified);
        }
        match &mut open.closed {
            // The target that it is listed for processes it.
            Some(closed) => closed.add(object),
            None if foreign => DayFolder::mark_incomplete(open.over.as_ref()),
            None => self.objects.push(object),
        }
        ControlFlow::Continue(())
    }

    fn start_day(&mut self, day: Option<(Date, usize)>, key: &str) {
        let Self { lister, target, range, .. } = self;
        let date = day.map(|(date, _)| date);
        let folder = day
            // A day that is listed only in part can be neither compared nor closed.
            .filter(|(_, bytes)| range.prefix.len() <= *bytes)
            .and_then(|(_, bytes)| key.get(..bytes));
        let before = folder
            .filter(|_| range.closed_days == ClosedDays::Use)
            .and_then(|folder| lister.closed(target, folder));
        let over = folder
            .filter(|_| before.is_none() && date.is_some_and(|date| date < lister.closable_before))
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

    /// Sends the pending objects of the open day.
    async fn flush(&mut self) -> ControlFlow<()> {
        let Some(open) = &self.open else { return self.lister.has_receiver() };
        let objects = mem::take(&mut self.objects);
        let day = open.over.clone();
        self.lister.send_listed(self.target, self.target.listed_objects(day, objects)).await
    }

    /// Ends the open day, which is listed completely.
    async fn end_day(&mut self) -> ControlFlow<()> {
        self.flush().await?;
        let Some(OpenDay { over, listed, closed, .. }) = self.open.take() else {
            return ControlFlow::Continue(());
        };
        match closed {
            Some(closed) => self.compare_day(closed, listed).await,
            None => self.complete_day(over, listed).await,
        }
    }

    async fn complete_day(
        &mut self,
        over: Option<Arc<DayFolder>>,
        listed: ListingSummary,
    ) -> ControlFlow<()> {
        if let Some(day) = &over {
            day.listed(listed);
        }
        match DayFolder::release(over) {
            Some(over) => self.lister.send_event(self.target, over).await,
            None => ControlFlow::Continue(()),
        }
    }

    /// Reports the objects of a closed day as done, and sends the added ones.
    async fn compare_day(&mut self, closed: ClosedDay, listed: ListingSummary) -> ControlFlow<()> {
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
            return ControlFlow::Continue(());
        }
        for size in sizes {
            let done = SourceEvent::AlreadyDone { size, touched: None, is_foreign: false };
            self.lister.send_event(self.target, done).await?;
        }
        if added.is_empty() {
            return ControlFlow::Continue(());
        }
        let day = DayFolder::new(&self.target.bucket.name, &folder, before.inputs);
        let all = added.len();
        added.retain(|object| !self.target.belongs_to_other(&object.key));
        if added.len() < all {
            DayFolder::mark_incomplete(Some(&day));
        }
        let batch = self.target.listed_objects(Some(Arc::clone(&day)), added);
        self.lister.send_listed(self.target, batch).await?;
        self.complete_day(Some(day), listed).await
    }
}

/// Returns the first day of each further part of a Region, if one page covers `first` to `last` and all pages end at
/// `end`.
fn part_starts(first: Date, last: Date, end: Date) -> Vec<Date> {
    let days = |from: Date, to: Date| i64::from((to - from).get_days());
    let (page, left) = (days(first, last).max(1), days(last, end));
    let part_starts = (left / page / MIN_PAGES_PER_PART).min(MAX_PARTS);
    let begins =
        (1..part_starts).map(|part| last.saturating_add((left * part / part_starts).days()));
    begins.collect()
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

    /// Compares a day of two objects with its current listing.
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
            // A copy with an old time, a replaced object, an added object while another one was deleted.
            (&[(10, 100), (20, 200), (30, 150)], DayChange::Unknown),
            (&[(10, 100), (21, 300)], DayChange::Unknown),
            (&[(20, 200), (30, 300)], DayChange::Unknown),
            (&[(10, 100), (21, 200)], DayChange::Unknown),
        ] {
            assert_eq!(change(now), expected, "{now:?}");
        }
    }
}
