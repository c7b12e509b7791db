//! Limits how many messages an action sends in a time.
//!
//! Input: the limit, and the times at which messages are sent. Output: when the next one may be sent.
//! Invariant: in no interval of the length `per` are more than `messages` sent.
//! Deliberately absent: waiting. Callers pass the time, so that tests need no clock.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::sink::alert::ThrottleLimit;

/// Remembers the latest messages of an action.
#[derive(Debug)]
pub(super) struct Throttle {
    limit: Option<ThrottleLimit>,
    /// When the latest messages were sent, the oldest first; at most as many as the limit.
    sent: VecDeque<Instant>,
}

impl Throttle {
    pub(super) fn new(limit: Option<ThrottleLimit>) -> Self {
        Self { limit, sent: VecDeque::new() }
    }

    /// Returns when the next message may be sent; a time in the past if at once.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let Some(limit) = self.limit else { return now };
        let is_full = self.sent.len() >= capacity(limit);
        self.sent.front().filter(|_| is_full).map_or(now, |oldest| *oldest + limit.per)
    }

    /// Records that a message is sent.
    pub(super) fn sent(&mut self, now: Instant) {
        let Some(limit) = self.limit else { return };
        while self.sent.len() >= capacity(limit) {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }

    /// Takes back the latest message: nothing was sent.
    pub(super) fn not_sent(&mut self) {
        self.sent.pop_back();
    }
}

fn capacity(limit: ThrottleLimit) -> usize {
    usize::try_from(limit.messages.max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_interval_has_more_messages_than_the_limit() {
        let start = Instant::now();
        let mut throttle =
            Throttle::new(Some(ThrottleLimit { messages: 3, per: Duration::from_secs(10) }));
        let mut now = start;
        let mut sent = Vec::new();
        for _ in 0..9 {
            now = throttle.next(now).max(now);
            throttle.sent(now);
            sent.push((now - start).as_secs());
        }
        assert_eq!(sent, [0, 0, 0, 10, 10, 10, 20, 20, 20]);
    }

    #[test]
    fn without_a_limit_nothing_waits_or_is_remembered() {
        let now = Instant::now();
        let mut throttle = Throttle::new(None);
        for _ in 0..100 {
            assert_eq!(throttle.next(now), now);
            throttle.sent(now);
        }
        assert!(throttle.sent.is_empty());
    }
}
