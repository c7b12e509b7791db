//! Errors of sources: what cannot be listed, opened or read.

use std::io;

use super::{
    index::IndexError,
    lookup::LookupError,
    queue::{QueueAddressError, QueueError},
    s3::{AddressError, S3Error},
};
use crate::aws;

/// An error of a source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A SOURCE argument has the form of a URL of something that is not supported.
    #[error(
        "cannot read {word}: sources are files, folders, - for standard input, s3://BUCKET/PREFIX, sqs://QUEUE, and lookup"
    )]
    UnknownScheme {
        /// The argument.
        word: String,
    },
    /// The path in a SOURCE argument does not exist, or is not accessible.
    #[error("cannot find {name}")]
    Missing {
        /// The argument.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// The path in a SOURCE argument is a socket or a block device.
    #[error("cannot read {name}: it is {what}")]
    UnsupportedFileType {
        /// The argument.
        name: String,
        /// The type of the file, with its article.
        what: &'static str,
    },
    /// `-` was given twice.
    #[error("- was given more than once, but standard input can be read only once")]
    StandardInputTwice,
    /// A folder could not be listed, or the metadata of a file in it not be read.
    #[error("could not list {name}")]
    List {
        /// The folder or file.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// A SOURCE argument is not a valid S3 address.
    #[error("cannot read {word}")]
    Address {
        /// The argument.
        word: String,
        /// The cause.
        source: AddressError,
    },
    /// A bucket, or a prefix in one, could not be listed or fetched from.
    #[error("could not read {name}")]
    Bucket {
        /// The bucket or prefix, as the user would write it.
        name: String,
        /// The cause.
        source: Box<S3Error>,
    },
    /// A SOURCE argument is not a valid address of a queue.
    #[error("cannot read {word}")]
    QueueAddress {
        /// The argument.
        word: String,
        /// The cause.
        source: QueueAddressError,
    },
    /// A queue could not be read, or its messages not be deleted.
    #[error("could not read {name}")]
    Queue {
        /// The queue, as the user would write it.
        name: String,
        /// The cause.
        source: Box<QueueError>,
    },
    /// An input could not be opened.
    #[error("could not open {name}")]
    Open {
        /// The input.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// An input could not be read further. Records before the offset were passed on.
    #[error("could not read {name} beyond byte {offset}")]
    Read {
        /// The input.
        name: String,
        /// Number of bytes, as stored, that had been read.
        offset: u64,
        /// The cause.
        source: io::Error,
    },
    /// Event history could not be fetched.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// An index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The role in an account could not be assumed, or its credentials not be used.
    #[error("could not use account {account}")]
    Account {
        /// The account ID.
        account: String,
        /// The cause.
        source: Box<aws::Error>,
    },
}

impl Error {
    /// Returns the subject of the error: a SOURCE argument, a file, a folder.
    pub fn subject(&self) -> &str {
        match self {
            Self::UnknownScheme { word }
            | Self::Address { word, .. }
            | Self::QueueAddress { word, .. } => word,
            Self::StandardInputTwice => "-",
            Self::Missing { name, .. }
            | Self::UnsupportedFileType { name, .. }
            | Self::List { name, .. }
            | Self::Bucket { name, .. }
            | Self::Queue { name, .. }
            | Self::Open { name, .. }
            | Self::Read { name, .. } => name,
            Self::Lookup(LookupError::Region { region, .. }) => region,
            Self::Lookup(_) => "lookup",
            Self::Index(_) => "index",
            Self::Account { account, .. } => account,
        }
    }

    /// Returns the error and its cause, for a line that starts with [`Error::subject`].
    pub fn describe(&self) -> String {
        match self {
            Self::List { source, .. } => format!("could not be listed: {source}"),
            Self::Bucket { source, .. } => format!("could not be read: {source}"),
            Self::Queue { source, .. } => format!("could not be read: {source}"),
            Self::Open { source, .. } => format!("could not be opened: {source}"),
            Self::Read { offset, source, .. } => {
                format!("could not be read beyond byte {offset}: {source}")
            }
            Self::Lookup(error) => error.describe(),
            Self::Index(error) => error.describe(),
            Self::Account { source, .. } => match source.service_error() {
                Some(refusal) => format!("{source}: {refusal}"),
                None => source.to_string(),
            },
            other => other.to_string(),
        }
    }

    /// Returns whether the command line is wrong, so that a run must not start.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::UnknownScheme { .. }
                | Self::Address { .. }
                | Self::QueueAddress { .. }
                | Self::Missing { .. }
                | Self::UnsupportedFileType { .. }
                | Self::StandardInputTwice
        )
    }
}
