//! Searches one account and Region: decides which request is sent next and what each response means.
//!
//! Input: targets, the wanted range, and whether new events are followed. Output: pages in the order of their reading.
//! Invariant: a request is sent whenever the quota allows one and there is work: polls before sweeps before the wanted
//! range, and the newest part of each first. A page is delivered before anything older of the same reading. The request
//! that everything else waits for needs no free memory, so that pages that are held back cannot block their reading.
//! Deliberately absent: other Regions. They share nothing but the memory budget.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::super::cursor::SliceCursor;
use super::super::error::{FailureReason, LookupError};
use super::super::page::{LookupEvent, LookupPage};
use super::super::plan::SecondRange;
use super::super::region::{
    RegionMessage, RegionState, reserve_memory, resize_permit, rounded, seconds,
};
use super::super::request::{PageResponse, fetch_page};
use super::super::retry::{AfterFailure, FailureTracker};
use super::super::{EVENT_HISTORY, LookupTarget};
use super::LookupSearchOptions;
use super::follow::{DueCoverage, DueReadings, Follow, ReadingEnd};
use super::reading::{OrderedPage, Purpose, Reading, Step};
use crate::aws::ServiceError;
use crate::event::PartitionResult;
use crate::limit::{Backoff, RateLimiter};
use crate::report::{LookupProgress, RegionProgress, RegionStage};
use crate::shutdown::{ShutdownLevel, ShutdownSignal};
use crate::source::{Page, Slice, SourceEvent, result_channel, task_output};

/// Maximum number of chains: hides a latency of 16 s at two requests a second.
const MAX_CHAINS: usize = 32;

/// Waits of a Region that is followed before it is tried again, once it was reported as failed.
const OUTAGE_BACKOFF: Backoff =
    Backoff { initial: Duration::from_secs(30), max: Duration::from_mins(5) };

/// State shared by all Regions.
#[derive(Clone, Debug)]
pub(super) struct SearchContext {
    pub(super) options: LookupSearchOptions,
    /// The wanted range.
    pub(super) wanted: SecondRange,
    pub(super) started_at: Instant,
    pub(super) shutdown: ShutdownSignal,
    pub(super) memory: Arc<Semaphore>,
    /// The number of events that are remembered because they were delivered.
    pub(super) delivered: Arc<AtomicUsize>,
    pub(super) progress: Arc<LookupProgress>,
    pub(super) out: mpsc::Sender<RegionMessage>,
}

/// The receiver is gone, or a shutdown was requested.
struct Cancelled;

/// A chain of a reading.
#[derive(Clone, Copy, Debug)]
struct ChainId {
    reading: u64,
    chain: u64,
}

/// A request that may be sent.
#[derive(Clone, Copy, Debug)]
struct NextRequest {
    reading: u64,
    step: Step,
    at: Instant,
    /// Whether it is sent even if no memory is free.
    is_urgent: bool,
}

/// The target, the number and the result of a reading; `None` if the run ends.
type ReadingResult = (usize, u64, Option<PartitionResult>);

type Completion = (ChainId, Instant, Result<PageResponse, ServiceError>);

/// Searches one account and Region.
pub(super) struct SearchRegion {
    number: usize,
    account: String,
    region: String,
    targets: Vec<LookupTarget>,
    /// By target; empty if new events are not followed.
    follows: Vec<Follow>,
    /// In the order of their priority.
    readings: Vec<Reading>,
    readings_started: u64,
    in_flight: JoinSet<Completion>,
    /// Memory reserved for the pages in flight is with their chains; this is the memory for the next page.
    permit: Option<OwnedSemaphorePermit>,
    page_bytes: usize,
    rate_limiter: RateLimiter,
    failures: FailureTracker,
    /// The results of readings of which events were delivered.
    results: JoinSet<ReadingResult>,
    /// Failed attempts since the Region was reported as failed.
    outage_attempts: u32,
    context: SearchContext,
}

