//! Numbers, times and names for people.
//!
//! Input: values of answers. Output: text.
//! Invariant: times are in UTC, and all of one kind have the same length.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::super::{answer::GroupKey, definition::PanelMetric};
use crate::report::format;

/// Stands for a value that no document has.
const NONE: &str = "\u{2013}";

/// Stands for a text without characters.
const EMPTY: &str = "(empty)";

/// Stands for a text that has nothing but blanks.
const BLANK: &str = "(blank)";

/// Returns a time to the minute: `2024-02-29 12:34`.
pub(super) fn time(milliseconds: i64) -> String {
    formatted(milliseconds, "%Y-%m-%d %H:%M")
}

/// Returns a time as a machine reads it: `2024-02-29T12:34:56Z`.
pub(super) fn machine_time(milliseconds: i64) -> String {
    formatted(milliseconds, "%Y-%m-%dT%H:%M:%SZ")
}

/// Returns a time in a format of `strftime`.
pub(super) fn formatted(milliseconds: i64, format: &str) -> String {
    match date_time(milliseconds) {
        Some(time) => time.strftime(format).to_string(),
        None => milliseconds.to_string(),
    }
}

/// Returns a time in UTC; nothing if it is thousands of years away.
pub(super) fn date_time(milliseconds: i64) -> Option<DateTime> {
    Timestamp::from_millisecond(milliseconds).ok().map(|time| TimeZone::UTC.to_datetime(time))
}

/// Returns a number with thousands separators, and at most two decimals.
pub(super) fn number(number: f64) -> String {
    let sign = if number < 0.0 { "-" } else { "" };
    // A hundredth is the unit, so that rounding carries over.
    let hundredths = (number.abs() * 100.0).round();
    let whole = format::count(format::round((hundredths / 100.0).trunc()));
    match format::round(hundredths % 100.0) {
        0 => format!("{sign}{whole}"),
        decimals if decimals % 10 == 0 => format!("{sign}{whole}.{}", decimals / 10),
        decimals => format!("{sign}{whole}.{decimals:02}"),
    }
}

/// Returns a number for an axis: `5,000`, `20k`, `1.5M`.
pub(super) fn short_number(value: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match units.into_iter().find(|(unit, _)| value >= 10_000.0 && value >= *unit) {
        Some((unit, name)) => format!("{}{name}", number(value / unit)),
        None => number(value),
    }
}

/// Returns the value of a metric that is not a time.
pub(super) fn metric(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), number)
}

/// Returns the value of a metric that is a time, in milliseconds since 1970.
#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
pub(super) fn metric_time(metric: &PanelMetric, value: Option<f64>) -> Option<i64> {
    if metric.is_time() { value.map(|value| value as i64) } else { None }
}

/// Returns the name of a group.
pub(super) fn key(key: &GroupKey) -> String {
    match key {
        GroupKey::Time(start) => time(*start),
        GroupKey::Text(text) => visible(text).to_owned(),
    }
}

/// Returns a text, or what stands for one that nobody would see.
pub(super) fn visible(text: &str) -> &str {
    match text {
        "" => EMPTY,
        text if text.trim().is_empty() => BLANK,
        text => text,
    }
}

/// Returns a text with a capital at the start.
pub(super) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_few_decimals() {
        for (value, expected) in [
            (0.0, "0"),
            (999.0, "999"),
            (1_234_567.0, "1,234,567"),
            (0.5, "0.5"),
            (1.25, "1.25"),
            (1.05, "1.05"),
            (0.999, "1"),
            (0.001, "0"),
            (-1_234.5, "-1,234.5"),
        ] {
            assert_eq!(number(value), expected);
        }
        for (value, expected) in [
            (9_999.0, "9,999"),
            (10_000.0, "10k"),
            (12_500.0, "12.5k"),
            (1_000_000.0, "1M"),
            (2.5e9, "2.5G"),
        ] {
            assert_eq!(short_number(value), expected);
        }
    }

    #[test]
    fn every_group_has_a_visible_name() {
        let name = |text: &str| key(&GroupKey::Text(text.to_owned()));
        assert_eq!(["", " \t\u{a0}", " a "].map(name), ["(empty)", "(blank)", " a "]);
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(time(1_709_210_096_000), "2024-02-29 12:34");
        assert_eq!(machine_time(1_709_210_096_000), "2024-02-29T12:34:56Z");
        assert_eq!(time(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn any_text_can_start_with_a_capital() {
        assert_eq!(capitalized("sign-ins and root"), "Sign-ins and root");
        assert_eq!(capitalized("\u{df}"), "SS");
        assert_eq!(capitalized(""), "");
    }
}
