//! The retention while a load follows its sources: `trailload setup` may change it, and time passes.
//!
//! Input: how the retention is read from the engine, and the clock. Output: the time from which events are kept, for all
//! workers.
//! Invariant: the load does not wait for it. While the retention cannot be read, the one that was read before applies.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    error,
    normalize::{IndexBy, KeptFrom, Retention},
    report::Log,
    sink,
};

/// Time between two reads. Periods are a day long at least.
const INTERVAL: Duration = Duration::from_hours(1);

/// What a retention applies to.
pub(super) struct RetentionRenewal<'a, R> {
    /// Reads the retention from the engine.
    pub(super) read: R,
    /// The retention that was read before.
    pub(super) retention: Option<Retention>,
    pub(super) index_by: IndexBy,
    pub(super) kept_from: KeptFrom,
    pub(super) clock: fn() -> Timestamp,
    pub(super) log: &'a Log,
}

impl<R: AsyncFn() -> Result<Option<Retention>, sink::Error>> RetentionRenewal<'_, R> {
    /// Waits for the end of a load, and renews the time from which events are kept at every interval until then.
    pub(super) async fn renew_while<T>(mut self, loading: impl Future<Output = T>) -> T {
        let mut loading = Box::pin(loading);
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            tokio::select! {
                end = &mut loading => return end,
                _ = ticks.tick() => tokio::select! {
                    end = &mut loading => return end,
                    () = self.renew() => {}
                },
            }
        }
    }

    async fn renew(&mut self) {
        match (self.read)().await {
            Ok(retention) => self.retention = retention,
            Err(error) => {
                let causes: Vec<String> = error::chain(&error).map(ToString::to_string).collect();
                let causes = causes.join(": ");
                self.log
                    .warn("retention", format_args!("cannot be read, stays as it is: {causes}"));
            }
        }
        let from = self.retention.and_then(|it| it.kept_from(self.index_by, (self.clock)()));
        if !self.kept_from.replace(from) {
            return;
        }
        match self.retention.zip(from) {
            Some((retention, from)) => log_kept_from(retention, from, self.log),
            None => self.log.info("retention", "events are kept for ever: all are loaded"),
        }
    }
}

/// Logs from when on events are loaded.
pub(super) fn log_kept_from(retention: Retention, from: Timestamp, log: &Log) {
    let day = from.strftime("%Y-%m-%d");
    let message =
        format_args!("events are kept for {retention}: those before {day} are not loaded");
    log.info("retention", message);
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, sync::atomic::AtomicI64, sync::atomic::Ordering};

    use super::*;

    /// Seconds since 1970.
    static NOW: AtomicI64 = AtomicI64::new(0);

    fn now() -> Timestamp {
        Timestamp::from_second(NOW.load(Ordering::Relaxed)).unwrap()
    }

    fn second(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[tokio::test(start_paused = true)]
    async fn the_retention_and_the_clock_are_read_every_hour() {
        let days = |days: &str| Some(days.parse::<Retention>().unwrap());
        let current = RefCell::new(Ok(days("30d")));
        let kept_from = KeptFrom::default();
        let log = Log::default();
        let renewal = RetentionRenewal {
            read: async || current.borrow().clone().map_err(|url: String| interrupted(&url)),
            retention: None,
            index_by: IndexBy::Month,
            kept_from: kept_from.clone(),
            clock: now,
            log: &log,
        };
        let keeps = |time: &str| kept_from.keeps(second(time) * 1_000);
        let hour = async || {
            tokio::time::advance(INTERVAL + Duration::from_secs(1)).await;
            // The renewal runs while the load waits.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        };
        NOW.store(second("2024-06-15T00:00:00Z"), Ordering::Relaxed);
        let loading = async {
            assert!(keeps("2014-01-01T00:00:00Z"), "nothing is read at once");
            hour().await;
            assert!(keeps("2024-05-01T00:00:00Z") && !keeps("2024-04-30T23:59:59Z"));
            // The retention cannot be read, and time passes.
            *current.borrow_mut() = Err("http://engine".to_owned());
            NOW.store(second("2024-07-15T00:00:00Z"), Ordering::Relaxed);
            hour().await;
            assert!(keeps("2024-06-01T00:00:00Z") && !keeps("2024-05-31T23:59:59Z"));
            *current.borrow_mut() = Ok(None);
            hour().await;
            assert!(keeps("2014-01-01T00:00:00Z"));
            7
        };
        assert_eq!(renewal.renew_while(loading).await, 7);
    }

    fn interrupted(url: &str) -> sink::Error {
        sink::Error::Interrupted { url: url.to_owned(), source: None }
    }
}
