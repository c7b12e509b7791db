//! The sink: where batches of documents are written.
//!
//! Input: a [`Batch`]. Output: a [`Receipt`] once every document of the batch is settled, or a [`WriteError`]: the
//! [`Error`] that ends the run, and what was written before it.
//! Invariant: a caller never writes a batch again. All retries are in here.

pub mod alert;
mod cause;
pub mod dashboards;
pub mod engine;
mod error;
pub mod events;
pub mod provision;
mod refusal;
mod runs;

use crate::event::{Batch, Inventory, Receipt};

pub use cause::{Cause, ConnectError};
pub use engine::{
    Credentials, Deletion, Disk, DiskUsage, DuplicateHandling, Engine, EngineInfo, EngineIssue,
    EngineReader, EngineSetup, ExpiredIndex, IndexNames, Inspection, OtherName, PageResponse,
    PassedOver, PeriodConflict, Privileges, ReadableIndex, Requested, RetentionError,
    RetentionPlan, SearchAnswer, SearchPage, SearchQuery, SearchSession, Service, SetupRequest,
    Signing, Target, TemplateState, UnreadableIndices, is_loopback, missing_privilege,
    take_userinfo,
};
pub use error::{BoxError, Error, NameProblem, WriteError};
pub use refusal::{ClusterBlock, RefusalReason};
pub use runs::{RunWriteError, write_run};

/// A destination of batches.
///
/// A run calls [`prepare`](Self::prepare) while the first inputs are read, [`write`](Self::write) for each batch, and
/// [`finish`](Self::finish) once all batches are settled. An error of any of them ends the run.
pub trait Sink: Send + Sync + 'static {
    /// Installs what documents require, such as index templates. A concurrent `write` waits for it.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the run cannot continue.
    fn prepare(&self) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// Writes a batch and returns when every document of it is settled.
    ///
    /// # Errors
    ///
    /// Returns [`WriteError`] if the run cannot continue.
    fn write(&self, batch: Batch) -> impl Future<Output = Result<Receipt, WriteError>> + Send;

    /// Returns a text that changes whenever an index may accept other documents than before; empty if unknown.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if it cannot be determined.
    fn index_version(&self, _index: &str) -> impl Future<Output = Result<String, Error>> + Send {
        std::future::ready(Ok(String::new()))
    }

    /// Prepares the destination for the next run and returns what it holds now, if known. Called at most once, when no
    /// batch is in flight.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if that failed.
    fn finish(&self) -> impl Future<Output = Result<Option<Inventory>, Error>> + Send {
        std::future::ready(Ok(None))
    }
}
