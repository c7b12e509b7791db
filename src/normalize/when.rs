//! When an event happened: for its index, for `@timestamp`, and for `--from`/`--to`.

use std::fmt::Write as _;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// How documents are spread over indices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexBy {
    /// `PREFIX-2024.06.30`
    Day,
    /// `PREFIX-2024.06`
    #[default]
    Month,
    /// `PREFIX-2024`
    Year,
    /// `PREFIX`
    None,
}

/// A stretch of time, its end not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// The first moment, if any is the first.
    pub from: Option<Timestamp>,
    /// The first moment that is no longer in it.
    pub to: Option<Timestamp>,
}

impl TimeRange {
    /// Returns whether all of some seconds of the Unix epoch, both ends included, are in the range.
    pub fn covers(&self, first: i64, last: i64) -> bool {
        self.from.is_none_or(|from| first.saturating_mul(1_000) >= from.as_millisecond())
            && self.to.is_none_or(|to| {
                last.saturating_add(1).saturating_mul(1_000) <= to.as_millisecond()
            })
    }

    /// Returns whether a moment, in milliseconds since 1970, is in the range.
    pub(super) fn contains(&self, milliseconds: i64) -> bool {
        self.from.is_none_or(|from| milliseconds >= from.as_millisecond())
            && self.to.is_none_or(|to| milliseconds < to.as_millisecond())
    }
}

/// The years that get an index of their own. CloudTrail began in 2013; samples are older, and a
/// broken clock must not be able to create thousands of indices.
const YEARS: std::ops::RangeInclusive<u16> = 2006..=2099;

/// The moment of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When {
    pub(super) milliseconds: i64,
    year: u16,
    month: u8,
    day: u8,
}

fn number(text: &[u8]) -> Option<u16> {
    let mut number = 0_u16;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u16::from(digit);
    }
    Some(number)
}

/// Days from 1970-01-01 in the civil calendar (Howard Hinnant's formula).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl When {
    /// Reads the form CloudTrail writes: `2024-06-30T23:59:59Z`, with a fraction or without.
    pub(super) fn plain(text: &[u8]) -> Option<Self> {
        let [date @ .., b'Z'] = text else { return None };
        if date.len() < 19
            || [date[4], date[7], date[10], date[13], date[16]] != *b"--T::"
            || (date.len() > 19 && (date[19] != b'.' || date.len() > 29 || date.len() == 20))
        {
            return None;
        }
        let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..10])?);
        let (hour, minute, second) =
            (number(&date[11..13])?, number(&date[14..16])?, number(&date[17..19])?);
        if !(1..=12).contains(&month)
            || !(1..=28).contains(&day) && !valid_day(year, month, day)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return None;
        }
        let mut milliseconds = 0;
        for place in 20..date.len() {
            let digit = i64::from(number(&date[place..=place])?);
            milliseconds += match place {
                20 => digit * 100,
                21 => digit * 10,
                22 => digit,
                _ => 0,
            };
        }
        let days = days(year.into(), month.into(), day.into());
        let seconds =
            days * 86_400 + i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        let (month, day) = (month as u8, day as u8);
        Some(Self { milliseconds: seconds * 1_000 + milliseconds, year, month, day })
    }

    /// Reads what else is found in the wild: a blank for the T, no Z (taken as UTC), an offset.
    pub(super) fn lenient(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim();
        let moment = text.parse::<Timestamp>().ok().or_else(|| {
            let civil: DateTime = text.parse().ok()?;
            civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        })?;
        Self::at(moment)
    }

    fn at(moment: Timestamp) -> Option<Self> {
        let civil = TimeZone::UTC.to_datetime(moment);
        Some(Self {
            milliseconds: moment.as_millisecond(),
            year: u16::try_from(civil.year()).ok()?,
            month: civil.month().unsigned_abs(),
            day: civil.day().unsigned_abs(),
        })
    }

    /// Writes the moment as every engine reads it.
    pub(super) fn to_text(self) -> String {
        Timestamp::from_millisecond(self.milliseconds)
            .map(|moment| moment.to_string())
            .unwrap_or_default()
    }

    /// Returns what tells the indices apart: equal for two moments if and only if they share one.
    pub(super) fn bucket(self, by: IndexBy) -> u32 {
        let (year, month, day) = (u32::from(self.year), u32::from(self.month), u32::from(self.day));
        match by {
            _ if !YEARS.contains(&self.year) => UNDATED,
            IndexBy::Day => year << 16 | month << 8 | day,
            IndexBy::Month => year << 16 | month << 8,
            IndexBy::Year => year << 16,
            IndexBy::None => UNDATED - 1,
        }
    }
}