impl SearchRegion {
    /// Creates the search of targets in the same account and Region.
    pub(super) fn new(number: usize, targets: Vec<LookupTarget>, context: SearchContext) -> Self {
        let region = &context.progress.regions[number];
        let rate = context.options.requests_per_second;
        let mut search = Self {
            number,
            account: region.account.clone(),
            region: region.region.clone(),
            targets,
            follows: Vec::new(),
            readings: Vec::new(),
            readings_started: 0,
            in_flight: JoinSet::new(),
            permit: None,
            page_bytes: 64 << 10,
            rate_limiter: RateLimiter::new(rate, context.started_at),
            failures: FailureTracker::new(context.started_at),
            results: JoinSet::new(),
            outage_attempts: 0,
            context,
        };
        search.plan();
        search
    }

    /// Starts the readings of the wanted range. When following, its end is left to the polls.
    fn plan(&mut self) {
        let SearchContext { wanted, started_at, ref options, .. } = self.context;
        let targets = self.targets.len();
        self.counters()
            .seconds
            .store(wanted.seconds().max(0).unsigned_abs() * targets as u64, Relaxed);
        let follow = options.follow;
        for target in 0..targets {
            let mut range = wanted;
            if let Some(follow) = follow {
                let from = match follow.coverage {
                    // Whatever is not covered, and late events in it, are left to polls and sweeps.
                    Some(_) => wanted.from,
                    None => wanted.from.max(wanted.to - seconds(follow.overlap)),
                };
                range.to = from - 1;
                let all = Arc::clone(&self.context.delivered);
                self.follows.push(Follow::new(follow, all, from, started_at));
            }
            self.add_reading(Purpose::Range, target, range);
        }
    }

    fn add_reading(&mut self, purpose: Purpose, target: usize, range: SecondRange) {
        if range.seconds() <= 0 {
            return;
        }
        let reading = Reading::new(self.readings_started, purpose, target, range);
        self.readings_started += 1;
        let position = self.readings.partition_point(|other| other.purpose <= purpose);
        self.readings.insert(position, reading);
    }

    fn counters(&self) -> &RegionProgress {
        &self.context.progress.regions[self.number]
    }

    fn reading(&mut self, number: u64) -> Option<&mut Reading> {
        self.readings.iter_mut().find(|reading| reading.number == number)
    }

    /// Searches the Region.
    pub(super) async fn run(mut self) {
        self.counters().enter(RegionStage::Fetching);
        match self.search().await {
            Err(Cancelled) => {
                self.in_flight.abort_all();
                let _ = self.end_slices().await;
            }
            Ok(None) => self.counters().enter(RegionStage::Done),
            Ok(Some(error)) => {
                self.counters().enter(RegionStage::Failed);
                self.in_flight.abort_all();
                let _ = self.end_slices().await;
                let _ = self.emit(RegionMessage::Failed(self.number, error)).await;
            }
        }
    }

    /// Sends requests and processes responses until nothing is left; returns the error that ended the Region, if any.
    async fn search(&mut self) -> Result<Option<LookupError>, Cancelled> {
        let shutdown = self.context.shutdown.clone();
        loop {
            self.start_due_readings();
            let next = self.next_request();
            if next.is_none() && self.readings.is_empty() && self.follows.is_empty() {
                return Ok(None);
            }
            let wake = self.next_wake();
            let completed = tokio::select! {
                biased;
                () = shutdown.reached(ShutdownLevel::Draining) => return Err(Cancelled),
                () = self.context.out.closed() => return Err(Cancelled),
                Some(completed) = self.in_flight.join_next() => completed,
                Some(settled) = self.results.join_next() => {
                    self.on_result(settled).await?;
                    continue;
                }
                () = wait_turn(next, &mut self.permit, &self.context.memory, self.page_bytes) => {
                    if let Some(next) = next {
                        self.send(next);
                    }
                    continue;
                }
                () = sleep_until(wake.unwrap_or(self.context.started_at)), if wake.is_some() => {
                    self.end_backoffs();
                    continue;
                }
            };
            if let Some(error) = self.on_completion(completed).await? {
                return Ok(Some(error));
            }
        }
    }

