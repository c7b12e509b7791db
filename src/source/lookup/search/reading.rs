//! One reading of a time range, newest event first, by as many chains of pages as the latency requires.
//!
//! Input: the responses of requests. Output: the next request, and the pages in order.
//! Invariant: the chains divide the range without a gap, newest first. Pages are delivered in the order of one single
//! chain: those of an older part are held back until all newer ones are delivered. No event is delivered twice, also if
//! a page token is refused and the chain continues from the oldest second it has seen.
//! Deliberately absent: requests, waiting, and the quota (see `region`).

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::time::Duration;

use aws_sdk_cloudtrail::types::Event;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::super::cursor::{PageOutcome, SliceCursor};
use super::super::plan::SecondRange;
use super::super::request::{PageResponse, event_second};
use super::event_key::{EventKey, event_key};

/// Pages that a chain keeps when an older part of its range is split off. A chain ends with half a page on average that
/// the next one reads again, so this costs 3 %; and pages of the next chains are held back for as long as these take.
const KEPT_PAGES: u32 = 16;

/// A chain with more pages left than this is split in two when there is no other work. Splitting costs half a page of a
/// quota that nothing else uses then, and saves the latency of a page or more.
const MIN_PAGES_TO_SPLIT: f64 = 1.2;

/// How long the first response is waited for before further chains are started without knowing how many events there
/// are. Most responses arrive earlier, and a quiet Region then costs a single request.
const FIRST_RESPONSE_WAIT: Duration = Duration::from_millis(1_500);

/// The newest part of a range, in seconds, that the first chain keeps if nothing is known yet.
const FIRST_UNKNOWN_SECONDS: i64 = 15 * 60;

/// How many times longer each older part is, if nothing is known yet: seven parts cover 90 days.
const UNKNOWN_GROWTH: i64 = 3;

/// Full pages of new events after which the remaining range of a poll may be split.
const PAGES_TO_SPLIT_POLL: u32 = 3;

/// Why a range is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// To find new events: newest first until a page has no new event.
    Poll,
    /// To find late events of seconds for which no further ones are expected.
    Sweep,
    /// To find very late events, before seconds are recorded as final.
    LateSweep,
    /// The wanted range.
    Range,
}

/// The next request of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next page of a chain.
    Continue(u64),
    /// The first page of a new chain: the part of another chain before this second.
    Split(u64, i64),
}

/// A page in the order of the reading.
#[derive(Debug)]
pub(super) struct OrderedPage {
    pub(super) events: Vec<Event>,
    /// The second from which the range is complete with this page.
    pub(super) since: Option<i64>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// One reading of a range.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) number: u64,
    pub(super) purpose: Purpose,
    /// Index of the target in the Region.
    pub(super) target: usize,
    pub(super) range: SecondRange,
    /// Newest first; the range of each ends where that of the next one begins.
    chains: VecDeque<Chain>,
    chains_started: u64,
    first_sent_at: Option<Instant>,
    /// Pages with new events that were delivered.
    pub(super) pages_with_news: u32,
    /// The key of its slice, once announced, and the number of its pages.
    pub(super) slice: Option<(String, u32)>,
}

#[derive(Debug)]
struct Chain {
    id: u64,
    cursor: SliceCursor,
    has_answered: bool,
    is_done: bool,
    /// Pages that wait for those of newer chains.
    held: VecDeque<OrderedPage>,
    oldest_second: OldestSecond,
}

/// The events of the oldest second that a chain has seen.
#[derive(Debug, Default)]
struct OldestSecond {
    second: Option<i64>,
    keys: HashSet<EventKey>,
}

impl OldestSecond {
    /// Removes the events that were seen before, and remembers those of the oldest second.
    fn retain_new(&mut self, events: &mut Vec<Event>) {
        let known = mem::take(self);
        let keyed = |event: &Event| Some((event_second(event)?, event_key(event)));
        let is_known = |event: &Event| {
            keyed(event).is_some_and(|(second, key)| {
                known.second == Some(second) && known.keys.contains(&key)
            })
        };
        events.retain(|event| !is_known(event));
        let oldest = events.iter().filter_map(event_second).min();
        self.second = known.second.into_iter().chain(oldest).min();
        if self.second == known.second {
            self.keys = known.keys;
        }
        let keys = events.iter().filter_map(keyed);
        self.keys
            .extend(keys.filter(|(second, _)| Some(*second) == self.second).map(|(_, key)| key));
    }
}

