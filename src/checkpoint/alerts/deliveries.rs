//! SQL of the tables `alerts`, `alert_deliveries` and `alert_actions`: deliveries until they are made.
//!
//! Input: outcomes of attempts. Output: pending deliveries, dead letters and counts.
//! Invariant: a delivery is deleted only when its receiver has acknowledged it, and an alert with its last delivery.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};

use super::{
    ActionStatus, Delivery, DeliveryOutcome, DeliveryState, DeliveryUpdate, RuleStatus,
    UndeliveredAlert, content,
};
use crate::{checkpoint::values::number, event::CompressedText};

/// The deliveries in a checkpoint file.
#[derive(Clone, Copy, Debug)]
pub(in crate::checkpoint) struct DeliveryRows<'c> {
    connection: &'c Connection,
}

impl<'c> DeliveryRows<'c> {
    pub(in crate::checkpoint) fn new(connection: &'c Connection) -> Self {
        Self { connection }
    }

    /// Returns at most `limit` deliveries of an action that are to be made, in the order of their numbers, starting after the number
    /// `after`.
    pub(in crate::checkpoint) fn pending(
        self,
        action: &str,
        after: i64,
        limit: usize,
    ) -> rusqlite::Result<Vec<Delivery>> {
        let sql = "SELECT alert_deliveries.number, state, attempts, content, first_attempt, acknowledged IS NOT NULL \
             FROM alert_deliveries JOIN alerts ON alerts.number = alert \
             WHERE action = ?1 AND alert_deliveries.number > ?2 AND state <> 'dead' \
             ORDER BY alert_deliveries.number LIMIT ?3";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(sql)?;
        let row = |row: &Row<'_>| {
            let state: String = row.get(1)?;
            let first_attempt: Option<i64> = row.get(4)?;
            let stored = CompressedText::from_bytes(row.get(3)?);
            let alert = content::decode(&stored).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(3, Type::Blob, error.into())
            })?;
            Ok(Delivery {
                number: row.get(0)?,
                alert,
                action: action.to_owned(),
                attempts: row.get(2)?,
                first_attempt: first_attempt.and_then(|at| Timestamp::from_millisecond(at).ok()),
                state: match (row.get(5)?, state.as_str()) {
                    (true, _) => DeliveryState::Acknowledged,
                    (false, "sending") => DeliveryState::Sending,
                    (false, _) => DeliveryState::Pending,
                },
            })
        };
        statement.query_map(params![action, after, limit], row)?.collect()
    }

    /// Returns the number of deliveries that are not made, without dead letters that the user has accepted.
    pub(in crate::checkpoint) fn count(self) -> rusqlite::Result<u64> {
        self.connection
            .prepare_cached("SELECT count(*) FROM alert_deliveries WHERE accepted IS NULL")?
            .query_row([], |row| number(row, 0))
    }

    /// Stores a change of deliveries at a time. Returns the number of deliveries that were made.
    pub(in crate::checkpoint) fn update(
        self,
        update: &DeliveryUpdate,
        now: i64,
    ) -> rusqlite::Result<u64> {
        match update {
            DeliveryUpdate::Started { numbers } => {
                let sql = "UPDATE alert_deliveries SET state = 'sending', attempts = attempts + 1, \
                     first_attempt = coalesce(first_attempt, ?2), last_attempt = ?2 \
                     WHERE number = ?1 AND state <> 'dead'";
                let mut statement = self.connection.prepare_cached(sql)?;
                for number in numbers {
                    statement.execute(params![number, now])?;
                }
                Ok(0)
            }
            DeliveryUpdate::Ended(DeliveryOutcome::Delivered { number }) => {
                let Some(action) = self.delete(*number)? else { return Ok(0) };
                self.count_delivered(&action, now)?;
                Ok(1)
            }
            DeliveryUpdate::Ended(DeliveryOutcome::DeliveredElsewhere { number }) => {
                Ok(u64::from(self.delete(*number)?.is_some()))
            }
            DeliveryUpdate::Ended(DeliveryOutcome::Acknowledged { number }) => {
                let sql = "UPDATE alert_deliveries SET acknowledged = ?2 WHERE number = ?1";
                self.connection.prepare_cached(sql)?.execute(params![number, now])?;
                Ok(0)
            }
            DeliveryUpdate::Ended(DeliveryOutcome::Postponed { number, cause }) => {
                self.fail(*number, "pending", cause, now)
            }
            DeliveryUpdate::Ended(DeliveryOutcome::Failed { number, cause }) => {
                self.fail(*number, "dead", cause, now)
            }
            DeliveryUpdate::Flush => Ok(0),
        }
    }

    /// Deletes a delivery, and its alert with the last one. Returns its action, if it was there.
    fn delete(self, number: i64) -> rusqlite::Result<Option<String>> {
        let sql = "DELETE FROM alert_deliveries WHERE number = ?1 RETURNING alert, action";
        let deleted: Option<(i64, String)> = self
            .connection
            .prepare_cached(sql)?
            .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((alert, action)) = deleted else { return Ok(None) };
        let sql = "DELETE FROM alerts WHERE number = ?1 \
             AND NOT EXISTS (SELECT 1 FROM alert_deliveries WHERE alert = ?1)";
        self.connection.prepare_cached(sql)?.execute([alert])?;
        Ok(Some(action))
    }

    fn count_delivered(self, action: &str, now: i64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO alert_actions (name, delivered, last_delivered) VALUES (?1, 1, ?2) \
             ON CONFLICT (name) DO UPDATE SET delivered = delivered + 1, last_delivered = excluded.last_delivered";
        self.connection.prepare_cached(sql)?.execute(params![action, now]).map(drop)
    }

    fn fail(self, number: i64, state: &str, cause: &str, now: i64) -> rusqlite::Result<u64> {
        let sql = "UPDATE alert_deliveries SET state = ?2, cause = ?3, attempts = max(attempts, 1), \
             first_attempt = coalesce(first_attempt, ?4), last_attempt = ?4 WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute(params![number, state, cause, now])?;
        Ok(0)
    }

    /// Makes dead letters of all pending deliveries whose action is not among `actions`. Returns their number.
    pub(in crate::checkpoint) fn fail_unknown_actions(
        self,
        actions: &[String],
    ) -> rusqlite::Result<u64> {
        let sql = "UPDATE alert_deliveries SET state = 'dead', cause = 'the action ' || action || ' is not defined' \
             WHERE state <> 'dead' AND action NOT IN (SELECT value FROM json_each(?1))";
        let actions = serde_json::json!(actions).to_string();
        self.connection.prepare_cached(sql)?.execute([actions]).map(|rows| rows as u64)
    }

    /// Makes pending deliveries of all dead letters that the user has not accepted, as if they had not been tried. Returns their
    /// number.
    pub(in crate::checkpoint) fn retry(self) -> rusqlite::Result<u64> {
        let sql = "UPDATE alert_deliveries SET state = 'pending', attempts = 0, first_attempt = NULL \
             WHERE state = 'dead' AND accepted IS NULL";
        self.connection.prepare_cached(sql)?.execute([]).map(|rows| rows as u64)
    }

    /// Accepts all dead letters, which are never sent again, and deletes the content of alerts that have no other delivery. Returns
    /// the number of newly accepted ones.
    pub(in crate::checkpoint) fn accept(self, now: i64) -> rusqlite::Result<u64> {
        let sql =
            "UPDATE alert_deliveries SET accepted = ?1 WHERE state = 'dead' AND accepted IS NULL";
        let accepted = self.connection.prepare_cached(sql)?.execute([now])?;
        let sql = "UPDATE alerts SET content = x'' WHERE content <> x'' AND NOT EXISTS \
             (SELECT 1 FROM alert_deliveries WHERE alert = alerts.number AND accepted IS NULL)";
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(accepted as u64)
    }

    /// Returns at most `limit` dead letters, the first ones first.
    pub(in crate::checkpoint) fn dead_letters(
        self,
        limit: usize,
    ) -> rusqlite::Result<Vec<UndeliveredAlert>> {
        let sql = "SELECT alert_deliveries.number, id, rule, action, attempts, first_attempt, last_attempt, \
             coalesce(cause, ''), accepted IS NOT NULL \
             FROM alert_deliveries JOIN alerts ON alerts.number = alert \
             WHERE state = 'dead' ORDER BY alert_deliveries.number LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let row = |row: &Row<'_>| {
            Ok(UndeliveredAlert {
                number: row.get(0)?,
                alert: row.get(1)?,
                rule: row.get(2)?,
                action: row.get(3)?,
                attempts: number(row, 4)?,
                first_attempt: row.get(5)?,
                last_attempt: row.get(6)?,
                cause: row.get(7)?,
                is_accepted: row.get(8)?,
            })
        };
        statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], row)?.collect()
    }

    /// Returns the deliveries of each action, by name.
    pub(in crate::checkpoint) fn actions(self) -> rusqlite::Result<Vec<ActionStatus>> {
        let sql = "SELECT coalesce(name, action), coalesce(delivered, 0), last_delivered, \
             coalesce(pending, 0), coalesce(dead, 0), coalesce(accepted, 0), cause \
             FROM alert_actions FULL JOIN ( \
                 SELECT action, count(*) FILTER (WHERE state <> 'dead') AS pending, \
                     count(*) FILTER (WHERE state = 'dead' AND accepted IS NULL) AS dead, \
                     count(*) FILTER (WHERE state = 'dead' AND accepted IS NOT NULL) AS accepted, \
                     (SELECT cause FROM alert_deliveries AS last WHERE last.action = alert_deliveries.action \
                         AND cause IS NOT NULL ORDER BY last_attempt DESC, number DESC LIMIT 1) AS cause \
                 FROM alert_deliveries GROUP BY action \
             ) ON action = name ORDER BY 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let row = |row: &Row<'_>| {
            Ok(ActionStatus {
                action: row.get(0)?,
                delivered: number(row, 1)?,
                last_delivered: row.get(2)?,
                pending: number(row, 3)?,
                dead_letters: number(row, 4)?,
                accepted: number(row, 5)?,
                cause: row.get(6)?,
            })
        };
        statement.query_map([], row)?.collect()
    }

    /// Returns what the rules have raised, by name.
    pub(in crate::checkpoint) fn rules(self) -> rusqlite::Result<Vec<RuleStatus>> {
        let sql = "SELECT name, alerts, recorded, last_alert FROM alert_rules ORDER BY name";
        let mut statement = self.connection.prepare_cached(sql)?;
        let row = |row: &Row<'_>| {
            Ok(RuleStatus {
                rule: row.get(0)?,
                alerts: number(row, 1)?,
                recorded: number(row, 2)?,
                last_alert: row.get(3)?,
            })
        };
        statement.query_map([], row)?.collect()
    }
}
