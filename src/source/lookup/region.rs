//! Fetches one account and Region: decides which request is sent next and what each response means.
//!
//! Input: one [`SlicePlan`] for each event category. Output: slices that start, arrive in pages, and end.
//! Invariant: a request is sent whenever the quota allows one and there is work. The samples for the estimate come
//! first, then the oldest cursor without a request in flight; if all cursors are waiting, a new slice is started. So
//! there are exactly as many cursors as the latency requires. The first response is waited for, up to a limit,
//! because a quiet Region needs no second request.
//! Deliberately absent: other Regions. They share nothing but the memory budget.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::cursor::{PageOutcome, Sample, SliceCursor};
use super::error::{FailureReason, LookupError};
use super::estimate::RegionEstimate;
use super::page::{LookupEvent, LookupPage};
use super::plan::{MAX_SLICE_SECONDS, SecondRange, SlicePlan};
use super::request::{PageResponse, fetch_page};
use super::retry::{AfterFailure, FailureTracker};
use super::{EVENT_HISTORY, LookupOptions, LookupTarget};
use crate::aws::ServiceError;
use crate::limit::RateLimiter;
use crate::report::{LookupProgress, RegionProgress, RegionStage};
use crate::shutdown::{ShutdownLevel, ShutdownSignal};
use crate::source::{Page, SourceEvent};
use aws_sdk_cloudtrail::types::Event;

/// Maximum number of open slices: hides a latency of 16 s at two requests a second. A restart resumes each of them.
const MAX_OPEN_SLICES: usize = 32;

/// How long the first response of a Region is waited for before the next request is sent. Most responses arrive
/// earlier, and a quiet Region then costs a single request.
const FIRST_RESPONSE_WAIT: Duration = Duration::from_millis(1_500);

/// Requests that the estimate of a Region may cost.
const MAX_SAMPLES: u8 = 3;

/// A cursor with more pages left than this is split in two when there is no other work. Splitting costs half a page;
/// not splitting costs up to a hundredth of the quota at a latency of 5 s.
const MIN_PAGES_TO_SPLIT: f64 = 3.0;

/// A message from a Region's fetcher to the coordinator.
#[derive(Debug)]
pub(super) enum RegionMessage {
    /// An event for the pipeline.
    Event(SourceEvent),
    /// The estimate of this Region; `None` if it failed.
    Estimated(usize, Option<RegionEstimate>),
    /// This Region is given up.
    Failed(usize, LookupError),
    /// This Region was asked for new events.
    Polled(usize, RegionState),
    /// A Region is not asked for new events, because it was given up before.
    LeftOut,
}

/// What is known of a Region that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RegionState {
    /// The second of the newest event that was found.
    pub(super) newest_event: Option<i64>,
    /// Every event before this second was read, and settled if coverage is recorded.
    pub(super) complete_before: i64,
}

/// State shared by the fetchers of all Regions.
#[derive(Clone, Debug)]
pub(super) struct FetchContext {
    pub(super) options: LookupOptions,
    pub(super) started_at: Instant,
    pub(super) shutdown: ShutdownSignal,
    pub(super) memory: Arc<Semaphore>,
    pub(super) progress: Arc<LookupProgress>,
    pub(super) out: mpsc::Sender<RegionMessage>,
}

/// The receiver is gone, or a shutdown was requested.
struct Cancelled;

/// One event category of the Region.
struct CategoryPlan {
    target: LookupTarget,
    plan: SlicePlan,
    /// Samples sent so far.
    samples: u8,
}

impl CategoryPlan {
    /// Returns the next range to sample.
    fn sample(&mut self) -> Option<(SecondRange, Sample)> {
        if self.samples >= MAX_SAMPLES {
            return None;
        }
        let number = self.samples;
        self.samples += 1;
        if number == 0 {
            return self.plan.claim_newest_gap().map(|gap| (gap, Sample::Gap));
        }
        let range = self.plan.claim_sample(f64::from(number) / f64::from(MAX_SAMPLES));
        if range.is_none() {
            self.samples = MAX_SAMPLES;
        }
        range.map(|range| (range, Sample::Slice))
    }
}

