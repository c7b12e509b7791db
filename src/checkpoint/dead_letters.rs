//! SQL of the table `dead_letters`: documents that were rejected, with the reason and the content to send them again.
//!
//! Input: dead letters, and the outcome of sending them again. Output: rows, and the candidates for a retry.
//! Invariant: a row is deleted only when its document is in the index. A document that is rejected again after a crash
//! replaces its own row, so it is never counted twice.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::lock::Lock;
use super::values::integer;
use super::{Error, Outstanding, file};
use crate::event::Fingerprint;
use crate::event::{CompressedText, DeadLetter, DeadLetterCause, DeadLetterContent, IndexCount};

/// Selects the dead letters to send again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetrySelection {
    /// Those that may succeed now: they were not rejected because of their content, or the program, rules or mapping
    /// that rejected it have changed.
    #[default]
    Due,
    /// All that the user has not accepted.
    NotAccepted,
    /// All, including accepted ones.
    All,
}

/// Identifies a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeadLetterKey {
    /// The index that the document was sent to.
    pub index: String,
    /// The document id.
    pub id: String,
}

/// A dead letter to send again. Its content is read separately, when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryCandidate {
    /// The row id; later dead letters have higher ones.
    pub row: i64,
    /// Index and document id.
    pub key: DeadLetterKey,
    /// Key of the partition that the document was read from.
    pub partition: String,
}

/// The outcome of sending dead letters again. Each document is in exactly one of the two lists.
#[derive(Clone, Debug, Default)]
pub struct RetryOutcome {
    /// Documents that are in their index now.
    pub settled: Vec<DeadLetterKey>,
    /// Created and duplicate documents by index.
    pub indices: Vec<IndexCount>,
    /// Documents that were rejected again, with the new cause and reason.
    pub rejected: Vec<(DeadLetterKey, DeadLetterCause, String)>,
}

impl RetryOutcome {
    /// Returns the number of documents that were already in their index.
    pub fn duplicates(&self) -> u64 {
        self.indices.iter().map(|one| one.duplicates).sum()
    }
}

/// The origin of a dead letter.
pub(super) struct Origin<'a> {
    /// Key of the partition that the document was read from.
    pub(super) partition: &'a str,
    /// Fingerprint of that partition, as far as it is known.
    pub(super) fingerprint: &'a str,
    /// The run that rejected it.
    pub(super) run: i64,
    /// Time of the rejection, in milliseconds since the Unix epoch.
    pub(super) at: i64,
}

