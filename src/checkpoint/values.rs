//! Converts between Rust and SQLite values.
//!
//! Input: columns of rows, and counts. Output: counts, times, and integers.
//! Invariant: counts in a checkpoint file are never negative, and times are milliseconds since the Unix epoch.

use jiff::Timestamp;
use rusqlite::Row;

/// Returns a column as a count.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// Returns a nullable column as a count.
pub(super) fn optional_number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    Ok(value.map(|value| u64::try_from(value).unwrap_or(0)))
}

/// Returns a column as a time.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let milliseconds: i64 = row.get(column)?;
    Timestamp::from_millisecond(milliseconds)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, milliseconds))
}

/// Converts a count for SQLite, which has no unsigned integers. Counts above 2^63 do not occur.
pub(super) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