    /// Starts the polls and sweeps that are due.
    fn start_due_readings(&mut self) {
        let now = Instant::now();
        for target in 0..self.follows.len() {
            if self.follows[target].due().is_none_or(|due| due > now) {
                continue;
            }
            let second = self.context.options.clock.now();
            let due = self.follows[target].start(now, second);
            let Some(DueReadings { poll, sweep, late_sweep }) = due else { continue };
            self.add_reading(Purpose::Poll, target, poll);
            if let Some(sweep) = sweep {
                self.add_reading(Purpose::Sweep, target, sweep);
            }
            if let Some(sweep) = late_sweep {
                self.add_reading(Purpose::LateSweep, target, sweep);
            }
        }
    }

    /// Returns when something becomes due without a response: the end of a backoff, or a poll.
    fn next_wake(&self) -> Option<Instant> {
        let cursors = self.readings.iter().flat_map(Reading::cursors);
        let backoffs = cursors.filter_map(|cursor| cursor.backoff_until);
        backoffs.chain(self.follows.iter().filter_map(Follow::due)).min()
    }

    fn end_backoffs(&mut self) {
        let now = Instant::now();
        for reading in &mut self.readings {
            reading.end_backoffs(now);
        }
    }

    /// Chooses the next request, if there is one.
    fn next_request(&self) -> Option<NextRequest> {
        let chains: usize = self.readings.iter().map(Reading::chains).sum();
        let may_split = chains < MAX_CHAINS;
        let holds_pages = self.readings.iter().any(Reading::holds_pages);
        self.readings.iter().find_map(|reading| {
            let (step, not_before) = reading.next_step(may_split)?;
            let at =
                not_before.map_or(self.rate_limiter.next(), |at| at.max(self.rate_limiter.next()));
            let is_urgent = holds_pages && reading.is_first(step);
            Some(NextRequest { reading: reading.number, step, at, is_urgent })
        })
    }

    fn send(&mut self, next: NextRequest) {
        let now = Instant::now();
        let permit = self.permit.take();
        let Some(reading) = self.reading(next.reading) else { return };
        let target = reading.target;
        let Some((chain, cursor)) = reading.take_step(next.step, now) else { return };
        cursor.is_in_flight = true;
        cursor.permit = permit;
        let query = cursor.query();
        let id = ChainId { reading: next.reading, chain };
        let target = self.targets[target].clone();
        self.in_flight.spawn(async move { (id, now, fetch_page(target, query).await) });
        self.rate_limiter.sent(now);
        self.counters().requests.fetch_add(1, Relaxed);
    }

