//! The time of an invocation: when its run has to drain, and when it is abandoned.
//!
//! Input: how much time Lambda gives, and whether the process is to end. Output: the levels of a [`ShutdownTrigger`], and `None` for work that is not over in time.
//! Invariant: the answer is sent before Lambda ends the invocation, so Lambda learns which messages to deliver again, and the process
//! goes on.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::shutdown::{ShutdownLevel, ShutdownSignal, ShutdownTrigger};

/// The longest time that a function can have.
const MAX_TIME: Duration = Duration::from_mins(15);

/// The shortest and the longest margin, unless the time is short: what is in flight is finished in it, such as a bulk request and the
/// attempt to deliver an alert.
const MIN_MARGIN: Duration = Duration::from_secs(1);
const MAX_MARGIN: Duration = Duration::from_secs(5);

/// The time for an invocation in progress after SIGTERM: Lambda ends the process 2 seconds after it.
const STOP_TIME: Duration = Duration::from_millis(1_500);

/// When the steps of an invocation are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    /// Nothing new is started, and what is in flight is finished.
    drain: Instant,
    /// Requests without a response are abandoned.
    abandon: Instant,
    /// The invocation is answered, whatever is still going on.
    answer: Instant,
}

impl Deadline {
    /// Divides the time that is left.
    pub(super) fn new(now: Instant, left: Option<Duration>) -> Self {
        let left = left.unwrap_or(MAX_TIME).min(MAX_TIME);
        let margin = (left / 10).clamp(MIN_MARGIN, MAX_MARGIN).min(left / 3);
        Self {
            drain: now + left - margin,
            abandon: now + left - margin / 2,
            answer: now + left - margin / 4,
        }
    }

    /// Returns the deadline of an invocation in progress when the process is asked to end.
    fn stopped(self, now: Instant) -> Self {
        Self {
            drain: self.drain.min(now),
            abandon: self.abandon.min(now + STOP_TIME * 2 / 3),
            answer: self.answer.min(now + STOP_TIME),
        }
    }

    /// Returns whether nothing new is to be started.
    pub(super) fn is_draining(self, stop: &ShutdownSignal) -> bool {
        stop.is_requested() || Instant::now() >= self.drain
    }

    /// Does work, and raises the levels of a shutdown while it is not over. The time gets shorter once `stop` is requested. Returns
    /// `None` if the work is not over when the invocation has to be answered.
    pub(super) async fn run<T>(
        self,
        trigger: &ShutdownTrigger,
        stop: &ShutdownSignal,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            result = self.steps(trigger, work.as_mut()) => return result,
            () = stop.reached(ShutdownLevel::Draining) => {}
        }
        self.stopped(Instant::now()).steps(trigger, work).await
    }

    async fn steps<T>(
        self,
        trigger: &ShutdownTrigger,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        for (due, level) in
            [(self.drain, ShutdownLevel::Draining), (self.abandon, ShutdownLevel::Immediate)]
        {
            tokio::select! {
                biased;
                result = &mut work => return Some(result),
                () = sleep_until(due) => trigger.raise(level),
            }
        }
        timeout_at(self.answer, work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::shutdown_channel;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_margin_suits_the_time() {
        let now = Instant::now();
        let margin =
            |left: Duration| (now + left).duration_since(Deadline::new(now, Some(left)).drain);
        assert_eq!(margin(seconds(900)), seconds(5));
        assert_eq!(margin(seconds(30)), seconds(3));
        assert_eq!(margin(seconds(4)), seconds(1));
        assert_eq!(margin(seconds(3)), seconds(1));
        assert_eq!(margin(Duration::from_millis(300)), Duration::from_millis(100));
        assert_eq!(margin(Duration::ZERO), Duration::ZERO);
        assert_eq!(Deadline::new(now, None), Deadline::new(now, Some(MAX_TIME)));
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_asked_to_end_before_it_is_given_up() {
        let (trigger, shutdown) = shutdown_channel();
        let start = Instant::now();
        let (_process, stop) = shutdown_channel();
        let deadline = Deadline::new(start, Some(seconds(40)));
        let mut reached = Vec::new();
        let work = async {
            for level in [ShutdownLevel::Draining, ShutdownLevel::Immediate] {
                shutdown.reached(level).await;
                reached.push(start.elapsed());
            }
            std::future::pending::<()>().await;
        };
        assert_eq!(deadline.run(&trigger, &stop, work).await, None);
        assert_eq!(reached, [seconds(36), seconds(38)]);
        assert_eq!(start.elapsed(), seconds(39));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_to_end_answers_before_it_is_killed() {
        let (trigger, shutdown) = shutdown_channel();
        let (process, stop) = shutdown_channel();
        let start = Instant::now();
        let deadline = Deadline::new(start, Some(seconds(40)));
        let mut drained = None;
        let work = async {
            tokio::time::timeout(seconds(5), std::future::pending::<()>()).await.unwrap_err();
            process.raise(ShutdownLevel::Draining);
            shutdown.reached(ShutdownLevel::Draining).await;
            drained = Some(start.elapsed());
            std::future::pending::<()>().await;
        };
        assert_eq!(deadline.run(&trigger, &stop, work).await, None);
        assert_eq!((drained, start.elapsed()), (Some(seconds(5)), seconds(5) + STOP_TIME));
        // A deadline that comes first is still kept.
        let soon = Deadline::new(start, Some(Duration::from_millis(100)));
        assert_eq!(soon.stopped(start + seconds(1)).answer, soon.answer);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_over_in_time_is_not_disturbed() {
        let (trigger, shutdown) = shutdown_channel();
        let (_process, stop) = shutdown_channel();
        let deadline = Deadline::new(Instant::now(), Some(seconds(40)));
        assert_eq!(deadline.run(&trigger, &stop, async { 7 }).await, Some(7));
        assert!(!shutdown.is_requested());
    }
}
