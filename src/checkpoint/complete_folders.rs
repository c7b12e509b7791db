//! SQL of the table `complete_folders`: one row replaces the rows of all partitions of a folder, such as a day in a trail
//! bucket.
//!
//! Input: folders whose listing is finished, and partitions as they are loaded. Output: rows.
//! Invariant: the rows of partitions are deleted only in the transaction that writes the row of their folder, and only if
//! every listed input is loaded: those that this run reads are counted one by one, all others were loaded when they were
//! listed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::event::ListingSummary;

/// Folders with partitions that are not loaded yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Keyed by prefix, including the last slash.
    folders: HashMap<String, PendingFolder>,
}

/// A folder whose listing is finished.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingFolder {
    /// The listing.
    listed: ListingSummary,
    /// Number of partitions that its existing row already covers.
    known: u64,
    /// Number of partitions that this run reads.
    handed_out: u64,
    /// Number of these that are loaded.
    finished: u64,
}

impl PendingFolder {
    pub(super) fn new(listed: ListingSummary, known: u64, handed_out: u64) -> Self {
        Self { listed, known, handed_out, finished: 0 }
    }

    /// Returns whether the row that covers the earlier partitions still exists. It is deleted when one of them is read
    /// again and fails.
    fn stands(&self, connection: &Connection, prefix: &str) -> rusqlite::Result<bool> {
        let before = listing(connection, prefix)?;
        Ok(self.known == 0 || before.is_some_and(|before| before.inputs == self.known))
    }

    fn is_over(&self, done: Done) -> bool {
        // There may be more rows than listed inputs: objects that have been deleted from the bucket since.
        done.in_this_run == self.handed_out
            && done.in_all >= self.listed.inputs.saturating_sub(self.known)
            && self.listed.inputs > 0
    }
}

impl Waiting {
    /// Completes a folder, or remembers it until its last partition is loaded. Returns whether rows of partitions were
    /// replaced.
    pub(super) fn close(
        &mut self,
        connection: &Connection,
        run: i64,
        prefix: String,
        folder: PendingFolder,
    ) -> rusqlite::Result<bool> {
        let done = done(connection, run, &prefix)?;
        if folder.is_over(done) && folder.stands(connection, &prefix)? {
            compact(connection, &prefix, &folder)?;
            return Ok(true);
        }
        if folder.handed_out > 0 {
            self.folders.insert(prefix, PendingFolder { finished: done.in_this_run, ..folder });
        }
        Ok(false)
    }

    /// Counts a loaded partition, and completes its folder if it was the last one. Returns whether rows of partitions
    /// were replaced.
    pub(super) fn finished(
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
        folder.finished += 1;
        if folder.finished < folder.handed_out {
            return Ok(false);
        }
        let done = done(connection, run, prefix)?;
        // A partition that was read twice was counted twice.
        folder.finished = done.in_this_run;
        if !(folder.is_over(done) && folder.stands(connection, prefix)?) {
            return Ok(false);
        }
        compact(connection, prefix, folder)?;
        self.folders.remove(prefix);
        Ok(true)
    }
}

/// Returns the listing that a folder had when it was completed.
pub(super) fn listing(
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
        statement.execute([prefix])?;
    }
    Ok(())
}

/// Returns the prefixes of a key that end with a slash, longest first.
fn prefixes(key: &str) -> impl Iterator<Item = &str> {
    key.rmatch_indices('/').map(|(slash, _)| &key[..=slash])
}

/// The number of loaded partitions of a folder.
#[derive(Clone, Copy, Debug)]
struct Done {
    in_all: u64,
    in_this_run: u64,
}

/// Selects the folders below the prefix `?1`: the folder itself (`?2`), and all paths from the prefix up to the same path
/// with `0`, the character after the slash.
const FOLDERS: &str = "FROM folders WHERE path = ?2 OR (path >= ?1 AND path < ?2 || '0')";

fn done(connection: &Connection, run: i64, prefix: &str) -> rusqlite::Result<Done> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(run = ?3), 0) FROM partitions WHERE folder IN (SELECT id {FOLDERS})"
    );
    connection.prepare_cached(&sql)?.query_row(params![prefix, folder(prefix), run], |row| {
        Ok(Done { in_all: number(row, 0)?, in_this_run: number(row, 1)? })
    })
}

/// Replaces the rows of a folder's partitions by one row, which includes those of an existing row if that is still
/// valid.
fn compact(connection: &Connection, prefix: &str, closing: &PendingFolder) -> rusqlite::Result<()> {
    let PendingFolder { listed, known, .. } = *closing;
    let sql = format!(
        "INSERT OR REPLACE INTO complete_folders \
         (prefix, inputs, records, bytes, first_loaded, last_loaded, digest, newest, skipped) \
         SELECT ?1, ?3, sum(records), sum(bytes), min(first), max(last), ?4, ?5, sum(skipped) FROM \
         (SELECT records, bytes * (1 - skipped) AS bytes, loaded AS first, loaded AS last, skipped \
         FROM partitions WHERE folder IN (SELECT id {FOLDERS}) UNION ALL \
         SELECT records, bytes, first_loaded, last_loaded, skipped FROM complete_folders \
         WHERE prefix = ?1 AND ?6)"
    );
    connection.prepare_cached(&sql)?.execute(params![
        prefix,
        folder(prefix),
        i64::try_from(listed.inputs).unwrap_or(i64::MAX),
        listed.digest.cast_signed(),
        listed.newest,
        known > 0,
    ])?;
    let execute =
        |sql: String| connection.prepare_cached(&sql)?.execute([prefix, folder(prefix)]).map(drop);
    execute(format!("DELETE FROM partitions WHERE folder IN (SELECT id {FOLDERS})"))?;
    execute(format!("DELETE {FOLDERS}"))
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// Returns a prefix without its last slash, as folders are stored.
fn folder(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}
