//! The one runtime of a run.
//!
//! Input: the sources of the run, and its future. Output: the result of the future.
//! Invariant: the process does not wait for a thread that blocks on reading from an idle pipe.

use tokio::runtime::Builder;

use super::{exit::Exit, failure::Failure, plan::sources::SourceList};

/// Worker threads of the runtime while it reads from AWS or an engine: signing and TLS of thousands of small objects a second need
/// more than one.
const AWS_THREADS: usize = 2;

/// Runs a future to its end on a runtime that suits the sources.
///
/// # Errors
///
/// Returns a [`Failure`] if the runtime cannot be started.
pub(in crate::cli) fn block_on<T>(
    sources: &SourceList,
    run: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut builder = if sources.uses_aws() || sources.index.is_some() {
        Builder::new_multi_thread()
    } else {
        // One thread is enough: the pipeline has threads of its own for the work.
        Builder::new_current_thread()
    };
    let runtime = builder
        .worker_threads(AWS_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Exit::ActionRequired, &error))?;
    let result = runtime.block_on(run);
    // A thread may still block on reading from an idle pipe.
    runtime.shutdown_background();
    Ok(result)
}
