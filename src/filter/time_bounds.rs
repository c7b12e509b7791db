//! The time range of a search.
//!
//! Input: `--from` and `--to`, then the `eventTime` of events. Output: whether an event is in the range.
//! Invariant: both ends are inclusive and count whole seconds, as those of `LookupEvents` do. An event without a readable
//! time is in no range that has an end.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;

/// A time range with inclusive ends, in seconds of the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeBounds {
    /// First second, or `None` if the range has no start.
    pub from: Option<i64>,
    /// Last second, or `None` if the range has no end.
    pub to: Option<i64>,
}

impl TimeBounds {
    /// Returns the seconds between two times.
    pub fn new(from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        let first = |time: Timestamp| time.as_second() + i64::from(time.subsec_nanosecond() > 0);
        Self { from: from.map(first), to: to.map(whole_seconds) }
    }

    /// Returns whether the range contains every time, and events without one.
    pub fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the range contains a time.
    pub fn contains(&self, time: Timestamp) -> bool {
        let second = whole_seconds(time);
        self.from.is_none_or(|from| second >= from) && self.to.is_none_or(|to| second <= to)
    }

    /// Returns whether the range contains the time of an event.
    pub(super) fn contains_text(&self, event_time: &str) -> bool {
        self.is_unbounded() || parse_event_time(event_time).is_some_and(|time| self.contains(time))
    }
}

/// Rounds down, also before 1970.
fn whole_seconds(time: Timestamp) -> i64 {
    time.as_second() - i64::from(time.subsec_nanosecond() < 0)
}

/// Returns the time of an event, if it is readable.
pub fn event_time(event: &Value) -> Option<Timestamp> {
    parse_event_time(event.get("eventTime")?.as_str()?)
}

/// Parses an `eventTime`. Some copies of events have no zone; their times are in UTC as well.
pub fn parse_event_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let time: DateTime = text.parse().ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}
