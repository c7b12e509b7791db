//! Groups dead letters by reason, so that one problem is one line.
//!
//! Input: reasons as returned by the engine, which contain ids and values of individual documents. Output:
//! [`DeadLetters`].
//! Invariant: every dead letter is counted in exactly one group.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::dead_letters::outstanding;
use super::reason_pattern::ReasonPattern;
use super::status::{DeadLetterExample, DeadLetterGroup, DeadLetters};
use super::values::{number, time};

/// Maximum number of examples in a group.
const MAX_EXAMPLES: usize = 3;

/// Returns the dead letters by cause and reason, most frequent first, at most `limit` groups.
pub(super) fn read(connection: &Connection, limit: usize) -> rusqlite::Result<DeadLetters> {
    let counted = outstanding(connection)?;
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    let mut statement = connection.prepare(
        // With `min(rowid)`, SQLite takes the bare column `id` from the row with the minimum.
        "SELECT cause, reason, count(*), count(accepted), id, min(rowid) FROM dead_letters \
         GROUP BY cause, reason ORDER BY 6",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (cause, reason, id): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(4)?);
        let pattern = ReasonPattern::new(&reason, &id);
        let key = (cause, pattern.key());
        let group = groups.entry(key).or_insert_with(|| Group::new(pattern.clone()));
        group.pattern.merge(&pattern);
        group.documents += number(row, 2)?;
        group.accepted += number(row, 3)?;
        if group.reasons.len() < MAX_EXAMPLES {
            group.reasons.push(reason);
        }
    }
    let mut groups: Vec<((String, String), Group)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.documents));
    groups.truncate(limit);
    let reasons = groups.into_iter().map(|((cause, _), group)| group.into_group(connection, cause));
    Ok(DeadLetters {
        documents: counted.dead_letters + counted.accepted,
        accepted: counted.accepted,
        reasons: reasons.collect::<Result<_, _>>()?,
    })
}

/// The dead letters with one cause and reason.
struct Group {
    pattern: ReasonPattern,
    documents: u64,
    accepted: u64,
    /// The first original reasons.
    reasons: Vec<String>,
}

impl Group {
    fn new(pattern: ReasonPattern) -> Self {
        Self { pattern, documents: 0, accepted: 0, reasons: Vec::new() }
    }

    fn into_group(
        self,
        connection: &Connection,
        cause: String,
    ) -> rusqlite::Result<DeadLetterGroup> {
        let mut examples = Vec::new();
        for reason in &self.reasons {
            let limit = MAX_EXAMPLES - examples.len();
            examples.extend(self::examples(connection, &cause, reason, limit)?);
        }
        let reason = self.pattern.text();
        let Self { documents, accepted, .. } = self;
        Ok(DeadLetterGroup { cause, reason, documents, accepted, examples })
    }
}

fn examples(
    connection: &Connection,
    cause: &str,
    reason: &str,
    limit: usize,
) -> rusqlite::Result<Vec<DeadLetterExample>> {
    let mut statement = connection.prepare_cached(
        "SELECT index_name, id, partition_key, rejected FROM dead_letters WHERE cause = ?1 AND reason = ?2 \
         ORDER BY rowid LIMIT ?3",
    )?;
    let row = |row: &Row<'_>| {
        Ok(DeadLetterExample {
            index: row.get(0)?,
            id: row.get(1)?,
            partition: row.get(2)?,
            rejected: time(row, 3)?,
            reason: reason.to_owned(),
        })
    };
    let limit = i64::try_from(limit).unwrap_or(0);
    statement.query_map(params![cause, reason, limit], row)?.collect()
}
