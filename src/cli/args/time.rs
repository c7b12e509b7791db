//! Parses points in time and ages: `2024-06-01T12:00:00Z`, `2024-06-01`, `7d`, `now-2h`.

use std::{str::FromStr, time::Duration};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use thiserror::Error;

/// Characters of a date.
const DATE_LENGTH: usize = "2024-06-01".len();

/// The value is neither a point in time nor an age; the message states what is expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TimeError {
    /// The value is not a time, a date or an age.
    #[error(
        "expected a time (2024-06-01T12:00:00Z), a date (2024-06-01, midnight UTC) or an age (7d, 12h)"
    )]
    Moment,
    /// The value is not a time of a search.
    #[error(
        "expected a time ('2024-06-01 14:00:12', UTC unless a zone follows), a date (2024-06-01, today, yesterday; \
         midnight UTC), now, now-2h, or an age (7d, 12h)"
    )]
    SearchTime,
    /// The value is not an age.
    #[error("expected an age such as 30m, 12h, 7d or 2w (units: s, m, h, d, w)")]
    Age,
    /// The value is not the length of an interval.
    #[error("expected a length such as 15m, 1h or 1d (units: s, m, h, d, w)")]
    Interval,
}

/// A point in time, absolute or relative to the current time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// An absolute time.
    At(Timestamp),
    /// This long before the current time.
    Ago(Age),
    /// The start of a day in UTC, this many days before the current day.
    DaysAgo(u8),
}

/// A duration such as `7d`. A day has 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(SignedDuration);

/// A point in time in the options of a search, which accept more forms than [`Moment`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchTime {
    /// The point in time.
    pub moment: Moment,
    /// What the value leaves open, and is taken to mean.
    pub assumption: Option<TimeAssumption>,
    /// The value as it was given.
    pub text: String,
}

/// What a point in time leaves open, and is taken to mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeAssumption {
    /// A time without a zone is UTC.
    Utc,
    /// A date is the start of its day in UTC.
    StartOfDay,
}

impl Moment {
    /// Returns the absolute time, or `None` if it is too early to be represented.
    pub fn resolve(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(time) => Some(time),
            Self::Ago(Age(age)) => now.checked_sub(age).ok(),
            Self::DaysAgo(days) => {
                let today = now.to_zoned(TimeZone::UTC).date();
                let day = today.checked_sub(jiff::Span::new().days(days)).ok()?;
                day.to_zoned(TimeZone::UTC).map(|midnight| midnight.timestamp()).ok()
            }
        }
    }
}

impl Age {
    /// Returns the duration.
    pub fn length(self) -> Duration {
        // An age has no sign.
        self.0.unsigned_abs()
    }
}

impl FromStr for Moment {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        // jiff also parses a date at the beginning of a longer text, so the length is checked.
        if text.len() == DATE_LENGTH
            && let Ok(date) = text.parse::<Date>()
        {
            let midnight = date.to_zoned(TimeZone::UTC).map_err(|_| TimeError::Moment)?;
            return Ok(Self::At(midnight.timestamp()));
        }
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        text.parse().map(Self::Ago).map_err(|_| TimeError::Moment)
    }
}

impl FromStr for SearchTime {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let trimmed = text.trim();
        let at = |moment, assumption| Self { moment, assumption, text: trimmed.to_owned() };
        match trimmed {
            "today" => return Ok(at(Moment::DaysAgo(0), None)),
            "yesterday" => return Ok(at(Moment::DaysAgo(1), None)),
            _ => {}
        }
        if let Ok(moment) = trimmed.parse() {
            let is_date = matches!(moment, Moment::At(_)) && trimmed.len() == DATE_LENGTH;
            return Ok(at(moment, is_date.then_some(TimeAssumption::StartOfDay)));
        }
        if let Some(rest) = trimmed.strip_prefix("now") {
            return relative_to_now(rest.trim_start()).map(|moment| at(moment, None));
        }
        // jiff also takes a time with hours alone, and ignores the name of a zone in brackets.
        if trimmed.len() < "2024-06-01 14:00".len() || trimmed.contains('[') {
            return Err(TimeError::SearchTime);
        }
        let time: DateTime = trimmed.parse().map_err(|_| TimeError::SearchTime)?;
        let time = time.to_zoned(TimeZone::UTC).map_err(|_| TimeError::SearchTime)?;
        Ok(at(Moment::At(time.timestamp()), Some(TimeAssumption::Utc)))
    }
}

/// Parses what follows `now`: nothing, or `-` and an age.
fn relative_to_now(rest: &str) -> Result<Moment, TimeError> {
    match rest.strip_prefix('-') {
        None if rest.is_empty() => Ok(Moment::Ago(Age(SignedDuration::ZERO))),
        None => Err(TimeError::SearchTime),
        Some(age) => age.trim_start().parse().map(Moment::Ago).map_err(|_| TimeError::SearchTime),
    }
}

impl Age {
    /// Returns the age of this many minutes.
    pub const fn from_minutes(minutes: u32) -> Self {
        Self(SignedDuration::from_mins(minutes as i64))
    }
}

