//! The documents that are set aside: what keeps each out, and its content, to be sent again.
//!
//! In: documents that could not go in, and what became of those that were sent again. Out: rows of one table.
//! Holds: a row goes only when its document is in the index; a repeat after a crash meets its own row.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::lock::Lock;
use super::store::integer;
use super::{Error, Outstanding, file};
use crate::event::Fingerprint;
use crate::event::{IndexCount, Kept, Packed, SetAside, SetAsideCause};

/// Which documents that are set aside are sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// Those that may go in now: what keeps them out is not their content, or the mapping or the rules that refused
    /// it have changed.
    #[default]
    Due,
    /// All that are not accepted.
    Standing,
    /// All.
    All,
}

/// Names a document that is set aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The index it was meant for.
    pub index: String,
    /// Its document id.
    pub id: String,
}

/// A document that is to be sent again; its content is read when its turn has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number in the file; later ones have higher numbers.
    pub number: i64,
    /// Its name.
    pub key: Key,
    /// Key of the lane that it was read from.
    pub lane: String,
}

/// What became of documents that were sent again. Each is in exactly one of both lists.
#[derive(Clone, Debug, Default)]
pub struct Retried {
    /// Those that are in the index now.
    pub settled: Vec<Key>,
    /// What the indices hold of them.
    pub indices: Vec<IndexCount>,
    /// Those that stay out, with the new cause.
    pub refused: Vec<(Key, SetAsideCause, String)>,
}

impl Retried {
    /// Returns how many documents their index held already.
    pub fn already_there(&self) -> u64 {
        self.indices.iter().map(|one| one.already_there).sum()
    }
}

/// Where and when a document was set aside.
pub(super) struct Place<'a> {
    /// Key of the lane that it was read from.
    pub(super) lane: &'a str,
    /// Fingerprint of that lane, as far as it is known.
    pub(super) fingerprint: &'a str,
    /// The run.
    pub(super) run: i64,
    /// When, in milliseconds.
    pub(super) at: i64,
}