/// The next request to send.
#[derive(Clone, Copy, Debug)]
enum NextRequest {
    /// The next page of a cursor.
    Continue(u64),
    /// The first page of an unclaimed range.
    NewSlice,
    /// The oldest part of a gap whose first page, the density sample, is slow to arrive.
    SplitUnanswered(u64),
}

type Completion = (u64, Instant, Result<PageResponse, ServiceError>);

/// Fetches one account and Region.
pub(super) struct RegionFetcher {
    number: usize,
    account: String,
    region: String,
    categories: Vec<CategoryPlan>,
    cursors: BTreeMap<u64, SliceCursor>,
    cursors_started: u64,
    in_flight: JoinSet<Completion>,
    rate_limiter: RateLimiter,
    /// Memory reserved for the next page.
    permit: Option<OwnedSemaphorePermit>,
    page_bytes: usize,
    failures: FailureTracker,
    has_estimated: bool,
    /// When the first request was sent.
    first_sent_at: Option<Instant>,
    context: FetchContext,
}

impl RegionFetcher {
    /// Creates the fetcher of targets in the same account and Region, with the missing ranges of each.
    pub(super) fn new(
        number: usize,
        categories: Vec<(LookupTarget, Vec<SecondRange>)>,
        context: FetchContext,
    ) -> Self {
        let categories: Vec<CategoryPlan> = categories
            .into_iter()
            .map(|(target, gaps)| CategoryPlan { target, plan: SlicePlan::new(gaps), samples: 0 })
            .collect();
        let region = &context.progress.regions[number];
        let seconds: i64 = categories.iter().map(|category| category.plan.seconds()).sum();
        region.seconds.store(seconds.unsigned_abs(), Relaxed);
        Self {
            number,
            account: region.account.clone(),
            region: region.region.clone(),
            categories,
            cursors: BTreeMap::new(),
            cursors_started: 0,
            in_flight: JoinSet::new(),
            rate_limiter: RateLimiter::new(context.options.requests_per_second, context.started_at),
            permit: None,
            page_bytes: 64 << 10,
            failures: FailureTracker::new(context.started_at),
            has_estimated: false,
            first_sent_at: None,
            context,
        }
    }

    fn counters(&self) -> &RegionProgress {
        &self.context.progress.regions[self.number]
    }

    /// Fetches all missing ranges.
    pub(super) async fn run(mut self) {
        self.counters().enter(RegionStage::Fetching);
        match self.fetch().await {
            Err(Cancelled) => self.end_open_slices().await,
            Ok(None) => self.counters().enter(RegionStage::Done),
            Ok(Some(error)) => {
                self.counters().enter(RegionStage::Failed);
                self.end_open_slices().await;
                if !self.has_estimated {
                    let _ = self.emit(RegionMessage::Estimated(self.number, None)).await;
                }
                let _ = self.emit(RegionMessage::Failed(self.number, error)).await;
            }
        }
    }

    /// Sends requests and processes responses until nothing is left; returns the error that ended the Region, if any.
    async fn fetch(&mut self) -> Result<Option<LookupError>, Cancelled> {
        let shutdown = self.context.shutdown.clone();
        loop {
            self.emit_estimate().await?;
            if self.has_estimated && self.context.options.dry_run {
                return Ok(None);
            }
            let next_request = self.choose_request();
            let due = self.due(next_request);
            if next_request.is_none() && self.in_flight.is_empty() && self.cursors.is_empty() {
                return Ok(None);
            }
            let rested = self.cursors.values().filter_map(|cursor| cursor.backoff_until).min();
            let completed = tokio::select! {
                biased;
                () = shutdown.reached(ShutdownLevel::Draining) => return Err(Cancelled),
                () = self.context.out.closed() => return Err(Cancelled),
                Some(completed) = self.in_flight.join_next() => Some(completed),
                () = wait_turn(&self.context, due, &mut self.permit, self.page_bytes), if next_request.is_some() => None,
                () = sleep_until(rested.unwrap_or(self.context.started_at)), if rested.is_some() => {
                    self.end_backoffs();
                    continue;
                }
            };
            match (completed, next_request) {
                (Some(completed), _) => {
                    if let Some(error) = self.on_response(completed).await? {
                        return Ok(Some(error));
                    }
                }
                (None, Some(next_request)) => self.send(next_request),
                (None, None) => {}
            }
        }
    }

