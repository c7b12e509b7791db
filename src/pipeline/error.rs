//! The errors that end a run.

use std::io;

use crate::{checkpoint, source};

/// Why a run cannot continue. `E` is the error of its consumer.
#[derive(Debug, thiserror::Error)]
pub enum Error<E: std::error::Error + 'static> {
    /// The source cannot list any further input.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The consumer cannot continue.
    #[error(transparent)]
    Consumer(E),
    /// The checkpoint cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// A thread cannot be started.
    #[error(transparent)]
    Thread(#[from] ThreadError),
    /// A thread or task of this program panicked.
    #[error("the {0} thread panicked; this is a bug; acknowledged events are safe")]
    Panic(&'static str),
}

/// The operating system cannot create a thread.
#[derive(Debug, thiserror::Error)]
#[error("could not start the {name} thread")]
pub struct ThreadError {
    /// The purpose of the thread.
    pub name: &'static str,
    /// The cause.
    pub source: io::Error,
}
