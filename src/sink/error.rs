//! Errors that end a run.
//!
//! Invariant: addresses in these errors hold no credentials and no query. The cause is the `source` of the error and is
//! not repeated in its message. Hints are chosen by variant, status and code, never by message text.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::cause::{Cause, ConnectError};
use super::refusal::RefusalReason;
use crate::event::IndexCount;
use crate::normalize::IndexBy;

/// An error of another crate, kept as the source of an [`Error`].
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A batch that was not settled as a whole.
#[derive(Debug, thiserror::Error)]
#[error("a batch was not written completely")]
pub struct WriteError {
    /// Why the run cannot continue.
    #[source]
    pub error: Error,
    /// What the indices hold of the batch nevertheless. The next run finds these documents as duplicates.
    pub indices: Vec<IndexCount>,
}

/// Why writing to a name could create duplicates: document ids are unique within one index only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// An alias of several indices.
    #[error("is an alias of several indices ({})", indices.join(", "))]
    SeveralIndices {
        /// Names of the indices.
        indices: Vec<String>,
    },
    /// A rollover alias.
    #[error("is a rollover alias (index {index})")]
    Rollover {
        /// The current index of the alias.
        index: String,
    },
    /// An alias without a write index.
    #[error("is an alias without a write index (index {index})")]
    NotWritable {
        /// The index of the alias.
        index: String,
    },
    /// A data stream.
    #[error("is a data stream, which rolls over to new indices")]
    DataStream,
}

/// Why the run cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be that of an engine.
    #[error("{url} is not a valid engine URL: {reason}")]
    InvalidUrl {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Engines reject index names with this prefix.
    #[error("'{prefix}' is not a valid index prefix: {reason}")]
    InvalidPrefix {
        /// The prefix.
        prefix: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Credentials with characters that are not allowed in an HTTP header.
    #[error("the credentials for {url} contain characters that are not allowed in an HTTP header")]
    InvalidCredentials {
        /// The address.
        url: String,
    },
    /// There are no AWS credentials to sign requests with.
    #[error("found no AWS credentials to sign requests to {url}")]
    NoAwsCredentials {
        /// The address.
        url: String,
        /// Why.
        source: BoxError,
    },
    /// The certificate file is unreadable or contains no certificate.
    #[error("could not read certificates from {path}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BoxError,
    },
    /// The HTTP client could not be created.
    #[error("could not create the HTTP client for {url}")]
    Client {
        /// The address.
        url: String,
        /// Why.
        source: BoxError,
    },
    /// The first request failed.
    #[error("could not reach {url}")]
    Connect {
        /// The address.
        url: String,
        /// Why.
        kind: ConnectError,
        /// The same with the message of the layer that detected it.
        source: Cause,
    },
    /// 401 or 403.
    #[error("{url} does not allow {action}")]
    Denied {
        /// The address.
        url: String,
        /// The action that was attempted.
        action: String,
        /// 401: not authenticated; 403: not authorized.
        status: u16,
        /// The response.
        source: Cause,
    },
    /// An error response that any further document would receive too.
    #[error("{url} refused {action}")]
    Refused {
        /// The address.
        url: String,
        /// The action that was attempted.
        action: String,
        /// HTTP status.
        status: u16,
        /// What the engine objects to.
        reason: RefusalReason,
        /// The response; its [`code`](Cause::code) is the engine's error type.
        source: Cause,
    },
    /// The engine is too old.
    #[error("{url} runs Elasticsearch {version}, but trailload requires 7.8 or later")]
    UnsupportedVersion {
        /// The address.
        url: String,
        /// Its version.
        version: String,
    },
    /// A template of this name was not created by trailload.
    #[error("template '{template}' in {url} was not created by trailload")]
    ForeignTemplate {
        /// The address.
        url: String,
        /// Name of the template.
        template: String,
    },
    /// A newer trailload installed the template.
    #[error(
        "template '{template}' in {url} has version {theirs}, newer than version {ours} of this program"
    )]
    NewerTemplate {
        /// The address.
        url: String,
        /// Name of the template.
        template: String,
        /// The version that this program would install.
        ours: u64,
        /// The version found.
        theirs: u64,
    },
    /// The indices of this prefix cover other periods than those asked for.
    #[error(
        "the indices of '{prefix}' in {url} are created by {theirs}, not by {ours}: events would be indexed twice"
    )]
    IndexByMismatch {
        /// The address.
        url: String,
        /// The prefix.
        prefix: String,
        /// The period of the existing indices.
        theirs: IndexBy,
        /// The period of this run.
        ours: IndexBy,
    },
    /// A name that documents are written to does not always refer to one and the same index.
    #[error("'{name}' in {url} {problem}: an event that is loaded again would be indexed twice")]
    UnsuitableName {
        /// The address.
        url: String,
        /// The name.
        name: String,
        /// What it is instead.
        problem: NameProblem,
    },
    /// The engine still blocks writes because its disk is full.
    #[error("{url} has blocked writes for {}", DisplayDuration(*.waited))]
    WriteBlocked {
        /// The address.
        url: String,
        /// How long writes were retried.
        waited: Duration,
        /// The last response.
        source: Cause,
    },
    /// The server does not respond as an engine does.
    #[error("{url} does not respond like Elasticsearch or OpenSearch")]
    NotAnEngine {
        /// The address.
        url: String,
        /// What was wrong with the last response.
        source: Cause,
    },
    /// The address redirects to another one. No event is sent there.
    #[error("{url} redirects to another address, and redirects are not followed")]
    Redirected {
        /// The address.
        url: String,
        /// Where it redirects to, as a [`Cause::Redirect`].
        source: Cause,
    },
    /// Retries made no progress for too long. The same command continues from the saved position.
    #[error("{url} accepted no documents for {}", DisplayDuration(*.waited))]
    RetriesExhausted {
        /// The address.
        url: String,
        /// How long requests were retried.
        waited: Duration,
        /// The last failure.
        source: Cause,
    },
    /// A shutdown was requested before the batch was settled. The same command continues from the saved position.
    #[error("stopped before {url} had accepted all documents")]
    Interrupted {
        /// The address.
        url: String,
        /// The failure that was being retried, if any.
        source: Option<Cause>,
    },
}

/// Displays a duration in whole seconds, or in minutes from two minutes on.
pub(super) struct DisplayDuration(pub(super) Duration);

impl fmt::Display for DisplayDuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..=119 => write!(out, "{seconds} s"),
            seconds => write!(out, "{} min", seconds / 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_does_not_repeat_its_cause() {
        let source =
            Cause::ErrorResponse { status: 503, code: String::new(), reason: "down".into() };
        let error = Error::RetriesExhausted {
            url: "http://e".into(),
            waited: Duration::from_mins(10),
            source,
        };
        assert_eq!(error.to_string(), "http://e accepted no documents for 10 min");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("503 Service Unavailable: down"));
    }
}
