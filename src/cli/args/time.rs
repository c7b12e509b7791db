//! Parses points in time and ages: `2024-06-01T12:00:00Z`, `2024-06-01`, `7d`.

use std::{str::FromStr, time::Duration};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use thiserror::Error;

/// The value is neither a point in time nor an age; the message states what is expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TimeError {
    /// The value is not a time, a date or an age.
    #[error(
        "expected a time (2024-06-01T12:00:00Z), a date (2024-06-01, midnight UTC) or an age (7d, 12h)"
    )]
    Moment,
    /// The value is not an age.
    #[error("expected an age such as 30m, 12h, 7d or 2w (units: s, m, h, d, w)")]
    Age,
}

/// A point in time, absolute or relative to the current time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// An absolute time.
    At(Timestamp),
    /// This long before the current time.
    Ago(Age),
}

/// A duration such as `7d`. A day has 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(SignedDuration);

impl Moment {
    /// Returns the absolute time, or `None` if it is too early to be represented.
    pub fn resolve(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(time) => Some(time),
            Self::Ago(Age(age)) => now.checked_sub(age).ok(),
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
        if text.len() == "2024-06-01".len()
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
    fn an_age_beyond_all_times_has_no_moment() {
        let moment: Moment = "9999999w".parse().unwrap();
        assert_eq!(moment.resolve(time("2024-06-08T12:00:00Z")), None);
    }
}