/// Parses the length of an interval, which is not 0.
///
/// # Errors
///
/// Returns [`TimeError::Interval`] for anything else.
pub fn interval(text: &str) -> Result<Age, TimeError> {
    match text.parse() {
        Ok(age) if age != Age(SignedDuration::ZERO) => Ok(age),
        _ => Err(TimeError::Interval),
    }
}

impl FromStr for Age {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let mut rest = text;
        let mut seconds: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: i64 = rest[..digits].parse().map_err(|_| TimeError::Age)?;
            let unit = rest[digits..].chars().next().ok_or(TimeError::Age)?;
            let part = number.checked_mul(seconds_of(unit)?).ok_or(TimeError::Age)?;
            seconds = seconds.checked_add(part).ok_or(TimeError::Age)?;
            rest = &rest[digits + unit.len_utf8()..];
        }
        if text.is_empty() {
            Err(TimeError::Age)
        } else {
            Ok(Self(SignedDuration::from_secs(seconds)))
        }
    }
}

fn seconds_of(unit: char) -> Result<i64, TimeError> {
    match unit {
        's' => Ok(1),
        'm' => Ok(60),
        'h' => Ok(3_600),
        'd' => Ok(86_400),
        'w' => Ok(604_800),
        _ => Err(TimeError::Age),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn moments_are_times_dates_or_ages() {
        let now = time("2024-06-08T12:00:00Z");
        let table = [
            ("2024-06-01T12:30:00Z", "2024-06-01T12:30:00Z"),
            ("2024-06-01T12:30:00.25+02:00", "2024-06-01T10:30:00.25Z"),
            ("2024-06-01", "2024-06-01T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("7d", "2024-06-01T12:00:00Z"),
            ("12h", "2024-06-08T00:00:00Z"),
            ("1w1d12h30m5s", "2024-05-30T23:29:55Z"),
            ("0s", "2024-06-08T12:00:00Z"),
        ];
        for (typed, meant) in table {
            let moment: Moment = typed.parse().unwrap();
            assert_eq!(moment.resolve(now), Some(time(meant)), "{typed}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for typed in [
            "",
            " ",
            "yesterday",
            "7",
            "d",
            "-7d",
            "7 d",
            "7y",
            "7D",
            "1.5d",
            "2023-02-29",
            "2024-6-1",
            "2024-06-01T12:00:00",
            "2024-06-01 12:00",
            "01/06/2024",
            "1717243200",
            "99999999999999999999d",
            "9999999999999999w",
            "7d7",
            "7é",
        ] {
            assert_eq!(typed.parse::<Moment>(), Err(TimeError::Moment), "{typed}");
            assert_eq!(typed.parse::<Age>(), Err(TimeError::Age), "{typed}");
        }
    }

    #[test]
    fn a_search_takes_now_and_times_without_a_zone_too() {
        let now = time("2024-06-08T12:00:00Z");
        let (utc, start_of_day) = (Some(TimeAssumption::Utc), Some(TimeAssumption::StartOfDay));
        for (typed, meant, assumption) in [
            ("now", "2024-06-08T12:00:00Z", None),
            ("now-2h", "2024-06-08T10:00:00Z", None),
            ("now - 1d12h", "2024-06-07T00:00:00Z", None),
            ("2023-03-31 14:00:12", "2023-03-31T14:00:12Z", utc),
            ("2023-03-31T14:00:12", "2023-03-31T14:00:12Z", utc),
            ("2023-03-31 14:00", "2023-03-31T14:00:00Z", utc),
            (" 2023-03-31 14:00:12.5 ", "2023-03-31T14:00:12.5Z", utc),
            ("2023-03-31 14:00:12+02:00", "2023-03-31T12:00:12Z", None),
            ("2023-03-31T14:00:12Z", "2023-03-31T14:00:12Z", None),
            ("2023-03-31", "2023-03-31T00:00:00Z", start_of_day),
            ("today", "2024-06-08T00:00:00Z", None),
            ("yesterday", "2024-06-07T00:00:00Z", None),
            ("7d", "2024-06-01T12:00:00Z", None),
            ("000000007d", "2024-06-01T12:00:00Z", None),
        ] {
            let parsed: SearchTime = typed.parse().unwrap_or_else(|_| panic!("{typed}"));
            assert_eq!(parsed.moment.resolve(now), Some(time(meant)), "{typed}");
            assert_eq!(parsed.assumption, assumption, "{typed}");
        }
        for typed in [
            "",
            "now+2h",
            "now-",
            "nowhere",
            "2023-03-31 25:00:00",
            "2023-03-31 14",
            "tomorrow",
            "2023-03-31T14:00[Asia/Tokyo]",
        ] {
            assert_eq!(typed.parse::<SearchTime>(), Err(TimeError::SearchTime), "{typed}");
        }
    }

    #[test]
    fn an_interval_is_not_empty() {
        assert_eq!(interval("1h"), "1h".parse());
        for typed in ["", "0s", "0d0h", "1", "-1h", "hour"] {
            assert_eq!(interval(typed), Err(TimeError::Interval), "{typed}");
        }
    }

    #[test]
    fn an_age_beyond_all_times_has_no_moment() {
        let moment: Moment = "9999999w".parse().unwrap();
        assert_eq!(moment.resolve(time("2024-06-08T12:00:00Z")), None);
    }
}
