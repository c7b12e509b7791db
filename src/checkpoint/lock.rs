//! One run a checkpoint file.
//!
//! A file `FILE.lock` beside the checkpoint is locked for as long as the run lives. The system
//! frees the lock with the process, so a killed run blocks nobody. The lock file itself stays:
//! removing it would let two runs hold locks on two files of the same name.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Error;

/// Holds the checkpoint file for this run until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// Only held: closing it frees the lock.
    _file: File,
}

impl Lock {
    /// Locks a checkpoint file and writes down who holds it.
    pub(super) fn take(checkpoint: &Path, now: Timestamp) -> Result<Self, Error> {
        let path = lock_path(checkpoint);
        let failed = |source| Error::Lock { path: path.clone(), source };
        let mut file = open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(checkpoint, &mut file)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{} trailload {now:.0}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Looks whether a run holds a checkpoint file; writes nothing, and makes no lock file.
pub(super) fn look(checkpoint: &Path) -> Result<(), Error> {
    let path = lock_path(checkpoint);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Lock { path, source }),
    };
    // Shared, so that two that look do not take each other for a run.
    match file.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(in_use(checkpoint, &mut file)),
        Err(TryLockError::Error(source)) => Err(Error::Lock { path, source }),
    }
}

fn lock_path(checkpoint: &Path) -> PathBuf {
    let mut name = OsString::from(checkpoint);
    name.push(".lock");
    name.into()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Returns the error that names the holder, as far as it wrote itself down.
fn in_use(checkpoint: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    // An unreadable lock file still means that somebody holds it.
    let _ = file.read_to_string(&mut text);
    let mut words = text.split_whitespace();
    let pid = words.next().and_then(|word| word.parse().ok());
    let holder = match (pid, words.nth(1)) {
        (Some(pid), Some(since)) => format!("pid {pid}, since {since}"),
        (Some(pid), None) => format!("pid {pid}"),
        (None, _) => "it is just starting".to_owned(),
    };
    Error::InUse { path: checkpoint.to_owned(), pid, holder }
}
