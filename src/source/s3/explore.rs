//! Finds the objects: from an address down to the days, and through the days.
//!
//! In: addresses. Out: shelves of objects, for the sieve.
//! Holds: what is not asked for is not listed, where the layout tells; a day that was closed is jumped over if
//! that saves a page; a folder that is refused never stops the others.
//! Absent on purpose: what is done (see `sieve`). There is no "last key": late files sort anywhere.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use aws_sdk_s3::{operation::list_objects_v2::ListObjectsV2Output, types::EncodingType};
use jiff::civil::Date;
use tokio::{sync::mpsc::Sender, task::JoinSet};

use super::{
    Closed,
    address::Address,
    bucket::{Bucket, Listing},
    layout::{self, Level, Narrow, Place},
    refusal::{Reach, Refusal},
    shelf::{Day, Object, Shelf, named},
};
use crate::source::{Error, Found};

/// Folders that are listed at once; each holds a page of a thousand keys in memory.
const STEPS_AT_ONCE: usize = 16;

/// Folders above `AWSLogs/` that are looked into, for all that a bucket holds: some seconds.
const SEARCHED: usize = 500;

/// How deep `AWSLogs/` is searched for: prefixes of trails have few parts.
const DEEPEST: usize = 4;

/// Inputs of closed days that are jumped over rather than listed: a page of them costs as much as the jump.
const JUMPED: u64 = 1_000;

/// An address, on its way.
pub(super) struct Target {
    pub(super) word: usize,
    pub(super) address: Address,
    pub(super) bucket: Arc<Bucket>,
    /// Whether anything was found, or refused, that there is no need to say that nothing was.
    seen: AtomicBool,
}

impl Target {
    pub(super) fn new(word: usize, address: Address, bucket: Arc<Bucket>) -> Arc<Self> {
        Arc::new(Self { word, address, bucket, seen: AtomicBool::new(false) })
    }
}

/// What is to be looked at next.
#[derive(Debug)]
enum Step {
    /// An object, or a folder without its slash.
    Named(String),
    /// A folder, at any level.
    Folder(String),
    /// A folder of files in no order that we know.
    Flat(String),
}

impl Step {
    fn prefix(&self) -> &str {
        let (Self::Named(prefix) | Self::Folder(prefix) | Self::Flat(prefix)) = self;
        prefix
    }
}

/// Finds objects.
pub(super) struct Explorer {
    pub(super) narrow: Narrow,
    /// Days before this one may be closed.
    pub(super) late: Date,
    /// What earlier runs closed; nothing if all is read again.
    pub(super) closed: Mutex<Closed>,
    pub(super) shelves: Sender<Shelf>,
    pub(super) out: Sender<(usize, Found)>,
}

/// Whether somebody still wants what is found.
type Wanted = bool;

