//! Notices that the reader of standard output has gone, also while there is nothing to print.
//!
//! Input: standard output. Output: the moment at which a pipe has no reader any more.
//! Invariant: nothing is written, and standard output stays blocking. A file or a terminal never has this moment.
//! Not here: a write that fails because of it, which `sink::events` reports.

use std::{
    future::pending,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::fs::{FileType, fstat};
use tokio::{io::Interest, net::unix::pipe::Sender};

/// Waits until standard output is a pipe without a reader.
pub(in crate::cli) async fn reader_gone() {
    // Nothing is written to the sender, so the pipe need not be in non-blocking mode, which its other users would share.
    let Some(Ok(pipe)) = pipe_of_output().map(Sender::from_owned_fd_unchecked) else {
        return pending().await;
    };
    if pipe.ready(Interest::ERROR).await.is_err() {
        pending::<()>().await;
    }
}

/// Returns standard output if it is a pipe.
fn pipe_of_output() -> Option<OwnedFd> {
    let output = io::stdout();
    let status = fstat(&output).ok()?;
    let is_pipe = FileType::from_raw_mode(status.st_mode) == FileType::Fifo;
    if is_pipe { output.as_fd().try_clone_to_owned().ok() } else { None }
}
