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
    explore::{Explorer, Step, Target, Wanted},
    layout,
    listing::objects,
    refusal::Refusal,
    shelf::{Day, Object, Shelf, named},
};
use crate::{event::Listed, source::Found};

/// Objects of a closed day that may wait until it is listed whole; if more were added, all of it is read again.
const ADDED_MOST: usize = 10_000;

/// Pages that a part of a Region should have at least, if it is listed in parts.
const PAGES_A_PART: i64 = 8;

/// Parts of a Region at most.
const MOST_PARTS: i64 = 64;

/// A part of what lies in the folder of a Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// What all keys begin with: the Region's folder, or one below it.
    pub(super) prefix: String,
    /// Keys up to this one are left out.
    pub(super) after: Option<String>,
    /// Keys behind this one are left out.
    pub(super) until: Option<String>,
    /// Whether what earlier runs closed counts.
    pub(super) memory: Memory,
}

/// Whether what earlier runs closed counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// It does.
    Counts,
    /// The day looks different now.
    Outdated,
}

/// The way through the days of one Region.
pub(super) struct Walk<'a> {
    explorer: &'a Explorer,
    target: &'a Target,
    range: &'a Range,
    /// The Region's folder.
    region: &'a str,
    open: Option<Open>,
    /// The first day that was come upon.
    first: Option<Date>,
    /// Objects of the open day that are not put yet.
    objects: Vec<Object>,
    next: &'a mut Vec<Step>,
}

/// The day in hand.
struct Open {
    /// `None` for what lies beside the days.
    day: Option<Date>,
    /// What is to be said when it is over.
    over: Option<Arc<Day>>,
    listed: Listed,
    /// What it is compared with, if an earlier run closed it.
    compared: Option<Compared>,
}

/// A day that an earlier run closed.
struct Compared {
    /// The folder of the day, with its last slash.
    folder: String,
    /// What it looked like.
    before: Listed,
    /// What of it is there now, without what is newer than all that was there.
    old: Listed,
    /// Sizes of what is not newer.
    sizes: Vec<u64>,
    /// What is newer.
    added: Vec<Object>,
}

/// What became of a day that was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// Nothing, or it has lost objects: all that is there is done.
    Same,
    /// Objects were added; all others are done.
    Added,
    /// It is not known which objects are new.
    Other,
}

impl Compared {
    fn take(&mut self, object: Object) {
        if object.modified <= self.before.newest {
            self.old.add(object.hash(), object.modified);
            self.sizes.push(object.size);
        } else {
            self.added.push(object);
        }
    }

    fn since(&self, now: Listed) -> Since {
        if now == self.before {
            return Since::Same;
        }
        if self.added.is_empty() {
            // Whoever puts or replaces an object makes it newer. A copy may keep its time: then there are not fewer.
            let lost_only = self.before.newest > 0 && now.inputs < self.before.inputs;
            return if lost_only { Since::Same } else { Since::Other };
        }
        if self.old == self.before && self.added.len() <= ADDED_MOST {
            Since::Added
        } else {
            Since::Other
        }
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        explorer: &'a Explorer,
        target: &'a Target,
        range: &'a Range,
        region: &'a str,
        next: &'a mut Vec<Step>,
    ) -> Self {
        Self { explorer, target, range, region, open: None, first: None, objects: Vec::new(), next }
    }

    /// Lists the range.
    pub(super) async fn run(mut self) -> Result<(), Refusal> {
        let Range { prefix, after, until, .. } = self.range;
        let mut until = until.clone();
        let mut listing =
            Listing { prefix: prefix.clone(), after: after.clone(), ..Listing::default() };
        loop {
            let page = self.target.bucket.list(&listing).await?;
            for object in objects(&page) {
                let behind = until.as_ref().is_some_and(|until| object.key > *until);
                if behind || !self.take(object).await {
                    self.end().await;
                    return Ok(());
                }
            }
            if !self.put().await {
                return Ok(());
            }
            if !listing.goes_on(&page)? {
                break;
            }
            if until.is_none() {
                until = Some(self.split());
            }
        }
        self.end().await;
        Ok(())
    }

