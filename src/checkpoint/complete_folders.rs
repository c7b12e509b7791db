//! SQL of the table `complete_folders`: one row replaces the rows of all partitions of a folder, such as a day in a trail
//! bucket.
//!
//! Input: folders whose listing is finished, and partitions as they are loaded. Output: rows.
//! Invariant: the rows of partitions are deleted only in the transaction that writes the row of their folder, and only if
//! every listed input is loaded: those that this run reads are counted one by one, all others were loaded when they were
//! listed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::values::{integer, number};
use crate::event::ListingSummary;

/// Folders that wait for their partitions. Further ones are completed by the next run. A run that follows for months adds those
/// with partitions that cannot be read.
const MAX_PENDING: usize = 100_000;

/// Folders with partitions that are not loaded yet.
#[derive(Debug, Default)]
pub(super) struct PendingFolders {
    /// Keyed by prefix, including the last slash.
    folders: HashMap<String, PendingFolder>,
}

/// A folder whose listing is finished.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingFolder {
    /// The listing.
    listing: ListingSummary,
    /// Number of partitions that its existing row already covers.
    previously_loaded: u64,
    /// Number of partitions that this run reads.
    read_in_this_run: u64,
    /// Number of these that are loaded.
    loaded: u64,
}

impl PendingFolder {
    pub(super) fn new(
        listing: ListingSummary,
        previously_loaded: u64,
        read_in_this_run: u64,
    ) -> Self {
        Self { listing, previously_loaded, read_in_this_run, loaded: 0 }
    }

    /// Returns whether the row that covers the earlier partitions still exists. It is deleted when one of them is read
    /// again and fails.
    fn earlier_row_exists(&self, connection: &Connection, prefix: &str) -> rusqlite::Result<bool> {
        let before = stored_listing(connection, prefix)?;
        Ok(self.previously_loaded == 0
            || before.is_some_and(|before| before.inputs == self.previously_loaded))
    }

    fn is_complete(&self, counts: LoadedCounts) -> bool {
        // There may be more rows than listed inputs: objects that have been deleted from the bucket since.
        counts.in_this_run == self.read_in_this_run
            && counts.total >= self.listing.inputs.saturating_sub(self.previously_loaded)
            && self.listing.inputs > 0
    }
}

impl PendingFolders {
    /// Completes a folder, or remembers it until its last partition is loaded. Returns whether rows of partitions were
    /// replaced.
    pub(super) fn complete(
        &mut self,
        connection: &Connection,
        run: i64,
        prefix: String,
        folder: PendingFolder,
    ) -> rusqlite::Result<bool> {
        let counts = loaded_counts(connection, run, &prefix)?;
        if folder.is_complete(counts) && folder.earlier_row_exists(connection, &prefix)? {
            replace_partitions(connection, &prefix, &folder)?;
            return Ok(true);
        }
        if folder.read_in_this_run > 0 && self.folders.len() < MAX_PENDING {
            self.folders.insert(prefix, PendingFolder { loaded: counts.in_this_run, ..folder });
        }
        Ok(false)
    }

    /// Counts a loaded partition, and completes its folder if it was the last one. Returns whether rows of partitions
    /// were replaced.
    pub(super) fn partition_loaded(
        &mut self,
        connection: &Connection,
        run: i64,
        key: &str,
    ) -> rusqlite::Result<bool> {
        if self.folders.is_empty() {
            return Ok(false);
        }
        let Some(prefix) = prefixes(key).find(|prefix| self.folders.contains_key(*prefix)) else {
            return Ok(false);
        };
        let Some(folder) = self.folders.get_mut(prefix) else { return Ok(false) };
        folder.loaded += 1;
        if folder.loaded < folder.read_in_this_run {
            return Ok(false);
        }
        let counts = loaded_counts(connection, run, prefix)?;
        // A partition that was read twice was counted twice.
        folder.loaded = counts.in_this_run;
        if !(folder.is_complete(counts) && folder.earlier_row_exists(connection, prefix)?) {
            return Ok(false);
        }
        replace_partitions(connection, prefix, folder)?;
        self.folders.remove(prefix);
        Ok(true)
    }
}