impl Chain {
    fn new(id: u64, target: usize, range: SecondRange) -> Self {
        Self {
            id,
            cursor: SliceCursor::new(target, range),
            has_answered: false,
            is_done: false,
            held: VecDeque::new(),
            oldest_second: OldestSecond::default(),
        }
    }

    fn is_ready(&self) -> bool {
        !self.is_done && !self.cursor.is_in_flight && self.cursor.backoff_until.is_none()
    }
}

impl Reading {
    pub(super) fn new(number: u64, purpose: Purpose, target: usize, range: SecondRange) -> Self {
        let mut chains = VecDeque::new();
        if range.seconds() > 0 {
            chains.push_back(Chain::new(0, target, range));
        }
        Self {
            number,
            purpose,
            target,
            range,
            chains,
            chains_started: 1,
            first_sent_at: None,
            pages_with_news: 0,
            slice: None,
        }
    }

    /// Returns whether every page was delivered.
    pub(super) fn is_done(&self) -> bool {
        self.chains.is_empty()
    }

    /// Returns whether every page has arrived and was delivered or is being delivered.
    pub(super) fn is_exhausted(&self) -> bool {
        self.chains.iter().all(|chain| chain.is_done && chain.held.is_empty())
    }

    /// Ends the reading early. Responses that are still in flight find no chain.
    pub(super) fn stop(&mut self) {
        self.chains.clear();
    }

    /// Returns the number of chains.
    pub(super) fn chains(&self) -> usize {
        self.chains.len()
    }

    /// Returns whether pages are held back.
    pub(super) fn holds_pages(&self) -> bool {
        self.chains.iter().any(|chain| !chain.held.is_empty())
    }

    /// Returns the cursors that are not done.
    pub(super) fn cursors(&self) -> impl Iterator<Item = &SliceCursor> {
        self.chains.iter().filter(|chain| !chain.is_done).map(|chain| &chain.cursor)
    }

    /// Returns the cursor of a chain.
    pub(super) fn cursor_mut(&mut self, id: u64) -> Option<&mut SliceCursor> {
        self.chain_mut(id).map(|chain| &mut chain.cursor)
    }

    /// Ends the backoffs that have elapsed.
    pub(super) fn end_backoffs(&mut self, now: Instant) {
        for Chain { cursor, .. } in &mut self.chains {
            cursor.backoff_until = cursor.backoff_until.filter(|until| *until > now);
        }
    }

    /// Returns the next request, and the time before which it must not be sent, if any. `may_split` is whether another
    /// chain may be started.
    pub(super) fn next_step(&self, may_split: bool) -> Option<(Step, Option<Instant>)> {
        if let Some(chain) = self.chains.iter().find(|chain| chain.is_ready()) {
            return Some((Step::Continue(chain.id), None));
        }
        if !may_split || !self.may_split() {
            return None;
        }
        self.split_known().map(|step| (step, None)).or_else(|| {
            let first_sent_at = self.first_sent_at?;
            self.split_unknown().map(|step| (step, Some(first_sent_at + FIRST_RESPONSE_WAIT)))
        })
    }

    /// Returns whether the request is the one that the next page to be delivered waits for.
    pub(super) fn is_first(&self, step: Step) -> bool {
        matches!((step, self.chains.front()), (Step::Continue(id), Some(chain)) if chain.id == id)
    }

    fn may_split(&self) -> bool {
        // A poll stops at the first page without a new event, mostly the second one.
        self.purpose != Purpose::Poll || self.pages_with_news >= PAGES_TO_SPLIT_POLL
    }

    /// Splits the newest chain that has many pages left, or the longest one.
    fn split_known(&self) -> Option<Step> {
        let left = |chain: &Chain| {
            if chain.is_done || !chain.has_answered {
                0.0
            } else {
                chain.cursor.expected_pages_left()
            }
        };
        let many = f64::from(2 * KEPT_PAGES);
        if let Some(chain) = self.chains.iter().find(|chain| left(chain) > many) {
            let remaining = chain.cursor.remaining();
            let kept = chain.cursor.seconds_of_pages(KEPT_PAGES)?;
            return split_at(chain, remaining.to.saturating_sub(kept) + 1);
        }
        let longest = self.chains.iter().max_by(|one, other| left(one).total_cmp(&left(other)))?;
        if left(longest) <= MIN_PAGES_TO_SPLIT {
            return None;
        }
        let remaining = longest.cursor.remaining();
        split_at(longest, remaining.from + remaining.seconds() / 2)
    }

