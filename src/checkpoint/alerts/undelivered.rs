//! The events whose alerts are not delivered.
//!
//! Input: the deliveries in a checkpoint file. Output: ids of alerts and events.
//! Not here: the deliveries themselves (see `deliveries`).

use rusqlite::{Connection, types::Type};

use super::content;
use crate::event::CompressedText;

/// An alert that is not delivered by one of its actions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UndeliveredEvent {
    /// The id of the alert.
    pub alert: String,
    /// The id of the event that raised it.
    pub event_id: String,
}

/// Returns the alerts that are pending or dead letters, without those that the user accepted and those that a receiver has acknowledged:
/// if the event of one of these came again, another process would send it again.
pub(in crate::checkpoint) fn undelivered_events(
    connection: &Connection,
) -> rusqlite::Result<Vec<UndeliveredEvent>> {
    let sql = "SELECT content FROM alerts WHERE EXISTS \
         (SELECT 1 FROM alert_deliveries WHERE alert = alerts.number AND accepted IS NULL AND acknowledged IS NULL) \
         ORDER BY number";
    let mut statement = connection.prepare_cached(sql)?;
    let events = statement.query_map([], |row| {
        let stored = CompressedText::from_bytes(row.get(0)?);
        let alert = content::decode(&stored).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, error.into())
        })?;
        Ok(UndeliveredEvent { alert: alert.id, event_id: alert.event_id })
    })?;
    events.collect()
}
