//! When a failed request is sent again, and when the run gives up.
//!
//! Input: the [`Cause`] of each failure, and progress. Output: a wait, or the [`Error`] that ends the run.
//! Every request is safe to repeat: documents are created under fixed ids, and mappings only grow. An operation (one
//! batch, or one call) gives up when it made no progress for [`RetryPolicy::deadline`]; the run then ends early with its
//! position saved.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limit::Backoff;
use crate::pending::FIRST_NOTICE_AFTER;
use crate::report::Log;
use crate::shutdown::{ShutdownLevel, ShutdownSignal};
use crate::sink::cause::Cause;
use crate::sink::error::{DisplayDuration, Error};
use crate::sink::refusal::ClusterBlock;

/// Attempts before a server that responds as no engine does is given up, over about a minute: a proxy may be restarting.
const MAX_UNEXPECTED_RESPONSES: u32 = 9;

/// Longest wait that the engine may ask for with `Retry-After`: a date in the far future is a mistake.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Interval between the first two warnings; each further one is three times as long.
const FIRST_WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Longest interval between two warnings, so that an outage of hours fits on a screen.
const MAX_WARNING_INTERVAL: Duration = Duration::from_mins(5);

/// How long to wait between attempts, and for how long to retry.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink) struct RetryPolicy {
    /// The wait before each attempt.
    pub(in crate::sink) backoff: Backoff,
    /// Longest time without progress.
    pub(in crate::sink) deadline: Duration,
    /// The same while the engine blocks writes because its disk is full. Shorter, because a person has to act.
    pub(in crate::sink) blocked_deadline: Duration,
    /// The same once a shutdown was requested.
    pub(in crate::sink) draining_deadline: Duration,
}

impl RetryPolicy {
    /// Returns the default policy with this deadline.
    pub(in crate::sink) fn with_deadline(deadline: Duration) -> Self {
        Self {
            backoff: Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(30) },
            deadline,
            blocked_deadline: deadline.min(Duration::from_mins(1)),
            draining_deadline: deadline.min(Duration::from_secs(5)),
        }
    }

    /// Returns the wait before retry number `attempt`, counted from 1, and at least `retry_after`.
    fn delay(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let retry_after = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        self.backoff.delay(attempt).max(retry_after)
    }
}

/// Returns whether the engine blocks writes until disk space is freed.
fn is_disk_full(cause: &Cause) -> bool {
    cause.cluster_block().is_some_and(ClusterBlock::is_disk_full)
}

/// What all retried operations share.
#[derive(Clone, Debug)]
pub(in crate::sink) struct RetryContext {
    policy: RetryPolicy,
    address: Arc<str>,
    log: Log,
    shutdown: ShutdownSignal,
    last_warning: Arc<Mutex<Option<LastWarning>>>,
}

#[derive(Clone, Copy, Debug)]
struct LastWarning {
    at: Instant,
    /// Time until the next warning.
    interval: Duration,
}

impl RetryContext {
    pub(in crate::sink) fn new(
        policy: RetryPolicy,
        address: &str,
        log: Log,
        shutdown: ShutdownSignal,
    ) -> Self {
        Self { policy, address: address.into(), log, shutdown, last_warning: Arc::default() }
    }

    /// Starts an operation that has not failed yet.
    pub(super) fn start(&self) -> RetryState<'_> {
        RetryState {
            context: self,
            failing_since: None,
            blocked_since: None,
            draining_since: None,
            attempt: 0,
            unexpected_responses: 0,
        }
    }

    /// Warns that an operation is retried, if it has failed for long enough and no other warning came just before.
    fn warn(&self, cause: &Cause, failing_since: Instant, delay: Duration) {
        let now = Instant::now();
        let lasted = now - failing_since;
        if lasted + delay < FIRST_NOTICE_AFTER {
            return;
        }
        {
            let mut last = self.last_warning.lock().unwrap_or_else(PoisonError::into_inner);
            let interval = match *last {
                Some(LastWarning { at, interval }) if now - at < interval => return,
                Some(LastWarning { at, interval }) if failing_since <= at => {
                    (interval * 3).min(MAX_WARNING_INTERVAL)
                }
                // This failure began after the last warning.
                _ => FIRST_WARNING_INTERVAL,
            };
            *last = Some(LastWarning { at: now, interval });
        }
        let so_far = match lasted.as_secs() {
            0 => String::new(),
            _ => format!(" for {}", DisplayDuration(lasted)),
        };
        self.log.warn(&self.address, format_args!("{cause}; retrying{so_far}"));
    }
}

/// The failures of one operation since it last made progress.
#[derive(Debug)]
pub(super) struct RetryState<'a> {
    context: &'a RetryContext,
    failing_since: Option<Instant>,
    blocked_since: Option<Instant>,
    draining_since: Option<Instant>,
    attempt: u32,
    unexpected_responses: u32,
}