    /// Ends the backoffs that have elapsed.
    fn end_backoffs(&mut self) {
        let now = Instant::now();
        for cursor in self.cursors.values_mut() {
            cursor.backoff_until = cursor.backoff_until.filter(|until| *until > now);
        }
    }

    /// Chooses the next request, if there is one.
    fn choose_request(&self) -> Option<NextRequest> {
        if self.next_sample().is_some() {
            return Some(NextRequest::NewSlice);
        }
        let dry = self.context.options.dry_run;
        let ready = self.cursors.iter().filter(|(_, cursor)| {
            !cursor.is_in_flight
                && cursor.backoff_until.is_none()
                && (cursor.sample.is_some() || !dry)
        });
        if let Some((id, _)) =
            ready.min_by_key(|(_, cursor)| (cursor.sample.is_none(), cursor.range.from))
        {
            return Some(NextRequest::Continue(*id));
        }
        let more = || self.next_slice().is_some() || self.longest().is_some();
        if dry || self.cursors.len() >= MAX_OPEN_SLICES {
            return None;
        }
        if more() {
            Some(NextRequest::NewSlice)
        } else {
            self.unanswered_gap().map(NextRequest::SplitUnanswered)
        }
    }

    /// Returns when a request may be sent.
    fn due(&self, next_request: Option<NextRequest>) -> Instant {
        let next = self.rate_limiter.next();
        match (next_request, self.first_sent_at) {
            (Some(NextRequest::SplitUnanswered(_)), Some(first)) => {
                next.max(first + FIRST_RESPONSE_WAIT)
            }
            _ => next,
        }
    }

    /// Returns the cursor that waits for the density sample of a gap longer than two slices.
    fn unanswered_gap(&self) -> Option<u64> {
        let waits =
            |cursor: &SliceCursor| cursor.is_in_flight && cursor.sample == Some(Sample::Gap);
        let long = |cursor: &SliceCursor| cursor.range.seconds() > 2 * MAX_SLICE_SECONDS;
        let mut found = self.cursors.iter().filter(|(_, cursor)| waits(cursor) && long(cursor));
        found.next().map(|(id, _)| *id)
    }

    /// Returns the category to sample next.
    fn next_sample(&self) -> Option<usize> {
        let wanting =
            |category: &CategoryPlan| category.samples < MAX_SAMPLES && !category.plan.is_empty();
        (0..self.categories.len())
            .find(|number| wanting(&self.categories[*number]) && self.has_density(*number))
    }

    /// Returns the category of the next slice.
    fn next_slice(&self) -> Option<usize> {
        (0..self.categories.len())
            .find(|number| !self.categories[*number].plan.is_empty() && self.has_density(*number))
    }

    /// Returns whether the density is known or not being sampled; it determines the length of slices.
    fn has_density(&self, category: usize) -> bool {
        let waits = |cursor: &SliceCursor| {
            cursor.sample == Some(Sample::Gap) && cursor.category == category
        };
        self.categories[category].plan.has_density() || !self.cursors.values().any(waits)
    }