impl Explorer {
    /// Goes through all targets.
    pub(super) async fn run(self: Arc<Self>, targets: Vec<Arc<Target>>) {
        let start = |target: &Arc<Target>| {
            let prefix = target.address.prefix.clone();
            let folder = prefix.is_empty() || prefix.ends_with('/');
            (Arc::clone(target), if folder { Step::Folder(prefix) } else { Step::Named(prefix) })
        };
        let mut waiting: Vec<_> = targets.iter().rev().map(start).collect();
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < STEPS_AT_ONCE
                && let Some((target, step)) = waiting.pop()
            {
                tasks.spawn(Arc::clone(&self).take(target, step));
            }
            let Some(ended) = tasks.join_next().await else { break };
            if let Some((target, steps)) = super::ended(ended) {
                // The last one is taken first.
                waiting.extend(steps.into_iter().rev().map(|step| (Arc::clone(&target), step)));
            }
        }
        for target in targets {
            self.say_if_empty(&target).await;
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
            Level::Outside => self.search(target, prefix, next).await,
            Level::Days => self.days(target, prefix, place.region_of(prefix)).await,
            _ => self.children(target, prefix, next).await,
        }
    }

    /// Goes into those folders of a folder that may hold what is asked for.
    async fn children(
        &self,
        target: &Target,
        prefix: &str,
        next: &mut Vec<Step>,
    ) -> Result<(), Refusal> {
        for child in folders(&target.bucket, prefix).await? {
            if self.narrow.takes(&Place::of(&child)) {
                next.push(Step::Folder(child));
            }
        }
        Ok(())
    }

    /// Searches for `AWSLogs/`, level by level, and one level further than where it was found.
    async fn search(
        &self,
        target: &Target,
        prefix: &str,
        next: &mut Vec<Step>,
    ) -> Result<(), Refusal> {
        let mut waiting = VecDeque::from([(0, prefix.to_owned())]);
        let (mut searched, mut deepest) = (0, DEEPEST);
        while let Some((depth, folder)) = waiting.pop_front() {
            if depth > deepest {
                break;
            }
            if searched == SEARCHED {
                let why = format!(
                    "AWSLogs/ was searched for in the first {SEARCHED} folders only; name the trail's prefix"
                );
                let name = target.address.to_string();
                let _ = self.out.send((target.word, Found::Skipped { name, why })).await;
                break;
            }
            searched += 1;
            let children = match folders(&target.bucket, &folder).await {
                // A policy may allow no more than the logs.
                Err(refusal) if depth == 0 && refusal.missing.is_some() => {
                    next.push(Step::Folder(format!("{folder}{}/", layout::LOGS)));
                    return Ok(());
                }
                Err(refusal) if refusal.missing.is_some() => {
                    self.refused(target, &folder, refusal).await;
                    continue;
                }
                children => children?,
            };
            for child in children {
                if Place::of(&child).level == Level::Outside {
                    waiting.push_back((depth + 1, child));
                } else {
                    deepest = deepest.min(depth + 1);
                    next.push(Step::Folder(child));
                }
            }
        }
        if next.is_empty() {
            if prefix.is_empty() {
                let why = "there is no AWSLogs/ in it; name the folder that holds the logs";
                return Err(Refusal::absent(why.to_owned()));
            }
            next.push(Step::Flat(prefix.to_owned()));
        }
        Ok(())
    }

    /// Lists all logs below a folder, however they lie.
    async fn flat(&self, target: &Target, prefix: &str) -> Result<(), Refusal> {
        let mut listing = Listing { prefix: prefix.to_owned(), ..Listing::default() };
        loop {
            let page = target.bucket.list(&listing).await?;
            let wanted = |object: &Object| {
                let folder = object.key.rfind('/').map_or("", |slash| &object.key[..=slash]);
                layout::is_log(&object.key)
                    && self.narrow.takes(&Place::of(folder))
                    && self.narrow.takes_name(&object.key)
            };
            let found: Vec<_> = objects(&page).filter(wanted).collect();
            if !self.put(target, found).await || !listing.goes_on(&page)? {
                return Ok(());
            }
        }
    }

    /// Lists the days of a Region, or some of them.
    async fn days(&self, target: &Target, prefix: &str, region: &str) -> Result<(), Refusal> {
        let mut listing = Listing { prefix: prefix.to_owned(), ..Listing::default() };
        let mut walk = Walk {
            explorer: self,
            target,
            listed: prefix,
            region,
            open: None,
            objects: Vec::new(),
        };
        if let Some(first) = self.narrow.first {
            let jump = walk.jump(first);
            listing.after = Some(jump.unwrap_or_else(|| layout::before_day(region, first)));
        }
        loop {
            let page = target.bucket.list(&listing).await?;
            for object in objects(&page) {
                if !walk.take(object).await {
                    return Ok(());
                }
            }
            if !walk.put().await {
                return Ok(());
            }
            if !listing.goes_on(&page)? {
                break;
            }
            if let Some(jump) = walk.jump_on() {
                (listing.token, listing.after) = (None, Some(jump));
            }
        }
        walk.end().await;
        Ok(())
    }

    /// Puts objects that lie in no day that we know.
    async fn put(&self, target: &Target, objects: Vec<Object>) -> Wanted {
        self.put_shelf(target, None, Standing::Open, objects).await
    }

    async fn put_shelf(
        &self,
        target: &Target,
        day: Option<Arc<Day>>,
        standing: Standing,
        objects: Vec<Object>,
    ) -> Wanted {
        if objects.is_empty() {
            return !self.shelves.is_closed();
        }
        target.seen.store(true, Relaxed);
        let bucket = Arc::clone(&target.bucket);
        let closed = standing == Standing::Closed;
        let shelf = Shelf { word: target.word, bucket, day, closed, objects };
        self.shelves.send(shelf).await.is_ok()
    }

    /// Returns how many inputs a day had when it was closed.
    fn closed(&self, target: &Target, region: &str, day: Date) -> Option<u64> {
        if day >= self.late {
            return None;
        }
        let prefix = named(&target.bucket.name, &layout::before_day(region, day)) + "/";
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)(&prefix)
    }
}

/// Whether a day was closed by an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    Closed,
}

/// The way through the days of one Region.
struct Walk<'a> {
    explorer: &'a Explorer,
    target: &'a Target,
    /// What all keys begin with: the Region's folder, or one below it.
    listed: &'a str,
    region: &'a str,
    open: Option<Open>,
    /// Objects of the open day that are not put yet.
    objects: Vec<Object>,
}

/// The day in hand.
struct Open {
    /// `None` for what lies beside the days.
    day: Option<Date>,
    standing: Standing,
    /// What is to be said when it is over.
    over: Option<Arc<Day>>,
    inputs: u64,
}

