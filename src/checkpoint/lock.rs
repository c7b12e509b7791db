//! Ensures that only one run at a time uses a checkpoint file.
//!
//! Input: the path of the checkpoint file. Output: a lock on `FILE.lock` next to it, held until the run ends.
//! Invariant: the operating system releases the lock when the process ends, so a killed run does not block the next one.
//! The lock file itself is never removed: otherwise two runs could hold locks on two different files of that name.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::Error;

/// Attempts to lock a file, and the time between two: a check holds the lock for less than a millisecond.
const LOCK_ATTEMPTS: u32 = 3;
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// The lock on a checkpoint file, released on drop.
#[derive(Debug)]
pub(super) struct Lock {
    /// Never read: closing the file releases the lock.
    _file: File,
}

impl Lock {
    /// Locks a checkpoint file and writes the process id into the lock file.
    pub(super) fn acquire(checkpoint: &Path, now: Timestamp) -> Result<Self, Error> {
        let path = lock_path(checkpoint);
        let failed = |source| Error::Lock { path: path.clone(), source };
        let mut file = open(&path).map_err(failed)?;
        for attempts_left in (0..LOCK_ATTEMPTS).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempts_left > 0 => thread::sleep(LOCK_INTERVAL),
                Err(TryLockError::WouldBlock) => return Err(in_use(checkpoint, &mut file)),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{} trailload {now:.0}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Checks that no run holds a checkpoint file. Writes nothing and creates no lock file.
pub(super) fn check_free(checkpoint: &Path) -> Result<(), Error> {
    let path = lock_path(checkpoint);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Lock { path, source }),
    };
    // A shared lock, so that two concurrent checks do not mistake each other for a run.
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

/// Returns the error that names the process holding the lock, as far as the lock file names it.
fn in_use(checkpoint: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    // Even if the lock file is unreadable, a process holds the lock.
    let _ = file.read_to_string(&mut text);
    let mut words = text.split_whitespace();
    let pid = words.next().and_then(|word| word.parse().ok());
    let holder = match (pid, words.nth(1)) {
        (Some(pid), Some(since)) => format!("pid {pid}, since {since}"),
        (Some(pid), None) => format!("pid {pid}"),
        (None, _) => "which is just starting".to_owned(),
    };
    Error::InUse { path: checkpoint.to_owned(), pid, holder }
}
