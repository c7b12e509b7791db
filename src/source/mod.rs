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
//! | [`queue`] | a queue of SQS: receiving messages, fetching what they name, and deleting what is settled |
//! | [`message`] | messages: the events that they hold, and the objects that they name |
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
pub mod index;
pub mod input;
pub mod input_format;
pub mod json;
pub mod lookup;
pub mod message;
pub mod queue;
pub mod s3;
#[cfg(test)]
mod tests;
mod transcode;
mod unpack;
mod unsupported_archive;

use std::{panic, pin::Pin};

use tokio::task::JoinError;

pub use crate::event::{
    PartitionResult, ResultReceiver, ResultSender, SourceObservation, result_channel,
};
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
pub use json::record_handler::{EnvelopeMember, OversizedRecord, RecordHandler, RecordOutcome};
pub use json::skip::{SkipError, StringEnd, find_string_end, skip_value};
pub(crate) use json::unescape::unescape;
pub use json::validate::is_plain_object;
pub use lookup::{LookupSource, page::LookupPage};
pub use queue::QueueSource;
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

/// An event of a source while it lists and fetches its inputs.
#[derive(Debug)]
pub enum SourceEvent {
    /// An input to read.
    Input(Input),
    /// An input that an earlier run read to its end, and that has not changed since.
    AlreadyDone {
        /// Size as stored, in bytes.
        size: u64,
        /// The partition with its new fingerprint, if only its modification time changed.
        touched: Option<Partition>,
        /// Whether it contains no CloudTrail events.
        is_foreign: bool,
    },
    /// A directory entry that cannot be read, such as a socket or a loop of links.
    Skipped {
        /// The name, as shown to the user.
        name: String,
        /// The reason, as shown to the user.
        why: String,
    },
    /// A file, folder or source that should be readable and is not.
    Failed(Error),
    /// An input that was listed but cannot be fetched: access is denied, the object was deleted, or its body is
    /// truncated. The checkpoint records it, and the next run tries it again.
    Unreadable {
        /// The partition in the checkpoint.
        partition: Partition,
        /// The name, as shown to the user.
        name: String,
        /// The reason and a hint, as shown to the user.
        why: String,
        /// Size as stored, in bytes; 0 if unknown.
        size: u64,
    },
    /// All inputs below a prefix were listed, and no further ones are expected: once they are complete, the checkpoint
    /// keeps them as one row.
    FolderComplete {
        /// The common prefix of the partition keys, with a trailing slash.
        prefix: String,
        /// The summary of their listing.
        listed: ListingSummary,
        /// Number of inputs with which an earlier run closed the folder; these were not processed again.
        known: u64,
    },
    /// A time slice, which arrives in pages, starts.
    SliceStarted(Slice),
    /// A page of a time slice that was started. Pages are numbered from 0 without gaps; workers may process them in any
    /// order.
    Page(Page),
    /// A time slice ends.
    SliceEnded {
        /// The key of its partition.
        key: String,
        /// Number of its pages.
        pages: u32,
        /// Whether these are all of its pages; otherwise the next run continues after those that are settled.
        complete: bool,
    },
    /// A source that is followed was asked for new events.
    Observed(SourceObservation),
}