    /// Leaves the later days to other steps, in parts, where the days are closed and many pages are to be expected:
    /// nothing has to be fetched of those, so they need not come one after the other. Returns where this part ends.
    fn split(&mut self) -> String {
        let bound = |day: Option<Date>| match day {
            Some(day) => layout::before_day(self.region, day),
            // What lies in the folder ends before this.
            None => format!("{}{}", self.range.prefix, char::MAX),
        };
        let closed = self.open.as_ref().filter(|open| open.compared.is_some());
        let last = closed.and_then(|open| open.day);
        let parts = self.first.zip(last).map(|(first, last)| {
            let narrow = self.explorer.narrow.last;
            parts(first, last, narrow.unwrap_or(self.explorer.today))
        });
        let bounds = parts.unwrap_or_default();
        for (at, from) in bounds.iter().enumerate() {
            self.next.push(Step::Days(Range {
                prefix: self.range.prefix.clone(),
                after: Some(bound(Some(*from))),
                until: Some(bound(bounds.get(at + 1).copied())),
                memory: self.range.memory,
            }));
        }
        bound(bounds.first().copied())
    }

    /// Takes the next object. Returns `false` if the rest is not asked for, or not wanted any more.
    async fn take(&mut self, object: Object) -> Wanted {
        if object.key.ends_with('/') {
            return true;
        }
        let day = layout::day_of(&object.key, self.region);
        let date = day.map(|(date, _)| date);
        let narrow = &self.explorer.narrow;
        if let Some(date) = date
            && !narrow.takes_day(date)
        {
            // Before the first day there is nothing, or little; behind the last one there is nothing for us.
            return narrow.first.is_some_and(|first| date < first);
        }
        self.first = self.first.or(date);
        if self.open.as_ref().is_none_or(|open| open.day != date) {
            if !self.end().await {
                return false;
            }
            self.begin(day, &object.key);
        }
        let foreign = self.target.leaves(&object.key);
        let Some(open) = &mut self.open else { return true };
        if open.compared.is_some() || open.over.is_some() {
            open.listed.add(object.hash(), object.modified);
        }
        match &mut open.compared {
            // Who lists it for another word reads it, or knows it to be done.
            Some(compared) => compared.take(object),
            None if foreign => Day::spoil(open.over.as_ref()),
            None => self.objects.push(object),
        }
        true
    }

    fn begin(&mut self, day: Option<(Date, usize)>, key: &str) {
        let Self { explorer, target, range, .. } = self;
        let date = day.map(|(date, _)| date);
        let folder = day
            // Where only a part of a day is listed, nobody knows about the rest of it.
            .filter(|(_, bytes)| range.prefix.len() <= *bytes)
            .and_then(|(_, bytes)| key.get(..bytes));
        let before = folder
            .filter(|_| range.memory == Memory::Counts)
            .and_then(|folder| explorer.closed(target, folder));
        let over = folder
            .filter(|_| before.is_none() && date.is_some_and(|date| date < explorer.late))
            .map(|folder| Day::new(&target.bucket.name, folder, 0));
        let compared = before.zip(folder).map(|(before, folder)| Compared {
            folder: folder.to_owned(),
            before,
            old: Listed::default(),
            sizes: Vec::new(),
            added: Vec::new(),
        });
        self.open = Some(Open { day: date, over, listed: Listed::default(), compared });
    }

    /// Puts what is in hand of the open day.
    async fn put(&mut self) -> Wanted {
        let Some(open) = &self.open else { return !self.explorer.shelves.is_closed() };
        let objects = mem::take(&mut self.objects);
        let day = open.over.clone();
        self.explorer.put_shelf(self.target, Shelf::of(self.target, day, objects)).await
    }

    /// Ends the open day: it is listed whole.
    async fn end(&mut self) -> Wanted {
        if !self.put().await {
            return false;
        }
        let Some(Open { over, listed, compared, .. }) = self.open.take() else { return true };
        match compared {
            Some(compared) => self.compare(compared, listed).await,
            None => self.over(over, listed).await,
        }
    }

    async fn over(&mut self, over: Option<Arc<Day>>, listed: Listed) -> Wanted {
        if let Some(day) = &over {
            day.listed(listed);
        }
        match Day::leave(over) {
            Some(over) => self.explorer.out.send((self.target.word, over)).await.is_ok(),
            None => true,
        }
    }

