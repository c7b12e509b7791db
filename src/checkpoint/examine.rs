//! Checks whether a load can use a checkpoint file, without changing anything.
//!
//! Input: a path and a target. Output: the state of the file, or the error that a load would return.
//! Invariant: nothing is created, locked or written, including SQLite's side files.

use std::{fs, io, path::Path};

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rustix::fs::{Access, access};

use super::{Error, file, lock, migrate, target::is_same_target};

/// The state of a usable checkpoint file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointState {
    /// The file does not exist; the load creates it.
    New,
    /// The file belongs to this target and is up to date.
    Ours,
    /// The file belongs to this target; the load updates its schema.
    Older,
}

/// Returns whether a run uses a checkpoint file; `None` if that cannot be known.
pub fn is_in_use(path: &Path) -> Option<bool> {
    let path = fs::canonicalize(path).ok()?;
    match lock::check_free(&path) {
        Ok(()) => Some(false),
        Err(Error::InUse { .. }) => Some(true),
        Err(_) => None,
    }
}

/// Checks the checkpoint file that a load into `target` would use.
///
/// # Errors
///
/// Returns the [`Error`] that the load would return, as far as it can be determined without writing.
pub fn examine(path: &Path, target: &str) -> Result<CheckpointState, Error> {
    let owned = || path.to_owned();
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(Error::IsFolder { path: owned() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return check_creatable(path),
        Err(source) => return Err(Error::Open { path: owned(), source }),
    }
    let path = fs::canonicalize(path).map_err(|source| Error::Open { path: owned(), source })?;
    lock::check_free(&path)?;
    check_writable(&path, &path)?;
    if let Some(folder) = path.parent() {
        check_writable(folder, &path)?;
    }
    check_contents(&path, target)
}

/// Checks the closest existing directory above the path. A load creates the ones below it.
fn check_creatable(path: &Path) -> Result<CheckpointState, Error> {
    let here = Path::new(".");
    let above =
        path.ancestors().skip(1).map(|above| if above == Path::new("") { here } else { above });
    for folder in above {
        match fs::metadata(folder) {
            Ok(found) if found.is_dir() => {
                return check_writable(folder, path).map(|()| CheckpointState::New);
            }
            Ok(_) => {
                let source = io::Error::from(io::ErrorKind::NotADirectory);
                return Err(Error::Folder { path: folder.to_owned(), source });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Folder { path: folder.to_owned(), source }),
        }
    }
    Ok(CheckpointState::New)
}

fn check_writable(what: &Path, checkpoint: &Path) -> Result<(), Error> {
    let wanted = if what.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
    access(what, wanted)
        .map_err(|errno| Error::Open { path: checkpoint.to_owned(), source: errno.into() })
}

fn check_contents(path: &Path, target: &str) -> Result<CheckpointState, Error> {
    let connection =
        open(path).map_err(|source| Error::from_sqlite(path, "open the database", source))?;
    let version = migrate::version(&connection, path)?;
    if version == 0 {
        return Ok(CheckpointState::New);
    }
    file::check(&connection, path)?;
    let theirs: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE name = 'target'", [], |row| row.get(0))
        .optional()
        .map_err(|source| Error::from_sqlite(path, "read the target", source))?;
    match theirs {
        Some(theirs) if !is_same_target(&theirs, target) => {
            Err(Error::TargetMismatch { path: path.to_owned(), theirs, ours: target.to_owned() })
        }
        _ if version < migrate::VERSION => Ok(CheckpointState::Older),
        _ => Ok(CheckpointState::Ours),
    }
}

/// Opens the database without creating side files. The lock is free, so no process writes the file and it can be opened
/// as immutable. A `-wal` file left by a killed run is part of the database, so then it is opened normally.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let log = fs::metadata(file::wal(path)).map_or(0, |found| found.len());
    if log > 0 {
        return Connection::open_with_flags(path, flags);
    }
    file::open_immutable(path)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::checkpoint::CheckpointStore;

    const TARGET: &str = "h:9200 cloudtrail";

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_there_is_told_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("an odd?name%.sqlite");
        assert_eq!(examine(&path, TARGET).unwrap(), CheckpointState::New);
        let deep = folder.path().join("not/there/yet.sqlite");
        assert_eq!(examine(&deep, TARGET).unwrap(), CheckpointState::New);
        assert_eq!(names(folder.path()), [""; 0]);

        let store = CheckpointStore::open(&path, TARGET, Timestamp::UNIX_EPOCH).unwrap();
        assert!(matches!(examine(&path, TARGET), Err(Error::InUse { .. })));
        drop(store);
        let (before, bytes) = (names(folder.path()), fs::read(&path).unwrap());
        assert_eq!(examine(&path, TARGET).unwrap(), CheckpointState::Ours);
        assert!(matches!(examine(&path, "elsewhere"), Err(Error::TargetMismatch { .. })));
        assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (before, bytes));
    }

    #[test]
    fn what_a_load_could_not_use_is_the_error_of_the_load() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        assert!(matches!(examine(folder.path(), TARGET), Err(Error::IsFolder { .. })));
        fs::write(&path, "no database at all".repeat(100)).unwrap();
        assert!(matches!(examine(&path, TARGET), Err(Error::Damaged { .. })));
        let below = path.join("below/b.sqlite");
        assert!(examine(&below, TARGET).is_err(), "a file is no folder");
        drop(
            CheckpointStore::open(&folder.path().join("b.sqlite"), TARGET, Timestamp::UNIX_EPOCH)
                .unwrap(),
        );
        let path = folder.path().join("b.sqlite");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let database = Connection::open_with_flags(&path, flags).unwrap();
        database.pragma_update(None, "user_version", 9_999).unwrap();
        drop(database);
        assert!(matches!(examine(&path, TARGET), Err(Error::Newer { .. })));
    }
}
