//! The errors that end a run.

use std::io;

use crate::{checkpoint, event::DeadLetterCause, report::format, sink, source};

/// Why a run cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source cannot list any further input.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The sink accepts no further documents.
    #[error(transparent)]
    Sink(#[from] sink::Error),
    /// The checkpoint cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The operating system cannot create a thread.
    #[error("could not start the {name} thread")]
    Thread {
        /// The thread's purpose.
        name: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// An index or an ingest pipeline blocks more documents than one run turns into dead letters.
    #[error(
        "more than {} documents became dead letters in this run because an index or an ingest pipeline blocks them; \
         the last one was for index '{index}'",
        format::count(*limit)
    )]
    TooManyBlocked {
        /// The limit for one run.
        limit: u64,
        /// The index of the last document.
        index: String,
        /// Why the last document was blocked.
        source: BlockedDocument,
    },
    /// A task or thread of this program panicked.
    #[error("the {0} thread panicked; this is a bug; acknowledged events are safe")]
    Panic(&'static str),
}

/// A valid document that its index or an ingest pipeline blocks.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct BlockedDocument {
    /// What blocks the document.
    pub cause: DeadLetterCause,
    /// The engine's reason.
    pub reason: String,
}