impl RetryState<'_> {
    /// Records progress: the deadline starts again, and waits become shorter.
    pub(super) fn on_progress(&mut self) {
        self.failing_since = None;
        self.blocked_since = None;
        self.attempt /= 2;
        self.unexpected_responses = 0;
    }

    /// Waits before the next attempt, at least for as long as the engine asked for.
    ///
    /// # Errors
    ///
    /// Returns the error that ends the run if the deadline has passed, or a shutdown was requested.
    pub(super) async fn wait(
        &mut self,
        cause: Cause,
        retry_after: Option<Duration>,
    ) -> Result<(), Error> {
        let failing_since = *self.failing_since.get_or_insert_with(Instant::now);
        self.attempt += 1;
        self.blocked_since =
            is_disk_full(&cause).then(|| self.blocked_since.unwrap_or_else(Instant::now));
        self.unexpected_responses += u32::from(matches!(cause, Cause::UnexpectedResponse { .. }));
        let delay = self.context.policy.delay(self.attempt, retry_after);
        self.context.warn(&cause, failing_since, delay);

        let wake = Instant::now() + delay;
        loop {
            let left = self.time_left(failing_since);
            if left.is_zero() || self.unexpected_responses >= MAX_UNEXPECTED_RESPONSES {
                return Err(self.give_up(failing_since, cause));
            }
            let until = wake.min(Instant::now() + left);
            let next_level = self.next_shutdown_level();
            tokio::select! {
                biased;
                () = self.context.shutdown.reached(next_level) => {}
                () = tokio::time::sleep_until(until) => return Ok(()),
            }
        }
    }

    /// Returns the time until the operation gives up.
    fn time_left(&mut self, failing_since: Instant) -> Duration {
        let now = Instant::now();
        let policy = self.context.policy;
        let left = policy.deadline.saturating_sub(now - failing_since);
        let left = match self.blocked_since {
            Some(since) => left.min(policy.blocked_deadline.saturating_sub(now - since)),
            None => left,
        };
        match self.context.shutdown.level() {
            ShutdownLevel::Running => left,
            ShutdownLevel::Draining => {
                let since = *self.draining_since.get_or_insert(now);
                left.min(policy.draining_deadline.saturating_sub(now - since.max(failing_since)))
            }
            ShutdownLevel::Immediate => Duration::ZERO,
        }
    }

    fn next_shutdown_level(&self) -> ShutdownLevel {
        if self.context.shutdown.is_requested() {
            ShutdownLevel::Immediate
        } else {
            ShutdownLevel::Draining
        }
    }

    fn give_up(&self, failing_since: Instant, cause: Cause) -> Error {
        let (url, waited) = (self.context.address.to_string(), Instant::now() - failing_since);
        if self.unexpected_responses >= MAX_UNEXPECTED_RESPONSES {
            Error::NotAnEngine { url, source: cause }
        } else if self.context.shutdown.is_requested() {
            Error::Interrupted { url, source: Some(cause) }
        } else if is_disk_full(&cause) {
            Error::WriteBlocked { url, waited, source: cause }
        } else {
            Error::RetriesExhausted { url, waited, source: cause }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::log::{LogFormat, Verbosity, tests::page};
    use crate::shutdown::{ShutdownTrigger, shutdown_channel};

    const MINUTE: Duration = Duration::from_mins(1);

    fn policy() -> RetryPolicy {
        RetryPolicy::with_deadline(10 * MINUTE)
    }

    fn context() -> (ShutdownTrigger, RetryContext) {
        let (trigger, shutdown) = shutdown_channel();
        (trigger, RetryContext::new(policy(), "http://engine", Log::default(), shutdown))
    }

    fn busy() -> Cause {
        let code = "es_rejected_execution_exception".into();
        Cause::ErrorResponse { status: 429, code, reason: String::new() }
    }

    fn disk_full() -> Cause {
        let reason = "index [a] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded];".into();
        Cause::ErrorResponse { status: 429, code: "cluster_block_exception".into(), reason }
    }

    /// Waits until the operation gives up; returns why, and the number of attempts.
    async fn until_given_up(state: &mut RetryState<'_>, cause: Cause) -> (Error, u32) {
        let mut attempts = 1;
        loop {
            if let Err(error) = state.wait(cause.clone(), None).await {
                return (error, attempts);
            }
            attempts += 1;
        }
    }

    /// Waits again and again until this time has passed.
    async fn keep_failing(state: &mut RetryState<'_>, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            state.wait(busy(), None).await.unwrap();
        }
    }

    #[test]
    fn a_failure_is_reported_after_five_seconds_and_then_at_growing_intervals() {
        let (log, page) = page(LogFormat::Text, Verbosity::Quiet);
        let (_trigger, shutdown) = shutdown_channel();
        let context = RetryContext::new(policy(), "http://engine", log, shutdown);
        let since = Instant::now().checked_sub(MINUTE).unwrap();
        context.warn(&busy(), Instant::now(), Duration::from_secs(4));
        assert_eq!(page.text(), "");
        for _ in 0..3 {
            context.warn(&busy(), since, Duration::ZERO);
        }
        let expected =
            "warning: http://engine: 429 es_rejected_execution_exception; retrying for 60 s\n";
        assert_eq!(page.text(), expected, "once");
        let interval =
            |context: &RetryContext| context.last_warning.lock().unwrap().unwrap().interval;
        assert_eq!(interval(&context), FIRST_WARNING_INTERVAL);
        context.last_warning.lock().unwrap().as_mut().unwrap().at = since;
        context.warn(&busy(), since, Duration::ZERO);
        assert_eq!(
            (page.text().lines().count(), interval(&context)),
            (2, FIRST_WARNING_INTERVAL * 3)
        );
    }

    #[test]
    fn waits_double_up_to_thirty_seconds() {
        let bounds = [1, 2, 3, u32::MAX]
            .map(|attempt| policy().backoff.delay_with(attempt, 1.0).as_millis());
        assert_eq!(bounds, [200, 400, 800, 30_000]);
    }

    #[test]
    fn the_engine_may_ask_for_a_longer_wait_up_to_a_minute() {
        assert_eq!(policy().delay(1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(policy().delay(1, Some(100 * MINUTE)), MINUTE);
    }

    #[test]
    fn a_full_disk_and_a_shutdown_shorten_the_deadline() {
        assert!(policy().blocked_deadline < policy().deadline);
        assert!(policy().draining_deadline < policy().deadline);
        let short = RetryPolicy::with_deadline(Duration::from_secs(1));
        assert!(short.blocked_deadline <= short.deadline);
        assert!(short.draining_deadline <= short.deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_the_deadline_with_the_cause() {
        let (_trigger, context) = context();
        let (error, attempts) = until_given_up(&mut context.start(), busy()).await;
        let Error::RetriesExhausted { waited, source, .. } = error else { panic!("{error:?}") };
        assert_eq!((waited.as_secs(), source), (600, busy()));
        assert!(attempts > 20, "{attempts}");
    }

    #[tokio::test(start_paused = true)]
    async fn progress_starts_the_deadline_again() {
        let (_trigger, context) = context();
        let mut state = context.start();
        for _ in 0..3 {
            keep_failing(&mut state, 9 * MINUTE).await;
            state.on_progress();
        }
        let (error, _) = until_given_up(&mut state, busy()).await;
        assert!(
            matches!(error, Error::RetriesExhausted { waited, .. } if waited.as_secs() == 600),
            "counted from the last progress: {error:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_disk_is_given_up_sooner_because_a_person_has_to_act() {
        let (_trigger, context) = context();
        let (error, _) = until_given_up(&mut context.start(), disk_full()).await;
        assert!(
            matches!(error, Error::WriteBlocked { waited, .. } if waited.as_secs() == 60),
            "{error:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_before_a_full_disk_does_not_shorten_the_time_to_free_it() {
        let (_trigger, context) = context();
        let mut state = context.start();
        keep_failing(&mut state, 2 * policy().blocked_deadline).await;
        state.wait(disk_full(), None).await.unwrap();
        let starting = Cause::ErrorResponse {
            status: 503,
            code: "cluster_block_exception".into(),
            reason: "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];".into(),
        };
        assert!(!is_disk_full(&starting), "the disk of a starting engine is not full");
    }

    #[tokio::test(start_paused = true)]
    async fn unexpected_responses_are_retried_a_few_times_only() {
        let (_trigger, context) = context();
        let html = Cause::UnexpectedResponse { status: 200, reason: "HTML".into() };
        let (error, attempts) = until_given_up(&mut context.start(), html).await;
        assert!(matches!(error, Error::NotAnEngine { .. }));
        assert_eq!(attempts, MAX_UNEXPECTED_RESPONSES);
    }

    #[tokio::test(start_paused = true)]
    async fn draining_shortens_the_deadline() {
        let (trigger, context) = context();
        trigger.raise(ShutdownLevel::Draining);
        let start = Instant::now();
        let (error, _) = until_given_up(&mut context.start(), busy()).await;
        assert!(matches!(error, Error::Interrupted { source: Some(_), .. }));
        assert_eq!(start.elapsed().as_secs(), policy().draining_deadline.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn an_immediate_shutdown_ends_a_wait_at_once() {
        let (trigger, context) = context();
        let mut state = context.start();
        let start = Instant::now();
        let (waited, ()) = tokio::join!(state.wait(busy(), Some(MINUTE)), async {
            trigger.raise(ShutdownLevel::Draining);
            tokio::task::yield_now().await;
            trigger.raise(ShutdownLevel::Immediate);
        });
        assert!(matches!(waited, Err(Error::Interrupted { .. })));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