/// Writes down a document that was read and could not go in. It stays accepted if it was.
pub(super) fn insert(
    connection: &Connection,
    document: &SetAside,
    place: &Place<'_>,
) -> rusqlite::Result<()> {
    let (kept, content, position, bytes) = match &document.kept {
        Kept::Document(content) => ("document", Some(content), None, None),
        Kept::Record { content, offset, bytes } => {
            ("record", content.as_ref(), Some(integer(*offset)), Some(integer(*bytes)))
        }
    };
    let sql = "INSERT INTO set_aside (index_name, id, lane, fingerprint, run, at, cause, reason, \
         tried, refused_under, kept, content, position, bytes) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?5, '', ?9, ?10, ?11, ?12) \
         ON CONFLICT (index_name, id) DO UPDATE SET lane = excluded.lane, \
         fingerprint = excluded.fingerprint, run = excluded.run, at = excluded.at, \
         cause = excluded.cause, reason = excluded.reason, tried = excluded.tried, \
         refused_under = '', kept = excluded.kept, content = excluded.content, \
         position = excluded.position, bytes = excluded.bytes";
    let values = params![
        document.index,
        document.id,
        place.lane,
        place.fingerprint,
        place.run,
        place.at,
        document.cause.name(),
        document.reason,
        kept,
        content.map(Packed::as_bytes),
        position,
        bytes
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// Writes down what became of documents that were sent again. Those that stay out keep their content, their lane
/// and when they were set aside.
pub(super) fn retried(
    connection: &Connection,
    retried: &Retried,
    run: i64,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM set_aside WHERE index_name = ?1 AND id = ?2";
    let mut gone = connection.prepare_cached(sql)?;
    for Key { index, id } in &retried.settled {
        gone.execute([index, id])?;
    }
    let sql = "UPDATE set_aside SET cause = ?3, reason = ?4, tried = ?5, refused_under = '' \
         WHERE index_name = ?1 AND id = ?2";
    let mut stays = connection.prepare_cached(sql)?;
    for (Key { index, id }, cause, reason) in &retried.refused {
        stays.execute(params![index, id, cause.name(), reason, run])?;
    }
    Ok(())
}

/// Writes down under which version this run's documents of an index were refused for their content.
pub(super) fn refused_under(
    connection: &Connection,
    index: &str,
    version: &str,
    run: i64,
) -> rusqlite::Result<()> {
    let sql = "UPDATE set_aside SET refused_under = ?2 \
         WHERE index_name = ?1 AND cause = 'content' AND tried = ?3";
    connection.prepare_cached(sql)?.execute(params![index, version, run]).map(drop)
}

/// Looks at what was set aside of a lane that is done: what this run set aside gets the final fingerprint, and
/// what an earlier run set aside of the same content, and this one did not, has gone in.
///
/// What was set aside of other content stays: the row holds the only copy of a document that a file,
/// overwritten in place, held once.
pub(super) fn sort(
    connection: &Connection,
    this_run: i64,
    lane: &str,
    fingerprint: &str,
) -> rusqlite::Result<()> {
    let known: Vec<(i64, String)> = connection
        .prepare_cached("SELECT DISTINCT run, fingerprint FROM set_aside WHERE lane = ?1")?
        .query_map([lane], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (run, before) in known {
        let rows = params![lane, run, before, fingerprint];
        if run == this_run {
            let sql = "UPDATE set_aside SET fingerprint = ?4 \
                 WHERE lane = ?1 AND run = ?2 AND fingerprint = ?3";
            connection.prepare_cached(sql)?.execute(rows)?;
        } else if same_content(&before, fingerprint) {
            let sql = "DELETE FROM set_aside WHERE lane = ?1 AND run = ?2 AND fingerprint = ?3";
            connection.prepare_cached(sql)?.execute(&rows[..3])?;
        }
    }
    Ok(())
}

/// Returns whether two fingerprints of a lane say the same content. One without any was written before it was kept.
fn same_content(one: &str, other: &str) -> bool {
    let parsed = (one.parse::<Fingerprint>(), other.parse::<Fingerprint>());
    match parsed {
        (Ok(one), Ok(other)) => one.same_content(other),
        _ => one.is_empty() || one == other,
    }
}

/// Returns how many documents are set aside, those that are accepted apart.
pub(super) fn outstanding(connection: &Connection) -> rusqlite::Result<Outstanding> {
    let sql = "SELECT count(*), count(accepted) FROM set_aside";
    connection.query_row(sql, [], |row| {
        let (all, accepted): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(Outstanding {
            set_aside: (all - accepted).unsigned_abs(),
            accepted: accepted.unsigned_abs(),
        })
    })
}

/// Returns the indices that refused documents for their content, and the version under which each did; those of
/// accepted documents are left out.
pub(super) fn refusals(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let sql = "SELECT DISTINCT index_name, refused_under FROM set_aside \
         WHERE cause = 'content' AND accepted IS NULL ORDER BY 1, 2";
    let mut statement = connection.prepare(sql)?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Returns the documents behind `after` that are to be sent again, in the order in which they were set aside.
/// `unchanged` are those of [`refusals`] whose version is still the same.
pub(super) fn waiting(
    connection: &Connection,
    retry: Retry,
    unchanged: &[(String, String)],
    after: i64,
    most: u32,
) -> rusqlite::Result<Vec<Waiting>> {
    let which = match retry {
        Retry::Due => {
            "accepted IS NULL AND NOT (cause = 'content' AND json_array(index_name, refused_under) \
             IN (SELECT value FROM json_each(?1)))"
        }
        Retry::Standing => "accepted IS NULL",
        Retry::All => "TRUE",
    };
    let sql = format!(
        "SELECT rowid, index_name, id, lane FROM set_aside \
         WHERE ?1 IS NOT NULL AND rowid > ?2 AND {which} ORDER BY rowid LIMIT ?3"
    );
    let row = |row: &Row<'_>| {
        let key = Key { index: row.get(1)?, id: row.get(2)? };
        Ok(Waiting { number: row.get(0)?, key, lane: row.get(3)? })
    };
    let unchanged = serde_json::json!(unchanged).to_string();
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(params![unchanged, after, most], row)?.collect()
}

/// Returns what is kept of a document; nothing of one that an earlier version cut.
pub(super) fn kept(connection: &Connection, number: i64) -> rusqlite::Result<Option<Kept>> {
    let sql = "SELECT kept, content, position, bytes FROM set_aside WHERE rowid = ?1";
    connection.prepare_cached(sql)?.query_row([number], |row| {
        let kept: String = row.get(0)?;
        let content = row.get::<_, Option<Vec<u8>>>(1)?.map(Packed::from_bytes);
        let number =
            |column| row.get::<_, Option<i64>>(column).map(|it| it.unwrap_or(0).unsigned_abs());
        Ok(match (kept.as_str(), content) {
            ("document", Some(content)) => Some(Kept::Document(content)),
            ("record", content) => {
                Some(Kept::Record { content, offset: number(2)?, bytes: number(3)? })
            }
            _ => None,
        })
    })
}

/// Accepts that the documents that are set aside now stay out, and returns how many were not accepted before.
///
/// # Errors
///
/// Returns [`Error`] if there is no such file, or a run is using it, or it cannot be written.
pub fn accept(path: &Path, now: Timestamp) -> Result<u64, Error> {
    if !path.exists() {
        return Err(Error::Missing { path: path.to_owned() });
    }
    let path = file::create(path)?;
    let _lock = Lock::take(&path, now)?;
    let connection = file::connect(&path)?;
    let sql = "UPDATE set_aside SET accepted = ?1 WHERE accepted IS NULL";
    let accepted = connection.execute(sql, [now.as_millisecond()]);
    accepted
        .map(|rows| rows as u64)
        .map_err(|source| Error::sql(&path, "accept what is set aside", source))
}
