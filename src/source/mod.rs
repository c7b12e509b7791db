//! Where events come from.
//!
//! In: the SOURCE words of the command line. Out: [`Input`]s, listed lazily by a [`Source`]; and of each
//! input, read by a [`Decoder`], the places where its records lie.
//! Holds: memory does not grow with the size or the number of the inputs; what cannot be read is said
//! by name, cause and offset, and never stops what can be read.
//! Absent on purpose: what a record means (see `normalize`), and what was done before (see `checkpoint`).
//!
//! | file | decides |
//! |---|---|
//! | [`files`] | which files there are, and which of them are new |
//! | [`lookup`] | which events of accounts and Regions are missing, and at what pace they are asked for |
//! | [`many`] | in which order several sources are listed |
//! | `expect` | which inputs have to hold CloudTrail, and which may be something else |
//! | [`fingerprint`] | whether a file is the one that was read before |
//! | [`s3`] | which logs a trail's bucket holds, which are new, and how they get here |
//! | [`decode`] | how an input is opened, and what is told about it at the end |
//! | `unpack`, `locked`, `archive` | gzip, zstd, bzip2, xz, plain; tar and zip; what is not opened |
//! | `transcode`, `window` | UTF-16 and UTF-32; a bounded piece of text at a time |
//! | `walk`, `look` | the envelopes around records; what is a record and what is not |
//! | `shape` | what else events are wrapped in: messages, documents of an index, rows and columns |
//! | [`skip`] | where a JSON value ends |

mod archive;
pub mod decode;
mod envelope;
mod expectation;
pub mod files;
pub mod json;
pub mod lookup;
pub mod many;
pub mod s3;
#[cfg(test)]
mod tests;
mod transcode;
mod unpack;
mod unsupported_archive;

use std::{fmt, io, io::Read, path::PathBuf};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    aws,
    event::{Partition, ListingSummary, Position, TimeSlice},
};
pub use decode::{Defect, Decoded, Decoder, Limits, RecordHandler, InputFormat, RecordOutcome, OversizedRecord};
pub use expectation::Expectation;
pub use files::Files;
pub use json::classify::ForeignKind;
pub use lookup::LookupSource;
pub use many::CombinedSource;
pub use s3::S3Source;
pub use json::skip::{SkipError, skip_value};
pub(crate) use json::unescape::unescape;

/// A place that events are read from.
pub trait Source: Send {
    /// Lists the inputs, oldest work first where that is known, and hands each to `found`, with the number
    /// of the SOURCE word it belongs to, until that returns `false` or all are listed. Blocks; has a thread
    /// of its own.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if nothing more can be listed. What fails for one input only is [`Found::Failed`].
    fn list(&mut self, found: &mut dyn FnMut(usize, SourceEvent) -> bool) -> Result<(), Error>;
}

/// What listing came upon.
#[derive(Debug)]
pub enum SourceEvent {
    /// Something to read.
    Input(Input),
    /// An earlier run read it to its end, and it has not changed.
    AlreadyDone {
        /// Bytes as stored.
        size: u64,
        /// The lane as it is to be known from now on, if it looks different.
        touched: Option<Partition>,
    },
    /// Nothing that can be read: a socket, a loop of links.
    Skipped {
        /// As the user would name it.
        name: String,
        /// Why, in words for a person.
        why: String,
    },
    /// It should be readable and is not.
    Failed(Error),
    /// An input that is known by name but cannot be had: an object that is refused, gone, or cut. It is written
    /// down, and tried again by the next run.
    Unreadable {
        /// What the checkpoint knows it by.
        lane: Partition,
        /// As the user would name it.
        name: String,
        /// Why, and what to do, in words for a person.
        why: String,
        /// Bytes as stored; 0 if unknown.
        size: u64,
    },
    /// All inputs below a prefix are listed, and nothing will be added any more: once they are done they may be
    /// kept as one row.
    FolderComplete {
        /// The lanes' common key, with its last slash.
        prefix: String,
        /// What their listing looked like.
        listed: ListingSummary,
        /// How many of them the folder had when an earlier run closed it; these were not looked up again.
        known: u64,
    },
    /// A lane that comes in pages begins.
    SliceStarted(Slice),
    /// The next page of a lane that has begun. Pages are numbered from 0 without holes, and may be handed to
    /// workers in any order.
    Page(Page),
    /// A lane that came in pages ends.
    SliceEnded {
        /// The lane's key.
        key: String,
        /// How many pages it had.
        pages: u32,
        /// Whether that was all of it: otherwise the next run goes on where its pages are safe.
        complete: bool,
    },
}

/// A stretch of time that is fetched page by page, newest first: a lane of LookupEvents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// What the checkpoint knows it by: the series, and the bounds.
    pub key: String,
    /// As the user would name it, for messages.
    pub name: String,
    /// What is fetched, whatever the time: account, Region, category, filter. Coverage is kept for each.
    pub series: String,
    /// First second, of the Unix epoch.
    pub from: i64,
    /// Last second; it belongs to the slice.
    pub to: i64,
    /// Up to this second no late events are to be expected: what is covered up to here is never fetched again.
    pub sure_until: i64,
}

