//! The bounds of the memory of alerts.
//!
//! Input: the numbers of rows. Output: fewer rows, if there are too many.
//! Invariant: no table exceeds its limit by more than the rows of a receipt. What is deleted is the tenth with the oldest event
//! times, so a live source loses nothing that its next events depend on.

use rusqlite::{Connection, params};

/// A table whose rows are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BoundedTable {
    Events,
    Windows,
    Counts,
    Combinations,
}

/// What determines a [`BoundedTable`].
struct Properties {
    name: &'static str,
    /// The column with the time by which rows are deleted.
    time: &'static str,
    /// The largest number of rows. All tables together have less than 600 MB then: rows of 30 to 100 bytes, on pages that are two
    /// thirds full.
    limit: i64,
}

impl BoundedTable {
    pub(super) const ALL: [Self; 4] =
        [Self::Events, Self::Windows, Self::Counts, Self::Combinations];

    fn properties(self) -> Properties {
        match self {
            Self::Events => Properties { name: "alerted_events", time: "time", limit: 4_000_000 },
            Self::Windows => Properties { name: "alert_windows", time: "time", limit: 2_000_000 },
            Self::Counts => Properties { name: "alert_counts", time: "newest", limit: 1_500_000 },
            Self::Combinations => {
                Properties { name: "alert_combinations", time: "until", limit: 2_000_000 }
            }
        }
    }
}

/// The numbers of rows of the bounded tables, as they are stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes {
    rows: [i64; 4],
    is_changed: bool,
}

impl Sizes {
    /// Reads the numbers. They are stored, because counting millions of rows takes seconds.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut sizes = Self::default();
        let mut statement =
            connection.prepare_cached("SELECT size FROM alert_sizes WHERE name = ?1")?;
        for (table, rows) in BoundedTable::ALL.into_iter().zip(&mut sizes.rows) {
            *rows = statement.query_row([table.properties().name], |row| row.get(0))?;
        }
        Ok(sizes)
    }

    /// Adds rows of a table.
    pub(super) fn add(&mut self, table: BoundedTable, rows: i64) {
        if let Some(size) = self.rows.get_mut(table as usize) {
            *size += rows;
            self.is_changed |= rows != 0;
        }
    }

    /// Deletes what exceeds the limits, divided by `divisor`, and stores the numbers.
    pub(super) fn enforce(
        &mut self,
        connection: &Connection,
        divisor: i64,
    ) -> rusqlite::Result<()> {
        if !std::mem::take(&mut self.is_changed) {
            return Ok(());
        }
        let update = "UPDATE alert_sizes SET size = ?2 WHERE name = ?1";
        for (table, rows) in BoundedTable::ALL.into_iter().zip(&mut self.rows) {
            let properties = table.properties();
            if *rows > properties.limit / divisor {
                *rows = delete_oldest(connection, &properties)?;
            }
            connection.prepare_cached(update)?.execute(params![properties.name, *rows])?;
        }
        Ok(())
    }
}

/// Deletes the oldest tenth of a table, and returns the number of remaining rows.
fn delete_oldest(connection: &Connection, table: &Properties) -> rusqlite::Result<i64> {
    let Properties { name, time, .. } = table;
    let count = |connection: &Connection| {
        connection.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0))
    };
    let rows: i64 = count(connection)?;
    let sql = format!("SELECT {time} FROM {name} ORDER BY {time} LIMIT 1 OFFSET ?1");
    let newest_deleted: i64 = connection.query_row(&sql, [rows / 10], |row| row.get(0))?;
    let sql = format!("DELETE FROM {name} WHERE {time} <= ?1");
    connection.execute(&sql, [newest_deleted])?;
    count(connection)
}
