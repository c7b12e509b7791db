//! Starts named threads.

use std::thread::{self, JoinHandle};

use super::error::ThreadError;

/// Starts a thread with a stack of `stack_bytes` that runs `run(argument)`.
///
/// # Errors
///
/// Returns [`ThreadError`] if the operating system cannot create the thread.
pub(super) fn spawn<T: Send + 'static, R: Send + 'static>(
    name: &'static str,
    stack_bytes: usize,
    argument: T,
    run: impl FnOnce(T) -> R + Send + 'static,
) -> Result<JoinHandle<R>, ThreadError> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack_bytes)
        .spawn(move || run(argument))
        .map_err(|source| ThreadError { name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_is_an_error_with_its_cause() {
        // More than the address space of a process.
        let error = spawn("worker", 1 << 48, (), |()| ()).unwrap_err();
        assert_eq!(error.to_string(), "could not start the worker thread");
        assert!(std::error::Error::source(&error).is_some());
    }
}
