//! SQL of the table `alert_combinations`: which combinations of values are new.
//!
//! Input: a combination and the time of an event. Output: whether an event with it is known nearby.
//! Invariant: a row stands for events each of which is less than `within` after the one before it, so that asking the rows gives the
//! same result as asking all events.

use rusqlite::{Connection, params};

use super::{judge::Sighting, keys::Key};

/// Remembers an event with a combination. Returns whether the combination is new, and by how many the number of rows has changed.
pub(super) fn remember(
    connection: &Connection,
    combination: &Key,
    time: i64,
    within: i64,
) -> rusqlite::Result<(Sighting, i64)> {
    let sql = "SELECT since, until FROM alert_combinations \
         WHERE combination_key = ?1 AND since < ?2 AND until > ?3 ORDER BY since";
    let near = params![combination, time.saturating_add(within), time.saturating_sub(within)];
    let near: Vec<(i64, i64)> = connection
        .prepare_cached(sql)?
        .query_map(near, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    if near.iter().any(|(since, until)| (*since..=*until).contains(&time)) {
        return Ok((Sighting::Known, 0));
    }
    let since = near.first().map_or(time, |(since, _)| time.min(*since));
    let until = near.last().map_or(time, |(_, until)| time.max(*until));
    let delete = "DELETE FROM alert_combinations WHERE combination_key = ?1 AND since = ?2";
    for (since, _) in &near {
        connection.prepare_cached(delete)?.execute(params![combination, since])?;
    }
    let insert = "INSERT INTO alert_combinations (combination_key, since, until) VALUES (?1, ?2, ?3) \
         ON CONFLICT (combination_key, since) DO UPDATE SET until = max(until, excluded.until)";
    connection.prepare_cached(insert)?.execute(params![combination, since, until])?;
    let sighting = if near.is_empty() { Sighting::New } else { Sighting::Known };
    Ok((sighting, 1 - i64::try_from(near.len()).unwrap_or(0)))
}
