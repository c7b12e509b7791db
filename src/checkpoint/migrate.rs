//! Brings a checkpoint file to the schema that this program knows.
//!
//! The steps are the files of `checkpoints/`, in order; `user_version` counts the ones done. All
//! that a file misses is done in one transaction, so there is no half-migrated file. A file is
//! looked at before it is touched: another program's database and a newer file stay as they are.

use std::path::Path;

use rusqlite::Connection;

use super::Error;

/// The schema, step by step. Never edited once released; a change is a new file.
const STEPS: [&str; 3] = [
    include_str!("../../checkpoints/0001_lanes.sql"),
    include_str!("../../checkpoints/0002_set_aside.sql"),
    include_str!("../../checkpoints/0003_runs.sql"),
];

/// The version of a file after all steps.
#[expect(clippy::cast_possible_truncation, reason = "a handful of steps")]
pub(super) const VERSION: u32 = STEPS.len() as u32;

/// `trld` in ASCII: marks the SQLite files that are ours, so that no other one is ever written to.
const APPLICATION: i32 = 0x7472_6c64;

/// Does the steps that the file misses; none if it is up to date.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let done = version(connection, path)?;
    if done == VERSION {
        return Ok(());
    }
    apply(connection, done).map_err(|source| Error::sql(path, "update the schema", source))
}

/// Returns the version of a file that is ours; 0 for an empty one.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<u32, Error> {
    let (application, version, tables) =
        identity(connection).map_err(|source| Error::sql(path, "look at the version", source))?;
    let is_new = application == 0 && version == 0 && tables == 0;
    if application != APPLICATION && !is_new {
        return Err(Error::NotOurs { path: path.to_owned() });
    }
    if version > VERSION {
        return Err(Error::Newer { path: path.to_owned(), version, known: VERSION });
    }
    Ok(version)
}

fn identity(connection: &Connection) -> rusqlite::Result<(i32, u32, u32)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let count = "SELECT count(*) FROM sqlite_schema";
    let tables = connection.query_row(count, [], |row| row.get(0))?;
    Ok((application, version, tables))
}

fn apply(connection: &mut Connection, done: u32) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for step in STEPS.iter().skip(done as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
