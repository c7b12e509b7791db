//! Makes, opens and checks the checkpoint file, before anything is written to it.
//!
//! Holds: the file is 0600, missing folders are made 0700, and a file that is not ours, newer than
//! this program, or damaged is an error that leaves it as it is.
//!
//! # Durability
//!
//! `synchronous=FULL`: a commit is on the disk when it returns, so also a power failure takes back
//! nothing that was told to be done. NORMAL would be safe as well (it would take back whole commits,
//! which costs repeated work), but one fsync per group of notes is not worth that doubt: writing
//! down 100,000 lanes takes the same time either way, within what two runs of it differ.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Error, migrate};

/// How long to wait while a reader recovers the file after a crash.
const PATIENCE: Duration = Duration::from_secs(5);

/// Page cache in KiB (negative, as SQLite wants it): the upper levels of a tree of ten million lanes.
const CACHE_KIB: i64 = -8192;

/// Files up to this size are checked whole when opened: 10 ms. Larger ones show damage when it is met.
const CHECKED_BYTES: u64 = 8 << 20;

/// Statements kept prepared: more than there are below.
const STATEMENTS_KEPT: usize = 32;

/// Makes the file and its folders, if they are missing, and returns its real path.
///
/// A link and its file have to meet at the same lock, so the path is the one behind all links.
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
    // An existing file is never opened but by SQLite: closing it here would free the locks that
    // SQLite holds on it anywhere in this process.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(source) => return Err(failed(source)),
    }
    fs::canonicalize(path).map_err(failed)
}

/// Takes away what others may do with the file; SQLite gives its side files the same mode.
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

/// Opens the tables of a locked file for writing, brought to the schema of this program.
pub(super) fn connect(path: &Path) -> Result<Connection, Error> {
    let mut connection = open(path)?;
    migrate::version(&connection, path)?;
    make_private(path)?;
    check(&connection, path)?;
    configure(&connection).map_err(|source| Error::sql(path, "set up writing", source))?;
    migrate::migrate(&mut connection, path)?;
    Ok(connection)
}

fn open(path: &Path) -> Result<Connection, Error> {
    // Without URI: a file name is a file name, whatever it looks like.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|connection| connection.busy_timeout(PATIENCE).map(|()| connection))
        .map_err(|source| Error::sql(path, "open the tables", source))
}

/// Looks for damage while it is cheap, before anything is written.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    let bytes = fs::metadata(path).map_or(0, |found| found.len());
    if bytes > CHECKED_BYTES {
        return Ok(());
    }
    let what: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| Error::sql(path, "check the tables", source))?;
    if what == "ok" { Ok(()) } else { Err(Error::Damaged { path: path.to_owned(), what }) }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // Where the file system cannot do WAL, SQLite stays with its rollback journal: as safe, and
    // `status` may then have to wait for a commit.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)
}
