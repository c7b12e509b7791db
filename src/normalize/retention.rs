//! How long events are kept, counted from the time of the events and not from that of their index.
//!
//! Input: a number of days, and the current time. Output: which indices have expired, and from when on events are kept.
//! Invariant: indices expire as a whole, at the earliest when their last possible event is older than the retention. So an
//! event is left out by a load exactly if its index has expired, and no load creates an expired index again.
//! Deliberately absent: the deletion of indices (see `sink::engine::retention`).

use std::{
    fmt,
    num::NonZeroU32,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};

use super::timestamp::IndexBy;

/// The longest retention, about a hundred years: the loader accepts no events that are older.
const MAX_DAYS: u32 = 36_500;

/// How long events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    days: NonZeroU32,
}

/// The value is not a number of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected whole days or weeks from 1d to {MAX_DAYS}d, such as 400d or 57w")]
pub struct InvalidRetention;

impl Retention {
    /// Returns the retention in days.
    pub fn days(self) -> u32 {
        self.days.get()
    }

    /// Returns the start of the oldest period that is kept at a point in time: events before it are in expired indices.
    /// `None` with [`IndexBy::None`], whose only index never expires.
    pub fn kept_from(self, by: IndexBy, now: Timestamp) -> Option<Timestamp> {
        by.period_start(self.limit(now)?)
    }

    /// Returns whether all events that an index of the prefix can contain are older than the retention. False for an index
    /// that documents of this prefix are not written to.
    pub fn has_expired(self, by: IndexBy, prefix: &str, index: &str, now: Timestamp) -> bool {
        let end = by.time_range(prefix, index).and_then(|range| range.to);
        end.zip(self.limit(now)).is_some_and(|(end, limit)| end <= limit)
    }

    fn limit(self, now: Timestamp) -> Option<Timestamp> {
        now.checked_sub(SignedDuration::from_hours(24 * i64::from(self.days()))).ok()
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}d", self.days)
    }
}

impl FromStr for Retention {
    type Err = InvalidRetention;

    fn from_str(text: &str) -> Result<Self, InvalidRetention> {
        let (number, days_each) = match (text.strip_suffix('d'), text.strip_suffix('w')) {
            (Some(number), _) => (number, 1),
            (_, Some(number)) => (number, 7),
            _ => return Err(InvalidRetention),
        };
        // The parser of the standard library also takes a sign.
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u32> = number.parse().ok().filter(|_| is_number);
        let days = number.and_then(|number| number.checked_mul(days_each));
        let days = days.filter(|days| *days <= MAX_DAYS).and_then(NonZeroU32::new);
        days.map(|days| Self { days }).ok_or(InvalidRetention)
    }
}

/// The time from which events are kept. Clones share it, so that a load that follows its sources can change it.
#[derive(Clone, Debug)]
pub struct KeptFrom(Arc<AtomicI64>);

impl KeptFrom {
    /// Before every event, in milliseconds since 1970.
    const ALL: i64 = i64::MIN;

    /// Replaces the time; without one, all events are kept. Returns whether that changed it.
    pub fn replace(&self, from: Option<Timestamp>) -> bool {
        let from = from.map_or(Self::ALL, Timestamp::as_millisecond);
        self.0.swap(from, Ordering::Relaxed) != from
    }

    /// Returns whether an event of this time, in milliseconds since 1970, is kept.
    pub fn keeps(&self, milliseconds: i64) -> bool {
        milliseconds >= self.0.load(Ordering::Relaxed)
    }

    /// Returns whether all events before the end of a period are left out.
    pub fn is_past(&self, end: Timestamp) -> bool {
        end.as_millisecond() <= self.0.load(Ordering::Relaxed)
    }
}

impl Default for KeptFrom {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(Self::ALL)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_retention_is_a_number_of_days() {
        for (text, days) in [("400d", 400), ("1d", 1), ("57w", 399), ("36500d", 36_500)] {
            let retention: Retention = text.parse().unwrap();
            assert_eq!(retention.days(), days);
            assert_eq!(retention.to_string().parse(), Ok(retention));
        }
        for text in ["", "d", "0d", "400", "12h", "1.5d", "-1d", "+1d", "36501d", "9999999999w"] {
            assert_eq!(text.parse::<Retention>(), Err(InvalidRetention), "{text}");
        }
    }

    #[test]
    fn a_month_expires_when_its_last_day_is_older() {
        let retention: Retention = "400d".parse().unwrap();
        // 400 days before 2025-02-05 is 2024-01-02.
        let now = time("2025-02-05T00:00:00Z");
        let has_expired = |index: &str| retention.has_expired(IndexBy::Month, "ct", index, now);
        assert!(has_expired("ct-2023.12") && has_expired("ct-2014.01"));
        assert!(!has_expired("ct-2024.01") && !has_expired("ct-2025.02"));
        for other in
            ["ct-undated", "ct", "ct-2014", "ct-2014.01.01", "ct-eu-2014.01", "cte-2014.01"]
        {
            assert!(!has_expired(other), "{other}");
        }
        let from = retention.kept_from(IndexBy::Month, now).unwrap();
        assert_eq!(from, time("2024-01-01T00:00:00Z"));
        let first_second = time("2025-02-04T00:00:00Z");
        assert!(retention.has_expired(IndexBy::Month, "ct", "ct-2023.12", first_second));
        let before = time("2025-02-03T23:59:59Z");
        assert!(!retention.has_expired(IndexBy::Month, "ct", "ct-2023.12", before));
    }

    #[test]
    fn clones_keep_events_from_the_same_time() {
        let (kept_from, from) = (KeptFrom::default(), time("2024-02-01T00:00:00Z"));
        let clone = kept_from.clone();
        let (first, before) = (from.as_millisecond(), from.as_millisecond() - 1);
        assert!(clone.keeps(before) && clone.keeps(i64::MIN) && !clone.is_past(from));
        assert!(kept_from.replace(Some(from)) && !kept_from.replace(Some(from)));
        assert!(clone.keeps(first) && !clone.keeps(before));
        assert!(clone.is_past(from) && !clone.is_past(time("2024-03-01T00:00:00Z")));
        assert!(kept_from.replace(None) && clone.keeps(before));
    }

    #[test]
    fn the_only_index_never_expires() {
        let retention: Retention = "1d".parse().unwrap();
        let now = time("2025-02-05T00:00:00Z");
        assert!(!retention.has_expired(IndexBy::None, "ct", "ct", now));
        assert_eq!(retention.kept_from(IndexBy::None, now), None);
    }

    proptest! {
        /// The index of an event has expired exactly if the event is before the time from which events are kept.
        #[test]
        fn events_are_kept_exactly_while_their_index_is(
            now in 1_000_000_000_i64..4_000_000_000,
            before in 0_i64..1_000_000_000,
            days in 1_u32..4_000,
        ) {
            let (now, event) = (
                Timestamp::from_second(now).unwrap(),
                Timestamp::from_second(now - before).unwrap(),
            );
            let retention: Retention = format!("{days}d").parse().unwrap();
            for (by, format) in
                [(IndexBy::Month, "ct-%Y.%m"), (IndexBy::Day, "ct-%Y.%m.%d"), (IndexBy::Year, "ct-%Y")]
            {
                let index = event.strftime(format).to_string();
                let has_expired = retention.has_expired(by, "ct", &index, now);
                let kept_from = retention.kept_from(by, now).unwrap();
                prop_assert_eq!(has_expired, event < kept_from, "{} {}", index, kept_from);
                let is_younger = before <= i64::from(days) * 86_400;
                prop_assert!(!(has_expired && is_younger), "{}", index);
            }
        }
    }
}
