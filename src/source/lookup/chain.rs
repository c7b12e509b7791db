//! A slice that is being fetched: pages follow one another, newest first.
//!
//! In: answers. Out: which events belong to the slice, and since which second it is certain.
//! Holds: the token is a hint. Without it the chain goes on from the oldest second it has seen, that second
//! included, so that nothing at a page's edge is lost.
//! Absent on purpose: requests and time; a chain only says what to ask next.

use std::time::Duration;

use aws_sdk_cloudtrail::types::Event;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::ask::{Answer, Query, second};
use super::plan::{PAGE, Range};
use crate::source::Slice;

/// Times that a chain starts again at the same second before it gives up.
const RESTARTS: u32 = 5;

/// First wait after an answer that was none.
const FIRST_REST: Duration = Duration::from_millis(500);

/// What a sample claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// A slice of the usual length.
    Slice,
    /// All of a gap, to be shortened when the first page shows how dense events are.
    Gap,
}

/// A slice that is being fetched.
#[derive(Debug)]
pub(super) struct Chain {
    /// Which of the site's works it belongs to.
    pub(super) work: usize,
    /// What it fetches.
    pub(super) range: Range,
    /// The slice as it was announced.
    pub(super) slice: Option<Slice>,
    /// Pages handed over.
    pub(super) pages: u32,
    /// A request is under way.
    pub(super) flies: bool,
    /// Memory for the page that is under way.
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// Nothing is to be asked before that.
    pub(super) rests: Option<Instant>,
    /// What its first page is a sample of, for the estimate, until that came.
    pub(super) sample: Option<Sample>,
    /// The announced slice is longer than what is fetched: another chain does the rest.
    pub(super) shortened: bool,
    /// What is asked for: it may reach further back than what is fetched, because a token belongs to its bounds.
    ask: Range,
    token: Option<String>,
    /// Oldest second seen.
    oldest: Option<i64>,
    events: u64,
    /// Events a second in the last page.
    density: f64,
    restarts: u32,
    rested: u32,
}

/// What an answer brought.
#[derive(Debug)]
pub(super) struct Step {
    /// The events that belong to the slice.
    pub(super) events: Vec<Event>,
    /// Nothing is left to be asked for.
    pub(super) finished: bool,
    /// Seconds that became certain.
    pub(super) seconds_done: u64,
}

impl Chain {
    pub(super) fn new(work: usize, range: Range) -> Self {
        Self {
            work,
            range,
            slice: None,
            pages: 0,
            flies: false,
            room: None,
            rests: None,
            sample: None,
            shortened: false,
            ask: range,
            token: None,
            oldest: None,
            events: 0,
            density: 0.0,
            restarts: 0,
            rested: 0,
        }
    }

    /// Returns what to ask next.
    pub(super) fn query(&self) -> Query {
        Query { range: self.ask, token: self.token.clone() }
    }

    /// Returns whether the slice was announced.
    pub(super) fn slice_begun(&self) -> bool {
        self.slice.is_some()
    }

    /// Makes the slice to be announced.
    pub(super) fn begin(&mut self, series: &str, sure_until: i64) -> Slice {
        let Range { from, to } = self.range;
        let name = series.strip_prefix("lookup:").unwrap_or(series).to_owned();
        let key = format!("{series}/{from}-{to}");
        let slice = Slice { key, name, series: series.to_owned(), from, to, sure_until };
        self.slice = Some(slice.clone());
        slice
    }

    /// Returns key and number of the next page.
    pub(super) fn next_page(&mut self) -> (String, u32) {
        let key = self.slice.as_ref().map(|slice| slice.key.clone()).unwrap_or_default();
        self.pages += 1;
        (key, self.pages - 1)
    }

    /// Takes in an answer.
    pub(super) fn take(&mut self, answer: Answer) -> Step {
        let Answer { mut events, token } = answer;
        let before = self.certain_from();
        let oldest = events.iter().filter_map(second).min();
        let known = self.oldest;
        self.oldest = known.into_iter().chain(oldest).min();
        if self.oldest != known {
            self.restarts = 0;
        }
        self.rested = 0;
        self.density = density(&events);
        self.keep_own(&mut events);
        self.events += events.len() as u64;
        let beyond = self.oldest.is_some_and(|oldest| oldest < self.range.from);
        let finished = token.is_none() || beyond;
        self.token = token;
        let now = if finished { self.range.from } else { self.certain_from() };
        Step { events, finished, seconds_done: (before - now).max(0).unsigned_abs() }
    }

