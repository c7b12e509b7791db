//! SQL of the table `source_states`: the last observation of each source that was followed.
//!
//! Input: observations. Output: rows, and [`SourceStatus`].
//! Invariant: one row for each SOURCE argument, with the values of its latest observation; the newest event and the coverage
//! stay if that leaves them open.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::status::SourceStatus;
use super::values::{integer, optional_number, time};
use crate::event::SourceObservation;

/// Records an observation of a source, made at `now`, in milliseconds.
pub(super) fn record(
    connection: &Connection,
    name: &str,
    observation: &SourceObservation,
    now: i64,
) -> rusqlite::Result<()> {
    let milliseconds = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
    let SourceObservation { oldest_waiting, waiting, in_flight, newest_event, covered_until } =
        *observation;
    connection
        .prepare_cached(
            "INSERT INTO source_states (name, observed, oldest_waiting, waiting, in_flight, newest_event, covered_until) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (name) DO UPDATE SET observed = excluded.observed, \
             oldest_waiting = excluded.oldest_waiting, waiting = excluded.waiting, in_flight = excluded.in_flight, \
             newest_event = max(ifnull(excluded.newest_event, newest_event), ifnull(newest_event, excluded.newest_event)), \
             covered_until = ifnull(excluded.covered_until, covered_until)",
        )?
        .execute(params![
            name,
            now,
            milliseconds(oldest_waiting),
            waiting.map(integer),
            in_flight.map(integer),
            milliseconds(newest_event),
            milliseconds(covered_until),
        ])
        .map(drop)
}

/// Returns the states of all sources as of `now`, by name.
pub(super) fn read(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<SourceStatus>> {
    let optional_time = |row: &Row<'_>, column: usize| {
        let milliseconds: Option<i64> = row.get(column)?;
        milliseconds.map(|_| time(row, column)).transpose()
    };
    let state = |row: &Row<'_>| {
        let observed = time(row, 1)?;
        Ok(SourceStatus {
            source: row.get(0)?,
            observed,
            age_seconds: now.as_second().saturating_sub(observed.as_second()),
            oldest_waiting: optional_time(row, 2)?,
            waiting: optional_number(row, 3)?,
            in_flight: optional_number(row, 4)?,
            newest_event: optional_time(row, 5)?,
            covered_until: optional_time(row, 6)?,
        })
    };
    connection
        .prepare(
            "SELECT name, observed, oldest_waiting, waiting, in_flight, newest_event, covered_until \
             FROM source_states ORDER BY name",
        )?
        .query_map([], state)?
        .collect()
}
