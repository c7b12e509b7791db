//! The pagination state of one slice, from its newest page to its oldest.
//!
//! Input: responses. Output: the events that belong to the slice, and the second from which the slice is complete.
//! Invariant: `NextToken` is only a hint. Without it the cursor continues from the oldest second it has seen, that
//! second included, so that no event at a page boundary is lost.
//! Deliberately absent: requests and waiting.

use std::time::Duration;

use aws_sdk_cloudtrail::types::Event;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::plan::{MAX_PAGE_EVENTS, SecondRange, ceil_to_i64};
use super::request::{PageQuery, PageResponse, event_second};
use crate::{limit::Backoff, source::Slice};

/// Restarts at the same second before the cursor gives up.
const MAX_RESTARTS: u32 = 5;

/// Waits before a request is repeated.
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(30) };

/// The range claimed for a sample of the event density.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// A slice of the usual length.
    Slice,
    /// A whole gap, to be shortened once the first page shows the event density.
    Gap,
}

/// The pagination state of one slice.
#[derive(Debug)]
pub(super) struct SliceCursor {
    /// Index of the event category in the fetcher.
    pub(super) category: usize,
    /// The range to fetch.
    pub(super) range: SecondRange,
    /// The slice as it was announced to the pipeline.
    pub(super) slice: Option<Slice>,
    /// Pages sent to the pipeline.
    pub(super) pages: u32,
    /// Whether a request is in flight.
    pub(super) is_in_flight: bool,
    /// Memory reserved for the page in flight.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// No request is sent before this time.
    pub(super) backoff_until: Option<Instant>,
    /// Set until the first page has arrived, if that page is a sample for the estimate.
    pub(super) sample: Option<Sample>,
    /// Whether another cursor fetches the older part of the announced slice.
    pub(super) shortened: bool,
    /// The range of the request. It may start before `range`, because a token is valid only for the range it was
    /// issued for.
    query_range: SecondRange,
    token: Option<String>,
    /// Oldest second seen.
    oldest: Option<i64>,
    events: u64,
    /// Events per second in the last page.
    density: f64,
    restarts: u32,
    attempts: u32,
}

/// The result of applying a response.
#[derive(Debug)]
pub(super) struct PageOutcome {
    /// The events that belong to the slice.
    pub(super) events: Vec<Event>,
    /// Whether the slice is complete.
    pub(super) finished: bool,
    /// Seconds that became complete.
    pub(super) seconds_done: u64,
}

impl SliceCursor {
    pub(super) fn new(category: usize, range: SecondRange) -> Self {
        Self {
            category,
            range,
            slice: None,
            pages: 0,
            is_in_flight: false,
            permit: None,
            backoff_until: None,
            sample: None,
            shortened: false,
            query_range: range,
            token: None,
            oldest: None,
            events: 0,
            density: 0.0,
            restarts: 0,
            attempts: 0,
        }
    }

    /// Returns the next query.
    pub(super) fn query(&self) -> PageQuery {
        PageQuery { range: self.query_range, token: self.token.clone() }
    }

    /// Returns whether the slice was announced.
    pub(super) fn has_started(&self) -> bool {
        self.slice.is_some()
    }

    /// Creates the slice to announce.
    pub(super) fn start_slice(&mut self, series: &str, sure_until: i64) -> Slice {
        let SecondRange { from, to } = self.range;
        let name = series.strip_prefix("lookup:").unwrap_or(series).to_owned();
        let key = format!("{series}/{from}-{to}");
        let (series, complete_until) = (series.to_owned(), Some(sure_until));
        let slice = Slice { key, name, series, from, to, complete_until, result: None };
        self.slice = Some(slice.clone());
        slice
    }

    /// Returns the key and the number of the next page.
    pub(super) fn next_page(&mut self) -> (String, u32) {
        let key = self.slice.as_ref().map(|slice| slice.key.clone()).unwrap_or_default();
        self.pages += 1;
        (key, self.pages - 1)
    }

    /// Applies a response.
    pub(super) fn apply(&mut self, answer: PageResponse) -> PageOutcome {
        let PageResponse { mut events, token } = answer;
        let before = self.complete_from();
        let oldest = events.iter().filter_map(event_second).min();
        let known = self.oldest;
        self.oldest = known.into_iter().chain(oldest).min();
        if self.oldest != known {
            self.restarts = 0;
        }
        self.attempts = 0;
        self.density = density(&events);
        self.retain_own(&mut events);
        self.events += events.len() as u64;
        let beyond = self.oldest.is_some_and(|oldest| oldest < self.range.from);
        let finished = token.is_none() || beyond;
        self.token = token;
        let now = if finished { self.range.from } else { self.complete_from() };
        PageOutcome { events, finished, seconds_done: (before - now).max(0).unsigned_abs() }
    }

