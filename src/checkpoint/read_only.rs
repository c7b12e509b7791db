//! Opens a checkpoint file for reading on a read-only file system or in a directory that is not writable.
//!
//! SQLite creates side files next to a database in WAL mode, even for a reader. Where it cannot:
//! - without a `-wal` file, the database is complete and is opened as immutable;
//! - with a `-wal` file, both files are copied to a private temporary directory and opened there.
//!
//! Input: the path. Output: a connection and the temporary copy, which must live as long as the connection.
//! Invariant: nothing is written next to the checkpoint file.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::file::wal;
use super::{Error, file};

/// Number of attempts to create a directory with an unused random name.
const TRIES: u32 = 16;

/// A temporary copy, deleted on drop.
#[derive(Debug)]
pub(super) struct TemporaryCopy {
    folder: PathBuf,
}

impl Drop for TemporaryCopy {
    fn drop(&mut self) {
        // If this fails, the copy remains in the system's temporary directory, readable only by this user.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Opens a checkpoint file without writing to its directory.
pub(super) fn open(path: &Path) -> Result<(Connection, Option<TemporaryCopy>), Error> {
    let failed = |source| Error::from_sqlite(path, "open the database", source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if fs::metadata(wal(path)).is_ok_and(|found| found.len() > 0) {
        let (copy, file) =
            copy(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        let connection = Connection::open_with_flags(file, flags).map_err(failed)?;
        return Ok((connection, Some(copy)));
    }
    let path =
        fs::canonicalize(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    Ok((file::open_immutable(&path).map_err(failed)?, None))
}

fn copy(path: &Path) -> io::Result<(TemporaryCopy, PathBuf)> {
    let copy = TemporaryCopy { folder: private_folder()? };
    let file = copy.folder.join("checkpoint.sqlite");
    // The order matters: SQLite recovers from a WAL that is newer than the database, but not from an older one.
    fs::copy(path, &file)?;
    fs::copy(wal(path), wal(&file))?;
    Ok((copy, file))
}

/// Creates a temporary directory that is accessible only to this user.
fn private_folder() -> io::Result<PathBuf> {
    let mut last = None;
    for _ in 0..TRIES {
        let folder = std::env::temp_dir().join(format!("trailload-{:016x}", fastrand::u64(..)));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a database in WAL mode whose last change is only in the `-wal` file.
    fn unfinished(folder: &Path) -> PathBuf {
        let (live, path) = (folder.join("live.sqlite"), folder.join("what?.sqlite"));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = Connection::open_with_flags(&live, flags).unwrap();
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
        connection.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (7)").unwrap();
        // As `cp` would copy them during a run.
        fs::copy(&live, &path).unwrap();
        fs::copy(wal(&live), wal(&path)).unwrap();
        path
    }

    fn seven(connection: &Connection) -> u32 {
        connection.query_row("SELECT x FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_is_only_in_the_wal_is_read_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = unfinished(folder.path());
        let before = fs::read_dir(folder.path()).unwrap().count();
        let (connection, copy) = open(&path).unwrap();
        assert_eq!(seven(&connection), 7);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
        let copied = copy.as_ref().unwrap().folder.clone();
        assert!(copied.is_dir());
        drop((connection, copy));
        assert!(!copied.exists());
    }

    #[test]
    fn without_a_wal_the_file_itself_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = unfinished(folder.path());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        // PendingFolder it puts everything into the database.
        let whole = Connection::open_with_flags(&path, flags).map(|it| seven(&it));
        assert_eq!(whole.unwrap(), 7);
        let (connection, copy) = open(&path).unwrap();
        assert_eq!((seven(&connection), copy.is_none()), (7, true));
    }
}
