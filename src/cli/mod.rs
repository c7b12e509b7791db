//! What the user asks.

use std::{ffi::OsString, process::ExitCode};

/// Runs the program.
pub fn run(_arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    todo!()
}
