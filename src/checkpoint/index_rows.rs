//! The SQL of [`Indices`], and of what identifies the engine they are in.
//!
//! Invariant: what a run put into an index is written in the same transaction as the lanes that it came from.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::indices::{Indices, Known, Missing, Why};
use crate::event::{IndexCount, IndexIdentity};

/// What `meta` holds of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// The UUID of the cluster.
    Cluster,
    /// How documents are spread over indices.
    IndexBy,
}

impl Fact {
    fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::IndexBy => "index_by",
        }
    }

    /// Reads it; `None` if it was never written.
    pub(super) fn read(self, connection: &Connection) -> rusqlite::Result<Option<String>> {
        connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [self.name()], |row| row.get(0))
            .optional()
    }

    /// Writes it.
    pub(super) fn write(self, connection: &Connection, value: &str) -> rusqlite::Result<()> {
        let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        connection.execute(sql, [self.name(), value]).map(drop)
    }
}

/// Adds documents that are in an index. The identity of an index that is known stays.
pub(super) fn add(connection: &Connection, count: &IndexCount) -> rusqlite::Result<()> {
    let IndexIdentity { uuid, made } = count.identity.clone().unwrap_or_default();
    connection
        .prepare_cached(
            "INSERT INTO indices (name, uuid, made, created, already_there) \
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE SET \
             made = iif(uuid = '', excluded.made, made), \
             uuid = iif(uuid = '', excluded.uuid, uuid), \
             created = created + excluded.created, \
             already_there = already_there + excluded.already_there",
        )?
        .execute(params![
            count.index,
            uuid,
            made,
            integer(count.created),
            integer(count.already_there)
        ])
        .map(drop)
}

/// Reads all of them.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Indices> {
    let known = |row: &Row<'_>| {
        let held: Option<i64> = row.get(5)?;
        let known = Known {
            identity: IndexIdentity { uuid: row.get(1)?, made: row.get(2)? },
            created: number(row, 3)?,
            already_there: number(row, 4)?,
            held: held.map(i64::unsigned_abs),
        };
        Ok((row.get(0)?, known))
    };
    let missing = |row: &Row<'_>| {
        let why: String = row.get(3)?;
        let missing = Missing {
            identity: IndexIdentity { uuid: row.get(1)?, made: row.get(2)? },
            why: Why::named(&why).unwrap_or(Why::Deleted),
            documents: number(row, 4)?,
            wanted: number(row, 5)?,
            found: row.get(6)?,
            accepted: row.get(7)?,
        };
        Ok((row.get(0)?, missing))
    };
    Ok(Indices {
        known: connection
            .prepare("SELECT name, uuid, made, created, already_there, held FROM indices")?
            .query_map([], known)?
            .collect::<Result<_, _>>()?,
        missing: connection
            .prepare(
                "SELECT name, uuid, made, why, documents, wanted, found, accepted FROM missing",
            )?
            .query_map([], missing)?
            .collect::<Result<_, _>>()?,
    })
}

/// Writes all of them in place of what was written before.
pub(super) fn replace(connection: &Connection, indices: &Indices) -> rusqlite::Result<()> {
    connection.execute_batch("DELETE FROM indices; DELETE FROM missing;")?;
    let mut insert = connection.prepare("INSERT INTO indices VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for (name, Known { identity, created, already_there, held }) in &indices.known {
        let IndexIdentity { uuid, made } = identity;
        let (created, already_there) = (integer(*created), integer(*already_there));
        insert.execute(params![name, uuid, made, created, already_there, held.map(integer)])?;
    }
    let mut insert =
        connection.prepare("INSERT INTO missing VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for (name, missing) in &indices.missing {
        insert.execute(params![
            name,
            missing.identity.uuid,
            missing.identity.made,
            missing.why.as_str(),
            integer(missing.documents),
            integer(missing.wanted),
            missing.found,
            missing.accepted
        ])?;
    }
    Ok(())
}

/// Forgets all that is done: the documents of it are in another cluster, or in indices that are gone.
pub(super) fn forget(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "DELETE FROM lanes; DELETE FROM folders; DELETE FROM closed; DELETE FROM coverage; \
         DELETE FROM series; DELETE FROM indices; DELETE FROM missing;",
    )
}

/// Returns a count; no count is negative in a file that this program wrote.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
