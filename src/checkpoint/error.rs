//! Errors of the checkpoint, each with a hint where the solution is not obvious.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::event::PartitionNumber;
use crate::normalize::IndexBy;

/// An error while using a checkpoint file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory of the file does not exist and cannot be created.
    #[error("could not create the directory {} for the checkpoint file", path.display())]
    Folder {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The path is a directory.
    #[error("the checkpoint file {} is a directory", path.display())]
    IsFolder {
        /// The path.
        path: PathBuf,
    },
    /// The file does not exist (only when reading).
    #[error("the checkpoint file {} does not exist", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The file contains no tables (only when reading).
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
        /// The cause.
        source: io::Error,
    },
    /// The lock file cannot be written or locked.
    #[error("could not lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another run is using the file.
    #[error("the checkpoint file {} is in use by another run ({holder})", path.display())]
    InUse {
        /// The checkpoint file.
        path: PathBuf,
        /// The id of the other process, if the lock file contains it.
        pid: Option<u32>,
        /// The other process, such as `pid 4711, since 2024-06-01T02:00:00Z`.
        holder: String,
    },
    /// The file was created for another engine or index prefix.
    #[error("the checkpoint file {} belongs to {theirs}, not to {ours}", path.display())]
    TargetMismatch {
        /// The file.
        path: PathBuf,
        /// The target that the file was created for.
        theirs: String,
        /// The target of this run.
        ours: String,
    },
    /// The cluster at the address is not the one that documents were sent to before.
    #[error("{target} is a different cluster ({ours}) than the one recorded in {} ({theirs})", path.display())]
    ClusterMismatch {
        /// The file.
        path: PathBuf,
        /// The target of this run.
        target: String,
        /// The UUID of the recorded cluster.
        theirs: String,
        /// The UUID of the cluster at the address.
        ours: String,
    },
    /// Documents were sent to indices that cover another period.
    #[error("{} records one index per {theirs}, not per {ours}: loading would index events twice", path.display())]
    IndexByMismatch {
        /// The file.
        path: PathBuf,
        /// The period of the existing indices.
        theirs: IndexBy,
        /// The period requested for this run.
        ours: IndexBy,
    },
    /// A name refers to a different index than the one that documents were sent to, and the former index still exists.
    #[error(
        "'{name}' refers to a different index than before, and the former index still exists: loading would index events twice"
    )]
    AliasMoved {
        /// The name used in requests.
        name: String,
    },
    /// The file was written by a newer version of this program.
    #[error("the checkpoint file {} has schema version {version}; this program supports up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's schema version.
        version: u32,
        /// The latest schema version that this program supports.
        known: u32,
    },
    /// The file was written by an unreleased development version, whose schema is not supported.
    #[error("the checkpoint file {} was written by an unreleased version of trailload", path.display())]
    Unreleased {
        /// The file.
        path: PathBuf,
    },
    /// The file has an older schema and was opened read-only, so that it cannot be updated.
    #[error("the checkpoint file {} has the older schema version {version}", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// The file's schema version.
        version: u32,
    },
    /// The file is a database of another program.
    #[error("{} is a database of another program, not a checkpoint file", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a database, or is damaged.
    #[error("the checkpoint file {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem, as reported by SQLite.
        what: String,
    },
    /// SQLite cannot open the file, usually because of missing permissions.
    #[error("could not open the checkpoint file {}", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The file or its directory is not writable.
    #[error("the checkpoint file {} is not writable", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The disk is full. Committed data is not affected.
    #[error("no space left on the device for the checkpoint file {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// A read or write failed: a disk error, a quota, or a limit on file sizes.
    #[error("could not {doing} in the checkpoint file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation, as a verb phrase.
        doing: &'static str,
        /// The cause.
        source: rusqlite::Error,
    },
    /// Any other SQLite error.
    #[error("could not {doing} in the checkpoint file {}", path.display())]
    Sql {
        /// The file.
        path: PathBuf,
        /// The operation, as a verb phrase.
        doing: &'static str,
        /// The cause.
        source: rusqlite::Error,
    },
    /// Alerts are raised, and hardly any is delivered.
    #[error(
        "{undelivered} alerts in the checkpoint file {} are not delivered, and receivers acknowledge none of them",
        path.display()
    )]
    TooManyUndelivered {
        /// The file.
        path: PathBuf,
        /// Their number.
        undelivered: u64,
    },
    /// More documents of a page were settled than it has. This is a bug.
    #[error(
        "partition {partition}: {settled} documents of page {page} are settled, but it has only {documents}"
    )]
    Miscounted {
        /// The partition.
        partition: PartitionNumber,
        /// The page.
        page: u32,
        /// Number of documents of the page.
        documents: u64,
        /// Number of documents reported as settled.
        settled: u64,
    },
    /// An event refers to a partition that is not being read. This is a bug.
    #[error("partition {partition} is not being read")]
    UnknownPartition {
        /// The partition.
        partition: PartitionNumber,
    },
}

