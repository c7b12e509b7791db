//! When to send again, and when to give up: one pure policy, and the one loop that waits.
//!
//! Everything sent is safe to send again: documents are created under fixed ids, mappings only grow.
//! So trouble costs time and nothing else. A piece of work (one batch, one mapping call) gives up when it
//! made no progress for [`Policy::patience`]; the run then ends early with its position saved.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::report::Log;
use crate::shutdown::ShutdownLevel;
use crate::shutdown::ShutdownSignal;
use crate::sink::{Block, Cause, Error, Shown};
use crate::waits;

/// Answers that no engine gives are tried this often, over about a minute: a proxy may be restarting.
const GARBAGE_TRIES: u32 = 9;

/// Time between the first two lines about trouble; each further one is three times as long.
const FIRST_GAP: Duration = Duration::from_secs(10);

/// Longest time between two lines, so that an outage of hours stays readable.
const LONGEST_GAP: Duration = Duration::from_mins(5);

/// How long to wait between tries, and for how long altogether.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Upper limit of the first wait; doubles with each further one.
    pub(super) base: Duration,
    /// Upper limit of every wait.
    pub(super) cap: Duration,
    /// Time without any progress after which a piece of work gives up.
    pub(super) patience: Duration,
    /// The same while the engine blocks writes (a full disk): a person is needed, so sooner.
    pub(super) blocked: Duration,
    /// The same once the user asked to stop.
    pub(super) draining: Duration,
}

impl Policy {
    /// Returns the usual policy with a patience of its own.
    pub(super) fn with_patience(patience: Duration) -> Self {
        Self {
            base: Duration::from_millis(200),
            cap: Duration::from_secs(30),
            patience,
            blocked: patience.min(Duration::from_mins(1)),
            draining: patience.min(Duration::from_secs(5)),
        }
    }

    /// Returns the wait before try number `attempt` (from 1) with full jitter; `random` is in 0..1.
    ///
    /// Full jitter spreads many clients best. What the engine asked for (`Retry-After`) is a lower
    /// limit, but never keeps us longer than a minute: a date in the far future is a mistake.
    pub(super) fn delay(&self, attempt: u32, asked: Option<Duration>, random: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(16);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.cap);
        let jittered = ceiling.mul_f64(random.clamp(0.05, 1.0));
        jittered.max(asked.unwrap_or_default().min(Duration::from_mins(1)))
    }
}

/// Returns whether the engine said that it takes no writes until a person makes room on its disk.
fn is_block(cause: &Cause) -> bool {
    cause.block().is_some_and(Block::is_of_disk)
}

/// What all pieces of work share when they meet trouble.
#[derive(Clone, Debug)]
pub(super) struct Retrier {
    policy: Policy,
    address: Arc<str>,
    log: Log,
    stop: ShutdownSignal,
    warned: Arc<Mutex<Option<Warned>>>,
}

/// When there was a line last, and how long to the next one.
#[derive(Clone, Copy, Debug)]
struct Warned {
    at: Instant,
    gap: Duration,
}

impl Retrier {
    pub(super) fn new(policy: Policy, address: &str, log: Log, stop: ShutdownSignal) -> Self {
        Self { policy, address: address.into(), log, stop, warned: Arc::default() }
    }

    /// Starts watching one piece of work.
    pub(super) fn watch(&self) -> Trouble<'_> {
        Trouble {
            retrier: self,
            since: None,
            blocked: None,
            draining: None,
            attempt: 0,
            garbage: 0,
        }
    }

    fn warn(&self, cause: &Cause, since: Instant, delay: Duration) {
        let now = Instant::now();
        let lasted = now - since;
        if lasted + delay < waits::FIRST {
            return;
        }
        {
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            let gap = match *warned {
                Some(Warned { at, gap }) if now - at < gap => return,
                // Trouble that began since is new.
                Some(Warned { at, gap }) if since <= at => (gap * 3).min(LONGEST_GAP),
                _ => FIRST_GAP,
            };
            *warned = Some(Warned { at: now, gap });
        }
        let so_far = match lasted.as_secs() {
            0 => String::new(),
            _ => format!(", for {} now", Shown(lasted)),
        };
        self.log.warn(&self.address, format_args!("{cause}; trying again{so_far}"));
    }
}

/// The trouble of one piece of work since it last made progress.
#[derive(Debug)]
pub(super) struct Trouble<'a> {
    retrier: &'a Retrier,
    since: Option<Instant>,
    blocked: Option<Instant>,
    draining: Option<Instant>,
    attempt: u32,
    garbage: u32,
}

