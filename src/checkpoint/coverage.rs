//! The SQL of what is covered: intervals of whole seconds, both ends included.
//!
//! Holds: the intervals of a series neither touch nor overlap, so a stretch that is fetched ten times, and a
//! stretch that was fetched in ten parts, are one row.

use rusqlite::{Connection, OptionalExtension, params};

use crate::event::{Position, Span};

/// Whether late events are to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sure {
    /// They may be: it is covered for `status`, and fetched again.
    No = 0,
    /// Not any more: it is never fetched again.
    Yes = 1,
}

/// Writes down that a span is safe from a second to its end, and how many records became so.
pub(super) fn cover(
    connection: &Connection,
    span: &Span,
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
    merge(connection, series, Sure::No, since, span.to)?;
    merge(connection, series, Sure::Yes, since, span.to.min(span.sure_until))
}

/// Adds an interval to those of a series; an empty one changes nothing.
fn merge(
    connection: &Connection,
    series: i64,
    sure: Sure,
    since: i64,
    until: i64,
) -> rusqlite::Result<()> {
    if since > until {
        return Ok(());
    }
    let near = params![series, sure as i64, since, until];
    let known = connection
        .prepare_cached(
            "SELECT 1 FROM coverage WHERE series = ?1 AND sure = ?2 AND since <= ?3 AND until >= ?4",
        )?
        .exists(near)?;
    if known {
        return Ok(());
    }
    // Those that overlap, and those that end or begin in the second beside it.
    let (first, last): (Option<i64>, Option<i64>) = connection
        .prepare_cached(
            "SELECT min(since), max(until) FROM coverage \
             WHERE series = ?1 AND sure = ?2 AND since <= ?4 + 1 AND until >= ?3 - 1",
        )?
        .query_row(near, |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection
        .prepare_cached(
            "DELETE FROM coverage \
             WHERE series = ?1 AND sure = ?2 AND since <= ?4 + 1 AND until >= ?3 - 1",
        )?
        .execute(near)?;
    let (since, until) = (first.unwrap_or(since).min(since), last.unwrap_or(until).max(until));
    connection
        .prepare_cached(
            "INSERT INTO coverage (series, sure, since, until) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![series, sure as i64, since, until])
        .map(drop)
}

/// Returns the intervals of a series, the earliest first.
pub(super) fn covered(
    connection: &Connection,
    series: &str,
    sure: Sure,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let id: Option<i64> = connection
        .prepare_cached("SELECT id FROM series WHERE name = ?1")?
        .query_row([series], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(Vec::new()) };
    connection
        .prepare_cached(
            "SELECT since, until FROM coverage WHERE series = ?1 AND sure = ?2 ORDER BY since",
        )?
        .query_map(params![id, sure as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
