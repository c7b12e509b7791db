//! Limits the requests per second of one account and Region, within a quota that others use as well.
//!
//! Input: requests as they are sent, and whether they were granted or throttled. Output: the time of the next request.
//! Invariant: requests are never closer together than the quota allows, except for the lateness of a timer. Throttling
//! lowers the rate at once; granted requests raise it slowly, because every user of the account shares the quota.
//! Deliberately absent: waiting. Callers pass the time, so that tests need no clock.

use std::time::Duration;

use tokio::time::Instant;

/// Factor applied to the rate when a request was throttled: strong enough to leave room for others in a few steps.
const DECREASE_FACTOR: f64 = 0.85;

/// Share of the full rate that a granted request restores. After others stop, the full rate is back within two
/// minutes; while they send, about one in thirty requests exceeds the quota.
const RECOVERY_STEP: f64 = 0.005;

/// Smallest share of the full rate, however much of the quota others use.
const MIN_SHARE: f64 = 0.05;

/// Lateness of a timer, in intervals, that does not delay later requests: not more than the jitter of the network.
const LATENESS: f64 = 0.1;

/// Additional wait, in intervals, before the second request. The first one opens the connection and arrives late, so
/// that the second would follow too closely; and a token bucket that is not quite empty tolerates a late timer.
const OPENING: f64 = 0.25;

/// An adaptive rate limiter for one account and Region.
#[derive(Debug)]
pub struct RateLimiter {
    max_rate: f64,
    share: f64,
    next: Instant,
    last_decrease: Instant,
    /// True after the first request.
    has_sent: bool,
}

impl RateLimiter {
    /// Returns a limiter that starts at its maximum, in requests per second.
    pub fn new(max_rate: f64, now: Instant) -> Self {
        Self { max_rate, share: 1.0, next: now, last_decrease: now, has_sent: false }
    }

    /// Returns when the next request may be sent.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Records that a request is sent.
    pub fn sent(&mut self, now: Instant) {
        let late = self.next + self.interval().mul_f64(LATENESS);
        let due = if now > late { now } else { self.next };
        let opening = if self.has_sent { 0.0 } else { OPENING };
        self.has_sent = true;
        self.next = due + self.interval().mul_f64(1.0 + opening);
    }

    /// Records that the first request was answered: it may have arrived only now, after the connection was opened, so the
    /// second one must not follow too closely.
    pub fn opened(&mut self, now: Instant) {
        self.next = self.next.max(now + self.interval());
    }

    /// Records that a request was granted.
    pub fn granted(&mut self) {
        self.share = (self.share + RECOVERY_STEP).min(1.0);
    }

    /// Records that a request sent at `sent` was throttled.
    pub fn throttled(&mut self, sent: Instant, now: Instant) {
        // Requests sent before the last decrease do not reflect the new rate.
        if sent < self.last_decrease {
            return;
        }
        self.share = (self.share * DECREASE_FACTOR).max(MIN_SHARE);
        self.last_decrease = now;
        // One interval without a request lets the token bucket of the service refill.
        self.next = self.next.max(now) + self.interval();
    }

    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / (self.max_rate * self.share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_keep_their_interval_and_a_late_timer_costs_nothing() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(2.0, start);
        limiter.sent(start);
        for request in 0..100 {
            assert_eq!(limiter.next(), start + Duration::from_millis(625 + 500 * request));
            limiter.sent(limiter.next() + Duration::from_millis(1));
        }
    }

    #[test]
    fn a_pause_is_not_caught_up() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(2.0, start);
        let later = start + Duration::from_mins(1);
        limiter.sent(start);
        limiter.sent(later);
        assert_eq!(limiter.next(), later + Duration::from_millis(500));
    }

    #[test]
    fn a_burst_of_throttling_slows_once_and_granted_requests_speed_up_again() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(2.0, start);
        for _ in 0..10 {
            limiter.throttled(start, start + Duration::from_secs(1));
        }
        assert!((limiter.share - DECREASE_FACTOR).abs() < 1e-9);
        limiter.throttled(start + Duration::from_secs(2), start + Duration::from_secs(3));
        assert!((limiter.share - DECREASE_FACTOR * DECREASE_FACTOR).abs() < 1e-9);
        for _ in 0..200 {
            limiter.granted();
        }
        assert!((limiter.share - 1.0).abs() < 1e-9);
    }

    #[test]
    fn throttling_never_stops_the_requests() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(2.0, start);
        for second in 1..1000 {
            let now = start + Duration::from_secs(second);
            limiter.throttled(now, now);
        }
        limiter.sent(limiter.next());
        assert!(limiter.interval() <= Duration::from_secs(10));
    }
}
