//! Where batches of documents go.
//!
//! In: a [`Batch`]. Out: a [`Receipt`] once every document of it is settled, or [`Unfinished`]: an [`Error`] that
//! ends the run, and what was settled before. Retries happen in here and nowhere else; a caller never sends a batch again.

pub mod engine;
mod why;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::StatusCode;

use crate::event::{Batch, IndexCount, Inventory, Receipt};
use crate::normalize::IndexBy;

pub use engine::{
    Compress, Conflict, Credentials, Disk, Duplicates, Engine, Examination, Fill, Rights, Service,
    Signing, Target, TemplateState, is_loopback, take_userinfo,
};
pub use why::{Block, Why};

/// A place that batches are written to.
///
/// A run calls [`prepare`](Self::prepare) while the first inputs are read, [`write`](Self::write) for each batch, and
/// [`finish`](Self::finish) once everything is settled. All three belong to the run: an error of any of them ends it.
pub trait Sink: Send + Sync + 'static {
    /// Puts in place what documents need, such as index templates. A `write` that comes earlier waits for it.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the run cannot go on.
    fn prepare(&self) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// Writes a batch and returns when every document of it is settled.
    ///
    /// # Errors
    ///
    /// Returns [`Unfinished`] if the run cannot go on.
    fn write(&self, batch: Batch) -> impl Future<Output = Result<Receipt, Unfinished>> + Send;

    /// Returns what changes whenever an index may take other content than before; empty where nobody can say.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if that cannot be found out.
    fn index_version(&self, _index: &str) -> impl Future<Output = Result<String, Error>> + Send {
        std::future::ready(Ok(String::new()))
    }

    /// Leaves the place ready for the next run, and returns what it holds now, if it tells. Called at most once, when
    /// no batch is under way.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if that was not possible.
    fn finish(&self) -> impl Future<Output = Result<Option<Inventory>, Error>> + Send {
        std::future::ready(Ok(None))
    }
}

/// A batch that was not settled as a whole.
#[derive(Debug, thiserror::Error)]
#[error("a batch was not settled")]
pub struct Unfinished {
    /// Why the run cannot go on.
    #[source]
    pub error: Error,
    /// What the indices hold of it all the same. The next run finds these documents there.
    pub indices: Vec<IndexCount>,
}

/// An error of a layer below that is kept as a cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What kept us from an engine. Hints are chosen by this, never by text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The host name does not resolve.
    Name,
    /// Nobody listens at that address.
    Refused,
    /// The certificate is signed by an authority that this machine does not trust.
    UnknownIssuer,
    /// The certificate is wrong in another way: expired, or for another host.
    Certificate,
    /// We spoke TLS and the other side did not.
    NotTls,
    /// The connection was closed without an answer; to plain HTTP, a TLS port does that.
    Closed,
    /// No answer in time.
    TimedOut,
    /// A proxy does not let us through (with this HTTP status), or does not answer.
    Proxy(Option<u16>),
    /// Anything else.
    Other,
}

/// What the engine, or the way to it, said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The engine answered with an error.
    #[error("{}", Spoken { status: *status, code, reason })]
    Answer {
        /// HTTP status, of the whole answer or of one item.
        status: u16,
        /// The engine's name for the error, such as `cluster_block_exception`; may be empty.
        code: String,
        /// The engine's words.
        reason: String,
    },
    /// The request or its answer got lost.
    #[error("{reason}")]
    Connection {
        /// How.
        how: Unreachable,
        /// The words of the layer that noticed.
        reason: String,
    },
    /// The answer names another address. Nothing is sent there.
    #[error("{status}: it redirects to {to}")]
    Redirect {
        /// HTTP status.
        status: u16,
        /// The address, without credentials and query.
        to: String,
        /// What to give as the engine's address to have the same asked there, if that is likely to be an engine.
        address: Option<String>,
    },
    /// There was an answer, but not one that an engine gives.
    #[error("{status}: {reason}")]
    Garbage {
        /// HTTP status.
        status: u16,
        /// What is wrong with it.
        reason: String,
    },
}

impl Cause {
    /// Returns the HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { status, .. }
            | Self::Redirect { status, .. }
            | Self::Garbage { status, .. } => Some(*status),
            Self::Connection { .. } => None,
        }
    }

    /// Returns the engine's name for the error, or nothing.
    pub fn code(&self) -> &str {
        match self {
            Self::Answer { code, .. } => code,
            _ => "",
        }
    }
}

/// Why documents cannot be sent to a name without being there twice one day: their ids are unique in one index only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Spread {
    /// An alias over several indices.
    #[error("is an alias over several indices ({})", indices.join(", "))]
    Several {
        /// Their names.
        indices: Vec<String>,
    },
    /// An alias that a policy moves on to a new index.
    #[error("is an alias that a policy rolls over (index {index})")]
    Rollover {
        /// The index behind it now.
        index: String,
    },
    /// An alias that takes no writes.
    #[error("is an alias that takes no writes (index {index})")]
    NoWrites {
        /// The index behind it.
        index: String,
    },
    /// A data stream.
    #[error("is a data stream, which goes on to a new index from time to time")]
    DataStream,
}

