//! Documents about runs, in the index `PREFIX-runs`.
//!
//! Input: the target of a load, and a document. Output: nothing, or why it was not written.
//! Invariant: the index is hidden, so that searches over `PREFIX-*` find events alone. One attempt, and never longer than
//! [`DEADLINE`]: a load does not wait for its own statistics.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use super::{
    cause::Cause,
    engine::{DocumentIndex, DocumentKind, RUNS_SUFFIX, Target},
    error::Error,
};
use crate::pending::PendingRequests;

/// The longest time for all requests together.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why a document about a run was not written.
#[derive(Debug, Error)]
pub enum RunWriteError {
    /// The engine cannot be used.
    #[error("the engine cannot be used")]
    Open(#[from] Error),
    /// A request failed.
    #[error("{url} did not take the document about this run")]
    Attempt {
        /// The URL of the engine, without credentials.
        url: String,
        /// The cause.
        source: Cause,
    },
    /// The engine took too long.
    #[error("the engine did not answer within {} s", DEADLINE.as_secs())]
    Late,
}

/// Writes the document about a run, and installs the template of its index before.
///
/// # Errors
///
/// Returns [`RunWriteError`] if a request failed or took too long.
pub async fn write_run(target: Target, id: &str, document: Bytes) -> Result<(), RunWriteError> {
    let writing = Box::pin(write(target, id, document));
    tokio::time::timeout(DEADLINE, writing).await.unwrap_or(Err(RunWriteError::Late))
}

async fn write(mut target: Target, id: &str, document: Bytes) -> Result<(), RunWriteError> {
    target.prefix.push_str(RUNS_SUFFIX);
    target.request_timeout = DEADLINE;
    let pending = PendingRequests::default();
    let index = DocumentIndex::open(DocumentKind::Run, target, pending).await?;
    let refused = |error: super::engine::AttemptError| RunWriteError::Attempt {
        url: error.url,
        source: error.cause,
    };
    index.install_template().await.map_err(refused)?;
    index.create(id, document).await.map_err(refused)?;
    // A page that is made right after a load shows it.
    index.refresh().await;
    Ok(())
}