/// Stores a dead letter. If the user had accepted it before, it remains accepted.
pub(super) fn insert(
    connection: &Connection,
    document: &DeadLetter,
    origin: &Origin<'_>,
) -> rusqlite::Result<()> {
    let (kind, content, position, bytes) = match &document.content {
        DeadLetterContent::Document(content) => ("document", Some(content), None, None),
        DeadLetterContent::Record { content, offset, bytes } => {
            ("record", content.as_ref(), Some(integer(*offset)), Some(integer(*bytes)))
        }
    };
    let sql = "INSERT INTO dead_letters (index_name, id, partition_key, fingerprint, run, rejected, cause, reason, \
         last_attempt, rejected_under, content_kind, content, position, bytes) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?5, '', ?9, ?10, ?11, ?12) \
         ON CONFLICT (index_name, id) DO UPDATE SET partition_key = excluded.partition_key, \
         fingerprint = excluded.fingerprint, run = excluded.run, rejected = excluded.rejected, \
         cause = excluded.cause, reason = excluded.reason, last_attempt = excluded.last_attempt, \
         rejected_under = '', content_kind = excluded.content_kind, content = excluded.content, \
         position = excluded.position, bytes = excluded.bytes";
    let values = params![
        document.index,
        document.id,
        origin.partition,
        origin.fingerprint,
        origin.run,
        origin.at,
        document.cause.name(),
        document.reason,
        kind,
        content.map(CompressedText::as_bytes),
        position,
        bytes
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// Stores the outcome of sending dead letters again. Those that were rejected again keep their content, partition and
/// time.
pub(super) fn retried(
    connection: &Connection,
    retried: &RetryOutcome,
    run: i64,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM dead_letters WHERE index_name = ?1 AND id = ?2";
    let mut delete = connection.prepare_cached(sql)?;
    for DeadLetterKey { index, id } in &retried.settled {
        delete.execute([index, id])?;
    }
    let sql = "UPDATE dead_letters SET cause = ?3, reason = ?4, last_attempt = ?5, rejected_under = '' \
         WHERE index_name = ?1 AND id = ?2";
    let mut update = connection.prepare_cached(sql)?;
    for (DeadLetterKey { index, id }, cause, reason) in &retried.rejected {
        update.execute(params![index, id, cause.name(), reason, run])?;
    }
    Ok(())
}

/// Stores the version (of program, rules and mapping) that rejected this run's documents of an index because of their
/// content.
pub(super) fn set_rejected_under(
    connection: &Connection,
    index: &str,
    version: &str,
    run: i64,
) -> rusqlite::Result<()> {
    let sql = "UPDATE dead_letters SET rejected_under = ?2 \
         WHERE index_name = ?1 AND cause = 'content' AND last_attempt = ?3";
    connection.prepare_cached(sql)?.execute(params![index, version, run]).map(drop)
}

/// Updates the dead letters of a partition that was loaded: those of this run get the final fingerprint, and those that
/// an earlier run stored for the same content are deleted, because this run sent them and they were not rejected.
///
/// Dead letters of different content stay: if the file was overwritten in origin, the row is the only copy of the
/// document.
pub(super) fn update_loaded_partition(
    connection: &Connection,
    this_run: i64,
    partition: &str,
    fingerprint: &str,
) -> rusqlite::Result<()> {
    let known: Vec<(i64, String)> = connection
        .prepare_cached(
            "SELECT DISTINCT run, fingerprint FROM dead_letters WHERE partition_key = ?1",
        )?
        .query_map([partition], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (run, before) in known {
        let rows = params![partition, run, before, fingerprint];
        if run == this_run {
            let sql = "UPDATE dead_letters SET fingerprint = ?4 \
                 WHERE partition_key = ?1 AND run = ?2 AND fingerprint = ?3";
            connection.prepare_cached(sql)?.execute(rows)?;
        } else if same_content(&before, fingerprint) {
            let sql = "DELETE FROM dead_letters WHERE partition_key = ?1 AND run = ?2 AND fingerprint = ?3";
            connection.prepare_cached(sql)?.execute(&rows[..3])?;
        }
    }
    Ok(())
}

/// Returns whether two fingerprints of a partition stand for the same content.
fn same_content(one: &str, other: &str) -> bool {
    let parsed = (one.parse::<Fingerprint>(), other.parse::<Fingerprint>());
    match parsed {
        (Ok(one), Ok(other)) => one.has_same_content(other),
        _ => one.is_empty() || one == other,
    }
}

/// Counts the dead letters.
pub(super) fn outstanding(connection: &Connection) -> rusqlite::Result<Outstanding> {
    let sql = "SELECT count(*), count(accepted) FROM dead_letters";
    connection.query_row(sql, [], |row| {
        let (all, accepted): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(Outstanding {
            dead_letters: (all - accepted).unsigned_abs(),
            accepted: accepted.unsigned_abs(),
        })
    })
}

/// Returns the keys of the partitions of which the latest run kept dead letters that are not accepted.
pub(super) fn partitions_of_latest_run(
    connection: &Connection,
) -> rusqlite::Result<BTreeSet<String>> {
    let sql = "SELECT DISTINCT partition_key FROM dead_letters \
         WHERE run = (SELECT max(id) FROM runs) AND accepted IS NULL";
    connection.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Returns the indices that rejected documents because of their content, each with the version that did. Accepted dead
/// letters are left out.
pub(super) fn rejections(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let sql = "SELECT DISTINCT index_name, rejected_under FROM dead_letters \
         WHERE cause = 'content' AND accepted IS NULL ORDER BY 1, 2";
    let mut statement = connection.prepare(sql)?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Returns at most `limit` dead letters to send again, in the order in which they were stored, starting after row
/// `after`. `unchanged` are those [`rejections`] whose version is still current.
pub(super) fn retry_candidates(
    connection: &Connection,
    retry: RetrySelection,
    unchanged: &[(String, String)],
    after: i64,
    limit: u32,
) -> rusqlite::Result<Vec<RetryCandidate>> {
    let which = match retry {
        RetrySelection::Due => {
            "accepted IS NULL AND NOT (cause = 'content' AND json_array(index_name, rejected_under) \
             IN (SELECT value FROM json_each(?1)))"
        }
        RetrySelection::NotAccepted => "accepted IS NULL",
        RetrySelection::All => "TRUE",
    };
    let sql = format!(
        "SELECT rowid, index_name, id, partition_key FROM dead_letters \
         WHERE ?1 IS NOT NULL AND rowid > ?2 AND {which} ORDER BY rowid LIMIT ?3"
    );
    let row = |row: &Row<'_>| {
        let key = DeadLetterKey { index: row.get(1)?, id: row.get(2)? };
        Ok(RetryCandidate { row: row.get(0)?, key, partition: row.get(3)? })
    };
    let unchanged = serde_json::json!(unchanged).to_string();
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(params![unchanged, after, limit], row)?.collect()
}

/// Returns the content of a dead letter, or `None` if it is not usable.
pub(super) fn content(
    connection: &Connection,
    number: i64,
) -> rusqlite::Result<Option<DeadLetterContent>> {
    let sql = "SELECT content_kind, content, position, bytes FROM dead_letters WHERE rowid = ?1";
    connection.prepare_cached(sql)?.query_row([number], |row| {
        let kind: String = row.get(0)?;
        let content = row.get::<_, Option<Vec<u8>>>(1)?.map(CompressedText::from_bytes);
        let number =
            |column| row.get::<_, Option<i64>>(column).map(|it| it.unwrap_or(0).unsigned_abs());
        Ok(match (kind.as_str(), content) {
            ("document", Some(content)) => Some(DeadLetterContent::Document(content)),
            ("record", content) => {
                Some(DeadLetterContent::Record { content, offset: number(2)?, bytes: number(3)? })
            }
            _ => None,
        })
    })
}

/// Accepts all current dead letters, so that they no longer affect the exit code. Returns the number of newly accepted
/// ones.
///
/// # Errors
///
/// Returns [`Error`] if the file does not exist, is in use by a run, or cannot be written.
pub fn accept_dead_letters(path: &Path, now: Timestamp) -> Result<u64, Error> {
    if !path.exists() {
        return Err(Error::NotFound { path: path.to_owned() });
    }
    let path = file::create(path)?;
    let _lock = Lock::acquire(&path, now)?;
    let connection = file::connect(&path)?;
    let sql = "UPDATE dead_letters SET accepted = ?1 WHERE accepted IS NULL";
    let accepted = connection.execute(sql, [now.as_millisecond()]);
    accepted
        .map(|rows| rows as u64)
        .map_err(|source| Error::from_sqlite(&path, "accept the dead letters", source))
}