impl Trouble<'_> {
    /// Notes progress: patience starts anew, and waits get shorter step by step.
    pub(super) fn eased(&mut self) {
        self.since = None;
        self.blocked = None;
        self.attempt /= 2;
        self.garbage = 0;
    }

    /// Waits before the next try.
    ///
    /// # Errors
    ///
    /// Returns what to end the run with if this went on for too long, or the user asked to stop.
    pub(super) async fn wait(
        &mut self,
        cause: Cause,
        asked: Option<Duration>,
    ) -> Result<(), Error> {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.attempt += 1;
        self.blocked = is_block(&cause).then(|| self.blocked.unwrap_or_else(Instant::now));
        self.garbage += u32::from(matches!(cause, Cause::Garbage { .. }));
        let delay = self.retrier.policy.delay(self.attempt, asked, fastrand::f64());
        self.retrier.warn(&cause, since, delay);

        let wake = Instant::now() + delay;
        loop {
            let left = self.left(since);
            if left.is_zero() || self.garbage >= GARBAGE_TRIES {
                return Err(self.give_up(since, cause));
            }
            let until = wake.min(Instant::now() + left);
            let next = self.next_urgency();
            tokio::select! {
                biased;
                () = self.retrier.stop.reached(next) => {}
                () = tokio::time::sleep_until(until) => return Ok(()),
            }
        }
    }

    /// Returns how long this trouble may still last.
    fn left(&mut self, since: Instant) -> Duration {
        let now = Instant::now();
        let policy = self.retrier.policy;
        let patience = policy.patience.saturating_sub(now - since);
        let left = match self.blocked {
            Some(blocked) => patience.min(policy.blocked.saturating_sub(now - blocked)),
            None => patience,
        };
        match self.retrier.stop.level() {
            ShutdownLevel::Running => left,
            ShutdownLevel::Draining => {
                let draining = *self.draining.get_or_insert(now);
                left.min(policy.draining.saturating_sub(now - draining.max(since)))
            }
            ShutdownLevel::Immediate => Duration::ZERO,
        }
    }

    fn next_urgency(&self) -> ShutdownLevel {
        if self.retrier.stop.is_requested() {
            ShutdownLevel::Immediate
        } else {
            ShutdownLevel::Draining
        }
    }

    fn give_up(&self, since: Instant, cause: Cause) -> Error {
        let (url, waited) = (self.retrier.address.to_string(), Instant::now() - since);
        if self.garbage >= GARBAGE_TRIES {
            Error::NoEngine { url, source: cause }
        } else if self.retrier.stop.is_requested() {
            Error::Interrupted { url, source: Some(cause) }
        } else if is_block(&cause) {
            Error::Blocked { url, waited, source: cause }
        } else {
            Error::GaveUp { url, waited, source: cause }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::log::{Format, Verbosity, tests::page};
    use crate::shutdown::{ShutdownTrigger, shutdown_channel};

    const MINUTE: Duration = Duration::from_mins(1);

    fn policy() -> Policy {
        Policy::with_patience(10 * MINUTE)
    }

    /// The usual policy a thousand times as fast.
    fn hurried() -> Policy {
        Policy {
            base: Duration::from_micros(200),
            cap: Duration::from_millis(30),
            patience: Duration::from_millis(600),
            blocked: Duration::from_millis(60),
            draining: Duration::from_millis(30),
        }
    }

    fn retrier(policy: Policy) -> (ShutdownTrigger, Retrier) {
        let (raise, stop) = shutdown_channel();
        (raise, Retrier::new(policy, "http://engine", Log::default(), stop))
    }

    fn busy() -> Cause {
        let code = "es_rejected_execution_exception".into();
        Cause::Answer { status: 429, code, reason: String::new() }
    }

    fn full_disk() -> Cause {
        let reason = "index [a] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded];".into();
        Cause::Answer { status: 429, code: "cluster_block_exception".into(), reason }
    }

    /// Waits until it gives up; returns why, and how often it tried.
    async fn patience_with(trouble: &mut Trouble<'_>, cause: Cause) -> (Error, u32) {
        let mut tries = 1;
        loop {
            if let Err(error) = trouble.wait(cause.clone(), None).await {
                return (error, tries);
            }
            tries += 1;
        }
    }

    #[test]
    fn trouble_is_told_after_five_seconds_and_then_ever_more_rarely() {
        let (log, page) = page(Format::Text, Verbosity::Quiet);
        let (_raise, stop) = shutdown_channel();
        let retrier = Retrier::new(policy(), "http://engine", log, stop);
        let since = Instant::now().checked_sub(MINUTE).unwrap();
        retrier.warn(&busy(), Instant::now(), Duration::from_secs(4));
        assert_eq!(page.text(), "");
        for _ in 0..3 {
            retrier.warn(&busy(), since, Duration::ZERO);
        }
        let told = "warning: http://engine: 429 es_rejected_execution_exception; trying again, for 60 s now\n";
        assert_eq!(page.text(), told, "once");
        let gap = |retrier: &Retrier| retrier.warned.lock().unwrap().unwrap().gap;
        assert_eq!(gap(&retrier), FIRST_GAP);
        retrier.warned.lock().unwrap().as_mut().unwrap().at = since;
        retrier.warn(&busy(), since, Duration::ZERO);
        assert_eq!((page.text().lines().count(), gap(&retrier)), (2, FIRST_GAP * 3));
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let waits: Vec<_> = (1..=10).map(|attempt| policy().delay(attempt, None, 1.0)).collect();
        assert_eq!(waits[0], Duration::from_millis(200));
        assert!(waits.windows(2).all(|pair| pair[1] == (pair[0] * 2).min(policy().cap)));
        assert_eq!(policy().delay(u32::MAX, None, 1.0), policy().cap);
    }

    #[test]
    fn jitter_spreads_over_the_whole_wait_but_never_to_nothing() {
        assert_eq!(policy().delay(4, None, 0.5), Duration::from_millis(800));
        assert!(policy().delay(4, None, 0.0) > Duration::ZERO);
    }

    #[test]
    fn the_engine_may_ask_for_more_but_not_for_ever() {
        assert_eq!(policy().delay(1, Some(Duration::from_secs(7)), 0.5), Duration::from_secs(7));
        assert_eq!(policy().delay(1, Some(100 * MINUTE), 0.5), MINUTE);
    }

    #[test]
    fn a_block_and_a_drain_are_waited_out_for_less_long() {
        assert!(policy().blocked < policy().patience && policy().draining < policy().patience);
        let short = Policy::with_patience(Duration::from_secs(1));
        assert!(short.blocked <= short.patience && short.draining <= short.patience);
    }

    #[tokio::test]
    async fn gives_up_after_its_patience_and_says_why() {
        let (_raise, retrier) = retrier(hurried());
        let (error, tries) = patience_with(&mut retrier.watch(), busy()).await;
        assert!(matches!(error, Error::GaveUp { waited, .. } if waited >= hurried().patience));
        assert!(tries > 10);
    }

    #[tokio::test]
    async fn progress_starts_the_patience_anew() {
        let (_raise, retrier) =
            retrier(Policy { patience: Duration::from_millis(60), ..hurried() });
        let mut trouble = retrier.watch();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(200) {
            trouble.wait(busy(), None).await.unwrap();
            trouble.eased();
        }
    }

    #[tokio::test]
    async fn a_block_needs_a_person_so_it_gives_up_sooner() {
        let (_raise, retrier) = retrier(hurried());
        let (error, _) = patience_with(&mut retrier.watch(), full_disk()).await;
        assert!(matches!(error, Error::Blocked { waited, .. } if waited < hurried().patience));
    }

    #[tokio::test]
    async fn an_outage_before_a_block_does_not_shorten_the_time_to_free_the_disk() {
        let (_raise, retrier) = retrier(hurried());
        let mut trouble = retrier.watch();
        let start = Instant::now();
        while start.elapsed() < hurried().blocked * 2 {
            trouble.wait(busy(), None).await.unwrap();
        }
        trouble.wait(full_disk(), None).await.unwrap();
        let starting = Cause::Answer {
            status: 503,
            code: "cluster_block_exception".into(),
            reason: "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];".into(),
        };
        assert!(!is_block(&starting), "an engine that starts is no full disk");
    }

    #[tokio::test]
    async fn answers_of_no_engine_are_tried_a_few_times_only() {
        let (_raise, retrier) = retrier(hurried());
        let garbage = Cause::Garbage { status: 200, reason: "HTML".into() };
        let (error, tries) = patience_with(&mut retrier.watch(), garbage).await;
        assert!(matches!(error, Error::NoEngine { .. }));
        assert_eq!(tries, GARBAGE_TRIES);
    }

    #[tokio::test]
    async fn draining_shortens_the_patience() {
        let (raise, retrier) = retrier(hurried());
        raise.raise(ShutdownLevel::Draining);
        let start = Instant::now();
        let (error, _) = patience_with(&mut retrier.watch(), busy()).await;
        assert!(matches!(error, Error::Interrupted { source: Some(_), .. }));
        assert!(start.elapsed() >= hurried().draining && start.elapsed() < hurried().patience);
    }

    #[tokio::test]
    async fn leaving_ends_a_wait_at_once() {
        let (raise, retrier) = retrier(policy());
        let mut trouble = retrier.watch();
        let start = Instant::now();
        let (waited, ()) = tokio::join!(trouble.wait(busy(), Some(MINUTE)), async {
            raise.raise(ShutdownLevel::Draining);
            tokio::task::yield_now().await;
            raise.raise(ShutdownLevel::Immediate);
        });
        assert!(matches!(waited, Err(Error::Interrupted { .. })));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
