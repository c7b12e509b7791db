//! The intervals of a time axis.
//!
//! Input: a time range. Output: intervals that engines call calendar intervals, in UTC.
//! Invariant: the start of an interval is the same here as in every engine.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

/// Maximum number of bars on a time axis that can be told apart.
const MAX_BARS: i64 = 120;

/// Milliseconds of an hour and of a day.
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// The intervals that documents are grouped into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeScale {
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// Calendar months.
    Month,
    /// Calendar years.
    Year,
}

impl TimeScale {
    /// Returns the shortest intervals that give a readable number of bars for a time range, in milliseconds since 1970.
    pub fn for_range(from: i64, to: i64) -> Self {
        let length = to.saturating_sub(from);
        [(Self::Minute, 60_000), (Self::Hour, HOUR), (Self::Day, DAY), (Self::Month, 30 * DAY)]
            .into_iter()
            .find(|(_, interval)| length / interval < MAX_BARS)
            .map_or(Self::Year, |(scale, _)| scale)
    }

    /// Returns the name of the interval in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// Returns the start of the interval that contains a time, both in milliseconds since 1970.
    pub fn start(self, time: i64) -> i64 {
        match self {
            Self::Minute => time - time.rem_euclid(60_000),
            Self::Hour => time - time.rem_euclid(HOUR),
            Self::Day => time - time.rem_euclid(DAY),
            Self::Month => date(time).map_or(time, |date| milliseconds(date.first_of_month())),
            Self::Year => date(time).map_or(time, |date| milliseconds(date.first_of_year())),
        }
    }

    /// Returns the start of the interval behind the one that starts at `start`.
    pub fn next(self, start: i64) -> i64 {
        let behind =
            |date: Option<Date>, otherwise: i64| date.map_or(start + otherwise, milliseconds);
        match self {
            Self::Minute => start + 60_000,
            Self::Hour => start + HOUR,
            Self::Day => start + DAY,
            Self::Month => {
                behind(date(start).and_then(|date| date.checked_add(1.month()).ok()), 30 * DAY)
            }
            Self::Year => {
                behind(date(start).and_then(|date| date.checked_add(1.year()).ok()), 365 * DAY)
            }
        }
    }
}

fn date(time: i64) -> Option<Date> {
    let time = Timestamp::from_millisecond(time).ok()?;
    Some(TimeZone::UTC.to_datetime(time).date())
}

fn milliseconds(date: Date) -> i64 {
    date.to_zoned(TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn intervals_start_at_their_calendar_boundary() {
        for (scale, inside, start, next) in [
            (
                TimeScale::Minute,
                "2024-02-29T12:34:56Z",
                "2024-02-29T12:34:00Z",
                "2024-02-29T12:35:00Z",
            ),
            (
                TimeScale::Hour,
                "2024-02-29T12:34:56Z",
                "2024-02-29T12:00:00Z",
                "2024-02-29T13:00:00Z",
            ),
            (
                TimeScale::Day,
                "2024-02-29T12:34:56Z",
                "2024-02-29T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                TimeScale::Month,
                "2024-02-29T12:34:56Z",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                TimeScale::Month,
                "2024-12-31T23:59:59.999Z",
                "2024-12-01T00:00:00Z",
                "2025-01-01T00:00:00Z",
            ),
            (
                TimeScale::Year,
                "2024-02-29T12:34:56Z",
                "2024-01-01T00:00:00Z",
                "2025-01-01T00:00:00Z",
            ),
            (
                TimeScale::Day,
                "1969-12-31T23:00:00Z",
                "1969-12-31T00:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
        ] {
            assert_eq!(scale.start(time(inside)), time(start), "{scale:?} {inside}");
            assert_eq!(scale.next(time(start)), time(next), "{scale:?} {inside}");
        }
    }

    #[test]
    fn longer_ranges_have_longer_intervals() {
        let from = time("2024-01-01T00:00:00Z");
        for (to, expected) in [
            ("2024-01-01T01:00:00Z", TimeScale::Minute),
            ("2024-01-03T00:00:00Z", TimeScale::Hour),
            ("2024-03-01T00:00:00Z", TimeScale::Day),
            ("2027-01-01T00:00:00Z", TimeScale::Month),
            ("2050-01-01T00:00:00Z", TimeScale::Year),
        ] {
            assert_eq!(TimeScale::for_range(from, time(to)), expected, "{to}");
        }
        assert_eq!(TimeScale::for_range(i64::MIN, i64::MAX), TimeScale::Year);
        assert_eq!(TimeScale::for_range(from, from), TimeScale::Minute);
    }
}