impl Error {
    /// Returns the error for an SQLite error during the operation `doing` on `path`.
    pub(super) fn from_sqlite(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
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

    /// Returns what the user can do about the error, where that is not obvious.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Folder { .. }
            | Self::Open { .. }
            | Self::Denied { .. }
            | Self::ReadOnly { .. } => {
                "check the permissions, or use another file with --checkpoint"
            }
            Self::IsFolder { .. } | Self::NotOurs { .. } => "use another file with --checkpoint",
            Self::NotFound { .. } => {
                "nothing has been loaded into this target yet, or --checkpoint names a different file"
            }
            Self::Empty { .. } => {
                "no run has written to it yet; if it is a copy, also copy the file next to it that ends in -wal"
            }
            Self::Lock { source, .. } if is_full(source) => {
                "free some space, or raise the quota, and run the same command again: nothing is lost"
            }
            Self::Lock { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "check the permissions, or use another file with --checkpoint"
            }
            Self::Lock { .. } => "use a file on a local disk with --checkpoint",
            Self::InUse { .. } => "wait for the other run to end, or stop it",
            Self::TargetMismatch { .. } => {
                "omit --checkpoint (each target has its own file), or use another file"
            }
            Self::ClusterMismatch { .. } => {
                "to load everything into this cluster, run 'trailload load' with --reload; if its indices were restored from a \
                 snapshot, run it once with --accept-cluster; otherwise name the former cluster with --into"
            }
            Self::IndexByMismatch { .. } => {
                "use the same --index-by as before, or another prefix with --index; to change the period, delete the indices of \
                 this prefix, then load with --reload"
            }
            Self::AliasMoved { .. } => {
                "point the alias to the former index again, or use another prefix with --index"
            }
            Self::Newer { .. } => "update trailload, or use another file with --checkpoint",
            Self::Older { .. } => "run 'trailload load' once to update the file",
            Self::Damaged { .. } | Self::Unreleased { .. } => {
                "move the file away and run again: everything is read again, and no event is indexed twice, because document \
                 ids are derived from the events"
            }
            Self::Full { .. } => "free some space and run the same command again: nothing is lost",
            Self::Io { .. } => {
                "check the disk, quotas and the limit on file sizes (ulimit -f), then run the same \
                 command again: nothing is lost"
            }
            Self::TooManyUndelivered { .. } => {
                "'trailload status' shows the causes; make the receivers reachable or the rules more specific, send dead letters \
                 again with 'trailload watch --retry' or give them up with 'trailload retry --accept', then run the same command \
                 again: it continues where it stopped"
            }
            Self::Sql { .. } | Self::Miscounted { .. } | Self::UnknownPartition { .. } => {
                return None;
            }
        })
    }
}

/// Returns whether a file cannot grow because the disk, the quota or the limit on file sizes is used up.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_of_a_lock_names_its_cause() {
        let hint = |kind: io::ErrorKind| {
            let error = Error::Lock { path: "c.sqlite.lock".into(), source: kind.into() };
            error.hint().unwrap()
        };
        for full in
            [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge]
        {
            assert!(hint(full).starts_with("free some space"), "{full}");
        }
        assert!(hint(io::ErrorKind::PermissionDenied).starts_with("check the permissions"));
        assert!(hint(io::ErrorKind::Unsupported).starts_with("use a file on a local disk"));
    }
}