impl Walk<'_> {
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
            let before = narrow.first.is_some_and(|first| date < first);
            if !before {
                self.end().await;
            }
            return before;
        }
        if self.open.as_ref().is_none_or(|open| open.day != date) {
            if !self.end().await {
                return false;
            }
            self.begin(day, &object.key);
        }
        if let Some(open) = &mut self.open {
            open.inputs += 1;
        }
        self.objects.push(object);
        true
    }

    fn begin(&mut self, day: Option<(Date, usize)>, key: &str) {
        let Self { explorer, target, region, listed, .. } = self;
        let date = day.map(|(date, _)| date);
        let closed = date.and_then(|date| explorer.closed(target, region, date));
        let standing = if closed.is_some() { Standing::Closed } else { Standing::Open };
        let over = day
            // Where only a part of a day is listed, nobody knows about the rest of it.
            .filter(|(_, bytes)| listed.len() <= *bytes)
            .filter(|(date, _)| *date < explorer.late && closed.is_none())
            .and_then(|(_, bytes)| key.get(..bytes))
            .map(|prefix| Day::new(&target.bucket.name, prefix));
        self.open = Some(Open { day: date, standing, over, inputs: 0 });
    }

    /// Puts what is in hand of the open day.
    async fn put(&mut self) -> Wanted {
        let Some(open) = &self.open else { return true };
        let objects = mem::take(&mut self.objects);
        let (over, standing) = (open.over.clone(), open.standing);
        self.explorer.put_shelf(self.target, over, standing, objects).await
    }

    /// Ends the open day: it is listed whole.
    async fn end(&mut self) -> Wanted {
        if !self.put().await {
            return false;
        }
        let Some(Open { over, inputs, .. }) = self.open.take() else { return true };
        if let Some(day) = &over {
            day.listed(inputs);
        }
        match Day::leave(over) {
            Some(over) => self.explorer.out.send((self.target.word, over)).await.is_ok(),
            None => true,
        }
    }

    /// Returns where to go on if the open day and enough days behind it are closed.
    fn jump_on(&self) -> Option<String> {
        let open = self.open.as_ref().filter(|open| open.standing == Standing::Closed)?;
        self.jump(open.day?)
    }

    /// Returns where to go on if a day and those behind it are closed, and hold more than a page.
    fn jump(&self, from: Date) -> Option<String> {
        let closed = |day| self.explorer.closed(self.target, self.region, day);
        let mut inputs = closed(from)?;
        let mut last = from;
        while let Ok(day) = last.tomorrow()
            && let Some(more) = closed(day)
        {
            inputs += more;
            last = day;
        }
        if inputs < JUMPED {
            return None;
        }
        self.target.seen.store(true, Relaxed);
        Some(layout::behind_day(self.region, last))
    }
}

/// A list says that there is more, and not how to get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stuck;

impl From<Stuck> for Refusal {
    fn from(_: Stuck) -> Self {
        let why = "the list breaks off: the service says that there is more, and not how to get it";
        Self::absent(why.to_owned())
    }
}

impl Listing {
    /// Turns to the next page, if there is one.
    ///
    /// A page that leaves out how to go on, or goes on with itself, would lose what is behind it, or never end.
    fn goes_on(&mut self, page: &ListObjectsV2Output) -> Result<bool, Stuck> {
        let next = page.next_continuation_token.clone().filter(|token| !token.is_empty());
        let stuck = match &next {
            Some(_) => next == self.token,
            None => page.is_truncated == Some(true),
        };
        if stuck {
            return Err(Stuck);
        }
        self.token = next;
        Ok(self.token.is_some())
    }
}

/// Returns the folders of a folder, with their slashes.
async fn folders(bucket: &Bucket, prefix: &str) -> Result<Vec<String>, Refusal> {
    let mut listing = Listing { prefix: prefix.to_owned(), folders: true, ..Listing::default() };
    let mut folders = Vec::new();
    loop {
        let page = bucket.list(&listing).await?;
        let named = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
        folders.extend(named.map(|folder| plain(&page, folder)));
        if !listing.goes_on(&page)? {
            return Ok(folders);
        }
    }
}

/// Returns the objects of a page, in the order of their keys.
fn objects(page: &ListObjectsV2Output) -> impl Iterator<Item = Object> {
    let listed = page.contents().iter();
    listed.filter_map(|object| Some(Object::new(object, plain(page, object.key()?))))
}

/// Returns a key as it is. Asked to, services encode keys, because XML cannot hold all of them; some do not.
fn plain(page: &ListObjectsV2Output, key: &str) -> String {
    let encoded = page.encoding_type == Some(EncodingType::Url);
    if !encoded || !key.contains(['%', '+']) {
        return key.to_owned();
    }
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (first, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_leaves_out_how_to_go_on_is_not_at_its_end() {
        let page = |truncated, token: Option<&str>| {
            let page = ListObjectsV2Output::builder().is_truncated(truncated);
            page.set_next_continuation_token(token.map(str::to_owned)).build()
        };
        let mut listing = Listing::default();
        assert_eq!(listing.goes_on(&page(true, Some("a"))), Ok(true));
        assert_eq!(listing.goes_on(&page(true, Some("a"))), Err(Stuck), "for ever");
        assert_eq!(listing.goes_on(&page(true, Some("b"))), Ok(true));
        assert_eq!(listing.goes_on(&page(true, Some(""))), Err(Stuck));
        assert_eq!(listing.goes_on(&page(true, None)), Err(Stuck));
        assert_eq!(listing.goes_on(&page(false, None)), Ok(false));
    }
}
