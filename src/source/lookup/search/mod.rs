//! Searches the event history of accounts and Regions: newest events first, and optionally new ones as they arrive.
//!
//! Input: [`LookupTarget`]s, each with an optional attribute, and the wanted time range. Output: the events of the range
//! as pages, for each target one slice from its newest event to its oldest; when following, then a slice for each poll
//! that found new events.
//! Invariant: the first request of every Region is sent at once. Pages of a slice arrive newest first, although several
//! requests are in flight where the latency requires it. An event of a target is delivered once, also if it is late.
//! No request is sent once the receiver is gone or a shutdown was requested. Bytes that wait for a worker are bounded.
//! Deliberately absent: checkpoints, coverage and estimates (see [`LookupSource`](super::LookupSource)); the same event
//! in several Regions, which the consumer recognizes by its ID.
//!
//! | file | decides |
//! |---|---|
//! | `region` | which request is sent next in one account and Region, and what its response means |
//! | `reading` | how one range is read by several chains of pages, and in which order their pages are delivered |
//! | `follow` | when new events are asked for, how far back, and which events were delivered before |
//! | `event_key` | when two events are the same |

mod event_key;
mod follow;
mod reading;
mod region;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::coordinator::Coordinator;
use super::plan::SecondRange;
use super::region::RegionMessage;
use super::{
    EVENT_HISTORY, LookupTarget, MESSAGE_CAPACITY, MIN_HELD_BYTES, QUOTA_SHARE, RegionEnd,
    progress_of,
};
use crate::report::{LookupProgress, RegionProgress, lookup_progress::LOOKUP_QUOTA};
use crate::shutdown::ShutdownSignal;
use crate::source::{Error, EventSender, Source, SourceRun, task_output};
use region::{SearchContext, SearchRegion};

/// Returns the current time in seconds of the Unix epoch. Following needs it again for each poll.
#[derive(Clone)]
pub struct EpochClock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl EpochClock {
    /// Creates a clock from a function that returns the seconds of the Unix epoch.
    pub fn new(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(super) fn now(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for EpochClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochClock")
    }
}

/// How new events are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowOptions {
    /// Time from one poll to the next in each account and Region.
    pub interval: Duration,
    /// How late an event may arrive and is still found.
    pub overlap: Duration,
    /// Set if coverage is recorded in a checkpoint.
    pub coverage: Option<CoverageOptions>,
}

/// How coverage is recorded while new events are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoverageOptions {
    /// How late an event may arrive and is still found by a late sweep. Older seconds are recorded as final.
    pub overlap: Duration,
}

impl Default for FollowOptions {
    /// Returns a poll every ten seconds, a twentieth of the quota, and an overlap of 15 minutes: CloudTrail delivers
    /// most events within five minutes and nearly all of them within fifteen.
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), overlap: Duration::from_mins(15), coverage: None }
    }
}

/// Options of the source.
#[derive(Clone, Debug)]
pub struct LookupSearchOptions {
    /// Index of the SOURCE argument.
    pub source_number: usize,
    /// The current time.
    pub clock: EpochClock,
    /// First second to read; the start of the event history if `None`.
    pub from: Option<i64>,
    /// Last second to read; the current one if `None`.
    pub to: Option<i64>,
    /// Maximum bytes of pages in flight or waiting for a worker, over all Regions.
    pub held_bytes: usize,
    /// Requests per second in each account and Region: slightly less than the quota.
    pub requests_per_second: f64,
    /// Whether new events are asked for once the range is being read, until a shutdown. `to` is then ignored.
    pub follow: Option<FollowOptions>,
}

impl LookupSearchOptions {
    /// Returns the default options.
    pub fn new(clock: EpochClock) -> Self {
        Self {
            source_number: 0,
            clock,
            from: None,
            to: None,
            held_bytes: 32 << 20,
            requests_per_second: LOOKUP_QUOTA * QUOTA_SHARE,
            follow: None,
        }
    }
}

/// Reads events of accounts and Regions from LookupEvents, newest first.
pub struct LookupSearch {
    targets: Vec<LookupTarget>,
    options: LookupSearchOptions,
    progress: Arc<LookupProgress>,
    /// When Regions start, in the order of their progress: once they were read otherwise. Empty if all of them start at once.
    starts: Vec<oneshot::Receiver<RegionEnd>>,
}