impl Slice {
    /// Returns what the checkpoint is to know as covered once the slice is done.
    pub fn span(&self) -> TimeSlice {
        let Self { series, from, to, sure_until, .. } = self;
        TimeSlice { series: series.clone(), from: *from, to: *to, complete_until: *sure_until }
    }
}

/// Some events of a slice, as LookupEvents answered them.
#[derive(Debug)]
pub struct Page {
    /// The slice's key.
    pub key: String,
    /// Which page of it this is.
    pub number: u32,
    /// `{"Events":[…]}`.
    pub content: ReservedBytes,
    /// Once this page and all before it are settled, the slice is safe from this second to its end.
    pub since: Option<Position>,
}

/// One input to be read by a worker.
#[derive(Debug)]
pub struct Input {
    /// What the checkpoint knows it by. An empty fingerprint says that it cannot be known again
    /// (standard input, a FIFO): never to be remembered as done.
    pub lane: Partition,
    /// As the user would name it, for messages.
    pub name: String,
    /// Where its bytes are.
    pub content: Content,
    /// Bytes as stored; 0 if unknown.
    pub size: u64,
}

/// Where the bytes of an input are.
pub enum Content {
    /// A file, which the worker opens.
    File(PathBuf),
    /// Standard input, a FIFO, or anything else that is read once from front to back, and may be silent for
    /// long: even its first read, which may wait for the other end.
    Stream(Box<dyn Read + Send>),
    /// Bytes in memory, fetched by the source.
    Memory(ReservedBytes),
}

/// Bytes in memory, as stored, and their share of the memory that the source may use.
#[derive(Debug)]
pub struct ReservedBytes {
    /// The bytes.
    pub bytes: Bytes,
    /// Given back when the bytes are dropped.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Memory(held) => f.debug_tuple("Memory").field(&held.bytes.len()).finish(),
        }
    }
}

/// What can go wrong between the command line and the text of a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The word looks like an address of something we do not read.
    #[error(
        "cannot read {word}: sources are files, folders, - for standard input, s3://BUCKET/PREFIX, and lookup"
    )]
    UnknownScheme {
        /// The word as typed.
        word: String,
    },
    /// The path named on the command line is not there, or not to be seen.
    #[error("cannot find {name}")]
    Missing {
        /// The word as typed.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The path named on the command line is a socket or a block device.
    #[error("cannot read {name}: it is {what}")]
    Unfit {
        /// The word as typed.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// `-` was given twice.
    #[error("- was given more than once, but standard input can be read only once")]
    StandardInputTwice,
    /// A folder could not be listed, or what is in it not be looked at.
    #[error("could not list {name}")]
    List {
        /// The folder or file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The word is meant as the address of a bucket, and is none.
    #[error("cannot read {word}")]
    Address {
        /// The word as typed.
        word: String,
        /// Why.
        source: s3::AddressError,
    },
    /// A bucket, or a folder of one, could not be listed or fetched from.
    #[error("could not read {name}")]
    Bucket {
        /// As the user would name it.
        name: String,
        /// Why.
        source: Box<s3::S3Error>,
    },
    /// An input could not be opened.
    #[error("could not open {name}")]
    Open {
        /// The input.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// An input could not be read on. Records before that place were handed over.
    #[error("could not read {name} beyond byte {offset}")]
    Read {
        /// The input.
        name: String,
        /// Bytes, as stored, that had been read.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// Events could not be looked up.
    #[error(transparent)]
    Lookup(#[from] lookup::LookupError),
    /// An account cannot be entered.
    #[error("could not use account {account}")]
    Account {
        /// The account's number.
        account: String,
        /// Why.
        source: Box<aws::Error>,
    },
}

impl Error {
    /// Returns what the error is about: a word of the command line, a file, a folder.
    pub fn about(&self) -> &str {
        match self {
            Self::UnknownScheme { word } | Self::Address { word, .. } => word,
            Self::StandardInputTwice => "-",
            Self::Missing { name, .. }
            | Self::Unfit { name, .. }
            | Self::List { name, .. }
            | Self::Bucket { name, .. }
            | Self::Open { name, .. }
            | Self::Read { name, .. } => name,
            Self::Lookup(lookup::LookupError::Region { region, .. }) => region,
            Self::Lookup(_) => "lookup",
            Self::Account { account, .. } => account,
        }
    }

    /// Says what went wrong, for a line that begins with [`Error::about`].
    pub fn told(&self) -> String {
        match self {
            Self::List { source, .. } => format!("could not be listed: {source}"),
            Self::Bucket { source, .. } => format!("could not be read: {source}"),
            Self::Open { source, .. } => format!("could not be opened: {source}"),
            Self::Read { offset, source, .. } => {
                format!("could not be read beyond byte {offset}: {source}")
            }
            Self::Lookup(error) => error.describe(),
            Self::Account { source, .. } => match source.service_error() {
                Some(refusal) => format!("{source}: {refusal}"),
                None => source.to_string(),
            },
            other => other.to_string(),
        }
    }

    /// Returns whether the command line is to blame, so that nothing should be begun.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::UnknownScheme { .. }
                | Self::Address { .. }
                | Self::Missing { .. }
                | Self::Unfit { .. }
                | Self::StandardInputTwice
        )
    }
}
