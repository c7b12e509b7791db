//! Numbers, times and names for people.
//!
//! Input: values of answers. Output: text.
//! Invariant: times are in UTC.

use jiff::{Timestamp, tz::TimeZone};

use super::super::{answer::GroupKey, definition::PanelMetric};
use crate::report::format;

/// Returns a time to the minute, or to the second: `2024-02-29 12:34`.
pub(super) fn time(milliseconds: i64) -> String {
    let Ok(time) = Timestamp::from_millisecond(milliseconds) else {
        return milliseconds.to_string();
    };
    TimeZone::UTC.to_datetime(time).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Returns a number with thousands separators, and at most two decimals.
pub(super) fn number(number: f64) -> String {
    let sign = if number < 0.0 { "-" } else { "" };
    let number = number.abs();
    let whole = format::count(format::round(number.trunc()));
    let decimals = format!("{:.2}", number.fract());
    match decimals.trim_start_matches(['0', '1']).trim_end_matches('0') {
        "." => format!("{sign}{whole}"),
        decimals => format!("{sign}{whole}{decimals}"),
    }
}

/// Returns a metric's value; nothing if no document has the field.
#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
pub(super) fn metric(metric: &PanelMetric, value: Option<f64>) -> String {
    match value {
        None => "\u{2013}".to_owned(),
        Some(value) if metric.is_time() => time(value as i64),
        Some(value) => number(value),
    }
}

/// Returns the name of a group.
pub(super) fn key(key: &GroupKey) -> String {
    match key {
        GroupKey::Time(start) => time(*start),
        GroupKey::Text(text) => text.clone(),
    }
}