/// The bucket of events whose time is missing or beyond [`YEARS`].
pub(super) const UNDATED: u32 = u32::MAX;

/// Returns the name of an index.
pub(super) fn index_name(prefix: &str, by: IndexBy, bucket: u32) -> String {
    let mut name = prefix.to_owned();
    let (year, month, day) = (bucket >> 16, bucket >> 8 & 0xFF, bucket & 0xFF);
    let written = match by {
        IndexBy::None => Ok(()),
        _ if bucket == UNDATED => write!(name, "-undated"),
        IndexBy::Day => write!(name, "-{year:04}.{month:02}.{day:02}"),
        IndexBy::Month => write!(name, "-{year:04}.{month:02}"),
        IndexBy::Year => write!(name, "-{year:04}"),
    };
    written.expect("a String takes everything");
    name
}

fn valid_day(year: u16, month: u16, day: u16) -> bool {
    let longest = match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (1..=longest).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readers_agree_with_the_calendar() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2000-02-29T23:59:59Z",
            "2023-07-10T11:50:00.123Z",
            "2100-03-01T00:00:00Z",
            "2006-12-31T12:00:00.1Z",
        ] {
            let expected: Timestamp = text.parse().unwrap();
            for when in
                [When::plain(text.as_bytes()).unwrap(), When::lenient(text.as_bytes()).unwrap()]
            {
                assert_eq!(when.milliseconds, expected.as_millisecond(), "{text}");
                assert_eq!(
                    when.to_text().parse::<Timestamp>().unwrap().as_millisecond(),
                    when.milliseconds
                );
            }
        }
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for text in [
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-04-31T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01 00:00:00Z",
            "2023-01-01T00:00:00",
            "2023-01-01T00:00:00.Z",
            "Z",
            "",
        ] {
            assert_eq!(When::plain(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn other_spellings_are_understood() {
        for (text, same) in [
            ("2022-01-05 10:11:12", "2022-01-05T10:11:12Z"),
            ("2022-01-05T10:11:12", "2022-01-05T10:11:12Z"),
            ("2022-02-08 09:23:37+11:00", "2022-02-07T22:23:37Z"),
        ] {
            assert_eq!(When::lenient(text.as_bytes()), When::plain(same.as_bytes()), "{text}");
        }
        assert_eq!(When::lenient(b"yesterday"), None);
    }

    #[test]
    fn a_range_has_its_start_and_lacks_its_end() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let (from, to) = (time("2024-06-01T00:00:00Z"), time("2024-06-02T00:00:00Z"));
        let day = TimeRange { from: Some(from), to: Some(to) };
        let inside = |text: &str| day.contains(When::plain(text.as_bytes()).unwrap().milliseconds);
        assert!(inside("2024-06-01T00:00:00Z") && inside("2024-06-01T23:59:59.999Z"));
        assert!(!inside("2024-06-02T00:00:00Z") && !inside("2024-05-31T23:59:59.999Z"));
        assert!(TimeRange::default().contains(i64::MIN));
    }

    #[test]
    fn indices_are_named_after_the_moment() {
        let when = When::plain(b"2024-06-05T00:00:00Z").unwrap();
        for (by, name) in [
            (IndexBy::Day, "ct-2024.06.05"),
            (IndexBy::Month, "ct-2024.06"),
            (IndexBy::Year, "ct-2024"),
            (IndexBy::None, "ct"),
        ] {
            assert_eq!(index_name("ct", by, when.bucket(by)), name);
        }
        let far = When::plain(b"9999-06-05T00:00:00Z").unwrap();
        assert_eq!(index_name("ct", IndexBy::Month, far.bucket(IndexBy::Month)), "ct-undated");
    }
}
