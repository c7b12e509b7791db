//! The SQL of folders that are done as a whole: one row for all lanes of a day.
//!
//! Holds: lanes go away only in the transaction that writes their row, and only if every input that was listed
//! is done: those that this run read are counted one by one, all others were done when they were listed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

/// The folders that wait for the last of their lanes.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By prefix, with its last slash.
    folders: HashMap<String, Folder>,
}

/// A folder that is to be closed.
#[derive(Clone, Copy, Debug)]
struct Folder {
    /// Lanes that it has.
    inputs: u64,
    /// Those of them that are read in this run.
    handed_out: u64,
    /// Those of them that are done.
    finished: u64,
}

impl Waiting {
    /// Closes a folder, or waits for what is missing. Returns whether lanes went away.
    pub(super) fn close(
        &mut self,
        connection: &Connection,
        run: i64,
        prefix: String,
        (inputs, handed_out): (u64, u64),
    ) -> rusqlite::Result<bool> {
        let done = done(connection, run, &prefix)?;
        if done.is_all(inputs, handed_out) {
            compact(connection, &prefix, inputs)?;
            return Ok(true);
        }
        if handed_out > 0 {
            let folder = Folder { inputs, handed_out, finished: done.in_this_run };
            self.folders.insert(prefix, folder);
        }
        Ok(false)
    }

    /// Takes in that a lane is done, and closes the folder that waited for it. Returns whether lanes went away.
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
        let Folder { inputs, handed_out, finished } = *folder;
        if finished < handed_out {
            return Ok(false);
        }
        let done = done(connection, run, prefix)?;
        // A lane that was read twice was counted twice.
        folder.finished = done.in_this_run;
        if !done.is_all(inputs, handed_out) {
            return Ok(false);
        }
        compact(connection, prefix, inputs)?;
        self.folders.remove(prefix);
        Ok(true)
    }
}

/// Returns how many inputs a folder had when it was closed.
pub(super) fn inputs(connection: &Connection, prefix: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT inputs FROM closed WHERE prefix = ?1")?
        .query_row([prefix], |row| row.get(0))
        .optional()
}

/// Opens the folder of a lane again that is not done any more.
pub(super) fn reopen(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("DELETE FROM closed WHERE prefix = ?1")?;
    for prefix in prefixes(key) {
        statement.execute([prefix])?;
    }
    Ok(())
}

/// Returns what a key begins with, up to each of its slashes, the longest first.
fn prefixes(key: &str) -> impl Iterator<Item = &str> {
    key.rmatch_indices('/').map(|(slash, _)| &key[..=slash])
}

/// How many lanes of a folder are done.
#[derive(Clone, Copy, Debug)]
struct Done {
    in_all: u64,
    in_this_run: u64,
}

impl Done {
    fn is_all(self, inputs: u64, handed_out: u64) -> bool {
        // There may be more in all: what is gone from the bucket by now.
        self.in_this_run == handed_out && self.in_all >= inputs && inputs > 0
    }
}

/// The folders below a prefix, `?1`: its own, which is `?2`, and what is between the prefix and the same with the
/// sign behind the slash.
const FOLDERS: &str = "FROM folders WHERE path = ?2 OR (path >= ?1 AND path < ?2 || '0')";

fn done(connection: &Connection, run: i64, prefix: &str) -> rusqlite::Result<Done> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(run = ?3), 0) FROM lanes WHERE folder IN (SELECT id {FOLDERS})"
    );
    connection.prepare_cached(&sql)?.query_row(params![prefix, folder(prefix), run], |row| {
        Ok(Done { in_all: number(row, 0)?, in_this_run: number(row, 1)? })
    })
}

/// Puts one row in the place of a folder's lanes.
fn compact(connection: &Connection, prefix: &str, inputs: u64) -> rusqlite::Result<()> {
    let execute = |sql: String, inputs: Option<i64>| {
        let mut statement = connection.prepare_cached(&sql)?;
        match inputs {
            Some(inputs) => statement.execute(params![prefix, folder(prefix), inputs]),
            None => statement.execute([prefix, folder(prefix)]),
        }
    };
    execute(
        format!(
            "INSERT OR REPLACE INTO closed (prefix, inputs, records, bytes, first_done, last_done) \
             SELECT ?1, ?3, sum(records), sum(bytes), min(done), max(done) FROM lanes \
             WHERE folder IN (SELECT id {FOLDERS})"
        ),
        Some(i64::try_from(inputs).unwrap_or(i64::MAX)),
    )?;
    execute(format!("DELETE FROM lanes WHERE folder IN (SELECT id {FOLDERS})"), None)?;
    execute(format!("DELETE {FOLDERS}"), None).map(drop)
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// Returns a prefix as the folders are named.
fn folder(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}