    /// Says what of a closed day is done, and hands on the rest.
    async fn compare(&mut self, compared: Compared, listed: Listed) -> Wanted {
        self.target.seen.store(true, Relaxed);
        let since = compared.since(listed);
        let Compared { folder, before, sizes, mut added, .. } = compared;
        if since == Since::Other {
            self.next.push(Step::Days(Range {
                prefix: folder,
                after: None,
                until: None,
                memory: Memory::Outdated,
            }));
            return true;
        }
        for size in sizes {
            let done = Found::Done { size, touched: None };
            if self.explorer.out.send((self.target.word, done)).await.is_err() {
                return false;
            }
        }
        if added.is_empty() {
            return true;
        }
        let day = Day::new(&self.target.bucket.name, &folder, before.inputs);
        let all = added.len();
        added.retain(|object| !self.target.leaves(&object.key));
        if added.len() < all {
            Day::spoil(Some(&day));
        }
        let shelf = Shelf::of(self.target, Some(Arc::clone(&day)), added);
        self.explorer.put_shelf(self.target, shelf).await && self.over(Some(day), listed).await
    }
}

/// Returns on which days parts of a Region begin, behind the first part, if a page goes from one day to another and
/// all of it to an end.
fn parts(first: Date, last: Date, end: Date) -> Vec<Date> {
    let days = |from: Date, to: Date| i64::from((to - from).get_days());
    let (page, left) = (days(first, last).max(1), days(last, end));
    let parts = (left / page / PAGES_A_PART).min(MOST_PARTS);
    let begins = (1..parts).map(|part| last.saturating_add((left * part / parts).days()));
    begins.collect()
}

impl Explorer {
    /// Returns what a day looked like when it was closed.
    fn closed(&self, target: &Target, folder: &str) -> Option<Listed> {
        let prefix = named(&target.bucket.name, folder);
        self.closed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)(&prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(objects: &[(u64, i64)]) -> Listed {
        let mut listed = Listed::default();
        for (hash, modified) in objects {
            listed.add(*hash, *modified);
        }
        listed
    }

    fn object() -> Object {
        Object::new(&aws_sdk_s3::types::Object::builder().build(), "x".to_owned())
    }

    /// Compares a day of two objects with what it is now.
    fn since(now: &[(u64, i64)]) -> Since {
        let before = listed(&[(10, 100), (20, 200)]);
        let (old, new): (Vec<_>, Vec<_>) = now.iter().partition(|(_, modified)| *modified <= 200);
        let compared = Compared {
            folder: String::new(),
            before,
            old: listed(&old),
            sizes: Vec::new(),
            added: new.iter().map(|_| object()).collect(),
        };
        compared.since(listed(now))
    }

    #[test]
    fn long_times_are_listed_in_parts_of_several_pages() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        let from = day("2023-01-01");
        assert_eq!(parts(from, from, day("2023-01-15")), []);
        assert_eq!(parts(from, from, from - 9.days()), []);
        assert_eq!(parts(from, from, day("2023-01-17")), [day("2023-01-09")]);
        assert_eq!(parts(from, day("2023-01-04"), day("2023-02-01")), []);
        let many = parts(from, from, day("2033-01-01"));
        assert_eq!(many.len(), 63);
        assert!(many.is_sorted() && many[0] > from && many[62] < day("2033-01-01"));
    }

    #[test]
    fn what_is_new_in_a_closed_day_is_told_by_its_time_or_all_of_it_is_read() {
        for (now, expected) in [
            (&[(10, 100), (20, 200)][..], Since::Same),
            (&[(20, 200), (10, 100)], Since::Same),
            (&[(20, 200)], Since::Same),
            (&[(10, 100), (20, 200), (30, 300)], Since::Added),
            // A copy that kept its time, one that was replaced, one that was added while another went.
            (&[(10, 100), (20, 200), (30, 150)], Since::Other),
            (&[(10, 100), (21, 300)], Since::Other),
            (&[(20, 200), (30, 300)], Since::Other),
            (&[(10, 100), (21, 200)], Since::Other),
        ] {
            assert_eq!(since(now), expected, "{now:?}");
        }
    }
}