    /// Returns the cursor with the most pages left, if it is worth splitting.
    fn longest(&self) -> Option<u64> {
        let begun = self.cursors.iter().filter(|(_, cursor)| cursor.has_started());
        let long = begun.map(|(id, cursor)| (cursor.expected_pages_left(), *id));
        let long = long.filter(|(pages, _)| *pages > MIN_PAGES_TO_SPLIT);
        long.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, id)| id)
    }

    fn send(&mut self, next_request: NextRequest) {
        let now = Instant::now();
        let id = match next_request {
            NextRequest::Continue(id) => Some(id),
            NextRequest::NewSlice => self.claim(),
            NextRequest::SplitUnanswered(id) => self.split_unanswered(id),
        };
        let Some(id) = id else { return };
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        self.first_sent_at = self.first_sent_at.or(Some(now));
        cursor.is_in_flight = true;
        cursor.permit = self.permit.take();
        let (target, query) = (self.categories[cursor.category].target.clone(), cursor.query());
        self.in_flight.spawn(async move { (id, now, fetch_page(target, query).await) });
        self.rate_limiter.sent(now);
        self.counters().requests.fetch_add(1, Relaxed);
    }

    /// Starts a new cursor.
    fn claim(&mut self) -> Option<u64> {
        let sample = self.next_sample().and_then(|number| {
            let (range, sample) = self.categories[number].sample()?;
            let mut cursor = SliceCursor::new(number, range);
            cursor.sample = Some(sample);
            Some(cursor)
        });
        let cursor = match sample {
            Some(cursor) => cursor,
            None => self.claim_slice()?,
        };
        Some(self.add_cursor(cursor))
    }

    /// Starts a cursor on the oldest part of a claimed gap. The pending request still covers the whole gap; its
    /// cursor keeps only the events in its own part.
    fn split_unanswered(&mut self, id: u64) -> Option<u64> {
        let cursor = self.cursors.get_mut(&id)?;
        let oldest = cursor.cede_before(cursor.range.from + MAX_SLICE_SECONDS);
        let mut ahead = SliceCursor::new(cursor.category, oldest);
        ahead.sample = Some(Sample::Gap);
        Some(self.add_cursor(ahead))
    }

    fn add_cursor(&mut self, cursor: SliceCursor) -> u64 {
        self.cursors_started += 1;
        self.cursors.insert(self.cursors_started, cursor);
        self.cursors_started
    }

    fn claim_slice(&mut self) -> Option<SliceCursor> {
        if let Some(number) = self.next_slice() {
            let range = self.categories[number].plan.claim_oldest_slice(self.cursors.len() + 1)?;
            return Some(SliceCursor::new(number, range));
        }
        let id = self.longest()?;
        let cursor = self.cursors.get_mut(&id)?;
        Some(SliceCursor::new(cursor.category, cursor.split_half()))
    }

    /// Processes a response; returns the error that ends the Region, if any.
    async fn on_response(
        &mut self,
        completed: Result<Completion, JoinError>,
    ) -> Result<Option<LookupError>, Cancelled> {
        let (id, sent, answer) = completed.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => {
                unreachable!("requests are not cancelled while they are waited for: {error}")
            }
        });
        let Some(mut cursor) = self.cursors.remove(&id) else { return Ok(None) };
        cursor.is_in_flight = false;
        let permit = cursor.permit.take();
        let failed = match answer {
            Ok(answer) => {
                self.rate_limiter.granted();
                self.failures.succeeded();
                return self.on_page(id, cursor, answer, permit).await.map(|()| None);
            }
            Err(error) => {
                self.permit = self.permit.take().or(permit);
                self.on_error(&mut cursor, sent, error)
            }
        };
        match failed {
            Ok(()) => {
                self.cursors.insert(id, cursor);
                Ok(None)
            }
            // One second without progress does not fail the Region, nor do Insights that it does not support.
            Err(error) if self.is_partial(&error) => {
                if *error.reason() == FailureReason::Rejected {
                    self.categories[cursor.category].plan = SlicePlan::default();
                }
                self.end_slice(&mut cursor, false).await?;
                self.emit(RegionMessage::Event(SourceEvent::Failed(error.into()))).await?;
                Ok(None)
            }
            Err(error) => {
                self.cursors.insert(id, cursor);
                Ok(Some(error))
            }
        }
    }

    /// Returns whether other requests may still succeed.
    fn is_partial(&self, error: &LookupError) -> bool {
        match error.reason() {
            FailureReason::NoProgress { .. } => true,
            FailureReason::Rejected => self.categories.len() > 1,
            _ => false,
        }
    }

    /// Decides how a cursor continues after a failed request.
    ///
    /// # Errors
    ///
    /// Returns the error that ends the Region.
    fn on_error(
        &mut self,
        cursor: &mut SliceCursor,
        sent: Instant,
        error: ServiceError,
    ) -> Result<(), LookupError> {
        let now = Instant::now();
        let reason = match self.failures.failed(&error.kind, sent, now) {
            AfterFailure::Repeat => {
                self.counters().throttled.fetch_add(1, Relaxed);
                self.rate_limiter.throttled(sent, now);
                return Ok(());
            }
            AfterFailure::BackOff => {
                cursor.back_off(now);
                return Ok(());
            }
            AfterFailure::DropToken => match cursor.restart() {
                None => return Ok(()),
                Some(second) => FailureReason::NoProgress { second },
            },
            AfterFailure::ClampRange if cursor.clamp_to(self.horizon(now)) => return Ok(()),
            AfterFailure::ClampRange => FailureReason::Rejected,
            AfterFailure::GiveUp(reason) => reason,
        };
        let (account, region) = (self.account.clone(), self.region.clone());
        Err(LookupError::Region { account, region, reason, source: Arc::new(error) })
    }

    /// Returns the oldest second that the service still has; it advances during a long load.
    fn horizon(&self, now: Instant) -> i64 {
        let passed = seconds(now - self.context.started_at);
        // One minute of tolerance for clock skew.
        self.context.options.now + passed - seconds(EVENT_HISTORY) + 60
    }

    /// Processes a page.
    async fn on_page(
        &mut self,
        id: u64,
        mut cursor: SliceCursor,
        answer: PageResponse,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Cancelled> {
        let PageOutcome { mut events, mut finished, seconds_done } = cursor.apply(answer);
        let plan = &mut self.categories[cursor.category].plan;
        if let Some((range, seen)) = cursor.seen() {
            plan.record_density(range, seen);
        }
        if cursor.sample.take() == Some(Sample::Gap) && !finished {
            // More than one page: keep the newest part, of the usual slice length.
            let kept = plan.newest_slice_of(cursor.range);
            plan.release(cursor.cede_before(kept.from));
            cursor.retain_own(&mut events);
            finished = cursor.remaining().seconds() <= 0;
        }
        let counters = self.counters();
        counters.events.fetch_add(events.len() as u64, Relaxed);
        counters.seconds_done.fetch_add(seconds_done, Relaxed);
        self.emit_page(&mut cursor, events, finished, permit).await?;
        if finished {
            let complete = !cursor.shortened;
            self.end_slice(&mut cursor, complete).await?;
        } else {
            self.cursors.insert(id, cursor);
        }
        self.update_expected_requests();
        Ok(())
    }

    /// Sends a page to the pipeline, preceded by the start of its slice.
    async fn emit_page(
        &mut self,
        cursor: &mut SliceCursor,
        events: Vec<Event>,
        finished: bool,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Cancelled> {
        if self.context.options.dry_run {
            return Ok(());
        }
        if cursor.slice.is_none() {
            let options = &self.context.options;
            let sure_until = options.now - seconds(options.overlap);
            let slice =
                cursor.start_slice(&self.categories[cursor.category].target.series(), sure_until);
            self.emit(RegionMessage::Event(SourceEvent::SliceStarted(slice))).await?;
        }
        // The last page of a shortened slice carries its position, even if the page is empty.
        if events.is_empty() && !(finished && cursor.shortened) {
            return Ok(());
        }
        let events: Vec<_> = events.into_iter().map(LookupEvent::from).collect();
        let bytes = events.iter().map(LookupEvent::held_bytes).sum();
        // Adapts the reservation of the next request to the size of recent pages.
        self.page_bytes = (self.page_bytes * 7 + bytes * 5 / 4) / 8;
        let permit = permit.map(|permit| resize_permit(permit, bytes, &self.context.memory));
        let (key, number) = cursor.next_page();
        let since = cursor.complete_since(finished);
        let page = Page { key, number, content: LookupPage { events, permit }, since };
        self.emit(RegionMessage::Event(SourceEvent::Page(page))).await
    }

    async fn end_slice(&self, cursor: &mut SliceCursor, complete: bool) -> Result<(), Cancelled> {
        let Some(slice) = cursor.slice.take() else { return Ok(()) };
        let ended = SourceEvent::SliceEnded { key: slice.key, pages: cursor.pages, complete };
        self.emit(RegionMessage::Event(ended)).await
    }

    /// Ends the open slices as incomplete.
    async fn end_open_slices(&mut self) {
        self.in_flight.abort_all();
        for mut cursor in std::mem::take(&mut self.cursors).into_values() {
            if self.end_slice(&mut cursor, false).await.is_err() {
                return;
            }
        }
    }

    async fn emit(&self, message: RegionMessage) -> Result<(), Cancelled> {
        self.context.out.send(message).await.map_err(|_| Cancelled)
    }

    /// Sends the estimate once all samples have arrived.
    async fn emit_estimate(&mut self) -> Result<(), Cancelled> {
        let sampling = self.cursors.values().any(|cursor| cursor.sample.is_some())
            || self.next_sample().is_some();
        if self.has_estimated || sampling {
            return Ok(());
        }
        self.has_estimated = true;
        let figures = self.counters().figures();
        let requests = self.update_expected_requests();
        let open = self
            .cursors
            .values()
            .map(|cursor| (&self.categories[cursor.category].plan, cursor.remaining()));
        let remaining: f64 = open.map(|(plan, range)| plan.expected_events_in(range)).sum::<f64>()
            + self.categories.iter().map(|category| category.plan.expected_events()).sum::<f64>();
        let estimate = RegionEstimate {
            account: self.account.clone(),
            region: self.region.clone(),
            seconds: self.counters().seconds.load(Relaxed),
            events: figures.events + rounded(remaining),
            requests,
            time: Duration::from_secs(requests).div_f64(self.context.options.requests_per_second),
            exact: self.cursors.is_empty()
                && self.categories.iter().all(|category| category.plan.is_empty()),
        };
        self.emit(RegionMessage::Estimated(self.number, Some(estimate))).await
    }

    /// Computes the expected number of requests, stores it for the progress bars and returns it.
    fn update_expected_requests(&self) -> u64 {
        let open = self
            .cursors
            .values()
            .map(|cursor| (&self.categories[cursor.category].plan, cursor.remaining()));
        let remaining = open.map(|(plan, range)| plan.expected_pages_in(range)).sum::<f64>()
            + self.categories.iter().map(|category| category.plan.expected_pages()).sum::<f64>();
        let counters = self.counters();
        let expected = counters.requests.load(Relaxed) + rounded(remaining);
        counters.expected_requests.store(expected, Relaxed);
        expected
    }
}

/// Waits until memory for another page is reserved, and then for the rate limiter.
async fn wait_turn(
    context: &FetchContext,
    at: Instant,
    permit: &mut Option<OwnedSemaphorePermit>,
    bytes: usize,
) {
    if permit.is_none() {
        *permit = reserve_memory(&context.memory, bytes).await;
    }
    sleep_until(at).await;
}

/// Waits until memory for a page of the expected size is reserved.
pub(super) async fn reserve_memory(
    memory: &Arc<Semaphore>,
    bytes: usize,
) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(bytes.clamp(4 << 10, 1 << 20)).unwrap_or(u32::MAX);
    // The semaphore is never closed.
    Arc::clone(memory).acquire_many_owned(permits).await.ok()
}

/// Resizes a reservation to the page that arrived. If the budget is exhausted, the excess of this one page is not
/// reserved: waiting here could deadlock.
pub(super) fn resize_permit(
    mut permit: OwnedSemaphorePermit,
    bytes: usize,
    memory: &Arc<Semaphore>,
) -> OwnedSemaphorePermit {
    let reserved = permit.num_permits();
    if reserved > bytes {
        drop(permit.split(reserved - bytes));
    } else if let Ok(more) = u32::try_from(bytes - reserved) {
        let more = Arc::clone(memory).try_acquire_many_owned(more);
        if let Ok(more) = more {
            permit.merge(more);
        }
    }
    permit
}

/// Rounds an estimate up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, which is what is wanted"
)]
pub(super) fn rounded(number: f64) -> u64 {
    number.ceil() as u64
}

/// Returns whole seconds.
pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