    /// Drops what the slice's neighbours bring.
    pub(super) fn keep_own(&self, events: &mut Vec<Event>) {
        let own = self.range.from..=self.range.to;
        events.retain(|event| second(event).is_none_or(|second| own.contains(&second)));
    }

    /// Returns how many pages are left if all is as dense as the last page was: rather too many than too few.
    pub(super) fn pages_left(&self) -> f64 {
        let seconds = u32::try_from(self.left().seconds()).unwrap_or(0);
        f64::from(seconds) * self.density / f64::from(PAGE)
    }

    /// Returns the first second that is certain now; the second behind the slice if none is.
    fn certain_from(&self) -> i64 {
        let (Range { from, to }, oldest) = (self.range, self.oldest);
        oldest.map_or(to + 1, |oldest| oldest.saturating_add(1)).clamp(from, to + 1)
    }

    /// Returns since when the slice is certain once all its pages are settled.
    pub(super) fn since(&self, finished: bool) -> Option<i64> {
        let since = if finished { self.range.from } else { self.certain_from() };
        (since <= self.range.to).then_some(since)
    }

    /// Returns what is not certain yet.
    pub(super) fn left(&self) -> Range {
        Range { from: self.range.from, to: self.certain_from() - 1 }
    }

    /// Returns what was looked at, and how many events are in it.
    pub(super) fn seen(&self) -> Option<(Range, u64)> {
        match (&self.token, self.oldest) {
            (None, _) => Some((self.range, self.events)),
            (Some(_), Some(oldest)) => {
                let from = oldest.clamp(self.range.from, self.range.to);
                Some((Range { from, to: self.range.to }, self.events))
            }
            (Some(_), None) => None,
        }
    }

    /// Leaves what is older than `from` to others; returns that.
    pub(super) fn shorten(&mut self, from: i64) -> Range {
        // What is certain already stays here.
        let from = from.min(self.certain_from()).clamp(self.range.from, self.range.to);
        let rest = Range { from: self.range.from, to: from - 1 };
        self.range.from = from;
        rest
    }

    /// Leaves the older half of what is left to another chain; returns that.
    pub(super) fn give_away_half(&mut self) -> Range {
        let left = self.left();
        self.shortened = true;
        self.shorten(left.from + left.seconds() / 2)
    }

    /// Forgets the token, and goes on from the oldest second seen. Returns that second if this did not help before.
    pub(super) fn restart(&mut self) -> Option<i64> {
        self.ask.to = self.oldest.unwrap_or(self.range.to).clamp(self.ask.from, self.ask.to);
        self.token = None;
        self.restarts += 1;
        (self.restarts > RESTARTS).then_some(self.ask.to)
    }

    /// Asks for nothing before `horizon` any more; returns whether that is a change.
    pub(super) fn clamp(&mut self, horizon: i64) -> bool {
        let changes = self.ask.from < horizon;
        // What is gone altogether is asked for by a second that is there and brings nothing.
        self.ask = Range { from: horizon, to: self.ask.to.max(horizon) };
        self.token = None;
        changes
    }

    /// Waits before the next request, each time for longer.
    pub(super) fn rest(&mut self, now: Instant, longest: Duration) {
        let ceiling = FIRST_REST.saturating_mul(1 << self.rested.min(16)).min(longest);
        self.rested += 1;
        self.rests = Some(now + ceiling.mul_f64(0.1 + 0.9 * fastrand::f64()));
    }
}

/// Returns how many events a second a page has.
fn density(events: &[Event]) -> f64 {
    let seconds = || events.iter().filter_map(second);
    let (Some(oldest), Some(newest)) = (seconds().min(), seconds().max()) else { return 0.0 };
    let count = u32::try_from(events.len()).unwrap_or(PAGE);
    f64::from(count) / f64::from(u32::try_from(newest - oldest + 1).unwrap_or(u32::MAX))
}
