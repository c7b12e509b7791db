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
//! | [`fingerprint`] | whether a file is the one that was read before |
//! | [`decode`] | how an input is opened, and what is told about it at the end |
//! | `unpack`, `window` | gzip, zstd, plain; a bounded piece of text at a time |
//! | `walk`, `look` | the envelopes around records; what is a record and what is not |
//! | [`skip`] | where a JSON value ends |

pub mod decode;
pub mod files;
pub mod fingerprint;
mod look;
pub mod skip;
#[cfg(test)]
mod tests;
mod unescape;
mod unpack;
mod walk;
mod window;

use std::{fmt, io, io::Read, path::PathBuf};

use crate::event::Lane;
pub use decode::{Broken, Decoded, Decoder, Limits, Records, Shape, Taken};
pub use files::Files;
pub use fingerprint::Fingerprint;
pub use look::Kind;
pub use skip::{Skip, skip_value};

/// A place that events are read from.
pub trait Source: Send {
    /// Lists the inputs, oldest work first where that is known, and hands each to `found`, with the number
    /// of the SOURCE word it belongs to, until that returns `false` or all are listed. Blocks; has a thread
    /// of its own.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if nothing more can be listed. What fails for one input only is [`Found::Failed`].
    fn list(&mut self, found: &mut dyn FnMut(usize, Found) -> bool) -> Result<(), Error>;
}

/// What listing came upon.
#[derive(Debug)]
pub enum Found {
    /// Something to read.
    Input(Input),
    /// An earlier run read it to its end, and it has not changed.
    Done {
        /// Bytes as stored.
        size: u64,
        /// The lane as it is to be known from now on, if it looks different.
        touched: Option<Lane>,
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
}

/// One input to be read by a worker.
#[derive(Debug)]
pub struct Input {
    /// What the checkpoint knows it by. An empty fingerprint says that it cannot be known again
    /// (standard input, a FIFO): never to be remembered as done.
    pub lane: Lane,
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
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// What can go wrong between the command line and the text of a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The word looks like an address of something we do not read.
    #[error("cannot read {word}: sources are files, folders, and - for standard input")]
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
}

impl Error {
    /// Returns what the error is about: a word of the command line, a file, a folder.
    pub fn about(&self) -> &str {
        match self {
            Self::UnknownScheme { word } => word,
            Self::StandardInputTwice => "-",
            Self::Missing { name, .. }
            | Self::Unfit { name, .. }
            | Self::List { name, .. }
            | Self::Open { name, .. }
            | Self::Read { name, .. } => name,
        }
    }

    /// Says what went wrong, for a line that begins with [`Error::about`].
    pub fn told(&self) -> String {
        match self {
            Self::List { source, .. } => format!("could not be listed: {source}"),
            Self::Open { source, .. } => format!("could not be opened: {source}"),
            Self::Read { offset, source, .. } => {
                format!("could not be read beyond byte {offset}: {source}")
            }
            other => other.to_string(),
        }
    }

    /// Returns whether the command line is to blame, so that nothing should be begun.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::UnknownScheme { .. }
                | Self::Missing { .. }
                | Self::Unfit { .. }
                | Self::StandardInputTwice
        )
    }
}