/// Why the run cannot go on. Addresses hold no credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be an engine's.
    #[error("{url} is no address of an engine: {why}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Index names with this prefix would be refused.
    #[error("'{prefix}' cannot start the name of an index: {why}")]
    Prefix {
        /// The prefix.
        prefix: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Credentials that no HTTP header can carry.
    #[error("the credentials for {url} hold characters that cannot be sent")]
    Credentials {
        /// The address.
        url: String,
    },
    /// Requests were to be signed, and there is nothing to sign with.
    #[error("found no AWS credentials to sign requests to {url} with")]
    Unsigned {
        /// The address.
        url: String,
        /// Why.
        source: BoxError,
    },
    /// The certificate file is unreadable or holds no certificate.
    #[error("could not read certificates from {path}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BoxError,
    },
    /// The HTTP client could not be built.
    #[error("could not set up the connection to {url}")]
    Client {
        /// The address.
        url: String,
        /// Why.
        source: BoxError,
    },
    /// The first contact failed.
    #[error("could not reach {url}")]
    Connect {
        /// The address.
        url: String,
        /// In which way.
        how: Unreachable,
        /// What was said.
        source: Cause,
    },
    /// 401 or 403.
    #[error("{url} does not allow {action}")]
    Denied {
        /// The address.
        url: String,
        /// What we wanted to do.
        action: String,
        /// 401: who are you; 403: you may not.
        status: u16,
        /// What was said.
        source: Cause,
    },
    /// A refusal that would meet the next document too.
    #[error("{url} refused {action}")]
    Refused {
        /// The address.
        url: String,
        /// What we wanted to do.
        action: String,
        /// HTTP status.
        status: u16,
        /// What it is about.
        why: Why,
        /// What was said; its [`code`](Cause::code) is the engine's name for the error.
        source: Cause,
    },
    /// The engine lacks what the loader needs.
    #[error("{url} runs Elasticsearch {version}; 7.8 is the oldest that trailload can load")]
    TooOld {
        /// The address.
        url: String,
        /// Its version.
        version: String,
    },
    /// A template of our name belongs to somebody else.
    #[error("template '{template}' in {url} was not made by trailload")]
    ForeignTemplate {
        /// The address.
        url: String,
        /// Name of the template.
        template: String,
    },
    /// A newer trailload installed the template.
    #[error("template '{template}' in {url} is version {theirs}, newer than this program's {ours}")]
    NewerTemplate {
        /// The address.
        url: String,
        /// Name of the template.
        template: String,
        /// The version we would install.
        ours: u64,
        /// The version found.
        theirs: u64,
    },
    /// Documents of this prefix are spread over indices in another way than the one asked for.
    #[error(
        "the indices of '{prefix}' in {url} are made by {theirs}, not by {ours}: events would be there twice"
    )]
    OtherSpan {
        /// The address.
        url: String,
        /// The prefix.
        prefix: String,
        /// How they are made so far.
        theirs: IndexBy,
        /// How this run would make them.
        ours: IndexBy,
    },
    /// A name that documents go to does not stand for exactly one index for ever.
    #[error("'{name}' in {url} {why}: an event that is loaded again would be there twice")]
    NotOneIndex {
        /// The address.
        url: String,
        /// The name.
        name: String,
        /// What it is.
        why: Spread,
    },
    /// The engine takes no writes because its disk is full, and that did not change.
    #[error("{url} blocks writes for {}", Shown(*.waited))]
    Blocked {
        /// The address.
        url: String,
        /// How long we tried.
        waited: Duration,
        /// What was said last.
        source: Cause,
    },
    /// The other side answers, but not as an engine does.
    #[error("{url} does not answer like Elasticsearch or OpenSearch")]
    NoEngine {
        /// The address.
        url: String,
        /// What was wrong with the last answer.
        source: Cause,
    },
    /// The address is not the engine's own. No event is sent to where it leads.
    #[error("{url} is not the engine's own address, and redirects are not followed")]
    Redirected {
        /// The address.
        url: String,
        /// Where it leads, as a [`Cause::Redirect`].
        source: Cause,
    },
    /// Retries are used up. The same command later goes on from here.
    #[error("{url} took nothing for {}", Shown(*.waited))]
    GaveUp {
        /// The address.
        url: String,
        /// How long we tried.
        waited: Duration,
        /// What was said last.
        source: Cause,
    },
    /// The user asked to stop before the batch was settled. The same command later goes on from here.
    #[error("stopped before {url} had taken everything")]
    Interrupted {
        /// The address.
        url: String,
        /// The trouble that was being waited out, if any.
        source: Option<Cause>,
    },
}

/// An engine's error as one line; engines and proxies often leave out one part or the other.
struct Spoken<'a> {
    status: u16,
    code: &'a str,
    reason: &'a str,
}

impl fmt::Display for Spoken<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = StatusCode::from_u16(self.status).ok().and_then(|code| code.canonical_reason());
        let name = if self.code.is_empty() { known.unwrap_or_default() } else { self.code };
        write!(out, "{}", format!("{} {name}", self.status).trim_end())?;
        if self.reason.is_empty() { Ok(()) } else { write!(out, ": {}", self.reason) }
    }
}

/// A duration as a person says it.
pub(crate) struct Shown(pub(crate) Duration);

impl fmt::Display for Shown {
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
    fn causes_read_well_whatever_is_missing() {
        let cause = |status, code: &str, reason: &str| {
            Cause::Answer { status, code: code.into(), reason: reason.into() }.to_string()
        };
        assert_eq!(cause(403, "security_exception", "no"), "403 security_exception: no");
        assert_eq!(cause(503, "", ""), "503 Service Unavailable");
        assert_eq!(cause(429, "", "slow down"), "429 Too Many Requests: slow down");
        assert_eq!(cause(599, "", ""), "599");
    }

    #[test]
    fn an_error_does_not_repeat_its_cause() {
        let source = Cause::Answer { status: 503, code: String::new(), reason: "down".into() };
        let error =
            Error::GaveUp { url: "http://e".into(), waited: Duration::from_mins(10), source };
        assert_eq!(error.to_string(), "http://e took nothing for 10 min");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("503 Service Unavailable: down"));
    }
}
