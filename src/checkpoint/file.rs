//! Creates, opens and checks the checkpoint file before it is written.
//!
//! Input: a path. Output: a connection whose schema is current.
//! Invariant: the file has mode 0600 and created directories 0700. A file of another program, of a newer version, or with
//! damage is an error and is left unchanged.
//!
//! # Durability
//!
//! `synchronous=FULL`: a commit is on disk when it returns, so even a power failure does not revert progress that was
//! reported. `NORMAL` would be safe too (it can lose whole commits, which repeats work), but saves nothing measurable at
//! one fsync per transaction: recording 100,000 partitions takes the same time either way, within the variance of two
//! runs.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::{Error, migrate};

/// Maximum time to wait while a reader recovers the file after a crash.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Page cache in KiB (negative, which is SQLite's notation for KiB): the upper levels of a tree of ten million partitions.
const CACHE_KIB: i64 = -8192;

/// Page cache in KiB (negative) of a run that evaluates rules: a transaction of the memory of alerts changes pages all over its tables,
/// some thousand in 200 ms. The cache fills up with the number of groups, so most of the growth of a run's memory is this.
const ALERT_CACHE_KIB: i64 = -16_384;

/// Pages in the write-ahead log before they are copied to the database: 32 MiB. A page that many groups share is copied less often.
const ALERT_WAL_PAGES: i64 = 8_192;

/// Maximum size of a file that is checked completely when it is opened, which takes 10 ms. In larger files, damage is
/// detected when the damaged page is read.
const MAX_CHECKED_BYTES: u64 = 8 << 20;

/// Capacity of the statement cache: more than the number of statements in this module.
const PREPARED_STATEMENTS: usize = 64;

/// Bytes that are percent-encoded in the path of a URI.
const URI_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'_').remove(b'-');

/// Creates the file and its directories if they are missing, and returns the canonical path.
///
/// Symbolic links are resolved, so that a link and its file share the same lock.
pub(super) fn create(path: &Path) -> Result<PathBuf, Error> {
    if path.is_dir() {
        return Err(Error::IsFolder { path: path.to_owned() });
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
    }
    let failed = |source| Error::Open { path: path.to_owned(), source };
    // An existing file is opened only by SQLite: closing a file descriptor here would release the POSIX locks that
    // SQLite holds on the file in this process.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(source) => return Err(failed(source)),
    }
    fs::canonicalize(path).map_err(failed)
}

/// Restricts the file's mode to the owner. SQLite creates its side files with the same mode.
fn make_private(path: &Path) -> Result<(), Error> {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match fs::set_permissions(&name, Permissions::from_mode(0o600)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Open { path: path.to_owned(), source }),
        }
    }
    Ok(())
}

/// Opens a locked file for writing and updates its schema.
pub(super) fn connect(path: &Path) -> Result<Connection, Error> {
    let mut connection = open(path)?;
    migrate::version(&connection, path)?;
    make_private(path)?;
    check(&connection, path)?;
    configure(&connection)
        .map_err(|source| Error::from_sqlite(path, "configure the connection", source))?;
    migrate::migrate(&mut connection, path)?;
    Ok(connection)
}

fn open(path: &Path) -> Result<Connection, Error> {
    // Without `SQLITE_OPEN_URI`, so that a path that begins with `file:` is not parsed as a URI.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|connection| connection.busy_timeout(BUSY_TIMEOUT).map(|()| connection))
        .map_err(|source| Error::from_sqlite(path, "open the database", source))
}

/// Opens a database read-only as immutable: SQLite neither locks it nor creates side files next to it.
///
/// The file must not change while it is open, and must not have a `-wal` file with content, which would be ignored.
pub(super) fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(immutable_uri(path), flags | OpenFlags::SQLITE_OPEN_URI)
}

fn immutable_uri(path: &Path) -> String {
    format!("file:{}?immutable=1", percent_encode(path.as_os_str().as_bytes(), URI_PATH))
}

/// Returns the path of the write-ahead log of a database.
pub(super) fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Checks a small file for damage before it is written.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    let bytes = fs::metadata(path).map_or(0, |found| found.len());
    if bytes > MAX_CHECKED_BYTES {
        return Ok(());
    }
    let what: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| Error::from_sqlite(path, "check the database", source))?;
    if what == "ok" { Ok(()) } else { Err(Error::Damaged { path: path.to_owned(), what }) }
}

/// Configures a connection for a run that evaluates rules.
pub(super) fn configure_for_alerts(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "wal_autocheckpoint", ALERT_WAL_PAGES, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", ALERT_CACHE_KIB)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    // On file systems without WAL support SQLite keeps its rollback journal, which is as safe; `status` may then have to
    // wait for a commit.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_of_a_path_are_encoded_in_a_uri() {
        let uri = immutable_uri(Path::new("/a b/c?d#e%f-ü.sqlite"));
        assert_eq!(uri, "file:/a%20b/c%3Fd%23e%25f-%C3%BC.sqlite?immutable=1");
    }
}