impl LookupSearch {
    /// Creates the source; no request is sent yet.
    pub fn new(targets: Vec<LookupTarget>, options: LookupSearchOptions) -> Self {
        let progress = progress_of(&targets);
        Self { targets, options, progress, starts: Vec::new() }
    }

    /// Makes each Region wait for the end of another reading of it.
    pub(super) fn after(mut self, ends: Vec<oneshot::Receiver<RegionEnd>>) -> Self {
        self.starts = ends;
        self
    }

    /// Returns the progress counters, which may be read at any time.
    pub fn progress(&self) -> Arc<LookupProgress> {
        Arc::clone(&self.progress)
    }

    /// Returns the range of seconds to read, at the given time.
    fn wanted(&self, now: i64) -> SecondRange {
        let oldest = now.saturating_sub_unsigned(EVENT_HISTORY.as_secs());
        let from = self.options.from.unwrap_or(oldest).max(oldest);
        let to = self.options.to.filter(|_| self.options.follow.is_none()).unwrap_or(now);
        SecondRange { from, to }
    }

    fn targets_of(&self, region: &RegionProgress) -> Vec<LookupTarget> {
        let belongs = |target: &&LookupTarget| {
            region.account == target.account && region.region == target.region
        };
        self.targets.iter().filter(belongs).cloned().collect()
    }

    async fn search(self, out: EventSender, shutdown: ShutdownSignal) -> Result<(), Error> {
        let now = self.options.clock.now();
        let wanted = self.wanted(now);
        let targets: Vec<_> =
            self.progress.regions.iter().map(|region| self.targets_of(region)).collect();
        let may_be_disabled =
            targets.iter().map(|targets| targets.iter().all(|target| target.may_be_disabled));
        let source_number = self.options.source_number;
        let mut coordinator =
            Coordinator::new(out.clone(), source_number, may_be_disabled.collect(), None);

        let (sender, mut messages) = mpsc::channel(MESSAGE_CAPACITY);
        let memory = Arc::new(Semaphore::new(self.options.held_bytes.max(MIN_HELD_BYTES)));
        let Self { options, progress, starts, .. } = self;
        let started_at = Instant::now();
        let delivered = Arc::default();
        let context = SearchContext {
            options,
            wanted,
            started_at,
            shutdown,
            memory,
            delivered,
            progress,
            out: sender,
        };
        let mut tasks = JoinSet::new();
        let mut starts = starts.into_iter();
        for (number, targets) in targets.into_iter().enumerate() {
            let (context, start) = (context.clone(), starts.next());
            tasks.spawn(async move {
                if let Some(context) = wait_for_start(start, context).await {
                    SearchRegion::new(number, targets, context).run().await;
                }
            });
        }
        drop(context);
        loop {
            let message = tokio::select! {
                // Returning drops the tasks, which cancels the requests in flight.
                () = out.closed() => return Ok(()),
                message = messages.recv() => message,
            };
            let Some(message) = message else { break };
            if coordinator.on_message(message).await.is_err() {
                return Ok(());
            }
        }
        while let Some(ended) = tasks.join_next().await {
            task_output(ended);
        }
        coordinator.finish().await
    }
}

/// Waits until a Region may start. Returns `None` if it must not.
async fn wait_for_start(
    start: Option<oneshot::Receiver<RegionEnd>>,
    context: SearchContext,
) -> Option<SearchContext> {
    let Some(start) = start else { return Some(context) };
    // A sender that is dropped belongs to a run that is ending.
    match start.await.ok()? {
        RegionEnd::Read => Some(SearchContext { started_at: Instant::now(), ..context }),
        RegionEnd::Failed => {
            // If the receiver is gone, the run ends for another reason.
            let _ = context.out.send(RegionMessage::LeftOut).await;
            None
        }
    }
}

impl Source for LookupSearch {
    fn run(self: Box<Self>, out: EventSender, shutdown: ShutdownSignal) -> SourceRun {
        Box::pin(self.search(out, shutdown))
    }
}