/// Returns the listing that a folder had when it was completed.
pub(super) fn stored_listing(
    connection: &Connection,
    prefix: &str,
) -> rusqlite::Result<Option<ListingSummary>> {
    let sql = "SELECT inputs, digest, newest FROM complete_folders WHERE prefix = ?1";
    connection
        .prepare_cached(sql)?
        .query_row([prefix], |row| {
            // SQLite has only signed integers; the digest uses all 64 bits.
            let digest = row.get::<_, i64>(1)?.cast_unsigned();
            Ok(ListingSummary { inputs: number(row, 0)?, digest, newest: row.get(2)? })
        })
        .optional()
}

/// Deletes the row of a folder that contains a partition which is no longer loaded.
pub(super) fn reopen(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare_cached("DELETE FROM complete_folders WHERE prefix = ?1")?;
    for prefix in prefixes(key) {
        if statement.execute([prefix])? > 0 {
            delete_skipped_inputs(connection, prefix)?;
        }
    }
    Ok(())
}

fn delete_skipped_inputs(connection: &Connection, prefix: &str) -> rusqlite::Result<()> {
    let sql = "DELETE FROM skipped_inputs WHERE prefix = ?1";
    connection.prepare_cached(sql)?.execute([prefix]).map(drop)
}

/// Returns the prefixes of a key that end with a slash, longest first.
fn prefixes(key: &str) -> impl Iterator<Item = &str> {
    key.rmatch_indices('/').map(|(slash, _)| &key[..=slash])
}

/// The number of loaded partitions of a folder.
#[derive(Clone, Copy, Debug)]
struct LoadedCounts {
    total: u64,
    in_this_run: u64,
}

/// Selects the folders below the prefix `?1`: the folder itself (`?2`), and all paths from the prefix up to the same path
/// with `0`, the character after the slash.
const FOLDERS: &str = "FROM folders WHERE path = ?2 OR (path >= ?1 AND path < ?2 || '0')";

fn loaded_counts(
    connection: &Connection,
    run: i64,
    prefix: &str,
) -> rusqlite::Result<LoadedCounts> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(run = ?3), 0) FROM partitions WHERE folder IN (SELECT id {FOLDERS})"
    );
    connection.prepare_cached(&sql)?.query_row(params![prefix, folder(prefix), run], |row| {
        Ok(LoadedCounts { total: number(row, 0)?, in_this_run: number(row, 1)? })
    })
}

/// Replaces the rows of a folder's partitions by one row, which includes those of an existing row if that is still
/// valid.
fn replace_partitions(
    connection: &Connection,
    prefix: &str,
    pending: &PendingFolder,
) -> rusqlite::Result<()> {
    let PendingFolder { listing, previously_loaded, .. } = *pending;
    let sql = format!(
        "INSERT OR REPLACE INTO complete_folders \
         (prefix, inputs, records, bytes, first_loaded, last_loaded, digest, newest, skipped) \
         SELECT ?1, ?3, sum(records), sum(bytes), min(first), max(last), ?4, ?5, sum(skips) FROM \
         (SELECT records, iif(skipped IS NULL, bytes, 0) AS bytes, loaded AS first, loaded AS last, \
         skipped IS NOT NULL AS skips \
         FROM partitions WHERE folder IN (SELECT id {FOLDERS}) UNION ALL \
         SELECT records, bytes, first_loaded, last_loaded, skipped FROM complete_folders \
         WHERE prefix = ?1 AND ?6)"
    );
    connection.prepare_cached(&sql)?.execute(params![
        prefix,
        folder(prefix),
        integer(listing.inputs),
        listing.digest.cast_signed(),
        listing.newest,
        previously_loaded > 0,
    ])?;
    let execute =
        |sql: String| connection.prepare_cached(&sql)?.execute([prefix, folder(prefix)]).map(drop);
    if previously_loaded == 0 {
        delete_skipped_inputs(connection, prefix)?;
    }
    execute(format!(
        "INSERT INTO skipped_inputs (prefix, cause, inputs, example) \
         SELECT ?1, skipped, count(*), min(?2 || '/' || name) FROM partitions \
         WHERE skipped IS NOT NULL AND folder IN (SELECT id {FOLDERS}) GROUP BY skipped \
         ON CONFLICT (prefix, cause) DO UPDATE SET inputs = inputs + excluded.inputs"
    ))?;
    execute(format!("DELETE FROM partitions WHERE folder IN (SELECT id {FOLDERS})"))?;
    execute(format!("DELETE {FOLDERS}"))
}

/// Returns a prefix without its last slash, as folders are stored.
fn folder(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}
