//! The clock that requests are signed with, and its difference from the clocks of AWS.
//!
//! Input: a function that returns the time, and the `Date` header of responses. Output: the time, and the clock skew.
//! Invariant: nothing else below `aws` reads the system clock, so that tests control it.
//! Deliberately absent: correcting a skew. The user must fix the clock, because "now" would be wrong for other uses too.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use aws_smithy_async::time::TimeSource;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};

/// Largest skew that does not explain a rejected signature: AWS accepts five minutes, and the response takes time, too.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(4);

/// The clock that requests are signed with. Clones share it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// Returns a clock that shows the time which `now` returns.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        self.now().into()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Clock")
    }
}

/// Time by which the local clock is ahead of the service that sent a response; negative if it is behind. Attached to
/// the response as an extension.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockSkew(pub(super) SignedDuration);

/// The clock skew of the last response, shared by all sessions of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct LastClockSkew(Arc<Mutex<Option<SignedDuration>>>);

impl LastClockSkew {
    /// Records the difference between the local time and the `Date` header of a response, and returns it. Returns
    /// `None` if the header is missing or invalid.
    pub(super) fn record(&self, now: Timestamp, date: Option<&str>) -> Option<ClockSkew> {
        let remote = rfc2822::DateTimeParser::new().parse_timestamp(date?).ok()?;
        let skew = now.duration_since(remote);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
        Some(ClockSkew(skew))
    }

    /// Returns the last recorded skew.
    pub(super) fn get(&self) -> Option<SignedDuration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns true if a skew is large enough to explain a rejected signature.
pub fn is_excessive_skew(skew: SignedDuration) -> bool {
    skew.abs() > MAX_CLOCK_SKEW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_a_response_gives_the_clock_skew() {
        let last = LastClockSkew::default();
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        assert!(last.record(now, None).is_none());
        assert!(last.record(now, Some("yesterday")).is_none());
        assert_eq!(last.get(), None);
        let date = Some("Thu, 01 Jan 2026 00:00:00 GMT");
        assert_eq!(last.record(now, date).unwrap().0, SignedDuration::from_mins(10));
        assert_eq!(last.get(), Some(SignedDuration::from_mins(10)));
    }
}
