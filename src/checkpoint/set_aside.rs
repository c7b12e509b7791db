//! The documents that are set aside: what keeps each out, and its content, to be sent again.
//!
//! Holds: a row goes only when its document is in the index; a repeat after a crash meets its own row.

use rusqlite::{Connection, params};

use super::store::integer;
use crate::event::{Kept, SetAside};
use crate::source::Fingerprint;

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
        content.map(|content| content.as_bytes()),
        position,
        bytes
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
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
