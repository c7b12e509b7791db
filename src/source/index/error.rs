//! Errors of reading an index.

use std::time::Duration;

use crate::{
    error::chain,
    sink::{self, Cause},
};

/// Why an index cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// There is no index of the prefix.
    #[error("{url} has no index '{prefix}' or '{prefix}-…': nothing is loaded yet")]
    Missing {
        /// The address of the engine.
        url: String,
        /// The prefix.
        prefix: String,
    },
    /// An index is closed; the others are read.
    #[error("index {index} is closed")]
    Closed {
        /// The index.
        index: String,
    },
    /// The user may not read some indices; the others are read.
    #[error("{} cannot be read", match .names.as_slice() {
        [name] => format!("index {name}"),
        names => format!("indices {}", names.join(", ")),
    })]
    Unreadable {
        /// The indices.
        names: Vec<String>,
        /// The response.
        source: Box<sink::Error>,
    },
    /// The engine did not respond to a request for too long.
    #[error("{url} did not respond to the search for {} s", .waited.as_secs())]
    Unavailable {
        /// The address of the engine.
        url: String,
        /// How long requests were retried.
        waited: Duration,
        /// The last failure.
        source: Cause,
    },
    /// The engine no longer has the state that the search reads: it was restarted, or an index was deleted.
    #[error("{url} lost the state of the search after {received} documents")]
    Lost {
        /// The address of the engine.
        url: String,
        /// Number of documents that were read.
        received: u64,
        /// The response.
        source: Box<sink::Error>,
    },
    /// The engine returned another number of documents than it found.
    #[error("{url} returned {received} of the {expected} documents that it found")]
    Incomplete {
        /// The address of the engine.
        url: String,
        /// Number of documents that it found.
        expected: u64,
        /// Number of documents that were read.
        received: u64,
    },
    /// A request failed.
    #[error(transparent)]
    Engine(Box<sink::Error>),
}

impl IndexError {
    /// Returns the error and its causes in one line.
    pub fn describe(&self) -> String {
        chain(self).map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// Returns the error for a failed request after so many documents.
    pub(super) fn new(error: sink::Error, received: u64) -> Self {
        match error {
            sink::Error::RetriesExhausted { url, waited, source } => {
                Self::Unavailable { url, waited, source }
            }
            sink::Error::Refused { ref url, status: 404, .. } if received > 0 => {
                Self::Lost { url: url.clone(), received, source: Box::new(error) }
            }
            error => Self::Engine(Box::new(error)),
        }
    }
}

impl From<sink::Error> for IndexError {
    fn from(error: sink::Error) -> Self {
        Self::new(error, 0)
    }
}
