//! Moments and ages as a person types them.

use std::{str::FromStr, time::Duration};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use thiserror::Error;

/// Why a moment or an age cannot be understood. The text says what is expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Neither a time, nor a date, nor an age.
    #[error(
        "expected a time (2024-06-01T12:00:00Z), a date (2024-06-01, midnight UTC) or an age (7d, 12h)"
    )]
    Moment,
    /// Not an age.
    #[error("expected an age such as 30m, 12h, 7d or 2w (units: s, m, h, d, w)")]
    Age,
}

/// A moment, as typed: it becomes a time once the present is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A time.
    At(Timestamp),
    /// An age before the present.
    Ago(Age),
}

/// A length of time such as `7d`; days have 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(SignedDuration);

impl Moment {
    /// Returns the time that is meant, or `None` if it lies before all times.
    pub fn resolve(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(time) => Some(time),
            Self::Ago(Age(age)) => now.checked_sub(age).ok(),
        }
    }
}

impl Age {
    /// Returns the length.
    pub fn length(self) -> Duration {
        // Ages are typed without a sign.
        self.0.unsigned_abs()
    }
}

impl FromStr for Moment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // A date must have just this length: jiff would also take one out of a longer text and drop
        // the rest.
        if text.len() == "2024-06-01".len()
            && let Ok(date) = text.parse::<Date>()
        {
            let midnight = date.to_zoned(TimeZone::UTC).map_err(|_| Error::Moment)?;
            return Ok(Self::At(midnight.timestamp()));
        }
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        text.parse().map(Self::Ago).map_err(|_| Error::Moment)
    }
}

impl FromStr for Age {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut rest = text;
        let mut seconds: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: i64 = rest[..digits].parse().map_err(|_| Error::Age)?;
            let unit = rest[digits..].chars().next().ok_or(Error::Age)?;
            let part = number.checked_mul(seconds_of(unit)?).ok_or(Error::Age)?;
            seconds = seconds.checked_add(part).ok_or(Error::Age)?;
            rest = &rest[digits + unit.len_utf8()..];
        }
        if text.is_empty() { Err(Error::Age) } else { Ok(Self(SignedDuration::from_secs(seconds))) }
    }
}

fn seconds_of(unit: char) -> Result<i64, Error> {
    match unit {
        's' => Ok(1),
        'm' => Ok(60),
        'h' => Ok(3_600),
        'd' => Ok(86_400),
        'w' => Ok(604_800),
        _ => Err(Error::Age),
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
            assert_eq!(typed.parse::<Moment>(), Err(Error::Moment), "{typed}");
            assert_eq!(typed.parse::<Age>(), Err(Error::Age), "{typed}");
        }
    }

    #[test]
    fn an_age_beyond_all_times_has_no_moment() {
        let moment: Moment = "9999999w".parse().unwrap();
        assert_eq!(moment.resolve(time("2024-06-08T12:00:00Z")), None);
    }
}