    /// Removes the events that belong to neighboring slices.
    pub(super) fn retain_own(&self, events: &mut Vec<Event>) {
        let own = self.range.from..=self.range.to;
        events.retain(|event| event_second(event).is_none_or(|second| own.contains(&second)));
    }

    /// Returns the expected number of remaining pages at the density of the last page; an overestimate in most cases.
    pub(super) fn expected_pages_left(&self) -> f64 {
        let seconds = u32::try_from(self.remaining().seconds()).unwrap_or(0);
        f64::from(seconds) * self.density / f64::from(MAX_PAGE_EVENTS)
    }

    /// Returns the first complete second, or the second after the slice if none is complete.
    fn complete_from(&self) -> i64 {
        let (SecondRange { from, to }, oldest) = (self.range, self.oldest);
        oldest.map_or(to + 1, |oldest| oldest.saturating_add(1)).clamp(from, to + 1)
    }

    /// Returns the second from which the slice is complete once all its pages are settled.
    pub(super) fn complete_since(&self, finished: bool) -> Option<i64> {
        let since = if finished { self.range.from } else { self.complete_from() };
        (since <= self.range.to).then_some(since)
    }

    /// Returns the range that is not complete yet.
    pub(super) fn remaining(&self) -> SecondRange {
        SecondRange { from: self.range.from, to: self.complete_from() - 1 }
    }

    /// Returns the range that was read, and the number of events in it.
    pub(super) fn seen(&self) -> Option<(SecondRange, u64)> {
        match (&self.token, self.oldest) {
            (None, _) => Some((self.range, self.events)),
            (Some(_), Some(oldest)) => {
                let from = oldest.clamp(self.range.from, self.range.to);
                Some((SecondRange { from, to: self.range.to }, self.events))
            }
            (Some(_), None) => None,
        }
    }

    /// Cedes the part before `from` and returns it.
    pub(super) fn cede_before(&mut self, from: i64) -> SecondRange {
        // The complete part is kept.
        let from = from.min(self.complete_from()).clamp(self.range.from, self.range.to);
        let rest = SecondRange { from: self.range.from, to: from - 1 };
        self.range.from = from;
        rest
    }

    /// Cedes the older half of the remaining range and returns it.
    pub(super) fn split_half(&mut self) -> SecondRange {
        let left = self.remaining();
        self.shortened = true;
        self.cede_before(left.from + left.seconds() / 2)
    }

    /// Returns the second down to which a response is complete for its query, which may reach beyond the slice.
    pub(super) fn reach(&self, response: &PageResponse) -> i64 {
        if response.token.is_none() {
            return self.query_range.from;
        }
        let oldest = response.events.iter().filter_map(event_second).min();
        oldest.map_or(i64::MAX, |oldest| oldest.saturating_add(1))
    }

    /// Returns the seconds that hold so many pages at the density of the last page; `None` if it is unknown.
    pub(super) fn seconds_of_pages(&self, pages: u32) -> Option<i64> {
        let events = f64::from(pages) * f64::from(MAX_PAGE_EVENTS);
        (self.density > 0.0).then(|| ceil_to_i64(events / self.density))
    }

    /// Gives up a second in which no progress is possible and continues with the one before it. Returns whether the
    /// slice is complete but for that second.
    pub(super) fn skip_second(&mut self, second: i64) -> bool {
        self.query_range.to = second - 1;
        self.token = None;
        self.oldest = Some(second - 1);
        self.restarts = 0;
        second <= self.range.from
    }

    /// Drops the token and continues from the oldest second seen. Returns that second if earlier restarts brought no
    /// progress.
    pub(super) fn restart(&mut self) -> Option<i64> {
        self.query_range.to =
            self.oldest.unwrap_or(self.range.to).clamp(self.query_range.from, self.query_range.to);
        self.token = None;
        self.restarts += 1;
        (self.restarts > MAX_RESTARTS).then_some(self.query_range.to)
    }

    /// Moves the start of the query to `horizon`; returns whether that changed the query.
    pub(super) fn clamp_to(&mut self, horizon: i64) -> bool {
        let changes = self.query_range.from < horizon;
        // An entirely expired range is replaced by one that is valid and empty.
        self.query_range = SecondRange { from: horizon, to: self.query_range.to.max(horizon) };
        self.token = None;
        changes
    }

    /// Delays the next request, with exponential backoff.
    pub(super) fn back_off(&mut self, now: Instant) {
        self.attempts += 1;
        self.backoff_until = Some(now + BACKOFF.delay(self.attempts));
    }
}

/// Returns the events per second of a page.
fn density(events: &[Event]) -> f64 {
    let seconds = || events.iter().filter_map(event_second);
    let (Some(oldest), Some(newest)) = (seconds().min(), seconds().max()) else { return 0.0 };
    let count = u32::try_from(events.len()).unwrap_or(MAX_PAGE_EVENTS);
    f64::from(count) / f64::from(u32::try_from(newest - oldest + 1).unwrap_or(u32::MAX))
}
