//! SQL of the table `coverage`: the time ranges of which every event is loaded.
//!
//! Input: a covered time range. Output: merged intervals of whole seconds, both ends included.
//! Invariant: the intervals of a series neither touch nor overlap. A range that is fetched repeatedly or in parts is one
//! row.

use rusqlite::{Connection, OptionalExtension, params};

use crate::event::{Position, TimeSlice};

/// Whether late events may still arrive in a covered interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finality {
    /// They may: the interval is shown as covered, and is fetched again.
    Provisional = 0,
    /// They may not: the interval is never fetched again.
    Final = 1,
}

/// Records that a time range is covered from `since` to its end, with the number of records settled since the last call.
pub(super) fn cover(
    connection: &Connection,
    span: &TimeSlice,
    since: Position,
    records: i64,
) -> rusqlite::Result<()> {
    let series: i64 = connection
        .prepare_cached(
            "INSERT INTO series (name, records) VALUES (?1, ?2) \
             ON CONFLICT (name) DO UPDATE SET records = records + excluded.records RETURNING id",
        )?
        .query_row(params![span.series, records], |row| row.get(0))?;
    let since = since.max(span.from);
    merge(connection, series, Finality::Provisional, since, span.to)?;
    merge(connection, series, Finality::Final, since, span.to.min(span.complete_until))
}

/// Merges an interval into those of a series. An empty interval has no effect.
fn merge(
    connection: &Connection,
    series: i64,
    finality: Finality,
    since: i64,
    until: i64,
) -> rusqlite::Result<()> {
    if since > until {
        return Ok(());
    }
    let near = params![series, finality as i64, since, until];
    let known = connection
        .prepare_cached(
            "SELECT 1 FROM coverage WHERE series = ?1 AND final = ?2 AND since <= ?3 AND until >= ?4",
        )?
        .exists(near)?;
    if known {
        return Ok(());
    }
    // Intervals that overlap, or end or begin in the adjacent second.
    let (first, last): (Option<i64>, Option<i64>) = connection
        .prepare_cached(
            "SELECT min(since), max(until) FROM coverage \
             WHERE series = ?1 AND final = ?2 AND since <= ?4 + 1 AND until >= ?3 - 1",
        )?
        .query_row(near, |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection
        .prepare_cached(
            "DELETE FROM coverage \
             WHERE series = ?1 AND final = ?2 AND since <= ?4 + 1 AND until >= ?3 - 1",
        )?
        .execute(near)?;
    let (since, until) = (first.unwrap_or(since).min(since), last.unwrap_or(until).max(until));
    connection
        .prepare_cached(
            "INSERT INTO coverage (series, final, since, until) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![series, finality as i64, since, until])
        .map(drop)
}

/// Returns the intervals of a series, earliest first.
pub(super) fn covered(
    connection: &Connection,
    series: &str,
    finality: Finality,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let id: Option<i64> = connection
        .prepare_cached("SELECT id FROM series WHERE name = ?1")?
        .query_row([series], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(Vec::new()) };
    connection
        .prepare_cached(
            "SELECT since, until FROM coverage WHERE series = ?1 AND final = ?2 ORDER BY since",
        )?
        .query_map(params![id, finality as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