    /// Splits the oldest chain while nothing is known of it.
    fn split_unknown(&self) -> Option<Step> {
        let chain = self.chains.back().filter(|chain| !chain.has_answered && !chain.is_done)?;
        let age = self.range.to - chain.cursor.range.to;
        let kept = FIRST_UNKNOWN_SECONDS.max(age.saturating_mul(UNKNOWN_GROWTH));
        split_at(chain, chain.cursor.range.to.saturating_sub(kept) + 1)
    }

    /// Prepares the request of a step. Returns the chain and its cursor.
    pub(super) fn take_step(
        &mut self,
        step: Step,
        now: Instant,
    ) -> Option<(u64, &mut SliceCursor)> {
        self.first_sent_at = self.first_sent_at.or(Some(now));
        let id = match step {
            Step::Continue(id) => id,
            Step::Split(id, second) => self.split(id, second)?,
        };
        self.cursor_mut(id).map(|cursor| (id, cursor))
    }

    fn split(&mut self, id: u64, second: i64) -> Option<u64> {
        let position = self.chains.iter().position(|chain| chain.id == id)?;
        let older = self.chains[position].cursor.cede_before(second);
        let id = self.chains_started;
        self.chains_started += 1;
        self.chains.insert(position + 1, Chain::new(id, self.target, older));
        Some(id)
    }

    /// Adds the response to a chain's request. Returns the number of seconds that became complete.
    pub(super) fn on_response(
        &mut self,
        id: u64,
        response: PageResponse,
        permit: Option<OwnedSemaphorePermit>,
    ) -> u64 {
        self.take_over(id, &response);
        let Some(chain) = self.chain_mut(id) else { return 0 };
        let PageOutcome { mut events, finished, seconds_done } = chain.cursor.apply(response);
        chain.oldest_second.retain_new(&mut events);
        chain.has_answered = true;
        chain.is_done = finished;
        let since = chain.cursor.complete_since(finished);
        if !events.is_empty() {
            chain.held.push_back(OrderedPage { events, since, permit });
        }
        seconds_done
    }

    /// Lets a chain take over what its response contains of the next chains, if these have no response yet: they were
    /// split off when less was known.
    fn take_over(&mut self, id: u64, response: &PageResponse) {
        let Some(position) = self.chains.iter().position(|chain| chain.id == id) else { return };
        let reach = self.chains[position].cursor.reach(response);
        while let Some(next) = self.chains.get_mut(position + 1)
            && !next.has_answered
            && reach <= next.cursor.range.to
        {
            let from = reach.max(next.cursor.range.from);
            let is_whole = from == next.cursor.range.from;
            next.cursor.range.to = from - 1;
            if is_whole {
                // A response that is still in flight finds no chain.
                self.chains.remove(position + 1);
            }
            self.chains[position].cursor.range.from = from;
        }
    }

    /// Gives up a second in which a chain makes no progress.
    pub(super) fn skip_second(&mut self, id: u64, second: i64) {
        if let Some(chain) = self.chain_mut(id) {
            chain.is_done = chain.cursor.skip_second(second);
        }
    }

    /// Returns the next page in order, if it has arrived.
    pub(super) fn next_page(&mut self) -> Option<OrderedPage> {
        loop {
            let chain = self.chains.front_mut()?;
            if let Some(page) = chain.held.pop_front() {
                return Some(page);
            }
            if !chain.is_done {
                return None;
            }
            self.chains.pop_front();
        }
    }

    fn chain_mut(&mut self, id: u64) -> Option<&mut Chain> {
        self.chains.iter_mut().find(|chain| chain.id == id)
    }
}

/// Returns the step that splits a chain, if both parts have a second.
fn split_at(chain: &Chain, second: i64) -> Option<Step> {
    let SecondRange { from, to } = chain.cursor.remaining();
    (from < second && second <= to).then_some(Step::Split(chain.id, second))
}
