//! Groups failed and skipped inputs by cause, so that a thousand damaged files are one line.
//!
//! Input: rows of `failed_partitions`, `partitions` and `skipped_inputs`. Output: [`InputGroup`]s.
//! Invariant: every failed and every skipped input is counted in exactly one group.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};

use super::reason_pattern::ReasonPattern;
use super::status::InputGroup;
use super::values::number;

/// Returns the failed inputs by cause, most frequent first.
pub(super) fn failed(connection: &Connection) -> rusqlite::Result<Vec<InputGroup>> {
    let sql = "SELECT cause, count(*), min(name) FROM failed_partitions GROUP BY cause";
    groups(connection, sql)
}

/// Returns the inputs without CloudTrail events by what they contain, most frequent first.
pub(super) fn skipped(connection: &Connection) -> rusqlite::Result<Vec<InputGroup>> {
    // Partitions of a complete folder that were read again are already counted in its rows.
    let sql = "SELECT skipped, count(*), min(folders.path || '/' || partitions.name) \
         FROM partitions JOIN folders ON folders.id = partitions.folder \
         WHERE skipped IS NOT NULL \
         AND folders.path || '/' NOT IN (SELECT prefix FROM complete_folders) GROUP BY skipped \
         UNION ALL SELECT cause, sum(inputs), min(example) FROM skipped_inputs GROUP BY cause";
    groups(connection, sql)
}

/// Groups rows of cause, number of inputs, and an example.
fn groups(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<InputGroup>> {
    let mut groups: BTreeMap<String, (ReasonPattern, InputGroup)> = BTreeMap::new();
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let cause: String = row.get(0)?;
        let pattern = ReasonPattern::new(&cause, "");
        let example = example(row)?;
        let (common, group) = groups.entry(pattern.key()).or_insert_with(|| {
            let group = InputGroup { cause, partitions: 0, example: example.clone() };
            (pattern.clone(), group)
        });
        common.merge(&pattern);
        group.partitions += number(row, 1)?;
        if example < group.example {
            group.example = example;
        }
    }
    let groups =
        groups.into_values().map(|(pattern, group)| InputGroup { cause: pattern.text(), ..group });
    let mut groups: Vec<InputGroup> = groups.collect();
    groups.sort_by(|one, other| {
        other.partitions.cmp(&one.partitions).then_with(|| one.cause.cmp(&other.cause))
    });
    Ok(groups)
}

/// Returns the name of an example, as shown to the user: the path of a file without the prefix of its key.
fn example(row: &Row<'_>) -> rusqlite::Result<String> {
    let name: String = row.get(2)?;
    Ok(name.strip_prefix("file:").map_or(name.clone(), str::to_owned))
}
