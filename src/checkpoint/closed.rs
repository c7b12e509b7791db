//! The SQL of folders that are done as a whole: one row for all lanes of a day.
//!
//! Holds: lanes go away only in the transaction that writes their row, and only if every input that was listed
//! is done: those that this run read are counted one by one, all others were done when they were listed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::event::Listed;

/// The folders that wait for the last of their lanes.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By prefix, with its last slash.
    folders: HashMap<String, Closing>,
}

/// A folder that is to be closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    /// Lanes that it has, and what else their listing looked like.
    listed: Listed,
    /// Those of them that its row stands for already.
    known: u64,
    /// Those of them that are read in this run.
    handed_out: u64,
    /// Those of them that are done.
    finished: u64,
}

impl Closing {
    pub(super) fn new(listed: Listed, known: u64, handed_out: u64) -> Self {
        Self { listed, known, handed_out, finished: 0 }
    }

    /// Returns whether the folder's row is there that is to stand for what was done before. A lane that was read again
    /// and failed has taken it away.
    fn stands(&self, connection: &Connection, prefix: &str) -> rusqlite::Result<bool> {
        let before = listed(connection, prefix)?;
        Ok(self.known == 0 || before.is_some_and(|before| before.inputs == self.known))
    }

    fn is_over(&self, done: Done) -> bool {
        // There may be more in all: what is gone from the bucket by now.
        done.in_this_run == self.handed_out
            && done.in_all >= self.listed.inputs.saturating_sub(self.known)
            && self.listed.inputs > 0
    }
}

impl Waiting {
    /// Closes a folder, or waits for what is missing. Returns whether lanes went away.
    pub(super) fn close(
        &mut self,
        connection: &Connection,
        run: i64,
        prefix: String,
        folder: Closing,
    ) -> rusqlite::Result<bool> {
        let done = done(connection, run, &prefix)?;
        if folder.is_over(done) && folder.stands(connection, &prefix)? {
            compact(connection, &prefix, &folder)?;
            return Ok(true);
        }
        if folder.handed_out > 0 {
            self.folders.insert(prefix, Closing { finished: done.in_this_run, ..folder });
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
        if folder.finished < folder.handed_out {
            return Ok(false);
        }
        let done = done(connection, run, prefix)?;
        // A lane that was read twice was counted twice.
        folder.finished = done.in_this_run;
        if !(folder.is_over(done) && folder.stands(connection, prefix)?) {
            return Ok(false);
        }
        compact(connection, prefix, folder)?;
        self.folders.remove(prefix);
        Ok(true)
    }
}

/// Returns what the listing of a folder looked like when it was closed. One that was closed before that was written
/// down counts as open.
pub(super) fn listed(connection: &Connection, prefix: &str) -> rusqlite::Result<Option<Listed>> {
    let sql = "SELECT inputs, digest, newest FROM closed WHERE prefix = ?1 AND digest IS NOT NULL";
    connection
        .prepare_cached(sql)?
        .query_row([prefix], |row| {
            // SQLite has signed numbers only; a digest is all 64 bits of one.
            let digest = row.get::<_, i64>(1)?.cast_unsigned();
            Ok(Listed { inputs: number(row, 0)?, digest, newest: row.get(2)? })
        })
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

/// Puts one row in the place of a folder's lanes; it stands for what it stood for before too, if that still holds.
fn compact(connection: &Connection, prefix: &str, closing: &Closing) -> rusqlite::Result<()> {
    let Closing { listed, known, .. } = *closing;
    let sql = format!(
        "INSERT OR REPLACE INTO closed \
         (prefix, inputs, records, bytes, first_done, last_done, digest, newest, skipped) \
         SELECT ?1, ?3, sum(records), sum(bytes), min(first), max(last), ?4, ?5, sum(skipped) FROM \
         (SELECT records, bytes * (1 - skipped) AS bytes, done AS first, done AS last, skipped \
         FROM lanes WHERE folder IN (SELECT id {FOLDERS}) UNION ALL \
         SELECT records, bytes, first_done, last_done, skipped FROM closed \
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
    execute(format!("DELETE FROM lanes WHERE folder IN (SELECT id {FOLDERS})"))?;
    execute(format!("DELETE {FOLDERS}"))
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// Returns a prefix as the folders are named.
fn folder(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}
