//! What can go wrong with a checkpoint file, each with its way out.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::event::LaneNumber;
use crate::normalize::IndexBy;

/// Why the checkpoint file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of the file is missing and cannot be made.
    #[error("could not create the folder {} for the checkpoint file", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path names a folder.
    #[error("the checkpoint file {} is a folder", path.display())]
    IsFolder {
        /// The path.
        path: PathBuf,
    },
    /// There is no such file (only when reading).
    #[error("there is no checkpoint file {}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The file has no tables (only when reading).
    #[error("the checkpoint file {} is empty", path.display())]
    Empty {
        /// The path.
        path: PathBuf,
    },
    /// The file cannot be created or opened.
    #[error("could not open the checkpoint file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lock file cannot be written or locked.
    #[error("could not lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another run holds the file.
    #[error("the checkpoint file {} is in use by another run ({holder})", path.display())]
    InUse {
        /// The checkpoint file.
        path: PathBuf,
        /// The other process, if it had the time to write it down.
        pid: Option<u32>,
        /// The other process in words: `pid 4711, since 2024-06-01T02:00:00Z`.
        holder: String,
    },
    /// The file was made for another engine or index prefix.
    #[error("the checkpoint file {} belongs to {theirs}, not to {ours}", path.display())]
    OtherTarget {
        /// The file.
        path: PathBuf,
        /// The target it was made for.
        theirs: String,
        /// The target of this run.
        ours: String,
    },
    /// The engine at the address is another one than the documents went to.
    #[error("{target} is another cluster ({ours}) than the one that {} is about ({theirs})", path.display())]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// The target of this run.
        target: String,
        /// The UUID of the cluster that the documents went to.
        theirs: String,
        /// The UUID of the cluster that answers.
        ours: String,
    },
    /// Documents went to indices that are made in another way.
    #[error("{} is about indices by {theirs}, not by {ours}: events would be there twice", path.display())]
    OtherSpan {
        /// The file.
        path: PathBuf,
        /// How indices were made.
        theirs: IndexBy,
        /// How this run would make them.
        ours: IndexBy,
    },
    /// A name stands for another index than the one that the documents went to, and that one is still there.
    #[error(
        "'{name}' stands for another index than before, which is still there: events would be there twice"
    )]
    Moved {
        /// The name that documents are sent under.
        name: String,
    },
    /// The file is of a later version of this program.
    #[error("the checkpoint file {} has version {version}; this program knows {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's version.
        version: u32,
        /// The latest version that this program knows.
        known: u32,
    },
    /// The file is of an earlier version and was opened to read only.
    #[error("the checkpoint file {} has the old version {version}", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// The file's version.
        version: u32,
    },
    /// The file is a database, but not one of ours.
    #[error("{} is a database of another program, not a checkpoint file", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The file is no database, or a broken one.
    #[error("the checkpoint file {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        what: String,
    },
    /// The file cannot be opened by SQLite: mostly for want of permission.
    #[error("could not open the checkpoint file {}", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file, or the folder it lies in, cannot be written.
    #[error("the checkpoint file {} cannot be written", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The disk is full. What was committed before stays safe.
    #[error("no space left for the checkpoint file {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The system did not carry out a read or a write: a disk that fails, a quota, a limit on file sizes.
    #[error("could not {doing} in the checkpoint file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What we were doing, as a verb.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Anything else that SQLite said.
    #[error("could not {doing} in the checkpoint file {}", path.display())]
    Sql {
        /// The file.
        path: PathBuf,
        /// What we were doing, as a verb.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A page was settled more often than it has documents: the counts cannot be trusted.
    #[error("lane {lane}: {settled} documents of page {page} are settled, but it has {documents}")]
    Miscounted {
        /// The lane.
        lane: LaneNumber,
        /// The page.
        page: u32,
        /// Documents that the page has.
        documents: u64,
        /// Documents that were reported as settled.
        settled: u64,
    },
    /// A note is about a lane that is not being read.
    #[error("lane {lane} is not being read")]
    Unopened {
        /// The lane.
        lane: LaneNumber,
    },
}

impl Error {
    /// Returns the error for what SQLite said while we were `doing` something to `path`.
    pub(super) fn sql(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path, what: source.to_string() }
            }
            Some(ErrorCode::DiskFull) => Self::Full { path, source },
            Some(ErrorCode::SystemIoFailure) => Self::Io { path, doing, source },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path, source },
            Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::Denied { path, source }
            }
            _ => Self::Sql { path, doing, source },
        }
    }

    /// Returns what a person can do about it, where that is not obvious.
    pub fn way_out(&self) -> Option<&'static str> {
        Some(match self {
            Self::Folder { .. }
            | Self::Open { .. }
            | Self::Denied { .. }
            | Self::ReadOnly { .. } => {
                "check the permissions, or name another file with --checkpoint"
            }
            Self::IsFolder { .. } | Self::NotOurs { .. } => "name another file with --checkpoint",
            Self::Missing { .. } => {
                "nothing was loaded to this target yet, or --checkpoint differs"
            }
            Self::Empty { .. } => {
                "no run has written to it yet; if it is a copy, copy the file beside it that ends with -wal too"
            }
            Self::Lock { .. } => "put the file on a local disk with --checkpoint",
            Self::InUse { .. } => "wait for the other run to end, or stop it",
            Self::OtherTarget { .. } => {
                "leave --checkpoint out (each target has its own file), or name another file"
            }
            Self::OtherCluster { .. } => {
                "load everything into it: the same command with --again; or, if its indices were restored from a \
                 snapshot, --accept-cluster once; or name the engine that it was with --into"
            }
            Self::OtherSpan { .. } => {
                "give --index-by as before, or another prefix with --index; to change it, delete the indices of this \
                 prefix, then load with --again"
            }
            Self::Moved { .. } => {
                "let the alias stand for the index that it was, or load under another prefix with --index"
            }
            Self::Newer { .. } => "update trailload, or name another file with --checkpoint",
            Self::Older { .. } => "run 'trailload load' once: it brings the file up to date",
            Self::Damaged { .. } => {
                "move the file away and run again: everything is read again, and nothing is \
                 written twice because the engine knows the ids"
            }
            Self::Full { .. } => "make room and run the same command again: nothing is lost",
            Self::Io { .. } => {
                "check the disk, quotas and the limit on file sizes (ulimit -f), then run the same \
                 command again: nothing is lost"
            }
            Self::Sql { .. } | Self::Miscounted { .. } | Self::Unopened { .. } => return None,
        })
    }
}
