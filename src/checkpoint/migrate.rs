//! Brings a checkpoint file to the schema that this program knows.
//!
//! The steps are the files of `checkpoints/`, in order; `user_version` counts the ones done. All
//! that a file misses is done in one transaction, so there is no half-migrated file. A file is
//! looked at before it is touched: another program's database and a newer file stay as they are.

use std::path::Path;

use rusqlite::Connection;

use super::Error;

/// The schema, step by step. Never edited once released; a change is a new file.
const STEPS: [&str; 10] = [
    include_str!("../../checkpoints/0001_lanes.sql"),
    include_str!("../../checkpoints/0002_set_aside.sql"),
    include_str!("../../checkpoints/0003_runs.sql"),
    include_str!("../../checkpoints/0004_set_aside_content.sql"),
    include_str!("../../checkpoints/0005_coverage.sql"),
    include_str!("../../checkpoints/0006_set_aside_cause.sql"),
    include_str!("../../checkpoints/0007_closed_digest.sql"),
    include_str!("../../checkpoints/0008_indices.sql"),
    include_str!("../../checkpoints/0009_skipped.sql"),
    include_str!("../../checkpoints/0010_set_aside_kept.sql"),
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Every table with its columns: what the code beside counts on.
    const TABLES: &str = "\
closed: prefix, inputs, records, bytes, first_done, last_done, digest, newest, skipped
coverage: series, sure, since, until
decisions: path, kind, why, decided
failures: lane, name, cause, position, records, tries, at
folders: id, path
indices: name, uuid, made, created, already_there, held
lanes: folder, name, fingerprint, records, bytes, done, run, skipped
meta: name, value
missing: name, uuid, made, why, documents, wanted, found, accepted
runs: id, started, ended, exit_code, read, created, already_there, set_aside, lanes_done, lanes_failed, lanes_skipped, retried_created, retried_already_there, retried_set_aside
series: id, name, records
set_aside: index_name, id, lane, fingerprint, run, at, cause, reason, accepted, tried, refused_under, kept, content, position, bytes
";

    fn tables(connection: &Connection) -> String {
        let sql = "SELECT group_concat(line, '') FROM (SELECT s.name || ': ' || \
            (SELECT group_concat(name, ', ') FROM pragma_table_info(s.name)) || char(10) AS line \
            FROM sqlite_schema s WHERE s.type = 'table' ORDER BY s.name)";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn schema(connection: &Connection) -> Vec<(String, Option<String>)> {
        let mut statement =
            connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn fresh() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Path::new("new")).unwrap();
        connection
    }

    #[test]
    fn from_zero_gives_the_expected_schema() {
        let connection = fresh();
        assert_eq!(tables(&connection), TABLES);
        assert_eq!(version(&connection, Path::new("new")).unwrap(), VERSION);
    }

    #[test]
    fn twice_is_once() {
        let mut connection = fresh();
        let once = schema(&connection);
        migrate(&mut connection, Path::new("again")).unwrap();
        assert_eq!(schema(&connection), once);
    }

    #[test]
    fn every_earlier_version_ends_in_the_same_schema() {
        for done in 1..VERSION {
            let mut connection = Connection::open_in_memory().unwrap();
            for step in &STEPS[..done as usize] {
                connection.execute_batch(step).unwrap();
            }
            connection.pragma_update(None, "application_id", APPLICATION).unwrap();
            connection.pragma_update(None, "user_version", done).unwrap();
            migrate(&mut connection, Path::new("old")).unwrap();
            assert_eq!(schema(&connection), schema(&fresh()), "from version {done}");
        }
    }

    #[test]
    fn the_steps_are_all_files_of_the_folder_in_order() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints");
        let mut files: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let texts: Vec<String> =
            files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert_eq!(texts, STEPS);
        for (number, file) in (1..).zip(&files) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            assert!(name.starts_with(&format!("{number:04}_")), "{name}");
        }
    }

    /// Files that released versions have written; the folder fills with the releases.
    #[test]
    fn stored_databases_of_earlier_releases_open() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints");
        let Ok(entries) = fs::read_dir(folder) else { return };
        let scratch = tempfile::tempdir().unwrap();
        for stored in entries.map(|entry| entry.unwrap().path()) {
            if stored.extension().is_none_or(|end| end != "sqlite") {
                continue;
            }
            let copy = scratch.path().join(stored.file_name().unwrap());
            fs::copy(&stored, &copy).unwrap();
            let mut connection =
                Connection::open_with_flags(&copy, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)
                    .unwrap();
            migrate(&mut connection, &copy).unwrap();
            assert_eq!(schema(&connection), schema(&fresh()), "{}", stored.display());
            let known = "SELECT count(*) FROM meta WHERE name = 'target'";
            let targets: u32 = connection.query_row(known, [], |row| row.get(0)).unwrap();
            assert_eq!(targets, 1, "{}", stored.display());
        }
    }
}
