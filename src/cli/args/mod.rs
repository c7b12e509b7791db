//! The option groups of the commands, as clap parses them.
//!
//! Input: command-line arguments. Output: one typed struct for each group.
//! Invariant: nothing here opens a file, reads the environment or checks one group against another; [`plan`](super::plan)
//! does.

pub mod alerts;
pub mod aws;
pub mod document;
pub mod engine;
pub mod given;
pub mod load;
pub mod output;
pub mod resources;
pub mod search;
pub mod size;
pub mod source;
pub mod time;
