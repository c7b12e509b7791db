//! Sources: where events come from, and how their records are found.
//!
//! Input: the SOURCE arguments of the command line. Output: [`Input`]s, listed lazily by a [`Source`]; and the records of
//! each input, found by a [`Decoder`] and passed to a [`RecordHandler`].
//! Invariant: memory does not grow with the size or the number of inputs. What cannot be read is reported with its name,
//! the cause and the offset, and does not stop the rest.
//! Not here: what a record means (see `normalize`); what earlier runs loaded (see `checkpoint`).
//!
//! Which inputs there are:
//!
//! | module | responsible for |
//! |---|---|
//! | [`files`] | files and folders: which there are, and which changed since an earlier run |
//! | [`s3`] | the bucket of a trail: which log files it holds, which are new, and fetching them |
//! | [`lookup`] | LookupEvents: which events of accounts and Regions are missing, and the request rate |
//! | [`combined`], [`mod@event_channel`] | several sources read as one; the channel from sources to the pipeline |
//! | [`input`], [`error`] | what a source hands over: an input, a page, an error |
//! | [`expectation`] | which inputs must be CloudTrail, and which may be anything |
//!
//! How an input is read, from the outside in:
//!
//! | module | responsible for |
//! |---|---|
//! | [`decode`] | the way of one input: open, decompress, separate members, scan |
//! | `decode_memory` | the memory of a decoder, and of archives and decompressors |
//! | `unpack` | gzip, zstd, bzip2, xz, in layers; detecting the format |
//! | `archive`, `unsupported_archive` | members of tar and zip; formats that are named, not read |
//! | `transcode` | UTF-16 and UTF-32 |
//! | [`json`] | the records in a text |
//! | `envelope` | what records are wrapped in: messages, documents of an index, rows and columns |
//! | [`decoded`], [`input_format`] | the report on an input |

mod archive;
pub mod combined;
pub mod decode;
mod decode_memory;
pub mod decoded;
mod envelope;
pub mod error;
pub mod event_channel;
pub mod expectation;
pub mod files;
pub mod input;
pub mod input_format;
pub mod json;
pub mod lookup;
pub mod s3;
#[cfg(test)]
mod tests;
mod transcode;
mod unpack;
mod unsupported_archive;

use std::{panic, pin::Pin};

use tokio::task::JoinError;

use crate::{
    event::{ListingSummary, Partition},
    shutdown::ShutdownSignal,
};
pub use combined::CombinedSource;
pub use decode::Decoder;
pub use decoded::{Decoded, Defect};
pub use error::Error;
pub use event_channel::{
    EventReceiver, EventSender, IndexedEvent, ReceiverClosed, event_channel, for_each_event,
};
pub use expectation::Expectation;
pub use files::Files;
pub use input::{Content, Input, Page, ReservedBytes, Slice};
pub use input_format::InputFormat;
pub use json::classify::ForeignKind;
pub use json::record_handler::{OversizedRecord, RecordHandler, RecordOutcome};
pub use json::skip::{SkipError, skip_value};
pub(crate) use json::unescape::unescape;
pub use lookup::{LookupSource, page::LookupPage};
pub use s3::S3Source;

/// A place that events are read from.
pub trait Source: Send {
    /// Reads the source to its end and sends its events to `out`, oldest work first where that is known.
    ///
    /// Runs on the runtime of the pipeline: blocking work belongs in `spawn_blocking`. The bounded channel holds the
    /// source up while the pipeline is busy. Ends early if `out` is closed; dropping the future cancels everything that
    /// is in flight.
    ///
    /// # Errors
    ///
    /// The future returns [`Error`] if nothing more can be read. An error of one input is [`SourceEvent::Failed`].
    fn run(self: Box<Self>, out: EventSender, shutdown: ShutdownSignal) -> SourceRun;
}

/// The future of [`Source::run`], boxed so that the trait is dyn compatible.
pub type SourceRun = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Returns the output of a task, or `None` if it was cancelled. Resumes its panic.
pub(crate) fn task_output<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(output) => Some(output),
        Err(Ok(panic)) => panic::resume_unwind(panic),
        Err(Err(_cancelled)) => None,
    }
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
        /// Whether it contains no CloudTrail events.
        is_foreign: bool,
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
        partition: Partition,
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