    /// Processes the end of a request; returns the error that ends the Region, if any.
    async fn on_completion(
        &mut self,
        completed: Result<Completion, JoinError>,
    ) -> Result<Option<LookupError>, Cancelled> {
        let (id, sent, response) = completed.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => {
                unreachable!("requests are not cancelled while they are waited for: {error}")
            }
        });
        let permit = self.reading(id.reading).and_then(|reading| {
            let cursor = reading.cursor_mut(id.chain)?;
            cursor.is_in_flight = false;
            cursor.permit.take()
        });
        match response {
            Ok(response) => {
                self.rate_limiter.granted();
                if self.counters().requests.load(Relaxed) == 1 {
                    self.rate_limiter.opened(Instant::now());
                }
                self.failures.succeeded();
                self.outage_attempts = 0;
                self.on_page(id, response, permit).await?;
                Ok(None)
            }
            Err(error) => {
                self.permit = self.permit.take().or(permit);
                self.on_error(id, sent, error).await
            }
        }
    }

    /// Decides how a chain continues after a failed request; returns the error that ends the Region, if any.
    async fn on_error(
        &mut self,
        id: ChainId,
        sent: Instant,
        error: ServiceError,
    ) -> Result<Option<LookupError>, Cancelled> {
        let now = Instant::now();
        let after = self.failures.failed(&error.kind, sent, now);
        if after == AfterFailure::Repeat {
            self.counters().throttled.fetch_add(1, Relaxed);
            self.rate_limiter.throttled(sent, now);
            return Ok(None);
        }
        let horizon = self.horizon();
        let cursor = self.reading(id.reading).and_then(|reading| reading.cursor_mut(id.chain));
        // The reading was stopped.
        let Some(cursor) = cursor else { return Ok(None) };
        let reason = match after {
            AfterFailure::Repeat => return Ok(None),
            AfterFailure::BackOff => {
                cursor.back_off(now);
                return Ok(None);
            }
            AfterFailure::DropToken => match cursor.restart() {
                None => return Ok(None),
                Some(second) => {
                    let reason = FailureReason::NoProgress { second };
                    self.skip_second(id, second).await?;
                    let error = self.error(reason, error);
                    self.emit(RegionMessage::Event(SourceEvent::Failed(error.into()))).await?;
                    return Ok(None);
                }
            },
            AfterFailure::ClampRange if cursor.clamp_to(horizon) => return Ok(None),
            AfterFailure::ClampRange => FailureReason::Rejected,
            AfterFailure::GiveUp(reason) => reason,
        };
        self.on_failure(id, reason, error).await
    }

    /// Fails the Region, or one of several targets, or waits for better times if the Region is followed.
    async fn on_failure(
        &mut self,
        id: ChainId,
        reason: FailureReason,
        error: ServiceError,
    ) -> Result<Option<LookupError>, Cancelled> {
        let survives = !self.follows.is_empty() && self.failures.has_succeeded();
        let is_partial = reason == FailureReason::Rejected && self.targets.len() > 1;
        let error = self.error(reason, error);
        if !survives && !is_partial {
            return Ok(Some(error));
        }
        if self.outage_attempts == 0 || !survives {
            self.emit(RegionMessage::Event(SourceEvent::Failed(error.into()))).await?;
        }
        if survives {
            self.outage_attempts = self.outage_attempts.saturating_add(1);
            let until = Instant::now() + OUTAGE_BACKOFF.delay(self.outage_attempts);
            let chain = self.reading(id.reading).and_then(|reading| reading.cursor_mut(id.chain));
            if let Some(cursor) = chain {
                cursor.backoff_until = Some(until);
            }
        } else if let Some(reading) = self.reading(id.reading) {
            // A category that the Region does not support.
            reading.stop();
            let (target, range) = (reading.target, reading.range);
            if let Some(follow) = self.follows.get_mut(target) {
                follow.leave_uncovered(range);
            }
            self.end_readings().await?;
        }
        Ok(None)
    }

    fn error(&self, reason: FailureReason, error: ServiceError) -> LookupError {
        let (account, region) = (self.account.clone(), self.region.clone());
        LookupError::Region { account, region, reason, source: Arc::new(error) }
    }

    /// Returns the oldest second that the service still has; it advances during a long search.
    fn horizon(&self) -> i64 {
        // One minute of tolerance for clock skew.
        self.context.options.clock.now() - seconds(EVENT_HISTORY) + 60
    }

    async fn skip_second(&mut self, id: ChainId, second: i64) -> Result<(), Cancelled> {
        if let Some(reading) = self.reading(id.reading) {
            reading.skip_second(id.chain, second);
            let target = reading.target;
            if let Some(follow) = self.follows.get_mut(target) {
                follow.leave_uncovered(SecondRange { from: second, to: second });
            }
        }
        self.deliver(id.reading).await
    }

    /// Processes a page: delivers what is next in order.
    async fn on_page(
        &mut self,
        id: ChainId,
        response: PageResponse,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Cancelled> {
        // The reading was stopped.
        let Some(reading) = self.reading(id.reading) else { return Ok(()) };
        let seconds_done = reading.on_response(id.chain, response, permit);
        if reading.purpose == Purpose::Range {
            self.counters().seconds_done.fetch_add(seconds_done, Relaxed);
        }
        self.deliver(id.reading).await?;
        self.update_expected_requests();
        Ok(())
    }

    /// Delivers the pages of a reading that are next in order, and ends it when there are no more.
    async fn deliver(&mut self, number: u64) -> Result<(), Cancelled> {
        while let Some(page) = self.reading(number).and_then(Reading::next_page) {
            self.deliver_page(number, page).await?;
        }
        self.end_readings().await
    }

    async fn deliver_page(&mut self, number: u64, mut page: OrderedPage) -> Result<(), Cancelled> {
        let Some(position) = self.readings.iter().position(|reading| reading.number == number)
        else {
            return Ok(());
        };
        let reading = &mut self.readings[position];
        if let Some(follow) = self.follows.get_mut(reading.target) {
            follow.retain_new(reading, &mut page.events);
        }
        if !page.events.is_empty() {
            reading.pages_with_news += 1;
            return self.emit_page(position, page).await;
        }
        if reading.purpose == Purpose::Poll && !reading.is_exhausted() {
            reading.stop();
            let reading = self.readings.remove(position);
            self.end_reading(&reading, ReadingEnd::Stopped).await?;
        }
        Ok(())
    }

    /// Sends a page to the pipeline, preceded by the start of its slice.
    async fn emit_page(&mut self, position: usize, page: OrderedPage) -> Result<(), Cancelled> {
        let OrderedPage { events, since, permit } = page;
        self.counters().events.fetch_add(events.len() as u64, Relaxed);
        let events: Vec<_> = events.into_iter().map(LookupEvent::from).collect();
        let bytes = events.iter().map(LookupEvent::held_bytes).sum();
        // Adapts the reservation of the next request to the size of recent pages.
        self.page_bytes = (self.page_bytes * 7 + bytes * 5 / 4) / 8;
        let permit = permit.map(|permit| resize_permit(permit, bytes, &self.context.memory));
        if self.readings[position].slice.is_none() {
            let slice = self.start_slice(position);
            self.emit(RegionMessage::Event(SourceEvent::SliceStarted(slice))).await?;
        }
        let Some((key, pages)) = &mut self.readings[position].slice else { return Ok(()) };
        let (key, number) = (key.clone(), *pages);
        *pages += 1;
        let page = Page { key, number, content: LookupPage { events, permit }, since };
        self.emit(RegionMessage::Event(SourceEvent::Page(page))).await
    }

    /// Creates the slice of a reading.
    fn start_slice(&mut self, position: usize) -> Slice {
        let Reading { number, target, range, .. } = self.readings[position];
        let mut slice = self.new_slice(number, target, range);
        self.readings[position].slice = Some((slice.key.clone(), 0));
        if self.context.options.follow.is_some_and(|follow| follow.coverage.is_some()) {
            let (sender, receiver) = result_channel();
            slice.result = Some(sender);
            self.results.spawn(async move { (target, number, receiver.recv().await) });
        }
        slice
    }

    /// Returns a slice that records no coverage.
    fn new_slice(&self, number: u64, target: usize, range: SecondRange) -> Slice {
        let series = self.targets[target].series();
        let SecondRange { from, to } = range;
        let name = series.strip_prefix("lookup:").unwrap_or(&series).to_owned();
        // Two polls may have the same range.
        let key = format!("{series}/{from}-{to}/{number}");
        Slice { key, name, series, from, to, complete_until: None, result: None }
    }

    /// Records the result of a reading, and what is covered with it.
    async fn on_result(
        &mut self,
        settled: Result<ReadingResult, JoinError>,
    ) -> Result<(), Cancelled> {
        let Some((target, reading, result)) = task_output(settled) else { return Ok(()) };
        if let Some(follow) = self.follows.get_mut(target) {
            follow.on_result(reading, result.as_ref());
        }
        self.record_coverage(target).await
    }

    /// Sends slices without pages for what is covered and was not recorded.
    async fn record_coverage(&mut self, target: usize) -> Result<(), Cancelled> {
        let Some(follow) = self.follows.get_mut(target) else { return Ok(()) };
        for DueCoverage { range, complete_until } in follow.take_due_coverage() {
            let number = self.readings_started;
            self.readings_started += 1;
            let slice = self.new_slice(number, target, range);
            let key = slice.key.clone();
            let slice = Slice { complete_until: Some(complete_until), ..slice };
            self.emit(RegionMessage::Event(SourceEvent::SliceStarted(slice))).await?;
            self.end_slice(key, 0, true).await?;
        }
        Ok(())
    }

    /// Ends the readings of which everything was delivered.
    async fn end_readings(&mut self) -> Result<(), Cancelled> {
        while let Some(position) = self.readings.iter().position(Reading::is_done) {
            let reading = self.readings.remove(position);
            self.end_reading(&reading, ReadingEnd::Whole).await?;
        }
        Ok(())
    }

    async fn end_reading(&mut self, reading: &Reading, end: ReadingEnd) -> Result<(), Cancelled> {
        if let Some(follow) = self.follows.get_mut(reading.target) {
            follow.on_end(reading, end);
        }
        if let Some((key, pages)) = &reading.slice {
            self.end_slice(key.clone(), *pages, true).await?;
        }
        if reading.purpose == Purpose::Poll {
            self.report_state().await?;
        }
        self.record_coverage(reading.target).await
    }

    /// Reports what is known after a poll.
    async fn report_state(&self) -> Result<(), Cancelled> {
        let newest_event = self.follows.iter().filter_map(Follow::newest_event).max();
        let Some(complete_before) = self.follows.iter().map(Follow::complete_before).min() else {
            return Ok(());
        };
        let state = RegionState { newest_event, complete_before };
        self.emit(RegionMessage::Polled(self.number, state)).await
    }

    async fn end_slice(&self, key: String, pages: u32, complete: bool) -> Result<(), Cancelled> {
        let ended = SourceEvent::SliceEnded { key, pages, complete };
        self.emit(RegionMessage::Event(ended)).await
    }

    /// Ends the open slices as incomplete.
    async fn end_slices(&mut self) -> Result<(), Cancelled> {
        for reading in std::mem::take(&mut self.readings) {
            if let Some((key, pages)) = reading.slice {
                self.end_slice(key, pages, false).await?;
            }
        }
        Ok(())
    }

    async fn emit(&self, message: RegionMessage) -> Result<(), Cancelled> {
        self.context.out.send(message).await.map_err(|_| Cancelled)
    }

    /// Stores the expected number of requests for the progress bars.
    fn update_expected_requests(&self) {
        let cursors = self.readings.iter().flat_map(Reading::cursors);
        let left: f64 = cursors.map(SliceCursor::expected_pages_left).sum();
        let counters = self.counters();
        let expected = counters.requests.load(Relaxed) + rounded(left);
        counters.expected_requests.store(expected, Relaxed);
    }
}

/// Waits until memory for another page is reserved, unless the request is urgent, and then for its time. Waits for ever
/// if there is no request.
async fn wait_turn(
    next: Option<NextRequest>,
    permit: &mut Option<OwnedSemaphorePermit>,
    memory: &Arc<Semaphore>,
    page_bytes: usize,
) {
    let Some(next) = next else { return std::future::pending().await };
    if permit.is_none() && !next.is_urgent {
        *permit = reserve_memory(memory, page_bytes).await;
    }
    sleep_until(next.at).await;
}
