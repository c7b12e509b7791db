//! SQL of the tables `indices` and `missing_documents`, and of the metadata about the cluster.
//!
//! Input: counts by index, and [`LoadedIndices`]. Output: rows.
//! Invariant: the documents counted for an index are committed in the same transaction as the partitions they came from.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::indices::{LoadedIndex, LoadedIndices, LossReason, MissingDocuments};
use super::values::{integer, number, optional_number};
use crate::event::{IndexCount, IndexIdentity};

/// A key of the table `meta` that describes the target cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaKey {
    /// The UUID of the cluster.
    ClusterUuid,
    /// The period that each index covers.
    IndexBy,
    /// The address of the state of alerts that is shared with other processes.
    AlertState,
    /// The id by which other processes know this file as the owner of deliveries.
    AlertOwner,
}

impl MetaKey {
    fn name(self) -> &'static str {
        match self {
            Self::ClusterUuid => "cluster",
            Self::IndexBy => "index_by",
            Self::AlertState => "alert_state",
            Self::AlertOwner => "alert_owner",
        }
    }

    /// Reads the value, or `None` if it was never written.
    pub(super) fn read(self, connection: &Connection) -> rusqlite::Result<Option<String>> {
        connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [self.name()], |row| row.get(0))
            .optional()
    }

    /// Writes the value.
    pub(super) fn write(self, connection: &Connection, value: &str) -> rusqlite::Result<()> {
        let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        connection.execute(sql, [self.name(), value]).map(drop)
    }
}

/// Adds documents to the counts of an index. A known identity of the index is kept.
pub(super) fn add(connection: &Connection, count: &IndexCount) -> rusqlite::Result<()> {
    let IndexIdentity { uuid, created_at } = count.identity.clone().unwrap_or_default();
    connection
        .prepare_cached(
            "INSERT INTO indices (name, uuid, created_at, created, duplicates) \
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE SET \
             created_at = iif(uuid = '', excluded.created_at, created_at), \
             uuid = iif(uuid = '', excluded.uuid, uuid), \
             created = created + excluded.created, \
             duplicates = duplicates + excluded.duplicates",
        )?
        .execute(params![
            count.index,
            uuid,
            created_at,
            integer(count.created),
            integer(count.duplicates)
        ])
        .map(drop)
}

/// Reads all indices and missing documents.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<LoadedIndices> {
    let known = |row: &Row<'_>| {
        let known = LoadedIndex {
            identity: IndexIdentity { uuid: row.get(1)?, created_at: row.get(2)? },
            created: number(row, 3)?,
            duplicates: number(row, 4)?,
            documents: optional_number(row, 5)?,
        };
        Ok((row.get(0)?, known))
    };
    let missing = |row: &Row<'_>| {
        let reason: String = row.get(3)?;
        let missing = MissingDocuments {
            identity: IndexIdentity { uuid: row.get(1)?, created_at: row.get(2)? },
            reason: LossReason::from_name(&reason).unwrap_or(LossReason::Deleted),
            documents: number(row, 4)?,
            expected: number(row, 5)?,
            detected: row.get(6)?,
            accepted: row.get(7)?,
        };
        Ok((row.get(0)?, missing))
    };
    Ok(LoadedIndices {
        known: connection
            .prepare("SELECT name, uuid, created_at, created, duplicates, documents FROM indices")?
            .query_map([], known)?
            .collect::<Result<_, _>>()?,
        missing: connection
            .prepare(
                "SELECT index_name, uuid, created_at, reason, documents, expected, detected, accepted \
                 FROM missing_documents",
            )?
            .query_map([], missing)?
            .collect::<Result<_, _>>()?,
    })
}

/// Replaces all indices and missing documents.
pub(super) fn replace(connection: &Connection, indices: &LoadedIndices) -> rusqlite::Result<()> {
    connection.execute_batch("DELETE FROM indices; DELETE FROM missing_documents;")?;
    let mut insert = connection.prepare("INSERT INTO indices VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for (name, LoadedIndex { identity, created, duplicates, documents }) in &indices.known {
        let IndexIdentity { uuid, created_at } = identity;
        let (created, duplicates) = (integer(*created), integer(*duplicates));
        insert.execute(params![
            name,
            uuid,
            created_at,
            created,
            duplicates,
            documents.map(integer)
        ])?;
    }
    let mut insert = connection
        .prepare("INSERT INTO missing_documents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for (name, missing) in &indices.missing {
        insert.execute(params![
            name,
            missing.identity.uuid,
            missing.identity.created_at,
            missing.reason.as_str(),
            integer(missing.documents),
            integer(missing.expected),
            missing.detected,
            missing.accepted
        ])?;
    }
    Ok(())
}

/// Deletes the records of everything loaded, because the documents are in another cluster or in deleted indices.
pub(super) fn delete_progress(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "DELETE FROM partitions; DELETE FROM folders; DELETE FROM complete_folders; DELETE FROM skipped_inputs; DELETE FROM coverage; \
         DELETE FROM series; DELETE FROM indices; DELETE FROM missing_documents;",
    )
}
