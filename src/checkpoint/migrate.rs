//! Updates a checkpoint file to the schema of this program.
//!
//! Input: an open database. Output: the same with the current schema, or an error.
//! Invariant: the migrations are the files of `checkpoints/` in order, and `user_version` is the number of applied ones.
//! All missing migrations are applied in one transaction. The file is checked before it is changed: databases of other
//! programs, files of newer versions and files with an unreleased schema are left unchanged.

use std::path::Path;

use rusqlite::Connection;

use super::Error;

/// The migrations. A released one is never edited; a change of the schema is a new file.
const MIGRATIONS: [&str; 4] = [
    include_str!("../../checkpoints/0001_schema.sql"),
    include_str!("../../checkpoints/0002_alerts.sql"),
    include_str!("../../checkpoints/0003_source_states.sql"),
    include_str!("../../checkpoints/0004_shared_alerts.sql"),
];

/// The schema version after all migrations.
#[expect(clippy::cast_possible_truncation, reason = "there are only a few migrations")]
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// Identifies checkpoint files among SQLite databases: `trlc` in ASCII.
const APPLICATION_ID: i32 = 0x7472_6c63;

/// The application id of checkpoint files written before the first release (`trld`), whose schema is not supported.
const UNRELEASED_APPLICATION_ID: i32 = 0x7472_6c64;

/// Applies the migrations that the file lacks.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let current = version(connection, path)?;
    if current == VERSION {
        return Ok(());
    }
    apply(connection, current)
        .map_err(|source| Error::from_sqlite(path, "update the schema", source))
}

/// Returns the schema version of a checkpoint file, or 0 for an empty database.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<u32, Error> {
    let (application, version, tables) = identity(connection)
        .map_err(|source| Error::from_sqlite(path, "read the version", source))?;
    let is_empty = application == 0 && version == 0 && tables == 0;
    match application {
        APPLICATION_ID if version > VERSION => {
            Err(Error::Newer { path: path.to_owned(), version, known: VERSION })
        }
        APPLICATION_ID => Ok(version),
        UNRELEASED_APPLICATION_ID => Err(Error::Unreleased { path: path.to_owned() }),
        _ if is_empty => Ok(0),
        _ => Err(Error::NotOurs { path: path.to_owned() }),
    }
}

fn identity(connection: &Connection) -> rusqlite::Result<(i32, u32, u32)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let count = "SELECT count(*) FROM sqlite_schema";
    let tables = connection.query_row(count, [], |row| row.get(0))?;
    Ok((application, version, tables))
}

fn apply(connection: &mut Connection, current: u32) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for migration in MIGRATIONS.iter().skip(current as usize) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Every table with its columns, which the SQL of the other modules relies on.
    const TABLES: &str = "\
alert_actions: name, delivered, last_delivered
alert_combinations: combination_key, since, until
alert_counts: count_key, bucket, newest, events
alert_deliveries: number, alert, action, state, attempts, first_attempt, last_attempt, cause, accepted, acknowledged
alert_rules: name, first_seen_by, learning_from, alerts, recorded, last_alert
alert_sizes: name, size
alert_windows: group_key, time, delivered
alerted_events: time, event_key, delivered
alerts: number, id, rule, raised, content
complete_folders: prefix, inputs, skipped, records, bytes, first_loaded, last_loaded, digest, newest
coverage: series, final, since, until
dead_letters: index_name, id, partition_key, fingerprint, run, rejected, cause, reason, accepted, last_attempt, rejected_under, content_kind, content, position, bytes
discovered_fields: path, kind, origin, discovered
failed_partitions: partition_key, name, cause, position, records, attempts, failed
folders: id, path
indices: name, uuid, created_at, created, duplicates, documents
meta: name, value
missing_documents: index_name, uuid, created_at, reason, documents, expected, detected, accepted
partitions: folder, name, fingerprint, records, bytes, loaded, run, skipped
runs: id, started, ended, exit_code, read, created, duplicates, dead_letters, partitions_loaded, partitions_skipped, partitions_failed, retried_created, retried_duplicates, retried_dead_letters
series: id, name, records
skipped_inputs: prefix, cause, inputs, example
source_states: name, observed, oldest_waiting, waiting, in_flight, newest_event, covered_until
sqlite_sequence: name, seq
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
    fn an_empty_database_gets_the_expected_schema() {
        let connection = fresh();
        assert_eq!(tables(&connection), TABLES);
        assert_eq!(version(&connection, Path::new("new")).unwrap(), VERSION);
    }

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = fresh();
        let once = schema(&connection);
        migrate(&mut connection, Path::new("again")).unwrap();
        assert_eq!(schema(&connection), once);
    }

    #[test]
    fn every_earlier_version_ends_in_the_same_schema() {
        for current in 0..VERSION {
            let mut connection = Connection::open_in_memory().unwrap();
            for migration in &MIGRATIONS[..current as usize] {
                connection.execute_batch(migration).unwrap();
            }
            connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
            connection.pragma_update(None, "user_version", current).unwrap();
            migrate(&mut connection, Path::new("old")).unwrap();
            assert_eq!(schema(&connection), schema(&fresh()), "from version {current}");
        }
    }

    #[test]
    fn an_unreleased_schema_is_refused_with_a_hint_and_left_unchanged() {
        for version in [1, 10] {
            let mut connection = Connection::open_in_memory().unwrap();
            connection.execute_batch("CREATE TABLE lanes (folder INTEGER, name TEXT)").unwrap();
            connection.pragma_update(None, "application_id", UNRELEASED_APPLICATION_ID).unwrap();
            connection.pragma_update(None, "user_version", version).unwrap();
            let before = schema(&connection);
            let error = migrate(&mut connection, Path::new("old.sqlite")).unwrap_err();
            assert!(matches!(error, Error::Unreleased { .. }), "{error:?}");
            assert!(error.to_string().contains("old.sqlite"), "{error}");
            assert!(error.hint().unwrap().contains("move the file away"));
            assert_eq!(schema(&connection), before);
        }
    }

    #[test]
    fn the_migrations_are_all_files_of_the_folder_in_order() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints");
        let mut files: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let texts: Vec<String> =
            files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert_eq!(texts, MIGRATIONS);
        for (number, file) in (1..).zip(&files) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            assert!(name.starts_with(&format!("{number:04}_")), "{name}");
        }
    }

    /// Files written by released versions; one is added with each release that changes the schema.
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
