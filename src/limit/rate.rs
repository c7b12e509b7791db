//! When the next request of one account and Region is sent.
//!
//! In: what was sent, what was granted, what was refused for the quota. Out: the moment of the next request.
//! Holds: requests are never closer than the quota allows, but for a timer's lateness; throttling slows at once, and
//! what is granted speeds up slowly, because the quota is shared with everyone who uses the account.
//! Absent on purpose: waiting. Tests turn the clock.

use std::time::Duration;

use tokio::time::Instant;

/// What is left of the rate when the quota was exceeded: strong enough to settle beside others in a few steps.
const DECREASE_FACTOR: f64 = 0.85;

/// Share of the full rate that a granted request gives back. Being alone again is noticed within two minutes, and
/// meanwhile the quota is exceeded about once in thirty requests.
const RECOVERY_STEP: f64 = 0.005;

/// Requests are sent at least at this share of the full rate, however much others take.
const MIN_SHARE: f64 = 0.05;

/// How late, in intervals, a timer may wake without the time being lost: no more than the jitter of the way there.
const LATENESS: f64 = 0.1;

/// Part of an interval that the second request waits for longer. The first one has a connection to open and arrives
/// late, so that the second would be too close behind it; and a bucket that is not quite empty forgives a late timer.
const OPENING: f64 = 0.25;

/// The pace of one account and Region.
#[derive(Debug)]
pub struct RateLimiter {
    max_rate: f64,
    share: f64,
    next: Instant,
    last_decrease: Instant,
    /// Whether a request was sent.
    has_sent: bool,
}

impl RateLimiter {
    /// Starts at the full rate, in requests a second.
    pub fn new(full: f64, now: Instant) -> Self {
        Self { max_rate: full, share: 1.0, next: now, last_decrease: now, has_sent: false }
    }

    /// Returns when the next request may be sent.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Notes that a request is sent.
    pub fn sent(&mut self, now: Instant) {
        let late = self.next + self.interval().mul_f64(LATENESS);
        let due = if now > late { now } else { self.next };
        let opening = if self.has_sent { 0.0 } else { OPENING };
        self.has_sent = true;
        self.next = due + self.interval().mul_f64(1.0 + opening);
    }

    /// Notes that a request was granted.
    pub fn granted(&mut self) {
        self.share = (self.share + RECOVERY_STEP).min(1.0);
    }

    /// Notes that a request, sent at that time, was refused for the quota.
    pub fn throttled(&mut self, sent: Instant, now: Instant) {
        // What was under way when we slowed down says nothing about the new pace.
        if sent < self.last_decrease {
            return;
        }
        self.share = (self.share * DECREASE_FACTOR).max(MIN_SHARE);
        self.last_decrease = now;
        // Lets the bucket fill again: one interval without a request.
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
    fn requests_keep_their_distance_and_a_late_timer_costs_nothing() {
        let start = Instant::now();
        let mut pace = RateLimiter::new(2.0, start);
        pace.sent(start);
        for request in 0..100 {
            assert_eq!(pace.next(), start + Duration::from_millis(625 + 500 * request));
            pace.sent(pace.next() + Duration::from_millis(1));
        }
    }

    #[test]
    fn a_pause_is_not_caught_up() {
        let start = Instant::now();
        let mut pace = RateLimiter::new(2.0, start);
        let later = start + Duration::from_mins(1);
        pace.sent(start);
        pace.sent(later);
        assert_eq!(pace.next(), later + Duration::from_millis(500));
    }

    #[test]
    fn a_burst_of_refusals_slows_once_and_what_is_granted_speeds_up_again() {
        let start = Instant::now();
        let mut pace = RateLimiter::new(2.0, start);
        for _ in 0..10 {
            pace.throttled(start, start + Duration::from_secs(1));
        }
        assert!((pace.share - DECREASE_FACTOR).abs() < 1e-9);
        pace.throttled(start + Duration::from_secs(2), start + Duration::from_secs(3));
        assert!((pace.share - DECREASE_FACTOR * DECREASE_FACTOR).abs() < 1e-9);
        for _ in 0..200 {
            pace.granted();
        }
        assert!((pace.share - 1.0).abs() < 1e-9);
    }

    #[test]
    fn refusals_never_stop_it() {
        let start = Instant::now();
        let mut pace = RateLimiter::new(2.0, start);
        for second in 1..1000 {
            let now = start + Duration::from_secs(second);
            pace.throttled(now, now);
        }
        pace.sent(pace.next());
        assert!(pace.interval() <= Duration::from_secs(10));
    }
}
